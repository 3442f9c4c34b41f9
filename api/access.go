package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// Access says who may do what; *grants.Grants is it.
type Access interface {
	Permitted(c grants.Caller, a grants.Action) *grants.Ruling
	Set() *grants.Set
}

// Trail reads the audit log.
type Trail interface {
	// Newest returns the lines that the filter selects, the newest first, at most limit of them,
	// of those whose number is below before, which is 0 for all. Each line is verified with those
	// around it; of a log that does not hold together it returns an error.
	Newest(ctx context.Context, f audit.Filter, before uint64, limit int) (TrailPage, error)
}

// TrailPage are lines of the audit log.
type TrailPage struct {
	Lines []audit.Line
	// Next, if not 0, is the before that the next page is asked for with. A page may have fewer
	// lines than were asked for, or none, and have a next: it was searched for long enough.
	Next uint64
	// IsPruned says that older lines are not in the log's folder any more, but in the archive.
	IsPruned bool
}

// Actions of this file on record. That the log was read is named as the command line names it.
const (
	actionGrants    = "grants.report"
	actionReadAudit = "audit_read"
)

const (
	auditLines    = 100
	maxAuditLines = 1000
)

// accessRoutes are for who gives access, and who looks after it.
func (s *Server) accessRoutes() []route {
	report := &reports{}
	name := append([]param{inPath("kind", "the principal's kind"), inPath("name", "its name")},
		inQuery("tenant", "whose rows it is explained for; the principal's own tenant, or rows of no tenant, if it is not there", textOf(40)),
		inQuery("action", "for which action; query if it is not there", choiceOf(names(grants.Query, grants.ReadChanges, grants.Export, grants.ReadAudit)...)))
	own := "Who may neither grant nor read the audit log is told of itself alone."
	out := s.group("access", s.deps.Access != nil, nil,
		route{method: "GET", path: "/v1/grants", name: "grants", doc: "Lists the principals with what each may do.", more: own,
			answers: []answer{{status: 200, doc: "The principals.", body: grantsAnswer{}}}, do: func(c *call) error { return s.grants(c, report) }},
		route{method: "GET", path: "/v1/grants/policies", name: "policies", doc: "Lists the policies, each with its text.",
			answers: []answer{{status: 200, doc: "The policies.", body: policiesAnswer{}}}, problems: []kind{kindNotPermitted}, do: func(c *call) error { return s.policies(c, report) }},
		route{method: "GET", path: "/v1/grants/{kind}/{name}", name: "grants_of", doc: "Explains what one principal is given of each table, and why.", more: own, params: name,
			answers: []answer{{status: 200, doc: "The principal.", body: explainedAnswer{}}}, problems: []kind{kindNotPermitted, kindRoute}, do: func(c *call) error { return s.explain(c, report) }},
	)
	return append(out, s.group("access", s.deps.Access != nil && s.deps.Trail != nil, nil,
		route{method: "GET", path: "/v1/audit", name: "audit", doc: "Lists lines of the audit log, the newest first, to who may read it.",
			more: "Lines are verified with those around them. That it was read is a line of it.",
			params: []param{
				inQuery("actor", "only lines of this principal", textOf(128)),
				inQuery("action", "only this action, or with a dot at its end all that begin with it", textOf(128)),
				inQuery("outcome", "only lines that ended so", choiceOf(names(audit.Allowed, audit.Refused, audit.Failed)...)),
				inQuery("from", "only lines from this instant on", instantOf()), inQuery("to", "only lines before this instant", instantOf()),
				inQuery("limit", "lines at most", intOf(1, maxAuditLines)),
				inQuery("cursor", "the next of the page before", intOf(1, 1<<53)),
			},
			answers: []answer{{status: 200, doc: "The lines.", body: auditAnswer{}}}, problems: []kind{kindNotPermitted}, do: s.auditLog},
	)...)
}

// instantOf is an instant (RFC 3339).
func instantOf() schema { return schema{"type": "string", "format": "date-time"} }

// mustBe returns queries.ErrNotPermitted unless the caller may do, for the lake as a whole, one of
// the actions.
func (s *Server) mustBe(c *call, actions ...grants.Action) error {
	for _, a := range actions {
		if r := s.deps.Access.Permitted(c.caller, a); r.Action == a && r.Principal == c.caller.Principal && r.Allowed() {
			return nil
		}
	}
	return queries.ErrNotPermitted
}

// isReviewer reports whether the caller is told of others' access.
func (s *Server) isReviewer(c *call) bool { return s.mustBe(c, grants.Grant, grants.ReadAudit) == nil }

// reports keeps the newest report: to make one takes decisions about each principal, action and
// table, which are seconds for hundreds of principals.
type reports struct {
	mu     sync.Mutex
	of     *grants.Set
	until  time.Time
	report *grants.Report
}

// reportAge is how old a report may be at most.
const reportAge = 5 * time.Minute

// newest is the report of the set as long as nothing changes it, be it the time.
func (r *reports) newest(set *grants.Set, now time.Time) *grants.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == set && now.Before(r.until) {
		return r.report
	}
	r.of, r.report, r.until = set, set.Report(cardlake.Tables, now), now.Add(reportAge)
	ends := func(at *time.Time) {
		if at != nil && at.After(now) && at.Before(r.until) {
			r.until = *at
		}
	}
	for _, p := range r.report.Principals {
		ends(p.ValidFrom)
		ends(p.ValidUntil)
		for _, a := range p.Access {
			ends(a.Until)
		}
	}
	return r.report
}

// grantsAnswer is who may do what.
type grantsAnswer struct {
	At          time.Time         `json:"at" doc:"when it was so"`
	Version     string            `json:"version" doc:"version of the grants"`
	Commit      string            `json:"commit,omitempty" doc:"commit that they were read from"`
	Development bool              `json:"development,omitempty" doc:"they are for trying out"`
	Tables      []string          `json:"tables" doc:"the tables"`
	Principals  []principalAnswer `json:"principals" doc:"those that the caller is told of"`
	IsAll       bool              `json:"all" doc:"whether these are all there are"`
}

// principalAnswer is a principal with what it may do.
type principalAnswer struct {
	Principal  string          `json:"principal" doc:"KIND/NAME"`
	Kind       grants.Kind     `json:"kind" doc:"its kind"`
	Name       string          `json:"name" doc:"its name"`
	Owner      string          `json:"owner" doc:"who answers for it"`
	Service    bool            `json:"service" doc:"a program, not a person"`
	Tenant     cardlake.Tenant `json:"tenant,omitempty" doc:"whose it is"`
	Subjects   []string        `json:"subjects" doc:"who signs in as it"`
	Teams      []string        `json:"teams" doc:"teams that it is in"`
	ValidFrom  *time.Time      `json:"valid_from,omitempty" doc:"first instant at which it may do anything"`
	ValidUntil *time.Time      `json:"valid_until,omitempty" doc:"first instant at which it may do nothing any more"`
	Reviewed   string          `json:"reviewed,omitempty" doc:"day on which its access was looked at"`
	ReviewDue  bool            `json:"review_due" doc:"that was more than six months ago, or never"`
	MFA        bool            `json:"mfa" doc:"some of its access needs more than one factor"`
	Access     []accessAnswer  `json:"access" doc:"what it may do"`
}

// accessAnswer is one thing that a principal may do.
type accessAnswer struct {
	Action     grants.Action  `json:"action" doc:"what it may do"`
	Table      string         `json:"table,omitempty" doc:"with which table; none: with the lake or a tenant"`
	Rows       string         `json:"rows" doc:"with which rows or tenants, in words"`
	Clear      []cardlake.Tag `json:"clear" doc:"tags of columns that it is given as they are"`
	Masked     []cardlake.Tag `json:"masked" doc:"tags of columns that it is given masked"`
	Policies   []string       `json:"policies" doc:"ids of the policies that give it; empty for who is told of itself alone"`
	MFA        bool           `json:"mfa" doc:"only with more than one factor"`
	BreakGlass bool           `json:"break_glass" doc:"only in an emergency"`
	Until      *time.Time     `json:"until,omitempty" doc:"when it may change next"`
}

// principalOf is a principal of a report; all says that the caller is told of policies.
func principalOf(p grants.PrincipalReport, all bool) principalAnswer {
	who, _ := grants.ParsePrincipal(p.Principal)
	out := principalAnswer{
		Principal: p.Principal, Kind: who.Kind, Name: who.Name, Owner: p.Owner, Service: p.Service, Tenant: p.Tenant,
		Subjects: orEmpty(p.Subjects), Teams: orEmpty(p.Teams), ValidFrom: p.ValidFrom, ValidUntil: p.ValidUntil,
		Reviewed: p.Reviewed, ReviewDue: p.ReviewDue, Access: []accessAnswer{},
	}
	for _, a := range p.Access {
		out.MFA = out.MFA || a.MFA
		one := accessAnswer{a.Action, a.Table, a.Rows, orEmpty(a.Clear), orEmpty(a.Masked), []string{}, a.MFA, a.BreakGlass, a.Until}
		if all {
			one.Policies = orEmpty(a.Policies)
		}
		out.Access = append(out.Access, one)
	}
	return out
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (s *Server) grants(c *call, reports *reports) error {
	all := s.isReviewer(c)
	resource := "own grants"
	if all {
		resource = "grants"
	}
	if err := s.record(c, actionGrants, resource, nil); err != nil {
		return err
	}
	r := reports.newest(s.deps.Access.Set(), s.cfg.Now())
	out := grantsAnswer{At: r.At, Version: r.Version, Commit: r.Commit, Development: r.Development, Tables: []string{}, Principals: []principalAnswer{}, IsAll: all}
	for _, t := range cardlake.Tables {
		out.Tables = append(out.Tables, t.FullName())
	}
	for _, p := range r.Principals {
		if all || p.Principal == c.caller.Principal.String() {
			out.Principals = append(out.Principals, principalOf(p, all))
		}
	}
	writeJSON(c.w, http.StatusOK, "application/json", out)
	return nil
}

// policiesAnswer are the policies.
type policiesAnswer struct {
	Version  string         `json:"version" doc:"version of the grants"`
	Policies []policyAnswer `json:"policies" doc:"each policy"`
}

// policyAnswer is one policy.
type policyAnswer struct {
	ID          string `json:"id" doc:"its id"`
	Description string `json:"description,omitempty" doc:"what it says, in words"`
	File        string `json:"file" doc:"where it stands"`
	Permits     bool   `json:"permits" doc:"it permits; otherwise it forbids, which stands above every permit"`
	BreakGlass  bool   `json:"break_glass" doc:"it is for emergencies"`
	Text        string `json:"text" doc:"its text, in Cedar"`
}

func policyOf(p grants.PolicyReport) policyAnswer {
	return policyAnswer{p.ID, p.Annotations["description"], p.Place, p.Permits, p.BreakGlass, p.Text}
}

func (s *Server) policies(c *call, reports *reports) error {
	if err := s.record(c, actionGrants, "policies", s.mustBe(c, grants.Grant, grants.ReadAudit)); err != nil {
		return err
	}
	r := reports.newest(s.deps.Access.Set(), s.cfg.Now())
	out := policiesAnswer{r.Version, []policyAnswer{}}
	for _, p := range r.Policies {
		out.Policies = append(out.Policies, policyOf(p))
	}
	writeJSON(c.w, http.StatusOK, "application/json", out)
	return nil
}

// explainedAnswer is a principal, with what it is given of each table and why.
type explainedAnswer struct {
	principalAnswer
	Version  string           `json:"version" doc:"version of the grants"`
	Action   grants.Action    `json:"action" doc:"what it would do"`
	Of       cardlake.Tenant  `json:"of,omitempty" doc:"the tenant whose rows it would do it with; none: rows of no tenant"`
	Tables   []explainedTable `json:"tables" doc:"each table, as it is with more than one factor shown"`
	Policies []policyAnswer   `json:"policies" doc:"the policies that decide; empty for who is told of itself alone"`
}

// explainedTable is what is given of one table.
type explainedTable struct {
	Table    string          `json:"table" doc:"its full name"`
	Findings []findingAnswer `json:"findings" doc:"what is given of the columns of each tag"`
}

// findingAnswer is what is given of a table's columns of one tag.
type findingAnswer struct {
	Tag       cardlake.Tag `json:"tag" doc:"how sensitive the columns are"`
	Columns   []string     `json:"columns" doc:"the columns"`
	Access    string       `json:"access" doc:"clear, masked or dropped"`
	Forbidden bool         `json:"forbidden" doc:"a policy forbids what another permits"`
	Policies  []string     `json:"policies" doc:"ids of the policies that decide"`
}

func (s *Server) explain(c *call, reports *reports) error {
	q, err := parameters(c, "tenant", "action")
	if err != nil {
		return err
	}
	who := grants.Principal{Kind: grants.Kind(c.r.PathValue("kind")), Name: c.r.PathValue("name")}
	action := grants.Action(cmp.Or(q.Get("action"), string(grants.Query)))
	of := cardlake.Tenant(q.Get("tenant"))
	switch {
	case !slices.Contains([]grants.Action{grants.Query, grants.ReadChanges, grants.Export, grants.ReadAudit}, action):
		return problemOf(kindRequest, "action is query, read_changes, export or read_audit")
	case of != "" && of.Validate() != nil:
		return problemOf(kindRequest, "tenant is the name of a tenant")
	}
	all := s.isReviewer(c)
	set := s.deps.Access.Set()
	account, isKnown := accountOf(set, who)
	// Of others it is not told whether there are such.
	err = queries.ErrNotPermitted
	resource := "grants of another"
	switch {
	case all && !isKnown:
		err = problemOf(kindRoute, "there is no such principal")
	case all, who == c.caller.Principal && isKnown && (of == "" || of == account.Tenant):
		err, resource = nil, "grants of "+who.String()
	}
	if err := s.record(c, actionGrants, resource, err); err != nil {
		return err
	}
	now := s.cfg.Now()
	r := reports.newest(set, now)
	of = cmp.Or(of, account.Tenant)
	out := explainedAnswer{Version: set.Version(), Action: action, Of: of, Tables: []explainedTable{}, Policies: []policyAnswer{}}
	i := slices.IndexFunc(r.Principals, func(p grants.PrincipalReport) bool { return p.Principal == who.String() })
	if i < 0 {
		return problemOf(kindRoute, "there is no such principal")
	}
	out.principalAnswer = principalOf(r.Principals[i], all)
	deciding := map[string]bool{}
	for _, t := range cardlake.Tables {
		findings, err := set.Explain(grants.Caller{Principal: who, MFA: true}, action, t, of, now)
		if err != nil {
			return problemOf(kindRequest, "tenant is not one of the register")
		}
		one := explainedTable{t.FullName(), []findingAnswer{}}
		for _, f := range findings {
			answer := findingAnswer{Tag: f.Tag, Columns: f.Columns, Access: f.Access.String(), Policies: []string{}}
			if all {
				answer.Forbidden = f.IsForbidden
				for _, p := range f.Policies {
					deciding[p.ID] = true
					answer.Policies = append(answer.Policies, p.ID)
				}
			}
			one.Findings = append(one.Findings, answer)
		}
		out.Tables = append(out.Tables, one)
	}
	for _, p := range r.Policies {
		if deciding[p.ID] {
			out.Policies = append(out.Policies, policyOf(p))
		}
	}
	writeJSON(c.w, http.StatusOK, "application/json", out)
	return nil
}

func accountOf(set *grants.Set, p grants.Principal) (grants.Account, bool) {
	for _, a := range set.Principals() {
		if a.Principal == p {
			return a, true
		}
	}
	return grants.Account{}, false
}

// auditAnswer are lines of the audit log, the newest first.
type auditAnswer struct {
	Lines []lineAnswer `json:"lines" doc:"the lines, the newest first"`
	Next  uint64       `json:"next,omitempty" doc:"the cursor of the next page; a page may be empty and have one"`
	// IsPruned tells who comes to the end that it is not the beginning.
	IsPruned bool `json:"pruned" doc:"older lines are in the archive"`
}

// lineAnswer is one line of the audit log.
type lineAnswer struct {
	Seq      uint64            `json:"seq" doc:"its number"`
	Time     time.Time         `json:"time" doc:"when it was written"`
	Actor    string            `json:"actor" doc:"who acted"`
	Action   string            `json:"action" doc:"what was done"`
	Resource string            `json:"resource" doc:"what it was done to"`
	Outcome  audit.Outcome     `json:"outcome" doc:"allowed, refused or failed"`
	Origin   string            `json:"origin,omitempty" doc:"where it came from"`
	Reason   string            `json:"reason,omitempty" doc:"why, as the actor said, or the rule that refused"`
	Request  string            `json:"request,omitempty" doc:"joins the lines of one request"`
	Detail   map[string]string `json:"detail" doc:"what else is known"`
	Numbers  map[string]int64  `json:"numbers" doc:"what was counted"`
	Hash     string            `json:"hash" doc:"the line's hash, which the next line names"`
}

// lineOf leaves out what is no reader's: wrapped keys and signatures. Runs of digits were masked
// when the line was written.
func lineOf(l *audit.Line) lineAnswer {
	out := lineAnswer{
		l.Seq, l.Time.UTC(), l.Actor, l.Action, l.Resource, l.Outcome, l.Origin, l.Reason, l.Request, map[string]string{}, map[string]int64{}, l.Hash,
	}
	maps.Copy(out.Detail, l.Detail)
	maps.Copy(out.Numbers, l.Numbers)
	return out
}

func (s *Server) auditLog(c *call) error {
	f, before, limit, err := readAuditFilter(c)
	if err != nil {
		return err
	}
	if err := s.recordAudit(c, f, before, s.mustBe(c, grants.ReadAudit)); err != nil {
		return err
	}
	page, err := s.deps.Trail.Newest(c.r.Context(), f, before, limit)
	if err != nil {
		return gone(c.r.Context(), err)
	}
	out := auditAnswer{Lines: []lineAnswer{}, Next: page.Next, IsPruned: page.IsPruned}
	for i := range page.Lines {
		out.Lines = append(out.Lines, lineOf(&page.Lines[i]))
	}
	writeJSON(c.w, http.StatusOK, "application/json", out)
	return nil
}

// recordAudit puts on record that the log is read, and what of it.
func (s *Server) recordAudit(c *call, f audit.Filter, before uint64, err error) error {
	r := s.recordOf(c.caller, actionReadAudit, "audit log", err)
	for name, value := range map[string]string{"of_actor": f.Actor, "of_action": f.Action, "of_outcome": string(f.Outcome)} {
		if value != "" {
			r.Detail[name] = value
		}
	}
	for name, at := range map[string]time.Time{"from": f.Since, "to": f.Until} {
		if !at.IsZero() {
			r.Detail[name] = at.UTC().Format(time.RFC3339)
		}
	}
	r.Numbers = map[string]int64{"before": int64(before)}
	return s.putOnRecord(c.r.Context(), r, err)
}

// readAuditFilter reads the parameters of GET /v1/audit.
func readAuditFilter(c *call) (f audit.Filter, before uint64, limit int, err error) {
	q, err := parameters(c, "actor", "action", "outcome", "from", "to", "limit", "cursor")
	if err != nil {
		return f, 0, 0, err
	}
	f.Actor, f.Action, f.Outcome, limit = q.Get("actor"), q.Get("action"), audit.Outcome(q.Get("outcome")), auditLines
	if len(f.Actor) > 128 || len(f.Action) > 128 || audit.Masks(f.Actor) || audit.Masks(f.Action) {
		return f, 0, 0, problemOf(kindRequest, "actor and action are of at most 128 bytes, and hold no card number")
	}
	switch f.Outcome {
	case "", audit.Allowed, audit.Refused, audit.Failed:
	default:
		return f, 0, 0, problemOf(kindRequest, "outcome is allowed, refused or failed")
	}
	for _, bound := range []struct {
		name string
		to   *time.Time
	}{{"from", &f.Since}, {"to", &f.Until}} {
		if text := q.Get(bound.name); text != "" {
			if *bound.to, err = time.Parse(time.RFC3339, text); err != nil {
				return f, 0, 0, problemOf(kindRequest, "%s is an instant, as 2026-11-23T00:00:00Z", bound.name)
			}
		}
	}
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxAuditLines {
			return f, 0, 0, problemOf(kindRequest, "limit is a number of lines from 1 to %d", maxAuditLines)
		}
	}
	if text := q.Get("cursor"); text != "" {
		if before, err = strconv.ParseUint(text, 10, 53); err != nil || before == 0 {
			return f, 0, 0, problemOf(kindRequest, "cursor is the next of the page before")
		}
	}
	return f, before, limit, nil
}

// parameters are those of the query, each known and there once.
func parameters(c *call, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, problemOf(kindRequest, "the parameters are not well-formed")
	}
	for name, values := range q {
		if len(values) != 1 || !slices.Contains(known, name) {
			return nil, problemOf(kindRequest, "a parameter is not known, or there more than once")
		}
	}
	return q, nil
}
