package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakePython puts a python3 first in PATH whose environments have an interpreter that writes down
// its arguments, or fails if it is to install "absent", and returns the file that it writes to.
func fakePython(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	script := `#!/bin/sh
mkdir -p "$3/bin"
cat > "$3/bin/python" <<'END'
#!/bin/sh
echo "$*" >> '` + log + `'
for last; do :; done
if grep -q absent "$last"; then echo one; echo no such package; exit 1; fi
END
chmod +x "$3/bin/python"
`
	if err := os.WriteFile(filepath.Join(dir, "python3"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return log
}

func TestPythonIsMadeOncePerRequirements(t *testing.T) {
	log, dir := fakePython(t), t.TempDir()
	requirements, folder := filepath.Join(dir, "requirements.txt"), filepath.Join(dir, "venv")
	for i, text := range []string{"a==1\n", "a==1\n", "a==2\n"} {
		if err := os.WriteFile(requirements, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		python, err := makePython(t.Context(), folder, requirements)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(python); err != nil || !filepath.IsAbs(python) {
			t.Errorf("the interpreter is %s, %v", python, err)
		}
		made, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Count(string(made), "pip install"), []int{1, 1, 2}[i]; got != want {
			t.Errorf("after %q packages were installed %d times, want %d", text, got, want)
		}
	}
}

func TestPythonThatCannotBeHadSaysWhy(t *testing.T) {
	fakePython(t)
	dir := t.TempDir()
	requirements, folder := filepath.Join(dir, "requirements.txt"), filepath.Join(dir, "venv")
	if err := os.WriteFile(requirements, []byte("absent==1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what failed is tried again, not taken for made
		if _, err := makePython(t.Context(), folder, requirements); err == nil || !strings.HasSuffix(err.Error(), "no such package") {
			t.Errorf("%v, want what pip said", err)
		}
	}
}
