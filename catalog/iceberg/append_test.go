package iceberg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// rangeAppend appends one file that stands for the records of one partition in [from, to).
func rangeAppend(partition int32, from, to int64) catalog.Append {
	sp := cardlake.StreamPartition{Stream: "s", Partition: partition}
	return catalog.Append{
		Files: []cardlake.DataFile{{
			Name:   fmt.Sprintf("data/transactions/%d/%d-%d-%s.parquet", partition, from, to, appendID()[:8]),
			Tenant: "acme", Day: cardlake.DayOf(noon), Rows: to - from, Bytes: 10, MinTime: noon, MaxTime: noon,
		}},
		From: cardlake.Positions{sp: {Next: from}}, To: cardlake.Positions{sp: {Next: to}},
	}
}

// checkExactlyOnce reads the table with nothing cached: for every partition, the files'
// ranges must cover all records up to the table's position, each once.
func checkExactlyOnce(t *testing.T, db string, store *memoryStore) {
	t.Helper()
	checkCatalog(t, mustOpen(t, db, store))
}

func checkCatalog(t *testing.T, c *Catalog) {
	t.Helper()
	tbl := mustTable(t, c, cardlake.Transactions)
	positions, err := tbl.Positions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type span struct{ from, to int64 }
	spans := map[int32][]span{}
	var rows int64
	for _, f := range mustFiles(t, tbl, 0) {
		var p int32
		var s span
		if _, err := fmt.Sscanf(strings.TrimPrefix(f.Name, "data/transactions/"), "%d/%d-%d-", &p, &s.from, &s.to); err != nil {
			t.Fatal(err)
		}
		spans[p] = append(spans[p], s)
		rows += f.Rows
	}
	for p, list := range spans {
		slices.SortFunc(list, func(a, b span) int { return int(a.from - b.from) })
		next := int64(0)
		for _, s := range list {
			if s.from != next {
				t.Errorf("partition %d: a file begins at %d, want %d", p, s.from, next)
			}
			next = s.to
		}
		if at := positions[cardlake.StreamPartition{Stream: "s", Partition: p}].Next; at != next {
			t.Errorf("partition %d: the position is %d, the files end at %d", p, at, next)
		}
	}
	if current, err := tbl.Current(t.Context()); err != nil || current.Rows != rows {
		t.Errorf("the table says %d rows, %v, its files have %d", current.Rows, err, rows)
	}
}

// TestConcurrentAppendsLandOnce lets workers with their own catalogs race for overlapping
// partitions, as they do when one does not know yet that it lost them.
func TestConcurrentAppendsLandOnce(t *testing.T) {
	const workers, partitions, end = 4, 3, 40
	db, store := filepath.Join(t.TempDir(), "catalog.db"), newStore()
	mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
	var wg sync.WaitGroup
	for w := range workers {
		tbl := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
		random := rand.New(rand.NewPCG(1, uint64(w)))
		wg.Go(func() {
			// Each append moves a position: more rounds than records are too many.
			for range 20 * partitions * end {
				at, err := tbl.Positions(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				var open []int32
				for p := range int32(partitions) {
					if at[cardlake.StreamPartition{Stream: "s", Partition: p}].Next < end {
						open = append(open, p)
					}
				}
				if len(open) == 0 {
					return
				}
				p := open[random.IntN(len(open))]
				from := at[cardlake.StreamPartition{Stream: "s", Partition: p}].Next
				_, err = tbl.Append(t.Context(), rangeAppend(p, from, min(end, from+1+random.Int64N(5))))
				if err != nil && !errors.Is(err, catalog.ErrConflict) {
					t.Error(err)
					return
				}
			}
			t.Error("the positions do not get to the end")
		})
	}
	wg.Wait()
	checkExactlyOnce(t, db, store)
	if p, _ := mustTable(t, mustOpen(t, db, store), cardlake.Transactions).Positions(t.Context()); len(p) != partitions {
		t.Errorf("positions are %v", p)
	}
}

// TestConcurrentCreate opens a table that is not there from several catalogs at once.
func TestConcurrentCreate(t *testing.T) {
	db, store := filepath.Join(t.TempDir(), "catalog.db"), newStore()
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			c, err := Open(t.Context(), Config{DB: db, Objects: store})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			tbl, err := c.Table(t.Context(), cardlake.Transactions)
			if err == nil {
				_, err = tbl.Append(t.Context(), rangeAppend(int32(n), 0, 10))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	checkExactlyOnce(t, db, store)
}

func TestFencing(t *testing.T) {
	sp := func(n int32) cardlake.StreamPartition { return cardlake.StreamPartition{Stream: "s", Partition: n} }
	tests := map[string]catalog.Append{
		"behind":           rangeAppend(0, 0, 20),
		"ahead":            rangeAppend(0, 20, 30),
		"unknown, not 0":   rangeAppend(7, 5, 10),
		"only in To":       {To: cardlake.Positions{sp(0): {Next: 20}}},
		"one of two moved": {From: cardlake.Positions{sp(0): {Next: 10}, sp(1): {Next: 0}}, To: cardlake.Positions{sp(0): {Next: 20}, sp(1): {Next: 5}}},
		"asserted only":    {From: cardlake.Positions{sp(1): {Next: 30}}, To: cardlake.Positions{sp(2): {Next: 5}}},
	}
	tbl, store, _ := newTable(t, cardlake.Transactions)
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	mustAppend(t, tbl, rangeAppend(1, 0, 10))
	before, err := tbl.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	objects := store.names("")
	for name, a := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := tbl.Append(t.Context(), a); !errors.Is(err, catalog.ErrConflict) || errors.Is(err, catalog.ErrUnknown) {
				t.Errorf("append: %v, want a conflict", err)
			}
			if after, err := tbl.Current(t.Context()); err != nil || after.ID != before.ID || !slices.Equal(objects, store.names("")) {
				t.Errorf("the table changed to %+v, %v", after, err)
			}
		})
	}
	mustAppend(t, tbl, rangeAppend(0, 10, 20))
}

func TestMalformedAppends(t *testing.T) {
	tests := map[string]func(*catalog.Append){
		"nothing":         func(a *catalog.Append) { *a = catalog.Append{} },
		"backwards":       func(a *catalog.Append) { a.From, a.To = a.To, cardlake.Positions{} },
		"no stream":       func(a *catalog.Append) { a.To[cardlake.StreamPartition{}] = cardlake.Offset{Next: 5} },
		"no name":         func(a *catalog.Append) { a.Files[0].Name = "" },
		"no rows":         func(a *catalog.Append) { a.Files[0].Rows = 0 },
		"no bytes":        func(a *catalog.Append) { a.Files[0].Bytes = 0 },
		"no tenant":       func(a *catalog.Append) { a.Files[0].Tenant = "" },
		"another day":     func(a *catalog.Append) { a.Files[0].Day++ },
		"from yesterday":  func(a *catalog.Append) { a.Files[0].MinTime -= 86_400_000_000 },
		"over midnight":   func(a *catalog.Append) { a.Files[0].MaxTime += 86_400_000_000 },
		"times reversed":  func(a *catalog.Append) { a.Files[0].MinTime++ },
		"same name twice": func(a *catalog.Append) { a.Files = append(a.Files, a.Files[0]) },
	}
	for name, alter := range tests {
		t.Run(name, func(t *testing.T) {
			tbl, store, _ := newTable(t, cardlake.Transactions)
			objects := store.names("")
			a := rangeAppend(0, 0, 10)
			alter(&a)
			if name == "backwards" {
				a.To = cardlake.Positions{{Stream: "s"}: {Next: 3}}
			}
			_, err := tbl.Append(t.Context(), a)
			if err == nil || errors.Is(err, catalog.ErrConflict) || errors.Is(err, catalog.ErrUnknown) {
				t.Errorf("append: %v, want an error of its own", err)
			}
			if s, err := tbl.Current(t.Context()); err != nil || s.ID != 0 || !slices.Equal(objects, store.names("")) {
				t.Errorf("the table changed to %+v, %v", s, err)
			}
		})
	}
}

func TestEmptyAppendMovesPositions(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Transactions)
	a := rangeAppend(0, 0, 10)
	files := a.Files
	a.Files = nil
	first := mustAppend(t, tbl, a)
	if first.ID == 0 || !first.Positions.Equal(a.To) || first.Files != 0 {
		t.Errorf("the first snapshot is %+v", first)
	}
	b := rangeAppend(0, 10, 20)
	b.Files = files
	mustAppend(t, tbl, b)
	c := rangeAppend(1, 0, 5)
	c.Files = nil
	last := mustAppend(t, tbl, c)
	if !last.Positions.Equal(b.To.Merge(c.To)) || last.Files != 1 || len(mustFiles(t, tbl, 0)) != 1 {
		t.Errorf("the last snapshot is %+v", last)
	}
	v, err := tbl.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v.doc.meta.NameMapping() != nil {
		t.Error("an empty append left a name mapping in the table's properties")
	}
}

// TestStoreFaults fails one store operation of an append after the other. An append that
// fails has done nothing and left nothing, and does its work when it is tried again.
func TestStoreFaults(t *testing.T) {
	broken := errors.New("the disk is full")
	for _, part := range []string{"-m0.avro", "-m1.avro", "/snap-", ".metadata.json"} {
		t.Run("put "+part, func(t *testing.T) {
			tbl, store, db := newTable(t, cardlake.Transactions)
			faults := 0
			for n := range int64(20) {
				objects := store.names("")
				store.beforePut = once(part, func() error { faults++; return broken })
				a := rangeAppend(0, n*10, n*10+10)
				if _, err := tbl.Append(t.Context(), a); err != nil {
					if !errors.Is(err, broken) || errors.Is(err, catalog.ErrUnknown) || errors.Is(err, catalog.ErrConflict) {
						t.Fatalf("append %d: %v", n, err)
					}
					if !slices.Equal(objects, store.names("")) {
						t.Errorf("append %d left objects behind", n)
					}
					store.beforePut = nil
					mustAppend(t, tbl, a)
				}
			}
			if want := map[bool]int{true: 2, false: 20}[part == "-m1.avro"]; faults != want {
				t.Errorf("%d puts failed, want %d", faults, want)
			}
			checkExactlyOnce(t, db, store)
		})
	}
	t.Run("delete", func(t *testing.T) {
		tbl, store, db := newTable(t, cardlake.Transactions)
		store.beforeDelete = func(string) error { return broken }
		for n := range int64(20) {
			mustAppend(t, tbl, rangeAppend(0, n*10, n*10+10))
		}
		checkExactlyOnce(t, db, store)
	})
	t.Run("create", func(t *testing.T) {
		db, store := filepath.Join(t.TempDir(), "catalog.db"), newStore()
		c := mustOpen(t, db, store)
		store.beforePut = once(".metadata.json", func() error { return broken })
		if _, err := c.Table(t.Context(), cardlake.Transactions); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		mustAppend(t, mustTable(t, c, cardlake.Transactions), rangeAppend(0, 0, 10))
		checkExactlyOnce(t, db, store)
	})
}

// TestFailuresAtTheSwap fails the catalog between an append's last object and its swap.
func TestFailuresAtTheSwap(t *testing.T) {
	t.Parallel()
	atSwap := func(store *memoryStore, act func() error) { store.beforePut = once(".metadata.json", act) }
	execute := func(t *testing.T, tbl *Table, statement string) {
		t.Helper()
		if _, err := sqlDB(tbl).Exec(statement); err != nil {
			t.Error(err)
		}
	}
	trigger := func(action string) string {
		return "CREATE TRIGGER fault AFTER UPDATE ON iceberg_tables BEGIN SELECT RAISE(" + action + ", 'injected'); END"
	}

	t.Run("database closed: unknown", func(t *testing.T) {
		tbl, store, db := newTable(t, cardlake.Transactions)
		atSwap(store, tbl.cat.Close)
		a := rangeAppend(0, 0, 10)
		if _, err := tbl.Append(t.Context(), a); !errors.Is(err, catalog.ErrUnknown) || errors.Is(err, catalog.ErrConflict) {
			t.Fatalf("append: %v, want unknown", err)
		}
		// As the worker does then: reread, and go on from there.
		again := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
		if p, err := again.Positions(t.Context()); err != nil || len(p) != 0 {
			t.Fatalf("positions are %v, %v", p, err)
		}
		mustAppend(t, again, a)
		checkExactlyOnce(t, db, store)
	})
	t.Run("swap done but reported failed: found", func(t *testing.T) {
		tbl, store, db := newTable(t, cardlake.Transactions)
		mustAppend(t, tbl, rangeAppend(0, 0, 10))
		// RAISE(FAIL) returns an error and keeps what the statement did so far.
		execute(t, tbl, trigger("FAIL"))
		s, err := tbl.Append(t.Context(), rangeAppend(0, 10, 20))
		if err != nil {
			t.Fatal(err)
		}
		if at := s.Positions[cardlake.StreamPartition{Stream: "s"}].Next; at != 20 || s.Files != 2 {
			t.Errorf("the snapshot is %+v", s)
		}
		checkExactlyOnce(t, db, store)
	})
	t.Run("swap undone: nothing happened", func(t *testing.T) {
		tbl, store, db := newTable(t, cardlake.Transactions)
		mustAppend(t, tbl, rangeAppend(0, 0, 10))
		execute(t, tbl, trigger("ABORT"))
		a := rangeAppend(0, 10, 20)
		_, err := tbl.Append(t.Context(), a)
		if err == nil || errors.Is(err, catalog.ErrUnknown) || errors.Is(err, catalog.ErrConflict) {
			t.Fatalf("append: %v", err)
		}
		checkExactlyOnce(t, db, store)
		execute(t, tbl, "DROP TRIGGER fault")
		mustAppend(t, tbl, a)
		checkExactlyOnce(t, db, store)
	})
	t.Run("another partition first: both land", func(t *testing.T) {
		tbl, store, db := newTable(t, cardlake.Transactions)
		other := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
		atSwap(store, func() error { _, err := other.Append(t.Context(), rangeAppend(1, 0, 10)); return err })
		s := mustAppend(t, tbl, rangeAppend(0, 0, 10))
		if len(s.Positions) != 2 || s.Files != 2 {
			t.Errorf("the snapshot is %+v", s)
		}
		checkExactlyOnce(t, db, store)
		if n := store.count("-m"); n != 2 {
			t.Errorf("there are %d manifests, want 2: the lost try's is not taken back", n)
		}
	})
	t.Run("the same partition first: fenced", func(t *testing.T) {
		tbl, store, db := newTable(t, cardlake.Transactions)
		other := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
		atSwap(store, func() error { _, err := other.Append(t.Context(), rangeAppend(0, 0, 7)); return err })
		if _, err := tbl.Append(t.Context(), rangeAppend(0, 0, 10)); !errors.Is(err, catalog.ErrConflict) {
			t.Fatalf("append: %v, want a conflict", err)
		}
		checkExactlyOnce(t, db, store)
	})
	t.Run("always another first: conflict in the end", func(t *testing.T) {
		tbl, store, db := newTable(t, cardlake.Transactions)
		other := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
		var inside atomic.Bool
		n := int64(0)
		store.beforePut = func(name string) error {
			if !strings.HasSuffix(name, ".metadata.json") || !inside.CompareAndSwap(false, true) {
				return nil
			}
			defer inside.Store(false)
			_, err := other.Append(t.Context(), rangeAppend(1, n, n+1))
			n++
			return err
		}
		if _, err := tbl.Append(t.Context(), rangeAppend(0, 0, 10)); !errors.Is(err, catalog.ErrConflict) {
			t.Fatalf("append: %v, want a conflict", err)
		}
		if n != appendAttempts {
			t.Errorf("%d attempts, want %d", n, appendAttempts)
		}
		store.beforePut = nil
		checkExactlyOnce(t, db, store)
	})
	t.Run("cancelled before: nothing happened", func(t *testing.T) {
		tbl, store, db := newTable(t, cardlake.Transactions)
		objects := store.names("")
		ctx, cancel := context.WithCancel(t.Context())
		atSwap(store, func() error { cancel(); return nil })
		if _, err := tbl.Append(ctx, rangeAppend(0, 0, 10)); !errors.Is(err, context.Canceled) || errors.Is(err, catalog.ErrUnknown) {
			t.Fatalf("append: %v", err)
		}
		if !slices.Equal(objects, store.names("")) {
			t.Error("the append left objects behind")
		}
		mustAppend(t, tbl, rangeAppend(0, 0, 10))
		checkExactlyOnce(t, db, store)
	})
	t.Run("locked by another process: nothing happened", func(t *testing.T) {
		tbl, store, db := newTable(t, cardlake.Transactions)
		// The wait for a lock is as long as the connection says.
		sqlDB(tbl).SetMaxOpenConns(1)
		execute(t, tbl, "PRAGMA busy_timeout = 10")
		locker, err := sql.Open("sqlite", "file:"+db)
		if err != nil {
			t.Fatal(err)
		}
		defer locker.Close()
		locker.SetMaxOpenConns(1)
		atSwap(store, func() error { _, err := locker.Exec("BEGIN IMMEDIATE"); return err })
		a := rangeAppend(0, 0, 10)
		if _, err := tbl.Append(t.Context(), a); err == nil || errors.Is(err, catalog.ErrUnknown) || errors.Is(err, catalog.ErrConflict) {
			t.Fatalf("append: %v", err)
		}
		if _, err := locker.Exec("ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, tbl, a)
		checkExactlyOnce(t, db, store)
	})
}

type codedError int

func (codedError) Error() string { return "coded" }
func (e codedError) Code() int   { return int(e) }

func TestClassifySQLite(t *testing.T) {
	for code, want := range map[int]outcome{
		10:        unknown, // SQLITE_IOERR
		10 | 4<<8: unknown, // SQLITE_IOERR_FSYNC
		13:        unknown, // SQLITE_FULL
		5:         failed,  // SQLITE_BUSY
	} {
		if got := classifySQLite(fmt.Errorf("write: %w", codedError(code))); got != want {
			t.Errorf("code %d is classified %v", code, got)
		}
	}
	if classifySQLite(errors.New("other")) != failed {
		t.Error("an error without a code is taken for one of the disk's")
	}
}

// lateNews are pointers whose swaps happen, but are reported failed a while later.
type lateNews struct {
	pointers
	meanwhile func()
}

func (p *lateNews) swap(ctx context.Context, def *cardlake.Table, from, to string) (outcome, error) {
	if o, err := p.pointers.swap(ctx, def, from, to); o != swapped {
		return o, err
	}
	p.meanwhile()
	return unknown, errors.New("the connection is lost")
}

// TestNewsAfterTheHistory stops a process between its swap and the error, while others
// commit: as long as the history reaches back, its commit is found, and after that it is not
// taken for one that did not happen, whose files could be deleted.
func TestNewsAfterTheHistory(t *testing.T) {
	for commits, isFound := range map[int64]bool{0: true, 3: true, 4: false, 30: false} {
		for _, isFirst := range []bool{true, false} {
			db, store := filepath.Join(t.TempDir(), "catalog.db"), newStore()
			open := func() (*Catalog, *Table) {
				c, err := Open(t.Context(), Config{DB: db, Objects: store, History: 4, Grace: time.Nanosecond})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				return c, mustTable(t, c, cardlake.Transactions)
			}
			c, tbl := open()
			_, other := open()
			from := int64(0)
			if !isFirst {
				mustAppend(t, tbl, rangeAppend(0, 0, 10))
				from = 10
			}
			c.pointers = &lateNews{c.pointers, func() {
				for n := range commits {
					mustAppend(t, other, rangeAppend(1, n, n+1))
				}
			}}
			s, err := tbl.Append(t.Context(), rangeAppend(0, from, from+5))
			if isFound && (err != nil || s.ID == 0) || !isFound && !errors.Is(err, catalog.ErrUnknown) {
				t.Errorf("after %d commits of others: %+v, %v", commits, s, err)
			}
			checkExactlyOnce(t, db, store)
		}
	}
}
