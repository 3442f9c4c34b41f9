package labels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights"
)

// ErrNotPermitted says that the principal may not label the tenant's events. Why is in the audit record.
var ErrNotPermitted = errors.New("not permitted: saying what is fraud needs a grant of review for the tenant")

// ErrNoAlert says that there is no such alert, or that it is not the principal's to see: the two are told alike.
var ErrNoAlert = errors.New("there is no such alert among those that you may review")

// Desk takes reports from one principal.
type Desk struct {
	deps   insights.Deps
	caller grants.Caller
}

// New returns a desk for the caller.
func New(deps insights.Deps, caller grants.Caller) *Desk { return &Desk{deps, caller} }

// Outcome is what became of reports.
type Outcome struct {
	Tenant cardlake.Tenant
	Added  int
	Known  int // repeats: nothing was done about them
	// Strangers are events that were added to and are not in cards.transactions, or not yet.
	Strangers int64
}

// Tenant returns the one tenant that is meant: the named one, or the only one whose events the caller may label. A refusal is on record.
func (d *Desk) Tenant(ctx context.Context, name cardlake.Tenant) (cardlake.Tenant, error) {
	permitted := d.deps.Permits.Permitted(d.caller, grants.Review).Tenants
	switch {
	case name != "":
		return name, nil
	case len(permitted) == 1:
		return permitted[0], nil
	case len(permitted) == 0:
		return "", d.refuse(ctx, "label.add", "labels", "no tenant", ErrNotPermitted)
	}
	return "", errors.New("you may label the events of several tenants: name one")
}

// Add records reports that came in a file for the tenant, each that is not known yet, in one commit.
func (d *Desk) Add(ctx context.Context, tenant cardlake.Tenant, source Source, reports []Report) (Outcome, error) {
	if source != Chargeback && source != File {
		return Outcome{}, fmt.Errorf("labels in files are of source %s or %s", Chargeback, File)
	}
	now := d.deps.Now()
	for i := range reports {
		if err := reports[i].check(now); err != nil {
			return Outcome{}, fmt.Errorf("report %d: %w", i+1, err)
		}
	}
	out, recorded, err := d.commit(ctx, tenant, "label.add", source, reports)
	if err != nil || out.Added == 0 {
		return out, err
	}
	out.Strangers, err = d.strangers(ctx, tenant, recorded)
	if err != nil {
		return out, fmt.Errorf("%d labels were added; whether their events are in the lake could not be read: %w", out.Added, err)
	}
	return out, nil
}

// maxAlerts bounds a review: every alert of it is named on the audit record.
const maxAlerts = 100

// Review says of alerts that they are fraud, which confirms them, or genuine, which dismisses them, all of them or none. They are
// looked up as the caller, in views.alerts: of one that the caller may not see it fails with [ErrNoAlert], on record. All are of one tenant;
// the empty name stands for every tenant that the caller may review.
func (d *Desk) Review(ctx context.Context, tenant cardlake.Tenant, label Label, note string, alerts []string) (Outcome, error) {
	if err := CheckNote(note); err != nil {
		return Outcome{}, err
	}
	alerts = slices.Compact(slices.Sorted(slices.Values(alerts)))
	if len(alerts) == 0 || len(alerts) > maxAlerts {
		return Outcome{}, fmt.Errorf("%d alerts: a review is of 1 to %d", len(alerts), maxAlerts)
	}
	for _, id := range alerts {
		if len(id) != 32 || strings.ContainsFunc(id, func(r rune) bool { return r < 'a' || r > 'p' }) {
			return Outcome{}, errors.New("an alert's id is 32 letters a to p, as \"cardlake job alerts\" shows them")
		}
	}
	ruling := d.deps.Permits.Permitted(d.caller, grants.Review)
	tenants := ruling.Tenants
	if tenant != "" {
		tenants = nil
		if ruling.For(tenant) {
			tenants = []cardlake.Tenant{tenant}
		}
	}
	if len(tenants) == 0 {
		return Outcome{}, d.refuse(ctx, "label.review", "alerts", ruling.Reason, ErrNotPermitted)
	}
	var of cardlake.Tenant
	var reports []Report
	for _, t := range tenants {
		sql := "SELECT alert_id, event_id, pattern FROM views.alerts WHERE tenant = " + insights.Text(string(t)) +
			" AND alert_id IN (" + list(alerts) + ") ORDER BY alert_id"
		err := d.each(ctx, t, sql, func(row []any) error {
			if of != "" && of != t {
				return errors.New("the alerts are of several tenants: review those of one at a time")
			}
			of = t
			if id, _ := row[1].(string); !isEventID(id) {
				return errors.New("a review is of an event, and the ids of events are not given to you as they are: ask for a grant of column event_id of insights.alerts")
			}
			r := Report{EventID: row[1].(string), Label: label, Note: note, alertID: row[0].(string)}
			if label == Fraud {
				r.Pattern, _ = row[2].(string)
			}
			reports = append(reports, r)
			return nil
		})
		if err != nil {
			return Outcome{}, err
		}
	}
	if len(reports) != len(alerts) {
		err := fmt.Errorf("%w: %d of %d were found, and nothing was done", ErrNoAlert, len(reports), len(alerts))
		return Outcome{}, d.refuse(ctx, "label.review", "alerts", "not among those that the principal may see and review", err)
	}
	out, _, err := d.commit(ctx, of, "label.review", Review, reports)
	return out, err
}

func list(ids []string) string {
	var texts []string
	for _, id := range ids {
		texts = append(texts, insights.Text(id))
	}
	return strings.Join(texts, ", ")
}

// permitted returns the tenant's record if the caller may label its events. A refusal is on record.
func (d *Desk) permitted(ctx context.Context, action string, name cardlake.Tenant) (catalog.TenantRecord, error) {
	ruling := d.deps.Permits.Permitted(d.caller, grants.Review)
	if name == "" || !ruling.For(name) {
		return catalog.TenantRecord{}, d.refuse(ctx, action, "labels of tenant "+string(name), ruling.Reason, ErrNotPermitted)
	}
	return d.deps.Tenants.Lookup(name)
}

// refuse puts a refusal on record and returns err.
func (d *Desk) refuse(ctx context.Context, action, resource, reason string, err error) error {
	line := d.line(action, resource)
	line.Outcome, line.Reason = audit.Refused, reason
	if failed := d.deps.Recorder.Append(ctx, line); failed != nil {
		return fmt.Errorf("%w: %w", queries.ErrUnrecorded, failed)
	}
	return err
}

func (d *Desk) line(action, resource string) audit.Record {
	return audit.Record{
		Actor: d.caller.Principal.String(), Action: action, Resource: resource,
		Outcome: audit.Allowed, Origin: d.caller.Origin, Reason: d.caller.Reason,
	}
}

// attempts bounds how often labels are planned anew because others were committed meanwhile.
const attempts = 8

// commit adds the reports that are not known yet. The tenant's labels have a stream partition of their own in the table's positions, which every
// commit moves: of two at a time one is refused and looks again at what is known, so that a repeat is seen whoever makes it.
func (d *Desk) commit(ctx context.Context, name cardlake.Tenant, action string, source Source, reports []Report) (out Outcome, recorded time.Time, err error) {
	for attempt := 1; ; attempt++ {
		tenant, err := d.permitted(ctx, action, name)
		if err != nil {
			return out, recorded, err
		}
		recorded = d.deps.Now().UTC().Truncate(time.Microsecond)
		out = Outcome{Tenant: name}
		table, err := d.deps.Table(ctx, cardlake.Labels)
		if err != nil {
			return out, recorded, err
		}
		stream := insights.StreamOf("labels", tenant.StorageID)
		positions, err := table.Positions(ctx)
		if err != nil {
			return out, recorded, err
		}
		known, err := d.known(ctx, name, source)
		if err != nil {
			return out, recorded, err
		}
		rows := known.fresh(tenant.StorageID, source, reports, recorded)
		out.Known = len(reports) - len(rows)
		if len(rows) == 0 {
			return out, recorded, nil
		}
		line := d.line(action, "labels of tenant "+string(name))
		line.Detail, line.Numbers = map[string]string{"source": string(source)}, map[string]int64{"rows": int64(len(rows))}
		if source == Review {
			var ids []string
			for _, r := range rows {
				ids = append(ids, r.alertID)
			}
			line.Detail["label"], line.Detail["alerts"] = string(rows[0].Label), strings.Join(ids, " ")
		}
		if err := d.deps.Recorder.Append(ctx, line); err != nil {
			return out, recorded, fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
		}
		from := positions[stream].Next
		s := sheet{store: d.deps.Store, tenant: tenant, reporter: d.caller.Principal.String(), source: source, recorded: recorded}
		files, err := s.write(ctx, rows)
		if err == nil {
			_, err = table.Append(ctx, catalog.Append{
				Files: files,
				From:  cardlake.Positions{stream: cardlake.Offset{Next: from}}, To: cardlake.Positions{stream: cardlake.Offset{Next: from + 1}},
			})
		}
		switch {
		case err == nil:
			out.Added = len(rows)
			return out, recorded, nil
		case errors.Is(err, catalog.ErrUnknown):
			return out, recorded, fmt.Errorf("labels may have been added: say it again, what is there is not added twice: %w", err)
		}
		for _, f := range files {
			// What cannot be removed is in no table, and left to maintenance.
			d.deps.Store.Delete(context.WithoutCancel(ctx), f.Name)
		}
		if !errors.Is(err, catalog.ErrConflict) || attempt == attempts {
			return out, recorded, fmt.Errorf("add labels: %w", err)
		}
	}
}

// known is what insights.labels has of a source.
type known struct {
	ids    map[string]bool
	newest map[string]said // by event
}

type said struct {
	label, pattern string
}

func (d *Desk) known(ctx context.Context, tenant cardlake.Tenant, source Source) (known, error) {
	k := known{map[string]bool{}, map[string]said{}}
	sql := "SELECT label_id, event_id, label, pattern FROM insights.labels WHERE tenant = " + insights.Text(string(tenant)) +
		" AND source = " + insights.Text(string(source)) + " ORDER BY reported_at, recorded_at, label_id"
	return k, d.each(ctx, tenant, sql, func(row []any) error {
		pattern, _ := row[3].(string)
		k.ids[row[0].(string)] = true
		k.newest[row[1].(string)] = said{row[2].(string), pattern}
		return nil
	})
}

// fresh are the reports that are not known, with their ids and times.
func (k known) fresh(tenant cardlake.StorageID, source Source, reports []Report, now time.Time) (out []row) {
	for _, r := range reports {
		pattern := r.Pattern
		isTimed := !r.ReportedAt.IsZero()
		if !isTimed {
			r.ReportedAt = now
		}
		id := insights.ID("label", string(tenant), string(source), r.EventID, string(r.Label), r.ReportedAt.UTC().Format(time.RFC3339Nano), pattern)
		newest, isLabelled := k.newest[r.EventID]
		if k.ids[id] || !isTimed && isLabelled && newest == (said{string(r.Label), pattern}) {
			continue
		}
		k.ids[id] = true
		out = append(out, row{r, id})
	}
	return out
}

// strangers counts the events that were labelled at that instant and are not among the tenant's transactions.
func (d *Desk) strangers(ctx context.Context, tenant cardlake.Tenant, recorded time.Time) (n int64, err error) {
	sql := "SELECT count(*) FROM insights.labels AS l LEFT JOIN cards.transactions AS t ON l.tenant = t.tenant AND l.event_id = t.event_id WHERE l.tenant = " +
		insights.Text(string(tenant)) + " AND t.event_id IS NULL AND l.recorded_at = " + insights.Time(recorded)
	err = d.each(ctx, tenant, sql, func(row []any) error {
		n, _ = row[0].(int64)
		return nil
	})
	return n, err
}

// each asks as the caller, within the tenant.
func (d *Desk) each(ctx context.Context, tenant cardlake.Tenant, sql string, do func(row []any) error) (err error) {
	result, err := d.deps.Gateway.QueryAt(ctx, d.caller, queries.At{Tenant: tenant}, sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	row := make([]any, len(result.Columns()))
	for {
		err := result.Next(row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = do(row)
		}
		if err != nil {
			return err
		}
	}
}
