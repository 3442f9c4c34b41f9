package iceberg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	iceberg "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/cardlake/cardlake"
)

// layout is what a table's metadata says of its schema and partitioning: what commits do
// not change, and so what versions share.
type layout struct {
	source []byte         // the JSON it was made of
	meta   table.Metadata // without snapshots
	specs  map[int]*fileLayout
}

// newLayout reads the members of a table's metadata that commits leave alone.
func newLayout(source []byte, def *cardlake.Table) (*layout, error) {
	// The reader wants the members that every version has.
	body := append([]byte(`{"last-sequence-number":0,"last-updated-ms":0,`), source...)
	meta, err := readForeign(func() (table.Metadata, error) { return table.ParseMetadataBytes(append(body, '}')) })
	if err != nil {
		return nil, fmt.Errorf("table metadata: %w", err)
	}
	if v := meta.Version(); v != 2 {
		return nil, fmt.Errorf("table metadata has format version %d, not 2", v)
	}
	l := &layout{source: source, meta: meta, specs: map[int]*fileLayout{}}
	schema, err := json.Marshal(meta.CurrentSchema())
	if err != nil {
		return nil, fmt.Errorf("table metadata: %w", err)
	}
	for _, spec := range meta.PartitionSpecs() {
		f, err := newFileLayout(meta, spec, string(schema), def)
		if err != nil {
			return nil, err
		}
		l.specs[spec.ID()] = f
	}
	return l, nil
}

// current is the layout of files that are added now.
func (l *layout) current() *fileLayout { return l.specs[l.meta.DefaultPartitionSpec()] }

// fileLayout says how the data files of one partition spec are spelled in manifests.
type fileLayout struct {
	specID     int
	fields     []partitionField
	timeColumn int
	sortOrder  int
	schema     string    // Avro schema of a manifest
	pairs      []string  // metadata of a manifest
	headers    [2][]byte // of a container, not compressed and compressed
}

type partitionField struct {
	id    int
	isDay bool // or else it is the tenant
}

func newFileLayout(meta table.Metadata, spec iceberg.PartitionSpec, schema string, def *cardlake.Table) (*fileLayout, error) {
	l := &fileLayout{specID: spec.ID(), timeColumn: def.Column(def.Time).ID, sortOrder: meta.DefaultSortOrder()}
	partition := make([]string, 0, 2)
	for _, f := range spec.Fields() {
		avroType := `"string"`
		switch f.Transform.(type) {
		case iceberg.IdentityTransform:
			l.fields = append(l.fields, partitionField{id: f.FieldID})
		case iceberg.DayTransform:
			avroType = `{"type":"int","logicalType":"date"}`
			l.fields = append(l.fields, partitionField{id: f.FieldID, isDay: true})
		default:
			return nil, fmt.Errorf("partition field %s: transform %s is unknown", f.Name, f.Transform)
		}
		partition = append(partition, fmt.Sprintf(`{"name":%q,"type":["null",%s],"default":null,"field-id":%d}`, f.Name, avroType, f.FieldID))
	}
	l.schema = strings.Replace(entrySchema, "PARTITION", strings.Join(partition, ","), 1)
	fields, err := json.Marshal(&spec)
	if err != nil {
		return nil, fmt.Errorf("partition spec: %w", err)
	}
	var only struct {
		Fields json.RawMessage `json:"fields"`
	}
	if err := json.Unmarshal(fields, &only); err != nil {
		return nil, fmt.Errorf("partition spec: %w", err)
	}
	l.pairs = []string{
		"schema", schema, "schema-id", strconv.Itoa(meta.CurrentSchema().ID),
		"partition-spec", string(bytes.TrimSpace(only.Fields)), "partition-spec-id", strconv.Itoa(spec.ID()),
		"format-version", "2", "content", "data",
	}
	for i, codec := range [...]string{"null", "deflate"} {
		l.headers[i] = containerHeader(l.schema, codec, l.pairs...)
	}
	return l, nil
}

// entrySchema is the Avro schema of a manifest of format version 2 (Iceberg specification,
// "Manifests"); the fields of the partition belong where it says PARTITION.
const entrySchema = `{"type":"record","name":"manifest_entry","fields":[` +
	`{"name":"status","type":"int","field-id":0},` +
	`{"name":"snapshot_id","type":["null","long"],"default":null,"field-id":1},` +
	`{"name":"sequence_number","type":["null","long"],"default":null,"field-id":3},` +
	`{"name":"file_sequence_number","type":["null","long"],"default":null,"field-id":4},` +
	`{"name":"data_file","type":{"type":"record","name":"r2","fields":[` +
	`{"name":"content","type":"int","field-id":134},` +
	`{"name":"file_path","type":"string","field-id":100},` +
	`{"name":"file_format","type":"string","field-id":101},` +
	`{"name":"partition","type":{"type":"record","name":"r102","fields":[PARTITION]},"field-id":102},` +
	`{"name":"record_count","type":"long","field-id":103},` +
	`{"name":"file_size_in_bytes","type":"long","field-id":104},` +
	`{"name":"column_sizes","type":["null",{"type":"array","items":{"type":"record","name":"k117_v118","fields":[` +
	`{"name":"key","type":"int","field-id":117},{"name":"value","type":"long","field-id":118}]},"logicalType":"map"}],"default":null,"field-id":108},` +
	`{"name":"value_counts","type":["null",{"type":"array","items":{"type":"record","name":"k119_v120","fields":[` +
	`{"name":"key","type":"int","field-id":119},{"name":"value","type":"long","field-id":120}]},"logicalType":"map"}],"default":null,"field-id":109},` +
	`{"name":"null_value_counts","type":["null",{"type":"array","items":{"type":"record","name":"k121_v122","fields":[` +
	`{"name":"key","type":"int","field-id":121},{"name":"value","type":"long","field-id":122}]},"logicalType":"map"}],"default":null,"field-id":110},` +
	`{"name":"nan_value_counts","type":["null",{"type":"array","items":{"type":"record","name":"k138_v139","fields":[` +
	`{"name":"key","type":"int","field-id":138},{"name":"value","type":"long","field-id":139}]},"logicalType":"map"}],"default":null,"field-id":137},` +
	`{"name":"lower_bounds","type":["null",{"type":"array","items":{"type":"record","name":"k126_v127","fields":[` +
	`{"name":"key","type":"int","field-id":126},{"name":"value","type":"bytes","field-id":127}]},"logicalType":"map"}],"default":null,"field-id":125},` +
	`{"name":"upper_bounds","type":["null",{"type":"array","items":{"type":"record","name":"k129_v130","fields":[` +
	`{"name":"key","type":"int","field-id":129},{"name":"value","type":"bytes","field-id":130}]},"logicalType":"map"}],"default":null,"field-id":128},` +
	`{"name":"key_metadata","type":["null","bytes"],"default":null,"field-id":131},` +
	`{"name":"split_offsets","type":["null",{"type":"array","items":"long","element-id":133}],"default":null,"field-id":132},` +
	`{"name":"equality_ids","type":["null",{"type":"array","items":"int","element-id":136}],"default":null,"field-id":135},` +
	`{"name":"sort_order_id","type":["null","int"],"default":null,"field-id":140}` +
	`]},"field-id":2}]}`
