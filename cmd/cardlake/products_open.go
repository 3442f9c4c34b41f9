package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/products"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dictionary"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/quality"
	"github.com/cardlake/cardlake/queries/views"
)

// subscriptionsLog is the audit log that subscriptions are kept in.
const subscriptionsLog = "subscriptions"

// productsDir is the folder of products.
func productsDir(dir home.Dir) string { return filepath.Join(string(dir), "products") }

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
	p.products = cmp.Or(p.products, productsDir(dir))
	return errors.Join(p.lake.Complete(), p.door.complete(dir))
}

// openDesk is a desk and what it was made of.
type openDesk struct {
	*products.Desk
	catalogue func() (*products.Catalogue, error)
	words     *words
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
	store, closeStore, err := openSubscriptions(ctx, home.Dir(p.lake.Dir), ring)
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, closeStore)
	d.parser = embedded.NewParser()
	d.closers = append(d.closers, d.parser.Close)
	d.words = newWords(d.parser)
	d.catalogue = func() (*products.Catalogue, error) { return products.Load(p.products, d.words) }
	d.Desk = products.NewDesk(d.catalogue, store, d.permits, d.log, products.Config{
		GrantsDir: p.door.grants, Tenants: tenants, Dictionary: d.words, AsOf: asOf(&p.lake), Quality: scoreOf(p.lake.Dir),
	})
	return d, nil
}

// openSubscriptions opens the store of subscriptions, beside other processes.
func openSubscriptions(ctx context.Context, dir home.Dir, ring keys.Provider) (_ *products.Store, closing func() error, err error) {
	at, anchor := dir.Audit(subscriptionsLog), audit.FileAnchor(dir.AuditAnchor(subscriptionsLog))
	head, err := anchor.Load(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("subscriptions: %w", err)
	}
	log, err := audit.OpenShared(ctx, at, ring, audit.Config{Actor: "cardlake", Anchor: anchor})
	if err != nil {
		return nil, nil, fmt.Errorf("subscriptions: %w", err)
	}
	store := products.NewStore(log, at, audit.VerifyConfig{Keys: ring, Anchor: head})
	return store, func() error { store.Close(); return log.Close() }, nil
}

// asOf tells when a table was last committed to. The lake is opened when it is first asked.
func asOf(place *lakeflags.Flags) func(context.Context, string) (time.Time, error) {
	return func(ctx context.Context, table string) (_ time.Time, err error) {
		l, err := open(ctx, place)
		if err != nil {
			return time.Time{}, err
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		snapshot, _, err := l.planner.Plan(ctx, cardlake.TableNamed(table))
		return snapshot.CommittedAt, err
	}
}

// scoreOf tells what share of the rules held that were last evaluated over a whole table.
func scoreOf(dir string) func(context.Context, string) (float64, time.Time, error) {
	history := quality.NewHistory(keptIn("", dir))
	return func(_ context.Context, relation string) (float64, time.Time, error) {
		r, err := history.Latest(func(target string) bool { return strings.HasPrefix(target, relation+" as ") })
		return 100 * r.Score, r.CompletedOn, err
	}
}

// words are the data dictionary. It implements products.Dictionary.
type words struct {
	check func(sql string) (queries.Statement, error)

	mu   sync.Mutex
	have map[string]*products.Relation
}

func newWords(parser queries.Parser) *words {
	g := queries.New(parser, nil, nil, nil, queries.Config{Views: views.All})
	return &words{have: map[string]*products.Relation{}, check: func(sql string) (queries.Statement, error) { return g.Check(context.Background(), sql) }}
}

// Relation implements products.Dictionary.
func (w *words) Relation(name string) *products.Relation {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r, ok := w.have[name]; ok {
		return r
	}
	r := w.find(name)
	w.have[name] = r
	return r
}

func (w *words) find(name string) *products.Relation {
	if t := cardlake.TableNamed(name); t != nil {
		return relationOf(dictionary.OfTable(t), []string{name})
	}
	for _, v := range views.All {
		if v.FullName() != name {
			continue
		}
		s, err := w.check("SELECT * FROM " + name)
		if err != nil {
			return nil
		}
		var tables []string
		for _, r := range s.Reads {
			tables = append(tables, r.Table.FullName())
		}
		return relationOf(dictionary.OfView(v, nil), tables)
	}
	return nil
}

func relationOf(e dictionary.Entry, tables []string) *products.Relation {
	r := &products.Relation{Name: e.Name, Doc: e.About, Tables: tables}
	for _, c := range e.Columns {
		r.Columns = append(r.Columns, products.Column{Name: c.Name, Type: c.Type, Tag: cardlake.Tag(c.Tag), Doc: c.About, Nullable: c.Nullable != "no"})
	}
	return r
}

// sample writes a few rows of the relation as the caller is given them, or made-up ones if none.
func (d *openDesk) sample(ctx context.Context, w io.Writer, who door, r *products.Relation, rows int) (err error) {
	l, err := open(ctx, &d.place.lake)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	gateway := queries.New(d.parser, embedded.New(l.planner, l.Store, embedded.Config{}), d.permits, d.log, queries.Config{Views: views.All})
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
