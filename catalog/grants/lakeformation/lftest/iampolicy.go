package lftest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode"
)

// policyDocument is the part of the policy language that the server knows. What else a document
// says is refused, not overlooked.
type policyDocument struct {
	Version   string
	Statement []policyStatement
}

type policyStatement struct {
	Sid         string `json:",omitempty"`
	Effect      string
	Action      oneOrMore
	Resource    oneOrMore                       `json:",omitempty"`
	NotResource oneOrMore                       `json:",omitempty"`
	Condition   map[string]map[string]oneOrMore `json:",omitempty"`
}

// oneOrMore is a string or a list of strings.
type oneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// maxPolicy is how many characters a managed policy may have, white space not counted.
const maxPolicy = 6144

func parsePolicy(text string) (policyDocument, error) {
	malformed := func(why string) error {
		return &failure{"MalformedPolicyDocument", why, http.StatusBadRequest}
	}
	size := 0
	for _, r := range text {
		if !unicode.IsSpace(r) {
			size++
		}
	}
	if size > maxPolicy {
		return policyDocument{}, &failure{"LimitExceeded", "Cannot exceed quota for PolicySize: 6144", http.StatusConflict}
	}
	var p policyDocument
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil || p.Version != "2012-10-17" || len(p.Statement) == 0 {
		return policyDocument{}, malformed("Syntax errors in policy.")
	}
	sids := map[string]bool{}
	for _, st := range p.Statement {
		if st.Effect != "Allow" && st.Effect != "Deny" || len(st.Action) == 0 || (len(st.Resource) > 0) == (len(st.NotResource) > 0) || st.Sid != "" && sids[st.Sid] {
			return policyDocument{}, malformed("statement " + st.Sid)
		}
		sids[st.Sid] = true
		if strings.Trim(st.Sid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			return policyDocument{}, malformed("Statement IDs (SID) must be alpha-numeric.")
		}
		for _, a := range st.Action {
			if a != "*" && !strings.Contains(a, ":") {
				return policyDocument{}, malformed("Actions/Conditions must be prefaced by a vendor")
			}
		}
		for _, r := range slices.Concat(st.Resource, st.NotResource) {
			if r != "*" && (!strings.HasPrefix(r, "arn:aws:") || strings.Count(r, ":") < 5) {
				return policyDocument{}, malformed("Resource must be in ARN format or \"*\".")
			}
		}
		for operator := range st.Condition {
			if operator != "StringEquals" && operator != "StringLike" {
				return policyDocument{}, malformed("this server does not know the operator " + operator)
			}
		}
	}
	return p, nil
}

// applies reports whether the statement is about the action on the resource, with any context
// that makes it allow more.
func (st policyStatement) applies(action, on string) bool {
	if !slices.ContainsFunc(st.Action, func(a string) bool { return like(strings.ToLower(a), strings.ToLower(action)) }) {
		return false
	}
	if len(st.NotResource) > 0 {
		return !slices.ContainsFunc(st.NotResource, func(r string) bool { return like(r, on) })
	}
	if st.Effect == "Deny" && len(st.Condition) > 0 {
		return false
	}
	return slices.ContainsFunc(st.Resource, func(r string) bool { return like(r, on) })
}

// like matches a text with a pattern in which * is any text and ? any character.
func like(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	switch pattern[0] {
	case '*':
		return like(pattern[1:], text) || text != "" && like(pattern, text[1:])
	case '?':
		return text != "" && like(pattern[1:], text[1:])
	}
	return text != "" && text[0] == pattern[0] && like(pattern[1:], text[1:])
}

// allows reports whether the role may do the action on the resource: its policies allow it, its
// boundary too, and neither denies it ("Policy evaluation logic", IAM user guide).
func (i *identities) allows(arn, action, on string) bool {
	r := i.roles[arn]
	if r == nil {
		return false
	}
	var documents []policyDocument
	for policy := range r.attached {
		documents = append(documents, i.policies[policy].current())
	}
	for _, d := range r.inline {
		documents = append(documents, d)
	}
	allowed := effect(documents, "Allow", action, on)
	denied := effect(documents, "Deny", action, on)
	if r.boundary != "" {
		boundary := []policyDocument{i.policies[r.boundary].current()}
		allowed = allowed && effect(boundary, "Allow", action, on)
		denied = denied || effect(boundary, "Deny", action, on)
	}
	return allowed && !denied
}

func effect(documents []policyDocument, effect, action, on string) bool {
	return slices.ContainsFunc(documents, func(d policyDocument) bool {
		return slices.ContainsFunc(d.Statement, func(st policyStatement) bool { return st.Effect == effect && st.applies(action, on) })
	})
}
