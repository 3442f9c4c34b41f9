package parquet_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	pqgo "github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake/writers/parquet"
)

// The bounds of a column chunk hold of all its values, however few: a reader with a filter
// does not look at a chunk whose bounds exclude what it wants.
func TestBoundsHoldOfAllValues(t *testing.T) {
	for rows := 1; rows < 40; rows++ {
		for _, isCoded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d rows, coded %v", rows, isCoded), func(t *testing.T) {
				rec, _ := random(rand.New(rand.NewPCG(7, uint64(rows))), shape{rows: rows, nulls: 0.1, words: 1 + rows/2, text: 12, isCoded: isCoded})
				body, _, err := parquet.NewEncoder(everything, parquet.Config{}).Encode(rec)
				if err != nil {
					t.Fatal(err)
				}
				f, err := pqgo.OpenFile(bytes.NewReader(body), int64(len(body)))
				if err != nil {
					t.Fatal(err)
				}
				bounded := 0
				for _, group := range f.RowGroups() {
					for i, chunk := range group.ColumnChunks() {
						least, greatest, ok := chunk.(*pqgo.FileColumnChunk).Bounds()
						if !ok {
							continue
						}
						bounded++
						in := pqgo.NewColumnChunkValueReader(chunk)
						for buf := make([]pqgo.Value, 64); ; {
							n, err := in.ReadValues(buf)
							for _, v := range buf[:n] {
								if !v.IsNull() && (chunk.Type().Compare(v, least) < 0 || chunk.Type().Compare(greatest, v) < 0) {
									t.Errorf("column %s has a value outside its bounds", everything.Columns[i].Name)
								}
							}
							if err != nil {
								break
							}
						}
					}
				}
				if bounded == 0 {
					t.Error("no column has bounds")
				}
			})
		}
	}
}
