package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin/apikeys"
)

// APIKeys are what callers make for their programs; *apikeys.Store has them. It records that they
// are made and revoked.
type APIKeys interface {
	Issue(ctx context.Context, c grants.Caller, r apikeys.Request) (k apikeys.Key, secret string, err error)
	List(ctx context.Context, c grants.Caller) ([]apikeys.Key, error)
	Revoke(ctx context.Context, c grants.Caller, id string) error
}

// actionListKeys is what is on record of who looks at their keys, and actionIssueKey of who asks
// for one that is refused before the store is asked, by the store's name for it.
const (
	actionListKeys = "api_key.list"
	actionIssueKey = "api_key.issue"
)

// actionNotByKey is on record of what is asked with a key and is for people.
const actionNotByKey = "api_key.not_permitted"

// keyRoutes are those of the caller's API keys.
func (s *Server) keyRoutes() []route {
	return s.group("keys", s.deps.Keys != nil, keyError,
		route{method: "GET", path: "/v1/keys", name: "keys", doc: "Lists the caller's API keys.",
			answers: []answer{{status: 200, doc: "The keys, the newest first.", body: keysAnswer{}}}, problems: []kind{kindNotPermitted}, do: s.listKeys},
		route{method: "POST", path: "/v1/keys", name: "key_issue", doc: "Makes an API key.",
			more: "It is a bearer token that acts as its maker, as of each call, without a second factor, and narrowed to the tenant if one is named. " +
				"The secret is told once. A key does not make keys.",
			body: apikeys.Request{}, example: `{"name": "nightly report", "tenant": "colibri-bank", "days": 30}`,
			answers: []answer{{status: 201, doc: "The key, with its secret.", body: keyAnswer{}}}, problems: []kind{kindNotPermitted, kindState, kindType, kindTooLarge}, do: s.issueKey},
		route{method: "DELETE", path: "/v1/keys/{id}", name: "key_revoke", doc: "Revokes an API key, at once.",
			params: []param{inPath("id", "the key's id")}, answers: []answer{{status: 204, doc: "It is good no more."}}, problems: []kind{kindRoute, kindNotPermitted}, do: s.revokeKey})
}

// byPerson answers nobody who shows an API key: who may do what, and what people keep for
// themselves, is for who signs in each time. That it was tried is on record.
func (s *Server) byPerson(do func(*call) error) func(*call) error {
	return func(c *call) error {
		if c.caller.Key != "" {
			return s.record(c, actionNotByKey, c.r.Pattern, problemOf(kindNotPermitted, "not with an API key: sign in"))
		}
		return do(c)
	}
}

// keyError is the problem of what the store says.
func keyError(err error) error {
	switch {
	case errors.Is(err, apikeys.ErrUnrecorded):
		p := problemOf(kindAudit, "nothing is done that is not recorded, and the audit log can't be written: ask the operator")
		p.after = 10 * time.Second
		return p
	case errors.Is(err, apikeys.ErrUnknown):
		return problemOf(kindRoute, "there is no such key of yours")
	case errors.Is(err, apikeys.ErrNotPermitted):
		return problemOf(kindNotPermitted, "%s", err)
	case errors.Is(err, apikeys.ErrTooMany):
		return problemOf(kindState, "%s", err)
	case errors.Is(err, apikeys.ErrRequest):
		return problemOf(kindRequest, "%s", err)
	}
	return err
}

// keysAnswer are keys, and keyAnswer one that was made.
type (
	keysAnswer struct {
		Keys []apikeys.Key `json:"keys" doc:"The keys."`
	}
	keyAnswer struct {
		ID        string          `json:"id" doc:"Names it where its secret must not be."`
		Name      string          `json:"name" doc:"What it is for."`
		Tenant    cardlake.Tenant `json:"tenant,omitempty" doc:"The one tenant that it is for."`
		Secret    string          `json:"secret" doc:"The bearer token. It is not told again."`
		ExpiresAt time.Time       `json:"expires_at" doc:"When it ends."`
	}
)

func (s *Server) listKeys(c *call) error {
	list, err := s.deps.Keys.List(c.r.Context(), c.caller)
	if err = s.record(c, actionListKeys, "own API keys", keyError(err)); err != nil {
		return err
	}
	if list == nil {
		list = []apikeys.Key{}
	}
	writeJSON(c.w, http.StatusOK, "application/json", keysAnswer{list})
	return nil
}

func (s *Server) issueKey(c *call) error {
	var r apikeys.Request
	if err := c.readObject(&r, s.cfg.MaxBody); err != nil {
		return err
	}
	// A key is never more than its maker, whatever it names. But one that is good for nothing is a
	// slip of the pen, and is better told now.
	if r.Tenant != "" && !slices.ContainsFunc(s.cfg.Tables, func(t *cardlake.Table) bool {
		d := s.deps.Permits.Decide(c.caller, grants.Query, t)
		return t.ByTenant && d.Allowed() && d.Scope(r.Tenant) != nil
	}) {
		return s.record(c, actionIssueKey, "api key", problemOf(kindNotPermitted, "you may read no rows of the tenant"))
	}
	k, secret, err := s.deps.Keys.Issue(c.r.Context(), c.caller, r)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusCreated, "application/json", keyAnswer{k.ID, k.Name, k.Tenant, secret, k.ExpiresAt})
	return nil
}

func (s *Server) revokeKey(c *call) error {
	if err := s.deps.Keys.Revoke(c.r.Context(), c.caller, c.r.PathValue("id")); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
