package lftest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// encryption is the grants of KMS.
type encryption struct {
	keys map[string][]*keyGrant // by ARN
	next int
}

func newEncryption(keys []string) encryption {
	e := encryption{keys: map[string][]*keyGrant{}}
	for _, k := range keys {
		e.keys[k] = nil
	}
	return e
}

type keyGrant struct {
	GrantId           string
	KeyId             string
	Name              string `json:",omitempty"`
	GranteePrincipal  string
	RetiringPrincipal string       `json:",omitempty"`
	Operations        []string     `json:"Operations"`
	Constraints       *constraints `json:",omitempty"`
	IssuingAccount    string
	CreationDate      float64
}

type constraints struct {
	EncryptionContextEquals map[string]string `json:",omitempty"`
	EncryptionContextSubset map[string]string `json:",omitempty"`
}

// hold reports whether the constraints allow a cryptographic operation ("GrantConstraints", API
// reference).
func (c *constraints) hold(context map[string]string) bool {
	if c == nil {
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

type createGrantIn struct {
	KeyId, GranteePrincipal, RetiringPrincipal, Name string
	Operations                                       []string
	Constraints                                      *constraints
}

type listGrantsIn struct {
	KeyId, Marker, GrantId, GranteePrincipal string
	Limit                                    int
}

type revokeGrantIn struct{ KeyId, GrantId string }

var (
	grantName  = regexp.MustCompile(`^[a-zA-Z0-9:/_-]{1,256}$`)
	operations = []string{"Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "CreateGrant", "RetireGrant", "DescribeKey"}
)

func (s *Server) callKMS(operation string, body []byte) (any, error) {
	switch operation {
	case "CreateGrant":
		return run(body, s.createGrant)
	case "ListGrants":
		return run(body, s.listGrants)
	case "RevokeGrant":
		return run(body, s.revokeGrant)
	}
	return nil, &failure{"UnknownOperationException", operation, http.StatusNotFound}
}

func (s *Server) key(id string) error {
	if _, ok := s.kms.keys[id]; !ok {
		return refuse("NotFoundException", "Key '%s' does not exist", id)
	}
	return nil
}

// createGrant makes one grant of a name, however often it is asked for with the same members
// (API reference, CreateGrant, "Name").
func (s *Server) createGrant(in createGrantIn) (any, error) {
	if err := s.key(in.KeyId); err != nil {
		return nil, err
	}
	bad := in.Name != "" && !grantName.MatchString(in.Name) || len(in.Operations) == 0 ||
		slices.ContainsFunc(in.Operations, func(o string) bool { return !slices.Contains(operations, o) })
	if bad {
		return nil, refuse("ValidationException", "grant")
	}
	if c := in.Constraints; c != nil && (len(c.EncryptionContextEquals) > 8 || len(c.EncryptionContextSubset) > 8) {
		return nil, refuse("ValidationException", "constraints")
	}
	for _, who := range []string{in.GranteePrincipal, in.RetiringPrincipal} {
		if who != "" && s.iam.roles[who] == nil && !strings.HasSuffix(who, ":root") {
			return nil, refuse("InvalidArnException", "%s", who)
		}
	}
	if in.GranteePrincipal == "" {
		return nil, refuse("ValidationException", "GranteePrincipal")
	}
	for _, g := range s.kms.keys[in.KeyId] {
		if in.Name != "" && g.Name == in.Name && g.GranteePrincipal == in.GranteePrincipal && g.RetiringPrincipal == in.RetiringPrincipal &&
			slices.Equal(g.Operations, in.Operations) && reflect.DeepEqual(g.Constraints, in.Constraints) {
			return map[string]string{"GrantId": g.GrantId, "GrantToken": "token"}, nil
		}
	}
	if len(s.kms.keys[in.KeyId]) >= 50_000 {
		return nil, refuse("LimitExceededException", "grants")
	}
	s.kms.next++
	g := &keyGrant{
		GrantId: fmt.Sprintf("%064x", s.kms.next), KeyId: in.KeyId, Name: in.Name, GranteePrincipal: in.GranteePrincipal, RetiringPrincipal: in.RetiringPrincipal,
		Operations: in.Operations, Constraints: in.Constraints, IssuingAccount: "arn:aws:iam::" + s.cfg.Account + ":root",
	}
	s.kms.keys[in.KeyId] = append(s.kms.keys[in.KeyId], g)
	return map[string]string{"GrantId": g.GrantId, "GrantToken": "token"}, nil
}

func (s *Server) listGrants(in listGrantsIn) (any, error) {
	if err := s.key(in.KeyId); err != nil {
		return nil, err
	}
	if in.Limit < 0 || in.Limit > 100 {
		return nil, refuse("ValidationException", "Limit")
	}
	grants, next, err := page(s, s.kms.keys[in.KeyId], in.Limit, in.Marker)
	if err != nil {
		return nil, refuse("InvalidMarkerException", "marker")
	}
	out := map[string]any{"Grants": grants, "Truncated": next != ""}
	if next != "" {
		out["NextMarker"] = next
	}
	return out, nil
}

func (s *Server) revokeGrant(in revokeGrantIn) (any, error) {
	if err := s.key(in.KeyId); err != nil {
		return nil, err
	}
	before := s.kms.keys[in.KeyId]
	after := slices.DeleteFunc(slices.Clone(before), func(g *keyGrant) bool { return g.GrantId == in.GrantId })
	if len(after) == len(before) {
		return nil, refuse("NotFoundException", "Grant ID %s not found", in.GrantId)
	}
	s.kms.keys[in.KeyId] = after
	return nil, nil
}

// decrypts reports whether a grant lets the principal decrypt under the key.
func (e *encryption) decrypts(principal, key string, context map[string]string) bool {
	return slices.ContainsFunc(e.keys[key], func(g *keyGrant) bool {
		return g.GranteePrincipal == principal && slices.Contains(g.Operations, "Decrypt") && g.Constraints.hold(context)
	})
}

// run decodes the members of an operation, which must all be known, and carries it out.
func run[In any](body []byte, operation func(In) (any, error)) (any, error) {
	var in In
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, refuse("SerializationException", "%v", err)
	}
	return operation(in)
}

func answerJSON(w http.ResponseWriter, _ string, out any, err error) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err != nil {
		f := &failure{"KMSInternalException", err.Error(), http.StatusInternalServerError}
		errors.As(err, &f)
		w.WriteHeader(f.status)
		out = map[string]string{"__type": f.code, "message": f.message}
	}
	if out != nil {
		_ = json.NewEncoder(w).Encode(out) // the client is gone otherwise
	}
}
