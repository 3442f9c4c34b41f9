package flightsql

import (
	"context"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql/schema_ref"

	"github.com/cardlake/cardlake"
)

const (
	// catalogName is that of what has no catalog. Statements name tables by schema and name
	// only: a catalog with a name would come up in those that tools write. There is one without
	// a name all the same, because drivers list schemas by catalog.
	catalogName = ""

	typeTable = "TABLE"
	typeView  = "VIEW"
)

// relation is a table or a view as the caller has it.
type relation struct {
	namespace, name, kind string
	columns               []arrow.Field
}

// relations are those that the caller may read, in order of name. It is one call, on record.
func (s *Server) relations(ctx context.Context) ([]relation, error) {
	c := callOf(ctx)
	if err := s.entrance.Count(c.caller.Principal); err != nil {
		return nil, err
	}
	list, err := s.gateway.Tables(ctx, c.caller)
	if err := s.entrance.Record(ctx, c.caller, "tables", "tables", err); err != nil {
		return nil, err
	}
	views, err := s.gateway.Views(ctx, c.caller)
	if err != nil {
		return nil, err
	}
	var out []relation
	for _, t := range list {
		r := relation{namespace: t.Table.Namespace, name: t.Table.Name, kind: typeTable}
		schema := cardlake.ArrowSchema(t.Table)
		for _, column := range t.Columns {
			fields, _ := schema.FieldsByName(column.Name)
			r.columns = append(r.columns, fieldOf(r, column.Name, fields[0].Type, column.Nullable, column.Doc))
		}
		out = append(out, r)
	}
	for _, v := range views {
		r := relation{namespace: v.Namespace, name: v.Name, kind: typeView}
		for _, column := range v.Columns {
			r.columns = append(r.columns, fieldOf(r, column.Name, column.Type, true, column.Doc))
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b relation) int {
		return strings.Compare(a.namespace+"."+a.name, b.namespace+"."+b.name)
	})
	return out, nil
}

// fieldOf is a column as drivers describe it.
func fieldOf(r relation, name string, t arrow.DataType, isNullable bool, doc string) arrow.Field {
	b := flightsql.NewColumnMetadataBuilder().SchemaName(r.namespace).TableName(r.name).
		TypeName(typeName(t)).IsReadOnly(true).IsSearchable(true).IsCaseSensitive(t.ID() == arrow.STRING).IsAutoIncrement(false).Remarks(doc)
	if d, ok := t.(arrow.DecimalType); ok {
		b.Precision(d.GetPrecision()).Scale(d.GetScale())
	}
	return arrow.Field{Name: name, Type: t, Nullable: isNullable, Metadata: b.Metadata()}
}

// typeName is the SQL name of a type.
func typeName(t arrow.DataType) string {
	switch t.ID() {
	case arrow.STRING:
		return "VARCHAR"
	case arrow.BINARY:
		return "BLOB"
	case arrow.BOOL:
		return "BOOLEAN"
	case arrow.INT32:
		return "INTEGER"
	case arrow.INT64:
		return "BIGINT"
	case arrow.FLOAT64:
		return "DOUBLE"
	case arrow.DATE32:
		return "DATE"
	case arrow.DECIMAL128:
		return "DECIMAL"
	case arrow.TIMESTAMP:
		if t.(*arrow.TimestampType).TimeZone != "" {
			return "TIMESTAMP WITH TIME ZONE"
		}
		return "TIMESTAMP"
	}
	return strings.ToUpper(t.Name())
}

// metadataInfo is where an answer about the server is: at this server, with the command as the
// ticket.
func (s *Server) metadataInfo(d *flight.FlightDescriptor, schema *arrow.Schema) (*flight.FlightInfo, error) {
	return &flight.FlightInfo{
		Schema: flight.SerializeSchema(schema, s.Alloc), FlightDescriptor: d, TotalRecords: -1, TotalBytes: -1,
		Endpoint: []*flight.FlightEndpoint{{Ticket: &flight.Ticket{Ticket: d.Cmd}}},
	}, nil
}

// answer is a stream of the rows that fill adds.
func (s *Server) answer(schema *arrow.Schema, fill func(b *array.RecordBuilder)) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	b := array.NewRecordBuilder(s.Alloc, schema)
	defer b.Release()
	if fill != nil {
		fill(b)
	}
	chunks := make(chan flight.StreamChunk, 1)
	chunks <- flight.StreamChunk{Data: b.NewRecordBatch()}
	close(chunks)
	return schema, chunks, nil
}

// text appends to a column of text.
func text(b *array.RecordBuilder, column int, value string) {
	b.Field(column).(*array.StringBuilder).Append(value)
}

// GetFlightInfoCatalogs implements flightsql.Server.
func (s *Server) GetFlightInfoCatalogs(_ context.Context, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.metadataInfo(d, schema_ref.Catalogs)
}

// DoGetCatalogs implements flightsql.Server.
func (s *Server) DoGetCatalogs(context.Context) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.answer(schema_ref.Catalogs, func(b *array.RecordBuilder) { text(b, 0, catalogName) })
}

// GetFlightInfoSchemas implements flightsql.Server.
func (s *Server) GetFlightInfoSchemas(_ context.Context, _ flightsql.GetDBSchemas, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.metadataInfo(d, schema_ref.DBSchemas)
}

// DoGetDBSchemas implements flightsql.Server.
func (s *Server) DoGetDBSchemas(ctx context.Context, q flightsql.GetDBSchemas) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	list, err := s.relations(ctx)
	if err != nil {
		return nil, nil, err
	}
	return s.answer(schema_ref.DBSchemas, func(b *array.RecordBuilder) {
		var seen []string
		for _, r := range list {
			if slices.Contains(seen, r.namespace) || !isCatalog(q.GetCatalog()) || !matches(q.GetDBSchemaFilterPattern(), r.namespace) {
				continue
			}
			seen = append(seen, r.namespace)
			text(b, 0, catalogName)
			text(b, 1, r.namespace)
		}
	})
}

// GetFlightInfoTables implements flightsql.Server.
func (s *Server) GetFlightInfoTables(_ context.Context, q flightsql.GetTables, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	if q.GetIncludeSchema() {
		return s.metadataInfo(d, schema_ref.TablesWithIncludedSchema)
	}
	return s.metadataInfo(d, schema_ref.Tables)
}

// DoGetTables implements flightsql.Server.
func (s *Server) DoGetTables(ctx context.Context, q flightsql.GetTables) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	list, err := s.relations(ctx)
	if err != nil {
		return nil, nil, err
	}
	schema := schema_ref.Tables
	if q.GetIncludeSchema() {
		schema = schema_ref.TablesWithIncludedSchema
	}
	return s.answer(schema, func(b *array.RecordBuilder) {
		for _, r := range list {
			if !isCatalog(q.GetCatalog()) || !matches(q.GetDBSchemaFilterPattern(), r.namespace) || !matches(q.GetTableNameFilterPattern(), r.name) ||
				len(q.GetTableTypes()) > 0 && !slices.Contains(q.GetTableTypes(), r.kind) {
				continue
			}
			text(b, 0, catalogName)
			text(b, 1, r.namespace)
			text(b, 2, r.name)
			text(b, 3, r.kind)
			if q.GetIncludeSchema() {
				b.Field(4).(*array.BinaryBuilder).Append(flight.SerializeSchema(arrow.NewSchema(r.columns, nil), s.Alloc))
			}
		}
	})
}

// GetFlightInfoTableTypes implements flightsql.Server.
func (s *Server) GetFlightInfoTableTypes(_ context.Context, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.metadataInfo(d, schema_ref.TableTypes)
}

// DoGetTableTypes implements flightsql.Server.
func (s *Server) DoGetTableTypes(context.Context) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.answer(schema_ref.TableTypes, func(b *array.RecordBuilder) {
		text(b, 0, typeTable)
		text(b, 0, typeView)
	})
}

// isCatalog reports whether a filter lets through what has no catalog: none does, and so does "".
func isCatalog(filter *string) bool { return filter == nil || *filter == catalogName }

// matches reports whether a name matches a filter's pattern: % stands for any characters, _ for
// one, and no case is told apart, as in statements.
func matches(pattern *string, name string) bool {
	return pattern == nil || like([]rune(strings.ToLower(*pattern)), []rune(strings.ToLower(name)))
}

func like(pattern, name []rune) bool {
	// The last % is all that need be gone back to.
	p, n, star, from := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '%':
			star, from = p, n
			p++
		case p+1 < len(pattern) && pattern[p] == '\\' && pattern[p+1] == name[n]:
			p, n = p+2, n+1
		case p < len(pattern) && (pattern[p] == '_' || pattern[p] == name[n]):
			p, n = p+1, n+1
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '%' {
		p++
	}
	return p == len(pattern)
}
