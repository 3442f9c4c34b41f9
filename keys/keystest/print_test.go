package keystest

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/cardlake/cardlake/keys"
)

// The check sees what it looks for, in each spelling, and nothing in what prints no key.
func TestShows(t *testing.T) {
	key := keys.NewKey()
	b := key.Bytes()
	spelled := spellings(b)
	for _, text := range []string{
		"key " + string(b[3:9]), fmt.Sprint(b), fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), fmt.Sprintf("%#v", b), fmt.Sprintf("%q", b),
		fmt.Sprintf("% X", b), fmt.Sprintf("%o", b), fmt.Sprintf("%d", b[:]), base64.StdEncoding.EncodeToString(b), base64.URLEncoding.EncodeToString(b),
	} {
		if !shows(text, spelled) {
			t.Errorf("does not see the key in %d characters", len(text))
		}
	}
	for how, text := range printed(struct{ k keys.Key }{key}) {
		if shows(text, spelled) {
			t.Errorf("%s shows the key", how)
		}
	}
}
