package grants

import (
	"math"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
)

const minTime, maxTime = math.MinInt64, math.MaxInt64

// memoSize bounds how many decisions each of the two generations of a memo holds: with 120
// tenants a decision takes some kilobytes.
const memoSize = 1024

// memoKey is all that a decision of one set depends on but the time. Policies can ask of the
// reason only whether there is one.
type memoKey struct {
	principal  Principal
	action     Action
	table      *cardlake.Table
	mfa        bool
	breakGlass bool
	reasoned   bool
	tenant     cardlake.Tenant // that the caller is narrowed to
}

// remembered is a decision and the milliseconds since 1970 from and until which it holds.
type remembered struct {
	*Decision
	from, until int64
}

// memo remembers decisions: those of the last two generations. When the younger one is full,
// the elder is forgotten, but for what was asked for since.
type memo struct {
	mu             sync.RWMutex
	younger, elder map[memoKey]remembered
}

func (m *memo) find(k memoKey, now int64) (*Decision, bool) {
	m.mu.RLock()
	r, ok := m.younger[k]
	elder := false
	if !ok {
		r, ok = m.elder[k]
		elder = ok
	}
	m.mu.RUnlock()
	if !ok || now < r.from || now >= r.until {
		return nil, false
	}
	if elder {
		m.put(k, r)
	}
	return r.Decision, true
}

func (m *memo) put(k memoKey, r remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.younger == nil || len(m.younger) >= memoSize {
		m.younger, m.elder = make(map[memoKey]remembered), m.younger
	}
	m.younger[k] = r
}

// Decide returns what the caller may do with the table now. It is never nil; what no policy
// permits is not permitted. The decision holds until its Until, which the caller of Decide
// must heed only if it keeps the decision.
func (s *Set) Decide(c Caller, a Action, t *cardlake.Table, now time.Time) *Decision {
	k := memoKey{c.Principal, a, t, c.MFA, c.BreakGlass, strings.TrimSpace(c.Reason) != "", c.Tenant}
	at := now.UnixMilli()
	if d, ok := s.memo.find(k, at); ok {
		return d
	}
	d, from, until := s.decide(c, a, t, now)
	if _, known := s.principals[c.Principal]; known {
		s.memo.put(k, remembered{d, from, until})
	}
	return d
}
