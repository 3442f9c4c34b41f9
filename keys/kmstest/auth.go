package kmstest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// maxSkew is how far the clocks may be apart (AWS Signature Version 4).
const maxSkew = 5 * time.Minute

// authenticate checks the signature (AWS Signature Version 4) by making it again.
func (s *Server) authenticate(r *http.Request, body []byte) (Principal, string, error) {
	fields, isSigned := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !isSigned {
		return Principal{}, "", refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	parts := map[string]string{}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		parts[name] = value
	}
	scope := strings.Split(parts["Credential"], "/") // id, date, region, service, aws4_request
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if len(scope) != 5 || scope[3] != "kms" || scope[4] != "aws4_request" || err != nil || scope[1] != at.Format("20060102") {
		return Principal{}, "", refuse("IncompleteSignatureException", "credential scope or date")
	}
	p, ok := s.cfg.Principals[scope[0]]
	if !ok {
		return Principal{}, "", refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	// The SDK signs by the real clock, whatever the clock of the keys.
	if skew := time.Since(at); skew > maxSkew || skew < -maxSkew {
		return Principal{}, "", refuse("InvalidSignatureException", "Signature expired")
	}
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), nil)
	if err != nil {
		return Principal{}, "", refuse("IncompleteSignatureException", "%v", err)
	}
	again.ContentLength = r.ContentLength
	signed := strings.Split(parts["SignedHeaders"], ";")
	for _, must := range []string{"host", "x-amz-date", "x-amz-target"} {
		if !slices.Contains(signed, must) {
			return Principal{}, "", refuse("InvalidSignatureException", "header %s is not signed", must)
		}
	}
	for _, name := range signed {
		if values := r.Header.Values(name); len(values) > 0 {
			again.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: scope[0], SecretAccessKey: p.Secret}, again, hex.EncodeToString(sum[:]), "kms", scope[2], at)
	if err != nil || subtle.ConstantTimeCompare([]byte(again.Header.Get("Authorization")), []byte(r.Header.Get("Authorization"))) != 1 {
		return Principal{}, "", refuse("InvalidSignatureException", "The request signature we calculated does not match the signature you provided.")
	}
	return p, scope[2], nil
}

func accountOf(arn string) string {
	if parts := strings.Split(arn, ":"); len(parts) > 4 {
		return parts[4]
	}
	return ""
}

// permit decides whether the caller may do the action with the key: AccessDeniedException
// unless the key's policy, the account's policies that it delegates to, or a grant allow it,
// or if the key's policy denies it.
func (s *Server) permit(c caller, action string, k *key, context map[string]string) error {
	denied := refuse("AccessDeniedException", "User: %s is not authorized to perform: kms:%s on resource: %s", c.principal.ARN, action, k.arn())
	hasIAM := c.principal.allows(action)
	allowed, delegated := false, false
	for _, st := range k.policy.Statement {
		if !st.Action.covers("kms:"+action) || !st.Condition.holds(context) {
			continue
		}
		byName, byAccount := st.Principal.names(c.principal.ARN)
		switch {
		case st.Effect == "Deny" && (byName || byAccount):
			return denied
		case byName:
			allowed = true
		case byAccount:
			delegated = true
		}
	}
	// Another account's principal needs its own account's permission, too.
	isForeign := accountOf(c.principal.ARN) != Account
	if allowed && (!isForeign || hasIAM) || delegated && hasIAM {
		return nil
	}
	for _, g := range k.grants {
		if g.GranteePrincipal == c.principal.ARN && slices.Contains(g.Operations, action) && g.Constraints.hold(action, context) {
			return nil
		}
	}
	return denied
}

func (p Principal) allows(action string) bool {
	return slices.Contains(p.IAM, "kms:*") || slices.Contains(p.IAM, "kms:"+action)
}

// policy is the part of the policy language that the server knows. What else a policy says is
// refused, not overlooked.
type policy struct {
	Version   string      `json:"Version"`
	ID        string      `json:"Id,omitempty"`
	Statement []statement `json:"Statement"`
}

type statement struct {
	Sid       string     `json:"Sid,omitempty"`
	Effect    string     `json:"Effect"`
	Principal principals `json:"Principal"`
	Action    oneOrMore  `json:"Action"`
	Resource  oneOrMore  `json:"Resource"`
	Condition conditions `json:"Condition,omitempty"`
}

type principals struct {
	AWS oneOrMore `json:"AWS"`
}

// names reports whether the statement is about the principal, or about its account.
func (p principals) names(arn string) (byName, byAccount bool) {
	for _, who := range p.AWS {
		switch who {
		case arn, "*":
			byName = true
		case accountOf(arn), "arn:aws:iam::" + accountOf(arn) + ":root":
			byAccount = true
		}
	}
	return byName, byAccount
}

// conditions are StringEquals and StringNotEquals over keys kms:EncryptionContext:<name>.
type conditions map[string]map[string]oneOrMore

func (c conditions) holds(context map[string]string) bool {
	for operator, pairs := range c {
		for name, values := range pairs {
			value, isThere := context[strings.TrimPrefix(name, "kms:EncryptionContext:")]
			isEqual := isThere && slices.Contains(values, value)
			if isEqual != (operator == "StringEquals") {
				return false
			}
		}
	}
	return true
}

// oneOrMore is a string or a list of strings.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

func (o oneOrMore) covers(action string) bool {
	return slices.Contains(o, "kms:*") || slices.ContainsFunc(o, func(a string) bool {
		prefix, isOpen := strings.CutSuffix(a, "*")
		return a == action || isOpen && prefix != "" && strings.HasPrefix(action, prefix)
	})
}

func parsePolicy(text string) (policy, error) {
	var p policy
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil || len(text) > 32<<10 || p.Version != "2012-10-17" || len(p.Statement) == 0 {
		return policy{}, refuse("MalformedPolicyDocumentException", "not a policy this server understands: %v", err)
	}
	for _, st := range p.Statement {
		ok := (st.Effect == "Allow" || st.Effect == "Deny") && len(st.Principal.AWS) > 0 && len(st.Action) > 0 && slices.Equal(st.Resource, oneOrMore{"*"})
		for operator, pairs := range st.Condition {
			ok = ok && (operator == "StringEquals" || operator == "StringNotEquals") &&
				!slices.ContainsFunc(slices.Collect(maps.Keys(pairs)), func(n string) bool { return !strings.HasPrefix(n, "kms:EncryptionContext:") })
		}
		if !ok {
			return policy{}, refuse("MalformedPolicyDocumentException", "statement %q", st.Sid)
		}
	}
	return p, nil
}

// defaultPolicy delegates to the account's own policies ("Default key policy", developer guide).
const defaultPolicy = `{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + Account + `:root"},"Action":"kms:*","Resource":"*"}]}`
