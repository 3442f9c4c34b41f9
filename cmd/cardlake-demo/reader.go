package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/writers/objects"
)

// self is who asks when the demo compares the rows that it has written with what it sent.
var self = grants.Principal{Kind: grants.Operator, Name: "demo"}

// ownRows permits the demo to read the rows that it has written itself, all of them. Everybody
// else's grants are in the folder, and none of them is for this.
type ownRows struct{}

// Decide implements queries.Permits.
func (ownRows) Decide(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	d := &grants.Decision{Principal: c.Principal, Action: a, Table: t}
	if c.Principal != self {
		return d
	}
	columns := make([]grants.Access, len(t.Columns))
	for i, column := range t.Columns {
		if column.Tag != cardlake.Sealed {
			columns[i] = grants.Clear
		}
	}
	d.Scopes, d.Policies = []grants.Scope{{Others: true, Columns: columns}}, []string{"demo"}
	return d
}

// reader asks the lake as every reader does: checked SQL, on record.
type reader struct {
	queries.Session
	parser *embedded.Parser
	log    *audit.Log
}

// openReader opens the way to the lake's rows. The caller closes the reader.
func openReader(ctx context.Context, dir home.Dir, ring keys.Provider, lake *iceberg.Catalog, store objects.Store) (*reader, error) {
	log, err := audit.OpenShared(ctx, dir.Audit("lake"), ring, audit.Config{Actor: "cardlake-demo", Anchor: audit.FileAnchor(dir.AuditAnchor("lake"))})
	if err != nil {
		return nil, fmt.Errorf("record what is read: %w", err)
	}
	parser := embedded.NewParser()
	gateway := queries.New(parser, embedded.New(embedded.Tables(lake.Table), store, embedded.Config{}), ownRows{}, log, queries.Config{MaxRows: -1})
	caller := grants.Caller{Principal: self, Reason: "compare what was written with what was sent"}
	caller.Origin, _ = os.Hostname() // an unknown host is left out
	return &reader{gateway.As(caller), parser, log}, nil
}

func (r *reader) Close() error { return errors.Join(r.parser.Close(), r.log.Close()) }
