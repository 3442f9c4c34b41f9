package insights

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// Table is a table that a job writes; an iceberg.Table is one.
type Table interface {
	Current(ctx context.Context) (catalog.Snapshot, error)
	Positions(ctx context.Context) (cardlake.Positions, error)
	FilesOf(ctx context.Context, snapshotID int64, tenants ...cardlake.Tenant) ([]cardlake.DataFile, error)
	Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error)
	Replace(ctx context.Context, r catalog.Replace) (catalog.Snapshot, error)
}

// publication makes the files of one run what readers see.
//
// The stream positions of the tables fence runs of a job for a tenant from each other, as they
// do workers (catalog.Append): each job and tenant is a stream partition, whose offset grows
// with every claim and every commit. To publish, a run claims an offset in insights.runs, and
// then the same in each table it writes; a run that claimed before it cannot commit anything
// any more. Then it commits its files to those tables, and last its row to insights.runs. Only
// after that the files go that it supersedes.
type publication struct {
	stream cardlake.StreamPartition
	tenant cardlake.Tenant
	runID  string
	from   cardlake.Day // days that the run covers, both ends included
	to     cardlake.Day
	runs   Table
	tables []*output
	ticket int64
}

// output is one table's part of a publication.
type output struct {
	table    Table
	name     string
	files    []cardlake.DataFile
	sequence int64 // of the commit that added them
}

// StreamOf names the stream partition of a job for a tenant in the positions of the tables.
func StreamOf(job string, tenant cardlake.StorageID) cardlake.StreamPartition {
	return cardlake.StreamPartition{Stream: "insights/" + job + "/" + string(tenant)}
}

// move is an append that takes the publication's partition from one offset to another.
func (p *publication) move(ctx context.Context, t Table, files []cardlake.DataFile, from, to int64) (catalog.Snapshot, error) {
	at := func(n int64) cardlake.Positions {
		return cardlake.Positions{p.stream: cardlake.Offset{Next: n}}
	}
	s, err := t.Append(ctx, catalog.Append{Files: files, From: at(from), To: at(to)})
	if errors.Is(err, catalog.ErrConflict) {
		err = fmt.Errorf("another run of the job for this tenant is being published; run it again if that one fails: %w", err)
	}
	return s, err
}

func (p *publication) offset(ctx context.Context, t Table) (int64, error) {
	positions, err := t.Positions(ctx)
	return positions[p.stream].Next, err
}

// claim takes insights.runs from offset at on, which keeps every earlier run of the job for the
// tenant from committing, and removes what a run with the same id left when it was killed. The
// files of the run itself are in no table yet.
func (p *publication) claim(ctx context.Context, at int64) error {
	p.ticket = at + 2 // past what a run that was stopped may have committed
	if _, err := p.move(ctx, p.runs, nil, at, p.ticket); err != nil {
		return err
	}
	for _, o := range p.tables {
		at, err := p.offset(ctx, o.table)
		if err != nil {
			return err
		}
		if at >= p.ticket {
			return fmt.Errorf("another run of the job for this tenant has begun to be published: %w", catalog.ErrConflict)
		}
		if _, err := p.move(ctx, o.table, nil, at, p.ticket); err != nil {
			return err
		}
		err = p.remove(ctx, o, func(f cardlake.DataFile) bool {
			return runOf(f) == p.runID
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// commit commits the files, then the run's row, which is file. After an error the run is not
// published, unless that wraps catalog.ErrUnknown.
func (p *publication) commit(ctx context.Context, file cardlake.DataFile) error {
	for _, o := range p.tables {
		s, err := p.move(ctx, o.table, o.files, p.ticket, p.ticket+1)
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		o.sequence = s.Sequence
	}
	_, err := p.move(ctx, p.runs, []cardlake.DataFile{file}, p.ticket, p.ticket+1)
	return err
}

// withdraw takes the files of a run that is not published out of the tables again, as far as
// that can be done: else the next run does it.
func (p *publication) withdraw(ctx context.Context) {
	for _, o := range p.tables {
		var names []string
		for _, f := range o.files {
			names = append(names, f.Name)
		}
		if o.sequence != 0 && len(names) > 0 {
			o.table.Replace(ctx, catalog.Replace{Remove: names, Operation: catalog.OpDelete})
		}
	}
}

// supersede removes the files of the days that the run covers which were there before it, and
// those of other days that are of a run that was not published.
func (p *publication) supersede(ctx context.Context, isPublished func(runID string) bool) error {
	for _, o := range p.tables {
		err := p.remove(ctx, o, func(f cardlake.DataFile) bool {
			return f.Sequence < o.sequence && (f.Day >= p.from && f.Day <= p.to || !isPublished(runOf(f)))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// runOf is the id of the run that wrote the file, "" for one that was written anew since.
func runOf(f cardlake.DataFile) string {
	id, _, _ := strings.Cut(path.Base(f.Name), "-")
	if len(id) != len(ID()) {
		return ""
	}
	return id
}

// removeAttempts bounds how often removing is planned anew because files were rewritten
// meanwhile, as an erasure does.
const removeAttempts = 8

func (p *publication) remove(ctx context.Context, o *output, isDue func(cardlake.DataFile) bool) error {
	for attempt := 0; ; attempt++ {
		files, err := o.table.FilesOf(ctx, 0, p.tenant)
		if err != nil {
			return err
		}
		var names []string
		for _, f := range files {
			if f.Tenant == p.tenant && isDue(f) {
				names = append(names, f.Name)
			}
		}
		if len(names) == 0 {
			return nil
		}
		_, err = o.table.Replace(ctx, catalog.Replace{Remove: names, Operation: catalog.OpDelete})
		if !errors.Is(err, catalog.ErrGone) || attempt == removeAttempts {
			return err
		}
	}
}

// sequence is the number of the publication.
func (p *publication) sequence() int64 { return p.ticket + 1 }

// day returns the UTC day of an instant.
func day(at time.Time) cardlake.Day { return cardlake.DayOf(at.UnixMicro()) }
