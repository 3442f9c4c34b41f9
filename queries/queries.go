// Package queries answers SQL over the lake's tables. A [Gateway] checks every statement
// on the engine's own parse tree against an allow-list before any engine sees it, asks
// [Permits] what the caller may read of each table it names, and puts the question on record
// before an [Engine] runs it and streams the rows. queries/embedded is the engine that needs
// no server.
//
// The check denies by default: one SELECT statement, over known tables, with known
// functions and nothing else. It is the outer of two walls; an engine is expected to be
// unable to reach files, settings or the network on its own account too.
//
// What is permitted is enforced by construction: a decision ([Read]) goes to the engine with
// the statement, and the engine makes of each table a view that has the permitted columns, as
// they are permitted, of files of permitted tenants. No file of anybody else is opened. What
// is told of a table beside its rows is cut to the decision in one place, [Snapshot.within].
//
// Nothing is answered that is not on record: without the record of the question nothing runs,
// and while rows are delivered the record goes on, and so do grants that are withdrawn. Both
// are looked at every half second at least.
//
// Nothing of zone A is linked here: no key of a card number, no type that can hold one.
package queries

import (
	"context"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Statement is a statement that passed the check.
type Statement struct {
	SQL string // as its author wrote it
	// Tree is its parse tree: the JSON of DuckDB's json_serialize_sql.
	Tree []byte
	// Reads are the tables that the statement and its views read, each once, in order of name.
	Reads []Read
	// Views are those that the statement names and those under them, each after those that it
	// names.
	Views []ViewUse
	// Limits are the tightest of the decisions' bounds. Zero fields mean the engine's own.
	Limits grants.Limits
	// IsVolatile says that the same rows may give another answer another time: it is made of the
	// time, or of chance.
	IsVolatile bool
}

// Read is a table that is read, and what of it.
type Read struct {
	Table *cardlake.Table
	// Decision permits something; it is never the engine's to widen.
	Decision *grants.Decision
	// Uses says of each of Table.Columns whether the statement or a view of it can use it; nil
	// means any.
	Uses []bool
	// IsUnder says that only views of the statement name the table.
	IsUnder bool
	// Filters tell which rows the statement can use: those that meet all conditions of one of
	// the elements. Nil means any row.
	Filters [][]Filter
	// IsPinned says that the table is read in this snapshot and nothing of it beyond, 0 being the
	// state before anything was committed. Otherwise it is read in the newest, with its tail.
	IsPinned bool
	Snapshot int64
}

// Parser turns SQL into the parse tree that the check walks: the JSON of DuckDB's
// json_serialize_sql.
type Parser interface {
	Parse(ctx context.Context, sql string) ([]byte, error)
}

// Engine runs checked statements. A fault of the statement itself is an [*Error]. ctx ends
// when Query returns: the rows must not depend on it.
type Engine interface {
	Query(ctx context.Context, s Statement) (Rows, error)
	// Columns returns the columns that the answer to Query would have.
	Columns(ctx context.Context, s Statement) ([]Column, error)
	// State returns the state in which the table would be read now, without its tail and
	// without reading it.
	State(ctx context.Context, r Read) (Snapshot, error)
}

// Rows are an engine's answer. Close frees what it holds, also after an error.
type Rows interface {
	// Columns describe the rows; the caller does not change them.
	Columns() []Column
	// Snapshots are the states that were read, in the order of Statement.Reads.
	Snapshots() []Snapshot
	// Next fills row, which has one element per column, or returns io.EOF. See [Column]
	// for the elements.
	Next(row []any) error
	Close() error
}

// Column is one column of an answer. Each element of it is nil for NULL, or, by type:
//
//	bool, int8…int64, uint8…uint64, float32, float64   the Go type of the same name
//	decimal128                                         decimal128.Num
//	string                                             string
//	binary                                             []byte
//	date32, time64[us], timestamp of any unit          time.Time in UTC
//	month_day_nano interval                            arrow.MonthDayNanoInterval
//	list                                               []any
//	struct                                             []any, in order of the fields
//	map                                                []any of Entry, in the engine's order
//
// A timestamp with zone "UTC" is an instant, one without zone a reading of a wall clock.
type Column struct {
	Name string
	Type arrow.DataType
}

// Entry is one element of a map value.
type Entry struct{ Key, Value any }

// Snapshot is the state in which a table was read. Counts are of what the decision permits.
// ID and CommittedAt are the whole table's: they tell that somebody's rows were committed, not
// whose or how many.
type Snapshot struct {
	Table *cardlake.Table
	// ID is 0 for a table that nothing was committed to yet.
	ID          int64
	CommittedAt time.Time
	// Files are those that the statement had to read, Bytes what it had to read of them, in
	// Parquet's size, and Rows the rows in them. A state that was not read is told as a whole.
	Files, Bytes, Rows int64

	// Destroyed counts the rows that were not read, by tenant, because the tenant's key was
	// destroyed.
	Destroyed map[cardlake.Tenant]int64

	// Positions say what was read of the streams: every event before them, and none after.
	// They are the snapshot's, or beyond them as far as the tail goes. Like Lacking they are of
	// all tenants' events: whoever is not given the whole table is told neither.
	Positions cardlake.Positions
	// TailRows is how many rows were read beyond the snapshot. ReadAt is when they were asked
	// for; zero for a table that has no tail.
	TailRows int64
	ReadAt   time.Time
	// Lacking are the partitions whose tail could not be had, so that what was read of them
	// ends with the snapshot, or whose tail ends before what this engine has answered already.
	// A partition that has no commit yet is among them only if this engine has answered some
	// of it. TailError says why, if nothing of the tail could be had.
	Lacking   []cardlake.StreamPartition
	TailError error
	// Unanswered says why workers did not answer although others did. Partitions that have no
	// commit yet and only those workers knew are missing, and nobody can name them.
	Unanswered error
	// IsPartial says, to a caller who is told none of the three, that any of them is so.
	IsPartial bool
}

// within returns what of the snapshot may be told to whoever has the decision.
func (s Snapshot) within(d *grants.Decision) Snapshot {
	if len(s.Destroyed) > 0 {
		destroyed := map[cardlake.Tenant]int64{}
		for tenant, rows := range s.Destroyed {
			if d.Scope(tenant) != nil {
				destroyed[tenant] = rows
			}
		}
		s.Destroyed = destroyed
	}
	if !d.IsWhole() {
		s.IsPartial = s.IsPartial || len(s.Lacking) > 0 || s.TailError != nil || s.Unanswered != nil
		s.Positions, s.Lacking, s.TailError, s.Unanswered = nil, nil, nil, nil
	}
	return s
}

// AsOf is an instant by which the lake had at least what was read: when the workers were
// asked, if all answered and nothing was lacking, else when the snapshot was committed. It is
// the lake's state, not the stream's: a worker that lags behind the stream has not taken yet
// what happened before that instant, and its lag is for its own metrics to tell.
func (s Snapshot) AsOf() time.Time {
	if s.ReadAt.IsZero() || s.IsPartial || len(s.Lacking) > 0 || s.TailError != nil || s.Unanswered != nil {
		return s.CommittedAt
	}
	return s.ReadAt
}
