package insights

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// Unscaled is a decimal of four places times 10,000.
type Unscaled int64

// MostMoney is the greatest sum of money that a row takes, in whole units: a row with more is an
// error. A job that adds up without a bound stops there, and says so in its card.
const MostMoney = 99_999_999_999_999.0

const (
	// maxUnscaled is the greatest decimal(18,4).
	maxUnscaled = 999_999_999_999_999_999
	// maxCell bounds the bytes of a text.
	maxCell = 8 << 20
	// sheetRows and sheetBytes bound what a sheet holds in memory before it writes an object.
	sheetRows  = 512 << 10
	sheetBytes = 64 << 20
)

var (
	errMissing  = errors.New("is missing")
	errNumber   = errors.New("is not a number of at most 14 digits before the point")
	errLong     = errors.New("is longer than 8 MiB")
	errDisorder = errors.New("is before that of the row before")
)

// sheet collects rows of one table and writes them as objects, one or more for each UTC day,
// which the table does not name yet.
type sheet struct {
	table  *cardlake.Table
	store  objects.Store
	owner  keys.Owner
	folder string // data/<table>/<storage id>
	tenant cardlake.Tenant
	runID  string
	asOf   int64

	encoder  *parquet.Encoder
	builder  *array.RecordBuilder
	rows     int
	bytes    int
	min, max int64 // of the rows in the builder
	last     int64 // of the newest row
	total    int64
	files    []cardlake.DataFile
	digest   hash.Hash
	scratch  []byte
}

func newSheet(table *cardlake.Table, store objects.Store, tenant catalog.TenantRecord, runID string, asOf time.Time) *sheet {
	return &sheet{
		table: table, store: store, owner: keys.OwnerOf(tenant.StorageID),
		folder: "data/" + table.Name + "/" + string(tenant.StorageID), tenant: tenant.Name, runID: runID, asOf: asOf.UnixMicro(),
		encoder: parquet.NewEncoder(table, parquet.Config{}),
		builder: array.NewRecordBuilder(memory.DefaultAllocator, cardlake.ArrowSchema(table)),
		last:    math.MinInt64, digest: sha256.New(),
	}
}

// append adds a row; see [Task.Append].
func (s *sheet) append(ctx context.Context, values []any) error {
	given := 0
	for _, c := range s.table.Columns {
		if !isFilled(c.Name) {
			given++
		}
	}
	if len(values) != given {
		return fmt.Errorf("%d values for %d columns", len(values), given)
	}
	// All of the row is looked at before any of it is kept.
	s.scratch = s.scratch[:0]
	at, next := int64(0), 0
	row := make([]any, len(s.table.Columns))
	for i, c := range s.table.Columns {
		var v any
		switch c.Name {
		case "run_id":
			v = s.runID
		case "tenant":
			v = string(s.tenant)
		case "as_of":
			v = s.asOf
		default:
			v = values[next]
			next++
		}
		v, err := cell(c, v)
		if err != nil {
			return fmt.Errorf("column %s %w", c.Name, err)
		}
		if c.Name == s.table.Time {
			at = v.(int64)
		}
		row[i] = v
		s.scratch = appendCell(s.scratch, v)
	}
	if at < s.last {
		return fmt.Errorf("column %s %w", s.table.Time, errDisorder)
	}
	if s.rows > 0 && (cardlake.DayOf(at) != cardlake.DayOf(s.min) || s.rows >= sheetRows || s.bytes >= sheetBytes) {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	for i, v := range row {
		appendValue(s.builder.Field(i), v)
	}
	if s.rows == 0 {
		s.min = at
	}
	s.max, s.last = at, at
	s.rows++
	s.total++
	s.bytes += len(s.scratch)
	s.digest.Write(s.scratch)
	return nil
}

// isFilled reports whether the task fills the column in.
func isFilled(column string) bool {
	return column == "run_id" || column == "tenant" || column == "as_of"
}

// cell checks a value and brings it to what the column's builder takes: nil, string, bool,
// int32, int64 for integers, times and decimals.
func cell(c cardlake.Column, v any) (any, error) {
	if v == nil {
		if !c.Nullable {
			return nil, errMissing
		}
		return nil, nil
	}
	switch v := v.(type) {
	case string:
		if c.Type != cardlake.String {
			break
		}
		if len(v) > maxCell {
			return nil, errLong
		}
		if v == "" && !c.Nullable {
			return nil, errMissing
		}
		if v == "" {
			return nil, nil
		}
		return v, nil
	case bool:
		if c.Type == cardlake.Bool {
			return v, nil
		}
	case int32:
		if c.Type == cardlake.Int32 {
			return v, nil
		}
	case int64:
		if c.Type == cardlake.Int64 || c.Type == cardlake.TimestampTZ {
			return v, nil
		}
	case time.Time:
		if c.Type == cardlake.TimestampTZ {
			return v.UnixMicro(), nil
		}
	case Unscaled:
		if c.Type == cardlake.Decimal18x4 {
			if v > maxUnscaled || v < -maxUnscaled {
				return nil, errNumber
			}
			return int64(v), nil
		}
	case float64:
		if c.Type == cardlake.Decimal18x4 {
			x := math.RoundToEven(v * 10_000)
			if !(math.Abs(x) <= maxUnscaled) {
				return nil, errNumber
			}
			return int64(x), nil
		}
	}
	return nil, fmt.Errorf("is %s, and was given %T", c.Type, v)
}

// appendCell writes a value so that no two rows that differ are written alike.
func appendCell(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0)
	case string:
		return append(binary.AppendUvarint(append(b, 1), uint64(len(v))), v...)
	case bool:
		if v {
			return append(b, 2)
		}
		return append(b, 3)
	case int32:
		return binary.AppendVarint(append(b, 4), int64(v))
	default:
		return binary.AppendVarint(append(b, 5), v.(int64))
	}
}

func appendValue(to array.Builder, v any) {
	if v == nil {
		to.AppendNull()
		return
	}
	switch b := to.(type) {
	case *array.StringBuilder:
		b.Append(v.(string))
	case *array.BooleanBuilder:
		b.Append(v.(bool))
	case *array.Int32Builder:
		b.Append(v.(int32))
	case *array.Int64Builder:
		b.Append(v.(int64))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v.(int64)))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(v.(int64)))
	default:
		panic(fmt.Sprintf("insights: no rule for a column of %s", to.Type()))
	}
}

// flush writes the rows that are in memory as an object. A name that is taken belongs to an
// attempt whose fate nobody knows any more: it is left alone.
func (s *sheet) flush(ctx context.Context) error {
	if s.rows == 0 {
		return nil
	}
	record := s.builder.NewRecordBatch()
	defer record.Release()
	body, splits, err := s.encoder.Encode(record)
	if err != nil {
		return err
	}
	f := cardlake.DataFile{
		Tenant: s.tenant, Day: cardlake.DayOf(s.min), Rows: int64(s.rows), Bytes: int64(len(body)),
		MinTime: s.min, MaxTime: s.max, SplitOffsets: splits,
	}
	for attempt := 0; ; attempt++ {
		f.Name = s.folder + "/" + f.Day.String() + "/" + s.runID + "-" + strconv.Itoa(len(s.files)) + "-" + strconv.Itoa(attempt) + ".parquet"
		if err = s.store.Put(ctx, f.Name, s.owner, body); !errors.Is(err, objects.ErrExists) {
			break
		}
	}
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	s.rows, s.bytes = 0, 0
	return nil
}

// drop removes what was written, which the table does not name. What cannot be removed is left
// to maintenance.
func (s *sheet) drop(ctx context.Context) {
	for _, f := range s.files {
		s.store.Delete(ctx, f.Name)
	}
	s.files = nil
}
