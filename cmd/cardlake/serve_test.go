package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake/catalog/signin/signintest"
	"github.com/cardlake/cardlake/internal/home"
)

// server is a "cardlake serve" that runs.
type server struct {
	t              *testing.T
	stdout, stderr *output
	url            string
	client         *http.Client
	end            func() int
}

// output is text that is waited for.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// waitFor returns the first group of the pattern.
func (o *output) waitFor(t *testing.T, pattern string) string {
	t.Helper()
	r := regexp.MustCompile(pattern)
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if m := r.FindStringSubmatch(o.String()); m != nil {
			return m[1]
		}
	}
	t.Fatalf("there is no %s in %s", pattern, o)
	return ""
}

// start starts the server and waits until it answers.
func start(t *testing.T, scheme string, args ...string) *server {
	t.Helper()
	s := &server{t: t, stdout: &output{}, stderr: &output{}, client: &http.Client{}}
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"serve", "-listen", "127.0.0.1:0"}, args...), nil, s.stdout, s.stderr)
	}()
	s.end = sync.OnceValue(func() int {
		cancel()
		return <-code
	})
	t.Cleanup(func() {
		if code := s.end(); code != 0 {
			t.Errorf("exit code %d: %s", code, s.stderr)
		}
	})
	s.url = scheme + "://" + s.stderr.waitFor(t, `"msg":"serve starts".*"addr":"([^"]+)"`)
	return s
}

// ask makes a call and returns its status and text.
func (s *server) ask(token, method, path, body string, headers ...string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return resp.StatusCode, string(text)
}

// developmentToken is one of the development issuer, as the server's output says how to get it.
func (s *server) developmentToken(principal string) string {
	t := s.t
	t.Helper()
	quoted := regexp.QuoteMeta(principal)
	secret := s.stdout.waitFor(t, "client_id="+quoted+" -d client_secret=([a-p]{32}) ")
	at := s.stdout.waitFor(t, secret+" (http://127.0.0.1:[0-9]+/development/token)")
	r, err := http.NewRequest(http.MethodPost, at, strings.NewReader(url.Values{"grant_type": {"client_credentials"}, "client_id": {principal}, "client_secret": {secret}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/plain")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, text)
	}
	return strings.TrimSpace(string(text))
}

const countSQL = `{"sql": "SELECT tenant, count(*) AS n FROM cards.transactions GROUP BY 1 ORDER BY 1", "format": "csv"}`

// TestServeForTryingOut: a lake on one machine, with the development issuer.
func TestServeForTryingOut(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 3, 10); err != nil {
		t.Fatal(err)
	}
	s := start(t, "http", "-dir", string(dir), "-dev-sign-in", "-metrics-listen", "127.0.0.1:0")
	if !strings.Contains(s.stderr.String(), `"msg":"DEVELOPMENT SIGN-IN`) || !strings.HasPrefix(s.stdout.String(), "DEVELOPMENT SIGN-IN") {
		t.Errorf("it does not say so: %s", s.stderr)
	}
	token := s.developmentToken
	scientist, analyst := token("data_scientist/local"), token("tenant_analyst/analyst@bolivar")
	if status, text := s.ask(scientist, http.MethodPost, "/v1/query", countSQL); status != 200 || text != "tenant,n\r\naurora,10\r\nbolivar,10\r\ncobre,10\r\n" {
		t.Errorf("status %d: %q", status, text)
	}
	if status, text := s.ask(analyst, http.MethodPost, "/v1/query", countSQL); status != 200 || text != "tenant,n\r\nbolivar,10\r\n" {
		t.Errorf("status %d: %q", status, text)
	}
	if status, text := s.ask(token("auditor/local"), http.MethodPost, "/v1/query", countSQL); status != 403 {
		t.Errorf("an auditor: status %d: %q", status, text)
	}
	if status, text := s.ask("", http.MethodPost, "/v1/query", countSQL); status != 401 {
		t.Errorf("nobody: status %d: %q", status, text)
	}
	if status, _ := s.ask(scientist, http.MethodGet, "/v1/me", "", "X-Forwarded-For", "192.0.2.1"); status != 200 {
		t.Errorf("me: status %d", status)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, _ := s.ask("", http.MethodGet, path, ""); status != 200 {
			t.Errorf("%s: status %d", path, status)
		}
	}
	resp, err := http.Get("http://" + s.stderr.waitFor(t, `"msg":"metrics","addr":"([^"]+)"`) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`cardlake_api_requests_total{route="query",status="200"} 2`, `cardlake_api_refused_total{reason="not-permitted"} 1`, "cardlake_grants_stale 0", "cardlake_audit_failures_total 0"} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	if strings.Contains(string(metrics), "bolivar") || strings.Contains(string(metrics), "local") {
		t.Error("a name is in the metrics")
	}
	if code := s.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, s.stderr)
	}
	for line := range strings.Lines(s.stderr.String()) {
		if !json.Valid([]byte(line)) || strings.Contains(line, "SELECT") || strings.Contains(line, scientist) {
			t.Errorf("line %q", line)
		}
	}
	lines := recorded(t, dir)
	for _, want := range []string{
		`"actor":"data_scientist/local","action":"query","resource":"cards.transactions","outcome":"allowed","origin":"127.0.0.1"`,
		`"actor":"auditor/local","action":"query","resource":"cards.transactions","outcome":"refused"`,
		`"actor":"unknown","action":"sign_in","resource":"api","outcome":"refused","origin":"127.0.0.1","reason":"no_credentials"`,
		`"actor":"data_scientist/local","action":"me"`,
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("the record has no %s", want)
		}
	}
}

// productionGrants replaces the grants by ones that are fit for production.
func productionGrants(t *testing.T, dir home.Dir, principals string) {
	t.Helper()
	text := strings.ReplaceAll(`{"principals": [PRINCIPALS]}`, "PRINCIPALS", principals)
	if err := os.WriteFile(filepath.Join(dir.Grants(), "principals.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func principal(name, subject string) string {
	return fmt.Sprintf(`{"principal": %q, "owner": "ana@example.com", "subjects": [%q], "service": %v, "reviewed": %q}`,
		name, subject, strings.HasPrefix(name, "etl_job/"), time.Now().UTC().Format(time.DateOnly))
}

// TestServe: TLS, an issuer, clients' certificates, and grants that change meanwhile.
func TestServe(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 3, 10); err != nil {
		t.Fatal(err)
	}
	issuer, authority := signintest.Start(t), signintest.NewAuthority(t, "authority")
	ana, etl := principal("data_scientist/ana", "oidc:"+issuer.URL+"#ana"), principal("etl_job/etl", "spiffe://lake.example/etl")
	productionGrants(t, dir, ana+","+etl)
	cert, key := signintest.Files(t, authority.Issue("server", nil))
	ca := filepath.Join(t.TempDir(), "issuer.pem")
	signintest.WritePEM(t, ca, "CERTIFICATE", issuer.Certificate().Raw)
	s := start(t, "https", "-dir", string(dir), "-tls-cert", cert, "-tls-key", key, "-client-ca", authority.File,
		"-oidc-issuer", issuer.URL, "-oidc-audience", signintest.Audience, "-oidc-ca", ca)
	pool := x509.NewCertPool()
	pool.AddCert(authority.Cert)
	client := func(c *tls.Certificate) *http.Client {
		config := &tls.Config{RootCAs: pool}
		if c != nil {
			config.Certificates = []tls.Certificate{*c}
		}
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	s.client = client(nil)
	if s.stdout.String() != "" {
		t.Errorf("stdout: %s", s.stdout)
	}
	token := issuer.Token("ana", time.Now(), nil)
	if status, text := s.ask(token, http.MethodPost, "/v1/query", countSQL); status != 200 || !strings.Contains(text, "aurora,10") {
		t.Errorf("status %d: %q", status, text)
	}
	if status, _ := s.ask(issuer.Token("eve", time.Now(), nil), http.MethodPost, "/v1/query", countSQL); status != 401 {
		t.Errorf("a stranger: status %d", status)
	}
	if status, _ := s.ask(issuer.Token("data_scientist/ana", time.Now(), nil), http.MethodPost, "/v1/query", countSQL); status != 401 {
		t.Errorf("a principal's name as subject: status %d", status)
	}
	job := authority.Issue("etl", signintest.URIs(t, "spiffe://lake.example/etl"))
	s.client = client(&job)
	if status, text := s.ask("", http.MethodGet, "/v1/me", ""); status != 200 || !strings.Contains(text, `"principal":"etl_job/etl"`) {
		t.Errorf("a job: status %d: %q", status, text)
	}
	s.client = client(nil)
	productionGrants(t, dir, etl)
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, _ := s.ask(token, http.MethodGet, "/v1/me", "")
		if status == 401 {
			break
		}
		if time.Now().After(until) {
			t.Fatal("one who was taken out of the grants is answered still")
		}
	}
	if code := s.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, s.stderr)
	}
	if lines := recorded(t, dir); !strings.Contains(lines, `"actor":"oidc:`+issuer.URL+`#eve","action":"sign_in"`) || !strings.Contains(lines, `"reason":"unknown_subject"`) {
		t.Errorf("the stranger is not on record: %s", lines)
	}
}

// TestServeFaults: all that would make the door open, or nobody able to pass it.
func TestServeFaults(t *testing.T) {
	dir := t.TempDir()
	const dev = "takes anybody for anybody, and "
	oidc := []string{"-oidc-issuer", "https://idp.example", "-oidc-audience", "lake"}
	with := func(args []string, more ...string) []string { return append(slices.Clone(args), more...) }
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"nobody could sign in":      {nil, "nobody could sign in"},
		"plain at a network":        {with(oidc, "-listen", "10.0.0.1:80"), "not a loopback address: it needs -tls-cert"},
		"plain at all addresses":    {with(oidc, "-listen", ":80"), "not a loopback address: it needs -tls-cert"},
		"plain at a name":           {with(oidc, "-listen", "localhost:80"), "not a loopback address: it needs -tls-cert"},
		"a certificate without key": {with(oidc, "-tls-cert", "x"), "go together"},
		"clients without TLS":       {[]string{"-client-ca", "x"}, "-client-ca needs -tls-cert"},
		"transport without tokens":  {[]string{"-client-ca", "x", "-tls-cert", "x", "-tls-key", "x", "-client-cert-is-transport"}, "-client-cert-is-transport needs"},
		"no audience":               {[]string{"-oidc-issuer", "https://idp.example"}, "the audience is missing"},
		"an issuer in clear":        {[]string{"-oidc-issuer", "http://idp.example", "-oidc-audience", "lake"}, "is not https"},
		"an audience alone":         {[]string{"-client-ca", "x", "-tls-cert", "x", "-tls-key", "x", "-oidc-audience", "lake"}, "-oidc-… need -oidc-issuer"},
		"a proxy that is no net":    {with(oidc, "-trusted-proxies", "10.0.0.1"), "is not a network"},
		"no rows":                   {with(oidc, "-max-rows", "0"), "are at least 1"},

		"development at a network":        {[]string{"-dev-sign-in", "-listen", "10.0.0.1:80", "-tls-cert", "x", "-tls-key", "x"}, dev + "-listen is not a loopback address"},
		"development at all addresses":    {[]string{"-dev-sign-in", "-listen", "0.0.0.0:80", "-tls-cert", "x", "-tls-key", "x"}, dev + "-listen is not a loopback address"},
		"development at a name":           {[]string{"-dev-sign-in", "-listen", "localhost:80", "-tls-cert", "x", "-tls-key", "x"}, dev + "-listen is not a loopback address"},
		"development behind a proxy":      {[]string{"-dev-sign-in", "-trusted-proxies", "10.0.0.0/8"}, dev + "-trusted-proxies"},
		"development and an issuer":       {with(oidc, "-dev-sign-in"), dev + "there is another sign-in"},
		"development and certificates":    {[]string{"-dev-sign-in", "-client-ca", "x", "-tls-cert", "x", "-tls-key", "x"}, dev + "there is another sign-in"},
		"development and a bucket":        {[]string{"-dev-sign-in", "-s3-bucket", "lake", "-aws-region", "eu-west-1"}, dev + "the lake is in a bucket"},
		"development and KMS":             {[]string{"-dev-sign-in", "-kms", "arn:aws:kms:eu-west-1:111122223333:key/mrk-1"}, dev + "the keys are in KMS"},
		"development and Glue":            {[]string{"-dev-sign-in", "-catalog", "glue"}, dev + "the catalog is shared"},
		"development and PostgreSQL":      {[]string{"-dev-sign-in", "-catalog", "postgres://db.example/lake"}, dev + "the catalog is shared"},
		"development and others' workers": {[]string{"-dev-sign-in", "-tail", "w:1", "-tail-ca", "x", "-tail-cert", "x", "-tail-key", "x"}, dev + "it reads workers"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{"serve", "-dir", dir}, tc.args...), nil, &stdout, &stderr)
			if message, _, _ := strings.Cut(stderr.String(), "usage:"); code != 2 || !strings.Contains(message, tc.want) || stdout.Len() > 0 {
				t.Errorf("exit code %d: %s", code, message)
			}
		})
	}
}

// TestServeTakesGrantsForWhatTheyAre: those for trying out are not served in production, nor
// the others with the development issuer.
func TestServeTakesGrantsForWhatTheyAre(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 1, 1); err != nil {
		t.Fatal(err)
	}
	refused := func(want string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var stdout, stderr bytes.Buffer
		code := run(ctx, append([]string{"serve", "-listen", "127.0.0.1:0", "-dir", string(dir)}, args...), nil, &stdout, &stderr)
		if code != 2 || !strings.Contains(stderr.String(), want) || stdout.Len() > 0 {
			t.Errorf("exit code %d: %s%s", code, stderr.String(), stdout.String())
		}
	}
	refused(`"development" is true`, "-oidc-issuer", "https://127.0.0.1:1", "-oidc-audience", "lake")
	productionGrants(t, dir, principal("data_scientist/ana", "oidc:https://idp.example#ana"))
	refused(`the grants are not for trying out`, "-dev-sign-in")
}
