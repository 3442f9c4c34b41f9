package doors_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/queries/views"
)

// TestViewsGiveWhatTheirTablesGive: whoever may not read a table of a view is refused, and of
// the others nobody gets a value that the tables do not give.
func TestViewsGiveWhatTheirTablesGive(t *testing.T) {
	w := newWorld(t)
	d := w.direct("csv", render.CSV)
	for _, p := range principals() {
		answered := 0
		for _, v := range views.All {
			a := d.ask(p, "SELECT * FROM "+v.FullName())
			checkBytes(t, p.String()+", "+v.FullName(), p, a)
			isGiven := len(expect(p, cardlake.Transactions, committedRows).columns) > 0
			if a.refusal == "" {
				answered++
			}
			if a.refusal == "" && !isGiven {
				t.Errorf("%s: %s is answered:\n%.300s", p, v.FullName(), a.rows)
			}
			if a.refusal != "" && !strings.Contains(a.refusal, "not permitted") {
				t.Errorf("%s: %s: %s", p, v.FullName(), a.refusal)
			}
		}
		t.Logf("%s is answered %d of %d views", p, answered, len(views.All))
	}
}

// TestOthersDoNotShowInViews compares a lake with one that has only the caller's rows.
func TestOthersDoNotShowInViews(t *testing.T) {
	full, alone := newWorld(t), newWorld(t, slices.DeleteFunc(slices.Clone(tenants), func(t cardlake.Tenant) bool { return t == bolivar })...)
	p := grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@" + string(bolivar)}
	a, b := full.direct("csv", render.CSV), alone.direct("csv", render.CSV)
	for _, v := range views.All {
		for _, sql := range []string{
			"SELECT * FROM %s ORDER BY ALL",
			"SELECT count(*) FROM %s",
			"SELECT * FROM %s x FULL JOIN cards.transactions y ON x.tenant <> y.tenant ORDER BY ALL",
		} {
			sql := fmt.Sprintf(sql, v.FullName())
			x, y := a.ask(p, sql), b.ask(p, sql)
			if x.all() != y.all() {
				t.Errorf("%s\nwith other tenants: %s\nwithout: %s", sql, x.all(), y.all())
			}
		}
	}
}
