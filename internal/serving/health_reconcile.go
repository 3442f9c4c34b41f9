package serving

import (
	"context"
	"errors"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/queries/reconcile"
)

const (
	// reconcileAge is how old a comparison may be, reconcileTime how long it may take, and
	// reconcileWait how long somebody who looks waits for it.
	reconcileAge, reconcileTime, reconcileWait = 5 * time.Minute, 5 * time.Minute, 3 * time.Second
	// reconcileBack is how far back is compared.
	reconcileBack = 24 * time.Hour
)

// reconcile compares the last day's rows with the totals.
func (h *health) reconcile(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reconcileTime)
	defer cancel()
	since := h.Now().UTC().Add(-reconcileBack).Truncate(time.Minute)
	r, err := reconcile.Run(ctx, h.Asker, reconcile.Config{Since: since})
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed, h.ended = err, h.Now(); err == nil {
		h.report, h.since = &r, since
	}
	close(h.ready)
	h.ready = make(chan struct{})
}

// reconciliation tells of the newest comparison, and has a newer one made if it is old.
func (h *health) reconciliation(ctx context.Context, now time.Time) (out api.HealthReconciliation) {
	out.Tenants = []api.HealthTenant{}
	if h.Asker == nil {
		out.Note(api.Unknown, api.HealthNote{Code: "not_compared", Text: "nobody compares rows with control totals: start the server with -watermarks PRINCIPAL, or run \"cardlake reconcile\""})
		return out
	}
	h.mu.Lock()
	ready, isOld := h.ready, h.ended.IsZero() || now.Sub(h.ended) >= reconcileAge
	h.mu.Unlock()
	if isOld {
		select {
		case h.compare <- struct{}{}:
		default: // it is asked for already
		}
		select {
		case <-ready:
		case <-time.After(reconcileWait):
		case <-ctx.Done():
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	out.Status = api.Well
	switch {
	case h.failed != nil:
		out.Fail(h.failed)
	case h.report == nil:
		out.Fail(errors.New("rows and totals are being compared: look again in a moment"))
	}
	if h.report != nil {
		tellReport(&out, h.report, h.since)
	}
	return out
}

// tellReport tells of a comparison of the minutes since then.
func tellReport(out *api.HealthReconciliation, r *reconcile.Report, since time.Time) {
	at := r.At.UTC()
	out.At, out.Since = &at, &since
	// Up to the first minute that is not complete; the one that goes on is complete to no one.
	end := at.Truncate(time.Minute)
	until := map[cardlake.Tenant]time.Time{}
	lower := func(tenant cardlake.Tenant, to time.Time) {
		if had, ok := until[tenant]; !ok || to.Before(had) {
			until[tenant] = to
		}
	}
	for _, m := range r.Minutes {
		lower(m.Tenant, m.Minute.UTC())
	}
	for _, g := range r.Gaps {
		lower(g.Tenant, g.After.UTC())
	}
	least := end
	for _, t := range r.Tenants {
		one := api.HealthTenant{
			Tenant: t.Tenant, Complete: t.Complete, Unconfirmed: t.Unconfirmed, Late: t.Late, Wrong: t.Wrong, Gaps: t.Gaps, Rows: t.Rows, Counted: t.Counted,
		}
		complete, ok := until[t.Tenant]
		if !ok || complete.After(end) {
			complete = end
		}
		if r.Unlisted == 0 && complete.After(since) {
			one.CompleteUntil = &complete
		}
		if complete.Before(least) {
			least = complete
		}
		if bad := t.Wrong + t.Gaps; bad > 0 {
			out.Note(api.Failing, api.HealthNote{Code: "wrong_minutes", Subject: string(t.Tenant), Count: bad,
				Text: "rows were lost, added or changed, or never counted: see \"cardlake reconcile\""})
		}
		if t.Late > 0 {
			out.Note(api.Attention, api.HealthNote{Code: "late_minutes", Subject: string(t.Tenant), Count: t.Late, Text: "rows are missing that may still come"})
		}
		out.Tenants = append(out.Tenants, one)
	}
	if r.Unlisted == 0 && len(r.Tenants) > 0 && least.After(since) {
		out.CompleteUntil = &least
	}
}
