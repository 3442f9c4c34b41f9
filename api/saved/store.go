package saved

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Store has the views, in one SQLite file. Each change is one transaction that begins with the
// write lock, so that several processes may have the file. It is safe for concurrent use.
type Store struct {
	db  *sql.DB
	now func() time.Time
}

const layout = `
CREATE TABLE IF NOT EXISTS views (
	id TEXT PRIMARY KEY, owner TEXT NOT NULL, created INTEGER NOT NULL, name TEXT NOT NULL, page TEXT NOT NULL, query TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS views_owner ON views (owner, created, id);
`

// busyTimeout is how long a transaction waits for another process's.
const busyTimeout = 10 * time.Second

// Open opens the file saved.db in the folder, and makes both if they are not there. now is the
// clock; nil is time.Now.
func Open(ctx context.Context, dir string, now func() time.Time) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	path := filepath.Join(dir, "saved.db")
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("saved views: %w", err)
	}
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("saved views: %w", err)
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
		return nil, errors.Join(fmt.Errorf("saved views: %w", err), db.Close())
	}
	if now == nil {
		now = time.Now
	}
	return &Store{db, now}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// List returns the owner's views, the oldest first.
func (s *Store) List(ctx context.Context, owner grants.Principal) ([]View, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, name, page, query, created FROM views WHERE owner = ? ORDER BY created, id", owner.String())
	if err != nil {
		return nil, fmt.Errorf("saved views: %w", err)
	}
	defer rows.Close()
	out := []View{}
	for rows.Next() {
		var v View
		var created int64
		if err := rows.Scan(&v.ID, &v.Name, &v.Page, &v.Query, &created); err != nil {
			return nil, fmt.Errorf("saved views: %w", err)
		}
		v.CreatedAt = time.UnixMilli(created).UTC()
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("saved views: %w", err)
	}
	return out, nil
}

// Save adds a view that has no id, or replaces the owner's that has it, and returns it as it is
// kept. Nothing is kept if record, which is called with that, returns an error. Errors are
// ErrNotFound, ErrFull, or wrap ErrView.
func (s *Store) Save(ctx context.Context, owner grants.Principal, v View, record func(View) error) (View, error) {
	if err := v.Validate(); err != nil {
		return View{}, err
	}
	err := s.change(ctx, func(tx *sql.Tx) error {
		if v.ID == "" {
			return s.add(ctx, tx, owner, &v)
		}
		var created int64
		err := tx.QueryRowContext(ctx, "UPDATE views SET name = ?, page = ?, query = ? WHERE id = ? AND owner = ? RETURNING created",
			v.Name, v.Page, v.Query, v.ID, owner.String()).Scan(&created)
		v.CreatedAt = time.UnixMilli(created).UTC()
		return found(err)
	}, func() error { return record(v) })
	if err != nil {
		return View{}, err
	}
	return v, nil
}

func (s *Store) add(ctx context.Context, tx *sql.Tx, owner grants.Principal, v *View) error {
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM views WHERE owner = ?", owner.String()).Scan(&n); err != nil {
		return fmt.Errorf("saved views: %w", err)
	}
	if n >= MaxViews {
		return ErrFull
	}
	var id [16]byte
	rand.Read(id[:])
	v.ID = string(cardlake.AppendLetters(nil, id[:]))
	v.CreatedAt = s.now().UTC().Truncate(time.Millisecond)
	_, err := tx.ExecContext(ctx, "INSERT INTO views (id, owner, created, name, page, query) VALUES (?, ?, ?, ?, ?, ?)",
		v.ID, owner.String(), v.CreatedAt.UnixMilli(), v.Name, v.Page, v.Query)
	if err != nil {
		return fmt.Errorf("saved views: %w", err)
	}
	return nil
}

// Remove removes the owner's view of the id, or returns ErrNotFound. It stays if record returns an
// error.
func (s *Store) Remove(ctx context.Context, owner grants.Principal, id string, record func() error) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		return found(tx.QueryRowContext(ctx, "DELETE FROM views WHERE id = ? AND owner = ? RETURNING id", id, owner.String()).Scan(&id))
	}, record)
}

// found turns that there was no row into ErrNotFound.
func found(err error) error {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("saved views: %w", err)
	}
	return nil
}

// change runs do in a transaction that holds the write lock, and record before it ends.
func (s *Store) change(ctx context.Context, do func(tx *sql.Tx) error, record func() error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("saved views: %w", err)
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	if err := record(); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("saved views: %w", err)
	}
	return nil
}
