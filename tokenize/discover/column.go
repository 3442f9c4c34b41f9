package discover

import "hash/maphash"

// Column judges the values of one column of a typed file: what a value is depends on its name
// and on what the others are.
type Column struct {
	*Detector
	at     Place
	yield  func(Detection) bool
	rates  rates
	secret Kind
	pend   []valueCandidate
	values int
	bytes  int  // of the values that are held back
	packed rate // of the runs of packed digits in them
	seen   int  // of a column named like a secret: values of its form
	first  Place
	seed   maphash.Seed
	last   uint64 // hash of the value before: the same one again says nothing more of its column
	done   bool
}

type valueCandidate struct {
	candidate
	at Place
}

// judgeEvery is how many values are held back until their share is known.
const judgeEvery = 4096

// Column begins a column. at names it, in Field; the values' rows are told by Add. The caller
// calls Flush at the end. After yield has returned false nothing more is yielded.
func (d *Detector) Column(at Place, yield func(Detection) bool) *Column {
	c := &Column{Detector: d, at: at, yield: yield, rates: rates{}, seed: maphash.MakeSeed(), secret: secretNamed(at.Field)}
	c.at.Field = d.safe(at.Field)
	return c
}

// Add judges one value. It keeps nothing of value. It returns false when the caller may stop.
func (c *Column) Add(rowGroup, row int64, value []byte) bool {
	return c.add(rowGroup, row, value, "")
}

// AddInteger is Add for the decimal form of a number that is stored in binary.
func (c *Column) AddInteger(rowGroup, row int64, decimal []byte) bool {
	return c.add(rowGroup, row, decimal, Integer)
}

func (c *Column) add(rowGroup, row int64, value []byte, enc Encoding) bool {
	if c.done {
		return false
	}
	at := c.at
	at.RowGroup, at.Row = rowGroup, row
	c.values++
	if c.secret != "" && c.secret.fits(value) {
		if c.seen++; c.seen == 1 {
			c.first = at
		}
	}
	if len(value) >= 7 {
		c.search(at, value, enc)
	}
	if c.values%judgeEvery == 0 {
		c.judge()
	}
	return !c.done
}

func (c *Column) search(at Place, value []byte, enc Encoding) {
	s := search{Detector: c.Detector, data: value, to: len(value), rates: c.rates, column: c.at.Field}
	if h := maphash.Bytes(c.seed, value); h != c.last {
		c.last = h
	} else {
		s.rates = rates{}
	}
	s.run()
	if len(s.found) == 0 && len(value) <= (maxDigits+1)/2 {
		s.wholePacked()
	}
	if len(s.found) == 0 && len(value)%4 == 0 && len(value) < leastToken+2 && len(value) > 8 && value[len(value)-1] == '=' {
		s.paddedToken(value)
	}
	for _, at := range s.others {
		s.rates.of(s.placeOf(at, s.before(at))).all++
	}
	c.bytes += len(value)
	c.packed = rate{c.packed.all + s.packed.all, c.packed.prefix + s.packed.prefix, c.packed.whole + s.packed.whole}
	for _, found := range s.found {
		if enc != "" && found.enc == ASCII {
			found.enc = enc
		}
		c.pend = append(c.pend, valueCandidate{found, at})
		if found.confidence >= Medium && found.kind == CardNumber {
			s.near(found, func(secret candidate) { c.pend = append(c.pend, valueCandidate{secret, at}) })
		}
	}
}

// judge tells what is held back.
func (c *Column) judge() {
	for _, p := range c.pend {
		s := search{Detector: c.Detector, rates: c.rates, found: []candidate{p.candidate}, to: c.bytes, packed: c.packed}
		for _, found := range s.judge() {
			p.at.Offset = int64(found.start)
			c.done = c.done || !c.yield(c.detection(p.at, found, ""))
		}
	}
	c.pend, c.bytes, c.packed = c.pend[:0], 0, rate{}
	c.rates.age()
}

// Flush tells what is held back, and whether the column holds what its name says.
func (c *Column) Flush() {
	c.judge()
	// A column may be named like a security code and hold the result of checking it.
	if c.secret != "" && c.seen > 0 && 2*c.seen >= c.values && !c.done {
		c.done = !c.yield(c.detection(c.first, candidate{kind: c.secret, enc: ASCII, confidence: High, reason: "the name of its column"}, ""))
	}
	c.values, c.seen = 0, 0
}

// wholePacked judges a short value that consists of packed digits, padded with F or with a
// zero in front.
func (s *search) wholePacked() {
	const place = 1
	r := s.rates.of(place)
	r.all++
	n := 0
	for n < 2*len(s.data) && half(s.data, n) <= 9 {
		n++
	}
	if n < 2*len(s.data)-1 || n < 2*len(s.data) && half(s.data, n) != 0xf {
		return
	}
	for at := range 2 {
		c := candidate{end: len(s.data), kind: CardNumber, enc: BCD, n: n - at, confidence: Medium, reason: "a value of packed digits with prefix, length and check digit"}
		if at == 1 && half(s.data, 0) != 0 || c.n < leastDigits || c.n > maxDigits {
			continue
		}
		c.place = place
		if isText(s.data) { // unless nearly all values of the column are
			c.confidence, c.reason = Low, "a value that is text too"
		}
		if !s.unpack(&c, at) {
			continue
		}
		r.prefix++
		r.whole++
		s.found = append(s.found, c)
		return
	}
}

// paddedToken judges a short value of padded base64.
func (s *search) paddedToken(value []byte) {
	for len(value) > 0 && value[len(value)-1] == '=' {
		value = value[:len(value)-1]
	}
	plain := make([]byte, len(value))
	n, err := base64Encoding(value).Decode(plain, value)
	if err != nil {
		return
	}
	sub := s.within(plain[:n], 0)
	sub.run()
	if len(sub.found) == 0 {
		sub.wholePacked()
	}
	for _, c := range sub.found {
		c.start, c.end = 0, len(s.data)
		if c.enc == BCD {
			c.enc = Base64BCD
		} else {
			c.enc = Base64ASCII
		}
		s.found = append(s.found, c)
	}
}
