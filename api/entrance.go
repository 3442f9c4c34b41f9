package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// Told is what a caller is told of an error, at every door: the rule, never a value.
type Told struct {
	Kind   string // one of a fixed list, such as "not-permitted"
	Status int    // HTTP's
	Detail string
	// Hint and Offset are of a fault of the statement: what to do, and the byte at which it
	// lies, -1 if that is unknown.
	Hint   string
	Offset int
	// After is when to try again, if not zero.
	After time.Duration
}

// Tell says what the caller is told of an error.
func Tell(err error) Told {
	p := toProblem(err)
	t := Told{Kind: string(p.kind), Status: p.Status, Detail: p.Detail, Hint: p.Hint, Offset: -1, After: p.after}
	if p.Offset != nil {
		t.Offset = *p.Offset
	}
	return t
}

// Enter lets a caller in at a door of another protocol, by the same sign-in and the same reasons
// as at this one, and draws the id of the call. The request has the protocol's headers, its peer
// and its TLS. An attempt to get in that fails is on record.
func (s *Server) Enter(r *http.Request) (grants.Caller, error) {
	id := newID()
	if s.cfg.LocalOnly && !isLocal(r.Host) {
		return grants.Caller{Request: id}, problemOf(kindHost, "the server answers on this machine only, and the request names another host")
	}
	caller, err := s.deps.SignIn.FromRequest(r)
	caller.Request = id
	if err != nil {
		s.knock(r, id, err)
		return caller, notSignedIn(err)
	}
	return caller, readHeaders(r.Header, &caller)
}

// Count counts a call against what the principal may make in a minute.
func (s *Server) Count(p grants.Principal) error { return s.limits.call(p, s.cfg.Now()) }

// Begin takes the place of one of the statements that may run at a time, of the principal's and
// of all, until end is called. The bounds are of all doors together.
func (s *Server) Begin(p grants.Principal) (end func(), err error) {
	free, err := s.limits.begin(p, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	s.metrics.running.Inc()
	return func() { s.metrics.running.Dec(); free() }, nil
}

// Record puts on record that a call which is not the gateway's is answered, or that it was
// refused with the error, which it returns. Without the record there is no answer.
func (s *Server) Record(ctx context.Context, c grants.Caller, action, resource string, err error) error {
	r := audit.Record{
		Actor: c.Principal.String(), Action: action, Resource: resource, Outcome: audit.Allowed,
		Origin: c.Origin, Reason: c.Reason, Request: c.Request,
	}
	if c.BreakGlass || c.Key != "" {
		r.Detail = detailOf(c)
	}
	if err != nil {
		r.Outcome = audit.Refused
		if toProblem(err).Status >= 500 {
			r.Outcome = audit.Failed
		}
	}
	if failed := s.deps.Recorder.Append(ctx, r); failed != nil {
		if ctx.Err() == nil {
			s.cfg.Log.ErrorContext(ctx, "refused, because the audit log can't be written", "action", action, "request", c.Request, "error", failed)
		}
		return errors.Join(queries.ErrUnrecorded, failed)
	}
	return err
}

// detailOf is what a record tells of how the caller comes.
func detailOf(c grants.Caller) map[string]string {
	detail := map[string]string{}
	if c.BreakGlass {
		detail["break_glass"] = "yes"
	}
	if c.Key != "" {
		detail["api_key"] = c.Key
	}
	return detail
}

// Done counts a call that was answered, with an error or without, and its rows.
func (s *Server) Done(route string, err error, rows int64, took time.Duration) {
	status := http.StatusOK
	if err != nil {
		p := toProblem(err)
		status = p.Status
		s.metrics.refused(string(p.kind))
	}
	s.metrics.rows.Add(float64(rows))
	s.metrics.done(route, status, took)
}

// HandshakeFailed records a connection of another protocol that was refused before any call.
func (s *Server) HandshakeFailed(ctx context.Context, origin string) {
	s.knocks.add(ctx, knock{origin: origin, reason: "tls_handshake"})
}

// Facts are what is told of the state in which the tables of an answer were read, as headers.
func Facts(r *queries.Result) http.Header {
	h := http.Header{}
	stateOf(r).headers(h)
	return h
}
