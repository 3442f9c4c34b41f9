package predict

// chain predicts the next symbol of a customer's sequence as a mixture of what experts say of it
// (Jelinek and Mercer, "Interpolated estimation of Markov source parameters from sparse data",
// 1980): the weights depend on how much is known of the customer and are learnt by expectation
// and maximisation on purchases later than those that the experts learnt from.
type chain struct {
	of      symbols
	gaps    bool // the symbols are gaps
	size    int
	prior   []float32 // by symbol: its frequency over all customers
	inSlot  []float32 // by slot of the last purchase and symbol
	after   []float32 // by last symbol and symbol
	usually []float32 // by habit and symbol
	weights [levels][experts]float64
}

// The experts. The first five say what all customers do, the others what the customer does.
const (
	anySymbol   = iota // all alike
	frequency          // how frequent it is
	afterSlot          // after a purchase at that hour
	afterSymbol        // after that symbol
	ofHabit            // by customers of the same habit
	ownFrequency
	ownRecent      // the customer's own, the recent ones counting more
	ownAfterSymbol // the customer's own after that symbol
	sameAgain
	experts
)

const (
	keeps    = 0.85 // weight of a purchase in ownRecent, relative to the next one
	smoothed = 20.0 // purchases that the frequency over all counts as in the other tables of all
	ownShare = 2.0  // purchases that ownFrequency counts as in ownAfterSymbol
)

// learn counts the symbols of purchases before a point in time.
func (c *chain) learn(v *Visits, before int64) {
	n := c.size
	prior, inSlot := make([]float64, n), make([]float64, slots*n)
	after, usually := make([]float64, n*n), make([]float64, n*n)
	total := 0.0
	m := c.memory()
	for i := range v.customers() {
		m.forget(v.zone(i))
		first := v.Start[i]
		for j := first; j < v.Start[i+1] && v.Time[j] < before; j++ {
			s := c.of(v, first, j)
			if s != none {
				prior[s]++
				total++
				if j > first {
					inSlot[m.slot*n+int(s)]++
				}
				if m.n > 0 {
					after[int(m.last)*n+int(s)]++
					usually[int(m.habit)*n+int(s)]++
				}
			}
			m.observe(s, v.Time[j])
		}
	}
	c.prior = make([]float32, n)
	for s := range prior {
		prior[s] = (prior[s] + 0.5) / (total + 0.5*float64(n))
		c.prior[s] = float32(prior[s])
	}
	c.inSlot, c.after, c.usually = smooth(inSlot, prior), smooth(after, prior), smooth(usually, prior)
}

// smooth turns rows of counts into probabilities, with prior where there are few.
func smooth(counts, prior []float64) []float32 {
	n := len(prior)
	out := make([]float32, len(counts))
	for row := 0; row < len(counts); row += n {
		total := smoothed
		for _, k := range counts[row : row+n] {
			total += k
		}
		for s, p := range prior {
			out[row+s] = float32((counts[row+s] + smoothed*p) / total)
		}
	}
	return out
}

// memory is what is known of one customer's sequence so far. It is made for one customer after
// the other.
type memory struct {
	size    int
	gaps    bool
	n       int // symbols so far
	last    uint16
	habit   uint16 // the most frequent symbol; of gaps, that of the mean gap
	slot    int    // of the last purchase
	first   int64  // when the first purchase was
	zone    int64  // of the customer's clock
	own     []float32
	recent  []float32
	step    float32 // what the next symbol adds to recent: rises, so that nothing else needs to fall
	recents float32
	after   []float32 // by symbol and the one after it
	afters  []float32
	symbols []uint16 // those with own > 0, in the order they came
	pairs   []int32  // the cells of after that are not 0
}

func (c *chain) memory() *memory {
	m := &memory{size: c.size, gaps: c.gaps,
		own: make([]float32, c.size), recent: make([]float32, c.size),
		after: make([]float32, c.size*c.size), afters: make([]float32, c.size)}
	m.forget(0)
	return m
}

// forget makes the memory that of a customer whose clock is so far ahead of UTC.
func (m *memory) forget(zone int64) {
	for _, s := range m.symbols {
		m.own[s], m.recent[s], m.afters[s] = 0, 0, 0
	}
	for _, p := range m.pairs {
		m.after[p] = 0
	}
	m.n, m.last, m.habit, m.slot, m.first, m.zone, m.step, m.recents = 0, none, none, 0, 0, zone, 1, 0
	m.symbols, m.pairs = m.symbols[:0], m.pairs[:0]
}

// observe takes in a purchase.
func (m *memory) observe(s uint16, seconds int64) {
	m.slot = slotOf(seconds + m.zone)
	if s == none {
		m.first = seconds
		return
	}
	if m.own[s] == 0 {
		m.symbols = append(m.symbols, s)
	}
	m.own[s]++
	m.recent[s] += m.step
	m.recents += m.step
	if m.step /= keeps; m.step > 1e15 {
		for _, s := range m.symbols {
			m.recent[s] /= m.step
		}
		m.recents /= m.step
		m.step = 1
	}
	if m.last != none {
		pair := int(m.last)*m.size + int(s)
		if m.after[pair] == 0 {
			m.pairs = append(m.pairs, int32(pair))
		}
		m.after[pair]++
		m.afters[m.last]++
	}
	m.n++
	m.last = s
	if m.gaps {
		m.habit = gapOf((seconds - m.first) / int64(m.n))
	} else if m.habit == none || m.own[s] > m.own[m.habit] {
		m.habit = s
	}
}

// say sets what each expert says of symbol s.
func (c *chain) say(m *memory, s int, p *[experts]float32) {
	prior := c.prior[s]
	p[anySymbol] = 1 / float32(c.size)
	p[frequency] = prior
	p[afterSlot] = c.inSlot[m.slot*c.size+s]
	if m.n == 0 {
		for e := afterSymbol; e < experts; e++ {
			p[e] = prior
		}
		return
	}
	row := int(m.last) * c.size
	p[afterSymbol] = c.after[row+s]
	p[ofHabit] = c.usually[int(m.habit)*c.size+s]
	own := m.own[s] / float32(m.n)
	p[ownFrequency] = own
	p[ownRecent] = m.recent[s] / m.recents
	p[ownAfterSymbol] = (m.after[row+s] + ownShare*own) / (m.afters[m.last] + ownShare)
	p[sameAgain] = 0
	if int(m.last) == s {
		p[sameAgain] = 1
	}
}

// mix sets the probability of every symbol.
func (c *chain) mix(m *memory, w *[experts]float64, out []float32) {
	var f [experts]float32
	for i := range w {
		f[i] = float32(w[i])
	}
	flat := f[anySymbol] / float32(c.size)
	slot := c.inSlot[m.slot*c.size:][:c.size]
	if m.n == 0 {
		rest := f[frequency]
		for e := afterSymbol; e < experts; e++ {
			rest += f[e]
		}
		for s := range out {
			out[s] = flat + rest*c.prior[s] + f[afterSlot]*slot[s]
		}
		return
	}
	row := c.after[int(m.last)*c.size:][:c.size]
	usual := c.usually[int(m.habit)*c.size:][:c.size]
	for s := range out {
		out[s] = flat + f[frequency]*c.prior[s] + f[afterSlot]*slot[s] + f[afterSymbol]*row[s] + f[ofHabit]*usual[s]
	}
	own := m.after[int(m.last)*c.size:][:c.size]
	pairs := m.afters[m.last] + ownShare
	byOwn := (f[ownFrequency] + f[ownAfterSymbol]*ownShare/pairs) / float32(m.n)
	byRecent, byPair := f[ownRecent]/m.recents, f[ownAfterSymbol]/pairs
	for _, s := range m.symbols {
		out[s] += byOwn*m.own[s] + byRecent*m.recent[s] + byPair*own[s]
	}
	out[m.last] += f[sameAgain]
}

// saying is what the experts said of a symbol that came, where level was known of the customer.
type saying struct {
	level int8
	p     [experts]float32
}

// listen collects what the experts say of purchases in [from, to), of about most of them, evenly
// over the customers.
func (c *chain) listen(v *Visits, from, to int64, most int) []saying {
	count := 0
	for i := range v.customers() {
		for j := v.Start[i]; j < v.Start[i+1]; j++ {
			if t := v.Time[j]; j > v.Start[i] && t >= from && t < to {
				count++
			}
		}
	}
	step := count/most + 1
	var out []saying
	m := c.memory()
	for i := 0; i < v.customers(); i += step {
		m.forget(v.zone(i))
		first := v.Start[i]
		for j := first; j < v.Start[i+1] && v.Time[j] < to; j++ {
			s := c.of(v, first, j)
			if j > first && v.Time[j] >= from {
				x := saying{level: int8(seen(m.n))}
				c.say(m, int(s), &x.p)
				out = append(out, x)
			}
			m.observe(s, v.Time[j])
		}
	}
	return out
}

// weigh learns the weights of those experts that are allowed. A level borrows from all levels
// where it has few sayings of its own.
func weigh(sayings []saying, allowed [experts]bool) (weights [levels][experts]float64) {
	const rounds, borrowed = 40, 50.0
	var all [experts]float64
	k := 0.0
	for _, a := range allowed {
		if a {
			k++
		}
	}
	for e := range all {
		if allowed[e] {
			all[e] = 1 / k
		}
	}
	for l := range weights {
		weights[l] = all
	}
	for range rounds {
		// Each expert's share in what came.
		var sums [levels][experts]float64
		for i := range sayings {
			x := &sayings[i]
			var share [experts]float64
			total := 0.0
			for e := range share {
				share[e] = weights[x.level][e] * float64(x.p[e])
				total += share[e]
			}
			if total == 0 {
				continue
			}
			for e := range share {
				sums[x.level][e] += share[e] / total
			}
		}
		var pooled [experts]float64
		total := 1e-9
		for l := range sums {
			for e, s := range sums[l] {
				pooled[e] += s
				total += s
			}
		}
		for e := range pooled {
			if allowed[e] {
				pooled[e] = (pooled[e] + 1e-9/k) / total
			}
		}
		for l := range weights {
			n := borrowed
			for _, s := range sums[l] {
				n += s
			}
			for e := range weights[l] {
				weights[l][e] = (sums[l][e] + borrowed*pooled[e]) / n
			}
		}
	}
	// Nothing is impossible: without it a symbol that nobody has shown would have no probability.
	const least = 1e-4
	for l := range weights {
		for e := range weights[l] {
			weights[l][e] *= 1 - least
		}
		weights[l][anySymbol] += least
	}
	return weights
}

// fit learns from the purchases before a point in time, the weights on the later quarter of them.
func (c *chain) fit(v *Visits, heldOut, before int64) []saying {
	c.learn(v, heldOut)
	sayings := c.listen(v, heldOut, before, 1<<16)
	c.weights = weigh(sayings, [experts]bool{true, true, true, true, true, true, true, true, true})
	c.learn(v, before)
	return sayings
}
