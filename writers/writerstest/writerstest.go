// Package writerstest makes transactions for tests and benchmarks: seeded, with the
// cardinalities of a card processor's day. Nothing in it is derived from a card number.
package writerstest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unsafe"

	"github.com/cardlake/cardlake"
)

// Start is the event time of the first transaction, in microseconds since the epoch:
// 2026-03-02 12:00 UTC.
const Start = 1_772_452_800_000_000

// Generator makes transactions of one tenant. Most of their strings lie in one buffer that
// the next transaction reuses, as those decoded from a stream record do.
type Generator struct {
	r      *rand.Rand
	tx     cardlake.Transaction
	buf    []byte
	cards  []card
	shops  []shop
	now    int64
	offset int64
}

type card struct{ token, bin, last4, customer, account, program string }

type shop struct{ id, name, mcc, city, terminal string }

// New returns the generator of tenant "acme" with a seed.
func New(seed uint64) *Generator {
	g := &Generator{r: rand.New(rand.NewPCG(seed, 1)), now: Start}
	for i := range 20_000 {
		g.cards = append(g.cards, card{
			token: "tk1_" + g.letters(32), bin: []string{"411111", "53123456", "521234"}[i%3], last4: fmt.Sprintf("%04d", g.r.IntN(10_000)),
			customer: fmt.Sprintf("cu-%s", g.letters(12)), account: fmt.Sprintf("ac-%s", g.letters(12)),
			program: []string{"acme-visa-credit", "acme-visa-debit", "acme-mc-prepaid"}[i%3],
		})
	}
	cities := []string{"Buenos Aires", "Córdoba", "Rosario", "Mendoza", "La Plata", "Salta", "Santa Fe", "San Juan"}
	for range 3_000 {
		g.shops = append(g.shops, shop{
			id: fmt.Sprintf("M%07d", g.r.IntN(10_000_000)), name: "Comercio " + g.letters(4+g.r.IntN(10)),
			mcc: []string{"5411", "5812", "5541", "4111", "5999", "5732", "7995", "6011"}[g.r.IntN(8)], city: cities[g.r.IntN(len(cities))],
			terminal: fmt.Sprintf("T%05d", g.r.IntN(100_000)),
		})
	}
	return g
}

func (g *Generator) letters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(g.r.IntN(16))
	}
	return string(b)
}

func (g *Generator) id() (id cardlake.EventID) {
	for i := range id {
		id[i] = byte(g.r.Uint32())
	}
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

func viewOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// view copies s into the buffer and returns the copy.
func (g *Generator) view(s string) string {
	n := len(g.buf)
	g.buf = append(g.buf, s...)
	return viewOf(g.buf[n:])
}

func (g *Generator) digits(n int) string {
	from := len(g.buf)
	for range n {
		g.buf = append(g.buf, '0'+byte(g.r.IntN(10)))
	}
	return viewOf(g.buf[from:])
}

// Next returns the next transaction, valid until the one after it. Event times advance by a
// millisecond on average and are now and then a little out of order.
func (g *Generator) Next() *cardlake.Transaction {
	if g.buf == nil {
		g.buf = make([]byte, 0, 512)
	}
	g.buf = g.buf[:0]
	c, s := &g.cards[g.r.IntN(len(g.cards))], &g.shops[int(float64(len(g.shops))*g.r.Float64()*g.r.Float64())]
	g.now += int64(g.r.IntN(2000))
	at := g.now
	if g.r.IntN(50) == 0 {
		at -= int64(g.r.IntN(20_000))
	}
	minor := int64(100 + g.r.IntN(2_000_000)/100*100)
	t := &g.tx
	*t = cardlake.Transaction{
		EventID: g.id(), EventType: cardlake.Authorization, Tenant: "acme", Program: g.view(c.program), Region: "sa-east",
		EventTime: at, LocalTime: at/1_000_000*1_000_000 - 3*3_600_000_000, IngestedAt: at + 300_000 + int64(g.r.IntN(100_000)),
		CardToken: g.view(c.token), BIN: g.view(c.bin), Last4: g.view(c.last4), CustomerID: g.view(c.customer), AccountID: g.view(c.account),
		Network: cardlake.Visa, Product: cardlake.Credit,
		Amount: cardlake.Money{Minor: minor, Currency: "ARS"}, BillingAmount: cardlake.Money{Minor: minor, Currency: "ARS"},
		MerchantID: g.view(s.id), MerchantName: g.view(s.name), MCC: g.view(s.mcc), MerchantCity: g.view(s.city), MerchantCountry: "AR",
		TerminalID: g.view(s.terminal), AcquirerID: g.view("00000012"),
		Channel: cardlake.POS, EntryMode: "chip", CardPresent: true,
		ResponseCode: "00", Approved: true, ApprovalCode: g.digits(6), CVVResult: "match", LatencyMicros: int32(200 + g.r.IntN(3000)),
		MTI: "0100", ProcessingCode: "000000", STAN: g.digits(6), RRN: g.digits(12),
		Position: cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards", Partition: int32(g.r.IntN(4))}, Offset: g.offset},
	}
	g.offset++
	t.TransactionID = t.EventID
	switch n := g.r.IntN(100); {
	case n < 25:
		t.Channel, t.EntryMode, t.CardPresent, t.ECI, t.AVSResult = cardlake.Ecommerce, "ecommerce", false, "05", "match"
	case n < 45:
		t.EntryMode, t.Wallet = "contactless", "phone"
	case n < 50:
		t.Channel, t.PINVerified = cardlake.ATM, cardlake.TruthOf(n < 49)
	}
	switch n := g.r.IntN(100); {
	case n < 8:
		t.ResponseCode, t.Approved, t.DeclineReason, t.ApprovalCode = "51", false, "insufficient_funds", ""
	case n < 10:
		t.EventType, t.MTI, t.TransactionID = cardlake.Reversal, "0400", g.id()
	case n < 13:
		t.Amount = cardlake.Money{Minor: minor / 1000, Currency: "USD"}
	}
	return t
}

// Take returns the next n transactions, which last.
func (g *Generator) Take(n int) []*cardlake.Transaction {
	txs := make([]*cardlake.Transaction, n)
	for i := range txs {
		g.buf = nil
		t := *g.Next()
		txs[i] = &t
	}
	return txs
}

// Bare returns a transaction with no more than the required columns.
func Bare() *cardlake.Transaction {
	return &cardlake.Transaction{
		EventID: cardlake.EventID{1}, TransactionID: cardlake.EventID{2}, EventType: cardlake.Authorization, Tenant: "acme", Region: "sa-east",
		EventTime: Start, IngestedAt: Start + 1, CardToken: "tk1_" + strings.Repeat("a", 32), Network: cardlake.Visa,
		Amount: cardlake.Money{Minor: -1, Currency: "CLP"}, Channel: cardlake.POS, EntryMode: "unknown", ResponseCode: "14",
		MTI: "0100", Position: cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards"}},
	}
}
