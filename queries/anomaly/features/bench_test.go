package features_test

import (
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/queries/anomaly/features"
)

// endless are events of so many cards, merchants and terminals over time, without end.
type endless struct {
	d     *rand.Rand
	n     uint64
	cards int
	step  int64
	e     features.Event
}

func newEndless(cards int, perDay int64) *endless {
	return &endless{d: rand.New(rand.NewPCG(1, 2)), cards: cards, step: 86400e6 / perDay}
}

func (g *endless) next() *features.Event {
	g.n++
	card := g.d.IntN(g.cards)
	shops := g.cards/10 + 40
	shop := int(float64(shops/40)*g.d.Float64()*g.d.Float64())*40 + card%40 // of 40 towns, in the card's
	if g.d.IntN(20) == 0 {
		shop = g.d.IntN(shops)
	}
	key := func(kind uint64, n int) features.Key {
		return features.Key((kind<<40 + uint64(n) + 1) * 0x9e3779b97f4a7c15)
	}
	g.e = features.Event{
		Time: 1_772_400_000e6 + int64(g.n)*g.step, Card: key(1, card), Merchant: key(2, shop), Terminal: key(3, 4*shop+g.d.IntN(4)), BIN: key(4, card%8),
		MCC: uint16(5000 + shop%200), Place: features.Place(250 + shop%40), Channel: features.POS, Entry: features.Entry(1 + g.d.IntN(2)), Present: g.d.IntN(4) > 0,
		Amount: float64(1 + g.d.IntN(100_000)), Approved: g.d.IntN(12) > 0,
	}
	if !g.e.Present {
		g.e.Entry, g.e.Channel = features.Online, features.Ecommerce
	}
	g.e.ID[0] = byte(g.n)
	return &g.e
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkNext computes features, for a tenant of the record day's size and for a million
// cards. The reference makes the event alone, which the figure includes.
func BenchmarkNext(b *testing.B) {
	for _, size := range []struct {
		name  string
		cards int
	}{{"cards=10k", 10_000}, {"cards=1m", 1_000_000}} {
		b.Run(size.name, func(b *testing.B) {
			before := heap()
			g, s := newEndless(size.cards, int64(size.cards)), features.New()
			var v features.Vector
			for range 4 * size.cards {
				if _, err := s.Next(g.next(), &v); err != nil {
					b.Fatal(err)
				}
			}
			held := float64(heap()-before) / (1 << 20)
			b.ReportAllocs()
			cpu := meter.CPU()
			for b.Loop() {
				if _, err := s.Next(g.next(), &v); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(meter.CPU()-cpu)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(held, "MiB")
		})
	}
	b.Run("reference=event", func(b *testing.B) {
		g := newEndless(10_000, 10_000)
		for b.Loop() {
			g.next()
		}
	})
}

// BenchmarkWriteTo saves the state of a tenant of 10,000 cards.
func BenchmarkWriteTo(b *testing.B) {
	g, s := newEndless(10_000, 135_000), features.New()
	var v features.Vector
	for range 135_000 {
		if _, err := s.Next(g.next(), &v); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		n, err := s.WriteTo(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}
