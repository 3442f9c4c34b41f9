package sim

import (
	"fmt"
	"math"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/processor/iso8583"
)

// merchant is one card acceptor. Its strings are ready for a message.
type merchant struct {
	id        string // DE 42, 15 characters, never more than 4 digits in a row
	acceptor  string // DE 43, 40 characters
	acquirer  string // DE 32
	name      string
	category  int
	city      int
	terminals int
	online    bool
}

func (m *merchant) country() *country           { return &countries[cities[m.city].country] }
func (m *merchant) currency() cardlake.Currency { return m.country().currency }

// appendTerminal appends DE 41 of the merchant's terminal n: 8 characters, at most 3 digits
// in a row.
func (m *merchant) appendTerminal(dst []byte, n int) []byte {
	dst = append(dst, m.id[6:11]...)
	return append(dst, byte('0'+n/100%10), byte('0'+n/10%10), byte('0'+n%10))
}

// market holds the merchants and who sells what where.
type market struct {
	all    []merchant
	town   [len(cities)][len(categories)][]int32
	online [len(countries)][]int32 // shops on the net, those of the USA sell everywhere
	biller [len(countries)][]int32
	phone  [len(countries)][]int32
	cash   [len(cities)][]int32
}

func newMarket(d dice, seed uint64, cards int) *market {
	d.to(seed, domainMerchants, 0)
	m := &market{}
	scale := math.Sqrt(float64(max(cards, 1000)) / 20_000)
	for at := range cities {
		c := &cities[at]
		for i := range categories {
			cat := &categories[i]
			n := 0
			switch {
			case cat.takesPIN:
				n = 2 + int(2*c.weight*scale)
			case cat.weight > 0:
				n = 1 + int(math.Sqrt(cat.weight*c.weight)*scale*(.4+.6*d.Float64()))
			}
			for range n {
				k := m.add(d, at, i, false, fmt.Sprintf("%s %s", cat.sign, merchantWords[d.IntN(len(merchantWords))]))
				m.town[at][i] = append(m.town[at][i], k)
				if cat.takesPIN {
					m.cash[at] = append(m.cash[at], k)
				}
				if cat.phone && c.country < issuingCountries {
					m.phone[c.country] = append(m.phone[c.country], k)
				}
			}
		}
	}
	for at := range cities {
		land := cities[at].country
		if land >= issuingCountries || len(m.online[land]) > 0 {
			continue // shops and billers sit in the country's first city
		}
		for i := range categories {
			cat := &categories[i]
			for range 3 {
				name := fmt.Sprintf("%s %s", cat.sign, merchantWords[d.IntN(len(merchantWords))])
				if cat.online {
					m.online[land] = append(m.online[land], m.add(d, at, i, true, "WWW "+name))
				}
				if cat.biller {
					m.biller[land] = append(m.biller[land], m.add(d, at, i, true, name))
				}
			}
		}
	}
	for _, s := range globalShops {
		k := m.add(d, cityNamed("San Francisco"), categoryNamed(s.category), true, s.name)
		if m.online[usa] = append(m.online[usa], k); s.recurring {
			m.biller[usa] = append(m.biller[usa], k)
		}
	}
	return m
}

func (m *market) add(d dice, at, cat int, online bool, name string) int32 {
	n := len(m.all)
	land := &countries[cities[at].country]
	x := merchant{
		id:       merchantID(land.code, categories[cat].mcc, n),
		acquirer: land.acquirers[d.IntN(len(land.acquirers))],
		name:     strings.ToUpper(name),
		category: cat, city: at, online: online, terminals: 1 + d.IntN(4),
	}
	if online {
		x.terminals = 1
	}
	x.acceptor = iso8583.Acceptor{Name: x.name, City: strings.ToUpper(cities[at].name), Country: land.code}.String()
	m.all = append(m.all, x)
	return int32(n)
}

// merchantID spells the country, the category, the merchant's number in letters and a
// branch: "MX5411QAAEB0017".
func merchantID(country, mcc string, n int) string {
	b := append([]byte(country+mcc), "AAAAA"...)
	for i, v := 10, n; v > 0; i, v = i-1, v/26 {
		b[i] = byte('A' + v%26)
	}
	return fmt.Sprintf("%s%04d", b, n*37%10_000)
}

func cityNamed(name string) int {
	for i := range cities {
		if cities[i].name == name {
			return i
		}
	}
	panic("sim: no city " + name)
}

// popular picks one of the merchants, those at the front more often.
func popular(d dice, from []int32) int32 {
	u := d.Float64()
	return from[int(u*u*float64(len(from)))]
}

// price draws an amount of the category in the currency, moved by the buyer's factor.
func price(d dice, cat *category, factor float64, in cardlake.Currency) cardlake.Money {
	units := cat.median * factor * math.Exp(cat.sigma*d.NormFloat64()) * perUSD(in)
	switch {
	case cat.takesPIN: // notes
		step := roundStep(in) * 10
		return moneyOf(max(1, math.Round(units/step))*step, in)
	case d.Float64() < .4:
		step := roundStep(in)
		return moneyOf(max(1, math.Round(units/step))*step, in)
	case d.Float64() < .5:
		return moneyOf(math.Floor(units)+.9, in)
	}
	return moneyOf(units, in)
}

// roundStep is what round prices are multiples of, in units of the currency.
func roundStep(c cardlake.Currency) float64 {
	return math.Pow10(max(0, int(math.Floor(math.Log10(perUSD(c))))-1))
}

// moneyOf is at least one minor unit, and at most what any of the countries would let pass.
func moneyOf(units float64, c cardlake.Currency) cardlake.Money {
	e, _ := c.Exponent()
	minor := int64(math.Round(units * math.Pow10(e)))
	return cardlake.Money{Minor: min(max(minor, 1), 9_999_999_999), Currency: c}
}
