package export

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/writers/objects"
)

// Planner says which files make up a table now; embedded.Tables is one.
type Planner interface {
	Plan(ctx context.Context, table *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error)
}

// Tenants is the register; *catalog.Tenants is one.
type Tenants interface {
	Lookup(name cardlake.Tenant) (catalog.TenantRecord, error)
}

// Rulings say who may change a tenant's grants, and with them its recipients; *grants.Grants is
// one.
type Rulings interface {
	Permitted(c grants.Caller, a grants.Action) *grants.Ruling
}

// Presigner gives a URL by which whoever has it reads one object without asking us, until it
// ends; objects in S3 have one.
type Presigner interface {
	Presign(ctx context.Context, object, fileName string, valid time.Duration) (url string, err error)
}

// Completeness says whether all rows of a tenant from a window are committed.
type Completeness interface {
	IsComplete(ctx context.Context, table *cardlake.Table, tenant cardlake.Tenant, from, to time.Time) (bool, error)
}

// Deps is what a Service needs. Sender, Presigner and Complete may be nil.
type Deps struct {
	// Gateway makes a gateway that decides by the permits: those of one export.
	Gateway  func(queries.Permits) *queries.Gateway
	Permits  queries.Permits
	Rulings  Rulings
	Recorder queries.Recorder
	Planner  Planner
	// Lake has the tables' files, Files the exports'; they may be the same.
	Lake, Files objects.Store
	Tenants     Tenants
	Keys        keys.Provider
	Sender      Sender
	Presigner   Presigner
	Complete    Completeness
}

// Config tunes a Service. Zero fields are their defaults.
type Config struct {
	// Workers is how many jobs run at a time, and PerTenant how many of one tenant; default 2
	// and 1.
	Workers, PerTenant int
	// Keep is how long files are there after the job ended; default 7 days.
	Keep time.Duration
	// LinkAge is the longest that a link is valid; default 15 minutes.
	LinkAge time.Duration
	// Queue is how many unfinished exports a tenant may have; default 100.
	Queue int
	// Attempts is how often a job is begun before it fails; default 3. Backoff is the pause
	// after the first that failed, doubled each time; default 30 s.
	Attempts int
	Backoff  time.Duration
	// Poll is how often the store is asked for jobs of other processes; default 2 s.
	Poll time.Duration
	// Settle is how long after its end a schedule's window is taken to be complete when nothing
	// else says so; default 1 hour. Failures is how many runs of a schedule may fail one after
	// another before it is paused; default 3.
	Settle   time.Duration
	Failures int
	Now      func() time.Time // default time.Now
	Log      *slog.Logger     // default none
}

func (c Config) withDefaults() Config {
	c.Workers = cmp.Or(c.Workers, 2)
	c.PerTenant = cmp.Or(c.PerTenant, 1)
	c.Keep = cmp.Or(c.Keep, 7*24*time.Hour)
	c.LinkAge = cmp.Or(c.LinkAge, 15*time.Minute)
	c.Queue = cmp.Or(c.Queue, 100)
	c.Attempts = cmp.Or(c.Attempts, 3)
	c.Backoff = cmp.Or(c.Backoff, 30*time.Second)
	c.Poll = cmp.Or(c.Poll, 2*time.Second)
	c.Settle = cmp.Or(c.Settle, time.Hour)
	c.Failures = cmp.Or(c.Failures, 3)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Service keeps exports. It is safe for concurrent use, and several processes may have one on
// the same folder.
type Service struct {
	deps  Deps
	cfg   Config
	store *store
	links *links
	wake  chan struct{}
	due   chan struct{} // Tend has something to do
	swept atomic.Int64  // when objects were looked through, in nanoseconds since 1970
}

// Open opens the jobs in the folder, which is made if it is not there. [Service.Run] runs them.
func Open(ctx context.Context, dir string, deps Deps, cfg Config) (*Service, error) {
	st, err := openStore(ctx, dir)
	if err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &Service{deps: deps, cfg: cfg, store: st, links: newLinks(st, deps.Keys, cfg), wake: make(chan struct{}, 1), due: make(chan struct{}, 1)}, nil
}

// Close closes the folder. Run has ended before.
func (s *Service) Close() error { return s.store.close() }

// Actions of the audit log.
const (
	actionStart    = "export.start"
	actionDone     = "export.finished"
	actionFailed   = "export.failed"
	actionCancel   = "export.cancel"
	actionDownload = "export.download"
	actionLink     = "export.link"
	actionExpire   = "export.expire"
	actionSchedule = "export.schedule"
	actionSettings = "export.settings"
)

// record puts what the caller does on record. Without the record it is not done.
func (s *Service) record(ctx context.Context, c grants.Caller, r audit.Record) error {
	r.Actor, r.Origin, r.Request = c.Principal.String(), c.Origin, c.Request
	r.Reason = cmp.Or(r.Reason, c.Reason)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := s.deps.Recorder.Append(ctx, r); err != nil {
		return fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	return nil
}

// refuse puts a refusal on record and returns it.
func (s *Service) refuse(ctx context.Context, c grants.Caller, action, resource string, refused error) error {
	r := audit.Record{Action: action, Resource: resource, Outcome: audit.Refused, Detail: map[string]string{"refused": cut(refused.Error())}}
	if err := s.record(ctx, c, r); err != nil {
		return err
	}
	return refused
}

// cut shortens a text to what a record may have.
func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), 500)], "\uFFFD")
}

func newID() string {
	var id [16]byte
	rand.Read(id[:])
	return string(cardlake.AppendLetters(nil, id[:]))
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// Start asks for an export, which Run runs. A request with a key that the caller used before
// returns that export; isNew says whether it is another.
func (s *Service) Start(ctx context.Context, c grants.Caller, r Request) (j *Job, isNew bool, err error) {
	j, err = s.prepare(ctx, c, r)
	if err != nil {
		return nil, false, s.refuse(ctx, c, actionStart, "export", err)
	}
	err = s.store.change(ctx, func(tx *sql.Tx) error {
		if r.Key != "" {
			before, ok, err := document[*Job](ctx, tx, "SELECT doc FROM jobs WHERE principal = ? AND key = ?", c.Principal.String(), r.Key)
			if err != nil {
				return err
			}
			if ok {
				if !before.Request.equal(&j.Request) {
					return faultf(Conflict, "the idempotency key was used for another request: take a new one")
				}
				j = before
				return nil
			}
		}
		isNew = true
		if err := s.admit(ctx, tx, j); err != nil {
			return err
		}
		// On record before it is there: a job without a line would be worse than a line
		// without a job.
		if err := s.record(ctx, c, audit.Record{
			Action: actionStart, Resource: "export " + j.ID, Outcome: audit.Allowed,
			Detail: map[string]string{"tenant": string(j.Tenant), "what": cut(r.what()), "format": string(r.Format), "encryption": r.encryption()},
		}); err != nil {
			return err
		}
		return s.store.insert(ctx, tx, j)
	})
	if fault := new(Fault); errors.As(err, &fault) {
		return nil, false, s.refuse(ctx, c, actionStart, "export", err)
	} else if err != nil {
		return nil, false, err
	}
	poke(s.wake)
	return j, isNew, nil
}

// prepare makes the job of a request, if all of it is right and something of it is permitted.
func (s *Service) prepare(ctx context.Context, c grants.Caller, r Request) (*Job, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if c.BreakGlass {
		return nil, faultf(Invalid, "emergency access is for questions, not for files to take away")
	}
	tables, err := s.tablesOf(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.Tenant, err = s.tenantOf(c, r, tables); err != nil {
		return nil, err
	}
	if !r.From.IsZero() {
		r.From = r.From.UTC()
	}
	if !r.To.IsZero() {
		r.To = r.To.UTC()
	}
	permits := queries.Narrow(s.deps.Permits, r.Tenant)
	for _, t := range tables {
		d := permits.Decide(c, grants.Export, t)
		if d == nil || !d.Allowed() {
			return nil, faultf(Refused, "you may not export %s", t.FullName())
		}
		for _, name := range r.Columns {
			i := slices.IndexFunc(t.Columns, func(col cardlake.Column) bool { return col.Name == name })
			if i < 0 || d.Access()[i] == grants.Dropped {
				return nil, faultf(Invalid, "there is no column %q in %s for you", name, t.FullName())
			}
		}
	}
	// After the decisions: whoever may not export a tenant's rows is not told whether there is one
	// of the name, and how it is.
	record, err := s.tenant(r.Tenant)
	if err != nil {
		return nil, err
	}
	set, err := s.Settings(ctx, r.Tenant)
	if err != nil {
		return nil, err
	}
	if err := set.admits(&r); err != nil {
		return nil, err
	}
	now := s.now()
	c.Request = cmp.Or(c.Request, newID())
	return &Job{
		ID: newID(), State: Queued, Tenant: r.Tenant, Principal: c.Principal, Request: r, CreatedAt: now, Caller: c,
		Charged: Usage{Exports: 1}, Day: now.Format(time.DateOnly), Storage: string(record.StorageID),
	}, nil
}

// tablesOf are the tables that the request reads.
func (s *Service) tablesOf(ctx context.Context, r Request) ([]*cardlake.Table, error) {
	if r.SQL == "" {
		t := cardlake.TableNamed(r.Table)
		if t == nil || !t.ByTenant {
			return nil, faultf(Invalid, "there is no table %q of tenants to export", r.Table)
		}
		return []*cardlake.Table{t}, nil
	}
	statement, err := s.deps.Gateway(s.deps.Permits).Check(ctx, r.SQL)
	if fault := new(queries.Error); errors.As(err, &fault) {
		return nil, faultf(Invalid, "the statement: %s", fault.Error())
	} else if err != nil {
		return nil, err
	}
	var tables []*cardlake.Table
	for _, read := range statement.Reads {
		tables = append(tables, read.Table)
	}
	if len(tables) == 0 {
		return nil, faultf(Invalid, "the statement reads no table")
	}
	return tables, nil
}

// tenantOf is whose rows the request is for.
func (s *Service) tenantOf(c grants.Caller, r Request, tables []*cardlake.Table) (cardlake.Tenant, error) {
	if r.Tenant != "" {
		return r.Tenant, nil
	}
	d := s.deps.Permits.Decide(c, grants.Export, tables[0])
	if d == nil || !d.Allowed() {
		return "", faultf(Refused, "you may not export %s", tables[0].FullName())
	}
	tenants, whole := tenantsOf(d)
	if whole || len(tenants) != 1 {
		return "", faultf(Invalid, "an export is of one tenant: name it")
	}
	return tenants[0], nil
}

// tenant returns the record of a tenant whose rows may leave.
func (s *Service) tenant(name cardlake.Tenant) (catalog.TenantRecord, error) {
	r, err := s.deps.Tenants.Lookup(name)
	switch {
	case errors.Is(err, catalog.ErrNoTenant):
		return r, faultf(Refused, "you may not export rows of this tenant") // who may not read it learns nothing
	case err != nil:
		return r, err
	case r.Status != catalog.TenantActive:
		return r, faultf(Refused, "the tenant is %s: nothing of it leaves the lake", r.Status)
	}
	return r, nil
}

// admit counts the job, or says which bound is reached.
func (s *Service) admit(ctx context.Context, tx *sql.Tx, j *Job) error {
	record, err := s.tenant(j.Tenant)
	if err != nil {
		return err
	}
	quota := record.Quotas.OrDefault()
	used, err := s.store.usage(ctx, tx, j.Tenant, j.Day)
	if err != nil {
		return err
	}
	var waiting int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM jobs WHERE tenant = ? AND state IN ('queued', 'running')", j.Tenant).Scan(&waiting); err != nil {
		return err
	}
	const wait = ": wait until 00:00 UTC, or ask an operator to raise it"
	switch {
	case used.Exports >= quota.Exports:
		return faultf(OverUsed, "the tenant's quota of %d exports a day is used up"+wait, quota.Exports)
	case used.Rows >= quota.Rows:
		return faultf(OverUsed, "the tenant's quota of %d rows a day is used up"+wait, quota.Rows)
	case used.Bytes >= quota.Bytes:
		return faultf(OverUsed, "the tenant's quota of %d bytes a day is used up"+wait, quota.Bytes)
	case waiting >= s.cfg.Queue:
		return faultf(OverUsed, "%d exports of the tenant are waiting: wait for one to end, or cancel some", waiting)
	}
	return s.store.charge(ctx, tx, j.Tenant, j.Day, j.Charged)
}

// Job returns the caller's export.
func (s *Service) Job(ctx context.Context, c grants.Caller, id string) (*Job, error) {
	j, err := s.store.job(ctx, s.store.db, id)
	if err == nil && (j.Principal != c.Principal || c.Tenant != "" && c.Tenant != j.Tenant) {
		err = faultf(NotFound, "there is no such export of yours")
	}
	if err != nil {
		return nil, err
	}
	if j.State == Done && !s.now().Before(j.ExpiresAt) {
		j.State = Expired // on time, whenever its files go
	}
	return j, nil
}

// List returns the caller's exports, the newest first, at most 1000.
func (s *Service) List(ctx context.Context, c grants.Caller) ([]*Job, error) {
	all, err := s.store.list(ctx, c.Principal, 1000)
	return slices.DeleteFunc(all, func(j *Job) bool { return c.Tenant != "" && c.Tenant != j.Tenant }), err
}

// Cancel ends the caller's export. One that runs ends within seconds, in whichever process; one
// that has ended stays as it is.
func (s *Service) Cancel(ctx context.Context, c grants.Caller, id string) (*Job, error) {
	j, err := s.Job(ctx, c, id)
	if fault := new(Fault); errors.As(err, &fault) {
		return nil, s.refuse(ctx, c, actionCancel, "export", err)
	}
	if err != nil || j.State.IsFinal() {
		return j, err
	}
	if err := s.record(ctx, c, audit.Record{Action: actionCancel, Resource: "export " + id, Outcome: audit.Allowed}); err != nil {
		return nil, err
	}
	return s.store.update(ctx, id, func(_ *sql.Tx, j *Job) error {
		switch j.State {
		case Queued:
			j.State, j.EndedAt = Cancelled, s.now()
		case Running:
			j.Stop = true
		}
		return nil
	})
}
