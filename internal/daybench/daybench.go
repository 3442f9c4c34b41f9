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
	"strings"
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

	ring *local.Keyring
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
	d, err := open(ctx, dir, true)
	if err != nil {
		return nil, err
	}
	for i := range tenants {
		d.Plain = append(d.Plain, plain(dir, i))
	}
	return d, nil
}

func open(ctx context.Context, dir string, isReadOnly bool) (_ *Day, err error) {
	d := &Day{Dir: home.Dir(dir)}
	if d.ring, err = local.OpenFile(d.Dir.LakeKeyring(), d.Dir.LakeSecret()); err != nil {
		return nil, err
	}
	d.Store = objects.NewSealed(d.Dir.Objects(), d.ring, objects.SealedConfig{})
	d.Catalog, err = iceberg.Open(ctx, iceberg.Config{DB: d.Dir.Catalog(), Objects: d.Store, ReadOnly: isReadOnly})
	return d, err
}

// Copy makes a lake of the same rows in the folder that can be written. Objects, which never
// change, are the same files.
func (d *Day) Copy(ctx context.Context, dir string) (*Day, error) {
	from := string(d.Dir)
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		switch {
		case name == "plain":
			return filepath.SkipDir
		case e.IsDir():
			return os.MkdirAll(to, 0o700)
		case strings.HasPrefix(path, d.Dir.Objects()) && os.Link(path, to) == nil:
			return nil
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, body, 0o600)
	})
	if err != nil {
		return nil, fmt.Errorf("copy the day: %w", err)
	}
	copied, err := open(ctx, dir, false)
	if err != nil {
		return nil, err
	}
	copied.Plain = d.Plain
	return copied, nil
}

// Commit adds, as the worker does, a file of so many rows of every tenant to a day that can be
// written. No two commits have the same number, from 1.
func (d *Day) Commit(ctx context.Context, number, rows int) error {
	register, err := catalog.OpenTenants(d.Dir.Tenants())
	if err != nil {
		return err
	}
	table, err := d.Catalog.Table(ctx, cardlake.Transactions)
	if err != nil {
		return err
	}
	from, err := table.Positions(ctx)
	if err != nil {
		return err
	}
	next := from[stream].Next
	var files []cardlake.DataFile
	for i := range d.Plain {
		record, err := register.Lookup(Tenant(i))
		if err != nil {
			return err
		}
		f, _, err := d.writeTenant(ctx, keys.OwnerOf(record.StorageID), part{tenant: i, number: number, rows: rows, offset: next})
		if err != nil {
			return err
		}
		files, next = append(files, f), next+int64(rows)
	}
	_, err = table.Append(ctx, catalog.Append{Files: files, From: from, To: cardlake.Positions{stream: {Next: next}}})
	return err
}

// stream is the only partition of the stream that the rows came from.
var stream = cardlake.StreamPartition{Stream: "cards"}

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
	day := &Day{Dir: d, Store: objects.NewSealed(d.Objects(), ring, objects.SealedConfig{})}
	files := make([]cardlake.DataFile, tenants)
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for i := range tenants {
		group.Go(func() (err error) {
			var body []byte
			if files[i], body, err = day.writeTenant(working, owners[i+1], part{tenant: i, rows: rows, offset: int64(i) * int64(rows)}); err != nil {
				return err
			}
			return os.WriteFile(plain(dir, i), body, 0o600)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	c, err := iceberg.Open(ctx, iceberg.Config{DB: d.Catalog(), Objects: day.Store})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	table, err := c.Table(ctx, cardlake.Transactions)
	if err != nil {
		return err
	}
	to := cardlake.Positions{stream: {Next: int64(tenants) * int64(rows)}}
	if _, err := table.Append(ctx, catalog.Append{Files: files, From: cardlake.Positions{stream: {}}, To: to}); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, madeBy), nil, 0o600)
}

// part is some rows of a tenant, spread over the day, from an offset of the stream on.
type part struct {
	tenant, number, rows int
	offset               int64
}

// writeTenant writes the rows as one file. It returns its content, too.
func (d *Day) writeTenant(ctx context.Context, owner keys.Owner, p part) (cardlake.DataFile, []byte, error) {
	generator, batch := writerstest.New(uint64(p.tenant+1)+uint64(p.number)<<32), cardlake.NewBatch()
	step := 24 * time.Hour.Microseconds() / int64(p.rows)
	for row := range p.rows {
		tx := generator.Next()
		at := Date.UnixMicro() + int64(row)*step
		tx.Tenant, tx.EventTime, tx.LocalTime, tx.IngestedAt = Tenant(p.tenant), at, (at/1_000_000-3*3600)*1_000_000, at+400_000
		tx.Position = cardlake.Position{StreamPartition: stream, Offset: p.offset + int64(row)}
		if err := batch.Append(tx); err != nil {
			return cardlake.DataFile{}, nil, err
		}
	}
	record, err := batch.Record()
	if err != nil {
		return cardlake.DataFile{}, nil, err
	}
	defer record.Release()
	body, splits, err := parquet.NewEncoder(cardlake.Transactions, parquet.Config{}).Encode(record)
	if err != nil {
		return cardlake.DataFile{}, nil, err
	}
	least, greatest := batch.TimeRange()
	name := fmt.Sprintf("%05d.parquet", p.tenant)
	if p.number > 0 {
		name = fmt.Sprintf("%05d-%d.parquet", p.tenant, p.number)
	}
	f := cardlake.DataFile{
		Name:   fmt.Sprintf("data/cards/transactions/%s/%s/%s", owner, Date.Format(time.DateOnly), name),
		Tenant: Tenant(p.tenant), Day: cardlake.DayOf(Date.UnixMicro()), Rows: int64(p.rows), Bytes: int64(len(body)),
		MinTime: least, MaxTime: greatest, SplitOffsets: splits,
	}
	return f, body, d.Store.Put(ctx, f.Name, owner, body)
}
