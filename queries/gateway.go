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
	// Views are what callers may name beside them, each after those that it names.
	Views []*View
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
	views    *views
}

// New returns a gateway to the engine.
func New(parser Parser, engine Engine, permits Permits, recorder Recorder, cfg Config) *Gateway {
	return &Gateway{
		parser: parser, engine: engine, permits: permits, recorder: recorder, cfg: cfg.withDefaults(),
		views: &views{all: cfg.Views, checked: map[*View]*viewTree{}},
	}
}

// Check parses the statement and checks it against the allow-list without running it. A
// refusal is an [*Error]. The statement has no decisions: nothing was permitted yet.
func (g *Gateway) Check(ctx context.Context, sql string) (Statement, error) {
	return g.check(ctx, sql, func() []string {
		var names []string
		for _, t := range g.cfg.Tables {
			names = append(names, t.FullName())
		}
		for _, v := range g.cfg.Views {
			names = append(names, v.FullName())
		}
		return names
	})
}

func (g *Gateway) check(ctx context.Context, sql string, near func() []string) (Statement, error) {
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
	if err := growing(sql); err != nil {
		return Statement{}, err
	}
	tree, err := g.parser.Parse(ctx, sql)
	if err != nil {
		return Statement{}, fmt.Errorf("parse statement: %w", err)
	}
	f, err := check(tree, g.cfg.Tables, g.cfg.Views, near)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{SQL: sql, Tree: tree}
	return s, g.expand(ctx, &s, f)
}

// Query checks the statement, records it and runs it. The caller closes the result. A fault of
// the statement is an [*Error]; ErrNotPermitted, ErrUnrecorded and ErrTimeout say why else there
// is no answer.
func (g *Gateway) Query(ctx context.Context, c grants.Caller, sql string) (*Result, error) {
	return g.QueryFor(ctx, c, grants.Query, sql)
}

// QueryFor is [Gateway.Query] for whoever does something else with the answer than to look at
// it: grants.Export takes it away.
func (g *Gateway) QueryFor(ctx context.Context, c grants.Caller, a grants.Action, sql string) (*Result, error) {
	return g.query(ctx, c, a, nil, sql)
}

// query asks of the state that at says; nil means the newest, with its tail.
func (g *Gateway) query(ctx context.Context, c grants.Caller, a grants.Action, at *At, sql string) (*Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, g.cfg.Timeout, ErrTimeout)
	defer cancel()
	line := newLine(c, a, sql)
	s, err := g.prepare(ctx, c, a, sql, line)
	if err == nil && at != nil {
		if err = g.pin(ctx, at, &s); err == nil {
			line.pinned(s)
		}
	}
	if err != nil {
		return nil, g.refuse(ctx, line, cause(ctx, g.cfg.Timeout, err))
	}
	return g.run(ctx, c, s, line, tighter(g.cfg.MaxRows, s.Limits.MaxRows), func(ctx context.Context) (Rows, error) { return g.engine.Query(ctx, s) })
}

// prepare checks the statement and gives its tables their decisions, and tells the line.
func (g *Gateway) prepare(ctx context.Context, c grants.Caller, a grants.Action, sql string, line *line) (Statement, error) {
	s, err := g.check(ctx, sql, func() []string { return g.names(ctx, c) })
	if err != nil {
		return Statement{}, err
	}
	refused := g.permit(c, a, &s)
	line.about(s)
	if refused != nil {
		line.decided(refused)
		return Statement{}, ErrNotPermitted
	}
	return s, nil
}

// Columns returns the columns that the statement's answer would have, without running it. Only
// a refusal is recorded: no row is read.
func (g *Gateway) Columns(ctx context.Context, c grants.Caller, sql string) ([]Column, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, g.cfg.Timeout, ErrTimeout)
	defer cancel()
	line := newLine(c, grants.Query, sql)
	s, err := g.prepare(ctx, c, grants.Query, sql, line)
	if err != nil {
		return nil, g.refuse(ctx, line, cause(ctx, g.cfg.Timeout, err))
	}
	columns, err := g.engine.Columns(ctx, s)
	if err != nil {
		return nil, g.refuse(ctx, line, cause(ctx, g.cfg.Timeout, err))
	}
	return columns, nil
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
