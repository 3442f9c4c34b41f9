package insights

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/writers/objects"
)

// ErrNotPermitted says that the principal may not run jobs for the tenant. Why is in the audit
// record.
var ErrNotPermitted = errors.New("not permitted: running jobs for a tenant needs a grant of run_jobs, and of query on the tables that the job reads")

// Gateway answers statements within one tenant at fixed snapshots; a queries.Gateway does.
type Gateway interface {
	QueryAt(ctx context.Context, c grants.Caller, at queries.At, sql string) (*queries.Result, error)
}

// Permits rules who may run jobs; a grants.Grants does.
type Permits interface {
	Permitted(c grants.Caller, a grants.Action) *grants.Ruling
}

// Tenants is where a tenant's storage id is found; catalog.Tenants is one.
type Tenants interface {
	Lookup(cardlake.Tenant) (catalog.TenantRecord, error)
}

// Recorder puts a record on disk. A log of catalog/audit is one.
type Recorder interface {
	Append(ctx context.Context, r audit.Record) error
}

// Deps are what a Runner works with. All are needed.
type Deps struct {
	Gateway  Gateway
	Permits  Permits
	Recorder Recorder
	Tenants  Tenants
	Store    objects.Store
	// Table opens a table to be written, and makes it if there is none.
	Table func(ctx context.Context, def *cardlake.Table) (Table, error)
	// Now is the clock of started_at and published_at, which no result follows from.
	Now func() time.Time
}

// Runner makes runs as one principal. It is safe for concurrent use; runs of the same job for
// the same tenant fence each other.
type Runner struct {
	deps   Deps
	caller grants.Caller
}

// New returns a runner that acts as the caller.
func New(deps Deps, caller grants.Caller) *Runner { return &Runner{deps, caller} }

// Request is what a run is asked for.
type Request struct {
	Tenant   cardlake.Tenant
	Values   map[string]string // parameters that are not as by default
	Settings []byte            // the tenant's file of settings for the job
	// Snapshot of cards.transactions; 0 is the newest.
	Snapshot int64
	// Check computes a run that is published already once more, and compares. Nothing is written.
	Check bool
	// Progress, if not nil, is called as the run goes on, by the goroutine of Run.
	Progress func(Progress)
}

// State says what became of a run.
type State string

const (
	Published State = "published" // it is what readers see now
	Unchanged State = "unchanged" // it had been published before; nothing was done
	Checked   State = "checked"   // it was computed again and is the same
)

// Outcome is what a run came to.
type Outcome struct {
	State State
	RunID string
	AsOf  time.Time
	// Rows that the run has in each table, by the table's full name.
	Rows map[string]int64
	Card report.Card
	// Left says why files of runs that this one supersedes are still there, if they are. No view
	// shows their rows.
	Left error
}

// Run makes a run. An error leaves readers what they had: a [*Refusal] says that the tenant
// has too little data, ErrNotPermitted that the principal may not run jobs for the tenant.
func (r *Runner) Run(ctx context.Context, job Job, q Request) (out Outcome, err error) {
	started := r.deps.Now()
	defer func() {
		if err != nil {
			err = fmt.Errorf("job %s for tenant %s: %w", job.Name(), q.Tenant, err)
		}
	}()
	tenant, err := r.permitted(ctx, job, q.Tenant)
	if err != nil {
		return out, err
	}
	in := inputs{Job: job.Name(), Version: job.Version(), Tenant: tenant.StorageID, Snapshot: q.Snapshot, Settings: q.Settings}
	if in.Values, err = values(job, q.Values); err != nil {
		return out, err
	}
	at := queries.At{Tenant: q.Tenant, Snapshots: map[string]int64{}, Clear: true}
	if in.Snapshot == 0 {
		if in.Snapshot, err = r.newest(ctx, cardlake.Transactions); err != nil {
			return out, err
		}
	}
	at.Snapshots[cardlake.Transactions.FullName()] = in.Snapshot
	if job.ReadsLabels() {
		labels, err := r.newest(ctx, cardlake.Labels)
		if err != nil {
			return out, err
		}
		in.Labels = &labels
		at.Snapshots[cardlake.Labels.FullName()] = labels
	}
	t := &Task{
		Tenant: q.Tenant, RunID: in.id(), Values: in.Values, Settings: q.Settings,
		runner: r, at: at, progress: q.Progress, sheets: map[*cardlake.Table]*sheet{},
	}
	t.folder, t.owner = stateFolder(job.Name(), tenant.StorageID)
	published, err := r.published(ctx, t, job.Name())
	if err != nil {
		return out, err
	}
	var same *Run
	for i := range published {
		if published[i].ID == t.RunID {
			same = &published[i]
		}
	}
	if same != nil && same != &published[0] {
		// A run of other parameters or rows has taken its place. It is made again, as one that
		// has an id of its own, unless it was.
		switch in.After = published[1].Sequence; {
		case in.id() == published[0].ID:
			same = &published[0]
		case q.Check:
			in.After = 0
		default:
			same, in.After = nil, published[0].Sequence
		}
		t.RunID = in.id()
	}
	for i := range published {
		if published[i].ID != t.RunID {
			t.Previous = &published[i]
			break
		}
	}
	if len(published) > 0 {
		t.newest = published[0].Sequence
	}
	switch {
	case same != nil && !q.Check:
		return Outcome{State: Unchanged, RunID: t.RunID, AsOf: same.AsOf, Card: same.Card}, nil
	case same == nil && q.Check:
		return out, errors.New("there is no published run of this snapshot with these parameters to compare with: run the job without -check first")
	case same != nil && t.Previous != nil && t.Previous.Sequence > same.Sequence:
		return out, errors.New("a newer run has been published, and results may rest on the one before: only the newest run can be checked")
	}
	if err := t.look(ctx); err != nil {
		return out, err
	}
	if q.Snapshot != 0 && !q.Check && len(published) > 0 && published[0].AsOf.After(t.AsOf) {
		return out, errors.New("a run of newer data is published, and readers would see this one in its place: leave the snapshot out, or compare only, with -check")
	}
	t.Card = &report.Card{
		Job: job.Name(), Version: job.Version(), Tenant: string(q.Tenant), Run: t.RunID, Snapshot: in.Snapshot, AsOf: t.AsOf,
		Window: report.Window{From: t.First, To: t.AsOf, Rows: t.Rows},
	}
	if t.Previous != nil {
		t.Card.Previous = t.Previous.ID
	}
	for _, p := range job.Parameters() {
		t.Card.Parameters = append(t.Card.Parameters, report.Parameter{Name: p.Name, Value: in.Values[p.Name]})
	}
	t.Covers(t.AsOf.Add(-time.Microsecond), t.AsOf)
	for _, def := range job.Tables() {
		t.sheets[def] = newSheet(def, r.deps.Store, tenant, t.RunID, t.AsOf)
	}
	defer func() {
		if err != nil || out.State != Published {
			t.drop(context.WithoutCancel(ctx))
		}
	}()
	if err := job.Run(ctx, t); err != nil {
		return out, err
	}
	t.noteClocks()
	if err := t.Card.Validate(); err != nil {
		return out, fmt.Errorf("model card: %w", err)
	}
	out = Outcome{RunID: t.RunID, AsOf: t.AsOf, Rows: map[string]int64{}, Card: *t.Card}
	for _, def := range job.Tables() {
		out.Rows[def.FullName()] = t.sheets[def].total
	}
	if q.Check {
		if digest := t.digest(job); digest != same.Digest {
			if p := t.Previous; p != nil && day(p.AsOf) == day(t.AsOf) {
				return out, errors.New("the run before, from which this one took over, was of the same day and is superseded: it cannot be computed again")
			}
			return out, errors.New("computed again the run has other rows than it was published with")
		}
		out.State = Checked
		return out, nil
	}
	t.Report("publishing", 0, 0)
	p, err := r.publish(ctx, job, t, tenant, in, started)
	if errors.Is(err, catalog.ErrConflict) {
		// Whoever was first may have published this very run.
		if now, failed := r.published(ctx, t, job.Name()); failed == nil && len(now) > 0 && now[0].ID == t.RunID {
			return Outcome{State: Unchanged, RunID: t.RunID, AsOf: now[0].AsOf, Card: now[0].Card}, nil
		}
	}
	if err != nil {
		return out, fmt.Errorf("publish: %w", err)
	}
	out.State = Published
	if err := r.supersede(ctx, t, job.Name(), p); err != nil {
		out.Left = fmt.Errorf("remove files of runs that this one supersedes: %w", err)
	}
	return out, nil
}

// permitted returns the tenant's record if the caller may run jobs for it. A refusal is on
// record.
func (r *Runner) permitted(ctx context.Context, job Job, name cardlake.Tenant) (catalog.TenantRecord, error) {
	ruling := r.deps.Permits.Permitted(r.caller, grants.RunJobs)
	tenant, err := r.deps.Tenants.Lookup(name)
	if name != "" && ruling.For(name) {
		return tenant, err
	}
	line := r.line(job, name, "job.run")
	line.Outcome, line.Reason = audit.Refused, ruling.Reason
	if err := r.deps.Recorder.Append(ctx, line); err != nil {
		return tenant, fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	return tenant, ErrNotPermitted
}

func (r *Runner) line(job Job, tenant cardlake.Tenant, action string) audit.Record {
	return audit.Record{
		Actor: r.caller.Principal.String(), Action: action, Resource: "job " + job.Name() + " of tenant " + string(tenant),
		Outcome: audit.Allowed, Origin: r.caller.Origin, Reason: r.caller.Reason,
	}
}

// newest is the table's newest snapshot, 0 if it has none.
func (r *Runner) newest(ctx context.Context, def *cardlake.Table) (int64, error) {
	t, err := r.deps.Table(ctx, def)
	if err != nil {
		return 0, err
	}
	s, err := t.Current(ctx)
	return s.ID, err
}

// published returns the runs of the job that may matter, the newest first: the newest two, and
// that of the id.
func (r *Runner) published(ctx context.Context, t *Task, job string) ([]Run, error) {
	const columns = `SELECT run_id, sequence, as_of, snapshot, version, digest, parameters, card FROM insights.runs WHERE job = `
	var out []Run
	read := func(row []any) error {
		run := Run{
			ID: row[0].(string), Sequence: row[1].(int64), AsOf: row[2].(time.Time), Snapshot: row[3].(int64),
			Version: row[4].(string), Digest: row[5].(string),
		}
		if err := json.Unmarshal([]byte(row[6].(string)), &run.Values); err != nil {
			return fmt.Errorf("insights.runs: parameters: %w", err)
		}
		card, err := report.Decode([]byte(row[7].(string)))
		if err != nil {
			return fmt.Errorf("insights.runs: model card: %w", err)
		}
		run.Card = card
		out = append(out, run)
		return nil
	}
	err := t.Each(ctx, columns+Text(job)+` ORDER BY CASE WHEN run_id = `+Text(t.RunID)+` THEN 0 ELSE 1 END, sequence DESC LIMIT 3`, read)
	slices.SortFunc(out, func(a, b Run) int { return cmp.Compare(b.Sequence, a.Sequence) })
	return out, err
}

// supersede removes what the publication takes the place of, and what runs left that were killed.
func (r *Runner) supersede(ctx context.Context, t *Task, job string, p *publication) error {
	ids := map[string]bool{"": true} // of a file written anew nobody knows
	err := t.Each(ctx, `SELECT run_id FROM insights.runs WHERE job = `+Text(job), func(row []any) error {
		ids[row[0].(string)] = true
		return nil
	})
	if err != nil {
		return err
	}
	return p.supersede(ctx, func(id string) bool { return ids[id] })
}

// look learns how much there is.
func (t *Task) look(ctx context.Context) error {
	isAhead := "epoch_us(event_time) - epoch_us(ingested_at) > " + strconv.FormatInt(mostAhead.Microseconds(), 10)
	return t.Each(ctx, `SELECT count(*), min(event_time), max(event_time), count(*) FILTER (`+isAhead+`), max(event_time) FILTER (NOT (`+isAhead+`))
		FROM cards.transactions`, func(row []any) error {
		t.Rows = row[0].(int64)
		if t.Rows == 0 {
			return Refuse("events of the tenant", "none")
		}
		newest := row[2].(time.Time)
		if ahead := row[3].(int64); ahead > 0 && ahead <= max(1, t.Rows/100) {
			if in, ok := row[4].(time.Time); ok {
				newest, t.ahead = in, ahead
			}
		}
		t.First, t.AsOf = row[1].(time.Time).UTC(), newest.UTC().Add(time.Microsecond)
		return nil
	})
}

// mostAhead is how long after the lake took it an event may say that it happened. A few events
// beyond that, at most one in a hundred, come from clocks that are wrong: one of them in 2099
// would leave all others in a past that no window reaches. More of them are how the tenant's
// clocks are.
const mostAhead = 24 * time.Hour

// noteClocks says that events are left out for their clocks.
func (t *Task) noteClocks() {
	if t.ahead > 0 {
		t.Card.Notes = append(t.Card.Notes, report.Note{Kind: report.Warning, Text: fmt.Sprintf(
			"Events that say they happened more than a day after the lake took them: %d. Their clocks are wrong; those after %s are left out.",
			t.ahead, t.AsOf.Format("2006-01-02 15:04:05 UTC"))})
	}
}

func (t *Task) drop(ctx context.Context) {
	for _, s := range t.sheets {
		s.drop(ctx)
	}
}

// digest belongs to all rows of all tables, in the order in which they were appended.
func (t *Task) digest(job Job) string {
	var parts []string
	for _, def := range job.Tables() {
		s := t.sheets[def]
		parts = append(parts, def.FullName(), strconv.FormatInt(s.total, 10), string(s.digest.Sum(nil)))
	}
	return ID(parts...)
}

// publish makes the run what readers see. It goes on record first. The grant is asked for again:
// a run takes long, and a tenant may have been suspended since it began.
func (r *Runner) publish(ctx context.Context, job Job, t *Task, tenant catalog.TenantRecord, in inputs, started time.Time) (*publication, error) {
	if now, err := r.permitted(ctx, job, t.Tenant); err != nil {
		return nil, err
	} else if now.StorageID != tenant.StorageID {
		return nil, errors.New("the tenant's name has been given anew")
	}
	line := r.line(job, t.Tenant, "job.publish")
	line.Detail = map[string]string{"run": t.RunID, "snapshot": strconv.FormatInt(in.Snapshot, 10)}
	line.Numbers = map[string]int64{}
	written := int64(0)
	for _, s := range t.sheets {
		if err := s.flush(ctx); err != nil {
			return nil, err
		}
		written += s.total
	}
	line.Numbers["rows"] = written
	if err := r.deps.Recorder.Append(ctx, line); err != nil {
		return nil, fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	p := &publication{
		stream: StreamOf(job.Name(), tenant.StorageID), tenant: t.Tenant, runID: t.RunID,
		from: day(t.from), to: day(t.to.Add(-time.Microsecond)),
	}
	var err error
	if p.runs, err = r.deps.Table(ctx, cardlake.Runs); err != nil {
		return nil, err
	}
	for _, def := range job.Tables() {
		table, err := r.deps.Table(ctx, def)
		if err != nil {
			return nil, err
		}
		p.tables = append(p.tables, &output{table: table, name: def.FullName(), files: t.sheets[def].files})
	}
	at, err := p.offset(ctx, p.runs)
	if err != nil {
		return nil, err
	}
	// Whatever is published from here on moves the offset, and the claim fails.
	isOvertaken := false
	err = t.Each(ctx, `SELECT sequence FROM insights.runs WHERE job = `+Text(job.Name())+` AND sequence > `+strconv.FormatInt(t.newest, 10), func([]any) error {
		isOvertaken = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	if isOvertaken {
		return nil, fmt.Errorf("another run of the job for this tenant was published meanwhile; run it again: %w", catalog.ErrConflict)
	}
	if err := p.claim(ctx, at); err != nil {
		return nil, err
	}
	card, err := report.Encode(*t.Card)
	if err != nil {
		return nil, fmt.Errorf("model card: %w", err)
	}
	parameters, err := json.Marshal(in.Values)
	if err != nil {
		return nil, err
	}
	var labels any
	if in.Labels != nil {
		labels = *in.Labels
	}
	runs := newSheet(cardlake.Runs, r.deps.Store, tenant, t.RunID, t.AsOf)
	err = runs.append(ctx, []any{
		job.Name(), p.sequence(), t.from, t.to, in.Snapshot, labels, job.Version(), string(parameters),
		t.Rows, written, t.digest(job), started, r.deps.Now(), r.caller.Principal.String(), string(card),
	})
	if err == nil {
		err = runs.flush(ctx)
	}
	if err != nil {
		return nil, err
	}
	// From here on files may be in tables: those that are not are left to maintenance.
	for _, s := range t.sheets {
		s.files = nil
	}
	if err := p.commit(ctx, runs.files[0]); err != nil {
		if !errors.Is(err, catalog.ErrUnknown) {
			p.withdraw(context.WithoutCancel(ctx))
		}
		return nil, err
	}
	return p, nil
}

// Float returns a number of a row as [queries.Column] has it, 0 and false for NULL.
func Float(v any) (x float64, ok bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	case int64:
		return float64(v), true
	case int32:
		return float64(v), true
	case decimal128.Num:
		return v.ToFloat64(4), true
	}
	return 0, false
}
