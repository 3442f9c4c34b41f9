package dashboard

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"
)

type sessionStub struct{}

func (sessionStub) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "session "+r.URL.Path) })
}

// plain is the site that most tests ask: making one compresses every file of it.
var plain = sync.OnceValues(func() (http.Handler, error) { return New(testConfig()) })

func testConfig() Config {
	return Config{
		API:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "api "+r.Method+" "+r.URL.Path) }),
		Session: sessionStub{}, Version: "1.2.3",
	}
}

func site(t *testing.T, change func(*Config)) http.Handler {
	t.Helper()
	if change == nil {
		h, err := plain()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	cfg := testConfig()
	change(&cfg)
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ask(h http.Handler, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// web are the files of the page, as they are written.
func web(t *testing.T) fs.FS {
	t.Helper()
	w, err := fs.Sub(files, "web")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func each(t *testing.T, ext string, do func(name, text string)) {
	t.Helper()
	n := 0
	err := fs.WalkDir(web(t), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ext || strings.HasPrefix(name, "vendor/") {
			return err
		}
		text, err := fs.ReadFile(web(t), name)
		n++
		do(name, string(text))
		return err
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files %s: %v", n, ext, err)
	}
}

func TestWhoAnswers(t *testing.T) {
	h := site(t, nil)
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", "/", 200, "<!doctype html>"},
		{"GET", "/overview", 200, "<!doctype html>"},
		{"GET", "/overview?tenant=colibri-bank", 200, "<!doctype html>"},
		{"GET", "/no/such/page", 200, "<!doctype html>"}, // which says so itself
		{"HEAD", "/overview", 200, ""},
		{"GET", "/favicon.ico", 404, "no such file"},
		{"GET", "/.git/config.json", 404, "no such file"},
		{"GET", "/assets/0123456789abcdef/js/main.js", 404, "no such asset"},
		{"GET", "/assets/", 404, "no such asset"},
		{"POST", "/overview", 405, "only read"},
		{"DELETE", "/assets/x", 405, "only read"},
		{"GET", "/v1/me", 200, "api GET /v1/me"},
		{"POST", "/v1/query", 200, "api POST /v1/query"},
		{"GET", "/healthz", 200, "api GET /healthz"},
		{"GET", "/readyz", 200, "api GET /readyz"},
		{"GET", "/auth/session", 200, "session /auth/session"},
		{"POST", "/auth/sign-out", 200, "session /auth/sign-out"},
	} {
		r := ask(h, c.method, c.path)
		if text := body(t, r); r.StatusCode != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s %s: %d %.60q, want %d with %q", c.method, c.path, r.StatusCode, text, c.status, c.says)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := site(t, nil)
	for _, path := range []string{"/", "/overview", "/nowhere/else", "/favicon.ico"} {
		got := ask(h, "GET", path).Header
		for name, want := range map[string]string{
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer",
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Strict-Transport-Security": "",
		} {
			if got.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got.Get(name), want)
			}
		}
		for _, rule := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(got.Get("Content-Security-Policy"), rule) {
				t.Errorf("%s: the policy lacks %s", path, rule)
			}
		}
		if strings.Contains(got.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s: the policy allows something unsafe", path)
		}
	}
	script := ask(h, "GET", "/assets/none").Header
	if script.Get("X-Content-Type-Options") != "nosniff" || script.Get("Cross-Origin-Resource-Policy") != "same-origin" {
		t.Errorf("an asset has the headers %v", script)
	}
	secure := site(t, func(c *Config) { c.Secure = true })
	if got := ask(secure, "GET", "/").Header.Get("Strict-Transport-Security"); !strings.Contains(got, "max-age=31536000") {
		t.Errorf("a secure site's HSTS is %q", got)
	}
}

var assetLink = regexp.MustCompile(`(?:href|src)="(/assets/[^"]+)"`)

// Every file that the document names is there, for ever, and the modules among them are those
// that the page loads: a chain of imports would be a chain of waits.
func TestDocumentNamesItsAssets(t *testing.T) {
	h := site(t, nil)
	for _, page := range []string{"/", "/overview", "/transactions", "/nowhere"} {
		document := body(t, ask(h, "GET", page))
		links := assetLink.FindAllStringSubmatch(document, -1)
		if len(links) < 10 {
			t.Errorf("%s names %d assets", page, len(links))
		}
		for _, link := range links {
			r := ask(h, "GET", link[1])
			if r.StatusCode != 200 || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %s is %d, %s", page, link[1], r.StatusCode, r.Header.Get("Cache-Control"))
			}
		}
		if strings.Contains(document, "<style") || strings.Contains(document, " style=") || regexp.MustCompile(`<script[^>]*>[^<]`).MatchString(document) {
			t.Errorf("%s has a script or a style in itself", page)
		}
	}
	if document := body(t, ask(h, "GET", "/transactions")); !strings.Contains(document, "/js/pages/transactions.js") {
		t.Error("the page's own module is not loaded ahead")
	}
}

func TestAssetIsCompressedAndKnown(t *testing.T) {
	h := site(t, nil)
	document := body(t, ask(h, "GET", "/"))
	var script string
	for _, link := range assetLink.FindAllStringSubmatch(document, -1) {
		if strings.HasSuffix(link[1], "/js/main.js") {
			script = link[1]
		}
	}
	plain := ask(h, "GET", script)
	want := body(t, plain)
	if plain.Header.Get("Content-Encoding") != "" || plain.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("plain: %v", plain.Header)
	}
	packed := ask(h, "GET", script, "Accept-Encoding", "br, gzip;q=0.8")
	if packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("packed: %v", packed.Header)
	}
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != want {
		t.Errorf("unpacked is not the file: %v", err)
	}
	if r := ask(h, "GET", script, "Accept-Encoding", "gzip;q=0"); r.Header.Get("Content-Encoding") != "" {
		t.Error("gzip went to a client that refuses it")
	}
	for _, tag := range []string{plain.Header.Get("ETag"), "W/" + plain.Header.Get("ETag"), `"other", ` + plain.Header.Get("ETag")} {
		if r := ask(h, "GET", script, "If-None-Match", tag); r.StatusCode != http.StatusNotModified || body(t, r) != "" {
			t.Errorf("If-None-Match %s: %d", tag, r.StatusCode)
		}
	}
	if r := ask(h, "GET", script, "If-None-Match", packed.Header.Get("ETag")); r.StatusCode != 200 {
		t.Error("the tag of one encoding was taken for another's")
	}
	if r := ask(h, "HEAD", script); r.Header.Get("Content-Length") == "" || body(t, r) != "" {
		t.Errorf("HEAD: %v", r.Header)
	}
}

func TestBareScriptDoesTheSame(t *testing.T) {
	for script, want := range map[string]string{
		"a();\n\t// why\n\t\tb(); // how\n": "a();\n\nb(); // how\n",
		"a(`x\n\t// text\n`);\n":            "a(`x\n\t// text\n`);\n",
		"a(`x`, `// y`);\n\t/* c */ d();\n": "a(`x`, `// y`);\n/* c */ d();\n",
	} {
		if got := string(bare([]byte(script))); got != want {
			t.Errorf("bare(%q) is %q, want %q", script, got, want)
		}
	}
}

// The document has the operator's words in it, which are no markup.
func TestNoticeIsText(t *testing.T) {
	h := site(t, func(c *Config) { c.Notice = `"><script>alert(1)</script>` })
	document := body(t, ask(h, "GET", "/"))
	if strings.Contains(document, "<script>") || !strings.Contains(document, "&lt;script&gt;") {
		t.Error("the notice became markup")
	}
}

// unsafeCode are ways for text to become markup or code, and for a page to keep what it must not.
var unsafeCode = regexp.MustCompile(`\.(inner|outer)HTML\s*[+]?=|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(\s*["']on|setAttribute\(\s*["']style|DOMParser|createContextualFragment|trustedTypes\.createPolicy|indexedDB|document\.cookie`)

func TestPageMakesNoMarkupOfText(t *testing.T) {
	each(t, ".js", func(name, text string) {
		if found := unsafeCode.FindString(text); found != "" {
			t.Errorf("%s has %q", name, found)
		}
	})
}

// kept are the only things that a browser keeps of the page: how it looks and is used, and the tenant's name
// while the tab is open.
var kept = map[string]bool{`"cardlake.theme"`: true, `"cardlake.nav"`: true, `"cardlake.tenant"`: true, `"cardlake.shortcuts"`: true, "kept": true}

func TestPageKeepsNothingButItsLook(t *testing.T) {
	storage := regexp.MustCompile(`(?:local|session)Storage\.(?:setItem|getItem|removeItem)\(([^,)]+)|(?:local|session)Storage\b`)
	each(t, ".js", func(name, text string) {
		for _, m := range storage.FindAllStringSubmatch(text, -1) {
			if !kept[strings.TrimSpace(m[1])] {
				t.Errorf("%s: %s is none of what may be kept", name, m[0])
			}
		}
	})
}

// The first page and all that it loads, compressed, stays within what a slow line brings soon.
func TestFirstLoadIsLight(t *testing.T) {
	h := site(t, nil)
	document := ask(h, "GET", "/overview", "Accept-Encoding", "gzip")
	total, n := int(document.ContentLength), 1
	document = ask(h, "GET", "/overview")
	for _, link := range assetLink.FindAllStringSubmatch(body(t, document), -1) {
		text := body(t, ask(h, "GET", link[1], "Accept-Encoding", "gzip"))
		total, n = total+len(text), n+1
	}
	base := assetLink.FindStringSubmatch(body(t, ask(h, "GET", "/")))[1]
	base = base[:strings.Index(base, "/icon.svg")]
	for _, lazy := range []string{"/i18n/es.json", "/vendor/echarts/echarts.js"} {
		r := ask(h, "GET", base+lazy, "Accept-Encoding", "gzip")
		if r.StatusCode != 200 {
			t.Fatalf("%s: %d", lazy, r.StatusCode)
		}
		total, n = total+len(body(t, r)), n+1
	}
	t.Logf("%d files, %d bytes", n, total)
	if limit := 280_000; total > limit {
		t.Errorf("the first page loads %d bytes, %d are meant to be enough", total, limit)
	}
	if n > 32 {
		t.Errorf("the first page loads %d files, which leaves no room for its figures among 40 requests", n)
	}
}

func TestBrokenSiteIsNoSite(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a site without an API is one")
	}
}

func TestModulesFindsWhatIsImported(t *testing.T) {
	a := &assets{byPath: map[string]*asset{}}
	for name, text := range map[string]string{
		"js/main.js":    "import { a,\n\tb } from \"./a.js\";\nexport { c } from \"./c.js\";\nimport \"./d.js\";\n// import { x } from \"./x.js\";\nconst later = () => import(\"./later.js\");\n",
		"js/a.js":       "import { main } from \"./main.js\";\nimport { e } from \"./pages/e.js\";\n",
		"js/c.js":       "",
		"js/d.js":       "",
		"js/pages/e.js": "import { c } from \"../c.js\";\n",
	} {
		a.byPath[name] = &asset{plain: []byte(text)}
	}
	got, err := a.modules([]string{"js/main.js"})
	if want := "js/main.js js/a.js js/c.js js/d.js js/pages/e.js"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("modules %q, %v; want %q", got, err, want)
	}
	a.byPath["js/d.js"].plain = []byte(`import { y } from "./y.js";`)
	if _, err := a.modules([]string{"js/main.js"}); err == nil {
		t.Error("a module that is not there is not missed")
	}
}

func TestStylesBeginWithTheVariables(t *testing.T) {
	contents := map[string][]byte{"css/zebra.css": []byte("z"), "css/figure.css": []byte("f"), "css/app.css": []byte("app"), "css/pages.css": []byte("p"), "css/b.css": []byte("b")}
	joinStyles(contents)
	if all, more := string(contents["css/all.css"]), string(contents["css/more.css"]); len(contents) != 2 || all != "app\nf\np\n" || more != "b\nz\n" {
		t.Errorf("styles are %q and %q of %d", all, more, len(contents))
	}
}

func BenchmarkAsset(b *testing.B) {
	w, err := fs.Sub(files, "web")
	if err != nil {
		b.Fatal(err)
	}
	a, err := newAssets(w)
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("GET", a.base+"/css/all.css", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	b.ReportAllocs()
	for b.Loop() {
		a.ServeHTTP(&discard{header: http.Header{}}, r)
	}
}

type discard struct {
	header http.Header
	bytes.Buffer
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(int)     {}
