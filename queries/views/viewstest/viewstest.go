// Package viewstest makes lakes in which purchases have every event that there is: partial and
// repeated reversals, reversals without their authorisation, clearings in parts and in other
// currencies, refunds larger than the purchase, chargebacks, and events of one microsecond.
// Nothing in it is derived from a card number.
package viewstest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// Days is how many UTC days from queriestest.Epoch the first events of purchases are spread over.
// They are on every fifth of them, so that there are few files.
const Days = 90

// Events returns the events of so many purchases of the tenants of queriestest, the same for the
// same seed, in no order.
func Events(seed uint64, purchases int) []*cardlake.Transaction {
	g := &generator{r: rand.New(rand.NewPCG(seed, 6))}
	for range purchases {
		g.purchase()
	}
	g.r.Shuffle(len(g.events), func(i, j int) { g.events[i], g.events[j] = g.events[j], g.events[i] })
	for i, e := range g.events {
		e.Position = cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards", Partition: int32(i % 3)}, Offset: int64(i / 3)}
	}
	return g.events
}

type generator struct {
	r      *rand.Rand
	events []*cardlake.Transaction
	ids    uint64
}

func (g *generator) id() (id cardlake.EventID) {
	g.ids++
	// The order of ids is not that of events.
	binary.BigEndian.PutUint64(id[:], g.ids*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], g.ids)
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

// chance is true so many times in a hundred.
func (g *generator) chance(percent int) bool { return g.r.IntN(100) < percent }

func one[T any](g *generator, of ...T) T { return of[g.r.IntN(len(of))] }

// purchase adds a purchase and what became of it.
func (g *generator) purchase() {
	home := queriestest.Tenants[g.r.IntN(len(queriestest.Tenants))]
	card := g.r.IntN(12)
	shop := g.r.IntN(8)
	t := cardlake.Transaction{
		EventID: g.id(), EventType: cardlake.Authorization, Tenant: home.Name, Program: string(home.Name) + "-visa-credit", Region: "local",
		EventTime: queriestest.Epoch.UnixMicro() + (g.r.Int64N(Days/5)*5*24+g.r.Int64N(24))*time.Hour.Microseconds() + g.r.Int64N(3)*time.Second.Microseconds(),
		CardToken: "tk1_" + strings.Repeat(string(rune('a'+card)), 32), BIN: one(g, "453201", "53123456"), Last4: fmt.Sprintf("%04d", card),
		CustomerID: fmt.Sprintf("customer-%d", card), AccountID: fmt.Sprintf("account-%d", card),
		Network: one(g, cardlake.Visa, cardlake.Mastercard), Product: one(g, cardlake.Prepaid, cardlake.Debit, cardlake.Credit, ""),
		MerchantID: fmt.Sprintf("M%03d", shop), MerchantName: one(g, "SHOP ", "Tienda ") + string(rune('A'+shop)), MCC: one(g, "5411", "5812", ""),
		MerchantCity: "Centro", MerchantCountry: one(g, home.Country, home.Country, "BR", "AR", "ES", "US", ""),
		TerminalID: "T1", AcquirerID: "00000012",
		Channel: one(g, cardlake.POS, cardlake.POS, cardlake.Ecommerce, cardlake.ATM), EntryMode: one(g, "chip", "contactless", "ecommerce"), CardPresent: g.chance(60),
		ResponseCode: "00", Approved: true, LatencyMicros: int32(500 + g.r.IntN(3000)), MTI: "0100", CVVResult: "match",
	}
	if g.chance(10) {
		t.MerchantID = ""
	}
	// ARS and BRL purchases of whoever is billed in another currency; zero is a check of the card.
	t.Amount = cardlake.Money{Minor: g.r.Int64N(200_000) * int64(1-g.r.IntN(12)/11), Currency: one(g, home.Currency, home.Currency, home.Currency, "BRL", "EUR")}
	t.BillingAmount = cardlake.Money{Minor: t.Amount.Minor, Currency: home.Currency}
	if g.chance(5) {
		t.BillingAmount = cardlake.Money{}
	}
	t.TransactionID = t.EventID
	authorized := !g.chance(8) // others begin with what follows
	if authorized {
		if g.chance(20) {
			code := one(g, "51", "54", "05", "Z3")
			t.ResponseCode, t.Approved, t.DeclineReason = code, false, one(g, "insufficient_funds", "expired", "")
		}
		g.add(t)
		if g.chance(4) { // an incremental one
			g.add(g.after(t, cardlake.Authorization, g.part(t)))
		}
	}
	for _, stage := range []struct {
		event  cardlake.EventType
		chance int
	}{{cardlake.Reversal, 15}, {cardlake.Clearing, 50}, {cardlake.Refund, 12}, {cardlake.Chargeback, 8}} {
		for percent := stage.chance; g.chance(percent); percent = 25 {
			g.add(g.after(t, stage.event, g.part(t)))
		}
	}
}

// part is a part of the purchase's amount, all of it, or more.
func (g *generator) part(t cardlake.Transaction) int64 {
	switch {
	case g.chance(50):
		return t.Amount.Minor
	case g.chance(70):
		return g.r.Int64N(t.Amount.Minor + 1)
	}
	return t.Amount.Minor + g.r.Int64N(1000)
}

// after is a later event of the purchase; some are of the same instant or an earlier one, are not
// approved, or are of another merchant name or currency, or of none to be billed.
func (g *generator) after(t cardlake.Transaction, event cardlake.EventType, minor int64) cardlake.Transaction {
	t.EventID, t.EventType = g.id(), event
	t.MTI = map[cardlake.EventType]string{cardlake.Reversal: "0400", cardlake.Clearing: "0220", cardlake.Refund: "0220", cardlake.Chargeback: "0422"}[event]
	if event == cardlake.Authorization {
		t.MTI = "0100"
	}
	t.ResponseCode, t.Approved, t.DeclineReason = "00", true, ""
	if g.chance(10) {
		t.ResponseCode, t.Approved, t.DeclineReason = "25", false, "original_not_found"
	}
	if !g.chance(10) {
		t.EventTime += (g.r.Int64N(5)*5*24 + g.r.Int64N(3) - 1) * time.Hour.Microseconds()
	}
	if t.Amount.Minor = minor; g.chance(5) {
		t.Amount.Currency = "USD"
	}
	if t.BillingAmount.Currency != "" {
		t.BillingAmount.Minor = minor
	}
	switch {
	case g.chance(5):
		t.BillingAmount = cardlake.Money{}
	case g.chance(5):
		t.BillingAmount = cardlake.Money{Minor: minor, Currency: "USD"}
	}
	if g.chance(10) {
		t.MerchantName += " 2"
	}
	return t
}

func (g *generator) add(t cardlake.Transaction) {
	t.IngestedAt = t.EventTime + 1_500_000
	g.events = append(g.events, &t)
}

// Lake returns a lake of the events, in files of their tenants and days, the rows of a file in
// the order of the events. Unless there are no events it has the rows of [Insights] besides.
func Lake(events []*cardlake.Transaction) (*queriestest.Lake, error) {
	type place struct {
		tenant cardlake.Tenant
		day    cardlake.Day
	}
	files := map[place][]*cardlake.Transaction{}
	var places []place
	for _, e := range events {
		p := place{e.Tenant, cardlake.DayOf(e.EventTime)}
		if files[p] == nil {
			places = append(places, p)
		}
		files[p] = append(files[p], e)
	}
	lake := queriestest.NewLake()
	for _, p := range places {
		rows := files[p]
		body, err := queriestest.Parquet(cardlake.Transactions, len(rows), func(c cardlake.Column, row int) any { return Value(rows[row], c.Name) })
		if err != nil {
			return nil, err
		}
		times := make([]int64, len(rows))
		for i, t := range rows {
			times[i] = t.EventTime
		}
		lake.Add(cardlake.Transactions, cardlake.DataFile{
			Name: fmt.Sprintf("data/%s/%s.parquet", p.tenant, p.day), Tenant: p.tenant, Day: p.day,
			Rows: int64(len(rows)), Bytes: int64(len(body)), MinTime: slices.Min(times), MaxTime: slices.Max(times), SplitOffsets: []int64{4},
		}, body)
	}
	if len(events) > 0 {
		if err := addInsights(lake); err != nil {
			return nil, err
		}
	}
	return lake, nil
}

// Value returns what a column of cards.transactions has of an event: nil for NULL, else a
// string, bool or int64; times are microseconds and decimals unscaled.
func Value(t *cardlake.Transaction, column string) any {
	text := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	switch column {
	case "event_id":
		return t.EventID.String()
	case "transaction_id":
		return t.TransactionID.String()
	case "event_type":
		return string(t.EventType)
	case "tenant":
		return string(t.Tenant)
	case "program":
		return t.Program
	case "region":
		return t.Region
	case "event_time":
		return t.EventTime
	case "local_time":
		if t.LocalTime == 0 {
			return nil
		}
		return t.LocalTime
	case "ingested_at":
		return t.IngestedAt
	case "card_token":
		return t.CardToken
	case "bin":
		return text(t.BIN)
	case "last4":
		return text(t.Last4)
	case "customer_id":
		return text(t.CustomerID)
	case "account_id":
		return text(t.AccountID)
	case "network":
		return string(t.Network)
	case "product":
		return text(string(t.Product))
	case "amount":
		return scaled(t.Amount)
	case "currency":
		return string(t.Amount.Currency)
	case "billing_amount":
		return scaled(t.BillingAmount)
	case "billing_currency":
		return text(string(t.BillingAmount.Currency))
	case "merchant_id":
		return text(t.MerchantID)
	case "merchant_name":
		return text(t.MerchantName)
	case "mcc":
		return text(t.MCC)
	case "merchant_city":
		return text(t.MerchantCity)
	case "merchant_country":
		return text(t.MerchantCountry)
	case "terminal_id":
		return text(t.TerminalID)
	case "acquirer_id":
		return text(t.AcquirerID)
	case "channel":
		return string(t.Channel)
	case "entry_mode":
		return t.EntryMode
	case "card_present":
		return t.CardPresent
	case "wallet":
		return text(t.Wallet)
	case "eci":
		return text(t.ECI)
	case "response_code":
		return t.ResponseCode
	case "approved":
		return t.Approved
	case "decline_reason":
		return text(t.DeclineReason)
	case "approval_code":
		return text(t.ApprovalCode)
	case "cvv_result":
		return text(t.CVVResult)
	case "avs_result":
		return text(t.AVSResult)
	case "pin_verified":
		if t.PINVerified == cardlake.Unknown {
			return nil
		}
		return t.PINVerified == cardlake.True
	case "latency_us":
		return int64(t.LatencyMicros)
	case "mti":
		return t.MTI
	case "processing_code":
		return text(t.ProcessingCode)
	case "stan":
		return text(t.STAN)
	case "rrn":
		return text(t.RRN)
	case "stream":
		return t.Position.Stream
	case "stream_partition":
		return int64(t.Position.Partition)
	case "stream_offset":
		return t.Position.Offset
	}
	panic("viewstest: cards.transactions has no column " + column)
}

// scaled is the amount in ten-thousandths, nil if it has no currency.
func scaled(m cardlake.Money) any {
	n, ok := m.Scale4()
	if !ok {
		return nil
	}
	return n
}
