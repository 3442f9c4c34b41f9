package datazone

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/datazone"
)

// server is an Amazon DataZone with as much of its REST interface as the package asks (DataZone API
// Reference): what is named twice, unknown, or in no state for what is asked, is refused; revisions
// count up; lists come in pages of two.
type server struct {
	http *httptest.Server

	mu     sync.Mutex
	rows   map[string][]row // by kind
	tokens map[string]row   // what a creation with the token made
	n      int              // of ids
	calls  []string         // that changed something
	failAt int              // the call, of all, that fails; 0 for none
	fault  fault
	count  int
}

type row = map[string]any

// fault is what a call meets.
type fault struct {
	code   string // empty closes the connection
	status int
	done   bool // it is carried out before
}

func newServer(t *testing.T) *server {
	s := &server{rows: map[string][]row{}, tokens: map[string]row{}}
	s.http = httptest.NewServer(s)
	t.Cleanup(s.http.Close)
	return s
}

func (s *server) client(attempts int) *datazone.Client {
	return datazone.New(datazone.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.http.URL), RetryMaxAttempts: attempts,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "synthetic-secret", ""),
	})
}

type refusal struct {
	status int
	code   string
}

func (r refusal) Error() string { return r.code }

var (
	missing  = refusal{404, "ResourceNotFoundException"}
	conflict = refusal{409, "ConflictException"}
	invalid  = refusal{400, "ValidationException"}
)

const prefix = "/v2/domains/" + domain

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	isFaulty := s.count == s.failAt
	var out any
	var err error
	if !isFaulty || s.fault.done {
		out, err = s.answer(r)
	}
	if isFaulty {
		if s.fault.code == "" {
			panic(http.ErrAbortHandler)
		}
		err = refusal{s.fault.status, s.fault.code}
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		f, ok := err.(refusal)
		if !ok {
			panic(err)
		}
		w.Header().Set("X-Amzn-ErrorType", f.code)
		w.WriteHeader(f.status)
		out = row{"message": f.code}
	}
	_ = json.NewEncoder(w).Encode(out)
}

// members are what each call may have, but for the path's.
var members = map[string]string{
	"POST projects": "name description", "POST glossaries": "owningProjectIdentifier name description status clientToken", "PATCH glossaries": "description status clientToken",
	"POST glossary-terms": "glossaryIdentifier name shortDescription longDescription status clientToken", "PATCH glossary-terms": "shortDescription longDescription status",
	"POST form-types": "owningProjectIdentifier name model status", "POST asset-types": "owningProjectIdentifier name description formsInput",
	"POST assets":                "owningProjectIdentifier name description externalIdentifier typeIdentifier typeRevision formsInput clientToken glossaryTerms",
	"POST data-products":         "owningProjectIdentifier name description formsInput glossaryTerms items clientToken",
	"POST listings":              "action entityType entityIdentifier entityRevision clientToken nextToken",
	"POST search":                "searchScope owningProjectIdentifier nextToken",
	"POST subscription-requests": "requestReason subscribedListings subscribedPrincipals clientToken", "PUT subscription-requests": "decisionComment",
	"POST subscription-grants": "environmentIdentifier subscriptionTargetIdentifier grantedEntity clientToken", "PUT subscriptions": "retainPermissions",
}

func (s *server) answer(r *http.Request) (any, error) {
	if !strings.Contains(r.Header.Get("Authorization"), "/datazone/aws4_request") {
		return nil, refusal{403, "AccessDeniedException"}
	}
	path, ok := strings.CutPrefix(r.URL.Path, prefix)
	if !ok {
		return nil, missing
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	body := row{}
	if r.Method != http.MethodGet && r.Method != http.MethodDelete {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return nil, invalid
		}
		allowed := strings.Fields(members[r.Method+" "+parts[0]])
		for k := range body {
			if !slices.Contains(allowed, k) {
				return nil, invalid
			}
		}
	}
	if !strings.HasSuffix(path, "search") && r.Method != http.MethodGet {
		s.calls = append(s.calls, r.Method+" "+path)
	}
	token := text(body, "clientToken")
	if made, ok := s.tokens[token]; ok && token != "" {
		return made, nil
	}
	out, err := s.route(r, parts, body)
	if made, ok := out.(row); ok && err == nil && token != "" {
		s.tokens[token] = made
	}
	return out, err
}

func (s *server) route(r *http.Request, parts []string, body row) (any, error) {
	kind := parts[0]
	switch id := append(parts, "")[1]; {
	case kind == "":
		return row{"id": domain, "status": "AVAILABLE"}, nil
	case kind == "search":
		return s.search(body)
	case kind == "listings" && id == "search":
		return s.page("items", s.rows["listings"], text(body, "nextToken"), func(x row) row { return row{"dataProductListing": x} })
	case kind == "listings":
		return s.changeListing(body)
	case r.Method == http.MethodGet && id == "":
		return s.list(kind, r)
	case r.Method == http.MethodGet:
		return s.find(kind, id)
	case r.Method == http.MethodDelete:
		x, err := s.find(kind, id)
		s.rows[kind] = slices.DeleteFunc(s.rows[kind], func(y row) bool { return y["id"] == id })
		return x, err
	case r.Method == http.MethodPatch:
		x, err := s.find(kind, id)
		for k, v := range body {
			x[k] = v
		}
		return x, err
	case r.Method == http.MethodPut && kind == "subscription-requests":
		return s.accept(id)
	case r.Method == http.MethodPut && kind == "subscriptions":
		x, err := s.find(kind, id)
		if err == nil && x["status"] != "APPROVED" {
			return nil, conflict
		}
		x["status"] = "REVOKED"
		return x, err
	case id != "": // revisions
		x, err := s.find(kind, id)
		if err != nil {
			return nil, err
		}
		return x, s.revise(x, body)
	}
	return s.create(kind, body)
}

func text(x row, k string) string { v, _ := x[k].(string); return v }

func (s *server) newID() string {
	s.n++
	return fmt.Sprintf("id%d", s.n)
}

func (s *server) find(kind, id string) (row, error) {
	for i := len(s.rows[kind]) - 1; i >= 0; i-- { // the newest revision of a type
		if x := s.rows[kind][i]; x["id"] == id || strings.HasSuffix(kind, "-types") && x["name"] == id {
			return x, nil
		}
	}
	return nil, missing
}

func (s *server) has(kind string, is func(row) bool) bool {
	return slices.ContainsFunc(s.rows[kind], is)
}

func (s *server) create(kind string, body row) (any, error) {
	x := row{"id": s.newID(), "revision": "1"}
	for k, v := range body {
		if k != "clientToken" {
			x[k] = v
		}
	}
	x["owningProjectId"] = body["owningProjectIdentifier"]
	if p := text(body, "owningProjectIdentifier"); p != "" {
		if _, err := s.find("projects", p); err != nil {
			return nil, err
		}
	}
	sameName := func(y row) bool { return y["name"] == x["name"] }
	switch kind {
	case "projects", "glossaries", "data-products":
		if s.has(kind, sameName) {
			return nil, conflict
		}
	case "glossary-terms":
		x["glossaryId"] = body["glossaryIdentifier"]
		if s.has(kind, sameName) {
			return nil, conflict
		}
	case "form-types", "asset-types":
		n := 1
		for _, y := range s.rows[kind] {
			if sameName(y) {
				n++
			}
		}
		x["revision"] = strconv.Itoa(n)
		if kind == "asset-types" {
			forms := row{}
			for name, f := range body["formsInput"].(row) {
				in := f.(row)
				forms[name] = row{"typeName": in["typeIdentifier"], "typeRevision": in["typeRevision"]}
			}
			x["formsOutput"] = forms
		}
	case "assets":
		if s.has(kind, func(y row) bool { return y["externalIdentifier"] == x["externalIdentifier"] }) {
			return nil, conflict
		}
		x["identifier"] = x["id"]
	case "subscription-requests":
		x["status"] = "PENDING"
		listing := body["subscribedListings"].([]any)[0].(row)["identifier"]
		if !s.has("listings", func(y row) bool { return y["listingId"] == listing }) {
			return nil, missing
		}
		x["listing"], x["project"] = listing, body["subscribedPrincipals"].([]any)[0].(row)["project"].(row)["identifier"]
		for _, gone := range []string{"subscribedListings", "subscribedPrincipals"} {
			delete(x, gone)
		}
	case "subscription-grants":
		listing := body["grantedEntity"].(row)["listing"].(row)["identifier"]
		i := slices.IndexFunc(s.rows["subscriptions"], func(y row) bool { return y["listing"] == listing && y["status"] == "APPROVED" })
		if i < 0 {
			return nil, missing
		}
		x["subscriptionId"] = s.rows["subscriptions"][i]["id"]
		delete(x, "grantedEntity")
		x["status"] = "COMPLETED"
	}
	if kind == "assets" || kind == "data-products" {
		if err := s.revise(x, body); err != nil {
			return nil, err
		}
		x["revision"] = "1"
	}
	s.rows[kind] = append(s.rows[kind], x)
	return x, nil
}

// revise makes another revision, whose references must be there.
func (s *server) revise(x, body row) error {
	for k, v := range body {
		if k != "clientToken" {
			x[k] = v
		}
	}
	var forms []any
	for _, f := range body["formsInput"].([]any) {
		in := f.(row)
		if !s.has("form-types", func(y row) bool { return y["name"] == in["typeIdentifier"] && y["revision"] == in["typeRevision"] }) {
			return missing
		}
		var content any
		if json.Unmarshal([]byte(text(in, "content")), &content) != nil {
			return invalid
		}
		spelled, _ := json.MarshalIndent(content, "", " ") // in the service's own spelling
		forms = append(forms, row{"formName": in["formName"], "typeName": in["typeIdentifier"], "typeRevision": in["typeRevision"], "content": string(spelled)})
	}
	x["formsOutput"] = forms
	delete(x, "formsInput")
	if items, ok := body["items"].([]any); ok {
		for _, item := range items {
			if _, err := s.find("assets", text(item.(row), "identifier")); err != nil {
				return err
			}
		}
	}
	if terms, ok := body["glossaryTerms"].([]any); ok {
		for _, id := range terms {
			if _, err := s.find("glossary-terms", id.(string)); err != nil {
				return err
			}
		}
	}
	n, _ := strconv.Atoi(text(x, "revision"))
	x["revision"] = strconv.Itoa(n + 1)
	return nil
}

func (s *server) search(body row) (any, error) {
	kind, member := map[string]string{"ASSET": "assets", "GLOSSARY": "glossaries", "GLOSSARY_TERM": "glossary-terms", "DATA_PRODUCT": "data-products"}[text(body, "searchScope")],
		map[string]string{"ASSET": "assetItem", "GLOSSARY": "glossaryItem", "GLOSSARY_TERM": "glossaryTermItem", "DATA_PRODUCT": "dataProductItem"}[text(body, "searchScope")]
	if kind == "" {
		return nil, invalid
	}
	return s.page("items", s.rows[kind], text(body, "nextToken"), func(x row) row {
		short := row{}
		for _, k := range []string{"id", "identifier", "name", "description", "status", "glossaryId", "shortDescription", "longDescription", "externalIdentifier", "owningProjectId"} {
			if v, ok := x[k]; ok && v != nil {
				short[k] = v
			}
		}
		return row{member: short}
	})
}

const pageSize = 2

func (s *server) page(name string, rows []row, token string, wrap func(row) row) (any, error) {
	from, _ := strconv.Atoi(token)
	to := min(from+pageSize, len(rows))
	items := []any{}
	for _, x := range rows[from:to] {
		items = append(items, wrap(x))
	}
	out := row{name: items}
	if to < len(rows) {
		out["nextToken"] = strconv.Itoa(to)
	}
	return out, nil
}

func (s *server) list(kind string, r *http.Request) (any, error) {
	q := r.URL.Query()
	var rows []row
	for _, x := range s.rows[kind] {
		is := func(parameter, member string) bool {
			return q.Get(parameter) == "" || q.Get(parameter) == text(x, member)
		}
		if is("status", "status") && is("subscribedListingId", "listing") && is("owningProjectId", "project") && is("subscriptionId", "subscriptionId") && is("name", "name") {
			rows = append(rows, x)
		}
	}
	return s.page("items", rows, q.Get("nextToken"), func(x row) row { return x })
}

func (s *server) accept(id string) (any, error) {
	x, err := s.find("subscription-requests", id)
	if err != nil || x["status"] != "PENDING" {
		return nil, conflict
	}
	x["status"] = "ACCEPTED"
	s.rows["subscriptions"] = append(s.rows["subscriptions"], row{"id": s.newID(), "status": "APPROVED", "listing": x["listing"], "project": x["project"], "subscriptionRequestId": id})
	return x, nil
}

func (s *server) changeListing(body row) (any, error) {
	p, err := s.find("data-products", text(body, "entityIdentifier"))
	if err != nil {
		return nil, err
	}
	at := func(y row) bool { return y["entityId"] == p["id"] }
	i := slices.IndexFunc(s.rows["listings"], at)
	if body["action"] == "UNPUBLISH" {
		if i < 0 {
			return nil, missing
		}
		l := s.rows["listings"][i]
		s.rows["listings"] = slices.Delete(s.rows["listings"], i, i+1)
		return row{"listingId": l["listingId"], "listingRevision": l["listingRevision"], "status": "INACTIVE"}, nil
	}
	if text(body, "entityRevision") != p["revision"] {
		return nil, missing
	}
	l := row{"listingId": s.newID(), "listingRevision": "0", "entityId": p["id"], "owningProjectId": p["owningProjectId"], "name": p["name"]}
	if i >= 0 {
		l = s.rows["listings"][i]
	} else {
		s.rows["listings"] = append(s.rows["listings"], l)
	}
	n, _ := strconv.Atoi(text(l, "listingRevision"))
	l["listingRevision"], l["entityRevision"] = strconv.Itoa(n+1), p["revision"]
	return row{"listingId": l["listingId"], "listingRevision": l["listingRevision"], "status": "ACTIVE"}, nil
}
