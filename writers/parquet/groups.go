package parquet

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// A file can be written a record at a time: Begin, then Add for each record, then End. Memory
// is then that of one record and of the file, however many rows it has.

// Begin begins a file of several records. The file that was begun before is dropped.
func (e *Encoder) Begin() error {
	e.rows = 0
	if err := e.begin(e.cfg.Encryption); err != nil {
		return fmt.Errorf("write parquet: %w", err)
	}
	return nil
}

// Add adds a record, as Encode takes it, as one row group, or several if it has more rows than
// Config.RowGroupRows. Its rows follow those of the records before it in order of time. After
// an error the file cannot be finished.
func (e *Encoder) Add(rec arrow.RecordBatch) (err error) {
	defer recovered("write parquet", &err)
	if err := e.add(rec); err != nil {
		return fmt.Errorf("write parquet: %w", err)
	}
	e.rows += rec.NumRows()
	return nil
}

// Size is about the bytes of the file so far.
func (e *Encoder) Size() int { return len(e.out) + len(e.groups) }

// End returns the file as Encode does.
func (e *Encoder) End() (body []byte, splitOffsets []int64, err error) {
	if err := e.writeFooter(e.rows); err != nil {
		return nil, nil, fmt.Errorf("write parquet: %w", err)
	}
	return e.out, e.splits, nil
}
