package iceberg

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	iceberg "github.com/apache/iceberg-go"
)

// maxSequence is the least sequence number of no files.
const maxSequence = math.MaxInt64

// manifest is one entry of a manifest list (Iceberg specification, "Manifest Lists"). It
// never changes.
type manifest struct {
	path                                 string
	length                               int64
	specID, content                      int64
	sequence, minSequence, snapshot      int64
	added, existing, deleted             int64 // files
	addedRows, existingRows, deletedRows int64
	partitions                           []fieldSummary // nil when unknown
	keyMetadata                          []byte
}

// fieldSummary bounds the values of one partition field.
type fieldSummary struct {
	hasNull      bool
	hasNaN       *bool
	lower, upper []byte // nil when there is no value
}

func (m *manifest) files() int64 { return m.added + m.existing }

// listSchema is the Avro schema of manifest lists of format version 2.
const listSchema = `{"type":"record","name":"manifest_file","fields":[` +
	`{"name":"manifest_path","type":"string","field-id":500},` +
	`{"name":"manifest_length","type":"long","field-id":501},` +
	`{"name":"partition_spec_id","type":"int","field-id":502},` +
	`{"name":"content","type":"int","field-id":517},` +
	`{"name":"sequence_number","type":"long","field-id":515},` +
	`{"name":"min_sequence_number","type":"long","field-id":516},` +
	`{"name":"added_snapshot_id","type":"long","field-id":503},` +
	`{"name":"added_files_count","type":"int","field-id":504},` +
	`{"name":"existing_files_count","type":"int","field-id":505},` +
	`{"name":"deleted_files_count","type":"int","field-id":506},` +
	`{"name":"added_rows_count","type":"long","field-id":512},` +
	`{"name":"existing_rows_count","type":"long","field-id":513},` +
	`{"name":"deleted_rows_count","type":"long","field-id":514},` +
	`{"name":"partitions","type":["null",{"type":"array","items":{"type":"record","name":"r508","fields":[` +
	`{"name":"contains_null","type":"boolean","field-id":509},` +
	`{"name":"contains_nan","type":["null","boolean"],"default":null,"field-id":518},` +
	`{"name":"lower_bound","type":["null","bytes"],"default":null,"field-id":510},` +
	`{"name":"upper_bound","type":["null","bytes"],"default":null,"field-id":511}]},` +
	`"element-id":508}],"default":null,"field-id":507},` +
	`{"name":"key_metadata","type":["null","bytes"],"default":null,"field-id":519}]}`

// encodeList writes a manifest list.
func encodeList(manifests []*manifest, snapshot, parent, sequence int64) []byte {
	parentText := "null"
	if parent != 0 {
		parentText = strconv.FormatInt(parent, 10)
	}
	w := newContainer(containerHeader(listSchema, "null",
		"snapshot-id", strconv.FormatInt(snapshot, 10), "parent-snapshot-id", parentText,
		"sequence-number", strconv.FormatInt(sequence, 10), "format-version", "2"), false)
	for _, m := range manifests {
		w.block = m.appendTo(w.block)
		w.end()
	}
	return w.close()
}

func (m *manifest) appendTo(b []byte) []byte {
	b = appendBytes(b, m.path)
	for _, n := range [...]int64{
		m.length, m.specID, m.content, m.sequence, m.minSequence, m.snapshot,
		m.added, m.existing, m.deleted, m.addedRows, m.existingRows, m.deletedRows,
	} {
		b = appendLong(b, n)
	}
	if m.partitions == nil {
		b = appendLong(b, avroNull)
	} else {
		b = appendLong(b, avroPresent)
		if n := len(m.partitions); n > 0 {
			b = appendLong(b, int64(n))
		}
		for _, p := range m.partitions {
			b = append(b, truth(p.hasNull))
			if p.hasNaN == nil {
				b = appendLong(b, avroNull)
			} else {
				b = append(appendLong(b, avroPresent), truth(*p.hasNaN))
			}
			b = appendOptionalBytes(appendOptionalBytes(b, p.lower), p.upper)
		}
		b = appendLong(b, 0)
	}
	return appendOptionalBytes(b, m.keyMetadata)
}

func truth(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendOptionalBytes(b, v []byte) []byte {
	if v == nil {
		return appendLong(b, avroNull)
	}
	return appendBytes(appendLong(b, avroPresent), v)
}

func (r *avroReader) optionalBytes() []byte {
	if !r.present() {
		return nil
	}
	return bytes.Clone(r.bytes())
}

func (r *avroReader) manifest() *manifest {
	m := &manifest{path: string(r.bytes())}
	for _, n := range [...]*int64{
		&m.length, &m.specID, &m.content, &m.sequence, &m.minSequence, &m.snapshot,
		&m.added, &m.existing, &m.deleted, &m.addedRows, &m.existingRows, &m.deletedRows,
	} {
		*n = r.long()
	}
	if r.present() {
		m.partitions = []fieldSummary{}
		r.array(func() {
			p := fieldSummary{hasNull: r.boolean()}
			if r.present() {
				v := r.boolean()
				p.hasNaN = &v
			}
			p.lower, p.upper = r.optionalBytes(), r.optionalBytes()
			m.partitions = append(m.partitions, p)
		})
	}
	m.keyMetadata = r.optionalBytes()
	return m
}

// decodeList reads a manifest list, whoever wrote it.
func decodeList(file []byte) (list []*manifest, err error) {
	known, err := readContainer(file, listSchema, func(r *avroReader) error {
		list = append(list, r.manifest())
		return nil
	})
	if known || err != nil {
		return list, err
	}
	theirs, err := readForeign(func() ([]iceberg.ManifestFile, error) {
		return iceberg.ReadManifestList(bytes.NewReader(file))
	})
	if err != nil {
		return nil, err
	}
	for _, f := range theirs {
		list = append(list, manifestOf(f))
	}
	return list, nil
}

// readForeign recovers from what iceberg-go makes of malformed files.
func readForeign[T any](read func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the decoder failed", errAvro)
		}
	}()
	return read()
}

func manifestOf(f iceberg.ManifestFile) *manifest {
	m := &manifest{
		path: f.FilePath(), length: f.Length(), specID: int64(f.PartitionSpecID()), content: int64(f.ManifestContent()),
		sequence: f.SequenceNum(), minSequence: f.MinSequenceNum(), snapshot: f.SnapshotID(),
		added: int64(f.AddedDataFiles()), existing: int64(f.ExistingDataFiles()), deleted: int64(f.DeletedDataFiles()),
		addedRows: f.AddedRows(), existingRows: f.ExistingRows(), deletedRows: f.DeletedRows(),
		keyMetadata: f.KeyMetadata(),
	}
	if summaries := f.Partitions(); summaries != nil {
		m.partitions = make([]fieldSummary, len(summaries))
		for i, s := range summaries {
			m.partitions[i] = fieldSummary{hasNull: s.ContainsNull, hasNaN: s.ContainsNaN}
			if s.LowerBound != nil {
				m.partitions[i].lower = append([]byte{}, *s.LowerBound...)
			}
			if s.UpperBound != nil {
				m.partitions[i].upper = append([]byte{}, *s.UpperBound...)
			}
		}
	}
	return m
}

// widen makes s cover o too.
func (s *fieldSummary) widen(o fieldSummary, isDay bool) {
	compare := partitionField{isDay: isDay}.compare
	s.hasNull = s.hasNull || o.hasNull
	if o.lower != nil && (s.lower == nil || compare(o.lower, s.lower) < 0) {
		s.lower = o.lower
	}
	if o.upper != nil && (s.upper == nil || compare(o.upper, s.upper) > 0) {
		s.upper = o.upper
	}
}

// compare compares two values of the field: a day is 4 bytes little-endian, a tenant UTF-8
// (Iceberg specification, "Binary single-value serialization").
func (p partitionField) compare(a, b []byte) int {
	if !p.isDay {
		return bytes.Compare(a, b)
	}
	if len(a) != 4 || len(b) != 4 {
		return len(a) - len(b)
	}
	return cmp.Compare(int32(binary.LittleEndian.Uint32(a)), int32(binary.LittleEndian.Uint32(b)))
}
