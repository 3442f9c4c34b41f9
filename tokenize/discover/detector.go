package discover

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
)

// Kind is what was detected.
type Kind string

const (
	CardNumber   Kind = "pan"       // a card number
	Track1       Kind = "track1"    // track 1 of a magnetic stripe (ISO/IEC 7813)
	Track2       Kind = "track2"    // track 2, or its equivalent of a chip (EMV tag 57)
	SecurityCode Kind = "cvv"       // CVV2, CVC2, CID
	PINBlock     Kind = "pin-block" // an encrypted PIN (ISO 9564)
)

// IsSAD reports whether it is sensitive authentication data, which may not be stored after
// authorisation even if encrypted (PCI DSS 3.3.1).
func (k Kind) IsSAD() bool { return k != CardNumber }

// Confidence says how sure a detection is.
type Confidence uint8

const (
	// Low is what looks like a card number where something else is more likely: the words or
	// the values around it say so. It is no finding by itself.
	Low Confidence = iota + 1
	// Medium is a card number by prefix, length and check digit, with nothing said around it.
	Medium
	// High is one of which the words, the values around it or its form say so too.
	High
)

var confidences = map[Confidence]string{Low: "low", Medium: "medium", High: "high"}

func (c Confidence) String() string { return confidences[c] }

// MarshalText implements encoding.TextMarshaler.
func (c Confidence) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Place is where something was detected. What is unknown is zero.
type Place struct {
	// Path names the file, the object or the record; members of an archive follow a "!".
	Path string `json:"path"`
	// Part is a part of a file that is no value of it: name, dictionary, statistics, footer.
	Part string `json:"part,omitempty"`
	// Field is the column, or the path of keys.
	Field    string `json:"field,omitempty"`
	RowGroup int64  `json:"row_group,omitempty"` // from 1
	Row      int64  `json:"row,omitempty"`       // from 1
	Line     int64  `json:"line,omitempty"`      // from 1
	Column   int64  `json:"column,omitempty"`    // in bytes, from 1
	// Offset is the byte in what Path names, decompressed. It says nothing where Row is given.
	Offset int64 `json:"offset"`
}

// String names the place: "cards.csv:12:5 (field note)".
func (p Place) String() string {
	s := p.Path
	if p.Line > 0 {
		s += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	if p.Part != "" {
		s += " (" + p.Part + ")"
	}
	if p.Field != "" {
		s += " (field " + p.Field + ")"
	}
	if p.RowGroup > 0 {
		s += fmt.Sprintf(" row group %d", p.RowGroup)
	}
	if p.Row > 0 {
		return s + fmt.Sprintf(" row %d", p.Row)
	}
	if p.Line == 0 {
		s += fmt.Sprintf(" offset %d", p.Offset)
	}
	return s
}

// Detection is one place that holds what looks like card data. It never holds all digits.
type Detection struct {
	Place
	Kind  Kind   `json:"kind"`
	Brand string `json:"brand,omitempty"`
	// Masked is the number as PCI DSS 3.4.1 lets it be shown: at most the first six and the
	// last four digits, the first six alone if there are fewer than 15.
	Masked string `json:"masked,omitempty"`
	// Fingerprint is 16 letters, equal for equal numbers under one key of fingerprints.
	Fingerprint string     `json:"fingerprint"`
	Encoding    Encoding   `json:"encoding"`
	Confidence  Confidence `json:"confidence"`
	// Reason says what the confidence rests on.
	Reason string `json:"reason"`
}

// DetectorConfig tunes a [Detector].
type DetectorConfig struct {
	// IINs are the ranges of card numbers. Default: [card.KnownIINs].
	IINs *card.IINs
	// FingerprintKey is the key of the fingerprints (HMAC-SHA-256). Fingerprints of two runs
	// can be compared only under the same key. Default: a random one.
	FingerprintKey keys.Key
}

// Detector finds card numbers that are not known beforehand, tracks, security codes and PIN
// blocks. It is safe for concurrent use.
type Detector struct {
	iins *card.IINs
	mac  [32]byte
}

// NewDetector returns a detector. It copies the fingerprint key.
func NewDetector(cfg DetectorConfig) *Detector {
	d := &Detector{iins: cfg.IINs}
	if d.iins == nil {
		d.iins = card.KnownIINs()
	}
	if cfg.FingerprintKey.IsZero() {
		rand.Read(d.mac[:])
	} else {
		copy(d.mac[:], cfg.FingerprintKey.Bytes())
	}
	return d
}

// Format implements fmt.Formatter: every verb prints a placeholder, not the key.
func (Detector) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "card data detector") }

func (d *Detector) fingerprint(digits []byte) string {
	m := hmac.New(sha256.New, d.mac[:])
	m.Write(digits)
	return letters(m.Sum(nil)[:fingerprintBytes])
}

// masked shows what may be shown of a number (PCI DSS 3.4.1, FAQ 1091).
func masked(digits []byte) string {
	first, last := 6, 4
	if len(digits) < 15 {
		last = 0
	}
	out := make([]byte, len(digits))
	for i := range out {
		if out[i] = '*'; i < first || i >= len(out)-last {
			out[i] = digits[i]
		}
	}
	return string(out)
}
