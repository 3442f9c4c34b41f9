package kms_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/keystest"
	"github.com/cardlake/cardlake/keys/kms"
	"github.com/cardlake/cardlake/keys/kmstest"
	"github.com/cardlake/cardlake/keys/register"
)

func ensure(t testing.TB, k *kms.Keyring, owners ...keys.Owner) {
	t.Helper()
	if err := k.EnsureOwners(t.Context(), owners...); err != nil {
		t.Fatal(err)
	}
}

func newDataKey(t testing.TB, k *kms.Keyring, scope keys.Scope) (keys.Key, []byte) {
	t.Helper()
	key, wrapped, err := k.NewDataKey(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	return key, wrapped
}

func opens(t testing.TB, k *kms.Keyring, scope keys.Scope, wrapped []byte, want keys.Key) {
	t.Helper()
	got, err := k.UnwrapDataKey(t.Context(), scope, wrapped)
	if err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("unwrap: right %t, error %v", err == nil, err)
	}
}

func fails(t testing.TB, k *kms.Keyring, scope keys.Scope, wrapped []byte) error {
	t.Helper()
	_, err := k.UnwrapDataKey(t.Context(), scope, wrapped)
	if err == nil {
		t.Error("unwraps")
	}
	return err
}

// keyOf is the KMS key of the owner's objects.
func keyOf(t testing.TB, k *kms.Keyring, owner keys.Owner) *string {
	t.Helper()
	arn, err := k.KeyOf(owner)
	if err != nil {
		t.Fatal(err)
	}
	return &arn
}

var (
	objectA = keys.Scope{Owner: "ownera", Purpose: keys.Object}
	objectB = keys.Scope{Owner: "ownerb", Purpose: keys.Object}
)

// A key that somebody switches off in the service stops working, without the register's
// knowledge, and is asked for once; when it is on again it works.
func TestKeyThatIsSwitchedOff(t *testing.T) {
	for _, recheck := range []time.Duration{time.Hour, time.Nanosecond} {
		s := newService(t, nil)
		r := s.ring(t, kms.Config{Recheck: recheck}, keys.Object)
		ensure(t, r.Keyring, "ownera", "ownerb")
		keyA, wrappedA := newDataKey(t, r.Keyring, objectA)
		keyB, wrappedB := newDataKey(t, r.Keyring, objectB)
		c, arn := s.client(home, admin), keyOf(t, r.Keyring, "ownera")
		if _, err := c.DisableKey(t.Context(), &sdk.DisableKeyInput{KeyId: arn}); err != nil {
			t.Fatal(err)
		}
		before := s.Calls("Decrypt") + s.Calls("GenerateDataKey")
		for range 5 {
			if err := fails(t, r.Keyring, objectA, wrappedA); !errors.Is(err, keys.ErrNoKey) {
				t.Errorf("switched off: %v", err)
			}
			if _, _, err := r.NewDataKey(t.Context(), objectA); !errors.Is(err, keys.ErrNoKey) {
				t.Errorf("switched off: %v", err)
			}
		}
		asked := s.Calls("Decrypt") + s.Calls("GenerateDataKey") - before
		opens(t, r.Keyring, objectB, wrappedB, keyB)
		if _, err := c.EnableKey(t.Context(), &sdk.EnableKeyInput{KeyId: arn}); err != nil {
			t.Fatal(err)
		}
		if recheck == time.Hour {
			if asked != 1 {
				t.Errorf("a key that is off was asked for %d times, want once", asked)
			}
			continue
		}
		opens(t, r.Keyring, objectA, wrappedA, keyA)
	}
}

// A key whose deletion somebody scheduled is gone. One in a state that passes is not.
func TestKeyInAStateThatRefuses(t *testing.T) {
	s := newService(t, nil)
	r := s.ring(t, kms.Config{}, keys.Object)
	ensure(t, r.Keyring, "ownera")
	key, wrapped := newDataKey(t, r.Keyring, objectA)
	s.Fail("Decrypt", 1, kmstest.Fault{Code: "KMSInvalidStateException"}) // as while it is replicated
	if err := fails(t, r.Keyring, objectA, wrapped); errors.Is(err, keys.ErrNoKey) {
		t.Errorf("a state that passes: %v", err)
	}
	opens(t, r.Keyring, objectA, wrapped, key)
	s.Fail("Decrypt", 6, kmstest.Fault{Code: "NotFoundException"})
	if err := fails(t, r.Keyring, objectA, wrapped); errors.Is(err, keys.ErrNoKey) {
		t.Errorf("a key made just now is not found: %v", err)
	}
	s.Heal()
	opens(t, r.Keyring, objectA, wrapped, key)
	if _, err := s.client(home, admin).ScheduleKeyDeletion(t.Context(), &sdk.ScheduleKeyDeletionInput{KeyId: keyOf(t, r.Keyring, "ownera")}); err != nil {
		t.Fatal(err)
	}
	if err := fails(t, r.Keyring, objectA, wrapped); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("scheduled for deletion: %v", err)
	}
}

// The worker may be let wrap for the vault and not unwrap. What it is not permitted is no
// missing key, and passes when it is granted.
func TestGrantsKeepDutiesApart(t *testing.T) {
	s := newService(t, map[string]kmstest.Principal{"AKIAWORKER": {ARN: arnOf("worker"), Secret: "w"}})
	r := s.ring(t, kms.Config{}, keys.Reverse, keys.Mint)
	ensure(t, r.Keyring, "ownera")
	reverse, mint := keys.Scope{Owner: "ownera", Purpose: keys.Reverse}, keys.Scope{Owner: "ownera", Purpose: keys.Mint}
	c := s.client(home, admin)
	grant := func(key string, constraints *types.GrantConstraints, operations ...types.GrantOperation) {
		t.Helper()
		_, err := c.CreateGrant(t.Context(), &sdk.CreateGrantInput{
			KeyId: &key, GranteePrincipal: aws.String(arnOf("worker")), Operations: operations, Constraints: constraints,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	worker := s.client(home, "AKIAWORKER")
	if _, err := kms.Open(t.Context(), r.path, worker, r.cfg); !errors.Is(err, keys.ErrDenied) || errors.Is(err, keys.ErrNoKey) {
		t.Fatalf("open without VerifyMac: %v", err)
	}
	grant(r.cfg.RegisterKey, nil, "VerifyMac")
	k := r.open(t, worker)
	arns := map[keys.Purpose]string{}
	list, err := r.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		_, arns[e.Purpose], _ = strings.Cut(e.Custody, "AWS KMS key ")
	}
	if _, _, err := k.NewDataKey(t.Context(), reverse); !errors.Is(err, keys.ErrDenied) || errors.Is(err, keys.ErrNoKey) {
		t.Errorf("without a grant: %v", err)
	}
	owner := &types.GrantConstraints{EncryptionContextSubset: map[string]string{"owner": "ownera"}}
	grant(arns[keys.Reverse], owner, "GenerateDataKey")
	grant(arns[keys.Mint], owner, "Decrypt")
	key, wrapped := newDataKey(t, k, reverse)
	if err := fails(t, k, reverse, wrapped); !errors.Is(err, keys.ErrDenied) {
		t.Errorf("the worker reads the vault: %v", err)
	}
	opens(t, r.Keyring, reverse, wrapped, key)
	if live, err := k.Live(t.Context(), mint); err != nil || len(live) != 1 {
		t.Errorf("the worker's mint secrets: %d, error %v", len(live), err)
	}
	if err := k.EnsureOwners(t.Context(), "ownerb"); !errors.Is(err, keys.ErrDenied) {
		t.Errorf("the worker makes keys: %v", err)
	}
	if err := k.DestroyOwner(t.Context(), "ownera"); !errors.Is(err, keys.ErrDenied) {
		t.Errorf("the worker destroys keys: %v", err)
	}
	if list, err = k.Inventory(t.Context()); err != nil || len(list) != 2 || list[0].State != keys.Unknown {
		t.Errorf("inventory of keys that it may not describe: %+v, error %v", list, err)
	}
	opens(t, r.Keyring, reverse, wrapped, key)
}

// Who administers never sees a secret: the service draws it, and no permission to decrypt is
// needed.
func TestAdministratorSeesNoSecret(t *testing.T) {
	s := newService(t, map[string]kmstest.Principal{"AKIAKEEPER": {ARN: arnOf("keeper"), Secret: "k", IAM: []string{
		"kms:CreateKey", "kms:DescribeKey", "kms:CreateAlias", "kms:EnableKeyRotation", "kms:GetKeyRotationStatus", "kms:GenerateDataKeyWithoutPlaintext",
		"kms:DisableKey", "kms:ScheduleKeyDeletion", "kms:GenerateMac", "kms:VerifyMac",
	}}})
	r := s.ring(t, kms.Config{}, keys.CardPurposes...)
	k := r.open(t, s.client(home, "AKIAKEEPER"))
	ensure(t, k, "ownera")
	mint := keys.Scope{Owner: "ownera", Purpose: keys.Mint}
	if _, err := k.Rotate(t.Context(), mint); err != nil {
		t.Fatal(err)
	}
	if err := k.DestroyVersion(t.Context(), mint, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Live(t.Context(), mint); !errors.Is(err, keys.ErrDenied) {
		t.Errorf("the administrator's mint secrets: error %v", err)
	}
	if err := k.DestroyOwner(t.Context(), "ownera"); err != nil {
		t.Fatal(err)
	}
}

// Throttling and faults are retried within one budget; what is left over passes, and is never
// taken for a missing key.
func TestRetriesAreBounded(t *testing.T) {
	s := newService(t, nil)
	r := s.ring(t, kms.Config{}, keys.Object)
	ensure(t, r.Keyring, "ownera")
	key, wrapped := newDataKey(t, r.Keyring, objectA)
	for _, f := range []kmstest.Fault{{Code: "ThrottlingException"}, {Code: "KMSInternalException", Status: 500}, {}} {
		s.Fail("Decrypt", 1, f)
		before := s.Calls("Decrypt")
		opens(t, r.Keyring, objectA, wrapped, key)
		if n := s.Calls("Decrypt") - before; n != 2 {
			t.Errorf("fault %+v: %d calls, want 2", f, n)
		}
	}
	cfg := r.cfg
	cfg.Attempts = 2
	few, err := kms.Open(t.Context(), r.path, s.client(home, admin), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Throttle("Decrypt", 10)
	before := s.Calls("Decrypt")
	err = fails(t, few, objectA, wrapped)
	var refused *kms.Error
	if !errors.As(err, &refused) || refused.Code != "ThrottlingException" || errors.Is(err, keys.ErrNoKey) || errors.Is(err, keys.ErrUnwrap) || errors.Is(err, keys.ErrDenied) {
		t.Errorf("throttled for long: %v", err)
	}
	if n := s.Calls("Decrypt") - before; n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
	s.Heal()

	cfg = r.cfg
	cfg.Budget = 200 * time.Millisecond
	hasty, err := kms.Open(t.Context(), r.path, s.client(home, admin), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Fail("Decrypt", 10, kmstest.Fault{Code: "KMSInternalException", Status: 500, Delay: time.Hour})
	if err := fails(t, hasty, objectA, wrapped); !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v, want that the call's budget is over and not the caller's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hasty.UnwrapDataKey(ctx, objectA, wrapped); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A region with replicas opens what another wrapped, with the same register, until the owner
// is destroyed: then both are off at once, and gone after the waiting periods.
func TestRegions(t *testing.T) {
	s := newService(t, nil)
	var cfg kms.Config
	cfg.Keys.MultiRegion, cfg.Keys.Replicas = true, []*sdk.Client{s.client(other, admin)}
	r := s.ring(t, cfg, keys.Object, keys.Mint)
	_, err := s.client(home, admin).ReplicateKey(t.Context(), &sdk.ReplicateKeyInput{KeyId: &r.cfg.RegisterKey, ReplicaRegion: aws.String(other)})
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, r.Keyring, "ownera", "ownerb")
	there := r.open(t, s.client(other, admin))
	mint := keys.Scope{Owner: "ownera", Purpose: keys.Mint}
	key, wrapped := newDataKey(t, r.Keyring, objectA)
	opens(t, there, objectA, wrapped, key)
	keyThere, wrappedThere := newDataKey(t, there, objectA)
	opens(t, r.Keyring, objectA, wrappedThere, keyThere)
	_, secretHere, errHere := r.Secret(t.Context(), mint)
	_, secretThere, errThere := there.Secret(t.Context(), mint)
	if err := errors.Join(errHere, errThere); err != nil || !bytes.Equal(secretHere.Bytes(), secretThere.Bytes()) {
		t.Errorf("the regions' secrets differ, or error %v", err)
	}
	arn := *keyOf(t, there, "ownera")
	if region, _ := kms.RegionOf(arn); region != other {
		t.Errorf("objects there are encrypted under %s", arn)
	}
	keyB, wrappedB := newDataKey(t, there, objectB)

	if err := r.DestroyOwner(t.Context(), "ownera"); err != nil {
		t.Fatal(err)
	}
	if err := fails(t, there, objectA, wrapped); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("destroyed: %v", err)
	}
	opens(t, there, objectB, wrappedB, keyB)
	for _, region := range []string{home, other} {
		// Past the register, with the ciphertext itself.
		_, err := s.client(region, admin).Decrypt(t.Context(), &sdk.DecryptInput{
			CiphertextBlob: wrapped[17:], EncryptionContext: map[string]string{"owner": "ownera", "purpose": "object"},
		})
		var state *types.KMSInvalidStateException
		if !errors.As(err, &state) {
			t.Errorf("in %s the destroyed key decrypts: %v", region, err)
		}
	}
	states := func() map[keys.State]int {
		t.Helper()
		list, err := r.Inventory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[keys.State]int{}
		for _, e := range list {
			out[e.State]++
		}
		return out
	}
	if got := states(); got[keys.Pending] != 2 || got[keys.Active] != 2 {
		t.Errorf("states %v", got)
	}
	for range 2 {
		s.ahead.Add(int64(8 * 24 * time.Hour)) // the replicas' waiting period, then the primaries'
		states()
	}
	if got := states(); got[keys.Destroyed] != 2 || got[keys.Active] != 2 {
		t.Errorf("states %v after the waiting periods", got)
	}
}

// A client of a region where the key is not is a fault to mend, and no missing key.
func TestWrongRegion(t *testing.T) {
	s := newService(t, nil)
	r := s.ring(t, kms.Config{}, keys.Object)
	ensure(t, r.Keyring, "ownera")
	_, wrapped := newDataKey(t, r.Keyring, objectA)
	if _, err := kms.Open(t.Context(), r.path, s.client(other, admin), r.cfg); err == nil {
		t.Error("a register whose key is elsewhere opens")
	}
	c := s.client(other, admin)
	arn, err := kms.NewRegisterKey(t.Context(), s.client(home, admin), "", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client(home, admin).ReplicateKey(t.Context(), &sdk.ReplicateKeyInput{KeyId: &arn, ReplicaRegion: aws.String(other)}); err != nil {
		t.Fatal(err)
	}
	cfg := kms.Config{RegisterKey: arn}
	path := t.TempDir() + "/register"
	k, err := kms.Create(t.Context(), path, s.client(home, admin), []keys.Purpose{keys.Object}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, k, "ownera2")
	scope := keys.Scope{Owner: "ownera2", Purpose: keys.Object}
	_, wrapped = newDataKey(t, k, scope)
	there, err := kms.Open(t.Context(), path, c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := fails(t, there, scope, wrapped); errors.Is(err, keys.ErrNoKey) || !strings.Contains(err.Error(), "use a client of that region") {
		t.Errorf("error %v", err)
	}
}

// What was cut off is taken up, and makes no key twice.
func TestCutOffAdministration(t *testing.T) {
	refusal := kmstest.Fault{Code: "UnsupportedOperationException"}
	for _, operation := range []string{"CreateAlias", "EnableKeyRotation", "GenerateDataKeyWithoutPlaintext", "GenerateMac"} {
		s := newService(t, nil)
		r := s.ring(t, kms.Config{}, keys.Object, keys.Mint)
		made := s.Calls("CreateKey")
		s.Fail(operation, 1, refusal)
		if err := r.EnsureOwners(t.Context(), "ownera"); err == nil || errors.Is(err, keys.ErrNoKey) {
			t.Errorf("%s fails: error %v", operation, err)
		}
		if _, _, err := r.NewDataKey(t.Context(), objectA); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("%s fails: half an owner is there: %v", operation, err)
		}
		ensure(t, r.Keyring, "ownera")
		key, wrapped := newDataKey(t, r.Keyring, objectA)
		opens(t, r.Keyring, objectA, wrapped, key)
		lost := 0
		if operation == "CreateAlias" {
			lost = 1 // without an alias it can't be found
		}
		if n := s.Calls("CreateKey") - made; n != 2+lost {
			t.Errorf("%s fails: %d keys made, want %d", operation, n, 2+lost)
		}
	}

	for _, operation := range []string{"DisableKey", "ScheduleKeyDeletion"} {
		s := newService(t, nil)
		r := s.ring(t, kms.Config{}, keys.Object, keys.Mint)
		elsewhere := r.open(t, s.client(home, admin))
		ensure(t, r.Keyring, "ownera")
		_, wrapped := newDataKey(t, r.Keyring, objectA)
		s.Fail(operation, 1, refusal)
		if err := r.DestroyOwner(t.Context(), "ownera"); err == nil || errors.Is(err, keys.ErrNoKey) {
			t.Errorf("%s fails: error %v", operation, err)
		}
		if err := fails(t, elsewhere, objectA, wrapped); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("%s fails: the forgotten key opens: %v", operation, err)
		}
		if err := r.DestroyOwner(t.Context(), "ownera"); err != nil {
			t.Errorf("%s failed: again: %v", operation, err)
		}
		if err := r.DestroyOwner(t.Context(), "ownera"); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("%s failed: once more: %v", operation, err)
		}
	}
}

// A key that the service can't find yet is asked for again.
func TestKeyMadeJustNow(t *testing.T) {
	s := newService(t, nil)
	r := s.ring(t, kms.Config{}, keys.Object)
	s.Fail("CreateAlias", 1, kmstest.Fault{Code: "NotFoundException"})
	ensure(t, r.Keyring, "ownera")
}

// An alias that names somebody else's key is not taken up.
func TestForeignAlias(t *testing.T) {
	s := newService(t, nil)
	r := s.ring(t, kms.Config{}, keys.Object)
	c := s.client(home, admin)
	planted, err := c.CreateKey(t.Context(), &sdk.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateAlias(t.Context(), &sdk.CreateAliasInput{AliasName: aws.String("alias/cardlake/ownera/object/1"), TargetKeyId: planted.KeyMetadata.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.EnsureOwners(t.Context(), "ownera"); err == nil || !strings.Contains(err.Error(), "did not make") {
		t.Errorf("a planted key is taken up: error %v", err)
	}
}

// Who can write the register's file but not sign it can change nothing in it.
func TestChangedRegister(t *testing.T) {
	s := newService(t, nil)
	r := s.ring(t, kms.Config{}, keys.Mint)
	ensure(t, r.Keyring, "ownera", "ownerb")
	text, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := r.Secret(t.Context(), keys.Scope{Owner: "ownera", Purpose: keys.Mint})
	if err != nil {
		t.Fatal(err)
	}
	keystest.PrintsNoKey(t, secret.Bytes(), string(text), r.Keyring, r)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, change := range [][2]string{{"ownera", "ownerc"}, {`"mint"`, `"index"`}, {`"version": 1`, `"version": 2`}, {`"kms_key": "arn`, `"kms_key": "nra`}, {`"serial": 3`, `"serial": 4`}} {
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if changed == string(text) {
			t.Fatalf("the register has no %s", change[0])
		}
		write(changed)
		if _, err := kms.Open(t.Context(), r.path, s.client(home, admin), r.cfg); !errors.Is(err, register.ErrChanged) {
			t.Errorf("%s changed: %v", change[0], err)
		}
		if _, err := r.Live(t.Context(), keys.Scope{Owner: "ownera", Purpose: keys.Mint}); !errors.Is(err, register.ErrChanged) {
			t.Errorf("%s changed while open: %v", change[0], err)
		}
	}
	write(string(text))
	another, err := kms.NewRegisterKey(t.Context(), s.client(home, admin), "", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kms.Open(t.Context(), r.path, s.client(home, admin), kms.Config{RegisterKey: another}); !errors.Is(err, register.ErrChanged) {
		t.Errorf("another register key: %v", err)
	}
}

func TestInventoryAsksTheService(t *testing.T) {
	s := newService(t, nil)
	r := s.ring(t, kms.Config{}, keys.Object)
	if err := r.SetCryptoperiod(t.Context(), keys.Object, 100*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := r.SetCryptoperiod(t.Context(), keys.Mint, 100*24*time.Hour); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("cryptoperiod of a purpose that it does not serve: %v", err)
	}
	ensure(t, r.Keyring, "ownera")
	list, err := r.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if days := list[0].RotateBy.Sub(list[0].Created).Round(time.Hour).Hours() / 24; days != 100 || list[0].State != keys.Active {
		t.Errorf("rotated by the service after %v days, state %s", days, list[0].State)
	}
	if _, err := s.client(home, admin).DisableKey(t.Context(), &sdk.DisableKeyInput{KeyId: keyOf(t, r.Keyring, "ownera")}); err != nil {
		t.Fatal(err)
	}
	if list, err = r.Inventory(t.Context()); err != nil || list[0].State != keys.Suspended {
		t.Errorf("switched off: state %s, error %v", list[0].State, err)
	}
	s.Fail("DescribeKey", 1, kmstest.Fault{Code: "UnsupportedOperationException"})
	if _, err := r.Inventory(t.Context()); err == nil {
		t.Error("an inventory although the service did not answer")
	}
}

func TestConfig(t *testing.T) {
	bad := kms.Config{RegisterKey: "alias/x", Budget: -1, Keys: kms.KeyConfig{PendingDays: 6, Replicas: []*sdk.Client{nil}}}
	err := bad.Validate()
	for _, want := range []string{"RegisterKey", "Budget", "PendingDays", "Replicas"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %s", err, want)
		}
	}
	if _, err := kms.Open(t.Context(), "nowhere", nil, bad); err == nil {
		t.Error("opens with a bad configuration")
	}
}
