package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/render"
)

// listing is an answer that is made here, to be rendered like any other.
type listing struct {
	columns []queries.Column
	rows    [][]any
}

// column appends a column whose values are of the type.
func (l *listing) column(name string, t arrow.DataType) {
	l.columns = append(l.columns, queries.Column{Name: name, Type: t})
}

// Columns implements queries.Rows.
func (l *listing) Columns() []queries.Column { return l.columns }

// Snapshots implements queries.Rows.
func (l *listing) Snapshots() []queries.Snapshot { return nil }

// Next implements queries.Rows.
func (l *listing) Next(row []any) error {
	if len(l.rows) == 0 {
		return io.EOF
	}
	copy(row, l.rows[0])
	l.rows = l.rows[1:]
	return nil
}

// Close implements queries.Rows.
func (l *listing) Close() error { return nil }

func tables(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("tables", "", "Lists the tables of the lake, with the rows and files of their newest snapshots.", stderr)
	var place lakeflags.Flags
	place.Define(fs, lakeflags.Read)
	formatName := fs.String("format", "table", "how rows are written: "+strings.Join(render.Names(), ", "))
	if err := parse(fs, args); err != nil {
		return err
	}
	format, err := render.ByName(*formatName)
	switch {
	case err != nil:
		return misused(fs, "%v", err)
	case fs.NArg() != 0:
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	if err := place.Complete(); err != nil {
		return misused(fs, "%v", err)
	}
	l, err := open(ctx, &place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()

	var out listing
	out.column("table", arrow.BinaryTypes.String)
	out.column("rows", arrow.PrimitiveTypes.Int64)
	out.column("files", arrow.PrimitiveTypes.Int64)
	out.column("snapshot", &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"})
	out.column("about", arrow.BinaryTypes.String)
	for _, t := range cardlake.Tables {
		snapshot, _, err := l.planner.Plan(ctx, t)
		if err != nil {
			return err
		}
		var at any
		if snapshot.ID != 0 {
			at = snapshot.CommittedAt.UTC().Truncate(time.Millisecond)
		}
		out.rows = append(out.rows, []any{t.FullName(), snapshot.Rows, snapshot.Files, at, t.Doc})
	}
	return format(ctx, stdout, &out)
}

func describe(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("describe", "TABLE", "Lists the columns of a table: type, whether a value may be missing, sensitivity, meaning.", stderr)
	formatName := fs.String("format", "table", "how rows are written: "+strings.Join(render.Names(), ", "))
	if err := parse(fs, args); err != nil {
		return err
	}
	format, err := render.ByName(*formatName)
	switch {
	case err != nil:
		return misused(fs, "%v", err)
	case fs.NArg() != 1:
		return misused(fs, "takes the name of one table, got %d arguments", fs.NArg())
	}
	name := fs.Arg(0)
	i := slices.IndexFunc(cardlake.Tables, func(t *cardlake.Table) bool { return strings.EqualFold(t.FullName(), name) })
	if i < 0 {
		fault := &queries.Error{Message: "there is no table \"" + name + "\"", Hint: `see "cardlake tables"`}
		if near := queries.NearestTable(name, cardlake.Tables); near != "" {
			fault.Hint = "did you mean " + near + "?"
		}
		return fault
	}
	var out listing
	out.column("column", arrow.BinaryTypes.String)
	out.column("type", arrow.BinaryTypes.String)
	out.column("nullable", arrow.BinaryTypes.String)
	out.column("tag", arrow.BinaryTypes.String)
	out.column("about", arrow.BinaryTypes.String)
	for _, c := range cardlake.Tables[i].Columns {
		nullable := "no"
		if c.Nullable {
			nullable = "yes"
		}
		out.rows = append(out.rows, []any{c.Name, c.Type.String(), nullable, string(c.Tag), c.Doc})
	}
	return format(ctx, stdout, &out)
}
