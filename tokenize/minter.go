package tokenize

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"strconv"
	"unsafe"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
)

// domain separates tokens from every other use of a mint secret.
const domain = "cardlake card token\x00"

// Minter mints the tokens of one tenant. One goroutine uses it at a time.
type Minter struct {
	mints []*mint // of each live secret, the newest first
	rules *rules
	out   [maxTokenLen + 8 + 4]byte

	owner  keys.Owner
	pinner *pinner // nil: candidates are tokens
	// salt is new for each set of live secrets: what was pinned under another is forgotten, so
	// that destroying a secret after a compromise takes the tokens with it that were
	// remembered before their cards got new ones.
	salt key
}

// mint makes candidates with one secret.
type mint struct {
	version int
	prefix  string // of its tokens' text
	mac     hash.Hash
	input   [len(domain) + 19]byte // begins with domain
	sum     [sha256.Size]byte
}

func newMint(version int, secret keys.Key) *mint {
	m := &mint{version: version, prefix: "tk" + strconv.Itoa(version) + "_", mac: hmac.New(sha256.New, secret.Bytes())}
	copy(m.input[:], domain)
	return m
}

// candidate returns the token that the secret makes of the number, in m's own memory.
func (m *mint) candidate(pan card.PAN) *[tokenBytes]byte {
	n := len(domain) + copy(m.input[len(domain):], pan.Digits())
	m.mac.Reset()
	m.mac.Write(m.input[:n])
	clear(m.input[len(domain):])
	m.mac.Sum(m.sum[:0])
	return (*[tokenBytes]byte)(m.sum[:])
}

// append appends the text of a token of m's version.
func (m *mint) append(dst []byte, bits *[tokenBytes]byte) []byte {
	return cardlake.AppendLetters(append(dst, m.prefix...), bits[:])
}

func (m *mint) token(pan card.PAN) Token { return Token{m.version, *m.candidate(pan)} }

// NewMinter returns a minter for the secret of the given version, counted from 1. Its
// candidates are tokens.
func NewMinter(version int, secret keys.Key) *Minter {
	return newMinter([]keys.Secret{{Version: version, Key: secret}})
}

func newMinter(secrets []keys.Secret) *Minter {
	m := &Minter{rules: truncation()}
	for _, s := range secrets {
		m.mints = append(m.mints, newMint(s.Version, s.Key))
	}
	return m
}

// Token returns the candidate of the newest secret.
func (m *Minter) Token(pan card.PAN) Token { return m.mints[0].token(pan) }

// AppendTokens appends the candidates of the newest secret, one for each number, in order. It
// allocates nothing when dst has room.
func (m *Minter) AppendTokens(dst []Token, pans []card.PAN) []Token {
	for _, pan := range pans {
		dst = append(dst, m.mints[0].token(pan))
	}
	return dst
}

// AppendToken appends the text of Token(pan) to dst. It allocates nothing when dst has room.
func (m *Minter) AppendToken(dst []byte, pan card.PAN) []byte {
	newest := m.mints[0]
	return newest.append(dst, newest.candidate(pan))
}

// Apply sets the message's card token, bin and last4 from its card number, as ApplyRow does.
func (m *Minter) Apply(msg *card.Message) (isKnown bool) {
	msg.CardToken, msg.BIN, msg.Last4, isKnown = m.apply(msg.PAN)
	return isKnown
}

// ApplyRow sets the row's card token, bin and last4 from its card number. The three strings
// are valid until the next Apply or ApplyRow. It reports whether the token is known: always,
// unless tokens are pinned and this card's pin is not remembered. Then the token is empty:
// Queue the card and set its token from what Settle returns.
func (m *Minter) ApplyRow(r *cardlake.Row, pan card.PAN) (isKnown bool) {
	r.CardToken, r.BIN, r.Last4, isKnown = m.apply(pan)
	return isKnown
}

func (m *Minter) apply(pan card.PAN) (token, bin, last4 string, isKnown bool) {
	newest, out := m.mints[0], m.out[:0]
	candidate := newest.candidate(pan)
	isKnown = true
	if m.pinner == nil {
		out = newest.append(out, candidate)
	} else if t, isThere := m.pinner.cache.find(keyOf(candidate, m.salt)); !isThere {
		isKnown = false
	} else if t.Version == newest.version {
		out = newest.append(out, &t.Bits)
	} else {
		out = t.append(out)
	}
	tokenEnd := len(out)
	digits := pan.Digits()
	r := m.rules.of(digits)
	out = append(out, digits[:r.First]...)
	binEnd := len(out)
	out = append(out, digits[len(digits)-r.Last:]...)
	return view(out[:tokenEnd]), view(out[tokenEnd:binEnd]), view(out[binEnd:]), isKnown
}

func view(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}
