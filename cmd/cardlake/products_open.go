package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/products"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/views"
)

// productsPlace is where products, grants and subscriptions are, and who asks.
type productsPlace struct {
	lake     lakeflags.Flags
	door     door
	products string
}

func (p *productsPlace) define(fs *flag.FlagSet) {
	p.lake.Define(fs, lakeflags.Read)
	p.door.define(fs)
	p.door.defineRecord(fs)
	fs.StringVar(&p.products, "products", "", "`folder` of the products; default products in -dir")
}

func (p *productsPlace) complete() error {
	dir := home.Dir(p.lake.Dir)
	p.products = cmp.Or(p.products, serving.ProductsDir(dir))
	return errors.Join(p.lake.Complete(), p.door.complete(dir))
}

// openDesk is a desk and what it was made of.
type openDesk struct {
	*products.Desk
	catalogue func() (*products.Catalogue, error)
	words     *serving.Words
	closers   []func() error

	place   *productsPlace
	permits *grants.Grants
	log     *audit.Log
	parser  *embedded.Parser
}

// Close closes what was opened, the last first.
func (d *openDesk) Close() error {
	var err error
	for i := len(d.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, d.closers[i]())
	}
	return err
}

// open opens the desk.
func (p *productsPlace) open(ctx context.Context) (_ *openDesk, err error) {
	d := &openDesk{place: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.permits, err = p.door.permits(); err != nil {
		return nil, err
	}
	tenants, err := catalog.OpenTenants(p.door.tenants)
	if err != nil {
		return nil, err
	}
	if d.log, err = p.door.record(ctx, &p.lake); err != nil {
		return nil, err
	}
	d.closers = append(d.closers, d.log.Close)
	ring, err := p.lake.Keys.Lake.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("subscriptions: %w", err)
	}
	store, closeStore, err := serving.OpenSubscriptions(ctx, home.Dir(p.lake.Dir), ring)
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, closeStore)
	d.parser = embedded.NewParser()
	d.closers = append(d.closers, d.parser.Close)
	d.words = serving.NewWords(d.parser)
	d.catalogue = func() (*products.Catalogue, error) { return products.Load(p.products, d.words) }
	d.Desk = products.NewDesk(d.catalogue, store, d.permits, d.log, products.Config{
		GrantsDir: p.door.grants, Tenants: tenants, Dictionary: d.words, AsOf: serving.AsOf(&p.lake), Quality: serving.ScoreOf(p.lake.Dir),
	})
	return d, nil
}

// sample writes a few rows of the relation as the caller is given them, or made-up ones if none.
func (d *openDesk) sample(ctx context.Context, w io.Writer, who door, r *products.Relation, rows int) (err error) {
	l, err := serving.OpenLake(ctx, &d.place.lake)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	gateway := queries.New(d.parser, embedded.New(l.Planner, l.Store, embedded.Config{}), d.permits, d.log, queries.Config{Views: views.All})
	result, err := gateway.Query(ctx, who.caller, fmt.Sprintf("SELECT * FROM %s LIMIT %d", r.Name, rows))
	if errors.Is(err, queries.ErrNotPermitted) {
		var out listing
		var names []string
		for _, c := range r.Columns {
			names = append(names, c.Name)
		}
		out.strings(names...)
		for _, row := range products.Synthetic(r.Columns, rows) {
			out.row(row...)
		}
		fmt.Fprintln(w, "Made-up rows, for "+strings.TrimSpace(who.caller.Principal.String())+" may read none:")
		return renderTable(ctx, w, &out)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	fmt.Fprintln(w, "A sample, as it is given:")
	return renderTable(ctx, w, result)
}
