package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
)

// source is a table, and for each scope of the decision what holds its rows.
type source struct {
	queries.Read
	// exposed says of each of the table's columns whether a statement is shown it, as far as the
	// decision gives it. Of others nothing is in memory.
	exposed []bool
	scopes  []scopeFiles // as Decision.Scopes
}

// scopeFiles are the memory files of a scope.
type scopeFiles struct {
	paths []string
	// hasNames says that the columns which are read have their names and types in all files.
	hasNames bool
	// isOwn says that no file can have a row outside the scope.
	isOwn bool
}

// newSource returns the source without files.
func newSource(r queries.Read) source {
	s := source{Read: r, exposed: make([]bool, len(r.Table.Columns)), scopes: make([]scopeFiles, len(r.Decision.Scopes))}
	for i := range s.scopes {
		s.scopes[i] = scopeFiles{hasNames: true, isOwn: true}
	}
	access := r.Decision.Access()
	isAny, spare := false, -1
	for i, c := range r.Table.Columns {
		s.exposed[i] = r.Uses == nil || r.Uses[i]
		isAny = isAny || s.exposed[i] && access[i] != grants.Dropped
		if access[i] != grants.Dropped && (spare < 0 || c.Name == tenantColumn) {
			spare = i
		}
	}
	if !isAny && spare >= 0 { // as for count(*): a table has to have a column
		s.exposed[spare] = true
	}
	return s
}

// needs reports whether the column is read from the files of the scope.
func (s *source) needs(scope, column int) bool {
	return s.exposed[column] && s.Decision.Scopes[scope].Columns[column] != grants.Dropped ||
		!s.scopes[scope].isOwn && s.Table.Columns[column].Name == tenantColumn
}

// part is a data file of a scope, as one statement reads it.
type part struct {
	cardlake.DataFile
	source, scope int
	conditions    [][]queries.Filter // see source.conditions

	opener *opener
	file   *dataFile
	footer *footer // nil if the file's key was destroyed
	isUsed bool    // it has rows that the statement can use
}

// plan is what a statement reads: its tables, and the files that may have rows it can use.
type plan struct {
	sources   []source
	parts     []*part
	snapshots []queries.Snapshot // as sources
}

// plan plans all tables.
func (e *Engine) plan(ctx context.Context, reads []queries.Read) (*plan, error) {
	p := &plan{sources: make([]source, len(reads))}
	for i, r := range reads {
		p.sources[i] = newSource(r)
		read, scopes, err := e.planTable(ctx, r)
		if err != nil {
			return nil, err
		}
		for scope, files := range scopes {
			conditions := p.sources[i].conditions(scope)
			for _, f := range files {
				if mayHoldFile(r.Table, f, conditions) {
					p.parts = append(p.parts, &part{DataFile: f, source: i, scope: scope, conditions: conditions})
				}
			}
		}
		p.snapshots = append(p.snapshots, read)
	}
	return p, nil
}

// fetch decrypts what the statement needs of the files into memory files that a owns.
func (e *Engine) fetch(ctx context.Context, cfg Config, p *plan, a *answer) (err error) {
	a.snapshots, a.decrypted = p.snapshots, time.Now()
	if err := checkDescriptors(len(p.parts) + e.cache.len()); err != nil {
		return err
	}
	var least int64
	for _, f := range p.parts {
		least += min(f.Bytes, blockSize)
	}
	if least > cfg.MaxBytes {
		return tooManyBytes(cfg, len(p.parts), least)
	}
	for _, f := range p.parts {
		f.opener = &opener{ctx: ctx, store: e.store, name: f.Name, size: f.Bytes}
	}
	defer func() {
		for _, f := range p.parts {
			err = errors.Join(err, f.opener.Close())
		}
	}()
	if err := e.open(ctx, p.parts, p.sources, a); err != nil {
		return err
	}
	if err := e.load(ctx, cfg, p.parts, p.sources, a); err != nil {
		return err
	}
	for i, s := range p.sources {
		if s.Table != cardlake.Transactions || s.IsPinned || e.cfg.Tail == nil {
			continue
		}
		if err := e.fetchTail(ctx, s.Decision, &a.snapshots[i], func(scope int, m *memfd) {
			a.memory = append(a.memory, m)
			p.sources[i].scopes[scope].paths = append(p.sources[i].scopes[scope].paths, m.path())
		}); err != nil {
			return fmt.Errorf("read the tail of %s: %w", s.Table.FullName(), err)
		}
	}
	return nil
}

// open reads the files' metadata. Of files whose key was destroyed it counts the rows.
func (e *Engine) open(ctx context.Context, parts []*part, sources []source, a *answer) error {
	err := e.each(ctx, parts, sources, func(ctx context.Context, p *part) (err error) {
		var ok bool
		if p.file, ok = e.cache.take(p.Name); !ok {
			if p.file, err = newDataFile(p.Name, p.Bytes); err != nil {
				return err
			}
		}
		p.footer, err = p.file.metadata(ctx, p.opener)
		switch {
		case errors.Is(err, keys.ErrDestroyed):
			return nil
		case err != nil:
			return err
		}
		err = p.prune(ctx, sources[p.source].Table)
		if !p.isUsed {
			e.cache.keep(p.Name, p.file)
		}
		return err
	})
	for _, p := range parts {
		if p.file != nil {
			a.memory = append(a.memory, p.file)
			if p.file.opened.Before(a.decrypted) {
				a.decrypted = p.file.opened
			}
		}
	}
	if err != nil {
		return err
	}
	for _, p := range parts {
		s, read := &sources[p.source], &a.snapshots[p.source]
		if p.footer == nil {
			if read.Destroyed == nil {
				read.Destroyed = map[cardlake.Tenant]int64{}
			}
			read.Destroyed[p.Tenant] += p.Rows
			continue
		}
		of := &s.scopes[p.scope]
		of.isOwn = of.isOwn && (!p.isUsed || s.isOwn(p))
	}
	for _, p := range parts {
		if !p.isUsed {
			continue
		}
		s := &sources[p.source]
		of := &s.scopes[p.scope]
		for i := range s.Table.Columns {
			of.hasNames = of.hasNames && (!s.needs(p.scope, i) || p.footer.hasByName(&s.Table.Columns[i]))
		}
	}
	return nil
}

// isOwn reports whether the file's metadata prove that all its rows are of the scope's tenants.
func (s *source) isOwn(p *part) bool {
	if !s.Table.ByTenant || len(s.Decision.Scopes) == 1 && s.Decision.IsWhole() {
		return true
	}
	name, ok := p.footer.only(s.Table.Column(tenantColumn))
	return ok && scopeOf(s.Decision, cardlake.Tenant(name)) == p.scope
}

// load decrypts what is needed of the files.
func (e *Engine) load(ctx context.Context, cfg Config, parts []*part, sources []source, a *answer) error {
	var bytes int64
	parts = slices.DeleteFunc(slices.Clone(parts), func(p *part) bool { return !p.isUsed })
	needed := make(map[*part][]span, len(parts))
	for _, p := range parts {
		s, read := &sources[p.source], &a.snapshots[p.source]
		needed[p] = p.footer.whereabouts(s.Table.Columns, func(i int) bool { return s.needs(p.scope, i) })
		cost := p.file.cost(needed[p])
		bytes += cost
		read.Files++
		read.Bytes += cost
		read.Rows += p.Rows
	}
	if bytes > cfg.MaxBytes {
		return tooManyBytes(cfg, len(parts), bytes)
	}
	reads := max(1, e.cfg.Fetches/max(1, len(parts)))
	if err := e.each(ctx, parts, sources, func(ctx context.Context, p *part) error {
		err := p.file.load(ctx, p.opener, needed[p], reads)
		e.cache.keep(p.Name, p.file)
		return err
	}); err != nil {
		return err
	}
	// The newest first: where the newest rows are asked for, DuckDB then passes over older files by
	// their bounds.
	slices.SortStableFunc(parts, func(a, b *part) int { return cmp.Compare(b.MaxTime, a.MaxTime) })
	for _, p := range parts {
		of := &sources[p.source].scopes[p.scope]
		of.paths = append(of.paths, p.file.memory.path())
	}
	return nil
}

func tooManyBytes(cfg Config, files int, bytes int64) error {
	return &queries.Error{
		Message: fmt.Sprintf("the statement reads %d MiB in %d files, more than the %d MiB that one may hold in memory", bytes>>20, files, cfg.MaxBytes>>20),
		Hint:    "name fewer columns, or fewer tenants and days in WHERE", Offset: -1,
	}
}

// each calls do for the parts, so many at once as the engine may fetch.
func (e *Engine) each(ctx context.Context, parts []*part, sources []source, do func(context.Context, *part) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(e.cfg.Fetches)
	for _, p := range parts {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := do(ctx, p); err != nil {
				return fmt.Errorf("read %s: object %s: %w", sources[p.source].Table.FullName(), p.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}
