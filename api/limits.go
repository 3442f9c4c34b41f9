package api

import (
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
	running int // statements, of all
	swept   time.Time
}

type limit struct {
	calls   *rate.Limiter
	running int // statements
}

// sweepEvery is how often principals who have not called are forgotten.
const sweepEvery = 10 * time.Minute

func newLimits(cfg Config) *limits { return &limits{cfg: cfg, of: map[grants.Principal]*limit{}} }

// find returns the principal's limit. The caller holds the lock.
func (l *limits) find(p grants.Principal, now time.Time) *limit {
	if now.Sub(l.swept) > sweepEvery {
		l.swept = now
		for p, one := range l.of {
			if one.running == 0 && one.calls.TokensAt(now) >= float64(l.cfg.Burst) {
				delete(l.of, p)
			}
		}
	}
	one, ok := l.of[p]
	if !ok {
		one = &limit{calls: rate.NewLimiter(rate.Every(time.Minute/time.Duration(l.cfg.PerMinute)), l.cfg.Burst)}
		l.of[p] = one
	}
	return one
}

// call counts a call, or returns a problem.
func (l *limits) call(p grants.Principal, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.find(p, now).calls.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		e := problemOf(kindLimit, "more than %d calls a minute: wait", l.cfg.PerMinute)
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
		}, nil
	}
	e.after = time.Second
	return nil, e
}
