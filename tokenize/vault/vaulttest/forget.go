package vaulttest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// forgettable are n cards with all that can lead to a card: two retired tokens, an index by a
// newer secret, and a pin in between. It returns the tokens of each card, oldest first, the
// index's name last, and the two live secrets.
func forgettable(t *testing.T, v *vault.Vault, r *ring, n int) (names [][]tokenize.Token, live []keys.Secret) {
	t.Helper()
	e, numbers := r.envelopes(), make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	pin(t, v, e, owner, r.rotateMint(owner), numbers...)
	secrets := r.live(owner)
	for range 2 {
		secrets = append(r.rotateMint(owner)[:1], secrets...)
		if _, err := v.Retokenise(t.Context(), vault.Pass{Owner: owner, Reverse: e}, secrets[0]); err != nil {
			t.Fatal(err)
		}
		r.destroyMint(owner)
	}
	live = r.rotateMint(owner)
	secrets = append(live[:1:1], secrets...)
	if _, err := v.Reindex(t.Context(), vault.Pass{Owner: owner, Reverse: e}, live[0]); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		var all []tokenize.Token
		for _, s := range slices.Backward(secrets) {
			all = append(all, minted(t, s, i))
		}
		names = append(names, all)
	}
	count(t, v, owner, vault.Counts{Cards: n, Indexes: n, Retired: 2 * n})
	return names, live
}

// entries are an owner's rows but for the states of jobs.
func entries(t *testing.T, s vault.Store, owner keys.Owner) map[tokenize.Token]string {
	t.Helper()
	rows, err := s.Scan(t.Context(), owner, tokenize.Token{Version: 1}, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	out := map[tokenize.Token]string{}
	for _, r := range rows {
		out[r.Token] = string(r.Value)
	}
	return out
}

// forgets removes cards by whichever of their names, and leaves every entry of others as it
// is. A card that comes again is a new one.
func forgets(t *testing.T, p Place) {
	s, r := p.store(t), newRing()
	v := vault.New(s, vault.Config{Batch: 7})
	names, live := forgettable(t, v, r, 20)
	theirs := pin(t, v, r.envelopes(), "ownerb", []keys.Secret{live[1]}, 0)
	job := tokenize.Token{Bits: [16]byte([]byte("reindex\x00\x00\x00\x00\x00\x00\x00\x00\x00"))}
	want, state := entries(t, s, owner), read(t, s, owner, job)[0]
	given := []tokenize.Token{{}, row(9, 1), {Version: -1}, job} // which no card has
	for card := range 8 {                                        // two of each kind of name
		given = append(given, names[card][card%4])
		for _, name := range names[card] {
			delete(want, name)
		}
	}
	given = append(given, names[0]...)
	n, err := v.Forget(t.Context(), owner, given)
	if err != nil || n != 8*4 {
		t.Errorf("forgot %d entries, %v, want 32", n, err)
	}
	if diff := cmp.Diff(want, entries(t, s, owner)); diff != "" {
		t.Errorf("entries of others: %s", diff)
	}
	if diff := cmp.Diff(state, read(t, s, owner, job)[0]); diff != "" || state == nil {
		t.Errorf("state of a job: %s", diff)
	}
	for card := range 8 {
		for _, name := range names[card] {
			if _, err := v.Current(t.Context(), owner, name); !errors.Is(err, vault.ErrUnknownToken) {
				t.Errorf("%s of forgotten card %d: %v, want ErrUnknownToken", name, card, err)
			}
			if pan, err := v.Reveal(t.Context(), r.envelopes(), owner, name); !errors.Is(err, vault.ErrUnknownToken) || !pan.IsZero() {
				t.Errorf("%s of forgotten card %d reveals: %v", name, card, err)
			}
		}
	}
	for c, err := range v.Crosswalk(t.Context(), owner) {
		if err != nil || slices.ContainsFunc(names[:8], func(all []tokenize.Token) bool {
			return slices.Contains(all, c.Old) || slices.Contains(all, c.New)
		}) {
			t.Errorf("the crosswalk has %s to %s, %v", c.Old, c.New, err)
		}
	}
	isPANOf(t, v, r, names[8][2], 8)
	if pan, err := v.Reveal(t.Context(), r.envelopes(), "ownerb", theirs[0]); err != nil {
		t.Errorf("the other owner's card: %v", err)
	} else {
		pan.Clear()
	}
	if n, err := v.Forget(t.Context(), owner, given); n != 0 || err != nil {
		t.Errorf("forgot %d entries again, %v", n, err)
	}
	if n, err := v.Forget(t.Context(), owner, nil); n != 0 || err != nil {
		t.Errorf("forgot %d entries of no card, %v", n, err)
	}
	if _, err := v.Forget(t.Context(), "", given); !errors.Is(err, vault.ErrOwner) {
		t.Errorf("no owner: %v, want ErrOwner", err)
	}
	// Again: the newest secret names it, and it is one card whichever secret it comes with.
	if got := pin(t, v, r.envelopes(), owner, live, 0)[0]; got != names[0][3] {
		t.Errorf("a forgotten card has %s, want %s", got, names[0][3])
	}
	if got := pin(t, v, r.envelopes(), owner, live[1:], 0)[0]; got != names[0][3] {
		t.Errorf("with the older secret it has %s, want %s", got, names[0][3])
	}
	isPANOf(t, v, r, names[0][3], 0)
	count(t, v, owner, vault.Counts{Cards: 13, Indexes: 13, Retired: 24})
}

// resumesForgetting dies at each write: a card is whole or gone, and the same tokens end it.
func resumesForgetting(t *testing.T, p Place) {
	r := newRing()
	s, closeStore := p.Open(t)
	names, _ := forgettable(t, vault.New(s, vault.Config{}), r, 12)
	var given []tokenize.Token
	for card := range 6 {
		given = append(given, names[card][card%4])
	}
	for left := 6; left > 0; left -= 2 {
		count(t, vault.New(s, vault.Config{}), owner, vault.Counts{Cards: left + 6, Indexes: left + 6, Retired: 2 * (left + 6)})
		dying := &hooked{Store: s, before: func(write int) error {
			if write == 2 {
				return errDied
			}
			return nil
		}}
		n, err := vault.New(dying, vault.Config{Batch: 5}).Forget(t.Context(), owner, given) // two cards a write
		if want := left > 2; n != 8 || errors.Is(err, errDied) != want {
			t.Errorf("with %d cards left: forgot %d entries, %v, want 8", left, n, err)
		}
		closeStore()
		s, closeStore = p.Open(t)
		for card := range 12 {
			if _, err := vault.New(s, vault.Config{}).Current(t.Context(), owner, names[card][1]); err != nil && !errors.Is(err, vault.ErrUnknownToken) {
				t.Errorf("card %d: %v", card, err)
			}
		}
	}
	count(t, vault.New(s, vault.Config{}), owner, vault.Counts{Cards: 6, Indexes: 6, Retired: 12})
	closeStore()
}

var errDied = errors.New("died")

// hooked calls before with the number of the write that comes.
type hooked struct {
	vault.Store
	before func(write int) error
	mu     sync.Mutex
	writes int
}

func (h *hooked) Write(ctx context.Context, owner keys.Owner, changes []vault.Change) error {
	h.mu.Lock()
	h.writes++
	n := h.writes
	h.mu.Unlock()
	if err := h.before(n); err != nil {
		return err
	}
	return h.Store.Write(ctx, owner, changes)
}

// forgetsBetween puts forgetting between what others read and what they write, and the other
// way round: no entry is left that leads nowhere, which would stop the card for ever.
func forgetsBetween(t *testing.T, p Place) {
	s, r := p.store(t), newRing()
	v, e := vault.New(s, vault.Config{}), r.envelopes()
	one := r.rotateMint(owner)
	both := r.rotateMint(owner)
	forget := func() {
		if _, err := v.Forget(t.Context(), owner, []tokenize.Token{minted(t, both[1], 1), minted(t, both[0], 1)}); err != nil {
			t.Error(err)
		}
	}
	once := func(do func()) *vault.Vault {
		return vault.New(&hooked{Store: s, before: func(write int) error {
			if write == 1 {
				do()
			}
			return nil
		}}, vault.Config{})
	}
	for _, c := range []struct {
		name string
		do   func()
		want vault.Counts
	}{
		{"while it is pinned by a newer secret", func() {
			if got := pin(t, once(forget), e, owner, both, 1)[0]; got != minted(t, both[0], 1) {
				t.Errorf("the card has %s, want a new token", got)
			}
			isPANOf(t, v, r, minted(t, both[0], 1), 1)
		}, vault.Counts{Cards: 1, Indexes: 1}},
		{"while it is indexed", func() {
			if _, err := once(forget).Reindex(t.Context(), vault.Pass{Owner: owner, Reverse: e}, both[0]); err != nil {
				t.Error(err)
			}
		}, vault.Counts{}},
		{"while it is resealed", func() {
			if _, err := once(forget).Reseal(t.Context(), vault.Pass{Owner: owner, Reverse: e}); err != nil {
				t.Error(err)
			}
		}, vault.Counts{}},
		{"while it gets a new token", func() {
			if _, err := once(forget).Retokenise(t.Context(), vault.Pass{Owner: owner, Reverse: e}, both[0]); err != nil {
				t.Error(err)
			}
		}, vault.Counts{}},
		{"and an index comes behind the scan", func() {
			late := once(func() { pin(t, v, e, owner, both, 1) })
			if n, err := late.Forget(t.Context(), owner, []tokenize.Token{minted(t, one[0], 1)}); err != nil || n != 2 {
				t.Errorf("forgot %d entries, %v, want 2", n, err)
			}
		}, vault.Counts{}},
		{"and a new token comes behind the scan", func() {
			late := once(func() {
				if _, err := v.Retokenise(t.Context(), vault.Pass{Owner: owner, Reverse: e}, both[0]); err != nil {
					t.Error(err)
				}
			})
			if n, err := late.Forget(t.Context(), owner, []tokenize.Token{minted(t, one[0], 1)}); err != nil || n != 2 {
				t.Errorf("forgot %d entries, %v, want 2", n, err)
			}
		}, vault.Counts{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pin(t, v, e, owner, one, 1)
			c.do()
			count(t, v, owner, c.want)
			for _, secrets := range [][]keys.Secret{one, both, both[:1]} {
				pin(t, v, e, owner, secrets, 1)
			}
			forget()
			count(t, v, owner, vault.Counts{})
		})
	}
}
