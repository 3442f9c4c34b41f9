package iceberg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	iceberg "github.com/apache/iceberg-go"

	"github.com/cardlake/cardlake"
)

// What a manifest says of a file.
const (
	statusExisting = 0
	statusAdded    = 1
	statusDeleted  = 2
)

const (
	contentData   = 0
	parquetFormat = "PARQUET"
)

// entry is one entry of a manifest, its numbers inherited from the manifest where it leaves
// them open (Iceberg specification, "Sequence Number Inheritance").
type entry struct {
	status                           int64
	snapshot, sequence, fileSequence int64
	file                             []byte // the record data_file of entrySchema
}

// encodeAdded writes the manifest of files that a snapshot adds. A file of a partition that
// sequences has takes its data sequence number from there, the others that of the snapshot
// (Iceberg specification, "Sequence Number Inheritance"). The result lacks what depends on
// the version of the table: its sequence number, which may be its least, and the path.
func (l *fileLayout) encodeAdded(files []cardlake.DataFile, sequences map[partition]int64, snapshot int64, at locations) (*manifest, []byte, error) {
	m := &manifest{specID: int64(l.specID), snapshot: snapshot, added: int64(len(files)), minSequence: maxSequence}
	w := l.newContainer(len(files))
	names := make(map[string]bool, len(files))
	for _, f := range files {
		if err := l.check(f); err != nil {
			return nil, nil, err
		}
		if names[f.Name] {
			return nil, nil, fmt.Errorf("data file %s is there twice", f.Name)
		}
		names[f.Name] = true
		w.block = appendLong(w.block, statusAdded)
		w.block = appendOptionalLong(w.block, snapshot, true)
		sequence, isOld := sequences[partitionOf(f)]
		w.block = appendOptionalLong(w.block, sequence, isOld)
		w.block = appendLong(w.block, avroNull) // file sequence number: that of the manifest
		if isOld {
			m.minSequence = min(m.minSequence, sequence)
		}
		w.block = l.appendFile(w.block, f, at)
		w.end()
		m.addedRows += f.Rows
		for i, s := range l.summaries(f) {
			if len(m.partitions) == i {
				m.partitions = append(m.partitions, s)
			}
			m.partitions[i].widen(s, l.fields[i].isDay)
		}
	}
	body := w.close()
	m.length = int64(len(body))
	return m, body, nil
}

// newContainer begins a manifest of about that many entries.
func (l *fileLayout) newContainer(entries int) *containerWriter {
	if entries >= compressFrom {
		return newContainer(l.headers[1], true)
	}
	return newContainer(l.headers[0], false)
}

// check reports a file that the table cannot take.
func (l *fileLayout) check(f cardlake.DataFile) error {
	isByTenant := slices.ContainsFunc(l.fields, func(p partitionField) bool { return !p.isDay })
	switch {
	case f.Name == "":
		return errors.New("data file without a name")
	case f.Rows <= 0 || f.Bytes <= 0:
		return fmt.Errorf("data file %s has %d rows and %d bytes", f.Name, f.Rows, f.Bytes)
	case (f.Tenant != "") != isByTenant:
		return fmt.Errorf("data file %s: a tenant is set in tables that are partitioned by tenant, and only there", f.Name)
	case f.MinTime > f.MaxTime || cardlake.DayOf(f.MinTime) != f.Day || cardlake.DayOf(f.MaxTime) != f.Day:
		return fmt.Errorf("data file %s: its time bounds are not within its day", f.Name)
	}
	return nil
}

func (l *fileLayout) summaries(f cardlake.DataFile) []fieldSummary {
	out := make([]fieldSummary, len(l.fields))
	for i, p := range l.fields {
		value := []byte(f.Tenant)
		if p.isDay {
			value = binary.LittleEndian.AppendUint32(nil, uint32(f.Day))
		}
		out[i] = fieldSummary{lower: value, upper: value}
	}
	return out
}

// appendFile writes f as a record data_file. Of all columns only the time column gets
// bounds: those of the others would keep values outside the tenant's encryption.
func (l *fileLayout) appendFile(b []byte, f cardlake.DataFile, at locations) []byte {
	b = appendLong(b, contentData)
	b = appendLong(b, int64(len(at)+len(f.Name)))
	b = append(append(b, at...), f.Name...)
	b = appendBytes(b, parquetFormat)
	for _, p := range l.fields {
		b = appendLong(b, avroPresent)
		if p.isDay {
			b = appendLong(b, int64(f.Day))
		} else {
			b = appendBytes(b, f.Tenant)
		}
	}
	b = appendLong(appendLong(b, f.Rows), f.Bytes)
	for range 4 { // column sizes and counts: empty, because PyIceberg's table.inspect takes no null
		b = appendLong(appendLong(b, avroPresent), 0)
	}
	for _, bound := range [...]int64{f.MinTime, f.MaxTime} {
		b = appendLong(appendLong(appendLong(b, avroPresent), 1), int64(l.timeColumn))
		// A timestamp's single-value serialisation is 8 bytes, little-endian.
		b = binary.LittleEndian.AppendUint64(appendLong(b, 8), uint64(bound))
		b = appendLong(b, 0)
	}
	b = appendLong(b, avroNull) // key metadata
	b = appendArray(b, f.SplitOffsets)
	b = appendLong(b, avroNull) // equality ids
	return appendOptionalLong(b, int64(l.sortOrder), true)
}

func appendArray(b []byte, items []int64) []byte {
	if len(items) == 0 {
		return appendLong(b, avroNull)
	}
	b = appendLong(appendLong(b, avroPresent), int64(len(items)))
	for _, n := range items {
		b = appendLong(b, n)
	}
	return appendLong(b, 0)
}

// fileView is a decoded record data_file. It shares the memory it was decoded from.
type fileView struct {
	content      int64
	path         []byte
	tenant       []byte // nil when absent or null
	day          int64
	hasDay       bool
	rows, size   int64
	lower, upper []byte // bounds of the time column
	splits       []int64
}

// file reads a record data_file into v, whose splits it reuses.
func (l *fileLayout) file(r *avroReader, v *fileView) {
	*v = fileView{splits: v.splits[:0]}
	v.content, v.path = r.long(), r.bytes()
	r.bytes() // format
	for _, p := range l.fields {
		if !r.present() {
			continue
		}
		if p.isDay {
			v.day, v.hasDay = r.long(), true
		} else {
			v.tenant = r.bytes()
		}
	}
	v.rows, v.size = r.long(), r.long()
	for range 4 {
		if r.present() {
			r.array(func() { r.long(); r.long() })
		}
	}
	for _, bound := range [...]*[]byte{&v.lower, &v.upper} {
		if r.present() {
			r.array(func() {
				if id, value := r.long(), r.bytes(); id == int64(l.timeColumn) {
					*bound = value
				}
			})
		}
	}
	if r.present() {
		r.bytes()
	}
	if r.present() {
		r.array(func() { v.splits = append(v.splits, r.long()) })
	}
	if r.present() {
		r.array(func() { r.long() })
	}
	if r.present() {
		r.long()
	}
}

// dataFile is the inverse of appendFile.
func (l *fileLayout) dataFile(v *fileView, at locations) (cardlake.DataFile, error) {
	name, err := at.object(string(v.path))
	if err != nil {
		return cardlake.DataFile{}, err
	}
	switch {
	case v.content != contentData:
		return cardlake.DataFile{}, fmt.Errorf("file %s holds row-level deletes, which this lake does not write", name)
	case !v.hasDay:
		return cardlake.DataFile{}, fmt.Errorf("data file %s has no day", name)
	case v.tenant == nil && len(l.fields) > 1:
		return cardlake.DataFile{}, fmt.Errorf("data file %s has no tenant", name)
	case len(v.lower) != 8 || len(v.upper) != 8:
		return cardlake.DataFile{}, fmt.Errorf("data file %s has no time bounds", name)
	}
	return cardlake.DataFile{
		Name: name, Tenant: cardlake.Tenant(v.tenant), Day: cardlake.Day(v.day), Rows: v.rows, Bytes: v.size,
		MinTime:      int64(binary.LittleEndian.Uint64(v.lower)),
		MaxTime:      int64(binary.LittleEndian.Uint64(v.upper)),
		SplitOffsets: append([]int64(nil), v.splits...),
	}, nil
}

// decode calls each for every entry of the manifest m, whoever wrote it. The entry's file is
// parsed into the view, which the next one overwrites.
func (l *fileLayout) decode(m *manifest, body []byte, each func(entry, *fileView) error) error {
	if m.content != contentData {
		return errors.New("it holds row-level deletes, which this lake does not write")
	}
	var v fileView
	known, err := readContainer(body, l.schema, func(r *avroReader) error {
		e, err := l.entry(r, m, &v)
		if err != nil || r.bad {
			return err
		}
		return each(e, &v)
	})
	if known || err != nil {
		return err
	}
	entries, err := readForeign(func() ([]iceberg.ManifestEntry, error) {
		return iceberg.ReadManifest(m.toForeign(), bytes.NewReader(body), false)
	})
	if err != nil {
		return err
	}
	for _, theirs := range entries {
		e, err := readForeign(func() (entry, error) { return l.entryOf(theirs) })
		if err != nil {
			return err
		}
		r := avroReader{rest: e.file}
		l.file(&r, &v)
		if r.bad || len(r.rest) > 0 {
			return errAvro
		}
		if err := each(e, &v); err != nil {
			return err
		}
	}
	return nil
}

// entry reads one entry of the manifest m.
func (l *fileLayout) entry(r *avroReader, m *manifest, v *fileView) (entry, error) {
	e := entry{status: r.long(), snapshot: m.snapshot, sequence: m.sequence, fileSequence: m.sequence}
	inherited := false
	if r.present() {
		e.snapshot = r.long()
	}
	for _, n := range [...]*int64{&e.sequence, &e.fileSequence} {
		if r.present() {
			*n = r.long()
		} else {
			inherited = true
		}
	}
	start := r.rest
	l.file(r, v)
	if r.bad {
		return entry{}, errAvro
	}
	e.file = start[:len(start)-len(r.rest)]
	switch {
	case e.status < statusExisting || e.status > statusDeleted:
		return entry{}, fmt.Errorf("%w: entry of status %d", errAvro, e.status)
	case e.status == statusExisting && inherited && m.sequence != 0:
		return entry{}, fmt.Errorf("%w: an existing entry has no sequence number", errAvro)
	}
	return e, nil
}

// appendTo writes the entry as one that existed before the snapshot that writes it, or that
// e.snapshot deletes.
func (e entry) appendTo(b []byte) []byte {
	status := int64(statusExisting)
	if e.status == statusDeleted {
		status = statusDeleted
	}
	b = appendLong(b, status)
	for _, n := range [...]int64{e.snapshot, e.sequence, e.fileSequence} {
		b = appendOptionalLong(b, n, true)
	}
	return append(b, e.file...)
}

func (m *manifest) toForeign() iceberg.ManifestFile {
	return iceberg.NewManifestFile(2, m.path, m.length, int32(m.specID), m.snapshot).SequenceNum(m.sequence, m.minSequence).Build()
}

// entryOf spells an entry that iceberg-go decoded as this package does, with all that v2
// has.
func (l *fileLayout) entryOf(t iceberg.ManifestEntry) (entry, error) {
	e := entry{status: int64(t.Status()), snapshot: t.SnapshotID(), sequence: t.SequenceNum(), fileSequence: t.SequenceNum()}
	if n := t.FileSequenceNum(); n != nil {
		e.fileSequence = *n
	}
	d := t.DataFile()
	b := appendLong(nil, int64(d.ContentType()))
	b = appendBytes(b, d.FilePath())
	b = appendBytes(b, string(d.FileFormat()))
	partition := d.Partition()
	for _, p := range l.fields {
		switch value := partition[p.id].(type) {
		case nil:
			b = appendLong(b, avroNull)
		case iceberg.Date:
			b = appendLong(appendLong(b, avroPresent), int64(value))
		case string:
			b = appendBytes(appendLong(b, avroPresent), value)
		default:
			return entry{}, fmt.Errorf("partition field %d is a %T", p.id, value)
		}
	}
	b = appendLong(appendLong(b, d.Count()), d.FileSizeBytes())
	for _, m := range [...]map[int]int64{d.ColumnSizes(), d.ValueCounts(), d.NullValueCounts(), d.NaNValueCounts()} {
		b = appendMap(b, m, appendLong)
	}
	b = appendMap(b, d.LowerBoundValues(), appendBytes[[]byte])
	b = appendMap(b, d.UpperBoundValues(), appendBytes[[]byte])
	b = appendOptionalBytes(b, d.KeyMetadata())
	b = appendArray(b, d.SplitOffsets())
	ids := make([]int64, len(d.EqualityFieldIDs()))
	for i, id := range d.EqualityFieldIDs() {
		ids[i] = int64(id)
	}
	b = appendArray(b, ids)
	order := d.SortOrderID()
	if order == nil {
		e.file = appendLong(b, avroNull)
	} else {
		e.file = appendOptionalLong(b, int64(*order), true)
	}
	return e, nil
}

func appendMap[V any](b []byte, m map[int]V, appendValue func([]byte, V) []byte) []byte {
	if len(m) == 0 {
		return appendLong(b, avroNull)
	}
	b = appendLong(appendLong(b, avroPresent), int64(len(m)))
	for key, value := range m {
		b = appendValue(appendLong(b, int64(key)), value)
	}
	return appendLong(b, 0)
}
