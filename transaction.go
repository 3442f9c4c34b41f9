package cardlake

import (
	"encoding/binary"
	"fmt"
)

// EventID identifies one event for ever: a UUID of version 8 (RFC 9562, section 5.8)
// computed from what the network sent, so that a repeat or a replay has the same id.
type EventID [16]byte

// String is the canonical lower-case form of RFC 9562.
func (id EventID) String() string {
	var text idText
	id.put(&text)
	return string(text[:])
}

// AppendTo appends the canonical form to dst.
func (id EventID) AppendTo(dst []byte) []byte {
	var text idText
	id.put(&text)
	return append(dst, text[:]...)
}

// idText is an event id in its canonical form.
type idText [36]byte

// put writes the canonical form where it is kept.
func (id *EventID) put(t *idText) {
	time, middle := hexOf(id[0:4]), hexOf(id[4:8])
	clock, node := hexOf(id[8:12]), hexOf(id[12:16])
	binary.LittleEndian.PutUint64(t[0:], time)
	t[8] = '-'
	binary.LittleEndian.PutUint32(t[9:], uint32(middle))
	t[13] = '-'
	binary.LittleEndian.PutUint32(t[14:], uint32(middle>>32))
	t[18] = '-'
	binary.LittleEndian.PutUint32(t[19:], uint32(clock))
	t[23] = '-'
	binary.LittleEndian.PutUint32(t[24:], uint32(clock>>32))
	binary.LittleEndian.PutUint64(t[28:], node)
}

// hexOf returns the eight hexadecimal digits of four bytes, the first in the lowest byte. It
// works on all of them at once.
func hexOf(b []byte) uint64 {
	const ones = 0x0101010101010101
	x := uint64(binary.LittleEndian.Uint32(b))
	// Spread the nibbles, each to a byte of its own, high before low.
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x>>4 | x<<8) & 0x0f0f0f0f0f0f0f0f
	isLetter := (x + 6*ones) >> 4 & ones
	return x + '0'*ones + isLetter*('a'-'9'-1)
}

// ParseEventID reads the canonical form.
func ParseEventID(s string) (EventID, error) {
	var id EventID
	if len(s) != 36 {
		return id, fmt.Errorf("event id has %d characters, want 36", len(s))
	}
	n := 0
	for i := 0; i < len(s); {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return id, fmt.Errorf("event id lacks the hyphen at position %d", i)
			}
			i++
			continue
		}
		hi, lo := unhex(s[i]), unhex(s[i+1])
		if hi > 15 || lo > 15 {
			return id, fmt.Errorf("event id has a character outside 0-9, a-f at position %d", i)
		}
		id[n] = hi<<4 | lo
		n++
		i += 2
	}
	return id, nil
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// EventType says what happened to a purchase.
type EventType string

// The events of a purchase. Message types are those of ISO 8583:1987; each network has its own
// for the last three.
const (
	Authorization EventType = "authorization" // a decision on a request (MTI 01xx)
	Reversal      EventType = "reversal"      // an earlier authorization undone, in full or in part (MTI 04xx)
	Clearing      EventType = "clearing"      // the merchant claims the money, in one part or several
	Refund        EventType = "refund"        // the merchant gives money back
	Chargeback    EventType = "chargeback"    // the issuer takes money back from the merchant in a dispute
)

// Channel says where a purchase was made.
type Channel string

const (
	POS       Channel = "pos"
	Ecommerce Channel = "ecommerce"
	ATM       Channel = "atm"
	Phone     Channel = "phone"
)

// Product says how a card is funded.
type Product string

const (
	Prepaid Product = "prepaid"
	Debit   Product = "debit"
	Credit  Product = "credit"
)

// Network is a card scheme.
type Network string

const (
	Visa       Network = "visa"
	Mastercard Network = "mastercard"
)

// Truth is a boolean that may be unknown.
type Truth int8

const (
	Unknown Truth = iota
	True
	False
)

// TruthOf converts a known boolean.
func TruthOf(b bool) Truth {
	if b {
		return True
	}
	return False
}

// Transaction is one row of cards.transactions, as far as it is known before it is written.
// An empty string in a nullable column is NULL. Times are microseconds since the epoch, UTC,
// but for LocalTime, which counts them on the terminal's wall clock.
//
// The strings of a Transaction that was decoded from a stream record share the record's
// memory: they are valid as long as the record is not reused, and must not outlive it.
type Transaction struct {
	EventID       EventID
	TransactionID EventID // the event id of the purchase's first event
	EventType     EventType
	Tenant        Tenant
	Program       string // card programme, as "aurora-visa-credit"
	Region        string // region of the processor that decided

	EventTime  int64 // the decision
	LocalTime  int64
	IngestedAt int64

	CardToken  string // see package tokenize
	BIN        string // first 6 or 8 digits, as the brand's truncation rule allows
	Last4      string
	CustomerID string
	AccountID  string
	Network    Network
	Product    Product

	Amount        Money // as the merchant asked
	BillingAmount Money // as the cardholder is charged

	MerchantID      string
	MerchantName    string
	MCC             string // ISO 18245
	MerchantCity    string
	MerchantCountry string // ISO 3166-1 alpha-2
	TerminalID      string
	AcquirerID      string

	Channel     Channel
	EntryMode   string // chip, contactless, magstripe, manual, ecommerce, fallback, unknown
	CardPresent bool
	Wallet      string
	ECI         string // electronic commerce indicator

	ResponseCode  string // ISO 8583 DE 39
	Approved      bool
	DeclineReason string // our word for it
	ApprovalCode  string // DE 38
	CVVResult     string
	AVSResult     string
	PINVerified   Truth
	LatencyMicros int32 // from the request's last byte to the decision

	MTI            string
	ProcessingCode string // DE 3
	STAN           string // DE 11
	RRN            string // DE 37

	Position Position
}
