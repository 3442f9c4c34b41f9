package datazone

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/products"
)

const domain = "dzd_abc"

type dictionary struct{}

func (dictionary) Relation(name string) *products.Relation {
	r := &products.Relation{Name: name, Doc: "About " + name + ".", Tables: []string{"cards.transactions"}}
	for _, c := range cardlake.Transactions.Columns[:5] {
		r.Columns = append(r.Columns, products.Column{Name: c.Name, Type: c.Type.String(), Tag: c.Tag, Doc: c.Doc})
	}
	return r
}

// wanted is the starter's products, and ana's subscription to transactions.
func wanted(t *testing.T) Wanted {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "products")
	if err := products.Init(dir); err != nil {
		t.Fatal(err)
	}
	c, err := products.Load(dir, dictionary{})
	if err != nil {
		t.Fatal(err)
	}
	return Wanted{Catalogue: c, Dictionary: dictionary{}, InForce: []products.Subscription{{
		ID: "abcd", Product: "transactions", Subscriber: grants.Principal{Kind: grants.DataScientist, Name: "ana"}, State: products.Approved,
		DecidedBy: grants.Principal{Kind: grants.Operator, Name: "owner"},
	}}}
}

func config() Config {
	return Config{
		Domain: domain, Project: "lake", Consumers: map[string]string{"data_scientist/ana": "p-science", "etl_job/x": "p-jobs"},
		Targets: map[string]Target{"p-science": {"env", "target"}}, Now: func() time.Time { return time.Unix(0, 0) },
	}
}

func export(t *testing.T, s *server, cfg Config, w Wanted) ([]string, error) {
	t.Helper()
	e, err := New(s.client(1), cfg)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := e.Run(t.Context(), w)
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out, err
}

func TestExport(t *testing.T) {
	s, w := newServer(t), wanted(t)
	dry := config()
	dry.DryRun = true
	planned, err := export(t, s, dry, w)
	if err != nil || len(s.calls) > 0 {
		t.Fatalf("a dry run made %v, %v", s.calls, err)
	}
	made, err := export(t, s, config(), w)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"create project lake", "create glossary cardlake", "create term chargeback", "create form type CardlakeProductForm", "create asset type CardlakeRelation",
		"create asset cards.transactions", "create asset views.merchant_daily", "create product chargebacks", "publish listing transactions",
		"request subscription data_scientist/ana to transactions", "accept subscription data_scientist/ana to transactions", "grant subscription data_scientist/ana to transactions",
	} {
		if !slices.Contains(made, want) {
			t.Errorf("%q is not among %v", want, made)
		}
	}
	if !slices.Equal(planned, slices.DeleteFunc(slices.Clone(made), func(c string) bool { return strings.HasPrefix(c, "grant ") })) {
		t.Errorf("planned\n%v\nmade\n%v", planned, made)
	}
	if again, err := export(t, s, config(), w); err != nil || len(again) > 0 {
		t.Errorf("the second export changes %v, %v", again, err)
	}
	if again, err := export(t, s, dry, w); err != nil || len(again) > 0 {
		t.Errorf("the second plan has %v, %v", again, err)
	}
}

// TestDrift: what is changed by hand, or ends here, is mended.
func TestDrift(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*server, *Wanted)
		want   []string
	}{
		"a term is edited":   {func(s *server, _ *Wanted) { s.rows["glossary-terms"][0]["shortDescription"] = "x" }, []string{"update term authorisation"}},
		"a term is disabled": {func(s *server, _ *Wanted) { s.rows["glossary-terms"][0]["status"] = "DISABLED" }, []string{"update term authorisation"}},
		"a term is no more": {func(_ *server, w *Wanted) {
			w.Catalogue.Glossary = slices.DeleteFunc(w.Catalogue.Glossary, func(t products.Term) bool { return t.Name == "tenant" })
			dropTerm(w, "tenant")
		}, []string{"disable term tenant", "update product approvals", "update product transactions", "publish listing approvals", "publish listing transactions"}},
		"the glossary":        {func(s *server, _ *Wanted) { s.rows["glossaries"][0]["description"] = "x" }, []string{"update glossary cardlake"}},
		"an asset is edited":  {func(s *server, _ *Wanted) { s.rows["assets"][0]["description"] = "x" }, []string{"update asset views.approvals_by_hour"}},
		"a form is edited":    {func(s *server, _ *Wanted) { s.rows["assets"][0]["formsOutput"].([]any)[0].(row)["content"] = "{}" }, []string{"update asset views.approvals_by_hour"}},
		"a product is edited": {func(s *server, _ *Wanted) { s.rows["data-products"][0]["description"] = "x" }, []string{"update product approvals", "publish listing approvals"}},
		"a product's items":   {func(s *server, _ *Wanted) { s.rows["data-products"][0]["items"] = []any{} }, []string{"update product approvals", "publish listing approvals"}},
		"a new version":       {func(_ *server, w *Wanted) { w.Catalogue.Product("merchants").Version = "1.1.0" }, []string{"update product merchants", "publish listing merchants"}},
		"a listing is gone":   {func(s *server, _ *Wanted) { s.rows["listings"] = s.rows["listings"][1:] }, []string{"publish listing approvals"}},
		"a subscription ends": {func(_ *server, w *Wanted) { w.InForce = nil }, []string{"revoke subscription p-science to transactions"}},
		"a grant is gone":     {func(s *server, _ *Wanted) { s.rows["subscription-grants"] = nil }, []string{"grant subscription data_scientist/ana to transactions"}},
		"a subscription is gone": {func(s *server, _ *Wanted) { s.rows["subscriptions"][0]["status"] = "CANCELLED" }, []string{
			"request subscription data_scientist/ana to transactions", "accept subscription data_scientist/ana to transactions", "grant subscription data_scientist/ana to transactions"}},
		"a product is withdrawn": {func(_ *server, w *Wanted) { w.Catalogue.Product("transactions").Status = products.Withdrawn }, []string{
			"revoke subscription p-science to transactions", "unpublish listing transactions"}},
		"a product's file is gone": {func(_ *server, w *Wanted) {
			w.Catalogue.Products = slices.DeleteFunc(w.Catalogue.Products, func(p *products.Product) bool { return p.Name == "transactions" })
		}, []string{"revoke subscription p-science to transactions", "unpublish listing transactions"}},
		"others' things": {func(s *server, _ *Wanted) {
			s.rows["glossaries"] = append(s.rows["glossaries"], row{"id": "o1", "name": "theirs", "status": "ENABLED"})
			s.rows["glossary-terms"] = append(s.rows["glossary-terms"], row{"id": "o2", "glossaryId": "o1", "name": "theirs", "status": "ENABLED"})
			s.rows["data-products"] = append(s.rows["data-products"], row{"id": "o3", "name": "theirs", "revision": "1", "owningProjectId": s.rows["projects"][0]["id"]})
			s.rows["listings"] = append(s.rows["listings"], row{"listingId": "o4", "entityId": "o3", "entityRevision": "1", "listingRevision": "1", "owningProjectId": s.rows["projects"][0]["id"]})
			s.rows["subscription-requests"] = append(s.rows["subscription-requests"], row{"id": "o5", "status": "ACCEPTED", "requestReason": "please", "listing": s.rows["listings"][0]["listingId"], "project": "p-jobs"})
			s.rows["subscriptions"] = append(s.rows["subscriptions"], row{"id": "o6", "status": "APPROVED", "listing": s.rows["listings"][0]["listingId"], "project": "p-jobs", "subscriptionRequestId": "o5"})
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := newServer(t), wanted(t)
			if _, err := export(t, s, config(), w); err != nil {
				t.Fatal(err)
			}
			tc.change(s, &w)
			later := config()
			later.Now = func() time.Time { return time.Unix(7200, 0) }
			got, err := export(t, s, later, w)
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("changes %v, want %v; %v", got, tc.want, err)
			}
			if again, err := export(t, s, later, w); err != nil || len(again) > 0 {
				t.Errorf("the next export changes %v, %v", again, err)
			}
			if s.has("subscriptions", func(x row) bool { return x["id"] == "o6" && x["status"] != "APPROVED" }) {
				t.Error("another's subscription was revoked")
			}
		})
	}
}

func dropTerm(w *Wanted, name string) {
	for _, p := range w.Catalogue.Products {
		p.Glossary = slices.DeleteFunc(p.Glossary, func(t string) bool { return t == name })
	}
}

// TestStoppedAnywhere: a run that any call stops, before or after it did its work, is taken up by
// the next, and everything is there once.
func TestStoppedAnywhere(t *testing.T) {
	w := wanted(t)
	w.Catalogue.Products = slices.DeleteFunc(w.Catalogue.Products, func(p *products.Product) bool { return p.Name != "transactions" })
	w.Catalogue.Glossary = w.Catalogue.Glossary[:2]
	w.Catalogue.Products[0].Glossary = []string{w.Catalogue.Glossary[0].Name, w.Catalogue.Glossary[1].Name}
	whole := newServer(t)
	if _, err := export(t, whole, config(), w); err != nil {
		t.Fatal(err)
	}
	for _, f := range []fault{{code: "InternalServerException", status: 500}, {done: true}} {
		for n := 1; n <= whole.count; n++ {
			s := newServer(t)
			s.failAt, s.fault = n, f
			if _, err := export(t, s, config(), w); err == nil && f.code != "" { // net/http itself repeats what reads
				t.Fatalf("call %d fails and nobody says so", n)
			}
			if _, err := export(t, s, config(), w); err != nil {
				t.Fatalf("after call %d failed, %+v: %v", n, f, err)
			}
			for kind, rows := range whole.rows {
				if len(s.rows[kind]) != len(rows) {
					t.Errorf("after call %d failed, %+v: %d %s, want %d", n, f, len(s.rows[kind]), kind, len(rows))
				}
			}
			if again, err := export(t, s, config(), w); err != nil || len(again) > 0 {
				t.Fatalf("after call %d failed, %+v, the third export changes %v, %v", n, f, again, err)
			}
			s.http.Close()
		}
	}
}

// TestThrottling: the SDK repeats what is throttled.
func TestThrottling(t *testing.T) {
	s := newServer(t)
	s.failAt, s.fault = 5, fault{code: "ThrottlingException", status: 429}
	e, err := New(s.client(3), config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), wanted(t)); err != nil {
		t.Error(err)
	}
}

func TestNothingUnrecorded(t *testing.T) {
	s, cfg := newServer(t), config()
	cfg.Record = func(_ context.Context, c Change) error {
		if c.Kind == "term" {
			return errors.New("disk full")
		}
		return nil
	}
	if _, err := export(t, s, cfg, wanted(t)); err == nil || len(s.rows["glossary-terms"]) > 0 {
		t.Errorf("made %v, %v", s.rows["glossary-terms"], err)
	}
}

func TestConfig(t *testing.T) {
	for want, cfg := range map[string]Config{"Domain": {Project: "x"}, "Project": {Domain: domain}} {
		if _, err := New(nil, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
}
