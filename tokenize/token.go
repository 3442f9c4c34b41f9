package tokenize

import (
	"errors"
	"strconv"
	"strings"

	"github.com/cardlake/cardlake"
)

// tokenBytes is how much of the HMAC a token keeps: 128 bits.
const tokenBytes = 16

// MaxVersion is the highest version of a mint secret. It has nine digits, so that a token has
// no digit run that is long enough for a card number.
const MaxVersion = 999_999_999

// maxTokenLen is the length of a token in text of the version MaxVersion.
const maxTokenLen = len("tk") + 9 + len("_") + 2*tokenBytes

// Token stands for a card number within one tenant. It is comparable. The zero Token is no
// token.
type Token struct {
	// Version is that of the mint secret that made it, 1 to MaxVersion. A pinned card keeps
	// its token, so it may be older than the tenant's newest secret.
	Version int
	Bits    [tokenBytes]byte
}

// AppendText implements encoding.TextAppender: "tk", the version, "_" and the bits in letters
// a to p. It does not fail.
func (t Token) AppendText(dst []byte) ([]byte, error) { return t.append(dst), nil }

func (t Token) append(dst []byte) []byte {
	dst = append(dst, "tk"...)
	dst = strconv.AppendInt(dst, int64(t.Version), 10)
	dst = append(dst, '_')
	return cardlake.AppendLetters(dst, t.Bits[:])
}

// String is the token as the lake has it, "tk1_" and 32 letters.
func (t Token) String() string { return string(t.append(make([]byte, 0, maxTokenLen))) }

// IsZero reports whether t is no token.
func (t Token) IsZero() bool { return t == Token{} }

// ErrToken marks text that is no token. It never holds the text, which may be a card number
// that somebody put in the wrong place.
var ErrToken = errors.New(`token must be "tk", the version of a mint secret, "_" and 32 letters a to p`)

// ParseToken reads what String writes and nothing else; other text returns ErrToken.
func ParseToken(s string) (Token, error) {
	rest, isToken := strings.CutPrefix(s, "tk")
	version, letters, hasBits := strings.Cut(rest, "_")
	if !isToken || !hasBits || len(version) > 9 || len(letters) != 2*tokenBytes {
		return Token{}, ErrToken
	}
	var t Token
	for i := range len(version) {
		if version[i] < '0' || version[i] > '9' {
			return Token{}, ErrToken
		}
		t.Version = 10*t.Version + int(version[i]-'0')
	}
	if t.Version == 0 || version[0] == '0' {
		return Token{}, ErrToken
	}
	for i := range t.Bits {
		high, low := letters[2*i]-'a', letters[2*i+1]-'a'
		if high > 15 || low > 15 {
			return Token{}, ErrToken
		}
		t.Bits[i] = high<<4 | low
	}
	return t, nil
}

// UnmarshalText implements encoding.TextUnmarshaler, as ParseToken.
func (t *Token) UnmarshalText(text []byte) error {
	parsed, err := ParseToken(string(text))
	if err == nil {
		*t = parsed
	}
	return err
}

// MarshalText implements encoding.TextMarshaler, as String.
func (t Token) MarshalText() ([]byte, error) { return t.AppendText(nil) }
