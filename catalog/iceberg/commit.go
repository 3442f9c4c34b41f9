package iceberg

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	iceberg "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/cardlake/cardlake"
)

// swapState is how far a commit came.
type swapState int

const (
	untried swapState = iota // the swap was not sent: nothing happened
	swapped                  // it is durable
	lost                     // another commit was first: nothing happened
	failed                   // it returned an error: the outcome has to be looked up
)

// commit is one try to make one snapshot on a known version of the table. It is the catalog
// that iceberg-go commits to, so that the swap and its outcome are in plain sight; there
// are no replays behind it (commit.retry.num-retries is 0).
type commit struct {
	t       *Table
	base    version
	storage *storage

	swap   swapState
	result version
}

var _ table.CatalogIO = (*commit)(nil)

func (c *commit) run(ctx context.Context, files []cardlake.DataFile, positions cardlake.Positions, id string) error {
	summary := iceberg.Properties{appendProperty: id}
	if len(positions) > 0 {
		text, err := positions.MarshalText()
		if err != nil {
			return err
		}
		summary[positionsProperty] = string(text)
	}
	tx := c.table().NewTransaction()
	// Without this pin, iceberg-go may rebase the snapshot on a newer head and commit it
	// there, although the positions were compared with the older one.
	if err := tx.AssertRefSnapshotID(table.MainBranch); err != nil {
		return err
	}
	if err := c.stageMerge(ctx, tx); err != nil {
		return err
	}
	if err := c.stageAppend(ctx, tx, files, summary); err != nil {
		return err
	}
	if err := c.stageExpiry(tx); err != nil {
		return err
	}
	_, err := tx.Commit(ctx)
	if err == nil && c.swap != swapped {
		err = errors.New("the transaction made no commit")
	}
	return err
}

func (c *commit) table() *table.Table {
	ident := table.Identifier{c.t.def.Namespace, c.t.def.Name}
	return table.New(ident, c.base.meta, c.base.location, fixed(c.storage), c)
}

const (
	// mergeEvery is how many commits make small manifests before they are merged.
	mergeEvery = 16
	// mergeBelow is the number of files from which a manifest is left alone.
	mergeBelow = 2000
)

// stageMerge puts, now and then, a snapshot before the append's that merges the small
// manifests which the last appends made, in the same commit. iceberg-go's merging appends
// go by bytes, and a manifest of a few files is nearly all header: they either let small
// manifests pile up or rewrite the large one again and again. By number of files, an entry
// is rewritten at most mergeBelow/mergeEvery times, and no commit rewrites many more than
// mergeBelow entries that are not new since the last merge.
func (c *commit) stageMerge(ctx context.Context, tx *table.Transaction) error {
	if n := c.base.meta.LastSequenceNumber(); n == 0 || n%mergeEvery != 0 {
		return nil
	}
	_, err := tx.RewriteManifests(ctx, table.WithRewriteManifestPredicate(func(m iceberg.ManifestFile) bool {
		return m.AddedDataFiles()+m.ExistingDataFiles() < mergeBelow
	}))
	return err
}

func (c *commit) stageAppend(ctx context.Context, tx *table.Transaction, files []cardlake.DataFile, summary iceberg.Properties) error {
	if len(files) == 0 {
		// AddDataFiles makes no snapshot of no files, AddFiles does. It also sets a name
		// mapping, which files that carry field ids do not need.
		if err := tx.AddFiles(ctx, nil, summary, true); err != nil {
			return err
		}
		return tx.RemoveProperties([]string{table.DefaultNameMappingKey})
	}
	l, err := layoutOf(c.base.meta, c.base.meta.DefaultPartitionSpec(), c.t.def)
	if err != nil {
		return err
	}
	converted := make([]iceberg.DataFile, len(files))
	for i, f := range files {
		if converted[i], err = l.icebergFile(f); err != nil {
			return err
		}
	}
	// The duplicate check reads every manifest of the table; names are unique by
	// construction and the positions fence repeats.
	return tx.AddDataFiles(ctx, converted, summary, table.WithoutDuplicateCheck(), table.WithoutAutoNameMapping())
}

// stageExpiry drops the oldest snapshots from the metadata, some at a time, so that what
// sweep has to read afterwards is paid once in several commits. The snapshot being made
// holds all positions itself: none are lost with its ancestors.
func (c *commit) stageExpiry(tx *table.Transaction) error {
	keep := c.t.cat.history
	if len(c.base.meta.Snapshots()) < keep+keep/8 {
		return nil
	}
	return tx.ExpireSnapshots(table.WithRetainLast(keep), table.WithOlderThan(0), table.WithPostCommit(false))
}

// LoadTable returns the version the commit is based on.
func (c *commit) LoadTable(context.Context, table.Identifier) (*table.Table, error) {
	return c.table(), nil
}

// CommitTable writes the new metadata object and then moves the table's pointer to it.
func (c *commit) CommitTable(ctx context.Context, _ table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	for _, r := range reqs {
		if err := r.Validate(c.base.meta); err != nil {
			return nil, "", err
		}
	}
	meta, err := table.UpdateTableMetadata(c.base.meta, updates, c.base.location)
	if err != nil {
		return nil, "", err
	}
	number, err := metadataNumber(c.base.location)
	if err != nil {
		return nil, "", err
	}
	location, err := writeMetadata(c.storage, meta, number+1)
	if err != nil {
		return nil, "", err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, "", err
	}
	// From here on a cancelled context would only make the outcome unknown.
	moved, err := c.t.cat.pointers.swap(context.WithoutCancel(ctx), c.t.def, c.base.location, location)
	switch {
	case err != nil:
		c.swap = failed
		return nil, "", err
	case !moved:
		c.swap = lost
		return nil, "", table.ErrCommitFailed
	}
	c.swap = swapped
	c.result = version{location, meta}
	return meta, location, nil
}

// metadataNumber is the number at the start of a metadata object's name.
func metadataNumber(location string) (int, error) {
	digits, _, _ := strings.Cut(path.Base(location), "-")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("metadata location %q has no number", location)
	}
	return n, nil
}
