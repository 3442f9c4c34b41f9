package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/products"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// desk answers with one product and one subscription, or with an error.
type desk struct {
	err   error
	asked []string
	by    grants.Caller
	r     products.Request
}

func (d *desk) note(c grants.Caller, what string) error {
	d.asked, d.by = append(d.asked, what), c
	return d.err
}

var offered = &products.Product{Name: "transactions", Title: "Transactions", Status: products.Published}

func (d *desk) subscription(c grants.Caller, what string, s products.State) (products.Subscription, error) {
	out := products.Subscription{ID: "abc", Product: "transactions", Subscriber: queriestest.Caller.Principal, State: s, DecidedBy: c.Principal, RequestedAt: time.Unix(1, 0).UTC()}
	return out, d.note(c, what)
}

func (d *desk) List(_ context.Context, c grants.Caller) ([]*products.Product, error) {
	return []*products.Product{offered}, d.note(c, "list")
}
func (d *desk) Product(_ context.Context, c grants.Caller, name string) (*products.Card, error) {
	return &products.Card{Product: offered}, d.note(c, "product "+name)
}
func (d *desk) Subscribe(_ context.Context, c grants.Caller, r products.Request) (products.Subscription, error) {
	d.r = r
	return d.subscription(c, "subscribe", products.Requested)
}
func (d *desk) Subscriptions(_ context.Context, c grants.Caller) ([]products.Subscription, error) {
	s, err := d.subscription(c, "subscriptions", products.Approved)
	return []products.Subscription{s}, err
}
func (d *desk) Approve(_ context.Context, c grants.Caller, id string) (products.Subscription, error) {
	return d.subscription(c, "approve "+id, products.Approved)
}
func (d *desk) Reject(_ context.Context, c grants.Caller, id string) (products.Subscription, error) {
	return d.subscription(c, "reject "+id, products.Rejected)
}
func (d *desk) Revoke(_ context.Context, c grants.Caller, id string) (products.Subscription, error) {
	return d.subscription(c, "revoke "+id, products.Revoked)
}

func productsSite(t *testing.T, d api.Products) func(method, path, body string) (int, string) {
	t.Helper()
	s, err := api.New(api.Deps{SignIn: everybody{}, Permits: queriestest.Everything, Recorder: &queriestest.Log{}, Products: d}, api.Config{PerMinute: 6000, Burst: 1000})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	t.Cleanup(s.Close)
	return func(method, path, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Cardlake-Reason", "the monthly report")
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
}

func TestProducts(t *testing.T) {
	d := &desk{}
	ask := productsSite(t, d)
	for _, c := range []struct {
		method, path, body string
		status             int
		asked, want        string
	}{
		{"GET", "/v1/products", "", 200, "list", `"products":[{"name":"transactions"`},
		{"GET", "/v1/products/transactions", "", 200, "product transactions", `"product":{"name":"transactions"`},
		{"POST", "/v1/products/transactions/subscriptions", `{"tenants": ["aurora"], "days": 5}`, 201, "subscribe", `"state":"requested"`},
		{"GET", "/v1/subscriptions", "", 200, "subscriptions", `"subscriber":"data_scientist/ana","decided_by":"data_scientist/ana"`},
		{"POST", "/v1/subscriptions/abc/approve", "", 200, "approve abc", `"state":"approved"`},
		{"POST", "/v1/subscriptions/abc/reject", "", 200, "reject abc", `"state":"rejected"`},
		{"POST", "/v1/subscriptions/abc/revoke", "", 200, "revoke abc", `"state":"revoked"`},
	} {
		status, text := ask(c.method, c.path, c.body)
		if status != c.status || !strings.Contains(text, c.want) || d.asked[len(d.asked)-1] != c.asked || d.by.Reason != "the monthly report" || d.by.Request == "" {
			t.Errorf("%s %s: %d %s, asked %v", c.method, c.path, status, text, d.asked)
		}
	}
	if d.r.Product != "transactions" || len(d.r.Tenants) != 1 || d.r.Days != 5 {
		t.Errorf("asked for %+v", d.r)
	}
	for body, want := range map[string]int{`{"product": "other"}`: 400, `{"subscriber": "operator/x"}`: 400, `[]`: 400} {
		before := len(d.asked)
		if status, text := ask("POST", "/v1/products/transactions/subscriptions", body); status != want || len(d.asked) != before {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if status, _ := ask("POST", "/v1/subscriptions/abc/grant", ""); status != 404 {
		t.Errorf("an unknown step: %d", status)
	}
}

func TestProductProblems(t *testing.T) {
	for err, want := range map[error]struct {
		status int
		kind   string
	}{
		products.ErrUnknown:      {404, "no-such-resource"},
		products.ErrNotPermitted: {403, "not-permitted"},
		products.ErrRequest:      {400, "invalid-request"},
		products.ErrState:        {409, "wrong-state"},
		products.ErrConflict:     {409, "wrong-state"},
		products.ErrUnrecorded:   {503, "audit-unavailable"},
		errors.New("disk 4111"):  {500, "internal"},
	} {
		ask := productsSite(t, &desk{err: err})
		for _, path := range []string{"GET /v1/products", "GET /v1/products/x", "GET /v1/subscriptions", "POST /v1/subscriptions/x/approve", "POST /v1/products/x/subscriptions"} {
			method, path, _ := strings.Cut(path, " ")
			status, text := ask(method, path, "{}")
			var p struct {
				Type   string
				Status int
			}
			if e := json.Unmarshal([]byte(text), &p); e != nil || status != want.status || p.Status != want.status || p.Type != "urn:cardlake:api:"+want.kind || strings.Contains(text, "4111") {
				t.Errorf("%v, %s: %d %s", err, path, status, text)
			}
		}
	}
}

// TestDecidedIsNoFailure: what is decided and not in force yet is told as such.
func TestDecidedIsNoFailure(t *testing.T) {
	ask := productsSite(t, &desk{err: products.ErrPending})
	if status, text := ask("POST", "/v1/subscriptions/abc/approve", ""); status != 200 || !strings.Contains(text, `"pending":true`) || !strings.Contains(text, `"state":"approved"`) {
		t.Errorf("%d %s", status, text)
	}
}

func TestNoProducts(t *testing.T) {
	if status, _ := productsSite(t, nil)("GET", "/v1/products", ""); status != 404 {
		t.Errorf("status %d", status)
	}
}
