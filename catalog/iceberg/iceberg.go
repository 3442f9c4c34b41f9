// Package iceberg implements the commit protocol of package catalog on Apache Iceberg v2
// tables: files and stream positions become visible in one snapshot, exactly once, or not
// at all.
//
// A table's state is one pointer, the name of its newest metadata object. The pointers are
// rows of an SQLite file or a PostgreSQL database, laid out as Iceberg's SQL (JDBC) catalog
// lays them out, or tables of AWS Glue as Iceberg's Glue catalog keeps them. A commit writes
// new objects first and then moves the pointer with one compare-and-swap. Everything else,
// metadata, manifest lists and manifests, goes through an [objects.Store] and is encrypted
// under [keys.Lake]: the catalog holds table and object names only.
//
// iceberg-go's own catalogs are not used, because they find a table's storage through a
// process-wide registry of URI schemes, reread the metadata they already have on every
// commit, and do not tell a swap that was never tried from one whose outcome is unknown. The
// layouts are the same: its SQL catalog opens these tables, which a test does.
//
// The cost of a commit does not depend on what was committed before: a version keeps the
// newest snapshots only, of which the next version takes over the bytes; manifests are
// merged in levels; and the package writes manifests and metadata itself, of which
// iceberg-go would build every schema anew and clone every snapshot.
//
// Maintenance commits like a writer and gives way to it: [Table.Replace] takes files out and
// puts others in, [Table.Expire] drops snapshots and deletes what only they named,
// [Table.RewriteManifests] sorts the entries, [Table.Orphans] finds what nothing names.
// Whatever they are stopped by, what is left is an orphan.
//
// No path holds a tenant's name. Tenant names are partition values, which live in manifests
// and so are encrypted; the only column bounds in manifests are those of the time column.
package iceberg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/objects"
)

// ErrNoTable says that the catalog does not have the table: nothing was ever written to it.
var ErrNoTable = errors.New("no such table")

const (
	defaultHistory = 120
	defaultGrace   = 10 * time.Minute
)

// Config says where a catalog keeps its state. Exactly one of DB and Glue is set.
type Config struct {
	// DB is the path of an SQLite file or the URL of a PostgreSQL database, postgres://….
	//
	// The file is created when absent, unless ReadOnly, with its folder, readable by the owner
	// only.
	//
	// A database on another machine needs sslmode=verify-full. A password belongs into the
	// file that PGPASSFILE names, not into the URL. The tables of the catalog are created when
	// absent, unless ReadOnly.
	DB string
	// Glue is AWS Glue's Data Catalog: a *glue.Client. It must take the credentials and the
	// region from its own configuration.
	Glue Glue
	// GlueCatalogID is the account of the Data Catalog, when it is not the caller's own.
	GlueCatalogID string

	// Objects holds the metadata objects. The data files are in it too, but the catalog never
	// reads them.
	Objects objects.Store
	// Location is the URI under which Objects keeps its names: s3://bucket/prefix for a lake
	// that other engines read. The locations in all metadata begin with it, so that a table
	// cannot be opened under another one. The default is cardlake://lake, which says nothing
	// to others.
	Location string
	// ReadOnly opens a catalog that must exist and never changes it. It works beside a
	// process that commits, and after that process was killed. SQLite may create the files
	// DB-wal and DB-shm, which readers of its write-ahead log share with the writer.
	ReadOnly bool
	// History is how many snapshots a table keeps to be rolled back to or read as of: 120
	// when zero, an hour of commits every 30 seconds. Appends drop older ones, though never
	// any data. Each snapshot kept adds about a microsecond and a kilobyte to every commit,
	// which writes the list of them; so there are fewer, though at least 10, when the stream
	// has so many partitions that their positions make the list longer than a megabyte.
	//
	// Of a Replace two snapshots stay beyond that, up to a megabyte of them, until Expire has
	// deleted the files that it removed.
	History int
	// Grace is how long metadata objects stay that no version of the table needs any more, for
	// readers that are still at work on an older one: 10 minutes when zero.
	Grace time.Duration
	// Logger receives warnings about old metadata that could not be removed. Nil discards.
	Logger *slog.Logger
}

// Catalog holds tables. It is safe for concurrent use, also by several processes.
type Catalog struct {
	pointers  pointers
	store     objects.Store
	locations locations
	readOnly  bool
	history   int
	grace     time.Duration
	log       *slog.Logger
}

// Open opens the catalog, and creates it unless cfg.ReadOnly. The error of a read-only
// catalog in an SQLite file that is not there matches fs.ErrNotExist.
func Open(ctx context.Context, cfg Config) (*Catalog, error) {
	at, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Catalog{
		store: cfg.Objects, locations: at, readOnly: cfg.ReadOnly,
		history: cmp.Or(cfg.History, defaultHistory), grace: cmp.Or(cfg.Grace, defaultGrace), log: log,
	}
	var p *sqlPointers
	switch {
	case cfg.Glue != nil:
		c.pointers = &gluePointers{cfg.Glue, cfg.GlueCatalogID}
		return c, nil
	case isPostgres(cfg.DB):
		p, err = openPostgres(ctx, cfg.DB, cfg.ReadOnly)
	default:
		p, err = openSQLite(ctx, cfg.DB, cfg.ReadOnly)
	}
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	c.pointers = p
	return c, nil
}

func (cfg *Config) validate() (locations, error) {
	var errs []error
	if (cfg.DB == "") == (cfg.Glue == nil) {
		errs = append(errs, errors.New("exactly one of DB and Glue must be set"))
	}
	if cfg.Objects == nil {
		errs = append(errs, errors.New("Objects must be set"))
	}
	if cfg.History < 0 || cfg.Grace < 0 {
		errs = append(errs, errors.New("History and Grace must not be negative"))
	}
	at, err := newLocations(cfg.Location)
	return at, errors.Join(append(errs, err)...)
}

// Close closes the catalog's database; the object store stays open. Tables of the catalog
// fail afterwards.
func (c *Catalog) Close() error { return c.pointers.Close() }

// Table opens the table that def defines, and creates it unless the catalog is read-only:
// the error then matches ErrNoTable. A table whose schema or partitioning is not def's is
// refused.
func (c *Catalog) Table(ctx context.Context, def *cardlake.Table) (*Table, error) {
	t := &Table{cat: c, def: def}
	v, err := t.load(ctx)
	if errors.Is(err, ErrNoTable) && !c.readOnly {
		if err := t.create(ctx); err != nil {
			return nil, fmt.Errorf("create table %s: %w", def.FullName(), err)
		}
		v, err = t.load(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open table %s: %w", def.FullName(), err)
	}
	if err := checkLayout(v.doc.meta, def); err != nil {
		return nil, fmt.Errorf("open table %s: %w", def.FullName(), err)
	}
	return t, nil
}
