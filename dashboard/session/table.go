package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
)

// session is one browser's of who signed in. What is below the line is guarded by the table.
type session struct {
	name      string // in records; no secret
	identity  signin.Identity
	principal grants.Principal
	origin    string // that it began from
	csrf      string
	begun     time.Time

	seen    time.Time // when a person did something last
	drawn   time.Time // when the newest id was shown first
	current digest    // of the id that the browser has
	next    string    // the one that it is told, in clear until it has shown it; "" for none
	before  digest    // of the one that it had before
	until   time.Time // that is good
	over    bool
}

// digest is what is kept of an id: who reads the memory has no session by it.
type digest [sha256.Size]byte

func digestOf(id string) digest { return sha256.Sum256([]byte(id)) }

// newID draws the id of a session.
func newID() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// newName draws what may be in records, in letters: no number in it can be taken for a card's.
func newName() string {
	var b [16]byte
	rand.Read(b[:])
	return string(cardlake.AppendLetters(nil, b[:]))
}

// ending is a session that has ended, and why.
type ending struct {
	session *session
	why     string
}

// Why sessions end, in the audit record.
const (
	endIdle       = "idle"
	endLife       = "too_old"
	endReplaced   = "signed_in_again"
	endTooMany    = "too_many"
	endOldID      = "old_id"          // an id was shown that was replaced: somebody else may have it
	endUnknown    = "not_a_principal" // or another one, or the certificate is another's
	endSignedOut  = "signed_out"
	endEverywhere = "signed_out_elsewhere"
)

// table has the sessions by the digests of their ids.
type table struct {
	cfg Config

	mu  sync.Mutex
	ids map[digest]*session
	all map[*session]bool
	of  map[grants.Principal]int
}

func newTable(cfg Config) *table {
	return &table{cfg: cfg, ids: map[digest]*session{}, all: map[*session]bool{}, of: map[grants.Principal]int{}}
}

// errFull says that there are as many sessions as there may be.
var errFull = errors.New("there are as many sessions as there may be")

// add adds a session and returns its id, and whatever it puts an end to: the session that the
// browser had, and those that its principal has too many.
func (t *table) add(s *session, had string, now time.Time) (id string, ended []ending, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before := t.ids[digestOf(had)]; had != "" && before != nil {
		ended = append(ended, t.end(before, endReplaced))
	}
	for t.of[s.principal] >= t.cfg.PerPrincipal {
		var least *session
		for one := range t.all {
			if one.principal == s.principal && (least == nil || one.seen.Before(least.seen)) {
				least = one
			}
		}
		ended = append(ended, t.end(least, endTooMany))
	}
	if len(t.all) >= t.cfg.Sessions {
		return "", ended, errFull
	}
	id = newID()
	s.begun, s.seen, s.drawn, s.current = now, now, now, digestOf(id)
	t.ids[s.current], t.all[s] = s, true
	t.of[s.principal]++
	return id, ended, nil
}

// end takes a session out. The caller holds the lock.
func (t *table) end(s *session, why string) ending {
	delete(t.ids, s.current)
	delete(t.ids, s.before)
	if s.next != "" {
		delete(t.ids, digestOf(s.next))
	}
	delete(t.all, s)
	if t.of[s.principal]--; t.of[s.principal] == 0 {
		delete(t.of, s.principal)
	}
	s.over, s.next = true, ""
	return ending{s, why}
}

// check says why a session is over, "" if it is not. The caller holds the lock.
func (t *table) check(s *session, now time.Time) string {
	switch {
	case now.Sub(s.begun) >= t.cfg.Life:
		return endLife
	case now.Sub(s.seen) >= t.cfg.Idle:
		return endIdle
	}
	return ""
}

// find returns the session of an id, nil if there is none, what has ended by that, and the id that
// the browser is to have from now on, "" for the one it has.
func (t *table) find(id string, now time.Time) (s *session, ended []ending, renewed string) {
	if len(id) > 64 {
		return nil, nil, ""
	}
	shown := digestOf(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	s = t.ids[shown]
	if s == nil {
		return nil, nil, ""
	}
	if why := t.check(s, now); why != "" {
		return nil, []ending{t.end(s, why)}, ""
	}
	switch {
	case shown == s.before:
		if !now.Before(s.until) {
			return nil, []ending{t.end(s, endOldID)}, ""
		}
		return s, nil, ""
	case shown != s.current: // the next one: it has arrived
		delete(t.ids, s.before)
		s.before, s.until = s.current, now.Add(t.cfg.Grace)
		s.current, s.next, s.drawn = shown, "", now
	case s.next == "" && now.Sub(s.drawn) >= t.cfg.Rotate:
		s.next = newID()
		t.ids[digestOf(s.next)] = s
	}
	// Answers may be lost, or overtake each other: each tells the same, until it has arrived.
	return s, nil, s.next
}

// alive reports whether a session that was found has not ended since, and counts what a person did.
func (t *table) alive(s *session, active bool, now time.Time) (ended []ending, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.over {
		return nil, false
	}
	if why := t.check(s, now); why != "" {
		return []ending{t.end(s, why)}, false
	}
	if active {
		s.seen = now
	}
	return nil, true
}

// close ends a session, if it has not ended.
func (t *table) close(s *session, why string) []ending {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.over {
		return nil
	}
	return []ending{t.end(s, why)}
}

// closeOf ends the sessions of a principal.
func (t *table) closeOf(p grants.Principal, why string) (ended []ending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.all {
		if s.principal == p {
			ended = append(ended, t.end(s, why))
		}
	}
	return ended
}

// sweep ends the sessions that are over.
func (t *table) sweep(now time.Time) (ended []ending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.all {
		if why := t.check(s, now); why != "" {
			ended = append(ended, t.end(s, why))
		}
	}
	return ended
}

// clear ends all sessions and says how many there were.
func (t *table) clear() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.all)
	for s := range t.all {
		t.end(s, "")
	}
	return n
}

// ends are when a session ends if nobody does anything, and in any case.
func (t *table) ends(s *session) (idle, life time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	life = s.begun.Add(t.cfg.Life)
	if idle = s.seen.Add(t.cfg.Idle); idle.After(life) {
		idle = life
	}
	return idle, life
}
