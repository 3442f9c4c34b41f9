package embedded_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/internal/daybench"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// BenchmarkBatches reads 14 columns of each tenant's transactions of a day in order of time, as
// jobs do: at a snapshot, narrowed to the tenant, decrypted, one row at a time and in batches.
// The day is that of internal/daybench; a tenth of it unless CARDLAKE_BENCH_DIR names a folder.
func BenchmarkBatches(b *testing.B) {
	dir, tenants := os.Getenv("CARDLAKE_BENCH_DIR"), 100
	if dir == "" {
		dir, tenants = filepath.Join(b.TempDir(), "day"), 10
	}
	d, err := daybench.Open(context.WithoutCancel(b.Context()), dir, tenants, 135_000)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	const ordered = `SELECT event_time, event_id, card_token, customer_id, merchant_id, terminal_id, mcc, merchant_country,
		amount, currency, channel, approved, decline_reason, event_type FROM cards.transactions ORDER BY event_time, event_id`
	const asStored = `SELECT event_time, event_id, card_token, customer_id, merchant_id, terminal_id, mcc, merchant_country,
		amount, currency, channel, approved, decline_reason, event_type FROM cards.transactions`
	for name, read := range map[string]func(*queries.Result) error{
		"rows": func(r *queries.Result) error {
			row := make([]any, len(r.Columns()))
			for {
				if err := r.Next(row); err != nil {
					return err
				}
			}
		},
		"batches": func(r *queries.Result) error {
			for {
				batch, err := r.NextBatch()
				if err != nil {
					return err
				}
				batch.Release()
			}
		},
	} {
		for order, sql := range map[string]string{"ordered": ordered, "stored": asStored} {
			b.Run(name+"/"+order, func(b *testing.B) {
				engine := embedded.New(embedded.Tables(d.Catalog.Table), d.Store, embedded.Config{Threads: 1})
				defer engine.Close()
				parser := embedded.NewParser()
				defer parser.Close()
				gateway := queries.New(parser, engine, queriestest.Everything, &queriestest.Log{}, queries.Config{})
				newest, err := gateway.SnapshotOf(b.Context(), queriestest.Caller, cardlake.Transactions.FullName())
				if err != nil {
					b.Fatal(err)
				}
				at := queries.At{Snapshots: map[string]int64{cardlake.Transactions.FullName(): newest.ID}}
				var m meter.Meter
				n := int64(0)
				m.Start()
				for i := 0; b.Loop(); i++ {
					at.Tenant = daybench.Tenant(i % tenants)
					r, err := gateway.QueryAt(b.Context(), queriestest.Caller, at, sql)
					if err != nil {
						b.Fatal(err)
					}
					if err := read(r); !errors.Is(err, io.EOF) {
						b.Fatal(err)
					}
					n += r.Count()
					if err := r.Close(); err != nil {
						b.Fatal(err)
					}
				}
				m.Stop(n)
				m.Report(b)
			})
		}
	}
}
