package serving

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/queries/live"
	"github.com/cardlake/cardlake/queries/reconcile"
	"github.com/cardlake/cardlake/writers/writerstest"
)

var (
	operator = grants.Caller{Principal: grants.Principal{Kind: grants.Operator, Name: "local"}}
	errAway  = errors.New("out of reach")
)

// inventory is a keyring by hand.
type inventory struct {
	entries []keys.Entry
	err     error
}

func (i inventory) Inventory(context.Context) ([]keys.Entry, error) { return i.entries, i.err }

// tableFunc is a table that is looked at for its newest snapshot.
type tableFunc func() (catalog.Snapshot, error)

func (f tableFunc) Current(context.Context) (catalog.Snapshot, error) { return f() }

// askerFunc is a reconcile.Querier whose first question is answered so.
type askerFunc func() error

func (f askerFunc) Query(context.Context, string) (*queries.Result, error) { return nil, f() }
func (f askerFunc) Describe(context.Context, string) (queries.TableInfo, error) {
	return queries.TableInfo{}, f()
}

func following(t *testing.T, source live.Source) *live.Follower {
	t.Helper()
	f, err := live.New(tableFunc(func() (catalog.Snapshot, error) { return catalog.Snapshot{ID: 1, CommittedAt: time.Now()}, nil }), source, live.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lakeHealth is the health of a small lake.
func lakeHealth(t *testing.T, change func(*healthParts)) *health {
	t.Helper()
	return healthWith(t, smallLake(t), change)
}

// smallLake is what the health of a small lake needs, but for its folder and its audit log.
func smallLake(t *testing.T) healthParts {
	t.Helper()
	l := insightstest.New(t, "andina", "boreal")
	var txs []*cardlake.Transaction
	for i, tx := range writerstest.New(1).Take(20) {
		tx.Tenant = []cardlake.Tenant{"andina", "boreal"}[i%2]
		txs = append(txs, tx)
	}
	l.Add(txs...)
	now := time.Now()
	return healthParts{
		Store: l.Store, Tenants: l.Tenants, Gateway: l.Gateway, Live: following(t, nil), Now: time.Now,
		Table: func(ctx context.Context, def *cardlake.Table) (*iceberg.Table, error) {
			if def == cardlake.AuditEvents {
				return nil, iceberg.ErrNoTable
			}
			return l.Catalog.Table(ctx, def)
		},
		Keys: inventory{entries: []keys.Entry{
			{Owner: keys.OwnerOf(l.Tenants.All()[0].StorageID), Purpose: keys.Object, Version: 1, State: keys.Retired, Created: now.AddDate(-2, 0, 0), RotateBy: now.AddDate(-1, 0, 0)},
			{Owner: keys.OwnerOf(l.Tenants.All()[0].StorageID), Purpose: keys.Object, Version: 2, State: keys.Active, Created: now.AddDate(0, 0, -40).Add(-time.Hour), RotateBy: now.AddDate(1, 0, 0)},
			{Owner: keys.Lake, Purpose: keys.Audit, Version: 1, State: keys.Active, Created: now.AddDate(-1, 0, -1), RotateBy: now.AddDate(0, 0, -1)},
		}},
	}
}

// healthWith is the health of a lake, changed, in a folder of its own.
func healthWith(t *testing.T, p healthParts, change func(*healthParts)) *health {
	t.Helper()
	dir, anchor := written(t, 1, 3)
	p.Dir, p.Trail = home.Dir(t.TempDir()), newAuditTrail(dir, anchor, plainRing{}, time.Now)
	if change != nil {
		change(&p)
	}
	h := newHealth(p)
	h.Trail.look(t.Context())
	t.Cleanup(h.Trail.close)
	return h
}

func healthOf(t *testing.T, h *health) api.Health {
	t.Helper()
	out, err := h.Health(t.Context(), operator)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(out); err != nil {
		t.Fatal(err)
	}
	return out
}

func codes(p api.HealthPart) (out []string) {
	for _, n := range p.Notes {
		out = append(out, n.Code)
		if n.Text == "" {
			out = append(out, "without a text")
		}
	}
	return out
}

// TestHealthOfALake: what is told of a lake is what is in it.
func TestHealthOfALake(t *testing.T) {
	h := lakeHealth(t, nil)
	state := `{"alive_at": "2026-01-01T00:00:00Z", "runs": {"alerts": {"job": "anomaly", "due": "2026-01-02T00:00:00Z", "ended_at": "2026-01-01T00:00:00Z", "failures": 2,
		"tenants": [{"tenant": "andina", "reason": "the key is away"}]}}}`
	if err := os.WriteFile(filepath.Join(string(h.Dir), scheduleFile), []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	out := healthOf(t, h)
	i := slices.IndexFunc(out.Tables.Tables, func(t api.HealthTable) bool { return t.Table == "cards.transactions" })
	if got := out.Tables.Tables[i]; got.Rows != 20 || got.Files != 2 || got.Partitions != 2 || got.Snapshots != 1 || got.CommittedAt == nil || got.Bytes == 0 || len(out.Tables.Tables) != len(cardlake.Tables) {
		t.Errorf("table %+v", got)
	}
	if out.Tables.Status != api.Well || out.Rejected.Error != "" || out.Rejected.Status != api.Well {
		t.Errorf("tables %+v, rejected %+v", out.Tables.HealthPart, out.Rejected)
	}
	if got := out.Keys; len(got.Keys) != 2 || got.Keys[0].Tenant != "" || !got.Keys[0].Due || got.Keys[1].Tenant != "andina" || got.Keys[1].Version != 2 || got.Keys[1].AgeDays != 40 || !slices.Equal(codes(got.HealthPart), []string{"key_due"}) {
		t.Errorf("keys %+v", got)
	}
	if got := out.Jobs; len(got.Jobs) != 1 || got.Jobs[0].Failures != 2 || got.Jobs[0].Failure != "andina: the key is away" || got.Jobs[0].DueAt == nil ||
		!slices.Equal(codes(got.HealthPart), []string{"schedule_silent", "job_failed"}) {
		t.Errorf("jobs %+v", got)
	}
	if out.Workers.Status != api.Unknown || !slices.Equal(codes(out.Workers.HealthPart), []string{"no_workers"}) || !slices.Equal(codes(out.Reconciliation.HealthPart), []string{"not_compared"}) {
		t.Errorf("workers %+v, reconciliation %+v", out.Workers, out.Reconciliation)
	}
	if out.Audit.Status != api.Well || out.Audit.Line != out.Audit.Anchored || out.Audit.Line == 0 {
		t.Errorf("audit %+v", out.Audit)
	}
	if len(out.Maintenance.Notes) != len(periods) {
		t.Errorf("maintenance %+v", out.Maintenance)
	}
	for _, part := range []string{out.Tables.Error, out.Stream.Error, out.Workers.Error, out.Reconciliation.Error, out.Rejected.Error, out.Keys.Error, out.Jobs.Error, out.Audit.Error, out.Maintenance.Error, out.Engine.Error} {
		if part != "" {
			t.Errorf("a part says %q", part)
		}
	}
}

// brokenGateway gives no rows.
type brokenGateway struct{}

func (brokenGateway) Query(context.Context, grants.Caller, string) (*queries.Result, error) {
	return nil, errAway
}

// TestBrokenPartsHideNoOther: each part fails alone, also by a fault of the program, and what it
// was of is told nowhere.
func TestBrokenPartsHideNoOther(t *testing.T) {
	parts := func(h api.Health) map[string]string {
		return map[string]string{
			"tables": h.Tables.Error, "stream": h.Stream.Error, "workers": h.Workers.Error, "reconciliation": h.Reconciliation.Error, "rejected": h.Rejected.Error,
			"keys": h.Keys.Error, "jobs": h.Jobs.Error, "maintenance": h.Maintenance.Error, "audit": h.Audit.Error, "engine": h.Engine.Error,
		}
	}
	lake := smallLake(t)
	for name, tc := range map[string]struct {
		change func(*healthParts)
		broken []string
	}{
		"none": {nil, nil},
		"tables": {func(p *healthParts) {
			p.Table = func(context.Context, *cardlake.Table) (*iceberg.Table, error) { return nil, errAway }
		}, []string{"tables"}},
		"gateway": {func(p *healthParts) { p.Gateway = brokenGateway{} }, []string{"rejected", "jobs"}},
		"keys":    {func(p *healthParts) { p.Keys = inventory{err: errAway} }, []string{"keys"}},
		"log":     {func(p *healthParts) { p.Trail.anchor = audit.FileAnchor(p.Trail.dir) }, []string{"audit", "maintenance"}},
		"fault":   {func(p *healthParts) { p.Cache = func() (int64, int64, int64, int64) { panic("4111111111111111") } }, []string{"engine"}},
		"table panics": {func(p *healthParts) {
			p.Table = func(context.Context, *cardlake.Table) (*iceberg.Table, error) { panic("4111111111111111") }
		}, []string{"tables"}},
		"asker": {func(p *healthParts) { p.Asker = askerFunc(func() error { return errAway }) }, []string{"reconciliation"}},
		"schedule": {func(p *healthParts) {
			if err := os.WriteFile(filepath.Join(string(p.Dir), scheduleFile), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"jobs"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := healthWith(t, lake, tc.change)
			if h.Asker != nil {
				h.reconcile(t.Context())
			}
			out := healthOf(t, h)
			for part, text := range parts(out) {
				if got := text != ""; got != slices.Contains(tc.broken, part) {
					t.Errorf("%s: %q", part, text)
				}
				if strings.Contains(text, "4111") {
					t.Errorf("%s tells a value", part)
				}
			}
			if name == "gateway" && out.Tables.Tables == nil || name == "tables" && out.Tables.Status != api.Unknown {
				t.Errorf("%+v", out.Tables)
			}
		})
	}
}

// TestReportsAreTold: what a comparison found, by tenant, and up to when each is complete.
func TestReportsAreTold(t *testing.T) {
	at := time.Date(2026, 3, 2, 12, 30, 20, 0, time.UTC)
	since := at.Add(-24 * time.Hour).Truncate(time.Minute)
	minute := func(n int) time.Time { return at.Truncate(time.Minute).Add(time.Duration(n) * time.Minute) }
	r := reconcile.Report{
		At: at, Tenants: []reconcile.Tenant{{Tenant: "andina", Complete: 9, Rows: 90, Counted: 90}, {Tenant: "boreal", Complete: 7, Late: 1, Wrong: 2, Gaps: 1}, {Tenant: "cobre", Unconfirmed: 1}},
		Minutes: []reconcile.Minute{{Tenant: "boreal", Minute: minute(-5)}, {Tenant: "boreal", Minute: minute(-3)}, {Tenant: "cobre", Minute: minute(-1)}},
		Gaps:    []reconcile.Gap{{Tenant: "boreal", After: minute(-8)}},
	}
	var out api.HealthReconciliation
	tellReport(&out, &r, since)
	want := map[cardlake.Tenant]time.Time{"andina": minute(0), "boreal": minute(-8), "cobre": minute(-1)}
	for _, tenant := range out.Tenants {
		if tenant.CompleteUntil == nil || !tenant.CompleteUntil.Equal(want[tenant.Tenant]) {
			t.Errorf("%s is complete until %v", tenant.Tenant, tenant.CompleteUntil)
		}
	}
	if out.CompleteUntil == nil || !out.CompleteUntil.Equal(minute(-8)) || out.Status != api.Failing || !slices.Equal(codes(out.HealthPart), []string{"wrong_minutes", "late_minutes"}) {
		t.Errorf("%+v", out)
	}
	out = api.HealthReconciliation{}
	r.Unlisted = 1
	if tellReport(&out, &r, since); out.CompleteUntil != nil || out.Tenants[0].CompleteUntil != nil {
		t.Error("complete until, though not every minute is listed")
	}
}

// TestRunLooksAndCompares: while it runs, the log is verified, and who looks has a comparison
// made; all ends with ctx.
func TestRunLooksAndCompares(t *testing.T) {
	h := lakeHealth(t, func(p *healthParts) { p.Asker = askerFunc(func() error { return errAway }) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	if out := healthOf(t, h); !strings.Contains(out.Reconciliation.Error, errAway.Error()) {
		t.Errorf("reconciliation %+v", out.Reconciliation)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestWhoLeavesSpoilsNothing: what is kept for all does not end with whoever asked first.
func TestWhoLeavesSpoilsNothing(t *testing.T) {
	h := lakeHealth(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Health(ctx, operator); !errors.Is(err, context.Canceled) {
		t.Errorf("who has left: %v", err)
	}
	if out := healthOf(t, h); out.Tables.Error != "" || out.Keys.Error != "" || out.Tables.Status != api.Well {
		t.Errorf("tables %+v, keys %q", out.Tables.HealthPart, out.Keys.Error)
	}
}
