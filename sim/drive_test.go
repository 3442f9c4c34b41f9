package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/processor/iso8583"
)

func timeOf(us int) time.Duration { return time.Duration(us) * time.Microsecond }

// host is a processor for tests. It finds out what is an event from the bytes alone, decides
// each event once, and is as troublesome as told.
type host struct {
	t        *testing.T
	listener net.Listener
	programs map[string]Program

	dropEvery  atomic.Int64 // close the connection at every n-th message, after deciding every other time
	loseEvery  atomic.Int64 // do not answer every n-th message
	brokeEvery atomic.Int64 // answer 96 to every n-th message and decide nothing
	stall      sync.RWMutex // held by a test to stall everything

	mu      sync.Mutex
	seen    int64
	decided map[cardlake.EventID]string
	tenants map[cardlake.EventID]cardlake.Tenant
	mtis    map[string]int
}

func newHost(t *testing.T, p *Population) *host {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, listener: l, programs: map[string]Program{}, decided: map[cardlake.EventID]string{}, tenants: map[cardlake.EventID]cardlake.Tenant{}, mtis: map[string]int{}}
	for _, pr := range p.Programs() {
		h.programs[pr.BIN] = pr
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				h.serve(c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return h
}

func (h *host) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		msg, err := iso8583.ReadFrame(in, nil)
		if err != nil {
			return
		}
		var v iso8583.View
		if err := v.Parse(msg); err != nil {
			h.t.Errorf("the client sent a message that cannot be read: %v", err)
			return
		}
		h.stall.RLock()
		answer, hangUp := h.answer(&v)
		h.stall.RUnlock()
		if hangUp {
			return
		}
		if len(answer) > 0 {
			if err := iso8583.WriteFrame(c, answer); err != nil {
				return
			}
		}
	}
}

func (h *host) answer(v *iso8583.View) (answer []byte, hangUp bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	mti := v.MTI()
	h.mtis[mti]++
	var b iso8583.Builder
	code := "00"
	if mti != "0800" {
		h.seen++
		every := func(n *atomic.Int64) bool { return n.Load() > 0 && h.seen%n.Load() == 0 }
		if every(&h.dropEvery) && h.seen/h.dropEvery.Load()%2 == 0 {
			return nil, true
		}
		pr := h.programs[string(v.Bytes(2)[:8])]
		id := card.EventKey{Tenant: pr.Tenant, Network: pr.Network, Acquirer: v.Text(32), RRN: v.Text(37), STAN: v.Text(11), MTI: mti, Transmission: v.Text(7)}.ID()
		if every(&h.brokeEvery) && h.decided[id] == "" {
			code = "96"
		} else {
			if code = []string{"00", "00", "00", "51"}[id[15]%4]; h.decided[id] == "" {
				h.decided[id], h.tenants[id] = code, pr.Tenant
			}
		}
		if every(&h.dropEvery) {
			return nil, true
		}
		if every(&h.loseEvery) {
			return nil, false
		}
		b.Set(2, v.Bytes(2))
		b.Set(37, v.Bytes(37))
	}
	to, _ := iso8583.ResponseTo(mti)
	b.SetText(0, to)
	b.Set(11, v.Bytes(11))
	b.SetText(39, code)
	out, err := b.Append(nil)
	if err != nil {
		h.t.Error(err)
	}
	return out, false
}

// check compares what the run says with what the host has decided.
func (h *host) check(r *Run, total uint64) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	want := map[cardlake.EventID]string{}
	for e := range r.Expected {
		if _, ok := want[e.ID]; ok {
			h.t.Fatalf("event of message %d comes twice", e.Number)
		}
		want[e.ID] = e.ResponseCode
		if h.tenants[e.ID] != e.Tenant {
			h.t.Fatalf("event of message %d is of tenant %q for the host", e.Number, h.tenants[e.ID])
		}
	}
	if uint64(len(want)) != total {
		h.t.Errorf("%d events are expected, want %d", len(want), total)
	}
	if diff := cmp.Diff(want, h.decided); diff != "" {
		h.t.Errorf("expected events and decided events (-expected +decided):\n%.2000s", diff)
	}
	p := r.Progress()
	if p.Sent != total || p.Answered != total || p.Approved+p.Declined != total || p.Conflicting != 0 {
		h.t.Errorf("%+v", p)
	}
}

func (h *host) client() ClientConfig { return testClient(h.listener.Addr().String()) }

func testClient(addr string) ClientConfig {
	return ClientConfig{Addr: addr, Connections: 3, Timeout: 300 * time.Millisecond, Window: 500}
}

func smallPopulation() *Population {
	return NewPopulation(Config{Seed: 21, Tenants: 6, CardsTotal: 600})
}

func openRun(t *testing.T, dir string, p *Population, rate float64) *Run {
	t.Helper()
	r, err := Open(dir, p, RunConfig{Start: monday, Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func drive(t *testing.T, r *Run, cfg ClientConfig, total uint64) Summary {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := r.Drive(ctx, cfg, total)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDriveReachesItsTotal(t *testing.T) {
	t.Parallel()
	p := smallPopulation()
	h := newHost(t, p)
	r := openRun(t, t.TempDir(), p, 2500)
	defer r.Close()
	cfg := h.client()
	cfg.Timeout = time.Minute // a slow machine makes no repeats
	drive(t, r, cfg, 1)
	h.check(r, 1)
	drive(t, r, cfg, 12_000)
	h.check(r, 12_000)
	if s := drive(t, r, cfg, 500); s.Answered != 12_000 {
		t.Errorf("a smaller total changes the run: %+v", s)
	}
	for _, mti := range []string{"0100", "0101", "0400", "0800"} {
		if h.mtis[mti] == 0 {
			t.Errorf("no %s was sent", mti)
		}
	}
	if s := r.Progress(); s.Strays != 0 || s.Reconnects != 0 {
		t.Errorf("without trouble: %+v", s)
	}
}

func TestDriveThroughTrouble(t *testing.T) {
	t.Parallel()
	p := smallPopulation()
	h := newHost(t, p)
	h.dropEvery.Store(701)
	h.loseEvery.Store(97)
	h.brokeEvery.Store(83)
	r := openRun(t, t.TempDir(), p, 4000)
	defer r.Close()
	s := drive(t, r, h.client(), 6000)
	h.check(r, 6000)
	if s.Reconnects == 0 || s.Repeats < 60 {
		t.Errorf("there was no trouble: %+v", s)
	}
}

// TestMain lets the test binary be the process that TestResumeAfterKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CARDLAKE_SIM_TEST_DIR"); dir != "" {
		r, err := Open(dir, smallPopulation(), RunConfig{Rate: 5000})
		if err == nil {
			_, err = r.Drive(context.Background(), testClient(os.Getenv("CARDLAKE_SIM_TEST_ADDR")), killTotal)
		}
		if err == nil {
			err = r.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const killTotal = 15_000

// TestResumeAfterKill kills the simulator again and again, under a processor that drops
// connections, and checks that the events are the same as if nothing had happened.
func TestResumeAfterKill(t *testing.T) {
	t.Parallel()
	p := smallPopulation()
	h := newHost(t, p)
	h.dropEvery.Store(1501)
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	decided := func() int {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.decided)
	}
	kills := 0
	for done := false; !done; kills++ {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "CARDLAKE_SIM_TEST_DIR="+dir, "CARDLAKE_SIM_TEST_ADDR="+h.listener.Addr().String())
		child.Stderr = os.Stderr
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan error, 1)
		go func() { exited <- child.Wait() }()
		goal := decided() + rng.IntN(2500)
		for waiting := true; waiting; {
			select {
			case err := <-exited:
				if err != nil {
					t.Fatal(err)
				}
				waiting, done = false, true
			case <-time.After(time.Millisecond):
				if decided() >= goal {
					if err := child.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
						t.Fatal(err)
					}
					err := <-exited
					waiting, done = false, err == nil
				}
			}
		}
	}
	r, err := Open(dir, p, RunConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h.check(r, killTotal)
	if kills < 6 || len(r.line) < 4 {
		t.Errorf("only %d kills, %d segments", kills, len(r.line))
	}
}

// TestCalendarFollowsTheClock checks DE 7 of what is sent first after a pause, and of what is
// sent again.
func TestCalendarFollowsTheClock(t *testing.T) {
	t.Parallel()
	p := smallPopulation()
	h := newHost(t, p)
	dir := t.TempDir()
	r, err := Open(dir, p, RunConfig{Rate: 2000})
	if err != nil {
		t.Fatal(err)
	}
	drive(t, r, h.client(), 200)
	first := r.line
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond)
	if r, err = Open(dir, p, RunConfig{Rate: 2000}); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	drive(t, r, h.client(), 400)
	h.check(r, 400)
	if len(r.line) != 2 || r.line[0] != first[0] {
		t.Fatalf("segments are %v, were %v", r.line, first)
	}
	if pause := time.Duration(r.line[1].Start - r.line[0].at(r.line[1].First)); pause < time.Second {
		t.Errorf("after a pause of more than a second the calendar has gone on by %s", pause)
	}
}

// TestAStallShowsInTheLatency holds the processor up for a while: all messages that were due
// meanwhile count as late, those that could not be sent included.
func TestAStallShowsInTheLatency(t *testing.T) {
	t.Parallel()
	p := smallPopulation()
	h := newHost(t, p)
	r := openRun(t, t.TempDir(), p, 1000)
	defer r.Close()
	cfg := h.client()
	cfg.Window, cfg.Timeout = 20, 10*time.Second
	const stall = 700 * time.Millisecond
	go func() {
		for r.Answered() < 200 {
			time.Sleep(time.Millisecond)
		}
		h.stall.Lock()
		time.Sleep(stall)
		h.stall.Unlock()
	}()
	s := drive(t, r, cfg, 1500)
	// A tenth of the messages were due in the stall's first quarter second at least, of which
	// a closed loop would have sent only 20.
	if got := r.latency.Quantile(.9); got < stall/4 || s.Max < stall*9/10 {
		t.Errorf("90%% were answered within %s, all within %s, with a stall of %s", got, s.Max, stall)
	}
}

func TestNoCardNumberInAnyFile(t *testing.T) {
	t.Parallel()
	p := smallPopulation()
	h := newHost(t, p)
	h.dropEvery.Store(4001)
	dir := t.TempDir()
	r := openRun(t, dir, p, 20_000)
	drive(t, r, h.client(), 40_000)
	var labelled []string
	for e := range r.Expected {
		var m Message
		if r.traffic().Message(e.Number, &m); m.Pattern != "" {
			labelled = append(labelled, e.ID.String())
		}
		if e.Number >= 20_000 {
			break
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var needles [][]byte
	p.AllPANs(func(pan card.PAN) bool {
		bcd, err := hex.DecodeString(string(pan.Digits()))
		if err != nil {
			t.Fatal(err)
		}
		needles = append(needles, bytes.Clone(pan.Digits()), bcd)
		return true
	})
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, n := range needles {
			if bytes.Contains(data, n) {
				t.Errorf("%s holds a card number", d.Name())
				break
			}
		}
		return nil
	})
	if err != nil || files != 2 {
		t.Errorf("%d files, %v", files, err)
	}
	checkLabels(t, dir, labelled)
}

func checkLabels(t *testing.T, dir string, want []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "labels.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for _, line := range lines {
		var l struct {
			EventID string `json:"event_id"`
			Pattern Pattern
			Episode string
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Pattern == "" || l.Episode == "" || got[l.EventID] {
			t.Fatalf("label %q: twice, incomplete or %v", line, err)
		}
		got[l.EventID] = true
	}
	for _, id := range want {
		if !got[id] {
			t.Errorf("event %s has no label", id)
		}
	}
	if len(want) == 0 {
		t.Error("no event was to be labelled")
	}
}

// TestLabelsSurviveAKill loses the labels' end and finds them whole after the next Open.
func TestLabelsSurviveAKill(t *testing.T) {
	t.Parallel()
	p := smallPopulation()
	h := newHost(t, p)
	dir := t.TempDir()
	r := openRun(t, dir, p, 20_000)
	drive(t, r, h.client(), 12_000)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "labels.jsonl")
	want, err := os.ReadFile(path)
	if err != nil || len(want) < 100 {
		t.Fatalf("%d bytes of labels, %v", len(want), err)
	}
	if err := os.Truncate(path, 71); err != nil {
		t.Fatal(err)
	}
	r = openRun(t, dir, p, 20_000)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("labels (-before +after):\n%s", diff)
	}
}

func TestDriveFailsWhereItCannotConnect(t *testing.T) {
	t.Parallel()
	p := smallPopulation()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	r := openRun(t, t.TempDir(), p, 100)
	defer r.Close()
	if _, err := r.Drive(t.Context(), ClientConfig{Addr: addr, Connect: 200 * time.Millisecond}, 10); !errors.Is(err, ErrUnreachable) || r.Sent() != 0 {
		t.Errorf("error is %v, %d events were sent", err, r.Sent())
	}
	if _, err := r.Drive(t.Context(), ClientConfig{}, 10); err == nil {
		t.Error("an empty address is taken")
	}
}
