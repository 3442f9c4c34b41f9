package pebblestore

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/vaulttest"
)

func openTest(t testing.TB, fs vfs.FS, dir string) *Store {
	t.Helper()
	s, err := open(fs, dir, Config{Fatal: func(err error) { t.Error(err); select {} }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vaulttest.Place {
		dir := t.TempDir()
		return vaulttest.Place{Open: func(t testing.TB) (vault.Store, func()) {
			s, err := Open(dir, Config{})
			if err != nil {
				t.Fatal(err)
			}
			return s, func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}}
	})
}

func TestRefusesANewerFormat(t *testing.T) {
	fs := vfs.NewMem()
	s := openTest(t, fs, "v")
	if err := s.db.Set([]byte(formatKey), binary.BigEndian.AppendUint32(nil, vault.Format+1), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(fs, "v", Config{}); !errors.Is(err, vault.ErrFormat) {
		t.Errorf("error %v, want ErrFormat", err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if second, err := Open(dir, Config{}); err == nil {
		second.Close()
		t.Error("a folder was opened twice")
	}
}
