package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// page is a JSON answer of a query.
type page struct {
	Query, Next string
	Page        int64
	AsOf        string `json:"as_of"`
	Rows        []struct{ N int64 }
	End         struct{ Rows *int64 }
}

func (a answer) page(t *testing.T) (p page) {
	t.Helper()
	if err := json.Unmarshal(a.body, &p); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %.300s", a.StatusCode, err, a.body)
	}
	return p
}

// queryState is what is told of a query.
type queryState struct {
	ID, State, First string
	Rows             *int64
	Pages            int64
	Error            struct{ Type string }
}

func (s *site) post(body string, headers ...string) answer {
	s.t.Helper()
	return s.ask(s.client(nil, true), http.MethodPost, "/v1/query", s.token("ana"), body, headers...)
}

func (s *site) call(method, path, who string, headers ...string) answer {
	s.t.Helper()
	return s.ask(s.client(nil, true), method, path, s.token(who), "", headers...)
}

func (s *site) stateOf(id string) (q queryState) {
	s.t.Helper()
	a := s.call(http.MethodGet, "/v1/queries/"+id, "ana")
	if err := json.Unmarshal(a.body, &q); err != nil || a.StatusCode != http.StatusOK {
		s.t.Fatalf("status %d: %s", a.StatusCode, a.body)
	}
	return q
}

// waitUntil asks until the query is in the state.
func (s *site) waitUntil(id, state string) queryState {
	s.t.Helper()
	for range 500 {
		if q := s.stateOf(id); q.State == state {
			return q
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("%s is not %s: %+v", id, state, s.stateOf(id))
	return queryState{}
}

var generous = api.Config{PerMinute: 60_000, Burst: 10_000}

// TestPages: the pages together are the answer, each is the same each time, in every format, on
// record, and its rows lie nowhere in clear.
func TestPages(t *testing.T) {
	cfg := generous
	cfg.SpoolDir = t.TempDir()
	s := newSite(t, cfg)
	s.engine.rows = 10_500
	a := s.post(`{"sql": "SELECT 1", "page_rows": 1000}`)
	p := a.page(t)
	if p.Query != a.Header.Get("X-Request-Id") || p.AsOf != "2026-03-01T00:00:00Z" || a.Header.Get("Link") != "<"+p.Next+`>; rel="next"` {
		t.Errorf("%+v, %v", p, a.Header)
	}
	var all []int64
	for n := int64(1); ; n++ {
		if p.Page != n || *p.End.Rows != int64(len(p.Rows)) {
			t.Fatalf("page %d: %+v", n, p.End)
		}
		for _, row := range p.Rows {
			all = append(all, row.N)
		}
		if p.Next == "" {
			break
		}
		again := s.call(http.MethodGet, p.Next, "ana")
		p = again.page(t)
		repeated := s.call(http.MethodGet, fmt.Sprintf("/v1/queries/%s?page=%d", p.Query, p.Page), "ana")
		if r := repeated.page(t); fmt.Sprint(p.Rows, p.Next, p.AsOf) != fmt.Sprint(r.Rows, r.Next, r.AsOf) {
			t.Errorf("page %d is another the second time", p.Page)
		}
		records := s.log.Records()
		records = slices.DeleteFunc(records, func(r audit.Record) bool { return r.Request != repeated.Header.Get("X-Request-Id") })
		if len(records) != 2 {
			t.Fatalf("page %d: %+v", p.Page, records)
		}
		if last := records[1]; last.Action != "query.page.done" || last.Numbers["rows"] != int64(len(p.Rows)) {
			t.Errorf("page %d: record %+v", p.Page, last)
		}
		if asked := records[0]; asked.Action != "query.page" || asked.Detail["of"] != p.Query || asked.Detail["part"] != fmt.Sprintf("page %d", p.Page) || asked.Resource != "cards.transactions" {
			t.Errorf("page %d: record %+v", p.Page, asked)
		}
	}
	if len(all) != 10_500 || !slices.IsSorted(all) || all[0] != 1 || all[10_499] != 10_500 {
		t.Errorf("%d rows", len(all))
	}
	if n := len(s.engine.sql); n != 1 {
		t.Errorf("the statement ran %d times", n)
	}
	for format, want := range map[string]string{"csv": "text/csv", "arrow": "application/vnd.apache.arrow.stream", "parquet": "application/vnd.apache.parquet"} {
		b := s.call(http.MethodGet, "/v1/queries/"+p.Query+"?page=11&format="+format, "ana")
		if b.StatusCode != 200 || b.Header.Get("Content-Type") != want || b.Header.Get("Cardlake-Rows") != "500" || b.Header.Get("Link") != "" {
			t.Errorf("%s: %d %v", format, b.StatusCode, b.Header)
		}
	}
	if q := s.stateOf(p.Query); q.State != "done" || *q.Rows != 10_500 || q.Pages != 11 || q.First != "/v1/queries/"+p.Query+"?page=1" {
		t.Errorf("%+v", q)
	}
	for path, want := range map[string]string{"?page=12": "404 no-such-page", "?page=0": "400 invalid-request", "?page=x": "400 invalid-request", "?page=1&format=xml": "406 not-acceptable"} {
		if a := s.call(http.MethodGet, "/v1/queries/"+p.Query+path, "ana"); a.problem(t) != want {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	if files, err := os.ReadDir(cfg.SpoolDir); err != nil || len(files) != 0 {
		t.Errorf("files with names are left: %v, %v", files, err)
	}
	for _, body := range []string{`{"sql": "x", "page_rows": -1}`, `{"sql": "x", "page_rows": 100001}`, `{"sql": "x", "timeout": -1}`, `{"sql": "x", "timeout": 1e9}`} {
		if a := s.post(body); a.problem(t) != "400 invalid-request" {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	// No rows are one page.
	s.engine.rows = 0
	if p := s.post(`{"sql": "SELECT 1", "page_rows": 10}`).page(t); len(p.Rows) != 0 || p.Next != "" || *p.End.Rows != 0 {
		t.Errorf("%+v", p)
	}
}

// TestPagesAreWhoAsked: to others they are not there, and who may see less by now gets nothing.
func TestPagesAreWhoAsked(t *testing.T) {
	s := newSite(t, generous)
	s.engine.rows = 30
	p := s.post(`{"sql": "SELECT 1", "page_rows": 10}`).page(t)
	forged := strings.Repeat("a", 32)
	for _, id := range []string{p.Query, forged} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			if a := s.call(method, "/v1/queries/"+id, "bea"); a.problem(t) != "404 no-such-query" {
				t.Errorf("%s: %s", method, a.body)
			}
		}
		if a := s.call(http.MethodGet, "/v1/queries/"+id+"?page=2", "bea"); a.problem(t) != "404 no-such-query" {
			t.Error(string(a.body))
		}
	}
	if a := s.call(http.MethodGet, "/v1/queries", "bea"); string(a.body) != `{"queries":[]}` {
		t.Errorf("bea is told of %s", a.body)
	}
	// What is given is less, in each of three ways: the page is refused, and the rows are gone even
	// when it is given again.
	less := map[string]queriestest.Permits{
		"nothing":  queriestest.Nothing,
		"a tenant": queriestest.Only(nil, "aurora"),
		"a masked column": func(c grants.Caller, a grants.Action, table *cardlake.Table) *grants.Decision {
			return queriestest.Decision(c, a, table, grants.Scope{Others: true, Columns: queriestest.Columns(table, map[string]grants.Access{"card_token": grants.Masked})})
		},
	}
	for name, permits := range less {
		p := s.post(`{"sql": "SELECT 1", "page_rows": 10}`).page(t)
		s.permits = permits
		if a := s.call(http.MethodGet, p.Next, "ana"); a.problem(t) != "403 not-permitted" {
			t.Errorf("%s: %s", name, a.body)
		}
		records := s.log.Records()
		if last := records[len(records)-1]; last.Action != "query.page" || last.Outcome != "refused" {
			t.Errorf("%s: %+v", name, last)
		}
		s.permits = queriestest.Everything
		if a := s.call(http.MethodGet, p.Next, "ana"); a.problem(t) != "409 cancelled" && a.problem(t) != "410 expired" {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	// Who asked in an emergency says so for each page, and loses nothing by forgetting it.
	emergency := []string{"Cardlake-Break-Glass", "yes", "Cardlake-Reason", "an incident"}
	s.permits = func(c grants.Caller, a grants.Action, table *cardlake.Table) *grants.Decision {
		if c.BreakGlass {
			return queriestest.Everything(c, a, table)
		}
		return queriestest.Nothing(c, a, table)
	}
	glass := s.post(`{"sql": "SELECT 1", "page_rows": 10}`, emergency...).page(t)
	if a := s.call(http.MethodGet, glass.Next, "ana"); a.problem(t) != "403 not-permitted" {
		t.Error(string(a.body))
	}
	if p := s.call(http.MethodGet, glass.Next, "ana", emergency...).page(t); len(p.Rows) != 10 {
		t.Errorf("%+v", p)
	}
	s.permits = queriestest.Everything
	// Without the record there is no page.
	s.log.Fail(errDisk)
	if a := s.call(http.MethodGet, p.Next, "ana"); a.problem(t) != "503 audit-unavailable" {
		t.Error(string(a.body))
	}
	s.log.Fail(nil)
	if p := s.call(http.MethodGet, p.Next, "ana").page(t); len(p.Rows) != 10 {
		t.Errorf("%+v", p)
	}
}

// TestAsync: the answer comes later, is cancelled, fails, or expires, and each is told.
func TestAsync(t *testing.T) {
	cfg := generous
	var ahead atomic.Int64
	cfg.Now, cfg.KeepFor = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }, time.Minute
	s := newSite(t, cfg)
	start := func() string {
		a := s.post(`{"sql": "SELECT 1", "async": true, "page_rows": 2}`)
		var q queryState
		if err := json.Unmarshal(a.body, &q); err != nil || a.StatusCode != http.StatusAccepted || a.Header.Get("Location") != "/v1/queries/"+q.ID || q.ID != a.Header.Get("X-Request-Id") {
			t.Fatalf("status %d, %v: %s", a.StatusCode, a.Header, a.body)
		}
		return q.ID
	}
	id := start()
	q := s.waitUntil(id, "done")
	if p := s.call(http.MethodGet, q.First, "ana").page(t); len(p.Rows) != 2 || p.Next == "" {
		t.Errorf("%+v", p)
	}
	ahead.Add(int64(55 * time.Second))
	if s.stateOf(id).State != "done" {
		t.Error("it expired early")
	}
	ahead.Add(int64(6 * time.Second))
	if q := s.stateOf(id); q.State != "expired" {
		t.Errorf("%+v", q)
	}
	if a := s.call(http.MethodGet, q.First, "ana"); a.problem(t) != "410 expired" {
		t.Error(string(a.body))
	}

	s.engine.wait = true
	id = start()
	<-s.engine.asked
	if q := s.stateOf(id); q.State != "running" || q.First != "" || *q.Rows != 0 {
		t.Errorf("%+v", q)
	}
	if a := s.call(http.MethodDelete, "/v1/queries/"+id, "ana"); a.StatusCode != http.StatusNoContent {
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
	<-s.engine.ended
	if q := s.stateOf(id); q.State != "cancelled" {
		t.Errorf("%+v", q)
	}
	if a := s.call(http.MethodGet, "/v1/queries/"+id+"?page=1", "ana"); a.problem(t) != "409 cancelled" {
		t.Error(string(a.body))
	}
	// One that streams is cancelled from another connection.
	done := make(chan answer, 1)
	go func() { done <- s.query() }()
	<-s.engine.asked
	var list struct{ Queries []queryState }
	if err := json.Unmarshal(s.call(http.MethodGet, "/v1/queries", "ana").body, &list); err != nil || list.Queries[0].State != "running" {
		t.Fatalf("%v, %+v", err, list)
	}
	if a := s.call(http.MethodDelete, "/v1/queries/"+list.Queries[0].ID, "ana"); a.StatusCode != http.StatusNoContent {
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
	if a := <-done; a.problem(t) != "409 cancelled" {
		t.Errorf("%s", a.body)
	}
	<-s.engine.ended
	s.engine.wait = false

	a := s.post(`{"sql": "bad", "async": true}`)
	var bad queryState
	if err := json.Unmarshal(a.body, &bad); err != nil {
		t.Fatal(err)
	}
	if q := s.waitUntil(bad.ID, "failed"); q.Error.Type != "urn:cardlake:api:statement" {
		t.Errorf("%+v", q)
	}
	if a := s.call(http.MethodGet, "/v1/queries/"+bad.ID+"?page=1", "ana"); a.problem(t) != "422 statement" {
		t.Error(string(a.body))
	}
	s.engine.panicAt = 2
	id = start()
	s.waitUntil(id, "failed")
	if strings.Contains(s.text.String(), "4111111111111111") {
		t.Error("the value that it panicked with is in the log")
	}
}

// TestTimeoutOfACaller tightens the server's.
func TestTimeoutOfACaller(t *testing.T) {
	s := newSite(t, generous)
	s.engine.wait = true
	for _, body := range []string{`{"sql": "SELECT 1", "timeout": 0.05}`, `{"sql": "SELECT 1", "timeout": 0.05, "page_rows": 10}`} {
		if a := s.post(body); a.problem(t) != "422 out-of-time" {
			t.Error(string(a.body))
		}
		<-s.engine.ended
	}
}

// TestIdempotency: the same key and request have the same answer.
func TestIdempotency(t *testing.T) {
	s := newSite(t, generous)
	key := []string{"Idempotency-Key", `"8e03978e-40d5-43dd-bc93-6894a57f9324"`}
	first := s.post(statement, key...)
	if n := len(first.page(t).Rows); n != 3 {
		t.Errorf("%d rows", n)
	}
	again := s.post(statement, key...)
	if first.page(t).Query != again.page(t).Query || len(s.engine.sql) != 1 || first.Header.Get("X-Request-Id") == again.Header.Get("X-Request-Id") {
		t.Errorf("%s\n%s\n%d statements ran", first.body, again.body, len(s.engine.sql))
	}
	if a := s.post(`{"sql": "SELECT 2"}`, key...); a.problem(t) != "422 key-reused" {
		t.Error(string(a.body))
	}
	if a := s.post(statement, append(key, "Accept", "text/csv")...); a.problem(t) != "422 key-reused" {
		t.Error(string(a.body))
	}
	// Another caller's key is another key.
	if a := s.ask(s.client(nil, true), http.MethodPost, "/v1/query", s.token("bea"), `{"sql": "SELECT 2"}`, key...); a.StatusCode != http.StatusOK || len(s.engine.sql) != 2 {
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
	for _, bad := range []string{"", `"`, `"a`, "a b", "é", strings.Repeat("x", 256)} {
		if a := s.post(statement, "Idempotency-Key", bad); a.problem(t) != "400 invalid-request" {
			t.Errorf("%q: %s", bad, a.body)
		}
	}
	s.engine.release = make(chan struct{})
	done := make(chan answer, 1)
	go func() { done <- s.post(statement, "Idempotency-Key", "slow") }()
	<-s.engine.asked
	if a := s.post(statement, "Idempotency-Key", "slow"); a.problem(t) != "409 key-in-use" || a.Header.Get("Retry-After") == "" {
		t.Error(string(a.body))
	}
	close(s.engine.release)
	if a := <-done; a.StatusCode != http.StatusOK {
		t.Error(string(a.body))
	}
	s.engine.release = nil
	// What failed is asked again.
	s.engine.err = errDisk
	if a := s.post(statement, "Idempotency-Key", "fails"); a.problem(t) != "500 internal" {
		t.Error(string(a.body))
	}
	s.engine.err = nil
	if a := s.post(statement, "Idempotency-Key", "fails"); a.StatusCode != http.StatusOK {
		t.Error(string(a.body))
	}
}

// TestKeptAnswersAreBounded: by number and bytes, for each caller by itself.
func TestKeptAnswersAreBounded(t *testing.T) {
	cfg := generous
	cfg.KeptAnswers, cfg.KeptBytesEach = 2, 1<<20
	s := newSite(t, cfg)
	body := `{"sql": "SELECT 1", "page_rows": 1}`
	bea := s.ask(s.client(nil, true), http.MethodPost, "/v1/query", s.token("bea"), body).page(t)
	var ids []string
	for range 3 {
		ids = append(ids, s.post(body).page(t).Query)
	}
	for i, want := range []string{"expired", "done", "done"} {
		if q := s.stateOf(ids[i]); q.State != want {
			t.Errorf("query %d is %s", i, q.State)
		}
	}
	if a := s.call(http.MethodGet, bea.Next, "bea"); a.StatusCode != http.StatusOK {
		t.Errorf("an answer of bea's gave way to ana's: %s", a.body)
	}
	s.engine.rows = 1_000_000
	if a := s.post(`{"sql": "SELECT 1", "page_rows": 100000, "async": true}`); a.StatusCode != http.StatusAccepted {
		t.Fatal(string(a.body))
	} else {
		var q queryState
		if err := json.Unmarshal(a.body, &q); err != nil {
			t.Fatal(err)
		}
		if q := s.waitUntil(q.ID, "failed"); q.Error.Type != "urn:cardlake:api:answer-too-large" {
			t.Errorf("%+v", q)
		}
	}
	if a := s.call(http.MethodGet, bea.Next, "bea"); a.StatusCode != http.StatusOK {
		t.Errorf("an answer of bea's gave way to ana's: %s", a.body)
	}
	if q := s.stateOf(ids[2]); q.State != "expired" {
		t.Errorf("%+v", q)
	}
}

// TestServeEndsWhatRuns: also what nobody waits for.
func TestServeEndsWhatRuns(t *testing.T) {
	s := newSite(t, generous)
	s.engine.wait = true
	if a := s.post(`{"sql": "SELECT 1", "async": true}`); a.StatusCode != http.StatusAccepted {
		t.Fatal(string(a.body))
	}
	<-s.engine.asked
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	select {
	case <-s.engine.ended:
	default:
		t.Error("the statement runs on")
	}
}
