package detokenize_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize/detokenizetest"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// Two people turn tokens back into card numbers, and every step is in the audit log.
func TestTwoPeopleReverseTokens(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	tokens := s.tokens(s.as(worker), "aurora", 3)
	r, err := s.as(asker).Request(t.Context(), "aurora", tokens, " dispute 4711 ")
	if err != nil {
		t.Fatal(err)
	}
	seen, err := s.as(approver).Status(t.Context(), r.ID)
	if err != nil || seen.Purpose != "dispute 4711" || seen.Requester != asker || seen.Count != 3 || seen.State != detokenize.Waiting {
		t.Errorf("the approver sees %+v, error %v", seen, err)
	}
	if _, err := s.as(approver).Approve(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	cards, err := s.as(asker).Collect(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cards {
		if c.Token != tokens[i] || string(c.PAN.Digits()) != pans[i] {
			t.Errorf("card %d is not the one of its token", i)
		}
	}
	want := []string{
		"worker vault.pin tenant aurora allowed",
		"ana detokenise.request tenant aurora allowed",
		"bea detokenise.status tenant aurora allowed",
		"bea detokenise.approve tenant aurora allowed",
		"ana detokenise.collect tenant aurora allowed",
	}
	if d := cmp.Diff(want, s.records.lines(0)); d != "" {
		t.Error(d)
	}
	for _, e := range s.records.all[1:] {
		if e.Request != r.ID || e.Reason != "dispute 4711" || e.Numbers["tokens"] != 3 || !strings.HasPrefix(e.Origin, "127.0.0.1:") {
			t.Errorf("record %+v", e.Record)
		}
	}
	for _, pan := range pans {
		if strings.Contains(s.log.String(), pan) {
			t.Error("a card number is in the log")
		}
	}
}

// What is refused, by which rule, and that each refusal is in the audit log. Each case begins
// with tokens of aurora that are pinned, and a request of ana's for two of them.
func TestRefusals(t *testing.T) {
	s := newSite(t, detokenize.Config{MaxTokens: 6})
	pins := s.as(worker)
	tokens := s.tokens(pins, "aurora", 7)
	foreign := s.tokens(pins, "boreal", 1)
	ana, bea, cyd := s.as(asker), s.as(approver), s.as("spiffe://lake.example/cyd")
	unknown := tokenize.Token{Version: 1}
	request := func(c *detokenize.Client) string {
		t.Helper()
		r, err := c.Request(t.Context(), "aurora", tokens[:2], "dispute")
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	ask := func(c *detokenize.Client, tokens []tokenize.Token, purpose string) error {
		_, err := c.Request(t.Context(), "aurora", tokens, purpose)
		return err
	}
	collect := func(c *detokenize.Client, id string) error {
		_, err := c.Collect(t.Context(), id)
		return err
	}
	approve := func(c *detokenize.Client, id string) error {
		_, err := c.Approve(t.Context(), id)
		return err
	}
	approved := func(c *detokenize.Client) string {
		t.Helper()
		id := request(c)
		if err := approve(bea, id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	for _, c := range []struct {
		name string
		do   func(id string) error
		rule detokenize.Rule
		line string // of the audit log, without the rule
	}{
		{"no second person", func(id string) error { return collect(ana, id) }, detokenize.RuleNotApproved, "ana detokenise.collect tenant aurora refused"},
		{"the same person", func(id string) error { return approve(ana, id) }, detokenize.RuleSamePerson, "ana detokenise.approve tenant aurora refused"},
		{"the same person by another name", func(id string) error { return approve(s.as("spiffe://lake.example/ana-phone"), id) }, detokenize.RuleSamePerson, "ana-phone detokenise.approve tenant aurora refused"},
		{"an approver of another tenant", func(id string) error { return approve(cyd, id) }, detokenize.RuleNotPermitted, "cyd detokenise.approve tenant aurora refused"},
		{"a worker approves", func(id string) error { return approve(pins, id) }, detokenize.RuleNotPermitted, "worker detokenise.approve tenant aurora refused"},
		{"approved twice", func(id string) error { return errors.Join(approve(bea, id), approve(bea, id)) }, detokenize.RuleApproved, ""},
		{"somebody else collects", func(id string) error { return errors.Join(approve(bea, id), collect(bea, id)) }, detokenize.RuleNotRequester, "bea detokenise.collect tenant aurora refused"},
		{"collected twice", func(id string) error {
			id = approved(ana)
			return errors.Join(collect(ana, id), collect(ana, id))
		}, detokenize.RuleCollected, ""},
		{"no such request", func(string) error { return collect(ana, strings.Repeat("a", 32)) }, detokenize.RuleRequest, "ana detokenise.collect vault refused"},
		{"an id that is none", func(string) error { return approve(bea, "../pins") }, detokenize.RuleRequest, "bea detokenise.approve vault refused"},
		{"a stranger looks", func(id string) error { _, err := cyd.Status(t.Context(), id); return err }, detokenize.RuleNotPermitted, "cyd detokenise.status tenant aurora refused"},

		{"no purpose", func(string) error { return ask(ana, tokens[:1], " \t") }, detokenize.RulePurpose, "ana detokenise.request tenant aurora refused"},
		{"a long purpose", func(string) error { return ask(ana, tokens[:1], strings.Repeat("x", 501)) }, detokenize.RulePurpose, "ana detokenise.request tenant aurora refused"},
		{"a purpose with a card number", func(string) error { return ask(ana, tokens[:1], "card "+pans[0]) }, detokenize.RulePurpose, "ana detokenise.request tenant aurora refused"},
		{"no tokens", func(string) error { return ask(ana, nil, "dispute") }, detokenize.RuleTokens, "ana detokenise.request tenant aurora refused"},
		{"too many tokens", func(string) error { return ask(ana, tokens, "dispute") }, detokenize.RuleTokens, "ana detokenise.request tenant aurora refused"},
		{"over budget", func(string) error { return ask(ana, tokens[:6], "dispute") }, detokenize.RuleBudget, "ana detokenise.request tenant aurora refused"},
		{"over budget with what is open", func(string) error { return ask(ana, tokens[:4], "dispute") }, detokenize.RuleBudget, "ana detokenise.request tenant aurora refused"},
		{"an unknown token", func(string) error { return ask(ana, []tokenize.Token{unknown}, "dispute") }, detokenize.RuleToken, "ana detokenise.request tenant aurora refused"},
		{"another tenant's token", func(string) error { return ask(ana, foreign, "dispute") }, detokenize.RuleToken, "ana detokenise.request tenant aurora refused"},
		{"another tenant", func(string) error { _, err := ana.Request(t.Context(), "boreal", foreign, "dispute"); return err }, detokenize.RuleNotPermitted, "ana detokenise.request tenant boreal refused"},
		{"a tenant that is none", func(string) error { _, err := cyd.Request(t.Context(), "nobody", foreign, "dispute"); return err }, detokenize.RuleTenant, "cyd detokenise.request tenant nobody refused"},
		{"a tenant that is none, to who may not know", func(string) error { _, err := ana.Request(t.Context(), "nobody", foreign, "dispute"); return err }, detokenize.RuleNotPermitted, "ana detokenise.request tenant nobody refused"},
		{"a name that no tenant can have", func(string) error {
			_, err := cyd.Request(t.Context(), "4111111111111111", foreign, "dispute")
			return err
		}, detokenize.RuleBody, "cyd detokenise.request vault refused"},
		{"a worker asks", func(string) error { return ask(pins, tokens[:1], "dispute") }, detokenize.RuleNotPermitted, "worker detokenise.request tenant aurora refused"},
		{"an analyst pins", func(string) error { _, err := s.pin(ana, "aurora", 1); return err }, detokenize.RuleNotPermitted, "ana vault.pin vault refused"},
		{"a worker pins for another tenant", func(string) error {
			_, err := s.pin(s.as("spiffe://lake.example/aurora-worker"), "boreal", 1)
			return err
		}, detokenize.RuleNotPermitted, "aurora-worker vault.pin tenant boreal refused"},
		{"a pin for nobody", func(string) error {
			_, err := pins.Pin(t.Context(), "cccccccccccccccc", make([]tokenize.Card, 1))
			return err
		}, detokenize.RuleTenant, "worker vault.pin vault refused"},
		{"a pin without candidates", func(string) error {
			_, err := pins.Pin(t.Context(), owners["aurora"], make([]tokenize.Card, 1))
			return err
		}, detokenize.RuleCard, "worker vault.pin tenant aurora refused"},

		{"a name that the policy does not list", func(id string) error { return approve(s.as("spiffe://lake.example/eve"), id) }, detokenize.RulePrincipal, "eve detokenise.approve vault refused"},
		{"a name that begins like one", func(id string) error { return approve(s.as(approver+"/x"), id) }, detokenize.RulePrincipal, "bea/x detokenise.approve vault refused"},
		{"two names", func(id string) error {
			return approve(s.client(s.issue(detokenizetest.Certificate{Name: "two", URIs: []string{approver, asker}})), id)
		}, detokenize.RuleCertificate, "unknown detokenise.approve vault refused"},
		{"a certificate that ran out since", func(id string) error {
			s.advance(1001 * 24 * time.Hour)
			return approve(bea, id)
		}, detokenize.RuleCertificate, "bea detokenise.approve vault refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.advance(2 * time.Hour) // earlier requests have expired, budgets are free
			id := request(ana)
			before := s.records.count()
			s.wantRule(c.do(id), c.rule)
			lines := s.records.lines(before)
			if len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], c.line) || !strings.HasSuffix(lines[len(lines)-1], " refused "+string(c.rule)) {
				t.Errorf("the audit log has %q, want %s %s at its end", lines, c.line, c.rule)
			}
		})
	}
}

// Requests that are not approved, or not collected, in time are over.
func TestRequestsExpire(t *testing.T) {
	s := newSite(t, detokenize.Config{ApproveWithin: 30 * time.Minute, CollectWithin: 5 * time.Minute})
	tokens := s.tokens(s.vault, "aurora", 2)
	ana, bea := s.as(asker), s.as(approver)
	r, err := ana.Request(t.Context(), "aurora", tokens, "dispute")
	if err != nil {
		t.Fatal(err)
	}
	s.advance(30 * time.Minute)
	_, err = bea.Approve(t.Context(), r.ID)
	s.wantRule(err, detokenize.RuleExpired)

	r, err = ana.Request(t.Context(), "aurora", tokens, "dispute")
	if err != nil {
		t.Fatal(err)
	}
	s.advance(29 * time.Minute)
	if _, err = bea.Approve(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	s.advance(5 * time.Minute)
	_, err = ana.Collect(t.Context(), r.ID)
	s.wantRule(err, detokenize.RuleExpired)
	if _, err = bea.Approve(t.Context(), r.ID); err == nil {
		t.Error("an expired request was approved again")
	}
}

// Without a place for its record nothing is pinned, asked for, approved or revealed; what was
// asked for before can be collected once there is one.
func TestNothingHappensUnrecorded(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	ana, bea := s.as(asker), s.as(approver)
	tokens := s.tokens(s.vault, "aurora", 2)
	first, err := ana.Request(t.Context(), "aurora", tokens, "dispute")
	if err != nil {
		t.Fatal(err)
	}
	second, err := ana.Request(t.Context(), "aurora", tokens, "dispute")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bea.Approve(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	s.records.fail(syscall.ENOSPC)
	for name, do := range map[string]func() error{
		"pin": func() error { _, err := s.pin(s.as(worker), "aurora", 4); return err },
		"request": func() error {
			_, err := s.as("spiffe://lake.example/cyd").Request(t.Context(), "aurora", tokens, "dispute")
			return err
		},
		"status":  func() error { _, err := ana.Status(t.Context(), first.ID); return err },
		"approve": func() error { _, err := bea.Approve(t.Context(), second.ID); return err },
		"collect": func() error {
			got, err := ana.Collect(t.Context(), first.ID)
			if len(got) != 0 {
				t.Error("card numbers were revealed")
			}
			return err
		},
		"refusal": func() error { _, err := ana.Collect(t.Context(), second.ID); return err },
	} {
		err := do()
		var refusal *detokenize.Refusal
		if !errors.As(err, &refusal) || refusal.Rule != detokenize.RuleAudit || refusal.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if got, err := s.vault.Count(t.Context(), owners["aurora"]); err != nil || got.Cards != 2 {
		t.Errorf("%d cards are pinned, want 2; error %v", got.Cards, err)
	}
	s.records.fail(nil)
	_, err = ana.Collect(t.Context(), second.ID)
	s.wantRule(err, detokenize.RuleNotApproved)
	if got, err := ana.Collect(t.Context(), first.ID); err != nil || len(got) != 2 {
		t.Errorf("%d card numbers, error %v", len(got), err)
	}
}

// Rights that are taken away between the steps count.
func TestRightsAreLookedUpAtEveryStep(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	ana, bea := s.as(asker), s.as(approver)
	tokens := s.tokens(s.vault, "aurora", 1)
	approved := func() string {
		t.Helper()
		r, err := ana.Request(t.Context(), "aurora", tokens, "dispute")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bea.Approve(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	id := approved()
	for _, c := range []struct{ name, old, new string }{
		{"the requester's right", `"request": ["aurora", "ghost"]`, `"request": ["ghost"]`},
		{"the approver's right", `bea": {"approve": ["aurora"]}`, `bea": {"approve": ["ghost"]}`},
		{"the approver's listing", `spiffe://lake.example/bea`, `spiffe://lake.example/bee`},
		{"that they are two people", `bea": {"approve"`, `bea": {"person": "spiffe://lake.example/ana", "approve"`},
	} {
		changed := strings.Replace(policy, c.old, c.new, 1)
		if changed == policy {
			t.Fatal(c.name)
		}
		s.setPolicy(changed)
		_, err := ana.Collect(t.Context(), id)
		if err == nil {
			t.Fatalf("%s: collected", c.name)
		}
		s.wantRule(err, detokenize.RuleNotPermitted)
	}
	s.setPolicy(strings.Replace(policy, `"tokens_per_hour": 5`, `"tokens_per_hour": 0`, 1)) // faulty: the last good one stays
	_, err := ana.Collect(t.Context(), id)
	s.wantRule(err, detokenize.RuleNotPermitted)
	s.setPolicy(policy + "\n")
	if _, err := ana.Collect(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// Requests die with the service; what was spent does not.
func TestRestart(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	ana, bea := s.as(asker), s.as(approver)
	tokens := s.tokens(s.vault, "aurora", 4)
	r, err := ana.Request(t.Context(), "aurora", tokens, "dispute")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bea.Approve(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := ana.Collect(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	open, err := ana.Request(t.Context(), "aurora", tokens[:1], "dispute")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bea.Approve(t.Context(), open.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.start(detokenize.Config{})
	ana = s.as(asker)
	_, err = ana.Collect(t.Context(), open.ID)
	s.wantRule(err, detokenize.RuleRequest)
	_, err = ana.Request(t.Context(), "aurora", tokens[:2], "dispute")
	s.wantRule(err, detokenize.RuleBudget)
	s.advance(time.Hour)
	if _, err = ana.Request(t.Context(), "aurora", tokens[:2], "dispute"); err != nil {
		t.Error(err)
	}
}

// However many collect at once, one gets the answer, and the budget is charged once.
func TestCollectedOnceByOneOfMany(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	ana := s.as(asker)
	tokens := s.tokens(s.vault, "aurora", 2)
	r, err := ana.Request(t.Context(), "aurora", tokens, "dispute")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.as(approver).Approve(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	s.records.gate = make(chan struct{})
	done := make(chan error, 1)
	go func() {
		got, err := ana.Collect(t.Context(), r.ID)
		if err == nil && len(got) != 2 {
			err = fmt.Errorf("%d card numbers", len(got))
		}
		done <- err
	}()
	<-s.records.gate // the first is about to be recorded
	for range 3 {
		_, err := ana.Collect(t.Context(), r.ID)
		s.wantRule(err, detokenize.RuleBusy)
	}
	s.records.gate <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
	_, err = ana.Collect(t.Context(), r.ID)
	s.wantRule(err, detokenize.RuleCollected)
	if _, err := ana.Request(t.Context(), "aurora", s.tokens(s.vault, "aurora", 3), "dispute"); err != nil {
		t.Errorf("the budget was charged more than once: %v", err)
	}
}

// A tenant whose keys were destroyed has no answers any more; the others do.
func TestDestroyedKeyRevealsNothing(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	cyd := s.as("spiffe://lake.example/cyd")
	ids := map[string]string{}
	s.setPolicy(strings.Replace(policy, `bea": {"approve": ["aurora"]}`, `bea": {"approve": ["*"]}`, 1))
	for tenant := range owners {
		r, err := cyd.Request(t.Context(), tenant, s.tokens(s.vault, tenant, 1), "dispute")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.as(approver).Approve(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		ids[string(tenant)] = r.ID
	}
	if err := s.keyring.DestroyOwner(t.Context(), owners["aurora"]); err != nil {
		t.Fatal(err)
	}
	before := s.records.count()
	_, err := cyd.Collect(t.Context(), ids["aurora"])
	s.wantRule(err, detokenize.RuleKeyGone)
	if !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("error %v is not the keyring's", err)
	}
	if d := cmp.Diff([]string{"cyd detokenise.collect tenant aurora refused key-destroyed"}, s.records.lines(before)); d != "" {
		t.Error(d)
	}
	if got, err := cyd.Collect(t.Context(), ids["boreal"]); err != nil || string(got[0].PAN.Digits()) != pans[0] {
		t.Errorf("the other tenant: error %v", err)
	}
}

// Whoever has not the right certificate does not get as far as a call.
func TestConnections(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	other, err := detokenizetest.NewAuthority(t.TempDir(), "other")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Issue(detokenizetest.Certificate{Name: "ana", URIs: []string{asker}})
	if err != nil {
		t.Fatal(err)
	}
	foreign.CA = s.authority.CA() // so that it trusts the service
	ok := s.issue(detokenizetest.Certificate{Name: "ok", URIs: []string{approver}})
	config := func(f detokenize.Files) *tls.Config {
		t.Helper()
		c, err := f.Client()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := config(ok)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	none := config(ok)
	none.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	for _, c := range []struct {
		name   string
		config *tls.Config
		url    string
		isIn   bool
	}{
		{"the right one", config(ok), s.url, true},
		{"none", none, s.url, false},
		{"another authority's", config(foreign), s.url, false},
		{"expired", config(s.issue(detokenizetest.Certificate{Name: "expired", URIs: []string{approver}, Age: time.Hour})), s.url, false},
		{"a server's", config(s.issue(detokenizetest.Certificate{Name: "server2", IsServer: true})), s.url, false},
		{"TLS 1.2", old, s.url, false},
		{"plain text", config(ok), strings.Replace(s.url, "https", "http", 1), false},
	} {
		s.advance(2 * time.Second) // refusals of one second share a line
		before := s.records.count()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.config}}
		resp, err := client.Get(c.url + "/v1/ready")
		isIn := false
		if err == nil {
			isIn = resp.StatusCode == http.StatusOK
			_ = resp.Body.Close()
		}
		client.CloseIdleConnections()
		if isIn != c.isIn {
			t.Errorf("%s: in: %t, want %t; error %v", c.name, isIn, c.isIn, err)
		}
		if c.isIn {
			continue
		}
		for deadline := time.Now().Add(5 * time.Second); s.records.count() == before && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if d := cmp.Diff([]string{"unknown vault.connect vault refused"}, s.records.lines(before)); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// A renewed certificate of the service, and another authority of its clients, are taken up
// at the next connection.
func TestCertificatesAreReadForEachConnection(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	bea := s.issue(detokenizetest.Certificate{Name: "bea", URIs: []string{approver}})
	in := func() error {
		_, err := s.client(bea).Status(t.Context(), strings.Repeat("a", 32))
		var refusal *detokenize.Refusal
		if errors.As(err, &refusal) {
			return nil
		}
		return err
	}
	if err := in(); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.authority, err = detokenizetest.NewAuthority(s.dir, "authority"); err != nil { // replaces the file
		t.Fatal(err)
	}
	if err := in(); err == nil {
		t.Error("the old authority's certificates still get in")
	}
	s.issue(detokenizetest.Certificate{Name: "server", IsServer: true})
	bea = s.issue(detokenizetest.Certificate{Name: "bea", URIs: []string{approver}})
	if err := in(); err != nil {
		t.Error(err)
	}
}

// The client is a tokenize.Pins like the vault: same tokens, in order, in batches.
func TestClientPins(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	pins := s.as(worker)
	got, want := s.tokens(pins, "aurora", 7), s.tokens(s.vault, "aurora", 7)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	cards := make([]tokenize.Card, 2500)
	for i := range cards {
		cards[i] = tokenize.Card{Candidates: []tokenize.Token{{Version: 1, Bits: [16]byte{byte(i >> 8), byte(i), 1}}}, Sealed: bytes.Repeat([]byte{1}, 120)}
	}
	tokens, err := pins.Pin(t.Context(), owners["boreal"], cards)
	if err != nil || len(tokens) != len(cards) {
		t.Fatalf("%d tokens, error %v", len(tokens), err)
	}
	for i := range tokens {
		if tokens[i] != cards[i].Candidates[0] {
			t.Fatalf("token %d is another card's", i)
		}
	}
	if got, err := pins.Pin(t.Context(), owners["boreal"], nil); err != nil || len(got) != 0 {
		t.Errorf("no cards: %d tokens, error %v", len(got), err)
	}
	_, err = pins.Pin(t.Context(), owners["boreal"], make([]tokenize.Card, 1))
	if !errors.Is(err, vault.ErrCard) {
		t.Errorf("error %v is not the vault's", err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := pins.Pin(t.Context(), owners["boreal"], cards[:1]); err == nil || errors.As(err, new(*detokenize.Refusal)) {
		t.Errorf("no service: error %v", err)
	}
}

// Bodies that are not those of a call are refused and not repeated, and answers are not kept.
func TestBodies(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	config, err := s.issue(detokenizetest.Certificate{Name: "cyd", URIs: []string{"spiffe://lake.example/cyd"}}).Client()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		body   string
		status int
	}{
		{"", 400},
		{"4111111111111111", 400},
		{`{"tenant":"aurora","tokens":["4111111111111111"],"purpose":"x"}`, 400},
		{`{"tenant":"aurora","tokens":[],"purpose":"x","pan":"4111111111111111"}`, 400},
		{`{"tenant":"aurora","tokens":[],"purpose":"x"} 4111111111111111`, 400},
		{`{"purpose":"` + strings.Repeat("4111111111111111", 20_000) + `"}`, 413},
	} {
		resp, err := client.Post(s.url+"/v1/requests", "application/json", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != c.status || h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%.40q: status %d, header %v", c.body, resp.StatusCode, h)
		}
		if bytes.Contains(text, []byte("4111")) || strings.Contains(s.log.String(), "4111") {
			t.Errorf("%.40q: what was sent is repeated", c.body)
		}
	}
}

func TestNewClientRefuses(t *testing.T) {
	for _, address := range []string{"", "vault", "http://vault:1", "https://", "https://vault/x", "https://u:p@vault", "https://vault?x=1"} {
		if _, err := detokenize.NewClient(address, &tls.Config{}, detokenize.ClientConfig{}); err == nil {
			t.Errorf("%q: no error", address)
		}
	}
}
