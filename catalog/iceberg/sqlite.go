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
)

// busyTimeout is how long a writer waits for another one.
const busyTimeout = 10 * time.Second

// openSQLite opens the file in write-ahead mode, in which readers and the one writer do not
// block each other, and with synchronous=FULL, in which a commit is on the disk when it
// returns. A writer waits up to busyTimeout for another one.
func openSQLite(ctx context.Context, path string, readOnly bool) (_ *sqlPointers, err error) {
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
	return &sqlPointers{db: db, classify: classifySQLite, isMissing: func(ctx context.Context, _ error) bool {
		return isEmptySQLite(ctx, db)
	}}, nil
}

// createTables makes the tables when absent. Turning a new file to write-ahead mode beside
// another process that does the same fails at once with SQLITE_BUSY, whatever busy_timeout
// says, because waiting could deadlock; so it is tried again for as long.
func createTables(ctx context.Context, db *sql.DB) error {
	for deadline := time.Now().Add(busyTimeout); ; {
		_, err := db.ExecContext(ctx, sqlLayout)
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

// isEmptySQLite reports whether the file has no catalog in it yet, as when a read-only
// process comes between the creation of the file and that of its tables.
func isEmptySQLite(ctx context.Context, db *sql.DB) bool {
	var n int
	err := db.QueryRowContext(ctx,
		"SELECT count(*) FROM sqlite_schema WHERE name = 'iceberg_tables'").Scan(&n)
	return err == nil && n == 0
}

// classifySQLite knows an outcome when SQLite failed to read, write or sync its files, or
// ran out of space (SQLITE_IOERR, SQLITE_FULL; the low byte is the primary code): such a
// commit may be on the disk although this process does not see it, because a log frame that
// was written but not synced comes back when the log is recovered after a crash. After any
// other error, rereading tells: SQLite is done when it returns.
func classifySQLite(err error) outcome {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		switch coded.Code() & 0xff {
		case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL:
			return unknown
		}
	}
	return failed
}
