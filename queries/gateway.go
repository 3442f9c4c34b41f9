package queries

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Config bounds what one statement may cost. The zero value is usable. The limits of a grant
// tighten these, and never widen them.
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

// Gateway is the only way to an engine: it checks, permits, records, bounds and runs
// statements. It is safe for concurrent use if what it was made of is.
type Gateway struct {
	parser   Parser
	engine   Engine
	permits  Permits
	recorder Recorder
	cfg      Config
}

// New returns a gateway to the engine.
func New(parser Parser, engine Engine, permits Permits, recorder Recorder, cfg Config) *Gateway {
	return &Gateway{parser: parser, engine: engine, permits: permits, recorder: recorder, cfg: cfg.withDefaults()}
}

// Check parses the statement and checks it against the allow-list without running it. A
// refusal is an [*Error]. The statement has no decisions: nothing was permitted yet.
func (g *Gateway) Check(ctx context.Context, sql string) (Statement, error) {
	s, _, err := g.check(ctx, sql, func() []*cardlake.Table { return g.cfg.Tables })
	return s, err
}

func (g *Gateway) check(ctx context.Context, sql string, near func() []*cardlake.Table) (Statement, *found, error) {
	switch {
	case strings.TrimSpace(sql) == "":
		return Statement{}, nil, &Error{Message: "the statement is empty", Offset: -1}
	case len(sql) > g.cfg.MaxSQL:
		return Statement{}, nil, &Error{Message: fmt.Sprintf("the statement has %d bytes, at most %d are allowed", len(sql), g.cfg.MaxSQL), Offset: -1}
	case !utf8.ValidString(sql):
		return Statement{}, nil, &Error{Message: "the statement is not valid UTF-8", Offset: -1}
	case strings.IndexByte(sql, 0) >= 0:
		// A C string ends here: what runs would not be what was checked.
		return Statement{}, nil, &Error{Message: "the statement holds a zero byte", Offset: strings.IndexByte(sql, 0)}
	}
	if err := growing(sql); err != nil {
		return Statement{}, nil, err
	}
	tree, err := g.parser.Parse(ctx, sql)
	if err != nil {
		return Statement{}, nil, fmt.Errorf("parse statement: %w", err)
	}
	f, err := check(tree, g.cfg.Tables, near)
	if err != nil {
		return Statement{}, nil, err
	}
	s := Statement{SQL: sql, Reads: make([]Read, len(f.tables))}
	for i, t := range f.tables {
		s.Reads[i].Table = t
	}
	return s, f, nil
}

// Query checks the statement, records it and runs it. The caller closes the result. A fault of
// the statement is an [*Error]; ErrNotPermitted, ErrUnrecorded and ErrTimeout say why else there
// is no answer.
func (g *Gateway) Query(ctx context.Context, c grants.Caller, sql string) (*Result, error) {
	limit := g.cfg.Timeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, ErrTimeout)
	defer cancel()
	line := newLine(c, sql)
	s, f, err := g.check(ctx, sql, func() []*cardlake.Table { return g.permitted(c) })
	if err != nil {
		return nil, g.refuse(ctx, line, cause(ctx, limit, err))
	}
	refused := g.permit(c, &s)
	line.about(s, f)
	if refused != nil {
		line.decided(refused)
		return nil, g.refuse(ctx, line, ErrNotPermitted)
	}
	limit = tighter(limit, s.Limits.Timeout)
	ctx, cancel = context.WithTimeoutCause(ctx, limit, ErrTimeout)
	defer cancel()
	if err := g.record(ctx, line.asked()); err != nil {
		return nil, err
	}
	recorded := time.Now()
	rows, err := g.engine.Query(ctx, s)
	if err != nil {
		err = cause(ctx, limit, err)
		if unrecorded := g.recordLate(ctx, line.failed(err, 0)); unrecorded != nil {
			return nil, unrecorded
		}
		return nil, err
	}
	maxRows := tighter(g.cfg.MaxRows, s.Limits.MaxRows)
	r := &Result{gateway: g, caller: c, reads: s.Reads, line: line, rows: rows, maxRows: maxRows, looked: recorded}
	for i, snapshot := range rows.Snapshots() {
		r.snapshots = append(r.snapshots, snapshot.within(s.Reads[i].Decision))
	}
	return r, nil
}

// refuse records that the statement was refused, or could not be looked at, and returns why.
func (g *Gateway) refuse(ctx context.Context, line *line, err error) error {
	if unrecorded := g.recordLate(ctx, line.refused(err)); unrecorded != nil {
		return unrecorded
	}
	return err
}

// cause names the bound that was hit rather than the interruption that it led to.
func cause(ctx context.Context, limit time.Duration, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), ErrTimeout):
		return fmt.Errorf("%w: more than %v", ErrTimeout, limit)
	}
	return context.Cause(ctx)
}
