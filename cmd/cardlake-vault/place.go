package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/pebblestore"
	"github.com/cardlake/cardlake/tokenize/vault/pgstore"
)

// place are the flags that say where keys, tenants, vault and audit log are.
type place struct {
	dir, tenants  string
	keys          keyflags.Flags
	store         string
	audit, anchor string
}

// The two audit logs: one process writes a log, and serve is at it all the time.
const (
	serviceLog = "vault"
	commandLog = "vault-commands"
)

func (p *place) define(fs *flag.FlagSet) {
	fs.StringVar(&p.dir, "dir", home.Default(), "`folder` that the other files and folders are in by default")
	fs.StringVar(&p.tenants, "tenants", "", "`file` with the register of tenants; default tenants.json in -dir")
	p.keys.Define(fs, keyflags.Card, keyflags.Lake)
}

// defineStore adds where the vault is.
func (p *place) defineStore(fs *flag.FlagSet) {
	fs.StringVar(&p.store, "store", "", "the vault: a `folder`, for one process at a time, or postgres://…; default vault in -dir")
}

// defineAudit adds where the audit log is.
func (p *place) defineAudit(fs *flag.FlagSet, log string) {
	fs.StringVar(&p.audit, "audit", "", "`folder` of the audit log; default audit/"+log+" in -dir")
	fs.StringVar(&p.anchor, "audit-anchor", "", "`file` that keeps the audit log's head, best on another volume; default audit/"+log+".head in -dir")
}

// complete fills in what was not given.
func (p *place) complete(log string) error {
	d := home.Dir(p.dir)
	p.tenants = cmp.Or(p.tenants, d.Tenants())
	p.store = cmp.Or(p.store, d.Vault())
	p.audit = cmp.Or(p.audit, d.Audit(log))
	p.anchor = cmp.Or(p.anchor, d.AuditAnchor(log))
	if err := p.keys.Complete(d); err != nil {
		return usageError{err}
	}
	return nil
}

// open opens a keyring. What is wrong with it is the caller's, unless the key service is asked.
func open(ctx context.Context, r *keyflags.Ring) (keyflags.Keyring, error) {
	k, err := r.Open(ctx)
	if err != nil && (r.KMS == "" || errors.Is(err, local.ErrMissing)) {
		return nil, usageError{err}
	}
	return k, err
}

// openOrCreate opens a keyring, and makes it first if its file is not there.
func openOrCreate(ctx context.Context, r *keyflags.Ring) (keyflags.Keyring, error) {
	if _, err := os.Stat(r.File); errors.Is(err, fs.ErrNotExist) {
		return r.Create(ctx)
	}
	return open(ctx, r)
}

// openVault opens the vault and returns how to close it.
func (p *place) openVault(ctx context.Context, log *slog.Logger) (*vault.Vault, func() error, error) {
	if strings.HasPrefix(p.store, "postgres://") || strings.HasPrefix(p.store, "postgresql://") {
		store, err := pgstore.Open(ctx, pgstore.Config{URL: p.store})
		if err != nil {
			return nil, nil, fmt.Errorf("-store: %w", err)
		}
		return vault.New(store, vault.Config{}), store.Close, nil
	}
	if strings.Contains(p.store, "://") {
		return nil, nil, usagef("-store is a folder or postgres://…")
	}
	store, err := pebblestore.Open(p.store, pebblestore.Config{Logger: log})
	if err != nil {
		return nil, nil, fmt.Errorf("-store: %w (a folder is for one process at a time: is the service running?)", err)
	}
	return vault.New(store, vault.Config{}), store.Close, nil
}

// recorder writes the lines of a command. It opens the log for each, so that a command that
// lasts keeps no other from its own.
type recorder struct {
	place *place
	keys  audit.Wrapper
	actor string
	base  audit.Record
}

// commandLockWait is how long a command waits while another writes its line.
const commandLockWait = 30 * time.Second

// newRecorder returns the recorder of a command, which names the user that the operating
// system knows.
func (p *place) newRecorder(lake audit.Wrapper, action, resource string) *recorder {
	r := &recorder{place: p, keys: lake, actor: "os:unknown"}
	if u, err := user.Current(); err == nil {
		r.actor = "os:" + u.Username
	}
	r.base = audit.Record{Actor: r.actor, Action: action, Resource: resource}
	r.base.Origin, _ = os.Hostname() // an unknown host is left out
	if by := os.Getenv("SUDO_USER"); by != "" && len(by) < 64 {
		r.base.Detail = map[string]string{"sudo_user": by}
	}
	return r
}

// write writes one line. On error the command does not do what the line is about.
func (r *recorder) write(ctx context.Context, outcome audit.Outcome, reason string, numbers map[string]int64) error {
	line := r.base
	line.Outcome, line.Reason, line.Numbers = outcome, reason, numbers
	log, err := audit.Open(ctx, r.place.audit, r.keys, audit.Config{
		Actor: r.actor, Anchor: audit.FileAnchor(r.place.anchor), LockWait: commandLockWait,
	})
	if errors.Is(err, keys.ErrNoKey) {
		return fmt.Errorf("nothing happens that is not recorded, and the lake's keyring has no audit key: run \"cardlake-vault keys create\": %w", err)
	}
	if err != nil {
		return fmt.Errorf("nothing happens that is not recorded: %w", err)
	}
	if err := errors.Join(log.Append(ctx, line), log.Close()); err != nil {
		return fmt.Errorf("nothing happens that is not recorded: %w", err)
	}
	return nil
}

// around records that something begins, does it, and records that it failed if it did.
func (r *recorder) around(ctx context.Context, reason string, numbers map[string]int64, do func() error) error {
	if err := r.write(ctx, audit.Allowed, reason, numbers); err != nil {
		return err
	}
	err := do()
	if err != nil {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandLockWait)
		defer cancel()
		err = errors.Join(err, r.write(late, audit.Failed, "", numbers))
	}
	return err
}

// tenant is a tenant as commands need it.
type tenant struct {
	name  cardlake.Tenant
	id    cardlake.StorageID
	owner keys.Owner
}
