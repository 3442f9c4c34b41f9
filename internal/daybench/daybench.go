// Package daybench measures the query path on a day of card transactions as the lake has it after
// compaction: one sealed Parquet file for each tenant, with bloom filters, in an Iceberg table on
// SQLite. The same files lie beside it in clear, for DuckDB alone to read.
package daybench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// Date is the day, UTC.
var Date = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// Tenant is the name of a tenant by its number, from 0.
func Tenant(i int) cardlake.Tenant { return cardlake.Tenant(fmt.Sprintf("tenant-%03d", i)) }

// Day is a lake in a folder, laid out as the binaries have it.
type Day struct {
	Dir     home.Dir
	Store   objects.Store
	Catalog *iceberg.Catalog
	Plain   []string // the files in clear, in the order of the tenants
}

// madeBy names a file that is written when the day is whole.
const madeBy = "made"

// Open opens the day of so many tenants with so many rows each, and makes it first if the folder
// does not have it.
func Open(ctx context.Context, dir string, tenants, rows int) (*Day, error) {
	dir = filepath.Join(dir, fmt.Sprintf("day-%d-%d", tenants, rows))
	if _, err := os.Stat(filepath.Join(dir, madeBy)); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(os.RemoveAll(dir), write(ctx, dir, tenants, rows)); err != nil {
			return nil, fmt.Errorf("make the day: %w", err)
		}
	}
	d := &Day{Dir: home.Dir(dir)}
	ring, err := local.OpenFile(d.Dir.LakeKeyring(), d.Dir.LakeSecret())
	if err != nil {
		return nil, err
	}
	for i := range tenants {
		d.Plain = append(d.Plain, plain(dir, i))
	}
	d.Store = objects.NewSealed(d.Dir.Objects(), ring, objects.SealedConfig{})
	d.Catalog, err = iceberg.Open(ctx, iceberg.Config{DB: d.Dir.Catalog(), Objects: d.Store, ReadOnly: true})
	return d, err
}

// Close closes the catalog.
func (d *Day) Close() error { return d.Catalog.Close() }

func plain(dir string, i int) string {
	return filepath.Join(dir, "plain", string(Tenant(i))+".parquet")
}

func write(ctx context.Context, dir string, tenants, rows int) (err error) {
	d := home.Dir(dir)
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "plain"), 0o700), d.Make(), os.MkdirAll(d.Objects(), 0o700)); err != nil {
		return err
	}
	ring, err := local.CreateFile(d.LakeKeyring(), d.LakeSecret(), keys.LakePurposes)
	if err != nil {
		return err
	}
	register, err := catalog.OpenTenants(d.Tenants())
	if err != nil {
		return err
	}
	owners := []keys.Owner{keys.Lake}
	for i := range tenants {
		r, err := register.Create(Tenant(i), "AR", "ARS", Date)
		if err != nil {
			return err
		}
		owners = append(owners, keys.OwnerOf(r.StorageID))
	}
	if err := ring.EnsureOwners(ctx, owners...); err != nil {
		return err
	}
	store := objects.NewSealed(d.Objects(), ring, objects.SealedConfig{})
	files := make([]cardlake.DataFile, tenants)
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for i := range tenants {
		group.Go(func() (err error) {
			files[i], err = writeTenant(working, dir, store, i, owners[i+1], rows)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	c, err := iceberg.Open(ctx, iceberg.Config{DB: d.Catalog(), Objects: store})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	table, err := c.Table(ctx, cardlake.Transactions)
	if err != nil {
		return err
	}
	partition := cardlake.StreamPartition{Stream: "cards"}
	to := cardlake.Positions{partition: {Next: int64(tenants) * int64(rows)}}
	if _, err := table.Append(ctx, catalog.Append{Files: files, From: cardlake.Positions{partition: {}}, To: to}); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, madeBy), nil, 0o600)
}

// writeTenant writes one tenant's rows, spread over the day, as one file.
func writeTenant(ctx context.Context, dir string, store objects.Store, i int, owner keys.Owner, rows int) (cardlake.DataFile, error) {
	generator, batch := writerstest.New(uint64(i+1)), cardlake.NewBatch()
	step := 24 * time.Hour.Microseconds() / int64(rows)
	for row := range rows {
		tx := generator.Next()
		at := Date.UnixMicro() + int64(row)*step
		tx.Tenant, tx.EventTime, tx.LocalTime, tx.IngestedAt = Tenant(i), at, (at/1_000_000-3*3600)*1_000_000, at+400_000
		tx.Position = cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards"}, Offset: int64(i)*int64(rows) + int64(row)}
		if err := batch.Append(tx); err != nil {
			return cardlake.DataFile{}, err
		}
	}
	record, err := batch.Record()
	if err != nil {
		return cardlake.DataFile{}, err
	}
	defer record.Release()
	body, splits, err := parquet.NewEncoder(cardlake.Transactions, parquet.Config{}).Encode(record)
	if err != nil {
		return cardlake.DataFile{}, err
	}
	least, greatest := batch.TimeRange()
	f := cardlake.DataFile{
		Name:   fmt.Sprintf("data/cards/transactions/%s/%s/%05d.parquet", owner, Date.Format(time.DateOnly), i),
		Tenant: Tenant(i), Day: cardlake.DayOf(Date.UnixMicro()), Rows: int64(rows), Bytes: int64(len(body)),
		MinTime: least, MaxTime: greatest, SplitOffsets: splits,
	}
	return f, errors.Join(store.Put(ctx, f.Name, owner, body), os.WriteFile(plain(dir, i), body, 0o600))
}
