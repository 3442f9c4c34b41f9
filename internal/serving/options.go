package serving

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
)

// Options say which lake is served, to whom and where.
type Options struct {
	Place lakeflags.Flags
	// Tail has the rows that are not committed yet; nil for none. Whoever made it closes it.
	Tail queries.Tail
	// HasWorkers says that the tail is that of workers elsewhere.
	HasWorkers bool
	// Engine computes answers; nil for DuckDB in this process.
	Engine func(ctx context.Context, l *Lake, cfg embedded.Config) (queries.Engine, error)
	// Before are handlers of paths that stand before all else, without sign-in.
	Before map[string]http.Handler
	// Brief says only where to sign in for development, and not how each principal gets a token.
	Brief bool

	Grants, Tenants string // a folder and a file
	Audit, Anchor   string // a folder and a file

	Watermarks string // a principal

	Listen, Flight string
	Metrics, Spool string
	Cert, Key      string
	TLS12          bool
	ClientCA       string
	Transport      bool
	ProxyList      string
	proxies        []netip.Prefix

	Issuer                    signin.IssuerConfig
	IssuerCA                  string
	Parties, Methods, Classes string
	Development               bool

	// The dashboard's address as browsers have it, and what it is at the issuer.
	DashboardURL string
	Client       signin.ClientConfig
	scopes, acr  string
	Keys, Saved  string // a file and a folder

	MaxRows                int64
	Timeout, Drain         time.Duration
	Memory, Cache, Answers int64 // MiB
	Queries, PerMinute     int
}

// Define adds the flags.
func (o *Options) Define(fs *flag.FlagSet) {
	o.Place.Define(fs, lakeflags.Read)
	fs.StringVar(&o.Grants, "grants", "", "`folder` of who may do what; default grants in -dir")
	fs.StringVar(&o.Tenants, "tenants", "", "`file` with the register of tenants; default tenants.json in -dir")
	fs.StringVar(&o.Audit, "audit", "", "`folder` of the audit log; default audit/"+LakeLog+" in -dir")
	fs.StringVar(&o.Anchor, "audit-anchor", "", "`file` that keeps the audit log's head, best on another volume; default audit/"+LakeLog+".head in -dir")

	fs.StringVar(&o.Listen, "listen", "127.0.0.1:8420", "`address` to answer at; another than a loopback address needs -tls-cert")
	fs.StringVar(&o.Flight, "flight", "", "`address` for drivers of Arrow Flight SQL (gRPC), such as 127.0.0.1:8421; TLS, sign-in and bounds are those of -listen")
	fs.StringVar(&o.Spool, "spool", "", "`folder` for pages of answers, sealed, in files without names; default the system's for temporary files")
	fs.StringVar(&o.Watermarks, "watermarks", "", "`principal`, KIND/NAME, that is given all tenants' rows and totals: tells with changes how complete they are, and lets scheduled exports wait for it")
	fs.StringVar(&o.Metrics, "metrics-listen", "", "`address` of /metrics for Prometheus, in clear: counts and times, no names")
	fs.StringVar(&o.Cert, "tls-cert", "", "the server's certificate `file`, PEM, read for each connection")
	fs.StringVar(&o.Key, "tls-key", "", "its private key `file`, PEM")
	fs.BoolVar(&o.TLS12, "tls12", false, "take TLS 1.2 besides 1.3, for clients that have no other")
	fs.StringVar(&o.ClientCA, "client-ca", "", "`file` of the certificates that sign clients', PEM, read again when it changes: services sign in by theirs")
	fs.BoolVar(&o.Transport, "client-cert-is-transport", false, "want a client certificate for the connection, and a token for who it is")
	fs.StringVar(&o.ProxyList, "trusted-proxies", "", "comma-separated `networks` of proxies whose X-Forwarded-For names the caller's address; nothing else of theirs is believed")

	fs.StringVar(&o.Issuer.URL, "oidc-issuer", "", "`URL` of the OpenID Connect issuer whose tokens say who it is, exactly as they name it")
	fs.StringVar(&o.Issuer.Audience, "oidc-audience", "", "what a token must be for: one of its `aud`")
	fs.StringVar(&o.IssuerCA, "oidc-ca", "", "`file` of the certificates that sign the issuer's, PEM; default the system's")
	fs.StringVar(&o.Parties, "oidc-clients", "", "comma-separated client `ids` (azp) that tokens may be issued to; default any")
	fs.DurationVar(&o.Issuer.MaxAge, "oidc-max-age", time.Hour, "`time` after which a token is not taken, however long it says that it is valid")
	fs.StringVar(&o.Methods, "mfa-methods", "mfa", "comma-separated values of `amr` that say that more than one factor was shown")
	fs.StringVar(&o.Classes, "mfa-classes", "", "comma-separated values of `acr` that say so")
	fs.StringVar(&o.DashboardURL, "dashboard-url", "", "`URL` of the dashboard as browsers have it, such as https://lake.example; default http://LISTEN without TLS")
	fs.StringVar(&o.Client.ID, "oidc-client-id", "", "`id` of the dashboard's client at the issuer; without it there is no dashboard, but with -dev-sign-in")
	fs.StringVar(&o.Client.SecretFile, "oidc-client-secret", "", "`file` with that client's secret; neither this nor -oidc-client-key for a public client, which PKCE is enough for")
	fs.StringVar(&o.Client.KeyFile, "oidc-client-key", "", "`file` with that client's private key, PEM")
	fs.StringVar(&o.Client.KeyID, "oidc-client-key-id", "", "`id` of that key at the issuer")
	fs.StringVar(&o.scopes, "oidc-scopes", "", "comma-separated `scopes` that a sign-in asks for beside openid")
	fs.StringVar(&o.acr, "oidc-acr", "", "comma-separated `acr_values` that a sign-in asks for, so that the issuer wants a second factor")
	fs.DurationVar(&o.Client.MaxAge, "oidc-auth-age", 0, "`time` after which a person signs in at the issuer again; for an issuer that states auth_time; 0 leaves it to the issuer")
	fs.StringVar(&o.Keys, "keys-file", "", "`file` of the API keys that people made; default api-keys.db in -dir")
	fs.StringVar(&o.Saved, "saved-views", "", "`folder` of the views that people saved; default saved in -dir")
	fs.BoolVar(&o.Development, "dev-sign-in", false, "for trying out on one machine: an issuer of its own, that takes anybody for anybody")

	fs.Int64Var(&o.MaxRows, "max-rows", 1_000_000, "most `rows` of an answer; grants make it less, never more")
	fs.DurationVar(&o.Timeout, "timeout", 5*time.Minute, "longest `time` a statement may take")
	fs.Int64Var(&o.Memory, "memory", 512, "`MiB` of memory that a statement may use, besides the decrypted files")
	fs.Int64Var(&o.Cache, "cache", 512, "`MiB` of decrypted columns that are kept in memory for a minute, for the next statements; 0 for none")
	fs.Int64Var(&o.Answers, "answers", 64, "`MiB` of small answers that are kept in memory as long, for the same questions of the same files by who may see the same; 0 for none")
	fs.IntVar(&o.Queries, "queries", 16, "how many statements run at a time")
	fs.IntVar(&o.PerMinute, "rate", 120, "how many calls a principal may make in a minute")
	fs.DurationVar(&o.Drain, "drain", 30*time.Second, "`time` that calls under way have at the end")
}

// Complete fills in what was not given, and reports every fault.
func (o *Options) Complete() error {
	errs := []error{o.Place.Complete()}
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	dir := home.Dir(o.Place.Dir)
	o.Grants = cmp.Or(o.Grants, dir.Grants())
	o.Tenants = cmp.Or(o.Tenants, dir.Tenants())
	o.Audit = cmp.Or(o.Audit, dir.Audit(LakeLog))
	o.Anchor = cmp.Or(o.Anchor, dir.AuditAnchor(LakeLog))
	o.Keys = cmp.Or(o.Keys, filepath.Join(o.Place.Dir, "api-keys.db"))
	o.Saved = cmp.Or(o.Saved, filepath.Join(o.Place.Dir, "saved"))
	o.Client.Scopes, o.Client.Classes = List(o.scopes), List(o.acr)
	o.Issuer.Parties, o.Issuer.MFAMethods, o.Issuer.MFAClasses = List(o.Parties), List(o.Methods), List(o.Classes)
	for _, text := range List(o.ProxyList) {
		network, err := netip.ParsePrefix(text)
		fault(err != nil, "-trusted-proxies: %q is not a network such as 10.0.0.0/8", text)
		o.proxies = append(o.proxies, network)
	}
	local, err := IsLocalAddress(o.Listen)
	fault(err != nil, "-listen: %v", err)
	fault(!local && o.Cert == "", "-listen is not a loopback address: it needs -tls-cert and -tls-key")
	if o.Spool != "" {
		info, err := os.Stat(o.Spool)
		fault(err != nil || !info.IsDir(), "-spool: there is no folder %s", o.Spool)
	}
	if o.Watermarks != "" {
		_, err := grants.ParsePrincipal(o.Watermarks)
		fault(err != nil, "-watermarks: %v", err)
	}
	if o.Flight != "" {
		isLocal, err := IsLocalAddress(o.Flight)
		fault(err != nil, "-flight: %v", err)
		fault(err == nil && !isLocal && o.Cert == "", "-flight is not a loopback address: it needs -tls-cert and -tls-key")
		local = local && isLocal
	}
	fault((o.Cert == "") != (o.Key == ""), "-tls-cert and -tls-key go together")
	fault(o.ClientCA != "" && o.Cert == "", "-client-ca needs -tls-cert")
	fault(o.TLS12 && o.Cert == "", "-tls12 needs -tls-cert")
	fault(o.Transport && (o.ClientCA == "" || o.Issuer.URL == ""), "-client-cert-is-transport needs -client-ca and -oidc-issuer")
	fault(o.MaxRows < 1 || o.Timeout <= 0 || o.Memory < 1 || o.Memory > 1<<20 || o.Cache < 0 || o.Cache > 1<<20 || o.Answers < 0 || o.Answers > 1<<20 || o.Queries < 1 || o.PerMinute < 1 || o.Drain < time.Second,
		"-max-rows, -queries and -rate are at least 1, -timeout is positive, -memory from 1 to %d, -cache and -answers from 0, -drain at least 1s", 1<<20)
	fault(o.Client.ID != "" && o.Issuer.URL == "", "-oidc-client-id needs -oidc-issuer")
	fault(o.Client.ID == "" && (o.Client.SecretFile != "" || o.Client.KeyFile != "" || o.Client.MaxAge != 0 || o.scopes != "" || o.acr != "" || o.DashboardURL != "") && !o.Development,
		"-dashboard-url and -oidc-client-… need -oidc-client-id")
	fault(o.Client.ID != "" && o.DashboardURL == "" && o.Cert != "", "-oidc-client-id needs -dashboard-url: browsers are sent back to it")
	if o.Issuer.URL != "" {
		if err := o.Issuer.Validate(); err != nil {
			fault(true, "-oidc-issuer, -oidc-audience: %w", err)
		}
	} else {
		fault(o.Issuer.Audience != "" || o.IssuerCA != "" || o.Parties != "", "-oidc-… need -oidc-issuer")
	}
	if o.Development {
		errs = append(errs, o.onlyDevelopment(local)...)
	} else {
		fault(o.Issuer.URL == "" && o.ClientCA == "", "nobody could sign in: give -oidc-issuer, -client-ca or both; or, on one machine, -dev-sign-in")
	}
	return errors.Join(errs...)
}

// onlyDevelopment reports what of a production's is there besides -dev-sign-in.
func (o *Options) onlyDevelopment(local bool) (errs []error) {
	refuse := func(bad bool, why string) {
		if bad {
			errs = append(errs, errors.New("-dev-sign-in takes anybody for anybody, and "+why))
		}
	}
	refuse(!local, "-listen is not a loopback address, or -flight is not one")
	refuse(o.ProxyList != "", "-trusted-proxies would open it to others")
	refuse(o.Issuer.URL != "" || o.ClientCA != "", "there is another sign-in: -oidc-issuer or -client-ca")
	refuse(o.Place.Bucket != "", "the lake is in a bucket (-s3-bucket)")
	refuse(o.Place.Keys.Lake.KMS != "", "the keys are in KMS (-kms)")
	refuse(o.Place.Catalog == lakeflags.Glue || o.Place.IsPostgres(), "the catalog is shared (-catalog)")
	refuse(o.HasWorkers, "it reads workers (-tail)")
	return errs
}

// IsLocalAddress reports whether an address is of this machine only.
func IsLocalAddress(address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, errors.New("an address is HOST:PORT")
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback(), nil
}

// List splits a comma-separated list; an empty one has no elements, but is not nil: it replaces
// a default.
func List(text string) []string {
	out := []string{}
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, one)
		}
	}
	return out
}
