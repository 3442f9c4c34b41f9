package sim

import (
	"slices"
	"time"

	"github.com/cardlake/cardlake"
)

// Traffic plans a run's messages. Message number i is a pure function of the population,
// the timeline and i. A Traffic has scratch memory and is for one goroutine; any number of
// them may share a population.
type Traffic struct {
	p     *Population
	line  Timeline
	dice  dice
	plots [4]*plot // fraud of the latest blocks, by block number modulo 4
	fresh dice     // for making plots, while dice is in use
}

// NewTraffic plans the messages of p along line, of which it keeps a copy.
func NewTraffic(p *Population, line Timeline) *Traffic {
	return &Traffic{p: p, line: slices.Clone(line), dice: newDice(), fresh: newDice()}
}

// class is what a message is.
type class int

const (
	purchase class = iota // 0100
	cancel                // 0400: the customer changed their mind
	timedOut              // 0420: the network did not see the answer in time
	repeat                // xx1: sent again although nothing was lost
)

// Shares of the messages, cumulative.
const (
	repeatShare   = .008
	cancelShare   = repeatShare + .022
	timedOutShare = cancelShare + .006
	lateShare     = .01 // of the purchases: their DE 7 is seconds old when they are sent
)

// classify returns what message i is and which message it refers to.
//
// The distance to that message is a multiple of 64 and depends on the number modulo 64
// only. So within a segment no two messages refer to the same one: nothing is reversed
// twice or repeated twice.
func (t *Traffic) classify(i uint64) (class, uint64) {
	u := unit(hash(t.p.cfg.Seed, domainKind, i))
	if u >= timedOutShare || t.fraud(i) != nil {
		return purchase, i
	}
	seg := t.line.of(i)
	which, least, most := uint64(0), 2.0, 45.0 // seconds
	if u < repeatShare {
		which, least, most = 64, 1, 15
	}
	seconds := least + (most-least)*unit(hash(t.p.cfg.Seed, domainDelay, which+i%64))
	back := 64 * max(1, seg.messages(seconds)/64)
	if i < seg.First+back {
		return purchase, i
	}
	of := i - back
	c, _ := t.classify(of)
	switch {
	case u < repeatShare && c != repeat:
		return repeat, of
	case u < repeatShare || c != purchase || t.fraud(of) != nil:
		return purchase, i
	case u < cancelShare:
		return cancel, of
	}
	return timedOut, of
}

// Distinct reports whether message i is an event of its own, not a repeat.
func (t *Traffic) Distinct(i uint64) bool {
	c, _ := t.classify(i)
	return c != repeat
}

// Message sets m to message i.
func (t *Traffic) Message(i uint64, m *Message) {
	c, of := t.classify(i)
	switch c {
	case purchase:
		t.purchase(i, m)
	case repeat:
		t.Message(of, m)
		m.Number, m.Original, m.Distinct = i, of, false
		m.MTI = map[string]string{"0100": "0101", "0400": "0401", "0420": "0421"}[m.MTI]
	default:
		t.purchase(of, m)
		m.Number, m.MTI = i, "0400"
		if c == timedOut {
			m.MTI = "0420"
		} else if h := hash(t.p.cfg.Seed, domainPurchase, ^i); h%10 == 0 {
			m.keepOf = m.Amount.Minor / int64(2+h>>8%4)
		}
		m.Pattern, m.Episode = "", ""
		m.origSTAN, m.origTime = m.stan, m.Transmitted
		m.stan = uint32(i % 1e6)
		m.Transmitted = wholeSecond(t.line.of(i).at(i))
	}
}

// base sets what every purchase has, before who and where.
func (t *Traffic) base(i uint64, m *Message) (instant int64) {
	instant = t.line.of(i).at(i)
	t.dice.to(t.p.cfg.Seed, domainPurchase, i)
	*m = Message{Number: i, Original: i, Distinct: true, MTI: "0100", stan: uint32(i % 1e6), secret: t.dice.Uint64()}
	if t.dice.Float64() < lateShare {
		instant -= int64(3+t.dice.IntN(40)) * int64(time.Second)
	}
	m.Transmitted = wholeSecond(instant)
	// YDDDhh, then six digits that together with the STAN tell any two of 10^12 messages
	// apart, however fast they follow one another.
	b := appendDigits(m.rrn[:0], uint64(m.Transmitted.Year()), 1)
	b = appendDigits(b, uint64(m.Transmitted.YearDay()), 3)
	b = appendDigits(b, uint64(m.Transmitted.Hour()), 2)
	appendDigits(b, (i+i/1e6)%1e6, 6)
	return instant
}

func wholeSecond(nanos int64) time.Time { return time.Unix(nanos/1e9, 0).UTC() }

func (t *Traffic) purchase(i uint64, m *Message) {
	instant := t.base(i, m)
	if f := t.fraud(i); f != nil {
		t.planned(m, f)
		return
	}
	d, p := t.dice, t.p
	who, at, w := t.buyer(instant)
	h := &p.holders[who]
	id := h.cards[0]
	if h.cards[1] >= 0 && d.IntN(3) == 0 {
		id = h.cards[1]
	}
	t.pay(m, id)
	land := cities[h.home].country
	var shop int32
	switch w {
	case ways: // a bill
		shop = h.recurring[d.IntN(len(h.recurring))]
		t.at(m, shop, 0)
		t.bill(m, who, shop)
		return
	case atFavourite:
		shop = h.favourites[d.IntN(len(h.favourites))]
	case localShop:
		shop = popular(d, p.market.online[land])
	case globalShop:
		shop = popular(d, p.market.online[usa])
	case cashMachine:
		shop = popular(d, p.market.cash[at])
	case byPhone:
		shop = popular(d, p.market.phone[land])
	default:
		hour := int((instant/3600e9 + int64(cities[at].offset) + 24) % 24)
		shop = popular(d, p.market.town[at][drawn(p.taste[h.profile][hour], d.Float64())])
	}
	t.at(m, shop, d.IntN(p.market.all[shop].terminals))
	t.enter(m, w)
	cat := &categories[m.merchant.category]
	t.charge(m, price(d, cat, float64(h.factor), m.merchant.currency()))
}

// buyer draws who buys at an instant, in which city they are, and how they buy; ways stands
// for a bill that falls due that day.
func (t *Traffic) buyer(instant int64) (who int32, at int, w way) {
	d, p := t.dice, t.p
	hour := instant / 3600e9
	if d.Float64() < .05 {
		day := time.Unix(hour*3600, 0).UTC().Day()
		if due := p.bills[min(day, 28)]; len(due) > 0 {
			who = due[d.IntN(len(due))]
			return who, int(p.holders[who].home), ways
		}
	}
	const thursday = 4 // the epoch's weekday
	c := &p.crowds[drawn(p.hours[(hour+thursday*24)%(7*24)], d.Float64())]
	who = c.members[drawn(c.weight, d.Float64())]
	h := &p.holders[who]
	at = t.whereabouts(who, instant)
	w = way(d.pick(lives[h.profile].ways[:]))
	if w == atFavourite && at != int(h.home) {
		w = inTown
	}
	return who, at, w
}

// whereabouts is the city where a holder is. It changes in the small hours of every third
// day at most, so that honest purchases leave time to travel.
func (t *Traffic) whereabouts(who int32, instant int64) int {
	h := &t.p.holders[who]
	span := uint64(instant-8*3600e9) / (3 * 24 * 3600e9)
	dice := hash(t.p.cfg.Seed, domainTrip, uint64(who)<<24^span)
	home := int(h.home)
	if unit(dice) >= lives[h.profile].travels {
		return home
	}
	dice = mix(dice)
	abroad := dice%4 == 0
	for {
		dice = mix(dice)
		to := int(dice % uint64(len(cities)))
		if to != home && abroad == (cities[to].country != cities[home].country) {
			return to
		}
	}
}

// pay sets the card.
func (t *Traffic) pay(m *Message, id int32) {
	c := &t.p.cards[id]
	pr := &t.p.programs[c.program]
	m.Tenant, m.Network, m.Program, m.product = pr.Tenant, pr.Network, pr.Name, pr.Product
	m.PAN, m.expiry = c.pan, c.expiry
	m.Billing.Currency = pr.Currency
}

// at sets the merchant.
func (t *Traffic) at(m *Message, shop int32, terminal int) {
	m.merchant = &t.p.market.all[shop]
	m.terminal = terminal
	m.City = cities[m.merchant.city].name
}

// enter sets how the card meets the merchant.
func (t *Traffic) enter(m *Message, w way) {
	d := t.dice
	m.Channel = cardlake.POS
	switch {
	case w == byPhone:
		m.Channel, m.entry = cardlake.Phone, keyed
	case m.merchant.online:
		m.Channel, m.entry = cardlake.Ecommerce, online
		m.eci = []string{"05", "06", "07"}[d.pick([]float64{.62, .08, .3})]
		if m.Network == cardlake.Mastercard {
			m.eci = map[string]string{"05": "02", "06": "01", "07": "00"}[m.eci]
		}
		if d.IntN(12) == 0 {
			m.wallet = "googlepay"
		}
	case w == cashMachine:
		m.Channel, m.entry = cardlake.ATM, chip
		if d.IntN(12) == 0 {
			m.entry = stripe
		}
	default:
		m.entry = entry(d.pick([]float64{chip: .36, contactless: .53, stripe: .08, fallback: .02, keyed: .01}))
		if categories[m.merchant.category].mcc == "4111" {
			m.entry = contactless
		}
		if m.entry == contactless && d.IntN(5) == 0 {
			m.wallet = []string{"applepay", "googlepay"}[d.IntN(2)]
		}
	}
}

// bill collects the amount that this holder pays this merchant every month.
func (t *Traffic) bill(m *Message, who, shop int32) {
	m.Channel, m.entry = cardlake.Ecommerce, online
	t.dice.to(t.p.cfg.Seed, domainRecurring, uint64(who)<<32|uint64(shop))
	t.charge(m, price(t.dice, &categories[m.merchant.category], 1, m.merchant.currency()))
}

// charge sets the amounts; the network converts what is not in the card's currency.
func (t *Traffic) charge(m *Message, amount cardlake.Money) {
	m.Amount = amount
	if to := m.Billing.Currency; to == amount.Currency {
		m.Billing = amount
	} else {
		m.Billing, m.rate = conversion(amount, to)
	}
}
