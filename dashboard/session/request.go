package session

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
)

// HeaderCSRF carries the session's token with what changes anything, and HeaderBackground says
// "yes" of what a page asks for by itself.
const (
	HeaderCSRF       = "X-CSRF-Token"
	HeaderBackground = "Cardlake-Background"
)

// livePath streams for as long as a page is open: it says nothing of whether somebody is there.
const livePath = "/v1/live"

// pinned is what a request's cookie was found to mean, for as long as the request lasts.
type pinned struct {
	session *session            // nil: of none
	renewed string              // the id that the browser is to have; "" for the one it has
	w       http.ResponseWriter // of the answer; nil once it was told
}

type contextKey struct{}

// Guard is put around whatever takes its caller from FromRequest. It holds the session for as long
// as the request lasts, however long that is. With it, FromRequest draws the session's id anew when
// it is time, and takes back a cookie of no session; answers that are for everybody tell no cookie.
func (m *Manager) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if value, shown := m.cookie(r, cookieSession); shown && !hasCredentials(r) {
			s, ended, renewed := m.all.find(value, m.cfg.Now())
			m.ended(r.Context(), ended)
			r = r.WithContext(context.WithValue(r.Context(), contextKey{}, &pinned{s, renewed, w}))
		}
		next.ServeHTTP(w, r)
	})
}

// hasCredentials reports whether a request shows what a browser does not send by itself.
func hasCredentials(r *http.Request) bool { return len(r.Header.Values("Authorization")) > 0 }

// find returns the session of a request. shown says that it has a cookie of one.
func (m *Manager) find(r *http.Request) (s *session, shown bool) {
	if p, ok := r.Context().Value(contextKey{}).(*pinned); ok {
		m.tell(p)
		return p.session, true
	}
	value, shown := m.cookie(r, cookieSession)
	if !shown {
		return nil, false
	}
	s, ended, _ := m.all.find(value, m.cfg.Now())
	m.ended(r.Context(), ended)
	return s, true
}

// tell tells the browser, once, what has become of its cookie.
func (m *Manager) tell(p *pinned) {
	switch {
	case p.w == nil:
	case p.session == nil:
		m.setCookie(p.w, cookieSession, "", 0)
	case p.renewed != "":
		m.setCookie(p.w, cookieSession, p.renewed, 0)
	}
	p.w = nil
}

// FromRequest returns the caller of a request: by what its header Authorization shows, else by its
// session, else by its certificate. It may be asked again while a request lasts, to see whether the
// caller is still signed in, though not at the same time. An error is a *signin.Error.
func (m *Manager) FromRequest(r *http.Request) (grants.Caller, error) {
	// A link that another site's page leads to here is nobody's: not even the sign of a person.
	if hasCredentials(r) || isForeign(r) && isSafe(r.Method) {
		return m.deps.SignIn.FromRequest(r)
	}
	s, shown := m.find(r)
	switch {
	case shown:
		return m.caller(r, s)
	case !isSafe(r.Method) && m.isCrossSite(r):
		// A browser shows a certificate by itself too.
		return grants.Caller{}, &signin.Error{Reason: signin.CrossSite}
	}
	return m.deps.SignIn.FromRequest(r)
}

// Origin is the address that a request came from.
func (m *Manager) Origin(r *http.Request) string { return m.deps.SignIn.Origin(r) }

// caller returns who has the session, which may be nil, if the request may use it.
func (m *Manager) caller(r *http.Request, s *session) (grants.Caller, error) {
	if s == nil {
		return grants.Caller{}, &signin.Error{Reason: signin.NoSession}
	}
	// From here on it is known whose cookie it is, and the record may say so.
	refuse := func(why signin.Reason) (grants.Caller, error) {
		return grants.Caller{}, &signin.Error{Reason: why, Subject: s.identity.Subject}
	}
	if m.isCrossSite(r) {
		return refuse(signin.CrossSite)
	}
	if !isSafe(r.Method) && subtle.ConstantTimeCompare([]byte(r.Header.Get(HeaderCSRF)), []byte(s.csrf)) != 1 {
		return refuse(signin.CSRF)
	}
	ended, ok := m.all.alive(s, false, m.cfg.Now())
	m.ended(r.Context(), ended)
	if !ok {
		return refuse(signin.NoSession)
	}
	caller, err := m.deps.SignIn.Identified(r, s.identity)
	if err != nil {
		if refused := new(signin.Error); !errors.As(err, &refused) || !refused.IsTemporary() {
			m.ended(r.Context(), m.all.close(s, endUnknown))
		}
		return grants.Caller{}, err
	}
	if !isBackground(r) {
		m.all.alive(s, true, m.cfg.Now())
	}
	return caller, nil
}

// isCrossSite reports whether a request is of another site's page, as far as a browser tells.
func (m *Manager) isCrossSite(r *http.Request) bool { return isForeign(r) || m.cross.Check(r) != nil }

// isForeign reports whether a browser says that a request is of another site's page, or of another
// origin's of this site (Fetch Metadata Request Headers, section 2.3).
func isForeign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return true
}

// isSafe reports whether a method changes nothing (RFC 9110 section 9.2.1).
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// isBackground reports whether a page asks by itself: nobody need be there.
func isBackground(r *http.Request) bool {
	return r.URL.Path == livePath || r.Header.Get(HeaderBackground) == "yes"
}
