package parquet_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake/writers/parquet"
)

// TestRecordsOfOneFile: a file of several records is one of all their rows.
func TestRecordsOfOneFile(t *testing.T) {
	e := parquet.NewEncoder(everything, parquet.Config{RowGroupRows: 700})
	first, want := random(rand.New(rand.NewPCG(1, 1)), shape{rows: 1000, nulls: 0.3, words: 40, isCoded: true})
	second, more := random(rand.New(rand.NewPCG(1, 2)), shape{rows: 500, nulls: 0.1, text: 20})
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	for _, rec := range []arrow.RecordBatch{first, second} {
		if err := e.Add(rec); err != nil {
			t.Fatal(err)
		}
	}
	body, splits, err := e.End()
	if err != nil || len(splits) != 3 {
		t.Fatal(splits, err)
	}
	body = bytes.Clone(body)
	for i := range want { // column by column
		want[i] = append(want[i], more[i]...)
	}
	got, err := readArrow(t, body, nil)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "arrow-go", want, got)
	compare(t, "parquet-go", want, readParquetGo(t, body))
}
