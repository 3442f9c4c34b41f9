package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/queries"
)

// Actions of this door in the audit log, besides the gateway's.
const (
	actionTables = "tables"
	actionTable  = "table"
	actionMe     = "me"
)

// tableAnswer is a table in GET /v1/tables. Its counts are of what the caller may read.
type tableAnswer struct {
	Name  string     `json:"name"`
	About string     `json:"about"`
	Rows  int64      `json:"rows"`
	Files int64      `json:"files"`
	Bytes int64      `json:"bytes"`
	AsOf  *time.Time `json:"as_of,omitempty"`
}

func (s *Server) tables(c *call) error {
	list, err := s.deps.Gateway.Tables(c.r.Context(), c.caller)
	if err := s.record(c, actionTables, "tables", err); err != nil {
		return err
	}
	answer := struct {
		Tables []tableAnswer `json:"tables"`
	}{[]tableAnswer{}}
	for _, t := range list {
		a := tableAnswer{Name: t.Table.FullName(), About: t.Table.Doc, Rows: t.Snapshot.Rows, Files: t.Snapshot.Files, Bytes: t.Snapshot.Bytes}
		if at := t.Snapshot.AsOf(); !at.IsZero() {
			at = at.UTC().Truncate(time.Millisecond)
			a.AsOf = &at
		}
		answer.Tables = append(answer.Tables, a)
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// columnAnswer is a column in GET /v1/tables/{name}.
type columnAnswer struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
	Tag      string `json:"tag"`
	About    string `json:"about"`
	// Access is the most that the caller is given of it: clear or masked.
	Access string `json:"access"`
}

func (s *Server) table(c *call) error {
	name := c.r.PathValue("name")
	info, err := s.deps.Gateway.Describe(c.r.Context(), c.caller, name)
	resource := "a table"
	if info.Table != nil {
		resource = info.Table.FullName()
	}
	if err := s.record(c, actionTable, resource, err); err != nil {
		if fault := new(queries.Error); errors.As(err, &fault) {
			p := problemOf(kindTable, "there is no such table")
			p.Hint = fault.Hint
			return p
		}
		return err
	}
	answer := struct {
		Name    string         `json:"name"`
		About   string         `json:"about"`
		Columns []columnAnswer `json:"columns"`
	}{info.Table.FullName(), info.Table.Doc, []columnAnswer{}}
	for _, col := range info.Columns {
		answer.Columns = append(answer.Columns, columnAnswer{col.Name, col.Type.String(), col.Nullable, string(col.Tag), col.Doc, col.Access.String()})
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// record records that the call is answered, or that it was refused with the error, which it
// returns. Without the record there is no answer.
func (s *Server) record(c *call, action, resource string, err error) error {
	r := audit.Record{
		Actor: c.caller.Principal.String(), Action: action, Resource: resource, Outcome: audit.Allowed,
		Origin: c.caller.Origin, Reason: c.caller.Reason, Request: c.caller.Request,
	}
	if c.caller.BreakGlass {
		r.Detail = map[string]string{"break_glass": "yes"}
	}
	if err != nil {
		r.Outcome = audit.Refused
		if toProblem(err).Status >= 500 {
			r.Outcome = audit.Failed
		}
	}
	ctx := c.r.Context()
	if failed := s.deps.Recorder.Append(ctx, r); failed != nil {
		if ctx.Err() == nil {
			s.cfg.Log.ErrorContext(ctx, "refused, because the audit log can't be written", "action", action, "request", c.caller.Request, "error", failed)
		}
		return errors.Join(queries.ErrUnrecorded, failed)
	}
	return err
}
