package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
)

const (
	// rememberFor is how long it is said of a question that its rows are not kept any more.
	rememberFor = time.Hour
	// rememberMost is how many questions of a principal are known, kept or not.
	rememberMost = 64
	// sweepQuestions is how often rows whose time is over are let go.
	sweepQuestions = 10 * time.Second
)

// idempotencyKey is a caller's key, which is good for one body.
type idempotencyKey struct {
	owner grants.Principal
	key   string
}

// fingerprint is of what the key is good for.
type fingerprint = [sha256.Size]byte

// questions are the statements that run and the answers that are kept. What is a principal's is
// bounded by itself: nobody's rows give way to another's.
type questions struct {
	cfg Config

	mu      sync.Mutex
	of      map[string]*question // by id
	keys    map[idempotencyKey]*keyed
	ended   bool
	running sync.WaitGroup // of kept questions
}

// keyed is what a key was used for.
type keyed struct {
	question *question
	print    fingerprint
}

func newQuestions(cfg Config) *questions {
	return &questions{cfg: cfg, of: map[string]*question{}, keys: map[idempotencyKey]*keyed{}}
}

// begin adds a question, or returns the one that its key was used for.
func (qs *questions) begin(q *question, print fingerprint) (_ *question, isNew bool, _ error) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if qs.ended {
		return nil, false, errEnding
	}
	qs.sweep()
	if q.key.key != "" {
		if had, ok := qs.keys[q.key]; ok {
			if had.print != print {
				return nil, false, problemOf(kindKeyReused, "the Idempotency-Key was used for another request: use a key of its own for each")
			}
			return had.question, false, nil
		}
	}
	own := qs.owned(q.owner)
	for len(own) >= rememberMost {
		if own[0].snapshot().state == stateRunning {
			break // the running ones have a bound of their own
		}
		qs.forget(own[0])
		own = own[1:]
	}
	q.changed, q.state = make(chan struct{}), stateRunning
	qs.of[q.id] = q
	if q.key.key != "" {
		qs.keys[q.key] = &keyed{q, print}
	}
	if q.isKept {
		qs.running.Add(1)
		qs.makeRoom(q.owner, q)
	}
	return q, true, nil
}

// owned are the questions of a principal, those that ended longest ago first, those that run
// last. The caller holds the lock.
func (qs *questions) owned(p grants.Principal) []*question {
	now, ended := qs.cfg.Now(), map[*question]time.Time{}
	var out []*question
	for _, q := range qs.of {
		if q.owner == p {
			out = append(out, q)
			if ended[q] = q.snapshot().ended; ended[q].IsZero() {
				ended[q] = now
			}
		}
	}
	slices.SortFunc(out, func(a, b *question) int {
		return cmp.Or(ended[a].Compare(ended[b]), a.asked.Compare(b.asked), cmp.Compare(a.id, b.id))
	})
	return out
}

// makeRoom lets answers of the principal go, the oldest first, until what it has with the next is
// within the bounds. It returns false if what is left, which runs, is beyond them. The caller
// holds the lock.
func (qs *questions) makeRoom(p grants.Principal, next *question) bool {
	own := qs.owned(p)
	kept, bytes := 0, int64(0)
	for _, q := range own {
		if v := q.snapshot(); v.rows != nil || q == next {
			kept, bytes = kept+1, bytes+v.bytes
		}
	}
	for _, q := range own {
		if kept <= qs.cfg.KeptAnswers && bytes <= qs.cfg.KeptBytesEach {
			return true
		}
		if v := q.snapshot(); v.state == stateDone && v.rows != nil {
			qs.drop(q, stateExpired)
			kept, bytes = kept-1, bytes-v.bytes
		}
	}
	return bytes <= qs.cfg.KeptBytesEach
}

// grew is called when a question has more rows: it returns a problem when there is no place for
// them.
func (qs *questions) grew(q *question, rows, bytes int64) error {
	q.grew(rows, bytes)
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if !qs.makeRoom(q.owner, q) {
		return problemOf(kindKeptTooLarge, "the answer has more than the %d bytes that are kept for you: ask without page_rows, async and Idempotency-Key, which streams it, or add a LIMIT or an aggregate", qs.cfg.KeptBytesEach)
	}
	total := int64(0)
	for _, other := range qs.of {
		total += other.snapshot().bytes
	}
	if total > qs.cfg.KeptBytes {
		return problemOf(kindBusy, "the server keeps as many answers as it can: try again, or ask without page_rows, async and Idempotency-Key, which streams the answer")
	}
	return nil
}

// end is called when a question has ended. A key whose question failed is free again: to ask
// again changes nothing.
func (qs *questions) end(q *question, err error) {
	q.end(err, qs.cfg.Now())
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if err != nil {
		qs.freeKey(q)
	}
	if !q.isKept {
		delete(qs.of, q.id)
		return
	}
	qs.running.Done()
}

// drop lets the rows of a question go. The caller holds the lock.
func (qs *questions) drop(q *question, state string) {
	q.drop(state, qs.cfg.Now())
	qs.freeKey(q)
}

func (qs *questions) freeKey(q *question) {
	if had, ok := qs.keys[q.key]; ok && had.question == q {
		delete(qs.keys, q.key)
	}
}

// forget lets the question go, and that it ever was. The caller holds the lock.
func (qs *questions) forget(q *question) {
	qs.drop(q, stateExpired)
	delete(qs.of, q.id)
}

// cancel ends a question, and lets its rows go.
func (qs *questions) cancel(q *question) {
	q.cancel(errCancelled)
	qs.mu.Lock()
	defer qs.mu.Unlock()
	qs.drop(q, stateCancelled)
}

// find returns the caller's question of the id. Of others' it is said that there is none, and of
// one's own to who is narrowed to a tenant and asked otherwise.
func (qs *questions) find(c grants.Caller, id string) (*question, error) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	qs.sweep()
	if q, ok := qs.of[id]; ok && q.isOf(c) {
		return q, nil
	}
	return nil, problemOf(kindQuery, "there is no query of yours with this id: it is the one that POST /v1/query answered with, and is known for about an hour; GET /v1/queries lists yours")
}

// isOf reports whether the question is the caller's, asked for the tenant that it is narrowed to.
func (q *question) isOf(c grants.Caller) bool {
	return q.owner == c.Principal && (c.Tenant == "" || c.Tenant == q.caller.Tenant)
}

// list returns the caller's questions that find returns, the newest first.
func (qs *questions) list(c grants.Caller) []*question {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	qs.sweep()
	own := slices.DeleteFunc(qs.owned(c.Principal), func(q *question) bool { return !q.isOf(c) })
	slices.SortFunc(own, func(a, b *question) int { return cmp.Or(b.asked.Compare(a.asked), cmp.Compare(a.id, b.id)) })
	return own
}

// sweep lets go what has been kept for its time. The caller holds the lock.
func (qs *questions) sweep() {
	now := qs.cfg.Now()
	for _, q := range qs.of {
		v := q.snapshot()
		switch {
		case v.state == stateRunning || v.ended.IsZero():
		case now.Sub(v.ended) > rememberFor && v.rows == nil:
			qs.forget(q)
		case v.state == stateDone && now.Sub(v.ended) > qs.cfg.KeepFor:
			qs.drop(q, stateExpired)
		}
	}
}

// run sweeps until ctx ends.
func (qs *questions) run(ctx context.Context) {
	tick := time.NewTicker(sweepQuestions)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			qs.mu.Lock()
			qs.sweep()
			qs.mu.Unlock()
		}
	}
}

// close ends what runs, waits for it, and lets every answer go.
func (qs *questions) close() {
	qs.mu.Lock()
	qs.ended = true
	for _, q := range qs.of {
		q.cancel(errEnding)
	}
	qs.mu.Unlock()
	qs.running.Wait()
	qs.mu.Lock()
	defer qs.mu.Unlock()
	for _, q := range qs.of {
		qs.forget(q)
	}
}
