package features

import "math"

// compromise looks at where the card of a marked event has been: the common point of purchase.
func (m *moment) compromise() {
	if m.ofCard == nil || m.v[Marks] == 0 {
		return
	}
	s, list := m.s, &m.ofCard.value.terminals
	s.visits.turn(m.now)
	s.odd.turn(m.now)
	base := float64(s.odd.total()+1) / float64(s.visits.total()+20)
	for i, key := range list.key {
		if key == m.e.Terminal || m.now-list.at[i] > traced {
			continue
		}
		r := s.terminals.get(key, m.now)
		if r == nil {
			continue
		}
		t := &r.value
		t.cards.turn(m.now)
		t.odd.turn(m.now)
		cards, odd := t.cards.total(), t.odd.total()
		if list.blamed>>i&1 == 1 && odd > 0 {
			odd-- // its own
		}
		if odd < 2 || cards < 2 {
			continue
		}
		if score := unlikely(int(odd), base*float64(cards-1)); score > m.v[Compromise] {
			m.v[Compromise], m.v[CompromiseCards] = score, float32(odd)
		}
	}
}

// unlikely is -log10 of the chance that a Poisson count of the given mean is k or more, from
// 0 to 30.
func unlikely(k int, mean float64) float32 {
	if float64(k) <= mean {
		return 0
	}
	lg, _ := math.Lgamma(float64(k) + 1)
	sum, term := 1.0, 1.0
	for i := k + 1; term > 1e-6*sum; i++ {
		term *= mean / float64(i)
		sum += term
	}
	return float32(min(max(-(float64(k)*math.Log(mean)-mean-lg+math.Log(sum))/math.Ln10, 0), 30))
}
