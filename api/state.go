package api

import (
	"net/http"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// Tenants is the register of tenants; *catalog.Tenants is one.
type Tenants interface {
	All() []catalog.TenantRecord
}

// actionFreshness is on record when somebody asks how fresh the transactions are.
const actionFreshness = "state"

// stateRoutes is the route of how fresh and how whole a tenant's rows are.
func (s *Server) stateRoutes() []route {
	return []route{{method: "GET", path: "/v1/state", name: "state", tag: "figures", doc: "Tells how fresh and how whole the transactions are that figures rest on.",
		params: []param{inQuery("tenant", "whose; if it is not there, all that the caller may read", known[tenantType])},
		answers: []answer{{status: 200, doc: "The state of cards.transactions.", body: freshnessAnswer{},
			example: `{"tenant": "colibri-bank", "as_of": "2026-03-08T12:30:00Z", "committed_at": "2026-03-08T12:30:00Z", "rows": 48395, "files": 130, "complete_until": "2026-03-08T12:29:00Z", "partial": false}`}}, problems: []kind{kindNotPermitted}, do: s.freshness}}
}

// freshnessAnswer is how fresh and whole the rows are.
type freshnessAnswer struct {
	Tenant        cardlake.Tenant `json:"tenant,omitempty" doc:"Whose rows; if it is not there, those of all that the caller may read."`
	AsOf          *time.Time      `json:"as_of" doc:"An instant by which the lake had the rows; null if it has none."`
	CommittedAt   *time.Time      `json:"committed_at" doc:"When the newest snapshot was committed; null if there is none."`
	Rows          int64           `json:"rows" doc:"Rows that the caller may read."`
	Files         int64           `json:"files" doc:"Files that they are in."`
	CompleteUntil *time.Time      `json:"complete_until" doc:"The event time up to which all rows of the tenant are there; null if that is not known."`
	Partial       bool            `json:"partial" doc:"Whether rows are known to be missing, because their keys were destroyed or a part could not be read."`
}

func (s *Server) freshness(c *call) error {
	values, err := c.values("tenant")
	if err != nil {
		return err
	}
	tenant := cardlake.Tenant(values["tenant"])
	if tenant == "" {
		tenant, _ = s.onlyTenant(c.caller)
	}
	caller, err := narrowed(c.caller, tenant)
	var snapshot queries.Snapshot
	if err == nil {
		snapshot, err = s.deps.Gateway.SnapshotOf(c.r.Context(), caller, cardlake.Transactions.FullName())
	}
	if err := s.record(c, actionFreshness, cardlake.Transactions.FullName(), err); err != nil {
		return err
	}
	answer := freshnessAnswer{
		Tenant: caller.Tenant, AsOf: moment(snapshot.AsOf()), CommittedAt: moment(snapshot.CommittedAt), Rows: snapshot.Rows, Files: snapshot.Files,
		Partial: snapshot.IsPartial || len(snapshot.Destroyed) > 0,
	}
	if s.deps.CompleteUntil != nil && caller.Tenant != "" {
		until, err := s.deps.CompleteUntil(c.r.Context(), caller.Tenant)
		if err != nil {
			return gone(c.r.Context(), err)
		}
		answer.CompleteUntil = moment(until)
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

// narrowed is the caller as somebody who may read the one tenant at most; the empty tenant narrows
// nothing. Nobody is widened by it.
func narrowed(c grants.Caller, tenant cardlake.Tenant) (grants.Caller, error) {
	switch {
	case tenant == "":
		return c, nil
	case tenant.Validate() != nil:
		return c, problemOf(kindRequest, "tenant must be the name of a tenant")
	case c.Tenant != "" && c.Tenant != tenant:
		return c, queries.ErrNotPermitted
	}
	c.Tenant = tenant
	return c, nil
}

// moment is an instant as answers have it, nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}
