// Package render writes the answers of package queries: as an aligned table for people, and
// as CSV, JSON, Parquet or an Arrow stream for programs. Every writer takes the rows as they
// come and holds a bounded number of them.
//
// The same value is spelled the same in all text formats: numbers in full precision, without
// grouping; times in RFC 3339, with a Z for an instant and without one for a reading of a
// wall clock; bytes in hexadecimal after \x; intervals as ISO 8601 durations; lists, maps and
// structs as JSON.
package render

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cardlake/cardlake/queries"
)

// Format writes all rows to w. It does not close them. It stops with ctx's error.
type Format func(ctx context.Context, w io.Writer, rows queries.Rows) error

// Names lists the formats that ByName knows.
func Names() []string { return []string{"table", "csv", "json", "parquet", "arrow"} }

// ByName returns the format with the name.
func ByName(name string) (Format, error) {
	switch name {
	case "table":
		return Table, nil
	case "csv":
		return CSV, nil
	case "json":
		return JSON, nil
	case "parquet":
		return Parquet, nil
	case "arrow":
		return Arrow, nil
	}
	return nil, fmt.Errorf("unknown format %q: want one of %s", name, strings.Join(Names(), ", "))
}

// each calls f with every row. The row is reused.
func each(ctx context.Context, rows queries.Rows, f func(row []any) error) error {
	row := make([]any, len(rows.Columns()))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(row); err != nil {
			return err
		}
	}
}

// uniqueNames returns the column names with _2, _3 … after those that came before.
func uniqueNames(columns []queries.Column) []string {
	var names []string
	for _, c := range columns {
		name := c.Name
		for n := 2; slices.Contains(names, name); n++ {
			name = fmt.Sprintf("%s_%d", c.Name, n)
		}
		names = append(names, name)
	}
	return names
}
