package lakeformation

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/lakeformation/types"
)

// desired is the state that the decisions ask for.
func (a *Account) desired(c *compiled) (*state, error) {
	s := newState()
	s.add(a.defaults(true))
	s.add(a.location(a.mapping.DataAccessRole, false))
	boundary, err := a.mapping.boundary().text()
	if err != nil {
		return nil, fmt.Errorf("compile the permissions boundary: %w", err)
	}
	s.add(a.policy(boundaryName, boundary, "", c.version))
	for _, r := range c.readers {
		role := r.role.ARN
		s.add(a.bound(role))
		if len(r.filters) == 0 {
			continue
		}
		databases := map[string]bool{}
		for _, f := range r.filters {
			s.add(because(a.filter(f, ""), f.why))
			s.add(because(a.permission(a.filterGrant(role, f.table.Namespace, f.table.Name, f.name)), f.why))
			if database := f.table.Namespace; !databases[database] {
				databases[database] = true
				s.add(because(a.permission(a.databaseGrant(role, database)), r.why))
			}
		}
		text, err := a.mapping.readerPolicy(&r).text()
		if err != nil {
			return nil, fmt.Errorf("compile the policy of %s: %w", r.principal, err)
		}
		name := ours + string(r.principal.Kind) + "-" + r.principal.Name
		s.add(because(a.policy(name, text, role, c.version), r.why))
		s.add(because(a.attachment(name, entity{"role", roleName(role)}), r.why))
	}
	for _, o := range c.owners {
		for _, g := range a.mapping.grantsOf(o, a.keys) {
			s.add(because(a.keyGrant(g), o.why))
		}
	}
	return s, nil
}

func because(i *item, why []string) *item {
	i.why = why
	return i
}

// filter is a data cells filter, there in a version if it is not empty.
func (a *Account) filter(f filter, version string) *item {
	return &item{
		id: "filter " + f.table.FullName() + "/" + f.name, text: filterText(f.columns, f.rows), version: version, filter: &f,
		makeAt: stepMake, endAt: stepDrop,
		make: func(ctx context.Context) error { return a.createFilter(ctx, f) },
		end:  func(ctx context.Context) error { return a.deleteFilter(ctx, f) },
		change: func(ctx context.Context, old *item) error {
			return a.updateFilter(ctx, f, old.version)
		},
		changeAt: func(old *item) step {
			switch {
			case f.within(old.filter):
				return stepNarrow
			case old.filter.within(&f):
				return stepWiden
			}
			return stepReplace
		},
	}
}

// filterGrant lets a role select what a filter gives.
func (a *Account) filterGrant(role, database, table, filter string) permission {
	return permission{
		principal: role, name: "filter " + database + "." + table + "/" + filter, allowed: []types.Permission{types.PermissionSelect},
		resource: &types.Resource{DataCellsFilter: &types.DataCellsFilterResource{
			TableCatalogId: &a.mapping.Account, DatabaseName: &database, TableName: &table, Name: &filter,
		}},
	}
}

// databaseGrant lets a role find a database, which a grant on a single table does not imply.
func (a *Account) databaseGrant(role, database string) permission {
	return permission{
		principal: role, name: "database " + database, allowed: []types.Permission{types.PermissionDescribe},
		resource: &types.Resource{Database: &types.DatabaseResource{CatalogId: &a.mapping.Account, Name: &database}},
	}
}

// permission is a grant of Lake Formation.
func (a *Account) permission(p permission) *item {
	return &item{
		id: p.id(), text: p.text(), permission: &p, makeAt: stepGrant, endAt: stepRevoke,
		make: func(ctx context.Context) error { return a.grant(ctx, p) },
		end:  func(ctx context.Context) error { return a.revoke(ctx, p) },
	}
}

// defaults are what Lake Formation gives on new databases and tables: all of it to whoever IAM
// allows, unless closed (developer guide, "Changing the default settings for your data lake").
func (a *Account) defaults(isClosed bool) *item {
	i := &item{id: "defaults of new databases and tables", text: "open to IAMAllowedPrincipals", changeAt: always(stepClose)}
	if isClosed {
		i.text = "closed"
		i.change = func(ctx context.Context, _ *item) error { return a.closeDefaults(ctx) }
	}
	return i
}

// location is the lake's place in S3, registered with Lake Formation. In hybrid mode who has
// not opted in is permitted by IAM alone.
func (a *Account) location(role string, isHybrid bool) *item {
	i := &item{id: "location " + a.mapping.location(), text: "read by " + role, makeAt: stepRegister}
	if isHybrid {
		i.text += ", in hybrid mode"
	}
	i.make = func(ctx context.Context) error { return a.register(ctx, role) }
	i.change = func(ctx context.Context, _ *item) error { return a.reregister(ctx, role) }
	i.changeAt = always(stepClose)
	return i
}

// policy is a managed policy of this package.
func (a *Account) policy(name, text, role, version string) *item {
	i := &item{id: "policy " + name, text: text, makeAt: stepMakePolicy, endAt: stepDropPolicy, changeAt: always(stepReplacePolicy)}
	if name == boundaryName {
		i.makeAt = stepBoundary
	}
	i.make = func(ctx context.Context) error { return a.createPolicy(ctx, name, text, role, version) }
	i.change = func(ctx context.Context, old *item) error {
		return a.changePolicy(ctx, name, text, role, version, old.version)
	}
	i.end = func(ctx context.Context) error { return a.deletePolicy(ctx, name) }
	return i
}

// entity is what a policy can be attached to: a role, user or group.
type entity struct{ kind, name string }

// attachment is a policy of this package on a role, user or group.
func (a *Account) attachment(policy string, e entity) *item {
	return &item{
		id: "policy " + policy + " on " + e.kind + " " + e.name, text: "attached", makeAt: stepAttach, endAt: stepDetach,
		make: func(ctx context.Context) error { return a.attach(ctx, policy, e.name) },
		end:  func(ctx context.Context) error { return a.detach(ctx, a.mapping.policyARN(policy), e) },
	}
}

// bound is the permissions boundary on a reader's role.
func (a *Account) bound(role string) *item {
	return &item{
		id: "boundary of role " + roleName(role), text: a.mapping.policyARN(boundaryName), makeAt: stepBind,
		make: func(ctx context.Context) error { return a.putBoundary(ctx, roleName(role)) },
	}
}

// keyGrant is a grant of KMS.
func (a *Account) keyGrant(g keyGrant) *item {
	return &item{
		id: "grant " + g.name + " on key " + g.key, text: g.text(), makeAt: stepGrantKey, endAt: stepUngrantKey,
		make: func(ctx context.Context) error { return a.createKeyGrant(ctx, g) },
		end:  func(ctx context.Context) error { return a.revokeKeyGrant(ctx, g.key, g.id) },
	}
}

// within reports whether g certainly gives every cell that f gives.
func (f *filter) within(g *filter) bool {
	for _, c := range f.columns {
		if !slices.Contains(g.columns, c) {
			return false
		}
	}
	return f.rows.within(g.rows)
}
