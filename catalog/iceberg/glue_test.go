package iceberg

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/iceberg/gluetest"
)

func glueTable(t *testing.T, c *glue.Client) *types.Table {
	t.Helper()
	out, err := c.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: aws.String("cards"), Name: aws.String("transactions")})
	if err != nil {
		t.Fatal(err)
	}
	return out.Table
}

// TestGlueConventions looks at the table as Athena, Trino and Spark find it.
func TestGlueConventions(t *testing.T) {
	server := gluetest.Start(gluetest.Config{})
	defer server.Close()
	client, store := server.Client(), newStore()
	c, err := Open(t.Context(), Config{Glue: client, Objects: store, Location: "s3://lake-bucket/main"})
	if err != nil {
		t.Fatal(err)
	}
	tbl := mustTable(t, c, cardlake.Transactions)
	created := glueTable(t, client)
	first := created.Parameters["metadata_location"]
	if !strings.HasPrefix(first, "s3://lake-bucket/main/metadata/transactions/00000-") || !strings.HasSuffix(first, ".metadata.json") {
		t.Errorf("the metadata is at %s", first)
	}
	if diff := gocmp.Diff(map[string]string{"table_type": "ICEBERG", "metadata_location": first}, created.Parameters); diff != "" {
		t.Error(diff)
	}
	if aws.ToString(created.TableType) != "EXTERNAL_TABLE" || aws.ToString(created.StorageDescriptor.Location) != "s3://lake-bucket/main/transactions" {
		t.Errorf("the table is a %s at %s", aws.ToString(created.TableType), aws.ToString(created.StorageDescriptor.Location))
	}
	columns := created.StorageDescriptor.Columns
	if len(columns) != len(cardlake.Transactions.Columns) {
		t.Fatalf("%d columns", len(columns))
	}
	for i, want := range map[int]string{0: "event_id string 1 false", 6: "event_time timestamp 7 false", 16: "amount decimal(18,4) 17 false", 18: "billing_amount decimal(18,4) 19 true", 46: "stream_offset bigint 47 false"} {
		c := columns[i]
		if got := fmt.Sprint(*c.Name, " ", *c.Type, " ", c.Parameters["iceberg.field.id"], " ", c.Parameters["iceberg.field.optional"]); got != want {
			t.Errorf("column %d is %s, want %s", i, got, want)
		}
	}

	// What others set stays, also when the version moves without the pointer.
	in := &types.TableInput{
		Name: created.Name, TableType: created.TableType, StorageDescriptor: created.StorageDescriptor,
		Owner: aws.String("lake-admin"), Description: aws.String("theirs"), Retention: 5,
		Parameters: map[string]string{"table_type": "ICEBERG", "metadata_location": first, "classification": "iceberg"},
	}
	if _, err := client.UpdateTable(t.Context(), &glue.UpdateTableInput{DatabaseName: aws.String("cards"), TableInput: in}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, tbl, window(0, 2))
	after := glueTable(t, client)
	if aws.ToString(after.Owner) != "lake-admin" || aws.ToString(after.Description) != "theirs" || after.Retention != 5 || len(after.StorageDescriptor.Columns) != len(columns) {
		t.Errorf("the table is now %+v", after)
	}
	if diff := gocmp.Diff(map[string]string{
		"table_type": "ICEBERG", "classification": "iceberg", "previous_metadata_location": first,
		"metadata_location": after.Parameters["metadata_location"],
	}, after.Parameters); diff != "" {
		t.Error(diff)
	}
	if loadForeign(t, tbl).Location() != "s3://lake-bucket/main/transactions" {
		t.Error("the metadata says another location")
	}
	for entry := range readEntries(t, tbl) {
		if !strings.HasPrefix(entry, "s3://lake-bucket/main/data/transactions/") {
			t.Errorf("a data file is at %s", entry)
		}
	}
	// Commits do not use up the account's versions.
	for n := 1; n < 10; n++ {
		mustAppend(t, tbl, window(n, 1))
	}
	versions, err := client.GetTableVersions(t.Context(), &glue.GetTableVersionsInput{DatabaseName: aws.String("cards"), TableName: aws.String("transactions")})
	if err != nil || len(versions.TableVersions) != 2 {
		t.Errorf("there are %d versions, %v, want the current and the one made by others", len(versions.TableVersions), err)
	}
	// The same table under another location is not opened.
	other, err := Open(t.Context(), Config{Glue: client, Objects: store, Location: "s3://other"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Table(t.Context(), cardlake.Transactions); err == nil {
		t.Error("the table is opened under another location")
	}
}

// TestGlueVersionMovesAlone has somebody change the table in Glue, but not its pointer,
// between the swap's two calls.
func TestGlueVersionMovesAlone(t *testing.T) {
	server := gluetest.Start(gluetest.Config{})
	defer server.Close()
	store := newStore()
	c, err := Open(t.Context(), Config{Glue: server.Client(), Objects: store})
	if err != nil {
		t.Fatal(err)
	}
	tbl := mustTable(t, c, cardlake.Transactions)
	server.Inject(gluetest.UpdateTable, 1, gluetest.Fault{Code: "ConcurrentModificationException"})
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	if n := server.Calls(gluetest.UpdateTable); n != 2 {
		t.Errorf("%d updates, want 2", n)
	}
	if n := store.count("-m0.avro"); n != 1 {
		t.Errorf("there are %d manifests of the files, want 1 for both tries", n)
	}
	checkCatalog(t, c)
}

func TestGlueTableOfAnotherKind(t *testing.T) {
	server := gluetest.Start(gluetest.Config{})
	defer server.Close()
	client := server.Client()
	if _, err := client.CreateDatabase(t.Context(), &glue.CreateDatabaseInput{DatabaseInput: &types.DatabaseInput{Name: aws.String("cards")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateTable(t.Context(), &glue.CreateTableInput{DatabaseName: aws.String("cards"), TableInput: &types.TableInput{
		Name: aws.String("transactions"), Parameters: map[string]string{"classification": "parquet"},
	}}); err != nil {
		t.Fatal(err)
	}
	store := newStore()
	c, err := Open(t.Context(), Config{Glue: client, Objects: store})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Table(t.Context(), cardlake.Transactions); err == nil || errors.Is(err, ErrNoTable) || len(store.names("")) != 0 {
		t.Errorf("a table that is not Iceberg's: %v", err)
	}
}

func TestClassifyGlue(t *testing.T) {
	answered := func(status int, code string) error {
		return &smithy.OperationError{Err: &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
			Err:      &smithy.GenericAPIError{Code: code},
		}}}
	}
	for _, c := range []struct {
		err  error
		want outcome
	}{
		{answered(400, "ConcurrentModificationException"), lost},
		{answered(400, "VersionMismatchException"), lost},
		{answered(400, "ThrottlingException"), failed},
		{answered(400, "EntityNotFoundException"), failed},
		{answered(400, "ResourceNumberLimitExceededException"), failed},
		{answered(400, "AccessDeniedException"), failed},
		{answered(403, "ExpiredTokenException"), failed},
		{answered(400, "OperationTimeoutException"), unknown},
		{answered(500, "InternalServiceException"), unknown},
		{answered(503, "ServiceUnavailable"), unknown},
		{answered(200, "SerializationException"), unknown},
		{errors.New("connection reset"), unknown},
	} {
		if got := classifyGlue(fmt.Errorf("write: %w", c.err)); got != c.want {
			t.Errorf("%v is classified %v, want %v", c.err, got, c.want)
		}
	}
}
