package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// feed gives batches of numbers.
type feed struct {
	*queries.Gateway
	mu      sync.Mutex // of asked, as it grows
	rows    int
	failAt  int // the row before which it fails, from 1; 0 for none
	err     error
	waits   chan struct{} // if not nil, told of who waits, until release is closed
	about   changes.About
	asked   []changes.Request
	awaited []time.Duration
	after   int           // rows that are there after a wait
	reading chan struct{} // if not nil, told when rows are read
	release chan struct{} // is waited for then
}

func (f *feed) Read(ctx context.Context, c grants.Caller, r changes.Request) (*changes.Batch, error) {
	f.mu.Lock()
	f.asked = append(f.asked, r)
	f.mu.Unlock()
	if f.err != nil && f.failAt == 0 {
		return nil, f.err
	}
	b := &changes.Batch{Cursor: "7.next", IsEmpty: f.rows == 0, Until: changes.Mark{Snapshot: 7, CommittedAt: queriestest.Epoch}, About: f.about}
	var err error
	b.Result, err = f.Scan(ctx, c, queries.Scan{Action: grants.ReadChanges, Table: r.Table, What: "changes"}, func(context.Context, queries.Read) (queries.Rows, error) {
		return &numbers{rows: f.rows, failAt: f.failAt, err: f.err, reading: f.reading, release: f.release}, nil
	})
	return b, err
}

func (f *feed) Await(ctx context.Context, t *cardlake.Table, cursor string, wait time.Duration) error {
	if f.waits != nil {
		f.waits <- struct{}{}
		select {
		case <-ctx.Done():
		case <-f.release:
		}
		return ctx.Err()
	}
	if t != cardlake.Transactions || cursor != "7.next" {
		return errors.New("waits for something else")
	}
	f.awaited = append(f.awaited, wait)
	f.rows = f.after
	return nil
}

// numbers are rows of one number each.
type numbers struct {
	n, rows, failAt  int
	err              error
	reading, release chan struct{}
}

func (n *numbers) Columns() []queries.Column {
	return []queries.Column{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}
}
func (n *numbers) Snapshots() []queries.Snapshot {
	return []queries.Snapshot{{Table: cardlake.Transactions, ID: 7, CommittedAt: queriestest.Epoch}}
}
func (n *numbers) Close() error { return nil }
func (n *numbers) Next(row []any) error {
	if n.n == 0 && n.reading != nil {
		n.reading <- struct{}{}
		<-n.release
	}
	if n.n++; n.n == n.failAt {
		return n.err
	}
	if n.n > n.rows {
		return io.EOF
	}
	row[0] = int64(n.n)
	return nil
}

// everybody lets everybody in as ana.
type everybody struct{}

func (everybody) FromRequest(*http.Request) (grants.Caller, error) { return queriestest.Caller, nil }
func (everybody) Origin(*http.Request) string                      { return "test" }

func changesSite(t *testing.T, f *feed, permits queriestest.Permits) (get func(parameters string, headers ...string) (*http.Response, string, error)) {
	t.Helper()
	log := &queriestest.Log{}
	f.Gateway = queries.New(nil, nil, permits, log, queries.Config{})
	s, err := api.New(api.Deps{Gateway: f.Gateway, SignIn: everybody{}, Permits: permits, Recorder: log, Changes: f}, api.Config{PerMinute: 6000, Burst: 1000})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	t.Cleanup(s.Close)
	return func(parameters string, headers ...string) (*http.Response, string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/changes?"+parameters, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return res, string(body), err
	}
}

func TestChanges(t *testing.T) {
	f := &feed{rows: 2, about: changes.About{
		Removals: []changes.Removal{{
			Mark: changes.Mark{Snapshot: 6}, Operation: "delete", Partitions: []changes.Partition{{Tenant: "aurora", Day: "2026-01-01", Rows: 9}},
		}},
		KeptSince:    map[cardlake.Tenant]cardlake.Day{"aurora": 20454},
		ValidThrough: map[cardlake.Tenant]time.Time{"aurora": queriestest.Epoch, "bolivar": queriestest.Epoch.Add(-time.Hour)},
	}}
	get := changesSite(t, f, queriestest.Everything)
	res, body, _ := get("since=start&tenant=aurora,bolivar&limit=5")
	var a struct {
		Cursor    string
		More      bool
		Until     struct{ Snapshot string }
		Removals  []changes.Removal
		KeptSince map[string]string `json:"kept_since"`
		Rows      []struct{ N int }
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %v: %s", res.StatusCode, err, body)
	}
	if a.Cursor != "7.next" || a.More || a.Until.Snapshot != "7" || len(a.Rows) != 2 || a.Rows[1].N != 2 || len(a.Removals) != 1 || a.KeptSince["aurora"] != "2026-01-01" {
		t.Errorf("answer %s", body)
	}
	h := res.Header
	if h.Get("Cardlake-Cursor") != "7.next" || h.Get("Cardlake-More") != "no" || h.Get("Cardlake-Removals") != "yes" || h.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", h)
	}
	if h.Get("Cardlake-Valid-Through") != "2026-03-01T00:00:00Z" || !strings.Contains(body, `"valid_through":{"aurora":"2026-03-01T00:00:00Z"`) {
		t.Errorf("valid through %s: %s", h.Get("Cardlake-Valid-Through"), body)
	}
	f.about.KeptSince["cobre"] = 1 // of whom nothing is known
	if res, _, _ := get("since=start"); res.Header.Get("Cardlake-Valid-Through") != "" {
		t.Errorf("valid through %s", res.Header.Get("Cardlake-Valid-Through"))
	}
	if r := f.asked[0]; r.Table != "cards.transactions" || r.Since != "start" || r.Limit != 5 || len(r.Tenants) != 2 {
		t.Errorf("asked for %+v", r)
	}
	if res, body, _ := get("since=7.next&table=cards.control_totals", "Accept", "text/csv"); body != "n\r\n1\r\n2\r\n" || res.Header.Get("Cardlake-Cursor") != "7.next" || res.Header.Get("Cardlake-Rows") != "2" {
		t.Errorf("%v: %s", res.Header, body)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	f := &feed{rows: 2}
	get := changesSite(t, f, queriestest.Everything)
	for _, parameters := range []string{
		"", "since=", "since=start&since=now", "since=start&x=1", "since=start&limit=0", "since=start&limit=many", "since=start&limit=10000001",
		"since=start&wait=26", "since=start&wait=-1", "since=start&tenant=A%20B", "since=%zz",
	} {
		if res, body, _ := get(parameters); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "invalid-request") {
			t.Errorf("%s: %d %s", parameters, res.StatusCode, body)
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("asked for %+v", f.asked)
	}
	if res, _, _ := get("since=start&format=xlsx"); res.StatusCode != http.StatusNotAcceptable {
		t.Errorf("an unknown format: %d", res.StatusCode)
	}
	for _, tc := range []struct {
		err    error
		status int
		says   string
	}{
		{changes.ErrCursor, 400, "the cursor is not one of this table"},
		{changes.ErrRolledBack, 410, "set back"},
		{&changes.ExpiredError{Asked: 5, Oldest: changes.Mark{Snapshot: 6}}, 410, "the oldest that is kept is 6"},
		{&queries.Error{Message: "until is before since", Offset: -1}, 422, "until is before since"},
		{queries.ErrNotPermitted, 403, "not permitted"},
		{queries.ErrUnrecorded, 503, "audit"},
		{errors.New("object x is gone"), 500, "internal"},
	} {
		f.err = tc.err
		if res, body, _ := get("since=start"); res.StatusCode != tc.status || !strings.Contains(body, tc.says) || strings.Contains(body, "object x") {
			t.Errorf("%v: %d %s", tc.err, res.StatusCode, body)
		}
	}
	res, body, _ := changesSite(t, &feed{rows: 2}, queriestest.Nothing)("since=start")
	if res.StatusCode != http.StatusForbidden || res.Header.Get("Cardlake-Cursor") != "" {
		t.Errorf("not permitted: %d %v %s", res.StatusCode, res.Header, body)
	}
}

// TestChangesThatBreakOff: an answer that is cut is never taken for whole, so its cursor is not
// gone on from.
func TestChangesThatBreakOff(t *testing.T) {
	f := &feed{rows: 300_000, failAt: 290_000, err: errors.New("gone")}
	get := changesSite(t, f, queriestest.Everything)
	for _, format := range []string{"json", "csv", "arrow", "parquet"} {
		if res, body, err := get("since=start&format=" + format); err == nil || res.StatusCode != http.StatusOK || json.Valid([]byte(body)) {
			t.Errorf("%s: %d bytes, %v", format, len(body), err)
		}
	}
	f.failAt = 3
	if res, _, _ := get("since=start"); res.StatusCode != http.StatusInternalServerError || res.Header.Get("Cardlake-Cursor") != "" {
		t.Errorf("what fails early: %d %v", res.StatusCode, res.Header)
	}
}

func TestChangesThatAreWaitedFor(t *testing.T) {
	f := &feed{after: 1}
	get := changesSite(t, f, queriestest.Everything)
	if _, body, _ := get("since=3.before&wait=20", "Accept", "text/csv"); body != "n\r\n1\r\n" || len(f.awaited) != 1 || f.awaited[0] != 20*time.Second {
		t.Errorf("waited %v for %q", f.awaited, body)
	}
	if len(f.asked) != 2 || f.asked[0].Since != "3.before" || f.asked[1].Since != "7.next" {
		t.Errorf("asked for %+v", f.asked)
	}
	if get("since=3.before&wait=20"); len(f.awaited) != 1 {
		t.Error("waited although rows are there")
	}
	f.rows = 0
	if get("since=3.before"); len(f.awaited) != 1 {
		t.Error("waited although nobody asked to")
	}
}

// TestChangesHoldTheirPlace: rows that are being sent are one of the few statements of a caller
// until the last was.
func TestChangesHoldTheirPlace(t *testing.T) {
	f := &feed{rows: 2, reading: make(chan struct{}), release: make(chan struct{})}
	get := changesSite(t, f, queriestest.Everything)
	done := make(chan int, 5)
	for range 4 {
		go func() {
			res, _, err := get("since=start")
			if err != nil {
				t.Error(err)
			}
			done <- res.StatusCode
		}()
		select {
		case <-f.reading:
		case code := <-done:
			t.Fatalf("answered %d before the rows were read", code)
		}
	}
	go func() {
		res, _, _ := get("since=start")
		done <- res.StatusCode
	}()
	select {
	case <-f.reading:
		t.Error("a fifth answer is sent beside four")
	case code := <-done:
		if code != http.StatusTooManyRequests {
			t.Errorf("a fifth is answered %d", code)
		}
	}
	close(f.release)
	for range 4 {
		if code := <-done; code != http.StatusOK {
			t.Errorf("answered %d", code)
		}
	}
	f.reading = nil
	if res, _, _ := get("since=start"); res.StatusCode != http.StatusOK {
		t.Errorf("after all have ended: %d", res.StatusCode)
	}
}

// TestOneCallerDoesNotWaitForAll: who waits many times over leaves places for others.
func TestOneCallerDoesNotWaitForAll(t *testing.T) {
	f := &feed{waits: make(chan struct{}), release: make(chan struct{})}
	get := changesSite(t, f, queriestest.Everything)
	done := make(chan int, 10)
	wait := func() {
		res, _, err := get("since=3.before&wait=20")
		if err != nil {
			t.Error(err)
		}
		done <- res.StatusCode
	}
	for range 8 {
		go wait()
		<-f.waits
	}
	go wait()
	select {
	case <-f.waits:
		t.Error("a ninth waits")
	case code := <-done:
		if code != http.StatusOK {
			t.Errorf("a ninth is answered %d", code)
		}
	}
	close(f.release)
	for range 8 { // each asks again, and four at a time may
		if code := <-done; code != http.StatusOK && code != http.StatusTooManyRequests {
			t.Errorf("answered %d", code)
		}
	}
}
