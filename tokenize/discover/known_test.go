package discover

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cardlake/cardlake/card"
)

// panOf makes a synthetic number of the length with a Luhn digit, unlike any other of n.
func panOf(t testing.TB, n uint64, length int) card.PAN {
	t.Helper()
	d := fmt.Appendf(nil, "4%0*d", length-2, n*2_654_435_761%1e10)
	p, err := card.ParsePAN(append(d, card.LuhnDigit(d)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func pansOf(t testing.TB, count, length int) []card.PAN {
	t.Helper()
	out := make([]card.PAN, count)
	for i := range out {
		out[i] = panOf(t, uint64(i+1), length)
	}
	return out
}

func scan(t testing.TB, k *Known, data []byte) []Finding {
	t.Helper()
	var out []Finding
	if err := k.Scan(bytes.NewReader(data), "x", func(f Finding) bool {
		out = append(out, f)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// spelling is one way to write digits.
type spelling struct {
	name string
	enc  Encoding
	// filler is a byte that may stand beside the number without changing how it reads.
	filler byte
	spell  func(digits []byte) []byte
	// at is the offset in the spelling of the byte with the first digit.
	at int
}

func packed(digits []byte, low bool) []byte {
	nibbles := make([]byte, 0, len(digits)+2)
	if low {
		nibbles = append(nibbles, 0xc)
	}
	for _, d := range digits {
		nibbles = append(nibbles, d-'0')
	}
	if len(nibbles)%2 == 1 {
		nibbles = append(nibbles, 0xf)
	}
	out := make([]byte, len(nibbles)/2)
	for i := range out {
		out[i] = nibbles[2*i]<<4 | nibbles[2*i+1]
	}
	return out
}

func grouped(sep string) func([]byte) []byte {
	return func(d []byte) []byte {
		var groups []string
		for g := range slices.Chunk(d, 4) {
			groups = append(groups, string(g))
		}
		return []byte(strings.Join(groups, sep))
	}
}

// inBase64 spells a record in which lead bytes come before the number.
func inBase64(enc *base64.Encoding, lead int, form func([]byte) []byte) func([]byte) []byte {
	return func(d []byte) []byte {
		record := append(bytes.Repeat([]byte{0xff}, lead), form(d)...)
		return []byte(enc.EncodeToString(append(record, 0xff)))
	}
}

func plain(d []byte) []byte { return d }

func spellings() []spelling {
	out := []spelling{
		{"ascii", ASCII, '.', plain, 0},
		{"ascii between digits", ASCII, '9', plain, 0},
		{"ascii spaces", ASCIIGrouped, '.', grouped(" "), 0},
		{"ascii hyphens", ASCIIGrouped, '.', grouped("-"), 0},
		{"utf-16 le", UTF16, 0xd8, func(d []byte) []byte {
			var b []byte
			for _, c := range d {
				b = append(b, c, 0)
			}
			return b
		}, 0},
		{"utf-16 be", UTF16, 0xd8, func(d []byte) []byte {
			var b []byte
			for _, c := range d {
				b = append(b, 0, c)
			}
			return b
		}, 1},
		{"ebcdic", EBCDIC, 0x40, func(d []byte) []byte {
			b := slices.Clone(d)
			for i := range b {
				b[i] |= 0xf0
			}
			return b
		}, 0},
		{"bcd", BCD, 0xff, func(d []byte) []byte { return packed(d, false) }, 0},
		{"bcd, other half", BCD, 0xff, func(d []byte) []byte { return packed(d, true) }, 0},
		{"bcd between digits", BCD, 0x99, func(d []byte) []byte { return packed(d, false) }, 0},
		{"hex of bcd", ASCII, 'x', func(d []byte) []byte { return []byte(hex.EncodeToString(packed(d, false))) }, 0},
		{"hex of ascii", HexASCII, 'x', func(d []byte) []byte { return []byte(hex.EncodeToString(d)) }, 0},
		{"hex of ascii in upper case", HexASCII, 'F', func(d []byte) []byte { return []byte(strings.ToUpper(hex.EncodeToString(d))) }, 0},
	}
	for lead := range 3 {
		for name, enc := range map[string]*base64.Encoding{"std": base64.StdEncoding, "url": base64.RawURLEncoding} {
			at := lead * 8 / 6 // the first character with a bit of the number
			out = append(out,
				spelling{fmt.Sprintf("base64 %s of ascii after %d", name, lead), Base64ASCII, '"', inBase64(enc, lead, plain), at},
				spelling{fmt.Sprintf("base64 %s of ascii in a longer run, after %d", name, lead), Base64ASCII, 'A', inBase64(enc, lead, plain), at},
				spelling{fmt.Sprintf("base64 %s of bcd after %d", name, lead), Base64BCD, '"',
					inBase64(enc, lead, func(d []byte) []byte { return packed(d, false) }), at},
				spelling{fmt.Sprintf("base64 %s of bcd, other half, after %d", name, lead), Base64BCD, '"',
					inBase64(enc, lead, func(d []byte) []byte { return packed(d, true) }), (lead*8 + 4) / 6},
			)
		}
	}
	return out
}

func TestScanFindsEverySpelling(t *testing.T) {
	for _, length := range []int{12, 13, 15, 16, 17, 19} {
		pans := pansOf(t, 3, length)
		k := NewKnown(slices.Values(pans))
		for _, sp := range spellings() {
			t.Run(fmt.Sprintf("%s/%d digits", sp.name, length), func(t *testing.T) {
				body := sp.spell(pans[1].Digits())
				// Alone, and at every offset of two words, with and without more behind it.
				if got := scan(t, k, body); len(got) != 1 || got[0].Offset != int64(sp.at) {
					t.Errorf("alone: got %v", got)
				}
				for before := range 17 {
					for _, after := range []int{0, 1, 100} {
						data := slices.Concat(bytes.Repeat([]byte{sp.filler}, before), body, bytes.Repeat([]byte{sp.filler}, after))
						got := scan(t, k, data)
						want := Finding{"x", int64(before + sp.at), sp.enc, k.fingerprintOf(pans[1])}
						if len(got) != 1 || got[0] != want {
							t.Errorf("%d bytes before, %d after: got %v, want %v", before, after, got, want)
						}
					}
				}
			})
		}
	}
}

func (k *Known) fingerprintOf(p card.PAN) string { return k.ix.fingerprint(p.Digits()) }

// A number that lies across the end of a read is found once, wherever it is cut.
func TestScanFindsNumbersAcrossReads(t *testing.T) {
	pans := pansOf(t, 2, 19)
	k := NewKnown(slices.Values(pans))
	for _, sp := range spellings() {
		t.Run(sp.name, func(t *testing.T) {
			body := sp.spell(pans[0].Digits())
			for _, size := range []int{span + 1, span + 13, span + 64} { // of the buffer
				for before := range 150 {
					data := slices.Concat(bytes.Repeat([]byte{sp.filler}, before), body, bytes.Repeat([]byte{sp.filler}, 150-before))
					var got []Finding
					if err := k.scan(bytes.NewReader(data), make([]byte, size), "x", func(f Finding) bool {
						got = append(got, f)
						return true
					}); err != nil {
						t.Fatal(err)
					}
					if len(got) != 1 || got[0].Offset != int64(before+sp.at) || got[0].Encoding != sp.enc {
						t.Fatalf("buffer of %d, at %d: got %v", size, before, got)
					}
				}
			}
		})
	}
}

func TestScanFindsSeveral(t *testing.T) {
	pans := append(pansOf(t, 500, 16), pansOf(t, 300, 19)...)
	k := NewKnown(slices.Values(pans))
	if k.Len() != len(pans) {
		t.Fatalf("holds %d numbers, want %d", k.Len(), len(pans))
	}
	var data []byte
	want := map[string]int{}
	for i, p := range pans {
		data = fmt.Appendf(data, "row %d: %s;", i, p.Digits())
		data = append(append(data, packed(p.Digits(), i%2 == 0)...), 0xff)
		want[k.fingerprintOf(p)] += 2
	}
	got := map[string]int{}
	for _, f := range scan(t, k, data) {
		got[f.Fingerprint]++
	}
	if len(got) != len(want) {
		t.Errorf("found %d different numbers, want %d", len(got), len(want))
	}
	for f, n := range want {
		if got[f] != n {
			t.Fatalf("a number was found %d times, want %d", got[f], n)
		}
	}
}

func TestScanIsExact(t *testing.T) {
	pans := pansOf(t, 50_000, 16)
	k := NewKnown(slices.Values(pans))
	all := spellings()
	r := rand.New(rand.NewChaCha8([32]byte{1}))
	for range 2000 {
		d := slices.Clone(pans[r.IntN(len(pans))].Digits())
		i := 1 + r.IntN(14)
		d[i] = '0' + (d[i]-'0'+1)%10
		var data []byte
		for _, sp := range all {
			data = append(append(data, sp.spell(d)...), 0xff, '.')
		}
		if got := scan(t, k, data); len(got) != 0 {
			t.Fatalf("a number that differs in one digit was found: %v", got)
		}
	}
}

func TestScanFindsNothingInRandomBytes(t *testing.T) {
	size := int64(64 << 20)
	if testing.Short() {
		size = 8 << 20
	}
	k := NewKnown(slices.Values(pansOf(t, 50_000, 16)))
	r := rand.NewChaCha8([32]byte{2})
	if err := k.Scan(io.LimitReader(r, size), "random", func(f Finding) bool {
		t.Errorf("found %v", f)
		return false
	}); err != nil {
		t.Fatal(err)
	}
}

// The way a reader hands its bytes out must not matter.
func TestScanReadsAnyReader(t *testing.T) {
	pans := pansOf(t, 1, 16)
	k := NewKnown(slices.Values(pans))
	data := slices.Concat(bytes.Repeat([]byte{'.'}, chunk+30), pans[0].Digits(), []byte{'.'}, pans[0].Digits())
	broken := errors.New("disk on fire")
	for name, tc := range map[string]struct {
		r    io.Reader
		want error
	}{
		"one byte a read":  {iotest.OneByteReader(bytes.NewReader(data)), nil},
		"end with data":    {iotest.DataErrReader(bytes.NewReader(data)), nil},
		"error at the end": {io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)), broken},
		"cut short":        {io.MultiReader(bytes.NewReader(data), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
	} {
		n := 0
		err := k.Scan(tc.r, "x", func(Finding) bool { n++; return true })
		if n != 2 || !errors.Is(err, tc.want) {
			t.Errorf("%s: %d findings and error %v, want 2 and %v", name, n, err, tc.want)
		}
	}
	n := 0
	if err := k.Scan(bytes.NewReader(data), "x", func(Finding) bool { n++; return false }); n != 1 || err != nil {
		t.Errorf("after yield said stop: %d findings and error %v", n, err)
	}
}

func TestKnownNeverShowsANumber(t *testing.T) {
	p := panOf(t, 7, 16)
	digits := string(p.Digits())
	var value uint64
	if _, err := fmt.Sscan(digits, &value); err != nil {
		t.Fatal(err)
	}
	k := NewKnown(slices.Values([]card.PAN{p}))
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "known", k, "copy", *k)
	shown := fmt.Sprintf("%v %+v %#v %s %d %x", k, *k, k, *k, k, struct{ k *Known }{k}) + log.String()
	for _, f := range scan(t, k, []byte(digits)) {
		shown += fmt.Sprintf("%v %+v %#v", f, f, f)
	}
	if strings.Contains(shown, digits) || strings.Contains(shown, fmt.Sprintf("%x", value)) {
		t.Error("the number was printed")
	}
	if _, err := k.MarshalText(); err == nil {
		t.Error("MarshalText did not fail")
	}
	if slices.Contains(k.ix.sets[16].slots, value) {
		t.Error("the number lies in memory as it is")
	}
}

func TestKnownDoesNotKeepThePAN(t *testing.T) {
	want := pansOf(t, 10, 16)
	var p card.PAN
	k := NewKnown(func(yield func(card.PAN) bool) {
		for _, w := range want {
			if p.Set(w.Digits()) != nil || !yield(p) || !yield(card.PAN{}) {
				return
			}
		}
	})
	p.Clear()
	for _, w := range want {
		if got := scan(t, k, w.Digits()); len(got) != 1 {
			t.Errorf("found %d times", len(got))
		}
	}
	if got := scan(t, NewKnown(slices.Values([]card.PAN{})), want[0].Digits()); len(got) != 0 {
		t.Errorf("an empty set found %v", got)
	}
}

// The search of any bytes must agree with a plain one: every place where the digits are.
func FuzzScan(f *testing.F) {
	pans := pansOf(f, 4, 13)
	k := NewKnown(slices.Values(pans))
	for _, sp := range spellings() {
		f.Add(sp.spell(pans[0].Digits()), uint16(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		i := int(at) % (len(data) + 1)
		body := pans[2].Digits()
		planted := slices.Concat(data[:i], body, data[i:])
		if !slices.ContainsFunc(scan(t, k, planted), func(f Finding) bool {
			return f.Offset == int64(i) && (f.Encoding == ASCII || f.Encoding == ASCIIGrouped) && f.Fingerprint == k.fingerprintOf(pans[2])
		}) {
			t.Error("a planted number was not found")
		}
		for _, found := range scan(t, k, data) {
			if found.Encoding == ASCII && !bytes.ContainsAny(data[found.Offset:found.Offset+1], "0123456789") {
				t.Errorf("found at a byte that is no digit: %v", found)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	pans := pansOf(b, 50_000, 16)
	k := NewKnown(slices.Values(pans))
	r := rand.New(rand.NewChaCha8([32]byte{3}))
	random := make([]byte, 8<<20)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	words := strings.Fields("the cardholder bought bread and milk at SUPERMERCADO COTO in Buenos Aires on 2026-11-22 for 1250.75 ARS approved 00 " +
		"transaction_id 018f3a52-77c1-8e3a-9d41-aa0b3c51d2e7 internal/archtest/archtest.go merchantName")
	var text, avro, digits, b64 []byte
	for len(text) < 8<<20 {
		text = append(append(text, words[r.IntN(len(words))]...), ' ')
	}
	for len(avro) < 8<<20 { // lengths, short strings, binary numbers and a sealed block
		avro = append(avro, 0, 0, 0, 0, 1)
		for range 20 {
			w := words[r.IntN(len(words))]
			avro = append(append(avro, byte(2*len(w))), w...)
		}
		for range 60 {
			avro = append(avro, byte(r.Uint32()))
		}
		avro = fmt.Appendf(avro, "%012d%06d", r.Uint32(), r.IntN(1e6))
	}
	for len(digits) < 8<<20 {
		digits = fmt.Appendf(digits, "%d", r.Uint32())
	}
	b64 = base64.StdEncoding.AppendEncode(nil, random[:6<<20])
	for _, bc := range []struct {
		name string
		data []byte
	}{{"random", random}, {"text", text}, {"avro", avro}, {"zeros", make([]byte, 8<<20)}, {"digits", digits}, {"base64", b64}} {
		b.Run(bc.name, func(b *testing.B) {
			b.SetBytes(int64(len(bc.data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := k.Scan(bytes.NewReader(bc.data), "x", func(Finding) bool { return true }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNewKnown(b *testing.B) {
	pans := pansOf(b, 50_000, 16)
	b.ReportAllocs()
	for b.Loop() {
		NewKnown(slices.Values(pans))
	}
}
