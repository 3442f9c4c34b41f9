package queries

import (
	"context"
	"errors"
	"maps"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
)

// Tail gives the rows of cards.transactions that a snapshot does not have yet: those of the
// streams beyond the snapshot's positions, committed since or not.
type Tail interface {
	// Tail returns the rows beyond the positions. The caller releases them.
	Tail(ctx context.Context, from cardlake.Positions) (TailRows, error)
}

// TailRows are the rows of a tail. Together with a snapshot at the positions that were asked
// for they hold every event before To exactly once, in the partitions of To.
type TailRows struct {
	To cardlake.Positions
	// Records have the columns of cards.transactions, some of them dictionaries.
	Records []arrow.RecordBatch
	// Unanswered says why workers did not answer although others did, nil if all did.
	Unanswered error
	// Free, if not nil, lets the records go.
	Free func()
}

// Release lets the records go.
func (r TailRows) Release() {
	if r.Free != nil {
		r.Free()
	}
}

// Tails is the tail of several workers, each of which knows its own partitions. A worker
// that does not answer makes the answer older, not wrong: its partitions are absent from To,
// and Unanswered says so, because it may have had one that nobody else has heard of.
// When two claim a partition, because it is changing hands, the one that is ahead counts.
type Tails []Tail

// Tail implements Tail. Errors of single workers are returned together with what the others
// answered only if none answered.
func (ts Tails) Tail(ctx context.Context, from cardlake.Positions) (TailRows, error) {
	answers, errs := make([]TailRows, len(ts)), make([]error, len(ts))
	var group errgroup.Group
	for i, t := range ts {
		group.Go(func() error {
			answers[i], errs[i] = t.Tail(ctx, from)
			return nil
		})
	}
	_ = group.Wait()
	out := TailRows{To: cardlake.Positions{}, Free: func() {
		for _, a := range answers {
			a.Release()
		}
	}}
	chosen, failed := map[cardlake.StreamPartition]int{}, 0
	for i, a := range answers {
		if errs[i] != nil {
			failed++
			continue
		}
		errs[i] = a.Unanswered
		for p, to := range a.To {
			if have, ok := out.To[p]; !ok || to.Next > have.Next {
				out.To[p], chosen[p] = to, i
			}
		}
	}
	if failed > 0 && failed == len(ts) {
		return TailRows{}, errors.Join(errs...)
	}
	out.Unanswered = errors.Join(errs...)
	for i, a := range answers {
		isAlone := true
		for p := range maps.Keys(a.To) {
			isAlone = isAlone && chosen[p] == i
		}
		if isAlone {
			out.Records = append(out.Records, a.Records...)
			continue
		}
		for _, record := range a.Records {
			rows, err := cardlake.SelectByPosition(record, func(p cardlake.Position) bool { return chosen[p.StreamPartition] == i })
			if err != nil {
				out.Release()
				return TailRows{}, err
			}
			out.Records = append(out.Records, rows...)
		}
	}
	return out, nil
}
