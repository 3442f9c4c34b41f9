package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/products"
)

// Products are what is offered of the lake; *products.Desk is one. It records what it is asked.
type Products interface {
	List(ctx context.Context, c grants.Caller) ([]*products.Product, error)
	Product(ctx context.Context, c grants.Caller, name string) (*products.Card, error)
	Subscriptions
}

// Subscriptions to products are asked for, and decided.
type Subscriptions interface {
	Subscribe(ctx context.Context, c grants.Caller, r products.Request) (products.Subscription, error)
	Subscriptions(ctx context.Context, c grants.Caller) ([]products.Subscription, error)
	Approve(ctx context.Context, c grants.Caller, id string) (products.Subscription, error)
	Reject(ctx context.Context, c grants.Caller, id string) (products.Subscription, error)
	Revoke(ctx context.Context, c grants.Caller, id string) (products.Subscription, error)
}

// productRoutes adds the routes of data products, if there are any:
//
//	GET  /v1/products                      lists those that the caller is told of
//	GET  /v1/products/{name}               tells all of one: terms, schema, words, health
//	POST /v1/products/{name}/subscriptions asks for one, {"tenants": […], "days": N}; the header
//	                                       Cardlake-Reason says why
//	GET  /v1/subscriptions                 the caller's, and those that it decides on
//	POST /v1/subscriptions/{id}/approve, …/reject, …/revoke
func (s *Server) productRoutes(mux *http.ServeMux) {
	if s.deps.Products == nil {
		return
	}
	route := func(pattern, name string, do func(*call) error) {
		mux.Handle(pattern, s.call(name, func(c *call) error { return productError(do(c)) }))
	}
	route("GET /v1/products", "products", s.listProducts)
	route("GET /v1/products/{name}", "product", s.showProduct)
	route("POST /v1/products/{name}/subscriptions", "subscribe", s.subscribe)
	route("GET /v1/subscriptions", "subscriptions", s.listSubscriptions)
	route("POST /v1/subscriptions/{id}/approve", "subscription_approve", s.decideSubscription(s.deps.Products.Approve))
	route("POST /v1/subscriptions/{id}/reject", "subscription_reject", s.decideSubscription(s.deps.Products.Reject))
	route("POST /v1/subscriptions/{id}/revoke", "subscription_revoke", s.decideSubscription(s.deps.Products.Revoke))
}

// productError is the problem of what a desk says.
func productError(err error) error {
	switch {
	case errors.Is(err, products.ErrUnrecorded):
		p := problemOf(kindAudit, "nothing is done that is not recorded, and the audit log can't be written: ask the operator")
		p.after = 10 * time.Second
		return p
	case errors.Is(err, products.ErrUnknown):
		return problemOf(kindRoute, "there is no such product or subscription")
	case errors.Is(err, products.ErrNotPermitted):
		return problemOf(kindNotPermitted, "%s", err)
	case errors.Is(err, products.ErrRequest):
		return problemOf(kindRequest, "%s", err)
	case errors.Is(err, products.ErrState), errors.Is(err, products.ErrConflict):
		p := problemOf(kindState, "%s", err)
		p.Status, p.Title = http.StatusConflict, http.StatusText(http.StatusConflict)
		return p
	}
	return err
}

// kindState is the problem of a product or subscription that is not in a state for what is asked:
// 409.
const kindState kind = "wrong-state"

// subscriptionAnswer is a subscription as its subscriber and those who decide see it.
type subscriptionAnswer struct {
	products.Subscription
	Subscriber string `json:"subscriber"`
	DecidedBy  string `json:"decided_by,omitempty"`
	// Pending says that what was decided takes effect later than with the next look at the
	// grants: see the operator.
	Pending bool `json:"pending,omitempty"`
}

func subscriptionOf(s products.Subscription) subscriptionAnswer {
	a := subscriptionAnswer{Subscription: s, Subscriber: s.Subscriber.String()}
	if s.State != products.Requested {
		a.DecidedBy = s.DecidedBy.String()
	}
	return a
}

func (s *Server) listProducts(c *call) error {
	list, err := s.deps.Products.List(c.r.Context(), c.caller)
	if err != nil {
		return err
	}
	if list == nil {
		list = []*products.Product{}
	}
	writeJSON(c.w, http.StatusOK, "application/json", map[string]any{"products": list})
	return nil
}

func (s *Server) showProduct(c *call) error {
	card, err := s.deps.Products.Product(c.r.Context(), c.caller, c.r.PathValue("name"))
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, "application/json", card)
	return nil
}

func (s *Server) subscribe(c *call) error {
	var r products.Request
	if err := c.readObject(&r, s.cfg.MaxBody); err != nil {
		return err
	}
	name := c.r.PathValue("name")
	if r.Product != "" && r.Product != name {
		return problemOf(kindRequest, "the body names another product than the path")
	}
	r.Product = name
	made, err := s.deps.Products.Subscribe(c.r.Context(), c.caller, r)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/subscriptions")
	writeJSON(c.w, http.StatusCreated, "application/json", subscriptionOf(made))
	return nil
}

func (s *Server) listSubscriptions(c *call) error {
	list, err := s.deps.Products.Subscriptions(c.r.Context(), c.caller)
	if err != nil {
		return err
	}
	answer := make([]subscriptionAnswer, len(list))
	for i, one := range list {
		answer[i] = subscriptionOf(one)
	}
	writeJSON(c.w, http.StatusOK, "application/json", map[string]any{"subscriptions": answer})
	return nil
}

// decideSubscription answers with the subscription as it then is. One that is decided and not in
// force yet is no failure of the call: asked again it would be refused.
func (s *Server) decideSubscription(do func(context.Context, grants.Caller, string) (products.Subscription, error)) func(*call) error {
	return func(c *call) error {
		decided, err := do(c.r.Context(), c.caller, c.r.PathValue("id"))
		isPending := errors.Is(err, products.ErrPending)
		if err != nil && !isPending {
			return err
		}
		if isPending {
			s.cfg.Log.ErrorContext(c.r.Context(), "a subscription is decided and not in force", "request", c.caller.Request, "error", err)
		}
		answer := subscriptionOf(decided)
		answer.Pending = isPending
		writeJSON(c.w, http.StatusOK, "application/json", answer)
		return nil
	}
}
