package api

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/cardlake/cardlake/catalog/grants"
)

// limits keep one principal from taking what is everybody's.
type limits struct {
	cfg Config

	mu      sync.Mutex
	of      map[grants.Principal]*limit
	running int           // statements, of all
	freed   chan struct{} // closed when a statement ends
	swept   time.Time
}

type limit struct {
	calls, figures *rate.Limiter
	running        int // statements
	waiting        int // calls that wait for the place of one
}

// sweepEvery is how often principals who have not called are forgotten.
const sweepEvery = 10 * time.Minute

func newLimits(cfg Config) *limits {
	return &limits{cfg: cfg, of: map[grants.Principal]*limit{}, freed: make(chan struct{})}
}

// find returns the principal's limit. The caller holds the lock.
func (l *limits) find(p grants.Principal, now time.Time) *limit {
	if now.Sub(l.swept) > sweepEvery {
		l.swept = now
		for p, one := range l.of {
			if one.running == 0 && one.waiting == 0 && one.calls.TokensAt(now) >= float64(l.cfg.Burst) && one.figures.TokensAt(now) >= float64(l.cfg.FiguresBurst) {
				delete(l.of, p)
			}
		}
	}
	one, ok := l.of[p]
	if !ok {
		one = &limit{
			calls:   rate.NewLimiter(rate.Every(time.Minute/time.Duration(l.cfg.PerMinute)), l.cfg.Burst),
			figures: rate.NewLimiter(rate.Every(time.Minute/time.Duration(l.cfg.FiguresPerMinute)), l.cfg.FiguresBurst),
		}
		l.of[p] = one
	}
	return one
}

// call counts a call, or returns a problem.
func (l *limits) call(p grants.Principal, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return take(l.find(p, now).calls, now, l.cfg.PerMinute, "calls")
}

// figure counts the call of a figure, of which a page has many.
func (l *limits) figure(p grants.Principal, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return take(l.find(p, now).figures, now, l.cfg.FiguresPerMinute, "figures")
}

func take(from *rate.Limiter, now time.Time, perMinute int, what string) error {
	r := from.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		e := problemOf(kindLimit, "more than %d %s a minute: wait", perMinute, what)
		e.after = wait
		return e
	}
	return nil
}

// begin takes the place of a statement until end is called, or returns a problem.
func (l *limits) begin(p grants.Principal, now time.Time) (end func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.find(p, now)
	var e *problem
	switch {
	case one.running >= l.cfg.PerPrincipal:
		e = problemOf(kindLimit, "%d statements of yours are running: wait for one to end", one.running)
	case l.running >= l.cfg.Queries:
		e = problemOf(kindBusy, "the server runs as many statements as it can: try again")
	default:
		one.running++
		l.running++
		return func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			one.running--
			l.running--
			close(l.freed)
			l.freed = make(chan struct{})
		}, nil
	}
	e.after = time.Second
	return nil, e
}

const (
	// waitForPlace is how long a figure waits for its place among the statements.
	waitForPlace = 10 * time.Second
	// maxPlaces is how many figures of one principal wait.
	maxPlaces = 64
)

// await is begin that waits for a place, as long as a person would look on.
func (l *limits) await(ctx context.Context, p grants.Principal, now func() time.Time) (end func(), err error) {
	end, err = l.begin(p, now())
	if err == nil || !l.queue(p, now(), 1) {
		return end, err
	}
	defer l.queue(p, now(), -1)
	up := time.NewTimer(waitForPlace)
	defer up.Stop()
	for {
		l.mu.Lock()
		freed := l.freed
		l.mu.Unlock()
		if end, err = l.begin(p, now()); err == nil {
			return end, nil
		}
		select {
		case <-freed:
		case <-up.C:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// queue counts who waits, and returns false if as many of the principal's wait as may.
func (l *limits) queue(p grants.Principal, now time.Time, by int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.find(p, now)
	if by > 0 && one.waiting >= maxPlaces {
		return false
	}
	one.waiting += by
	return true
}
