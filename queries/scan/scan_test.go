package scan_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/scan"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// twoScopes gives aurora's rows in clear without merchants, bolivar's with masked ones, and
// nobody else's.
var twoScopes = queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	if !t.ByTenant {
		return queriestest.Nothing(c, a, t)
	}
	first := map[string]grants.Access{"merchant_name": grants.Dropped, "bin": grants.Dropped, "program": grants.Masked, "stream": grants.Dropped}
	second := map[string]grants.Access{
		"card_token": grants.Masked, "amount": grants.Masked, "customer_id": grants.Masked, "bin": grants.Dropped, "event_time": grants.Masked,
		"tenant": grants.Dropped, "approved": grants.Masked, "latency_us": grants.Masked, "local_time": grants.Masked,
	}
	return queriestest.Decision(c, a, t,
		grants.Scope{Tenants: []cardlake.Tenant{"aurora"}, Columns: queriestest.Columns(t, first)},
		grants.Scope{Tenants: []cardlake.Tenant{"bolivar"}, Columns: queriestest.Columns(t, second)})
})

// butOne gives everything but one tenant's rows.
func butOne(tenant cardlake.Tenant) queriestest.Permits {
	return func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		d := queriestest.Everything(c, a, t)
		d.Except = []cardlake.Tenant{tenant}
		return d
	}
}

// others gives a named tenant's rows in clear and everybody else's masked.
var others = queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	return queriestest.Decision(c, a, t,
		grants.Scope{Tenants: []cardlake.Tenant{"cobre"}, Columns: queriestest.Columns(t, nil)},
		grants.Scope{Others: true, Columns: queriestest.Columns(t, map[string]grants.Access{"amount": grants.Masked, "customer_id": grants.Masked, "last4": grants.Dropped})})
})

var permits = map[string]queriestest.Permits{
	"everything": queriestest.Everything,
	"one":        queriestest.Only(nil, "bolivar"),
	"masked":     queriestest.Only(map[string]grants.Access{"amount": grants.Masked, "merchant_name": grants.Masked, "mti": grants.Dropped}, "aurora", "cobre"),
	"two scopes": twoScopes,
	"but one":    butOne("aurora"),
	"others":     others,
	"nobody":     queriestest.Only(nil, "zulu"),
}

// world is a lake of files of every kind: of tests, which arrow-go wrote, of our own encoder,
// and one whose rows are another tenant's.
func world(t testing.TB) *queriestest.Lake {
	t.Helper()
	lake := queriestest.NewLake()
	if err := lake.Fill(6, 40); err != nil {
		t.Fatal(err)
	}
	batch, full := cardlake.NewBatch(), writerstest.New(3)
	for i := range 3000 {
		tx := writerstest.Bare()
		if i%3 == 0 {
			at := tx.Position.StreamPartition
			tx = full.Next()
			tx.Position.StreamPartition, tx.EventTime = at, writerstest.Start
		}
		tx.EventID, tx.TransactionID = cardlake.EventID{byte(i >> 8), byte(i), 7}, cardlake.EventID{byte(i >> 8), byte(i), 7}
		tx.Tenant = "cobre"
		if i%50 == 1 {
			tx.Tenant = "aurora"
		}
		tx.EventTime += int64(i) * 1000
		tx.Amount.Minor = int64(i*i) - 500
		tx.Position.Offset = int64(i)
		tx.Position.Partition = int32(i % 3)
		if err := batch.Append(tx); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := batch.Record()
	if err != nil {
		t.Fatal(err)
	}
	for i, cfg := range []parquet.Config{{}, {RowGroupRows: 700, PageRows: 64}, {PlainEncodings: true}} {
		body, splits, err := parquet.NewEncoder(cardlake.Transactions, cfg).Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		f := cardlake.DataFile{Name: fmt.Sprintf("own/%d.parquet", i), Tenant: "cobre", Rows: 3000, Bytes: int64(len(body)), MaxTime: writerstest.Start + 3_000_000, SplitOffsets: splits}
		lake.Add(cardlake.Transactions, f, body)
	}
	return lake
}

func text(t testing.TB, rows queries.Rows) []string {
	t.Helper()
	var out []string
	row := make([]any, len(rows.Columns()))
	for {
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for i, v := range row {
			fmt.Fprintf(&b, "%s=%T:%v|", rows.Columns()[i].Name, v, v)
		}
		out = append(out, b.String())
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func open(t testing.TB, lake *queriestest.Lake, p queriestest.Permits, cfg scan.Config) *scan.Rows {
	t.Helper()
	s, files, err := lake.Plan(t.Context(), cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Snapshot = s
	rows, err := scan.Open(t.Context(), lake, read(p), files, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func read(p queriestest.Permits) queries.Read {
	return queries.Read{Table: cardlake.Transactions, Decision: p(queriestest.Caller, grants.Query, cardlake.Transactions)}
}

// TestEqualsSQL: rows, columns and what is told beside them are what the engine answers to the
// same principal over the same files.
func TestEqualsSQL(t *testing.T) {
	lake := world(t)
	for name, p := range permits {
		t.Run(name, func(t *testing.T) {
			parser := embedded.NewParser()
			defer parser.Close()
			gateway := queries.New(parser, embedded.New(lake, lake, embedded.Config{Threads: 1}), p, &queriestest.Log{}, queries.Config{})
			answer, err := gateway.Query(t.Context(), queriestest.Caller, "SELECT * FROM cards.transactions")
			if err != nil {
				t.Fatal(err)
			}
			rows := open(t, lake, p, scan.Config{})
			if diff := cmp.Diff(fmt.Sprint(answer.Columns()), fmt.Sprint(rows.Columns())); diff != "" {
				t.Errorf("columns (-SQL +scan):\n%s", diff)
			}
			a, b := answer.Snapshots()[0], rows.Snapshots()[0]
			if a.Files != b.Files || a.Rows != b.Rows || a.Bytes != b.Bytes || a.ID != b.ID {
				t.Errorf("told of %+v, SQL of %+v", b, a)
			}
			want, got := text(t, answer), text(t, rows)
			if (len(want) == 0) != (name == "nobody") {
				t.Fatalf("%d rows", len(want))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-SQL +scan):\n%.3000s", diff)
			}
		})
	}
}

// TestOnlyWhatIsInScopeIsOpened: files of tenants that are not given are not touched.
func TestOnlyWhatIsInScopeIsOpened(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(9, 10); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		permits queriestest.Permits
		cfg     scan.Config
		want    int64 // with one object of each tenant once more
		rows    int
	}{
		"one":            {queriestest.Only(nil, "bolivar"), scan.Config{}, 4, 30},
		"all":            {queriestest.Everything, scan.Config{}, 12, 90},
		"one of all":     {queriestest.Everything, scan.Config{Tenants: []cardlake.Tenant{"cobre"}}, 4, 30},
		"not one's own":  {queriestest.Only(nil, "bolivar"), scan.Config{Tenants: []cardlake.Tenant{"cobre"}}, 0, 0},
		"none":           {queriestest.Everything, scan.Config{Tenants: []cardlake.Tenant{}}, 0, 0},
		"nobody is here": {queriestest.Only(nil, "zulu"), scan.Config{}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := lake.Opened.Load()
			if got := text(t, open(t, lake, tc.permits, tc.cfg)); len(got) != tc.rows {
				t.Errorf("%d rows, want %d", len(got), tc.rows)
			}
			if opened := lake.Opened.Load() - before; opened != tc.want {
				t.Errorf("%d objects opened, want %d", opened, tc.want)
			}
		})
	}
}

// TestFilters: times and places on the stream leave out what SQL leaves out.
func TestFilters(t *testing.T) {
	lake := world(t)
	start := time.UnixMicro(writerstest.Start).UTC()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	sp := func(p int32) cardlake.StreamPartition {
		full := writerstest.Bare().Position.StreamPartition
		full.Partition = p
		return full
	}
	// What is filtered by on the lake's own account need not be given.
	hidden := queriestest.Only(map[string]grants.Access{"stream": grants.Dropped, "stream_partition": grants.Masked, "stream_offset": grants.Dropped}, "cobre")
	stream := "stream = '" + sp(0).Stream + "' AND "
	for name, tc := range map[string]struct {
		permits queriestest.Permits
		cfg     scan.Config
		where   string
	}{
		"since": {queriestest.Everything, scan.Config{Since: at(2990)}, "event_time >= '" + at(2990).Format(time.RFC3339Nano) + "'"},
		"until": {queriestest.Everything, scan.Config{Until: at(11)}, "event_time < '" + at(11).Format(time.RFC3339Nano) + "'"},
		"both": {queriestest.Everything, scan.Config{Since: at(5), Until: at(700)},
			"event_time >= '" + at(5).Format(time.RFC3339Nano) + "' AND event_time < '" + at(700).Format(time.RFC3339Nano) + "'"},
		"window": {
			queriestest.Everything,
			scan.Config{Within: &scan.Window{From: cardlake.Positions{sp(0): {Next: 30}}, Until: cardlake.Positions{sp(0): {Next: 99}, sp(2): {Next: 8}}}},
			stream + "(stream_partition = 0 AND stream_offset BETWEEN 30 AND 98 OR stream_partition = 2 AND stream_offset < 8)",
		},
		"hidden window": {
			hidden, scan.Config{Within: &scan.Window{Until: cardlake.Positions{sp(1): {Next: 900}}}},
			"tenant = 'cobre' AND " + stream + "stream_partition = 1 AND stream_offset < 900",
		},
		"window of a tenant": {
			queriestest.Everything, scan.Config{Tenants: []cardlake.Tenant{"cobre"}, Within: &scan.Window{Until: cardlake.Positions{sp(1): {Next: 900}}}},
			"tenant = 'cobre' AND " + stream + "stream_partition = 1 AND stream_offset < 900",
		},
	} {
		t.Run(name, func(t *testing.T) {
			parser := embedded.NewParser()
			defer parser.Close()
			gateway := queries.New(parser, embedded.New(lake, lake, embedded.Config{Threads: 1}), queriestest.Everything, &queriestest.Log{}, queries.Config{})
			answer, err := gateway.Query(t.Context(), queriestest.Caller, "SELECT event_id, amount, card_present FROM cards.transactions WHERE "+tc.where)
			if err != nil {
				t.Fatal(err)
			}
			tc.cfg.Columns = []string{"event_id", "amount", "card_present"}
			want, got := text(t, answer), text(t, open(t, lake, tc.permits, tc.cfg))
			if len(want) == 0 {
				t.Fatal("no rows to compare")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-SQL +scan):\n%.2000s", diff)
			}
		})
	}
	// A caller who is not given the time could find it by trying.
	_, files, _ := lake.Plan(t.Context(), cardlake.Transactions)
	_, err := scan.Open(t.Context(), lake, read(twoScopes), files, scan.Config{Since: at(5)})
	var fault *queries.Error
	if !errors.As(err, &fault) {
		t.Errorf("rows are bounded by a time that is not given: %v", err)
	}
}

func TestColumns(t *testing.T) {
	lake := world(t)
	rows := open(t, lake, queriestest.Only(map[string]grants.Access{"bin": grants.Dropped}, "aurora"), scan.Config{Columns: []string{"currency", "amount"}})
	if got := fmt.Sprint(rows.Columns()); !strings.HasPrefix(got, "[{currency utf8} {amount decimal") {
		t.Errorf("columns %s", got)
	}
	rows.Close()
	_, files, _ := lake.Plan(t.Context(), cardlake.Transactions)
	for name, hint := range map[string]string{"bin": "", "amont": "amount", "payload": ""} {
		_, err := scan.Open(t.Context(), lake, read(queriestest.Only(map[string]grants.Access{"bin": grants.Dropped}, "aurora")), files, scan.Config{Columns: []string{name}})
		var fault *queries.Error
		if !errors.As(err, &fault) || !strings.Contains(fault.Hint, hint) {
			t.Errorf("column %s: %v", name, err)
		}
	}
	if _, err := scan.Open(t.Context(), lake, read(queriestest.Nothing), files, scan.Config{}); !errors.Is(err, queries.ErrNotPermitted) {
		t.Errorf("nothing is permitted: %v", err)
	}
}

// destroyed is a store in which the key of objects with a prefix was destroyed.
type destroyed struct {
	objects.Store
	isGone func(name string) bool
}

func (d destroyed) Open(ctx context.Context, name string) (objects.Object, error) {
	if d.isGone(name) {
		return nil, keys.ErrDestroyed
	}
	return d.Store.Open(ctx, name)
}

func TestDestroyedKeys(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(6, 10); err != nil {
		t.Fatal(err)
	}
	_, files, _ := lake.Plan(t.Context(), cardlake.Transactions)
	tenant := map[string]cardlake.Tenant{}
	for _, f := range files {
		tenant[f.Name] = f.Tenant
	}
	var opened int
	for name, isGone := range map[string]func(string) bool{
		"before":    func(name string) bool { return tenant[name] == "aurora" },
		"meanwhile": func(name string) bool { opened++; return tenant[name] == "aurora" && opened > 3 },
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := scan.Open(t.Context(), destroyed{lake, isGone}, read(queriestest.Everything), files, scan.Config{})
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, rows); len(got) != 40 {
				t.Errorf("%d rows", len(got))
			}
			if diff := cmp.Diff(map[cardlake.Tenant]int64{"aurora": 20}, rows.Snapshots()[0].Destroyed); diff != "" {
				t.Errorf("destroyed (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDamagedFiles: whatever is wrong with a file is an error that tells nothing of its
// content, and never a panic.
func TestDamagedFiles(t *testing.T) {
	good, body, err := queriestest.File(0, 200)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func([]byte, int) []byte{
		func(b []byte, i int) []byte { b[i] ^= 0x41; return b },
		func(b []byte, i int) []byte { return b[:i] },
		func(b []byte, i int) []byte { copy(b[i:], bytes.Repeat([]byte{0xff}, 9)); return b },
	} {
		for i := 0; i < len(body); i += 97 {
			damaged := change(bytes.Clone(body), i)
			lake := queriestest.NewLake()
			f := good
			f.Bytes = int64(len(damaged))
			lake.Add(cardlake.Transactions, f, damaged)
			rows, err := scan.Open(t.Context(), lake, read(queriestest.Everything), []cardlake.DataFile{f}, scan.Config{})
			if err != nil {
				continue
			}
			row := make([]any, len(rows.Columns()))
			n := 0
			for err = rows.Next(row); err == nil; err = rows.Next(row) {
				n++
			}
			if !errors.Is(err, io.EOF) && strings.Contains(err.Error(), "SHOP") || n > 200 {
				t.Errorf("byte %d: %d rows, %v", i, n, err)
			}
			rows.Close()
		}
	}
}

func BenchmarkScan(b *testing.B) {
	batch := cardlake.NewBatch()
	const n = 100_000
	for _, tx := range writerstest.New(1).Take(n) {
		if err := batch.Append(tx); err != nil {
			b.Fatal(err)
		}
	}
	rec, err := batch.Record()
	if err != nil {
		b.Fatal(err)
	}
	body, splits, err := parquet.NewEncoder(cardlake.Transactions, parquet.Config{}).Encode(rec)
	if err != nil {
		b.Fatal(err)
	}
	lake := queriestest.NewLake()
	f := cardlake.DataFile{Name: "own/a.parquet", Rows: n, Bytes: int64(len(body)), SplitOffsets: splits}
	lake.Add(cardlake.Transactions, f, body)
	for name, cfg := range map[string]scan.Config{
		"all":     {},
		"two":     {Columns: []string{"currency", "amount"}},
		"nothing": {Within: &scan.Window{}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rows, err := scan.Open(b.Context(), lake, read(queriestest.Everything), []cardlake.DataFile{f}, cfg)
				if err != nil {
					b.Fatal(err)
				}
				row := make([]any, len(rows.Columns()))
				for err = rows.Next(row); err == nil; err = rows.Next(row) {
				}
				if !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
				rows.Close()
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
