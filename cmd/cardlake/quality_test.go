package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/queries/quality"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// lookedAt runs "quality" and returns its exit code, as main has it.
func lookedAt(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	err := qualityCommand(t.Context(), args, &out, &errs)
	var exit exitCode
	switch {
	case errors.As(err, &exit):
		code = int(exit)
	case err != nil:
		code = 2
		errs.WriteString(err.Error())
	}
	return code, out.String(), errs.String()
}

// written writes a file and returns its path.
func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestQualityOfAFile(t *testing.T) {
	input := written(t, "orders.csv", "id,state,amount\n1,NY,10\n2,,20\n3,CA,30\n")
	kept := t.TempDir()
	good := written(t, "good.dqdl", `Rules = [ RowCount = 3, IsPrimaryKey "id" ]`)
	bad := written(t, "bad.dqdl", "Rules = [\n  RowCount = 3,\n  IsComplete \"state\",\n  IsComplete \"nothing\"\n]")
	statement := written(t, "statement.dqdl", "Rules = [ CustomSql \"select count(*)\n  from primary\" > 2 ]")
	analyzers := written(t, "analyzers.dqdl", `Analyzers = [ RowCount, Completeness "nothing", Distribution "state" ]`)
	broken := written(t, "broken.dqdl", "Rules = [\n  IsComplet \"state\"\n]")
	for _, tc := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"all pass", []string{"run", "-rules", good, "-input", input}, 0, []string{`ok     IsPrimaryKey "id"`, "2 of 2 rules passed, score 1.00"}},
		{"some fail", []string{"run", "-rules", bad, "-input", input}, 1, []string{`FAIL   IsComplete "state"   [Column.state.Completeness = 0.666667]`, "Input data does not include column nothing!", "1 of 3 rules passed, score 0.33"}},
		{"JSON", []string{"run", "-rules", bad, "-input", input, "-format", "json"}, 1, []string{`"Score": 0.3333333333333333`, `"Outcome": "Failed"`, `"Column.state.Completeness": 0.6666666666666666`}},
		{"a fault", []string{"run", "-rules", broken, "-input", input}, 2, []string{"line 2, column 3: there is no rule type IsComplet; did you mean IsComplete?", "  IsComplet \"state\"\n  ^"}},
		{"no rules", []string{"run", "-input", input}, 2, []string{"-rules is missing"}},
		{"no data", []string{"run", "-rules", good}, 2, []string{"takes -input FILE or -table TABLE"}},
		{"no file", []string{"run", "-rules", good, "-input", input + "x.csv"}, 2, []string{"no such file"}},
		{"no kind", []string{"run", "-rules", good, "-input", good}, 2, []string{"neither CSV nor Parquet"}},
		{"JSON is plain", []string{"run", "-rules", statement, "-input", input, "-format", "json"}, 0, []string{`"Rule": "CustomSql \"select count(*)\n  from primary\" > 2"`, `"EvaluatedRule":`}},
		{"a rule of two lines", []string{"run", "-rules", statement, "-input", input}, 0, []string{`ok     CustomSql "select count(*) from primary" > 2   [Dataset.*.CustomSQL = 3]`, "1 of 1 rule passed"}},
		{"analyzers only", []string{"run", "-rules", analyzers, "-input", input}, 0, []string{"info   RowCount   [Dataset.*.RowCount = 3]\nERROR  Completeness \"nothing\"\n       Input data does not include column nothing!\ninfo   Distribution \"state\"\n       Column.state.Distribution: 2 bins, in -format json\nno rules, 3 analyzers\n"}},
		{"analyzers only, in JSON", []string{"run", "-rules", analyzers, "-input", input, "-format", "json"}, 0, []string{`"Rules": [],`, `"Score": 1,`}},
		{"a folder", []string{"run", "-rules", good, "-input", kept}, 2, []string{"it is a folder, and one file is needed"}},
		{"check", []string{"check", "-rules", bad}, 0, []string{"3 rules, 0 analyzers"}},
		{"check one", []string{"check", "-rules", statement}, 0, []string{"1 rule, 0 analyzers"}},
		{"check a fault", []string{"check", "-rules", broken}, 2, []string{"did you mean IsComplete?"}},
		{"check the default", []string{"check", "-rules", "default"}, 0, []string{"default is valid"}},
		{"deploy", []string{"deploy", "-print", "-rules", good, "-table", "sales.orders"}, 0, []string{`"Name": "good"`, `"DatabaseName": "sales"`, `IsPrimaryKey \"id\"`}},
		{"no command", []string{"walk"}, 2, []string{"there is no command"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := tc.args
			if args[0] == "run" {
				args = append(args, "-history", kept)
			}
			code, stdout, stderr := lookedAt(t, args...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d: %s%s", code, tc.code, stdout, stderr)
			}
			for _, want := range tc.want {
				if !strings.Contains(stdout+stderr, want) {
					t.Errorf("%q is not in\n%s%s", want, stdout, stderr)
				}
			}
		})
	}
}

func TestQualityRows(t *testing.T) {
	input := written(t, "data.csv", "id,att1,att2\n1,a,f\n2,b,d\n3,a,\n4,a,f\n5,b,\n")
	rules := written(t, "r.dqdl", `Rules = [ IsComplete "att2" where "att1 = 'a'", RowCount > 0 ]`)
	for filtered, want := range map[string]string{
		"passed": `id,att1,att2,DataQualityRulesPass,DataQualityRulesFail,DataQualityRulesSkip,DataQualityEvaluationResult
1,a,f,"[IsComplete ""att2"" where ""att1 = 'a'""]",[],[RowCount > 0],Passed
2,b,d,"[IsComplete ""att2"" where ""att1 = 'a'""]",[],[RowCount > 0],Passed
3,a,,[],"[IsComplete ""att2"" where ""att1 = 'a'""]",[RowCount > 0],Failed
4,a,f,"[IsComplete ""att2"" where ""att1 = 'a'""]",[],[RowCount > 0],Passed
5,b,,"[IsComplete ""att2"" where ""att1 = 'a'""]",[],[RowCount > 0],Passed
`,
		"skipped": `id,att1,att2,DataQualityRulesPass,DataQualityRulesFail,DataQualityRulesSkip,DataQualityEvaluationResult
1,a,f,"[IsComplete ""att2"" where ""att1 = 'a'""]",[],[RowCount > 0],Passed
2,b,d,[],[],"[IsComplete ""att2"" where ""att1 = 'a'"", RowCount > 0]",Passed
3,a,,[],"[IsComplete ""att2"" where ""att1 = 'a'""]",[RowCount > 0],Failed
4,a,f,"[IsComplete ""att2"" where ""att1 = 'a'""]",[],[RowCount > 0],Passed
5,b,,[],[],"[IsComplete ""att2"" where ""att1 = 'a'"", RowCount > 0]",Passed
`,
	} {
		out := filepath.Join(t.TempDir(), "rows.csv")
		if code, stdout, stderr := lookedAt(t, "run", "-forget", "-rules", rules, "-input", input, "-rows", out, "-filtered", filtered); code != 1 {
			t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
		}
		got, err := os.ReadFile(out)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s", filtered, err, got)
		}
	}
}

// TestQualityHistory: rules look at what earlier runs came to, and the trend is shown.
func TestQualityHistory(t *testing.T) {
	dir := t.TempDir()
	input := filepath.Join(dir, "day.csv")
	rules := written(t, "trend.dqdl", `Rules = [ RowCount > avg(last(3)) * 0.5, DetectAnomalies "RowCount" ]`)
	var code int
	var stdout, stderr string
	for _, rows := range []int{10, 11, 10, 12, 2} {
		if err := os.WriteFile(input, []byte("id\n"+strings.Repeat("1\n", rows)), 0o600); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr = lookedAt(t, "run", "-rules", rules, "-input", input, "-history", dir)
		if wantFail := rows == 2; (code == 1) != wantFail || code > 1 {
			t.Errorf("%d rows: exit code %d: %s%s", rows, code, stdout, stderr)
		}
	}
	if !strings.Contains(stdout, "evaluated: RowCount > 5.5") || !strings.Contains(stdout, "Anomaly: Dataset.*.RowCount is 2.0") {
		t.Errorf("the last run said\n%s", stdout)
	}
	code, stdout, stderr = lookedAt(t, "history", "-rules", rules, "-input", input, "-history", dir)
	if code != 0 || !strings.Contains(stdout, "5 runs") || !strings.Contains(stdout, "....F  RowCount") || !strings.Contains(stdout, "▆▇▆█▁  Dataset.*.RowCount") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	_, stdout, _ = lookedAt(t, "history", "-rules", rules, "-input", input, "-history", dir, "-format", "json", "-last", "2")
	var reports []quality.Report
	if err := json.Unmarshal([]byte(stdout), &reports); err != nil || len(reports) != 2 || reports[1].Score != 0 {
		t.Errorf("%v: %s", err, stdout)
	}
}

// TestQualityOfTheLake: the rule set that comes with the lake passes on what the lake is made of,
// within grants and on record; a failure quarantines, by whoever may, and a release ends it.
func TestQualityOfTheLake(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 2, 50); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := lookedAt(t, "run", "-dir", string(dir), "-rules", "default", "-table", "cards.transactions")
	if code > 1 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{`ok     IsPrimaryKey "event_id"`, `ok     ColumnValues "merchant_name" not matches`, `ok     RowCount > 0   [Dataset.*.RowCount = 100]`} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not there", want)
		}
	}
	if lines := recorded(t, dir); !strings.Contains(lines, "cards.transactions") {
		t.Error("the record does not tell that the table was read")
	}

	for as, want := range map[string]string{"data_scientist/local": "1 runs", "operator/local": "no run was kept"} {
		if code, stdout, stderr := lookedAt(t, "history", "-dir", string(dir), "-rules", "default", "-table", "cards.transactions", "-as", as); code != 0 || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: exit code %d: %s%s", as, code, stdout, stderr)
		}
	}
	files := written(t, "files.dqdl", `Rules = [ FileSize between 100 B and 1 MB, FileUniqueness = 1, FileFreshness > (now() - 1 hours), FileMatch in ["00"] ]`)
	code, stdout, stderr = lookedAt(t, "run", "-dir", string(dir), "-rules", files, "-table", "cards.transactions")
	if code != 1 || !strings.Contains(stdout, "Dataset.*.FileCount = 2") || !strings.Contains(stdout, "3 of 4 rules passed") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}

	none := written(t, "none.dqdl", `Rules = [ RowCount = 0 ]`)
	for _, tc := range []struct {
		partition []string
		code      int
	}{
		{nil, 1},
		{[]string{"-day", queriestest.Epoch.Format(time.DateOnly)}, 1},
		{[]string{"-day", "1999-01-01"}, 0},
		{[]string{"-tenant", "nobody"}, 0},
	} {
		args := append([]string{"run", "-dir", string(dir), "-forget", "-rules", none, "-table", "cards.transactions"}, tc.partition...)
		if code, stdout, stderr := lookedAt(t, args...); code != tc.code {
			t.Errorf("%v: exit code %d, want %d: %s%s", tc.partition, code, tc.code, stdout, stderr)
		}
	}

	fails := written(t, "fails.dqdl", `Rules = [ RowCount > 1000 labels=["severity"="quarantine"] ]`)
	partition := []string{"-dir", string(dir), "-table", "cards.transactions"}
	q := quality.NewQuarantine(filepath.Join(string(dir), "quality"))
	isIn := func() bool { return q.Quarantined("cards.transactions", "any", time.Now()) }
	code, _, stderr = lookedAt(t, append([]string{"run", "-rules", fails, "-as", "data_scientist/local"}, partition...)...)
	if code != 1 || isIn() || !strings.Contains(stderr, "not permitted") {
		t.Errorf("a data scientist quarantined: exit code %d, %s", code, stderr)
	}
	code, _, stderr = lookedAt(t, append([]string{"run", "-rules", fails, "-as", "operator/local"}, partition...)...)
	if code != 1 || !isIn() || stderr != "" {
		t.Errorf("not quarantined: exit code %d, %s", code, stderr)
	}
	if _, stdout, _ = lookedAt(t, "release", "-dir", string(dir)); !strings.Contains(stdout, "cards.transactions  fails  since") {
		t.Errorf("the list is %q", stdout)
	}
	for as, want := range map[string]int{"data_scientist/local": 2, "operator/local": 0} {
		release := append([]string{"release", "-as", as, "-reason", "a test"}, partition...)
		if code, stdout, stderr = lookedAt(t, release...); as != "operator/local" && (code != want || !strings.Contains(stderr, "not permitted")) {
			t.Errorf("%s: exit code %d: %s%s", as, code, stdout, stderr)
		}
	}
	if isIn() {
		t.Error("still in quarantine")
	}
	lines := recorded(t, dir)
	for _, action := range []string{"quality.quarantine", "quality.release"} {
		for _, outcome := range []string{"refused", "allowed"} {
			if !strings.Contains(lines, `"action":"`+action+`","resource":"cards.transactions","outcome":"`+outcome+`"`) {
				t.Errorf("it is not on record that a %s was %s", action, outcome)
			}
		}
	}
	code, _, stderr = lookedAt(t, append([]string{"run", "-rules", fails, "-as", "nobody/known"}, partition...)...)
	if code != 2 {
		t.Errorf("exit code %d for one without a grant: %s", code, stderr)
	}
}
