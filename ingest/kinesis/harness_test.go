package kinesis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kinesis"
	"github.com/cardlake/cardlake/ingest/kinesis/kinesistest"
)

const streamName = "cards"

// world is a stream, a table that records are taken into, and leases. Its tests run in
// bubbles of testing/synctest, where hours pass in no time.
type world struct {
	t      *testing.T
	server *kinesistest.Server
	client *sdk.Client
	leases *memLeases
	table  *table
	logs   lockedBuffer
	sent   map[string]int // records by key
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T, shards int, cfg kinesistest.Config) *world {
	t.Helper()
	w := &world{t: t, server: kinesistest.New(cfg), leases: &memLeases{stored: map[string]kinesis.Lease{}}, sent: map[string]int{}}
	w.client = w.server.Client()
	w.table = &table{t: t, w: w, at: cardlake.Positions{}, rows: map[cardlake.StreamPartition][]string{}}
	count := int32(shards)
	_, err := w.client.CreateStream(t.Context(), &sdk.CreateStreamInput{StreamName: aws.String(streamName), ShardCount: &count})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// put sends n records over keys, each of which counts its own.
func (w *world) put(n, keys int) {
	w.t.Helper()
	for n > 0 {
		in := &sdk.PutRecordsInput{StreamName: aws.String(streamName)}
		for range min(n, 500) {
			key := fmt.Sprintf("key-%d", (n*31)%keys)
			in.Records = append(in.Records, types.PutRecordsRequestEntry{
				PartitionKey: aws.String(key), Data: fmt.Appendf(nil, "%s %d", key, w.sent[key]),
			})
			w.sent[key]++
			n--
		}
		out, err := w.client.PutRecords(w.t.Context(), in)
		if err != nil {
			w.t.Fatal(err)
		}
		if aws.ToInt32(out.FailedRecordCount) > 0 {
			w.t.Fatalf("%d records were refused", *out.FailedRecordCount)
		}
	}
}

func (w *world) total() (n int) {
	for _, sent := range w.sent {
		n += sent
	}
	return n
}

// split splits the shard in the middle of its hash keys.
func (w *world) split(shardID string) {
	w.t.Helper()
	list, err := w.client.ListShards(w.t.Context(), &sdk.ListShardsInput{StreamName: aws.String(streamName)})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, sh := range list.Shards {
		if *sh.ShardId == shardID {
			_, err := w.client.SplitShard(w.t.Context(), &sdk.SplitShardInput{
				StreamName: aws.String(streamName), ShardToSplit: &shardID, NewStartingHashKey: aws.String(middle(sh.HashKeyRange)),
			})
			if err != nil {
				w.t.Fatal(err)
			}
			return
		}
	}
	w.t.Fatalf("no shard %s", shardID)
}

func (w *world) merge(a, b string) {
	w.t.Helper()
	_, err := w.client.MergeShards(w.t.Context(), &sdk.MergeShardsInput{StreamName: aws.String(streamName), ShardToMerge: &a, AdjacentShardToMerge: &b})
	if err != nil {
		w.t.Fatal(err)
	}
}

// table takes records as the lake does: only at its own position, and a child's only when
// its parents have ended.
type table struct {
	t  *testing.T
	w  *world
	mu sync.Mutex
	at cardlake.Positions
	// rows are the records of each shard, order what was sent under each key.
	rows   map[cardlake.StreamPartition][]string
	order  []string
	fenced int
	skips  bool // parents that vanished need not have ended
}

func (tb *table) positions() cardlake.Positions {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return tb.at.Clone()
}

func (tb *table) size() int {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return len(tb.order)
}

// take commits one record and reports whether the table stood at its position.
func (tb *table) take(r *ingest.Record, parents map[string][]string) bool {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	part := r.Position.StreamPartition
	if tb.at[part].Next != r.Position.Offset || tb.at[part].Mark == kinesis.End && !r.End {
		tb.fenced++
		return false
	}
	for _, id := range parents[kinesis.ShardID(part)] {
		p, err := kinesis.Partition(part.Stream, id)
		if err != nil {
			tb.t.Error(err)
		}
		if tb.at[p].Mark != kinesis.End && !tb.skips {
			tb.t.Errorf("a record of %s came before its parent %s had ended", kinesis.ShardID(part), id)
		}
	}
	if r.End {
		tb.at[part] = cardlake.Offset{Next: r.Position.Offset, Mark: r.Mark}
		return true
	}
	tb.at[part] = cardlake.Offset{Next: r.Position.Offset + 1, Mark: r.Mark}
	tb.rows[part] = append(tb.rows[part], string(r.Value))
	tb.order = append(tb.order, string(r.Value))
	return true
}

// check looks for every record once, each key's in the order sent.
func (w *world) check() {
	w.t.Helper()
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	seen := map[string]int{}
	for _, row := range w.table.order {
		key, n, _ := strings.Cut(row, " ")
		if n != fmt.Sprint(seen[key]) {
			w.t.Errorf("record %s of %s came when %d was due", n, key, seen[key])
			return
		}
		seen[key]++
	}
	if !maps.Equal(seen, w.sent) {
		w.t.Errorf("the table has %d records, %d were sent", len(w.table.order), w.total())
	}
	for part, rows := range w.table.rows {
		if int64(len(rows)) != w.table.at[part].Next {
			w.t.Errorf("%s has %d records and the position %d", part, len(rows), w.table.at[part].Next)
		}
	}
}

// member is a worker of the test: it commits after every poll.
type member struct {
	*kinesis.Source
	w      *world
	ctx    context.Context
	stop   context.CancelFunc
	ended  chan struct{}
	mu     sync.Mutex
	owned  map[cardlake.StreamPartition]bool
	errs   []error
	events []string // assigned and revoked shards
	pause  chan struct{}
	polled bool         // records are being worked on
	refuse atomic.Int64 // assignments
}

var errRefused = errors.New("not now")

func (w *world) config(name string) kinesis.Config {
	return kinesis.Config{Stream: streamName, Worker: name, Log: slog.New(slog.NewTextHandler(&w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))}
}

func (w *world) start(cfg kinesis.Config) *member { return w.startWith(cfg, w.client, w.leases) }

func (w *world) startWith(cfg kinesis.Config, client kinesis.Client, leases kinesis.Leases) *member {
	m := &member{w: w}
	w.run(m, cfg, client, leases)
	return m
}

func (w *world) run(m *member, cfg kinesis.Config, client kinesis.Client, leases kinesis.Leases) {
	m.Source = kinesis.New(client, leases, cfg)
	m.ended, m.owned = make(chan struct{}), map[cardlake.StreamPartition]bool{}
	m.ctx, m.stop = context.WithCancel(context.Background())
	go func() {
		defer close(m.ended)
		var run sync.WaitGroup
		run.Go(func() {
			if err := m.Run(m.ctx, m); err != nil {
				w.t.Errorf("Run: %v", err)
			}
		})
		for m.ctx.Err() == nil {
			m.poll(m.ctx)
		}
		run.Wait()
	}()
	w.t.Cleanup(m.leave)
}

func (m *member) poll(ctx context.Context) {
	m.mu.Lock()
	m.polled = false
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	records, err := m.Poll(ctx)
	m.mu.Lock()
	pause := m.pause
	m.polled = len(records) > 0
	if err != nil {
		m.errs = append(m.errs, err)
	}
	m.mu.Unlock()
	if pause != nil {
		<-pause
	}
	if err != nil {
		time.Sleep(time.Second)
		return
	}
	parents := m.w.parents()
	for i := range records {
		m.mu.Lock()
		owned := m.owned[records[i].Position.StreamPartition]
		m.mu.Unlock()
		if owned && !m.w.table.take(&records[i], parents) {
			m.Seek(m.truth())
			return
		}
	}
	if len(records) > 0 {
		if err := m.Commit(ctx, m.truth()); err != nil {
			m.w.t.Errorf("Commit: %v", err)
		}
	}
}

// truth is where the table stands for what the member owns.
func (m *member) truth() cardlake.Positions {
	at := m.w.table.positions()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := cardlake.Positions{}
	for p := range m.owned {
		out[p] = at[p]
	}
	return out
}

func (m *member) Assigned(parts []cardlake.StreamPartition) (cardlake.Positions, error) {
	if m.refuse.Add(-1) >= 0 {
		return nil, errRefused
	}
	at := m.w.table.positions()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := cardlake.Positions{}
	for _, p := range parts {
		if m.owned[p] {
			m.w.t.Errorf("%s is assigned twice", p)
		}
		m.owned[p] = true
		m.events = append(m.events, "+"+fmt.Sprint(p.Partition))
		if o, ok := at[p]; ok {
			out[p] = o
		}
	}
	return out, nil
}

func (m *member) Revoked(parts []cardlake.StreamPartition, lost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range parts {
		if !m.owned[p] {
			m.w.t.Errorf("%s is revoked, but was not assigned", p)
		}
		delete(m.owned, p)
		sign := "-"
		if lost {
			sign = "!"
		}
		m.events = append(m.events, sign+fmt.Sprint(p.Partition))
	}
	if m.polled && m.ctx.Err() == nil {
		m.w.t.Errorf("%v are revoked while records are worked on", parts)
	}
}

func (m *member) shards() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []int32
	for p := range m.owned {
		out = append(out, p.Partition)
	}
	slices.Sort(out)
	return out
}

func (m *member) errors() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.errs)
}

// hold makes the member stand still after its next poll, until the returned function is
// called.
func (m *member) hold() (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pause := make(chan struct{})
	m.pause = pause
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.pause = nil
		close(pause)
	}
}

// leave stops the member and waits for it.
func (m *member) leave() {
	m.stop()
	<-m.ended
}

// parents are the parents of all shards that the stream ever had.
func (w *world) parents() map[string][]string {
	out := map[string][]string{}
	list, err := w.client.ListShards(context.Background(), &sdk.ListShardsInput{StreamName: aws.String(streamName)})
	if err != nil {
		w.t.Errorf("list shards: %v", err)
		return nil
	}
	for _, sh := range list.Shards {
		for _, p := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
			if p != nil {
				out[*sh.ShardId] = append(out[*sh.ShardId], *p)
			}
		}
	}
	return out
}

// until lets the bubble's time pass until ok holds.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for range 20_000 {
		synctest.Wait()
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	leases, _ := w.leases.List(context.Background())
	w.t.Fatalf("waited in vain until %s; the table is at %v of %d records; leases %+v\n%s", what, w.table.positions(), w.total(), leases, w.logs.String())
}

func (w *world) drained() bool { return w.table.size() == w.total() }

// memLeases keeps leases in memory.
type memLeases struct {
	mu     sync.Mutex
	stored map[string]kinesis.Lease
	away   atomic.Bool
}

func (m *memLeases) List(context.Context) ([]kinesis.Lease, error) {
	if m.away.Load() {
		return nil, errAway
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.stored)), nil
}

func (m *memLeases) Swap(_ context.Context, was, now kinesis.Lease) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have, ok := m.stored[was.Shard]
	if was.Counter == 0 && ok || was.Counter != 0 && !same(have, was) {
		return false, nil
	}
	m.stored[was.Shard] = now
	return true, nil
}

func (m *memLeases) Remove(_ context.Context, was kinesis.Lease) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if same(m.stored[was.Shard], was) {
		delete(m.stored, was.Shard)
	}
	return nil
}

// isWanted reports whether a lease is about to change hands.
func (m *memLeases) isWanted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.stored {
		if l.Wanted != "" {
			return true
		}
	}
	return false
}

func same(a, b kinesis.Lease) bool {
	return a.Owner == b.Owner && a.Wanted == b.Wanted && a.Counter == b.Counter
}

func middle(r *types.HashKeyRange) string {
	low, high := bigInt(*r.StartingHashKey), bigInt(*r.EndingHashKey)
	return low.Add(low, high).Rsh(low, 1).String()
}

// network is a member's way to Kinesis and to its leases; while it is cut, calls hang.
type network struct {
	mu       sync.Mutex
	cut      chan struct{}
	received atomic.Int64  // bytes of answers
	latency  time.Duration // of each read
}

func (n *network) isolate() (heal func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	cut := make(chan struct{})
	n.cut = cut
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.cut = nil
		close(cut)
	}
}

func (n *network) pass(ctx context.Context) error {
	n.mu.Lock()
	cut := n.cut
	n.mu.Unlock()
	if cut == nil {
		return ctx.Err()
	}
	select {
	case <-cut:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do is the way of requests over the network.
func (n *network) do(next sdk.HTTPClient) sdk.HTTPClient { return cutHTTP{n, next} }

type cutHTTP struct {
	*network
	next sdk.HTTPClient
}

func (c cutHTTP) Do(r *http.Request) (*http.Response, error) {
	if err := c.pass(r.Context()); err != nil {
		return nil, err
	}
	response, err := c.next.Do(r)
	if err == nil {
		response.Body = cutBody{c.network, r.Context(), response.Body}
	}
	return response, err
}

type cutBody struct {
	*network
	ctx context.Context
	io.ReadCloser
}

func (c cutBody) Read(p []byte) (int, error) {
	time.Sleep(c.latency)
	n, err := c.ReadCloser.Read(p)
	c.received.Add(int64(n))
	if cut := c.pass(c.ctx); cut != nil {
		return 0, cut
	}
	return n, err
}

type cutLeases struct {
	*network
	next kinesis.Leases
}

func (c cutLeases) List(ctx context.Context) ([]kinesis.Lease, error) {
	if err := c.pass(ctx); err != nil {
		return nil, err
	}
	return c.next.List(ctx)
}

func (c cutLeases) Swap(ctx context.Context, was, now kinesis.Lease) (bool, error) {
	if err := c.pass(ctx); err != nil {
		return false, err
	}
	return c.next.Swap(ctx, was, now)
}

func (c cutLeases) Remove(ctx context.Context, was kinesis.Lease) error {
	if err := c.pass(ctx); err != nil {
		return err
	}
	return c.next.Remove(ctx, was)
}

// startCut starts a member whose network can be cut.
func (w *world) startCut(cfg kinesis.Config) (*member, *network) {
	n := &network{}
	o := w.client.Options()
	o.HTTPClient = n.do(o.HTTPClient)
	return w.startWith(cfg, sdk.New(o), cutLeases{n, w.leases}), n
}
