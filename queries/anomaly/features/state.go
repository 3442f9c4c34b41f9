package features

import (
	"bytes"
	"math"
	"slices"
)

// State is what the events of one tenant so far have left behind. It is not for concurrent use.
type State struct {
	time int64 // of the latest event, and its id
	id   [16]byte
	any  bool

	cards     table[cardState]
	merchants table[merchantState]
	terminals table[terminalState]
	bins      table[binState]
	mccs      table[mccState]

	amounts spread  // of the tenant
	visits  tenDays // of cards to terminals, as terminalState.cards
	odd     tenDays // as terminalState.odd
}

// New returns a State that has seen nothing.
func New() *State { return &State{} }

// Known returns of how many cards, merchants and terminals there are records, silent ones that
// have not been dropped yet among them.
func (s *State) Known() (cards, merchants, terminals int) {
	return s.cards.size(), s.merchants.size(), s.terminals.size()
}

// Time is the latest event's, in microseconds since the epoch, 0 if there was none.
func (s *State) Time() int64 { return s.time }

// Next sets v to what the events before e tell of it, and then takes e in. It returns where the
// event's card was present last within a month, Nowhere if it was not. The error is ErrOrder, or
// names the field that is out of range; then nothing is taken in and v is undefined.
func (s *State) Next(e *Event, v *Vector) (before Place, err error) {
	if err := e.check(); err != nil {
		return Nowhere, err
	}
	if s.any && (e.Time < s.time || e.Time == s.time && bytes.Compare(e.ID[:], s.id[:]) <= 0) {
		return Nowhere, ErrOrder
	}
	s.time, s.id, s.any = e.Time, e.ID, true
	m := moment{s: s, e: e, v: v, now: uint32(e.Time / micros)}
	*v = Vector{}
	// All at once, so that waits for memory overlap.
	m.ofCard, m.ofMerchant = s.cards.get(e.Card, m.now), s.merchants.get(e.Merchant, m.now)
	m.ofTerminal, m.ofBIN = s.terminals.get(e.Terminal, m.now), s.bins.get(e.BIN, m.now)
	m.ofMCC = s.mccs.get(Key(e.MCC), m.now)
	m.own()
	m.card()
	m.merchant()
	m.terminal()
	m.bin()
	m.peers()
	m.marks()
	m.compromise()
	if before = m.from; !e.Reversal {
		m.learn()
	}
	return before, nil
}

// moment is one event as it is looked at.
type moment struct {
	s   *State
	e   *Event
	v   *Vector
	now uint32

	hours, weekday int
	x              float32 // the amount on the axis of spreads
	small          bool
	fresh          bool // the card has not been used yet in this bucket of ten minutes
	from           Place

	// What is there from before, nil if nothing is.
	ofCard     *record[cardState]
	ofMerchant *record[merchantState]
	ofTerminal *record[terminalState]
	ofBIN      *record[binState]
	ofMCC      *record[mccState]
}

func truth(b bool) float32 {
	if b {
		return 1
	}
	return 0
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// share is a part of a whole, 0 if there is none.
func share(part, whole float32) float32 {
	if whole == 0 {
		return 0
	}
	return part / whole
}

func since(now, then uint32) float32 { return float32(math.Log1p(float64(now - then))) }

var sinceAMonth = since(month, 0)

func (m *moment) own() {
	e, v := m.e, m.v
	m.hours, m.weekday = e.wall()
	v[Amount] = float32(math.Log1p(e.Amount))
	v[Declined] = truth(!e.Approved)
	v[UnknownCard] = truth(e.UnknownCard)
	v[Present] = truth(e.Present)
	v[ByStripe] = truth(e.Entry == Stripe || e.Entry == Fallback)
	v[Keyed] = truth(e.Entry == Manual)
	v[Cash] = truth(e.Channel == ATM)
	v[Night] = truth(m.hours < 6)
	v[Weekend] = truth(m.weekday == 0 || m.weekday == 6)
	if e.Amount > 0 {
		m.x = scale(e.Amount)
		q, ok := m.s.amounts.quartiles()
		m.small = ok && m.x <= q[0]
	}
}

// history sets the features that cards, merchants and terminals have in common. It returns how far
// the amount lies above the median on the axis of spreads; false if it cannot be told.
func (m *moment) history(at Feature, t *totals, s *spread, first, last uint32) (above float32, ok bool) {
	v := m.v[at : at+Feature(len(history))]
	for i := range Feature(spans) {
		v[atCount+i] = t.count[i]
		v[atSum+i] = t.sum[i]
		v[atMean+i] = share(t.sum[i], t.count[i])
		v[atDeclined+i] = share(t.declined[i], t.count[i])
	}
	if m.e.Amount > 0 {
		v[atDeviation], above, ok = s.deviation(m.x)
	}
	v[atSurge] = surge(t.count[inHour], t.count[inMonth], first, m.now)
	v[atSince] = since(m.now, last)
	return above, ok
}

func (m *moment) card() {
	e, v := m.e, m.v
	v[CardSince], v[PlaceShare], v[EntryShare], v[HourShare] = sinceAMonth, 1, 1, 1
	m.fresh = e.Card != None
	if m.ofCard == nil {
		return
	}
	c := &m.ofCard.value
	m.fresh = m.ofCard.last/tiers[inHour].width != m.now/tiers[inHour].width
	var t totals
	c.window.turn(m.now)
	c.window.totals(&t)
	if above, ok := m.history(CardCount1H, &t, &c.spread, c.first, m.ofCard.last); ok {
		v[CardRatio] = ratio(above)
	}
	v[CardDays] = float32(m.now-c.first) / day
	v[CardDeclinesInRow] = float32(c.declines)
	v[CardRising] = float32(m.rising(c))
	v[CardMerchants1H] = float32(c.visits.since(m.now - min(m.now, hour)))
	v[CardMerchants1D] = float32(c.visits.since(m.now - min(m.now, day)))
	if e.Merchant != None {
		v[NewMerchant] = truth(c.visits.find(short(e.Merchant)) < 0)
	}
	if e.MCC != 0 {
		v[NewMCC] = truth(!slices.Contains(c.mccs[:], e.MCC))
	}
	if land := e.Place.country(); land != 0 {
		v[NewCountry] = truth(!slices.Contains(c.countries[:], land))
	}
	v[EntryShare] = c.entries.share(int(e.Entry))
	v[HourShare] = c.hours.share(m.hours / 3)
	if m.from = c.present; m.now-c.presentAt > month {
		m.from = Nowhere
	}
	if e.Present && e.Place != Nowhere {
		var uses int
		v[PlaceShare], uses = c.spots.share(e.Place)
		v[NewPlace] = truth(uses > 0 && v[PlaceShare] == 0)
		if m.from != Nowhere {
			seconds := m.now - c.presentAt
			v[TravelKilometres] = float32(Kilometres(m.from, e.Place))
			v[TravelMinutes] = float32(seconds) / minute
			v[TravelSpeed] = v[TravelKilometres] * hour / float32(max(seconds, minute))
		}
	}
}

func (m *moment) rising(c *cardState) uint8 {
	if m.e.Amount == 0 || c.amount == 0 || float32(m.e.Amount) <= c.amount || m.now-m.ofCard.last > day {
		return 0
	}
	return min(c.rising+1, 255-1)
}

// short is a key of which 32 bits are enough, among a card's or merchant's few dozen. It is
// never 0.
func short(k Key) uint32 { return max(uint32(k>>32), 1) }

func (m *moment) merchant() {
	v := m.v
	v[MerchantSince] = sinceAMonth
	if m.ofMerchant == nil {
		return
	}
	r := &m.ofMerchant.value
	var t totals
	r.window.turn(m.now)
	r.window.totals(&t)
	m.history(MerchantCount1H, &t, &r.spread, r.first, m.ofMerchant.last)
	bin := uint32(0)
	if m.e.BIN != None {
		bin = short(m.e.BIN)
	}
	n := r.tries.since(m.now-min(m.now, 10*minute), bin)
	v[TriedCards], v[TriedOfBIN] = float32(n.cards), float32(n.ofBIN)
	v[TriedDeclined], v[TriedUnknown], v[TriedSmall] = float32(n.declined), float32(n.unknown), float32(n.small)
	v[TriedShare] = share(float32(n.declined), float32(n.events))
}

func (m *moment) terminal() {
	m.v[TerminalSince] = sinceAMonth
	if m.ofTerminal == nil {
		return
	}
	r := &m.ofTerminal.value
	var t totals
	r.window.turn(m.now)
	r.window.totals(&t)
	m.history(TerminalCount1H, &t, &r.spread, r.first, m.ofTerminal.last)
}

func (m *moment) bin() {
	if m.ofBIN == nil {
		return
	}
	b, v := &m.ofBIN.value, m.v
	var t totals
	b.window.turn(m.now)
	b.window.totals(&t)
	b.turn(m.now)
	var cards, unknown uint32
	for i := range b.cards {
		cards, unknown = cards+b.cards[i], unknown+b.unknown[i]
	}
	v[BINCount1H], v[BINCards1H], v[BINUnknown1H] = t.count[inHour], float32(cards), float32(unknown)
	v[BINDeclined1H] = share(t.declined[inHour], t.count[inHour])
	v[BINSurge] = surge(t.count[inHour], t.count[inMonth], b.first, m.now)
}

func (m *moment) peers() {
	if m.ofMCC != nil && m.e.Amount > 0 {
		m.v[MCCDeviation], _, _ = m.ofMCC.value.spread.deviation(m.x)
	}
}

// Limits that analysts use: an airliner covers 900 km an hour, and over short ways the clocks
// of two terminals decide what a speed is.
const (
	airliner   = 900 // km/h
	shortWay   = 100 // km
	rarely     = .1  // share
	far        = 3   // robust deviations
	oddEnough  = 2   // marks, that of a decline apart
	traced     = 10 * day
	leastKnown = 3 // uses of a card before anything is unusual for it
)

func (m *moment) marks() {
	v := m.v
	n := v[Declined]
	if v[CardCount30D] >= leastKnown {
		n += max(v[NewPlace], v[NewCountry])
		n += truth(v[ByStripe] == 1 && v[EntryShare] < rarely)
	}
	n += truth(v[TravelSpeed] > airliner && v[TravelKilometres] > shortWay)
	n += truth(v[CardDeviation] > far)
	v[Marks] = n
}

// odd says that the card is used as if it were not the card.
func (v *Vector) odd() bool { return v[Marks]-v[Declined] >= oddEnough }
