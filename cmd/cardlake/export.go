package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries/export"
)

const exportUsage = `usage: cardlake export COMMAND [flags] [arguments]

  start      take rows of a tenant away as files: a table, part of it by time, or a statement's answer
  status ID  tell how far an export is
  list       list the exports that -as asked for
  wait ID    wait until an export has ended
  download ID
             copy its files to a folder, verified; go on where a download was cut
  cancel ID  end an export
  decrypt FILE
             open a file that was encrypted under the tenant's key (-encrypt kms)
  schedule   export each day, or other windows of time, when it is complete
  settings   the public keys that a tenant's files are encrypted to, and what else holds for them
  run        run exports and schedules until interrupted, as "cardlake serve" does

"cardlake export COMMAND -h" lists a command's flags.
`

// exportCommand is "cardlake export".
func exportCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, exportUsage)
		return errUsage
	}
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"start": exportStart, "status": exportStatus, "list": exportList, "wait": exportWait, "download": exportDownload,
		"cancel": exportCancel, "decrypt": exportDecrypt, "schedule": exportSchedule, "settings": exportSettings, "run": exportRun,
	}
	switch command := args[0]; command {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, exportUsage)
		return nil
	default:
		do, ok := commands[command]
		if !ok {
			fmt.Fprintf(stderr, "cardlake export: there is no command %q\n\n%s", command, exportUsage)
			return errUsage
		}
		return do(ctx, args[1:], stdout, stderr)
	}
}

// with runs a command that takes so many arguments over open exports.
func with(ctx context.Context, fs *flag.FlagSet, e *exporting, args []string, arguments int, do func() error) (err error) {
	e.define(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != arguments {
		return misused(fs, "takes %d arguments, got %d", arguments, fs.NArg())
	}
	if err := e.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	if err := e.open(ctx, slog.New(slog.NewTextHandler(fs.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	return do()
}

// requested are the flags of what is exported.
type requested struct {
	export.Request
	tenant, from, to, columns, format, encrypt string
}

func (r *requested) define(fs *flag.FlagSet, isScheduled bool) {
	fs.StringVar(&r.tenant, "tenant", "", "`tenant` whose rows they are; default the one that -as may export, if it is one")
	fs.StringVar(&r.columns, "columns", "", "comma-separated `columns` of the table; default all that -as may have")
	fs.StringVar(&r.format, "format", "parquet", "parquet, csv, jsonl or xlsx")
	fs.StringVar(&r.Compression, "compress", "none", "csv and jsonl: zstd, gzip or none")
	fs.StringVar(&r.encrypt, "encrypt", "none", "age: to the tenant's public keys; kms: so that the tenant's key opens them; none: TLS and the folder's rights alone")
	fs.BoolVar(&r.RawText, "raw-text", false, "csv: leave texts as they are that a spreadsheet would take for formulas")
	fs.Int64Var(&r.MaxFileBytes, "max-file-bytes", 64<<20, "about how large a file becomes before the next begins, in `bytes`")
	if isScheduled {
		fs.StringVar(&r.from, "since", "", "`time` at which the first window begins, RFC 3339; default the one that is not over")
		return
	}
	fs.StringVar(&r.from, "since", "", "first `time` of the table's time column, RFC 3339 or a date, included")
	fs.StringVar(&r.to, "until", "", "last `time`, not included")
	fs.StringVar(&r.Key, "key", "", "`text` that makes a repeat of the command the same export")
}

// complete reads the flags.
func (r *requested) complete() (err error) {
	r.Tenant, r.Format, r.Encryption = cardlake.Tenant(r.tenant), export.Format(r.format), r.encrypt
	r.Columns = serving.List(r.columns)
	var errs [2]error
	r.From, errs[0] = timeOf("-since", r.from)
	r.To, errs[1] = timeOf("-until", r.to)
	return errors.Join(errs[:]...)
}

func timeOf(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is a date such as 2026-03-01, or a time such as 2026-03-01T12:00:00Z", name)
}

// table sets what is exported: a table's name, or a statement.
func (r *requested) of(text string) {
	if strings.ContainsAny(strings.TrimSpace(text), " \t\n(") {
		r.SQL = text
	} else {
		r.Table = text
	}
}

func exportStart(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("export start", "TABLE|SQL", "Takes rows of one tenant away as files, within what -as may export, and on record. Runs here, unless another process of the folder runs it.", stderr)
	var e exporting
	var r requested
	r.define(fs, false)
	leave := fs.Bool("queue", false, `only ask for it: "cardlake serve" or "cardlake export run" runs it`)
	out := fs.String("out", "", "`folder` to download the files to, when it is done")
	return with(ctx, fs, &e, args, 1, func() error {
		if err := r.complete(); err != nil {
			return misused(fs, "%v", err)
		}
		r.of(fs.Arg(0))
		if r.Format == export.Parquet || r.Format == export.XLSX {
			if r.Compression == "none" {
				r.Compression = ""
			}
		}
		j, _, err := e.Start(ctx, e.door.caller, r.Request)
		if err != nil {
			return err
		}
		if !*leave {
			fmt.Fprintf(stderr, "export %s\n", j.ID)
			if j, err = e.runHere(ctx, j, stderr); err != nil {
				return err
			}
		}
		if j.State == export.Done && *out != "" {
			return e.download(ctx, j, *out, stdout, stderr)
		}
		return showExport(stdout, j)
	})
}

// runHere runs an export in this process, or waits for the process that does.
func (e *exporting) runHere(ctx context.Context, j *export.Job, stderr io.Writer) (*export.Job, error) {
	bar := newBar(stderr)
	defer bar.end()
	for !j.State.IsFinal() {
		var err error
		if j, err = e.RunOne(ctx, j.ID, bar.show); err != nil {
			return nil, err
		}
		bar.show(j)
		if j.State.IsFinal() {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	return j, nil
}

// showExport prints an export as JSON, and says by the error that it did not end well.
func showExport(w io.Writer, j *export.Job) error {
	shown := struct {
		ID        string          `json:"id"`
		State     export.State    `json:"state"`
		Tenant    cardlake.Tenant `json:"tenant"`
		Request   export.Request  `json:"request"`
		Progress  export.Progress `json:"progress"`
		CreatedAt time.Time       `json:"created_at"`
		EndedAt   time.Time       `json:"ended_at,omitzero"`
		ExpiresAt time.Time       `json:"expires_at,omitzero"`
		Error     string          `json:"error,omitempty"`
		Files     []export.File   `json:"files,omitempty"`
	}{j.ID, j.State, j.Tenant, j.Request, j.Progress, j.CreatedAt, j.EndedAt, j.ExpiresAt, j.Error, nil}
	for _, f := range j.Files {
		f.Object = ""
		shown.Files = append(shown.Files, f)
	}
	text, err := json.MarshalIndent(shown, "", "  ")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s\n", text); err != nil {
		return err
	}
	if j.State == export.Failed {
		return fmt.Errorf("the export failed: %s", j.Error)
	}
	return nil
}

func exportStatus(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("export status", "ID", "Tells how far an export is, as JSON.", stderr)
	var e exporting
	return with(ctx, fs, &e, args, 1, func() error {
		j, err := e.Job(ctx, e.door.caller, fs.Arg(0))
		if err != nil {
			return err
		}
		return showExport(stdout, j)
	})
}

func exportWait(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("export wait", "ID", "Waits until an export has ended, in whichever process, and tells how.", stderr)
	var e exporting
	return with(ctx, fs, &e, args, 1, func() error {
		bar := newBar(stderr)
		defer bar.end()
		for {
			j, err := e.Job(ctx, e.door.caller, fs.Arg(0))
			if err != nil {
				return err
			}
			bar.show(j)
			if j.State.IsFinal() {
				bar.end()
				return showExport(stdout, j)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
			}
		}
	})
}

func exportList(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("export list", "", "Lists the exports that -as asked for, the newest first.", stderr)
	var e exporting
	return with(ctx, fs, &e, args, 0, func() error {
		all, err := e.List(ctx, e.door.caller)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "id\tstate\ttenant\tformat\trows\tbytes\tfiles\tasked\twhat")
		for _, j := range all {
			what := j.Request.Table
			if what == "" {
				what = "a statement"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", j.ID, j.State, j.Tenant, j.Request.Format, j.Progress.Rows, j.Progress.Bytes, j.Progress.Files,
				j.CreatedAt.Format(time.RFC3339), what)
		}
		return w.Flush()
	})
}

func exportCancel(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("export cancel", "ID", "Ends an export; one that runs ends within seconds.", stderr)
	var e exporting
	return with(ctx, fs, &e, args, 1, func() error {
		j, err := e.Cancel(ctx, e.door.caller, fs.Arg(0))
		if err != nil {
			return err
		}
		return showExport(stdout, j)
	})
}

func exportRun(ctx context.Context, args []string, _, stderr io.Writer) error {
	fs := flagSet("export run", "", "Runs exports and schedules of all, and removes files whose time is over, until interrupted.", stderr)
	var e exporting
	return with(ctx, fs, &e, args, 0, func() error {
		err := e.Run(ctx)
		if err == nil {
			err = ctx.Err()
		}
		return err
	})
}

// bar shows progress: on a terminal in one line, which is written again and again.
type bar struct {
	w          io.Writer
	isTerminal bool
	shown      time.Time
	isOpen     bool
	isOver     bool // the end was shown
}

func newBar(w io.Writer) *bar {
	b := &bar{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		b.isTerminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return b
}

func (b *bar) show(j *export.Job) {
	if b.isOver {
		return
	}
	b.isOver = j.State.IsFinal()
	if b.isTerminal {
		if time.Since(b.shown) < 200*time.Millisecond && !j.State.IsFinal() {
			return
		}
		fmt.Fprintf(b.w, "\r%s\x1b[K", progressLine(j))
		b.isOpen = true
	} else if time.Since(b.shown) >= 5*time.Second || j.State.IsFinal() {
		fmt.Fprintln(b.w, progressLine(j))
	} else {
		return
	}
	b.shown = time.Now()
}

// end ends the line.
func (b *bar) end() {
	if b.isOpen {
		fmt.Fprintln(b.w)
		b.isOpen = false
	}
}

func progressLine(j *export.Job) string {
	p := j.Progress
	files := "files"
	if p.Files == 1 {
		files = "file"
	}
	text := fmt.Sprintf("%s: %d rows, %d %s, %.1f MB", j.State, p.Rows, p.Files, files, float64(p.Bytes)/1e6)
	if p.PlannedRows > 0 {
		const width = 20
		done := p.Percent * width / 100
		text = fmt.Sprintf("[%s%s] %3d%% %s", strings.Repeat("#", done), strings.Repeat(".", width-done), p.Percent, text)
	}
	return text
}
