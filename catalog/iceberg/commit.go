package iceberg

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
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

// commit makes one snapshot, in as many tries as it takes.
type commit struct {
	t         *Table
	operation string
	files     []cardlake.DataFile // to be added
	id        string              // of the call
	snapshot  int64
	tries     int

	// rewrite returns what takes the place of the manifests of base, which are list, and the
	// objects to be written for that. What it finds out of the files that the commit removes
	// it leaves in removed.
	rewrite func(ctx context.Context, base version, list []*manifest) ([]*manifest, []blob, error)
	removed removal
	extra   map[string]int64 // further properties of the summary

	// The manifest of the files does not depend on the version of the table: it is written
	// once.
	added  *manifest
	layout *layout // that it was written for
	// created are the objects of the last try that only it has use for, and lasting those
	// that later tries may use too.
	created, lasting []string
	used             map[string]bool // manifests of the last try, by location
}

// removal is what a commit takes out of the table.
type removal struct {
	files, rows, bytes int64
	// sequences has the greatest sequence number among the removed files of each partition.
	sequences map[partition]int64
}

// partition is one tenant's day, or one day of all.
type partition struct {
	tenant cardlake.Tenant
	day    cardlake.Day
}

func partitionOf(f cardlake.DataFile) partition { return partition{f.Tenant, f.Day} }

func newCommit(t *Table, operation string, files []cardlake.DataFile) *commit {
	return &commit{t: t, operation: operation, files: files, id: appendID(), snapshot: 1 + rand.Int64N(1<<62)}
}

// try writes a new version on top of base and moves the table's pointer from base to it.
func (c *commit) try(ctx context.Context, base version, positions cardlake.Positions) (version, outcome, error) {
	c.tries++
	c.created = nil
	list, blobs, err := c.manifests(ctx, base)
	if err != nil {
		return version{}, untried, err
	}
	s, err := c.newSnapshot(base, positions, list)
	if err != nil {
		return version{}, untried, err
	}
	blobs = append(blobs, blob{
		c.t.objectName(fmt.Sprintf("snap-%d-%d-%s.avro", s.ID, c.tries, newUUID())),
		encodeList(list, s.ID, s.Parent, s.Sequence),
	})
	s.List = c.t.cat.locations.uri(blobs[len(blobs)-1].name)
	if err := s.encode(); err != nil {
		return version{}, untried, err
	}
	doc, err := base.doc.next(s, base.location, c.t.cat.history)
	if err != nil {
		return version{}, untried, err
	}
	result, last, err := c.t.nextVersion(base, doc)
	if err != nil {
		return version{}, untried, err
	}
	blobs = append(blobs, last)
	for _, b := range blobs {
		if !slices.Contains(c.lasting, b.name) {
			c.created = append(c.created, b.name)
		}
	}
	if err := c.t.cat.put(ctx, blobs...); err != nil {
		return version{}, untried, err
	}
	if err := context.Cause(ctx); err != nil {
		return version{}, untried, err
	}
	// From here on a cancelled context would only make the outcome unknown.
	o, err := c.t.cat.pointers.swap(context.WithoutCancel(ctx), c.t.def, base.location, result.location)
	return result, o, err
}

// nextVersion is doc as the version that follows base, and the object to be written for it.
func (t *Table) nextVersion(base version, doc *document) (version, blob, error) {
	body, err := doc.encode()
	if err != nil {
		return version{}, blob{}, err
	}
	number, err := metadataNumber(base.location)
	if err != nil {
		return version{}, blob{}, err
	}
	name := t.metadataName(number + 1)
	return version{t.cat.locations.uri(name), doc}, blob{name, body}, nil
}

// manifests are what the commit makes of those of base, and the files'.
func (c *commit) manifests(ctx context.Context, base version) (list []*manifest, blobs []blob, err error) {
	if base.doc.current != nil {
		if list, err = base.doc.current.list(ctx, c.t.cat); err != nil {
			return nil, nil, err
		}
	}
	list, blobs, err = c.rewrite(ctx, base, withoutEmpty(list))
	if err != nil {
		return nil, nil, err
	}
	if len(c.files) > 0 {
		if c.layout != base.doc.layout {
			body, err := c.addManifest(base)
			if err != nil {
				return nil, nil, err
			}
			blobs = append(blobs, body)
		}
		added := *c.added
		added.sequence = base.doc.lastSequence + 1
		added.minSequence = min(added.minSequence, added.sequence)
		list = append(list[:len(list):len(list)], &added)
	}
	c.used = make(map[string]bool, len(list))
	for _, m := range list {
		c.used[m.path] = true
	}
	return list, blobs, nil
}

// withoutEmpty leaves out the manifests in which earlier snapshots deleted all.
func withoutEmpty(list []*manifest) []*manifest {
	isEmpty := func(m *manifest) bool { return m.content == contentData && m.files() == 0 && m.deleted > 0 }
	if !slices.ContainsFunc(list, isEmpty) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), isEmpty)
}

// addManifest encodes the manifest of the files, which has an object of its own. One that was
// written before the table's layout changed becomes superfluous.
func (c *commit) addManifest(base version) (blob, error) {
	added, body, err := base.doc.layout.current().encodeAdded(c.files, c.removed.sequences, c.snapshot, c.t.cat.locations)
	if err != nil {
		return blob{}, err
	}
	name := c.t.objectName(newUUID().String() + "-m0.avro")
	added.path = c.t.cat.locations.uri(name)
	c.added, c.layout = added, base.doc.layout
	c.lasting = append(c.lasting, name)
	return blob{name, body}, nil
}

func (c *commit) newSnapshot(base version, positions cardlake.Positions, list []*manifest) (*snapshot, error) {
	summary := summaryOf(base.doc.current, c.operation, c.files, c.removed)
	for key, n := range c.extra {
		summary[key] = strconv.FormatInt(n, 10)
	}
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

// takeBack removes the objects of the last try, which certainly did not happen; with those
// for later tries if there will be none.
func (c *commit) takeBack(ctx context.Context, isOver bool) {
	c.t.cat.remove(ctx, c.created...)
	c.created = nil
	if isOver {
		c.t.cat.remove(ctx, c.lasting...)
	}
}

// tidy removes the lasting objects that the try which happened had no use for.
func (c *commit) tidy(ctx context.Context) {
	c.t.cat.remove(ctx, slices.DeleteFunc(c.lasting, func(name string) bool {
		return c.used[c.t.cat.locations.uri(name)]
	})...)
}
