package embedded

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/cardlake/cardlake"
)

// instance is one DuckDB in memory with one connection. It is used by one goroutine.
type instance struct {
	connector *duckdb.Connector
	conn      *duckdb.Conn
}

// openInstance starts an empty DuckDB that spills nothing, loads no extension and keeps no
// cache.
func openInstance(ctx context.Context, cfg Config) (_ *instance, err error) {
	connector, err := duckdb.NewConnector("", nil)
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
	err = in.exec(ctx,
		"SET temp_directory=''",
		"SET max_temp_directory_size='0 bytes'",
		fmt.Sprintf("SET memory_limit='%d bytes'", cfg.Memory),
		fmt.Sprintf("SET threads=%d", cfg.Threads),
		"SET autoinstall_known_extensions=false",
		"SET autoload_known_extensions=false",
		"SET allow_community_extensions=false",
		"SET allow_persistent_secrets=false",
		"SET enable_external_file_cache=false",
		"SET parquet_metadata_cache=false",
		"SET enable_object_cache=false",
		"SET TimeZone='UTC'",
		"SET catalog_error_max_schemas=0",
		"SET errors_as_json=true",
	)
	if err != nil {
		return nil, fmt.Errorf("configure DuckDB: %w", err)
	}
	return in, nil
}

// exec runs statements that take nothing and return nothing.
func (in *instance) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := in.conn.ExecContext(ctx, s, nil); err != nil {
			return err
		}
	}
	return nil
}

// lock leaves the instance able to open the sources' files and nothing else, for good.
func (in *instance) lock(ctx context.Context, sources []source) error {
	var paths []string
	for _, s := range sources {
		paths = append(paths, s.paths...)
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

// define makes each source's table: a view over its files, or an empty table.
func (in *instance) define(ctx context.Context, sources []source) error {
	for _, s := range sources {
		err := in.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+quoteName(s.table.Namespace), definition(s))
		if err != nil {
			return fmt.Errorf("define %s: %w", s.table.FullName(), err)
		}
	}
	return nil
}

// definition is the statement that makes the source's table. Columns are found by their
// field id, as Iceberg has it: a file from before a column was added or renamed reads right.
func definition(s source) string {
	name := quoteName(s.table.Namespace) + "." + quoteName(s.table.Name)
	columns := make([]string, len(s.table.Columns))
	if len(s.paths) == 0 {
		for i, c := range s.table.Columns {
			columns[i] = quoteName(c.Name) + " " + typeName(c.Type)
		}
		return "CREATE TABLE " + name + " (" + strings.Join(columns, ", ") + ")"
	}
	schema := make([]string, len(s.table.Columns))
	for i, c := range s.table.Columns {
		columns[i] = quoteName(c.Name)
		schema[i] = fmt.Sprintf("%d: {name: %s, type: %s, default_value: NULL}", c.ID, quote(c.Name), quote(typeName(c.Type)))
	}
	return "CREATE VIEW " + name + " AS SELECT " + strings.Join(columns, ", ") +
		" FROM read_parquet(" + quoteList(s.paths) + ", schema=MAP {" + strings.Join(schema, ", ") + "})"
}

// typeName is DuckDB's name of a column type.
func typeName(t cardlake.Type) string {
	switch t {
	case cardlake.String:
		return "VARCHAR"
	case cardlake.Binary:
		return "BLOB"
	case cardlake.Bool:
		return "BOOLEAN"
	case cardlake.Int32:
		return "INTEGER"
	case cardlake.Int64:
		return "BIGINT"
	case cardlake.Timestamp:
		return "TIMESTAMP"
	case cardlake.TimestampTZ:
		return "TIMESTAMP WITH TIME ZONE"
	case cardlake.Decimal18x4:
		return "DECIMAL(18,4)"
	}
	panic("embedded: no DuckDB type for " + t.String())
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
