// Package maintenance keeps the tables of the lake healthy: it merges the many small files
// that fresh commits leave behind into few sorted ones.
//
// [Compactor] works beside the workers and beside other compactors, on committed files only.
// It makes new objects under names that nobody else uses, reads back what it made, and then
// exchanges the files in one commit that appends do not conflict with. Whatever is killed
// when, a table has either the old files or the new ones; what is left over are objects that
// no table names, for the removal of orphans to find.
//
// Rows come out as they went in: every value of every column, lineage included; only their
// order and the form of the file are new.
package maintenance

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"path"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// Table is the table whose files are merged; *iceberg.Table is one.
type Table interface {
	Files(ctx context.Context, snapshotID int64) ([]cardlake.DataFile, error)
	Snapshots(ctx context.Context) ([]catalog.Snapshot, error)
	Replace(ctx context.Context, r catalog.Replace) (catalog.Snapshot, error)
}

// Tenants is where a tenant's storage id is found; [catalog.Tenants] is one.
type Tenants interface {
	Lookup(cardlake.Tenant) (catalog.TenantRecord, error)
}

// Config tunes a [Compactor]. The zero value is right for most uses.
type Config struct {
	// Width is how many files of one size class are merged, from 2 on; default 10. Larger ones
	// write less and leave more files for readers.
	Width int
	// FileBytes is about the most bytes of a file, default 512 MB. The file that is being made
	// is in memory.
	FileBytes int64
	// RowGroupRows is the most rows of a row group, default 512 Ki: one is made of a record in
	// memory, of about 400 bytes a row.
	RowGroupRows int
	// OpenBytes bounds the memory of the files that are merged at once, default 192 MiB.
	OpenBytes int64
	// Settle is how long after its end, and after the last file that was added to it, a day is
	// merged into one file; default 1 hour.
	Settle time.Duration

	// Only says which partitions are looked at; nil for all.
	Only func(Partition) bool
	// Progress, if not nil, is called after each job.
	Progress func(Progress)
	// Parquet tunes the files.
	Parquet parquet.Config
}

func (c Config) withDefaults() Config {
	c.Width = max(2, cmp.Or(c.Width, 10))
	c.FileBytes = cmp.Or(c.FileBytes, 512_000_000)
	c.RowGroupRows = cmp.Or(c.RowGroupRows, 512<<10)
	c.OpenBytes = cmp.Or(c.OpenBytes, 192<<20)
	c.Settle = cmp.Or(c.Settle, time.Hour)
	return c
}

// Compactor merges the files of one table. It is for one goroutine; any number of them, in
// any number of processes, may work on a table at the same time.
type Compactor struct {
	def     *cardlake.Table
	table   Table
	store   objects.Store
	tenants Tenants
	cfg     Config
	plan    planner

	merger  *merger
	encoder *parquet.Encoder
}

// New returns a compactor of the table that def defines.
func New(def *cardlake.Table, table Table, store objects.Store, tenants Tenants, cfg Config) *Compactor {
	cfg = cfg.withDefaults()
	return &Compactor{
		def: def, table: table, store: store, tenants: tenants, cfg: cfg,
		plan:   planner{cfg.Width, cfg.FileBytes, cfg.Settle, cfg.OpenBytes},
		merger: newMerger(def), encoder: parquet.NewEncoder(def, cfg.Parquet),
	}
}

// Report is what a run did.
type Report struct {
	Jobs      int   `json:"jobs"`
	FilesIn   int   `json:"files_in"`
	FilesOut  int   `json:"files_out"`
	BytesIn   int64 `json:"bytes_in"`
	BytesOut  int64 `json:"bytes_out"`
	Rows      int64 `json:"rows"`
	Yielded   int   `json:"yielded"`   // jobs that somebody else was faster with
	Destroyed int   `json:"destroyed"` // partitions left alone because their key was destroyed
	// Skipped are the partitions that could not be merged. They are as they were.
	Skipped []Skip `json:"skipped,omitempty"`
}

// Skip is a partition that could not be merged.
type Skip struct {
	Partition
	Err error
}

// Progress is how far a pass is.
type Progress struct {
	Job
	Report           // so far, of the whole run
	Done, Left int64 // bytes of the pass's files
}

// Plan returns the jobs that Run would begin with now; none for a table by run, whose files are
// never merged.
func (c *Compactor) Plan(ctx context.Context) ([]Job, error) {
	if c.def.ByRun {
		return nil, nil
	}
	snapshots, err := c.table.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	files, err := c.table.Files(ctx, 0)
	if err != nil {
		return nil, err
	}
	if c.cfg.Only != nil {
		files = slices.DeleteFunc(files, func(f cardlake.DataFile) bool { return !c.cfg.Only(Partition{f.Tenant, f.Day}) })
	}
	now, quiet := time.Now(), int64(0)
	// What is older than every snapshot that is kept is quiet.
	for _, s := range snapshots {
		if quiet == 0 {
			quiet = s.Sequence - 1
		}
		if now.Sub(s.CommittedAt) >= c.cfg.Settle {
			quiet = s.Sequence
		}
	}
	return c.plan.jobs(files, quiet, now), nil
}

// maxPasses bounds how often a run plans anew: each merges files of a class into the next.
const maxPasses = 16

// errMoved says that the files of a job are not the table's any more.
var errMoved = errors.New("the table moved")

// Run merges until nothing is left to do. An error ends it: the table or the store cannot be
// reached, or the context is done. A partition that cannot be merged is reported, left as it
// is, and the others go on.
func (c *Compactor) Run(ctx context.Context) (Report, error) {
	var r Report
	isSkipped := map[Partition]bool{}
	for range maxPasses {
		jobs, err := c.Plan(ctx)
		if err != nil {
			return r, err
		}
		jobs = slices.DeleteFunc(jobs, func(j Job) bool { return isSkipped[j.Partition] })
		if len(jobs) == 0 {
			break
		}
		left := int64(0)
		for _, j := range jobs {
			left += j.Bytes()
		}
		// Two compactors that begin together do not stay together.
		mathrand.Shuffle(len(jobs), func(i, k int) { jobs[i], jobs[k] = jobs[k], jobs[i] })
		done := int64(0)
		for _, j := range jobs {
			err := c.do(ctx, j, &r)
			switch {
			case err == nil:
			case ctx.Err() != nil:
				return r, err
			case errors.Is(err, errMoved):
				r.Yielded++
			case errors.Is(err, keys.ErrDestroyed):
				r.Destroyed++
				isSkipped[j.Partition] = true
			default:
				r.Skipped = append(r.Skipped, Skip{j.Partition, err})
				isSkipped[j.Partition] = true
			}
			done += j.Bytes()
			if c.cfg.Progress != nil {
				c.cfg.Progress(Progress{j, r, done, left - done})
			}
		}
	}
	return r, nil
}

// do merges the files of a job.
func (c *Compactor) do(ctx context.Context, j Job, r *Report) error {
	made, err := c.rewrite(ctx, j)
	if err == nil {
		err = c.exchange(ctx, j, made)
	}
	switch {
	case err == nil:
	case errors.Is(err, catalog.ErrUnknown):
		// The commit may have happened: nothing is taken back.
		return err
	default:
		c.takeBack(ctx, made)
		return err
	}
	r.Jobs++
	r.FilesIn += len(j.Files)
	r.FilesOut += len(made)
	for _, f := range j.Files {
		r.BytesIn += f.Bytes
		r.Rows += f.Rows
	}
	for _, f := range made {
		r.BytesOut += f.Bytes
	}
	return nil
}

// rewrite makes the objects that the job's files become. It returns those that were made also
// with an error.
func (c *Compactor) rewrite(ctx context.Context, j Job) (made []cardlake.DataFile, err error) {
	owner, folder, err := c.place(j.Partition)
	if err != nil {
		return nil, err
	}
	// Work that another compactor has done meanwhile need not be done in vain.
	if isLive, err := c.isLive(ctx, j.Files...); err != nil || !isLive {
		return nil, cmp.Or(err, errMoved)
	}
	inputs := make([]*input, 0, len(j.Files))
	defer func() {
		for _, in := range inputs {
			_ = in.close() // of what was only read
		}
	}()
	rows, most := int64(0), c.cfg.RowGroupRows
	for _, f := range j.Files {
		in, err := openInput(ctx, c.def, c.store, f)
		if err != nil {
			return nil, c.missing(ctx, f, err)
		}
		inputs = append(inputs, in)
		rows += f.Rows
		most = min(most, in.recordRows())
	}
	if err := c.merger.begin(inputs); err != nil {
		return nil, err
	}
	name := folder + "/" + j.Day.String() + "/" + uniqueName()
	file := fileOf{encoder: c.encoder}
	put := func() error {
		body, splits, of, err := file.end(ctx, c.merger)
		if err != nil {
			return err
		}
		f := cardlake.DataFile{
			Name: fmt.Sprintf("%s-%d.parquet", name, len(made)), Tenant: j.Tenant, Day: j.Day,
			Rows: of.sum.Rows, Bytes: int64(len(body)), MinTime: of.min, MaxTime: of.max, SplitOffsets: splits,
		}
		made = append(made, f) // before Put: after an error the object may be there
		return c.store.Put(ctx, f.Name, owner, body)
	}
	before := 0 // bytes of the file before its last row group
	for {
		p, err := c.merger.next(ctx, most)
		if err != nil {
			return made, err
		}
		if p.record == nil {
			if file.sum.Rows > 0 {
				err = put()
			}
			return made, cmp.Or(err, sameRows(rows, made))
		}
		if cardlake.DayOf(p.min) != j.Day || cardlake.DayOf(p.max) != j.Day {
			return made, fmt.Errorf("%w: a row is of another day", ErrInput)
		}
		if err := file.add(p); err != nil {
			return made, err
		}
		// The next row group will be about as large as the last one.
		if size := c.encoder.Size(); int64(2*size-before) > c.cfg.FileBytes {
			if err := put(); err != nil {
				return made, err
			}
			before = 0
		} else {
			before = size
		}
	}
}

// sameRows returns an error unless the files have so many rows.
func sameRows(rows int64, made []cardlake.DataFile) error {
	for _, f := range made {
		rows -= f.Rows
	}
	if rows != 0 {
		return errDiffers
	}
	return nil
}

// place is where the objects of a partition go, and under whose key.
func (c *Compactor) place(at Partition) (keys.Owner, string, error) {
	if !c.def.ByTenant {
		return keys.Lake, path.Join("data", c.def.Name), nil
	}
	record, err := c.tenants.Lookup(at.Tenant)
	if err != nil {
		return "", "", fmt.Errorf("tenant %s: %w", at.Tenant, err)
	}
	return keys.OwnerOf(record.StorageID), path.Join("data", c.def.Name, string(record.StorageID)), nil
}

// uniqueName is 80 random bits in letters: nobody else makes an object of the name, so that
// who made it may remove it.
func uniqueName() string {
	var b [10]byte
	rand.Read(b[:])
	return "m" + string(cardlake.AppendLetters(nil, b[:]))
}

// missing tells a file that somebody else replaced and removed from one that is lost.
func (c *Compactor) missing(ctx context.Context, f cardlake.DataFile, err error) error {
	if !errors.Is(err, objects.ErrNotFound) {
		return err
	}
	switch isLive, err2 := c.isLive(ctx, f); {
	case err2 != nil:
		return errors.Join(err, err2)
	case isLive:
		return fmt.Errorf("the table has a file that is not in the store: %w", err)
	}
	return errMoved
}

// isLive reports whether the table has all of the files.
func (c *Compactor) isLive(ctx context.Context, files ...cardlake.DataFile) (bool, error) {
	all, err := c.table.Files(ctx, 0)
	if err != nil {
		return false, err
	}
	live := make(map[string]bool, len(all))
	for _, f := range all {
		live[f.Name] = true
	}
	return !slices.ContainsFunc(files, func(f cardlake.DataFile) bool { return !live[f.Name] }), nil
}

// conflicts bounds how often the exchange of files is tried while others commit.
const conflicts = 8

// exchange commits the new files in the place of the old ones.
func (c *Compactor) exchange(ctx context.Context, j Job, made []cardlake.DataFile) error {
	replace := catalog.Replace{Add: made, Operation: catalog.OpReplace}
	for _, f := range j.Files {
		replace.Remove = append(replace.Remove, f.Name)
	}
	for attempt := 1; ; attempt++ {
		_, err := c.table.Replace(ctx, replace)
		switch {
		case errors.Is(err, catalog.ErrGone):
			return fmt.Errorf("%w: %w", errMoved, err)
		case !errors.Is(err, catalog.ErrConflict) || attempt == conflicts:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(mathrand.N(time.Duration(attempt) * 200 * time.Millisecond)):
		}
	}
}

// takeBackTime bounds the removal of what was made in vain.
const takeBackTime = 15 * time.Second

// takeBack removes objects that no table names. What it leaves is an orphan.
func (c *Compactor) takeBack(ctx context.Context, made []cardlake.DataFile) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTime)
	defer cancel()
	for _, f := range made {
		_ = c.store.Delete(ctx, f.Name)
	}
}
