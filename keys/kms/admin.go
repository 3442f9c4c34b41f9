package kms

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/register"
)

// NewRegisterKey makes the HMAC KMS key that authenticates a register, with the policy, if it
// is not empty, and returns its ARN. It is kept in configuration, not in the register.
func NewRegisterKey(ctx context.Context, client *kms.Client, policy string, multiRegion bool) (arn string, err error) {
	in := &kms.CreateKeyInput{
		KeySpec: types.KeySpecHmac256, KeyUsage: types.KeyUsageTypeGenerateVerifyMac, MultiRegion: &multiRegion,
		Description: aws.String("cardlake register of keys"),
	}
	if policy != "" {
		in.Policy = &policy
	}
	out, err := client.CreateKey(ctx, in)
	if err != nil {
		return "", classify("CreateKey", err)
	}
	return *out.KeyMetadata.Arn, nil
}

// EnsureOwners gives each owner a first key for every purpose of the register, and saves the
// register after each owner. An owner whose keys were destroyed gets no new ones. After an
// error it may be called again: it takes up keys that it made and did not come to register.
func (k *Keyring) EnsureOwners(ctx context.Context, owners ...keys.Owner) error {
	for _, owner := range owners {
		err := k.register.Update(ctx, func(d *register.Document) error {
			for _, scope := range d.Missing(owner) {
				if _, err := k.add(ctx, d, scope); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("ensure keys of %s: %w", owner, err)
		}
	}
	return nil
}

// Rotate gives the scope a new version, with a KMS key of its own, which protects new data
// from now on. Older versions go on opening what they protected, and an older secret stays
// live. ErrNoKey says that the scope has no live version.
//
// It is for a key that may be compromised, or an older version that is to be destroyed. For
// the cryptoperiod of wrapping keys the service rotates each key's material by itself, and
// keeps what is old for opening.
func (k *Keyring) Rotate(ctx context.Context, scope keys.Scope) (version int, err error) {
	err = k.register.Update(ctx, func(d *register.Document) error {
		if _, err := d.Live(scope); err != nil {
			return err
		}
		version, err = k.add(ctx, d, scope)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("rotate: %w", err)
	}
	return version, nil
}

// add makes the scope's next version.
func (k *Keyring) add(ctx context.Context, d *register.Document, scope keys.Scope) (version int, err error) {
	e := d.Next(scope)
	if e.KMSKey, err = k.makeKey(ctx, &e, d.Cryptoperiod(scope.Purpose)); err != nil {
		return 0, err
	}
	if scope.Purpose.IsSecret() {
		out, err := call(ctx, k.service, "GenerateDataKeyWithoutPlaintext", func(ctx context.Context) (*kms.GenerateDataKeyWithoutPlaintextOutput, error) {
			return k.client.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{
				KeyId: &e.KMSKey, KeySpec: types.DataKeySpecAes256, EncryptionContext: secretContext(&e),
			}, fresh)
		})
		if err != nil {
			return 0, err
		}
		e.Wrapped = out.CiphertextBlob
	}
	d.Add(e)
	return e.Version, nil
}

// makeKey makes the KMS key of a new version, or takes up the one that its alias names: an
// earlier call made it and was cut off.
func (k *Keyring) makeKey(ctx context.Context, e *register.Entry, period time.Duration) (arn string, err error) {
	alias := fmt.Sprintf("alias/%s/%s/%s/%d", k.cfg.Keys.Alias, e.Owner, e.Purpose, e.Version)
	description := fmt.Sprintf("%s %s/%s version %d", k.cfg.Keys.Alias, e.Owner, e.Purpose, e.Version)
	key, err := k.describe(ctx, k.client, alias)
	switch {
	case err == nil:
		if aws.ToString(key.Description) != description || key.KeyState != types.KeyStateEnabled ||
			key.KeySpec != types.KeySpecSymmetricDefault || aws.ToBool(key.MultiRegion) != k.cfg.Keys.MultiRegion {
			return "", fmt.Errorf("%s names a key that this register did not make, or that is switched off: delete the alias", alias)
		}
	case errors.Is(err, keys.ErrNoKey):
		if key, err = k.createKey(ctx, e, description); err != nil {
			return "", err
		}
		_, err := call(ctx, k.service, "CreateAlias", func(ctx context.Context) (*kms.CreateAliasOutput, error) {
			return k.client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: key.KeyId}, fresh)
		})
		if err != nil {
			return "", err
		}
	default:
		return "", err
	}
	_, err = call(ctx, k.service, "EnableKeyRotation", func(ctx context.Context) (*kms.EnableKeyRotationOutput, error) {
		return k.client.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: key.KeyId, RotationPeriodInDays: rotationDays(period)}, fresh)
	})
	if err != nil {
		return "", err
	}
	for _, region := range slices.Sorted(maps.Keys(k.replicas)) {
		_, err := call(ctx, k.service, "ReplicateKey", func(ctx context.Context) (*kms.ReplicateKeyOutput, error) {
			return k.client.ReplicateKey(ctx, &kms.ReplicateKeyInput{
				KeyId: key.KeyId, ReplicaRegion: &region, Description: &description, Policy: k.policy(e.Purpose), Tags: k.tags(e),
			}, fresh)
		})
		var exists *types.AlreadyExistsException
		if err != nil && !errors.As(err, &exists) {
			return "", err
		}
	}
	return *key.Arn, nil
}

func (k *Keyring) createKey(ctx context.Context, e *register.Entry, description string) (*types.KeyMetadata, error) {
	out, err := call(ctx, k.service, "CreateKey", func(ctx context.Context) (*kms.CreateKeyOutput, error) {
		return k.client.CreateKey(ctx, &kms.CreateKeyInput{
			KeySpec: types.KeySpecSymmetricDefault, KeyUsage: types.KeyUsageTypeEncryptDecrypt,
			Description: &description, MultiRegion: &k.cfg.Keys.MultiRegion, Policy: k.policy(e.Purpose), Tags: k.tags(e),
		})
	})
	if err != nil {
		return nil, err
	}
	return out.KeyMetadata, nil
}

func (k *Keyring) policy(p keys.Purpose) *string {
	if text, ok := k.cfg.Keys.Policies[p]; ok {
		return &text
	}
	return nil
}

func (k *Keyring) tags(e *register.Entry) []types.Tag {
	all := maps.Clone(k.cfg.Keys.Tags)
	if all == nil {
		all = map[string]string{}
	}
	all["cardlake:owner"], all["cardlake:purpose"], all["cardlake:version"] = string(e.Owner), string(e.Purpose), strconv.Itoa(e.Version)
	var out []types.Tag
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, types.Tag{TagKey: aws.String(name), TagValue: aws.String(all[name])})
	}
	return out
}

// rotationDays is how often the service rotates a key's material: 90 to 2,560 days (API
// reference, EnableKeyRotation).
func rotationDays(period time.Duration) *int32 {
	return aws.Int32(int32(min(max(period/(24*time.Hour), 90), 2560)))
}

// DestroyVersion destroys a version that is no longer the active one (register.ErrActive):
// the register forgets it, and its KMS key is switched off at once, in every region, and
// deleted after the waiting period. What only it can open is lost. ErrNoKey says that there
// is no such live version. After another error it is to be called again.
func (k *Keyring) DestroyVersion(ctx context.Context, scope keys.Scope, version int) error {
	err := k.register.Update(ctx, func(d *register.Document) error {
		e, err := d.Destroyable(scope, version)
		if err != nil {
			return err
		}
		e.Destroy()
		return nil
	})
	return k.end(ctx, err, func(e *register.Entry) bool { return e.Scope() == scope && e.Version == version })
}

// DestroyOwner destroys every key of the owner, as DestroyVersion does: what they encrypted
// can never be read again. ErrNoKey says that it has no live key in this register.
func (k *Keyring) DestroyOwner(ctx context.Context, owner keys.Owner) error {
	err := k.register.Update(ctx, func(d *register.Document) error {
		live, err := d.LiveOf(owner)
		if err != nil {
			return err
		}
		for _, e := range live {
			e.Destroy()
		}
		return nil
	})
	return k.end(ctx, err, func(e *register.Entry) bool { return e.Owner == owner })
}

// end ends the KMS keys of the versions that the register forgot, now or in an earlier call
// that was cut off: so the register comes first, and nothing it forgot stays in use unseen.
func (k *Keyring) end(ctx context.Context, forgotten error, which func(*register.Entry) bool) error {
	if forgotten != nil && !errors.Is(forgotten, keys.ErrNoKey) {
		return fmt.Errorf("destroy: %w", forgotten)
	}
	s, err := k.register.Current(ctx)
	if err != nil {
		return fmt.Errorf("destroy: %w", err)
	}
	wasOpen := false
	var errs []error
	for i := range s.Entries() {
		e := &s.Entries()[i]
		if e.IsLive() || e.KMSKey == "" || !which(e) {
			continue
		}
		ended, err := k.endKey(ctx, e.KMSKey)
		wasOpen = wasOpen || ended
		if err != nil {
			errs = append(errs, fmt.Errorf("version %d of %s: %w", e.Version, e.Scope(), err))
		}
	}
	switch err := errors.Join(errs...); {
	case err != nil:
		return fmt.Errorf("destroy: the register has forgotten the keys, but not all are scheduled for deletion: do it again: %w", err)
	case forgotten != nil && !wasOpen:
		return fmt.Errorf("destroy: %w", forgotten)
	}
	return nil
}

// endKey switches a KMS key off and schedules its deletion, in every region that has it: all
// are off before the first is scheduled. A primary's waiting period begins when its replicas
// are gone. It reports whether there was anything left to do.
func (k *Keyring) endKey(ctx context.Context, arn string) (wasOpen bool, err error) {
	home, err := k.describe(ctx, k.client, arn)
	if errors.Is(err, keys.ErrNoKey) {
		return false, nil // deleted already
	}
	if err != nil {
		return false, err
	}
	var places []*kms.Client
	if m := home.MultiRegionConfiguration; m != nil {
		for _, r := range m.ReplicaKeys {
			client := k.replicas[aws.ToString(r.Region)]
			if client == nil {
				err = errors.Join(err, fmt.Errorf("the key has a replica in %s: name a client of that region", aws.ToString(r.Region)))
				continue
			}
			places = append(places, client)
		}
	}
	places = append(places, k.client) // the primary last
	var open []*kms.Client
	for _, client := range places {
		isOpen, disableErr := k.switchOff(ctx, client, arn)
		err = errors.Join(err, disableErr)
		if isOpen && disableErr == nil {
			open = append(open, client)
		}
	}
	for _, client := range open {
		err = errors.Join(err, k.schedule(ctx, client, arn))
	}
	return len(open) > 0, err
}

// switchOff disables a key unless it waits for its deletion, and reports whether it did not.
func (k *Keyring) switchOff(ctx context.Context, client *kms.Client, arn string) (isOpen bool, err error) {
	key, err := k.describe(ctx, client, arn)
	if errors.Is(err, keys.ErrNoKey) {
		return false, nil
	}
	if err != nil || isEnding(key.KeyState) {
		return false, err
	}
	_, err = call(ctx, k.service, "DisableKey", func(ctx context.Context) (*kms.DisableKeyOutput, error) {
		return client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId})
	})
	return true, err
}

func (k *Keyring) schedule(ctx context.Context, client *kms.Client, arn string) error {
	key := inRegion(arn, client.Options().Region)
	_, err := call(ctx, k.service, "ScheduleKeyDeletion", func(ctx context.Context) (*kms.ScheduleKeyDeletionOutput, error) {
		return client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &key, PendingWindowInDays: &k.cfg.Keys.PendingDays})
	})
	return err
}

// SetCryptoperiod sets how long a version of the purpose may protect new data, in whole days
// from 1 to 5 years. KMS keys made from now on are rotated by the service that often, within
// its bounds of 90 to 2,560 days.
func (k *Keyring) SetCryptoperiod(ctx context.Context, purpose keys.Purpose, period time.Duration) error {
	return k.register.Update(ctx, func(d *register.Document) error { return d.SetCryptoperiod(purpose, period) })
}

// Inventory lists every version there ever was, with the state its KMS key has now. A key
// that the caller may not describe is keys.Unknown. RotateBy of a wrapping key is when the
// service rotates its material next.
func (k *Keyring) Inventory(ctx context.Context) ([]keys.Entry, error) {
	s, err := k.register.Current(ctx)
	if err != nil {
		return nil, err
	}
	var out []keys.Entry
	for i := range s.Entries() {
		e, err := k.listed(ctx, s, &s.Entries()[i])
		if err != nil {
			return nil, fmt.Errorf("inventory: version %d of %s: %w", e.Version, e.Scope(), err)
		}
		out = append(out, e)
	}
	return out, nil
}

func (k *Keyring) listed(ctx context.Context, s *register.Snapshot, e *register.Entry) (keys.Entry, error) {
	out := s.Listed(e)
	out.Custody = "AWS KMS key " + e.KMSKey
	if e.Purpose.IsSecret() {
		out.Custody = "register " + k.register.Path() + ", wrapped by " + out.Custody
	}
	key, err := k.describe(ctx, k.client, e.KMSKey)
	switch {
	case errors.Is(err, keys.ErrNoKey):
		out.State = keys.Destroyed
		return out, nil
	case errors.Is(err, keys.ErrDenied):
		out.State = keys.Unknown
		return out, nil
	case err != nil:
		return out, err
	}
	switch {
	case isEnding(key.KeyState), !e.IsLive():
		out.State = keys.Pending
		return out, nil
	case key.KeyState == types.KeyStateDisabled:
		out.State = keys.Suspended
	case key.KeyState != types.KeyStateEnabled && key.KeyState != types.KeyStateUpdating:
		out.State = keys.Unknown
	}
	if e.Purpose.IsSecret() {
		return out, nil
	}
	status, err := call(ctx, k.service, "GetKeyRotationStatus", func(ctx context.Context) (*kms.GetKeyRotationStatusOutput, error) {
		return k.client.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: key.KeyId})
	})
	if err != nil && !errors.Is(err, keys.ErrDenied) {
		return out, err
	}
	if err == nil && status.NextRotationDate != nil {
		out.RotateBy = *status.NextRotationDate
	}
	return out, nil
}
