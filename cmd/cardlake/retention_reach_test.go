package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/internal/home"
)

// TestRetentionOfTheOthers: a tenant whose list of erasures is out of reach does not keep the
// rows of all tenants beyond their days.
func TestRetentionOfTheOthers(t *testing.T) {
	dir, customer := keptLake(t)
	t.Setenv("CARDLAKE_DIR", string(dir))
	t.Setenv("CARDLAKE_AS", "")
	var out, errs bytes.Buffer
	if err := erasePerson(t.Context(), []string{"-tenant", "acme", "-grace", "0s"}, strings.NewReader(customer), &out, &errs); err != nil {
		t.Fatal(err)
	}
	damage(t, dir)
	if err := os.WriteFile(dir.Retention(), []byte(`{"version": 1, "tables": {"cards.transactions": {"days": 1}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	err := retentionCommand(t.Context(), []string{"enforce", "-grace", "0s", "-force"}, &out, &errs)
	if err == nil || !strings.Contains(err.Error(), "erasures of tenant acme") {
		t.Errorf("what is out of reach is not told: %v", err)
	}
	if log := recorded(t, dir); !strings.Contains(log, "retention.enforce.done") {
		t.Errorf("nothing was enforced:\n%s", log)
	}
}

// damage cuts the tenant's key of erasures.
func damage(t *testing.T, dir home.Dir) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(string(dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, string(filepath.Separator)+"retention"+string(filepath.Separator)) || !strings.HasPrefix(d.Name(), "key") {
			return err
		}
		found++
		return errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 10))
	})
	if err != nil || found != 1 {
		t.Fatalf("%d keys of erasures, %v", found, err)
	}
}
