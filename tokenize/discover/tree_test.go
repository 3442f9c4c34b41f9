package discover

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/card"
)

// tinyTree writes files, given by path and content, into a fresh folder.
func tinyTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func scanTree(t *testing.T, k *Known, dir string) ([]Finding, Stats, error) {
	t.Helper()
	var out []Finding
	stats, err := k.ScanTree(t.Context(), dir, nil, func(f Finding) bool {
		out = append(out, f)
		return true
	})
	return out, stats, err
}

func TestScanTree(t *testing.T) {
	p := panOf(t, 1, 16)
	digits := string(p.Digits())
	k := NewKnown(slices.Values([]card.PAN{p}))
	dir := tinyTree(t, map[string]string{
		"a.txt": "nothing", "empty": "", ".hidden/.file": "xx" + digits, "deep/er/b.bin": string(packed(p.Digits(), false)),
	})
	if err := os.Symlink(filepath.Join(dir, "a.txt"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	got, stats, err := scanTree(t, k, dir)
	if err != nil {
		t.Fatal(err)
	}
	fp := k.fingerprintOf(p)
	want := []Finding{{".hidden/.file", 2, ASCII, fp}, {"deep/er/b.bin", 0, BCD, fp}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Stats{Files: 4, Bytes: 7 + 18 + 8, Skipped: 2}, stats); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func TestScanTreeThroughALinkToTheFolder(t *testing.T) {
	p := panOf(t, 1, 16)
	dir := tinyTree(t, map[string]string{"f": string(p.Digits())})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	got, _, err := scanTree(t, NewKnown(slices.Values([]card.PAN{p})), link)
	if err != nil || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestScanTreeSearchesPaths(t *testing.T) {
	p := panOf(t, 1, 16)
	digits := string(p.Digits())
	dir := tinyTree(t, map[string]string{"cards/card-" + digits + ".txt": "body " + digits})
	got, _, err := scanTree(t, NewKnown(slices.Values([]card.PAN{p})), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Offset != int64(len("cards/card-")) || got[1].Offset != int64(len("body ")) {
		t.Errorf("got %v, want one finding in the path and one in the file", got)
	}
	for _, f := range got {
		if strings.Contains(f.String(), digits) {
			t.Error("the finding shows the number")
		}
	}
}

func TestScanTreeReportsWhatItCouldNotRead(t *testing.T) {
	p := panOf(t, 1, 16)
	digits := string(p.Digits())
	k := NewKnown(slices.Values([]card.PAN{p}))
	dir := tinyTree(t, map[string]string{"z": digits, "d/inside": "x"})
	tr := tree{Known: *k, progress: func(int64, int64) {}, yield: func(Finding) bool { return true }}
	visit := func(name string, err error) {
		t.Helper()
		info, statErr := os.Lstat(filepath.Join(dir, "d"))
		if statErr != nil {
			t.Fatal(statErr)
		}
		path := filepath.Join(dir, name)
		if got := tr.visit(t.Context(), path, name, fs.FileInfoToDirEntry(info), &fs.PathError{Op: "open", Path: path, Err: err}); got != nil {
			t.Fatalf("visit: %v", got)
		}
	}
	visit("locked", fs.ErrPermission)
	visit("locked-"+digits, fs.ErrPermission)
	visit("gone", fs.ErrNotExist)
	if tr.stats.Vanished != 1 || len(tr.faults) != 2 {
		t.Errorf("got %d vanished and faults %v", tr.stats.Vanished, tr.faults)
	}
	err := errors.Join(tr.faults...)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "locked") {
		t.Errorf("got %v, want a permission fault that names the file", err)
	}
	if strings.Contains(err.Error(), digits) {
		t.Error("the error shows the number")
	}
	if _, _, err := scanTree(t, k, filepath.Join(dir, "no such folder")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

// A file that is removed between the listing of its folder and its turn is no error.
func TestScanTreeWhileFilesVanish(t *testing.T) {
	p := panOf(t, 1, 16)
	dir := tinyTree(t, map[string]string{"a": "1", "b": "2", "c": string(p.Digits())})
	removed := false
	n := 0
	stats, err := NewKnown(slices.Values([]card.PAN{p})).ScanTree(t.Context(), dir, func(files, _ int64) {
		if files == 1 && !removed {
			removed = true
			if err := os.Remove(filepath.Join(dir, "b")); err != nil {
				t.Error(err)
			}
		}
	}, func(Finding) bool { n++; return true })
	if err != nil || n != 1 || stats.Files != 2 || stats.Vanished != 1 {
		t.Errorf("got %d findings, %+v, %v", n, stats, err)
	}
}

func TestScanTreeStops(t *testing.T) {
	p := panOf(t, 1, 16)
	k := NewKnown(slices.Values([]card.PAN{p}))
	dir := tinyTree(t, map[string]string{"a": string(p.Digits()), "b": string(p.Digits())})
	n := 0
	if _, err := k.ScanTree(t.Context(), dir, nil, func(Finding) bool { n++; return false }); n != 1 || err != nil {
		t.Errorf("after yield said stop: %d findings, error %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n = 0
	_, err := k.ScanTree(ctx, dir, func(files, _ int64) {
		if files == 1 {
			cancel()
		}
	}, func(Finding) bool { n++; return true })
	if n != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("after cancelling: %d findings, error %v", n, err)
	}
}
