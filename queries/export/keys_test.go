package export_test

import (
	"testing"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// TestKeys: who is narrowed to a tenant sees and changes of its own exports and schedules those of
// the tenant, and a key plans nothing that outlives it.
func TestKeys(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	w.permit(queriestest.Only(nil, "aurora", "bolivar"))
	r := plain(export.CSV)
	r.Tenant = "aurora"
	j, _, err := w.Start(t.Context(), ana, r)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := w.Plan(t.Context(), ana, r, "daily", "")
	if err != nil {
		t.Fatal(err)
	}
	narrowed := func(c grants.Caller) grants.Caller {
		c.Tenant = "bolivar"
		return c
	}
	same := ana
	same.Tenant = "aurora"
	for _, tc := range []struct {
		c    grants.Caller
		want int
	}{{ana, 1}, {same, 1}, {narrowed(ana), 0}} {
		jobs, err := w.List(t.Context(), tc.c)
		if err != nil || len(jobs) != tc.want {
			t.Errorf("narrowed to %q: %d exports, %v", tc.c.Tenant, len(jobs), err)
		}
		plans, err := w.Schedules(t.Context(), tc.c)
		if err != nil || len(plans) != tc.want {
			t.Errorf("narrowed to %q: %d schedules, %v", tc.c.Tenant, len(plans), err)
		}
	}
	_, err = w.Job(t.Context(), narrowed(ana), j.ID)
	wantFault(t, err, export.NotFound, "no such export")
	_, err = w.Cancel(t.Context(), narrowed(ana), j.ID)
	wantFault(t, err, export.NotFound, "no such export")
	_, err = w.SetPaused(t.Context(), narrowed(ana), sc.ID, true)
	wantFault(t, err, export.NotFound, "no such schedule")
	wantFault(t, w.Remove(t.Context(), narrowed(ana), sc.ID), export.NotFound, "no such schedule")
	byKey := ana
	byKey.Key = "k"
	_, err = w.Plan(t.Context(), byKey, r, "daily", "")
	wantFault(t, err, export.Refused, "sign in")
}
