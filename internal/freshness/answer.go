package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries"
)

// counting asks for what tells, for each partition, whether each of its events is there once.
const counting = `SELECT stream_partition, count(*), count(DISTINCT event_id), count(DISTINCT stream_offset), min(stream_offset), max(stream_offset)
FROM cards.transactions GROUP BY stream_partition`

// counts are those of one partition in an answer.
type counts struct{ rows, events, offsets, first, last int64 }

// wholeTo are the counts of a partition that has each event before n once: n different ones
// at n different offsets, of which the first is 0 and the last n-1.
func wholeTo(n int64) counts { return counts{n, n, n, 0, n - 1} }

// answer is what one query said.
type answer struct {
	query     int
	found     map[cardlake.StreamPartition]counts
	snapshot  catalog.Snapshot   // its positions are those that are committed
	read      cardlake.Positions // what the answer claims to hold
	lacking   []cardlake.StreamPartition
	tailError error
	tailRows  int64
}

// ask asks a gateway once.
func ask(ctx context.Context, g queries.Session, n int) (_ *answer, err error) {
	a := &answer{query: n, found: map[cardlake.StreamPartition]counts{}}
	result, err := g.Query(noting(ctx, &a.snapshot), counting)
	if err != nil {
		return nil, fmt.Errorf("query %d: %w", n, err)
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	for row := make([]any, 6); ; {
		if err := result.Next(row); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("query %d: %w", n, err)
		}
		a.found[partition(row[0].(int32))] = counts{row[1].(int64), row[2].(int64), row[3].(int64), row[4].(int64), row[5].(int64)}
	}
	s := result.Snapshots()[0]
	a.read, a.lacking, a.tailError, a.tailRows = s.Positions, s.Lacking, s.TailError, s.TailRows
	return a, nil
}

// seen is how far answers went that have ended: of the stream, and of the snapshots alone.
type seen struct{ read, committed cardlake.Positions }

// faults are what is wrong with the answer, before being what earlier answers had shown when
// its query began. Each event before the position that it claims must be there once and none
// after; what was committed must stay; and what was only in a tail may be gone only from an
// answer that says that the partition's tail is lacking.
func (a *answer) faults(before seen) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, p := range partitionsOf(a.read, before.read, before.committed, keysOf(a.found)) {
		found, claimed := a.found[p], a.read[p].Next
		switch {
		case claimed == 0 && found != counts{}:
			fault("%v: %+v, though nothing of it was read", p, found)
		case claimed > 0 && found != wholeTo(claimed):
			fault("%v: %+v, though exactly the events before %d were read", p, found, claimed)
		}
		if at := a.snapshot.Positions[p].Next; at < before.committed[p].Next {
			fault("%v: committed to %d, and to %d in an earlier answer", p, at, before.committed[p].Next)
		}
		isLacking := slices.Contains(a.lacking, p)
		if isLacking && a.read[p].Next < a.snapshot.Positions[p].Next {
			fault("%v: its tail is lacking, but it was read to %d and is committed to %d", p, claimed, a.snapshot.Positions[p].Next)
		}
		if claimed < before.read[p].Next && !isLacking {
			fault("%v: %d events, %d in an earlier answer, and no word of a tail that is lacking", p, claimed, before.read[p].Next)
		}
	}
	if a.tailError != nil && len(a.lacking) < len(a.snapshot.Positions) {
		fault("no tail, but %d of %d partitions lack theirs", len(a.lacking), len(a.snapshot.Positions))
	}
	return faults
}

// isShorter reports whether the answer holds less of a partition than earlier ones.
func (a *answer) isShorter(before seen) bool {
	for p, at := range before.read {
		if a.read[p].Next < at.Next {
			return true
		}
	}
	return false
}

// describe is everything about the answer, for a fault that is reported.
func (a *answer) describe(before seen, faults []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "query %d is wrong:\n", a.query)
	for _, f := range faults {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	fmt.Fprintf(&b, "snapshot   %d, number %d\ncommitted  %v\nread       %v\n", a.snapshot.ID, a.snapshot.Sequence, a.snapshot.Positions, a.read)
	fmt.Fprintf(&b, "lacking    %v\ntail       %d rows, error: %v\nearlier    %v\n  committed %v\n", a.lacking, a.tailRows, a.tailError, before.read, before.committed)
	for _, p := range partitionsOf(keysOf(a.found)) {
		fmt.Fprintf(&b, "found      %v: %+v\n", p, a.found[p])
	}
	return b.String()
}

// history is what answers have shown so far. It is safe for concurrent use.
type history struct {
	mu  sync.Mutex
	now seen
}

// begin returns what the answers that have ended have shown.
func (h *history) begin() seen {
	h.mu.Lock()
	defer h.mu.Unlock()
	return seen{h.now.read.Clone(), h.now.committed.Clone()}
}

// end adds an answer.
func (h *history) end(a *answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now.read, h.now.committed = furthest(h.now.read, a.read), furthest(h.now.committed, a.snapshot.Positions)
}

func furthest(p, q cardlake.Positions) cardlake.Positions {
	out := p.Merge(nil)
	for sp, at := range q {
		if at.Next > out[sp].Next {
			out[sp] = at
		}
	}
	return out
}

func keysOf[V any](m map[cardlake.StreamPartition]V) cardlake.Positions {
	out := cardlake.Positions{}
	for p := range m {
		out[p] = cardlake.Offset{}
	}
	return out
}

// partitionsOf are the partitions of all, in order.
func partitionsOf(all ...cardlake.Positions) []cardlake.StreamPartition {
	every := cardlake.Positions{}
	for _, one := range all {
		maps.Copy(every, one)
	}
	return slices.SortedFunc(maps.Keys(every), func(a, b cardlake.StreamPartition) int { return int(a.Partition - b.Partition) })
}
