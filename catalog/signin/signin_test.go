package signin_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
)

// principals are those that may sign in.
type principals map[string]grants.Principal

func (p principals) PrincipalOf(subject string) (grants.Principal, bool) {
	one, ok := p[subject]
	return one, ok
}

var (
	ana = grants.Principal{Kind: grants.DataScientist, Name: "ana"}
	etl = grants.Principal{Kind: grants.ETLJob, Name: "etl"}
)

const (
	etlURI = "spiffe://lake.example/etl"
	anaURI = "spiffe://lake.example/ana"
)

// door is a server that tells who it takes the caller for.
type door struct {
	t         *testing.T
	issuer    *signintest.Issuer
	clock     *clock
	authority *signintest.Authority
	url       string
	pool      *x509.CertPool
	known     principals
}

func newDoor(t *testing.T, cfg signin.Config) *door {
	t.Helper()
	d := &door{t: t, issuer: signintest.Start(t), clock: newClock(), authority: signintest.NewAuthority(t, "clients")}
	d.known = principals{"oidc:" + d.issuer.URL + "#ana": ana, anaURI: ana, etlURI: etl, "x509:CN=batch,O=Lake": etl}
	cfg.Now = d.clock.Now
	if cfg.Tokens != nil {
		cfg.Tokens = verifier(t, d.issuer, d.clock, nil)
	}
	authorities := signin.NewAuthorities(d.authority.File)
	cfg.Authorities = authorities
	v, err := signin.New(d.known, cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := v.FromRequest(r)
		if err != nil {
			var refused *signin.Error
			if !errors.As(err, &refused) {
				t.Errorf("error %T", err)
				return
			}
			http.Error(w, string(refused.Reason), http.StatusUnauthorized)
			return
		}
		text := caller.Principal.String() + " " + caller.Origin
		if caller.MFA {
			text += " mfa"
		}
		_, _ = w.Write([]byte(text))
	}))
	pool, err := authorities.Pool()
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
	server.StartTLS()
	t.Cleanup(server.Close)
	d.url, d.pool = server.URL, x509.NewCertPool()
	d.pool.AddCert(server.Certificate())
	return d
}

// as asks with a certificate and a token, both of which may be missing.
func (d *door) as(cert *tls.Certificate, token string, headers ...string) string {
	d.t.Helper()
	return d.ask(d.client(cert), token, headers...)
}

func (d *door) client(cert *tls.Certificate) *http.Client {
	config := &tls.Config{RootCAs: d.pool}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	transport := &http.Transport{TLSClientConfig: config}
	d.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (d *door) ask(c *http.Client, token string, headers ...string) string {
	d.t.Helper()
	r, err := http.NewRequest(http.MethodGet, d.url, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		return "no connection"
	}
	defer resp.Body.Close()
	text := make([]byte, 200)
	n, _ := resp.Body.Read(text)
	if resp.StatusCode != http.StatusOK {
		n--
	}
	return string(text[:n])
}

func (d *door) want(got, want string) {
	d.t.Helper()
	if got != want {
		d.t.Errorf("got %q, want %q", got, want)
	}
}

func (d *door) cert(uris ...string) *tls.Certificate {
	c := d.authority.Issue("x", signintest.URIs(d.t, uris...))
	return &c
}

// someTokens asks newDoor to take the issuer's tokens.
var someTokens signin.Tokens = (*signin.Issuer)(nil)

func TestCallers(t *testing.T) {
	d := newDoor(t, signin.Config{Tokens: someTokens, Certificates: true})
	token := d.issuer.Token("ana", d.clock.Now(), nil)
	d.want(d.as(nil, token), "data_scientist/ana 127.0.0.1 mfa")
	d.want(d.as(nil, d.issuer.Token("ana", d.clock.Now(), map[string]any{"amr": []string{"pwd"}})), "data_scientist/ana 127.0.0.1")
	d.want(d.as(d.cert(etlURI), ""), "etl_job/etl 127.0.0.1")
	named := d.authority.Issue("batch", func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "batch", Organization: []string{"Lake"}} })
	d.want(d.as(&named, ""), "etl_job/etl 127.0.0.1")

	d.want(d.as(nil, ""), "no_credentials")
	d.want(d.as(nil, d.issuer.Token("bea", d.clock.Now(), nil)), "unknown_subject")
	d.want(d.as(d.cert("spiffe://lake.example/other"), ""), "unknown_subject")
	d.want(d.as(d.cert("spiffe://lake.example/etl/"), ""), "unknown_subject")
	d.want(d.as(d.cert(etlURI, anaURI), ""), "certificate_name")
	d.want(d.as(d.cert("https://lake.example/etl"), ""), "certificate_name")
	d.want(d.as(d.cert("spiffe://lake.example/etl?x"), ""), "certificate_name")
	nobody := d.authority.Issue("", func(c *x509.Certificate) { c.Subject = pkix.Name{} })
	d.want(d.as(&nobody, ""), "certificate_name")
	posing := d.authority.Issue(etlURI, nil) // a name is no URI
	d.want(d.as(&posing, ""), "unknown_subject")

	// One caller, one identity.
	d.want(d.as(d.cert(anaURI), token), "data_scientist/ana 127.0.0.1 mfa")
	d.want(d.as(d.cert(etlURI), token), "two_identities")
	d.want(d.as(d.cert("spiffe://lake.example/other"), token), "unknown_subject")
	d.want(d.as(d.cert(anaURI), token+"x"), "signature")

	// A header states nothing.
	for _, h := range []string{"X-Forwarded-User", "X-Remote-User", "X-Auth-Request-Email", "X-Client-Cert", "X-Forwarded-Client-Cert", "X-Ssl-Client-S-Dn", "Cookie"} {
		d.want(d.as(nil, "", h, "data_scientist/ana"), "no_credentials")
		d.want(d.as(d.cert(etlURI), "", h, "data_scientist/ana"), "etl_job/etl 127.0.0.1")
	}
	d.want(d.as(nil, "", "Authorization", "Bearer "+token, "Authorization", "Bearer "+token), "malformed")
	d.want(d.as(nil, "", "Authorization", "Basic "+token), "malformed")
	d.want(d.as(nil, "", "Authorization", "Bearer "), "malformed")
	d.want(d.as(nil, "", "Authorization", "Bearer  "+token), "malformed")
	d.want(d.as(nil, "", "X-Forwarded-For", "10.9.9.9", "Authorization", "bearer "+token), "data_scientist/ana 127.0.0.1 mfa")
	d.url += "/?access_token=" + token
	d.want(d.as(nil, ""), "no_credentials")
}

// TestRevokedPrincipal is refused from the next call on, with a token and a connection that are
// good still.
func TestRevokedPrincipal(t *testing.T) {
	d := newDoor(t, signin.Config{Tokens: someTokens, Certificates: true})
	token, person, service := d.issuer.Token("ana", d.clock.Now(), nil), d.client(nil), d.client(d.cert(etlURI))
	d.want(d.ask(person, token), "data_scientist/ana 127.0.0.1 mfa")
	d.want(d.ask(service, ""), "etl_job/etl 127.0.0.1")
	clear(d.known)
	d.want(d.ask(person, token), "unknown_subject")
	d.want(d.ask(service, ""), "unknown_subject")
}

func TestCertificates(t *testing.T) {
	d := newDoor(t, signin.Config{Certificates: true})
	d.want(d.as(nil, d.issuer.Token("ana", d.clock.Now(), nil)), "no_credentials") // tokens are not taken
	other := signintest.NewAuthority(t, "clients").Issue("x", signintest.URIs(t, etlURI))
	d.want(d.as(&other, ""), "no connection")
	expired := d.authority.Issue("x", func(c *x509.Certificate) {
		signintest.URIs(t, etlURI)(c)
		c.NotAfter = time.Now().Add(-time.Minute)
	})
	d.want(d.as(&expired, ""), "no connection")
	server := d.authority.Issue("x", func(c *x509.Certificate) {
		signintest.URIs(t, etlURI)(c)
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	d.want(d.as(&server, ""), "no connection")

	// What ends while a connection is open ends for it too.
	c := d.client(d.cert(etlURI))
	d.want(d.ask(c, ""), "etl_job/etl 127.0.0.1")
	d.clock.advance(2 * time.Hour)
	d.want(d.ask(c, ""), "certificate_expired")
	d.clock.advance(-2 * time.Hour)
	d.want(d.ask(c, ""), "etl_job/etl 127.0.0.1")
	replaced := signintest.NewAuthority(t, "replaced")
	signintest.WritePEM(t, d.authority.File, "CERTIFICATE", replaced.Cert.Raw)
	touch(t, d.authority.File)
	d.want(d.ask(c, ""), "certificate_root")
	if err := os.Remove(d.authority.File); err != nil {
		t.Fatal(err)
	}
	d.want(d.ask(c, ""), "unreadable_authority")
}

// touch makes two writes within the clock's grain differ.
func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
}

func TestAuthorities(t *testing.T) {
	a := signintest.NewAuthority(t, "a")
	_, key := signintest.Files(t, a.Issue("x", nil))
	for name, text := range map[string]string{"empty": "", "no PEM": "hello", "damaged": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		file := t.TempDir() + "/ca.pem"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := signin.NewAuthorities(file).Pool(); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	if _, err := signin.NewAuthorities(key).Pool(); err == nil {
		t.Error("a key was taken for an authority")
	}
}

// TestTransport: the certificate is of a proxy or a mesh, and says nothing about who asks.
func TestTransport(t *testing.T) {
	d := newDoor(t, signin.Config{Tokens: someTokens, Transport: true})
	token := d.issuer.Token("ana", d.clock.Now(), nil)
	d.want(d.as(d.cert("spiffe://mesh.example/anything"), token), "data_scientist/ana 127.0.0.1 mfa")
	d.want(d.as(d.cert(etlURI), token), "data_scientist/ana 127.0.0.1 mfa")
	d.want(d.as(d.cert(etlURI), ""), "no_credentials")
	d.want(d.as(nil, token), "no_credentials")
	d.clock.advance(2 * time.Hour)
	d.want(d.as(d.cert(etlURI), d.issuer.Token("ana", d.clock.Now(), nil)), "certificate_expired")
}

func TestConfigThatCannotWork(t *testing.T) {
	for name, cfg := range map[string]signin.Config{
		"nothing":           {},
		"transport alone":   {Transport: true},
		"transport and who": {Transport: true, Certificates: true, Tokens: someTokens},
	} {
		if _, err := signin.New(principals{}, cfg); err == nil {
			t.Errorf("%s: is taken", name)
		}
	}
}

// TestInvalidPrincipal: what grants could not have loaded signs nobody in.
func TestInvalidPrincipal(t *testing.T) {
	v, err := signin.New(principals{etlURI: {Kind: "root", Name: "x"}}, signin.Config{Certificates: true})
	if err != nil {
		t.Fatal(err)
	}
	c := signintest.NewAuthority(t, "a").Issue("x", signintest.URIs(t, etlURI))
	if caller, err := v.Caller(t.Context(), signin.Credentials{Certificate: c.Leaf}); err == nil {
		t.Errorf("%+v", caller)
	}
}

func TestOrigin(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tc := range []struct {
		peer    string
		hops    []string
		proxies []netip.Prefix
		want    string
	}{
		{"192.0.2.1:5000", nil, nil, "192.0.2.1"},
		{"192.0.2.1:5000", []string{"198.51.100.7"}, nil, "192.0.2.1"},
		{"192.0.2.1:5000", []string{"198.51.100.7"}, proxies, "192.0.2.1"},
		{"10.0.0.1:5000", []string{"198.51.100.7"}, proxies, "198.51.100.7"},
		{"10.0.0.1:5000", []string{"203.0.113.9, 198.51.100.7"}, proxies, "198.51.100.7"},
		{"10.0.0.1:5000", []string{"203.0.113.9", "198.51.100.7, 10.0.0.2"}, proxies, "198.51.100.7"},
		{"10.0.0.1:5000", []string{"10.0.0.3"}, proxies, "10.0.0.3"},
		{"10.0.0.1:5000", []string{"198.51.100.7, rubbish"}, proxies, "10.0.0.1"},
		{"10.0.0.1:5000", nil, proxies, "10.0.0.1"},
		{"[::ffff:10.0.0.1]:5000", []string{"198.51.100.7"}, proxies, "198.51.100.7"},
		{"[fd00::1]:5000", []string{"2001:db8::1%eth0"}, proxies, "2001:db8::1"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = tc.peer
		r.Header["X-Forwarded-For"] = tc.hops
		if d := cmp.Diff(tc.want, signin.Origin(r, tc.proxies)); d != "" {
			t.Errorf("%s %q: %s", tc.peer, tc.hops, d)
		}
	}
}
