package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/replay"
)

// errRejectedAgain says that the cause of some rejections has not been put right.
var errRejectedAgain = errors.New("some records were rejected again")

// replayDedup is longer than any event is old: the events that a replay may meet again are
// looked for by their ids.
const replayDedup = 100 * 365 * 24 * time.Hour

// again replays rejected records and prints what became of them.
func again(ctx context.Context, o *options, stdout, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	l, err := o.open(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	from, cfg := replay.Deps{Rejected: l.rejected, Store: l.Store, Keys: l.cardKeys}, replay.Config{Reasons: o.reasons}
	source, err := replay.New(from, cfg)
	if err != nil {
		return err
	}
	deps := l.deps(source, log)
	deps.History = replay.History(from, cfg, l.versions, l.transactions)
	worker := ingest.New(deps, ingest.Config{
		WindowAge: time.Second, WindowRows: o.rows, WindowBytes: o.windowBytes, TailWindows: -1,
		Dedup: replayDedup, PinnedCards: o.pins.cards, SchemaVersions: l.versions, TotalVersions: l.totalVersions,
	})
	if err := runToEnd(ctx, worker, source); err != nil {
		return err
	}
	return tell(stdout, worker.Stats())
}

// runToEnd runs the worker until all that was rejected when it began is committed.
func runToEnd(ctx context.Context, worker *ingest.Worker, source *replay.Source) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- worker.Run(running) }()
	ends := make(chan cardlake.Positions, 1)
	go func() {
		if p, err := source.Ends(running); err == nil {
			ends <- p
		}
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var want cardlake.Positions
	for {
		select {
		case want = <-ends:
		case err := <-done: // the source gave up, or ctx ended
			return cmp.Or(err, ctx.Err(), errors.New("the replay ended before its last record; run it again"))
		case <-tick.C:
		}
		if want != nil && reached(worker.Committed(), want) {
			stop()
			return <-done
		}
	}
}

func reached(at, want cardlake.Positions) bool {
	for p, end := range want {
		if at[p].Next < end.Next {
			return false
		}
	}
	return true
}

// tell prints what became of the records.
func tell(w io.Writer, s ingest.Stats) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "replayed\t%d records\n", s.Records)
	fmt.Fprintf(t, "rows\t%d\n", s.Rows)
	if s.Totals > 0 {
		fmt.Fprintf(t, "control totals\t%d\n", s.Totals)
	}
	fmt.Fprintf(t, "in the lake already\t%d\n", s.Duplicates)
	var again int64
	for _, reason := range ingest.Reasons() {
		if n := s.Rejected[reason]; n > 0 {
			again += n
			fmt.Fprintf(t, "rejected again\t%d as %s\n", n, reason)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if again > 0 {
		return errRejectedAgain
	}
	return nil
}
