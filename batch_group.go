package cardlake

import (
	"encoding/binary"
)

// A group is a run of text columns whose values come together again and again: a merchant's
// id tells its name, code, city and country. A row keeps only the number of its combination,
// found by one look-up. What a combination's texts are in their columns is worked out when the
// columns are made, and then once for all its rows; a combination was checked when it was new.
type group struct {
	first Text
	width int              // columns
	valid [maxGroup]uint64 // the flags of their validity
	seed  hashSeed
	index index  // of the combinations, by where they lie in data, in units of 8 bytes
	data  []byte // the combinations
	count int32  // how many there are
	last  int    // where the one found last lies
	spare []byte // a key
}

// maxGroup is the most columns of a group.
const maxGroup = 7

// A combination in a group's data is its flags; where in its key the texts of its columns
// begin, a byte each, and in the eighth the size of the key; where they end; its number; the
// key; and what fills it up to 8 bytes. So a look-up finds all it needs side by side.
const (
	combinationFrom   = 8
	combinationTo     = 16
	combinationNumber = 24
	combinationKey    = 28
)

// maxKey is the most bytes that a combination's key may have. What the columns of a group may
// hold is less, so that a key has room for all texts that pass the check.
const maxKey = 255

// noKey is where the texts begin of a row that has no key: no combination's begin there, since
// the first text begins at 0.
const noKey = ^uint64(0)

// groupStarts are the first texts of the groups; each ends where the next begins, or where a
// column does that is not of words.
var groupStarts = [...]Text{
	TextEventType, TextNetwork, TextCurrency, TextBillingCurrency, TextMerchantID, TextChannel, TextCVVResult, TextMTI,
}

const groupCount = len(groupStarts)

// key returns the bytes that hold the row's texts of the group, and where in them the texts
// begin and end: the bytes of Data from the first text to the last, so that nothing has to be
// copied, and both are compared, so that nothing depends on what lies between the texts. It
// returns noKey if they do not pass the check.
func (g *group) key(r *Row) (key []byte, from, to uint64) {
	spans := r.Spans[g.first:][:g.width]
	start, end := spans[0].From(), spans[len(spans)-1].To()
	size := uint(end - start)
	if size <= maxKey && end <= len(r.Data) {
		outside := uint(0)
		for i, s := range spans {
			f, t := uint(s.From()-start), uint(s.To()-start)
			outside |= f | (size - t) | (t - f)
			from, to = from|uint64(f)<<(8*i), to|uint64(t)<<(8*i)
		}
		if outside <= maxKey {
			return r.Data[start:end], from | uint64(size)<<56, to
		}
	}
	return g.copied(r)
}

// copied is key of texts that do not lie close together in their order.
func (g *group) copied(r *Row) (key []byte, from, to uint64) {
	if g.check(r) != nil {
		return nil, noKey, 0
	}
	g.spare = g.spare[:0]
	for i := range g.width {
		from |= uint64(len(g.spare)) << (8 * i)
		g.spare = append(g.spare, r.Text(g.first+Text(i))...)
		to |= uint64(len(g.spare)) << (8 * i)
	}
	return g.spare, from | uint64(len(g.spare))<<56, to
}

// find returns the number of the row's combination and its flags, -1 if it is not known.
func (g *group) find(r *Row) (number int32, flags uint64) {
	key, from, to := g.key(r)
	if g.last < len(g.data) {
		if c := g.data[g.last:]; isCombination(c, key, from, to) {
			return numberOf(c)
		}
	}
	hash := uint32(g.seed.hash(view(key)))
	for i, at := g.index.first(hash); i >= 0; i, at = g.index.next(hash, at) {
		if c := g.data[8*int(i):]; isCombination(c, key, from, to) {
			g.last = 8 * int(i)
			return numberOf(c)
		}
	}
	return -1, 0
}

// isCombination reports whether c begins with the combination of the key.
func isCombination(c, key []byte, from, to uint64) bool {
	return binary.LittleEndian.Uint64(c[combinationFrom:]) == from && binary.LittleEndian.Uint64(c[combinationTo:]) == to &&
		string(c[combinationKey:][:len(key)]) == string(key)
}

func numberOf(c []byte) (number int32, flags uint64) {
	return int32(binary.LittleEndian.Uint32(c[combinationNumber:])), binary.LittleEndian.Uint64(c)
}

// check returns an error that wraps [ErrField] if a text of the group breaks its column's rule.
func (g *group) check(r *Row) error {
	for t := g.first; t < g.first+Text(g.width); t++ {
		if err := textColumns[t].check(r.Text(t)); err != nil {
			return err
		}
	}
	return nil
}

// add makes a combination of the texts of a row that find does not know and check accepts.
func (g *group) add(r *Row) (number int32, flags uint64, grown int) {
	key, from, to := g.key(r)
	for i := range g.width {
		if r.Text(g.first+Text(i)) != "" {
			flags |= g.valid[i]
		}
	}
	number, g.last = g.count, len(g.data)
	c := binary.LittleEndian.AppendUint64(g.data, flags)
	c = binary.LittleEndian.AppendUint64(c, from)
	c = binary.LittleEndian.AppendUint64(c, to)
	c = binary.LittleEndian.AppendUint32(c, uint32(number))
	c = append(c, key...)
	for len(c)%8 != 0 {
		c = append(c, 0)
	}
	g.data = c
	g.index.add(uint32(g.seed.hash(view(key))), int32(g.last/8))
	g.count++
	return number, flags, len(c) - g.last
}

func (g *group) reset() {
	g.index.reset()
	g.data, g.count, g.last = g.data[:0], 0, 0
}

// groupColumns are the columns of a group.
type groupColumns struct {
	columns []*words
	codes   [maxGroup][]int32 // of each column, by the combination's number; 0 for a null
	learned int               // bytes of the group's data that codes cover
}

// learn finds the codes of the combinations that are new since the last call, and returns the
// bytes of text that the dictionaries grew by.
func (c *groupColumns) learn(g *group) (grown int) {
	// A column at a time, so that its dictionary stays in the cache.
	for j, w := range c.columns {
		for at := c.learned; at < len(g.data); {
			combination := g.data[at:]
			from, size, to := int(combination[combinationFrom+j]), int(combination[combinationFrom+7]), int(combination[combinationTo+j])
			code := int32(0)
			if s := view(combination[combinationKey+from : combinationKey+to]); s != "" || w.valid == noFlag {
				var more int
				code, more = w.code(s)
				grown += more
			}
			c.codes[j] = append(c.codes[j], code)
			at += (combinationKey + size + 7) &^ 7
		}
	}
	c.learned = len(g.data)
	return grown
}

func (c *groupColumns) reset() {
	for j := range c.codes {
		c.codes[j] = c.codes[j][:0]
	}
	c.learned = 0
}
