package sim

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sort"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
)

// Config says which population to make. The same Config makes the same population.
type Config struct {
	Seed       uint64
	Tenants    int // 1 to MaxTenants; 0 means 12
	CardsTotal int // of all tenants together, at least 10 a tenant; 0 means 20,000
}

// MaxCards is the largest number of cards that a population can have.
const MaxCards = 5_000_000

func (c Config) withDefaults() Config {
	if c.Tenants == 0 {
		c.Tenants = 12
	}
	if c.CardsTotal == 0 {
		c.CardsTotal = max(20_000, 10*c.Tenants)
	}
	return c
}

// Validate reports every setting that is out of its range.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Tenants < 1 || c.Tenants > MaxTenants {
		errs = append(errs, fmt.Errorf("tenants: %d is not from 1 to %d", c.Tenants, MaxTenants))
	}
	if c.CardsTotal < 10*c.Tenants || c.CardsTotal > MaxCards {
		errs = append(errs, fmt.Errorf("cards: %d is not from %d (10 a tenant) to %d", c.CardsTotal, 10*c.Tenants, MaxCards))
	}
	return errors.Join(errs...)
}

// Program is a card programme of a tenant. Its BIN belongs to it alone.
type Program struct {
	Name     string // "aurora-pay-visa-credit"
	Tenant   cardlake.Tenant
	Network  cardlake.Network
	Product  cardlake.Product
	BIN      string // 8 digits, invented
	Currency cardlake.Currency
	Country  string // ISO 3166-1 alpha-2

	tenant  int
	country int
	share   float64
	ghosts  []card.PAN // numbers of the BIN that were never issued and get tried by card testers
}

const ghostsPerProgram = 100

// plastic is one issued card.
type plastic struct {
	pan     card.PAN
	program int32
	holder  int32
	expiry  [4]byte // YYMM
	status  card.Status
	limit   int64
}

// holder is one cardholder.
type holder struct {
	home       int16 // city
	profile    uint8
	billingDay uint8    // 1 to 28
	factor     float32  // on amounts, by income
	income     float32  // US dollars a month
	weight     float64  // activity
	cards      [2]int32 // the second is -1 for most
	favourites [5]int32 // merchants
	recurring  [3]int32 // merchants
}

// Population is the tenants, their cards, the cardholders and the merchants. It does not
// change after NewPopulation; any number of goroutines may read it.
type Population struct {
	cfg      Config
	tenants  []cardlake.Tenant
	programs []Program
	cards    []plastic
	holders  []holder
	market   *market

	// Holders who live alike on the same clock are one crowd: their ways through the week
	// are the same, so that the choice of a buyer is the choice of a crowd, by the hour, and
	// of one of its members.
	crowds []crowd
	hours  [7 * 24][]float64 // UTC hour of the week from Sunday 00:00: cumulative weights of crowds
	bills  [29][]int32       // holders by billing day
	taste  [profiles][24][]float64
}

type crowd struct {
	profile profile
	offset  int
	members []int32
	weight  []float64 // cumulative
}

// NewPopulation makes the population of cfg, which must be valid (see [Config.Validate]):
// it panics on a number of tenants or cards out of range.
func NewPopulation(cfg Config) *Population {
	if err := cfg.Validate(); err != nil {
		panic("sim: " + err.Error())
	}
	cfg = cfg.withDefaults()
	d := newDice()
	p := &Population{cfg: cfg}
	p.makeTenants(d)
	p.market = newMarket(d, cfg.Seed, cfg.CardsTotal)
	p.makeCards(d)
	p.makeCrowds()
	return p
}

// Config returns the population's settings, defaults filled in.
func (p *Population) Config() Config { return p.cfg }

// Size is the number of cards.
func (p *Population) Size() int { return len(p.cards) }

// Tenants returns the tenants, the largest first.
func (p *Population) Tenants() []cardlake.Tenant { return slices.Clone(p.tenants) }

// Programs returns the card programmes, in the tenants' order.
func (p *Population) Programs() []Program {
	out := slices.Clone(p.programs)
	for i := range out {
		out[i].ghosts = nil
	}
	return out
}

func (p *Population) makeTenants(d dice) {
	d.to(p.cfg.Seed, domainTenants, 0)
	words := d.Perm(MaxTenants)
	bins := map[string]bool{}
	for t := range p.cfg.Tenants {
		name := cardlake.Tenant(tenantWords[words[t]] + "-" + tenantTrades[d.IntN(len(tenantTrades))])
		p.tenants = append(p.tenants, name)
		// The large have more programmes: four for the first, one for most of the tail.
		n := 1 + d.IntN(max(1, min(4, 5-t*5/p.cfg.Tenants)))
		if t == 0 {
			n = 4
		}
		for k, kind := range d.Perm(6)[:n] {
			pr := Program{
				Tenant: name, tenant: t, country: t % issuingCountries, share: 1 / float64(k+1),
				Network: [...]cardlake.Network{cardlake.Visa, cardlake.Mastercard}[kind%2],
				Product: [...]cardlake.Product{cardlake.Prepaid, cardlake.Debit, cardlake.Credit}[kind/2],
			}
			pr.Name = fmt.Sprintf("%s-%s-%s", name, pr.Network, pr.Product)
			pr.Country, pr.Currency = countries[pr.country].code, countries[pr.country].currency
			for pr.BIN == "" || bins[pr.BIN[:6]] {
				pr.BIN = newBIN(d, pr.Network)
			}
			bins[pr.BIN[:6]] = true
			p.programs = append(p.programs, pr)
		}
	}
}

// newBIN draws from the networks' ranges (ISO/IEC 7812-1 issuer numbers: Visa 4,
// Mastercard 51-55 and 2221-2720).
func newBIN(d dice, n cardlake.Network) string {
	switch {
	case n == cardlake.Visa:
		return fmt.Sprintf("4%07d", d.IntN(10_000_000))
	case d.IntN(3) == 0:
		return fmt.Sprintf("%04d%04d", 2221+d.IntN(500), d.IntN(10_000))
	}
	return fmt.Sprintf("%d%06d", 51+d.IntN(5), d.IntN(1_000_000))
}

// number is the n-th card number of the BIN: a bijection of n below 10^7, so that numbers
// look drawn and none comes twice.
func (pr *Program) number(seed uint64, n int) card.PAN {
	const size = 10_000_000
	k := hash(seed, domainPrograms, uint64(pr.tenant)) % size
	body := (uint64(n)*7_368_787 + k) % size // the factor has neither 2 nor 5 in it, so no two n meet
	digits := fmt.Appendf(make([]byte, 0, 16), "%s%07d", pr.BIN, body)
	digits = append(digits, card.LuhnDigit(digits))
	pan, err := card.ParsePAN(digits)
	if err != nil {
		panic("sim: " + err.Error()) // 16 digits by construction
	}
	return pan
}

// sizes shares total among n by Zipf's law, at least least for each.
func sizes(total, n, least int) []int {
	sum := 0.0
	for i := range n {
		sum += math.Pow(float64(i+1), -.9)
	}
	out, left := make([]int, n), total-n*least
	for i := range n {
		out[i] = least + int(float64(total-n*least)*math.Pow(float64(i+1), -.9)/sum)
		left -= out[i] - least
	}
	out[0] += left
	return out
}

func (p *Population) makeCards(d dice) {
	d.to(p.cfg.Seed, domainCards, 0)
	count := sizes(p.cfg.CardsTotal, p.cfg.Tenants, 10)
	p.cards = make([]plastic, 0, p.cfg.CardsTotal)
	for at := 0; at < len(p.programs); {
		t := p.programs[at].tenant
		end, shares := at, 0.0
		for ; end < len(p.programs) && p.programs[end].tenant == t; end++ {
			shares += p.programs[end].share
		}
		left, first := count[t], len(p.holders)
		for i := at; i < end; i++ {
			pr := &p.programs[i]
			n := min(left, int(float64(count[t])*pr.share/shares))
			if i == end-1 {
				n = left
			}
			left -= n
			for k := range n {
				p.makeCard(d, int32(i), k, first)
			}
			for k := range ghostsPerProgram {
				pr.ghosts = append(pr.ghosts, pr.number(p.cfg.Seed, n+k))
			}
		}
		at = end
	}
}

// makeCard issues card k of a programme, to a new holder or as second card to a holder of
// the same tenant, whose holders begin at first.
func (p *Population) makeCard(d dice, program int32, k, first int) {
	pr := &p.programs[program]
	id := int32(len(p.cards))
	c := plastic{pan: pr.number(p.cfg.Seed, k), program: program, status: card.Active}
	copy(c.expiry[:], fmt.Sprintf("%02d%02d", 30+d.IntN(6), 1+d.IntN(12)))
	c.holder = -1
	if n := len(p.holders) - first; n > 20 && d.Float64() < .13 {
		if h := first + d.IntN(n); p.holders[h].cards[1] < 0 && p.cards[p.holders[h].cards[0]].program != program {
			p.holders[h].cards[1] = id
			c.holder = int32(h)
		}
	}
	if c.holder < 0 {
		c.holder = int32(len(p.holders))
		p.holders = append(p.holders, p.newHolder(d, pr.country, id))
	}
	h := &p.holders[c.holder]
	switch u := d.Float64(); {
	case u < .010:
		c.status = card.Blocked
	case u < .014:
		c.status = card.Stolen
	case u < .022:
		copy(c.expiry[:], fmt.Sprintf("%02d%02d", 22+d.IntN(3), 1+d.IntN(12)))
	}
	// Some cards are nearly spent and soon declined; the others last for hundreds of purchases,
	// because nobody tops up a card in a simulation.
	short := map[cardlake.Product]float64{cardlake.Prepaid: .26, cardlake.Debit: .17, cardlake.Credit: .05}[pr.Product]
	months := 4 * math.Exp(.5*d.NormFloat64())
	if d.Float64() < short {
		months = .02 + .1*d.Float64()
	}
	limit := float64(h.income) * countries[pr.country].perUSD * months
	step := roundStep(pr.Currency) * 10
	c.limit = moneyOf(math.Max(1, math.Round(limit/step))*step, pr.Currency).Minor
	if c.status != card.Active || c.expiry[0] == '2' {
		h.weight *= .3
	}
	p.cards = append(p.cards, c)
}

func (p *Population) newHolder(d dice, land int, id int32) holder {
	var at [len(cities)]float64
	for i := range cities {
		if cities[i].country == land {
			at[i] = cities[i].weight
		}
	}
	var shares [profiles]float64
	for i := range lives {
		shares[i] = lives[i].share
	}
	prof := profile(d.pick(shares[:]))
	income := countries[land].income * lives[prof].income * math.Exp(.6*d.NormFloat64())
	h := holder{
		home: int16(d.pick(at[:])), profile: uint8(prof), billingDay: uint8(1 + d.IntN(28)), income: float32(income),
		factor: float32(math.Min(3, math.Max(.4, math.Sqrt(income/600)))),
		weight: lives[prof].activity * math.Exp(.7*d.NormFloat64()), cards: [2]int32{id, -1},
	}
	for i := range h.favourites {
		// Favourites are where one goes at one's usual hours.
		hour := d.pick(lives[prof].weekday[:])
		w := appetite(prof, hour)
		h.favourites[i] = popular(d, p.market.town[h.home][d.pick(w[:])])
	}
	for i := range h.recurring {
		from := p.market.biller[land]
		if d.IntN(4) == 0 {
			from = p.market.biller[usa]
		}
		h.recurring[i] = from[d.IntN(len(from))]
	}
	return h
}

func (p *Population) makeCrowds() {
	index := map[[2]int]int{}
	for i := range p.holders {
		h := &p.holders[i]
		key := [2]int{int(h.profile), cities[h.home].offset}
		k, ok := index[key]
		if !ok {
			k = len(p.crowds)
			index[key] = k
			p.crowds = append(p.crowds, crowd{profile: profile(h.profile), offset: cities[h.home].offset})
		}
		c := &p.crowds[k]
		sum := h.weight
		if len(c.weight) > 0 {
			sum += c.weight[len(c.weight)-1]
		}
		c.members, c.weight = append(c.members, int32(i)), append(c.weight, sum)
		p.bills[h.billingDay] = append(p.bills[h.billingDay], int32(i))
	}
	for hour := range p.hours {
		sum := 0.0
		for _, c := range p.crowds {
			local := (hour + c.offset + 7*24) % (7 * 24)
			curve := &lives[c.profile].weekday
			if day := local / 24; day == 0 || day == 6 {
				curve = &lives[c.profile].weekend
			}
			sum += c.weight[len(c.weight)-1] * curve[local%24]
			p.hours[hour] = append(p.hours[hour], sum)
		}
	}
	for prof := range profiles {
		for hour := range 24 {
			w := appetite(prof, hour)
			cumulate(w[:])
			p.taste[prof][hour] = w[:]
		}
	}
}

func cumulate(w []float64) {
	for i := 1; i < len(w); i++ {
		w[i] += w[i-1]
	}
}

// drawn returns the index that u, from [0, 1), falls on in cumulative weights.
func drawn(cumulative []float64, u float64) int {
	u *= cumulative[len(cumulative)-1]
	return min(sort.Search(len(cumulative), func(i int) bool { return cumulative[i] > u }), len(cumulative)-1)
}

// Cards returns every issued card, for the processor's card file.
func (p *Population) Cards() iter.Seq[card.Issued] {
	return func(yield func(card.Issued) bool) {
		for i := range p.cards {
			c := &p.cards[i]
			pr := &p.programs[c.program]
			if !yield(card.Issued{
				PAN: c.pan, Tenant: pr.Tenant, Program: pr.Name, Network: pr.Network, Product: pr.Product,
				CustomerID: opaque("cu", hash(p.cfg.Seed, domainCustomer, uint64(c.holder))),
				AccountID:  opaque("ac", hash(p.cfg.Seed, domainAccount, uint64(i))),
				Expiry:     string(c.expiry[:]), Status: c.status, Currency: pr.Currency, Limit: c.limit,
			}) {
				return
			}
		}
	}
}

// opaque spells an id in letters: unique, because hash is a bijection of its last argument.
func opaque(kind string, id uint64) string {
	var raw [8]byte
	for i := range raw {
		raw[i] = byte(id >> (8 * i))
	}
	return string(cardlake.AppendLetters([]byte(kind), raw[:]))
}

// AllPANs yields every card number that a run may use: the issued ones, and those that were
// never issued and are tried by card testers.
func (p *Population) AllPANs(yield func(card.PAN) bool) {
	for i := range p.cards {
		if !yield(p.cards[i].pan) {
			return
		}
	}
	for i := range p.programs {
		for _, pan := range p.programs[i].ghosts {
			if !yield(pan) {
				return
			}
		}
	}
}
