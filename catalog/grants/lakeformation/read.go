package lakeformation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/lakeformation"
	"github.com/aws/aws-sdk-go-v2/service/lakeformation/types"

	"github.com/cardlake/cardlake"
)

// allowedByIAM is the group of all principals that IAM allows: whatever it is granted, Lake
// Formation leaves to IAM.
const allowedByIAM = "IAM_ALLOWED_PRINCIPALS"

// Foreign is something that others granted on what is the lake's.
type Foreign struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	// Why says what it lets happen.
	Why string `json:"why"`

	end func(context.Context) error // nil: only a person can end it
}

// reading is a state while it is read.
type reading struct {
	*Account
	*state
	readers map[string]bool // ARNs of roles that are or were readers'
}

// read reads everything that bears on who sees the lake.
func (a *Account) read(ctx context.Context) (*state, error) {
	r := &reading{Account: a, state: newState(), readers: map[string]bool{}}
	for _, role := range a.mapping.Roles {
		r.readers[role.ARN] = true
	}
	// IAM comes first: the tags of policies tell whose roles once were readers.
	for _, part := range []func(context.Context) error{r.policies, r.roles, r.settings, r.registration, r.tables, r.databases, r.keyGrants} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	return r.state, nil
}

func (r *reading) settings(ctx context.Context) error {
	out, err := r.lf.GetDataLakeSettings(ctx, &lakeformation.GetDataLakeSettingsInput{CatalogId: &r.mapping.Account})
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	s := out.DataLakeSettings
	i := r.Account.defaults(true)
	if len(s.CreateDatabaseDefaultPermissions)+len(s.CreateTableDefaultPermissions) > 0 {
		i = r.Account.defaults(false)
	}
	r.add(i)
	for _, admin := range slices.Concat(s.DataLakeAdmins, s.ReadOnlyAdmins) {
		if who := aws.ToString(admin.DataLakePrincipalIdentifier); r.readers[who] {
			r.foreign = append(r.foreign, Foreign{ID: "administrator " + who, Text: "administrator of Lake Formation",
				Why: "a reader could grant itself anything: take it from the administrators by hand"})
		}
	}
	return nil
}

func (r *reading) registration(ctx context.Context) error {
	out, err := r.lf.DescribeResource(ctx, &lakeformation.DescribeResourceInput{ResourceArn: aws.String(r.mapping.location())})
	var missing *types.EntityNotFoundException
	switch {
	case errors.As(err, &missing):
	case err != nil:
		return fmt.Errorf("location: %w", err)
	default:
		r.add(r.location(aws.ToString(out.ResourceInfo.RoleArn), aws.ToBool(out.ResourceInfo.HybridAccessEnabled)))
	}
	at := r.mapping.location()
	return r.eachPermission(ctx, &types.Resource{DataLocation: &types.DataLocationResource{CatalogId: &r.mapping.Account, ResourceArn: &at}}, "location "+at, false,
		func(p permission) { r.foreignGrant(p, "may make tables of the lake's objects and read those") })
}

func (r *reading) tables(ctx context.Context) error {
	for _, t := range r.mapping.tables() {
		pages := lakeformation.NewListDataCellsFilterPaginator(r.lf, &lakeformation.ListDataCellsFilterInput{Table: &types.TableResource{
			CatalogId: &r.mapping.Account, DatabaseName: &t.Namespace, Name: &t.Name,
		}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return fmt.Errorf("filters of %s: %w", t.FullName(), err)
			}
			for _, f := range page.DataCellsFilters {
				if strings.HasPrefix(aws.ToString(f.Name), ours) {
					r.add(r.filterThere(t, f))
				}
			}
		}
		resource := &types.Resource{Table: &types.TableResource{CatalogId: &r.mapping.Account, DatabaseName: &t.Namespace, Name: &t.Name}}
		err := r.eachPermission(ctx, resource, "table "+t.FullName(), true, func(p permission) { r.tableGrant(t, p) })
		if err != nil {
			return err
		}
		if err := r.labels(ctx, t, resource); err != nil {
			return err
		}
	}
	return nil
}

// filterThere is a filter as the service has it.
func (r *reading) filterThere(t *cardlake.Table, d types.DataCellsFilter) *item {
	f := filter{table: t, name: aws.ToString(d.Name), columns: d.ColumnNames}
	switch {
	case d.RowFilter == nil:
		f.rows.foreign = "unknown rows"
	case d.RowFilter.AllRowsWildcard != nil:
		f.rows.others = true
	default:
		f.rows = parseRows(aws.ToString(d.RowFilter.FilterExpression))
	}
	if d.ColumnWildcard != nil {
		f.columns = nil
		for _, c := range t.Columns {
			if !slices.Contains(d.ColumnWildcard.ExcludedColumnNames, c.Name) {
				f.columns = append(f.columns, c.Name)
			}
		}
	}
	// Columns are a set; they are named in the table's order.
	slices.SortStableFunc(f.columns, func(x, y string) int { return placeOf(t, x) - placeOf(t, y) })
	i := r.filter(f, aws.ToString(d.VersionId))
	if d.ColumnWildcard != nil {
		i.text += " and columns to come"
	}
	return i
}

func placeOf(t *cardlake.Table, column string) int {
	return slices.IndexFunc(t.Columns, func(c cardlake.Column) bool { return c.Name == column })
}

// tableGrant sorts a grant on a table, on some of its columns, or on one of its filters.
func (r *reading) tableGrant(t *cardlake.Table, p permission) {
	if f := p.resource.DataCellsFilter; f != nil {
		p.name = "filter " + t.FullName() + "/" + aws.ToString(f.Name)
		if strings.HasPrefix(aws.ToString(f.Name), ours) {
			r.addPermission(p, stepRevoke)
			return
		}
	}
	if c := p.resource.TableWithColumns; c != nil {
		p.name = "columns of " + t.FullName()
		if c.ColumnWildcard == nil {
			p.name = "columns " + strings.Join(c.ColumnNames, ", ") + " of " + t.FullName()
		}
	}
	if p.principal == allowedByIAM {
		r.addPermission(p, stepClose)
		return
	}
	if !isMetadata(p) {
		r.foreignGrant(p, "reads the table past the lake's policies, or may let others")
	}
}

// isMetadata reports whether a grant gives no more than the data dictionary, which is public.
func isMetadata(p permission) bool {
	return len(p.grantable) == 0 && !slices.ContainsFunc(p.allowed, func(x types.Permission) bool { return x != types.PermissionDescribe })
}

func (r *reading) databases(ctx context.Context) error {
	var names []string
	for _, t := range r.mapping.tables() {
		names = append(names, t.Namespace)
	}
	for _, name := range distinct(names) {
		resource := &types.Resource{Database: &types.DatabaseResource{CatalogId: &r.mapping.Account, Name: &name}}
		err := r.eachPermission(ctx, resource, "database "+name, false, func(p permission) {
			switch {
			case p.principal == allowedByIAM:
				r.addPermission(p, stepClose)
			case isMetadata(p) && r.readers[p.principal]:
				r.addPermission(p, stepRevoke)
			case !isMetadata(p):
				r.foreignGrant(p, "may change what tables there are")
			}
		})
		if err != nil {
			return err
		}
		resource = &types.Resource{Table: &types.TableResource{CatalogId: &r.mapping.Account, DatabaseName: &name, TableWildcard: &types.TableWildcard{}}}
		err = r.eachPermission(ctx, resource, "all tables of "+name, false, func(p permission) {
			switch {
			case p.principal == allowedByIAM:
				r.addPermission(p, stepClose)
			case !isMetadata(p):
				r.foreignGrant(p, "reads every table of the database, or may let others")
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachPermission hands on the grants on a resource, named so, and if related those on its
// columns and filters.
func (r *reading) eachPermission(ctx context.Context, on *types.Resource, name string, related bool, each func(permission)) error {
	in := &lakeformation.ListPermissionsInput{CatalogId: &r.mapping.Account, Resource: on}
	if related {
		in.IncludeRelated = aws.String("TRUE")
	}
	pages := lakeformation.NewListPermissionsPaginator(r.lf, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("grants on %s: %w", name, err)
		}
		for _, g := range page.PrincipalResourcePermissions {
			each(permission{
				principal: aws.ToString(g.Principal.DataLakePrincipalIdentifier), resource: g.Resource, name: name,
				allowed: g.Permissions, grantable: g.PermissionsWithGrantOption, condition: g.Condition,
			})
		}
	}
	return nil
}

// addPermission adds a grant that ends at a step unless it is desired. One that the service
// lists in parts is one.
func (r *reading) addPermission(p permission, endAt step) {
	if have := r.items[p.id()]; have != nil && have.permission != nil {
		p.allowed = append(slices.Clone(have.permission.allowed), p.allowed...)
		p.grantable = append(slices.Clone(have.permission.grantable), p.grantable...)
	}
	i := r.permission(p)
	i.endAt = endAt
	r.items[i.id] = i
}

// foreignGrant is a grant of Lake Formation that others made, unless it is of those who may
// have some.
func (r *reading) foreignGrant(p permission, why string) {
	if p.principal == r.mapping.DataAccessRole || slices.Contains(r.mapping.Known, p.principal) {
		return
	}
	r.foreign = append(r.foreign, Foreign{ID: p.id(), Text: p.text(), Why: why, end: func(ctx context.Context) error { return r.revoke(ctx, p) }})
}

// labels finds LF-tags on a table, its columns or its database: grants by tag reach it then.
func (r *reading) labels(ctx context.Context, t *cardlake.Table, resource *types.Resource) error {
	out, err := r.lf.GetResourceLFTags(ctx, &lakeformation.GetResourceLFTagsInput{CatalogId: &r.mapping.Account, Resource: resource, ShowAssignedLFTags: aws.Bool(true)})
	var missing *types.EntityNotFoundException
	if errors.As(err, &missing) {
		return nil // the table's first grant will say that it is not in Glue
	}
	if err != nil {
		return fmt.Errorf("tags of %s: %w", t.FullName(), err)
	}
	var names []string
	add := func(on string, pairs []types.LFTagPair) {
		for _, p := range pairs {
			names = append(names, on+aws.ToString(p.TagKey)+"="+strings.Join(p.TagValues, "|"))
		}
	}
	add("", out.LFTagsOnTable)
	add("database: ", out.LFTagOnDatabase)
	for _, c := range out.LFTagsOnColumns {
		add(aws.ToString(c.Name)+": ", c.LFTags)
	}
	if len(names) > 0 {
		slices.Sort(names)
		r.foreign = append(r.foreign, Foreign{ID: "tags of " + t.FullName(), Text: strings.Join(names, ", "),
			Why: "whoever is granted something by tag has it on the table: remove the tags by hand"})
	}
	return nil
}

func (r *reading) keyGrants(ctx context.Context) error {
	for _, owner := range slices.Sorted(maps.Keys(r.keys)) {
		for _, key := range r.keys[owner] {
			pages := kms.NewListGrantsPaginator(r.kms, &kms.ListGrantsInput{KeyId: &key})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return fmt.Errorf("grants on key %s: %w", key, err)
				}
				for _, g := range page.Grants {
					r.keyGrantThere(key, g)
				}
			}
		}
	}
	return nil
}

func (r *reading) keyGrantThere(key string, entry kmstypes.GrantListEntry) {
	g := keyGrant{
		key: key, id: aws.ToString(entry.GrantId), name: aws.ToString(entry.Name),
		grantee: aws.ToString(entry.GranteePrincipal), retiring: aws.ToString(entry.RetiringPrincipal),
	}
	for _, o := range entry.Operations {
		g.operations = append(g.operations, string(o))
	}
	slices.Sort(g.operations)
	if c := entry.Constraints; c != nil {
		g.subset, g.equal = c.EncryptionContextSubset, c.EncryptionContextEquals
	}
	if strings.HasPrefix(g.name, ours) {
		r.add(r.keyGrant(g))
		return
	}
	reads := slices.ContainsFunc(g.operations, func(o string) bool { return o == "Decrypt" || o == "ReEncryptFrom" || o == "CreateGrant" })
	if !reads || slices.Contains(r.mapping.Known, g.grantee) {
		return
	}
	r.foreign = append(r.foreign, Foreign{ID: "grant " + g.id + " on key " + key, Text: g.text(), Why: "decrypts objects of the lake, or may let others",
		end: func(ctx context.Context) error { return r.revokeKeyGrant(ctx, key, g.id) }})
}
