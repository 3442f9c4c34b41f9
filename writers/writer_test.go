package writers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	pqgo "github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// register is a register of tenants by name.
type register map[cardlake.Tenant]cardlake.StorageID

func (r register) Lookup(name cardlake.Tenant) (catalog.TenantRecord, error) {
	id, ok := r[name]
	if !ok {
		return catalog.TenantRecord{}, catalog.ErrNoTenant
	}
	return catalog.TenantRecord{Name: name, StorageID: id}, nil
}

var tenants = register{"acme": "aaaaaaaaaaaaaaaa", "bolt": "bbbbbbbbbbbbbbbb", "crux": "cccccccccccccccc"}

func at(offset int64) cardlake.Positions {
	return cardlake.Positions{{Stream: "cards", Partition: 0}: {Next: offset}}
}

func newStore(t testing.TB) *objects.Sealed {
	return objects.NewSealed(t.TempDir(), objectstest.NewKeys(), objects.SealedConfig{})
}

func add(t testing.TB, w *writers.Window, txs ...*cardlake.Transaction) {
	t.Helper()
	for _, tx := range txs {
		if err := w.Add(tx); err != nil {
			t.Fatal(err)
		}
	}
}

// mixed returns transactions of three tenants over three days.
func mixed(n int) []*cardlake.Transaction {
	txs := writerstest.New(1).Take(n)
	for i, tx := range txs {
		tx.Tenant = []cardlake.Tenant{"acme", "bolt", "crux"}[i%3]
		tx.EventTime += int64(i%5/2) * 86_400_000_000
	}
	return txs
}

// events returns the event ids of a file's rows.
func events(t testing.TB, s objects.Store, f cardlake.DataFile) (ids []string) {
	t.Helper()
	body, err := objects.ReadAll(t.Context(), s, f.Name)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(body)) != f.Bytes {
		t.Errorf("%s has %d bytes, the data file says %d", f.Name, len(body), f.Bytes)
	}
	if err := parquet.EventIDs(body, 0, func(id cardlake.EventID, at int64) bool {
		if at < f.MinTime || at > f.MaxTime || cardlake.DayOf(at) != f.Day {
			t.Errorf("%s: a row at %d, outside %d to %d of %s", f.Name, at, f.MinTime, f.MaxTime, f.Day)
		}
		ids = append(ids, string(f.Tenant)+" "+id.String())
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if int64(len(ids)) != f.Rows {
		t.Errorf("%s has %d rows, the data file says %d", f.Name, len(ids), f.Rows)
	}
	return ids
}

func allEvents(t testing.TB, s objects.Store, files []cardlake.DataFile) (ids []string) {
	for _, f := range files {
		ids = append(ids, events(t, s, f)...)
	}
	slices.Sort(ids)
	return ids
}

func wanted(txs []*cardlake.Transaction) (ids []string) {
	for _, tx := range txs {
		ids = append(ids, string(tx.Tenant)+" "+tx.EventID.String())
	}
	slices.Sort(ids)
	return ids
}

func names(t testing.TB, s objects.Store) (names []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

// Every row lands in one file of its tenant and day, once.
func TestFlush(t *testing.T) {
	s, txs := newStore(t), mixed(3000)
	writer := writers.New(s, tenants, writers.Config{})
	w := writer.Open()
	add(t, w, txs...)
	if w.Rows() != 3000 || w.Bytes() < 3000*100 {
		t.Errorf("%d rows, %d bytes", w.Rows(), w.Bytes())
	}
	files, err := w.Flush(t.Context(), at(0), at(3000))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 9 {
		t.Errorf("%d files, want one for each of 3 tenants and 3 days", len(files))
	}
	name := regexp.MustCompile(`^data/transactions/([a-p]{16})/(\d{4}-\d\d-\d\d)/[a-p]{16}-0\.parquet$`)
	for i, f := range files {
		if m := name.FindStringSubmatch(f.Name); m == nil || m[1] != string(tenants[f.Tenant]) || m[2] != f.Day.String() {
			t.Errorf("name %s of %s, %s", f.Name, f.Tenant, f.Day)
		}
		if len(f.SplitOffsets) != 1 || f.SplitOffsets[0] != 4 {
			t.Errorf("split offsets %v", f.SplitOffsets)
		}
		if i > 0 && (files[i-1].Tenant > f.Tenant || files[i-1].Tenant == f.Tenant && files[i-1].Day >= f.Day) {
			t.Errorf("%s comes after %s", f.Name, files[i-1].Name)
		}
	}
	if !slices.Equal(allEvents(t, s, files), wanted(txs)) {
		t.Error("the files do not hold the rows that were added")
	}
	if w.Rows() != 3000 {
		t.Errorf("after Flush: %d rows", w.Rows())
	}
	w.Release()
	w = writer.Open()
	if files, err := w.Flush(t.Context(), at(3000), at(3010)); len(files) != 0 || err != nil {
		t.Errorf("Flush of nothing: %v, %v", files, err)
	}
	// The next window has names of its own.
	add(t, w, txs[:30]...)
	if files, err = w.Flush(t.Context(), at(3010), at(3040)); err != nil || len(files) != 9 {
		t.Errorf("second window: %d files, %v", len(files), err)
	}
	if !strings.HasSuffix(files[0].Name, "-0.parquet") {
		t.Errorf("the second window's file is %s: a second attempt at the first", files[0].Name)
	}
	if !slices.Equal(allEvents(t, s, files), wanted(txs[:30])) {
		t.Error("the second window's files hold other rows")
	}
}

// The file of one tenant opens under that tenant's key only, and only through the store.
func TestFlushEncryptsForTenant(t *testing.T) {
	provider := objectstest.NewKeys()
	s := objects.NewSealed(t.TempDir(), provider, objects.SealedConfig{})
	w := writers.New(s, tenants, writers.Config{}).Open()
	add(t, w, mixed(300)...)
	files, err := w.Flush(t.Context(), at(0), at(1))
	if err != nil {
		t.Fatal(err)
	}
	provider.Destroy(keys.OwnerOf(tenants["bolt"]))
	for _, f := range files {
		_, err := objects.ReadAll(t.Context(), s, f.Name)
		if gone := errors.Is(err, keys.ErrNoKey); gone != (f.Tenant == "bolt") {
			t.Errorf("%s of %s: %v", f.Name, f.Tenant, err)
		}
	}
}

// A worker that starts again from the same positions does not disturb what an earlier attempt
// left, since that attempt may have been committed.
func TestFlushTakesNextAttempt(t *testing.T) {
	s, txs := newStore(t), writerstest.New(2).Take(100)
	var all []cardlake.DataFile
	for attempt := range 3 {
		w := writers.New(s, tenants, writers.Config{}).Open()
		add(t, w, txs[:10+attempt]...)
		files, err := w.Flush(t.Context(), at(0), at(10))
		if err != nil || len(files) != 1 || !strings.HasSuffix(files[0].Name, fmt.Sprintf("-%d.parquet", attempt)) {
			t.Fatalf("attempt %d: %v, %v", attempt, files, err)
		}
		all = append(all, files...)
	}
	for attempt, f := range all {
		if got := events(t, s, f); len(got) != 10+attempt {
			t.Errorf("attempt %d has %d rows", attempt, len(got))
		}
	}
}

func TestAddUnknownTenant(t *testing.T) {
	w := writers.New(newStore(t), tenants, writers.Config{}).Open()
	tx := *writerstest.Bare()
	tx.Tenant = "nobody"
	if err := w.Add(&tx); !errors.Is(err, catalog.ErrNoTenant) || w.Rows() != 0 || w.Bytes() != 0 {
		t.Errorf("Add: %v, %d rows, %d bytes", err, w.Rows(), w.Bytes())
	}
	tx.Tenant, tx.MTI = "acme", ""
	if err := w.Add(&tx); !errors.Is(err, cardlake.ErrField) || w.Rows() != 0 || w.Bytes() != 0 {
		t.Errorf("Add: %v, %d rows, %d bytes", err, w.Rows(), w.Bytes())
	}
	if files, err := w.Flush(t.Context(), at(0), at(1)); len(files) != 0 || err != nil {
		t.Errorf("Flush: %v, %v", files, err)
	}
}

// A tenant's name that lies in memory that is reused names the file all the same.
func TestAddCopiesTenant(t *testing.T) {
	s := newStore(t)
	w := writers.New(s, tenants, writers.Config{}).Open()
	memory, tx := []byte("acme"), writerstest.Bare()
	tx.Tenant = cardlake.Tenant(unsafe.String(&memory[0], 4))
	add(t, w, tx)
	copy(memory, "bolt")
	add(t, w, tx, tx)
	files, err := w.Flush(t.Context(), at(0), at(3))
	if err != nil || len(files) != 2 || files[0].Tenant != "acme" || files[0].Rows != 1 || files[1].Tenant != "bolt" || files[1].Rows != 2 {
		t.Errorf("files %v, %v", files, err)
	}
}

// Nor does a tenant found again by a name in such memory get the next tenant's rows.
func TestAddForgetsTenantsMemory(t *testing.T) {
	s := newStore(t)
	w := writers.New(s, tenants, writers.Config{}).Open()
	memory, tx := []byte("acme"), writerstest.Bare()
	tx.Tenant = cardlake.Tenant(unsafe.String(&memory[0], 4))
	for _, name := range []string{"acme", "bolt", "acme", "bolt"} {
		copy(memory, name)
		add(t, w, tx)
	}
	files, err := w.Flush(t.Context(), at(0), at(4))
	if err != nil || len(files) != 2 || files[0].Rows != 2 || files[1].Rows != 2 {
		t.Errorf("files %v, %v", files, err)
	}
}

// The rows of a released window are in no later one, although its memory is.
func TestRelease(t *testing.T) {
	s, txs := newStore(t), mixed(60)
	writer := writers.New(s, tenants, writers.Config{})
	w := writer.Open()
	add(t, w, txs[:30]...)
	w.Release()
	if w.Rows() != 0 || w.Bytes() != 0 {
		t.Errorf("%d rows, %d bytes", w.Rows(), w.Bytes())
	}
	w = writer.Open()
	add(t, w, txs[30:]...)
	files, err := w.Flush(t.Context(), at(0), at(1))
	if err != nil || !slices.Equal(allEvents(t, s, files), wanted(txs[30:])) {
		t.Errorf("after Release the files hold other rows (%v)", err)
	}
}

// Too many open files: the smallest are written before the window closes, a put that fails
// in between loses nothing, and no row is in two files.
func TestSpill(t *testing.T) {
	for _, fail := range []int{0, 1, 2, 3} {
		s := &faulty{Store: newStore(t), fail: func(put int) bool { return put == fail }}
		w := writers.New(s, tenants, writers.Config{OpenFiles: 4, Parallel: 1}).Open()
		txs := mixed(900)
		for i, tx := range txs {
			add(t, w, tx)
			for w.Crowded() {
				before := w.Bytes()
				err := w.Spill(t.Context(), at(0), at(int64(i+1)))
				w.LetGo()
				if err != nil && !errors.Is(err, errFault) {
					t.Fatal(err)
				} else if err == nil && w.Bytes() >= before {
					t.Errorf("%d bytes before Spill, %d after", before, w.Bytes())
				}
			}
		}
		files, err := w.Flush(t.Context(), at(0), at(900))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) <= 9 || w.Rows() != 900 {
			t.Errorf("%d files, %d rows", len(files), w.Rows())
		}
		if !slices.Equal(allEvents(t, s, files), wanted(txs)) {
			t.Error("the files do not hold the rows that were added, each once")
		}
	}
}

// A reader's view of rows that are spilled stays as it is while their memory could be used again.
func TestViewOutlivesSpill(t *testing.T) {
	w := writers.New(newStore(t), tenants, writers.Config{}).Open()
	txs := mixed(60)
	add(t, w, txs[:30]...)
	views, ok := w.Views()
	if !ok {
		t.Fatal("no views")
	}
	text := func() (out []string) {
		for _, v := range views {
			out = append(out, v.Column(0).String())
		}
		return out
	}
	before := text()
	for range 20 {
		if err := w.Spill(t.Context(), at(0), at(30)); err != nil {
			t.Fatal(err)
		}
		w.LetGo()
	}
	add(t, w, txs[30:]...)
	if !slices.Equal(text(), before) {
		t.Error("the views changed")
	}
}

// faulty fails the puts whose number is in fail, before or after the object is there.
type faulty struct {
	objects.Store
	mu    sync.Mutex
	puts  int
	fail  func(put int) bool
	after bool
}

var errFault = errors.New("injected fault")

func (s *faulty) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	s.mu.Lock()
	s.puts++
	failing := s.fail(s.puts)
	s.mu.Unlock()
	if failing && !s.after {
		return errFault
	}
	err := s.Store.Put(ctx, name, owner, body)
	if failing && err == nil {
		return errFault
	}
	return err
}

func (s *faulty) List(ctx context.Context, prefix string) iter.Seq2[objects.Info, error] {
	return s.Store.List(ctx, prefix)
}

// Whichever put fails, before or after it took effect: Flush again gives every row once, and
// rows added in between are not lost.
func TestFlushAgainAfterFault(t *testing.T) {
	for nth := 1; nth <= 9; nth++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprint(nth, after), func(t *testing.T) {
				s := &faulty{Store: newStore(t), fail: func(put int) bool { return put == nth }, after: after}
				txs := mixed(100)
				w := writers.New(s, tenants, writers.Config{Parallel: 2 - nth%2}).Open()
				add(t, w, txs[:90]...)
				if files, err := w.Flush(t.Context(), at(0), at(90)); !errors.Is(err, errFault) || files != nil {
					t.Fatalf("Flush: %v, %v", files, err)
				}
				if w.Rows() != 90 {
					t.Errorf("%d rows after the fault", w.Rows())
				}
				count := 90
				if nth%2 == 0 {
					add(t, w, txs[90:]...)
					count = 100
				}
				first := s.puts
				files, err := w.Flush(t.Context(), at(0), at(90))
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(allEvents(t, s, files), wanted(txs[:count])) {
					t.Error("the files do not hold the rows that were added")
				}
				if nth == 9 && !after && s.puts != first+1 {
					t.Errorf("%d more puts for the one file that was missing", s.puts-first)
				}
				left := names(t, s)
				for _, f := range files {
					if !slices.Contains(left, f.Name) {
						t.Errorf("%s is not in the store", f.Name)
					}
				}
			})
		}
	}
}

func TestFlushCancelled(t *testing.T) {
	s := newStore(t)
	w := writers.New(s, tenants, writers.Config{}).Open()
	add(t, w, mixed(30)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Flush(ctx, at(0), at(30)); !errors.Is(err, context.Canceled) || w.Rows() != 30 {
		t.Errorf("Flush: %v, %d rows", err, w.Rows())
	}
	if left := names(t, s); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// Rows are added without allocation once the writer has seen windows of their size.
func TestAddAllocates(t *testing.T) {
	writer := writers.New(newStore(t), tenants, writers.Config{})
	txs := writerstest.New(3).Take(4000)
	w := writer.Open()
	add(t, w, txs...)
	w.Release()
	w = writer.Open()
	add(t, w, txs[:10]...)
	if n := testing.AllocsPerRun(1, func() { add(t, w, txs[10:1000]...) }); n > 20 {
		t.Errorf("%.0f allocations for 990 rows", n)
	}
}

func TestRejected(t *testing.T) {
	s := newStore(t)
	w := writers.NewRejected(s, writers.Config{}).Open()
	for i := range 10 {
		r := &cardlake.RejectedRecord{RejectedAt: writerstest.Start + int64(i%2)*86_400_000_000, Reason: "undecodable", RecordTime: 1, Payload: bytes.Repeat([]byte{byte(i)}, 50),
			Position: cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards"}, Offset: int64(i)}}
		if err := w.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Add(&cardlake.RejectedRecord{}); !errors.Is(err, cardlake.ErrField) || w.Rows() != 10 {
		t.Errorf("Add: %v, %d rows", err, w.Rows())
	}
	files, err := w.Flush(t.Context(), at(0), at(10))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if f.Tenant != "" || f.Rows != 5 || path.Dir(f.Name) != "data/transactions_rejected/"+f.Day.String() {
			t.Errorf("file %+v", f)
		}
		body, err := objects.ReadAll(t.Context(), s, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if file, err := pqgo.OpenFile(bytes.NewReader(body), int64(len(body))); err != nil || file.NumRows() != 5 {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}
