package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/retention"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/keys"
)

const tenantUsage = `usage: cardlake-vault tenant create|suspend|resume|forget|offboard|list [flags]

  create    register a tenant, with a storage id, quotas, and keys in both keyrings
  suspend   let nobody read its rows; they still arrive
  resume    end the suspension
  forget    take cards of an erased person out of the vault, by their tokens
  offboard  destroy its keys and remove all that the lake and the vault have of it: for two people
  list      print the register

Each can be run again, and goes on where an interrupted run was.
"cardlake-vault tenant COMMAND -h" lists a command's flags.
`

// manageTenants is the subcommand tenant.
func manageTenants(ctx context.Context, args []string, std streams) error {
	commands := map[string]func(context.Context, []string, streams) error{
		"create": createTenant, "forget": forgetCards, "offboard": offboardTenant, "list": listTenants,
		"suspend": func(ctx context.Context, args []string, std streams) error {
			return setStatus(ctx, args, std, "suspend", catalog.TenantSuspended)
		},
		"resume": func(ctx context.Context, args []string, std streams) error {
			return setStatus(ctx, args, std, "resume", catalog.TenantActive)
		},
	}
	if len(args) == 0 {
		return usagef("which: create, suspend, resume, forget, offboard or list?")
	}
	if args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		fmt.Fprint(std.out, tenantUsage)
		return flag.ErrHelp
	}
	command, ok := commands[args[0]]
	if !ok {
		return usagef("there is no command %q: create, suspend, resume, forget, offboard or list", args[0])
	}
	return command(ctx, args[1:], std)
}

func createTenant(ctx context.Context, args []string, std streams) error {
	var p place
	var name, country, currency string
	var quotas catalog.Quotas
	flags := newFlags("tenant create", "Registers a tenant with a storage id drawn at random, and makes it a first key of every purpose in\nboth keyrings, which are made if they are not there. A tenant that is there stays as it is, but\nfor quotas that are given. Prints the record.")
	p.define(flags)
	p.defineAudit(flags, commandLog)
	flags.StringVar(&name, "tenant", "", "its `name` (required)")
	flags.StringVar(&country, "country", "", "ISO 3166-1 alpha-2 `code` of its country, such as BR (required)")
	flags.StringVar(&currency, "currency", "", "ISO 4217 `code` of its currency, such as BRL (required)")
	flags.Int64Var(&quotas.Rows, "quota-rows", 0, "`rows` that may be taken away as files in a day; default 10,000,000")
	flags.Int64Var(&quotas.Bytes, "quota-bytes", 0, "`bytes` that may be; default 10 GiB")
	flags.Int64Var(&quotas.Exports, "quota-exports", 0, "`exports` that may be asked for in a day; default 100")
	if err := parse(flags, args, std, "tenant", "country", "currency"); err != nil {
		return err
	}
	if cardlake.Tenant(name).Validate() != nil {
		return usagef("-tenant breaks the rule: %w", cardlake.ErrTenant)
	}
	if err := errors.Join(catalog.ValidateCountry(country), quotas.Validate()); err != nil {
		return usageError{err}
	}
	if _, ok := cardlake.Currency(currency).Exponent(); !ok {
		return usagef("-currency is not an ISO 4217 code that the lake knows, such as BRL")
	}
	if err := p.complete(commandLog); err != nil {
		return err
	}
	if err := home.Dir(p.dir).Make(); err != nil {
		return err
	}
	tenants, err := catalog.OpenTenants(p.tenants)
	if err != nil {
		return err
	}
	lake, err := openOrCreate(ctx, &p.keys.Lake)
	if err != nil {
		return err
	}
	// Without it nothing can be recorded, not even that it is made.
	if err := lake.EnsureOwners(ctx, keys.Lake); err != nil {
		return err
	}
	recorder := p.newRecorder(lake, "tenant.create", "tenant "+name)
	if r, err := tenants.Lookup(cardlake.Tenant(name)); err == nil {
		switch {
		case r.Status == catalog.TenantOffboarded:
			return errors.Join(fmt.Errorf("tenant %s: %w", name, catalog.ErrOffboarded), recorder.write(ctx, audit.Refused, "off-boarded", nil))
		case r.Country != country || string(r.Currency) != currency:
			return usagef("tenant %s is there, with country %s and currency %s", name, r.Country, r.Currency)
		}
	}
	return recorder.around(ctx, "", nil, func() error {
		r, err := tenants.Create(cardlake.Tenant(name), country, cardlake.Currency(currency), time.Now())
		if err == nil && quotas != (catalog.Quotas{}) {
			r, err = tenants.SetQuotas(r.Name, quotas)
		}
		if err != nil {
			return err
		}
		card, err := openOrCreate(ctx, &p.keys.Card)
		if err != nil {
			return err
		}
		owner := keys.OwnerOf(r.StorageID)
		if err := errors.Join(card.EnsureOwners(ctx, keys.Lake, keys.Processor, owner), lake.EnsureOwners(ctx, owner)); err != nil {
			return err
		}
		fmt.Fprintf(std.err, `tenant %s is ready. Nobody may read its rows yet but whom policies give all tenants: name its
people in principals.json of the grants, with "tenant": %q, and see "cardlake grants check".
`, name, name)
		return printJSON(std, r)
	})
}

func printJSON(std streams, v any) error {
	enc := json.NewEncoder(std.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func setStatus(ctx context.Context, args []string, std streams, command string, status catalog.TenantStatus) error {
	var p place
	var name, reason string
	about := "Ends the suspension of a tenant."
	if status == catalog.TenantSuspended {
		about = "Suspends a tenant: nobody reads its rows at any door, nor turns its tokens back. Its cards work on,\nand its rows still arrive, so that none is lost."
	}
	flags := newFlags("tenant "+command, about)
	p.define(flags)
	p.defineAudit(flags, commandLog)
	flags.StringVar(&name, "tenant", "", "its `name` (required)")
	flags.StringVar(&reason, "reason", "", "`why`, for the audit log (required)")
	if err := parse(flags, args, std, "tenant", "reason"); err != nil {
		return err
	}
	if err := p.complete(commandLog); err != nil {
		return err
	}
	t, err := p.tenant(name)
	if err != nil {
		return err
	}
	tenants, err := catalog.OpenTenants(p.tenants)
	if err != nil {
		return err
	}
	lake, err := open(ctx, &p.keys.Lake)
	if err != nil {
		return err
	}
	return p.newRecorder(lake, "tenant."+command, "tenant "+name).around(ctx, reason, nil, func() error {
		r, err := tenants.SetStatus(t.name, status, time.Now())
		if err != nil {
			return fmt.Errorf("tenant %s: %w", name, err)
		}
		fmt.Fprintf(std.err, "tenant %s is %s since %s\n", name, r.Status, r.StatusSince.Format(time.RFC3339))
		return nil
	})
}

func listTenants(_ context.Context, args []string, std streams) error {
	var p place
	var format string
	flags := newFlags("tenant list", "Prints the register of tenants.")
	p.define(flags)
	flags.StringVar(&format, "format", "table", "`form`: table or json")
	if err := parse(flags, args, std); err != nil {
		return err
	}
	if format != "table" && format != "json" {
		return usagef("-format is table or json")
	}
	p.tenants = cmp.Or(p.tenants, home.Dir(p.dir).Tenants())
	tenants, err := catalog.OpenTenants(p.tenants)
	if err != nil {
		return usageError{err}
	}
	if format == "json" {
		return printJSON(std, tenants.All())
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TENANT\tSTORAGE ID\tCOUNTRY\tCURRENCY\tSTATUS\tSINCE\tROWS A DAY\tBYTES A DAY\tEXPORTS A DAY\tLEAVING")
	for _, r := range tenants.All() {
		q, leaving := r.Quotas.OrDefault(), "-"
		if r.Leaving != (catalog.Leaving{}) {
			leaving = fmt.Sprintf("asked by %s on %s", r.Leaving.By, r.Leaving.At.Format(time.DateOnly))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", r.Name, r.StorageID, r.Country, r.Currency, r.Status,
			r.StatusSince.Format(time.DateOnly), q.Rows, q.Bytes, q.Exports, leaving)
	}
	return w.Flush()
}

// leaveWithin is how long a request to off-board waits for the second person.
const leaveWithin = 7 * 24 * time.Hour

// registerAge is by when every process has read what the register says: catalog.Tenants looks
// at its file each second.
const registerAge = 2 * time.Second

// offboarding is one run of tenant offboard.
type offboarding struct {
	place   place
	lake    lakeflags.Flags
	policy  string
	grace   time.Duration
	tenant  catalog.TenantRecord
	tenants *catalog.Tenants
	record  *recorder
	std     streams
}

// offboarded is the report of tenant offboard.
type offboarded struct {
	Tenant       cardlake.Tenant    `json:"tenant"`
	StorageID    cardlake.StorageID `json:"storage_id"`
	AskedBy      string             `json:"asked_by"`
	DoneBy       string             `json:"done_by"`
	At           time.Time          `json:"at"`
	Keys         int                `json:"keys_destroyed"` // versions in both keyrings
	VaultEntries int                `json:"vault_entries_removed"`
	Lake         retention.Removed  `json:"lake"`
	// Left is what a search for the storage id found afterwards: nothing, or the run failed.
	Left []string `json:"left"`
	// Remains is what this command does not reach.
	Remains []string `json:"remains"`
}

func offboardTenant(ctx context.Context, args []string, std streams) (err error) {
	o := offboarding{std: std}
	var name, confirm, reason string
	var withdraw bool
	flags := newFlags("tenant offboard", `Off-boards a tenant for good, in two steps by two people who run the same command: the first one
asks, and its rows are readable by nobody from then on; the second destroys all its keys in both
keyrings, removes its cards from the vault, and its files from every table, snapshot and older
version. A legal hold prevents it. Prints what was removed, as JSON. With a folder as -store stop
the service first.`)
	o.lake.Define(flags, lakeflags.Write, keyflags.Card)
	flags.StringVar(&o.place.tenants, "tenants", "", "`file` with the register of tenants; default tenants.json in -dir")
	o.place.defineStore(flags)
	o.place.defineAudit(flags, commandLog)
	flags.StringVar(&o.policy, "policy", "", "JSON `file` of retention, with the legal holds; default retention.json in -dir")
	flags.DurationVar(&o.grace, "grace", 10*time.Minute, "`time` for which readers may be at work on a snapshot that is to go: it is waited for")
	flags.StringVar(&name, "tenant", "", "its `name` (required)")
	flags.StringVar(&confirm, "confirm", "", "its `name` again, to show that this tenant is meant (required)")
	flags.StringVar(&reason, "reason", "", "`why`, for the audit log (required)")
	flags.BoolVar(&withdraw, "withdraw", false, "take the request back; \"tenant resume\" lets readers in again")
	if err := parse(flags, args, std, "tenant", "confirm", "reason"); err != nil {
		return err
	}
	if err := o.lake.Complete(); err != nil {
		return usageError{err}
	}
	if o.grace < 0 {
		return usagef("-grace is negative")
	}
	d := home.Dir(o.lake.Dir)
	o.place.dir, o.place.keys = o.lake.Dir, o.lake.Keys
	o.place.tenants = cmp.Or(o.place.tenants, d.Tenants())
	o.place.store = cmp.Or(o.place.store, d.Vault())
	o.place.audit = cmp.Or(o.place.audit, d.Audit(commandLog))
	o.place.anchor = cmp.Or(o.place.anchor, d.AuditAnchor(commandLog))
	o.policy = cmp.Or(o.policy, d.Retention())
	t, err := o.place.tenant(name)
	if err != nil {
		return err
	}
	if o.tenants, err = catalog.OpenTenants(o.place.tenants); err != nil {
		return err
	}
	if o.tenant, err = o.tenants.Lookup(t.name); err != nil {
		return err
	}
	card, lake, err := o.place.rings(ctx)
	if err != nil {
		return err
	}
	o.record = o.place.newRecorder(lake, "tenant.offboard", "tenant "+name)
	refuse := func(err error, reason string) error {
		return errors.Join(err, o.record.write(ctx, audit.Refused, reason, nil))
	}
	if confirm != name {
		return refuse(usagef("-confirm is not the name of tenant %s: nothing happened", name), "not confirmed")
	}
	policy, err := retention.ReadPolicy(o.policy)
	if err != nil {
		return err
	}
	if h, ok := retention.New(retention.Lake{}, policy, retention.Config{}).Held(t.name); ok {
		err := fmt.Errorf("tenant %s: %w: hold %s of case %s; ask %s, and release it with \"cardlake maintain hold release\"", name, retention.ErrHeld, h.ID, h.Case, h.By)
		return refuse(err, "hold "+h.ID)
	}
	me := person()
	switch asked := o.tenant.Leaving; {
	case o.tenant.Status == catalog.TenantOffboarded:
		// Again: what came late goes too.
	case withdraw:
		return o.record.around(ctx, "withdrawn: "+reason, nil, func() error {
			_, err := o.tenants.SetLeaving(t.name, catalog.Leaving{})
			return err
		})
	case asked == catalog.Leaving{} || time.Since(asked.At) > leaveWithin:
		return o.ask(ctx, me, reason)
	case asked.By == me:
		return refuse(fmt.Errorf("%s has asked to off-board tenant %s: another person must run this command", me, name), "the same person")
	}
	return o.record.around(ctx, "asked by "+o.tenant.Leaving.By+": "+reason, nil, func() error { return o.run(ctx, policy, me, card, lake) })
}

// person names who runs the command.
func person() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return personOf(os.Geteuid(), name, os.Getenv("SUDO_USER"))
}

// personOf is the user, or whom root was taken by with sudo: of anybody else the variable says
// nothing, for whoever runs a program sets what it is told, and one person must not be two.
func personOf(euid int, name, sudoUser string) string {
	if euid == 0 && sudoUser != "" {
		name = sudoUser
	}
	return "os:" + name
}

// ask is the first person's step.
func (o *offboarding) ask(ctx context.Context, me, reason string) error {
	return o.record.around(ctx, "asked: "+reason, nil, func() error {
		now := time.Now()
		_, err := o.tenants.SetLeaving(o.tenant.Name, catalog.Leaving{By: me, At: now})
		if err == nil {
			_, err = o.tenants.SetStatus(o.tenant.Name, catalog.TenantSuspended, now)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(o.std.err, "tenant %s is suspended. Another person must run the same command by %s; then nothing brings it back.\n",
			o.tenant.Name, now.Add(leaveWithin).Format(time.RFC3339))
		return nil
	})
}

// run is the second person's step. Keys go first: then nobody writes anything of the tenant
// any more, and all copies of what was written are unreadable, whatever happens next.
func (o *offboarding) run(ctx context.Context, policy *retention.Policy, me string, card, lake keyflags.Keyring) (err error) {
	out := offboarded{
		Tenant: o.tenant.Name, StorageID: o.tenant.StorageID, AskedBy: o.tenant.Leaving.By, DoneBy: me, At: time.Now().UTC(), Left: []string{},
		Remains: []string{
			fmt.Sprintf("events on the stream, their card numbers unreadable, until they expire: at most %s", policy.Stream()),
			fmt.Sprintf("rejected records, which are not by tenant, for %d days", policy.Days(cardlake.Rejected, "")),
			"backups of keyring files: destroy them",
			"the audit log, which names the tenant",
		},
	}
	owner := keys.OwnerOf(o.tenant.StorageID)
	log := slog.New(slog.NewTextHandler(o.std.err, nil))
	// Opened before anything is destroyed, because a service at work would keep it closed.
	erase := func() (int, error) { return 0, nil }
	if _, err := os.Stat(o.place.store); err == nil || strings.Contains(o.place.store, "://") {
		v, closeVault, err := o.place.openVault(ctx, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeVault()) }()
		erase = func() (int, error) { return v.Erase(ctx, owner) }
	}
	if o.tenant.Status != catalog.TenantOffboarded {
		// First of all: workers then drop its events. Without keys they would keep them, sealed
		// for the lake, as rejected records.
		if _, err := o.tenants.SetStatus(o.tenant.Name, catalog.TenantOffboarded, time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(registerAge):
		}
	}
	for _, ring := range []keyflags.Keyring{card, lake} {
		if err := ring.DestroyOwner(ctx, owner); err != nil && !errors.Is(err, keys.ErrNoKey) {
			return err
		}
		entries, err := ring.Inventory(ctx)
		if err != nil {
			return err
		}
		for _, e := range entries {
			switch {
			case e.Owner != owner:
			case e.State == keys.Destroyed:
				out.Keys++
			case e.State == keys.Pending:
				out.Keys++
				out.Remains = append(out.Remains, "a KMS key that is of no use any more, until the service has deleted it: "+e.ID)
			default:
				return fmt.Errorf("the %s key of tenant %s is %s: run this command again", e.Purpose, o.tenant.Name, e.State)
			}
		}
	}
	if out.VaultEntries, err = erase(); err != nil {
		return err
	}
	if err := o.removeFromLake(ctx, policy, me, log, &out); err != nil {
		return err
	}
	if o.lake.KMSKeys != "" {
		out.Remains = append(out.Remains, "the tenant's S3 key in KMS: schedule its deletion, and take it out of -kms-keys")
	}
	if err := printJSON(o.std, out); err != nil {
		return err
	}
	if len(out.Left) > 0 {
		return fmt.Errorf("%d objects of tenant %s are still there: workers may have written on with keys that they held; run this command again in 10 minutes", len(out.Left), o.tenant.Name)
	}
	return o.record.write(ctx, audit.Allowed, "done", map[string]int64{
		"keys": int64(out.Keys), "vault_entries": int64(out.VaultEntries), "files": int64(out.Lake.Files), "rows": out.Lake.Rows,
	})
}

// removeFromLake removes the tenant from the lake, if there is one.
func (o *offboarding) removeFromLake(ctx context.Context, policy *retention.Policy, me string, log *slog.Logger, out *offboarded) (err error) {
	if o.lake.Catalog != lakeflags.Glue && !o.lake.IsPostgres() {
		if _, err := os.Stat(o.lake.Catalog); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	l, err := o.lake.Open(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	keeper := retention.New(retention.Lake{
		Open: func(ctx context.Context, def *cardlake.Table) (retention.Table, error) {
			t, err := l.Table(ctx, def)
			if err != nil {
				return nil, err
			}
			return retention.Of(t, o.grace), nil
		},
		Tables: cardlake.Tables, Store: l.Store, Tenants: o.tenants, Record: lineByLine{o.record}, Log: log,
	}, policy, retention.Config{By: me, Origin: o.record.base.Origin})
	if out.Lake, err = keeper.RemoveTenant(ctx, o.tenant.Name); err != nil {
		return err
	}
	left, err := keeper.Left(ctx, o.tenant.Name)
	out.Left = append(out.Left, left...)
	slices.Sort(out.Left)
	return err
}

// lineByLine writes lines of another's making into the log of the commands. It implements
// retention.Recorder.
type lineByLine struct{ record *recorder }

// Append implements retention.Recorder.
func (l lineByLine) Append(ctx context.Context, line audit.Record) error {
	one := *l.record
	one.base = line
	return one.write(ctx, line.Outcome, line.Reason, line.Numbers)
}
