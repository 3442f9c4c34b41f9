package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
)

const maintainUsage = `usage: cardlake maintain COMMAND [flags]

  status      list the tables' files, and what compact would do
  compact     merge small files, toward one sorted file for each tenant and day
  expire      drop old snapshots, and the files that only they have
  orphans     find, and remove, objects that no table names
  manifests   write the lists of files anew, in order of tenant and day
  run         do all of the above, and retention, again and again
  retention   remove what is past its days
  erase       anonymise one customer's rows
  hold        keep rows whatever the policy says

"cardlake maintain COMMAND -h" lists a command's flags. All work beside the workers, beside
queries and beside each other; whatever is interrupted can be run again.
`

// maintainCommand is "cardlake maintain".
func maintainCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, maintainUsage)
		return errUsage
	}
	switch command, args := args[0], args[1:]; command {
	case "status":
		return maintainStatus(ctx, args, stdout, stderr)
	case "compact", "expire", "orphans", "manifests":
		return maintainOnce(ctx, taskNamed(command), args, stdout, stderr)
	case "run":
		return maintainRun(ctx, args, stdout, stderr)
	case "retention":
		return retentionCommand(ctx, args, stdout, stderr)
	case "erase":
		return eraseCommand(ctx, args, stdout, stderr)
	case "hold":
		return holdCommand(ctx, args, stdout, stderr)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, maintainUsage)
		return nil
	default:
		fmt.Fprintf(stderr, "cardlake maintain: there is no command %q\n\n%s", command, maintainUsage)
		return errUsage
	}
}

// upkeep is what the commands that keep tables healthy have in common.
type upkeep struct {
	door   door
	place  lakeflags.Flags
	table  string
	tenant string
	format string
	dryRun bool
	stderr io.Writer

	tables  []*cardlake.Table
	permits *grants.Grants
	tenants *catalog.Tenants
	lake    *lakeflags.Lake
	record  *audit.Log
}

func (u *upkeep) define(fs *flag.FlagSet) {
	u.place.Define(fs, lakeflags.Write)
	u.door.define(fs)
	u.door.defineRecord(fs)
	fs.StringVar(&u.table, "table", "", "full `name` of the only table; default all")
	fs.StringVar(&u.format, "format", "table", "how the result is written: table, json")
}

// complete fills in what was not given. An error is the caller's.
func (u *upkeep) complete(fs *flag.FlagSet) error {
	if u.door.as == "" && os.Getenv("CARDLAKE_AS") == "" {
		u.door.as = localOperator
	}
	u.tables = cardlake.Tables
	if u.table != "" {
		t := cardlake.TableNamed(u.table)
		if t == nil {
			return misused(fs, "there is no table %q: see \"cardlake tables\"", u.table)
		}
		u.tables = []*cardlake.Table{t}
	}
	switch {
	case fs.NArg() != 0:
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	case u.format != "table" && u.format != "json":
		return misused(fs, "unknown format: want one of table, json")
	}
	if err := errors.Join(u.place.Complete(), u.door.complete(home.Dir(u.place.Dir))); err != nil {
		return misused(fs, "%v", err)
	}
	return nil
}

// open refuses whoever may not maintain the lake, or its one tenant if the command is about
// no other, and opens it. close must follow, also after an error.
func (u *upkeep) open(ctx context.Context, action string) error {
	if u.place.Catalog != lakeflags.Glue && !u.place.IsPostgres() {
		if _, err := os.Stat(u.place.Catalog); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no lake in %s: give its folder with -dir", u.place.Dir)
		}
	}
	var err error
	if u.permits, err = u.door.permits(); err != nil {
		return err
	}
	if u.record, err = u.door.record(ctx, &u.place); err != nil {
		return err
	}
	if err := u.permitted(ctx, action); err != nil {
		return err
	}
	if u.tenants, err = catalog.OpenTenants(u.door.tenants); err != nil {
		return err
	}
	if u.tenant != "" {
		if _, err := u.tenants.Lookup(cardlake.Tenant(u.tenant)); err != nil {
			return fmt.Errorf("tenant %q: %w", u.tenant, err)
		}
	}
	u.lake, err = u.place.Open(ctx, nil)
	return err
}

// permitted refuses, on the record, whoever may not maintain now.
func (u *upkeep) permitted(ctx context.Context, action string) error {
	ruling := u.permits.Permitted(u.door.caller, grants.Maintain)
	if ruling.For(cardlake.Tenant(u.tenant)) {
		return nil
	}
	return errors.Join(fmt.Errorf("%w: see \"cardlake grants explain\"", queries.ErrNotPermitted), u.write(ctx, audit.Record{
		Action: action, Resource: u.resource("lake"), Outcome: audit.Refused, Reason: cmp.Or(ruling.Reason, "not for this tenant"),
		Detail: map[string]string{"policies": strings.Join(ruling.Policies, " "), "version": ruling.Version},
	}))
}

func (u *upkeep) close() error {
	var errs []error
	if u.lake != nil {
		errs = append(errs, u.lake.Close())
	}
	if u.record != nil {
		errs = append(errs, u.record.Close())
	}
	return errors.Join(errs...)
}

func (u *upkeep) resource(table string) string {
	if u.tenant != "" {
		return table + " of tenant " + u.tenant
	}
	return table
}

// write puts a line on record as this caller's.
func (u *upkeep) write(ctx context.Context, line audit.Record) error {
	line.Actor, line.Origin = u.door.caller.Principal.String(), u.door.caller.Origin
	line.Reason = cmp.Or(line.Reason, u.door.reason)
	if err := u.record.Append(ctx, line); err != nil {
		return fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	return nil
}

// recordTime bounds the record of an end whose command was interrupted.
const recordTime = 10 * time.Second

// recorded does something to a table, with a line on record before it, without which it is
// not done, and one behind it.
func (u *upkeep) recorded(ctx context.Context, action string, def *cardlake.Table, do func() (map[string]int64, error)) error {
	line := audit.Record{Action: action, Resource: u.resource(def.FullName()), Outcome: audit.Allowed}
	if err := u.write(ctx, line); err != nil {
		return err
	}
	numbers, err := do()
	line.Action, line.Numbers = action+".done", numbers
	if err != nil {
		line.Outcome = audit.Failed
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	return errors.Join(err, u.write(late, line))
}

// each calls do with each of the tables.
func (u *upkeep) each(ctx context.Context, do func(*cardlake.Table, *iceberg.Table) error) error {
	for _, def := range u.tables {
		t, err := u.lake.Table(ctx, def)
		if err == nil {
			err = do(def, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// print writes results as JSON, one array, or as text in columns.
func (u *upkeep) print(stdout io.Writer, results []any, text func(io.Writer)) error {
	if u.format == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(results)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	text(w)
	return w.Flush()
}
