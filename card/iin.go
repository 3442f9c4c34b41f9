package card

import (
	"cmp"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed iins.csv
var iinFile string

// IIN is one range of issuer identification numbers (ISO/IEC 7812-1): the card numbers whose
// first digits lie between Lo and Hi, in the lengths that the brand issues.
type IIN struct {
	Brand  string
	Lo, Hi string // the first and last prefix, of the same 1 to 8 digits
	// Lengths has bit n set if the brand issues numbers of n digits, 13 to 19.
	Lengths uint32
	// NoLuhn says that the issuer has numbers without the Luhn digit.
	NoLuhn bool
}

// Fit says how far digits look like a card number.
type Fit uint8

const (
	// NoFit: no brand has numbers that begin like this in this length.
	NoFit Fit = iota
	// FitsPrefix: a brand has, but the last digit is not its check digit.
	FitsPrefix
	// FitsWhole: prefix, length and check digit are those of a brand.
	FitsWhole
)

const (
	minPAN    = 13 // digits of the shortest number looked for; ISO/IEC 7812-1 allows less, no brand issues it
	maxPAN    = 19
	iinDigits = 8
)

// iinRange is an IIN in the form in which it is compared.
type iinRange struct {
	lo, hi uint32 // of eight digits
	digits int    // that were given
	IIN
}

// IINs is a table of ranges. It does not change and is safe for concurrent use.
type IINs struct {
	// ranges are those of each pair of first digits, the narrowest first.
	ranges  [100][]iinRange
	lengths [100]uint32 // all lengths of the pair
}

// KnownIINs is the built-in table: the global brands and those of Latin America. Its rows say
// where each range comes from. It is partial by nature, because no brand publishes all of it:
// an issuer adds its own with [IINs.With].
var KnownIINs = sync.OnceValue(func() *IINs {
	rows, err := ReadIINs(strings.NewReader(iinFile))
	if err != nil {
		panic("built-in table: " + err.Error()) // a test reads the same file
	}
	return new(IINs).With(rows)
})

// ReadIINs reads ranges as CSV (RFC 4180) with the header brand,lo,hi,lengths,luhn,source.
// lo and hi have 1 to 8 digits, the same number; lengths are numbers and ranges from 13 to 19
// ("13 16-19"); luhn is yes or no; source is where the row comes from and may be empty. It
// reports the first row that is wrong, by its line.
func ReadIINs(r io.Reader) ([]IIN, error) {
	cr := csv.NewReader(r)
	cr.FieldsPerRecord = 6
	var out []IIN
	for line := 1; ; line++ {
		rec, err := cr.Read()
		if err == io.EOF && line > 1 {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("IIN table line %d: not six comma-separated fields", line)
		}
		if line == 1 {
			if strings.Join(rec, ",") != "brand,lo,hi,lengths,luhn,source" {
				return nil, errors.New("IIN table line 1: the header is not brand,lo,hi,lengths,luhn,source")
			}
			continue
		}
		iin := IIN{Brand: rec[0], Lo: rec[1], Hi: rec[2], NoLuhn: rec[4] == "no"}
		if iin.Lengths, err = parseLengths(rec[3]); err == nil {
			err = iin.check()
		}
		if err == nil && rec[4] != "yes" && rec[4] != "no" {
			err = errors.New("luhn is neither yes nor no")
		}
		if err != nil {
			return nil, fmt.Errorf("IIN table line %d: %w", line, err)
		}
		out = append(out, iin)
	}
}

func parseLengths(s string) (mask uint32, err error) {
	for f := range strings.FieldsSeq(s) {
		from, to, isRange := strings.Cut(f, "-")
		if !isRange {
			to = from
		}
		lo, err1 := strconv.Atoi(from)
		hi, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || lo < minPAN || hi > maxPAN || lo > hi {
			return 0, errors.New("lengths are not numbers from 13 to 19")
		}
		mask |= 1<<(hi+1) - 1<<lo
	}
	return mask, nil
}

func (i IIN) check() error {
	switch {
	case i.Brand == "":
		return errors.New("brand is empty")
	case len(i.Lo) == 0 || len(i.Lo) > iinDigits || len(i.Lo) != len(i.Hi) || !allDigits(i.Lo) || !allDigits(i.Hi) || i.Lo > i.Hi:
		return errors.New("lo and hi are not an ascending pair of 1 to 8 digits")
	case i.Lengths == 0 || i.Lengths&^(1<<(maxPAN+1)-1<<minPAN) != 0:
		return errors.New("lengths are not from 13 to 19")
	}
	return nil
}

func allDigits(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// With returns a table that has the ranges too. Where ranges overlap, the narrower prefix
// names the brand. It panics if a range is not one that [ReadIINs] accepts.
func (t *IINs) With(ranges []IIN) *IINs {
	out := new(IINs)
	for i := range t.ranges {
		out.ranges[i] = slices.Clone(t.ranges[i])
	}
	for _, iin := range ranges {
		if err := iin.check(); err != nil {
			panic("IIN range: " + err.Error())
		}
		pad := iinDigits - len(iin.Lo)
		r := iinRange{prefixOf(iin.Lo + "00000000"[:pad]), prefixOf(iin.Hi + "99999999"[:pad]), len(iin.Lo), iin}
		for i := r.lo / 1e6; i <= r.hi/1e6; i++ {
			out.ranges[i] = append(out.ranges[i], r)
		}
	}
	for i, rs := range out.ranges {
		slices.SortStableFunc(rs, func(a, b iinRange) int { return cmp.Compare(b.digits, a.digits) })
		for _, r := range rs {
			out.lengths[i] |= r.Lengths
		}
	}
	return out
}

// All returns the table's ranges, each once, in no order that matters.
func (t *IINs) All() []IIN {
	var out []IIN
	for i, rs := range t.ranges {
		for _, r := range rs {
			if int(r.lo/1e6) == i {
				out = append(out, r.IIN)
			}
		}
	}
	return out
}

func prefixOf[S string | []byte](digits S) (p uint32) {
	for i := range iinDigits {
		p = p*10 + uint32(digits[i]-'0')
	}
	return p
}

// Match says how far ASCII digits look like a card number, and of which brand. Digits that are
// fewer than 13 or more than 19 do not.
func (t *IINs) Match(digits []byte) (brand string, fit Fit) {
	n := len(digits)
	if n < minPAN || n > maxPAN {
		return "", NoFit
	}
	pair := int(digits[0]-'0')*10 + int(digits[1]-'0')
	if t.lengths[pair]>>n&1 == 0 {
		return "", NoFit
	}
	prefix := prefixOf(digits)
	luhn := LuhnValid(digits)
	for i := range t.ranges[pair] {
		r := &t.ranges[pair][i]
		if prefix < r.lo || prefix > r.hi || r.Lengths>>n&1 == 0 {
			continue
		}
		if luhn || r.NoLuhn {
			return r.Brand, FitsWhole
		}
		if fit == NoFit {
			brand, fit = r.Brand, FitsPrefix
		}
	}
	return brand, fit
}

// PlausibleGroups reports whether people write card numbers in groups of these many digits:
// one group, equal groups of which the last may be shorter, four-six-five and the like, or
// two or three groups of four and more. Phone numbers and tables mostly are not.
func PlausibleGroups(sizes []int) bool {
	n := len(sizes)
	if n <= 1 {
		return n == 1
	}
	uniform, long := sizes[n-1] <= sizes[0], n <= 3
	for i, size := range sizes {
		uniform = uniform && (size == sizes[0] || i == n-1)
		long = long && size >= 4
	}
	return uniform || long
}

// lengthsOf lists a mask's lengths.
func lengthsOf(mask uint32) (out []int) {
	for ; mask != 0; mask &= mask - 1 {
		out = append(out, bits.TrailingZeros32(mask))
	}
	return out
}
