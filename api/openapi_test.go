package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "rewrite docs/openapi.json")

// bare is a server that has only its routes.
func bare(t *testing.T) *Server {
	t.Helper()
	s, err := New(Deps{}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// get asks for a path without signing in.
func get(s *Server, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// TestOpenAPI: the document is one of OpenAPI 3.1, says something of all that it names, is the
// same as in docs, and has the routes of the mux and no others.
func TestOpenAPI(t *testing.T) {
	s := bare(t)
	for _, fault := range second(documentOf(s.routes())) {
		t.Error(fault)
	}
	text := get(s, "/v1/openapi.json").Body.Bytes()

	c := jsonschema.NewCompiler()
	add := func(url string, text []byte) {
		t.Helper()
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = c.AddResource(url, doc)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	official, err := os.ReadFile(filepath.Join("testdata", "openapi", "schema-2022-10-07.json"))
	if err != nil {
		t.Fatal(err)
	}
	add("official.json", official)
	add("document.json", text)
	meta, err := c.Compile("official.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err := meta.Validate(doc); err != nil {
		t.Error(err)
	}
	// The official schema leaves schemas to their own dialect: compiling holds them against it,
	// and examples are held against them.
	for _, at := range placesOf(doc, "") {
		sch, err := c.Compile("document.json#" + at.path)
		if err != nil {
			t.Errorf("%s: %v", at.path, err)
			continue
		}
		if at.example != nil {
			if err := sch.Validate(at.example); err != nil {
				t.Errorf("the example of %s: %v", at.path, err)
			}
		}
	}

	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", " "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	golden := filepath.Join("..", "docs", "openapi.json")
	if *update {
		if err := os.WriteFile(golden, indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	had, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(had, indented.Bytes()) {
		t.Errorf("docs/openapi.json is not the document: go test ./api -run OpenAPI -update\n%s", cmp.Diff(strings.Split(string(had), "\n"), strings.Split(indented.String(), "\n")))
	}
}

func second[A, B any](_ A, b B) B { return b }

// place is where a schema is in a document, as a JSON pointer, and the example that it has.
type schemaPlace struct {
	path    string
	example any
}

// placesOf finds the schemas.
func placesOf(doc any, at string) (out []schemaPlace) {
	object, _ := doc.(map[string]any)
	for key, value := range object {
		path := at + "/" + strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
		switch {
		case key == "schema":
			out = append(out, schemaPlace{path, object["example"]})
		case at == "/components/schemas":
			out = append(out, schemaPlace{path, nil})
		default:
			out = append(out, placesOf(value, path)...)
		}
	}
	if list, ok := doc.([]any); ok {
		for i, value := range list {
			out = append(out, placesOf(value, at+"/"+string(rune('0'+i)))...)
		}
	}
	return out
}

// TestOpenAPIRoutes: what the document has is answered, and what is answered it has.
func TestOpenAPIRoutes(t *testing.T) {
	s := bare(t)
	var d document
	if err := json.Unmarshal(get(s, "/v1/openapi.json").Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	mux := s.muxOf(s.routes())
	var described []string
	ids := map[string]bool{}
	for path, operations := range d.Paths {
		for method, o := range operations {
			pattern := strings.ToUpper(method) + " " + path
			described = append(described, pattern)
			r := httptest.NewRequest(strings.ToUpper(method), strings.NewReplacer("{", "", "}", "").Replace(path), nil)
			if _, got := mux.Handler(r); got != pattern {
				t.Errorf("%s is answered by %q", pattern, got)
			}
			if ids[o.ID] {
				t.Errorf("two routes are named %s", o.ID)
			}
			ids[o.ID] = true
			for name := range pathParams(path) {
				if !slices.ContainsFunc(o.Parameters, func(p parameter) bool { return p.In == "path" && p.Name == name }) {
					t.Errorf("nothing is said of {%s} of %s", name, pattern)
				}
			}
		}
	}
	if n := len(s.routes()); n != len(described) {
		t.Errorf("%d routes and %d described", n, len(described))
	}
	// No file adds to a mux beside the table.
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if name != "routes.go" && !strings.HasSuffix(name, "_test.go") && (bytes.Contains(text, []byte("mux.Handle(")) || bytes.Contains(text, []byte("HandleFunc("))) {
			t.Errorf("%s has a route that is not in the table", name)
		}
	}
}

// pathParams are the names in braces.
func pathParams(path string) map[string]bool {
	out := map[string]bool{}
	for one := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(one, "{"); ok {
			out[strings.TrimSuffix(name, "}")] = true
		}
	}
	return out
}

// TestOpenAPIOnce: whoever has the document is not sent it again.
func TestOpenAPIOnce(t *testing.T) {
	s := bare(t)
	first := get(s, "/v1/openapi.json")
	tag := first.Header().Get("ETag")
	if first.Code != http.StatusOK || tag == "" || first.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("status %d, %v", first.Code, first.Header())
	}
	for header, want := range map[string]int{tag: 304, "W/" + tag: 304, `"other", ` + tag: 304, "*": 304, `"other"`: 200, "": 200} {
		if got := get(s, "/v1/openapi.json", "If-None-Match", header); got.Code != want || want == 304 && got.Body.Len() > 0 {
			t.Errorf("%q: status %d, want %d", header, got.Code, want)
		}
	}
}
