package signin

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// types are what the header "typ" of a token for signing in may be (RFC 9068 section 2.1, RFC
// 8725 section 3.11). Tokens that the same issuer signs for other ends, such as logout tokens,
// have others.
var types = []string{"", "jwt", "at+jwt", "application/at+jwt", "application/jwt"}

// claims are what is read of a token besides what go-oidc checks.
type claims struct {
	Subject   string          `json:"sub"`
	Expiry    instant         `json:"exp"`
	Issued    instant         `json:"iat"`
	NotBefore instant         `json:"nbf"`
	Party     string          `json:"azp"`
	Methods   []string        `json:"amr"`
	Class     string          `json:"acr"`
	LastShown instant         `json:"auth_time"`
	Events    json.RawMessage `json:"events"`
}

// instant is a NumericDate (RFC 7519 section 2), zero if the claim is not there.
type instant struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (i *instant) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return err
	}
	if seconds <= 0 || seconds > 1<<40 { // 1<<40 is past the year 36,000, and fits time.Time
		return errors.New("not a time")
	}
	whole, part := math.Modf(seconds)
	i.Time = time.Unix(int64(whole), int64(part*1e9))
	return nil
}

// Verify implements Tokens: signature, issuer, audience and times (OpenID Connect Core 1.0
// section 3.1.3.7, RFC 8725).
func (i *Issuer) Verify(ctx context.Context, token string) (Identity, error) {
	_, c, refused := i.verified(ctx, token, i.cfg.Audience, types)
	if refused != nil {
		return Identity{}, refused
	}
	id := i.identity(c)
	why := i.timely(c)
	if why == "" && len(i.cfg.Parties) > 0 && !slices.Contains(i.cfg.Parties, c.Party) {
		why = Party
	}
	if why != "" {
		return Identity{}, &Error{Reason: why, Subject: id.Subject}
	}
	return id, nil
}

// verified returns a token, and its claims, that the issuer signed for the audience. Its times
// are not checked yet.
func (i *Issuer) verified(ctx context.Context, token, audience string, types []string) (*oidc.IDToken, *claims, *Error) {
	if len(token) > maxToken || strings.IndexFunc(token, notInToken) >= 0 {
		return nil, nil, refuse(Malformed)
	}
	jws, err := jose.ParseSignedCompact(token, i.allowed)
	switch {
	case errors.As(err, new(*jose.ErrUnexpectedSignatureAlgorithm)):
		return nil, nil, refuse(Algorithm)
	case err != nil || len(jws.Signatures) != 1:
		return nil, nil, refuse(Malformed)
	}
	kind, _ := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string)
	if !slices.Contains(types, strings.ToLower(kind)) {
		return nil, nil, refuse(TokenType)
	}
	check := &signature{keys: i.keys, jws: jws}
	verified, err := oidc.NewVerifier(i.cfg.URL, check, &oidc.Config{
		ClientID: audience, SupportedSigningAlgs: i.cfg.Algorithms,
		SkipExpiryCheck: true, // times are checked by timely: within the configured skew, and the age too
	}).Verify(ctx, token)
	if err != nil {
		return nil, nil, i.failure(check)
	}
	c := new(claims)
	if verified.Claims(c) != nil || !isSubject(c.Subject) || c.Expiry.IsZero() || c.Issued.IsZero() {
		return nil, nil, refuse(Claims)
	}
	return verified, c, nil
}

// identity is what verified claims say of who it is.
func (i *Issuer) identity(c *claims) Identity {
	id := Identity{Subject: "oidc:" + i.cfg.URL + "#" + c.Subject, Until: c.Expiry.Time}
	if i.cfg.Development {
		id.Subject = DevelopmentSubject(c.Subject)
	}
	id.MFA = slices.Contains(i.cfg.MFAClasses, c.Class) ||
		slices.ContainsFunc(c.Methods, func(m string) bool { return slices.Contains(i.cfg.MFAMethods, m) })
	return id
}

// DevelopmentSubject is how a subject of the development issuer is written.
func DevelopmentSubject(sub string) string { return "dev:" + sub }

// isSubject reports whether it is a claim "sub" (OpenID Connect Core 1.0 section 2: at most 255
// ASCII characters), of which none breaks a line.
func isSubject(s string) bool {
	return s != "" && len(s) <= 255 && strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) < 0
}

// timely says what is wrong with what a verified token is for and when, or returns "".
func (i *Issuer) timely(c *claims) Reason {
	now := i.cfg.Now()
	switch {
	case c.Events != nil: // RFC 8417: a security event, such as a logout
		return TokenType
	case !now.Before(c.Expiry.Add(i.cfg.Skew)):
		return Expired
	case now.Add(i.cfg.Skew).Before(c.Issued.Time), now.Add(i.cfg.Skew).Before(c.NotBefore.Time):
		return NotYet
	case now.Sub(c.Issued.Time) > i.cfg.MaxAge+i.cfg.Skew:
		return TooOld
	}
	return ""
}

// failure says why go-oidc refused, whose errors are texts that hold claims.
func (i *Issuer) failure(check *signature) *Error {
	if check.err != nil {
		return check.err
	}
	var c struct {
		claims
		Issuer string `json:"iss"`
	}
	switch {
	case check.payload == nil:
		return refuse(Malformed)
	case json.Unmarshal(check.payload, &c) != nil:
		return refuse(Claims)
	case c.Issuer != i.cfg.URL:
		return refuse(WrongIssuer)
	}
	return refuse(Audience)
}

// signature is the check of one token's signature. It implements oidc.KeySet.
type signature struct {
	keys    *keySet
	jws     *jose.JSONWebSignature
	payload []byte
	err     *Error
}

// VerifySignature implements oidc.KeySet.
func (s *signature) VerifySignature(ctx context.Context, _ string) ([]byte, error) {
	var key *jose.JSONWebKey
	header := s.jws.Signatures[0].Protected
	if key, s.err = s.keys.key(ctx, header.KeyID, header.Algorithm); s.err != nil {
		return nil, s.err
	}
	payload, err := s.jws.Verify(key)
	if err != nil {
		s.err = refuse(Signature)
		return nil, s.err
	}
	s.payload = payload
	return payload, nil
}
