package export

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/cron"
)

// Schedule asks for an export of each window of a table's time, once, when the window is
// complete, one after another: windows that were missed are caught up with, and one whose export
// failed is asked for again. The grants are those that its owner has then, without a second
// factor: nobody is there to show one.
type Schedule struct {
	ID        string           `json:"id"`
	Principal grants.Principal `json:"principal"`
	Caller    grants.Caller    `json:"caller"`
	// Request is of a table; its From and To are each window's.
	Request Request `json:"request"`
	// Every is hourly, daily, weekly, monthly, or five fields as in cron, and says when windows
	// begin and end, in the TimeZone, a name of the IANA database; default UTC.
	Every    string `json:"every"`
	TimeZone string `json:"time_zone"`
	// From is where the next window begins, which ends at To.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`

	Paused   bool   `json:"paused,omitempty"`
	Reason   string `json:"reason,omitempty"` // why it is paused, or waits
	Failures int    `json:"failures,omitempty"`
	// Last is the export that was asked for last, Settled that it was counted.
	Last      string    `json:"last,omitempty"`
	Settled   bool      `json:"settled,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	CreatedAt time.Time `json:"created_at"`
}

// maxSchedules bounds those of one principal.
const maxSchedules = 50

// Plan asks for a schedule. The first window begins at r.From, or, if that is zero, with the one
// that is not over yet.
func (s *Service) Plan(ctx context.Context, c grants.Caller, r Request, every, zone string) (*Schedule, error) {
	sc, err := s.plan(ctx, c, r, every, zone)
	if err == nil && c.Key != "" {
		// It would go on when the key has ended.
		err = faultf(Refused, "an API key plans no schedules: sign in")
	}
	if err != nil {
		return nil, s.refuse(ctx, c, actionSchedule, "schedule", err)
	}
	err = s.store.change(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM schedules WHERE principal = ?", c.Principal.String()).Scan(&n); err != nil {
			return err
		}
		if n >= maxSchedules {
			return faultf(OverUsed, "you have %d schedules: remove some", n)
		}
		if err := s.record(ctx, c, audit.Record{
			Action: actionSchedule, Resource: "schedule " + sc.ID, Outcome: audit.Allowed,
			Detail: map[string]string{"tenant": string(sc.Request.Tenant), "what": cut(sc.Request.what()), "every": sc.Every, "time_zone": sc.TimeZone},
		}); err != nil {
			return err
		}
		return saveSchedule(ctx, tx, sc)
	})
	if fault := new(Fault); errors.As(err, &fault) {
		return nil, s.refuse(ctx, c, actionSchedule, "schedule", err)
	}
	return sc, err
}

func (s *Service) plan(ctx context.Context, c grants.Caller, r Request, every, zone string) (*Schedule, error) {
	when, err := cron.Parse(every, zone)
	if err != nil {
		return nil, faultf(Invalid, "%v", err)
	}
	switch {
	case r.SQL != "":
		return nil, faultf(Invalid, "a schedule is of a table, whose time its windows are of")
	case !r.To.IsZero() || r.Key != "":
		return nil, faultf(Invalid, "a schedule has no to and no idempotency_key")
	}
	from := r.From
	r.From = time.Time{}
	c.MFA = false
	j, err := s.prepare(ctx, c, r)
	if err != nil {
		return nil, err
	}
	sc := &Schedule{
		ID: newID(), Principal: c.Principal, Caller: c, Request: j.Request, Every: every, TimeZone: when.Zone().String(),
		CreatedAt: s.now(), Settled: true,
	}
	if from.IsZero() {
		// The boundary before now: windows have no more than a month, years in odd cases.
		at := s.now()
		for back := time.Hour; ; back *= 4 {
			if from = when.Next(at.Add(-back)); !from.After(at) || back > 8*366*24*time.Hour {
				break
			}
		}
		for next := when.Next(from); !next.After(at); next = when.Next(next) {
			from = next
		}
	}
	sc.From, sc.To = from.UTC(), when.Next(from)
	return sc, nil
}

func saveSchedule(ctx context.Context, tx *sql.Tx, sc *Schedule) error {
	doc, err := json.Marshal(sc)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO schedules VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET doc = ?3", sc.ID, sc.Principal.String(), doc)
	return err
}

// Schedules returns the caller's, in the order in which they were asked for.
func (s *Service) Schedules(ctx context.Context, c grants.Caller) ([]*Schedule, error) {
	all, err := documents[*Schedule](ctx, s.store.db, "SELECT doc FROM schedules WHERE principal = ? ORDER BY json_extract(doc, '$.created_at'), id", c.Principal.String())
	return slices.DeleteFunc(all, func(sc *Schedule) bool { return !sc.isOf(c) }), err
}

// isOf reports whether the schedule is the caller's, and of the tenant that it is narrowed to.
func (sc *Schedule) isOf(c grants.Caller) bool {
	return sc.Principal == c.Principal && (c.Tenant == "" || c.Tenant == sc.Request.Tenant)
}

// SetPaused pauses the caller's schedule, or lets it go on where it stopped.
func (s *Service) SetPaused(ctx context.Context, c grants.Caller, id string, paused bool) (*Schedule, error) {
	what := "resumed"
	if paused {
		what = "paused"
	}
	sc, err := s.changeSchedule(ctx, c, id, what, func(tx *sql.Tx, sc *Schedule) error {
		sc.Paused, sc.Reason, sc.Failures, sc.NotBefore = paused, "", 0, time.Time{}
		if paused {
			sc.Reason = "paused by " + c.Principal.String()
		}
		return saveSchedule(ctx, tx, sc)
	})
	if err == nil && !paused {
		poke(s.due)
	}
	return sc, err
}

// Remove removes the caller's schedule. Exports that it asked for stay.
func (s *Service) Remove(ctx context.Context, c grants.Caller, id string) error {
	_, err := s.changeSchedule(ctx, c, id, "removed", func(tx *sql.Tx, _ *Schedule) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM schedules WHERE id = ?", id)
		return err
	})
	return err
}

func (s *Service) changeSchedule(ctx context.Context, c grants.Caller, id, what string, do func(*sql.Tx, *Schedule) error) (sc *Schedule, err error) {
	err = s.store.change(ctx, func(tx *sql.Tx) error {
		var ok bool
		sc, ok, err = document[*Schedule](ctx, tx, "SELECT doc FROM schedules WHERE id = ?", id)
		if err != nil {
			return err
		}
		if !ok || !sc.isOf(c) {
			return faultf(NotFound, "there is no such schedule of yours")
		}
		if err := s.record(ctx, c, audit.Record{Action: actionSchedule, Resource: "schedule " + id, Outcome: audit.Allowed, Detail: map[string]string{"change": what}}); err != nil {
			return err
		}
		return do(tx, sc)
	})
	if fault := new(Fault); errors.As(err, &fault) {
		return nil, s.refuse(ctx, c, actionSchedule, "schedule", err)
	}
	return sc, err
}

// schedule moves all schedules on.
func (s *Service) schedule(ctx context.Context) error {
	all, err := documents[*Schedule](ctx, s.store.db, "SELECT doc FROM schedules WHERE json_extract(doc, '$.paused') IS NULL")
	if err != nil {
		return err
	}
	var errs []error
	for _, sc := range all {
		if err := s.advance(ctx, sc); err != nil {
			errs = append(errs, fmt.Errorf("schedule %s: %w", sc.ID, err))
		}
	}
	return errors.Join(errs...)
}

// advance settles a schedule's last export and asks for the next, if its window is complete. All
// of it is one transaction: however many processes do it and whenever they die, there is one
// export of a window that is done.
func (s *Service) advance(ctx context.Context, sc *Schedule) error {
	ready, err := s.isReady(ctx, sc)
	if err != nil {
		return err
	}
	var asked, refused error
	err = s.store.change(ctx, func(tx *sql.Tx) error {
		now, ok, err := document[*Schedule](ctx, tx, "SELECT doc FROM schedules WHERE id = ?", sc.ID)
		if err != nil || !ok || now.Paused {
			return err
		}
		if !now.Settled {
			last, err := s.store.job(ctx, tx, now.Last)
			if err != nil {
				return err
			}
			if !last.State.IsFinal() {
				return nil
			}
			if err := s.settleSchedule(now, last); err != nil {
				return err
			}
			return saveSchedule(ctx, tx, now)
		}
		if !ready || !now.From.Equal(sc.From) || s.now().Before(now.NotBefore) {
			return nil
		}
		var j *Job
		if j, refused = s.run(ctx, now); refused == nil {
			refused = s.admit(ctx, tx, j)
		}
		if refused != nil {
			fault := new(Fault)
			if !errors.As(refused, &fault) {
				return refused
			}
			now.Reason = fault.Message
			now.NotBefore = s.now().Add(10 * time.Minute)
			if fault.Code != OverUsed { // which passes with the day
				s.failed(now)
			}
			return saveSchedule(ctx, tx, now)
		}
		if asked = s.record(ctx, j.Caller, audit.Record{
			Action: actionStart, Resource: "export " + j.ID, Outcome: audit.Allowed,
			Detail: map[string]string{"tenant": string(j.Tenant), "what": cut(j.Request.what()), "format": string(j.Request.Format), "encryption": j.Request.encryption(), "schedule": now.ID},
		}); asked != nil {
			return asked
		}
		now.Last, now.Settled, now.Reason = j.ID, false, ""
		if err := s.store.insert(ctx, tx, j); err != nil {
			return err
		}
		return saveSchedule(ctx, tx, now)
	})
	if err == nil && refused != nil {
		err = s.refuse(ctx, sc.Caller, actionStart, "schedule "+sc.ID, refused)
		if errors.Is(err, refused) {
			err = nil // it is the owner's to know: the schedule says so
		}
	}
	poke(s.wake)
	return err
}

// isReady reports whether all rows of the schedule's window are there.
func (s *Service) isReady(ctx context.Context, sc *Schedule) (bool, error) {
	switch {
	case !sc.Settled:
		return false, nil
	case s.now().Before(sc.To):
		return false, nil
	case s.deps.Complete == nil:
		return !s.now().Before(sc.To.Add(s.cfg.Settle)), nil
	}
	return s.deps.Complete.IsComplete(ctx, cardlake.TableNamed(sc.Request.Table), sc.Request.Tenant, sc.From, sc.To)
}

// run makes the export of the schedule's window, if its owner may have it.
func (s *Service) run(ctx context.Context, sc *Schedule) (*Job, error) {
	r := sc.Request
	r.From, r.To = sc.From, sc.To
	c := sc.Caller
	c.Request = ""
	j, err := s.prepare(ctx, c, r)
	if err != nil {
		return nil, err
	}
	j.Schedule = sc.ID
	return j, nil
}

// settleSchedule counts how the last export ended, and goes on to the next window if it is done.
func (s *Service) settleSchedule(sc *Schedule, last *Job) error {
	sc.Settled = true
	switch last.State {
	case Failed:
		sc.Reason = last.Error
		sc.NotBefore = s.now().Add(s.cfg.Backoff << min(sc.Failures, 6))
		s.failed(sc)
		return nil
	case Cancelled:
		sc.Paused, sc.Reason = true, "its export was cancelled"
		return nil
	}
	when, err := cron.Parse(sc.Every, sc.TimeZone)
	if err != nil {
		return err
	}
	sc.Failures, sc.NotBefore, sc.Reason = 0, time.Time{}, ""
	sc.From, sc.To = sc.To, when.Next(sc.To)
	poke(s.due)
	return nil
}

// failed counts a failure, and pauses the schedule after some.
func (s *Service) failed(sc *Schedule) {
	if sc.Failures++; sc.Failures >= s.cfg.Failures {
		sc.Paused = true
		sc.Reason = fmt.Sprintf("paused after %d failures: %s", sc.Failures, sc.Reason)
	}
}
