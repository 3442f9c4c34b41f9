package devissuer

import (
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// code is what a browser is given for its client to have tokens by.
type code struct {
	subject, challenge, nonce string
	mfa                       bool
	at                        time.Time
}

const (
	codeLife = time.Minute
	maxCodes = 1000
	cookie   = "cardlake-development"
)

//go:embed style.css
var style []byte

//go:embed pages.html
var pagesText string

var pages = template.Must(template.New("pages").Parse(pagesText))

// EnterURL is what a person opens in a browser, once, before signing in with it: it holds a key
// that is as good as everybody's password. It leads on to the dashboard.
func (i *Issuer) EnterURL() string { return i.url + "/enter?key=" + i.enter }

// browserRoutes are those of browsers: the authorization code flow (RFC 6749 section 4.1, OpenID
// Connect Core 1.0 section 3.1) with PKCE, which it demands.
func (i *Issuer) browserRoutes(mux *http.ServeMux) {
	cross := http.NewCrossOriginProtection()
	route := func(pattern string, do http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Cache-Control", "no-store")
			// The form leads to the client, which is at another port: another origin.
			h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self' "+origin(i.cfg.RedirectURL)+"; base-uri 'none'; frame-ancestors 'none'")
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			h.Set("Cross-Origin-Resource-Policy", "same-origin")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("X-Content-Type-Options", "nosniff")
			if err := cross.Check(r); err != nil {
				i.page(w, http.StatusForbidden, "fault", "The request is of another page.")
				return
			}
			do(w, r)
		})
	}
	route("GET /development/enter", i.open)
	route("GET /development/authorize", i.authorize)
	route("POST /development/authorize", i.authorize)
	route("GET /development/style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write(style) // a client that has gone needs no answer
	})
}

func origin(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func (i *Issuer) page(w http.ResponseWriter, status int, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, data) // a client that has gone needs no answer
}

// open lets a browser in that was given the key.
func (i *Issuer) open(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.URL.Query().Get("key")), []byte(i.enter)) != 1 {
		i.page(w, http.StatusForbidden, "closed", nil)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: i.entered, Path: "/development", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, origin(i.cfg.RedirectURL)+"/", http.StatusSeeOther)
}

// isOpen reports whether a request is of a browser that was given the key.
func (i *Issuer) isOpen(r *http.Request) bool {
	c := r.CookiesNamed(cookie)
	return len(c) == 1 && subtle.ConstantTimeCompare([]byte(c[0].Value), []byte(i.entered)) == 1
}

// parameters of an authorization request that matter here.
var parameters = []string{"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method", "prompt"}

// request is an authorization request.
type request map[string]string

func requestOf(form url.Values) request {
	q := request{}
	for _, name := range parameters {
		if values := form[name]; len(values) == 1 {
			q[name] = values[0]
		} else if len(values) > 1 { // RFC 6749 section 3.1: none may come twice
			q["error"] = "invalid_request"
		}
	}
	return q
}

// fault is the error of a request whose client is known, or "".
func (q request) fault() string {
	challenge, err := base64.RawURLEncoding.DecodeString(q["code_challenge"])
	switch {
	case q["error"] != "":
		return q["error"]
	case q["response_type"] != "code":
		return "unsupported_response_type"
	case !slices.Contains(strings.Fields(q["scope"]), "openid"):
		return "invalid_scope"
	case q["prompt"] == "none":
		return "login_required"
	case err != nil, len(challenge) != sha256.Size, q["code_challenge_method"] != "S256", len(q["state"]) > 1024, len(q["nonce"]) > 1024:
		return "invalid_request"
	}
	return ""
}

// authorize answers an authorization request with the page to choose on, and what was chosen on it
// with a code.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		i.page(w, http.StatusBadRequest, "fault", "The request can't be read.")
		return
	}
	form := r.Form
	if r.Method == http.MethodPost {
		form = r.PostForm
	}
	q := requestOf(form)
	switch {
	case q["client_id"] != i.cfg.Client || q["redirect_uri"] != i.cfg.RedirectURL:
		i.page(w, http.StatusBadRequest, "fault", "There is no such client, or it is not sent back to there.")
		return
	case !i.isOpen(r):
		i.page(w, http.StatusForbidden, "closed", nil)
		return
	}
	back := func(answer url.Values) {
		answer.Set("iss", i.url) // RFC 9207
		if q["state"] != "" {
			answer.Set("state", q["state"])
		}
		http.Redirect(w, r, i.cfg.RedirectURL+"?"+answer.Encode(), http.StatusSeeOther)
	}
	if fault := q.fault(); fault != "" {
		back(url.Values{"error": {fault}})
		return
	}
	subject := form.Get("subject")
	if r.Method != http.MethodPost || subject == "" {
		i.page(w, http.StatusOK, "choose", i.choice(q))
		return
	}
	if _, known := i.secrets[subject]; !known {
		back(url.Values{"error": {"access_denied"}})
		return
	}
	made, ok := i.newCode(code{subject: subject, challenge: q["code_challenge"], nonce: q["nonce"], mfa: form.Get("mfa") == "yes"})
	if !ok {
		back(url.Values{"error": {"temporarily_unavailable"}})
		return
	}
	back(url.Values{"code": {made}})
}

// choice is what the page shows.
type choice struct {
	Request request
	Kinds   []kind
}

type kind struct {
	Name     string
	Subjects []string
}

func (i *Issuer) choice(q request) choice {
	c := choice{Request: q}
	for _, s := range slices.Sorted(slices.Values(i.cfg.Subjects)) {
		name, _, _ := strings.Cut(s, "/")
		name = strings.ReplaceAll(name, "_", " ")
		if n := len(c.Kinds); n == 0 || c.Kinds[n-1].Name != name {
			c.Kinds = append(c.Kinds, kind{Name: name})
		}
		last := &c.Kinds[len(c.Kinds)-1]
		last.Subjects = append(last.Subjects, s)
	}
	return c
}

// newCode keeps a code, unless there are too many.
func (i *Issuer) newCode(c code) (string, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c.at = i.cfg.Now()
	for name, one := range i.codes {
		if c.at.Sub(one.at) >= codeLife {
			delete(i.codes, name)
		}
	}
	if len(i.codes) >= maxCodes {
		return "", false
	}
	name := random()
	i.codes[name] = c
	return name, true
}

// redeem gives tokens for a code, once (RFC 6749 section 4.1.3, RFC 7636 section 4.6).
func (i *Issuer) redeem(w http.ResponseWriter, form url.Values) {
	now := i.cfg.Now()
	i.mu.Lock()
	c, ok := i.codes[form.Get("code")]
	delete(i.codes, form.Get("code"))
	i.mu.Unlock()
	challenge := sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case form.Get("client_id") != i.cfg.Client || i.cfg.Client == "":
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	case !ok || now.Sub(c.at) >= codeLife || form.Get("redirect_uri") != i.cfg.RedirectURL,
		base64.RawURLEncoding.EncodeToString(challenge[:]) != c.challenge:
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	access, err := i.Token(c.subject, c.mfa)
	var id string
	if err == nil {
		// OpenID Connect Core 1.0 section 3.1.3.6: the left half of the digest.
		half := sha256.Sum256([]byte(access))
		claims := map[string]any{
			"aud": i.cfg.Client, "auth_time": c.at.Unix(), "at_hash": base64.RawURLEncoding.EncodeToString(half[:sha256.Size/2]),
		}
		if c.nonce != "" {
			claims["nonce"] = c.nonce
		}
		id, err = i.sign(c.subject, c.mfa, now, claims)
	}
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": "server_error"})
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": access, "id_token": id, "token_type": "Bearer", "expires_in": int(i.cfg.Lifetime / time.Second)})
}
