package dialect

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
)

// kind is a DuckDB type without its parameters. Kinds of numbers are in order of width.
type kind int

const (
	null kind = iota
	boolean
	tinyint
	smallint
	integral // INTEGER
	bigint
	hugeint // decimal(38,0) to Trino, which has no wider integer
	decimal
	double
	varchar
	varbinary
	date
	timestamp
	timestamptz
	interval // never a value, only an operand
	array
)

// typ is a DuckDB type.
type typ struct {
	kind         kind
	width, scale int // of decimal
	element      *typ
}

func of(k kind) typ { return typ{kind: k} }

func decimalOf(width, scale int) typ { return typ{kind: decimal, width: width, scale: scale} }

func (t typ) isInteger() bool { return t.kind >= tinyint && t.kind <= hugeint }
func (t typ) isExact() bool   { return t.isInteger() || t.kind == decimal }
func (t typ) isNumber() bool  { return t.isExact() || t.kind == double }
func (t typ) isTime() bool    { return t.kind == date || t.kind == timestamp || t.kind == timestamptz }

func (t typ) equal(u typ) bool {
	if t.kind != u.kind || t.width != u.width || t.scale != u.scale {
		return false
	}
	return t.kind != array || t.element.equal(*u.element)
}

// digits is the type of a decimal that holds every integer of the type, or the decimal itself.
func (t typ) digits() typ {
	switch t.kind {
	case tinyint:
		return decimalOf(3, 0)
	case smallint:
		return decimalOf(5, 0)
	case integral:
		return decimalOf(10, 0)
	case bigint:
		return decimalOf(19, 0)
	case hugeint:
		return decimalOf(38, 0)
	case boolean, null:
		return decimalOf(1, 0)
	}
	return t
}

// sql is Trino's name of the type.
func (t typ) sql() string {
	switch t.kind {
	case boolean:
		return "BOOLEAN"
	case tinyint:
		return "TINYINT"
	case smallint:
		return "SMALLINT"
	case integral, null: // DuckDB answers a NULL of no type as an INTEGER
		return "INTEGER"
	case bigint:
		return "BIGINT"
	case hugeint:
		return "DECIMAL(38,0)"
	case decimal:
		return fmt.Sprintf("DECIMAL(%d,%d)", t.width, t.scale)
	case double:
		return "DOUBLE"
	case varchar:
		return "VARCHAR"
	case varbinary:
		return "VARBINARY"
	case date:
		return "DATE"
	case timestamp:
		return "TIMESTAMP(6)"
	case timestamptz:
		return "TIMESTAMP(6) WITH TIME ZONE"
	case array:
		return "ARRAY(" + t.element.sql() + ")"
	}
	panic(failure{fmt.Errorf("type %d has no name", t.kind)})
}

// String is DuckDB's name of the type, for messages.
func (t typ) String() string {
	switch t.kind {
	case null:
		return "NULL"
	case hugeint:
		return "HUGEINT"
	case varbinary:
		return "BLOB"
	case timestamp:
		return "TIMESTAMP"
	case timestamptz:
		return "TIMESTAMP WITH TIME ZONE"
	case interval:
		return "INTERVAL"
	case array:
		return t.element.String() + "[]"
	}
	return t.sql()
}

// arrow is the type in which queries/embedded answers a DuckDB type.
func (t typ) arrow() arrow.DataType {
	switch t.kind {
	case boolean:
		return arrow.FixedWidthTypes.Boolean
	case tinyint:
		return arrow.PrimitiveTypes.Int8
	case smallint:
		return arrow.PrimitiveTypes.Int16
	case integral, null:
		return arrow.PrimitiveTypes.Int32
	case bigint:
		return arrow.PrimitiveTypes.Int64
	case hugeint:
		return &arrow.Decimal128Type{Precision: 38}
	case decimal:
		return &arrow.Decimal128Type{Precision: int32(t.width), Scale: int32(t.scale)}
	case double:
		return arrow.PrimitiveTypes.Float64
	case varchar:
		return arrow.BinaryTypes.String
	case varbinary:
		return arrow.BinaryTypes.Binary
	case date:
		return arrow.FixedWidthTypes.Date32
	case timestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case timestamptz:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	case array:
		return arrow.ListOf(t.element.arrow())
	}
	panic(failure{fmt.Errorf("type %s has no values", t)})
}

// columnType is the type of a table's column.
func columnType(t cardlake.Type) typ {
	switch t {
	case cardlake.String:
		return of(varchar)
	case cardlake.Binary:
		return of(varbinary)
	case cardlake.Bool:
		return of(boolean)
	case cardlake.Int32:
		return of(integral)
	case cardlake.Int64:
		return of(bigint)
	case cardlake.Timestamp:
		return of(timestamp)
	case cardlake.TimestampTZ:
		return of(timestamptz)
	case cardlake.Decimal18x4:
		return decimalOf(18, 4)
	}
	panic(failure{fmt.Errorf("type %s is not known", t)})
}

// typeNamed is the type of a cast.
func typeNamed(n node, place node) typ {
	info := object(n["type_info"])
	switch id := text(n["id"]); id {
	case "BOOLEAN":
		return of(boolean)
	case "TINYINT":
		return of(tinyint)
	case "SMALLINT":
		return of(smallint)
	case "INTEGER":
		return of(integral)
	case "BIGINT":
		return of(bigint)
	case "HUGEINT":
		return of(hugeint)
	case "DOUBLE":
		return of(double)
	case "DECIMAL":
		width, hasWidth := integer(info["width"])
		scale, hasScale := integer(info["scale"])
		if !hasWidth || !hasScale {
			return decimalOf(18, 3) // DuckDB's DECIMAL
		}
		if width < 1 || width > 38 || scale < 0 || scale > width {
			refuse(place, "", "a decimal of %d digits, %d of them after the point, is not known", width, scale)
		}
		return decimalOf(int(width), int(scale))
	case "VARCHAR":
		return of(varchar)
	case "BLOB":
		return of(varbinary)
	case "DATE":
		return of(date)
	case "TIMESTAMP":
		return of(timestamp)
	case "TIMESTAMP WITH TIME ZONE":
		return of(timestamptz)
	case "INTERVAL":
		return of(interval)
	default:
		refuse(place, "use BOOLEAN, TINYINT to BIGINT, HUGEINT, DECIMAL, DOUBLE, VARCHAR, DATE, TIMESTAMP or TIMESTAMPTZ",
			"type %s is not portable to Trino", id)
	}
	return typ{}
}

// common returns the type that values of both have, as DuckDB finds it for CASE, IN, comparison
// and set operations, and false if there is none that both engines agree on. An integer literal
// takes the type of the other integer if it fits.
func common(a, b *expr) (typ, bool) {
	t, u := a.t, b.t
	switch {
	case t.kind == null:
		return u, true
	case u.kind == null || t.equal(u):
		return t, true
	case a.isLiteralText() && u.kind != interval:
		return u, true
	case b.isLiteralText() && t.kind != interval:
		return t, true
	case t.isInteger() && u.isInteger():
		if b.fits(t) && !a.isNumeral() {
			return t, true
		}
		if a.fits(u) && !b.isNumeral() {
			return u, true
		}
		return of(max(t.kind, u.kind)), true
	case t.isExact() && u.isExact():
		t, u = t.digits(), u.digits()
		scale := max(t.scale, u.scale)
		return decimalOf(min(max(t.width-t.scale, u.width-u.scale)+scale, 38), scale), true
	case t.isNumber() && u.isNumber():
		return of(double), true
	case t.isTime() && u.isTime():
		return of(max(t.kind, u.kind)), true
	}
	return typ{}, false
}
