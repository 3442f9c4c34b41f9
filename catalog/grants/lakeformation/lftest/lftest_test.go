package lftest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/lakeformation"
	"github.com/aws/aws-sdk-go-v2/service/lakeformation/types"
	"github.com/aws/smithy-go"

	"github.com/cardlake/cardlake"
)

const (
	account = "111122223333"
	reader  = "arn:aws:iam::111122223333:role/reader"
	servant = "arn:aws:iam::111122223333:role/service"
	key     = "arn:aws:kms:us-east-1:111122223333:key/one"
)

func start(t *testing.T) (*Server, *lakeformation.Client, *iam.Client, *kms.Client) {
	t.Helper()
	s := Start(Config{
		Account: account, Region: "us-east-1", Bucket: "lake", Tables: cardlake.Tables, Roles: []string{reader, servant}, Keys: []string{key},
		KeyOf: func(cardlake.Tenant) string { return key },
	})
	t.Cleanup(s.Close)
	lf, identities, encryption := s.Clients()
	return s, lf, identities, encryption
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func cells(change func(*types.DataCellsFilter)) *types.DataCellsFilter {
	f := &types.DataCellsFilter{
		TableCatalogId: aws.String(account), DatabaseName: aws.String("cards"), TableName: aws.String("transactions"), Name: aws.String("f"),
		ColumnNames: []string{"amount"}, RowFilter: &types.RowFilter{FilterExpression: aws.String("tenant IN ('a')")},
	}
	change(f)
	return f
}

func TestFiltersAreChecked(t *testing.T) {
	_, lf, _, _ := start(t)
	for name, c := range map[string]struct {
		change func(*types.DataCellsFilter)
		want   string
	}{
		"both columns": {func(f *types.DataCellsFilter) { f.ColumnWildcard = &types.ColumnWildcard{} }, "InvalidInputException"},
		"no columns":   {func(f *types.DataCellsFilter) { f.ColumnNames = nil }, "InvalidInputException"},
		"no column":    {func(f *types.DataCellsFilter) { f.ColumnNames = []string{"none"} }, "InvalidInputException"},
		"no rows":      {func(f *types.DataCellsFilter) { f.RowFilter = nil }, "InvalidInputException"},
		"both rows":    {func(f *types.DataCellsFilter) { f.RowFilter.AllRowsWildcard = &types.AllRowsWildcard{} }, "InvalidInputException"},
		"expression":   {func(f *types.DataCellsFilter) { f.RowFilter.FilterExpression = aws.String("tenant IN (SELECT 1)") }, "InvalidInputException"},
		"long": {func(f *types.DataCellsFilter) {
			f.RowFilter.FilterExpression = aws.String("tenant IN ('" + strings.Repeat("a", 2048-14) + "')")
		}, "InvalidInputException"},
		"name":    {func(f *types.DataCellsFilter) { f.Name = aws.String("a\nb") }, "InvalidInputException"},
		"table":   {func(f *types.DataCellsFilter) { f.TableName = aws.String("none") }, "EntityNotFoundException"},
		"catalog": {func(f *types.DataCellsFilter) { f.TableCatalogId = aws.String("999999999999") }, "InvalidInputException"},
	} {
		if _, err := lf.CreateDataCellsFilter(t.Context(), &lakeformation.CreateDataCellsFilterInput{TableData: cells(c.change)}); code(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	create := func() error {
		_, err := lf.CreateDataCellsFilter(t.Context(), &lakeformation.CreateDataCellsFilterInput{TableData: cells(func(*types.DataCellsFilter) {})})
		return err
	}
	if err := create(); err != nil {
		t.Fatal(err)
	}
	if err := create(); code(err) != "AlreadyExistsException" {
		t.Errorf("twice: %v", err)
	}
	for version, want := range map[string]string{"7": "ConcurrentModificationException", "1": ""} {
		_, err := lf.UpdateDataCellsFilter(t.Context(), &lakeformation.UpdateDataCellsFilterInput{TableData: cells(func(f *types.DataCellsFilter) { f.VersionId = &version })})
		if want != "" && code(err) != want || want == "" && err != nil {
			t.Errorf("version %s: %v", version, err)
		}
	}
	grant := func(who string) error {
		_, err := lf.GrantPermissions(t.Context(), &lakeformation.GrantPermissionsInput{
			Principal: &types.DataLakePrincipal{DataLakePrincipalIdentifier: &who}, Permissions: []types.Permission{types.PermissionSelect},
			Resource: &types.Resource{DataCellsFilter: &types.DataCellsFilterResource{
				TableCatalogId: aws.String(account), DatabaseName: aws.String("cards"), TableName: aws.String("transactions"), Name: aws.String("f")}},
		})
		return err
	}
	if err := grant("arn:aws:iam::111122223333:role/none"); code(err) != "InvalidInputException" {
		t.Errorf("to nobody: %v", err)
	}
	if err := errors.Join(grant(reader), grant(reader)); err != nil {
		t.Error(err)
	}
	if _, err := lf.DeleteDataCellsFilter(t.Context(), &lakeformation.DeleteDataCellsFilterInput{
		TableCatalogId: aws.String(account), DatabaseName: aws.String("cards"), TableName: aws.String("transactions"), Name: aws.String("f")}); code(err) != "InvalidInputException" {
		t.Errorf("delete a granted filter: %v", err)
	}
}

// TestFiltersPerPrincipal grants one filter more than a principal may have of a table.
func TestFiltersPerPrincipal(t *testing.T) {
	_, lf, _, _ := start(t)
	for i := range 101 {
		name := fmt.Sprint("f", i)
		_, err := lf.CreateDataCellsFilter(t.Context(), &lakeformation.CreateDataCellsFilterInput{TableData: cells(func(f *types.DataCellsFilter) { f.Name = &name })})
		if err != nil {
			t.Fatal(err)
		}
		_, err = lf.GrantPermissions(t.Context(), &lakeformation.GrantPermissionsInput{
			Principal: &types.DataLakePrincipal{DataLakePrincipalIdentifier: aws.String(reader)}, Permissions: []types.Permission{types.PermissionSelect},
			Resource: &types.Resource{DataCellsFilter: &types.DataCellsFilterResource{
				TableCatalogId: aws.String(account), DatabaseName: aws.String("cards"), TableName: aws.String("transactions"), Name: &name}},
		})
		if i < 100 && err != nil || i == 100 && code(err) != "ResourceNumberLimitExceededException" {
			t.Fatalf("filter %d: %v", i, err)
		}
	}
}

func TestExpressions(t *testing.T) {
	row := map[string]string{"tenant": "beta"}
	for text, want := range map[string]bool{
		"tenant = 'beta'": true, "tenant <> 'beta'": false, "tenant != 'acme'": true, "tenant IN ('acme', 'beta')": true, "tenant in ('acme')": false,
		"(tenant <> 'acme') AND (tenant <> 'beta')": false, "tenant = 'x' OR (tenant LIKE 'b%')": true, "tenant LIKE '_eta'": true, "tenant LIKE '.*'": false,
		"tenant BETWEEN 'a' AND 'c'": true, "tenant IS NOT NULL": true, "tenant IS NULL": false, "tenant < 'b'": false, "tenant >= 'b'": true,
		"amount > 10.5": true, "approved = true": true, "tenant = 'it''s'": false,
	} {
		p, err := parseExpression(text, cardlake.Transactions)
		if err != nil || p(row) != want {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	for _, text := range []string{
		"", "tenant", "tenant =", "tenant = beta", "tenant = 'beta", "none = 'x'", "tenant NOT IN ('x')", "NOT tenant = 'x'", "tenant = bin", "lower(tenant) = 'x'", "tenant IN ()",
		"tenant IN ('a',)", "(tenant = 'a'", "tenant = 'a')", "tenant = 'a'; x", "event_time > '2026'", "amount = '1'", "tenant = 1", "tenant = 'a' tenant = 'b'", "1 = 1",
	} {
		if _, err := parseExpression(text, cardlake.Transactions); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzExpression(f *testing.F) {
	for _, text := range []string{"tenant IN ('a', 'b')", "(tenant <> 'a') AND (tenant <> 'b')", "tenant LIKE '%' OR amount > 1", "((((", "tenant BETWEEN 'a' AND"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parseExpression(text, cardlake.Transactions); err == nil {
			p(map[string]string{"tenant": "a"})
		}
	})
}

func TestPolicies(t *testing.T) {
	s, _, identities, _ := start(t)
	put := func(statements string) {
		t.Helper()
		_, err := identities.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("reader"), PolicyName: aws.String("p"),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)})
		if err != nil {
			t.Fatal(err)
		}
	}
	allows := func(action, on string) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.iam.allows(reader, action, on)
	}
	const object = "arn:aws:s3:::lake/data/x"
	for statements, want := range map[string]bool{
		`{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::lake/*"}`:                                                                   true,
		`{"Effect":"Allow","Action":["s3:getobject"],"Resource":["*"]}`:                                                                            true,
		`{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}`:                                                                                false,
		`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::lake"}`:                                                                           false,
		`{"Effect":"Allow","Action":"*","NotResource":"arn:aws:s3:::other/*"}`:                                                                     true,
		`{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::lake/*"}`:                        false,
		`{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::lake/*"}`:                     true,
		`{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::lake/?ata/x","Condition":{"StringEquals":{"aws:PrincipalTag/a":"b"}}}`: true,
	} {
		put(statements)
		if got := allows("s3:GetObject", object); got != want {
			t.Errorf("%s: %v, want %v", statements, got, want)
		}
	}
	_, err := identities.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("b"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	put(`{"Effect":"Allow","Action":"*","Resource":"*"}`)
	if !allows("s3:GetObject", object) {
		t.Error("without a boundary")
	}
	_, err = identities.PutRolePermissionsBoundary(t.Context(), &iam.PutRolePermissionsBoundaryInput{RoleName: aws.String("reader"), PermissionsBoundary: aws.String("arn:aws:iam::111122223333:policy/b")})
	if err != nil || allows("s3:GetObject", object) || !allows("s3:PutObject", object) {
		t.Errorf("with a boundary: %v", err)
	}
	for name, document := range map[string]string{
		"operator": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"Bool":{"a":"true"}}}]}`,
		"version":  `{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
		"resource": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"lake"}]}`,
		"member":   `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}]}`,
		"sid":      `{"Version":"2012-10-17","Statement":[{"Sid":"a b","Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
	} {
		_, err := identities.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("bad"), PolicyDocument: &document})
		if code(err) != "MalformedPolicyDocument" {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::` + strings.Repeat("x", 6144) + `"}]}`
	if _, err := identities.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("long"), PolicyDocument: &long}); code(err) != "LimitExceeded" {
		t.Errorf("a long policy: %v", err)
	}
}

func TestKeyGrants(t *testing.T) {
	s, _, _, encryption := start(t)
	in := kms.CreateGrantInput{KeyId: aws.String(key), GranteePrincipal: aws.String(servant), Name: aws.String("g"), Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt},
		Constraints: &kmstypes.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "b"}}}
	first, err := encryption.CreateGrant(t.Context(), &in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := encryption.CreateGrant(t.Context(), &in)
	if err != nil || *again.GrantId != *first.GrantId {
		t.Errorf("the same grant twice: %v", err)
	}
	s.mu.Lock()
	if s.kms.decrypts(servant, key, map[string]string{"a": "c"}) || s.kms.decrypts(reader, key, map[string]string{"a": "b"}) || !s.kms.decrypts(servant, key, map[string]string{"a": "b", "c": "d"}) {
		t.Error("constraints do not bind")
	}
	s.mu.Unlock()
	in.GranteePrincipal = aws.String("arn:aws:iam::111122223333:role/none")
	if _, err := encryption.CreateGrant(t.Context(), &in); code(err) != "InvalidArnException" {
		t.Errorf("to nobody: %v", err)
	}
	for _, want := range []string{"", "NotFoundException"} {
		_, err := encryption.RevokeGrant(t.Context(), &kms.RevokeGrantInput{KeyId: aws.String(key), GrantId: first.GrantId})
		if want == "" && err != nil || want != "" && code(err) != want {
			t.Errorf("revoke: %v, want %q", err, want)
		}
	}
}

// TestCallsThatAreNone are refused whatever they ask.
func TestCallsThatAreNone(t *testing.T) {
	s, lf, identities, _ := start(t)
	post := func(path, contentType, target, body string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		if target != "" {
			r.Header.Set("X-Amz-Target", target)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(response.Body); err != nil || response.StatusCode != http.StatusForbidden {
			t.Errorf("%s: status %d, %v", path, response.StatusCode, err)
		}
		return b.String()
	}
	for _, out := range []string{
		post("/GrantPermissions", "application/json", "", "{}"), post("/", "application/x-www-form-urlencoded", "", "Action=GetRole&Version=2010-05-08"),
		post("/", "application/x-amz-json-1.1", "TrentService.CreateGrant", "{}"),
	} {
		if !strings.Contains(out, "Missing Authentication Token") {
			t.Errorf("not signed: %s", out)
		}
	}
	if _, err := lf.ListLFTags(t.Context(), &lakeformation.ListLFTagsInput{}); code(err) != "UnknownOperationException" {
		t.Errorf("another operation: %v", err)
	}
	if _, err := identities.ListUsers(t.Context(), &iam.ListUsersInput{}); code(err) != "InvalidAction" {
		t.Errorf("another operation: %v", err)
	}
	if _, err := identities.CreatePolicyVersion(t.Context(), &iam.CreatePolicyVersionInput{PolicyArn: aws.String("arn:aws:iam::111122223333:policy/none"), PolicyDocument: aws.String("{}")}); code(err) != "NoSuchEntity" {
		t.Errorf("no policy: %v", err)
	}
	if _, err := lf.ListDataCellsFilter(t.Context(), &lakeformation.ListDataCellsFilterInput{
		Table: &types.TableResource{DatabaseName: aws.String("cards"), Name: aws.String("transactions")}, NextToken: aws.String("x")}); code(err) != "InvalidInputException" {
		t.Errorf("a token of nobody: %v", err)
	}
}
