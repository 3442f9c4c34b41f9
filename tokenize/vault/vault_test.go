package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/pebblestore"
)

// withVault opens the vault in dir, uses and closes it.
func withVault(t testing.TB, dir string, use func(v *vault.Vault)) {
	t.Helper()
	s, err := pebblestore.Open(dir, pebblestore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	use(vault.New(s, vault.Config{}))
}

func newKeyring(t testing.TB, owners ...keys.Owner) *local.Keyring {
	t.Helper()
	k, err := local.Create(filepath.Join(t.TempDir(), "keyring"), []byte("a secret of this test"), keys.CardPurposes)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(t.Context(), owners...); err != nil {
		t.Fatal(err)
	}
	return k
}

// present is a card as a worker presents it.
func present(t testing.TB, k *local.Keyring, owner keys.Owner, digits string) tokenize.Card {
	t.Helper()
	pan, err := card.ParsePAN(digits)
	if err != nil {
		t.Fatal(err)
	}
	live, err := k.Live(t.Context(), keys.Scope{Owner: owner, Purpose: keys.Mint})
	if err != nil {
		t.Fatal(err)
	}
	var c tokenize.Card
	for _, s := range live {
		c.Candidates = append(c.Candidates, tokenize.NewMinter(s.Version, s.Key).Token(pan))
	}
	reverse := keys.NewEnvelopes(k, keys.Reverse, keys.EnvelopeConfig{})
	c.Sealed, err = reverse.AppendSealed(t.Context(), nil, owner, pan.Digits(), tokenize.ReverseAAD(owner, c.Candidates[0]))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const testNumber = "4111111111111111"

// TestShredding destroys the keys of one of two owners who have the same card.
func TestShredding(t *testing.T) {
	withVault(t, t.TempDir(), func(v *vault.Vault) { shred(t, v) })
}

func shred(t *testing.T, v *vault.Vault) {
	k := newKeyring(t, "ownera", "ownerb")
	reverse := keys.NewEnvelopes(k, keys.Reverse, keys.EnvelopeConfig{})
	tokens := map[keys.Owner]tokenize.Token{}
	for _, owner := range []keys.Owner{"ownera", "ownerb"} {
		got, err := v.Pin(t.Context(), owner, []tokenize.Card{present(t, k, owner, testNumber)})
		if err != nil {
			t.Fatal(err)
		}
		tokens[owner] = got[0]
		if pan, err := v.Reveal(t.Context(), reverse, owner, got[0]); err != nil || string(pan.Digits()) != testNumber {
			t.Errorf("%s: %v", owner, err)
		}
	}
	if tokens["ownera"] == tokens["ownerb"] {
		t.Error("two owners have one token")
	}
	if err := k.DestroyOwner(t.Context(), "ownera"); err != nil {
		t.Fatal(err)
	}
	reverse = keys.NewEnvelopes(k, keys.Reverse, keys.EnvelopeConfig{})
	if pan, err := v.Reveal(t.Context(), reverse, "ownera", tokens["ownera"]); !errors.Is(err, keys.ErrNoKey) || !pan.IsZero() {
		t.Errorf("after destruction: %v, want ErrNoKey", err)
	}
	if pan, err := v.Reveal(t.Context(), reverse, "ownerb", tokens["ownerb"]); err != nil || string(pan.Digits()) != testNumber {
		t.Errorf("the other owner: %v", err)
	}
	for name, job := range map[string]func() (vault.Progress, error){
		"reseal": func() (vault.Progress, error) {
			return v.Reseal(t.Context(), vault.Pass{Owner: "ownera", Reverse: reverse})
		},
		"retokenise": func() (vault.Progress, error) {
			return v.Retokenise(t.Context(), vault.Pass{Owner: "ownera", Reverse: reverse}, keys.Secret{Version: 2, Key: keys.NewKey()})
		},
	} {
		if p, err := job(); !errors.Is(err, keys.ErrNoKey) || p.Changed != 0 {
			t.Errorf("%s after destruction: %+v, %v, want ErrNoKey", name, p, err)
		}
	}
	if n, err := v.Erase(t.Context(), "ownera"); err != nil || n == 0 {
		t.Errorf("erased %d, %v", n, err)
	}
}

// TestNoCardNumberLeavesTheVault looks for the number in the folder and in what errors print.
func TestNoCardNumberLeavesTheVault(t *testing.T) {
	dir, k, text := t.TempDir(), newKeyring(t, "ownera"), ""
	c := present(t, k, "ownera", testNumber)
	withVault(t, dir, func(v *vault.Vault) {
		if _, err := v.Pin(t.Context(), "ownera", []tokenize.Card{c}); err != nil {
			t.Fatal(err)
		}
		// A card number where a sealed value belongs.
		plain := tokenize.Card{Candidates: c.Candidates, Sealed: []byte(testNumber)}
		_, err := v.Pin(t.Context(), "ownera", []tokenize.Card{plain})
		if !errors.Is(err, vault.ErrCard) {
			t.Errorf("a clear card number was pinned: %v", err)
		}
		text += fmt.Sprintf("%v %+v", err, err)
	})
	withVault(t, dir, func(v *vault.Vault) { // the log becomes tables
		reverse := keys.NewEnvelopes(k, keys.Reverse, keys.EnvelopeConfig{})
		if _, err := v.Reseal(t.Context(), vault.Pass{Owner: "ownera", Reverse: reverse}); err != nil {
			t.Fatal(err)
		}
		pan, err := v.Reveal(t.Context(), reverse, "ownera", c.Candidates[0])
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("%v %+v %#v %s", pan, v, c, pan)
	})
	if bytes.Contains([]byte(text), []byte(testNumber)) {
		t.Error("the card number was printed")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	sealed := false
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(testNumber)) {
			t.Errorf("the card number is in %s", filepath.Base(f))
		}
		sealed = sealed || bytes.Contains(content, c.Candidates[0].Bits[:])
	}
	if !sealed {
		t.Error("the folder does not have the token either: the search proves nothing")
	}
}

func TestPinRefusesCards(t *testing.T) {
	withVault(t, t.TempDir(), func(v *vault.Vault) { refuse(t, v) })
}

func refuse(t *testing.T, v *vault.Vault) {
	k := newKeyring(t, "ownera")
	good := present(t, k, "ownera", testNumber)
	for name, bad := range map[string]tokenize.Card{
		"no candidate":  {Sealed: good.Sealed},
		"zero":          {Candidates: []tokenize.Token{{}}, Sealed: good.Sealed},
		"version":       {Candidates: []tokenize.Token{{Version: tokenize.MaxVersion + 1}}, Sealed: good.Sealed},
		"second zero":   {Candidates: []tokenize.Token{good.Candidates[0], {}}, Sealed: good.Sealed},
		"nothing":       {Candidates: good.Candidates},
		"too short":     {Candidates: good.Candidates, Sealed: good.Sealed[:keys.Overhead-1]},
		"much too long": {Candidates: good.Candidates, Sealed: make([]byte, vault.MaxSealed+1)},
	} {
		if tokens, err := v.Pin(t.Context(), "ownera", []tokenize.Card{good, bad}); !errors.Is(err, vault.ErrCard) || tokens != nil {
			t.Errorf("%s: %v, want ErrCard", name, err)
		}
	}
	if c, err := v.Count(t.Context(), "ownera"); err != nil || c.Cards != 0 {
		t.Errorf("%d cards of refused batches, %v", c.Cards, err)
	}
}

func Example() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "vault")
	defer os.RemoveAll(dir)
	store, err := pebblestore.Open(dir, pebblestore.Config{})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	v := vault.New(store, vault.Config{})

	// What a worker knows of a card whose secrets have versions 2 and 1.
	newest, old := tokenize.Token{Version: 2, Bits: [16]byte{1}}, tokenize.Token{Version: 1, Bits: [16]byte{2}}
	sealed := make([]byte, 100)
	tokens, _ := v.Pin(ctx, "tenant", []tokenize.Card{{Candidates: []tokenize.Token{old}, Sealed: sealed}})
	fmt.Println(tokens[0])
	tokens, _ = v.Pin(ctx, "tenant", []tokenize.Card{{Candidates: []tokenize.Token{newest, old}, Sealed: sealed}})
	fmt.Println(tokens[0])
	tokens, _ = v.Pin(ctx, "tenant", []tokenize.Card{{Candidates: []tokenize.Token{newest}, Sealed: sealed}})
	fmt.Println(tokens[0])
	// Output:
	// tk1_acaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
	// tk1_acaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
	// tk1_acaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
}
