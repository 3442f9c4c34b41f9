package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dictionary"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/queries/views"
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
	fs := flagSet("tables", "", "Lists the tables that -as may read, with the rows and files of their newest snapshots that -as may read, and the views over them.", stderr)
	var place lakeflags.Flags
	place.Define(fs, lakeflags.Read)
	var d door
	d.define(fs)
	d.defineRecord(fs)
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
	if err := errors.Join(place.Complete(), d.complete(home.Dir(place.Dir))); err != nil {
		return misused(fs, "%v", err)
	}
	l, err := d.site(ctx, &place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	gateway := queries.New(l.parser, l.engine(embedded.Config{}), l.permits, nil, queries.Config{Views: views.All})
	listed, err := gateway.Tables(ctx, d.caller)
	var over []*queries.View
	if err == nil {
		over, err = gateway.Views(ctx, d.caller)
	}
	if err := d.looked(ctx, l.record, "tables", "tables", err); err != nil {
		return err
	}

	var out listing
	out.column("table", arrow.BinaryTypes.String)
	out.column("rows", arrow.PrimitiveTypes.Int64)
	out.column("files", arrow.PrimitiveTypes.Int64)
	out.column("snapshot", &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"})
	out.column("about", arrow.BinaryTypes.String)
	for _, t := range listed {
		var at any
		if t.Snapshot.ID != 0 {
			at = t.Snapshot.CommittedAt.UTC().Truncate(time.Millisecond)
		}
		out.rows = append(out.rows, []any{t.Table.FullName(), t.Snapshot.Rows, t.Snapshot.Files, at, t.Table.Doc})
	}
	for _, v := range over {
		out.rows = append(out.rows, []any{v.FullName(), nil, nil, nil, dictionary.FirstSentence(v.Doc)})
	}
	return format(ctx, stdout, &out)
}
