package apikeys

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cardlake/cardlake/catalog/grants"
)

// Store has the keys, in one SQLite file that several processes may have open: a key that one of
// them revokes is taken by none. It is safe for concurrent use.
type Store struct {
	db  *sql.DB
	log Log
	cfg Config
}

const layout = `
CREATE TABLE IF NOT EXISTS keys (
	digest BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, subject TEXT NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL,
	created INTEGER NOT NULL, expires INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_owner ON keys (owner);
`

const (
	// busyTimeout is how long a change waits for another process's.
	busyTimeout = 10 * time.Second
	// usedTimeout is how long a call waits for it to be noted that its key was used.
	usedTimeout = time.Second
	// keptFor is how long a key that has ended by itself is listed.
	keptFor = 30 * 24 * time.Hour
)

// Open opens the store at path, or makes it.
func Open(ctx context.Context, path string, log Log, cfg Config) (*Store, error) {
	path, err := filepath.Abs(path)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("API keys: %w", err)
	}
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	// Turning a new file to write-ahead mode beside another process fails at once, whatever
	// busy_timeout says.
	for deadline := time.Now().Add(busyTimeout); ; time.Sleep(10 * time.Millisecond) {
		_, err = db.ExecContext(ctx, layout)
		if busy := new(sqlite.Error); !errors.As(err, &busy) || busy.Code()&0xff != sqlite3.SQLITE_BUSY || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("API keys %s: %w", path, err), db.Close())
	}
	return &Store{db, log, cfg.withDefaults()}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// change runs do in a transaction that holds the write lock.
func (s *Store) change(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("API keys: %w", err)
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("API keys: %w", err)
	}
	return nil
}

// insert adds a key of the caller's once it is on record.
func (s *Store) insert(ctx context.Context, c grants.Caller, k Key, digest [sha256.Size]byte, record func() error) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM keys WHERE expires < ?", k.CreatedAt.Add(-keptFor).Unix()); err != nil {
			return fmt.Errorf("API keys: %w", err)
		}
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM keys WHERE owner = ? AND expires > ?", c.Principal.String(), k.CreatedAt.Unix()).Scan(&n); err != nil {
			return fmt.Errorf("API keys: %w", err)
		}
		if n >= s.cfg.PerPrincipal {
			return ErrTooMany
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
			digest[:], k.ID, c.Principal.String(), c.Subject, k.Tenant, k.Name, k.CreatedAt.Unix(), k.ExpiresAt.Unix()); err != nil {
			return fmt.Errorf("API keys: %w", err)
		}
		return record()
	})
}

// remove takes a principal's key out once that is on record.
func (s *Store) remove(ctx context.Context, p grants.Principal, id string, record func() error) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "DELETE FROM keys WHERE id = ? AND owner = ?", id, p.String())
		if err != nil {
			return fmt.Errorf("API keys: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return errors.Join(ErrUnknown, err)
		}
		return record()
	})
}

// kept is a key as it lies in the store.
type kept struct {
	Key
	owner   grants.Principal
	subject string
}

const selectKeys = "SELECT id, owner, subject, tenant, name, created, expires, used FROM keys "

func scan(row interface{ Scan(into ...any) error }) (k kept, err error) {
	var owner string
	var created, expires, used int64
	if err = row.Scan(&k.ID, &owner, &k.subject, &k.Tenant, &k.Name, &created, &expires, &used); err != nil {
		return k, err
	}
	k.CreatedAt, k.ExpiresAt = time.Unix(created, 0).UTC(), time.Unix(expires, 0).UTC()
	if used != 0 {
		at := time.Unix(used, 0).UTC()
		k.LastUsedAt = &at
	}
	k.owner, err = grants.ParsePrincipal(owner)
	return k, err
}

// list returns a principal's keys.
func (s *Store) list(ctx context.Context, p grants.Principal) ([]Key, error) {
	rows, err := s.db.QueryContext(ctx, selectKeys+"WHERE owner = ? ORDER BY created DESC, id", p.String())
	if err != nil {
		return nil, fmt.Errorf("API keys: %w", err)
	}
	defer rows.Close()
	var out []Key
	for rows.Next() {
		k, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("API keys: %w", err)
		}
		out = append(out, k.Key)
	}
	return out, rows.Err()
}

// find returns the key of a digest, or ErrUnknown.
func (s *Store) find(ctx context.Context, digest [sha256.Size]byte) (kept, error) {
	k, err := scan(s.db.QueryRowContext(ctx, selectKeys+"WHERE digest = ?", digest[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return k, ErrUnknown
	}
	if err != nil {
		return k, fmt.Errorf("API keys: %w", err)
	}
	return k, nil
}

// used notes that a key was used. Where that can't be written it is not known, and no more.
func (s *Store) used(ctx context.Context, id string, at time.Time) {
	ctx, cancel := context.WithTimeout(ctx, usedTimeout)
	defer cancel()
	_, _ = s.db.ExecContext(ctx, "UPDATE keys SET used = max(used, ?) WHERE id = ?", at.Unix(), id)
}
