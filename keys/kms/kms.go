// Package kms is a keyring whose key-encryption keys are AWS KMS keys, which never leave the
// service. Each version of each owner's key for a purpose is a KMS key of its own, so that key
// policies, grants and CloudTrail tell purposes apart, and deleting one version deletes just
// what it protected, in every backup.
//
// Which KMS key is whose stands in a register document, the same kind of file that keys/local
// keeps (package keys/register). It holds no clear key: long-lived secrets (mint, index,
// format) lie in it wrapped by their version's KMS key, drawn by the service and never seen by
// who administers. The document is authenticated by an HMAC KMS key: who may GenerateMac with
// it may change the register, who may VerifyMac may use it.
//
// Every call names the encryption context {"owner", "purpose"}; a secret's also its "secret"
// id. Policies and grants may require them ("kms:EncryptionContext:purpose").
//
// Multi-region keys: in a region that has replicas, the same register works with a client of
// that region.
//
// What is bounded: a call's time, retries included ([Config.Budget]); how long a key is not
// asked for again after the service said that it is off or gone ([Config.Recheck]). Nothing
// opened is kept here: [keys.Envelopes] bounds what its callers reuse, by age, bytes and
// messages, and the tokeniser how long it uses a secret.
package kms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/register"
)

// Endpoint says where KMS is. The zero value is what the environment and the shared
// configuration files say.
type Endpoint struct {
	Region string
	URL    string // in place of the region's, as for an interface endpoint of a VPC
}

// NewClient returns a client with the credentials of the SDK's default chain. It reads the
// environment and the shared configuration files, and calls nobody yet.
func NewClient(ctx context.Context, e Endpoint) (*kms.Client, error) {
	var opts []func(*config.LoadOptions) error
	if e.Region != "" {
		opts = append(opts, config.WithRegion(e.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("KMS client: %w", err)
	}
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		if e.URL != "" {
			o.BaseEndpoint = &e.URL
		}
	}), nil
}

// Config tunes a Keyring. All but RegisterKey have defaults.
type Config struct {
	// RegisterKey is the ARN of the HMAC_256 KMS key that authenticates the register. It comes
	// from elsewhere than the register, or whoever can write that could name a key of theirs.
	RegisterKey string
	// Budget is how long one call may take, retries and their pauses included; default 10 s.
	Budget time.Duration
	// Attempts at one call, within its budget; default 6. Throttling, faults of the service and
	// of the network are retried after a random pause that doubles up to 2 s; refusals are not.
	Attempts int
	// Recheck is how long a KMS key that is off or gone is not asked for again, so that the
	// records of a destroyed owner do not use up the account's quota; default 10 s.
	Recheck time.Duration
	// Keys says how administration makes and ends KMS keys.
	Keys KeyConfig
}

// KeyConfig says how KMS keys are made and ended.
type KeyConfig struct {
	// Alias is the first part of the keys' aliases: "alias/<Alias>/<owner>/<purpose>/<version>";
	// default "cardlake". Two registers of one account and region need different ones if
	// they share purposes.
	Alias string
	// MultiRegion makes multi-region primary keys. It can't be changed for a key that exists.
	MultiRegion bool
	// Replicas are clients of the regions that get a replica of each new key, and from which
	// replicas are deleted. They need MultiRegion.
	Replicas []*kms.Client
	// Policies are the key policies by purpose, as JSON; default the service's, which leaves
	// the decision to IAM.
	Policies map[keys.Purpose]string
	// Tags are put on every key, beside cardlake:owner, cardlake:purpose and cardlake:version.
	Tags map[string]string
	// PendingDays is how long the service waits until it deletes a key that was switched off:
	// 7 to 30; default 7, the shortest, because the register has forgotten the key by then.
	PendingDays int32
}

func (c Config) withDefaults() Config {
	if c.Budget == 0 {
		c.Budget = 10 * time.Second
	}
	if c.Attempts == 0 {
		c.Attempts = 6
	}
	if c.Recheck == 0 {
		c.Recheck = 10 * time.Second
	}
	if c.Keys.Alias == "" {
		c.Keys.Alias = "cardlake"
	}
	if c.Keys.PendingDays == 0 {
		c.Keys.PendingDays = 7
	}
	return c
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var errs []error
	c = c.withDefaults()
	if !isKeyARN(c.RegisterKey) {
		errs = append(errs, errors.New("RegisterKey: want the ARN of a KMS key"))
	}
	if c.Budget < 0 || c.Attempts < 0 || c.Recheck < 0 {
		errs = append(errs, errors.New("Budget, Attempts, Recheck: want none below zero"))
	}
	if d := c.Keys.PendingDays; d < 7 || d > 30 {
		errs = append(errs, errors.New("PendingDays: want 7 to 30"))
	}
	if len(c.Keys.Replicas) > 0 && !c.Keys.MultiRegion {
		errs = append(errs, errors.New("Replicas: only multi-region keys have them"))
	}
	return errors.Join(errs...)
}

// Keyring implements keys.Provider, keys.Secrets and keys.LiveSecrets. It is safe for
// concurrent use, and several processes may use and change a register at a time.
type Keyring struct {
	*service
	register *register.Register
}

// service is what reaches KMS.
type service struct {
	client   *kms.Client
	replicas map[string]*kms.Client // by region
	cfg      Config

	mu      sync.Mutex
	refused map[string]refusal // by id of the register's entry
}

type refusal struct {
	err   error
	until time.Time
}

// Format implements fmt.Formatter: every verb prints where the register lies, nothing else.
func (k Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// String names the register's file.
func (k Keyring) String() string {
	if k.register == nil {
		return "KMS keyring"
	}
	return "KMS keyring " + k.register.Path()
}

// LogValue implements slog.LogValuer.
func (k Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }

type custody struct {
	Kind        string `json:"kind"`
	RegisterKey string `json:"register_key"` // for people: Config says which one counts
}

const kind = "aws-kms"

func newService(client *kms.Client, cfg Config) (*service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("KMS keyring: %w", err)
	}
	cfg = cfg.withDefaults()
	retrying := func(o *kms.Options) {
		// The one layer of retries: the clients' own retryers do not count.
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = cfg.Attempts, maxBackoff
		})
	}
	s := &service{
		client: kms.New(client.Options(), retrying), cfg: cfg,
		replicas: map[string]*kms.Client{}, refused: map[string]refusal{},
	}
	for _, r := range cfg.Keys.Replicas {
		s.replicas[r.Options().Region] = kms.New(r.Options(), retrying)
	}
	return s, nil
}

const maxBackoff = 2 * time.Second

// Create makes a register for the purposes, with no keys yet, mode 0600. The file must not
// exist. The caller needs GenerateMac and VerifyMac with the register key.
func Create(ctx context.Context, path string, client *kms.Client, purposes []keys.Purpose, cfg Config) (*Keyring, error) {
	s, err := newService(client, cfg)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(custody{kind, cfg.RegisterKey})
	if err != nil {
		return nil, fmt.Errorf("KMS keyring: %w", err)
	}
	d := register.Document{Custody: text, Purposes: slices.Clone(purposes), Keys: []register.Entry{}}
	r, err := register.Create(ctx, path, d, guard{s}, register.Options{})
	if err != nil {
		return nil, err
	}
	return &Keyring{s, r}, nil
}

// Open reads the register at path, which needs VerifyMac with the register key.
// register.ErrMissing says that there is none, register.ErrChanged that it was not written
// with the register key.
func Open(ctx context.Context, path string, client *kms.Client, cfg Config) (*Keyring, error) {
	s, err := newService(client, cfg)
	if err != nil {
		return nil, err
	}
	r, err := register.Open(ctx, path, func(text json.RawMessage) (register.Guard, error) {
		var c custody
		if err := json.Unmarshal(text, &c); err != nil || c.Kind != kind {
			return nil, errors.New("not a register of KMS keys: open it as what it is")
		}
		return guard{s}, nil
	}, register.Options{})
	if err != nil {
		return nil, err
	}
	return &Keyring{s, r}, nil
}

// guard authenticates the register with an HMAC KMS key.
type guard struct{ *service }

func macMessage(digest []byte) []byte {
	return append([]byte("cardlake keyring document\x00"), digest...)
}

// Tag implements register.Guard.
func (g guard) Tag(ctx context.Context, digest []byte) ([]byte, error) {
	key := g.here(g.cfg.RegisterKey)
	out, err := call(ctx, g.service, "GenerateMac", func(ctx context.Context) (*kms.GenerateMacOutput, error) {
		return g.client.GenerateMac(ctx, &kms.GenerateMacInput{
			KeyId: &key, MacAlgorithm: types.MacAlgorithmSpecHmacSha256, Message: macMessage(digest),
		})
	})
	if err != nil {
		return nil, err
	}
	return out.Mac, nil
}

// Verify implements register.Guard.
func (g guard) Verify(ctx context.Context, digest, tag []byte) error {
	if len(tag) == 0 {
		return register.ErrChanged
	}
	key := g.here(g.cfg.RegisterKey)
	_, err := call(ctx, g.service, "VerifyMac", func(ctx context.Context) (*kms.VerifyMacOutput, error) {
		return g.client.VerifyMac(ctx, &kms.VerifyMacInput{
			KeyId: &key, MacAlgorithm: types.MacAlgorithmSpecHmacSha256, Message: macMessage(digest), Mac: tag,
		})
	})
	var invalid *types.KMSInvalidMacException
	if errors.As(err, &invalid) {
		return register.ErrChanged
	}
	return err
}

// isKeyARN reports whether the ARN is a key's, not an alias's.
func isKeyARN(arn string) bool {
	parts := strings.Split(arn, ":")
	return len(parts) == 6 && parts[0] == "arn" && parts[2] == "kms" && parts[3] != "" && strings.HasPrefix(parts[5], "key/")
}

// inRegion is the ARN of a multi-region key's copy in the region; of another key, its own.
func inRegion(arn, region string) string {
	parts := strings.Split(arn, ":")
	if len(parts) == 6 && strings.HasPrefix(parts[5], "key/mrk-") {
		parts[3] = region
	}
	return strings.Join(parts, ":")
}

// RegionOf returns the region in a key's ARN.
func RegionOf(arn string) (string, error) {
	if !isKeyARN(arn) {
		return "", errors.New("not the ARN of a KMS key")
	}
	return strings.Split(arn, ":")[3], nil
}

func (s *service) here(arn string) string { return inRegion(arn, s.client.Options().Region) }

func scopeContext(scope keys.Scope) map[string]string {
	return map[string]string{"owner": string(scope.Owner), "purpose": string(scope.Purpose)}
}

// secretContext keeps secrets from being opened as data keys.
func secretContext(e *register.Entry) map[string]string {
	c := scopeContext(e.Scope())
	c["secret"] = e.ID
	return c
}

// NewDataKey implements keys.Provider. The wrapped key has some 200 bytes.
func (k *Keyring) NewDataKey(ctx context.Context, scope keys.Scope) (keys.Key, []byte, error) {
	s, err := k.register.Current(ctx)
	if err != nil {
		return keys.Key{}, nil, err
	}
	e, err := s.Wrapping(scope)
	if err != nil {
		return keys.Key{}, nil, err
	}
	key := k.here(e.KMSKey)
	out, err := useKey(ctx, k.service, "GenerateDataKey", e, func(ctx context.Context) (*kms.GenerateDataKeyOutput, error) {
		return k.client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
			KeyId: &key, KeySpec: types.DataKeySpecAes256, EncryptionContext: scopeContext(scope),
		})
	})
	if err != nil {
		return keys.Key{}, nil, fmt.Errorf("new data key of %s: %w", scope, err)
	}
	defer clear(out.Plaintext)
	data, err := keys.KeyFrom(out.Plaintext)
	if err != nil || len(out.CiphertextBlob) == 0 || aws.ToString(out.KeyId) != key {
		return keys.Key{}, nil, fmt.Errorf("new data key of %s: KMS answers with another key than was asked for", scope)
	}
	return data, append(e.Header(), out.CiphertextBlob...), nil
}

// maxBlob is the longest ciphertext that Decrypt takes (API reference).
const maxBlob = 6144

// UnwrapDataKey implements keys.Provider.
func (k *Keyring) UnwrapDataKey(ctx context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error) {
	s, err := k.register.Current(ctx)
	if err != nil {
		return keys.Key{}, fmt.Errorf("unwrap data key of %s: %w", scope, err)
	}
	e, blob, err := s.Unwrapping(scope, wrapped)
	if err == nil && len(blob) > maxBlob {
		err = keys.ErrUnwrap
	}
	if err != nil {
		return keys.Key{}, fmt.Errorf("unwrap data key of %s: %w", scope, err)
	}
	key, err := k.decrypt(ctx, e, blob, scopeContext(scope))
	if err != nil {
		return keys.Key{}, fmt.Errorf("unwrap data key of %s: %w", scope, err)
	}
	return key, nil
}

// decrypt names the key, so that no other one of the account can be made to open.
func (s *service) decrypt(ctx context.Context, e *register.Entry, blob []byte, encryptionContext map[string]string) (keys.Key, error) {
	key := s.here(e.KMSKey)
	out, err := useKey(ctx, s, "Decrypt", e, func(ctx context.Context) (*kms.DecryptOutput, error) {
		return s.client.Decrypt(ctx, &kms.DecryptInput{KeyId: &key, CiphertextBlob: blob, EncryptionContext: encryptionContext})
	})
	if err != nil {
		return keys.Key{}, err
	}
	defer clear(out.Plaintext)
	if len(out.Plaintext) != 32 {
		return keys.Key{}, keys.ErrUnwrap
	}
	return keys.KeyFrom(out.Plaintext)
}

// Secret implements keys.Secrets.
func (k *Keyring) Secret(ctx context.Context, scope keys.Scope) (int, keys.Key, error) {
	s, err := k.register.Current(ctx)
	if err != nil {
		return 0, keys.Key{}, err
	}
	live, err := s.Secrets(scope)
	if err != nil {
		return 0, keys.Key{}, err
	}
	key, err := k.secret(ctx, live[0])
	return live[0].Version, key, err
}

// Live implements keys.LiveSecrets.
func (k *Keyring) Live(ctx context.Context, scope keys.Scope) ([]keys.Secret, error) {
	s, err := k.register.Current(ctx)
	if err != nil {
		return nil, err
	}
	live, err := s.Secrets(scope)
	if err != nil {
		return nil, err
	}
	out := make([]keys.Secret, 0, len(live))
	for _, e := range live {
		key, err := k.secret(ctx, e)
		if err != nil {
			for _, s := range out {
				s.Destroy()
			}
			return nil, err
		}
		out = append(out, keys.Secret{Version: e.Version, Key: key})
	}
	return out, nil
}

func (k *Keyring) secret(ctx context.Context, e *register.Entry) (keys.Key, error) {
	key, err := k.decrypt(ctx, e, e.Wrapped, secretContext(e))
	if err != nil {
		return keys.Key{}, fmt.Errorf("version %d of the secret of %s: %w", e.Version, e.Scope(), err)
	}
	return key, nil
}

// KeyOf returns the ARN, in the keyring's region, of the KMS key that encrypts the owner's
// objects where the object store encrypts; keys.ErrNoKey if there is none.
func (k *Keyring) KeyOf(owner keys.Owner) (string, error) {
	// Only a changed register is verified, within the budget of a call.
	s, err := k.register.Current(context.Background())
	if err != nil {
		return "", err
	}
	e, err := s.Wrapping(keys.Scope{Owner: owner, Purpose: keys.Object})
	if err != nil {
		return "", err
	}
	return k.here(e.KMSKey), nil
}

var (
	_ keys.Provider    = (*Keyring)(nil)
	_ keys.Secrets     = (*Keyring)(nil)
	_ keys.LiveSecrets = (*Keyring)(nil)
)
