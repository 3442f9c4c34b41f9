package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	lf "github.com/aws/aws-sdk-go-v2/service/lakeformation"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/lakeformation"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
)

// awsGrants is what planning and applying have in common.
type awsGrants struct {
	place         grantsPlace
	mapping, keys string
	format        string
	removeForeign bool
}

func (g *awsGrants) define(fs *flag.FlagSet) {
	g.place.define(fs)
	fs.StringVar(&g.mapping, "mapping", "", "JSON `file` of what the lake, its principals and tables are called in AWS")
	fs.StringVar(&g.keys, "kms-keys", "", "JSON `file` of the KMS key ARN, or a list of them, of each tenant's storage id, and of \"lake\"")
	fs.StringVar(&g.format, "format", "text", "how the plan is written: text, json")
	fs.BoolVar(&g.removeForeign, "remove-foreign", false, "also remove what others granted on the lake")
}

// complete reports what is wrong with the command line.
func (g *awsGrants) complete(fs *flag.FlagSet) error {
	switch {
	case fs.NArg() != 0:
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	case g.mapping == "" || g.keys == "":
		return misused(fs, "needs -mapping and -kms-keys")
	case g.format != "text" && g.format != "json":
		return misused(fs, "unknown format: want one of text, json")
	}
	if err := g.place.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	return nil
}

// plan reads the account and compares it with what the set decides.
func (g *awsGrants) plan(ctx context.Context, set *grants.Set, record func(context.Context, lakeformation.Change) error) (*lakeformation.Account, *lakeformation.Plan, error) {
	mapping, err := lakeformation.ReadMapping(g.mapping)
	if err != nil {
		return nil, nil, err
	}
	keys, err := lakeformation.ReadKeys(g.keys)
	if err != nil {
		return nil, nil, err
	}
	tenants, err := g.place.register()
	if err != nil {
		return nil, nil, err
	}
	at, err := (&keyflags.Flags{Region: mapping.Region}).AWS(ctx)
	if err != nil {
		return nil, nil, err
	}
	// All retries are the SDK's. An apply is many calls, which the services throttle.
	at.Retryer = func() aws.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), 8) }
	account := lakeformation.New(lf.NewFromConfig(at), iam.NewFromConfig(at), kms.NewFromConfig(at), mapping, keys,
		lakeformation.Config{RemoveForeign: g.removeForeign, Record: record})
	plan, err := account.Plan(ctx, set, tenants.All(), g.place.now)
	return account, plan, err
}

func (g *awsGrants) write(p *lakeformation.Plan, w io.Writer) error {
	if g.format == "json" {
		return p.WriteJSON(w)
	}
	return p.WriteText(w)
}

// grantsPlan says what must change in AWS so that it enforces what the policies decide.
func grantsPlan(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("grants plan", "", `Says what must change in AWS (Lake Formation, IAM, KMS) so that it enforces what the
policies decide, what others granted on the lake, and what AWS can't express. It changes
nothing. Exit codes: 0 nothing to do, 1 something to do or to look at, 2 failed.`, stderr)
	var g awsGrants
	g.define(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	if err := g.complete(fs); err != nil {
		return err
	}
	set, err := g.place.load()
	if err != nil {
		return err
	}
	_, plan, err := g.plan(ctx, set, nil)
	if err != nil {
		return err
	}
	if err := g.write(plan, stdout); err != nil {
		return err
	}
	if !plan.IsEmpty() {
		return exitCode(1)
	}
	return nil
}

// grantsApply changes AWS as a plan says that somebody has looked at.
func grantsApply(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("grants apply", "", `Changes AWS as "cardlake grants plan" says, if the plan is still the one named with -expect.
Each change is put on record before it is made. Stopped half-way, it goes on with a new plan.
Exit codes: 0 done, 2 refused, stopped or failed.`, stderr)
	var g awsGrants
	var d door
	var lake lakeflags.Flags
	g.define(fs)
	lake.Keys.Define(fs, keyflags.Lake)
	fs.StringVar(&d.as, "as", "", "`principal` who applies, KIND/NAME; default $CARDLAKE_AS, or "+localOperator)
	fs.StringVar(&d.reason, "reason", "", "`why`, for the record")
	mfa := fs.Bool("mfa", false, "the credentials of AWS were had by more than one factor, which goes on record")
	d.defineRecord(fs)
	expect := fs.String("expect", "", "`digest` of the plan that was looked at, as its last line says")
	if err := parse(fs, args); err != nil {
		return err
	}
	if err := g.complete(fs); err != nil {
		return err
	}
	if *expect == "" {
		return misused(fs, "needs -expect: the digest in the last line of \"cardlake grants plan\"")
	}
	lake.Dir = g.place.dir
	if d.as == "" && os.Getenv("CARDLAKE_AS") == "" {
		d.as = localOperator
	}
	if err := errors.Join(lake.Keys.Complete(home.Dir(lake.Dir)), d.complete(home.Dir(lake.Dir))); err != nil {
		return misused(fs, "%v", err)
	}
	d.caller.MFA = *mfa
	set, err := g.place.load()
	if err != nil {
		return err
	}
	log, err := d.record(ctx, &lake)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	write := func(ctx context.Context, line audit.Record) error {
		line.Actor, line.Origin, line.Reason = d.caller.Principal.String(), d.caller.Origin, cmp.Or(line.Reason, d.reason)
		if err := log.Append(ctx, line); err != nil {
			return fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
		}
		return nil
	}
	if ruling := set.Permitted(d.caller, grants.Grant, g.place.now); !ruling.Allowed() {
		return errors.Join(fmt.Errorf("%w: see \"cardlake grants check grant\"", queries.ErrNotPermitted), write(ctx, audit.Record{
			Action: "grants.apply", Resource: "aws", Outcome: audit.Refused, Reason: ruling.Reason,
			Detail: map[string]string{"policies": strings.Join(ruling.Policies, " "), "version": ruling.Version},
		}))
	}
	made := 0
	account, plan, err := g.plan(ctx, set, func(ctx context.Context, c lakeformation.Change) error {
		made++
		fmt.Fprintln(stderr, c.Op, c.ID)
		return write(ctx, audit.Record{
			Action: "grants.apply", Resource: excerpt(c.ID), Outcome: audit.Allowed,
			Detail: map[string]string{"change": c.Op, "before": excerpt(c.Old), "after": excerpt(c.New), "policies": excerpt(strings.Join(c.Why, " ")), "version": set.Version(), "plan": *expect, "mfa": strconv.FormatBool(*mfa)},
		})
	})
	if err != nil {
		return err
	}
	if err := g.write(plan, stdout); err != nil {
		return err
	}
	if plan.Digest != *expect {
		return fmt.Errorf("%w: the plan is now %s", lakeformation.ErrMoved, plan.Digest)
	}
	outcome := audit.Record{Action: "grants.apply.done", Resource: "aws", Outcome: audit.Allowed, Detail: map[string]string{"version": set.Version(), "plan": plan.Digest}}
	applied := account.Apply(ctx, plan)
	outcome.Numbers = map[string]int64{"changes": int64(len(plan.Changes)), "begun": int64(made)}
	if applied != nil {
		outcome.Outcome, outcome.Reason = audit.Failed, excerpt(applied.Error())
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	return errors.Join(applied, write(end, outcome))
}

// maxExcerpt is how much of a text is kept in the record, whose own bound is a little more.
const maxExcerpt = 1000

func excerpt(s string) string {
	if len(s) > maxExcerpt {
		return strings.ToValidUTF8(s[:maxExcerpt], "") + "…"
	}
	return s
}
