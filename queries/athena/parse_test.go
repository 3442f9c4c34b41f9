package athena

import (
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/parquet-go/parquet-go"
)

var stamps = []arrow.DataType{&arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}}

func TestTextsThatAreNone(t *testing.T) {
	for _, tc := range []struct {
		typ  arrow.DataType
		text string
	}{
		{arrow.FixedWidthTypes.Boolean, "TRUE"}, {arrow.PrimitiveTypes.Int8, "128"}, {arrow.PrimitiveTypes.Int64, "1.0"}, {arrow.PrimitiveTypes.Float64, "one"},
		{&arrow.Decimal128Type{Precision: 4, Scale: 2}, "1.234"}, {&arrow.Decimal128Type{Precision: 4, Scale: 2}, "100.00"}, {&arrow.Decimal128Type{Precision: 4, Scale: 2}, "1.-1"},
		{&arrow.Decimal128Type{Precision: 38}, strings.Repeat("9", 39)}, {&arrow.Decimal128Type{Precision: 4, Scale: 2}, ""}, {&arrow.Decimal128Type{Precision: 4}, "1_0"},
		{arrow.BinaryTypes.Binary, "6"}, {arrow.FixedWidthTypes.Date32, "2026-02-30"}, {stamps[0], "2026-03-01"}, {stamps[0], "2026-03-01 00:00:00 UTC"},
		{stamps[1], "2026-03-01 00:00:00"}, {stamps[1], "2026-11-01 01:30:00 America/New_York"}, {stamps[1], ""},
	} {
		c, ok := columnOf(tc.typ)
		if !ok {
			t.Fatalf("%s is not known", tc.typ)
		}
		if v, err := c.fromText(tc.text); err == nil {
			t.Errorf("%s %q gives %v", tc.typ, tc.text, v)
		}
	}
	if _, ok := columnOf(arrow.ListOf(arrow.BinaryTypes.String)); ok {
		t.Error("a list is read as text")
	}
}

func TestDecimalsOfParquet(t *testing.T) {
	for _, tc := range []struct {
		v    parquet.Value
		want int64
	}{
		{parquet.ValueOf(int32(-5)), -5}, {parquet.ValueOf(int64(1) << 40), 1 << 40}, {parquet.FixedLenByteArrayValue([]byte{0xff, 0xfe}), -2},
		{parquet.FixedLenByteArrayValue([]byte{0, 0x80}), 128}, {parquet.ByteArrayValue(nil), 0},
	} {
		if got, err := unscaled(tc.v, 20); err != nil || got != decimal128.FromI64(tc.want) {
			t.Errorf("%v gives %v, %v", tc.v, got, err)
		}
	}
	if _, err := unscaled(parquet.FixedLenByteArrayValue(append([]byte{0x7f}, make([]byte, 16)...)), 38); err == nil {
		t.Error("a number of 135 bits fits")
	}
}

func TestPrice(t *testing.T) {
	for scanned, want := range map[int64]int64{0: 0, 1: 47_683, 10 << 20: 47_683, 10<<20 + 1: 52_452, 1 << 40: 5_000_000_000, 1 << 50: 5_120_000_000_000} {
		if got := price(scanned, 5_000_000); got != want {
			t.Errorf("%d bytes cost %d, want %d", scanned, got, want)
		}
	}
}

func TestPlaceOf(t *testing.T) {
	for _, tc := range []struct {
		sql, name string
		want      int
	}{
		{"SELECT a, ab FROM t", "ab", 10}, {"SELECT ab, ab", "ab", -1}, {"SELECT abc", "ab", -1}, {"SELECT x", "", -1}, {"SELECT ñab, AB", "ab", 13}, {"", "x", -1},
	} {
		if got := placeOf(tc.sql, tc.name); got != tc.want {
			t.Errorf("%q in %q is at %d, want %d", tc.name, tc.sql, got, tc.want)
		}
	}
}

// FuzzText: whatever Athena says, a value is of its type or there is an error that does not quote
// it.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "true", "-1", "1.5", "NaN", "99999999999999999999", "2026-03-01 10:00:00.123456 UTC", "2026-03-01 10:00:00 +05:30", "68 65 6c", "2026-03-01"} {
		f.Add(s)
	}
	all := append([]arrow.DataType{
		arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64,
		&arrow.Decimal128Type{Precision: 18, Scale: 4}, &arrow.Decimal128Type{Precision: 38}, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, arrow.FixedWidthTypes.Date32,
	}, stamps...)
	f.Fuzz(func(t *testing.T, s string) {
		for _, typ := range all {
			c, _ := columnOf(typ)
			v, err := c.fromText(s)
			if (v == nil) == (err == nil) {
				t.Fatalf("%s: %v, %v", typ, v, err)
			}
			if err != nil && err != errValue {
				t.Fatalf("%s: %v", typ, err)
			}
			if at, ok := v.(time.Time); ok && at.Location() != time.UTC {
				t.Fatalf("%s: %v", typ, at)
			}
			if d, ok := v.(decimal128.Num); ok && !d.FitsInPrecision(typ.(*arrow.Decimal128Type).Precision) {
				t.Fatalf("%s: %v", typ, d)
			}
		}
	})
}
