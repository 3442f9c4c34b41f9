package iceberg

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cardlake/cardlake"
)

// outcome is how far a commit came.
type outcome int

const (
	untried outcome = iota // the swap was not sent: nothing happened
	swapped                // it is durable
	lost                   // another commit was first: nothing happened
	failed                 // it returned an error: rereading the pointer tells whether it happened
	unknown                // it may still happen: rereading can confirm it, but not rule it out
)

// commit makes one snapshot, of an Append, in as many tries as it takes.
type commit struct {
	t        *Table
	files    []cardlake.DataFile
	id       string // of the Append
	snapshot int64
	tries    int

	// The manifest of the files does not depend on the version of the table: it is written
	// once.
	added  *manifest
	layout *layout // that it was written for
	name   string  // of its object
	// created are the objects of the last try that only it has use for.
	created []string
}

func newCommit(t *Table, files []cardlake.DataFile) *commit {
	return &commit{t: t, files: files, id: appendID(), snapshot: 1 + rand.Int64N(1<<62)}
}

// try writes a new version on top of base and moves the table's pointer from base to it.
func (c *commit) try(ctx context.Context, base version, positions cardlake.Positions) (version, outcome, error) {
	c.tries++
	c.created = nil
	var blobs []blob
	if len(c.files) > 0 && c.layout != base.doc.layout {
		body, err := c.addManifest(ctx, base)
		if err != nil {
			return version{}, untried, err
		}
		blobs = append(blobs, blob{c.name, body})
	}
	list, more, err := c.manifests(ctx, base)
	if err != nil {
		return version{}, untried, err
	}
	s, err := c.newSnapshot(base, positions, list)
	if err != nil {
		return version{}, untried, err
	}
	more = append(more, blob{
		c.t.objectName(fmt.Sprintf("snap-%d-%d-%s.avro", s.ID, c.tries, newUUID())),
		encodeList(list, s.ID, s.Parent, s.Sequence),
	})
	s.List = c.t.cat.locations.uri(more[len(more)-1].name)
	if err := s.encode(); err != nil {
		return version{}, untried, err
	}
	doc, err := base.doc.next(s, base.location, c.t.cat.history)
	if err != nil {
		return version{}, untried, err
	}
	body, err := doc.encode()
	if err != nil {
		return version{}, untried, err
	}
	number, err := metadataNumber(base.location)
	if err != nil {
		return version{}, untried, err
	}
	more = append(more, blob{c.t.metadataName(number + 1), body})
	result := version{c.t.cat.locations.uri(more[len(more)-1].name), doc}

	for _, b := range more {
		c.created = append(c.created, b.name)
	}
	if err := c.t.cat.put(ctx, append(blobs, more...)...); err != nil {
		return version{}, untried, err
	}
	if err := context.Cause(ctx); err != nil {
		return version{}, untried, err
	}
	// From here on a cancelled context would only make the outcome unknown.
	o, err := c.t.cat.pointers.swap(context.WithoutCancel(ctx), c.t.def, base.location, result.location)
	return result, o, err
}

// addManifest encodes the manifest of the files, which has an object of its own.
func (c *commit) addManifest(ctx context.Context, base version) ([]byte, error) {
	if c.name != "" { // written before the table's layout changed
		c.t.cat.remove(ctx, c.name)
	}
	added, body, err := base.doc.layout.current().encodeAdded(c.files, c.snapshot, c.t.cat.locations)
	if err != nil {
		return nil, err
	}
	c.name = c.t.objectName(newUUID().String() + "-m0.avro")
	added.path = c.t.cat.locations.uri(c.name)
	c.added, c.layout = added, base.doc.layout
	return body, nil
}

// manifests are those of base, of which some are merged now and then, and the files'.
func (c *commit) manifests(ctx context.Context, base version) (list []*manifest, blobs []blob, err error) {
	if base.doc.current != nil {
		if list, err = base.doc.current.list(ctx, c.t.cat); err != nil {
			return nil, nil, err
		}
	}
	list, blobs, err = c.t.merge(ctx, base, list, c.snapshot, c.t.objectName(newUUID().String()+"-m1.avro"))
	if err != nil {
		return nil, nil, err
	}
	if len(c.files) > 0 {
		added := *c.added
		added.sequence, added.minSequence = base.doc.lastSequence+1, base.doc.lastSequence+1
		list = append(list[:len(list):len(list)], &added)
	}
	return list, blobs, nil
}

func (c *commit) newSnapshot(base version, positions cardlake.Positions, list []*manifest) (*snapshot, error) {
	summary := summaryOf(base.doc.current, c.files)
	summary[appendProperty] = c.id
	if len(positions) > 0 {
		text, err := positions.MarshalText()
		if err != nil {
			return nil, err
		}
		summary[positionsProperty] = string(text)
	}
	s := newSnapshot(positions, list)
	s.snapshotFields = snapshotFields{
		ID: c.snapshot, Sequence: base.doc.lastSequence + 1, Summary: summary,
		// A clock that goes back must not make the table's log go back.
		Millis:   max(time.Now().UnixMilli(), base.doc.lastUpdated),
		SchemaID: base.doc.meta.CurrentSchema().ID,
	}
	if base.doc.current != nil {
		s.Parent = base.doc.current.ID
	}
	return s, nil
}

// takeBack removes the objects of the last try, which certainly did not happen; with the
// manifest of the files if there will be no other.
func (c *commit) takeBack(ctx context.Context, isOver bool) {
	c.t.cat.remove(ctx, c.created...)
	c.created = nil
	if isOver && c.name != "" {
		c.t.cat.remove(ctx, c.name)
	}
}
