package embedded

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// instance is one DuckDB in memory with one connection. It is used by one goroutine.
type instance struct {
	connector *duckdb.Connector
	conn      *duckdb.Conn
}

// openInstance starts an empty DuckDB that spills nothing, loads no extension and keeps no
// cache.
func openInstance(ctx context.Context, cfg Config) (_ *instance, err error) {
	connector, err := duckdb.NewConnector("?"+settings(cfg), nil)
	if err != nil {
		return nil, fmt.Errorf("start DuckDB: %w", err)
	}
	in := &instance{connector: connector}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.Close())
		}
	}()
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to DuckDB: %w", err)
	}
	in.conn = conn.(*duckdb.Conn)
	// These two are of extensions, which are there when it has started.
	err = in.exec(ctx, "SET TimeZone='UTC'", "SET parquet_metadata_cache=false", truncInUTC, partInUTC)
	if err != nil {
		return nil, fmt.Errorf("configure DuckDB: %w", err)
	}
	return in, nil
}

// settings are what an instance starts with.
func settings(cfg Config) string {
	return url.Values{
		"threads":                      {"1"},
		"memory_limit":                 {inBytes(cfg.Memory)},
		"temp_directory":               {""},
		"max_temp_directory_size":      {"0 bytes"},
		"autoinstall_known_extensions": {"false"},
		"autoload_known_extensions":    {"false"},
		"allow_community_extensions":   {"false"},
		"allow_persistent_secrets":     {"false"},
		"enable_external_file_cache":   {"false"},
		"enable_object_cache":          {"false"},
		"catalog_error_max_schemas":    {"0"},
		"errors_as_json":               {"true"},
	}.Encode()
}

func memoryLimit(cfg Config) string { return fmt.Sprintf("SET memory_limit='%s'", inBytes(cfg.Memory)) }

func inBytes(n int64) string { return strconv.FormatInt(n, 10) + " bytes" }

// exec runs statements that take nothing and return nothing.
func (in *instance) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := in.conn.ExecContext(ctx, s, nil); err != nil {
			return err
		}
	}
	return nil
}

// lock leaves the instance with so many threads and able to open the sources' files and nothing
// else, for good.
func (in *instance) lock(ctx context.Context, sources []source, threads int) error {
	var paths []string
	for _, s := range sources {
		for _, scope := range s.scopes {
			paths = append(paths, scope.paths...)
		}
	}
	if threads > 1 {
		if err := in.exec(ctx, fmt.Sprintf("SET threads=%d", threads)); err != nil {
			return fmt.Errorf("configure DuckDB: %w", err)
		}
	}
	err := in.exec(ctx,
		"SET allowed_paths="+quoteList(paths),
		"SET enable_external_access=false",
		"SET lock_configuration=true",
	)
	if err != nil {
		return fmt.Errorf("lock DuckDB: %w", err)
	}
	return nil
}

// define makes each source's table, and the views over them. A view reads tables of its own,
// out of reach of the statement, which have the columns that a decision drops too: as NULL.
func (in *instance) define(ctx context.Context, sources []source, views []queries.ViewUse) error {
	for _, s := range sources {
		t := s.Table
		if s.IsUnder {
			continue
		}
		err := in.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+quoteName(t.Namespace), definition(s, quoteName(t.Namespace)+"."+quoteName(t.Name), s.Decision.Access()))
		if err != nil {
			return fmt.Errorf("define %s: %w", t.FullName(), err)
		}
	}
	if len(views) == 0 {
		return nil
	}
	if err := in.exec(ctx, "CREATE SCHEMA "+underViews); err != nil {
		return err
	}
	for _, s := range sources {
		every := slices.Repeat([]grants.Access{grants.Clear}, len(s.Table.Columns))
		if err := in.exec(ctx, definition(s, underViews+"."+quoteName(s.Table.FullName()), every)); err != nil {
			return fmt.Errorf("define %s for views: %w", s.Table.FullName(), err)
		}
	}
	for _, v := range views {
		sql := v.SQL
		for _, s := range sources {
			sql = nameOf(s.Table).ReplaceAllLiteralString(sql, underViews+"."+quoteName(s.Table.FullName()))
		}
		err := in.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+quoteName(v.Namespace), "CREATE VIEW "+quoteName(v.Namespace)+"."+quoteName(v.Name)+" AS "+dayOf.ReplaceAllString(sql, dayInUTC))
		if err != nil {
			return fmt.Errorf("define %s: %w", v.FullName(), err)
		}
	}
	return nil
}

// underViews is the schema of the tables as views read them. The check knows no table in it.
const underViews = "under_views"

// nameOf finds the table's full name in the text of a view, which is ours.
func nameOf(t *cardlake.Table) *regexp.Regexp {
	return regexp.MustCompile(`\b` + regexp.QuoteMeta(t.FullName()) + `\b`)
}

// definition is the statement that makes the source's table: a view of what the decision
// permits, with the columns that are exposed and of which shown is not Dropped. Of the others
// nothing is in memory: to name one is an error.
func definition(s source, name string, shown []grants.Access) string {
	var branches []string
	for i, scope := range s.Decision.Scopes {
		if len(s.scopes[i].paths) > 0 {
			branches = append(branches, "SELECT "+columns(s, shown, scope.Columns)+" FROM "+files(s, i)+where(s, i))
		}
	}
	if len(branches) == 0 {
		branches = []string{"SELECT " + columns(s, shown, make([]grants.Access, len(shown))) + " WHERE FALSE"}
	}
	return "CREATE VIEW " + name + " AS " + strings.Join(branches, " UNION ALL ")
}

// columns are those that are exposed and shown, as this scope gives them.
func columns(s source, shown, scope []grants.Access) string {
	var list []string
	for i, c := range s.Table.Columns {
		if s.exposed[i] && shown[i] != grants.Dropped {
			list = append(list, queries.ColumnSQL(c, scope[i])+" AS "+quoteName(c.Name))
		}
	}
	return strings.Join(list, ", ")
}

// files reads the scope's files. Columns are found by their field id, as Iceberg has it, so that
// a file from before a column was added or renamed reads right; by their names, which is less
// work, where those tell the same.
func files(s source, scope int) string {
	of := s.scopes[scope]
	if of.hasNames {
		return "read_parquet(" + quoteList(of.paths) + ")"
	}
	var schema []string
	for i, c := range s.Table.Columns {
		if s.needs(scope, i) {
			schema = append(schema, fmt.Sprintf("%d: {name: %s, type: %s, default_value: NULL}", c.ID, quote(c.Name), quote(queries.TypeSQL(c.Type))))
		}
	}
	return "read_parquet(" + quoteList(of.paths) + ", schema=MAP {" + strings.Join(schema, ", ") + "})"
}

// tenantColumn says whose a row is, in the tables that have it.
const tenantColumn = "tenant"

// where asks for the scope's tenants by name, unless the files' own metadata prove that there are
// no others. What the catalog says of the files is not enough: a file may have rows of another
// tenant all the same.
func where(s source, scope int) string {
	if s.scopes[scope].isOwn {
		return ""
	}
	of := s.Decision.Scopes[scope]
	if !of.Others {
		return " WHERE " + quoteName(tenantColumn) + " IN (" + tenants(of.Tenants) + ")"
	}
	not := slices.Clone(s.Decision.Except)
	for i, other := range s.Decision.Scopes {
		if i != scope {
			not = append(not, other.Tenants...)
		}
	}
	return " WHERE " + quoteName(tenantColumn) + " NOT IN (" + tenants(not) + ")"
}

func tenants(names []cardlake.Tenant) string {
	list := make([]string, len(names))
	for i, t := range names {
		list[i] = quote(string(t))
	}
	return strings.Join(list, ", ")
}

func quote(s string) string     { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func quoteList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// scan runs a statement that returns one string.
func (in *instance) scan(ctx context.Context, statement string, arg string) (_ string, err error) {
	rows, err := in.conn.QueryContext(ctx, statement, []driver.NamedValue{{Ordinal: 1, Value: arg}})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var value [1]driver.Value
	if err := rows.Next(value[:]); err != nil {
		return "", err
	}
	s, ok := value[0].(string)
	if !ok {
		return "", fmt.Errorf("the answer is a %T, not a string", value[0])
	}
	return s, nil
}

// Close ends the instance and frees its memory.
func (in *instance) Close() error {
	var err error
	if in.conn != nil {
		err = in.conn.Close()
	}
	return errors.Join(err, in.connector.Close())
}
