package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake/keys"
)

func newTestSigner(t testing.TB) *Signer {
	t.Helper()
	s, err := newSigner(keys.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shared(t testing.TB, dir string, ring *keyring, cfg Config) *Log {
	t.Helper()
	cfg.Actor, cfg.Unsigned = "tester", cfg.Signer == nil
	l, err := OpenShared(t.Context(), dir, ring, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A process that writes alone stays in its segment; where others wrote in between it begins a
// new one behind them, and all of it is one chain.
func TestProcessesShareALog(t *testing.T) {
	ring, dir := &keyring{}, t.TempDir()
	anchor := FileAnchor(filepath.Join(t.TempDir(), "head"))
	a := shared(t, dir, ring, Config{Anchor: anchor})
	fill(t, a, 3)
	fill(t, a, 3)
	b := shared(t, dir, ring, Config{Anchor: anchor})
	fill(t, b, 2)
	fill(t, a, 2) // resumes
	fill(t, a, 2)
	fill(t, b, 1) // resumes
	closed(t, b)
	closed(t, a) // resumes
	saved, err := anchor.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: saved})
	if got.Break != nil || got.Segments != 5 || got.Lines != 13+2+3+2 || saved != a.Head() {
		t.Errorf("%d segments, %d lines, break %v; anchor %+v, head %+v", got.Segments, got.Lines, got.Break, saved, a.Head())
	}
	if n := len(actions(t, dir, Filter{Action: ActionResume})); n != 3 {
		t.Errorf("%d segments were resumed, want 3", n)
	}
}

func TestManyWritersOfASharedLog(t *testing.T) {
	ring, dir := &keyring{}, t.TempDir()
	signer := newTestSigner(t)
	anchor := FileAnchor(filepath.Join(t.TempDir(), "head"))
	const processes, callers, each = 3, 4, 25
	var wg sync.WaitGroup
	for p := range processes {
		wg.Go(func() {
			l, err := OpenShared(t.Context(), dir, ring, Config{Actor: fmt.Sprint("process ", p), Signer: signer, Anchor: anchor, AnchorAfter: time.Millisecond, LockWait: time.Minute})
			if err != nil {
				t.Error(err)
				return
			}
			var inner sync.WaitGroup
			for c := range callers {
				inner.Go(func() {
					for i := range each {
						r := record(i)
						r.Actor = fmt.Sprint("caller ", p, " ", c)
						if err := l.Append(t.Context(), r); err != nil {
							t.Error(err)
						}
					}
				})
			}
			inner.Wait()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	saved, err := anchor.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: saved})
	if got.Break != nil || saved != got.Head {
		t.Errorf("break %v; anchor %+v, head %+v", got.Break, saved, got.Head)
	}
	for p := range processes {
		for c := range callers {
			next := int64(0)
			for e, err := range Read(t.Context(), dir, Filter{Actor: fmt.Sprint("caller ", p, " ", c)}) {
				if err != nil {
					t.Fatal(err)
				}
				if e.Numbers["tokens"] != next {
					t.Fatalf("caller %d %d: line %d where %d is due", p, c, e.Numbers["tokens"], next)
				}
				next++
			}
			if next != each {
				t.Errorf("caller %d %d: %d lines", p, c, next)
			}
		}
	}
}

// Another process died: with half a line, with an empty segment, or with its turn.
func TestASharedLogGoesOnBehindTheDead(t *testing.T) {
	for name, last := range map[string]func(dir string) error{
		"half a line":      func(dir string) error { return appendTo(filepath.Join(dir, segmentName(2)), `{"seq":9,"ti`) },
		"an empty segment": func(dir string) error { return os.WriteFile(filepath.Join(dir, segmentName(3)), nil, 0o600) },
		"half a segment":   func(dir string) error { return os.WriteFile(filepath.Join(dir, segmentName(3)), []byte("{"), 0o600) },
		"its turn":         func(string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			ring, dir := &keyring{}, t.TempDir()
			a := shared(t, dir, ring, Config{})
			fill(t, a, 1)
			b := shared(t, dir, ring, Config{})
			fill(t, b, 2)
			b.writing.Lock()
			if err := b.turn.take(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
			b.writing.Unlock()
			die(b)
			if err := last(dir); err != nil {
				t.Fatal(err)
			}
			fill(t, a, 2)
			closed(t, a)
			if got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: a.Head()}); got.Break != nil || got.Lines != 2+3+3+1 {
				t.Errorf("break %v, %d lines", got.Break, got.Lines)
			}
		})
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// What somebody does to the files while the log is written stops it at the next line.
func TestASharedLogStopsWhenItIsChanged(t *testing.T) {
	for name, change := range map[string]func(all string) error{
		"its segment is cut":      func(dir string) error { return os.Truncate(filepath.Join(dir, segmentName(1)), 700) },
		"its segment grew":        func(dir string) error { return appendTo(filepath.Join(dir, segmentName(1)), "x") },
		"its segment is replaced": func(dir string) error { return replace(filepath.Join(dir, segmentName(1)), nil) },
		"another's line is changed": func(dir string) error {
			return replace(filepath.Join(dir, segmentName(2)), func(b []byte) []byte { return bytes.Replace(b, []byte("ana"), []byte("bea"), 1) })
		},
		"another's line is taken out": func(dir string) error {
			return replace(filepath.Join(dir, segmentName(2)), func(b []byte) []byte {
				ls := bytes.SplitAfter(b, []byte("\n"))
				return bytes.Join(append(ls[:1:1], ls[2:]...), nil)
			})
		},
		"another's first line is another log's": func(dir string) error {
			ring, other := &keyring{}, t.TempDir()
			for range 2 {
				l := shared(t, other, ring, Config{})
				closed(t, l)
			}
			text, err := os.ReadFile(filepath.Join(other, segmentName(2)))
			return errors.Join(err, os.WriteFile(filepath.Join(dir, segmentName(2)), text, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			ring, dir := &keyring{}, t.TempDir()
			a := shared(t, dir, ring, Config{})
			defer a.Close()
			fill(t, a, 1)
			b := shared(t, dir, ring, Config{})
			fill(t, b, 3)
			closed(t, b)
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			before := files(t, dir)
			for range 2 {
				if err := a.Append(t.Context(), record(1)); !errors.Is(err, ErrChanged) && !errors.Is(err, ErrBroken) {
					t.Errorf("error %v", err)
				}
			}
			for file, text := range files(t, dir) {
				if !bytes.Equal(text, before[file]) {
					t.Errorf("%s was written to", file)
				}
			}
		})
	}
}

func replace(path string, change func([]byte) []byte) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if change != nil {
		text = change(text)
	}
	return errors.Join(os.WriteFile(path+".new", text, 0o600), os.Rename(path+".new", path))
}

// A log of one process and a shared one keep each other out, and a turn that does not come
// is an error.
func TestTurnsAreWaitedFor(t *testing.T) {
	ring, dir := &keyring{}, t.TempDir()
	alone := open(t, dir, ring, Config{})
	if _, err := OpenShared(t.Context(), dir, ring, Config{Actor: "tester", Unsigned: true, LockWait: time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Errorf("beside a log of one process: error %v", err)
	}
	closed(t, alone)
	a := shared(t, dir, ring, Config{LockWait: time.Millisecond})
	alone = open(t, dir, ring, Config{})
	if err := a.Append(t.Context(), record(1)); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v", err)
	}
	closed(t, alone)
	fill(t, a, 1)
	closed(t, a)
	if err := a.Append(t.Context(), record(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: error %v", err)
	}
	if got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: a.Head()}); got.Break != nil {
		t.Error(got.Break)
	}
}

// While the end of a segment may hold what was refused, nobody goes on behind it.
func TestARefusedLineOfASharedLogKeepsTheTurn(t *testing.T) {
	ring, dir := &keyring{}, t.TempDir()
	a := shared(t, dir, ring, Config{})
	good := a.file
	a.file = &faulty{segmentFile: good, sync: errors.New("no fsync"), truncate: errors.New("no truncate")}
	if err := a.Append(t.Context(), record(1)); err == nil {
		t.Fatal("no error")
	}
	if _, err := OpenShared(t.Context(), dir, ring, Config{Actor: "tester", Unsigned: true, LockWait: time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v", err)
	}
	a.file = good
	fill(t, a, 1)
	b := shared(t, dir, ring, Config{})
	closed(t, b)
	closed(t, a)
	if got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: a.Head()}); got.Break != nil || got.Lines != 2+2+2 {
		t.Errorf("break %v, %d lines", got.Break, got.Lines)
	}
}

// An older head never takes the place of a newer one of another process.
func TestTheAnchorOfASharedLogNeverGoesBack(t *testing.T) {
	ring, dir := &keyring{}, t.TempDir()
	anchor := FileAnchor(filepath.Join(t.TempDir(), "head"))
	cfg := Config{Anchor: anchor, AnchorAfter: time.Hour}
	a := shared(t, dir, ring, cfg)
	fill(t, a, 1)
	b := shared(t, dir, ring, cfg)
	fill(t, b, 1)
	closed(t, b)
	if err := a.saveAnchor(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if saved, err := anchor.Load(t.Context()); err != nil || saved != b.Head() {
		t.Errorf("anchor %+v, want %+v; error %v", saved, b.Head(), err)
	}
	closed(t, a)
}

// BenchmarkShared measures a record of a shared log beside one fsync for each record, in the
// same run and folder.
func BenchmarkShared(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			l := shared(b, b.TempDir(), &keyring{}, Config{Signer: newTestSigner(b)})
			defer closed(b, l)
			b.ReportAllocs()
			var wg sync.WaitGroup
			work := make(chan struct{}, callers)
			for range callers {
				wg.Go(func() {
					for range work {
						if err := l.Append(context.Background(), record(1)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
	b.Run("reference=fsync-per-record", func(b *testing.B) {
		f, err := os.OpenFile(filepath.Join(b.TempDir(), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		line, _, err := appendLine(nil, &Entry{Seq: 1, Record: record(1)}, keys.NewKey())
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := f.Write(line); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
}
