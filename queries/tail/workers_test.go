package tail_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/tailserver"
	"github.com/cardlake/cardlake/queries/tail"
	"github.com/cardlake/cardlake/queries/tail/tailtest"
	"github.com/cardlake/cardlake/writers/writerstest"
)

const (
	reader = "gateway.example"
	group  = "workers.example"
)

// town is a network of workers, each at an address of its own, all with certificates for the
// name of their group.
type town struct {
	t         *testing.T
	authority *tailtest.Authority

	mu      sync.Mutex
	at      map[string]string   // address to that of a listener
	names   map[string][]string // what can be looked up
	lookups int
	dialled map[string]int
	failing error
	now     time.Time
}

func newTown(t *testing.T) *town {
	return &town{
		t: t, authority: tailtest.NewAuthority(t), at: map[string]string{}, names: map[string][]string{},
		dialled: map[string]int{}, now: time.Unix(0, 0),
	}
}

// worker lets one live at addr that has the rows from to to of a partition.
func (n *town) worker(addr string, p cardlake.StreamPartition, from, to int64) (stop func()) {
	n.t.Helper()
	b, g := cardlake.NewBatch(), writerstest.New(uint64(from))
	for o := from; o < to; o++ {
		tx := g.Next()
		tx.Position = cardlake.Position{StreamPartition: p, Offset: o}
		if err := b.Append(tx); err != nil {
			n.t.Fatal(err)
		}
	}
	view := b.View()
	s, err := tailserver.New(answering{func(cardlake.Positions) (*ingest.Tail, error) {
		return &ingest.Tail{To: cardlake.Positions{p: {Next: to}}, Rows: []arrow.RecordBatch{view}}, nil
	}}, tailserver.Config{
		Certificate: n.authority.Server(group), ClientCAs: n.authority.Pool(), Clients: []string{reader}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	n.at[addr] = l.Addr().String()
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			n.t.Error(err)
		}
	})
	n.t.Cleanup(stop)
	return stop
}

type answering struct {
	tail func(cardlake.Positions) (*ingest.Tail, error)
}

func (a answering) Tail(from cardlake.Positions) (*ingest.Tail, error) { return a.tail(from) }

func (n *town) dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	to := n.at[addr]
	n.dialled[addr]++
	n.mu.Unlock()
	if to == "" {
		return nil, errors.New("nobody lives there")
	}
	return new(net.Dialer).DialContext(ctx, "tcp", to)
}

func (n *town) lookup(_ context.Context, host string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lookups++
	if n.failing != nil {
		return nil, n.failing
	}
	return slices.Clone(n.names[host]), nil
}

func (n *town) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *town) workers(addrs ...string) *tail.Workers {
	n.t.Helper()
	config := n.authority.Client(reader)
	if len(addrs) > 0 && addrs[0][0] >= '0' && addrs[0][0] <= '9' {
		config.ServerName = group
	}
	w, err := tail.NewWorkers(addrs, config, tail.WorkersConfig{
		Client: tail.Config{Dial: n.dial}, Lookup: n.lookup, Refresh: time.Minute,
		Now: func() time.Time {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.now
		},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = w.Close() })
	return w
}

func part(n int32) cardlake.StreamPartition {
	return cardlake.StreamPartition{Stream: "cards", Partition: n}
}

// check asks for the tail and checks where it ends, that each row before is there once, and
// that the words, and only if there are any something, are told of workers that do not answer.
func (n *town) check(w *tail.Workers, from, want cardlake.Positions, unanswered ...string) {
	n.t.Helper()
	got, err := w.Tail(n.t.Context(), from)
	if err != nil {
		n.t.Error(err)
		return
	}
	defer got.Release()
	if diff := cmp.Diff(want, got.To); diff != "" {
		n.t.Errorf("where the tail ends (-want +got):\n%s", diff)
	}
	if (got.Unanswered != nil) != (len(unanswered) > 0) {
		n.t.Errorf("unanswered: %v, want %q", got.Unanswered, unanswered)
	}
	for _, words := range unanswered {
		if got.Unanswered != nil && !strings.Contains(got.Unanswered.Error(), words) {
			n.t.Errorf("unanswered: %v, want %q", got.Unanswered, unanswered)
		}
	}
	rows := map[cardlake.Position]int{}
	for _, record := range got.Records {
		if _, err := cardlake.SelectByPosition(record, func(p cardlake.Position) bool { rows[p]++; return true }); err != nil {
			n.t.Error(err)
		}
	}
	for p, to := range want {
		for o := from[p].Next; o < to.Next; o++ {
			at := cardlake.Position{StreamPartition: p, Offset: o}
			if rows[at] != 1 {
				n.t.Errorf("%s is there %d times", at, rows[at])
			}
			delete(rows, at)
		}
	}
	if len(rows) > 0 {
		n.t.Errorf("rows outside: %v", slices.Collect(maps.Keys(rows)))
	}
}

var start = cardlake.Positions{part(0): {Next: 5}, part(1): {Next: 5}}

func TestWorkersOfAList(t *testing.T) {
	n := newTown(t)
	stop := n.worker("10.0.0.1:1", part(0), 5, 25)
	n.worker("10.0.0.2:1", part(1), 5, 9)
	w := n.workers("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
	both := cardlake.Positions{part(0): {Next: 25}, part(1): {Next: 9}}
	for range 3 {
		n.check(w, start, both, "10.0.0.3:1")
	}
	n.set(func() {
		if n.dialled["10.0.0.1:1"] != 1 {
			t.Errorf("%d connections for three questions", n.dialled["10.0.0.1:1"])
		}
	})
	stop()
	n.check(w, start, cardlake.Positions{part(1): {Next: 9}}, "10.0.0.1:1", "10.0.0.3:1")
	if _, err := n.workers("10.0.0.3:1", "10.0.0.4:1").Tail(t.Context(), start); err == nil {
		t.Error("nobody answered, and that is no error")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Tail(t.Context(), start); err == nil {
		t.Error("an answer after Close")
	}
}

// A worker that comes back is asked again.
func TestWorkerComesBack(t *testing.T) {
	n := newTown(t)
	stop := n.worker("10.0.0.1:1", part(0), 5, 25)
	w := n.workers("10.0.0.1:1")
	n.check(w, start, cardlake.Positions{part(0): {Next: 25}})
	stop()
	if _, err := w.Tail(t.Context(), start); err == nil {
		t.Error("a worker that is away answered")
	}
	n.worker("10.0.0.1:1", part(0), 5, 30)
	for {
		got, err := w.Tail(t.Context(), start)
		if err == nil {
			got.Release()
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	n.check(w, start, cardlake.Positions{part(0): {Next: 30}})
}

// The addresses of a name come and go.
func TestWorkersOfAName(t *testing.T) {
	n := newTown(t)
	n.worker("10.0.0.1:7", part(0), 5, 25)
	n.worker("10.0.0.2:7", part(1), 5, 9)
	n.worker("[fd00::3]:7", part(2), 0, 3)
	w := n.workers("dns:" + group + ":7")
	if _, err := w.Tail(t.Context(), start); err == nil {
		t.Error("a name without address answered")
	}
	n.set(func() { n.names[group] = []string{"10.0.0.1"} })
	n.check(w, start, cardlake.Positions{part(0): {Next: 25}})
	n.set(func() { n.names[group] = []string{"10.0.0.1", "10.0.0.2", "fd00::3", "10.0.0.9", "10.0.0.1"} })
	n.check(w, start, cardlake.Positions{part(0): {Next: 25}}) // not looked up yet
	later := func() { n.set(func() { n.now = n.now.Add(time.Minute) }) }
	later()
	n.check(w, start, cardlake.Positions{part(0): {Next: 25}, part(1): {Next: 9}, part(2): {Next: 3}}, "10.0.0.9:7")
	n.set(func() { n.names[group] = []string{"10.0.0.2"} })
	later()
	n.check(w, start, cardlake.Positions{part(1): {Next: 9}})
	n.set(func() { n.failing = errors.New("no name server") })
	later()
	for range 2 { // whether or not it is looked up again
		n.check(w, start, cardlake.Positions{part(1): {Next: 9}}, "no name server")
	}
	n.set(func() {
		if n.lookups != 5 || n.dialled["10.0.0.1:7"] != 1 || n.dialled["10.0.0.2:7"] != 1 {
			t.Errorf("%d look-ups, connections %v", n.lookups, n.dialled)
		}
	})
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Tail(t.Context(), start); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestNameThatFails(t *testing.T) {
	n := newTown(t)
	n.failing = errors.New("no name server")
	if _, err := n.workers("dns:"+group+":7").Tail(t.Context(), start); !errors.Is(err, n.failing) {
		t.Errorf("error is %v", err)
	}
	n.worker("10.0.0.2:7", part(1), 5, 9)
	n.check(n.workers("10.0.0.2:7", "dns:"+group+":7"), start, cardlake.Positions{part(1): {Next: 9}}, "no name server")
}

// Many ask while addresses change.
func TestManyAskAName(t *testing.T) {
	n := newTown(t)
	n.worker("10.0.0.1:7", part(0), 5, 25)
	n.worker("10.0.0.2:7", part(1), 5, 9)
	n.names[group] = []string{"10.0.0.1", "10.0.0.2"}
	w := n.workers("dns:" + group + ":7")
	var askers sync.WaitGroup
	for range 4 {
		askers.Go(func() {
			for i := range 10 {
				n.set(func() {
					n.now = n.now.Add(time.Minute)
					n.names[group] = [][]string{{"10.0.0.1", "10.0.0.2"}, {"10.0.0.1"}}[i%2]
				})
				got, err := w.Tail(t.Context(), start)
				if err != nil {
					t.Error(err)
					return
				}
				if got.To[part(0)].Next != 25 {
					t.Errorf("the tail ends at %v", got.To)
				}
				got.Release()
			}
		})
	}
	askers.Wait()
}

// Those who ask do not wait longer than they want, for a worker that accepts and says nothing.
func TestSilentWorker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := newTown(t)
	n.at["10.0.0.1:1"] = l.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := n.workers("10.0.0.1:1").Tail(ctx, start); err == nil {
		t.Error("a silent worker answered")
	}
}

func TestConfiguration(t *testing.T) {
	a := tailtest.NewAuthority(t)
	for name, c := range map[string]struct {
		addr   string
		config *tls.Config
		isGood bool
	}{
		"good":             {"w.example:1", a.Client("c"), true},
		"address":          {"10.0.0.1:1", a.Client("c"), true},
		"name":             {"dns:w.example:1", a.Client("c"), true},
		"no port":          {"w.example", a.Client("c"), false},
		"name without it":  {"dns:w.example", a.Client("c"), false},
		"empty name":       {"dns::1", a.Client("c"), false},
		"no TLS":           {"w.example:1", nil, false},
		"no authority":     {"w.example:1", &tls.Config{Certificates: a.Client("c").Certificates}, false},
		"no certificate":   {"w.example:1", &tls.Config{RootCAs: a.Pool()}, false},
		"name, no TLS":     {"dns:w.example:1", nil, false},
		"nothing verified": {"w.example:1", &tls.Config{RootCAs: a.Pool(), Certificates: a.Client("c").Certificates, InsecureSkipVerify: true}, false},
	} {
		w, err := tail.NewWorkers([]string{c.addr}, c.config, tail.WorkersConfig{})
		if (err == nil) != c.isGood {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = w.Close()
		}
	}
	if _, err := tail.NewWorkers(nil, a.Client("c"), tail.WorkersConfig{}); err == nil {
		t.Error("no address: no error")
	}
	if _, err := tail.NewWorkers([]string{"a:1"}, a.Client("c"), tail.WorkersConfig{Refresh: -1}); err == nil {
		t.Error("negative Refresh: no error")
	}
	if _, err := tail.New("a:1", a.Client("c"), tail.Config{MaxBytes: -1}); err == nil {
		t.Error("negative MaxBytes: no error")
	}
}
