package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
)

// actionSignIn is what whoever is not let in has tried (PCI DSS 4.0.1 requirement 10.2.1.4).
const actionSignIn = "sign_in"

// knockEvery is how often an attempt has a line of its own; those between are counted in one.
const knockEvery = time.Second

// recordTimeout bounds how long the audit log may hold up a record that no caller waits for.
const recordTimeout = 10 * time.Second

// knock is an attempt to get in that was refused.
type knock struct {
	origin, request, reason string
	subject                 string // verified, else empty
}

// knocks records attempts to get in, without letting whoever makes many fill the log: the first
// in a second has a line of its own, the others are counted by reason.
type knocks struct {
	recorder Recorder
	metrics  *metrics
	log      *slog.Logger
	now      func() time.Time

	mu      sync.Mutex
	last    time.Time
	skipped map[string]int64 // by reason
}

// add records or counts an attempt.
func (k *knocks) add(ctx context.Context, one knock) {
	k.metrics.attempts.WithLabelValues(one.reason).Inc()
	now := k.now()
	k.mu.Lock()
	if now.Sub(k.last) < knockEvery {
		if k.skipped == nil {
			k.skipped = map[string]int64{}
		}
		k.skipped[one.reason]++
		k.mu.Unlock()
		return
	}
	k.last = now
	k.mu.Unlock()
	r := audit.Record{
		Actor: "unknown", Action: actionSignIn, Resource: "api", Outcome: audit.Refused,
		Origin: one.origin, Reason: one.reason, Request: one.request,
	}
	if one.subject != "" {
		r.Actor = one.subject
	}
	k.append(ctx, r)
}

// flush writes how many attempts were counted.
func (k *knocks) flush(ctx context.Context) {
	k.mu.Lock()
	counts := k.skipped
	k.skipped = nil
	k.mu.Unlock()
	if len(counts) > 0 {
		k.append(ctx, audit.Record{Actor: "unknown", Action: actionSignIn, Resource: "api", Outcome: audit.Refused, Reason: "more attempts", Numbers: counts})
	}
}

// append writes a record that nobody's answer depends on: nothing is let in either way.
func (k *knocks) append(ctx context.Context, r audit.Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := k.recorder.Append(ctx, r); err != nil {
		k.log.Error("a refused attempt is not in the audit log", "reason", r.Reason, "error", err)
	}
}

// run flushes until ctx ends.
func (k *knocks) run(ctx context.Context) {
	tick := time.NewTicker(knockEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			k.flush(ctx)
			return
		case <-tick.C:
			k.flush(ctx)
		}
	}
}
