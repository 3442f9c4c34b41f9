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
		{"groups of no card number", "41 111 1111 111 1111", "41 111 1111 111 1111"},
		{"groups of one", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "* * * * * * * * * * * * * * * *"},
		{"two groups", "41111111 11111111", "******** ********"},
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
	for _, b := range KnownIINs().All() {
		for _, n := range lengthsOf(b.Lengths) {
			for _, prefix := range []string{b.Lo, b.Hi} {
				d := []byte(prefix + strings.Repeat("7", n-1-len(prefix)))
				d = append(d, LuhnDigit(d))
				if got := MaskPANs(string(d)); got != strings.Repeat("*", n) {
					t.Errorf("%s %s of %d digits is not recognised", b.Brand, prefix, n)
				}
				if brand, fit := KnownIINs().Match(d); fit != FitsWhole || brand == "" {
					t.Errorf("%s %s of %d digits does not match", b.Brand, prefix, n)
				}
				d[n-1] = '0' + (d[n-1]-'0'+1)%10
				if (MaskPANs(string(d)) != string(d)) != b.NoLuhn {
					t.Errorf("%s %s of %d digits with a wrong Luhn digit: masked is %v", b.Brand, prefix, n, !b.NoLuhn)
				}
			}
		}
	}
}

func TestNarrowerRangeNamesTheBrand(t *testing.T) {
	table := KnownIINs().With([]IIN{{Brand: "our own", Lo: "41111111", Hi: "41111119", Lengths: 1 << 16, NoLuhn: true}})
	for digits, want := range map[string]struct {
		brand string
		fit   Fit
	}{
		"4111111111111111": {"our own", FitsWhole}, "4111111111111112": {"our own", FitsWhole}, "4111112000000004": {"visa", FitsPrefix},
		"4389351111111110": {"elo", FitsPrefix}, "4000000000000000006": {"visa", FitsWhole}, "9111111111111111": {"", NoFit},
		"41111111": {"", NoFit}, "411111111111111": {"", NoFit},
	} {
		if brand, fit := table.Match([]byte(digits)); brand != want.brand || fit != want.fit {
			t.Errorf("%d digits: got %s, %d, want %s, %d", len(digits), brand, fit, want.brand, want.fit)
		}
	}
	if _, fit := KnownIINs().Match([]byte("4111111111111112")); fit != FitsPrefix {
		t.Error("With changed the built-in table")
	}
}

func TestReadIINsNamesTheFault(t *testing.T) {
	const header = "brand,lo,hi,lengths,luhn,source\n"
	for name, tc := range map[string]struct{ in, want string }{
		"empty":   {"", "line 1: not six"},
		"header":  {"a,b,c,d,e,f\n", "line 1: the header"},
		"fields":  {header + "x,1,1,16,yes\n", "line 2: not six"},
		"brand":   {header + ",1,1,16,yes,\n", "line 2: brand"},
		"order":   {header + "x,5,4,16,yes,\n", "line 2: lo and hi"},
		"widths":  {header + "x,4,41,16,yes,\n", "line 2: lo and hi"},
		"letters": {header + "x,4a,4a,16,yes,\n", "line 2: lo and hi"},
		"length":  {header + "x,4,4,12,yes,\n", "line 2: lengths"},
		"none":    {header + "x,4,4,,yes,\n", "line 2: lengths"},
		"luhn":    {header + "x,4,4,16,maybe,\n", "line 2: luhn"},
	} {
		if _, err := ReadIINs(strings.NewReader(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	if got, err := ReadIINs(strings.NewReader(header + "x,41,42,13 16-19,no,us\n")); err != nil || len(got) != 1 || got[0].Lengths != 1<<13|1<<16|1<<17|1<<18|1<<19 || !got[0].NoLuhn {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Names as acquirers send them, with the numbers that they really contain, stay as they are.
func TestCleanKeepsMerchantNames(t *testing.T) {
	for _, s := range []string{
		"SUPERMERCADO COTO SUC 118", "FARMACIA AHUMADA 0432 STGO", "PIZZA 5411 4567 8901", "TAXI +54 9 11 4123-4567", "0800-555-0199",
		"PEDIDOSYA*REST 44112233", "TEL 4111-1111 4222-2222", "MERCADOPAGO*5557778", "OXXO 24 HRS 50ABC", "CNPJ 11.222.333/0001-81", "2026-11-22 13:26:05",
		"AEROLINEAS ARG 0442100000001", "51 55 19 88776655", "7-ELEVEN 37123 NO 16 01 2026", "",
	} {
		got := []byte(s)
		if removed := Clean(got); string(got) != s || removed != 0 {
			t.Errorf("%q became %q, %d removed", s, got, removed)
		}
	}
}

func TestCleanCountsAndMasksTracks(t *testing.T) {
	for _, tc := range []struct {
		in, want string
		removed  int
	}{
		{"4111111111111111 x 5555555555554444", "**************** x ****************", 2},
		{";4111111111111111=30121010000012345?", ";****************=*****************?", 1},
		{"%B4111111111111111^DOE/J 2^30121010000012345? 77", "%B****************^DOE/J *^*****************? 77", 1},
		{"4111111111111111D30121010000012345F", "****************D*****************F", 1},
		{"4111 1111 1111 1111=", "**** **** **** ****=", 1},
	} {
		got := []byte(tc.in)
		if removed := KnownIINs().Clean(got); string(got) != tc.want || removed != tc.removed {
			t.Errorf("got %q, %d removed, want %q, %d", got, removed, tc.want, tc.removed)
		}
	}
}

func TestMaskPANsDoesNotAllocateOnCleanText(t *testing.T) {
	s := "SUPERMERCADO COTO SUC 118 BUENOS AIRES AR 2026-11-22 13:26 9111111111111111"
	b := []byte(s)
	if n := testing.AllocsPerRun(100, func() {
		if len(MaskPANs(s)) != len(s) || ContainsPAN(b) || Clean(b) != 0 {
			t.Fatal("clean text was masked")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzMaskPANs(f *testing.F) {
	for _, s := range []string{
		"", "4111111111111111", "4111 1111 1111 1111 5555 5555 5555 4444", "1-4111111111111111-1",
		"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", ";4111111111111111=30121010000012345?", "%B4111111111111111^DOE/J 4111111111111111^3012", "378282246310005378282246310005", "5895620000000000 4222222222222",
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

// BenchmarkClean copies the text anew each time; the reference is the copy alone.
func BenchmarkClean(b *testing.B) {
	buf := make([]byte, 0, 64)
	for _, bc := range []struct{ name, in string }{
		{"name", "SUPERMERCADO COTO 11"},
		{"digits", "TERMINAL 00012345 1732283170000 AR"},
		{"pan", "RECARGA 4111 1111 1111 1111 BUENOS AIRES"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Clean(append(buf, bc.in...))
			}
		})
	}
	b.Run("copy", func(b *testing.B) {
		b.ReportAllocs()
		s := "SUPERMERCADO COTO 11"
		for b.Loop() {
			_ = append(buf, s...)
		}
	})
}
