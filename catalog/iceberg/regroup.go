package iceberg

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// errInOrder says that there is nothing to regroup.
var errInOrder = errors.New("the manifests are in order")

// RewriteManifests writes the table's manifests anew so that each holds the files of few
// tenants, in the order of tenants and days: a plan for a tenant then reads one or two of
// them (see FilesOf). Files, rows and positions stay as they are. It reports false, and does
// nothing, while fewer files are out of order than one manifest holds, about 8,000. Like
// Replace it gives way to Appends; errors are as of Replace. It holds about 300 bytes for
// each data file in memory.
func (t *Table) RewriteManifests(ctx context.Context) (done bool, err error) {
	err = errReadOnly
	if !t.cat.readOnly {
		c := newCommit(t, string(catalog.OpReplace), nil)
		c.rewrite = (&regrouping{c: c, size: mergeBelow}).rewrite
		_, err = c.run(ctx, replaceAttempts, func(have cardlake.Positions) (cardlake.Positions, error) { return have, nil })
	}
	switch {
	case errors.Is(err, errInOrder):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("rewrite manifests of %s: %w", t.def.FullName(), err)
	}
	return true, nil
}

// regrouping writes manifests by tenant and day.
type regrouping struct {
	c    *commit
	size int // files of a manifest, at least
	// inputs are the locations of the manifests that outputs take the place of.
	inputs  map[string]bool
	outputs []*manifest
}

func (g *regrouping) rewrite(ctx context.Context, base version, list []*manifest) ([]*manifest, []blob, error) {
	l := base.doc.layout.current()
	var blobs []blob
	if !g.isGood(list) {
		var data []*manifest
		for _, m := range list {
			if m.content == contentData && m.specID == int64(l.specID) && m.keyMetadata == nil {
				data = append(data, m)
			}
		}
		if l.disorder(data, int64(g.size)) < int64(g.size) {
			return nil, nil, errInOrder
		}
		var err error
		if blobs, err = g.regroup(ctx, base, l, data); err != nil {
			return nil, nil, err
		}
	}
	var out []*manifest
	for _, m := range list {
		if !g.inputs[m.path] {
			out = append(out, m)
		}
	}
	g.c.extra = map[string]int64{
		"manifests-created": int64(len(g.outputs)), "manifests-replaced": int64(len(g.inputs)), "manifests-kept": int64(len(out)),
	}
	for _, m := range g.outputs {
		placed := *m
		placed.sequence = base.doc.lastSequence + 1
		out = append(out, &placed)
		g.c.extra["entries-processed"] += m.existing
	}
	return out, blobs, nil
}

// isGood reports whether what an earlier try wrote can take its place in the list.
func (g *regrouping) isGood(list []*manifest) bool {
	n := 0
	for _, m := range list {
		if g.inputs[m.path] {
			n++
		}
	}
	return n > 0 && n == len(g.inputs)
}

// lead is the index of the partition field by which manifests are kept apart: the tenant, or
// the day if there is none.
func (l *fileLayout) lead() int {
	return max(0, slices.IndexFunc(l.fields, func(p partitionField) bool { return !p.isDay }))
}

// disorder counts the files in manifests that have fewer than size or reach into the range of
// another.
func (l *fileLayout) disorder(list []*manifest, size int64) (files int64) {
	lead := l.lead()
	type span struct {
		fieldSummary
		files int64
	}
	var spans []span
	for _, m := range list {
		if m.files() < size || len(m.partitions) != len(l.fields) {
			files += m.files()
			continue
		}
		spans = append(spans, span{m.partitions[lead], m.files()})
	}
	compare := l.fields[lead].compare
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(compare(a.lower, b.lower), compare(a.upper, b.upper)) })
	for i, s := range spans {
		if i > 0 && compare(s.lower, spans[i-1].upper) < 0 {
			files += s.files
			spans[i].upper = spans[i-1].upper
		}
	}
	return files
}

// placedEntry is an entry and where it belongs.
type placedEntry struct {
	entry
	tenant []byte
	day    int64
	rows   int64
}

// regroup writes the live entries of the manifests in their order.
func (g *regrouping) regroup(ctx context.Context, base version, l *fileLayout, list []*manifest) ([]blob, error) {
	t := g.c.t
	t.cat.remove(ctx, g.c.lasting...) // of an earlier try
	g.inputs, g.outputs, g.c.lasting = map[string]bool{}, nil, nil
	var entries []placedEntry
	for _, m := range list {
		_, body, err := t.open(ctx, base, m)
		if err == nil {
			err = l.decode(m, body, func(e entry, file *fileView) error {
				if e.status != statusDeleted {
					entries = append(entries, placedEntry{e, file.tenant, file.day, file.rows})
				}
				return nil
			})
		}
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", m.path, err)
		}
		g.inputs[m.path] = true
	}
	slices.SortStableFunc(entries, func(a, b placedEntry) int {
		return cmp.Or(bytes.Compare(a.tenant, b.tenant), cmp.Compare(a.day, b.day), cmp.Compare(a.sequence, b.sequence))
	})
	isByTenant := !l.fields[l.lead()].isDay
	var blobs []blob
	for begin := 0; begin < len(entries); {
		end := min(begin+g.size, len(entries))
		for end < min(begin+2*g.size, len(entries)) {
			a, b := &entries[end-1], &entries[end]
			if isByTenant && !bytes.Equal(a.tenant, b.tenant) || !isByTenant && a.day != b.day {
				break
			}
			end++
		}
		m, body := g.write(l, entries[begin:end])
		g.outputs = append(g.outputs, m)
		g.c.lasting = append(g.c.lasting, body.name)
		blobs = append(blobs, body)
		begin = end
	}
	return blobs, nil
}

// write makes one manifest.
func (g *regrouping) write(l *fileLayout, entries []placedEntry) (*manifest, blob) {
	t := g.c.t
	name := t.objectName(newUUID().String() + "-m3.avro")
	m := &manifest{path: t.cat.locations.uri(name), specID: int64(l.specID), snapshot: g.c.snapshot, minSequence: maxSequence}
	w := l.newContainer(len(entries))
	for i := range entries {
		e := &entries[i]
		w.block = e.appendTo(w.block)
		w.end()
		m.existing++
		m.existingRows += e.rows
		m.minSequence = min(m.minSequence, e.sequence)
		for j, s := range l.summaries(cardlake.DataFile{Tenant: cardlake.Tenant(e.tenant), Day: cardlake.Day(e.day)}) {
			if len(m.partitions) == j {
				m.partitions = append(m.partitions, s)
			}
			m.partitions[j].widen(s, l.fields[j].isDay)
		}
	}
	body := w.close()
	m.length = int64(len(body))
	return m, blob{name, body}
}
