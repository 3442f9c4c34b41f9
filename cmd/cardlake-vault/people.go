package main

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/tokenize/detokenize"
)

// people are the flags of how people sign in to the service.
type people struct {
	issuer                        signin.IssuerConfig
	ca, clients, methods, classes string
}

func (p *people) define(fs *flag.FlagSet) {
	fs.StringVar(&p.issuer.URL, "oidc-issuer", "", "`URL` of the OpenID Connect issuer whose tokens say who asks and approves, exactly as they name it; without one, people are their certificates at a loopback address, and are not answered at another")
	fs.StringVar(&p.issuer.Audience, "oidc-audience", "", "what a token must be for: one of its `aud`")
	fs.StringVar(&p.ca, "oidc-ca", "", "`file` of the certificates that sign the issuer's, PEM; default the system's")
	fs.StringVar(&p.clients, "oidc-clients", "", "comma-separated client `ids` (azp) that tokens may be issued to; default any")
	fs.DurationVar(&p.issuer.MaxAge, "oidc-max-age", 15*time.Minute, "`time` after which a token is not taken, however long it says that it is valid")
	fs.StringVar(&p.methods, "mfa-methods", "mfa", "comma-separated values of `amr` that say that more than one factor was shown")
	fs.StringVar(&p.classes, "mfa-classes", "", "comma-separated values of `acr` that say so")
}

// open returns how people sign in at a service that listens at the address; nil if their
// certificates say who they are.
func (p *people) open(ctx context.Context, listen string, log *slog.Logger) (detokenize.People, error) {
	if p.issuer.URL == "" {
		switch {
		case p.issuer.Audience != "" || p.ca != "" || p.clients != "":
			return nil, usagef("-oidc-… need -oidc-issuer")
		case isLoopback(listen):
			return nil, nil
		}
		log.Warn("without -oidc-issuer the service answers workers only: people need a second factor")
		return detokenize.NoPeople{}, nil
	}
	cfg := p.issuer
	cfg.Parties, cfg.MFAMethods, cfg.MFAClasses = elements(p.clients), elements(p.methods), elements(p.classes)
	if len(cfg.MFAMethods)+len(cfg.MFAClasses) == 0 {
		return nil, usagef("neither -mfa-methods nor -mfa-classes has a value: nobody could show a second factor")
	}
	if p.ca != "" {
		pool, err := lakeflags.Certificates(p.ca)
		if err != nil {
			return nil, usagef("-oidc-ca: %w", err)
		}
		cfg.RootCAs = pool
	}
	issuer, err := signin.NewIssuer(cfg)
	if err != nil {
		return nil, usagef("-oidc-issuer, -oidc-audience: %w", err)
	}
	if err := issuer.Fetch(ctx); err != nil {
		// It may come, and workers do not need it.
		log.Error("the issuer's keys can't be had: people can't sign in until they can", "error", err)
	}
	return issuer, nil
}

// isLoopback reports whether an address is of this machine only.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// elements are those of a comma-separated list; an empty one has none, but is not nil: it
// replaces a default.
func elements(text string) []string {
	out := []string{}
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, one)
		}
	}
	return out
}
