package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// accessPolicies are those of the starter set that are about access itself, and a tenant's.
const accessPolicies = `
@id("auditor.audit") permit (principal in Lake::Persona::"auditor", action == Lake::Action::"read_audit", resource);
@id("operator.maintain") permit (principal in Lake::Persona::"operator", action == Lake::Action::"maintain", resource);
@id("operator.grant") permit (principal in Lake::Persona::"operator", action == Lake::Action::"grant", resource) when { context.mfa };
@id("etl.tenant") @description("Jobs maintain one tenant, not the lake.")
permit (principal in Lake::Persona::"etl_job", action in [Lake::Action::"maintain", Lake::Action::"grant"], resource == Lake::Tenant::"andina");
@id("tenant.read") @description("A tenant reads its own.")
permit (principal, action in Lake::Action::"read", resource is Lake::Slice)
when { principal has tenant && resource.tenant == principal.tenant && ["public", "money"].contains(resource.tag) };
`

// callers of the tests, by name.
var callers = map[string]grants.Caller{
	"operator": {Principal: grants.Principal{Kind: grants.Operator, Name: "ana"}},
	"admin":    {Principal: grants.Principal{Kind: grants.Operator, Name: "ana"}, MFA: true},
	"auditor":  {Principal: grants.Principal{Kind: grants.Auditor, Name: "ana"}},
	"etl":      {Principal: grants.Principal{Kind: grants.ETLJob, Name: "ana"}},
	"analyst":  {Principal: grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@andina"}},
	"boreal":   {Principal: grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@boreal"}},
	"stranger": {Principal: grants.Principal{Kind: grants.TenantAnalyst, Name: "nobody@andina"}},
}

// byName signs in whom the header Authorization names.
type byName struct{}

func (byName) FromRequest(r *http.Request) (grants.Caller, error) {
	c, ok := callers[r.Header.Get("Authorization")]
	if !ok {
		panic("no such caller")
	}
	c.Origin = "192.0.2.1"
	return c, nil
}

func (byName) Origin(*http.Request) string { return "192.0.2.1" }

// trail is api.Trail by hand.
type trail struct {
	lines  []audit.Line // the newest first
	filter audit.Filter
	before uint64
	limit  int
	asked  int
	err    error
}

func (t *trail) Newest(_ context.Context, f audit.Filter, before uint64, limit int) (api.TrailPage, error) {
	t.filter, t.before, t.limit = f, before, limit
	t.asked++
	return api.TrailPage{Lines: t.lines, Next: 17, IsPruned: true}, t.err
}

// operations is api.Operations by hand.
type operations struct {
	asked int
	by    grants.Caller
	err   error
}

func (o *operations) Health(_ context.Context, c grants.Caller) (api.Health, error) {
	o.asked++
	o.by = c
	h := api.Health{At: epoch}
	h.Tables.Status, h.Keys.Status, h.Audit.Status = api.Well, api.Well, api.Well
	h.Tables.Tables = []api.HealthTable{{Table: "cards.transactions", Rows: 5}}
	h.Rejected.Fail(errors.New("out of reach"))
	h.Stream.Note(api.Attention, api.HealthNote{Code: "slow_workers", Text: "look"})
	h.Stream.Note(api.Well, api.HealthNote{Code: "fine", Text: "look"})
	return h, o.err
}

// reviews are api.Reviews by hand.
type reviews struct {
	asked []string
	err   error
}

func (r *reviews) Review(_ context.Context, c grants.Caller, tenant cardlake.Tenant, alert string, confirm bool, note string) (bool, error) {
	r.asked = append(r.asked, fmt.Sprintf("%s %s %s %v %q", c.Principal, tenant, alert, confirm, note))
	return len(r.asked) == 1, r.err
}

// office is a server for what is not of tables.
type office struct {
	t          *testing.T
	handler    http.Handler
	grants     *grants.Grants
	log        *queriestest.Log
	trail      *trail
	operations *operations
	reviews    *reviews
}

func newOffice(t *testing.T) *office {
	t.Helper()
	return officeWith(t, openGrants(t))
}

// openGrants are those of accessPolicies.
func openGrants(t *testing.T) *grants.Grants {
	t.Helper()
	register := grantstest.Tenants{grantstest.Tenant("andina"), grantstest.Tenant("boreal")}
	set, err := grants.Open(grantstest.Folder(t, accessPolicies, register...), register, grants.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func officeWith(t *testing.T, set *grants.Grants) *office {
	t.Helper()
	d := &office{t: t, grants: set, log: &queriestest.Log{}, trail: &trail{}, operations: &operations{}, reviews: &reviews{}}
	server, err := api.New(api.Deps{
		SignIn: byName{}, Permits: set, Recorder: d.log, Access: set, Trail: d.trail, Operations: d.operations, Reviews: d.reviews,
	}, api.Config{PerMinute: 6000, Burst: 1000, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	d.handler = server.Handler()
	return d
}

func (d *office) ask(caller, method, path, body string) answer {
	d.t.Helper()
	r := httptest.NewRequestWithContext(d.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", caller)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return answer{Response: w.Result(), body: w.Body.Bytes()}
}

// get asks and reads the answer in JSON.
func (d *office) get(caller, path string, into any) {
	d.t.Helper()
	a := d.ask(caller, http.MethodGet, path, "")
	if a.StatusCode != http.StatusOK {
		d.t.Fatalf("%s: %d %s", path, a.StatusCode, a.body)
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		d.t.Fatalf("%s: %v: %s", path, err, a.body)
	}
}

// TestWhoMay: each resource is for those who may, and every answer and refusal is on record.
func TestWhoMay(t *testing.T) {
	const no, ok = "403 not-permitted", ""
	alert := strings.Repeat("ap", 16)
	set := openGrants(t)
	d := officeWith(t, set)
	for _, tc := range []struct {
		path   string
		record string            // action and resource; of a refusal too
		may    map[string]string // what each caller is answered
	}{
		{"/v1/health", "health lake", map[string]string{"operator": ok, "admin": ok, "auditor": no, "etl": no, "analyst": no, "stranger": no}},
		{"/v1/grants/policies", "grants.report policies", map[string]string{"operator": no, "admin": ok, "auditor": ok, "etl": no, "analyst": no, "stranger": no}},
		{"/v1/audit", "audit_read audit log", map[string]string{"operator": no, "admin": no, "auditor": ok, "etl": no, "analyst": no, "stranger": no}},
		{"/v1/grants/auditor/ana", "", map[string]string{"operator": no, "admin": ok, "auditor": ok, "etl": no, "analyst": no, "stranger": no}},
		{"/v1/grants/tenant_analyst/analyst@andina", "", map[string]string{"operator": no, "admin": ok, "auditor": ok, "etl": no, "analyst": ok, "boreal": no, "stranger": no}},
		{"/v1/grants/tenant_analyst/analyst@andina?tenant=andina", "", map[string]string{"admin": ok, "analyst": ok, "boreal": no}},
		{"/v1/grants/tenant_analyst/analyst@andina?tenant=boreal", "", map[string]string{"admin": ok, "analyst": no, "boreal": no}},
		{"/v1/grants/tenant_analyst/nobody@andina", "", map[string]string{"admin": "404 no-such-resource", "auditor": "404 no-such-resource", "analyst": no, "stranger": no}},
	} {
		for caller, want := range tc.may {
			t.Run(tc.path+" "+caller, func(t *testing.T) {
				d.trail.asked, d.operations.asked = 0, 0
				before := len(d.log.Records())
				a := d.ask(caller, http.MethodGet, tc.path, "")
				if want == ok && a.StatusCode != http.StatusOK || want != ok && a.problem(t) != want {
					t.Fatalf("status %d: %s", a.StatusCode, a.body)
				}
				records := d.log.Records()[before:]
				outcome := audit.Allowed
				if want != ok {
					outcome = audit.Refused
					if d.trail.asked+d.operations.asked > 0 {
						t.Error("it was looked at all the same")
					}
				}
				if len(records) != 1 || records[0].Outcome != outcome || records[0].Actor != callers[caller].Principal.String() ||
					tc.record != "" && records[0].Action+" "+records[0].Resource != tc.record {
					t.Errorf("records %+v", records)
				}
				d.log.Fail(errDisk)
				defer d.log.Fail(nil)
				if got := d.ask(caller, http.MethodGet, tc.path, "").problem(t); got != "503 audit-unavailable" {
					t.Errorf("without the record: %s", got)
				}
				if d.trail.asked+d.operations.asked > 1 {
					t.Error("it was looked at without the record")
				}
			})
		}
	}
	// The desk of reviews decides by itself, and records: what it says comes through.
	for err, want := range map[error]string{
		nil:                     ok,
		queries.ErrNotPermitted: no,
		queries.ErrUnrecorded:   "503 audit-unavailable",
		api.ErrNoAlert:          "404 no-such-resource",
		fmt.Errorf("%w: note is too long", api.ErrReview): "400 invalid-request",
		errors.New("4111111111111111"):                    "500 internal",
	} {
		d := officeWith(t, set)
		d.reviews.err = err
		a := d.ask("analyst", http.MethodPost, "/v1/alerts/"+alert+"/review", `{"tenant": "andina", "decision": "confirm"}`)
		if want == ok && a.StatusCode != http.StatusOK || want != ok && a.problem(t) != want {
			t.Errorf("%v: status %d: %s", err, a.StatusCode, a.body)
		}
		if strings.Contains(string(a.body), "4111") {
			t.Errorf("%s", a.body)
		}
	}
}

// grantsOf is what the tests look at of a report.
type grantsOf struct {
	All        bool
	Version    string
	Principals []struct {
		Principal, Kind, Name string
		MFA                   bool
		Access                []struct {
			Action, Table, Rows string
			Clear               []string
			MFA                 bool
			Policies            []string
		}
	}
}

// TestGrants: who may grant, or read the audit log, is told of all; anybody else of itself, and of
// no policy.
func TestGrants(t *testing.T) {
	d := newOffice(t)
	for _, caller := range []string{"admin", "auditor"} {
		var all grantsOf
		d.get(caller, "/v1/grants", &all)
		if len(all.Principals) != len(d.grants.Set().Principals()) || !all.All || all.Version != d.grants.Set().Version() {
			t.Errorf("%s is told of %d principals, all %v", caller, len(all.Principals), all.All)
		}
		i := slices.IndexFunc(all.Principals, func(p struct {
			Principal, Kind, Name string
			MFA                   bool
			Access                []struct {
				Action, Table, Rows string
				Clear               []string
				MFA                 bool
				Policies            []string
			}
		}) bool {
			return p.Principal == "operator/ana"
		})
		if i < 0 || !all.Principals[i].MFA || len(all.Principals[i].Access) == 0 || all.Principals[i].Access[0].Policies == nil {
			t.Errorf("%s is told %+v of operators", caller, all.Principals)
		}
	}
	for _, caller := range []string{"operator", "etl", "analyst"} {
		var own grantsOf
		d.get(caller, "/v1/grants", &own)
		if len(own.Principals) != 1 || own.Principals[0].Principal != callers[caller].Principal.String() || own.All {
			t.Errorf("%s is told %+v", caller, own)
			continue
		}
		for _, a := range own.Principals[0].Access {
			if len(a.Policies) > 0 {
				t.Errorf("%s is told of policies %q", caller, a.Policies)
			}
		}
	}
	var own grantsOf
	d.get("stranger", "/v1/grants", &own)
	if len(own.Principals) != 0 {
		t.Errorf("who is no principal is told %+v", own)
	}
}

// TestExplained: what one principal is given of each table, for the tenant, and why.
func TestExplained(t *testing.T) {
	d := newOffice(t)
	type explained struct {
		Principal, Version, Action, Of string
		Tables                         []struct {
			Table    string
			Findings []struct {
				Tag, Access string
				Columns     []string
				Forbidden   bool
				Policies    []string
			}
		}
		Policies []struct{ ID, Description, File, Text string }
	}
	find := func(e explained, tag string, of ...string) string {
		for _, table := range e.Tables {
			if table.Table != append(of, "cards.transactions")[0] {
				continue
			}
			for _, f := range table.Findings {
				if f.Tag == tag {
					return fmt.Sprintf("%s %v %v", f.Access, f.Forbidden, f.Policies)
				}
			}
		}
		return ""
	}
	const path = "/v1/grants/tenant_analyst/analyst@andina"
	var e explained
	d.get("admin", path, &e)
	if e.Of != "andina" || e.Action != "query" || len(e.Tables) != len(cardlake.Tables) {
		t.Errorf("%+v", e)
	}
	if got := find(e, "money"); got != "clear false [tenant.read]" {
		t.Errorf("money: %s", got)
	}
	if got := find(e, "identifier"); got != "dropped false []" {
		t.Errorf("identifier: %s", got)
	}
	if len(e.Policies) == 0 || !slices.ContainsFunc(e.Policies, func(p struct{ ID, Description, File, Text string }) bool {
		return p.ID == "tenant.read" && p.Description == "A tenant reads its own." && strings.HasPrefix(p.File, "policies/test.cedar") && strings.Contains(p.Text, "permit")
	}) {
		t.Errorf("policies %+v", e.Policies)
	}
	e = explained{}
	d.get("auditor", path+"?tenant=boreal", &e)
	if got := find(e, "money"); got != "dropped false []" {
		t.Errorf("of another tenant: %s", got)
	}
	e = explained{}
	d.get("auditor", "/v1/grants/operator/all", &e)
	if got := find(e, "sealed", "cards.transactions_rejected"); !strings.HasPrefix(got, "dropped true [builtin.sealed") {
		t.Errorf("what is sealed: %s", got)
	}
	e = explained{}
	d.get("analyst", path+"?action=export", &e)
	if got := find(e, "money"); got != "clear false []" || len(e.Policies) != 0 || e.Action != "export" {
		t.Errorf("itself: %s, %+v", got, e.Policies)
	}
	for query, want := range map[string]string{
		"?action=maintain": "400 invalid-request", "?tenant=A": "400 invalid-request", "?tenant=nobody": "400 invalid-request", "?x=1": "400 invalid-request",
		"?tenant=andina&tenant=boreal": "400 invalid-request",
	} {
		if got := d.ask("admin", http.MethodGet, path+query, "").problem(t); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
}

// TestAuditLog: filters reach the log, and lines come without what is no reader's.
func TestAuditLog(t *testing.T) {
	d := newOffice(t)
	d.trail.lines = []audit.Line{{
		Entry: audit.Entry{Seq: 18, Time: epoch, Record: audit.Record{Actor: "operator/ana", Action: "query", Resource: "cards.transactions", Outcome: audit.Refused,
			Detail: map[string]string{"k": "v"}, Numbers: map[string]int64{"rows": 3}}, Segment: &audit.Segment{Number: 1, Key: "wrappedkey"}, Prev: "prev"},
		Hash: "hash", Log: "thelog",
	}}
	a := d.ask("auditor", http.MethodGet, "/v1/audit?actor=operator/ana&action=query.&outcome=refused&from=2026-02-28T21:00:00-03:00&to=2026-03-02T00:00:00Z&limit=7&cursor=99", "")
	const want = `{"lines":[{"seq":18,"time":"2026-03-01T00:00:00Z","actor":"operator/ana","action":"query","resource":"cards.transactions","outcome":"refused","detail":{"k":"v"},"numbers":{"rows":3},"hash":"hash"}],"next":17,"pruned":true}`
	if d := cmp.Diff(want, string(a.body)); d != "" {
		t.Error(d)
	}
	f := audit.Filter{Actor: "operator/ana", Action: "query.", Outcome: audit.Refused, Since: epoch, Until: epoch.AddDate(0, 0, 1)}
	if diff := cmp.Diff(f, d.trail.filter); diff != "" || d.trail.before != 99 || d.trail.limit != 7 {
		t.Errorf("asked %s, before %d, %d lines", diff, d.trail.before, d.trail.limit)
	}
	if r := d.log.Records()[0]; r.Numbers["before"] != 99 || r.Detail["of_actor"] != "operator/ana" || r.Detail["from"] != "2026-03-01T00:00:00Z" {
		t.Errorf("record %+v", r)
	}
	d.ask("auditor", http.MethodGet, "/v1/audit", "")
	if d.trail.limit != 100 || d.trail.before != 0 || d.trail.filter != (audit.Filter{}) {
		t.Errorf("by default %+v", d.trail)
	}
	d.trail.asked = 0
	for _, query := range []string{
		"outcome=x", "from=yesterday", "to=1", "limit=0", "limit=1001", "limit=x", "cursor=0", "cursor=-1", "cursor=99999999999999999999", "x=1", "actor=a&actor=b",
		"actor=4111111111111111", "action=" + strings.Repeat("x", 129), "%zz",
	} {
		if got := d.ask("auditor", http.MethodGet, "/v1/audit?"+query, "").problem(t); got != "400 invalid-request" {
			t.Errorf("%s: %s", query, got)
		}
	}
	if d.trail.asked != 0 {
		t.Error("the log was read for what is no question")
	}
	d.trail.err = fmt.Errorf("the log is broken: %w", audit.ErrBreak)
	if got := d.ask("auditor", http.MethodGet, "/v1/audit", "").problem(t); got != "500 internal" {
		t.Errorf("a log that does not hold together: %s", got)
	}
}

// TestHealth: a part that can't be had hides no other, and the worst is told.
func TestHealth(t *testing.T) {
	d := newOffice(t)
	var h struct {
		Status   string
		Tables   struct{ Tables []struct{ Table string } }
		Rejected struct{ Status, Error string }
		Stream   struct {
			Status string
			Notes  []struct{ Code string }
		}
	}
	d.get("operator", "/v1/health", &h)
	if h.Status != "attention" || h.Rejected.Error != "out of reach" || h.Rejected.Status != "unknown" || len(h.Tables.Tables) != 1 || h.Stream.Status != "attention" || len(h.Stream.Notes) != 2 {
		t.Errorf("%+v", h)
	}
	if d.operations.by.Principal != callers["operator"].Principal || d.operations.by.Request == "" {
		t.Errorf("rows are read as %+v", d.operations.by)
	}
}

// TestReview: what is said of an alert is checked before anybody is asked, and said once it is.
func TestReview(t *testing.T) {
	d := newOffice(t)
	id := strings.Repeat("ap", 16)
	path := "/v1/alerts/" + id + "/review"
	for _, tc := range []struct{ path, body, want string }{
		{path, `{"tenant": "andina", "decision": "maybe"}`, "400 invalid-request"},
		{path, `{"tenant": "andina", "decision": "dismiss"}`, "400 invalid-request"},
		{path, `{"tenant": "ANDINA", "decision": "confirm"}`, "400 invalid-request"},
		{path, `{"decision": "confirm"}`, "400 invalid-request"},
		{path, `{"tenant": "andina", "decision": "confirm", "note": "` + strings.Repeat("x", 1001) + `"}`, "400 invalid-request"},
		{path, `{"tenant": "andina", "decision": "confirm", "note": "card 4111 1111 1111 1111"}`, "400 invalid-request"},
		{path, `{"tenant": "andina", "decision": "confirm", "x": 1}`, "400 invalid-request"},
		{path, `[]`, "400 invalid-request"},
		{"/v1/alerts/1%27%20OR%20%271/review", `{"tenant": "andina", "decision": "confirm"}`, "404 no-such-resource"},
		{"/v1/alerts/" + id + "a/review", `{"tenant": "andina", "decision": "confirm"}`, "404 no-such-resource"},
	} {
		if got := d.ask("analyst", http.MethodPost, tc.path, tc.body).problem(t); got != tc.want {
			t.Errorf("%s: %s", tc.body, got)
		}
	}
	if len(d.reviews.asked) > 0 {
		t.Errorf("asked %q", d.reviews.asked)
	}
	for i, want := range []string{"true", "false"} {
		a := d.ask("analyst", http.MethodPost, path, `{"tenant": "andina", "decision": "dismiss", "note": "the cardholder was asked"}`)
		if got := string(a.body); got != `{"alert":"`+id+`","tenant":"andina","decision":"dismiss","new":`+want+`}` {
			t.Errorf("answer %d: %s", i, got)
		}
	}
	if want := "tenant_analyst/analyst@andina andina " + id + ` false "the cardholder was asked"`; d.reviews.asked[0] != want {
		t.Errorf("asked %q, want %q", d.reviews.asked[0], want)
	}
}

// TestNotOffered: what a server has not is not there.
func TestNotOffered(t *testing.T) {
	server, err := api.New(api.Deps{SignIn: byName{}, Permits: queriestest.Everything, Recorder: &queriestest.Log{}}, api.Config{PerMinute: 6000, Burst: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	d := &office{t: t, handler: server.Handler()}
	for _, path := range []string{"GET /v1/health", "GET /v1/grants", "GET /v1/grants/policies", "GET /v1/grants/operator/ana", "GET /v1/audit", "POST /v1/alerts/x/review", "GET /v1/live?tenant=andina"} {
		method, path, _ := strings.Cut(path, " ")
		if got := d.ask("admin", method, path, "").problem(t); got != "404 no-such-resource" {
			t.Errorf("%s: %s", path, got)
		}
	}
}
