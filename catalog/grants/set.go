package grants

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// Tenants is the register of tenants; *catalog.Tenants is one.
type Tenants interface {
	All() []catalog.TenantRecord
}

// auditTable is the table of the audit log, for which there is the action ReadAudit.
const auditTable = "audit.events"

// tags are the tags of columns that may be granted. A column of another tag is never given.
var tags = []cardlake.Tag{cardlake.Public, cardlake.Identifier, cardlake.TruncatedPAN, cardlake.MoneyTag, cardlake.Lineage, cardlake.Sealed}

// Set is one loaded and validated set of grants, with what the register said of the tenants
// when it was loaded. It never changes; it is safe for concurrent use.
type Set struct {
	version     string
	commit      string
	development bool

	principals map[Principal]*Account
	subjects   map[string]Principal
	personas   map[Kind]Limits
	policies   []*Policy // of the folder, then the built-in ones
	byID       map[string]*Policy
	tenants    []catalog.TenantRecord // by name
	entities   cedar.EntityMap        // all but slices
	actions    map[Action]cedar.Entity

	memo memo
}

// Load reads the folder of a set: cardlake.cedarschema (optional), principals.json and
// policies/*.cedar. A set that is wrong anywhere does not load: the error is Faults then, all
// of them.
func Load(dir string, tenants Tenants) (*Set, error) {
	s, err := readSource(dir)
	if err != nil {
		return nil, err
	}
	set, err := build(s, registered(tenants))
	if err != nil {
		return nil, err
	}
	set.commit = commitOf(dir)
	return set, nil
}

// registered returns the tenants of the register, by name.
func registered(t Tenants) []catalog.TenantRecord {
	return slices.SortedFunc(slices.Values(t.All()), func(a, b catalog.TenantRecord) int {
		return strings.Compare(string(a.Name), string(b.Name))
	})
}

// closed returns the records, by name, with those from before that they lack as off-boarded: a
// tenant that is suspended must not become one that nobody knows when the register loses it.
func closed(records, before []catalog.TenantRecord) []catalog.TenantRecord {
	byName := func(a, b catalog.TenantRecord) int { return strings.Compare(string(a.Name), string(b.Name)) }
	out := slices.Clone(records)
	for _, r := range before {
		if _, ok := slices.BinarySearchFunc(records, r, byName); !ok {
			r.Status = catalog.TenantOffboarded
			out = append(out, r)
		}
	}
	slices.SortFunc(out, byName)
	return out
}

// build makes a set of a source and the tenants, which are in order of name.
func build(s source, records []catalog.TenantRecord) (*Set, error) {
	var faults Faults
	set := &Set{
		version:    version(s, records),
		principals: map[Principal]*Account{},
		subjects:   map[string]Principal{},
		byID:       map[string]*Policy{},
		tenants:    records,
		entities:   cedar.EntityMap{},
		actions:    map[Action]cedar.Entity{},
	}
	needed := parseSchema(schemaFile, []byte(embeddedSchema), &faults)
	use := needed
	if text := s.find(schemaFile); text != nil {
		if use = parseSchema(schemaFile, text, &faults); use != nil {
			conforms(use, needed, &faults)
		}
	}
	if use == nil || len(faults) > 0 {
		return nil, faults.err()
	}

	known := map[cardlake.Tenant]bool{}
	for _, t := range records {
		known[t.Name] = true
		set.addEntity(tenantUID(t.Name), nil, cedar.RecordMap{
			"country": types.String(t.Country), "currency": types.String(t.Currency), "status": types.String(statusOf(t)),
		})
	}
	a := readAccounts(s.find(principalsFile), known, &faults)
	set.development, set.personas = a.development, a.personas
	set.addAccounts(a)
	for uid, action := range use.Actions {
		set.entities[uid] = action.Entity
	}
	for action, uid := range actionUIDs() {
		set.actions[action] = set.entities[uid]
	}

	v := vocabulary{entities: map[types.EntityUID]bool{tenantUID(""): true, tableUID(auditTable): true}}
	for uid := range set.entities {
		v.entities[uid] = true
	}
	for _, t := range cardlake.Tables {
		v.entities[tableUID(t.FullName())] = true
	}
	set.readPolicies(s, use, v, &faults)
	set.validateEntities(use, &faults)
	if err := faults.err(); err != nil {
		return nil, err
	}
	return set, nil
}

func (s *Set) addEntity(uid types.EntityUID, parents []types.EntityUID, attributes cedar.RecordMap) {
	s.entities[uid] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(parents...), Attributes: cedar.NewRecord(attributes)}
}

// addAccounts makes the entities of principals, personas and teams.
func (s *Set) addAccounts(a *accounts) {
	for _, kind := range Kinds {
		attributes := cedar.RecordMap{}
		if l, ok := a.personas[kind]; ok {
			attributes["limits"] = l.record()
		}
		s.addEntity(types.NewEntityUID(personaType, types.String(kind)), nil, attributes)
	}
	for _, team := range a.teams {
		s.addEntity(types.NewEntityUID(teamType, types.String(team)), nil, nil)
	}
	for _, x := range a.list {
		parents := []types.EntityUID{types.NewEntityUID(personaType, types.String(x.Principal.Kind))}
		for _, team := range x.Teams {
			parents = append(parents, types.NewEntityUID(teamType, types.String(team)))
		}
		attributes := x.attributes
		if attributes == nil {
			attributes = cedar.RecordMap{}
		}
		attributes["persona"] = types.String(x.Principal.Kind)
		attributes["service"] = types.Boolean(x.IsService)
		if x.Tenant != "" {
			attributes["tenant"] = tenantUID(x.Tenant)
		}
		if !x.ValidFrom.IsZero() {
			attributes["valid_from"] = types.NewDatetime(x.ValidFrom)
		}
		if !x.ValidUntil.IsZero() {
			attributes["valid_until"] = types.NewDatetime(x.ValidUntil)
		}
		if x.Limits != (Limits{}) {
			attributes["limits"] = x.Limits.record()
		}
		s.addEntity(principalUID(x.Principal), parents, attributes)
		s.principals[x.Principal] = x
		for _, subject := range x.Subjects {
			s.subjects[subject] = x.Principal
		}
	}
}

// readPolicies parses and checks the policies of the source and the built-in ones.
func (s *Set) readPolicies(src source, use *resolved.Schema, v vocabulary, faults *Faults) {
	validator := validate.New(use, validate.WithStrict())
	for _, f := range append(src.policies(), file{builtinFile, []byte(builtinPolicies)}) {
		for _, p := range readPolicies(f, faults) {
			if err := validator.Policy("", p.ast()); err != nil {
				for line := range strings.Lines(err.Error()) {
					faults.add(p.File, p.Line, "%s", strings.TrimSpace(line))
				}
			}
			rules(p, v, faults)
			if strings.HasPrefix(p.ID, "builtin.") && p.File != builtinFile {
				faults.add(p.File, p.Line, "@id begins with \"builtin.\", as only those of the program do")
			}
			if other, ok := s.byID[p.ID]; ok {
				faults.add(p.File, p.Line, "@id %s is that of %s too", p.ID, other.Place())
			}
			s.byID[p.ID] = p
			s.policies = append(s.policies, p)
		}
	}
}

// validateEntities checks every entity against the schema: the attributes of principals are
// the folder's own.
func (s *Set) validateEntities(use *resolved.Schema, faults *Faults) {
	validator := validate.New(use)
	for p, account := range s.principals {
		if err := validator.Entity(s.entities[principalUID(p)]); err != nil {
			faults.add(principalsFile, account.line, "%s: does not fit Lake::Principal of %s: %v", p, schemaFile, err)
		}
	}
	for uid, e := range s.entities {
		if uid.Type != principalType {
			if err := validator.Entity(e); err != nil {
				faults.add(schemaFile, 0, "%s: %v", uid, err)
			}
		}
	}
}

// record is the limits as an attribute.
func (l Limits) record() cedar.Record {
	r := cedar.RecordMap{}
	for name, value := range map[types.String]int64{
		"max_rows": l.MaxRows, "max_bytes": l.MaxBytes, "timeout_ms": l.Timeout.Milliseconds(), "memory": l.Memory,
	} {
		if value > 0 {
			r[name] = types.Long(value)
		}
	}
	return cedar.NewRecord(r)
}

func principalUID(p Principal) types.EntityUID {
	return types.NewEntityUID(principalType, types.String(p.String()))
}

func tenantUID(t cardlake.Tenant) types.EntityUID {
	return types.NewEntityUID(tenantType, types.String(t))
}

func tableUID(name string) types.EntityUID { return types.NewEntityUID(tableType, types.String(name)) }

func actionUIDs() map[Action]types.EntityUID {
	out := map[Action]types.EntityUID{}
	for _, a := range Actions {
		out[a] = types.NewEntityUID(actionType, types.String(a))
	}
	return out
}

// Version identifies the set: a SHA-256, spelled in the letters a to p, over its files, what
// is compiled in, and the tenants as they were when it was loaded.
func (s *Set) Version() string { return s.version }

// Commit is the git commit that is checked out where the set's folder is, abbreviated; empty
// if there is none. The files may differ from it: Version is what identifies them.
func (s *Set) Commit() string { return s.commit }

// Principals returns every account, by principal.
func (s *Set) Principals() []Account {
	out := make([]Account, 0, len(s.principals))
	for _, a := range s.principals {
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b Account) int { return strings.Compare(a.Principal.String(), b.Principal.String()) })
	return out
}

// PrincipalOf returns the principal that a sign-in subject is. It says nothing of what the
// principal may do, nor whether it is still valid.
func (s *Set) PrincipalOf(subject string) (Principal, bool) {
	p, ok := s.subjects[subject]
	return p, ok
}

// Policies returns every policy in order of file and line, the built-in ones last.
func (s *Set) Policies() []*Policy { return slices.Clone(s.policies) }

// Policy returns the policy of the id, nil if there is none.
func (s *Set) Policy(id string) *Policy { return s.byID[id] }

// Production returns what forbids to use the set in production, nil if nothing does: principals
// for trying out, and what a reviewer must be able to see (PCI DSS 4.0.1 requirements 7.2.4,
// 7.2.5.1 and 8.2.1).
func (s *Set) Production(now time.Time) error {
	faults := s.trial()
	for _, a := range s.principals {
		fault := func(format string, args ...any) { faults.add(principalsFile, a.line, format, args...) }
		if len(a.Subjects) == 0 {
			fault("%s: has no subject, so nobody can sign in as it: give one, or remove it", a.Principal)
		}
		if a.reviewDue(now) {
			fault("%s: was not reviewed in the last six months, or reviewed lies ahead: look at \"cardlake grants report\" and set the day", a.Principal)
		}
	}
	for _, p := range s.policies {
		if p.Annotations["id"] == "" || p.Description == "" {
			faults.add(p.File, p.Line, "has no @id or no @description: a reviewer must know which it is, and what for")
		}
	}
	return faults.err()
}

// trial are the faults of a set for trying out.
func (s *Set) trial() (faults Faults) {
	if s.development {
		faults.add(principalsFile, 0, "\"development\" is true: the set is for trying out on one machine")
	}
	for _, a := range s.principals {
		if a.Principal.Name == "local" {
			faults.add(principalsFile, a.line, "%s: is for trying out on one machine: name the person or the service", a.Principal)
		}
	}
	return faults
}

// statusOf is the tenant's status in policies.
func statusOf(t catalog.TenantRecord) string {
	return string(cmp.Or(t.Status, catalog.TenantActive))
}

func (s *Set) place(ids []string) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id
		if p := s.byID[id]; p != nil && p.ID != p.Place() {
			out[i] = fmt.Sprintf("%s (%s)", id, p.Place())
		}
	}
	return strings.Join(out, ", ")
}
