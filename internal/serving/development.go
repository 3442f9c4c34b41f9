package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/apikeys"
	"github.com/cardlake/cardlake/catalog/signin/devissuer"
	"github.com/cardlake/cardlake/dashboard/session"
)

// developmentAudience is what the development issuer's tokens are for.
const developmentAudience = "cardlake-development"

// developmentClient is what the dashboard is to it.
const developmentClient = "cardlake-dashboard"

// developmentPrincipals are those of a set of grants that says of itself that it is for trying
// out. No other set has any: whatever replaces it, tokens of the development issuer end.
type developmentPrincipals struct {
	set func() *grants.Set

	mu   sync.Mutex
	last *grants.Set
	of   map[string]grants.Principal // by subject, of last
}

// PrincipalOf implements signin.Principals.
func (d *developmentPrincipals) PrincipalOf(subject string) (grants.Principal, bool) {
	p, ok := d.subjects()[subject]
	return p, ok
}

func (d *developmentPrincipals) subjects() map[string]grants.Principal {
	set := d.set()
	d.mu.Lock()
	defer d.mu.Unlock()
	if set != d.last {
		d.last, d.of = set, map[string]grants.Principal{}
		if set.Report(nil, time.Now()).Development {
			for _, a := range set.Principals() {
				d.of[signin.DevelopmentSubject(a.Principal.String())] = a.Principal
			}
		}
	}
	return d.of
}

// developmentSignIn starts the development issuer and says, on stdout, how each principal of the
// grants gets a token.
func (o *Options) developmentSignIn(ctx context.Context, permits *grants.Grants, keys *apikeys.Store, at string, log *slog.Logger, stdout io.Writer) (*identified, error) {
	principals := &developmentPrincipals{set: permits.Set}
	var subjects []string
	for subject := range principals.subjects() {
		subjects = append(subjects, strings.TrimPrefix(subject, signin.DevelopmentSubject("")))
	}
	if len(subjects) == 0 {
		return nil, errors.New(`-dev-sign-in takes anybody for anybody, and the grants are not for trying out: principals.json does not say "development": true`)
	}
	slices.Sort(subjects)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("-dev-sign-in: %w", err)
	}
	issuer, err := devissuer.New(l, devissuer.Config{
		Audience: developmentAudience, Subjects: subjects, Client: developmentClient, RedirectURL: at + session.CallbackPath,
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	tokens, err := signin.NewIssuer(signin.IssuerConfig{URL: issuer.URL(), Audience: developmentAudience, Development: true})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	client, err := tokens.Client(signin.ClientConfig{ID: developmentClient, RedirectURL: at + session.CallbackPath})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	v, err := signin.New(principals, signin.Config{Tokens: keys.Before(tokens)})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- issuer.Run(running) }()
	log.Warn("DEVELOPMENT SIGN-IN: whoever is on this machine and reads this output can be any principal; never use it with data of real people", "issuer", issuer.URL())
	if !o.Brief {
		fmt.Fprintf(stdout, "DEVELOPMENT SIGN-IN: no password, no second factor. Tokens last 15 minutes; for one with MFA add -d scope=mfa.\n\n")
		for _, s := range subjects {
			fmt.Fprintf(stdout, "%s\n  curl -s -H 'Accept: text/plain' -d grant_type=client_credentials -d client_id=%s -d client_secret=%s %s\n", s, s, issuer.Secret(s), issuer.TokenURL())
		}
		fmt.Fprintln(stdout)
	}
	fmt.Fprintf(stdout, "dashboard  %s\n           choose there whom to be: no password, no second factor; keep the link to yourself\n", issuer.EnterURL())
	return &identified{v, client, func() error {
		cancel()
		tokens.Close()
		return <-done
	}}, nil
}
