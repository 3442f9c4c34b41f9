package flightsql

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// The purposes of a sealed handle: one is never good for the other.
const (
	forTicket   = "ticket"
	forPrepared = "prepared"
)

// ticket is what a handle holds.
type ticket struct {
	ID        string           `json:"id"`
	Principal grants.Principal `json:"principal"`
	Until     time.Time        `json:"until"`
	SQL       []byte           `json:"sql"` // so that no character is escaped, and the length known
	// Schema is that of a prepared statement's answer, serialised, as it was when it was
	// prepared: the stream has its own.
	Schema []byte `json:"schema,omitempty"`
}

// tickets seals statements for callers to hold: AES-256-GCM under a key of this process, with
// nonces drawn at random (NIST SP 800-38D section 8.2.2: fewer than 2^32 for a key).
type tickets struct {
	cfg  Config
	aead cipher.AEAD

	mu sync.Mutex
	// used are the tickets that were used or cancelled and are not too old yet, with what ends
	// the statement while it runs.
	used map[string]*use
}

type use struct {
	until  time.Time
	cancel context.CancelCauseFunc // nil if it does not run
}

func newTickets(cfg Config) (*tickets, error) {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("flight sql: %w", err)
	}
	clear(key)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("flight sql: %w", err)
	}
	return &tickets{cfg: cfg, aead: aead, used: map[string]*use{}}, nil
}

// seal makes a handle of a statement.
func (t *tickets) seal(purpose string, p grants.Principal, sql string, schema []byte, life time.Duration) ([]byte, ticket, error) {
	var id [16]byte
	rand.Read(id[:])
	one := ticket{ID: string(cardlake.AppendLetters(nil, id[:])), Principal: p, Until: t.cfg.Now().Add(life), SQL: []byte(sql), Schema: schema}
	text, err := json.Marshal(one)
	if err != nil {
		return nil, one, fmt.Errorf("ticket: %w", err)
	}
	return t.aead.Seal(nil, nil, text, []byte(purpose)), one, nil
}

// open returns what the handle holds, to whom it was given.
func (t *tickets) open(purpose string, p grants.Principal, handle []byte) (ticket, error) {
	text, err := t.aead.Open(nil, nil, handle, []byte(purpose))
	var one ticket
	if err != nil || json.Unmarshal(text, &one) != nil || one.Principal != p {
		return ticket{}, errTicket
	}
	if !t.cfg.Now().Before(one.Until) {
		return ticket{}, errTicketOld
	}
	return one, nil
}

// redeem opens a ticket, once. The statement that it stands for runs until end is called, or
// cancel is by who cancels it.
func (t *tickets) redeem(p grants.Principal, handle []byte, cancel context.CancelCauseFunc) (one ticket, end func(), err error) {
	if one, err = t.open(forTicket, p, handle); err != nil {
		return ticket{}, nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep()
	if t.used[one.ID] != nil {
		return ticket{}, nil, errTicketUsed
	}
	u := &use{one.Until, cancel}
	t.used[one.ID] = u
	return one, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		u.cancel = nil
	}, nil
}

// cancel ends the statement of a ticket if it runs, and else lets it not begin. It returns false
// if the statement has ended.
func (t *tickets) cancel(p grants.Principal, handle []byte) (bool, error) {
	one, err := t.open(forTicket, p, handle)
	if err != nil {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep()
	u := t.used[one.ID]
	switch {
	case u == nil:
		t.used[one.ID] = &use{until: one.Until}
	case u.cancel == nil:
		return false, nil
	default:
		u.cancel(errCancelled)
	}
	return true, nil
}

// sweep forgets tickets that are too old to be used. The caller holds the lock.
func (t *tickets) sweep() {
	now := t.cfg.Now()
	for id, u := range t.used {
		if u.cancel == nil && !now.Before(u.until) {
			delete(t.used, id)
		}
	}
}
