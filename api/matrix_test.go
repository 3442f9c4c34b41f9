package api_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/api/saved"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/catalog/signin/apikeys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
)

// matrixTenants are the two: those of ana, and those of bea, whose nothing may be seen.
var matrixTenants = grantstest.Tenants{
	{Name: "aurora", Country: "BR", Currency: "BRL", Status: catalog.TenantActive, StorageID: "aaaaaaaaaaaaaaaa"},
	{Name: "bolivar", Country: "CO", Currency: "COP", Status: catalog.TenantActive, StorageID: "bbbbbbbbbbbbbbbb"},
}

// matrixPeople are a principal of every kind, by subject. Those of aurora and the detokeniser read
// nothing of bolivar; the others do what the starter policies give them.
var matrixPeople = map[string]grants.Principal{
	"bea":       {Kind: grants.TenantAnalyst, Name: "bea"},
	"ana":       {Kind: grants.TenantAnalyst, Name: "ana"},
	"service":   {Kind: grants.TenantService, Name: "service"},
	"detoken":   {Kind: grants.Detokeniser, Name: "local"},
	"scientist": {Kind: grants.DataScientist, Name: "local"},
	"job":       {Kind: grants.ETLJob, Name: "local"},
	"operator":  {Kind: grants.Operator, Name: "local"},
	"auditor":   {Kind: grants.Auditor, Name: "local"},
	"nobody":    {Kind: grants.TenantAnalyst, Name: "unknown"}, // signs in, and has no grants
}

var matrixStrangers = []string{"ana", "service", "detoken", "nobody"}

const marker = "secret-of-" // and the tenant

// matrix is a site with the starter policies and everything that the API offers. Rows are markers
// of the tenants that the decision gives.
type matrix struct {
	*site
	grants  *grants.Grants
	exports *export.Service
	desk    *desk
	board   *board
	health  *operations
}

// markers are the rows that a decision gives.
func markers(reads ...queries.Read) [][]any {
	var out [][]any
	for _, r := range reads {
		for _, t := range matrixTenants {
			if r.Decision.Scope(t.Name) != nil {
				out = append(out, []any{marker + string(t.Name)})
			}
		}
	}
	return out
}

var markerColumns = []queries.Column{{Name: "marker", Type: arrow.BinaryTypes.String}}

// markerFeed is api.Changes whose rows are markers.
type markerFeed struct{ *queries.Gateway }

func (f markerFeed) Read(ctx context.Context, c grants.Caller, r changes.Request) (*changes.Batch, error) {
	result, err := f.Scan(ctx, c, queries.Scan{Action: grants.ReadChanges, Table: r.Table, What: "changes"}, func(_ context.Context, r queries.Read) (queries.Rows, error) {
		return &rows{columns: markerColumns, values: markers(r), snapshot: 7}, nil
	})
	return &changes.Batch{Cursor: "7.next", Result: result}, err
}

func (markerFeed) Await(context.Context, *cardlake.Table, string, time.Duration) error { return nil }

// narrowing is a sign-in of which a header narrows the caller to a tenant, as an API key may be.
type narrowing struct{ api.SignIn }

func (n narrowing) FromRequest(r *http.Request) (grants.Caller, error) {
	c, err := n.SignIn.FromRequest(r)
	c.Tenant = cardlake.Tenant(r.Header.Get("Test-Tenant"))
	return c, err
}

// markerReviews are api.Reviews of the grants.
type markerReviews struct{ *grants.Grants }

func (r markerReviews) Review(_ context.Context, c grants.Caller, tenant cardlake.Tenant, _ string, _ bool, _ string) (bool, error) {
	if !r.Permitted(c, grants.Review).For(tenant) {
		return false, queries.ErrNotPermitted
	}
	return true, nil
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	dir := t.TempDir()
	if err := grants.Init(dir, matrixTenants); err != nil {
		t.Fatal(err)
	}
	var principals []map[string]any
	for _, name := range slices.Sorted(maps.Keys(matrixPeople)) {
		p := matrixPeople[name]
		if name == "nobody" {
			continue
		}
		one := map[string]any{"principal": p.String(), "owner": "ana@example.com", "subjects": []string{"x509:CN=" + name}}
		switch p.Kind {
		case grants.TenantAnalyst, grants.TenantService:
			one["tenant"] = map[bool]string{true: "bolivar", false: "aurora"}[name == "bea"]
		}
		if p.Kind == grants.TenantService || p.Kind == grants.ETLJob {
			one["service"] = true
		}
		principals = append(principals, one)
	}
	text, err := json.Marshal(map[string]any{"principals": principals})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "principals.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &matrix{desk: &desk{}, board: newBoard(), health: &operations{}}
	if m.grants, err = grants.Open(dir, matrixTenants, grants.Config{Interval: time.Hour}); err != nil {
		t.Fatal(err)
	}
	lake := queriestest.NewLake()
	if err := lake.Fill(1, 10); err != nil {
		t.Fatal(err)
	}
	m.site = newSite(t, api.Config{PerMinute: 600_000, Burst: 100_000, FiguresPerMinute: 60_000, FiguresBurst: 10_000}, func(s *site, d *api.Deps, _ *api.Files) {
		gateway := func(p queries.Permits) *queries.Gateway {
			return queries.New(parser{}, s.engine, p, s.log, queries.Config{MaxRows: 1000})
		}
		m.exports, err = export.Open(t.Context(), t.TempDir(), export.Deps{
			Gateway: gateway, Permits: m.grants, Recorder: s.log, Planner: lake, Lake: lake, Tenants: activeTenants{}, Keys: objectstest.NewKeys(),
			Files: objects.NewSealed(t.TempDir(), objectstest.NewKeys(), objects.SealedConfig{}),
		}, export.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.exports.Close() })
		views, err := saved.Open(t.Context(), t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { views.Close() })
		keys, err := apikeys.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), s.log, apikeys.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { keys.Close() })
		g := gateway(m.grants)
		*d = api.Deps{
			Gateway: g, SignIn: narrowing{d.SignIn}, Permits: m.grants, Recorder: s.log, Exports: m.exports, Changes: markerFeed{g}, Products: m.desk, Tenants: matrixTenants,
			CompleteUntil: func(_ context.Context, t cardlake.Tenant) (time.Time, error) {
				return map[cardlake.Tenant]time.Time{"aurora": epoch.Add(-time.Hour)}[t], nil
			},
			Saved: views, Keys: keys, Live: m.board, Reviews: markerReviews{m.grants}, Operations: m.health, Access: m.grants, Trail: &trail{lines: []audit.Line{}},
		}
	})
	m.engine.columns, m.engine.rowsOf = markerColumns, func(s queries.Statement) [][]any { return markers(s.Reads...) }
	m.board.count("bolivar", 0, 4)
	clear(m.known.of)
	for name, p := range matrixPeople {
		m.known.of["oidc:"+m.issuer.URL+"#"+name] = p
	}
	return m
}

// must makes a call that succeeds.
func (m *matrix) must(who, method, path, body string, headers ...string) answer {
	m.t.Helper()
	a := m.ask(m.client(nil, true), method, path, m.token(who), body, headers...)
	if a.StatusCode >= 300 {
		m.t.Fatalf("%s %s as %s: status %d: %s", method, path, who, a.StatusCode, a.body)
	}
	return a
}

// id is the member of an answer.
func (a answer) id(name string) string {
	var of map[string]any
	_ = json.Unmarshal(a.body, &of)
	text, _ := of[name].(string)
	return text
}

// attempt is a call that somebody makes to get at what is bolivar's or bea's own.
type attempt struct {
	path, body string
	// own says that it is of something that is bea's alone: anybody else is told that there is
	// none such.
	own bool
	// barred says that a stranger to the tenant is refused.
	barred bool
	// stream says that who is let in is never told that it ends.
	stream bool
}

// TestMatrix calls every route of the document as a principal of every kind, for what is another
// tenant's or another principal's.
func TestMatrix(t *testing.T) {
	m := newMatrix(t)
	const ofBolivar, day = "tenant=bolivar", "from=2026-03-01&to=2026-03-02"
	kept := m.must("bea", http.MethodPost, "/v1/query", `{"sql": "SELECT 1", "page_rows": 10}`)
	job := m.must("bea", http.MethodPost, "/v1/exports", `{"table": "cards.transactions", "format": "csv"}`)
	if done, err := m.exports.RunOne(t.Context(), job.id("id"), nil); err != nil || done.State != export.Done {
		t.Fatal(err, done)
	}
	link := m.must("bea", http.MethodPost, "/v1/exports/"+job.id("id")+"/links", `{"file": 1, "valid_seconds": 600}`)
	plan := m.must("bea", http.MethodPost, "/v1/schedules", `{"table": "cards.transactions", "format": "csv", "every": "daily"}`)
	view := m.must("bea", http.MethodPost, "/v1/saved-views", `{"name": "view-of-bea", "page": "overview"}`)
	key := m.must("bea", http.MethodPost, "/v1/keys", `{"name": "key-of-bea", "days": 1}`)
	query, alert := kept.id("query"), strings.Repeat("a", 32)
	secrets := []string{query, job.id("id"), plan.id("id"), view.id("id"), key.id("id"), key.id("secret"), "view-of-bea", "key-of-bea"}
	for _, one := range secrets {
		if one == "" {
			t.Fatalf("not all is there: %q", secrets)
		}
	}

	attempts := map[string]attempt{
		"query": {path: "/v1/query", body: `{"sql": "SELECT 1"}`}, "queries": {path: "/v1/queries"},
		"query_state": {path: "/v1/queries/" + query + "?page=1", own: true}, "query_cancel": {path: "/v1/queries/" + query, own: true},
		"tables": {path: "/v1/tables"}, "table": {path: "/v1/tables/cards.transactions"}, "me": {path: "/v1/me"},
		"state": {path: "/v1/state?" + ofBolivar, barred: true}, "figures": {path: "/v1/figures"},
		"figure":  {path: "/v1/figures/totals?" + ofBolivar + "&" + day, barred: true},
		"changes": {path: "/v1/changes?since=start&" + ofBolivar},
		"exports": {path: "/v1/exports"}, "export": {path: "/v1/exports/" + job.id("id"), own: true},
		"export_start":  {path: "/v1/exports", body: `{"table": "cards.transactions", "format": "csv", "tenant": "bolivar"}`, barred: true},
		"export_file":   {path: "/v1/exports/" + job.id("id") + "/files/1", own: true},
		"export_link":   {path: "/v1/exports/" + job.id("id") + "/links", body: `{"file": 1}`, own: true},
		"export_cancel": {path: "/v1/exports/" + job.id("id"), own: true}, "download": {path: link.id("url"), own: true},
		"schedules":      {path: "/v1/schedules"},
		"schedule_plan":  {path: "/v1/schedules", body: `{"table": "cards.transactions", "format": "csv", "every": "daily", "tenant": "bolivar"}`, barred: true},
		"schedule_pause": {path: "/v1/schedules/" + plan.id("id") + "/pause", own: true}, "schedule_resume": {path: "/v1/schedules/" + plan.id("id") + "/resume", own: true},
		"schedule_remove": {path: "/v1/schedules/" + plan.id("id"), own: true},
		"products":        {path: "/v1/products"}, "product": {path: "/v1/products/transactions"},
		"subscribe": {path: "/v1/products/transactions/subscriptions", body: `{"tenants": ["bolivar"]}`}, "subscriptions": {path: "/v1/subscriptions"},
		"subscription_approve": {path: "/v1/subscriptions/abc/approve"}, "subscription_reject": {path: "/v1/subscriptions/abc/reject"},
		"subscription_revoke": {path: "/v1/subscriptions/abc/revoke"},
		"saved_views":         {path: "/v1/saved-views"}, "saved_view_add": {path: "/v1/saved-views", body: `{"name": "a", "page": "cards"}`},
		"saved_view":         {path: "/v1/saved-views/" + view.id("id"), own: true},
		"saved_view_replace": {path: "/v1/saved-views/" + view.id("id"), body: `{"name": "taken", "page": "cards"}`, own: true},
		"saved_view_remove":  {path: "/v1/saved-views/" + view.id("id"), own: true},
		"live":               {path: "/v1/live?" + ofBolivar, barred: true, stream: true},
		"alert_review":       {path: "/v1/alerts/" + alert + "/review", body: `{"tenant": "bolivar", "decision": "confirm"}`, barred: true},
		"health":             {path: "/v1/health", barred: true}, "policies": {path: "/v1/grants/policies", barred: true}, "audit": {path: "/v1/audit", barred: true},
		"grants": {path: "/v1/grants"}, "grants_of": {path: "/v1/grants/tenant_analyst/bea", barred: true},
		"keys": {path: "/v1/keys"}, "key_issue": {path: "/v1/keys", body: `{"name": "a", "tenant": "bolivar"}`, barred: true},
		"key_revoke": {path: "/v1/keys/" + key.id("id"), own: true},
		"healthz":    {path: "/healthz"}, "readyz": {path: "/readyz"}, "openapi": {path: "/v1/openapi.json"},
	}
	var document struct {
		Paths map[string]map[string]struct {
			ID string `json:"operationId"`
		}
	}
	a := m.ask(m.client(nil, true), http.MethodGet, "/v1/openapi.json", "", "")
	if err := json.Unmarshal(a.body, &document); err != nil {
		t.Fatal(err)
	}
	for path, methods := range document.Paths {
		for method, o := range methods {
			try, ok := attempts[o.ID]
			if !ok {
				t.Errorf("nobody tries %s %s", strings.ToUpper(method), path)
				continue
			}
			delete(attempts, o.ID)
			m.try(strings.ToUpper(method), o.ID, try, secrets)
		}
	}
	if len(attempts) > 0 {
		t.Errorf("there are no routes %v", slices.Sorted(maps.Keys(attempts)))
	}

	// All of it is bea's still, and as it was.
	if a := m.must("bea", http.MethodGet, "/v1/queries/"+query+"?page=1", ""); !strings.Contains(string(a.body), marker+"bolivar") {
		t.Errorf("%s", a.body)
	}
	if a := m.must("bea", http.MethodGet, "/v1/saved-views/"+view.id("id"), ""); a.id("name") != "view-of-bea" {
		t.Errorf("%s", a.body)
	}
	if a := m.must("bea", http.MethodGet, "/v1/keys", ""); !strings.Contains(string(a.body), key.id("id")) {
		t.Errorf("%s", a.body)
	}
	if a := m.must("bea", http.MethodGet, "/v1/exports/"+job.id("id"), ""); a.id("state") != "done" {
		t.Errorf("%s", a.body)
	}
	if a := m.must("bea", http.MethodGet, "/v1/schedules", ""); !strings.Contains(string(a.body), plan.id("id")) || !strings.Contains(string(a.body), `"paused":false`) {
		t.Errorf("%s", a.body)
	}
	m.must("bea", http.MethodGet, link.id("url"), "")
}

// try makes the attempt as everybody but bea.
func (m *matrix) try(method, route string, try attempt, secrets []string) {
	m.t.Helper()
	for _, who := range slices.Sorted(maps.Keys(matrixPeople)) {
		isStranger := slices.Contains(matrixStrangers, who)
		if who == "bea" || try.stream && !isStranger {
			continue
		}
		m.desk.by = grants.Caller{}
		a := m.ask(m.client(nil, true), method, try.path, m.token(who), try.body, "Cardlake-Reason", "to see what is there")
		told := string(a.body)
		if by := m.desk.by.Principal; by != (grants.Principal{}) && by != matrixPeople[who] {
			m.t.Errorf("%s as %s was asked as %s", route, who, by)
		}
		if a.StatusCode >= 500 {
			m.t.Errorf("%s as %s: status %d: %s", route, who, a.StatusCode, told)
		}
		if try.own && a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusForbidden {
			m.t.Errorf("%s as %s: status %d: %s", route, who, a.StatusCode, told)
		}
		if isStranger && try.barred && a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusNotFound {
			m.t.Errorf("%s as %s, a stranger: status %d: %s", route, who, a.StatusCode, told)
		}
		if isStranger && strings.Contains(told, marker+"bolivar") {
			m.t.Errorf("%s gives %s rows of another tenant: %s", route, who, told)
		}
		if isStranger && route == "me" && strings.Contains(told, "bolivar") {
			m.t.Errorf("%s tells %s of another tenant: %s", route, who, told)
		}
		for _, secret := range secrets {
			if route != "download" && strings.Contains(strings.ReplaceAll(told, try.path, ""), secret) {
				m.t.Errorf("%s as %s tells %s of another: %s", route, who, secret, told)
			}
		}
	}
}

// TestNarrowed: a key that is narrowed to one tenant has nothing of what its maker has of another,
// and takes nothing of it away.
func TestNarrowed(t *testing.T) {
	m := newMatrix(t)
	query := m.must("job", http.MethodPost, "/v1/query", `{"sql": "SELECT 1", "page_rows": 10}`, "Idempotency-Key", "a").id("query")
	asked := m.must("job", http.MethodPost, "/v1/exports", `{"table": "cards.transactions", "format": "csv", "tenant": "bolivar"}`).id("id")
	if done, err := m.exports.RunOne(t.Context(), asked, nil); err != nil || done.State != export.Done {
		t.Fatal(err, done)
	}
	plan := m.must("job", http.MethodPost, "/v1/schedules", `{"table": "cards.transactions", "format": "csv", "every": "daily", "tenant": "bolivar"}`).id("id")
	narrow := func(method, path, body string, headers ...string) answer {
		t.Helper()
		return m.ask(m.client(nil, true), method, path, m.token("job"), body, append(headers, "Test-Tenant", "aurora")...)
	}
	for _, try := range []struct{ method, path, body, want string }{
		{http.MethodGet, "/v1/queries/" + query + "?page=1", "", "404 no-such-query"},
		{http.MethodGet, "/v1/figures/totals?tenant=bolivar&from=2026-03-01&to=2026-03-02", "", "403 not-permitted"},
		{http.MethodGet, "/v1/state?tenant=bolivar", "", "403 not-permitted"},
		{http.MethodGet, "/v1/live?tenant=bolivar", "", "403 not-permitted"},
		{http.MethodGet, "/v1/exports/" + asked, "", "404 no-such-resource"},
		{http.MethodDelete, "/v1/exports/" + asked, "", "404 no-such-resource"},
		{http.MethodGet, "/v1/exports/" + asked + "/files/1", "", "404 no-such-resource"},
		{http.MethodPost, "/v1/exports/" + asked + "/links", `{"file": 1}`, "404 no-such-resource"},
		{http.MethodPost, "/v1/exports", `{"table": "cards.transactions", "format": "csv", "tenant": "bolivar"}`, "403 not-permitted"},
		{http.MethodPost, "/v1/schedules/" + plan + "/pause", "", "404 no-such-resource"},
		{http.MethodDelete, "/v1/schedules/" + plan, "", "404 no-such-resource"},
	} {
		if a := narrow(try.method, try.path, try.body); a.problem(t) != try.want {
			t.Errorf("%s %s: %s", try.method, try.path, a.body)
		}
	}
	if a := narrow(http.MethodPost, "/v1/query", `{"sql": "SELECT 1", "page_rows": 10}`, "Idempotency-Key", "a"); a.problem(t) != "422 key-reused" {
		t.Errorf("%s", a.body)
	}
	for _, path := range []string{"/v1/exports", "/v1/schedules", "/v1/me", "/v1/changes?since=start", "/v1/figures/jobs"} {
		if a := narrow(http.MethodGet, path, ""); a.StatusCode != http.StatusOK || strings.Contains(string(a.body), "bolivar") {
			t.Errorf("%s: status %d: %s", path, a.StatusCode, a.body)
		}
	}
	if a := m.must("job", http.MethodGet, "/v1/queries/"+query+"?page=1", ""); !strings.Contains(string(a.body), marker+"bolivar") {
		t.Errorf("%s", a.body)
	}
	if a := m.must("job", http.MethodGet, "/v1/exports/"+asked, ""); a.id("state") != "done" {
		t.Errorf("%s", a.body)
	}
	if a := m.must("job", http.MethodGet, "/v1/schedules", ""); !strings.Contains(string(a.body), `"paused":false`) {
		t.Errorf("%s", a.body)
	}
}

// TestMatrixControl: whoever is given bolivar's rows has them, so that the matrix proves something.
func TestMatrixControl(t *testing.T) {
	m := newMatrix(t)
	for _, who := range []string{"bea", "scientist"} {
		for _, call := range []struct{ method, path, body string }{
			{http.MethodPost, "/v1/query", `{"sql": "SELECT 1"}`}, {http.MethodGet, "/v1/figures/totals?tenant=bolivar&from=2026-03-01&to=2026-03-02", ""},
			{http.MethodGet, "/v1/changes?since=start", ""},
		} {
			if a := m.must(who, call.method, call.path, call.body); !strings.Contains(string(a.body), marker+"bolivar") {
				t.Errorf("%s as %s: %s", call.path, who, a.body)
			}
		}
	}
	if a := m.must("scientist", http.MethodGet, "/v1/figures/totals?tenant=bolivar&from=2026-03-01&to=2026-03-02", ""); strings.Contains(string(a.body), marker+"aurora") {
		t.Errorf("a figure of one tenant has another's rows: %s", a.body)
	}
	if a := m.must("ana", http.MethodPost, "/v1/query", `{"sql": "SELECT 1"}`); !strings.Contains(string(a.body), marker+"aurora") {
		t.Errorf("%s", a.body)
	}
	for who, want := range map[string]string{
		"ana":      `"tenants":[{"name":"aurora","country":"BR","currency":"BRL","status":"active"}]`,
		"bea":      `"actions":{"review":["bolivar"],"export":["bolivar"],"administer":false,"operate":false,"audit":false}`,
		"operator": `"actions":{"review":[],"export":[],"administer":true,"operate":true,"audit":false}`,
		"auditor":  `"audit":true}`,
		"nobody":   `"tenants":[],"pages":["data","access"]`,
	} {
		if a := m.must(who, http.MethodGet, "/v1/me", ""); !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %s", who, a.body[max(0, len(a.body)-900):])
		}
	}
	for call, want := range map[[2]string]string{
		{"ana", "/v1/state"}:                      `{"tenant":"aurora","as_of":"2026-03-01T00:00:00Z","committed_at":"2026-03-01T00:00:00Z","rows":30,"files":2,"complete_until":"2026-02-28T23:00:00Z","partial":false}`,
		{"scientist", "/v1/state"}:                `{"as_of":"2026-03-01T00:00:00Z","committed_at":"2026-03-01T00:00:00Z","rows":30,"files":2,"complete_until":null,"partial":false}`,
		{"scientist", "/v1/state?tenant=bolivar"}: `{"tenant":"bolivar","as_of":"2026-03-01T00:00:00Z","committed_at":"2026-03-01T00:00:00Z","rows":30,"files":2,"complete_until":null,"partial":false}`,
	} {
		if a := m.must(call[0], http.MethodGet, call[1], ""); string(a.body) != want {
			t.Errorf("%v: %s", call, a.body)
		}
		if r := m.engine.looked; r.Decision.Scope("aurora") == nil == (call[1] != "/v1/state?tenant=bolivar") || call[0] == "ana" && r.Decision.Scope("bolivar") != nil {
			t.Errorf("%v was read with %+v", call, r.Decision.Scopes)
		}
	}
	for _, path := range []string{"/v1/state?tenant=Bolivar", "/v1/state?tenant=a&tenant=b", "/v1/state?x=1"} {
		if a := m.get("ana", path); a.problem(t) != "400 invalid-request" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}
