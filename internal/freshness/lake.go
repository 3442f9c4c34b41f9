package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/tail"
	"github.com/cardlake/cardlake/writers/objects"
)

// lake is a folder as the binaries have it, with certificates for the tail.
type lake struct {
	dir      home.Dir
	cardKeys *local.Keyring // nil for those who only ask
	tenants  *catalog.Tenants
	order    []catalog.TenantRecord
	store    objects.Store
}

func tenantName(i int) cardlake.Tenant { return cardlake.Tenant(fmt.Sprintf("tenant-%03d", i)) }

// logOf is where a process in the folder writes its log.
func logOf(dir, name string) string { return filepath.Join(dir, name+".log") }

// makeLake makes the folder with empty tables.
func makeLake(ctx context.Context, dir string, tenants int) error {
	d := home.Dir(dir)
	if err := d.Make(); err != nil {
		return err
	}
	cardKeys, err := local.CreateFile(d.CardKeyring(), d.CardSecret(), keys.CardPurposes)
	if err != nil {
		return err
	}
	lakeKeys, err := local.CreateFile(d.LakeKeyring(), d.LakeSecret(), keys.LakePurposes)
	if err != nil {
		return err
	}
	register, err := catalog.OpenTenants(d.Tenants())
	if err != nil {
		return err
	}
	owners := []keys.Owner{keys.Lake}
	for i := range tenants {
		r, err := register.Create(tenantName(i), "MX", "MXN", time.Now())
		if err != nil {
			return err
		}
		owners = append(owners, keys.OwnerOf(r.StorageID))
	}
	if err := errors.Join(cardKeys.EnsureOwners(ctx, owners...), lakeKeys.EnsureOwners(ctx, owners...), makeCertificates(dir)); err != nil {
		return err
	}
	l, err := openLake(dir)
	if err != nil {
		return err
	}
	c, err := iceberg.Open(ctx, iceberg.Config{DB: d.Catalog(), Objects: l.store})
	if err != nil {
		return err
	}
	_, err = c.Table(ctx, cardlake.Transactions)
	return errors.Join(err, c.Close())
}

// openLake opens the folder without its catalog and without the keys of zone A.
func openLake(dir string) (*lake, error) {
	l := &lake{dir: home.Dir(dir)}
	lakeKeys, err := local.OpenFile(l.dir.LakeKeyring(), l.dir.LakeSecret())
	if err != nil {
		return nil, err
	}
	if l.tenants, err = catalog.OpenTenants(l.dir.Tenants()); err != nil {
		return nil, err
	}
	for {
		r, err := l.tenants.Lookup(tenantName(len(l.order)))
		if err != nil {
			break // the one after the last
		}
		l.order = append(l.order, r)
	}
	if err := os.MkdirAll(l.dir.Objects(), 0o700); err != nil {
		return nil, err
	}
	l.store = objects.NewSealed(l.dir.Objects(), lakeKeys, objects.SealedConfig{})
	return l, nil
}

// openLakeWithCards opens the keys of zone A too.
func openLakeWithCards(dir string) (*lake, error) {
	l, err := openLake(dir)
	if err != nil {
		return nil, err
	}
	l.cardKeys, err = local.OpenFile(l.dir.CardKeyring(), l.dir.CardSecret())
	return l, err
}

// reader is the lake as those who ask have it.
type reader struct {
	lake    *lake
	catalog *iceberg.Catalog
	table   *iceberg.Table
	workers *tail.Workers
	planner embedded.Planner
	parsers []*embedded.Parser
}

func newReader(ctx context.Context, dir string, workers []string) (_ *reader, err error) {
	r := &reader{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.lake, err = openLake(dir); err != nil {
		return nil, err
	}
	r.catalog, err = iceberg.Open(ctx, iceberg.Config{DB: r.lake.dir.Catalog(), Objects: r.lake.store, ReadOnly: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if r.table, err = r.catalog.Table(ctx, cardlake.Transactions); err != nil {
		return nil, err
	}
	r.planner = planner{embedded.Tables(r.catalog.Table)}
	own, authority, err := certificate(dir, gatewayName)
	if err != nil {
		return nil, err
	}
	r.workers, err = tail.NewWorkers(workers, &tls.Config{RootCAs: authority, Certificates: []tls.Certificate{own}, ServerName: workerName}, tail.WorkersConfig{})
	return r, err
}

// gateway is one more gateway, with a cache of its own.
func (r *reader) gateway(withTail bool) queries.Session {
	cfg := embedded.Config{Threads: 1, CacheBytes: 256 << 20, CacheAge: time.Hour}
	if withTail {
		cfg.Tail = r.workers
	}
	p := embedded.NewParser()
	r.parsers = append(r.parsers, p)
	return queries.New(p, embedded.New(r.planner, r.lake.store, cfg), queriestest.Everything, &queriestest.Log{}, queries.Config{}).As(queriestest.Caller)
}

func (r *reader) close() error {
	var errs []error
	for _, p := range r.parsers {
		errs = append(errs, p.Close())
	}
	if r.workers != nil {
		errs = append(errs, r.workers.Close())
	}
	if r.catalog != nil {
		errs = append(errs, r.catalog.Close())
	}
	return errors.Join(errs...)
}

// planner notes the snapshot that a statement was planned on, because an answer with a tail
// tells only where the two end together.
type planner struct{ embedded.Planner }

type noteKey struct{}

// noting is a context of one statement, whose snapshot is written to s.
func noting(ctx context.Context, s *catalog.Snapshot) context.Context {
	return context.WithValue(ctx, noteKey{}, s)
}

// Plan implements embedded.Planner.
func (p planner) Plan(ctx context.Context, table *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	s, files, err := p.Planner.Plan(ctx, table)
	if note, ok := ctx.Value(noteKey{}).(*catalog.Snapshot); ok {
		*note = s
	}
	return s, files, err
}
