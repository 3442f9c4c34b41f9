package iceberg

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

const (
	// positionsProperty is the property of a snapshot's summary that holds the stream
	// positions of all partitions ever committed, as Positions.MarshalText writes them.
	positionsProperty = "cardlake.positions"
	// appendProperty is the property that holds the random id of the call that made the
	// snapshot.
	appendProperty = "cardlake.append"
)

// snapshot is one snapshot of a table's metadata. Versions of the table share it. What is
// read from it later is kept with it.
type snapshot struct {
	raw []byte // its JSON
	snapshotFields

	parse     sync.Once
	positions cardlake.Positions // its own, nil if it has none
	fault     error

	mu        sync.Mutex
	manifests []*manifest // nil: not read yet
}

// snapshotFields are the members of a snapshot (Iceberg specification, "Snapshots").
type snapshotFields struct {
	ID       int64             `json:"snapshot-id"`
	Parent   int64             `json:"parent-snapshot-id,omitempty"` // 0: none
	Sequence int64             `json:"sequence-number"`
	Millis   int64             `json:"timestamp-ms"`
	List     string            `json:"manifest-list"`
	Summary  map[string]string `json:"summary"`
	SchemaID int               `json:"schema-id"`
}

func parseSnapshot(raw []byte) (*snapshot, error) {
	s := &snapshot{raw: raw}
	if err := json.Unmarshal(raw, &s.snapshotFields); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if s.ID == 0 || s.List == "" {
		return nil, fmt.Errorf("snapshot %d has no id or no manifest list", s.ID)
	}
	return s, nil
}

// newSnapshot is a snapshot about to be committed; what it lacks is the fields and encode.
func newSnapshot(positions cardlake.Positions, manifests []*manifest) *snapshot {
	if len(positions) == 0 {
		positions = nil
	}
	s := &snapshot{positions: positions, manifests: manifests}
	s.parse.Do(func() {})
	return s
}

func (s *snapshot) encode() (err error) {
	if s.raw, err = json.Marshal(s.snapshotFields); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// own returns the snapshot's own positions, nil if it has none. The caller must not change
// them.
func (s *snapshot) own() (cardlake.Positions, error) {
	s.parse.Do(func() {
		text := s.Summary[positionsProperty]
		if text == "" {
			return
		}
		if err := s.positions.UnmarshalText([]byte(text)); err != nil {
			s.positions, s.fault = nil, fmt.Errorf("snapshot %d: %w", s.ID, err)
		}
	})
	return s.positions, s.fault
}

// list returns the snapshot's manifests, which it reads once.
func (s *snapshot) list(ctx context.Context, c *Catalog) ([]*manifest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.manifests != nil {
		return s.manifests, nil
	}
	body, err := c.read(ctx, s.List)
	if err == nil {
		s.manifests, err = decodeList(body)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %d: manifest list: %w", s.ID, err)
	}
	if s.manifests == nil {
		s.manifests = []*manifest{}
	}
	return s.manifests, nil
}

// listed returns the manifests if they were read before.
func (s *snapshot) listed() []*manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manifests
}

// total is a number of the summary; Iceberg has them optional.
func (s *snapshot) total(key string) (n int64, ok bool) {
	n, err := strconv.ParseInt(s.Summary[key], 10, 64)
	return n, err == nil
}

// hasRemoved reports whether the snapshot took data files out of the table.
func (s *snapshot) hasRemoved() bool {
	n := s.Summary["deleted-data-files"]
	return n != "" && n != "0"
}

func (s *snapshot) snapshot(p cardlake.Positions) catalog.Snapshot {
	rows, _ := s.total("total-records")
	files, _ := s.total("total-data-files")
	return catalog.Snapshot{
		ID: s.ID, Sequence: s.Sequence, CommittedAt: time.UnixMilli(s.Millis).UTC(),
		Positions: p, Rows: rows, Files: files,
	}
}

// summaryOf is the summary of a snapshot that adds files to parent's, nil for the first one,
// and removes others from it (Iceberg specification, "Snapshots", optional summary fields). A
// total that the parent does not tell is not told further.
func summaryOf(parent *snapshot, operation string, files []cardlake.DataFile, removed removal) map[string]string {
	partitions := make(map[partition]bool, len(removed.sequences))
	for p := range removed.sequences {
		partitions[p] = true
	}
	var rows, size int64
	for _, f := range files {
		rows += f.Rows
		size += f.Bytes
		partitions[partitionOf(f)] = true
	}
	out := map[string]string{"operation": operation}
	set := func(key string, n int64) { out[key] = strconv.FormatInt(n, 10) }
	if len(files) > 0 {
		set("added-data-files", int64(len(files)))
		set("added-records", rows)
		set("added-files-size", size)
	}
	if removed.files > 0 {
		set("deleted-data-files", removed.files)
		set("deleted-records", removed.rows)
		set("removed-files-size", removed.bytes)
	}
	if len(partitions) > 0 {
		set("changed-partition-count", int64(len(partitions)))
	}
	for key, more := range map[string]int64{
		"total-data-files": int64(len(files)) - removed.files, "total-records": rows - removed.rows,
		"total-files-size":   size - removed.bytes,
		"total-delete-files": 0, "total-position-deletes": 0, "total-equality-deletes": 0,
	} {
		before := int64(0)
		if parent != nil {
			n, ok := parent.total(key)
			if !ok {
				continue
			}
			before = n
		}
		set(key, before+more)
	}
	return out
}
