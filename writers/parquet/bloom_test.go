package parquet_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"testing"

	pq "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	pqgo "github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// bloomed are the columns with filters, and the values that rows have in them.
var bloomed = map[string]func(*cardlake.Transaction) string{
	"event_id":    func(tx *cardlake.Transaction) string { return tx.EventID.String() },
	"card_token":  func(tx *cardlake.Transaction) string { return tx.CardToken },
	"customer_id": func(tx *cardlake.Transaction) string { return tx.CustomerID },
}

// Three readers find every value in the filters, few that are not there, and nothing that the
// other columns hold.
func TestBloom(t *testing.T) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, c := range []struct {
		rate, most float64
	}{{0, 0.015}, {0.0001, 0.0005}} {
		txs := writerstest.New(11).Take(6000)
		txs[17].CustomerID = "" // null: no value
		body, _ := encode(t, parquet.Config{BloomRows: 1, BloomRate: c.rate}, txs...)
		name := write(t, body)
		ours, err := pqgo.OpenFile(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := file.NewParquetReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		filters, err := r.GetBloomFilterReader().RowGroup(0)
		if err != nil {
			t.Fatal(err)
		}
		for i, column := range cardlake.Transactions.Columns {
			filter := ours.RowGroups()[0].ColumnChunks()[i].BloomFilter()
			of, ok := bloomed[column.Name]
			if hasFilter := filter != nil; hasFilter != ok {
				t.Fatalf("column %s has a filter: %t", column.Name, hasFilter)
			}
			if !ok {
				continue
			}
			arrow, err := filters.GetColumnBloomFilter(i)
			if err != nil || arrow == nil {
				t.Fatal(arrow, err)
			}
			check := func(value string) bool {
				found, err := filter.Check(pqgo.ByteArrayValue([]byte(value)))
				if err != nil {
					t.Fatal(err)
				}
				typed := metadata.TypedBloomFilter[pq.ByteArray]{BloomFilter: arrow}
				if inArrow := typed.Check(pq.ByteArray(value)); inArrow != found {
					t.Errorf("column %s: parquet-go says %t, arrow-go says %t", column.Name, found, inArrow)
				}
				return found
			}
			for _, tx := range txs {
				if v := of(tx); v != "" && !check(v) {
					t.Fatalf("column %s: a value is not in its filter", column.Name)
				}
			}
			const probes = 20_000
			wrong := 0
			for n := range probes {
				if check(fmt.Sprintf("absent %d", n)) {
					wrong++
				}
			}
			if rate := float64(wrong) / probes; rate > c.most {
				t.Errorf("column %s: %.4f false positives, want at most %.4f", column.Name, rate, c.most)
			}
			for value, want := range map[string]bool{of(txs[3]): false, "absent": true} {
				var isExcluded bool
				if err := db.QueryRow("SELECT bloom_filter_excludes FROM parquet_bloom_probe(?, ?, ?)", name, column.Name, value).Scan(&isExcluded); err != nil {
					t.Fatal(err)
				}
				if isExcluded != want {
					t.Errorf("column %s: DuckDB excludes the row group: %t, want %t", column.Name, isExcluded, want)
				}
			}
		}
	}
}

// Each row group has filters of its own, and those with few rows have none.
func TestBloomRows(t *testing.T) {
	txs := writerstest.New(12).Take(2500)
	for _, c := range []struct {
		rows int64
		want []bool // of the row groups of 1000, 1000 and 500 rows
	}{{0, []bool{false, false, false}}, {-1, []bool{false, false, false}}, {501, []bool{true, true, false}}, {500, []bool{true, true, true}}} {
		body, _ := encode(t, parquet.Config{BloomRows: c.rows, RowGroupRows: 1000}, txs...)
		f, _ := readAll(t, body)
		for g, group := range f.RowGroups() {
			filter := group.ColumnChunks()[0].BloomFilter()
			if hasFilter := filter != nil; hasFilter != c.want[g] {
				t.Errorf("%d rows: row group %d has filters: %t", c.rows, g, hasFilter)
			}
			if filter == nil {
				continue
			}
			own, other := 0, 0
			rows := group.Rows()
			defer rows.Close()
			row := make([]pqgo.Row, 1)
			for {
				n, _ := rows.ReadRows(row)
				if n == 0 {
					break
				}
				if ok, err := filter.Check(row[0][0]); err != nil {
					t.Fatal(err)
				} else if ok {
					own++
				}
				if ok, _ := f.RowGroups()[1-min(g, 1)].ColumnChunks()[0].BloomFilter().Check(row[0][0]); ok {
					other++
				}
			}
			if own != int(group.NumRows()) || other > own/10 {
				t.Errorf("row group %d: %d of %d values in its filter, %d in another", g, own, group.NumRows(), other)
			}
		}
	}
}
