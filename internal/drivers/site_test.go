package drivers_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/api/flightsql"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
)

const policies = `
@id("ds") permit (principal in Lake::Persona::"data_scientist", action == Lake::Action::"query", resource in Lake::Table::"cards.transactions")
when { ["public", "money"].contains(resource.tag) };
@id("ds.tokens") permit (principal in Lake::Persona::"data_scientist", action == Lake::Action::"query", resource in Lake::Table::"cards.transactions")
when { resource.tag == "identifier" && resource.access == "masked" };
@id("tenant") permit (principal in Lake::Persona::"tenant_analyst", action, resource is Lake::Slice)
when { principal has tenant && resource.tenant == principal.tenant && ["public", "money", "identifier", "truncated_pan"].contains(resource.tag) };
`

// site is a lake of three tenants with both doors open, over TLS.
type site struct {
	issuer      *signintest.Issuer
	url, flight string // addresses
	ca          string // the file with the authority's certificate
	log         *queriestest.Log
}

type known map[string]grants.Principal

func (k known) PrincipalOf(subject string) (grants.Principal, bool) {
	p, ok := k[subject]
	return p, ok
}

func newSite(t *testing.T) *site {
	t.Helper()
	lake := queriestest.NewLake()
	if err := lake.Fill(6, 2000); err != nil {
		t.Fatal(err)
	}
	var tenants []catalog.TenantRecord
	for _, one := range queriestest.Tenants {
		record := grantstest.Tenant(one.Name)
		record.Country, record.Currency = one.Country, one.Currency
		tenants = append(tenants, record)
	}
	permits := grantstest.Open(t, policies, tenants...)
	s := &site{issuer: signintest.Start(t), log: &queriestest.Log{}}
	authority := signintest.NewAuthority(t, "authority")
	s.ca = authority.File
	subject := func(name string) string { return "oidc:" + s.issuer.URL + "#" + name }
	people := known{
		subject("ana"):  {Kind: grants.DataScientist, Name: "ana"},
		subject("beto"): {Kind: grants.TenantAnalyst, Name: "analyst@aurora"},
	}
	tokens, err := signin.NewIssuer(signin.IssuerConfig{URL: s.issuer.URL, Audience: signintest.Audience, RootCAs: s.issuer.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	verifier, err := signin.New(people, signin.Config{Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	gateway := queries.New(parser, embedded.New(lake, lake, embedded.Config{Threads: 1}), permits, s.log, queries.Config{Views: views.All})
	server, err := api.New(api.Deps{Gateway: gateway, SignIn: verifier, Permits: permits, Recorder: s.log},
		api.Config{PerMinute: 6000, Burst: 1000, SpoolDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	drivers, err := flightsql.New(gateway, server, flightsql.Config{Failed: func(_ string, err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	var files api.Files
	files.Cert, files.Key = signintest.Files(t, authority.Issue("server", nil))
	config, err := files.Server()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	one, other := listen(), listen()
	s.url, s.flight = one.Addr().String(), other.Addr().String()
	go func() { done <- server.Serve(ctx, one, config) }()
	go func() { done <- drivers.Serve(ctx, other, config) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// token is good for an hour.
func (s *site) token(who string) string { return s.issuer.Token(who, time.Now(), nil) }

// run runs a program with the site's addresses and a token in its environment.
func (s *site) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = t.TempDir()
	// requests takes these above what a program says.
	mine := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "REQUESTS_CA_BUNDLE=") || strings.HasPrefix(v, "CURL_CA_BUNDLE=")
	})
	cmd.Env = append(mine,
		"CARDLAKE_URL=https://"+s.url, "CARDLAKE_FLIGHT=grpc+tls://"+s.flight, "CARDLAKE_CA="+s.ca,
		"CARDLAKE_TOKEN="+s.token("ana"), "CARDLAKE_TOKEN_AURORA="+s.token("beto"), "CARDLAKE_TOKEN_NOBODY="+s.token("carla"),
		"CARDLAKE_JDBC=jdbc:arrow-flight-sql://"+s.flight,
	)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), err, out)
	}
	return string(out)
}
