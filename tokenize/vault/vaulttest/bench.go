package vaulttest

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// Bench measures pins of new and of known cards, one or a chunk of 1,000 at a time, by one
// caller and by sixteen. A pin's cost in bytes is that of a number sealed under a local
// keyring.
func Bench(b *testing.B, fresh func(b *testing.B) Place) {
	for _, isKnown := range []bool{false, true} {
		for _, size := range []int{1, 1000} {
			for _, callers := range []int{1, 16} {
				name := map[bool]string{false: "new", true: "known"}[isKnown]
				b.Run(fmt.Sprintf("%s/batch=%d/callers=%d", name, size, callers), func(b *testing.B) {
					v := vault.New(fresh(b).store(b), vault.Config{})
					benchPins(b, v, isKnown, size, callers)
				})
			}
		}
	}
}

// benchKnown is how many cards are known where cards are known.
const benchKnown = 50_000

func benchPins(b *testing.B, v *vault.Vault, isKnown bool, size, callers int) {
	sealed := make([]byte, 124)
	fill := func(cards []tokenize.Card, first uint64) {
		for i := range cards {
			n := first + uint64(i)
			if isKnown {
				n = n * 7919 % benchKnown
			}
			token := tokenize.Token{Version: 1}
			binary.BigEndian.PutUint64(token.Bits[:], n*0x9e3779b97f4a7c15) // in no order
			binary.BigEndian.PutUint64(token.Bits[8:], n)
			cards[i] = tokenize.Card{Candidates: []tokenize.Token{token}, Sealed: sealed}
		}
	}
	if isKnown {
		cards := make([]tokenize.Card, 1000)
		for first := uint64(0); first < benchKnown; first += 1000 {
			fill(cards, first) // 7919 and the number of cards have no common factor
			if _, err := v.Pin(b.Context(), owner, cards); err != nil {
				b.Fatal(err)
			}
		}
	}
	var next atomic.Uint64
	one := func(cards []tokenize.Card) {
		fill(cards, next.Add(uint64(size))-uint64(size))
		if _, err := v.Pin(b.Context(), owner, cards); err != nil {
			b.Error(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	if callers == 1 {
		cards := make([]tokenize.Card, size)
		for b.Loop() {
			one(cards)
		}
	} else {
		b.SetParallelism(max(1, callers/2)) // times the processors: two here and in CI
		b.RunParallel(func(pb *testing.PB) {
			cards := make([]tokenize.Card, size)
			for pb.Next() {
				one(cards)
			}
		})
	}
	b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "pins/s")
}

// BenchJobs measures passes over 10,000 cards: opened, changed, written.
func BenchJobs(b *testing.B, fresh func(b *testing.B) Place) {
	const cards = 10_000
	for name, run := range map[string]func(v *vault.Vault, pass vault.Pass, newest keys.Secret) (vault.Progress, error){
		"reindex": func(v *vault.Vault, pass vault.Pass, newest keys.Secret) (vault.Progress, error) {
			return v.Reindex(b.Context(), pass, newest)
		},
		"retokenise": func(v *vault.Vault, pass vault.Pass, newest keys.Secret) (vault.Progress, error) {
			return v.Retokenise(b.Context(), pass, newest)
		},
		"reseal": func(v *vault.Vault, pass vault.Pass, _ keys.Secret) (vault.Progress, error) {
			return v.Reseal(b.Context(), pass)
		},
	} {
		b.Run(name, func(b *testing.B) {
			v, r := vault.New(fresh(b).store(b), vault.Config{}), newRing()
			e, secrets := r.envelopes(), r.rotateMint(owner)
			numbers := make([]int, 1000)
			for first := 0; first < cards; first += len(numbers) {
				for i := range numbers {
					numbers[i] = first + i
				}
				pin(b, v, e, owner, secrets, numbers...)
			}
			for b.Loop() {
				p, err := run(v, vault.Pass{Owner: owner, Reverse: e}, r.rotateMint(owner)[0])
				if err != nil || p.Changed != cards {
					b.Fatalf("%+v, %v", p, err)
				}
			}
			b.ReportMetric(cards*float64(b.N)/b.Elapsed().Seconds(), "cards/s")
		})
	}
}
