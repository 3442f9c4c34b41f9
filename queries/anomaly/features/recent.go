package features

// touch moves x to the front of the list, in place of the last one if it is not in it, and
// reports whether it was. Zero is no member.
func touch[T comparable](list []T, x T) bool {
	var none T
	k := 0
	for k < len(list)-1 && list[k] != x && list[k] != none {
		k++
	}
	known := list[k] == x
	copy(list[1:k+1], list[:k])
	list[0] = x
	return known
}

// seen is a member with the second at which it was met last.
type seen struct{ key, at uint32 }

// visits are the latest merchants of a card.
type visits [24]seen

func (v *visits) find(key uint32) int {
	for i := range v {
		if v[i].key == key {
			return i
		}
	}
	return -1
}

// since counts those met at from or later.
func (v *visits) since(from uint32) (n int) {
	for i := range v {
		if v[i].key == 0 || v[i].at < from {
			break
		}
		n++
	}
	return n
}

func (v *visits) add(key, at uint32) {
	k := v.find(key)
	if k < 0 {
		k = len(v) - 1
	}
	copy(v[1:k+1], v[:k])
	v[0] = seen{key, at}
}

// spots are the latest places where a card was present, with how often. Counts are halved when
// they add up to 255, so that moving house shows.
type spots struct {
	place [6]Place
	uses  [6]uint8
}

func (s *spots) share(p Place) (share float32, uses int) {
	at := 0
	for i := range s.place {
		uses += int(s.uses[i])
		if s.place[i] == p {
			at = int(s.uses[i])
		}
	}
	if uses == 0 {
		return 1, 0
	}
	return float32(at) / float32(uses), uses
}

func (s *spots) add(p Place) {
	k := 0
	for k < len(s.place)-1 && s.place[k] != p && s.place[k] != Nowhere {
		k++
	}
	n := uint8(0)
	if s.place[k] == p {
		n = s.uses[k]
	}
	copy(s.place[1:k+1], s.place[:k])
	copy(s.uses[1:k+1], s.uses[:k])
	s.place[0], s.uses[0] = p, n+1
	if _, sum := s.share(p); sum >= 255 {
		halve(s.uses[:])
	}
}

// habit counts how often each of a few cases was chosen, halved when one has been 250 times.
type habit [8]uint8

func (h *habit) share(k int) float32 {
	sum := 0
	for _, n := range h {
		sum += int(n)
	}
	if sum < 5 {
		return 1
	}
	return float32(h[k]) / float32(sum)
}

func (h *habit) add(k int) {
	if h[k]++; h[k] == 250 {
		halve(h[:])
	}
}

func halve(counts []uint8) {
	for i := range counts {
		counts[i] /= 2
	}
}

// tries are the latest events at a merchant, to see many cards being tried in a short time.
type tries struct {
	next  uint32 // how many there have been
	card  [64]uint32
	bin   [64]uint32
	at    [64]uint32
	flags [64]uint8
}

const (
	wasDeclined = 1 << iota
	wasUnknown
	wasSmall
	newest // no later event is of the same card
)

// tried is what tries tell of ten minutes.
type tried struct{ events, cards, ofBIN, declined, unknown, small int }

func (t *tries) since(from, bin uint32) (out tried) {
	for i := t.next; i > 0 && t.next-i < uint32(len(t.card)); i-- {
		k := (i - 1) % uint32(len(t.card))
		if t.at[k] < from {
			break
		}
		f := t.flags[k]
		out.events++
		out.declined += int(f / wasDeclined & 1)
		out.unknown += int(f / wasUnknown & 1)
		out.small += int(f / wasSmall & 1)
		if f&newest != 0 {
			out.cards++
			if bin != 0 && t.bin[k] == bin {
				out.ofBIN++
			}
		}
	}
	return out
}

func (t *tries) add(card, bin, at uint32, flags uint8) {
	for k := range t.card {
		if t.card[k] == card {
			t.flags[k] &^= newest
		}
	}
	k := t.next % uint32(len(t.card))
	t.card[k], t.bin[k], t.at[k], t.flags[k] = card, bin, at, flags|newest
	t.next++
}

// terminals are those where a card was present last.
type terminals struct {
	key    [8]Key
	at     [8]uint32
	blamed uint8 // bit i: an odd use of the card has been counted against terminal i
}

// add notes a visit and reports whether the terminal is new in the list.
func (t *terminals) add(key Key, at uint32) bool {
	k := 0
	for k < len(t.key)-1 && t.key[k] != key && t.key[k] != None {
		k++
	}
	known := t.key[k] == key
	bit := uint8(0)
	if known {
		bit = t.blamed >> k & 1
	}
	copy(t.key[1:k+1], t.key[:k])
	copy(t.at[1:k+1], t.at[:k])
	t.key[0], t.at[0] = key, at
	low := uint8(1)<<k - 1
	t.blamed = t.blamed&^(low<<1|1) | t.blamed&low<<1 | bit
	return !known
}
