package iceberg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// statementTimeout and lockTimeout are the server's. The client waits longer
	// (sqlTimeout), so that it mostly hears how a statement ended.
	statementTimeout = 20 * time.Second
	lockTimeout      = 10 * time.Second
	connectTimeout   = 10 * time.Second
	connectionAge    = 30 * time.Minute
	// layoutLock is the advisory lock under which the tables are created.
	layoutLock = 0x636172646c616b65
)

// isPostgres reports whether Config.DB names a PostgreSQL database.
func isPostgres(db string) bool {
	return strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://")
}

// openPostgres connects to the database and creates the tables when absent, unless
// readOnly.
func openPostgres(ctx context.Context, url string, readOnly bool) (_ *sqlPointers, err error) {
	cfg, err := postgresConfig(url, readOnly)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(keepSynchronous))
	defer func() {
		if err != nil {
			db.Close()
			err = fmt.Errorf("catalog on PostgreSQL: %w", err)
		}
	}()
	// A failover leaves connections to a server that does not take writes any more.
	db.SetConnMaxLifetime(connectionAge)
	ctx, cancel := context.WithTimeout(ctx, sqlTimeout)
	defer cancel()
	var name *string
	if err := db.QueryRowContext(ctx, "SELECT to_regclass('iceberg_tables')::text").Scan(&name); err != nil {
		return nil, err
	}
	if name == nil && !readOnly {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return nil, err
		}
		defer tx.Rollback()
		// IF NOT EXISTS alone fails when two sessions create a table at the same time.
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock("+strconv.Itoa(layoutLock)+")"); err != nil {
			return nil, err
		}
		for statement := range strings.SplitSeq(strings.TrimRight(sqlLayout, "; \n"), ";") {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return nil, err
			}
		}
		if err := tx.Commit(); err != nil {
			return nil, err
		}
	}
	return &sqlPointers{db: db, classify: classifyPostgres, isMissing: func(_ context.Context, err error) bool {
		return sqlState(err) == "42P01" // undefined_table
	}}, nil
}

func postgresConfig(url string, readOnly bool) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("DB: %w", err) // pgx leaves the password out
	}
	if err := checkSecure(cfg); err != nil {
		return nil, err
	}
	// Statements are sent whole in one round trip: poolers that give each transaction another
	// connection do not know prepared ones.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"application_name":              "cardlake",
		"statement_timeout":             strconv.FormatInt(statementTimeout.Milliseconds(), 10),
		"lock_timeout":                  strconv.FormatInt(lockTimeout.Milliseconds(), 10),
		"default_transaction_isolation": "read committed",
		"default_transaction_read_only": strconv.FormatBool(readOnly),
	} {
		if _, ok := cfg.RuntimeParams[name]; !ok || name == "default_transaction_read_only" {
			cfg.RuntimeParams[name] = value
		}
	}
	return cfg, nil
}

// checkSecure refuses a connection over a network unless it is encrypted and the server's
// name verified (sslmode=verify-full): who stands in between could move tables to metadata
// of their own.
func checkSecure(cfg *pgx.ConnConfig) error {
	ways := []*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}
	for _, w := range append(ways, cfg.Fallbacks...) {
		if network, _ := pgconn.NetworkAddress(w.Host, w.Port); network == "unix" || isLoopback(w.Host) {
			continue
		}
		if w.TLSConfig == nil || w.TLSConfig.InsecureSkipVerify {
			return fmt.Errorf("DB: host %s needs sslmode=verify-full", w.Host)
		}
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// keepSynchronous makes commits durable where the server's default is that they are not.
func keepSynchronous(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
	return err
}

func sqlState(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// classifyPostgres judges by SQLSTATE (PostgreSQL documentation, "Error Codes"). What the
// server refused did not happen; but a connection that breaks, or a server that ends the
// session, may do so after the commit: in synchronous replication a session can be ended
// while it waits, its transaction committed.
func classifyPostgres(err error) outcome {
	state := sqlState(err)
	switch {
	case state == "40001", state == "40P01": // serialization_failure, deadlock_detected
		return lost
	case state == "40003", // statement_completion_unknown
		strings.HasPrefix(state, "08"),   // connection_exception
		strings.HasPrefix(state, "57P0"), // admin_shutdown, crash_shutdown, ...
		strings.HasPrefix(state, "58"),   // system_error
		strings.HasPrefix(state, "XX"):   // internal_error
		return unknown
	case state != "", pgconn.SafeToRetry(err): // nothing was sent
		return failed
	}
	return unknown
}
