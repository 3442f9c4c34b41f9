package export_test

import (
	"testing"

	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// benchRows are those of a tenant's day in the model.
const benchRows = 135_000

// BenchmarkExport exports one tenant's 135,000 rows of a day, all 47 columns, from sealed files
// to sealed files; MB/s is of what is downloaded.
func BenchmarkExport(b *testing.B) {
	w := newWorld(b, 1, benchRows, nil)
	w.permit(queriestest.Only(nil, "aurora"))
	for _, f := range export.Formats {
		b.Run(string(f), func(b *testing.B) {
			b.ReportAllocs()
			var rows, bytes int64
			for range b.N {
				j := w.run(ana, export.Request{Table: table, Format: f})
				if j.State != export.Done {
					b.Fatal(j.Error)
				}
				rows, bytes = rows+j.Progress.Rows, bytes+j.Progress.Bytes
			}
			b.SetBytes(bytes / int64(b.N))
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
