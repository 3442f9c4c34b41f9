package queries

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cardlake/cardlake"
)

// Config bounds what one statement may cost. The zero value is usable.
type Config struct {
	// Tables are those that may be read; none means cardlake.Tables.
	Tables []*cardlake.Table
	// MaxRows bounds the rows of an answer; 0 means 1,000,000, less than 0 no bound.
	MaxRows int64
	// Timeout bounds the time until the engine answers; 0 means 5 minutes.
	Timeout time.Duration
	// MaxSQL bounds the bytes of a statement; 0 means 64 KiB.
	MaxSQL int
}

func (c Config) withDefaults() Config {
	if len(c.Tables) == 0 {
		c.Tables = cardlake.Tables
	}
	if c.MaxRows == 0 {
		c.MaxRows = 1_000_000
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Minute
	}
	if c.MaxSQL == 0 {
		c.MaxSQL = 64 << 10
	}
	return c
}

// Gateway is the only way to an engine: it checks, bounds and runs statements. It is safe
// for concurrent use if its engine and parser are.
type Gateway struct {
	parser Parser
	engine Engine
	cfg    Config
}

// New returns a gateway to the engine.
func New(parser Parser, engine Engine, cfg Config) *Gateway {
	return &Gateway{parser: parser, engine: engine, cfg: cfg.withDefaults()}
}

// Check parses the statement and checks it against the allow-list without running it. A
// refusal is an [*Error].
func (g *Gateway) Check(ctx context.Context, sql string) (Statement, error) {
	switch {
	case strings.TrimSpace(sql) == "":
		return Statement{}, &Error{Message: "the statement is empty", Offset: -1}
	case len(sql) > g.cfg.MaxSQL:
		return Statement{}, &Error{Message: fmt.Sprintf("the statement has %d bytes, at most %d are allowed", len(sql), g.cfg.MaxSQL), Offset: -1}
	case !utf8.ValidString(sql):
		return Statement{}, &Error{Message: "the statement is not valid UTF-8", Offset: -1}
	case strings.IndexByte(sql, 0) >= 0:
		// A C string ends here: what runs would not be what was checked.
		return Statement{}, &Error{Message: "the statement holds a zero byte", Offset: strings.IndexByte(sql, 0)}
	}
	tree, err := g.parser.Parse(ctx, sql)
	if err != nil {
		return Statement{}, fmt.Errorf("parse statement: %w", err)
	}
	tables, err := check(tree, g.cfg.Tables)
	if err != nil {
		return Statement{}, err
	}
	return Statement{SQL: sql, Tables: tables}, nil
}

// Query checks the statement and runs it. The caller closes the result. A fault of the
// statement is an [*Error].
func (g *Gateway) Query(ctx context.Context, sql string) (*Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, g.cfg.Timeout, ErrTimeout)
	defer cancel()
	s, err := g.Check(ctx, sql)
	if err != nil {
		return nil, g.cause(ctx, err)
	}
	rows, err := g.engine.Query(ctx, s)
	if err != nil {
		return nil, g.cause(ctx, err)
	}
	return &Result{rows: rows, maxRows: g.cfg.MaxRows}, nil
}

// cause names the bound that was hit rather than the interruption that it led to.
func (g *Gateway) cause(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), ErrTimeout):
		return fmt.Errorf("%w: more than %v", ErrTimeout, g.cfg.Timeout)
	}
	return context.Cause(ctx)
}

// Result is the answer to one statement, and implements Rows. It is used by one goroutine.
type Result struct {
	rows    Rows
	maxRows int64
	n       int64
}

// Columns implements Rows.
func (r *Result) Columns() []Column { return r.rows.Columns() }

// Snapshots implements Rows.
func (r *Result) Snapshots() []Snapshot { return r.rows.Snapshots() }

// AsOf is the time of the oldest state that the answer rests on, and false if it rests on
// none.
func (r *Result) AsOf() (time.Time, bool) {
	var oldest time.Time
	for _, s := range r.Snapshots() {
		if at := s.AsOf(); !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return oldest, !oldest.IsZero()
}

// Next implements Rows. After Config.MaxRows rows it returns ErrTooManyRows if there are more.
func (r *Result) Next(row []any) error {
	if err := r.rows.Next(row); err != nil {
		return err
	}
	if r.maxRows > 0 && r.n >= r.maxRows {
		return fmt.Errorf("%w: more than %d; add a LIMIT or an aggregate", ErrTooManyRows, r.maxRows)
	}
	r.n++
	return nil
}

// Count is the number of rows that Next returned so far.
func (r *Result) Count() int64 { return r.n }

// Close frees the answer's memory.
func (r *Result) Close() error { return r.rows.Close() }
