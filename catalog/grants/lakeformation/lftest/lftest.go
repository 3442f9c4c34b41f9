// Package lftest is the part of AWS that decides who reads a lake, for tests: Lake Formation
// (REST and JSON 1.1), IAM (Query and XML) and the grants of KMS (JSON 1.1) behind one
// address. It is strict where the services' API references are: members, names, limits,
// versions, pages, principals that must exist, signatures (AWS Signature Version 4). What it
// does not know it refuses. [Server.Sees] tells which cells a role can read by what was set up.
//
// It is no evidence for the services' consistency, which here is immediate, nor for how
// engines apply filters: a cell is taken to be given if any filter gives it (Glue API
// reference, GetUnfilteredTableMetadata: CellFilters).
package lftest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lakeformation"

	"github.com/cardlake/cardlake"
)

// AccessKey and Secret sign requests of the one administrator that the server knows.
const (
	AccessKey = "AKIDEXAMPLE"
	Secret    = "of-a-test"
)

// Config is what there is besides what the services are told.
type Config struct {
	Account, Region string
	// Bucket and Prefix are where the objects of Tables lie.
	Bucket, Prefix string
	// Tables are those in Glue.
	Tables []*cardlake.Table
	// Keys are the ARNs of the KMS keys.
	Keys []string
	// KeyOf returns the key under which a tenant's objects lie, and those of no tenant; empty
	// for objects that anybody decrypts who reads them.
	KeyOf func(cardlake.Tenant) string
	// ObjectContext says that KMS sees an object's own encryption context, as
	// lakeformation.Mapping has it, with what OwnerOf returns.
	ObjectContext bool
	OwnerOf       func(cardlake.Tenant) string
	// Roles are the ARNs of the roles that there are.
	Roles []string
	// Page is how many entries a page has at most; default 3, so that lists have several.
	Page int
}

// Fault is what a call meets.
type Fault struct {
	// Done says that the call is carried out, though nobody hears of it.
	Done bool
	// Code and Status are answered; without a code the connection is closed.
	Code   string
	Status int
}

// Server is the three services. Start makes one.
type Server struct {
	cfg  Config
	http *httptest.Server

	mu     sync.Mutex
	lf     lakeFormation
	iam    identities
	kms    encryption
	writes int
	fault  map[int]Fault // by number of the call that writes
	after  func(operation string)
	calls  map[string]int
	tokens map[string]int // offset by token
}

// Start starts the services on the loopback interface. The caller closes them.
func Start(cfg Config) *Server {
	if cfg.Page == 0 {
		cfg.Page = 3
	}
	s := &Server{cfg: cfg, fault: map[int]Fault{}, calls: map[string]int{}, tokens: map[string]int{}}
	s.lf = newLakeFormation()
	s.iam = newIdentities(cfg.Roles)
	s.kms = newEncryption(cfg.Keys)
	s.http = httptest.NewServer(s)
	return s
}

// Close ends the services.
func (s *Server) Close() { s.http.Close() }

// URL is the endpoint of all three.
func (s *Server) URL() string { return s.http.URL }

// Clients returns real clients, with the SDK's own retries and no pauses between them.
func (s *Server) Clients() (*lakeformation.Client, *iam.Client, *kms.Client) {
	keys := credentials.NewStaticCredentialsProvider(AccessKey, Secret, "")
	at := aws.String(s.URL())
	again := func() aws.Retryer { return retrier() }
	return lakeformation.New(lakeformation.Options{Region: s.cfg.Region, BaseEndpoint: at, Credentials: keys, Retryer: again()}),
		iam.New(iam.Options{Region: s.cfg.Region, BaseEndpoint: at, Credentials: keys, Retryer: again()}),
		kms.New(kms.Options{Region: s.cfg.Region, BaseEndpoint: at, Credentials: keys, Retryer: again()})
}

// Writes is how many calls there were that change something.
func (s *Server) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Calls is how often the operation was called.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// FailWrite lets the n-th call from now that changes something, counted from 1, meet the fault.
func (s *Server) FailWrite(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault[s.writes+n] = f
}

// Heal takes back the faults that are still due.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.fault)
}

// AfterWrite has f called after each call that changed something, before it is answered, with
// the name of the operation. f may ask the server what a role sees.
func (s *Server) AfterWrite(f func(operation string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = f
}

// failure is an error of a service.
type failure struct {
	code, message string
	status        int
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func refuse(code, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...), http.StatusBadRequest}
}

const maxBody = 1 << 20

// service is how one of the services speaks.
type service struct {
	name   string
	call   func(operation string, body []byte) (any, error)
	answer func(w http.ResponseWriter, operation string, out any, err error)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var to service
	var operation string
	switch target, isKMS := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService."); {
	case isKMS && r.Header.Get("Content-Type") == "application/x-amz-json-1.1":
		to, operation = service{"kms", s.callKMS, answerJSON}, target
	case r.Header.Get("Content-Type") == "application/x-www-form-urlencoded":
		to, operation = service{"iam", s.callIAM, answerXML}, formAction(body)
	default:
		to, operation = service{"lakeformation", s.callLakeFormation, answerREST}, strings.TrimPrefix(r.URL.Path, "/")
	}
	if err := authenticate(r, body, to.name); err != nil {
		to.answer(w, operation, nil, err)
		return
	}
	s.serve(w, to, operation, body)
}

func (s *Server) serve(w http.ResponseWriter, to service, operation string, body []byte) {
	isWrite := !strings.HasPrefix(operation, "Get") && !strings.HasPrefix(operation, "List") && !strings.HasPrefix(operation, "Describe")
	s.mu.Lock()
	s.calls[operation]++
	var fault Fault
	isFaulty := false
	if isWrite {
		s.writes++
		fault, isFaulty = s.fault[s.writes]
	}
	var out any
	var err error
	if !isFaulty || fault.Done {
		out, err = to.call(operation, body)
	}
	after := s.after
	s.mu.Unlock()
	if isWrite && after != nil && err == nil && (!isFaulty || fault.Done) {
		after(operation)
	}
	switch {
	case isFaulty && fault.Code == "":
		panic(http.ErrAbortHandler) // closes the connection
	case isFaulty:
		status := fault.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		to.answer(w, operation, nil, &failure{fault.Code, "injected", status})
	default:
		to.answer(w, operation, out, err)
	}
}

// maxSkew is how far the clocks may be apart (AWS Signature Version 4).
const maxSkew = 5 * time.Minute

// authenticate checks the signature by making it again.
func authenticate(r *http.Request, body []byte, name string) error {
	fields, isSigned := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !isSigned {
		return &failure{"MissingAuthenticationToken", "Missing Authentication Token", http.StatusForbidden}
	}
	parts := map[string]string{}
	for field := range strings.SplitSeq(fields, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		parts[key] = value
	}
	scope := strings.Split(parts["Credential"], "/") // id, date, region, service, aws4_request
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if len(scope) != 5 || scope[3] != name || scope[4] != "aws4_request" || err != nil || scope[1] != at.Format("20060102") {
		return &failure{"IncompleteSignature", "credential scope or date", http.StatusForbidden}
	}
	if scope[0] != AccessKey {
		return &failure{"InvalidClientTokenId", "The security token included in the request is invalid.", http.StatusForbidden}
	}
	if skew := time.Since(at); skew > maxSkew || skew < -maxSkew {
		return &failure{"SignatureDoesNotMatch", "Signature expired", http.StatusForbidden}
	}
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), nil)
	if err != nil {
		return &failure{"IncompleteSignature", err.Error(), http.StatusForbidden}
	}
	again.ContentLength = r.ContentLength
	signed := strings.Split(parts["SignedHeaders"], ";")
	if !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-date") {
		return &failure{"SignatureDoesNotMatch", "host and x-amz-date must be signed", http.StatusForbidden}
	}
	for _, header := range signed {
		if values := r.Header.Values(header); len(values) > 0 {
			again.Header[http.CanonicalHeaderKey(header)] = values
		}
	}
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: AccessKey, SecretAccessKey: Secret}, again, hex.EncodeToString(sum[:]), name, scope[2], at)
	if err != nil || subtle.ConstantTimeCompare([]byte(again.Header.Get("Authorization")), []byte(r.Header.Get("Authorization"))) != 1 {
		return &failure{"SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.", http.StatusForbidden}
	}
	return nil
}

// page cuts a list. Tokens are good for the next page only.
func page[T any](s *Server, all []T, limit int, token string) ([]T, string, error) {
	from := 0
	if token != "" {
		at, ok := s.tokens[token]
		if !ok || at > len(all) {
			return nil, "", errBadToken
		}
		delete(s.tokens, token)
		from = at
	}
	if limit == 0 || limit > s.cfg.Page {
		limit = s.cfg.Page
	}
	all = all[from:]
	if len(all) <= limit {
		return all, "", nil
	}
	next := "token-" + strconv.Itoa(len(s.tokens)+s.calls["page"]) + "-" + strconv.Itoa(from+limit)
	s.calls["page"]++
	s.tokens[next] = from + limit
	return all[:limit], next, nil
}

var errBadToken = errors.New("token")
