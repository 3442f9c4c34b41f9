package tokenize_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/ff1"
)

// randomPAN is a card number of n digits with its check digit.
func randomPAN(t testing.TB, r *rand.Rand, n int) card.PAN {
	digits := make([]byte, n-1, n)
	for i := range digits {
		digits[i] = '0' + byte(r.IntN(10))
	}
	return pan(t, string(append(digits, card.LuhnDigit(digits))))
}

func formatToken(t testing.TB, f *tokenize.Formatter, p card.PAN) []byte {
	t.Helper()
	token, err := f.AppendToken(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Tokens of every length turn back, pass no check of a scanner, even one whose issuers have no
// Luhn digit, and are one for each card.
func TestFormatTokens(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := tokenize.NewFormatter("ownera", secret(t, 1))
	noLuhn := card.KnownIINs().With([]card.IIN{{Brand: "issuer without a check digit", Lo: "2", Hi: "6", Lengths: 1<<20 - 1<<13, NoLuhn: true}})
	var back card.PAN
	for n := 12; n <= 19; n++ {
		cards := map[string]string{}
		for range 5000 {
			p := randomPAN(t, r, n)
			token := formatToken(t, f, p)
			if len(token) != n || card.LuhnValid(token) {
				t.Fatalf("a token of %d digits for %d, Luhn %t", len(token), n, card.LuhnValid(token))
			}
			if brand, fit := noLuhn.Match(token); fit == card.FitsWhole {
				t.Fatalf("a token looks like a number of %s", brand)
			}
			if again := formatToken(t, f, p); !bytes.Equal(token, again) {
				t.Fatal("one card has two tokens")
			}
			if other, isThere := cards[string(token)]; isThere && other != string(p.Digits()) {
				t.Fatal("two cards have one token")
			}
			cards[string(token)] = string(p.Digits())
			if err := f.Reveal(&back, token); err != nil || !bytes.Equal(back.Digits(), p.Digits()) {
				t.Fatalf("a token of %d digits does not turn back: %v", n, err)
			}
		}
	}
}

// TestFormatTokenIsItsDefinition makes tokens again from the type's comment.
func TestFormatTokenIsItsDefinition(t *testing.T) {
	text, err := ff1.NewText(secret(t, 1).Bytes(), ff1.Digits, ff1.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	shifted := 0
	for range 200 {
		p := randomPAN(t, r, 16)
		want, err := text.Encrypt([]byte("cardlake format token\x00ownera"), string(p.Digits()[:15]))
		if err != nil {
			t.Fatal(err)
		}
		wrongBy := byte(1)
		if strings.Contains("23456", want[:1]) {
			want, wrongBy = string('0'+(want[0]-'0'+5)%10)+want[1:], 2
			shifted++
		}
		want += string('0' + (card.LuhnDigit([]byte(want))-'0'+wrongBy)%10)
		if got := formatToken(t, tokenize.NewFormatter("ownera", secret(t, 1)), p); string(got) != want {
			t.Fatalf("token %s, want %s", got, want)
		}
	}
	if shifted < 60 || shifted > 140 {
		t.Errorf("%d of 200 begin with 2 to 6, want about half", shifted)
	}
}

func TestFormatTokensOfTenantsDiffer(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	a, other, sameSecret := tokenize.NewFormatter("ownera", secret(t, 1)), tokenize.NewFormatter("ownera", secret(t, 2)), tokenize.NewFormatter("ownerb", secret(t, 1))
	var back card.PAN
	for range 500 {
		p := randomPAN(t, r, 16)
		token := formatToken(t, a, p)
		for _, f := range []*tokenize.Formatter{other, sameSecret} {
			if bytes.Equal(token, formatToken(t, f, p)) {
				t.Error("two tenants have one token for a card")
			}
			if err := f.Reveal(&back, token); err != nil || bytes.Equal(back.Digits(), p.Digits()) {
				t.Errorf("another tenant turns a token back: %v", err)
			}
		}
	}
}

func TestFormatterRefuses(t *testing.T) {
	f := tokenize.NewFormatter("ownera", secret(t, 1))
	for _, p := range []card.PAN{{}, pan(t, "4111111111111112")} {
		dst := []byte("before")
		if out, err := f.AppendToken(dst, p); !errors.Is(err, tokenize.ErrCheckDigit) || string(out) != "before" {
			t.Errorf("%d digits: %d bytes, %v", p.Len(), len(out), err)
		}
	}
	token := string(formatToken(t, f, pan(t, "4111111111111111")))
	back := pan(t, "5555555555554444")
	refused := 0
	for _, s := range []string{"", "4111111111111111", token[:11], token + "0000", token[:15] + "a", " " + token[1:], "4" + token[1:], strings.Repeat("1", 20)} {
		if err := f.Reveal(&back, []byte(s)); !errors.Is(err, tokenize.ErrFormatToken) || s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%d bytes: %v", len(s), err)
		}
	}
	for _, wrongBy := range []byte{1, 2} { // as a token's, of a number that begins as no token does
		s := append([]byte("4"), token[1:15]...)
		s = append(s, '0'+(card.LuhnDigit(s)-'0'+wrongBy)%10)
		if err := f.Reveal(&back, s); !errors.Is(err, tokenize.ErrFormatToken) {
			t.Errorf("a number that begins with 4, its check digit wrong by %d: %v", wrongBy, err)
		}
	}
	for last := range 10 {
		if err := f.Reveal(&back, fmt.Appendf(nil, "%s%d", token[:15], last)); err != nil {
			refused++
			if string(back.Digits()) == "" {
				t.Error("a refusal changed the card number")
			}
		}
	}
	if refused != 8 {
		t.Errorf("%d of ten last digits are refused, want 8", refused)
	}
}

type formatSecrets struct{ err error }

func (s formatSecrets) Secret(_ context.Context, scope keys.Scope) (int, keys.Key, error) {
	if scope != (keys.Scope{Owner: "ownera", Purpose: keys.Format}) || s.err != nil {
		return 0, keys.Key{}, errors.Join(s.err, keys.ErrNoKey)
	}
	key, err := keys.KeyFrom(bytes.Repeat([]byte{1}, 32))
	return 3, key, err
}

func TestOpenFormatter(t *testing.T) {
	f, version, err := tokenize.OpenFormatter(t.Context(), formatSecrets{}, "ownera")
	if err != nil || version != 3 {
		t.Fatalf("version %d, %v", version, err)
	}
	p := pan(t, "4111111111111111")
	if !bytes.Equal(formatToken(t, f, p), formatToken(t, tokenize.NewFormatter("ownera", secret(t, 1)), p)) {
		t.Error("another secret")
	}
	if _, _, err := tokenize.OpenFormatter(t.Context(), formatSecrets{}, "ownerb"); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("a tenant without a secret: %v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if out := fmt.Sprintf(verb, f); out != "formatter(redacted)" {
			t.Errorf("%s prints %q", verb, out)
		}
	}
}

func TestFormattingAllocatesNothing(t *testing.T) {
	f, p := tokenize.NewFormatter("ownera", secret(t, 1)), pan(t, "4111111111111111")
	token := formatToken(t, f, p)
	back := pan(t, "5555555555554444")
	if n := testing.AllocsPerRun(100, func() {
		token, _ = f.AppendToken(token[:0], p)
		if err := f.Reveal(&back, token); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// BenchmarkFormatToken is the cost of a format-preserving token: FF1 with AES-256, and the
// check digits.
func BenchmarkFormatToken(b *testing.B) {
	f, p := tokenize.NewFormatter("ownera", secret(b, 1)), pan(b, "4111111111111111")
	var token []byte
	b.ReportAllocs()
	for b.Loop() {
		token, _ = f.AppendToken(token[:0], p)
	}
}
