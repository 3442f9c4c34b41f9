package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// The PCI map names the tests that prove it: each must be there.
func TestPCIMapNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "pci.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9/-]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)`").FindAllSubmatch(text, -1)
	if len(named) < 20 {
		t.Fatalf("docs/pci.md names %d tests: the pattern does not fit the page", len(named))
	}
	for _, n := range named {
		pkg, test := string(n[1]), string(n[2])
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pkg), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		declared := regexp.MustCompile(`(?m)^func ` + test + `\(`)
		for _, f := range files {
			source, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || declared.Match(source)
		}
		if !found {
			t.Errorf("docs/pci.md names %s of package %s, which is not there", test, pkg)
		}
	}
}
