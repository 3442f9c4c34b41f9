// Package labels takes what tenants say of their events, fraud or genuine, into insights.labels: chargebacks and other reports by
// file, and the reviews of alerts. Job anomaly learns from them.
//
// Who says it needs a grant of review for the tenant, and is read as who they are: an alert that they may not see they cannot
// review. Every report, and every refusal, is on the audit record. The same file twice counts once.
package labels

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Label is what is said of an event.
type Label string

// The labels.
const (
	Fraud   Label = "fraud"
	Genuine Label = "genuine"
)

// Source is where a label comes from.
type Source string

// The sources. A review is made of an alert, the others come in files.
const (
	Chargeback Source = "chargeback"
	File       Source = "file"
	Review     Source = "review"
)

// Report is what is said of one event.
type Report struct {
	EventID string // event_id of cards.transactions: a UUID in lower case
	Label   Label
	// ReportedAt is when the tenant knew; the zero time stands for now. A report without a time that says what is known
	// already, of the same event from the same source, is a repeat.
	ReportedAt time.Time
	Pattern    string // kind of fraud, as the tenant names it; may be empty
	Note       string // may be empty
	alertID    string // of a review
	line       int    // in its file
}

const (
	maxPattern = 64   // bytes
	maxNote    = 1000 // bytes
)

// epoch is before every card event there is to report.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// check says what is wrong with r by field, never by content.
func (r *Report) check(now time.Time) error {
	var faults []error
	fault := func(field, text string) { faults = append(faults, fmt.Errorf("%s %s", field, text)) }
	if !isEventID(r.EventID) {
		fault("event_id", "is not an event_id of cards.transactions: a UUID such as 0190a5c2-6b1e-8f3a-9d2c-5e7b41c08f66")
	}
	if r.Label != Fraud && r.Label != Genuine {
		fault("label", "is neither fraud nor genuine")
	}
	switch {
	case r.ReportedAt.IsZero():
	case r.ReportedAt.Before(epoch):
		fault("reported_at", "is before the year 2000")
	case r.ReportedAt.After(now.Add(24 * time.Hour)):
		fault("reported_at", "is in the future")
	}
	if len(r.Pattern) > maxPattern || strings.ContainsFunc(r.Pattern, isNoWord) {
		fault("pattern", "is not a word of at most 64 letters, digits and the signs _ - .")
	}
	if err := CheckNote(r.Note); err != nil {
		faults = append(faults, err)
	}
	if holdsCardNumber(r.Pattern) {
		fault("pattern", "looks like a card number, which the lake must not hold")
	}
	return errors.Join(faults...)
}

// CheckNote says whether a text may be kept beside a label: at most 1,000 bytes of text without control characters, and nothing
// that looks like a card number, for people paste.
func CheckNote(note string) error {
	switch {
	case len(note) > maxNote:
		return fmt.Errorf("note is longer than %d bytes", maxNote)
	case !utf8.ValidString(note) || strings.ContainsFunc(note, isLayout):
		return errors.New("note is not UTF-8 text of one line")
	case holdsCardNumber(note):
		return errors.New("note holds what looks like a card number, which the lake must not hold")
	}
	return nil
}

// isLayout reports whether a sign breaks lines, controls a terminal, or turns the direction of text around, so that it reads as another.
func isLayout(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

func isNoWord(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
}

// isEventID reports whether s is a UUID as cards.transactions has them (RFC 9562, section 4, in lower case).
func isEventID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		isDash := i == 8 || i == 13 || i == 18 || i == 23
		if c := s[i]; isDash != (c == '-') || !isDash && !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// maxGap is how many signs may stand between two digits of a card number as people write it: " - ".
const maxGap = 3

// holdsCardNumber reports whether 13 to 19 digits in a row, of any script, set apart by no more than a few spaces, dots or dashes, pass
// Luhn's check (ISO/IEC 7812-1, annex B). Signs that nobody sees do not count.
func holdsCardNumber(s string) bool {
	var digits []byte
	gap := 0
	for _, r := range s {
		switch {
		case unicode.IsDigit(r):
			digits, gap = append(digits, digitOf(r)), 0
		case unicode.Is(unicode.Cf, r):
		case (unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || r == '.') && gap < maxGap:
			gap++
		default:
			if anyLuhn(digits) {
				return true
			}
			digits, gap = digits[:0], 0
		}
	}
	return anyLuhn(digits)
}

// digitOf is the value of a digit: the digits of a script follow each other from 0 on (The Unicode Standard, section 4.6).
func digitOf(r rune) byte {
	n := 0
	for unicode.IsDigit(r - 1 - rune(n)) {
		n++
	}
	return byte(n % 10)
}

func anyLuhn(digits []byte) bool {
	for from := range digits {
		for n := 13; n <= 19 && from+n <= len(digits); n++ {
			if luhn(digits[from : from+n]) {
				return true
			}
		}
	}
	return false
}

func luhn(digits []byte) bool {
	sum, isZero := 0, true
	for i, d := range digits {
		v := int(d)
		if (len(digits)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
		isZero = isZero && d == 0
	}
	return sum%10 == 0 && !isZero
}
