package iceberg

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	sqlcatalog "github.com/apache/iceberg-go/catalog/sql"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg/gluetest"
	"github.com/cardlake/cardlake/internal/postgrestest"
)

// adapter is a place for the pointers, as the suite sees it: fresh, and opened as often as
// there are processes.
type adapter struct {
	open func(t *testing.T, store *memoryStore, readOnly bool) (*Catalog, error)
	// fail makes the next swap of tbl fail, as fault says.
	fail func(t *testing.T, tbl *Table, fault fault)
}

type fault int

const (
	before  fault = iota // the connection or the answer is lost, and nothing happens
	after                // it is lost when the swap is done
	late                 // it is lost, and the swap is done a while later
	refusal              // the swap is refused: nothing happens, and the caller knows
)

// lateBy is how long after its failure a late swap happens.
const lateBy = 300 * time.Millisecond

// TestAdapters holds every adapter to the same promises.
func TestAdapters(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { runSuite(t, newSQLiteAdapter) })
	t.Run("glue", func(t *testing.T) { runSuite(t, newGlueAdapter) })
	t.Run("postgres", func(t *testing.T) {
		server := &postgresServer{Server: postgrestest.Start(t)}
		runSuite(t, func(t *testing.T) adapter { return newPostgresAdapter(t, server) })
		t.Run("JDBC layout", func(t *testing.T) {
			checkJDBC(t, newPostgresAdapter(t, server).mustTable(t, newStore()), sqlcatalog.Postgres)
		})
		t.Run("outages", func(t *testing.T) { checkOutages(t, server) })
	})
}

func newSQLiteAdapter(t *testing.T) adapter {
	db := filepath.Join(t.TempDir(), "catalog.db")
	return adapter{
		open: func(t *testing.T, store *memoryStore, readOnly bool) (*Catalog, error) {
			return Open(t.Context(), Config{DB: db, Objects: store, ReadOnly: readOnly})
		},
		fail: func(t *testing.T, tbl *Table, f fault) {
			action := map[fault]string{
				before:  "ABORT",
				refusal: "ABORT",
				after:   "FAIL", // returns an error and keeps what the statement did so far
			}[f]
			if action == "" {
				t.Skip("SQLite is done when it returns")
			}
			// The trigger is on the connection's temporary schema, so that only this process has it.
			db := sqlDB(tbl)
			db.SetMaxOpenConns(1)
			if _, err := db.Exec("CREATE TEMP TRIGGER fault AFTER UPDATE ON main.iceberg_tables BEGIN SELECT RAISE(" + action + ", 'injected'); END"); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func newGlueAdapter(t *testing.T) adapter {
	server := gluetest.Start(gluetest.Config{MaxVersions: 3})
	t.Cleanup(server.Close)
	return adapter{
		open: func(t *testing.T, store *memoryStore, readOnly bool) (*Catalog, error) {
			return Open(t.Context(), Config{Glue: server.Client(), Objects: store, ReadOnly: readOnly})
		},
		fail: func(t *testing.T, _ *Table, f fault) {
			server.Inject(gluetest.UpdateTable, 1, map[fault]gluetest.Fault{
				before:  {},
				after:   {Done: true, Code: "InternalServiceException", Status: 500},
				late:    {Late: lateBy, Code: "OperationTimeoutException"},
				refusal: {Code: "ThrottlingException"},
			}[f])
		},
	}
}

func runSuite(t *testing.T, fresh func(*testing.T) adapter) {
	for name, test := range map[string]func(*testing.T, adapter){
		"create":               suiteCreate,
		"append":               suiteAppend,
		"compare and swap":     suiteCompareAndSwap,
		"fencing":              suiteFencing,
		"concurrent writers":   suiteConcurrent,
		"lost race":            suiteLostRace,
		"unknown: not done":    suiteUnknownBefore,
		"unknown: done":        suiteUnknownAfter,
		"unknown: done late":   suiteUnknownLate,
		"refused":              suiteRefused,
		"restart":              suiteRestart,
		"read-only":            suiteReadOnly,
		"cancelled before":     suiteCancelled,
		"two tables":           suiteTwoTables,
		"someone else's table": suiteMaintenance,
		"replace":              suiteReplace,
		"replace: not done":    suiteReplaceUnknownBefore,
		"replace: done":        suiteReplaceUnknownAfter,
		"expire: not done":     suiteExpireUnknownBefore,
		"expire: done":         suiteExpireUnknownAfter,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// mustOpen is another process.
func (a adapter) mustOpen(t *testing.T, store *memoryStore) *Catalog {
	t.Helper()
	c, err := a.open(t, store, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (a adapter) mustTable(t *testing.T, store *memoryStore) *Table {
	t.Helper()
	return mustTable(t, a.mustOpen(t, store), cardlake.Transactions)
}

func suiteCreate(t *testing.T, a adapter) {
	store := newStore()
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			c, err := a.open(t, store, false)
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
	checkCatalog(t, a.mustOpen(t, store))
	if p, err := a.mustTable(t, store).Positions(t.Context()); err != nil || len(p) != 4 {
		t.Errorf("positions are %v, %v", p, err)
	}
}

func suiteAppend(t *testing.T, a adapter) {
	store := newStore()
	tbl := a.mustTable(t, store)
	if s, err := tbl.Current(t.Context()); err != nil || s.ID != 0 {
		t.Fatalf("a new table is at %+v, %v", s, err)
	}
	var want []catalog.Snapshot
	for n := range 20 {
		want = append(want, mustAppend(t, tbl, window(n, 2)))
	}
	other := a.mustTable(t, store)
	got, err := other.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(mustFiles(t, other, 0)); n != 40 {
		t.Errorf("%d files, want 40", n)
	}
	if n := len(mustFiles(t, other, want[4].ID)); n != 10 {
		t.Errorf("the fifth snapshot has %d files, want 10", n)
	}
}

// suiteCompareAndSwap moves the pointer itself: from where it is not, and many at once.
func suiteCompareAndSwap(t *testing.T, a adapter) {
	store := newStore()
	tbl := a.mustTable(t, store)
	p := tbl.cat.pointers
	first, err := p.load(t.Context(), tbl.def)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to string
		want     outcome
		at       string
	}{
		{first + "x", "second", lost, first},
		{first, "second", swapped, "second"},
		{first, "third", lost, "second"},
		{"", "third", lost, "second"},
		{"second", "third", swapped, "third"},
	} {
		if o, err := p.swap(t.Context(), tbl.def, c.from, c.to); o != c.want || err != nil {
			t.Errorf("swap from %s to %s: %v, %v, want %v", c.from, c.to, o, err, c.want)
		}
		if at, err := p.load(t.Context(), tbl.def); err != nil || at != c.at {
			t.Fatalf("the pointer is at %s, %v, want %s", at, err, c.at)
		}
	}
	for round := range 5 {
		from, err := p.load(t.Context(), tbl.def)
		if err != nil {
			t.Fatal(err)
		}
		const racers = 8
		var wg sync.WaitGroup
		outcomes := make([]outcome, racers)
		names := make([]string, racers)
		for i := range racers {
			names[i] = "round-" + string(rune('a'+round)) + "-" + string(rune('a'+i))
			wg.Go(func() {
				var err error
				if outcomes[i], err = p.swap(t.Context(), tbl.def, from, names[i]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		at, err := p.load(t.Context(), tbl.def)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range outcomes {
			if want := map[bool]outcome{true: swapped, false: lost}[names[i] == at]; o != want {
				t.Errorf("round %d: the swap to %s says %v, the pointer is at %s", round, names[i], o, at)
			}
		}
	}
}

func suiteFencing(t *testing.T, a adapter) {
	store := newStore()
	tbl := a.mustTable(t, store)
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	zombie := a.mustTable(t, store)
	mustAppend(t, tbl, rangeAppend(0, 10, 20))
	objects := store.names("")
	if _, err := zombie.Append(t.Context(), rangeAppend(0, 10, 15)); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("append of a worker that lost its partition: %v", err)
	}
	if !slices.Equal(objects, store.names("")) {
		t.Error("the fenced append left objects")
	}
	checkCatalog(t, a.mustOpen(t, store))
}

func suiteConcurrent(t *testing.T, a adapter) {
	const workers, partitions, end = 4, 3, 20
	store := newStore()
	a.mustTable(t, store)
	var mu sync.Mutex
	var acknowledged []string // names of files: a lost update would be done again, and not be seen otherwise
	var wg sync.WaitGroup
	for w := range workers {
		tbl := a.mustTable(t, store)
		random := rand.New(rand.NewPCG(7, uint64(w)))
		wg.Go(func() {
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
				next := rangeAppend(p, from, min(end, from+1+random.Int64N(3)))
				_, err = tbl.Append(t.Context(), next)
				switch {
				case err == nil:
					mu.Lock()
					acknowledged = append(acknowledged, next.Files[0].Name)
					mu.Unlock()
				case !errors.Is(err, catalog.ErrConflict):
					t.Error(err)
					return
				}
			}
			t.Error("the positions do not get to the end")
		})
	}
	wg.Wait()
	checkCatalog(t, a.mustOpen(t, store))
	var files []string
	for _, f := range mustFiles(t, a.mustTable(t, store), 0) {
		files = append(files, f.Name)
	}
	slices.Sort(acknowledged)
	if diff := gocmp.Diff(acknowledged, files); diff != "" {
		t.Errorf("acknowledged appends and the table's files: %s", diff)
	}
}

func suiteLostRace(t *testing.T, a adapter) {
	store := newStore()
	tbl, other := a.mustTable(t, store), a.mustTable(t, store)
	store.beforePut = once(".metadata.json", func() error {
		_, err := other.Append(t.Context(), rangeAppend(0, 0, 7))
		return err
	})
	if _, err := tbl.Append(t.Context(), rangeAppend(0, 0, 10)); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("another append of the same partition was first: %v", err)
	}
	checkCatalog(t, a.mustOpen(t, store))
	at := func(p int32) cardlake.StreamPartition { return cardlake.StreamPartition{Stream: "s", Partition: p} }
	store.beforePut = once(".metadata.json", func() error {
		_, err := other.Append(t.Context(), rangeAppend(1, 0, 7))
		return err
	})
	if s := mustAppend(t, tbl, rangeAppend(0, 7, 20)); s.Positions[at(0)].Next != 20 || s.Positions[at(1)].Next != 7 || s.Files != 3 {
		t.Errorf("another append of another partition was first: %+v", s)
	}
	checkCatalog(t, a.mustOpen(t, store))
}

// mustRecover does what a worker does after an unknown outcome: it rereads in another
// process, and goes on from there.
func (a adapter) mustRecover(t *testing.T, store *memoryStore, again catalog.Append, happened bool) {
	t.Helper()
	tbl := a.mustTable(t, store)
	p, err := tbl.Positions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p.Holds(again.To) != happened {
		t.Fatalf("positions are %v; did it happen? %t", p, happened)
	}
	_, err = tbl.Append(t.Context(), again)
	if happened && !errors.Is(err, catalog.ErrConflict) || !happened && err != nil {
		t.Errorf("the same append again: %v", err)
	}
	checkCatalog(t, a.mustOpen(t, store))
}

func suiteUnknownBefore(t *testing.T, a adapter) {
	store := newStore()
	tbl := a.mustTable(t, store)
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	objects := store.names("")
	a.fail(t, tbl, before)
	next := rangeAppend(0, 10, 20)
	_, err := tbl.Append(t.Context(), next)
	if err == nil || errors.Is(err, catalog.ErrConflict) {
		t.Fatalf("append: %v", err)
	}
	if isUnknown := errors.Is(err, catalog.ErrUnknown); isUnknown == slices.Equal(objects, store.names("")) {
		t.Errorf("objects are deleted when the outcome is unknown, or left when it is known: %v", err)
	}
	a.mustRecover(t, store, next, false)
}

func suiteUnknownAfter(t *testing.T, a adapter) {
	store := newStore()
	tbl := a.mustTable(t, store)
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	a.fail(t, tbl, after)
	next := rangeAppend(0, 10, 20)
	s, err := tbl.Append(t.Context(), next)
	if err != nil || !s.Positions.Holds(next.To) || s.Files != 2 {
		t.Fatalf("the append is not found: %+v, %v", s, err)
	}
	a.mustRecover(t, store, next, true)
}

func suiteUnknownLate(t *testing.T, a adapter) {
	store := newStore()
	tbl := a.mustTable(t, store)
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	a.fail(t, tbl, late)
	next := rangeAppend(0, 10, 20)
	if _, err := tbl.Append(t.Context(), next); !errors.Is(err, catalog.ErrUnknown) {
		t.Fatalf("append: %v, want unknown", err)
	}
	reader := a.mustTable(t, store)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(lateBy / 10) {
		p, err := reader.Positions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Holds(next.To) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the late swap does not happen")
		}
	}
	a.mustRecover(t, store, next, true)
}

func suiteRefused(t *testing.T, a adapter) {
	store := newStore()
	tbl := a.mustTable(t, store)
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	objects := store.names("")
	a.fail(t, tbl, refusal)
	next := rangeAppend(0, 10, 20)
	if _, err := tbl.Append(t.Context(), next); err == nil || errors.Is(err, catalog.ErrConflict) || errors.Is(err, catalog.ErrUnknown) {
		t.Fatalf("append: %v, want an error of its own", err)
	}
	if !slices.Equal(objects, store.names("")) {
		t.Error("the refused append left objects")
	}
	a.mustRecover(t, store, next, false)
}

func suiteRestart(t *testing.T, a adapter) {
	store := newStore()
	for n := range 12 {
		c, err := a.open(t, store, false)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, mustTable(t, c, cardlake.Transactions), rangeAppend(0, int64(n)*10, int64(n)*10+10))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	checkCatalog(t, a.mustOpen(t, store))
}

func suiteReadOnly(t *testing.T, a adapter) {
	store := newStore()
	writer := a.mustOpen(t, store)
	c, err := a.open(t, store, true)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Table(t.Context(), cardlake.Transactions); !errors.Is(err, ErrNoTable) {
		t.Fatalf("open a table that is not there: %v", err)
	}
	tbl := mustTable(t, writer, cardlake.Transactions)
	reader := mustTable(t, c, cardlake.Transactions)
	for n := range 3 {
		want := mustAppend(t, tbl, window(n, 1))
		if got, err := reader.Current(t.Context()); err != nil || !gocmp.Equal(want, got) {
			t.Errorf("the reader sees %+v, %v, want %+v", got, err, want)
		}
	}
	objects := store.names("")
	if _, err := reader.Append(t.Context(), window(3, 1)); err == nil {
		t.Error("a read-only table takes an append")
	}
	if !slices.Equal(objects, store.names("")) {
		t.Error("a read-only table wrote objects")
	}
}

func suiteCancelled(t *testing.T, a adapter) {
	store := newStore()
	tbl := a.mustTable(t, store)
	objects := store.names("")
	ctx, cancel := context.WithCancel(t.Context())
	store.beforePut = once(".metadata.json", func() error { cancel(); return nil })
	next := rangeAppend(0, 0, 10)
	if _, err := tbl.Append(ctx, next); !errors.Is(err, context.Canceled) || errors.Is(err, catalog.ErrUnknown) {
		t.Fatalf("append: %v", err)
	}
	if !slices.Equal(objects, store.names("")) {
		t.Error("the append left objects behind")
	}
	a.mustRecover(t, store, next, false)
}

func suiteTwoTables(t *testing.T, a adapter) {
	store := newStore()
	c := a.mustOpen(t, store)
	mustAppend(t, mustTable(t, c, cardlake.Transactions), rangeAppend(0, 0, 10))
	rejected := mustTable(t, c, cardlake.Rejected)
	if s, err := rejected.Current(t.Context()); err != nil || s.ID != 0 {
		t.Errorf("the other table is at %+v, %v", s, err)
	}
	mustAppend(t, rejected, catalog.Append{To: rangeAppend(3, 0, 10).To})
	checkCatalog(t, c)
}

// suiteMaintenance commits with another writer, which sets no positions.
func suiteMaintenance(t *testing.T, a adapter) {
	store := newStore()
	tbl := a.mustTable(t, store)
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	change(t, tbl, addNothing)
	mustAppend(t, tbl, rangeAppend(0, 10, 20))
	checkCatalog(t, a.mustOpen(t, store))
}
