package recommendations

import (
	"strings"
	"testing"

	"github.com/cardlake/cardlake/queries/insights/insightstest"
)

// TestOnePurchaseNamesNoMerchant: a purchase under a merchant's id with another name, category and
// country says nothing of the merchant to anybody.
func TestOnePurchaseNamesNoMerchant(t *testing.T) {
	l := insightstest.New(t, acme)
	w := newTown(acme, 1)
	tx := w.buy(acme, 7, "super1", "9999", 20)
	tx.MerchantName, tx.MerchantCountry = "zzz \u202e<b>'call 555'", "ZW"
	l.Add(w.txs...)
	_, got := run(t, l, "", nil)
	n := 0
	for _, r := range got {
		if strings.Contains(r.Reason, "zzz") || r.Merchant == "super1" && r.MCC != "5411" {
			t.Fatalf("%+v", r)
		}
		if r.Merchant == "super1" {
			n++
		}
	}
	if n == 0 {
		t.Fatal("the merchant is in no list")
	}
	for _, r := range l.Ask(acme, `SELECT DISTINCT merchant_name FROM insights.recommendations WHERE merchant_id = 'super1'`) {
		if r[0] != "SUPER1" {
			t.Errorf("the merchant's name is %q", r[0])
		}
	}
}
