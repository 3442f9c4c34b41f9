package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/cardlake/cardlake/queries"
)

// Actions of this door in the audit log, besides the gateway's.
const (
	actionTables = "tables"
	actionTable  = "table"
	actionMe     = "me"
)

func (s *Server) tableRoutes() []route {
	return []route{
		{method: "GET", path: "/v1/tables", name: "tables", tag: "tables", doc: "Lists the tables and views that the caller may read.",
			answers: []answer{{status: 200, doc: "The tables and views.", body: tablesAnswer{}}}, problems: []kind{kindNotPermitted}, do: s.tables},
		{method: "GET", path: "/v1/tables/{name}", name: "table", tag: "tables", doc: "Lists the columns of a table or view, as the caller has them.",
			params:  []param{inPath("name", "the name, such as cards.transactions")},
			answers: []answer{{status: 200, doc: "The table or view.", body: columnsAnswer{}}}, problems: []kind{kindTable, kindNotPermitted}, do: s.table},
	}
}

// tablesAnswer are the tables and views that the caller may read.
type tablesAnswer struct {
	Tables []tableAnswer `json:"tables" doc:"The tables."`
	Views  []viewAnswer  `json:"views" doc:"The views: documented statements that are named as tables."`
}

// columnsAnswer is a table or a view with its columns.
type columnsAnswer struct {
	Name    string         `json:"name" doc:"The full name."`
	About   string         `json:"about" doc:"What it is."`
	Columns []columnAnswer `json:"columns" doc:"The columns that the caller has."`
	SQL     string         `json:"sql,omitempty" doc:"The statement that a view stands for."`
}

// tableAnswer is a table in GET /v1/tables. Its counts are of what the caller may read.
type tableAnswer struct {
	Name  string     `json:"name" doc:"The full name."`
	About string     `json:"about" doc:"What it is."`
	Rows  int64      `json:"rows" doc:"Rows that the caller may read."`
	Files int64      `json:"files" doc:"Files that they are in."`
	Bytes int64      `json:"bytes" doc:"Bytes of the files."`
	AsOf  *time.Time `json:"as_of,omitempty" doc:"The event time up to which the table goes."`
}

func (s *Server) tables(c *call) error {
	list, err := s.deps.Gateway.Tables(c.r.Context(), c.caller)
	if err := s.record(c, actionTables, "tables", err); err != nil {
		return err
	}
	views, err := s.deps.Gateway.Views(c.r.Context(), c.caller)
	if err != nil {
		return err
	}
	answer := tablesAnswer{[]tableAnswer{}, []viewAnswer{}}
	for _, t := range list {
		a := tableAnswer{Name: t.Table.FullName(), About: t.Table.Doc, Rows: t.Snapshot.Rows, Files: t.Snapshot.Files, Bytes: t.Snapshot.Bytes}
		if at := t.Snapshot.AsOf(); !at.IsZero() {
			at = at.UTC().Truncate(time.Millisecond)
			a.AsOf = &at
		}
		answer.Tables = append(answer.Tables, a)
	}
	for _, v := range views {
		answer.Views = append(answer.Views, viewAnswer{v.FullName(), v.Doc})
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// viewAnswer is a view in GET /v1/tables: a documented statement that is named as a table.
type viewAnswer struct {
	Name  string `json:"name" doc:"The full name."`
	About string `json:"about" doc:"What it is."`
}

// columnAnswer is a column in GET /v1/tables/{name}.
type columnAnswer struct {
	Name     string `json:"name" doc:"The column's name."`
	Type     string `json:"type" doc:"Its Arrow type."`
	Nullable bool   `json:"nullable" doc:"Whether it can be null."`
	Tag      string `json:"tag" doc:"What kind of data it is, which grants are given by."`
	About    string `json:"about" doc:"What it is."`
	Access   string `json:"access,omitempty" doc:"The most that the caller is given of it: clear or masked. Of a view's column it is not told: that is as its tables' columns are given."`
}

func (s *Server) table(c *call) error {
	name := c.r.PathValue("name")
	if v, err := s.deps.Gateway.DescribeView(c.r.Context(), c.caller, name); err == nil {
		return s.view(c, v)
	} else if !errors.As(err, new(*queries.Error)) {
		return s.record(c, actionTable, "a view", err)
	}
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
	answer := columnsAnswer{Name: info.Table.FullName(), About: info.Table.Doc, Columns: []columnAnswer{}}
	for _, col := range info.Columns {
		answer.Columns = append(answer.Columns, columnAnswer{col.Name, col.Type.String(), col.Nullable, string(col.Tag), col.Doc, col.Access.String()})
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// view describes a view, with the statement that it stands for.
func (s *Server) view(c *call, v *queries.View) error {
	if err := s.record(c, actionTable, v.FullName(), nil); err != nil {
		return err
	}
	answer := columnsAnswer{v.FullName(), v.Doc, []columnAnswer{}, v.SQL}
	for _, col := range v.Columns {
		answer.Columns = append(answer.Columns, columnAnswer{Name: col.Name, Type: col.Type.String(), Nullable: true, Tag: string(col.Tag), About: col.Doc})
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// record is [Server.Record] for a call.
func (s *Server) record(c *call, action, resource string, err error) error {
	return s.Record(c.r.Context(), c.caller, action, resource, err)
}
