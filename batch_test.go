package cardlake_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/writerstest"
)

func mustAppend(t testing.TB, b *cardlake.Batch, txs ...*cardlake.Transaction) {
	t.Helper()
	for _, tx := range txs {
		if err := b.Append(tx); err != nil {
			t.Fatal(err)
		}
	}
}

func mustRecord(t testing.TB, b interface {
	Record() (arrow.RecordBatch, error)
}) arrow.RecordBatch {
	t.Helper()
	rec, err := b.Record()
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// text is a record's cell as text, "NULL" for a null, looked up in a dictionary if need be.
func text(rec arrow.RecordBatch, name string, row int) string {
	column := rec.Column(rec.Schema().FieldIndices(name)[0])
	if column.IsNull(row) {
		return "NULL"
	}
	return column.ValueStr(row)
}

func ids(rec arrow.RecordBatch) (ids []string) {
	for row := range int(rec.NumRows()) {
		ids = append(ids, text(rec, "event_id", row))
	}
	return ids
}

func TestBatchSchema(t *testing.T) {
	for _, c := range []struct {
		def *cardlake.Table
		rec arrow.RecordBatch
	}{
		{cardlake.Transactions, mustRecord(t, cardlake.NewBatch())},
		{cardlake.Rejected, mustRecord(t, cardlake.NewRejectedBatch())},
	} {
		want := cardlake.ArrowSchema(c.def)
		for i, column := range c.def.Columns {
			f := c.rec.Schema().Field(i)
			dt := f.Type
			if d, ok := dt.(*arrow.DictionaryType); ok {
				dt = d.ValueType
			}
			id, _ := f.Metadata.GetValue("PARQUET:field_id")
			if f.Name != column.Name || f.Nullable != column.Nullable || id != fmt.Sprint(column.ID) || !arrow.TypeEqual(dt, want.Field(i).Type) {
				t.Errorf("%s.%s is %v", c.def.FullName(), column.Name, f)
			}
		}
	}
}

// An empty batch, and one whose nullable columns are all NULL, make a valid record.
func TestBatchBareRows(t *testing.T) {
	b := cardlake.NewBatch()
	if rec := mustRecord(t, b); rec.NumRows() != 0 {
		t.Errorf("%d rows", rec.NumRows())
	}
	mustAppend(t, b, writerstest.Bare())
	rec := mustRecord(t, b)
	for i, c := range cardlake.Transactions.Columns {
		if rec.Column(i).IsNull(0) != c.Nullable {
			t.Errorf("%s: null %t, want %t", c.Name, rec.Column(i).IsNull(0), c.Nullable)
		}
	}
	if got := text(rec, "amount", 0); got != "-1" {
		t.Errorf("amount %s, want -1: a Chilean peso has no decimals", got)
	}
}

// The strings of a transaction live in memory that the next one overwrites.
func TestBatchCopies(t *testing.T) {
	lasting, reusing := cardlake.NewBatch(), cardlake.NewBatch()
	mustAppend(t, lasting, writerstest.New(1).Take(3000)...)
	gen := writerstest.New(1)
	for range 3000 {
		mustAppend(t, reusing, gen.Next())
	}
	if !array.RecordEqual(mustRecord(t, lasting), mustRecord(t, reusing)) {
		t.Error("rows changed after their transaction's memory was reused")
	}
}

// Rows come out in the order of their time, ties as they came, in every column alike.
func TestBatchSorts(t *testing.T) {
	txs := writerstest.New(2).Take(2000)
	for i, tx := range txs {
		tx.EventTime = writerstest.Start + int64(i*7919%500) // every time four times
		tx.Position.Offset = int64(i)
		if i%3 == 0 {
			tx.LocalTime, tx.BillingAmount, tx.STAN, tx.MCC, tx.PINVerified = 0, cardlake.Money{}, "", "", cardlake.True
		}
	}
	b, sorted := cardlake.NewBatch(), cardlake.NewBatch()
	mustAppend(t, b, txs...)
	slices.SortStableFunc(txs, func(a, b *cardlake.Transaction) int { return int(a.EventTime - b.EventTime) })
	mustAppend(t, sorted, txs...)
	got, want := mustRecord(t, b), mustRecord(t, sorted)
	for i, c := range cardlake.Transactions.Columns {
		for row := range txs {
			if a, b := text(got, c.Name, row), text(want, c.Name, row); a != b {
				t.Fatalf("row %d: %s (column %d) is %s, want %s", row, c.Name, i, a, b)
			}
		}
	}
	// A second record of the same rows, and one with another row before them.
	if again := mustRecord(t, b); !slices.Equal(ids(again), ids(want)) {
		t.Error("a second Record differs")
	}
	first := *txs[0]
	first.EventTime -= 10
	mustAppend(t, b, &first)
	if got := mustRecord(t, b); text(got, "event_time", 0) != text(want, "event_time", 0) && got.NumRows() != want.NumRows()+1 {
		t.Error("a row appended after Record is not in its place")
	} else if at := got.Column(6).(*array.Timestamp).Value(0); int64(at) != first.EventTime {
		t.Errorf("first row at %d, want %d", at, first.EventTime)
	}
	if lo, hi := b.TimeRange(); lo != first.EventTime || hi != txs[len(txs)-1].EventTime {
		t.Errorf("TimeRange = %d, %d", lo, hi)
	}
}

func TestBatchReset(t *testing.T) {
	b := cardlake.NewBatch()
	mustAppend(t, b, writerstest.New(3).Take(500)...)
	mustRecord(t, b)
	b.Reset()
	if lo, hi := b.TimeRange(); b.Len() != 0 || b.Bytes() != 0 || lo != 0 || hi != 0 {
		t.Errorf("after Reset: %d rows, %d bytes, %d to %d", b.Len(), b.Bytes(), lo, hi)
	}
	mustAppend(t, b, writerstest.New(4).Take(200)...)
	fresh := cardlake.NewBatch()
	mustAppend(t, fresh, writerstest.New(4).Take(200)...)
	if !array.RecordEqual(mustRecord(t, b), mustRecord(t, fresh)) {
		t.Error("a batch that was reset gives other rows than a new one")
	}
}

func TestBatchRefuses(t *testing.T) {
	const secret = "secretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecretsecret"
	for column, spoil := range map[string]func(*cardlake.Transaction){
		"event_id":         func(t *cardlake.Transaction) { t.EventID = cardlake.EventID{} },
		"transaction_id":   func(t *cardlake.Transaction) { t.TransactionID = cardlake.EventID{} },
		"event_time":       func(t *cardlake.Transaction) { t.EventTime = 0 },
		"ingested_at":      func(t *cardlake.Transaction) { t.IngestedAt = 0 },
		"event_type":       func(t *cardlake.Transaction) { t.EventType = "" },
		"tenant":           func(t *cardlake.Transaction) { t.Tenant = "" },
		"card_token":       func(t *cardlake.Transaction) { t.CardToken = "" },
		"currency":         func(t *cardlake.Transaction) { t.Amount.Currency = "" },
		"stream":           func(t *cardlake.Transaction) { t.Position.Stream = "" },
		"bin":              func(t *cardlake.Transaction) { t.BIN = secret[:9] },
		"last4":            func(t *cardlake.Transaction) { t.Last4 = secret[:5] },
		"merchant_name":    func(t *cardlake.Transaction) { t.MerchantName = secret },
		"merchant_city":    func(t *cardlake.Transaction) { t.MerchantCity = "secret\xff" },
		"approval_code":    func(t *cardlake.Transaction) { t.ApprovalCode = secret },
		"amount":           func(t *cardlake.Transaction) { t.Amount.Minor = math.MaxInt64 },
		"billing_amount":   func(t *cardlake.Transaction) { t.BillingAmount.Currency = "sec" },
		"billing_currency": func(t *cardlake.Transaction) { t.BillingAmount.Currency = "" },
	} {
		b, txs := cardlake.NewBatch(), writerstest.New(5).Take(20)
		mustAppend(t, b, txs[:10]...)
		size := b.Bytes()
		bad := *txs[11]
		spoil(&bad)
		err := b.Append(&bad)
		if !errors.Is(err, cardlake.ErrField) || !strings.Contains(err.Error(), ": "+column+": ") || strings.Contains(err.Error(), "sec") {
			t.Errorf("%s: error %q", column, err)
		}
		if b.Len() != 10 || b.Bytes() != size {
			t.Errorf("%s: a refused row changed the batch", column)
		}
		mustAppend(t, b, txs[12:]...)
		want := cardlake.NewBatch()
		mustAppend(t, want, slices.Concat(txs[:10], txs[12:])...)
		if !array.RecordEqual(mustRecord(t, b), mustRecord(t, want)) {
			t.Errorf("%s: a refused row left something behind", column)
		}
	}
}

// Amounts at the edges of decimal(18,4), in currencies of both kinds, are what Scale4 says.
func TestBatchMoney(t *testing.T) {
	for _, c := range []struct {
		money cardlake.Money
		want  string
	}{
		{cardlake.Money{Minor: 1250, Currency: "MXN"}, "12.5"},
		{cardlake.Money{Minor: 1250, Currency: "CLP"}, "1250"},
		{cardlake.Money{Minor: -5, Currency: "USD"}, "-0.05"},
		{cardlake.Money{Minor: 0, Currency: "USD"}, "0"},
		{cardlake.Money{Minor: 9_999_999_999_999_999, Currency: "BRL"}, "99999999999999.99"},
		{cardlake.Money{Minor: 10_000_000_000_000_000, Currency: "BRL"}, ""},
		{cardlake.Money{Minor: 99_999_999_999_999, Currency: "CLP"}, "99999999999999"},
		{cardlake.Money{Minor: -100_000_000_000_000, Currency: "CLP"}, ""},
		{cardlake.Money{Minor: math.MinInt64, Currency: "CLP"}, ""},
		{cardlake.Money{Minor: 1, Currency: "XXX"}, ""},
	} {
		b := cardlake.NewBatch()
		tx := writerstest.Bare()
		mustAppend(t, b, tx) // in CLP: the next currency must not inherit its factor
		tx.Amount = c.money
		err := b.Append(tx)
		if (err == nil) != (c.want != "") {
			t.Errorf("%v: %v", c.money, err)
		} else if got := text(mustRecord(t, b), "amount", b.Len()-1); err == nil && got != c.want {
			t.Errorf("%v: %s, want %s", c.money, got, c.want)
		}
	}
}

// A currency read from memory that is reused must not be remembered as what it turns into.
func TestBatchCurrencyMemory(t *testing.T) {
	memory := []byte("CLP")
	b, tx := cardlake.NewBatch(), writerstest.Bare()
	tx.Amount = cardlake.Money{Minor: 100, Currency: cardlake.Currency(unsafe.String(&memory[0], 3))}
	mustAppend(t, b, tx)
	copy(memory, "USD")
	mustAppend(t, b, tx)
	rec := mustRecord(t, b)
	if clp, usd := text(rec, "amount", 0), text(rec, "amount", 1); clp != "100" || usd != "1" {
		t.Errorf("amounts %s and %s, want 100 and 1", clp, usd)
	}
}

// Each field of Transaction reaches a column: changing it changes the record.
func TestBatchKeepsEveryField(t *testing.T) {
	base := *writerstest.New(6).Take(1)[0]
	record := func(tx cardlake.Transaction) arrow.RecordBatch {
		b := cardlake.NewBatch()
		mustAppend(t, b, &tx)
		return mustRecord(t, b)
	}
	want := record(base)
	var visit func(v reflect.Value, path string, tx *cardlake.Transaction)
	visit = func(v reflect.Value, path string, tx *cardlake.Transaction) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				visit(v.Field(i), path+"."+v.Type().Field(i).Name, tx)
			}
			return
		}
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		switch v.Kind() {
		case reflect.String:
			v.SetString("x")
			if strings.HasSuffix(path, "Currency") {
				v.SetString("PEN")
			}
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Array:
			v.Index(0).SetUint(v.Index(0).Uint() ^ 1)
		default:
			v.SetInt(v.Int() ^ 1)
		}
		if array.RecordEqual(record(*tx), want) {
			t.Errorf("Transaction%s reaches no column", path)
		}
		v.Set(old)
	}
	tx := base
	visit(reflect.ValueOf(&tx).Elem(), "", &tx)
}

// Texts that do not lie side by side in the order of their columns are kept all the same.
func TestBatchOfScatteredTexts(t *testing.T) {
	want, got := cardlake.NewBatch(), cardlake.NewBatch()
	for _, tx := range writerstest.New(12).Take(300) {
		mustAppend(t, want, tx)
		texts := [cardlake.TextCount]string{
			string(tx.EventType), string(tx.Tenant), tx.Program, tx.Region, tx.CustomerID, tx.AccountID,
			string(tx.Network), string(tx.Product), string(tx.Amount.Currency), string(tx.BillingAmount.Currency),
			tx.MerchantID, tx.MerchantName, tx.MCC, tx.MerchantCity, tx.MerchantCountry, tx.TerminalID, tx.AcquirerID,
			string(tx.Channel), tx.EntryMode, tx.Wallet, tx.ECI, tx.ResponseCode, tx.DeclineReason,
			tx.ApprovalCode, tx.CVVResult, tx.AVSResult, tx.MTI, tx.ProcessingCode, tx.STAN, tx.RRN,
		}
		row := cardlake.Row{
			EventID: tx.EventID, TransactionID: tx.TransactionID, EventTime: tx.EventTime, LocalTime: tx.LocalTime, IngestedAt: tx.IngestedAt,
			Amount: tx.Amount.Minor, BillingAmount: tx.BillingAmount.Minor, CardPresent: tx.CardPresent, Approved: tx.Approved,
			PINVerified: tx.PINVerified, LatencyMicros: tx.LatencyMicros, CardToken: tx.CardToken, BIN: tx.BIN, Last4: tx.Last4, Position: tx.Position,
		}
		for i, s := range slices.Backward(texts[:]) { // the last comes first, far from its neighbours
			from := len(row.Data)
			row.Data = append(row.Data, s...)
			row.Spans[i] = cardlake.SpanOf(from, len(row.Data))
			row.Data = append(row.Data, strings.Repeat("-", 300*(i%2))...)
		}
		if err := got.AppendRow(&row); err != nil {
			t.Fatal(err)
		}
	}
	if !array.RecordEqual(mustRecord(t, got), mustRecord(t, want)) {
		t.Error("the rows differ from those of texts side by side")
	}
}

// Batches that make their records in the same memory, one after another, make the records they
// make in their own.
func TestRecordIn(t *testing.T) {
	columns := cardlake.NewColumns()
	for _, rows := range []int{900, 3, 0, 2000, 64} {
		b := cardlake.NewBatch()
		mustAppend(t, b, writerstest.New(uint64(rows)).Take(rows)...)
		got, err := b.RecordIn(columns)
		if err != nil {
			t.Fatal(err)
		}
		if !array.RecordEqual(got, mustRecord(t, b)) {
			t.Errorf("%d rows: the record differs", rows)
		}
		for i := range got.Columns() { // words of other batches are none of this one's readers' business
			d, ok := got.Column(i).(*array.Dictionary)
			if !ok {
				continue
			}
			if own := mustRecord(t, b).Column(i).(*array.Dictionary); !array.Equal(d.Dictionary(), own.Dictionary()) {
				t.Errorf("%d rows: column %s has words of other batches", rows, got.ColumnName(i))
			}
		}
	}
}

// Views cost memory of their own, which is told.
func TestViewBytes(t *testing.T) {
	b := cardlake.NewBatch()
	mustAppend(t, b, writerstest.New(13).Take(100)...)
	if n := b.ViewBytes(); n != 0 {
		t.Errorf("%d bytes before the first view", n)
	}
	b.View()
	if first := b.ViewBytes(); first < 100*200 {
		t.Errorf("a view of 100 rows takes %d bytes", first)
	} else if b.View(); b.ViewBytes() != first {
		t.Errorf("a second view made %d bytes of %d", b.ViewBytes(), first)
	}
	b.Reset()
	if n := b.ViewBytes(); n != 0 {
		t.Errorf("%d bytes after Reset", n)
	}
}

func TestBatchAllocates(t *testing.T) {
	txs := writerstest.New(7).Take(5000)
	b := cardlake.NewBatch()
	mustAppend(t, b, txs...)
	mustRecord(t, b)
	b.Reset()
	if n := testing.AllocsPerRun(3, func() {
		b.Reset()
		mustAppend(t, b, txs...)
	}); n > 0 {
		t.Errorf("%.0f allocations for %d rows", n, len(txs))
	}
}

// A record of a batch survives being written and read in Arrow's own format: its buffers are
// as Arrow requires them.
func TestBatchRecordIsValid(t *testing.T) {
	b := cardlake.NewBatch()
	mustAppend(t, b, writerstest.New(8).Take(777)...)
	rec := mustRecord(t, b)
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(rec.Schema()))
	if err := errors.Join(w.Write(rec), w.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(&stream)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if !r.Next() || !array.RecordEqual(r.RecordBatch(), rec) {
		t.Errorf("the record changed on its way (%v)", r.Err())
	}
}

func BenchmarkBatchAppend(b *testing.B) {
	txs := writerstest.New(9).Take(50_000)
	batch := cardlake.NewBatch()
	b.ReportAllocs()
	rows := 0
	for b.Loop() {
		batch.Reset()
		mustAppend(b, batch, txs...)
		rows += len(txs)
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
