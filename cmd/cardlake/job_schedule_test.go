package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
)

// writeSchedule writes a file of a schedule.
func writeSchedule(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jobs.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newScheduler reads the file, and what path keeps, into a scheduler whose runs are noted with
// the minute at which they begin.
func newScheduler(t *testing.T, file, path string, took time.Duration, ran *[]string, fault error) *scheduler {
	t.Helper()
	f, err := readSchedule(file, &jobLake{jobs: []insights.Job{counting{}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &scheduler{file: f, path: path, stderr: &bytes.Buffer{}}
	s.run = func(ctx context.Context, r *scheduledRun) ([]jobResult, error) {
		*ran = append(*ran, time.Now().UTC().Format("02 15:04 ")+r.Name)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(took):
		}
		if r.Name == "bad" {
			return []jobResult{{tenant: "acme", err: fault}}, nil
		}
		return []jobResult{{tenant: "acme", outcome: insights.Outcome{State: insights.Published}}}, nil
	}
	s.say = func(*scheduledRun, []jobResult) error { return nil }
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	return s
}

const schedule = `{"time_zone": "UTC", "runs": [
	{"name": "good", "job": "predict", "every": "0 */6 * * *"},
	{"name": "bad", "job": "predict", "every": "30 */6 * * *", "tenants": ["acme"], "parameters": {"least": "2"}}]}`

// TestSchedule: runs are made at their times, whatever becomes of others; what was missed is
// made up for once; and one that was cut off is made again.
func TestSchedule(t *testing.T) {
	file, path := writeSchedule(t, schedule), filepath.Join(t.TempDir(), "state.json")
	synctest.Test(t, func(t *testing.T) { // which begins at midnight, 1 January 2000
		var ran []string
		want := func(what string, runs ...string) {
			t.Helper()
			if !slices.Equal(ran, runs) {
				t.Errorf("%s: ran %q, want %q", what, ran, runs)
			}
			ran = nil
		}
		serve := func(s *scheduler, d time.Duration) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if err := s.serve(ctx); err != nil {
				t.Error(err)
			}
		}
		state := func() (out scheduleState) {
			t.Helper()
			text, err := os.ReadFile(path)
			if err == nil {
				err = json.Unmarshal(text, &out)
			}
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		fault := errors.New("it broke")
		serve(newScheduler(t, file, path, time.Minute, &ran, fault), 13*time.Hour)
		want("the first day", "01 00:30 bad", "01 06:00 good", "01 06:30 bad", "01 12:00 good", "01 12:30 bad")
		if s := state(); s.Runs["bad"].Failures != 3 || s.Runs["bad"].Tenants[0].Reason != "it broke" || s.Runs["good"].Failures != 0 || time.Since(s.AliveAt) > time.Minute {
			t.Errorf("state %+v", s)
		}

		time.Sleep(47 * time.Hour) // until the third day, 12:00
		serve(newScheduler(t, file, path, time.Minute, &ran, nil), 2*time.Hour)
		want("what was missed", "03 12:00 good", "03 12:01 bad", "03 12:30 bad")
		if s := state(); s.Runs["bad"].Failures != 0 || s.Runs["bad"].Error != "" {
			t.Errorf("state %+v", s.Runs["bad"])
		}

		// 14:00. Runs take longer than their times are apart.
		serve(newScheduler(t, file, path, 13*time.Hour, &ran, nil), 20*time.Hour)
		want("long runs", "03 18:00 good", "04 07:00 bad")
		if at := state(); at.Runs["good"].Due.Format("02 15:04") != "04 00:00" || !at.Runs["bad"].EndedAt.IsZero() {
			t.Errorf("state %+v", at.Runs["good"])
		}
		serve(newScheduler(t, file, path, time.Minute, &ran, nil), time.Hour)
		want("what was cut off", "04 10:00 bad", "04 10:01 good")
	})
}

// TestScheduleStopsAlive: while a run takes long, somebody is said to be alive.
func TestScheduleStopsAlive(t *testing.T) {
	file, path := writeSchedule(t, schedule), filepath.Join(t.TempDir(), "state.json")
	synctest.Test(t, func(t *testing.T) {
		var ran []string
		s := newScheduler(t, file, path, 100*time.Hour, &ran, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.serve(ctx) }()
		time.Sleep(20 * time.Hour)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var kept scheduleState
		if err := json.Unmarshal(text, &kept); err != nil || time.Since(kept.AliveAt) > 2*time.Minute || kept.Runs["bad"].StartedAt.IsZero() {
			t.Errorf("%v: %s", err, text)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestScheduleFaults(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"no runs":         {`{}`, "has no runs"},
		"another field":   {`{"run": []}`, "unknown field"},
		"another job":     {`{"runs": [{"job": "x", "every": "daily"}]}`, `there is no job "x"`},
		"no time":         {`{"runs": [{"job": "predict"}]}`, "every is hourly"},
		"another zone":    {`{"time_zone": "Mars", "runs": [{"job": "predict", "every": "daily"}]}`, "time_zone is no name"},
		"twice":           {`{"runs": [{"job": "predict", "every": "daily"}, {"job": "predict", "every": "weekly"}]}`, "two of that name"},
		"wrong tenant":    {`{"runs": [{"job": "predict", "every": "daily", "tenants": ["A B"]}]}`, `run "predict"`},
		"wrong parameter": {`{"runs": [{"job": "predict", "every": "daily", "parameters": {"least": "x"}}]}`, "least: is not a number"},
		"no settings":     {`{"runs": [{"job": "predict", "every": "daily", "settings": "none"}]}`, "none"},
	} {
		if _, err := readSchedule(writeSchedule(t, tc.text), &jobLake{jobs: []insights.Job{counting{}}}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestScheduleExample: what the help shows is a schedule of the jobs that there are.
func TestScheduleExample(t *testing.T) {
	_, text, _ := strings.Cut(jobScheduleAbout, "\n\n")
	text, _, _ = strings.Cut(text, "\n\n")
	file := writeSchedule(t, text)
	if err := os.Mkdir(filepath.Join(filepath.Dir(file), "offers"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := readSchedule(file, &jobLake{jobs: insightJobs()})
	if err != nil || len(f.Runs) != 2 {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestJobSchedule runs the command over a lake: a run that was missed is made, and published.
func TestJobSchedule(t *testing.T) {
	dir := jobHome(t, map[cardlake.Tenant]int{"acme": 20, "tiny": 3})
	file := writeSchedule(t, `{"runs": [{"name": "all", "job": "predict", "every": "monthly"}]}`)
	state := filepath.Join(string(dir), "job-schedule.json")
	args := []string{"-dir", string(dir), file}
	var out, errs bytes.Buffer
	if err := jobScheduleOf(t.Context(), []insights.Job{counting{}}, append(args, "-dry-run"), &out, &errs); err != nil || !strings.Contains(out.String(), "all  predict  monthly  20") {
		t.Fatalf("%v: %s%s", err, out.String(), errs.String())
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("a dry run leaves a state: %v", err)
	}
	missed := scheduleState{Runs: map[string]*runState{"all": {Job: "predict", Every: "monthly", Due: time.Now().Add(-time.Hour), Failures: 3}}}
	text, err := json.Marshal(missed)
	if err == nil {
		err = os.WriteFile(state, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said := told{after: func() {}}
	said.after = func() {
		if strings.Contains(said.String(), "tiny") {
			cancel()
		}
	}
	if err := jobScheduleOf(ctx, []insights.Job{counting{}}, args, &said, &errs); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	if !strings.Contains(said.String(), "acme    published") || !strings.Contains(said.String(), "tiny    too little data") {
		t.Errorf("said %s%s", said.String(), errs.String())
	}
	if text, err = os.ReadFile(state); err != nil {
		t.Fatal(err)
	}
	var kept scheduleState
	if err := json.Unmarshal(text, &kept); err != nil || kept.Runs["all"].Failures != 0 || !kept.Runs["all"].Due.After(time.Now()) || len(kept.Runs["all"].Tenants) != 2 {
		t.Errorf("%v: %s", err, text)
	}
	if got := asAnalyst(t, dir, "acme", runsSeen); got != "n\n1\n" {
		t.Errorf("runs of acme: %q", got)
	}
}
