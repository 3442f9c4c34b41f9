package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
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

// productRoutes are those of data products and of subscriptions to them.
func (s *Server) productRoutes() []route {
	name := inPath("name", "the product's name")
	id := inPath("id", "the subscription's id")
	one := []answer{{status: 200, doc: "The subscription, as it then is.", body: subscriptionAnswer{}}}
	deciding := []kind{kindRoute, kindNotPermitted, kindState}
	return s.group("products", s.deps.Products != nil, productError,
		route{method: "GET", path: "/v1/products", name: "products", doc: "Lists the data products that the caller is told of.",
			answers: []answer{{status: 200, doc: "The products.", body: productsAnswer{}}}, do: s.listProducts},
		route{method: "GET", path: "/v1/products/{name}", name: "product", doc: "Tells all of a product: terms, schema, words, health.",
			params: []param{name}, answers: []answer{{status: 200, doc: "The product.", body: products.Card{}}}, problems: []kind{kindRoute}, do: s.showProduct},
		route{method: "POST", path: "/v1/products/{name}/subscriptions", name: "subscribe", doc: "Asks for a product; the header Cardlake-Reason says why.",
			params: []param{name}, body: subscribeBody{}, example: `{"tenants": ["colibri-bank"], "days": 30}`,
			answers:  []answer{{status: 201, doc: "The subscription.", body: subscriptionAnswer{}, headers: []header{{"Location", "where the caller's are"}}}},
			problems: []kind{kindRoute, kindNotPermitted, kindState, kindType, kindTooLarge}, do: s.byPerson(s.subscribe)},
		route{method: "GET", path: "/v1/subscriptions", name: "subscriptions", doc: "Lists the caller's subscriptions, and those that it decides on.",
			answers: []answer{{status: 200, doc: "The subscriptions.", body: subscriptionsAnswer{}}}, do: s.listSubscriptions},
		route{method: "POST", path: "/v1/subscriptions/{id}/approve", name: "subscription_approve", doc: "Approves a subscription.",
			params: []param{id}, answers: one, problems: deciding, do: s.byPerson(s.decideSubscription(Products.Approve))},
		route{method: "POST", path: "/v1/subscriptions/{id}/reject", name: "subscription_reject", doc: "Rejects a subscription.",
			params: []param{id}, answers: one, problems: deciding, do: s.byPerson(s.decideSubscription(Products.Reject))},
		route{method: "POST", path: "/v1/subscriptions/{id}/revoke", name: "subscription_revoke", doc: "Takes an approved subscription back.",
			params: []param{id}, answers: one, problems: deciding, do: s.byPerson(s.decideSubscription(Products.Revoke))},
	)
}

// productsAnswer are products, and subscriptionsAnswer subscriptions.
type (
	productsAnswer struct {
		Products []*products.Product `json:"products" doc:"The products."`
	}
	subscriptionsAnswer struct {
		Subscriptions []subscriptionAnswer `json:"subscriptions" doc:"The subscriptions."`
	}
)

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
		return problemOf(kindState, "%s", err)
	}
	return err
}

// subscriptionAnswer is a subscription as its subscriber and those who decide see it.
type subscriptionAnswer struct {
	products.Subscription
	Subscriber string `json:"subscriber" doc:"Who has it, KIND/NAME."`
	DecidedBy  string `json:"decided_by,omitempty" doc:"Who decided, KIND/NAME."`
	Pending    bool   `json:"pending,omitempty" doc:"Whether what was decided takes effect later than with the next look at the grants: see the operator."`
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
	writeJSON(c.w, http.StatusOK, "application/json", productsAnswer{list})
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

// subscribeBody is what is asked of a subscription.
type subscribeBody struct {
	Product string            `json:"product,omitempty" doc:"The product's name: the one of the path, if it is there."`
	Tenants []cardlake.Tenant `json:"tenants,omitempty" doc:"Whose rows; all of the product's that the caller may subscribe to if it is not there."`
	Days    int               `json:"days,omitempty" min:"0" max:"366" doc:"For how long; as long as the terms allow if it is 0."`
}

func (s *Server) subscribe(c *call) error {
	var asked subscribeBody
	if err := c.readObject(&asked, s.cfg.MaxBody); err != nil {
		return err
	}
	r := products.Request(asked)
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
	if of := c.caller.Tenant; of != "" {
		// Who is narrowed to a tenant is not told of others', nor of others who ask.
		list = slices.DeleteFunc(list, func(one products.Subscription) bool {
			return one.Subscriber != c.caller.Principal || !slices.Equal(one.Tenants, []cardlake.Tenant{of})
		})
	}
	answer := make([]subscriptionAnswer, len(list))
	for i, one := range list {
		answer[i] = subscriptionOf(one)
	}
	writeJSON(c.w, http.StatusOK, "application/json", subscriptionsAnswer{answer})
	return nil
}

// decideSubscription answers with the subscription as it then is. One that is decided and not in
// force yet is no failure of the call: asked again it would be refused.
func (s *Server) decideSubscription(do func(Products, context.Context, grants.Caller, string) (products.Subscription, error)) func(*call) error {
	return func(c *call) error {
		decided, err := do(s.deps.Products, c.r.Context(), c.caller, c.r.PathValue("id"))
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
