package serving

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/audit"
)

const (
	// A page of the audit log is looked for so long, and then in the next call further on.
	searchTime = 3 * time.Second
	// searches is how many are looked for at a time.
	searches = 2
	// lookBack is how far back is looked for what was done last.
	lookBack = 8 * 24 * time.Hour
)

// auditTrail reads the audit log of a folder, verified; it is api.Trail. It is safe for concurrent
// use.
type auditTrail struct {
	dir    string
	anchor audit.Anchor
	keys   audit.Unwrapper
	now    func() time.Time
	slots  chan struct{} // one for each search

	mu     sync.Mutex
	tail   *audit.Tail // of the newest segments, as far as they were verified
	report audit.Report
	head   audit.Head // what the anchor had kept before
	lineAt time.Time
	at     time.Time // when it was verified
	err    error     // of that
	last   map[string]done
}

// done is when something was done last, and by whom.
type done struct {
	at time.Time
	by string
}

func newAuditTrail(dir string, anchor audit.Anchor, keys audit.Unwrapper, now func() time.Time) *auditTrail {
	return &auditTrail{dir: dir, anchor: anchor, keys: keys, now: now, slots: make(chan struct{}, searches), last: map[string]done{}}
}

// verification is against what a segment, and those behind it, are held.
func (t *auditTrail) verification(first int) (audit.VerifyConfig, error) {
	public, err := audit.PublicKeys(t.dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // it does not sign
	}
	return audit.VerifyConfig{Keys: t.keys, Public: public, First: first}, err
}

// Newest implements api.Trail. It goes back segment by segment, each held against the one behind
// it.
func (t *auditTrail) Newest(ctx context.Context, f audit.Filter, before uint64, limit int) (page api.TrailPage, err error) {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return page, context.Cause(ctx)
	}
	from := audit.Dir(t.dir)
	numbers, err := from.Numbers(ctx)
	if err != nil || len(numbers) == 0 {
		return page, err
	}
	at := len(numbers) - 1
	if before > 0 {
		number, err := audit.Locate(ctx, from, before-1)
		if err != nil {
			return page, err
		}
		at = max(slices.Index(numbers, number), 0)
	}
	until := t.now().Add(searchTime)
	for ; at >= 0; at-- {
		first, found, oldest, err := t.segment(ctx, numbers[at], f, before, limit-len(page.Lines))
		if err != nil {
			return api.TrailPage{}, err
		}
		page.Lines = append(page.Lines, found...)
		isEnd := at == 0 || first > 0 && !f.Since.IsZero() && oldest.Before(f.Since)
		switch {
		case len(page.Lines) == limit:
			page.Next = page.Lines[limit-1].Seq
			if page.Next == 1 {
				page.Next = 0
			}
			return page, nil
		case isEnd:
			page.IsPruned = at == 0 && first > 1
			return page, nil
		case first > 0 && t.now().After(until):
			page.Next = first
			return page, nil
		}
	}
	return page, nil
}

// segment returns the number of a segment's first line, its newest lines that the filter selects
// of those before, the newest first, and when it begins.
func (t *auditTrail) segment(ctx context.Context, number int, f audit.Filter, before uint64, limit int) (first uint64, found []audit.Line, begins time.Time, err error) {
	cfg, err := t.verification(number)
	if err != nil {
		return 0, nil, begins, err
	}
	tail := audit.TailOf(audit.Dir(t.dir), cfg)
	defer tail.Close()
	err = tail.Each(ctx, func(l audit.Line) bool {
		if l.Segment > number {
			return false // it names the segment's last line as the one before it
		}
		if first == 0 {
			first, begins = l.Seq, l.Time
		}
		if (before == 0 || l.Seq < before) && f.Matches(&l.Entry) {
			if found = append(found, l); len(found) > 2*limit {
				found = append(found[:0], found[len(found)-limit:]...)
			}
		}
		return true
	})
	if err != nil {
		return 0, nil, begins, err
	}
	found = found[max(0, len(found)-limit):]
	slices.Reverse(found)
	return first, found, begins, nil
}

// look verifies what was written since it looked last: at first the newest segment alone, for all
// of a log takes as long as it is. An error is kept too.
func (t *auditTrail) look(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// The anchor first: lines that are written meanwhile are beyond it.
	head, err := t.anchor.Load(ctx)
	if err == nil && t.tail == nil {
		err = t.begin(ctx)
	}
	if err == nil && t.tail != nil {
		err = t.tail.Each(ctx, func(l audit.Line) bool {
			t.lineAt = l.Time
			t.keep(&l.Entry)
			return true
		})
		t.report = t.tail.Report()
	}
	if ctx.Err() == nil {
		t.at, t.err, t.head = t.now(), err, head
	}
}

// begin makes the tail of the newest segment, and looks back for what was done before it.
func (t *auditTrail) begin(ctx context.Context) error {
	numbers, err := audit.Dir(t.dir).Numbers(ctx)
	if err != nil || len(numbers) == 0 {
		return err
	}
	cfg, err := t.verification(numbers[len(numbers)-1])
	if err != nil {
		return err
	}
	for e, err := range audit.Read(ctx, t.dir, audit.Filter{Since: t.now().Add(-lookBack)}) {
		if err != nil {
			return err
		}
		t.keep(&e)
	}
	t.tail = audit.TailOf(audit.Dir(t.dir), cfg)
	return nil
}

// keep remembers a task of maintenance that was done.
func (t *auditTrail) keep(e *audit.Entry) {
	if e.Outcome != audit.Allowed {
		return
	}
	if task, ok := tasks[e.Action]; ok {
		t.last[task] = done{e.Time, e.Actor}
	}
}

// close forgets keys.
func (t *auditTrail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tail != nil {
		t.tail.Close()
		t.tail = nil
	}
}

var _ api.Trail = (*auditTrail)(nil)
