package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize/detokenizetest"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/pebblestore"
	"github.com/cardlake/cardlake/writers/objects"
)

// vaultService is cardlake-vault's service with a vault, and a worker's certificate.
type vaultService struct {
	t      *testing.T
	vault  *vault.Vault
	server *detokenize.Server
	files  detokenize.Files // the service's
	addr   string
	flags  []string // of the worker
	stop   func()
}

// onlyTenant is the site's, which owns the keys. It implements detokenize.Tenants.
type onlyTenant keys.Owner

func (o onlyTenant) Owner(name cardlake.Tenant) (keys.Owner, error) {
	if name != tenant {
		return "", detokenize.ErrNoTenant
	}
	return keys.Owner(o), nil
}

func (o onlyTenant) Tenant(owner keys.Owner) (cardlake.Tenant, error) {
	if owner != keys.Owner(o) {
		return "", detokenize.ErrNoTenant
	}
	return tenant, nil
}

// unwritten is an audit log that keeps nothing.
type unwritten struct{}

func (unwritten) Append(context.Context, audit.Record) error { return nil }

// newVault starts the service. Each start is at the same address.
func (s *site) newVault() *vaultService {
	s.t.Helper()
	fatal := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	dir := s.t.TempDir()
	authority, err := detokenizetest.NewAuthority(dir, "authority")
	fatal(err)
	v := &vaultService{t: s.t, addr: "127.0.0.1:0"}
	v.files, err = authority.Issue(detokenizetest.Certificate{Name: "server", IsServer: true})
	fatal(err)
	worker, err := authority.Issue(detokenizetest.Certificate{Name: "worker"})
	fatal(err)
	policyFile := filepath.Join(dir, "policy.json")
	fatal(os.WriteFile(policyFile, fmt.Appendf(nil, `{"principals": {"worker": {"pin": [%q]}}}`, tenant), 0o600))
	policy, err := detokenize.OpenPolicy(policyFile, slog.New(slog.DiscardHandler))
	fatal(err)
	store, err := pebblestore.Open(filepath.Join(dir, "vault"), pebblestore.Config{})
	fatal(err)
	s.t.Cleanup(func() {
		if err := store.Close(); err != nil {
			s.t.Error(err)
		}
	})
	v.vault = vault.New(store, vault.Config{})
	v.server = detokenize.New(detokenize.Deps{
		Vault: v.vault, Reverse: s.reverse(), Tenants: onlyTenant(s.owner), Policy: policy, Audit: unwritten{},
	}, detokenize.Config{Log: slog.New(slog.DiscardHandler)})
	v.start()
	v.flags = []string{"-vault", "https://" + v.addr, "-vault-cert", worker.Cert, "-vault-key", worker.Key, "-vault-ca", worker.CA}
	return v
}

// reverse opens what the vault keeps.
func (s *site) reverse() *keys.Envelopes {
	return keys.NewEnvelopes(s.cardKeys, keys.Reverse, keys.EnvelopeConfig{})
}

func (v *vaultService) start() {
	v.t.Helper()
	config, err := v.files.Server()
	if err != nil {
		v.t.Fatal(err)
	}
	l, err := net.Listen("tcp", v.addr)
	if err != nil {
		v.t.Fatal(err)
	}
	v.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.server.Serve(ctx, l, config) }()
	stopped := false
	v.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			v.t.Error(err)
		}
	}
	v.t.Cleanup(v.stop)
}

// revealed are the card numbers behind the tokens of the lake, sorted. Each token must be
// pinned.
func (s *site) revealed(v *vaultService) (pans []string) {
	s.t.Helper()
	reverse := s.reverse()
	for _, text := range s.tokens() {
		token, err := tokenize.ParseToken(text)
		if err != nil {
			s.t.Fatal(err)
		}
		pan, err := v.vault.Reveal(s.t.Context(), reverse, s.owner, token)
		if err != nil {
			s.t.Errorf("a token of the lake: %v", err)
			continue
		}
		pans = append(pans, string(pan.Digits()))
		pan.Clear()
	}
	slices.Sort(pans)
	return pans
}

// tokens are those of the lake's transactions.
func (s *site) tokens() (tokens []string) {
	s.t.Helper()
	fatal := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	var f lakeflags.Flags
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	f.Define(fs, lakeflags.Read)
	fatal(fs.Parse(append([]string{"-dir", string(s.dir)}, s.lakeFlags...)))
	fatal(f.Complete())
	l, err := f.Open(s.t.Context(), nil)
	fatal(err)
	defer l.Close()
	table, err := l.Table(s.t.Context(), cardlake.Transactions)
	fatal(err)
	now, err := table.Current(s.t.Context())
	fatal(err)
	files, err := table.Files(s.t.Context(), now.ID)
	fatal(err)
	for _, file := range files {
		body, err := objects.ReadAll(s.t.Context(), l.Store, file.Name)
		fatal(err)
		rows, err := parquet.Read[struct {
			CardToken string `parquet:"card_token"`
		}](bytes.NewReader(body), int64(len(body)))
		fatal(err)
		for _, row := range rows {
			tokens = append(tokens, row.CardToken)
		}
	}
	return tokens
}

// workerStatus is what /status says, as far as tests look at it.
type workerStatus struct {
	Rows, Duplicates int64
	Rejected, Errors map[string]int64
	Partitions       []struct{ Committed int64 }
}

func (w *workerStatus) rejected() (n int64) {
	for _, of := range w.Rejected {
		n += of
	}
	return n
}

func (r *running) status() (s workerStatus) {
	r.t.Helper()
	_, body := r.fetch("/status")
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		r.t.Fatalf("%v\n%s", err, body)
	}
	return s
}

// committed waits until so many records are in the lake.
func (r *running) committed(n int64) {
	r.t.Helper()
	r.wait(fmt.Sprintf("%d records are committed", n), func() bool {
		status := r.status()
		var sum int64
		for _, p := range status.Partitions {
			sum += p.Committed
		}
		return sum == n
	})
}

// TestEveryTokenIsPinned runs a worker with a vault, which goes away for a while: the worker
// waits for it, which shows, and then goes on. Every token of the lake leads to its card.
func TestEveryTokenIsPinned(t *testing.T) {
	s := newSite(t).withBroker()
	v := s.newVault()
	r := s.start(append(v.flags, "-brokers", s.broker.ListenAddrs()[0], "-stall-after", "1s", "-pinned-cards", "10")...)
	pans := s.produce(40)
	r.committed(40)

	v.stop()
	for i := 40; i < 60; i++ {
		value, pan := s.event(i)
		pans = append(pans, pan)
		if err := s.client.ProduceSync(t.Context(), &kgo.Record{Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.wait("the worker misses the vault", func() bool {
		code, body := r.fetch("/readyz")
		return r.status().Errors["pin"] > 0 && code == 503 && strings.Contains(body, "no poll since")
	})
	if rows := r.status().Rows; rows != 40 {
		t.Errorf("%d rows without a vault, want the 40 from before", rows)
	}
	v.start()
	r.committed(60)
	status := r.status()
	if code := r.stop(); code != 0 {
		t.Errorf("code %d", code)
	}
	if status.Rows != 60 || status.Duplicates != 0 || status.rejected() != 0 {
		t.Errorf("%d rows, %d duplicates, %v rejected; want 60 rows", status.Rows, status.Duplicates, status.Rejected)
	}
	slices.Sort(pans)
	if diff := cmp.Diff(pans, s.revealed(v)); diff != "" {
		t.Errorf("the tokens of the lake lead to other cards (-sent +revealed):\n%s", diff)
	}
	for _, pan := range pans {
		if strings.Contains(r.log.String(), pan) {
			t.Fatal("the log has a card number")
		}
	}
}

// TestReplayPins gives records that were rejected to the lake again: their cards are pinned
// then.
func TestReplayPins(t *testing.T) {
	s := newSite(t).withBroker()
	v := s.newVault()
	register, err := os.ReadFile(s.dir.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.dir.Tenants()); err != nil {
		t.Fatal(err)
	}
	r := s.start(append(v.flags, "-brokers", s.broker.ListenAddrs()[0])...)
	pans := s.produce(5)
	r.committed(5)
	if status := r.status(); status.Rejected["unknown_tenant"] != 5 {
		t.Fatalf("rejected: %v", status.Rejected)
	}
	if code := r.stop(); code != 0 {
		t.Errorf("code %d", code)
	}
	if err := os.WriteFile(s.dir.Tenants(), register, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	args := append([]string{"replay", "-dir", string(s.dir), "-reason", "unknown_tenant"}, v.flags...)
	if code := run(t.Context(), args, io.Discard, &log); code != 0 {
		t.Fatalf("code %d: %s", code, log.String())
	}
	slices.Sort(pans)
	if diff := cmp.Diff(pans, s.revealed(v)); diff != "" {
		t.Error(diff)
	}
}
