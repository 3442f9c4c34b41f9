package canary

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize/detokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize/detokenizetest"
)

// vaultService is the vault's service in this process, with an audit log.
type vaultService struct {
	f     *flow
	url   string
	files map[string]detokenize.Files
}

// owners is the flow's register for the service.
type owners struct{ f *flow }

func (o owners) Owner(name cardlake.Tenant) (keys.Owner, error) {
	r, err := o.f.tenants.Lookup(name)
	if err != nil {
		return "", detokenize.ErrNoTenant
	}
	return keys.OwnerOf(r.StorageID), nil
}

func (o owners) Tenant(owner keys.Owner) (cardlake.Tenant, error) {
	if owner != o.f.owner {
		return "", detokenize.ErrNoTenant
	}
	return aurora, nil
}

func (f *flow) newVaultService(v detokenize.Vault) *vaultService {
	f.t.Helper()
	dir := f.t.TempDir()
	authority, err := detokenizetest.NewAuthority(dir, "ca")
	f.check(err)
	server, err := authority.Issue(detokenizetest.Certificate{Name: "server", IsServer: true})
	f.check(err)
	s := &vaultService{f: f, files: map[string]detokenize.Files{}}
	for _, name := range []string{"worker", "ana", "bea"} {
		s.files[name], err = authority.Issue(detokenizetest.Certificate{Name: name, URIs: []string{"spiffe://lake.example/" + name}})
		f.check(err)
	}
	stranger := f.c.pan("a certificate's name")
	s.files["stranger"], err = authority.Issue(detokenizetest.Certificate{Name: "stranger", URIs: []string{"spiffe://lake.example/" + stranger}})
	f.check(err)
	f.check(os.WriteFile(filepath.Join(dir, "policy.json"), []byte(policy), 0o600))
	policies, err := detokenize.OpenPolicy(filepath.Join(dir, "policy.json"), f.logger("policy"))
	f.check(err)
	trail, err := audit.Open(f.t.Context(), f.dir.Audit("vault"), f.lakeKeys, audit.Config{Actor: "canary", Anchor: audit.FileAnchor(f.dir.AuditAnchor("vault")), Log: f.logger("audit")})
	f.check(err)
	f.t.Cleanup(func() { _ = trail.Close() })
	service := detokenize.New(detokenize.Deps{
		Vault: v, Reverse: keys.NewEnvelopes(f.cardKeys, keys.Reverse, keys.EnvelopeConfig{}), Tenants: owners{f}, Policy: policies, Audit: trail,
	}, detokenize.Config{Log: f.logger("service")})
	config, err := server.Server()
	f.check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.check(err)
	s.url = "https://" + l.Addr().String()
	f.run(func(ctx context.Context) error { return service.Serve(ctx, l, config) })
	return s
}

func (s *vaultService) client(name string) *detokenize.Client {
	s.f.t.Helper()
	config, err := s.files[name].Client()
	s.f.check(err)
	c, err := detokenize.NewClient(s.url, config, detokenize.ClientConfig{})
	s.f.check(err)
	s.f.t.Cleanup(c.Close)
	return c
}

// provoke sends card numbers to the service in every place of a request, and keeps the answers.
func (s *vaultService) provoke() {
	f := s.f
	f.t.Helper()
	for _, name := range []string{"ana", "worker", "stranger"} {
		config, err := s.files[name].Client()
		f.check(err)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 20 * time.Second}
		send := func(method, path, body string, header ...string) {
			r, err := http.NewRequestWithContext(f.t.Context(), method, s.url+path, bytes.NewReader([]byte(body)))
			f.check(err)
			r.Header.Set("Content-Type", "application/json")
			for i := 0; i+1 < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			resp, err := client.Do(r)
			if err != nil {
				fmt.Fprintf(&f.answers, "%T\n", err) // it names the URL that was asked for
				return
			}
			defer resp.Body.Close()
			fmt.Fprintf(&f.answers, "%s %v\n", resp.Status, resp.Header)
			_, _ = io.Copy(&f.answers, resp.Body)
		}
		const token = `"tk1_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`
		send("POST", "/v1/requests", fmt.Sprintf(`{"tenant":"aurora","tokens":[%s],"purpose":"card %s"}`, token, f.c.pan("a purpose")))
		send("POST", "/v1/requests", fmt.Sprintf(`{"tenant":"aurora","tokens":[%q],"purpose":"dispute"}`, f.c.pan("a token")))
		send("POST", "/v1/requests", fmt.Sprintf(`{"tenant":%q,"tokens":[%s],"purpose":"dispute"}`, f.c.pan("a tenant's name"), token))
		send("POST", "/v1/requests", fmt.Sprintf(`{"tenant":"aurora","tokens":[%s],"purpose":"dispute",%q:1}`, token, f.c.pan("a field's name")))
		send("POST", "/v1/requests", f.c.pan("a body that is no JSON"))
		send("POST", "/v1/pins", fmt.Sprintf(`{"owner":%q,"cards":[]}`, f.c.pan("an owner")))
		send("POST", "/v1/pins", fmt.Sprintf(`{"owner":%q,"cards":[{"candidates":[%q],"sealed":%q}]}`, f.owner, f.c.pan("a candidate"), f.c.pan("a sealed number")))
		send("GET", "/v1/requests/"+f.c.pan("a request's id"), "")
		send("POST", "/v1/requests/"+f.c.pan("an id to approve")+"/approve", "")
		send("POST", "/v1/requests/"+f.c.pan("an id to collect")+"/collect", "")
		send("GET", "/"+f.c.pan("a path")+"?q="+f.c.pan("a query"), "")
		send(f.c.pan("a method"), "/v1/requests", "")
		send("POST", "/v1/requests", "{}", "X-Request-Id", f.c.pan("a header of HTTP"), "User-Agent", f.c.pan("a user agent"), "Content-Type", f.c.pan("a content type"))
	}
}
