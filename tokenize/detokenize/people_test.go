package detokenize_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
	"github.com/cardlake/cardlake/tokenize/detokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize/detokenizetest"
)

// peopleSite is a site whose people sign in with tokens.
type peopleSite struct {
	*site
	issuer *signintest.Issuer
}

const peoplePolicy = `{"principals": {
	"spiffe://lake.example/worker": {"pin": ["*"]},
	"spiffe://lake.example/desk": {"request": ["*"], "approve": ["*"], "tokens_per_hour": 100},
	"oidc:ISSUER#ana": {"request": ["aurora"], "approve": ["aurora"], "tokens_per_hour": 5, "pin": ["*"]},
	"oidc:ISSUER#ana-admin": {"person": "oidc:ISSUER#ana", "approve": ["*"]},
	"oidc:ISSUER#bea": {"approve": ["aurora"]}
}}`

const desk = "spiffe://lake.example/desk" // a terminal that people share

func newPeopleSite(t *testing.T, people detokenize.People) *peopleSite {
	t.Helper()
	s := &peopleSite{newSite(t, detokenize.Config{}), signintest.Start(t)}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if s.people = people; people == nil {
		issuer, err := signin.NewIssuer(signin.IssuerConfig{URL: s.issuer.URL, Audience: signintest.Audience, RootCAs: s.issuer.Pool(), Now: s.clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(issuer.Close)
		s.people = issuer
	}
	s.setPolicy(strings.ReplaceAll(peoplePolicy, "ISSUER", s.issuer.URL))
	s.start(detokenize.Config{})
	return s
}

// signed returns a client with a certificate and a token of the subject; nobody has none.
func (s *peopleSite) signed(certificate, subject string, changes map[string]any) *detokenize.Client {
	s.t.Helper()
	s.clients++
	config, err := s.issue(detokenizetest.Certificate{Name: fmt.Sprint("client", s.clients), URIs: []string{certificate}}).Client()
	if err != nil {
		s.t.Fatal(err)
	}
	var cfg detokenize.ClientConfig
	if subject != "" {
		cfg.Token = func() (string, error) { return s.issuer.Token(subject, s.clock(), changes), nil }
	}
	c, err := detokenize.NewClient(s.url, config, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// TestPeopleSignInWithTwoFactors: who asks and approves is the token's, whatever the
// certificate, and workers need none.
func TestPeopleSignInWithTwoFactors(t *testing.T) {
	s := newPeopleSite(t, nil)
	tokens := s.tokens(s.as(worker), "aurora", 2)
	ana, bea := s.signed(desk, "ana", nil), s.signed(desk, "bea", nil)
	r, err := ana.Request(t.Context(), "aurora", tokens, "dispute 17")
	if err != nil {
		t.Fatal(err)
	}
	if want := "oidc:" + s.issuer.URL + "#ana"; r.Requester != want {
		t.Errorf("requester %q, want %q", r.Requester, want)
	}
	_, err = ana.Approve(t.Context(), r.ID)
	s.wantRule(err, detokenize.RuleSamePerson)
	_, err = s.signed("spiffe://lake.example/other-desk", "ana-admin", nil).Approve(t.Context(), r.ID)
	s.wantRule(err, detokenize.RuleSamePerson)
	_, err = bea.Approve(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = bea.Collect(t.Context(), r.ID)
	s.wantRule(err, detokenize.RuleNotRequester)
	cards, err := ana.Collect(t.Context(), r.ID)
	if err != nil || len(cards) != 2 {
		t.Fatal(len(cards), err)
	}
	name := func(subject string) string { return "oidc:" + s.issuer.URL + "#" + subject }
	want := []string{
		"worker vault.pin tenant aurora allowed",
		name("ana") + " detokenise.request tenant aurora allowed",
		name("ana") + " detokenise.approve tenant aurora refused same-person",
		name("ana-admin") + " detokenise.approve tenant aurora refused same-person",
		name("bea") + " detokenise.approve tenant aurora allowed",
		name("bea") + " detokenise.collect tenant aurora refused not-the-requester",
		name("ana") + " detokenise.collect tenant aurora allowed",
	}
	if d := cmp.Diff(want, s.records.lines(0)); d != "" {
		t.Error(d)
	}
	for _, e := range s.records.all[1:] {
		if !strings.HasPrefix(e.Detail["certificate"], "spiffe://lake.example/") {
			t.Errorf("record without its certificate: %+v", e.Record)
		}
	}
}

// TestPeopleWhoAreNotSignedIn get nothing, each attempt on record.
func TestPeopleWhoAreNotSignedIn(t *testing.T) {
	s := newPeopleSite(t, nil)
	tokens := s.tokens(s.as(worker), "aurora", 1)
	r, err := s.signed(desk, "ana", nil).Request(t.Context(), "aurora", tokens, "dispute 17")
	if err != nil {
		t.Fatal(err)
	}
	ana := "oidc:" + s.issuer.URL + "#ana"
	for _, c := range []struct {
		name   string
		client *detokenize.Client
		rule   detokenize.Rule
		actor  string
	}{
		{"a certificate that the policy lists, and no token", s.signed(desk, "", nil), detokenize.RuleSignIn, "unknown"},
		{"one factor", s.signed(desk, "ana", map[string]any{"amr": []string{"pwd"}}), detokenize.RuleMFA, ana},
		{"no factors", s.signed(desk, "ana", map[string]any{"amr": nil}), detokenize.RuleMFA, ana},
		{"a token that ended", s.signed(desk, "ana", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), detokenize.RuleSignIn, ana},
		{"another audience", s.signed(desk, "ana", map[string]any{"aud": "lake"}), detokenize.RuleSignIn, "unknown"},
		{"another issuer", s.signed(desk, "ana", map[string]any{"iss": "https://evil.example"}), detokenize.RuleSignIn, "unknown"},
		{"a stranger", s.signed(desk, "cyd", nil), detokenize.RulePrincipal, "oidc:" + s.issuer.URL + "#cyd"},
		{"the desk's name as subject", s.signed(desk, desk, nil), detokenize.RulePrincipal, "oidc:" + s.issuer.URL + "#" + desk},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.records.count()
			_, err := c.client.Request(t.Context(), "aurora", tokens, "dispute 18")
			s.wantRule(err, c.rule)
			_, err = c.client.Status(t.Context(), r.ID)
			s.wantRule(err, c.rule)
			_, err = c.client.Approve(t.Context(), r.ID)
			s.wantRule(err, c.rule)
			_, err = c.client.Collect(t.Context(), r.ID)
			s.wantRule(err, c.rule)
			if n := s.records.count() - before; n != 4 {
				t.Errorf("%d records of 4 attempts", n)
			}
			for _, e := range s.records.all[before:] {
				if e.Actor != c.actor || e.Outcome != "refused" || e.Detail["certificate"] != desk {
					t.Errorf("record %+v", e.Record)
				}
			}
		})
	}
	if e := s.records.all[4+1]; e.Actor != "unknown" || e.Detail["sign_in"] != string(signin.NoCredentials) {
		t.Errorf("the log does not say that there was no token: %+v", e.Record)
	}
	// A person does not pin, and a worker's token says nothing.
	_, err = s.pin(s.signed(desk, "ana", nil), "aurora", 1)
	s.wantRule(err, detokenize.RuleNotPermitted)
	if _, err := s.pin(s.signed(worker, "cyd", nil), "aurora", 1); err != nil {
		t.Error(err)
	}
	if strings.Contains(s.log.String(), "eyJ") {
		t.Error("a token is in the log")
	}
	s.issuer.Down.Store(true)
	s.advance(2 * time.Hour)
	_, err = s.signed(desk, "ana", nil).Request(t.Context(), "aurora", tokens, "dispute 19")
	s.wantRule(err, detokenize.RuleNoSignIn)
	if _, err := s.pin(s.as(worker), "aurora", 1); err != nil {
		t.Errorf("workers need the issuer: %v", err)
	}
}

// TestPersonWithoutRights is refused from the next step on.
func TestPersonWithoutRights(t *testing.T) {
	s := newPeopleSite(t, nil)
	tokens := s.tokens(s.as(worker), "aurora", 1)
	ana := s.signed(desk, "ana", nil)
	r, err := ana.Request(t.Context(), "aurora", tokens, "dispute 17")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.signed(desk, "bea", nil).Approve(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	s.setPolicy(`{"principals": {"spiffe://lake.example/worker": {"pin": ["*"]}}}`)
	_, err = ana.Collect(t.Context(), r.ID)
	s.wantRule(err, detokenize.RulePrincipal)
}

// TestNoPeople: a service for workers only.
func TestNoPeople(t *testing.T) {
	s := newPeopleSite(t, detokenize.NoPeople{})
	tokens := s.tokens(s.as(worker), "aurora", 1)
	for _, subject := range []string{"", "ana"} {
		_, err := s.signed(desk, subject, nil).Request(t.Context(), "aurora", tokens, "dispute 17")
		s.wantRule(err, detokenize.RuleSignIn)
	}
}

// TestTokenThatCannotBeHad: the client says so and does not ask.
func TestTokenThatCannotBeHad(t *testing.T) {
	gone := errors.New("the file is gone")
	c, err := detokenize.NewClient("https://127.0.0.1:1", &tls.Config{}, detokenize.ClientConfig{Token: func() (string, error) { return "", gone }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Status(t.Context(), "x"); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}
