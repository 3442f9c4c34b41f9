// Package features turns the card traffic of one tenant into vectors that describe each event
// by what came before it.
//
// A [State] takes events in the order of time, and of event id at one instant, and gives for
// each a [Vector]: the event's own fields, and what the events strictly before it say about
// its card, merchant, terminal, BIN and merchant category. Nothing of a later event is in it.
// Whoever computes the vectors of a month in one go or a day at a time, with the state saved
// in between (see [State.WriteTo] and [Read]), gets the same ones.
//
// Memory is bounded: for each card, merchant and terminal a record of fixed size, dropped after
// 30 days of silence. So windows are rings of buckets, sets are the latest few members, and
// quantiles come from histograms of logarithms; [Feature] says for each value how exact it is.
//
// A card is known by a [Key] only; names and tokens are not kept. A key is a hash without a
// secret: who can guess a name can check the guess. So card numbers are no names: give tokens.
package features

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// Key stands for the name of a card, merchant, terminal or BIN; 0 for none. Keys are 64-bit
// hashes: among a million names the chance that any two share a key is 3 in 100 million, and
// then these two share their history.
type Key uint64

// KeyOf returns the key of a name, or of one that has parts, as a terminal's within its
// merchant. It is [None] if any part is empty.
func KeyOf(parts ...string) Key {
	h := uint64(0x9e3779b97f4a7c15)
	for _, s := range parts {
		if s == "" {
			return None
		}
		h = fold(h^uint64(len(s)), 0xa0761d6478bd642f)
		for ; len(s) >= 8; s = s[8:] {
			h = fold(h^word(s), 0xe7037ed1a0b428db)
		}
		if s != "" {
			var tail [8]byte
			copy(tail[:], s)
			h = fold(h^binary.LittleEndian.Uint64(tail[:]), 0x8ebc6af09c88c6e3)
		}
	}
	if h = fold(h, 0x589965cc75374cc3); h == 0 {
		h = 1
	}
	return Key(h)
}

// None is the key of a name that is missing, such as a BIN that the reader may not see. What
// the features tell of it is 0.
const None Key = 0

func word(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// fold multiplies to 128 bits and folds the halves, the step of Wang Yi's wyhash.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x2d358dccaa6c78a5, b)
	return hi ^ lo
}

// Channel says where a purchase was made.
type Channel uint8

// The channels.
const (
	OtherChannel Channel = iota
	POS
	Ecommerce
	ATM
	Phone
)

// Entry says how the card's number came into the terminal.
type Entry uint8

// The entry modes. Fallback is a chip card that was read by its stripe.
const (
	OtherEntry Entry = iota
	Chip
	Contactless
	Stripe
	Fallback
	Manual
	Online
	entries
)

// Event is one decided request of a card.
type Event struct {
	ID    [16]byte
	Time  int64 // of the decision: microseconds since the epoch, UTC, from 1970 to 2106
	Local int64 // the same on the terminal's wall clock; 0 if unknown: then the sun's time at Place

	Card     Key
	Merchant Key
	Terminal Key // unique in the tenant: made of the merchant's name and the terminal's
	BIN      Key
	MCC      uint16 // ISO 18245; 0 for none
	Place    Place  // the merchant's

	Channel Channel
	Entry   Entry
	Present bool // the card was at the terminal

	// Amount is in one currency for all events of a card, in units of any size; 0 if unknown.
	Amount      float64
	Approved    bool
	UnknownCard bool // declined because no such card was issued

	// Reversal marks what is no use of the card: a reversal, clearing, refund or chargeback.
	// It gets a vector, and leaves no trace in those of later events.
	Reversal bool
}

// ErrOrder says that an event comes before the one that was given before it, or is the same.
var ErrOrder = errors.New("features: events are not in the order of time and id")

const (
	micros = 1_000_000
	minute = 60
	hour   = 60 * minute
	day    = 24 * hour
	month  = 30 * day // how long anything is remembered
)

func (e *Event) check() error {
	switch {
	case e.Time < 0 || e.Time >= math.MaxUint32*micros:
		return errors.New("features: time is not from 1970 to 2106")
	case !(e.Amount >= 0 && e.Amount <= 1e18):
		return errors.New("features: amount is not from 0 to 1e18")
	case e.Entry >= entries:
		return fmt.Errorf("features: entry mode %d is not known", e.Entry)
	case int(e.Place) >= len(atlas().points):
		return fmt.Errorf("features: place %d is not known", e.Place)
	}
	return nil
}

// wall returns the hour of the day and the weekday, from Sunday, on the terminal's clock.
func (e *Event) wall() (hourOfDay int, weekday int) {
	local := e.Local
	if local == 0 {
		local = e.Time + int64(math.Round(atlas().points[e.Place].lon/15))*hour*micros
	}
	s := floorDiv(local, micros)
	const thursday = 4 // the epoch's weekday
	return int(floorDiv(s, hour) - 24*floorDiv(s, day)), int(((floorDiv(s, day)+thursday)%7 + 7) % 7)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
