// Package canary proves, over everything together, that no card number gets out of zone A, and
// that nothing of a tenant can be opened once its keys are destroyed.
package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

// site is a lake on disk, a broker, and the binaries that work with them.
type site struct {
	t      *testing.T
	bin    string
	dir    home.Dir
	broker *kfake.Cluster
	client *kgo.Client
	owners map[cardlake.Tenant]keys.Owner
	sealed *wire.Encoder
	minute time.Time // of all events
	events int
	sent   map[cardlake.Tenant][][]byte // events on the stream
}

// partitions of the stream.
const partitions = 2

func newSite(t *testing.T, tenants ...cardlake.Tenant) *site {
	t.Helper()
	s := &site{
		t: t, bin: t.TempDir(), dir: home.Dir(t.TempDir()), minute: time.Now().Truncate(time.Minute),
		owners: map[cardlake.Tenant]keys.Owner{}, sent: map[cardlake.Tenant][][]byte{},
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", s.bin+"/",
		"github.com/cardlake/cardlake/cmd/cardlake", "github.com/cardlake/cardlake/cmd/cardlake-vault", "github.com/cardlake/cardlake/cmd/cardlake-worker")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	s.check(s.dir.Make())
	register, err := catalog.OpenTenants(s.dir.Tenants())
	s.check(err)
	cardKeys, err := local.CreateFile(s.dir.CardKeyring(), s.dir.CardSecret(), keys.CardPurposes)
	s.check(err)
	lakeKeys, err := local.CreateFile(s.dir.LakeKeyring(), s.dir.LakeSecret(), keys.LakePurposes)
	s.check(err)
	for _, name := range tenants {
		r, err := register.Create(name, "BR", "BRL", time.Now())
		s.check(err)
		s.owners[name] = keys.OwnerOf(r.StorageID)
		s.check(errors.Join(cardKeys.EnsureOwners(t.Context(), keys.Lake, s.owners[name]), lakeKeys.EnsureOwners(t.Context(), keys.Lake, s.owners[name])))
	}
	// Without analysts of tenants, so that they hold whatever a test does to the register.
	s.check(grants.Init(s.dir.Grants(), nobody{}))
	s.sealed = wire.NewEncoder(cardKeys, wire.EncoderConfig{})
	s.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, wire.Topic))
	s.check(err)
	t.Cleanup(s.broker.Close)
	s.client, err = kgo.NewClient(kgo.SeedBrokers(s.broker.ListenAddrs()...), kgo.DefaultProduceTopic(wire.Topic))
	s.check(err)
	t.Cleanup(s.client.Close)
	return s
}

// nobody is an empty register.
type nobody struct{}

func (nobody) All() []catalog.TenantRecord { return nil }

func (s *site) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) cardKeys() *local.Keyring {
	s.t.Helper()
	k, err := local.OpenFile(s.dir.CardKeyring(), s.dir.CardSecret())
	s.check(err)
	return k
}

// command is one of the binaries on the site's folder.
func (s *site) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Env = append(os.Environ(), "CARDLAKE_DIR="+string(s.dir))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// ran is what a command did.
type ran struct {
	stdout, stderr string
	code           int
}

func (s *site) run(name, stdin string, args ...string) ran {
	s.t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := s.command(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		s.t.Fatal(err)
	}
	return ran{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// runs runs a command that has to end well, and returns its standard output.
func (s *site) runs(name, stdin string, args ...string) string {
	s.t.Helper()
	r := s.run(name, stdin, args...)
	if r.code != 0 {
		s.t.Fatalf("%s %s ends with code %d:\n%s%s", name, strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// pan is the n-th test card number: of 16 digits, of a Visa range, with its check digit.
func pan(n int) []byte {
	digits := fmt.Appendf(nil, "4%014d", 26_000_000+n*7919)
	return append(digits, card.LuhnDigit(digits))
}

// event seals the site's next event: of a tenant, with the n-th card.
func (s *site) event(of cardlake.Tenant, n int) []byte {
	s.t.Helper()
	s.events++
	id := card.EventKey{Tenant: of, Network: cardlake.Visa, STAN: fmt.Sprint(s.events), MTI: "0100"}.ID()
	number, err := card.ParsePAN(pan(n))
	s.check(err)
	value, err := s.sealed.Append(s.t.Context(), nil, s.owners[of], &card.Message{PAN: number, Transaction: cardlake.Transaction{
		EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: of,
		Program: "visa", Region: "local", EventTime: s.minute.UnixMicro() + int64(s.events), Network: cardlake.Visa,
		Amount: cardlake.Money{Minor: 1, Currency: "BRL"}, Channel: cardlake.POS, EntryMode: "chip",
		ResponseCode: "00", Approved: true, MTI: "0100",
	}})
	s.check(err)
	return value
}

// put puts a record on the stream.
func (s *site) put(value []byte) {
	s.t.Helper()
	s.check(s.client.ProduceSync(s.t.Context(), &kgo.Record{Key: fmt.Append(nil, s.events), Value: value}).FirstErr())
}

// send puts n events of each tenant on the stream, with cards from 0 on.
func (s *site) send(n int, of ...cardlake.Tenant) {
	s.t.Helper()
	for i := range n {
		for _, tenant := range of {
			value := s.event(tenant, i)
			s.sent[tenant] = append(s.sent[tenant], value)
			s.put(value)
		}
	}
}

// process is a command that goes on until it is told to end.
type process struct {
	*exec.Cmd
	s    *site
	mu   sync.Mutex
	text bytes.Buffer
}

// Write collects what the process says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (s *site) start(name string, args ...string) *process {
	s.t.Helper()
	p := &process{Cmd: s.command(context.WithoutCancel(s.t.Context()), name, args...), s: s}
	p.Stderr = p
	s.check(p.Start())
	s.t.Cleanup(func() { // of a test that failed
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

// stop ends the process in good order.
func (p *process) stop() {
	p.s.t.Helper()
	_ = p.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(time.Minute, func() { _ = p.Process.Kill() })
	defer late.Stop()
	if err := p.Wait(); err != nil {
		p.s.t.Errorf("%s: %v\n%s", filepath.Base(p.Path), err, p.log())
	}
}

// worker starts a worker with windows of an age.
func (s *site) worker(window time.Duration) *process {
	s.t.Helper()
	return s.start("cardlake-worker", "run", "-brokers", s.broker.ListenAddrs()[0], "-window", window.String(), "-instance", "w1")
}

// says waits for the process to say what matches, and returns its first group.
func (p *process) says(pattern string) string {
	p.s.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if m := re.FindStringSubmatch(p.log()); m != nil {
			return m[1]
		}
	}
	p.s.t.Fatalf("%s does not start:\n%s", filepath.Base(p.Path), p.log())
	return ""
}

// takes waits for a worker to have taken so many records.
func (p *process) takes(records int64) {
	p.s.t.Helper()
	url := "http://" + p.says(`admin address.*addr=(\S+)`) + "/status"
	var at struct {
		Records int64 `json:"records"`
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(url)
		p.s.check(err)
		err = json.NewDecoder(resp.Body).Decode(&at)
		p.s.check(errors.Join(err, resp.Body.Close()))
		if at.Records == records {
			return
		}
	}
	p.s.t.Fatalf("the worker has taken %d records, want %d\n%s", at.Records, records, p.log())
}

// rows are the tables' rows by name.
func (s *site) rows() map[string]int {
	s.t.Helper()
	r := s.run("cardlake", "", "tables", "-as", "operator/local", "-format", "json")
	if r.code != 0 {
		return nil // there is no lake yet
	}
	var tables []struct {
		Table string `json:"table"`
		Rows  int    `json:"rows"`
	}
	s.check(json.Unmarshal([]byte(r.stdout), &tables))
	rows := map[string]int{}
	for _, t := range tables {
		rows[t.Table] = t.Rows
	}
	return rows
}

// ingest runs a worker until the tables have so many rows.
func (s *site) ingest(transactions, rejected int) (log string) {
	s.t.Helper()
	w := s.worker(200 * time.Millisecond)
	s.until(w, transactions, rejected)
	w.stop()
	return w.log()
}

// until waits for the tables to have so many rows.
func (s *site) until(w *process, transactions, rejected int) {
	s.t.Helper()
	var rows map[string]int
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		rows = s.rows()
		if rows["cards.transactions"] == transactions && rows["cards.transactions_rejected"] == rejected {
			return
		}
	}
	s.t.Fatalf("the tables have %v rows, want %d of transactions and %d rejected\n%s", rows, transactions, rejected, w.log())
}
