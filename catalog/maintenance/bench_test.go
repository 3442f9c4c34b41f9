package maintenance

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// benchFiles are the files of cards.transactions that one tenant's day begins with. Those of
// one worker hardly overlap in time; those of several do from end to end.
func benchFiles(b *testing.B, files, rows, workers int) (bodies [][]byte, size int64) {
	b.Helper()
	e := parquet.NewEncoder(cardlake.Transactions, parquet.Config{})
	g := writerstest.New(1)
	for range files / workers {
		batches := make([]*cardlake.Batch, workers)
		for w := range batches {
			batches[w] = cardlake.NewBatch()
		}
		for i := range rows * workers {
			if err := batches[i%workers].Append(g.Next()); err != nil {
				b.Fatal(err)
			}
		}
		for _, batch := range batches {
			rec, err := batch.Record()
			if err != nil {
				b.Fatal(err)
			}
			body, _, err := e.Encode(rec)
			if err != nil {
				b.Fatal(err)
			}
			bodies = append(bodies, bytes.Clone(body))
			size += int64(len(body))
		}
	}
	return bodies, size
}

var benchShapes = []struct{ files, rows, workers int }{{10, 50, 1}, {16, 800, 1}, {16, 12_800, 1}, {16, 12_800, 4}, {100, 2000, 4}}

// BenchmarkMerge merges files and checks what comes out, without the store.
func BenchmarkMerge(b *testing.B) {
	for _, s := range benchShapes {
		b.Run(fmt.Sprintf("%dx%d/workers=%d", s.files, s.rows, s.workers), func(b *testing.B) {
			bodies, size := benchFiles(b, s.files, s.rows, s.workers)
			m, file := newMerger(cardlake.Transactions), fileOf{encoder: parquet.NewEncoder(cardlake.Transactions, parquet.Config{})}
			b.SetBytes(size)
			meter.Loop(b, s.files*s.rows, func() (out int64) {
				inputs := make([]*input, len(bodies))
				for i, body := range bodies {
					var err error
					if inputs[i], err = newInput(cardlake.Transactions, "f", bytes.NewReader(body), int64(len(body))); err != nil {
						b.Fatal(err)
					}
				}
				if err := m.begin(inputs); err != nil {
					b.Fatal(err)
				}
				for {
					p, err := m.next(context.Background(), 512<<10)
					if err != nil {
						b.Fatal(err)
					}
					if p.record == nil {
						return out
					}
					if err := file.add(p); err != nil {
						b.Fatal(err)
					}
					body, _, _, err := file.end(context.Background(), m)
					if err != nil {
						b.Fatal(err)
					}
					out += int64(len(body))
				}
			})
		})
	}
}

// BenchmarkReferenceDuckDB has DuckDB sort the same files into one, in clear and unchecked.
func BenchmarkReferenceDuckDB(b *testing.B) {
	for _, s := range benchShapes {
		b.Run(fmt.Sprintf("%dx%d/workers=%d", s.files, s.rows, s.workers), func(b *testing.B) {
			bodies, size := benchFiles(b, s.files, s.rows, s.workers)
			dir := b.TempDir()
			var names []string
			for i, body := range bodies {
				name := filepath.Join(dir, fmt.Sprintf("%d.parquet", i))
				if err := os.WriteFile(name, body, 0o600); err != nil {
					b.Fatal(err)
				}
				names = append(names, "'"+name+"'")
			}
			connector, err := duckdb.NewConnector("?threads=1", nil)
			if err != nil {
				b.Fatal(err)
			}
			defer connector.Close()
			conn, err := connector.Connect(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			target := filepath.Join(dir, "out")
			statement := fmt.Sprintf("COPY (SELECT * FROM read_parquet([%s]) ORDER BY event_time) TO '%s' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)", strings.Join(names, ", "), target)
			b.SetBytes(size)
			meter.Loop(b, s.files*s.rows, func() int64 {
				if _, err := conn.(driver.ExecerContext).ExecContext(b.Context(), statement, nil); err != nil {
					b.Fatal(err)
				}
				info, err := os.Stat(target)
				if err != nil {
					b.Fatal(err)
				}
				return info.Size()
			})
		})
	}
}
