package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	place           lakeflags.Flags
	workers         workers
	engines         engines
	grants, tenants string
	audit, anchor   string

	watermarks string

	listen, flight string
	metrics, spool string
	cert, key      string
	tls12          bool
	clientCA       string
	transport      bool
	proxyList      string
	proxies        []netip.Prefix

	issuer                    signin.IssuerConfig
	issuerCA                  string
	parties, methods, classes string
	development               bool
	maxRows                   int64
	timeout, drain            time.Duration
	memory, cache             int64
	queries, perMinute        int
}

func (o *serveOptions) define(fs *flag.FlagSet) {
	o.place.Define(fs, lakeflags.Read)
	o.workers.flags(fs)
	o.engines.define(fs)
	fs.StringVar(&o.grants, "grants", "", "`folder` of who may do what; default grants in -dir")
	fs.StringVar(&o.tenants, "tenants", "", "`file` with the register of tenants; default tenants.json in -dir")
	fs.StringVar(&o.audit, "audit", "", "`folder` of the audit log; default audit/"+lakeLog+" in -dir")
	fs.StringVar(&o.anchor, "audit-anchor", "", "`file` that keeps the audit log's head, best on another volume; default audit/"+lakeLog+".head in -dir")

	fs.StringVar(&o.listen, "listen", "127.0.0.1:8420", "`address` to answer at; another than a loopback address needs -tls-cert")
	fs.StringVar(&o.flight, "flight", "", "`address` for drivers of Arrow Flight SQL (gRPC), such as 127.0.0.1:8421; TLS, sign-in and bounds are those of -listen")
	fs.StringVar(&o.spool, "spool", "", "`folder` for pages of answers, sealed, in files without names; default the system's for temporary files")
	fs.StringVar(&o.watermarks, "watermarks", "", "`principal`, KIND/NAME, that is given all tenants' rows and totals: tells with changes how complete they are, and lets scheduled exports wait for it")
	fs.StringVar(&o.metrics, "metrics-listen", "", "`address` of /metrics for Prometheus, in clear: counts and times, no names")
	fs.StringVar(&o.cert, "tls-cert", "", "the server's certificate `file`, PEM, read for each connection")
	fs.StringVar(&o.key, "tls-key", "", "its private key `file`, PEM")
	fs.BoolVar(&o.tls12, "tls12", false, "take TLS 1.2 besides 1.3, for clients that have no other")
	fs.StringVar(&o.clientCA, "client-ca", "", "`file` of the certificates that sign clients', PEM, read again when it changes: services sign in by theirs")
	fs.BoolVar(&o.transport, "client-cert-is-transport", false, "want a client certificate for the connection, and a token for who it is")
	fs.StringVar(&o.proxyList, "trusted-proxies", "", "comma-separated `networks` of proxies whose X-Forwarded-For names the caller's address; nothing else of theirs is believed")

	fs.StringVar(&o.issuer.URL, "oidc-issuer", "", "`URL` of the OpenID Connect issuer whose tokens say who it is, exactly as they name it")
	fs.StringVar(&o.issuer.Audience, "oidc-audience", "", "what a token must be for: one of its `aud`")
	fs.StringVar(&o.issuerCA, "oidc-ca", "", "`file` of the certificates that sign the issuer's, PEM; default the system's")
	fs.StringVar(&o.parties, "oidc-clients", "", "comma-separated client `ids` (azp) that tokens may be issued to; default any")
	fs.DurationVar(&o.issuer.MaxAge, "oidc-max-age", time.Hour, "`time` after which a token is not taken, however long it says that it is valid")
	fs.StringVar(&o.methods, "mfa-methods", "mfa", "comma-separated values of `amr` that say that more than one factor was shown")
	fs.StringVar(&o.classes, "mfa-classes", "", "comma-separated values of `acr` that say so")
	fs.BoolVar(&o.development, "dev-sign-in", false, "for trying out on one machine: an issuer of its own, that takes anybody for anybody")

	fs.Int64Var(&o.maxRows, "max-rows", 1_000_000, "most `rows` of an answer; grants make it less, never more")
	fs.DurationVar(&o.timeout, "timeout", 5*time.Minute, "longest `time` a statement may take")
	fs.Int64Var(&o.memory, "memory", 512, "`MiB` of memory that a statement may use, besides the decrypted files")
	fs.Int64Var(&o.cache, "cache", 512, "`MiB` of decrypted columns that are kept in memory for a minute, for the next statements; 0 for none")
	fs.IntVar(&o.queries, "queries", 16, "how many statements run at a time")
	fs.IntVar(&o.perMinute, "rate", 120, "how many calls a principal may make in a minute")
	fs.DurationVar(&o.drain, "drain", 30*time.Second, "`time` that calls under way have at the end")
}

// complete fills in what was not given, and reports every fault.
func (o *serveOptions) complete() error {
	errs := []error{o.place.Complete(), o.workers.check(), o.engines.check()}
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	dir := home.Dir(o.place.Dir)
	o.grants = cmp.Or(o.grants, dir.Grants())
	o.tenants = cmp.Or(o.tenants, dir.Tenants())
	o.audit = cmp.Or(o.audit, dir.Audit(lakeLog))
	o.anchor = cmp.Or(o.anchor, dir.AuditAnchor(lakeLog))
	o.issuer.Parties, o.issuer.MFAMethods, o.issuer.MFAClasses = list(o.parties), list(o.methods), list(o.classes)
	for _, text := range list(o.proxyList) {
		network, err := netip.ParsePrefix(text)
		fault(err != nil, "-trusted-proxies: %q is not a network such as 10.0.0.0/8", text)
		o.proxies = append(o.proxies, network)
	}
	local, err := isLocalAddress(o.listen)
	fault(err != nil, "-listen: %v", err)
	fault(!local && o.cert == "", "-listen is not a loopback address: it needs -tls-cert and -tls-key")
	if o.spool != "" {
		info, err := os.Stat(o.spool)
		fault(err != nil || !info.IsDir(), "-spool: there is no folder %s", o.spool)
	}
	if o.watermarks != "" {
		_, err := grants.ParsePrincipal(o.watermarks)
		fault(err != nil, "-watermarks: %v", err)
	}
	if o.flight != "" {
		isLocal, err := isLocalAddress(o.flight)
		fault(err != nil, "-flight: %v", err)
		fault(err == nil && !isLocal && o.cert == "", "-flight is not a loopback address: it needs -tls-cert and -tls-key")
		local = local && isLocal
	}
	fault((o.cert == "") != (o.key == ""), "-tls-cert and -tls-key go together")
	fault(o.clientCA != "" && o.cert == "", "-client-ca needs -tls-cert")
	fault(o.tls12 && o.cert == "", "-tls12 needs -tls-cert")
	fault(o.transport && (o.clientCA == "" || o.issuer.URL == ""), "-client-cert-is-transport needs -client-ca and -oidc-issuer")
	fault(o.maxRows < 1 || o.timeout <= 0 || o.memory < 1 || o.memory > 1<<20 || o.cache < 0 || o.cache > 1<<20 || o.queries < 1 || o.perMinute < 1 || o.drain < time.Second,
		"-max-rows, -queries and -rate are at least 1, -timeout is positive, -memory from 1 to %d, -cache from 0, -drain at least 1s", 1<<20)
	if o.issuer.URL != "" {
		if err := o.issuer.Validate(); err != nil {
			fault(true, "-oidc-issuer, -oidc-audience: %w", err)
		}
	} else {
		fault(o.issuer.Audience != "" || o.issuerCA != "" || o.parties != "", "-oidc-… need -oidc-issuer")
	}
	if o.development {
		errs = append(errs, o.onlyDevelopment(local)...)
	} else {
		fault(o.issuer.URL == "" && o.clientCA == "", "nobody could sign in: give -oidc-issuer, -client-ca or both; or, on one machine, -dev-sign-in")
	}
	return errors.Join(errs...)
}

// onlyDevelopment reports what of a production's is there besides -dev-sign-in.
func (o *serveOptions) onlyDevelopment(local bool) (errs []error) {
	refuse := func(bad bool, why string) {
		if bad {
			errs = append(errs, errors.New("-dev-sign-in takes anybody for anybody, and "+why))
		}
	}
	refuse(!local, "-listen is not a loopback address, or -flight is not one")
	refuse(o.proxyList != "", "-trusted-proxies would open it to others")
	refuse(o.issuer.URL != "" || o.clientCA != "", "there is another sign-in: -oidc-issuer or -client-ca")
	refuse(o.place.Bucket != "", "the lake is in a bucket (-s3-bucket)")
	refuse(o.place.Keys.Lake.KMS != "", "the keys are in KMS (-kms)")
	refuse(o.place.Catalog == lakeflags.Glue || o.place.IsPostgres(), "the catalog is shared (-catalog)")
	refuse(o.workers.addrs != "", "it reads workers (-tail)")
	return errs
}

// isLocalAddress reports whether an address is of this machine only.
func isLocalAddress(address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, errors.New("an address is HOST:PORT")
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback(), nil
}

// list splits a comma-separated list; an empty one has no elements, but is not nil: it replaces
// a default.
func list(text string) []string {
	out := []string{}
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, one)
		}
	}
	return out
}
