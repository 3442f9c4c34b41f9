package card

import (
	"strings"
	"testing"
)

func TestMaskPANs(t *testing.T) {
	const stars = "****************"
	for _, tc := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"words", "PANADERIA LA ESQUINA 2441", "PANADERIA LA ESQUINA 2441"},
		{"visa 16", "x 4111111111111111 y", "x " + stars + " y"},
		{"visa 13", "4222222222222", stars[:13]},
		{"visa 19", "4000000000000000006", stars + "***"},
		{"visa 15 is no length of the brand", "411111111111116", "411111111111116"},
		{"mastercard", "5555555555554444", stars},
		{"mastercard 2 series", "2223003122003222", stars},
		{"amex", "378282246310005", stars[:15]},
		{"amex grouped", "3782-822463-10005", "****-******-*****"},
		{"diners 14", "30569309025904", stars[:14]},
		{"hipercard", "6062825624254001", stars},
		{"naranja has no Luhn digit", "5895620000000000", stars},
		{"wrong Luhn digit", "4111111111111112", "4111111111111112"},
		{"unknown brand", "9111111111111111", "9111111111111111"},
		{"spaces", "4111 1111 1111 1111", "**** **** **** ****"},
		{"hyphens", "4111-1111-1111-1111", "****-****-****-****"},
		{"mixed separators", "4111-1111 1111-1111", "4111-1111 1111-1111"},
		{"two spaces", "4111  1111 1111 1111", "4111  1111 1111 1111"},
		{"other separator", "4111.1111.1111.1111", "4111.1111.1111.1111"},
		{"groups around it", "12 4111 1111 1111 1111 27", "12 **** **** **** **** 27"},
		{"number before it", "order 77 4111111111111111", "order 77 " + stars},
		{"number after it in the other separator", "4111 1111 1111 1111-12", "**** **** **** ****-12"},
		{"part of a longer run", "04111111111111111", "04111111111111111"},
		{"20 digits", "41111111111111111111", "41111111111111111111"},
		{"letters touch it", "PAN4111111111111111X", "PAN" + stars + "X"},
		{"two", "4111111111111111,5555555555554444", stars + "," + stars},
		{"beside others", "ação 4111111111111111 ñ", "ação " + stars + " ñ"},
		{"epoch milliseconds", "1732283170000", "1732283170000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := MaskPANs(tc.in); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if got, want := ContainsPAN([]byte(tc.in)), tc.in != tc.want; got != want {
				t.Errorf("ContainsPAN: got %v, want %v", got, want)
			}
		})
	}
}

// Every range must be reachable: a number made in it, with its Luhn digit, is masked, and
// without the Luhn digit it is not, unless the brand has none.
func TestMaskPANsKnowsEveryBrand(t *testing.T) {
	for _, b := range brands {
		if b.lo > b.hi || decimals(b.lo) != decimals(b.hi) || decimals(b.hi) > 6 {
			t.Errorf("%s %d-%d: not one range of prefixes", b.name, b.lo, b.hi)
		}
		for n := 13; n <= 19; n++ {
			if b.lengths>>n&1 == 0 {
				continue
			}
			for _, prefix := range []uint32{b.lo, b.hi} {
				d := make([]byte, 0, n)
				for _, c := range strings.Split(uitoa(prefix), "") {
					d = append(d, c...)
				}
				for len(d) < n-1 {
					d = append(d, '7')
				}
				d = append(d, LuhnDigit(d))
				if !looksLikePAN(d) {
					t.Errorf("%s %d of %d digits is not recognised", b.name, prefix, n)
				}
				d[n-1] = '0' + (d[n-1]-'0'+1)%10
				if looksLikePAN(d) == b.luhn {
					t.Errorf("%s %d of %d digits with a wrong Luhn digit: got %v", b.name, prefix, n, b.luhn)
				}
			}
		}
	}
}

func uitoa(n uint32) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return uitoa(n/10) + string(rune('0'+n%10))
}

func TestMaskPANsDoesNotAllocateOnCleanText(t *testing.T) {
	s := "SUPERMERCADO COTO SUC 118 BUENOS AIRES AR 2026-11-22 13:26 9111111111111111"
	b := []byte(s)
	if n := testing.AllocsPerRun(100, func() {
		if len(MaskPANs(s)) != len(s) || ContainsPAN(b) {
			t.Fatal("clean text was masked")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzMaskPANs(f *testing.F) {
	for _, s := range []string{
		"", "4111111111111111", "4111 1111 1111 1111 5555 5555 5555 4444", "1-4111111111111111-1",
		"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "378282246310005378282246310005", "5895620000000000 4222222222222",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := MaskPANs(s)
		if ContainsPAN([]byte(got)) {
			t.Error("the masked text still holds a card number")
		}
		if ContainsPAN([]byte(s)) != (got != s) {
			t.Error("MaskPANs and ContainsPAN disagree")
		}
		if len(got) != len(s) {
			t.Fatalf("length changed from %d to %d", len(s), len(got))
		}
		for i := range len(s) {
			if got[i] != s[i] && (got[i] != '*' || !isDigit(s[i])) {
				t.Fatalf("byte %d is neither kept nor a masked digit", i)
			}
		}
	})
}

func BenchmarkMaskPANs(b *testing.B) {
	for _, bc := range []struct{ name, in string }{
		{"clean", "SUPERMERCADO COTO 118     BUENOS AIRES"},
		{"digits", "TERMINAL 00012345 1732283170000 AR"},
		{"pan", "RECARGA 4111 1111 1111 1111 BUENOS AIRES"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				MaskPANs(bc.in)
			}
		})
	}
}
