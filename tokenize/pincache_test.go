package tokenize

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func randomKey(r *rand.Rand) key { return key{r.Uint64(), r.Uint32()} }

func tokenOf(n uint64) Token {
	t := Token{Version: 1 + int(n%1000)}
	binary.LittleEndian.PutUint64(t.Bits[:], n)
	return t
}

// TestPinCacheNeverErrs does random things to a small cache and to a map: what is found is
// right, what is asked for again and again is not forgotten, and no more is kept than the limit.
func TestPinCacheNeverErrs(t *testing.T) {
	for _, limit := range []int{1, 2, 7, 100, 3000} {
		r := rand.New(rand.NewPCG(1, uint64(limit)))
		c := newPinCache(limit)
		truth := map[key]Token{}
		var put []key
		for n := range uint64(40_000) {
			if len(put) == 0 || r.IntN(3) == 0 {
				k := randomKey(r)
				if r.IntN(4) == 0 {
					k.high = ^uint64(0) - uint64(r.IntN(3)) // all at home in the last slot, and around the end
				}
				if len(put) > 0 && r.IntN(8) == 0 {
					k.high = put[r.IntN(len(put))].high // differs in the rest alone
				}
				truth[k] = tokenOf(n)
				put = append(put, k)
				c.put(k, truth[k])
				if got, ok := c.find(k); !ok || got != truth[k] {
					t.Fatalf("limit %d: what was put is not found", limit)
				}
			} else {
				k := put[max(0, len(put)-1-r.IntN(2*limit+1))]
				if got, ok := c.find(k); ok && got != truth[k] {
					t.Fatalf("limit %d: found another card's token", limit)
				}
				if _, ok := c.find(randomKey(r)); ok {
					t.Fatalf("limit %d: found what was never put", limit)
				}
			}
			if c.used > limit || len(c.slots) > slotsFor(limit) {
				t.Fatalf("limit %d: %d cards in %d slots", limit, c.used, len(c.slots))
			}
		}
		found, taken := 0, 0
		for k, token := range truth {
			if got, ok := c.find(k); ok && got == token {
				found++
			}
		}
		for _, s := range c.slots {
			if s.version != 0 {
				taken++
			}
		}
		if found != c.used || taken != c.used || c.used != limit {
			t.Errorf("limit %d: %d cards, %d found, %d slots taken", limit, c.used, found, taken)
		}
	}
}

func TestPinCacheKeepsWhatIsAskedFor(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	c := newPinCache(1000)
	hot := make([]key, 100)
	for i := range hot {
		hot[i] = randomKey(r)
		c.put(hot[i], tokenOf(uint64(i)))
	}
	for range 100 {
		for range 200 {
			c.put(randomKey(r), tokenOf(9))
		}
		for i, k := range hot {
			if got, ok := c.find(k); !ok || got != tokenOf(uint64(i)) {
				t.Fatalf("card %d was forgotten", i)
			}
		}
	}
}

func TestPinCacheIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(slot{}); 64%size != 0 {
		t.Errorf("a slot has %d bytes: some lie across cache lines", size)
	}
	if slots := slotsFor(1_000_000); slots*int(unsafe.Sizeof(slot{})) > 43_000_000 {
		t.Errorf("%d slots for a million cards", slots)
	}
}

// BenchmarkPinCache finds cards that are there, in the order in which they were put and at
// random: nearly each at a cold place of the memory.
func BenchmarkPinCache(b *testing.B) {
	for name, cards := range map[string]int{"cards=10k": 10_000, "cards=1M": 1_000_000} {
		r := rand.New(rand.NewPCG(7, 8))
		c := newPinCache(cards)
		keys := make([]key, cards)
		for i := range keys {
			keys[i] = randomKey(r)
			c.put(keys[i], tokenOf(uint64(i)))
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, ok := c.find(keys[i]); !ok {
					b.Fatal("forgotten")
				}
				if i++; i == len(keys) {
					i = 0
				}
			}
		})
	}
}
