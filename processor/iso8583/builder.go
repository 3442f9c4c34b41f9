package iso8583

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// Builder packs a message. The zero Builder is an empty message; Reset makes it one again.
type Builder struct {
	present [129]bool
	value   [129][]byte
}

// Format implements fmt.Formatter: every verb prints a placeholder.
func (Builder) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "message(redacted)") }

// LogValue implements slog.LogValuer.
func (Builder) LogValue() slog.Value { return slog.StringValue("message(redacted)") }

// Reset forgets all elements.
func (b *Builder) Reset() { *b = Builder{} }

// Set sets element de; 0 is the message type. Builder shares value until Append has run.
func (b *Builder) Set(de int, value []byte) {
	b.present[de] = true
	b.value[de] = value
}

// SetText is Set for a string.
func (b *Builder) SetText(de int, value string) { b.Set(de, []byte(value)) }

// Append appends the packed message to dst. It returns an error that wraps ErrFormat, and
// dst as it was, when an element does not have its length or characters.
func (b *Builder) Append(dst []byte) ([]byte, error) {
	if !b.present[0] {
		return dst, fieldError(0, "is missing")
	}
	var bitmaps [2]uint64
	for de := 2; de <= 128; de++ {
		if b.present[de] {
			bitmaps[(de-1)/64] |= 1 << (63 - (de-1)%64)
		}
	}
	if bitmaps[1] != 0 {
		bitmaps[0] |= 1 << 63
	}
	out := dst
	for de := range b.value {
		if de == 1 {
			out = appendBitmap(out, bitmaps[0])
			if bitmaps[1] != 0 {
				out = appendBitmap(out, bitmaps[1])
			}
			continue
		}
		if !b.present[de] {
			continue
		}
		f, ok := FieldOf(de)
		val := b.value[de]
		switch {
		case !ok:
			return dst, fieldError(de, "is not defined")
		case len(val) > f.Length || f.Prefix == 0 && len(val) != f.Length:
			return dst, fieldError(de, "has the wrong length")
		case !f.Kind.valid(val):
			return dst, fieldError(de, "has characters that are not allowed")
		}
		if f.Prefix > 0 {
			var digits [4]byte
			n := strconv.AppendInt(digits[:0], int64(len(val)), 10)
			for range f.Prefix - len(n) {
				out = append(out, '0')
			}
			out = append(out, n...)
		}
		out = append(out, val...)
	}
	return out, nil
}

func appendBitmap(dst []byte, bits uint64) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], bits)
	at := len(dst)
	dst = hex.AppendEncode(dst, raw[:])
	for i := at; i < len(dst); i++ {
		if dst[i] >= 'a' {
			dst[i] -= 'a' - 'A'
		}
	}
	return dst
}
