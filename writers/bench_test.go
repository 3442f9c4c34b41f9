package writers_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	pq "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	pqgo "github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// The three benchmarks turn the same rows of one tenant and day into one encrypted object,
// zstd-1, all 47 columns: ours, and how one would write it with either library's own rows.

const benchRows = 50_000

func BenchmarkWriter(b *testing.B) {
	for _, rows := range []int{500, benchRows} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			s, txs := newStore(b), writerstest.New(1).Take(rows)
			writer := writers.New(s, tenants, writers.Config{Parallel: 1})
			offset := int64(0)
			meter.Loop(b, rows, func() int64 {
				w := writer.Open()
				defer w.Release()
				add(b, w, txs...)
				files, err := w.Flush(b.Context(), at(offset), at(offset+1))
				if err != nil || len(files) != 1 {
					b.Fatal(files, err)
				}
				offset++
				return files[0].Bytes
			})
		})
	}
}

// BenchmarkReferencePqarrow uses arrow-go as its documentation shows it: a record builder,
// then pqarrow's file writer with its defaults but for zstd-1 and INT64 decimals.
func BenchmarkReferencePqarrow(b *testing.B) {
	txs := writerstest.New(1).Take(benchRows)
	props := pq.NewWriterProperties(pq.WithCompression(compress.Codecs.Zstd), pq.WithCompressionLevel(1), pq.WithStoreDecimalAsInteger(true))
	builder := array.NewRecordBuilder(memory.DefaultAllocator, cardlake.ArrowSchema(cardlake.Transactions))
	measureReference(b, func() []byte {
		for _, tx := range txs {
			appendToBuilder(builder, tx)
		}
		rec := builder.NewRecordBatch()
		defer rec.Release()
		var out bytes.Buffer
		w, err := pqarrow.NewFileWriter(rec.Schema(), &out, props, pqarrow.DefaultWriterProps())
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Write(rec); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		return out.Bytes()
	})
}

// BenchmarkReferenceParquetGo uses parquet-go's writer of structs.
func BenchmarkReferenceParquetGo(b *testing.B) {
	txs := writerstest.New(1).Take(benchRows)
	var out bytes.Buffer
	w := pqgo.NewGenericWriter[row](&out, pqgo.Compression(&pqgo.Zstd))
	rows := make([]row, 0, 1000)
	measureReference(b, func() []byte {
		out.Reset()
		w.Reset(&out)
		for i, tx := range txs {
			rows = append(rows, rowOf(tx))
			if len(rows) == cap(rows) || i == len(txs)-1 {
				if _, err := w.Write(rows); err != nil {
					b.Fatal(err)
				}
				rows = rows[:0]
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		return out.Bytes()
	})
}

func measureReference(b *testing.B, encode func() []byte) {
	s := newStore(b)
	n := 0
	meter.Loop(b, benchRows, func() int64 {
		n++
		body := encode()
		if err := s.Put(b.Context(), fmt.Sprintf("data/%d.parquet", n), keys.OwnerOf(tenants["acme"]), body); err != nil {
			b.Fatal(err)
		}
		return int64(len(body))
	})
}

func appendToBuilder(builder *array.RecordBuilder, tx *cardlake.Transaction) {
	i := 0
	next := func() array.Builder { i++; return builder.Field(i - 1) }
	text := func(s string) {
		f := next().(*array.StringBuilder)
		if s == "" && cardlake.Transactions.Columns[i-1].Nullable {
			f.AppendNull()
		} else {
			f.Append(s)
		}
	}
	micros := func(v int64) { next().(*array.TimestampBuilder).Append(arrow.Timestamp(v)) }
	money := func(m cardlake.Money) {
		v, _ := m.Scale4()
		next().(*array.Decimal128Builder).Append(decimal128.FromI64(v))
	}
	boolean := func(v bool) { next().(*array.BooleanBuilder).Append(v) }

	text(tx.EventID.String())
	text(tx.TransactionID.String())
	text(string(tx.EventType))
	text(string(tx.Tenant))
	text(tx.Program)
	text(tx.Region)
	micros(tx.EventTime)
	micros(tx.LocalTime)
	micros(tx.IngestedAt)
	text(tx.CardToken)
	text(tx.BIN)
	text(tx.Last4)
	text(tx.CustomerID)
	text(tx.AccountID)
	text(string(tx.Network))
	text(string(tx.Product))
	money(tx.Amount)
	text(string(tx.Amount.Currency))
	money(tx.BillingAmount)
	text(string(tx.BillingAmount.Currency))
	text(tx.MerchantID)
	text(tx.MerchantName)
	text(tx.MCC)
	text(tx.MerchantCity)
	text(tx.MerchantCountry)
	text(tx.TerminalID)
	text(tx.AcquirerID)
	text(string(tx.Channel))
	text(tx.EntryMode)
	boolean(tx.CardPresent)
	text(tx.Wallet)
	text(tx.ECI)
	text(tx.ResponseCode)
	boolean(tx.Approved)
	text(tx.DeclineReason)
	text(tx.ApprovalCode)
	text(tx.CVVResult)
	text(tx.AVSResult)
	if tx.PINVerified == cardlake.Unknown {
		next().AppendNull()
	} else {
		boolean(tx.PINVerified == cardlake.True)
	}
	next().(*array.Int32Builder).Append(tx.LatencyMicros)
	text(tx.MTI)
	text(tx.ProcessingCode)
	text(tx.STAN)
	text(tx.RRN)
	text(tx.Position.Stream)
	next().(*array.Int32Builder).Append(tx.Position.Partition)
	next().(*array.Int64Builder).Append(tx.Position.Offset)
}

// row is a transaction as one would declare it for parquet-go.
type row struct {
	EventID         string `parquet:"event_id"`
	TransactionID   string `parquet:"transaction_id"`
	EventType       string `parquet:"event_type,dict"`
	Tenant          string `parquet:"tenant,dict"`
	Program         string `parquet:"program,dict"`
	Region          string `parquet:"region,dict"`
	EventTime       int64  `parquet:"event_time,timestamp(microsecond)"`
	LocalTime       int64  `parquet:"local_time,optional,timestamp(microsecond:local)"`
	IngestedAt      int64  `parquet:"ingested_at,timestamp(microsecond)"`
	CardToken       string `parquet:"card_token"`
	BIN             string `parquet:"bin,optional,dict"`
	Last4           string `parquet:"last4,optional,dict"`
	CustomerID      string `parquet:"customer_id,optional"`
	AccountID       string `parquet:"account_id,optional"`
	Network         string `parquet:"network,dict"`
	Product         string `parquet:"product,optional,dict"`
	Amount          int64  `parquet:"amount,decimal(4:18)"`
	Currency        string `parquet:"currency,dict"`
	BillingAmount   int64  `parquet:"billing_amount,optional,decimal(4:18)"`
	BillingCurrency string `parquet:"billing_currency,optional,dict"`
	MerchantID      string `parquet:"merchant_id,optional,dict"`
	MerchantName    string `parquet:"merchant_name,optional,dict"`
	MCC             string `parquet:"mcc,optional,dict"`
	MerchantCity    string `parquet:"merchant_city,optional,dict"`
	MerchantCountry string `parquet:"merchant_country,optional,dict"`
	TerminalID      string `parquet:"terminal_id,optional,dict"`
	AcquirerID      string `parquet:"acquirer_id,optional,dict"`
	Channel         string `parquet:"channel,dict"`
	EntryMode       string `parquet:"entry_mode,dict"`
	CardPresent     bool   `parquet:"card_present"`
	Wallet          string `parquet:"wallet,optional,dict"`
	ECI             string `parquet:"eci,optional,dict"`
	ResponseCode    string `parquet:"response_code,dict"`
	Approved        bool   `parquet:"approved"`
	DeclineReason   string `parquet:"decline_reason,optional,dict"`
	ApprovalCode    string `parquet:"approval_code,optional"`
	CVVResult       string `parquet:"cvv_result,optional,dict"`
	AVSResult       string `parquet:"avs_result,optional,dict"`
	PINVerified     *bool  `parquet:"pin_verified,optional"`
	LatencyMicros   int32  `parquet:"latency_us"`
	MTI             string `parquet:"mti,dict"`
	ProcessingCode  string `parquet:"processing_code,optional,dict"`
	STAN            string `parquet:"stan,optional"`
	RRN             string `parquet:"rrn,optional"`
	Stream          string `parquet:"stream,dict"`
	Partition       int32  `parquet:"stream_partition"`
	Offset          int64  `parquet:"stream_offset"`
}

func rowOf(tx *cardlake.Transaction) row {
	amount, _ := tx.Amount.Scale4()
	billing, _ := tx.BillingAmount.Scale4()
	r := row{
		tx.EventID.String(), tx.TransactionID.String(), string(tx.EventType), string(tx.Tenant), tx.Program, tx.Region,
		tx.EventTime, tx.LocalTime, tx.IngestedAt, tx.CardToken, tx.BIN, tx.Last4, tx.CustomerID, tx.AccountID, string(tx.Network), string(tx.Product),
		amount, string(tx.Amount.Currency), billing, string(tx.BillingAmount.Currency),
		tx.MerchantID, tx.MerchantName, tx.MCC, tx.MerchantCity, tx.MerchantCountry, tx.TerminalID, tx.AcquirerID,
		string(tx.Channel), tx.EntryMode, tx.CardPresent, tx.Wallet, tx.ECI, tx.ResponseCode, tx.Approved, tx.DeclineReason, tx.ApprovalCode,
		tx.CVVResult, tx.AVSResult, nil, tx.LatencyMicros, tx.MTI, tx.ProcessingCode, tx.STAN, tx.RRN,
		tx.Position.Stream, tx.Position.Partition, tx.Position.Offset,
	}
	if tx.PINVerified != cardlake.Unknown {
		v := tx.PINVerified == cardlake.True
		r.PINVerified = &v
	}
	return r
}
