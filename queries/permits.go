package queries

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Permits decides. A grants.Grants is one.
type Permits interface {
	// Decide never returns nil.
	Decide(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision
}

// auditNamespace is that of the tables made of the audit log, which have an action of their own.
const auditNamespace = "audit"

// decide asks what the caller may do with the table. A decision about something else than was
// asked permits nothing.
func (g *Gateway) decide(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	nothing := func(reason string) *grants.Decision {
		return &grants.Decision{Principal: c.Principal, Action: a, Table: t, Reason: reason}
	}
	if t.Namespace == auditNamespace {
		if a != grants.Query {
			return nothing("the audit log is read by SQL only")
		}
		a = grants.ReadAudit
	}
	d := g.permits.Decide(c, a, t)
	switch {
	case d == nil:
		return nothing("no decision")
	case d.Principal != c.Principal || d.Action != a || d.Table != t || !isSound(d):
		refused := nothing("the decision is not of what was asked")
		refused.Version = d.Version
		return refused
	case !d.Until.IsZero() && !time.Now().Before(d.Until):
		refused := nothing("the decision is out of date")
		refused.Version = d.Version
		return refused
	}
	return d
}

// isSound reports whether every scope has an access for every column.
func isSound(d *grants.Decision) bool {
	return !slices.ContainsFunc(d.Scopes, func(s grants.Scope) bool { return len(s.Columns) != len(d.Table.Columns) })
}

// permit gives each table its decision. It returns the first that permits nothing, nil if all
// permit something.
func (g *Gateway) permit(c grants.Caller, a grants.Action, s *Statement) (refused *grants.Decision) {
	for i := range s.Reads {
		d := g.decide(c, a, s.Reads[i].Table)
		if !d.Allowed() {
			return d
		}
		s.Reads[i].Decision = d
		s.Limits = tightest(s.Limits, d.Limits)
	}
	if len(s.Reads) > 0 {
		return nil
	}
	// What reads no table costs time and memory all the same: it is for those who may read any.
	for _, t := range g.cfg.Tables {
		d := g.decide(c, a, t)
		if d.Allowed() {
			s.Limits = d.Limits
			return nil
		}
		refused = cmp.Or(refused, d)
	}
	return refused
}

// permitted are the tables of which the caller may read anything.
func (g *Gateway) permitted(c grants.Caller) []*cardlake.Table {
	var out []*cardlake.Table
	for _, t := range g.cfg.Tables {
		if g.decide(c, grants.Query, t).Allowed() {
			out = append(out, t)
		}
	}
	return out
}

// tightest returns the tighter of each bound.
func tightest(a, b grants.Limits) grants.Limits {
	return grants.Limits{
		MaxRows: tighter(a.MaxRows, b.MaxRows), MaxBytes: tighter(a.MaxBytes, b.MaxBytes),
		Timeout: tighter(a.Timeout, b.Timeout), Memory: tighter(a.Memory, b.Memory),
	}
}

// tighter returns the smaller of two bounds. Whatever is not positive is none.
func tighter[T int64 | time.Duration](a, b T) T {
	if a <= 0 || b > 0 && b < a {
		return max(b, 0)
	}
	return a
}

// covers reports whether a new decision gives all that an old one gave: whether rows that were
// read under the old one may still be delivered.
func covers(now, old *grants.Decision) bool {
	if now == old {
		return true
	}
	gives := func(tenant cardlake.Tenant) bool {
		had, has := old.Scope(tenant), now.Scope(tenant)
		if had == nil {
			return true
		}
		if has == nil {
			return false
		}
		for i, a := range had.Columns {
			if has.Columns[i] < a {
				return false
			}
		}
		return true
	}
	if !gives("") { // and every tenant that neither names
		return false
	}
	for _, d := range []*grants.Decision{now, old} {
		for _, s := range d.Scopes {
			if slices.ContainsFunc(s.Tenants, func(t cardlake.Tenant) bool { return !gives(t) }) {
				return false
			}
		}
		if slices.ContainsFunc(d.Except, func(t cardlake.Tenant) bool { return !gives(t) }) {
			return false
		}
	}
	return true
}

// TableInfo is a table as a caller has it.
type TableInfo struct {
	Table *cardlake.Table
	// Columns are those that are there for the caller.
	Columns []ColumnInfo
	// Snapshot is the table's state, in what Tables returns.
	Snapshot Snapshot
}

// Column returns how the named column is given, Dropped if it is not there.
func (t *TableInfo) Column(name string) grants.Access {
	for _, c := range t.Columns {
		if c.Name == name {
			return c.Access
		}
	}
	return grants.Dropped
}

// ColumnInfo is a column and the most that the caller is given of it: other tenants' rows may
// have it masked, or NULL.
type ColumnInfo struct {
	cardlake.Column
	Access grants.Access
}

func infoOf(d *grants.Decision) TableInfo {
	info := TableInfo{Table: d.Table}
	for i, a := range d.Access() {
		if a != grants.Dropped {
			info.Columns = append(info.Columns, ColumnInfo{d.Table.Columns[i], a})
		}
	}
	return info
}

// Tables returns the tables of which the caller may read anything, with the rows and files
// that the caller may read, in the order of Config.Tables.
func (g *Gateway) Tables(ctx context.Context, c grants.Caller) ([]TableInfo, error) {
	var out []TableInfo
	for _, t := range g.cfg.Tables {
		d := g.decide(c, grants.Query, t)
		if !d.Allowed() {
			continue
		}
		info := infoOf(d)
		s, err := g.engine.State(ctx, Read{Table: t, Decision: d})
		if err != nil {
			return nil, err
		}
		info.Snapshot = s.within(d)
		out = append(out, info)
	}
	if len(out) == 0 {
		return nil, ErrNotPermitted
	}
	return out, nil
}

// Describe returns the named table's columns as the caller has them. A name that is no
// table's is an [*Error]; the names of the tables are in the public data dictionary, and one
// of which the caller may read nothing is ErrNotPermitted.
func (g *Gateway) Describe(ctx context.Context, c grants.Caller, name string) (TableInfo, error) {
	d, err := g.decideNamed(ctx, c, name)
	if err != nil {
		return TableInfo{}, err
	}
	return infoOf(d), nil
}

// decideNamed returns the decision about the named table, which permits something.
func (g *Gateway) decideNamed(ctx context.Context, c grants.Caller, name string) (*grants.Decision, error) {
	i := slices.IndexFunc(g.cfg.Tables, func(t *cardlake.Table) bool { return strings.EqualFold(t.FullName(), name) })
	if i < 0 {
		return nil, noTable(name, g.names(ctx, c), -1)
	}
	d := g.decide(c, grants.Query, g.cfg.Tables[i])
	if !d.Allowed() {
		return nil, ErrNotPermitted
	}
	return d, nil
}

// Session is a gateway as one caller has it.
type Session struct {
	gateway *Gateway
	caller  grants.Caller
}

// As returns the gateway as the caller has it.
func (g *Gateway) As(c grants.Caller) Session { return Session{g, c} }

// Query is [Gateway.Query].
func (s Session) Query(ctx context.Context, sql string) (*Result, error) {
	return s.gateway.Query(ctx, s.caller, sql)
}

// Tables is [Gateway.Tables].
func (s Session) Tables(ctx context.Context) ([]TableInfo, error) {
	return s.gateway.Tables(ctx, s.caller)
}

// Describe is [Gateway.Describe].
func (s Session) Describe(ctx context.Context, name string) (TableInfo, error) {
	return s.gateway.Describe(ctx, s.caller, name)
}

// Views is [Gateway.Views].
func (s Session) Views(ctx context.Context) ([]*View, error) { return s.gateway.Views(ctx, s.caller) }

// DescribeView is [Gateway.DescribeView].
func (s Session) DescribeView(ctx context.Context, name string) (*View, error) {
	return s.gateway.DescribeView(ctx, s.caller, name)
}
