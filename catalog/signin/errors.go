package signin

// Reason says for operators why a caller was not signed in: one of a fixed list, fit for a
// metric's label.
type Reason string

// The reasons.
const (
	NoCredentials Reason = "no_credentials" // neither a token nor a certificate that is taken
	Malformed     Reason = "malformed"      // no token of one signature in compact form, or several
	Algorithm     Reason = "algorithm"      // signed by an algorithm that is not allowed
	TokenType     Reason = "token_type"     // a token that is for something else than signing in
	UnknownKey    Reason = "unknown_key"    // the issuer has no key of that id
	Signature     Reason = "signature"      // the signature is not the key's
	WrongIssuer   Reason = "issuer"
	Audience      Reason = "audience"
	Party         Reason = "authorised_party" // issued to a client that is not on the list
	Claims        Reason = "claims"           // a claim that must be there is not, or has another form
	Expired       Reason = "expired"
	NotYet        Reason = "not_yet_valid"
	TooOld        Reason = "too_old" // issued longer ago than tokens are taken

	// Of the authorization code flow.
	State   Reason = "state"         // the browser did not begin this sign-in, or it took too long
	Denied  Reason = "denied"        // the issuer says that the person, or it, declined
	Code    Reason = "code"          // the issuer does not take the code, or there is none
	Nonce   Reason = "nonce"         // the ID token is of another sign-in
	Binding Reason = "token_binding" // the ID token is not of the access token that came with it
	Stale   Reason = "auth_time"     // the person showed who it is longer ago than is taken

	// Of API keys.
	UnknownAPIKey  Reason = "unknown_api_key"     // there is none, or it was revoked
	UnreadableKeys Reason = "unreadable_api_keys" // the store can't be read

	// Of sessions.
	NoSession Reason = "session"    // there is none of this id, or it has ended
	CrossSite Reason = "cross_site" // the request is of another site's page
	CSRF      Reason = "csrf"       // the request does not have the session's token

	UnknownSubject     Reason = "unknown_subject"      // verified, and no principal has it
	TwoIdentities      Reason = "two_identities"       // the certificate's principal is not the token's
	CertificateName    Reason = "certificate_name"     // the certificate does not name one subject
	CertificateExpired Reason = "certificate_expired"  // it ran out while the connection was open
	CertificateRoot    Reason = "certificate_root"     // its authority is trusted no more
	IssuerUnavailable  Reason = "issuer_unavailable"   // the issuer's keys can't be had
	Unreadable         Reason = "unreadable_authority" // the authorities' file can't be read
)

// Error says that a caller was not signed in. Its text is for the caller.
type Error struct {
	Reason Reason
	// Subject is who it was, when that is verified, else empty.
	Subject string
	// Err is why nobody can sign in at the moment, for the operator; nil otherwise.
	Err error
}

// Error is the same for every reason but one, so that it tells nothing to who tries.
func (e *Error) Error() string {
	if e.IsTemporary() {
		return "nobody can sign in at the moment: try again"
	}
	return "not signed in: sign in again"
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// IsTemporary reports whether the same credentials may be good a moment later.
func (e *Error) IsTemporary() bool {
	return e.Reason == IssuerUnavailable || e.Reason == Unreadable || e.Reason == UnreadableKeys
}

func refuse(r Reason) *Error { return &Error{Reason: r} }
