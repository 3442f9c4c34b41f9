package cardlake_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// model is what a batch must hold, made with Arrow's builders: a column at a time, a value at
// a time, without dictionaries.
func model(txs []*cardlake.Transaction) arrow.RecordBatch {
	schema := cardlake.ArrowSchema(cardlake.Transactions)
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for _, tx := range txs {
		amount, _ := tx.Amount.Scale4()
		billing, _ := tx.BillingAmount.Scale4()
		for i, value := range []any{
			tx.EventID.String(), tx.TransactionID.String(), string(tx.EventType), string(tx.Tenant), tx.Program, tx.Region,
			tx.EventTime, tx.LocalTime, tx.IngestedAt, tx.CardToken, tx.BIN, tx.Last4, tx.CustomerID, tx.AccountID,
			string(tx.Network), string(tx.Product), decimal128.FromI64(amount), string(tx.Amount.Currency),
			decimal128.FromI64(billing), string(tx.BillingAmount.Currency),
			tx.MerchantID, tx.MerchantName, tx.MCC, tx.MerchantCity, tx.MerchantCountry, tx.TerminalID, tx.AcquirerID,
			string(tx.Channel), tx.EntryMode, tx.CardPresent, tx.Wallet, tx.ECI, tx.ResponseCode, tx.Approved, tx.DeclineReason,
			tx.ApprovalCode, tx.CVVResult, tx.AVSResult, tx.PINVerified, tx.LatencyMicros, tx.MTI, tx.ProcessingCode, tx.STAN, tx.RRN,
			tx.Position.Stream, tx.Position.Partition, tx.Position.Offset,
		} {
			field, name := builder.Field(i), schema.Field(i).Name
			isNull := schema.Field(i).Nullable && value == ""
			switch name {
			case "local_time":
				isNull = tx.LocalTime == 0
			case "billing_amount":
				isNull = tx.BillingAmount.Currency == ""
			case "pin_verified":
				isNull, value = tx.PINVerified == cardlake.Unknown, tx.PINVerified == cardlake.True
			}
			if isNull {
				field.AppendNull()
				continue
			}
			switch field := field.(type) {
			case *array.StringBuilder:
				field.Append(value.(string))
			case *array.BooleanBuilder:
				field.Append(value.(bool))
			case *array.Int32Builder:
				field.Append(value.(int32))
			case *array.Int64Builder:
				field.Append(value.(int64))
			case *array.TimestampBuilder:
				field.Append(arrow.Timestamp(value.(int64)))
			case *array.Decimal128Builder:
				field.Append(value.(decimal128.Num))
			default:
				panic(fmt.Sprintf("%s: %T", name, field))
			}
		}
	}
	return builder.NewRecordBatch()
}

// diff returns the first difference of two records of cards.transactions, of which got may
// have dictionaries.
func diff(got, want arrow.RecordBatch) string {
	if got.NumRows() != want.NumRows() {
		return fmt.Sprintf("%d rows, want %d", got.NumRows(), want.NumRows())
	}
	for i, f := range want.Schema().Fields() {
		if got.Column(i).NullN() != want.Column(i).NullN() {
			return fmt.Sprintf("%s: %d nulls, want %d", f.Name, got.Column(i).NullN(), want.Column(i).NullN())
		}
		for row := range int(want.NumRows()) {
			if g, w := text(got, f.Name, row), text(want, f.Name, row); g != w {
				return fmt.Sprintf("row %d: %s is %q, want %q", row, f.Name, g, w)
			}
		}
	}
	return ""
}

// scrambled returns n transactions whose texts are there or not, equal or not, ASCII or not,
// short or as long as their columns allow, independently of one another, at times within span
// microseconds.
func scrambled(r *rand.Rand, n int, span int64) []*cardlake.Transaction {
	text := func(max, kinds int, isRequired bool) string {
		kind := r.IntN(kinds + 1)
		if kind == kinds {
			if isRequired {
				return "x"
			}
			return ""
		}
		s := strings.Repeat("é", kind%2) + fmt.Sprint(kind)
		if kind%5 == 4 {
			s += strings.Repeat("~", max)
		}
		return strings.ToValidUTF8(s[:min(len(s), max)], "")
	}
	currency := func() cardlake.Currency { return []cardlake.Currency{"MXN", "CLP", "USD", "BRL"}[r.IntN(4)] }
	kinds := []int{1, 3, 40, 1_000_000}[r.IntN(4)]
	txs := make([]*cardlake.Transaction, n)
	for i := range txs {
		tx := &cardlake.Transaction{
			EventType: cardlake.EventType(text(16, 2, true)), Tenant: cardlake.Tenant(text(40, 1, true)), Program: text(64, 3, false), Region: text(32, 2, true),
			EventTime: 1 + r.Int64N(span), IngestedAt: 1 + r.Int64N(span), LocalTime: max(0, r.Int64N(4)-2),
			CardToken: text(64, kinds, true), BIN: text(8, 4, false), Last4: text(4, kinds, false), CustomerID: text(64, kinds, false), AccountID: text(64, kinds, false),
			Network: cardlake.Network(text(16, 2, true)), Product: cardlake.Product(text(16, 3, false)),
			Amount:     cardlake.Money{Minor: r.Int64N(1_000_000) - 500_000, Currency: currency()},
			MerchantID: text(15, kinds, false), MerchantName: text(99, kinds, false), MCC: text(4, 9, false), MerchantCity: text(64, 9, false),
			MerchantCountry: text(3, 2, false), TerminalID: text(16, kinds, false), AcquirerID: text(11, 3, false),
			Channel: cardlake.Channel(text(16, 4, true)), EntryMode: text(16, 5, true), CardPresent: r.IntN(2) == 0, Wallet: text(32, 2, false), ECI: text(2, 3, false),
			ResponseCode: text(3, 9, true), Approved: r.IntN(2) == 0, DeclineReason: text(64, 5, false), ApprovalCode: text(6, kinds, false),
			CVVResult: text(16, 3, false), AVSResult: text(16, 3, false), PINVerified: cardlake.Truth(r.IntN(3)), LatencyMicros: r.Int32(),
			MTI: text(4, 3, true), ProcessingCode: text(6, 9, false), STAN: text(12, kinds, false), RRN: text(12, kinds, false),
			Position: cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: text(249, 2, true), Partition: r.Int32N(4)}, Offset: int64(i)},
		}
		for j := range tx.EventID {
			tx.EventID[j], tx.TransactionID[j] = byte(r.Uint32()), byte(r.Uint32())
		}
		if r.IntN(2) == 0 {
			tx.BillingAmount = cardlake.Money{Minor: r.Int64N(1_000_000), Currency: currency()}
		}
		txs[i] = tx
	}
	return txs
}

func byTime(txs []*cardlake.Transaction) []*cardlake.Transaction {
	sorted := slices.Clone(txs)
	slices.SortStableFunc(sorted, func(a, b *cardlake.Transaction) int {
		if a.EventTime < b.EventTime {
			return -1
		}
		return min(1, int(a.EventTime-b.EventTime))
	})
	return sorted
}

// Whatever the rows, a batch's record is the model's of the rows by time, and its view the
// model's of the rows as they came: in a new batch and in one used before.
func TestBatchIsItsModel(t *testing.T) {
	b := cardlake.NewBatch()
	for seed := range uint64(16) {
		r := rand.New(rand.NewPCG(seed, 7))
		txs := scrambled(r, []int{1, 63, 64, 65, 300, 700}[r.IntN(6)], []int64{1, 50, 30_000_000, 1 << 62}[r.IntN(4)])
		if seed%3 == 0 {
			txs = byTime(txs)
		}
		b.Reset()
		mustAppend(t, b, txs...)
		if d := diff(b.View(), model(txs)); d != "" {
			t.Fatalf("seed %d: view: %s", seed, d)
		}
		if d := diff(mustRecord(t, b), model(byTime(txs))); d != "" {
			t.Fatalf("seed %d: record: %s", seed, d)
		}
	}
}

// A view stays as it was while rows are appended and records are made.
func TestViewLasts(t *testing.T) {
	b, txs := cardlake.NewBatch(), writerstest.New(10).Take(1200)
	views := map[int]arrow.RecordBatch{0: b.View()}
	for i, tx := range txs {
		mustAppend(t, b, tx)
		if i%97 == 0 || i%256 == 63 {
			views[i+1] = b.View()
		}
		if i%501 == 0 {
			mustRecord(t, b)
		}
	}
	for n, view := range views {
		if d := diff(view, model(txs[:n])); d != "" {
			t.Errorf("view of %d rows: %s", n, d)
		}
	}
}

// Views are read by one goroutine while another appends and makes records: the race detector
// sees it if they share a byte that is written again.
func TestViewIsReadWhileRowsAreAppended(t *testing.T) {
	b, txs := cardlake.NewBatch(), writerstest.New(11).Take(800)
	views := make(chan arrow.RecordBatch)
	var reader sync.WaitGroup
	reader.Go(func() {
		for view := range views {
			if d := diff(view, model(txs[:view.NumRows()])); d != "" {
				t.Errorf("view of %d rows: %s", view.NumRows(), d)
			}
		}
	})
	for i, tx := range txs {
		mustAppend(t, b, tx)
		select {
		case views <- b.View():
		default:
		}
		if i%401 == 0 {
			mustRecord(t, b)
		}
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		if _, err := b.Record(); err != nil {
			t.Error(err)
		}
	})
	views <- b.View()
	writer.Wait()
	close(views)
	reader.Wait()
}
