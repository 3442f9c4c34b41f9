package main

import (
	"bytes"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys/kms"
	"github.com/cardlake/cardlake/keys/kmstest"
)

// The same commands work on keys that AWS KMS keeps.
func TestKeysInKMS(t *testing.T) {
	const region, id, secret = "eu-west-1", "AKIAADMIN", "admin's secret"
	server := kmstest.New(kmstest.Config{Principals: map[string]kmstest.Principal{
		id: {ARN: "arn:aws:iam::" + kmstest.Account + ":role/admin", Secret: secret, IAM: []string{"kms:*"}},
	}})
	web := httptest.NewServer(server)
	defer web.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}
	dir := home.Dir(t.TempDir())
	tenants, err := catalog.OpenTenants(dir.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := tenants.Create("aurora", "BR", "BRL", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	where := []string{"-dir", string(dir), "-aws-region", region, "-kms-endpoint", web.URL}
	for _, flag := range []string{"-card-kms", "-kms"} {
		arn, err := kms.NewRegisterKey(t.Context(), server.Client(web.URL, region, id), "", false)
		if err != nil {
			t.Fatal(err)
		}
		where = append(where, flag, arn)
	}
	vault := func(wantCode int, stdin string, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		n := 1
		if args[0] == "keys" {
			n = 2
		}
		args = append(append(append([]string{}, args[:n]...), where...), args[n:]...)
		if code := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr); code != wantCode {
			t.Fatalf("%s: exit code %d: %s", args[0], code, stderr.String())
		}
		return stdout.String()
	}
	vault(0, "", "keys", "create", "-tenant", "aurora")
	first := vault(0, testCard, "tokenize", "-tenant", "aurora")
	vault(0, "", "rotate", "-tenant", "aurora", "-wait", "1ms")
	vault(0, "", "rotate", "-tenant", "aurora", "-wait", "1ms", "-secret", "reverse")
	if d := cmp.Diff(first, vault(0, testCard, "tokenize", "-tenant", "aurora")); d != "" {
		t.Error(d)
	}
	if got := vault(0, "", "keys", "list"); !strings.Contains(got, "arn:aws:kms:") {
		t.Errorf("the inventory has no KMS key: %s", got)
	}
	vault(0, "", "keys", "destroy", "-tenant", "aurora", "-confirm", string(tenant.StorageID))
	if got := vault(1, testCard, "tokenize", "-tenant", "aurora"); got != "" {
		t.Errorf("tokens without a key: %s", got)
	}
}
