// Package sim is the world around a card processor: issuers with their cardholders and
// cards, merchants with their terminals, and the card networks that ask for decisions.
//
// A [Population] follows from a seed alone. [Traffic] is a pure function: message number i
// of a run is the same bytes whenever and in whatever order it is asked for, given the
// population and the [Timeline] that says at which instant each number is due. Nothing is
// remembered between messages, so memory is bounded and a run continues anywhere at once.
// A [Run] sends the messages to a processor, keeps a journal of the answers, and can say
// afterwards exactly which events the processor has been asked about.
//
// Card numbers are synthetic: Visa's begin with 4, Mastercard's with 51-55 or 2221-2720,
// all else is invented, and none is known to belong to a real card. They leave the package
// in messages and through [Population.Cards] and [Population.AllPANs] only; no file written
// here holds one.
//
// The same seed gives the same bytes on one processor architecture; across architectures an
// amount may differ by one minor unit, because floating point may be fused.
package sim

import "math/rand/v2"

// Domains keep the random streams of different purposes apart.
const (
	domainTenants uint64 = iota + 1
	domainPrograms
	domainCards
	domainMerchants
	domainHolders
	domainKind
	domainDelay
	domainPurchase
	domainTrip
	domainFraud
	domainCustomer
	domainAccount
	domainRecurring
)

// mix is the finaliser of SplitMix64: a bijection that spreads every bit.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hash draws 64 bits that belong to (seed, domain, n).
func hash(seed, domain, n uint64) uint64 { return mix(mix(mix(seed)^domain) ^ n) }

// unit maps 64 bits to [0, 1).
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// dice is a random stream that can be moved to another place without allocating.
type dice struct {
	pcg *rand.PCG
	*rand.Rand
}

func newDice() dice {
	pcg := rand.NewPCG(0, 0)
	return dice{pcg, rand.New(pcg)}
}

// to moves the stream to the beginning of (seed, domain, n).
func (d dice) to(seed, domain, n uint64) { d.pcg.Seed(hash(seed, domain, n), domain) }

// pick returns an index with the probability of its weight; the weights' sum must not be 0.
func (d dice) pick(weights []float64) int {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	u := d.Float64() * sum
	for i, w := range weights {
		if u -= w; u < 0 {
			return i
		}
	}
	return len(weights) - 1
}
