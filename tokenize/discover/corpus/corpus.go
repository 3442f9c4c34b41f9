// Package corpus makes files with planted card data, and files with numbers that look like it
// and are none, by which a detector can be judged. Everything follows from a seed. The card
// numbers are synthetic: a brand's prefix, random digits and a check digit; the other numbers
// follow the public structure of their kind (ITU-T E.118 and E.164, 3GPP TS 23.003, RFC 9562,
// GS1, Receita Federal, Banco de México, SWIFT and the shops' own documentation).
//
// It is for tests: no binary links it.
package corpus

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/cardlake/cardlake/card"
)

// Sample is one file of the corpus.
type Sample struct {
	Category string
	Name     string // of the file
	Data     []byte
	// Planted are the card numbers in it, digits only.
	Planted []string
	// Secrets is how many tracks, security codes and PIN blocks there are besides.
	Secrets int
	// NearMisses is how many other numbers there are.
	NearMisses int
}

// Generator makes samples. It is not safe for concurrent use.
type Generator struct {
	r    *rand.Rand
	iins []card.IIN
	seen map[string]bool
}

// New returns a generator; equal seeds make equal samples.
func New(seed uint64) *Generator {
	return &Generator{r: rand.New(rand.NewPCG(seed, 1)), iins: card.KnownIINs().All(), seen: map[string]bool{}}
}

func (g *Generator) digits(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + g.r.IntN(10))
	}
	return string(b)
}

// between draws a number of the width of lo.
func (g *Generator) between(lo, hi int) string { return fmt.Sprint(lo + g.r.IntN(hi-lo+1)) }

// OfRange draws a card number of n digits in a range, with the Luhn digit, or a random last
// digit if the brand has numbers without it.
func (g *Generator) OfRange(iin card.IIN, n int) string {
	for {
		prefix := []byte(iin.Lo)
		for string(prefix) < iin.Hi && g.r.IntN(3) > 0 {
			for i := len(prefix) - 1; ; i-- {
				if prefix[i]++; prefix[i] <= '9' {
					break
				}
				prefix[i] = '0'
			}
		}
		body := string(prefix) + g.digits(n-1-len(prefix))
		if iin.NoLuhn {
			body += g.digits(1)
		} else {
			body += string(card.LuhnDigit([]byte(body)))
		}
		if _, fit := card.KnownIINs().Match([]byte(body)); fit == card.FitsWhole && !g.seen[body] {
			g.seen[body] = true
			return body
		}
	}
}

// Number draws a card number of any brand and length; the global brands are more frequent.
func (g *Generator) Number() string {
	iin := g.iins[g.r.IntN(len(g.iins))]
	if g.r.IntN(2) == 0 {
		for !strings.Contains("visa mastercard amex elo", iin.Brand) {
			iin = g.iins[g.r.IntN(len(g.iins))]
		}
	}
	var lengths []int
	for n := 13; n <= 19; n++ {
		if iin.Lengths>>n&1 == 1 {
			lengths = append(lengths, n)
		}
	}
	return g.OfRange(iin, lengths[g.r.IntN(len(lengths))])
}

// OfLength draws a card number of n digits of any brand.
func (g *Generator) OfLength(n int) string {
	for {
		if d := g.Number(); len(d) == n {
			return d
		}
	}
}

func (g *Generator) numbers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = g.Number()
	}
	return out
}

// Grouped writes a number as on a card.
func Grouped(d, sep string) string {
	var parts []string
	sizes := []int{4, 4, 4, 4, 3}
	if len(d) == 15 || len(d) == 14 {
		sizes = []int{4, 6, 5}
	}
	for _, size := range sizes {
		if size = min(size, len(d)); size > 0 {
			parts, d = append(parts, d[:size]), d[size:]
		}
	}
	return strings.Join(parts, sep)
}

func (g *Generator) pick(options ...string) string { return options[g.r.IntN(len(options))] }

func (g *Generator) word() string {
	return g.pick("compra", "aprobada", "cliente", "pago", "venda", "loja", "checkout", "retry", "declined", "issuer", "São", "Bogotá", "Santiago", "customer", "with", "la", "em", "the", "of", "para")
}

func (g *Generator) words(n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = g.word()
	}
	return strings.Join(out, " ")
}

func (g *Generator) when() string {
	return fmt.Sprintf("2026-%02d-%02dT%02d:%02d:%02d.%03dZ", 1+g.r.IntN(12), 1+g.r.IntN(28), g.r.IntN(24), g.r.IntN(60), g.r.IntN(60), g.r.IntN(1000))
}

func (g *Generator) hex(n int) string {
	const chars = "0123456789abcdef"
	b := make([]byte, n)
	for i := range b {
		b[i] = chars[g.r.IntN(16)]
	}
	return string(b)
}

func (g *Generator) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.r.UintN(256))
	}
	return b
}

// lines makes one line of each, by the number of the line.
func lines(n int, line func(i int) string) []byte {
	var b strings.Builder
	for i := range n {
		b.WriteString(line(i))
		b.WriteByte('\n')
	}
	return []byte(b.String())
}
