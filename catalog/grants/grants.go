// Package grants decides who may do what in the lake: one [Decision] for a principal, an action
// and a table, which every door enforces as it is.
//
// # Model
//
// Grants are Cedar policies (docs.cedarpolicy.com; "Authorization" there has the rules of
// evaluation) in a folder, beside the principals they are about:
//
//	principals.json        who there is: kind, owner, sign-in subjects, tenant, validity, review
//	policies/*.cedar       who may do what
//	cardlake.cedarschema   the words of policies; optional, may add attributes to principals
//
// A policy speaks of a principal (Lake::Principal, in a Lake::Persona and any Lake::Team), an
// action, and a slice: the columns of one tag in the rows of one tenant of one table, each
// value clear or masked.
//
//	@id("fraud.brazil")
//	@description("The fraud team sees amounts of Brazilian tenants until the end of the year.")
//	permit (
//	  principal in Lake::Team::"fraud",
//	  action == Lake::Action::"query",
//	  resource in Lake::Table::"cards.transactions"
//	)
//	when {
//	  ["public", "money"].contains(resource.tag) &&
//	  resource.tenant.country == "BR" &&
//	  context.now < datetime("2027-01-01T00:00:00Z")
//	};
//
// What no policy permits is denied, and a forbid overrides every permit. Beyond Cedar:
//   - A permit that does not mention resource.access gives clear values; one with
//     resource.access == "masked" gives masked ones. Forbidding masked forbids clear.
//   - A forbid that cannot be evaluated forbids; Cedar would pass over it.
//   - Lake::Tenant::"" stands for rows of no tenant and of tenants that the register does not
//     know. It has no attributes, so what depends on a tenant's country or status is not given
//     there. A tenant that the register had and has no more is taken for off-boarded.
//   - Some forbids are compiled in (builtin.cedar): sealed columns, suspended and off-boarded
//     tenants, a tenant's principals beyond their tenant, principals that are not valid,
//     detokenising without a second factor, emergencies without a reason.
//
// # Loading
//
// A set is right as a whole or does not load. Policies are validated against the schema in
// strict mode, and every entity, tag, status and persona that they name must exist: a misspelt
// word would be a policy that never applies. The time may only be compared with literals, so
// that it is known when a decision ends; a policy for emergencies must ask for
// context.break_glass and a reason, and must end. [Grants] take a changed folder over when it
// was the same for one interval, and keep the last good set whatever happens to the folder. Of
// the register of tenants they heed each change, even while the folder is wrong.
//
// # Speed and memory
//
// Decisions are remembered by all that they depend on (principal, action, table, factors,
// emergency) until the next instant that a policy names, in two generations of at most 1024.
// One that is not remembered is evaluated for each class of tenants that policies cannot tell
// apart, not for each tenant.
//
// Neither decisions nor errors hold data of the lake. Reasons are for operators: a caller is
// told "not permitted" and no more.
package grants

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// Config is how [Grants] are kept.
type Config struct {
	// Interval is how often the folder and the register of tenants are looked at, at most;
	// default 2 s.
	Interval time.Duration
	// Production refuses sets for trying out, as [Init] makes them. What else [Set.Production]
	// finds fault with does not keep a set from loading: an overdue review must not keep a
	// withdrawn permission in force.
	Production bool
	// Logger is told of sets that loaded and that did not; default none.
	Logger *slog.Logger
	// Changed is told of each set that comes into force after the first, so that the change can
	// be put on record; default nobody. It is called by who asked the Grants, and must not ask
	// them itself.
	Changed func(before, after *Set)
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Grants hold the newest good set of a folder. They look at the folder and at the register by
// themselves, when they are asked and Interval has passed. It is safe for concurrent use.
type Grants struct {
	dir     string
	tenants Tenants
	cfg     Config

	set  atomic.Pointer[Set]
	next atomic.Int64 // when to look again, in nanoseconds since 1970
	err  atomic.Pointer[error]

	mu      sync.Mutex // held by who looks
	good    source     // of set
	pending string     // version of a folder that differs, as it was seen last
	refused string     // version of a folder that did not load
}

// Open loads the set of a folder. A set that is wrong does not open.
func Open(dir string, tenants Tenants, cfg Config) (*Grants, error) {
	cfg.Interval = cmp.Or(cfg.Interval, 2*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	g := &Grants{dir: dir, tenants: tenants, cfg: cfg}
	s, err := readSource(dir)
	if err != nil {
		return nil, err
	}
	set, err := g.build(s, registered(tenants))
	if err != nil {
		return nil, err
	}
	g.good = s
	g.set.Store(set)
	g.next.Store(cfg.Now().Add(cfg.Interval).UnixNano())
	return g, nil
}

func (g *Grants) build(s source, records []catalog.TenantRecord) (*Set, error) {
	set, err := build(s, records)
	if err != nil {
		return nil, err
	}
	set.commit = commitOf(g.dir)
	if g.cfg.Production {
		if err := set.trial().err(); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// Decide is [Set.Decide] of the newest set, now.
func (g *Grants) Decide(c Caller, a Action, t *cardlake.Table) *Decision {
	return g.Set().Decide(c, a, t, g.cfg.Now())
}

// Permitted is [Set.Permitted] of the newest set, now.
func (g *Grants) Permitted(c Caller, a Action) *Ruling {
	return g.Set().Permitted(c, a, g.cfg.Now())
}

// PrincipalOf is [Set.PrincipalOf] of the newest set.
func (g *Grants) PrincipalOf(subject string) (Principal, bool) { return g.Set().PrincipalOf(subject) }

// Set returns the newest good set, after a look at the folder if it is time for one. While one
// caller looks, the others go on with the set that there is.
func (g *Grants) Set() *Set {
	if now := g.cfg.Now().UnixNano(); now >= g.next.Load() && g.mu.TryLock() {
		g.look(true)
		g.next.Store(now + int64(g.cfg.Interval))
		g.mu.Unlock()
	}
	return g.set.Load()
}

// Reload looks at the folder at once and returns why the set that is there now did not load,
// nil if it did or is loaded already. Set then returns the last good one.
func (g *Grants) Reload() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.look(false)
	return g.Err()
}

// Err returns why what is in the folder now is not loaded, nil if it is.
func (g *Grants) Err() error {
	if err := g.err.Load(); err != nil {
		return *err
	}
	return nil
}

// look loads what is in the folder if it differs from the set, and takes over what the register
// says now, which is heeded even while the folder is wrong. A folder that is being written may
// read as a good set without its last forbids; unless it is asked for at once, a set is
// therefore loaded only when it was found the same twice, an Interval apart.
func (g *Grants) look(settle bool) {
	records := closed(registered(g.tenants), g.set.Load().tenants)
	s, err := readSource(g.dir)
	if err != nil {
		g.fail("", err)
	} else if v := version(s, nil); v == version(g.good, nil) {
		g.pending, g.refused = "", ""
		g.err.Store(nil)
	} else if settle && v != g.pending {
		g.pending = v
	} else if v != g.refused {
		set, err := g.build(s, records)
		if err == nil {
			g.good, g.pending, g.refused = s, "", ""
			g.replace(set)
			g.err.Store(nil)
			g.cfg.Logger.LogAttrs(context.Background(), slog.LevelInfo, "grants loaded", slog.String("version", set.version), slog.String("commit", set.commit))
			return
		}
		g.fail(v, err)
	}
	if version(g.good, records) == g.set.Load().version {
		return
	}
	set, err := g.build(g.good, records)
	if err != nil {
		g.fail("", errors.Join(errors.New("the register of tenants changed and the grants no longer fit it"), err))
		return
	}
	g.replace(set)
	g.cfg.Logger.LogAttrs(context.Background(), slog.LevelInfo, "grants follow the register of tenants", slog.String("version", set.version))
}

// replace puts a set into force.
func (g *Grants) replace(set *Set) {
	before := g.set.Swap(set)
	if g.cfg.Changed != nil {
		g.cfg.Changed(before, set)
	}
}

// fail keeps the error and tells it once.
func (g *Grants) fail(refused string, err error) {
	g.refused = refused
	if before := g.Err(); before == nil || before.Error() != err.Error() {
		g.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "grants do not load, the last good set stays", slog.Any("error", err), slog.String("version", g.set.Load().version))
	}
	g.err.Store(&err)
}
