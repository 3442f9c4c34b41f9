// Package s3 keeps objects in an Amazon S3 bucket, or in another service of its protocol,
// each encrypted by the service (SSE-KMS) under its owner's own KMS key.
//
// # What a put promises
//
// An object is created only if its name is free (If-None-Match: *), is seen whole or not at
// all, and is encrypted under the key that [Keys] names for its owner: a service that answers
// without that key's name is refused with [ErrNotEncrypted] and the object taken back.
//
// # Retries
//
// Each operation is retried in one layer. Put and Delete make one attempt; their caller
// decides. What nobody above can repeat is repeated here, up to Config.Attempts times: the
// requests of Open, ReadAt and List, and the parts of a large put, which nobody sees before
// the last request. The SDK's own retries are off.
//
// # Puts of unknown outcome
//
// Each call of Put writes a random number of its own into the object's metadata. When a put
// ends without a clear answer (time-out, reset connection, 5xx, 409) or with 412, the object's
// metadata is read: its own number means success, another's means [objects.ErrExists], and
// absence means the error is returned and the caller may call Put again. A request that is
// still under way then can create the object later; the next Put of that name reports
// ErrExists, and a caller that goes on to another name leaves an object that no table
// mentions, never a row twice. Equality of content is no proof of ownership: two workers that
// write the same window make the same bytes, and the one that loses may delete its files.
//
// # Integrity
//
// Objects carry a CRC64NVME over the whole content, in their metadata too, checked by the
// service when they are put and by ReadAt as Config.Window and [Store.Open] say, also if the
// service knows no checksums. The checksum guards against accidents;
// TLS and the service's authorisation guard against people.
package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/crc64"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// ErrNotEncrypted says that the service stored an object without naming the owner's KMS key
// in its answer. The object was taken back.
var ErrNotEncrypted = errors.New("the service did not encrypt under the owner's key")

// ErrNotLocked says that the service stored an object and did not lock it as Config.Lock says.
var ErrNotLocked = errors.New("the service did not lock the object")

// Keys tells which KMS key encrypts an owner's objects. Implementations are safe for
// concurrent use.
type Keys interface {
	// KeyOf returns the ARN of the owner's KMS key (a key, not an alias, because the service
	// answers with the key's ARN); [keys.ErrNoKey] if it has none.
	KeyOf(owner keys.Owner) (keyARN string, err error)
}

// Config describes the bucket and tunes the [Store]. All but Bucket have defaults.
type Config struct {
	// Bucket is the bucket's name, required.
	Bucket string
	// Prefix is a folder of the bucket in which all objects lie, without a slash at the end.
	// Default: none.
	Prefix string
	// Region is the bucket's. Default: the environment's, as for every AWS tool.
	Region string
	// Endpoint is the URL of another service than Amazon's. It is https, or http to a
	// loopback address.
	Endpoint string
	// PathStyle puts the bucket's name into the path instead of the host name.
	PathStyle bool
	// RootCAs verify the service's certificate. Default: the system's.
	RootCAs *x509.CertPool
	// Credentials sign requests. Default: the SDK's chain (environment, shared files, web
	// identity, container and instance roles).
	Credentials aws.CredentialsProvider
	// Lock, if it is set, keeps every object that Put creates from being deleted for a time, as
	// an audit log needs it. The bucket must have been made with Object Lock.
	Lock Lock
	// NoBucketKeys asks KMS for every object instead of deriving data keys from one that S3
	// keeps for a short time per bucket and KMS key. It costs a KMS request per put and read.
	NoBucketKeys bool

	// MultipartSize is the body's bytes beyond which it is put in parts, at most 5 GiB.
	// Default 64 MiB.
	MultipartSize int64
	// PartSize is a part's bytes, 5 MiB to 5 GiB; it grows for bodies that would have more
	// than 10,000 parts. Default 16 MiB.
	PartSize int64
	// Window is the bytes that Open reads at once and an open object keeps in memory. An
	// object that fits is verified before its first byte is seen. Default 8 MiB.
	Window int64
	// Parallel is how many parts of one put, or windows of one read, are under way at once.
	// Default 4.
	Parallel int
	// Connections is the most that are open to the service at once; more requests wait.
	// Default 64.
	Connections int
	// Timeout is the time one request may take with its body. Default one minute.
	Timeout time.Duration
	// Attempts is how often a request is made that nobody else repeats. Default 3.
	Attempts int
	// Backoff is the longest pause before the second attempt; each one after may be twice as
	// long, up to 32 times Backoff. The pause is a random part of that. Default 100 ms.
	Backoff time.Duration
}

// Lock is how objects are kept from being deleted (Amazon S3 User Guide, "Locking objects
// with Object Lock"). The zero Lock locks nothing.
type Lock struct {
	Mode LockMode
	// Keep is for how long from the put on; it must be set if Mode is.
	Keep time.Duration
}

// LockMode says whom a lock binds.
type LockMode string

const (
	// Governance binds all but those who have s3:BypassGovernanceRetention.
	Governance LockMode = "GOVERNANCE"
	// Compliance binds everyone, the account's root user included, until the time is over.
	Compliance LockMode = "COMPLIANCE"
)

const (
	minPart  = 5 << 20
	maxPart  = 5 << 30
	maxParts = 10_000
)

func (c Config) withDefaults() Config {
	if c.MultipartSize <= 0 {
		c.MultipartSize = 64 << 20
	}
	if c.PartSize <= 0 {
		c.PartSize = 16 << 20
	}
	if c.Window <= 0 {
		c.Window = 8 << 20
	}
	if c.Parallel <= 0 {
		c.Parallel = 4
	}
	if c.Connections <= 0 {
		c.Connections = 64
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	if c.Attempts <= 0 {
		c.Attempts = 3
	}
	if c.Backoff <= 0 {
		c.Backoff = 100 * time.Millisecond
	}
	return c
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Validate reports every fault of the configuration at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if !bucketName.MatchString(c.Bucket) {
		errs = append(errs, errors.New("Bucket is not 3 to 63 of a-z, 0-9, dot and hyphen"))
	}
	if c.Prefix != "" {
		if err := objects.ValidateName(c.Prefix); err != nil {
			errs = append(errs, fmt.Errorf("Prefix: %w", err))
		}
	}
	if c.Endpoint != "" {
		if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" {
			errs = append(errs, errors.New("Endpoint is not a URL"))
		} else if err := encrypted(u); err != nil {
			errs = append(errs, fmt.Errorf("Endpoint: %w", err))
		}
	}
	if c.MultipartSize > maxPart {
		errs = append(errs, errors.New("MultipartSize is beyond 5 GiB"))
	}
	if c.PartSize < minPart || c.PartSize > maxPart {
		errs = append(errs, errors.New("PartSize is not from 5 MiB to 5 GiB"))
	}
	switch c.Lock.Mode {
	case "", Governance, Compliance:
	default:
		errs = append(errs, errors.New("Lock.Mode is neither GOVERNANCE nor COMPLIANCE"))
	}
	if (c.Lock.Mode == "") != (c.Lock.Keep == 0) || c.Lock.Keep < 0 {
		errs = append(errs, errors.New("Lock.Mode and Lock.Keep must be set together, Keep to more than 0"))
	}
	return errors.Join(errs...)
}

// encrypted returns an error for a URL that would be reached in clear beyond this machine.
func encrypted(u *url.URL) error {
	if u.Scheme == "https" {
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return errors.New("only https, or http to a loopback address")
}

// Store is an [objects.Store] in a bucket. It is safe for concurrent use.
type Store struct {
	cfg  Config
	keys Keys

	mu  sync.Mutex
	api *s3.Client // made at first use, because finding region and credentials reads files
}

var (
	_ objects.Store     = (*Store)(nil)
	_ objects.Versioned = (*Store)(nil)
)

// New returns the store. It reads nothing and connects to nothing; the error is that of
// [Config.Validate].
func New(keys Keys, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("s3 store: %w", err)
	}
	return &Store{cfg: cfg.withDefaults(), keys: keys}, nil
}

// client returns the SDK's client, which it makes at first use; a failure is not kept.
func (s *Store) client(ctx context.Context) (*s3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.api != nil {
		return s.api, nil
	}
	pool := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = 5 * time.Second }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxConnsPerHost, t.MaxIdleConnsPerHost = s.cfg.Connections, s.cfg.Connections
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.cfg.RootCAs}
		})
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(pool), config.WithLogger(logging.Nop{})}
	if s.cfg.Region != "" {
		options = append(options, config.WithRegion(s.cfg.Region))
	}
	if s.cfg.Credentials != nil {
		options = append(options, config.WithCredentialsProvider(s.cfg.Credentials))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	s.api = s3.NewFromConfig(loaded, func(o *s3.Options) {
		if s.cfg.Endpoint != "" {
			o.BaseEndpoint = &s.cfg.Endpoint
		}
		o.UsePathStyle = s.cfg.PathStyle
		o.Retryer = aws.NopRetryer{}
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.HTTPClient = encryptedOnly{o.HTTPClient}
	})
	return s.api, nil
}

// encryptedOnly refuses to send in clear what leaves the machine, also to an endpoint that
// the environment names.
type encryptedOnly struct{ next s3.HTTPClient }

func (e encryptedOnly) Do(r *http.Request) (*http.Response, error) {
	if err := encrypted(r.URL); err != nil {
		return nil, err
	}
	return e.next.Do(r)
}

// key returns the bucket's name for the object.
func (s *Store) key(name string) *string {
	if s.cfg.Prefix != "" {
		name = s.cfg.Prefix + "/" + name
	}
	return &name
}

// table is that of CRC-64/NVME (NVM Express NVM Command Set Specification, "64b CRC"),
// whose polynomial hash/crc64 takes in reversed form.
var table = sync.OnceValue(func() *crc64.Table { return crc64.MakeTable(0x9a6c9329ac4bc9b5) })
