package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/tokenize/detokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize/detokenizetest"
)

// watched is text that is waited for.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// TestPeopleSignIn: with an issuer, people are their tokens, of two factors, and workers their
// certificates.
func TestPeopleSignIn(t *testing.T) {
	d := home.Dir(t.TempDir())
	t.Setenv("CARDLAKE_DIR", string(d))
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	tenants, err := catalog.OpenTenants(d.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tenants.Create(cardlake.Tenant("aurora"), "BR", "BRL", time.Now()); err != nil {
		t.Fatal(err)
	}
	certificates := t.TempDir()
	authority, err := detokenizetest.NewAuthority(certificates, "ca")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(c detokenizetest.Certificate) detokenize.Files {
		t.Helper()
		files, err := authority.Issue(c)
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	server := issue(detokenizetest.Certificate{Name: "server", IsServer: true})
	desk := issue(detokenizetest.Certificate{Name: "desk", URIs: []string{"spiffe://lake.example/desk"}})
	worker := issue(detokenizetest.Certificate{Name: "worker", URIs: []string{"spiffe://lake.example/worker"}})
	issuer := signintest.Start(t)
	issuerCA := filepath.Join(certificates, "issuer.pem")
	signintest.WritePEM(t, issuerCA, "CERTIFICATE", issuer.Certificate().Raw)
	policy := filepath.Join(certificates, "policy.json")
	text := strings.ReplaceAll(`{"principals": {
		"spiffe://lake.example/worker": {"pin": ["*"]},
		"spiffe://lake.example/desk": {"request": ["*"], "approve": ["*"], "tokens_per_hour": 9},
		"oidc:ISSUER#ana": {"request": ["aurora"], "tokens_per_hour": 4},
		"oidc:ISSUER#bea": {"approve": ["aurora"]}
	}}`, "ISSUER", issuer.URL)
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(stdin string, args ...string) (stdout, stderr string, code int) {
		t.Helper()
		var out, errs bytes.Buffer
		code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
		return out.String(), errs.String(), code
	}
	if _, errs, code := command("", "keys", "create", "-tenant", "aurora"); code != 0 {
		t.Fatal(errs)
	}

	var log watched
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "-listen", "127.0.0.1:0", "-cert", server.Cert, "-key", server.Key, "-client-ca", authority.CA(), "-policy", policy,
			"-oidc-issuer", issuer.URL, "-oidc-audience", signintest.Audience, "-oidc-ca", issuerCA}, nil, &log, &log)
	}()
	defer func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("exit code %d: %s", code, &log)
		}
	}()
	var url string
	for until := time.Now().Add(30 * time.Second); url == ""; time.Sleep(5 * time.Millisecond) {
		if m := regexp.MustCompile(`vault starts.*addr=(\S+)`).FindStringSubmatch(log.String()); m != nil {
			url = "https://" + m[1]
		} else if time.Now().After(until) {
			t.Fatal(&log)
		}
	}
	files := func(f detokenize.Files) []string {
		return []string{"-service", url, "-cert", f.Cert, "-key", f.Key, "-ca", authority.CA()}
	}
	tokens, errs, code := command(testCard+"\n", append([]string{"tokenize", "-tenant", "aurora"}, files(worker)...)...)
	if code != 0 {
		t.Fatal(errs)
	}
	as := func(subject string, changes map[string]any) []string {
		t.Helper()
		file := filepath.Join(certificates, fmt.Sprint("token-", subject))
		if err := os.WriteFile(file, []byte(issuer.Token(subject, time.Now(), changes)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return append(files(desk), "-token-file", file)
	}
	detokenise := func(who []string, step ...string) (string, string, int) {
		t.Helper()
		return command(tokens, append(append([]string{"detokenize"}, step...), who...)...)
	}
	ask := []string{"-tenant", "aurora", "-purpose", "dispute 17"}
	if out, errs, code := detokenise(files(desk), ask...); code != 1 || out != "" || !strings.Contains(errs, "refuses (sign-in)") {
		t.Errorf("without a token: exit code %d: %s%s", code, out, errs)
	}
	if out, errs, code := detokenise(as("ana", map[string]any{"amr": []string{"pwd"}}), ask...); code != 1 || out != "" || !strings.Contains(errs, "refuses (second-factor)") {
		t.Errorf("with one factor: exit code %d: %s%s", code, out, errs)
	}
	if out, errs, code := detokenise(as("ana", map[string]any{"iat": time.Now().Add(-16 * time.Minute).Unix()}), ask...); code != 1 || out != "" || !strings.Contains(errs, "refuses (sign-in)") {
		t.Errorf("signed in long ago: exit code %d: %s%s", code, out, errs)
	}
	id, errs, code := detokenise(as("ana", nil), ask...)
	if code != 0 {
		t.Fatal(errs)
	}
	id = strings.TrimSpace(id)
	if _, errs, code := detokenise(as("bea", nil), "-approve", id); code != 0 {
		t.Fatal(errs)
	}
	out, errs, code := detokenise(as("ana", nil), "-collect", id)
	if code != 0 || !strings.Contains(out, "\t"+testCard) {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if err := os.WriteFile(policy+".token", []byte("two tokens"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{policy + ".token", policy + ".gone"} {
		if _, errs, code := detokenise(append(files(desk), "-token-file", file), ask...); code != 1 || !strings.Contains(errs, "-token-file") || strings.Contains(errs, "two tokens") {
			t.Errorf("%s: exit code %d: %s", file, code, errs)
		}
	}
	if strings.Contains(log.String(), "eyJ") {
		t.Error("a token is in the log")
	}
}

// TestPeopleAtANetworkNeedAnIssuer: without one, at another address than a loopback one, nobody
// is answered but workers.
func TestPeopleAtANetworkNeedAnIssuer(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for address, want := range map[string]bool{
		"127.0.0.1:8443": true, "[::1]:8443": true, ":8443": false, "0.0.0.0:8443": false, "10.0.0.1:8443": false, "vault.example:8443": false, "localhost:8443": false, "rubbish": false,
	} {
		var p people
		got, err := p.open(t.Context(), address, log)
		if _, closed := got.(detokenize.NoPeople); err != nil || want != (got == nil) || want == closed {
			t.Errorf("%s: %v, %v", address, got, err)
		}
	}
	for name, change := range map[string]func(*people){
		"an audience alone": func(p *people) { p.issuer.Audience = "vault" },
		"no audience":       func(p *people) { p.issuer.URL = "https://idp.example" },
		"in clear":          func(p *people) { p.issuer.URL, p.issuer.Audience = "http://idp.example", "vault" },
		"no second factor":  func(p *people) { p.issuer.URL, p.issuer.Audience, p.methods = "https://idp.example", "vault", "" },
		"no authorities":    func(p *people) { p.issuer.URL, p.issuer.Audience, p.ca = "https://idp.example", "vault", "gone.pem" },
	} {
		p := people{methods: "mfa"}
		change(&p)
		if got, err := p.open(t.Context(), "127.0.0.1:1", log); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}
