package retention

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// lines is an audit log in memory.
type lines struct {
	all  []audit.Record
	fail error
}

func (l *lines) Append(_ context.Context, r audit.Record) error {
	if l.fail != nil {
		return l.fail
	}
	l.all = append(l.all, r)
	return nil
}

// actions are the actions and outcomes that were recorded.
func (l *lines) actions() (out []string) {
	for _, r := range l.all {
		out = append(out, r.Action+" "+string(r.Outcome))
	}
	return out
}

// lake is a lake in a folder, with a writer.
type lake struct {
	t       testing.TB
	dir     string
	tenants *catalog.Tenants
	keys    *local.Keyring
	store   objects.Store
	cat     *iceberg.Catalog
	lines   *lines
	cfg     Config
	policy  *Policy
	config  parquet.Config // of the writer

	wrap   func(Table) Table // what a keeper sees of a table
	at     cardlake.Positions
	gen    *writerstest.Generator
	offset int64
}

const acme, zeta = cardlake.Tenant("acme"), cardlake.Tenant("zeta")

func newLake(t testing.TB) *lake {
	t.Helper()
	l := &lake{t: t, dir: t.TempDir(), lines: &lines{}, at: cardlake.Positions{}, gen: writerstest.New(1)}
	var err error
	l.tenants, err = catalog.OpenTenants(filepath.Join(l.dir, "tenants.json"))
	l.check(err)
	l.keys, err = local.CreateFile(filepath.Join(l.dir, "lake.keyring"), filepath.Join(l.dir, "lake.secret"), keys.LakePurposes)
	l.check(err)
	owners := []keys.Owner{keys.Lake}
	for _, name := range []cardlake.Tenant{acme, zeta} {
		r, err := l.tenants.Create(name, "BR", "BRL", time.Now())
		l.check(err)
		owners = append(owners, owner(r))
	}
	l.check(l.keys.EnsureOwners(t.Context(), owners...))
	l.store = objects.NewSealed(filepath.Join(l.dir, "objects"), l.keys, objects.SealedConfig{})
	l.cat, err = iceberg.Open(t.Context(), iceberg.Config{DB: filepath.Join(l.dir, "catalog.db"), Objects: l.store})
	l.check(err)
	t.Cleanup(func() { _ = l.cat.Close() })
	l.cfg = Config{By: "operator/ana", Age: time.Hour, MaxDays: 1000, MaxAhead: 1000 * 24 * time.Hour}
	l.policy = &Policy{Version: PolicyVersion}
	return l
}

// reopen opens the catalog on another store.
func (l *lake) reopen(store objects.Store) {
	l.t.Helper()
	l.check(l.cat.Close())
	l.store = store
	var err error
	l.cat, err = iceberg.Open(l.t.Context(), iceberg.Config{DB: filepath.Join(l.dir, "catalog.db"), Objects: store})
	l.check(err)
}

func (l *lake) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lake) keeper() *Keeper {
	return New(Lake{
		Open: func(ctx context.Context, def *cardlake.Table) (Table, error) {
			t, err := l.cat.Table(ctx, def)
			if err != nil {
				return nil, err
			}
			if l.wrap != nil {
				return l.wrap(Of(t, 0)), nil
			}
			return Of(t, 0), nil
		},
		Tables: cardlake.Tables, Store: l.store, Tenants: l.tenants, Record: l.lines,
	}, l.policy, l.cfg)
}

func (l *lake) table(def *cardlake.Table) *iceberg.Table {
	l.t.Helper()
	t, err := l.cat.Table(l.t.Context(), def)
	l.check(err)
	return t
}

// rowsOf makes n transactions of a tenant on a day, the first ones by the customer if there is
// one, each with another of two cards.
func (l *lake) rowsOf(tenant cardlake.Tenant, day string, n int, customer string, theirs int) []*cardlake.Transaction {
	l.t.Helper()
	at, err := time.Parse(time.DateOnly, day)
	l.check(err)
	txs := l.gen.Take(n)
	for i, tx := range txs {
		tx.Tenant, tx.EventTime = tenant, at.Add(time.Duration(i)*time.Millisecond).UnixMicro()
		l.offset++
		tx.Position = cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards"}, Offset: l.offset}
		if i < theirs {
			tx.CustomerID, tx.AccountID = customer, "ac-"+customer
			tx.CardToken = "tk3_" + strings.Repeat(string(rune('a'+i%2)), 31) + string(rune('a'+len(customer)%16))
			tx.BIN, tx.Last4 = "400000", "7777"
		}
	}
	return txs
}

// put writes rows and commits them. It returns the names of the files.
func (l *lake) put(txs ...*cardlake.Transaction) (names []string) {
	l.t.Helper()
	from := l.at.Clone()
	w := writers.New(l.store, l.tenants, writers.Config{Parquet: l.config})
	window := w.Open()
	for _, tx := range txs {
		l.check(window.Add(tx))
	}
	part := cardlake.StreamPartition{Stream: "cards"}
	l.at[part] = cardlake.Offset{Next: l.at[part].Next + int64(len(txs))}
	files, err := window.Flush(l.t.Context(), from, l.at)
	l.check(err)
	_, err = l.table(cardlake.Transactions).Append(l.t.Context(), catalog.Append{Files: files, From: from, To: l.at})
	l.check(err)
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}

// putTotals commits a control total of a tenant and day.
func (l *lake) putTotals(tenant cardlake.Tenant, day string) {
	l.t.Helper()
	at, err := time.Parse(time.DateOnly, day)
	l.check(err)
	window := writers.NewTotals(l.store, l.tenants, writers.Config{}).Open()
	l.offset++
	part := cardlake.StreamPartition{Stream: "cards"}
	l.check(window.Add(&cardlake.ControlTotal{
		Region: "local", Processor: "aaaabbbbccccdddd", Tenant: tenant, Minute: at.UnixMicro(), EmittedAt: at.UnixMicro() + 1, IngestedAt: at.UnixMicro() + 2, Events: 1, FirstSequence: l.offset, LastSequence: l.offset,
		Amount: cardlake.Money{Minor: 1, Currency: "BRL"}, ApprovedAmount: cardlake.Money{Currency: "BRL"}, Position: cardlake.Position{StreamPartition: part, Offset: l.offset},
	}))
	l.commitTo(cardlake.ControlTotals, window.Flush)
}

// putRejected commits a rejected record of a day.
func (l *lake) putRejected(day string) {
	l.t.Helper()
	at, err := time.Parse(time.DateOnly, day)
	l.check(err)
	window := writers.NewRejected(l.store, writers.Config{}).Open()
	l.offset++
	l.check(window.Add(&cardlake.RejectedRecord{
		RejectedAt: at.UnixMicro(), Reason: "undecodable", RecordTime: at.UnixMicro(), Payload: []byte("sealed"),
		Position: cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards"}, Offset: l.offset},
	}))
	l.commitTo(cardlake.Rejected, window.Flush)
}

func (l *lake) commitTo(def *cardlake.Table, flush func(context.Context, cardlake.Positions, cardlake.Positions) ([]cardlake.DataFile, error)) {
	l.t.Helper()
	table := l.table(def)
	from, err := table.Positions(l.t.Context())
	l.check(err)
	to := from.Clone()
	if to == nil {
		to = cardlake.Positions{}
	}
	part := cardlake.StreamPartition{Stream: "cards"}
	to[part] = cardlake.Offset{Next: to[part].Next + 1}
	files, err := flush(l.t.Context(), from, to)
	l.check(err)
	_, err = table.Append(l.t.Context(), catalog.Append{Files: files, From: from, To: to})
	l.check(err)
}

// live are the files of a table's newest snapshot.
func (l *lake) live(def *cardlake.Table) []cardlake.DataFile {
	l.t.Helper()
	files, err := l.table(def).Files(l.t.Context(), 0)
	l.check(err)
	return files
}

// row is a row as text, by column.
type row map[string]string

// rows reads all live rows of cards.transactions, by event id.
func (l *lake) rows() map[string]row {
	l.t.Helper()
	out := map[string]row{}
	for _, f := range l.live(cardlake.Transactions) {
		body, err := objects.ReadAll(l.t.Context(), l.store, f.Name)
		l.check(err)
		n := int64(0)
		for _, r := range l.read(body) {
			out[r["event_id"]] = r
			n++
		}
		if n != f.Rows {
			l.t.Errorf("%s has %d rows, the catalog says %d", f.Name, n, f.Rows)
		}
	}
	return out
}

// read reads a Parquet file.
func (l *lake) read(body []byte) (out []row) {
	l.t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(body))
	l.check(err)
	defer r.Close()
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: 4096}, memory.DefaultAllocator)
	l.check(err)
	records, err := fr.GetRecordReader(l.t.Context(), nil, nil)
	l.check(err)
	defer records.Release()
	for records.Next() {
		rec := records.RecordBatch()
		for i := range int(rec.NumRows()) {
			one := row{}
			for c, f := range rec.Schema().Fields() {
				one[f.Name] = rec.Column(c).ValueStr(i)
			}
			out = append(out, one)
		}
	}
	l.check(records.Err())
	return out
}

// find opens every object of the store, and reads every file of the folder as it lies, and
// returns those that have one of the texts: in any page of a Parquet file, whatever packs it,
// or as bytes. An object that does not open for want of a key is looked at as it lies.
func (l *lake) find(texts ...string) (where []string) {
	l.t.Helper()
	has := func(b []byte) bool {
		for _, text := range texts {
			if bytes.Contains(b, []byte(text)) {
				return true
			}
		}
		return false
	}
	for info, err := range l.store.List(l.t.Context(), "") {
		l.check(err)
		body, err := objects.ReadAll(l.t.Context(), l.store, info.Name)
		if errors.Is(err, keys.ErrNoKey) {
			continue
		}
		l.check(err)
		isFound := has([]byte(info.Name)) || has(body)
		if bytes.HasPrefix(body, []byte("PAR1")) {
			for _, r := range l.read(body) {
				for _, v := range r {
					isFound = isFound || has([]byte(v))
				}
			}
		}
		if isFound {
			where = append(where, info.Name)
		}
	}
	l.check(filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err == nil && (has(body) || has([]byte(path))) {
			where = append(where, strings.TrimPrefix(path, l.dir))
		}
		return err
	}))
	return where
}

// sums are the figures that erasing a person leaves as they are.
func sums(rows map[string]row) string {
	amounts := map[string]int{}
	for _, r := range rows {
		amounts[r["amount"]+r["currency"]+r["approved"]+r["tenant"]]++
	}
	return fmt.Sprint(len(rows), amounts)
}
