package local_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

// The secret is the same from wherever it is named, without the white space around it.
func reads(t *testing.T, ref string) {
	t.Helper()
	if got, err := local.ReadSecret(ref); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("%s: right %t, error %v", ref, err == nil, err)
	}
}

func TestSecretFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, append(secret, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	reads(t, file)
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := local.ReadSecret(file); !errors.Is(err, local.ErrMode) {
		t.Errorf("secret that the group may read: error %v, want ErrMode", err)
	}
	if err := os.WriteFile(file, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.ReadSecret(file); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a file of 5,000 bytes: error %v", err)
	}
}

func TestSecretIsDrawn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	if _, err := local.CreateFile(filepath.Join(dir, "k"), file, keys.LakePurposes); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() != 65 {
		t.Errorf("drawn secret has mode %v and %d bytes", info.Mode(), info.Size())
	}
	if _, err := local.OpenFile(filepath.Join(dir, "k"), file); err != nil {
		t.Error(err)
	}
	if _, err := local.OpenFile(filepath.Join(dir, "none"), file); !errors.Is(err, local.ErrMissing) {
		t.Errorf("no keyring: error %v, want ErrMissing", err)
	}
}

func TestSecretFromACredential(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := os.WriteFile(filepath.Join(dir, "lake"), append(secret, '\n'), 0o440); err != nil {
		t.Fatal(err)
	}
	reads(t, "credential:lake")
	if err := os.WriteFile(filepath.Join(dir, "open"), secret, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := local.ReadSecret("credential:open"); !errors.Is(err, local.ErrMode) {
		t.Errorf("credential that all may read: error %v, want ErrMode", err)
	}
	for _, ref := range []string{"credential:", "credential:..", "credential:../x", "credential:none"} {
		if _, err := local.ReadSecret(ref); err == nil {
			t.Errorf("%s is read", ref)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := local.ReadSecret("credential:lake"); err == nil {
		t.Error("a credential is read without a directory")
	}
}
