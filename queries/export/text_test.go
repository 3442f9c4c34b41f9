package export

import (
	"bytes"
	"context"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/render"
)

// answer is rows made by hand.
type answer struct {
	columns []queries.Column
	rows    [][]any
}

func (a *answer) Columns() []queries.Column     { return a.columns }
func (a *answer) Snapshots() []queries.Snapshot { return nil }
func (a *answer) Close() error                  { return nil }
func (a *answer) Next(row []any) error {
	if len(a.rows) == 0 {
		return io.EOF
	}
	copy(row, a.rows[0])
	a.rows = a.rows[1:]
	return nil
}

var plainColumns = []queries.Column{
	{Name: "text", Type: arrow.BinaryTypes.String}, {Name: "=name", Type: arrow.BinaryTypes.String}, {Name: "text", Type: arrow.FixedWidthTypes.Boolean},
	{Name: "small", Type: arrow.PrimitiveTypes.Int32}, {Name: "large", Type: arrow.PrimitiveTypes.Int64},
	{Name: "money", Type: &arrow.Decimal128Type{Precision: 18, Scale: 4}}, {Name: "sum", Type: &arrow.Decimal128Type{Precision: 38, Scale: 4}},
	{Name: "count", Type: &arrow.Decimal128Type{Precision: 38, Scale: 0}}, {Name: "at", Type: arrow.FixedWidthTypes.Timestamp_us},
	{Name: "local", Type: &arrow.TimestampType{Unit: arrow.Microsecond}}, {Name: "day", Type: arrow.FixedWidthTypes.Date32},
}

func plainRows() *answer {
	at := time.Date(2026, 3, 1, 2, 3, 4, 56_000, time.UTC)
	a := &answer{columns: plainColumns}
	texts := []string{"", "plain", `quo"te`, "com,ma", "line\nbreak", "cr\rlf\n", "nul\x00\x01\x1f\x7f", "bad\xffutf8\xe2\x80", "São João €𝄞", "\u2028\u2029", "</script>&", `back\slash`, "\b\f\t",
		"=1+1", "-1", "@x", "[\n{", "},", "_x0041_"}
	for i, s := range texts {
		n := int64(i)*7_777_777 - 5
		a.rows = append(a.rows, []any{s, s, i%2 == 0, int32(n), n << 20, decimal128.FromI64(n), decimal128.FromI64(math.MinInt64 + n), decimal128.FromI64(-n), at.Add(time.Duration(n) * time.Microsecond), at, at.Truncate(24 * time.Hour)})
	}
	big, _ := decimal128.FromString("-123456789012345678901234567890.1234", 38, 4)
	a.rows = append(a.rows, make([]any, len(plainColumns)), []any{nil, "x", nil, int32(math.MinInt32), int64(math.MinInt64), decimal128.FromI64(-1), big, decimal128.FromI64(0), time.Unix(0, 0).UTC(), time.Unix(-1, 0).UTC(), time.Unix(0, 0).UTC()})
	return a
}

// TestTextIsAsRendered: what is written fast is what package render writes.
func TestTextIsAsRendered(t *testing.T) {
	nested := func() *answer {
		return &answer{columns: []queries.Column{{Name: "list", Type: arrow.ListOf(arrow.BinaryTypes.String)}, {Name: "f", Type: arrow.PrimitiveTypes.Float64}},
			rows: [][]any{{[]any{"a\n{", nil}, 1.5}, {nil, math.NaN()}}}
	}
	for name, rows := range map[string]func() *answer{"plain": plainRows, "nested": nested, "none": func() *answer { return &answer{columns: plainColumns} }} {
		t.Run(name, func(t *testing.T) {
			var want, got bytes.Buffer
			if err := render.CSV(t.Context(), &want, rows()); err != nil {
				t.Fatal(err)
			}
			if err := csvLines(t.Context(), &got, rows()); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want.String(), got.String()); d != "" {
				t.Errorf("csv: %s", d)
			}
			want.Reset()
			got.Reset()
			if err := nestedLines(t.Context(), &want, rows()); err != nil {
				t.Fatal(err)
			}
			if err := jsonLines(t.Context(), &got, rows()); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want.String(), got.String()); d != "" {
				t.Errorf("json lines: %s", d)
			}
			if n := strings.Count(got.String(), "\n"); n != len(rows().rows) {
				t.Errorf("%d lines of %d rows", n, len(rows().rows))
			}
		})
	}
}

// TestLinesInPieces: however the array is cut into writes, the lines are the same.
func TestLinesInPieces(t *testing.T) {
	var array, want bytes.Buffer
	if err := render.JSON(t.Context(), &array, plainRows()); err != nil {
		t.Fatal(err)
	}
	if err := nestedLines(t.Context(), &want, plainRows()); err != nil {
		t.Fatal(err)
	}
	for size := 1; size < 50; size++ {
		var got bytes.Buffer
		l := &lines{w: &got}
		for rest := array.Bytes(); len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := l.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := l.end(); err != nil || got.String() != want.String() {
			t.Fatalf("in pieces of %d: %v", size, err)
		}
	}
}

// TestFormulas: what a spreadsheet would take for a formula has an apostrophe, numbers and all
// else have none, and the raw text has none either.
func TestFormulas(t *testing.T) {
	for s, want := range map[string]bool{
		"=1+1": true, "+1": true, "-1": true, "@SUM(A1)": true, "\t=1": true, "\r=1": true, "\n=1": true, "＝1": true, "＋1": true, "－1": true, "＠a": true,
		"": false, "a=1": false, " =1": false, "'=1": false, "é": false, "1": false,
	} {
		if got := isFormula(s); got != want {
			t.Errorf("%q: %t", s, got)
		}
	}
	for s, want := range map[string]string{
		"": "", "acme": "acme", "=1": "'=1", "acme;=1": "acme;'=1", "a\n=1": "a\n'=1", "a\r\n+1": "a\r\n'+1", "a\t@b": "a\t'@b", "say \"=1\"": "say \"'=1\"",
		"a;;-1": "a;;'-1", "\n=1": "'\n'=1", "a;＝1": "a;'＝1", "a=1;b": "a=1;b", "a; b": "a; b", "é;é": "é;é", "\xff;\xff": "\xff;\xff",
	} {
		if got := guarded(s); got != want {
			t.Errorf("%q is guarded as %q, want %q", s, got, want)
		}
	}
	rows := plainRows()
	p := &part{columns: guardedNames(rows.columns), from: rows, guard: textColumns(rows.columns), isFull: func(int64) bool { return false }, tick: func() error { return nil }}
	var out bytes.Buffer
	if err := csvLines(context.Background(), &out, p); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.HasPrefix(text, "text,'=name,text,") || !strings.Contains(text, "'=1+1,'=1+1,") || strings.Contains(text, "\r\n=") || p.guarded != 6 {
		t.Errorf("%d texts were guarded: %s", p.guarded, text)
	}
}
