package iceberg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"
	"github.com/aws/smithy-go"

	"github.com/cardlake/cardlake"
)

// Glue is what the catalog calls of AWS Glue; *glue.Client has it.
type Glue interface {
	GetTable(context.Context, *glue.GetTableInput, ...func(*glue.Options)) (*glue.GetTableOutput, error)
	UpdateTable(context.Context, *glue.UpdateTableInput, ...func(*glue.Options)) (*glue.UpdateTableOutput, error)
	CreateTable(context.Context, *glue.CreateTableInput, ...func(*glue.Options)) (*glue.CreateTableOutput, error)
	CreateDatabase(context.Context, *glue.CreateDatabaseInput, ...func(*glue.Options)) (*glue.CreateDatabaseOutput, error)
}

// Parameters of a Glue table that make it an Iceberg table (Iceberg's GlueCatalog; Athena,
// Trino and Spark read them).
const (
	glueTableType        = "table_type"
	glueIceberg          = "ICEBERG"
	glueMetadataLocation = "metadata_location"
	gluePrevious         = "previous_metadata_location"
)

// glueTimeout bounds one call.
const glueTimeout = 30 * time.Second

// gluePointers are tables of AWS Glue's Data Catalog; a namespace is a database.
type gluePointers struct {
	client    Glue
	catalogID string // empty: the caller's account
}

func (p *gluePointers) Close() error { return nil }

func (p *gluePointers) catalog() *string {
	if p.catalogID == "" {
		return nil
	}
	return &p.catalogID
}

// unrepeated keeps the SDK from sending a write again: the repetition of an update that happened
// would find a newer version and report a conflict.
func unrepeated(o *glue.Options) { o.Retryer = aws.NopRetryer{} }

func (p *gluePointers) table(ctx context.Context, def *cardlake.Table) (*types.Table, error) {
	out, err := p.client.GetTable(ctx, &glue.GetTableInput{
		CatalogId: p.catalog(), DatabaseName: &def.Namespace, Name: &def.Name,
	})
	if missing := new(types.EntityNotFoundException); errors.As(err, &missing) {
		return nil, ErrNoTable
	}
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	t := out.Table
	if t.Parameters[glueTableType] != glueIceberg || t.Parameters[glueMetadataLocation] == "" {
		return nil, errors.New("read the catalog: the table in Glue is not one of Iceberg")
	}
	return t, nil
}

func (p *gluePointers) load(ctx context.Context, def *cardlake.Table) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, glueTimeout)
	defer cancel()
	t, err := p.table(ctx, def)
	if err != nil {
		return "", err
	}
	return t.Parameters[glueMetadataLocation], nil
}

func (p *gluePointers) create(ctx context.Context, def *cardlake.Table, root, location string) (created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, glueTimeout)
	defer cancel()
	there := new(types.AlreadyExistsException)
	_, err = p.client.CreateDatabase(ctx, &glue.CreateDatabaseInput{
		CatalogId: p.catalog(), DatabaseInput: &types.DatabaseInput{Name: &def.Namespace},
	}, unrepeated)
	// Who may create tables only finds the database made by others.
	denied := new(types.AccessDeniedException)
	if err != nil && !errors.As(err, &there) && !errors.As(err, &denied) {
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	_, err = p.client.CreateTable(ctx, &glue.CreateTableInput{
		CatalogId: p.catalog(), DatabaseName: &def.Namespace,
		TableInput: &types.TableInput{
			Name: &def.Name, Description: &def.Doc, TableType: aws.String("EXTERNAL_TABLE"),
			Parameters:        map[string]string{glueTableType: glueIceberg, glueMetadataLocation: location},
			StorageDescriptor: &types.StorageDescriptor{Location: &root, Columns: glueColumns(def)},
		},
	}, unrepeated)
	switch {
	case errors.As(err, &there):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("write the catalog: %w", err)
	}
	return true, nil
}

// swap compares twice: the pointer with what the commit is based on, and the table's version
// in Glue with the one in which the pointer was read.
func (p *gluePointers) swap(ctx context.Context, def *cardlake.Table, from, to string) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, glueTimeout)
	defer cancel()
	t, err := p.table(ctx, def)
	switch {
	case err != nil:
		return failed, err
	case t.Parameters[glueMetadataLocation] != from:
		return lost, nil
	case aws.ToString(t.VersionId) == "":
		return failed, errors.New("write the catalog: the table in Glue has no version")
	}
	parameters := maps.Clone(t.Parameters)
	parameters[glueMetadataLocation], parameters[gluePrevious] = to, from
	_, err = p.client.UpdateTable(ctx, &glue.UpdateTableInput{
		CatalogId: p.catalog(), DatabaseName: &def.Namespace, VersionId: t.VersionId,
		SkipArchive: aws.Bool(true), // an account has a limited number of table versions
		TableInput: &types.TableInput{
			Name: t.Name, Description: t.Description, Owner: t.Owner, TableType: t.TableType, Parameters: parameters,
			StorageDescriptor: t.StorageDescriptor, PartitionKeys: t.PartitionKeys, Retention: t.Retention,
			LastAccessTime: t.LastAccessTime, LastAnalyzedTime: t.LastAnalyzedTime,
		},
	}, unrepeated)
	if err == nil {
		return swapped, nil
	}
	if o := classifyGlue(err); o == lost {
		return lost, nil
	} else {
		return o, fmt.Errorf("write the catalog: %w", err)
	}
}

// classifyGlue judges an error of UpdateTable (AWS Glue API reference, "UpdateTable" and
// "Common errors"): the service refused what it answers with a status of 4xx, except for
// OperationTimeoutException, which tells of an operation that was begun.
func classifyGlue(err error) outcome {
	var api smithy.APIError
	var response *awshttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &response) {
		return unknown
	}
	status := response.HTTPStatusCode()
	switch code := api.ErrorCode(); {
	case code == "ConcurrentModificationException", code == "VersionMismatchException":
		return lost
	case code == "OperationTimeoutException", status < http.StatusBadRequest, status >= http.StatusInternalServerError:
		return unknown
	}
	return failed
}

// glueColumns are the table's columns as Iceberg's Glue catalog spells them, for whoever
// browses Glue; engines read the schema from the metadata.
func glueColumns(def *cardlake.Table) []types.Column {
	names := map[cardlake.Type]string{
		cardlake.String: "string", cardlake.Binary: "binary", cardlake.Bool: "boolean",
		cardlake.Int32: "int", cardlake.Int64: "bigint", cardlake.Timestamp: "timestamp",
		cardlake.TimestampTZ: "timestamp", cardlake.Decimal18x4: "decimal(18,4)",
	}
	out := make([]types.Column, len(def.Columns))
	for i, c := range def.Columns {
		out[i] = types.Column{
			Name: aws.String(c.Name), Type: aws.String(names[c.Type]), Comment: aws.String(glueComment(c.Doc)),
			Parameters: map[string]string{
				"iceberg.field.id": strconv.Itoa(c.ID), "iceberg.field.optional": strconv.FormatBool(c.Nullable),
				"iceberg.field.current": "true",
			},
		}
	}
	return out
}

// glueComment cuts a text to the 255 bytes that Glue allows a column's comment.
func glueComment(doc string) string {
	if len(doc) > 255 {
		return strings.ToValidUTF8(doc[:255], "")
	}
	return doc
}
