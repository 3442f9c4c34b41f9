package kafka_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/ingesttest"
	"github.com/cardlake/cardlake/ingest/kafka"
)

// maxMessage is the largest batch of the topics of the suite, in bytes.
const maxMessage = 10 << 20

// sessionTimeout is short, so that an isolated member is soon given up.
const sessionTimeout = time.Second

// group is a topic and the members of a group on it, whose connections can be cut.
type group struct {
	base     kafka.Config     // brokers, security, protocol
	connect  func(testing.TB) // makes admin anew
	admin    *kgo.Client
	topic    string
	isStatic bool         // members have instance ids
	count    atomic.Int32 // of partitions

	mu    sync.Mutex
	links map[string]*link
}

// opener makes topics on the brokers of base. admin are the options of a client that may
// create them.
func opener(base kafka.Config, isStatic bool, admin ...kgo.Opt) ingesttest.Open {
	var topics atomic.Int64
	return func(t testing.TB, partitions int) ingesttest.Stream {
		t.Helper()
		g := &group{base: base, isStatic: isStatic, topic: fmt.Sprintf("events-%s-%d", strconv.FormatUint(uint64(rand.Uint32()), 36), topics.Add(1)), links: map[string]*link{}}
		g.count.Store(int32(partitions))
		g.connect = func(t testing.TB) {
			client, err := kgo.NewClient(append([]kgo.Opt{
				kgo.SeedBrokers(base.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
				kgo.ProducerBatchMaxBytes(maxMessage), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0),
			}, admin...)...)
			if err != nil {
				t.Fatal(err)
			}
			g.admin = client
		}
		g.connect(t)
		limit := fmt.Sprint(maxMessage)
		resp, err := kadm.NewClient(g.admin).CreateTopic(context.Background(), int32(partitions), 1, map[string]*string{"max.message.bytes": &limit}, g.topic)
		if err != nil || resp.Err != nil {
			t.Fatal(err, resp.Err)
		}
		return ingesttest.Stream{
			Source: g.source, Produce: g.produce, Isolate: g.isolate, Close: func() { g.admin.Close() },
			Reshard: g.reshard, Trim: g.trim, Received: g.received,
			Buffer: 4 << 20, MaxRecord: maxMessage - 1<<10,
		}
	}
}

func (g *group) source(t testing.TB, member string) ingest.Source {
	l := &link{}
	g.mu.Lock()
	g.links[member] = l
	g.mu.Unlock()
	cfg := g.base
	cfg.Topic, cfg.Group = g.topic, g.topic
	if g.isStatic {
		cfg.InstanceID = member
	}
	cfg.BufferBytes, cfg.PartitionBytes, cfg.MaxRecords = 1<<20, 512<<10, 20
	cfg.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})).With("member", member)
	dial := (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	cfg.Options = append([]kgo.Opt{
		kgo.Dialer(l.dialer(dial, cfg.TLS)), kgo.MetadataMinAge(50 * time.Millisecond), kgo.MetadataMaxAge(500 * time.Millisecond),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(200 * time.Millisecond),
		kgo.RequestTimeoutOverhead(2 * time.Second), kgo.FetchMaxWait(100 * time.Millisecond),
	}, cfg.Options...)
	cfg.TLS = nil // the dialer's
	return kafka.New(cfg)
}

func (g *group) produce(t testing.TB, hint int, key, value []byte) {
	t.Helper()
	err := g.admin.ProduceSync(context.Background(), &kgo.Record{Topic: g.topic, Partition: int32(hint) % g.count.Load(), Key: key, Value: value}).FirstErr()
	if err != nil {
		t.Fatal(err)
	}
}

func (g *group) isolate(_ testing.TB, member string) func() {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.links[member].cut()
}

func (g *group) received(member string) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.links[member].read.Load()
}

func (g *group) reshard(t testing.TB) {
	t.Helper()
	n := g.count.Load() + 1
	resp, err := kadm.NewClient(g.admin).UpdatePartitions(context.Background(), int(n), g.topic)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	g.count.Store(n)
	g.admin.Close() // it would not know the new partition for a while
	g.connect(t)
}

func (g *group) trim(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	admin := kadm.NewClient(g.admin)
	ends, err := admin.ListEndOffsets(ctx, g.topic)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteRecords(ctx, ends.Offsets()); err != nil {
		t.Fatal(err)
	}
}

// link is a member's connections: they count what they read, and hang while cut.
type link struct {
	read atomic.Int64
	mu   sync.Mutex
	gate chan struct{} // closed when healed; nil: never cut
}

func (l *link) cut() (heal func()) {
	gate := make(chan struct{})
	l.mu.Lock()
	l.gate = gate
	l.mu.Unlock()
	return func() { close(gate) }
}

func (l *link) healed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gate == nil {
		healed := make(chan struct{})
		close(healed)
		return healed
	}
	return l.gate
}

// dialer dials through the link, with TLS inside it if cfg is not nil.
func (l *link) dialer(dial func(context.Context, string, string) (net.Conn, error), cfg *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case <-l.healed():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conn = &hangingConn{Conn: conn, link: l, closed: make(chan struct{})}
		if cfg == nil {
			return conn, nil
		}
		host, _, _ := net.SplitHostPort(addr)
		withName := cfg.Clone()
		withName.ServerName = host
		secure := tls.Client(conn, withName)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
	}
}

type hangingConn struct {
	net.Conn
	link   *link
	once   sync.Once
	closed chan struct{}
}

func (c *hangingConn) pass() error {
	select {
	case <-c.link.healed():
		return nil
	case <-c.closed:
		return net.ErrClosed
	}
}

func (c *hangingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.link.read.Add(int64(n))
	if gone := c.pass(); gone != nil {
		return 0, gone
	}
	return n, err
}

func (c *hangingConn) Write(b []byte) (int, error) {
	if err := c.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *hangingConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// kfakeGroups is a kfake cluster for the suite.
func kfakeGroups(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100 * time.Millisecond),
		kfake.BrokerConfigs(map[string]string{
			"group.consumer.session.timeout.ms": fmt.Sprint(sessionTimeout.Milliseconds()), "group.consumer.heartbeat.interval.ms": "200",
			"message.max.bytes": fmt.Sprint(maxMessage),
		}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

// TestConforms runs the conformance suite under both group protocols.
func TestConforms(t *testing.T) {
	for _, p := range []kafka.Protocol{kafka.Cooperative, kafka.ServerSide} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			cluster := kfakeGroups(t)
			// A static member that left keeps its partitions for ever in kfake's consumer protocol;
			// a real broker gives them to others when its session ends.
			isStatic := p == kafka.Cooperative
			ingesttest.Run(t, opener(kafka.Config{Brokers: cluster.ListenAddrs(), Protocol: p}, isStatic))
		})
	}
}

// TestSuiteBites: the suite is worth something only if it fails here.
func TestSuiteBites(t *testing.T) {
	for _, c := range []struct {
		fault, name string
		options     []kgo.Opt
		on          ingesttest.Options
	}{
		{fault: "a table that takes every commit", name: "zombie worker", on: ingesttest.Options{Unfenced: true}},
		{fault: "a source that jumps over what is gone", name: "records gone from the stream", options: []kgo.Opt{kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}},
		{fault: "a source that fetches without bound", name: "slow consumer", options: []kgo.Opt{kgo.FetchMaxBytes(64 << 20), kgo.FetchMaxPartitionBytes(64 << 20)}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			cluster := kfakeGroups(t)
			open := opener(kafka.Config{Brokers: cluster.ListenAddrs(), Options: c.options}, false)
			i := slices.IndexFunc(ingesttest.Cases(), func(k ingesttest.Case) bool { return k.Name == c.name })
			findings := ingesttest.Cases()[i].Findings(t, open, c.on)
			if len(findings) == 0 {
				t.Error("the suite finds nothing")
			}
			for _, f := range findings {
				t.Log("found:", f)
			}
		})
	}
}
