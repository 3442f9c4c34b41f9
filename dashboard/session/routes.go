package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/signin"
)

// Reasons are what the page /?signin=REASON is told: why nobody is signed in.
var Reasons = []string{ReasonDenied, ReasonUnknown, ReasonExpired, ReasonRefused, ReasonUnavailable, ReasonSignedOut}

// The reasons.
const (
	ReasonDenied      = "denied"      // the issuer did not let the person in
	ReasonUnknown     = "unknown"     // the issuer did, and nobody of the lake is that person
	ReasonExpired     = "expired"     // the sign-in took too long, or was begun in another browser
	ReasonRefused     = "refused"     // what the issuer answered is not taken
	ReasonUnavailable = "unavailable" // the issuer, or the audit log, does not answer, or there is no room
	ReasonSignedOut   = "signed_out"
)

func (m *Manager) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /auth/sign-in", m.signIn)
	mux.HandleFunc("GET "+CallbackPath, m.callback)
	mux.HandleFunc("GET /auth/session", m.session)
	mux.HandleFunc("POST /auth/sign-out", m.signOut)
	mux.HandleFunc("GET "+SignedOutPath, func(w http.ResponseWriter, r *http.Request) { m.home(w, r, ReasonSignedOut) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "no-such-resource", "there is no such resource")
	})
	guarded := m.Guard(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Request-Id", newName())
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case m.secure:
			h.Set("Strict-Transport-Security", "max-age=31536000")
		case r.Host != m.host && r.Method == http.MethodGet && r.URL.Path == "/auth/sign-in":
			// Another name of this machine: the issuer would come back to the one of the URL, which
			// has no cookie of this one.
			http.Redirect(w, r, m.cfg.URL+r.URL.RequestURI(), http.StatusSeeOther)
			return
		case r.Host != m.host:
			fail(w, http.StatusMisdirectedRequest, "wrong-host", "the dashboard has another name: see its URL")
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// signIn begins a sign-in.
func (m *Manager) signIn(w http.ResponseWriter, r *http.Request) {
	a := attempt{Attempt: signin.NewAttempt(), To: "/", Begun: m.cfg.Now()}
	if to := r.URL.Query().Get("to"); isOwnPath(to) {
		a.To = to
	}
	to, err := m.deps.Client.AuthorizeURL(r.Context(), a.Attempt)
	if err != nil {
		m.refused(w, r, err)
		return
	}
	sealed, err := m.seal(a)
	if err != nil {
		m.refused(w, r, err)
		return
	}
	m.setCookie(w, cookieAttempt, sealed, attemptLife)
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// callback ends a sign-in: in a session, or in the page that says why not.
func (m *Manager) callback(w http.ResponseWriter, r *http.Request) {
	m.setCookie(w, cookieAttempt, "", 0)
	now := m.cfg.Now()
	value, _ := m.cookie(r, cookieAttempt)
	a, err := m.unseal(value, now)
	answer, invalid := url.ParseQuery(r.URL.RawQuery)
	if err != nil || invalid != nil {
		m.refused(w, r, &signin.Error{Reason: signin.State})
		return
	}
	// Whoever makes callbacks up takes places too: a person waits for one.
	waiting, cancel := context.WithTimeout(r.Context(), finishWait)
	defer cancel()
	select {
	case m.finish <- struct{}{}:
		defer func() { <-m.finish }()
	case <-waiting.Done():
		m.refused(w, r, errFull)
		return
	}
	id, err := m.deps.Client.Finish(r.Context(), a.Attempt, answer)
	if err != nil {
		m.refused(w, r, err)
		return
	}
	// Only now: an attempt that failed is worth nothing, and remembered it would take the room of
	// people's. The issuer takes a code once in any case.
	switch first, room := m.finished.use(a.State, now); {
	case !room:
		m.refused(w, r, errFull)
		return
	case !first:
		m.refused(w, r, &signin.Error{Reason: signin.State})
		return
	}
	caller, err := m.deps.SignIn.Identified(r, id)
	if err != nil {
		m.refused(w, r, err)
		return
	}
	id.Principal = caller.Principal // a session is not another's whom the subject is given to
	s := &session{name: newName(), identity: id, principal: caller.Principal, origin: caller.Origin, csrf: newID()}
	record := s.record(actionSignIn)
	record.Request = w.Header().Get("X-Request-Id")
	if err := m.deps.Recorder.Append(r.Context(), record); err != nil {
		m.cfg.Log.ErrorContext(r.Context(), "nobody is let in who is not on record, and the audit log can't be written", "error", err)
		m.home(w, r, ReasonUnavailable)
		return
	}
	had, _ := m.cookie(r, cookieSession)
	value, ended, err := m.all.add(s, had, m.cfg.Now())
	m.ended(r.Context(), ended)
	if err != nil {
		record.Outcome, record.Reason = audit.Failed, "full"
		m.append(r.Context(), record)
		m.home(w, r, ReasonUnavailable)
		return
	}
	m.setCookie(w, cookieSession, value, 0)
	http.Redirect(w, r, a.To, http.StatusSeeOther)
}

// refused puts on record that somebody was not let in, and sends the browser to the page that says
// why.
func (m *Manager) refused(w http.ResponseWriter, r *http.Request, err error) {
	why := ReasonRefused
	var refused *signin.Error
	switch {
	case !errors.As(err, &refused), refused.IsTemporary():
		why = ReasonUnavailable
	case refused.Reason == signin.Denied:
		why = ReasonDenied
	case refused.Reason == signin.UnknownSubject:
		why = ReasonUnknown
	case refused.Reason == signin.State:
		why = ReasonExpired
	}
	m.refusal(r.Context(), m.Origin(r), w.Header().Get("X-Request-Id"), err)
	m.home(w, r, why)
}

func (m *Manager) home(w http.ResponseWriter, r *http.Request, reason string) {
	http.Redirect(w, r, "/?signin="+reason, http.StatusSeeOther)
}

// sessionAnswer says who is signed in.
type sessionAnswer struct {
	Principal   string    `json:"principal"`
	Kind        string    `json:"kind"`
	CSRF        string    `json:"csrf"`
	IdleEndsAt  time.Time `json:"idle_ends_at"`
	EndsAt      time.Time `json:"ends_at"`
	MFA         bool      `json:"mfa"`
	Development bool      `json:"development"`
}

// session says who is signed in by a session.
func (m *Manager) session(w http.ResponseWriter, r *http.Request) {
	s, shown := m.find(r)
	if !shown {
		m.signedOut(w, &signin.Error{Reason: signin.NoCredentials})
		return
	}
	caller, err := m.caller(r, s)
	if err != nil {
		m.refusal(r.Context(), m.Origin(r), w.Header().Get("X-Request-Id"), err)
		m.signedOut(w, err)
		return
	}
	answer := sessionAnswer{Principal: caller.Principal.String(), Kind: string(caller.Principal.Kind), CSRF: s.csrf, MFA: caller.MFA, Development: m.cfg.Development}
	answer.IdleEndsAt, answer.EndsAt = m.all.ends(s)
	answer.IdleEndsAt, answer.EndsAt = answer.IdleEndsAt.UTC(), answer.EndsAt.UTC()
	writeJSON(w, http.StatusOK, "application/json", answer)
}

// signOut ends the session, or with ?everywhere=yes all of the principal's.
func (m *Manager) signOut(w http.ResponseWriter, r *http.Request) {
	refuse := func(err error) {
		m.refusal(r.Context(), m.Origin(r), w.Header().Get("X-Request-Id"), err)
		fail(w, http.StatusForbidden, "not-permitted", "the request is not of the dashboard's page: load it again")
	}
	// Another site's form comes without the cookie (SameSite), and an answer that takes it back
	// would sign out all the same.
	if m.isCrossSite(r) {
		refuse(&signin.Error{Reason: signin.CrossSite})
		return
	}
	s, _ := m.find(r)
	if s != nil {
		if _, err := m.caller(r, s); err != nil {
			if refused := new(signin.Error); !errors.As(err, &refused) || refused.Reason == signin.CrossSite || refused.Reason == signin.CSRF {
				refuse(err)
				return
			}
		}
		m.ended(r.Context(), m.all.close(s, endSignedOut))
		if r.URL.Query().Get("everywhere") == "yes" {
			m.ended(r.Context(), m.all.closeOf(s.principal, endEverywhere))
		}
	}
	to := m.deps.Client.SignOutURL(r.Context(), m.cfg.URL+SignedOutPath)
	if to == "" {
		to = "/?signin=" + ReasonSignedOut
	}
	w.Header().Del("Set-Cookie") // of an id that was due
	m.setCookie(w, cookieSession, "", 0)
	w.Header().Set("Clear-Site-Data", `"cache"`) // pages, and answers that were kept to be asked about again
	writeJSON(w, http.StatusOK, "application/json", map[string]string{"to": to})
}

// signedOut answers who is not signed in.
func (m *Manager) signedOut(w http.ResponseWriter, err error) {
	status, kind := http.StatusUnauthorized, "not-signed-in"
	if refused := new(signin.Error); errors.As(err, &refused) && refused.IsTemporary() {
		status, kind = http.StatusServiceUnavailable, "sign-in-unavailable"
		w.Header().Set("Retry-After", "10")
	}
	fail(w, status, kind, err.Error())
}

// fail answers with a problem, as the API does (RFC 9457).
func fail(w http.ResponseWriter, status int, kind, detail string) {
	writeJSON(w, status, "application/problem+json", map[string]any{
		"type": "urn:cardlake:api:" + kind, "title": http.StatusText(status), "status": status, "detail": detail, "request": w.Header().Get("X-Request-Id"),
	})
}

func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // of our own types
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that has gone needs no answer
}
