package s3_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
	"github.com/cardlake/cardlake/writers/objects/s3"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

// keyARNs is an s3.Keys.
type keyARNs map[keys.Owner]string

func (k keyARNs) KeyOf(o keys.Owner) (string, error) {
	arn, ok := k[o]
	if !ok {
		return "", keys.ErrNoKey
	}
	return arn, nil
}

const owner = objectstest.Owner

// lake is a bucket of a server and the keys of the suite's owners.
type lake struct {
	*s3test.Server
	bucket string
	keys   keyARNs
}

func newLake(tb testing.TB, server *s3test.Server) lake {
	server.Requests() // those of the tests before
	return lake{server, server.Bucket(tb), keyARNs{owner: server.KMS.Create(), objectstest.OtherOwner: server.KMS.Create()}}
}

// store returns a store in the bucket.
func (l lake) store(tb testing.TB, change func(*s3.Config)) *s3.Store {
	tb.Helper()
	cfg := s3.Config{
		Bucket: l.bucket, Region: s3test.Region, Endpoint: l.Endpoint, PathStyle: true,
		RootCAs: l.RootCAs, Credentials: l.Credentials, Backoff: time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := s3.New(l.keys, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestConforms(t *testing.T) {
	server := s3test.Start(t, s3test.Config{PageSize: 3})
	for name, change := range map[string]func(*s3.Config){
		"Defaults":     nil,
		"InParts":      func(c *s3.Config) { c.MultipartSize = 1; c.PartSize = 5 << 20 },
		"SmallWindows": func(c *s3.Config) { c.Window = 50_000; c.Parallel = 3 },
		"InFolder":     func(c *s3.Config) { c.Prefix = "some/folder" },
	} {
		t.Run(name, func(t *testing.T) {
			objectstest.Run(t, func(t *testing.T) objects.Store { return newLake(t, server).store(t, change) })
		})
	}
}

func TestConformsOverTLS(t *testing.T) {
	server := s3test.Start(t, s3test.Config{TLS: true})
	objectstest.Run(t, func(t *testing.T) objects.Store { return newLake(t, server).store(t, nil) })
	l := newLake(t, server)
	if err := l.store(t, func(c *s3.Config) { c.RootCAs = nil }).Put(t.Context(), "x", owner, nil); err == nil {
		t.Error("a service with an unknown certificate was trusted")
	}
}

// Whatever step goes wrong in whatever way, the contract holds.
func TestFaults(t *testing.T) {
	server := s3test.Start(t, s3test.Config{PageSize: 1})
	for shape, change := range map[string]func(*s3.Config){
		"Whole":   func(c *s3.Config) { c.Attempts = 1 },
		"InParts": func(c *s3.Config) { inParts(c); c.Attempts, c.Window = 2, 60_000 },
	} {
		for _, kind := range []s3test.Kind{
			s3test.Error, s3test.SlowDown, s3test.Conflict, s3test.Reset, s3test.ErrorAfter, s3test.ResetAfter, s3test.TruncatedBody,
		} {
			t.Run(shape+"/"+kind.String(), func(t *testing.T) {
				objectstest.RunFaults(t, func(t *testing.T) objectstest.Faulty {
					l := newLake(t, server)
					var happened func() int
					return objectstest.Faulty{
						Store: l.store(t, change),
						Fail:  func(n int) { happened = l.Inject(s3test.Fault{Skip: n, Kind: kind}) },
						Failed: func() bool {
							l.Heal()
							return happened() > 0
						},
					}
				})
			})
		}
	}
}

// Each request has its time: what the service did meanwhile counts, what it began to say is
// asked again.
func TestTimeouts(t *testing.T) {
	l := newLake(t, s3test.Start(t, s3test.Config{}))
	s := l.store(t, func(c *s3.Config) { c.Timeout = 500 * time.Millisecond })
	l.Inject(s3test.Fault{Operation: "PutObject", Kind: s3test.StallAfter})
	mustPut(t, s, "x", []byte("own"))
	l.Inject(s3test.Fault{Operation: "GetObject", Kind: s3test.SlowBody})
	if got, err := objects.ReadAll(t.Context(), s, "x"); string(got) != "own" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	l.Inject(s3test.Fault{Operation: "PutObject", Kind: s3test.Stall})
	err := s.Put(t.Context(), "y", owner, nil)
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put: %v, want a time-out that is not the caller's", err)
	}
}

// Nothing is written to the network and no file is read before the first use.
func TestConfig(t *testing.T) {
	good := s3.Config{Bucket: "lake"}
	if _, err := s3.New(keyARNs{}, good); err != nil {
		t.Errorf("New: %v", err)
	}
	for what, change := range map[string]func(*s3.Config){
		"Bucket":          func(c *s3.Config) { c.Bucket = "" },
		"Bucket is":       func(c *s3.Config) { c.Bucket = "a/b" },
		"Prefix":          func(c *s3.Config) { c.Prefix = "a/" },
		"Endpoint":        func(c *s3.Config) { c.Endpoint = "http://192.0.2.1" },
		"Endpoint:":       func(c *s3.Config) { c.Endpoint = "http://localhost.example.com:9000" },
		"Endpoint is not": func(c *s3.Config) { c.Endpoint = "localhost" },
		"PartSize":        func(c *s3.Config) { c.PartSize = 5<<20 - 1 },
		"MultipartSize":   func(c *s3.Config) { c.MultipartSize = 5<<30 + 1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := s3.New(keyARNs{}, cfg); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	err := s3.Config{Bucket: "x", Prefix: "/", Endpoint: "ftp://localhost"}.Validate()
	for _, field := range []string{"Bucket", "Prefix", "Endpoint"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("Validate does not report %s: %v", field, err)
		}
	}
	for _, endpoint := range []string{"http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://s3.example.com"} {
		if err := (s3.Config{Bucket: "lake", Endpoint: endpoint}).Validate(); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// An endpoint of the environment cannot make the store send in clear what leaves the machine.
func TestEnvironmentCannotSendInClear(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://192.0.2.1")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	s, err := s3.New(keyARNs{owner: "key"}, s3.Config{
		Bucket: "lake", Region: s3test.Region, Attempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "synthetic-secret", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "x", owner, nil); err == nil || !strings.Contains(err.Error(), "only https") {
		t.Errorf("Put: %v", err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	s, err := s3.New(keyARNs{}, s3.Config{
		Bucket: "lake", Region: s3test.Region, Endpoint: server.URL, PathStyle: true, RootCAs: roots, Attempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "synthetic-secret", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("Open: %v, want a refused protocol version", err)
	}
}
