package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/export"
)

// exporting is what the commands of exports have in common.
type exporting struct {
	place lakeflags.Flags
	door  door

	*export.Service
	lake   *serving.Lake
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
	if e.lake, err = serving.OpenLake(ctx, &e.place); err != nil {
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
	e.Service, err = serving.OpenExports(ctx, serving.ExportParts{
		Dir: e.place.Dir, Lake: e.lake, Keys: e.ring, Tenants: tenants, Permits: permits, Recorder: record,
		Parser: parser, Engine: embedded.New(e.lake.Planner, e.lake.Store, embedded.Config{}), Log: log,
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
