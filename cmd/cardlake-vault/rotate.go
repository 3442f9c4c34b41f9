package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// How long workers and services go on with keys of before a rotation, and so how long it
// waits: the tokeniser's Config.MaxAge and keys.EnvelopeConfig's, with some to spare.
const (
	mintWait    = 3 * time.Minute
	reverseWait = 7 * time.Minute
)

// rotation is one run of rotate.
type rotation struct {
	keys        keyflags.Keyring
	vault       *vault.Vault
	tenant      tenant
	scope       keys.Scope
	wait        time.Duration
	compromised bool
	again       bool
	keep        bool
	leave       bool
	err         io.Writer
	record      *recorder
}

// rotate makes a tenant a new mint or reverse key, brings the vault under it, and destroys
// the old one. What an interrupted run has done is not done again.
func rotate(ctx context.Context, args []string, std streams) (err error) {
	var p place
	var name, secret, crosswalk string
	r := &rotation{err: std.err}
	flags := newFlags("rotate", `Makes a new version of a tenant's mint secret, waits until no worker is without it, indexes
every card of the vault under it and destroys the old version. Every card keeps its token.
When the old secret is compromised, every card gets a new token, and the crosswalk says which.
Run again after an interruption, it goes on where it was.`)
	p.define(flags)
	p.defineStore(flags)
	p.defineAudit(flags, commandLog)
	flags.StringVar(&name, "tenant", "", "whose key, by `name` (required)")
	flags.StringVar(&secret, "secret", "mint", "`purpose` of the key: mint, or reverse, under which card numbers are sealed again")
	flags.BoolVar(&r.compromised, "compromised", false, "give every card a new token, because somebody may know the old mint secret")
	flags.StringVar(&crosswalk, "crosswalk", "", "`file` to write retired tokens and their successors to, as CSV, mode 0600; it stays in zone A. Without -compromised that is all that is done")
	flags.BoolVar(&r.again, "again", false, "make one more version even if a rotation is under way, whose version may be known too")
	flags.BoolVar(&r.keep, "keep", false, "do not destroy the old version")
	flags.BoolVar(&r.leave, "leave-damaged", false, "go on without cards of the vault that cannot be opened any more: they get another token when they are seen again")
	flags.DurationVar(&r.wait, "wait", 0, "`time` for which workers and services may keep the old key; default 3m for mint, 7m for reverse")
	if err := parse(flags, args, std, "tenant"); err != nil {
		return err
	}
	switch {
	case secret != string(keys.Mint) && secret != string(keys.Reverse):
		return usagef("-secret is mint or reverse: other keys need no work on the vault, \"cardlake-vault keys rotate\" does them")
	case r.compromised && secret != string(keys.Mint):
		return usagef("-compromised is of -secret mint")
	case r.compromised && r.keep:
		return usagef("-compromised with -keep would leave workers their old tokens: destroy the old version, or do not say -compromised")
	case crosswalk != "" && !r.compromised && (r.again || r.keep || secret != string(keys.Mint)):
		return usagef("-crosswalk without -compromised writes the crosswalk and rotates nothing")
	case r.wait < 0:
		return usagef("-wait is negative")
	}
	if crosswalk != "" {
		if _, err := os.Lstat(crosswalk); !errors.Is(err, fs.ErrNotExist) {
			return usagef("-crosswalk: %s is there already, or can't be made", crosswalk)
		}
	}
	if r.wait == 0 {
		r.wait = mintWait
		if secret == string(keys.Reverse) {
			r.wait = reverseWait
		}
	}
	if err := p.complete(commandLog); err != nil {
		return err
	}
	if r.tenant, err = p.tenant(name); err != nil {
		return err
	}
	r.scope = keys.Scope{Owner: r.tenant.owner, Purpose: keys.Purpose(secret)}
	if r.keys, err = open(ctx, &p.keys.Card); err != nil {
		return err
	}
	lakeKeys, err := open(ctx, &p.keys.Lake)
	if err != nil {
		return err
	}
	v, closeVault, err := p.openVault(ctx, slog.New(slog.NewTextHandler(std.err, nil)))
	if err != nil {
		return err
	}
	r.vault = v
	defer func() { err = errors.Join(err, closeVault()) }()
	action := "vault.rotate"
	if r.compromised {
		action = "vault.retokenise"
	}
	r.record = p.newRecorder(lakeKeys, action, "tenant "+name+" "+secret)
	if crosswalk == "" || r.compromised {
		err = r.record.around(ctx, "begins", nil, func() error { return r.run(ctx) })
		if err != nil {
			return fmt.Errorf("%w\nrun the same command again: it goes on where it was", err)
		}
	}
	if crosswalk == "" {
		return nil
	}
	return r.record.around(ctx, "crosswalk", nil, func() error { return writeCrosswalk(ctx, v, r.tenant.owner, crosswalk) })
}

// run does what is left of the rotation.
func (r *rotation) run(ctx context.Context) error {
	newest, older, err := r.versions(ctx)
	if err != nil {
		return err
	}
	if len(older) == 0 || r.again {
		version, err := r.keys.Rotate(ctx, r.scope)
		if err != nil {
			return err
		}
		r.say("version %d of the %s key is made", version, r.scope.Purpose)
		if newest, older, err = r.versions(ctx); err != nil {
			return err
		}
	} else {
		r.say("a rotation is under way: going on with version %d", newest.Version)
	}
	since := newest.Created.Add(r.wait)
	if left := time.Until(since); left > 0 {
		r.say("waiting %s, for which workers and services may keep the old version", left.Round(time.Second))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(left):
		}
	}
	changed, err := r.pass(ctx, since)
	if err != nil {
		return err
	}
	if r.keep {
		r.say("done; older versions stay")
		return r.record.write(ctx, audit.Allowed, "done, older versions stay", map[string]int64{"version": int64(newest.Version), "cards": int64(changed)})
	}
	for _, old := range older {
		if err := r.keys.DestroyVersion(ctx, r.scope, old.Version); err != nil {
			return err
		}
		r.say("version %d is destroyed", old.Version)
	}
	if r.scope.Purpose == keys.Mint {
		if err := r.forget(ctx); err != nil {
			return err
		}
	}
	return r.record.write(ctx, audit.Allowed, "done", map[string]int64{"version": int64(newest.Version), "cards": int64(changed)})
}

// versions are those that are still of use, the newest apart.
func (r *rotation) versions(ctx context.Context) (newest keys.Entry, older []keys.Entry, err error) {
	all, err := r.keys.Inventory(ctx)
	if err != nil {
		return newest, nil, err
	}
	for _, e := range all {
		if e.Scope() != r.scope || e.State == keys.Destroyed || e.State == keys.Pending {
			continue
		}
		if e.Version > newest.Version {
			e, newest = newest, e
		}
		if e.Version > 0 {
			older = append(older, e)
		}
	}
	if newest.Version == 0 {
		return newest, nil, fmt.Errorf("tenant %s has no %s key: %w", r.tenant.name, r.scope.Purpose, keys.ErrNoKey)
	}
	return newest, older, nil
}

// pass brings the vault under the newest key, until nothing is left to do.
func (r *rotation) pass(ctx context.Context, since time.Time) (changed int, err error) {
	var said time.Time
	pass := vault.Pass{
		Owner: r.tenant.owner, Since: since, LeaveDamaged: r.leave,
		Reverse: keys.NewEnvelopes(r.keys, keys.Reverse, keys.EnvelopeConfig{}),
		Report: func(p vault.Progress) {
			if p.Finished || time.Since(said) >= time.Second {
				said = time.Now()
				r.say("%d of %d cards looked at, %d changed", p.Done, p.Total, p.Changed)
			}
		},
	}
	if r.scope.Purpose == keys.Reverse {
		p, err := r.vault.Reseal(ctx, pass)
		return p.Changed, err
	}
	live, err := r.keys.Live(ctx, r.scope)
	if err != nil {
		return 0, err
	}
	defer func() {
		for _, s := range live {
			s.Key.Destroy()
		}
	}()
	job := r.vault.Reindex
	if r.compromised {
		job = r.vault.Retokenise
	}
	for {
		p, err := job(ctx, pass, live[0])
		if changed += p.Changed; err != nil || p.Changed == 0 {
			return changed, err
		}
	}
}

// forget drops what the vault has of destroyed versions, also of those that an interrupted
// run destroyed.
func (r *rotation) forget(ctx context.Context) error {
	all, err := r.keys.Inventory(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Scope() != r.scope || e.State != keys.Destroyed && e.State != keys.Pending {
			continue
		}
		dropped, err := r.vault.ForgetVersion(ctx, r.tenant.owner, e.Version)
		if err != nil {
			return err
		}
		if dropped > 0 {
			r.say("%d index entries of version %d are dropped", dropped, e.Version)
		}
	}
	return nil
}

func (r *rotation) say(format string, args ...any) {
	fmt.Fprintf(r.err, format+"\n", args...)
}

// writeCrosswalk writes old and new tokens to a new file that only its owner can read.
func writeCrosswalk(ctx context.Context, v *vault.Vault, owner keys.Owner, path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("-crosswalk: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	out := bufio.NewWriter(f)
	_, err = out.WriteString("old,new\n")
	for c, walkErr := range v.Crosswalk(ctx, owner) {
		if err = errors.Join(err, walkErr); err != nil {
			break
		}
		_, err = fmt.Fprintf(out, "%s,%s\n", c.Old, c.New)
	}
	if err = errors.Join(err, out.Flush(), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("-crosswalk %s: %w", filepath.Base(path), err)
	}
	return nil
}
