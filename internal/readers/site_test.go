package readers

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

// tenants have currencies with and without decimals.
var tenants = []struct {
	name     cardlake.Tenant
	country  string
	currency cardlake.Currency
}{{"aurora-pay", "MX", "MXN"}, {"bolivar", "CO", "COP"}, {"cobre", "CL", "CLP"}, {"litoral", "BR", "BRL"}}

const (
	partitions = 3
	prefix     = "prod/lake"
)

// binaries builds the binaries and returns their folder.
func binaries(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin,
		"github.com/cardlake/cardlake/cmd/cardlake", "github.com/cardlake/cardlake/cmd/cardlake-worker").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// site is a lake in a bucket, and the stream that fills it.
type site struct {
	t      *testing.T
	bin    string
	source string // of this package: the S3 service changes the working directory
	dir    home.Dir
	noon   time.Time // of yesterday
	flags  []string  // of both binaries
	kms    string    // the file of -kms-keys

	bucket, endpoint, ca string
	service              *s3test.Server

	owners  map[cardlake.Tenant]keys.Owner
	encoder *wire.Encoder
	broker  *kfake.Cluster
	client  *kgo.Client

	events, spoiled, totals int                // sent
	ends                    cardlake.Positions // of the stream
}

// newSite makes the folder of keyrings and tenants, the bucket with a KMS key for each tenant
// that alone may encrypt what is under the tenant's prefix, and an empty stream.
func newSite(t *testing.T, bin, catalogURL string) *site {
	t.Helper()
	s := &site{t: t, bin: bin, dir: home.Dir(t.TempDir()), owners: map[cardlake.Tenant]keys.Owner{}, ends: cardlake.Positions{}}
	s.noon = time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.source, err = os.Getwd()
	fatal(err)
	fatal(s.dir.Make())
	cardKeys, err := local.CreateFile(s.dir.CardKeyring(), s.dir.CardSecret(), keys.CardPurposes)
	fatal(err)
	fatal(cardKeys.EnsureOwners(t.Context(), keys.Lake))
	s.encoder = wire.NewEncoder(cardKeys, wire.EncoderConfig{})
	register, err := catalog.OpenTenants(s.dir.Tenants())
	fatal(err)

	service := s3test.Start(t, s3test.Config{TLS: true})
	s.service, s.bucket, s.endpoint = service, service.VersionedBucket(t), service.Endpoint
	arns := map[keys.Owner]string{keys.Lake: service.KMS.Create()}
	for _, c := range tenants {
		record, err := register.Create(c.name, c.country, c.currency, s.noon)
		fatal(err)
		owner := keys.OwnerOf(record.StorageID)
		s.owners[c.name], arns[owner] = owner, service.KMS.Create()
		fatal(cardKeys.EnsureOwners(t.Context(), owner))
		for _, table := range []string{"transactions", "control_totals"} {
			service.RequireKey(s.bucket, prefix+"/data/"+table+"/"+string(record.StorageID)+"/", arns[owner])
		}
	}
	s.kms = filepath.Join(string(s.dir), "kms.json")
	text, err := json.Marshal(arns)
	fatal(err)
	fatal(os.WriteFile(s.kms, text, 0o600))
	s.ca = filepath.Join(string(s.dir), "s3-ca.pem")
	fatal(os.WriteFile(s.ca, certificateOf(t, s.endpoint), 0o600))
	secret, err := service.Credentials.Retrieve(t.Context())
	fatal(err)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": secret.AccessKeyID, "AWS_SECRET_ACCESS_KEY": secret.SecretAccessKey,
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	s.flags = []string{
		"-dir", string(s.dir), "-s3-bucket", s.bucket, "-s3-prefix", prefix, "-s3-endpoint", s.endpoint, "-s3-path-style", "-s3-ca", s.ca,
		"-aws-region", s3test.Region,
	}
	if catalogURL != "" {
		s.flags = append(s.flags, "-catalog", catalogURL)
	}

	s.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, wire.Topic))
	fatal(err)
	t.Cleanup(s.broker.Close)
	s.client, err = kgo.NewClient(kgo.SeedBrokers(s.broker.ListenAddrs()...), kgo.DefaultProduceTopic(wire.Topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	fatal(err)
	t.Cleanup(s.client.Close)
	return s
}

// certificateOf is the certificate that the service shows, which has signed itself.
func certificateOf(t *testing.T, endpoint string) []byte {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", u.Host, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw})
}

// customerOf names who has the card of the n-th event.
func customerOf(n int) string {
	return fmt.Sprintf("customer-%02d-of-%s", n%37, tenants[n%len(tenants)].name)
}

// event is the n-th: of all tenants and several currencies and days, with and without what may
// be absent, a sum that leaves 18 digits behind, and the last and first instants of a day.
func (s *site) event(n int) []byte {
	s.t.Helper()
	tenant := tenants[n%len(tenants)]
	digits := fmt.Appendf(nil, "4%014d", n%37)
	pan, err := card.ParsePAN(append(digits, card.LuhnDigit(digits)))
	if err != nil {
		s.t.Fatal(err)
	}
	id := card.EventKey{Tenant: tenant.name, Network: cardlake.Visa, STAN: fmt.Sprint(n), MTI: "0100"}.ID()
	tx := cardlake.Transaction{
		EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: tenant.name, Program: string(tenant.name) + "-visa", Region: "local",
		EventTime: s.noon.Add(-time.Duration(n%5)*12*time.Hour + time.Duration(n)*time.Millisecond).UnixMicro(),
		Network:   cardlake.Visa, Amount: cardlake.Money{Minor: int64(n)*101 + 1, Currency: tenant.currency},
		Channel: cardlake.POS, EntryMode: "chip", CardPresent: true, ResponseCode: "00", Approved: true, MTI: "0100", LatencyMicros: int32(900 + n%500),
		CustomerID: customerOf(n),
	}
	if midnight := s.noon.Add(-12 * time.Hour).UnixMicro(); n%97 == 0 {
		tx.EventTime = midnight - 1
	} else if n%97 == 1 {
		tx.EventTime = midnight
	}
	if n%3 == 0 {
		tx.Amount.Currency = []cardlake.Currency{"USD", "JPY"}[n%2]
		tx.BillingAmount = cardlake.Money{Minor: int64(n) * 1733, Currency: tenant.currency}
	}
	if n%50 == 7 {
		tx.Amount.Minor = 999_999_999_999
	}
	if n%4 != 0 {
		tx.MerchantName = []string{"Café Añejo", "ZAPATERÍA", "mercado", "東京"}[n/4%4]
	}
	if n%11 == 0 {
		tx.Approved, tx.ResponseCode, tx.DeclineReason = false, "51", "insufficient_funds"
	}
	value, err := s.encoder.Append(s.t.Context(), nil, s.owners[tenant.name], &card.Message{PAN: pan, Transaction: tx})
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

func (s *site) total(n int) []byte {
	s.t.Helper()
	tenant := tenants[n%len(tenants)]
	value, err := wire.AppendTotal(nil, wire.DefaultTotalSchemaID, &cardlake.ControlTotal{
		Region: "local", Processor: "abcdefghijklmnop", Tenant: tenant.name, Minute: s.noon.Add(time.Duration(n) * time.Hour).Truncate(time.Minute).UnixMicro(),
		Events: int64(n + 2), Approved: int64(n + 1), Amount: cardlake.Money{Minor: int64(n) * 1009, Currency: tenant.currency},
		ApprovedAmount: cardlake.Money{Minor: int64(n) * 1000, Currency: tenant.currency},
		FirstSequence:  int64(n*10 + 1), LastSequence: int64(n*10 + n + 2), EmittedAt: s.noon.UnixMicro(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

// produce puts so many events on the stream, and among them repeats, control totals and
// records that are no events.
func (s *site) produce(events int) {
	s.t.Helper()
	var records []*kgo.Record
	put := func(value []byte) {
		records = append(records, &kgo.Record{Partition: int32(len(records) % partitions), Value: value})
	}
	for range events {
		put(s.event(s.events))
		s.events++
		if s.events%40 == 0 {
			put(s.event(s.events - 1))
			put(s.total(s.totals))
			s.totals++
		}
		if s.events%60 == 0 {
			put(fmt.Appendf(nil, "no event %d", s.spoiled))
			s.spoiled++
		}
	}
	for _, r := range s.client.ProduceSync(s.t.Context(), records...) {
		if r.Err != nil {
			s.t.Fatal(r.Err)
		}
		at := cardlake.StreamPartition{Stream: r.Record.Topic, Partition: r.Record.Partition}
		s.ends[at] = cardlake.Offset{Next: max(s.ends[at].Next, r.Record.Offset+1)}
	}
}

// work runs the worker until it has committed all of the stream.
func (s *site) work() {
	s.t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(filepath.Join(s.bin, "cardlake-worker"), append([]string{
		"run", "-brokers", s.broker.ListenAddrs()[0], "-kms-keys", s.kms, "-window", "100ms", "-window-rows", "300", "-admin", "",
	}, s.flags...)...)
	cmd.Stderr = &log // read after its end only
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for !s.isCommitted(ctx) {
		select {
		case err := <-ended:
			s.t.Fatalf("the worker ended: %v\n%s", err, log.String())
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			<-ended
			s.t.Fatalf("the worker does not get to the end of the stream\n%s", log.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := <-ended; err != nil {
		s.t.Fatalf("the worker ended: %v\n%s", err, log.String())
	}
}

func (s *site) isCommitted(ctx context.Context) bool {
	l, err := s.open(ctx)
	if err != nil {
		return false
	}
	defer l.Close()
	table, err := l.Table(ctx, cardlake.Transactions)
	if err != nil {
		return false // the worker has not made it yet
	}
	at, err := table.Positions(ctx)
	return err == nil && at.Holds(s.ends)
}

// open opens the lake as cardlake query does.
func (s *site) open(ctx context.Context) (*lakeflags.Lake, error) {
	var f lakeflags.Flags
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	f.Define(fs, lakeflags.Read)
	if err := fs.Parse(s.flags); err != nil {
		return nil, err
	}
	if err := f.Complete(); err != nil {
		return nil, err
	}
	return f.Open(ctx, nil)
}
