package features_test

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/queries/anomaly/features"
)

func vector(values map[features.Feature]float32) *features.Vector {
	v := &features.Vector{features.PlaceShare: 1, features.EntryShare: 1, features.HourShare: 1}
	for f, x := range values {
		v[f] = x
	}
	return v
}

func TestReasons(t *testing.T) {
	saoPaulo, bogota := features.PlaceOf("BR", "SAO PAULO"), features.PlaceOf("CO", "BOGOTA")
	for _, tt := range []struct {
		name    string
		c       features.Case
		pattern features.Pattern
		want    []string
	}{
		{"card testing", features.Case{Vector: vector(map[features.Feature]float32{
			features.TriedCards: 14, features.TriedDeclined: 13, features.TriedUnknown: 11, features.TriedOfBIN: 14, features.TriedShare: .93,
			features.TriedSmall: 14, features.BINCount1H: 20, features.UnknownCard: 1, features.Declined: 1, features.MerchantDeclined30D: .1,
		})}, features.CardTesting, []string{
			"14 cards tried at this merchant within 10 minutes, 13 requests declined",
			"11 of the numbers tried at this merchant within 10 minutes were never issued",
			"14 of the cards tried there begin with the same digits",
		}},
		{"impossible travel", features.Case{Place: saoPaulo, Before: bogota, Vector: vector(map[features.Feature]float32{
			features.Present: 1, features.TravelKilometres: 4313, features.TravelMinutes: 7, features.TravelSpeed: 36_969, features.PlaceShare: 0, features.NewPlace: 1,
			features.NewCountry: 1, features.NewMerchant: 1,
		}), Contributions: []features.Contribution{{Feature: features.NewMerchant, Weight: .1}, {Feature: features.NewCountry, Weight: .2}}},
			features.ImpossibleTravel, []string{
				"used in São Paulo 7 minutes after Bogotá: 4,300 km",
				"the card's first use in Brazil",
				"the card's first use at this merchant",
			}},
		{"compromised terminal", features.Case{Place: saoPaulo, Before: bogota, Vector: vector(map[features.Feature]float32{
			features.Present: 1, features.ByStripe: 1, features.EntryShare: .03, features.NewPlace: 1, features.PlaceShare: 0, features.Marks: 2,
			features.Compromise: 4.2, features.CompromiseCards: 6, features.TravelKilometres: 4313, features.TravelSpeed: 100,
		})}, features.CompromisedTerminal, []string{
			"6 other cards that had been at one of this card's terminals have been used oddly elsewhere since; by chance that many would be in fewer than 1 case of 10,000",
			"the card's first use in São Paulo, 4,300 km from its last",
			"read by its stripe, as 3 % of the card's uses",
		}},
		{"stolen card", features.Case{Vector: vector(map[features.Feature]float32{
			features.CardCount1H: 6, features.CardSurge: 6.3, features.CardRising: 5, features.CardCount30D: 28, features.CardDays: 40,
			features.CardDeviation: 3, features.CardRatio: 14.2,
		})}, features.StolenCard, []string{
			"the card's use number 7 within an hour; it makes 1.0 a day",
			"amounts rise 5 times in a row",
			"14 times the card's usual amount",
		}},
		{"something else", features.Case{Vector: vector(map[features.Feature]float32{
			features.MCCDeviation: 4, features.NewMCC: 1, features.Declined: 1, features.MerchantDeviation: -3.5,
		}), Contributions: []features.Contribution{
			{Feature: features.NewMCC, Weight: 1}, {Feature: features.MerchantDeviation, Weight: 3}, {Feature: features.Declined, Weight: -9}, {Feature: 999, Weight: 5}, {Feature: -1, Weight: 5},
		}}, features.Unusual, []string{
			"an amount far below those of this merchant",
			"the card's first use in this merchant category",
			"an amount far above those of the merchant's category",
		}},
		{"nothing", features.Case{Vector: vector(map[features.Feature]float32{features.CardCount30D: 4})}, features.Unusual,
			[]string{"none of its figures stands out, but they rarely come together"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if p := tt.c.Vector.Pattern(); p != tt.pattern {
				t.Errorf("pattern %s, want %s", p, tt.pattern)
			}
			var got []string
			for _, r := range tt.c.Reasons(3) {
				got = append(got, r.Text)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if n := len(tt.c.Reasons(0)); n != 0 {
				t.Errorf("%d reasons where none are wanted", n)
			}
		})
	}
}

// TestReasonsHoldNoNumberLikeACard reasons about events of any kind.
func TestReasonsHoldNoNumberLikeACard(t *testing.T) {
	digits := regexp.MustCompile(`\d{6}`)
	d := rand.New(rand.NewPCG(1, 1))
	s := features.New()
	var v features.Vector
	said := map[string]bool{}
	for i, e := range invented(21, 3000, 60) {
		before, err := s.Next(&e, &v)
		if err != nil {
			t.Fatal(err)
		}
		c := features.Case{Vector: &v, Place: e.Place, Before: before}
		for range 5 {
			c.Contributions = append(c.Contributions, features.Contribution{Feature: features.Feature(d.IntN(features.Features)), Weight: d.NormFloat64()})
		}
		for _, r := range c.Reasons(5) {
			if digits.MatchString(r.Text) || len(r.Text) > 200 || len(r.Features) == 0 || strings.Contains(r.Text, "NaN") || strings.Contains(r.Text, "Inf") {
				t.Fatalf("event %d: %q", i, r.Text)
			}
			said[regexp.MustCompile(`[\d.,]+`).ReplaceAllString(r.Text, "#")] = true
		}
	}
	if len(said) < 20 {
		t.Errorf("only %d different sentences", len(said))
	}
}

func TestSeverityOf(t *testing.T) {
	for _, tt := range []struct {
		p     features.Pattern
		score float64
		want  features.Severity
	}{
		{features.CardTesting, .95, features.Critical}, {features.CardTesting, .6, features.High}, {features.CardTesting, .1, features.Medium},
		{features.Unusual, .95, features.High}, {features.Unusual, .6, features.Medium}, {features.Unusual, .1, features.Low}, {"", .6, features.Medium},
	} {
		if got := features.SeverityOf(tt.p, tt.score); got != tt.want {
			t.Errorf("%s, %g: %s, want %s", tt.p, tt.score, got, tt.want)
		}
	}
}

// TestSignalsStayInRange tries vectors of every kind, and masked BINs.
func TestSignalsStayInRange(t *testing.T) {
	d := rand.New(rand.NewPCG(2, 2))
	for range 20_000 {
		var v features.Vector
		for f := range v {
			v[f] = float32(d.IntN(3)) * float32(d.ExpFloat64())
		}
		for _, p := range append(features.Known(), features.Unusual) {
			if s := v.Signal(p); !(s >= 0 && s <= 1) || p == features.Unusual && s != 0 {
				t.Fatalf("%s: %g of %v", p, s, v)
			}
		}
	}
	// Without a BIN all the cards at the merchant count.
	v := vector(map[features.Feature]float32{features.TriedCards: 8, features.TriedDeclined: 8, features.TriedUnknown: 6, features.TriedShare: 1, features.UnknownCard: 1})
	if s := v.Signal(features.CardTesting); s < .9 {
		t.Errorf("card testing with a masked BIN: %.2f", s)
	}
}
