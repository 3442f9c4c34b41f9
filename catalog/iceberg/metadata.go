package iceberg

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/cardlake/cardlake"
)

const (
	mainBranch = "main"
	// historyBytes bounds the snapshots that a version keeps, all of which every commit writes:
	// those of a stream of a thousand partitions have 20 KB of positions each. historyLeast of
	// them are kept whatever their size.
	historyBytes = 1 << 20
	historyLeast = 10
	// metadataLog is how many earlier metadata objects a version names.
	metadataLog = 10
)

// document is a table's metadata (Iceberg specification, "Table Metadata Fields"), taken
// apart only as far as commits change it: the rest, members this package does not know
// included, is kept as it is. It never changes; a version and the next share what is equal.
type document struct {
	*layout
	lastSequence, lastUpdated int64
	current                   *snapshot // nil before the first
	refs                      map[string]json.RawMessage
	snapshots                 []*snapshot // oldest first
	log                       []logEntry
	previous                  []metadataEntry
	statistics                [2][]statistics // by member of statisticsMembers
}

type logEntry struct {
	Millis   int64 `json:"timestamp-ms"`
	Snapshot int64 `json:"snapshot-id"`
}

type metadataEntry struct {
	Millis   int64  `json:"timestamp-ms"`
	Location string `json:"metadata-file"`
}

// statistics belong to a snapshot and go with it.
type statistics struct {
	raw      json.RawMessage
	snapshot int64
	path     string
}

var statisticsMembers = [2]string{"statistics", "partition-statistics"}

// reference is what is read of a branch or tag.
type reference struct {
	Snapshot int64  `json:"snapshot-id"`
	Type     string `json:"type"`
}

// parseDocument reads metadata. What it has in common with before, which may be nil, is
// not parsed again.
func parseDocument(body []byte, def *cardlake.Table, before *document) (*document, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, fmt.Errorf("table metadata: %w", err)
	}
	d := &document{}
	var current *int64
	var raws []json.RawMessage
	var stats [2][]json.RawMessage
	for _, m := range []struct {
		name string
		to   any
	}{
		{"last-sequence-number", &d.lastSequence}, {"last-updated-ms", &d.lastUpdated}, {"current-snapshot-id", &current},
		{"refs", &d.refs}, {"snapshots", &raws}, {"snapshot-log", &d.log}, {"metadata-log", &d.previous},
		{statisticsMembers[0], &stats[0]}, {statisticsMembers[1], &stats[1]},
	} {
		if text, ok := members[m.name]; ok {
			if err := json.Unmarshal(text, m.to); err != nil {
				return nil, fmt.Errorf("table metadata: %s: %w", m.name, err)
			}
			delete(members, m.name)
		}
	}
	for i, list := range stats {
		for _, raw := range list {
			var s struct {
				Snapshot int64  `json:"snapshot-id"`
				Path     string `json:"statistics-path"`
			}
			if err := json.Unmarshal(raw, &s); err != nil {
				return nil, fmt.Errorf("table metadata: %s: %w", statisticsMembers[i], err)
			}
			d.statistics[i] = append(d.statistics[i], statistics{raw, s.Snapshot, s.Path})
		}
	}
	known := map[string]*snapshot{}
	if before != nil {
		for _, s := range before.snapshots {
			known[string(s.raw)] = s
		}
	}
	for _, raw := range raws {
		s, ok := known[string(raw)]
		if !ok {
			var err error
			if s, err = parseSnapshot(raw); err != nil {
				return nil, fmt.Errorf("table metadata: %w", err)
			}
		}
		d.snapshots = append(d.snapshots, s)
	}
	slices.SortStableFunc(d.snapshots, func(a, b *snapshot) int { return cmp.Compare(a.Sequence, b.Sequence) })
	if current != nil && *current != -1 {
		if d.current = d.byID(*current); d.current == nil {
			return nil, errors.New("table metadata: the current snapshot is not there")
		}
	}
	var source bytes.Buffer
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			source.WriteByte(',')
		}
		source.WriteString(strconv.Quote(name) + ":")
		if err := json.Compact(&source, members[name]); err != nil {
			return nil, fmt.Errorf("table metadata: %w", err)
		}
	}
	if before != nil && bytes.Equal(before.source, source.Bytes()) {
		d.layout = before.layout
		return d, nil
	}
	var err error
	d.layout, err = newLayout(source.Bytes(), def)
	return d, err
}

func (d *document) byID(id int64) *snapshot {
	for _, s := range slices.Backward(d.snapshots) {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// ancestry is the snapshot and its ancestors as far as they are kept, newest first.
func (d *document) ancestry(s *snapshot) (out []*snapshot) {
	// The list is in the order of sequence numbers: a parent lies before its child.
	i := len(d.snapshots)
	for s != nil {
		out = append(out, s)
		parent := s.Parent
		s = nil
		for i--; i >= 0 && parent != 0; i-- {
			if d.snapshots[i].ID == parent {
				s = d.snapshots[i]
				break
			}
		}
	}
	return out
}

// positions walks the ancestry, because snapshots made by maintenance hold none. The caller
// must not change them.
func (d *document) positions() (cardlake.Positions, error) {
	for _, s := range d.ancestry(d.current) {
		if p, err := s.own(); p != nil || err != nil {
			return p, err
		}
	}
	return cardlake.Positions{}, nil
}

// next is the version after d, which is at location, in which s is the current snapshot. Of
// all snapshots it keeps the newest history, if they are not too large, and those that are
// to be kept beside them. No positions are lost with the others: s has those of all
// partitions itself.
func (d *document) next(s *snapshot, location string, history int) (*document, error) {
	main := map[string]json.RawMessage{}
	if raw, ok := d.refs[mainBranch]; ok {
		if err := json.Unmarshal(raw, &main); err != nil {
			return nil, fmt.Errorf("table metadata: refs: %w", err)
		}
	}
	main["snapshot-id"], main["type"] = strconv.AppendInt(nil, s.ID, 10), json.RawMessage(`"branch"`)
	raw, err := json.Marshal(main)
	if err != nil {
		return nil, fmt.Errorf("table metadata: refs: %w", err)
	}
	gone, err := d.dropped(history - 1)
	if err != nil {
		return nil, err
	}
	n := d.without(gone, location)
	n.lastSequence, n.lastUpdated, n.current = s.Sequence, s.Millis, s
	n.refs = maps.Clone(d.refs)
	if n.refs == nil {
		n.refs = map[string]json.RawMessage{}
	}
	n.refs[mainBranch] = raw
	n.snapshots = append(n.snapshots, s)
	n.log = append(n.log, logEntry{s.Millis, s.ID})
	return n, nil
}

// without is the version after d, which is at location, in which the snapshots are gone.
func (d *document) without(gone map[int64]bool, location string) *document {
	n := &document{layout: d.layout, lastSequence: d.lastSequence, lastUpdated: d.lastUpdated, current: d.current, refs: d.refs}
	n.snapshots = make([]*snapshot, 0, len(d.snapshots)+1)
	for _, s := range d.snapshots {
		if !gone[s.ID] {
			n.snapshots = append(n.snapshots, s)
		}
	}
	for i, list := range d.statistics {
		for _, st := range list {
			if !gone[st.snapshot] {
				n.statistics[i] = append(n.statistics[i], st)
			}
		}
	}
	// Before a snapshot that is gone the log does not tell what was current when.
	log := d.log
	for i := len(log) - 1; i >= 0; i-- {
		if gone[log[i].Snapshot] {
			log = log[i+1:]
			break
		}
	}
	n.log = slices.Clone(log)
	n.previous = append(slices.Clone(d.previous), metadataEntry{d.lastUpdated, location})
	n.previous = n.previous[max(0, len(n.previous)-metadataLog):]
	return n
}

// dropped are the snapshots to be left out so that the current one and its ancestors are no
// more than keep: those as old as the ancestors beyond, unless a reference leads to them or
// they are held for Expire.
func (d *document) dropped(keep int) (map[int64]bool, error) {
	ancestors := d.ancestry(d.current)
	size := 0
	for i, s := range ancestors {
		if size += len(s.raw); size > historyBytes && i >= historyLeast {
			keep = min(keep, i)
		}
	}
	if len(ancestors) <= keep {
		return nil, nil
	}
	referred, err := d.referred()
	if err != nil {
		return nil, err
	}
	newest := ancestors[max(keep, 0)].Sequence
	held := d.held(newest)
	dropped := map[int64]bool{}
	for _, s := range d.snapshots {
		if s.Sequence <= newest && referred[s.ID] == "" && !held[s.ID] {
			dropped[s.ID] = true
		}
	}
	return dropped, nil
}

// referred are the snapshots that a tag or a branch other than main leads to, with its name.
func (d *document) referred() (map[int64]string, error) {
	referred := map[int64]string{}
	for name, raw := range d.refs {
		var ref reference
		if err := json.Unmarshal(raw, &ref); err != nil {
			return nil, fmt.Errorf("table metadata: refs: %w", err)
		}
		if name == mainBranch {
			continue
		}
		for _, s := range d.ancestry(d.byID(ref.Snapshot)) {
			referred[s.ID] = name
			if ref.Type == "tag" {
				break
			}
		}
	}
	return referred, nil
}

// held are the snapshots, as old as newest and older, that stay until Expire: of each that
// removed data files, itself and its parent. The parent is the last one that names the files,
// and without it nobody would know what to delete. They are bounded like the history: the
// files of the oldest ones become orphans.
func (d *document) held(newest int64) map[int64]bool {
	held := map[int64]bool{}
	size := 0
	for _, s := range slices.Backward(d.snapshots) {
		if !s.hasRemoved() || s.Parent == 0 {
			continue
		}
		parent := d.byID(s.Parent)
		if parent == nil || parent.Sequence > newest {
			continue
		}
		if size += len(s.raw) + len(parent.raw); size > historyBytes {
			break
		}
		held[s.ID], held[parent.ID] = true, true
	}
	return held
}

// encode writes the metadata as JSON.
func (d *document) encode() ([]byte, error) {
	size := len(d.source) + 64*len(d.log) + 4096
	for _, s := range d.snapshots {
		size += len(s.raw) + 1
	}
	b := append(append(make([]byte, 0, size), '{'), d.source...)
	b = strconv.AppendInt(append(b, `,"last-sequence-number":`...), d.lastSequence, 10)
	b = strconv.AppendInt(append(b, `,"last-updated-ms":`...), d.lastUpdated, 10)
	if d.current != nil {
		b = strconv.AppendInt(append(b, `,"current-snapshot-id":`...), d.current.ID, 10)
	}
	if len(d.refs) > 0 {
		refs, err := json.Marshal(d.refs)
		if err != nil {
			return nil, fmt.Errorf("table metadata: refs: %w", err)
		}
		b = append(append(b, `,"refs":`...), refs...)
	}
	b = append(b, `,"snapshots":[`...)
	for i, s := range d.snapshots {
		b = append(comma(b, i), s.raw...)
	}
	b = append(b, `],"snapshot-log":[`...)
	for i, e := range d.log {
		b = strconv.AppendInt(append(comma(b, i), `{"timestamp-ms":`...), e.Millis, 10)
		b = append(strconv.AppendInt(append(b, `,"snapshot-id":`...), e.Snapshot, 10), '}')
	}
	b = append(b, ']')
	previous, err := json.Marshal(append([]metadataEntry{}, d.previous...))
	if err != nil {
		return nil, fmt.Errorf("table metadata: metadata-log: %w", err)
	}
	b = append(append(b, `,"metadata-log":`...), previous...)
	for i, list := range d.statistics {
		if len(list) == 0 {
			continue
		}
		b = append(b, `,"`+statisticsMembers[i]+`":[`...)
		for j, s := range list {
			b = append(comma(b, j), s.raw...)
		}
		b = append(b, ']')
	}
	return append(b, '}'), nil
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}
