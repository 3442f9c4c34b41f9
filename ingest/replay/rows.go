package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// rejected is one row of the rejected table.
type rejected struct {
	number   int // of the row in its file
	position cardlake.Position
	time     time.Time
	payload  []byte // sealed
}

// open returns the key and the value of the record that was rejected.
func (r *rejected) open(ctx context.Context, opens *keys.Envelopes) (key, value []byte, err error) {
	payload, err := opens.Open(ctx, nil, keys.Lake, r.payload, ingest.RejectedAAD(r.position))
	if err != nil {
		return nil, nil, fmt.Errorf("open payload: %w", err)
	}
	return ingest.ParsePayload(payload)
}

// columns are those that a replay reads.
var columns = []string{"reason", "stream", "stream_partition", "stream_offset", "record_time", "payload"}

// read returns the rows of a file that were rejected for the reason, from a row of the file
// on.
func read(ctx context.Context, store objects.Store, f cardlake.DataFile, reason string, from int) (out []rejected, err error) {
	defer func() {
		if r := recover(); r != nil { // the library panics on some files that are not sound
			err = errors.New("it is not sound")
		}
		if err != nil {
			err = fmt.Errorf("replay: read %s: %w", f.Name, err)
		}
	}()
	body, err := objects.ReadAll(ctx, store, f.Name)
	if err != nil {
		return nil, err
	}
	pq, err := file.NewParquetReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer pq.Close()
	var indices []int
	for _, name := range columns {
		i := pq.MetaData().Schema.ColumnIndexByName(name)
		if i < 0 {
			return nil, fmt.Errorf("column %s is missing", name)
		}
		indices = append(indices, i)
	}
	r, err := pqarrow.NewFileReader(pq, pqarrow.ArrowReadProperties{BatchSize: 1 << 10}, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	records, err := r.GetRecordReader(ctx, indices, nil)
	if err != nil {
		return nil, err
	}
	defer records.Release()
	number := 0
	for records.Next() {
		if err := rowsOf(records.RecordBatch(), reason, from, &number, &out); err != nil {
			return nil, err
		}
	}
	return out, records.Err()
}

// rowsOf appends the rows of one batch that are wanted. number is that of the batch's first
// row, and then that of the row behind it.
func rowsOf(rec arrow.RecordBatch, reason string, from int, number *int, out *[]rejected) error {
	column := func(name string) arrow.Array {
		i := slices.Index(columns, name)
		if at := rec.Schema().FieldIndices(name); len(at) == 1 {
			i = at[0]
		}
		return rec.Column(i)
	}
	reasons, streams := column("reason"), column("stream")
	partitions, ok1 := column("stream_partition").(*array.Int32)
	offsets, ok2 := column("stream_offset").(*array.Int64)
	times, ok3 := column("record_time").(*array.Timestamp)
	payloads, ok4 := column("payload").(*array.Binary)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return errors.New("a column has another type")
	}
	for i := range int(rec.NumRows()) {
		if *number++; *number <= from || reasons.ValueStr(i) != reason {
			continue
		}
		*out = append(*out, rejected{
			number: *number - 1,
			position: cardlake.Position{
				StreamPartition: cardlake.StreamPartition{Stream: streams.ValueStr(i), Partition: partitions.Value(i)},
				Offset:          offsets.Value(i),
			},
			time: time.UnixMicro(int64(times.Value(i))), payload: bytes.Clone(payloads.Value(i)),
		})
	}
	return nil
}
