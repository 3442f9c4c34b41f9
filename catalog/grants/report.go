package grants

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
)

// Report is the evidence for a review of access (PCI DSS 4.0.1 requirement 7.2.4: all accounts
// and their privileges at least every six months; 7.2.5.1: those of systems and applications):
// every principal, what it may do, by which policies, until when, and when that was last
// looked at.
type Report struct {
	At          time.Time         `json:"at"`
	Version     string            `json:"version"`
	Commit      string            `json:"commit,omitempty"`
	Development bool              `json:"development,omitempty"`
	Principals  []PrincipalReport `json:"principals"`
	Policies    []PolicyReport    `json:"policies"`
	// Since is what differs from an earlier report, if one was given.
	Since *Differences `json:"since,omitempty"`
}

// PrincipalReport is one principal of a report.
type PrincipalReport struct {
	Principal  string          `json:"principal"`
	Owner      string          `json:"owner"`
	Service    bool            `json:"service"`
	Tenant     cardlake.Tenant `json:"tenant,omitempty"`
	Subjects   []string        `json:"subjects,omitempty"`
	Teams      []string        `json:"teams,omitempty"`
	ValidFrom  *time.Time      `json:"valid_from,omitempty"`
	ValidUntil *time.Time      `json:"valid_until,omitempty"`
	Reviewed   string          `json:"reviewed,omitempty"` // day
	// ReviewDue says that the last review is more than six months old, or never was.
	ReviewDue bool           `json:"review_due"`
	Access    []AccessReport `json:"access,omitempty"`
}

// AccessReport is one thing that a principal may do: an action on rows of a table, or on
// tenants.
type AccessReport struct {
	Action     Action         `json:"action"`
	Table      string         `json:"table,omitempty"`
	Rows       string         `json:"rows"` // tenants, in words
	Clear      []cardlake.Tag `json:"clear,omitempty"`
	Masked     []cardlake.Tag `json:"masked,omitempty"`
	Policies   []string       `json:"policies"`
	MFA        bool           `json:"mfa,omitempty"`         // only with more than one factor
	BreakGlass bool           `json:"break_glass,omitempty"` // only in an emergency
	Until      *time.Time     `json:"until,omitempty"`       // when it may change next
}

// PolicyReport is one policy of a report.
type PolicyReport struct {
	ID          string            `json:"id"`
	Place       string            `json:"place"`
	Permits     bool              `json:"permits"`
	BreakGlass  bool              `json:"break_glass,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Text        string            `json:"text"`
}

// Differences are what a review looks at first, each in words.
type Differences struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"`
	Added   []string  `json:"added,omitempty"`
	Removed []string  `json:"removed,omitempty"`
	Changed []string  `json:"changed,omitempty"`
}

// Report reports on every principal and the tables.
func (s *Set) Report(tables []*cardlake.Table, now time.Time) *Report {
	r := &Report{At: now.UTC().Truncate(time.Second), Version: s.version, Commit: s.commit, Development: s.development}
	for _, a := range s.Principals() {
		p := PrincipalReport{
			Principal: a.Principal.String(), Owner: a.Owner, Service: a.IsService, Tenant: a.Tenant, Subjects: a.Subjects, Teams: a.Teams,
			ValidFrom: instant(a.ValidFrom), ValidUntil: instant(a.ValidUntil), ReviewDue: a.reviewDue(now),
		}
		if !a.Reviewed.IsZero() {
			p.Reviewed = a.Reviewed.Format(time.DateOnly)
		}
		for _, action := range tableActions {
			for _, t := range tables {
				p.Access = append(p.Access, s.tableAccess(a.Principal, action, t, now)...)
			}
		}
		for _, action := range lakeActions {
			p.Access = append(p.Access, s.lakeAccess(a.Principal, action, now)...)
		}
		r.Principals = append(r.Principals, p)
	}
	for _, p := range s.policies {
		r.Policies = append(r.Policies, PolicyReport{p.ID, p.Place(), p.IsPermit, p.IsBreakGlass, p.Annotations, p.Text})
	}
	return r
}

// reviewDue reports whether the last review is too old (PCI DSS 4.0.1 requirement 7.2.4).
func (a *Account) reviewDue(now time.Time) bool {
	return a.Reviewed.Before(now.AddDate(0, -6, -1)) || a.Reviewed.After(now)
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *Set) tableAccess(p Principal, a Action, t *cardlake.Table, now time.Time) []AccessReport {
	var out []AccessReport
	add := func(d *Decision, withoutMFA *Decision) {
		for i := range d.Scopes {
			scope := &d.Scopes[i]
			out = append(out, AccessReport{
				Action: a, Table: t.FullName(), Rows: d.Rows(scope),
				Clear: scope.ByTag(t, Clear), Masked: scope.ByTag(t, Masked), Policies: d.Policies,
				BreakGlass: d.BreakGlass, Until: instant(d.Until), MFA: !holds(withoutMFA, d, i),
			})
		}
	}
	usual, emergency := s.most(p)
	add(s.Decide(usual, a, t, now), s.Decide(Caller{Principal: p}, a, t, now))
	if d := s.Decide(emergency, a, t, now); d.BreakGlass {
		emergency.MFA = false
		add(d, s.Decide(emergency, a, t, now))
	}
	return out
}

// holds reports whether d gives what scope i of other gives.
func holds(d, other *Decision, i int) bool {
	return slices.ContainsFunc(d.Scopes, func(s Scope) bool {
		o := other.Scopes[i]
		return s.Others == o.Others && slices.Equal(s.Tenants, o.Tenants) && slices.Equal(s.Columns, o.Columns)
	})
}

func (s *Set) lakeAccess(p Principal, a Action, now time.Time) []AccessReport {
	usual, emergency := s.most(p)
	var out []AccessReport
	add := func(c Caller) {
		r := s.Permitted(c, a, now)
		if !r.Lake && len(r.Tenants) == 0 || c.BreakGlass && !r.BreakGlass {
			return
		}
		c.MFA = false
		plain := s.Permitted(c, a, now)
		out = append(out, AccessReport{
			Action: a, Rows: r.rows(len(s.tenants)), Policies: r.Policies, BreakGlass: r.BreakGlass, Until: instant(r.Until),
			MFA: plain.Lake != r.Lake || !slices.Equal(plain.Tenants, r.Tenants),
		})
	}
	add(usual)
	add(emergency)
	return out
}

// rows says in words for what the ruling permits, of so many tenants.
func (r *Ruling) rows(tenants int) string {
	switch all := len(r.Tenants) == tenants; {
	case r.Lake && all:
		return "the lake and every tenant"
	case r.Lake && len(r.Tenants) == 0:
		return "the lake"
	case r.Lake:
		return "the lake and " + join(r.Tenants)
	}
	return join(r.Tenants)
}

// Compare sets Since to what differs from an earlier report.
func (r *Report) Compare(earlier *Report) {
	d := &Differences{At: earlier.At, Version: earlier.Version}
	compare(d, "principal", r.Principals, earlier.Principals, func(p PrincipalReport) string { return p.Principal }, PrincipalReport.lines)
	compare(d, "policy", r.Policies, earlier.Policies, func(p PolicyReport) string { return p.ID }, PolicyReport.lines)
	r.Since = d
}

// compare adds the differences of two lists, whose elements have names and lines.
func compare[T any](d *Differences, what string, now, before []T, name func(T) string, lines func(T) []string) {
	index := func(list []T) map[string][]string {
		out := map[string][]string{}
		for _, x := range list {
			out[name(x)] = lines(x)
		}
		return out
	}
	old, current := index(before), index(now)
	for _, x := range now {
		was, ok := old[name(x)]
		if !ok {
			d.Added = append(d.Added, what+" "+name(x))
			for _, line := range lines(x) {
				d.Added = append(d.Added, what+" "+name(x)+": "+line)
			}
			continue
		}
		for _, line := range lines(x) {
			if !slices.Contains(was, line) {
				d.Changed = append(d.Changed, what+" "+name(x)+": now "+line)
			}
		}
		for _, line := range was {
			if !slices.Contains(current[name(x)], line) {
				d.Changed = append(d.Changed, what+" "+name(x)+": no more "+line)
			}
		}
	}
	for _, x := range before {
		if _, ok := current[name(x)]; !ok {
			d.Removed = append(d.Removed, what+" "+name(x))
		}
	}
}

// lines are what a review compares of a principal: all but the day of the review.
func (p PrincipalReport) lines() []string {
	out := []string{"owner " + p.Owner}
	for _, s := range p.Subjects {
		out = append(out, "subject "+s)
	}
	for _, t := range p.Teams {
		out = append(out, "team "+t)
	}
	if p.Tenant != "" {
		out = append(out, "tenant "+string(p.Tenant))
	}
	for name, at := range map[string]*time.Time{"valid from ": p.ValidFrom, "valid until ": p.ValidUntil} {
		if at != nil {
			out = append(out, name+at.UTC().Format(time.RFC3339))
		}
	}
	slices.Sort(out)
	for _, a := range p.Access {
		out = append(out, a.String())
	}
	return out
}

func (p PolicyReport) lines() []string { return []string{p.Text} }

// String says in words what may be done.
func (a AccessReport) String() string {
	text := string(a.Action)
	if a.Table != "" {
		text += " " + a.Table
	}
	text += " of " + a.Rows
	if len(a.Clear) > 0 {
		text += ", clear " + join(a.Clear)
	}
	if len(a.Masked) > 0 {
		text += ", masked " + join(a.Masked)
	}
	if a.MFA {
		text += ", with more than one factor"
	}
	if a.BreakGlass {
		text += ", in an emergency"
	}
	return text
}

// Markdown writes the report to be read, printed and signed.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Review of access, %s\n", r.At.Format(time.DateOnly))
	line("Grants of version `%s`%s, at %s.", r.Version, in(" of commit `%s`", r.Commit), r.At.Format(time.RFC3339))
	if r.Development {
		line("\n**A set for trying out, not for production.**")
	}
	if r.Since != nil {
		line("\n## Since %s\n\nVersion was `%s`.", r.Since.At.Format(time.RFC3339), r.Since.Version)
		for _, part := range []struct {
			name  string
			lines []string
		}{{"Added", r.Since.Added}, {"Removed", r.Since.Removed}, {"Changed", r.Since.Changed}} {
			for _, text := range part.lines {
				line("- %s: %s", part.name, cell(text))
			}
		}
		if len(r.Since.Added)+len(r.Since.Removed)+len(r.Since.Changed) == 0 {
			line("\nNothing differs.")
		}
	}
	line("\n## Principals\n\n| principal | owner | | tenant | valid until | reviewed | may |\n|---|---|---|---|---|---|---|")
	for _, p := range r.Principals {
		kind := "person"
		if p.Service {
			kind = "service"
		}
		until, reviewed := "", p.Reviewed
		if p.ValidUntil != nil {
			until = p.ValidUntil.Format(time.RFC3339)
		}
		if p.ReviewDue {
			reviewed += " **due**"
		}
		var may []string
		for _, a := range p.Access {
			may = append(may, cell(a.String())+" ("+cell(strings.Join(a.Policies, ", "))+")")
		}
		line("| %s | %s | %s | %s | %s | %s | %s |", p.Principal, cell(p.Owner), kind, p.Tenant, until, reviewed, strings.Join(may, "<br>"))
	}
	line("\n## Policies\n\n| policy | place | | description |\n|---|---|---|---|")
	for _, p := range r.Policies {
		effect := "forbid"
		if p.Permits {
			effect = "permit"
		}
		line("| %s | %s | %s | %s |", p.ID, p.Place, effect, cell(p.Annotations["description"]))
	}
	line("\nReviewed by: ____________________  on: ____________________")
	_, err := io.WriteString(w, b.String())
	return err
}

// cell is a text in a cell of a table, or a line of a list.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}

func in(format, text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf(format, text)
}
