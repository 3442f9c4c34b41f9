package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/user"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
)

// door is what a command that reads tables is told of who asks, what they may, and where it is
// put on record. On one machine a name is believed: whoever runs the command has the keys. Who
// that is, as the operating system knows them, is in the record beside the name.
type door struct {
	as, reason      string
	breakGlass      bool
	grants, tenants string
	audit, anchor   string

	caller grants.Caller
}

// localPrincipal is who asks if nobody is named: the owner of a lake on one machine.
const localPrincipal = "data_scientist/local"

// define adds the flags of who asks.
func (d *door) define(fs *flag.FlagSet) {
	fs.StringVar(&d.as, "as", "", "`principal` who asks, KIND/NAME; default $CARDLAKE_AS, or "+localPrincipal)
	fs.StringVar(&d.reason, "reason", "", "`why`, for the record")
	fs.BoolVar(&d.breakGlass, "break-glass", false, "ask for what is permitted in an emergency only, and recorded as such; needs -reason")
	fs.StringVar(&d.grants, "grants", "", "`folder` of who may do what; default grants in -dir")
	fs.StringVar(&d.tenants, "tenants", "", "`file` with the register of tenants; default tenants.json in -dir")
}

// defineRecord adds where the audit log is.
func (d *door) defineRecord(fs *flag.FlagSet) {
	fs.StringVar(&d.audit, "audit", "", "`folder` of the audit log; default audit/"+serving.LakeLog+" in -dir")
	fs.StringVar(&d.anchor, "audit-anchor", "", "`file` that keeps the audit log's head, best on another volume; default audit/"+serving.LakeLog+".head in -dir")
}

// complete fills in what was not given, and reports what is wrong.
func (d *door) complete(dir home.Dir) error {
	d.grants = cmp.Or(d.grants, dir.Grants())
	d.tenants = cmp.Or(d.tenants, dir.Tenants())
	d.audit = cmp.Or(d.audit, dir.Audit(serving.LakeLog))
	d.anchor = cmp.Or(d.anchor, dir.AuditAnchor(serving.LakeLog))
	p, err := grants.ParsePrincipal(cmp.Or(d.as, os.Getenv("CARDLAKE_AS"), localPrincipal))
	if err != nil {
		return fmt.Errorf("-as: %w", err)
	}
	if d.breakGlass && d.reason == "" {
		return errors.New("-break-glass needs a -reason")
	}
	d.caller = grants.Caller{Principal: p, Origin: origin(), Reason: d.reason, BreakGlass: d.breakGlass}
	return nil
}

// origin names the user and the host, as far as they are known.
func origin() string {
	name := "os:unknown"
	if u, err := user.Current(); err == nil {
		name = "os:" + u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// permits opens the grants.
func (d *door) permits() (*grants.Grants, error) {
	if _, err := os.Stat(d.grants); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("nothing is permitted: there is no folder of grants %s: run \"cardlake grants init\", or give it with -grants", d.grants)
	}
	tenants, err := catalog.OpenTenants(d.tenants)
	if err != nil {
		return nil, err
	}
	g, err := grants.Open(d.grants, tenants, grants.Config{})
	if err != nil {
		return nil, fmt.Errorf("grants: %w", err)
	}
	return g, nil
}

// record opens the audit log, beside other processes that write it.
func (d *door) record(ctx context.Context, place *lakeflags.Flags) (*audit.Log, error) {
	ring, err := place.Keys.Lake.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	log, err := audit.OpenShared(ctx, d.audit, ring, audit.Config{Actor: "cardlake", Anchor: audit.FileAnchor(d.anchor)})
	switch {
	case errors.Is(err, keys.ErrNoKey):
		return nil, fmt.Errorf("%w: the lake's keyring has no audit key: run \"cardlake-vault keys create\": %w", queries.ErrUnrecorded, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	return log, nil
}

// looked puts on record that the caller was told of tables, as the HTTP door does, or was
// refused with the error, which it returns. Without the record nothing is told.
func (d *door) looked(ctx context.Context, log *audit.Log, action, resource string, err error) error {
	line := audit.Record{
		Actor: d.caller.Principal.String(), Action: action, Resource: resource, Outcome: audit.Allowed,
		Origin: d.caller.Origin, Reason: d.caller.Reason,
	}
	if d.caller.BreakGlass {
		line.Detail = map[string]string{"break_glass": "yes"}
	}
	switch fault := (*queries.Error)(nil); {
	case err == nil:
	case errors.Is(err, queries.ErrNotPermitted), errors.As(err, &fault):
		line.Outcome = audit.Refused
	default:
		line.Outcome = audit.Failed
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if failed := log.Append(late, line); failed != nil {
		return fmt.Errorf("%w: %w", queries.ErrUnrecorded, failed)
	}
	return err
}
