package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake/api/spool"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// Actions of queries in the audit log, besides the gateway's.
const (
	actionQueries = "queries"
	actionState   = "query.state"
	actionCancel  = "query.cancel"
)

const (
	headerKey = "Idempotency-Key"
	// maxKey bounds an Idempotency-Key, in bytes.
	maxKey = 255
	// waitForPage is how long a call waits for a page that is not read yet.
	waitForPage = 10 * time.Second
)

// queryRoutes are those of statements and of their answers.
func (s *Server) queryRoutes() []route {
	id := inPath("id", "the query's id: the one of the call that asked")
	rows := formatAnswers("The rows.", rowsAnswer{}, stateHeaders...)
	later := answer{status: 202, doc: "It runs: its state is where Location says.", body: queryAnswer{},
		headers: []header{{"Location", "where its state is"}}}
	one := formatAnswers("The query's state; with page, a page of its rows.", nil)
	one[0].body = either{queryAnswer{}, rowsAnswer{}}
	return []route{
		{method: "POST", path: "/v1/query", name: "query", tag: "queries", doc: "Answers a SELECT: at once, by page or later.",
			more:   "JSON ends in `end`, which has either `rows`, their number, or `error`, the problem: an answer without it was cut on its way. Other formats break off, and whole ones have the trailer Cardlake-Rows.",
			params: []param{idempotent()}, body: queryBody{}, example: `{"sql": "SELECT tenant, count(*) AS purchases FROM cards.transactions GROUP BY tenant"}`,
			answers: append(rows, later),
			problems: []kind{kindStatement, kindNotPermitted, kindRows, kindTimeout, kindOwnTimeout, kindAccept, kindType, kindTooLarge, kindKeyInUse, kindKeyReused,
				kindKeptTooLarge, kindCancelled, kindExpired, kindBusy},
			do: s.query},
		{method: "GET", path: "/v1/queries", name: "queries", tag: "queries", doc: "Lists the caller's statements, those that run and those kept.",
			answers: []answer{{status: 200, doc: "The queries.", body: queriesAnswer{}}}, do: s.listQueries},
		{method: "GET", path: "/v1/queries/{id}", name: "query_state", tag: "queries", doc: "Tells how a statement is, or gives a page of its rows.",
			params: []param{id, inQuery("page", "the page, from 1; without it the answer is the state", intOf(1, 1<<31-1)),
				inQuery("format", "the page's format; stands above Accept", choiceOf("json", "csv", "arrow", "parquet"))},
			answers:  one,
			problems: []kind{kindQuery, kindPage, kindNotReady, kindCancelled, kindExpired, kindAccept, kindNotPermitted, kindStatement, kindRows, kindTimeout, kindOwnTimeout, kindKeptTooLarge},
			do:       s.queryState},
		{method: "DELETE", path: "/v1/queries/{id}", name: "query_cancel", tag: "queries", doc: "Cancels a statement, and lets its rows go.",
			params: []param{id}, answers: []answer{{status: 204, doc: "It is cancelled."}}, problems: []kind{kindQuery}, do: s.cancelQuery},
	}
}

// stateHeaders tell of the state in which tables were read, as [state.headers] writes them.
var stateHeaders = []header{
	{"Cardlake-As-Of", "the event time up to which the answer goes"},
	{"Cardlake-Partial", "yes: not all that is not committed yet could be had"},
	{"Cardlake-Destroyed-Rows", "rows that are not in the answer because their keys were destroyed"},
}

// formatAnswers are an answer in every format.
func formatAnswers(doc string, body any, headers ...header) []answer {
	var out []answer
	for _, f := range formats {
		out = append(out, answer{status: 200, contentType: f.contentType, doc: doc, headers: headers})
	}
	out[0].body = body
	return out
}

// idempotent is the key that makes a repeated request the same.
func idempotent() param {
	return inHeader(headerKey, "the same request of the same caller with the same key has the same answer (draft-ietf-httpapi-idempotency-key-header)",
		schema{"type": "string", "minLength": 1, "maxLength": maxKey, "pattern": "^[!-~]+$"})
}

// rowsAnswer is an answer to a query as it is described; it is written piece by piece.
type rowsAnswer struct {
	Request string `json:"request" doc:"The id of the call."`
	place
	state
	Columns []columnHead     `json:"columns" doc:"The columns."`
	Rows    []map[string]any `json:"rows" doc:"The rows, as objects of their columns."`
	End     rowsEnd          `json:"end" doc:"How the rows ended. An answer without it was cut on its way."`
}

// place is where a page lies in an answer that is kept; zero for an answer that is not.
type place struct {
	Query string `json:"query,omitempty" doc:"The id of the query whose rows are kept."`
	Page  int64  `json:"page,omitempty" doc:"The page, from 1."`
	Next  string `json:"next,omitempty" doc:"The path of the next page; not there on the last."`
}

func (p place) headers(h http.Header) {
	if p.Query != "" {
		h.Set("Cardlake-Query", p.Query)
	}
	if p.Next != "" {
		h.Set("Link", "<"+p.Next+`>; rel="next"`)
	}
}

func pathOf(id string) string { return "/v1/queries/" + id }

func pathOfPage(id string, page int64) string {
	return pathOf(id) + "?page=" + strconv.FormatInt(page, 10)
}

// readAsk reads what is asked of POST /v1/query.
func (s *Server) readAsk(c *call) (a ask, err error) {
	body, err := c.readBody(&a.queryBody, s.cfg.MaxBody)
	if err != nil {
		return a, err
	}
	if a.format, err = formatOf(a.Format, c.r.Header.Values("Accept")); err != nil {
		return a, err
	}
	switch {
	case !(a.Timeout >= 0 && a.Timeout <= float64(24*time.Hour/time.Second)):
		return a, problemOf(kindRequest, "timeout is a number of seconds, up to a day")
	case a.PageRows < 0 || a.PageRows > s.cfg.MaxPageRows:
		return a, problemOf(kindRequest, "page_rows is from 1 to %d; without it there are no pages", s.cfg.MaxPageRows)
	case a.Async && strings.TrimSpace(a.SQL) == "":
		return a, &queries.Error{Message: "the statement is empty", Offset: -1}
	case a.Async && a.PageRows == 0:
		a.PageRows = min(10_000, s.cfg.MaxPageRows)
	}
	if a.key, err = keyOf(c.r.Header.Values(headerKey)); err != nil {
		return a, err
	}
	a.print = sha256.Sum256(fmt.Appendf(nil, "%s\n%t\n%s\n%s", a.format.name, c.caller.BreakGlass, c.caller.Tenant, body))
	return a, nil
}

// keyOf reads an Idempotency-Key: a string of structured fields (RFC 9651 section 3.3.3), or as
// most clients send it, one without quotes.
func keyOf(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if inner, ok := strings.CutPrefix(key, `"`); ok {
		if key, ok = strings.CutSuffix(inner, `"`); !ok || strings.Contains(key, `"`) {
			key = ""
		}
	}
	if len(values) > 1 || key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		return "", problemOf(kindRequest, headerKey+" is one string of 1 to %d printable ASCII characters without spaces, such as a UUID", maxKey)
	}
	return key, nil
}

// question makes the question of a call, and the context that ends when it is cancelled.
func (s *Server) question(c *call, a ask, parent context.Context) (*question, context.Context) {
	ctx, cancel := context.WithCancelCause(parent)
	q := &question{id: c.caller.Request, owner: c.caller.Principal, caller: c.caller, asked: s.cfg.Now(), pageRows: a.PageRows, cancel: cancel}
	if a.key != "" {
		q.key = idempotencyKey{c.caller.Principal, a.key}
	}
	return q, ctx
}

// keep asks, keeps the rows, and answers with the first page, or where it will be.
func (s *Server) keep(c *call, a ask) error {
	asked, ctx := s.question(c, a, context.WithoutCancel(c.r.Context()))
	asked.isKept = true
	end, err := s.limits.begin(c.caller.Principal, s.cfg.Now())
	if err != nil {
		return err
	}
	q, isNew, err := s.questions.begin(asked, a.print)
	if !isNew {
		asked.cancel(nil)
		end()
	}
	if err != nil {
		return err
	}
	if isNew {
		go func() {
			defer end()
			err := s.fill(ctx, q, c.caller, a)
			q.cancel(nil)
			s.questions.end(q, err)
		}()
	}
	if a.Async {
		if err := s.record(c, actionState, q.id, nil); err != nil {
			return err
		}
		c.w.Header().Set("Location", pathOf(q.id))
		c.w.Header().Set("Retry-After", "1")
		writeJSON(c.w, http.StatusAccepted, "application/json", s.stateAnswer(q, q.snapshot()))
		return nil
	}
	if !isNew {
		if whole, _ := q.snapshot().isWhole(1, q.pageRows); !whole {
			p := problemOf(kindKeyInUse, "the first request with this Idempotency-Key has no answer yet: wait and ask again, or cancel it with DELETE %s", pathOf(q.id))
			p.after = time.Second
			return p
		}
		return s.page(c, q, 1, a.format)
	}
	q.waitFor(c.r.Context(), 1, 0)
	if c.r.Context().Err() != nil {
		if a.key == "" {
			s.questions.cancel(q) // nobody knows its id; with a key it will be asked for again
		}
		return c.r.Context().Err()
	}
	return s.page(c, q, 1, a.format)
}

// fill asks the gateway and keeps the rows.
func (s *Server) fill(ctx context.Context, q *question, caller grants.Caller, a ask) (err error) {
	s.metrics.running.Inc()
	defer s.metrics.running.Dec()
	defer func() {
		if v := recover(); v != nil {
			s.cfg.Log.Error("a statement panicked", "request", q.id, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			err = errPanic
		}
		err = gone(ctx, err)
		if err != nil && toProblem(err).kind == kindInternal {
			s.cfg.Log.Error("a statement failed", "request", q.id, "error", err)
		}
	}()
	result, err := s.run(ctx, caller, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	rows, err := spool.New(s.cfg.SpoolDir, result.Columns())
	if err != nil {
		return err
	}
	q.answered(result, rows)
	return rows.Fill(ctx, result, func(count, bytes int64) error { return s.questions.grew(q, count, bytes) })
}

// page answers with a page of the rows that are kept.
func (s *Server) page(c *call, q *question, page int64, f format) error {
	v := q.waitFor(c.r.Context(), page, waitForPage)
	whole, more := v.isWhole(page, q.pageRows)
	first := (page - 1) * q.pageRows
	switch {
	case v.state == stateFailed:
		return v.failure
	case v.state == stateCancelled:
		return errCancelled
	case v.state == stateExpired:
		return problemOf(kindExpired, "the rows of this query are not kept any more: ask again; rows are kept for %v, and give way to newer ones of yours", s.cfg.KeepFor)
	case !whole:
		p := problemOf(kindNotReady, "the page is not read yet: ask again; %s tells how far it is", pathOf(q.id))
		p.after = time.Second
		return p
	case page > 1 && (q.pageRows == 0 || first >= v.count):
		return problemOf(kindPage, "the answer has %d pages", pagesOf(v.count, q.pageRows))
	case v.result == nil:
		return errCancelled
	}
	last := v.count
	at := place{Query: q.id, Page: page}
	if q.pageRows > 0 {
		last = min(first+q.pageRows, v.count)
	}
	if more {
		at.Next = pathOfPage(q.id, page+1)
	}
	result, err := v.result.Again(c.r.Context(), c.caller, "page "+strconv.FormatInt(page, 10), v.rows.Read(first, last))
	if errors.Is(err, queries.ErrNotPermitted) && c.caller.BreakGlass == q.caller.BreakGlass && c.caller.MFA == q.caller.MFA {
		s.questions.cancel(q) // what is not permitted any more is not kept; whoever only asks otherwise asks again
	}
	if err != nil {
		return err
	}
	return s.deliver(c.r.Context(), c, f, result, at)
}

// pagesOf is how many pages so many rows have: an answer without rows has one.
func pagesOf(rows, pageRows int64) int64 {
	if rows == 0 || pageRows == 0 {
		return 1
	}
	return (rows + pageRows - 1) / pageRows
}

// queryAnswer is a query in GET /v1/queries and GET /v1/queries/{id}.
type queryAnswer struct {
	ID        string     `json:"id" doc:"The id of the call that asked."`
	State     string     `json:"state" enum:"running,done,failed,cancelled,expired" doc:"How it is."`
	Asked     time.Time  `json:"asked" doc:"When it was asked."`
	ElapsedMS int64      `json:"elapsed_ms" doc:"How long it has run, or ran, in milliseconds."`
	Rows      *int64     `json:"rows,omitempty" doc:"Rows that are kept so far; not there if none are kept."`
	PageRows  int64      `json:"page_rows,omitempty" doc:"Rows of a page."`
	Pages     int64      `json:"pages,omitempty" doc:"How many pages there are, when it is done."`
	Expires   *time.Time `json:"expires,omitempty" doc:"Until when the rows are kept."`
	First     string     `json:"first,omitempty" doc:"The path of the first page, once it can be had."`
	state
	Error *problem `json:"error,omitempty" doc:"Why it failed."`
}

func (s *Server) stateAnswer(q *question, v snapshot) queryAnswer {
	ended := v.ended
	if ended.IsZero() {
		ended = s.cfg.Now()
	}
	a := queryAnswer{ID: q.id, State: v.state, Asked: q.asked.UTC().Truncate(time.Millisecond), ElapsedMS: ended.Sub(q.asked).Milliseconds(), PageRows: q.pageRows, state: v.about}
	if q.isKept {
		a.Rows = &v.count
	}
	switch v.state {
	case stateDone:
		until := v.ended.Add(s.cfg.KeepFor).UTC().Truncate(time.Millisecond)
		a.Expires, a.First, a.Pages = &until, pathOfPage(q.id, 1), pagesOf(v.count, q.pageRows)
	case stateRunning:
		if whole, _ := v.isWhole(1, q.pageRows); whole && q.isKept {
			a.First = pathOfPage(q.id, 1)
		}
	case stateFailed:
		a.Error = toProblem(v.failure)
		a.Error.Request = q.id
	}
	return a
}

// queriesAnswer are the caller's queries.
type queriesAnswer struct {
	Queries []queryAnswer `json:"queries" doc:"The caller's statements, the newest first."`
}

func (s *Server) listQueries(c *call) error {
	if err := s.record(c, actionQueries, "own queries", nil); err != nil {
		return err
	}
	answer := queriesAnswer{[]queryAnswer{}}
	for _, q := range s.questions.list(c.caller) {
		answer.Queries = append(answer.Queries, s.stateAnswer(q, q.snapshot()))
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// queryState answers with the state of a query, or with a page of its rows.
func (s *Server) queryState(c *call) error {
	q, err := s.questions.find(c.caller, c.r.PathValue("id"))
	if err != nil {
		return s.record(c, actionState, "a query", err)
	}
	values := c.r.URL.Query()
	if !values.Has("page") {
		if err := s.record(c, actionState, q.id, nil); err != nil {
			return err
		}
		writeJSON(c.w, http.StatusOK, "application/json", s.stateAnswer(q, q.snapshot()))
		return nil
	}
	page, err := strconv.ParseInt(values.Get("page"), 10, 32)
	if err != nil || page < 1 {
		return problemOf(kindRequest, "page is a number from 1")
	}
	f, err := formatOf(values.Get("format"), c.r.Header.Values("Accept"))
	if err != nil {
		return err
	}
	if !q.isKept {
		return problemOf(kindPage, "the rows of this query are not kept: they are streamed to who asked; ask with page_rows for pages")
	}
	return s.page(c, q, page, f)
}

func (s *Server) cancelQuery(c *call) error {
	q, err := s.questions.find(c.caller, c.r.PathValue("id"))
	resource := "a query"
	if q != nil {
		resource = q.id
	}
	if err := s.record(c, actionCancel, resource, err); err != nil {
		return err
	}
	s.questions.cancel(q)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
