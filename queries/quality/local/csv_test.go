package local_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/queries/quality"
	"github.com/cardlake/cardlake/queries/quality/local"
)

// TestCSV reads CSV in its many shapes: every rule passes.
func TestCSV(t *testing.T) {
	for csv, rules := range map[string]string{
		"id,name\r\n1,a\r\n2,b\r\n":       `RowCount = 2, ColumnLength "name" = 1`,
		"id,name\n1,\"a\nb\"\n2,\"c,d\"":  `RowCount = 2, ColumnLength "name" = 3`,
		"\ufeffid,name\n1,x\n":            `ColumnExists "id", ColumnCount = 2`,
		"a,A,a,\n1,2,3,4\n":               `ColumnCount = 4, ColumnExists "a", ColumnExists "A_1", ColumnExists "a_1_1", ColumnExists "_c3"`,
		" id , name\n1, x\n":              `ColumnExists "id", ColumnExists "name", ColumnLength "name" = 2`,
		"id":                              `RowCount = 0, ColumnCount = 1`,
		"p\n$5\n+5\n":                     `Mean "p" = 5`,
		"p\n\"1,234.5\"\n":                `ColumnValues "p" = "1,234.5"`,
		"x'y,\"a \"\"b\"\"\"\n1,2\n":      `ColumnValues "x'y" = 1, ColumnExists "a \"b\""`,
		"ts\n2026-03-15T10:00:00+02:00\n": `DataFreshness "ts" <= 4 hours, ColumnDataType "ts" = "TIMESTAMP"`,
		"id,c\n1,US\n2,FR\n":              "IsComplete \"id\" where \"c = \\\"US\\\"\", RowCount = 1 where \"nvl(c, 'x') = 'US'\", RowCount = 2 where \"regexp_like(c, '^[A-Z]+$')\", RowCount = 1 where \"`c` = 'FR' -- not US\"",
	} {
		report := evaluate(t, map[string]string{"primary": csv}, "Rules = [ "+rules+" ]", quality.Config{}, local.Config{})
		if !report.Passed() {
			t.Errorf("%q: %+v", csv, report.Rules)
		}
	}
}

// TestDamagedCSV: a file that is not what it seems is refused, not read in part.
func TestDamagedCSV(t *testing.T) {
	dir := t.TempDir()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte("a;b\n1;x\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"more.csv":   {"id,x\n1,2\n2,3,4\n", "at line 3"},
		"fewer.csv":  {"id,x\n1,2\n2\n", "at line 3"},
		"quote.csv":  {"id,x\n1,\"2\n2,3\n", "cannot be read as CSV"},
		"empty.csv":  {"", "the file is empty"},
		"no.csv.gz":  {"id\n1\n", "not compressed by gzip"},
		"no.parquet": {"id\n1\n", "no Parquet file"},
		"latin.csv":  {"id,x\n1,caf\xe9\n", "at line 2: the text is not UTF-8"},
		"head.csv":   {"caf\xe9\n1\n", "the first line of the file is not UTF-8"},
		"cr.csv":     {"id,x\r1,2\r", "end with CR alone"},
		"utf16.csv":  {"\xff\xfei\x00d\x00\n\x00", "UTF-16"},
		"long.csv":   {"id\n" + strings.Repeat("x", 2_100_000) + "\n", "longer than 2,000,000 bytes"},
		"no.json":    {"{}", "neither CSV nor Parquet"},
		"yes.csv.gz": {zipped.String(), ""},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := local.Open(t.Context(), map[string]string{local.Primary: path}, local.Config{Separator: map[bool]string{true: ";", false: ","}[tc.want == ""]})
		if tc.want != "" {
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "4\n") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(2, len(f.Dataset(local.Primary).Columns)); diff != "" {
			t.Error(diff)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
