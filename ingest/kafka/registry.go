package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/sr"
)

// RegistryConfig says where a schema registry with Confluent's interface is.
type RegistryConfig struct {
	URLs []string    // required; http for loopback only
	TLS  *tls.Config // nil: the system's authorities
	// User and Password are of HTTP's Basic scheme, over TLS only; both empty: none.
	User     string
	Password Secret
	Timeout  time.Duration // of one request; default 10 s
}

// Validate reports every fault of the configuration at once. It reads no file.
func (c RegistryConfig) Validate() error {
	var errs []error
	if len(c.URLs) == 0 {
		errs = append(errs, errors.New("schema registry: a URL is needed"))
	}
	for i, text := range c.URLs {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			errs = append(errs, fmt.Errorf("schema registry: URL %d is not one of http or https", i+1))
		case u.User != nil:
			errs = append(errs, fmt.Errorf("schema registry: URL %d holds credentials: give user and password apart", i+1))
		case u.Scheme == "http" && !isLoopback(u.Hostname()):
			errs = append(errs, fmt.Errorf("schema registry: %s is not on this machine: https is needed", u.Host))
		case u.Scheme == "http" && c.User != "":
			errs = append(errs, fmt.Errorf("schema registry: a password for %s needs https", u.Host))
		}
	}
	if (c.User == "") != (c.Password == "") {
		errs = append(errs, errors.New("schema registry: user and password go together"))
	}
	if c.Password != "" {
		if err := c.Password.fault(); err != nil {
			errs = append(errs, fmt.Errorf("schema registry: password: %w", err))
		}
	}
	return errors.Join(errs...)
}

// ErrIncompatible says that a schema cannot read what the subject's newest one wrote.
var ErrIncompatible = errors.New("schema is not backward compatible")

// Registry resolves the schema ids that records carry in Confluent's framing (Confluent
// documentation, "Wire format"), and registers schemas. It is safe for concurrent use.
type Registry struct {
	client *sr.Client
}

// NewRegistry returns a registry's client.
func NewRegistry(cfg RegistryConfig) (*Registry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{}
	if cfg.TLS != nil {
		transport.TLSClientConfig = cfg.TLS.Clone()
	}
	transport.TLSClientConfig.MinVersion = max(transport.TLSClientConfig.MinVersion, tls.VersionTLS12)
	client, err := sr.NewClient(
		sr.URLs(cfg.URLs...),
		sr.UserAgent("cardlake"),
		sr.HTTPClient(&http.Client{Transport: transport, Timeout: cfg.Timeout}),
		sr.PreReq(func(req *http.Request) error {
			if cfg.User == "" {
				return nil
			}
			password, err := cfg.Password.Read()
			req.SetBasicAuth(cfg.User, password)
			return err
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("schema registry: %w", err)
	}
	return &Registry{client}, nil
}

// Versions returns the ids under which the subject has schemas that this program knows, with
// the version of each: what ingest.Config takes as SchemaVersions. known has the text of
// each version. Schemas are the same if their Avro fingerprints are (specification 1.12,
// "Schema Fingerprints"): names, types and order, not documentation. Ids of other schemas
// are left out, so that their records are kept as rejected; none at all is an error, because
// every record would be.
func (r *Registry) Versions(ctx context.Context, subject string, known map[int]string) (map[uint32]int, error) {
	versionOf := map[[32]byte]int{}
	for version, text := range known {
		schema, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("schema version %d: %w", version, err)
		}
		versionOf[schema.Fingerprint()] = version
	}
	// A schema that was deleted is still on the stream.
	registered, err := r.client.Schemas(sr.WithParams(ctx, sr.ShowDeleted), subject)
	if err != nil {
		return nil, fmt.Errorf("schema registry: schemas of %s: %w", subject, err)
	}
	ids := map[uint32]int{}
	for _, s := range registered {
		if s.Type != sr.TypeAvro {
			continue
		}
		schema, err := parse(s.Schema.Schema)
		if err != nil {
			continue // of a kind that this program cannot know
		}
		if version, ok := versionOf[schema.Fingerprint()]; ok {
			ids[uint32(s.ID)] = version
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("schema registry: subject %s has no schema of this program", subject)
	}
	return ids, nil
}

// Register makes the schema the subject's newest and returns its id. A schema that the
// subject has is not registered again. Before, the subject is held to BACKWARD
// compatibility, and a schema that breaks it gives ErrIncompatible.
func (r *Registry) Register(ctx context.Context, subject, text string) (id uint32, err error) {
	reader, err := parse(text)
	if err != nil {
		return 0, err
	}
	schema := sr.Schema{Schema: text, Type: sr.TypeAvro}
	found, err := r.client.LookupSchema(ctx, subject, schema)
	if err == nil {
		return uint32(found.ID), nil
	}
	if !isNotFound(err) {
		return 0, fmt.Errorf("schema registry: look up in %s: %w", subject, err)
	}
	for _, set := range r.client.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatBackward}, subject) {
		if set.Err != nil {
			return 0, fmt.Errorf("schema registry: hold %s to BACKWARD: %w", subject, set.Err)
		}
	}
	const newest = -1
	writer, err := r.client.SchemaByVersion(ctx, subject, newest)
	switch {
	case isNotFound(err): // the first schema has nothing to be compatible with
	case err != nil:
		return 0, fmt.Errorf("schema registry: newest schema of %s: %w", subject, err)
	default:
		if err := readable(reader, writer.Schema.Schema); err != nil {
			return 0, fmt.Errorf("schema registry: %s, against version %d: %w", subject, writer.Version, err)
		}
	}
	// The registry checks too, in one step with the registration.
	n, err := r.client.RegisterSchema(ctx, subject, schema, -1, -1)
	var refused *sr.ResponseError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusConflict {
		return 0, fmt.Errorf("schema registry: %s: %w", subject, ErrIncompatible)
	}
	if err != nil {
		return 0, fmt.Errorf("schema registry: register in %s: %w", subject, err)
	}
	return uint32(n), nil
}

// readable reports, as ErrIncompatible, why reader cannot read what was written with the
// schema of the text (Avro specification 1.12, "Schema Resolution").
func readable(reader avro.Schema, text string) error {
	writer, err := parse(text)
	if err != nil {
		return err
	}
	if err := avro.NewSchemaCompatibility().Compatible(reader, writer); err != nil {
		return fmt.Errorf("%w: %w", ErrIncompatible, err)
	}
	return nil
}

// parse parses without the library's process-wide cache of names, in which the versions of
// one schema would collide.
func parse(text string) (avro.Schema, error) {
	schema, err := avro.ParseWithCache(text, "", &avro.SchemaCache{})
	if err != nil {
		return nil, fmt.Errorf("parse Avro schema: %w", err)
	}
	return schema, nil
}

// isNotFound reports whether subject, version or schema are not there.
func isNotFound(err error) bool {
	var failed *sr.ResponseError
	return errors.As(err, &failed) && failed.StatusCode == http.StatusNotFound
}
