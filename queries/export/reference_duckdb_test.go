package export_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // the driver "duckdb"

	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// BenchmarkReferenceDuckDB copies the rows of BenchmarkExport from the same Parquet file, in
// clear, to a file in clear: what an export would cost without decrypting, permitting, recording,
// counting and sealing. One thread, as an export has.
func BenchmarkReferenceDuckDB(b *testing.B) {
	file, body, err := queriestest.File(0, benchRows)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	from := filepath.Join(dir, "from.parquet")
	if err := os.WriteFile(from, body, 0o600); err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("duckdb", "?threads=1")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for format, options := range map[export.Format]string{export.Parquet: "FORMAT parquet, COMPRESSION zstd", export.CSV: "FORMAT csv, HEADER", export.JSONL: "FORMAT json"} {
		b.Run(string(format), func(b *testing.B) {
			to := filepath.Join(dir, "to")
			for range b.N {
				if _, err := db.ExecContext(b.Context(), fmt.Sprintf("COPY (FROM read_parquet('%s')) TO '%s' (%s)", from, to, options)); err != nil {
					b.Fatal(err)
				}
			}
			info, err := os.Stat(to)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(info.Size())
			b.ReportMetric(float64(file.Rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
