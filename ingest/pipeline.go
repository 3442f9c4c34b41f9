package ingest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
)

// errFenced says that the table has moved: what is not committed must be dropped, and reading
// begins again at the table's positions.
var errFenced = errors.New("the table moved")

// pipeline is the queue of closed windows between the loop, which fills it, and the
// committer, which empties it in order. The first window that cannot be committed stops it.
type pipeline struct {
	limit     int
	keep      int
	keepBytes int64

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, at every change
	queue   []*window     // closed and not committed, oldest first
	busy    bool          // the committer works on queue[0]
	stopped error         // errFenced, or that the committer's context ended
	wake    func()        // called when it stops
	recent  []*window     // committed, oldest first

	// committed is the table's position of the partitions that the worker owns, rejectedTo
	// and totalsTo the other tables'. These are ahead after a death between the commits.
	committed, rejectedTo, totalsTo cardlake.Positions
}

func (p *pipeline) init(cfg Config) {
	p.limit, p.keep, p.keepBytes = cfg.Pending, max(cfg.TailWindows, 0), cfg.TailBytes
	p.changed = make(chan struct{})
	p.committed, p.rejectedTo, p.totalsTo = cardlake.Positions{}, cardlake.Positions{}, cardlake.Positions{}
}

// change runs f under the lock and tells everyone who waits.
func (p *pipeline) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// await waits until cond, called under the lock, holds.
func (p *pipeline) await(ctx context.Context, cond func() bool) error {
	for {
		p.mu.Lock()
		ok, changed := cond(), p.changed
		p.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// push waits for room and queues the window. If the pipeline has stopped it returns why.
func (p *pipeline) push(ctx context.Context, o *window) error {
	if err := p.await(ctx, func() bool { return p.stopped != nil || len(p.queue) < p.limit }); err != nil {
		return err
	}
	var stopped error
	p.change(func() {
		if stopped = p.stopped; stopped == nil {
			p.queue = append(p.queue, o)
		}
	})
	return stopped
}

// empty waits until all windows are committed. If the pipeline stops it returns why.
func (p *pipeline) empty(ctx context.Context) error {
	if err := p.await(ctx, func() bool { return p.stopped != nil || len(p.queue) == 0 }); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

// first waits for a window to commit; the committer's side.
func (p *pipeline) first(ctx context.Context) (*window, error) {
	if err := p.await(ctx, func() bool { return p.stopped == nil && len(p.queue) > 0 }); err != nil {
		return nil, err
	}
	var o *window
	p.change(func() {
		if p.stopped == nil && len(p.queue) > 0 {
			o, p.busy = p.queue[0], true
		}
	})
	return o, nil
}

// done records the outcome of the window that first returned.
func (p *pipeline) done(o *window, err error) {
	p.change(func() {
		p.busy = false
		if err != nil {
			p.stopped = err
			if p.wake != nil {
				p.wake()
			}
			return
		}
		p.queue = slices.Delete(p.queue, 0, 1)
		p.committed = p.committed.Merge(o.to)
		p.recent = append(p.recent, o)
		p.trim()
	})
}

// stop makes the pipeline commit nothing more.
func (p *pipeline) stop(err error) {
	p.change(func() { p.stopped = err })
}

// trim lets committed windows go that are too many or too large to keep.
func (p *pipeline) trim() {
	var bytes int64
	for i, o := range slices.Backward(p.recent) {
		bytes += o.rows.Bytes()
		if len(p.recent)-i > p.keep || bytes > p.keepBytes {
			for _, old := range p.recent[:i+1] {
				old.release()
			}
			p.recent = slices.Delete(p.recent, 0, i+1)
			return
		}
	}
}

// windows returns those in memory, oldest first: committed ones, then those that wait. The
// caller releases each.
func (p *pipeline) windows() []*window {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Concat(p.recent, p.queue)
	for _, o := range all {
		o.hold() // the pipeline holds it too, as long as it is locked
	}
	return all
}

// waiting counts the windows that wait for their commit and tells when the first was opened.
func (p *pipeline) waiting() (n int, opened time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 {
		opened = p.queue[0].opened
	}
	return len(p.queue), opened
}

// wakeOnStop calls f when the pipeline stops, or now if it has.
func (p *pipeline) wakeOnStop(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake = f
	if p.stopped != nil {
		f()
	}
}

func (p *pipeline) fenced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Is(p.stopped, errFenced)
}

// abandon waits until the committer holds no window and drops all, committed ones included.
// Until resume nothing is committed.
func (p *pipeline) abandon(ctx context.Context) error {
	p.change(func() {
		if p.stopped == nil {
			p.stopped = errFenced
		}
	})
	if err := p.await(ctx, func() bool { return !p.busy }); err != nil {
		return err
	}
	p.change(func() {
		for _, o := range slices.Concat(p.queue, p.recent) {
			o.release()
		}
		p.queue, p.recent = nil, nil
	})
	return nil
}

// resume goes on from the table's positions.
func (p *pipeline) resume(committed, rejected, totals cardlake.Positions) {
	p.change(func() {
		p.committed, p.rejectedTo, p.totalsTo = committed, rejected, totals
		if errors.Is(p.stopped, errFenced) {
			p.stopped = nil
		}
	})
}

// forget removes partitions that were given back.
func (p *pipeline) forget(parts []cardlake.StreamPartition) {
	p.change(func() {
		committed := maps.Clone(p.committed)
		for _, sp := range parts {
			delete(committed, sp)
		}
		p.committed = committed
	})
}

// positions returns a copy of the committed positions.
func (p *pipeline) positions() cardlake.Positions {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.committed)
}
