package sim

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/processor/iso8583"
)

// Pattern is a kind of fraud, "" for an honest purchase.
type Pattern string

const (
	StolenCard          Pattern = "stolen_card"          // a spree in the holder's town
	CompromisedTerminal Pattern = "compromised_terminal" // cards copied at one terminal, used elsewhere
	ImpossibleTravel    Pattern = "impossible_travel"    // a purchase too far from the one before
	CardTesting         Pattern = "card_testing"         // many small amounts through one shop
)

// Message is one planned message of a card network. Its strings belong to the population.
type Message struct {
	Number   uint64
	MTI      string
	Original uint64 // number of the message that this one repeats or reverses, else its own
	Distinct bool   // false for a repeat, which is the same event as its original

	Tenant  cardlake.Tenant
	Network cardlake.Network
	Program string
	PAN     card.PAN
	Amount  cardlake.Money // as the merchant asks
	Billing cardlake.Money // as the cardholder is charged
	Channel cardlake.Channel

	Pattern Pattern
	Episode string // which instance of the pattern

	Transmitted time.Time // UTC, in whole seconds: DE 7
	City        string    // the merchant's

	product  cardlake.Product
	rate     uint32 // DE 10, 0 without conversion
	merchant *merchant
	terminal int
	entry    entry
	wallet   string
	eci      string
	expiry   [4]byte
	secret   uint64 // what SAD is made of
	keepOf   int64  // amount that a partial reversal leaves, 0 for a whole one

	stan, origSTAN uint32
	rrn            [12]byte
	origTime       time.Time
}

// entry is how a card's number came into the terminal.
type entry int

const (
	chip entry = iota
	contactless
	stripe
	fallback
	keyed
	online
)

// de22 is POS entry mode and PIN capability (ISO 8583:1987, annex A, table A.8; 07, 80 and
// 81 as Visa and Mastercard use them).
var de22 = [...]string{chip: "051", contactless: "071", stripe: "901", fallback: "801", keyed: "012", online: "812"}

// EventID returns the id under which the event must appear in the lake. A repeat has its
// original's.
func (m *Message) EventID() cardlake.EventID {
	var stan [6]byte
	var at [10]byte
	return card.EventKey{
		Tenant: m.Tenant, Network: m.Network, Acquirer: m.merchant.acquirer, RRN: string(m.rrn[:]),
		STAN: string(appendDigits(stan[:0], uint64(m.stan), 6)), MTI: m.MTI,
		Transmission: string(appendTransmission(at[:0], m.Transmitted)),
	}.ID()
}

// key is what an answer has in common with the message.
func (m *Message) key() key { return key{reversal: m.MTI[1] == '4', stan: m.stan, rrn: m.rrn} }

// Packer packs messages. It is not for concurrent use.
type Packer struct {
	b       iso8583.Builder
	scratch []byte
}

// Format implements fmt.Formatter: every verb prints a placeholder.
func (Packer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "packer(redacted)") }

// LogValue implements slog.LogValuer.
func (Packer) LogValue() slog.Value { return slog.StringValue("packer(redacted)") }

// Append appends the message to dst, without its length header. With repeat set the message
// type is that of a repeat (xx1), all else is the same.
func (p *Packer) Append(dst []byte, m *Message, repeat bool) ([]byte, error) {
	if cap(p.scratch) == 0 {
		p.scratch = make([]byte, 0, 1024)
	}
	p.b.Reset()
	p.scratch = p.scratch[:0]
	mti := append(p.scratch, m.MTI...)
	if repeat {
		mti[3] = '1'
	}
	p.set(0, mti)
	p.b.Set(2, m.PAN.Digits())
	p.set(3, append(p.rest(), m.processingCode()...))
	p.digits(4, uint64(m.Amount.Minor), 12)
	if m.rate != 0 {
		p.digits(6, uint64(m.Billing.Minor), 12)
		p.digits(10, uint64(m.rate), 8)
		p.digits(51, uint64(m.Billing.Currency.Number()), 3)
	}
	p.set(7, appendTransmission(p.rest(), m.Transmitted))
	p.digits(11, uint64(m.stan), 6)
	local := m.Transmitted.Add(time.Duration(cities[m.merchant.city].offset) * time.Hour)
	if m.origTime != (time.Time{}) {
		local = m.origTime.Add(time.Duration(cities[m.merchant.city].offset) * time.Hour)
	}
	stamp := appendTransmission(p.rest(), local)
	p.set(13, stamp[:4])
	p.b.Set(12, stamp[4:])
	p.scratch = p.scratch[:len(p.scratch)+6]
	p.set(14, append(p.rest(), m.expiry[:]...))
	cat := &categories[m.merchant.category]
	p.set(18, append(p.rest(), cat.mcc...))
	p.digits(19, uint64(m.merchant.country().number), 3)
	p.set(22, append(p.rest(), de22[m.entry]...))
	p.set(25, append(p.rest(), m.condition()...))
	p.set(32, append(p.rest(), m.merchant.acquirer...))
	p.set(37, append(p.rest(), m.rrn[:]...))
	p.set(41, m.merchant.appendTerminal(p.rest(), m.terminal))
	p.set(42, append(p.rest(), m.merchant.id...))
	p.set(43, append(p.rest(), m.merchant.acceptor...))
	p.digits(49, uint64(m.Amount.Currency.Number()), 3)
	if m.MTI[1] == '1' {
		p.authentication(m)
	} else {
		p.reversal(m)
	}
	out, err := p.b.Append(dst)
	clear(p.scratch[:cap(p.scratch)])
	if err != nil {
		return dst, fmt.Errorf("pack message %d: %w", m.Number, err)
	}
	return out, nil
}

// authentication sets what proves the card, all of it sensitive but DE 48's ECI and wallet.
func (p *Packer) authentication(m *Message) {
	if m.entry <= fallback {
		track := append(p.rest(), m.PAN.Digits()...)
		track = append(append(append(track, '='), m.expiry[:]...), "201"...)
		p.set(35, appendDigits(track, m.secret%1e13, 13))
	}
	more := p.rest()
	if m.wallet != "" {
		more, _ = iso8583.AppendSubElement(more, iso8583.SubWallet, m.wallet)
	}
	if m.eci != "" {
		more, _ = iso8583.AppendSubElement(more, iso8583.SubECI, m.eci)
	}
	if m.entry == online || m.entry == keyed {
		const cardVerification = 92 // CVV2 or CVC2
		more, _ = iso8583.AppendSubElement(more, cardVerification, appendDigits(nil, m.secret%1000, 3))
	}
	if len(more) > 0 {
		p.set(48, more)
	}
	if m.hasPIN() {
		block := p.rest()
		for i := range 16 {
			block = append(block, "0123456789ABCDEF"[mix(m.secret)>>(4*i)&15])
		}
		p.set(52, block)
	}
}

func (p *Packer) reversal(m *Message) {
	original := append(p.rest(), "0100"...)
	original = appendDigits(original, uint64(m.origSTAN), 6)
	original = appendTransmission(original, m.origTime)
	for range 11 - len(m.merchant.acquirer) {
		original = append(original, '0')
	}
	original = append(original, m.merchant.acquirer...)
	p.set(90, append(original, "00000000000"...))
	if m.keepOf > 0 {
		amounts := appendDigits(p.rest(), uint64(m.keepOf), 12)
		p.set(95, append(amounts, "000000000000000000000000000000"...))
	}
}

// rest is the unused scratch memory.
func (p *Packer) rest() []byte { return p.scratch[len(p.scratch):] }

// set takes a value that was made in the rest of the scratch memory, where there is room
// for the longest message.
func (p *Packer) set(de int, value []byte) {
	p.b.Set(de, value)
	p.scratch = p.scratch[:len(p.scratch)+len(value)]
}

func (p *Packer) digits(de int, v uint64, n int) { p.set(de, appendDigits(p.rest(), v, n)) }

func (m *Message) hasPIN() bool {
	return m.Channel == cardlake.ATM || m.entry == chip && m.product == cardlake.Debit
}

// processingCode is DE 3: a purchase or a cash withdrawal, from which kind of account.
func (m *Message) processingCode() string {
	cash := m.Channel == cardlake.ATM
	switch {
	case m.product == cardlake.Credit && cash:
		return "013000"
	case m.product == cardlake.Credit:
		return "003000"
	case cash:
		return "010000"
	}
	return "000000"
}

// condition is DE 25 (ISO 8583:1987, annex A, table A.9; 59 is e-commerce).
func (m *Message) condition() string {
	switch m.Channel {
	case cardlake.Ecommerce:
		return "59"
	case cardlake.Phone:
		return "08"
	case cardlake.ATM:
		return "02"
	}
	return "00"
}

// appendTransmission appends MMDDhhmmss.
func appendTransmission(dst []byte, t time.Time) []byte {
	_, month, day := t.Date()
	hour, minute, second := t.Clock()
	for _, v := range [...]int{int(month), day, hour, minute, second} {
		dst = append(dst, byte('0'+v/10), byte('0'+v%10))
	}
	return dst
}

// appendDigits appends v in exactly n digits, its last ones if it has more.
func appendDigits(dst []byte, v uint64, n int) []byte {
	var b [20]byte
	for i := n - 1; i >= 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return append(dst, b[:n]...)
}
