package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// documentVersion is the version of what the document describes: the major one is that of the
// paths.
const documentVersion = "1.0.0"

// Names of security schemes.
const (
	schemeBearer      = "bearer"
	schemeSession     = "session"
	schemeCertificate = "certificate"
)

// The document, in the parts of OpenAPI 3.1.1 that it needs. Fields that are not described are as
// the specification has them.
type (
	document struct {
		OpenAPI    string                          `json:"openapi"`
		Info       map[string]any                  `json:"info"`
		Servers    []map[string]string             `json:"servers"`
		Security   []map[string][]string           `json:"security"`
		Tags       []map[string]string             `json:"tags"`
		Paths      map[string]map[string]operation `json:"paths"`
		Components components                      `json:"components"`
	}
	components struct {
		Schemas         map[string]schema         `json:"schemas"`
		Responses       map[string]response       `json:"responses"`
		Parameters      map[string]parameter      `json:"parameters"`
		Headers         map[string]map[string]any `json:"headers"`
		SecuritySchemes map[string]map[string]any `json:"securitySchemes"`
	}
	operation struct {
		ID          string                 `json:"operationId"`
		Tags        []string               `json:"tags"`
		Summary     string                 `json:"summary"`
		Description string                 `json:"description,omitempty"`
		Security    *[]map[string][]string `json:"security,omitempty"`
		Parameters  []parameter            `json:"parameters,omitempty"`
		Body        *requestBody           `json:"requestBody,omitempty"`
		Responses   map[string]response    `json:"responses"`
	}
	parameter struct {
		Ref         string `json:"$ref,omitempty"`
		Name        string `json:"name,omitempty"`
		In          string `json:"in,omitempty"`
		Description string `json:"description,omitempty"`
		Required    bool   `json:"required,omitempty"`
		Schema      schema `json:"schema,omitempty"`
	}
	requestBody struct {
		Required bool             `json:"required"`
		Content  map[string]media `json:"content"`
	}
	response struct {
		Ref         string                    `json:"$ref,omitempty"`
		Description string                    `json:"description,omitempty"`
		Headers     map[string]map[string]any `json:"headers,omitempty"`
		Content     map[string]media          `json:"content,omitempty"`
	}
	media struct {
		Schema  schema          `json:"schema"`
		Example json.RawMessage `json:"example,omitempty"`
	}
)

// openAPIRoutes is the route of the document.
func (s *Server) openAPIRoutes() []route {
	return []route{{method: "GET", path: "/v1/openapi.json", name: "openapi", tag: "description", doc: "Gives this document.", open: true,
		params: []param{inHeader("If-None-Match", "entity tags that the client has", anyText())},
		answers: []answer{
			{status: 200, doc: "The OpenAPI document.", body: map[string]any{}, headers: []header{{"ETag", "of the document"}}},
			{status: 304, doc: "The client has it."},
		}, serve: s.openAPI}}
}

// openAPI answers with the document, which is the same for everybody.
func (s *Server) openAPI(w http.ResponseWriter, r *http.Request) {
	text, tag := s.described()
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "public, no-cache")
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // a client that has gone needs no answer
}

// matches reports whether If-None-Match names the entity tag, by weak comparison (RFC 9110
// sections 8.8.3.2 and 13.1.2).
func matches(lists []string, tag string) bool {
	for one := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		if one = strings.TrimSpace(one); one == "*" || one != "" && strings.TrimPrefix(one, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// documentText is the document of the routes, and its strong entity tag.
func documentText(routes []route) (text []byte, tag string) {
	d, _ := documentOf(routes)
	text, err := json.Marshal(d)
	if err != nil {
		panic(err) // of our own types
	}
	sum := sha256.Sum256(text)
	return text, `"` + hex.EncodeToString(sum[:12]) + `"`
}

// documentOf describes the routes. The faults name every route, type and field that is not
// described, which a test looks at.
func documentOf(routes []route) (d document, faults []string) {
	of := &schemas{all: map[string]schema{}, types: map[string]reflect.Type{}}
	d = document{
		OpenAPI: "3.1.1",
		Info: map[string]any{
			"title": "cardlake", "version": documentVersion, "summary": "A tenant's card transactions, figures of them, and what is known of them.",
			"description": documentAbout, "license": map[string]string{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		Servers:  []map[string]string{{"url": "/", "description": "The server that gave the document."}},
		Security: []map[string][]string{{schemeBearer: {}}, {schemeSession: {}}, {schemeCertificate: {}}},
		Paths:    map[string]map[string]operation{},
	}
	d.Components = components{
		Schemas: of.all, Responses: map[string]response{}, Parameters: map[string]parameter{}, SecuritySchemes: securitySchemes,
		Headers: map[string]map[string]any{
			headerRequest: {"description": "The id of the call, which the audit log has too.", "schema": textOf(32)},
			"Retry-After": {"description": "Seconds until it makes sense to ask again.", "schema": intOf(1, 86_400)},
		},
	}
	d.Components.Responses["LongHeader"] = response{
		Description: "Request Header Fields Too Large: the request's header has more than 32 KiB.",
		Content:     map[string]media{"text/plain; charset=utf-8": {Schema: anyText()}},
	}
	for _, p := range commonParams {
		d.Components.Parameters[p.name] = parameterOf(p)
	}
	of.of(problem{})
	for _, status := range statusesOf(commonKinds) {
		d.Components.Responses["Problem"+strconv.Itoa(status)] = problemResponse(status, commonKinds)
	}
	for _, r := range routes {
		if d.Paths[r.path] == nil {
			d.Paths[r.path] = map[string]operation{}
		}
		d.Paths[r.path][strings.ToLower(r.method)] = of.operation(r)
		if !slices.ContainsFunc(d.Tags, func(t map[string]string) bool { return t["name"] == r.tag }) {
			doc, ok := tagDocs[r.tag]
			if !ok {
				of.faults = append(of.faults, "nothing is said of the tag "+r.tag)
			}
			d.Tags = append(d.Tags, map[string]string{"name": r.tag, "description": doc})
		}
	}
	slices.Sort(of.faults)
	return d, slices.Compact(of.faults)
}

// operation describes a route.
func (s *schemas) operation(r route) operation {
	o := operation{ID: r.name, Tags: []string{r.tag}, Summary: r.doc, Description: r.more, Responses: map[string]response{}}
	if r.doc == "" || r.tag == "" || len(r.answers) == 0 {
		s.faults = append(s.faults, "the route "+r.name+" has no sentence, no tag or no answer")
	}
	for _, p := range r.params {
		if p.doc == "" || p.schema == nil {
			s.faults = append(s.faults, "nothing is said of the parameter "+p.name+" of "+r.name)
		}
		o.Parameters = append(o.Parameters, parameterOf(p))
	}
	problems := slices.Clone(r.problems)
	if r.open {
		o.Security = &[]map[string][]string{}
		problems = append(problems, kindHost)
	} else {
		problems = append(problems, commonKinds...)
		for _, p := range commonParams {
			o.Parameters = append(o.Parameters, parameter{Ref: "#/components/parameters/" + p.name})
		}
	}
	if r.body != nil {
		problems = append(problems, kindRequest, kindType, kindTooLarge)
		body := media{Schema: s.of(r.body)}
		if r.example != "" {
			body.Example = json.RawMessage(r.example)
		}
		o.Body = &requestBody{Required: true, Content: map[string]media{"application/json": body}}
		s.close(r.body)
	}
	o.Responses["431"] = response{Ref: "#/components/responses/LongHeader"}
	for _, a := range r.answers {
		s.answer(o.Responses, a)
	}
	for _, status := range statusesOf(problems) {
		one := problemResponse(status, problems)
		common := problemResponse(status, commonKinds)
		if one.Description == common.Description {
			o.Responses[strconv.Itoa(status)] = response{Ref: "#/components/responses/Problem" + strconv.Itoa(status)}
		} else {
			o.Responses[strconv.Itoa(status)] = one
		}
	}
	return o
}

// answer adds an answer to those of its status.
func (s *schemas) answer(to map[string]response, a answer) {
	status := strconv.Itoa(a.status)
	one, ok := to[status]
	if !ok {
		one = response{Description: a.doc, Headers: map[string]map[string]any{headerRequest: {"$ref": "#/components/headers/" + headerRequest}}}
	}
	for _, h := range a.headers {
		one.Headers[h.name] = map[string]any{"description": sentence(h.doc), "schema": schema{"type": "string"}}
	}
	if a.body != nil || a.contentType != "" {
		if one.Content == nil {
			one.Content = map[string]media{}
		}
		kind, body := a.contentType, bytesOf
		if kind == "" {
			kind = "application/json"
		}
		if a.body != nil {
			body = s.of(a.body)
		} else if strings.HasPrefix(kind, "text/") {
			body = schema{"type": "string"}
		}
		of := media{Schema: body}
		if a.example != "" {
			of.Example = json.RawMessage(a.example)
		}
		one.Content[kind] = of
	}
	to[status] = one
}

// close refuses fields of bodies that are not described, as [call.read] does.
func (s *schemas) close(body any) {
	s.all[schemaName(reflect.TypeOf(body))]["additionalProperties"] = false
}

func parameterOf(p param) parameter {
	return parameter{Name: p.name, In: p.in, Description: sentence(p.doc), Required: p.required, Schema: p.schema}
}

// statusesOf are those of the kinds, each once.
func statusesOf(kinds []kind) []int {
	var out []int
	for _, k := range kinds {
		out = append(out, statusOf[k])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// problemSchema is of every problem.
var problemSchema = schema{"$ref": "#/components/schemas/Problem"}

// problemResponse is the answer of a status, with the kinds of problem that have it.
func problemResponse(status int, kinds []kind) response {
	var of []string
	for _, k := range kinds {
		if statusOf[k] == status {
			of = append(of, "`"+string(k)+"`")
		}
	}
	slices.Sort(of)
	headers := map[string]map[string]any{headerRequest: {"$ref": "#/components/headers/" + headerRequest}}
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusConflict:
		headers["Retry-After"] = map[string]any{"$ref": "#/components/headers/Retry-After"}
	case http.StatusUnauthorized:
		headers["WWW-Authenticate"] = map[string]any{"description": "How to sign in (RFC 6750 section 3).", "schema": schema{"type": "string"}}
	}
	return response{
		Description: http.StatusText(status) + ": " + strings.Join(slices.Compact(of), ", ") + ".", Headers: headers,
		Content: map[string]media{"application/problem+json": {Schema: problemSchema}},
	}
}
