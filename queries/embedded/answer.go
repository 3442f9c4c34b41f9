package embedded

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/cardlake/cardlake/queries"
)

// answer implements queries.Rows. It owns the instance and the memory files.
type answer struct {
	snapshots []queries.Snapshot
	decrypted time.Time   // the oldest of what was decrypted
	memory    []io.Closer // memory files
	instance  *instance
	stmt      *duckdb.Stmt
	rows      driver.Rows
	columns   []queries.Column
	convert   []converter
	row       []driver.Value

	result  *mapping.Result // of rows, for NextBatch
	vectors []vector
	schema  *arrow.Schema
}

// run prepares and executes the statement in the locked instance.
func (a *answer) run(ctx context.Context, s queries.Statement) error {
	if err := a.prepare(ctx, s); err != nil {
		return err
	}
	a.row = make([]driver.Value, len(a.columns))
	var err error
	a.rows, err = a.stmt.QueryContext(ctx, nil)
	return err
}

// prepare binds the statement to the instance's tables, and finds the answer's columns.
func (a *answer) prepare(ctx context.Context, s queries.Statement) error {
	stmt, err := a.instance.conn.PrepareContext(ctx, s.SQL)
	if err != nil {
		return prepareError{err}
	}
	a.stmt = stmt.(*duckdb.Stmt)
	n, err := a.stmt.ColumnCount()
	if err != nil {
		return err
	}
	for i := range n {
		name, err := a.stmt.ColumnName(i)
		if err != nil {
			return err
		}
		info, err := a.stmt.ColumnTypeInfo(i)
		if err != nil {
			return err
		}
		typ, convert, err := typeOf(info)
		if err != nil {
			return &queries.Error{Message: fmt.Sprintf("column %q: %v", name, err), Hint: "cast it, to VARCHAR for instance", Offset: -1}
		}
		a.columns = append(a.columns, queries.Column{Name: name, Type: typ})
		a.convert = append(a.convert, convert)
	}
	return nil
}

// Columns implements queries.Rows.
func (a *answer) Columns() []queries.Column { return a.columns }

// Snapshots implements queries.Rows.
func (a *answer) Snapshots() []queries.Snapshot { return a.snapshots }

// Next implements queries.Rows.
func (a *answer) Next(row []any) error {
	if err := a.rows.Next(a.row); err != nil {
		return err
	}
	for i, v := range a.row {
		if v == nil || a.convert[i] == nil {
			row[i] = v
			continue
		}
		converted, err := a.convert[i](v)
		if err != nil {
			return &queries.Error{Message: fmt.Sprintf("column %q: %v", a.columns[i].Name, err), Offset: -1}
		}
		row[i] = converted
	}
	return nil
}

// Close implements queries.Rows: DuckDB goes first, then the memory it read.
func (a *answer) Close() error {
	var errs []error
	if a.rows != nil {
		errs = append(errs, a.rows.Close())
		a.rows = nil
	}
	if a.stmt != nil {
		errs = append(errs, a.stmt.Close())
		a.stmt = nil
	}
	if a.instance != nil {
		errs = append(errs, a.instance.Close())
		a.instance = nil
	}
	for _, m := range a.memory {
		errs = append(errs, m.Close())
	}
	a.memory = nil
	return errors.Join(errs...)
}
