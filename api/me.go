package api

import (
	"net/http"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// meActions are what /v1/me tells of: what is done with a table.
var meActions = []grants.Action{grants.Query, grants.ReadChanges, grants.Export, grants.ReadAudit}

// meAnswer is who the caller is, and what it may do.
type meAnswer struct {
	Principal  string     `json:"principal"`
	Kind       string     `json:"kind"`
	MFA        bool       `json:"mfa"`
	Origin     string     `json:"origin"`
	BreakGlass bool       `json:"break_glass,omitempty"`
	Version    string     `json:"grants_version,omitempty"`
	Grants     []meGrant  `json:"grants"`
	Until      *time.Time `json:"until,omitempty"` // when the first of them must be decided anew
}

// meGrant is one action on one table.
type meGrant struct {
	Table  string    `json:"table"`
	Action string    `json:"action"`
	Scopes []meScope `json:"scopes"`
}

// meScope are rows that are given alike. Columns that are not named are not there.
type meScope struct {
	Tenants []cardlake.Tenant `json:"tenants,omitempty"`
	// Others says that the rows of tenants that no scope names are in it.
	Others bool     `json:"other_tenants,omitempty"`
	Clear  []string `json:"clear,omitempty"`
	Masked []string `json:"masked,omitempty"`
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
