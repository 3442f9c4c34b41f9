package ff1

import (
	"fmt"
	"io"
	"unicode/utf8"
)

// Alphabets in common use. A symbol's numeral is its place.
const (
	Digits = "0123456789"
	// Base36 is that of NIST's samples.
	Base36 = "0123456789abcdefghijklmnopqrstuvwxyz"
	// Base62 has the capitals first, as Project Wycheproof's vectors and Google Cloud's data
	// loss prevention have it; Ubiq's libraries have the small letters first.
	Base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Text is FF1 over text of an alphabet, in which every symbol is one Unicode character. It is
// safe for concurrent use.
type Text struct {
	cipher   *Cipher
	symbols  []rune
	numerals map[rune]uint16
}

// NewText returns a cipher for text of the alphabet, whose length is the radix. The errors are
// New's and ErrAlphabet.
func NewText(key []byte, alphabet string, cfg Config) (*Text, error) {
	if !utf8.ValidString(alphabet) {
		return nil, ErrAlphabet
	}
	t := &Text{symbols: []rune(alphabet), numerals: map[rune]uint16{}}
	var err error
	if t.cipher, err = New(key, len(t.symbols), cfg); err != nil {
		return nil, err
	}
	for numeral, symbol := range t.symbols {
		if _, isThere := t.numerals[symbol]; isThere {
			return nil, ErrAlphabet
		}
		t.numerals[symbol] = uint16(numeral)
	}
	return t, nil
}

// Encrypt returns the text encrypted under the tweak. The errors are ErrLength, ErrTweak and
// ErrSymbol.
func (t *Text) Encrypt(tweak []byte, text string) (string, error) {
	return t.apply(t.cipher.Encrypt, tweak, text)
}

// Decrypt returns what Encrypt was given. The errors are Encrypt's.
func (t *Text) Decrypt(tweak []byte, text string) (string, error) {
	return t.apply(t.cipher.Decrypt, tweak, text)
}

func (t *Text) apply(to func([]byte, []uint16) ([]uint16, error), tweak []byte, text string) (string, error) {
	if err := t.cipher.checkLen(utf8.RuneCountInString(text)); err != nil {
		return "", err
	}
	if !utf8.ValidString(text) {
		return "", ErrSymbol // or it would read as U+FFFD, which an alphabet may have
	}
	x := make([]uint16, 0, len(text))
	for _, symbol := range text {
		numeral, isThere := t.numerals[symbol]
		if !isThere {
			return "", ErrSymbol
		}
		x = append(x, numeral)
	}
	out, err := to(tweak, x)
	clear(x)
	if err != nil {
		return "", err
	}
	b := make([]byte, 0, len(text))
	for _, numeral := range out {
		b = utf8.AppendRune(b, t.symbols[numeral])
	}
	return string(b), nil
}

// Format implements fmt.Formatter: every verb prints a placeholder.
func (t *Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
