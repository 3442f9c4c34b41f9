// Package iso8583 holds the card networks' message format as data: ISO 8583:1987, numeric
// and text fields in ASCII, bitmaps as ASCII hexadecimal, each message behind a two-byte
// length. [ASCII1987] is the format for github.com/moov-io/iso8583; [View] reads the same
// table without copying a message, so that the processor can overwrite what it must not
// keep.
//
// No error of this package holds any content of a message.
package iso8583

import (
	"fmt"

	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
	"github.com/moov-io/iso8583/padding"
	"github.com/moov-io/iso8583/prefix"
)

// Kind is the set of characters that a data element may hold (ISO 8583:1987).
type Kind uint8

const (
	N   Kind = iota // digits
	AN              // letters and digits, and spaces as padding
	ANS             // printable ASCII
	Z               // a magnetic stripe's track: digits, letters as printed, and separators
	B               // binary, spelled in hexadecimal
	XN              // C or D for credit or debit, then digits
)

// Field is the format of one data element.
type Field struct {
	Kind   Kind
	Length int // characters; the most when Prefix is not 0
	Prefix int // digits of the length before the value; 0 is a fixed length
	Name   string
}

// fields is the data element directory of ISO 8583:1987, with hexadecimal binaries at
// twice their bytes. 1 and 65 are bitmaps.
var fields = [129]Field{
	0:   {N, 4, 0, "message type identifier"},
	2:   {N, 19, 2, "primary account number"},
	3:   {N, 6, 0, "processing code"},
	4:   {N, 12, 0, "amount, transaction"},
	5:   {N, 12, 0, "amount, settlement"},
	6:   {N, 12, 0, "amount, cardholder billing"},
	7:   {N, 10, 0, "transmission date and time"},
	8:   {N, 8, 0, "amount, cardholder billing fee"},
	9:   {N, 8, 0, "conversion rate, settlement"},
	10:  {N, 8, 0, "conversion rate, cardholder billing"},
	11:  {N, 6, 0, "systems trace audit number"},
	12:  {N, 6, 0, "time, local transaction"},
	13:  {N, 4, 0, "date, local transaction"},
	14:  {N, 4, 0, "date, expiration"},
	15:  {N, 4, 0, "date, settlement"},
	16:  {N, 4, 0, "date, conversion"},
	17:  {N, 4, 0, "date, capture"},
	18:  {N, 4, 0, "merchant's type"},
	19:  {N, 3, 0, "acquiring institution country code"},
	20:  {N, 3, 0, "primary account number country code"},
	21:  {N, 3, 0, "forwarding institution country code"},
	22:  {N, 3, 0, "point of service entry mode"},
	23:  {N, 3, 0, "card sequence number"},
	24:  {N, 3, 0, "network international identifier"},
	25:  {N, 2, 0, "point of service condition code"},
	26:  {N, 2, 0, "point of service PIN capture code"},
	27:  {N, 1, 0, "authorization identification response length"},
	28:  {XN, 9, 0, "amount, transaction fee"},
	29:  {XN, 9, 0, "amount, settlement fee"},
	30:  {XN, 9, 0, "amount, transaction processing fee"},
	31:  {XN, 9, 0, "amount, settlement processing fee"},
	32:  {N, 11, 2, "acquiring institution identification code"},
	33:  {N, 11, 2, "forwarding institution identification code"},
	34:  {ANS, 28, 2, "primary account number, extended"},
	35:  {Z, 37, 2, "track 2 data"},
	36:  {Z, 104, 3, "track 3 data"},
	37:  {AN, 12, 0, "retrieval reference number"},
	38:  {AN, 6, 0, "authorization identification response"},
	39:  {AN, 2, 0, "response code"},
	40:  {AN, 3, 0, "service restriction code"},
	41:  {ANS, 8, 0, "card acceptor terminal identification"},
	42:  {ANS, 15, 0, "card acceptor identification code"},
	43:  {ANS, 40, 0, "card acceptor name and location"},
	44:  {ANS, 25, 2, "additional response data"},
	45:  {Z, 76, 2, "track 1 data"},
	46:  {ANS, 999, 3, "additional data, ISO"},
	47:  {ANS, 999, 3, "additional data, national"},
	48:  {ANS, 999, 3, "additional data, private"},
	49:  {N, 3, 0, "currency code, transaction"},
	50:  {N, 3, 0, "currency code, settlement"},
	51:  {N, 3, 0, "currency code, cardholder billing"},
	52:  {B, 16, 0, "personal identification number data"},
	53:  {N, 16, 0, "security related control information"},
	54:  {ANS, 120, 3, "additional amounts"},
	55:  {ANS, 999, 3, "integrated circuit card data"},
	56:  {ANS, 999, 3, "reserved, ISO"},
	57:  {ANS, 999, 3, "reserved, national"},
	58:  {ANS, 999, 3, "reserved, national"},
	59:  {ANS, 999, 3, "reserved, national"},
	60:  {ANS, 999, 3, "reserved, private"},
	61:  {ANS, 999, 3, "reserved, private"},
	62:  {ANS, 999, 3, "reserved, private"},
	63:  {ANS, 999, 3, "reserved, private"},
	64:  {B, 16, 0, "message authentication code"},
	66:  {N, 1, 0, "settlement code"},
	67:  {N, 2, 0, "extended payment code"},
	68:  {N, 3, 0, "receiving institution country code"},
	69:  {N, 3, 0, "settlement institution country code"},
	70:  {N, 3, 0, "network management information code"},
	71:  {N, 4, 0, "message number"},
	72:  {N, 4, 0, "message number, last"},
	73:  {N, 6, 0, "date, action"},
	74:  {N, 10, 0, "credits, number"},
	75:  {N, 10, 0, "credits, reversal number"},
	76:  {N, 10, 0, "debits, number"},
	77:  {N, 10, 0, "debits, reversal number"},
	78:  {N, 10, 0, "transfer, number"},
	79:  {N, 10, 0, "transfer, reversal number"},
	80:  {N, 10, 0, "inquiries, number"},
	81:  {N, 10, 0, "authorizations, number"},
	82:  {N, 12, 0, "credits, processing fee amount"},
	83:  {N, 12, 0, "credits, transaction fee amount"},
	84:  {N, 12, 0, "debits, processing fee amount"},
	85:  {N, 12, 0, "debits, transaction fee amount"},
	86:  {N, 16, 0, "credits, amount"},
	87:  {N, 16, 0, "credits, reversal amount"},
	88:  {N, 16, 0, "debits, amount"},
	89:  {N, 16, 0, "debits, reversal amount"},
	90:  {N, 42, 0, "original data elements"},
	91:  {AN, 1, 0, "file update code"},
	92:  {AN, 2, 0, "file security code"},
	93:  {AN, 5, 0, "response indicator"},
	94:  {AN, 7, 0, "service indicator"},
	95:  {AN, 42, 0, "replacement amounts"},
	96:  {B, 16, 0, "message security code"},
	97:  {XN, 17, 0, "amount, net settlement"},
	98:  {ANS, 25, 0, "payee"},
	99:  {N, 11, 2, "settlement institution identification code"},
	100: {N, 11, 2, "receiving institution identification code"},
	101: {ANS, 17, 2, "file name"},
	102: {ANS, 28, 2, "account identification 1"},
	103: {ANS, 28, 2, "account identification 2"},
	104: {ANS, 100, 3, "transaction description"},
	105: {ANS, 999, 3, "reserved, ISO"},
	106: {ANS, 999, 3, "reserved, ISO"},
	107: {ANS, 999, 3, "reserved, ISO"},
	108: {ANS, 999, 3, "reserved, ISO"},
	109: {ANS, 999, 3, "reserved, ISO"},
	110: {ANS, 999, 3, "reserved, ISO"},
	111: {ANS, 999, 3, "reserved, ISO"},
	112: {ANS, 999, 3, "reserved, national"},
	113: {ANS, 999, 3, "reserved, national"},
	114: {ANS, 999, 3, "reserved, national"},
	115: {ANS, 999, 3, "reserved, national"},
	116: {ANS, 999, 3, "reserved, national"},
	117: {ANS, 999, 3, "reserved, national"},
	118: {ANS, 999, 3, "reserved, national"},
	119: {ANS, 999, 3, "reserved, national"},
	120: {ANS, 999, 3, "reserved, private"},
	121: {ANS, 999, 3, "reserved, private"},
	122: {ANS, 999, 3, "reserved, private"},
	123: {ANS, 999, 3, "reserved, private"},
	124: {ANS, 999, 3, "reserved, private"},
	125: {ANS, 999, 3, "reserved, private"},
	126: {ANS, 999, 3, "reserved, private"},
	127: {ANS, 999, 3, "reserved, private"},
	128: {B, 16, 0, "message authentication code"},
}

// FieldOf returns the format of data element de, and false for the bitmaps and for numbers
// that are no data element. 0 is the message type.
func FieldOf(de int) (Field, bool) {
	if de < 0 || de >= len(fields) || fields[de].Length == 0 {
		return Field{}, false
	}
	return fields[de], true
}

// ASCII1987 returns the format for github.com/moov-io/iso8583: every element a String of
// its exact characters, so that leading zeros survive. Elements 41 and 42 are padded with
// spaces on the right and lose them on reading; the others of fixed length must be set at
// full length. Element 52 and the other binaries are set as hexadecimal characters.
func ASCII1987() *iso8583.MessageSpec {
	spec := &iso8583.MessageSpec{
		Name: "ISO 8583:1987 ASCII",
		Fields: map[int]field.Field{
			1: field.NewBitmap(&field.Spec{
				Length: 8, Description: "bitmap", Enc: encoding.BytesToASCIIHex, Pref: prefix.Hex.Fixed,
			}),
		},
	}
	prefixes := [...]prefix.Prefixer{0: prefix.ASCII.Fixed, 2: prefix.ASCII.LL, 3: prefix.ASCII.LLL}
	for de, f := range fields {
		if f.Length == 0 {
			continue
		}
		s := &field.Spec{Length: f.Length, Description: f.Name, Enc: encoding.ASCII, Pref: prefixes[f.Prefix]}
		if de == 41 || de == 42 {
			s.Pad = padding.Right(' ')
		}
		spec.Fields[de] = field.NewString(s)
	}
	return spec
}

func fieldError(de int, what string) error {
	if de == 0 {
		return fmt.Errorf("%w: message type %s", ErrFormat, what)
	}
	return fmt.Errorf("%w: DE %d %s", ErrFormat, de, what)
}
