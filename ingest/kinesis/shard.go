package kinesis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
)

// departure is why a shard is being given up.
type departure int

const (
	staying  departure = iota
	yielding           // for another worker, or because it cannot be read yet
	finished           // the table shows its end
	lost               // another worker may have it already
)

// shard is one whose lease this worker holds, or is about to give back. All is under
// Source.mu.
type shard struct {
	id   string
	part cardlake.StreamPartition
	// lease is what is stored as far as the keeper knows, renewed when its last renewal began.
	lease   Lease
	renewed time.Time

	announced bool // the Assignee was told
	sought    bool // since then Seek has said where to begin
	leaving   departure
	released  bool // the Assignee has given it up: the keeper may free the lease

	pending *cardlake.Offset // where reading shall begin as soon as it may
	reader  *reader          // nil while there is none
	former  *reader          // the last one, which may not have ended yet
	// subscribed is when the last subscription was had.
	subscribed time.Time
	// caughtUp says when the reader was at the tip, behind mark (Lease.CaughtUp).
	mark     string
	caughtUp time.Time
}

// begin lets the shard be read from at on, once Run's goroutine has seen to it. s.mu is held.
func (s *Source) begin(sh *shard, at cardlake.Offset) {
	s.halt(sh)
	sh.sought = true
	sh.pending = &at
	wake(s.changed)
}

// leave starts to give the shard up. s.mu is held.
func (s *Source) leave(sh *shard, why departure) {
	s.halt(sh)
	sh.leaving = max(sh.leaving, why)
	wake(s.changed)
}

// halt stops the shard's reader and forgets what it has buffered. s.mu is held.
func (s *Source) halt(sh *shard) {
	sh.pending = nil
	if r := sh.reader; r != nil {
		r.stopped = true
		r.cancel()
		s.drop(r)
		sh.former, sh.reader = r, nil
	}
}

// Run implements ingest.Source.
func (s *Source) Run(ctx context.Context, a ingest.Assignee) error {
	s.instance = instanceOf(s.cfg.Worker)
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keep(keeping, ctx)
	}()
	close(s.started)
	for ctx.Err() == nil {
		s.settle(ctx, a)
		select {
		case <-s.changed:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	for _, sh := range s.shards {
		s.leave(sh, yielding)
	}
	s.mu.Unlock()
	s.readers.Wait()
	// The keeper goes on meanwhile, because the Assignee may need longer than a lease lasts.
	s.revoke(ctx, a, lost)
	s.revoke(ctx, a, yielding, finished)
	stopKeeping()
	<-kept
	s.free(context.WithoutCancel(ctx))
	return nil
}

// settle calls the Assignee for what has changed.
func (s *Source) settle(ctx context.Context, a ingest.Assignee) {
	s.revoke(ctx, a, lost)
	s.revoke(ctx, a, yielding, finished)
	s.assign(ctx, a)
}

// revoke tells the Assignee of the shards that are leaving for one of the reasons.
func (s *Source) revoke(ctx context.Context, a ingest.Assignee, reasons ...departure) {
	s.mu.Lock()
	var leaving []*shard
	var parts []cardlake.StreamPartition
	for _, sh := range s.shards {
		if sh.released || !slices.Contains(reasons, sh.leaving) {
			continue
		}
		leaving = append(leaving, sh)
		if sh.announced {
			parts = append(parts, sh.part)
		}
	}
	s.mu.Unlock()
	if len(leaving) == 0 {
		return
	}
	if !s.tell(ctx, a, parts, reasons[0] == lost) {
		return
	}
	s.mu.Lock()
	for _, sh := range leaving {
		sh.released = true
		if sh.leaving == lost {
			delete(s.shards, sh.part)
		}
	}
	s.mu.Unlock()
	wake(s.keepNow)
}

// tell calls a.Revoked, but not while records are with the caller of Poll, unless ctx has
// ended: then it may never poll again. It reports whether it called; else ctx ended meanwhile.
func (s *Source) tell(ctx context.Context, a ingest.Assignee, parts []cardlake.StreamPartition, isLost bool) bool {
	if len(parts) == 0 {
		return true
	}
	ending := ctx.Err() != nil
	s.mu.Lock()
	for s.out && !ending {
		s.waiting = true
		s.mu.Unlock()
		select {
		case <-s.changed:
		case <-ctx.Done():
			return false
		}
		s.mu.Lock()
	}
	s.waiting, s.revoking = false, true
	s.mu.Unlock()
	a.Revoked(parts, isLost)
	s.mu.Lock()
	s.revoking = false
	for _, p := range parts {
		delete(s.seek, p) // said before; whoever is assigned p next begins where the table says
	}
	s.mu.Unlock()
	wake(s.ready)
	wake(s.changed) // what it was woken for while it waited
	return true
}

// assign tells the Assignee of new shards and starts their readers, and those of shards that
// Seek has redirected.
//
// A shard of which nothing is committed may be read only if all its parents have ended, by
// the table's positions. Of parents whose end was not seen yet it asks by assigning them for
// a moment. A shard of which something is committed needs no question: its parents' ends
// were committed before.
func (s *Source) assign(ctx context.Context, a ingest.Assignee) {
	s.mu.Lock()
	var batch []*shard
	var ask []cardlake.StreamPartition
	borrowed := map[cardlake.StreamPartition]bool{}
	for _, sh := range s.shards {
		if sh.leaving != staying || sh.announced && sh.pending == nil {
			continue
		}
		batch = append(batch, sh)
		if !sh.announced {
			ask = append(ask, sh.part)
		} else if *sh.pending != (cardlake.Offset{}) {
			continue
		}
		for _, p := range s.unseenParents(sh) {
			if s.shards[p] == nil {
				borrowed[p] = true
			}
		}
		if !sh.announced {
			sh.announced, sh.sought = true, false
		}
	}
	ask = slices.AppendSeq(ask, maps.Keys(borrowed))
	s.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	var positions cardlake.Positions
	if len(ask) > 0 {
		var err error
		if positions, err = a.Assigned(ask); err != nil {
			s.fail("assign", fmt.Errorf("assign shards: %w", err))
			s.unannounce(batch, ask)
			return
		}
	}
	s.mu.Lock()
	for p, at := range positions {
		if at.Mark == End {
			s.ended[p] = true
		}
	}
	for _, sh := range batch {
		if sh.leaving != staying {
			continue
		}
		if slices.Contains(ask, sh.part) && !sh.sought {
			at := positions[sh.part]
			sh.pending = &at
		}
		if sh.pending != nil {
			s.start(ctx, sh)
		}
	}
	s.mu.Unlock()
	s.tell(ctx, a, slices.Collect(maps.Keys(borrowed)), false)
}

// unannounce gives back the batch after the Assignee refused the shards of ask.
func (s *Source) unannounce(batch []*shard, ask []cardlake.StreamPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range batch {
		if slices.Contains(ask, sh.part) {
			sh.announced = false
		}
		s.leave(sh, yielding)
	}
}

// unseenParents are the shard's parents that are still listed or leased and were not seen at
// their end. s.mu is held.
func (s *Source) unseenParents(sh *shard) []cardlake.StreamPartition {
	var out []cardlake.StreamPartition
	for _, id := range s.graph[sh.id] {
		_, listed := s.graph[id]
		lease, leased := s.stored[id]
		if !listed && (!leased || lease.Ended && s.cfg.SkipTrimmed) {
			continue
		}
		if p, err := Partition(s.cfg.Stream, id); err == nil && !s.ended[p] {
			out = append(out, p)
		}
	}
	return out
}

// start reads the shard from its pending position on, if it may be read. s.mu is held.
func (s *Source) start(ctx context.Context, sh *shard) {
	at := *sh.pending
	sh.pending = nil
	if at.Mark == End {
		s.ended[sh.part] = true
		s.leave(sh, finished)
		return
	}
	if at == (cardlake.Offset{}) {
		if parents := s.unseenParents(sh); len(parents) > 0 {
			for _, p := range parents {
				s.hints[ShardID(p)] = false
			}
			s.cfg.Log.Warn("a shard waits for its parents", "shard", sh.id, "parents", len(parents))
			s.leave(sh, yielding)
			return
		}
	}
	r := &reader{Source: s, shard: sh, at: at, expect: at.Mark != "", done: make(chan struct{})}
	if sh.lease.Mark == at.Mark && at.Mark != "" {
		r.fresh = sh.lease.CaughtUp
	}
	sh.mark, sh.caughtUp = sh.lease.Mark, sh.lease.CaughtUp
	ctx, r.cancel = context.WithCancel(ctx)
	former := sh.former
	sh.reader = r
	s.readers.Go(func() {
		defer close(r.done)
		defer r.cancel()
		if former != nil {
			<-former.done
		}
		r.run(ctx)
	})
}

// vanish is for a shard that its stream no longer has, though it was not read to its end.
func (s *Source) vanish(r *reader) error {
	err := fmt.Errorf("shard %s of stream %s is not there any more: %w", r.shard.id, s.cfg.Stream, ErrTrimmed)
	if !s.cfg.SkipTrimmed {
		return err
	}
	s.cfg.Log.Error("going on behind expired records", "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.stopped {
		s.leave(r.shard, finished)
	}
	return errGivenUp
}

// errGivenUp ends a reader whose shard has nothing more to be read.
var errGivenUp = errors.New("shard given up")
