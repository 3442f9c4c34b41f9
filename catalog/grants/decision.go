package grants

import (
	"slices"
	"time"

	"github.com/cardlake/cardlake"
)

// Action is what a principal asks to do.
type Action string

const (
	Query       Action = "query"        // read a table by SQL, or as the dashboard does
	ReadChanges Action = "read_changes" // read what was added between snapshots
	Export      Action = "export"       // take rows away as files
	Subscribe   Action = "subscribe"    // ask for a data product
	Maintain    Action = "maintain"     // compact, expire, retain, erase
	Grant       Action = "grant"        // change who may do what
	Detokenise  Action = "detokenise"   // turn a token back, in zone A
	ReadAudit   Action = "read_audit"   // read the audit log
	RunJobs     Action = "run_jobs"     // compute and publish insights
	Review      Action = "review"       // say of alerts and events whether they are fraud
)

// Actions lists every action.
var Actions = []Action{Query, ReadChanges, Export, Subscribe, Maintain, Grant, Detokenise, ReadAudit, RunJobs, Review}

// Access is how much of a column is given. The zero Access gives nothing.
type Access uint8

const (
	Dropped Access = iota // the column is not there
	Masked                // each value as MaskOf the column gives it
	Clear                 // each value as it is
)

var accessNames = [...]string{"dropped", "masked", "clear"}

func (a Access) String() string { return accessNames[a] }

// Scope is a set of rows that are given alike.
type Scope struct {
	// Tenants are those whose rows are in the scope, in order of name.
	Tenants []cardlake.Tenant
	// Others says that the rows of every tenant that no scope of the decision names, and that
	// Decision.Except does not name, are in it too. Rows of a table that is not one of tenants
	// are given only by a scope that has Others.
	Others bool
	// Columns is the access to each of Decision.Table.Columns, in their order.
	Columns []Access
}

// Limits bound what one request may cost. Zero fields mean the door's own bounds, which they
// never widen.
type Limits struct {
	MaxRows  int64         // rows of an answer
	MaxBytes int64         // bytes of Parquet that may be read for it
	Timeout  time.Duration // until it is there
	Memory   int64         // bytes an engine may work with
}

// Decision says what one principal may do with one table now: the same value at every door.
// The zero Decision permits nothing. It is immutable and safe to share.
type Decision struct {
	Principal Principal
	Action    Action
	Table     *cardlake.Table

	// Scopes are disjoint and never empty of columns; none of them means not permitted.
	Scopes []Scope
	// Except are the tenants that a scope with Others does not reach, in order of name.
	Except []cardlake.Tenant
	Limits Limits

	// Policies are the ids of the policies that decided, in order: those that permit, or, if
	// nothing is permitted, those that forbid.
	Policies []string
	// Reason says for operators why nothing is permitted. It is not for the caller.
	Reason string
	// Version identifies the policies and entities that decided.
	Version string
	// Until is when the decision must be taken anew; zero if only a new Version changes it.
	Until time.Time
	// BreakGlass says that a policy for emergencies is among Policies and permits: the caller
	// asked for it, with a reason, and whoever watches the audit log must see it.
	BreakGlass bool
}

// Allowed reports whether anything is permitted.
func (d *Decision) Allowed() bool { return len(d.Scopes) > 0 }

// Scope returns the scope that the tenant's rows are in, nil if they are in none. The empty
// tenant stands for rows of no tenant.
func (d *Decision) Scope(tenant cardlake.Tenant) *Scope {
	var others *Scope
	for i := range d.Scopes {
		s := &d.Scopes[i]
		if tenant != "" {
			if _, ok := slices.BinarySearch(s.Tenants, tenant); ok {
				return s
			}
		}
		if s.Others {
			others = s
		}
	}
	if _, excepted := slices.BinarySearch(d.Except, tenant); excepted && tenant != "" {
		return nil
	}
	return others
}

// narrow leaves the rows of one tenant, and reports whether any are given.
func (d *Decision) narrow(tenant cardlake.Tenant) bool {
	s := d.Scope(tenant)
	d.Scopes, d.Except = nil, nil
	if s == nil || !d.Table.ByTenant {
		d.Reason = "the caller is narrowed to a tenant of which the table has no rows for it"
		return false
	}
	d.Scopes = []Scope{{Tenants: []cardlake.Tenant{tenant}, Columns: s.Columns}}
	return true
}

// Access returns, for each of Table.Columns, the most that any scope gives: a column that is
// Dropped is not there for the principal, whatever the row. A nil slice means nothing.
func (d *Decision) Access() []Access {
	if !d.Allowed() {
		return nil
	}
	most := make([]Access, len(d.Table.Columns))
	for _, s := range d.Scopes {
		for i, a := range s.Columns {
			most[i] = max(most[i], a)
		}
	}
	return most
}

// IsWhole reports whether every row of the table is given: the decision does not depend on
// the tenant. Only then may totals of the whole table be told, such as stream positions.
func (d *Decision) IsWhole() bool {
	return len(d.Except) == 0 && slices.ContainsFunc(d.Scopes, func(s Scope) bool { return s.Others })
}
