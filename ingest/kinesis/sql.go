package kinesis

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// SQLLeases keeps leases in a table of a SQL database, which may be the catalog's: SQLite or
// PostgreSQL.
//
// In SQLite an open transaction of another connection makes a statement fail as busy; set
// busy_timeout in the data source name.
type SQLLeases struct {
	db   *sql.DB
	name string
}

// NewSQLLeases returns leases under the name, which must be that of one stream and one table
// of the lake only. Create makes the database's table.
func NewSQLLeases(db *sql.DB, name string) *SQLLeases { return &SQLLeases{db, name} }

// Create makes the table kinesis_leases, unless it is there.
func (s *SQLLeases) Create(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS kinesis_leases (
		name VARCHAR(255) NOT NULL, shard VARCHAR(128) NOT NULL,
		owner VARCHAR(255) NOT NULL, wanted VARCHAR(255) NOT NULL, counter BIGINT NOT NULL,
		ended BOOLEAN NOT NULL, mark VARCHAR(129) NOT NULL, caught_up BIGINT NOT NULL,
		PRIMARY KEY (name, shard))`)
	if err != nil {
		return fmt.Errorf("create table of leases: %w", err)
	}
	return nil
}

// List implements Leases.
func (s *SQLLeases) List(ctx context.Context) ([]Lease, error) {
	rows, err := s.db.QueryContext(ctx,
		`SELECT shard, owner, wanted, counter, ended, mark, caught_up FROM kinesis_leases WHERE name = $1 ORDER BY shard`, s.name)
	if err != nil {
		return nil, fmt.Errorf("select leases: %w", err)
	}
	defer rows.Close()
	var out []Lease
	for rows.Next() {
		var l Lease
		var caughtUp int64
		if err := rows.Scan(&l.Shard, &l.Owner, &l.Wanted, &l.Counter, &l.Ended, &l.Mark, &caughtUp); err != nil {
			return nil, fmt.Errorf("select leases: %w", err)
		}
		l.CaughtUp = fromUnix(caughtUp)
		out = append(out, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("select leases: %w", err)
	}
	return out, nil
}

// Swap implements Leases.
func (s *SQLLeases) Swap(ctx context.Context, was, now Lease) (bool, error) {
	if was.Counter == 0 {
		return s.exec(ctx, "insert lease",
			`INSERT INTO kinesis_leases (name, shard, owner, wanted, counter, ended, mark, caught_up)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name, shard) DO NOTHING`,
			s.name, now.Shard, now.Owner, now.Wanted, now.Counter, now.Ended, now.Mark, toUnix(now.CaughtUp))
	}
	return s.exec(ctx, "update lease",
		`UPDATE kinesis_leases SET owner = $1, wanted = $2, counter = $3, ended = $4, mark = $5, caught_up = $6
		WHERE name = $7 AND shard = $8 AND owner = $9 AND wanted = $10 AND counter = $11`,
		now.Owner, now.Wanted, now.Counter, now.Ended, now.Mark, toUnix(now.CaughtUp),
		s.name, was.Shard, was.Owner, was.Wanted, was.Counter)
}

// Remove implements Leases.
func (s *SQLLeases) Remove(ctx context.Context, was Lease) error {
	_, err := s.exec(ctx, "delete lease",
		`DELETE FROM kinesis_leases WHERE name = $1 AND shard = $2 AND owner = $3 AND wanted = $4 AND counter = $5`,
		s.name, was.Shard, was.Owner, was.Wanted, was.Counter)
	return err
}

// exec reports whether the statement changed a row.
func (s *SQLLeases) exec(ctx context.Context, operation, statement string, args ...any) (bool, error) {
	result, err := s.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return false, fmt.Errorf("%s: %w", operation, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("%s: %w", operation, err)
	}
	return n > 0, nil
}

// toUnix is t in seconds since the epoch, 0 if t is zero.
func toUnix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func fromUnix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

var _ Leases = (*SQLLeases)(nil)
