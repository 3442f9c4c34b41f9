package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/live"
)

// Live has the seconds of all tenants as they happen; *live.Follower is one.
type Live interface {
	// Since returns what of the tenant changed after seq, and all that is kept with 0.
	Since(tenant cardlake.Tenant, seq uint64) live.State
}

// Actions of this file on record.
const (
	actionLive      = "live"
	actionLiveGoing = "live.going"
	actionLiveDone  = "live.done"
)

const (
	maxLive     = 256 // streams at a time
	maxLiveEach = 8   // of one principal
	// decideEvery is how often who asks and what is permitted are found out anew.
	decideEvery = time.Second
	// liveEvery is how often a stream says something at most.
	liveEvery = 200 * time.Millisecond
	// freshEvery is how often it says how fresh it is though nothing happened, heartbeatEvery
	// how often it says that it is there.
	freshEvery, heartbeatEvery = 5 * time.Second, 15 * time.Second
	// recordLiveEvery is how often it goes on record that it goes on: without the record it ends.
	recordLiveEvery = time.Minute
	// liveRetry is when a client that was cut off comes again, in milliseconds.
	liveRetry = 3000
)

// Why a stream ends.
const (
	endSignedOut    = "signed_out"    // the sign-in is not good any more: sign in, and come again
	endNotPermitted = "not_permitted" // the grant was withdrawn
	endEnding       = "ending"        // the server ends: come again
	endUnrecorded   = "unrecorded"    // the audit log can't be written
)

// streams are those that are open, and how they learn that the server ends.
type streams struct {
	epoch string // of the ids of their events, which another server does not know

	mu      sync.Mutex
	all     int
	of      map[grants.Principal]int
	endings map[*http.Server]chan struct{}
}

// enter takes the place of a stream until leave is called, or returns a problem.
func (o *streams) enter(p grants.Principal) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all >= maxLive || o.of[p] >= maxLiveEach {
		e := problemOf(kindLimit, "you have as many live streams as you may, or the server has: close one")
		e.after = 10 * time.Second
		return e
	}
	o.all++
	o.of[p]++
	return nil
}

func (o *streams) leave(p grants.Principal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all--
	if o.of[p]--; o.of[p] == 0 {
		delete(o.of, p)
	}
}

// liveRoutes is that of live figures.
func (s *Server) liveRoutes() []route {
	open := &streams{epoch: newID()[:16], of: map[grants.Principal]int{}, endings: map[*http.Server]chan struct{}{}}
	return s.group("live", s.deps.Live != nil, nil,
		route{method: "GET", path: "/v1/live", name: "live", doc: "Streams a tenant's authorisations, second by second, as they happen.",
			more: "Server-sent events (WHATWG HTML, section 9.2). `seconds` has the seconds that changed, each as it is now: replace those of the same \"at\". " +
				"`snapshot` says that something was committed, so that figures may be asked anew. `end` says why the stream ends. " +
				"What the caller is not given in clear is not there. Last-Event-ID resumes. It is decided anew every second.",
			params: []param{needed(inQuery("tenant", "the tenant", textOf(40))), inHeader("Last-Event-ID", "the id of the event that came last", textOf(64))},
			answers: []answer{{status: 200, contentType: "text/event-stream", doc: "The events, until somebody ends them.",
				headers: []header{{"X-Accel-Buffering", "no: proxies hand events on as they come"}}}},
			problems: []kind{kindNotPermitted}, do: func(c *call) error { return s.live(c, open) }})
}

// liveSeconds is the event seconds.
type liveSeconds struct {
	Tenant cardlake.Tenant `json:"tenant"`
	Live   bool            `json:"live"`
	// AsOf is when workers were asked last that answered. Partial says that one of them can't be
	// at the moment. WholeSince is the first second of which nothing is lacking.
	AsOf       *time.Time   `json:"as_of"`
	Partial    bool         `json:"partial"`
	WholeSince *time.Time   `json:"whole_since"`
	Seconds    []liveSecond `json:"seconds"`
}

// liveSecond is one second. What is not given in clear is absent.
type liveSecond struct {
	At       time.Time                         `json:"at"`
	Requests int64                             `json:"requests"`
	Approved *int64                            `json:"approved,omitempty"`
	Declined *int64                            `json:"declined,omitempty"`
	Amounts  map[cardlake.Currency]live.Amount `json:"amounts,omitempty"`
	Channels map[string]int64                  `json:"channels,omitempty"`
	Reasons  map[string]int64                  `json:"reasons,omitempty"`
}

// liveSnapshot is the event snapshot. Live is false where there is no worker to ask: then there
// are no events seconds.
type liveSnapshot struct {
	Live        bool       `json:"live"`
	ID          string     `json:"id"` // empty when nothing was committed yet, or nobody knows
	CommittedAt *time.Time `json:"committed_at"`
	AsOf        *time.Time `json:"as_of"` // when it was looked
}

// liveEnd is the event end.
type liveEnd struct {
	Reason string `json:"reason"`
}

// liveView is what of a second a decision gives in clear.
type liveView struct{ approved, amounts, channels, reasons bool }

// liveViewOf returns what a caller is given of the tenant's seconds, and whether anything is.
// Nothing can be counted without the type and the time of events.
func (s *Server) liveViewOf(c grants.Caller, tenant cardlake.Tenant) (v liveView, d *grants.Decision, ok bool) {
	d = s.deps.Permits.Decide(c, grants.Query, cardlake.Transactions)
	if d == nil || d.Principal != c.Principal || d.Action != grants.Query || d.Table != cardlake.Transactions || !d.Until.IsZero() && !s.cfg.Now().Before(d.Until) {
		return v, d, false
	}
	scope := d.Scope(tenant)
	if tenant == "" || scope == nil || len(scope.Columns) != len(d.Table.Columns) {
		return v, d, false
	}
	is := func(name string) bool {
		for i, column := range d.Table.Columns {
			if column.Name == name {
				return scope.Columns[i] == grants.Clear
			}
		}
		return false
	}
	v.approved, v.channels = is("approved"), is("channel")
	v.amounts, v.reasons = v.approved && is("amount") && is("currency"), v.approved && is("decline_reason")
	return v, d, is("event_type") && is("event_time") && is("tenant")
}

// of are the seconds as the view gives them.
func (v liveView) of(seconds []live.Second) []liveSecond {
	out := make([]liveSecond, 0, len(seconds))
	for _, s := range seconds {
		one := liveSecond{At: s.At, Requests: s.Requests}
		if v.approved {
			one.Approved, one.Declined = &s.Approved, &s.Declined
		}
		if v.amounts {
			one.Amounts = s.Amounts
		}
		if v.channels {
			one.Channels = s.Channels
		}
		if v.reasons {
			one.Reasons = s.Reasons
		}
		out = append(out, one)
	}
	return out
}

// live answers GET /v1/live.
func (s *Server) live(c *call, open *streams) error {
	q, err := parameters(c, "tenant")
	if err != nil {
		return err
	}
	tenant := cardlake.Tenant(q.Get("tenant"))
	if tenant.Validate() != nil {
		return problemOf(kindRequest, "tenant is the name of the tenant")
	}
	if err := open.enter(c.caller.Principal); err != nil {
		return err
	}
	defer open.leave(c.caller.Principal)
	view, d, ok := s.liveViewOf(c.caller, tenant)
	if !ok {
		err = queries.ErrNotPermitted
	}
	ctx := c.r.Context()
	asked := s.recordOf(c.caller, actionLive, "live figures of "+string(tenant), err)
	if d != nil {
		asked.Detail["policy_version"], asked.Detail["policies"] = d.Version, short(strings.Join(d.Policies, ","))
		if !ok && d.Reason != "" {
			asked.Detail["refused"] = short(d.Reason)
		}
	}
	if err := s.putOnRecord(ctx, asked, err); err != nil {
		return err
	}
	out := s.newEvents(c, open.epoch)
	if c.r.Method == http.MethodHead {
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	stream := &liveStream{s: s, c: c, tenant: tenant, view: view, out: out, ending: open.ending(ctx), since: s.cfg.Now()}
	reason, failed := stream.run(ctx)
	if failed == nil {
		failed = out.end(reason)
	}
	stream.done(ctx, reason, failed)
	return nil
}

// ending is closed when the server that answers begins to end.
func (o *streams) ending(ctx context.Context) <-chan struct{} {
	server, ok := ctx.Value(http.ServerContextKey).(*http.Server)
	if !ok {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.endings[server] == nil {
		ending := make(chan struct{})
		o.endings[server] = ending
		server.RegisterOnShutdown(sync.OnceFunc(func() { close(ending) }))
	}
	return o.endings[server]
}

// liveStream is one stream.
type liveStream struct {
	s      *Server
	c      *call
	tenant cardlake.Tenant
	view   liveView
	out    *events
	ending <-chan struct{}
	since  time.Time

	seq      uint64
	begun    bool
	partial  bool
	saidAt   time.Time // the last event
	freshAt  time.Time // the last event seconds
	recorded time.Time
	seconds  int64 // that were sent
}

// run streams until something ends it, and says what, or how sending failed.
func (l *liveStream) run(ctx context.Context) (reason string, err error) {
	l.seq = l.out.resume(l.c.r.Header.Get("Last-Event-ID"))
	l.recorded = l.since
	ticker := time.NewTicker(decideEvery)
	defer ticker.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		state := l.s.deps.Live.Since(l.tenant, l.seq)
		if err := l.say(state); err != nil {
			return "", err
		}
		// Not at once again: of what happens meanwhile, one event tells.
		pause.Reset(liveEvery)
		var changed <-chan struct{}
		for waits := true; waits; {
			select {
			case <-ctx.Done():
				return "", context.Cause(ctx)
			case <-l.ending:
				return endEnding, nil
			case <-pause.C:
				changed = state.Changed
			case <-changed:
				waits = false
			case <-ticker.C:
				if reason := l.check(ctx); reason != "" {
					return reason, nil
				}
				waits = false
			}
		}
	}
}

// check finds out anew who asks and what is permitted, and puts on record that the stream goes
// on; it returns why it must end.
func (l *liveStream) check(ctx context.Context) (reason string) {
	now, err := l.s.deps.SignIn.FromRequest(l.c.r)
	if err != nil || now.Principal != l.c.caller.Principal {
		return endSignedOut
	}
	now.Request, now.Reason, now.BreakGlass = l.c.caller.Request, l.c.caller.Reason, l.c.caller.BreakGlass
	l.c.caller = now
	view, _, ok := l.s.liveViewOf(l.c.caller, l.tenant)
	if !ok {
		return endNotPermitted
	}
	if view != l.view {
		l.view, l.seq = view, 0 // all anew, as it is given now
	}
	if at := l.s.cfg.Now(); at.Sub(l.recorded) >= recordLiveEvery {
		l.recorded = at
		if l.s.putOnRecord(ctx, l.record(actionLiveGoing, nil), nil) != nil {
			return endUnrecorded
		}
	}
	return ""
}

// say sends what is to be told of the state.
func (l *liveStream) say(state live.State) error {
	now := l.s.cfg.Now()
	isFresh := now.Sub(l.freshAt) < freshEvery
	hasSeconds := state.IsLive && (len(state.Seconds) > 0 || state.IsPartial != l.partial || !l.begun || !isFresh)
	if state.IsNew || !l.begun {
		id := state.Seq
		if hasSeconds {
			id = 0 // whoever is cut off before the seconds lacks them
		}
		if err := l.out.send("snapshot", id, snapshotOf(state)); err != nil {
			return err
		}
		l.saidAt = now
	}
	if hasSeconds {
		err := l.out.send("seconds", state.Seq, liveSeconds{
			Tenant: l.tenant, Live: true, AsOf: instantOrNone(state.AsOf), Partial: state.IsPartial, WholeSince: instantOrNone(state.WholeSince),
			Seconds: l.view.of(state.Seconds),
		})
		if err != nil {
			return err
		}
		l.saidAt, l.freshAt, l.partial = now, now, state.IsPartial
		l.seconds += int64(len(state.Seconds))
	}
	if now.Sub(l.saidAt) >= heartbeatEvery {
		if err := l.out.comment(); err != nil {
			return err
		}
		l.saidAt = now
	}
	l.begun, l.seq = true, state.Seq
	return l.out.flush()
}

func snapshotOf(state live.State) liveSnapshot {
	out := liveSnapshot{Live: state.IsLive, CommittedAt: instantOrNone(state.Snapshot.CommittedAt), AsOf: instantOrNone(state.Snapshot.AsOf)}
	if state.Snapshot.ID != 0 {
		out.ID = strconv.FormatInt(state.Snapshot.ID, 10)
	}
	return out
}

func instantOrNone(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// record is a line about the stream as it is.
func (l *liveStream) record(action string, err error) audit.Record {
	r := l.s.recordOf(l.c.caller, action, "live figures of "+string(l.tenant), err)
	r.Reason = ""
	r.Numbers = map[string]int64{"seconds": l.seconds, "events": l.out.sent, "duration_s": int64(l.s.cfg.Now().Sub(l.since).Seconds())}
	return r
}

// done puts on record how the stream ended. It is too late to refuse.
func (l *liveStream) done(ctx context.Context, reason string, err error) {
	r := l.record(actionLiveDone, nil)
	switch {
	case reason != "":
		r.Detail["end"] = reason
	case errors.Is(err, errTooSlow):
		r.Detail["end"] = "too_slow" // which it can't be told any more
	default:
		r.Detail["end"] = "closed" // by the client, or on the way
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	_ = l.s.putOnRecord(ctx, r, nil) // the log says so
}

// recordOf is the record of a call that is not the gateway's, or of its refusal.
func (s *Server) recordOf(c grants.Caller, action, resource string, err error) audit.Record {
	r := audit.Record{
		Actor: c.Principal.String(), Action: action, Resource: resource, Outcome: audit.Allowed,
		Origin: c.Origin, Reason: c.Reason, Request: c.Request, Detail: detailOf(c),
	}
	if err != nil {
		r.Outcome = audit.Refused
		if toProblem(err).Status >= 500 {
			r.Outcome = audit.Failed
		}
	}
	return r
}

// short cuts a text to what a record takes.
func short(text string) string {
	const most = 1000
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// putOnRecord writes the record and returns err. Without the record there is no answer.
func (s *Server) putOnRecord(ctx context.Context, r audit.Record, err error) error {
	if failed := s.deps.Recorder.Append(ctx, r); failed != nil {
		if ctx.Err() == nil {
			s.cfg.Log.ErrorContext(ctx, "refused, because the audit log can't be written", "action", r.Action, "request", r.Request, "error", failed)
		}
		return errors.Join(queries.ErrUnrecorded, failed)
	}
	return err
}

// events writes server-sent events. A client has so long for each write.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	epoch   string
	text    bytes.Buffer
	sent    int64
}

// newEvents begins a stream of events.
func (s *Server) newEvents(c *call, epoch string) *events {
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform") // nor compressed, which would hold events back
	h.Set("X-Accel-Buffering", "no")
	e := &events{w: c.w, control: http.NewResponseController(c.w), timeout: s.cfg.WriteTimeout, epoch: epoch}
	fmt.Fprintf(&e.text, "retry: %d\n\n", liveRetry)
	return e
}

// resume is the sequence after an event's id, 0 if this server did not send it.
func (e *events) resume(id string) uint64 {
	epoch, number, _ := strings.Cut(id, "-")
	seq, err := strconv.ParseUint(number, 10, 64)
	if epoch != e.epoch || err != nil {
		return 0
	}
	return seq
}

// send adds an event. With id 0 it has none: whoever is cut off goes on from the one before.
func (e *events) send(name string, id uint64, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	e.sent++
	fmt.Fprintf(&e.text, "event: %s\n", name)
	if id != 0 {
		fmt.Fprintf(&e.text, "id: %s-%d\n", e.epoch, id)
	}
	fmt.Fprintf(&e.text, "data: %s\n\n", text)
	return nil
}

// comment adds what clients pass over.
func (e *events) comment() error {
	_, err := e.text.WriteString(": \n\n")
	return err
}

// end says why the stream ends.
func (e *events) end(reason string) error {
	if err := e.send("end", 0, liveEnd{reason}); err != nil {
		return err
	}
	return e.flush()
}

// flush writes what was added.
func (e *events) flush() error {
	if e.text.Len() == 0 {
		return nil
	}
	begun := time.Now()
	_ = e.control.SetWriteDeadline(begun.Add(e.timeout)) // a recorder has none
	_, err := e.w.Write(e.text.Bytes())
	e.text.Reset()
	if err == nil {
		err = e.control.Flush()
	}
	_ = e.control.SetWriteDeadline(time.Time{}) // HTTP/2 would hold it against a stream that says nothing
	if err != nil && time.Since(begun) >= e.timeout {
		return errTooSlow
	}
	return err
}

// errTooSlow says that a client did not take what was written in time.
var errTooSlow = errors.New("the client is too slow")
