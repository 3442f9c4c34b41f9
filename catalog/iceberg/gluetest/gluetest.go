// Package gluetest is an AWS Glue Data Catalog in memory behind its HTTP interface (AWS JSON
// 1.1), for tests of what commits to tables through it. It is stricter than a mock: an
// update whose VersionId is not the table's newest is refused, as AWS does, versions
// are archived unless they are skipped and run out, and requests with members it does not
// know are refused. It can fail calls before and after they did their work.
//
// Rules and error shapes are those of the AWS Glue API reference: "Table API", "Database
// API", "Common errors", and the service's quotas.
package gluetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/glue"
)

// Operations that the server knows.
const (
	CreateDatabase   = "CreateDatabase"
	GetDatabase      = "GetDatabase"
	CreateTable      = "CreateTable"
	GetTable         = "GetTable"
	UpdateTable      = "UpdateTable"
	DeleteTable      = "DeleteTable"
	GetTableVersions = "GetTableVersions"
)

// Fault is what one call meets instead of its answer.
type Fault struct {
	// Done says that the operation is carried out before.
	Done bool
	// Code is the exception answered, with Status or 400. When both are zero, the connection
	// is closed without an answer.
	Code   string
	Status int
	// Late is how long after the answer the operation is carried out, when it is not zero.
	Late time.Duration
	// Delay passes first; with neither Code nor Status the call is then answered as ever
	// if Done, and so is only slow.
	Delay time.Duration
}

// Config limits a Server.
type Config struct {
	// MaxVersions is how many archived versions a table may have: AWS's quota of 100,000 when
	// zero.
	MaxVersions int
}

// Server is a Data Catalog. Start makes one.
type Server struct {
	http *httptest.Server
	cfg  Config

	mu        sync.Mutex
	databases map[string]*database
	calls     map[string]int
	faults    map[string]map[int]Fault // by operation and number of the call
	late      []chan struct{}          // closed when a late operation is done
}

// Start starts an empty Data Catalog on the loopback interface. The caller closes it.
func Start(cfg Config) *Server {
	if cfg.MaxVersions == 0 {
		cfg.MaxVersions = 100_000
	}
	s := &Server{cfg: cfg, databases: map[string]*database{}, calls: map[string]int{}, faults: map[string]map[int]Fault{}}
	s.http = httptest.NewServer(s)
	return s
}

// Close ends the server.
func (s *Server) Close() {
	s.http.Close()
	s.Settle()
}

// Settle waits for the operations that are to be carried out late.
func (s *Server) Settle() {
	s.mu.Lock()
	late := s.late
	s.late = nil
	s.mu.Unlock()
	for _, done := range late {
		<-done
	}
}

// URL is the server's endpoint.
func (s *Server) URL() string { return s.http.URL }

// Client returns a real client of the server, with the SDK's own retries.
func (s *Server) Client() *glue.Client {
	return glue.New(glue.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "test", ""),
	})
}

// Inject makes the n-th call of the operation from now, counted from 1, meet the fault.
func (s *Server) Inject(operation string, n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults[operation] == nil {
		s.faults[operation] = map[int]Fault{}
	}
	s.faults[operation][s.calls[operation]+n] = f
}

// Calls is how many calls of the operation there were.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// failure is an error of the service.
type failure struct {
	code, message string
	status        int
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func refuse(code, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...), http.StatusBadRequest}
}

const maxBody = 4 << 20

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation, body, err := read(r)
	if err != nil {
		answer(w, nil, err)
		return
	}
	s.mu.Lock()
	s.calls[operation]++
	fault, isFaulty := s.faults[operation][s.calls[operation]]
	s.mu.Unlock()
	if !isFaulty {
		out, err := s.call(operation, body)
		answer(w, out, err)
		return
	}
	select {
	case <-time.After(fault.Delay):
	case <-r.Context().Done():
	}
	var out any
	if fault.Done {
		out, err = s.call(operation, body)
	}
	if fault.Late > 0 {
		done := make(chan struct{})
		s.mu.Lock()
		s.late = append(s.late, done)
		s.mu.Unlock()
		go func() {
			defer close(done)
			time.Sleep(fault.Late)
			_, _ = s.call(operation, body) // nobody hears of it
		}()
	}
	switch {
	case fault.Code != "" || fault.Status != 0:
		status := fault.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		answer(w, nil, &failure{fault.Code, "injected", status})
	case fault.Done && fault.Delay > 0:
		answer(w, out, err)
	default:
		panic(http.ErrAbortHandler) // closes the connection
	}
}

// read checks the request's form.
func read(r *http.Request) (operation string, body []byte, err error) {
	operation, isGlue := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AWSGlue.")
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/" || !isGlue:
		return "", nil, &failure{"UnknownOperationException", "", http.StatusNotFound}
	case r.Header.Get("Content-Type") != "application/x-amz-json-1.1":
		return "", nil, refuse("SerializationException", "content type")
	case !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=") ||
		!strings.Contains(r.Header.Get("Authorization"), "/glue/aws4_request"):
		return "", nil, refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return "", nil, &failure{"RequestEntityTooLargeException", "", http.StatusRequestEntityTooLarge}
	}
	return operation, body, nil
}

func answer(w http.ResponseWriter, out any, err error) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	var f *failure
	if errors.As(err, &f) {
		w.Header().Set("X-Amzn-ErrorType", f.code)
		w.WriteHeader(f.status)
		out = map[string]string{"__type": f.code, "Message": f.message}
	}
	_ = json.NewEncoder(w).Encode(out) // the client is gone otherwise
}

// call carries an operation out.
func (s *Server) call(operation string, body []byte) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch operation {
	case CreateDatabase:
		return run(body, s.createDatabase)
	case GetDatabase:
		return run(body, s.getDatabase)
	case CreateTable:
		return run(body, s.createTable)
	case GetTable:
		return run(body, s.getTable)
	case UpdateTable:
		return run(body, s.updateTable)
	case DeleteTable:
		return run(body, s.deleteTable)
	case GetTableVersions:
		return run(body, s.getTableVersions)
	}
	return nil, refuse("UnknownOperationException", "%s", operation)
}

func run[In, Out any](body []byte, operation func(In) (Out, error)) (any, error) {
	var in In
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, refuse("SerializationException", "%v", err)
	}
	return operation(in)
}
