package export

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/writers/objects"
)

// errStopped ends a job that was cancelled.
var errStopped = errors.New("cancelled")

// tickEvery is how often a running job writes its progress, counts its usage and looks whether
// it was cancelled.
const tickEvery = time.Second

// tendEvery is how often files expire, schedules are looked at and tenants are told.
const tendEvery = 30 * time.Second

// Run runs exports, those of other processes of the folder too that nobody runs, until ctx ends;
// then it waits for those under way, which end and are begun anew by whoever runs next.
func (s *Service) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { s.tending(ctx) })
	slots := make(chan struct{}, s.cfg.Workers)
	poll := time.NewTicker(s.cfg.Poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		for len(slots) < cap(slots) {
			j, lock, err := s.claim(ctx, "")
			if err != nil && ctx.Err() == nil {
				s.cfg.Log.ErrorContext(ctx, "exports", "error", err)
			}
			if j == nil {
				break
			}
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots; poke(s.wake) }()
				s.execute(ctx, j, lock, nil)
			})
		}
		select {
		case <-poll.C:
		case <-s.wake:
		case <-ctx.Done():
		}
	}
	return nil
}

// tending does what is due beside running jobs, which a tenant that is slow to hear does not hold
// up.
func (s *Service) tending(ctx context.Context) {
	every := time.NewTicker(tendEvery)
	defer every.Stop()
	for ctx.Err() == nil {
		if err := s.Tend(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.ErrorContext(ctx, "exports", "error", err)
		}
		select {
		case <-every.C:
		case <-s.due:
		case <-ctx.Done():
		}
	}
}

// poke says that there may be something to do, to whoever waits or comes to wait.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// RunOne runs the export in the calling goroutine, if nobody else does, and returns it as it is
// then. told, which may be nil, is told of its progress.
func (s *Service) RunOne(ctx context.Context, id string, told func(*Job)) (*Job, error) {
	j, lock, err := s.claim(ctx, id)
	if err != nil {
		return nil, err
	}
	if j != nil {
		s.execute(ctx, j, lock, told)
	}
	return s.store.job(context.WithoutCancel(ctx), s.store.db, id)
}

// claim takes the next job that nobody runs, or the one named; nil if there is none. Tenants take
// turns: the one that was served the longest ago is next, with its oldest job, if fewer than
// PerTenant of its jobs run.
func (s *Service) claim(ctx context.Context, id string) (*Job, *os.File, error) {
	// Those that seem to run come first: one whose lock is free has lost its process.
	candidates, err := documents[*Job](ctx, s.store.db, `SELECT doc FROM jobs AS j WHERE state = 'running' OR state = 'queued' AND (?1 <> '' OR (
		SELECT count(*) FROM jobs AS r WHERE r.tenant = j.tenant AND r.state = 'running') < ?2)
		ORDER BY state = 'running' DESC, (SELECT max(started) FROM jobs AS o WHERE o.tenant = j.tenant), created, id`, id, s.cfg.PerTenant)
	if err != nil {
		return nil, nil, err
	}
	for _, j := range candidates {
		if id != "" && j.ID != id || s.now().Before(j.NotBefore) {
			continue
		}
		lock, err := s.store.hold(j.ID)
		if err != nil {
			return nil, nil, err
		}
		if lock == nil {
			continue
		}
		taken, isOver, err := s.take(ctx, j.ID, id == "")
		if taken != nil && err == nil {
			return taken, lock, nil
		}
		if isOver { // and was removed already
			_ = os.Remove(lock.Name())
		}
		_ = lock.Close()
		if err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, nil
}

// take makes the job, whose lock is held, running; nil if another process was faster. isOver says
// that it has ended for good.
func (s *Service) take(ctx context.Context, id string, isBounded bool) (taken *Job, isOver bool, err error) {
	_, err = s.store.update(ctx, id, func(tx *sql.Tx, j *Job) error {
		isOver = j.State.IsFinal()
		if j.State.IsFinal() || s.now().Before(j.NotBefore) {
			return nil
		}
		if j.State == Queued && isBounded {
			var running int
			if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM jobs WHERE tenant = ? AND state = 'running'", j.Tenant).Scan(&running); err != nil || running >= s.cfg.PerTenant {
				return err
			}
		}
		// Whatever an attempt before was charged has not left the lake.
		if err := s.store.refund(ctx, tx, j); err != nil {
			return err
		}
		j.State, j.StartedAt, j.Progress, j.Error = Running, s.now(), Progress{}, ""
		j.Attempt++
		taken = j
		return nil
	})
	return taken, isOver, err
}

// ownerOf is whose key the job's files are under.
func ownerOf(j *Job) keys.Owner { return keys.OwnerOf(cardlake.StorageID(j.Storage)) }

// execute runs a job whose lock is held to its end, and gives the lock back.
func (s *Service) execute(ctx context.Context, j *Job, lock *os.File, told func(*Job)) {
	defer lock.Close()
	err := s.attempt(ctx, j, told)
	// What happened is written down however ctx ended.
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err = s.settle(late, ctx, j, err); err != nil {
		s.cfg.Log.ErrorContext(ctx, "export", "export", j.ID, "error", err)
		return
	}
	if j.State.IsFinal() {
		_ = os.Remove(s.store.lockPath(j.ID))
		poke(s.due) // its schedule, and whoever waits to be told
	}
	if told != nil {
		told(j)
	}
}

// attempt reads the rows and writes the files.
func (s *Service) attempt(ctx context.Context, j *Job, told func(*Job)) (err error) {
	if j.Attempt > s.cfg.Attempts {
		return fmt.Errorf("its process ended %d times while it ran", j.Attempt-1)
	}
	if err := s.removeObjects(ctx, j.prefix()); err != nil {
		return err
	}
	if _, err := s.tenant(j.Tenant); err != nil {
		return err
	}
	ctx, end := s.watch(ctx, j.ID)
	defer end()
	recipients, err := s.recipients(ctx, j)
	if err != nil {
		return err
	}
	rows, err := s.open(ctx, j)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	j.Given, j.Progress.PlannedRows = rows.given, rows.planned
	a := &attempt{service: s, job: j, owner: ownerOf(j), recipients: recipients, source: rows}
	var ticked time.Time
	finished := 0
	a.report = func(ctx context.Context, n int64, files []File) error {
		if len(files) == finished && time.Since(ticked) < tickEvery {
			return nil
		}
		ticked, finished = time.Now(), len(files)
		return s.tick(ctx, j, n, files, told)
	}
	if err := a.report(ctx, 0, nil); err != nil {
		return err
	}
	if err := a.write(ctx); err != nil {
		return err
	}
	if err := a.finish(ctx, s.now()); err != nil {
		return err
	}
	// Rows that were read after the last look are settled by one more.
	if column := s.lacking(j, j.Caller); column != "" {
		return queries.ErrNotPermitted
	}
	j.Files = a.files
	return nil
}

// watch returns a context that ends when the job is cancelled, also while an engine computes.
func (s *Service) watch(ctx context.Context, id string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		every := time.NewTicker(tickEvery)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				if j, err := s.store.job(ctx, s.store.db, id); err == nil && j.Stop {
					cancel(errStopped)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return ctx, func() { cancel(nil); group.Wait() }
}

// tick writes the job's progress, counts its usage and looks whether it goes on.
func (s *Service) tick(ctx context.Context, j *Job, rows int64, files []File, told func(*Job)) error {
	now, err := s.store.update(ctx, j.ID, func(tx *sql.Tx, stored *Job) error {
		if stored.Stop || stored.State != Running || stored.Attempt != j.Attempt {
			return errStopped
		}
		record, err := s.tenant(j.Tenant)
		if err != nil {
			return err
		}
		p := &j.Progress
		p.Rows, p.Files, p.Bytes = rows, 0, 0
		for _, f := range files {
			p.Bytes += f.Bytes
			if f.Number > 0 {
				p.Files++
			}
		}
		p.percent()
		more := Usage{Rows: rows - stored.Charged.Rows, Bytes: p.Bytes - stored.Charged.Bytes}
		if err := s.store.charge(ctx, tx, j.Tenant, j.Day, more); err != nil {
			return err
		}
		used, err := s.store.usage(ctx, tx, j.Tenant, j.Day)
		if err != nil {
			return err
		}
		quota := record.Quotas.OrDefault()
		switch {
		case used.Rows > quota.Rows:
			return faultf(OverUsed, "the tenant's quota of %d rows a day does not suffice: take a smaller range, wait until 00:00 UTC, or ask an operator to raise it", quota.Rows)
		case used.Bytes > quota.Bytes:
			return faultf(OverUsed, "the tenant's quota of %d bytes a day does not suffice: take a smaller range, wait until 00:00 UTC, or ask an operator to raise it", quota.Bytes)
		}
		stored.Charged.Rows, stored.Charged.Bytes = rows, p.Bytes
		stored.Progress, stored.Given = *p, j.Given
		return nil
	})
	if err != nil {
		return err
	}
	j.Charged = now.Charged
	if told != nil {
		told(j)
	}
	return nil
}

// settle writes down how an attempt ended: done, failed, cancelled, or queued again.
func (s *Service) settle(ctx, run context.Context, j *Job, failed error) error {
	again := false
	switch {
	case failed == nil:
	case run.Err() != nil && !errors.Is(failed, errStopped):
		again = true // the process ends: whoever runs next begins anew
		j.Attempt--
	case !isLasting(failed) && j.Attempt < s.cfg.Attempts:
		again = true
		j.NotBefore = s.now().Add(s.cfg.Backoff << (j.Attempt - 1))
		s.cfg.Log.WarnContext(ctx, "export begins anew", "export", j.ID, "attempt", j.Attempt, "error", failed)
	}
	if failed != nil {
		// What cannot be removed now is removed before the next attempt, or when files expire.
		if err := s.removeObjects(ctx, j.prefix()); err != nil {
			s.cfg.Log.WarnContext(ctx, "files of an export stay for now", "export", j.ID, "error", err)
		}
		j.Files = nil
	}
	// The record is written before anybody can have the files.
	switch {
	case again:
	case failed == nil:
		if err := s.record(ctx, j.Caller, audit.Record{
			Action: actionDone, Resource: "export " + j.ID, Outcome: audit.Allowed,
			Detail:  map[string]string{"tenant": string(j.Tenant), "manifest_sha256": lettersOf(j.Files[0].SHA256), "what": cut(j.Request.what())},
			Numbers: map[string]int64{"rows": j.Progress.Rows, "bytes": j.Progress.Bytes, "files": int64(len(j.Files)), "attempt": int64(j.Attempt)},
		}); err != nil {
			return err
		}
	default:
		if err := s.record(ctx, j.Caller, audit.Record{Action: actionFailed, Resource: "export " + j.ID, Outcome: audit.Failed, Detail: map[string]string{"failed": cut(failed.Error())}}); err != nil {
			return err
		}
	}
	now, err := s.store.update(ctx, j.ID, func(tx *sql.Tx, stored *Job) error {
		stored.Files, stored.Attempt, stored.NotBefore, stored.Given = j.Files, j.Attempt, j.NotBefore, j.Given
		if failed == nil {
			stored.State, stored.EndedAt, stored.Progress = Done, s.now(), j.Progress
			stored.Progress.Percent = 100
			stored.ExpiresAt = stored.EndedAt.Add(s.cfg.Keep)
			return nil
		}
		if err := s.store.refund(ctx, tx, stored); err != nil {
			return err
		}
		stored.Progress = Progress{}
		switch {
		case errors.Is(failed, errStopped) || stored.Stop:
			stored.State, stored.EndedAt = Cancelled, s.now()
		case again:
			stored.State = Queued
		default:
			stored.State, stored.EndedAt, stored.Error = Failed, s.now(), advice(failed)
		}
		return nil
	})
	if err == nil {
		*j = *now
	}
	return err
}

// isLasting reports whether a job that failed so would fail again.
func isLasting(err error) bool {
	return errors.Is(err, errStopped) || errors.Is(err, queries.ErrNotPermitted) || errors.Is(err, queries.ErrTooManyRows) || errors.Is(err, keys.ErrNoKey) ||
		errors.As(err, new(*Fault)) || errors.As(err, new(*queries.Error))
}

// advice is what is told of why a job failed: nothing of the inside that is not the caller's.
func advice(err error) string {
	var fault *Fault
	var wrong *queries.Error
	switch {
	case errors.As(err, &fault):
		return fault.Message
	case errors.As(err, &wrong):
		return wrong.Error()
	case errors.Is(err, queries.ErrNotPermitted):
		return "not permitted any more: the grant was withdrawn or narrowed while rows were read"
	case errors.Is(err, queries.ErrTooManyRows):
		return "more rows than the grant gives of an answer: export the table, or ask for less"
	case errors.Is(err, queries.ErrTimeout):
		return "the statement ran longer than is allowed: take a smaller range, or export the table"
	case errors.Is(err, keys.ErrNoKey):
		return "the tenant's key is destroyed or switched off: its rows cannot be read"
	case errors.Is(err, queries.ErrUnrecorded):
		return "the audit log cannot be written, so nothing was given: try again later"
	case errors.Is(err, syscall.ENOSPC):
		return "there is no room for the files: an operator has been told; try again later"
	}
	return "it failed inside; an operator finds why in the log under its id: try again later"
}

// removeObjects removes all objects under a prefix.
func (s *Service) removeObjects(ctx context.Context, prefix string) error {
	var names []string
	for info, err := range s.deps.Files.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("remove files: %w", err)
		}
		names = append(names, info.Name)
	}
	for _, name := range names {
		if err := s.deps.Files.Delete(ctx, name); err != nil && !errors.Is(err, objects.ErrNotFound) {
			return fmt.Errorf("remove files: %w", err)
		}
	}
	return nil
}

// lacking names a column or table of the job that the caller is not given any more as it was.
func (s *Service) lacking(j *Job, c grants.Caller) string {
	permits := queries.Narrow(s.deps.Permits, j.Tenant)
	for i := range j.Given {
		t := cardlake.TableNamed(j.Given[i].Table)
		if t == nil {
			return j.Given[i].Table
		}
		if l := j.Given[i].lacks(permits.Decide(c, grants.Export, t)); l != "" {
			return l
		}
	}
	return ""
}

// Tend does what is due beside running jobs: it removes the files of exports that expired or
// whose tenant has left, asks for the exports of schedules, and tells tenants of exports that
// ended. Run calls it; it may be called beside.
func (s *Service) Tend(ctx context.Context) error {
	return errors.Join(s.expire(ctx), s.sweep(ctx), s.schedule(ctx), s.notify(ctx))
}

// sweepEvery is how often objects are looked for that could not be removed when their job ended.
const sweepEvery = time.Hour

// sweep removes objects of jobs that came to nothing. Objects of no job stay: they may be those of
// another machine's jobs in the same store.
func (s *Service) sweep(ctx context.Context) error {
	now, last := s.now().UnixNano(), s.swept.Load()
	if last != 0 && now-last < int64(sweepEvery) || !s.swept.CompareAndSwap(last, now) {
		return nil
	}
	doomed := map[string]bool{} // prefixes
	for info, err := range s.deps.Files.List(ctx, objectsPrefix) {
		if err != nil {
			return fmt.Errorf("look for files: %w", err)
		}
		parts := strings.Split(info.Name, "/")
		if len(parts) < 4 {
			continue
		}
		prefix := strings.Join(parts[:3], "/") + "/"
		if _, known := doomed[prefix]; known {
			continue
		}
		j, ok, err := document[*Job](ctx, s.store.db, "SELECT doc FROM jobs WHERE id = ?", parts[2])
		if err != nil {
			return err
		}
		doomed[prefix] = ok && j.prefix() == prefix && j.State.IsFinal() && j.State != Done
	}
	var errs []error
	for prefix, is := range doomed {
		if is {
			errs = append(errs, s.removeObjects(ctx, prefix))
		}
	}
	return errors.Join(errs...)
}

// expire removes files whose time is over.
func (s *Service) expire(ctx context.Context) error {
	done, err := documents[*Job](ctx, s.store.db, "SELECT doc FROM jobs WHERE state = 'done'")
	if err != nil {
		return err
	}
	var errs []error
	for _, j := range done {
		reason := "its time is over"
		if s.now().Before(j.ExpiresAt) {
			r, err := s.deps.Tenants.Lookup(j.Tenant)
			if !(errors.Is(err, catalog.ErrNoTenant) || err == nil && r.Status == catalog.TenantOffboarded) {
				continue
			}
			reason = "the tenant has left"
		}
		errs = append(errs, s.expireOne(ctx, j, reason))
	}
	return errors.Join(errs...)
}

func (s *Service) expireOne(ctx context.Context, j *Job, reason string) error {
	// First nobody is given the files any more, then they go.
	_, err := s.store.update(ctx, j.ID, func(_ *sql.Tx, j *Job) error {
		j.State = Expired
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.removeObjects(ctx, j.prefix()); err != nil {
		_, back := s.store.update(ctx, j.ID, func(_ *sql.Tx, j *Job) error { j.State = Done; return nil })
		return errors.Join(err, back)
	}
	return s.record(ctx, grants.Caller{Principal: j.Principal, Origin: "expiry"}, audit.Record{
		Action: actionExpire, Resource: "export " + j.ID, Outcome: audit.Allowed, Reason: reason,
	})
}
