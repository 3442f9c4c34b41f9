package objects_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
)

func newSealed(t testing.TB) (s *objects.Sealed, root string, provider *objectstest.Keys) {
	root, provider = filepath.Join(t.TempDir(), "store"), objectstest.NewKeys()
	return objects.NewSealed(root, provider, objects.SealedConfig{}), root, provider
}

func TestSealedConforms(t *testing.T) {
	objectstest.Run(t, func(t *testing.T) objects.Store {
		s, _, _ := newSealed(t)
		return s
	})
}

func TestSealedConformsWithSmallChunks(t *testing.T) {
	objectstest.Run(t, func(t *testing.T) objects.Store {
		return objects.NewSealed(t.TempDir(), objectstest.NewKeys(), objects.SealedConfig{ChunkSize: 1000})
	})
}

const (
	owner = objectstest.Owner
	chunk = 64 << 10
)

func mustPut(t testing.TB, s objects.Store, name string, body []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, owner, body); err != nil {
		t.Fatal(err)
	}
}

// readWhole reads every chunk.
func readWhole(t testing.TB, s objects.Store, name string) error {
	t.Helper()
	_, err := objects.ReadAll(t.Context(), s, name)
	return err
}

func TestSealedModes(t *testing.T) {
	s, root, _ := newSealed(t)
	if _, err := os.Stat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the constructor made the folder: %v", err)
	}
	mustPut(t, s, "a/b", []byte("x"))
	for path, want := range map[string]fs.FileMode{root: fs.ModeDir | 0o700, root + "/a": fs.ModeDir | 0o700, root + "/a/b": 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("mode of %s: %v, %v, want %v", filepath.Base(path), info.Mode(), err, want)
		}
	}
}

func TestSealedFileShowsNothing(t *testing.T) {
	s, root, _ := newSealed(t)
	secret := []byte(strings.Repeat("PAR1 synthetic content ", 1000))
	mustPut(t, s, "x", secret)
	raw, err := os.ReadFile(root + "/x")
	if err != nil || bytes.Contains(raw, secret[:16]) {
		t.Errorf("the file holds plaintext (%v)", err)
	}
}

// Every changed bit, every cut and every exchange of chunks must be noticed.
func TestSealedTampering(t *testing.T) {
	s, root, _ := newSealed(t)
	body := objectstest.Bytes(3*chunk + 100)
	mustPut(t, s, "x", body)
	mustPut(t, s, "other", body)
	mustPut(t, s, "empty", nil)
	raw, err := os.ReadFile(root + "/x")
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(root + "/other")
	if err != nil {
		t.Fatal(err)
	}
	header := len(raw) - len(body) - 4*16
	sealed := chunk + 16
	at := func(i int) []byte { return raw[header+i*sealed : min(len(raw), header+(i+1)*sealed)] }
	flip := func(i int) []byte {
		b := bytes.Clone(raw)
		b[i] ^= 1
		return b
	}
	cases := map[string][]byte{
		"empty file":           {},
		"header only":          raw[:header],
		"half a header":        raw[:header/2],
		"last byte cut":        raw[:len(raw)-1],
		"last chunk cut":       raw[:header+3*sealed],
		"all but one cut":      raw[:header+sealed],
		"byte appended":        append(bytes.Clone(raw), 0),
		"chunk appended":       append(bytes.Clone(raw), at(3)...),
		"chunks exchanged":     bytes.Join([][]byte{raw[:header], at(1), at(0), at(2), at(3)}, nil),
		"chunk repeated":       bytes.Join([][]byte{raw[:header], at(0), at(0), at(2), at(3)}, nil),
		"chunk dropped":        bytes.Join([][]byte{raw[:header], at(0), at(2), at(3)}, nil),
		"another's chunks":     append(bytes.Clone(raw[:header]), other[header:]...),
		"another object":       other,
		"changed first chunk":  flip(header + 5),
		"changed middle chunk": flip(header + sealed + 5),
		"changed tag":          flip(len(raw) - 1),
	}
	for i := range header {
		cases["changed header byte "+string(rune('0'+i/10))+string(rune('0'+i%10))] = flip(i)
	}
	for what, b := range cases {
		if err := os.WriteFile(root+"/x", b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := readWhole(t, s, "x"); !errors.Is(err, objects.ErrCorrupt) && !(strings.HasPrefix(what, "changed header") && err != nil) {
			t.Errorf("%s: %v, want ErrCorrupt", what, err)
		}
	}
	// A wrong size must show at once, or a reader would look for the footer in a wrong place.
	for _, what := range []string{"last chunk cut", "all but one cut", "chunk appended"} {
		if err := os.WriteFile(root+"/x", cases[what], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(t.Context(), "x"); !errors.Is(err, objects.ErrCorrupt) {
			t.Errorf("%s: Open: %v, want ErrCorrupt", what, err)
		}
	}
	if err := os.WriteFile(root+"/x", raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := readWhole(t, s, "x"); err != nil {
		t.Errorf("the unchanged object: %v", err)
	}
	if err := os.Rename(root+"/x", root+"/moved"); err != nil {
		t.Fatal(err)
	}
	if err := readWhole(t, s, "moved"); !errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("object under another name: %v, want ErrCorrupt", err)
	}
}

// A cut that happens after Open must not look like the end of the object.
func TestSealedCutWhileOpen(t *testing.T) {
	s, root, _ := newSealed(t)
	mustPut(t, s, "x", objectstest.Bytes(2*chunk))
	o, err := s.Open(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := os.Truncate(root+"/x", chunk); err != nil {
		t.Fatal(err)
	}
	if n, err := o.ReadAt(make([]byte, 10), chunk+10); n != 0 || !errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("ReadAt = %d, %v, want ErrCorrupt", n, err)
	}
}

func TestSealedDestroyedKey(t *testing.T) {
	s, root, provider := newSealed(t)
	mustPut(t, s, "x", []byte("x"))
	provider.Destroy(owner)
	if err := readWhole(t, s, "x"); !errors.Is(err, keys.ErrNoKey) || errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("Open: %v, want ErrNoKey", err)
	}
	if err := s.Put(t.Context(), "y", owner, nil); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("Put: %v, want ErrNoKey", err)
	}
	if left := unfinished(t, root); left != 0 {
		t.Errorf("%d unfinished files left", left)
	}
}

// unfinished counts the files in the folder of unfinished ones.
func unfinished(t *testing.T, root string) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "incoming~"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return len(entries)
}

func TestSealedCleansUnfinished(t *testing.T) {
	s, root, provider := newSealed(t)
	mustPut(t, s, "x", nil)
	old, young := filepath.Join(root, "incoming~", "old"), filepath.Join(root, "incoming~", "young")
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	for info, err := range s.List(t.Context(), "") {
		if err != nil || info.Name != "x" {
			t.Errorf("List yields %q, %v", info.Name, err)
		}
	}
	mustPut(t, objects.NewSealed(root, provider, objects.SealedConfig{}), "y", nil)
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale file is still there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the file of a running Put is gone: %v", err)
	}
}

// A write that fails half way, as on a full disk, leaves nothing. The limit on file sizes is
// the process's, so the test runs itself again to have one of its own.
func TestSealedFullDisk(t *testing.T) {
	const variable = "CARDLAKE_TEST_FULL_DISK"
	if root := os.Getenv(variable); root != "" {
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 256 << 10, Max: 256 << 10}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		s := objects.NewSealed(root, objectstest.NewKeys(), objects.SealedConfig{})
		if err := s.Put(t.Context(), "big", owner, objectstest.Bytes(1<<20)); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("Put beyond the limit: %v, want EFBIG", err)
		}
		mustPut(t, s, "small", objectstest.Bytes(100))
		return
	}
	root := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSealedFullDisk$")
	cmd.Env = append(os.Environ(), variable+"="+root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := objects.NewSealed(root, objectstest.NewKeys(), objects.SealedConfig{})
	if left := unfinished(t, root); left != 0 {
		t.Errorf("%d unfinished files left", left)
	}
	for info, err := range s.List(t.Context(), "") {
		if err != nil || info.Name != "small" {
			t.Errorf("List yields %q, %v", info.Name, err)
		}
	}
}

func TestSealedFolderCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := objects.NewSealed(file, objectstest.NewKeys(), objects.SealedConfig{})
	if err := s.Put(t.Context(), "x", owner, nil); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("Put: %v, want ENOTDIR", err)
	}
}

func BenchmarkSealedPut(b *testing.B) {
	s, _, _ := newSealed(b)
	body := objectstest.Bytes(8 << 20)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		mustPut(b, s, "x", body)
		if err := s.Delete(b.Context(), "x"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealedReadAt(b *testing.B) {
	s, _, _ := newSealed(b)
	mustPut(b, s, "x", objectstest.Bytes(8<<20))
	o, err := s.Open(b.Context(), "x")
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	buf := make([]byte, 8<<20)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.ReadAt(buf, 0); err != nil {
			b.Fatal(err)
		}
	}
}
