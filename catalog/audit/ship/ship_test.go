package ship

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/writers/objects"
)

// Lines of open and closed segments are rows, closed segments are objects, each once, however
// often and by however many it is shipped.
func TestShipped(t *testing.T) {
	s := newSite(t)
	s.cfg.Metrics = prometheus.NewRegistry()
	s.cfg.MaxLines = 4
	if r := s.ship(); r != (Report{}) {
		t.Errorf("a log that is not there: %+v", r)
	}
	s.cfg.Metrics = nil
	s.write(5)
	s.write(2)
	l := s.open()
	s.fill(l, 3)
	one, other := s.shipper(), s.shipper()
	r, err := one.Once(t.Context())
	if want := (Report{Log: l.Head().Log, Lines: 17, Segments: 2, Heads: 1, Seq: 17}); err != nil || r != want {
		t.Errorf("%+v, want %+v; error %v", r, want, err)
	}
	if r, err := other.Once(t.Context()); err != nil || r.Lines+r.Segments != 0 || r.Seq != 17 {
		t.Errorf("again: %+v, error %v", r, err)
	}
	s.fill(l, 3)
	for _, one := range []*Shipper{one, other, one} {
		_, err = one.Once(t.Context())
	}
	if err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.ship()
	if c := s.compare(); c.Break != nil || c.Lines != 22 || c.Beyond != 0 || c.Segments != 3 {
		t.Errorf("%+v", c)
	}
	if d := cmp.Diff([]string{"audit-00000001.jsonl", "audit-00000002.jsonl"}, s.segmentsInArchive()); d != "" {
		t.Error(d)
	}
	heads, err := Heads(t.Context(), s.archive, l.Head().Log, 10)
	if err != nil || len(heads) == 0 {
		t.Fatal(heads, err)
	}
	for _, h := range heads {
		if err := h.Verify(s.verify.Public...); err != nil {
			t.Error(err)
		}
		s.verify.Known = append(s.verify.Known, h.Head)
	}
	if logs, err := Logs(t.Context(), s.archive); err != nil || len(logs) != 1 || logs[0] != l.Head().Log {
		t.Errorf("logs %q, error %v", logs, err)
	}
	if r, err := audit.Verify(t.Context(), s.dir, s.verify); err != nil || r.Break != nil || r.Checkpoints != 3 {
		t.Errorf("%+v, error %v", r, err)
	}
	s.verify.Known = nil
	if r, err := audit.VerifySegments(t.Context(), Copy(s.archive, l.Head().Log), s.verify); err != nil || r.Break != nil || r.Segments != 2 || r.Lines != 13 {
		t.Errorf("%+v, error %v", r, err)
	}
}

// What fails is tried again, and each line is in the table once, whatever became of what
// failed.
func TestShippedOnceOverFailures(t *testing.T) {
	ring := newRing(t)
	for _, fault := range []error{errors.New("before"), errAfter} {
		for nth := range 6 {
			s := newSiteOf(t, ring)
			s.cfg.MaxLines = 3
			s.write(4)
			s.write(4)
			n := 0
			fail := func() error {
				if n++; n-1 == nth {
					return fault
				}
				return nil
			}
			s.table.fail = fail
			s.archive.puts = func(string) error { return fail() }
			one, failed := s.shipper(), 0
			for range 4 {
				if _, err := one.Once(t.Context()); err != nil {
					failed++
					if errors.Is(err, audit.ErrBreak) {
						t.Fatal(err)
					}
				}
			}
			if failed != 1 {
				t.Errorf("fault %v at %d: failed %d times", fault, nth, failed)
			}
			if c := s.compare(); c.Break != nil || c.Lines != 14 || c.Beyond != 0 {
				t.Errorf("fault %v at %d: %+v", fault, nth, c)
			}
			if got := s.segmentsInArchive(); len(got) != 1 {
				t.Errorf("fault %v at %d: archive has %q", fault, nth, got)
			}
		}
	}
}

// The real table takes the rows, and positions carry the last hash.
func TestShippedToIceberg(t *testing.T) {
	s := newSite(t)
	s.write(5)
	sealed := objects.NewSealed(t.TempDir(), s.ring, objects.SealedConfig{})
	c, err := iceberg.Open(t.Context(), iceberg.Config{DB: filepath.Join(t.TempDir(), "catalog.db"), Objects: sealed})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	table, err := c.Table(t.Context(), cardlake.AuditEvents)
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Archive = sealed
	for range 2 {
		one, err := New(s.dir, sealed, table, s.verify, s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		one.Close()
		s.write(2)
	}
	got, err := Compare(t.Context(), audit.Dir(s.dir), s.verify, table, sealed)
	if err != nil || got.Break != nil || got.Lines != 8+5 || got.Beyond != 5 {
		t.Errorf("%+v, error %v", got, err)
	}
	positions, err := table.Positions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if at := positions[cardlake.StreamPartition{Stream: Stream(got.Log)}]; at.Next != 14 || len(at.Mark) != 64 {
		t.Errorf("position %+v", at)
	}
	numbers, err := Copy(sealed, got.Log).Numbers(t.Context())
	if d := cmp.Diff([]int{1}, numbers); d != "" || err != nil {
		t.Error(d, err)
	}
}

// A log that is broken, rewritten or cut stops the shipper, and nothing of the wrong part is
// shipped.
func TestABrokenLogIsNotShipped(t *testing.T) {
	ring := newRing(t)
	edit := func(number int, change func([]byte) []byte) func(*site) {
		return func(s *site) {
			path := filepath.Join(s.dir, audit.SegmentName(number))
			b, err := os.ReadFile(path)
			if err != nil {
				s.Fatal(err)
			}
			if err := os.WriteFile(path, change(b), 0o600); err != nil {
				s.Fatal(err)
			}
		}
	}
	lie := func(b []byte) []byte { return bytes.Replace(b, []byte("auditor/ana"), []byte("auditor/eva"), 1) }
	anew := func(s *site) {
		for name := range s.files() {
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				s.Fatal(err)
			}
		}
		s.write(9)
		s.write(9)
	}
	for name, c := range map[string]struct {
		shipped bool
		change  func(*site)
	}{
		"a line is changed before it is shipped": {false, edit(1, lie)},
		"a line is changed afterwards":           {true, edit(2, lie)},
		"a segment is gone before": {false, func(s *site) {
			if err := os.Remove(filepath.Join(s.dir, audit.SegmentName(1))); err != nil {
				s.Fatal(err)
			}
		}},
		"a segment is changed in the archive": {true, func(s *site) {
			for name, b := range s.archive.objects {
				s.archive.objects[name] = lie(b)
			}
			s.write(1)
		}},
		"a segment is gone from the archive": {true, func(s *site) {
			s.write(1)
			s.ship()
			s.write(1)
			for name := range s.archive.objects {
				if filepath.Base(name) == audit.SegmentName(1) {
					delete(s.archive.objects, name)
				}
			}
		}},
		"all of it is written anew by a holder of the keys": {false, func(s *site) {
			before := s.ship()
			anew(s)
			// With the old log's id: who has the keys can write that too.
			positions := s.table.positions
			log, err := audit.LogOf(s.Context(), audit.Dir(s.dir))
			if err != nil {
				s.Fatal(err)
			}
			s.table.positions = cardlake.Positions{{Stream: Stream(log)}: positions[cardlake.StreamPartition{Stream: Stream(before.Log)}]}
		}},
		"the archive has another segment of the name": {false, func(s *site) {
			s.archive.puts = func(name string) error {
				s.archive.objects[name] = []byte("another")
				return nil
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSiteOf(t, ring)
			s.write(4)
			s.write(4)
			if c.shipped {
				s.ship()
			}
			rows := len(s.table.files)
			c.change(s)
			_, err := s.shipper().Once(t.Context())
			if !errors.Is(err, audit.ErrBreak) {
				t.Fatalf("error %v", err)
			}
			for _, f := range s.table.files[rows:] {
				err := eachRow(t.Context(), s.store.objects[f.Name], func(e *cardlake.AuditEvent) error {
					if e.Actor == "auditor/eva" {
						t.Error("a row is of a line that is wrong")
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	s := newSite(t)
	s.write(4)
	s.cfg.Every = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	one := s.shipper()
	s.table.fail = func() error { cancel(); return errors.New("out of reach") }
	go func() { done <- one.Run(ctx) }()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Only what is elsewhere, the same byte for byte, is removed here; the log then says so.
func TestPruned(t *testing.T) {
	s := newSite(t)
	for range 4 {
		s.write(3)
	}
	s.ship()
	l := s.open()
	holds := Holds(s.archive, s.dir)
	soon := time.Now().Add(time.Hour)
	if gone, err := l.Prune(t.Context(), time.Now().Add(-time.Hour), s.verify, holds); err != nil || len(gone) != 0 {
		t.Errorf("nothing is old: %v, error %v", gone, err)
	}
	damaged := filepath.Join("audit", l.Head().Log, audit.SegmentName(2))
	s.archive.objects[damaged][100] ^= 1
	gone, err := l.Prune(t.Context(), soon, s.verify, holds)
	if err == nil || len(gone) != 1 {
		t.Errorf("second copy damaged: %d are gone, error %v", len(gone), err)
	}
	s.archive.objects[damaged][100] ^= 1
	gone, err = l.Prune(t.Context(), soon, s.verify, holds)
	if err == nil || len(gone) != 2 { // the fourth was never shipped
		t.Errorf("%d are gone, error %v", len(gone), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := audit.Verify(t.Context(), s.dir, s.verify)
	if err != nil || r.Break != nil || r.Pruned != 3 {
		t.Errorf("%+v, error %v", r, err)
	}
	s.ship()
	if c := s.compare(); c.Break != nil || c.Older != 18 {
		t.Errorf("%+v", c)
	}
	if r, err := audit.VerifySegments(t.Context(), Copy(s.archive, r.Log), s.verify); err != nil || r.Break != nil || r.Segments != 4 {
		t.Errorf("the archive has all: %+v, error %v", r, err)
	}
	// One more is taken away, which the log does not say.
	if err := os.Remove(filepath.Join(s.dir, audit.SegmentName(4))); err != nil {
		t.Fatal(err)
	}
	if r, err := audit.Verify(t.Context(), s.dir, s.verify); err != nil || r.Break == nil {
		t.Errorf("no break: %+v, error %v", r, err)
	}
}
