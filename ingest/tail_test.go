package ingest_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// snapshot is what a reader of the table sees at one instant: positions, and the rows of its
// files by their place on the stream.
func (l *lake) snapshot() (cardlake.Positions, map[cardlake.Position]int) {
	l.transactions.mu.Lock()
	at, files := l.transactions.positions.Clone(), slices.Clone(l.transactions.committed)
	l.transactions.mu.Unlock()
	rows := map[cardlake.Position]int{}
	for _, f := range files {
		body, err := objects.ReadAll(context.Background(), l.store, f.Name)
		if err != nil {
			l.t.Error(err)
			continue
		}
		err = parquet.Positions(context.Background(), body, func(p cardlake.Position) bool { rows[p]++; return true })
		if err != nil {
			l.t.Error(err)
		}
	}
	return at, rows
}

// checkUnion asks for the tail beyond a snapshot and checks that both together hold every
// event before the tail's end once, and nothing after it. It returns that end.
func (l *lake) checkUnion(w *ingest.Worker, at cardlake.Positions, committed map[cardlake.Position]int) cardlake.Positions {
	l.t.Helper()
	tail, err := w.Tail(at)
	if err != nil {
		l.t.Error(err)
		return nil
	}
	defer tail.Release()
	rows := map[cardlake.Position]int{}
	for p, n := range committed {
		rows[p] += n
	}
	for _, record := range tail.Rows {
		_, err := cardlake.SelectByPosition(record, func(p cardlake.Position) bool { rows[p]++; return true })
		if err != nil {
			l.t.Error(err)
		}
	}
	for p, n := range rows {
		end, ok := tail.To[p.StreamPartition]
		if !ok {
			end = at[p.StreamPartition]
		}
		if n != 1 || p.Offset >= end.Next {
			l.t.Errorf("%s is there %d times; the snapshot is at %v, the tail ends at %v", p, n, at, tail.To)
			return nil
		}
	}
	want := int64(0)
	for p := range at.Merge(tail.To) {
		end, ok := tail.To[p]
		if !ok {
			end = at[p]
		}
		want += end.Next
	}
	if int64(len(rows)) != want {
		l.t.Errorf("%d rows, want %d: the snapshot is at %v, the tail ends at %v", len(rows), want, at, tail.To)
	}
	return tail.To
}

// TestSnapshotAndTailAreExact reads all the time while windows fill, close, commit, fail and
// change hands. Readers may hold snapshots that are two commits old.
func TestSnapshotAndTailAreExact(t *testing.T) {
	const events = 900
	for name, fault := range map[string]func(n int) fault{
		"no faults": func(int) fault { return none },
		"faults": func(n int) fault {
			return []fault{none, unknownAfter, none, conflict, unknownBefore, none, refuse}[n%7]
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLake(t, 3)
			l.transactions.fault = fault
			w := l.worker(ingest.Config{WindowRows: 40, WindowAge: 5 * time.Millisecond})
			ctx, cancel := context.WithCancel(context.Background())
			var readers sync.WaitGroup
			covered, asked := 0, 0
			readers.Go(func() {
				for ctx.Err() == nil {
					at, committed := l.snapshot()
					time.Sleep(2 * time.Millisecond)
					for range 3 { // the same snapshot as it gets older
						if to := l.checkUnion(w, at, committed); len(to) == 3 {
							covered++
						}
						asked++
						if t.Failed() {
							return
						}
					}
				}
			})
			readers.Go(func() {
				for i := range events {
					l.stream.append(i%3, l.event(i))
					if i%50 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
			l.runUntil(w, func() bool { return w.Stats().Rows >= events && l.caughtUp() })
			cancel()
			readers.Wait()
			l.checkOnce(events)
			if covered == 0 {
				t.Errorf("the tail never covered all partitions in %d cases: the test shows nothing", asked)
			}
		})
	}
}

// TestTailOfOldSnapshot: what is in memory does not reach back to a snapshot that is too old,
// and the tail says so rather than leaving a gap.
func TestTailOfOldSnapshot(t *testing.T) {
	l := newLake(t, 1)
	w := l.worker(ingest.Config{WindowRows: 10, WindowAge: time.Hour})
	l.fill(55)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for w.Stats().Commits < 5 || w.Status().OpenRows < 5 {
		time.Sleep(time.Millisecond)
	}
	for _, tc := range []struct{ from, rows int64 }{{0, -1}, {29, -1}, {30, 25}, {35, 20}, {40, 15}, {50, 5}, {52, 3}, {55, 0}, {56, -1}} {
		tail, err := w.Tail(cardlake.Positions{place(0): {Next: tc.from}})
		if err != nil {
			t.Fatal(err)
		}
		rows := int64(0)
		for _, r := range tail.Rows {
			rows += r.NumRows()
		}
		to, ok := tail.To[place(0)]
		if ok != (tc.rows >= 0) || ok && (to.Next != 55 || rows != tc.rows) || !ok && rows != 0 {
			t.Errorf("from %d: %d rows up to %v, want %d", tc.from, rows, tail.To, tc.rows)
		}
		tail.Release()
	}
	cancel()
	<-done
}

// TestTailOfSpilledWindow: rows that left memory before their commit are in no tail.
func TestTailOfSpilledWindow(t *testing.T) {
	l := newLake(t, 1)
	for i := range 60 {
		l.stream.append(0, l.event(i*86400)) // a day each
	}
	deps := l.deps(l.keys)
	deps.Writer = writers.New(l.store, l.tenants, writers.Config{OpenFiles: 8})
	w := ingest.New(deps, ingest.Config{WindowAge: time.Hour, Now: func() time.Time { return now.AddDate(1, 0, 0) }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for w.Stats().Rows < 60 {
		time.Sleep(time.Millisecond)
	}
	tail, err := w.Tail(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(tail.Rows) > 0 || len(tail.To) > 0 {
		t.Errorf("a tail of %d records up to %v, want none", len(tail.Rows), tail.To)
	}
	tail.Release()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if at, rows := l.snapshot(); at[place(0)].Next != 60 || len(rows) != 60 {
		t.Errorf("%d rows at %v", len(rows), at)
	}
}

// TestReadersWaitForNoStore: while rows are spilled to a store that is away, and while a record
// that breaks a rule is sealed by a key service that is, Status and Tail answer.
func TestReadersWaitForNoStore(t *testing.T) {
	for name, tc := range map[string]struct {
		away  func(l *lake, isAway func() bool) keys.Provider
		event func(l *lake, i int) []byte
	}{
		"store": {
			func(l *lake, isAway func() bool) keys.Provider {
				l.store.fail = func(int) error {
					if isAway() {
						return errors.New("the store is away")
					}
					return nil
				}
				return l.keys
			},
			func(l *lake, i int) []byte { return l.event(i * 86400) }, // a day each
		},
		"key service": {
			func(l *lake, isAway func() bool) keys.Provider { return sealless{l.keys, isAway} },
			func(l *lake, i int) []byte { return l.eventOf(i, math.MaxInt64) }, // fits no column
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLake(t, 1)
			away, failed := true, make(chan struct{})
			var mu sync.Mutex
			var once sync.Once
			deps := l.deps(tc.away(l, func() bool {
				mu.Lock()
				defer mu.Unlock()
				if away {
					once.Do(func() { close(failed) })
				}
				return away
			}))
			for i := range 20 {
				l.stream.append(0, tc.event(l, i))
			}
			deps.Writer = writers.New(l.store, l.tenants, writers.Config{OpenFiles: 8})
			w := ingest.New(deps, ingest.Config{WindowAge: time.Millisecond, Grace: 10 * time.Second, Now: time.Now})
			l.runUntil(w, func() bool {
				select {
				case <-failed:
				default:
					return false
				}
				answered := make(chan error, 1)
				go func() {
					w.Status()
					tail, err := w.Tail(nil)
					if err == nil {
						tail.Release()
					}
					answered <- err
				}()
				select {
				case err := <-answered:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(10 * time.Second):
					t.Error("Status and Tail wait for the " + name)
				}
				mu.Lock()
				away = false
				mu.Unlock()
				return l.caughtUp()
			})
		})
	}
}

// sealless is a key service that sometimes gives no new data keys.
type sealless struct {
	keys.Provider
	isAway func() bool
}

func (s sealless) NewDataKey(ctx context.Context, scope keys.Scope) (keys.Key, []byte, error) {
	if s.isAway() {
		return keys.Key{}, nil, errors.New("the key service is away")
	}
	return s.Provider.NewDataKey(ctx, scope)
}

// TestTailOutlivesItsWindow: rows that a reader holds stay as they are while the worker goes
// on and takes new windows.
func TestTailOutlivesItsWindow(t *testing.T) {
	l := newLake(t, 1)
	w := l.worker(ingest.Config{WindowRows: 10, WindowAge: time.Hour})
	l.fill(5)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for w.Stats().Rows < 5 {
		time.Sleep(time.Millisecond)
	}
	tail, err := w.Tail(nil)
	if err != nil {
		t.Fatal(err)
	}
	held := copied(t, tail.Rows)
	for i := 5; i < 205; i++ {
		l.stream.append(0, l.event(i))
	}
	for w.Stats().Commits < 20 {
		time.Sleep(time.Millisecond)
	}
	if got := copied(t, tail.Rows); !slices.Equal(got, held) || len(held) != 5 {
		t.Errorf("the reader sees %v, saw %v", got, held)
	}
	tail.Release()
	cancel()
	<-done
}

func copied(t *testing.T, rows []arrow.RecordBatch) (out []cardlake.Position) {
	t.Helper()
	for _, r := range rows {
		_, err := cardlake.SelectByPosition(r, func(p cardlake.Position) bool { out = append(out, p); return true })
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}
