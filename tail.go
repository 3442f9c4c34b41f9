package cardlake

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

var (
	streamAt    = transactionsColumn("stream")
	partitionAt = transactionsColumn("stream_partition")
	offsetAt    = transactionsColumn("stream_offset")
)

func transactionsColumn(name string) int {
	return slices.IndexFunc(Transactions.Columns, func(c Column) bool { return c.Name == name })
}

// SelectByPosition returns the rows of a record of cards.transactions, with the schema of
// [Batch]'s records, whose place on the stream is wanted: slices of the record, one for each
// run of them. They share its memory.
func SelectByPosition(record arrow.RecordBatch, isWanted func(Position) bool) ([]arrow.RecordBatch, error) {
	streams, ok1 := record.Column(streamAt).(*array.Dictionary)
	partitions, ok2 := record.Column(partitionAt).(*array.Int32)
	offsets, ok3 := record.Column(offsetAt).(*array.Int64)
	if !ok1 || !ok2 || !ok3 {
		return nil, fmt.Errorf("positions of rows have types %s, %s and %s",
			record.Column(streamAt).DataType(), record.Column(partitionAt).DataType(), record.Column(offsetAt).DataType())
	}
	names, ok := streams.Dictionary().(*array.String)
	if !ok {
		return nil, fmt.Errorf("positions of rows have streams of type %s", streams.Dictionary().DataType())
	}
	var out []arrow.RecordBatch
	begun := -1 // first row of the current run
	for i := range int(record.NumRows()) {
		p := Position{StreamPartition{names.Value(streams.GetValueIndex(i)), partitions.Value(i)}, offsets.Value(i)}
		switch isIn := isWanted(p); {
		case isIn && begun < 0:
			begun = i
		case !isIn && begun >= 0:
			out = append(out, record.NewSlice(int64(begun), int64(i)))
			begun = -1
		}
	}
	if begun >= 0 {
		out = append(out, record.NewSlice(int64(begun), record.NumRows()))
	}
	return out, nil
}
