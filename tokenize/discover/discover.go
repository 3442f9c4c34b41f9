// Package discover searches bytes for card data. [Known] looks for the numbers of a given set,
// exactly and in the spellings in which software leaves them behind; it is how the system
// proves about itself that nothing it wrote outside zone A holds one. [Detector] finds numbers
// that are not known beforehand, tracks, security codes and PIN blocks: a whole run of 13 to 19
// digits with one kind of separator, a brand's prefix and length, the check digit where the
// brand uses one, then the words before it and the share of card numbers in its place. Package
// formats looks into files for it.
//
// The package is part of zone A. It reports where a number is, how it is spelled and a
// fingerprint; Known never a digit, Detector at most the first six and the last four.
//
// What Known does not see: compressed or encrypted data (it searches the bytes that are there),
// base64 broken by line ends, numbers kept as binary integers.
//
// What Detector does not see: numbers within longer runs of digits, such as records of fixed
// width, unless an EMV tag or an ISO 8583 message in packed form announces them; numbers broken
// by line ends; binary integers outside typed files; the number of a brand that is not in its
// table. Where other numbers fill the same place, a card number or two among them are not told
// apart from chance, and are of low confidence.
package discover

import (
	"fmt"

	"github.com/cardlake/cardlake"
)

// Encoding is a spelling of a card number.
type Encoding string

const (
	ASCII        Encoding = "ascii"         // one byte a digit; hexadecimal text of BCD is the same
	ASCIIGrouped Encoding = "ascii-grouped" // ASCII, groups joined by single spaces or hyphens
	UTF16        Encoding = "utf-16"        // two bytes a digit, either byte order
	EBCDIC       Encoding = "ebcdic"        // bytes F0 to F9
	BCD          Encoding = "bcd"           // two digits a byte, starting at either half
	HexASCII     Encoding = "hex-ascii"     // hexadecimal text of ASCII digits
	Base64ASCII  Encoding = "base64-ascii"  // base64 (RFC 4648, sections 4 and 5) of ASCII digits
	Base64BCD    Encoding = "base64-bcd"    // base64 of BCD
	HexBCD       Encoding = "hex-bcd"       // hexadecimal text of packed data in which a number is announced
	Integer      Encoding = "integer"       // a binary integer of a typed column
)

// Finding is one place that holds a card number.
type Finding struct {
	Name        string   // what was searched: a file's path below the folder, with slashes
	Offset      int64    // of the byte with the number's first digit, counted from 0
	Encoding    Encoding // how it is spelled
	Fingerprint string   // 16 letters, equal for equal numbers within one Known
}

// String is "name: offset 12: ascii card number (fingerprint)".
func (f Finding) String() string {
	return fmt.Sprintf("%s: offset %d: %s card number (%s)", f.Name, f.Offset, f.Encoding, f.Fingerprint)
}

const fingerprintBytes = 8

func letters(b []byte) string { return string(cardlake.AppendLetters(nil, b)) }
