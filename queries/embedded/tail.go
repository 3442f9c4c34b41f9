package embedded

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/writers/parquet"
)

// fetchTail asks for the rows beyond the snapshot and turns those that the decision permits
// into memory files, which it gives to hold by scope. Without them the answer is older, not
// wrong: read says so.
func (e *Engine) fetchTail(ctx context.Context, d *grants.Decision, read *queries.Snapshot, hold func(scope int, file *memfd)) error {
	asked := time.Now()
	e.mu.Lock()
	shown := e.shown.Clone() // by answers that were there before this question
	e.mu.Unlock()
	tailCtx, cancel := context.WithTimeout(ctx, e.cfg.TailTimeout)
	defer cancel()
	tail, err := e.cfg.Tail.Tail(tailCtx, read.Positions)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		read.TailError = err
		lacking := shown // which the snapshot may not know yet
		maps.Copy(lacking, read.Positions)
		read.Lacking = sorted(lacking)
		return nil
	}
	defer tail.Release()
	for _, record := range tail.Records {
		parts, err := permitted(record, d)
		if err != nil {
			return err
		}
		for scope, part := range parts {
			if part == nil || part.NumRows() == 0 {
				continue
			}
			file, err := e.fileOf(part)
			if err != nil {
				return err
			}
			hold(scope, file)
			read.TailRows += part.NumRows()
		}
	}
	lacking := cardlake.Positions{}
	for p, at := range read.Positions {
		if _, ok := tail.To[p]; !ok {
			lacking[p] = at
		}
	}
	read.Positions = read.Positions.Merge(tail.To)
	// A worker that has taken a partition over may have got less far than its predecessor, or
	// nobody has taken over one that has no commit yet.
	for p, at := range shown {
		if read.Positions[p].Next < at.Next {
			lacking[p] = at
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for p, at := range read.Positions {
		if at.Next > e.shown[p].Next {
			e.shown[p] = at
		}
	}
	read.ReadAt, read.Lacking, read.Unanswered = asked, sorted(lacking), tail.Unanswered
	return nil
}

func sorted(ps cardlake.Positions) []cardlake.StreamPartition {
	return slices.SortedFunc(maps.Keys(ps), func(a, b cardlake.StreamPartition) int {
		if c := strings.Compare(a.Stream, b.Stream); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
}

// fileOf writes a record as a memory file.
func (e *Engine) fileOf(record arrow.RecordBatch) (*memfd, error) {
	encoder := e.tails.Get().(*parquet.Encoder)
	defer e.tails.Put(encoder)
	body, _, err := encoder.Encode(record)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	m, err := newMemfd(int64(len(body)))
	if err != nil {
		return nil, err
	}
	copy(m.bytes, body)
	return m, nil
}
