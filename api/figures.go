package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/render"
)

const (
	// actionFigures is on record for the list of figures, and actionFigureSame for a figure that
	// the client has already; a figure that is read is on record as the statement that it is.
	actionFigures    = "figures"
	actionFigureSame = "figure.unchanged"
	// maxFigureRows bounds the rows of a figure, which are in memory at once.
	maxFigureRows = 50_000
)

// figureRoutes are those of the dashboard's figures.
func (s *Server) figureRoutes() []route {
	tag := header{"ETag", "of the answer: weak, and good for the caller alone"}
	same := answer{status: 304, doc: "The client has it."}
	since := inHeader("If-None-Match", "entity tags that the client has", anyText())
	answers := formatAnswers("The figure.", figureAnswer{}, append([]header{tag}, stateHeaders...)...)
	answers[0].example = `{"figure": "approval-parts", "sql": "SELECT …", "tenant": "colibri-bank", "from": "2026-03-01", "to": "2026-03-08", "as_of": "2026-03-08T12:30:00Z",
		"state": {"partial": false, "destroyed_rows": 0}, "columns": [{"name": "outcome", "type": "text"}, {"name": "requests", "type": "int"}, {"name": "share", "type": "double"}],
		"rows": [["approved", 40575, 0.86], ["cardholder", 5640, 0.12]]}`
	return s.group("figures", true, nil,
		route{method: "GET", path: "/v1/figures", name: "figures", doc: "Lists the figures, with their parameters.",
			answers: []answer{{status: 200, doc: "The figures.", body: figuresAnswer{}}}, do: s.listFigures},
		route{method: "GET", path: "/v1/figures/{name}", name: "figure", doc: "Gives a figure of the newest snapshot, with the SQL behind it.", isFigure: true,
			more: "Rows beyond the page that has them are where `next` is, as the parameter cursor. Texts in CSV that a spreadsheet would take for a formula have an apostrophe before them. " +
				"A call waits up to ten seconds for its place among the caller's statements, and has a rate limit of its own.",
			params: []param{
				needed(param{name: "name", in: "path", doc: "the figure", schema: s.figureNames()}),
				inQuery("tenant", "whose figure; not needed by who may read one tenant only, nor of figures of the whole lake", known[tenantType]),
				inQuery("from", "the first UTC day", dayOf()), inQuery("to", "the first UTC day that is not in it any more, at most 400 days later", dayOf()),
				inQuery("format", "the answer's format; stands above Accept", choiceOf("json", "csv", "arrow", "parquet")),
				inQuery("arguments", "the figure's own parameters, as GET /v1/figures lists them", s.figureParams()),
				since,
			},
			answers:  append(answers, same),
			problems: []kind{kindNotPermitted, kindStatement, kindRows, kindTimeout, kindBusy, kindAccept}, do: s.figure},
	)
}

// figureNames are those that there are.
func (s *Server) figureNames() schema {
	var out []string
	for _, f := range s.deps.Figures {
		out = append(out, f.Name)
	}
	return choiceOf(out...)
}

// figureParams are the parameters of all figures.
func (s *Server) figureParams() schema {
	properties := map[string]schema{}
	for _, f := range s.deps.Figures {
		for _, p := range f.Params {
			properties[p.Name] = textOf(2048)
		}
	}
	return schema{"type": "object", "properties": properties, "additionalProperties": false}
}

// figuresAnswer are the figures.
type figuresAnswer struct {
	Figures []figureHead `json:"figures" doc:"The figures, in the order of the pages."`
}

// figureHead is what there is to know of a figure before it is asked for.
type figureHead struct {
	Name   string        `json:"name" doc:"The figure's name."`
	Page   string        `json:"page" doc:"The page that it is for."`
	Doc    string        `json:"doc" doc:"What its rows say."`
	Range  string        `json:"range" enum:"none,required,optional" doc:"Whether it takes from and to."`
	Scope  string        `json:"scope" enum:"tenant,any,lake" doc:"Whose rows it is about: one tenant's, those of one or of all that the caller may read, or the lake's."`
	Params []figureParam `json:"params" doc:"Its parameters, beside tenant, from, to and format."`
}

// figureParam is a parameter of a figure.
type figureParam struct {
	Name     string   `json:"name" doc:"The parameter's name."`
	Type     string   `json:"type" doc:"What its values are: text, int, decimal, instant, choice, flag, country, currency, mcc, and others."`
	Doc      string   `json:"doc" doc:"What it is."`
	Required bool     `json:"required" doc:"Whether it must be given."`
	Default  string   `json:"default,omitempty" doc:"Its value if none is given."`
	Values   []string `json:"values,omitempty" doc:"The values of a choice."`
	Min      *int64   `json:"min,omitempty" doc:"The least value of a whole number."`
	Max      *int64   `json:"max,omitempty" doc:"The greatest value of a whole number."`
}

func (s *Server) listFigures(c *call) error {
	if err := s.record(c, actionFigures, "figures", nil); err != nil {
		return err
	}
	answer := figuresAnswer{[]figureHead{}}
	for _, f := range s.deps.Figures {
		one := figureHead{f.Name, f.Page, f.Doc, cmp.Or(string(f.Range), string(figures.NoRange)), cmp.Or(string(f.Scope), string(figures.OfTenant)), []figureParam{}}
		for _, p := range f.Params {
			of := figureParam{Name: p.Name, Type: string(p.Type), Doc: p.Doc, Required: p.Required, Default: p.Default, Values: p.Values}
			if p.Type == figures.Int {
				of.Min, of.Max = &p.Min, &p.Max
			}
			one.Params = append(one.Params, of)
		}
		answer.Figures = append(answer.Figures, one)
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// asked is a figure with all that it is asked with.
type asked struct {
	figures.Figure
	args   figures.Args
	sql    string
	format format
}

// figureAnswer is a figure.
type figureAnswer struct {
	Figure  string          `json:"figure" doc:"The figure's name."`
	SQL     string          `json:"sql" doc:"The statement behind it, which POST /v1/query takes."`
	Tenant  cardlake.Tenant `json:"tenant,omitempty" doc:"Whose figure; not there if it is of all that the caller may read."`
	From    string          `json:"from,omitempty" doc:"The first UTC day, as 2026-03-01."`
	To      string          `json:"to,omitempty" doc:"The first UTC day that is not in it any more."`
	AsOf    *time.Time      `json:"as_of" doc:"An instant by which the lake had what was read; null if nothing was committed yet."`
	State   figureState     `json:"state" doc:"How whole it is."`
	Columns []figureColumn  `json:"columns" doc:"The columns."`
	Rows    [][]any         `json:"rows" doc:"The rows, as values in the order of the columns."`
	Next    string          `json:"next,omitempty" doc:"The cursor of the next page; not there on the last."`
}

// figureState is how whole a figure is.
type figureState struct {
	Partial   bool  `json:"partial" doc:"Whether a part of the rows could not be read."`
	Destroyed int64 `json:"destroyed_rows" doc:"Rows that are not in it because their keys were destroyed."`
}

// figureColumn is a column of a figure.
type figureColumn struct {
	Name string `json:"name" doc:"The column's name."`
	Type string `json:"type" enum:"text,int,double,decimal,instant,date,bool" doc:"Its type. Decimals are strings, so that no digit is lost; instants are RFC 3339 in UTC."`
}

func (s *Server) figure(c *call) error {
	a, err := s.readFigure(c)
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	if lists := c.r.Header.Values("If-None-Match"); len(lists) > 0 {
		if tag := s.tagBefore(ctx, c, a); tag != "" && matches(lists, tag) {
			if err := s.record(c, actionFigureSame, strings.TrimSpace("figure "+a.Name+" "+string(a.args.Tenant)), nil); err != nil {
				return err
			}
			c.w.Header().Set("ETag", tag)
			c.w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	end, err := s.limits.await(ctx, c.caller.Principal, s.cfg.Now)
	if err != nil {
		return err
	}
	defer end()
	s.metrics.running.Inc()
	defer s.metrics.running.Dec()
	result, err := s.deps.Gateway.QueryAt(ctx, c.caller, queries.At{Tenant: a.args.Tenant}, a.sql)
	if err != nil {
		return gone(ctx, err)
	}
	defer func() { _ = result.Close() }() // for a panic: it was closed otherwise
	snapshots := map[*cardlake.Table]int64{}
	for _, one := range result.Snapshots() {
		snapshots[one.Table] = one.ID
	}
	h := c.w.Header()
	h.Set("ETag", s.tagOf(c, a, snapshots))
	if !slices.ContainsFunc(result.Columns(), isPersonal) && !a.isPersonal() {
		h.Set("Cache-Control", "private, no-cache")
	}
	if a.format.name == "json" {
		return s.writeFigure(ctx, c, a, result)
	}
	return s.deliver(ctx, c, a.format, result, place{})
}

// isPersonal reports whether a column is of one card or customer: such answers are kept nowhere.
func isPersonal(c queries.Column) bool {
	return slices.Contains([]string{"card_token", "customer_id", "bin", "last4"}, c.Name)
}

// isPersonal reports whether what is asked names a card, a customer or a purchase: the address, and
// the statement in the answer, then do so too.
func (a asked) isPersonal() bool {
	return slices.ContainsFunc([]string{"card", "customer", "purchase", "bin", "last4"}, func(name string) bool { return a.args.Values[name] != "" })
}

// readFigure reads what is asked. Every fault is of a parameter, which is named.
func (s *Server) readFigure(c *call) (a asked, err error) {
	i := slices.IndexFunc(s.deps.Figures, func(f figures.Figure) bool { return f.Name == c.r.PathValue("name") })
	if i < 0 {
		return a, problemOf(kindRoute, "there is no such figure: GET /v1/figures lists them")
	}
	a.Figure = s.deps.Figures[i]
	names := []string{"tenant", "from", "to", "format"}
	for _, p := range a.Params {
		names = append(names, p.Name)
	}
	values, err := c.values(names...)
	if err != nil {
		return a, err
	}
	if a.format, err = formatOf(values["format"], c.r.Header.Values("Accept")); err != nil {
		return a, err
	}
	if a.format.name == "csv" {
		a.format.write = func(ctx context.Context, w io.Writer, rows queries.Rows) error {
			return render.CSV(ctx, w, unformula{rows})
		}
	}
	a.args = figures.Args{Tenant: cardlake.Tenant(values["tenant"]), Values: values}
	for i, into := range []*time.Time{&a.args.From, &a.args.To} {
		name := []string{"from", "to"}[i]
		if values[name] == "" {
			continue
		}
		if *into, err = time.Parse(time.DateOnly, values[name]); err != nil {
			return a, problemOf(kindRequest, "%s must be a day, like 2026-03-01", name)
		}
	}
	for _, name := range names[:4] {
		delete(values, name)
	}
	if a.args.Tenant == "" && a.Scope != figures.OfAnyone && a.Scope != figures.OfLake {
		if a.args.Tenant, err = s.onlyTenant(c.caller); err != nil {
			return a, err
		}
	}
	a.format.file = fileName(a)
	a.sql, err = a.For(a.args)
	var fault *figures.ArgError
	if errors.As(err, &fault) {
		return a, problemOf(kindRequest, "%s", fault)
	}
	return a, err
}

// fileName is of what is taken away.
func fileName(a asked) string {
	parts := []string{a.Name}
	if a.args.Tenant.Validate() == nil {
		parts = append(parts, string(a.args.Tenant))
	}
	for _, day := range []time.Time{a.args.From, a.args.To} {
		if !day.IsZero() {
			parts = append(parts, day.Format(time.DateOnly))
		}
	}
	return strings.Join(parts, "_") + "." + a.format.name
}

// onlyTenant is the one tenant of a caller who has one.
func (s *Server) onlyTenant(c grants.Caller) (cardlake.Tenant, error) {
	if all := s.readable(c); len(all) == 1 {
		return all[0].Name, nil
	}
	return "", problemOf(kindRequest, "tenant is missing: GET /v1/me lists those that you may read")
}

// tagBefore is the tag that the answer would have, and "" if that can't be told without asking.
func (s *Server) tagBefore(ctx context.Context, c *call, a asked) string {
	caller, err := narrowed(c.caller, a.args.Tenant)
	if err != nil {
		return ""
	}
	statement, err := s.deps.Gateway.Check(ctx, a.sql)
	if err != nil {
		return ""
	}
	snapshots := map[*cardlake.Table]int64{}
	for _, read := range statement.Reads {
		if _, ok := snapshots[read.Table]; ok {
			continue
		}
		newest, err := s.deps.Gateway.SnapshotOf(ctx, caller, read.Table.FullName())
		if err != nil {
			return ""
		}
		snapshots[read.Table] = newest.ID
	}
	return s.tagOf(c, a, snapshots)
}

// tagOf is of who asks for what, what of it is given, and the snapshots that it is read in. Rows
// whose keys were destroyed vanish without a snapshot: for that a tag is good for an hour.
func (s *Server) tagOf(c *call, a asked, snapshots map[*cardlake.Table]int64) string {
	caller := c.caller
	if a.args.Tenant != "" {
		caller.Tenant = a.args.Tenant
	}
	var tables []string
	for t, id := range snapshots {
		d := s.deps.Permits.Decide(caller, grants.Query, t)
		tables = append(tables, fmt.Sprintf("%s %d %v %v", t.FullName(), id, d.Scopes, d.Except))
	}
	slices.Sort(tables)
	text, _ := json.Marshal([]any{ // strings, a number, and booleans
		a.Name, a.format.name, a.sql, c.caller.Principal.String(), c.caller.MFA, c.caller.BreakGlass, c.caller.Tenant, tables, s.cfg.Now().Unix() / 3600,
	})
	sum := sha256.Sum256(text)
	return `W/"` + hex.EncodeToString(sum[:12]) + `"`
}

// writeFigure writes the rows as JSON once all are there, and closes the result.
func (s *Server) writeFigure(ctx context.Context, c *call, a asked, result *queries.Result) error {
	columns := result.Columns()
	answer := figureAnswer{Figure: a.Name, SQL: a.sql, Tenant: a.args.Tenant, Rows: [][]any{}, Columns: []figureColumn{}}
	if !a.args.From.IsZero() {
		answer.From, answer.To = a.args.From.Format(time.DateOnly), a.args.To.Format(time.DateOnly)
	}
	for _, col := range columns {
		answer.Columns = append(answer.Columns, figureColumn{col.Name, figureType(col.Type)})
	}
	row := make([]any, len(columns))
	last := row[:0]
	err := func() error {
		for {
			switch err := result.Next(row); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			case len(answer.Rows) == maxFigureRows:
				return queries.ErrTooManyRows
			}
			last = append(last[:0:0], row...)
			cells := make([]any, len(row))
			for i, v := range row {
				cells[i] = figureCell(columns[i].Type, v)
			}
			answer.Rows = append(answer.Rows, cells)
		}
	}()
	s.metrics.rows.Add(float64(len(answer.Rows)))
	if err := errors.Join(err, result.Close()); err != nil {
		return gone(ctx, err)
	}
	about := stateOf(result)
	about.headers(c.w.Header())
	c.w.Header().Set("Vary", "Accept")
	answer.AsOf, answer.State = about.AsOf, figureState{about.Partial, about.Destroyed}
	answer.Next = a.Next(a.args, columns, last, len(answer.Rows))
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// figureType is what a column's values are.
func figureType(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		if t.Scale > 0 {
			return "decimal"
		}
		return "int"
	case *arrow.Date32Type:
		return "date"
	case *arrow.TimestampType:
		return "instant"
	case *arrow.BooleanType:
		return "bool"
	case *arrow.Float32Type, *arrow.Float64Type:
		return "double"
	}
	if arrow.IsInteger(t.ID()) {
		return "int"
	}
	return "text"
}

// figureCell is a value as JSON has it. What is no number in JSON is null.
func figureCell(t arrow.DataType, v any) any {
	switch v := v.(type) {
	case decimal128.Num:
		text := v.ToString(t.(*arrow.Decimal128Type).Scale)
		if figureType(t) == "int" {
			return json.Number(text)
		}
		return text
	case time.Time:
		if t.ID() == arrow.DATE32 {
			return v.Format(time.DateOnly)
		}
		return v.UTC().Format(time.RFC3339Nano)
	case float32:
		return figureCell(t, float64(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	}
	return v
}

// unformula are rows whose texts no spreadsheet takes for a formula: those that begin as one have
// an apostrophe before them (OWASP, "CSV Injection").
type unformula struct{ queries.Rows }

// Next implements queries.Rows.
func (u unformula) Next(row []any) error {
	err := u.Rows.Next(row)
	for i, v := range row {
		if text, ok := v.(string); ok && text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
			row[i] = "'" + text
		}
	}
	return err
}
