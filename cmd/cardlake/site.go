package main

import (
	"context"
	"errors"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
)

// site is what a command that reads tables asks with: the lake, who may do what, the record and
// the parser.
type site struct {
	*serving.Lake
	permits *grants.Grants
	record  *audit.Log
	parser  *embedded.Parser
}

// site opens the lake for whoever the door was told of. An error says what to do.
func (d *door) site(ctx context.Context, place *lakeflags.Flags) (_ *site, err error) {
	s := &site{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.Lake, err = serving.OpenLake(ctx, place); err != nil {
		return nil, err
	}
	if s.permits, err = d.permits(); err != nil {
		return nil, err
	}
	if s.record, err = d.record(ctx, place); err != nil {
		return nil, err
	}
	s.parser = embedded.NewParser()
	return s, nil
}

// gateway answers within the grants and on record.
func (s *site) gateway(engine queries.Engine, cfg queries.Config) *queries.Gateway {
	return queries.New(s.parser, engine, s.permits, s.record, cfg)
}

// engine is DuckDB over the lake.
func (s *site) engine(cfg embedded.Config) *embedded.Engine {
	return embedded.New(s.Planner, s.Store, cfg)
}

func (s *site) close() error {
	var errs []error
	if s.parser != nil {
		errs = append(errs, s.parser.Close())
	}
	if s.record != nil {
		errs = append(errs, s.record.Close())
	}
	if s.Lake != nil {
		errs = append(errs, s.Lake.Close())
	}
	return errors.Join(errs...)
}
