package tokenize

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize/ff1"
)

// formatDomain separates format-preserving tokens from every other use of a format secret.
const formatDomain = "cardlake format token\x00"

var (
	// ErrCheckDigit says that a card number has no format-preserving token, because its last
	// digit is not the check digit of ISO/IEC 7812-1: all the numbers of a length have no room
	// among those of that length that no scanner takes for a card number.
	ErrCheckDigit = errors.New("card number has not the check digit that a format-preserving token needs")
	// ErrFormatToken marks text that is no format-preserving token: another length, a digit
	// missing, a first or last digit that no token has. It never holds the text.
	ErrFormatToken = errors.New("not a format-preserving token")
)

// Formatter makes the format-preserving tokens of one tenant, as many digits as the card
// number has, and turns them back. They are for systems that cannot hold a [Token]; prefer
// that: who has the secret and a format-preserving token has the card number.
//
// What is encrypted is the whole card number less its check digit, which says nothing that the
// others do not: FF1 (NIST SP 800-38G) with AES-256 under the tenant's secret of purpose
// keys.Format, the tweak a domain and the owner, so that equal cards of a tenant have equal
// tokens and those of two tenants nothing in common. The place of the check digit is free for
// a wrong one. So a token never passes the Luhn check, and it never begins with a digit from
// 2 to 6 as card numbers of payment brands do: a 2 to 6 is shifted by five, and by how much
// the check digit is wrong, one or two, says whether it was. A scanner that looks for issuers
// whose numbers have no Luhn digit does not take it for a card number either, nor does a
// token equal another card's number. One of ten numbers of a length is a token; the others are
// refused when they are to be turned back.
//
// Walking FF1's cycle from the number until Luhn fails, the other way of avoiding numbers
// that pass, would not do: a card number and the numbers that pass on its way to its token
// would all have that token.
//
// Its secret is part of every token: with another version cards have other tokens, and a
// destroyed version turns none back. One goroutine uses it at a time.
type Formatter struct {
	cipher *ff1.Cipher
	tweak  []byte
	sizes  [maxPAN]*ff1.Decimal // by digits without the check digit, made on first use
	buf    [maxPAN]byte
}

// NewFormatter returns a formatter for the tenant's secret of purpose keys.Format, which it
// does not keep.
func NewFormatter(owner keys.Owner, secret keys.Key) *Formatter {
	cipher, err := ff1.New(secret.Bytes(), 10, ff1.Config{})
	if err != nil {
		panic(err) // a Key has 32 bytes
	}
	return &Formatter{cipher: cipher, tweak: []byte(formatDomain + owner)}
}

// OpenFormatter returns a formatter for the tenant's newest secret, and its version. The
// errors are those of the key service.
func OpenFormatter(ctx context.Context, secrets keys.Secrets, owner keys.Owner) (f *Formatter, version int, err error) {
	version, secret, err := secrets.Secret(ctx, keys.Scope{Owner: owner, Purpose: keys.Format})
	if err != nil {
		return nil, 0, fmt.Errorf("format secret: %w", err)
	}
	defer secret.Destroy()
	return NewFormatter(owner, secret), version, nil
}

// AppendToken appends the token of pan, as many ASCII digits. ErrCheckDigit says that it has
// none. It allocates nothing when dst has room, but for the first of a length.
func (f *Formatter) AppendToken(dst []byte, pan card.PAN) ([]byte, error) {
	if !pan.Luhn() {
		return dst, ErrCheckDigit
	}
	from := len(dst)
	dst = append(dst, pan.Digits()...)
	token := dst[from:]
	payload := token[:len(token)-1]
	if err := f.decimal(len(payload)).Encrypt(payload); err != nil {
		clear(token)
		return dst[:from], err
	}
	wrongBy := byte(1)
	if isIssued(token[0]) {
		token[0] = shift(token[0], 5)
		wrongBy = 2
	}
	token[len(payload)] = shift(card.LuhnDigit(payload), wrongBy)
	return dst, nil
}

// Reveal sets pan to the card number of the token. What is no token gives ErrFormatToken and
// leaves pan alone; a token of another tenant or secret gives another number.
func (f *Formatter) Reveal(pan *card.PAN, token []byte) error {
	if len(token) < minPAN || len(token) > maxPAN {
		return ErrFormatToken
	}
	for _, c := range token {
		if c < '0' || c > '9' {
			return ErrFormatToken
		}
	}
	digits := f.buf[:copy(f.buf[:], token)]
	defer clear(digits)
	last := len(digits) - 1
	payload := digits[:last]
	wrongBy := (digits[last] - card.LuhnDigit(payload) + 10) % 10
	if isIssued(digits[0]) || wrongBy != 1 && wrongBy != 2 {
		return ErrFormatToken
	}
	if wrongBy == 2 {
		digits[0] = shift(digits[0], 5)
	}
	if err := f.decimal(last).Decrypt(payload); err != nil {
		return err
	}
	digits[last] = card.LuhnDigit(payload)
	return pan.Set(digits)
}

// isIssued reports whether card numbers of payment brands begin with the digit.
func isIssued(c byte) bool { return c >= '2' && c <= '6' }

func shift(c, by byte) byte { return '0' + (c-'0'+by)%10 }

func (f *Formatter) decimal(n int) *ff1.Decimal {
	if f.sizes[n] == nil {
		d, err := f.cipher.Decimal(f.tweak, n)
		if err != nil {
			panic(err) // a card number has 12 to 19 digits, a tweak few bytes
		}
		f.sizes[n] = d
	}
	return f.sizes[n]
}

// Format implements fmt.Formatter: every verb prints a placeholder.
func (f *Formatter) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "formatter(redacted)") }
