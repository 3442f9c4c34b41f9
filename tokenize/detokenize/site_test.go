package detokenize_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize/detokenizetest"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/pebblestore"
)

const (
	worker   = "spiffe://lake.example/worker"
	asker    = "spiffe://lake.example/ana"
	approver = "spiffe://lake.example/bea"
)

const policy = `{"principals": {
	"spiffe://lake.example/worker": {"pin": ["*"]},
	"spiffe://lake.example/aurora-worker": {"pin": ["aurora"]},
	"spiffe://lake.example/ana": {"request": ["aurora", "ghost"], "approve": ["aurora"], "tokens_per_hour": 5},
	"spiffe://lake.example/ana-phone": {"person": "spiffe://lake.example/ana", "approve": ["*"]},
	"spiffe://lake.example/bea": {"approve": ["aurora"]},
	"spiffe://lake.example/cyd": {"request": ["*"], "approve": ["boreal"], "tokens_per_hour": 100},
	"dan": {"request": ["aurora"], "tokens_per_hour": 1}
}}`

var owners = map[cardlake.Tenant]keys.Owner{"aurora": "aaaaaaaaaaaaaaaa", "boreal": "bbbbbbbbbbbbbbbb"}

type tenants struct{}

func (tenants) Owner(name cardlake.Tenant) (keys.Owner, error) {
	if owner, ok := owners[name]; ok {
		return owner, nil
	}
	return "", detokenize.ErrNoTenant
}

func (tenants) Tenant(owner keys.Owner) (cardlake.Tenant, error) {
	for name, o := range owners {
		if o == owner {
			return name, nil
		}
	}
	return "", detokenize.ErrNoTenant
}

// records are what was audited, in memory.
type records struct {
	mu  sync.Mutex
	all []audit.Entry
	err error // if set, nothing can be written
	now func() time.Time

	// If set, a record that an answer is handed out waits until it can be received from.
	gate chan struct{}
}

func (r *records) Append(ctx context.Context, one audit.Record) error {
	if r.gate != nil && one.Action == detokenize.ActionCollect && one.Outcome == audit.Allowed {
		r.gate <- struct{}{} // it is there
		<-r.gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(r.err, ctx.Err()); err != nil {
		return err
	}
	r.all = append(r.all, audit.Entry{Time: r.now(), Record: one})
	return nil
}

func (r *records) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// lines are the records in short, without those before from.
func (r *records) lines(from int) (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.all[from:] {
		line := fmt.Sprintf("%s %s %s %s", strings.TrimPrefix(e.Actor, "spiffe://lake.example/"), e.Action, e.Resource, e.Outcome)
		if rule := e.Detail["rule"]; rule != "" {
			line += " " + rule
		}
		out = append(out, line)
	}
	return out
}

func (r *records) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// site is a service with a vault, and people with certificates.
type site struct {
	t         *testing.T
	dir       string
	authority *detokenizetest.Authority
	keyring   *local.Keyring
	reverse   *keys.Envelopes
	vault     *vault.Vault
	records   *records
	policies  *detokenize.PolicyFile
	log       *safeLog
	people    detokenize.People
	clients   int

	mu  sync.Mutex
	now time.Time

	url  string
	stop func() error
}

type safeLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func newSite(t *testing.T, cfg detokenize.Config) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), now: time.Now(), log: &safeLog{}}
	s.records = &records{now: s.clock}
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s.authority, err = detokenizetest.NewAuthority(s.dir, "authority")
	check()
	s.keyring, err = local.CreateFile(filepath.Join(s.dir, "card.keyring"), filepath.Join(s.dir, "card.secret"), keys.CardPurposes)
	check()
	for _, owner := range owners {
		err = s.keyring.EnsureOwners(t.Context(), owner)
		check()
	}
	s.reverse = keys.NewEnvelopes(s.keyring, keys.Reverse, keys.EnvelopeConfig{MaxAge: time.Nanosecond})
	store, err := pebblestore.Open(filepath.Join(s.dir, "vault"), pebblestore.Config{})
	check()
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s.vault = vault.New(store, vault.Config{})
	s.setPolicy(policy)
	s.policies, err = detokenize.OpenPolicy(filepath.Join(s.dir, "policy.json"), slog.New(slog.NewTextHandler(s.log, nil)))
	check()
	s.start(cfg)
	return s
}

func (s *site) setPolicy(text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "policy.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	// Two writes within the clock's grain would look like one.
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Duration(len(text))*time.Second)); err != nil {
		s.t.Fatal(err)
	}
}

// start starts the service, as after a restart.
func (s *site) start(cfg detokenize.Config) {
	s.t.Helper()
	files := s.issue(detokenizetest.Certificate{Name: "server", IsServer: true})
	config, err := files.Server()
	if err != nil {
		s.t.Fatal(err)
	}
	cfg.Now, cfg.Log = s.clock, slog.New(slog.NewTextHandler(s.log, nil))
	server := detokenize.New(detokenize.Deps{
		Vault: s.vault, Reverse: s.reverse, Tenants: tenants{}, Policy: s.policies, Audit: s.records, People: s.people,
	}, cfg)
	spent := detokenize.Spent(s.clock())
	err = server.Restore(func(yield func(audit.Entry, error) bool) {
		for _, e := range s.records.all {
			if spent.Matches(&e) && !yield(e, nil) {
				return
			}
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.url = "https://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l, config) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	s.t.Cleanup(func() {
		if err := s.stop(); err != nil {
			s.t.Error(err)
		}
	})
}

func (s *site) issue(c detokenizetest.Certificate) detokenize.Files {
	s.t.Helper()
	files, err := s.authority.Issue(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

// as returns a client with a certificate of that URI.
func (s *site) as(name string) *detokenize.Client {
	s.t.Helper()
	s.clients++ // a client reads its files for each connection
	return s.client(s.issue(detokenizetest.Certificate{Name: fmt.Sprint("client", s.clients), URIs: []string{name}}))
}

func (s *site) client(files detokenize.Files) *detokenize.Client {
	s.t.Helper()
	config, err := files.Client()
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := detokenize.NewClient(s.url, config, detokenize.ClientConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// pans are published test numbers and synthetic ones with a right check digit.
var pans = []string{"4111111111111111", "5555555555554444", "378282246310005", "6011111111111117", "4242424242424242", "4012888888881881", "5105105105105100"}

// tokens pins numbers for a tenant, as a worker does, and returns their tokens.
func (s *site) tokens(pins tokenize.Pins, tenant cardlake.Tenant, n int) []tokenize.Token {
	s.t.Helper()
	got, err := s.pin(pins, tenant, n)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func (s *site) pin(pins tokenize.Pins, tenant cardlake.Tenant, n int) ([]tokenize.Token, error) {
	s.t.Helper()
	owner := owners[tenant]
	live, err := s.keyring.Live(s.t.Context(), keys.Scope{Owner: owner, Purpose: keys.Mint})
	if err != nil {
		return nil, err
	}
	minter := tokenize.NewMinter(live[0].Version, live[0].Key)
	cards := make([]tokenize.Card, n)
	for i := range cards {
		pan, err := card.ParsePAN(pans[i])
		if err != nil {
			s.t.Fatal(err)
		}
		token := minter.Token(pan)
		sealed, err := s.reverse.AppendSealed(s.t.Context(), nil, owner, pan.Digits(), tokenize.ReverseAAD(owner, token))
		if err != nil {
			return nil, err
		}
		cards[i] = tokenize.Card{Candidates: []tokenize.Token{token}, Sealed: sealed}
	}
	return pins.Pin(s.t.Context(), owner, cards)
}

// wantRule fails the test unless the error is a refusal by the rule.
func (s *site) wantRule(err error, want detokenize.Rule) {
	s.t.Helper()
	var refusal *detokenize.Refusal
	if !errors.As(err, &refusal) || refusal.Rule != want {
		s.t.Errorf("error %v, want a refusal by %s", err, want)
	}
}
