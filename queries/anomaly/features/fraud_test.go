package features_test

import (
	"cmp"
	"slices"
	"testing"

	"github.com/cardlake/cardlake/queries/anomaly/features"
	"github.com/cardlake/cardlake/sim"
)

// found is what a pattern's signal makes of the days after the first ones: of the events that it
// names, at most 100 a day with the strongest signal.
type found struct {
	alerts, fraud, right, events int             // right: of the pattern, which fraud need not be
	episodes                     map[string]bool // true if one of its events was named
}

// TestHiddenFraud streams the simulator's traffic, in which fraud is hidden, and compares what
// the signals name with labels that the features never see. A third event of an episode is the
// first that can be told from honest use, hence recall by episode. The bounds are loose: a
// failure means that a feature has lost its meaning.
func TestHiddenFraud(t *testing.T) {
	in := traffic(t, 21, 1, 4000, 16, 10_000)
	const warm, budget = 6 * 86400e6, 100
	s := features.New()
	type candidate struct {
		*labelled
		signal float64
		day    int64
	}
	named := map[features.Pattern][]candidate{}
	result := map[features.Pattern]*found{}
	for _, p := range features.Known() {
		result[p] = &found{episodes: map[string]bool{}}
	}
	var v features.Vector
	for i := range in {
		e := &in[i]
		if _, err := s.Next(&e.Event, &v); err != nil {
			t.Fatal(err)
		}
		if e.Time-in[0].Time < warm {
			continue
		}
		if e.pattern != "" {
			r := result[features.Pattern(e.pattern)]
			r.events++
			r.episodes[e.episode] = r.episodes[e.episode] || false
		}
		if p := v.Pattern(); p != features.Unusual {
			named[p] = append(named[p], candidate{e, v.Signal(p), e.Time / 86400e6})
		}
	}
	for p, r := range result {
		slices.SortStableFunc(named[p], func(a, b candidate) int {
			return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(b.signal, a.signal))
		})
		today, n := int64(0), 0
		for _, c := range named[p] {
			if c.day != today {
				today, n = c.day, 0
			}
			if n++; n > budget {
				continue
			}
			r.alerts++
			if c.pattern != "" {
				r.fraud++
			}
			if c.pattern == sim.Pattern(p) {
				r.right++
				r.episodes[c.episode] = true
			}
		}
	}
	for p, least := range map[features.Pattern]struct{ precision, recall float64 }{
		features.CardTesting:         {.8, .8},
		features.ImpossibleTravel:    {.3, .8},
		features.StolenCard:          {.5, .7},
		features.CompromisedTerminal: {.3, .5},
	} {
		r := result[p]
		whole := 0
		for _, ok := range r.episodes {
			if ok {
				whole++
			}
		}
		precision, recall := float64(r.fraud)/float64(max(r.alerts, 1)), float64(whole)/float64(max(len(r.episodes), 1))
		t.Logf("%-20s %4d alerts, %.2f fraud, %.2f of the pattern; of %d events %.2f, of %d episodes %.2f",
			p, r.alerts, precision, float64(r.right)/float64(max(r.alerts, 1)), r.events, float64(r.right)/float64(max(r.events, 1)), len(r.episodes), recall)
		if precision < least.precision || recall < least.recall {
			t.Errorf("%s: precision %.2f, recall %.2f of the episodes; at least %+v", p, precision, recall, least)
		}
	}
}
