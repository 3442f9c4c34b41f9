package ff1_test

import (
	"bytes"
	"crypto/aes"
	"fmt"
	"testing"

	"github.com/cardlake/cardlake/tokenize/ff1"
)

// BenchmarkPAN encrypts a card number; BenchmarkPANReference is its floor, ten AES blocks of
// which each needs the one before. Both report nanoseconds a card number.
func BenchmarkPAN(b *testing.B) {
	for _, keyBits := range []int{128, 256} {
		for _, n := range []int{12, 16, 19} {
			d, err := newCipher(b, make([]byte, keyBits/8), 10).Decimal([]byte("a tweak"), n)
			if err != nil {
				b.Fatal(err)
			}
			digits := bytes.Repeat([]byte("4"), n)
			b.Run(fmt.Sprintf("aes=%d/digits=%d", keyBits, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := d.Encrypt(digits); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("aes=%d/digits=%d/batch", keyBits, n), func(b *testing.B) {
				const numbers = 256
				all := bytes.Repeat(digits, numbers)
				b.ReportAllocs()
				for b.Loop() {
					if err := d.EncryptAll(all); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*numbers), "ns/pan")
			})
		}
	}
}

func BenchmarkPANReference(b *testing.B) {
	for _, keyBits := range []int{128, 256} {
		b.Run(fmt.Sprintf("aes=%d", keyBits), func(b *testing.B) {
			block, err := aes.NewCipher(make([]byte, keyBits/8))
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, aes.BlockSize)
			b.ReportAllocs()
			for b.Loop() {
				for range 10 {
					block.Encrypt(buf, buf)
				}
			}
		})
	}
}

// BenchmarkLong encrypts text of a length that needs big integers.
func BenchmarkLong(b *testing.B) {
	for _, n := range []int{64, 4096, ff1.MaxLen} {
		c, x := newCipher(b, make([]byte, 16), 62), make([]uint16, n)
		for i := range x {
			x[i] = uint16(i % 62)
		}
		b.Run(fmt.Sprintf("symbols=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Encrypt(nil, x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
