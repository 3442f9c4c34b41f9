package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/tokenize/detokenize"
	"github.com/cardlake/cardlake/writers"
)

// lake is what a worker works with, beside the stream.
type lake struct {
	*lakeflags.Lake
	cardKeys keyflags.Keyring
	tenants  *catalog.Tenants
	vault    *detokenize.Client // nil if cards are not pinned

	transactions, rejected, totals *iceberg.Table

	// The registry's schema ids of events and of control totals, nil without a registry.
	versions, totalVersions map[uint32]int
}

// open opens the lake and all that writing to it takes. The caller closes it.
func (o *options) open(ctx context.Context, log *slog.Logger) (_ *lake, err error) {
	l := &lake{}
	if l.vault, err = o.pins.open(); err != nil {
		return nil, err
	}
	if l.cardKeys, err = o.lake.Keys.Card.Open(ctx); err != nil {
		return nil, err
	}
	if l.tenants, err = catalog.OpenTenants(home.Dir(o.lake.Dir).Tenants()); err != nil {
		return nil, err
	}
	if l.Lake, err = o.lake.Open(ctx, log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	for _, t := range []struct {
		table **iceberg.Table
		def   *cardlake.Table
	}{{&l.transactions, cardlake.Transactions}, {&l.rejected, cardlake.Rejected}, {&l.totals, cardlake.ControlTotals}} {
		if *t.table, err = l.Table(ctx, t.def); err != nil {
			return nil, err
		}
	}
	l.versions, l.totalVersions, err = o.schemaVersions(ctx)
	return l, err
}

// Close closes the lake and the connections to the vault.
func (l *lake) Close() error {
	if l.vault != nil {
		l.vault.Close()
	}
	return l.Lake.Close()
}

// deps are those of a worker on the source, but for its history.
func (l *lake) deps(source ingest.Source, log *slog.Logger) ingest.Deps {
	deps := ingest.Deps{
		Source:  source,
		Tenants: l.tenants, Keys: l.cardKeys, Secrets: l.cardKeys,
		Transactions: l.transactions, Rejected: l.rejected, Totals: l.totals,
		Kept:         ingest.KeptIn(l.rejected, l.Store),
		Writer:       writers.New(l.Store, l.tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(l.Store, writers.Config{}),
		TotalsWriter: writers.NewTotals(l.Store, l.tenants, writers.Config{}),
		Log:          log,
	}
	if l.vault != nil {
		deps.Pins = l.vault
	}
	return deps
}
