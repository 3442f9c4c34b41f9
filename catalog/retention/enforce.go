package retention

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/iceberg"
)

// Due is what is past its days of one table and tenant.
type Due struct {
	Table     string          `json:"table"`
	Tenant    cardlake.Tenant `json:"tenant,omitempty"`
	KeptDays  int             `json:"kept_days"`
	FirstKept string          `json:"first_kept"` // date
	Days      int             `json:"days"`       // partitions that go
	Files     int             `json:"files"`
	Rows      int64           `json:"rows"`
	Bytes     int64           `json:"bytes"`
	// HeldFiles would go if no hold kept them; Holds are those holds' ids.
	HeldFiles int      `json:"held_files,omitempty"`
	Holds     []string `json:"holds,omitempty"`

	names []string
}

// Plan is what a pass would do.
type Plan struct {
	At  time.Time `json:"at"`
	Due []Due     `json:"due"`
	// StreamKeeps and ResultsKeep are the most that the stream and the files of answers may be
	// kept: of the stream that is its topic's retention.ms, or its retention hours.
	StreamKeeps time.Duration `json:"stream_keeps_ns"`
	ResultsKeep time.Duration `json:"results_keep_ns"`
}

// Rows are all that go.
func (p *Plan) Rows() (n int64) {
	for _, d := range p.Due {
		n += d.Rows
	}
	return n
}

// Plan returns what Enforce would remove now. It changes nothing.
func (k *Keeper) Plan(ctx context.Context) (Plan, error) {
	p := Plan{At: k.cfg.Now().UTC(), StreamKeeps: k.policy.Stream(), ResultsKeep: k.policy.Results()}
	for _, def := range k.lake.Tables {
		t, err := k.lake.Open(ctx, def)
		if errors.Is(err, iceberg.ErrNoTable) {
			continue
		}
		if err == nil {
			var due []Due
			due, err = k.due(ctx, def, t, p.At)
			p.Due = append(p.Due, due...)
		}
		if err != nil {
			return p, fmt.Errorf("plan retention of %s: %w", def.FullName(), err)
		}
	}
	return p, nil
}

// due finds the live files of a table that are past their days, by tenant.
func (k *Keeper) due(ctx context.Context, def *cardlake.Table, t Table, now time.Time) ([]Due, error) {
	_, files, err := t.Live(ctx)
	if err != nil {
		return nil, err
	}
	byTenant := map[cardlake.Tenant][]cardlake.DataFile{}
	for _, f := range files {
		if k.isPast(def, f.Tenant, f.Day, now) {
			byTenant[f.Tenant] = append(byTenant[f.Tenant], f)
		}
	}
	var out []Due
	for tenant, files := range byTenant {
		d := Due{
			Table: def.FullName(), Tenant: tenant, KeptDays: k.policy.Days(def, tenant),
			FirstKept: k.policy.firstKept(def, tenant, now).String(),
		}
		kept, holds, err := k.held(ctx, def, tenant, files)
		if err != nil {
			return nil, err
		}
		d.Holds = holds
		days := map[cardlake.Day]bool{}
		for _, f := range files {
			if kept[f.Name] {
				d.HeldFiles++
				continue
			}
			days[f.Day] = true
			d.Files, d.Rows, d.Bytes = d.Files+1, d.Rows+f.Rows, d.Bytes+f.Bytes
			d.names = append(d.names, f.Name)
		}
		d.Days = len(days)
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Due) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return out, nil
}

// isPast reports whether a day's rows are past their days. Those of a tenant that left are,
// whatever the day.
func (k *Keeper) isPast(def *cardlake.Table, tenant cardlake.Tenant, day cardlake.Day, now time.Time) bool {
	if day < k.policy.firstKept(def, tenant, now) {
		return true
	}
	if !def.ByTenant {
		return false
	}
	r, err := k.tenant(tenant)
	return err == nil && r.Status == catalog.TenantOffboarded
}

// held returns which of a tenant's files holds keep, and the ids of those holds. One of a
// single person keeps the files with rows of theirs.
func (k *Keeper) held(ctx context.Context, def *cardlake.Table, tenant cardlake.Tenant, files []cardlake.DataFile) (kept map[string]bool, ids []string, err error) {
	if def.FullName() == auditTable {
		return nil, nil, nil // kept for what the rule asks, and no evidence of a cardholder's
	}
	whole, persons := k.policy.holding(tenant)
	kept = map[string]bool{}
	if len(whole) > 0 {
		for _, f := range files {
			kept[f.Name] = true
		}
		for _, h := range whole {
			ids = append(ids, h.ID)
		}
		return kept, ids, nil
	}
	if len(persons) == 0 || def != cardlake.Transactions {
		return nil, nil, nil
	}
	r, err := k.tenant(tenant)
	if err != nil {
		return nil, nil, err
	}
	s, err := k.secret(ctx, r, false)
	if err != nil {
		return nil, nil, fmt.Errorf("holds of single persons: %w", err)
	}
	w := newWanted(s)
	for person, h := range persons {
		w.persons[person] = true
		ids = append(ids, h.ID)
	}
	slices.Sort(ids)
	for _, f := range files {
		found, err := k.scan(ctx, f, w)
		if err != nil {
			return nil, nil, err
		}
		if found.rows > 0 {
			kept[f.Name] = true
		}
	}
	return kept, ids, nil
}

// Enforced is what a pass removed.
type Enforced struct {
	Plan
	Disposal
}

// Enforce removes what is past its days. A pass that a wrong clock may have caused gives
// ErrClock, unless force is set.
func (k *Keeper) Enforce(ctx context.Context, force bool) (e Enforced, err error) {
	if e.Plan, err = k.Plan(ctx); err != nil {
		return e, err
	}
	if err := k.guard(ctx, e.Plan, force); err != nil {
		line := audit.Record{Action: "retention.enforce", Resource: "lake", Outcome: audit.Refused, Reason: "a wrong clock may have caused it"}
		return e, errors.Join(err, k.write(ctx, line))
	}
	line := audit.Record{Action: "retention.enforce", Resource: "lake", Numbers: map[string]int64{"rows": e.Plan.Rows()}}
	if force {
		line.Reason = "forced"
	}
	err = k.around(ctx, line, func() (map[string]int64, error) {
		e.Due = nil
		var errs []error
		// What counts comes first: a total without its rows would look as if rows were lost.
		tables := slices.Clone(k.lake.Tables)
		if i := slices.Index(tables, cardlake.ControlTotals); i > 0 {
			tables = slices.Insert(slices.Delete(tables, i, i+1), 0, cardlake.ControlTotals)
		}
		for _, def := range tables {
			due, d, err := k.enforce(ctx, def, e.At)
			e.Due = append(e.Due, due...)
			e.Disposal.add(d)
			if err != nil {
				errs = append(errs, fmt.Errorf("retention of %s: %w", def.FullName(), err))
			}
		}
		return e.numbers(), errors.Join(errs...)
	})
	return e, err
}

func (e *Enforced) numbers() map[string]int64 {
	n := e.Disposal.numbers()
	for _, d := range e.Due {
		n["files"] += int64(d.Files)
		n["rows"] += d.Rows
		n["held_files"] += int64(d.HeldFiles)
	}
	return n
}

func (d *Disposal) numbers() map[string]int64 {
	return map[string]int64{
		"snapshots": int64(d.Snapshots), "forgotten": int64(d.Forgotten), "objects": int64(d.Objects),
		"versions": int64(d.Versions), "pending": int64(d.Pending),
	}
}

// guard refuses a plan that a wrong clock may have made.
func (k *Keeper) guard(ctx context.Context, p Plan, force bool) error {
	if force {
		return nil
	}
	for _, d := range p.Due {
		if d.Days > k.cfg.MaxDays && !k.hasLeft(d.Tenant) {
			return fmt.Errorf("%w: %d days of %s would go at once", ErrClock, d.Days, d.Table)
		}
	}
	if p.Rows() == 0 {
		return nil
	}
	for _, def := range k.lake.Tables {
		if def != cardlake.Transactions {
			continue
		}
		t, err := k.lake.Open(ctx, def)
		if errors.Is(err, iceberg.ErrNoTable) {
			return nil
		}
		if err != nil {
			return err
		}
		newest, _, err := t.Live(ctx)
		if err != nil {
			return err
		}
		if ahead := p.At.Sub(newest.CommittedAt); ahead > k.cfg.MaxAhead {
			return fmt.Errorf("%w: it is %s after the newest commit", ErrClock, ahead.Round(time.Hour))
		}
	}
	return nil
}

func (k *Keeper) hasLeft(tenant cardlake.Tenant) bool {
	r, err := k.tenant(tenant)
	return err == nil && r.Status == catalog.TenantOffboarded
}

// enforce removes what is past its days from one table.
func (k *Keeper) enforce(ctx context.Context, def *cardlake.Table, now time.Time) (due []Due, d Disposal, err error) {
	t, err := k.lake.Open(ctx, def)
	if errors.Is(err, iceberg.ErrNoTable) {
		return nil, d, nil
	}
	if err != nil {
		return nil, d, err
	}
	for attempt := 0; ; attempt++ {
		if due, err = k.due(ctx, def, t, now); err != nil {
			return nil, d, err
		}
		var names []string
		for _, d := range due {
			names = append(names, d.names...)
		}
		if len(names) == 0 {
			break
		}
		_, err = t.Replace(ctx, catalog.Replace{Remove: names, Operation: catalog.OpDelete})
		if err == nil {
			break
		}
		// Whether an unknown outcome happened is what the table's files tell.
		if !isMoved(err) || attempt == maxAttempts {
			return nil, d, err
		}
	}
	names := map[cardlake.StorageID]cardlake.Tenant{}
	for _, r := range k.lake.Tenants.All() {
		names[r.StorageID] = r.Name
	}
	// What a hold keeps is live. An older snapshot has no row of those days that is not.
	d, err = k.dispose(ctx, t, dataPrefix(def, ""), func(name string) bool {
		id, day, ok := parsePlace(def, name)
		tenant, known := names[id]
		return ok && (known || !def.ByTenant) && k.isPast(def, tenant, day, now)
	})
	return due, d, err
}

// maxAttempts bounds how often a commit is tried anew.
const maxAttempts = 20

// isMoved reports whether the table has to be looked at anew.
func isMoved(err error) bool {
	return errors.Is(err, catalog.ErrGone) || errors.Is(err, catalog.ErrConflict) || errors.Is(err, catalog.ErrUnknown)
}
