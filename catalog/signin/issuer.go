package signin

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// IssuerConfig says which tokens are taken. URL and Audience must be set.
type IssuerConfig struct {
	// URL is the issuer, exactly as its tokens name it: https, without query and fragment.
	URL string
	// Audience is what tokens for this door are for: one of their claim "aud".
	Audience string
	// Parties, if there are any, are the clients that tokens may be issued to (claim "azp").
	Parties []string
	// Algorithms are those that tokens may be signed by; default RS256, RS384, RS512, PS256,
	// PS384, PS512, ES256, ES384, ES512 and EdDSA. Neither none nor one with a shared secret
	// can be among them.
	Algorithms []string
	// MFAMethods are values of the claim "amr", and MFAClasses of "acr", each of which says
	// that more than one factor was shown. Default for MFAMethods: "mfa" (RFC 8176).
	MFAMethods, MFAClasses []string
	// MaxAge is how long after it was issued a token is taken, however long it says that it
	// is valid; default 1 hour.
	MaxAge time.Duration
	// Skew is by how much the issuer's clock may be off; default 30 s.
	Skew time.Duration

	// RootCAs sign the issuer's certificate; default the system's.
	RootCAs *x509.CertPool
	// Development takes an issuer on this machine without TLS, at a loopback address, and
	// writes its subjects dev:SUB.
	Development bool

	// KeyAge is how old the issuer's keys may be before they are read again; default 10
	// minutes. After six times that without an answer of the issuer they are not used.
	KeyAge time.Duration
	// KeyInterval is the least time between two requests for the keys, whoever asks for a key
	// that is not known; default 10 s.
	KeyInterval time.Duration
	// FetchTimeout bounds one request; default 5 s.
	FetchTimeout time.Duration

	Now func() time.Time // default time.Now
}

// algorithms are all that a token may ever be signed by: those of a key pair.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

// Validate reports every fault.
func (c IssuerConfig) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	u, err := url.Parse(c.URL)
	fault(err != nil || u.Host == "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(c.URL, "#") || u.User != nil,
		"the issuer is not a URL of the form https://HOST/PATH")
	if err == nil {
		fault(u.Scheme != "https" && !c.Development, "the issuer's URL is not https: its keys could be anybody's")
		fault(c.Development && !isLoopback(u), "the development issuer is not http at a loopback address")
	}
	fault(c.Audience == "", "the audience is missing: a token for another service would be taken")
	for _, a := range c.Algorithms {
		fault(!slices.Contains(algorithms, a), "the algorithm %q is none of %s", a, strings.Join(algorithms, ", "))
	}
	fault(c.MaxAge < 0 || c.Skew < 0 || c.Skew > 5*time.Minute || c.KeyAge < 0 || c.KeyInterval < 0 || c.FetchTimeout < 0,
		"a time is negative, or the clocks' difference more than 5 minutes")
	return errors.Join(errs...)
}

func isLoopback(u *url.URL) bool {
	a, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && err == nil && a.IsLoopback()
}

func (c IssuerConfig) withDefaults() IssuerConfig {
	if len(c.Algorithms) == 0 {
		c.Algorithms = algorithms
	}
	if c.MFAMethods == nil {
		c.MFAMethods = []string{"mfa"}
	}
	c.MaxAge = cmp.Or(c.MaxAge, time.Hour)
	c.Skew = cmp.Or(c.Skew, 30*time.Second)
	c.KeyAge = cmp.Or(c.KeyAge, 10*time.Minute)
	c.KeyInterval = cmp.Or(c.KeyInterval, 10*time.Second)
	c.FetchTimeout = cmp.Or(c.FetchTimeout, 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Issuer verifies the tokens of one OpenID Connect issuer. It finds the issuer's keys by
// discovery (OpenID Connect Discovery 1.0 section 4) when the first token comes, and reads
// them again when they are old or a token names one that it does not know. It is safe for
// concurrent use.
type Issuer struct {
	cfg     IssuerConfig
	allowed []jose.SignatureAlgorithm
	keys    *keySet
}

// NewIssuer returns a verifier of the issuer's tokens. It asks the issuer for nothing yet.
func NewIssuer(cfg IssuerConfig) (*Issuer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sign-in: %w", err)
	}
	cfg = cfg.withDefaults()
	i := &Issuer{cfg: cfg, keys: newKeySet(cfg, &http.Transport{
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs},
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    cfg.FetchTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        time.Minute,
	})}
	for _, a := range cfg.Algorithms {
		i.allowed = append(i.allowed, jose.SignatureAlgorithm(a))
	}
	return i, nil
}

// Close ends the connections to the issuer that are idle.
func (i *Issuer) Close() { i.keys.client.CloseIdleConnections() }

// Fetch reads the issuer's keys unless they are known and young: what shows at the start that
// the issuer can be reached and is the one that was named.
func (i *Issuer) Fetch(ctx context.Context) error { return i.keys.refresh(ctx) }
