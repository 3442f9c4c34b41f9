package queries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/cardlake/cardlake/catalog/grants"
)

// lookEvery is how often, while rows are delivered, the grants are asked again and the record
// goes on: so often that rows end within a second of either failing.
const lookEvery = 500 * time.Millisecond

// Result is the answer to one statement, and implements Rows. It is used by one goroutine.
type Result struct {
	gateway   *Gateway
	caller    grants.Caller
	reads     []Read
	line      *line
	rows      Rows
	snapshots []Snapshot
	maxRows   int64
	n         int64
	looked    time.Time // when grants and record were last looked at
	ended     error     // how the rows ended: io.EOF, or why they had to
	isClosed  bool

	isBatched bool                 // NextBatch was used
	builder   *array.RecordBuilder // of batches, if the engine has none
	row       []any                // that goes into it
	late      error                // why rows that went into it were the last
}

// Columns implements Rows.
func (r *Result) Columns() []Column { return r.rows.Columns() }

// Snapshots implements Rows. They tell no more than the caller's decisions permit.
func (r *Result) Snapshots() []Snapshot { return r.snapshots }

// AsOf is the time of the oldest state that the answer rests on, and false if it rests on
// none.
func (r *Result) AsOf() (time.Time, bool) {
	var oldest time.Time
	for _, s := range r.snapshots {
		if at := s.AsOf(); !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return oldest, !oldest.IsZero()
}

// Next implements Rows. After Config.MaxRows rows it returns ErrTooManyRows if there are more.
// ErrNotPermitted says that the grant was withdrawn meanwhile, ErrUnrecorded that the record
// could not go on. Rows end with the first error.
func (r *Result) Next(row []any) error {
	if r.ended == nil {
		r.ended = r.next(row)
	}
	return r.ended
}

func (r *Result) next(row []any) error {
	if r.isBatched {
		return errMixed
	}
	if err := r.rows.Next(row); err != nil {
		return err
	}
	err := r.lookIfDue()
	if err == nil && r.maxRows > 0 && r.n >= r.maxRows {
		err = r.tooMany()
	}
	if err != nil {
		clear(row)
		return err
	}
	r.n++
	return nil
}

func (r *Result) tooMany() error {
	return fmt.Errorf("%w: more than %d; add a LIMIT or an aggregate", ErrTooManyRows, r.maxRows)
}

// lookIfDue looks when the last look is long ago, however long the rows took that came since.
func (r *Result) lookIfDue() error {
	now := time.Now()
	if now.Sub(r.looked) < lookEvery {
		return nil
	}
	r.looked = now
	return r.look()
}

// look asks the grants again and continues the record.
func (r *Result) look() error {
	for _, read := range r.reads {
		if now := r.gateway.decide(r.caller, r.line.action, read.Table); !covers(now, read.Decision) {
			r.line.end = map[string]string{"policy_version": cut(now.Version), "refused": cut(now.Reason)}
			return fmt.Errorf("%w any more", ErrNotPermitted)
		}
	}
	return r.gateway.recordLate(context.Background(), r.line.going(r.n))
}

// Count is the number of rows that Next or NextBatch returned so far.
func (r *Result) Count() int64 { return r.n }

// Close frees the answer's memory and records how it ended. ErrUnrecorded says that it could
// not.
func (r *Result) Close() error {
	if r.isClosed {
		return nil
	}
	r.isClosed = true
	if r.builder != nil {
		r.builder.Release()
	}
	err := r.rows.Close()
	record := r.line.done(r)
	if failed := errors.Join(r.failure(), err); failed != nil {
		record = r.line.failed(failed, r.n)
	}
	return errors.Join(err, r.gateway.recordLate(context.Background(), record))
}

// failure is why the rows ended before their end, nil if they came to it or the reader had
// enough of them.
func (r *Result) failure() error {
	if errors.Is(r.ended, io.EOF) {
		return nil
	}
	return r.ended
}
