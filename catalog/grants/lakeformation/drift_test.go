package lakeformation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/lakeformation"
	"github.com/aws/aws-sdk-go-v2/service/lakeformation/types"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants/lakeformation/lftest"
	"github.com/cardlake/cardlake/keys"
)

// somePolicies give two kinds of readers different cells of different tenants.
const somePolicies = `
	@id("science") permit (principal in Lake::Persona::"data_scientist", action, resource in Lake::Table::"cards.transactions") when { ["public", "money"].contains(resource.tag) };
	@id("science.masked") permit (principal in Lake::Persona::"data_scientist", action, resource in Lake::Table::"cards.transactions") when { resource.tag == "identifier" && resource.access == "masked" };
	@id("not-acme") forbid (principal in Lake::Persona::"data_scientist", action, resource is Lake::Slice) when { resource.tenant == Lake::Tenant::"acme" };
	@id("own") permit (principal in Lake::Persona::"tenant_analyst", action, resource is Lake::Slice) when { principal has tenant && resource.tenant == principal.tenant && resource.tag == "public" };
	@id("etl") permit (principal in Lake::Persona::"etl_job", action, resource is Lake::Slice) when { resource.tenant.country == "BR" };`

const (
	ana       = "arn:aws:iam::111122223333:role/readers/data_scientist-ana"
	anaPolicy = "arn:aws:iam::111122223333:policy/cardlake/cardlake-data_scientist-ana"
	etl       = "arn:aws:iam::111122223333:role/readers/etl_job-ana"
)

// hands change the account past this package.
type hands struct {
	t   *testing.T
	lf  *lakeformation.Client
	iam *iam.Client
	kms *kms.Client
	w   *world
}

func (h *hands) must(_ any, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (w *world) hands() *hands {
	lf, identities, encryption := w.aws.Clients()
	return &hands{w.t, lf, identities, encryption, w}
}

// filterOf is the one filter of the principal on the table.
func (h *hands) filterOf(name string, t *cardlake.Table) types.DataCellsFilter {
	h.t.Helper()
	pages := lakeformation.NewListDataCellsFilterPaginator(h.lf, &lakeformation.ListDataCellsFilterInput{Table: &types.TableResource{DatabaseName: &t.Namespace, Name: &t.Name}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		for _, f := range page.DataCellsFilters {
			if strings.HasPrefix(*f.Name, ours+name) {
				return f
			}
		}
	}
	h.t.Fatalf("%s has no filter", name)
	return types.DataCellsFilter{}
}

func (h *hands) grant(who string, on *types.Resource, permissions ...types.Permission) {
	h.t.Helper()
	h.must(h.lf.GrantPermissions(h.t.Context(), &lakeformation.GrantPermissionsInput{
		Principal: &types.DataLakePrincipal{DataLakePrincipalIdentifier: &who}, Resource: on, Permissions: permissions,
	}))
}

func onFilter(f types.DataCellsFilter) *types.Resource {
	return &types.Resource{DataCellsFilter: &types.DataCellsFilterResource{TableCatalogId: f.TableCatalogId, DatabaseName: f.DatabaseName, TableName: f.TableName, Name: f.Name}}
}

func onTable(t *cardlake.Table) *types.Resource {
	return &types.Resource{Table: &types.TableResource{DatabaseName: &t.Namespace, Name: &t.Name}}
}

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// TestDriftIsShownAndMended changes something by hand, expects the plan to name it, and the
// apply to undo it. What widened access is seen to do so.
func TestDriftIsShownAndMended(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(h *hands)
		shown string // a change
		wider bool
	}{
		"filter widened": {func(h *hands) {
			f := h.filterOf("data_scientist-ana", cardlake.Transactions)
			f.ColumnNames, f.ColumnWildcard, f.RowFilter = nil, &types.ColumnWildcard{}, &types.RowFilter{AllRowsWildcard: &types.AllRowsWildcard{}}
			h.must(h.lf.UpdateDataCellsFilter(h.t.Context(), &lakeformation.UpdateDataCellsFilterInput{TableData: &f}))
		}, "~ filter cards.transactions/cardlake-data_scientist-ana-", true},
		"filter with rows of others": {func(h *hands) {
			f := h.filterOf("tenant_analyst-analyst@acme", cardlake.Transactions)
			f.RowFilter = &types.RowFilter{FilterExpression: aws.String("tenant LIKE 'b%'")}
			h.must(h.lf.UpdateDataCellsFilter(h.t.Context(), &lakeformation.UpdateDataCellsFilterInput{TableData: &f}))
		}, "tenant LIKE 'b%'", true},
		"filter made": {func(h *hands) {
			h.must(h.lf.CreateDataCellsFilter(h.t.Context(), &lakeformation.CreateDataCellsFilterInput{TableData: &types.DataCellsFilter{
				TableCatalogId: aws.String(account), DatabaseName: aws.String("cards"), TableName: aws.String("control_totals"), Name: aws.String("cardlake-x"),
				ColumnNames: []string{"amount"}, RowFilter: &types.RowFilter{AllRowsWildcard: &types.AllRowsWildcard{}},
			}}))
			h.grant(etl, &types.Resource{DataCellsFilter: &types.DataCellsFilterResource{
				TableCatalogId: aws.String(account), DatabaseName: aws.String("cards"), TableName: aws.String("control_totals"), Name: aws.String("cardlake-x")}}, types.PermissionSelect)
		}, "- filter cards.control_totals/cardlake-x", true},
		"grant ended": {func(h *hands) {
			f := h.filterOf("data_scientist-ana", cardlake.Transactions)
			h.must(h.lf.RevokePermissions(h.t.Context(), &lakeformation.RevokePermissionsInput{
				Principal: &types.DataLakePrincipal{DataLakePrincipalIdentifier: aws.String(ana)}, Resource: onFilter(f), Permissions: []types.Permission{types.PermissionSelect},
			}))
		}, "+ grant " + ana + " on filter", false},
		"filter granted to another": {func(h *hands) {
			h.grant(etl, onFilter(h.filterOf("data_scientist-ana", cardlake.Transactions)), types.PermissionSelect)
		}, "- grant " + etl + " on filter cards.transactions/cardlake-data_scientist-ana-", true},
		"grant with more": {func(h *hands) {
			h.must(h.lf.GrantPermissions(h.t.Context(), &lakeformation.GrantPermissionsInput{
				Principal: &types.DataLakePrincipal{DataLakePrincipalIdentifier: aws.String(ana)}, Resource: onFilter(h.filterOf("data_scientist-ana", cardlake.Transactions)),
				Permissions: []types.Permission{types.PermissionSelect}, PermissionsWithGrantOption: []types.Permission{types.PermissionSelect},
			}))
		}, "with grant option", false},
		"table open to IAM": {func(h *hands) { h.grant(lftest.AllowedByIAM, onTable(cardlake.ControlTotals), types.PermissionAll) },
			"- grant IAM_ALLOWED_PRINCIPALS on table cards.control_totals", true},
		"all tables open to IAM": {func(h *hands) {
			h.grant(lftest.AllowedByIAM, &types.Resource{Table: &types.TableResource{DatabaseName: aws.String("cards"), TableWildcard: &types.TableWildcard{}}}, types.PermissionAll)
		}, "- grant IAM_ALLOWED_PRINCIPALS on all tables of cards", true},
		"defaults opened": {func(h *hands) {
			h.must(h.lf.PutDataLakeSettings(h.t.Context(), &lakeformation.PutDataLakeSettingsInput{DataLakeSettings: &types.DataLakeSettings{
				CreateTableDefaultPermissions: []types.PrincipalPermissions{{Principal: &types.DataLakePrincipal{DataLakePrincipalIdentifier: aws.String(lftest.AllowedByIAM)}, Permissions: []types.Permission{types.PermissionAll}}},
			}}))
		}, "~ defaults of new databases and tables", false},
		"hybrid": {func(h *hands) {
			h.must(h.lf.UpdateResource(h.t.Context(), &lakeformation.UpdateResourceInput{ResourceArn: aws.String(h.w.mapping.location()), RoleArn: aws.String(accessRole), HybridAccessEnabled: aws.Bool(true)}))
		}, "in hybrid mode", false},
		"policy widened": {func(h *hands) {
			h.must(h.iam.CreatePolicyVersion(h.t.Context(), &iam.CreatePolicyVersionInput{PolicyArn: aws.String(anaPolicy), PolicyDocument: aws.String(allowAll), SetAsDefault: true}))
		}, "~ policy cardlake-data_scientist-ana", false}, // the boundary holds
		"boundary widened": {func(h *hands) {
			h.must(h.iam.CreatePolicyVersion(h.t.Context(), &iam.CreatePolicyVersionInput{
				PolicyArn: aws.String("arn:aws:iam::111122223333:policy/cardlake/cardlake-boundary"), PolicyDocument: aws.String(allowAll), SetAsDefault: true}))
		}, "~ policy cardlake-boundary", false}, // the readers' own policies hold
		"policy and boundary widened": {func(h *hands) {
			for _, arn := range []string{anaPolicy, "arn:aws:iam::111122223333:policy/cardlake/cardlake-boundary"} {
				h.must(h.iam.CreatePolicyVersion(h.t.Context(), &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: aws.String(allowAll), SetAsDefault: true}))
			}
		}, "~ policy cardlake-boundary", true},
		"policy detached": {func(h *hands) {
			h.must(h.iam.DetachRolePolicy(h.t.Context(), &iam.DetachRolePolicyInput{RoleName: aws.String("data_scientist-ana"), PolicyArn: aws.String(anaPolicy)}))
		}, "+ policy cardlake-data_scientist-ana on role data_scientist-ana", false},
		"policy on another role": {func(h *hands) {
			h.must(h.iam.AttachRolePolicy(h.t.Context(), &iam.AttachRolePolicyInput{RoleName: aws.String("stranger"), PolicyArn: aws.String(anaPolicy)}))
		}, "- policy cardlake-data_scientist-ana on role stranger", false},
		"KMS grant ended": {func(h *hands) {
			out, err := h.kms.ListGrants(h.t.Context(), &kms.ListGrantsInput{KeyId: aws.String(keyOf("lake"))})
			h.must(out, err)
			h.must(h.kms.RevokeGrant(h.t.Context(), &kms.RevokeGrantInput{KeyId: aws.String(keyOf("lake")), GrantId: out.Grants[0].GrantId}))
		}, "+ grant cardlake-", false},
		"KMS grant of ours to another": {func(h *hands) {
			h.must(h.kms.CreateGrant(h.t.Context(), &kms.CreateGrantInput{KeyId: aws.String(keyOf("lake")), Name: aws.String("cardlake-mine"), GranteePrincipal: aws.String(strange),
				Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt}}))
		}, "- grant cardlake-mine on key " + keyOf("lake"), false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, standardTenants()...)
			set := w.set(somePolicies)
			w.apply(set)
			w.expect(set)
			right := w.visible()
			c.do(w.hands())
			drifted := w.visible()
			if wider := len(beyond(drifted, right)) > 0; wider != c.wider {
				t.Errorf("the change by hand widens access: %v, want %v", wider, c.wider)
			}
			p := w.plan(set)
			if !slices.ContainsFunc(p.Changes, func(ch Change) bool { return strings.Contains(ch.String(), c.shown) }) {
				t.Errorf("the plan does not show %q: %v", c.shown, p.Changes)
			}
			if len(p.Foreign) > 0 {
				t.Errorf("of others: %v", p.Foreign)
			}
			w.aws.AfterWrite(func(operation string) {
				if wider := beyond(w.visible(), drifted, right); len(wider) > 0 {
					t.Errorf("after %s, %d cells more are seen", operation, len(wider))
				}
			})
			w.apply(set)
			w.aws.AfterWrite(nil)
			w.expect(set)
		})
	}
}

// TestForeign lets others grant something on the lake: the plan shows it, the apply leaves it,
// and with RemoveForeign ends it.
func TestForeign(t *testing.T) {
	for name, c := range map[string]struct {
		do        func(h *hands)
		shown     string
		byPeople  bool // nothing here can end it
		isBetween bool // a cell more is seen meanwhile
	}{
		"table": {func(h *hands) { h.grant(ana, onTable(cardlake.Transactions), types.PermissionSelect) }, "grant " + ana + " on table cards.transactions", false, true},
		"columns": {func(h *hands) {
			h.grant(etl, &types.Resource{TableWithColumns: &types.TableWithColumnsResource{DatabaseName: aws.String("cards"), Name: aws.String("control_totals"), ColumnNames: []string{"amount"}}}, types.PermissionSelect)
		}, "on columns amount of cards.control_totals", false, true},
		"all tables": {func(h *hands) {
			h.grant(ana, &types.Resource{Table: &types.TableResource{DatabaseName: aws.String("cards"), TableWildcard: &types.TableWildcard{}}}, types.PermissionSelect)
		}, "on all tables of cards", false, true},
		"database": {func(h *hands) {
			h.grant(strange, &types.Resource{Database: &types.DatabaseResource{Name: aws.String("cards")}}, types.PermissionCreateTable)
		}, "grant " + strange + " on database cards", false, false},
		"location": {func(h *hands) {
			h.grant(strange, &types.Resource{DataLocation: &types.DataLocationResource{ResourceArn: aws.String(h.w.mapping.location())}}, types.PermissionDataLocationAccess)
		}, "grant " + strange + " on location", false, false},
		"attached policy": {func(h *hands) {
			h.must(h.iam.AttachRolePolicy(h.t.Context(), &iam.AttachRolePolicyInput{RoleName: aws.String("etl_job-ana"), PolicyArn: aws.String(lftest.AdministratorAccess)}))
		}, "policy " + lftest.AdministratorAccess + " on role etl_job-ana", false, false}, // the boundary holds
		"inline policy": {func(h *hands) {
			h.must(h.iam.PutRolePolicy(h.t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("auditor-ana"), PolicyName: aws.String("more"), PolicyDocument: aws.String(allowAll)}))
		}, "policy more in role auditor-ana", false, false},
		"boundary": {func(h *hands) {
			h.must(h.iam.PutRolePermissionsBoundary(h.t.Context(), &iam.PutRolePermissionsBoundaryInput{RoleName: aws.String("auditor-ana"), PermissionsBoundary: aws.String(lftest.AdministratorAccess)}))
		}, "boundary of role auditor-ana", false, false},
		"KMS grant": {func(h *hands) {
			h.must(h.kms.CreateGrant(h.t.Context(), &kms.CreateGrantInput{KeyId: aws.String(keyOf("lake")), GranteePrincipal: aws.String(strange), Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt}}))
		}, "on key " + keyOf("lake"), false, false},
		"tags": {func(h *hands) { h.w.aws.Tag(cardlake.Transactions, "level", "open") }, "tags of cards.transactions", true, false},
		"administrator": {func(h *hands) {
			h.must(h.lf.PutDataLakeSettings(h.t.Context(), &lakeformation.PutDataLakeSettingsInput{DataLakeSettings: &types.DataLakeSettings{
				DataLakeAdmins: []types.DataLakePrincipal{{DataLakePrincipalIdentifier: aws.String(ana)}}}}))
		}, "administrator " + ana, true, false},
		"policy in our place": {func(h *hands) {
			h.must(h.iam.CreatePolicy(h.t.Context(), &iam.CreatePolicyInput{Path: aws.String(policyPath), PolicyName: aws.String("mine"), PolicyDocument: aws.String(allowAll)}))
		}, "policy mine", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, standardTenants()...)
			set := w.set(somePolicies)
			w.apply(set)
			right := w.visible()
			c.do(w.hands())
			if wider := len(beyond(w.visible(), right)) > 0; wider != c.isBetween {
				t.Errorf("it widens access: %v, want %v", wider, c.isBetween)
			}
			p := w.plan(set)
			if len(p.Changes) > 0 || len(p.Foreign) != 1 || !strings.Contains(p.Foreign[0].ID, c.shown) || p.IsEmpty() {
				t.Fatalf("the plan shows %v, changes %v", p.Foreign, p.Changes)
			}
			w.cfg.RemoveForeign = true
			p = w.apply(set)
			if c.byPeople != (len(p.Changes) == 0) {
				t.Errorf("changes %v", p.Changes)
			}
			if again := w.plan(set); c.byPeople == again.IsEmpty() {
				t.Errorf("the plan after shows %v", again.Foreign)
			}
			w.expect(set)
		})
	}
	t.Run("of those who may", func(t *testing.T) {
		w := newWorld(t, standardTenants()...)
		set := w.set(somePolicies)
		w.apply(set)
		h := w.hands()
		h.grant(workerRole, onTable(cardlake.Transactions), types.PermissionAll)
		h.grant(strange, onTable(cardlake.Transactions), types.PermissionDescribe)
		h.must(h.kms.CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: aws.String(keyOf("lake")), GranteePrincipal: aws.String(workerRole), Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt}}))
		if p := w.plan(set); !p.IsEmpty() {
			t.Errorf("the plan shows %v", p.Foreign)
		}
	})
}

// TestMoved changes the account between the plan and its apply, and while it is applied.
func TestMoved(t *testing.T) {
	w := newWorld(t, standardTenants()...)
	set := w.set(somePolicies)
	w.apply(set)
	narrow := w.set(strings.Replace(somePolicies, `["public", "money"]`, `["money"]`, 1))
	p := w.plan(narrow)
	h := w.hands()
	h.grant(strange, onTable(cardlake.Transactions), types.PermissionSelect)
	n := w.aws.Writes()
	if err := w.account().Apply(t.Context(), p); !errors.Is(err, ErrMoved) || w.aws.Writes() != n {
		t.Errorf("a plan that is too old: %v", err)
	}

	// Somebody updates a filter after the state was read for the last time.
	wider := w.set(strings.Replace(somePolicies, `Tenant::"acme"`, `Tenant::"beta"`, 1))
	p = w.plan(wider)
	w.cfg.Record = func(ctx context.Context, c Change) error {
		if strings.HasPrefix(c.ID, "filter") {
			f := h.filterOf("data_scientist-ana", cardlake.Transactions)
			f.ColumnNames = f.ColumnNames[:1]
			h.must(h.lf.UpdateDataCellsFilter(ctx, &lakeformation.UpdateDataCellsFilterInput{TableData: &f}))
		}
		return nil
	}
	var stopped *StoppedError
	if err := w.account().Apply(t.Context(), p); !errors.Is(err, ErrMoved) || !errors.As(err, &stopped) {
		t.Errorf("a filter that moved: %v", err)
	}
	w.cfg.Record = nil
	w.apply(wider)
	w.expect(wider)
}

// TestUnrecorded makes no change that can't be recorded.
func TestUnrecorded(t *testing.T) {
	w := newWorld(t, standardTenants()...)
	no := errors.New("the log is full")
	w.cfg.Record = func(context.Context, Change) error { return no }
	p := w.plan(w.set(somePolicies))
	if err := w.account().Apply(t.Context(), p); !errors.Is(err, no) || w.aws.Writes() > 0 {
		t.Errorf("%d changes, %v", w.aws.Writes(), err)
	}
}

// TestThrottled is throttled at every call as often as the SDK's retries bear.
func TestThrottled(t *testing.T) {
	w := newWorld(t, standardTenants()...)
	set := w.set(somePolicies)
	for n := 1; n < 300; n += 3 {
		w.aws.FailWrite(n, lftest.Fault{Code: "ThrottlingException"})
		w.aws.FailWrite(n+1, lftest.Fault{Code: "ThrottlingException"})
	}
	w.apply(set)
	w.expect(set)
}

// TestPolicyVersions changes a policy more often than it may have versions.
func TestPolicyVersions(t *testing.T) {
	w := newWorld(t, standardTenants()...)
	for i := range 8 {
		table := []string{"cards.transactions", "cards.control_totals"}[i%2]
		set := w.set(fmt.Sprintf(`@id("v%d") permit (principal in Lake::Persona::"data_scientist", action, resource in Lake::Table::%q) when { resource.tag == "money" };`, i, table))
		w.apply(set)
		w.expect(set)
	}
	out, err := w.hands().iam.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: aws.String(anaPolicy)})
	if err != nil || len(out.Versions) == 0 || !out.Versions[0].IsDefaultVersion || aws.ToString(out.Versions[0].VersionId) != "v8" {
		t.Errorf("versions %v, %v", out, err)
	}
	policy, err := w.hands().iam.GetPolicy(t.Context(), &iam.GetPolicyInput{PolicyArn: aws.String(anaPolicy)})
	if err != nil || len(policy.Policy.Tags) != 2 || aws.ToString(policy.Policy.Tags[0].Value) != ana {
		t.Errorf("tags %v, %v", policy.Policy.Tags, err)
	}
}

// TestReaderLeaves takes a principal from the mapping: all that it had ends, but for the
// boundary on its role, which only narrows.
func TestReaderLeaves(t *testing.T) {
	w := newWorld(t, standardTenants()...)
	set := w.set(somePolicies)
	w.apply(set)
	delete(w.mapping.Roles, "data_scientist/ana")
	p := w.apply(set)
	for _, want := range []string{"- policy cardlake-data_scientist-ana:", "- policy cardlake-data_scientist-ana on role", "- grant " + ana + " on database cards", "- filter cards.transactions/cardlake-data_scientist-ana-"} {
		if !slices.ContainsFunc(p.Changes, func(c Change) bool { return strings.HasPrefix(c.String(), want) }) {
			t.Errorf("the plan has no %q", want)
		}
	}
	for _, sees := range w.aws.Sees(ana, cardlake.Transactions, "beta") {
		if sees {
			t.Fatal("who left still sees")
		}
	}
}

// TestKeysFollowScope lets the data access role decrypt what somebody is given, and no more.
func TestKeysFollowScope(t *testing.T) {
	w := newWorld(t, standardTenants()...)
	granted := func() []string {
		var out []string
		for owner, arns := range w.keys {
			for _, arn := range arns {
				page, err := w.hands().kms.ListGrants(t.Context(), &kms.ListGrantsInput{KeyId: &arn})
				if err != nil {
					t.Fatal(err)
				}
				for _, g := range page.Grants {
					if aws.ToString(g.GranteePrincipal) != accessRole || !slices.Equal(g.Operations, []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt}) ||
						g.Constraints.EncryptionContextSubset["aws:s3:arn"] != "arn:aws:s3:::"+bucket || aws.ToString(g.RetiringPrincipal) != adminRole {
						t.Errorf("grant %+v", g)
					}
					out = append(out, string(owner))
				}
			}
		}
		slices.Sort(out)
		return out
	}
	id := func(i int) string { return string(w.tenants[i].StorageID) }
	w.apply(w.set(`@id("x") permit (principal in Lake::Persona::"auditor", action, resource is Lake::Slice) when { resource.tenant.country == "BR" };`))
	want := []string{id(0), id(2), string(keys.Lake)}
	slices.Sort(want)
	if got := granted(); !slices.Equal(got, want) {
		t.Errorf("keys of %v, want %v", got, want)
	}
	w.apply(w.set(""))
	if got := granted(); len(got) > 0 {
		t.Errorf("keys of %v, want none", got)
	}
}

// TestScopesThatDiffer gives columns clear to some tenants' rows and masked to others', and
// everything but two tenants, of objects that are put without bucket keys.
func TestScopesThatDiffer(t *testing.T) {
	w := newWorldWith(t, true, standardTenants()...)
	set := w.set(`
		@id("clear") permit (principal in Lake::Persona::"data_scientist", action, resource in Lake::Table::"cards.transactions") when { resource.tag == "public" };
		@id("money") permit (principal in Lake::Persona::"data_scientist", action, resource in Lake::Table::"cards.transactions") when { resource.tag == "money" && (resource.access == "masked" || resource.tenant == Lake::Tenant::"beta") };
		@id("all") permit (principal in Lake::Persona::"etl_job", action, resource in Lake::Table::"cards.transactions");
		@id("not") forbid (principal in Lake::Persona::"etl_job", action, resource is Lake::Slice) when { resource.tenant == Lake::Tenant::"acme" || resource.tenant == Lake::Tenant::"coral" };`)
	p := w.apply(set)
	w.expect(set)
	if !slices.ContainsFunc(p.Changes, func(c Change) bool {
		return strings.HasSuffix(c.New, " where (tenant <> 'acme') AND (tenant <> 'coral')")
	}) {
		t.Errorf("no filter excludes two: %v", p.Changes)
	}
}

// TestLostAnswers loses the answer of one call after the other. The SDK asks again, and is told
// that the object is there, or has another version, or is gone.
func TestLostAnswers(t *testing.T) {
	w := newWorld(t, standardTenants()...)
	sets := []Decider{w.set(somePolicies), w.set(strings.Replace(somePolicies, `Tenant::"acme"`, `Tenant::"beta"`, 1)), w.set("")}
	for _, set := range sets {
		for n := 1; n < 200; n += 4 { // the second attempt is answered
			w.aws.FailWrite(n, lftest.Fault{Done: true})
		}
		if err := w.account().Apply(t.Context(), w.plan(set)); err != nil {
			t.Fatal(err)
		}
		w.aws.Heal()
		if p := w.plan(set); !p.IsEmpty() {
			t.Errorf("left over: %v", p.Changes)
		}
		w.expect(set)
	}
}
