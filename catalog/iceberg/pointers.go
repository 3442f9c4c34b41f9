package iceberg

import (
	"context"

	"github.com/cardlake/cardlake"
)

// pointers name each table's newest metadata object: rows of a database or tables of AWS
// Glue. None of the methods repeats a call whose outcome it does not know.
type pointers interface {
	// load returns the location of the table's metadata, ErrNoTable if there is no such table.
	load(ctx context.Context, def *cardlake.Table) (location string, err error)
	// create adds the table, whose data lie at root, and its namespace. A table that is
	// already there stays as it is: created is then false. An error does not tell.
	create(ctx context.Context, def *cardlake.Table, root, location string) (created bool, err error)
	// swap moves the table's pointer if it still names from: swapped with a nil error, when
	// the move is durable; lost with a nil error, when the pointer was elsewhere; or failed
	// or unknown with the error.
	swap(ctx context.Context, def *cardlake.Table, from, to string) (outcome, error)
	Close() error
}
