package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
)

// exportSite is a site with exports of a lake in memory.
type exportSite struct {
	*site
	exports *export.Service
	clock   atomic.Int64 // microseconds
	access  atomic.Pointer[queriestest.Permits]
}

type activeTenants struct{}

func (activeTenants) Lookup(name cardlake.Tenant) (catalog.TenantRecord, error) {
	return catalog.TenantRecord{Name: name, StorageID: "aaaaaaaaaaaaaaaa", Status: catalog.TenantActive}, nil
}

func newExportSite(t *testing.T, rows int, cfg api.Config) *exportSite {
	t.Helper()
	lake := queriestest.NewLake()
	if err := lake.Fill(1, rows); err != nil {
		t.Fatal(err)
	}
	e := &exportSite{}
	e.clock.Store(epoch.Add(48 * time.Hour).UnixMicro())
	only := queriestest.Only(nil, "aurora")
	e.access.Store(&only)
	permits := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		return (*e.access.Load())(c, a, t)
	})
	e.site = newSite(t, cfg, func(s *site, d *api.Deps, _ *api.Files) {
		keys := objectstest.NewKeys()
		var err error
		e.exports, err = export.Open(t.Context(), t.TempDir(), export.Deps{
			Gateway: func(p queries.Permits) *queries.Gateway {
				return queries.New(parser{}, s.engine, p, s.log, queries.Config{})
			},
			Permits: permits, Recorder: s.log, Planner: lake, Lake: lake, Files: objects.NewSealed(t.TempDir(), keys, objects.SealedConfig{}),
			Tenants: activeTenants{}, Keys: keys,
		}, export.Config{Now: func() time.Time { return time.UnixMicro(e.clock.Load()) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.exports.Close() })
		d.Exports = e.exports
	})
	return e
}

func (e *exportSite) call(method, path, who, body string, headers ...string) answer {
	e.t.Helper()
	token := ""
	if who != "" {
		token = e.token(who)
	}
	return e.ask(e.client(nil, true), method, path, token, body, headers...)
}

// done asks for an export over HTTP, and runs it.
func (e *exportSite) done(who, body string) (id string) {
	e.t.Helper()
	a := e.call(http.MethodPost, "/v1/exports", who, body)
	var j struct{ ID, State string }
	if err := json.Unmarshal(a.body, &j); err != nil || a.StatusCode != http.StatusAccepted || j.State != "queued" || a.Header.Get("Location") != "/v1/exports/"+j.ID {
		e.t.Fatalf("%d %s, %v", a.StatusCode, a.body, err)
	}
	if done, err := e.exports.RunOne(e.t.Context(), j.ID, nil); err != nil || done.State != export.Done {
		e.t.Fatal(done, err)
	}
	return j.ID
}

const csvExport = `{"table": "cards.transactions", "format": "csv"}`

func TestExports(t *testing.T) {
	e := newExportSite(t, 100, api.Config{PerMinute: 6000, Burst: 1000})
	id := e.done("ana", csvExport)
	a := e.call(http.MethodGet, "/v1/exports/"+id, "ana", "")
	if !strings.Contains(string(a.body), `"state":"done"`) || !strings.Contains(string(a.body), `"rows":100`) || strings.Contains(string(a.body), "attempt-") || strings.Contains(string(a.body), "origin") {
		t.Error(string(a.body))
	}
	file := "/v1/exports/" + id + "/files/1"
	whole := e.call(http.MethodGet, file, "ana", "")
	etag := whole.Header.Get("ETag")
	if whole.StatusCode != http.StatusOK || !strings.HasPrefix(etag, `"`) || whole.Header.Get("Accept-Ranges") != "bytes" ||
		whole.Header.Get("Content-Disposition") != "attachment; filename=transactions-00001.csv" || whole.Header.Get("Content-Type") != "text/csv; charset=utf-8; header=present" ||
		bytes.Count(whole.body, []byte("\r\n")) != 101 {
		t.Fatalf("%d %v %d bytes", whole.StatusCode, whole.Header, len(whole.body))
	}
	// A download that was cut goes on; one of another content begins anew.
	for _, tc := range []struct {
		ranges, ifRange string
		status          int
		want            []byte
	}{
		{"bytes=1000-", etag, http.StatusPartialContent, whole.body[1000:]},
		{"bytes=1000-1999", "", http.StatusPartialContent, whole.body[1000:2000]},
		{"bytes=-10", etag, http.StatusPartialContent, whole.body[len(whole.body)-10:]},
		{"bytes=1000-", `"another"`, http.StatusOK, whole.body},
		{"bytes=99999999-", etag, http.StatusRequestedRangeNotSatisfiable, nil},
		{"lines=1-2", "", http.StatusRequestedRangeNotSatisfiable, nil},
	} {
		got := e.call(http.MethodGet, file, "ana", "", "Range", tc.ranges, "If-Range", tc.ifRange)
		if got.StatusCode != tc.status || tc.want != nil && !bytes.Equal(got.body, tc.want) {
			t.Errorf("%s, %s: status %d, %d bytes", tc.ranges, tc.ifRange, got.StatusCode, len(got.body))
		}
	}
	if got := e.call(http.MethodGet, file, "ana", "", "If-None-Match", etag); got.StatusCode != http.StatusNotModified {
		t.Errorf("status %d", got.StatusCode)
	}
	if a := e.call(http.MethodGet, "/v1/exports/"+id, "bea", ""); a.problem(t) != "404 no-such-resource" {
		t.Error("another's export is shown")
	}
	records := e.log.Records()
	if last := records[len(records)-1]; last.Action != "export.state" || last.Outcome != audit.Refused || last.Actor != "data_scientist/bea" {
		t.Errorf("who looks at another's export is not on record: %+v", last)
	}
	i := slices.IndexFunc(records, func(r audit.Record) bool { return r.Action == "export.download" && r.Numbers["from"] == 1000 })
	if i < 0 || records[i].Request == "" || records[i].Actor != "data_scientist/ana" {
		t.Error("a resumed download is not on record")
	}
	for _, tc := range []struct{ method, path, who, body, want string }{
		{"GET", file, "bea", "", "404 no-such-resource"},
		{"GET", "/v1/exports/" + id, "bea", "", "404 no-such-resource"},
		{"DELETE", "/v1/exports/" + id, "bea", "", "404 no-such-resource"},
		{"POST", "/v1/exports/" + id + "/links", "bea", `{"file": 1}`, "404 no-such-resource"},
		{"GET", file, "", "", "401 not-signed-in"},
		{"POST", "/v1/exports", "", csvExport, "401 not-signed-in"},
		{"GET", "/v1/exports/" + id + "/files/2", "ana", "", "404 no-such-resource"},
		{"GET", "/v1/exports/" + id + "/files/x", "ana", "", "404 no-such-resource"},
		{"GET", "/v1/exports/..%2f..%2fetc/files/1", "ana", "", "404 no-such-resource"},
		{"POST", "/v1/exports", "ana", `{"table": "cards.transactions", "format": "exe"}`, "400 invalid-request"},
		{"POST", "/v1/exports", "ana", `{"table": "cards.transactions", "sql": "SELECT 1", "format": "csv"}`, "400 invalid-request"},
		{"POST", "/v1/exports", "ana", `{"table": "cards.transactions", "format": "csv", "path": "x"}`, "400 invalid-request"},
		{"POST", "/v1/exports", "ana", `{"sql": "bad", "format": "csv"}`, "400 invalid-request"},
		{"POST", "/v1/exports", "ana", `{"table": "cards.transactions", "format": "csv", "tenant": "bolivar"}`, "403 not-permitted"},
		{"POST", "/v1/exports", "ana", `{"table": "cards.transactions", "format": "csv", "encryption": "age"}`, "400 invalid-request"},
		{"POST", "/v1/schedules", "ana", `{"table": "cards.transactions", "format": "csv", "every": "always"}`, "400 invalid-request"},
		{"DELETE", "/v1/schedules/x", "ana", "", "404 no-such-resource"},
	} {
		if a := e.call(tc.method, tc.path, tc.who, tc.body); a.problem(t) != tc.want {
			t.Errorf("%s %s by %s: %s", tc.method, tc.path, tc.who, a.body)
		}
	}
	// A repeat with the same key is the same export.
	first := e.call(http.MethodPost, "/v1/exports", "ana", csvExport, "Idempotency-Key", "k1")
	again := e.call(http.MethodPost, "/v1/exports", "ana", csvExport, "Idempotency-Key", "k1")
	if first.StatusCode != http.StatusAccepted || again.StatusCode != http.StatusOK || first.Header.Get("Location") != again.Header.Get("Location") {
		t.Errorf("%d %d", first.StatusCode, again.StatusCode)
	}
	if a := e.call(http.MethodPost, "/v1/exports", "ana", `{"table": "cards.transactions", "format": "jsonl"}`, "Idempotency-Key", "k1"); a.problem(t) != "422 key-reused" {
		t.Error(string(a.body))
	}
	waiting := first.Header.Get("Location")
	if a := e.call(http.MethodGet, waiting+"/files/1", "ana", ""); a.problem(t) != "409 not-ready" {
		t.Error(string(a.body))
	}
	if a := e.call(http.MethodDelete, waiting, "ana", ""); !strings.Contains(string(a.body), `"state":"cancelled"`) {
		t.Error(string(a.body))
	}
	if a := e.call(http.MethodGet, "/v1/exports", "ana", ""); strings.Count(string(a.body), `"id"`) != 2 {
		t.Error(string(a.body))
	}
	// Schedules.
	a = e.call(http.MethodPost, "/v1/schedules", "ana", `{"table": "cards.transactions", "format": "parquet", "every": "daily", "time_zone": "America/Mexico_City"}`)
	var s struct{ ID string }
	if err := json.Unmarshal(a.body, &s); err != nil || a.StatusCode != http.StatusCreated || !strings.Contains(string(a.body), `"from":"2026-03-02T06:00:00Z"`) {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if a := e.call(http.MethodPost, "/v1/schedules/"+s.ID+"/pause", "ana", ""); !strings.Contains(string(a.body), `"paused":true`) {
		t.Error(string(a.body))
	}
	if a := e.call(http.MethodPost, "/v1/schedules/"+s.ID+"/resume", "bea", ""); a.problem(t) != "404 no-such-resource" {
		t.Error(string(a.body))
	}
	if a := e.call(http.MethodDelete, "/v1/schedules/"+s.ID, "ana", ""); a.StatusCode != http.StatusNoContent {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := e.call(http.MethodGet, "/v1/schedules", "ana", ""); string(a.body) != `{"schedules":[]}` {
		t.Error(string(a.body))
	}
	// On time, and with a grant that is narrower.
	masked := queriestest.Only(map[string]grants.Access{"amount": grants.Masked}, "aurora")
	e.access.Store(&masked)
	if a := e.call(http.MethodGet, file, "ana", ""); a.problem(t) != "403 not-permitted" || !strings.Contains(string(a.body), "cards.transactions.amount") {
		t.Error(string(a.body))
	}
	e.clock.Add((8 * 24 * time.Hour).Microseconds())
	if a := e.call(http.MethodGet, file, "ana", ""); a.problem(t) != "410 expired" {
		t.Error(string(a.body))
	}
}

// TestLinks: whoever has a link has the file, for as long as whoever made it may have it; nobody
// else who signs in does, and no link is good that is not ours.
func TestLinks(t *testing.T) {
	e := newExportSite(t, 100, api.Config{PerMinute: 6000, Burst: 1000})
	id := e.done("ana", csvExport)
	link := func() string {
		t.Helper()
		a := e.call(http.MethodPost, "/v1/exports/"+id+"/links", "ana", `{"file": 1, "valid_seconds": 60}`)
		var made struct{ URL string }
		if err := json.Unmarshal(a.body, &made); err != nil || a.StatusCode != http.StatusCreated || !strings.HasPrefix(made.URL, "/v1/downloads/"+id+"/1?") {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		return made.URL
	}
	to := link()
	if a := e.call(http.MethodGet, to, "", ""); a.StatusCode != http.StatusOK || bytes.Count(a.body, []byte("\r\n")) != 101 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if a := e.call(http.MethodGet, to, "", "", "Range", "bytes=50-99"); a.StatusCode != http.StatusPartialContent || len(a.body) != 50 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := e.call(http.MethodGet, to, "ana", ""); a.StatusCode != http.StatusOK {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	for name, tc := range map[string]struct{ path, who, want, says string }{
		"another's":      {to, "bea", "403 not-permitted", "another principal"},
		"forged":         {strings.Replace(to, "signature=", "signature=A", 1), "", "403 not-permitted", "signature is not right"},
		"another file":   {strings.Replace(to, "/1?", "/0?", 1), "", "403 not-permitted", "signature is not right"},
		"another tenant": {strings.Replace(to, "tenant=aurora", "tenant=bolivar", 1), "", "403 not-permitted", "signature is not right"},
		"nothing":        {"/v1/downloads/" + id + "/1", "", "403 not-permitted", "signature is not right"},
	} {
		if a := e.call(http.MethodGet, tc.path, tc.who, ""); a.problem(t) != tc.want || !strings.Contains(string(a.body), tc.says) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	// Whoever made it may not export any more: the link is good for nothing, though it has not ended.
	nothing := queriestest.Nothing
	e.access.Store(&nothing)
	if a := e.call(http.MethodGet, to, "", ""); a.problem(t) != "403 not-permitted" {
		t.Error(string(a.body))
	}
	only := queriestest.Only(nil, "aurora")
	e.access.Store(&only)
	e.clock.Add((61 * time.Second).Microseconds())
	if a := e.call(http.MethodGet, to, "", ""); a.problem(t) != "410 expired" || !strings.Contains(string(a.body), "make a new one") {
		t.Error(string(a.body))
	}
	if a := e.call(http.MethodGet, link(), "", ""); a.StatusCode != http.StatusOK {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	downloads, knocks := 0, 0
	for _, r := range e.log.Records() {
		switch {
		case r.Action == "export.download" && r.Outcome == "allowed":
			downloads++
			if r.Actor != "data_scientist/ana" || r.Request == "" {
				t.Errorf("%+v", r)
			}
		case r.Action == "sign_in" && r.Reason == "link":
			knocks++
		}
	}
	if downloads != 4 || knocks == 0 {
		t.Errorf("%d downloads and %d refused links are on record", downloads, knocks)
	}
}

// TestWithdrawnWhileDownloading: the file breaks off within a second, and what was sent does not
// pass for all of it.
func TestWithdrawnWhileDownloading(t *testing.T) {
	e := newExportSite(t, 60_000, api.Config{})
	id := e.done("ana", `{"table": "cards.transactions", "format": "csv"}`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+"/v1/exports/"+id+"/files/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+e.token("ana"))
	a, err := e.client(nil, false).Do(r)
	if err != nil || a.StatusCode != http.StatusOK {
		t.Fatal(a, err)
	}
	defer a.Body.Close()
	if _, err := io.CopyN(io.Discard, a.Body, 1000); err != nil {
		t.Fatal(err)
	}
	nothing := queriestest.Nothing
	e.access.Store(&nothing)
	time.Sleep(600 * time.Millisecond)
	n, err := io.Copy(io.Discard, a.Body)
	if err == nil || n+1000 >= a.ContentLength {
		t.Errorf("%d of %d bytes came, %v", n+1000, a.ContentLength, err)
	}
}
