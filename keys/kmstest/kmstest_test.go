package kmstest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/cardlake/cardlake/keys/kmstest"
)

const (
	home  = "eu-west-1"
	other = "sa-east-1"
)

// clock is moved by tests.
type clock struct{ ahead time.Duration }

func (c *clock) now() time.Time { return time.Now().Add(c.ahead) }

type rig struct {
	*kmstest.Server
	url   string
	clock *clock
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c := &clock{}
	s := kmstest.New(kmstest.Config{Now: c.now, Principals: map[string]kmstest.Principal{
		"AKIAADMIN":   {ARN: role("admin"), Secret: "a", IAM: []string{"kms:*"}},
		"AKIAWORKER":  {ARN: role("worker"), Secret: "w"},
		"AKIAREADER":  {ARN: role("reader"), Secret: "r", IAM: []string{"kms:Decrypt"}},
		"AKIAFOREIGN": {ARN: "arn:aws:iam::999999999999:role/x", Secret: "f", IAM: []string{"kms:*"}},
	}})
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return &rig{s, web.URL, c}
}

func role(name string) string { return "arn:aws:iam::" + kmstest.Account + ":role/" + name }

func (r *rig) as(who string) *kms.Client { return r.in(home, who) }

func (r *rig) in(region, who string) *kms.Client {
	return kms.New(r.Client(r.url, region, who).Options(), func(o *kms.Options) { o.Retryer = aws.NopRetryer{} })
}

func (r *rig) key(t *testing.T, multiRegion bool) *types.KeyMetadata {
	t.Helper()
	out, err := r.as("AKIAADMIN").CreateKey(t.Context(), &kms.CreateKeyInput{MultiRegion: &multiRegion})
	if err != nil {
		t.Fatal(err)
	}
	return out.KeyMetadata
}

// code is an error's, empty for none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func want(t *testing.T, what string, err error, wanted string) {
	t.Helper()
	if got := code(err); got != wanted {
		t.Errorf("%s: %q, want %q", what, got, wanted)
	}
}

func encrypt(t *testing.T, c *kms.Client, key *string, encryptionContext map[string]string) []byte {
	t.Helper()
	out, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key, Plaintext: []byte("plain"), EncryptionContext: encryptionContext})
	if err != nil {
		t.Fatal(err)
	}
	return out.CiphertextBlob
}

func decrypt(ctx context.Context, c *kms.Client, key *string, blob []byte, encryptionContext map[string]string) error {
	out, err := c.Decrypt(ctx, &kms.DecryptInput{KeyId: key, CiphertextBlob: blob, EncryptionContext: encryptionContext})
	if err == nil && string(out.Plaintext) != "plain" {
		return errors.New("decrypts to something else")
	}
	return err
}

func TestSignatures(t *testing.T) {
	r := newRig(t)
	k := r.key(t, false)
	describe := func(c *kms.Client) error {
		_, err := c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyId})
		return err
	}
	want(t, "right", describe(r.as("AKIAADMIN")), "")
	wrong := kmstest.New(kmstest.Config{Principals: map[string]kmstest.Principal{"AKIAADMIN": {Secret: "another"}, "AKIANOBODY": {Secret: "n"}}})
	want(t, "unknown access key", describe(wrong.Client(r.url, home, "AKIANOBODY")), "UnrecognizedClientException")
	want(t, "wrong secret", describe(wrong.Client(r.url, home, "AKIAADMIN")), "InvalidSignatureException")
	changed := kms.New(r.as("AKIAADMIN").Options(), func(o *kms.Options) { o.HTTPClient = tamper{} })
	want(t, "changed body", describe(changed), "InvalidSignatureException")

	request, err := http.NewRequest(http.MethodPost, r.url, strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "TrentService.ListKeys")
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); !strings.Contains(string(body), "MissingAuthenticationTokenException") {
		t.Errorf("unsigned: %s", body)
	}
}

// tamper appends a space to the body: the same JSON, another hash.
type tamper struct{}

func (tamper) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(append(body, ' ')))
	r.ContentLength++
	return http.DefaultClient.Do(r)
}

func TestEncryptionContextAndCiphertext(t *testing.T) {
	r := newRig(t)
	c, ctx := r.as("AKIAADMIN"), t.Context()
	k, another := r.key(t, false), r.key(t, false)
	right := map[string]string{"owner": "a", "purpose": "seal"}
	blob := encrypt(t, c, k.Arn, right)
	want(t, "right", decrypt(ctx, c, k.Arn, blob, right), "")
	want(t, "no key named", decrypt(ctx, c, nil, blob, right), "")
	want(t, "other value", decrypt(ctx, c, k.Arn, blob, map[string]string{"owner": "b", "purpose": "seal"}), "InvalidCiphertextException")
	want(t, "one pair less", decrypt(ctx, c, k.Arn, blob, map[string]string{"owner": "a"}), "InvalidCiphertextException")
	want(t, "none", decrypt(ctx, c, k.Arn, blob, nil), "InvalidCiphertextException")
	want(t, "another key", decrypt(ctx, c, another.Arn, blob, right), "IncorrectKeyException")
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 1
		if err := decrypt(ctx, c, k.Arn, bad, right); err == nil {
			t.Errorf("opens with byte %d changed", i)
		}
		if err := decrypt(ctx, c, k.Arn, blob[:i], right); err == nil {
			t.Errorf("opens when cut to %d bytes", i)
		}
	}
	moved, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: blob, SourceKeyId: k.Arn, SourceEncryptionContext: right, DestinationKeyId: another.Arn,
		DestinationEncryptionContext: map[string]string{"owner": "b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "moved", decrypt(ctx, c, another.Arn, moved.CiphertextBlob, map[string]string{"owner": "b"}), "")
}

func TestLimits(t *testing.T) {
	r := newRig(t)
	c, ctx := r.as("AKIAADMIN"), t.Context()
	k := r.key(t, false)
	_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.Arn, Plaintext: make([]byte, 4097)})
	want(t, "4,097 bytes", err, "ValidationException")
	want(t, "6,145 bytes of ciphertext", decrypt(ctx, c, k.Arn, make([]byte, 6145), nil), "ValidationException")
	_, err = c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: k.Arn})
	want(t, "neither spec nor length", err, "ValidationException")
	_, err = c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: k.Arn, KeySpec: types.DataKeySpecAes256, NumberOfBytes: aws.Int32(32)})
	want(t, "both", err, "ValidationException")
	_, err = c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: k.Arn, Message: []byte("m"), MacAlgorithm: types.MacAlgorithmSpecHmacSha256})
	want(t, "MAC with an encryption key", err, "InvalidKeyUsageException")
	_, err = c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.Arn, PendingWindowInDays: aws.Int32(6)})
	want(t, "6 days", err, "ValidationException")
	_, err = c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: k.Arn, RotationPeriodInDays: aws.Int32(89)})
	want(t, "89 days", err, "ValidationException")
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/aws/x"), TargetKeyId: k.KeyId})
	want(t, "reserved alias", err, "InvalidAliasNameException")
	_, err = c.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: k.Arn, Description: aws.String("x")})
	want(t, "operation it does not have", err, "UnknownOperationException")
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.Arn, Plaintext: []byte("x"), DryRun: aws.Bool(true)})
	want(t, "field it does not know", err, "SerializationException")
}

// The states' effects are those of "Key states of AWS KMS keys", developer guide.
func TestKeyStates(t *testing.T) {
	r := newRig(t)
	c, ctx := r.as("AKIAADMIN"), t.Context()
	k := r.key(t, false)
	if _, err := c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/x"), TargetKeyId: k.KeyId}); err != nil {
		t.Fatal(err)
	}
	blob := encrypt(t, c, aws.String("alias/x"), nil)
	operations := map[string]func() error{
		"Decrypt": func() error { return decrypt(ctx, c, k.Arn, blob, nil) },
		"Encrypt": func() error {
			_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.Arn, Plaintext: []byte("x")})
			return err
		},
		"GenerateDataKey": func() error {
			_, err := c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: k.Arn, KeySpec: types.DataKeySpecAes256})
			return err
		},
		"CreateGrant": func() error {
			_, err := c.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: k.Arn, GranteePrincipal: aws.String(role("worker")), Operations: []types.GrantOperation{"Decrypt"}})
			return err
		},
		"RotateKeyOnDemand": func() error {
			_, err := c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: k.Arn})
			return err
		},
		"DescribeKey": func() error {
			_, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.Arn})
			return err
		},
		"CancelKeyDeletion": func() error {
			_, err := c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: k.Arn})
			return err
		},
	}
	check := func(state string, wanted map[string]string) {
		t.Helper()
		for name, do := range operations {
			if wantedCode, ok := wanted[name]; ok {
				want(t, state+": "+name, do(), wantedCode)
			}
		}
	}
	const invalid, off = "KMSInvalidStateException", "DisabledException"
	check("enabled", map[string]string{"Decrypt": "", "CancelKeyDeletion": invalid})
	if _, err := c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: k.Arn}); err != nil {
		t.Fatal(err)
	}
	check("disabled", map[string]string{"Decrypt": off, "Encrypt": off, "GenerateDataKey": off, "CreateGrant": off, "RotateKeyOnDemand": off, "DescribeKey": "", "CancelKeyDeletion": invalid})
	if _, err := c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.Arn}); err != nil {
		t.Fatal(err)
	}
	check("enabled again", map[string]string{"Decrypt": ""})
	schedule := func() error {
		_, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.Arn, PendingWindowInDays: aws.Int32(7)})
		return err
	}
	want(t, "schedule", schedule(), "")
	want(t, "schedule twice", schedule(), invalid)
	_, err := c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.Arn})
	want(t, "enable while pending", err, invalid)
	check("pending", map[string]string{"Decrypt": invalid, "Encrypt": invalid, "GenerateDataKey": invalid, "CreateGrant": invalid, "RotateKeyOnDemand": invalid, "DescribeKey": ""})
	check("pending", map[string]string{"CancelKeyDeletion": ""})
	check("cancelled", map[string]string{"Decrypt": off})
	want(t, "schedule again", schedule(), "")
	r.clock.ahead = 7*24*time.Hour + time.Minute
	check("deleted", map[string]string{"DescribeKey": "NotFoundException", "Decrypt": "NotFoundException"})
	_, err = c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/x")})
	want(t, "alias of what is deleted", err, "NotFoundException")
}

func TestRotationKeepsOldMaterial(t *testing.T) {
	r := newRig(t)
	c, ctx := r.as("AKIAADMIN"), t.Context()
	k := r.key(t, false)
	blob := encrypt(t, c, k.Arn, nil)
	for i := range 26 {
		_, err := c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: k.Arn})
		if i < 25 {
			want(t, "rotate", err, "")
		} else {
			want(t, "rotate for the 26th time", err, "LimitExceededException")
		}
	}
	want(t, "old ciphertext", decrypt(ctx, c, k.Arn, blob, nil), "")
}

func TestGrantsAndPolicies(t *testing.T) {
	r := newRig(t)
	admin, worker, ctx := r.as("AKIAADMIN"), r.as("AKIAWORKER"), t.Context()
	k := r.key(t, false)
	right := map[string]string{"owner": "a", "purpose": "seal"}
	blob := encrypt(t, admin, k.Arn, right)
	const denied = "AccessDeniedException"
	want(t, "without a grant", decrypt(ctx, worker, k.Arn, blob, right), denied)
	want(t, "allowed by IAM", decrypt(ctx, r.as("AKIAREADER"), k.Arn, blob, right), "")
	want(t, "another account's", decrypt(ctx, r.as("AKIAFOREIGN"), k.Arn, blob, right), denied)
	_, err := worker.CreateKey(ctx, &kms.CreateKeyInput{})
	want(t, "create a key", err, denied)

	grant, err := admin.CreateGrant(ctx, &kms.CreateGrantInput{
		KeyId: k.Arn, GranteePrincipal: aws.String(role("worker")), Operations: []types.GrantOperation{"Decrypt"},
		Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"purpose": "seal"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "granted", decrypt(ctx, worker, k.Arn, blob, right), "")
	want(t, "another context", decrypt(ctx, worker, k.Arn, blob, map[string]string{"owner": "a", "purpose": "reverse"}), denied)
	_, err = worker.Encrypt(ctx, &kms.EncryptInput{KeyId: k.Arn, Plaintext: []byte("x"), EncryptionContext: right})
	want(t, "operation not granted", err, denied)
	list, err := admin.ListGrants(ctx, &kms.ListGrantsInput{KeyId: k.Arn})
	if err != nil || len(list.Grants) != 1 || aws.ToString(list.Grants[0].GranteePrincipal) != role("worker") {
		t.Errorf("grants %v, error %v", list, err)
	}
	_, err = worker.RetireGrant(ctx, &kms.RetireGrantInput{GrantToken: grant.GrantToken})
	want(t, "retire without being granted it", err, denied)
	if _, err := admin.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: k.Arn, GrantId: grant.GrantId}); err != nil {
		t.Fatal(err)
	}
	want(t, "revoked", decrypt(ctx, worker, k.Arn, blob, right), denied)

	put := func(statements string) error {
		_, err := admin.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: k.Arn, Policy: aws.String(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)})
		return err
	}
	root := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + kmstest.Account + `:root"},"Action":"kms:*","Resource":"*"}`
	want(t, "lock oneself out", put(`{"Effect":"Allow","Principal":{"AWS":"`+role("worker")+`"},"Action":"kms:*","Resource":"*"}`), "MalformedPolicyDocumentException")
	want(t, "condition it does not know", put(root[:len(root)-1]+`,"Condition":{"Bool":{"x":"true"}}}`), "MalformedPolicyDocumentException")
	want(t, "policy", put(root+`,{"Effect":"Allow","Principal":{"AWS":["`+role("worker")+`"]},"Action":["kms:Decrypt"],"Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:owner":["a"]}}}`), "")
	want(t, "by policy", decrypt(ctx, worker, k.Arn, blob, right), "")
	blobB := encrypt(t, admin, k.Arn, map[string]string{"owner": "b"})
	want(t, "by policy, another context", decrypt(ctx, worker, k.Arn, blobB, map[string]string{"owner": "b"}), denied)
	want(t, "policy", put(root+`,{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"kms:Decrypt","Resource":"*"}`), "")
	want(t, "denied to all", decrypt(ctx, admin, k.Arn, blob, right), denied)
}

func TestMultiRegionKeys(t *testing.T) {
	r := newRig(t)
	admin, there, ctx := r.as("AKIAADMIN"), r.in(other, "AKIAADMIN"), t.Context()
	single, multi := r.key(t, false), r.key(t, true)
	replicate := func(key *string) (*kms.ReplicateKeyOutput, error) {
		return admin.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: key, ReplicaRegion: aws.String(other)})
	}
	_, err := replicate(single.KeyId)
	want(t, "replicate a single-region key", err, "UnsupportedOperationException")
	out, err := replicate(multi.KeyId)
	if err != nil {
		t.Fatal(err)
	}
	_, err = replicate(multi.KeyId)
	want(t, "replicate twice", err, "AlreadyExistsException")
	blob := encrypt(t, admin, multi.Arn, nil)
	want(t, "the replica opens", decrypt(ctx, there, out.ReplicaKeyMetadata.Arn, blob, nil), "")
	want(t, "the primary's ARN elsewhere", decrypt(ctx, there, multi.Arn, blob, nil), "NotFoundException")
	singleBlob := encrypt(t, admin, single.Arn, nil)
	want(t, "a single-region key elsewhere", decrypt(ctx, there, nil, singleBlob, nil), "NotFoundException")
	if _, err := there.DisableKey(ctx, &kms.DisableKeyInput{KeyId: multi.KeyId}); err != nil {
		t.Fatal(err)
	}
	want(t, "a disabled replica", decrypt(ctx, there, nil, blob, nil), "DisabledException")
	want(t, "its primary", decrypt(ctx, admin, nil, blob, nil), "")

	schedule := func(c *kms.Client) types.KeyState {
		t.Helper()
		out, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: multi.KeyId, PendingWindowInDays: aws.Int32(7)})
		if err != nil {
			t.Fatal(err)
		}
		return out.KeyState
	}
	if got := schedule(admin); got != types.KeyStatePendingReplicaDeletion {
		t.Errorf("primary with a replica is %s", got)
	}
	if got := schedule(there); got != types.KeyStatePendingDeletion {
		t.Errorf("replica is %s", got)
	}
	state := func() string {
		out, err := admin.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: multi.KeyId})
		if err != nil {
			return code(err)
		}
		return string(out.KeyMetadata.KeyState)
	}
	day := 24 * time.Hour
	for _, step := range []struct {
		at   time.Duration
		want string
	}{{6 * day, "PendingReplicaDeletion"}, {7*day + time.Minute, "PendingDeletion"}, {13 * day, "PendingDeletion"}, {15 * day, "NotFoundException"}} {
		r.clock.ahead = step.at
		if got := state(); got != step.want {
			t.Errorf("after %v the primary is %s, want %s", step.at, got, step.want)
		}
	}
}

func TestMAC(t *testing.T) {
	r := newRig(t)
	c, ctx := r.as("AKIAADMIN"), t.Context()
	_, err := c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecHmac256})
	want(t, "HMAC key without usage", err, "ValidationException")
	out, err := c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecHmac256, KeyUsage: types.KeyUsageTypeGenerateVerifyMac})
	if err != nil {
		t.Fatal(err)
	}
	key, algorithm := out.KeyMetadata.Arn, types.MacAlgorithmSpecHmacSha256
	mac, err := c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: key, Message: []byte("m"), MacAlgorithm: algorithm})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(message string) error {
		_, err := c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: key, Message: []byte(message), Mac: mac.Mac, MacAlgorithm: algorithm})
		return err
	}
	want(t, "right", verify("m"), "")
	want(t, "other message", verify("n"), "KMSInvalidMacException")
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("x")})
	want(t, "encrypt with an HMAC key", err, "InvalidKeyUsageException")
}

func TestFaultsAndPages(t *testing.T) {
	r := newRig(t)
	c, ctx := r.as("AKIAADMIN"), t.Context()
	r.Throttle("CreateKey", 1)
	_, err := c.CreateKey(ctx, &kms.CreateKeyInput{})
	want(t, "throttled", err, "ThrottlingException")
	r.Fail("CreateKey", 1, kmstest.Fault{Done: true})
	if _, err := c.CreateKey(ctx, &kms.CreateKeyInput{}); err == nil {
		t.Error("answer from a closed connection")
	}
	for range 4 {
		r.key(t, false)
	}
	if n := r.Calls("CreateKey"); n != 6 {
		t.Errorf("%d calls, want 6", n)
	}
	seen := map[string]bool{}
	pages := kms.NewListKeysPaginator(c, &kms.ListKeysInput{Limit: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range page.Keys {
			seen[*k.KeyId] = true
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d keys listed, want 5: one of a call without an answer", len(seen))
	}
}
