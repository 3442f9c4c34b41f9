package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// TestFormats: the same answer in every format, and the same id in the answer and in the log.
func TestFormats(t *testing.T) {
	s := newSite(t, api.Config{})
	for _, tc := range []struct {
		accept, body, want string
		check              func(text []byte) error
	}{
		{"", statement, "application/json", nil},
		{"*/*", statement, "application/json", nil},
		{"text/csv", statement, "text/csv", nil},
		{"text/*;q=0.5, application/json;q=0.1", statement, "text/csv", nil},
		{"application/*", statement, "application/json", nil},
		{"text/csv;q=0, */*;q=0.1", statement, "application/json", nil},
		{"text/csv", `{"sql": "SELECT 1", "format": "arrow"}`, "application/vnd.apache.arrow.stream", func(text []byte) error {
			r, err := ipc.NewReader(bytes.NewReader(text))
			if err != nil {
				return err
			}
			defer r.Release()
			if !r.Next() || r.RecordBatch().NumRows() != 3 {
				return errors.New("not three rows")
			}
			return nil
		}},
		{"application/vnd.apache.parquet", statement, "application/vnd.apache.parquet", func(text []byte) error {
			r, err := file.NewParquetReader(bytes.NewReader(text))
			if err == nil && r.NumRows() != 3 {
				err = errors.New("not three rows")
			}
			return err
		}},
	} {
		a := s.ask(s.client(nil, true), http.MethodPost, "/v1/query", s.token("ana"), tc.body, "Accept", tc.accept)
		if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != tc.want || a.ProtoMajor != 2 {
			t.Errorf("%q: status %d, %s, %s: %s", tc.accept, a.StatusCode, a.Proto, a.Header.Get("Content-Type"), a.body)
		}
		if tc.check != nil {
			if err := tc.check(a.body); err != nil {
				t.Errorf("%s: %v", tc.want, err)
			}
		}
		if tc.want != "application/json" && a.Header.Get("Cardlake-Rows") != "3" {
			t.Errorf("%s: rows %q", tc.want, a.Header.Get("Cardlake-Rows"))
		}
		if got := a.Header.Get("Cardlake-As-Of"); got != "2026-03-01T00:00:00Z" {
			t.Errorf("as of %q", got)
		}
		records := s.log.Records()
		if last := records[len(records)-1]; last.Request != a.Header.Get("X-Request-Id") || last.Action != "query.done" {
			t.Errorf("record %+v", last)
		}
	}
	a := s.query()
	want := `{"request":"` + a.Header.Get("X-Request-Id") + `","as_of":"2026-03-01T00:00:00Z","columns":[{"name":"n","type":"int64"},{"name":"text","type":"utf8"}],"rows":[
{"n":1,"text":"value"},
{"n":2,"text":"value"},
{"n":3,"text":"value"}
]
,"end":{"rows":3}}
`
	if d := cmp.Diff(want, string(a.body)); d != "" {
		t.Error(d)
	}
	if a := s.query("Accept", "text/html"); a.problem(t) != "406 not-acceptable" {
		t.Error(string(a.body))
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": "",
		"Cross-Origin-Resource-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := s.metric("cardlake_api_rows_total"); got != 27 {
		t.Errorf("%v rows were counted", got)
	}
}

// TestAnswerThatBreaksOff: an answer that is cut never passes for a whole one.
func TestAnswerThatBreaksOff(t *testing.T) {
	s := newSite(t, api.Config{PerMinute: 6000, Burst: 100})
	const many = 20_000 // more than is held back
	secret := errors.New("a value: 4111111111111111")
	for _, h2 := range []bool{true, false} {
		for _, format := range []string{"csv", "arrow", "parquet", "json"} {
			t.Run(fmt.Sprint(format, " ", h2), func(t *testing.T) {
				ask := func() answer {
					return s.ask(s.client(nil, h2), http.MethodPost, "/v1/query", s.token("ana"), `{"sql": "SELECT 1", "format": "`+format+`"}`)
				}
				s.engine.rows, s.engine.failAt, s.engine.err = 300_000, 290_000, secret
				a := ask()
				var end struct {
					End struct {
						Rows  *int
						Error struct{ Type, Request string }
					}
				}
				switch {
				case a.StatusCode != http.StatusOK || len(a.body) < 64<<10:
					t.Fatalf("status %d, %d bytes", a.StatusCode, len(a.body))
				case format != "json":
					if a.err == nil || a.Trailer.Get("Cardlake-Rows") != "" {
						t.Errorf("error %v, trailer %v: the client takes it for whole", a.err, a.Trailer)
					}
				case json.Unmarshal(a.body, &end) != nil || end.End.Rows != nil || end.End.Error.Type != "urn:cardlake:api:internal" || end.End.Error.Request != a.Header.Get("X-Request-Id"):
					t.Errorf("ends in %s", a.body[len(a.body)-300:])
				}
				if bytes.Contains(a.body, []byte("4111111111111111")) {
					t.Error("a value is in the error")
				}

				s.engine.failAt, s.engine.err, s.engine.rows = 0, nil, many*3
				a = ask()
				if a.err != nil || a.StatusCode != http.StatusOK {
					t.Fatal(a.err)
				}
				if format == "json" {
					if json.Unmarshal(a.body, &end) != nil || end.End.Rows == nil || *end.End.Rows != many*3 {
						t.Errorf("ends in %s", a.body[len(a.body)-300:])
					}
				} else if rows := a.Trailer.Get("Cardlake-Rows") + a.Header.Get("Cardlake-Rows"); rows != fmt.Sprint(many*3) {
					t.Errorf("rows %q", rows)
				}

				// What fails early has a status, in every format.
				s.engine.failAt, s.engine.err = 100, secret
				if a := ask(); a.problem(t) != "500 internal" || bytes.Contains(a.body, []byte("4111111111111111")) {
					t.Error(string(a.body))
				}
			})
		}
	}
}

func TestErrors(t *testing.T) {
	s := newSite(t, api.Config{PerMinute: 6000, Burst: 100})
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&queries.Error{Message: "a value does not suit", Offset: 3}, "422 statement"},
		{fmt.Errorf("wrapped: %w", queries.ErrTimeout), "504 timeout"},
		{context.DeadlineExceeded, "504 timeout"},
		{queries.ErrTooManyRows, "422 too-many-rows"},
		{errors.New("object s3://x/4111111111111111 is gone"), "500 internal"},
	} {
		s.engine.err = tc.err
		if a := s.query(); a.problem(t) != tc.want || bytes.Contains(a.body, []byte("s3:")) {
			t.Errorf("%v: %s", tc.err, a.body)
		}
	}
	s.engine.err = nil
	a := s.ask(s.client(nil, true), http.MethodPost, "/v1/query", s.token("ana"), `{"sql": "bad"}`)
	if a.problem(t) != "422 statement" || !bytes.Contains(a.body, []byte(`"hint":"mend it","offset":0`)) {
		t.Error(string(a.body))
	}
	s.permits = queriestest.Nothing
	if a := s.query(); a.problem(t) != "403 not-permitted" || !bytes.Contains(a.body, []byte(`"detail":"not permitted"`)) {
		t.Error(string(a.body))
	}
	for _, path := range []string{"/v1/tables", "/v1/tables/cards.transactions"} {
		if a := s.ask(s.client(nil, true), http.MethodGet, path, s.token("ana"), ""); a.problem(t) != "403 not-permitted" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	s.permits = queriestest.Everything
	s.log.Fail(errDisk)
	for _, path := range []string{"/v1/tables", "/v1/tables/cards.transactions", "/v1/me"} {
		if a := s.ask(s.client(nil, true), http.MethodGet, path, s.token("ana"), ""); a.problem(t) != "503 audit-unavailable" || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	asked := len(s.engine.sql)
	if a := s.query(); a.problem(t) != "503 audit-unavailable" || len(s.engine.sql) != asked {
		t.Error(string(a.body))
	}
}

// TestPanic: the value that a call panics with is nowhere.
func TestPanic(t *testing.T) {
	for _, after := range []int{1, 20_000} {
		s := newSite(t, api.Config{})
		s.engine.rows, s.engine.panicAt = 100_000, after
		a := s.query("Accept", "text/csv")
		if after == 1 && a.problem(t) != "500 internal" || after > 1 && a.err == nil {
			t.Errorf("status %d, %v: %.200s", a.StatusCode, a.err, a.body)
		}
		if text := s.text.String(); strings.Contains(text+string(a.body), "4111111111111111") || !strings.Contains(text, "a call panicked") || !strings.Contains(text, a.Header.Get("X-Request-Id")) {
			t.Errorf("log: %s", text)
		}
		if a := s.query("Accept", "text/csv"); s.metric("cardlake_api_queries_running") != 0 {
			t.Errorf("its place is taken: %d", a.StatusCode)
		}
	}
}

func TestBodies(t *testing.T) {
	s := newSite(t, api.Config{PerMinute: 6000, Burst: 100, MaxBody: 1000})
	long := `{"sql": "` + strings.Repeat("a", 1000) + `"}`
	for _, tc := range []struct {
		name, body, contentType, want string
	}{
		{"too large", long, "application/json", "413 too-large"},
		{"a form", "sql=SELECT", "application/x-www-form-urlencoded", "415 content-type"},
		{"plain text, as a page of another origin may send", statement, "text/plain", "415 content-type"},
		{"no type", statement, "", "415 content-type"},
		{"no JSON", "SELECT 4111111111111111", "application/json", "400 invalid-request"},
		{"two values", statement + statement, "application/json", "400 invalid-request"},
		{"an unknown field", `{"sql": "SELECT 1", "as": "operator/root"}`, "application/json", "400 invalid-request"},
		{"a list", `["SELECT 1"]`, "application/json", "400 invalid-request"},
		{"no statement", `{}`, "application/json", "422 statement"},
		{"empty", "", "application/json", "400 invalid-request"},
		{"unknown format", `{"sql": "SELECT 1", "format": "xml"}`, "application/json", "406 not-acceptable"},
	} {
		a := s.ask(s.client(nil, true), http.MethodPost, "/v1/query", s.token("ana"), tc.body, "Content-Type", tc.contentType)
		if got := a.problem(t); got != tc.want || bytes.Contains(a.body, []byte("4111111111111111")) {
			t.Errorf("%s: %s: %s", tc.name, got, a.body)
		}
	}
	if len(s.engine.sql) > 0 {
		t.Errorf("the engine was asked: %q", s.engine.sql)
	}
	a := s.ask(s.client(nil, true), http.MethodPost, "/v1/query", s.token("ana"), statement, "Content-Type", "application/json; charset=utf-8")
	if a.StatusCode != http.StatusOK {
		t.Error(string(a.body))
	}
	for path, want := range map[string]string{"/v1/nothing": "404 no-such-resource", "/": "404 no-such-resource", "/v1/query": "405 no-such-method", "/v1/tables/none.such": "404 no-such-table"} {
		if a := s.ask(s.client(nil, true), http.MethodGet, path, s.token("ana"), ""); a.problem(t) != want {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	if a := s.ask(s.client(nil, true), http.MethodOptions, "/v1/query", "", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"); a.StatusCode != 405 || a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Allow") != "POST" {
		t.Errorf("a preflight: status %d, %v", a.StatusCode, a.Header)
	}
}

// TestSignIn: who is not signed in gets nothing, on record and in words that tell nothing.
func TestSignIn(t *testing.T) {
	s := newSite(t, api.Config{PerMinute: 6000, Burst: 100})
	stranger := signintest.NewKey(t, "one", s.issuer.Key().Algorithm)
	forged := signintest.Sign(t, stranger, nil, s.issuer.Claims("ana", time.Now(), nil))
	routes := []struct{ method, path, body string }{
		{http.MethodPost, "/v1/query", statement}, {http.MethodGet, "/v1/tables", ""},
		{http.MethodGet, "/v1/tables/cards.transactions", ""}, {http.MethodGet, "/v1/tables/none.such", ""}, {http.MethodGet, "/v1/me", ""},
	}
	for _, r := range routes {
		for _, token := range []string{"", forged, s.token("nobody")} {
			a := s.ask(s.client(nil, true), r.method, r.path, token, r.body, "X-Forwarded-User", "data_scientist/ana", "X-Request-Id", "mine")
			if a.problem(t) != "401 not-signed-in" || a.Header.Get("X-Request-Id") == "mine" {
				t.Errorf("%s: %s", r.path, a.body)
			}
			want := `Bearer realm="cardlake"`
			if token != "" {
				want += `, error="invalid_token"`
			}
			if got := a.Header.Get("WWW-Authenticate"); got != want {
				t.Errorf("%s: challenge %q", r.path, got)
			}
		}
	}
	if len(s.engine.sql) > 0 {
		t.Error("the engine was asked")
	}
	// A certificate, and the answer about oneself.
	cert := s.authority.Issue("etl", signintest.URIs(t, etlURI))
	a := s.ask(s.client(&cert, true), http.MethodGet, "/v1/me", "", "")
	var me struct {
		Principal, Origin string
		MFA               bool
		Grants            []struct {
			Table, Action string
			Scopes        []struct {
				Other bool `json:"other_tenants"`
				Clear []string
			}
		}
	}
	if err := json.Unmarshal(a.body, &me); err != nil || me.Principal != "etl_job/etl" || me.MFA || me.Origin != "127.0.0.1" || len(me.Grants) == 0 || !me.Grants[0].Scopes[0].Other {
		t.Errorf("%v: %s", err, a.body)
	}
	if a := s.ask(s.client(&cert, true), http.MethodGet, "/v1/me", s.token("ana"), ""); a.problem(t) != "401 not-signed-in" {
		t.Errorf("two identities: %s", a.body)
	}
	// One who is taken out is refused from then on, on the same connection.
	c, token := s.client(nil, true), s.token("ana")
	if a := s.ask(c, http.MethodGet, "/v1/me", token, ""); a.StatusCode != http.StatusOK {
		t.Fatal(string(a.body))
	}
	s.known.forget()
	if a := s.ask(c, http.MethodGet, "/v1/me", token, ""); a.problem(t) != "401 not-signed-in" {
		t.Error(string(a.body))
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	// All attempts are on record: a line for the first in a second, counts of the others.
	var counted int64
	var actors []string
	for _, r := range s.log.Records() {
		if r.Action != "sign_in" {
			continue
		}
		if r.Outcome != "refused" {
			t.Errorf("record %+v", r)
		}
		if len(r.Numbers) == 0 {
			counted++
			if r.Origin != "127.0.0.1" || len(r.Request) != 32 || r.Reason == "" {
				t.Errorf("record %+v", r)
			}
			actors = append(actors, r.Actor)
		}
		for _, n := range r.Numbers {
			counted += n
		}
	}
	if counted != 15+2 || len(actors) == 0 {
		t.Errorf("%d attempts on record, want 17: %q", counted, s.audited())
	}
	for _, text := range append(s.audited(), s.text.String()) {
		if strings.Contains(text, forged[:30]) || strings.Contains(text, token[:60]) {
			t.Error("a token is on record")
		}
	}
	if n := s.metric("cardlake_api_sign_in_refused_total"); n != 17 {
		t.Errorf("%v attempts were counted", n)
	}
}

// TestManyAttemptsDoNotFloodTheLog.
func TestManyAttemptsDoNotFloodTheLog(t *testing.T) {
	s := newSite(t, api.Config{})
	start, c := time.Now(), s.client(nil, true)
	for range 500 {
		s.ask(c, http.MethodGet, "/v1/me", "", "")
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	records := s.log.Records()
	seconds := int(time.Since(start)/time.Second) + 1
	var counted int64
	for _, r := range records {
		if n, ok := r.Numbers["no_credentials"]; ok {
			counted += n
		} else {
			counted++
		}
	}
	if len(records) > 2*seconds+1 || counted != 500 {
		t.Errorf("%d records of %d attempts in %d s", len(records), counted, seconds)
	}
}

func TestTables(t *testing.T) {
	s := newSite(t, api.Config{})
	s.permits = queriestest.Only(map[string]grants.Access{"card_token": grants.Masked, "amount": grants.Dropped}, "aurora")
	a := s.ask(s.client(nil, true), http.MethodGet, "/v1/tables", s.token("ana"), "")
	var got struct {
		Tables []struct {
			Name string
			Rows int64
			AsOf string `json:"as_of"`
		}
	}
	if err := json.Unmarshal(a.body, &got); err != nil || len(got.Tables) == 0 || got.Tables[0].Name != "cards.transactions" || got.Tables[0].Rows != 30 || got.Tables[0].AsOf != "2026-03-01T00:00:00Z" {
		t.Errorf("%v: %s", err, a.body)
	}
	if bytes.Contains(a.body, []byte("cards.transactions_rejected")) {
		t.Error("a table that is not permitted is listed")
	}
	a = s.ask(s.client(nil, true), http.MethodGet, "/v1/tables/Cards.Transactions", s.token("ana"), "")
	var table struct {
		Name    string
		Columns []struct{ Name, Access, Type string }
	}
	if err := json.Unmarshal(a.body, &table); err != nil || table.Name != "cards.transactions" {
		t.Fatalf("%v: %s", err, a.body)
	}
	access := map[string]string{}
	for _, c := range table.Columns {
		access[c.Name] = c.Access
	}
	if access["card_token"] != "masked" || access["tenant"] != "clear" || access["amount"] != "" {
		t.Errorf("%v", access)
	}
	a = s.ask(s.client(nil, true), http.MethodGet, "/v1/me", s.token("ana"), "", "Cardlake-Reason", "half-yearly review", "Cardlake-Break-Glass", "yes")
	if !bytes.Contains(a.body, []byte(`"tenants":["aurora"]`)) || !bytes.Contains(a.body, []byte(`"masked":["card_token"]`)) || bytes.Contains(a.body, []byte(`"amount"`)) || !bytes.Contains(a.body, []byte(`"break_glass":true`)) {
		t.Error(string(a.body))
	}
	want := []string{
		"data_scientist/ana tables tables allowed 127.0.0.1",
		"data_scientist/ana table cards.transactions allowed 127.0.0.1",
		"data_scientist/ana me own grants allowed 127.0.0.1",
	}
	if d := cmp.Diff(want, s.audited()); d != "" {
		t.Error(d)
	}
	if last := s.log.Records()[2]; last.Reason != "half-yearly review" || last.Detail["break_glass"] != "yes" {
		t.Errorf("%+v", last)
	}
}

// TestReason: why somebody asks is carried on; break-glass needs it.
func TestReason(t *testing.T) {
	s := newSite(t, api.Config{PerMinute: 6000, Burst: 100})
	var asked grants.Caller
	s.permits = func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		asked = c
		return queriestest.Everything(c, a, t)
	}
	s.query("Cardlake-Reason", " dispute, Zoë ", "Cardlake-Break-Glass", "yes")
	if asked.Reason != "dispute, Zoë" || !asked.BreakGlass || !asked.MFA || len(asked.Request) != 32 {
		t.Errorf("%+v", asked)
	}
	for name, headers := range map[string][]string{
		"no reason":     {"Cardlake-Break-Glass", "yes"},
		"neither":       {"Cardlake-Break-Glass", "true", "Cardlake-Reason", "x"},
		"a card number": {"Cardlake-Reason", "card 4111 1111 1111 1111"},
		"not UTF-8":     {"Cardlake-Reason", "\xff"},
		"too long":      {"Cardlake-Reason", strings.Repeat("a", 501)},
		"not printable": {"Cardlake-Reason", "a\u202eb"},
	} {
		if a := s.query(headers...); a.problem(t) != "400 invalid-request" || bytes.Contains(a.body, []byte("4111111111111111")) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

// TestOneCallerDoesNotStarveOthers: calls a minute, and statements at a time.
func TestOneCallerDoesNotStarveOthers(t *testing.T) {
	s := newSite(t, api.Config{PerMinute: 1, Burst: 5, PerPrincipal: 2, Queries: 3})
	ask := func(subject, path string) answer {
		return s.ask(s.client(nil, true), http.MethodGet, path, s.token(subject), "")
	}
	for range 5 {
		if a := ask("bea", "/v1/me"); a.StatusCode != http.StatusOK {
			t.Fatal(string(a.body))
		}
	}
	if a := ask("bea", "/v1/me"); a.problem(t) != "429 too-many-requests" || !slices.Contains([]string{"59", "60"}, a.Header.Get("Retry-After")) {
		t.Errorf("%v: %s", a.Header, a.body)
	}
	if a := ask("ana", "/v1/me"); a.StatusCode != http.StatusOK {
		t.Errorf("another: %s", a.body)
	}

	release := make(chan struct{})
	s.engine.release, s.patience = release, 5*time.Second
	done := make(chan answer, 3)
	for range 2 {
		go func() { done <- s.query() }()
		<-s.engine.asked
	}
	if a := s.query(); a.problem(t) != "429 too-many-requests" || a.Header.Get("Retry-After") != "1" {
		t.Errorf("a third statement: %s", a.body)
	}
	cert := s.authority.Issue("etl", signintest.URIs(t, etlURI))
	asETL := func() answer { return s.ask(s.client(&cert, true), http.MethodPost, "/v1/query", "", statement) }
	go func() { done <- asETL() }()
	<-s.engine.asked
	if a := asETL(); a.problem(t) != "503 busy" || a.Header.Get("Retry-After") != "1" {
		t.Errorf("a fourth statement: %s", a.body)
	}
	if got := s.metric("cardlake_api_queries_running"); got != 3 {
		t.Errorf("%v statements run", got)
	}
	close(release)
	for range 3 {
		if a := <-done; a.StatusCode != http.StatusOK {
			t.Error(string(a.body))
		}
	}
	s.engine.release = nil
	if a := asETL(); a.StatusCode != http.StatusOK {
		t.Errorf("after all have ended: %s", a.body)
	}
}

func TestTLS(t *testing.T) {
	s := newSite(t, api.Config{})
	dial := func(c *tls.Config) error {
		c.RootCAs = s.pool
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), c)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	if err := dial(&tls.Config{}); err != nil {
		t.Error(err)
	}
	if dial(&tls.Config{MaxVersion: tls.VersionTLS12}) == nil {
		t.Error("TLS 1.2 is taken")
	}
	older := newSite(t, api.Config{}, func(_ *site, _ *api.Deps, f *api.Files) { f.TLS12 = true })
	s = older
	if err := dial(&tls.Config{MaxVersion: tls.VersionTLS12}); err != nil {
		t.Error(err)
	}
	if dial(&tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}) == nil {
		t.Error("TLS 1.1 is taken")
	}
	if dial(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}) == nil {
		t.Error("a weak suite is taken")
	}
	// A certificate that nobody trusts does not become a call, and is on record.
	other := signintest.NewAuthority(t, "authority").Issue("etl", signintest.URIs(t, etlURI))
	if a := s.ask(s.client(&other, false), http.MethodGet, "/v1/me", "", ""); a.err == nil {
		t.Errorf("a stranger's certificate: status %d", a.StatusCode)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(s.audited(), func(l string) bool { return l == "unknown sign_in api refused 127.0.0.1" }) {
		t.Errorf("%q", s.audited())
	}
}

func TestRenewedCertificate(t *testing.T) {
	var files api.Files
	s := newSite(t, api.Config{}, func(_ *site, _ *api.Deps, f *api.Files) { files = *f })
	serial := func() string {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{RootCAs: s.pool})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	cert, key := signintest.Files(t, s.authority.Issue("server", nil))
	move(t, cert, files.Cert)
	move(t, key, files.Key)
	if serial() == before {
		t.Error("the old certificate is shown")
	}
}
