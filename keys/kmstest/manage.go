package kmstest

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// mergeTags applies the limits of the API reference: 50 tags, keys of 1 to 128 characters,
// values of at most 256, no key twice, none of the service's own.
func mergeTags(have, add []tag) ([]tag, error) {
	out := slices.Clone(have)
	seen := map[string]bool{}
	for _, t := range add {
		if len(t.TagKey) < 1 || len(t.TagKey) > 128 || len(t.TagValue) > 256 || seen[t.TagKey] || strings.HasPrefix(t.TagKey, "aws:") {
			return nil, refuse("TagException", "tag")
		}
		seen[t.TagKey] = true
		if i := slices.IndexFunc(out, func(o tag) bool { return o.TagKey == t.TagKey }); i >= 0 {
			out[i] = t
		} else {
			out = append(out, t)
		}
	}
	if len(out) > 50 {
		return nil, refuse("TagException", "too many tags")
	}
	return out, nil
}

type tagIn struct {
	KeyId string
	Tags  []tag
}

func (s *Server) tagResource(c caller, in tagIn) (nothing, error) {
	k, err := s.findKey(c, in.KeyId, "TagResource")
	if err == nil {
		err = k.notPending()
	}
	if err != nil {
		return nothing{}, err
	}
	tags, err := mergeTags(k.tags, in.Tags)
	if err == nil {
		k.tags = tags
	}
	return nothing{}, err
}

type pageIn struct {
	KeyId  string
	Limit  *int
	Marker string
}

// page cuts a list as Limit and Marker say: the marker is the last name before the page.
func page[T any](all []T, name func(T) string, in pageIn, limit int, field string) (any, error) {
	slices.SortFunc(all, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	if in.Limit != nil {
		if *in.Limit < 1 || *in.Limit > 1000 {
			return nil, refuse("ValidationException", "Limit")
		}
		limit = *in.Limit
	}
	if in.Marker != "" {
		at := slices.IndexFunc(all, func(t T) bool { return name(t) == in.Marker })
		if at < 0 {
			return nil, refuse("InvalidMarkerException", "marker")
		}
		all = all[at+1:]
	}
	out := map[string]any{"Truncated": false, field: all}
	if len(all) > limit {
		out["Truncated"], out["NextMarker"], out[field] = true, name(all[limit-1]), all[:limit]
	}
	if len(all) == 0 {
		out[field] = []T{}
	}
	return out, nil
}

func (s *Server) listResourceTags(c caller, in pageIn) (any, error) {
	k, err := s.findKey(c, in.KeyId, "ListResourceTags")
	if err != nil {
		return nil, err
	}
	return page(slices.Clone(k.tags), func(t tag) string { return t.TagKey }, in, 50, "Tags")
}

func (s *Server) listKeys(c caller, in pageIn) (any, error) {
	if !c.principal.allows("ListKeys") {
		return nil, refuse("AccessDeniedException", "User: %s is not authorized to perform: kms:ListKeys", c.principal.ARN)
	}
	type listed struct{ KeyId, KeyArn string }
	var all []listed
	for _, k := range c.region.keys {
		all = append(all, listed{k.id, k.arn()})
	}
	return page(all, func(l listed) string { return l.KeyId }, in, 100, "Keys")
}

type policyIn struct {
	KeyId                          string
	PolicyName                     string
	Policy                         string
	BypassPolicyLockoutSafetyCheck bool
}

func (s *Server) putKeyPolicy(c caller, in policyIn) (nothing, error) {
	if in.PolicyName != "" && in.PolicyName != "default" || in.Policy == "" {
		return nothing{}, refuse("ValidationException", "policy")
	}
	k, err := s.findKey(c, in.KeyId, "PutKeyPolicy")
	if err != nil {
		return nothing{}, err
	}
	return nothing{}, s.setPolicy(c, k, in.Policy, in.BypassPolicyLockoutSafetyCheck)
}

// setPolicy refuses a policy that locks its own author out, unless the check is bypassed or
// the policy is the default one.
func (s *Server) setPolicy(c caller, k *key, text string, bypass bool) error {
	if text == "" {
		text, bypass = defaultPolicy, true
	}
	p, err := parsePolicy(text)
	if err != nil {
		return err
	}
	next := *k
	next.policyText, next.policy, next.grants = text, p, nil
	if !bypass && s.permit(c, "PutKeyPolicy", &next, nil) != nil {
		return refuse("MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")
	}
	k.policyText, k.policy = text, p
	return nil
}

func (s *Server) getKeyPolicy(c caller, in policyIn) (any, error) {
	k, err := s.findKey(c, in.KeyId, "GetKeyPolicy")
	if err != nil {
		return nil, err
	}
	return map[string]string{"Policy": k.policyText, "PolicyName": "default"}, nil
}

type aliasIn struct{ AliasName, TargetKeyId string }

var aliasName = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]{1,250}$`)

func (s *Server) createAlias(c caller, in aliasIn) (nothing, error) {
	if !aliasName.MatchString(in.AliasName) || strings.HasPrefix(in.AliasName, "alias/aws/") {
		return nothing{}, refuse("InvalidAliasNameException", "alias name")
	}
	if !c.principal.allows("CreateAlias") {
		return nothing{}, refuse("AccessDeniedException", "User: %s is not authorized to perform: kms:CreateAlias", c.principal.ARN)
	}
	k, err := s.findKey(c, in.TargetKeyId, "CreateAlias")
	if err == nil {
		err = k.notPending()
	}
	if err != nil {
		return nothing{}, err
	}
	if _, exists := c.region.aliases[in.AliasName]; exists {
		return nothing{}, refuse("AlreadyExistsException", "An alias with the name %s already exists", in.AliasName)
	}
	c.region.aliases[in.AliasName] = k.id
	return nothing{}, nil
}

func (s *Server) deleteAlias(c caller, in struct{ AliasName string }) (nothing, error) {
	k, err := s.find(c, in.AliasName)
	if err == nil {
		err = s.permit(c, "DeleteAlias", k, nil)
	}
	if err == nil {
		delete(c.region.aliases, in.AliasName)
	}
	return nothing{}, err
}

func (s *Server) listAliases(c caller, in pageIn) (any, error) {
	if !c.principal.allows("ListAliases") {
		return nil, refuse("AccessDeniedException", "User: %s is not authorized to perform: kms:ListAliases", c.principal.ARN)
	}
	type alias struct{ AliasName, AliasArn, TargetKeyId string }
	var all []alias
	for name, id := range c.region.aliases {
		if in.KeyId == "" || in.KeyId == id || strings.HasSuffix(in.KeyId, "/"+id) {
			all = append(all, alias{name, "arn:aws:kms:" + c.region.name + ":" + Account + ":" + name, id})
		}
	}
	return page(all, func(a alias) string { return a.AliasName }, in, 50, "Aliases")
}

type grant struct {
	GrantId           string
	KeyId             string
	Name              string `json:",omitempty"`
	GranteePrincipal  string
	RetiringPrincipal string       `json:",omitempty"`
	Operations        []string     `json:"Operations"`
	Constraints       *constraints `json:",omitempty"`
	IssuingAccount    string
	CreationDate      float64
	token             string
}

type constraints struct {
	EncryptionContextEquals map[string]string `json:",omitempty"`
	EncryptionContextSubset map[string]string `json:",omitempty"`
}

// hold reports whether the constraints allow the operation: they bind cryptographic
// operations only ("GrantConstraints", API reference).
func (c *constraints) hold(action string, context map[string]string) bool {
	if c == nil || action == "DescribeKey" || action == "RetireGrant" || action == "CreateGrant" {
		return true
	}
	if c.EncryptionContextEquals != nil && !maps.Equal(c.EncryptionContextEquals, context) {
		return false
	}
	for name, value := range c.EncryptionContextSubset {
		if got, ok := context[name]; !ok || got != value {
			return false
		}
	}
	return true
}

// Operations that a grant on a key of either usage may allow.
var grantable = map[string][]string{
	"ENCRYPT_DECRYPT": {
		"Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "CreateGrant", "RetireGrant", "DescribeKey",
	},
	"GENERATE_VERIFY_MAC": {"GenerateMac", "VerifyMac", "CreateGrant", "RetireGrant", "DescribeKey"},
}

type createGrantIn struct {
	KeyId             string
	GranteePrincipal  string
	RetiringPrincipal string
	Operations        []string
	Constraints       *constraints
	Name              string
	GrantTokens       []string
}

func (s *Server) createGrant(c caller, in createGrantIn) (any, error) {
	k, err := s.findKey(c, in.KeyId, "CreateGrant")
	if err == nil {
		err = k.usable()
	}
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(in.GranteePrincipal, "arn:aws:") || len(in.Operations) == 0 || len(in.Name) > 256 ||
		in.RetiringPrincipal != "" && !strings.HasPrefix(in.RetiringPrincipal, "arn:aws:") {
		return nil, refuse("ValidationException", "grant")
	}
	if slices.ContainsFunc(in.Operations, func(o string) bool { return !slices.Contains(grantable[k.usage], o) }) {
		return nil, refuse("ValidationException", "Operations that do not fit the key's usage")
	}
	if c := in.Constraints; c != nil && k.usage != "ENCRYPT_DECRYPT" {
		return nil, refuse("ValidationException", "encryption context constraints are for symmetric encryption keys")
	}
	id := strings.ReplaceAll(newKeyID(true)[4:], "-", "")
	g := &grant{
		GrantId: id + id, KeyId: k.arn(), Name: in.Name, GranteePrincipal: in.GranteePrincipal, RetiringPrincipal: in.RetiringPrincipal,
		Operations: slices.Clone(in.Operations), Constraints: in.Constraints, IssuingAccount: "arn:aws:iam::" + Account + ":root",
		CreationDate: seconds(s.now()), token: newKeyID(true),
	}
	k.grants = append(k.grants, g)
	return map[string]string{"GrantId": g.GrantId, "GrantToken": g.token}, nil
}

type listGrantsIn struct {
	pageIn
	GrantId          string
	GranteePrincipal string
}

func (s *Server) listGrants(c caller, in listGrantsIn) (any, error) {
	k, err := s.findKey(c, in.KeyId, "ListGrants")
	if err != nil {
		return nil, err
	}
	var all []*grant
	for _, g := range k.grants {
		if (in.GrantId == "" || in.GrantId == g.GrantId) && (in.GranteePrincipal == "" || in.GranteePrincipal == g.GranteePrincipal) {
			all = append(all, g)
		}
	}
	return page(all, func(g *grant) string { return g.GrantId }, in.pageIn, 50, "Grants")
}

type endGrantIn struct {
	KeyId      string
	GrantId    string
	GrantToken string
}

func (s *Server) revokeGrant(c caller, in endGrantIn) (nothing, error) {
	k, err := s.findKey(c, in.KeyId, "RevokeGrant")
	if err != nil {
		return nothing{}, err
	}
	return nothing{}, k.endGrant(func(g *grant) bool { return g.GrantId == in.GrantId })
}

// retireGrant is allowed to the account, the retiring principal, and a grantee who was
// granted it.
func (s *Server) retireGrant(c caller, in endGrantIn) (nothing, error) {
	for _, k := range c.region.keys {
		for _, g := range k.grants {
			if in.GrantToken != "" && g.token != in.GrantToken || in.GrantToken == "" && (g.GrantId != in.GrantId || in.KeyId != k.arn()) {
				continue
			}
			mayRetire := c.principal.ARN == g.RetiringPrincipal || c.principal.allows("RetireGrant") ||
				c.principal.ARN == g.GranteePrincipal && slices.Contains(g.Operations, "RetireGrant")
			if !mayRetire {
				return nothing{}, refuse("AccessDeniedException", "User: %s is not authorized to perform: kms:RetireGrant", c.principal.ARN)
			}
			return nothing{}, k.endGrant(func(o *grant) bool { return o == g })
		}
	}
	return nothing{}, refuse("NotFoundException", "grant")
}

func (k *key) endGrant(which func(*grant) bool) error {
	before := len(k.grants)
	k.grants = slices.DeleteFunc(k.grants, which)
	if len(k.grants) == before {
		return refuse("NotFoundException", "Grant ID")
	}
	return nil
}
