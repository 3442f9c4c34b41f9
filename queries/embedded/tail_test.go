package embedded_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// at plans a lake as of stream positions, which the lake of queriestest does not have.
type at struct {
	*queriestest.Lake
	positions cardlake.Positions
}

func (a at) Plan(ctx context.Context, t *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	s, files, err := a.Lake.Plan(ctx, t)
	s.Positions = a.positions
	return s, files, err
}

// tailFunc is a tail.
type tailFunc func(ctx context.Context, from cardlake.Positions) (queries.TailRows, error)

func (f tailFunc) Tail(ctx context.Context, from cardlake.Positions) (queries.TailRows, error) {
	return f(ctx, from)
}

func partition(n int32) cardlake.StreamPartition {
	return cardlake.StreamPartition{Stream: "cards", Partition: n}
}

// rowsOf returns a record of n rows of one tenant, at the offsets from on of a partition.
func rowsOf(t testing.TB, tenant cardlake.Tenant, p int32, from, n int) arrow.RecordBatch {
	t.Helper()
	b := cardlake.NewBatch()
	for i, tx := range writerstest.New(uint64(from)).Take(n) {
		tx.Tenant, tx.Position = tenant, cardlake.Position{StreamPartition: partition(p), Offset: int64(from + i)}
		if err := b.Append(tx); err != nil {
			t.Fatal(err)
		}
	}
	return b.View()
}

func ask(t *testing.T, e *embedded.Engine, sql string) ([][]any, queries.Snapshot) {
	t.Helper()
	parser := embedded.NewParser()
	defer parser.Close()
	r, err := queries.New(parser, e, queriestest.Everything, &queriestest.Log{}, queries.Config{}).Query(t.Context(), queriestest.Caller, sql)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out [][]any
	for {
		row := make([]any, len(r.Columns()))
		if err := r.Next(row); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, row)
	}
	return out, r.Snapshots()[0]
}

func TestSnapshotAndTailAreUnited(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(3, 40); err != nil {
		t.Fatal(err)
	}
	from := cardlake.Positions{partition(0): {Next: 100}, partition(1): {Next: 20}}
	freed := 0
	tail := tailFunc(func(_ context.Context, p cardlake.Positions) (queries.TailRows, error) {
		if diff := cmp.Diff(from, p); diff != "" {
			t.Errorf("asked for the tail beyond (-want +got):\n%s", diff)
		}
		return queries.TailRows{
			To:      cardlake.Positions{partition(0): {Next: 130}, partition(2): {Next: 5}},
			Records: []arrow.RecordBatch{rowsOf(t, "zulu", 0, 100, 30), rowsOf(t, "aurora", 2, 0, 5), rowsOf(t, "zulu", 2, 5, 9).NewSlice(0, 0)},
			Free:    func() { freed++ },
		}, nil
	})
	e := embedded.New(at{lake, from}, lake, embedded.Config{Tail: tail})
	before := time.Now()
	rows, s := ask(t, e, "SELECT tenant, count(*), min(stream_offset), count(DISTINCT event_id) FROM cards.transactions WHERE tenant IN ('zulu', 'aurora') GROUP BY tenant ORDER BY tenant")
	want := [][]any{{"aurora", int64(45), int64(0), int64(45)}, {"zulu", int64(30), int64(100), int64(30)}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if freed != 1 {
		t.Errorf("the tail was released %d times", freed)
	}
	if s.TailRows != 35 || s.TailError != nil || s.ReadAt.Before(before) {
		t.Errorf("snapshot %+v", s)
	}
	if want := []cardlake.StreamPartition{partition(1)}; !slices.Equal(s.Lacking, want) || !s.AsOf().Equal(s.CommittedAt) {
		t.Errorf("lacking %v as of %v, want %v as of the snapshot", s.Lacking, s.AsOf(), want)
	}
	wantAt := cardlake.Positions{partition(0): {Next: 130}, partition(1): {Next: 20}, partition(2): {Next: 5}}
	if diff := cmp.Diff(wantAt, s.Positions); diff != "" {
		t.Errorf("positions (-want +got):\n%s", diff)
	}
	// A table that is not the transactions' has no tail.
	if _, s := ask(t, e, "SELECT count(*) FROM cards.transactions_rejected"); s.TailRows != 0 || !s.ReadAt.IsZero() {
		t.Errorf("rejected records have a tail: %+v", s)
	}
	if n := memoryFiles(t); n != 0 {
		t.Errorf("%d memory files are left", n)
	}
}

// A tail that ends before what was answered already is lacking, although it is there.
func TestTailBehindAnEarlierAnswer(t *testing.T) {
	lake, to := queriestest.NewLake(), int64(30)
	tail := tailFunc(func(context.Context, cardlake.Positions) (queries.TailRows, error) {
		return queries.TailRows{To: cardlake.Positions{partition(0): {Next: to}}, Records: []arrow.RecordBatch{rowsOf(t, "zulu", 0, 0, int(to))}}, nil
	})
	e := embedded.New(at{lake, nil}, lake, embedded.Config{Tail: tail})
	for i, tc := range []struct {
		to      int64
		lacking int
	}{{30, 0}, {30, 0}, {20, 1}, {29, 1}, {31, 0}} {
		to = tc.to
		rows, s := ask(t, e, "SELECT count(*) FROM cards.transactions")
		if rows[0][0] != tc.to || len(s.Lacking) != tc.lacking || s.Positions[partition(0)].Next != tc.to {
			t.Errorf("answer %d: %v, lacking %v, positions %v", i, rows, s.Lacking, s.Positions)
		}
	}
}

// A partition that was answered but has no commit yet is lacking as soon as its worker is away,
// and so are those that only a worker without an answer may know.
func TestTailOfAPartitionWithoutCommit(t *testing.T) {
	lake := queriestest.NewLake()
	from := cardlake.Positions{partition(0): {Next: 100}}
	away := errors.New("worker is away")
	both := queries.TailRows{
		To:      cardlake.Positions{partition(0): {Next: 100}, partition(1): {Next: 5}},
		Records: []arrow.RecordBatch{rowsOf(t, "zulu", 1, 0, 5)},
	}
	one := queries.TailRows{To: cardlake.Positions{partition(0): {Next: 100}}, Unanswered: away}
	all := []cardlake.StreamPartition{partition(0), partition(1)}
	var next queries.TailRows
	var fails error
	tail := tailFunc(func(context.Context, cardlake.Positions) (queries.TailRows, error) { return next, fails })
	engine := embedded.New(at{lake, from}, lake, embedded.Config{Tail: tail})
	for _, c := range []struct {
		name    string
		rows    queries.TailRows
		err     error
		count   int64
		lacking []cardlake.StreamPartition
		isNow   bool
	}{
		{"unknown partition of a worker that is away", one, nil, 0, nil, false},
		{"all answer", both, nil, 5, nil, true},
		{"its worker is away", one, nil, 0, all[1:], false},
		{"its worker is gone", queries.TailRows{To: one.To}, nil, 0, all[1:], false},
		{"nobody answers", queries.TailRows{}, away, 0, all, false},
		{"all answer again", both, nil, 5, nil, true},
	} {
		next, fails = c.rows, c.err
		rows, s := ask(t, engine, "SELECT count(*) FROM cards.transactions")
		isNow := !s.ReadAt.IsZero() && s.AsOf().Equal(s.ReadAt)
		if rows[0][0] != c.count || !slices.Equal(s.Lacking, c.lacking) || isNow != c.isNow || s.Unanswered != c.rows.Unanswered {
			t.Errorf("%s: %v rows, lacking %v, unanswered %v, as of %v, read at %v", c.name, rows[0][0], s.Lacking, s.Unanswered, s.AsOf(), s.ReadAt)
		}
	}
}

// A worker that fails or does not answer makes the answer older, and the answer says so.
func TestTailOutOfReach(t *testing.T) {
	from := cardlake.Positions{partition(0): {Next: 100}}
	for name, tail := range map[string]tailFunc{
		"fails": func(context.Context, cardlake.Positions) (queries.TailRows, error) {
			return queries.TailRows{}, errors.New("worker is away")
		},
		"hangs": func(ctx context.Context, _ cardlake.Positions) (queries.TailRows, error) {
			<-ctx.Done()
			return queries.TailRows{}, ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			lake := queriestest.NewLake()
			if err := lake.Fill(3, 40); err != nil {
				t.Fatal(err)
			}
			e := embedded.New(at{lake, from}, lake, embedded.Config{Tail: tail, TailTimeout: time.Millisecond})
			rows, s := ask(t, e, "SELECT count(*) FROM cards.transactions")
			if rows[0][0] != int64(120) || s.TailError == nil || len(s.Lacking) != 1 || !s.AsOf().Equal(s.CommittedAt) {
				t.Errorf("%v rows, snapshot %+v", rows, s)
			}
		})
	}
}

// Two workers claim a partition that changes hands: the one ahead counts, once.
func TestTailsOfSeveralWorkers(t *testing.T) {
	worker := func(to cardlake.Positions, records ...arrow.RecordBatch) queries.Tail {
		return tailFunc(func(context.Context, cardlake.Positions) (queries.TailRows, error) {
			return queries.TailRows{To: to, Records: records}, nil
		})
	}
	away := tailFunc(func(context.Context, cardlake.Positions) (queries.TailRows, error) {
		return queries.TailRows{}, errors.New("worker is away")
	})
	both := func(a, b arrow.RecordBatch) []arrow.RecordBatch { return []arrow.RecordBatch{a, b} }
	old := both(rowsOf(t, "acme", 0, 0, 10), rowsOf(t, "acme", 1, 0, 7))
	ahead := both(rowsOf(t, "bolt", 1, 0, 12), rowsOf(t, "bolt", 2, 0, 3))
	tails := queries.Tails{
		worker(cardlake.Positions{partition(0): {Next: 10}, partition(1): {Next: 7}}, old...), away,
		worker(cardlake.Positions{partition(1): {Next: 12}, partition(2): {Next: 3}}, ahead...),
	}
	got, err := tails.Tail(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[cardlake.Position]int{}
	for _, r := range got.Records {
		if _, err := cardlake.SelectByPosition(r, func(p cardlake.Position) bool { seen[p]++; return true }); err != nil {
			t.Fatal(err)
		}
	}
	for p, n := range seen {
		if n != 1 || p.Offset >= got.To[p.StreamPartition].Next {
			t.Errorf("%s is there %d times, the tail ends at %v", p, n, got.To)
		}
	}
	if got.Unanswered == nil {
		t.Error("a worker was away, and that is not told")
	}
	if len(seen) != 25 || len(got.To) != 3 || got.To[partition(1)].Next != 12 {
		t.Errorf("%d rows up to %v", len(seen), got.To)
	}
	if _, err := (queries.Tails{away, away}).Tail(t.Context(), nil); err == nil {
		t.Error("no worker answered and there is no error")
	}
	if got, err := (queries.Tails{}).Tail(t.Context(), nil); err != nil || len(got.To) != 0 {
		t.Errorf("no workers: %v, %v", got, err)
	}
}

// Decrypted files are kept for the next statements, within bounds.
func TestCache(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(6, 40); err != nil {
		t.Fatal(err)
	}
	_, files, _ := lake.Plan(t.Context(), cardlake.Transactions)
	var bytes int64
	for _, f := range files {
		bytes += f.Bytes
	}
	const sql = "SELECT count(*) FROM cards.transactions"
	for _, tc := range []struct {
		name   string
		cfg    embedded.Config
		opened int64 // by three statements
	}{
		{"off", embedded.Config{}, 18},
		{"all", embedded.Config{CacheBytes: 1 << 30}, 6},
		{"too small for any", embedded.Config{CacheBytes: 10}, 18},
	} {
		lake.Opened.Store(0)
		e := embedded.New(lake, lake, tc.cfg)
		for range 3 {
			if rows, _ := ask(t, e, sql); rows[0][0] != int64(240) {
				t.Errorf("%s: %v", tc.name, rows)
			}
		}
		if got := lake.Opened.Load(); got != tc.opened {
			t.Errorf("%s: %d objects opened, want %d", tc.name, got, tc.opened)
		}
	}
	// Half of them fit, and the age ends; nobody asks again, and the memory goes all the same.
	before := memoryFiles(t)
	e := embedded.New(lake, lake, embedded.Config{CacheBytes: bytes / 2, CacheAge: 200 * time.Millisecond})
	for range 3 {
		ask(t, e, sql)
	}
	if n := memoryFiles(t) - before; n > 3 {
		t.Errorf("%d files are kept, want at most the half", n)
	}
	for end := time.Now().Add(10 * time.Second); memoryFiles(t) > before && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := memoryFiles(t); n > before {
		t.Errorf("%d files are kept beyond their age", n-before)
	}
}
