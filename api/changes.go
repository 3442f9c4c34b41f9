package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes"
	"github.com/cardlake/cardlake/queries/render"
)

// Changes are rows that were added since; *changes.Feed is one.
type Changes interface {
	Read(ctx context.Context, c grants.Caller, r changes.Request) (*changes.Batch, error)
	Await(ctx context.Context, table *cardlake.Table, cursor string, wait time.Duration) error
}

const (
	defaultChanges = 100_000          // rows of an answer
	maxChanges     = 10_000_000       // that may be asked for
	maxWait        = 25 * time.Second // for something to be committed: less than a proxy waits
	maxWaiting     = 64               // calls at a time
	maxWaitingEach = 8                // of one principal
)

// changesRoutes is the route of changes. Where the next answer begins is in the header
// Cardlake-Cursor, and in JSON in "cursor": it counts once the whole answer came.
func (s *Server) changesRoutes() []route {
	waiting := &waiting{of: map[grants.Principal]int{}}
	return s.group("changes", s.deps.Changes != nil, changesError,
		route{method: "GET", path: "/v1/changes", name: "changes", doc: "Gives the rows that were added since, in the order in which they were.",
			params: []param{
				inQuery("table", "the table; cards.transactions if it is not there", textOf(200)),
				needed(inQuery("since", "start, now, a snapshot's id, or the cursor of the answer before", textOf(4096))),
				inQuery("until", "the snapshot up to which the rows go; the newest if it is not there", textOf(200)),
				inQuery("tenant", "names of tenants, with commas; all that the caller may read if it is not there", anyText()),
				inQuery("limit", "rows of the answer at most", intOf(1, maxChanges)),
				inQuery("format", "the answer's format; stands above Accept", choiceOf("json", "csv", "arrow", "parquet")),
				inQuery("wait", "seconds that the answer may wait for something to be committed", intOf(0, int64(maxWait.Seconds()))),
			},
			answers:  formatAnswers("The rows.", changesAnswer{}, header{"Cardlake-Cursor", "where the next answer begins"}, header{"Cardlake-More", "whether there are more now: yes or no"}),
			problems: []kind{kindNotPermitted, kindExpired, kindAccept, kindStatement, kindTable, kindTimeout, kindBusy},
			do:       func(c *call) error { return s.changes(c, waiting) }})
}

// changesAnswer is the answer in JSON as it is described; it is written piece by piece.
type changesAnswer struct {
	changesHead
	Rows []map[string]any `json:"rows" doc:"The rows, as objects of their columns, in no order."`
}

// changesError is the problem of a fault of the request.
func changesError(err error) error {
	var expired *changes.ExpiredError
	switch {
	case errors.As(err, &expired):
		return problemOf(kindExpired, "%s", expired.Error())
	case errors.Is(err, changes.ErrRolledBack):
		return problemOf(kindExpired, "%s", changes.ErrRolledBack.Error())
	case errors.Is(err, changes.ErrCursor):
		return problemOf(kindRequest, "%s", changes.ErrCursor.Error())
	}
	return err
}

// waiting are the calls that wait for something to be committed.
type waiting struct {
	mu  sync.Mutex
	all int
	of  map[grants.Principal]int
}

// enter returns false if as many wait as may.
func (w *waiting) enter(p grants.Principal) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= maxWaiting || w.of[p] >= maxWaitingEach {
		return false
	}
	w.all++
	w.of[p]++
	return true
}

func (w *waiting) leave(p grants.Principal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.of[p]--; w.of[p] == 0 {
		delete(w.of, p)
	}
}

func (s *Server) changes(c *call, waiting *waiting) error {
	r, f, wait, err := readChanges(c)
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	b, end, err := s.readChanges(ctx, c, r)
	if err != nil {
		return err
	}
	defer func() { end() }() // not before the rows are sent: they hold memory and files
	// Of those that too many wait beside already it is said that there is nothing.
	if b.IsEmpty && wait > 0 && waiting.enter(c.caller.Principal) {
		err := func() error {
			defer waiting.leave(c.caller.Principal)
			err := b.Close()
			end() // who waits holds nothing
			end = func() {}
			if err != nil {
				return err
			}
			return gone(ctx, s.deps.Changes.Await(ctx, cardlake.TableNamed(r.Table), b.Cursor, wait))
		}()
		if err != nil {
			return err
		}
		r.Since = b.Cursor
		next, again, err := s.readChanges(ctx, c, r)
		if err != nil {
			return err
		}
		b, end = next, again
	}
	if err := s.deliverChanges(ctx, c, f, b); err != nil {
		for _, name := range changesHeaders {
			c.w.Header().Del(name) // an error has no cursor to go on from
		}
		return err
	}
	return nil
}

// changesHeaders tell of a batch.
var changesHeaders = []string{"Cardlake-Cursor", "Cardlake-More", "Cardlake-Until", "Cardlake-Removals", "Cardlake-Valid-Through"}

// readChanges asks for a batch, as one of the statements that run until end is called.
func (s *Server) readChanges(ctx context.Context, c *call, r changes.Request) (b *changes.Batch, end func(), err error) {
	if end, err = s.limits.begin(c.caller.Principal, s.cfg.Now()); err != nil {
		return nil, nil, err
	}
	if b, err = s.deps.Changes.Read(ctx, c.caller, r); err != nil {
		end()
		return nil, nil, gone(ctx, err)
	}
	return b, end, nil
}

// readChanges reads the parameters of GET /v1/changes.
func readChanges(c *call) (r changes.Request, f format, wait time.Duration, err error) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return r, f, 0, problemOf(kindRequest, "the parameters are not well-formed")
	}
	for name, values := range q {
		if len(values) != 1 || !slices.Contains([]string{"table", "since", "until", "tenant", "limit", "format", "wait"}, name) {
			return r, f, 0, problemOf(kindRequest, "the parameters are table, since, until, tenant, limit, format and wait, each once")
		}
	}
	if f, err = formatOf(q.Get("format"), c.r.Header.Values("Accept")); err != nil {
		return r, f, 0, err
	}
	r = changes.Request{Table: q.Get("table"), Since: q.Get("since"), Until: q.Get("until"), Limit: defaultChanges}
	if r.Table == "" {
		r.Table = cardlake.Transactions.FullName()
	}
	if r.Since == "" {
		return r, f, 0, problemOf(kindRequest, "since is missing: start, now, a snapshot's id, or the cursor of the answer before")
	}
	if text := q.Get("tenant"); text != "" {
		for name := range strings.SplitSeq(text, ",") {
			if cardlake.Tenant(name).Validate() != nil {
				return r, f, 0, problemOf(kindRequest, "tenant is names of tenants, with commas")
			}
			r.Tenants = append(r.Tenants, cardlake.Tenant(name))
		}
	}
	if text := q.Get("limit"); text != "" {
		if r.Limit, err = strconv.ParseInt(text, 10, 64); err != nil || r.Limit < 1 || r.Limit > maxChanges {
			return r, f, 0, problemOf(kindRequest, "limit is a number of rows from 1 to %d", maxChanges)
		}
	}
	if text := q.Get("wait"); text != "" {
		n, err := strconv.Atoi(text)
		if wait = time.Duration(n) * time.Second; err != nil || n < 0 || wait > maxWait {
			return r, f, 0, problemOf(kindRequest, "wait is a number of seconds from 0 to %d", int(maxWait.Seconds()))
		}
	}
	return r, f, wait, nil
}

// changesHead is what an answer in JSON has before its rows.
type changesHead struct {
	Request      string                        `json:"request" doc:"The id of the call."`
	Cursor       string                        `json:"cursor" doc:"Where the next answer begins. It counts once the whole answer came."`
	More         bool                          `json:"more" doc:"Whether there are more rows already."`
	Until        changes.Mark                  `json:"until" doc:"The state up to which the rows go if there are no more."`
	Removals     []changes.Removal             `json:"removals" doc:"Rows that are not in the table any more."`
	Unsure       bool                          `json:"removals_unsure" doc:"Whether there may have been other removals."`
	KeptSince    map[cardlake.Tenant]string    `json:"kept_since" doc:"By tenant, the first day of which rows are kept."`
	ValidThrough map[cardlake.Tenant]time.Time `json:"valid_through,omitempty" doc:"By tenant, the event time up to which all rows are there."`
	state
}

// leastOf is the event time up to which all rows of all tenants are there, false if that is not
// known of one that has rows.
func leastOf(a changes.About) (least time.Time, ok bool) {
	for tenant := range a.KeptSince {
		at, ok := a.ValidThrough[tenant]
		if !ok {
			return time.Time{}, false
		}
		if least.IsZero() || at.Before(least) {
			least = at
		}
	}
	return least, !least.IsZero()
}

// deliverChanges writes the batch and closes it, or breaks the answer off.
func (s *Server) deliverChanges(ctx context.Context, c *call, f format, b *changes.Batch) error {
	h := c.w.Header()
	h.Set("Cardlake-Cursor", b.Cursor)
	h.Set("Cardlake-More", map[bool]string{true: "yes", false: "no"}[b.More])
	h.Set("Cardlake-Until", strconv.FormatInt(b.Until.Snapshot, 10))
	switch {
	case b.IsUnsure:
		h.Set("Cardlake-Removals", "unsure")
	case len(b.Removals) > 0:
		h.Set("Cardlake-Removals", "yes")
	}
	if at, ok := leastOf(b.About); ok {
		h.Set("Cardlake-Valid-Through", at.UTC().Format(time.RFC3339))
	}
	if f.name != "json" {
		return s.deliver(ctx, c, f, b.Result, place{})
	}
	head := changesHead{
		Request: c.caller.Request, Cursor: b.Cursor, More: b.More, Until: b.Until, Removals: b.Removals, Unsure: b.IsUnsure,
		KeptSince: map[cardlake.Tenant]string{}, ValidThrough: b.ValidThrough, state: stateOf(b.Result),
	}
	if head.Removals == nil {
		head.Removals = []changes.Removal{}
	}
	for tenant, day := range b.KeptSince {
		head.KeptSince[tenant] = day.String()
	}
	text, err := json.Marshal(head)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	// An object whose last member is the array of rows: broken off, it is no JSON.
	f.write = func(ctx context.Context, w io.Writer, rows queries.Rows) error {
		if _, err := w.Write(append(text[:len(text)-1], `,"rows":`...)); err != nil {
			return err
		}
		if err := render.JSON(ctx, w, rows); err != nil {
			return err
		}
		_, err := w.Write([]byte("}\n"))
		return err
	}
	f.name, f.file = "changes.json", "answer.changes.json"
	return s.deliver(ctx, c, f, b.Result, place{})
}
