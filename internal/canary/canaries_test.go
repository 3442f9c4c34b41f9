package canary

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/tokenize/discover"
)

// canaries are secrets that are sent into the system, each with the name of the place that it
// is sent through: card numbers of several brands and lengths, and sensitive authentication
// data in digits that are as easy to recognise. Each is used once, so that one which is found
// says how it got there.
type canaries struct {
	mu    sync.Mutex
	pans  []card.PAN
	names []string
}

// brands are prefixes and lengths of card numbers.
var brands = []struct {
	prefix string
	length int
}{
	{"4539", 16}, {"378282", 15}, {"5105", 16}, {"222300", 16}, {"4222", 13}, {"365959", 14},
	{"606282", 16}, {"509048", 16}, {"604203", 16}, {"601100", 19}, {"4532", 19},
}

// pan is a new card number, of the next brand, that goes through the place.
func (c *canaries) pan(place string) string {
	c.mu.Lock()
	b := brands[len(c.pans)%len(brands)]
	c.mu.Unlock()
	return c.panOf(b.prefix, b.length, place)
}

// panOf is a new card number that begins with the prefix.
func (c *canaries) panOf(prefix string, length int, place string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(prefix)
	body := scramble(len(c.pans), length-n-1)
	digits := append([]byte(prefix), body...)
	digits = append(digits, card.LuhnDigit(digits))
	return c.add(string(digits), place)
}

// sad is new sensitive authentication data of 14 digits, which are no card number's.
func (c *canaries) sad(place string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	digits := append([]byte("93"), scramble(len(c.pans), 11)...)
	return c.add(string(append(digits, '0'+(card.LuhnDigit(digits)-'0'+1)%10)), place)
}

// scramble spreads a number over n digits, without runs that could be anything else's.
func scramble(number, n int) []byte {
	out := make([]byte, n)
	x := uint64(number+1) * 0x9e3779b97f4a7c15
	for i := range out {
		x ^= x >> 29
		x *= 0xbf58476d1ce4e5b9
		x ^= x >> 32
		out[i] = '0' + byte(x%10)
	}
	return out
}

func (c *canaries) add(digits, place string) string {
	p, err := card.ParsePAN(digits)
	if err != nil {
		panic("canary: " + err.Error())
	}
	c.pans, c.names = append(c.pans, p), append(c.names, place)
	return digits
}

// detector finds the canaries that there are so far.
func (c *canaries) detector() *detector {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := &detector{known: discover.NewKnown(slices.Values(c.pans)), places: map[string]string{}}
	for i, p := range c.pans {
		d.search(p.Digits(), func(f discover.Finding) { d.places[f.Fingerprint] = c.names[i] })
	}
	if len(d.places) != len(c.pans) {
		panic("canary: two are the same")
	}
	return d
}

// detector finds canaries in bytes, in all spellings of package discover, and where software
// prints each byte of a number as a number: 52 53, [52,53], 0x34, 0x35.
type detector struct {
	known  *discover.Known
	places map[string]string // by fingerprint
}

func (d *detector) search(b []byte, found func(discover.Finding)) {
	for _, text := range [][]byte{b, characters(b)} {
		err := d.known.Scan(bytes.NewReader(text), "", func(f discover.Finding) bool {
			found(f)
			return true
		})
		if err != nil {
			panic(err)
		}
	}
}

// in fails the test for each canary that is in the bytes of a channel.
func (d *detector) in(t testing.TB, channel string, b []byte) {
	t.Helper()
	for _, leak := range d.leaks(b) {
		t.Errorf("%s: %s", channel, leak)
	}
}

// leaks are the places whose canaries are in b.
func (d *detector) leaks(b []byte) (out []string) {
	d.search(b, func(f discover.Finding) {
		out = append(out, fmt.Sprintf("holds what went through %s (%s)", d.places[f.Fingerprint], f.Encoding))
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// characters puts digits in the place of numbers that are the codes of digits, as %v, %d, %#v
// and a crash's arguments print bytes.
func characters(b []byte) []byte {
	var out []byte
	for field := range bytes.FieldsFuncSeq(b, func(r rune) bool { return strings.ContainsRune(" ,[]{}()\n\t", r) }) {
		field = bytes.TrimPrefix(field, []byte("0x"))
		switch {
		case len(field) == 2 && (field[0] == '4' && field[1] >= '8' || field[0] == '5' && field[1] <= '7'):
			out = append(out, '0'+(field[0]-'0')*10+field[1]-'0'-48) // 48 to 57
		case len(field) == 2 && field[0] == '3' && field[1] <= '9':
			out = append(out, field[1]) // 0x30 to 0x39
		default:
			out = append(out, '\n')
		}
	}
	return out
}

// spellings of digits that a detector must find.
func spellings(digits string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		bcd := make([]byte, 0, 10)
		for i := 0; i+1 < len(digits); i += 2 {
			bcd = append(bcd, (digits[i]-'0')<<4|(digits[i+1]-'0'))
		}
		if len(digits)%2 == 1 {
			bcd = append(bcd, (digits[len(digits)-1]-'0')<<4|0xf)
		}
		var wide []byte
		for _, c := range []byte(digits) {
			wide = binary.LittleEndian.AppendUint16(wide, uint16(c))
		}
		for name, b := range map[string][]byte{
			"text": []byte(digits), "packed": bcd, "UTF-16": wide,
			"%v": fmt.Appendf(nil, "%v", []byte(digits)), "%#v": fmt.Appendf(nil, "%#v", []byte(digits)),
			"%x": fmt.Appendf(nil, "%x", digits), "%q": fmt.Appendf(nil, "%q", digits),
			"%x of packed": fmt.Appendf(nil, "%X", bcd),
		} {
			if !yield(name, b) {
				return
			}
		}
	}
}

// TestDetectorFinds plants a canary of each kind in each spelling.
func TestDetectorFinds(t *testing.T) {
	var c canaries
	for range brands {
		c.pan("a card number")
	}
	c.sad("authentication data")
	d := c.detector()
	for i, p := range c.pans {
		for name, b := range spellings(string(p.Digits())) {
			if len(d.leaks(slices.Concat([]byte("before "), b, []byte(" behind")))) == 0 {
				t.Errorf("canary %d of %d digits is not found as %s", i, p.Len(), name)
			}
		}
	}
	if got := d.leaks([]byte("4539 1234567890123 [1 2 3] 0x30")); got != nil {
		t.Errorf("found what is not there: %v", got)
	}
}
