package tail

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// receive reads an answer to its end and checks all of it.
func receive(stream flight.DataStreamReader, from cardlake.Positions) (_ queries.TailRows, err error) {
	r, err := flight.NewRecordReader(stream, ipc.WithAllocator(noMemory{}))
	if err != nil {
		return queries.TailRows{}, err
	}
	defer r.Release()
	var header cardlake.TailHeader
	if err := header.UnmarshalText(r.LatestAppMetadata()); err != nil {
		return queries.TailRows{}, err
	}
	for p, to := range header.To {
		if to.Next < from[p].Next {
			return queries.TailRows{}, fmt.Errorf("partition %d ends at %d, before %d", p.Partition, to.Next, from[p].Next)
		}
	}
	if err := checkSchema(r.Schema()); err != nil {
		return queries.TailRows{}, err
	}
	var records []arrow.RecordBatch
	free := func() {
		for _, record := range records {
			record.Release()
		}
	}
	defer func() {
		if err != nil {
			free()
		}
	}()
	rows := int64(0)
	for r.Next() {
		record := r.RecordBatch()
		record.Retain()
		records = append(records, record)
		rows += record.NumRows()
		if err := checkRecord(record, from, header.To); err != nil {
			return queries.TailRows{}, err
		}
	}
	if err := r.Err(); err != nil {
		return queries.TailRows{}, err
	}
	if rows != header.Rows {
		return queries.TailRows{}, fmt.Errorf("%d rows came of %d that were announced", rows, header.Rows)
	}
	return queries.TailRows{To: header.To, Records: records, Free: free}, nil
}

// columns are what an answer consists of.
var columns = cardlake.ArrowSchema(cardlake.Transactions).Fields()

// checkSchema returns an error unless the schema is that of a batch's records: the table's
// columns, of which those of text may be dictionaries with int32 codes.
func checkSchema(s *arrow.Schema) error {
	if s.NumFields() != len(columns) {
		return fmt.Errorf("the answer has %d columns, want %d", s.NumFields(), len(columns))
	}
	for i, want := range columns {
		got := s.Field(i)
		if got.Name != want.Name {
			return fmt.Errorf("column %d of the answer is not %s", i+1, want.Name)
		}
		dt := got.Type
		if d, ok := dt.(*arrow.DictionaryType); ok && d.IndexType.ID() == arrow.INT32 && want.Type.ID() == arrow.STRING {
			dt = d.ValueType
		}
		if !arrow.TypeEqual(dt, want.Type) {
			return fmt.Errorf("column %s of the answer is of type %s, want %s", want.Name, dt, want.Type)
		}
		if got.Nullable != want.Nullable || !got.Metadata.Equal(want.Metadata) {
			return fmt.Errorf("column %s of the answer is another one", want.Name)
		}
	}
	return nil
}

// checkRecord returns an error unless every value of the record can be read and every row
// lies in a partition of to, between from and to.
func checkRecord(record arrow.RecordBatch, from, to cardlake.Positions) error {
	if err := validate(record); err != nil {
		return err
	}
	for i, c := range columns {
		if !c.Nullable && record.Column(i).NullN() > 0 {
			return fmt.Errorf("column %s of the answer has nulls", c.Name)
		}
	}
	var (
		at         cardlake.StreamPartition // of the row before
		begin, end int64
		isOutside  bool
	)
	_, err := cardlake.SelectByPosition(record, func(p cardlake.Position) bool {
		if p.StreamPartition != at {
			at, begin, end = p.StreamPartition, from[p.StreamPartition].Next, to[p.StreamPartition].Next
		}
		isOutside = isOutside || p.Offset < begin || p.Offset >= end
		return false
	})
	if err == nil && isOutside {
		err = errors.New("a row of the answer lies outside the positions that it covers")
	}
	return err
}

// validate is array.ValidateRecordFull, which panics over some of the faults that it looks for.
func validate(record arrow.RecordBatch) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("a column of the answer cannot be read")
		}
	}()
	return array.ValidateRecordFull(record)
}

// bounded is a stream that fails when more comes than is wanted.
type bounded struct {
	stream flight.DataStreamReader
	left   int64
}

// Recv implements flight.DataStreamReader.
func (b *bounded) Recv() (*flight.FlightData, error) {
	data, err := b.stream.Recv()
	if err != nil {
		return nil, err
	}
	if b.left -= int64(len(data.DataHeader) + len(data.DataBody) + len(data.AppMetadata)); b.left < 0 {
		return nil, errors.New("the answer is too big")
	}
	return data, nil
}

// noMemory is for a reader that needs none beside what it receives. It would for compressed
// buffers, whose size is whatever they say, and for dictionaries in parts; no worker sends
// them. The reader makes an error of the panic.
type noMemory struct{}

// Allocate implements memory.Allocator.
func (noMemory) Allocate(int) []byte { panic("the answer is compressed or in parts") }

// Reallocate implements memory.Allocator.
func (n noMemory) Reallocate(size int, _ []byte) []byte { return n.Allocate(size) }

// Free implements memory.Allocator.
func (noMemory) Free([]byte) {}
