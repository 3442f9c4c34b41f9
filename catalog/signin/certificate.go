package signin

import (
	"crypto/x509"
	"time"
	"unicode/utf8"
)

// maxSubject bounds a subject, so that it can be recorded.
const maxSubject = 512

// CertificateIdentity returns whom a verified client certificate names: by its one URI, which
// must be a SPIFFE id (SPIFFE X.509-SVID section 2), or if it has none, by its subject.
// A certificate never shows more than one factor. An error is an *Error.
func CertificateIdentity(c *x509.Certificate, now time.Time) (Identity, error) {
	var subject string
	switch len(c.URIs) {
	case 0:
		if c.Subject.CommonName != "" {
			subject = "x509:" + c.Subject.String()
		}
	case 1:
		if u := c.URIs[0]; u.Scheme == "spiffe" && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" {
			subject = u.String()
		}
	}
	if subject == "" || len(subject) > maxSubject || !utf8.ValidString(subject) {
		return Identity{}, refuse(CertificateName)
	}
	// Connections last: what was right when one began may have run out.
	if now.Before(c.NotBefore) || !now.Before(c.NotAfter) {
		return Identity{}, &Error{Reason: CertificateExpired, Subject: subject}
	}
	return Identity{Subject: subject, Until: c.NotAfter}, nil
}
