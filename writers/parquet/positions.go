package parquet

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/cardlake/cardlake"
)

// Positions calls yield with the stream position of each row of a file that has the columns
// stream, stream_partition and stream_offset, until yield returns false. A file that is not
// sound gives an error, whatever is wrong with it.
func Positions(ctx context.Context, body []byte, yield func(cardlake.Position) bool) (err error) {
	defer recovered("read parquet", &err)
	r, err := file.NewParquetReader(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("read parquet: %w", err)
	}
	defer r.Close()
	var columns []int
	for _, name := range []string{"stream", "stream_partition", "stream_offset"} {
		i := r.MetaData().Schema.ColumnIndexByName(name)
		if i < 0 {
			return fmt.Errorf("read parquet: column %s is missing", name)
		}
		columns = append(columns, i)
	}
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: readBatch}, memory.DefaultAllocator)
	if err != nil {
		return fmt.Errorf("read parquet: %w", err)
	}
	records, err := fr.GetRecordReader(ctx, columns, nil)
	if err != nil {
		return fmt.Errorf("read parquet: %w", err)
	}
	defer records.Release()
	for records.Next() {
		rec := records.RecordBatch()
		byName := func(name string) arrow.Array {
			if i := rec.Schema().FieldIndices(name); len(i) == 1 {
				return rec.Column(i[0])
			}
			return nil
		}
		stream := byName("stream")
		partition, ok := byName("stream_partition").(*array.Int32)
		offset, ok2 := byName("stream_offset").(*array.Int64)
		if stream == nil || !ok || !ok2 {
			return errors.New("read parquet: a position's column has another type")
		}
		for i := range int(rec.NumRows()) {
			p := cardlake.Position{
				StreamPartition: cardlake.StreamPartition{Stream: stream.ValueStr(i), Partition: partition.Value(i)},
				Offset:          offset.Value(i),
			}
			if !yield(p) {
				return nil
			}
		}
	}
	if err := records.Err(); err != nil {
		return fmt.Errorf("read parquet: %w", err)
	}
	return nil
}
