package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/retention"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
)

// localOperator is who maintains a lake on one machine if nobody is named.
const localOperator = "operator/local"

// keeping is what the commands of retention, erasure and holds have in common.
type keeping struct {
	door   door
	place  lakeflags.Flags
	policy string
	grace  time.Duration
	format string

	record *ruled
}

// ruled writes lines of a caller into the audit log, with what permitted them.
type ruled struct {
	*audit.Log
	door   *door
	ruling *grants.Ruling
}

// Append implements retention.Recorder.
func (r *ruled) Append(ctx context.Context, line audit.Record) error {
	line.Actor, line.Origin = r.door.caller.Principal.String(), r.door.caller.Origin
	line.Reason = cmp.Or(line.Reason, r.door.reason)
	detail := map[string]string{"version": r.ruling.Version}
	if len(r.ruling.Policies) > 0 {
		detail["policies"] = strings.Join(r.ruling.Policies, " ")
	}
	maps.Copy(detail, line.Detail)
	line.Detail = detail
	return r.Log.Append(ctx, line)
}

func (k *keeping) define(fs *flag.FlagSet) {
	k.place.Define(fs, lakeflags.Write)
	k.door.define(fs)
	k.door.defineRecord(fs)
	fs.StringVar(&k.policy, "policy", "", "JSON `file` of how long rows are kept and which are held; default retention.json in -dir")
	fs.DurationVar(&k.grace, "grace", 10*time.Minute, "`time` for which readers may be at work on a snapshot that is to go: it is waited for; longer than the longest query")
	fs.StringVar(&k.format, "format", "table", "how the result is written: table, json")
}

// complete fills in what was not given. An error is the caller's.
func (k *keeping) complete(fs *flag.FlagSet) error {
	if k.door.as == "" && os.Getenv("CARDLAKE_AS") == "" {
		k.door.as = localOperator
	}
	d := home.Dir(k.place.Dir)
	k.policy = cmp.Or(k.policy, d.Retention())
	switch {
	case fs.NArg() != 0:
		// The argument may be a customer's id in the wrong place.
		return misused(fs, "takes no arguments, got %d", fs.NArg())
	case k.format != "table" && k.format != "json":
		return misused(fs, "unknown format: want one of table, json")
	case k.grace < 0:
		return misused(fs, "-grace is negative")
	}
	if err := k.place.Complete(); err != nil {
		return misused(fs, "%v", err)
	}
	if err := k.door.complete(d); err != nil {
		return misused(fs, "%v", err)
	}
	return nil
}

// enter opens the audit log, and refuses whoever may not maintain: the tenant, or the lake as
// a whole if it is empty.
func (k *keeping) enter(ctx context.Context, action string, tenant cardlake.Tenant) error {
	permits, err := k.door.permits()
	if err != nil {
		return err
	}
	log, err := k.door.record(ctx, &k.place)
	if err != nil {
		return err
	}
	k.record = &ruled{log, &k.door, permits.Permitted(k.door.caller, grants.Maintain)}
	line := audit.Record{Action: action, Resource: "lake", Outcome: audit.Allowed}
	if tenant != "" {
		line.Resource = "tenant " + string(tenant)
	}
	if !k.record.ruling.For(tenant) {
		line.Outcome, line.Reason = audit.Refused, cmp.Or(k.record.ruling.Reason, "not for this tenant")
		err = fmt.Errorf("%w: see \"cardlake grants explain\"", queries.ErrNotPermitted)
	} else if action != "retention.plan" && action != "hold.list" {
		return nil // it records itself, when it is known what is done
	}
	if err = errors.Join(err, k.record.Append(ctx, line)); err != nil {
		return errors.Join(err, log.Close())
	}
	return nil
}

// keeper opens the lake and returns its keeper.
func (k *keeping) keeper(ctx context.Context, stderr io.Writer) (*retention.Keeper, func() error, error) {
	if k.place.Catalog != lakeflags.Glue && !k.place.IsPostgres() {
		if _, err := os.Stat(k.place.Catalog); errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("there is no lake in %s: give its folder with -dir", k.place.Dir)
		}
	}
	policy, err := retention.ReadPolicy(k.policy)
	if err != nil {
		return nil, nil, err
	}
	tenants, err := catalog.OpenTenants(k.door.tenants)
	if err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	l, err := k.place.Open(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	lake := retention.Lake{
		Open: func(ctx context.Context, def *cardlake.Table) (retention.Table, error) {
			t, err := l.Table(ctx, def)
			if err != nil {
				return nil, err
			}
			return retention.Of(t, k.grace), nil
		},
		Tables: cardlake.Tables, Store: l.Store, Tenants: tenants, Record: k.record, Log: log,
	}
	return retention.New(lake, policy, retention.Config{By: k.door.caller.Principal.String(), Origin: k.door.caller.Origin}), l.Close, nil
}

const retentionUsage = `usage: cardlake maintain retention plan|enforce [flags]

  plan     print what is past its days, and what must hold of the stream; changes nothing
  enforce  erase again what came of erased persons, and remove for good what is past its days

"cardlake maintain retention COMMAND -h" lists a command's flags.
`

// retentionCommand is "cardlake maintain retention".
func retentionCommand(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	if len(args) == 0 || args[0] != "plan" && args[0] != "enforce" {
		if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
			fmt.Fprint(stdout, retentionUsage)
			return nil
		}
		fmt.Fprint(stderr, retentionUsage)
		return errUsage
	}
	var k keeping
	var force bool
	about := "Prints what is past its days, by table and tenant, and changes nothing. Whole UTC days go, when\ntheir last row is older than the policy says."
	if args[0] == "enforce" {
		about = "Removes what is past its days: from the tables, from every snapshot, from the store and its\nolder versions. Rows of erased persons that came since are anonymised first."
	}
	fs := flagSet("maintain retention "+args[0], "", about, stderr)
	k.define(fs)
	if args[0] == "enforce" {
		fs.BoolVar(&force, "force", false, "go on although so much is past its days, or the clock so far beyond the newest commit, that the clock may be wrong")
	}
	if err := parse(fs, args[1:]); err != nil {
		return err
	}
	if err := k.complete(fs); err != nil {
		return err
	}
	if err := k.enter(ctx, "retention."+args[0], ""); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.record.Close()) }()
	keeper, closeLake, err := k.keeper(ctx, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLake()) }()
	if args[0] == "plan" {
		p, err := keeper.Plan(ctx)
		if err != nil {
			return err
		}
		return k.print(stdout, p, func(w io.Writer) { printPlan(w, p) })
	}
	// A tenant whose erasures cannot be read, as its key is out of reach, keeps no other's rows
	// beyond their days.
	erased, reapplied := keeper.Reapply(ctx)
	e, err := keeper.Enforce(ctx, force)
	if err = errors.Join(reapplied, err); err != nil {
		return err
	}
	all := struct {
		retention.Enforced
		Erased []retention.Erased `json:"erased,omitempty"`
	}{e, erased}
	return k.print(stdout, all, func(w io.Writer) {
		for _, e := range erased {
			fmt.Fprintf(w, "erased again\ttenant %s\t%d rows in %d files\n", e.Tenant, e.Rows, e.Files)
		}
		printPlan(w, e.Plan)
		printDisposal(w, e.Disposal)
	})
}

// print writes a result as JSON, or as text in columns.
func (k *keeping) print(stdout io.Writer, result any, text func(io.Writer)) error {
	if k.format == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	text(w)
	return w.Flush()
}

func printPlan(w io.Writer, p retention.Plan) {
	fmt.Fprintln(w, "TABLE\tTENANT\tKEPT\tFIRST DAY\tDAYS THAT GO\tFILES\tROWS\tHELD")
	for _, d := range p.Due {
		held := "-"
		if d.HeldFiles > 0 {
			held = fmt.Sprintf("%d files by %s", d.HeldFiles, strings.Join(d.Holds, " "))
		}
		fmt.Fprintf(w, "%s\t%s\t%d days\t%s\t%d\t%d\t%d\t%s\n", d.Table, cmp.Or(string(d.Tenant), "-"), d.KeptDays, d.FirstKept, d.Days, d.Files, d.Rows, held)
	}
	fmt.Fprintf(w, "\nthe stream must keep events no longer than\t%s (retention.ms of a Kafka topic: at most %d)\n", p.StreamKeeps, p.StreamKeeps.Milliseconds())
	fmt.Fprintf(w, "files of answers and exports are kept\t%s\n", p.ResultsKeep)
}

func printDisposal(w io.Writer, d retention.Disposal) {
	fmt.Fprintf(w, "\nremoved for good\t%d snapshots, %d files that they named, %d other objects, %d older versions\n", d.Snapshots, d.Forgotten, d.Objects, d.Versions)
	if d.Pending > 0 {
		fmt.Fprintf(w, "too young to tell\t%d objects that no snapshot names: the next pass looks at them\n", d.Pending)
	}
}

// eraseCommand is "cardlake maintain erase". The customer's id comes from a file or from
// standard input, because a process's arguments are everybody's to read.
func eraseCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return erasePerson(ctx, args, os.Stdin, stdout, stderr)
}

func erasePerson(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	var k keeping
	fs := flagSet("maintain erase", "", `Anonymises all rows of one customer of a tenant: they stay, without customer, account, token and
what is left of the card number, so that sums and counts are as before. Older snapshots and
objects go for good, and rows that arrive later are anonymised by each "maintain retention
enforce". The customer's id is read from standard input. Run it again after an interruption.`, stderr)
	k.define(fs)
	tenant := fs.String("tenant", "", "`name` of the customer's tenant (required)")
	file := fs.String("customer-file", "-", "`file` with the customer's id and nothing else; - is standard input")
	dryRun := fs.Bool("dry-run", false, "only count the rows")
	cards := fs.String("cards", "", "new `file`, mode 0600, for the tokens that went, one a line, by which zone A takes their cards out of the vault; delete it then")
	if err := parse(fs, args); err != nil {
		return err
	}
	name := cardlake.Tenant(*tenant)
	if name.Validate() != nil {
		return misused(fs, "-tenant: %v", name.Validate())
	}
	if err := k.complete(fs); err != nil {
		return err
	}
	customer, err := readCustomer(*file, stdin)
	if err != nil {
		return err
	}
	if err := k.enter(ctx, "erase", name); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.record.Close()) }()
	keeper, closeLake, err := k.keeper(ctx, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLake()) }()
	var tokens *os.File
	if *cards != "" {
		// Before anything happens: what it lists is nowhere else afterwards.
		if tokens, err = os.OpenFile(*cards, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return fmt.Errorf("-cards: %w", err)
		}
		defer func() { err = errors.Join(err, tokens.Close()) }()
	}
	listed := map[string]bool{}
	list := func(cards []string) error {
		out := bufio.NewWriter(tokens)
		for _, card := range cards {
			if !listed[card] {
				listed[card] = true
				fmt.Fprintln(out, card)
			}
		}
		return errors.Join(out.Flush(), tokens.Sync())
	}
	if tokens != nil && !*dryRun {
		// A run that is killed half-way has erased rows whose tokens nobody finds again, so they
		// are on disk before the first row goes.
		found, err := keeper.Erase(ctx, name, customer, true)
		if err = errors.Join(err, list(found.Cards)); err != nil {
			return err
		}
	}
	e, err := keeper.Erase(ctx, name, customer, *dryRun)
	if tokens != nil {
		err = errors.Join(err, list(e.Cards)) // with those of rows that came meanwhile
	}
	if err != nil {
		return err
	}
	return k.print(stdout, e, func(w io.Writer) {
		done := "anonymised"
		if *dryRun {
			done = "would be anonymised"
		}
		fmt.Fprintf(w, "%s\t%d rows of %d cards in %d files\n", done, e.Rows, len(e.Cards), e.Files)
		if e.Others > 0 {
			fmt.Fprintf(w, "stay\t%d rows with a card of theirs under another customer's name\n", e.Others)
		}
		if !*dryRun {
			printDisposal(w, e.Disposal)
		}
	})
}

// readCustomer reads a customer's id, without the end of its line.
func readCustomer(file string, stdin io.Reader) (string, error) {
	from := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("-customer-file: %w", err)
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, 4096))
	if err != nil {
		return "", fmt.Errorf("-customer-file: %w", err)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 || bytes.ContainsAny(text, "\r\n") {
		return "", errors.New("-customer-file: want one line with one customer's id")
	}
	return string(text), nil
}

const holdUsage = `usage: cardlake maintain hold add|release|list [flags]

  add      keep a tenant's rows, or a customer's, whatever the policy says
  release  end a hold
  list     print the holds

"cardlake maintain hold COMMAND -h" lists a command's flags.
`

// holdCommand is "cardlake maintain hold".
func holdCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return changeHolds(ctx, args, os.Stdin, stdout, stderr)
}

func changeHolds(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	commands := map[string]string{
		"add":     "Keeps all rows of a tenant, or the files with rows of one customer, and refuses to erase them or\nto off-board the tenant. The customer is written down as a keyed hash. Prints the hold's id.",
		"release": "Ends a hold. What it kept goes with the next pass.",
		"list":    "Prints the holds, who ordered them and why.",
	}
	if len(args) == 0 || commands[args[0]] == "" {
		if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
			fmt.Fprint(stdout, holdUsage)
			return nil
		}
		fmt.Fprint(stderr, holdUsage)
		return errUsage
	}
	var k keeping
	var tenant, file, legalCase, why, id string
	fs := flagSet("maintain hold "+args[0], "", commands[args[0]], stderr)
	k.define(fs)
	switch args[0] {
	case "add":
		fs.StringVar(&tenant, "tenant", "", "`name` of the tenant (required)")
		fs.StringVar(&file, "customer-file", "", "`file` with the id of the one customer to keep, - for standard input; default the whole tenant")
		fs.StringVar(&legalCase, "case", "", "`number` or name of the legal matter (required)")
		fs.StringVar(&why, "why", "", "`reason`, for whoever reads the list (required)")
	case "release":
		fs.StringVar(&id, "id", "", "the hold's `id` (required)")
		fs.StringVar(&why, "why", "", "`reason`, for the audit log (required)")
	}
	if err := parse(fs, args[1:]); err != nil {
		return err
	}
	name := cardlake.Tenant(tenant)
	switch {
	case args[0] == "add" && name.Validate() != nil:
		return misused(fs, "-tenant: %v", name.Validate())
	case args[0] == "add" && legalCase == "":
		return misused(fs, "-case is missing")
	case args[0] == "release" && id == "":
		return misused(fs, "-id is missing")
	case args[0] != "list" && why == "":
		return misused(fs, "-why is missing")
	}
	if err := k.complete(fs); err != nil {
		return err
	}
	if err := k.enter(ctx, "hold."+args[0], name); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.record.Close()) }()
	if args[0] == "list" {
		p, err := retention.ReadPolicy(k.policy)
		if err != nil {
			return err
		}
		return k.print(stdout, p.Holds, func(w io.Writer) {
			fmt.Fprintln(w, "ID\tTENANT\tPERSON\tCASE\tWHY\tBY\tSINCE")
			for _, h := range p.Holds {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.ID, h.Tenant, cmp.Or(h.Person, "-"), h.Case, h.Why, h.By, h.At.Format(time.RFC3339))
			}
		})
	}
	line := audit.Record{
		Action: "hold." + args[0], Outcome: audit.Allowed, Reason: why, Detail: map[string]string{},
	}
	if args[0] == "release" {
		line.Resource = "hold " + id
		return k.change(ctx, line, func(p *retention.Policy) error {
			for i, h := range p.Holds {
				if h.ID == id {
					p.Holds = append(p.Holds[:i], p.Holds[i+1:]...)
					return nil
				}
			}
			return fmt.Errorf("there is no hold %q: see \"cardlake maintain hold list\"", id)
		})
	}
	var random [8]byte
	rand.Read(random[:])
	h := retention.Hold{
		ID: "hold-" + string(cardlake.AppendLetters(nil, random[:])), Tenant: name, Case: legalCase, Why: why,
		By: k.door.caller.Principal.String(), At: time.Now().UTC().Truncate(time.Second),
	}
	keeper, closeLake, err := k.keeper(ctx, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLake()) }()
	if file != "" {
		customer, err := readCustomer(file, stdin)
		if err != nil {
			return err
		}
		if h.Person, err = keeper.Person(ctx, name, customer); err != nil {
			return err
		}
		line.Detail["person"] = h.Person
	}
	line.Resource, line.Detail["case"], line.Detail["hold"] = "tenant "+tenant, legalCase, h.ID
	if err := k.change(ctx, line, func(p *retention.Policy) error { p.Holds = append(p.Holds, h); return nil }); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, h.ID)
	return err
}

// change changes the policy's holds. The record is written before, as late as can be: when
// nothing but the file is left to be replaced.
func (k *keeping) change(ctx context.Context, line audit.Record, do func(*retention.Policy) error) error {
	return retention.ChangePolicy(k.policy, func(p *retention.Policy) error {
		if err := do(p); err != nil {
			return err
		}
		if err := p.Validate(); err != nil {
			return err
		}
		return k.record.Append(ctx, line)
	})
}
