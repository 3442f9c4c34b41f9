package lftest

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cardlake/cardlake"
)

// AllowedByIAM is the group of all principals that IAM allows.
const AllowedByIAM = "IAM_ALLOWED_PRINCIPALS"

// maxFilters is how many filters of one table a principal may select by.
const maxFilters = 100

// lakeFormation is the state of Lake Formation.
type lakeFormation struct {
	settings settings
	location map[string]*resourceInfo // by ARN
	filters  map[filterResource]*cellsFilter
	grants   []*grantEntry
	tags     map[string][]tagPair // by full name of a table
	version  int
}

// newLakeFormation is Lake Formation as a new account has it: switched off.
func newLakeFormation() lakeFormation {
	open := []principalPermissions{{Principal: principal{AllowedByIAM}, Permissions: []string{"ALL"}}}
	return lakeFormation{
		settings: settings{CreateDatabaseDefaultPermissions: open, CreateTableDefaultPermissions: open, Parameters: map[string]string{"CROSS_ACCOUNT_VERSION": "4"}},
		location: map[string]*resourceInfo{}, filters: map[filterResource]*cellsFilter{}, tags: map[string][]tagPair{},
	}
}

type principal struct{ DataLakePrincipalIdentifier string }

type principalPermissions struct {
	Principal   principal
	Permissions []string
}

type settings struct {
	DataLakeAdmins, ReadOnlyAdmins                                  []principal            `json:",omitempty"`
	CreateDatabaseDefaultPermissions, CreateTableDefaultPermissions []principalPermissions `json:",omitempty"`
	Parameters                                                      map[string]string      `json:",omitempty"`
	TrustedResourceOwners                                           []string               `json:",omitempty"`
	AllowExternalDataFiltering, AllowFullTableExternalDataAccess    *bool                  `json:",omitempty"`
	ExternalDataFilteringAllowList                                  []principal            `json:",omitempty"`
	AuthorizedSessionTagValueList                                   []string               `json:",omitempty"`
}

type resourceInfo struct {
	ResourceArn, RoleArn string
	HybridAccessEnabled  bool
}

type empty struct{}

type columnWildcard struct {
	ExcludedColumnNames []string `json:",omitempty"`
}

type cellsFilter struct {
	TableCatalogId, DatabaseName, TableName, Name string
	ColumnNames                                   []string        `json:",omitempty"`
	ColumnWildcard                                *columnWildcard `json:",omitempty"`
	RowFilter                                     *struct {
		AllRowsWildcard  *empty `json:",omitempty"`
		FilterExpression string `json:",omitempty"`
	} `json:",omitempty"`
	VersionId string `json:",omitempty"`

	rows predicate
}

// The kinds of resources, one of which a resource has.
type (
	databaseResource struct{ CatalogId, Name string }
	tableResource    struct {
		CatalogId, DatabaseName, Name string
		TableWildcard                 *empty `json:",omitempty"`
	}
	columnsResource struct {
		CatalogId, DatabaseName, Name string
		ColumnNames                   []string        `json:",omitempty"`
		ColumnWildcard                *columnWildcard `json:",omitempty"`
	}
	filterResource   struct{ TableCatalogId, DatabaseName, TableName, Name string }
	locationResource struct{ CatalogId, ResourceArn string }
	resource         struct {
		Database         *databaseResource `json:",omitempty"`
		Table            *tableResource    `json:",omitempty"`
		TableWithColumns *columnsResource  `json:",omitempty"`
		DataCellsFilter  *filterResource   `json:",omitempty"`
		DataLocation     *locationResource `json:",omitempty"`
	}
)

// key identifies a resource.
func (r *resource) key() string {
	b, _ := json.Marshal(r) // plain members
	return string(b)
}

// table is the full name of the table that the resource is of, empty if of none.
func (r *resource) table() string {
	switch {
	case r.Table != nil && r.Table.TableWildcard == nil:
		return r.Table.DatabaseName + "." + r.Table.Name
	case r.TableWithColumns != nil:
		return r.TableWithColumns.DatabaseName + "." + r.TableWithColumns.Name
	case r.DataCellsFilter != nil:
		return r.DataCellsFilter.DatabaseName + "." + r.DataCellsFilter.TableName
	}
	return ""
}

type grantEntry struct {
	Principal                  principal
	Resource                   *resource
	Permissions                []string
	PermissionsWithGrantOption []string `json:",omitempty"`
}

type tagPair struct {
	CatalogId string `json:",omitempty"`
	TagKey    string
	TagValues []string
}

func (s *Server) callLakeFormation(operation string, body []byte) (any, error) {
	switch operation {
	case "GetDataLakeSettings":
		return run(body, func(in struct{ CatalogId string }) (any, error) {
			return map[string]any{"DataLakeSettings": s.lf.settings}, s.catalog(in.CatalogId)
		})
	case "PutDataLakeSettings":
		return run(body, s.putSettings)
	case "RegisterResource":
		return run(body, s.registerResource)
	case "UpdateResource":
		return run(body, s.updateResource)
	case "DescribeResource":
		return run(body, func(in struct{ ResourceArn string }) (any, error) {
			if r := s.lf.location[in.ResourceArn]; r != nil {
				return map[string]any{"ResourceInfo": r}, nil
			}
			return nil, refuse("EntityNotFoundException", "Entity not found")
		})
	case "CreateDataCellsFilter":
		return run(body, s.createFilter)
	case "UpdateDataCellsFilter":
		return run(body, s.updateFilter)
	case "DeleteDataCellsFilter":
		return run(body, s.deleteFilter)
	case "ListDataCellsFilter":
		return run(body, s.listFilters)
	case "GrantPermissions":
		return run(body, s.grant)
	case "RevokePermissions":
		return run(body, s.revoke)
	case "ListPermissions":
		return run(body, s.listPermissions)
	case "GetResourceLFTags":
		return run(body, s.resourceTags)
	}
	return nil, &failure{"UnknownOperationException", operation, http.StatusNotFound}
}

// Tag puts an LF-tag on a table.
func (s *Server) Tag(t *cardlake.Table, key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lf.tags[t.FullName()] = append(s.lf.tags[t.FullName()], tagPair{TagKey: key, TagValues: []string{value}})
}

func (s *Server) catalog(id string) error {
	if id != "" && id != s.cfg.Account {
		return &failure{"AccessDeniedException", "catalog", http.StatusForbidden}
	}
	return nil
}

func (s *Server) putSettings(in struct {
	CatalogId        string
	DataLakeSettings *settings
}) (any, error) {
	if in.DataLakeSettings == nil {
		return nil, refuse("InvalidInputException", "DataLakeSettings")
	}
	for _, list := range [][]principalPermissions{in.DataLakeSettings.CreateDatabaseDefaultPermissions, in.DataLakeSettings.CreateTableDefaultPermissions} {
		for _, p := range list {
			if p.Principal.DataLakePrincipalIdentifier != AllowedByIAM || !slices.Equal(p.Permissions, []string{"ALL"}) {
				return nil, refuse("InvalidInputException", "default permissions")
			}
		}
	}
	s.lf.settings = *in.DataLakeSettings
	return nil, s.catalog(in.CatalogId)
}

type registerIn struct {
	ResourceArn, RoleArn                      string
	HybridAccessEnabled, UseServiceLinkedRole bool
	WithFederation, WithPrivilegedAccess      bool
	ExpectedResourceOwnerAccount              string
}

func (s *Server) registerResource(in registerIn) (any, error) {
	switch {
	case !strings.HasPrefix(in.ResourceArn, "arn:aws:s3:::"), in.RoleArn == "", s.iam.roles[in.RoleArn] == nil:
		return nil, refuse("InvalidInputException", "ResourceArn or RoleArn")
	case s.lf.location[in.ResourceArn] != nil:
		return nil, refuse("AlreadyExistsException", "Resource is already registered")
	}
	s.lf.location[in.ResourceArn] = &resourceInfo{in.ResourceArn, in.RoleArn, in.HybridAccessEnabled}
	return nil, nil
}

func (s *Server) updateResource(in registerIn) (any, error) {
	r := s.lf.location[in.ResourceArn]
	switch {
	case r == nil:
		return nil, refuse("EntityNotFoundException", "Entity not found")
	case s.iam.roles[in.RoleArn] == nil:
		return nil, refuse("InvalidInputException", "RoleArn")
	}
	r.RoleArn, r.HybridAccessEnabled = in.RoleArn, in.HybridAccessEnabled
	return nil, nil
}

func (s *Server) table(database, name string) *cardlake.Table {
	for _, t := range s.cfg.Tables {
		if t.Namespace == database && t.Name == name {
			return t
		}
	}
	return nil
}

// singleLine is the pattern of names ("Single-line string pattern").
var singleLine = regexp.MustCompile(`^[\x{0020}-\x{D7FF}\x{E000}-\x{FFFD}\t]{1,255}$`)

// check reads a filter's definition.
func (s *Server) check(f *cellsFilter) error {
	if f == nil || !singleLine.MatchString(f.Name) || f.TableCatalogId != s.cfg.Account {
		return refuse("InvalidInputException", "Name or TableCatalogId")
	}
	t := s.table(f.DatabaseName, f.TableName)
	if t == nil {
		return refuse("EntityNotFoundException", "Table not found")
	}
	if (len(f.ColumnNames) > 0) == (f.ColumnWildcard != nil) {
		return refuse("InvalidInputException", "Data cells filter must have either column wildcard expression or column names.")
	}
	names := f.ColumnNames
	if f.ColumnWildcard != nil {
		names = f.ColumnWildcard.ExcludedColumnNames
	}
	for i, name := range names {
		if t.Column(name) == nil || slices.Contains(names[:i], name) {
			return refuse("InvalidInputException", "Column %s", name)
		}
	}
	if f.RowFilter == nil || (f.RowFilter.AllRowsWildcard != nil) == (f.RowFilter.FilterExpression != "") {
		return refuse("InvalidInputException", "RowFilter")
	}
	f.rows = func(map[string]string) bool { return true }
	if f.RowFilter.FilterExpression != "" {
		var err error
		if f.rows, err = parseExpression(f.RowFilter.FilterExpression, t); err != nil {
			return refuse("InvalidInputException", "FilterExpression: %v", err)
		}
	}
	return nil
}

func (f *cellsFilter) key() filterResource {
	return filterResource{f.TableCatalogId, f.DatabaseName, f.TableName, f.Name}
}

func (s *Server) nextVersion() string {
	s.lf.version++
	return strconv.Itoa(s.lf.version)
}

func (s *Server) createFilter(in struct{ TableData *cellsFilter }) (any, error) {
	if err := s.check(in.TableData); err != nil {
		return nil, err
	}
	if s.lf.filters[in.TableData.key()] != nil {
		return nil, refuse("AlreadyExistsException", "Data cells filter already exists")
	}
	if in.TableData.VersionId != "" {
		return nil, refuse("InvalidInputException", "VersionId")
	}
	in.TableData.VersionId = s.nextVersion()
	s.lf.filters[in.TableData.key()] = in.TableData
	return nil, nil
}

func (s *Server) updateFilter(in struct{ TableData *cellsFilter }) (any, error) {
	if err := s.check(in.TableData); err != nil {
		return nil, err
	}
	have := s.lf.filters[in.TableData.key()]
	switch {
	case have == nil:
		return nil, refuse("EntityNotFoundException", "Data cells filter not found")
	case in.TableData.VersionId != "" && in.TableData.VersionId != have.VersionId:
		return nil, refuse("ConcurrentModificationException", "Version mismatch")
	}
	in.TableData.VersionId = s.nextVersion()
	s.lf.filters[in.TableData.key()] = in.TableData
	return nil, nil
}

// deleteFilter refuses a filter that somebody selects by. What the service does with the grants
// is not documented; nothing may depend on it.
func (s *Server) deleteFilter(in filterResource) (any, error) {
	if s.lf.filters[in] == nil {
		return nil, refuse("EntityNotFoundException", "Data cells filter not found")
	}
	for _, g := range s.lf.grants {
		if g.Resource.DataCellsFilter != nil && *g.Resource.DataCellsFilter == in {
			return nil, refuse("InvalidInputException", "Data cells filter has permissions")
		}
	}
	delete(s.lf.filters, in)
	return nil, nil
}

func (s *Server) listFilters(in struct {
	Table      *tableResource
	MaxResults int
	NextToken  string
}) (any, error) {
	if in.Table == nil || in.MaxResults < 0 || in.MaxResults > 1000 {
		return nil, refuse("InvalidInputException", "Table or MaxResults")
	}
	var all []*cellsFilter
	for _, f := range s.lf.filters {
		if f.DatabaseName == in.Table.DatabaseName && f.TableName == in.Table.Name {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b *cellsFilter) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range all {
		slices.Sort(f.ColumnNames) // no order is promised
	}
	return listed(s, "DataCellsFilters", all, in.MaxResults, in.NextToken)
}

func listed[T any](s *Server, field string, all []T, limit int, token string) (any, error) {
	some, next, err := page(s, all, limit, token)
	if err != nil {
		return nil, refuse("InvalidInputException", "NextToken")
	}
	if some == nil {
		some = []T{}
	}
	out := map[string]any{field: some}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

type grantIn struct {
	CatalogId                               string
	Principal                               *principal
	Resource                                *resource
	Permissions, PermissionsWithGrantOption []string
}

// permitted are the permissions that each kind of resource knows ("Lake Formation permissions
// reference").
var permitted = map[string][]string{
	"Database":         {"ALL", "ALTER", "CREATE_TABLE", "DESCRIBE", "DROP"},
	"Table":            {"ALL", "ALTER", "DELETE", "DESCRIBE", "DROP", "INSERT", "SELECT"},
	"TableWithColumns": {"SELECT"},
	"DataCellsFilter":  {"ALL", "DESCRIBE", "DROP", "SELECT"},
	"DataLocation":     {"DATA_LOCATION_ACCESS"},
}

// resource checks a resource and returns its kind.
func (s *Server) resource(r *resource) (kind string, err error) {
	if r == nil {
		return "", refuse("InvalidInputException", "Resource")
	}
	found := 0
	if d := r.Database; d != nil {
		kind, found = "Database", found+1
		d.CatalogId = s.cfg.Account
		if !slices.ContainsFunc(s.cfg.Tables, func(t *cardlake.Table) bool { return t.Namespace == d.Name }) {
			err = refuse("EntityNotFoundException", "Database not found")
		}
	}
	if t := r.Table; t != nil {
		kind, found = "Table", found+1
		t.CatalogId = s.cfg.Account
		if (t.Name != "") == (t.TableWildcard != nil) {
			err = refuse("InvalidInputException", "Table")
		} else if t.Name != "" && s.table(t.DatabaseName, t.Name) == nil {
			err = refuse("EntityNotFoundException", "Table not found")
		}
	}
	if t := r.TableWithColumns; t != nil {
		kind, found = "TableWithColumns", found+1
		t.CatalogId = s.cfg.Account
		if s.table(t.DatabaseName, t.Name) == nil {
			err = refuse("EntityNotFoundException", "Table not found")
		}
	}
	if f := r.DataCellsFilter; f != nil {
		kind, found = "DataCellsFilter", found+1
		if s.lf.filters[*f] == nil {
			err = refuse("EntityNotFoundException", "Data cells filter not found")
		}
	}
	if l := r.DataLocation; l != nil {
		kind, found = "DataLocation", found+1
		l.CatalogId = s.cfg.Account
	}
	if found != 1 {
		return "", refuse("InvalidInputException", "Resource must have exactly one of its members")
	}
	return kind, err
}

func (s *Server) find(p principal, key string) *grantEntry {
	for _, g := range s.lf.grants {
		if g.Principal == p && g.Resource.key() == key {
			return g
		}
	}
	return nil
}

// checkGrant checks what grants and revokes have in common.
func (s *Server) checkGrant(in grantIn) error {
	if err := s.catalog(in.CatalogId); err != nil {
		return err
	}
	kind, err := s.resource(in.Resource)
	if err != nil {
		return err
	}
	if in.Principal == nil || in.Principal.DataLakePrincipalIdentifier != AllowedByIAM && s.iam.roles[in.Principal.DataLakePrincipalIdentifier] == nil {
		return refuse("InvalidInputException", "Invalid principal")
	}
	if len(in.Permissions) == 0 || slices.ContainsFunc(in.Permissions, func(p string) bool { return !slices.Contains(permitted[kind], p) }) {
		return refuse("InvalidInputException", "Permissions modification is invalid.")
	}
	if slices.ContainsFunc(in.PermissionsWithGrantOption, func(p string) bool { return !slices.Contains(in.Permissions, p) }) {
		return refuse("InvalidInputException", "PermissionsWithGrantOption")
	}
	return nil
}

func (s *Server) grant(in grantIn) (any, error) {
	if err := s.checkGrant(in); err != nil {
		return nil, err
	}
	g := s.find(*in.Principal, in.Resource.key())
	if g == nil {
		if in.Resource.DataCellsFilter != nil {
			n := 0
			for _, o := range s.lf.grants {
				if o.Principal == *in.Principal && o.Resource.DataCellsFilter != nil && o.Resource.table() == in.Resource.table() {
					n++
				}
			}
			if n >= maxFilters {
				return nil, refuse("ResourceNumberLimitExceededException", "data filter permissions of a principal on a table")
			}
		}
		g = &grantEntry{Principal: *in.Principal, Resource: in.Resource}
		s.lf.grants = append(s.lf.grants, g)
	}
	g.Permissions = union(g.Permissions, in.Permissions)
	g.PermissionsWithGrantOption = union(g.PermissionsWithGrantOption, in.PermissionsWithGrantOption)
	return nil, nil
}

func union(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

func (s *Server) revoke(in grantIn) (any, error) {
	if err := s.checkGrant(in); err != nil {
		return nil, err
	}
	g := s.find(*in.Principal, in.Resource.key())
	if g == nil || slices.ContainsFunc(in.Permissions, func(p string) bool { return !slices.Contains(g.Permissions, p) }) {
		return nil, refuse("InvalidInputException", "No permissions revoked. Grantee does not have: %v", in.Permissions)
	}
	g.Permissions = slices.DeleteFunc(g.Permissions, func(p string) bool { return slices.Contains(in.Permissions, p) })
	g.PermissionsWithGrantOption = slices.DeleteFunc(g.PermissionsWithGrantOption, func(p string) bool { return slices.Contains(in.Permissions, p) })
	s.lf.grants = slices.DeleteFunc(s.lf.grants, func(o *grantEntry) bool { return len(o.Permissions) == 0 })
	return nil, nil
}

func (s *Server) listPermissions(in struct {
	CatalogId, IncludeRelated, NextToken, ResourceType string
	MaxResults                                         int
	Principal                                          *principal
	Resource                                           *resource
}) (any, error) {
	if in.Resource == nil || in.Principal != nil || in.Resource.TableWithColumns != nil || in.MaxResults < 0 || in.MaxResults > 1000 {
		return nil, refuse("InvalidInputException", "this server lists by resource")
	}
	if _, err := s.resource(in.Resource); err != nil {
		return nil, err
	}
	var all []*grantEntry
	for _, g := range s.lf.grants {
		// On a table the operation lists it, and it with columns; filters if related.
		isRelated := in.Resource.table() != "" && g.Resource.table() == in.Resource.table() && (g.Resource.DataCellsFilter == nil || in.IncludeRelated == "TRUE")
		if isRelated || g.Resource.key() == in.Resource.key() {
			all = append(all, g)
		}
	}
	return listed(s, "PrincipalResourcePermissions", all, in.MaxResults, in.NextToken)
}

func (s *Server) resourceTags(in struct {
	CatalogId          string
	Resource           *resource
	ShowAssignedLFTags bool
}) (any, error) {
	if _, err := s.resource(in.Resource); err != nil {
		return nil, err
	}
	out := map[string]any{}
	if tags := s.lf.tags[in.Resource.table()]; len(tags) > 0 {
		out["LFTagsOnTable"] = tags
	}
	return out, nil
}

func answerREST(w http.ResponseWriter, _ string, out any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		f := &failure{"InternalServiceException", err.Error(), http.StatusInternalServerError}
		errors.As(err, &f)
		w.Header().Set("X-Amzn-Errortype", f.code)
		w.WriteHeader(f.status)
		out = map[string]string{"Message": f.message}
	}
	if out == nil {
		out = empty{}
	}
	_ = json.NewEncoder(w).Encode(out) // the client is gone otherwise
}
