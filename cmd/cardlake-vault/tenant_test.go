package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// TestForgetCards: by the tokens that an erasure leaves; other cards and other tenants keep
// theirs, a legal hold prevents it, and nothing names a token afterwards.
func TestForgetCards(t *testing.T) {
	d := home.Dir(t.TempDir())
	t.Setenv("CARDLAKE_DIR", string(d))
	command := func(stdin string, args ...string) (string, int) {
		t.Helper()
		var out, errs bytes.Buffer
		code := run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
		return errs.String(), code
	}
	owners := map[string]keys.Owner{}
	for _, name := range []string{"aurora", "boreal"} {
		if errs, code := command("", "tenant", "create", "-tenant", name, "-country", "BR", "-currency", "BRL"); code != 0 {
			t.Fatal(errs)
		}
	}
	tenants, err := catalog.OpenTenants(d.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range tenants.All() {
		owners[string(r.Name)] = keys.OwnerOf(r.StorageID)
	}
	forget := func(stdin string, more ...string) (string, int) {
		t.Helper()
		return command(stdin, append([]string{"tenant", "forget", "-tenant", "aurora", "-reason", "asked by the person"}, more...)...)
	}
	token := func(card, version int) tokenize.Token {
		return tokenize.Token{Version: version, Bits: [16]byte{byte(card)}}
	}
	list := func(tokens ...tokenize.Token) (text string) {
		for _, k := range tokens {
			text += fmt.Sprintln(k)
		}
		return text
	}
	if errs, code := forget(list(token(1, 1))); code != 2 || !strings.Contains(errs, "there is no vault in") {
		t.Errorf("without a vault: exit code %d: %s", code, errs)
	}
	withVault := func(do func(v *vault.Vault)) {
		t.Helper()
		p := place{store: d.Vault()}
		v, closeVault, err := p.openVault(t.Context(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		do(v)
		if err := closeVault(); err != nil {
			t.Fatal(err)
		}
	}
	withVault(func(v *vault.Vault) {
		var cards []tokenize.Card
		for card := range 4 {
			cards = append(cards, tokenize.Card{Candidates: []tokenize.Token{token(card, 2), token(card, 1)}, Sealed: make([]byte, 90)})
		}
		for _, owner := range owners {
			if _, err := v.Pin(t.Context(), owner, cards); err != nil {
				t.Fatal(err)
			}
		}
		if errs, code := forget(list(token(1, 2))); code != 1 || !strings.Contains(errs, "is the service running?") {
			t.Errorf("beside the service: exit code %d: %s", code, errs)
		}
	})
	has := func(want string) {
		t.Helper()
		withVault(func(v *vault.Vault) {
			got := ""
			for _, name := range []string{"aurora", "boreal"} {
				for card := range 4 {
					switch _, err := v.Current(t.Context(), owners[name], token(card, 2)); {
					case err == nil:
						got += fmt.Sprint(card)
					case !errors.Is(err, vault.ErrUnknownToken):
						t.Error(err)
					}
				}
				got += " "
			}
			if got != want {
				t.Errorf("the vault has the cards %q, want %q", got, want)
			}
		})
	}
	if errs, code := forget(list(token(1, 2)) + testCard + "\n"); code != 1 || !strings.Contains(errs, "line 2") || strings.Contains(errs, testCard) {
		t.Errorf("a bad line: exit code %d: %s", code, errs)
	}
	hold := func(person string) {
		t.Helper()
		text := fmt.Sprintf(`{"version": 1, "holds": [{"id": "hold-a", "tenant": "aurora", "person": %q, "case": "17/2026", "why": "court order", "by": "operator/ana", "at": "2026-03-01T00:00:00Z"}]}`, person)
		if err := os.WriteFile(d.Retention(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hold("")
	if errs, code := forget(list(token(1, 2))); code != 1 || !strings.Contains(errs, "hold hold-a of case 17/2026; ask operator/ana") {
		t.Errorf("held: exit code %d: %s", code, errs)
	}
	has("0123 0123 ")
	hold("p" + strings.Repeat("a", 32)) // another person's
	for _, c := range []struct{ give, say, left string }{
		{list(token(1, 2), token(3, 1)), "4 entries of the vault are removed for 2 tokens", "02 0123 "},
		{list(token(1, 2), token(3, 1)), "0 entries of the vault are removed for 2 tokens", "02 0123 "},
		{"", "0 entries of the vault are removed for 0 tokens", "02 0123 "},
	} {
		if errs, code := forget(c.give); code != 0 || !strings.Contains(errs, c.say) {
			t.Errorf("exit code %d: %s, want %q", code, errs, c.say)
		}
		has(c.left)
	}
	text, err := audited(d)
	if err != nil {
		t.Fatal(err)
	}
	for outcome, want := range map[string]int{"refused": 1, "allowed": 6} {
		if n := strings.Count(text, "tenant.forget, tenant aurora, "+outcome); n != want {
			t.Errorf("%d lines %s, want %d:\n%s", n, outcome, want, text)
		}
	}
	var entries int64
	for e, err := range audit.Read(context.Background(), d.Audit(commandLog), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprint(e), "tk") {
			t.Errorf("a token is in the audit log: %v", e)
		}
		entries += e.Numbers["vault_entries"]
	}
	if entries != 4 {
		t.Errorf("%d entries on record, want 4", entries)
	}
}
