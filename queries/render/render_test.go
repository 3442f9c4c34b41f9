package render

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/queries"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fixed is an answer that is there already.
type fixed struct {
	columns []queries.Column
	rows    [][]any
	next    int
}

func (f *fixed) Columns() []queries.Column     { return f.columns }
func (f *fixed) Snapshots() []queries.Snapshot { return nil }
func (f *fixed) Close() error                  { return nil }
func (f *fixed) Next(row []any) error {
	if f.next == len(f.rows) {
		return io.EOF
	}
	copy(row, f.rows[f.next])
	f.next++
	return nil
}

// sample has every type, NULL, and text that is trouble in one format or another.
func sample(withInterval bool) *fixed {
	at := time.Date(2026, 3, 1, 10, 20, 30, 123456000, time.UTC)
	f := &fixed{}
	add := func(name string, t arrow.DataType, values ...any) {
		f.columns = append(f.columns, queries.Column{Name: name, Type: t})
		for i, v := range values {
			if i == len(f.rows) {
				f.rows = append(f.rows, nil)
			}
			f.rows[i] = append(f.rows[i], v)
		}
	}
	money := &arrow.Decimal128Type{Precision: 18, Scale: 4}
	add("s", arrow.BinaryTypes.String, "São, \"João\"\r\n<b>", "", nil)
	add("s", arrow.BinaryTypes.String, "\x1b[31mred\u202e", "plain", nil)
	add("ok", arrow.FixedWidthTypes.Boolean, true, false, nil)
	add("i8", arrow.PrimitiveTypes.Int8, int8(-8), int8(8), nil)
	add("i16", arrow.PrimitiveTypes.Int16, int16(-16), int16(16), nil)
	add("i32", arrow.PrimitiveTypes.Int32, int32(-32), int32(32), nil)
	add("i64", arrow.PrimitiveTypes.Int64, int64(math.MinInt64), int64(math.MaxInt64), nil)
	add("u8", arrow.PrimitiveTypes.Uint8, uint8(8), uint8(255), nil)
	add("u16", arrow.PrimitiveTypes.Uint16, uint16(16), uint16(0), nil)
	add("u32", arrow.PrimitiveTypes.Uint32, uint32(32), uint32(0), nil)
	add("u64", arrow.PrimitiveTypes.Uint64, uint64(math.MaxUint64), uint64(0), nil)
	add("f32", arrow.PrimitiveTypes.Float32, float32(0.5), float32(math.Inf(1)), nil)
	add("f64", arrow.PrimitiveTypes.Float64, 1e-9, math.NaN(), nil)
	add("amount", money, decimal128.FromI64(125000), decimal128.FromI64(-1), nil)
	add("huge", &arrow.Decimal128Type{Precision: 38}, decimal128.FromI64(1), decimal128.FromI64(-1), nil)
	add("bytes", arrow.BinaryTypes.Binary, []byte{0, 255}, []byte{}, nil)
	add("day", arrow.FixedWidthTypes.Date32, at.Truncate(24*time.Hour), at.Truncate(24*time.Hour), nil)
	add("time", arrow.FixedWidthTypes.Time64us, at, at.Truncate(24*time.Hour), nil)
	add("instant", arrow.FixedWidthTypes.Timestamp_us, at, at.Truncate(time.Second), nil)
	add("wall", &arrow.TimestampType{Unit: arrow.Microsecond}, at, at.Truncate(time.Second), nil)
	add("list", arrow.ListOf(money), []any{decimal128.FromI64(1), nil}, []any{}, nil)
	add("struct", arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, arrow.Field{Name: "t", Type: arrow.FixedWidthTypes.Timestamp_us, Nullable: true}),
		[]any{int32(1), at}, []any{nil, nil}, nil)
	add("map", arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64), []any{queries.Entry{Key: "k", Value: int64(1)}}, []any{}, nil)
	add("intmap", arrow.MapOf(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String), []any{queries.Entry{Key: int32(1), Value: "v"}}, []any{}, nil)
	if withInterval {
		add("interval", arrow.FixedWidthTypes.MonthDayNanoInterval,
			arrow.MonthDayNanoInterval{Months: 1, Days: -2, Nanoseconds: 3_500_000_000}, arrow.MonthDayNanoInterval{Nanoseconds: -500_000_000}, nil)
	}
	return f
}

func TestTextFormats(t *testing.T) {
	for name, format := range map[string]Format{"csv": CSV, "json": JSON, "table": Table} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := format(t.Context(), &out, sample(true)); err != nil {
				t.Fatal(err)
			}
			golden := "testdata/sample." + name
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCSVReadsBack(t *testing.T) {
	var out bytes.Buffer
	if err := CSV(t.Context(), &out, sample(true)); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	// The reader turns CRLF within quotes into LF.
	if got, want := records[1][0], "São, \"João\"\n<b>"; len(records) != 4 || got != want {
		t.Errorf("%d records, first field %q, want %q", len(records), got, want)
	}
}

func TestJSONReadsBack(t *testing.T) {
	for _, rows := range []*fixed{sample(true), {columns: sample(true).columns}} {
		var out bytes.Buffer
		if err := JSON(t.Context(), &out, rows); err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(&out)
		dec.UseNumber()
		var got []map[string]any
		if err := dec.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(rows.rows) {
			t.Fatalf("%d rows, want %d", len(got), len(rows.rows))
		}
		if len(got) > 0 && (got[0]["i64"] != json.Number("-9223372036854775808") || got[0]["s_2"] != "\x1b[31mred\u202e" || len(got[0]) != len(rows.columns)) {
			t.Errorf("got %v", got[0])
		}
	}
}

func TestArrowReadsBack(t *testing.T) {
	var out bytes.Buffer
	if err := Arrow(t.Context(), &out, sample(true)); err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if !r.Next() {
		t.Fatal(r.Err())
	}
	compare(t, r.RecordBatch(), sample(true))
}

func TestParquetReadsBack(t *testing.T) {
	var out bytes.Buffer
	if err := Parquet(t.Context(), &out, sample(false)); err != nil {
		t.Fatal(err)
	}
	pf, err := file.NewParquetReader(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	tbl, err := r.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tbl.Release()
	batches := array.NewTableReader(tbl, -1)
	defer batches.Release()
	if !batches.Next() {
		t.Fatal("no rows")
	}
	compare(t, batches.RecordBatch(), sample(false))

	var fault *queries.Error
	if err := Parquet(t.Context(), io.Discard, sample(true)); !errors.As(err, &fault) {
		t.Errorf("an interval gives %v", err)
	}
}

// compare checks a batch's values by the text Arrow prints for them.
func compare(t *testing.T, batch arrow.RecordBatch, want *fixed) {
	t.Helper()
	if batch.NumRows() != 3 || int(batch.NumCols()) != len(want.columns) {
		t.Fatalf("%d rows of %d columns", batch.NumRows(), batch.NumCols())
	}
	schema := schemaOf(want.columns)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, row := range want.rows {
		for i, v := range row {
			if err := queries.AppendValue(b.Field(i), v); err != nil {
				t.Fatal(err)
			}
		}
	}
	expected := b.NewRecordBatch()
	defer expected.Release()
	for i, c := range want.columns {
		if got, want := batch.Column(i).String(), expected.Column(i).String(); got != want {
			t.Errorf("column %s: got %s, want %s", c.Name, got, want)
		}
		if !arrow.TypeEqual(batch.Schema().Field(i).Type, c.Type) {
			t.Errorf("column %s has type %s, want %s", c.Name, batch.Schema().Field(i).Type, c.Type)
		}
	}
	// One value of each kind against the Go value, not against our own builder.
	if got := batch.Column(13).(*array.Decimal128).Value(0); got != decimal128.FromI64(125000) {
		t.Errorf("amount is %v", got)
	}
	if got := batch.Column(17).(*array.Time64).Value(0); got != 37_230_123_456 {
		t.Errorf("time is %v", got)
	}
	if got := batch.Column(18).(*array.Timestamp).Value(0); got != arrow.Timestamp(time.Date(2026, 3, 1, 10, 20, 30, 123456000, time.UTC).UnixMicro()) {
		t.Errorf("instant is %v", got)
	}
}

func TestNoRows(t *testing.T) {
	for _, name := range Names() {
		format, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := format(t.Context(), &out, &fixed{columns: sample(false).columns}); err != nil || out.Len() == 0 {
			t.Errorf("%s wrote %d bytes, error %v", name, out.Len(), err)
		}
	}
	if _, err := ByName("xml"); err == nil {
		t.Error("xml is a format")
	}
}

func TestManyRows(t *testing.T) {
	f := &fixed{columns: []queries.Column{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "s", Type: arrow.BinaryTypes.String}}}
	const n = 2*batchRows + 7
	for i := range n {
		f.rows = append(f.rows, []any{int64(i), fmt.Sprint(i)})
	}
	var out bytes.Buffer
	if err := Arrow(t.Context(), &out, f); err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	var got int64
	for r.Next() {
		if first := r.RecordBatch().Column(0).(*array.Int64).Value(0); first != got {
			t.Errorf("a batch begins with %d, want %d", first, got)
		}
		got += r.RecordBatch().NumRows()
	}
	if got != n {
		t.Errorf("%d rows, want %d", got, n)
	}

	f.next = 0
	out.Reset()
	if err := Table(t.Context(), &out, f); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); lines != n+2 {
		t.Errorf("the table has %d lines, want %d", lines, n+2)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range Names() {
		format, _ := ByName(name)
		if err := format(ctx, io.Discard, sample(false)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
