package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/scan"
)

// source is the rows of one attempt of a job.
type source struct {
	*queries.Result
	given   []Given
	planned int64
}

// open asks the gateway for the job's rows, under decisions that are narrowed to its tenant.
func (s *Service) open(ctx context.Context, j *Job) (*source, error) {
	permits := queries.Narrow(s.deps.Permits, j.Tenant)
	gateway := s.deps.Gateway(permits)
	if j.Request.SQL != "" {
		return openStatement(ctx, gateway, permits, j)
	}
	out := &source{}
	var err error
	out.Result, err = gateway.Scan(ctx, j.Caller, queries.Scan{Action: grants.Export, Table: j.Request.Table, What: j.Request.what()},
		func(ctx context.Context, r queries.Read) (queries.Rows, error) {
			snapshot, files, err := s.deps.Planner.Plan(ctx, r.Table)
			if err != nil {
				return nil, fmt.Errorf("plan %s: %w", r.Table.FullName(), err)
			}
			rows, err := scan.Open(ctx, s.deps.Lake, r, files, scan.Config{
				Columns: j.Request.Columns, Tenants: []cardlake.Tenant{j.Tenant},
				Since: j.Request.From, Until: j.Request.To, Snapshot: snapshot,
			})
			if err != nil {
				return nil, err
			}
			names := map[string]bool{}
			for _, c := range rows.Columns() {
				names[c.Name] = true
			}
			out.given = []Given{givenOf(r.Decision, func(i int) bool { return names[r.Table.Columns[i].Name] })}
			return rows, nil
		})
	if err != nil {
		return nil, err
	}
	out.planned = out.Snapshots()[0].Rows
	return out, nil
}

func openStatement(ctx context.Context, gateway *queries.Gateway, permits queries.Permits, j *Job) (*source, error) {
	statement, err := gateway.Check(ctx, j.Request.SQL)
	if err != nil {
		return nil, err
	}
	out := &source{}
	if out.Result, err = gateway.QueryFor(ctx, j.Caller, grants.Export, j.Request.SQL); err != nil {
		return nil, err
	}
	// Asked after the answer: what is given now is at least what was read, or the rows end.
	for _, r := range statement.Reads {
		d := permits.Decide(j.Caller, grants.Export, r.Table)
		if d == nil || !d.Allowed() {
			return nil, errors.Join(queries.ErrNotPermitted, out.Close())
		}
		out.given = append(out.given, givenOf(d, func(i int) bool { return r.Uses == nil || r.Uses[i] }))
	}
	return out, nil
}

// destroyed returns an error if rows were left out because their key is no more: a file without
// them must not pass for a whole one.
func (s *source) destroyed() error {
	for _, snapshot := range s.Snapshots() {
		for _, tenant := range slices.Sorted(maps.Keys(snapshot.Destroyed)) {
			return fmt.Errorf("rows of %s in %s: %w", tenant, snapshot.Table.FullName(), keys.ErrDestroyed)
		}
	}
	return nil
}

// part is the rows of one file: those of the source until the file is full. It implements
// queries.Rows.
type part struct {
	columns []queries.Column
	from    queries.Rows
	// isFull is asked before each row; tick after it.
	isFull func(rows int64) bool
	tick   func() error
	guard  []int // columns whose texts are guarded

	ahead   []any // the first row, which was read to see that there is one
	rows    int64
	guarded int64
	isLast  bool // there is no row after the part's
}

// Columns implements queries.Rows.
func (p *part) Columns() []queries.Column { return p.columns }

// Snapshots implements queries.Rows.
func (p *part) Snapshots() []queries.Snapshot { return nil }

// Close implements queries.Rows; the source stays open.
func (p *part) Close() error { return nil }

// Next implements queries.Rows.
func (p *part) Next(row []any) error {
	switch {
	case p.ahead != nil:
		copy(row, p.ahead)
		p.ahead = nil
	case p.isFull(p.rows):
		return io.EOF
	default:
		if err := p.from.Next(row); err != nil {
			p.isLast = errors.Is(err, io.EOF)
			return err
		}
	}
	p.rows++
	for _, i := range p.guard {
		if s, ok := row[i].(string); ok {
			if safe := guarded(s); len(safe) != len(s) {
				row[i] = safe
				p.guarded++
			}
		}
	}
	return p.tick()
}

// separators are what a spreadsheet may begin a cell behind: with the comma as its decimal point,
// as in Brazil and Colombia, it takes the semicolon to separate cells, and quotes and line breaks
// inside of what it then finds are not those of a field (OWASP, "CSV Injection").
const separators = ";\t\r\n\""

// guarded returns the text with an apostrophe before each place at which a spreadsheet might begin
// a cell with a formula.
func guarded(s string) string {
	if strings.IndexAny(s, separators) < 0 {
		if isFormula(s) {
			return "'" + s
		}
		return s
	}
	var b strings.Builder
	begin := true
	for i := range len(s) {
		isSeparator := strings.IndexByte(separators, s[i]) >= 0
		if begin && isFormula(s[i:]) && (i == 0 || !isSeparator) {
			b.WriteByte('\'')
		}
		begin = isSeparator
		b.WriteByte(s[i])
	}
	return b.String()
}

// isFormula reports whether a spreadsheet may take a text of a CSV file for a formula (OWASP,
// "CSV Injection": = + - @, tab, carriage return, and line feed besides, and the full-width forms
// that some programs take alike).
func isFormula(s string) bool {
	if s == "" {
		return false
	}
	if c := s[0]; c < 0x80 {
		return c == '=' || c == '+' || c == '-' || c == '@' || c == '\t' || c == '\r' || c == '\n'
	}
	return strings.HasPrefix(s, "＝") || strings.HasPrefix(s, "＋") || strings.HasPrefix(s, "－") || strings.HasPrefix(s, "＠")
}

// state is what is told of a table's state in the manifest.
type state struct {
	Table       string    `json:"table"`
	Snapshot    int64     `json:"snapshot_id,string"`
	CommittedAt time.Time `json:"committed_at,omitzero"`
	// Positions are told only to who is given the whole table; an export is of one tenant.
	Positions cardlake.Positions `json:"positions,omitempty"`
}
