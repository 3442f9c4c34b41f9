package iceberg

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go/table"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// putData puts objects for the files.
func putData(t testing.TB, store objects.Store, files ...cardlake.DataFile) {
	t.Helper()
	for _, f := range files {
		if err := store.Put(t.Context(), f.Name, keys.Lake, []byte(f.Name)); err != nil {
			t.Fatal(err)
		}
	}
}

// compacted is a table of ten appends, of which two of three tenants were compacted.
func compacted(t *testing.T) (*Table, *memoryStore, []cardlake.DataFile) {
	tbl, store, _ := newTable(t, cardlake.Transactions)
	for n := range 10 {
		a := window(n, 3)
		putData(t, store, a.Files...)
		mustAppend(t, tbl, a)
	}
	var old []cardlake.DataFile
	for _, tenant := range []cardlake.Tenant{"tenant-0", "tenant-1"} {
		files := ofTenant(t, tbl, tenant)
		old = append(old, files...)
		r := compaction(files...)
		putData(t, store, r.Add...)
		mustReplace(t, tbl, r)
	}
	return tbl, store, old
}

func mustExpire(t testing.TB, tbl *Table, e Expiry) Expired {
	t.Helper()
	done, err := tbl.Expire(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func mustSnapshots(t testing.TB, tbl *Table) []catalog.Snapshot {
	t.Helper()
	s, err := tbl.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExpire(t *testing.T) {
	const none = -time.Second
	future := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		expiry    Expiry
		snapshots int // left, of 12
		data      int // left, of 32
	}{
		"all but one":          {Expiry{KeepLast: 1, Grace: none}, 1, 12},
		"before the future":    {Expiry{Before: future, Grace: none}, 1, 12},
		"but the last":         {Expiry{Before: future, KeepLast: 4, Grace: none}, 4, 32},
		"the last alone":       {Expiry{KeepLast: 2, Grace: none}, 2, 22},
		"before it was":        {Expiry{Before: future.Add(-2 * time.Hour), Grace: none}, 12, 32},
		"before, whatever few": {Expiry{Before: future.Add(-2 * time.Hour), KeepLast: 1, Grace: none}, 12, 32},
		"in grace":             {Expiry{KeepLast: 1, Grace: time.Hour}, 12, 32},
		"in the default grace": {Expiry{KeepLast: 1}, 12, 32},
		"more than there are":  {Expiry{KeepLast: 100, Grace: none}, 12, 32},
	} {
		t.Run(name, func(t *testing.T) {
			tbl, store, _ := compacted(t)
			before, positions := mustFiles(t, tbl, 0), mustSnapshots(t, tbl)[11].Positions
			all := store.names("")
			dry := c.expiry
			dry.DryRun = true
			planned := mustExpire(t, tbl, dry)
			if !slices.Equal(all, store.names("")) || len(mustSnapshots(t, tbl)) != 12 {
				t.Error("a dry run changed something")
			}
			var last Expired
			c.expiry.Progress = func(e Expired) { last = e }
			done := mustExpire(t, tbl, c.expiry)
			if planned.Metadata += done.Metadata - planned.Metadata; planned != done || done.Snapshots > 0 && last != done {
				t.Errorf("planned %+v, done %+v, told %+v", planned, done, last)
			}
			if got := mustSnapshots(t, tbl); len(got) != c.snapshots || done.Snapshots != 12-c.snapshots {
				t.Errorf("%d snapshots are left, want %d; %+v", len(got), c.snapshots, done)
			}
			if n := len(store.names("data/")); n != c.data || done.DataFiles != 32-c.data || (done.Bytes > 0) != (done.DataFiles > 0) {
				t.Errorf("%d data files are left, want %d; %+v", n, c.data, done)
			}
			if diff := gocmp.Diff(before, mustFiles(t, tbl, 0)); diff != "" {
				t.Error(diff)
			}
			if p, err := tbl.Positions(t.Context()); err != nil || !p.Equal(positions) {
				t.Errorf("positions are %v, %v", p, err)
			}
			named := 0
			for _, s := range mustSnapshots(t, tbl) {
				named = max(named, len(mustFiles(t, tbl, s.ID)))
				if s.Positions == nil {
					t.Error("a snapshot has lost its positions")
				}
			}
			if files, err := tbl.NamedFiles(t.Context()); err != nil || len(files) != c.data {
				t.Errorf("%d files are named, %v, want %d", len(files), err, c.data)
			}
			checkNoOrphans(t, tbl)
			mustAppend(t, tbl, window(10, 3))
			if n := len(loadForeign(t, tbl).Metadata().Snapshots()); n != c.snapshots+1 {
				t.Errorf("iceberg-go finds %d snapshots", n)
			}
		})
	}
}

// checkNoOrphans: what the version names is all there is, but for versions of the table that
// left its log.
func checkNoOrphans(t *testing.T, tbl *Table) {
	t.Helper()
	for info, err := range tbl.Orphans(t.Context(), OrphanConfig{Age: 1, Force: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(info.Name, ".metadata.json") {
			t.Errorf("%s is an orphan", info.Name)
		}
	}
}

// TestExpireKeepsPositions: snapshots that another engine made on top have no positions, and
// the one that has them is far from the current one.
func TestExpireKeepsPositions(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Transactions)
	for n := range 3 {
		mustAppend(t, tbl, window(n, 2))
	}
	for range 3 {
		change(t, tbl, addNothing)
	}
	if done := mustExpire(t, tbl, Expiry{KeepLast: 1, Grace: -1}); done.Snapshots != 2 {
		t.Errorf("%+v", done)
	}
	if p, err := tbl.Positions(t.Context()); err != nil || !p.Equal(window(2, 2).To) {
		t.Fatalf("positions are %v, %v", p, err)
	}
	mustAppend(t, tbl, window(3, 2))
	if done := mustExpire(t, tbl, Expiry{KeepLast: 1, Grace: -1}); done.Snapshots != 4 {
		t.Errorf("%+v", done)
	}
}

func TestExpireKeepsBranchesAndTags(t *testing.T) {
	tbl, store, old := compacted(t)
	snapshots := mustSnapshots(t, tbl)
	refs(t, tbl, table.NewSetSnapshotRefUpdate("audit", snapshots[4].ID, table.TagRef, 0, 0, 0))
	refs(t, tbl, table.NewSetSnapshotRefUpdate("fork", snapshots[1].ID, table.BranchRef, 0, 0, 0))
	first := mustFiles(t, tbl, snapshots[0].ID)[0]
	if _, err := tbl.Expire(t.Context(), Expiry{Names: namesOf(first), Grace: -1}); !errors.Is(err, ErrNamed) {
		t.Errorf("a file that a tag leads to: %v", err)
	}
	mustExpire(t, tbl, Expiry{KeepLast: 1, Grace: -1})
	for i, want := range map[int]int{0: 3, 1: 6, 4: 15} {
		if got := mustFiles(t, tbl, snapshots[i].ID); len(got) != want {
			t.Errorf("snapshot %d has %d files, want %d", i, len(got), want)
		}
		for _, f := range mustFiles(t, tbl, snapshots[i].ID) {
			if store.count(f.Name) != 1 {
				t.Errorf("%s is gone", f.Name)
			}
		}
	}
	if _, err := tbl.Files(t.Context(), snapshots[2].ID); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("the snapshot between: %v", err)
	}
	refs(t, tbl, table.NewRemoveSnapshotRefUpdate("audit"), table.NewRemoveSnapshotRefUpdate("fork"))
	mustExpire(t, tbl, Expiry{Names: namesOf(old...), Grace: -1})
	for _, f := range old {
		if store.count(f.Name) != 0 {
			t.Errorf("%s is there", f.Name)
		}
	}
}

func TestExpireNames(t *testing.T) {
	tbl, store, old := compacted(t)
	live := mustFiles(t, tbl, 0)
	objects := store.names("")
	unchanged := func(why string) {
		t.Helper()
		if !slices.Equal(objects, store.names("")) || len(mustSnapshots(t, tbl)) != 12 {
			t.Errorf("%s: something happened", why)
		}
	}
	if _, err := tbl.Expire(t.Context(), Expiry{Names: namesOf(live[0]), Grace: -1}); !errors.Is(err, ErrNamed) {
		t.Errorf("a live file: %v", err)
	}
	unchanged("a live file")
	var grace *GraceError
	start := time.Now()
	if _, err := tbl.Expire(t.Context(), Expiry{Names: namesOf(old[0])}); !errors.As(err, &grace) {
		t.Fatalf("in grace: %v", err)
	}
	unchanged("in grace")
	if wait := grace.Until.Sub(start); wait < defaultGrace-time.Minute || wait > defaultGrace+time.Minute {
		t.Errorf("it may be tried again in %s", wait)
	}
	// The second tenant's files were live for one more snapshot: they take all with them but
	// the current one.
	if done := mustExpire(t, tbl, Expiry{Names: namesOf(old[15]), Grace: -1}); done.Snapshots != 11 || done.DataFiles != 20 {
		t.Errorf("%+v", done)
	}
	if done := mustExpire(t, tbl, Expiry{Names: namesOf(old...), Grace: -1}); done != (Expired{}) {
		t.Errorf("nothing names them any more: %+v", done)
	}
}

// TestExpireOnRollback: what a rollback left goes too, and what it made current stays.
func TestExpireOnRollback(t *testing.T) {
	tbl, store, old := compacted(t)
	snapshots := mustSnapshots(t, tbl)
	refs(t, tbl, table.NewSetSnapshotRefUpdate("main", snapshots[9].ID, table.BranchRef, 0, 0, 0))
	if _, err := tbl.Expire(t.Context(), Expiry{Names: namesOf(old[0]), Grace: -1}); !errors.Is(err, ErrNamed) {
		t.Errorf("a file that is live again: %v", err)
	}
	done := mustExpire(t, tbl, Expiry{Before: time.Now().Add(time.Hour), Grace: -1})
	if done.Snapshots != 11 || done.DataFiles != 2 || len(store.names("data/")) != 30 {
		t.Errorf("%+v, %d files are left", done, len(store.names("data/")))
	}
	mustAppend(t, tbl, window(10, 3))
}

func TestExpireThatCannotDelete(t *testing.T) {
	tbl, store, _ := compacted(t)
	broken := errors.New("broken")
	n := 0
	store.beforeDelete = func(name string) error {
		if strings.Contains(name, "tenant") || strings.HasPrefix(name, "data/") {
			if n++; n%2 == 0 {
				return broken
			}
		}
		return nil
	}
	done, err := tbl.Expire(t.Context(), Expiry{KeepLast: 1, Grace: -1})
	store.beforeDelete = nil
	if !errors.Is(err, broken) || done.DataFiles != 10 || done.Snapshots != 11 || done.Metadata == 0 {
		t.Errorf("%+v, %v", done, err)
	}
	orphans := 0
	for info, err := range tbl.Orphans(t.Context(), OrphanConfig{Age: 1, Force: true, Delete: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(info.Name, "data/") {
			orphans++
		}
	}
	if orphans != 10 || len(store.names("data/")) != 12 {
		t.Errorf("%d orphans, %d files are left", orphans, len(store.names("data/")))
	}
}

// TestExpireBesideAppends: an append lands before the swap, and what it added stays.
func TestExpireBesideAppends(t *testing.T) {
	tbl, store, _ := compacted(t)
	n := 10
	store.beforePut = once(".metadata.json", func() error {
		a := window(n, 3)
		putData(t, store, a.Files...)
		mustAppend(t, tbl, a)
		n++
		return nil
	})
	done := mustExpire(t, tbl, Expiry{KeepLast: 1, Grace: -1})
	if done.Snapshots != 12 || done.DataFiles != 20 || len(mustFiles(t, tbl, 0)) != 15 || len(store.names("data/")) != 15 {
		t.Errorf("%+v; %d files, %d objects", done, len(mustFiles(t, tbl, 0)), len(store.names("data/")))
	}
	mustAppend(t, tbl, window(n, 3))
}

func TestExpireRefusals(t *testing.T) {
	tbl, store, db := newTable(t, cardlake.Transactions)
	if done := mustExpire(t, tbl, Expiry{KeepLast: 1, Grace: -1}); done != (Expired{}) {
		t.Errorf("an empty table: %+v", done)
	}
	mustAppend(t, tbl, window(0, 2))
	mustAppend(t, tbl, window(1, 2))
	for _, bad := range []Expiry{{}, {Grace: time.Hour}, {KeepLast: -1}} {
		if _, err := tbl.Expire(t.Context(), bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	c, err := Open(t.Context(), Config{DB: db, Objects: store, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reader := mustTable(t, c, cardlake.Transactions)
	if _, err := reader.Expire(t.Context(), Expiry{KeepLast: 1, Grace: -1}); err == nil {
		t.Error("a read-only catalog expires")
	}
	if done := mustExpire(t, reader, Expiry{KeepLast: 1, Grace: -1, DryRun: true}); done.Snapshots != 1 {
		t.Errorf("a dry run of a read-only catalog: %+v", done)
	}
	if _, err := reader.Replace(t.Context(), compaction(mustFiles(t, reader, 0)...)); err == nil {
		t.Error("a read-only catalog replaces")
	}
	if _, err := reader.RewriteManifests(t.Context()); err == nil {
		t.Error("a read-only catalog rewrites manifests")
	}
	for _, err := range reader.Orphans(t.Context(), OrphanConfig{Delete: true}) {
		if err == nil {
			t.Error("a read-only catalog deletes orphans")
		}
	}
}

func TestOrphans(t *testing.T) {
	tbl, store, db := newTable(t, cardlake.Transactions)
	other := mustTable(t, mustOpen(t, db, store), cardlake.Rejected) // data/transactions_rejected/…
	a := window(0, 3)
	putData(t, store, a.Files...)
	mustAppend(t, tbl, a)
	if _, err := other.Append(t.Context(), catalog.Append{To: window(0, 1).To}); err != nil {
		t.Fatal(err)
	}
	week := time.Now().Add(-7 * 24 * time.Hour)
	put := func(name string, at time.Time) string {
		t.Helper()
		if err := store.Put(t.Context(), name, keys.Lake, []byte("x")); err != nil {
			t.Fatal(err)
		}
		store.times[name] = at
		return name
	}
	for _, name := range store.names("") {
		store.times[name] = week
	}
	want := []string{
		put("data/transactions/abandoned.parquet", week),
		put("metadata/transactions/snap-1-1-abandoned.avro", week),
		put("data/transactions/older-than-three-days.parquet", time.Now().Add(-73*time.Hour)),
	}
	put("data/transactions/put-and-not-committed.parquet", time.Now().Add(-71*time.Hour))
	put("data/transactions_rejected/of-another-table.parquet", week)
	put("metadata/transactions_rejected/of-another-table.avro", week)
	put("elsewhere/file", week)
	slices.Sort(want)
	find := func(cfg OrphanConfig) (names []string) {
		t.Helper()
		for info, err := range tbl.Orphans(t.Context(), cfg) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, info.Name)
		}
		slices.Sort(names)
		return names
	}
	before := store.names("")
	if diff := gocmp.Diff(want, find(OrphanConfig{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Equal(before, store.names("")) {
		t.Error("it deleted without being told")
	}
	if diff := gocmp.Diff(want, find(OrphanConfig{Delete: true})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := find(OrphanConfig{}); len(got) != 0 || len(store.names("")) != len(before)-len(want) {
		t.Errorf("left are %v", got)
	}
	for _, age := range []time.Duration{time.Minute, 23 * time.Hour, -1} {
		for info, err := range tbl.Orphans(t.Context(), OrphanConfig{Age: age}) {
			if err == nil {
				t.Errorf("age %s: %s", age, info.Name)
			}
		}
	}
	if got := find(OrphanConfig{Age: time.Hour, Force: true}); len(got) != 1 {
		t.Errorf("forced: %v", got)
	}
	for _, a := range cardlake.Tables {
		for _, b := range cardlake.Tables {
			if a != b && a.Name == b.Name {
				t.Errorf("%s and %s keep their objects at the same place", a.FullName(), b.FullName())
			}
		}
	}
}

// TestOrphansSeesLateCommits: what was committed after the search began is no orphan.
func TestOrphansSeesLateCommits(t *testing.T) {
	world := newFaulty()
	tbl := world.open(t, 10)
	mustAppend(t, tbl, window(0, 2))
	a := window(1, 2)
	putData(t, world.memoryStore, a.Files...)
	putData(t, world.memoryStore, window(2, 1).Files...)
	n := 0
	for info, err := range tbl.Orphans(t.Context(), OrphanConfig{Age: 1, Force: true, Delete: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(info.Name, "data/") {
			t.Errorf("%s is an orphan", info.Name)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d orphans", n)
	}
	putData(t, world.memoryStore, a.Files...)
	listed := false
	world.arm(somethingElse, 1, func() { // the first object that is listed
		listed = true
		mustAppend(t, world.open(t, 10), a)
	})
	for info, err := range tbl.Orphans(t.Context(), OrphanConfig{Age: 1, Force: true, Delete: true}) {
		t.Errorf("%s is an orphan, %v", info.Name, err)
	}
	if !listed {
		t.Error("the append did not happen")
	}
}

// regroup is RewriteManifests with manifests of that many files.
func regroup(t *testing.T, tbl *Table, size int) error {
	c := newCommit(tbl, string(catalog.OpReplace), nil)
	c.rewrite = (&regrouping{c: c, size: size}).rewrite
	_, err := c.run(t.Context(), replaceAttempts, func(have cardlake.Positions) (cardlake.Positions, error) { return have, nil })
	return err
}

func TestRewriteManifests(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Transactions)
	if done, err := tbl.RewriteManifests(t.Context()); done || err != nil {
		t.Errorf("an empty table: %t, %v", done, err)
	}
	const tenants, each = 40, 25
	for n := range each {
		mustAppend(t, tbl, window(n, tenants))
	}
	if done, err := tbl.RewriteManifests(t.Context()); done || err != nil {
		t.Errorf("a small table: %t, %v", done, err)
	}
	before, s := mustFiles(t, tbl, 0), mustSnapshots(t, tbl)
	if err := regroup(t, tbl, 100); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(before, mustFiles(t, tbl, 0)); diff != "" {
		t.Errorf("files changed: %s", diff)
	}
	after, err := tbl.Current(t.Context())
	if last := s[len(s)-1]; err != nil || after.Rows != last.Rows || after.Files != last.Files || !after.Positions.Equal(last.Positions) {
		t.Errorf("%+v, %v after %+v", after, err, last)
	}
	manifests, err := tbl.newest.doc.current.list(t.Context(), tbl.cat)
	if err != nil || len(manifests) != 10 {
		t.Fatalf("%d manifests, %v", len(manifests), err)
	}
	for n := range tenants {
		tenant := cardlake.Tenant(fmt.Sprintf("tenant-%d", n))
		holding := 0
		for _, m := range manifests {
			if tbl.newest.doc.mayHold(m, []cardlake.Tenant{tenant}) {
				holding++
			}
		}
		if files := ofTenant(t, tbl, tenant); holding != 1 || len(files) != each {
			t.Errorf("%s: %d manifests, %d files", tenant, holding, len(files))
		}
	}
	if err := regroup(t, tbl, 100); !errors.Is(err, errInOrder) {
		t.Errorf("again: %v", err)
	}
	tasks, err := loadForeign(t, tbl).Scan().PlanFiles(t.Context())
	if err != nil || len(tasks) != len(before) {
		t.Errorf("iceberg-go plans %d files, %v, want %d", len(tasks), err, len(before))
	}
	mustAppend(t, tbl, window(each, tenants))
}

// TestFilesOf gives only what is the tenants', also where manifests hold others' too, and
// reads no manifest that cannot have any.
func TestFilesOf(t *testing.T) {
	tbl, store, db := newTable(t, cardlake.Transactions)
	for n := range 4 {
		a := window(n, 3)
		mustAppend(t, tbl, catalog.Append{Files: a.Files[:2], From: a.From, To: a.To})
		mustAppend(t, tbl, catalog.Append{Files: a.Files[2:]})
	}
	fresh := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
	reads := 0
	store.beforeOpen = func(name string) error {
		if strings.Contains(name, "-m") {
			reads++
		}
		return nil
	}
	if files := ofTenant(t, fresh, "tenant-2"); len(files) != 4 || reads > 4 {
		t.Errorf("%d files, %d manifests read", len(files), reads)
	}
	for _, f := range ofTenant(t, fresh, "tenant-1") {
		if f.Tenant != "tenant-1" {
			t.Errorf("a file of %s", f.Tenant)
		}
	}
	if files := mustFiles(t, fresh, 0); len(files) != 12 || reads != 8 {
		t.Errorf("%d files, %d manifests read in all", len(files), reads)
	}
	for _, tenants := range [][]cardlake.Tenant{nil, {"tenant"}, {""}} {
		if files, err := fresh.FilesOf(t.Context(), 0, tenants...); err != nil || len(files) != 0 {
			t.Errorf("files of %q: %v, %v", tenants, files, err)
		}
	}
}

// TestOutrun: while something reads the version that it loaded, others append and expire all
// before, without a grace. It begins anew with theirs; a writer never fails for it.
func TestOutrun(t *testing.T) {
	for name, do := range map[string]func(*Table) error{
		"append": func(tbl *Table) error {
			_, err := tbl.Append(t.Context(), catalog.Append{Files: window(1, 1).Files})
			return err
		},
		"replace": func(tbl *Table) error {
			files, err := tbl.Files(t.Context(), 0)
			if err != nil {
				return err
			}
			_, err = tbl.Replace(t.Context(), compaction(files[:1]...))
			return err
		},
		"files": func(tbl *Table) error {
			files, err := tbl.Files(t.Context(), 0)
			if err == nil && len(files) < 3 {
				err = fmt.Errorf("%d files", len(files))
			}
			return err
		},
		"files of": func(tbl *Table) error { _, err := tbl.FilesOf(t.Context(), 0, "tenant-1"); return err },
		"named":    func(tbl *Table) error { _, err := tbl.NamedFiles(t.Context()); return err },
		"expire":   func(tbl *Table) error { _, err := tbl.Expire(t.Context(), Expiry{KeepLast: 1, Grace: -1}); return err },
		"orphans": func(tbl *Table) error {
			for _, err := range tbl.Orphans(t.Context(), OrphanConfig{}) {
				return err
			}
			return nil
		},
		"rewrite manifests": func(tbl *Table) error { return regroup(t, tbl, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			happened := 0
			for n := range 12 {
				world := newFaulty()
				tbl := world.open(t, 10)
				a := window(0, 3)
				putData(t, world.memoryStore, a.Files...)
				mustAppend(t, tbl, a)
				for name := range world.times {
					world.times[name] = time.Now().Add(-100 * time.Hour)
				}
				tbl = world.open(t, 10)
				tbl.mu.Lock()
				tbl.newest = version{}
				tbl.mu.Unlock()
				world.arm(somethingElse, n+1, func() {
					happened++
					other := world.open(t, 10)
					for range 2 {
						mustAppend(t, other, catalog.Append{Files: window(2, 1).Files})
					}
					mustExpire(t, other, Expiry{KeepLast: 1, Grace: -1})
				})
				if err := do(tbl); err != nil && !errors.Is(err, errInOrder) {
					t.Errorf("operation %d: %v", n+1, err)
				}
			}
			if happened == 0 {
				t.Error("nothing happened meanwhile")
			}
		})
	}
}
