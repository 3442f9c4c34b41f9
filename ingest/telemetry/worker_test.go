package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/ingesttest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/ingest/telemetry"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers"
)

func watched(t *testing.T) (*telemetry.Telemetry, *prometheus.Registry) {
	t.Helper()
	tel, registry := telemetry.New(telemetry.Config{}), prometheus.NewRegistry()
	if _, err := tel.Watch(registry, &standing{}, mute{}); err != nil {
		t.Fatal(err)
	}
	return tel, registry
}

const (
	topic  = "events"
	tenant = cardlake.Tenant("aurora-pay")
)

// lake is what a real worker needs: a broker, keys, a tenant, a store and tables.
type lake struct {
	t            *testing.T
	client       *kgo.Client
	source       *kafka.Source
	keys         *ingesttest.Keyring
	tenants      *catalog.Tenants
	storage      cardlake.StorageID
	store        *ingesttest.Store
	transactions *ingesttest.Table
	rejected     *ingesttest.Table
	encoder      *wire.Encoder
	log          syncBuffer
	pans         []string
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newLake(t *testing.T) *lake {
	t.Helper()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	tenants, err := catalog.OpenTenants(t.TempDir() + "/tenants.json")
	if err != nil {
		t.Fatal(err)
	}
	r, err := tenants.Create(tenant, "MX", "MXN", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k := &ingesttest.Keyring{}
	l := &lake{
		t: t, client: client, keys: k, tenants: tenants, storage: r.StorageID, store: ingesttest.NewStore(),
		transactions: &ingesttest.Table{}, rejected: &ingesttest.Table{}, encoder: wire.NewEncoder(k, wire.EncoderConfig{}),
	}
	l.source = kafka.New(kafka.Config{
		Brokers: broker.ListenAddrs(), Topic: topic, Group: "workers", Log: slog.New(slog.NewTextHandler(&l.log, nil)),
	})
	return l
}

// produce puts the events first to last-1 on the stream, and after each a record that is
// none and shows the card number.
func (l *lake) produce(first, last int) {
	l.t.Helper()
	for n := first; n < last; n++ {
		digits := fmt.Appendf(nil, "4%014d", (uint64(n)+1)*6364136223846793%1e14)
		digits = append(digits, card.LuhnDigit(digits))
		l.pans = append(l.pans, string(digits))
		pan, err := card.ParsePAN(digits)
		if err != nil {
			l.t.Fatal(err)
		}
		id := card.EventKey{Tenant: tenant, Network: cardlake.Visa, STAN: fmt.Sprint(n), MTI: "0100"}.ID()
		value, err := l.encoder.Append(context.Background(), nil, keys.OwnerOf(l.storage), &card.Message{PAN: pan, Transaction: cardlake.Transaction{
			EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: tenant,
			Program: "aurora-visa", Region: "local", EventTime: time.Now().UnixMicro(),
			Network: cardlake.Visa, Amount: cardlake.Money{Minor: int64(n), Currency: "MXN"},
			Channel: cardlake.POS, EntryMode: "chip", ResponseCode: "00", Approved: true, MTI: "0100",
		}})
		if err != nil {
			l.t.Fatal(err)
		}
		for i, v := range [][]byte{value, []byte(l.pans[len(l.pans)-1])} {
			record := &kgo.Record{Partition: int32(i), Key: []byte(l.pans[len(l.pans)-1]), Value: v}
			if err := l.client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
				l.t.Fatal(err)
			}
		}
	}
}

// start runs a worker under tel; end stops it and waits.
func (l *lake) start(tel *telemetry.Telemetry) (w *ingest.Worker, end func()) {
	w = ingest.New(ingest.Deps{
		Source: l.source, Tenants: l.tenants, Keys: l.keys, Secrets: l.keys,
		Transactions: l.transactions, Rejected: l.rejected,
		History:      ingest.HistoryOf(l.transactions, l.store),
		Kept:         ingest.KeptIn(l.rejected, l.store),
		Writer:       writers.New(l.store, l.tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(l.store, writers.Config{}),
		Log:          slog.New(slog.NewTextHandler(&l.log, nil)),
		Observe:      tel.Observe,
	}, ingest.Config{WindowAge: 20 * time.Millisecond, Grace: 10 * time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return w, func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
	}
}

func (l *lake) wait(what string, ok func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("waited in vain until %s\n%s", what, l.log.String())
		}
	}
}

func text(g prometheus.Gatherer) string {
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	return answer.Body.String()
}

// TestRealWorker follows a worker through faults of store and tables to the end of the
// stream, and looks for card numbers and tenants in all that it tells.
func TestRealWorker(t *testing.T) {
	l := newLake(t)
	r, provider := recorder()
	tel, registry := telemetry.New(telemetry.Config{Traces: provider}), prometheus.NewPedanticRegistry()
	l.store.Inject(func(put int) error {
		if put == 2 {
			return errors.New("the store is away")
		}
		return nil
	})
	l.transactions.Inject(func(n int) ingesttest.Fault {
		return map[int]ingesttest.Fault{1: ingesttest.Conflict, 2: ingesttest.UnknownAfter, 3: ingesttest.Refuse}[n]
	})
	w, end := l.start(tel)
	view, err := tel.Watch(registry, w, l.source)
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	tell := func() {
		report, err := json.Marshal(view.Report())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&told, text(registry), string(report), view.Ready())
	}
	tell()
	const events = 40
	for n := range 4 { // a window each
		l.produce(n*10, n*10+10)
		tell()
		l.wait("the batch is committed", func() bool { return w.Stats().Rows >= int64(n*10+10) && view.Report().OldestUncommitted == nil })
	}
	l.wait("all is committed", func() bool {
		at := l.transactions.At()
		return at[place(0)].Next == events && at[place(1)].Next == events
	})
	l.wait("the worker knows", func() bool { return view.Report().PendingWindows == 0 })
	tell()
	end()
	tell()

	got := scrape(t, registry)
	for name, least := range map[string]float64{
		"cardlake_worker_rows_total":                                 events,
		"cardlake_worker_rejected_records_total{reason=undecodable}": events,
		"cardlake_worker_commits_total":                              1,
		"cardlake_worker_conflicts_total":                            1,
		"cardlake_worker_unknown_outcomes_total":                     1,
		"cardlake_worker_errors_total{kind=append}":                  1,
		"cardlake_worker_errors_total{kind=put}":                     1,
		"cardlake_worker_last_commit_timestamp_seconds":              1,
		"cardlake_worker_last_poll_timestamp_seconds":                1,
		"cardlake_worker_committed_watermark_timestamp_seconds":      1,
	} {
		if got[name] < least {
			t.Errorf("%s is %v, want at least %v", name, got[name], least)
		}
	}
	var windows, dropped, rows int64
	for _, s := range spans(r) {
		switch s.Name {
		case "commit window":
			windows++
			if s.Status == "Error" {
				dropped++
			} else {
				rows += s.Attributes["cardlake.rows"].(int64)
			}
		default:
			if s.Parent != "commit window" {
				t.Errorf("span %s has the parent %q", s.Name, s.Parent)
			}
		}
	}
	if windows < 3 || dropped != 1 || rows != events {
		t.Errorf("traces of %d windows, %d dropped, %d rows; want at least 3, 1 and %d", windows, dropped, rows, events)
	}

	for _, s := range r.GetSpans() {
		fmt.Fprintf(&told, "%+v\n", s)
	}
	all := told.String()
	if !strings.Contains(all, "cardlake_worker_rows_total") || !strings.Contains(all, "commit window") {
		t.Fatal("nothing was told")
	}
	secrets := append([]string{string(tenant), string(l.storage)}, l.pans...)
	for _, pan := range l.pans {
		secrets = append(secrets, pan[4:12]) // more than a truncated number may show
	}
	for _, s := range secrets {
		if strings.Contains(all, s) {
			t.Errorf("%.4s… is told", s)
		}
	}
}

// TestLagOfARealSource: the source's own word reaches the metrics, per partition.
func TestLagOfARealSource(t *testing.T) {
	l := newLake(t)
	tel, registry := telemetry.New(telemetry.Config{}), prometheus.NewPedanticRegistry()
	l.produce(0, 5)
	w, end := l.start(tel)
	defer end()
	if _, err := tel.Watch(registry, w, l.source); err != nil {
		t.Fatal(err)
	}
	l.wait("both partitions are at the end", func() bool {
		m := scrape(t, registry)
		for _, p := range []string{"0", "1"} {
			labels := "{partition=" + p + ",stream=events}"
			lag, isKnown := m["cardlake_worker_partition_lag_records"+labels]
			seconds, isTimed := m["cardlake_worker_partition_lag_seconds"+labels]
			if !isKnown || !isTimed || lag != 0 || seconds != 0 || m["cardlake_worker_partition_committed_offset"+labels] != 5 {
				return false
			}
		}
		return m["cardlake_worker_ready"] == 1
	})
}
