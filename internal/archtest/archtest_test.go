package archtest

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	root   = "../.."
	module = "github.com/cardlake/cardlake"
)

func TestImportsFollowTheRules(t *testing.T) {
	readSources(t)
	g, err := Load(t.Context(), root, "")
	if err != nil {
		t.Fatal(err)
	}
	// These must be there, or the rules were checked over nothing.
	for _, pkg := range []string{".", "card", "card/wire", "keys", "catalog", "queries", "writers/objects", "tokenize"} {
		if _, ok := g.Imports[pkg]; !ok {
			t.Errorf("package %s is not in the graph", pkg)
		}
	}
	if !slices.Contains(g.Imports["card"], ".") || !g.Standard["fmt"] {
		t.Error("the graph lacks imports that are there")
	}
	for _, v := range Check(g, Rules) {
		t.Error(v)
	}
}

// readSources opens what go list reads in another process, so that the go command's test
// cache knows what this package's result depends on.
func readSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // vanished meanwhile, or not ours to read
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) == ".go" || d.Name() == "go.mod" {
			if f, err := os.Open(path); err == nil {
				return f.Close()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An import of card added to the query side is reported: the real tree, with one more file
// laid over it.
func TestAnAddedImportOfCardIsReported(t *testing.T) {
	readSources(t)
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for pkg, name := range map[string]string{"queries": "queries", "cmd/cardlake": "main", "catalog": "catalog", "writers/objects": "objects"} {
		t.Run(pkg, func(t *testing.T) {
			tmp := t.TempDir()
			added := filepath.Join(tmp, "added.go")
			source := "package " + name + "\n\nimport _ \"" + module + "/card\"\n"
			if err := os.WriteFile(added, []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]any{
				"Replace": map[string]string{filepath.Join(dir, pkg, "zz_added.go"): added},
			})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(tmp, "overlay.json")
			if err := os.WriteFile(file, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			g, err := Load(t.Context(), dir, file)
			if err != nil {
				t.Fatal(err)
			}
			got := Check(g, Rules)
			want := Violation{pkg, []string{pkg, "card"}, "zone B links zone A"}
			if !slices.ContainsFunc(got, func(v Violation) bool { return cmp.Equal(v, want) }) {
				t.Errorf("got %v, want also %v", got, want)
			}
			// Whoever imports the package is told the way.
			for importer, imports := range g.Imports {
				if rule := ruleOf(Rules, importer); rule == nil || rule.Zone != Lake || !slices.Contains(imports, pkg) || slices.Contains(imports, "card") {
					continue
				}
				if !slices.ContainsFunc(got, func(v Violation) bool {
					return v.Package == importer && len(v.Chain) > 2 && v.Chain[0] == importer && v.Chain[len(v.Chain)-1] == "card"
				}) {
					t.Errorf("%s imports it and is not reported", importer)
				}
			}
		})
	}
}

func TestCheck(t *testing.T) {
	standard := map[string]bool{"fmt": true}
	const linked, noArrow = "zone B links zone A", "not an arrow of the table"
	for _, tc := range []struct {
		name    string
		imports map[string][]string
		want    []Violation
	}{
		{"as it should be", map[string][]string{
			".": {"fmt", "github.com/apache/arrow-go/v18/arrow"}, "keys": {"."}, "keys/local": {"keys", "golang.org/x/crypto/hkdf"},
			"card": {"."}, "catalog": {"."}, "writers/objects": {"keys"}, "queries": {".", "catalog"}, "queries/embedded": {"queries", "writers/objects"},
			"tokenize": {"card", "keys"}, "ingest": {"card", "tokenize", "writers/objects", "catalog"},
			"cmd/cardlake": {"queries/embedded", "keys/local"}, "cmd/cardlake-demo": {"ingest", "queries", "tokenize"},
		}, nil},
		{"the query side imports card", map[string][]string{"card": nil, "queries": {"card"}}, []Violation{
			{"queries", []string{"queries", "card"}, noArrow},
			{"queries", []string{"queries", "card"}, linked},
		}},
		{"over an arrow of the table", map[string][]string{
			"card": nil, "tokenize": {"card"}, "writers": {"tokenize"}, "catalog": {"writers/objects"}, "writers/objects": {"writers"},
			"cmd/cardlake": {"catalog"},
		}, []Violation{
			{"catalog", []string{"catalog", "writers/objects", "writers", "tokenize"}, linked},
			{"cmd/cardlake", []string{"cmd/cardlake", "catalog", "writers/objects", "writers", "tokenize"}, linked},
			{"writers", []string{"writers", "tokenize"}, noArrow},
			{"writers", []string{"writers", "tokenize"}, linked},
			{"writers/objects", []string{"writers/objects", "writers", "tokenize"}, linked},
		}},
		{"over a package without a rule", map[string][]string{"card": nil, "util": {"card"}, "cmd/cardlake": {"util"}}, []Violation{
			{"cmd/cardlake", []string{"cmd/cardlake", "util"}, noArrow},
			{"cmd/cardlake", []string{"cmd/cardlake", "util", "card"}, linked},
			{"util", nil, "no rule places it: add it to the table with its zone"},
		}},
		{"the binary of zone B links the worker's side", map[string][]string{"ingest": nil, "cmd/cardlake": {"ingest"}}, []Violation{
			{"cmd/cardlake", []string{"cmd/cardlake", "ingest"}, noArrow},
			{"cmd/cardlake", []string{"cmd/cardlake", "ingest"}, linked},
		}},
		{"a binary is imported", map[string][]string{"cmd/cardlake-demo": nil, "cmd/cardlake-worker": {"cmd/cardlake-demo"}}, []Violation{
			{"cmd/cardlake-worker", []string{"cmd/cardlake-worker", "cmd/cardlake-demo"}, "nobody imports a binary"},
		}},
		{"siblings against the arrow", map[string][]string{"processor": nil, "ingest": {"processor"}}, []Violation{
			{"ingest", []string{"ingest", "processor"}, noArrow},
		}},
		{"the root grows a dependency", map[string][]string{".": {"fmt", "github.com/apache/iceberg-go"}}, []Violation{
			{".", []string{".", "github.com/apache/iceberg-go"}, "may import the standard library and github.com/apache/arrow-go/ only"},
		}},
		{"an unknown binary", map[string][]string{"cmd/cardlake-new": nil}, []Violation{
			{"cmd/cardlake-new", nil, "no rule places it: add it to the table with its zone"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Check(Graph{tc.imports, standard}, Rules)); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRulesAreWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules {
		if seen[r.Packages] || r.Why == "" || !slices.Contains([]Zone{CardData, Lake, OneMachine}, r.Zone) {
			t.Errorf("%s: listed twice, without a reason or without a zone", r.Packages)
		}
		seen[r.Packages] = true
		for _, to := range r.May {
			rule := ruleOf(Rules, strings.TrimSuffix(to, "/..."))
			if rule == nil {
				t.Errorf("%s may import %s, which has no rule", r.Packages, to)
			} else if r.Zone == Lake && rule.Zone != Lake {
				t.Errorf("%s (zone B) may import %s (%s)", r.Packages, to, rule.Zone)
			}
		}
	}
}
