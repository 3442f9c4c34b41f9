package sim

import (
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
)

// TestEpisodesAreCoherent checks that every label tells the truth about its purchases.
func TestEpisodesAreCoherent(t *testing.T) {
	p := NewPopulation(Config{Seed: 11, CardsTotal: 8000})
	tr := NewTraffic(p, testLine(t, 200, 1))
	const n = 20 * block
	type use struct {
		m       Message
		pan     string
		instant time.Time
	}
	issued := map[string]bool{}
	for c := range p.Cards() {
		issued[string(c.PAN.Digits())] = true
	}
	episodes := map[string][]use{}
	var order []string
	history := map[string][]use{}
	var m Message
	for i := range uint64(n) {
		if tr.Message(i, &m); m.MTI != "0100" {
			if m.Distinct && m.Pattern != "" {
				t.Fatalf("message %d is no purchase and has a label", i)
			}
			continue
		}
		u := use{m, string(m.PAN.Digits()), time.Unix(0, tr.line.of(i).at(i))}
		if (m.Pattern == "") != (m.Episode == "") {
			t.Fatalf("message %d has a pattern or an episode, not both", i)
		}
		if m.Pattern != "" {
			if episodes[m.Episode] == nil {
				order = append(order, m.Episode)
			}
			episodes[m.Episode] = append(episodes[m.Episode], u)
		}
		history[u.pan] = append(history[u.pan], u)
	}
	counts := map[Pattern]int{}
	for _, name := range order {
		uses := episodes[name]
		pattern := uses[0].m.Pattern
		counts[pattern]++
		pans := map[string]bool{}
		for _, u := range uses {
			pans[u.pan] = true
			if u.m.Pattern != pattern {
				t.Fatalf("%s has several patterns", name)
			}
		}
		first, last := uses[0], uses[len(uses)-1]
		switch pattern {
		case StolenCard:
			if len(pans) != 1 || len(uses) < 6 || !issued[first.pan] {
				t.Errorf("%s: %d purchases with %d cards", name, len(uses), len(pans))
			}
			for _, u := range uses {
				if u.m.City != first.m.City {
					t.Errorf("%s: in %s and %s", name, first.m.City, u.m.City)
				}
			}
		case CardTesting:
			ghosts := 0
			for _, u := range uses {
				if !issued[u.pan] {
					ghosts++
				}
				if u.m.merchant != first.m.merchant || u.pan[:8] != first.pan[:8] || u.m.Channel != cardlake.Ecommerce {
					t.Errorf("%s: several shops, BINs or channels", name)
				}
				if dollars := float64(u.m.Amount.Minor) / perUSD(u.m.Amount.Currency); dollars > 350 { // cents, or units of CLP
					t.Errorf("%s: %s is no small amount", name, u.m.Amount)
				}
			}
			if ghosts < len(uses)/2 || last.instant.Sub(first.instant) > 15*time.Minute {
				t.Errorf("%s: %d of %d numbers were never issued, in %s", name, ghosts, len(uses), last.instant.Sub(first.instant))
			}
		case ImpossibleTravel:
			var home *use
			for k := range history[first.pan] {
				if u := &history[first.pan][k]; u.m.Number < first.m.Number && u.m.Channel == cardlake.POS && u.m.Pattern == "" {
					home = u
				}
			}
			if home == nil {
				t.Errorf("%s: no purchase before it", name)
				break
			}
			km := kilometres(home.m.merchant.city, first.m.merchant.city)
			if hours := first.instant.Sub(home.instant).Hours(); km < 1500 || km/hours < 1000 {
				t.Errorf("%s: %.0f km in %.2f hours can be travelled", name, km, hours)
			}
		case CompromisedTerminal:
			// All cards have been at one terminal before.
			common := map[string]int{}
			for pan := range pans {
				seen := map[string]bool{}
				for _, u := range history[pan] {
					if u.m.Number < first.m.Number && u.m.Pattern == "" && u.m.Channel == cardlake.POS {
						seen[string(u.m.merchant.appendTerminal(nil, u.m.terminal))+u.m.merchant.id] = true
					}
				}
				for terminal := range seen {
					common[terminal]++
				}
			}
			most := 0
			for _, k := range common {
				most = max(most, k)
			}
			if most != len(pans) || len(pans) < 3 {
				t.Errorf("%s: %d of %d cards have been at one terminal", name, most, len(pans))
			}
		}
	}
	for _, pattern := range []Pattern{StolenCard, CompromisedTerminal, ImpossibleTravel, CardTesting} {
		if counts[pattern] < 8 {
			t.Errorf("%d episodes of %s in %d messages", counts[pattern], pattern, n)
		}
	}
}

// TestHonestTravelIsPossible looks at single holders: apart from labelled fraud, nobody is in
// two cities within a day's small span.
func TestHonestTravelIsPossible(t *testing.T) {
	p := NewPopulation(Config{Seed: 12, Tenants: 6, CardsTotal: 600})
	tr := NewTraffic(p, testLine(t, 100, 6000)) // 60 simulated seconds a message: a month in 43,200
	last := map[string]*Message{}
	checked, jumps := 0, 0
	for i := range uint64(43_200) {
		var m Message
		if tr.Message(i, &m); m.MTI != "0100" || m.Channel != cardlake.POS || tr.fraud(i) != nil {
			continue
		}
		pan := string(m.PAN.Digits())
		if before := last[pan]; before != nil && m.Transmitted.After(before.Transmitted) {
			checked++
			km := kilometres(before.merchant.city, m.merchant.city)
			if hours := m.Transmitted.Sub(before.Transmitted).Hours(); km > 500 && km/hours > 1000 {
				jumps++
			}
		}
		last[pan] = &m
	}
	if checked < 10_000 || float64(jumps)/float64(checked) > .0005 {
		t.Errorf("%d of %d honest purchases follow impossible travel", jumps, checked)
	}
}

func TestFraudUsesOnlyKnownNumbers(t *testing.T) {
	p := NewPopulation(Config{Seed: 13, Tenants: 20, CardsTotal: 4000})
	known := map[string]bool{}
	p.AllPANs(func(pan card.PAN) bool { known[string(pan.Digits())] = true; return true })
	tr := NewTraffic(p, testLine(t, 600, 1))
	var m Message
	for i := range uint64(100_000) {
		if tr.Message(i, &m); !known[string(m.PAN.Digits())] {
			t.Fatalf("message %d has a card number that AllPANs does not yield", i)
		}
	}
}
