package detokenize

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// State is how far a request is.
type State string

const (
	Waiting   State = "waiting" // for its approver
	Approved  State = "approved"
	Collected State = "collected"
	Expired   State = "expired"
)

// pending is one request. What it is asked for never changes.
type pending struct {
	id        string
	tenant    cardlake.Tenant
	owner     keys.Owner
	count     int // of tokens
	purpose   string
	requester string
	person    string // the requester's
	made      time.Time

	// Guarded by the lock of requests, or by whoever made it busy.
	tokens   []tokenize.Token // nil when it has ended
	state    State
	until    time.Time // waiting, approved: when it expires
	approver string
	busy     bool // a step of it is under way
}

// remembered is how long an answered or expired request is told apart from one that never was.
const remembered = time.Hour

// requests are those that wait, and those that have ended lately.
type requests struct {
	mu   sync.Mutex
	byID map[string]*pending
}

func newRequests() *requests { return &requests{byID: map[string]*pending{}} }

func newID() string {
	var id [16]byte
	rand.Read(id[:])
	return string(cardlake.AppendLetters(nil, id[:]))
}

// sweep expires and forgets. The caller holds the lock.
func (r *requests) sweep(now time.Time) {
	for id, p := range r.byID {
		if p.busy {
			continue
		}
		if (p.state == Waiting || p.state == Approved) && !now.Before(p.until) {
			p.state, p.tokens = Expired, nil
		}
		if now.Sub(p.until) > remembered {
			delete(r.byID, id)
		}
	}
}

// add keeps a request if there is room: among all, and in the principal's budget besides
// what its open requests will take.
func (r *requests) add(p *pending, now time.Time, room, most int) *Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now)
	open := 0
	for _, other := range r.byID {
		if other.state != Waiting && other.state != Approved {
			continue
		}
		open++
		if other.person == p.person {
			room -= other.count
		}
	}
	switch {
	case p.count > room:
		return refuse(RuleBudget, "the budget of tokens in an hour has no room for %d: wait, or ask for fewer", p.count)
	case open >= most:
		return refuse(RulePending, "%d requests are open: wait until some are collected or expire", open)
	}
	r.byID[p.id] = p
	return nil
}

// drop takes a request back that could not be recorded.
func (r *requests) drop(p *pending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, p.id)
}

// peek returns a copy of a request.
func (r *requests) peek(id string, now time.Time) (pending, *Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now)
	p, ok := r.byID[id]
	if !ok {
		return pending{}, refuse(RuleRequest, "there is no request of this id, or no longer: a restart of the service forgets them")
	}
	return *p, nil
}

// take begins a step of the request that must be in the state. Until end is called no other
// step of it begins. With a refusal it returns the request too, if there is one, for what
// never changes of it.
func (r *requests) take(id string, in State, now time.Time) (*pending, *Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now)
	p, ok := r.byID[id]
	switch {
	case !ok:
		return nil, refuse(RuleRequest, "there is no request of this id, or no longer: a restart of the service forgets them")
	case p.busy:
		return p, refuse(RuleBusy, "another call for the request is under way")
	case p.state == in:
		p.busy = true
		return p, nil
	case p.state == Expired:
		return p, refuse(RuleExpired, "the request was not approved or collected in time: make it again")
	case p.state == Collected:
		return p, refuse(RuleCollected, "the request was answered: an answer is handed out once")
	case p.state == Approved:
		return p, refuse(RuleApproved, "the request is approved already")
	default:
		return p, refuse(RuleNotApproved, "no second person has approved the request")
	}
}

// end ends a step with a change of the request, or with none.
func (r *requests) end(p *pending, change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.busy = false
	if change != nil {
		change()
	}
}

// budgetWindow is the time over which revealed tokens are counted.
const budgetWindow = time.Hour

// budget counts the tokens that principals have turned back within the window.
type budget struct {
	mu   sync.Mutex
	used map[string][]use
}

type use struct {
	at     time.Time
	tokens int
}

func newBudget() *budget { return &budget{used: map[string][]use{}} }

// spent is what a principal has used within the window.
func (b *budget) spent(principal string, now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spentLocked(principal, now)
}

func (b *budget) spentLocked(principal string, now time.Time) int {
	uses, sum := b.used[principal], 0
	for len(uses) > 0 && now.Sub(uses[0].at) >= budgetWindow {
		uses = uses[1:]
	}
	for _, u := range uses {
		sum += u.tokens
	}
	if len(uses) == 0 {
		delete(b.used, principal)
	} else {
		b.used[principal] = uses
	}
	return sum
}

// reserve charges a principal if there is room, and returns how to take it back.
func (b *budget) reserve(principal string, tokens, most int, now time.Time) (release func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spentLocked(principal, now)+tokens > most {
		return nil, false
	}
	b.used[principal] = append(b.used[principal], use{now, tokens})
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for i, u := range b.used[principal] {
			if u.at.Equal(now) && u.tokens == tokens {
				b.used[principal] = append(b.used[principal][:i:i], b.used[principal][i+1:]...)
				return
			}
		}
	}, true
}

func (b *budget) charge(principal string, tokens int, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used[principal] = append(b.used[principal], use{at, tokens})
}
