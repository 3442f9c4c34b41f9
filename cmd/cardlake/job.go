package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/views"
)

const jobUsage = `usage: cardlake job COMMAND [flags] [arguments]

  run NAME       make insights of tenants' transactions: anomaly, segment, predict, recommend
  schedule FILE  make runs at their times until interrupted
  list           list the published runs
  report NAME    what a run found, beside simple methods: text, HTML, pictures
  alerts         list what the runs of anomaly would have somebody look at
  confirm ID …   say that alerts are fraud
  dismiss ID …   say that they are not
  label FILE     take over what is known of events, such as chargebacks

"cardlake job COMMAND -h" lists a command's flags. A run is published whole or not at all: until
then, and if it fails or is killed, readers have the one before. To make it again goes on where
it stopped, and does nothing if it was published.
`

// jobCommand is "cardlake job".
func jobCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, jobUsage)
		return errUsage
	}
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"run": jobRun, "schedule": jobSchedule, "list": jobList, "report": jobReport,
		"alerts": jobAlerts, "confirm": jobConfirm, "dismiss": jobDismiss, "label": jobLabel,
	}
	switch command := args[0]; command {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, jobUsage)
		return nil
	default:
		do, ok := commands[command]
		if !ok {
			fmt.Fprintf(stderr, "cardlake job: there is no command %q\n\n%s", command, jobUsage)
			return errUsage
		}
		return do(ctx, args[1:], stdout, stderr)
	}
}

// localJobs is who runs jobs if nobody is named.
const localJobs = "etl_job/insights"

// jobLake is an open lake in which jobs run, and what they are told of on the command line.
type jobLake struct {
	place   lakeflags.Flags
	door    door
	memory  int64
	timeout time.Duration
	width   int

	jobs    []insights.Job
	lake    *serving.Lake
	tenants *catalog.Tenants
	permits *grants.Grants
	record  *audit.Log
	parser  *embedded.Parser
	engine  *embedded.Engine
	runner  *insights.Runner
}

func (l *jobLake) define(fs *flag.FlagSet) {
	l.place.Define(fs, lakeflags.Write)
	l.door.define(fs)
	l.door.defineRecord(fs)
	fs.Lookup("as").Usage = "`principal` who runs jobs, KIND/NAME; default $CARDLAKE_AS, or " + localJobs
	fs.IntVar(&l.width, "jobs", 1, "how many `tenants` are computed at once; each takes its own -memory")
	fs.Int64Var(&l.memory, "memory", 1024, "`MiB` of memory that a statement of a job may use, and as much again for decrypted files")
	fs.DurationVar(&l.timeout, "timeout", time.Hour, "longest time that a statement of a job may take")
}

// complete fills in what was not given, and reports what is wrong.
func (l *jobLake) complete() error {
	if l.door.as == "" && os.Getenv("CARDLAKE_AS") == "" {
		l.door.as = localJobs
	}
	var errs []error
	if l.width < 1 || l.width > 64 || l.memory < 16 || l.memory > 1<<20 || l.timeout <= 0 {
		errs = append(errs, fmt.Errorf("-jobs is from 1 to 64, -memory from 16 to %d, -timeout is positive", 1<<20))
	}
	return errors.Join(append(errs, l.place.Complete(), l.door.complete(home.Dir(l.place.Dir)))...)
}

// heap is what a run of a tenant with a million cards keeps, in bytes, beside what its
// statements take. Without a limit garbage would grow with what is kept.
const heap = 1400 << 20

// open opens the lake. close must follow, also after an error.
func (l *jobLake) open(ctx context.Context) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(l.width) * heap)
	}
	if l.place.Catalog != lakeflags.Glue && !l.place.IsPostgres() {
		if _, err := os.Stat(l.place.Catalog); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no lake in %s: give its folder with -dir", l.place.Dir)
		}
	}
	var err error
	if l.permits, err = l.door.permits(); err != nil {
		return err
	}
	if l.record, err = l.door.record(ctx, &l.place); err != nil {
		return err
	}
	if l.tenants, err = catalog.OpenTenants(l.door.tenants); err != nil {
		return err
	}
	if l.lake, err = serving.OpenLake(ctx, &l.place); err != nil {
		return err
	}
	l.parser = embedded.NewParser()
	l.engine = embedded.New(l.lake.Planner, l.lake.Store, embedded.Config{Memory: l.memory << 20, MaxBytes: l.memory << 20})
	l.runner = insights.New(insights.Deps{
		Gateway: queries.New(l.parser, l.engine, l.permits, l.record, queries.Config{MaxRows: -1, Timeout: l.timeout, Views: views.All}),
		Permits: l.permits, Recorder: l.record, Tenants: l.tenants, Store: l.lake.Store, Now: time.Now,
		Table: func(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
			t, err := l.lake.Table(ctx, def)
			if err != nil {
				return nil, err // not a *iceberg.Table that is nil
			}
			return t, nil
		},
	}, l.door.caller)
	return nil
}

func (l *jobLake) close() error {
	var errs []error
	if l.engine != nil {
		errs = append(errs, l.engine.Close(), l.parser.Close())
	}
	if l.lake != nil {
		errs = append(errs, l.lake.Close())
	}
	if l.record != nil {
		errs = append(errs, l.record.Close())
	}
	return errors.Join(errs...)
}

// job returns the job of that name.
func (l *jobLake) job(name string) (insights.Job, error) {
	var names []string
	for _, j := range l.jobs {
		if j.Name() == name {
			return j, nil
		}
		names = append(names, j.Name())
	}
	return nil, fmt.Errorf("there is no job %q: there are %s", name, strings.Join(names, ", "))
}

// permittedTenants are those for which the caller may run jobs. None is refused, on record.
func (l *jobLake) permittedTenants(ctx context.Context, job string) ([]cardlake.Tenant, error) {
	if tenants := l.permits.Permitted(l.door.caller, grants.RunJobs).Tenants; len(tenants) > 0 {
		return slices.Clone(tenants), nil
	}
	err := l.door.looked(ctx, l.record, "job.run", "job "+job, queries.ErrNotPermitted)
	return nil, fmt.Errorf("%w: running jobs needs a grant of run_jobs: see \"cardlake grants explain\"", err)
}
