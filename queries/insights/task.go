package insights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights/report"
)

// Task is one run as its job has it. It is for one goroutine.
type Task struct {
	Tenant cardlake.Tenant
	RunID  string
	// First and AsOf bound the tenant's events at the snapshot: AsOf is a microsecond after the
	// newest one, and does not come from a clock. The few events of clocks that are far ahead are
	// not before AsOf: a job reads what is before it.
	First, AsOf time.Time
	Rows        int64 // the tenant's events
	Values      Values
	Settings    []byte // the tenant's file of settings for the job; nil if there is none
	// Previous is the newest published run before this one, nil if there is none.
	Previous *Run
	// Card is the run's model card: the job fills in the window, metrics, notes and figures.
	Card *report.Card

	runner   *Runner
	at       queries.At
	sheets   map[*cardlake.Table]*sheet
	from, to time.Time // what the run covers
	ahead    int64     // events of clocks that are far ahead
	newest   int64     // sequence of the newest published run when the run began, 0 if there was none
	progress func(Progress)
	folder   string // of checkpoints
	owner    keys.Owner
}

// Run is a published run.
type Run struct {
	ID       string
	Sequence int64
	AsOf     time.Time
	Snapshot int64
	Version  string
	Digest   string
	Values   Values
	Card     report.Card
}

// Query runs a SELECT statement, in DuckDB's dialect, over the tenant's rows: those of
// cards.transactions and insights.labels at the run's snapshots, those of other tables at
// their newest. The rows are as [queries.Column] has them. The caller closes the result.
func (t *Task) Query(ctx context.Context, sql string) (*queries.Result, error) {
	return t.runner.deps.Gateway.QueryAt(ctx, t.runner.caller, t.at, sql)
}

// Each calls do with each row of the statement's answer, until it returns an error. The row is
// overwritten by the next. For millions of rows [queries.Result.NextBatch] is the faster way.
func (t *Task) Each(ctx context.Context, sql string, do func(row []any) error) (err error) {
	result, err := t.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	row := make([]any, len(result.Columns()))
	for {
		err := result.Next(row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = do(row)
		}
		if err != nil {
			return err
		}
	}
}

// Covers says that the run gives all rows anew whose time is in one of the UTC days from that
// of from to that of the last microsecond before to: files of earlier runs of these days go when
// the run is published. A job that does not say covers the day of the newest event, which is
// right for tables whose time is as_of.
func (t *Task) Covers(from, to time.Time) {
	t.from, t.to = day(from).Time(), (day(to.Add(-time.Microsecond)) + 1).Time()
}

// Append adds a row to one of the job's tables. Values are those of the table's columns in
// order, but for run_id, tenant and as_of, which the task fills in: nil for NULL, string, bool,
// int32, int64, time.Time, and for a decimal float64, rounded to four places, or [Unscaled].
// Rows come in order of the table's time. An error names the column, never its content.
func (t *Task) Append(ctx context.Context, table *cardlake.Table, values ...any) error {
	s, ok := t.sheets[table]
	if !ok {
		return fmt.Errorf("job writes %s, which is not among its tables", table.FullName())
	}
	if err := s.append(ctx, values); err != nil {
		return fmt.Errorf("row of %s: %w", table.FullName(), err)
	}
	return nil
}

// Progress says how far a run is.
type Progress struct {
	Job    string
	Tenant cardlake.Tenant
	Stage  string // "reading", "training"
	// Done of Total; Total is 0 if it is not known.
	Done, Total int64
}

// Report tells whoever watches how far the run is.
func (t *Task) Report(stage string, done, total int64) {
	if t.progress != nil {
		t.progress(Progress{t.Card.Job, t.Tenant, stage, done, total})
	}
}

// Time writes an instant as SQL has it, for statements.
func Time(at time.Time) string {
	return "TIMESTAMPTZ '" + at.UTC().Format("2006-01-02 15:04:05.000000") + "+00:00'"
}

// Text writes a text as SQL has it, for statements.
func Text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
