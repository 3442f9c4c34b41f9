// Package local evaluates rules over files on this machine, CSV or Parquet, with a DuckDB of
// their own: in memory, without a network, able to open those files and nothing else, with its
// settings locked before the first rule is seen. Files are read in a stream, once a statement;
// what a statement keeps is bounded by Config.Memory, and nothing spills to disk.
package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/cardlake/cardlake/queries/quality"
)

// Config is how files are read. The zero value is usable.
type Config struct {
	// Memory bounds what a statement keeps, in bytes; 0 means 1 GiB.
	Memory int64
	// Threads is DuckDB's; 0 means one per processor.
	Threads int
	// Separator is between the fields of CSV; "" means a comma, or a tab in files *.tsv.
	Separator string
	// KeepBlank takes an empty field of a column of text for an empty text, as Glue's own reader
	// does (guide, "Completeness", "Null behavior"). By default an empty field is NULL and ""
	// in quotes an empty text, as Spark's reader has it.
	KeepBlank bool
}

// Files are open files. It implements quality.Engine for one goroutine.
type Files struct {
	db       *sql.DB
	cfg      Config
	open     []*os.File // DuckDB reads some of them by descriptor
	datasets map[string]quality.Dataset
}

// Primary is the alias of the dataset that rules look at.
const Primary = "primary"

// Open opens files by alias, one of them [Primary], finds their columns, and locks the engine.
// The caller closes it.
func Open(ctx context.Context, paths map[string]string, cfg Config) (_ *Files, err error) {
	if cfg.Memory == 0 {
		cfg.Memory = 1 << 30
	}
	if cfg.Threads == 0 {
		cfg.Threads = runtime.GOMAXPROCS(0)
	}
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, fmt.Errorf("start DuckDB: %w", err)
	}
	f := &Files{db: sql.OpenDB(connector), cfg: cfg, datasets: map[string]quality.Dataset{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	f.db.SetMaxOpenConns(1)
	var allowed []string
	aliases := make([]string, 0, len(paths))
	sources := map[string]source{}
	for alias, path := range paths {
		s, err := f.source(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
		}
		sources[alias] = s
		aliases = append(aliases, alias)
		allowed = append(allowed, quote(s.read))
	}
	slices.Sort(aliases)
	err = f.exec(ctx,
		"SET temp_directory=''",
		"SET max_temp_directory_size='0 bytes'",
		fmt.Sprintf("SET memory_limit='%d bytes'", cfg.Memory),
		fmt.Sprintf("SET threads=%d", cfg.Threads),
		"SET autoinstall_known_extensions=false",
		"SET autoload_known_extensions=false",
		"SET allow_community_extensions=false",
		"SET allow_persistent_secrets=false",
		"SET TimeZone='UTC'",
		"SET errors_as_json=true",
		"SET allowed_paths=["+strings.Join(allowed, ", ")+"]",
		"SET enable_external_access=false",
	)
	if err != nil {
		return nil, fmt.Errorf("configure DuckDB: %w", err)
	}
	for _, alias := range aliases {
		if err := f.define(ctx, alias, sources[alias]); err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Base(sources[alias].path), err)
		}
	}
	if err := f.exec(ctx, append(sparkFunctions, "SET lock_configuration=true")...); err != nil {
		return nil, fmt.Errorf("lock DuckDB: %w", err)
	}
	return f, nil
}

// sparkFunctions are functions of Spark SQL that rules like to use and DuckDB has not.
var sparkFunctions = []string{
	"CREATE MACRO nvl(a, b) AS coalesce(a, b)",
	"CREATE MACRO regexp_like(a, b) AS regexp_matches(a, b)",
	"CREATE MACRO nvl2(a, b, c) AS CASE WHEN a IS NOT NULL THEN b ELSE c END",
	`CREATE MACRO "isnull"(a) AS (a IS NULL)`,
	`CREATE MACRO "isnotnull"(a) AS (a IS NOT NULL)`,
	`CREATE MACRO "current_timestamp"() AS get_current_timestamp()`,
	"CREATE MACRO to_date(a) AS TRY_CAST(a AS DATE)",
	"CREATE MACRO to_timestamp(a) AS TRY_CAST(a AS TIMESTAMP)",
	"CREATE MACRO unix_timestamp(a) AS CAST(epoch(CAST(a AS TIMESTAMP)) AS BIGINT)",
	"CREATE MACRO date_add(a, n) AS CAST(a AS DATE) + CAST(n AS INTEGER)",
	"CREATE MACRO date_sub(a, n) AS CAST(a AS DATE) - CAST(n AS INTEGER)",
	"CREATE MACRO datediff(a, b) AS date_diff('day', CAST(b AS DATE), CAST(a AS DATE))",
	"CREATE MACRO add_months(a, n) AS CAST(CAST(a AS DATE) + to_months(CAST(n AS INTEGER)) AS DATE)",
}

// Close frees the engine's memory.
func (f *Files) Close() error {
	err := f.db.Close()
	for _, file := range f.open {
		err = errors.Join(err, file.Close())
	}
	return err
}

// Dataset returns the dataset with the alias.
func (f *Files) Dataset(alias string) quality.Dataset { return f.datasets[alias] }

// References are all datasets but the primary one.
func (f *Files) References() map[string]quality.Dataset {
	others := map[string]quality.Dataset{}
	for alias, d := range f.datasets {
		if alias != Primary {
			others[alias] = d
		}
	}
	return others
}

func (f *Files) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := f.db.ExecContext(ctx, s); err != nil {
			return explain(ctx, err)
		}
	}
	return nil
}

func quote(s string) string     { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// source is a file and how it is read.
type source struct {
	path  string
	read  string // the path by which DuckDB reads it
	isCSV bool
	from  string // the table function that reads it
}

// source finds out how the file is read. A path in which DuckDB would see a pattern of paths is
// read by its descriptor.
func (f *Files) source(path string) (source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return source{}, err
	}
	info, err := os.Stat(abs)
	switch {
	case err != nil:
		return source{}, err
	case info.IsDir():
		return source{}, errors.New("it is a folder, and one file is needed")
	case !info.Mode().IsRegular():
		return source{}, errors.New("it is no file")
	}
	file, err := os.Open(abs)
	if err != nil {
		return source{}, err
	}
	f.open = append(f.open, file)
	s := source{path: abs, read: abs}
	if strings.ContainsAny(abs, "*?[]{}") {
		if runtime.GOOS != "linux" {
			return source{}, errors.New("a path with one of * ? [ ] { } stands for several files: rename the file")
		}
		s.read = fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	}
	compression := "none"
	if strings.HasSuffix(strings.ToLower(abs), ".gz") {
		compression = "gzip"
	}
	switch kind := strings.ToLower(filepath.Ext(strings.TrimSuffix(abs, ".gz"))); kind {
	case ".parquet":
		s.from = "read_parquet(" + quote(s.read) + ", hive_partitioning=false)"
	case ".csv", ".tsv", ".txt":
		s.isCSV = true
		separator := f.cfg.Separator
		if separator == "" {
			separator = ","
			if kind == ".tsv" {
				separator = "\t"
			}
		}
		names, err := header(abs, separator)
		if err != nil {
			return source{}, err
		}
		for i, name := range names {
			names[i] = quote(name) + ": 'VARCHAR'"
		}
		// Nothing is detected: what DuckDB makes of a file that does not suit what it detected is
		// another file.
		s.from = "read_csv(" + quote(s.read) + ", auto_detect=false, hive_partitioning=false, compression=" + quote(compression) +
			", header=true, columns={" + strings.Join(names, ", ") + "}, delim=" + quote(separator) +
			`, quote='"', escape='"', nullstr='', allow_quoted_nulls=false)`
	default:
		return source{}, errors.New("it is neither CSV nor Parquet by its name: want .csv, .tsv or .parquet, or .csv.gz")
	}
	return s, nil
}

// inner is the relation of a dataset that also has values as they were written.
func inner(alias string) string { return quoteName("rows of " + alias) }

// define makes the alias's relations.
func (f *Files) define(ctx context.Context, alias string, s source) error {
	columns, err := f.describe(ctx, s.from)
	if err != nil {
		return err
	}
	var list, names []string
	if s.isCSV {
		if columns, list, err = f.infer(ctx, s, columns); err != nil {
			return err
		}
	} else {
		for _, c := range columns {
			list = append(list, quoteName(c.Name))
		}
	}
	for _, c := range columns {
		names = append(names, quoteName(c.Name))
	}
	err = f.exec(ctx, "CREATE VIEW "+inner(alias)+" AS SELECT "+strings.Join(list, ", ")+" FROM "+s.from)
	if err != nil {
		return err
	}
	name := quoteName(alias)
	if schema, table, ok := strings.Cut(alias, "."); ok {
		name = quoteName(schema) + "." + quoteName(table)
		if err := f.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+quoteName(schema)); err != nil {
			return err
		}
	}
	if err := f.exec(ctx, "CREATE VIEW "+name+" AS SELECT "+strings.Join(names, ", ")+" FROM "+inner(alias)); err != nil {
		return err
	}
	f.datasets[alias] = quality.Dataset{Columns: columns, From: inner(alias), Files: func(context.Context) ([]quality.File, error) {
		return Disk{}.List(ctx, s.path)
	}}
	return nil
}

// describe lists the columns of what a table function reads.
func (f *Files) describe(ctx context.Context, from string) (_ []quality.Column, err error) {
	rows, err := f.db.QueryContext(ctx, "DESCRIBE SELECT * FROM "+from)
	if err != nil {
		return nil, explain(ctx, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var columns []quality.Column
	for rows.Next() {
		var name, sqlType string
		var other [4]any
		if err := rows.Scan(&name, &sqlType, &other[0], &other[1], &other[2], &other[3]); err != nil {
			return nil, explain(ctx, err)
		}
		kind, typeName := quality.TypeOf(sqlType)
		columns = append(columns, quality.Column{Name: name, Kind: kind, Type: typeName})
	}
	return columns, explain(ctx, rows.Err())
}

// Query implements quality.Engine. It runs one SELECT statement and nothing else: a rule must not
// change what the next one looks at.
func (f *Files) Query(ctx context.Context, statement string) (quality.Rows, error) {
	if err := f.isSelect(ctx, statement); err != nil {
		return nil, err
	}
	rows, err := f.db.QueryContext(ctx, statement)
	if err != nil {
		return nil, explain(ctx, err)
	}
	names, err := rows.Columns()
	if err != nil {
		return nil, errors.Join(explain(ctx, err), rows.Close())
	}
	return &answer{rows: rows, names: names}, nil
}

// isSelect checks that the text is one SELECT statement, with DuckDB's own parser.
func (f *Files) isSelect(ctx context.Context, statement string) error {
	const parse = `SELECT coalesce(json_extract_string(tree, '$.error_message'), ''), coalesce(json_array_length(tree, '$.statements'), 0)
		FROM (SELECT json_serialize_sql(?::VARCHAR) AS tree)`
	var fault string
	var n int
	if err := f.db.QueryRowContext(ctx, parse, statement).Scan(&fault, &n); err != nil {
		return explain(ctx, err)
	}
	switch {
	case strings.HasPrefix(fault, "Only SELECT"):
		return errors.New("one SELECT statement is needed, and this is another")
	case fault != "":
		return errors.New(fault)
	case n != 1:
		return fmt.Errorf("one SELECT statement is needed, and there are %d", n)
	}
	return nil
}

type answer struct {
	rows  *sql.Rows
	names []string
}

// Names implements quality.Rows.
func (a *answer) Names() []string { return a.names }

// Next implements quality.Rows.
func (a *answer) Next(row []any) error {
	if !a.rows.Next() {
		if err := a.rows.Err(); err != nil {
			return explain(context.Background(), err)
		}
		return io.EOF
	}
	into := make([]any, len(row))
	for i := range row {
		into[i] = &row[i]
	}
	return explain(context.Background(), a.rows.Scan(into...))
}

// Close implements quality.Rows.
func (a *answer) Close() error { return a.rows.Close() }

var csvLine = regexp.MustCompile(`CSV Error on Line: ([0-9]+)`)

// explain turns DuckDB's error into one without a value of the data.
func explain(ctx context.Context, err error) error {
	var driverErr *duckdb.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.As(err, &driverErr):
		return err
	}
	var fault struct {
		Type    string `json:"exception_type"`
		Message string `json:"exception_message"`
	}
	if json.Unmarshal([]byte(driverErr.Msg), &fault) != nil {
		return errors.New("the engine failed")
	}
	switch fault.Type {
	case "Parser", "Syntax", "Binder", "Catalog":
		message, _, _ := strings.Cut(strings.ReplaceAll(fault.Message, "\t", ""), "\nCandidate")
		message, _, _ = strings.Cut(message, "\nDid you mean")
		message, _, _ = strings.Cut(message, "\n\nLINE")
		return errors.New(strings.TrimSpace(message))
	case "Out of Memory":
		return errors.New("the rule needs more memory than it may use: raise -memory")
	case "Invalid Input":
		has := func(s string) bool { return strings.Contains(strings.ToLower(fault.Message), s) }
		switch {
		case has("csv error"):
			place, why := "", "a row has more or fewer fields than the header, or a quote is not closed"
			if m := csvLine.FindStringSubmatch(fault.Message); m != nil {
				place = " at line " + m[1]
			}
			if has("unicode") || has("utf-8") {
				why = "the text is not UTF-8"
			} else if has("maximum line size") {
				why = "a row is longer than 2,000,000 bytes, or a quote is not closed"
			}
			return fmt.Errorf("the file cannot be read as CSV%s: %s", place, why)
		case has("magic bytes") || has("parquet"):
			return errors.New("the file is no Parquet file, or is damaged")
		}
	}
	return fmt.Errorf("a value does not suit the rule (%s error)", strings.ToLower(fault.Type))
}
