package api

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake/api/spool"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// oneRow is one number.
type oneRow struct{ isRead bool }

func (*oneRow) Columns() []queries.Column {
	return []queries.Column{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}
}
func (*oneRow) Snapshots() []queries.Snapshot { return nil }
func (*oneRow) Close() error                  { return nil }
func (r *oneRow) Next(row []any) error {
	if r.isRead {
		return io.EOF
	}
	r.isRead, row[0] = true, int64(1)
	return nil
}

// TestCancelledTakesNoPlace: a question that is cancelled while the engine answers, or while rows
// are kept, holds neither a file nor a place among those that are kept, whoever of the two is
// first.
func TestCancelledTakesNoPlace(t *testing.T) {
	for _, early := range []bool{true, false} {
		qs := newQuestions(Config{}.withDefaults())
		_, cancel := context.WithCancelCause(t.Context())
		q := &question{id: "a", owner: grants.Principal{Kind: grants.Operator, Name: "ana"}, isKept: true, cancel: cancel, asked: time.Now()}
		if _, isNew, err := qs.begin(q, fingerprint{}); err != nil || !isNew {
			t.Fatal(isNew, err)
		}
		rows, err := spool.New(t.TempDir(), (&oneRow{}).Columns())
		if err != nil {
			t.Fatal(err)
		}
		if early {
			qs.cancel(q)
		}
		q.answered(&queries.Result{}, rows)
		err = rows.Fill(t.Context(), &oneRow{}, func(count, bytes int64) error {
			if !early {
				qs.cancel(q)
			}
			return qs.grew(q, count, bytes)
		})
		qs.end(q, err)
		if early && !errors.Is(err, spool.ErrClosed) {
			t.Errorf("the rows of a cancelled question are kept: %v", err)
		}
		if v := q.snapshot(); v.state != stateCancelled || v.rows != nil || v.bytes != 0 {
			t.Errorf("cancelled early: %v: it is %s and has %d bytes", early, v.state, v.bytes)
		}
		if err := rows.Fill(t.Context(), &oneRow{}, func(int64, int64) error { return nil }); !errors.Is(err, spool.ErrClosed) {
			t.Errorf("cancelled early: %v: the file is open", early)
		}
	}
}
