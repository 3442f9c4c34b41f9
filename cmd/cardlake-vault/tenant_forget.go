package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/retention"
	"github.com/cardlake/cardlake/internal/home"
)

// forgetCards is tenant forget. The audit log says how many tokens there were, not which: they
// are what still leads to the person.
func forgetCards(ctx context.Context, args []string, std streams) (err error) {
	var p place
	var name, reason, policyFile string
	flags := newFlags("tenant forget", `Takes cards out of the vault for good, those of the tokens on standard input, one a line, as
"cardlake maintain erase -cards" writes them. Nobody turns such a token back any more. A card
that is used again is pinned again, as a new one. A legal hold on the tenant prevents it. With a
folder as -store stop the service first. Run it again with the same tokens after an interruption,
and destroy their file then.`)
	p.define(flags)
	p.defineStore(flags)
	p.defineAudit(flags, commandLog)
	flags.StringVar(&policyFile, "policy", "", "JSON `file` of retention, with the legal holds; default retention.json in -dir")
	flags.StringVar(&name, "tenant", "", "whose cards, by `name` (required)")
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
	policy, err := retention.ReadPolicy(cmp.Or(policyFile, home.Dir(p.dir).Retention()))
	if err != nil {
		return err
	}
	tokens, err := readTokens(std.in)
	if err != nil {
		return err
	}
	lake, err := open(ctx, &p.keys.Lake)
	if err != nil {
		return err
	}
	record := p.newRecorder(lake, "tenant.forget", "tenant "+name)
	numbers := map[string]int64{"tokens": int64(len(tokens))}
	// A hold on one person is what "cardlake maintain erase" looks at: it gives no tokens of theirs.
	isHeld := func(h retention.Hold) bool { return h.Tenant == t.name && h.Person == "" }
	if i := slices.IndexFunc(policy.Holds, isHeld); i >= 0 {
		h := policy.Holds[i]
		err := fmt.Errorf("tenant %s: %w: hold %s of case %s; ask %s, and release it with \"cardlake maintain hold release\"", name, retention.ErrHeld, h.ID, h.Case, h.By)
		return errors.Join(err, record.write(ctx, audit.Refused, "hold "+h.ID, numbers))
	}
	if _, err := os.Stat(p.store); errors.Is(err, fs.ErrNotExist) && !strings.Contains(p.store, "://") {
		return usagef("there is no vault in %s: give its folder with -store", p.store)
	}
	v, closeVault, err := p.openVault(ctx, slog.New(slog.NewTextHandler(std.err, nil)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeVault()) }()
	return record.around(ctx, reason, numbers, func() error {
		n, err := v.Forget(ctx, t.owner, tokens)
		numbers["vault_entries"] = int64(n)
		if err != nil {
			return err
		}
		fmt.Fprintf(std.err, "%d entries of the vault are removed for %d tokens\n", n, len(tokens))
		return record.write(ctx, audit.Allowed, "done", numbers)
	})
}
