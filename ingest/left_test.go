package ingest_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// status changes the tenant's as another process does.
func (l *lake) status(to catalog.TenantStatus) {
	l.t.Helper()
	if _, err := l.tenants.SetStatus(testTenant, to, now); err != nil {
		l.t.Fatal(err)
	}
}

// TestEventsOfTenantsThatLeftAreDropped: rows of a suspended tenant arrive; of an off-boarded
// one nothing is written anywhere, and the positions move on.
func TestEventsOfTenantsThatLeftAreDropped(t *testing.T) {
	l := newLake(t, 2)
	l.status(catalog.TenantSuspended)
	l.fill(10)
	l.stream.append(0, l.total(1, testTenant))
	totals := &memTable{}
	w := ingest.New(l.withTotals(totals), ingest.Config{WindowAge: 20 * time.Millisecond})
	l.runUntil(w, l.caughtUp)
	l.checkOnce(10)
	if s := w.Stats(); s.Offboarded != 0 || s.Totals != 1 {
		t.Errorf("suspended: %d dropped, %d totals, want 0 and 1", s.Offboarded, s.Totals)
	}
	put := len(l.store.objects)
	for i := range 10 {
		l.stream.append(i%2, l.event(10+i))
	}
	l.stream.append(1, l.total(2, testTenant))
	l.status(catalog.TenantOffboarded)
	w = ingest.New(l.withTotals(totals), ingest.Config{WindowAge: 20 * time.Millisecond})
	l.runUntil(w, l.caughtUp)
	s := w.Stats()
	if s.Offboarded != 11 || s.Records != 11 || s.Rows != 0 || s.Totals != 0 || len(s.Rejected) != 0 {
		t.Errorf("off-boarded: %+v, want 11 records, all dropped", s)
	}
	l.checkOnce(10)
	if n := len(l.store.objects); n != put {
		t.Errorf("%d objects were written", n-put)
	}
}

// TestWorkersHearThatATenantLeft: another process off-boards the tenant while the worker runs.
func TestWorkersHearThatATenantLeft(t *testing.T) {
	l := newLake(t, 1)
	deps := l.deps(l.keys)
	theirs, err := catalog.OpenTenants(l.register)
	if err != nil {
		t.Fatal(err)
	}
	deps.Tenants = theirs
	l.fill(1)
	w, n := ingest.New(deps, ingest.Config{WindowAge: time.Millisecond}), 1
	l.runUntil(w, func() bool {
		switch s := w.Stats(); {
		case s.Records < int64(n):
		case s.Offboarded > 0:
			return l.caughtUp()
		default:
			if n == 1 {
				l.status(catalog.TenantOffboarded)
			}
			l.stream.append(0, l.event(n))
			n++
		}
		return false
	})
	if s := w.Stats(); s.Rows+s.Offboarded != int64(n) || len(s.Rejected) != 0 {
		t.Errorf("of %d events %d are rows, %d dropped, %v rejected", n, s.Rows, s.Offboarded, s.Rejected)
	}
}

// leaving is a register in which the tenant leaves after the first look, and a vault and a key
// service without its keys.
type leaving struct {
	*catalog.Tenants
	keys.Provider
	looks atomic.Int64
}

func (s *leaving) Lookup(name cardlake.Tenant) (catalog.TenantRecord, error) {
	r, err := s.Tenants.Lookup(name)
	if s.looks.Add(1) > 1 {
		r.Status = catalog.TenantOffboarded
	}
	return r, err
}

func (s *leaving) UnwrapDataKey(_ context.Context, scope keys.Scope, _ []byte) (keys.Key, error) {
	return keys.Key{}, keys.ErrNoKey
}

func (s *leaving) Pin(context.Context, keys.Owner, []tokenize.Card) ([]tokenize.Token, error) {
	return nil, keys.ErrNoKey
}

// TestKeysThatGoWithTheTenantRejectNothing: the keys are destroyed between the look into the
// register and their use.
func TestKeysThatGoWithTheTenantRejectNothing(t *testing.T) {
	for name, change := range map[string]func(*ingest.Deps, *leaving){
		"before it is opened": func(d *ingest.Deps, s *leaving) { d.Keys = s },
		"before it is pinned": func(d *ingest.Deps, s *leaving) { d.Pins = s },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLake(t, 1)
			l.fill(1)
			deps := l.deps(l.keys)
			gone := &leaving{Tenants: l.tenants, Provider: l.keys}
			deps.Tenants = gone
			change(&deps, gone)
			w := ingest.New(deps, ingest.Config{WindowAge: 20 * time.Millisecond})
			l.runUntil(w, l.caughtUp)
			if s := w.Stats(); s.Offboarded != 1 || len(s.Rejected) != 0 || len(l.rejected.files()) != 0 {
				t.Errorf("%d dropped, %v rejected, want 1 and none", s.Offboarded, s.Rejected)
			}
		})
	}
}
