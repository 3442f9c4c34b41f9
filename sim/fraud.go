package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
)

// block is how many consecutive messages share one plot. An episode lies within a block.
const block = 16_384

// plot is the fraud of one block, in order of number.
type plot struct {
	block uint64
	moves []move
}

// move is one purchase that a plot prescribes. Without a pattern it is the honest
// groundwork of an episode: a card used at the terminal that copies it, or at home before it
// shows up abroad.
type move struct {
	number   uint64
	pattern  Pattern
	episode  string
	card     int32
	ghost    int32 // number that was never issued, of program, instead of card; -1 for none
	program  int32
	shop     int32
	terminal int
	way      way
	entry    entry // when way is inTown
	dollars  float64
}

// fraud returns what the plot prescribes for message i, nil if nothing.
func (t *Traffic) fraud(i uint64) *move {
	b := i / block
	p := t.plots[b%uint64(len(t.plots))]
	if p == nil || p.block != b {
		p = t.hatch(b)
		t.plots[b%uint64(len(t.plots))] = p
	}
	k, ok := slices.BinarySearchFunc(p.moves, i, func(m move, i uint64) int { return cmp.Compare(m.number, i) })
	if !ok {
		return nil
	}
	return &p.moves[k]
}

// hatch makes the plot of a block. Of the timeline it uses what is in force at the block's
// first message, so that a later segment leaves the plot as it is.
func (t *Traffic) hatch(b uint64) *plot {
	t.fresh.to(t.p.cfg.Seed, domainFraud, b)
	s := &schemer{Traffic: t, d: t.fresh, first: b * block, taken: map[uint64]bool{}, plot: &plot{block: b}}
	s.segment = t.line.of(s.first)
	s.instant = s.segment.at(s.first)
	if s.d.Float64() < .6 {
		s.testCards()
	}
	s.spree()
	s.spree()
	for range 3 {
		s.travelImpossibly()
	}
	s.compromiseTerminal()
	slices.SortFunc(s.plot.moves, func(a, b move) int { return cmp.Compare(a.number, b.number) })
	return s.plot
}

// schemer makes one plot.
type schemer struct {
	*Traffic
	d        dice
	first    uint64
	segment  Segment
	instant  int64
	taken    map[uint64]bool
	episodes int
	plot     *plot
}

func (s *schemer) episode() string {
	s.episodes++
	return fmt.Sprintf("ep-%d-%d", s.first/block, s.episodes)
}

// span is how many messages pass in so many seconds of the simulated calendar, at most
// most, and enough for n.
func (s *schemer) span(seconds float64, most, n int) int {
	clock := seconds * 1000 / float64(s.segment.Speed)
	return int(max(min(s.segment.messages(clock), uint64(most)), uint64(4*n)))
}

// slots takes n free numbers from [lo, hi) of the block, in order.
func (s *schemer) slots(n, lo, hi int) []uint64 {
	out := make([]uint64, 0, n)
	for len(out) < n {
		i := s.first + uint64(lo+s.d.IntN(hi-lo))
		if !s.taken[i] {
			s.taken[i] = true
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out
}

func (s *schemer) add(m move) { s.plot.moves = append(s.plot.moves, m) }

// victim draws a card that works.
func (s *schemer) victim() int32 {
	for {
		id := int32(s.d.IntN(len(s.p.cards)))
		if c := &s.p.cards[id]; c.status == card.Active && c.expiry[0] != '2' {
			return id
		}
	}
}

func (s *schemer) home(id int32) int { return s.whereabouts(s.p.cards[id].holder, s.instant) }

func (s *schemer) shop(city int, names ...string) int32 {
	from := s.p.market.town[city][categoryNamed(names[s.d.IntN(len(names))])]
	return from[s.d.IntN(len(from))]
}

// spree: a thief spends what the card gives before it is blocked, ever more.
func (s *schemer) spree() {
	n := 6 + s.d.IntN(9)
	span := s.span(2*3600, block/2, n)
	lo := s.d.IntN(block - span)
	id, name := s.victim(), s.episode()
	city, dollars := s.home(id), 4+8*s.d.Float64()
	for _, i := range s.slots(n, lo, lo+span) {
		m := move{number: i, pattern: StolenCard, episode: name, card: id, ghost: -1, way: inTown, entry: contactless, dollars: dollars}
		m.shop = s.shop(city, "convenience", "fuel", "liquor", "electronics", "jewellery", "clothing", "department", "cash")
		if categories[s.p.market.all[m.shop].category].takesPIN {
			m.way = cashMachine
		} else if dollars > 40 {
			m.entry = stripe
		}
		s.add(m)
		dollars *= 1.2 + .3*s.d.Float64()
	}
}

// travelImpossibly: used at home, and minutes later far away.
func (s *schemer) travelImpossibly() {
	n := 1 + s.d.IntN(3)
	span := s.span(20*60, block/2, n+1)
	lo := s.d.IntN(block - span)
	id, name := s.victim(), s.episode()
	home := s.home(id)
	away := s.d.IntN(len(cities))
	for cities[away].country == cities[home].country || kilometres(home, away) < 1500 {
		away = s.d.IntN(len(cities))
	}
	for k, i := range s.slots(n+1, lo, lo+span) {
		m := move{number: i, card: id, ghost: -1, way: inTown, entry: chip, dollars: 5 + 20*s.d.Float64(), shop: s.shop(home, "grocery", "coffee", "pharmacy")}
		if k > 0 {
			m.pattern, m.episode, m.entry = ImpossibleTravel, name, stripe
			m.shop, m.dollars = s.shop(away, "electronics", "department", "clothing", "hotel"), 60+240*s.d.Float64()
		}
		s.add(m)
	}
}

// testCards: a thief tries a BIN's numbers, most of them never issued, through one shop.
func (s *schemer) testCards() {
	n := 18 + s.d.IntN(31)
	span := s.span(10*60, block/4, n)
	lo := s.d.IntN(block - span)
	name := s.episode()
	lure := s.p.cards[s.victim()].program
	land := s.p.programs[lure].country
	if s.d.IntN(2) == 0 {
		land = usa
	}
	shops := s.p.market.online[land]
	shop := shops[s.d.IntN(len(shops))]
	for _, i := range s.slots(n, lo, lo+span) {
		m := move{number: i, pattern: CardTesting, episode: name, program: lure, ghost: int32(s.d.IntN(ghostsPerProgram)), shop: shop, way: globalShop, dollars: .5 + 2.5*s.d.Float64()}
		if s.d.IntN(7) == 0 {
			if id := s.victim(); s.p.cards[id].program == lure {
				m.card, m.ghost = id, -1
			}
		}
		s.add(m)
	}
}

// compromiseTerminal: cards that one terminal copied in the block's first part are used
// elsewhere in its last part.
func (s *schemer) compromiseTerminal() {
	id, name := s.victim(), s.episode()
	city := s.home(id)
	where := s.shop(city, "fuel", "restaurant", "parking")
	terminal := s.d.IntN(s.p.market.all[where].terminals)
	n := 8 + s.d.IntN(7)
	for _, i := range s.slots(n, 0, block*2/5) {
		for try := 0; try < 200 && s.home(id) != city; try++ {
			id = s.victim()
		}
		if s.home(id) != city {
			continue
		}
		s.add(move{number: i, card: id, ghost: -1, shop: where, terminal: terminal, way: inTown, entry: stripe, dollars: 8 + 20*s.d.Float64()})
		for _, j := range s.slots(1+s.d.IntN(2), block*3/5, block) {
			m := move{number: j, pattern: CompromisedTerminal, episode: name, card: id, ghost: -1, way: inTown, entry: stripe, dollars: 30 + 150*s.d.Float64()}
			other := s.d.IntN(len(cities))
			for other == city {
				other = s.d.IntN(len(cities))
			}
			if m.shop = s.shop(other, "electronics", "department", "jewellery", "cash"); categories[s.p.market.all[m.shop].category].takesPIN {
				m.way = cashMachine
			}
			s.add(m)
		}
		id = s.victim()
	}
}

// planned sets m to what a move prescribes.
func (t *Traffic) planned(m *Message, f *move) {
	if f.ghost >= 0 {
		pr := &t.p.programs[f.program]
		m.Tenant, m.Network, m.Program, m.product = pr.Tenant, pr.Network, pr.Name, pr.Product
		m.PAN = pr.ghosts[f.ghost]
		m.Billing.Currency = pr.Currency
		copy(m.expiry[:], fmt.Sprintf("%02d%02d", 30+f.ghost%6, 1+f.ghost%12))
	} else {
		t.pay(m, f.card)
	}
	m.Pattern, m.Episode = f.pattern, f.episode
	t.at(m, f.shop, f.terminal)
	t.enter(m, f.way)
	if f.way == inTown && m.Channel == cardlake.POS {
		m.entry, m.wallet = f.entry, ""
	}
	in := m.merchant.currency()
	units := f.dollars * perUSD(in)
	if m.Channel == cardlake.ATM {
		step := roundStep(in) * 10
		units = math.Max(1, math.Round(units/step)) * step
	}
	t.charge(m, moneyOf(units, in))
}
