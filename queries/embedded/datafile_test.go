package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// metered counts the bytes that are read of a lake's objects.
type metered struct {
	*queriestest.Lake
	read atomic.Int64
}

func (m *metered) Open(ctx context.Context, name string) (objects.Object, error) {
	o, err := m.Lake.Open(ctx, name)
	return meteredObject{o, m}, err
}

type meteredObject struct {
	objects.Object
	store *metered
}

func (o meteredObject) ReadAt(p []byte, at int64) (int, error) {
	n, err := o.Object.ReadAt(p, at)
	o.store.read.Add(int64(n))
	return n, err
}

// wide is a lake of one file of some megabytes.
func wide(t *testing.T) *metered {
	t.Helper()
	lake := queriestest.NewLake()
	if err := lake.Fill(1, 60_000); err != nil {
		t.Fatal(err)
	}
	return &metered{Lake: lake}
}

// using is a statement of which the check found that it uses those columns, rightly or not.
func using(sql string, columns ...string) queries.Statement {
	t := cardlake.Transactions
	r := queries.Read{Table: t, Decision: queriestest.Everything(queriestest.Caller, grants.Query, t), Uses: make([]bool, len(t.Columns))}
	for i, c := range t.Columns {
		for _, name := range columns {
			r.Uses[i] = r.Uses[i] || c.Name == name
		}
	}
	return queries.Statement{SQL: sql, Reads: []queries.Read{r}}
}

func rowsOf(ctx context.Context, e *Engine, s queries.Statement) (_ string, read queries.Snapshot, err error) {
	r, err := e.Query(ctx, s)
	if err != nil {
		return "", queries.Snapshot{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var out strings.Builder
	row := make([]any, len(r.Columns()))
	for {
		if err := r.Next(row); errors.Is(err, io.EOF) {
			return out.String(), r.Snapshots()[0], nil
		} else if err != nil {
			return "", queries.Snapshot{}, err
		}
		fmt.Fprintln(&out, row...)
	}
}

// TestWhatIsNotInMemoryCannotBeNamed: a column that the check forgot is an error, and never zeros,
// also when another statement has loaded others of the same file.
func TestWhatIsNotInMemoryCannotBeNamed(t *testing.T) {
	lake := wide(t)
	e := New(lake, lake, Config{Threads: 1, CacheBytes: 1 << 30})
	defer e.Close()
	for _, sql := range []string{
		"SELECT sum(amount) FROM cards.transactions",
		"SELECT count(*) FROM cards.transactions WHERE amount = 0",
		"SELECT count(*) FROM cards.transactions WHERE merchant_name IS NULL",
		"SELECT t.mcc FROM cards.transactions t ORDER BY t.event_time LIMIT 1",
		"SELECT count(*) FROM cards.transactions a JOIN cards.transactions b USING (event_id)",
	} {
		var fault *queries.Error
		if text, _, err := rowsOf(t.Context(), e, using(sql, "tenant", "mti")); !errors.As(err, &fault) {
			t.Errorf("%s: %q, error %v", sql, text, err)
		}
	}
	for sql, want := range map[string]string{
		"SELECT * FROM cards.transactions LIMIT 1":                                    "aurora 0100\n",
		"SELECT COLUMNS('.*') FROM cards.transactions LIMIT 1":                        "aurora 0100\n",
		"SELECT count(*) FROM cards.transactions NATURAL JOIN (SELECT '0100' AS mti)": "60000\n",
	} {
		if text, _, err := rowsOf(t.Context(), e, using(sql, "tenant", "mti")); text != want || err != nil {
			t.Errorf("%s: %q, error %v", sql, text, err)
		}
	}
}

// TestOnlyWhatIsUsedIsDecrypted: what a statement does not use is not read and not in memory, and
// counts neither as read nor against the bound.
func TestOnlyWhatIsUsedIsDecrypted(t *testing.T) {
	lake := wide(t)
	_, files, err := lake.Plan(t.Context(), cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	whole := files[0].Bytes
	e := New(lake, lake, Config{Threads: 1, MaxBytes: whole / 2})
	s := using("SELECT count(DISTINCT mcc) FROM cards.transactions", "mcc")
	text, read, err := rowsOf(t.Context(), e, s)
	if text != "4\n" || err != nil {
		t.Fatalf("%q, error %v", text, err)
	}
	if n := lake.read.Load(); n > whole/8 || read.Bytes != n || read.Files != 1 || read.Rows != 60_000 {
		t.Errorf("%d of %d bytes were read, the answer tells %d in %d files with %d rows", n, whole, read.Bytes, read.Files, read.Rows)
	}
	s.Reads[0].Uses = nil
	var fault *queries.Error
	if _, _, err := rowsOf(t.Context(), e, s); !errors.As(err, &fault) || !strings.Contains(fault.Message, "may hold in memory") {
		t.Errorf("all columns give %v", err)
	}

	f, err := newDataFile(files[0].Name, whole)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	object, err := lake.Open(t.Context(), f.name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.metadata(t.Context(), object)
	if err != nil {
		t.Fatal(err)
	}
	only := m.whereabouts(cardlake.Transactions.Columns, func(i int) bool { return cardlake.Transactions.Columns[i].Name == "mcc" })
	if err := f.load(t.Context(), object, only, 2); err != nil {
		t.Fatal(err)
	}
	for block, is := range f.isLoaded {
		from := block * blockSize
		held := f.memory.bytes[from:min(from+blockSize, len(f.memory.bytes))]
		if isThere := !bytes.Equal(held, make([]byte, len(held))); isThere != is {
			t.Errorf("block %d: in memory %v, said to be %v", block, isThere, is)
		}
	}
	if f.held() != f.cost(only) {
		t.Errorf("%d bytes are held, %d were foretold", f.held(), f.cost(only))
	}
}

// TestFiltersComeWithTheirColumns: DuckDB asks a column's bloom filter, which must be in memory
// with it: one that is not has no value.
func TestFiltersComeWithTheirColumns(t *testing.T) {
	generator, batch := writerstest.New(1), cardlake.NewBatch()
	var tokens []string
	for i := range 40_000 {
		tx := generator.Next()
		if i%4000 == 0 {
			tokens = append(tokens, strings.Clone(tx.CardToken))
		}
		if err := batch.Append(tx); err != nil {
			t.Fatal(err)
		}
	}
	body, _, err := parquet.NewEncoder(cardlake.Transactions, parquet.Config{RowGroupRows: 20_000}).Encode(batch.View())
	if err != nil {
		t.Fatal(err)
	}
	lake := &metered{Lake: queriestest.NewLake()}
	lake.Add(cardlake.Transactions, cardlake.DataFile{Name: "data/x.parquet", Tenant: "acme", Rows: 40_000, Bytes: int64(len(body))}, body)
	e := New(lake, lake, Config{Threads: 1})
	for _, token := range tokens {
		sql := "SELECT count(*) FROM cards.transactions WHERE card_token = '" + token + "'"
		whole := using(sql)
		whole.Reads[0].Uses = nil
		want, _, err := rowsOf(t.Context(), e, whole)
		if err != nil || want == "0\n" {
			t.Fatalf("%q, error %v", want, err)
		}
		before := lake.read.Load()
		s := using(sql, "card_token")
		s.Reads[0].Filters = [][]queries.Filter{{{Column: 9, In: []any{"another", token}}}}
		got, read, err := rowsOf(t.Context(), e, s)
		if got != want || read.Files != 1 || err != nil {
			t.Errorf("%q in %d files, error %v, want %q", got, read.Files, err, want)
		}
		if got, _, err := rowsOf(t.Context(), e, using(sql, "card_token")); got != want || err != nil {
			t.Errorf("%q for whoever does not look into the filter, error %v, want %q", got, err, want)
		}
		if n := lake.read.Load() - before; n > int64(len(body)) {
			t.Errorf("%d of %d bytes were read", n, len(body))
		}
	}
	passed := 0
	for i := range 20 {
		s := using("SELECT count(*) FROM cards.transactions WHERE card_token = 'x'", "card_token")
		s.Reads[0].Filters = [][]queries.Filter{{{Column: 9, In: []any{fmt.Sprint("nobody's ", i)}}}}
		got, read, err := rowsOf(t.Context(), e, s)
		if got != "0\n" || err != nil {
			t.Fatalf("%q, error %v", got, err)
		}
		passed += 1 - int(read.Files)
	}
	if passed < 15 { // of one in a hundred a filter errs, and there are two row groups
		t.Errorf("%d of 20 tokens that are not there are passed over", passed)
	}
}

// TestBoundsOverlap: a file or row group is passed over if no value from 10 to 20 meets the
// condition.
func TestBoundsOverlap(t *testing.T) {
	number := func(n int64) any { return n }
	for _, c := range []struct {
		name string
		q    queries.Filter
		want bool
	}{
		{"none", queries.Filter{}, true},
		{"from the greatest", queries.Filter{Min: number(20)}, true},
		{"from beyond", queries.Filter{Min: number(21)}, false},
		{"to the least", queries.Filter{Max: number(10)}, true},
		{"to before", queries.Filter{Max: number(9)}, false},
		{"between", queries.Filter{Min: number(12), Max: number(13)}, true},
		{"around", queries.Filter{Min: number(1), Max: number(30)}, true},
		{"the least", queries.Filter{In: []any{number(1), number(10)}}, true},
		{"the greatest", queries.Filter{In: []any{number(20)}}, true},
		{"beside", queries.Filter{In: []any{number(9), number(21)}}, false},
		{"of another type", queries.Filter{In: []any{"15"}, Min: "99"}, true},
	} {
		if got := overlaps(c.q, int64(10), int64(20)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	all := [][]queries.Filter{{{Column: 1}, {Column: 2}}, {{Column: 3}}}
	for missing, want := range map[int]bool{0: true, 1: true, 2: true, 3: true, 123: false} {
		if got := mayHold(all, func(q queries.Filter) bool { return missing != 123 && q.Column != missing }); got != want {
			t.Errorf("without column %d: %v", missing, got)
		}
	}
	if mayHold(all, func(q queries.Filter) bool { return q.Column == 1 }) {
		t.Error("one condition of two is enough")
	}
	if !mayHold(nil, func(queries.Filter) bool { return false }) {
		t.Error("no conditions rule everything out")
	}
}

// TestColumnsAreAdded: statements that use different columns of a file at the same time, and one
// after the other, answer as if each had it to itself.
func TestColumnsAreAdded(t *testing.T) {
	lake := wide(t)
	alone := New(lake, lake, Config{Threads: 1})
	together := New(lake, lake, Config{Threads: 1, CacheBytes: 1 << 30, Ready: 1})
	defer together.Close()
	type one struct {
		s    queries.Statement
		want string
	}
	var all []one
	for _, c := range []string{"event_id", "mcc", "amount", "merchant_name", "card_token", "event_time", "approved", "stream_offset"} {
		s := using(fmt.Sprintf("SELECT min(%[1]s), max(%[1]s), count(DISTINCT %[1]s) FROM cards.transactions", c), c)
		want, _, err := rowsOf(t.Context(), alone, s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one{s, want})
	}
	lake.read.Store(0)
	for range 2 {
		var wait sync.WaitGroup
		for _, o := range all {
			wait.Go(func() {
				if got, _, err := rowsOf(t.Context(), together, o.s); got != o.want || err != nil {
					t.Errorf("%s: %q, error %v, want %q", o.s.SQL, got, err, o.want)
				}
			})
		}
		wait.Wait()
	}
	if before := lake.read.Load(); before > 0 {
		for _, o := range all {
			if got, _, err := rowsOf(t.Context(), together, o.s); got != o.want || err != nil {
				t.Errorf("%s: %q, error %v, want %q", o.s.SQL, got, err, o.want)
			}
		}
		again := lake.read.Load() - before
		_, files, _ := lake.Plan(t.Context(), cardlake.Transactions)
		if again > files[0].Bytes {
			t.Errorf("%d bytes were read again of a file of %d", again, files[0].Bytes)
		}
	}
}

// TestMemoryFilesCannotBeWritten: whoever opens one can read it, and no more.
func TestMemoryFilesCannotBeWritten(t *testing.T) {
	m, err := newMemfd(4096)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	copy(m.bytes, "content")
	f, err := os.OpenFile(m.path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for what, do := range map[string]func() error{
		"write":  func() error { _, err := f.WriteAt([]byte("x"), 0); return err },
		"map":    func() error { _, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_WRITE, unix.MAP_SHARED); return err },
		"grow":   func() error { return f.Truncate(8192) },
		"shrink": func() error { return f.Truncate(1) },
		"punch": func() error {
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
		},
		"unseal":   func() error { _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); return err },
		"our file": func() error { _, err := m.file.WriteAt([]byte("x"), 0); return err },
	} {
		if err := do(); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v, want EPERM", what, err)
		}
	}
	copy(m.bytes[7:], "!")
	got := make([]byte, 8)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != "content!" {
		t.Errorf("a reader sees %q, error %v", got, err)
	}
}

// TestCacheFollowsGrowth: the cache counts what was added to a file, and holds to its bound.
func TestCacheFollowsGrowth(t *testing.T) {
	now := time.Unix(0, 0)
	c := newCache[string, *dataFile](10*blockSize, time.Minute)
	c.now, c.after = func() time.Time { return now }, func(time.Duration, func()) {}
	make := func(name string) *dataFile {
		f, err := newDataFile(name, 8*blockSize)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		f.opened = now
		return f
	}
	load := func(f *dataFile, blocks int64) {
		if err := f.load(t.Context(), bytes.NewReader(f.memory.bytes), []span{{0, blocks * blockSize}}, 1); err != nil {
			t.Fatal(err)
		}
		c.keep(f.name, f)
	}
	a, b := make("a"), make("b")
	load(a, 1)
	load(b, 2)
	load(a, 6)
	if c.bytes != 8*blockSize || c.len() != 2 {
		t.Errorf("%d blocks in %d files, want 8 in 2", c.bytes/blockSize, c.len())
	}
	load(a, 8)
	load(b, 3) // too much with a: the one read longest ago goes
	if _, ok := c.take("a"); ok || c.bytes != 3*blockSize {
		t.Errorf("%d blocks, want 3 of b alone", c.bytes/blockSize)
	}
	now = now.Add(2 * time.Minute)
	load(b, 4)
	if f, ok := c.take("b"); ok {
		t.Error("what was added made a file younger")
		f.Close()
	}
	other := make("b")
	c.keep("b", other)
	c.keep("b", b)
	if c.byKey["b"].Value.(*cached[string, *dataFile]).value != other {
		t.Error("a file took the place of another of its name")
	}
	c.clear()
	if c.bytes != 0 || c.len() != 0 {
		t.Errorf("%d bytes in %d files after all were dropped", c.bytes, c.len())
	}
}

// TestReady: an instance serves one statement, bounds are the statement's, the next are started
// when no statement runs, and Close leaves none.
func TestReady(t *testing.T) {
	cfg := Config{Ready: 2}.withDefaults()
	r := &ready{cfg: cfg}
	seen := map[*instance]bool{}
	take := func(cfg Config) *instance {
		t.Helper()
		in, err := r.take(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if seen[in] {
			t.Error("an instance was given twice")
		}
		seen[in] = true
		return in
	}
	ready := func(want int) {
		t.Helper()
		r.ended()
		r.group.Wait() // until the next ones are there
		if n := len(r.instances); n != want {
			t.Errorf("%d instances are ready, want %d", n, want)
		}
	}
	for range 5 {
		take(cfg)
		ready(2)
	}
	take(cfg)
	take(cfg)
	ready(1) // while the other runs, none but the one that somebody will need at once
	ready(2)
	small := cfg
	small.Memory = 32 << 20
	if text, err := take(small).scan(t.Context(), "SELECT current_setting(?)::VARCHAR", "memory_limit"); text != "32.0 MiB" || err != nil {
		t.Errorf("a bound of 32 MiB is %s, error %v", text, err)
	}
	if err := r.close(); err != nil || len(r.instances) != 0 {
		t.Errorf("error %v, %d instances left", err, len(r.instances))
	}
	r.ended()
	take(cfg)
	ready(0) // nothing is started after close
	for in := range seen {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzFooter: whatever a file's metadata say, what they tell lies in the file.
func FuzzFooter(f *testing.F) {
	_, body, err := queriestest.File(0, 5)
	if err != nil {
		f.Fatal(err)
	}
	lies, err := metadataSpan(body[len(body)-parquetTail:], int64(len(body)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body[lies.from:lies.to], lies.from)
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, metadata []byte, at int64) {
		m, err := parseFooter(metadata, at)
		if err != nil {
			return
		}
		for _, p := range m.whereabouts(cardlake.Transactions.Columns, func(int) bool { return true }) {
			if p.from < 0 || p.to < p.from || p.to > at {
				t.Errorf("%+v of a file whose columns end at %d", p, at)
			}
		}
		for i := range cardlake.Transactions.Columns {
			m.hasByName(&cardlake.Transactions.Columns[i])
			m.only(&cardlake.Transactions.Columns[i])
		}
	})
}

// FuzzBloom: whatever a filter says, asking it neither fails nor reads beyond it.
func FuzzBloom(f *testing.F) {
	filter := append([]byte("\x15\x40\x1c\x1c\x00\x00\x1c\x1c\x00\x00\x1c\x1c\x00\x00\x00"), make([]byte, 32)...)
	f.Add(filter, "x")
	f.Add([]byte{0x15}, "")
	f.Fuzz(func(t *testing.T, filter []byte, word string) {
		header, size, ok := bloomHeader(filter)
		if may := mayHoldText(filter, []any{word}); !may && (!ok || header+size > len(filter)) {
			t.Error("what is no filter rules a text out")
		}
	})
}
