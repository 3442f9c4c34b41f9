package card_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
)

const digits = "4111111111111111" // a published test number

func pan(t testing.TB, s string) card.PAN {
	t.Helper()
	p, err := card.ParsePAN(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestNothingPrintsACardNumber formats, logs and marshals everything that can hold one, in
// every way a careless line of code could, alone and inside other values.
func TestNothingPrintsACardNumber(t *testing.T) {
	p := pan(t, digits)
	msg := card.Message{PAN: p, Transaction: cardlake.Transaction{Tenant: "aurora-pay"}}
	issued := card.Issued{PAN: p, AccountID: "ac-1"}
	type hidden struct{ p card.PAN } // fmt walks unexported fields without calling Format
	type nested struct {
		hidden hidden
		m      *card.Message
		i      []card.Issued
	}
	values := []any{p, &p, msg, &msg, issued, &issued, hidden{p}, &hidden{p}, []card.PAN{p}, map[string]card.PAN{"a": p},
		nested{hidden{p}, &msg, []card.Issued{issued}}, []any{p, msg}, struct{ P any }{p}}
	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	text := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t", "%p"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		log.Info("m", "v", v)
		text.Info("m", "v", v)
		b, err := json.Marshal(v)
		fmt.Fprintln(&out, string(b), err)
		fmt.Fprintln(&out, fmt.Errorf("wrapped: %v", v))
		func() {
			defer func() { fmt.Fprintln(&out, recover()) }()
			panic(v)
		}()
	}
	for _, leak := range []string{digits, digits[4:12], fmt.Sprintf("%x", digits), fmt.Sprintf("%v", []byte(digits[:6]))[1:15], fmt.Sprintf("%X", digits)} {
		if i := strings.Index(out.String(), leak); i >= 0 {
			t.Errorf("the card number shows: …%s…", out.String()[max(0, i-80):min(out.Len(), i+len(leak)+20)])
		}
	}
}

func TestParsePANRefusesWithoutTheContent(t *testing.T) {
	for _, s := range []string{"", "41111111111", "41111111111111111111", "411111111111111a", "4111 1111 1111 1111", "+411111111111111", "４111111111111111"} {
		p, err := card.ParsePAN(s)
		if !errors.Is(err, card.ErrPAN) || !p.IsZero() {
			t.Errorf("a text of %d bytes parses", len(s))
		}
		if err != nil && len(s) > 4 && strings.Contains(err.Error(), s[:5]) {
			t.Error("the error has the content")
		}
	}
}

func TestSetReplacesAndClears(t *testing.T) {
	p := pan(t, digits)
	if err := p.Set([]byte("5555555555554444")); err != nil || string(p.Digits()) != "5555555555554444" {
		t.Errorf("after Set: %d digits, error %v", p.Len(), err)
	}
	if err := p.Set([]byte("no card number")); !errors.Is(err, card.ErrPAN) || !p.IsZero() {
		t.Errorf("after a bad Set: %d digits, error %v", p.Len(), err)
	}
	p = pan(t, digits)
	q := p
	p.Clear()
	if q.Len() != 0 {
		t.Error("a copy keeps the digits after Clear")
	}
}

// Check digits of published test numbers of the brands.
func TestLuhn(t *testing.T) {
	for _, s := range []string{digits, "5555555555554444", "378282246310005", "6011111111111117", "30569309025904", "4222222222222"} {
		if !pan(t, s).Luhn() {
			t.Errorf("a test number of %d digits is not valid", len(s))
		}
		if got := card.LuhnDigit([]byte(s[:len(s)-1])); got != s[len(s)-1] {
			t.Errorf("check digit %c, want %c", got, s[len(s)-1])
		}
		for i := range s {
			changed := []byte(s)
			changed[i] = '0' + (changed[i]-'0'+1)%10
			if card.LuhnValid(changed) {
				t.Errorf("digit %d changed and still valid", i)
			}
		}
	}
}

func TestEventIDIgnoresRepeatsOnly(t *testing.T) {
	k := card.EventKey{Tenant: "a", Network: cardlake.Visa, Acquirer: "1", RRN: "2", STAN: "3", MTI: "0100", Transmission: "0101000000"}
	repeat := k
	repeat.MTI = "0101"
	if k.ID() != repeat.ID() {
		t.Error("a repeat is another event")
	}
	seen := map[cardlake.EventID]bool{k.ID(): true}
	for i, change := range []func(*card.EventKey){
		func(k *card.EventKey) { k.Tenant = "b" }, func(k *card.EventKey) { k.Network = cardlake.Mastercard },
		func(k *card.EventKey) { k.Acquirer = "9" }, func(k *card.EventKey) { k.RRN = "9" }, func(k *card.EventKey) { k.STAN = "9" },
		func(k *card.EventKey) { k.MTI = "0400" }, func(k *card.EventKey) { k.MTI = "0420" }, func(k *card.EventKey) { k.Transmission = "9" },
		// What moves from one field to the next makes another event.
		func(k *card.EventKey) { k.RRN, k.STAN = "23", "" }, func(k *card.EventKey) { k.Acquirer, k.RRN = "", "12" },
	} {
		other := k
		change(&other)
		if seen[other.ID()] {
			t.Errorf("change %d gives an id that was there", i)
		}
		seen[other.ID()] = true
	}
	id := k.ID()
	if id[6]>>4 != 8 || id[8]>>6 != 2 {
		t.Errorf("%s is not a UUID of version 8", id)
	}
	if parsed, err := cardlake.ParseEventID(id.String()); err != nil || parsed != id {
		t.Errorf("%s parses to %s, error %v", id, parsed, err)
	}
}

func TestIssuedRoundTripAndRefusals(t *testing.T) {
	want := []card.Issued{
		{PAN: pan(t, digits), Tenant: "aurora-pay", Program: "p", Network: cardlake.Visa, Product: cardlake.Credit, CustomerID: "c", AccountID: "a", Expiry: "3012", Status: card.Active, Currency: "MXN", Limit: 100},
		{PAN: pan(t, "5555555555554444"), Tenant: "lucero-go", Program: "q", Network: cardlake.Mastercard, Product: cardlake.Debit, Expiry: "2901", Status: card.Stolen, Currency: "CLP"},
	}
	var file strings.Builder
	if err := card.WriteIssued(&file, slices.Values(want)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for got, err := range card.ReadIssued(strings.NewReader(file.String())) {
		if err != nil {
			t.Fatal(err)
		}
		if string(got.PAN.Digits()) != string(want[n].PAN.Digits()) {
			t.Errorf("card %d has another number", n)
		}
		got.PAN, want[n].PAN = card.PAN{}, card.PAN{}
		if got != want[n] {
			t.Errorf("card %d differs", n)
		}
		n++
	}
	if n != len(want) {
		t.Errorf("%d cards read, want %d", n, len(want))
	}
	header, line, _ := strings.Cut(file.String(), "\n")
	for field, change := range map[string][2]string{
		"pan": {digits, "4111x"}, "tenant": {"aurora-pay", "Aurora"}, "expiry": {"3012", "30"}, "status": {"active", "lost"},
		"currency": {"MXN", "XXX"}, "limit": {",100", ",-1"}, "comma-separated": {",100", ""},
	} {
		bad := header + "\n" + strings.Replace(line, change[0], change[1], 1)
		for _, err := range card.ReadIssued(strings.NewReader(bad)) {
			if err == nil {
				t.Errorf("a wrong %s is read", field)
			} else if !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "4111") {
				t.Errorf("wrong %s: error %q", field, err)
			}
			break
		}
	}
}
