package queries

import (
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// AppendValue appends a value of a [Column] to the builder of its type.
func AppendValue(b array.Builder, v any) error {
	if v == nil {
		b.AppendNull()
		return nil
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		return appendTo(b.Append, v)
	case *array.Int8Builder:
		return appendTo(b.Append, v)
	case *array.Int16Builder:
		return appendTo(b.Append, v)
	case *array.Int32Builder:
		return appendTo(b.Append, v)
	case *array.Int64Builder:
		return appendTo(b.Append, v)
	case *array.Uint8Builder:
		return appendTo(b.Append, v)
	case *array.Uint16Builder:
		return appendTo(b.Append, v)
	case *array.Uint32Builder:
		return appendTo(b.Append, v)
	case *array.Uint64Builder:
		return appendTo(b.Append, v)
	case *array.Float32Builder:
		return appendTo(b.Append, v)
	case *array.Float64Builder:
		return appendTo(b.Append, v)
	case *array.Decimal128Builder:
		return appendTo(b.Append, v)
	case *array.StringBuilder:
		return appendTo(b.Append, v)
	case *array.BinaryBuilder:
		return appendTo(b.Append, v)
	case *array.MonthDayNanoIntervalBuilder:
		return appendTo(b.Append, v)
	case *array.Date32Builder:
		return appendTo(func(t time.Time) { b.Append(arrow.Date32FromTime(t)) }, v)
	case *array.Time64Builder:
		return appendTo(func(t time.Time) {
			midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
			b.Append(arrow.Time64(t.Sub(midnight).Microseconds()))
		}, v)
	case *array.TimestampBuilder:
		t, ok := v.(time.Time)
		if !ok {
			return fmt.Errorf("value is a %T", v)
		}
		ts, err := arrow.TimestampFromTime(t, b.Type().(*arrow.TimestampType).Unit)
		if err != nil {
			return err
		}
		b.Append(ts)
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("value is a %T", v)
	}
	return appendNestedValue(b, list)
}

func appendTo[T any](add func(T), v any) error {
	t, ok := v.(T)
	if !ok {
		return fmt.Errorf("value is a %T", v)
	}
	add(t)
	return nil
}

func appendNestedValue(b array.Builder, list []any) error {
	switch b := b.(type) {
	case *array.MapBuilder:
		b.Append(true)
		for _, e := range list {
			entry, ok := e.(Entry)
			if !ok {
				return fmt.Errorf("map element is a %T", e)
			}
			if err := AppendValue(b.KeyBuilder(), entry.Key); err != nil {
				return err
			}
			if err := AppendValue(b.ItemBuilder(), entry.Value); err != nil {
				return err
			}
		}
		return nil
	case *array.ListBuilder:
		b.Append(true)
		for _, e := range list {
			if err := AppendValue(b.ValueBuilder(), e); err != nil {
				return err
			}
		}
		return nil
	case *array.StructBuilder:
		b.Append(true)
		for i, e := range list {
			if err := AppendValue(b.FieldBuilder(i), e); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no builder for a value of type %s", b.Type())
}
