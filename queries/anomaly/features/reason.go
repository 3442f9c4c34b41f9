package features

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Contribution is how much a feature has added to an event's score, in the score's units.
type Contribution struct {
	Feature Feature
	Weight  float64
}

// Case is an event that wants to be explained.
type Case struct {
	Vector        *Vector
	Place, Before Place // the event's place, and what State.Next returned with the vector
	Contributions []Contribution
}

// Reason is one sentence, and the features that it is about, the main one first. It holds no
// name but those of places, and no token or number that was given in.
type Reason struct {
	Text     string
	Features []Feature
}

// Reasons returns at most n reasons: first what speaks for the event's [Vector.Pattern], then
// what has contributed most to its score. There is always one, if n is not 0.
func (c *Case) Reasons(n int) []Reason {
	weight := [Features]float64{}
	for _, x := range c.Contributions {
		if x.Feature >= 0 && int(x.Feature) < Features && x.Weight > 0 {
			weight[x.Feature] += x.Weight
		}
	}
	type ranked struct {
		Reason
		first  bool
		weight float64
	}
	var found []ranked
	pattern := c.Vector.Pattern()
	for _, s := range sentences {
		text := s.text(c)
		if text == "" {
			continue
		}
		r := ranked{Reason: Reason{text, s.about}, first: s.of == pattern && pattern != Unusual}
		for _, f := range s.about {
			r.weight += weight[f]
		}
		found = append(found, r)
	}
	slices.SortStableFunc(found, func(a, b ranked) int {
		switch {
		case a.first && b.first:
			return 0 // as they stand in the list
		case a.first:
			return -1
		case b.first:
			return 1
		}
		return cmp.Compare(b.weight, a.weight)
	})
	var out []Reason
	for _, r := range found[:min(n, len(found))] {
		out = append(out, r.Reason)
	}
	if len(out) == 0 && n > 0 {
		out = append(out, c.plain())
	}
	return out
}

// plain explains what no sentence fits.
func (c *Case) plain() Reason {
	r := Reason{Text: "none of its figures stands out, but they rarely come together"}
	top := slices.Clone(c.Contributions)
	slices.SortFunc(top, func(a, b Contribution) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Feature, b.Feature))
	})
	for _, x := range top[:min(3, len(top))] {
		r.Features = append(r.Features, x.Feature)
	}
	return r
}

// sentence is a reason as it may be given. It returns an empty text where the event gives no
// cause for it.
type sentence struct {
	of    Pattern // that it speaks for, empty for none
	about []Feature
	text  func(*Case) string
}

// when makes a sentence of a format and the numbers behind it.
func when(holds func(v *Vector) bool, say func(v *Vector) string) func(*Case) string {
	return func(c *Case) string {
		if !holds(c.Vector) {
			return ""
		}
		return say(c.Vector)
	}
}

var sentences = [...]sentence{
	{CardTesting, []Feature{TriedCards, TriedDeclined, TriedShare, MerchantSurge}, when(
		func(v *Vector) bool { return v[TriedCards] >= 3 && v[TriedDeclined] >= 2 },
		func(v *Vector) string {
			return fmt.Sprintf("%s cards tried at this merchant within 10 minutes, %s requests declined", count(v[TriedCards]), count(v[TriedDeclined]))
		})},
	{CardTesting, []Feature{TriedUnknown, UnknownCard, BINUnknown1H}, when(
		func(v *Vector) bool { return v[TriedUnknown] >= 2 },
		func(v *Vector) string {
			return fmt.Sprintf("%s of the numbers tried at this merchant within 10 minutes were never issued", count(v[TriedUnknown]))
		})},
	{CardTesting, []Feature{TriedOfBIN, BINCards1H, BINSurge}, when(
		func(v *Vector) bool { return v[TriedOfBIN] >= 3 && v[TriedDeclined] >= 2 },
		func(v *Vector) string {
			return fmt.Sprintf("%s of the cards tried there begin with the same digits", count(v[TriedOfBIN]))
		})},
	{CardTesting, []Feature{TriedSmall, MerchantDeviation, MCCDeviation}, when(
		func(v *Vector) bool { return v[TriedSmall] >= 3 && v[TriedDeclined] >= 2 },
		func(v *Vector) string {
			return fmt.Sprintf("%s of the requests there are for very small amounts", count(v[TriedSmall]))
		})},
	{CompromisedTerminal, []Feature{CompromiseCards, Compromise}, when(
		func(v *Vector) bool { return v[Compromise] >= 2 && v[CompromiseCards] >= 2 },
		func(v *Vector) string {
			return fmt.Sprintf("%s other cards that had been at one of this card's terminals have been used oddly elsewhere since; by chance that many would be in fewer than 1 case of %s",
				count(v[CompromiseCards]), number(math.Pow(10, math.Floor(float64(min(v[Compromise], 9))))))
		})},
	{ImpossibleTravel, []Feature{TravelSpeed, TravelKilometres, TravelMinutes}, func(c *Case) string {
		v := c.Vector
		if v[TravelKilometres] <= shortWay || v[TravelSpeed] <= airliner {
			return ""
		}
		return fmt.Sprintf("used in %s %s after %s: %s", c.Place.within(), lasting(v[TravelMinutes]), c.Before.within(), distance(v[TravelKilometres]))
	}},
	{StolenCard, []Feature{CardSurge, CardCount1H, CardCount1D, CardSince, CardMerchants1H}, when(
		func(v *Vector) bool { return v[CardSurge] >= 2 && v[CardCount1H] >= 2 }, usesInAnHour)},
	{StolenCard, []Feature{CardRising}, when(
		func(v *Vector) bool { return v[CardRising] >= 3 },
		func(v *Vector) string {
			return fmt.Sprintf("amounts rise %s times in a row", count(v[CardRising]))
		})},
	{StolenCard, []Feature{CardDeclinesInRow, CardDeclined1H, CardDeclined1D}, when(
		func(v *Vector) bool { return v[CardDeclinesInRow] >= 2 },
		func(v *Vector) string {
			return fmt.Sprintf("declined %s times in a row just before", count(v[CardDeclinesInRow]))
		})},
	{StolenCard, []Feature{CardRatio, CardDeviation, Amount}, when(
		func(v *Vector) bool { return v[CardDeviation] >= 2 && v[CardRatio] >= 2 },
		func(v *Vector) string {
			return fmt.Sprintf("%s times the card's usual amount", rate(v[CardRatio]))
		})},
	{"", []Feature{NewCountry}, func(c *Case) string {
		if c.Vector[NewCountry] == 0 || c.Place.Country() == "" {
			return ""
		}
		return "the card's first use in " + c.Place.Country()
	}},
	{CompromisedTerminal, []Feature{NewPlace, PlaceShare, TravelKilometres}, func(c *Case) string {
		if c.Vector[NewPlace] == 0 || c.Place == Nowhere {
			return ""
		}
		return fmt.Sprintf("the card's first use in %s, %s from its last", c.Place.within(), distance(c.Vector[TravelKilometres]))
	}},
	{CompromisedTerminal, []Feature{ByStripe, EntryShare}, when(
		func(v *Vector) bool { return v[ByStripe] == 1 && v[EntryShare] < .2 },
		func(v *Vector) string {
			if v[EntryShare] < .005 {
				return "read by its stripe, as hardly ever before"
			}
			return fmt.Sprintf("read by its stripe, as %s of the card's uses", percent(v[EntryShare]))
		})},
	{"", []Feature{MCCDeviation}, when(
		func(v *Vector) bool { return math.Abs(float64(v[MCCDeviation])) >= 3 },
		func(v *Vector) string {
			return "an amount far " + side(v[MCCDeviation]) + " those of the merchant's category"
		})},
	{"", []Feature{MerchantDeviation, TerminalDeviation}, when(
		func(v *Vector) bool { return math.Abs(float64(v[MerchantDeviation])) >= 3 },
		func(v *Vector) string {
			return "an amount far " + side(v[MerchantDeviation]) + " those of this merchant"
		})},
	{"", []Feature{MerchantSurge, MerchantCount1H, TerminalSurge, TerminalCount1H}, when(
		func(v *Vector) bool { return v[MerchantSurge] >= 4 },
		func(v *Vector) string {
			return fmt.Sprintf("%s events at this merchant within an hour; it has %s a day", count(v[MerchantCount1H]+1), rate(v[MerchantCount30D]/28))
		})},
	{"", []Feature{MerchantDeclined1D, MerchantDeclined1H, MerchantDeclined7D, MerchantDeclined30D, TerminalDeclined1D, TerminalDeclined1H}, when(
		func(v *Vector) bool { return v[MerchantDeclined1D] >= .3 && v[MerchantCount1D] >= 5 },
		func(v *Vector) string {
			return percent(v[MerchantDeclined1D]) + " of a day's requests at this merchant declined"
		})},
	{"", []Feature{UnknownCard}, when(
		func(v *Vector) bool { return v[UnknownCard] == 1 }, func(*Vector) string { return "a card with this number was never issued" })},
	{"", []Feature{CardMerchants1H, CardCount1H, CardCount1D}, when(
		func(v *Vector) bool { return v[CardCount1H] >= 1 && v[CardSurge] < 2 }, usesInAnHour)},
	{"", []Feature{TriedDeclined, TriedCards}, when(
		func(v *Vector) bool { return v[TriedDeclined] >= 1 && (v[TriedCards] < 3 || v[TriedDeclined] < 2) },
		func(*Vector) string { return "a request was declined at this merchant in the 10 minutes before" })},
	{"", []Feature{TravelKilometres, TravelSpeed, PlaceShare}, func(c *Case) string {
		v := c.Vector
		if v[NewPlace] == 1 || v[PlaceShare] >= usualPlace || v[TravelKilometres] <= shortWay || v[TravelSpeed] > airliner || c.Place == Nowhere {
			return ""
		}
		return fmt.Sprintf("in %s, where it is seldom used, %s from its last use", c.Place.within(), distance(v[TravelKilometres]))
	}},
	{"", []Feature{HourShare, Night}, when(
		func(v *Vector) bool { return v[HourShare] < .05 }, func(*Vector) string { return "at an hour when the card is hardly ever used" })},
	{"", []Feature{NewMCC}, when(
		func(v *Vector) bool { return v[NewMCC] == 1 }, func(*Vector) string { return "the card's first use in this merchant category" })},
	{"", []Feature{NewMerchant}, when(
		func(v *Vector) bool { return v[NewMerchant] == 1 }, func(*Vector) string { return "the card's first use at this merchant" })},
	{"", []Feature{CardCount30D, CardDays}, when(
		func(v *Vector) bool { return v[CardCount30D] == 0 }, func(*Vector) string { return "the card's first use in a month" })},
	{"", []Feature{Declined}, when(
		func(v *Vector) bool { return v[Declined] == 1 }, func(*Vector) string { return "declined" })},
}

func usesInAnHour(v *Vector) string {
	return fmt.Sprintf("the card's use number %s within an hour; it makes %s a day", count(v[CardCount1H]+1), rate(v[CardCount30D]/min(max(v[CardDays], 1), 28)))
}

// within names a place so that "in" can stand before it.
func (p Place) within() string {
	if points := atlas().points; p != Nowhere && int(p) < len(points) {
		return points[p].name
	}
	return "an unknown place"
}

func side(deviation float32) string {
	if deviation < 0 {
		return "below"
	}
	return "above"
}

func count(x float32) string { return number(float64(x)) }

// number writes a whole number with commas.
func number(x float64) string {
	s := strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rate keeps one decimal of small numbers.
func rate(x float32) string {
	if x < 10 {
		return strconv.FormatFloat(float64(x), 'f', 1, 32)
	}
	return count(x)
}

func percent(share float32) string { return count(100*share) + " %" }

// distance keeps two digits.
func distance(km float32) string {
	step := math.Pow(10, max(0, math.Floor(math.Log10(max(float64(km), 1)))-1))
	return number(math.Round(float64(km)/step)*step) + " km"
}

func lasting(minutes float32) string {
	n, unit := float64(minutes), "minute"
	switch {
	case n >= 48*60:
		n, unit = n/(24*60), "day"
	case n >= 120:
		n, unit = n/60, "hour"
	}
	if n = math.Max(1, math.Round(n)); n != 1 {
		unit += "s"
	}
	return number(n) + " " + unit
}
