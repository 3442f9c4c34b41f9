package gluetest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"
	"github.com/aws/smithy-go"
)

func start(t *testing.T, cfg Config) (*Server, *glue.Client) {
	t.Helper()
	s := Start(cfg)
	t.Cleanup(s.Close)
	return s, s.Client()
}

func mustCreate(t *testing.T, c *glue.Client) {
	t.Helper()
	if _, err := c.CreateDatabase(t.Context(), &glue.CreateDatabaseInput{DatabaseInput: &types.DatabaseInput{Name: aws.String("Cards")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateTable(t.Context(), &glue.CreateTableInput{DatabaseName: aws.String("cards"), TableInput: input("0")}); err != nil {
		t.Fatal(err)
	}
}

func input(value string) *types.TableInput {
	return &types.TableInput{
		Name: aws.String("T"), TableType: aws.String("EXTERNAL_TABLE"), Parameters: map[string]string{"value": value},
		StorageDescriptor: &types.StorageDescriptor{Location: aws.String("s3://b/t"), Columns: []types.Column{{Name: aws.String("a"), Type: aws.String("string")}}},
	}
}

func update(value, version string, skip bool) *glue.UpdateTableInput {
	in := &glue.UpdateTableInput{DatabaseName: aws.String("cards"), TableInput: input(value), SkipArchive: &skip}
	if version != "" {
		in.VersionId = &version
	}
	return in
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestVersions(t *testing.T) {
	_, c := start(t, Config{MaxVersions: 2})
	mustCreate(t, c)
	for i, step := range []struct {
		version string
		skip    bool
		want    string
	}{
		{"0", false, ""},
		{"0", false, "ConcurrentModificationException"},
		{"2", true, "ConcurrentModificationException"},
		{"1", true, ""},
		{"", false, ""}, // without a version nothing is compared
		{"3", false, "ResourceNumberLimitExceededException"},
		{"3", true, ""},
	} {
		_, err := c.UpdateTable(t.Context(), update(string(rune('a'+i)), step.version, step.skip))
		if code(err) != step.want || err != nil && step.want == "" {
			t.Errorf("step %d: %v, want %s", i, err, step.want)
		}
	}
	out, err := c.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: aws.String("CARDS"), Name: aws.String("t")})
	if err != nil {
		t.Fatal(err)
	}
	if v := aws.ToString(out.Table.VersionId); v != "4" || out.Table.Parameters["value"] != "g" || aws.ToString(out.Table.Name) != "t" || out.Table.CreateTime == nil {
		t.Errorf("the table is %s at version %s with %v", aws.ToString(out.Table.Name), v, out.Table.Parameters)
	}
	var versions []string
	pages := glue.NewGetTableVersionsPaginator(c, &glue.GetTableVersionsInput{
		DatabaseName: aws.String("cards"), TableName: aws.String("t"), MaxResults: aws.Int32(2),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.TableVersions {
			versions = append(versions, aws.ToString(v.VersionId)+v.Table.Parameters["value"])
		}
	}
	if got := strings.Join(versions, " "); got != "4g 2d 00" {
		t.Errorf("versions are %s", got)
	}
}

func TestErrors(t *testing.T) {
	_, c := start(t, Config{})
	mustCreate(t, c)
	long := strings.Repeat("x", 256)
	bad := func(change func(*types.TableInput)) *glue.CreateTableInput {
		in := input("0")
		in.Name = aws.String("other")
		change(in)
		return &glue.CreateTableInput{DatabaseName: aws.String("cards"), TableInput: in}
	}
	for name, call := range map[string]struct {
		want string
		do   func() error
	}{
		"database twice": {"AlreadyExistsException", func() error {
			_, err := c.CreateDatabase(t.Context(), &glue.CreateDatabaseInput{DatabaseInput: &types.DatabaseInput{Name: aws.String("cards")}})
			return err
		}},
		"no database": {"EntityNotFoundException", func() error {
			_, err := c.GetDatabase(t.Context(), &glue.GetDatabaseInput{Name: aws.String("none")})
			return err
		}},
		"table twice": {"AlreadyExistsException", func() error {
			_, err := c.CreateTable(t.Context(), &glue.CreateTableInput{DatabaseName: aws.String("cards"), TableInput: input("1")})
			return err
		}},
		"no table": {"EntityNotFoundException", func() error {
			_, err := c.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: aws.String("cards"), Name: aws.String("none")})
			return err
		}},
		"long name": {"InvalidInputException", func() error {
			_, err := c.CreateTable(t.Context(), bad(func(in *types.TableInput) { in.Name = &long }))
			return err
		}},
		"long comment": {"InvalidInputException", func() error {
			_, err := c.CreateTable(t.Context(), bad(func(in *types.TableInput) { in.StorageDescriptor.Columns[0].Comment = &long }))
			return err
		}},
		"unknown member": {"SerializationException", func() error {
			_, err := c.CreateTable(t.Context(), bad(func(in *types.TableInput) { in.ViewOriginalText = aws.String("x") }))
			return err
		}},
		"other operation": {"UnknownOperationException", func() error {
			_, err := c.GetTables(t.Context(), &glue.GetTablesInput{DatabaseName: aws.String("cards")})
			return err
		}},
	} {
		if err := call.do(); code(err) != call.want {
			t.Errorf("%s: %v, want %s", name, err, call.want)
		}
	}
	if _, err := c.GetDatabase(t.Context(), &glue.GetDatabaseInput{Name: aws.String("cards")}); err != nil {
		t.Error(err)
	}
	name := glue.DeleteTableInput{DatabaseName: aws.String("cards"), Name: aws.String("t")}
	if _, err := c.DeleteTable(t.Context(), &name); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteTable(t.Context(), &name); code(err) != "EntityNotFoundException" {
		t.Errorf("delete again: %v", err)
	}
}

func TestFaults(t *testing.T) {
	s, c := start(t, Config{})
	mustCreate(t, c)
	once := func(o *glue.Options) { o.Retryer = aws.NopRetryer{} }
	version := func() string {
		out, err := c.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: aws.String("cards"), Name: aws.String("t")})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.Table.VersionId)
	}
	for i, step := range []struct {
		fault   Fault
		code    string
		version string
	}{
		{Fault{}, "", "0"},
		{Fault{Code: "ThrottlingException"}, "ThrottlingException", "0"},
		{Fault{Code: "InternalServiceException", Status: 500}, "InternalServiceException", "0"},
		{Fault{Done: true}, "", "1"},
		{Fault{Done: true, Code: "OperationTimeoutException"}, "OperationTimeoutException", "2"},
		{Fault{Late: time.Millisecond}, "", "3"},
	} {
		s.Inject(UpdateTable, 2, step.fault)
		if _, err := c.UpdateTable(t.Context(), update("x", "stale", true), once); code(err) != "ConcurrentModificationException" {
			t.Fatalf("step %d: the call before: %v", i, err)
		}
		_, err := c.UpdateTable(t.Context(), update("x", version(), true), once)
		if err == nil || code(err) != step.code {
			t.Errorf("step %d: %v, want %q", i, err, step.code)
		}
		s.Settle()
		if v := version(); v != step.version {
			t.Errorf("step %d: the table is at version %s, want %s", i, v, step.version)
		}
	}
	s.Inject(UpdateTable, 1, Fault{Done: true, Delay: time.Millisecond})
	if _, err := c.UpdateTable(t.Context(), update("x", "3", true), once); err != nil {
		t.Errorf("a slow call: %v", err)
	}
	if n := s.Calls(UpdateTable); n != 13 {
		t.Errorf("%d calls, want 13", n)
	}
}

func TestRequestsThatAreNoCalls(t *testing.T) {
	s, _ := start(t, Config{})
	for name, header := range map[string]http.Header{
		"no target":    {"Content-Type": {"application/x-amz-json-1.1"}},
		"content type": {"X-Amz-Target": {"AWSGlue.GetTable"}, "Content-Type": {"application/json"}},
		"not signed":   {"X-Amz-Target": {"AWSGlue.GetTable"}, "Content-Type": {"application/x-amz-json-1.1"}},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode/100 != 4 || !strings.Contains(string(body), "__type") {
			t.Errorf("%s: status %d, %s", name, response.StatusCode, body)
		}
	}
}
