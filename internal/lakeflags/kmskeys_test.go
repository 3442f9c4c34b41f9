package lakeflags

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/keys"
)

const (
	lakeARN   = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
	tenantARN = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-0123456789abcdef"
)

func TestKMSKeysOfANewTenant(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	write := func(text string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"lake": "`+lakeARN+`"}`, time.Hour)
	k, err := openKMSKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if arn, err := k.KeyOf(keys.Lake); err != nil || arn != lakeARN {
		t.Errorf("the lake's key is %s, %v", arn, err)
	}
	if _, err := k.KeyOf("abcdefghijklmnop"); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("error %v, want ErrNoKey", err)
	}
	write(`{"lake": "`+lakeARN+`", "abcdefghijklmnop": "`+tenantARN+`"}`, time.Minute)
	if arn, err := k.KeyOf("abcdefghijklmnop"); err != nil || arn != tenantARN {
		t.Errorf("the new tenant's key is %s, %v", arn, err)
	}
	write(`{`, 0)
	if arn, err := k.KeyOf("abcdefghijklmnop"); err != nil || arn != tenantARN {
		t.Errorf("a file that is being written takes the key away: %s, %v", arn, err)
	}
	if _, err := k.KeyOf("ponmlkjihgfedcba"); err == nil || errors.Is(err, keys.ErrNoKey) {
		t.Errorf("error %v, want that of the file, which may be mended", err)
	}
}

func TestKMSKeysFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no lake", `{"abcdefghijklmnop": "` + tenantARN + `"}`, `no key for "lake"`},
		{"alias", `{"lake": "arn:aws:kms:eu-west-1:123456789012:alias/lake"}`, `key of "lake" is not the ARN`},
		{"no JSON", `lake=x`, "invalid character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := openKMSKeys(path); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
