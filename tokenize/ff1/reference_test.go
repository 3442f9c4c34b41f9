package ff1_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"math/big"
)

// reference is FF1.Encrypt as SP 800-38G, algorithm 7, spells it: every step with strings of
// numerals and of bytes, the MAC by the standard library's CBC, nothing kept between rounds.
func reference(key, tweak []byte, radix int, x []uint16) []uint16 {
	n, t := len(x), len(tweak)
	u := n / 2 // 1
	v := n - u
	a, b := x[:u], x[u:] // 2
	// 3: b = ceil(ceil(v*log2(radix))/8). 2^bits is the least power of two not below radix^v.
	domain := new(big.Int).Exp(big.NewInt(int64(radix)), big.NewInt(int64(v)), nil)
	bits := 0
	for new(big.Int).Lsh(big.NewInt(1), uint(bits)).Cmp(domain) < 0 {
		bits++
	}
	half := (bits + 7) / 8
	d := 4*((half+3)/4) + 4                                                             // 4
	p := []byte{1, 2, 1, byte(radix >> 16), byte(radix >> 8), byte(radix), 10, byte(u)} // 5
	p = append(p, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	p = append(p, byte(t>>24), byte(t>>16), byte(t>>8), byte(t))
	for i := range 10 {
		q := bytes.Clone(tweak) // 6.i
		for (len(q)+half+1)%16 != 0 {
			q = append(q, 0)
		}
		q = append(q, byte(i))
		numB := num(b, radix).Bytes()
		q = append(q, make([]byte, half-len(numB))...)
		q = append(q, numB...)
		r := prf(key, append(bytes.Clone(p), q...)) // 6.ii
		s := bytes.Clone(r)                         // 6.iii
		for j := 1; len(s) < d; j++ {
			block := new(big.Int).Xor(new(big.Int).SetBytes(r), big.NewInt(int64(j))).FillBytes(make([]byte, 16))
			s = append(s, prf(key, block)...)
		}
		y := new(big.Int).SetBytes(s[:d]) // 6.iv
		m := v                            // 6.v
		if i%2 == 0 {
			m = u
		}
		c := new(big.Int).Add(num(a, radix), y) // 6.vi
		c.Mod(c, new(big.Int).Exp(big.NewInt(int64(radix)), big.NewInt(int64(m)), nil))
		a, b = b, str(c, radix, m) // 6.vii to 6.ix
	}
	return append(append([]uint16{}, a...), b...) // 7
}

// prf is the last block of CBC encryption with an IV of zeros.
func prf(key, x []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(x))
	cipher.NewCBCEncrypter(block, make([]byte, 16)).CryptBlocks(out, x)
	return out[len(out)-16:]
}

func num(x []uint16, radix int) *big.Int {
	v := new(big.Int)
	for _, numeral := range x {
		v.Mul(v, big.NewInt(int64(radix)))
		v.Add(v, big.NewInt(int64(numeral)))
	}
	return v
}

func str(v *big.Int, radix, m int) []uint16 {
	out := make([]uint16, m)
	for i := m - 1; i >= 0; i-- {
		digit := new(big.Int)
		v, digit = new(big.Int).DivMod(v, big.NewInt(int64(radix)), digit)
		out[i] = uint16(digit.Int64())
	}
	return out
}
