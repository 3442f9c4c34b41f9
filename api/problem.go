package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cardlake/cardlake/queries"
)

// kind names a problem: the end of its type.
type kind string

// The kinds of problem, and their status.
const (
	kindSignedOut    kind = "not-signed-in"       // 401
	kindSignIn       kind = "sign-in-unavailable" // 503: nobody can sign in at the moment
	kindNotPermitted kind = "not-permitted"       // 403
	kindHost         kind = "wrong-host"          // 421
	kindRoute        kind = "no-such-resource"    // 404
	kindMethod       kind = "no-such-method"      // 405
	kindRequest      kind = "invalid-request"     // 400
	kindType         kind = "content-type"        // 415
	kindAccept       kind = "not-acceptable"      // 406
	kindTooLarge     kind = "too-large"           // 413
	kindTable        kind = "no-such-table"       // 404
	kindQuery        kind = "no-such-query"       // 404
	kindPage         kind = "no-such-page"        // 404
	kindNotReady     kind = "not-ready"           // 409: the page is not read yet
	kindCancelled    kind = "cancelled"           // 409: who asked cancelled it
	kindExpired      kind = "expired"             // 410: the rows are not kept any more
	kindKeyInUse     kind = "key-in-use"          // 409: the first request with the key has no answer yet
	kindKeyReused    kind = "key-reused"          // 422: the key was used for another request
	kindKeptTooLarge kind = "answer-too-large"    // 422: to be kept
	kindState        kind = "wrong-state"         // 409: of a product or subscription, for what is asked
	kindRange        kind = "range"               // 416: the file has no such bytes
	kindFull         kind = "full"                // 409: as many are kept as may be
	kindStatement    kind = "statement"           // 422: a fault of the statement
	kindOwnTimeout   kind = "out-of-time"         // 422: within the caller's own timeout
	kindRows         kind = "too-many-rows"       // 422
	kindTimeout      kind = "timeout"             // 504: the statement ran too long
	kindLimit        kind = "too-many-requests"   // 429
	kindBusy         kind = "busy"                // 503
	kindAudit        kind = "audit-unavailable"   // 503: nothing is answered that is not recorded
	kindInternal     kind = "internal"            // 500
)

var statusOf = map[kind]int{
	kindSignedOut: 401, kindSignIn: 503, kindNotPermitted: 403, kindHost: 421, kindRoute: 404, kindMethod: 405,
	kindQuery: 404, kindPage: 404, kindNotReady: 409, kindCancelled: 409, kindExpired: 410, kindKeyInUse: 409, kindKeyReused: 422, kindKeptTooLarge: 422, kindState: 409, kindFull: 409, kindRange: 416,
	kindRequest: 400, kindType: 415, kindAccept: 406, kindTooLarge: 413, kindTable: 404, kindStatement: 422, kindRows: 422, kindOwnTimeout: 422,
	kindTimeout: 504, kindLimit: 429, kindBusy: 503, kindAudit: 503, kindInternal: 500,
}

// problem is RFC 9457's "application/problem+json". It is an error, so that a route returns it.
type problem struct {
	Type    string `json:"type" doc:"What kind of problem it is: urn:cardlake:api: and one of a fixed list."`
	Title   string `json:"title" doc:"The status in words."`
	Status  int    `json:"status" doc:"The status of the answer."`
	Detail  string `json:"detail" doc:"What is wrong, and what to do. It tells no content of a field."`
	Request string `json:"request" doc:"The id of the call, to tell the operator."`
	Hint    string `json:"hint,omitempty" doc:"Of a fault of a statement: what to do."`
	Offset  *int   `json:"offset,omitempty" doc:"Of a fault of a statement: the byte at which it lies, from 0."`

	kind  kind
	after time.Duration // when to try again, if not zero
}

// Error implements error.
func (p *problem) Error() string { return string(p.kind) + ": " + p.Detail }

func problemOf(k kind, format string, args ...any) *problem {
	return &problem{Type: "urn:cardlake:api:" + string(k), Title: http.StatusText(statusOf[k]), Status: statusOf[k], Detail: fmt.Sprintf(format, args...), kind: k}
}

// toProblem says what the caller is told of an error: the rule, never a value.
func toProblem(err error) *problem {
	var p *problem
	var fault *queries.Error
	switch {
	case errors.As(err, &p):
		one := *p // which several calls may be told, each with its own id
		p = &one
	case errors.As(err, &fault):
		p = problemOf(kindStatement, "%s", fault.Message)
		p.Hint = fault.Hint
		if fault.Offset >= 0 {
			p.Offset = &fault.Offset
		}
	case errors.Is(err, queries.ErrNotPermitted):
		p = problemOf(kindNotPermitted, "not permitted")
	case errors.Is(err, queries.ErrUnrecorded):
		p = problemOf(kindAudit, "nothing is answered that is not recorded, and the audit log can't be written: ask the operator")
		p.after = 10 * time.Second
	case errors.Is(err, queries.ErrTooManyRows):
		p = problemOf(kindRows, "the answer has too many rows: add a LIMIT or an aggregate")
	case errors.Is(err, queries.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		p = problemOf(kindTimeout, "the statement ran too long")
	default:
		p = problemOf(kindInternal, "the server could not answer: tell the operator the request's id")
	}
	return p
}

// answerError answers a call that nothing was written to yet.
func (s *Server) answerError(c *call, route string, err error) {
	p := toProblem(err)
	if c.r.Context().Err() != nil {
		s.metrics.refused("gone")
		panic(http.ErrAbortHandler) // nobody listens
	}
	if p.kind == kindInternal {
		s.cfg.Log.ErrorContext(c.r.Context(), "a call failed", "route", route, "request", c.caller.Request, "error", err)
	}
	s.fail(c.w, route, p)
}

// fail answers with a problem.
func (s *Server) fail(w http.ResponseWriter, route string, p *problem) {
	s.metrics.refused(string(p.kind))
	h := w.Header()
	p.Request = h.Get(headerRequest)
	h.Del("ETag") // of what was not answered
	h.Set("Cache-Control", "no-store")
	if p.after > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds(p.after)))
	}
	if route == "other" {
		s.metrics.done(route, p.Status, 0)
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // of our own types
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that has gone needs no answer
}
