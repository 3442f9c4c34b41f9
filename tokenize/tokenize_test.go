package tokenize_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/tokenize"
)

func pan(t testing.TB, s string) card.PAN {
	t.Helper()
	p, err := card.ParsePAN(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func secret(t testing.TB, fill byte) keys.Key {
	t.Helper()
	k, err := keys.KeyFrom(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestTokenIsItsDefinition computes a token again from the definition in the package comment.
func TestTokenIsItsDefinition(t *testing.T) {
	mac := hmac.New(sha256.New, bytes.Repeat([]byte{7}, 32))
	mac.Write([]byte("cardlake card token\x004111111111111111"))
	want := "tk3_"
	for _, b := range mac.Sum(nil)[:16] {
		want += string([]byte{'a' + b>>4, 'a' + b&15})
	}
	m := tokenize.NewMinter(3, secret(t, 7))
	for range 2 { // the second time from the reset state
		if got := string(m.AppendToken(nil, pan(t, "4111111111111111"))); got != want {
			t.Errorf("token %s, want %s", got, want)
		}
	}
}

func TestTokenEqualWithinTenantOnly(t *testing.T) {
	a, b := tokenize.NewMinter(1, secret(t, 1)), tokenize.NewMinter(1, secret(t, 2))
	p, q := pan(t, "4111111111111111"), pan(t, "5555555555554444")
	form := regexp.MustCompile(`^tk1_[a-p]{32}$`)
	tokens := map[string]int{}
	for _, m := range []*tokenize.Minter{a, b, a} {
		for _, p := range []card.PAN{p, q} {
			token := string(m.AppendToken(nil, p))
			if !form.MatchString(token) {
				t.Errorf("token %q is not of the form %s", token, form)
			}
			tokens[token]++
		}
	}
	if len(tokens) != 4 {
		t.Errorf("two tenants with two cards have %d tokens, want 4", len(tokens))
	}
}

func TestMintingAllocatesNothing(t *testing.T) {
	m := tokenize.NewMinter(1, secret(t, 1))
	msg := &card.Message{PAN: pan(t, "4111111111111111")}
	batch, tokens := []card.PAN{msg.PAN, pan(t, "5555555555554444")}, make([]tokenize.Token, 0, 2)
	if n := testing.AllocsPerRun(100, func() { m.Apply(msg); tokens = m.AppendTokens(tokens[:0], batch) }); n != 0 {
		t.Errorf("%v allocations a card number, want 0", n)
	}
	for i, token := range tokens {
		if want := string(m.AppendToken(nil, batch[i])); token.String() != want {
			t.Errorf("token %d of a batch is %s, want %s", i, token, want)
		}
	}
}

func TestTokenizerNoticesADestroyedSecret(t *testing.T) {
	ctx := context.Background()
	k, err := local.Create(t.TempDir()+"/k", []byte("a secret for this test"), keys.CardPurposes)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(ctx, "ownera"); err != nil {
		t.Fatal(err)
	}
	tk := tokenize.New(k, tokenize.Config{MaxAge: time.Minute})
	now := time.Unix(1_790_000_000, 0)
	if _, err := tk.Minter(ctx, "ownera", now); err != nil {
		t.Fatal(err)
	}
	if err := k.DestroyOwner(ctx, "ownera"); err != nil {
		t.Fatal(err)
	}
	if _, err := tk.Minter(ctx, "ownera", now.Add(time.Minute)); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("error %v a minute after destruction, want ErrNoKey", err)
	}
}

// BenchmarkToken is the cost of a token; BenchmarkTokenReference that of the bare HMAC.
func BenchmarkToken(b *testing.B) {
	m := tokenize.NewMinter(1, secret(b, 1))
	p := pan(b, "4111111111111111")
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = m.AppendToken(dst[:0], p)
	}
}

// BenchmarkTokens is the cost of a token in a batch, without its text.
func BenchmarkTokens(b *testing.B) {
	m := tokenize.NewMinter(1, secret(b, 1))
	batch := pans(b, 1024)
	tokens := make([]tokenize.Token, 0, len(batch))
	b.ReportAllocs()
	for b.Loop() {
		tokens = m.AppendTokens(tokens[:0], batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/pan")
}

func BenchmarkTokenReference(b *testing.B) {
	mac := hmac.New(sha256.New, make([]byte, 32))
	input := []byte("4111111111111111")
	sum := make([]byte, 0, 32)
	b.ReportAllocs()
	for b.Loop() {
		mac.Reset()
		mac.Write(input)
		sum = mac.Sum(sum[:0])
	}
}
