package serving

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
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/catalog/maintenance"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/live"
	"github.com/cardlake/cardlake/queries/reconcile"
	"github.com/cardlake/cardlake/writers/objects"
)

const (
	// lookEvery is how often the audit log is verified further.
	lookEvery = 10 * time.Second
	// tablesAge is how old the look at the tables may be.
	tablesAge = 15 * time.Second
	// keysAge is how old the inventory of keys may be: a key service is asked for each.
	keysAge = time.Minute
	// keptTime is how long a look may take that is kept, whoever asked for it.
	keptTime = 20 * time.Second
)

// From when on something is worth a look.
const (
	manySmallFiles = 200
	lateCommit     = 5 * time.Minute  // of what workers hold
	lateDelay      = 10 * time.Second // from a decision until a worker read it
	lateSchedule   = 5 * time.Minute  // without a sign of life
	moving         = time.Minute      // for which a partition moves after something came
)

// tasks are those of maintenance by their action on record.
var tasks = map[string]string{
	"maintain.compact.done": "compact", "maintain.expire.done": "expire", "maintain.orphans.done": "orphans", "maintain.manifests.done": "manifests",
	"retention.enforce": "retention",
}

// periods are how long a lake can do without each task.
var periods = []struct {
	task  string
	every time.Duration
}{{"compact", 24 * time.Hour}, {"expire", 24 * time.Hour}, {"orphans", 7 * 24 * time.Hour}, {"manifests", 7 * 24 * time.Hour}, {"retention", 48 * time.Hour}}

// healthParts is what the look at a lake needs.
type healthParts struct {
	Dir     home.Dir
	Table   func(ctx context.Context, def *cardlake.Table) (*iceberg.Table, error)
	Store   objects.Store
	Tenants *catalog.Tenants
	// Gateway gives rows to who looks, as it may read them.
	Gateway interface {
		Query(ctx context.Context, c grants.Caller, sql string) (*queries.Result, error)
	}
	// Keys is the lake's keyring.
	Keys interface {
		Inventory(ctx context.Context) ([]keys.Entry, error)
	}
	Trail *auditTrail
	// Asker is given all tenants' rows and totals; nil if nobody compares them.
	Asker reconcile.Querier
	// Live follows the tail; it has no source where there are no workers to ask.
	Live *live.Follower
	// Cache tells of the engine's, nil if it has none: bytes that are kept, how many may be, and
	// how often a file was found there and not.
	Cache func() (bytes, limit, hits, misses int64)
	Now   func() time.Time
}

// health looks how the lake is; it is api.Operations. Whoever made it runs it.
type health struct {
	healthParts

	tables kept[api.HealthTables]
	keys   kept[api.HealthKeys]

	compare chan struct{} // asks for a comparison
	mu      sync.Mutex
	since   time.Time // the first minute of the newest comparison
	report  *reconcile.Report
	failed  error         // of it
	ended   time.Time     // when it ended
	ready   chan struct{} // closed when the next one is there
}

func newHealth(p healthParts) *health {
	if p.Now == nil {
		p.Now = time.Now
	}
	return &health{
		healthParts: p, tables: kept[api.HealthTables]{age: tablesAge}, keys: kept[api.HealthKeys]{age: keysAge},
		compare: make(chan struct{}, 1), ready: make(chan struct{}),
	}
}

// Run verifies the audit log as it grows, and compares rows and totals when somebody looks, until
// ctx ends.
func (h *health) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() {
		defer h.Trail.close()
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for ctx.Err() == nil {
			h.Trail.look(ctx)
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	})
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-h.compare:
				h.reconcile(ctx)
			}
		}
	})
	running.Wait()
	return nil
}

// Health implements api.Operations. The parts are looked at one beside the other.
func (h *health) Health(ctx context.Context, c grants.Caller) (api.Health, error) {
	out := api.Health{At: h.Now().UTC().Truncate(time.Millisecond)}
	// What others are told too must not end with whoever asked first.
	shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), keptTime)
	defer cancel()
	parts := []struct {
		part *api.HealthPart
		look func()
	}{
		{&out.Tables.HealthPart, func() { out.Tables = h.tables.get(h.Now(), func() api.HealthTables { return h.lookAtTables(shared) }) }},
		{&out.Stream.HealthPart, func() { out.Stream, out.Workers = h.lookAtStream(out.At) }},
		{&out.Reconciliation.HealthPart, func() { out.Reconciliation = h.reconciliation(ctx, out.At) }},
		{&out.Rejected.HealthPart, func() { out.Rejected = h.rejected(ctx, c, out.At) }},
		{&out.Keys.HealthPart, func() { out.Keys = h.keys.get(h.Now(), func() api.HealthKeys { return h.lookAtKeys(shared, out.At) }) }},
		{&out.Jobs.HealthPart, func() { out.Jobs = h.jobs(ctx, c, out.At) }},
		{&out.Audit.HealthPart, func() { out.Audit, out.Maintenance = h.audit(out.At) }},
		{&out.Engine.HealthPart, func() { out.Engine = h.engine() }},
	}
	var looking sync.WaitGroup
	for _, p := range parts {
		looking.Go(func() {
			defer func() {
				// What a fault of one part was of is in no message: it could be of a row.
				if recover() != nil {
					p.part.Fail(errors.New("the server has a fault: tell who keeps it running"))
				}
			}()
			p.look()
		})
	}
	looking.Wait()
	return out, ctx.Err()
}

// kept keeps what a look found for a while. One looks at a time; the others wait for it.
type kept[T any] struct {
	age time.Duration

	mu    sync.Mutex
	at    time.Time
	value T
}

func (k *kept[T]) get(now time.Time, look func() T) T {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.at.IsZero() || now.Sub(k.at) >= k.age || now.Before(k.at) {
		k.value, k.at = look(), now
	}
	return k.value
}

func (h *health) lookAtTables(ctx context.Context) (out api.HealthTables) {
	out.Status = api.Well
	for _, def := range cardlake.Tables {
		t := api.HealthTable{Table: def.FullName()}
		if err := h.lookAtTable(ctx, def, &t); err != nil {
			t.Error = err.Error()
			out.Fail(errors.New("not every table can be looked at"))
		}
		if t.SmallFiles >= manySmallFiles {
			out.Note(api.Attention, api.HealthNote{Code: "small_files", Subject: t.Table, Count: t.SmallFiles,
				Text: fmt.Sprintf("%d small files wait to be merged: run \"cardlake maintain compact\", or keep \"cardlake maintain run\" running", t.SmallFiles)})
		}
		out.Tables = append(out.Tables, t)
	}
	return out
}

func (h *health) lookAtTable(ctx context.Context, def *cardlake.Table, t *api.HealthTable) error {
	table, err := h.Table(ctx, def)
	if errors.Is(err, iceberg.ErrNoTable) {
		return nil // nothing was ever written to it
	}
	if err != nil {
		return err
	}
	files, err := table.Files(ctx, 0)
	if err != nil {
		return err
	}
	partitions := map[maintenance.Partition]bool{}
	for _, f := range files {
		t.Rows += f.Rows
		t.Bytes += f.Bytes
		partitions[maintenance.Partition{Tenant: f.Tenant, Day: f.Day}] = true
	}
	t.Files, t.Partitions = int64(len(files)), int64(len(partitions))
	snapshots, err := table.Snapshots(ctx)
	if err != nil {
		return err
	}
	t.Snapshots = int64(len(snapshots))
	for _, s := range snapshots {
		at := s.CommittedAt.UTC()
		if t.CommittedAt == nil || at.After(*t.CommittedAt) {
			t.CommittedAt = &at
		}
		if t.OldestAt == nil || at.Before(*t.OldestAt) {
			t.OldestAt = &at
		}
	}
	jobs, err := maintenance.New(def, table, h.Store, h.Tenants, maintenance.Config{}).Plan(ctx)
	for _, j := range jobs {
		t.SmallFiles += int64(len(j.Files))
	}
	return err
}

// lookAtStream tells what the follower knows of the stream and of the workers.
func (h *health) lookAtStream(now time.Time) (out api.HealthStream, workers api.HealthWorkers) {
	out.Status, workers.Status = api.Well, api.Well
	out.Partitions = []api.HealthPartition{}
	s := h.Live.Status()
	if s.TableError != nil {
		out.Fail(fmt.Errorf("the newest snapshot can't be had: %w", s.TableError))
	}
	var newest time.Time
	var delay time.Duration
	for _, p := range s.Partitions {
		one := api.HealthPartition{
			Stream: p.Stream, Partition: p.Partition, Committed: p.Committed, Seen: max(p.Seen, p.Committed), Covered: p.IsCovered,
			MovedAt: instant(p.MovedAt), EventAt: instant(p.EventAt), IngestedAt: instant(p.IngestedAt),
		}
		out.Partitions = append(out.Partitions, one)
		out.Uncommitted += one.Seen - one.Committed
		if p.EventAt.After(newest) {
			newest = p.EventAt
		}
		if now.Sub(p.MovedAt) < moving {
			delay = max(delay, p.IngestedAt.Sub(p.EventAt))
		}
		if s.IsLive && !p.IsCovered && !p.IsIdle && !s.AsOf.IsZero() {
			out.Note(api.Attention, api.HealthNote{Code: "partition_uncovered", Subject: p.StreamPartition.String(),
				Text: "no worker shows what is not committed of it: see whether a worker runs that has it"})
		}
	}
	if !newest.IsZero() {
		lag, took := max(now.Sub(newest), 0).Milliseconds(), delay.Milliseconds()
		out.LagMS, out.DelayMS = &lag, &took
	}
	if delay > lateDelay {
		out.Note(api.Attention, api.HealthNote{Code: "slow_workers", Count: delay.Milliseconds(),
			Text: "workers read events long after they were decided: they lag behind the stream; start more of them, or see what holds them up"})
	}
	if at := s.Snapshot.CommittedAt; out.Uncommitted > 0 && !at.IsZero() && now.Sub(at) > lateCommit {
		out.Note(api.Failing, api.HealthNote{Code: "commit_late", Count: int64(now.Sub(at).Seconds()),
			Text: "workers hold events that were not committed for minutes: see the worker's log"})
	}

	workers.AnsweredAt = instant(s.AsOf)
	workers.Events, workers.Late, workers.Ahead, workers.Skipped, workers.Failed = s.Counts.Rows, s.Counts.Late, s.Counts.Ahead, s.Counts.Skipped, s.Counts.Errors
	switch {
	case !s.IsLive:
		workers.Note(api.Unknown, api.HealthNote{Code: "no_workers", Text: "the server was told of no worker: what is not committed yet is not shown; see -tail of \"cardlake serve\""})
		out.Status = api.Unknown
	case s.SourceError != nil:
		workers.Status = api.Failing
		workers.Error = s.SourceError.Error()
	case s.Unanswered != nil:
		workers.Status = api.Attention
		workers.Error = s.Unanswered.Error()
	}
	return out, workers
}

// each gives the rows of an answer, as the caller may have them.
func (h *health) each(ctx context.Context, c grants.Caller, sql string, do func(row []any)) (err error) {
	result, err := h.Gateway.Query(ctx, c, sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	row := make([]any, len(result.Columns()))
	for {
		if err := result.Next(row); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		do(row)
	}
}

func (h *health) rejected(ctx context.Context, c grants.Caller, now time.Time) (out api.HealthRejected) {
	out.Status, out.Reasons = api.Well, []api.HealthReason{}
	sql := "SELECT reason, count(*) AS n, max(rejected_at) AS newest FROM cards.transactions_rejected WHERE rejected_at >= " +
		insights.Time(now.Add(-24*time.Hour)) + " GROUP BY reason ORDER BY n DESC, reason"
	err := h.each(ctx, c, sql, func(row []any) {
		reason, _ := row[0].(string)
		n, _ := row[1].(int64)
		newest, _ := row[2].(time.Time)
		out.Reasons = append(out.Reasons, api.HealthReason{Reason: reason, Count: n, NewestAt: newest.UTC()})
		out.Total += n
	})
	if err != nil {
		out.Fail(err)
	}
	if out.Total > 0 {
		out.Note(api.Attention, api.HealthNote{Code: "rejected", Count: out.Total,
			Text: "records of the stream could not be taken: mend what sends them, and replay them in zone A"})
	}
	return out
}

// lookAtKeys lists the newest version of each key of the lake's keyring.
func (h *health) lookAtKeys(ctx context.Context, now time.Time) (out api.HealthKeys) {
	out.Status, out.Keys = api.Well, []api.HealthKey{}
	entries, err := h.Keys.Inventory(ctx)
	if err != nil {
		out.Fail(err)
		return out
	}
	newest := map[keys.Scope]keys.Entry{}
	for _, e := range entries {
		if e.Version > newest[e.Scope()].Version {
			newest[e.Scope()] = e
		}
	}
	owners := map[keys.Owner]cardlake.Tenant{}
	for _, t := range h.Tenants.All() {
		owners[keys.OwnerOf(t.StorageID)] = t.Name
	}
	for _, e := range newest {
		k := api.HealthKey{
			Tenant: owners[e.Owner], Owner: string(e.Owner), Purpose: string(e.Purpose), Version: e.Version, State: string(e.State),
			CreatedAt: e.Created.UTC(), AgeDays: int(now.Sub(e.Created).Hours() / 24), Due: e.IsOverdue(now), Custody: e.Custody,
		}
		if e.State == keys.Active {
			k.RotateBy = instant(e.RotateBy)
		}
		subject := cmp.Or(string(k.Tenant), k.Owner) + "/" + k.Purpose
		switch {
		case k.Due:
			out.Note(api.Attention, api.HealthNote{Code: "key_due", Subject: subject, Text: "the key should have been rotated: \"cardlake-vault keys rotate\""})
		case e.State == keys.Suspended || e.State == keys.Unknown || e.State == keys.Pending:
			out.Note(api.Attention, api.HealthNote{Code: "key_" + string(e.State), Subject: subject, Text: "the key is of no use at the moment: ask who keeps it"})
		}
		out.Keys = append(out.Keys, k)
	}
	slices.SortFunc(out.Keys, func(a, b api.HealthKey) int {
		return cmp.Or(strings.Compare(string(a.Tenant), string(b.Tenant)), strings.Compare(a.Owner, b.Owner), strings.Compare(a.Purpose, b.Purpose))
	})
	return out
}

// scheduleState is what "cardlake job schedule" keeps of its runs.
type scheduleState struct {
	AliveAt time.Time `json:"alive_at"`
	Runs    map[string]struct {
		Job      string    `json:"job"`
		Due      time.Time `json:"due"`
		EndedAt  time.Time `json:"ended_at"`
		Failures int       `json:"failures"`
		Error    string    `json:"error"`
		Tenants  []struct {
			Tenant cardlake.Tenant `json:"tenant"`
			Reason string          `json:"reason"`
		} `json:"tenants"`
	} `json:"runs"`
}

// scheduleFile is where it keeps it.
const scheduleFile = "job-schedule.json"

func (h *health) jobs(ctx context.Context, c grants.Caller, now time.Time) (out api.HealthJobs) {
	out.Status, out.Jobs = api.Well, []api.HealthJob{}
	job := func(name string) *api.HealthJob {
		i := slices.IndexFunc(out.Jobs, func(j api.HealthJob) bool { return j.Job == name })
		if i < 0 {
			i, out.Jobs = len(out.Jobs), append(out.Jobs, api.HealthJob{Job: name})
		}
		return &out.Jobs[i]
	}
	sql := "SELECT job, tenant, max(published_at) AS published FROM insights.runs GROUP BY job, tenant ORDER BY job, tenant"
	err := h.each(ctx, c, sql, func(row []any) {
		name, _ := row[0].(string)
		published, _ := row[2].(time.Time)
		j := job(name)
		j.Tenants++
		if j.PublishedAt == nil || published.After(*j.PublishedAt) {
			j.PublishedAt = instant(published)
		}
		if j.OldestAt == nil || published.Before(*j.OldestAt) {
			j.OldestAt = instant(published)
		}
	})
	if err != nil {
		out.Fail(err)
	}
	var state scheduleState
	text, err := os.ReadFile(filepath.Join(string(h.Dir), scheduleFile))
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return out // they are run by hand, or by somebody else's scheduler
	}
	if err != nil {
		out.Fail(errors.New("what is kept of the jobs' schedule can't be read"))
		return out
	}
	if out.AliveAt = instant(state.AliveAt); now.Sub(state.AliveAt) > lateSchedule {
		out.Note(api.Attention, api.HealthNote{Code: "schedule_silent", Text: "the jobs' scheduler gives no sign of life: see whether \"cardlake job schedule\" runs"})
	}
	for _, r := range state.Runs {
		j := job(r.Job)
		if due := instant(r.Due); due != nil && (j.DueAt == nil || due.Before(*j.DueAt)) {
			j.DueAt = due
		}
		if r.Failures == 0 {
			continue
		}
		j.Failures = max(j.Failures, r.Failures)
		j.FailedAt, j.Failure = instant(r.EndedAt), r.Error
		for _, t := range r.Tenants {
			if j.Failure == "" && t.Reason != "" {
				j.Failure = string(t.Tenant) + ": " + t.Reason
			}
		}
		out.Note(api.Attention, api.HealthNote{Code: "job_failed", Subject: r.Job, Count: int64(r.Failures), Text: "the job's last run failed: what it had published before stays"})
	}
	slices.SortFunc(out.Jobs, func(a, b api.HealthJob) int { return strings.Compare(a.Job, b.Job) })
	return out
}

// audit tells how far the audit log was verified, and what it says of maintenance.
func (h *health) audit(now time.Time) (out api.HealthAudit, maintenance api.HealthMaintenance) {
	t := h.Trail
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.report
	out = api.HealthAudit{
		Log: r.Log, Line: r.Head.Seq, LineAt: instant(t.lineAt), VerifiedAt: instant(t.at), Anchored: t.head.Seq, Segments: r.Segments, Unsigned: r.Unsigned,
	}
	out.Status = api.Well
	if r.Lines > 0 {
		out.Segments++ // the one that is read
	}
	switch {
	case r.Break != nil:
		out.Break = r.Break.String()
		out.Note(api.Failing, api.HealthNote{Code: "audit_broken", Text: "the audit log does not hold together: keep it as it is, and run \"cardlake audit verify\""})
	case t.err != nil:
		out.Fail(t.err)
	case t.at.IsZero():
		out.Fail(errors.New("the audit log is being verified: look again in a moment"))
	case t.head.Seq > r.Head.Seq || t.head.Seq > 0 && t.head.Log != r.Log:
		out.Note(api.Failing, api.HealthNote{Code: "audit_truncated", Text: "the audit log ends before the line that its anchor names: keep it as it is, and run \"cardlake audit verify\""})
	}

	maintenance.Status, maintenance.Tasks = api.Well, []api.HealthTask{}
	for _, p := range periods {
		task := api.HealthTask{Task: p.task, Due: true}
		if last, ok := t.last[p.task]; ok {
			due := last.at.Add(p.every).UTC()
			task.LastAt, task.By, task.DueAt, task.Due = instant(last.at), last.by, &due, now.After(due)
		}
		if task.Due && !t.at.IsZero() {
			maintenance.Note(api.Attention, api.HealthNote{Code: "maintenance_due", Subject: p.task, Text: "it was not done for long, or never: keep \"cardlake maintain run\" running"})
		}
		maintenance.Tasks = append(maintenance.Tasks, task)
	}
	if t.at.IsZero() || t.err != nil {
		maintenance.Fail(errors.New("when it was done last, the audit log tells, which can't be read at the moment"))
	}
	return out, maintenance
}

func (h *health) engine() (out api.HealthEngine) {
	out.Status = api.Well
	if h.Cache != nil {
		out.CacheBytes, out.CacheLimit, out.CacheHits, out.CacheMisses = h.Cache()
	}
	return out
}

// instant is none for the zero time.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

var _ api.Operations = (*health)(nil)
