package tokenize_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/tokenize"
)

func TestApplyTruncatesByBrandAndLength(t *testing.T) {
	for _, c := range []struct{ brand, digits, bin, last4 string }{
		{"visa", "4111111111111111", "41111111", "1111"},
		{"mastercard", "5555555555554444", "55555555", "4444"},
		{"mastercard, low", "2221000000000009", "22210000", "0009"},
		{"mastercard, high", "2720990000000007", "27209900", "0007"},
		{"above mastercard", "2721000000000004", "272100", "0004"},
		{"discover", "6011111111111117", "60111111", "1117"},
		{"jcb", "3530111333300000", "35301113", "0000"},
		{"unionpay", "6240008631401148", "62400086", "1148"},
		{"amex", "378282246310005", "378282", "0005"},
		{"elo among visa", "4011780000000000", "401178", "0000"},
		{"visa beside elo", "4011770000000000", "40117700", "0000"},
		{"elo", "5067310000000000", "506731", "0000"},
		{"elo among discover", "6504050000000000", "650405", "0000"},
		{"hipercard", "6062820000000000", "606282", "0000"},
		{"naranja", "5895620000000000", "589562", "0000"},
		{"nobody's", "9999990000000000", "999999", "0000"},
		{"maestro", "6304000000000000018", "630400", "0018"},
		{"visa of 19", "4000000000000000006", "400000", "0006"},
		{"visa of 13", "4222222222222", "422222", ""},
		{"diners of 14", "36006666333344", "360066", ""},
		{"12", "501800000009", "501800", ""},
	} {
		m := &card.Message{PAN: pan(t, c.digits)}
		if !tokenize.NewMinter(1, secret(t, 1)).Apply(m) || m.BIN != c.bin || m.Last4 != c.last4 {
			t.Errorf("%s: bin %q, last4 %q, want %q and %q", c.brand, m.BIN, m.Last4, c.bin, c.last4)
		}
		if rule := tokenize.RuleFor(m.PAN); rule.First != len(c.bin) || rule.Last != len(c.last4) {
			t.Errorf("%s: rule %v", c.brand, rule)
		}
	}
}

// Whatever is looked up quickly is what the brand's rule says, and enough is always hidden.
func TestRulesOfEveryRange(t *testing.T) {
	generous := map[string]bool{"visa": true, "mastercard": true, "discover": true, "jcb": true, "unionpay": true}
	r := rand.New(rand.NewPCG(1, 2))
	check := func(digits string) {
		t.Helper()
		n := len(digits)
		brand, _ := card.KnownIINs().Match([]byte(digits))
		want := tokenize.Rule{First: 6, Last: 4}
		if n == 16 && generous[brand] {
			want.First = 8
		}
		if n < 15 {
			want.Last = 0
		}
		if got := tokenize.RuleFor(pan(t, digits)); got != want || n-got.First-got.Last < 4 || n == 15 && n-got.First-got.Last < 5 {
			t.Errorf("%s of %d digits, prefix %s: rule %v, want %v", brand, n, digits[:8], got, want)
		}
	}
	filled := func(prefix string, n int) string {
		for len(prefix) < n {
			prefix += fmt.Sprint(r.IntN(10))
		}
		return prefix
	}
	for _, iin := range card.KnownIINs().All() {
		for n := 13; n <= 19; n++ {
			check(filled(iin.Lo, n))
			check(filled(iin.Hi, n))
		}
	}
	for range 100_000 {
		check(filled("", 12+r.IntN(8)))
	}
}

func BenchmarkRuleFor(b *testing.B) {
	for _, c := range []struct{ name, digits string }{{"visa", "4111111111111111"}, {"elo-among-visa", "4011780000000000"}} {
		p := pan(b, c.digits)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tokenize.RuleFor(p)
			}
		})
	}
}
