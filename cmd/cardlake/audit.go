package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/audit/ship"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/writers/objects"
)

const auditUsage = `usage: cardlake audit COMMAND [flags]

  verify   say whether the audit log holds together, or exactly where it does not
  tail     show the newest lines, and follow
  alerts   look for abuse in the lines as they are written
  ship     copy lines to the table audit.events and closed segments to an archive
  prune    remove old segments that are in the archive
  key      print the public keys that checkpoints are verified with

"cardlake audit COMMAND -h" lists a command's flags.
`

// auditCommand is "cardlake audit".
func auditCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, auditUsage)
		return errUsage
	}
	switch command, args := args[0], args[1:]; command {
	case "verify":
		return auditVerify(ctx, args, stdout, stderr)
	case "tail":
		return auditTail(ctx, args, stdout, stderr)
	case "alerts":
		return auditAlerts(ctx, args, stdout, stderr)
	case "ship":
		return auditShip(ctx, args, stdout, stderr)
	case "prune":
		return auditPrune(ctx, args, stdout, stderr)
	case "key":
		return auditKey(ctx, args, stdout, stderr)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, auditUsage)
		return nil
	default:
		fmt.Fprintf(stderr, "cardlake audit: there is no command %q\n\n%s", command, auditUsage)
		return errUsage
	}
}

// Who reads the log and who keeps it, on one machine and if nobody is named.
const localAuditor = "auditor/local"

// actionReadAudit is the action of lines that say that the log was read.
const actionReadAudit = "audit_read"

// auditPlace is what the commands of the audit log have in common.
type auditPlace struct {
	door  door
	place lakeflags.Flags

	ring    keyflags.Keyring
	permits *grants.Grants
	record  *audit.Log
}

func (a *auditPlace) define(fs *flag.FlagSet, access lakeflags.Access) {
	a.place.Define(fs, access)
	a.door.define(fs)
	a.door.defineRecord(fs)
}

// complete fills in what was not given. An error is the caller's.
func (a *auditPlace) complete(fs *flag.FlagSet, as string) error {
	a.door.as = cmp.Or(a.door.as, os.Getenv("CARDLAKE_AS"), as)
	if fs.NArg() != 0 {
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	if err := errors.Join(a.place.Complete(), a.door.complete(home.Dir(a.place.Dir))); err != nil {
		return misused(fs, "%v", err)
	}
	return nil
}

// open refuses whoever is not permitted, and puts on record what is done. close must follow,
// also after an error. A log that is broken can't be written: then the command, if it only
// verifies, goes on with a warning, because that is when it is needed.
func (a *auditPlace) open(ctx context.Context, action grants.Action, command string, verifies io.Writer) error {
	var err error
	if a.permits, err = a.door.permits(); err != nil {
		return err
	}
	if a.ring, err = a.place.Keys.Lake.Open(ctx); err != nil {
		return err
	}
	ruling := a.permits.Permitted(a.door.caller, action)
	a.record, err = a.log(ctx)
	for _, broken := range []error{audit.ErrBroken, audit.ErrTruncated, audit.ErrChanged} {
		if verifies != nil && ruling.Allowed() && errors.Is(err, broken) {
			fmt.Fprintf(verifies, "cardlake: this look at the log is not on record: %v\n", err)
			return nil
		}
	}
	if err != nil {
		return err
	}
	line := audit.Record{
		Actor: a.door.caller.Principal.String(), Origin: a.door.caller.Origin, Reason: a.door.reason,
		Action: actionReadAudit, Resource: "audit log", Outcome: audit.Allowed,
		Detail: map[string]string{"command": command, "version": ruling.Version},
	}
	if action != grants.ReadAudit {
		line.Action = "audit_" + command
	}
	if len(ruling.Policies) > 0 {
		line.Detail["policies"] = strings.Join(ruling.Policies, ",")
	}
	if a.door.breakGlass {
		line.Detail["break_glass"] = "true"
	}
	if !ruling.Allowed() {
		line.Outcome, line.Detail["refused"] = audit.Refused, cmp.Or(ruling.Reason, "nothing permits it")
	}
	if err := a.record.Append(ctx, line); err != nil {
		return fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	if !ruling.Allowed() {
		return fmt.Errorf("%w: see \"cardlake grants explain\"", queries.ErrNotPermitted)
	}
	return nil
}

// log opens the audit log beside other processes that write it.
func (a *auditPlace) log(ctx context.Context) (*audit.Log, error) {
	l, err := audit.OpenShared(ctx, a.door.audit, a.ring, audit.Config{Actor: "cardlake audit", Anchor: audit.FileAnchor(a.door.anchor)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	return l, nil
}

func (a *auditPlace) close() error {
	if a.record == nil {
		return nil
	}
	return a.record.Close()
}

// verification is against what the folder's log is held: its keys and, if it signs, its own
// public keys.
func (a *auditPlace) verification() (audit.VerifyConfig, error) {
	cfg := audit.VerifyConfig{Keys: a.ring}
	public, err := audit.PublicKeys(a.door.audit)
	if err == nil {
		cfg.Public = public
	} else if !errors.Is(err, os.ErrNotExist) {
		return cfg, err
	}
	return cfg, nil
}

func auditVerify(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("audit verify", "", `Reads the whole audit log and says whether any line was changed, taken out, put in, moved or cut
off, and where. Exit code 0: it holds together; 1: it does not; 2: it could not be read.

With -offline it verifies a copy of the log's folder and needs nothing but -public: no keys, no
lake, no permission.`, stderr)
	var a auditPlace
	a.define(fs, lakeflags.Read)
	public := fs.String("public", "", "`file` of the public keys that are trusted, PEM, as \"cardlake audit key\" prints them; default those of the log's folder")
	known := fs.String("known", "", "`file` of checkpoints that were kept, a JSON object a line, which the log must have")
	offline := fs.String("offline", "", "`folder` that is a copy of a log's, to be verified with -public alone")
	archive := fs.Bool("archive", false, "verify the segments in the archive in place of those of the folder")
	var at archiveFlags
	fs.StringVar(&at.bucket, "archive-bucket", "", "S3 `bucket` of the archive; default where the lake's objects are")
	table := fs.Bool("table", false, "hold the log against the checkpoints in the archive, and the rows of audit.events against the log")
	format := fs.String("format", "text", "how the result is written: text, json")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case *offline != "" && (*public == "" || *archive || *table):
		return misused(fs, "-offline needs -public, and no -archive or -table")
	case *format != "text" && *format != "json":
		return misused(fs, "unknown format: want one of text, json")
	}
	if err := a.complete(fs, localAuditor); err != nil {
		return err
	}
	var pinned []ed25519.PublicKey
	if *public != "" {
		text, err := os.ReadFile(*public)
		if err == nil {
			pinned, err = audit.ParsePublic(text)
		}
		if err != nil {
			return fmt.Errorf("-public: %w", err)
		}
	}
	var heads []audit.Head
	if *known != "" {
		if heads, err = readHeads(*known, pinned); err != nil {
			return fmt.Errorf("-known: %w", err)
		}
	}
	if *offline != "" {
		r, err := audit.Verify(ctx, *offline, audit.VerifyConfig{Public: pinned, Known: heads})
		if err != nil {
			return err
		}
		return verdict(stdout, *format, r, nil)
	}

	// The anchor first: lines that are written meanwhile are beyond it.
	anchor, err := audit.FileAnchor(a.door.anchor).Load(ctx)
	if err != nil {
		return err
	}
	if err := a.open(ctx, grants.ReadAudit, "verify", stderr); err != nil {
		return errors.Join(err, a.close())
	}
	defer func() { err = errors.Join(err, a.close()) }()
	cfg, err := a.verification()
	if err != nil {
		return err
	}
	if cfg.Known = heads; pinned != nil {
		cfg.Public = pinned
	}
	var from audit.Segments = audit.Dir(a.door.audit)
	var lake *lakeflags.Lake
	var store objects.Store
	if *archive || *table {
		if lake, err = a.place.Open(ctx, nil); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lake.Close()) }()
		at.days = archiveDays
		if store, err = at.open(&a.place, lake); err != nil {
			return err
		}
	}
	switch {
	case *archive:
		if from, err = a.archived(ctx, store); err != nil {
			return err
		}
	case *table:
		shipped, err := a.checkpoints(ctx, store, cfg.Public)
		if err != nil {
			return err
		}
		cfg.Known = append(cfg.Known, shipped...)
		fallthrough
	default:
		cfg.Anchor = anchor
	}
	r, err := audit.VerifySegments(ctx, from, cfg)
	if err != nil {
		return err
	}
	var rows *ship.Comparison
	if *table && r.Break == nil {
		t, err := lake.Table(ctx, cardlake.AuditEvents)
		if err != nil {
			return err
		}
		c, err := ship.Compare(ctx, from, cfg, t, lake.Store)
		if err != nil {
			return err
		}
		rows = &c
	}
	return verdict(stdout, *format, r, rows)
}

// archived is the copy of the log's segments.
func (a *auditPlace) archived(ctx context.Context, store objects.Store) (audit.Segments, error) {
	logs, err := ship.Logs(ctx, store)
	if err != nil {
		return nil, err
	}
	log, err := audit.LogOf(ctx, audit.Dir(a.door.audit))
	switch {
	case err != nil:
		return nil, err
	case log == "" && len(logs) == 1:
		log = logs[0] // the folder is gone, and the archive is what is left
	case log == "":
		return nil, fmt.Errorf("there is no audit log in %s, and %d logs in the archive", a.door.audit, len(logs))
	}
	return ship.Copy(store, log), nil
}

// newestCheckpoints is how many of the archive the log is held against: three days' worth.
const newestCheckpoints = 1000

// checkpoints are those of the log that the archive has. One that is not genuine is no proof
// of anything, and an error.
func (a *auditPlace) checkpoints(ctx context.Context, store objects.Store, public []ed25519.PublicKey) ([]audit.Head, error) {
	log, err := audit.LogOf(ctx, audit.Dir(a.door.audit))
	if err != nil || log == "" {
		return nil, nil // verifying it will say what is wrong
	}
	signed, err := ship.Heads(ctx, store, log, newestCheckpoints)
	if err != nil {
		return nil, err
	}
	var out []audit.Head
	for _, s := range signed {
		if len(public) > 0 {
			if err := s.Verify(public...); err != nil {
				return nil, fmt.Errorf("the archive's checkpoint of line %d: %w", s.Seq, err)
			}
		}
		out = append(out, s.Head)
	}
	return out, nil
}

// readHeads reads checkpoints that somebody kept, and verifies them if keys are pinned.
func readHeads(file string, public []ed25519.PublicKey) ([]audit.Head, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []audit.Head
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		var s audit.SignedHead
		if err := dec.Decode(&s); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil || s.Log == "" || s.Seq == 0 {
			return nil, fmt.Errorf("checkpoint %d is not readable", len(out)+1)
		}
		if len(public) > 0 {
			if err := s.Verify(public...); err != nil {
				return nil, fmt.Errorf("checkpoint %d: %w", len(out)+1, err)
			}
		}
		out = append(out, s.Head)
	}
}

// verdict writes what was found. A log that does not hold together is exit code 1.
func verdict(w io.Writer, format string, r audit.Report, rows *ship.Comparison) error {
	isBroken := r.Break != nil || rows != nil && rows.Break != nil
	if format == "json" {
		err := json.NewEncoder(w).Encode(struct {
			OK  bool `json:"ok"`
			Log any  `json:"log"`
			Tbl any  `json:"table,omitempty"`
		}{!isBroken, r, rows})
		if err != nil {
			return err
		}
	} else {
		verdictText(w, r, rows)
	}
	if isBroken {
		return exitCode(1)
	}
	return nil
}

func verdictText(w io.Writer, r audit.Report, rows *ship.Comparison) {
	const layout = "2006-01-02 15:04:05"
	if r.Break != nil {
		fmt.Fprintf(w, "BROKEN: %s\n%d lines before it hold together\n", r.Break, r.Lines)
		return
	}
	fmt.Fprintf(w, "OK: log %s, %d lines in %d segments, %s to %s UTC, last line %d\n", r.Log, r.Lines, r.Segments, r.From.Format(layout), r.To.Format(layout), r.Head.Seq)
	if r.Pruned > 0 {
		fmt.Fprintf(w, "%d older segments were pruned, as the log says\n", r.Pruned)
	}
	if r.IsSealed {
		fmt.Fprintln(w, "every seal is genuine")
	} else {
		fmt.Fprintln(w, "seals were not checked")
	}
	if r.Checkpoints > 0 || r.Unsigned > 0 {
		fmt.Fprintf(w, "%d checkpoints are genuine, %d lines follow the last one\n", r.Checkpoints, r.Unsigned)
	}
	if r.Torn > 0 {
		fmt.Fprintf(w, "%d bytes of an unfinished line are at the end\n", r.Torn)
	}
	switch {
	case rows == nil:
	case rows.Break != nil:
		fmt.Fprintf(w, "BROKEN: audit.events, line %d: %s\n", rows.Break.Seq, rows.Break.What)
	default:
		fmt.Fprintf(w, "audit.events has %d of the lines, each once and as the log says; %d are not shipped yet\n", rows.Lines, rows.Beyond)
	}
}
