package iceberg

import (
	"crypto/rand"
	"fmt"
	"strconv"

	iceberg "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/cardlake/cardlake"
)

// Partition field ids begin at 1000 (Iceberg specification, "Partition Specs").
const firstPartitionID = 1000

var icebergTypes = map[cardlake.Type]iceberg.Type{
	cardlake.String:      iceberg.PrimitiveTypes.String,
	cardlake.Binary:      iceberg.PrimitiveTypes.Binary,
	cardlake.Bool:        iceberg.PrimitiveTypes.Bool,
	cardlake.Int32:       iceberg.PrimitiveTypes.Int32,
	cardlake.Int64:       iceberg.PrimitiveTypes.Int64,
	cardlake.Timestamp:   iceberg.PrimitiveTypes.Timestamp,
	cardlake.TimestampTZ: iceberg.PrimitiveTypes.TimestampTz,
	cardlake.Decimal18x4: iceberg.DecimalTypeOf(18, 4),
}

// schemaOf spells the definition's columns as an Iceberg schema, field ids as they are.
func schemaOf(def *cardlake.Table) (*iceberg.Schema, error) {
	fields := make([]iceberg.NestedField, len(def.Columns))
	for i, c := range def.Columns {
		t, ok := icebergTypes[c.Type]
		if !ok {
			return nil, fmt.Errorf("column %s: type %d has no Iceberg spelling", c.Name, c.Type)
		}
		fields[i] = iceberg.NestedField{ID: c.ID, Name: c.Name, Type: t, Required: !c.Nullable, Doc: c.Doc}
	}
	return iceberg.NewSchema(0, fields...), nil
}

// specOf is identity(tenant) for tables by tenant, then day(time).
func specOf(def *cardlake.Table) (iceberg.PartitionSpec, error) {
	time := def.Column(def.Time)
	if time == nil || time.Type != cardlake.TimestampTZ || time.Nullable {
		return iceberg.PartitionSpec{}, fmt.Errorf("time column %q is not a timestamptz that is always set", def.Time)
	}
	var fields []iceberg.PartitionField
	if def.ByTenant {
		tenant := def.Column("tenant")
		if tenant == nil || tenant.Type != cardlake.String || tenant.Nullable {
			return iceberg.PartitionSpec{}, fmt.Errorf("column tenant is not a string that is always set")
		}
		fields = append(fields, iceberg.PartitionField{
			SourceIDs: []int{tenant.ID}, FieldID: firstPartitionID, Name: "tenant", Transform: iceberg.IdentityTransform{},
		})
	}
	fields = append(fields, iceberg.PartitionField{
		SourceIDs: []int{time.ID}, FieldID: firstPartitionID + len(fields), Name: def.Time + "_day", Transform: iceberg.DayTransform{},
	})
	return iceberg.NewPartitionSpec(fields...), nil
}

// sortOrderOf is the time column, ascending.
func sortOrderOf(def *cardlake.Table) (table.SortOrder, error) {
	return table.NewSortOrder(1, []table.SortField{{
		SourceIDs: []int{def.Column(def.Time).ID}, Transform: iceberg.IdentityTransform{},
		Direction: table.SortASC, NullOrder: table.NullsFirst,
	}})
}

// propertiesOf are the table's properties. Those about commits are for other engines: this
// package merges manifests and bounds the metadata log itself.
func propertiesOf(def *cardlake.Table, at locations) iceberg.Properties {
	return iceberg.Properties{
		"comment":                                 def.Doc,
		table.WriteMetadataPathKey:                at.uri(metadataPrefix(def)),
		table.WriteDataPathKey:                    at.uri("data/" + def.Name),
		table.WriteFormatDefaultKey:               "parquet",
		table.ParquetCompressionKey:               "zstd",
		table.ManifestMergeEnabledKey:             "false",
		table.MetadataPreviousVersionsMaxKey:      strconv.Itoa(metadataLog),
		table.MetadataDeleteAfterCommitEnabledKey: "true",
		table.CommitNumRetriesKey:                 "0",
	}
}

func metadataPrefix(def *cardlake.Table) string { return "metadata/" + def.Name }

// newMetadata is the first metadata of the table: no snapshot. The builder keeps the
// definition's field ids, which iceberg-go's NewMetadata would renumber.
func newMetadata(def *cardlake.Table, at locations) (table.Metadata, error) {
	schema, err := schemaOf(def)
	if err != nil {
		return nil, err
	}
	spec, err := specOf(def)
	if err != nil {
		return nil, err
	}
	order, err := sortOrderOf(def)
	if err != nil {
		return nil, err
	}
	b, err := table.NewMetadataBuilder(2)
	if err != nil {
		return nil, err
	}
	const lastAdded = -1 // the schema, order or spec that was added last
	for _, step := range []func() error{
		func() error { return b.SetUUID([16]byte(newUUID())) },
		func() error { return b.SetLoc(at.uri(def.Name)) },
		func() error { return b.AddSchema(schema) },
		func() error { return b.SetCurrentSchemaID(lastAdded) },
		func() error { return b.AddPartitionSpec(&spec, true) },
		func() error { return b.SetDefaultSpecID(lastAdded) },
		func() error { return b.AddSortOrder(&order) },
		func() error { return b.SetDefaultSortOrderID(lastAdded) },
		func() error { return b.SetProperties(propertiesOf(def, at)) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return b.Build()
}

// newUUID is a random (version 4) UUID, RFC 9562 section 5.4.
func newUUID() (id uuid) {
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

type uuid [16]byte

func (id uuid) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// checkLayout reports the first difference between the table and its definition. Docs may
// differ.
func checkLayout(meta table.Metadata, def *cardlake.Table) error {
	want, err := schemaOf(def)
	if err != nil {
		return err
	}
	have := meta.CurrentSchema()
	for _, w := range want.Fields() {
		h, ok := have.FindFieldByID(w.ID)
		if !ok {
			return fmt.Errorf("schema: the table has no column %s (field id %d)", w.Name, w.ID)
		}
		if h.Name != w.Name || !h.Type.Equals(w.Type) || h.Required != w.Required {
			return fmt.Errorf("schema: field id %d is %s in the table, defined as %s", w.ID, describe(h), describe(w))
		}
	}
	if have.NumFields() != want.NumFields() {
		return fmt.Errorf("schema: the table has %d columns, defined are %d", have.NumFields(), want.NumFields())
	}
	spec, err := specOf(def)
	if err != nil {
		return err
	}
	if s := meta.PartitionSpec(); !s.CompatibleWith(&spec) {
		return fmt.Errorf("partitioning: %s in the table, defined as %s", s, spec)
	}
	return nil
}

func describe(f iceberg.NestedField) string {
	if f.Required {
		return fmt.Sprintf("%s %s, always set", f.Name, f.Type)
	}
	return fmt.Sprintf("%s %s", f.Name, f.Type)
}
