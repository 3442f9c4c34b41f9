package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dialect"
	"github.com/cardlake/cardlake/queries/dictionary"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/queries/views"
)

// markdown is the format of describe that render does not have.
const markdown = "markdown"

func describe(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("describe", "[NAME]", "Lists the columns of a table or view that -as may read: type, whether a value may be missing, sensitivity, how it is given, meaning; of a view also its statement. "+
		"Without a name, lists all tables and views that -as may read.", stderr)
	var place lakeflags.Flags
	place.Define(fs, lakeflags.Read)
	var d door
	d.define(fs)
	d.defineRecord(fs)
	formatName := fs.String("format", "table", "how it is written: "+strings.Join(append(render.Names(), markdown), ", "))
	ddl := fs.String("ddl", "", "write, instead, what makes the views in an `engine`: trino, athena. Whoever may read them there reads the tables' rows in clear")
	ddlCatalog := fs.String("ddl-catalog", "", "the engine's `name` of the catalog with the schemas cards and views; default that of its session")
	if err := parse(fs, args); err != nil {
		return err
	}
	var format render.Format
	if *formatName != markdown {
		if format, err = render.ByName(*formatName); err != nil {
			return misused(fs, "%v, %s", err, markdown)
		}
	}
	switch {
	case fs.NArg() > 1:
		return misused(fs, "takes the name of one table or view, got %d arguments", fs.NArg())
	case !slices.Contains([]string{"", "trino", "athena"}, *ddl):
		return misused(fs, "-ddl is for trino or athena")
	case *ddl == "" && *ddlCatalog != "":
		return misused(fs, "-ddl-catalog needs -ddl")
	case *ddl != "" && fs.NArg() == 1 && viewNamed(fs.Arg(0)) == nil:
		return misused(fs, "-ddl is of views, and %q is none", fs.Arg(0))
	}
	if err := errors.Join(place.Complete(), d.complete(home.Dir(place.Dir))); err != nil {
		return misused(fs, "%v", err)
	}
	permits, err := d.permits()
	if err != nil {
		return err
	}
	record, err := d.record(ctx, &place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	parser := embedded.NewParser()
	defer func() { err = errors.Join(err, parser.Close()) }()
	gateway := queries.New(parser, nil, permits, nil, queries.Config{Views: views.All})

	if fs.NArg() == 0 {
		entries, err := everything(ctx, gateway, d.caller)
		if err := d.looked(ctx, record, "tables", "tables", err); err != nil {
			return err
		}
		switch {
		case *ddl != "":
			for _, e := range entries {
				if err := create(ctx, stdout, gateway, e.Name, *ddlCatalog); err != nil {
					return err
				}
			}
			return nil
		case format == nil:
			_, err := io.WriteString(stdout, dictionary.Summary(entries))
			return err
		}
		return format(ctx, stdout, listed(entries))
	}
	entry, err := described(ctx, gateway, d.caller, fs.Arg(0))
	resource := "a table"
	if err == nil {
		resource = entry.Name
	}
	if err := d.looked(ctx, record, "table", resource, err); err != nil {
		return err
	}
	if *ddl != "" {
		return create(ctx, stdout, gateway, entry.Name, *ddlCatalog)
	}
	return show(ctx, stdout, entry, *formatName, format)
}

// viewNamed is the view with the name, nil if there is none.
func viewNamed(name string) *queries.View {
	i := slices.IndexFunc(views.All, func(v *queries.View) bool { return strings.EqualFold(v.FullName(), name) })
	if i < 0 {
		return nil
	}
	return views.All[i]
}

// create writes the statement that makes the view in Trino or Athena, which are one dialect;
// nothing for a table.
func create(ctx context.Context, w io.Writer, g *queries.Gateway, name, catalog string) error {
	if viewNamed(name) == nil {
		return nil
	}
	statement, err := g.Check(ctx, "SELECT * FROM "+name)
	if err != nil {
		return err
	}
	sql, err := dialect.CreateView(statement.Views,
		func(v *queries.View) dialect.Relation {
			return dialect.Relation{Catalog: catalog, Schema: v.Namespace, Name: v.Name}
		},
		func(t *cardlake.Table) (dialect.Relation, error) {
			return dialect.Relation{Catalog: catalog, Schema: t.Namespace, Name: t.Name}, nil
		})
	if err != nil {
		return fmt.Errorf("view %s: %w", name, err)
	}
	_, err = fmt.Fprintf(w, "%s;\n", sql)
	return err
}

// described is the table or view with the name, as the caller has it.
func described(ctx context.Context, g *queries.Gateway, c grants.Caller, name string) (dictionary.Entry, error) {
	if viewNamed(name) == nil {
		table, err := g.Describe(ctx, c, name)
		if err != nil {
			return dictionary.Entry{}, err
		}
		return dictionary.OfGiven(table), nil
	}
	v, err := g.DescribeView(ctx, c, name)
	if err != nil {
		return dictionary.Entry{}, err
	}
	statement, err := g.Check(ctx, "SELECT * FROM "+v.FullName())
	if err != nil {
		return dictionary.Entry{}, err
	}
	return dictionary.OfView(v, dictionary.Reads(statement, v)), nil
}

// everything is all tables and views that the caller may read.
func everything(ctx context.Context, g *queries.Gateway, c grants.Caller) ([]dictionary.Entry, error) {
	var out []dictionary.Entry
	for _, t := range cardlake.Tables {
		entry, err := described(ctx, g, c, t.FullName())
		switch {
		case err == nil:
			out = append(out, entry)
		case !errors.Is(err, queries.ErrNotPermitted):
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, queries.ErrNotPermitted
	}
	over, err := g.Views(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, v := range over {
		out = append(out, dictionary.OfView(v, nil))
	}
	return out, nil
}

// listed is a line for each entry.
func listed(entries []dictionary.Entry) *listing {
	var out listing
	for _, name := range []string{"name", "kind", "about"} {
		out.column(name, arrow.BinaryTypes.String)
	}
	for _, e := range entries {
		out.rows = append(out.rows, []any{e.Name, e.Kind, dictionary.FirstSentence(e.About)})
	}
	return &out
}

// show writes an entry: all of it as Markdown, as JSON or for people; only its columns in the
// other formats, which are for tables of rows.
func show(ctx context.Context, w io.Writer, e dictionary.Entry, name string, format render.Format) error {
	switch name {
	case markdown:
		_, err := io.WriteString(w, e.Markdown(1))
		return err
	case "json":
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		return out.Encode(e)
	}
	var out listing
	add := func(name string) { out.column(name, arrow.BinaryTypes.String) }
	add("column")
	add("type")
	if e.Kind == "table" {
		add("nullable")
	}
	add("tag")
	if e.Kind == "table" {
		add("given")
	}
	add("about")
	for _, c := range e.Columns {
		row := []any{c.Name, c.Type, c.Nullable, c.Tag, c.Given, c.About}
		if e.Kind != "table" {
			row = []any{c.Name, c.Type, c.Tag, c.About}
		}
		out.rows = append(out.rows, row)
	}
	if err := format(ctx, w, &out); err != nil || name != "table" || e.SQL == "" {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n\nReads %s:\n\n%s\n", e.About, strings.Join(e.Reads, ", "), e.SQL)
	return err
}
