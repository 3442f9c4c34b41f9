package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/render"
)

// format is a form that an answer can have.
type format struct {
	name, contentType string
	write             render.Format
	file              string // the name of what is taken away
}

// formats are in the order in which they are preferred.
var formats = []format{
	{"json", "application/json", render.JSON, "answer.json"},
	{"csv", "text/csv", render.CSV, "answer.csv"},
	{"arrow", "application/vnd.apache.arrow.stream", render.Arrow, "answer.arrow"},
	{"parquet", "application/vnd.apache.parquet", render.Parquet, "answer.parquet"},
}

// queryBody is what POST /v1/query takes.
type queryBody struct {
	SQL      string  `json:"sql" doc:"A SELECT over tables and views."`
	Format   string  `json:"format,omitempty" enum:"json,csv,arrow,parquet" doc:"The answer's format; stands above Accept."`
	Timeout  float64 `json:"timeout,omitempty" min:"0" max:"86400" doc:"Seconds that the statement may take until it has an answer; 0 for the server's bound, which it tightens, as the grant's does."`
	PageRows int64   `json:"page_rows,omitempty" min:"0" doc:"Rows of the first answer; the others are fetched by page. 0 for no pages."`
	Async    bool    `json:"async,omitempty" doc:"Answers at once with where the answer will be."`
}

// ask is what is asked of POST /v1/query, complete and sound.
type ask struct {
	queryBody
	format format
	key    string // the Idempotency-Key, empty for none
	print  fingerprint
}

func (s *Server) query(c *call) error {
	a, err := s.readAsk(c)
	if err != nil {
		return err
	}
	if a.Async || a.PageRows > 0 || a.key != "" {
		return s.keep(c, a)
	}
	q, ctx := s.question(c, a, c.r.Context())
	defer q.cancel(nil)
	end, err := s.limits.begin(c.caller.Principal, s.cfg.Now())
	if err != nil {
		return err
	}
	defer end()
	if _, _, err := s.questions.begin(q, a.print); err != nil {
		return err
	}
	defer s.questions.end(q, nil)
	s.metrics.running.Inc()
	defer s.metrics.running.Dec()
	// What the client's going away must end is what the engine does for it.
	result, err := s.run(ctx, c.caller, a)
	if err != nil {
		return err
	}
	q.answered(result, nil)
	return s.deliver(ctx, c, a.format, result, place{})
}

// errOwnTimeout is no fault of the server's: the caller gave the statement less time than it takes.
var errOwnTimeout error = problemOf(kindOwnTimeout, "the statement has no answer within the timeout that you gave it: give it more, or ask for less")

// run asks the gateway, within the time that the caller gives.
func (s *Server) run(ctx context.Context, caller grants.Caller, a ask) (*queries.Result, error) {
	if a.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(a.Timeout*float64(time.Second)), errOwnTimeout)
		defer cancel()
	}
	result, err := s.deps.Gateway.Query(ctx, caller, a.SQL)
	if err != nil && context.Cause(ctx) == errOwnTimeout {
		return nil, errOwnTimeout
	}
	return result, err
}

// deliver writes the result and closes it, or breaks the answer off.
func (s *Server) deliver(ctx context.Context, c *call, f format, result *queries.Result, at place) error {
	defer func() { _ = result.Close() }() // for a panic: it was closed otherwise
	out := newStream(c.w, s.cfg.WriteTimeout)
	err := s.answer(ctx, c, out, f, result, at)
	s.metrics.rows.Add(float64(result.Count()))
	if err == nil {
		return nil
	}
	if !out.started {
		return gone(ctx, err)
	}
	if ctx.Err() == nil && toProblem(err).kind == kindInternal {
		s.cfg.Log.ErrorContext(ctx, "an answer broke off", "request", c.caller.Request, "error", err)
	}
	s.metrics.refused("broken_off")
	panic(http.ErrAbortHandler) // the stream breaks off, and the client sees it
}

// gone names why the context ended, if that is why there is an error.
func gone(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}

// answer writes the result and closes it. An error after out was started means that the answer
// is not whole, and does not say so by itself.
func (s *Server) answer(ctx context.Context, c *call, out *stream, f format, result *queries.Result, at place) error {
	h := c.w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Vary", "Accept")
	about := stateOf(result)
	about.headers(h)
	at.headers(h)
	if f.name == "json" {
		return answerJSON(ctx, c, out, about, at, result)
	}
	h.Set("Content-Disposition", `attachment; filename="`+f.file+`"`)
	out.trailer = trailerRows
	if err := errors.Join(f.write(ctx, out, result), result.Close()); err != nil {
		return err
	}
	return out.end(strconv.FormatInt(result.Count(), 10))
}

// columnHead is a column of an answer: its name and its Arrow type.
type columnHead struct {
	Name string `json:"name" doc:"The column's name."`
	Type string `json:"type" doc:"Its Arrow type."`
}

func columnHeads(r *queries.Result) []columnHead {
	out := []columnHead{}
	for _, c := range r.Columns() {
		out = append(out, columnHead{c.Name, c.Type.String()})
	}
	return out
}

// rowsEnd is how the rows of an answer ended.
type rowsEnd struct {
	Rows  *int64   `json:"rows,omitempty" doc:"How many rows there were, if all are there."`
	Error *problem `json:"error,omitempty" doc:"Why the rows are not all there."`
}

// answerJSON writes an object that ends in how the rows ended.
func answerJSON(ctx context.Context, c *call, out *stream, about state, at place, result *queries.Result) error {
	head := struct {
		Request string `json:"request"`
		place
		state
		Columns []columnHead `json:"columns"`
	}{c.caller.Request, at, about, columnHeads(result)}
	text, err := json.Marshal(head)
	if err != nil {
		return errors.Join(err, result.Close())
	}
	if _, err := out.Write(append(text[:len(text)-1], `,"rows":`...)); err != nil {
		return errors.Join(err, result.Close())
	}
	rows := &whole{Result: result}
	if err := render.JSON(ctx, out, rows); err != nil {
		return errors.Join(err, result.Close()) // the array may be open
	}
	failed := rows.err
	if err := result.Close(); failed == nil {
		failed = err
	}
	if failed != nil && !out.started {
		return failed
	}
	var end rowsEnd
	if n := result.Count(); failed == nil {
		end.Rows = &n
	} else {
		end.Error = toProblem(failed)
		end.Error.Request = c.caller.Request
	}
	text, err = json.Marshal(end)
	if err != nil {
		return err
	}
	if _, err := out.Write(append(append([]byte(`,"end":`), text...), "}\n"...)); err != nil {
		return err
	}
	return out.end("")
}

// whole are rows that seem to end where they fail, so that what is around them stays JSON.
type whole struct {
	*queries.Result
	err error
}

// Next implements queries.Rows.
func (w *whole) Next(row []any) error {
	err := w.Result.Next(row)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	w.err = err
	return io.EOF
}

// state is what is told of the state in which the tables were read.
type state struct {
	AsOf      *time.Time `json:"as_of,omitempty" doc:"The event time up to which the answer goes."`
	Partial   bool       `json:"partial,omitempty" doc:"Whether not all of what is not committed yet could be had."`
	Destroyed int64      `json:"destroyed_rows,omitempty" doc:"Rows that are not in the answer because their keys were destroyed."`
}

func stateOf(r *queries.Result) state {
	var s state
	if at, ok := r.AsOf(); ok {
		at = at.UTC().Truncate(time.Millisecond)
		s.AsOf = &at
	}
	for _, one := range r.Snapshots() {
		s.Partial = s.Partial || one.IsPartial || len(one.Lacking) > 0 || one.TailError != nil || one.Unanswered != nil
		for _, n := range one.Destroyed {
			s.Destroyed += n
		}
	}
	return s
}

func (s state) headers(h http.Header) {
	if s.AsOf != nil {
		h.Set("Cardlake-As-Of", s.AsOf.Format(time.RFC3339Nano))
	}
	if s.Partial {
		h.Set("Cardlake-Partial", "yes")
	}
	if s.Destroyed > 0 {
		h.Set("Cardlake-Destroyed-Rows", strconv.FormatInt(s.Destroyed, 10))
	}
}

// read decodes a JSON body of at most max bytes.
func (c *call) read(into any, most int64) error {
	_, err := c.readBody(into, most)
	return err
}

// readBody is read, and returns the body as it came.
func (c *call) readBody(into any, most int64) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		// What a page of another origin can send without asking has other types.
		return nil, problemOf(kindType, "the body is application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, most))
	if errors.As(err, new(*http.MaxBytesError)) {
		return nil, problemOf(kindTooLarge, "the body has more than %d bytes", most)
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err = d.Decode(into); err == nil {
			if _, err = d.Token(); errors.Is(err, io.EOF) {
				return body, nil
			}
		}
	}
	// The decoder's error may quote the body.
	return nil, problemOf(kindRequest, `the body is not an object {"sql": "…"}`)
}

// formatOf finds the format of an answer by its name, or by what the client accepts (RFC 9110
// section 12.5.1).
func formatOf(name string, accept []string) (format, error) {
	if name != "" {
		for _, f := range formats {
			if f.name == name {
				return f, nil
			}
		}
		return format{}, problemOf(kindAccept, "the formats are json, csv, arrow and parquet")
	}
	ranges := strings.Join(accept, ",")
	if strings.TrimSpace(ranges) == "" {
		return formats[0], nil
	}
	var best format
	bestQ := 0.0
	for _, f := range formats {
		if q := quality(f.contentType, ranges); q > bestQ {
			best, bestQ = f, q
		}
	}
	if bestQ == 0 {
		return format{}, problemOf(kindAccept, "an answer is application/json, text/csv, application/vnd.apache.arrow.stream or application/vnd.apache.parquet")
	}
	return best, nil
}

// quality is what the most specific of the ranges gives a type.
func quality(contentType, ranges string) float64 {
	kind, _, _ := strings.Cut(contentType, "/")
	q, specific := 0.0, 0
	for one := range strings.SplitSeq(ranges, ",") {
		media, parameters, err := mime.ParseMediaType(one)
		if err != nil {
			continue
		}
		s := 0
		switch media {
		case contentType:
			s = 3
		case kind + "/*":
			s = 2
		case "*/*":
			s = 1
		}
		if s > specific {
			specific, q = s, 1
			if text, ok := parameters["q"]; ok {
				if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
					q = 0
				}
			}
		}
	}
	return q
}
