package athena

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dialect"
)

// maxSQL is the most bytes of a query string (Athena, "Service Quotas").
const maxSQL = 262_144

// prepare finds where the statement is asked, pins its tables to snapshots, and prints it.
func (e *Engine) prepare(ctx context.Context, s queries.Statement) (*answer, string, error) {
	if len(s.Reads) == 0 {
		return nil, "", &queries.Error{Message: "a statement that reads no table is not for Athena", Hint: "name a table, or ask the embedded engine", Offset: -1}
	}
	who := s.Reads[0].Decision.Principal
	g := e.groups[who.String()]
	if g == nil {
		g = e.groups[string(who.Kind)]
	}
	if g == nil {
		return nil, "", fmt.Errorf("there is no workgroup of Athena for %s: name one for it or for its kind", who)
	}
	a := &answer{engine: e, group: g, stats: queries.Stats{Engine: "athena"}}
	pinned := map[*cardlake.Table]int64{}
	for _, r := range s.Reads {
		snapshot, err := e.plan(ctx, r)
		if err != nil {
			return nil, "", err
		}
		a.snapshots = append(a.snapshots, snapshot)
		pinned[r.Table] = snapshot.ID
	}
	// FOR VERSION AS OF: Athena, "Query Iceberg table data and perform time travel".
	printed, err := dialect.Trino(s, func(t *cardlake.Table) (dialect.Relation, error) {
		id, ok := pinned[t]
		if !ok {
			return dialect.Relation{}, errors.New("the statement does not say that it is read")
		}
		return dialect.Relation{Catalog: e.cfg.Catalog, Schema: t.Namespace, Name: t.Name, Snapshot: id, Absent: id == 0}, nil
	})
	if err != nil {
		return nil, "", err
	}
	if len(printed.SQL) > maxSQL-maxAround-len(printed.Columns)*maxAroundColumn {
		return nil, "", &queries.Error{Message: "the statement, with what the caller may read written into it, is longer than Athena takes", Hint: "name fewer views or columns", Offset: -1}
	}
	a.columns, err = columnsOf(printed.Columns)
	return a, printed.SQL, err
}

// What UNLOAD puts around a statement, and for each of its columns.
const (
	maxAround       = 2048
	maxAroundColumn = 64
)

// plan returns the table's state as the decision permits to know it.
func (e *Engine) plan(ctx context.Context, r queries.Read) (queries.Snapshot, error) {
	return r.State(ctx, e.planner)
}

// isLarge reports whether the answer may be so large that reading pages of it would take long.
// UNLOAD keeps no order and knows no limit of its own ("UNLOAD", considerations), so a statement
// that has either is read in pages.
func (e *Engine) isLarge(s queries.Statement, snapshots []queries.Snapshot) bool {
	var rows int64
	for _, r := range snapshots {
		rows += r.Rows
	}
	return e.cfg.UnloadRows >= 0 && rows > e.cfg.UnloadRows && isPlain(s.Tree)
}

// aggregates are those of the functions in a statement that make one row of many. One that is
// missing here costs time, nothing else.
var aggregates = map[string]bool{
	"count": true, "count_star": true, "sum": true, "avg": true, "min": true, "max": true, "approx_count_distinct": true,
	"arg_min": true, "arg_max": true, "min_by": true, "max_by": true, "bool_and": true, "bool_or": true, "any_value": true,
	"quantile_cont": true, "quantile_disc": true, "approx_quantile": true, "median": true, "mode": true,
	"stddev": true, "stddev_samp": true, "stddev_pop": true, "var_samp": true, "var_pop": true, "variance": true,
}

// isPlain reports whether the statement, as a parse tree, gives rows as it reads them: without
// order, limit, groups or one row for all.
func isPlain(tree []byte) bool {
	type expression struct {
		Class    string `json:"class"`
		Function string `json:"function_name"`
	}
	var parsed struct {
		Statements []struct {
			Node struct {
				Type      string `json:"type"`
				Modifiers []struct {
					Type string `json:"type"`
				} `json:"modifiers"`
				Select []expression      `json:"select_list"`
				Groups []json.RawMessage `json:"group_expressions"`
			} `json:"node"`
		} `json:"statements"`
	}
	if json.Unmarshal(tree, &parsed) != nil || len(parsed.Statements) != 1 {
		return false
	}
	node := parsed.Statements[0].Node
	if node.Type != "SELECT_NODE" && node.Type != "SET_OPERATION_NODE" || len(node.Groups) > 0 {
		return false
	}
	for _, m := range node.Modifiers {
		if m.Type != "DISTINCT_MODIFIER" {
			return false
		}
	}
	for _, x := range node.Select {
		if x.Class == "FUNCTION" && aggregates[strings.ToLower(x.Function)] {
			return false
		}
	}
	return true
}
