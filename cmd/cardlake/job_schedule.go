package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/cron"
	"github.com/cardlake/cardlake/queries/insights"
)

const jobScheduleAbout = `Makes runs of jobs at their times until interrupted. FILE is JSON:

  {"time_zone": "America/Bogota", "runs": [
    {"name": "alerts", "job": "anomaly", "every": "15 * * * *"},
    {"name": "offers", "job": "recommend", "every": "30 2 * * 1-5", "tenants": ["acme"],
     "parameters": {"days": "90"}, "settings": "offers"}]}

"every" is hourly, daily, weekly, monthly, or five fields as in cron. Without "tenants" it is all for
which -as may run jobs then. "settings" is a file of the one tenant, or a folder of files TENANT.json,
from FILE's folder. Runs are made one after another. What was missed while another run took long, or while
nothing was running here, is made up for once. A run that fails is reported and made again when it is
due; the others go on.

-state keeps when each is due, and is what to watch: "alive_at" is written every minute, and each run
has "failures", its failures in a row, and why.`

// scheduleFile is what "job schedule" is told.
type scheduleFile struct {
	TimeZone string          `json:"time_zone"`
	Runs     []*scheduledRun `json:"runs"`
}

// scheduledRun is a run that is made again and again.
type scheduledRun struct {
	Name       string            `json:"name"` // default Job
	Job        string            `json:"job"`
	Every      string            `json:"every"`
	Tenants    []cardlake.Tenant `json:"tenants"`
	Parameters map[string]string `json:"parameters"`
	Settings   string            `json:"settings"`

	when  *cron.Schedule
	order jobOrder
}

// readSchedule reads the file, and reports every fault of it.
func readSchedule(path string, l *jobLake) (*scheduleFile, error) {
	var f scheduleFile
	if err := readConfig(path, &f); err != nil {
		return nil, err
	}
	var errs []error
	fault := func(r *scheduledRun, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: run %q: %w", path, r.Name, err))
		}
	}
	if len(f.Runs) == 0 {
		errs = append(errs, fmt.Errorf("%s has no runs", path))
	}
	names := map[string]bool{}
	for _, r := range f.Runs {
		r.Name = cmp.Or(r.Name, r.Job)
		if names[r.Name] {
			fault(r, errors.New("there are two of that name"))
		}
		names[r.Name] = true
		var err error
		r.when, err = cron.Parse(r.Every, f.TimeZone)
		fault(r, err)
		r.order = jobOrder{tenants: r.Tenants, values: r.Parameters}
		r.order.job, err = l.job(r.Job)
		fault(r, err)
		if err == nil {
			fault(r, checkParameters(r.order.job, r.Parameters))
		}
		for _, t := range r.Tenants {
			fault(r, t.Validate())
		}
		if r.Settings != "" {
			if r.order.settings = r.Settings; !filepath.IsAbs(r.Settings) {
				r.order.settings = filepath.Join(filepath.Dir(path), r.Settings)
			}
			_, err := os.Stat(r.order.settings)
			fault(r, err)
		}
	}
	return &f, errors.Join(errs...)
}

// scheduleState is what is kept of a schedule, and what is watched.
type scheduleState struct {
	AliveAt time.Time            `json:"alive_at"`
	Runs    map[string]*runState `json:"runs"`
}

// runState is how a scheduled run is.
type runState struct {
	Job      string    `json:"job"`
	Every    string    `json:"every"`
	TimeZone string    `json:"time_zone"`
	Due      time.Time `json:"due"`
	// StartedAt and EndedAt are of the newest run; one that has no end runs, or was cut off.
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// Failures counts the runs in a row that failed for a tenant; Error is why the newest did
	// as a whole.
	Failures int       `json:"failures"`
	Error    string    `json:"error,omitempty"`
	Tenants  []jobLine `json:"tenants,omitempty"`
}

// jobSchedule is "cardlake job schedule".
func jobSchedule(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return jobScheduleOf(ctx, insightJobs(), args, stdout, stderr)
}

func jobScheduleOf(ctx context.Context, jobs []insights.Job, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("job schedule", "FILE", jobScheduleAbout, stderr)
	l := jobLake{jobs: jobs}
	l.define(fs)
	state := fs.String("state", "", "`file` that keeps when each run is due; default job-schedule.json in -dir")
	dryRun := fs.Bool("dry-run", false, "check FILE, and tell when its runs are due; run nothing")
	if err := parseAround(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return misused(fs, "takes the name of a file, got %d arguments", fs.NArg())
	}
	if err := l.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	f, err := readSchedule(fs.Arg(0), &l)
	if err != nil {
		return err
	}
	s := &scheduler{file: f, path: cmp.Or(*state, filepath.Join(l.place.Dir, "job-schedule.json")), stderr: stderr}
	if err := s.load(); err != nil {
		return err
	}
	if *dryRun {
		return s.list(stdout)
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.open(ctx); err != nil {
		return err
	}
	if err := s.list(stderr); err != nil {
		return err
	}
	show := newJobProgress(stderr)
	s.run = func(ctx context.Context, r *scheduledRun) ([]jobResult, error) {
		defer show.end()
		return l.run(ctx, r.order, show)
	}
	s.say = func(r *scheduledRun, results []jobResult) error {
		fmt.Fprintf(stdout, "%s  %s\n", time.Now().UTC().Format(time.RFC3339), r.Name)
		return writeJobResults(stdout, stderr, "table", r.order.job, results)
	}
	return s.serve(ctx)
}

// scheduler makes the runs of a file, one after another.
type scheduler struct {
	file   *scheduleFile
	path   string // of the state
	stderr io.Writer
	run    func(context.Context, *scheduledRun) ([]jobResult, error)
	say    func(*scheduledRun, []jobResult) error

	state scheduleState
}

// load reads what is kept, and finds when each run is due: one that is new, or whose times have
// changed, when its time comes; one that is known, when it was due.
func (s *scheduler) load() error {
	kept := scheduleState{}
	text, err := os.ReadFile(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("-state: %w", err)
	default:
		if err := json.Unmarshal(text, &kept); err != nil {
			return fmt.Errorf("-state: %s: %w: repair it, or remove it, and what was missed is not made up for", s.path, err)
		}
	}
	s.state = scheduleState{Runs: map[string]*runState{}}
	now := time.Now()
	for _, r := range s.file.Runs {
		at := kept.Runs[r.Name]
		if at == nil || at.Job != r.Job || at.Every != r.Every || at.TimeZone != s.file.TimeZone || at.Due.IsZero() {
			at = &runState{Job: r.Job, Every: r.Every, TimeZone: s.file.TimeZone, Due: r.when.Next(now)}
		}
		s.state.Runs[r.Name] = at
	}
	return nil
}

// aliveEvery is how often the state is written while nothing is due.
const aliveEvery = time.Minute

// serve makes runs until ctx ends.
func (s *scheduler) serve(ctx context.Context) error {
	for {
		s.save()
		r := s.next()
		at := s.state.Runs[r.Name]
		if wait := time.Until(at.Due); wait > 0 {
			// Not all of it at once: clocks are set, and machines sleep.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(min(wait, aliveEvery)):
			}
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		at.StartedAt, at.EndedAt = time.Now().UTC(), time.Time{}
		s.save()
		results, err := s.alive(ctx, r)
		if ctx.Err() != nil {
			s.save()
			return nil // it is due still, and goes on then
		}
		if err := s.ended(r, at, results, err); err != nil {
			return err
		}
	}
}

// next is the run that is due first, the first of them in the file.
func (s *scheduler) next() *scheduledRun {
	return slices.MinFunc(s.file.Runs, func(a, b *scheduledRun) int { return s.state.Runs[a.Name].Due.Compare(s.state.Runs[b.Name].Due) })
}

// alive makes a run, and says all the while that somebody is there.
func (s *scheduler) alive(ctx context.Context, r *scheduledRun) (results []jobResult, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		results, err = s.run(ctx, r)
	}()
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return results, err
		case <-tick.C:
			s.save()
		}
	}
}

// ended notes what came of a run, and when the next is due: what became due meanwhile is one.
func (s *scheduler) ended(r *scheduledRun, at *runState, results []jobResult, err error) error {
	at.EndedAt, at.Due = time.Now().UTC(), r.when.Next(at.StartedAt)
	at.Error, at.Tenants = "", nil
	failed := err != nil
	if err != nil {
		at.Error = err.Error()
		fmt.Fprintf(s.stderr, "cardlake: run %q: %v\n", r.Name, err)
	}
	for _, result := range results {
		failed = failed || result.isFailure()
		at.Tenants = append(at.Tenants, result.line(r.order.job))
	}
	if at.Failures++; !failed {
		at.Failures = 0
	}
	if len(results) == 0 {
		return nil
	}
	return s.say(r, results)
}

// save writes the state, whole or not at all. If that fails the runs go on, and whoever watches
// sees that nobody is alive.
func (s *scheduler) save() {
	s.state.AliveAt = time.Now().UTC()
	text, err := json.MarshalIndent(s.state, "", "  ")
	if err == nil {
		err = writeWhole(s.path, append(text, '\n'))
	}
	if err != nil {
		fmt.Fprintln(s.stderr, "cardlake: -state:", err)
	}
}

// writeWhole replaces the file.
func writeWhole(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// list tells when runs are due.
func (s *scheduler) list(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "RUN\tJOB\tEVERY\tDUE\tFAILURES")
	for _, r := range s.file.Runs {
		at := s.state.Runs[r.Name]
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%d\n", r.Name, r.Job, r.Every, at.Due.Format(time.RFC3339), at.Failures)
	}
	return out.Flush()
}
