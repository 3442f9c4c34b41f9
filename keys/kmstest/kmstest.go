// Package kmstest is an AWS Key Management Service for tests: an HTTP handler that speaks the
// JSON 1.1 protocol (targets TrentService.*) and is strict where the service's API reference
// and developer guide are: signatures, principals, key policies and grants, key states, the
// encryption context, multi-region keys, limits. Names and errors are the API reference's.
//
// It serves every region: a request is of the region its signature names, as a host name
// would say it of the real service. Keys live in memory. It is no evidence for the service's
// cryptography, IAM's full policy language, nor for the delay with which the service learns
// of new grants and policies (here none).
package kmstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// Account is that of every key.
const Account = "111122223333"

// Principal is who may sign requests.
type Principal struct {
	ARN    string // such as arn:aws:iam::111122223333:role/worker
	Secret string // secret access key
	// IAM are the actions that the account's own policies allow the principal: names such as
	// "kms:Decrypt", or "kms:*". They count for keys whose policy delegates to the account,
	// which the default key policy does.
	IAM []string
}

// Config sets a server up.
type Config struct {
	// Principals by access key id, required.
	Principals map[string]Principal
	// Now is the server's clock; default time.Now. Deletions happen by it.
	Now func() time.Time
}

// Fault is what a call meets instead of being carried out.
type Fault struct {
	Code   string        // such as "ThrottlingException"; empty: the connection is closed
	Status int           // default 400
	Done   bool          // the call is carried out before
	Delay  time.Duration // before the answer, or until the client is gone
}

// Server implements http.Handler. It is safe for concurrent use.
type Server struct {
	cfg Config

	mu       sync.Mutex
	regions  map[string]*region
	material map[string]*material // by key id, which the regions of a multi-region key share
	calls    map[string]int
	faults   map[string][]Fault
	sequence int
}

type region struct {
	name    string
	keys    map[string]*key
	aliases map[string]string // name to key id
}

// New returns a server without keys.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Server{
		cfg: cfg, regions: map[string]*region{}, material: map[string]*material{},
		calls: map[string]int{}, faults: map[string][]Fault{},
	}
}

// Client returns a client of a region that reaches the server at url as the principal with
// the access key id.
func (s *Server) Client(url, regionName, accessKeyID string) *kms.Client {
	return kms.New(kms.Options{
		Region: regionName, BaseEndpoint: aws.String(url),
		Credentials: credentials.NewStaticCredentialsProvider(accessKeyID, s.cfg.Principals[accessKeyID].Secret, ""),
	})
}

// Calls is how often the operation was called, refused and faulty calls included.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// Fail lets the next n calls of the operation meet the fault.
func (s *Server) Fail(operation string, n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.faults[operation] = append(s.faults[operation], f)
	}
}

// Throttle refuses the next n calls of the operation as over the quota.
func (s *Server) Throttle(operation string, n int) {
	s.Fail(operation, n, Fault{Code: "ThrottlingException"})
}

// Heal takes back the faults that are still due.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// failure is an error of the API.
type failure struct {
	code, message string
	status        int
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func refuse(code, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...), http.StatusBadRequest}
}

// caller is who calls, where.
type caller struct {
	principal Principal
	region    *region
}

// maxBody is far above what any operation takes: 6,144 bytes of ciphertext, a policy of 32 KiB.
const maxBody = 256 << 10

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.sequence++
	w.Header().Set("X-Amzn-Requestid", fmt.Sprintf("00000000-0000-4000-8000-%012d", s.sequence))
	s.mu.Unlock()
	operation, isKMS := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	if r.Method != http.MethodPost || r.URL.Path != "/" || !isKMS || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		answer(w, nil, &failure{"UnknownOperationException", "", http.StatusNotFound})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		answer(w, nil, &failure{"RequestEntityTooLargeException", "", http.StatusRequestEntityTooLarge})
		return
	}
	principal, regionName, err := s.authenticate(r, body)
	if err != nil {
		answer(w, nil, err)
		return
	}

	s.mu.Lock()
	s.calls[operation]++
	var fault *Fault
	if due := s.faults[operation]; len(due) > 0 {
		fault, s.faults[operation] = &due[0], due[1:]
	}
	s.mu.Unlock()
	if fault == nil {
		out, err := s.call(principal, regionName, operation, body)
		answer(w, out, err)
		return
	}
	if fault.Done {
		_, _ = s.call(principal, regionName, operation, body) // nobody hears of it
	}
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
		}
	}
	if fault.Code == "" {
		panic(http.ErrAbortHandler) // closes the connection
	}
	status := fault.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	answer(w, nil, &failure{fault.Code, "injected", status})
}

func answer(w http.ResponseWriter, out any, err error) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err != nil {
		f := &failure{"KMSInternalException", err.Error(), http.StatusInternalServerError}
		errors.As(err, &f)
		w.WriteHeader(f.status)
		out = map[string]string{"__type": f.code, "message": f.message}
	}
	if out == nil {
		return // operations without a result answer with nothing
	}
	_ = json.NewEncoder(w).Encode(out) // the client is gone otherwise
}

// call carries an operation out.
func (s *Server) call(p Principal, regionName, operation string, body []byte) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.regions[regionName]
	if r == nil {
		r = &region{name: regionName, keys: map[string]*key{}, aliases: map[string]string{}}
		s.regions[regionName] = r
	}
	c := caller{p, r}
	s.expire()
	switch operation {
	case "CreateKey":
		return run(c, body, s.createKey)
	case "DescribeKey":
		return run(c, body, s.describeKey)
	case "EnableKey":
		return run(c, body, s.enableKey)
	case "DisableKey":
		return run(c, body, s.disableKey)
	case "ScheduleKeyDeletion":
		return run(c, body, s.scheduleKeyDeletion)
	case "CancelKeyDeletion":
		return run(c, body, s.cancelKeyDeletion)
	case "ReplicateKey":
		return run(c, body, s.replicateKey)
	case "EnableKeyRotation":
		return run(c, body, s.enableKeyRotation)
	case "DisableKeyRotation":
		return run(c, body, s.disableKeyRotation)
	case "GetKeyRotationStatus":
		return run(c, body, s.getKeyRotationStatus)
	case "RotateKeyOnDemand":
		return run(c, body, s.rotateKeyOnDemand)
	case "TagResource":
		return run(c, body, s.tagResource)
	case "ListResourceTags":
		return run(c, body, s.listResourceTags)
	case "PutKeyPolicy":
		return run(c, body, s.putKeyPolicy)
	case "GetKeyPolicy":
		return run(c, body, s.getKeyPolicy)
	case "CreateAlias":
		return run(c, body, s.createAlias)
	case "DeleteAlias":
		return run(c, body, s.deleteAlias)
	case "ListAliases":
		return run(c, body, s.listAliases)
	case "ListKeys":
		return run(c, body, s.listKeys)
	case "CreateGrant":
		return run(c, body, s.createGrant)
	case "ListGrants":
		return run(c, body, s.listGrants)
	case "RevokeGrant":
		return run(c, body, s.revokeGrant)
	case "RetireGrant":
		return run(c, body, s.retireGrant)
	case "Encrypt":
		return run(c, body, s.encrypt)
	case "Decrypt":
		return run(c, body, s.decrypt)
	case "ReEncrypt":
		return run(c, body, s.reEncrypt)
	case "GenerateDataKey":
		return run(c, body, s.generateDataKey)
	case "GenerateDataKeyWithoutPlaintext":
		return run(c, body, s.generateDataKeyWithoutPlaintext)
	case "GenerateMac":
		return run(c, body, s.generateMac)
	case "VerifyMac":
		return run(c, body, s.verifyMac)
	}
	return nil, &failure{"UnknownOperationException", operation, http.StatusNotFound}
}

func run[In, Out any](c caller, body []byte, operation func(caller, In) (Out, error)) (any, error) {
	var in In
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, refuse("SerializationException", "%v", err)
	}
	out, err := operation(c, in)
	if err != nil {
		return nil, err
	}
	if _, isNothing := any(out).(nothing); isNothing {
		return nil, nil
	}
	return out, nil
}

// nothing is the result of operations that have none.
type nothing struct{}

func (s *Server) now() time.Time { return s.cfg.Now().UTC() }

// seconds is a time as the protocol writes it.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
