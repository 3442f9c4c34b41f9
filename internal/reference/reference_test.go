// Package reference keeps docs/reference.md, the commands and flags of every binary, equal to
// what the binaries say of themselves. Run its test with -update to write it anew.
package reference

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reference.md")

var commands = []string{
	"cardlake-demo",
	"cardlake", "cardlake query", "cardlake tables", "cardlake describe", "cardlake reconcile", "cardlake serve",
	"cardlake changes", "cardlake changes ready", "cardlake changes events",
	"cardlake export", "cardlake export start", "cardlake export list", "cardlake export download", "cardlake export decrypt", "cardlake export schedule", "cardlake export schedule add", "cardlake export settings", "cardlake export run",
	"cardlake job", "cardlake job run", "cardlake job schedule", "cardlake job list", "cardlake job report", "cardlake job alerts", "cardlake job confirm", "cardlake job dismiss", "cardlake job label",
	"cardlake quality", "cardlake quality run", "cardlake quality check", "cardlake quality history", "cardlake quality release", "cardlake quality deploy",
	"cardlake products", "cardlake products show", "cardlake products subscribe", "cardlake products export", "cardlake products init",
	"cardlake grants", "cardlake grants list", "cardlake grants check", "cardlake grants explain", "cardlake grants report", "cardlake grants validate", "cardlake grants init", "cardlake grants plan", "cardlake grants apply",
	"cardlake audit", "cardlake audit verify", "cardlake audit tail", "cardlake audit alerts", "cardlake audit ship", "cardlake audit prune", "cardlake audit key",
	"cardlake maintain", "cardlake maintain status", "cardlake maintain compact", "cardlake maintain expire", "cardlake maintain orphans", "cardlake maintain manifests", "cardlake maintain run",
	"cardlake maintain retention", "cardlake maintain retention plan", "cardlake maintain retention enforce", "cardlake maintain erase", "cardlake maintain hold", "cardlake maintain hold add", "cardlake maintain hold release", "cardlake maintain hold list",
	"cardlake-processor", "cardlake-processor serve", "cardlake-processor import", "cardlake-processor decode",
	"cardlake-worker", "cardlake-worker run",
	"cardlake-vault", "cardlake-vault serve", "cardlake-vault tokenize", "cardlake-vault detokenize", "cardlake-vault rotate", "cardlake-vault keys",
	"cardlake-vault keys list", "cardlake-vault keys create", "cardlake-vault keys rotate", "cardlake-vault keys destroy",
	"cardlake-vault tenant", "cardlake-vault tenant create", "cardlake-vault tenant suspend", "cardlake-vault tenant resume", "cardlake-vault tenant forget", "cardlake-vault tenant offboard", "cardlake-vault tenant list",
	"cardlake-scan",
	"cardlake-sim run", "cardlake-sim cards",
}

func TestReferenceIsWhatTheBinariesSay(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/...").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var b bytes.Buffer
	b.WriteString("# Commands and flags\n\nWritten by `go test ./internal/reference -update` from the binaries' own help; a test keeps it true.\n")
	for _, c := range commands {
		words := strings.Fields(c)
		cmd := exec.Command(filepath.Join(bin, words[0]), append(words[1:], "-h")...)
		cmd.Env = []string{"HOME=/nonexistent"} // no CARDLAKE_DIR
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s -h: %v\n%s", c, err, out)
		}
		fmt.Fprintf(&b, "\n## %s\n\n```\n%s\n```\n", c, strings.TrimSpace(string(out)))
	}
	const path = "../../docs/reference.md"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b.Bytes()) {
		t.Errorf("docs/reference.md is not what the binaries say: run go test ./internal/reference -update")
	}
}
