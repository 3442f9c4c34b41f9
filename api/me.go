package api

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
)

// meActions are what /v1/me tells of: what is done with a table.
var meActions = []grants.Action{grants.Query, grants.ReadChanges, grants.Export, grants.ReadAudit}

// meAnswer is who the caller is, and what it may do.
type meAnswer struct {
	Principal  string     `json:"principal" doc:"Who the caller is, KIND/NAME."`
	Kind       string     `json:"kind" doc:"What the caller is."`
	MFA        bool       `json:"mfa" doc:"Whether more than one factor was shown when signing in."`
	Origin     string     `json:"origin" doc:"The address that the call came from."`
	BreakGlass bool       `json:"break_glass,omitempty" doc:"Whether emergency access was asked for."`
	Version    string     `json:"grants_version,omitempty" doc:"Identifies the policies that decided."`
	Grants     []meGrant  `json:"grants" doc:"What may be done with tables."`
	Tenants    []meTenant `json:"tenants" doc:"The tenants of which the caller may read rows."`
	Pages      []string   `json:"pages" doc:"The pages of the dashboard that have something for the caller."`
	Actions    meActs     `json:"actions" doc:"What the caller may do beside reading."`
	Until      *time.Time `json:"until,omitempty" doc:"When the first of the grants must be decided anew."`
}

// meTenant is a tenant that the caller may read.
type meTenant struct {
	Name     cardlake.Tenant      `json:"name" doc:"The tenant's name."`
	Country  string               `json:"country,omitempty" doc:"Where it is: ISO 3166-1 alpha-2."`
	Currency cardlake.Currency    `json:"currency,omitempty" doc:"Its currency: ISO 4217."`
	Status   catalog.TenantStatus `json:"status,omitempty" doc:"How it is."`
}

// meActs are what the caller may do.
type meActs struct {
	Review     []cardlake.Tenant `json:"review" doc:"The tenants whose alerts it may confirm and dismiss."`
	Export     []cardlake.Tenant `json:"export" doc:"The tenants of which it may take transactions away as files."`
	Administer bool              `json:"administer" doc:"Whether it may change who may do what."`
	Operate    bool              `json:"operate" doc:"Whether it may maintain the lake, and see how it is."`
	Audit      bool              `json:"audit" doc:"Whether it may read the audit log."`
}

// mePages are the pages of the dashboard that rest on one table, each with the column without which
// they have nothing to show.
var mePages = []struct {
	name   string
	table  *cardlake.Table
	column string
}{
	{"overview", cardlake.Transactions, "amount"}, {"transactions", cardlake.Transactions, "amount"},
	{"declines", cardlake.Transactions, "amount"}, {"cards", cardlake.Transactions, "card_token"},
	{"merchants", cardlake.Transactions, "amount"}, {"anomalies", cardlake.Alerts, "card_token"},
	{"segments", cardlake.Segments, "value"}, {"predictions", cardlake.Predictions, "customer_id"},
	{"recommendations", cardlake.Recommendations, "customer_id"},
}

// meGrant is one action on one table.
type meGrant struct {
	Table  string    `json:"table" doc:"The table's full name."`
	Action string    `json:"action" doc:"What may be done with it."`
	Scopes []meScope `json:"scopes" doc:"Which rows, and how."`
}

// meScope are rows that are given alike. Columns that are not named are not there.
type meScope struct {
	Tenants []cardlake.Tenant `json:"tenants,omitempty" doc:"The tenants whose rows they are."`
	Others  bool              `json:"other_tenants,omitempty" doc:"Whether the rows of tenants that no scope names are in it."`
	Clear   []string          `json:"clear,omitempty" doc:"Columns that are given as they are."`
	Masked  []string          `json:"masked,omitempty" doc:"Columns that are given masked. Others are not there."`
}

func (s *Server) meRoutes() []route {
	return []route{{method: "GET", path: "/v1/me", name: "me", tag: "caller", doc: "Says who the caller is, and what is permitted.",
		answers: []answer{{status: 200, doc: "The caller.", body: meAnswer{}}}, do: s.me}}
}

func (s *Server) me(c *call) error {
	answer := meAnswer{
		Principal: c.caller.Principal.String(), Kind: string(c.caller.Principal.Kind), MFA: c.caller.MFA,
		Origin: c.caller.Origin, BreakGlass: c.caller.BreakGlass, Grants: []meGrant{},
	}
	for _, t := range s.cfg.Tables {
		for _, a := range meActions {
			d := s.deps.Permits.Decide(c.caller, a, t)
			if !d.Allowed() {
				continue
			}
			answer.Version = d.Version
			if until := d.Until; !until.IsZero() && (answer.Until == nil || until.Before(*answer.Until)) {
				answer.Until = &until
			}
			answer.Grants = append(answer.Grants, meGrant{t.FullName(), string(a), scopesOf(d)})
		}
	}
	answer.Tenants = s.readable(c.caller)
	answer.Actions = s.actions(c.caller, answer.Tenants)
	answer.Pages = s.pages(c.caller, answer)
	if err := s.record(c, actionMe, "own grants", nil); err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// scopesOf does not tell Except: the names of tenants that the caller is not given.
func scopesOf(d *grants.Decision) []meScope {
	var out []meScope
	for _, s := range d.Scopes {
		one := meScope{Tenants: s.Tenants, Others: s.Others}
		for i, a := range s.Columns {
			switch a {
			case grants.Clear:
				one.Clear = append(one.Clear, d.Table.Columns[i].Name)
			case grants.Masked:
				one.Masked = append(one.Masked, d.Table.Columns[i].Name)
			}
		}
		out = append(out, one)
	}
	return out
}

// readable are the tenants of which the caller may read rows of some table, in order of name.
func (s *Server) readable(caller grants.Caller) []meTenant {
	records := map[cardlake.Tenant]meTenant{}
	if s.deps.Tenants != nil {
		for _, r := range s.deps.Tenants.All() {
			records[r.Name] = meTenant{r.Name, r.Country, r.Currency, r.Status}
		}
	}
	of := map[cardlake.Tenant]meTenant{}
	for _, t := range s.cfg.Tables {
		if !t.ByTenant {
			continue
		}
		d := s.deps.Permits.Decide(caller, grants.Query, t)
		for _, scope := range d.Scopes {
			for _, name := range scope.Tenants {
				of[name] = meTenant{Name: name}
			}
		}
		for name := range records {
			if d.Allowed() && d.Scope(name) != nil {
				of[name] = meTenant{Name: name}
			}
		}
	}
	out := []meTenant{}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if r, ok := records[name]; ok {
			out = append(out, r)
		} else {
			out = append(out, of[name])
		}
	}
	return out
}

// actions are what the caller may do beside reading.
func (s *Server) actions(caller grants.Caller, tenants []meTenant) meActs {
	acts := meActs{Review: []cardlake.Tenant{}, Export: []cardlake.Tenant{}}
	if s.deps.Exports != nil {
		if d := s.deps.Permits.Decide(caller, grants.Export, cardlake.Transactions); d.Allowed() {
			for _, t := range tenants {
				if d.Scope(t.Name) != nil {
					acts.Export = append(acts.Export, t.Name)
				}
			}
		}
	}
	if s.deps.Access == nil {
		return acts
	}
	may := func(a grants.Action) bool { return s.deps.Access.Permitted(caller, a).Allowed() }
	acts.Administer, acts.Operate, acts.Audit = may(grants.Grant), may(grants.Maintain), may(grants.ReadAudit)
	if s.deps.Reviews != nil {
		acts.Review = append(acts.Review, s.deps.Access.Permitted(caller, grants.Review).Tenants...)
	}
	return acts
}

// pages are those that have something for the caller.
func (s *Server) pages(caller grants.Caller, me meAnswer) []string {
	out := []string{}
	for _, p := range mePages {
		d := s.deps.Permits.Decide(caller, grants.Query, p.table)
		i := slices.IndexFunc(p.table.Columns, func(c cardlake.Column) bool { return c.Name == p.column })
		if access := d.Access(); access != nil && access[i] != grants.Dropped && len(me.Tenants) > 0 {
			out = append(out, p.name)
		}
	}
	if slices.ContainsFunc(me.Grants, func(g meGrant) bool { return g.Action == string(grants.Query) }) {
		out = append(out, "sql")
	}
	out = append(out, "data", "access") // everybody's own; the pages tell more to who may see more
	if me.Actions.Operate && s.deps.Operations != nil {
		out = append(out, "health")
	}
	return out
}
