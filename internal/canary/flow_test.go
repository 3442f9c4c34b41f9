package canary

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/ingest/telemetry"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/processor"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/processor/ledger"
	"github.com/cardlake/cardlake/processor/outbox"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/pebblestore"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
)

// buffer is memory that goroutines write to.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.text.Bytes())
}

// flow is the whole system in one process.
type flow struct {
	t                  *testing.T
	c                  canaries
	dir                home.Dir
	cardKeys, lakeKeys *local.Keyring
	tenants            *catalog.Tenants
	owner              keys.Owner

	// Where it can leak, besides files.
	log, answers, stacks, collector buffer

	traces  *sdktrace.TracerProvider
	metrics *prometheus.Registry

	issued  []string // numbers on the card file
	broker  *kfake.Cluster
	client  *kgo.Client
	store   objects.Store
	catalog *iceberg.Catalog
	service *vaultService
	stan    int
}

func newFlow(t *testing.T) *flow {
	t.Helper()
	f := &flow{t: t, dir: home.Dir(t.TempDir()), metrics: prometheus.NewRegistry()}
	temp := filepath.Join(string(f.dir), "tmp")
	f.check(errors.Join(f.dir.Make(), os.Mkdir(temp, 0o700)))
	t.Setenv("TMPDIR", temp)
	var err error
	f.cardKeys, err = local.CreateFile(f.dir.CardKeyring(), f.dir.CardSecret(), keys.CardPurposes)
	f.check(err)
	f.lakeKeys, err = local.CreateFile(f.dir.LakeKeyring(), f.dir.LakeSecret(), keys.LakePurposes)
	f.check(err)
	f.tenants, err = catalog.OpenTenants(f.dir.Tenants())
	f.check(err)
	record, err := f.tenants.Create(aurora, "BR", "BRL", time.Now())
	f.check(err)
	f.owner = keys.OwnerOf(record.StorageID)
	for _, k := range []*local.Keyring{f.cardKeys, f.lakeKeys} {
		f.check(k.EnsureOwners(t.Context(), keys.Lake, keys.Processor, f.owner))
	}
	f.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(f.dir.Broker()), kfake.SyncWrites(), kfake.SeedTopics(partitions, wire.Topic))
	f.check(err)
	t.Cleanup(f.broker.Close)
	f.client, err = kgo.NewClient(kgo.SeedBrokers(f.broker.ListenAddrs()...), kgo.DefaultProduceTopic(wire.Topic), kgo.ProducerBatchCompression(kgo.NoCompression()))
	f.check(err)
	t.Cleanup(f.client.Close)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(&f.collector, r.Body)
	}))
	t.Cleanup(collector.Close)
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(collector.URL))
	f.check(err)
	f.traces = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	t.Cleanup(func() { _ = f.traces.Shutdown(context.Background()) })
	f.store = objects.NewSealed(f.dir.Objects(), f.lakeKeys, objects.SealedConfig{})
	f.catalog, err = iceberg.Open(t.Context(), iceberg.Config{DB: f.dir.Catalog(), Objects: f.store, Logger: f.logger("catalog")})
	f.check(err)
	t.Cleanup(func() { _ = f.catalog.Close() })
	pins, err := pebblestore.Open(f.dir.Vault(), pebblestore.Config{Logger: f.logger("vault store")})
	f.check(err)
	t.Cleanup(func() { _ = pins.Close() })
	f.service = f.newVaultService(vault.New(pins, vault.Config{}))
	return f
}

func (f *flow) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// logger writes whatever the part has to say, at the lowest level, as text and as JSON.
func (f *flow) logger(part string) *slog.Logger {
	return slog.New(slog.NewJSONHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug - 8})).With("part", part)
}

// run runs a part until the returned function is called, which fails the test if the part did.
func (f *flow) run(part func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	done := make(chan error, 1)
	go func() { done <- part(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Error(err)
		}
	})
	f.t.Cleanup(stop)
	return stop
}

// process sends messages with canaries in every place through the processor, and what it makes
// of them to the broker.
func (f *flow) process() {
	f.t.Helper()
	l, err := ledger.Open(f.t.Context(), f.dir.Ledger(), f.cardKeys, ledger.Config{MaxPerMinute: -1})
	f.check(err)
	for range brands {
		f.issued = append(f.issued, f.c.pan("the card file"))
	}
	_, err = l.Import(f.t.Context(), func(yield func(card.Issued, error) bool) {
		for i, digits := range f.issued {
			p, err := card.ParsePAN(digits)
			account := fmt.Sprintf("acc-%c", 'a'+i)
			if !yield(card.Issued{
				PAN: p, Tenant: aurora, Program: "aurora-credit", Network: cardlake.Visa, Product: cardlake.Credit,
				CustomerID: "cus-" + account, AccountID: account, Expiry: "3012", Status: card.Active, Currency: "BRL", Limit: 1 << 40,
			}, err) {
				return
			}
		}
	})
	f.check(err)
	server := processor.New(l, &panicking{EventEncoder: wire.NewEncoder(f.cardKeys, wire.EncoderConfig{}), stacks: &f.stacks}, f.tenants,
		processor.Config{Addr: "127.0.0.1:0", Logger: f.logger("processor")})
	f.check(server.Listen())
	stopServer := f.run(server.Run)
	for _, number := range f.issued {
		for _, change := range f.changes(number) {
			for _, mti := range []string{"0100", "0420"} {
				f.message(server.Addr().String(), number, mti, change)
			}
		}
	}
	stats := server.Stats()
	if stats.Panics == 0 || stats.Approved == 0 || stats.FormatErrors == 0 || stats.Undecodable == 0 {
		f.t.Errorf("the messages did not go all ways: %+v", stats)
	}
	stopServer()
	totals := processor.NewTotals(l, processor.TotalsConfig{})
	f.check(totals.Flush())
	stopRelay := f.run(func(ctx context.Context) error { return l.Outbox().Run(ctx, outbox.NewKafka(f.client, wire.Topic)) })
	for end := time.Now().Add(20 * time.Second); l.Outbox().Stats().Depth > 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}
	stopRelay()
	f.check(l.Close())
}

// changes are the elements of a message that may carry what is secret.
func (f *flow) changes(number string) []map[int]string {
	c := &f.c
	tlv := func(tag, value string) string {
		if len(value)%2 == 1 {
			value += "F"
		}
		return fmt.Sprintf("%s%02X%s", tag, len(value)/2, value)
	}
	raw := func(s string) string {
		b, err := hex.DecodeString(s)
		if err != nil {
			return s
		}
		return string(b)
	}
	grouped := c.panOf("4539", 16, "DE 43 in groups")
	return []map[int]string{
		{},
		{35: number + "=3012" + c.sad("DE 35, discretionary data"), 52: (c.sad("DE 52") + "0000")[:16]},
		{35: c.pan("DE 35") + "=3012101"},
		{45: "%B" + number + "^NAME/A^3012" + c.sad("DE 45, discretionary data") + "?"},
		{42: (c.panOf("4222", 13, "DE 42") + "  ")[:15]},
		{43: iso8583.Acceptor{Name: "SHOP " + c.panOf("4539", 16, "DE 43, name"), City: "ROSARIO", Country: "AR"}.String()},
		{43: fmt.Sprintf("%-40s", grouped[:4]+" "+grouped[4:8]+" "+grouped[8:12]+" "+grouped[12:])},
		{43: fmt.Sprintf("%-17s%s%-7s", "SHOP", c.panOf("5105", 16, "DE 43, across name and city"), "    AR")},
		{48: "9212" + c.sad("DE 48, CVC2")[:12]},
		{48: "2619" + c.panOf("4532", 19, "DE 48, wallet")},
		{48: c.pan("DE 48")},
		{54: c.pan("DE 54")}, {60: c.pan("DE 60")}, {102: c.pan("DE 102")}, {126: c.sad("DE 126, CVV2")},
		{55: tlv("57", c.pan("DE 55, tag 57")) + tlv("5A", c.pan("DE 55, tag 5A")) + tlv("9F6B", c.pan("DE 55, tag 9F6B"))},
		{55: raw(tlv("57", c.pan("DE 55, tag 57 in binary")))},
		{37: c.panOf("4222", 13, "DE 37")[:12]}, {41: "T" + number[:7]},
		{2: c.pan("DE 2, unknown card")},
		{2: c.pan("DE 2, malformed") + "X"},
		{14: "panic"},
	}
}

// message sends a message whole and in broken forms, and keeps the answers.
func (f *flow) message(addr, number, mti string, change map[int]string) {
	f.stan++
	at := time.Now().UTC()
	m := map[int]string{
		0: mti, 2: number, 3: "000000", 4: "000000012550", 7: at.Format("0102150405"), 11: fmt.Sprintf("%06d", f.stan), 12: at.Format("150405"), 13: at.Format("0102"),
		14: "3012", 18: "5411", 19: "032", 22: "051", 25: "00", 32: "400001", 37: fmt.Sprintf("R%011d", f.stan), 41: "TERM0001",
		42: "MERCHANT0000001", 43: iso8583.Acceptor{Name: "SUPERMERCADO LUNA", City: "ROSARIO", Country: "AR"}.String(), 49: "986",
	}
	if mti == "0420" {
		m[90] = iso8583.Original{MTI: "0100", STAN: fmt.Sprintf("%06d", max(1, f.stan-1)), Transmission: m[7], Acquirer: "400001"}.String()
	}
	for de, value := range change {
		if value == "panic" {
			de, value = 32, panicAcquirer
		}
		m[de] = value
	}
	var b iso8583.Builder
	for de, value := range m {
		b.SetText(de, value)
	}
	packed, err := b.Append(nil)
	if err != nil {
		fmt.Fprintf(&f.answers, "%v %+v %#v\n", err, err, err)
		return // it is not a message: those below are cut from one that is
	}
	for _, bytes := range [][]byte{packed, packed[:len(packed)-3], packed[:60], bytes.Replace(packed, []byte(number), []byte(number[:len(number)-1]+"X"), 1), append([]byte("x"), packed...)} {
		conn, err := net.Dial("tcp", addr)
		f.check(err)
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		f.check(iso8583.WriteFrame(conn, bytes))
		if answer, err := iso8583.ReadFrame(conn, nil); err == nil {
			f.answered(answer)
		}
		conn.Close()
	}
}

// echoed are elements that an answer repeats, to the network that sent them: they find the
// message that it answers.
var echoed = map[int]bool{2: true, 37: true, 41: true, 42: true}

// answered keeps what an answer says beyond that.
func (f *flow) answered(answer []byte) {
	var v iso8583.View
	if err := v.Parse(answer); err != nil {
		f.t.Errorf("the answer is no message: %v", err)
	}
	for de := range 129 {
		if v.Has(de) && !echoed[de] {
			fmt.Fprintf(&f.answers, "DE %d: %s\n", de, v.Text(de))
		}
	}
}

// panicking is an encoder that panics on some messages, with the message in its hands.
type panicking struct {
	processor.EventEncoder
	stacks io.Writer
}

const panicAcquirer = "999999"

func (p *panicking) Append(ctx context.Context, dst []byte, owner keys.Owner, m *card.Message) ([]byte, error) {
	if m.AcquirerID != panicAcquirer {
		return p.EventEncoder.Append(ctx, dst, owner, m)
	}
	stack := make([]byte, 1<<20)
	_, _ = p.stacks.Write(stack[:runtime.Stack(stack, true)])
	panic(fmt.Sprintf("%v %+v %#v", m, *m, m.PAN))
}

// hostile puts records on the stream that no processor of this module makes.
func (f *flow) hostile() {
	f.t.Helper()
	encoder := wire.NewEncoder(f.cardKeys, wire.EncoderConfig{})
	n := 0
	event := func(number string) []byte {
		n++
		id := card.EventKey{Tenant: aurora, Network: cardlake.Visa, STAN: fmt.Sprint(n), MTI: "hostile"}.ID()
		p, err := card.ParsePAN(number)
		f.check(err)
		value, err := encoder.Append(f.t.Context(), nil, f.owner, &card.Message{PAN: p, Transaction: cardlake.Transaction{
			EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: aurora, Program: "visa", Region: "local",
			EventTime: time.Now().UnixMicro(), Network: cardlake.Visa, Amount: cardlake.Money{Minor: 1, Currency: "BRL"},
			Channel: cardlake.POS, EntryMode: "chip", ResponseCode: "00", Approved: true, MTI: "0100",
		}})
		f.check(err)
		return value
	}
	put := func(r kgo.Record) {
		f.t.Helper()
		f.check(f.client.ProduceSync(f.t.Context(), &r).FirstErr())
	}
	schema, err := avro.Parse(wire.Schema())
	f.check(err)
	const framing = 5
	for _, field := range schema.(*avro.RecordSchema).Fields() {
		text, optional := field.Type().Type() == avro.String, false
		if u, ok := field.Type().(*avro.UnionSchema); ok && u.Types()[1].Type() == avro.String {
			text, optional = true, true
		}
		if !text {
			continue
		}
		for _, wrap := range []string{"%s", "x %s y"} {
			value := event(f.issued[0])
			var fields map[string]any
			f.check(avro.Unmarshal(schema, value[framing:], &fields))
			planted := fmt.Sprintf(wrap, f.c.panOf("4539", 16, "field "+field.Name()+" of an event"))
			if fields[field.Name()] = any(planted); optional {
				fields[field.Name()] = map[string]any{"string": planted}
			}
			changed, err := avro.Marshal(schema, fields)
			f.check(err)
			put(kgo.Record{Value: append(bytes.Clone(value[:framing]), changed...)})
		}
	}
	whole := event(f.issued[0])
	put(kgo.Record{Key: []byte(f.c.pan("the key of a record")), Value: event(f.issued[1]), Headers: []kgo.RecordHeader{{Key: f.c.pan("a header's name"), Value: []byte(f.c.pan("a header"))}}})
	put(kgo.Record{Key: []byte(f.c.pan("the key of a record that is no event")), Value: []byte("PAN " + f.c.pan("a record that is no event") + " cvv " + f.c.sad("a record that is no event, CVV"))})
	for name, b := range spellings(f.c.pan("records in other spellings")) {
		put(kgo.Record{Value: b})
		put(kgo.Record{Value: append(bytes.Clone(whole[:framing]), b...), Key: []byte(name)})
	}
	put(kgo.Record{Value: append(bytes.Clone(whole), f.c.pan("the end of an event")...)})
	put(kgo.Record{Value: append([]byte{0, 0, 0, 0, 2}, f.c.pan("a control total")...)})
	put(kgo.Record{Value: append([]byte{0, 0, 0, 0, 99}, f.c.pan("an unknown schema")...)})
	damaged := event(f.c.pan("a sealed number that was changed"))
	damaged[len(damaged)-1] ^= 1
	put(kgo.Record{Value: damaged})
	totals, err := avro.Parse(wire.TotalSchema())
	f.check(err)
	for i, field := range totals.(*avro.RecordSchema).Fields() {
		if field.Type().Type() != avro.String {
			continue
		}
		value, err := wire.AppendTotal(nil, 0, &cardlake.ControlTotal{
			Region: "local", Processor: "aaaabbbbccccdddd", Tenant: aurora, Minute: time.Now().Truncate(time.Minute).UnixMicro(), Events: 1,
			FirstSequence: int64(i + 1), LastSequence: int64(i + 1), EmittedAt: time.Now().UnixMicro(),
			Amount: cardlake.Money{Currency: "BRL"}, ApprovedAmount: cardlake.Money{Currency: "BRL"},
		})
		f.check(err)
		var fields map[string]any
		f.check(avro.Unmarshal(totals, value[framing:], &fields))
		fields[field.Name()] = f.c.panOf("4539", 16, "field "+field.Name()+" of a control total")
		changed, err := avro.Marshal(totals, fields)
		f.check(err)
		put(kgo.Record{Value: append(bytes.Clone(value[:framing]), changed...)})
	}
}

// worker is a worker, pinning in the vault's service, with all that is seen of it.
func (f *flow) worker(window time.Duration) (*ingest.Worker, *telemetry.View) {
	f.t.Helper()
	table := func(def *cardlake.Table) *iceberg.Table {
		table, err := f.catalog.Table(f.t.Context(), def)
		f.check(err)
		return table
	}
	transactions, rejected := table(cardlake.Transactions), table(cardlake.Rejected)
	source := kafka.New(kafka.Config{Brokers: f.broker.ListenAddrs(), Topic: wire.Topic, Group: "cardlake-worker", Log: f.logger("kafka")})
	tel := telemetry.New(telemetry.Config{Traces: f.traces})
	var pins tokenize.Pins = f.service.client("worker")
	w := ingest.New(ingest.Deps{
		Source: source, Tenants: f.tenants, Keys: f.cardKeys, Secrets: f.cardKeys, Pins: pins,
		Transactions: transactions, Rejected: rejected, Totals: table(cardlake.ControlTotals),
		History: ingest.HistoryOf(transactions, f.store), Kept: ingest.KeptIn(rejected, f.store),
		Writer:       writers.New(f.store, f.tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(f.store, writers.Config{}),
		TotalsWriter: writers.NewTotals(f.store, f.tenants, writers.Config{}),
		Log:          f.logger("worker"), Observe: tel.Observe,
	}, ingest.Config{WindowAge: window})
	view, err := tel.Watch(f.metrics, w, source)
	f.check(err)
	return w, view
}

// page is the metrics page.
func (f *flow) page() []byte {
	r := httptest.NewRecorder()
	promhttp.HandlerFor(f.metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return r.Body.Bytes()
}
