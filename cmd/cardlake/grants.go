package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/render"
)

const grantsUsage = `usage: cardlake grants COMMAND [flags] [arguments]

Says who may do what in the lake, and why. Nothing is permitted that no policy permits.

  list [principals|policies]       what there is; principals by default
  check ACTION [TABLE] [TENANT]    what -as may do, and which policy decides
  explain TABLE                    who reaches which columns and rows of a table
  report                           everything, for the half-yearly review of access
  validate                         whether the set in the folder is right
  init                             make a set for trying out on one machine
  plan                             what AWS lacks of the grants, or has beyond them
  apply                            make AWS have what the grants say

Actions: %s.
"cardlake grants COMMAND -h" lists a command's flags. Exit codes: 0 done or permitted, 1 not
permitted or not right, 2 refused or failed.
`

// grantsCommand is "cardlake grants".
func grantsCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"list": grantsList, "check": grantsCheck, "explain": grantsExplain, "report": grantsReport,
		"validate": grantsValidate, "init": grantsInit, "plan": grantsPlan, "apply": grantsApply,
	}
	actions := make([]string, len(grants.Actions))
	for i, a := range grants.Actions {
		actions[i] = string(a)
	}
	usage := fmt.Sprintf(grantsUsage, strings.Join(actions, ", "))
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return errUsage
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		fmt.Fprint(stdout, usage)
		return nil
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "cardlake grants: there is no command %q\n\n%s", args[0], usage)
		return errUsage
	}
	return command(ctx, args[1:], stdout, stderr)
}

// grantsPlace is where a set of grants is, and as of when it is asked.
type grantsPlace struct {
	dir, grants, tenants, at string

	now time.Time
}

func (p *grantsPlace) define(fs *flag.FlagSet) {
	fs.StringVar(&p.dir, "dir", home.Default(), "`folder` of the lake; default $CARDLAKE_DIR or cardlake-data")
	fs.StringVar(&p.grants, "grants", "", "`folder` of who may do what; default grants in -dir")
	fs.StringVar(&p.tenants, "tenants", "", "`file` of the register of tenants; default tenants.json in -dir")
}

func (p *grantsPlace) defineTime(fs *flag.FlagSet) {
	fs.StringVar(&p.at, "at", "", "as of this `time` in RFC 3339; default now")
}

// complete sets what was not named.
func (p *grantsPlace) complete() error {
	d := home.Dir(p.dir)
	p.grants = cmp.Or(p.grants, d.Grants())
	p.tenants = cmp.Or(p.tenants, d.Tenants())
	p.now = time.Now()
	if p.at == "" {
		return nil
	}
	var err error
	if p.now, err = time.Parse(time.RFC3339, p.at); err != nil {
		return errors.New("-at is a time in RFC 3339, as 2026-01-31T12:00:00Z")
	}
	return nil
}

func (p *grantsPlace) register() (*catalog.Tenants, error) { return catalog.OpenTenants(p.tenants) }

func (p *grantsPlace) load() (*grants.Set, error) {
	tenants, err := p.register()
	if err != nil {
		return nil, err
	}
	set, err := grants.Load(p.grants, tenants)
	var faults grants.Faults
	if errors.As(err, &faults) {
		return nil, fmt.Errorf("the grants in %s are not right:\n%w", p.grants, err)
	}
	return set, err
}

// strings appends columns of strings.
func (l *listing) strings(names ...string) {
	for _, name := range names {
		l.column(name, arrow.BinaryTypes.String)
	}
}

func (l *listing) row(values ...string) {
	row := make([]any, len(values))
	for i, v := range values {
		if v != "" {
			row[i] = v
		}
	}
	l.rows = append(l.rows, row)
}

func grantsList(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("grants list", "[principals|policies]", "Lists the principals or the policies.", stderr)
	var place grantsPlace
	place.define(fs)
	formatName := fs.String("format", "table", "how rows are written: "+strings.Join(render.Names(), ", "))
	if err := parse(fs, args); err != nil {
		return err
	}
	format, err := render.ByName(*formatName)
	if err != nil {
		return misused(fs, "%v", err)
	}
	what := cmp.Or(fs.Arg(0), "principals")
	if fs.NArg() > 1 || what != "principals" && what != "policies" {
		return misused(fs, "takes principals or policies, got %q", strings.Join(fs.Args(), " "))
	}
	if err := place.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	set, err := place.load()
	if err != nil {
		return err
	}
	var out listing
	if what == "principals" {
		out.strings("principal", "owner", "is", "tenant", "teams", "subjects", "valid_from", "valid_until", "reviewed")
		for _, a := range set.Principals() {
			is := "person"
			if a.IsService {
				is = "service"
			}
			out.row(a.Principal.String(), a.Owner, is, string(a.Tenant), strings.Join(a.Teams, ", "), strings.Join(a.Subjects, ", "),
				instant(a.ValidFrom, time.RFC3339), instant(a.ValidUntil, time.RFC3339), instant(a.Reviewed, time.DateOnly))
		}
	} else {
		out.strings("policy", "effect", "place", "description")
		for _, p := range set.Policies() {
			effect := "forbid"
			switch {
			case p.IsBreakGlass:
				effect = "permit in an emergency"
			case p.IsPermit:
				effect = "permit"
			}
			out.row(p.ID, effect, p.Place(), p.Description)
		}
	}
	return format(ctx, stdout, &out)
}

// instant is a time in a layout, empty for none.
func instant(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

// tableNamed returns the table, or a fault that names the nearest.
func tableNamed(name string) (*cardlake.Table, error) {
	var names []string
	for _, t := range cardlake.Tables {
		names = append(names, t.FullName())
		if strings.EqualFold(t.FullName(), name) {
			return t, nil
		}
	}
	fault := &queries.Error{Message: "there is no table \"" + name + "\"", Hint: `see "cardlake tables"`}
	if near := queries.NearestTable(name, names); near != "" {
		fault.Hint = "did you mean " + near + "?"
	}
	return nil, fault
}

const checkAbout = `Says what a principal may do now, and which policy decides. ACTION query, read_changes, export
or read_audit is asked for a TABLE, and with a TENANT for that one's rows only; subscribe,
maintain, grant, detokenise and read_audit are asked for the lake, or for a TENANT.

Exit codes: 0 permitted, in part at least, 1 not permitted, 2 refused or failed.`

func grantsCheck(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("grants check", "ACTION [TABLE] [TENANT]", checkAbout, stderr)
	var place grantsPlace
	place.define(fs)
	place.defineTime(fs)
	as := fs.String("as", "data_scientist/local", "the `principal`, KIND/NAME")
	var c grants.Caller
	fs.BoolVar(&c.MFA, "mfa", false, "as if more than one factor had been shown when signing in")
	fs.BoolVar(&c.BreakGlass, "break-glass", false, "as in an emergency")
	fs.StringVar(&c.Reason, "reason", "", "`why` the principal asks")
	formatName := fs.String("format", "table", "how rows are written: "+strings.Join(render.Names(), ", "))
	if err := parse(fs, args); err != nil {
		return err
	}
	format, err := render.ByName(*formatName)
	if err != nil {
		return misused(fs, "%v", err)
	}
	if c.Principal, err = grants.ParsePrincipal(*as); err != nil {
		return misused(fs, "-as: %v", err)
	}
	action := grants.Action(fs.Arg(0))
	switch {
	case fs.NArg() == 0 || fs.NArg() > 3:
		return misused(fs, "takes an action, and a table or a tenant; got %d arguments", fs.NArg())
	case !slices.Contains(grants.Actions, action):
		return misused(fs, "there is no action %q", fs.Arg(0))
	}
	if err := place.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	set, err := place.load()
	if err != nil {
		return err
	}
	var out listing
	var permitted bool
	var verdict string
	switch isOfLake := slices.Contains([]grants.Action{grants.Subscribe, grants.Maintain, grants.Grant, grants.Detokenise}, action); {
	case isOfLake && fs.NArg() == 3:
		return misused(fs, "%s is not asked for a table", action)
	case isOfLake || action == grants.ReadAudit && fs.NArg() == 1:
		permitted, verdict = checkLake(set, c, action, cardlake.Tenant(fs.Arg(1)), place.now, &out)
	case fs.NArg() == 1:
		return misused(fs, "%s is asked for a table: see \"cardlake tables\"", action)
	default:
		t, err := tableNamed(fs.Arg(1))
		if err != nil {
			return err
		}
		if permitted, verdict, err = checkTable(set, c, action, t, fs.Args()[2:], place.now, &out); err != nil {
			return err
		}
	}
	if *formatName == "table" {
		fmt.Fprintln(stdout, verdict)
	} else {
		fmt.Fprintln(stderr, verdict)
	}
	if len(out.rows) > 0 || *formatName != "table" {
		if err := format(ctx, stdout, &out); err != nil {
			return err
		}
	}
	if !permitted {
		return exitCode(1)
	}
	return nil
}

// checkLake rules on an action of the lake or a tenant and lists the policies that decide.
func checkLake(set *grants.Set, c grants.Caller, a grants.Action, tenant cardlake.Tenant, now time.Time, out *listing) (permitted bool, verdict string) {
	r := set.Permitted(c, a, now)
	what := "the lake"
	if permitted = r.For(tenant); tenant != "" {
		what = "tenant " + string(tenant)
	}
	out.strings("policy", "place", "description")
	for _, id := range r.Policies {
		p := set.Policy(id)
		out.row(p.ID, p.Place(), p.Description)
	}
	switch {
	case permitted:
		verdict = fmt.Sprintf("%s may %s for %s%s.", c.Principal, a, what, while(r.Until, r.BreakGlass))
	case r.Reason != "":
		verdict = fmt.Sprintf("Not permitted: %s.", r.Reason)
	default:
		verdict = fmt.Sprintf("Not permitted: %s may %s, but not for %s.", c.Principal, a, what)
	}
	if len(r.Policies) == 0 {
		verdict += unmet(set, c.Principal, a)
	}
	return permitted, verdict
}

func while(until time.Time, breakGlass bool) string {
	text := ""
	if breakGlass {
		text = ", in an emergency"
	}
	if !until.IsZero() {
		text += ", until " + until.Format(time.RFC3339) + " at least"
	}
	return text
}

// unmet names the policies that would permit if their conditions held.
func unmet(set *grants.Set, p grants.Principal, a grants.Action) string {
	var names []string
	for _, policy := range set.Candidates(p, a) {
		names = append(names, fmt.Sprintf("  %s (%s) %s", policy.ID, policy.Place(), policy.Description))
	}
	if len(names) == 0 {
		return ""
	}
	return "\nOf this principal and action, but with other conditions or about something else:\n" + strings.Join(names, "\n")
}

// checkTable takes a decision and lists, for each scope or the one tenant, each tag's access.
func checkTable(set *grants.Set, c grants.Caller, a grants.Action, t *cardlake.Table, only []string, now time.Time, out *listing) (permitted bool, verdict string, err error) {
	out.strings("rows", "access", "tag", "policy", "place", "description", "columns")
	d := set.Decide(c, a, t, now)
	list := func(rows string, tenant cardlake.Tenant) error {
		findings, err := set.Explain(c, a, t, tenant, now)
		if err != nil {
			return err
		}
		for _, f := range findings {
			permitted = permitted || f.Access != grants.Dropped
			columns := strings.Join(f.Columns, ", ")
			if len(f.Policies) == 0 {
				out.row(rows, f.Access.String(), string(f.Tag), "", "", "no policy permits it", columns)
			}
			for _, p := range f.Policies {
				out.row(rows, f.Access.String(), string(f.Tag), p.ID, p.Place(), p.Description, columns)
			}
		}
		return nil
	}
	asked := fmt.Sprintf("%s %s", a, t.FullName())
	if len(only) > 0 {
		asked += " in the rows of " + only[0]
		err = list(only[0], cardlake.Tenant(only[0]))
	} else {
		for i := range d.Scopes {
			var tenant cardlake.Tenant
			if s := &d.Scopes[i]; !s.Others {
				tenant = s.Tenants[0]
			}
			if err = list(d.Rows(&d.Scopes[i]), tenant); err != nil {
				break
			}
		}
	}
	if err != nil {
		return false, "", fmt.Errorf("not permitted: %w", err)
	}
	if permitted {
		return true, fmt.Sprintf("%s may %s%s.", c.Principal, asked, while(d.Until, d.BreakGlass)), nil
	}
	verdict = "Not permitted: " + cmp.Or(d.Reason, c.Principal.String()+" may not "+asked) + "."
	if len(d.Policies) == 0 {
		verdict += unmet(set, c.Principal, a)
	}
	return false, verdict, nil
}

const explainAbout = `Lists who reaches which columns of a table, in which rows: each principal with more than one
factor shown, and once more for what it reaches only in an emergency.`

func grantsExplain(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("grants explain", "TABLE", explainAbout, stderr)
	var place grantsPlace
	place.define(fs)
	place.defineTime(fs)
	column := fs.String("column", "", "only who reaches this `column`")
	formatName := fs.String("format", "table", "how rows are written: "+strings.Join(render.Names(), ", "))
	if err := parse(fs, args); err != nil {
		return err
	}
	format, err := render.ByName(*formatName)
	switch {
	case err != nil:
		return misused(fs, "%v", err)
	case fs.NArg() != 1:
		return misused(fs, "takes the name of one table, got %d arguments", fs.NArg())
	}
	if err := place.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	t, err := tableNamed(fs.Arg(0))
	if err != nil {
		return err
	}
	if *column != "" && t.Column(*column) == nil {
		return fmt.Errorf("%s has no column %q: see \"cardlake describe %s\"", t.FullName(), *column, t.FullName())
	}
	set, err := place.load()
	if err != nil {
		return err
	}
	var out listing
	out.strings("principal", "action", "rows", "clear", "masked", "when", "policies")
	for _, a := range []grants.Action{grants.Query, grants.ReadChanges, grants.Export, grants.ReadAudit} {
		for _, d := range set.Who(a, t, place.now) {
			for i := range d.Scopes {
				s := &d.Scopes[i]
				clear, masked := columnsOf(t, s, grants.Clear, *column), columnsOf(t, s, grants.Masked, *column)
				if clear == "" && masked == "" {
					continue
				}
				when := strings.TrimPrefix(while(d.Until, d.BreakGlass), ", ")
				out.row(d.Principal.String(), string(a), d.Rows(s), clear, masked, when, strings.Join(d.Policies, ", "))
			}
		}
	}
	return format(ctx, stdout, &out)
}

// columnsOf names the columns that a scope gives with the access, of one column or all.
func columnsOf(t *cardlake.Table, s *grants.Scope, a grants.Access, only string) string {
	var names []string
	for i, c := range t.Columns {
		if s.Columns[i] == a && (only == "" || only == c.Name) {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", ")
}

const validateAbout = `Says whether the set in the folder is right: every fault with its file and line, and what to do.
The version that it names is the one that decisions and audit records name.

Exit codes: 0 right, 1 not right, 2 could not read it.`

func grantsValidate(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("grants validate", "", validateAbout, stderr)
	var place grantsPlace
	place.define(fs)
	production := fs.Bool("production", false, "refuse what is for trying out, and what a review could not pass")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 0 {
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	if err := place.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	set, err := place.load()
	if err == nil && *production {
		err = set.Production(place.now)
	}
	var faults grants.Faults
	if errors.As(err, &faults) {
		for _, f := range faults {
			fmt.Fprintln(stdout, f)
		}
		return exitCode(1)
	}
	if err != nil {
		return err
	}
	text := "version " + set.Version()
	if set.Commit() != "" {
		text += ", commit " + set.Commit()
	}
	fmt.Fprintf(stdout, "right: %d principals, %d policies, %s\n", len(set.Principals()), len(set.Policies()), text)
	return nil
}

func grantsInit(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("grants init", "", "Makes a documented set for trying out on one machine, with an analyst of each tenant in the register.", stderr)
	var place grantsPlace
	place.define(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 0 {
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	if err := place.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	tenants, err := place.register()
	if err != nil {
		return err
	}
	if err := grants.Init(place.grants, tenants); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "made %s: read its README.md, then try \"cardlake grants check query cards.transactions\"\n", place.grants)
	return nil
}
