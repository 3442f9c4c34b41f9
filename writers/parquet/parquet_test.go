package parquet_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	pqgo "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

func encode(t testing.TB, cfg parquet.Config, rows ...*cardlake.Transaction) (body []byte, splits []int64) {
	t.Helper()
	b := cardlake.NewBatch()
	for _, r := range rows {
		if err := b.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := b.Record()
	if err != nil {
		t.Fatal(err)
	}
	body, splits, err = parquet.NewEncoder(cardlake.Transactions, cfg).Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	return body, splits
}

// field is the value a column must have: nil for NULL, else as parquet-go spells it.
func field(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func want(tx *cardlake.Transaction) map[string]any {
	amount, _ := tx.Amount.Scale4()
	m := map[string]any{
		"event_id": tx.EventID.String(), "transaction_id": tx.TransactionID.String(), "event_type": string(tx.EventType),
		"tenant": string(tx.Tenant), "program": tx.Program, "region": tx.Region,
		"event_time": tx.EventTime, "ingested_at": tx.IngestedAt, "local_time": nil,
		"card_token": tx.CardToken, "bin": field(tx.BIN), "last4": field(tx.Last4),
		"customer_id": field(tx.CustomerID), "account_id": field(tx.AccountID), "network": string(tx.Network), "product": field(string(tx.Product)),
		"amount": amount, "currency": string(tx.Amount.Currency), "billing_amount": nil, "billing_currency": field(string(tx.BillingAmount.Currency)),
		"merchant_id": field(tx.MerchantID), "merchant_name": field(tx.MerchantName), "mcc": field(tx.MCC),
		"merchant_city": field(tx.MerchantCity), "merchant_country": field(tx.MerchantCountry),
		"terminal_id": field(tx.TerminalID), "acquirer_id": field(tx.AcquirerID),
		"channel": string(tx.Channel), "entry_mode": tx.EntryMode, "card_present": tx.CardPresent, "wallet": field(tx.Wallet), "eci": field(tx.ECI),
		"response_code": tx.ResponseCode, "approved": tx.Approved, "decline_reason": field(tx.DeclineReason), "approval_code": field(tx.ApprovalCode),
		"cvv_result": field(tx.CVVResult), "avs_result": field(tx.AVSResult), "pin_verified": nil, "latency_us": tx.LatencyMicros,
		"mti": tx.MTI, "processing_code": field(tx.ProcessingCode), "stan": field(tx.STAN), "rrn": field(tx.RRN),
		"stream": tx.Position.Stream, "stream_partition": tx.Position.Partition, "stream_offset": tx.Position.Offset,
	}
	if tx.LocalTime != 0 {
		m["local_time"] = tx.LocalTime
	}
	if billing, ok := tx.BillingAmount.Scale4(); ok {
		m["billing_amount"] = billing
	}
	if tx.PINVerified != cardlake.Unknown {
		m["pin_verified"] = tx.PINVerified == cardlake.True
	}
	return m
}

func readAll(t testing.TB, body []byte) (*pqgo.File, []map[string]any) {
	t.Helper()
	f, err := pqgo.OpenFile(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	columns := f.Schema().Columns()
	for _, group := range f.RowGroups() {
		rows := group.Rows()
		for buf := make([]pqgo.Row, 100); ; {
			n, err := rows.ReadRows(buf)
			for _, row := range buf[:n] {
				m := map[string]any{}
				for _, v := range row {
					m[columns[v.Column()][0]] = value(v)
				}
				out = append(out, m)
			}
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		rows.Close()
	}
	return f, out
}

func value(v pqgo.Value) any {
	switch {
	case v.IsNull():
		return nil
	case v.Kind() == pqgo.Boolean:
		return v.Boolean()
	case v.Kind() == pqgo.Int32:
		return v.Int32()
	case v.Kind() == pqgo.Int64:
		return v.Int64()
	}
	return string(v.ByteArray())
}

// What was appended is what an independent reader finds: every column of every row, in the
// order of event_time, over one and over many row groups.
func TestReadBack(t *testing.T) {
	for _, c := range []struct {
		rows   int
		groups parquet.Config
	}{{1, parquet.Config{}}, {5000, parquet.Config{}}, {5000, parquet.Config{RowGroupRows: 700}}, {20_000, parquet.Config{Level: 3}}} {
		t.Run(fmt.Sprint(c.rows, c.groups.RowGroupRows), func(t *testing.T) {
			txs := writerstest.New(1).Take(c.rows)
			body, splits := encode(t, c.groups, txs...)
			f, got := readAll(t, body)
			if len(got) != len(txs) {
				t.Fatalf("%d rows, want %d", len(got), len(txs))
			}
			slices.SortStableFunc(txs, func(a, b *cardlake.Transaction) int { return int(a.EventTime - b.EventTime) })
			for i, tx := range txs {
				if want := want(tx); !maps.Equal(want, got[i]) {
					t.Fatalf("row %d (-want +got):\n%s", i, cmp.Diff(want, got[i]))
				}
			}
			var starts []int64
			for _, g := range f.Metadata().RowGroups {
				starts = append(starts, g.FileOffset)
				if first := g.Columns[0].MetaData; g.FileOffset != first.DataPageOffset && g.FileOffset != first.DictionaryPageOffset {
					t.Errorf("row group's offset %d is not its first page's", g.FileOffset)
				}
			}
			if !slices.Equal(starts, splits) {
				t.Errorf("split offsets %v, the file has %v", splits, starts)
			}
		})
	}
}

// A row with every nullable column NULL, alone and in every row.
func TestReadBackNulls(t *testing.T) {
	bare := writerstest.Bare()
	other := *bare
	other.EventTime++
	body, _ := encode(t, parquet.Config{}, bare, &other)
	_, got := readAll(t, body)
	for i, tx := range []*cardlake.Transaction{bare, &other} {
		if diff := cmp.Diff(want(tx), got[i]); diff != "" {
			t.Errorf("row %d (-want +got):\n%s", i, diff)
		}
	}
	nulls := 0
	for _, c := range cardlake.Transactions.Columns {
		if v, ok := got[0][c.Name]; c.Nullable && ok && v == nil {
			nulls++
		} else if c.Nullable {
			t.Errorf("%s is %v, want NULL", c.Name, v)
		}
	}
	if nulls == 0 {
		t.Error("no NULL was read")
	}
}

// The schema is what Iceberg asks for: field ids, repetition, INT64 decimals, UTC flags.
func TestSchema(t *testing.T) {
	body, _ := encode(t, parquet.Config{}, writerstest.New(1).Next())
	f, _ := readAll(t, body)
	elements := f.Metadata().Schema[1:]
	for i, c := range cardlake.Transactions.Columns {
		e := elements[i]
		if e.Name != c.Name || int(e.FieldID) != c.ID {
			t.Errorf("column %d is %s with id %d, want %s with %d", i, e.Name, e.FieldID, c.Name, c.ID)
		}
		if isOptional := e.RepetitionType.V == format.Optional; isOptional != c.Nullable {
			t.Errorf("%s: optional %t, want %t", c.Name, isOptional, c.Nullable)
		}
		physical, logical := format.ByteArray, ""
		switch c.Type {
		case cardlake.String:
			logical = "STRING"
		case cardlake.Timestamp:
			physical, logical = format.Int64, "TIMESTAMP(isAdjustedToUTC=false,unit=MICROS)"
		case cardlake.TimestampTZ:
			physical, logical = format.Int64, "TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)"
		case cardlake.Decimal18x4:
			physical, logical = format.Int64, "DECIMAL(18,4)"
		case cardlake.Bool:
			physical = format.Boolean
		case cardlake.Int32:
			physical = format.Int32
		case cardlake.Int64:
			physical = format.Int64
		}
		if l := e.LogicalType; e.Type.V != physical || l.String() != logical {
			t.Errorf("%s: %v %q, want %v %q", c.Name, e.Type.V, l.String(), physical, logical)
		}
	}
	group := f.Metadata().RowGroups[0]
	if s := group.SortingColumns; len(s) != 1 || cardlake.Transactions.Columns[s[0].ColumnIdx].Name != "event_time" || s[0].Descending {
		t.Errorf("sorting columns %+v", s)
	}
}

// Minima and maxima must not show what the columns' tags protect; those that are there must
// be right.
func TestStatistics(t *testing.T) {
	txs := writerstest.New(3).Take(3000)
	body, _ := encode(t, parquet.Config{}, txs...)
	f, _ := readAll(t, body)
	var with []string
	for i, c := range f.Metadata().RowGroups[0].Columns {
		s, column := c.MetaData.Statistics, cardlake.Transactions.Columns[i]
		if s.MinValue == nil && s.MaxValue == nil && s.Min == nil && s.Max == nil {
			continue
		}
		with = append(with, column.Name)
		if column.Tag != cardlake.Public {
			t.Errorf("column %s, tagged %s, has statistics", column.Name, column.Tag)
		}
	}
	for _, name := range []string{"event_time", "ingested_at", "local_time", "mcc", "tenant", "currency"} {
		if !slices.Contains(with, name) {
			t.Errorf("column %s has no statistics", name)
		}
	}
	for _, name := range []string{"event_id", "card_token", "bin", "last4", "rrn", "merchant_id", "merchant_name"} {
		if slices.Contains(with, name) {
			t.Errorf("column %s has statistics", name)
		}
	}
	for name, of := range map[string]func(*cardlake.Transaction) string{
		"mcc":            func(tx *cardlake.Transaction) string { return tx.MCC },
		"decline_reason": func(tx *cardlake.Transaction) string { return tx.DeclineReason },
	} {
		var values []string
		for _, tx := range txs {
			if v := of(tx); v != "" {
				values = append(values, v)
			}
		}
		i := slices.IndexFunc(cardlake.Transactions.Columns, func(c cardlake.Column) bool { return c.Name == name })
		s := f.Metadata().RowGroups[0].Columns[i].MetaData.Statistics
		if nulls := int64(len(txs) - len(values)); string(s.MinValue) != slices.Min(values) || string(s.MaxValue) != slices.Max(values) || s.NullCount != nulls {
			t.Errorf("%s: %s to %s, %d nulls, want %s to %s, %d", name, s.MinValue, s.MaxValue, s.NullCount, slices.Min(values), slices.Max(values), nulls)
		}
	}
}

func TestEncoderIsReusable(t *testing.T) {
	e := parquet.NewEncoder(cardlake.Transactions, parquet.Config{})
	b := cardlake.NewBatch()
	for round := range 3 {
		b.Reset()
		txs := writerstest.New(uint64(round)).Take(100 * (3 - round))
		for _, tx := range txs {
			if err := b.Append(tx); err != nil {
				t.Fatal(err)
			}
		}
		rec, err := b.Record()
		if err != nil {
			t.Fatal(err)
		}
		body, _, err := e.Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		_, got := readAll(t, body)
		slices.SortStableFunc(txs, func(a, b *cardlake.Transaction) int { return int(a.EventTime - b.EventTime) })
		for i, tx := range txs {
			if diff := cmp.Diff(want(tx), got[i]); diff != "" {
				t.Fatalf("round %d, row %d (-want +got):\n%s", round, i, diff)
			}
		}
	}
}

func TestRejected(t *testing.T) {
	b := cardlake.NewRejectedBatch()
	r := &cardlake.RejectedRecord{RejectedAt: 2_000_000, Reason: "undecodable", Detail: "schema id", RecordTime: 1, Payload: []byte{0, 255, 1},
		Position: cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards", Partition: 3}, Offset: 9}}
	if err := b.Append(r); err != nil {
		t.Fatal(err)
	}
	r.RejectedAt, r.Detail, r.Payload = 1_000_000, "", nil
	if err := b.Append(r); err != nil {
		t.Fatal(err)
	}
	rec, err := b.Record()
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := parquet.NewEncoder(cardlake.Rejected, parquet.Config{}).Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	_, got := readAll(t, body)
	want := []map[string]any{
		{"rejected_at": int64(1_000_000), "reason": "undecodable", "detail": nil, "stream": "cards", "stream_partition": int32(3), "stream_offset": int64(9), "record_time": int64(1), "payload": ""},
		{"rejected_at": int64(2_000_000), "reason": "undecodable", "detail": "schema id", "stream": "cards", "stream_partition": int32(3), "stream_offset": int64(9), "record_time": int64(1), "payload": "\x00\xff\x01"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEncodeRefusesOtherTables(t *testing.T) {
	rec, err := cardlake.NewRejectedBatch().Record()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := parquet.NewEncoder(cardlake.Transactions, parquet.Config{}).Encode(rec); err == nil {
		t.Error("a record of another table was encoded")
	}
}

func TestEventIDs(t *testing.T) {
	txs := writerstest.New(5).Take(30_000)
	body, _ := encode(t, parquet.Config{RowGroupRows: 8000}, txs...)
	slices.SortStableFunc(txs, func(a, b *cardlake.Transaction) int { return int(a.EventTime - b.EventTime) })
	type event struct {
		ID   cardlake.EventID
		Time int64
	}
	for _, since := range []int64{0, txs[100].EventTime, txs[7999].EventTime, txs[20_000].EventTime, txs[len(txs)-1].EventTime, txs[len(txs)-1].EventTime + 1} {
		var got, want []event
		if err := parquet.EventIDs(body, since, func(id cardlake.EventID, at int64) bool {
			got = append(got, event{id, at})
			return true
		}); err != nil {
			t.Fatal(err)
		}
		for _, tx := range txs {
			if tx.EventTime >= since {
				want = append(want, event{tx.EventID, tx.EventTime})
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("since %d: %d events, want %d", since, len(got), len(want))
		}
	}
	n := 0
	if err := parquet.EventIDs(body, 0, func(cardlake.EventID, int64) bool { n++; return n < 10 }); err != nil || n != 10 {
		t.Errorf("stopped after %d events, %v", n, err)
	}
}

func TestEventIDsRefusesOtherFiles(t *testing.T) {
	rec, err := cardlake.NewRejectedBatch().Record()
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := parquet.NewEncoder(cardlake.Rejected, parquet.Config{}).Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{nil, []byte("PAR1"), body} {
		if err := parquet.EventIDs(b, 0, func(cardlake.EventID, int64) bool { return true }); err == nil {
			t.Errorf("%d bytes that are no transactions were read", len(b))
		}
	}
}

// Whatever a file holds, reading ends in events or an error, not in a panic.
func FuzzEventIDs(f *testing.F) {
	body, _ := encode(f, parquet.Config{}, writerstest.New(7).Take(2)...)
	f.Add(body)
	f.Add(body[:len(body)/2])
	f.Add([]byte("PAR1\x00\x00\x00\x00PAR1"))
	f.Fuzz(func(t *testing.T, body []byte) {
		_ = parquet.EventIDs(body, 0, func(cardlake.EventID, int64) bool { return true })
	})
}
