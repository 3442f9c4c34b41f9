// Package s3test runs an S3 service for tests: versitygw with its POSIX backend, which knows
// buckets, conditions, listings and multipart uploads but silently ignores encryption, and
// in front of it a layer that behaves as Amazon S3 does with SSE-KMS. The layer
//
//   - verifies Signature Version 4 and the payload hash of every request;
//   - lets further access keys read under some prefixes and with some keys only ([Server.Admit]);
//   - refuses, as a bucket policy would, what is put without aws:kms and a key's name, and a
//     key that [Server.RequireKey] does not allow for the name;
//   - encrypts contents under KMS keys that it keeps itself: a disabled or deleted key makes
//     puts and reads fail with the error that S3 passes on;
//   - verifies, keeps and returns CRC64NVME checksums;
//   - keeps versions and delete markers in buckets that are to have them, makes the version
//     before current again when a current one is removed, and refuses to remove what Object
//     Lock protects ([Server.VersionedBucket], [Server.LockedBucket]);
//   - fails requests as [Server.Inject] says;
//   - records what was asked ([Server.Requests]).
//
// It proves what a client asks and how it takes the answers. It is no evidence for what
// Amazon's service does beyond its documentation, nor for IAM, key policies and grants.
package s3test

import (
	"context"
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// Region is the one that the service is in.
const Region = "us-east-1"

// Config tunes a [Server].
type Config struct {
	// TLS serves https with a certificate that [Server.RootCAs] verify.
	TLS bool
	// PageSize is the most objects in one answer of a listing. Default 1000.
	PageSize int
}

// Server is a running service. The fields do not change.
type Server struct {
	Endpoint    string
	Credentials aws.CredentialsProvider
	RootCAs     *x509.CertPool // nil without TLS
	KMS         *KMS

	gateway  *http.Transport // to versitygw's socket
	pageSize int

	mu       sync.Mutex
	buckets  int
	contents map[string]*content // by the id in an object's metadata
	current  map[string]*content // by bucket/key, for listings
	uploads  map[string]*upload  // by upload id
	rules    []rule
	readers  []reader
	faults   []*fault
	requests []*Request

	versions  sync.Mutex // held by what changes a bucket with versions; taken before mu
	versioned map[string]*versioned
	ahead     time.Duration // of the clock that judges locks
	failing   int           // keys of DeleteObjects
	unlocked  bool          // locks are ignored
}

type rule struct{ bucket, prefix, key string }

// Start runs the service until the test ends. A process can have one at a time: versitygw
// keeps global state, and its backend makes the store the process's working directory.
func Start(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	back, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	// Not tb.TempDir: a socket's path must be short.
	dir, err := os.MkdirTemp("", "s3test")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"data", "meta"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	backend, err := newBackend(filepath.Join(dir, "data"), filepath.Join(dir, "meta"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.Chdir(back) })

	socket := filepath.Join(dir, "gw")
	s := &Server{
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "synthetic-secret", ""),
		KMS:         newKMS(),
		pageSize:    cfg.PageSize,
		gateway: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
			MaxIdleConnsPerHost: 64,
		},
		contents: map[string]*content{}, current: map[string]*content{}, uploads: map[string]*upload{},
		versioned: map[string]*versioned{},
	}
	root, _ := s.Credentials.Retrieve(context.Background())
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() {
		stopped <- embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
			RootUserAccess: root.AccessKeyID, RootUserSecret: root.SecretAccessKey, Region: Region,
			// What it would make itself, but it would tell on the standard output.
			IAMService: auth.NewIAMServiceSingle(auth.Account{
				Access: root.AccessKeyID, Secret: root.SecretAccessKey, Role: auth.RoleAdmin,
			}),
			Ports: []string{socket}, MaxConnections: 1024, MaxRequests: 512, MultipartMaxParts: 10_000,
			KeepAlive: true, Quiet: true, DisableACLs: true, SocketPerm: "0600",
		})
	}()
	tb.Cleanup(func() {
		s.gateway.CloseIdleConnections()
		stop()
		<-stopped
	})
	for start := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case err := <-stopped:
			stopped <- err
			tb.Fatalf("versitygw: %v", err)
		default:
		}
		if time.Since(start) > 10*time.Second {
			tb.Fatalf("versitygw does not listen: %v", err)
		}
	}

	front := httptest.NewUnstartedServer(s)
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that a test wants to fail
	if cfg.TLS {
		front.StartTLS()
		s.RootCAs = x509.NewCertPool()
		s.RootCAs.AddCert(front.Certificate())
	} else {
		front.Start()
	}
	tb.Cleanup(front.Close)
	s.Endpoint = front.URL
	return s
}

// newBackend keeps objects in the folder data, and what belongs to them in extended
// attributes, where they appear together; a file system without those needs the folder
// beside, in which they appear one after the other.
func newBackend(data, beside string) (*posix.Posix, error) {
	if (meta.XattrMeta{}).Test(data) == nil {
		return posix.New(data, meta.XattrMeta{}, posix.PosixOpts{})
	}
	attributes, err := meta.NewSideCar(beside)
	if err != nil {
		return nil, err
	}
	return posix.New(data, attributes, posix.PosixOpts{SideCarDir: beside})
}

// Bucket makes a new, empty bucket.
func (s *Server) Bucket(tb testing.TB) string {
	tb.Helper()
	s.mu.Lock()
	s.buckets++
	name := fmt.Sprintf("lake-%d", s.buckets)
	s.mu.Unlock()
	a, err := s.forward(context.Background(), http.MethodPut, "/"+name, "", nil, nil)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", a.status, a.body)
	}
	if err != nil {
		tb.Fatalf("make a bucket: %v", err)
	}
	return name
}

// RequireKey lets only the key encrypt what is put into the bucket under names that begin
// with the prefix, as a bucket policy of that path does.
func (s *Server) RequireKey(bucket, prefix, keyARN string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, rule{bucket, prefix, keyARN})
}

// Uploads returns the number of multipart uploads of the bucket that were begun and neither
// completed nor aborted.
func (s *Server) Uploads(bucket string) (int, error) {
	a, err := s.forward(context.Background(), http.MethodGet, "/"+bucket, "uploads=", nil, nil)
	if err != nil {
		return 0, err
	}
	var list struct {
		Upload []struct{} `xml:"Upload"`
	}
	if a.status != http.StatusOK {
		return 0, fmt.Errorf("list uploads: status %d", a.status)
	}
	err = xml.Unmarshal(a.body, &list)
	return len(list.Upload), err
}

// Stored returns the bytes that lie at rest for the object.
func (s *Server) Stored(bucket, key string) ([]byte, error) {
	a, err := s.forward(context.Background(), http.MethodGet, "/"+bucket+"/"+key, "", nil, nil)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("status %d", a.status)
	}
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// Request is one that a client made.
type Request struct {
	Operation   string // the API's name: PutObject, …
	Bucket, Key string
	Header      http.Header
	Context     map[string]string // the KMS encryption context
	Status      int               // of the answer, 0 if there was none or not yet
}

// Requests returns what was asked since the last call.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := make([]Request, len(s.requests))
	for i, p := range s.requests {
		r[i] = *p
	}
	s.requests = nil
	return r
}
