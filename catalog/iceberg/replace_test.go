package iceberg

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	iceberg "github.com/apache/iceberg-go"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// merged is a file with the rows of others.
func merged(files ...cardlake.DataFile) cardlake.DataFile {
	f := files[0]
	f.Name = "data/transactions/merged/" + appendID() + ".parquet"
	for _, other := range files[1:] {
		f.Rows += other.Rows
		f.Bytes += other.Bytes
		f.MinTime, f.MaxTime = min(f.MinTime, other.MinTime), max(f.MaxTime, other.MaxTime)
	}
	return f
}

func namesOf(files ...cardlake.DataFile) (names []string) {
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}

// compaction replaces files by one with their rows.
func compaction(files ...cardlake.DataFile) catalog.Replace {
	return catalog.Replace{Remove: namesOf(files...), Add: []cardlake.DataFile{merged(files...)}, Operation: catalog.OpReplace}
}

func mustReplace(t testing.TB, tbl *Table, r catalog.Replace) catalog.Snapshot {
	t.Helper()
	s, err := tbl.Replace(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ofTenant are the live files of a tenant.
func ofTenant(t testing.TB, tbl *Table, tenant cardlake.Tenant) []cardlake.DataFile {
	t.Helper()
	files, err := tbl.FilesOf(t.Context(), 0, tenant)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b cardlake.DataFile) int { return strings.Compare(a.Name, b.Name) })
	return files
}

func TestReplace(t *testing.T) {
	tbl, store, _ := newTable(t, cardlake.Transactions)
	for n := range 10 {
		mustAppend(t, tbl, window(n, 3))
	}
	before, err := tbl.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old := ofTenant(t, tbl, "tenant-1")
	newest := slices.MaxFunc(old, func(a, b cardlake.DataFile) int { return int(a.Sequence - b.Sequence) }).Sequence
	untouched := append(ofTenant(t, tbl, "tenant-0"), ofTenant(t, tbl, "tenant-2")...)
	r := compaction(old...)
	s := mustReplace(t, tbl, r)

	if s.Sequence != before.Sequence+1 || s.Rows != before.Rows || s.Files != before.Files-9 || !s.Positions.Equal(before.Positions) {
		t.Errorf("the snapshot is %+v after %+v", s, before)
	}
	want := r.Add[0]
	want.Sequence = newest
	if diff := gocmp.Diff([]cardlake.DataFile{want}, ofTenant(t, tbl, "tenant-1")); diff != "" {
		t.Error(diff)
	}
	if got := append(ofTenant(t, tbl, "tenant-0"), ofTenant(t, tbl, "tenant-2")...); !gocmp.Equal(untouched, got) {
		t.Errorf("files of other tenants changed: %s", gocmp.Diff(untouched, got))
	}
	if got := mustFiles(t, tbl, before.ID); len(got) != 30 {
		t.Errorf("the snapshot before has %d files now", len(got))
	}

	theirs := loadForeign(t, tbl)
	snapshot := theirs.CurrentSnapshot()
	var size int64
	for _, f := range old {
		size += f.Bytes
	}
	wantSummary := map[string]string{
		"added-data-files": "1", "added-records": fmt.Sprint(want.Rows), "added-files-size": fmt.Sprint(want.Bytes),
		"deleted-data-files": "10", "deleted-records": fmt.Sprint(want.Rows), "removed-files-size": fmt.Sprint(size),
		"changed-partition-count": "1", "total-data-files": "21", "total-records": fmt.Sprint(before.Rows),
		"total-delete-files": "0", "total-position-deletes": "0", "total-equality-deletes": "0",
	}
	summary := maps.Clone(map[string]string(snapshot.Summary.Properties))
	for _, key := range []string{appendProperty, positionsProperty, "total-files-size"} {
		if summary[key] == "" {
			t.Errorf("the summary has no %s", key)
		}
		delete(summary, key)
	}
	if diff := gocmp.Diff(wantSummary, summary); diff != "" || snapshot.Summary.Operation != "replace" {
		t.Errorf("operation %s, summary (-want +got):\n%s", snapshot.Summary.Operation, diff)
	}
	checkEntries(t, tbl, r, old, newest)
	mustAppend(t, tbl, window(10, 3))
	if n := store.count("-m2.avro"); n == 0 {
		t.Error("no manifest was rewritten")
	}
}

// checkEntries reads the manifests as an incremental reader of another engine does: by the
// entries that the snapshot deleted and added.
func checkEntries(t *testing.T, tbl *Table, r catalog.Replace, old []cardlake.DataFile, newest int64) {
	t.Helper()
	theirs := loadForeign(t, tbl)
	snapshot := theirs.CurrentSnapshot()
	manifests, err := snapshot.Manifests(foreign{t.Context(), tbl})
	if err != nil {
		t.Fatal(err)
	}
	sequences := map[string]int64{}
	for _, f := range old {
		sequences[f.Name] = f.Sequence
	}
	var deleted, added []string
	for _, m := range manifests {
		entries, err := m.FetchEntries(foreign{t.Context(), tbl}, false)
		if err != nil {
			t.Fatal(err)
		}
		least, live := int64(1)<<62, 0
		var counts [3]int
		for _, e := range entries {
			counts[e.Status()]++
			name, err := tbl.cat.locations.object(e.DataFile().FilePath())
			if err != nil {
				t.Fatal(err)
			}
			if e.Status() != iceberg.EntryStatusDELETED {
				least, live = min(least, e.SequenceNum()), live+1
			}
			if e.SnapshotID() != snapshot.SnapshotID {
				continue
			}
			switch e.Status() {
			case iceberg.EntryStatusDELETED:
				deleted = append(deleted, name)
				if e.SequenceNum() != sequences[name] || *e.FileSequenceNum() != sequences[name] {
					t.Errorf("%s is deleted with sequence numbers %d and %d, was added with %d", name, e.SequenceNum(), *e.FileSequenceNum(), sequences[name])
				}
			case iceberg.EntryStatusADDED:
				added = append(added, name)
				if e.SequenceNum() != newest || *e.FileSequenceNum() != snapshot.SequenceNumber {
					t.Errorf("%s is added with data sequence number %d and file sequence number %d", name, e.SequenceNum(), *e.FileSequenceNum())
				}
			default:
				t.Errorf("%s is of status %d", name, e.Status())
			}
		}
		if live > 0 && m.MinSequenceNum() != least {
			t.Errorf("a manifest says that its least sequence number is %d, it is %d", m.MinSequenceNum(), least)
		}
		if got := [3]int{int(m.ExistingDataFiles()), int(m.AddedDataFiles()), int(m.DeletedDataFiles())}; got != counts {
			t.Errorf("a manifest says it has %v entries, it has %v", got, counts)
		}
	}
	slices.Sort(deleted)
	if want := slices.Sorted(slices.Values(r.Remove)); !slices.Equal(deleted, want) || !slices.Equal(added, namesOf(r.Add...)) {
		t.Errorf("deleted are %v, want %v; added %v, want %v", deleted, want, added, namesOf(r.Add...))
	}
}

func TestSequenceOfAddedFiles(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Transactions)
	for n := range 3 {
		mustAppend(t, tbl, window(n, 2))
	}
	old := ofTenant(t, tbl, "tenant-0")[:2]
	low := max(old[0].Sequence, old[1].Sequence)
	kept, other := merged(old...), window(0, 3).Files[2]
	mustReplace(t, tbl, catalog.Replace{
		Remove: namesOf(old...), Add: []cardlake.DataFile{kept, other}, Operation: catalog.OpOverwrite,
	})
	got := map[string]int64{}
	for _, f := range mustFiles(t, tbl, 0) {
		got[f.Name] = f.Sequence
	}
	if got[kept.Name] != low {
		t.Errorf("the file of old rows has number %d, the newest of them %d", got[kept.Name], low)
	}
	if got[other.Name] != 4 {
		t.Errorf("the file of a partition from which nothing was removed has number %d, want that of the commit", got[other.Name])
	}
}

func TestRefusedReplaces(t *testing.T) {
	tbl, store, _ := newTable(t, cardlake.Transactions)
	mustAppend(t, tbl, window(0, 3))
	mustAppend(t, tbl, window(1, 3))
	files := ofTenant(t, tbl, "tenant-1")
	others := ofTenant(t, tbl, "tenant-2")
	objects := store.names("")
	for name, alter := range map[string]func(*catalog.Replace){
		"nothing removed":      func(r *catalog.Replace) { r.Remove = nil },
		"no operation":         func(r *catalog.Replace) { r.Operation = "" },
		"unknown operation":    func(r *catalog.Replace) { r.Operation = "append" },
		"delete that adds":     func(r *catalog.Replace) { r.Operation = catalog.OpDelete },
		"replace without any":  func(r *catalog.Replace) { r.Add = nil },
		"removed twice":        func(r *catalog.Replace) { r.Remove = append(r.Remove, r.Remove[0]) },
		"empty name":           func(r *catalog.Replace) { r.Remove[0] = "" },
		"added twice":          func(r *catalog.Replace) { r.Add = append(r.Add, r.Add[0]) },
		"removed and added":    func(r *catalog.Replace) { r.Add[0].Name = r.Remove[0] },
		"added is live":        func(r *catalog.Replace) { r.Add[0].Name = others[0].Name },
		"rows missing":         func(r *catalog.Replace) { r.Add[0].Rows-- },
		"rows too many":        func(r *catalog.Replace) { r.Add[0].Rows++ },
		"rows of another":      func(r *catalog.Replace) { r.Add[0].Tenant = "tenant-2" },
		"malformed file added": func(r *catalog.Replace) { r.Add[0].Bytes = 0 },
		"a file not there":     func(r *catalog.Replace) { r.Remove[1] = "data/transactions/none.parquet" },
	} {
		t.Run(name, func(t *testing.T) {
			r := compaction(files...)
			alter(&r)
			_, err := tbl.Replace(t.Context(), r)
			if err == nil || errors.Is(err, catalog.ErrConflict) || errors.Is(err, catalog.ErrUnknown) || errors.Is(err, catalog.ErrGone) != (name == "a file not there") {
				t.Errorf("replace: %v", err)
			}
			if !slices.Equal(objects, store.names("")) {
				t.Error("it left objects")
			}
			if s, err := tbl.Current(t.Context()); err != nil || s.Sequence != 2 {
				t.Errorf("the table moved: %+v, %v", s, err)
			}
		})
	}
}

// TestReplaceMovesNoPosition: positions are in the snapshot itself, so that none are lost
// when those before it go; and a writer goes on from them.
func TestReplaceMovesNoPosition(t *testing.T) {
	world := newFaulty()
	tbl := world.open(t, 3)
	mustAppend(t, tbl, window(0, 2))
	files := ofTenant(t, tbl, "tenant-0")
	for range 10 {
		r := compaction(files...)
		mustReplace(t, tbl, r)
		files = r.Add
	}
	fresh := world.open(t, 3)
	if p, err := fresh.Positions(t.Context()); err != nil || !p.Equal(window(0, 2).To) {
		t.Errorf("positions are %v, %v", p, err)
	}
	mustAppend(t, fresh, window(1, 2))
}

// TestRetriedReplaceWritesManifestsOnce: what depends on the files alone is not written
// again, and what became superfluous is removed.
func TestRetriedReplaceWritesManifestsOnce(t *testing.T) {
	tbl, store, db := newTable(t, cardlake.Transactions)
	for n := range 7 {
		mustAppend(t, tbl, window(n, 2))
	}
	other := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
	n := 7
	var puts atomic.Int32 // objects are put at the same time
	store.beforePut = func(name string) error {
		if strings.Contains(name, "-m2.avro") {
			puts.Add(1)
		}
		return nil
	}
	r := compaction(ofTenant(t, tbl, "tenant-0")...)
	hook := store.beforePut
	attempts := 0
	store.beforePut = func(name string) error {
		if err := hook(name); err != nil || !strings.Contains(name, ".metadata.json") || attempts == 3 {
			return err
		}
		attempts++
		was := attempts
		attempts = 3 // the append's own put
		_, err := other.Append(t.Context(), window(n, 2))
		n++
		attempts = was
		return err
	}
	mustReplace(t, tbl, r)
	store.beforePut = nil
	// Seven, of which an append merged all and one more in the meantime: one more.
	if n := puts.Load(); n > 9 {
		t.Errorf("%d manifests were written", n)
	}
	list, err := tbl.newest.doc.current.list(t.Context(), tbl.cat)
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, m := range list {
		if strings.HasSuffix(m.path, "-m2.avro") {
			used++
		}
	}
	if left := store.count("-m2.avro"); left != used {
		t.Errorf("%d manifests are left of which %d are used", left, used)
	}
	if got := len(mustFiles(t, tbl, 0)); got != n+4 {
		t.Errorf("%d files, want those of %d appends and one less than seven", got, n)
	}
}

// TestReplacesBesideAppends races workers that append with compactors that want the same
// files. Appends never fail, and every row is there once.
func TestReplacesBesideAppends(t *testing.T) {
	const writers, compactors, end = 2, 3, 60
	world := newFaulty()
	world.open(t, 20)
	var writing, compacting sync.WaitGroup
	done := make(chan struct{})
	for w := range int32(writers) {
		tbl := world.open(t, 20)
		writing.Go(func() {
			for n := int64(0); n < end; n++ {
				if _, err := tbl.Append(t.Context(), rangeAppend(w, n*10, n*10+10)); err != nil {
					t.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	var mu sync.Mutex
	won := map[string]int{}
	gone := 0
	for c := range compactors {
		tbl := world.open(t, 20)
		random := rand.New(rand.NewPCG(5, uint64(c)))
		compacting.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				files, err := tbl.Files(t.Context(), 0)
				if err != nil {
					t.Error(err)
					return
				}
				if len(files) < 2 {
					continue
				}
				random.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
				r := compaction(files[:2+random.IntN(min(4, len(files)-1))]...)
				switch _, err := tbl.Replace(t.Context(), r); {
				case err == nil:
					mu.Lock()
					for _, name := range r.Remove {
						won[name]++
					}
					mu.Unlock()
				case errors.Is(err, catalog.ErrGone):
					mu.Lock()
					gone++
					mu.Unlock()
				default:
					t.Errorf("replace: %v", err)
					return
				}
			}
		})
	}
	writing.Wait()
	close(done)
	compacting.Wait()
	for name, n := range won {
		if n != 1 {
			t.Errorf("%s was replaced by %d", name, n)
		}
	}
	if len(won) == 0 {
		t.Error("nothing was replaced")
	}
	tbl := world.open(t, 20)
	var rows int64
	for _, f := range mustFiles(t, tbl, 0) {
		rows += f.Rows
		if won[f.Name] > 0 {
			t.Errorf("%s was replaced and is live", f.Name)
		}
	}
	if s, err := tbl.Current(t.Context()); err != nil || rows != writers*end*10 || s.Rows != rows {
		t.Errorf("%d rows, want %d; %+v, %v", rows, writers*end*10, s, err)
	}
	t.Logf("%d files replaced, %d too late", len(won), gone)
}

func suiteReplace(t *testing.T, a adapter) {
	store := newStore()
	tbl, other := a.mustTable(t, store), a.mustTable(t, store)
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	mustAppend(t, tbl, rangeAppend(0, 10, 20))
	first, second := compaction(mustFiles(t, tbl, 0)...), compaction(mustFiles(t, tbl, 0)...)
	// Another process appends, and a third compacts the same files first.
	store.beforePut = once(".metadata.json", func() error {
		if _, err := other.Append(t.Context(), rangeAppend(0, 20, 30)); err != nil {
			return err
		}
		store.beforePut = nil
		_, err := a.mustTable(t, store).Replace(t.Context(), first)
		return err
	})
	_, err := tbl.Replace(t.Context(), second)
	if !errors.Is(err, catalog.ErrGone) {
		t.Fatalf("two replaced the same files: %v", err)
	}
	fresh := a.mustTable(t, store)
	if names := namesOf(mustFiles(t, fresh, 0)...); len(names) != 2 || !slices.Contains(names, first.Add[0].Name) {
		t.Errorf("the files are %v", names)
	}
	v, err := fresh.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := store.count("snap-"); n != len(v.doc.snapshots) {
		t.Errorf("%d manifest lists of %d snapshots: the loser left objects", n, len(v.doc.snapshots))
	}
}

func suiteReplaceUnknownBefore(t *testing.T, a adapter) { suiteReplaceUnknown(t, a, before) }
func suiteReplaceUnknownAfter(t *testing.T, a adapter)  { suiteReplaceUnknown(t, a, after) }

// suiteReplaceUnknown loses the answer to the swap of a Replace.
func suiteReplaceUnknown(t *testing.T, a adapter, f fault) {
	store := newStore()
	tbl := a.mustTable(t, store)
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	mustAppend(t, tbl, rangeAppend(0, 10, 20))
	objects := store.names("")
	r := compaction(mustFiles(t, tbl, 0)...)
	a.fail(t, tbl, f)
	s, err := tbl.Replace(t.Context(), r)
	live := namesOf(mustFiles(t, a.mustTable(t, store), 0)...)
	switch isDone := slices.Equal(live, namesOf(r.Add...)); {
	case isDone != (f == after):
		t.Errorf("the files are %v", live)
	case isDone && (err != nil || s.Files != 1 || s.Rows != 20):
		t.Errorf("the replace is not found: %+v, %v", s, err)
	case !isDone && (err == nil || errors.Is(err, catalog.ErrConflict) || errors.Is(err, catalog.ErrGone)):
		t.Errorf("replace: %v", err)
	case !isDone && errors.Is(err, catalog.ErrUnknown) == slices.Equal(objects, store.names("")):
		t.Errorf("objects are deleted when the outcome is unknown, or left when it is known: %v", err)
	}
	if got, err := a.mustTable(t, store).Replace(t.Context(), r); f == after && !errors.Is(err, catalog.ErrGone) || f == before && (err != nil || got.Rows != 20) {
		t.Errorf("the same again: %+v, %v", got, err)
	}
}

func suiteExpireUnknownBefore(t *testing.T, a adapter) { suiteExpireUnknown(t, a, before) }
func suiteExpireUnknownAfter(t *testing.T, a adapter)  { suiteExpireUnknown(t, a, after) }

// suiteExpireUnknown loses the answer to the swap of an Expire.
func suiteExpireUnknown(t *testing.T, a adapter, f fault) {
	store := newStore()
	tbl := a.mustTable(t, store)
	for n := range int64(5) {
		mustAppend(t, tbl, rangeAppend(0, n*10, n*10+10))
	}
	manifests := store.count(".avro")
	a.fail(t, tbl, f)
	done, err := tbl.Expire(t.Context(), Expiry{KeepLast: 2, Grace: -1})
	snapshots, err2 := a.mustTable(t, store).Snapshots(t.Context())
	if err2 != nil {
		t.Fatal(err2)
	}
	switch {
	case f == after && (err != nil || done.Snapshots != 3 || len(snapshots) != 2 || store.count(".avro") != manifests-3):
		t.Errorf("expired %+v, %v; %d snapshots are left", done, err, len(snapshots))
	case f == before && (err == nil || done != Expired{} || len(snapshots) != 5 || store.count(".avro") != manifests):
		t.Errorf("expired %+v, %v; %d snapshots are left, %d of %d objects", done, err, len(snapshots), store.count(".avro"), manifests)
	}
	checkCatalog(t, a.mustOpen(t, store))
}
