package cardlake

import (
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
)

// ArrowSchema returns the table's schema in Arrow: its columns in order, required or
// nullable, each with its Iceberg field id in the metadata under the key that Parquet
// libraries read it from.
func ArrowSchema(def *Table) *arrow.Schema {
	fields := make([]arrow.Field, len(def.Columns))
	for i, c := range def.Columns {
		fields[i] = arrow.Field{
			Name: c.Name, Type: c.Type.arrow(), Nullable: c.Nullable,
			Metadata: arrow.NewMetadata([]string{"PARQUET:field_id"}, []string{strconv.Itoa(c.ID)}),
		}
	}
	return arrow.NewSchema(fields, nil)
}

func (t Type) arrow() arrow.DataType {
	switch t {
	case Binary:
		return arrow.BinaryTypes.Binary
	case Bool:
		return arrow.FixedWidthTypes.Boolean
	case Int32:
		return arrow.PrimitiveTypes.Int32
	case Int64:
		return arrow.PrimitiveTypes.Int64
	case Timestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case TimestampTZ:
		return arrow.FixedWidthTypes.Timestamp_us
	case Decimal18x4:
		return &arrow.Decimal128Type{Precision: 18, Scale: 4}
	}
	return arrow.BinaryTypes.String
}

func dictionaryOf(values arrow.DataType) *arrow.DictionaryType {
	return &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: values}
}
