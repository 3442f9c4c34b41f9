package vaulttest

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// model is the vault as two maps.
type model struct {
	t     *testing.T
	place Place
	ring  *ring
	rng   *rand.Rand

	v          *vault.Vault
	closeStore func()

	tokens  map[int]tokenize.Token // of the cards that were pinned
	retired map[tokenize.Token]int // tokens that cards had before
	settled bool                   // every worker knows the newest secret
}

const modelCards = 60

// followsTheModel does at random what can be done to a vault, in every order that the
// rotation's rules allow, and compares each answer with the model's.
func followsTheModel(t *testing.T, p Place) {
	m := &model{
		t: t, place: p, ring: newRing(), rng: rand.New(rand.NewPCG(3, 14)), settled: true,
		tokens: map[int]tokenize.Token{}, retired: map[tokenize.Token]int{},
	}
	m.ring.rotateMint(owner)
	m.reopen()
	defer func() { m.closeStore() }()
	for range 300 {
		switch n := m.rng.IntN(42); {
		case n < 20:
			m.pin()
		case n < 26:
			m.reveal()
		case n < 28:
			m.reopen()
		case n < 30:
			m.rotate()
		case n < 32:
			m.settled = true
		case n < 35:
			m.reindex()
		case n < 36:
			m.retokenise()
		case n < 38:
			m.reseal()
		case n < 40:
			m.forget()
		default:
			m.compare()
		}
		if t.Failed() {
			return
		}
	}
	m.compare()
	if len(m.retired) == 0 || m.ring.live(owner)[0].Version < 3 {
		t.Errorf("%d retired tokens, secret %d: the walk is too short", len(m.retired), m.ring.live(owner)[0].Version)
	}
}

func (m *model) pass() vault.Pass {
	return vault.Pass{Owner: owner, Reverse: m.ring.envelopes()}
}

// interrupted is a pass that ends after its first batch.
func (m *model) interrupted() (context.Context, vault.Pass) {
	ctx, cancel := context.WithCancel(m.t.Context())
	pass := m.pass()
	pass.Report = func(vault.Progress) { cancel() }
	m.t.Cleanup(cancel)
	return ctx, pass
}

func (m *model) reopen() {
	if m.closeStore != nil {
		m.closeStore()
	}
	var s vault.Store
	s, m.closeStore = m.place.Open(m.t)
	m.v = vault.New(s, vault.Config{Batch: 5 + m.rng.IntN(40)})
}

func (m *model) pin() {
	secrets := m.ring.live(owner)
	if !m.settled && m.rng.IntN(2) == 0 {
		secrets = secrets[1:] // a worker that has not heard of the newest
	}
	numbers := make([]int, 1+m.rng.IntN(20))
	for i := range numbers {
		numbers[i] = m.rng.IntN(modelCards)
	}
	got := pin(m.t, m.v, m.ring.envelopes(), owner, secrets, numbers...)
	for i, n := range numbers {
		if _, ok := m.tokens[n]; !ok {
			m.tokens[n] = minted(m.t, secrets[0], n)
		}
		if got[i] != m.tokens[n] {
			m.t.Errorf("card %d has %s, want %s", n, got[i], m.tokens[n])
		}
	}
}

func (m *model) reveal() {
	for n, token := range m.tokens {
		isPANOf(m.t, m.v, m.ring, token, n)
		break
	}
	for token, n := range m.retired {
		_, err := m.v.Reveal(m.t.Context(), m.ring.envelopes(), owner, token)
		var to *vault.RetiredError
		if !errors.As(err, &to) || to.Successor != m.tokens[n] {
			m.t.Errorf("retired %s of card %d: %v, want ErrRetired for %s", token, n, err, m.tokens[n])
		}
		break
	}
	n := m.rng.IntN(modelCards)
	if _, ok := m.tokens[n]; !ok {
		if _, err := m.v.Reveal(m.t.Context(), m.ring.envelopes(), owner, minted(m.t, m.ring.live(owner)[0], n)); !errors.Is(err, vault.ErrUnknownToken) {
			m.t.Errorf("card %d, which was not pinned: %v, want ErrUnknownToken", n, err)
		}
	}
}

// rotate begins a rotation, if none is under way.
func (m *model) rotate() {
	if len(m.ring.live(owner)) == 1 {
		m.ring.rotateMint(owner)
		m.settled = false
	}
}

// reindex does a pass or a part of one, and ends the rotation if the pass is the proof.
func (m *model) reindex() {
	newest := m.ring.live(owner)[0]
	if m.rng.IntN(2) == 0 {
		ctx, pass := m.interrupted()
		_, _ = m.v.Reindex(ctx, pass, newest)
	}
	p, err := m.v.Reindex(m.t.Context(), m.pass(), newest)
	if err != nil || !p.Finished {
		m.t.Errorf("reindex: %+v, %v", p, err)
	}
	m.finish(newest, func() (vault.Progress, error) { return m.v.Reindex(m.t.Context(), m.pass(), newest) })
}

// finish repeats a pass until nothing is left, and destroys the old secrets.
func (m *model) finish(newest keys.Secret, pass func() (vault.Progress, error)) {
	if !m.settled {
		return
	}
	until(m.t, "pass", pass)
	m.ring.destroyMint(owner)
	if _, err := m.v.ForgetVersion(m.t.Context(), owner, newest.Version-1); err != nil && newest.Version > 1 {
		m.t.Error(err)
	}
}

func (m *model) retokenise() {
	newest := m.ring.live(owner)[0]
	if m.rng.IntN(2) == 0 {
		ctx, pass := m.interrupted()
		_, _ = m.v.Retokenise(ctx, pass, newest)
		if m.rng.IntN(2) == 0 { // leave it at that
			m.adopt(func(n int, token tokenize.Token) bool {
				return token == m.tokens[n] || token == minted(m.t, newest, n)
			})
			return
		}
	}
	if p, err := m.v.Retokenise(m.t.Context(), m.pass(), newest); err != nil || !p.Finished {
		m.t.Errorf("retokenise: %+v, %v", p, err)
	}
	// The pass may have gone on from where an earlier one was interrupted, before cards were
	// pinned with old knowledge.
	until(m.t, "retokenise", func() (vault.Progress, error) { return m.v.Retokenise(m.t.Context(), m.pass(), newest) })
	m.adopt(func(n int, token tokenize.Token) bool { return token == minted(m.t, newest, n) })
	m.finish(newest, func() (vault.Progress, error) { return m.v.Retokenise(m.t.Context(), m.pass(), newest) })
}

// adopt takes over the tokens that cards have after a retokenising, if they may have them.
func (m *model) adopt(may func(n int, token tokenize.Token) bool) {
	for n, old := range m.tokens {
		now, err := m.v.Current(m.t.Context(), owner, old)
		if err != nil || !may(n, now) {
			m.t.Errorf("card %d has %s, %v; it had %s", n, now, err, old)
		}
		if now != old {
			m.tokens[n], m.retired[old] = now, n
		}
	}
}

func (m *model) reseal() {
	m.ring.rotate(owner)
	pass := m.pass()
	p, err := m.v.Reseal(m.t.Context(), pass)
	if err != nil || p.Done != len(m.tokens) {
		m.t.Errorf("reseal: %+v, %v, want %d cards", p, err, len(m.tokens))
	}
	m.ring.destroyBefore(owner)
}

// forget forgets some cards, each by its token or by one that it had.
func (m *model) forget() {
	var names []tokenize.Token
	for range 5 {
		n := m.rng.IntN(modelCards)
		token, ok := m.tokens[n]
		if !ok {
			continue
		}
		delete(m.tokens, n)
		for old, of := range m.retired {
			if of == n {
				token = old
				delete(m.retired, old)
			}
		}
		names = append(names, token)
	}
	if got, err := m.v.Forget(m.t.Context(), owner, names); err != nil || got < len(names) {
		m.t.Errorf("forgot %d entries of %d cards, %v", got, len(names), err)
	}
}

// compare reads everything.
func (m *model) compare() {
	got, err := m.v.Count(m.t.Context(), owner)
	if err != nil || got.Cards != len(m.tokens) || got.Retired != len(m.retired) {
		m.t.Errorf("count %+v, %v, want %d cards, %d retired", got, err, len(m.tokens), len(m.retired))
	}
	var have, want []vault.Crossing
	for c, err := range m.v.Crosswalk(m.t.Context(), owner) {
		if err != nil {
			m.t.Fatal(err)
		}
		have = append(have, c)
	}
	for old, n := range m.retired {
		want = append(want, vault.Crossing{Old: old, New: m.tokens[n]})
	}
	slices.SortFunc(want, func(a, b vault.Crossing) int { return vault.Compare(a.Old, b.Old) })
	if diff := cmp.Diff(want, have); diff != "" {
		m.t.Errorf("crosswalk: %s", diff)
	}
	for _, n := range slices.Sorted(maps.Keys(m.tokens)) {
		isPANOf(m.t, m.v, m.ring, m.tokens[n], n)
	}
}
