package features_test

import (
	"slices"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/queries/anomaly/features"
	"github.com/cardlake/cardlake/sim"
)

// labelled is an event of the simulator with what it hides. The features never see the latter.
type labelled struct {
	features.Event
	pattern sim.Pattern
	episode string
}

// traffic is so many days of a tenant's authorisations, as the lake would have them: decided by
// a simple issuer, in the order of time and id.
func traffic(t testing.TB, seed uint64, tenants, cards, days, perDay int) []labelled {
	t.Helper()
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	segment, err := sim.NewSegment(0, start, float64(perDay)/86400, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := sim.NewPopulation(sim.Config{Seed: seed, Tenants: tenants, CardsTotal: cards})
	tenant := p.Tenants()[0]
	issuer := map[string]card.Issued{}
	left := map[string]int64{}
	for c := range p.Cards() {
		issuer[string(c.PAN.Digits())], left[string(c.PAN.Digits())] = c, c.Limit
	}
	tr := sim.NewTraffic(p, sim.Timeline{segment})
	out := make([]labelled, 0, days*perDay)
	var m sim.Message
	var packer sim.Packer
	var view iso8583.View
	var packed []byte
	for i := range uint64(days * perDay) {
		tr.Message(i, &m)
		if m.Tenant != tenant || m.MTI != "0100" || !m.Distinct {
			continue
		}
		if packed, err = packer.Append(packed[:0], &m, false); err != nil {
			t.Fatal(err)
		}
		if err := view.Parse(packed); err != nil {
			t.Fatal(err)
		}
		at := start.Add(time.Duration(float64(i) / float64(perDay) * float64(24*time.Hour)))
		e := labelled{eventOf(&m, &view, at), m.Pattern, m.Episode}
		pan := string(m.PAN.Digits())
		switch c, known := issuer[pan]; {
		case !known:
			e.UnknownCard = true
		case c.Status != card.Active || c.Expiry[0] == '2' || left[pan] < m.Billing.Minor:
		default:
			e.Approved = true
			left[pan] -= m.Billing.Minor
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b labelled) int { return compare(&a.Event, &b.Event) })
	return out
}

func eventOf(m *sim.Message, v *iso8583.View, at time.Time) features.Event {
	acceptor := iso8583.ParseAcceptor(v.Text(43))
	e := features.Event{
		ID: m.EventID(), Time: at.UnixMicro(),
		Card: features.KeyOf(string(m.PAN.Digits())), Merchant: features.KeyOf(v.Text(42)),
		Terminal: features.KeyOf(v.Text(42), v.Text(41)), BIN: features.KeyOf(string(m.PAN.Digits()[:8])),
		Place: features.PlaceOf(acceptor.Country, acceptor.City),
	}
	for _, c := range v.Text(18) {
		e.MCC = e.MCC*10 + uint16(c-'0')
	}
	wall, err := time.Parse("2006 0102150405", at.Format("2006 ")+v.Text(13)+v.Text(12))
	if err == nil {
		e.Local = wall.UnixMicro()
	}
	e.Channel = map[cardlake.Channel]features.Channel{
		cardlake.POS: features.POS, cardlake.Ecommerce: features.Ecommerce, cardlake.ATM: features.ATM, cardlake.Phone: features.Phone,
	}[m.Channel]
	e.Entry = map[string]features.Entry{
		"05": features.Chip, "07": features.Contactless, "90": features.Stripe, "80": features.Fallback, "01": features.Manual, "81": features.Online,
	}[v.Text(22)[:2]]
	e.Present = m.Channel == cardlake.POS || m.Channel == cardlake.ATM
	amount, _ := m.Billing.Scale4()
	e.Amount = float64(amount) / 1e4
	return e
}
