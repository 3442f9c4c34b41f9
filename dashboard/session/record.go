package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/signin"
)

// What is on record (PCI DSS 4.0.1 requirements 10.2.1.4 and 10.2.1.5).
const (
	resource      = "dashboard"
	actionSignIn  = "sign_in"
	actionSignOut = "sign_out"
	actionEnd     = "session.end"
)

// recordTimeout bounds how long the audit log may hold up a record that no caller waits for.
const recordTimeout = 10 * time.Second

// append writes a record that nobody's answer depends on.
func (m *Manager) append(ctx context.Context, r audit.Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := m.deps.Recorder.Append(ctx, r); err != nil {
		m.cfg.Log.ErrorContext(ctx, "not in the audit log", "action", r.Action, "reason", r.Reason, "error", err)
	}
}

// ended puts sessions that have ended on record.
func (m *Manager) ended(ctx context.Context, all []ending) {
	for _, e := range all {
		r := e.session.record(actionEnd)
		r.Reason = e.why
		if e.why == endSignedOut {
			r.Action, r.Reason = actionSignOut, ""
		}
		if e.why == endOldID {
			m.cfg.Log.WarnContext(ctx, "an id of a session was shown that was replaced before: the session has ended", "session", e.session.name)
		}
		m.append(ctx, r)
	}
}

// record is what every record of a session has.
func (s *session) record(action string) audit.Record {
	mfa := "no"
	if s.identity.MFA {
		mfa = "yes"
	}
	return audit.Record{
		Actor: s.principal.String(), Action: action, Resource: resource, Outcome: audit.Allowed, Origin: s.origin,
		Detail: map[string]string{"session": s.name, "mfa": mfa},
	}
}

// knock is an attempt to get in that was refused.
type knock struct {
	origin, request, reason string
	subject                 string // verified, else empty
}

// refusal is the knock of an error. What is the server's is logged as often as there is a line of
// the record for it: whoever makes many attempts fills no log.
func (m *Manager) refusal(ctx context.Context, origin, request string, err error) {
	k, cause := knock{origin: origin, request: request, reason: "sign_in"}, err
	if refused := new(signin.Error); errors.As(err, &refused) {
		k.reason, k.subject, cause = string(refused.Reason), refused.Subject, refused.Err
	}
	if m.knocks.add(ctx, k) && cause != nil {
		m.cfg.Log.ErrorContext(ctx, "nobody can sign in", "reason", k.reason, "error", cause)
	}
}

// knockEvery is how often an attempt has a line of its own; those between are counted in one.
const knockEvery = time.Second

// knocks records attempts to get in, without letting whoever makes many fill the log: the first in
// a second has a line of its own, the others are counted by reason.
type knocks struct {
	recorder Recorder
	log      *slog.Logger
	now      func() time.Time

	mu      sync.Mutex
	last    time.Time
	skipped map[string]int64 // by reason
}

// add records or counts an attempt, and reports whether it has a line of its own.
func (k *knocks) add(ctx context.Context, one knock) bool {
	now := k.now()
	k.mu.Lock()
	if now.Sub(k.last) < knockEvery {
		if k.skipped == nil {
			k.skipped = map[string]int64{}
		}
		k.skipped[one.reason]++
		k.mu.Unlock()
		return false
	}
	k.last = now
	k.mu.Unlock()
	r := audit.Record{
		Actor: "unknown", Action: actionSignIn, Resource: resource, Outcome: audit.Refused,
		Origin: one.origin, Reason: one.reason, Request: one.request,
	}
	if one.subject != "" {
		r.Actor = one.subject
	}
	k.append(ctx, r)
	return true
}

// flush writes how many attempts were counted.
func (k *knocks) flush(ctx context.Context) {
	k.mu.Lock()
	counts := k.skipped
	k.skipped = nil
	k.mu.Unlock()
	if len(counts) > 0 {
		k.append(ctx, audit.Record{Actor: "unknown", Action: actionSignIn, Resource: resource, Outcome: audit.Refused, Reason: "more attempts", Numbers: counts})
	}
}

// append writes a record; nobody is let in either way.
func (k *knocks) append(ctx context.Context, r audit.Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := k.recorder.Append(ctx, r); err != nil {
		k.log.ErrorContext(ctx, "a refused attempt is not in the audit log", "reason", r.Reason, "error", err)
	}
}
