// Package signin finds out who is asking: a person by an OpenID Connect token, a service by a
// token or by its client certificate. Every door of the lake takes its caller from here, and
// nothing of the caller's own say-so: the subject that an issuer or an authority vouches for is
// looked up among the principals, at every request, so that whoever is taken out of them is
// refused from then on (PCI DSS 4.0.1 requirements 8.2.1, 8.2.2 and 8.2.5).
//
// Browsers sign in at the issuer by the authorization code flow ([Client]); what they show from then
// on is not for this package to know, but whose it is, is looked up here as well
// ([Verifier.Identified]). Programs of people show keys of package apikeys as bearer tokens.
//
// A subject is written
//
//	oidc:ISSUER#SUB     of a token: its issuer and its claim "sub"
//	spiffe://DOMAIN/…   of a certificate with one URI
//	x509:SUBJECT        of a certificate without one: its subject as RFC 4514 writes it
//
// # What holds
//
// A caller has one identity. Who shows a certificate and a token must be the same principal by
// both, unless certificates are transport only ([Config.Transport]): then the token alone says
// who it is, and there must be one. Headers that state an identity, as proxies add them, are
// not read at all.
//
// Errors say to the caller no more than to sign in again. What was wrong is for the operator
// ([Error.Reason], [Error.Subject]), without a byte of a token that was not verified.
package signin

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Principals are those that may sign in, as of now; *grants.Set is one version of them.
type Principals interface {
	// PrincipalOf returns the principal of a subject, of which there is at most one.
	PrincipalOf(subject string) (grants.Principal, bool)
}

// Tokens verifies tokens; *Issuer is one.
type Tokens interface {
	// Verify returns whom the token names. An error is an *Error.
	Verify(ctx context.Context, token string) (Identity, error)
}

// Identity is what a credential proves.
type Identity struct {
	Subject string
	// MFA says that more than one factor was shown.
	MFA bool
	// Until is when the credential ends.
	Until time.Time

	// Principal, if it is set, is whose the subject must be still: a credential that was made for
	// one principal is not another's whom the subject is given to later.
	Principal grants.Principal
	// Tenant narrows what is permitted, and Key is the id of an API key, as in grants.Caller.
	Tenant cardlake.Tenant
	Key    string
}

// Credentials are what a caller shows.
type Credentials struct {
	// Token is the bearer token, empty if there is none.
	Token string
	// Certificate is the client's, nil if there is none. It must have been verified, and by
	// an authority that is still trusted.
	Certificate *x509.Certificate
	// Origin is the address that the request came from.
	Origin string
}

// Config says which credentials are taken. A zero Config takes none.
type Config struct {
	// Tokens verifies bearer tokens; nil takes none.
	Tokens Tokens
	// Certificates takes a certificate as who the caller is.
	Certificates bool
	// Transport wants a certificate for the connection, and a token that says who the caller
	// is. It excludes Certificates.
	Transport bool
	// Authorities are those that clients' certificates must be of still; nil leaves that to
	// when the connection began.
	Authorities *Authorities
	// Proxies are the networks of proxies whose X-Forwarded-For is believed; none by default.
	Proxies []netip.Prefix
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Verifier finds out who is asking. It is safe for concurrent use.
type Verifier struct {
	principals Principals
	cfg        Config
}

// New returns a verifier that looks subjects up among the principals.
func New(principals Principals, cfg Config) (*Verifier, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case cfg.Transport && cfg.Certificates:
		return nil, errors.New("sign-in: a certificate either says who the caller is or is transport")
	case cfg.Transport && cfg.Tokens == nil:
		return nil, errors.New("sign-in: certificates are transport, and there are no tokens to say who the caller is")
	case cfg.Tokens == nil && !cfg.Certificates:
		return nil, errors.New("sign-in: neither tokens nor certificates are taken, so nobody could sign in")
	}
	return &Verifier{principals, cfg}, nil
}

// Caller returns who shows the credentials. An error is an *Error.
func (v *Verifier) Caller(ctx context.Context, c Credentials) (grants.Caller, error) {
	if c.Token == "" {
		return v.caller(nil, c)
	}
	if v.cfg.Tokens == nil {
		return grants.Caller{}, refuse(NoCredentials)
	}
	id, err := v.cfg.Tokens.Verify(ctx, c.Token)
	if err != nil {
		return grants.Caller{}, err
	}
	return v.caller(&id, c)
}

// caller returns who has an identity, which something else than a certificate proves, nil for
// none, and shows a certificate.
func (v *Verifier) caller(id *Identity, c Credentials) (grants.Caller, error) {
	var byCertificate grants.Principal
	caller := grants.Caller{Origin: c.Origin}
	if id != nil {
		p, err := v.principal(*id)
		if err != nil {
			return grants.Caller{}, err
		}
		caller.Principal, caller.Subject, caller.MFA, caller.Tenant, caller.Key = p, id.Subject, id.MFA, id.Tenant, id.Key
	}
	switch {
	case v.cfg.Transport && c.Certificate == nil:
		return grants.Caller{}, refuse(NoCredentials)
	case c.Certificate != nil && (v.cfg.Certificates || v.cfg.Transport):
		shown, err := CertificateIdentity(c.Certificate, v.cfg.Now())
		if err != nil {
			return grants.Caller{}, err
		}
		if v.cfg.Transport {
			break
		}
		if byCertificate, err = v.principal(shown); err != nil {
			return grants.Caller{}, err
		}
		if id == nil {
			caller.Principal, caller.Subject = byCertificate, shown.Subject
		}
	}
	var none grants.Principal
	switch {
	case caller.Principal == none:
		return grants.Caller{}, refuse(NoCredentials)
	case byCertificate != none && byCertificate != caller.Principal:
		return grants.Caller{}, &Error{Reason: TwoIdentities, Subject: caller.Principal.String()}
	}
	return caller, nil
}

func (v *Verifier) principal(id Identity) (grants.Principal, error) {
	p, ok := v.principals.PrincipalOf(id.Subject)
	if !ok || p.Validate() != nil || id.Principal != (grants.Principal{}) && id.Principal != p {
		return grants.Principal{}, &Error{Reason: UnknownSubject, Subject: id.Subject}
	}
	return p, nil
}

// FromRequest returns the caller of an HTTP request. An error is an *Error, also for
// credentials that are not well-formed.
func (v *Verifier) FromRequest(r *http.Request) (grants.Caller, error) {
	token, err := Bearer(r)
	if err != nil {
		return grants.Caller{}, err
	}
	c, err := v.shown(r)
	if err != nil {
		return grants.Caller{}, err
	}
	c.Token = token
	return v.Caller(r.Context(), c)
}

// Identified returns the caller of an HTTP request who has proved the identity otherwise than by
// what the request shows, as by a session. It is looked up anew, and what holds for certificates
// beside a token holds here. An error is an *Error.
func (v *Verifier) Identified(r *http.Request, id Identity) (grants.Caller, error) {
	c, err := v.shown(r)
	if err != nil {
		return grants.Caller{}, err
	}
	return v.caller(&id, c)
}

// shown is what the connection of a request shows.
func (v *Verifier) shown(r *http.Request) (Credentials, error) {
	c := Credentials{Origin: Origin(r, v.cfg.Proxies)}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		if v.cfg.Authorities != nil {
			if err := v.cfg.Authorities.Trust(r.TLS.VerifiedChains); err != nil {
				return c, err
			}
		}
		c.Certificate = r.TLS.PeerCertificates[0]
	}
	return c, nil
}

// Origin is the address that the request came from, without a port, as callers have it.
func (v *Verifier) Origin(r *http.Request) string { return Origin(r, v.cfg.Proxies) }
