package api

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
)

// Headers of a call beside those of HTTP.
const (
	headerRequest    = "X-Request-Id"
	headerReason     = "Cardlake-Reason"
	headerBreakGlass = "Cardlake-Break-Glass"
	trailerRows      = "Cardlake-Rows"
)

// maxReason bounds why a caller asks, in bytes.
const maxReason = 500

// call is one call of a caller who is signed in.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	caller grants.Caller
}

// outer sets what every answer has, and answers what no route does.
func (s *Server) outer(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set(headerRequest, newID())
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if s.cfg.LocalOnly && !isLocal(r.Host) {
			s.fail(w, "other", problemOf(kindHost, "the server answers on this machine only, and the request names another host"))
			return
		}
		switch _, pattern := mux.Handler(r); {
		case pattern != "":
			mux.ServeHTTP(w, r)
		case len(methods(mux, r)) > 0:
			h.Set("Allow", strings.Join(methods(mux, r), ", "))
			s.fail(w, "other", problemOf(kindMethod, "the resource has no such method"))
		default:
			s.fail(w, "other", problemOf(kindRoute, "there is no such resource"))
		}
	})
}

// local refuses what names another host, when the server is for this machine only.
func (s *Server) local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.LocalOnly && !isLocal(r.Host) {
			w.Header().Set(headerRequest, newID())
			s.fail(w, "other", problemOf(kindHost, "the server answers on this machine only, and the request names another host"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// methods are those that the path of a request has a route for.
func methods(mux *http.ServeMux, r *http.Request) (out []string) {
	other := r.Clone(r.Context())
	for _, other.Method = range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, pattern := mux.Handler(other); pattern != "" {
			out = append(out, other.Method)
		}
	}
	return out
}

// isLocal reports whether a request's host is this machine.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.IsLoopback()
}

// newID draws the id of a call, in letters: no number in it can be taken for a card's.
func newID() string {
	var id [16]byte
	rand.Read(id[:])
	return string(cardlake.AppendLetters(nil, id[:]))
}

// call makes the handler of a route: who is asking, within which bounds, and then do, which
// answers, or returns why not and has written nothing.
func (s *Server) call(of route) http.Handler {
	route, count := of.name, s.limits.call
	if of.isFigure {
		count = s.limits.figure
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := s.cfg.Now()
		watched := &watched{ResponseWriter: w}
		defer func() { s.metrics.done(route, watched.status, s.cfg.Now().Sub(start)) }()
		defer s.recovered(watched, route)
		caller, err := s.deps.SignIn.FromRequest(r)
		if err != nil {
			s.knock(r, w.Header().Get(headerRequest), err)
			p := notSignedIn(err)
			p.challenge(w.Header(), err)
			s.fail(watched, route, p)
			return
		}
		caller.Request = w.Header().Get(headerRequest)
		c := &call{watched, r, caller}
		err = readHeaders(r.Header, &c.caller)
		if err == nil {
			err = count(caller.Principal, start)
		}
		if err == nil {
			err = of.do(c)
		}
		if err != nil {
			s.answerError(c, route, err)
		}
	})
}

// recovered answers for a call that panicked. net/http would log the value, which may be one of
// a row.
func (s *Server) recovered(w *watched, route string) {
	v := recover()
	switch {
	case v == nil:
		return
	case v == http.ErrAbortHandler: // the answer is to break off
		panic(v)
	}
	s.cfg.Log.Error("a call panicked", "route", route, "request", w.Header().Get(headerRequest), "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	s.fail(w, route, toProblem(errPanic))
}

// errPanic stands for what is not to be told.
var errPanic = errors.New("panic")

// readHeaders takes what the caller says of its call.
func readHeaders(h http.Header, c *grants.Caller) error {
	reason := strings.TrimSpace(h.Get(headerReason))
	if len(reason) > maxReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return problemOf(kindRequest, headerReason+" is one line of printable UTF-8, of at most 500 bytes")
	}
	if audit.Masks(reason) {
		return problemOf(kindRequest, headerReason+" holds a number that could be a card's: name the case instead")
	}
	c.Reason = reason
	switch h.Get(headerBreakGlass) {
	case "", "no":
	case "yes":
		if reason == "" {
			return problemOf(kindRequest, headerBreakGlass+" needs a "+headerReason)
		}
		if c.Key != "" {
			return problemOf(kindNotPermitted, "emergency access is for who signs in, not for an API key")
		}
		c.BreakGlass = true
	default:
		return problemOf(kindRequest, headerBreakGlass+" is yes or no")
	}
	return nil
}

// notSignedIn is the answer to who is not signed in. It tells nothing to who tries.
func notSignedIn(err error) *problem {
	var refused *signin.Error
	if !errors.As(err, &refused) || refused.IsTemporary() {
		p := problemOf(kindSignIn, "nobody can sign in at the moment: try again")
		p.after = 10 * time.Second
		return p
	}
	return problemOf(kindSignedOut, "%s", refused.Error())
}

// challenge says how to sign in (RFC 6750 section 3): no error code for who has shown nothing.
func (p *problem) challenge(h http.Header, err error) {
	if p.kind != kindSignedOut {
		return
	}
	challenge := `Bearer realm="cardlake"`
	if refused := new(signin.Error); errors.As(err, &refused) && refused.Reason != signin.NoCredentials {
		challenge += `, error="invalid_token"`
	}
	h.Set("WWW-Authenticate", challenge)
}

// knock records an attempt to get in.
func (s *Server) knock(r *http.Request, request string, err error) {
	k := knock{origin: s.deps.SignIn.Origin(r), request: request, reason: "sign_in"}
	var refused *signin.Error
	if errors.As(err, &refused) {
		k.reason, k.subject = string(refused.Reason), refused.Subject
		if cause := errors.Unwrap(refused); cause != nil {
			s.cfg.Log.ErrorContext(r.Context(), "nobody can sign in", "reason", k.reason, "error", cause)
		}
	}
	s.knocks.add(r.Context(), k)
}

// watched remembers the status that was written.
type watched struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *watched) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *watched) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// seconds rounds a wait up to whole seconds, as Retry-After has them (RFC 9110 section 10.2.3).
func seconds(d time.Duration) int { return max(int((d+time.Second-1)/time.Second), 1) }
