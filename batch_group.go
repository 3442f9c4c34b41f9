package cardlake

import "unsafe"

// A group is a run of text columns whose values come together again and again: a merchant's
// id tells its name, code, city and country. The group knows the combinations seen, so that
// one look-up gives the codes of all its columns, which need no checking: a combination was
// checked when it was new.
type group struct {
	first   Text
	columns []*words
	index   index
	seed    hashSeed
	known   []combination
	other   combination // one that is not kept
}

const (
	// maxGroup is the most columns of a group.
	maxGroup = 7
	// maxKey is the most bytes that a combination kept may have. A message of a card network
	// fills less: name, city and country of a merchant are 40 characters together.
	maxKey = 140
)

// combination is one of a group's. It is three cache lines long, so that they follow from its
// number and are fetched at once, and seldom needs the third.
type combination struct {
	flags    uint64          // the validity of its columns
	codes    [maxGroup]int32 // of its texts in their columns; 0 for a null
	from, to [maxGroup]uint8 // of its texts in key
	size     uint16          // bytes of key
	key      [maxKey]byte
}

// groupStarts are the first texts of the groups; each ends where the next begins, or where a
// column does that is not of words.
var groupStarts = [...]Text{
	TextEventType, TextNetwork, TextCurrency, TextBillingCurrency, TextMerchantID, TextChannel, TextCVVResult, TextMTI,
}

const groupCount = len(groupStarts)

// find returns the number of the row's combination, -1 if it is not known. A row's bytes and
// the places of the texts in them are compared, so that nothing depends on what lies between
// the texts.
func (g *group) find(r *Row) int32 {
	spans := r.Spans[g.first:][:len(g.columns)]
	from, to := spans[0].From(), spans[len(spans)-1].To()
	if uint(to) > uint(len(r.Data)) || from > to {
		return -1
	}
	key, shift := r.Data[from:to], SpanOf(from, from)
	hash := uint32(g.seed.hash(view(key)))
	for i, at := g.index.first(hash); i >= 0; i, at = g.index.next(hash, at) {
		if g.known[i].is(key, spans, shift) {
			return i
		}
	}
	return -1
}

// is reports whether the combination has the bytes of key and the spans, which shift is to be
// taken from.
func (c *combination) is(key []byte, spans []Span, shift Span) bool {
	if string(c.key[:c.size]) != string(key) {
		return false
	}
	for i, span := range spans {
		if span-shift != Span(c.from[i])|Span(c.to[i])<<16 {
			return false
		}
	}
	return true
}

// check returns an error that wraps [ErrField] if a text of the group breaks its column's rule.
func (g *group) check(r *Row) error {
	for t := g.first; t < g.first+Text(len(g.columns)); t++ {
		if err := textColumns[t].check(r.Text(t)); err != nil {
			return err
		}
	}
	return nil
}

// learn returns the combination of a row that find does not know and check accepts, and the
// bytes of memory that it took. It keeps the combination as long as that pays: rows so far
// says how many may have used one.
func (g *group) learn(r *Row, rows int) (*combination, int) {
	spans := r.Spans[g.first:][:len(g.columns)]
	from, to := spans[0].From(), spans[len(spans)-1].To()
	isKept := from <= to && to-from <= maxKey && (len(g.known) < minCombinations || 2*len(g.known) < rows)
	c, size := &g.other, 0
	*c = combination{}
	for i, w := range g.columns {
		isKept = isKept && from <= spans[i].From() && spans[i].From() <= to && spans[i].To() <= to
		c.from[i], c.to[i] = uint8(spans[i].From()-from), uint8(spans[i].To()-from)
		s := r.Text(g.first + Text(i))
		if s == "" && w.valid != noFlag {
			continue
		}
		c.flags |= w.valid.mask()
		var grown int
		c.codes[i], grown = w.code(s)
		size += grown
	}
	if isKept {
		key := r.Data[from:to]
		c.size = uint16(copy(c.key[:], key))
		g.index.add(uint32(g.seed.hash(view(key))))
		g.known = append(g.known, *c)
		size += int(unsafe.Sizeof(*c))
	}
	return c, size
}

// minCombinations are kept whatever they are good for.
const minCombinations = 64

func (g *group) reset() {
	g.index.reset()
	g.known = g.known[:0]
}
