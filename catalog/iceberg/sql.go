package iceberg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/cardlake/cardlake"
)

// catalogName is the value of catalog_name in every row: one database may hold several
// catalogs.
const catalogName = "cardlake"

// sqlLayout is Iceberg's JDBC catalog, version 1.
const sqlLayout = `
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

// The statements number their parameters, which SQLite and PostgreSQL both understand.
const (
	sqlLoad = `SELECT metadata_location FROM iceberg_tables
		WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3`
	sqlCreateNamespace = `INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)
		VALUES ($1, $2, 'exists', 'true') ON CONFLICT DO NOTHING`
	sqlCreateTable = `INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, iceberg_type, metadata_location)
		VALUES ($1, $2, $3, 'TABLE', $4) ON CONFLICT DO NOTHING`
	sqlSwap = `UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2
		WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $2`
)

// sqlTimeout bounds a statement, beyond what the database itself allows it.
const sqlTimeout = 30 * time.Second

// sqlPointers are rows of Iceberg's JDBC catalog.
type sqlPointers struct {
	db *sql.DB
	// isMissing reports whether a failed load only found no catalog in the database yet.
	isMissing func(context.Context, error) bool
	// classify says what an error of the swap leaves open: lost, failed or unknown.
	classify func(error) outcome
}

func (p *sqlPointers) Close() error { return p.db.Close() }

func (p *sqlPointers) load(ctx context.Context, def *cardlake.Table) (location string, err error) {
	ctx, cancel := context.WithTimeout(ctx, sqlTimeout)
	defer cancel()
	err = p.db.QueryRowContext(ctx, sqlLoad, catalogName, def.Namespace, def.Name).Scan(&location)
	switch {
	case errors.Is(err, sql.ErrNoRows), err != nil && p.isMissing(ctx, err):
		return "", ErrNoTable
	case err != nil:
		return "", fmt.Errorf("read the catalog: %w", err)
	}
	return location, nil
}

func (p *sqlPointers) create(ctx context.Context, def *cardlake.Table, _, location string) (created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sqlTimeout)
	defer cancel()
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	defer tx.Rollback()
	if _, err = tx.ExecContext(ctx, sqlCreateNamespace, catalogName, def.Namespace); err != nil {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	res, err := tx.ExecContext(ctx, sqlCreateTable, catalogName, def.Namespace, def.Name, location)
	if err != nil {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	n, err := res.RowsAffected()
	if err = errors.Join(err, tx.Commit()); err != nil {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	return n == 1, nil
}

// swap is one statement, and so one transaction. It runs on a connection taken before,
// because a pool may send a statement again on another connection.
func (p *sqlPointers) swap(ctx context.Context, def *cardlake.Table, from, to string) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, sqlTimeout)
	defer cancel()
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return failed, fmt.Errorf("write the catalog: %w", err)
	}
	defer conn.Close()
	res, err := conn.ExecContext(ctx, sqlSwap, to, from, catalogName, def.Namespace, def.Name)
	if err != nil {
		o := p.classify(err)
		if o == lost {
			return lost, nil
		}
		return o, fmt.Errorf("write the catalog: %w", err)
	}
	n, err := res.RowsAffected()
	switch {
	case err != nil:
		return unknown, fmt.Errorf("write the catalog: %w", err)
	case n != 1:
		return lost, nil
	}
	return swapped, nil
}
