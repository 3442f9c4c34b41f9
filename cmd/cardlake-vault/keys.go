package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/keys"
)

const keysUsage = `usage: cardlake-vault keys list|create|rotate|destroy [flags]

  list     the inventory: every version of every key there ever was
  create   first keys for a tenant, in both keyrings, which are made if they are not there
  rotate   a new version of a key that wraps others; the old one still opens what it wrapped
  destroy  all keys of a tenant: what they protect can never be read again, anywhere

"cardlake-vault keys COMMAND -h" lists a command's flags.
`

// manageKeys is the subcommand keys.
func manageKeys(ctx context.Context, args []string, std streams) error {
	commands := map[string]func(context.Context, []string, streams) error{
		"list": listKeys, "create": createKeys, "rotate": rotateKey, "destroy": destroyKeys,
	}
	if len(args) == 0 {
		return usagef("which: list, create, rotate or destroy?")
	}
	if args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		fmt.Fprint(std.out, keysUsage)
		return flag.ErrHelp
	}
	command, ok := commands[args[0]]
	if !ok {
		return usagef("there is no command %q: list, create, rotate or destroy", args[0])
	}
	return command(ctx, args[1:], std)
}

// rings are both keyrings, of which the lake's also seals the audit log.
func (p *place) rings(ctx context.Context) (card, lake keyflags.Keyring, err error) {
	if card, err = open(ctx, &p.keys.Card); err != nil {
		return nil, nil, err
	}
	lake, err = open(ctx, &p.keys.Lake)
	return card, lake, err
}

// listed is an entry of the inventory with what is known besides.
type listed struct {
	keys.Entry
	Tenant    cardlake.Tenant `json:"tenant,omitempty"`
	Keyring   string          `json:"keyring"`
	IsOverdue bool            `json:"is_overdue"`
}

func listKeys(ctx context.Context, args []string, std streams) error {
	var p place
	var name, format string
	fs := newFlags("keys list", "Prints the inventory of both keyrings: whose key, what for, its state, and when it has to be\nrotated (PCI DSS 4.0.1 requirement 3.6.1.1). A key that is overdue is marked with !.")
	p.define(fs)
	p.defineAudit(fs, commandLog)
	fs.StringVar(&name, "tenant", "", "only the keys of the tenant with this `name`")
	fs.StringVar(&format, "format", "table", "`form`: table or json")
	if err := parse(fs, args, std); err != nil {
		return err
	}
	if format != "table" && format != "json" {
		return usagef("-format is table or json")
	}
	if err := p.complete(commandLog); err != nil {
		return err
	}
	only := keys.Owner("")
	if name != "" {
		t, err := p.tenant(name)
		if err != nil {
			return err
		}
		only = t.owner
	}
	tenants, err := openRegister(p.tenants)
	if err != nil {
		return usagef("register of tenants: %w", err)
	}
	card, lake, err := p.rings(ctx)
	if err != nil {
		return err
	}
	var all []listed
	err = p.newRecorder(lake, "keys.list", "keyrings").around(ctx, "", nil, func() error {
		for name, k := range map[string]keyflags.Keyring{"card": card, "lake": lake} {
			entries, err := k.Inventory(ctx)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if only != "" && e.Owner != only {
					continue
				}
				owner, _ := tenants.Tenant(e.Owner) // a reserved owner is no tenant
				all = append(all, listed{e, owner, name, e.IsOverdue(time.Now())})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b listed) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Keyring, b.Keyring), cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Version, b.Version))
	})
	return printKeys(std.out, all, format)
}

func printKeys(to io.Writer, all []listed, format string) error {
	if format == "json" {
		text, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(to, "%s\n", text)
		return err
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TENANT\tOWNER\tPURPOSE\tVERSION\tSTATE\tCREATED\tROTATE BY\tALGORITHM\tCUSTODY")
	const day = "2006-01-02"
	for _, k := range all {
		by := k.RotateBy.Format(day)
		if k.IsOverdue {
			by += " !"
		}
		if k.State == keys.Destroyed || k.State == keys.Pending {
			by = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", cmp.Or(string(k.Tenant), "-"), k.Owner, k.Purpose, k.Version, k.State, k.Created.Format(day), by, k.Algorithm, k.Custody)
	}
	return w.Flush()
}

func createKeys(ctx context.Context, args []string, std streams) error {
	var p place
	var name string
	fs := newFlags("keys create", "Gives a tenant a first key of every purpose, in both keyrings; one that it has stays. A tenant\nwhose keys were destroyed gets no new ones. Keyrings that are not there are made.")
	p.define(fs)
	p.defineAudit(fs, commandLog)
	fs.StringVar(&name, "tenant", "", "whose keys, by `name` (required)")
	if err := parse(fs, args, std, "tenant"); err != nil {
		return err
	}
	if err := p.complete(commandLog); err != nil {
		return err
	}
	t, err := p.tenant(name)
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
	return p.newRecorder(lake, "keys.create", "tenant "+name).around(ctx, "", nil, func() error {
		card, err := openOrCreate(ctx, &p.keys.Card)
		if err != nil {
			return err
		}
		return errors.Join(card.EnsureOwners(ctx, keys.Lake, keys.Processor, t.owner), lake.EnsureOwners(ctx, t.owner))
	})
}

func rotateKey(ctx context.Context, args []string, std streams) error {
	var p place
	var name, purpose string
	fs := newFlags("keys rotate", "Makes a new version of a key that wraps others: what is sealed from now on is under it, and the\nold version opens what it sealed. Mint and reverse keys are of \"cardlake-vault rotate\".")
	p.define(fs)
	p.defineAudit(fs, commandLog)
	fs.StringVar(&name, "tenant", "", "whose key, by `name`; none for the lake's own")
	fs.StringVar(&purpose, "purpose", "", "`purpose` of the key: seal, object or audit (required)")
	if err := parse(fs, args, std, "purpose"); err != nil {
		return err
	}
	scope := keys.Scope{Owner: keys.Lake, Purpose: keys.Purpose(purpose)}
	if !slices.Contains([]keys.Purpose{keys.Seal, keys.Object, keys.Audit}, scope.Purpose) {
		return usagef("-purpose is seal, object or audit: mint and reverse are of \"cardlake-vault rotate\", and another index or format key would make other look-up keys and tokens")
	}
	if err := p.complete(commandLog); err != nil {
		return err
	}
	resource := "lake"
	if name != "" {
		t, err := p.tenant(name)
		if err != nil {
			return err
		}
		scope.Owner, resource = t.owner, "tenant "+name
	}
	lake, err := open(ctx, &p.keys.Lake)
	if err != nil {
		return err
	}
	k := lake
	if slices.Contains(keys.CardPurposes, scope.Purpose) {
		if k, err = open(ctx, &p.keys.Card); err != nil {
			return err
		}
	}
	recorder := p.newRecorder(lake, "keys.rotate", resource+" "+purpose)
	return recorder.around(ctx, "", nil, func() error {
		version, err := k.Rotate(ctx, scope)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(std.out, "version %d\n", version)
		return err
	})
}

func destroyKeys(ctx context.Context, args []string, std streams) error {
	var p place
	var name, confirm string
	var erase bool
	fs := newFlags("keys destroy", "Destroys all keys of a tenant in both keyrings. What they protect can never be read again, here\nand in every copy: objects of the lake, events on the stream, the vault's card numbers.")
	p.define(fs)
	p.defineStore(fs)
	p.defineAudit(fs, commandLog)
	fs.StringVar(&name, "tenant", "", "whose keys, by `name` (required)")
	fs.StringVar(&confirm, "confirm", "", "the tenant's storage `id`, to show that this tenant is meant (required)")
	fs.BoolVar(&erase, "erase", false, "remove the tenant's entries from the vault too")
	if err := parse(fs, args, std, "tenant", "confirm"); err != nil {
		return err
	}
	if err := p.complete(commandLog); err != nil {
		return err
	}
	t, err := p.tenant(name)
	if err != nil {
		return err
	}
	card, lake, err := p.rings(ctx)
	if err != nil {
		return err
	}
	recorder := p.newRecorder(lake, "keys.destroy", "tenant "+name)
	if confirm != string(t.id) {
		err := usagef("-confirm is not the storage id of tenant %s: nothing was destroyed", name)
		return errors.Join(err, recorder.write(ctx, audit.Refused, "not confirmed", nil))
	}
	return recorder.around(ctx, "", nil, func() error {
		gone := 0
		for _, r := range []struct {
			name string
			keyflags.Keyring
		}{{"card", card}, {"lake", lake}} {
			switch err := r.DestroyOwner(ctx, t.owner); {
			case errors.Is(err, keys.ErrNoKey):
				gone++
			case err != nil:
				return fmt.Errorf("%s keyring: %w", r.name, err)
			default:
				fmt.Fprintf(std.err, "the keys of tenant %s in the %s keyring are destroyed\n", name, r.name)
			}
		}
		if erase {
			v, closeVault, err := p.openVault(ctx, slog.New(slog.NewTextHandler(std.err, nil)))
			if err != nil {
				return err
			}
			n, err := v.Erase(ctx, t.owner)
			if err := errors.Join(err, closeVault()); err != nil {
				return err
			}
			fmt.Fprintf(std.err, "%d entries of the vault are removed\n", n)
		} else if gone == 2 {
			return fmt.Errorf("tenant %s has no keys any more: %w", name, keys.ErrNoKey)
		}
		return nil
	})
}
