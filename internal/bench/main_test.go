package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{
		{0, "0"}, {1, "1"}, {0.00044123, "0.000441"}, {1.5, "1.5"}, {9.996, "10"}, {99.95, "100"}, {104.1, "104"},
		{999.6, "1,000"}, {1234, "1,230"}, {140_459, "140,000"}, {1_324_685, "1,320,000"}, {-1234, "-1,230"}, {-123, "-123"},
	} {
		if got := number(c.v); got != c.want {
			t.Errorf("number(%v) is %s, want %s", c.v, got, c.want)
		}
	}
}

const output = `goos: linux
cpu: some processor
BenchmarkKafka/worker-2         	       1	3223777054 ns/op	 0.1793 allocs/row	 140459 rows/cpu-s
BenchmarkKafka/worker_broker_inside-2   1	2349134322 ns/op	 0.1336 allocs/row	 141197 rows/cpu-s
BenchmarkReferenceLoop  	       1	3349134322 ns/op	 0 B/op	 19.5 allocs/row	 95189 rows/cpu-s
BenchmarkFiles/tenants=10-2            	      10	1000 ns/op
--- SKIP: BenchmarkKafka/reference_Bento
BenchmarkChatter
PASS
`

func TestParse(t *testing.T) {
	rows, err := parse(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	if diff := cmp.Diff([]string{"Kafka/worker", "Kafka/worker broker inside", "ReferenceLoop", "Files/tenants=10"}, names); diff != "" {
		t.Error(diff)
	}
	if v, ok := rows[1].figure("rows/cpu-s"); !ok || v != 141197 {
		t.Errorf("rows/cpu-s is %v, %v", v, ok)
	}
	if _, err := parse(strings.NewReader("BenchmarkX-2 1 fast ns/op\n")); err == nil {
		t.Error("a value that is no number was taken")
	}
}

func TestTable(t *testing.T) {
	rows, err := parse(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	table, err := newTable(rows[:3], []string{"rows/cpu-s", "allocs/row", "bytes/row", "B/op"}, "Kafka/", []pair{{"worker", "ReferenceLoop"}, {"worker", "reference Bento"}})
	if err == nil || !strings.Contains(err.Error(), "worker with reference Bento") {
		t.Errorf("a pair without its reference gave %v", err)
	}
	var b strings.Builder
	table.print(&b, "TITLE", []string{"a note", ""})
	want := `
TITLE
  a note
                        rows/cpu-s  allocs/row  B/op
  worker                   140,000       0.179
  worker broker inside     141,000       0.134
  reference Loop            95,200        19.5     0
  worker ÷ Loop              1.48×        109×
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestBetter(t *testing.T) {
	a, b := row{figures: []figure{{"rows/s", 30}, {"ns/op", 10}, {"B/op", 0}, {"auc", .9}}}, row{figures: []figure{{"rows/s", 20}, {"ns/op", 40}, {"B/op", 1}, {"auc", .6}}}
	for unit, want := range map[string]string{"rows/s": "1.5×", "auc": "1.5×", "ns/op": "4×", "B/op": "", "MB/s": ""} {
		if got := better(a, b, unit); got != want {
			t.Errorf("better by %s is %q, want %q", unit, got, want)
		}
	}
}

func TestUngroupedFindsThePackagesThatNoGroupNames(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"root_test.go":            "package a\n\nfunc BenchmarkRoot(b *testing.B) {}\n",
		"grouped/a_test.go":       "package a\n\nfunc BenchmarkA(b *testing.B) {}\n",
		"other/deep/a_test.go":    "package a\n\nfunc BenchmarkA(b *testing.B) {}\n",
		"other/deep/aa/a_test.go": "package a\n",
		"other/deep/b_test.go":    "package a\n\nfunc BenchmarkB(b *testing.B) {}\n",
		"tested/a_test.go":        "package a\n\n// BenchmarkA is gone.\nfunc TestA(t *testing.T) {}\n",
		"nested/go.mod":           "module nested\n",
		"nested/a_test.go":        "package a\n\nfunc BenchmarkA(b *testing.B) {}\n",
		".hidden/a_test.go":       "package a\n\nfunc BenchmarkA(b *testing.B) {}\n",
		"other/testdata/a.go":     "package a\n\nfunc BenchmarkA(b *testing.B) {}\n",
		"other/not_a_test.go.x":   "package a\n\nfunc BenchmarkA(b *testing.B) {}\n",
	} {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rest, err := ungrouped(root, []group{{sources: []source{{"./grouped", "."}, {".", "."}}}})
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, g := range rest {
		titles = append(titles, g.title+" "+g.sources[0].pkg)
	}
	if diff := cmp.Diff([]string{"other/deep ./other/deep"}, titles); diff != "" {
		t.Error(diff)
	}
}

func TestBentoThatCannotBeHadSaysWhy(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	module, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for name, text := range map[string]string{
		"go.mod":  "module m\n\ngo 1.26\n\nrequire github.com/warpstreamlabs/bento v1.10.999\n",
		"main.go": "package main\n\nimport _ \"github.com/warpstreamlabs/bento/public/service\"\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := buildBento(t.Context(), module)
	if err == nil || !strings.Contains(err.Error(), "GOPROXY=off") {
		t.Errorf("%v, want what the go command said", err)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "cardlake-bento-*")); len(left) > 0 {
		t.Error("the folder for the program is left")
	}
}
