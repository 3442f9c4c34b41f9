// Package pgstore keeps a vault's entries in PostgreSQL: the production adapter, on which
// several vaults work at once.
//
// The primary key of the one table is what makes them agree. Isolation is read committed:
// every change of a transaction names the value that it replaces, a row that somebody else
// changed first is waited for and then not matched, and a transaction with such a row is
// rolled back whole.
package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// Store implements vault.Store.
type Store struct{ pool *pgxpool.Pool }

var _ vault.Store = (*Store)(nil)

// layout makes the tables. Owners are compared byte by byte, so that no change of the
// operating system's collations touches the index.
var layout = []string{
	`CREATE TABLE cardlake_vault (
		owner text COLLATE "C" NOT NULL,
		version integer NOT NULL,
		bits bytea NOT NULL,
		value bytea NOT NULL,
		PRIMARY KEY (owner, version, bits)
	)`,
	`COMMENT ON TABLE cardlake_vault IS 'cardlake: tokens (version, bits) and sealed card numbers or successors (value)'`,
	`CREATE TABLE cardlake_vault_format (format integer NOT NULL)`,
	fmt.Sprintf(`INSERT INTO cardlake_vault_format VALUES (%d)`, vault.Format),
}

// layoutLock is the advisory lock under which the tables are made.
const layoutLock = "7162262417523168364"

// Open connects to the database and makes the tables where they are missing, in the first
// schema of the search path. vault.ErrFormat says that a newer program made them. The errors
// of Config come first, before anything is sent.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	pc, err := cfg.pool()
	if err != nil {
		return nil, fmt.Errorf("open vault on PostgreSQL: %w", err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open vault on PostgreSQL: %w", err)
	}
	s := &Store{pool}
	if err := s.ensureLayout(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open vault on PostgreSQL: %w", err)
	}
	return s, nil
}

func (s *Store) ensureLayout(ctx context.Context) error {
	stored, err := s.format(ctx)
	if isState(err, "42P01") { // undefined_table
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			// IF NOT EXISTS alone fails when two sessions make a table at the same time.
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock("+layoutLock+")"); err != nil {
				return err
			}
			var name *string
			if err := tx.QueryRow(ctx, "SELECT to_regclass('cardlake_vault_format')::text").Scan(&name); err != nil || name != nil {
				return err
			}
			for _, statement := range layout {
				if _, err := tx.Exec(ctx, statement); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			stored, err = s.format(ctx)
		}
	}
	if err != nil {
		return err
	}
	return vault.CheckFormat(stored)
}

func (s *Store) format(ctx context.Context) (stored int, err error) {
	err = s.pool.QueryRow(ctx, "SELECT format FROM cardlake_vault_format").Scan(&stored)
	return stored, err
}

// Close closes the connections. Every other call must have returned.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// readSQL looks each token up in the index. A join would leave the planner free to read all of
// the owner's rows instead, which it does as long as it has no statistics.
const readSQL = `SELECT k.at, (
	SELECT v.value FROM cardlake_vault v WHERE v.owner = $1 AND v.version = k.version AND v.bits = k.bits
) FROM unnest($2::integer[], $3::bytea[]) WITH ORDINALITY AS k(version, bits, at)`

// Read implements vault.Store.
func (s *Store) Read(ctx context.Context, owner keys.Owner, tokens []tokenize.Token) ([][]byte, error) {
	out := make([][]byte, len(tokens))
	if len(tokens) == 0 {
		return out, nil
	}
	var names names
	for i := range tokens {
		names.add(&tokens[i])
	}
	rows, err := s.pool.Query(ctx, readSQL, string(owner), names.versions, names.bits)
	if err != nil {
		return nil, fmt.Errorf("read vault on PostgreSQL: %w", err)
	}
	var at int64
	var value []byte
	if _, err := pgx.ForEachRow(rows, []any{&at, &value}, func() error {
		out[at-1], value = value, nil
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read vault on PostgreSQL: %w", err)
	}
	return out, nil
}

// names are tokens as columns.
type names struct {
	versions []int32
	bits     [][]byte
}

func (n *names) add(t *tokenize.Token) {
	n.versions = append(n.versions, int32(t.Version))
	n.bits = append(n.bits, t.Bits[:])
}

const scanSQL = `SELECT version, bits, value FROM cardlake_vault
WHERE owner = $1 AND (version, bits) > ($2::integer, $3::bytea) ORDER BY version, bits LIMIT $4`

// Scan implements vault.Store.
func (s *Store) Scan(ctx context.Context, owner keys.Owner, after tokenize.Token, limit int) ([]vault.Row, error) {
	rows, err := s.pool.Query(ctx, scanSQL, string(owner), int32(after.Version), after.Bits[:], limit)
	if err != nil {
		return nil, fmt.Errorf("scan vault on PostgreSQL: %w", err)
	}
	var out []vault.Row
	var bits []byte
	var row vault.Row
	if _, err := pgx.ForEachRow(rows, []any{&row.Token.Version, &bits, &row.Value}, func() error {
		if len(bits) != len(row.Token.Bits) {
			return fmt.Errorf("%w: token has %d bytes", vault.ErrDamaged, len(bits))
		}
		copy(row.Token.Bits[:], bits)
		out = append(out, row)
		row.Value = nil
		return nil
	}); err != nil {
		return nil, fmt.Errorf("scan vault on PostgreSQL: %w", err)
	}
	return out, nil
}

// New entries come in one statement, since pinning waits for them. What jobs change comes row
// by row, for the reason that readSQL tells, in one round trip all the same.
const (
	insertSQL = `INSERT INTO cardlake_vault (owner, version, bits, value)
SELECT $1, * FROM unnest($2::integer[], $3::bytea[], $4::bytea[]) ON CONFLICT DO NOTHING`
	updateSQL = `UPDATE cardlake_vault SET value = $5 WHERE owner = $1 AND version = $2 AND bits = $3 AND value = $4`
	deleteSQL = `DELETE FROM cardlake_vault WHERE owner = $1 AND version = $2 AND bits = $3 AND value = $4`
)

// Write implements vault.Store. If the connection breaks while the transaction is committed,
// nobody knows whether it was.
func (s *Store) Write(ctx context.Context, owner keys.Owner, changes []vault.Change) error {
	return classify(pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return write(ctx, tx, owner, changes) }))
}

// classify makes vault.ErrChanged of a transaction that the server rolled back because of
// others: begun again, it finds what they did.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, vault.ErrChanged):
		return err
	case isState(err, "40001"), isState(err, "40P01"): // serialization_failure, deadlock_detected
		return fmt.Errorf("%w: %w", vault.ErrChanged, err)
	}
	return fmt.Errorf("write vault on PostgreSQL: %w", err)
}

func write(ctx context.Context, tx pgx.Tx, owner keys.Owner, changes []vault.Change) error {
	var b pgx.Batch
	queue := func(rows int, sql string, args ...any) {
		b.Queue(sql, args...).Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() != int64(rows) {
				return vault.ErrChanged
			}
			return nil
		})
	}
	var inserted names
	var values [][]byte
	for i := range changes {
		c := &changes[i]
		version, bits := int32(c.Token.Version), c.Token.Bits[:]
		switch {
		case c.Old == nil:
			inserted.add(&c.Token)
			values = append(values, c.New)
		case c.New == nil:
			queue(1, deleteSQL, string(owner), version, bits, c.Old)
		default:
			queue(1, updateSQL, string(owner), version, bits, c.Old, c.New)
		}
	}
	if len(values) > 0 {
		queue(len(values), insertSQL, string(owner), inserted.versions, inserted.bits, values)
	}
	return tx.SendBatch(ctx, &b).Close()
}

func isState(err error, state string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == state
}
