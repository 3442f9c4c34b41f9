package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/queries/live"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// board is api.Live by hand: seconds by tenant, each with the sequence of its change.
type board struct {
	mu       sync.Mutex
	seq      uint64
	of       map[cardlake.Tenant][]told
	snapshot live.Snapshot
	at       uint64 // of the snapshot
	isDead   bool
	partial  bool
	changed  chan struct{}
	asked    int
}

type told struct {
	seq    uint64
	second live.Second
}

func newBoard() *board {
	return &board{of: map[cardlake.Tenant][]told{}, changed: make(chan struct{}), snapshot: live.Snapshot{ID: 7422388219923847123, CommittedAt: epoch, AsOf: epoch}}
}

func (b *board) Since(tenant cardlake.Tenant, seq uint64) live.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	out := live.State{Seq: b.seq, IsLive: !b.isDead, AsOf: epoch, IsPartial: b.partial, WholeSince: epoch, Snapshot: b.snapshot, IsNew: b.at > seq, Changed: b.changed}
	for _, one := range b.of[tenant] {
		if one.seq > seq {
			out.Seconds = append(out.Seconds, one.second)
		}
	}
	return out
}

func (b *board) change(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	do()
	close(b.changed)
	b.changed = make(chan struct{})
}

// count adds a second of n requests, of which one is declined.
func (b *board) count(tenant cardlake.Tenant, second, n int) {
	b.change(func() {
		b.of[tenant] = append(b.of[tenant], told{b.seq, live.Second{
			At: epoch.Add(time.Duration(second) * time.Second), Requests: int64(n), Approved: int64(n - 1), Declined: 1,
			Amounts:  map[cardlake.Currency]live.Amount{"BRL": {Unscaled: decimal128.FromI64(1_234_500)}},
			Channels: map[string]int64{"pos": int64(n)}, Reasons: map[string]int64{"insufficient_funds": 1},
		}})
	})
}

func (b *board) commit(id int64) {
	b.change(func() { b.snapshot.ID, b.at = id, b.seq })
}

// rules are permits that can be changed while they are asked.
type rules struct {
	now atomic.Pointer[queriestest.Permits]
}

func (r *rules) set(p queriestest.Permits) { r.now.Store(&p) }

func (r *rules) Decide(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	return (*r.now.Load())(c, a, t)
}

// liveSite is a server with a board, on which everybody may see andina.
func liveSite(t *testing.T, cfg api.Config) (*site, *board, *rules) {
	b, r := newBoard(), &rules{}
	r.set(queriestest.Only(nil, "andina"))
	cfg.PerMinute, cfg.Burst = 6000, 100
	s := newSite(t, cfg, func(_ *site, d *api.Deps, _ *api.Files) { d.Live, d.Permits = b, r })
	return s, b, r
}

// event is one of a stream.
type event struct{ name, id, data string }

// eventStream is a stream as a client has it.
type eventStream struct {
	*http.Response
	t      *testing.T
	events chan event
	cancel func()
}

// stream opens the stream; an answer that is none is its problem.
func (s *site) stream(c *http.Client, path, token string, headers ...string) *eventStream {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	out := &eventStream{Response: resp, t: s.t, events: make(chan event, 1000), cancel: cancel}
	s.t.Cleanup(func() { cancel(); resp.Body.Close() })
	if resp.StatusCode == http.StatusOK {
		go out.read()
	}
	return out
}

func (s *eventStream) read() {
	defer close(s.events)
	var e event
	lines := bufio.NewScanner(s.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				s.events <- e
			}
			e = event{}
		}
	}
}

// next is the next event, of the name if one is given.
func (s *eventStream) next(names ...string) event {
	s.t.Helper()
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				s.t.Fatal("the stream ended")
			}
			if len(names) == 0 || slices.Contains(names, e.name) {
				return e
			}
		case <-time.After(20 * time.Second):
			s.t.Fatal("no event came")
		}
	}
}

// seconds are those of an event, in short.
func (e event) seconds(t *testing.T) (out []string) {
	t.Helper()
	var data struct {
		Tenant  string
		Seconds []struct {
			At       time.Time
			Requests int
		}
	}
	if err := json.Unmarshal([]byte(e.data), &data); err != nil || data.Tenant != "andina" {
		t.Fatalf("event %+v: %v", e, err)
	}
	for _, s := range data.Seconds {
		out = append(out, fmt.Sprintf("%s %d", s.At.Format("15:04:05"), s.Requests))
	}
	return out
}

const andina = "/v1/live?tenant=andina"

// TestLive: what is kept, then what changes, by both protocols; a client that was cut off goes on.
func TestLive(t *testing.T) {
	for _, h2 := range []bool{true, false} {
		s, b, _ := liveSite(t, api.Config{})
		b.count("andina", 1, 5)
		b.count("boreal", 1, 9)
		c := s.client(nil, h2)
		stream := s.stream(c, andina, s.token("ana"))
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", "Cache-Control": "no-store, no-transform", "Content-Encoding": "",
		} {
			if got := stream.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if e := stream.next(); e.name != "snapshot" || e.id != "" || e.data != `{"live":true,"id":"7422388219923847123","committed_at":"2026-03-01T00:00:00Z","as_of":"2026-03-01T00:00:00Z"}` {
			t.Errorf("first %+v", e)
		}
		first := stream.next()
		const want = `{"tenant":"andina","live":true,"as_of":"2026-03-01T00:00:00Z","partial":false,"whole_since":"2026-03-01T00:00:00Z","seconds":[` +
			`{"at":"2026-03-01T00:00:01Z","requests":5,"approved":4,"declined":1,"amounts":{"BRL":"123.4500"},"channels":{"pos":5},"reasons":{"insufficient_funds":1}}]}`
		if first.name != "seconds" || first.id == "" || first.data != want {
			t.Errorf("second %+v", first)
		}
		b.count("andina", 2, 6)
		if got := stream.next("seconds").seconds(t); !slices.Equal(got, []string{"00:00:02 6"}) {
			t.Errorf("later %q", got)
		}
		b.commit(8)
		if e := stream.next("snapshot"); !strings.Contains(e.data, `"id":"8"`) || e.id == "" {
			t.Errorf("after a commit %+v", e)
		}
		stream.cancel()
		again := s.stream(c, andina, s.token("ana"), "Last-Event-ID", first.id)
		if got := again.next("seconds").seconds(t); !slices.Equal(got, []string{"00:00:02 6"}) {
			t.Errorf("resumed %q", got)
		}
		for _, id := range []string{"x" + first.id[1:], "1", "-2", first.id + "9999999", "\u00ff"} {
			other := s.stream(c, andina, s.token("ana"), "Last-Event-ID", id)
			if got := other.next("seconds").seconds(t); len(got) != 2 && id != first.id+"9999999" {
				t.Errorf("resumed from another server's id %q: %q", id, got)
			}
			other.cancel()
		}
	}
}

// TestLiveColumns: what is not given in clear is not there.
func TestLiveColumns(t *testing.T) {
	s, b, r := liveSite(t, api.Config{})
	b.count("andina", 1, 5)
	for _, tc := range []struct {
		name   string
		access map[string]grants.Access
		want   string // of the second; "" is refused
	}{
		{"all", nil, `"approved":4,"declined":1,"amounts":{"BRL":"123.4500"},"channels":{"pos":5},"reasons":{"insufficient_funds":1}`},
		{"amount", map[string]grants.Access{"amount": grants.Dropped}, `"approved":4,"declined":1,"channels":{"pos":5},"reasons":{"insufficient_funds":1}`},
		{"masked amount", map[string]grants.Access{"amount": grants.Masked}, `"approved":4,"declined":1,"channels":{"pos":5},"reasons":{"insufficient_funds":1}`},
		{"currency", map[string]grants.Access{"currency": grants.Masked}, `"approved":4,"declined":1,"channels":{"pos":5},"reasons":{"insufficient_funds":1}`},
		{"channel", map[string]grants.Access{"channel": grants.Dropped}, `"approved":4,"declined":1,"amounts":{"BRL":"123.4500"},"reasons":{"insufficient_funds":1}`},
		{"reason", map[string]grants.Access{"decline_reason": grants.Masked}, `"approved":4,"declined":1,"amounts":{"BRL":"123.4500"},"channels":{"pos":5}`},
		{"approved", map[string]grants.Access{"approved": grants.Dropped}, `"channels":{"pos":5}`},
		{"type", map[string]grants.Access{"event_type": grants.Masked}, ""},
		{"time", map[string]grants.Access{"event_time": grants.Dropped}, ""},
		{"tenant", map[string]grants.Access{"tenant": grants.Dropped}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.set(queriestest.Only(tc.access, "andina"))
			stream := s.stream(s.client(nil, true), andina, s.token("ana"))
			if tc.want == "" {
				if stream.StatusCode != http.StatusForbidden {
					t.Errorf("status %d", stream.StatusCode)
				}
				return
			}
			if e := stream.next("seconds"); !strings.Contains(e.data, `"seconds":[{"at":"2026-03-01T00:00:01Z","requests":5,`+tc.want+`}]`) {
				t.Errorf("%s", e.data)
			}
			stream.cancel()
		})
	}
}

// TestLiveRefused: nobody gets another tenant's seconds, nor any that is not on record, and nobody
// learns which tenants there are.
func TestLiveRefused(t *testing.T) {
	s, b, r := liveSite(t, api.Config{})
	b.count("boreal", 1, 5)
	c := s.client(nil, true)
	c.Timeout = 5 * time.Second // a stream that should not be there has no end
	for _, tc := range []struct{ path, token, want string }{
		{"/v1/live?tenant=boreal", s.token("ana"), "403 not-permitted"},
		{"/v1/live?tenant=nobody", s.token("ana"), "403 not-permitted"},
		{"/v1/live?tenant=andina%27--", s.token("ana"), "400 invalid-request"},
		{"/v1/live?tenant=", s.token("ana"), "400 invalid-request"},
		{"/v1/live", s.token("ana"), "400 invalid-request"},
		{"/v1/live?tenant=andina&tenant=boreal", s.token("ana"), "400 invalid-request"},
		{"/v1/live?tenant=andina&x=1", s.token("ana"), "400 invalid-request"},
		{andina, "", "401 not-signed-in"},
		{andina, s.token("nobody"), "401 not-signed-in"},
	} {
		if got := s.ask(c, http.MethodGet, tc.path, tc.token, "").problem(t); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.path, got, tc.want)
		}
	}
	if b.asked != 0 {
		t.Errorf("the board was asked %d times for who is refused", b.asked)
	}
	want := []string{
		"data_scientist/ana live live figures of boreal refused 127.0.0.1",
		"data_scientist/ana live live figures of nobody refused 127.0.0.1",
	}
	got := slices.DeleteFunc(s.audited(), func(line string) bool { return strings.Contains(line, " sign_in ") })
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for name, d := range map[string]func(*grants.Decision){
		"of another":      func(d *grants.Decision) { d.Principal.Name = "bea" },
		"of another deed": func(d *grants.Decision) { d.Action = grants.Export },
		"of other rows":   func(d *grants.Decision) { other := *d.Table; d.Table = &other },
		"that has ended":  func(d *grants.Decision) { d.Until = time.Now().Add(-time.Second) },
		"cut short":       func(d *grants.Decision) { d.Scopes[0].Columns = d.Scopes[0].Columns[:40] },
	} {
		r.set(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			out := *queriestest.Only(nil, "andina")(c, a, t)
			out.Scopes = slices.Clone(out.Scopes)
			d(&out)
			return &out
		})
		if got := s.ask(c, http.MethodGet, andina, s.token("ana"), "").problem(t); got != "403 not-permitted" {
			t.Errorf("by a decision %s: %s", name, got)
		}
	}
	r.set(queriestest.Only(nil, "andina"))
	s.log.Fail(errDisk)
	if got := s.ask(c, http.MethodGet, andina, s.token("ana"), "").problem(t); got != "503 audit-unavailable" {
		t.Errorf("without the record: %s", got)
	}
	if b.asked != 0 {
		t.Errorf("the board was asked %d times", b.asked)
	}
	without := newSite(t, api.Config{})
	if got := without.ask(without.client(nil, true), http.MethodGet, andina, without.token("ana"), "").problem(t); got != "404 no-such-resource" {
		t.Errorf("where nothing is live: %s", got)
	}
}

// TestLiveRecord: begin and end are on record, with counts.
func TestLiveRecord(t *testing.T) {
	s, b, _ := liveSite(t, api.Config{})
	b.count("andina", 1, 5)
	b.count("andina", 2, 5)
	stream := s.stream(s.client(nil, true), andina, s.token("ana"), "Cardlake-Reason", "a look")
	stream.next("seconds")
	if got := s.log.Records(); len(got) != 1 || got[0].Action != "live" || got[0].Reason != "a look" || got[0].Detail["policies"] != "by-hand" || got[0].Detail["policy_version"] != "1" {
		t.Errorf("at the begin %+v", got)
	}
	stream.cancel()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	records := s.log.Records()
	last := records[len(records)-1]
	if len(records) != 2 || last.Action != "live.done" || last.Numbers["seconds"] != 2 || last.Numbers["events"] < 2 || last.Request != records[0].Request ||
		last.Detail["end"] != "closed" && last.Detail["end"] != "ending" {
		t.Errorf("at the end %+v", records)
	}
}

// TestLiveDrain: a server that ends tells its streams, and does not wait for them to time out.
func TestLiveDrain(t *testing.T) {
	for _, h2 := range []bool{true, false} {
		s, _, _ := liveSite(t, api.Config{DrainTimeout: time.Hour})
		c := s.client(nil, h2)
		one, two := s.stream(c, andina, s.token("ana")), s.stream(c, andina, s.token("bea"))
		one.next("seconds")
		two.next("seconds")
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		for _, stream := range []*eventStream{one, two} {
			if e := stream.next("end"); e.data != `{"reason":"ending"}` || e.id != "" {
				t.Errorf("%+v", e)
			}
			if e, ok := <-stream.events; ok {
				t.Errorf("after the end: %+v", e)
			}
		}
	}
}

// TestLiveOutlivesTheRequest: the time that a request may take to come is none for its stream.
func TestLiveOutlivesTheRequest(t *testing.T) {
	for _, h2 := range []bool{true, false} {
		s, b, _ := liveSite(t, api.Config{HeaderTimeout: 200 * time.Millisecond, BodyTimeout: 100 * time.Millisecond, WriteTimeout: 400 * time.Millisecond})
		stream := s.stream(s.client(nil, h2), andina, s.token("ana"))
		stream.next("seconds")
		time.Sleep(time.Second)
		b.count("andina", 1, 5)
		if got := stream.next("seconds").seconds(t); len(got) != 1 {
			t.Errorf("%q", got)
		}
	}
}

// TestLiveIsBounded: so many streams of one principal, and a place is free when one ends.
func TestLiveIsBounded(t *testing.T) {
	s, _, _ := liveSite(t, api.Config{})
	c := s.client(nil, true)
	var open []*eventStream
	for range 8 {
		stream := s.stream(c, andina, s.token("ana"))
		stream.next("seconds")
		open = append(open, stream)
	}
	c.Timeout = 5 * time.Second
	a := s.ask(c, http.MethodGet, andina, s.token("ana"), "")
	c.Timeout = 0
	if got := a.problem(t); got != "429 too-many-requests" || a.Header.Get("Retry-After") == "" {
		t.Errorf("the ninth: %s", got)
	}
	s.stream(c, andina, s.token("bea")).next("seconds")
	open[0].cancel()
	for {
		stream := s.stream(c, andina, s.token("ana"))
		if stream.StatusCode == http.StatusOK {
			break
		}
		stream.Body.Close()
		time.Sleep(10 * time.Millisecond)
	}
}

// TestLiveSlowReader: who does not read is cut off, holds nobody up, and it is on record.
func TestLiveSlowReader(t *testing.T) {
	for _, h2 := range []bool{true, false} {
		s, b, _ := liveSite(t, api.Config{WriteTimeout: 300 * time.Millisecond})
		long := strings.Repeat("x", 1<<20)
		b.change(func() {
			for i := range 64 {
				b.of["andina"] = append(b.of["andina"], told{b.seq, live.Second{At: epoch.Add(time.Duration(i) * time.Second), Channels: map[string]int64{long: 1}}})
			}
		})
		r, err := http.NewRequest(http.MethodGet, s.url+andina, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.token("ana"))
		resp, err := s.client(nil, h2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		for {
			if records := s.log.Records(); len(records) == 2 {
				if records[1].Action != "live.done" || records[1].Detail["end"] != "too_slow" {
					t.Errorf("HTTP/2 %v: %+v", h2, records[1])
				}
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("HTTP/2 %v: the stream ended well", h2)
		}
		resp.Body.Close()
	}
}

// recorder takes a stream in a bubble of time.
type recorder struct {
	mu      sync.Mutex
	header  http.Header
	status  int
	text    strings.Builder
	flushed strings.Builder
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *recorder) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushed.WriteString(r.text.String())
	r.text.Reset()
}

// take returns what came since.
func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.flushed.Reset()
	return r.flushed.String()
}

// signIn lets everybody in as ana while it is open.
type signIn struct {
	isClosed atomic.Bool
	as       atomic.Pointer[grants.Principal]
	asked    atomic.Int64
}

func (s *signIn) FromRequest(*http.Request) (grants.Caller, error) {
	s.asked.Add(1)
	if s.isClosed.Load() {
		return grants.Caller{}, &signin.Error{Reason: signin.NoCredentials}
	}
	c := grants.Caller{Principal: grants.Principal{Kind: grants.DataScientist, Name: "ana"}}
	if p := s.as.Load(); p != nil {
		c.Principal = *p
	}
	return c, nil
}

func (*signIn) Origin(*http.Request) string { return "192.0.2.1" }

// inBubble streams in a bubble of time, in which test runs beside it.
func inBubble(t *testing.T, test func(b *board, r *rules, door *signIn, log *queriestest.Log, w *recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, r, door, log := newBoard(), &rules{}, &signIn{}, &queriestest.Log{}
		r.set(queriestest.Only(nil, "andina"))
		server, err := api.New(api.Deps{SignIn: door, Permits: r, Recorder: log, Live: b}, api.Config{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		w := &recorder{header: http.Header{}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, andina, nil).WithContext(ctx))
		}()
		synctest.Wait()
		test(b, r, door, log, w)
		cancel()
		<-done
	})
}

// TestLiveIsDecidedAnew: within a second of the withdrawal of the grant, of the sign-in, or of
// who it was, the stream says so and ends, and of what happens after that it tells nothing.
func TestLiveIsDecidedAnew(t *testing.T) {
	for name, tc := range map[string]struct {
		withdraw func(*rules, *signIn)
		reason   string
	}{
		"grant":          {func(r *rules, _ *signIn) { r.set(queriestest.Nothing) }, "not_permitted"},
		"tenant":         {func(r *rules, _ *signIn) { r.set(queriestest.Only(nil, "boreal")) }, "not_permitted"},
		"sign-in":        {func(_ *rules, s *signIn) { s.isClosed.Store(true) }, "signed_out"},
		"another person": {func(_ *rules, s *signIn) { s.as.Store(&grants.Principal{Kind: grants.DataScientist, Name: "bea"}) }, "signed_out"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *board, r *rules, door *signIn, log *queriestest.Log, w *recorder) {
				time.Sleep(2500 * time.Millisecond)
				b.count("andina", 1, 5)
				synctest.Wait()
				time.Sleep(liveEvery)
				synctest.Wait()
				if got := w.take(); !strings.Contains(got, `"requests":5`) {
					t.Fatalf("before: %s", got)
				}
				tc.withdraw(r, door)
				time.Sleep(time.Second)
				synctest.Wait()
				if got := w.take(); !strings.HasSuffix(got, "event: end\ndata: {\"reason\":\""+tc.reason+"\"}\n\n") || strings.Contains(got, "seconds") {
					t.Errorf("after a second: %q", got)
				}
				b.count("andina", 2, 6)
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := w.take(); got != "" {
					t.Errorf("after the end: %q", got)
				}
				records := log.Records()
				if last := records[len(records)-1]; last.Action != "live.done" || last.Detail["end"] != tc.reason {
					t.Errorf("record %+v", last)
				}
			})
		})
	}
}

// liveEvery is how long a stream says nothing after it said something.
const liveEvery = 200 * time.Millisecond

// TestLiveNarrows: what is not given any more is not there any more.
func TestLiveNarrows(t *testing.T) {
	inBubble(t, func(b *board, r *rules, _ *signIn, _ *queriestest.Log, w *recorder) {
		b.count("andina", 1, 5)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if got := w.take(); !strings.Contains(got, `"amounts"`) {
			t.Fatalf("before: %s", got)
		}
		r.set(queriestest.Only(map[string]grants.Access{"amount": grants.Dropped}, "andina"))
		time.Sleep(time.Second)
		b.count("andina", 2, 6)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := w.take(); strings.Contains(got, `"amounts"`) || !strings.Contains(got, `"requests":5`) || !strings.Contains(got, `"requests":6`) {
			t.Errorf("after: %s", got)
		}
	})
}

// TestLiveGoesOnRecord: a stream that lasts is on record each minute, and ends when it can't be.
func TestLiveGoesOnRecord(t *testing.T) {
	inBubble(t, func(_ *board, _ *rules, _ *signIn, log *queriestest.Log, w *recorder) {
		time.Sleep(3*time.Minute + 30*time.Second)
		synctest.Wait()
		if got := len(log.Records()); got != 4 {
			t.Errorf("%d records in three and a half minutes", got)
		}
		w.take()
		log.Fail(errors.New("the disk is full"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.take(); !strings.HasSuffix(got, "data: {\"reason\":\"unrecorded\"}\n\n") {
			t.Errorf("without the record: %q", got)
		}
	})
}

// TestLivePace: much that happens is told in few events, and nothing that happens too, so that a
// page knows how fresh it is and a proxy that the stream is there.
func TestLivePace(t *testing.T) {
	inBubble(t, func(b *board, _ *rules, door *signIn, _ *queriestest.Log, w *recorder) {
		w.take()
		for i := range 1000 {
			b.count("andina", i, 5)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(liveEvery)
		synctest.Wait()
		text := w.take()
		if events, seconds := strings.Count(text, "event: seconds"), strings.Count(text, `"requests":5`); events > 8 || seconds != 1000 {
			t.Errorf("%d events with %d seconds", events, seconds)
		}
		before := door.asked.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := strings.Count(w.take(), "event: seconds"); got < 11 || got > 13 {
			t.Errorf("%d events in a minute in which nothing happened", got)
		}
		if got := door.asked.Load() - before; got < 59 || got > 61 {
			t.Errorf("who asks was found out %d times in a minute", got)
		}
		b.change(func() { b.isDead = true })
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := strings.Count(w.take(), ": \n\n"); got < 3 || got > 4 {
			t.Errorf("%d heartbeats in a minute without workers", got)
		}
	})
}

// TestLiveWithoutWorkers: the first message says that there are none.
func TestLiveWithoutWorkers(t *testing.T) {
	s, b, _ := liveSite(t, api.Config{})
	b.isDead, b.snapshot = true, live.Snapshot{}
	stream := s.stream(s.client(nil, true), andina, s.token("ana"))
	if e := stream.next(); e.data != `{"live":false,"id":"","committed_at":null,"as_of":null}` {
		t.Errorf("%+v", e)
	}
	b.commit(9)
	if e := stream.next(); e.name != "snapshot" || !strings.Contains(e.data, `"live":false,"id":"9"`) {
		t.Errorf("%+v", e)
	}
}
