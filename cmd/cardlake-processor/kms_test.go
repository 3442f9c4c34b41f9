package main

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/kms"
	"github.com/cardlake/cardlake/keys/kmstest"
)

// TestKeysInKMS imports cards into a ledger whose index secret is in a register of KMS keys.
func TestKeysInKMS(t *testing.T) {
	const region, id = "eu-west-1", "AKIAADMIN"
	server := kmstest.New(kmstest.Config{Principals: map[string]kmstest.Principal{
		id: {ARN: "arn:aws:iam::" + kmstest.Account + ":role/admin", Secret: "of-a-test", IAM: []string{"kms:*"}},
	}})
	web := httptest.NewServer(server)
	defer web.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": "of-a-test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	dir := home.Dir(t.TempDir())
	tenants, err := catalog.OpenTenants(dir.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tenants.Create("aurora", "AR", "ARS", time.Now()); err != nil {
		t.Fatal(err)
	}
	client := server.Client(web.URL, region, id)
	registerKey, err := kms.NewRegisterKey(t.Context(), client, "", false)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(string(dir), "register")
	ring, err := kms.Create(t.Context(), file, client, keys.CardPurposes, kms.Config{RegisterKey: registerKey})
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"import", "-dir", string(dir), "-card-keyring", file, "-card-kms", registerKey, "-kms-endpoint", web.URL, "-aws-region", region}
	if code, _, errs := invoke(t, cardFile(t), args...); code != 2 || !strings.Contains(errs, keys.ErrNoKey.Error()) {
		t.Errorf("without an index secret: exit %d, %s", code, errs)
	}
	if err := ring.EnsureOwners(t.Context(), keys.Processor); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := invoke(t, cardFile(t), args...); code != 0 || !strings.HasPrefix(out, "1 cards imported") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	if code, _, errs := invoke(t, "", "import", "-dir", string(dir), "-card-kms", "alias/x"); code != 2 || !strings.Contains(errs, "-card-kms is not the ARN") {
		t.Errorf("an alias: exit %d, %s", code, errs)
	}
}
