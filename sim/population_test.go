package sim

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
)

func TestPopulationIsValid(t *testing.T) {
	for _, cfg := range []Config{{Seed: 1}, {Seed: 7, Tenants: MaxTenants, CardsTotal: 30_000}, {Seed: 3, Tenants: 1, CardsTotal: 10}} {
		p := NewPopulation(cfg)
		cfg = p.Config()
		tenants := map[cardlake.Tenant]int{}
		pans, accounts := map[string]bool{}, map[string]bool{}
		bins := map[string]Program{}
		countries := map[string]bool{}
		for _, pr := range p.Programs() {
			if _, ok := bins[pr.BIN]; ok {
				t.Errorf("BIN of %s belongs to another programme too", pr.Name)
			}
			bins[pr.BIN] = pr
			countries[pr.Country] = true
		}
		inactive, customers := 0, map[string]int{}
		for c := range p.Cards() {
			digits := string(c.PAN.Digits())
			pr := bins[digits[:8]]
			if !c.PAN.Luhn() || len(digits) != 16 || pans[digits] || accounts[c.AccountID] {
				t.Fatal("a card number is not Luhn-valid, not of 16 digits, or a number or account comes twice")
			}
			if pr.Tenant != c.Tenant || pr.Name != c.Program || pr.Network != c.Network || pr.Currency != c.Currency {
				t.Fatalf("card of %s is not in its programme's BIN", c.Tenant)
			}
			iin := digits[:4]
			mastercard := iin >= "5100" && iin <= "5599" || iin >= "2221" && iin <= "2720"
			if (c.Network == cardlake.Visa) != (iin[0] == '4') || (c.Network == cardlake.Mastercard) != mastercard {
				t.Fatalf("a %s number is not in the network's range", c.Network)
			}
			if c.Limit <= 0 || len(c.Expiry) != 4 || c.Tenant.Validate() != nil {
				t.Fatalf("card of %s: limit %d, expiry of %d characters", c.Tenant, c.Limit, len(c.Expiry))
			}
			if c.Status != card.Active || c.Expiry < "2612" {
				inactive++
			}
			customers[c.CustomerID]++
			pans[digits], accounts[c.AccountID] = true, true
			tenants[c.Tenant]++
		}
		if len(pans) != cfg.CardsTotal || len(tenants) != cfg.Tenants || len(countries) != min(issuingCountries, cfg.Tenants) {
			t.Errorf("%+v: %d cards, %d tenants, %d countries", cfg, len(pans), len(tenants), len(countries))
		}
		if cfg.CardsTotal >= 20_000 {
			if first, last := tenants[p.Tenants()[0]], tenants[p.Tenants()[cfg.Tenants-1]]; first < 4*last {
				t.Errorf("the largest tenant has %d cards, the smallest %d: not unequal enough", first, last)
			}
			if share := float64(inactive) / float64(cfg.CardsTotal); share < .01 || share > .05 {
				t.Errorf("%.3f of the cards are blocked, stolen or expired", share)
			}
			if share := float64(len(customers)) / float64(cfg.CardsTotal); share < .85 || share > .97 {
				t.Errorf("%d customers for %d cards", len(customers), cfg.CardsTotal)
			}
		}
		ghosts := 0
		p.AllPANs(func(pan card.PAN) bool {
			if !pan.Luhn() {
				t.Fatal("a card number is not Luhn-valid")
			}
			if _, ok := bins[string(pan.Digits()[:8])]; !ok {
				t.Fatal("a card number is in nobody's BIN")
			}
			if !pans[string(pan.Digits())] {
				ghosts++
			}
			return true
		})
		if want := len(p.programs) * ghostsPerProgram; ghosts != want {
			t.Errorf("%d numbers were never issued, want %d", ghosts, want)
		}
	}
}

func TestPopulationFollowsFromItsSeed(t *testing.T) {
	file := func(seed uint64) []byte {
		var b bytes.Buffer
		if err := card.WriteIssued(&b, NewPopulation(Config{Seed: seed, CardsTotal: 2000}).Cards()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if !bytes.Equal(file(5), file(5)) {
		t.Error("the same seed makes different cards")
	}
	if bytes.Equal(file(5), file(6)) {
		t.Error("different seeds make the same cards")
	}
}

func TestMerchantsLookLikeNoCard(t *testing.T) {
	p := NewPopulation(Config{Seed: 1})
	ids := map[string]bool{}
	for i := range p.market.all {
		m := &p.market.all[i]
		if ids[m.id] {
			t.Fatalf("merchant id %s comes twice", m.id)
		}
		ids[m.id] = true
		text := string(m.appendTerminal(nil, 3)) + m.id + m.acceptor
		if len(text) != 8+15+40 {
			t.Fatalf("%q has %d characters", text, len(text))
		}
		run := 0
		for _, c := range text {
			if run++; c < '0' || c > '9' {
				run = 0
			}
			if run >= 13 {
				t.Fatalf("%q has 13 digits in a row", text)
			}
		}
	}
	if n := len(p.market.all); n < 1000 {
		t.Errorf("only %d merchants", n)
	}
	mccs := map[string]bool{}
	for _, c := range categories {
		mccs[c.mcc] = true
	}
	if len(mccs) < 40 {
		t.Errorf("only %d merchant category codes", len(mccs))
	}
}

func TestConfigValidate(t *testing.T) {
	for _, c := range []Config{{Tenants: MaxTenants + 1}, {Tenants: -1}, {Tenants: 12, CardsTotal: 119}, {CardsTotal: MaxCards + 1}} {
		if c.Validate() == nil {
			t.Errorf("%+v is taken as valid", c)
		}
	}
	for _, c := range []Config{{}, {Tenants: MaxTenants}, {Tenants: 12, CardsTotal: 120}} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestNamesAreTenants(t *testing.T) {
	words := slices.Clone(tenantWords[:])
	slices.Sort(words)
	if n := len(slices.Compact(words)); n != MaxTenants || n < 120 {
		t.Errorf("%d different words of %d", n, MaxTenants)
	}
	for _, w := range tenantWords {
		if err := cardlake.Tenant(w + "-wallet").Validate(); err != nil {
			t.Errorf("%s: %v", w, err)
		}
	}
}

func TestConversion(t *testing.T) {
	type result struct {
		Billing cardlake.Money
		Rate    uint32
	}
	for _, x := range []struct {
		amount cardlake.Money
		to     cardlake.Currency
		want   result
	}{
		{cardlake.Money{Minor: 1000, Currency: "USD"}, "MXN", result{cardlake.Money{Minor: 18200, Currency: "MXN"}, 5_1820000}},
		{cardlake.Money{Minor: 1000, Currency: "USD"}, "CLP", result{cardlake.Money{Minor: 9400, Currency: "CLP"}, 4_9400000}},
		{cardlake.Money{Minor: 9400, Currency: "CLP"}, "USD", result{cardlake.Money{Minor: 1000, Currency: "USD"}, 9_1063830}},
		{cardlake.Money{Minor: 1, Currency: "COP"}, "PEN", result{cardlake.Money{Minor: 1, Currency: "PEN"}, 9_0913580}},
	} {
		var got result
		got.Billing, got.Rate = conversion(x.amount, x.to)
		if diff := cmp.Diff(x.want, got); diff != "" {
			t.Errorf("%s to %s (-want +got):\n%s", x.amount, x.to, diff)
		}
	}
}
