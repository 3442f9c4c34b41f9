package main

import (
	"errors"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/kms"
	"github.com/cardlake/cardlake/keys/kmstest"
	"github.com/cardlake/cardlake/tokenize"
)

// TestKeysInKMS runs a worker whose two keyrings are registers of KMS keys, on events that
// were sealed under the same card register, with a vault. It is not permitted to open what
// the vault keeps, and need not be.
func TestKeysInKMS(t *testing.T) {
	const region, admin, worker = "eu-west-1", "AKIAADMIN", "AKIAWORKER"
	role := func(name string) string { return "arn:aws:iam::" + kmstest.Account + ":role/" + name }
	server := kmstest.New(kmstest.Config{Principals: map[string]kmstest.Principal{
		admin:  {ARN: role("admin"), Secret: "of-a-test", IAM: []string{"kms:*"}},
		worker: {ARN: role("worker"), Secret: "of-a-test", IAM: []string{"kms:VerifyMac", "kms:GenerateDataKey", "kms:Decrypt"}},
	}})
	web := httptest.NewServer(server)
	defer web.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": worker, "AWS_SECRET_ACCESS_KEY": "of-a-test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	s := newSite(t).withBroker()
	flags := []string{"-kms-endpoint", web.URL, "-aws-region", region}
	client := server.Client(web.URL, region, admin)
	notWorker := `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::` + kmstest.Account + `:root"}, "Action": "kms:*", "Resource": "*"},
		{"Effect": "Deny", "Principal": {"AWS": "` + role("worker") + `"}, "Action": "kms:Decrypt", "Resource": "*"}]}`
	register := func(file string, purposes []keys.Purpose) (_ *kms.Keyring, registerKey string) {
		t.Helper()
		registerKey, err := kms.NewRegisterKey(t.Context(), client, "", false)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := kms.Create(t.Context(), file, client, purposes, kms.Config{
			RegisterKey: registerKey, Keys: kms.KeyConfig{Policies: map[keys.Purpose]string{keys.Reverse: notWorker}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.EnsureOwners(t.Context(), keys.Lake, s.owner); err != nil {
			t.Fatal(err)
		}
		return ring, registerKey
	}
	cardFile, lakeFile := s.dir.CardKeyring()+".kms", s.dir.LakeKeyring()+".kms"
	cardKeys, cardKey := register(cardFile, keys.CardPurposes)
	_, lakeKey := register(lakeFile, keys.LakePurposes)
	s.cardKeys, s.encoder = cardKeys, wire.NewEncoder(cardKeys, wire.EncoderConfig{})
	s.lakeFlags = append(flags, "-keyring", lakeFile, "-kms", lakeKey)
	v := s.newVault()
	args := slices.Concat(s.lakeFlags, v.flags, []string{"-card-keyring", cardFile, "-card-kms", cardKey, "-brokers", s.broker.ListenAddrs()[0]})
	pans := s.produce(20)
	r := s.start(args...)
	r.committed(20)
	status := r.status()
	if code := r.stop(); code != 0 {
		t.Errorf("code %d", code)
	}
	if status.Rows != 20 || status.rejected() != 0 {
		t.Errorf("%d rows, %v rejected; want 20 rows\n%s", status.Rows, status.Rejected, r.log.String())
	}
	slices.Sort(pans)
	if diff := cmp.Diff(pans, s.revealed(v)); diff != "" {
		t.Error(diff)
	}
	asWorker, err := kms.Open(t.Context(), cardFile, server.Client(web.URL, region, worker), kms.Config{RegisterKey: cardKey})
	if err != nil {
		t.Fatal(err)
	}
	token, err := tokenize.ParseToken(s.tokens()[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.vault.Reveal(t.Context(), keys.NewEnvelopes(asWorker, keys.Reverse, keys.EnvelopeConfig{}), s.owner, token); !errors.Is(err, keys.ErrDenied) {
		t.Errorf("the worker's keys open what the vault keeps: %v", err)
	}
}
