package export

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// store keeps jobs, schedules, what tenants have set, usage and the keys of links in one SQLite
// file. Each change is one transaction that begins with the write lock, so that what it reads is
// what it changes, whichever process it is in. Documents are JSON; columns beside them are what
// is looked up.
type store struct {
	db  *sql.DB
	dir string
}

const storeLayout = `
CREATE TABLE IF NOT EXISTS jobs (
	id TEXT PRIMARY KEY, tenant TEXT NOT NULL, principal TEXT NOT NULL, state TEXT NOT NULL, created INTEGER NOT NULL,
	started INTEGER NOT NULL, key TEXT, schedule TEXT NOT NULL, doc TEXT NOT NULL, UNIQUE (principal, key));
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state, tenant);
CREATE INDEX IF NOT EXISTS jobs_principal ON jobs (principal, created);
CREATE TABLE IF NOT EXISTS usage (tenant TEXT, day TEXT, rows INTEGER NOT NULL, bytes INTEGER NOT NULL, exports INTEGER NOT NULL, PRIMARY KEY (tenant, day));
CREATE TABLE IF NOT EXISTS schedules (id TEXT PRIMARY KEY, principal TEXT NOT NULL, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tenants (tenant TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS link_keys (id TEXT PRIMARY KEY, created INTEGER NOT NULL, wrapped BLOB NOT NULL);
`

// busyTimeout is how long a transaction waits for another process's.
const busyTimeout = 10 * time.Second

func openStore(ctx context.Context, dir string) (*store, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "running"), 0o700)
	}
	path := filepath.Join(dir, "exports.db")
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("export jobs: %w", err)
	}
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	// Turning a new file to write-ahead mode beside another process fails at once, whatever
	// busy_timeout says.
	for deadline := time.Now().Add(busyTimeout); ; time.Sleep(10 * time.Millisecond) {
		_, err = db.ExecContext(ctx, storeLayout)
		if busy := new(sqlite.Error); !errors.As(err, &busy) || busy.Code()&0xff != sqlite3.SQLITE_BUSY || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("export jobs %s: %w", path, err), db.Close())
	}
	return &store{db, dir}, nil
}

// change runs do in a transaction that holds the write lock.
func (s *store) change(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("export jobs: %w", err)
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("export jobs: %w", err)
	}
	return nil
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// documents decodes the documents that a query selects.
func documents[T any](ctx context.Context, q querier, query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("export jobs: %w", err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var text []byte
		var one T
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("export jobs: %w", err)
		}
		if err := json.Unmarshal(text, &one); err != nil {
			return nil, fmt.Errorf("export jobs: document: %w", err)
		}
		out = append(out, one)
	}
	return out, rows.Err()
}

// document decodes the one document that a query selects; ok is false if there is none.
func document[T any](ctx context.Context, q querier, query string, args ...any) (one T, ok bool, err error) {
	all, err := documents[T](ctx, q, query, args...)
	if err != nil || len(all) == 0 {
		return one, false, err
	}
	return all[0], true, nil
}

// job returns a job, or a Fault.
func (s *store) job(ctx context.Context, q querier, id string) (*Job, error) {
	j, ok, err := document[*Job](ctx, q, "SELECT doc FROM jobs WHERE id = ?", id)
	if err == nil && !ok {
		err = faultf(NotFound, "there is no such export of yours")
	}
	return j, err
}

// insert adds a job.
func (s *store) insert(ctx context.Context, tx *sql.Tx, j *Job) error {
	doc, err := json.Marshal(j)
	if err != nil {
		return err
	}
	var key any
	if j.Request.Key != "" {
		key = j.Request.Key
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		j.ID, j.Tenant, j.Principal.String(), j.State, j.CreatedAt.UnixMicro(), 0, key, j.Schedule, doc)
	return err
}

// save writes a job back.
func (s *store) save(ctx context.Context, tx *sql.Tx, j *Job) error {
	doc, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE jobs SET state = ?, started = ?, doc = ? WHERE id = ?", j.State, j.StartedAt.UnixMicro(), doc, j.ID)
	return err
}

// update changes one job in a transaction and returns it as it is then.
func (s *store) update(ctx context.Context, id string, do func(tx *sql.Tx, j *Job) error) (j *Job, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		if j, err = s.job(ctx, tx, id); err != nil {
			return err
		}
		if err := do(tx, j); err != nil {
			return err
		}
		return s.save(ctx, tx, j)
	})
	return j, err
}

// usage returns what left the lake of the tenant in the day.
func (s *store) usage(ctx context.Context, q querier, tenant cardlake.Tenant, day string) (u Usage, err error) {
	err = q.QueryRowContext(ctx, "SELECT rows, bytes, exports FROM usage WHERE tenant = ? AND day = ?", tenant, day).Scan(&u.Rows, &u.Bytes, &u.Exports)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return u, err
}

// charge adds to the tenant's usage of the day; negative amounts give back.
func (s *store) charge(ctx context.Context, tx *sql.Tx, tenant cardlake.Tenant, day string, u Usage) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (tenant, day)
		DO UPDATE SET rows = max(0, rows + ?3), bytes = max(0, bytes + ?4), exports = max(0, exports + ?5)`, tenant, day, u.Rows, u.Bytes, u.Exports)
	return err
}

// refund gives back what a job that came to nothing was charged, but that it was asked for.
func (s *store) refund(ctx context.Context, tx *sql.Tx, j *Job) error {
	err := s.charge(ctx, tx, j.Tenant, j.Day, Usage{Rows: -j.Charged.Rows, Bytes: -j.Charged.Bytes})
	j.Charged.Rows, j.Charged.Bytes = 0, 0
	return err
}

// list returns a principal's jobs, the newest first.
func (s *store) list(ctx context.Context, p grants.Principal, most int) ([]*Job, error) {
	return documents[*Job](ctx, s.db, "SELECT doc FROM jobs WHERE principal = ? ORDER BY created DESC, id LIMIT ?", p.String(), most)
}

// hold takes the lock that says that this process runs the job; nil if another has it. The
// operating system gives it back when the process dies, whatever the clock says. The file stays
// until the job is final: else two could hold files of one name.
func (s *store) hold(id string) (*os.File, error) {
	f, err := os.OpenFile(s.lockPath(id), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("export job: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, f.Close()
	}
	return nil, errors.Join(fmt.Errorf("export job: lock: %w", err), f.Close())
}

func (s *store) lockPath(id string) string { return filepath.Join(s.dir, "running", id) }

func (s *store) close() error { return s.db.Close() }
