package tokenize

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/cardlake/cardlake/card"
)

// Rule says how many leading and trailing digits of a card number may be kept together in
// clear. First is 6 or 8, Last is 0 or 4.
type Rule struct{ First, Last int }

// truncationFile is PCI SSC FAQ 1091, "What are acceptable formats for truncation of primary
// account numbers", as far as it allows more than is kept of every number anyway.
//
//go:embed truncation.csv
var truncationFile string

// baseline is the rule for numbers of n digits whose brand allows no more: the FAQ's starting
// baseline of six and four, and less below fifteen digits, so that at least five are hidden
// where the brands publish no common rule.
func baseline(n int) Rule {
	if n < 15 {
		return Rule{6, 0}
	}
	return Rule{6, 4}
}

// RuleFor returns the rule for a card number, by its brand (card.KnownIINs) and length. A
// number of no known brand keeps six and four, below fifteen digits the first six alone.
func RuleFor(pan card.PAN) Rule { return truncation().of(pan.Digits()) }

const (
	minPAN, maxPAN = 12, 19 // digits of a card.PAN
	prefixes       = 10_000 // of four digits
)

// rules answers by length and four leading digits, which decide in all but a few cases.
type rules struct {
	list []Rule
	// byPrefix has the rule's place in list, or manyRules where longer prefixes decide.
	byPrefix [maxPAN + 1 - minPAN][prefixes]uint8
	brands   map[brandLength]uint8
	iins     *card.IINs
}

type brandLength struct {
	brand string
	n     int
}

const manyRules = 255

var truncation = sync.OnceValue(func() *rules {
	r, err := newRules(truncationFile, card.KnownIINs())
	if err != nil {
		panic(err) // the file is part of the program, and a test reads it
	}
	return r
})

// newRules reads a table with the header brand,digits,first,last.
func newRules(file string, iins *card.IINs) (*rules, error) {
	rows, err := csv.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("truncation table: %w", err)
	}
	r := &rules{brands: map[brandLength]uint8{}, iins: iins}
	for n := minPAN; n <= maxPAN; n++ {
		r.brands[brandLength{"", n}] = r.add(baseline(n))
	}
	known := map[string]bool{}
	for _, iin := range iins.All() {
		known[iin.Brand] = true
	}
	for i, row := range rows[1:] {
		var v [3]int
		for j := range v {
			if v[j], err = strconv.Atoi(row[1+j]); err != nil {
				return nil, fmt.Errorf("truncation table line %d: %w", i+2, err)
			}
		}
		n, rule := v[0], Rule{v[1], v[2]}
		if n < minPAN || n > maxPAN || rule.First+rule.Last > n-4 || rule.First != 6 && rule.First != 8 || rule.Last != 0 && rule.Last != 4 {
			return nil, fmt.Errorf("truncation table line %d: hides fewer than four digits, or is out of bounds", i+2)
		}
		if !known[row[0]] {
			return nil, fmt.Errorf("truncation table line %d: no IIN of the brand is known", i+2)
		}
		r.brands[brandLength{row[0], n}] = r.add(rule)
	}
	r.index()
	return r, nil
}

func (r *rules) add(rule Rule) uint8 {
	for i, known := range r.list {
		if known == rule {
			return uint8(i)
		}
	}
	r.list = append(r.list, rule)
	return uint8(len(r.list) - 1)
}

// ofBrand is the rule's place for a brand, the baseline's if it has none.
func (r *rules) ofBrand(brand string, n int) uint8 {
	if i, isThere := r.brands[brandLength{brand, n}]; isThere {
		return i
	}
	return r.brands[brandLength{"", n}]
}

// index fills byPrefix. All ranges of a length that touch a prefix of four digits must agree,
// and cover it or agree with the baseline too; else longer prefixes decide.
func (r *rules) index() {
	type seen struct {
		rule    uint8
		covered bool
		isMany  bool
		any     bool
	}
	var cells [maxPAN + 1 - minPAN][prefixes]seen
	for _, iin := range r.iins.All() {
		lo, hi := fourDigits(iin.Lo, '0'), fourDigits(iin.Hi, '9')
		for n := minPAN; n <= maxPAN; n++ {
			if iin.Lengths>>n&1 == 0 {
				continue
			}
			rule := r.ofBrand(iin.Brand, n)
			for p := lo; p <= hi; p++ {
				cell := &cells[n-minPAN][p]
				cell.isMany = cell.isMany || cell.any && cell.rule != rule
				cell.rule, cell.any = rule, true
				// A range of longer prefixes covers what lies strictly between its ends.
				cell.covered = cell.covered || len(iin.Lo) <= 4 || p > lo && p < hi
			}
		}
	}
	for n := minPAN; n <= maxPAN; n++ {
		base := r.ofBrand("", n)
		for p, cell := range cells[n-minPAN] {
			place := &r.byPrefix[n-minPAN][p]
			switch {
			case !cell.any:
				*place = base
			case cell.isMany || !cell.covered && cell.rule != base:
				*place = manyRules
			default:
				*place = cell.rule
			}
		}
	}
}

// fourDigits is a prefix cut to four digits, or filled up to them.
func fourDigits(prefix string, fill byte) (p int) {
	for i := range 4 {
		c := fill
		if i < len(prefix) {
			c = prefix[i]
		}
		p = 10*p + int(c-'0')
	}
	return p
}

func (r *rules) of(digits []byte) Rule {
	n := len(digits)
	if n < minPAN || n > maxPAN {
		return Rule{}
	}
	place := r.byPrefix[n-minPAN][int(digits[0]-'0')*1000+int(digits[1]-'0')*100+int(digits[2]-'0')*10+int(digits[3]-'0')]
	if place == manyRules {
		brand, _ := r.iins.Match(digits)
		place = r.ofBrand(brand, n)
	}
	return r.list[place]
}
