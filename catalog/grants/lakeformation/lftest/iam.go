package lftest

import (
	"encoding/xml"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AdministratorAccess is a policy of AWS that every account has.
const AdministratorAccess = "arn:aws:iam::aws:policy/AdministratorAccess"

// identities is the state of IAM.
type identities struct {
	roles    map[string]*role // by ARN
	policies map[string]*managed
}

type role struct {
	name, arn string
	attached  map[string]bool
	inline    map[string]policyDocument
	boundary  string
}

// managed is a managed policy.
type managed struct {
	name, path, arn string
	versions        []*policyVersion
	created         int // versions ever
	tags            map[string]string
	isAWS           bool
}

type policyVersion struct {
	id, text  string
	document  policyDocument
	isDefault bool
	at        time.Time
}

func (m *managed) current() policyDocument {
	if m == nil {
		return policyDocument{}
	}
	for _, v := range m.versions {
		if v.isDefault {
			return v.document
		}
	}
	return policyDocument{}
}

func newIdentities(roles []string) identities {
	i := identities{roles: map[string]*role{}, policies: map[string]*managed{}}
	for _, arn := range roles {
		i.roles[arn] = &role{name: arn[strings.LastIndexByte(arn, '/')+1:], arn: arn, attached: map[string]bool{}, inline: map[string]policyDocument{}}
	}
	all := policyDocument{Version: "2012-10-17", Statement: []policyStatement{{Effect: "Allow", Action: oneOrMore{"*"}, Resource: oneOrMore{"*"}}}}
	i.policies[AdministratorAccess] = &managed{
		name: "AdministratorAccess", path: "/", arn: AdministratorAccess, isAWS: true,
		versions: []*policyVersion{{id: "v1", document: all, isDefault: true}},
	}
	return i
}

// RemoveRole deletes a role, as somebody might.
func (s *Server) RemoveRole(arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.iam.roles, arn)
}

// form is the members of a call.
type form struct{ url.Values }

func (f *form) text(name string) string { return f.Get(name) }

func formAction(body []byte) string {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return ""
	}
	return values.Get("Action")
}

type xmlTag struct{ Key, Value string }

// The results of operations, as the service spells them.
type (
	xmlBoundary struct {
		PermissionsBoundaryType string
		PermissionsBoundaryArn  string
	}
	xmlRole struct {
		Path, RoleName, RoleId, Arn, CreateDate string
		PermissionsBoundary                     *xmlBoundary `xml:",omitempty"`
	}
	xmlPolicy struct {
		PolicyName, PolicyId, Arn, Path, DefaultVersionId string
		AttachmentCount, PermissionsBoundaryUsageCount    int
		IsAttachable                                      bool
		CreateDate, UpdateDate                            string
		Tags                                              *[]xmlTag `xml:"Tags>member,omitempty"`
	}
	xmlVersion struct {
		Document         string `xml:",omitempty"`
		VersionId        string
		IsDefaultVersion bool
		CreateDate       string
	}
	xmlAttached struct{ PolicyName, PolicyArn string }
	xmlEntity   struct{ RoleName, RoleId string }
	xmlResult   struct {
		Role             *xmlRole      `xml:",omitempty"`
		Policy           *xmlPolicy    `xml:",omitempty"`
		PolicyVersion    *xmlVersion   `xml:",omitempty"`
		Policies         []xmlPolicy   `xml:"Policies>member,omitempty"`
		Versions         []xmlVersion  `xml:"Versions>member,omitempty"`
		AttachedPolicies []xmlAttached `xml:"AttachedPolicies>member,omitempty"`
		PolicyNames      []string      `xml:"PolicyNames>member,omitempty"`
		PolicyRoles      []xmlEntity   `xml:"PolicyRoles>member,omitempty"`
		IsTruncated      *bool         `xml:",omitempty"`
		Marker           string        `xml:",omitempty"`
	}
)

const xmlNamespace = "https://iam.amazonaws.com/doc/2010-05-08/"

func answerXML(w http.ResponseWriter, operation string, out any, err error) {
	w.Header().Set("Content-Type", "text/xml")
	if err != nil {
		f := &failure{"ServiceFailure", err.Error(), http.StatusInternalServerError}
		errors.As(err, &f)
		w.WriteHeader(f.status)
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName xml.Name `xml:"ErrorResponse"`
			NS      string   `xml:"xmlns,attr"`
			Error   struct{ Type, Code, Message string }
			ID      string `xml:"RequestId"`
		}{NS: xmlNamespace, Error: struct{ Type, Code, Message string }{"Sender", f.code, f.message}, ID: "00000000-0000-4000-8000-000000000000"})
		return
	}
	result, _ := out.(*xmlResult)
	if result == nil {
		result = &xmlResult{}
	}
	e := xml.NewEncoder(w)
	top := xml.StartElement{Name: xml.Name{Local: operation + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: xmlNamespace}}}
	_ = errors.Join(e.EncodeToken(top), e.EncodeElement(result, xml.StartElement{Name: xml.Name{Local: operation + "Result"}}),
		e.EncodeToken(top.End()), e.Flush()) // the client is gone otherwise
}

func noSuch(format, name string) error {
	return &failure{"NoSuchEntity", strings.Replace(format, "%s", name, 1), http.StatusNotFound}
}

func (s *Server) callIAM(_ string, body []byte) (any, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil || values.Get("Version") != "2010-05-08" {
		return nil, &failure{"ValidationError", "body", http.StatusBadRequest}
	}
	f := &form{values}
	const page, tags = "|Marker|MaxItems", `|Tags\.member\.[0-9]+\.(Key|Value)`
	operation, ok := map[string]struct {
		call    func(*form) (*xmlResult, error)
		members string
	}{
		"GetRole":                    {s.getRole, "RoleName"},
		"PutRolePermissionsBoundary": {s.putBoundary, "RoleName|PermissionsBoundary"},
		"ListAttachedRolePolicies":   {s.listAttached, "RoleName|PathPrefix" + page},
		"ListRolePolicies":           {s.listInline, "RoleName" + page},
		"PutRolePolicy":              {s.putInline, "RoleName|PolicyName|PolicyDocument"},
		"DeleteRolePolicy":           {s.deleteInline, "RoleName|PolicyName"},
		"AttachRolePolicy":           {s.attach, "RoleName|PolicyArn"},
		"DetachRolePolicy":           {s.detach, "RoleName|PolicyArn"},
		"ListPolicies":               {s.listPolicies, "Scope|PathPrefix|OnlyAttached|PolicyUsageFilter" + page},
		"GetPolicy":                  {s.getPolicy, "PolicyArn"},
		"GetPolicyVersion":           {s.getVersion, "PolicyArn|VersionId"},
		"ListPolicyVersions":         {s.listVersions, "PolicyArn" + page},
		"CreatePolicy":               {s.createPolicy, "Path|PolicyName|PolicyDocument|Description" + tags},
		"CreatePolicyVersion":        {s.createVersion, "PolicyArn|PolicyDocument|SetAsDefault"},
		"DeletePolicyVersion":        {s.deleteVersion, "PolicyArn|VersionId"},
		"DeletePolicy":               {s.deletePolicy, "PolicyArn"},
		"TagPolicy":                  {s.tagPolicy, "PolicyArn" + tags},
		"ListEntitiesForPolicy":      {s.listEntities, "PolicyArn|PolicyUsageFilter|EntityFilter|PathPrefix" + page},
	}[f.text("Action")]
	if !ok {
		return nil, &failure{"InvalidAction", "Could not find operation", http.StatusBadRequest}
	}
	known := regexp.MustCompile("^(Action|Version|" + operation.members + ")$")
	for name := range f.Values {
		if !known.MatchString(name) {
			return nil, &failure{"ValidationError", "member " + name, http.StatusBadRequest}
		}
	}
	out, err := operation.call(f)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Server) role(f *form) (*role, error) {
	name := f.text("RoleName")
	for _, r := range s.iam.roles {
		if r.name == name {
			return r, nil
		}
	}
	return nil, noSuch("The role with name %s cannot be found.", name)
}

func (s *Server) managed(arn string) (*managed, error) {
	if p := s.iam.policies[arn]; p != nil {
		return p, nil
	}
	return nil, noSuch("Policy %s does not exist or is not attachable.", arn)
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func (s *Server) getRole(f *form) (*xmlResult, error) {
	r, err := s.role(f)
	if err != nil {
		return nil, err
	}
	out := &xmlRole{Path: "/", RoleName: r.name, RoleId: "AROAEXAMPLE", Arn: r.arn, CreateDate: date(time.Unix(0, 0))}
	if r.boundary != "" {
		out.PermissionsBoundary = &xmlBoundary{"Policy", r.boundary}
	}
	return &xmlResult{Role: out}, nil
}

func (s *Server) putBoundary(f *form) (*xmlResult, error) {
	r, err := s.role(f)
	if err != nil {
		return nil, err
	}
	p, err := s.managed(f.text("PermissionsBoundary"))
	if err != nil {
		return nil, err
	}
	r.boundary = p.arn
	return nil, nil
}

// cut is a page of a list.
func cut[T any](s *Server, f *form, all []T, put func(*xmlResult, []T)) (*xmlResult, error) {
	limit, _ := strconv.Atoi(f.text("MaxItems"))
	some, next, err := page(s, all, limit, f.text("Marker"))
	if err != nil || limit < 0 || limit > 1000 {
		return nil, &failure{"ValidationError", "Invalid Marker", http.StatusBadRequest}
	}
	isTruncated := next != ""
	out := &xmlResult{IsTruncated: &isTruncated, Marker: next}
	put(out, some)
	return out, nil
}

func (s *Server) listAttached(f *form) (*xmlResult, error) {
	r, err := s.role(f)
	if err != nil {
		return nil, err
	}
	var all []xmlAttached
	for _, arn := range slices.Sorted(maps.Keys(r.attached)) {
		all = append(all, xmlAttached{s.iam.policies[arn].name, arn})
	}
	return cut(s, f, all, func(out *xmlResult, some []xmlAttached) { out.AttachedPolicies = some })
}

func (s *Server) listInline(f *form) (*xmlResult, error) {
	r, err := s.role(f)
	if err != nil {
		return nil, err
	}
	return cut(s, f, slices.Sorted(maps.Keys(r.inline)), func(out *xmlResult, some []string) { out.PolicyNames = some })
}

func (s *Server) putInline(f *form) (*xmlResult, error) {
	r, err := s.role(f)
	if err != nil {
		return nil, err
	}
	document, err := parsePolicy(f.text("PolicyDocument"))
	if err != nil {
		return nil, err
	}
	r.inline[f.text("PolicyName")] = document
	return nil, nil
}

func (s *Server) deleteInline(f *form) (*xmlResult, error) {
	r, err := s.role(f)
	if err != nil {
		return nil, err
	}
	name := f.text("PolicyName")
	if _, ok := r.inline[name]; !ok {
		return nil, noSuch("The role policy with name %s cannot be found.", name)
	}
	delete(r.inline, name)
	return nil, nil
}

// maxAttached is how many managed policies a role may have.
const maxAttached = 10

func (s *Server) attach(f *form) (*xmlResult, error) {
	r, err := s.role(f)
	if err != nil {
		return nil, err
	}
	p, err := s.managed(f.text("PolicyArn"))
	if err != nil {
		return nil, err
	}
	if !r.attached[p.arn] && len(r.attached) >= maxAttached {
		return nil, &failure{"LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 10", http.StatusConflict}
	}
	r.attached[p.arn] = true
	return nil, nil
}

func (s *Server) detach(f *form) (*xmlResult, error) {
	r, err := s.role(f)
	if err != nil {
		return nil, err
	}
	arn := f.text("PolicyArn")
	if !r.attached[arn] {
		return nil, noSuch("Policy %s was not found.", arn)
	}
	delete(r.attached, arn)
	return nil, nil
}

func (m *managed) xml(withTags bool) xmlPolicy {
	out := xmlPolicy{PolicyName: m.name, PolicyId: "ANPAEXAMPLE", Arn: m.arn, Path: m.path, IsAttachable: true, CreateDate: date(time.Unix(0, 0)), UpdateDate: date(time.Unix(0, 0))}
	for _, v := range m.versions {
		if v.isDefault {
			out.DefaultVersionId = v.id
		}
	}
	if withTags {
		var all []xmlTag
		for _, k := range slices.Sorted(maps.Keys(m.tags)) {
			all = append(all, xmlTag{k, m.tags[k]})
		}
		out.Tags = &all
	}
	return out
}

func (s *Server) listPolicies(f *form) (*xmlResult, error) {
	var all []xmlPolicy
	scope, prefix := f.text("Scope"), f.text("PathPrefix")
	for _, arn := range slices.Sorted(maps.Keys(s.iam.policies)) {
		p := s.iam.policies[arn]
		if strings.HasPrefix(p.path, prefix) && !(scope == "Local" && p.isAWS) {
			all = append(all, p.xml(false)) // a list has no tags
		}
	}
	return cut(s, f, all, func(out *xmlResult, some []xmlPolicy) { out.Policies = some })
}

func (s *Server) getPolicy(f *form) (*xmlResult, error) {
	p, err := s.managed(f.text("PolicyArn"))
	if err != nil {
		return nil, err
	}
	out := p.xml(true)
	return &xmlResult{Policy: &out}, nil
}

func (v *policyVersion) xml(withText bool) xmlVersion {
	out := xmlVersion{VersionId: v.id, IsDefaultVersion: v.isDefault, CreateDate: date(v.at)}
	if withText {
		out.Document = url.QueryEscape(v.text) // RFC 3986, as the service writes it
		out.Document = strings.ReplaceAll(out.Document, "+", "%20")
	}
	return out
}

func (s *Server) getVersion(f *form) (*xmlResult, error) {
	p, err := s.managed(f.text("PolicyArn"))
	if err != nil {
		return nil, err
	}
	id := f.text("VersionId")
	for _, v := range p.versions {
		if v.id == id {
			out := v.xml(true)
			return &xmlResult{PolicyVersion: &out}, nil
		}
	}
	return nil, noSuch("Policy version %s does not exist.", id)
}

func (s *Server) listVersions(f *form) (*xmlResult, error) {
	p, err := s.managed(f.text("PolicyArn"))
	if err != nil {
		return nil, err
	}
	var all []xmlVersion
	for _, v := range slices.Backward(p.versions) {
		all = append(all, v.xml(false))
	}
	return cut(s, f, all, func(out *xmlResult, some []xmlVersion) { out.Versions = some })
}

var (
	policyName = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
	policyPath = regexp.MustCompile(`^/([!-~]+/)?$`)
	tagText    = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
)

// tags reads the tags of a call.
func (f *form) tags() (map[string]string, error) {
	out := map[string]string{}
	for i := 1; f.Has("Tags.member." + strconv.Itoa(i) + ".Key"); i++ {
		key, value := f.Get("Tags.member."+strconv.Itoa(i)+".Key"), f.Get("Tags.member."+strconv.Itoa(i)+".Value")
		if len(key) < 1 || len(key) > 128 || len(value) > 256 || !tagText.MatchString(key) || !tagText.MatchString(value) || strings.HasPrefix(key, "aws:") {
			return nil, &failure{"InvalidInput", "tag", http.StatusBadRequest}
		}
		out[key] = value
	}
	if len(out) > 50 {
		return nil, &failure{"LimitExceeded", "tags", http.StatusConflict}
	}
	return out, nil
}

// add makes a version. Several are of the same second, as may happen.
func (m *managed) add(text string, document policyDocument, isDefault bool) *policyVersion {
	m.created++
	v := &policyVersion{id: "v" + strconv.Itoa(m.created), text: text, document: document, at: time.Unix(int64(m.created/3), 0)}
	if isDefault {
		for _, o := range m.versions {
			o.isDefault = false
		}
		v.isDefault = true
	}
	m.versions = append(m.versions, v)
	return v
}

func (s *Server) createPolicy(f *form) (*xmlResult, error) {
	document, err := parsePolicy(f.text("PolicyDocument"))
	if err != nil {
		return nil, err
	}
	tags, err := f.tags()
	if err != nil {
		return nil, err
	}
	p := &managed{name: f.text("PolicyName"), path: f.text("Path"), tags: tags}
	if p.path == "" {
		p.path = "/"
	}
	if !policyName.MatchString(p.name) || !policyPath.MatchString(p.path) || len(f.text("Description")) > 1000 {
		return nil, &failure{"ValidationError", "PolicyName or Path", http.StatusBadRequest}
	}
	for _, o := range s.iam.policies {
		if strings.EqualFold(o.name, p.name) && !o.isAWS {
			return nil, &failure{"EntityAlreadyExists", "A policy called " + p.name + " already exists. Duplicate names are not allowed.", http.StatusConflict}
		}
	}
	p.arn = "arn:aws:iam::" + s.cfg.Account + ":policy" + p.path + p.name
	p.add(f.text("PolicyDocument"), document, true)
	s.iam.policies[p.arn] = p
	out := p.xml(true)
	return &xmlResult{Policy: &out}, nil
}

// maxVersions is how many versions a policy may have.
const maxVersions = 5

func (s *Server) createVersion(f *form) (*xmlResult, error) {
	p, err := s.managed(f.text("PolicyArn"))
	if err != nil {
		return nil, err
	}
	document, err := parsePolicy(f.text("PolicyDocument"))
	if err != nil {
		return nil, err
	}
	if len(p.versions) >= maxVersions {
		return nil, &failure{"LimitExceeded", "A managed policy can have up to 5 versions.", http.StatusConflict}
	}
	out := p.add(f.text("PolicyDocument"), document, f.text("SetAsDefault") == "true").xml(false)
	return &xmlResult{PolicyVersion: &out}, nil
}

func (s *Server) deleteVersion(f *form) (*xmlResult, error) {
	p, err := s.managed(f.text("PolicyArn"))
	if err != nil {
		return nil, err
	}
	id := f.text("VersionId")
	i := slices.IndexFunc(p.versions, func(v *policyVersion) bool { return v.id == id })
	switch {
	case i < 0:
		return nil, noSuch("Policy version %s does not exist.", id)
	case p.versions[i].isDefault:
		return nil, &failure{"DeleteConflict", "Cannot delete the default version of a policy.", http.StatusConflict}
	}
	p.versions = slices.Delete(p.versions, i, i+1)
	return nil, nil
}

func (s *Server) deletePolicy(f *form) (*xmlResult, error) {
	p, err := s.managed(f.text("PolicyArn"))
	if err != nil {
		return nil, err
	}
	for _, r := range s.iam.roles {
		if r.attached[p.arn] || r.boundary == p.arn {
			return nil, &failure{"DeleteConflict", "Cannot delete a policy attached to entities.", http.StatusConflict}
		}
	}
	if len(p.versions) > 1 {
		return nil, &failure{"DeleteConflict", "This policy has more than one version.", http.StatusConflict}
	}
	delete(s.iam.policies, p.arn)
	return nil, nil
}

func (s *Server) tagPolicy(f *form) (*xmlResult, error) {
	p, err := s.managed(f.text("PolicyArn"))
	if err != nil {
		return nil, err
	}
	tags, err := f.tags()
	if err != nil {
		return nil, err
	}
	maps.Copy(p.tags, tags)
	return nil, nil
}

func (s *Server) listEntities(f *form) (*xmlResult, error) {
	p, err := s.managed(f.text("PolicyArn"))
	if err != nil {
		return nil, err
	}
	usage := f.text("PolicyUsageFilter")
	var all []xmlEntity
	for _, arn := range slices.Sorted(maps.Keys(s.iam.roles)) {
		r := s.iam.roles[arn]
		if usage != "PermissionsBoundary" && r.attached[p.arn] || usage != "PermissionsPolicy" && r.boundary == p.arn {
			all = append(all, xmlEntity{r.name, "AROAEXAMPLE"})
		}
	}
	return cut(s, f, all, func(out *xmlResult, some []xmlEntity) { out.PolicyRoles = some })
}
