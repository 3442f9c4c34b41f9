// Package kinesistest is Amazon Kinesis Data Streams in memory, for tests: an HTTP handler
// that the real client of the AWS SDK talks to, in its protocol (AWS JSON 1.1, and event
// streams for enhanced fan-out).
//
// It is strict where an adapter could be careless: it enforces the service's limits of size
// and rate, refuses unknown parameters, lets iterators expire, trims records by age without a
// word to whoever had not read them, orders shards by splits and merges, and fails on demand
// ([Server.Inject]). Rules are those of the Kinesis API Reference and of "Quotas and limits"
// in the Developer Guide.
//
// With [Server.Client] no sockets are used, so that a test can run in a testing/synctest
// bubble, where hours of retention pass in no time.
//
// It does not check signatures, and has no tags, encryption, on-demand mode, resource
// policies, channels, or filters on ListShards.
package kinesistest

import (
	"bytes"
	"context"
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
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// Config configures a Server. Zero fields mean what the service has by default.
type Config struct {
	// Now is the clock of records, iterators and limits; default time.Now. Waiting (a fault's
	// delay, the life of subscriptions) goes by package time.
	Now func() time.Time

	Retention       time.Duration // of records; default 24 h
	IteratorAge     time.Duration // default 5 min
	SubscriptionAge time.Duration // default 5 min
	Heartbeat       time.Duration // between events without records; default 5 s
	// TakeOver is how long after a subscription another of the same consumer is refused;
	// default 5 s.
	TakeOver time.Duration
	// Transition is how long a stream stays CREATING or UPDATING and a consumer CREATING;
	// default none.
	Transition time.Duration
	// MaxRecordBytes is the most that a record's data and key may have; default 1 MiB. The
	// service can be set to up to 10 MiB.
	MaxRecordBytes int
	// AnswerRecords is the most records in one answer to GetRecords, or one event; default
	// 10,000. The service may always give fewer than there are.
	AnswerRecords int
	// PageShards is the most shards in one answer to ListShards; default 1,000.
	PageShards int
	// Unlimited switches the limits of rate off, for tests that fill a stream quickly. Those of
	// size stay.
	Unlimited bool
}

// Server is the service. Make it with New.
type Server struct {
	cfg Config

	mu      sync.Mutex
	streams map[string]*stream
	limits  map[string]*bucket
	last    int64 // sequence number
	faults  map[string]func(n int) *Fault
	calls   map[string]int
}

// New returns a service without streams.
func New(cfg Config) *Server {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&cfg.Retention, 24*time.Hour)
	def(&cfg.IteratorAge, 5*time.Minute)
	def(&cfg.SubscriptionAge, 5*time.Minute)
	def(&cfg.Heartbeat, 5*time.Second)
	def(&cfg.TakeOver, 5*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxRecordBytes == 0 {
		cfg.MaxRecordBytes = 1 << 20
	}
	if cfg.AnswerRecords == 0 {
		cfg.AnswerRecords = maxGetRecords
	}
	if cfg.PageShards == 0 {
		cfg.PageShards = 1000
	}
	return &Server{
		cfg: cfg, streams: map[string]*stream{}, limits: map[string]*bucket{},
		faults: map[string]func(int) *Fault{}, calls: map[string]int{},
	}
}

// apiError is an error as the service names it.
type apiError struct {
	status  int
	code    string
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func refuse(code, format string, args ...any) error {
	return &apiError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// Codes of errors.
const (
	invalidArgument = "InvalidArgumentException"
	notFound        = "ResourceNotFoundException"
	inUse           = "ResourceInUseException"
	limitExceeded   = "LimitExceededException"
	throughput      = "ProvisionedThroughputExceededException"
	expiredIterator = "ExpiredIteratorException"
	expiredToken    = "ExpiredNextTokenException"
	validation      = "ValidationException"
)

// operation answers one operation. s.mu is held.
type operation func(s *Server, body []byte) (any, error)

func op[In any](f func(*Server, *In) (any, error)) operation {
	return func(s *Server, body []byte) (any, error) {
		var in In
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			return nil, refuse("SerializationException", "%v", err)
		}
		return f(s, &in)
	}
}

func operationOf(name string) operation {
	switch name {
	case "CreateStream":
		return op((*Server).createStream)
	case "DescribeStreamSummary":
		return op((*Server).describeStreamSummary)
	case "ListShards":
		return op((*Server).listShards)
	case "PutRecord":
		return op((*Server).putRecord)
	case "PutRecords":
		return op((*Server).putRecords)
	case "GetShardIterator":
		return op((*Server).getShardIterator)
	case "GetRecords":
		return op((*Server).getRecords)
	case "SplitShard":
		return op((*Server).splitShard)
	case "MergeShards":
		return op((*Server).mergeShards)
	case "UpdateShardCount":
		return op((*Server).updateShardCount)
	case "RegisterStreamConsumer":
		return op((*Server).registerStreamConsumer)
	case "DescribeStreamConsumer":
		return op((*Server).describeStreamConsumer)
	case "DeregisterStreamConsumer":
		return op((*Server).deregisterStreamConsumer)
	case "SubscribeToShard":
		return op((*Server).subscribe)
	}
	return nil
}

const contentType = "application/x-amz-json-1.1"

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "Kinesis_20131202.")
	do := operationOf(name)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 32<<20))
	switch {
	case err != nil:
		s.fail(w, refuse("SerializationException", "%v", err))
		return
	case r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != contentType || !ok || do == nil:
		s.fail(w, refuse("UnknownOperationException", "%s", name))
		return
	case !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "):
		s.fail(w, refuse("MissingAuthenticationTokenException", "the request is not signed"))
		return
	}
	fault := s.fault(name)
	if fault.Delay > 0 {
		t := time.NewTimer(fault.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
	if fault.Code != "" && !fault.Done {
		s.fail(w, fault.error())
		return
	}
	s.mu.Lock()
	answer, err := do(s, body)
	s.mu.Unlock()
	if err != nil {
		s.fail(w, err)
		return
	}
	if sub, ok := answer.(*subscription); ok {
		sub.serve(r.Context(), w, fault)
		return
	}
	if fault.Code != "" {
		s.fail(w, fault.error())
		return
	}
	w.Header().Set("Content-Type", contentType)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		return // the client has gone
	}
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		e = &apiError{http.StatusInternalServerError, "InternalFailure", err.Error()}
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(e.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": e.code, "message": e.message})
}

// Client returns a client of the SDK whose requests reach the server without sockets.
func (s *Server) Client() *kinesis.Client {
	return kinesis.New(kinesis.Options{
		Region: region, BaseEndpoint: aws.String("http://kinesis.invalid"),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:  transport{s},
	})
}

// transport calls a handler in place of a connection.
type transport struct{ handler http.Handler }

// Do implements the SDK's HTTP client.
func (t transport) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	body, sink := io.Pipe()
	w := &pipeWriter{header: http.Header{}, sink: sink, started: make(chan struct{})}
	inner := r.Clone(ctx)
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	go func() {
		t.handler.ServeHTTP(w, inner)
		w.WriteHeader(http.StatusOK)
		sink.CloseWithError(ctx.Err()) // io.EOF if there is none
	}()
	context.AfterFunc(ctx, func() { body.CloseWithError(ctx.Err()) })
	select {
	case <-w.started:
		return &http.Response{
			Status: http.StatusText(w.status), StatusCode: w.status, Header: w.sent, Request: r,
			Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: -1, Body: pipeBody{body, cancel},
		}, nil
	case <-ctx.Done():
		err := ctx.Err()
		cancel()
		return nil, err
	}
}

type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

type pipeWriter struct {
	header, sent http.Header
	status       int
	sink         *io.PipeWriter
	once         sync.Once
	started      chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.sink.Write(p)
}

// Flush implements http.Flusher: nothing is held back.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }
