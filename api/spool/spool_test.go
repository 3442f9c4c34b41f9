package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/queries"
)

// fixed are rows made here.
type fixed struct {
	columns []queries.Column
	rows    [][]any
}

func (f *fixed) Columns() []queries.Column     { return f.columns }
func (f *fixed) Snapshots() []queries.Snapshot { return nil }
func (f *fixed) Close() error                  { return nil }

func (f *fixed) Next(row []any) error {
	if len(f.rows) == 0 {
		return io.EOF
	}
	copy(row, f.rows[0])
	f.rows = f.rows[1:]
	return nil
}

func filled(t *testing.T, f *fixed) *Spool {
	t.Helper()
	s, err := New(t.TempDir(), f.columns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Fill(t.Context(), f, func(int64, int64) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return s
}

func all(rows queries.Rows) (out [][]any, err error) {
	for {
		row := make([]any, len(rows.Columns()))
		if err := rows.Next(row); errors.Is(err, io.EOF) {
			return out, rows.Close()
		} else if err != nil {
			return out, err
		}
		out = append(out, row)
	}
}

// TestEveryType: what is read is what was kept.
func TestEveryType(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 30, 15, 123456000, time.UTC)
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	of := []struct {
		t arrow.DataType
		v any
	}{
		{arrow.FixedWidthTypes.Boolean, true}, {arrow.PrimitiveTypes.Int8, int8(-8)}, {arrow.PrimitiveTypes.Int16, int16(-16)},
		{arrow.PrimitiveTypes.Int32, int32(-32)}, {arrow.PrimitiveTypes.Int64, int64(-64)}, {arrow.PrimitiveTypes.Uint8, uint8(8)},
		{arrow.PrimitiveTypes.Uint16, uint16(16)}, {arrow.PrimitiveTypes.Uint32, uint32(32)}, {arrow.PrimitiveTypes.Uint64, uint64(64)},
		{arrow.PrimitiveTypes.Float32, float32(1.5)}, {arrow.PrimitiveTypes.Float64, 2.5},
		{&arrow.Decimal128Type{Precision: 18, Scale: 4}, decimal128.FromI64(123456)},
		{arrow.BinaryTypes.String, "a text"}, {arrow.BinaryTypes.Binary, []byte{0, 1, 2}},
		{arrow.FixedWidthTypes.Date32, day}, {arrow.FixedWidthTypes.Time64us, time.Date(1970, 1, 1, 12, 30, 15, 123456000, time.UTC)},
		{arrow.FixedWidthTypes.Timestamp_us, at}, {&arrow.TimestampType{Unit: arrow.Nanosecond}, at.Add(7)}, {&arrow.TimestampType{Unit: arrow.Second}, at.Truncate(time.Second)},
		{arrow.FixedWidthTypes.MonthDayNanoInterval, arrow.MonthDayNanoInterval{Months: 1, Days: 2, Nanoseconds: 3}},
		{arrow.ListOf(arrow.PrimitiveTypes.Int64), []any{int64(1), nil, int64(3)}},
		{arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "b", Type: arrow.BinaryTypes.String, Nullable: true}), []any{int64(1), nil}},
		{arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64), []any{queries.Entry{Key: "k", Value: int64(1)}, queries.Entry{Key: "l", Value: nil}}},
		{arrow.Null, nil},
	}
	f := &fixed{rows: [][]any{{}, {}}}
	for i, one := range of {
		f.columns = append(f.columns, queries.Column{Name: fmt.Sprint("c", i%5), Type: one.t}) // names may repeat
		f.rows[0], f.rows[1] = append(f.rows[0], one.v), append(f.rows[1], nil)
	}
	want := f.rows
	s := filled(t, f)
	got, err := all(s.Read(0, 10))
	if d := cmp.Diff(want, got, cmp.AllowUnexported(decimal128.Num{})); d != "" || err != nil {
		t.Error(err, d)
	}
}

// TestSealed: no value lies in the file, the file has no name, and a byte that was changed or a
// chunk that was moved does not pass.
func TestSealed(t *testing.T) {
	f := &fixed{columns: []queries.Column{{Name: "text", Type: arrow.BinaryTypes.String}}}
	const n = 3*chunkRows + 5
	for i := range n {
		f.rows = append(f.rows, []any{fmt.Sprintf("marker-%d", i)})
	}
	s := filled(t, f)
	if s.Rows() != n || len(s.chunks) != 4 {
		t.Errorf("%d rows in %d chunks", s.Rows(), len(s.chunks))
	}
	for _, r := range [][2]int64{{0, 1}, {chunkRows - 1, chunkRows + 1}, {0, n}, {n - 1, n + 10}, {n, n + 1}} {
		rows, err := all(s.Read(r[0], r[1]))
		want := max(0, min(r[1], n)-r[0])
		if err != nil || int64(len(rows)) != want || want > 0 && rows[0][0] != fmt.Sprintf("marker-%d", r[0]) {
			t.Errorf("%v: %d rows, %v", r, len(rows), err)
		}
	}
	text := make([]byte, s.Bytes())
	if _, err := s.file.ReadAt(text, 0); err != nil {
		t.Fatal(err)
	}
	for _, clear := range []string{"marker", "ARROW", "text"} {
		if bytes.Contains(text, []byte(clear)) {
			t.Errorf("%q lies in clear", clear)
		}
	}
	if _, err := os.Stat(s.file.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file has a name: %v", err)
	}
	for _, at := range []int64{0, 100, s.chunks[1].offset - 1} {
		if _, err := s.file.WriteAt([]byte{text[at] ^ 1}, at); err != nil {
			t.Fatal(err)
		}
		if _, err := all(s.Read(0, 1)); err == nil || strings.Contains(err.Error(), "marker") {
			t.Errorf("byte %d was changed: %v", at, err)
		}
		if _, err := s.file.WriteAt(text[at:at+1], at); err != nil {
			t.Fatal(err)
		}
	}
	s.chunks[0].offset, s.chunks[0].size, s.chunks[1].offset, s.chunks[1].size = s.chunks[1].offset, s.chunks[1].size, s.chunks[0].offset, s.chunks[0].size
	if _, err := all(s.Read(0, 1)); err == nil {
		t.Error("a chunk was moved")
	}
}

// TestClose lets the rows go under who reads them.
func TestClose(t *testing.T) {
	s := filled(t, &fixed{columns: []queries.Column{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, rows: [][]any{{int64(1)}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := all(s.Read(0, 1)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := s.Fill(t.Context(), &fixed{columns: s.columns, rows: [][]any{{int64(1)}}}, nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	full := errors.New("full")
	s, err := New(t.TempDir(), s.columns)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Fill(t.Context(), &fixed{columns: s.columns, rows: [][]any{{int64(1)}}}, func(int64, int64) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
}
