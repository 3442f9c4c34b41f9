package tokenize_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/tokenize"
)

func TestTokenText(t *testing.T) {
	token := tokenize.NewMinter(7, secret(t, 1)).Token(pan(t, "4111111111111111"))
	text := token.String()
	if b, err := token.AppendText([]byte("x")); err != nil || string(b) != "x"+text {
		t.Errorf("appended as %q, %v", b, err)
	}
	parsed, err := tokenize.ParseToken(text)
	if err != nil || parsed != token || token.Version != 7 || token.IsZero() || !(tokenize.Token{}).IsZero() {
		t.Errorf("%q parses as %v, %v", text, parsed, err)
	}
	b, err := json.Marshal(map[tokenize.Token]tokenize.Token{token: token})
	if want := `{"` + text + `":"` + text + `"}`; err != nil || string(b) != want {
		t.Errorf("in JSON %s, %v", b, err)
	}
	var back map[tokenize.Token]tokenize.Token
	if err := json.Unmarshal(b, &back); err != nil || back[token] != token {
		t.Errorf("out of JSON %v, %v", back, err)
	}
	highest := tokenize.Token{Version: tokenize.MaxVersion}
	if parsed, err := tokenize.ParseToken(highest.String()); err != nil || parsed != highest {
		t.Errorf("the highest version parses as %v, %v", parsed, err)
	}
}

func TestParseTokenRefuses(t *testing.T) {
	const letters = "abcdefghijklmnopabcdefghijklmnop"
	for _, s := range []string{
		"", "tk", "tk1", "tk1_", "tk_" + letters, "tk0_" + letters, "tk01_" + letters, "tk-1_" + letters, "tk+1_" + letters,
		"tk1000000000_" + letters, "tk1_" + letters + "a", "tk1_" + letters[1:], "tk1_" + strings.ToUpper(letters),
		"tk1_q" + letters[1:], "tk1_1" + letters[1:], "tk1_" + letters[:31] + "`", "Tk1_" + letters, " tk1_" + letters, "tk1_" + letters + " ",
		"tk1__" + letters[1:], "tk٣_" + letters, "4111111111111111",
	} {
		token, err := tokenize.ParseToken(s)
		if !errors.Is(err, tokenize.ErrToken) || !token.IsZero() {
			t.Errorf("%q parses as %v, %v", s, token, err)
		} else if s != "" && strings.Contains(err.Error(), s) && len(s) > 3 {
			t.Errorf("error %q has the content", err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("tk1_abcdefghijklmnopabcdefghijklmnop")
	f.Add("tk999999999_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	f.Add("tk1_")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := tokenize.ParseToken(s)
		if err == nil && token.String() != s {
			t.Errorf("%q is written as %q", s, token)
		}
	})
}
