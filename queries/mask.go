package queries

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Masks are written in SQL that DuckDB and Trino read alike: CASE, length, substr, concat, abs
// and mod, with types by the names that both have. [MaskValue] gives the same values in Go, for
// doors that hand out rows without an engine.

// ColumnSQL returns the expression by which an engine's view gives the column, which it reads
// by its own name: the column itself, its mask, or NULL of its type.
func ColumnSQL(c cardlake.Column, a grants.Access) string {
	switch a {
	case grants.Clear:
		return quoteName(c.Name)
	case grants.Masked:
		return MaskSQL(c)
	}
	return "CAST(NULL AS " + TypeSQL(c.Type) + ")"
}

// MaskSQL returns the expression of the column's mask (grants.MaskOf), of the column's type.
func MaskSQL(c cardlake.Column) string {
	name := quoteName(c.Name)
	switch grants.MaskOf(c) {
	case grants.MaskTail:
		rest := "CAST(NULL AS VARCHAR)"
		if !c.Nullable {
			rest = "CASE WHEN " + name + " IS NOT NULL THEN '' END"
		}
		return fmt.Sprintf("CASE WHEN length(%[1]s) > %[2]d THEN concat('%[3]s', substr(%[1]s, length(%[1]s) - %[4]d)) ELSE %[5]s END",
			name, tailAbove, tailMark, tailLength-1, rest)
	case grants.MaskMagnitude:
		var b strings.Builder
		fmt.Fprintf(&b, "CAST(%[1]s - mod(%[1]s, CASE", name)
		for digits := maxDigits; digits > 1; digits-- {
			power := decimal128.FromI64(powerOfTen(digits - 1)).ToString(amountScale)
			fmt.Fprintf(&b, " WHEN abs(%s) >= %s THEN %s", name, power, power)
		}
		fmt.Fprintf(&b, " ELSE 0.0001 END) AS %s)", TypeSQL(c.Type))
		return b.String()
	}
	if c.Nullable {
		return "CAST(NULL AS " + TypeSQL(c.Type) + ")"
	}
	return "CASE WHEN " + name + " IS NOT NULL THEN CAST(" + emptySQL(c.Type) + " AS " + TypeSQL(c.Type) + ") END"
}

const (
	tailAbove   = 8 // characters that a value must have more of
	tailLength  = 4
	tailMark    = "…"
	maxDigits   = 18 // of a decimal(18,4)
	amountScale = 4
)

// MaskValue returns the value as the column's mask gives it. Values are those of [Column]; a
// value of another type than the column's gives nil.
func MaskValue(c cardlake.Column, v any) any {
	if v == nil {
		return nil
	}
	switch grants.MaskOf(c) {
	case grants.MaskTail:
		s, ok := v.(string)
		if n := utf8.RuneCountInString(s); ok && n > tailAbove {
			return tailMark + string([]rune(s)[n-tailLength:])
		}
	case grants.MaskMagnitude:
		d, ok := v.(decimal128.Num)
		if !ok || !d.FitsInPrecision(maxDigits) {
			return nil
		}
		amount := int64(d.LowBits())
		power := int64(1)
		for p := power; abs(amount)/p >= 10; {
			p *= 10
			power = p
		}
		return decimal128.FromI64(amount - amount%power)
	}
	if c.Nullable {
		return nil
	}
	return emptyValue(c.Type)
}

func abs(n int64) int64 { return max(n, -n) }

func powerOfTen(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// TypeSQL is the SQL name of a column type.
func TypeSQL(t cardlake.Type) string {
	switch t {
	case cardlake.String:
		return "VARCHAR"
	case cardlake.Binary:
		return "VARBINARY"
	case cardlake.Bool:
		return "BOOLEAN"
	case cardlake.Int32:
		return "INTEGER"
	case cardlake.Int64:
		return "BIGINT"
	case cardlake.Timestamp:
		return "TIMESTAMP"
	case cardlake.TimestampTZ:
		return "TIMESTAMP WITH TIME ZONE"
	case cardlake.Decimal18x4:
		return "DECIMAL(18,4)"
	}
	panic("queries: no SQL type for " + t.String())
}

// emptySQL and emptyValue are the value that stands for none where a column must have one.
func emptySQL(t cardlake.Type) string {
	switch t {
	case cardlake.Bool:
		return "FALSE"
	case cardlake.Int32, cardlake.Int64, cardlake.Decimal18x4:
		return "0"
	case cardlake.Timestamp:
		return "'1970-01-01 00:00:00'"
	case cardlake.TimestampTZ:
		return "'1970-01-01 00:00:00 UTC'"
	}
	return "''"
}

func emptyValue(t cardlake.Type) any {
	switch t {
	case cardlake.Binary:
		return []byte{}
	case cardlake.Bool:
		return false
	case cardlake.Int32:
		return int32(0)
	case cardlake.Int64:
		return int64(0)
	case cardlake.Decimal18x4:
		return decimal128.Num{}
	case cardlake.Timestamp, cardlake.TimestampTZ:
		return time.Unix(0, 0).UTC()
	}
	return ""
}

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
