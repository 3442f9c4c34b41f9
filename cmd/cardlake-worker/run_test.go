package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/ingest/kinesis/kinesistest"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

func TestMain(m *testing.M) {
	testscript.Main(cleaned{m}, map[string]func(){"cardlake-worker": main})
}

// cleaned removes what the tests share after they have run.
type cleaned struct{ *testing.M }

func (c cleaned) Run() int {
	defer os.RemoveAll(template.folder)
	return c.M.Run()
}

// template is a folder with keyrings and a tenant, which each test copies: deriving the
// keyrings' master keys is slow on purpose.
var template struct {
	sync.Once
	folder   string
	cardKeys *local.Keyring
	owner    keys.Owner
	err      error
}

func makeTemplate(ctx context.Context) error {
	var err error
	if template.folder, err = os.MkdirTemp("", "cardlake-worker-test"); err != nil {
		return err
	}
	dir := home.Dir(template.folder)
	if err := dir.Make(); err != nil {
		return err
	}
	if template.cardKeys, err = local.CreateFile(dir.CardKeyring(), dir.CardSecret(), keys.CardPurposes); err != nil {
		return err
	}
	lakeKeys, err := local.CreateFile(dir.LakeKeyring(), dir.LakeSecret(), keys.LakePurposes)
	if err != nil {
		return err
	}
	tenants, err := catalog.OpenTenants(dir.Tenants())
	if err != nil {
		return err
	}
	r, err := tenants.Create(tenant, "MX", "MXN", time.Now())
	if err != nil {
		return err
	}
	template.owner = keys.OwnerOf(r.StorageID)
	return errors.Join(template.cardKeys.EnsureOwners(ctx, keys.Lake, template.owner), lakeKeys.EnsureOwners(ctx, keys.Lake, template.owner))
}

// site is a folder with keyrings and a tenant.
type site struct {
	t        *testing.T
	dir      home.Dir
	cardKeys keys.Provider
	encoder  *wire.Encoder
	owner    keys.Owner
	// of a reader of the lake, beside -dir
	lakeFlags []string
	// of withBroker
	broker *kfake.Cluster
	client *kgo.Client
}

const tenant = cardlake.Tenant("aurora-pay")

func newSite(t *testing.T) *site {
	t.Helper()
	template.Do(func() { template.err = makeTemplate(context.Background()) })
	if template.err != nil {
		t.Fatal(template.err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(template.folder)); err != nil {
		t.Fatal(err)
	}
	d := home.Dir(dir)
	for _, secret := range []string{d.CardKeyring(), d.CardSecret(), d.LakeKeyring(), d.LakeSecret()} {
		if err := os.Chmod(secret, 0o600); err != nil { // CopyFS widens it
			t.Fatal(err)
		}
	}
	return &site{t: t, dir: d, owner: template.owner, cardKeys: template.cardKeys, encoder: wire.NewEncoder(template.cardKeys, wire.EncoderConfig{})}
}

// withBroker adds a broker with the topic.
func (s *site) withBroker() *site {
	s.t.Helper()
	var err error
	if s.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, wire.Topic)); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.broker.Close)
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(s.broker.ListenAddrs()...), kgo.DefaultProduceTopic(wire.Topic)); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.client.Close)
	return s
}

// event returns the i-th event, as a record's value, and its card number.
func (s *site) event(i int) (value []byte, pan string) {
	s.t.Helper()
	digits := fmt.Appendf(nil, "4%014d", (uint64(i)+1)*6364136223846793%1e14)
	digits = append(digits, card.LuhnDigit(digits))
	parsed, err := card.ParsePAN(digits)
	if err != nil {
		s.t.Fatal(err)
	}
	id := card.EventKey{Tenant: tenant, Network: cardlake.Visa, STAN: fmt.Sprint(i), MTI: "0100"}.ID()
	value, err = s.encoder.Append(s.t.Context(), nil, s.owner, &card.Message{PAN: parsed, Transaction: cardlake.Transaction{
		EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: tenant,
		Program: "aurora-visa", Region: "local", EventTime: time.Now().UnixMicro(),
		Network: cardlake.Visa, Amount: cardlake.Money{Minor: int64(i), Currency: "MXN"},
		Channel: cardlake.POS, EntryMode: "chip", ResponseCode: "00", Approved: true, MTI: "0100",
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return value, string(digits)
}

// produce puts n events on the topic and returns their card numbers.
func (s *site) produce(n int) (pans []string) {
	s.t.Helper()
	for i := range n {
		value, pan := s.event(i)
		pans = append(pans, pan)
		if err := s.client.ProduceSync(s.t.Context(), &kgo.Record{Value: value}).FirstErr(); err != nil {
			s.t.Fatal(err)
		}
	}
	return pans
}

// syncBuffer is a log that is read while it is written.
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

// running is a worker of the site.
type running struct {
	t     *testing.T
	admin string // its URL
	log   *syncBuffer
	stop  func() int
}

var adminAddr = regexp.MustCompile(`admin address" addr=(\S+)`)

func (s *site) start(args ...string) *running {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	r := &running{t: s.t, log: &syncBuffer{}, stop: sync.OnceValue(func() int { cancel(); return <-done })}
	args = append([]string{"run", "-dir", string(s.dir), "-window", "100ms"}, args...)
	go func() { done <- run(ctx, args, io.Discard, r.log) }()
	s.t.Cleanup(func() { r.stop() })
	r.findAdmin()
	return r
}

// findAdmin waits until the log names the admin address.
func (r *running) findAdmin() {
	r.t.Helper()
	r.wait("the admin address is served", func() bool {
		m := adminAddr.FindStringSubmatch(r.log.String())
		if m == nil {
			return false
		}
		r.admin = "http://" + m[1]
		return true
	})
}

func (r *running) wait(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain until %s\n%s", what, r.log.String())
		}
	}
}

func (r *running) fetch(path string) (code int, body string) {
	r.t.Helper()
	resp, err := http.Get(r.admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestWhatAWorkerShows runs a worker against a broker and an OTLP collector and looks at all
// that it tells.
func TestWhatAWorkerShows(t *testing.T) {
	var mu sync.Mutex
	var traces []byte
	names := map[string]int{}
	otlp := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		traces = append(traces, body...)
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					names[s.Name]++
				}
			}
		}
	}))
	defer otlp.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.URL)
	s := newSite(t).withBroker()
	r := s.start("-brokers", s.broker.ListenAddrs()[0])
	const events = 30
	secrets := append(s.produce(events), string(tenant), string(s.owner))
	var status struct {
		Ready      bool
		Rows       int64
		Commits    int64
		Partitions []struct {
			Committed, Taken int64
			LagRecords       *int64 `json:"lag_records"`
		}
	}
	r.wait("all is committed", func() bool {
		_, body := r.fetch("/status")
		if err := json.Unmarshal([]byte(body), &status); err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		var sum int64
		for _, p := range status.Partitions {
			sum += p.Committed
		}
		return sum == events && status.Ready
	})
	if status.Rows != events || status.Commits < 1 || len(status.Partitions) != 2 || status.Partitions[0].LagRecords == nil {
		t.Errorf("status %+v", status)
	}
	code, metrics := r.fetch("/metrics")
	for _, want := range []string{"cardlake_worker_rows_total 30", "cardlake_worker_ready 1", "go_goroutines", "process_open_fds",
		`cardlake_worker_partition_lag_records{partition="0",stream="` + wire.Topic + `"} 0`} {
		if code != 200 || !strings.Contains(metrics, want) {
			t.Errorf("metrics have no %s: %d", want, code)
		}
	}
	told := metrics
	for _, c := range []struct {
		path, want string
		code       int
	}{
		{"/livez", "alive", 200}, {"/readyz", "ready", 200}, {"/debug/pprof/", "", 404}, {"/", "", 404},
	} {
		code, body := r.fetch(c.path)
		if code != c.code || c.want != "" && strings.TrimSpace(body) != c.want {
			t.Errorf("%s: %d %q, want %d %q", c.path, code, body, c.code, c.want)
		}
		told += body
	}
	if resp, err := http.Post(r.admin+"/readyz", "text/plain", nil); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("the admin address takes orders: %v %v", resp, err)
	}
	_, body := r.fetch("/status")
	told += body
	if code := r.stop(); code != 0 {
		t.Errorf("code %d", code)
	}
	if code, _ := r.fetch("/livez"); code != 0 {
		t.Error("the admin address is served after the end")
	}
	mu.Lock()
	defer mu.Unlock()
	if names["commit window"] == 0 || names["write"] == 0 || names["append"] == 0 {
		t.Errorf("spans: %v, want those of a window", names)
	}
	told += r.log.String() + string(traces)
	for _, secret := range secrets {
		if strings.Contains(told, secret) {
			t.Errorf("%.4s… is told", secret)
		}
	}
}

// TestBrokerOutageIsVisible takes the broker away. Its client hides that: polls bring nothing,
// as on an idle stream.
func TestBrokerOutageIsVisible(t *testing.T) {
	s := newSite(t).withBroker()
	r := s.start("-brokers", s.broker.ListenAddrs()[0], "-stall-after", "1s")
	r.wait("the worker is ready", func() bool { code, _ := r.fetch("/readyz"); return code == 200 })
	s.broker.Close()
	isSilent := func() bool {
		code, body := r.fetch("/readyz")
		return code == 503 && strings.Contains(body, "the stream has not answered since")
	}
	r.wait("the worker is not ready", isSilent)
	for range 10 { // and it stays so
		time.Sleep(50 * time.Millisecond)
		if !isSilent() {
			t.Error("the worker is ready without a broker")
		}
	}
}

// TestKinesis runs a worker on a Kinesis stream, its leases in the catalog's database.
func TestKinesis(t *testing.T) {
	s := newSite(t)
	service := kinesistest.New(kinesistest.Config{Unlimited: true})
	server := httptest.NewServer(service)
	defer server.Close()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_KINESIS": server.URL, "AWS_ACCESS_KEY_ID": "of-a-test", "AWS_SECRET_ACCESS_KEY": "of-a-test",
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	client, stream, shards := service.Client(), "events", int32(2)
	if _, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: &shards}); err != nil {
		t.Fatal(err)
	}
	const events = 20
	for i := range events {
		value, _ := s.event(i)
		key := fmt.Sprint(i)
		if _, err := client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: &key, Data: value}); err != nil {
			t.Fatal(err)
		}
	}
	r := s.start("-source", "kinesis", "-stream", stream, "-leases", "catalog", "-aws-region", "eu-west-1", "-instance", "w1")
	r.wait("all is committed", func() bool {
		_, metrics := r.fetch("/metrics")
		return strings.Contains(metrics, "cardlake_worker_rows_total 20") && strings.Contains(metrics, "cardlake_worker_ready 1") &&
			strings.Contains(metrics, "cardlake_worker_oldest_uncommitted_seconds 0") && strings.Contains(metrics, "cardlake_worker_partition_lag_seconds{")
	})
	if code := r.stop(); code != 0 {
		t.Errorf("code %d\n%s", code, r.log.String())
	}
}

// TestTermination: a worker that is asked to end commits its open window first. It is a
// process of its own, as signals are.
func TestTermination(t *testing.T) {
	s := newSite(t).withBroker()
	cmd := exec.Command("cardlake-worker", "run", "-dir", string(s.dir), "-brokers", s.broker.ListenAddrs()[0], "-window", "1h")
	r := &running{t: t, log: &syncBuffer{}}
	cmd.Stderr = r.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	r.findAdmin()
	s.produce(20)
	r.wait("all is taken", func() bool {
		_, metrics := r.fetch("/metrics")
		return strings.Contains(metrics, "cardlake_worker_open_rows 20")
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, r.log.String())
	}
	if want := "rows=20 duplicates=0 rejected=map[] offboarded=0 commits=1"; !strings.Contains(r.log.String(), want) {
		t.Errorf("the log has no %q:\n%s", want, r.log.String())
	}
}
