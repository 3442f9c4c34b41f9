package anomalies_test

import (
	"slices"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/sim"
)

// hidden is the fraud in simulated traffic by event, as labels.jsonl has it. The job never sees it.
type hidden map[string]struct {
	pattern sim.Pattern
	episode string
}

// simulated are the authorizations of the simulator's largest tenant in so many days, decided by a
// simple issuer, as the lake has them under the tenant's name.
func simulated(t testing.TB, name cardlake.Tenant, seed uint64, cards, days, perDay int) ([]*cardlake.Transaction, hidden) {
	t.Helper()
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	segment, err := sim.NewSegment(0, start, float64(perDay)/86400, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := sim.NewPopulation(sim.Config{Seed: seed, Tenants: 1, CardsTotal: cards})
	issued, left := map[string]card.Issued{}, map[string]int64{}
	for c := range p.Cards() {
		issued[string(c.PAN.Digits())], left[string(c.PAN.Digits())] = c, c.Limit
	}
	tr := sim.NewTraffic(p, sim.Timeline{segment})
	var out []*cardlake.Transaction
	fraud := hidden{}
	var m sim.Message
	var packer sim.Packer
	var view iso8583.View
	var packed []byte
	for i := range uint64(days * perDay) {
		if tr.Message(i, &m); m.MTI != "0100" || !m.Distinct {
			continue
		}
		if packed, err = packer.Append(packed[:0], &m, false); err != nil {
			t.Fatal(err)
		}
		if err := view.Parse(packed); err != nil {
			t.Fatal(err)
		}
		tx := transaction(&m, &view, start.Add(time.Duration(float64(i)/float64(perDay)*float64(24*time.Hour))))
		tx.Tenant = name
		pan := string(m.PAN.Digits())
		switch c, known := issued[pan]; {
		case !known:
			tx.DeclineReason, tx.BillingAmount = "unknown_card", cardlake.Money{}
		case c.Status != card.Active || c.Expiry[0] == '2':
			tx.DeclineReason = "blocked"
		case left[pan] < m.Billing.Minor:
			tx.DeclineReason = "insufficient_funds"
		default:
			tx.Approved, tx.ResponseCode = true, "00"
			left[pan] -= m.Billing.Minor
		}
		tx.CustomerID = issued[pan].CustomerID
		out = append(out, tx)
		if m.Pattern != "" {
			fraud[tx.EventID.String()] = struct {
				pattern sim.Pattern
				episode string
			}{m.Pattern, m.Episode}
		}
	}
	slices.SortFunc(out, func(a, b *cardlake.Transaction) int { return int(a.EventTime - b.EventTime) })
	return out, fraud
}

func transaction(m *sim.Message, v *iso8583.View, at time.Time) *cardlake.Transaction {
	acceptor := iso8583.ParseAcceptor(v.Text(43))
	tx := &cardlake.Transaction{
		EventID: m.EventID(), TransactionID: m.EventID(), EventType: cardlake.Authorization, Program: m.Program, Region: "sa-east-1",
		EventTime: at.UnixMicro(), IngestedAt: at.UnixMicro() + 400_000,
		CardToken: "tk1_" + insights.ID("card", string(m.PAN.Digits())), BIN: string(m.PAN.Digits()[:6]), Network: m.Network,
		Amount: m.Amount, BillingAmount: m.Billing,
		MerchantID: v.Text(42), MerchantName: acceptor.Name, MCC: v.Text(18), MerchantCity: acceptor.City, MerchantCountry: acceptor.Country,
		TerminalID: v.Text(41), AcquirerID: v.Text(32), Channel: m.Channel,
		EntryMode: map[string]string{
			"05": "chip", "07": "contactless", "90": "magstripe", "80": "fallback", "01": "manual", "81": "ecommerce",
		}[v.Text(22)[:2]],
		CardPresent: m.Channel == cardlake.POS || m.Channel == cardlake.ATM, ResponseCode: "05", MTI: m.MTI,
	}
	wall, err := time.Parse("2006 0102150405", at.Format("2006 ")+v.Text(13)+v.Text(12))
	if err == nil {
		tx.LocalTime = wall.UnixMicro()
	}
	return tx
}
