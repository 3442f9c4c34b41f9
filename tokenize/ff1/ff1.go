// Package ff1 is FF1, the format-preserving encryption of NIST SP 800-38G (February 2016)
// over AES: what comes out has the length and the alphabet of what goes in, so a card number
// becomes as many digits.
//
// A [Cipher] encrypts numerals of any radix and length on big integers; a [Text] does so for
// text over an alphabet; a [Decimal] encrypts decimal digits of one length under one tweak on
// machine words, without allocating, for card numbers by the million. All three give the same
// result.
//
// As the second draft of revision 1 (February 2025) requires, radix^length must be at least
// 1,000,000: fewer values can be listed by who can have chosen ones encrypted. FF3 and FF3-1
// are withdrawn there and are not in this package.
//
// Errors name the rule that was broken, with lengths and bounds; never a symbol, a tweak or
// key bytes. No value of this package prints key bytes.
package ff1

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/bits"
)

const (
	// MinRadix and MaxRadix are SP 800-38G's bounds of the radix.
	MinRadix, MaxRadix = 2, 1 << 16
	// MaxLen is the most symbols that are encrypted at once. The standard allows 2^32-1; the
	// bound keeps time and memory small, some tenths of a second and some MB at its most.
	MaxLen = 1 << 18
	// MaxTweak is the longest tweak in bytes. The standard allows 2^32-1.
	MaxTweak = 1 << 16

	minDomain    = 1_000_000 // radix^minlen, SP 800-38Gr1 2pd, section 5.2
	minDomain16  = 100       // of SP 800-38G, section 5.1
	rounds       = 10
	minLenSymbol = 2
)

var (
	// ErrKey marks a key that AES does not have.
	ErrKey = errors.New("ff1: key must have 16, 24 or 32 bytes")
	// ErrRadix marks a radix out of bounds.
	ErrRadix = errors.New("ff1: radix must be 2 to 65536")
	// ErrLength marks an input with too few symbols for its radix, or too many.
	ErrLength = errors.New("ff1: length out of bounds")
	// ErrTweak marks a tweak that is too long.
	ErrTweak = errors.New("ff1: tweak longer than 65536 bytes")
	// ErrSymbol marks an input with a symbol that its alphabet does not have, or a numeral
	// that is not below the radix. It does not say which.
	ErrSymbol = errors.New("ff1: symbol outside the alphabet")
	// ErrAlphabet marks an alphabet that names a symbol twice or is not UTF-8.
	ErrAlphabet = errors.New("ff1: alphabet must be UTF-8 and have each symbol once")
)

// Config configures a Cipher.
type Config struct {
	// SmallDomains admits inputs with radix^length from 100, as the edition of 2016 did, to
	// read what was encrypted so. Refused by default.
	SmallDomains bool
}

// Cipher is FF1 under one key and radix. It is safe for concurrent use.
type Cipher struct {
	// block sits behind a pointer to an interface, which fmt does not follow to the key.
	block  *cipher.Block
	radix  int
	minLen int
}

// New returns a cipher for numerals 0 to radix-1; the key has 16, 24 or 32 bytes for AES-128,
// AES-192 or AES-256 and is not kept. The errors are ErrKey and ErrRadix.
func New(key []byte, radix int, cfg Config) (*Cipher, error) {
	if radix < MinRadix || radix > MaxRadix {
		return nil, ErrRadix
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, ErrKey
	}
	least := minDomain
	if cfg.SmallDomains {
		least = minDomain16
	}
	c := &Cipher{block: &block, radix: radix, minLen: 1}
	for domain := radix; domain < least; domain *= radix {
		c.minLen++
	}
	c.minLen = max(c.minLen, minLenSymbol)
	return c, nil
}

// Radix is how many numerals there are.
func (c *Cipher) Radix() int { return c.radix }

// MinLen is the least length that is encrypted.
func (c *Cipher) MinLen() int { return c.minLen }

const redacted = "ff1 cipher(redacted)"

// Format implements fmt.Formatter: every verb prints a placeholder.
func (c *Cipher) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Encrypt returns the numerals x encrypted under the tweak, FF1.Encrypt(K, T, X) of the
// standard. The errors are ErrLength, ErrTweak and ErrSymbol.
func (c *Cipher) Encrypt(tweak []byte, x []uint16) ([]uint16, error) {
	return c.feistel(tweak, x, false)
}

// Decrypt returns what Encrypt was given, FF1.Decrypt(K, T, X). The errors are Encrypt's; a
// wrong tweak or key gives other numerals, not an error.
func (c *Cipher) Decrypt(tweak []byte, x []uint16) ([]uint16, error) {
	return c.feistel(tweak, x, true)
}

func (c *Cipher) checkLen(n int) error {
	if n < c.minLen || n > MaxLen {
		return fmt.Errorf("%w: %d symbols, want %d to %d with radix %d", ErrLength, n, c.minLen, MaxLen, c.radix)
	}
	return nil
}

func (c *Cipher) check(tweak []byte, x []uint16) error {
	if err := c.checkLen(len(x)); err != nil {
		return err
	}
	if len(tweak) > MaxTweak {
		return ErrTweak
	}
	if c.radix < MaxRadix {
		for _, numeral := range x {
			if int(numeral) >= c.radix {
				return ErrSymbol
			}
		}
	}
	return nil
}

// feistel is the ten rounds of algorithms 7 and 8. A and B stay integers all the way.
func (c *Cipher) feistel(tweak []byte, x []uint16, isDecrypt bool) ([]uint16, error) {
	if err := c.check(tweak, x); err != nil {
		return nil, err
	}
	u := len(x) / 2
	v := len(x) - u
	powers := newPowers(c.radix)
	modU, modV := powers.of(u), powers.of(v)
	f := newRoundFunction(*c.block, c.radix, len(x), tweak, modV)
	a, b := powers.num(x[:u]), powers.num(x[u:])
	y := new(big.Int)
	if isDecrypt {
		for i := rounds - 1; i >= 0; i-- {
			mod := modU
			if i&1 == 1 {
				mod = modV
			}
			f.round(y, i, a)
			y.Mod(y.Sub(b, y), mod)
			a, b, y = y, a, b
		}
	} else {
		for i := range rounds {
			mod := modU
			if i&1 == 1 {
				mod = modV
			}
			f.round(y, i, b)
			y.Mod(y.Add(a, y), mod)
			a, b, y = b, y, a
		}
	}
	out := make([]uint16, len(x))
	powers.str(out[:u], a)
	powers.str(out[u:], b)
	return out, nil
}

// halfBytes is the standard's b and d of steps 3 and 4: the bytes of the longer half, and of a
// round's number. The bits are those of radix^v-1, exactly the ceiling of v*log2(radix).
func halfBytes(bitLen int) (b, d int) {
	b = (bitLen + 7) / 8
	return b, 4*((b+3)/4) + 4
}

// firstBlock is P of step 5.
func firstBlock(p *[aes.BlockSize]byte, radix, n, tweak int) {
	*p = [aes.BlockSize]byte{1, 2, 1, byte(radix >> 16), byte(radix >> 8), byte(radix), rounds, byte(n / 2)}
	binary.BigEndian.PutUint32(p[8:], uint32(n))
	binary.BigEndian.PutUint32(p[12:], uint32(tweak))
}

// roundFunction is steps 6.i to 6.iv: what a round adds, of the other half and the round's
// number.
type roundFunction struct {
	block cipher.Block
	// state is CBC-MAC (algorithm 6, PRF) over P and those blocks of Q that are all tweak or
	// padding; q is the rest of Q, ending with the round and b bytes of the half.
	state [aes.BlockSize]byte
	q     []byte
	b     int
	s     []byte // S, rounded up to whole blocks
	d     int
}

func newRoundFunction(block cipher.Block, radix, n int, tweak []byte, modV *big.Int) *roundFunction {
	f := &roundFunction{block: block}
	f.b, f.d = halfBytes(new(big.Int).Sub(modV, big.NewInt(1)).BitLen())
	firstBlock(&f.state, radix, n, len(tweak))
	block.Encrypt(f.state[:], f.state[:])
	padded := (len(tweak) + 1 + f.b + aes.BlockSize - 1) &^ (aes.BlockSize - 1)
	q := make([]byte, padded)
	copy(q, tweak)
	fixed := (padded - f.b - 1) &^ (aes.BlockSize - 1)
	f.mac(&f.state, q[:fixed])
	f.q = q[fixed:]
	f.s = make([]byte, (f.d+aes.BlockSize-1)&^(aes.BlockSize-1))
	return f
}

// mac goes on with a CBC-MAC over whole blocks.
func (f *roundFunction) mac(state *[aes.BlockSize]byte, blocks []byte) {
	for ; len(blocks) > 0; blocks = blocks[aes.BlockSize:] {
		for i := range state {
			state[i] ^= blocks[i]
		}
		f.block.Encrypt(state[:], state[:])
	}
}

// round sets y to what round i makes of the half.
func (f *roundFunction) round(y *big.Int, i int, half *big.Int) {
	f.q[len(f.q)-f.b-1] = byte(i)
	half.FillBytes(f.q[len(f.q)-f.b:])
	r := (*[aes.BlockSize]byte)(f.s)
	*r = f.state
	f.mac(r, f.q)
	for j := 1; j*aes.BlockSize < len(f.s); j++ {
		block := f.s[j*aes.BlockSize:][:aes.BlockSize]
		copy(block, r[:])
		counter := block[8:]
		binary.BigEndian.PutUint64(counter, binary.BigEndian.Uint64(counter)^uint64(j))
		f.block.Encrypt(block, block)
	}
	y.SetBytes(f.s[:f.d])
}

// powers turns numerals of a radix into integers and back. It halves long inputs, so that
// most of the work is multiplying and dividing large numbers, and keeps the powers it needs.
type powers struct {
	radix   int
	perWord int      // numerals that fit a word
	word    *big.Int // radix^perWord
	known   map[int]*big.Int
}

// hornerLen is how many numerals are turned word by word: more are halved first.
const hornerLen = 1024

func newPowers(radix int) *powers {
	p := &powers{radix: radix, known: map[int]*big.Int{}}
	power, r := uint64(1), uint64(radix)
	for {
		high, low := bits.Mul64(power, r)
		if high != 0 {
			break
		}
		power = low
		p.perWord++
	}
	p.word = new(big.Int).SetUint64(power)
	return p
}

// of returns radix^n, which the caller does not change.
func (p *powers) of(n int) *big.Int {
	power := p.known[n]
	if power == nil {
		power = new(big.Int).Exp(big.NewInt(int64(p.radix)), big.NewInt(int64(n)), nil)
		p.known[n] = power
	}
	return power
}

// num is NUM_radix(X), algorithm 1.
func (p *powers) num(x []uint16) *big.Int {
	if len(x) > hornerLen {
		low := len(x) / 2
		v := p.num(x[:len(x)-low])
		v.Mul(v, p.of(low))
		return v.Add(v, p.num(x[len(x)-low:]))
	}
	v, digit := new(big.Int), new(big.Int)
	for len(x) > 0 {
		n := len(x) % p.perWord // the first word is the short one
		if n == 0 {
			n = p.perWord
		}
		var word uint64
		for _, numeral := range x[:n] {
			word = word*uint64(p.radix) + uint64(numeral)
		}
		v.Mul(v, p.word)
		v.Add(v, digit.SetUint64(word))
		x = x[n:]
	}
	return v
}

// str is STR_radix(v), algorithm 3, of len(out) numerals. It overwrites v.
func (p *powers) str(out []uint16, v *big.Int) {
	if len(out) > hornerLen {
		low := len(out) / 2
		high, rest := new(big.Int).QuoRem(v, p.of(low), new(big.Int))
		p.str(out[:len(out)-low], high)
		p.str(out[len(out)-low:], rest)
		return
	}
	digit := new(big.Int)
	for len(out) > 0 {
		n := min(p.perWord, len(out))
		v.QuoRem(v, p.word, digit)
		word := digit.Uint64()
		for i := len(out) - 1; i >= len(out)-n; i-- {
			out[i] = uint16(word % uint64(p.radix))
			word /= uint64(p.radix)
		}
		out = out[:len(out)-n]
	}
}
