package signin

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ClientConfig says how browsers sign in at an issuer: as which of its clients. ID and
// RedirectURL must be set.
type ClientConfig struct {
	// ID is the client's at the issuer: what ID tokens are for.
	ID string
	// RedirectURL is where the issuer sends browsers back to, as it is registered there: https,
	// or http at a loopback address with [IssuerConfig.Development].
	RedirectURL string
	// SecretFile is a file with the client's secret (client_secret_basic), KeyFile one with its
	// private key, PEM (private_key_jwt, with KeyID as its id, if that is set). With neither the
	// client is public, and PKCE alone binds a code to who asked for it. They are read each time.
	SecretFile, KeyFile, KeyID string
	// Scopes are asked for beside openid.
	Scopes []string
	// Classes are asked for as acr_values: so that the issuer wants a second factor.
	Classes []string
	// MaxAge, if it is not zero, is how long ago the person may have shown the issuer who it is
	// (max_age): what makes a session that was idle too long end in a sign-in that is one (PCI DSS
	// 4.0.1 requirement 8.2.8). The issuer must then state auth_time.
	MaxAge time.Duration
}

// Client signs people in at an issuer by the authorization code flow (OpenID Connect Core 1.0
// section 3.1) with PKCE (RFC 7636). It is safe for concurrent use.
type Client struct {
	issuer *Issuer
	cfg    ClientConfig
}

// endpoints are what an issuer's document names besides its keys (OpenID Connect Discovery 1.0
// section 3, RP-Initiated Logout 1.0 section 2.1, RFC 9207 section 3).
type endpoints struct {
	Authorize   string `json:"authorization_endpoint"`
	Token       string `json:"token_endpoint"`
	End         string `json:"end_session_endpoint"`
	NamesIssuer bool   `json:"authorization_response_iss_parameter_supported"`
}

// Client returns a client of the issuer. It asks for nothing yet.
func (i *Issuer) Client(cfg ClientConfig) (*Client, error) {
	switch {
	case cfg.ID == "":
		return nil, errors.New("sign-in: the client's id is missing")
	case !i.cfg.isEndpoint(cfg.RedirectURL) || strings.Contains(cfg.RedirectURL, "?"):
		return nil, errors.New("sign-in: the URL to come back to is not https://HOST/PATH")
	case cfg.SecretFile != "" && cfg.KeyFile != "":
		return nil, errors.New("sign-in: a client has a secret or a private key, not both")
	case cfg.MaxAge < 0 || cfg.MaxAge%time.Second != 0:
		return nil, errors.New("sign-in: the age of what a person has shown is whole seconds, and not negative")
	}
	return &Client{issuer: i, cfg: cfg}, nil
}

// Attempt is one sign-in that a browser has begun. All of it is secret but to the browser, and
// stays with it.
type Attempt struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // of PKCE
}

// NewAttempt draws one.
func NewAttempt() Attempt { return Attempt{draw(), draw(), draw()} }

// draw returns 256 random bits, of characters that a URL takes as they are.
func draw() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// AuthorizeURL is where the browser is sent. An error is an *Error.
func (c *Client) AuthorizeURL(ctx context.Context, a Attempt) (string, error) {
	at, err := c.endpoints(ctx)
	if err != nil {
		return "", err
	}
	challenge := sha256.Sum256([]byte(a.Verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {c.cfg.ID}, "redirect_uri": {c.cfg.RedirectURL},
		"scope": {strings.Join(append([]string{"openid"}, c.cfg.Scopes...), " ")},
		"state": {a.State}, "nonce": {a.Nonce},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	if len(c.cfg.Classes) > 0 {
		q.Set("acr_values", strings.Join(c.cfg.Classes, " "))
	}
	if c.cfg.MaxAge > 0 {
		q.Set("max_age", strconv.Itoa(int(c.cfg.MaxAge/time.Second)))
	}
	return withQuery(at.Authorize, q), nil
}

// withQuery adds to a URL that may have a query (RFC 6749 section 3.1).
func withQuery(to string, q url.Values) string {
	separator := "?"
	if strings.Contains(to, "?") {
		separator = "&"
	}
	return to + separator + q.Encode()
}

// endpoints are the issuer's, which must be there and not in clear.
func (c *Client) endpoints(ctx context.Context) (endpoints, error) {
	at, err := c.issuer.keys.endpoints(ctx)
	if err == nil && !(c.issuer.cfg.isEndpoint(at.Authorize) && c.issuer.cfg.isEndpoint(at.Token)) {
		err = errors.New("the issuer's document names no authorization_endpoint and token_endpoint that are https")
	}
	if err != nil {
		return at, &Error{Reason: IssuerUnavailable, Err: err}
	}
	return at, nil
}

// SignOutURL is where the browser is sent to sign out at the issuer too, and comes back to the URL
// from; "" if the issuer has no such place. It names the client and holds no token: what is in a
// URL ends up in histories and logs.
func (c *Client) SignOutURL(ctx context.Context, back string) string {
	at, err := c.issuer.keys.endpoints(ctx)
	if err != nil || !c.issuer.cfg.isEndpoint(at.End) {
		return ""
	}
	return withQuery(at.End, url.Values{"client_id": {c.cfg.ID}, "post_logout_redirect_uri": {back}})
}

// Finish takes what the issuer sent the browser back with and returns who it is: that the answer
// is of this attempt and of this issuer (RFC 9207), that the issuer takes the code, and that the ID
// token is for this client and this attempt (OpenID Connect Core 1.0 section 3.1.3.7). An error is
// an *Error.
func (c *Client) Finish(ctx context.Context, a Attempt, answer url.Values) (Identity, error) {
	at, err := c.endpoints(ctx)
	if err != nil {
		return Identity{}, err
	}
	one := func(name string) string {
		if len(answer[name]) != 1 {
			return ""
		}
		return answer[name][0]
	}
	state, code := one("state"), one("code")
	switch {
	case a.State == "" || subtle.ConstantTimeCompare([]byte(state), []byte(a.State)) != 1:
		return Identity{}, refuse(State)
	case (at.NamesIssuer || answer.Has("iss")) && one("iss") != c.issuer.cfg.URL:
		return Identity{}, refuse(WrongIssuer)
	case answer.Has("error"):
		return Identity{}, declined(one("error"))
	case code == "" || len(code) > maxCode:
		return Identity{}, refuse(Code)
	}
	tokens, err := c.exchange(ctx, at.Token, a, code)
	if err != nil {
		return Identity{}, err
	}
	return c.verify(ctx, a, tokens)
}

// maxCode bounds a code in bytes.
const maxCode = 4 << 10

// declined is the error of an authorization response (RFC 6749 section 4.1.2.1, OpenID Connect
// Core 1.0 section 3.1.2.6).
func declined(code string) *Error {
	switch code {
	case "access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required", "unmet_authentication_requirements":
		return refuse(Denied)
	}
	return &Error{Reason: IssuerUnavailable, Err: fmt.Errorf("the issuer answers an authorization request with %s", cmp.Or(oauthError(code), "an error"))}
}

// oauthErrors are those that are told to the operator: an issuer's text could hold anything.
var oauthErrors = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "unsupported_response_type",
	"invalid_scope", "server_error", "temporarily_unavailable",
}

func oauthError(code string) string {
	if slices.Contains(oauthErrors, code) {
		return code
	}
	return ""
}

// tokens are what an issuer gives for a code.
type tokens struct {
	ID     string `json:"id_token"`
	Access string `json:"access_token"`
}

// exchange gives the code for tokens (RFC 6749 section 4.1.3). It is tried once: a code is good
// once.
func (c *Client) exchange(ctx context.Context, endpoint string, a Attempt, code string) (tokens, error) {
	unavailable := func(err error) (tokens, error) {
		return tokens{}, &Error{Reason: IssuerUnavailable, Err: fmt.Errorf("exchange code: %w", err)}
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.cfg.RedirectURL}, "code_verifier": {a.Verifier}}
	header := http.Header{}
	if err := c.authenticate(endpoint, form, header); err != nil {
		return unavailable(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return unavailable(err)
	}
	r.Header = header
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	resp, err := c.issuer.keys.client.Do(r)
	if err != nil {
		return unavailable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return unavailable(err)
	case len(text) > maxAnswer:
		return unavailable(fmt.Errorf("the answer has more than %d bytes", maxAnswer))
	case resp.StatusCode != http.StatusOK:
		var e struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(text, &e) // whatever it is, the code is not taken
		if e.Error == "invalid_grant" {
			return tokens{}, refuse(Code)
		}
		return unavailable(fmt.Errorf("status %d, %s", resp.StatusCode, cmp.Or(oauthError(e.Error), "an error")))
	}
	var got tokens
	if json.Unmarshal(text, &got) != nil || got.ID == "" {
		return unavailable(errors.New("the answer holds no ID token"))
	}
	return got, nil
}

// maxAnswer bounds an answer of a token endpoint in bytes.
const maxAnswer = 128 << 10

// idTypes are what the header "typ" of an ID token may be: access tokens have others.
var idTypes = []string{"", "jwt"}

// verify returns whom the ID token names.
func (c *Client) verify(ctx context.Context, a Attempt, t tokens) (Identity, error) {
	i := c.issuer
	token, claims, refused := i.verified(ctx, t.ID, c.cfg.ID, idTypes)
	if refused != nil {
		return Identity{}, refused
	}
	id := i.identity(claims)
	why := i.timely(claims)
	now := i.cfg.Now()
	switch {
	case why != "":
	case claims.Party != "" && claims.Party != c.cfg.ID, claims.Party == "" && len(token.Audience) > 1:
		why = Party
	case a.Nonce == "" || subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(a.Nonce)) != 1:
		why = Nonce
	case token.AccessTokenHash != "" && token.VerifyAccessToken(t.Access) != nil:
		why = Binding
	case now.Add(i.cfg.Skew).Before(claims.LastShown.Time):
		why = NotYet
	case c.cfg.MaxAge > 0 && now.Sub(claims.LastShown.Time) > c.cfg.MaxAge+i.cfg.Skew:
		why = Stale
	}
	if why != "" {
		return Identity{}, &Error{Reason: why, Subject: id.Subject}
	}
	return id, nil
}
