package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// site is a broker and a lake on disk, shared by the workers of a test.
type site struct {
	t       testing.TB
	dir     string
	brokers []string
	client  *kgo.Client
	ring    *local.Keyring
	tenants *catalog.Tenants
	owner   keys.Owner
	store   objects.Store
	encoder *wire.Encoder
}

const (
	tenant     = cardlake.Tenant("aurora-pay")
	partitions = 4
	topic      = "events"
)

func newSite(t testing.TB) *site {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return newSiteOn(t, cluster.ListenAddrs()...)
}

// newSiteOn is a site on brokers that have the topic.
func newSiteOn(t testing.TB, brokers ...string) *site {
	t.Helper()
	ctx := context.Background()
	s := &site{t: t, dir: t.TempDir(), brokers: brokers}
	var err error
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(s.brokers...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	if s.ring, err = local.Create(s.dir+"/k", []byte("a secret for this test"), slices.Concat(keys.CardPurposes, keys.LakePurposes)); err != nil {
		t.Fatal(err)
	}
	if s.tenants, err = catalog.OpenTenants(s.dir + "/tenants.json"); err != nil {
		t.Fatal(err)
	}
	r, err := s.tenants.Create(tenant, "MX", "MXN", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.owner = keys.OwnerOf(r.StorageID)
	if err := s.ring.EnsureOwners(ctx, keys.Lake, s.owner); err != nil {
		t.Fatal(err)
	}
	s.newLake(s.dir)
	s.encoder = wire.NewEncoder(s.ring, wire.EncoderConfig{})
	return s
}

// newLake makes the workers that start from now on write to an empty lake in the folder.
func (s *site) newLake(dir string) {
	s.dir = dir
	s.store = objects.NewSealed(dir+"/objects", s.ring, objects.SealedConfig{})
}

func eventID(n int) cardlake.EventID {
	return card.EventKey{Tenant: tenant, STAN: fmt.Sprint(n), MTI: "0100"}.ID()
}

// produce puts events from up to to on the stream.
func (s *site) produce(from, to int) {
	s.t.Helper()
	ctx := context.Background()
	pan, err := card.ParsePAN("4111111111111111")
	if err != nil {
		s.t.Fatal(err)
	}
	var records []*kgo.Record
	for n := from; n < to; n++ {
		value, err := s.encoder.Append(ctx, nil, s.owner, &card.Message{PAN: pan, Transaction: cardlake.Transaction{
			EventID: eventID(n), TransactionID: eventID(n), EventType: cardlake.Authorization, Tenant: tenant,
			Program: "p", Region: "local", EventTime: time.Now().UnixMicro(), Network: cardlake.Visa,
			Amount: cardlake.Money{Minor: 100, Currency: "MXN"}, Channel: cardlake.POS, EntryMode: "chip",
			ResponseCode: "00", Approved: true, MTI: "0100",
		}})
		if err != nil {
			s.t.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: topic, Key: fmt.Append(nil, n), Value: value})
	}
	if err := s.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// worker is one worker process's worth: its own catalog connection and group member.
type worker struct {
	*ingest.Worker
	lake *iceberg.Catalog
	stop context.CancelFunc
	done chan error
}

func (s *site) start(instance string) *worker {
	return s.startWith(instance, 50, ingest.Config{WindowAge: 100 * time.Millisecond, WindowRows: 200})
}

func (s *site) startWith(instance string, pollRecords int, cfg ingest.Config) *worker {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(testWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	lake, err := iceberg.Open(ctx, iceberg.Config{DB: s.dir + "/catalog.db", Objects: s.store, Logger: log})
	if err != nil {
		s.t.Fatal(err)
	}
	transactions, err := lake.Table(ctx, cardlake.Transactions)
	if err != nil {
		s.t.Fatal(err)
	}
	rejected, err := lake.Table(ctx, cardlake.Rejected)
	if err != nil {
		s.t.Fatal(err)
	}
	w := &worker{lake: lake, stop: cancel, done: make(chan error, 1)}
	w.Worker = ingest.New(ingest.Deps{
		Source:  kafka.New(kafka.Config{Brokers: s.brokers, Topic: topic, Group: "g", InstanceID: instance, Log: log, MaxRecords: pollRecords}),
		Tenants: s.tenants, Keys: s.ring, Secrets: s.ring, Transactions: transactions, Rejected: rejected,
		History:      ingest.HistoryOf(transactions, s.store),
		Kept:         ingest.KeptIn(rejected, s.store),
		Writer:       writers.New(s.store, s.tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(s.store, writers.Config{}),
		Log:          log,
	}, cfg)
	go func() { w.done <- w.Run(ctx) }()
	return w
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) { w.t.Logf("%s", p); return len(p), nil }

func (w *worker) end(t testing.TB) {
	t.Helper()
	w.stop()
	if err := <-w.done; err != nil {
		t.Error(err)
	}
	if err := w.lake.Close(); err != nil {
		t.Error(err)
	}
}

// wait polls until ok or a minute has gone.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// rows counts each event's rows in the table.
func (s *site) rows() map[cardlake.EventID]int {
	s.t.Helper()
	ctx := context.Background()
	lake, err := iceberg.Open(ctx, iceberg.Config{DB: s.dir + "/catalog.db", Objects: s.store, ReadOnly: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer lake.Close()
	table, err := lake.Table(ctx, cardlake.Transactions)
	if err != nil {
		s.t.Fatal(err)
	}
	files, err := table.Files(ctx, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[cardlake.EventID]int{}
	for _, f := range files {
		body, err := objects.ReadAll(ctx, s.store, f.Name)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := parquet.EventIDs(body, 0, func(id cardlake.EventID, _ int64) bool { out[id]++; return true }); err != nil {
			s.t.Fatal(err)
		}
	}
	return out
}

func (s *site) checkOnce(events int) {
	s.t.Helper()
	rows := s.rows()
	for n := range events {
		if got := rows[eventID(n)]; got != 1 {
			s.t.Errorf("event %d is in the table %d times, want once", n, got)
		}
	}
	if len(rows) != events {
		s.t.Errorf("%d events in the table, want %d", len(rows), events)
	}
}

// TestWorkersComeAndGo shares a topic between workers that join and leave while it fills.
func TestWorkersComeAndGo(t *testing.T) {
	s := newSite(t)
	s.produce(0, 1000)
	rows := func(ws ...*worker) (n int64) {
		for _, w := range ws {
			n += w.Stats().Rows
		}
		return n
	}
	a := s.start("a")
	wait(t, "a has taken something", func() bool { return rows(a) >= 300 })
	b := s.start("b")
	s.produce(1000, 2000)
	wait(t, "b has a share", func() bool { return len(b.Committed()) > 0 })
	s.produce(2000, 2500)
	wait(t, "b has taken something", func() bool { return rows(b) > 0 })
	a.end(t)
	s.produce(2500, 3000)
	c := s.start("a") // takes the partitions of its former self
	wait(t, "all events are in the table", func() bool {
		var n int64
		for _, at := range cardlake.Positions(b.Committed()).Merge(c.Committed()) {
			n += at.Next
		}
		return n >= 3000
	})
	c.end(t)
	b.end(t)
	s.checkOnce(3000)
}

// TestTableDecidesNotTheGroup: offsets committed to the group, wrong in both directions, do
// not move the worker.
func TestTableDecidesNotTheGroup(t *testing.T) {
	ctx := context.Background()
	s := newSite(t)
	s.produce(0, 400)
	adm := kadm.NewClient(s.client)
	mislead := func(offset int64) {
		offsets := kadm.Offsets{}
		for p := range int32(partitions) {
			offsets.AddOffset(topic, p, offset, -1)
		}
		if _, err := adm.CommitOffsets(ctx, "g", offsets); err != nil {
			t.Fatal(err)
		}
	}
	mislead(50)
	w := s.start("")
	wait(t, "the first events are taken", func() bool { return w.Stats().Rows == 400 })
	w.end(t)
	mislead(0)
	s.produce(400, 500)
	w = s.start("")
	wait(t, "the rest is taken", func() bool { return w.Stats().Records >= 100 })
	w.end(t)
	if s := w.Stats(); s.Records != 100 || s.Duplicates != 0 {
		t.Errorf("the second worker read %d records, %d of them known, want 100 and 0", s.Records, s.Duplicates)
	}
	s.checkOnce(500)
}

// contended loses one race: catalog/iceberg's "others won 16 times in a row".
type contended struct {
	*iceberg.Table
	lose atomic.Bool
}

func (c *contended) Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	if c.lose.CompareAndSwap(true, false) {
		return catalog.Snapshot{}, catalog.ErrConflict
	}
	return c.Table.Append(ctx, a)
}

// TestConflictInARebalanceLosesNothing fences a worker's flush while partitions are taken from
// it: it goes back, and nothing is skipped.
func TestConflictInARebalanceLosesNothing(t *testing.T) {
	s := newSite(t)
	s.produce(0, 400)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	lake, err := iceberg.Open(ctx, iceberg.Config{DB: s.dir + "/catalog.db", Objects: s.store, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	transactions, err := lake.Table(ctx, cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	rejected, err := lake.Table(ctx, cardlake.Rejected)
	if err != nil {
		t.Fatal(err)
	}
	table := &contended{Table: transactions}
	a := &worker{lake: lake, stop: cancel, done: make(chan error, 1)}
	a.Worker = ingest.New(ingest.Deps{
		Source:  kafka.New(kafka.Config{Brokers: s.brokers, Topic: topic, Group: "g", Log: log, MaxRecords: 50}),
		Tenants: s.tenants, Keys: s.ring, Secrets: s.ring, Transactions: table, Rejected: rejected,
		History:      ingest.HistoryOf(transactions, s.store),
		Kept:         ingest.KeptIn(rejected, s.store),
		Writer:       writers.New(s.store, s.tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(s.store, writers.Config{}),
		Log:          log,
	}, ingest.Config{WindowAge: time.Hour})
	go func() { a.done <- a.Run(ctx) }()
	wait(t, "a has taken all", func() bool { return a.Stats().Records == 400 })
	table.lose.Store(true)
	b := s.start("")
	wait(t, "a lost the race", func() bool { return a.Stats().Conflicts == 1 })
	wait(t, "b has a share", func() bool { return len(b.Committed()) > 0 })
	s.produce(400, 800)
	wait(t, "a goes on", func() bool { return a.Stats().Records > 400 })
	time.Sleep(time.Second)
	a.end(t)
	b.end(t)
	c := s.start("")
	wait(t, "c is at the end", func() bool {
		var n int64
		for _, at := range c.Committed() {
			n += at.Next
		}
		return n >= 800
	})
	c.end(t)
	s.checkOnce(800)
}
