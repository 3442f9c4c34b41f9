package vaulttest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// fleet is workers that pin random cards all the time. They learn of new secrets late: the
// secrets that a worker uses are those of settle before last, or later.
type fleet struct {
	t     *testing.T
	ring  *ring
	mu    sync.RWMutex
	knows []keys.Secret // what a worker that begins to pin may still know
	fresh []keys.Secret // what it may know already
	stop  atomic.Bool
	all   sync.WaitGroup

	seenMu sync.Mutex
	seen   map[int]map[tokenize.Token]bool // the tokens that were returned
	pinned atomic.Int64
}

const fleetCards = 150

func startFleet(t *testing.T, stores []vault.Store, r *ring) *fleet {
	f := &fleet{t: t, ring: r, knows: r.live(owner), fresh: r.live(owner), seen: map[int]map[tokenize.Token]bool{}}
	for w := range 3 {
		v, e := vault.New(stores[w%len(stores)], vault.Config{}), r.envelopes()
		rng := rand.New(rand.NewPCG(7, uint64(w)))
		f.all.Go(func() {
			for !f.stop.Load() && f.pinSome(v, e, rng) {
			}
		})
	}
	return f
}

func (f *fleet) pinSome(v *vault.Vault, e *keys.Envelopes, rng *rand.Rand) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	secrets := f.knows
	if rng.IntN(2) == 0 {
		secrets = f.fresh
	}
	cards, numbers := make([]tokenize.Card, 1+rng.IntN(8)), []int{}
	for i := range cards {
		n := rng.IntN(min(fleetCards, 40+int(f.pinned.Load()))) // new ones all the time
		numbers = append(numbers, n)
		cards[i] = present(f.t, e, owner, secrets, n)
	}
	tokens, err := v.Pin(f.t.Context(), owner, cards)
	if err != nil {
		f.t.Error(err)
		return false
	}
	f.seenMu.Lock()
	defer f.seenMu.Unlock()
	for i, n := range numbers {
		if f.seen[n] == nil {
			f.seen[n] = map[tokenize.Token]bool{}
		}
		f.seen[n][tokens[i]] = true
	}
	f.pinned.Add(1)
	return true
}

// learn gives the secrets to the workers; settle waits until all of them use them. Between
// the two some do and some do not.
func (f *fleet) learn(secrets []keys.Secret) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.knows, f.fresh = f.fresh, secrets
}

func (f *fleet) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.knows = f.fresh
}

// work waits until some more was pinned.
func (f *fleet) work() {
	for want := f.pinned.Load() + 10; f.pinned.Load() < want && !f.t.Failed(); {
		time.Sleep(time.Millisecond)
	}
}

func (f *fleet) end() {
	f.stop.Store(true)
	f.all.Wait()
}

// until runs passes until one has changed nothing.
func until(t *testing.T, what string, pass func() (vault.Progress, error)) (passes int) {
	t.Helper()
	for {
		p, err := pass()
		if err != nil {
			t.Fatalf("%s: %+v, %v", what, p, err)
		}
		if !p.Finished || p.Done > p.Total {
			t.Fatalf("%s ended at %+v", what, p)
		}
		if passes++; p.Changed == 0 {
			return passes
		}
	}
}

// rotatesUnderLoad rotates the mint secret twice while workers pin, some of them with old
// knowledge: no card has two tokens, ever.
func rotatesUnderLoad(t *testing.T, p Place) {
	stores, r := p.several(t, 2), newRing()
	r.rotateMint(owner)
	v, e := vault.New(stores[0], vault.Config{Batch: 20}), r.envelopes()
	f := startFleet(t, stores, r)
	defer f.end()
	for range 2 {
		f.work()
		f.learn(r.rotateMint(owner))
		f.work()
		pass := vault.Pass{Owner: owner, Reverse: e}
		if _, err := v.Reindex(t.Context(), pass, r.live(owner)[0]); err != nil { // too early: not the proof
			t.Fatal(err)
		}
		f.work()
		f.settle()
		pass.Since = time.Now()
		until(t, "reindex", func() (vault.Progress, error) { return v.Reindex(t.Context(), pass, r.live(owner)[0]) })
		newest := r.destroyMint(owner)
		f.learn([]keys.Secret{newest})
		f.work()
		f.settle()
		if _, err := v.ForgetVersion(t.Context(), owner, newest.Version-1); err != nil {
			t.Fatal(err)
		}
	}
	f.work()
	f.end()
	if len(f.seen) < fleetCards/2 {
		t.Errorf("only %d cards were pinned", len(f.seen))
	}
	newest := r.live(owner)
	for n, tokens := range f.seen {
		if len(tokens) != 1 {
			t.Errorf("card %d had the tokens %v", n, tokens)
		}
		for token := range tokens {
			if got := pin(t, v, e, owner, newest, n)[0]; got != token {
				t.Errorf("card %d has %s at last, had %s", n, got, token)
			}
			isPANOf(t, v, r, token, n)
		}
	}
	c, err := v.Count(t.Context(), owner)
	if err != nil || c.Cards != len(f.seen) || c.Retired != 0 {
		t.Errorf("count %+v, %v, want %d cards", c, err, len(f.seen))
	}
	if c.Indexes > c.Cards { // of the newest secret only
		t.Errorf("%d indexes of %d cards: old ones were not forgotten", c.Indexes, c.Cards)
	}
}

// retokenisesUnderLoad has two compromises while workers pin: each card ends with the newest
// secret's token, and the crosswalk leads there from every token that was ever returned.
func retokenisesUnderLoad(t *testing.T, p Place) {
	stores, r := p.several(t, 2), newRing()
	r.rotateMint(owner)
	v, e := vault.New(stores[0], vault.Config{Batch: 20}), r.envelopes()
	f := startFleet(t, stores, r)
	defer f.end()
	for range 2 {
		f.work()
		f.learn(r.rotateMint(owner))
		pass := vault.Pass{Owner: owner, Reverse: e}
		if _, err := v.Retokenise(t.Context(), pass, r.live(owner)[0]); err != nil {
			t.Fatal(err)
		}
		f.work()
		f.settle()
		pass.Since = time.Now()
		until(t, "retokenise", func() (vault.Progress, error) { return v.Retokenise(t.Context(), pass, r.live(owner)[0]) })
		newest := r.destroyMint(owner)
		f.learn([]keys.Secret{newest})
		f.settle()
		if _, err := v.ForgetVersion(t.Context(), owner, newest.Version-1); err != nil {
			t.Fatal(err)
		}
	}
	f.work()
	f.end()
	newest := r.live(owner)[0]
	want := map[tokenize.Token]tokenize.Token{}
	for n, tokens := range f.seen {
		now := minted(t, newest, n)
		isPANOf(t, v, r, now, n)
		for token := range tokens {
			if got, err := v.Current(t.Context(), owner, token); err != nil || got != now {
				t.Errorf("current token of %s is %s, %v, want %s", token, got, err, now)
			}
			if token == now {
				continue
			}
			want[token] = now
			pan, err := v.Reveal(t.Context(), e, owner, token)
			var to *vault.RetiredError
			if !errors.As(err, &to) || !errors.Is(err, vault.ErrRetired) || to.Successor != now || !pan.IsZero() {
				t.Errorf("reveal of the retired %s: %v, want ErrRetired for %s", token, err, now)
			}
		}
	}
	for c, err := range v.Crosswalk(t.Context(), owner) {
		if err != nil {
			t.Fatal(err)
		}
		if to, ok := want[c.Old]; ok && to != c.New {
			t.Errorf("crosswalk leads from %s to %s, want %s", c.Old, c.New, to)
		}
		delete(want, c.Old)
	}
	if len(want) > 0 {
		t.Errorf("the crosswalk lacks %d of the tokens that were returned", len(want))
	}
	count(t, v, owner, vault.Counts{Cards: len(f.seen), Retired: retired(t, v)})
}

func retired(t testing.TB, v *vault.Vault) (n int) {
	t.Helper()
	for _, err := range v.Crosswalk(t.Context(), owner) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// resumesJobs interrupts passes, opens the store anew and goes on: each card is done once.
func resumesJobs(t *testing.T, p Place) {
	r := newRing()
	old := r.rotateMint(owner)
	numbers := make([]int, 100)
	for i := range numbers {
		numbers[i] = i
	}
	with := func(do func(s vault.Store, v *vault.Vault)) {
		s, closeStore := p.Open(t)
		defer closeStore()
		do(s, vault.New(s, vault.Config{Batch: 10}))
	}
	with(func(_ vault.Store, v *vault.Vault) {
		pin(t, v, r.envelopes(), owner, old, numbers...)
		if _, err := v.ForgetVersion(t.Context(), owner, 1); !errors.Is(err, vault.ErrNotIndexed) {
			t.Errorf("forget before indexing: %v, want ErrNotIndexed", err)
		}
	})
	newest := r.rotateMint(owner)[0]
	for _, job := range []struct {
		name string
		run  func(v *vault.Vault, ctx context.Context, pass vault.Pass) (vault.Progress, error)
	}{
		{"reindex", func(v *vault.Vault, ctx context.Context, p vault.Pass) (vault.Progress, error) {
			return v.Reindex(ctx, p, newest)
		}},
		{"reseal", (*vault.Vault).Reseal},
		{"retokenise", func(v *vault.Vault, ctx context.Context, p vault.Pass) (vault.Progress, error) {
			return v.Retokenise(ctx, p, newest)
		}},
	} {
		var started time.Time
		for done := 30; done <= 60; done += 30 { // interrupted twice
			with(func(_ vault.Store, v *vault.Vault) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				got, err := job.run(v, ctx, vault.Pass{Owner: owner, Reverse: r.envelopes(), Report: func(p vault.Progress) {
					if p.Done == done {
						cancel()
					}
				}})
				want := vault.Progress{Done: done, Total: 100, Changed: done}
				if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(want, "Started")); diff != "" || !errors.Is(err, context.Canceled) {
					t.Errorf("%s interrupted: %v, %s", job.name, err, diff)
				}
				if started.IsZero() {
					started = got.Started
				}
				if _, err := v.ForgetVersion(t.Context(), owner, 1); job.name == "reindex" && !errors.Is(err, vault.ErrNotIndexed) {
					t.Errorf("forget in a pass: %v, want ErrNotIndexed", err)
				}
			})
		}
		with(func(s vault.Store, v *vault.Vault) {
			reports := 0
			got, err := job.run(v, t.Context(), vault.Pass{Owner: owner, Reverse: r.envelopes(), Report: func(vault.Progress) { reports++ }})
			want := vault.Progress{Started: started, Done: 100, Total: 100, Changed: 100, Finished: true}
			if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(0)); diff != "" || err != nil || reports < 4 {
				t.Errorf("%s resumed: %v, %d reports, %s", job.name, err, reports, diff)
			}
			// A second pass begins anew. Begun in between, it is begun anew once more for Since.
			ctx, cancel := context.WithCancel(t.Context())
			pass := vault.Pass{Owner: owner, Reverse: r.envelopes(), Report: func(vault.Progress) { cancel() }}
			first, _ := job.run(v, ctx, pass)
			pass.Since, pass.Report = time.Now(), nil
			second, err := job.run(v, t.Context(), pass)
			if err != nil || !second.Finished || second.Started.Before(pass.Since) || !first.Started.After(started) {
				t.Errorf("%s again: %+v, then %+v, %v", job.name, first, second, err)
			}
			if wantChanged := map[string]int{"reseal": 100}[job.name]; second.Changed != wantChanged {
				t.Errorf("%s again changed %d, want %d", job.name, second.Changed, wantChanged)
			}
		})
		with(func(_ vault.Store, v *vault.Vault) {
			for _, n := range numbers {
				token := minted(t, old[0], n)
				if job.name == "retokenise" {
					token = minted(t, newest, n)
				}
				isPANOf(t, v, r, token, n)
			}
		})
	}
	with(func(s vault.Store, v *vault.Vault) {
		older := keys.Secret{Version: 1, Key: old[0].Key}
		if _, err := v.Reindex(t.Context(), vault.Pass{Owner: owner, Reverse: r.envelopes()}, older); !errors.Is(err, vault.ErrSecret) {
			t.Errorf("reindex with an older secret: %v, want ErrSecret", err)
		}
		if _, err := v.Retokenise(t.Context(), vault.Pass{Owner: owner, Reverse: r.envelopes()}, older); !errors.Is(err, vault.ErrSecret) {
			t.Errorf("retokenise with an older secret: %v, want ErrSecret", err)
		}
		other := keys.Secret{Version: 2, Key: keys.NewKey()}
		if _, err := v.Reindex(t.Context(), vault.Pass{Owner: owner, Reverse: r.envelopes()}, other); !errors.Is(err, vault.ErrSecret) {
			t.Errorf("reindex with another secret: %v, want ErrSecret", err)
		}
	})
	// Two at once: one of them stops.
	with(func(s vault.Store, a *vault.Vault) {
		b := vault.New(s, vault.Config{Batch: 10})
		once := sync.OnceFunc(func() {
			if _, err := b.Reseal(t.Context(), vault.Pass{Owner: owner, Reverse: r.envelopes()}); err != nil {
				t.Error(err)
			}
		})
		_, err := a.Reseal(t.Context(), vault.Pass{Owner: owner, Reverse: r.envelopes(), Report: func(vault.Progress) { once() }})
		if !errors.Is(err, vault.ErrBusy) {
			t.Errorf("a second process: %v, want ErrBusy", err)
		}
	})
}

// reseals rotates the reverse key and destroys the old one while workers pin.
func reseals(t *testing.T, p Place) {
	s, r := p.store(t), newRing()
	secrets := r.rotateMint(owner)
	v := vault.New(s, vault.Config{Batch: 10})
	pin(t, v, r.envelopes(), owner, secrets, 1, 2, 3)
	r.rotate(owner)
	tokens := pin(t, v, r.envelopes(), owner, secrets, 1, 2, 3, 4, 5)
	got, err := v.Reseal(t.Context(), vault.Pass{Owner: owner, Reverse: r.envelopes()})
	if err != nil || got.Done != 5 || got.Changed != 5 {
		t.Errorf("reseal: %+v, %v", got, err)
	}
	r.destroyBefore(owner)
	for i, token := range tokens {
		isPANOf(t, v, r, token, i+1)
	}
	// Damage is counted and the rest is done.
	whole := read(t, s, owner, tokens[0])[0]
	write(t, s, owner, vault.Change{Token: tokens[0], Old: whole, New: whole[:len(whole)-1]})
	got, err = v.Reseal(t.Context(), vault.Pass{Owner: owner, Reverse: r.envelopes()})
	if !errors.Is(err, vault.ErrDamaged) || got.Damaged != 1 || got.Changed != 4 || !got.Finished {
		t.Errorf("reseal with a damaged entry: %+v, %v", got, err)
	}
	// Without the key nothing is done, and nothing is taken for damage.
	r.rotate(owner)
	r.destroyBefore(owner)
	got, err = v.Reseal(t.Context(), vault.Pass{Owner: owner, Reverse: r.envelopes()})
	if !errors.Is(err, keys.ErrNoKey) || got.Damaged != 0 || got.Finished {
		t.Errorf("reseal without the key: %+v, %v", got, err)
	}
}
