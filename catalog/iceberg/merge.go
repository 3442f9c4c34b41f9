package iceberg

import (
	"context"
	"fmt"
	"math/bits"
)

// Manifests are merged in levels, as a log-structured tree merges its runs: level k holds
// manifests of 8^k files and more, and eight of one level become one of the next. So a file's
// entry is written once for each level, the list stays at seven manifests a level, and
// a commit merges one level at most.
//
// iceberg-go's merging appends go by bytes, and a manifest of a few files is nearly all
// header: they either let small manifests pile up or rewrite the large one again and again.
const (
	mergeWidth = 8
	// mergeBelow is the number of files from which a manifest is left alone: about 2 MB, a
	// quarter of what Iceberg aims at (commit.manifest.target-size-bytes), so that a plan for
	// a few tenants has manifests to leave out once RewriteManifests has sorted them.
	mergeBelow = 1 << 13
	// mergeMost bounds the files of one merge, which is done inside a commit.
	mergeMost = 8 * mergeBelow
	// compressFrom is the number of files from which a manifest is worth a compressor's
	// memory.
	compressFrom = 512
)

func levelOf(files int64) int { return max(0, bits.Len64(uint64(files))-1) / 3 }

// mergeable is the lowest level that has enough manifests of the layout to be merged; nil
// when there is none.
func mergeable(list []*manifest, l *fileLayout) []*manifest {
	var levels [16][]*manifest
	for _, m := range list {
		if m.content == contentData && m.specID == int64(l.specID) && m.files() < mergeBelow && m.keyMetadata == nil {
			k := levelOf(m.files())
			levels[k] = append(levels[k], m)
		}
	}
	for _, level := range levels {
		if len(level) < mergeWidth {
			continue
		}
		// Those that maintenance or other engines left may be many.
		files := int64(0)
		for i, m := range level {
			if files += m.files(); files > mergeMost {
				return level[:i]
			}
		}
		return level
	}
	return nil
}

// merge returns the list with one level of its manifests merged into a new one, if it is
// time, and the object to be written for that.
func (t *Table) merge(ctx context.Context, base version, list []*manifest, snapshot int64, name string) ([]*manifest, []blob, error) {
	l := base.doc.layout.current()
	inputs := mergeable(list, l)
	if len(inputs) == 0 {
		return list, nil, nil
	}
	merged := &manifest{
		path: t.cat.locations.uri(name), specID: int64(l.specID), snapshot: snapshot,
		sequence: base.doc.lastSequence + 1, minSequence: base.doc.lastSequence + 1,
	}
	files := int64(0)
	for _, m := range inputs {
		files += m.files()
	}
	w := l.newContainer(int(files))
	isInput := make(map[*manifest]bool, len(inputs))
	for i, m := range inputs {
		isInput[m] = true
		_, body, err := t.open(ctx, base, m)
		if err == nil {
			err = l.decode(m, body, func(e entry, file *fileView) error {
				if e.status == statusDeleted {
					return nil // of interest to the snapshot that deleted it
				}
				w.block = e.appendTo(w.block)
				w.end()
				merged.existing++
				merged.existingRows += file.rows
				merged.minSequence = min(merged.minSequence, e.sequence)
				return nil
			})
		}
		if err != nil {
			return nil, nil, fmt.Errorf("manifest %s: %w", m.path, err)
		}
		if i == 0 {
			merged.partitions = append([]fieldSummary(nil), m.partitions...)
		}
		if len(m.partitions) != len(l.fields) || len(merged.partitions) != len(l.fields) {
			merged.partitions = nil
		}
		for j := range merged.partitions {
			merged.partitions[j].widen(m.partitions[j], l.fields[j].isDay)
		}
	}
	out := make([]*manifest, 0, len(list))
	for _, m := range list {
		if !isInput[m] {
			out = append(out, m)
		}
	}
	if merged.existing == 0 {
		return out, nil, nil
	}
	body := w.close()
	merged.length = int64(len(body))
	return append(out, merged), []blob{{name, body}}, nil
}
