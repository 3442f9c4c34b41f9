package iceberg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cardlake/cardlake"
)

// catalogName is the value of catalog_name in every row: one file may hold several catalogs.
const catalogName = "cardlake"

// layout is Iceberg's JDBC catalog, version 1.
const layout = `
CREATE TABLE IF NOT EXISTS iceberg_tables (
	catalog_name VARCHAR(255) NOT NULL,
	table_namespace VARCHAR(255) NOT NULL,
	table_name VARCHAR(255) NOT NULL,
	iceberg_type VARCHAR(5),
	metadata_location VARCHAR(1000),
	previous_metadata_location VARCHAR(1000),
	PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
	catalog_name VARCHAR(255) NOT NULL,
	namespace VARCHAR(255) NOT NULL,
	property_key VARCHAR(255) NOT NULL,
	property_value VARCHAR(1000),
	PRIMARY KEY (catalog_name, namespace, property_key)
);`

// busyTimeout is how long a writer waits for another one.
const busyTimeout = 10 * time.Second

// openSQLite opens the file in write-ahead mode, in which readers and the one writer do not
// block each other, and with synchronous=FULL, in which a commit is on the disk when it
// returns. A writer waits up to busyTimeout for another one.
func openSQLite(ctx context.Context, path string, readOnly bool) (_ *sql.DB, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	query := url.Values{"_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())}}
	if readOnly {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("no catalog at %s: %w", path, fs.ErrNotExist)
		}
		query.Set("mode", "ro")
		query.Add("_pragma", "query_only(1)")
	} else {
		if err := createFile(path); err != nil {
			return nil, fmt.Errorf("catalog %s cannot be written: %w", path, err)
		}
		query.Set("_txlock", "immediate")
		query.Add("_pragma", "journal_mode(WAL)")
		query.Add("_pragma", "synchronous(FULL)")
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	if readOnly {
		_, err = db.ExecContext(ctx, "SELECT count(*) FROM sqlite_schema")
	} else {
		err = createTables(ctx, db)
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("catalog %s: %w", path, err)
	}
	return db, nil
}

// createTables makes the tables when absent. Turning a new file to write-ahead mode beside
// another process that does the same fails at once with SQLITE_BUSY, whatever busy_timeout
// says, because waiting could deadlock; so it is tried again for as long.
func createTables(ctx context.Context, db *sql.DB) error {
	for deadline := time.Now().Add(busyTimeout); ; {
		_, err := db.ExecContext(ctx, layout)
		if busy := new(sqlite.Error); !errors.As(err, &busy) || busy.Code()&0xff != sqlite3.SQLITE_BUSY || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// createFile creates the file and its folder when absent and makes the new name durable.
// SQLite gives its other files the same permissions.
func createFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// pointers are the rows that name each table's newest metadata object.
type pointers struct{ db *sql.DB }

// load returns the location of the table's metadata, ErrNoTable if there is no such row.
func (p pointers) load(ctx context.Context, def *cardlake.Table) (location string, err error) {
	err = p.db.QueryRowContext(ctx,
		`SELECT metadata_location FROM iceberg_tables
		WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?`,
		catalogName, def.Namespace, def.Name).Scan(&location)
	switch {
	case errors.Is(err, sql.ErrNoRows), err != nil && p.empty(ctx):
		return "", ErrNoTable
	case err != nil:
		return "", fmt.Errorf("read the catalog: %w", err)
	}
	return location, nil
}

// empty reports whether the file has no catalog in it yet, as when a read-only process
// comes between the creation of the file and that of its tables.
func (p pointers) empty(ctx context.Context) bool {
	var n int
	err := p.db.QueryRowContext(ctx,
		"SELECT count(*) FROM sqlite_schema WHERE name = 'iceberg_tables'").Scan(&n)
	return err == nil && n == 0
}

// create adds the table's row and its namespace. A row that is already there stays as it
// is: created is then false.
func (p pointers) create(ctx context.Context, def *cardlake.Table, location string) (created bool, err error) {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	defer tx.Rollback()
	_, err = tx.ExecContext(ctx,
		`INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)
		VALUES (?, ?, 'exists', 'true') ON CONFLICT DO NOTHING`, catalogName, def.Namespace)
	if err != nil {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	res, err := tx.ExecContext(ctx,
		`INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, iceberg_type, metadata_location)
		VALUES (?, ?, ?, 'TABLE', ?) ON CONFLICT DO NOTHING`, catalogName, def.Namespace, def.Name, location)
	if err != nil {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	n, err := res.RowsAffected()
	if err = errors.Join(err, tx.Commit()); err != nil {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	return n == 1, nil
}

// swap moves the table's pointer if it still names from. One statement is one transaction:
// it is durable when swap returns true and nothing happened when it returns false. An error
// alone does not tell which.
func (p pointers) swap(ctx context.Context, def *cardlake.Table, from, to string) (moved bool, err error) {
	res, err := p.db.ExecContext(ctx,
		`UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ?
		WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?`,
		to, from, catalogName, def.Namespace, def.Name, from)
	if err != nil {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	return n == 1, nil
}

// isIOError reports whether SQLite failed to read, write or sync its files, or ran out of
// space (SQLITE_IOERR, SQLITE_FULL; the low byte is the primary code). Such a commit may be
// on the disk although this process does not see it: a log frame that was written but not
// synced comes back when the log is recovered after a crash.
func isIOError(err error) bool {
	const ioError, full = 10, 13
	var coded interface{ Code() int }
	if !errors.As(err, &coded) {
		return false
	}
	primary := coded.Code() & 0xff
	return primary == ioError || primary == full
}
