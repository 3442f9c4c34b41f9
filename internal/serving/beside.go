package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/products"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes/ready"
	"github.com/cardlake/cardlake/queries/embedded"
)

// desk opens the desk of data products, nil if the lake has no folder of them, and what closes it.
func (o *Options) desk(ctx context.Context, permits *grants.Grants, record products.Log, parser *embedded.Parser) (_ *products.Desk, closing func() error, err error) {
	folder := ProductsDir(home.Dir(o.Place.Dir))
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		return nil, func() error { return nil }, nil
	}
	tenants, err := catalog.OpenTenants(o.Tenants)
	if err != nil {
		return nil, nil, err
	}
	ring, err := o.Place.Keys.Lake.Open(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("subscriptions: %w", err)
	}
	store, closeStore, err := OpenSubscriptions(ctx, home.Dir(o.Place.Dir), ring)
	if err != nil {
		return nil, nil, err
	}
	words := NewWords(parser)
	load := func() (*products.Catalogue, error) { return products.Load(folder, words) }
	return products.NewDesk(load, store, permits, record, products.Config{
		GrantsDir: o.Grants, Tenants: tenants, Dictionary: words, AsOf: AsOf(&o.Place), Quality: ScoreOf(o.Place.Dir),
	}), closeStore, nil
}

// watcher looks at how complete the lake is, as -watermarks; nil without it.
func (o *Options) watcher(gateway *queries.Gateway, log *slog.Logger) (*ready.Watcher, error) {
	if o.Watermarks == "" {
		return nil, nil
	}
	return ready.New(ready.Deps{Asker: o.asker(gateway, "how complete the lake is"), Log: log}, nil, ready.Config{})
}

// asker asks as -watermarks.
func (o *Options) asker(gateway *queries.Gateway, reason string) queries.Session {
	who, _ := grants.ParsePrincipal(o.Watermarks) // checked by Complete
	return gateway.As(grants.Caller{Principal: who, Origin: "cardlake serve", Reason: reason})
}

// watermarkEvery is how often a watcher looks.
const watermarkEvery = time.Minute

// look looks until ctx ends.
func look(ctx context.Context, w *ready.Watcher, log *slog.Logger) {
	ticker := time.NewTicker(watermarkEvery)
	defer ticker.Stop()
	for {
		if _, err := w.Look(ctx); err != nil && ctx.Err() == nil {
			log.Error("how complete the lake is can't be told", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// beside runs what goes on beside the doors, until ctx ends or one of it fails.
func beside(run ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for _, f := range run {
			group.Go(func() error { return f(ctx) })
		}
		return group.Wait()
	}
}
