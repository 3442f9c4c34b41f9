// Package card is the clear side: card numbers and the messages that carry them. Only zone
// A may link it (internal/archtest); every type here redacts itself.
package card

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/cardlake/cardlake"
)

// PAN is a primary account number (ISO/IEC 7812-1): 12 to 19 digits. Copies share the
// digits. The zero PAN is empty.
//
// The digits sit behind two pointers, because fmt walks unexported fields by value without
// calling Format, and follows one pointer where a verb does not fit (%s of a struct that
// holds a PAN).
type PAN struct{ d **digits }

type digits struct {
	n uint8
	b [19]byte
}

// ErrPAN marks text that is not a card number. It never holds the text.
var ErrPAN = errors.New("card number must be 12 to 19 digits")

// ParsePAN copies the digits of s into a new PAN. It does not check the Luhn digit: not
// every issuer's numbers have one. Text that is no card number returns ErrPAN.
func ParsePAN[S string | []byte](s S) (PAN, error) {
	d := new(digits)
	if err := set(d, s); err != nil {
		return PAN{}, err
	}
	return PAN{&d}, nil
}

// Set replaces p's digits, in p's own memory, which it makes on first use. Other PANs that
// share the memory change too. On error p is empty.
func (p *PAN) Set(s []byte) error {
	if p.d == nil {
		d := new(digits)
		p.d = &d
	}
	return set(*p.d, s)
}

func set[S string | []byte](d *digits, s S) error {
	d.n = 0
	if len(s) < 12 || len(s) > 19 {
		return ErrPAN
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			clear(d.b[:])
			return ErrPAN
		}
		d.b[i] = s[i]
	}
	d.n = uint8(len(s))
	return nil
}

// Digits returns p's own memory: the ASCII digits in clear. It is for ciphers, tokenisers
// and message packing only. Empty for the zero PAN.
func (p PAN) Digits() []byte {
	if p.d == nil {
		return nil
	}
	return (*p.d).b[:(*p.d).n]
}

// Len is the number of digits.
func (p PAN) Len() int {
	if p.d == nil {
		return 0
	}
	return int((*p.d).n)
}

// IsZero reports whether there are no digits.
func (p PAN) IsZero() bool { return p.Len() == 0 }

// Clear overwrites the digits that all copies of p share.
func (p PAN) Clear() {
	if p.d != nil {
		**p.d = digits{}
	}
}

// Luhn reports whether the last digit is the check digit of ISO/IEC 7812-1, annex B.
func (p PAN) Luhn() bool { return p.Len() > 0 && LuhnValid(p.Digits()) }

// LuhnValid reports whether ASCII digits end in the check digit of ISO/IEC 7812-1, annex B.
func LuhnValid(digits []byte) bool {
	sum, double := 0, false
	for i := len(digits) - 1; i >= 0; i-- {
		v := int(digits[i] - '0')
		if double {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
		double = !double
	}
	return sum%10 == 0
}

// LuhnDigit returns the check digit that completes ASCII digits.
func LuhnDigit(digits []byte) byte {
	sum, double := 0, true
	for i := len(digits) - 1; i >= 0; i-- {
		v := int(digits[i] - '0')
		if double {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
		double = !double
	}
	return byte('0' + (10-sum%10)%10)
}

const redacted = "PAN(redacted)"

// Format implements fmt.Formatter: every verb prints a placeholder.
func (PAN) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (PAN) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText fails: a card number is never marshalled.
func (PAN) MarshalText() ([]byte, error) {
	return nil, errors.New("a card number cannot be marshalled")
}

// Message is one event in clear: the transaction and the card number it belongs to. It
// prints as its event id.
type Message struct {
	PAN PAN
	cardlake.Transaction
}

// Format implements fmt.Formatter: the event id, whatever the verb.
func (m Message) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "event "+m.EventID.String())
}

// LogValue implements slog.LogValuer.
func (m Message) LogValue() slog.Value { return slog.StringValue("event " + m.EventID.String()) }
