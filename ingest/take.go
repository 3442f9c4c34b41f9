package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// take handles one record: it becomes a row, a rejected row, or is dropped as a duplicate.
// The only errors are the key service's; then nothing was taken.
func (w *Worker) take(ctx context.Context, r *Record, now time.Time) error {
	state := w.parts[r.Position.StreamPartition]
	if state == nil || r.Position.Offset < state.next.Next {
		return nil // of a partition that was given back, or before a Seek
	}
	if w.open == nil {
		w.open = w.openWindow(now)
	}
	if !r.End && (len(w.kept) == 0 || !w.kept[r.Position]) {
		if err := w.judge(ctx, r, state, now); err != nil {
			return err
		}
	}
	state.next = cardlake.Offset{Next: r.Position.Offset, Mark: r.Mark}
	if !r.End {
		state.next.Next++
		state.last = r.Time
		w.stats.records.Add(1)
	}
	return nil
}

// judge makes the record a row or a rejected row.
func (w *Worker) judge(ctx context.Context, r *Record, state *part, now time.Time) error {
	err := w.row(ctx, r, state, now)
	for attempt := 0; err != nil; attempt++ {
		reason, isFinal := rejection(err)
		if !isFinal {
			return err
		}
		// Once it is final, only the rejection is tried again: the event counts as seen.
		failure := w.reject(ctx, r, now, reason, err)
		if failure == nil {
			return nil
		}
		if !w.retry(ctx, failure, r.Position) {
			return failure
		}
	}
	w.keyFailures = 0
	return nil
}

// errTenant marks an event of a tenant that is not in the register.
var errTenant = errors.New("field tenant names no tenant of the register")

// errField marks an event that is well formed and breaks a rule of the table.
var errField = errors.New("invalid field")

// tenant is what every row of a tenant needs.
type tenant struct {
	owner  keys.Owner
	minter *tokenize.Minter
}

// tenantOf looks the tenant up, once for the records of a Poll.
func (w *Worker) tenantOf(ctx context.Context, name cardlake.Tenant, now time.Time) (tenant, error) {
	if t, ok := w.tenants[name]; ok {
		return t, nil
	}
	record, err := w.Tenants.Lookup(name)
	if err != nil {
		return tenant{}, errTenant
	}
	t := tenant{owner: keys.OwnerOf(record.StorageID)}
	if t.minter, err = w.tokenizer.Minter(ctx, t.owner, now); err != nil {
		return tenant{}, err
	}
	w.tenants[cardlake.Tenant(strings.Clone(string(name)))] = t // the name lies in the record
	return t, nil
}

// row decodes, opens and tokenises the record and adds it to the open window, unless its
// event is there already.
func (w *Worker) row(ctx context.Context, r *Record, state *part, now time.Time) error {
	m := &w.msg
	sealed, err := w.decoder.Decode(r.Value, m)
	if err != nil {
		return err
	}
	t, err := w.tenantOf(ctx, m.Tenant, now)
	if err != nil {
		return err
	}
	if err := w.decoder.Open(ctx, t.owner, m, sealed); err != nil {
		return err
	}
	defer m.PAN.Clear()
	t.minter.Apply(m)
	m.IngestedAt = now.UnixMicro()
	m.Position = r.Position
	// A clock that runs ahead must not make the window forget.
	eventTime := min(m.EventTime, m.IngestedAt)
	if !w.seen.add(m.EventID, eventTime) {
		w.stats.duplicates.Add(1)
		return nil
	}
	if err := w.open.rows.Add(&m.Transaction); err != nil {
		return fmt.Errorf("%w: %w", errField, err)
	}
	w.stats.rows.Add(1)
	state.newest = max(state.newest, eventTime)
	if newest := w.open.newest; eventTime < newest {
		w.stats.outOfOrder.Add(1)
		if newest-eventTime > w.cfg.LateAfter.Microseconds() {
			w.stats.late.Add(1)
		}
	} else {
		w.open.newest = eventTime
	}
	return nil
}

// rejection returns why a record can never become a row, and false if it may.
func rejection(err error) (reason string, final bool) {
	switch {
	case errors.Is(err, wire.ErrUnknownSchema):
		return "unknown_schema", true
	case errors.Is(err, wire.ErrUndecodable):
		return "undecodable", true
	case errors.Is(err, errTenant):
		return "unknown_tenant", true
	case errors.Is(err, wire.ErrUnopenable), errors.Is(err, keys.ErrNoKey):
		return "unopenable", true
	case errors.Is(err, errField):
		return "invalid_field", true
	}
	return "", false
}

// reject adds the record to the rejected table's window, sealed.
func (w *Worker) reject(ctx context.Context, r *Record, now time.Time, reason string, cause error) error {
	w.payload = appendPayload(w.payload[:0], r)
	sealed, err := w.rejects.AppendSealed(ctx, nil, keys.Lake, w.payload, rejectedAAD(r.Position))
	clear(w.payload)
	if err != nil {
		return err
	}
	err = w.open.rejects.Add(&cardlake.RejectedRecord{
		RejectedAt: now.UnixMicro(), Reason: reason, Detail: cause.Error(), Position: r.Position,
		RecordTime: r.Time.UnixMicro(), Payload: sealed,
	})
	if err != nil {
		return err
	}
	w.stats.reject(reason)
	return nil
}
