package detokenize_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize/detokenizetest"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// A policy whose mode is repaired counts, even though chmod changes neither its time nor its size.
func TestPolicyAfterChmod(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(path, []byte(`{"principals":{"mallory":{"approve":["*"]},"bea":{"approve":["*"]}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := detokenize.OpenPolicy(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"principals":{"bea":{"approve":["*"]}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o664); err != nil { // an operator's umask
		t.Fatal(err)
	}
	f.Policy() // complains
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Policy().Principals["mallory"]; ok {
		t.Error("mallory's rights were taken away and count still")
	}
}

// A name that the audit log would mask is refused: the log could not say who it was, and its
// budget would be new after a restart.
func TestNamesThatTheLogMasksAreRefused(t *testing.T) {
	_, err := detokenize.ParsePolicy([]byte(`{"principals":{"spiffe://lake.example/employee/123456789012":{"request":["*"],"tokens_per_hour":4}}}`))
	if err == nil || !strings.Contains(err.Error(), "audit log") {
		t.Errorf("got %v", err)
	}
}

// One person has one budget, whichever of their principals asks.
func TestBudgetOfAPerson(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	s.setPolicy(strings.Replace(policy, `"dan":`, `"spiffe://lake.example/ana-laptop": {"person": "spiffe://lake.example/ana", "request": ["aurora"], "tokens_per_hour": 5}, "dan":`, 1))
	tokens := s.tokens(s.vault, "aurora", 5)
	bea := s.as(approver)
	n := 0
	for _, name := range []string{asker, "spiffe://lake.example/ana-laptop"} {
		c := s.as(name)
		r, err := c.Request(t.Context(), "aurora", tokens, "dispute")
		if err != nil {
			t.Log(name, err)
			continue
		}
		if _, err := bea.Approve(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		got, err := c.Collect(t.Context(), r.ID)
		if err != nil {
			t.Log(name, err)
		}
		n += len(got)
	}
	if n > 5 {
		t.Errorf("one person revealed %d cards in an hour with a budget of 5", n)
	}
}

// One person alone learns the crosswalk, token after token.
func TestCrosswalkOracle(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	tokens := s.tokens(s.vault, "aurora", 7)
	scope := keys.Scope{Owner: owners["aurora"], Purpose: keys.Mint}
	if _, err := s.keyring.Rotate(t.Context(), scope); err != nil {
		t.Fatal(err)
	}
	live, err := s.keyring.Live(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.vault.Retokenise(t.Context(), vault.Pass{Owner: owners["aurora"], Reverse: s.reverse}, live[0]); err != nil {
		t.Fatal(err)
	}
	ana := s.as(asker)
	n := 0
	for _, old := range tokens {
		_, err := ana.Request(t.Context(), "aurora", []tokenize.Token{old}, "looking around")
		var r *detokenize.Refusal
		if errors.As(err, &r) && strings.Contains(r.Detail, "tk2_") {
			n++
		}
	}
	if n > 0 {
		t.Errorf("one person with a budget of 5 tokens, and nobody's approval, got the successors of %d retired tokens", n)
	}
}

// A name in the common name, which authorities do not verify as they do a URI, is not that URI.
func TestCommonNameIsNoURI(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	dir := filepath.Join(s.dir, "spiffe:", "lake.example")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	tokens := s.tokens(s.vault, "aurora", 1)
	r, err := s.as(asker).Request(t.Context(), "aurora", tokens, "dispute")
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.authority.Issue(detokenizetest.Certificate{Name: "spiffe://lake.example/bea"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client(files).Approve(t.Context(), r.ID); err == nil {
		t.Error("a certificate without a URI, whose common name is spelled like one, approved as bea")
	}
}

// Many requests, approvals and collections at once never reveal more than the budget.
func TestConcurrentBudget(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	tokens := s.tokens(s.vault, "aurora", 1)
	bea := s.as(approver)
	var got atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		c := s.as(asker)
		wg.Go(func() {
			for range 10 {
				r, err := c.Request(t.Context(), "aurora", tokens, "dispute")
				if err != nil {
					continue
				}
				_, _ = bea.Approve(t.Context(), r.ID)
				var in sync.WaitGroup
				for range 3 {
					in.Go(func() {
						x, err := c.Collect(t.Context(), r.ID)
						if err == nil {
							got.Add(int64(len(x)))
						}
					})
				}
				in.Wait()
			}
		})
	}
	wg.Wait()
	if got.Load() > 5 {
		t.Errorf("%d revealed with a budget of 5", got.Load())
	}
}

// A token of one tenant is none of another's.
func TestForeignToken(t *testing.T) {
	s := newSite(t, detokenize.Config{})
	tokens := s.tokens(s.vault, "aurora", 1)
	_, err := s.as("spiffe://lake.example/cyd").Request(t.Context(), "boreal", tokens, "dispute")
	s.wantRule(err, detokenize.RuleToken)
	// cyd may approve for boreal, not for aurora
	r, err := s.as(asker).Request(t.Context(), "aurora", tokens, "x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.as("spiffe://lake.example/cyd").Approve(t.Context(), r.ID)
	s.wantRule(err, detokenize.RuleNotPermitted)
	_, err = s.as("spiffe://lake.example/aurora-worker").Pin(t.Context(), owners["boreal"], []tokenize.Card{{}})
	s.wantRule(err, detokenize.RuleNotPermitted)
}
