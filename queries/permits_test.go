package queries

import (
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

func TestCovers(t *testing.T) {
	table := &cardlake.Table{Columns: make([]cardlake.Column, 2)}
	clear, masked, dropped := grants.Clear, grants.Masked, grants.Dropped
	scope := func(others bool, a, b grants.Access, tenants ...cardlake.Tenant) grants.Scope {
		return grants.Scope{Tenants: tenants, Others: others, Columns: []grants.Access{a, b}}
	}
	decide := func(scopes ...grants.Scope) *grants.Decision { return &grants.Decision{Table: table, Scopes: scopes} }
	except := func(d *grants.Decision, tenants ...cardlake.Tenant) *grants.Decision {
		d.Except = tenants
		return d
	}
	ab := decide(scope(false, clear, masked, "a", "b"))
	all := decide(scope(true, clear, masked))
	for _, tc := range []struct {
		name     string
		old, now *grants.Decision
		want     bool
	}{
		{"the same", ab, ab, true},
		{"an equal one", ab, decide(scope(false, clear, masked, "a", "b")), true},
		{"more columns", ab, decide(scope(false, clear, clear, "a", "b")), true},
		{"more tenants", ab, decide(scope(false, clear, masked, "a", "b", "c")), true},
		{"everybody", ab, all, true},
		{"in two scopes", ab, decide(scope(false, clear, clear, "a"), scope(false, clear, masked, "b")), true},
		{"nothing", ab, decide(), false},
		{"a tenant less", ab, decide(scope(false, clear, masked, "a")), false},
		{"a column less", ab, decide(scope(false, clear, dropped, "a", "b")), false},
		{"masked for one", ab, decide(scope(false, clear, masked, "a"), scope(false, masked, masked, "b")), false},
		{"no others any more", all, ab, false},
		{"but for one", all, except(decide(scope(true, clear, masked)), "a"), false},
		{"one has less", all, decide(scope(true, clear, masked), scope(false, masked, masked, "a")), false},
		{"one was excepted", except(decide(scope(true, clear, masked)), "a"), all, true},
		{"another is excepted", except(decide(scope(true, clear, masked)), "a"), except(decide(scope(true, clear, masked)), "b"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := covers(tc.now, tc.old); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestTightest(t *testing.T) {
	a := grants.Limits{MaxRows: 5, MaxBytes: 0, Timeout: time.Second, Memory: 7}
	b := grants.Limits{MaxRows: 0, MaxBytes: 6, Timeout: time.Minute, Memory: 3}
	want := grants.Limits{MaxRows: 5, MaxBytes: 6, Timeout: time.Second, Memory: 3}
	if got := tightest(a, b); got != want {
		t.Errorf("got %+v", got)
	}
	if got := tightest(b, a); got != want {
		t.Errorf("got %+v", got)
	}
}
