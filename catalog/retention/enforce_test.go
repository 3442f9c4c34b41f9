package retention

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

func noon(day string) time.Time {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return at.Add(12 * time.Hour)
}

// clock sets the lake's clock.
func (l *lake) clock(at time.Time) { l.cfg.Now = func() time.Time { return at } }

// days are the days of a table's live files, by tenant.
func (l *lake) days(def *cardlake.Table) map[cardlake.Tenant][]string {
	out := map[cardlake.Tenant][]string{}
	for _, f := range l.live(def) {
		if day := f.Day.String(); !slices.Contains(out[f.Tenant], day) {
			out[f.Tenant] = append(out[f.Tenant], day)
		}
	}
	for _, days := range out {
		slices.Sort(days)
	}
	return out
}

// calendar is a lake with five days of two tenants, control totals and rejected records.
func calendar(t *testing.T) *lake {
	t.Helper()
	l := newLake(t)
	l.policy.Tables = map[string]TableDays{
		"cards.transactions":          {Days: 3, Tenants: map[cardlake.Tenant]int{zeta: 4}},
		"cards.transactions_rejected": {Days: 2},
	}
	for _, day := range []string{"2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06"} {
		l.put(append(l.rowsOf(acme, day, 10, "cu-"+day, 1), l.rowsOf(zeta, day, 5, paulo, 1)...)...)
		l.putTotals(acme, day)
		l.putTotals(zeta, day)
		l.putRejected(day)
	}
	return l
}

func TestEnforce(t *testing.T) {
	l := calendar(t)
	// The last row of 03-02 is three days old at the end of 03-05: during that day all stay.
	l.clock(noon("2026-03-05"))
	p, err := l.keeper().Plan(t.Context())
	if err != nil || p.Rows() != 1 { // the rejected record of 03-02
		t.Fatalf("plan %+v, %v", p, err)
	}
	l.clock(noon("2026-03-06"))
	before := l.rows()
	p, err = l.keeper().Plan(t.Context())
	l.check(err)
	if got := l.days(cardlake.Transactions)[acme]; len(got) != 5 {
		t.Errorf("a plan leaves %v", got)
	}
	e, err := l.keeper().Enforce(t.Context(), false)
	l.check(err)
	if e.Rows() != p.Rows() || e.Rows() != 10+1+2 {
		t.Errorf("%d rows are gone, planned were %d", e.Rows(), p.Rows())
	}
	later := []string{"2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06"}
	all := append([]string{"2026-03-02"}, later...)
	for _, def := range []*cardlake.Table{cardlake.Transactions, cardlake.ControlTotals} {
		if got := l.days(def); !slices.Equal(got[acme], later) || !slices.Equal(got[zeta], all) {
			t.Errorf("%s has %v", def.FullName(), got)
		}
	}
	if got := l.days(cardlake.Rejected)[""]; !slices.Equal(got, all[2:]) {
		t.Errorf("rejected has %v", got)
	}
	after := l.rows()
	for id, r := range before {
		isGone := r["tenant"] == string(acme) && strings.HasPrefix(r["event_time"], "2026-03-02")
		if isGone == maps.Equal(after[id], r) {
			t.Errorf("row %s of %s %s: kept %v", id, r["tenant"], r["event_time"], !isGone)
		}
	}
	if where := l.find("cu-2026-03-02"); where != nil {
		t.Errorf("rows of the day are still in %v", where)
	}
	if where := l.find("cu-2026-03-03"); len(where) != 1 {
		t.Errorf("rows of the next day are in %v", where)
	}
	if want := []string{"retention.enforce allowed", "retention.enforce.done allowed"}; !slices.Equal(l.lines.actions(), want) {
		t.Errorf("recorded %v", l.lines.actions())
	}

	// A row that comes late for a day that is gone is in the table until the next pass.
	l.put(l.rowsOf(acme, "2026-03-02", 2, "cu-late", 2)...)
	e, err = l.keeper().Enforce(t.Context(), false)
	if err != nil || e.Rows() != 2 {
		t.Errorf("late rows: %+v, %v", e, err)
	}
	if where := l.find("cu-late"); where != nil {
		t.Errorf("late rows are still in %v", where)
	}
	if e, err := l.keeper().Enforce(t.Context(), false); err != nil || e.Rows() != 0 || e.Snapshots+e.Objects+e.Forgotten != 0 {
		t.Errorf("nothing is due: %+v, %v", e, err)
	}
}

// TestEnforceFindsAPlantedRemainder skips each step in turn: the search finds what is left.
func TestEnforceFindsAPlantedRemainder(t *testing.T) {
	l := calendar(t)
	l.clock(noon("2026-03-06"))
	l.wrap = func(t Table) Table { return careless{t} }
	_, err := l.keeper().Enforce(t.Context(), false)
	l.check(err)
	if where := l.find("cu-2026-03-02"); len(where) != 1 {
		t.Errorf("without an expiry the search finds %v", where)
	}
	l.wrap = nil
	_, err = l.keeper().Enforce(t.Context(), false)
	l.check(err)
	if where := l.find("cu-2026-03-02"); where != nil {
		t.Errorf("the next pass leaves %v", where)
	}
}

// TestEnforceAfterACrash kills a pass at each step; the next one finishes it.
func TestEnforceAfterACrash(t *testing.T) {
	for _, at := range steps {
		t.Run(at, func(t *testing.T) {
			l := calendar(t)
			l.clock(noon("2026-03-06"))
			step := at
			l.wrap = func(t Table) Table { return crash{t, &step} }
			if !killed(func() { _, _ = l.keeper().Enforce(t.Context(), false) }) {
				t.Fatal("nothing is killed")
			}
			_, err := l.keeper().Enforce(t.Context(), false)
			l.check(err)
			if where := l.find("cu-2026-03-02"); where != nil {
				t.Errorf("rows of the day are still in %v", where)
			}
			if got := l.days(cardlake.ControlTotals)[acme]; len(got) != 4 {
				t.Errorf("control totals of %v", got)
			}
		})
	}
}

// TestEnforceRemovesStrayObjects looks at objects that nobody committed: of a day that is
// past they go, once they are old enough.
func TestEnforceRemovesStrayObjects(t *testing.T) {
	l := calendar(t)
	r, err := l.tenants.Lookup(acme)
	l.check(err)
	stray := dataPrefix(cardlake.Transactions, r.StorageID) + "2026-03-02/stray.parquet"
	kept := dataPrefix(cardlake.Transactions, r.StorageID) + "2026-03-05/stray.parquet"
	for _, name := range []string{stray, kept} {
		l.check(l.store.Put(t.Context(), name, owner(r), []byte("cu-stray")))
	}
	l.clock(noon("2026-03-06")) // long before the objects were put
	e, err := l.keeper().Enforce(t.Context(), false)
	if err != nil || e.Pending != 1 || len(l.find("cu-stray")) != 2 {
		t.Errorf("young: %+v, %v, %v", e, err, l.find("cu-stray"))
	}
	l.clock(time.Now().Add(2 * time.Hour))
	l.policy.Tables["cards.transactions"] = TableDays{Days: int(time.Since(noon("2026-03-02")).Hours()/24) - 1}
	e, err = l.keeper().Enforce(t.Context(), false)
	if err != nil || e.Pending != 0 || !slices.Equal(l.find("cu-stray"), []string{kept}) {
		t.Errorf("old: %+v, %v, %v", e, err, l.find("cu-stray"))
	}
}

func TestClockGuard(t *testing.T) {
	l := calendar(t)
	l.cfg.MaxAhead, l.cfg.MaxDays = 0, 0
	for name, at := range map[string]time.Time{
		// The rows are of March, committed now.
		"far beyond the newest commit": time.Now().AddDate(0, 0, 3),
		"far more days than one":       time.Now(),
	} {
		l.lines.all = nil
		l.clock(at)
		if name[0:5] == "far m" {
			for day := range 40 {
				l.put(l.rowsOf(acme, noon("2026-01-01").AddDate(0, 0, day).Format(time.DateOnly), 1, "", 0)...)
			}
		}
		before := len(l.live(cardlake.Transactions))
		if _, err := l.keeper().Enforce(t.Context(), false); !errors.Is(err, ErrClock) {
			t.Errorf("%s: %v, want ErrClock", name, err)
		}
		if got := len(l.live(cardlake.Transactions)); got != before {
			t.Errorf("%s: %d files, were %d", name, got, before)
		}
		if want := []string{"retention.enforce refused"}; !slices.Equal(l.lines.actions(), want) {
			t.Errorf("%s: recorded %v", name, l.lines.actions())
		}
	}
	if _, err := l.keeper().Enforce(t.Context(), true); err != nil || len(l.live(cardlake.Transactions)) != 0 {
		t.Errorf("forced: %v, %d files", err, len(l.live(cardlake.Transactions)))
	}
}

func hold(tenant cardlake.Tenant, person string) Hold {
	return Hold{ID: "hold-a", Tenant: tenant, Person: person, Case: "17/2026", Why: "court order", By: "operator/ana", At: noon("2026-03-01")}
}

func TestHolds(t *testing.T) {
	t.Run("a tenant", func(t *testing.T) {
		l := calendar(t)
		l.clock(noon("2026-03-20"))
		l.policy.Holds = []Hold{hold(acme, "")}
		e, err := l.keeper().Enforce(t.Context(), false)
		l.check(err)
		if got := l.days(cardlake.Transactions); len(got[acme]) != 5 || len(got[zeta]) != 0 {
			t.Errorf("left are %v", got)
		}
		if got := l.days(cardlake.ControlTotals); len(got[acme]) != 5 || len(got[zeta]) != 0 {
			t.Errorf("left of control totals are %v", got)
		}
		if got := l.days(cardlake.Rejected)[""]; len(got) != 5 { // they may be acme's
			t.Errorf("left of rejected records are %v", got)
		}
		if len(e.Due) == 0 || e.Due[0].HeldFiles == 0 && e.Due[1].HeldFiles == 0 {
			t.Errorf("nobody is told: %+v", e.Due)
		}
		if _, err := l.keeper().Erase(t.Context(), acme, "cu-2026-03-02", false); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "hold-a") {
			t.Errorf("erase: %v", err)
		}
		if _, err := l.keeper().RemoveTenant(t.Context(), acme); !errors.Is(err, ErrHeld) {
			t.Errorf("remove the tenant: %v", err)
		}
		if actions := l.lines.actions(); !slices.Contains(actions, "erase refused") || !slices.Contains(actions, "tenant.remove refused") {
			t.Errorf("recorded %v", actions)
		}
		l.policy.Holds = nil
		_, err = l.keeper().Enforce(t.Context(), false)
		l.check(err)
		if got := l.live(cardlake.Transactions); len(got) != 0 {
			t.Errorf("after the release %v are left", got)
		}
	})
	t.Run("a person", func(t *testing.T) {
		l := calendar(t)
		l.clock(noon("2026-03-20"))
		person, err := l.keeper().Person(t.Context(), acme, "cu-2026-03-03")
		l.check(err)
		l.policy.Holds = []Hold{hold(acme, person)}
		_, err = l.keeper().Enforce(t.Context(), false)
		l.check(err)
		if got := l.days(cardlake.Transactions); !slices.Equal(got[acme], []string{"2026-03-03"}) || len(got[zeta]) != 0 {
			t.Errorf("left are %v", got)
		}
		if where := l.find("cu-2026-03-02", "cu-2026-03-04"); where != nil {
			t.Errorf("others are still in %v", where)
		}
		if _, err := l.keeper().Erase(t.Context(), acme, "cu-2026-03-03", false); !errors.Is(err, ErrHeld) {
			t.Errorf("erase: %v", err)
		}
		if _, err := l.keeper().Erase(t.Context(), acme, "cu-other", false); err != nil {
			t.Errorf("erase another: %v", err)
		}
		if _, err := l.keeper().RemoveTenant(t.Context(), acme); !errors.Is(err, ErrHeld) {
			t.Errorf("remove the tenant: %v", err)
		}
	})
	t.Run("after an erasure", func(t *testing.T) {
		l := calendar(t)
		_, err := l.keeper().Erase(t.Context(), acme, "cu-2026-03-03", false)
		l.check(err)
		l.put(l.rowsOf(acme, "2026-03-06", 3, "cu-2026-03-03", 1)...)
		person, err := l.keeper().Person(t.Context(), acme, "cu-2026-03-03")
		l.check(err)
		l.policy.Holds = []Hold{hold(acme, person)}
		if again, err := l.keeper().Reapply(t.Context()); err != nil || len(again) != 0 {
			t.Errorf("held: %+v, %v", again, err)
		}
		l.policy.Holds = nil
		if again, err := l.keeper().Reapply(t.Context()); err != nil || len(again) != 1 || again[0].Rows != 1 {
			t.Errorf("released: %+v, %v", again, err)
		}
	})
}

// bucket is a store that keeps older versions, as a bucket with versioning does: a deletion
// hides an object.
type bucket struct {
	objects.Store
	hidden map[string]bool
}

// versioned is a bucket that can be purged.
type versioned struct{ *bucket }

func (b *bucket) Delete(ctx context.Context, name string) error {
	body, err := objects.ReadAll(ctx, b.Store, name)
	if err != nil {
		return err
	}
	if err := b.Store.Delete(ctx, name); err != nil {
		return err
	}
	b.hidden[name] = true
	return b.Store.Put(ctx, "versions/"+name, "lake", body)
}

func (b versioned) Purge(ctx context.Context, prefix string, doomed func(objects.Version) bool) (int, error) {
	n := 0
	for name := range b.hidden {
		if strings.HasPrefix(name, prefix) && doomed(objects.Version{Info: objects.Info{Name: name}}) {
			if err := b.Store.Delete(ctx, "versions/"+name); err != nil {
				return n, err
			}
			delete(b.hidden, name)
			n++
		}
	}
	for info, err := range b.Store.List(ctx, prefix) {
		if err != nil {
			return n, err
		}
		if doomed(objects.Version{Info: info, IsCurrent: true}) {
			return n, errors.New("a current version is doomed")
		}
	}
	return n, nil
}

// TestVersions erases a person and removes a tenant in a store that keeps older versions.
func TestVersions(t *testing.T) {
	for _, isPurged := range []bool{true, false} {
		l := peopled(t, parquet.Config{})
		b := &bucket{Store: l.store, hidden: map[string]bool{}}
		// The catalog deletes through it too.
		if l.reopen(b); isPurged {
			l.reopen(versioned{b})
		}
		r, err := l.tenants.Lookup(acme)
		l.check(err)
		young := dataPrefix(cardlake.Transactions, r.StorageID) + "2026-03-02/young.parquet"
		l.check(l.store.Put(t.Context(), young, owner(r), []byte("somebody is about to commit it")))
		k := l.keeper()
		e, err := k.Erase(t.Context(), acme, maria, false)
		l.check(err)
		where := l.find(maria)
		if isPurged && (where != nil || e.Versions == 0) {
			t.Errorf("the customer is still in %v; %+v", where, e)
		}
		if !isPurged && len(where) == 0 {
			t.Error("the search does not find older versions")
		}
		l.leave(zeta)
		out, err := k.RemoveTenant(t.Context(), zeta)
		l.check(err)
		if where := l.find(paulo); isPurged && (len(where) != 1 || out.Versions == 0) { // acme's paulo
			t.Errorf("tenant zeta is still in %v; %+v", where, out)
		}
	}
}

// leave marks a tenant as one that left.
func (l *lake) leave(tenant cardlake.Tenant) {
	l.t.Helper()
	_, err := l.tenants.SetStatus(tenant, catalog.TenantOffboarded, time.Now())
	l.check(err)
}

// TestRemoveTenant removes one tenant of two, killed at each step and repeated.
func TestRemoveTenant(t *testing.T) {
	for _, at := range append([]string{""}, steps...) {
		t.Run("killed "+at, func(t *testing.T) {
			l := calendar(t)
			_, err := l.keeper().Erase(t.Context(), zeta, paulo, false) // leaves objects of its own
			l.check(err)
			before := l.rows()
			r, err := l.tenants.Lookup(zeta)
			l.check(err)
			l.check(l.keys.DestroyOwner(t.Context(), owner(r)))
			step := at
			l.wrap = func(t Table) Table { return crash{t, &step} }
			was := killed(func() { _, err = l.keeper().RemoveTenant(t.Context(), zeta) })
			if was != (at != "") {
				t.Fatal("not as planned")
			}
			if was {
				_, err = l.keeper().RemoveTenant(t.Context(), zeta)
			}
			l.check(err)
			left, err := l.keeper().Left(t.Context(), zeta)
			if err != nil || len(left) != 0 {
				t.Errorf("left are %v, %v", left, err)
			}
			// Manifests tell of files that are gone until they are merged: names, no rows.
			where := slices.DeleteFunc(l.find(string(r.StorageID)), func(name string) bool { return strings.HasPrefix(name, "metadata/") })
			if !slices.Equal(where, []string{"/lake.keyring", "/tenants.json"}) {
				t.Errorf("its storage id is in %v", where)
			}
			after := l.rows()
			for id, b := range before {
				if _, ok := after[id]; ok == (b["tenant"] == string(zeta)) || ok && !maps.Equal(b, after[id]) {
					t.Errorf("row %s of tenant %s: there %v", id, b["tenant"], ok)
				}
			}
			again, err := l.keeper().RemoveTenant(t.Context(), zeta)
			if err != nil || again.Files+again.Objects+again.Forgotten != 0 {
				t.Errorf("the second time: %+v, %v", again, err)
			}
		})
	}
}

// TestLeftFindsARemainder proves that Left finds what a removal that does not expire leaves.
func TestLeftFindsARemainder(t *testing.T) {
	l := calendar(t)
	l.wrap = func(t Table) Table { return careless{t} }
	_, err := l.keeper().RemoveTenant(t.Context(), zeta)
	l.check(err)
	l.wrap = nil
	if left, err := l.keeper().Left(t.Context(), zeta); err != nil || len(left) == 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
