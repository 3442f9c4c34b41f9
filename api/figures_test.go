package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// figureSite is a site whose engine answers with figures.
func figureSite(t *testing.T, cfg api.Config, change ...func(*api.Deps)) *site {
	t.Helper()
	s := newSite(t, cfg, func(_ *site, d *api.Deps, _ *api.Files) {
		d.Tenants = grantstest.Tenants{grantstest.Tenant("aurora"), grantstest.Tenant("bolivar")}
		for _, c := range change {
			c(d)
		}
	})
	s.permits = queriestest.Only(nil, "aurora")
	s.engine.columns = []queries.Column{
		{Name: "merchant_name", Type: arrow.BinaryTypes.String}, {Name: "requests", Type: arrow.PrimitiveTypes.Int64},
		{Name: "amount", Type: &arrow.Decimal128Type{Precision: 18, Scale: 4}}, {Name: "total", Type: &arrow.Decimal128Type{Precision: 38}},
		{Name: "rate", Type: arrow.PrimitiveTypes.Float64}, {Name: "at", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32}, {Name: "open", Type: arrow.FixedWidthTypes.Boolean},
	}
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	nan := 0.0
	s.engine.values = [][]any{
		{"=cmd|' /C calc'!A0", int64(12), decimal128.FromI64(12_345_000), decimal128.FromI64(7), 0.25, day.Add(90 * time.Minute), day, true},
		{"<script>alert(1)</script>", int64(3), nil, nil, nan / nan, nil, nil, nil},
	}
	return s
}

// get asks for a path as somebody.
func (s *site) get(who, path string, headers ...string) answer {
	s.t.Helper()
	return s.ask(s.client(nil, true), http.MethodGet, path, s.token(who), "", headers...)
}

const march = "from=2026-03-01&to=2026-03-08"

// TestFigure: a figure has its rows, the statement behind it, and the columns' types, and is read
// of the tenant alone.
func TestFigure(t *testing.T) {
	s := figureSite(t, api.Config{})
	a := s.get("ana", "/v1/figures/totals?tenant=aurora&"+march)
	if a.StatusCode != http.StatusOK {
		t.Fatal(string(a.body))
	}
	f, _ := figures.Named("totals")
	sql, err := f.For(figures.Args{Tenant: "aurora", From: epoch, To: epoch.AddDate(0, 0, 7)})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(sql)
	want := `{"figure":"totals","sql":` + string(text) + `,"tenant":"aurora","from":"2026-03-01","to":"2026-03-08","as_of":"2026-03-01T00:00:00Z",` +
		`"state":{"partial":false,"destroyed_rows":0},"columns":[{"name":"merchant_name","type":"text"},{"name":"requests","type":"int"},` +
		`{"name":"amount","type":"decimal"},{"name":"total","type":"int"},{"name":"rate","type":"double"},{"name":"at","type":"instant"},{"name":"day","type":"date"},{"name":"open","type":"bool"}],` +
		`"rows":[["=cmd|' /C calc'!A0",12,"1234.5000",7,0.25,"2026-03-01T01:30:00Z","2026-03-01",true],` +
		`["\u003cscript\u003ealert(1)\u003c/script\u003e",3,null,null,null,null,null,null]]}`
	if d := cmp.Diff(want, string(a.body)); d != "" {
		t.Error(d)
	}
	if got := s.engine.sql[len(s.engine.sql)-1]; got != sql {
		t.Errorf("the engine was asked %s", got)
	}
	for _, r := range s.engine.reads {
		if d := r.Decision; len(d.Scopes) != 1 || len(d.Scopes[0].Tenants) != 1 || d.Scopes[0].Tenants[0] != "aurora" || d.Scopes[0].Others || !r.IsPinned {
			t.Errorf("%s is read with %+v", r.Table.FullName(), d.Scopes)
		}
	}
	records := s.audited()
	if !slices.Contains(records, "data_scientist/ana query cards.transactions allowed 127.0.0.1") {
		t.Errorf("%q", records)
	}

	a = s.get("ana", "/v1/figures/totals?"+march, "Accept", "text/csv")
	wantCSV := "merchant_name,requests,amount,total,rate,at,day,open\r\n'=cmd|' /C calc'!A0,12,1234.5000,7,0.25,2026-03-01T01:30:00Z,2026-03-01,true\r\n<script>alert(1)</script>,3,,,NaN,,,\r\n"
	if d := cmp.Diff(wantCSV, string(a.body)); d != "" || a.Header.Get("Content-Type") != "text/csv" || a.Header.Get("Content-Disposition") != `attachment; filename="totals_aurora_2026-03-01_2026-03-08.csv"` {
		t.Errorf("%v%s", a.Header, d)
	}
}

// TestFigureOnce: whoever has the figure is not sent it again, unless what it rests on or who asks
// is another.
func TestFigureOnce(t *testing.T) {
	s := figureSite(t, api.Config{})
	const path = "/v1/figures/totals?tenant=aurora&" + march
	first := s.get("ana", path)
	tag := first.Header.Get("ETag")
	if !strings.HasPrefix(tag, `W/"`) || first.Header.Get("Cache-Control") != "private, no-cache" || first.Header.Get("Vary") != "Accept" {
		t.Fatalf("%v", first.Header)
	}
	asked := len(s.engine.sql)
	a := s.get("ana", path, "If-None-Match", tag)
	if a.StatusCode != http.StatusNotModified || len(a.body) > 0 || a.Header.Get("ETag") != tag || len(s.engine.sql) != asked {
		t.Errorf("status %d, %d bytes, %d statements", a.StatusCode, len(a.body), len(s.engine.sql)-asked)
	}
	if records := s.audited(); records[len(records)-1] != "data_scientist/ana figure.unchanged figure totals aurora allowed 127.0.0.1" {
		t.Errorf("%q", records)
	}
	for name, again := range map[string]func() answer{
		"another caller": func() answer { return s.get("bea", path, "If-None-Match", tag) },
		"another range":  func() answer { return s.get("ana", path[:len(path)-1]+"9", "If-None-Match", tag) },
		"another format": func() answer { return s.get("ana", path+"&format=csv", "If-None-Match", tag) },
		"another tag":    func() answer { return s.get("ana", path, "If-None-Match", `W/"x"`) },
		"a reason given": func() answer {
			return s.get("ana", path, "If-None-Match", tag, "Cardlake-Reason", "x", "Cardlake-Break-Glass", "yes")
		},
		"a masked column": func() answer {
			s.permits = queriestest.Only(map[string]grants.Access{"card_token": grants.Masked}, "aurora")
			return s.get("ana", path, "If-None-Match", tag)
		},
		"the next snapshot": func() answer {
			s.engine.snapshot = 8
			s.permits = queriestest.Only(nil, "aurora")
			return s.get("ana", path, "If-None-Match", tag)
		},
	} {
		if a := again(); a.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", name, a.StatusCode)
		}
		s.engine.snapshot, s.permits = 0, queriestest.Only(nil, "aurora")
	}
	s.permits = queriestest.Nothing
	if a := s.get("ana", path, "If-None-Match", tag); a.problem(t) != "403 not-permitted" || a.Header.Get("ETag") != "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("when it is withdrawn: %s", a.body)
	}
	// What is of one card is kept nowhere, nor is what was asked of one.
	s.permits = queriestest.Only(nil, "aurora")
	if a := s.get("ana", "/v1/figures/transactions-total?tenant=aurora&last4=1111&"+march); a.StatusCode != http.StatusOK || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d, %v", a.StatusCode, a.Header)
	}
	s.engine.columns[0].Name = "last4"
	if a := s.get("ana", path); a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("ETag") == "" {
		t.Errorf("%v", a.Header)
	}
	// A figure that fails has no tag.
	s.engine.failAt, s.engine.err = 2, errDisk
	if a := s.get("ana", path); a.problem(t) != "500 internal" || a.Header.Get("ETag") != "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a.Header)
	}
}

// TestFigureParameters: a fault is told by the parameter's name, never by what it holds.
func TestFigureParameters(t *testing.T) {
	s := figureSite(t, api.Config{FiguresPerMinute: 6000, FiguresBurst: 1000})
	const secret = "4111111111111111"
	for query, want := range map[string]string{
		"totals?" + march + "&tenant=aurora&tenant=aurora":             "tenant must be there once",
		"totals?" + march + "&tenant=Aurora%27--":                      "tenant must be the name of a tenant",
		"totals?" + march + "&tenant=" + secret:                        "tenant must be",
		"totals?tenant=aurora&to=2026-03-08":                           "from must be a day",
		"totals?tenant=aurora&from=2026-03-01T00:00:00Z&to=2026-03-08": "from must be a day",
		"totals?tenant=aurora&from=2026-03-01&to=" + secret:            "to must be a day",
		"totals?tenant=aurora&from=2026-03-08&to=2026-03-01":           "to must be",
		"totals?tenant=aurora&from=0001-01-01&to=9999-12-31":           "from must be",
		"totals?" + march + "&" + secret + "=1":                        "there is a parameter that is none of",
		"totals?" + march + "&limit=1":                                 "there is a parameter that is none of",
		"totals?" + march + "&tenant=%ff":                              "tenant must be UTF-8",
		"totals?" + march + "&tenant=%00":                              "tenant must be UTF-8",
		"totals?" + march + ";a=b&%zz":                                 "the parameters are not well-formed",
		"volume?" + march + "&grain=" + secret:                         "grain must be one of",
		"volume?" + march + "&currency=brl":                            "currency must be",
		"transactions?" + march + "&limit=0":                           "limit must be",
		"transactions?" + march + "&limit=99999999999999999999":        "limit must be",
		"transactions?" + march + "&text=" + secret:                    "text must not",
		"transactions?" + march + "&last4=11111":                       "last4 must be",
		"transactions?" + march + "&cursor=" + secret:                  "cursor must be",
		"transactions?" + march + "&sort=largest":                      "currency is missing",
		"rejected?" + march + "&tenant=aurora":                         "tenant cannot be named",
	} {
		a := s.get("ana", "/v1/figures/"+query)
		var p struct{ Detail string }
		_ = json.Unmarshal(a.body, &p)
		if a.problem(t) != "400 invalid-request" || !strings.HasPrefix(p.Detail, want) || strings.Contains(string(a.body), "1111") {
			t.Errorf("%s: status %d: %s", query, a.StatusCode, p.Detail)
		}
	}
	if a := s.get("ana", "/v1/figures/nothing?"+march); a.problem(t) != "404 no-such-resource" {
		t.Errorf("%s", a.body)
	}
	for _, accept := range []string{"text/html", "application/pdf"} {
		if a := s.get("ana", "/v1/figures/totals?"+march, "Accept", accept); a.problem(t) != "406 not-acceptable" {
			t.Errorf("%s", a.body)
		}
	}
	if len(s.engine.sql) != 0 {
		t.Errorf("%q reached the engine", s.engine.sql)
	}
}

// TestFigureTenant: whoever has one tenant need not name it, and nobody has another's.
func TestFigureTenant(t *testing.T) {
	s := figureSite(t, api.Config{})
	if a := s.get("ana", "/v1/figures/totals?"+march); !strings.Contains(string(a.body), `"tenant":"aurora"`) {
		t.Errorf("%s", a.body)
	}
	for _, other := range []string{"bolivar", "no-such-tenant"} {
		if a := s.get("ana", "/v1/figures/totals?tenant="+other+"&"+march); a.problem(t) != "403 not-permitted" || strings.Contains(string(a.body), other) {
			t.Errorf("%s: %s", other, a.body)
		}
	}
	refused := 0
	for _, r := range s.log.Records() {
		if r.Outcome == "refused" {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%q", s.audited())
	}
	s.permits = queriestest.Only(nil, "aurora", "bolivar")
	if a := s.get("ana", "/v1/figures/totals?"+march); a.problem(t) != "400 invalid-request" || !strings.Contains(string(a.body), "tenant is missing") {
		t.Errorf("%s", a.body)
	}
	// A figure of the lake is not of one tenant.
	if a := s.get("ana", "/v1/figures/jobs"); a.StatusCode != http.StatusOK || strings.Contains(string(a.body), `"tenant":"`) {
		t.Errorf("%s", a.body)
	}
}

// TestFigurePages: next leads on, and is not there on the last page.
func TestFigurePages(t *testing.T) {
	s := figureSite(t, api.Config{})
	s.engine.columns = []queries.Column{{Name: "event_time", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}}, {Name: "event_id", Type: arrow.BinaryTypes.String}}
	s.engine.values = [][]any{{epoch.Add(2), "b"}, {epoch.Add(time.Second), "a'; DROP"}}
	next := func(a answer) string {
		var f struct{ Next string }
		if err := json.Unmarshal(a.body, &f); err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("%v: %s", err, a.body)
		}
		return f.Next
	}
	const path = "/v1/figures/transactions?" + march + "&limit=2"
	cursor := next(s.get("ana", path))
	if cursor == "" {
		t.Fatal("there is no next page")
	}
	if got := next(s.get("ana", path+"&cursor="+cursor)); got == "" {
		t.Error("a full page has no next")
	}
	if sql := s.engine.sql[len(s.engine.sql)-1]; !strings.Contains(sql, "'a''; DROP'") {
		t.Errorf("%s", sql)
	}
	if got := next(s.get("ana", strings.Replace(path, "limit=2", "limit=3", 1))); got != "" {
		t.Errorf("the last page has next %q", got)
	}
}

// TestFiguresListed: each figure is listed with what it takes.
func TestFiguresListed(t *testing.T) {
	s := figureSite(t, api.Config{})
	var got struct {
		Figures []struct {
			Name, Page, Doc, Range, Scope string
			Params                        []struct{ Name, Type, Doc string }
		}
	}
	a := s.get("ana", "/v1/figures")
	if err := json.Unmarshal(a.body, &got); err != nil || len(got.Figures) != len(figures.All) {
		t.Fatalf("%v: %d figures", err, len(got.Figures))
	}
	for _, f := range got.Figures {
		if f.Name == "" || f.Page == "" || f.Doc == "" || !slices.Contains([]string{"none", "required", "optional"}, f.Range) || !slices.Contains([]string{"tenant", "any", "lake"}, f.Scope) {
			t.Errorf("%+v", f)
		}
		for _, p := range f.Params {
			if p.Name == "" || p.Type == "" || p.Doc == "" {
				t.Errorf("%s: %+v", f.Name, p)
			}
		}
	}
}

// TestFigureWaits: figures wait for a place among the caller's statements, and have a rate of
// their own.
func TestFigureWaits(t *testing.T) {
	s := figureSite(t, api.Config{PerPrincipal: 1, PerMinute: 1, Burst: 4, FiguresPerMinute: 1, FiguresBurst: 3})
	const path = "/v1/figures/totals?" + march
	release := make(chan struct{})
	s.engine.release = release
	done := make(chan answer, 2)
	for range 2 {
		go func() { done <- s.get("ana", path) }()
	}
	<-s.engine.asked
	if a := s.query(); a.problem(t) != "429 too-many-requests" {
		t.Errorf("a statement beside them: %s", a.body)
	}
	close(release)
	<-s.engine.asked
	for range 2 {
		if a := <-done; a.StatusCode != http.StatusOK {
			t.Errorf("%s", a.body)
		}
	}
	s.engine.mu.Lock()
	s.engine.release = nil
	s.engine.mu.Unlock()
	if a := s.get("ana", path); a.StatusCode != http.StatusOK {
		t.Errorf("%s", a.body)
	}
	if a := s.get("ana", path); a.problem(t) != "429 too-many-requests" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%s", a.body)
	}
	if a := s.get("bea", path); a.StatusCode != http.StatusOK {
		t.Errorf("another caller: %s", a.body)
	}
	for range 3 {
		if a := s.get("ana", "/v1/me"); a.StatusCode != http.StatusOK {
			t.Errorf("other calls: %s", a.body)
		}
	}
}

// granted is a site with real grants: each principal reads what its tenant has.
func granted(t *testing.T, change ...func(*api.Deps)) *site {
	t.Helper()
	tenants := grantstest.Tenants{grantstest.Tenant("aurora"), {Name: "bolivar", Country: "CO", Currency: "COP", Status: catalog.TenantSuspended}}
	g := grantstest.Open(t, `
@id("own") permit (principal, action in [Lake::Action::"query", Lake::Action::"export", Lake::Action::"review"], resource)
	when { principal has tenant && resource has tenant && resource.tenant == principal.tenant };
`, tenants...)
	s := newSite(t, api.Config{PerMinute: 6000, Burst: 1000}, func(s *site, d *api.Deps, _ *api.Files) {
		d.Tenants, d.Access = tenants, g
		for _, c := range change {
			c(d)
		}
	})
	s.permits = g.Decide
	of := "oidc:" + s.issuer.URL + "#"
	s.known.of = map[string]grants.Principal{
		of + "ana": {Kind: grants.TenantAnalyst, Name: "analyst@aurora"}, of + "bea": {Kind: grants.TenantAnalyst, Name: "analyst@bolivar"},
		of + "all": grantstest.All, of + "eva": {Kind: grants.Operator, Name: "ana"},
	}
	return s
}
