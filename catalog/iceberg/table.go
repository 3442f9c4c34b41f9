package iceberg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	icebergio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/writers/objects"
)

const (
	// positionsProperty is the property of a snapshot's summary that holds the stream
	// positions of all partitions ever committed, as Positions.MarshalText writes them.
	positionsProperty = "cardlake.positions"
	// appendProperty is the property that holds the random id of the Append call.
	appendProperty = "cardlake.append"
)

// Table is one table of a catalog. It is safe for concurrent use.
type Table struct {
	cat *Catalog
	def *cardlake.Table

	mu        sync.Mutex
	newest    version                        // what load saw last
	manifests map[string][]cardlake.DataFile // what Files decoded last, by location
}

// version is one state of a table. It never changes.
type version struct {
	location string
	meta     table.Metadata
}

// load returns the table's current version. Metadata is read only when the pointer moved
// since the last load.
func (t *Table) load(ctx context.Context) (version, error) {
	for {
		location, err := t.cat.pointers.load(ctx, t.def)
		if err != nil {
			return version{}, err
		}
		t.mu.Lock()
		v := t.newest
		t.mu.Unlock()
		if v.location == location {
			return v, nil
		}
		v, err = t.read(ctx, location)
		if errors.Is(err, objects.ErrNotFound) {
			// The object may have been superseded and removed since the pointer was read.
			again, err2 := t.cat.pointers.load(ctx, t.def)
			if err2 == nil && again != location {
				continue
			}
		}
		if err != nil {
			return version{}, err
		}
		t.remember(v)
		return v, nil
	}
}

func (t *Table) read(ctx context.Context, location string) (version, error) {
	body, err := t.cat.storage(ctx).ReadFile(location)
	if err != nil {
		return version{}, err
	}
	meta, err := table.ParseMetadataBytes(body)
	if err != nil {
		return version{}, fmt.Errorf("table metadata: %w", err)
	}
	return version{location, meta}, nil
}

func (t *Table) remember(v version) {
	t.mu.Lock()
	t.newest = v
	t.mu.Unlock()
}

func (c *Catalog) storage(ctx context.Context) *storage {
	return &storage{ctx: ctx, store: c.store, log: c.log}
}

// create writes the table's first metadata and its row. That another process was faster is
// not an error.
func (t *Table) create(ctx context.Context) error {
	meta, err := newMetadata(t.def)
	if err != nil {
		return err
	}
	s := t.cat.storage(ctx)
	location, err := writeMetadata(s, meta, 0)
	if err != nil {
		s.removeCreated()
		return err
	}
	created, err := t.cat.pointers.create(ctx, t.def, location)
	if err != nil {
		return err
	}
	if !created {
		s.removeCreated()
	}
	return nil
}

// writeMetadata puts a metadata object under a fresh name that begins with number.
func writeMetadata(s *storage, meta table.Metadata, number int) (location string, err error) {
	provider, err := table.LoadLocationProvider(meta.Location(), meta.Properties())
	if err != nil {
		return "", err
	}
	if location, err = provider.NewTableMetadataFileLocation(number); err != nil {
		return "", err
	}
	body, err := json.Marshal(meta)
	if err != nil {
		return "", fmt.Errorf("table metadata: %w", err)
	}
	return location, s.WriteFile(location, body)
}

// Current returns the newest snapshot, the zero Snapshot when nothing was committed yet.
func (t *Table) Current(ctx context.Context) (catalog.Snapshot, error) {
	v, err := t.load(ctx)
	if err == nil {
		var s catalog.Snapshot
		if s, err = v.current(); err == nil {
			return s, nil
		}
	}
	return catalog.Snapshot{}, fmt.Errorf("current snapshot of %s: %w", t.def.FullName(), err)
}

// Positions returns the stream positions of the newest snapshot that has them. They are
// empty when nothing was committed yet.
func (t *Table) Positions(ctx context.Context) (cardlake.Positions, error) {
	v, err := t.load(ctx)
	if err == nil {
		var p cardlake.Positions
		if p, err = v.positions(); err == nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("positions of %s: %w", t.def.FullName(), err)
}

// Snapshots returns the current snapshot and its ancestors as far as they are kept, oldest
// first, each with the positions as of it. Snapshots that were rolled back are not among
// them. The oldest ones have nil positions if they were made by maintenance and the
// snapshot they took theirs from has expired.
func (t *Table) Snapshots(ctx context.Context) ([]catalog.Snapshot, error) {
	v, err := t.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("snapshots of %s: %w", t.def.FullName(), err)
	}
	var out []catalog.Snapshot
	var positions cardlake.Positions
	for _, s := range slices.Backward(v.ancestry()) {
		own, err := positionsOf(s)
		if err != nil {
			return nil, fmt.Errorf("snapshots of %s: %w", t.def.FullName(), err)
		}
		if own != nil {
			positions = own
		}
		out = append(out, snapshotOf(s, positions.Clone()))
	}
	return out, nil
}

// ancestry is the current snapshot and its ancestors, newest first.
func (v version) ancestry() []table.Snapshot {
	s := v.meta.CurrentSnapshot()
	if s == nil {
		return nil
	}
	return table.AncestorsOf(s.SnapshotID, v.meta.SnapshotByID)
}

func (v version) current() (catalog.Snapshot, error) {
	s := v.meta.CurrentSnapshot()
	if s == nil {
		return catalog.Snapshot{}, nil
	}
	p, err := v.positions()
	if err != nil {
		return catalog.Snapshot{}, err
	}
	return snapshotOf(*s, p), nil
}

// positions walks the ancestry, because snapshots made by maintenance hold none.
func (v version) positions() (cardlake.Positions, error) {
	for s := v.meta.CurrentSnapshot(); s != nil; s = v.parent(s) {
		if p, err := positionsOf(*s); p != nil || err != nil {
			return p, err
		}
	}
	return cardlake.Positions{}, nil
}

func (v version) parent(s *table.Snapshot) *table.Snapshot {
	if s.ParentSnapshotID == nil {
		return nil
	}
	return v.meta.SnapshotByID(*s.ParentSnapshotID)
}

// positionsOf returns the snapshot's own positions, nil if it has none.
func positionsOf(s table.Snapshot) (cardlake.Positions, error) {
	text := property(s, positionsProperty)
	if text == "" {
		return nil, nil
	}
	var p cardlake.Positions
	if err := p.UnmarshalText([]byte(text)); err != nil {
		return nil, fmt.Errorf("snapshot %d: %w", s.SnapshotID, err)
	}
	return p, nil
}

func property(s table.Snapshot, key string) string {
	if s.Summary == nil {
		return ""
	}
	return s.Summary.Properties[key]
}

func snapshotOf(s table.Snapshot, p cardlake.Positions) catalog.Snapshot {
	total := func(key string) int64 {
		n, _ := strconv.ParseInt(property(s, key), 10, 64) // optional in Iceberg: 0 when absent
		return n
	}
	return catalog.Snapshot{
		ID:          s.SnapshotID,
		Sequence:    s.SequenceNumber,
		CommittedAt: time.UnixMilli(s.TimestampMs).UTC(),
		Positions:   p,
		Rows:        total("total-records"),
		Files:       total("total-data-files"),
	}
}

// fixed is the file system factory that iceberg-go asks for: always this one.
func fixed(s *storage) table.FSysF {
	return func(context.Context) (icebergio.IO, error) { return s, nil }
}
