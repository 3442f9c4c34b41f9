package iceberg

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	iceberg "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/cardlake/cardlake"
)

// Files returns the data files of a snapshot, in no order; snapshotID 0 is the current one.
// A table without snapshots has no files. The caller owns the slice, but not the
// SplitOffsets in it. A Table that is asked again decodes only manifests that are new.
func (t *Table) Files(ctx context.Context, snapshotID int64) ([]cardlake.DataFile, error) {
	files, err := t.files(ctx, snapshotID)
	if err != nil {
		return nil, fmt.Errorf("files of %s: %w", t.def.FullName(), err)
	}
	return files, nil
}

func (t *Table) files(ctx context.Context, snapshotID int64) ([]cardlake.DataFile, error) {
	v, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	s := v.meta.CurrentSnapshot()
	if snapshotID != 0 {
		if s = v.meta.SnapshotByID(snapshotID); s == nil {
			return nil, fmt.Errorf("snapshot %d: %w", snapshotID, table.ErrSnapshotNotFound)
		}
	}
	if s == nil {
		return nil, nil
	}
	storage := t.cat.storage(ctx)
	manifests, err := s.Manifests(storage)
	if err != nil {
		return nil, fmt.Errorf("snapshot %d: %w", s.SnapshotID, err)
	}
	t.mu.Lock()
	known := t.manifests
	t.mu.Unlock()
	var files []cardlake.DataFile
	decoded := make(map[string][]cardlake.DataFile, len(manifests))
	for _, m := range manifests {
		some, ok := known[m.FilePath()]
		if !ok {
			if some, err = t.decode(v, m, storage); err != nil {
				return nil, fmt.Errorf("manifest %s: %w", m.FilePath(), err)
			}
		}
		decoded[m.FilePath()] = some
		files = append(files, some...)
	}
	t.mu.Lock()
	t.manifests = decoded
	t.mu.Unlock()
	return files, nil
}

// decode reads one manifest.
func (t *Table) decode(v version, m iceberg.ManifestFile, storage *storage) ([]cardlake.DataFile, error) {
	if m.ManifestContent() != iceberg.ManifestContentData {
		return nil, errors.New("it holds row-level deletes, which this lake does not write")
	}
	l, err := layoutOf(v.meta, int(m.PartitionSpecID()), t.def)
	if err != nil {
		return nil, err
	}
	files := make([]cardlake.DataFile, 0, max(0, m.AddedDataFiles()+m.ExistingDataFiles()))
	for entry, err := range m.Entries(storage, true) {
		if err != nil {
			return nil, err
		}
		f, err := l.dataFile(entry.DataFile())
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// fileLayout says where a data file's partition values and time bounds are.
type fileLayout struct {
	spec        *iceberg.PartitionSpec
	tenantField int // 0 when there is none
	dayField    int
	timeColumn  int
	sortOrder   int
}

func layoutOf(meta table.Metadata, specID int, def *cardlake.Table) (fileLayout, error) {
	spec := meta.PartitionSpecByID(specID)
	if spec == nil {
		return fileLayout{}, fmt.Errorf("partition spec %d is unknown", specID)
	}
	l := fileLayout{spec: spec, timeColumn: def.Column(def.Time).ID, sortOrder: meta.DefaultSortOrder()}
	for _, f := range spec.Fields() {
		switch f.Transform.(type) {
		case iceberg.IdentityTransform:
			l.tenantField = f.FieldID
		case iceberg.DayTransform:
			l.dayField = f.FieldID
		default:
			return fileLayout{}, fmt.Errorf("partition field %s: transform %s is unknown", f.Name, f.Transform)
		}
	}
	return l, nil
}

// icebergFile checks f and spells it for a manifest. Of all columns only the time column
// gets bounds: those of the others would keep values outside the tenant's encryption.
func (l fileLayout) icebergFile(f cardlake.DataFile) (iceberg.DataFile, error) {
	switch {
	case f.Name == "":
		return nil, errors.New("data file without a name")
	case f.Rows <= 0 || f.Bytes <= 0:
		return nil, fmt.Errorf("data file %s has %d rows and %d bytes", f.Name, f.Rows, f.Bytes)
	case (f.Tenant != "") != (l.tenantField != 0):
		return nil, fmt.Errorf("data file %s: a tenant is set in tables that are partitioned by tenant, and only there", f.Name)
	case f.MinTime > f.MaxTime || cardlake.DayOf(f.MinTime) != f.Day || cardlake.DayOf(f.MaxTime) != f.Day:
		return nil, fmt.Errorf("data file %s: its time bounds are not within its day", f.Name)
	}
	values := map[int]any{l.dayField: iceberg.Date(f.Day)}
	if l.tenantField != 0 {
		values[l.tenantField] = string(f.Tenant)
	}
	b, err := iceberg.NewDataFileBuilder(*l.spec, iceberg.EntryContentData, uriOf(f.Name), iceberg.ParquetFile,
		values, nil, nil, f.Rows, f.Bytes)
	if err != nil {
		return nil, fmt.Errorf("data file %s: %w", f.Name, err)
	}
	b.LowerBoundValues(map[int][]byte{l.timeColumn: timeBound(f.MinTime)})
	b.UpperBoundValues(map[int][]byte{l.timeColumn: timeBound(f.MaxTime)})
	b.SortOrderID(l.sortOrder)
	if len(f.SplitOffsets) > 0 {
		b.SplitOffsets(f.SplitOffsets)
	}
	return b.Build(), nil
}

// dataFile is the inverse of icebergFile.
func (l fileLayout) dataFile(d iceberg.DataFile) (cardlake.DataFile, error) {
	name, err := objectOf(d.FilePath())
	if err != nil {
		return cardlake.DataFile{}, err
	}
	f := cardlake.DataFile{Name: name, Rows: d.Count(), Bytes: d.FileSizeBytes(), SplitOffsets: d.SplitOffsets()}
	partition := d.Partition()
	day, ok := partition[l.dayField].(iceberg.Date)
	if !ok {
		return cardlake.DataFile{}, fmt.Errorf("data file %s has no day", name)
	}
	f.Day = cardlake.Day(day)
	if l.tenantField != 0 {
		tenant, ok := partition[l.tenantField].(string)
		if !ok {
			return cardlake.DataFile{}, fmt.Errorf("data file %s has no tenant", name)
		}
		f.Tenant = cardlake.Tenant(tenant)
	}
	lower, upper := d.LowerBoundValues()[l.timeColumn], d.UpperBoundValues()[l.timeColumn]
	if len(lower) != 8 || len(upper) != 8 {
		return cardlake.DataFile{}, fmt.Errorf("data file %s has no time bounds", name)
	}
	f.MinTime = int64(binary.LittleEndian.Uint64(lower))
	f.MaxTime = int64(binary.LittleEndian.Uint64(upper))
	return f, nil
}

// timeBound is Iceberg's single-value serialisation of a timestamp: 8 bytes, little-endian.
func timeBound(micros int64) []byte {
	return binary.LittleEndian.AppendUint64(nil, uint64(micros))
}
