package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes"
	"github.com/cardlake/cardlake/queries/changes/ready"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/render"
)

const changesAbout = `Writes the rows that were added to a table since a cursor, each exactly once, whatever is merged, expired
or erased meanwhile. Without -since and what was kept, say where to begin: start, now, or a snapshot's id.

  -into FOLDER   each batch is a folder of its own, 000000000001 and so on, with its rows and its cursor, that
                 appears whole or not at all. Stopped or killed, the next run goes on behind the last one:
                 nothing is missing and nothing is twice.
  -state FILE    rows go to standard output, and when a batch was written, its cursor into the file. Killed in
                 between, the next run writes that batch again.
  neither        with -format json each batch ends with a line {"cardlake":{"cursor":…}}: whoever stores the
                 rows and the cursor together, and begins with -since CURSOR, has each row exactly once.

"cardlake changes ready" lists which days are complete; "cardlake changes events" tells others of it.`

// changesCommand writes the changes of a table.
func changesCommand(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	if other, ok := changesOther(args); ok {
		return other(ctx, args[1:], stdout, stderr)
	}
	fs := flagSet("changes", "", changesAbout, stderr)
	var place lakeflags.Flags
	place.Define(fs, lakeflags.Read)
	var d door
	d.define(fs)
	d.defineRecord(fs)
	var o changesOptions
	fs.StringVar(&o.request.Table, "table", cardlake.Transactions.FullName(), "full `name` of the table")
	fs.StringVar(&o.request.Since, "since", "", "where to begin: start, now, a snapshot's id, or a `cursor`")
	fs.StringVar(&o.request.Until, "until", "", "`id` of the snapshot up to which changes are written; default the newest")
	tenants := fs.String("tenant", "", "`names` of the only tenants whose rows are written, with commas; default all that are permitted")
	fs.StringVar(&o.format, "format", "json", "how rows are written: json (a line for each), csv, arrow, parquet")
	fs.Int64Var(&o.request.Limit, "batch", 1_000_000, "most `rows` of a batch; 0 for no bound")
	fs.BoolVar(&o.follow, "follow", false, "go on with what is committed from now on, until SIGTERM")
	fs.StringVar(&o.state, "state", "", "`file` that keeps the cursor of what was written")
	fs.BoolVar(&o.watermark, "watermark", false, "tell up to which event time all rows are there; -as must be permitted to read all tenants' transactions and totals")
	fs.StringVar(&o.into, "into", "", "`folder` that gets a folder for each batch")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 0 {
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	if err := errors.Join(place.Complete(), d.complete(home.Dir(place.Dir)), o.complete(*tenants)); err != nil {
		return misused(fs, "%v", err)
	}
	l, err := d.site(ctx, &place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	gateway := l.gateway(l.engine(embedded.Config{}), queries.Config{MaxRows: -1})
	// Where the rows of a large lake lie is looked up when it is first read from the start.
	reader := l.gateway(nil, queries.Config{Timeout: changesTimeout})
	watcher, err := ready.New(ready.Deps{Asker: gateway.As(d.caller)}, nil, ready.Config{})
	if err != nil {
		return err
	}
	feed, err := l.Feed(ctx, &place, reader, changes.Config{Watermarks: watcher})
	if err != nil {
		return err
	}
	out, err := o.open(stdout)
	if err != nil {
		return err
	}
	return o.run(ctx, feed, watcher, d.caller, out, stderr)
}

// changesOptions say what is written, and where it goes.
type changesOptions struct {
	request     changes.Request
	format      string
	follow      bool
	watermark   bool
	state, into string
}

func (o *changesOptions) complete(tenants string) error {
	if tenants != "" {
		for name := range strings.SplitSeq(tenants, ",") {
			t := cardlake.Tenant(strings.TrimSpace(name))
			if err := t.Validate(); err != nil {
				return fmt.Errorf("-tenant: %w", err)
			}
			o.request.Tenants = append(o.request.Tenants, t)
		}
	}
	switch {
	case !slices.Contains([]string{"json", "csv", "arrow", "parquet"}, o.format):
		return fmt.Errorf("unknown format %q: want one of json, csv, arrow, parquet", o.format)
	case cardlake.TableNamed(o.request.Table) == nil:
		return fmt.Errorf("-table: there is no table %q", o.request.Table)
	case o.request.Limit < 0:
		return errors.New("-batch must not be negative")
	case o.state != "" && o.into != "":
		return errors.New("-into keeps the cursor: give no -state with it")
	case o.follow && o.request.Until != "":
		return errors.New("-follow has no end: give no -until with it")
	case o.follow && o.into == "" && o.format != "json":
		return errors.New("-follow writes batches one after another: to standard output only as json; else give -into")
	}
	if o.into == "" && o.format != "json" {
		o.request.Limit = 0 // standard output takes one file
	}
	return nil
}

// batches is where batches go. Each is kept whole before the next is asked for.
type batches interface {
	// cursor is that of the last batch that was kept, empty if there is none.
	cursor() (string, error)
	// write writes the batch's rows, and keeps them with the cursor.
	write(ctx context.Context, b *changes.Batch) error
}

func (o *changesOptions) open(stdout io.Writer) (batches, error) {
	if o.into != "" {
		return newBatchFolder(o.into, o.request.Table, o.format)
	}
	return &batchStream{w: stdout, format: o.format, state: stateFile{o.state, o.request.Table}}, nil
}

// between is how long one waits for something to be committed, before it is asked again.
const between = 20 * time.Second

// changesTimeout bounds the planning of a batch.
const changesTimeout = time.Hour

// lookEvery is how often is asked how complete the table is.
const lookEvery = time.Minute

// run writes batches until there are none, or for ever.
func (o *changesOptions) run(ctx context.Context, feed *changes.Feed, watcher *ready.Watcher, caller grants.Caller, out batches, stderr io.Writer) error {
	at, err := out.cursor()
	r := o.request
	switch {
	case err != nil:
		return err
	case at != "" && r.Since != "" && r.Since != changes.Start && r.Since != changes.Now && r.Since != at:
		return errors.New("-since names another place than the one where the last run ended: leave it out to go on, or begin with another -state or -into")
	case at != "":
		r.Since = at
	case r.Since == "":
		return errors.New("nothing says where to begin: give -since start, now, a snapshot's id or a cursor")
	}
	var looked time.Time
	for {
		if o.watermark && time.Since(looked) >= lookEvery {
			// Before the rows are read, so that it is of what they hold.
			if _, err := watcher.Look(ctx); err != nil {
				return fmt.Errorf("-watermark: %w", err)
			}
			looked = time.Now()
		}
		b, err := feed.Read(ctx, caller, r)
		if err != nil {
			return located(err, "")
		}
		told := b.About
		isEmpty, more := b.IsEmpty, b.More
		if isEmpty && at != "" && len(told.Removals) == 0 {
			err = b.Close()
		} else {
			err = out.write(ctx, b)
		}
		if err != nil {
			return err
		}
		destroyed(stderr, b.Result)
		tell(stderr, told)
		r.Since, at = b.Cursor, b.Cursor
		if !more && !o.follow {
			return nil
		}
		if !more {
			if err := feed.Await(ctx, cardlake.TableNamed(r.Table), r.Since, between); err != nil {
				if ctx.Err() != nil {
					return nil // told to end, with everything kept
				}
				return err
			}
		}
	}
}

// tell tells of rows that a reader may have and should not.
func tell(w io.Writer, about changes.About) {
	for _, r := range about.Removals {
		what := "deleted"
		if r.Operation == "overwrite" {
			what = "changed, because somebody was erased"
		}
		var where []string
		for _, p := range r.Partitions {
			where = append(where, string(p.Tenant)+" "+p.Day)
		}
		if len(where) == 0 {
			where = []string{"partitions that are not known any more"}
		}
		fmt.Fprintf(w, "cardlake: rows were %s at %s: delete what you have of %s, and read it anew\n", what, r.CommittedAt.UTC().Format(time.RFC3339), strings.Join(where, ", "))
	}
	if about.IsUnsure {
		fmt.Fprintln(w, "cardlake: whether rows were deleted or erased since the cursor was given is not known any more: compare with the record of retention (cardlake maintain status)")
	}
}

// marker is what a batch ends with.
type marker struct {
	Cursor    string            `json:"cursor"`
	Rows      int64             `json:"rows"`
	More      bool              `json:"more"`
	Until     changes.Mark      `json:"until"`
	Removals  []changes.Removal `json:"removals,omitempty"`
	IsUnsure  bool              `json:"removals_unsure,omitempty"`
	KeptSince map[string]string `json:"kept_since"` // the oldest day of each tenant
	// ValidThrough is the event time up to which all rows of a tenant are there.
	ValidThrough map[cardlake.Tenant]time.Time `json:"valid_through,omitempty"`
	Table        string                        `json:"table"`
}

func markerOf(b *changes.Batch, table string) marker {
	m := marker{
		Cursor: b.Cursor, Rows: b.Count(), More: b.More, Until: b.Until, Removals: b.Removals, IsUnsure: b.IsUnsure,
		KeptSince: map[string]string{}, ValidThrough: b.ValidThrough, Table: table,
	}
	for tenant, day := range b.KeptSince {
		m.KeptSince[string(tenant)] = day.String()
	}
	return m
}

// batchStream writes batches one after another, and keeps the cursor in a file.
type batchStream struct {
	w      io.Writer
	format string
	state  stateFile
}

func (s *batchStream) cursor() (string, error) { return s.state.read() }

func (s *batchStream) write(ctx context.Context, b *changes.Batch) error {
	if err := writeBatch(ctx, s.w, s.format, b); err != nil {
		return err
	}
	if s.format == "json" {
		text, err := json.Marshal(map[string]marker{"cardlake": markerOf(b, s.state.table)})
		if err != nil {
			return err
		}
		if _, err := s.w.Write(append(text, '\n')); err != nil {
			return err
		}
	}
	return s.state.write(b.Cursor)
}

// writeBatch writes a batch's rows and closes it. An error says that not all was written.
func writeBatch(ctx context.Context, w io.Writer, format string, b *changes.Batch) error {
	var err error
	if format == "json" {
		lines := &jsonLines{w: w}
		err = errors.Join(render.JSON(ctx, lines, b), lines.err)
	} else {
		var f render.Format
		if f, err = render.ByName(format); err == nil {
			err = f(ctx, w, b)
		}
	}
	return errors.Join(err, b.Close())
}

// stateFile keeps a cursor. An empty path keeps none.
type stateFile struct{ path, table string }

// stateBody is the file's content.
type stateBody struct {
	Table  string `json:"table"`
	Cursor string `json:"cursor"`
}

func (s stateFile) read() (string, error) {
	if s.path == "" {
		return "", nil
	}
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var body stateBody
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("-state: %w", err)
	case body.Table != s.table || body.Cursor == "":
		return "", fmt.Errorf("-state: the file is not of table %s", s.table)
	}
	return body.Cursor, nil
}

// write replaces the file: it has the old cursor or the new one, whatever happens.
func (s stateFile) write(cursor string) error {
	if s.path == "" {
		return nil
	}
	text, err := json.Marshal(stateBody{s.table, cursor})
	if err == nil {
		err = replaceFile(s.path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("-state: %w", err)
	}
	return nil
}
