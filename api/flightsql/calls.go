package flightsql

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/cardlake/cardlake/catalog/grants"
)

// headerRequest is the header with the id of a call.
const headerRequest = "x-request-id"

// call is one call of a caller who is signed in.
type call struct {
	caller grants.Caller
	rows   int64 // that were sent; written before the call ends
}

type callKey struct{}

// callOf is the call of a context that an interceptor has made.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// enter signs the caller in. The context has the call, and the answer has its id.
func (s *Server) enter(ctx context.Context) (context.Context, *call, error) {
	caller, err := s.entrance.Enter(request(ctx))
	_ = grpc.SetHeader(ctx, metadata.Pairs(headerRequest, caller.Request))
	c := &call{caller: caller}
	return context.WithValue(ctx, callKey{}, c), c, err
}

// request is the call as HTTP has it: its headers, its peer and its TLS.
func request(ctx context.Context) *http.Request {
	r := &http.Request{Method: http.MethodPost, Header: http.Header{}}
	headers, _ := metadata.FromIncomingContext(ctx)
	for name, values := range headers {
		if name == ":authority" && len(values) > 0 {
			r.Host = values[0]
			continue
		}
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
	if p, ok := peer.FromContext(ctx); ok {
		r.RemoteAddr = p.Addr.String()
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			r.TLS = &info.State
		}
	}
	return r.WithContext(ctx)
}

// unary lets a caller in and answers.
func (s *Server) unary(ctx context.Context, in any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (out any, err error) {
	start, request := s.cfg.Now(), ""
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, panicked(v)
		}
		s.entrance.Done(route(info.FullMethod), err, 0, s.cfg.Now().Sub(start))
		err = s.explain(request, err)
	}()
	ctx, c, err := s.enter(ctx)
	request = c.caller.Request
	if err != nil {
		return nil, err
	}
	return handler(ctx, in)
}

// stream lets a caller in and answers. A client that does not accept what is written for too
// long has the call ended: gRPC ends what waits for it when this returns.
func (s *Server) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	start := s.cfg.Now()
	ctx, c, err := s.enter(stream.Context())
	defer func() { err = s.explain(c.caller.Request, err) }()
	if err != nil {
		s.entrance.Done(route(info.FullMethod), err, 0, s.cfg.Now().Sub(start))
		return err
	}
	w := &watched{ServerStream: stream, ctx: ctx, patience: s.cfg.WriteTimeout, stalled: make(chan struct{})}
	done := make(chan error, 1)
	s.calls.Go(func() {
		var err error
		defer func() {
			if v := recover(); v != nil {
				err = panicked(v)
			}
			s.entrance.Done(route(info.FullMethod), err, c.rows, s.cfg.Now().Sub(start))
			done <- err
		}()
		err = handler(server, w)
	})
	select {
	case err := <-done:
		return err
	case <-w.stalled:
		return errSlow
	}
}

// route is a method's name as a metric's label.
func route(method string) string { return "flight_" + path.Base(method) }

// panicError stands for what a call panicked with, which may be a value of a row.
type panicError struct {
	kind  string
	stack []byte
}

func panicked(v any) error { return &panicError{fmt.Sprintf("%T", v), debug.Stack()} }

// Error implements error.
func (e *panicError) Error() string {
	return "a call panicked with a " + e.kind + "\n" + string(e.stack)
}

// watched is a stream whose client has so long for each message.
type watched struct {
	grpc.ServerStream
	ctx      context.Context
	patience time.Duration
	once     sync.Once
	stalled  chan struct{}
}

// Context implements grpc.ServerStream.
func (w *watched) Context() context.Context { return w.ctx }

// SendMsg implements grpc.ServerStream.
func (w *watched) SendMsg(m any) error {
	timer := time.AfterFunc(w.patience, func() { w.once.Do(func() { close(w.stalled) }) })
	defer timer.Stop()
	return w.ServerStream.SendMsg(m)
}

// handshakes records connections that are refused.
type handshakes struct {
	credentials.TransportCredentials
	failed func(origin string)
}

func (s *Server) credentials(ctx context.Context, config *tls.Config) credentials.TransportCredentials {
	ctx = context.WithoutCancel(ctx)
	return handshakes{credentials.NewTLS(config), func(origin string) { s.entrance.HandshakeFailed(ctx, origin) }}
}

// ServerHandshake implements credentials.TransportCredentials.
func (h handshakes) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ServerHandshake(raw)
	if err != nil && !errors.Is(err, io.EOF) { // else somebody looked whether the port is open
		host, _, split := net.SplitHostPort(raw.RemoteAddr().String())
		if split != nil {
			host = raw.RemoteAddr().String()
		}
		h.failed(host)
	}
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone(), h.failed}
}
