package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/queries/webhook"
	"github.com/cardlake/cardlake/writers/objects"
)

// exportsFolder is where a lake's exports are, in its folder: the jobs, and their sealed files.
func exportsFolder(dir string) string { return filepath.Join(dir, "exports") }

// exportParts is what exports are made of besides what a door has anyway.
type exportParts struct {
	dir      string // of the lake
	lake     *lake
	keys     keys.Provider
	tenants  *catalog.Tenants
	permits  *grants.Grants
	recorder queries.Recorder
	parser   queries.Parser
	engine   queries.Engine
	marks    watermarks // may be nil
	log      *slog.Logger
}

// openExports opens the exports of a lake. Statements are bounded by time and by the grants, not
// by rows: what is taken away goes to files.
func openExports(ctx context.Context, p exportParts) (*export.Service, error) {
	folder := exportsFolder(p.dir)
	deps := export.Deps{
		Gateway: func(permits queries.Permits) *queries.Gateway {
			return queries.New(p.parser, p.engine, permits, p.recorder, queries.Config{MaxRows: -1, Timeout: 30 * time.Minute, MaxSQL: maxStatement, Views: views.All})
		},
		Permits: p.permits, Rulings: p.permits, Recorder: p.recorder, Planner: p.lake.planner, Lake: p.lake.Store,
		Files: objects.NewSealed(filepath.Join(folder, "files"), p.keys, objects.SealedConfig{}), Tenants: p.tenants, Keys: p.keys,
		Sender: webhook.New(webhook.Config{Attempts: 1}),
	}
	if p.marks != nil {
		deps.Complete = completeness{p.lake.planner, p.marks}
	}
	return export.Open(ctx, folder, deps, export.Config{Log: p.log})
}

// watermarks say up to when all rows of each tenant are there; *ready.Watcher has them.
type watermarks interface {
	ValidThrough(at cardlake.Positions) map[cardlake.Tenant]time.Time
}

// completeness implements export.Completeness by watermarks of what is committed. Tables beside
// the transactions have none: of them a window is complete when theirs is.
type completeness struct {
	planner embedded.Planner
	marks   watermarks
}

// IsComplete implements export.Completeness.
func (c completeness) IsComplete(ctx context.Context, _ *cardlake.Table, tenant cardlake.Tenant, _, to time.Time) (bool, error) {
	snapshot, _, err := c.planner.Plan(ctx, cardlake.Transactions)
	if err != nil {
		return false, err
	}
	return !c.marks.ValidThrough(snapshot.Positions)[tenant].Before(to), nil
}

// exporting is what the commands of exports have in common.
type exporting struct {
	place lakeflags.Flags
	door  door

	*export.Service
	lake   *lake
	ring   keys.Provider
	closes []func() error
}

func (e *exporting) define(fs *flag.FlagSet) {
	e.place.Define(fs, lakeflags.Read)
	e.door.define(fs)
	e.door.defineRecord(fs)
}

// complete checks the flags that all have.
func (e *exporting) complete() error {
	return errors.Join(e.place.Complete(), e.door.complete(home.Dir(e.place.Dir)))
}

// open opens the lake and its exports.
func (e *exporting) open(ctx context.Context, log *slog.Logger) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	if e.lake, err = open(ctx, &e.place); err != nil {
		return err
	}
	e.closes = append(e.closes, e.lake.Close)
	permits, err := e.door.permits()
	if err != nil {
		return err
	}
	record, err := e.door.record(ctx, &e.place)
	if err != nil {
		return err
	}
	e.closes = append(e.closes, record.Close)
	if e.ring, err = e.place.Keys.Lake.Open(ctx); err != nil {
		return fmt.Errorf("exports: %w", err)
	}
	tenants, err := catalog.OpenTenants(e.door.tenants)
	if err != nil {
		return err
	}
	parser := embedded.NewParser()
	e.closes = append(e.closes, parser.Close)
	e.Service, err = openExports(ctx, exportParts{
		dir: e.place.Dir, lake: e.lake, keys: e.ring, tenants: tenants, permits: permits, recorder: record,
		parser: parser, engine: embedded.New(e.lake.planner, e.lake.Store, embedded.Config{}), log: log,
	})
	if err == nil {
		e.closes = append(e.closes, e.Service.Close)
	}
	return err
}

// close closes what was opened, the last first.
func (e *exporting) close() error {
	var errs []error
	for i := len(e.closes) - 1; i >= 0; i-- {
		errs = append(errs, e.closes[i]())
	}
	return errors.Join(errs...)
}
