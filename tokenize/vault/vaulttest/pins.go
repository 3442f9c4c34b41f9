package vaulttest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

const owner keys.Owner = "ownera"

// pinsOnce presents cards again, in other company and with other candidates.
func pinsOnce(t *testing.T, p Place) {
	s, closeStore := p.Open(t)
	v, r := vault.New(s, vault.Config{}), newRing()
	e := r.envelopes()
	first := r.rotateMint(owner)
	one := pin(t, v, e, owner, first, 1)[0]
	if one != minted(t, first[0], 1) {
		t.Errorf("a new card has the token %s, want its first candidate", one)
	}
	both := r.rotateMint(owner)
	got := pin(t, v, e, owner, both, 1, 2, 1, 2)
	two := minted(t, both[0], 2)
	if want := []tokenize.Token{one, two, one, two}; !slices.Equal(got, want) {
		t.Errorf("tokens %v, want %v", got, want)
	}
	// All that was presented leads to the card now, alone as well.
	for _, secrets := range [][]keys.Secret{both[:1], both[1:], both} {
		if got := pin(t, v, e, owner, secrets, 2, 1); got[0] != two || got[1] != one {
			t.Errorf("with version %d: %v, want %s and %s", secrets[0].Version, got, two, one)
		}
	}
	// One batch of workers that know different secrets.
	for i, order := range [][2][]keys.Secret{{both[1:], both}, {both, both[1:]}} {
		n := 10 + i
		cards := []tokenize.Card{present(t, e, owner, order[0], n), present(t, e, owner, order[1], n)}
		got, err := v.Pin(t.Context(), owner, cards)
		if err != nil || got[0] != got[1] || got[0] != cards[0].Candidates[0] {
			t.Errorf("one card twice in a batch: %v, %v", got, err)
		}
	}
	if got, err := v.Pin(t.Context(), owner, nil); err != nil || len(got) != 0 {
		t.Errorf("no card: %v, %v", got, err)
	}
	count(t, v, owner, vault.Counts{Cards: 4, Indexes: 4})
	count(t, v, "ownerb", vault.Counts{})
	closeStore()
	v = vault.New(p.store(t), vault.Config{Batch: 3})
	count(t, v, owner, vault.Counts{Cards: 4, Indexes: 4})
	if got := pin(t, v, e, owner, both, 1, 2); got[0] != one || got[1] != two {
		t.Errorf("after a restart: %v", got)
	}
}

func count(t testing.TB, v *vault.Vault, owner keys.Owner, want vault.Counts) {
	t.Helper()
	got, err := v.Count(t.Context(), owner)
	if err != nil || got != want {
		t.Errorf("count of %s: %+v, %v, want %+v", owner, got, err, want)
	}
}

// pinsConcurrently presents the same new cards from all sides at once, each side in its own
// order and with the secrets that it knows.
func pinsConcurrently(t *testing.T, p Place) {
	stores, r := p.several(t, 3), newRing()
	r.rotateMint(owner)
	both := r.rotateMint(owner)
	const workers, batches, size = 6, 5, 20
	answers := make([]map[int]tokenize.Token, workers)
	var all sync.WaitGroup
	for w := range workers {
		answers[w] = map[int]tokenize.Token{}
		all.Go(func() {
			v, e := vault.New(stores[w%len(stores)], vault.Config{}), r.envelopes()
			knows := [][]keys.Secret{both, both[1:]}[w%2]
			for b := range batches {
				numbers := make([]int, size)
				for i := range numbers {
					numbers[i] = b*size + (i*7+w*3)%size
				}
				cards := make([]tokenize.Card, size)
				for i, n := range numbers {
					cards[i] = present(t, e, owner, knows, n)
				}
				tokens, err := v.Pin(t.Context(), owner, cards)
				if err != nil {
					t.Error(err)
					return
				}
				for i, n := range numbers {
					answers[w][n] = tokens[i]
				}
			}
		})
	}
	all.Wait()
	for w := range answers {
		if !cmp.Equal(answers[w], answers[0]) {
			t.Errorf("worker %d has other tokens than worker 0", w)
		}
	}
	v := vault.New(stores[0], vault.Config{})
	count(t, v, owner, vault.Counts{Cards: batches * size, Indexes: batches * size})
	for n, token := range answers[0] {
		isPANOf(t, v, r, token, n)
	}
}

// isPANOf checks that the token reveals the n-th card's number.
func isPANOf(t testing.TB, v *vault.Vault, r *ring, token tokenize.Token, n int) {
	t.Helper()
	pan, err := v.Reveal(t.Context(), r.envelopes(), owner, token)
	if err != nil || string(pan.Digits()) != string(number(t, n).Digits()) {
		t.Errorf("%s does not reveal card %d: %v", token, n, err)
	}
}

// refusesConflicts makes one card of two that were pinned apart.
func refusesConflicts(t *testing.T, p Place) {
	v, r := vault.New(p.store(t), vault.Config{}), newRing()
	e := r.envelopes()
	r.rotateMint(owner)
	both := r.rotateMint(owner)
	old, now := pin(t, v, e, owner, both[1:], 1)[0], pin(t, v, e, owner, both[:1], 1)[0]
	if old == now {
		t.Fatal("two secrets make one token")
	}
	cards := []tokenize.Card{present(t, e, owner, both, 2), present(t, e, owner, both, 1), present(t, e, owner, both, 3)}
	if tokens, err := v.Pin(t.Context(), owner, cards); !errors.Is(err, vault.ErrConflict) || tokens != nil {
		t.Errorf("pin: %v, %v, want ErrConflict", tokens, err)
	}
	count(t, v, owner, vault.Counts{Cards: 2}) // nothing of the batch

	progress, err := v.Reindex(t.Context(), vault.Pass{Owner: owner, Reverse: e}, both[0])
	if !errors.Is(err, vault.ErrConflict) || progress.Conflicts != 1 || !progress.Finished {
		t.Errorf("reindex: %+v, %v, want one conflict", progress, err)
	}
	if _, err := v.ForgetVersion(t.Context(), owner, 1); !errors.Is(err, vault.ErrNotIndexed) {
		t.Errorf("forget with a conflict: %v, want ErrNotIndexed", err)
	}
	// Retokenise makes them one.
	progress, err = v.Retokenise(t.Context(), vault.Pass{Owner: owner, Reverse: e}, both[0])
	if err != nil || progress.Changed != 1 {
		t.Errorf("retokenise: %+v, %v", progress, err)
	}
	if got := pin(t, v, e, owner, both, 1)[0]; got != now {
		t.Errorf("after retokenising: %s, want %s", got, now)
	}
	count(t, v, owner, vault.Counts{Cards: 1, Retired: 1})
	isPANOf(t, v, r, now, 1)
}

// reveals opens what is there and names what is not.
func reveals(t *testing.T, p Place) {
	s, r := p.store(t), newRing()
	v, e := vault.New(s, vault.Config{}), r.envelopes()
	secrets := r.rotateMint(owner)
	tokens := pin(t, v, e, owner, secrets, 1, 2)
	isPANOf(t, v, r, tokens[0], 1)
	isPANOf(t, v, r, tokens[1], 2)
	both := r.rotateMint(owner)
	pin(t, v, e, owner, both, 1) // makes an index

	for name, token := range map[string]tokenize.Token{
		"never minted": row(1, 1), "an index": minted(t, both[0], 1), "zero": {},
		"a note": {Bits: [16]byte{'r'}}, "no version": {Version: -1}, "too high": {Version: tokenize.MaxVersion + 1},
	} {
		if pan, err := v.Reveal(t.Context(), e, owner, token); !errors.Is(err, vault.ErrUnknownToken) || !pan.IsZero() {
			t.Errorf("%s: error %v, want ErrUnknownToken", name, err)
		}
	}
	if _, err := v.Reveal(t.Context(), e, "ownerb", tokens[0]); !errors.Is(err, vault.ErrUnknownToken) {
		t.Errorf("another owner's token: %v, want ErrUnknownToken", err)
	}

	whole, other := read(t, s, owner, tokens[0])[0], read(t, s, owner, tokens[1])[0]
	flip := func(at int) []byte {
		b := slices.Clone(whole)
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
	damaged := map[string][]byte{
		"another token's": other, "cut": whole[:len(whole)-1], "cut short": whole[:2], "kind only": whole[:1],
		"unknown kind": flip(0), "envelope": flip(1), "key": flip(20), "nonce": flip(-40), "text": flip(-20), "tag": flip(-1),
	}
	// The other owner's value, sealed for this owner's token, and this owner's own.
	theirs := present(t, e, "ownerb", secrets, 1)
	damaged["another owner's"] = append([]byte{'p'}, theirs.Sealed...)
	for name, b := range damaged {
		write(t, s, owner, vault.Change{Token: tokens[0], Old: whole, New: b})
		if pan, err := v.Reveal(t.Context(), r.envelopes(), owner, tokens[0]); !errors.Is(err, vault.ErrDamaged) || !pan.IsZero() {
			t.Errorf("%s: error %v, want ErrDamaged", name, err)
		}
		write(t, s, owner, vault.Change{Token: tokens[0], Old: b, New: whole})
	}
	write(t, s, "ownerb", vault.Change{Token: tokens[0], New: whole})
	if _, err := v.Reveal(t.Context(), r.envelopes(), "ownerb", tokens[0]); !errors.Is(err, vault.ErrDamaged) {
		t.Errorf("an entry moved to another owner: %v, want ErrDamaged", err)
	}
	isPANOf(t, v, r, tokens[0], 1)
}

// erases removes one owner and leaves the other.
func erases(t *testing.T, p Place) {
	v, r := vault.New(p.store(t), vault.Config{Batch: 7}), newRing()
	e := r.envelopes()
	numbers := make([]int, 30)
	for i := range numbers {
		numbers[i] = i
	}
	for _, o := range []keys.Owner{owner, "ownerb"} {
		r.rotateMint(o)
		pin(t, v, e, o, r.rotateMint(o), numbers...)
		if _, err := v.Reindex(t.Context(), vault.Pass{Owner: o, Reverse: e}, r.live(o)[0]); err != nil {
			t.Fatal(err)
		}
	}
	n, err := v.Erase(t.Context(), owner)
	if err != nil || n != 61 { // pins, indexes, the state of a job
		t.Errorf("erased %d, %v, want 61", n, err)
	}
	count(t, v, owner, vault.Counts{})
	count(t, v, "ownerb", vault.Counts{Cards: 30, Indexes: 30})
	if n, err := v.Erase(t.Context(), owner); n != 0 || err != nil {
		t.Errorf("erased %d again, %v", n, err)
	}
	for _, bad := range []keys.Owner{"", "a\x00b", "\xff", keys.Owner(make([]byte, 256))} {
		if _, err := v.Erase(t.Context(), bad); !errors.Is(err, vault.ErrOwner) {
			t.Errorf("owner %q: %v, want ErrOwner", bad, err)
		}
		if _, err := v.Pin(t.Context(), bad, nil); !errors.Is(err, vault.ErrOwner) {
			t.Errorf("owner %q: %v, want ErrOwner", bad, err)
		}
	}
}
