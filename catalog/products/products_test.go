package products

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

// dictionary has the tables, and every name of views as one over transactions.
type dictionary struct{}

func (dictionary) Relation(name string) *Relation {
	if strings.HasPrefix(name, "views.") {
		return &Relation{Name: name, Tables: []string{"cards.transactions"}}
	}
	if t := cardlake.TableNamed(name); t != nil {
		return &Relation{Name: name, Tables: []string{name}}
	}
	return nil
}

type register []catalog.TenantRecord

func (r register) All() []catalog.TenantRecord { return r }

var tenants = register{
	{Name: "aurora", Country: "MX", Currency: "MXN", Status: catalog.TenantActive}, {Name: "bolivar", Country: "CO", Currency: "COP", Status: catalog.TenantActive},
}

// log keeps records in memory.
type log struct {
	mu      sync.Mutex
	records []audit.Record
	err     error
}

func (l *log) Append(_ context.Context, r audit.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.records = append(l.records, r)
	}
	return l.err
}

func (l *log) last() audit.Record { return l.records[len(l.records)-1] }

// place is a folder with grants, products and a store.
type place struct {
	dir    string
	desk   *Desk
	store  *Store
	events *audit.Log
	grants *grants.Grants
	record *log
	now    time.Time
}

// ring is one for all tests: making one takes time on purpose.
var ring *local.Keyring

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ring")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		if ring, err = local.CreateFile(filepath.Join(dir, "keyring"), filepath.Join(dir, "secret"), keys.LakePurposes); err != nil {
			panic(err)
		}
		if err := ring.EnsureOwners(context.Background(), keys.Lake); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

const principals = `{"teams": [], "principals": [
  {"principal": "data_scientist/ana", "owner": "ana@example.com"},
  {"principal": "data_scientist/out", "owner": "out@example.com", "valid_until": "2020-01-01T00:00:00Z"},
  {"principal": "etl_job/nightly", "owner": "owner@example.com", "service": true},
  {"principal": "operator/owner", "owner": "owner@example.com"},
  {"principal": "operator/other", "owner": "other@example.com"},
  {"principal": "operator/steward", "owner": "steward@example.com"},
  {"principal": "auditor/eye", "owner": "eye@example.com"},
  {"principal": "tenant_analyst/x", "owner": "x@example.com", "tenant": "aurora"}
]}`

const policies = `
@id("ds.subscribe") permit (principal in Lake::Persona::"data_scientist", action == Lake::Action::"subscribe", resource);
@id("etl.subscribe") permit (principal in Lake::Persona::"etl_job", action == Lake::Action::"subscribe", resource == Lake::Tenant::"aurora");
@id("tenant.subscribe") permit (principal, action == Lake::Action::"subscribe", resource) when { principal has tenant && resource == principal.tenant };
@id("operator.grant") permit (principal == Lake::Principal::"operator/other", action == Lake::Action::"grant", resource);
`

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{dir: t.TempDir(), record: &log{}, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	write(t, filepath.Join(p.grantsDir(), "principals.json"), principals)
	write(t, filepath.Join(p.grantsDir(), "policies", "own.cedar"), policies)
	product := Product{
		Name: "transactions", Title: "Transactions", Description: "All.", Version: "1.0.0", Status: Published, Owner: "operator/owner", Stewards: []string{"operator/steward"},
		Relations: []string{"cards.transactions"}, Terms: Terms{Tables: []string{"cards.transactions"}, Clear: []cardlake.Tag{"public", "money"}, Masked: []cardlake.Tag{"truncated_pan"}, Days: 30},
	}
	p.put(t, product)
	var err error
	if p.grants, err = grants.Open(p.grantsDir(), tenants, grants.Config{Now: func() time.Time { return p.now }}); err != nil {
		t.Fatal(err)
	}
	p.events, p.store, p.desk = p.open(t)
	return p
}

// open opens the store and a desk, as another process would.
func (p *place) open(t *testing.T) (*audit.Log, *Store, *Desk) {
	t.Helper()
	events, err := audit.OpenShared(t.Context(), p.logDir(), ring, audit.Config{Actor: "cardlake", Unsigned: true, Now: func() time.Time { return p.now }})
	if err != nil {
		t.Fatal(err)
	}
	store := NewStore(events, p.logDir(), audit.VerifyConfig{Keys: ring})
	t.Cleanup(func() { events.Close(); store.Close() })
	load := func() (*Catalogue, error) { return Load(p.productsDir(), dictionary{}) }
	return events, store, NewDesk(load, store, p.grants, p.record, p.config())
}

func (p *place) config() Config {
	return Config{GrantsDir: p.grantsDir(), Tenants: tenants, Now: func() time.Time { return p.now }}
}

func (p *place) grantsDir() string   { return filepath.Join(p.dir, "grants") }
func (p *place) productsDir() string { return filepath.Join(p.dir, "products") }
func (p *place) logDir() string      { return filepath.Join(p.dir, "subscriptions") }

func (p *place) put(t *testing.T, product Product) {
	t.Helper()
	text, err := json.Marshal(product)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(p.productsDir(), product.Name+".json"), string(text))
}

// change puts the product anew.
func (p *place) change(t *testing.T, how func(*Product)) {
	t.Helper()
	c, err := Load(p.productsDir(), dictionary{})
	if err != nil {
		t.Fatal(err)
	}
	how(c.Products[0])
	p.put(t, *c.Products[0])
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func who(name string) grants.Caller {
	p, err := grants.ParsePrincipal(name)
	if err != nil {
		panic(err)
	}
	return grants.Caller{Principal: p, Origin: "test", Reason: "the monthly report of frauds", MFA: true}
}

// sync writes the policies and has the doors take them over.
func (p *place) sync(t *testing.T) Synced {
	t.Helper()
	done, err := p.desk.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.grants.Reload(); err != nil {
		t.Fatal(err)
	}
	return done
}

// access is what the principal is given of transactions: tag of a few columns and tenant.
func (p *place) access(name string, a grants.Action) string {
	d := p.grants.Decide(who(name), a, cardlake.Transactions)
	var out []string
	for _, tenant := range []cardlake.Tenant{"aurora", "bolivar"} {
		if s := d.Scope(tenant); s != nil {
			for i, c := range cardlake.Transactions.Columns {
				if slices.Contains([]string{"mcc", "amount", "bin", "card_token"}, c.Name) && s.Columns[i] != grants.Dropped {
					out = append(out, fmt.Sprintf("%s.%s=%s", tenant[:1], c.Name, s.Columns[i]))
				}
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (p *place) subscribe(t *testing.T, name string, r Request) Subscription {
	t.Helper()
	r.Product = "transactions"
	s, err := p.desk.Subscribe(t.Context(), who(name), r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	ofAurora = "a.amount=clear a.bin=masked a.mcc=clear"
	ofBoth   = ofAurora + " b.amount=clear b.bin=masked b.mcc=clear"
)

// TestSubscriptionGivesAndTakes follows one from the request to its end.
func TestSubscriptionGivesAndTakes(t *testing.T) {
	p := newPlace(t)
	ctx := t.Context()
	s := p.subscribe(t, "data_scientist/ana", Request{})
	if s.State != Requested || s.Days != 30 || p.record.last().Action != ActionRequest {
		t.Fatalf("%+v, recorded %+v", s, p.record.last())
	}
	if done := p.sync(t); done.Given != 0 || p.access("data_scientist/ana", grants.Query) != "" {
		t.Errorf("a request gives %s", p.access("data_scientist/ana", grants.Query))
	}
	s, err := p.desk.Approve(ctx, who("operator/steward"), s.ID)
	if err != nil || s.State != Approved || !s.Until.Equal(s.DecidedAt.Add(30*24*time.Hour)) || s.DecidedBy.Name != "steward" {
		t.Fatalf("%+v, %v", s, err)
	}
	if done := p.sync(t); done.Given != 1 || done.Changed {
		t.Errorf("synced %+v: the approval did not", done)
	}
	if got := p.access("data_scientist/ana", grants.Query); got != ofBoth {
		t.Errorf("it gives %q, want %q", got, ofBoth)
	}
	for _, other := range []string{"data_scientist/out", "etl_job/nightly", "operator/owner"} {
		if got := p.access(other, grants.Query); got != "" {
			t.Errorf("%s is given %s", other, got)
		}
	}
	if got := p.access("data_scientist/ana", grants.Export); got != "" {
		t.Errorf("it gives exports: %s", got)
	}
	if _, err := p.desk.Revoke(ctx, who("operator/owner"), s.ID); err != nil {
		t.Fatal(err)
	}
	if done := p.sync(t); done.Given != 0 || done.Changed || p.access("data_scientist/ana", grants.Query) != "" {
		t.Errorf("revoked, it gives %s", p.access("data_scientist/ana", grants.Query))
	}
	var seen []string
	for _, r := range p.record.records {
		seen = append(seen, r.Action+" "+string(r.Outcome))
	}
	if want := []string{ActionRequest + " allowed", ActionApprove + " allowed", ActionRevoke + " allowed"}; !slices.Equal(seen, want) {
		t.Errorf("recorded %v", seen)
	}
}

// TestItEndsByItself: a permit has its end in it, also if nobody syncs any more.
func TestItEndsByItself(t *testing.T) {
	p := newPlace(t)
	s := p.subscribe(t, "data_scientist/ana", Request{Days: 3})
	if _, err := p.desk.Approve(t.Context(), who("operator/owner"), s.ID); err != nil {
		t.Fatal(err)
	}
	p.sync(t)
	p.now = p.now.Add(3*24*time.Hour - time.Second)
	if p.access("data_scientist/ana", grants.Query) == "" {
		t.Error("it ended early")
	}
	p.now = p.now.Add(2 * time.Second)
	if got := p.access("data_scientist/ana", grants.Query); got != "" {
		t.Errorf("after its end it gives %s", got)
	}
	if all, err := p.store.List(t.Context(), p.now); err != nil || all[0].State != Expired {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := p.desk.Revoke(t.Context(), who("operator/owner"), s.ID); !errors.Is(err, ErrState) {
		t.Errorf("revoked after its end: %v", err)
	}
	if done := p.sync(t); done.Given != 0 || !done.Changed {
		t.Errorf("synced %+v", done)
	}
}

// TestItNeverWidens: whatever changes after the approval, the meet is given.
func TestItNeverWidens(t *testing.T) {
	for name, tc := range map[string]struct {
		subscriber string
		asked      Request
		change     func(*testing.T, *place)
		want       string
	}{
		"what was asked for":     {"data_scientist/ana", Request{Tenants: []cardlake.Tenant{"aurora"}}, nil, ofAurora},
		"where the policies let": {"etl_job/nightly", Request{}, nil, ofAurora},
		"a tenant's own":         {"tenant_analyst/x", Request{}, nil, ofAurora},
		"wider terms": {"data_scientist/ana", Request{}, func(t *testing.T, p *place) {
			p.change(t, func(x *Product) {
				x.Terms.Clear = append(x.Terms.Clear, "truncated_pan", "identifier")
				x.Terms.Masked = nil
				x.Terms.Actions = []grants.Action{grants.Query, grants.Export}
			})
		}, ofBoth},
		"narrower terms": {"data_scientist/ana", Request{}, func(t *testing.T, p *place) {
			p.change(t, func(x *Product) {
				x.Terms.Clear, x.Terms.Masked = []cardlake.Tag{"public"}, []cardlake.Tag{"money"}
				x.Terms.Tenants = []cardlake.Tenant{"bolivar"}
			})
		}, "b.amount=masked b.mcc=clear"},
		"of another kind": {"data_scientist/ana", Request{}, func(t *testing.T, p *place) {
			p.change(t, func(x *Product) { x.Terms.Kinds = []grants.Kind{grants.ETLJob} })
		}, ""},
		"withdrawn":  {"data_scientist/ana", Request{}, func(t *testing.T, p *place) { p.change(t, func(x *Product) { x.Status = Withdrawn }) }, ""},
		"deprecated": {"data_scientist/ana", Request{}, func(t *testing.T, p *place) { p.change(t, func(x *Product) { x.Status = Deprecated }) }, ofBoth},
		"gone": {"data_scientist/ana", Request{}, func(t *testing.T, p *place) {
			if err := os.Remove(filepath.Join(p.productsDir(), "transactions.json")); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"the policies let no more": {"data_scientist/ana", Request{}, func(t *testing.T, p *place) {
			write(t, filepath.Join(p.grantsDir(), "policies", "own.cedar"), strings.Replace(policies, `"ds.subscribe") permit`, `"ds.subscribe") forbid`, 1))
		}, ""},
		"a forbid": {"data_scientist/ana", Request{}, func(t *testing.T, p *place) {
			write(t, filepath.Join(p.grantsDir(), "policies", "more.cedar"), `@id("no") forbid (principal, action, resource is Lake::Slice) when { resource.tag == "money" };`)
		}, "a.bin=masked a.mcc=clear b.bin=masked b.mcc=clear"},
		"the subscriber left": {"data_scientist/ana", Request{}, func(t *testing.T, p *place) {
			write(t, filepath.Join(p.grantsDir(), "principals.json"), strings.Replace(principals, `{"principal": "data_scientist/ana", "owner": "ana@example.com"},`, "", 1))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			s := p.subscribe(t, tc.subscriber, tc.asked)
			if _, err := p.desk.Approve(t.Context(), who("operator/steward"), s.ID); err != nil {
				t.Fatal(err)
			}
			p.sync(t)
			if tc.change != nil {
				tc.change(t, p)
				if done := p.sync(t); (done.Given == 0) != (tc.want == "") || len(done.Lapsed) != 1-done.Given {
					t.Errorf("synced %+v", done)
				}
			}
			if got := p.access(tc.subscriber, grants.Query); got != tc.want {
				t.Errorf("it gives %q, want %q", got, tc.want)
			}
		})
	}
}

// TestFourEyes: nobody gives anything to themselves, nor anybody who has no say in the product.
func TestFourEyes(t *testing.T) {
	p := newPlace(t)
	p.change(t, func(x *Product) {
		x.Stewards = append(x.Stewards, "data_scientist/ana")
		x.Terms.Kinds = []grants.Kind{grants.DataScientist, grants.ETLJob}
	})
	ana, job := p.subscribe(t, "data_scientist/ana", Request{}), p.subscribe(t, "etl_job/nightly", Request{})
	for _, tc := range []struct {
		by   string
		id   string
		want error
	}{
		{"data_scientist/ana", ana.ID, ErrNotPermitted},
		{"operator/owner", job.ID, ErrNotPermitted}, // who runs the service
		{"operator/other", ana.ID, ErrNotPermitted}, // who may grant, and is not the product's
		{"auditor/eye", ana.ID, ErrUnknown},
		{"tenant_analyst/x", ana.ID, ErrUnknown},
		{"data_scientist/out", ana.ID, ErrUnknown}, // not valid any more
		{"data_scientist/nobody", ana.ID, ErrUnknown},
		{"operator/owner", "aaaaaaaaaaaaaaaaaaaa", ErrUnknown},
	} {
		if _, err := p.desk.Approve(t.Context(), who(tc.by), tc.id); !errors.Is(err, tc.want) || p.record.last().Outcome != audit.Refused {
			t.Errorf("%s approves: %v, recorded %+v", tc.by, err, p.record.last())
		}
	}
	if done := p.sync(t); done.Given != 0 {
		t.Errorf("synced %+v", done)
	}
	// Not even a line in the log does.
	for _, by := range []string{"data_scientist/ana", "nobody"} {
		err := p.events.Append(t.Context(), audit.Record{Actor: by, Action: ActionApprove, Resource: "transactions", Outcome: audit.Allowed,
			Detail: map[string]string{detailID: ana.ID, detailTables: "cards.transactions", detailClear: "public", detailActions: "query"}, Numbers: map[string]int64{numberDays: 30}})
		if err != nil {
			t.Fatal(err)
		}
	}
	all, err := p.store.List(t.Context(), p.now)
	for _, s := range all {
		if s.State != Requested {
			t.Errorf("%+v", s)
		}
	}
	if err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestForgedStore: without the lake's keys nobody approves, also with the files.
func TestForgedStore(t *testing.T) {
	p := newPlace(t)
	s := p.subscribe(t, "data_scientist/ana", Request{})
	if _, err := p.desk.Reject(t.Context(), who("operator/owner"), s.ID); err != nil {
		t.Fatal(err)
	}
	if err := p.events.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(p.logDir(), "*.jsonl"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, name, strings.ReplaceAll(string(text), ActionReject, ActionApprove))
	}
	store, desk := p.reader(t)
	if _, err := store.List(t.Context(), p.now); !errors.Is(err, audit.ErrBreak) {
		t.Errorf("a forged log reads: %v", err)
	}
	if _, err := desk.Sync(t.Context()); err == nil {
		t.Error("a forged log is synced")
	}
}

// reader opens a store that is only read.
func (p *place) reader(t *testing.T) (*Store, *Desk) {
	t.Helper()
	store := NewStore(p.record, p.logDir(), audit.VerifyConfig{Keys: ring})
	t.Cleanup(store.Close)
	return store, NewDesk(func() (*Catalogue, error) { return Load(p.productsDir(), dictionary{}) }, store, p.grants, p.record, p.config())
}

// TestTwoDecideAtOnce: of processes that decide at once, one does.
func TestTwoDecideAtOnce(t *testing.T) {
	p := newPlace(t)
	s := p.subscribe(t, "data_scientist/ana", Request{})
	_, _, other := p.open(t)
	var wg sync.WaitGroup
	errs := make([]error, 2)
	wg.Go(func() { _, errs[0] = p.desk.Approve(t.Context(), who("operator/owner"), s.ID) })
	wg.Go(func() { _, errs[1] = other.Reject(t.Context(), who("operator/steward"), s.ID) })
	wg.Wait()
	lost := 0
	for _, err := range errs {
		if errors.Is(err, ErrConflict) || errors.Is(err, ErrState) {
			lost++
		} else if err != nil {
			t.Error(err)
		}
	}
	if lost != 1 {
		t.Errorf("errors %v", errs)
	}
	all, err := p.store.List(t.Context(), p.now)
	if err != nil || (all[0].State == Approved) != (errs[0] == nil) {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	p := newPlace(t)
	for name, tc := range map[string]struct {
		by     string
		r      Request
		reason string
		change func(*Product)
		want   error
	}{
		"no such product":      {"data_scientist/ana", Request{Product: "nothing"}, "", nil, ErrUnknown},
		"a draft":              {"data_scientist/ana", Request{}, "", func(x *Product) { x.Status = Draft }, ErrUnknown},
		"deprecated":           {"data_scientist/ana", Request{}, "", func(x *Product) { x.Status = Deprecated }, ErrState},
		"not for the kind":     {"operator/other", Request{}, "", nil, ErrNotPermitted},
		"not valid":            {"data_scientist/out", Request{}, "", nil, ErrUnknown},
		"another's tenant":     {"tenant_analyst/x", Request{Tenants: []cardlake.Tenant{"bolivar"}}, "", nil, ErrNotPermitted},
		"no tenant's policy":   {"etl_job/nightly", Request{Tenants: []cardlake.Tenant{"bolivar"}}, "", nil, ErrNotPermitted},
		"an unknown tenant":    {"data_scientist/ana", Request{Tenants: []cardlake.Tenant{"nobody"}}, "", nil, ErrNotPermitted},
		"the empty tenant":     {"data_scientist/ana", Request{Tenants: []cardlake.Tenant{""}}, "", nil, ErrNotPermitted},
		"beyond the product":   {"data_scientist/ana", Request{Tenants: []cardlake.Tenant{"aurora"}}, "", func(x *Product) { x.Terms.Tenants = []cardlake.Tenant{"bolivar"} }, ErrNotPermitted},
		"too long":             {"data_scientist/ana", Request{Days: 31}, "", nil, ErrRequest},
		"without a reason":     {"data_scientist/ana", Request{}, "fun", nil, ErrRequest},
		"an escape for reason": {"data_scientist/ana", Request{}, "look \x1b[31m at this", nil, ErrRequest},
		"a number for reason":  {"data_scientist/ana", Request{}, "card 4532015112830366 of mine", nil, ErrRequest},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.change != nil {
				c, _ := Load(p.productsDir(), dictionary{})
				before := *c.Products[0]
				p.change(t, tc.change)
				defer p.put(t, before)
			}
			c := who(tc.by)
			if tc.reason != "" {
				c.Reason = tc.reason
			}
			if tc.r.Product == "" {
				tc.r.Product = "transactions"
			}
			_, err := p.desk.Subscribe(t.Context(), c, tc.r)
			if !errors.Is(err, tc.want) || p.record.last().Outcome != audit.Refused || strings.Contains(err.Error(), "453201") {
				t.Errorf("error %v, recorded %+v", err, p.record.last())
			}
		})
	}
	if all, err := p.store.List(t.Context(), p.now); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	p.subscribe(t, "data_scientist/ana", Request{})
	if _, err := p.desk.Subscribe(t.Context(), who("data_scientist/ana"), Request{Product: "transactions"}); !errors.Is(err, ErrState) {
		t.Errorf("asked twice: %v", err)
	}
}

func TestNothingUnrecorded(t *testing.T) {
	p := newPlace(t)
	s := p.subscribe(t, "data_scientist/ana", Request{})
	p.record.err = errors.New("disk full")
	_, subscribed := p.desk.Subscribe(t.Context(), who("data_scientist/ana"), Request{Product: "transactions"})
	_, approved := p.desk.Approve(t.Context(), who("operator/owner"), s.ID)
	published := p.desk.SetStatus(t.Context(), who("operator/owner"), "transactions", Withdrawn)
	_, listed := p.desk.List(t.Context(), who("operator/owner"))
	for _, err := range []error{subscribed, approved, published, listed} {
		if !errors.Is(err, ErrUnrecorded) {
			t.Errorf("error %v", err)
		}
	}
	all, err := p.store.List(t.Context(), p.now)
	if err != nil || len(all) != 1 || all[0].State != Requested {
		t.Errorf("%+v, %v", all, err)
	}
	if c, err := Load(p.productsDir(), dictionary{}); err != nil || c.Products[0].Status != Published {
		t.Errorf("%v", err)
	}
}

func TestWhoSeesWhat(t *testing.T) {
	p := newPlace(t)
	p.subscribe(t, "data_scientist/ana", Request{})
	for name, want := range map[string]int{"data_scientist/ana": 1, "operator/steward": 1, "operator/other": 1, "auditor/eye": 1, "tenant_analyst/x": 0, "etl_job/nightly": 0} {
		if got, err := p.desk.Subscriptions(t.Context(), who(name)); err != nil || len(got) != want {
			t.Errorf("%s sees %d subscriptions, %v", name, len(got), err)
		}
	}
	p.change(t, func(x *Product) { x.Status, x.Terms.Tenants = Draft, []cardlake.Tenant{"aurora", "bolivar"} })
	for name, want := range map[string]int{"data_scientist/ana": 0, "operator/steward": 1, "tenant_analyst/x": 0} {
		if got, err := p.desk.List(t.Context(), who(name)); err != nil || len(got) != want {
			t.Errorf("%s sees %d drafts, %v", name, len(got), err)
		}
	}
	if err := p.desk.SetStatus(t.Context(), who("data_scientist/ana"), "transactions", Published); !errors.Is(err, ErrUnknown) {
		t.Errorf("a stranger publishes: %v", err)
	}
	if err := p.desk.SetStatus(t.Context(), who("operator/owner"), "transactions", Published); err != nil {
		t.Fatal(err)
	}
	if err := p.desk.SetStatus(t.Context(), who("data_scientist/ana"), "transactions", Withdrawn); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("a reader withdraws: %v", err)
	}
	if err := p.desk.SetStatus(t.Context(), who("operator/owner"), "transactions", Draft); !errors.Is(err, ErrState) {
		t.Errorf("published to draft: %v", err)
	}
	got, err := p.desk.Product(t.Context(), who("tenant_analyst/x"), "transactions")
	if err != nil || !slices.Equal(got.Product.Terms.Tenants, []cardlake.Tenant{"aurora"}) {
		t.Errorf("a tenant is told of %+v, %v", got, err)
	}
}
