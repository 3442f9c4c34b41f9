package tokenize_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// vault is Pins as its contract says, and no more.
type vault struct {
	mu     sync.Mutex
	leads  map[keys.Owner]map[tokenize.Token]tokenize.Token
	sealed map[tokenize.Token][]byte // by token
	calls  []string                  // "owner: cards"
	fail   map[keys.Owner]error
	answer func([]tokenize.Token) []tokenize.Token
}

func newVault() *vault {
	return &vault{leads: map[keys.Owner]map[tokenize.Token]tokenize.Token{}, sealed: map[tokenize.Token][]byte{}, fail: map[keys.Owner]error{}}
}

func (v *vault) Pin(_ context.Context, owner keys.Owner, cards []tokenize.Card) ([]tokenize.Token, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, fmt.Sprintf("%s: %d", owner, len(cards)))
	if err := v.fail[owner]; err != nil {
		return nil, err
	}
	leads := v.leads[owner]
	if leads == nil {
		leads = map[tokenize.Token]tokenize.Token{}
		v.leads[owner] = leads
	}
	var out []tokenize.Token
	for _, c := range cards {
		token := c.Candidates[0]
		for _, candidate := range c.Candidates {
			if known, ok := leads[candidate]; ok {
				token = known
			}
		}
		for _, candidate := range c.Candidates {
			leads[candidate] = token
		}
		if v.sealed[token] == nil {
			v.sealed[token] = c.Sealed
		}
		out = append(out, token)
	}
	if v.answer != nil {
		out = v.answer(out)
	}
	return out, nil
}

func (v *vault) taken() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	calls := v.calls
	v.calls = nil
	return calls
}

// secrets are live mint secrets: of each version its bytes repeated, and the owner's name.
type secrets struct {
	mu   sync.Mutex
	live []int // versions, the newest first
	err  error
}

func (s *secrets) set(versions ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = versions
}

func (s *secrets) Live(_ context.Context, scope keys.Scope) ([]keys.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	var out []keys.Secret
	for _, version := range s.live {
		key, err := keys.KeyFrom(append(bytes.Repeat([]byte{byte(version)}, 26), scope.Owner[:6]...))
		if err != nil {
			return nil, err
		}
		out = append(out, keys.Secret{Version: version, Key: key})
	}
	return out, nil
}

// rig is a worker's tokenizer, with a clock.
type rig struct {
	*tokenize.Tokenizer
	now time.Time
}

// fakeRing wraps a data key as the scope and the key: what it opens is right, and no more.
type fakeRing struct{}

var ring fakeRing

func (fakeRing) NewDataKey(_ context.Context, scope keys.Scope) (keys.Key, []byte, error) {
	key := keys.NewKey()
	return key, append([]byte(scope.String()+" "), key.Bytes()...), nil
}

func (fakeRing) UnwrapDataKey(_ context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error) {
	bytes, ok := bytes.CutPrefix(wrapped, []byte(scope.String()+" "))
	if !ok {
		return keys.Key{}, keys.ErrUnwrap
	}
	return keys.KeyFrom(bytes)
}

func (fakeRing) Secret(_ context.Context, scope keys.Scope) (int, keys.Key, error) {
	key, err := keys.KeyFrom(bytes.Repeat([]byte{byte(len(scope.Owner))}, 32))
	return 1, key, err
}

func newRig(v tokenize.Pins, s *secrets, cards int) *rig {
	reverse := keys.NewEnvelopes(ring, keys.Reverse, keys.EnvelopeConfig{})
	return &rig{tokenize.NewPinned(s, v, reverse, tokenize.Config{Cards: cards}), time.Unix(1_790_000_000, 0)}
}

func (r *rig) minter(t *testing.T, owner keys.Owner) *tokenize.Minter {
	t.Helper()
	m, err := r.Minter(t.Context(), owner, r.now)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// tokens is what a chunk of the cards gets, as the ingest worker goes about it, and how many
// cards were not known.
func (r *rig) tokens(t *testing.T, owner keys.Owner, pans ...card.PAN) (tokens []string, unknown int) {
	t.Helper()
	tokens, places := make([]string, len(pans)), map[int]int{}
	m := r.minter(t, owner)
	for i, pan := range pans {
		var row cardlake.Row
		if m.ApplyRow(&row, pan) {
			tokens[i] = strings.Clone(row.CardToken)
			continue
		}
		unknown++
		if row.CardToken != "" || row.BIN == "" {
			t.Errorf("an unknown card has token %q and BIN %q", row.CardToken, row.BIN)
		}
		place, err := m.Queue(t.Context(), pan)
		if err != nil {
			t.Fatal(err)
		}
		places[i] = place
	}
	settled, err := r.Settle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, place := range places {
		tokens[i] = settled[place].String()
	}
	return tokens, unknown
}

func pans(t testing.TB, n int) (out []card.PAN) {
	for i := range n {
		digits := fmt.Appendf(nil, "411111%09d", i)
		out = append(out, pan(t, string(append(digits, card.LuhnDigit(digits)))))
	}
	return out
}

func TestUnknownCardsArePinnedOnce(t *testing.T) {
	v, s := newVault(), &secrets{live: []int{1}}
	r := newRig(v, s, 0)
	cards := pans(t, 50)
	twice := append(append([]card.PAN{}, cards...), cards...)
	first, unknown := r.tokens(t, "ownera", twice...)
	if unknown != 100 || cmp.Diff(v.taken(), []string{"ownera: 50"}) != "" {
		t.Errorf("%d unknown; want one call with every card once", unknown)
	}
	plain := tokenize.NewMinter(1, mustLive(t, s, "ownera")[0].Key)
	for i, pan := range twice {
		if want := plain.Token(pan).String(); first[i] != want {
			t.Errorf("card %d has %s, want its candidate %s", i, first[i], want)
		}
	}
	again, unknown := r.tokens(t, "ownera", twice...)
	if unknown != 0 || len(v.taken()) != 0 || cmp.Diff(first, again) != "" {
		t.Errorf("%d unknown the second time", unknown)
	}
}

func mustLive(t *testing.T, s *secrets, owner keys.Owner) []keys.Secret {
	t.Helper()
	live, err := s.Live(t.Context(), keys.Scope{Owner: owner, Purpose: keys.Mint})
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// Tenants share no secret: equal cards have tokens that have nothing in common, and what one
// tenant pinned is not known of another.
func TestTenantsAreUnlinkable(t *testing.T) {
	v, s := newVault(), &secrets{live: []int{1}}
	r := newRig(v, s, 0)
	cards := pans(t, 20)
	a, _ := r.tokens(t, "ownera", cards...)
	b, unknown := r.tokens(t, "ownerb", cards...)
	if unknown != len(cards) {
		t.Errorf("%d unknown of another tenant, want all", unknown)
	}
	for i := range a {
		same := 0
		for j := range len(a[i]) - 4 {
			if a[i][4+j] == b[i][4+j] {
				same++
			}
		}
		if a[i] == b[i] || same > 16 { // of 32 letters two are alike by chance
			t.Errorf("tokens of two tenants are alike: %s, %s", a[i], b[i])
		}
	}
}

// What is queued holds the number sealed for the tenant and this card, and not in clear.
func TestWhatIsPinnedIsSealed(t *testing.T) {
	v, s := newVault(), &secrets{live: []int{2, 1}}
	r := newRig(v, s, 0)
	cards := pans(t, 3)
	r.tokens(t, "ownera", cards...)
	envelopes := keys.NewEnvelopes(ring, keys.Reverse, keys.EnvelopeConfig{})
	for _, pan := range cards {
		token := r.minter(t, "ownera").Token(pan)
		sealed := v.sealed[token]
		if bytes.Contains(sealed, pan.Digits()) {
			t.Error("a card number in clear")
		}
		plain, err := envelopes.Open(t.Context(), nil, "ownera", sealed, tokenize.ReverseAAD("ownera", token))
		if err != nil || !bytes.Equal(plain, pan.Digits()) {
			t.Errorf("does not open to the card number: %v", err)
		}
		other := token
		other.Bits[3] ^= 1
		for _, aad := range [][]byte{tokenize.ReverseAAD("ownera", other), tokenize.ReverseAAD("ownerb", token), nil} {
			if _, err := envelopes.Open(t.Context(), nil, "ownera", sealed, aad); !errors.Is(err, keys.ErrOpen) {
				t.Errorf("opens with other associated data: %v", err)
			}
		}
	}
}

// A new secret, old ones destroyed, workers that start afresh or learn of it late: every card
// keeps its token, old cards and new.
func TestRotationKeepsEveryToken(t *testing.T) {
	v, s := newVault(), &secrets{live: []int{1}}
	old, cards := newRig(v, s, 0), pans(t, 60)
	want, _ := old.tokens(t, "ownera", cards[:40]...)
	s.set(2, 1)
	// One worker has not asked for its secrets yet, one has just begun.
	late, _ := old.tokens(t, "ownera", cards[30:60]...)
	want = append(want, late[10:]...)
	fresh := newRig(v, s, 0)
	for name, r := range map[string]*rig{"late": old, "fresh": fresh} {
		r.now = r.now.Add(2 * time.Minute)
		if got, _ := r.tokens(t, "ownera", cards...); cmp.Diff(want, got) != "" {
			t.Errorf("%s worker: tokens changed when the secret was rotated", name)
		}
	}
	if !strings.HasPrefix(want[0], "tk1_") || fresh.minter(t, "ownera").Token(cards[0]).Version != 2 {
		t.Error("the secret was not rotated")
	}
	s.set(2) // every card was seen under it: it is re-indexed
	for name, r := range map[string]*rig{"late": old, "fresh": fresh, "new": newRig(v, s, 0)} {
		r.now = r.now.Add(2 * time.Minute)
		if got, _ := r.tokens(t, "ownera", cards...); cmp.Diff(want, got) != "" {
			t.Errorf("%s worker: tokens changed when the old secret was destroyed", name)
		}
	}
	newCard := pans(t, 61)[60:]
	if got, _ := fresh.tokens(t, "ownera", newCard...); !strings.HasPrefix(got[0], "tk2_") {
		t.Errorf("a new card has %s, want one of the new secret", got[0])
	}
}

// After a compromise cards get new tokens in the vault. A worker that remembers the old ones
// has forgotten them when the old secret is gone.
func TestCompromiseIsNoticed(t *testing.T) {
	v, s := newVault(), &secrets{live: []int{1}}
	r, cards := newRig(v, s, 0), pans(t, 5)
	r.tokens(t, "ownera", cards...)
	s.set(2, 1)
	r.now = r.now.Add(2 * time.Minute)
	r.tokens(t, "ownera", cards...) // remembers the old tokens under the new candidates
	for candidate := range v.leads["ownera"] {
		if candidate.Version == 2 {
			v.leads["ownera"][candidate] = candidate
		}
	}
	s.set(2)
	r.now = r.now.Add(2 * time.Minute)
	got, _ := r.tokens(t, "ownera", cards...)
	for _, token := range got {
		if !strings.HasPrefix(token, "tk2_") {
			t.Errorf("%s after the compromised secret was destroyed", token)
		}
	}
}

// The same secrets asked for again are no reason to ask the vault again.
func TestRefreshForgetsNothing(t *testing.T) {
	v, s := newVault(), &secrets{live: []int{2, 1}}
	r, cards := newRig(v, s, 0), pans(t, 5)
	r.tokens(t, "ownera", cards...)
	v.taken()
	r.now = r.now.Add(time.Hour)
	if _, unknown := r.tokens(t, "ownera", cards...); unknown != 0 || len(v.taken()) != 0 {
		t.Errorf("%d cards unknown after an hour", unknown)
	}
}

// A vault that fails for one tenant is asked again for that tenant only, and no card loses its
// place.
func TestSettleTriesAgain(t *testing.T) {
	v, s := newVault(), &secrets{live: []int{1}}
	r, cards := newRig(v, s, 0), pans(t, 3)
	var places []int
	queue := func() {
		t.Helper()
		for _, owner := range []keys.Owner{"ownera", "ownerb"} {
			for _, pan := range cards {
				place, err := r.minter(t, owner).Queue(t.Context(), pan)
				if err != nil {
					t.Fatal(err)
				}
				places = append(places, place)
			}
		}
	}
	queue()
	away := errors.New("vault is away")
	v.fail["ownerb"] = away
	for range 2 {
		if tokens, err := r.Settle(t.Context()); !errors.Is(err, away) || tokens != nil {
			t.Errorf("settled %d, %v", len(tokens), err)
		}
	}
	queue() // the records are taken again
	if cmp.Diff(places[:6], places[6:]) != "" {
		t.Error("cards that wait already got other places")
	}
	v.fail["ownerb"] = nil
	v.taken()
	tokens, err := r.Settle(t.Context())
	if err != nil || len(tokens) != 6 || cmp.Diff(v.taken(), []string{"ownerb: 3"}) != "" {
		t.Fatalf("%d tokens, %v", len(tokens), err)
	}
	for i, place := range places[:6] {
		owner := []keys.Owner{"ownera", "ownerb"}[i/3]
		if want := r.minter(t, owner).Token(cards[i%3]); tokens[place] != want {
			t.Errorf("place %d has %s, want %s", place, tokens[place], want)
		}
	}
	if again, err := r.Settle(t.Context()); err != nil || len(again) != 6 || len(v.taken()) != 0 {
		t.Errorf("settling what is settled: %d, %v", len(again), err)
	}
}

// A tenant without keys gives no token, and does not hold up the others.
func TestSettleOfATenantWithoutKeys(t *testing.T) {
	v, s := newVault(), &secrets{live: []int{1}}
	r, pan := newRig(v, s, 0), pans(t, 1)[0]
	gone, err := r.minter(t, "ownera").Queue(t.Context(), pan)
	if err != nil {
		t.Fatal(err)
	}
	there, err := r.minter(t, "ownerb").Queue(t.Context(), pan)
	if err != nil {
		t.Fatal(err)
	}
	v.fail["ownera"] = fmt.Errorf("vault: %w", keys.ErrNoKey)
	tokens, err := r.Settle(t.Context())
	if err != nil || !tokens[gone].IsZero() || tokens[there].IsZero() {
		t.Errorf("tokens %v, %v", tokens, err)
	}
	if r.minter(t, "ownera").ApplyRow(new(cardlake.Row), pan) {
		t.Error("a card without a token is known")
	}
}

func TestSettleRefusesWrongAnswers(t *testing.T) {
	for name, answer := range map[string]func([]tokenize.Token) []tokenize.Token{
		"too few":  func(ts []tokenize.Token) []tokenize.Token { return ts[1:] },
		"too many": func(ts []tokenize.Token) []tokenize.Token { return append(ts, ts...) },
		"none":     func([]tokenize.Token) []tokenize.Token { return nil },
		"zero":     func(ts []tokenize.Token) []tokenize.Token { ts[1] = tokenize.Token{}; return ts },
		"version":  func(ts []tokenize.Token) []tokenize.Token { ts[0].Version = tokenize.MaxVersion + 1; return ts },
	} {
		v := newVault()
		r := newRig(v, &secrets{live: []int{1}}, 0)
		for _, pan := range pans(t, 3) {
			if _, err := r.minter(t, "ownera").Queue(t.Context(), pan); err != nil {
				t.Fatal(err)
			}
		}
		v.answer = answer
		if _, err := r.Settle(t.Context()); !errors.Is(err, tokenize.ErrPins) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// More cards than the cache has room for are pinned again, and right.
func TestCacheIsBounded(t *testing.T) {
	v := newVault()
	r, cards := newRig(v, &secrets{live: []int{1}}, 100), pans(t, 1000)
	want, _ := r.tokens(t, "ownera", cards...)
	got, unknown := r.tokens(t, "ownera", cards...)
	if cmp.Diff(want, got) != "" || unknown < 900 {
		t.Errorf("%d of 1000 unknown with room for 100", unknown)
	}
}

func TestQueueFailsWithTheKeyService(t *testing.T) {
	s := &secrets{live: []int{1}}
	r := &rig{tokenize.NewPinned(s, newVault(), keys.NewEnvelopes(noKeys{}, keys.Reverse, keys.EnvelopeConfig{}), tokenize.Config{}), time.Now()}
	if _, err := r.minter(t, "ownera").Queue(t.Context(), pans(t, 1)[0]); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("error %v", err)
	}
	if tokens, err := r.Settle(t.Context()); err != nil || len(tokens) != 0 {
		t.Errorf("half of a card waits: %d, %v", len(tokens), err)
	}
	s.set()
	if _, err := r.Minter(t.Context(), "ownerb", r.now); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("no live secret: %v", err)
	}
}

type noKeys struct{}

func (noKeys) NewDataKey(context.Context, keys.Scope) (keys.Key, []byte, error) {
	return keys.Key{}, nil, keys.ErrNoKey
}

func (noKeys) UnwrapDataKey(context.Context, keys.Scope, []byte) (keys.Key, error) {
	return keys.Key{}, keys.ErrNoKey
}

// Workers that meet the same cards at once agree.
func TestWorkersAgree(t *testing.T) {
	v, s := newVault(), &secrets{live: []int{1}}
	cards := pans(t, 300)
	results := make([][]string, 4)
	var workers sync.WaitGroup
	for i := range results {
		r := newRig(v, s, 0)
		if i%2 == 1 {
			s = &secrets{live: []int{2, 1}}
		}
		workers.Go(func() {
			for from := 0; from < len(cards); from += 50 {
				got, _ := r.tokens(t, "ownera", cards[from:from+50]...)
				results[i] = append(results[i], got...)
			}
		})
	}
	workers.Wait()
	for _, got := range results[1:] {
		if cmp.Diff(results[0], got) != "" {
			t.Error("two workers have different tokens for the same cards")
		}
	}
}

func TestAKnownCardAllocatesNothing(t *testing.T) {
	v := newVault()
	r, cards := newRig(v, &secrets{live: []int{1}}, 0), pans(t, 10)
	r.tokens(t, "ownera", cards...)
	m := r.minter(t, "ownera")
	var row cardlake.Row
	if n := testing.AllocsPerRun(100, func() {
		for _, pan := range cards {
			if !m.ApplyRow(&row, pan) {
				t.Fatal("unknown")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for ten cards, want 0", n)
	}
}

func TestSettleWithoutPins(t *testing.T) {
	tk := tokenize.New(ring, tokenize.Config{})
	m, err := tk.Minter(t.Context(), "ownera", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var row cardlake.Row
	if !m.ApplyRow(&row, pans(t, 1)[0]) || row.CardToken == "" {
		t.Error("without pins a candidate is the token")
	}
	if tokens, err := tk.Settle(t.Context()); tokens != nil || err != nil {
		t.Errorf("%v, %v", tokens, err)
	}
}

// BenchmarkApplyRow is a row's token, BIN and last four: without pins, and of known cards.
func BenchmarkApplyRow(b *testing.B) {
	cards := pans(b, 10_000)
	for _, name := range []string{"minted", "pinned"} {
		b.Run(name, func(b *testing.B) {
			tk := tokenize.New(ring, tokenize.Config{})
			if name == "pinned" {
				tk = newRig(newVault(), &secrets{live: []int{1}}, 0).Tokenizer
			}
			m, err := tk.Minter(b.Context(), "ownera", time.Now())
			if err != nil {
				b.Fatal(err)
			}
			var row cardlake.Row
			for _, pan := range cards {
				if !m.ApplyRow(&row, pan) {
					if _, err := m.Queue(b.Context(), pan); err != nil {
						b.Fatal(err)
					}
				}
			}
			if _, err := tk.Settle(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if !m.ApplyRow(&row, cards[i]) {
					b.Fatal("unknown")
				}
				if i++; i == len(cards) {
					i = 0
				}
			}
		})
	}
}
