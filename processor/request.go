package processor

import (
	"bytes"
	"fmt"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/processor/iso8583"
)

// request is what a decision needs of an 01xx or 04xx message. It has no place for a track
// or a PIN block: those never leave the message's buffer.
type request struct {
	mti          string // in its first form: 0100, 0400, 0420
	pan          card.PAN
	expiry       string // YYMM, empty if the message has none
	processing   string
	amount       cardlake.Money
	billing      cardlake.Money // DE 6 and 51 if present, else amount
	transmission string
	stan         string
	local        localTime
	mcc          string
	entry        string // DE 22
	condition    string // DE 25
	acquirer     string
	rrn          string
	terminal     string
	merchant     string
	acceptor     iso8583.Acceptor
	wallet, eci  string

	original iso8583.Original // of a reversal
	keep     int64            // of a partial reversal: what stays of the original's amount (DE 95)
}

// formatError is a fault in a message that ISO 8583 itself does not see. It names the
// element, never its content.
func formatError(de int, what string) error {
	return fmt.Errorf("%w: DE %d %s", iso8583.ErrFormat, de, what)
}

// decodeRequest reads a parsed 01xx or 04xx message. On an error the card number in r may
// be set; the caller clears it either way.
func decodeRequest(v *iso8583.View, r *request) error {
	r.mti = iso8583.FirstForm(v.MTI())
	reversal := r.mti != iso8583.AuthorizationRequest
	required := []int{3, 4, 7, 11, 32, 37, 49}
	if reversal {
		required = append(required, 90)
	}
	for _, de := range required {
		if !v.Has(de) {
			return formatError(de, "is missing")
		}
	}
	if err := decodeCard(v, r); err != nil {
		return err
	}
	var err error
	if r.amount, err = money(v, 4, 49); err != nil {
		return err
	}
	r.billing = r.amount
	if v.Has(6) || v.Has(51) {
		if r.billing, err = money(v, 6, 51); err != nil {
			return err
		}
	}
	if v.Has(12) || v.Has(13) {
		if r.local, err = parseLocalTime(v.Bytes(13), v.Bytes(12)); err != nil {
			return err
		}
	}
	r.processing, r.transmission, r.stan = v.Text(3), v.Text(7), v.Text(11)
	r.mcc, r.entry, r.condition = v.Text(18), v.Text(22), v.Text(25)
	r.acquirer, r.rrn = v.Text(32), trim(v.Bytes(37))
	maskOwn(v.Bytes(42), r.pan)
	maskOwn(v.Bytes(43), r.pan)
	r.terminal, r.merchant = trim(v.Bytes(41)), trim(v.Bytes(42))
	// Masked as a whole first: a number may run across the border of name and city.
	r.acceptor = iso8583.ParseAcceptor(card.MaskPANs(v.Text(43)))
	r.acceptor.Name, r.acceptor.City = card.MaskPANs(r.acceptor.Name), card.MaskPANs(r.acceptor.City)
	if !isLetters(r.acceptor.Country, 2) {
		r.acceptor.Country = ""
	}
	if err := decodeAdditional(v.Bytes(48), r); err != nil {
		return err
	}
	if reversal {
		return decodeOriginal(v, r)
	}
	return nil
}

// decodeCard reads the card number from DE 2 or DE 35 and the expiry from DE 14 or DE 35.
func decodeCard(v *iso8583.View, r *request) error {
	r.expiry = v.Text(14)
	if v.Has(2) {
		if err := r.pan.Set(v.Bytes(2)); err != nil {
			return formatError(2, "is not a card number")
		}
	}
	if v.Has(35) {
		number, expiry, err := parseTrack2(v.Bytes(35))
		if err != nil {
			return err
		}
		switch {
		case !v.Has(2):
			if err := r.pan.Set(number); err != nil {
				return formatError(35, "has no card number")
			}
		case string(number) != string(r.pan.Digits()):
			return formatError(35, "has another card number than DE 2")
		}
		if r.expiry == "" {
			r.expiry = string(expiry)
		}
	}
	if r.pan.IsZero() {
		return formatError(2, "is missing, and so is DE 35")
	}
	return nil
}

// parseTrack2 splits track 2 (ISO/IEC 7813): card number, separator, expiry or a
// second separator, then what only the issuer's cryptography reads and nobody may keep. The
// results share the track's memory.
func parseTrack2(track []byte) (number, expiry []byte, err error) {
	for i, c := range track {
		if c >= '0' && c <= '9' {
			continue
		}
		if c != '=' && c != 'D' || i < 12 || i > 19 {
			break
		}
		number, track = track[:i], track[i+1:]
		if len(track) > 0 && (track[0] == '=' || track[0] == 'D') {
			track = track[1:]
		} else if len(track) < 4 {
			break
		} else {
			expiry, track = track[:4], track[4:]
		}
		for _, c := range append(expiry[:len(expiry):len(expiry)], track...) {
			if c < '0' || c > '9' {
				return nil, nil, formatError(35, "is not a track 2")
			}
		}
		return number, expiry, nil
	}
	return nil, nil, formatError(35, "is not a track 2")
}

// money reads an amount in minor units and its currency.
func money(v *iso8583.View, amountDE, currencyDE int) (cardlake.Money, error) {
	if !v.Has(amountDE) || !v.Has(currencyDE) {
		return cardlake.Money{}, formatError(amountDE, fmt.Sprintf("must come with DE %d", currencyDE))
	}
	c, ok := cardlake.CurrencyByNumber(int(number(v.Bytes(currencyDE))))
	if !ok {
		return cardlake.Money{}, formatError(currencyDE, "is not an ISO 4217 number known here")
	}
	return cardlake.Money{Minor: number(v.Bytes(amountDE)), Currency: c}, nil
}

// number reads at most 18 digits.
func number(digits []byte) int64 {
	n := int64(0)
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	return n
}

func decodeAdditional(de48 []byte, r *request) error {
	err := iso8583.EachSubElement(de48, func(id int, value []byte) {
		switch s := string(value); {
		case id == iso8583.SubECI && len(s) == 2 && isDigits(s):
			r.eci = s
		case id == iso8583.SubWallet && (s == "applepay" || s == "googlepay"):
			r.wallet = s
		}
	})
	if err != nil {
		return formatError(48, "is not a sequence of sub-elements")
	}
	return nil
}

func decodeOriginal(v *iso8583.View, r *request) error {
	var err error
	if r.original, err = iso8583.ParseOriginal(v.Bytes(90)); err != nil {
		return err
	}
	if iso8583.FirstForm(r.original.MTI) != iso8583.AuthorizationRequest {
		return formatError(90, "does not name an authorization")
	}
	// DE 90 has the institution filled with zeros, and DE 32 as it was sent.
	filled := fmt.Sprintf("%011d", number(v.Bytes(32)))
	if a := r.original.Acquirer; a != filled && a != "00000000000" {
		return formatError(90, "names another acquirer than DE 32")
	}
	if v.Has(95) { // actual amount, transaction: the first 12 of 42 positions
		actual := v.Bytes(95)[:12]
		if !isDigits(string(actual)) {
			return formatError(95, "has an amount that is not a number")
		}
		if r.keep = number(actual); r.keep > r.amount.Minor {
			return formatError(95, "keeps more than the original amount")
		}
	}
	return nil
}

// localTime is a date and time on the terminal's wall clock without a year.
type localTime struct {
	month                     time.Month // 0 if the message has no local time
	day, hour, minute, second int
}

// parseLocalTime reads DE 13 (MMDD) and DE 12 (hhmmss).
func parseLocalTime(date, clock []byte) (localTime, error) {
	if date == nil || clock == nil {
		return localTime{}, formatError(12, "must come with DE 13")
	}
	t := localTime{
		time.Month(number(date[:2])), int(number(date[2:])),
		int(number(clock[:2])), int(number(clock[2:4])), int(number(clock[4:])),
	}
	// Every date of a year exists in the leap year 2000.
	if d := time.Date(2000, t.month, t.day, 0, 0, 0, 0, time.UTC); t.month < 1 || d.Month() != t.month || d.Day() != t.day {
		return localTime{}, formatError(13, "is not a date")
	}
	if t.hour > 23 || t.minute > 59 || t.second > 59 {
		return localTime{}, formatError(12, "is not a time")
	}
	return t, nil
}

// micros returns the local time in microseconds, in the year that brings it nearest to the
// instant; 0 if there is no local time.
func (t localTime) micros(near time.Time) int64 {
	if t.month == 0 {
		return 0
	}
	near = near.UTC()
	best, distance := int64(0), time.Duration(-1)
	for _, year := range []int{near.Year(), near.Year() - 1, near.Year() + 1} {
		c := time.Date(year, t.month, t.day, t.hour, t.minute, t.second, 0, time.UTC)
		if c.Day() != t.day {
			continue // 29 February of another year
		}
		if d := c.Sub(near).Abs(); distance < 0 || d < distance {
			best, distance = c.UnixMicro(), d
		}
	}
	return best
}

// maskOwn overwrites the message's own card number in a text: it may be of an issuer whose
// numbers have no Luhn digit, so that nothing else would take it for one.
func maskOwn(text []byte, pan card.PAN) {
	for i := bytes.Index(text, pan.Digits()); i >= 0; i = bytes.Index(text, pan.Digits()) {
		for j := range pan.Len() {
			text[i+j] = '*'
		}
	}
}

func trim(b []byte) string {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return string(b)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func isLetters(s string, n int) bool {
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return len(s) == n
}
