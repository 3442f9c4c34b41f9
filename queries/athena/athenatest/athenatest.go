// Package athenatest is an Amazon Athena in memory behind its HTTP interface (AWS JSON 1.1), with
// as much of AWS STS as assumes a role, for tests of what asks it. It runs no SQL: a test says what
// each query string gives. All else is stricter than a mock: requests with members that it does not
// know are refused, a token starts one execution however often it is sent and none with other
// parameters, an execution takes as many looks as the test says, results are not read before it
// has succeeded and lie where the workgroup says, and a workgroup is asked by its own role only.
// Calls can fail before and after they did their work.
//
// Rules and error shapes are those of the Amazon Athena API Reference: StartQueryExecution,
// GetQueryExecution, GetQueryResults, StopQueryExecution, GetWorkGroup, "Common Errors"; and of the
// AWS STS API Reference: AssumeRole.
package athenatest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Operations that the server knows.
const (
	Start   = "StartQueryExecution"
	Look    = "GetQueryExecution"
	Results = "GetQueryResults"
	Stop    = "StopQueryExecution"
	Group   = "GetWorkGroup"
	Assume  = "AssumeRole"
)

// Region is the one that the server is in, and OwnKey the access key of the process itself.
const (
	Region = "us-east-1"
	OwnKey = "AKIDEXAMPLE"
)

// Query is what was asked.
type Query struct {
	SQL, Workgroup, Token string
	Role                  string // that asked; empty for the process itself
	ReuseMinutes          int    // 0 without
}

// Answer is what a query gives.
type Answer struct {
	// Names are the columns', and Rows their values, nil for NULL.
	Names []string
	Rows  [][]*string
	// Files are what an UNLOAD writes.
	Files [][]byte
	// Scanned are the bytes that it scanned, all of them from the first look on, and IsReused says
	// that it scanned nothing anew.
	Scanned  int64
	IsReused bool
	// Looks is how often it is looked at before it ends: queued first, then running. Less than 0
	// never ends it.
	Looks int
	// Failure, if it is not nil, is how it ends.
	Failure *Failure
}

// Failure is how an execution fails.
type Failure struct {
	State    string // FAILED by default, or CANCELLED
	Reason   string // StateChangeReason
	Category int    // 1 system, 2 user, 3 other
	Type     int
	// IsRetryable says that it might succeed if it were started again.
	IsRetryable bool
}

// Settings are those of a workgroup.
type Settings struct {
	// JSON is GetWorkGroup's WorkGroup.
	JSON map[string]any
	// Location is the place for results, as in JSON.
	Location string
	// Role is the one whose workgroup it is; empty for the process itself.
	Role string
}

// Fault is what a call meets instead of its answer.
type Fault struct {
	// Done says that the operation is carried out before.
	Done bool
	// Code is the error answered, with Status or 400. Without a code the connection is closed.
	Code   string
	Status int
	// Meanwhile is called before anything else.
	Meanwhile func()
}

// Execution is one that was started.
type Execution struct {
	Query
	ID, State string

	answer Answer
	looks  int
}

// Server is an Athena.
type Server struct {
	http   *httptest.Server
	answer func(Query) Answer
	put    func(bucket, key string, body []byte) error

	mu         sync.Mutex
	groups     map[string]Settings
	executions []*Execution
	calls      map[string]int
	faults     map[string]map[int]Fault
	roles      map[string]string // by access key
	expired    map[string]bool   // access keys
}

// New starts an Athena on the loopback interface until the test ends. It answers as answer says,
// and puts what executions write by put.
func New(tb testing.TB, answer func(Query) Answer, put func(bucket, key string, body []byte) error) *Server {
	s := &Server{
		answer: answer, put: put, groups: map[string]Settings{}, calls: map[string]int{}, faults: map[string]map[int]Fault{},
		roles: map[string]string{OwnKey: ""}, expired: map[string]bool{},
	}
	s.http = httptest.NewServer(s)
	tb.Cleanup(s.http.Close)
	return s
}

// URL is the server's endpoint, of Athena and of STS.
func (s *Server) URL() string { return s.http.URL }

// Account is the configuration of a client: region and the process's own credentials.
func (s *Server) Account() aws.Config {
	return aws.Config{Region: Region, Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(OwnKey, "synthetic-secret", ""))}
}

// SetWorkgroup makes a workgroup, or changes one.
func (s *Server) SetWorkgroup(name string, w Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[name] = w
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

// Executions are those that were started, in order.
func (s *Server) Executions() []Execution {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Execution, len(s.executions))
	for i, x := range s.executions {
		out[i] = *x
	}
	return out
}

// ExpireRoles makes all credentials that were given for roles so far expired.
func (s *Server) ExpireRoles() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.roles {
		s.expired[key] = key != OwnKey
	}
}

type failure struct {
	code   string
	status int
}

func (f *failure) Error() string { return f.code }

func refuse(code string) error { return &failure{code, http.StatusBadRequest} }

const maxBody = 1 << 20

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		answer(w, "", nil, refuse("RequestEntityTooLargeException"))
		return
	}
	operation, isAthena := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonAthena.")
	if !isAthena && bytes.Contains(body, []byte("Action=AssumeRole&")) {
		operation = Assume
	}
	s.mu.Lock()
	s.calls[operation]++
	fault, isFaulty := s.faults[operation][s.calls[operation]]
	s.mu.Unlock()
	if isFaulty {
		if fault.Meanwhile != nil {
			fault.Meanwhile()
		}
		if fault.Done {
			_, _ = s.call(operation, r, body)
		}
		if fault.Code == "" {
			panic(http.ErrAbortHandler) // closes the connection
		}
		if fault.Status == 0 {
			fault.Status = http.StatusBadRequest
		}
		answer(w, operation, nil, &failure{fault.Code, fault.Status})
		return
	}
	out, err := s.call(operation, r, body)
	answer(w, operation, out, err)
}

// quoted is the message of every error: the real services' may quote what was sent.
const quoted = "quotes 4111 SELECT"

// answer writes JSON, or what STS has instead. That it can't be written means that the client is
// gone.
func answer(w http.ResponseWriter, operation string, out any, err error) {
	var f *failure
	if err != nil && !errors.As(err, &f) {
		f = &failure{"InternalServerException", http.StatusInternalServerError}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if operation == Assume {
		w.Header().Set("Content-Type", "text/xml")
	}
	if f != nil {
		w.Header().Set("X-Amzn-ErrorType", f.code)
		w.WriteHeader(f.status)
		out = map[string]string{"__type": f.code, "Message": quoted}
	}
	switch {
	case operation != Assume:
		_ = json.NewEncoder(w).Encode(out)
	case f != nil:
		_, _ = fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", f.code, quoted)
	default:
		_, _ = io.WriteString(w, out.(string))
	}
}

// signer returns the role that signed for the service.
func (s *Server) signer(r *http.Request, service string) (string, error) {
	credential, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=")
	parts := strings.Split(credential, "/")
	if !ok || len(parts) < 5 || parts[2] != Region || parts[3] != service {
		return "", refuse("MissingAuthenticationTokenException")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	role, ok := s.roles[parts[0]]
	switch {
	case !ok:
		return "", refuse("UnrecognizedClientException")
	case s.expired[parts[0]]:
		return "", refuse("ExpiredTokenException")
	case parts[0] != OwnKey && r.Header.Get("X-Amz-Security-Token") == "":
		return "", refuse("UnrecognizedClientException")
	}
	return role, nil
}

func (s *Server) call(operation string, r *http.Request, body []byte) (any, error) {
	if operation == Assume {
		return s.assume(r, body)
	}
	role, err := s.signer(r, "athena")
	if err != nil {
		return nil, err
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		return nil, refuse("SerializationException")
	}
	switch operation {
	case Start:
		return run(body, func(in startInput) (any, error) { return s.start(role, in) })
	case Look:
		return run(body, func(in idInput) (any, error) { return s.look(role, in) })
	case Results:
		return run(body, func(in resultsInput) (any, error) { return s.results(role, in) })
	case Stop:
		return run(body, func(in idInput) (any, error) { return s.stop(role, in) })
	case Group:
		return run(body, func(in groupInput) (any, error) { return s.group(role, in) })
	}
	return nil, refuse("UnknownOperationException")
}

func run[In any](body []byte, operation func(In) (any, error)) (any, error) {
	var in In
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, refuse("SerializationException")
	}
	return operation(in)
}

// assume gives credentials of a role, new ones each time.
func (s *Server) assume(r *http.Request, body []byte) (any, error) {
	if _, err := s.signer(r, "sts"); err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err := r.ParseForm(); err != nil || r.PostForm.Get("RoleArn") == "" || r.PostForm.Get("RoleSessionName") == "" {
		return nil, refuse("ValidationError")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := "ASIA" + strconv.Itoa(len(s.roles))
	s.roles[key] = r.PostForm.Get("RoleArn")
	return fmt.Sprintf(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>synthetic-secret</SecretAccessKey><SessionToken>session</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
		key, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)), nil
}

// find returns the execution, if it is one of a workgroup of the role.
func (s *Server) find(role, id string) (*Execution, error) {
	i := slices.IndexFunc(s.executions, func(x *Execution) bool { return x.ID == id })
	if i < 0 {
		return nil, refuse("InvalidRequestException")
	}
	if s.groups[s.executions[i].Workgroup].Role != role {
		return nil, refuse("AccessDeniedException")
	}
	return s.executions[i], nil
}
