package maintenance_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/catalog/maintenance"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// tenants are those of the tests, by name.
type tenants map[cardlake.Tenant]cardlake.StorageID

func (t tenants) Lookup(name cardlake.Tenant) (catalog.TenantRecord, error) {
	id, ok := t[name]
	if !ok {
		return catalog.TenantRecord{}, catalog.ErrNoTenant
	}
	return catalog.TenantRecord{Name: name, StorageID: id}, nil
}

var everyone = tenants{"acme": "aaaaaaaaaaaaaaaa", "bravo": "bbbbbbbbbbbbbbbb"}

// site is a table on disk that windows are committed to.
type site struct {
	t         testing.TB
	root      string
	keys      *objectstest.Keys
	store     objects.Store
	table     *iceberg.Table
	writer    *writers.Writer
	generator *writerstest.Generator
	at        int64 // stream position
	ids       map[cardlake.EventID]bool
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, root: t.TempDir(), keys: objectstest.NewKeys(), generator: writerstest.New(7), ids: map[cardlake.EventID]bool{}}
	s.store = objects.NewSealed(s.root, s.keys, objects.SealedConfig{})
	c, err := iceberg.Open(t.Context(), iceberg.Config{DB: filepath.Join(t.TempDir(), "catalog.db"), Objects: s.store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if s.table, err = c.Table(t.Context(), cardlake.Transactions); err != nil {
		t.Fatal(err)
	}
	s.writer = writers.New(s.store, everyone, writers.Config{Parallel: 1})
	return s
}

func positions(n int64) cardlake.Positions {
	if n == 0 {
		return cardlake.Positions{}
	}
	return cardlake.Positions{{Stream: "cards"}: {Next: n}}
}

// append commits a window of so many rows of each tenant.
func (s *site) append(rows int, of ...cardlake.Tenant) {
	s.t.Helper()
	w := s.writer.Open()
	defer w.Release()
	for _, tenant := range of {
		for range rows {
			tx := s.generator.Next()
			tx.Tenant = tenant
			s.ids[tx.EventID] = true
			if err := w.Add(tx); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	to := s.at + int64(rows*len(of))
	files, err := w.Flush(s.t.Context(), positions(s.at), positions(to))
	if err == nil {
		_, err = s.table.Append(s.t.Context(), catalog.Append{Files: files, From: positions(s.at), To: positions(to)})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.at = to
}

func (s *site) files() []cardlake.DataFile {
	s.t.Helper()
	files, err := s.table.Files(s.t.Context(), 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

// check counts the table: every event that was committed is there once, positions are as they
// were, and each file is what the catalog says of it.
func (s *site) check(destroyed ...cardlake.Tenant) {
	s.t.Helper()
	at, err := s.table.Positions(s.t.Context())
	if err != nil || at[cardlake.StreamPartition{Stream: "cards"}].Next != s.at {
		s.t.Errorf("positions %v, %v, want %d", at, err, s.at)
	}
	seen := map[cardlake.EventID]bool{}
	unread := int64(0)
	for _, f := range s.files() {
		if slices.Contains(destroyed, f.Tenant) {
			unread += f.Rows
			continue
		}
		body, err := objects.ReadAll(s.t.Context(), s.store, f.Name)
		if err != nil {
			s.t.Fatal(err)
		}
		if !strings.HasPrefix(f.Name, "data/transactions/"+string(everyone[f.Tenant])+"/"+f.Day.String()+"/") || f.Bytes != int64(len(body)) {
			s.t.Errorf("%s has %d bytes, the catalog says %v", f.Name, len(body), f)
		}
		rows, last := int64(0), f.MinTime
		err = parquet.EventIDs(body, 0, func(id cardlake.EventID, at int64) bool {
			if seen[id] || !s.ids[id] {
				s.t.Errorf("an event is there twice, or was never sent")
			}
			if rows++; at < last || at > f.MaxTime {
				s.t.Errorf("%s is not in order of time, or has other times than the catalog says", f.Name)
			}
			seen[id], last = true, at
			return true
		})
		if err != nil || rows != f.Rows {
			s.t.Errorf("%s has %d rows, want %d: %v", f.Name, rows, f.Rows, err)
		}
	}
	if int64(len(seen))+unread != int64(len(s.ids)) {
		s.t.Errorf("%d events are in the table, %d were sent", len(seen)+int(unread), len(s.ids))
	}
}

// stored are the names of the data objects.
func (s *site) stored() (names []string) {
	s.t.Helper()
	for info, err := range s.store.List(s.t.Context(), "data/") {
		if err != nil {
			s.t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

// never is longer than any day was over.
const never = 1 << 62

func (s *site) compactor(table maintenance.Table, cfg maintenance.Config) *maintenance.Compactor {
	return maintenance.New(cardlake.Transactions, table, s.store, everyone, cfg)
}

func (s *site) run(table maintenance.Table, cfg maintenance.Config) maintenance.Report {
	s.t.Helper()
	r, err := s.compactor(table, cfg).Run(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func TestRun(t *testing.T) {
	s := newSite(t)
	for range 35 {
		s.append(40, "acme", "bravo")
	}
	before := s.files()
	r := s.run(s.table, maintenance.Config{Width: 4, Settle: never})
	s.check()
	if n := len(s.files()); len(r.Skipped) > 0 || n > 2*3*4 || r.FilesIn-r.FilesOut != len(before)-n {
		t.Errorf("%d files are left of %d, report %+v", n, len(before), r)
	}
	if again := s.run(s.table, maintenance.Config{Width: 4, Settle: never}); again.Jobs != 0 {
		t.Errorf("a second run has work left: %+v", again)
	}
	// An older snapshot is as it was.
	snapshots, err := s.table.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, snapshot := range snapshots {
		if snapshot.Files != int64(len(before)) {
			continue
		}
		files, err := s.table.Files(t.Context(), snapshot.ID)
		if err != nil || len(files) != len(before) {
			t.Errorf("%d files in the snapshot before, %v", len(files), err)
		}
	}
	s.append(40, "acme")
	s.run(s.table, maintenance.Config{Settle: time.Nanosecond})
	s.check()
	files := s.files()
	if len(files) != 2 {
		t.Errorf("%d files of two tenants' days that are over", len(files))
	}
	if again := s.run(s.table, maintenance.Config{Settle: time.Nanosecond}); again.Jobs != 0 {
		t.Errorf("a last run has work left: %+v", again)
	}
}

// TestFilesAreFinished: what comes out has what the writer's files have.
func TestFilesAreFinished(t *testing.T) {
	s := newSite(t)
	for range 4 {
		s.append(5000, "acme")
	}
	s.run(s.table, maintenance.Config{Settle: time.Nanosecond})
	s.check()
	f := s.files()[0]
	body, err := objects.ReadAll(t.Context(), s.store, f.Name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := file.NewParquetReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	group := r.MetaData().RowGroup(0)
	for i := range group.NumColumns() {
		chunk, err := group.ColumnChunk(i)
		if err != nil {
			t.Fatal(err)
		}
		name := chunk.PathInSchema().String()
		if has, want := chunk.BloomFilterOffset() > 0, slices.Contains([]string{"event_id", "card_token", "customer_id"}, name); has != want {
			t.Errorf("column %s has a bloom filter: %v, want %v", name, has, want)
		}
		if want := slices.Contains([]string{"merchant_name", "mcc", "program", "stream"}, name); want && !chunk.HasDictionaryPage() {
			t.Errorf("column %s has no dictionary", name)
		}
		if id := r.MetaData().Schema.Column(i).SchemaNode().FieldID(); int(id) != cardlake.Transactions.Columns[i].ID {
			t.Errorf("column %s has the field id %d", name, id)
		}
	}
	if len(f.SplitOffsets) != r.NumRowGroups() || f.SplitOffsets[0] != 4 {
		t.Errorf("split offsets %v of %d row groups", f.SplitOffsets, r.NumRowGroups())
	}
	s.keys.Destroy(keys.OwnerOf(everyone["acme"]))
	if _, err := objects.ReadAll(t.Context(), s.store, f.Name); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("it opens without the tenant's key: %v", err)
	}
}

// TestLargeDaysAreSplit: files of several row groups end at their bound and do not overlap,
// and that is the end of it.
func TestLargeDaysAreSplit(t *testing.T) {
	s := newSite(t)
	for range 9 {
		s.append(900, "acme")
	}
	const most = 350_000 // of about 800,000
	cfg := maintenance.Config{Settle: time.Nanosecond, FileBytes: most, RowGroupRows: 500}
	s.run(s.table, cfg)
	s.check()
	files := s.files()
	slices.SortFunc(files, func(a, b cardlake.DataFile) int { return int(a.MinTime - b.MinTime) })
	for i, f := range files {
		if f.Bytes > most*11/10 || i > 0 && f.MinTime < files[i-1].MaxTime || i+1 < len(files) && len(f.SplitOffsets) < 2 {
			t.Errorf("%v is too large, or has one row group, or begins before the one before ends", f)
		}
	}
	if len(files) < 2 || len(files) > 4 {
		t.Errorf("%d files", len(files))
	}
	if again := s.run(s.table, cfg); again.Jobs != 0 {
		t.Errorf("a second run has work left: %+v", again)
	}
}

// TestBesideAppends: three compactors work on the table while windows are committed.
func TestBesideAppends(t *testing.T) {
	s := newSite(t)
	done := make(chan struct{})
	reports := make([]maintenance.Report, 3)
	var wg sync.WaitGroup
	for i := range reports {
		wg.Go(func() {
			c := s.compactor(s.table, maintenance.Config{Width: 3, Settle: never})
			for isDone := false; !isDone; {
				select {
				case <-done:
					isDone = true
				default:
				}
				r, err := c.Run(t.Context())
				if err != nil || len(r.Skipped) > 0 {
					t.Error(err, r.Skipped)
					return
				}
				reports[i].Jobs += r.Jobs
				reports[i].Yielded += r.Yielded
			}
		})
	}
	for range 40 {
		s.append(10, "acme", "bravo")
	}
	close(done)
	wg.Wait()
	s.run(s.table, maintenance.Config{Width: 3, Settle: never})
	s.check()
	jobs, yielded := 0, 0
	for _, r := range reports {
		jobs, yielded = jobs+r.Jobs, yielded+r.Yielded
	}
	t.Logf("%d jobs, %d yielded, %d files", jobs, yielded, len(s.files()))
	if n := len(s.files()); n > 2*6*2 {
		t.Errorf("%d files are left", n)
	}
}

// fickle is a table whose Replace answers as it is told first.
type fickle struct {
	maintenance.Table
	answers []error
	happens bool // although the answer is an error
}

func (f *fickle) Replace(ctx context.Context, r catalog.Replace) (catalog.Snapshot, error) {
	if len(f.answers) == 0 {
		return f.Table.Replace(ctx, r)
	}
	err := f.answers[0]
	f.answers = f.answers[1:]
	if f.happens {
		if _, err := f.Table.Replace(ctx, r); err != nil {
			return catalog.Snapshot{}, err
		}
	}
	return catalog.Snapshot{}, fmt.Errorf("replace: %w", err)
}

func TestOutcomesOfTheCommit(t *testing.T) {
	broken := errors.New("the network is down")
	for name, c := range map[string]struct {
		answers []error
		happens bool
		// kept says that the new objects stay; skipped and yielded are of the report.
		kept             bool
		skipped, yielded int
		files            int
	}{
		"conflicts pass":           {[]error{catalog.ErrConflict, catalog.ErrConflict}, false, true, 0, 0, 1},
		"somebody was faster":      {[]error{catalog.ErrGone}, false, true, 0, 1, 1}, // planned anew, and merged
		"unknown and happened":     {[]error{catalog.ErrUnknown}, true, true, 1, 0, 1},
		"unknown and not happened": {[]error{catalog.ErrUnknown}, false, true, 1, 0, 3},
		"anything else":            {[]error{broken}, false, false, 1, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			for range 3 {
				s.append(20, "acme")
			}
			before := len(s.stored())
			r := s.run(&fickle{s.table, c.answers, c.happens}, maintenance.Config{Settle: time.Nanosecond})
			s.check()
			if len(r.Skipped) != c.skipped || r.Yielded != c.yielded || len(s.files()) != c.files {
				t.Errorf("report %+v, %d files", r, len(s.files()))
			}
			want := before
			if c.kept {
				want++
			}
			if got := len(s.stored()); got != want {
				t.Errorf("%d objects, want %d", got, want)
			}
		})
	}
}

// TestLeftAlone: what cannot be read stays as it is, and does not keep others from being
// merged.
func TestLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		spoil     func(*site, cardlake.DataFile)
		destroyed int
		want      error
	}{
		"a byte was changed": {func(s *site, f cardlake.DataFile) {
			path := filepath.Join(s.root, filepath.FromSlash(f.Name))
			body, err := os.ReadFile(path)
			if err == nil {
				body[len(body)/2] ^= 1
				err = os.WriteFile(path, body, 0o600)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}, 0, objects.ErrCorrupt},
		"the object is gone": {func(s *site, f cardlake.DataFile) {
			if err := s.store.Delete(s.t.Context(), f.Name); err != nil {
				s.t.Fatal(err)
			}
		}, 0, objects.ErrNotFound},
		"the key was destroyed": {func(s *site, f cardlake.DataFile) { s.store = destroyed{s.store, string(everyone[f.Tenant])} }, 1, nil},
		"there is no key":       {func(s *site, f cardlake.DataFile) { s.keys.Destroy(keys.OwnerOf(everyone[f.Tenant])) }, 0, keys.ErrNoKey},
		"it is no Parquet": {func(s *site, f cardlake.DataFile) {
			err := s.store.Delete(s.t.Context(), f.Name)
			if err == nil {
				err = s.store.Put(s.t.Context(), f.Name, keys.OwnerOf(everyone[f.Tenant]), bytes.Repeat([]byte("PAR1"), int(f.Bytes/4)))
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}, 0, maintenance.ErrInput},
		"it is another file": {func(s *site, f cardlake.DataFile) {
			body, err := objects.ReadAll(s.t.Context(), s.store, s.files()[len(s.files())-1].Name)
			if err == nil {
				err = s.store.Delete(s.t.Context(), f.Name)
			}
			if err == nil {
				err = s.store.Put(s.t.Context(), f.Name, keys.OwnerOf(everyone[f.Tenant]), body)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}, 0, maintenance.ErrInput},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			for i := range 3 {
				s.append(20+i, "acme", "bravo")
			}
			files := s.files()
			i := slices.IndexFunc(files, func(f cardlake.DataFile) bool { return f.Tenant == "acme" })
			c.spoil(s, files[i])
			before := len(s.stored())
			r := s.run(s.table, maintenance.Config{Settle: time.Nanosecond})
			if r.Destroyed != c.destroyed || len(r.Skipped) != 1-c.destroyed || c.want != nil && !errors.Is(r.Skipped[0].Err, c.want) {
				t.Errorf("report %+v, want an error %v", r, c.want)
			}
			left := map[cardlake.Tenant]int{}
			for _, f := range s.files() {
				left[f.Tenant]++
			}
			if left["acme"] != 3 || left["bravo"] != 1 {
				t.Errorf("files by tenant: %v", left)
			}
			if got := len(s.stored()); got != before+1 {
				t.Errorf("%d objects, want %d and one", got, before)
			}
		})
	}
}

// destroyed is a store in which the key of one folder was destroyed.
type destroyed struct {
	objects.Store
	folder string
}

func (d destroyed) Open(ctx context.Context, name string) (objects.Object, error) {
	if strings.Contains(name, d.folder) {
		return nil, fmt.Errorf("open: %w", keys.ErrDestroyed)
	}
	return d.Store.Open(ctx, name)
}

// TestPutFails: what was made before is taken back.
func TestPutFails(t *testing.T) {
	s := newSite(t)
	for range 5 {
		s.append(100, "acme")
	}
	before := len(s.stored())
	s.store = &limited{Store: s.store, left: 2}
	r := s.run(s.table, maintenance.Config{Settle: time.Nanosecond, FileBytes: 1, RowGroupRows: 150})
	if len(r.Skipped) != 1 || !errors.Is(r.Skipped[0].Err, errFull) || len(s.stored()) != before {
		t.Errorf("report %+v, %d objects, want %d", r, len(s.stored()), before)
	}
	s.check()
}

var errFull = errors.New("the disk is full")

// limited takes so many puts.
type limited struct {
	objects.Store
	left int
}

func (l *limited) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	if l.left--; l.left < 0 {
		return errFull
	}
	return l.Store.Put(ctx, name, owner, body)
}

// TestInterrupted: a run that is cancelled leaves nothing behind.
func TestInterrupted(t *testing.T) {
	s := newSite(t)
	for range 3 {
		s.append(100, "acme")
	}
	before := len(s.stored())
	ctx, cancel := context.WithCancel(t.Context())
	s.store = cancelling{s.store, cancel}
	if _, err := s.compactor(s.table, maintenance.Config{Settle: time.Nanosecond}).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	if len(s.stored()) != before {
		t.Errorf("%d objects, want %d", len(s.stored()), before)
	}
	s.check()
}

// cancelling cancels a context when something was put.
type cancelling struct {
	objects.Store
	cancel context.CancelFunc
}

func (c cancelling) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	defer c.cancel()
	return c.Store.Put(ctx, name, owner, body)
}
