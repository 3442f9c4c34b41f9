package lftest

import (
	"maps"
	"slices"

	"github.com/cardlake/cardlake"
)

// Sees returns for each of the table's columns whether the role can read it in rows of the
// tenant, by whatever way: through Lake Formation, or from the objects themselves. The empty
// tenant stands for rows of none.
func (s *Server) Sees(role string, t *cardlake.Table, tenant cardlake.Tenant) []bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]bool, len(t.Columns))
	all := s.reads(role) && s.opens(role, tenant)
	given := s.throughLakeFormation(role, t, tenant)
	for i, c := range t.Columns {
		out[i] = all || given[c.Name]
	}
	return out
}

func (s *Server) place() string {
	if s.cfg.Prefix != "" {
		return "arn:aws:s3:::" + s.cfg.Bucket + "/" + s.cfg.Prefix
	}
	return "arn:aws:s3:::" + s.cfg.Bucket
}

// reads reports whether the role may read objects of the lake.
func (s *Server) reads(role string) bool {
	return s.iam.allows(role, "s3:GetObject", s.place()+"/data/object")
}

// opens reports whether the role may have KMS decrypt the tenant's objects, by a grant or by
// IAM, which the default key policy leaves it to.
func (s *Server) opens(role string, tenant cardlake.Tenant) bool {
	key := s.cfg.KeyOf(tenant)
	if key == "" || s.iam.allows(role, "kms:Decrypt", key) {
		return true
	}
	context := map[string]string{"aws:s3:arn": "arn:aws:s3:::" + s.cfg.Bucket}
	if s.cfg.ObjectContext {
		context = map[string]string{"aws:s3:arn": s.place() + "/data/object", "cardlake-owner": s.cfg.OwnerOf(tenant)}
	}
	return s.kms.decrypts(role, key, context)
}

// throughLakeFormation returns the columns that an engine gives the role which asks Lake
// Formation. Without a registered location it has to read with the role's own permissions, and
// in hybrid mode those of IAM suffice.
func (s *Server) throughLakeFormation(role string, t *cardlake.Table, tenant cardlake.Tenant) map[string]bool {
	table := "arn:aws:glue:" + s.cfg.Region + ":" + s.cfg.Account + ":table/" + t.Namespace + "/" + t.Name
	at := s.lf.location[s.place()]
	if at == nil || !s.iam.allows(role, "glue:GetTable", table) || !s.iam.allows(role, "lakeformation:GetDataAccess", "*") || !s.opens(at.RoleArn, tenant) {
		return nil
	}
	row := map[string]string{}
	if t.Column("tenant") != nil {
		row["tenant"] = string(tenant)
	}
	return s.lf.gives(role, t, row)
}

// gives returns the columns that grants to the role give of rows with these values.
func (l *lakeFormation) gives(role string, t *cardlake.Table, row map[string]string) map[string]bool {
	out := map[string]bool{}
	all := func(except []string) {
		for _, c := range t.Columns {
			if !slices.Contains(except, c.Name) {
				out[c.Name] = true
			}
		}
	}
	for _, g := range l.grants {
		who := g.Principal.DataLakePrincipalIdentifier
		selects := slices.Contains(g.Permissions, "SELECT") || slices.Contains(g.Permissions, "ALL")
		if who != role && who != AllowedByIAM || !selects {
			continue
		}
		switch r := g.Resource; {
		case r.Table != nil && r.Table.TableWildcard != nil && r.Table.DatabaseName == t.Namespace:
			all(nil)
		case r.table() != t.FullName():
		case r.Table != nil:
			all(nil)
		case r.TableWithColumns != nil && r.TableWithColumns.ColumnWildcard != nil:
			all(r.TableWithColumns.ColumnWildcard.ExcludedColumnNames)
		case r.TableWithColumns != nil:
			maps.Copy(out, set(r.TableWithColumns.ColumnNames))
		case r.DataCellsFilter != nil:
			if f := l.filters[*r.DataCellsFilter]; f != nil && f.rows(row) {
				if f.ColumnWildcard != nil {
					all(f.ColumnWildcard.ExcludedColumnNames)
				}
				maps.Copy(out, set(f.ColumnNames))
			}
		}
	}
	return out
}

func set(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}
