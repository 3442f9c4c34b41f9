package ff1

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// MaxDecimalLen is the longest number that a Decimal encrypts: a half of it, 18 digits, and
// the sum of two fit a word.
const MaxDecimalLen = 36

// Decimal is FF1 over ASCII digits of one length under one tweak: what does not change from
// one number to the next is worked out once, a half is a word, and nothing is allocated. A
// number takes about twice as long as the ten AES blocks it needs, each of which needs the one
// before; in EncryptAll hardly longer than they. One goroutine uses it at a time.
type Decimal struct {
	// block sits behind a pointer to an interface, which fmt does not follow to the key.
	block *cipher.Block
	n     int
	mods  [2]modulus // of the even rounds, which change the first half, and of the odd ones
	// rounds are the last block of Q XORed with the CBC-MAC before it, less the half.
	rounds  [rounds]struct{ high, low uint64 }
	isShort bool // d is 8 bytes, not 12
	buf     [lanes * aes.BlockSize]byte
}

// lanes are the numbers that EncryptAll has in hand at a time: a processor works on the AES
// blocks of some while it waits for those of others.
const lanes = 4

// Decimal returns a cipher for numbers of n digits under the tweak, c's radix being 10. The
// errors are ErrRadix, ErrLength and ErrTweak.
func (c *Cipher) Decimal(tweak []byte, n int) (*Decimal, error) {
	if c.radix != 10 {
		return nil, fmt.Errorf("%w: a decimal cipher needs radix 10", ErrRadix)
	}
	if n < c.minLen || n > MaxDecimalLen {
		return nil, fmt.Errorf("%w: %d digits, want %d to %d", ErrLength, n, c.minLen, MaxDecimalLen)
	}
	if len(tweak) > MaxTweak {
		return nil, ErrTweak
	}
	u := n / 2
	v := n - u
	d := &Decimal{block: c.block, n: n, mods: [2]modulus{newModulus(u), newModulus(v)}}
	powers := newPowers(10)
	f := newRoundFunction(*c.block, 10, n, tweak, powers.of(v))
	d.isShort = f.d == 8
	// b is at most 8 bytes, so that the round's number and the half share Q's last block.
	for i := range d.rounds {
		f.q[len(f.q)-f.b-1] = byte(i)
		state := f.state
		for j, b := range f.q {
			state[j] ^= b
		}
		d.rounds[i].high = binary.BigEndian.Uint64(state[:8])
		d.rounds[i].low = binary.BigEndian.Uint64(state[8:])
	}
	return d, nil
}

// Len is how many digits a number has.
func (d *Decimal) Len() int { return d.n }

// Format implements fmt.Formatter: every verb prints a placeholder.
func (d *Decimal) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Encrypt encrypts the number in place. ErrLength and ErrSymbol leave it as it was.
func (d *Decimal) Encrypt(digits []byte) error {
	a, b, err := d.parse(digits)
	if err != nil {
		return err
	}
	block := *d.block
	for i := 0; i < rounds; i += 2 {
		a = d.mods[0].add(a, d.round(block, i, b))
		b = d.mods[1].add(b, d.round(block, i+1, a))
	}
	d.put(digits, a, b)
	return nil
}

// Decrypt decrypts the number in place. ErrLength and ErrSymbol leave it as it was.
func (d *Decimal) Decrypt(digits []byte) error {
	a, b, err := d.parse(digits)
	if err != nil {
		return err
	}
	block := *d.block
	for i := rounds - 2; i >= 0; i -= 2 {
		b = d.mods[1].sub(b, d.round(block, i+1, a))
		a = d.mods[0].sub(a, d.round(block, i, b))
	}
	d.put(digits, a, b)
	return nil
}

// EncryptAll encrypts numbers that lie one after the other, in place, several at a time. On
// ErrLength, for bytes that are no whole numbers, and ErrSymbol the bytes are as they were.
func (d *Decimal) EncryptAll(digits []byte) error {
	if len(digits)%d.n != 0 {
		return fmt.Errorf("%w: not a multiple of %d digits", ErrLength, d.n)
	}
	for _, c := range digits {
		if c-'0' > 9 {
			return ErrSymbol
		}
	}
	block := *d.block
	for ; len(digits) >= lanes*d.n; digits = digits[lanes*d.n:] {
		var halves [2][lanes]uint64
		for l := range lanes {
			halves[0][l], halves[1][l], _ = d.parse(digits[l*d.n:][:d.n])
		}
		for i := range rounds {
			mod, to, from := &d.mods[i&1], &halves[i&1], &halves[1-i&1]
			base := &d.rounds[i]
			for l, half := range from {
				binary.BigEndian.PutUint64(d.buf[l*aes.BlockSize:], base.high)
				binary.BigEndian.PutUint64(d.buf[l*aes.BlockSize+8:], base.low^half)
			}
			for l := range lanes {
				in := d.buf[l*aes.BlockSize:][:aes.BlockSize]
				block.Encrypt(in, in)
			}
			for l := range to {
				to[l] = mod.add(to[l], d.number(mod, (*[aes.BlockSize]byte)(d.buf[l*aes.BlockSize:])))
			}
		}
		for l := range lanes {
			d.put(digits[l*d.n:], halves[0][l], halves[1][l])
		}
	}
	for ; len(digits) > 0; digits = digits[d.n:] {
		if err := d.Encrypt(digits[:d.n]); err != nil {
			return err
		}
	}
	return nil
}

// round is what round i adds to one half, of the other, below twice that half's modulus.
func (d *Decimal) round(block cipher.Block, i int, half uint64) uint64 {
	in := (*[aes.BlockSize]byte)(d.buf[:])
	binary.BigEndian.PutUint64(in[:8], d.rounds[i].high)
	binary.BigEndian.PutUint64(in[8:], d.rounds[i].low^half)
	block.Encrypt(in[:], in[:])
	return d.number(&d.mods[i&1], in)
}

// number is the first d bytes of R, below twice mod and equal to them modulo mod: R alone has
// 16 bytes.
func (d *Decimal) number(mod *modulus, r *[aes.BlockSize]byte) uint64 {
	y := binary.BigEndian.Uint64(r[:8])
	if d.isShort {
		return mod.nearly(y)
	}
	high := mod.add(0, mod.nearly(y>>32))
	_, remainder := bits.Div64(high, y<<32|uint64(binary.BigEndian.Uint32(r[8:12])), mod.power)
	return remainder
}

func (d *Decimal) parse(digits []byte) (a, b uint64, err error) {
	if len(digits) != d.n {
		return 0, 0, fmt.Errorf("%w: %d digits, want %d", ErrLength, len(digits), d.n)
	}
	u := d.n / 2
	a, okA := number(digits[:u])
	b, okB := number(digits[u:])
	if !okA || !okB {
		return 0, 0, ErrSymbol
	}
	return a, b, nil
}

func (d *Decimal) put(digits []byte, a, b uint64) {
	u := d.n / 2
	putNumber(digits[:u], a)
	putNumber(digits[u:d.n], b)
}

func number(digits []byte) (v uint64, ok bool) {
	wrong := false
	if len(digits)&1 == 1 {
		c := digits[0] - '0'
		wrong = c > 9
		v = uint64(c)
		digits = digits[1:]
	}
	for ; len(digits) >= 2; digits = digits[2:] {
		c1, c0 := digits[0]-'0', digits[1]-'0'
		wrong = wrong || c1 > 9 || c0 > 9
		v = v*100 + (uint64(c1)*10 + uint64(c0))
	}
	return v, !wrong
}

func putNumber(digits []byte, v uint64) {
	for ; len(digits) >= 2; digits = digits[:len(digits)-2] {
		q := v / 100
		pair := uint32(v - 100*q)
		ten := pair * 103 >> 10 // pair/10 below 100
		digits[len(digits)-1] = '0' + byte(pair-10*ten)
		digits[len(digits)-2] = '0' + byte(ten)
		v = q
	}
	if len(digits) == 1 {
		digits[0] = '0' + byte(v)
	}
}

// modulus is a power of ten and its reciprocal, with which a remainder costs two
// multiplications instead of a division.
type modulus struct {
	power      uint64
	reciprocal uint64 // 2^64/power, rounded down
}

func newModulus(digits int) modulus {
	power := uint64(1)
	for range digits {
		power *= 10
	}
	return modulus{power: power, reciprocal: ^uint64(0) / power}
}

// nearly returns a number below 2*m that is y modulo m. The quotient by way of the reciprocal
// is at most one too small.
func (m *modulus) nearly(y uint64) uint64 {
	q, _ := bits.Mul64(y, m.reciprocal)
	return y - q*m.power
}

// add returns (a+y) modulo m, for a below m and y below 2*m. What depends on a alone is worked
// out while y is not there yet, and there is no branch: which way it would go is as good as
// random.
func (m *modulus) add(a, y uint64) uint64 {
	less1, less2 := a-m.power, a-2*m.power
	sum := a + y
	if s := less1 + y; int64(s) >= 0 {
		sum = s
	}
	if s := less2 + y; int64(s) >= 0 {
		sum = s
	}
	return sum
}

// sub returns (a-y) modulo m, for a below m and y below 2*m, as add does.
func (m *modulus) sub(a, y uint64) uint64 {
	more1, more2 := a+m.power, a+2*m.power
	difference := more2 - y
	if s := more1 - y; int64(s) >= 0 {
		difference = s
	}
	if s := a - y; int64(s) >= 0 {
		difference = s
	}
	return difference
}
