package vault_test

import (
	"testing"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

const pinOwner = keys.Owner("aaaaaaaaaaaaaaaa")

// A pin that nobody can open, which whoever may pin can make, does not keep a rotation from
// ending when it is told to leave it.
func TestDamagedPinsCanBeLeft(t *testing.T) {
	for name, bad := range map[string]func(c *tokenize.Card){
		"sealed garbage": func(c *tokenize.Card) { c.Sealed = make([]byte, 80) },
	} {
		k := newKeyring(t, pinOwner)
		withVault(t, t.TempDir(), func(v *vault.Vault) {
			good, card := present(t, k, pinOwner, testNumber), present(t, k, pinOwner, "5555555555554444")
			bad(&card)
			if _, err := v.Pin(t.Context(), pinOwner, []tokenize.Card{good, card}); err != nil {
				t.Logf("%s: refused: %v", name, err)
				return
			}
			scope := keys.Scope{Owner: pinOwner, Purpose: keys.Mint}
			if _, err := k.Rotate(t.Context(), scope); err != nil {
				t.Fatal(err)
			}
			live, err := k.Live(t.Context(), scope)
			if err != nil {
				t.Fatal(err)
			}
			pass := vault.Pass{Owner: pinOwner, LeaveDamaged: true, Reverse: keys.NewEnvelopes(k, keys.Reverse, keys.EnvelopeConfig{})}
			_, rerr := v.Reindex(t.Context(), pass, live[0])
			_, cerr := v.Retokenise(t.Context(), pass, live[0])
			_, cerr2 := v.Retokenise(t.Context(), pass, live[0])
			if rerr != nil && cerr != nil && cerr2 != nil {
				t.Errorf("%s: reindex: %v; retokenise: %v; again: %v", name, rerr, cerr, cerr2)
			}
		})
	}
}
