package tokenize

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// key is a candidate as the cache knows it: 96 of its bits, XORed with its minter's salt. They
// are uniform, so their first 64 are as good as a hash, and two cards share a key by no more
// chance than one in 2^96.
type key struct {
	high uint64
	low  uint32
}

// keyOf returns the key of a candidate.
func keyOf(candidate *[tokenBytes]byte, salt key) key {
	return key{
		binary.BigEndian.Uint64(candidate[:8]) ^ salt.high,
		binary.BigEndian.Uint32(candidate[8:12]) ^ salt.low,
	}
}

// newSalt is different for each minter that is not to know what another pinned. It is no
// secret.
func newSalt() key { return key{rand.Uint64(), rand.Uint32()} }

// pinCache remembers which token a candidate leads to, for a limited number of cards. It is a
// table with open addressing and linear probing, at most three quarters full, which grows up to
// its limit; then the clock turns: a card that was not asked for since the hand last passed
// makes room for a new one.
type pinCache struct {
	slots []slot
	used  int
	limit int
	hand  int
}

// slot has 32 bytes, so that it never lies across two cache lines: a card that was not seen
// for long costs one access to memory.
type slot struct {
	high    uint64
	low     uint32
	version uint32 // of the token, shifted, and in the lowest bit whether it was asked for; 0 is free
	token   [tokenBytes]byte
}

const (
	firstSlots = 1 << 10
	askedFor   = 1
)

// slotsFor is how many slots a cache of n cards has.
func slotsFor(n int) int { return n + n/3 + 1 }

func newPinCache(limit int) pinCache { return pinCache{limit: limit} }

// home is where the search for a key begins.
func (c *pinCache) home(high uint64) int {
	i, _ := bits.Mul64(high, uint64(len(c.slots)))
	return int(i)
}

// at returns the key's slot, or the free one where it would go.
func (c *pinCache) at(k key) int {
	i := c.home(k.high)
	for {
		s := &c.slots[i]
		if s.version == 0 || s.high == k.high && s.low == k.low {
			return i
		}
		if i++; i == len(c.slots) {
			i = 0
		}
	}
}

// find returns the token that the candidate leads to, if that is remembered.
func (c *pinCache) find(k key) (Token, bool) {
	if c.used == 0 {
		return Token{}, false
	}
	s := &c.slots[c.at(k)]
	if s.version == 0 {
		return Token{}, false
	}
	s.version |= askedFor
	return Token{int(s.version >> 1), s.token}, true
}

// put remembers the token that the candidate leads to.
func (c *pinCache) put(k key, t Token) {
	if c.used == c.limit {
		c.evict()
	}
	if 4*(c.used+1) > 3*len(c.slots) && len(c.slots) < slotsFor(c.limit) {
		c.grow()
	}
	s := &c.slots[c.at(k)]
	if s.version == 0 {
		c.used++
	}
	*s = slot{k.high, k.low, uint32(t.Version) << 1, t.Bits}
}

func (c *pinCache) grow() {
	old := c.slots
	c.slots = make([]slot, min(max(firstSlots, 2*len(old)), slotsFor(c.limit)))
	c.hand = 0
	for i := range old {
		if s := &old[i]; s.version != 0 {
			c.slots[c.at(key{s.high, s.low})] = *s
		}
	}
}

// evict frees the next slot that was not asked for since the hand last passed. A round of
// the hand leaves none that was, so it ends in the second.
func (c *pinCache) evict() {
	for {
		if c.hand >= len(c.slots) {
			c.hand = 0
		}
		s := &c.slots[c.hand]
		if s.version != 0 && s.version&askedFor == 0 {
			c.remove(c.hand)
			return
		}
		s.version &^= askedFor
		c.hand++
	}
}

// remove frees slot i and moves those behind it up that would not be found across the gap.
func (c *pinCache) remove(i int) {
	c.used--
	for j := i; ; {
		if j++; j == len(c.slots) {
			j = 0
		}
		s := &c.slots[j]
		if s.version == 0 {
			break
		}
		// s is found as long as no gap lies from its home on up to it.
		home := c.home(s.high)
		if inRing := i <= j; inRing && (home <= i || home > j) || !inRing && home <= i && home > j {
			c.slots[i] = *s
			i = j
		}
	}
	c.slots[i] = slot{}
}
