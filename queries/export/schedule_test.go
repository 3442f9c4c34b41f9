package export_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// tend moves schedules on and runs what they ask for, until nothing is to be done.
func (w *world) tend() {
	w.t.Helper()
	for range 100 {
		if err := w.Tend(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		jobs, err := w.List(w.t.Context(), ana)
		if err != nil {
			w.t.Fatal(err)
		}
		i := slices.IndexFunc(jobs, func(j *export.Job) bool { return j.State == export.Queued && !w.clock.now().Before(j.NotBefore) })
		if i >= 0 {
			if _, err := w.RunOne(w.t.Context(), jobs[i].ID, nil); err != nil {
				w.t.Fatal(err)
			}
			continue
		}
		all, err := w.Schedules(w.t.Context(), ana)
		if err != nil {
			w.t.Fatal(err)
		}
		if !slices.ContainsFunc(all, func(s *export.Schedule) bool {
			return !s.Paused && s.Settled && !w.clock.now().Before(s.NotBefore) && !w.clock.now().Before(s.To.Add(time.Hour))
		}) {
			return
		}
	}
	w.t.Fatal("schedules do not come to rest")
}

// windows are those of the exports that are done, in order.
func (w *world) windows() (out []string) {
	w.t.Helper()
	jobs, err := w.List(w.t.Context(), ana)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, j := range jobs {
		if j.State == export.Done || j.State == export.Expired {
			out = append(out, j.Request.From.Format("02T15")+"-"+j.Request.To.Format("02T15"))
		}
	}
	slices.Sort(out)
	return out
}

// TestSchedule: each day once, when it is complete, also after a downtime, in however many
// processes, and wherever the clock goes.
func TestSchedule(t *testing.T) {
	w := newWorld(t, 9, 24, nil)
	r := plain(export.CSV)
	r.From = queriestest.Epoch
	w.clock.at = queriestest.Epoch.Add(12 * time.Hour)
	s, err := w.Plan(t.Context(), ana, r, "daily", "")
	if err != nil {
		t.Fatal(err)
	}
	w.tend()
	w.clock.add(12*time.Hour + 59*time.Minute)
	w.tend()
	if got := w.windows(); len(got) != 0 {
		t.Fatalf("%v before the day was complete", got)
	}
	w.clock.add(time.Minute)
	w.tend()
	if got := fmt.Sprint(w.windows()); got != "[01T00-02T00]" {
		t.Fatal(got)
	}
	jobs, err := w.List(t.Context(), ana)
	if err != nil {
		t.Fatal(err)
	}
	if m := w.manifest(ana, jobs[0]); m.Rows != 24 || m.Schedule != s.ID {
		t.Errorf("%d rows, schedule %q", m.Rows, m.Schedule)
	}
	// Set back, the clock makes nothing again.
	w.clock.add(-20 * time.Hour)
	w.tend()
	w.clock.add(20 * time.Hour)
	// Three days without a process.
	w.clock.add(3 * 24 * time.Hour)
	other := w.open()
	for range 3 {
		if err := other.Tend(t.Context()); err != nil { // beside
			t.Fatal(err)
		}
		w.tend()
	}
	if got := fmt.Sprint(w.windows()); got != "[01T00-02T00 02T00-03T00 03T00-04T00 04T00-05T00]" {
		t.Fatal(got)
	}
	// Paused and resumed, it goes on where it was.
	if _, err := w.SetPaused(t.Context(), ana, s.ID, true); err != nil {
		t.Fatal(err)
	}
	w.clock.add(48 * time.Hour)
	w.tend()
	if got := w.windows(); len(got) != 4 {
		t.Fatalf("%v while it was paused", got)
	}
	if _, err := w.SetPaused(t.Context(), eve, s.ID, false); err == nil {
		t.Error("another's schedule is resumed")
	}
	if _, err := w.SetPaused(t.Context(), ana, s.ID, false); err != nil {
		t.Fatal(err)
	}
	w.tend()
	if got := w.windows(); len(got) != 6 {
		t.Fatal(got)
	}
	wantFault(t, w.Remove(t.Context(), eve, s.ID), export.NotFound, "no such schedule")
	if err := w.Remove(t.Context(), ana, s.ID); err != nil {
		t.Fatal(err)
	}
	w.clock.add(48 * time.Hour)
	w.tend()
	if got := w.windows(); len(got) != 6 {
		t.Fatal(got)
	}
}

// TestScheduleFails: it is asked for again, paused after three failures, and loses no window.
func TestScheduleFails(t *testing.T) {
	w := newWorld(t, 9, 24, nil)
	r := plain(export.CSV)
	r.From = queriestest.Epoch
	s, err := w.Plan(t.Context(), ana, r, "daily", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	w.clock.at = queriestest.Epoch.Add(26 * time.Hour)
	w.permit(queriestest.Nothing)
	for n := 1; n <= 3; n++ {
		w.tend()
		all, err := w.Schedules(t.Context(), ana)
		if err != nil {
			t.Fatal(err)
		}
		if s = all[0]; s.Failures != n || s.Paused != (n == 3) || !strings.Contains(s.Reason, "may not export") {
			t.Fatalf("after failure %d: %+v", n, s)
		}
		w.clock.add(11 * time.Minute)
	}
	w.permit(queriestest.Only(nil, "aurora"))
	w.tend()
	if got := w.windows(); len(got) != 0 {
		t.Fatalf("%v while it was paused", got)
	}
	if _, err := w.SetPaused(t.Context(), ana, s.ID, false); err != nil {
		t.Fatal(err)
	}
	w.tend()
	if got := fmt.Sprint(w.windows()); got != "[01T00-02T00]" {
		t.Fatal(got)
	}
}

// complete says so when it is told.
type complete struct{ isComplete bool }

func (c *complete) IsComplete(_ context.Context, _ *cardlake.Table, tenant cardlake.Tenant, from, to time.Time) (bool, error) {
	return c.isComplete && tenant == "aurora" && to.Sub(from) == 24*time.Hour, nil
}

// TestScheduleWaits until whoever counts says that the window is complete.
func TestScheduleWaits(t *testing.T) {
	c := &complete{}
	w := newWorld(t, 9, 24, func(w *world) { w.deps.Complete = c })
	r := plain(export.CSV)
	r.From = queriestest.Epoch
	if _, err := w.Plan(t.Context(), ana, r, "daily", "UTC"); err != nil {
		t.Fatal(err)
	}
	w.clock.at = queriestest.Epoch.Add(30 * time.Hour)
	if err := w.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if jobs, err := w.List(t.Context(), ana); err != nil || len(jobs) != 0 {
		t.Fatal(jobs, err)
	}
	c.isComplete = true
	if err := w.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if jobs, err := w.List(t.Context(), ana); err != nil || len(jobs) != 1 {
		t.Fatal(jobs, err)
	}
}

func TestScheduleRefused(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	for every, want := range map[string]string{
		"": "five fields", "yearly": "five fields", "* * * *": "five fields", "60 * * * *": "minute", "* 24 * * *": "hour", "* * 0 * *": "day",
		"* * * 13 *": "month", "* * * * 8": "weekday", "*/0 * * * *": "minute", "5-1 * * * *": "minute", "a * * * *": "minute",
		"0 0 30 2 *": "no such day", "1,,2 * * * *": "minute", "-1 * * * *": "minute",
	} {
		_, err := w.Plan(t.Context(), ana, plain(export.CSV), every, "")
		wantFault(t, err, export.Invalid, want)
	}
	for _, zone := range []string{"Mars/Olympus", "../../etc/passwd", "Local", "utc+3"} {
		_, err := w.Plan(t.Context(), ana, plain(export.CSV), "daily", zone)
		wantFault(t, err, export.Invalid, "time_zone")
	}
	_, err := w.Plan(t.Context(), ana, export.Request{SQL: "SELECT 1", Format: export.CSV}, "daily", "")
	wantFault(t, err, export.Invalid, "of a table")
	w.permit(queriestest.Nothing)
	_, err = w.Plan(t.Context(), ana, plain(export.CSV), "daily", "")
	wantFault(t, err, export.Refused, "may not export")
}
