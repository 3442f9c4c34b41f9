package tokenize

import (
	"strings"
	"testing"

	"github.com/cardlake/cardlake/card"
)

// Ranges that cut through the prefixes by which rules are looked up count to the digit.
func TestRulesToTheDigit(t *testing.T) {
	iins := new(card.IINs).With([]card.IIN{
		{Brand: "kind", Lo: "900010", Hi: "900210", Lengths: 1 << 16},
		{Brand: "kind", Lo: "91", Hi: "92", Lengths: 1 << 16},
		{Brand: "strict", Lo: "91234567", Hi: "91234567", Lengths: 1 << 16},
	})
	rules, err := newRules("brand,digits,first,last\nkind,16,8,4\n", iins)
	if err != nil {
		t.Fatal(err)
	}
	for prefix, first := range map[string]int{
		"90000999": 6, "90001000": 8, "90009999": 8, "90010000": 8, "90019999": 8, "90020000": 8, "90021099": 8, "90021100": 6, "90029999": 6,
		"91000000": 8, "91234566": 8, "91234567": 6, "91234568": 8, "92999999": 8, "93000000": 6,
	} {
		if got := rules.of([]byte(prefix + "00000000")); got.First != first || got.Last != 4 {
			t.Errorf("prefix %s: rule %v, want the first %d", prefix, got, first)
		}
	}
}

func TestTruncationTableRefuses(t *testing.T) {
	for name, row := range map[string]string{
		"a brand without IINs":   "vsia,16,8,4",
		"three hidden digits":    "visa,15,8,4",
		"seven leading digits":   "visa,16,7,4",
		"five trailing digits":   "visa,16,6,5",
		"a length of no card":    "visa,20,6,4",
		"a number that is none":  "visa,16,6,four",
		"too few columns":        "visa,16,6",
		"a length below a digit": "visa,-1,6,4",
	} {
		if _, err := newRules("brand,digits,first,last\n"+row+"\n", card.KnownIINs()); err == nil || !strings.Contains(err.Error(), "truncation table") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
