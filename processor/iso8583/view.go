package iso8583

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// ErrFormat marks a message that does not follow the format. Errors that wrap it name the
// data element, never its content.
var ErrFormat = errors.New("message format")

// View finds the data elements of one message in the message's own memory. It copies
// nothing, so that Wipe leaves no second copy of what must not be kept. The zero View is
// ready; a View may be used again for the next message.
type View struct {
	msg     []byte
	present [129]bool
	span    [129][2]uint16
}

// Format implements fmt.Formatter: every verb prints a placeholder.
func (View) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "message(redacted)") }

// LogValue implements slog.LogValuer.
func (View) LogValue() slog.Value { return slog.StringValue("message(redacted)") }

// Parse reads msg, which v shares from then on. After an error the elements before the
// fault, and well-formed ones behind an element of wrong characters, can still be read:
// enough to answer the sender.
func (v *View) Parse(msg []byte) error {
	*v = View{msg: msg}
	if len(msg) > MaxFrame {
		return fieldError(0, "is in a message over the limit")
	}
	at, first := 0, error(nil)
	if at, first = v.element(0, at); first != nil {
		return first
	}
	var bitmaps [2]uint64
	for i := range bitmaps {
		if i == 1 && bitmaps[0]>>63 == 0 {
			break
		}
		var raw [8]byte
		if len(msg) < at+16 {
			return fieldError(1, "is truncated")
		}
		if _, err := hex.Decode(raw[:], msg[at:at+16]); err != nil {
			return fieldError(1, "is not hexadecimal")
		}
		bitmaps[i] = binary.BigEndian.Uint64(raw[:])
		at += 16
	}
	for de := 2; de <= 128; de++ {
		if bitmaps[(de-1)/64]<<((de-1)%64)>>63 == 0 {
			continue
		}
		next, err := v.element(de, at)
		if err != nil && first == nil {
			first = err
		}
		if next < 0 {
			return first
		}
		at = next
	}
	if at != len(msg) && first == nil {
		first = fieldError(128, "is followed by more bytes than the bitmap announces")
	}
	return first
}

// element reads de at msg[at:] and returns where the next one begins, or -1 if that cannot
// be told.
func (v *View) element(de, at int) (int, error) {
	f, ok := FieldOf(de)
	if !ok {
		return -1, fieldError(de, "is not defined")
	}
	n := f.Length
	if f.Prefix > 0 {
		if len(v.msg) < at+f.Prefix {
			return -1, fieldError(de, "is truncated")
		}
		n = 0
		for _, c := range v.msg[at : at+f.Prefix] {
			if c < '0' || c > '9' {
				return -1, fieldError(de, "has a length that is not a number")
			}
			n = n*10 + int(c-'0')
		}
		if n > f.Length {
			return -1, fieldError(de, "is longer than allowed")
		}
		at += f.Prefix
	}
	if len(v.msg) < at+n {
		return -1, fieldError(de, "is truncated")
	}
	if !f.Kind.valid(v.msg[at : at+n]) {
		return at + n, fieldError(de, "has characters that are not allowed")
	}
	v.present[de] = true
	v.span[de] = [2]uint16{uint16(at), uint16(at + n)}
	return at + n, nil
}

// valid reports whether all characters of b are of the kind.
func (k Kind) valid(b []byte) bool {
	for i, c := range b {
		digit := c >= '0' && c <= '9'
		ok := digit
		switch k {
		case AN:
			ok = digit || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == ' '
		case ANS, Z:
			ok = c >= ' ' && c <= '~'
		case B:
			ok = digit || c >= 'A' && c <= 'F' || c >= 'a' && c <= 'f'
		case XN:
			if i == 0 {
				ok = c == 'C' || c == 'D'
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// Has reports whether the message holds element de in the right form.
func (v *View) Has(de int) bool { return de >= 0 && de < len(v.present) && v.present[de] }

// Bytes returns element de, nil if the message does not hold it. The memory is the
// message's.
func (v *View) Bytes(de int) []byte {
	if !v.Has(de) {
		return nil
	}
	return v.msg[v.span[de][0]:v.span[de][1]]
}

// Text returns a copy of element de, "" if the message does not hold it.
func (v *View) Text(de int) string { return string(v.Bytes(de)) }

// MTI returns the message type, "" if it could not be read.
func (v *View) MTI() string { return v.Text(0) }

// Wipe overwrites the whole message and forgets it.
func (v *View) Wipe() {
	clear(v.msg)
	*v = View{}
}
