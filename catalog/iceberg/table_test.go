package iceberg

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go/table"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// newTable opens a fresh catalog and in it a table.
func newTable(t testing.TB, def *cardlake.Table) (*Table, *memoryStore, string) {
	t.Helper()
	db, store := filepath.Join(t.TempDir(), "catalog.db"), newStore()
	return mustTable(t, mustOpen(t, db, store), def), store, db
}

// sqlDB is the database that the table's catalog is in.
func sqlDB(tbl *Table) *sql.DB { return tbl.cat.pointers.(*sqlPointers).db }

func mustTable(t testing.TB, c *Catalog, def *cardlake.Table) *Table {
	t.Helper()
	tbl, err := c.Table(t.Context(), def)
	if err != nil {
		t.Fatal(err)
	}
	return tbl
}

func mustAppend(t testing.TB, tbl *Table, a catalog.Append) catalog.Snapshot {
	t.Helper()
	s, err := tbl.Append(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustFiles(t testing.TB, tbl *Table, snapshot int64) []cardlake.DataFile {
	t.Helper()
	files, err := tbl.Files(t.Context(), snapshot)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b cardlake.DataFile) int { return cmp.Compare(a.Name, b.Name) })
	return files
}

func TestLayoutGolden(t *testing.T) {
	for _, def := range cardlake.Tables {
		t.Run(def.FullName(), func(t *testing.T) {
			tbl, _, _ := newTable(t, def)
			v, err := tbl.load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(map[string]any{
				"format-version": v.doc.meta.Version(),
				"location":       v.doc.meta.Location(),
				"schema":         v.doc.meta.CurrentSchema(),
				"partition-spec": v.doc.meta.PartitionSpec(),
				"sort-order":     v.doc.meta.SortOrder(),
				"properties":     v.doc.meta.Properties(),
			}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", def.FullName()+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFilesRoundTrip(t *testing.T) {
	tbl, store, _ := newTable(t, cardlake.Transactions)
	first, second := window(0, 12), window(1, 5)
	first.Files[0].SplitOffsets = []int64{4, 1000, 2000}
	first.Files[1].SplitOffsets = nil
	first.Files[2].Day, first.Files[2].MinTime, first.Files[2].MaxTime = -1, -86_400_000_000, -1
	s1, s2 := mustAppend(t, tbl, first), mustAppend(t, tbl, second)
	for i := range first.Files {
		first.Files[i].Sequence = s1.Sequence
	}
	for i := range second.Files {
		second.Files[i].Sequence = s2.Sequence
	}

	byName := func(files ...cardlake.DataFile) []cardlake.DataFile {
		slices.SortFunc(files, func(a, b cardlake.DataFile) int { return cmp.Compare(a.Name, b.Name) })
		return files
	}
	both := byName(slices.Concat(first.Files, second.Files)...)
	for range 2 { // the second time from what was decoded before
		if diff := gocmp.Diff(both, mustFiles(t, tbl, 0)); diff != "" {
			t.Error(diff)
		}
	}
	if diff := gocmp.Diff(byName(first.Files...), mustFiles(t, tbl, s1.ID)); diff != "" {
		t.Error(diff)
	}
	if s2.Files != 17 || s2.Rows != 24000 {
		t.Errorf("totals are %d files and %d rows, want 17 and 24000", s2.Files, s2.Rows)
	}
	if _, err := tbl.Files(t.Context(), 12345); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("files of an unknown snapshot: %v", err)
	}
	for name, owner := range store.owners {
		if owner != keys.Lake || !strings.HasPrefix(name, "metadata/transactions/") {
			t.Errorf("object %s is put under owner %s", name, owner)
		}
	}
}

func TestFilesOfUntenantedTable(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Rejected)
	if files := mustFiles(t, tbl, 0); len(files) != 0 {
		t.Fatalf("a new table has files %v", files)
	}
	want := cardlake.DataFile{Name: "data/transactions_rejected/a.parquet", Day: cardlake.DayOf(noon),
		Rows: 1, Bytes: 2, MinTime: noon, MaxTime: noon}
	want.Sequence = mustAppend(t, tbl, catalog.Append{Files: []cardlake.DataFile{want}}).Sequence
	if diff := gocmp.Diff([]cardlake.DataFile{want}, mustFiles(t, tbl, 0)); diff != "" {
		t.Error(diff)
	}
	if p, err := tbl.Positions(t.Context()); err != nil || len(p) != 0 {
		t.Errorf("positions are %v, %v", p, err)
	}
}

// TestOnlyTimeBoundsOutsideDataFiles looks at what a manifest says of the columns.
func TestOnlyTimeBoundsOutsideDataFiles(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Transactions)
	mustAppend(t, tbl, window(0, 3))
	fs := foreign{t.Context(), tbl}
	manifests, err := loadForeign(t, tbl).CurrentSnapshot().Manifests(fs)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range manifests[0].Entries(fs, false) {
		if err != nil {
			t.Fatal(err)
		}
		d := e.DataFile()
		if len(d.LowerBoundValues()) != 1 || d.LowerBoundValues()[7] == nil || len(d.UpperBoundValues()) != 1 || d.UpperBoundValues()[7] == nil {
			t.Errorf("bounds are %v and %v, want those of column 7 only", d.LowerBoundValues(), d.UpperBoundValues())
		}
	}
}

func TestCurrentAndSnapshots(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Transactions)
	if s, err := tbl.Current(t.Context()); err != nil || s.ID != 0 || s.Positions != nil {
		t.Fatalf("a new table is at %+v, %v", s, err)
	}
	before := time.Now().Truncate(time.Millisecond)
	want := []catalog.Snapshot{mustAppend(t, tbl, window(0, 2)), mustAppend(t, tbl, window(1, 2))}
	if at := want[0].CommittedAt; at.Before(before) || at.After(time.Now()) || at.Location() != time.UTC {
		t.Errorf("committed at %v", at)
	}
	// A snapshot without positions takes those of the one before it.
	change(t, tbl, func(tx *table.Transaction) error { return tx.AddFiles(t.Context(), nil, nil, true) })
	got, err := tbl.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("there are %d snapshots, want 3", len(got))
	}
	want = append(want, got[2])
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !got[2].Positions.Equal(window(1, 0).To) {
		t.Errorf("the snapshot without positions has %v", got[2].Positions)
	}
	if p, err := tbl.Positions(t.Context()); err != nil || !p.Equal(window(1, 0).To) {
		t.Errorf("positions are %v, %v", p, err)
	}
	if s, err := tbl.Current(t.Context()); err != nil || !gocmp.Equal(s, got[2]) {
		t.Errorf("current is %+v, %v", s, err)
	}
	mustAppend(t, tbl, window(2, 2))
}

func TestRollbackRollsPositionsBack(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Transactions)
	first := mustAppend(t, tbl, window(0, 2))
	mustAppend(t, tbl, window(1, 2))
	change(t, tbl, func(tx *table.Transaction) error { return tx.RollbackToSnapshot(first.ID) })

	if s, err := tbl.Current(t.Context()); err != nil || !gocmp.Equal(s, first) {
		t.Fatalf("after the rollback the table is at %+v, %v", s, err)
	}
	if _, err := tbl.Append(t.Context(), window(2, 2)); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("append beyond the rollback: %v", err)
	}
	again := window(1, 2)
	mustAppend(t, tbl, again)
	if n := len(mustFiles(t, tbl, 0)); n != 4 {
		t.Errorf("the table has %d files, want 4", n)
	}
	if s, err := tbl.Snapshots(t.Context()); err != nil || len(s) != 2 {
		t.Errorf("snapshots are %v, %v", s, err)
	}
}

// TestHistoryIsBounded appends through several expiries and merges: no file or position is
// lost, metadata objects do not pile up, and every kept snapshot stays readable.
func TestHistoryIsBounded(t *testing.T) {
	db, store := filepath.Join(t.TempDir(), "catalog.db"), newStore()
	c, err := Open(t.Context(), Config{DB: db, Objects: store, History: 20, Grace: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tbl := mustTable(t, c, cardlake.Transactions)
	var want []string
	for n := range 150 {
		a := window(n, 2)
		mustAppend(t, tbl, a)
		for _, f := range a.Files {
			want = append(want, f.Name)
		}
	}
	slices.Sort(want)
	// A second Table has decoded nothing.
	other := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
	var got []string
	for _, f := range mustFiles(t, other, 0) {
		got = append(got, f.Name)
	}
	if !slices.Equal(want, got) {
		t.Errorf("the table has %d files, want %d", len(got), len(want))
	}
	if p, err := other.Positions(t.Context()); err != nil || !p.Equal(window(149, 0).To) {
		t.Errorf("positions are %v, %v", p, err)
	}
	kept, err := other.Snapshots(t.Context())
	if err != nil || len(kept) < 20 || len(kept) > 24 {
		t.Fatalf("%d snapshots are kept, %v, want 20 and a few", len(kept), err)
	}
	for _, s := range kept {
		if n := len(mustFiles(t, other, s.ID)); int64(n) != s.Files {
			t.Errorf("snapshot %d has %d files, says %d", s.ID, n, s.Files)
		}
	}
	// What the last commit retired is removed by the next.
	if n := store.count("/snap-"); n != len(kept)+1 {
		t.Errorf("there are %d manifest lists for %d snapshots", n, len(kept))
	}
	if n := store.count(".metadata.json"); n != 12 {
		t.Errorf("there are %d metadata objects, want 12", n)
	}
	if n := store.count("-m"); n > 2*len(kept) {
		t.Errorf("there are %d manifests for %d snapshots", n, len(kept))
	}
}

func TestTableThatIsDefinedDifferently(t *testing.T) {
	db, store := filepath.Join(t.TempDir(), "catalog.db"), newStore()
	c := mustOpen(t, db, store)
	mustTable(t, c, cardlake.Rejected)
	for name, alter := range map[string]func(*cardlake.Table){
		"type":      func(d *cardlake.Table) { d.Columns[5].Type = cardlake.Int32 },
		"name":      func(d *cardlake.Table) { d.Columns[1].Name = "why" },
		"nullable":  func(d *cardlake.Table) { d.Columns[1].Nullable = true },
		"id":        func(d *cardlake.Table) { d.Columns[7].ID = 9 },
		"missing":   func(d *cardlake.Table) { d.Columns = d.Columns[:7] },
		"added":     func(d *cardlake.Table) { d.Columns = append(d.Columns, cardlake.Column{ID: 9, Name: "more"}) },
		"partition": func(d *cardlake.Table) { d.Time = "record_time" },
		"no time":   func(d *cardlake.Table) { d.Time = "reason" },
	} {
		t.Run(name, func(t *testing.T) {
			def := *cardlake.Rejected
			def.Columns = slices.Clone(def.Columns)
			alter(&def)
			if _, err := c.Table(t.Context(), &def); err == nil {
				t.Error("the table is opened")
			} else {
				t.Log(err)
			}
		})
	}
	// Docs may change, and definitions that cannot be tables are refused before anything is written.
	def := *cardlake.Rejected
	def.Columns = slices.Clone(def.Columns)
	def.Columns[0].Doc = "another text"
	mustTable(t, c, &def)
	objects := len(store.names(""))
	def.Name, def.Time = "other", "reason"
	if _, err := c.Table(t.Context(), &def); err == nil || len(store.names("")) != objects {
		t.Errorf("a table without a time column: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	dir, store := t.TempDir(), newStore()
	db := filepath.Join(dir, "catalog.db")
	readOnly := func() (*Catalog, error) {
		return Open(t.Context(), Config{DB: db, Objects: store, ReadOnly: true})
	}
	if _, err := readOnly(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open a catalog that is not there: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Fatalf("opening created %v", entries)
	}
	// The writer was killed between creating the file and the tables in it.
	if err := os.WriteFile(db, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readOnly()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Table(t.Context(), cardlake.Transactions); !errors.Is(err, ErrNoTable) {
		t.Fatalf("open a table of an empty file: %v", err)
	}

	writer := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
	if _, err := c.Table(t.Context(), cardlake.Rejected); !errors.Is(err, ErrNoTable) {
		t.Fatalf("open a table that is not there: %v", err)
	}
	reader := mustTable(t, c, cardlake.Transactions)
	for n := range 3 {
		want := mustAppend(t, writer, window(n, 1))
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
	// A writer that is waiting for the disk does not keep readers waiting.
	tx, err := sqlDB(writer).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if p, err := reader.Positions(t.Context()); err != nil || !p.Equal(window(2, 0).To) {
		t.Errorf("beside an open transaction the reader sees %v, %v", p, err)
	}
}

// TestReadOnlyAfterKill opens the files that a killed writer leaves: its last commits are in
// the write-ahead log only, and the shared memory file is gone or stale.
func TestReadOnlyAfterKill(t *testing.T) {
	dir, store := t.TempDir(), newStore()
	db := filepath.Join(dir, "catalog.db")
	writer := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
	want := mustAppend(t, writer, window(0, 1))
	killed := filepath.Join(t.TempDir(), "catalog.db")
	for _, suffix := range []string{"", "-wal"} {
		body, err := os.ReadFile(db + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(killed+suffix, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(killed)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), Config{DB: killed, Objects: store, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	reader := mustTable(t, c, cardlake.Transactions)
	if got, err := reader.Current(t.Context()); err != nil || !gocmp.Equal(want, got) {
		t.Errorf("the reader sees %+v, %v, want %+v", got, err, want)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(killed); err != nil || !slices.Equal(before, after) {
		t.Errorf("the reader changed the file: %v", err)
	}
	// The next writer goes on from there.
	again := mustTable(t, mustOpen(t, killed, store), cardlake.Transactions)
	if p, err := again.Positions(t.Context()); err != nil || !p.Equal(want.Positions) {
		t.Errorf("the next writer sees %v, %v", p, err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, []byte("not a database, and longer than its header of one hundred bytes: "+strings.Repeat("x", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"no DB":            {Objects: newStore()},
		"no objects":       {DB: filepath.Join(dir, "a.db")},
		"negative history": {DB: filepath.Join(dir, "a.db"), Objects: newStore(), History: -1},
		"folder is a file": {DB: filepath.Join(blocked, "a.db"), Objects: newStore()},
		"DB is a folder":   {DB: dir, Objects: newStore()},
		"not a database":   {DB: blocked, Objects: newStore()},
		"not one, to read": {DB: blocked, Objects: newStore(), ReadOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := Open(t.Context(), cfg); err == nil {
				c.Close()
				t.Error("the catalog is opened")
			} else {
				t.Log(err)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "a.db")); err == nil {
		t.Error("a refused configuration created the file")
	}
}

// TestMetadataStaysInTheStore searches everything on disk for what only metadata knows.
func TestMetadataStaysInTheStore(t *testing.T) {
	tbl, store, db := newTable(t, cardlake.Transactions)
	for n := range 20 {
		mustAppend(t, tbl, window(n, 3))
	}
	inStore, onDisk := strings.Builder{}, strings.Builder{}
	for _, body := range store.objects {
		inStore.Write(body)
	}
	entries, err := os.ReadDir(filepath.Dir(db))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		body, err := os.ReadFile(filepath.Join(filepath.Dir(db), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		onDisk.Write(body)
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	for _, secret := range []string{"cards.decisions", "merchant_name", "snapshot-id"} {
		if !strings.Contains(inStore.String(), secret) {
			t.Errorf("%q is not in the store: the search proves nothing", secret)
		}
		if strings.Contains(onDisk.String(), secret) {
			t.Errorf("%q is on the disk", secret)
		}
	}
	for _, name := range store.names("") {
		if strings.Contains(name, "tenant-") {
			t.Errorf("object name %s has a tenant in it", name)
		}
	}
}

func TestLocationsOutsideTheLake(t *testing.T) {
	at, err := newLocations("")
	if err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{"", "a/b", "file:///etc/passwd", "s3://bucket/a", "cardlake://lake/", "cardlake://lake", "cardlake://other/a"} {
		if name, err := at.object(uri); err == nil {
			t.Errorf("%q is taken for the object %q", uri, name)
		}
	}
	for root, want := range map[string]string{"": "cardlake://lake/a/b", "s3://bucket": "s3://bucket/a/b", "s3://bucket/some/prefix/": "s3://bucket/some/prefix/a/b"} {
		at, err := newLocations(root)
		if err != nil {
			t.Fatal(err)
		}
		if uri := at.uri("a/b"); uri != want {
			t.Errorf("under %q, a/b lies at %s", root, uri)
		}
		if name, err := at.object(want); err != nil || name != "a/b" {
			t.Errorf("under %q, %s is %q, %v", root, want, name, err)
		}
	}
	for _, root := range []string{"bucket", "/a/b", "s3:bucket", "s3:///a", "s3://bucket?a=b", "s3://user@bucket"} {
		if _, err := newLocations(root); err == nil {
			t.Errorf("%q is taken for a location", root)
		}
	}
}
