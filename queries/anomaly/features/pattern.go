package features

import "math"

// Pattern is a way of fraud that analysts know, or Unusual.
type Pattern string

// The patterns.
const (
	StolenCard          Pattern = "stolen_card"          // a spree with a card that is not the holder's any more
	ImpossibleTravel    Pattern = "impossible_travel"    // present where it cannot have got to
	CardTesting         Pattern = "card_testing"         // many numbers are tried through one merchant
	CompromisedTerminal Pattern = "compromised_terminal" // cards copied at one terminal are used elsewhere
	Unusual             Pattern = "unusual"              // none of these is clear
)

// known are the patterns with a rule; of two that fit as well the first names the event.
var known = [...]Pattern{CardTesting, CompromisedTerminal, ImpossibleTravel, StolenCard}

// Known returns the patterns that have a rule: all but Unusual.
func Known() []Pattern { return append([]Pattern(nil), known[:]...) }

// evident is the signal from which on a pattern is named.
const evident = .5

// Pattern names the strongest of the known patterns whose signal is at least a half, Unusual if
// there is none.
func (v *Vector) Pattern() Pattern {
	name, most := Unusual, evident
	for _, p := range known {
		if s := v.Signal(p); s > most || s == most && name == Unusual {
			name, most = p, s
		}
	}
	return name
}

// Signal says how well the event fits a known pattern: 0 not at all, from a half on clearly, 1
// as it stands in the book. It is 0 for Unusual.
//
//   - CardTesting: the card is not present; at its merchant at least 3 cards were tried in the
//     10 minutes before, at least half of the requests were declined, and more than is usual
//     there. It grows with the number of cards of the same BIN, or of any where the BIN is
//     missing, and of requests for cards that do not exist.
//   - CompromisedTerminal: two marks or more (see Marks) beside a decline, and at least two other cards of a
//     terminal where the card was before with the like, by a chance of less than 1 in 100. It
//     grows with the rarity.
//   - ImpossibleTravel: faster than an airliner, 900 km/h, over more than 100 km, to a place
//     that is not one of the card's usual ones. It grows with the speed.
//   - StolenCard: at least 3 uses in an hour, far more than the card's own month lets expect,
//     unless more than 10 declines in a row show that there is nothing to be had. It grows with
//     the surge, with amounts that rise in a row, that are large for the card, and with declines
//     in a row.
func (v *Vector) Signal(p Pattern) float64 {
	switch p {
	case CardTesting:
		return v.cardTesting()
	case CompromisedTerminal:
		if !v.odd() || v[Compromise] < 2 {
			return 0
		}
		return ramp(v[Compromise], 1, 5)
	case ImpossibleTravel:
		if v[TravelSpeed] <= airliner || v[TravelKilometres] <= shortWay || v[PlaceShare] >= usualPlace {
			return 0
		}
		return .5 + .5*ramp(float32(math.Log10(float64(v[TravelSpeed]/airliner))), 0, 1.5)
	case StolenCard:
		return v.stolenCard()
	}
	return 0
}

// worthless is how many declines in a row show that a card is blocked or spent, whoever holds it.
const worthless = 10

// usualPlace is the share of a card's uses from which on a place is where its holder lives.
const usualPlace = .2

// ramp rises from 0 at low to 1 at high.
func ramp(x, low, high float32) float64 {
	return float64(min(max((x-low)/(high-low), 0), 1))
}

func (v *Vector) cardTesting() float64 {
	if v[Present] == 1 || v[TriedCards] < 3 || v[TriedShare] < .5 || v[TriedShare] < 2*v[MerchantDeclined30D] && v[TriedUnknown] < 3 {
		return 0
	}
	cards := v[TriedOfBIN]
	if v[BINCount1H] == 0 {
		cards = v[TriedCards]
	}
	return .4*ramp(cards, 1, 6) + .3*ramp(v[TriedUnknown], 0, 5) + .3*max(ramp(v[UnknownCard], 0, 1), ramp(v[TriedSmall], 1, 6))
}

func (v *Vector) stolenCard() float64 {
	uses := v[CardCount1H] + 1
	if uses < 3 || v[CardSurge] < 2 || v[CardCount30D] < leastKnown || v[CardDeclinesInRow] > worthless {
		return 0
	}
	return min(.5*ramp(v[CardSurge], 2, 6)+.3*ramp(v[CardRising], 0, 3)+
		.2*ramp(v[CardDeviation], 0, 3)+.2*ramp(v[CardDeclinesInRow], 0, 3), 1)
}

// Severity says how soon somebody should look.
type Severity string

// The severities.
const (
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// SeverityOf ranks an alert by its score, a probability or its like from 0 to 1, and its
// pattern: Critical from 0.9 with a known pattern, High from 0.9 without one and from 0.5 with
// one, Medium from 0.5 without one and below with one, else Low.
func SeverityOf(p Pattern, score float64) Severity {
	named := p != Unusual && p != ""
	switch {
	case score >= .9 && named:
		return Critical
	case score >= .9 || score >= .5 && named:
		return High
	case score >= .5 || named:
		return Medium
	}
	return Low
}
