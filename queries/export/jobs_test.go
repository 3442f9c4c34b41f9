package export_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/objects"
)

func (w *world) lines(c grants.Caller, j *export.Job, number int) [][]string {
	w.t.Helper()
	lines, err := csv.NewReader(bytes.NewReader(w.read(c, j, number))).ReadAll()
	if err != nil {
		w.t.Fatal(err)
	}
	return lines
}

func plain(f export.Format) export.Request { return export.Request{Table: table, Format: f} }

// TestOneTenant: whoever may read several tenants names one, and has rows of no other.
func TestOneTenant(t *testing.T) {
	w := newWorld(t, 6, 50, nil)
	for name, permits := range map[string]queriestest.Permits{
		"two tenants": queriestest.Only(nil, "aurora", "bolivar"),
		"all":         queriestest.Everything,
	} {
		w.permit(permits)
		_, _, err := w.Start(t.Context(), ana, plain(export.CSV))
		wantFault(t, err, export.Invalid, "name it")
		r := plain(export.CSV)
		r.Tenant = "bolivar"
		j := w.run(ana, r)
		wantDone(t, j)
		lines := w.lines(ana, j, 1)
		at := slices.Index(lines[0], "tenant")
		if len(lines) != 101 {
			t.Errorf("%s: %d lines", name, len(lines))
		}
		for _, line := range lines[1:] {
			if line[at] != "bolivar" {
				t.Fatalf("%s: a row of %s", name, line[at])
			}
		}
	}
	w.permit(queriestest.Only(nil, "aurora"))
	r := plain(export.CSV)
	r.Tenant = "bolivar"
	_, _, err := w.Start(t.Context(), ana, r)
	wantFault(t, err, export.Refused, "may not export")
	r.Tenant = "nobody"
	_, _, err = w.Start(t.Context(), ana, r)
	wantFault(t, err, export.Refused, "may not export")
	for _, name := range []string{"cards.transactions_rejected", "audit.events", "cards.nothing", "../../etc/passwd"} {
		_, _, err := w.Start(t.Context(), ana, export.Request{Table: name, Format: export.CSV, Tenant: "aurora"})
		wantFault(t, err, export.Invalid, "no table")
	}
}

// TestNarrow: a decision about all rows becomes one about a tenant's, and one about a table that is
// not of tenants, or of a tenant that it leaves out, permits nothing.
func TestNarrow(t *testing.T) {
	narrow := queries.Narrow(queriestest.Everything, "aurora")
	d := narrow.Decide(ana, grants.Export, cardlake.Transactions)
	if !d.Allowed() || d.IsWhole() || d.Scope("aurora") == nil || d.Scope("bolivar") != nil || d.Scope("") != nil {
		t.Errorf("%+v", d.Scopes)
	}
	if d := narrow.Decide(ana, grants.Export, cardlake.Rejected); d.Allowed() {
		t.Errorf("a table of no tenant: %+v", d.Scopes)
	}
	except := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		d := *queriestest.Everything(c, a, t)
		d.Except = []cardlake.Tenant{"aurora"}
		return &d
	})
	if d := queries.Narrow(except, "aurora").Decide(ana, grants.Export, cardlake.Transactions); d.Allowed() {
		t.Errorf("a tenant that is left out: %+v", d.Scopes)
	}
}

// TestRange: exactly the rows of the range, of the columns that are named.
func TestRange(t *testing.T) {
	w := newWorld(t, 7, 240, nil)
	r := plain(export.CSV)
	r.From, r.To = queriestest.Epoch.Add(time.Hour), queriestest.Epoch.Add(26*time.Hour)
	r.Columns = []string{"event_time", "amount"}
	j := w.run(ana, r)
	wantDone(t, j)
	lines := w.lines(ana, j, 1)
	if len(lines)-1 != 250 || strings.Join(lines[0], ",") != "event_time,amount" {
		t.Errorf("%d rows of %v", len(lines)-1, lines[0])
	}
	if first, last := lines[1][0], lines[len(lines)-1][0]; first != "2026-03-01T01:00:00Z" || last != "2026-03-02T01:54:00Z" {
		t.Errorf("from %s to %s", first, last)
	}
}

// TestNarrowedGrant: files that hold more than the caller may have now are not given, and what is
// narrowed before or while the job runs is narrow in its files, or ends it.
func TestNarrowedGrant(t *testing.T) {
	w := newWorld(t, 4, 50, nil)
	masked := queriestest.Only(map[string]grants.Access{"customer_id": grants.Masked}, "aurora")
	j := w.run(ana, plain(export.CSV))
	wantDone(t, j)
	w.read(ana, j, 1)
	w.permit(masked)
	for number := range 2 {
		_, err := w.Open(t.Context(), ana, j.ID, number, 0)
		wantFault(t, err, export.Refused, "cards.transactions.customer_id")
	}
	_, err := w.Link(t.Context(), ana, "/d", j.ID, 1, time.Minute)
	wantFault(t, err, export.Refused, "customer_id")
	if err := w.Recheck(t.Context(), ana, j.ID, 1); err == nil {
		t.Error("a download under way goes on")
	}
	w.permit(queriestest.Nothing)
	_, err = w.Open(t.Context(), ana, j.ID, 1, 0)
	wantFault(t, err, export.Refused, table)

	// Narrowed between asking and running: the files are narrow, and are given.
	w.permit(queriestest.Only(nil, "aurora"))
	asked, _, err := w.Start(t.Context(), ana, plain(export.CSV))
	if err != nil {
		t.Fatal(err)
	}
	w.permit(masked)
	if j, err = w.RunOne(t.Context(), asked.ID, nil); err != nil {
		t.Fatal(err)
	}
	wantDone(t, j)
	lines := w.lines(ana, j, 1)
	at := slices.Index(lines[0], "customer_id")
	for _, line := range lines[1:] {
		if line[at] != "" {
			t.Fatalf("a clear value %q", line[at])
		}
	}
	if m := w.manifest(ana, j); m.Columns[at].Access != "masked" {
		t.Errorf("the manifest says %q", m.Columns[at].Access)
	}

	// Narrowed, and withdrawn, while it runs: however few rows there are.
	for _, now := range []queriestest.Permits{masked, queriestest.Nothing} {
		w.permit(queriestest.Only(nil, "aurora"))
		before := w.objects()
		asked, _, err = w.Start(t.Context(), ana, plain(export.CSV))
		if err != nil {
			t.Fatal(err)
		}
		if j, err = w.RunOne(t.Context(), asked.ID, func(*export.Job) { w.permit(now) }); err != nil {
			t.Fatal(err)
		}
		if j.State != export.Failed || !strings.Contains(j.Error, "not permitted any more") || w.objects() != before {
			t.Errorf("the export is %s: %s; %d objects", j.State, j.Error, w.objects()-before)
		}
	}
}

// TestOthersExports: nobody sees, ends or downloads another's export.
func TestOthersExports(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	j := w.run(ana, plain(export.CSV))
	wantDone(t, j)
	_, err := w.Job(t.Context(), eve, j.ID)
	wantFault(t, err, export.NotFound, "no such export")
	_, err = w.Cancel(t.Context(), eve, j.ID)
	wantFault(t, err, export.NotFound, "no such export")
	_, err = w.Open(t.Context(), eve, j.ID, 1, 0)
	wantFault(t, err, export.NotFound, "no such export")
	_, err = w.Link(t.Context(), eve, "/d", j.ID, 1, time.Minute)
	wantFault(t, err, export.NotFound, "no such export")
	if list, err := w.List(t.Context(), eve); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	_, err = w.Open(t.Context(), ana, j.ID, 2, 0)
	wantFault(t, err, export.NotFound, "to 1")
	_, err = w.Open(t.Context(), ana, j.ID, -1, 0)
	wantFault(t, err, export.NotFound, "to 1")
	_, err = w.Open(t.Context(), ana, "../"+j.ID, 1, 0)
	wantFault(t, err, export.NotFound, "no such export")
	refused := 0
	for _, r := range w.log.Records() {
		if r.Action == "export.download" && r.Outcome == "refused" {
			refused++
		}
	}
	if refused != 4 {
		t.Errorf("%d refused downloads are on record", refused)
	}
}

// TestQuotas: what a tenant takes away in a day is counted, over all of its principals, and what
// came to nothing is given back.
func TestQuotas(t *testing.T) {
	w := newWorld(t, 4, 100, nil) // aurora has 200 rows
	set := func(q catalog.Quotas) { w.tenants.change("aurora", func(r *catalog.TenantRecord) { r.Quotas = q }) }
	set(catalog.Quotas{Rows: 150})
	j := w.run(ana, plain(export.CSV))
	if j.State != export.Failed || !strings.Contains(j.Error, "150 rows a day") || w.objects() != 0 {
		t.Fatalf("the export is %s: %s; %d objects", j.State, j.Error, w.objects())
	}
	small := plain(export.CSV)
	small.To = queriestest.Epoch.Add(24 * time.Hour)
	wantDone(t, w.run(ana, small)) // 100: all of the 150 were given back
	if j = w.run(eve, small); j.State != export.Failed {
		t.Errorf("another principal of the tenant has rows beyond the quota: %s", j.State)
	}
	// Rows that were counted, of a job that failed after them, are given back too.
	set(catalog.Quotas{Rows: 300})
	failed, _, err := w.Start(t.Context(), ana, plain(export.CSV))
	if err != nil {
		t.Fatal(err)
	}
	j, err = w.RunOne(t.Context(), failed.ID, func(j *export.Job) {
		if j.Progress.Rows > 0 {
			w.permit(queriestest.Nothing)
		}
	})
	if err != nil || j.State != export.Failed {
		t.Fatal(j.State, err)
	}
	w.permit(queriestest.Only(nil, "aurora"))
	wantDone(t, w.run(ana, plain(export.CSV)))
	w.clock.add(24 * time.Hour)
	wantDone(t, w.run(ana, small))
	set(catalog.Quotas{Rows: 100})
	_, _, err = w.Start(t.Context(), eve, small)
	wantFault(t, err, export.OverUsed, "100 rows a day is used up")
	w.clock.add(24 * time.Hour)
	wantDone(t, w.run(eve, small))
	set(catalog.Quotas{Exports: 1})
	_, _, err = w.Start(t.Context(), ana, small)
	wantFault(t, err, export.OverUsed, "1 exports a day")
	set(catalog.Quotas{Bytes: 10_000})
	_, _, err = w.Start(t.Context(), ana, small)
	wantFault(t, err, export.OverUsed, "bytes a day is used up")
	// The clock set back finds the day's usage as it was.
	w.clock.add(-24 * time.Hour)
	set(catalog.Quotas{Rows: 100})
	_, _, err = w.Start(t.Context(), ana, small)
	wantFault(t, err, export.OverUsed, "100 rows")
}

// TestIdempotency: a repeat is the same export, and a key is of one request and one principal.
func TestIdempotency(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	r := plain(export.CSV)
	r.Key = "order-1"
	first, isNew, err := w.Start(t.Context(), ana, r)
	if err != nil || !isNew {
		t.Fatal(isNew, err)
	}
	again, isNew, err := w.Start(t.Context(), ana, r)
	if err != nil || isNew || again.ID != first.ID {
		t.Errorf("%v, new %t, %v", again, isNew, err)
	}
	r.Format = export.JSONL
	_, _, err = w.Start(t.Context(), ana, r)
	wantFault(t, err, export.Conflict, "another request")
	// The same instant in another zone, and no columns in two spellings, are the same.
	at := queriestest.Epoch
	same := export.Request{Table: table, Format: export.CSV, From: at, Key: "order-2"}
	if first, _, err = w.Start(t.Context(), ana, same); err != nil {
		t.Fatal(err)
	}
	same.From, same.Columns = at.In(time.FixedZone("", -6*3600)), []string{}
	if again, isNew, err := w.Start(t.Context(), ana, same); err != nil || isNew || again.ID != first.ID {
		t.Errorf("%v, new %t, %v", again, isNew, err)
	}
	if other, isNew, err := w.Start(t.Context(), eve, r); err != nil || !isNew || other.ID == first.ID {
		t.Errorf("another's key: %v, new %t, %v", other, isNew, err)
	}
}

// TestCancel: queued and running.
func TestCancel(t *testing.T) {
	w := newWorld(t, 1, 3000, nil)
	j, _, err := w.Start(t.Context(), ana, plain(export.CSV))
	if err != nil {
		t.Fatal(err)
	}
	if j, err = w.Cancel(t.Context(), ana, j.ID); err != nil || j.State != export.Cancelled {
		t.Fatal(j.State, err)
	}
	if j, err = w.RunOne(t.Context(), j.ID, nil); err != nil || j.State != export.Cancelled {
		t.Errorf("a cancelled export ran: %v %v", j.State, err)
	}
	if j, _, err = w.Start(t.Context(), ana, plain(export.CSV)); err != nil {
		t.Fatal(err)
	}
	var once atomic.Bool
	j, err = w.RunOne(t.Context(), j.ID, func(now *export.Job) {
		if !once.Swap(true) {
			if _, err := w.Cancel(t.Context(), ana, now.ID); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || j.State != export.Cancelled || w.objects() != 0 {
		t.Errorf("the export is %s, %v; %d objects", j.State, err, w.objects())
	}
}

// faulty is a store whose puts fail as a test says.
type faulty struct {
	objects.Store
	put func(n int64) error
	n   atomic.Int64
}

func (f *faulty) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	if err := f.put(f.n.Add(1)); err != nil {
		return err
	}
	return f.Store.Put(ctx, name, owner, body)
}

// TestDiskFull: a job begins anew without doubling anything, and in the end fails and leaves
// nothing.
func TestDiskFull(t *testing.T) {
	for name, tc := range map[string]struct {
		full func(n int64) bool
		want export.State
		puts int64
	}{
		"in passing": {func(n int64) bool { return n == 2 }, export.Done, 0},
		"for good":   {func(n int64) bool { return n > 1 }, export.Failed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, 6000, func(w *world) {
				w.deps.Files = &faulty{Store: w.files, put: func(n int64) error {
					if tc.full(n) {
						return fmt.Errorf("write: %w", syscall.ENOSPC)
					}
					return nil
				}}
			})
			r := plain(export.CSV)
			r.MaxFileBytes = 1 << 20
			j := w.run(ana, r)
			for range 3 {
				if j.State == export.Queued {
					if _, err := w.RunOne(t.Context(), j.ID, nil); err != nil || w.objects() != 0 {
						t.Errorf("%d objects while it waits, %v", w.objects(), err)
					}
					w.clock.add(time.Hour)
					var err error
					if j, err = w.RunOne(t.Context(), j.ID, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			if j.State != tc.want || w.objects() != len(j.Files) {
				t.Errorf("the export is %s: %s; %d objects, %d files", j.State, j.Error, w.objects(), len(j.Files))
			}
			if j.State == export.Failed && !strings.Contains(j.Error, "no room") {
				t.Error(j.Error)
			}
			if j.State == export.Done {
				if m := w.manifest(ana, j); m.Rows != 6000 || len(m.Files) < 2 {
					t.Errorf("%d rows in %d files", m.Rows, len(m.Files))
				}
			}
		})
	}
}

// TestDestroyedKey: a key that is destroyed half-way ends the job, and the files of one that is
// done are gone with it.
func TestDestroyedKey(t *testing.T) {
	w := newWorld(t, 1, 3000, nil)
	done := w.run(ana, plain(export.CSV))
	wantDone(t, done)
	j, _, err := w.Start(t.Context(), ana, plain(export.CSV))
	if err != nil {
		t.Fatal(err)
	}
	j, err = w.RunOne(t.Context(), j.ID, func(*export.Job) { w.keys.Destroy(keys.OwnerOf(storageID("aurora"))) })
	if err != nil || j.State != export.Failed || !strings.Contains(j.Error, "key") {
		t.Errorf("the export is %s: %s; %v", j.State, j.Error, err)
	}
	_, err = w.Open(t.Context(), ana, done.ID, 1, 0)
	wantFault(t, err, export.Gone, "key is destroyed")
}

// shredded is a store without the keys of its objects.
type shredded struct{ objects.Store }

func (shredded) Open(context.Context, string) (objects.Object, error) { return nil, keys.ErrDestroyed }

// TestDestroyedRows: an export without the rows whose key is no more does not pass for a whole
// one.
func TestDestroyedRows(t *testing.T) {
	w := newWorld(t, 1, 10, func(w *world) { w.deps.Lake = shredded{w.lake} })
	if j := w.run(ana, plain(export.CSV)); j.State != export.Failed || !strings.Contains(j.Error, "key is destroyed") || w.objects() != 0 {
		t.Errorf("the export is %s: %s; %d objects", j.State, j.Error, w.objects())
	}
}

// TestTenantLeaves: what is suspended is not given, and of what has left nothing stays.
func TestTenantLeaves(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	j := w.run(ana, plain(export.CSV))
	wantDone(t, j)
	link, err := w.Link(t.Context(), ana, "/d", j.ID, 1, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w.tenants.change("aurora", func(r *catalog.TenantRecord) { r.Status = catalog.TenantSuspended })
	_, err = w.Open(t.Context(), ana, j.ID, 1, 0)
	wantFault(t, err, export.Refused, "suspended")
	path, query, _ := strings.Cut(link.URL, "?")
	c, err := w.Follow(t.Context(), "GET", path, query, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Open(t.Context(), c, j.ID, 1, 0)
	wantFault(t, err, export.Refused, "suspended")
	_, _, err = w.Start(t.Context(), ana, plain(export.CSV))
	wantFault(t, err, export.Refused, "suspended")
	if err := w.Tend(t.Context()); err != nil || w.objects() != 2 {
		t.Errorf("%d objects, %v", w.objects(), err)
	}
	w.tenants.change("aurora", func(r *catalog.TenantRecord) { r.Status = catalog.TenantOffboarded })
	if err := w.Tend(t.Context()); err != nil || w.objects() != 0 {
		t.Errorf("%d objects, %v", w.objects(), err)
	}
}

// TestExpiry: on time at the door, and then in the store; an expired export never comes back.
func TestExpiry(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	j := w.run(ana, plain(export.CSV))
	wantDone(t, j)
	w.clock.add(7*24*time.Hour - time.Second)
	w.read(ana, j, 1)
	w.clock.add(time.Second)
	_, err := w.Open(t.Context(), ana, j.ID, 1, 0)
	wantFault(t, err, export.Gone, "start a new one")
	if err := w.Tend(t.Context()); err != nil || w.objects() != 0 {
		t.Errorf("%d objects, %v", w.objects(), err)
	}
	w.clock.add(-time.Hour)
	if now, err := w.Job(t.Context(), ana, j.ID); err != nil || now.State != export.Expired {
		t.Errorf("%v, %v", now.State, err)
	}
}

// TestUnrecorded: without the record nothing is asked for, finished or given.
func TestUnrecorded(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	j := w.run(ana, plain(export.CSV))
	wantDone(t, j)
	waiting, _, err := w.Start(t.Context(), ana, plain(export.CSV))
	if err != nil {
		t.Fatal(err)
	}
	w.log.Fail(errors.New("full"))
	if _, _, err := w.Start(t.Context(), ana, plain(export.CSV)); err == nil {
		t.Error("an export is asked for that is not on record")
	}
	if f, err := w.Open(t.Context(), ana, j.ID, 1, 0); err == nil {
		f.Close()
		t.Error("a file is given that is not on record")
	}
	if _, err := w.Link(t.Context(), ana, "/d", j.ID, 1, time.Minute); err == nil {
		t.Error("a link is made that is not on record")
	}
	if now, err := w.RunOne(t.Context(), waiting.ID, nil); err != nil || now.State == export.Done {
		t.Errorf("an export is %s without a record, %v", now.State, err)
	}
	w.log.Fail(nil)
	w.clock.add(time.Hour)
	now, err := w.RunOne(t.Context(), waiting.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantDone(t, now)
}

// stuck is a store of which nothing can be removed for now.
type stuck struct {
	objects.Store
	isStuck atomic.Bool
}

func (s *stuck) Delete(ctx context.Context, name string) error {
	if s.isStuck.Load() {
		return errors.New("not now")
	}
	return s.Store.Delete(ctx, name)
}

// TestSweep: what could not be removed when a job failed is removed later, and nothing else is.
func TestSweep(t *testing.T) {
	var store *stuck
	w := newWorld(t, 1, 100, func(w *world) {
		store = &stuck{Store: w.files}
		w.deps.Files = store
	})
	done := w.run(ana, plain(export.CSV))
	wantDone(t, done)
	if err := w.files.Put(t.Context(), "exports/aaaaaaaaaaaaaaaa/others/attempt-1/00001", "aaaa", nil); err != nil {
		t.Fatal(err)
	}
	store.isStuck.Store(true)
	asked, _, err := w.Start(t.Context(), ana, plain(export.CSV))
	if err != nil {
		t.Fatal(err)
	}
	j, err := w.RunOne(t.Context(), asked.ID, func(j *export.Job) {
		if j.Progress.Rows > 0 {
			w.permit(queriestest.Nothing)
		}
	})
	if err != nil || j.State != export.Failed || w.objects() <= 3 {
		t.Fatalf("the export is %s, %d objects, %v", j.State, w.objects(), err)
	}
	store.isStuck.Store(false)
	w.clock.add(2 * time.Hour)
	if err := w.Tend(t.Context()); err != nil || w.objects() != 3 {
		t.Errorf("%d objects, %v", w.objects(), err)
	}
}
