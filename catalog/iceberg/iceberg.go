// Package iceberg implements the commit protocol of package catalog on Apache Iceberg v2
// tables: files and stream positions become visible in one snapshot, exactly once, or not
// at all.
//
// A table's state is one pointer, the name of its newest metadata object. The pointers are
// rows of an SQLite file laid out as Iceberg's SQL (JDBC) catalog lays them out; a commit
// writes new objects first and then moves the pointer with one compare-and-swap statement.
// Everything else, metadata, manifest lists and manifests, goes through an [objects.Store]
// and is encrypted under [keys.Lake]: the SQLite file holds table and object names only.
//
// iceberg-go's own SQL catalog is not used, because it finds a table's storage through a
// process-wide registry of URI schemes, rereads the metadata it already has on every
// commit, and does not tell a swap that was never tried from one whose outcome is unknown.
// The layout is the same: its catalog opens these tables, which a test does.
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

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/objects"
)

// ErrNoTable says that the catalog does not have the table: nothing was ever written to it.
var ErrNoTable = errors.New("no such table")

const defaultHistory = 120

// Config says where a catalog keeps its state.
type Config struct {
	// DB is the path of the SQLite file. Unless ReadOnly it is created when absent, with its
	// folder, readable by the owner only.
	DB string
	// Objects holds the metadata objects. The data files are in it too, but the catalog never
	// reads them.
	Objects objects.Store
	// ReadOnly opens a catalog that must exist and never changes it. It works beside a
	// process that commits, and after that process was killed. SQLite may create the files
	// DB-wal and DB-shm, which readers of its write-ahead log share with the writer.
	ReadOnly bool
	// History is how many snapshots a table keeps to be rolled back to or read as of: 120
	// when zero, an hour of commits every 30 seconds. Appends drop older ones, though never
	// any data. Each snapshot kept adds about 30 microseconds to every commit, which writes
	// the list of them.
	History int
	// Logger receives warnings about old metadata that could not be removed. Nil discards.
	Logger *slog.Logger
}

// Catalog holds tables. It is safe for concurrent use, also by several processes on one
// machine.
type Catalog struct {
	pointers pointers
	store    objects.Store
	readOnly bool
	history  int
	log      *slog.Logger
}

// Open opens the catalog, and creates it unless cfg.ReadOnly. The error of a read-only
// catalog that is not there matches fs.ErrNotExist.
func Open(ctx context.Context, cfg Config) (*Catalog, error) {
	if cfg.DB == "" || cfg.Objects == nil || cfg.History < 0 {
		return nil, errors.New("open catalog: DB and Objects must be set, and History not negative")
	}
	db, err := openSQLite(ctx, cfg.DB, cfg.ReadOnly)
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Catalog{
		pointers: pointers{db}, store: cfg.Objects, readOnly: cfg.ReadOnly,
		history: cmp.Or(cfg.History, defaultHistory), log: log,
	}, nil
}

// Close closes the SQLite file; the object store stays open. Tables of the catalog fail
// afterwards.
func (c *Catalog) Close() error { return c.pointers.db.Close() }

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
	if err := checkLayout(v.meta, def); err != nil {
		return nil, fmt.Errorf("open table %s: %w", def.FullName(), err)
	}
	return t, nil
}
