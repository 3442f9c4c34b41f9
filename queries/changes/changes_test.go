package changes_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// world is a table of which the test keeps the rows, and its files in a lake in memory. It
// commits as catalog/iceberg does.
type world struct {
	t       testing.TB
	lake    *queriestest.Lake
	encoder *parquet.Encoder
	random  *rand.Rand
	clock   time.Time

	kept       []catalog.Snapshot
	operations map[int64]catalog.Operation
	files      map[int64][]cardlake.DataFile // by snapshot
	rows       map[string][]cardlake.Transaction
	sequence   int64
	positions  cardlake.Positions
	watermarks changes.Watermarks
	next       int // number of the next event
	names      int
}

func newWorld(t testing.TB, seed uint64) *world {
	return &world{
		t: t, lake: queriestest.NewLake(), encoder: parquet.NewEncoder(cardlake.Transactions, parquet.Config{PageRows: 32}),
		random: rand.New(rand.NewPCG(seed, 1)), clock: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		operations: map[int64]catalog.Operation{}, files: map[int64][]cardlake.DataFile{}, rows: map[string][]cardlake.Transaction{}, positions: cardlake.Positions{},
	}
}

// Snapshots implements changes.Table.
func (w *world) Snapshots(context.Context) ([]catalog.Snapshot, error) {
	return slices.Clone(w.kept), nil
}

// Files implements changes.Table.
func (w *world) Files(_ context.Context, id int64) ([]cardlake.DataFile, error) {
	files, ok := w.files[id]
	if !ok {
		return nil, errors.New("no such snapshot")
	}
	return slices.Clone(files), nil
}

// Operations implements changes.Operations.
func (w *world) Operations(context.Context) (map[int64]catalog.Operation, error) {
	return w.operations, nil
}

func (w *world) current() catalog.Snapshot {
	if len(w.kept) == 0 {
		return catalog.Snapshot{}
	}
	return w.kept[len(w.kept)-1]
}

var tenants = []cardlake.Tenant{"aurora", "bolivar", "cobre"}

const days = 3

// put writes rows of one tenant and day as a file.
func (w *world) put(rows []cardlake.Transaction, sequence int64) cardlake.DataFile {
	w.t.Helper()
	b := cardlake.NewBatch()
	for i := range rows {
		if err := b.Append(&rows[i]); err != nil {
			w.t.Fatal(err)
		}
	}
	rec, err := b.Record()
	if err != nil {
		w.t.Fatal(err)
	}
	body, splits, err := w.encoder.Encode(rec)
	if err != nil {
		w.t.Fatal(err)
	}
	w.names++
	f := cardlake.DataFile{
		Name: fmt.Sprintf("data/%d.parquet", w.names), Tenant: rows[0].Tenant, Day: cardlake.DayOf(rows[0].EventTime),
		Rows: int64(len(rows)), Bytes: int64(len(body)), SplitOffsets: splits, Sequence: sequence,
	}
	if err := w.lake.Put(w.t.Context(), f.Name, keys.Lake, slices.Clone(body)); err != nil {
		w.t.Fatal(err)
	}
	w.rows[f.Name] = rows
	return f
}

func (w *world) commit(operation catalog.Operation, files []cardlake.DataFile) {
	w.sequence++
	w.clock = w.clock.Add(time.Second)
	id := int64(1_000_000_007)*w.sequence + 1
	s := catalog.Snapshot{ID: id, Sequence: w.sequence, CommittedAt: w.clock, Positions: w.positions.Clone()}
	w.kept, w.files[id], w.operations[id] = append(w.kept, s), files, operation
}

// add commits up to n new events, which came over several partitions of two streams.
func (w *world) add(n int) {
	type place struct {
		tenant cardlake.Tenant
		day    int
	}
	by := map[place][]cardlake.Transaction{}
	for range w.random.IntN(n + 1) {
		tx := *writerstest.Bare()
		p := place{tenants[w.random.IntN(3)], w.random.IntN(days)}
		tx.EventID = cardlake.EventID{1, byte(w.next >> 16), byte(w.next >> 8), byte(w.next)}
		tx.Tenant, tx.EventTime = p.tenant, writerstest.Start+int64(p.day)*86_400_000_000+int64(w.next)
		tx.Amount.Minor, tx.CustomerID = int64(w.next), fmt.Sprintf("customer-%d", w.next%7)
		sp := cardlake.StreamPartition{Stream: fmt.Sprintf("stream-%d", w.random.IntN(2)), Partition: int32(w.random.IntN(3))}
		at := w.positions[sp].Next + int64(w.random.IntN(3)) // some places are of records without a row
		tx.Position = cardlake.Position{StreamPartition: sp, Offset: at}
		w.positions = w.positions.Clone()
		w.positions[sp] = cardlake.Offset{Next: at + 1, Mark: "mark"}
		by[p] = append(by[p], tx)
		w.next++
	}
	files := slices.Clone(w.files[w.current().ID])
	for _, rows := range by {
		files = append(files, w.put(rows, w.sequence+1))
	}
	w.commit("append", files)
}

// replace writes some files of a tenant and day anew, with the rows that change returns.
func (w *world) replace(operation catalog.Operation, change func([]cardlake.Transaction) []cardlake.Transaction) {
	files := slices.Clone(w.files[w.current().ID])
	if len(files) == 0 {
		return
	}
	one := files[w.random.IntN(len(files))]
	var stay []cardlake.DataFile
	var rows []cardlake.Transaction
	greatest := int64(0)
	for _, f := range files {
		if f.Tenant != one.Tenant || f.Day != one.Day || f.Name != one.Name && w.random.IntN(3) == 0 {
			stay = append(stay, f)
			continue
		}
		rows = append(rows, w.rows[f.Name]...)
		greatest = max(greatest, f.Sequence)
	}
	if rows = change(slices.Clone(rows)); len(rows) > 0 {
		slices.SortFunc(rows, func(a, b cardlake.Transaction) int { return int(a.EventTime - b.EventTime) })
		stay = append(stay, w.put(rows, greatest))
	}
	w.commit(operation, stay)
}

func (w *world) compact() {
	w.replace(catalog.OpReplace, func(rows []cardlake.Transaction) []cardlake.Transaction { return rows })
}

func (w *world) erase(customer string) {
	w.replace(catalog.OpOverwrite, func(rows []cardlake.Transaction) []cardlake.Transaction {
		for i := range rows {
			if rows[i].CustomerID == customer {
				rows[i].CustomerID = ""
			}
		}
		return rows
	})
}

// expire drops all snapshots but the newest, and deletes what only they named.
func (w *world) expire() {
	if len(w.kept) == 0 {
		return
	}
	current := w.current()
	live := map[string]bool{}
	for _, f := range w.files[current.ID] {
		live[f.Name] = true
	}
	for name := range w.rows {
		if !live[name] {
			_ = w.lake.Delete(w.t.Context(), name)
			delete(w.rows, name)
		}
	}
	w.kept = []catalog.Snapshot{current}
	w.files = map[int64][]cardlake.DataFile{current.ID: w.files[current.ID]}
}

func sealer(t testing.TB) *keys.Envelopes {
	t.Helper()
	dir := t.TempDir()
	ring, err := local.CreateFile(filepath.Join(dir, "keys"), filepath.Join(dir, "secret"), keys.LakePurposes)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.EnsureOwners(t.Context(), keys.Lake); err != nil {
		t.Fatal(err)
	}
	return keys.NewEnvelopes(ring, keys.Object, keys.EnvelopeConfig{})
}

func (w *world) feed(permits queries.Permits, log *queriestest.Log, sealer changes.Sealer) *changes.Feed {
	gateway := queries.New(nil, nil, permits, log, queries.Config{})
	open := func(_ context.Context, t *cardlake.Table) (changes.Table, error) {
		if t != cardlake.Transactions {
			return nil, nil
		}
		return w, nil
	}
	return changes.New(gateway, open, w.lake, sealer, changes.Config{Watermarks: w.watermarks})
}

const transactions = "cards.transactions"

// reader is one that has read so far.
type reader struct {
	feed    *changes.Feed
	cursor  string
	tenants []cardlake.Tenant
	has     map[string]int64 // the amount of each event, in ten-thousandths
	batches int
}

// read takes one batch. It fails if a row comes twice.
func (r *reader) read(t testing.TB, limit int64) *changes.Batch {
	t.Helper()
	b, err := r.feed.Read(t.Context(), queriestest.Caller, changes.Request{Table: transactions, Since: r.cursor, Limit: limit, Tenants: r.tenants})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for i, c := range b.Columns() {
		names[c.Name] = i
	}
	row := make([]any, len(names))
	n := int64(0)
	for {
		err := b.Next(row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
		id := row[names["event_id"]].(string)
		if _, isThere := r.has[id]; isThere {
			t.Fatalf("event %s came twice", id)
		}
		r.has[id] = int64(row[names["stream_offset"]].(int64))
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if limit > 0 && n > limit {
		t.Fatalf("%d rows in a batch of at most %d", n, limit)
	}
	r.cursor = b.Cursor
	r.batches++
	return b
}

// wants is what a reader of the tenants has when it has everything.
func (w *world) wants(tenants []cardlake.Tenant) map[string]int64 {
	out := map[string]int64{}
	for _, f := range w.files[w.current().ID] {
		for _, tx := range w.rows[f.Name] {
			if tenants == nil || slices.Contains(tenants, tx.Tenant) {
				out[tx.EventID.String()] = tx.Position.Offset
			}
		}
	}
	return out
}

// TestExactlyOnce reads with several readers, in batches of any size, while the table is
// appended to, compacted, erased in and expired. Each reader has every row once.
func TestExactlyOnce(t *testing.T) {
	seal := sealer(t)
	for seed := range uint64(3) {
		w := newWorld(t, seed)
		all := w.feed(queriestest.Everything, &queriestest.Log{}, seal)
		readers := []*reader{
			{feed: all, cursor: changes.Start, has: map[string]int64{}},
			{feed: all, cursor: changes.Start, has: map[string]int64{}},
			{feed: all, cursor: changes.Start, has: map[string]int64{}, tenants: []cardlake.Tenant{"cobre"}},
			{feed: w.feed(queriestest.Only(nil, "aurora"), &queriestest.Log{}, seal), cursor: changes.Start, has: map[string]int64{}, tenants: []cardlake.Tenant{"aurora"}},
		}
		for range 40 {
			switch w.random.IntN(8) {
			case 0, 1, 2:
				w.add(30)
			case 3, 4:
				w.compact()
			case 5:
				w.erase("customer-3")
			case 6:
				w.expire()
			}
			for i, r := range readers {
				if w.random.IntN(1+2*i) == 0 {
					r.read(t, int64(w.random.IntN(20)))
				}
			}
		}
		for i, r := range readers {
			for more := true; more; {
				more = r.read(t, 7).More
			}
			if diff := cmp.Diff(w.wants(r.tenants), r.has); diff != "" {
				t.Fatalf("seed %d, reader %d, %d batches (-want +got):\n%.2000s", seed, i, r.batches, diff)
			}
			if b := r.read(t, 0); !b.IsEmpty || b.More {
				t.Errorf("seed %d, reader %d: a last batch is not empty", seed, i)
			}
		}
	}
}

func TestSinceAndUntil(t *testing.T) {
	w := newWorld(t, 5)
	feed := w.feed(queriestest.Everything, &queriestest.Log{}, sealer(t))
	empty := &reader{feed: feed, cursor: changes.Start, has: map[string]int64{}}
	if b := empty.read(t, 0); !b.IsEmpty || len(empty.has) != 0 {
		t.Error("a table to which nothing was written has changes")
	}
	for range 4 {
		w.add(40)
	}
	ids := func(from, to int) (out []string) {
		for _, s := range w.kept[from:to] {
			out = append(out, fmt.Sprint(s.ID))
		}
		return out
	}(0, 4)
	read := func(since, until string) (map[string]int64, *changes.Batch, error) {
		b, err := feed.Read(t.Context(), queriestest.Caller, changes.Request{Table: transactions, Since: since, Until: until})
		if err != nil {
			return nil, nil, err
		}
		defer b.Close()
		out := map[string]int64{}
		row := make([]any, len(b.Columns()))
		for b.Next(row) == nil {
			out[row[0].(string)] = row[46].(int64)
		}
		return out, b, nil
	}
	at := func(i int) map[string]int64 {
		out := map[string]int64{}
		for _, f := range w.files[w.kept[i].ID] {
			for _, tx := range w.rows[f.Name] {
				out[tx.EventID.String()] = tx.Position.Offset
			}
		}
		return out
	}
	minus := func(a, b map[string]int64) map[string]int64 {
		out := map[string]int64{}
		for id, n := range a {
			if _, ok := b[id]; !ok {
				out[id] = n
			}
		}
		return out
	}
	w.compact()
	for name, tc := range map[string]struct {
		since, until string
		want         map[string]int64
	}{
		"all":         {changes.Start, "", at(3)},
		"now":         {changes.Now, "", map[string]int64{}},
		"between":     {ids[0], ids[2], minus(at(2), at(0))},
		"from one on": {ids[1], "", minus(at(3), at(1))},
		"up to one":   {changes.Start, ids[1], at(1)},
		"none":        {ids[2], ids[2], map[string]int64{}},
		"a cursor":    {empty.cursor, ids[1], at(1)},
	} {
		got, b, err := read(tc.since, tc.until)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%.1000s", name, diff)
		}
		// What comes behind is the rest.
		rest, _, err := read(b.Cursor, "")
		if err != nil {
			t.Fatal(err)
		}
		if tc.until != "" {
			if diff := cmp.Diff(minus(at(3), at(slices.Index(ids, tc.until))), rest); diff != "" {
				t.Errorf("%s: the rest (-want +got):\n%.1000s", name, diff)
			}
		} else if len(rest) > 0 {
			t.Errorf("%s: %d rows come again", name, len(rest))
		}
	}
	var expired *changes.ExpiredError
	var fault *queries.Error
	w.expire()
	if _, _, err := read(ids[1], ""); !errors.As(err, &expired) || expired.Oldest.Snapshot != w.current().ID {
		t.Errorf("a snapshot that expired: %v", err)
	}
	if _, _, err := read(changes.Start, ids[1]); !errors.As(err, &expired) {
		t.Errorf("until a snapshot that expired: %v", err)
	}
	w.add(1)
	w.add(40)
	if _, _, err := read(fmt.Sprint(w.current().ID), fmt.Sprint(w.kept[0].ID)); !errors.As(err, &fault) {
		t.Errorf("until before since: %v", err)
	}
	for _, text := range []string{"", "yesterday", "-1", "0", "1.", "1.AAAA", "x." + empty.cursor, empty.cursor + "A", empty.cursor[:len(empty.cursor)-4], "01" + empty.cursor[1:]} {
		if _, _, err := read(text, ""); !errors.Is(err, changes.ErrCursor) {
			t.Errorf("since %.20q: %v", text, err)
		}
	}
	if _, err := feed.Read(t.Context(), queriestest.Caller, changes.Request{Table: transactions, Since: changes.Start, Limit: -1}); !errors.As(err, &fault) {
		t.Errorf("a negative limit: %v", err)
	}
}

// TestCursors: one table's cursor is not another's, the snapshot that it shows is the one that
// it was given for, and it shows nothing else.
func TestCursors(t *testing.T) {
	w := newWorld(t, 9)
	for range 5 {
		w.add(30)
	}
	seal := sealer(t)
	feed := w.feed(queriestest.Everything, &queriestest.Log{}, seal)
	r := &reader{feed: feed, cursor: changes.Start, has: map[string]int64{}}
	r.read(t, 0)
	id, sealed, _ := strings.Cut(r.cursor, ".")
	if id != fmt.Sprint(w.current().ID) {
		t.Errorf("it shows snapshot %s", id)
	}
	for what, since := range map[string]string{"table": r.cursor, "snapshot": "7." + sealed} {
		table := transactions
		if what == "table" {
			table = "cards.control_totals"
		}
		if _, err := feed.Read(t.Context(), queriestest.Caller, changes.Request{Table: table, Since: since}); !errors.Is(err, changes.ErrCursor) {
			t.Errorf("a cursor of another %s: %v", what, err)
		}
	}
	other := w.feed(queriestest.Everything, &queriestest.Log{}, sealer(t))
	if _, err := other.Read(t.Context(), queriestest.Caller, changes.Request{Table: transactions, Since: r.cursor}); !errors.Is(err, changes.ErrCursor) {
		t.Errorf("a cursor of another lake: %v", err)
	}
	text, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || strings.Contains(string(text), "stream-") {
		t.Errorf("a cursor shows positions: %v", err)
	}
}

// TestPermits: nothing is given but by a grant to read changes, and the question is on record.
func TestPermits(t *testing.T) {
	w := newWorld(t, 5)
	w.add(40)
	byQuery := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		if a != grants.ReadChanges {
			return queriestest.Everything(c, a, t)
		}
		return queriestest.Nothing(c, a, t)
	})
	var log queriestest.Log
	for _, since := range []string{changes.Start, changes.Now, "123", "123.AAAA"} {
		_, err := w.feed(byQuery, &log, sealer(t)).Read(t.Context(), queriestest.Caller, changes.Request{Table: transactions, Since: since})
		if !errors.Is(err, queries.ErrNotPermitted) {
			t.Errorf("since %s: %v", since, err)
		}
	}
	if records := log.Records(); len(records) != 4 || records[0].Outcome != audit.Refused {
		t.Errorf("records %+v", records)
	}
	log.Fail(errors.New("full"))
	if _, err := w.feed(queriestest.Everything, &log, sealer(t)).Read(t.Context(), queriestest.Caller, changes.Request{Table: transactions, Since: changes.Start}); !errors.Is(err, queries.ErrUnrecorded) {
		t.Errorf("unrecorded: %v", err)
	}
}

// TestGrantsBound: a grant's bound of rows makes batches smaller, not impossible.
func TestGrantsBound(t *testing.T) {
	w := newWorld(t, 5)
	for range 6 {
		w.add(40)
	}
	bounded := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		d := queriestest.Everything(c, a, t)
		d.Limits.MaxRows = 11
		return d
	})
	r := &reader{feed: w.feed(bounded, &queriestest.Log{}, sealer(t)), cursor: changes.Start, has: map[string]int64{}}
	for more := true; more; {
		more = r.read(t, 0).More
	}
	if diff := cmp.Diff(w.wants(nil), r.has); diff != "" {
		t.Errorf("(-want +got):\n%.1000s", diff)
	}
}

func TestRemovals(t *testing.T) {
	w := newWorld(t, 5)
	for range 3 {
		w.add(60)
	}
	seal := sealer(t)
	all := &reader{feed: w.feed(queriestest.Everything, &queriestest.Log{}, seal), cursor: changes.Start, has: map[string]int64{}}
	for name, one := range map[string]*reader{
		"all": all, "one": {feed: w.feed(queriestest.Only(nil, "aurora"), &queriestest.Log{}, seal), cursor: changes.Start, has: map[string]int64{}},
	} {
		if b := one.read(t, 0); len(b.Removals) > 0 || b.IsUnsure || len(b.KeptSince) == 0 {
			t.Errorf("%s, who begins, is told %+v", name, b.About)
		}
		w.compact()
		if b := one.read(t, 0); len(b.Removals) > 0 || b.IsUnsure {
			t.Errorf("%s is told of compaction: %+v", name, b.About)
		}
		w.erase("customer-1")
		w.replace(catalog.OpDelete, func([]cardlake.Transaction) []cardlake.Transaction { return nil })
		got := one.read(t, 0)
		want := map[catalog.Operation]bool{}
		for _, r := range got.Removals {
			want[r.Operation] = true
			for _, p := range r.Partitions {
				if name == "one" && p.Tenant != "aurora" || p.Rows == 0 || !strings.HasPrefix(p.Day, "2026-03-0") {
					t.Errorf("%s is told of %+v", name, p)
				}
			}
		}
		if name == "all" && (!want[catalog.OpDelete] || !want[catalog.OpOverwrite]) || got.IsUnsure {
			t.Errorf("%s is told %+v", name, got.About)
		}
		if b := one.read(t, 0); len(b.Removals) > 0 {
			t.Errorf("%s is told again", name)
		}
		w.compact()
		w.add(10)
		w.expire()
		if b := one.read(t, 0); !b.IsUnsure {
			t.Errorf("%s, of whose time snapshots expired, is told %+v", name, b.About)
		}
	}
}

func TestRolledBack(t *testing.T) {
	w := newWorld(t, 5)
	w.add(30)
	w.add(30)
	feed := w.feed(queriestest.Everything, &queriestest.Log{}, sealer(t))
	r := &reader{feed: feed, cursor: changes.Start, has: map[string]int64{}}
	r.read(t, 0)
	w.kept = w.kept[:1]
	w.positions = w.current().Positions
	if _, err := feed.Read(t.Context(), queriestest.Caller, changes.Request{Table: transactions, Since: r.cursor}); !errors.Is(err, changes.ErrRolledBack) {
		t.Errorf("got %v", err)
	}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		w.add(30)
		feed := w.feed(queriestest.Everything, &queriestest.Log{}, plainSealer{})
		r := &reader{feed: feed, cursor: changes.Start, has: map[string]int64{}}
		r.read(t, 0)
		wait := func(most time.Duration) time.Duration {
			begun := time.Now()
			if err := feed.Await(t.Context(), cardlake.Transactions, r.cursor, most); err != nil {
				t.Fatal(err)
			}
			return time.Since(begun)
		}
		if waited := wait(30 * time.Second); waited != 30*time.Second {
			t.Errorf("waited %v for nothing", waited)
		}
		time.AfterFunc(10*time.Second+time.Millisecond, func() { w.add(1000) })
		if waited := wait(30 * time.Second); waited != 11*time.Second {
			t.Errorf("waited %v for a commit after 10 s", waited)
		}
	})
}

// plainSealer seals nothing.
type plainSealer struct{}

func (plainSealer) AppendSealed(_ context.Context, dst []byte, _ keys.Owner, plain, _ []byte) ([]byte, error) {
	return append(dst, plain...), nil
}

func (plainSealer) Open(_ context.Context, dst []byte, _ keys.Owner, sealed, _ []byte) ([]byte, error) {
	return append(dst, sealed...), nil
}

// through is a watermark of all tenants, known from the positions on.
type through struct {
	from cardlake.Positions
	at   time.Time
}

func (w through) ValidThrough(at cardlake.Positions) map[cardlake.Tenant]time.Time {
	for p, n := range w.from {
		if at[p].Next < n.Next {
			return nil
		}
	}
	return map[cardlake.Tenant]time.Time{"aurora": w.at, "bolivar": w.at}
}

// TestWatermarks: what is told of completeness is of the batch's end, and of permitted tenants.
func TestWatermarks(t *testing.T) {
	w := newWorld(t, 5)
	w.add(40)
	w.add(40)
	w.watermarks = through{w.current().Positions, w.clock}
	seal := sealer(t)
	for name, tc := range map[string]struct {
		permits queriestest.Permits
		request changes.Request
		want    int
	}{
		"all":            {queriestest.Everything, changes.Request{}, 2},
		"a tenant":       {queriestest.Only(nil, "aurora"), changes.Request{}, 1},
		"another":        {queriestest.Only(nil, "cobre"), changes.Request{}, 0},
		"a tenant's own": {queriestest.Everything, changes.Request{Tenants: []cardlake.Tenant{"bolivar", "cobre"}}, 1},
		"a part":         {queriestest.Everything, changes.Request{Limit: 5}, 0},
		"up to before":   {queriestest.Everything, changes.Request{Until: fmt.Sprint(w.kept[0].ID)}, 0},
	} {
		tc.request.Table, tc.request.Since = transactions, changes.Start
		b, err := w.feed(tc.permits, &queriestest.Log{}, seal).Read(t.Context(), queriestest.Caller, tc.request)
		if err != nil {
			t.Fatal(name, err)
		}
		if len(b.ValidThrough) != tc.want {
			t.Errorf("%s: told %v", name, b.ValidThrough)
		}
		b.Close()
	}
}

// TestSpans: files that are known to have no row of a batch are not opened again.
func TestSpans(t *testing.T) {
	w := newWorld(t, 6)
	for range 12 {
		w.add(40)
	}
	r := &reader{feed: w.feed(queriestest.Everything, &queriestest.Log{}, sealer(t)), cursor: changes.Start, has: map[string]int64{}}
	first := w.lake.Opened.Load()
	r.read(t, 20)
	first = w.lake.Opened.Load() - first
	before := w.lake.Opened.Load()
	r.read(t, 20)
	if second := w.lake.Opened.Load() - before; second*2 > first {
		t.Errorf("%d objects were opened for the first batch, %d for the second", first, second)
	}
	for more := true; more; {
		more = r.read(t, 20).More
	}
	if diff := cmp.Diff(w.wants(nil), r.has); diff != "" {
		t.Errorf("(-want +got):\n%.1000s", diff)
	}
}
