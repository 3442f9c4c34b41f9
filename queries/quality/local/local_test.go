package local_test

import (
	"crypto/md5"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake/queries/quality"
	"github.com/cardlake/cardlake/queries/quality/dqdl"
	"github.com/cardlake/cardlake/queries/quality/local"
)

// results are the outcomes of the report's rules.
func results(r *quality.Report) []quality.Result {
	var list []quality.Result
	for _, o := range r.Rules {
		list = append(list, o.Outcome)
	}
	return list
}

// TestRowwise: the guide's example of composite rules fails by column and passes by row.
func TestRowwise(t *testing.T) {
	files := map[string]string{"primary": "myCol1,myCol2,age\n2,1,20\n0,3,\n"}
	const rules = `Rules = [
		(ColumnValues "myCol1" > 1) OR (ColumnValues "myCol2" > 2),
		(ColumnValues "age" = NULL) or (ColumnValues "age" between 1 and 99),
		(ColumnValues "age" = NULL) and (ColumnValues "age" > 1),
		(RowCount > 5) or (ColumnLength "age" >= 0 where "age > 1"),
		(Completeness "age" > 0.1) and (RowCount > 0),
		(ColumnValues "age" > 1 with threshold > 0.1) and (RowCount > 0) ]`
	for isRowwise, want := range map[bool][]quality.Result{
		false: {quality.Failed, quality.Failed, quality.Failed, quality.Passed, quality.Passed, quality.Passed},
		true:  {quality.Passed, quality.Passed, quality.Failed, quality.Passed, quality.Errored, quality.Errored},
	} {
		report := evaluate(t, files, rules, quality.Config{IsRowwise: isRowwise}, local.Config{})
		if diff := cmp.Diff(want, results(report)); diff != "" {
			t.Errorf("row by row %v: %s", isRowwise, diff)
		}
	}
}

// TestBlank: an empty field is NULL, or with KeepBlank an empty text where the column is of text
// (the guide's note on CSV).
func TestBlank(t *testing.T) {
	files := map[string]string{"primary": "s,n\na,1\n,\n"}
	const rules = `Rules = [ IsComplete "s", IsComplete "n" ]`
	for keep, want := range map[bool][]quality.Result{
		false: {quality.Failed, quality.Failed},
		true:  {quality.Passed, quality.Failed},
	} {
		if diff := cmp.Diff(want, results(evaluate(t, files, rules, quality.Config{}, local.Config{KeepBlank: keep}))); diff != "" {
			t.Errorf("keep %v: %s", keep, diff)
		}
	}
}

// TestInference: types are those of all values, not of the first.
func TestInference(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a [1].csv")
	text := "i,l,d,b,day,slash,at,code,mixed,none,\"a \"\"q\"\"\"\n" + strings.Repeat("1,1,1.5,true,2026-01-02,01/31/2026,2026-01-02 03:04:05,01,1,,x\n", 3000) +
		"-2,9999999999,1e3,FALSE,2024-02-29,12/01/2026,2026-01-02T03:04:05Z,1,x,,y\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := local.Open(t.Context(), map[string]string{local.Primary: path}, local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[string]string{}
	for _, c := range f.Dataset(local.Primary).Columns {
		got[c.Name] = c.Type
	}
	want := map[string]string{"i": "integer", "l": "long", "d": "double", "b": "boolean", "day": "date", "slash": "date", "at": "timestamp", "code": "string", "mixed": "string", "none": "string", `a "q"`: "string"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestParquet: typed data of a file that another library wrote.
func TestParquet(t *testing.T) {
	type row struct {
		ID     int64     `parquet:"id"`
		Name   *string   `parquet:"name,optional"`
		Amount float64   `parquet:"amount"`
		At     time.Time `parquet:"at,timestamp(microsecond)"`
	}
	name := "x"
	path := filepath.Join(t.TempDir(), "rows.parquet")
	if err := parquet.WriteFile(path, []row{{1, &name, 1.5, now.Add(-time.Hour)}, {2, nil, 2.5, now}}); err != nil {
		t.Fatal(err)
	}
	f, err := local.Open(t.Context(), map[string]string{local.Primary: path}, local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	set, err := dqdl.Parse(`Rules = [ RowCount = 2, IsComplete "name", Sum "amount" = 4, DataFreshness "at" <= 2 hours, ColumnValues "id" in ["1", "2"], FileSize > 1 B, SchemaMatch "primary" = 1 ]`)
	if err != nil {
		t.Fatal(err)
	}
	report, err := quality.Run(t.Context(), f, set, f.Dataset(local.Primary), quality.Config{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	p := quality.Passed
	if diff := cmp.Diff([]quality.Result{p, quality.Failed, p, p, p, p, p}, results(report)); diff != "" {
		t.Error(diff, report.Rules)
	}
}

// TestFiles evaluates the rules about files over a folder that stands for a bucket.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	sum := md5.Sum([]byte("one"))
	digest := hex.EncodeToString(sum[:])
	for name, age := range map[string]time.Duration{"in/a.csv": time.Hour, "in/b.csv": 48 * time.Hour, "in/sub/c.tmp": time.Minute, "copy/a.csv": 0, "copy/b.csv": 0, "copy/c.tmp": 0, "other/x.csv": 0} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		text := map[string]string{"a": "one", "b": "two!", "c": "one"}[strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))]
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	p, f, e := quality.Passed, quality.Failed, quality.Errored
	tests := []struct {
		rule string
		want quality.Result
	}{
		{`FileFreshness "s3://b/in/a.csv" > (now() - 24 hours)`, p},
		{`FileFreshness "s3://b/in/" > (now() - 24 hours)`, f},
		{`FileFreshness "s3://b/in/" > (now() - 24 hours) with threshold > 0.6`, p},
		{`FileFreshness "s3://b/in/" > (now() - 24 hours) with recentFiles = 2`, p},
		{`FileFreshness "s3://b/in/" > (now() - 24 hours) with uriRegex = "b\.csv$"`, f},
		{`FileFreshness "s3://b/in/" > (now() - 24 hours) with recentFiles = 1 with uriRegex = "\.csv$" with filterOrder = ["uriRegex", "recentFiles"]`, p},
		{`FileFreshness "s3://b/in/" > (now() - 24 hours) with recentFiles = 1 with uriRegex = "\.csv$"`, e},
		{`FileFreshness "s3://b/in/a.csv" between "10:30 AM" and "11:30"`, p},
		{`FileFreshness "s3://b/in/a.csv" > "10:30" with timeZone = "America/New_York"`, f},
		{`FileFreshness "s3://b/in/" between "2026-03-01" and "2026-04-01"`, p},
		{`FileFreshness "s3://b/in/" > "2026-03-14"`, f},
		{`FileFreshness "s3://b/in/" > (now() - 24 hours) with failFast = "true"`, f},
		{`FileSize "s3://b/in/" > 2 B`, p},
		{`FileSize "s3://b/in/" > 3 B`, f},
		{`FileSize "s3://b/in/" between 1 B and 1 MB with uriRegex = "(?!.*\.tmp$).*"`, p},
		{`FileSize "s3://b/in/b.csv" = 4 B`, p},
		{`FileSize > 1 KB`, f},
		{`FileUniqueness "s3://b/in/" = 1`, f},
		{`FileUniqueness "s3://b/in/" > 0.5`, p},
		{`FileUniqueness "s3://b/in/" = 1 with matchFileName = "true"`, p},
		{`FileMatch "s3://b/in/a.csv" in ["` + strings.ToUpper(digest) + `"] with hashAlgorithm = "MD5"`, p},
		{`FileMatch "s3://b/in/a.csv" in ["` + digest + `"]`, f},
		{`FileMatch "s3://b/in/a.csv" "s3://b/copy/a.csv"`, p},
		{`FileMatch "s3://b/in/" "s3://b/copy/"`, p},
		{`FileMatch "s3://b/in/" "s3://b/other/"`, f},
		{`FileMatch "gs://b/in/" "s3://b/other/"`, e},
		{`FileFreshness "s3://b/nothing/" > (now() - 24 hours)`, e},
	}
	var rules []string
	for _, tc := range tests {
		rules = append(rules, tc.rule)
	}
	report := evaluate(t, map[string]string{"primary": "a\n1\n"}, "Rules = [ "+strings.Join(rules, ",\n")+" ]", quality.Config{Files: local.Disk{Mapped: map[string]string{"s3://b/": dir}}}, local.Config{})
	for i, tc := range tests {
		if o := report.Rules[i]; o.Outcome != tc.want {
			t.Errorf("%s: %s, want %s: %s", tc.rule, o.Outcome, tc.want, o.FailureReason)
		}
	}
	if diff := cmp.Diff(map[string]float64{"Dataset.*.FileSize.Compliance": 1, "Dataset.*.FileCount": 3, "Dataset.*.MinimumFileSize": 3, "Dataset.*.MaximumFileSize": 4}, report.Rules[12].EvaluatedMetrics); diff != "" {
		t.Error(diff)
	}
}

// TestAnalyzers: what they measure, and that the edges of a distribution stay.
func TestAnalyzers(t *testing.T) {
	const rules = `Analyzers = [ RowCount, ColumnLength "s", ColumnValues "n", CustomSql "select max(n) from primary", AllStatistics "n", Distribution "n" with bins = 2, Distribution "s", Mean "absent" ]`
	first := evaluate(t, map[string]string{"primary": "n,s\n0,aa\n4,b\n10,b\n,\n"}, rules, quality.Config{}, local.Config{})
	a := first.Analyzers
	if diff := cmp.Diff(map[string]float64{"Column.n.Minimum": 0, "Column.n.Maximum": 10}, a[2].EvaluatedMetrics); diff != "" {
		t.Error(diff)
	}
	if n := len(a[4].EvaluatedMetrics); n != 10 {
		t.Errorf("AllStatistics has %d metrics: %v", n, a[4].EvaluatedMetrics)
	}
	want := map[string]quality.Distribution{"Column.n.Distribution": {BinEdges: []string{"0", "5", "10"}, Count: []int64{2, 1}, DataType: "integer", Bins: 2}}
	if diff := cmp.Diff(want, a[5].Distributions); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int64{2, 1}, a[6].Distributions["Column.s.Distribution"].Count); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(a[7].Error, "does not include column absent") {
		t.Errorf("%+v", a[7])
	}
	history := []quality.Report{*first}
	for run := 1; run <= 3; run++ {
		next := evaluate(t, map[string]string{"primary": "n,s\n20,b\n30,b\n4,a\n"}, rules, quality.Config{History: history}, local.Config{})
		d := next.Analyzers[5].Distributions["Column.n.Distribution"]
		edges := []string{"0", "5", "10"}
		if run == 3 { // three runs beyond the edges move them
			edges = []string{"4", "17", "30"}
		}
		if diff := cmp.Diff(edges, d.BinEdges); diff != "" || len(next.Observations) != 1 {
			t.Errorf("run %d: %s%v", run, diff, next.Observations)
		}
		history = append(history, *next)
	}
}

// TestLocked: rules reach no other file, by whatever door.
func TestLocked(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(secret, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"select count(*) from read_csv('" + secret + "')",
		"select count(*) from read_text('" + secret + "')",
		"select count(*) from '" + secret + "'",
		"select count(*) from glob('" + filepath.Dir(secret) + "/*')",
		"copy (select 1) to '" + secret + "'",
		"set enable_external_access=true",
		"select 1; attach '" + secret + "' as b",
		"install httpfs",
	} {
		o := evaluate(t, map[string]string{"primary": "a\n1\n"}, `Rules = [ CustomSql "`+sql+`" >= 0 ]`, quality.Config{}, local.Config{}).Rules[0]
		if sql == "select count(*) from glob('"+filepath.Dir(secret)+"/*')" {
			if o.EvaluatedMetrics["Dataset.*.CustomSQL"] > 0 {
				t.Errorf("%s: %+v", sql, o)
			}
			continue
		}
		if o.Outcome != quality.Errored || strings.Contains(o.FailureReason, "1") && strings.Contains(o.FailureReason, secret) {
			t.Errorf("%s: %+v", sql, o)
		}
	}
}

// TestOnlySelects: a rule cannot change what others look at.
func TestOnlySelects(t *testing.T) {
	for _, sql := range []string{"drop view primary", "create table x as select 1", "select 1; drop view primary", "select 1; select 2", "set threads=1", "pragma version", ""} {
		set := `Rules = [ CustomSql "` + sql + ` " >= 0, CustomSql "select count(*) from primary" = 1, RowCount = 1 ]`
		report := evaluate(t, map[string]string{"primary": "a\n1\n"}, set, quality.Config{}, local.Config{})
		if diff := cmp.Diff([]quality.Result{quality.Errored, quality.Passed, quality.Passed}, results(report)); diff != "" {
			t.Errorf("%s: %s", sql, diff)
		}
	}
}

// TestNoValueInErrors: an error of the data does not quote it.
func TestNoValueInErrors(t *testing.T) {
	files := map[string]string{"primary": "a,b\n1,4111111111111111x\n"}
	report := evaluate(t, files, `Rules = [ CustomSql "select cast(b as integer) from primary" > 0, RowCount > 0 where "cast(b as integer) > 1", Mean "b" > 1 ]`, quality.Config{}, local.Config{})
	for _, o := range report.Rules {
		if strings.Contains(o.FailureReason, "4111") {
			t.Errorf("%s: %s", o.Rule, o.FailureReason)
		}
	}
}
