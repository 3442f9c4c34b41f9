package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/apikeys"
	"github.com/cardlake/cardlake/dashboard/session"
	"github.com/cardlake/cardlake/internal/lakeflags"
)

// identified finds out who asks.
type identified struct {
	*signin.Verifier
	client *signin.Client // by which browsers sign in; nil if none do
	end    func() error
}

// signIn makes the verifier of callers. at is the dashboard's address as browsers have it.
func (o *Options) signIn(ctx context.Context, permits *grants.Grants, keys *apikeys.Store, at string, log *slog.Logger, stdout io.Writer) (*identified, error) {
	if o.Development {
		return o.developmentSignIn(ctx, permits, keys, at, log, stdout)
	}
	id := &identified{end: func() error { return nil }}
	cfg := signin.Config{Certificates: o.ClientCA != "" && !o.Transport, Transport: o.Transport, Authorities: o.authorities(), Proxies: o.proxies, Tokens: keys.Before(nil)}
	if o.Issuer.URL != "" {
		issuer := o.Issuer
		if o.IssuerCA != "" {
			pool, err := lakeflags.Certificates(o.IssuerCA)
			if err != nil {
				return nil, fmt.Errorf("-oidc-ca: %w", err)
			}
			issuer.RootCAs = pool
		}
		tokens, err := signin.NewIssuer(issuer)
		if err != nil {
			return nil, fmt.Errorf("-oidc-…: %w", err)
		}
		if err := tokens.Fetch(ctx); err != nil {
			// It may come, and certificates are good without it.
			log.Error("the issuer's keys can't be had: nobody can sign in with a token until they can", "error", err)
		}
		if o.Client.ID != "" {
			client := o.Client
			client.RedirectURL = at + session.CallbackPath
			if id.client, err = tokens.Client(client); err != nil {
				tokens.Close()
				return nil, fmt.Errorf("-oidc-client-…: %w", err)
			}
		}
		cfg.Tokens = keys.Before(tokens)
		id.end = func() error { tokens.Close(); return nil }
	}
	var err error
	if id.Verifier, err = signin.New(permits, cfg); err != nil {
		return nil, errors.Join(err, id.end())
	}
	return id, nil
}

// authorities sign clients' certificates; nil if there are none.
func (o *Options) authorities() *signin.Authorities {
	if o.ClientCA == "" {
		return nil
	}
	return signin.NewAuthorities(o.ClientCA)
}
