package features

// learn takes the event in.
func (m *moment) learn() {
	e, s, amount := m.e, m.s, float32(m.e.Amount)
	if e.Merchant != None {
		r := &s.merchants.use(m.ofMerchant, e.Merchant, m.now).value
		m.begin(&r.first)
		r.window.turn(m.now)
		r.window.add(amount, !e.Approved)
		m.widen(&r.spread)
		m.try(&r.tries)
	}
	if e.Terminal != None {
		m.ofTerminal = s.terminals.use(m.ofTerminal, e.Terminal, m.now)
		r := &m.ofTerminal.value
		m.begin(&r.first)
		r.window.turn(m.now)
		r.window.add(amount, !e.Approved)
		m.widen(&r.spread)
	}
	if e.BIN != None {
		m.learnBIN()
	}
	if e.MCC != 0 {
		m.widen(&s.mccs.use(m.ofMCC, Key(e.MCC), m.now).value.spread)
	}
	m.widen(&s.amounts)
	if e.Card != None {
		m.learnCard()
	}
}

func (m *moment) begin(first *uint32) {
	if *first == 0 {
		*first = m.now
	}
}

func (m *moment) widen(s *spread) {
	if m.e.Amount > 0 {
		s.add(m.x)
	}
}

func (m *moment) try(t *tries) {
	if m.e.Card == None {
		return
	}
	flags, bin := uint8(0), uint32(0)
	if !m.e.Approved {
		flags |= wasDeclined
	}
	if m.e.UnknownCard {
		flags |= wasUnknown
	}
	if m.small {
		flags |= wasSmall
	}
	if m.e.BIN != None {
		bin = short(m.e.BIN)
	}
	t.add(short(m.e.Card), bin, m.now, flags)
}

func (m *moment) learnBIN() {
	e := m.e
	b := &m.s.bins.use(m.ofBIN, e.BIN, m.now).value
	m.begin(&b.first)
	b.window.turn(m.now)
	b.window.add(float32(e.Amount), !e.Approved)
	b.turn(m.now)
	t := &tiers[inHour]
	k := m.now / t.width % t.n
	if e.UnknownCard {
		increase(&b.unknown[k])
	}
	if m.fresh {
		increase(&b.cards[k])
	}
}

func (m *moment) learnCard() {
	e := m.e
	c := &m.s.cards.use(m.ofCard, e.Card, m.now).value
	m.begin(&c.first)
	c.window.turn(m.now)
	c.window.add(float32(e.Amount), !e.Approved)
	m.widen(&c.spread)
	if c.declines++; e.Approved {
		c.declines = 0
	} else if c.declines == 0 {
		c.declines--
	}
	c.rising, c.amount = uint8(m.v[CardRising]), float32(e.Amount)
	if land := e.Place.country(); land != 0 {
		touch(c.countries[:], land)
	}
	if e.MCC != 0 {
		touch(c.mccs[:], e.MCC)
	}
	if e.Merchant != None {
		c.visits.add(short(e.Merchant), m.now)
	}
	c.entries.add(int(e.Entry))
	c.hours.add(m.hours / 3)
	if e.Present && e.Place != Nowhere {
		c.spots.add(e.Place)
		if m.v[TravelSpeed] <= airliner || m.v[TravelKilometres] <= shortWay {
			c.present, c.presentAt = e.Place, m.now
		}
	}
	m.trace(&c.terminals)
}

// trace keeps track of where the card could have been copied. A terminal where it is used oddly
// is where a copy ends up, not where it comes from: it is not taken into the list, but counts
// against those that are in it, once for each card and terminal.
func (m *moment) trace(t *terminals) {
	e, s := m.e, m.s
	if !m.v.odd() {
		if e.Present && e.Terminal != None && t.add(e.Terminal, m.now) {
			r := &m.ofTerminal.value
			r.cards.turn(m.now)
			r.cards.add()
			s.visits.turn(m.now)
			s.visits.add()
		}
		return
	}
	for i, key := range t.key {
		if key == None || key == e.Terminal || m.now-t.at[i] > traced || t.blamed>>i&1 == 1 {
			continue
		}
		if r := s.terminals.get(key, m.now); r != nil {
			t.blamed |= 1 << i
			r.value.odd.turn(m.now)
			r.value.odd.add()
			s.odd.turn(m.now)
			s.odd.add()
		}
	}
}
