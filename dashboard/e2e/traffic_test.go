package e2e

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
)

// The tenants. Every text that is a tenant's own has its mark in it, so that one that got to
// another is found wherever it is.
const (
	tenantA, markA = "jacaranda-bank", "xaxim"
	tenantB, markB = "quetzal-pay", "yolotl"
)

// hostile is the name of a merchant of tenant A: text that would do harm if it were taken for
// markup, a formula or a format.
const hostile = `<img src=x onerror=alert(1)>"><script>alert(2)</script>`

const dayMicros = 86_400_000_000

// book makes the events of a tenant, always the same but for when they end.
type book struct {
	tenant        cardlake.Tenant
	mark, country string
	currency      cardlake.Currency
	r             *rand.Rand
	number        uint64
	txs           []*cardlake.Transaction
}

type cardholder struct{ token, last4, customer string }

type shop struct{ id, name, mcc, city, country string }

// id is drawn and can be told to be a tenant's by nobody.
func (b *book) id() (id cardlake.EventID) {
	b.number++
	binary.BigEndian.PutUint64(id[:8], b.r.Uint64())
	binary.BigEndian.PutUint64(id[8:], b.number)
	id[6], id[8] = id[6]&0x0f|0x80, 0x80
	return id
}

func (b *book) letters(n int) string {
	var s strings.Builder
	for range n {
		s.WriteByte('a' + byte(b.r.IntN(16)))
	}
	return s.String()
}

// request is one request and its answer.
func (b *book) request(who cardholder, at shop, micros, minor int64) *cardlake.Transaction {
	id := b.id()
	t := &cardlake.Transaction{
		EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: b.tenant, Program: b.mark + "-visa-credit", Region: "sa-east-1",
		EventTime: micros, LocalTime: micros - 3*3_600_000_000, IngestedAt: micros + 400_000,
		CardToken: who.token, BIN: "411111", Last4: who.last4, CustomerID: who.customer, AccountID: "account-" + who.customer,
		Network: cardlake.Visa, Product: cardlake.Credit,
		Amount: cardlake.Money{Minor: minor, Currency: b.currency}, BillingAmount: cardlake.Money{Minor: minor, Currency: b.currency},
		MerchantID: at.id, MerchantName: at.name, MCC: at.mcc, MerchantCity: at.city, MerchantCountry: at.country, TerminalID: "T" + at.id[1:], AcquirerID: "300100",
		Channel: cardlake.POS, EntryMode: "chip", CardPresent: true, ResponseCode: "00", Approved: true, ApprovalCode: "A1B2C3", MTI: "0100",
		LatencyMicros: int32(300 + b.r.IntN(900)),
	}
	b.txs = append(b.txs, t)
	return t
}

func decline(t *cardlake.Transaction, code, reason string) {
	t.Approved, t.ResponseCode, t.DeclineReason, t.ApprovalCode = false, code, reason, ""
}

// trade makes so many days of trade up to an instant: people who buy often, people who buy now
// and then, people who stopped, and some fraud in the last days.
func (b *book) trade(days int, until time.Time) {
	var shops []shop
	mccs := []string{"5411", "5812", "5541", "5912", "5732", "5651"}
	for i := range 48 {
		s := shop{fmt.Sprintf("M%s%03d", b.mark[:2], i), fmt.Sprintf("Mercado %s %d", b.mark, i+1), mccs[i%len(mccs)], b.mark + "opolis", b.country}
		if i == 3 && b.tenant == tenantA {
			s.name = hostile
		}
		shops = append(shops, s)
	}
	abroad := shop{"M" + b.mark[:2] + "900", "Casino " + b.mark, "7995", "Lisboa", "PT"}
	end := until.UnixMicro()
	begin := end - int64(days)*dayMicros
	var people []cardholder
	for i := range 90 {
		people = append(people, cardholder{"tk1_" + b.letters(32), fmt.Sprintf("%04d", b.r.IntN(10_000)), fmt.Sprintf("%s-%s", b.mark, b.letters(6))})
		n, last := 40, end
		switch i % 3 {
		case 1:
			n = 16
		case 2: // stopped a month ago
			n, last = 18, end-30*dayMicros
		}
		for range n + b.r.IntN(8) {
			at := begin + b.r.Int64N(last-begin)
			where := shops[(i*5+b.r.IntN(6))%len(shops)] // where they usually buy
			switch b.r.IntN(12) {
			case 0, 1, 2, 3:
				where = shops[b.r.IntN(len(shops))]
			case 4:
				where = shops[3]
			}
			t := b.request(people[i], where, at, 1500+b.r.Int64N(20_000))
			switch b.r.IntN(12) {
			case 0:
				decline(t, "51", "insufficient_funds")
			case 1:
				t.Channel, t.EntryMode, t.CardPresent = cardlake.Ecommerce, "ecommerce", false
			case 2:
				if b.r.IntN(3) == 0 {
					decline(t, "91", "issuer_unavailable")
				}
			}
		}
	}
	// Stolen cards: a burst of small requests in the night, then large ones abroad.
	for i := range 6 {
		who := people[i*7]
		at := end - int64(i)*dayMicros/2 - 7*3_600_000_000
		for n := range 14 {
			t := b.request(who, abroad, at+int64(n)*20_000_000, 100+b.r.Int64N(50))
			t.Channel, t.EntryMode, t.CardPresent = cardlake.Ecommerce, "ecommerce", false
			if n%2 == 0 {
				decline(t, "05", "do_not_honour")
			}
		}
		for n := range 4 {
			b.request(who, abroad, at+int64(600+n*40)*1_000_000, 900_000+b.r.Int64N(90_000)).Channel = cardlake.Ecommerce
		}
	}
}
