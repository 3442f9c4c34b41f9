// Package vaulttest is what every store of a vault has to pass: the contract of vault.Store,
// and the vault's promises on it.
package vaulttest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// Place is where one test's store is kept.
type Place struct {
	// Open opens the store, which is empty the first time, and returns how to close it.
	Open func(t testing.TB) (store vault.Store, close func())
	// Shared says that it may be open more than once at a time, as by several processes.
	Shared bool
}

// Run runs the suite. Fresh returns a place that no other test has.
func Run(t *testing.T, fresh func(t *testing.T) Place) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, p Place)
	}{
		{"ReadsInOrder", readsInOrder},
		{"WritesAllOrNothing", writesAllOrNothing},
		{"ScansInOrder", scansInOrder},
		{"OwnersAreApart", ownersAreApart},
		{"SwapsOneAfterTheOther", swapsOneAfterTheOther},
		{"KeepsManyInOneWrite", keepsManyInOneWrite},
		{"PinsOnce", pinsOnce},
		{"PinsConcurrently", pinsConcurrently},
		{"RefusesConflicts", refusesConflicts},
		{"Reveals", reveals},
		{"RotatesUnderLoad", rotatesUnderLoad},
		{"RetokenisesUnderLoad", retokenisesUnderLoad},
		{"ResumesJobs", resumesJobs},
		{"Reseals", reseals},
		{"Erases", erases},
		{"Forgets", forgets},
		{"ResumesForgetting", resumesForgetting},
		{"ForgetsBetween", forgetsBetween},
		{"FollowsTheModel", followsTheModel},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, fresh(t)) })
	}
}

// store opens the place until the test ends.
func (p Place) store(t testing.TB) vault.Store {
	t.Helper()
	s, closeStore := p.Open(t)
	t.Cleanup(closeStore)
	return s
}

func write(t testing.TB, s vault.Store, owner keys.Owner, changes ...vault.Change) {
	t.Helper()
	if err := s.Write(t.Context(), owner, changes); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, s vault.Store, owner keys.Owner, tokens ...tokenize.Token) [][]byte {
	t.Helper()
	values, err := s.Read(t.Context(), owner, tokens)
	if err != nil {
		t.Fatal(err)
	}
	if len(values) != len(tokens) {
		t.Fatalf("read %d values of %d tokens", len(values), len(tokens))
	}
	return values
}

func readsInOrder(t *testing.T, p Place) {
	s, closeStore := p.Open(t)
	write(t, s, "ownera",
		vault.Change{Token: row(1, 1), New: value("one")},
		vault.Change{Token: row(2, 2), New: value("two")})
	check := func(s vault.Store) {
		t.Helper()
		got := read(t, s, "ownera", row(2, 2), row(9, 9), row(1, 1), row(2, 1))
		if want := [][]byte{value("two"), nil, value("one"), nil}; !cmp.Equal(got, want) {
			t.Errorf("read %q, want %q", got, want)
		}
		if got := read(t, s, "ownera"); len(got) != 0 {
			t.Errorf("read %q of no token", got)
		}
	}
	check(s)
	closeStore()
	check(p.store(t)) // a cold restart
}

func writesAllOrNothing(t *testing.T, p Place) {
	s := p.store(t)
	write(t, s, "ownera", vault.Change{Token: row(1, 1), New: value("old")}, vault.Change{Token: row(1, 2), New: value("old")})
	before := read(t, s, "ownera", row(1, 1), row(1, 2), row(2, 1))
	for name, bad := range map[string]vault.Change{
		"a new entry that is there": {Token: row(1, 2), New: value("new")},
		"another value":             {Token: row(1, 2), Old: value("other"), New: value("new")},
		"a longer value":            {Token: row(1, 2), Old: value("older"), New: value("new")},
		"an absent value":           {Token: row(1, 3), Old: value("old"), New: value("new")},
		"removing another value":    {Token: row(1, 2), Old: value("other")},
		"removing what is absent":   {Token: row(1, 3), Old: value("old")},
	} {
		err := s.Write(t.Context(), "ownera", []vault.Change{
			{Token: row(1, 1), Old: value("old"), New: value("new")}, bad, {Token: row(2, 1), New: value("new")},
		})
		if !errors.Is(err, vault.ErrChanged) {
			t.Errorf("%s: error %v, want ErrChanged", name, err)
		}
		if got := read(t, s, "ownera", row(1, 1), row(1, 2), row(2, 1)); !cmp.Equal(got, before) {
			t.Fatalf("%s: a refused write left %q", name, got)
		}
	}
	write(t, s, "ownera",
		vault.Change{Token: row(1, 1), Old: value("old"), New: value("new")},
		vault.Change{Token: row(1, 2), Old: value("old")},
		vault.Change{Token: row(2, 1), New: value("new")})
	got := read(t, s, "ownera", row(1, 1), row(1, 2), row(2, 1))
	if want := [][]byte{value("new"), nil, value("new")}; !cmp.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

func scansInOrder(t *testing.T, p Place) {
	s := p.store(t)
	var want []tokenize.Token
	for _, version := range []int{0, 1, 2, 255, 256, 65536, tokenize.MaxVersion} {
		for n := range 7 {
			want = append(want, row(version, n+1))
		}
	}
	for _, t := range want {
		t.Bits[0] = 0xff
	}
	for _, token := range want {
		write(t, s, "ownera", vault.Change{Token: token, New: value("%s", token)})
	}
	slices.SortFunc(want, vault.Compare)
	for _, limit := range []int{1, 10, 49, 1000} {
		var got []tokenize.Token
		after := tokenize.Token{}
		for {
			rows, err := s.Scan(t.Context(), "ownera", after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				if string(r.Value) != r.Token.String() {
					t.Errorf("%s has the value %s", r.Token, r.Value)
				}
				got = append(got, r.Token)
				after = r.Token
			}
			if len(rows) > limit {
				t.Errorf("%d rows, the limit is %d", len(rows), limit)
			}
			if len(rows) < limit {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
}

func ownersAreApart(t *testing.T, p Place) {
	s := p.store(t)
	owners := []keys.Owner{"a", "ab", "a\x01", "a b", "A", "é", "b'; --", keys.Owner(slices.Repeat([]byte("x"), 255))}
	for i, owner := range owners {
		write(t, s, owner, vault.Change{Token: row(1, 1), New: value("%d", i)})
	}
	for i, owner := range owners {
		if got := read(t, s, owner, row(1, 1)); string(got[0]) != fmt.Sprint(i) {
			t.Errorf("owner %q reads %q, want %d", owner, got[0], i)
		}
		rows, err := s.Scan(t.Context(), owner, tokenize.Token{}, 10)
		if err != nil || len(rows) != 1 || string(rows[0].Value) != fmt.Sprint(i) {
			t.Errorf("owner %q scans %q, %v", owner, rows, err)
		}
	}
}

// swapsOneAfterTheOther counts in one entry from several stores and goroutines at once, and
// moves what is counted between two more: lost and half updates would show in the sums.
func swapsOneAfterTheOther(t *testing.T, p Place) {
	stores := p.several(t, 2)
	write(t, stores[0], "ownera",
		vault.Change{Token: row(1, 0), New: value("0")},
		vault.Change{Token: row(1, 1), New: value("1000")},
		vault.Change{Token: row(1, 2), New: value("1000")})
	const workers, rounds = 4, 25
	var all sync.WaitGroup
	for w := range workers {
		s := stores[w%len(stores)]
		all.Go(func() {
			for n := 0; n < rounds; {
				old := read(t, s, "ownera", row(1, 0), row(1, 1), row(1, 2))
				var v [3]int
				for i := range v {
					fmt.Sscan(string(old[i]), &v[i])
				}
				err := s.Write(t.Context(), "ownera", []vault.Change{
					{Token: row(1, 0), Old: old[0], New: value("%d", v[0]+1)},
					{Token: row(1, 1), Old: old[1], New: value("%d", v[1]-w)},
					{Token: row(1, 2), Old: old[2], New: value("%d", v[2]+w)},
				})
				if err == nil {
					n++
				} else if !errors.Is(err, vault.ErrChanged) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	moved := rounds * (workers * (workers - 1) / 2)
	got := read(t, stores[0], "ownera", row(1, 0), row(1, 1), row(1, 2))
	if want := [][]byte{value("%d", workers*rounds), value("%d", 1000-moved), value("%d", 1000+moved)}; !cmp.Equal(got, want) {
		t.Errorf("counted %q, want %q", got, want)
	}
}

// several opens the place n times where it can be.
func (p Place) several(t testing.TB, n int) []vault.Store {
	t.Helper()
	stores := []vault.Store{p.store(t)}
	for p.Shared && len(stores) < n {
		stores = append(stores, p.store(t))
	}
	return stores
}

func keepsManyInOneWrite(t *testing.T, p Place) {
	const n = 5000
	s := p.store(t)
	var changes []vault.Change
	for i := range n {
		changes = append(changes, vault.Change{Token: row(1, i), New: value("%0200d", i)})
	}
	slices.SortFunc(changes, func(a, b vault.Change) int { return vault.Compare(a.Token, b.Token) })
	write(t, s, "ownera", changes...)
	changes[n/2].Token = row(2, 0)
	if err := s.Write(t.Context(), "ownera", changes); !errors.Is(err, vault.ErrChanged) {
		t.Errorf("again: error %v, want ErrChanged", err)
	}
	if got := read(t, s, "ownera", row(2, 0)); got[0] != nil {
		t.Error("a refused write left something")
	}
	rows, err := s.Scan(t.Context(), "ownera", tokenize.Token{}, 2*n)
	if err != nil || len(rows) != n {
		t.Errorf("%d rows, %v, want %d", len(rows), err, n)
	}
}
