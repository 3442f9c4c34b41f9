package parquet_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	pq "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	pqgo "github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// The benchmarks turn the same record of 47 columns into a file in memory, zstd-1.

var benchRows = []int{500, 50_000}

func benchRecord(b *testing.B, rows int) arrow.RecordBatch {
	batch := cardlake.NewBatch()
	for _, tx := range writerstest.New(1).Take(rows) {
		if err := batch.Append(tx); err != nil {
			b.Fatal(err)
		}
	}
	rec, err := batch.Record()
	if err != nil {
		b.Fatal(err)
	}
	return rec
}

func BenchmarkEncode(b *testing.B) { benchmarkEncode(b, parquet.Config{}) }

// BenchmarkPlainEncodings shows what the encodings that every reader has ever known cost.
func BenchmarkPlainEncodings(b *testing.B) {
	benchmarkEncode(b, parquet.Config{PlainEncodings: true})
}

func benchmarkEncode(b *testing.B, cfg parquet.Config) {
	for _, rows := range benchRows {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			rec := benchRecord(b, rows)
			e := parquet.NewEncoder(cardlake.Transactions, cfg)
			meter.Loop(b, rows, func() int64 {
				body, _, err := e.Encode(rec)
				if err != nil {
					b.Fatal(err)
				}
				return int64(len(body))
			})
		})
	}
}

// BenchmarkReferencePqarrow gives the record to arrow-go's own writer.
func BenchmarkReferencePqarrow(b *testing.B) {
	for _, rows := range benchRows {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			rec := benchRecord(b, rows)
			props := pq.NewWriterProperties(pq.WithCompression(compress.Codecs.Zstd), pq.WithCompressionLevel(1), pq.WithStoreDecimalAsInteger(true))
			var out bytes.Buffer
			meter.Loop(b, rows, func() int64 {
				out.Reset()
				w, err := pqarrow.NewFileWriter(rec.Schema(), &out, props, pqarrow.DefaultWriterProps())
				if err != nil {
					b.Fatal(err)
				}
				if err := w.Write(rec); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				return int64(out.Len())
			})
		})
	}
}

// BenchmarkReferenceParquetGo gives parquet-go's writer the values of the record, taken out
// of it beforehand.
func BenchmarkReferenceParquetGo(b *testing.B) {
	for _, rows := range benchRows {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			rec := benchRecord(b, rows)
			// The file that our encoder writes gives parquet-go the schema and the rows.
			body, _, err := parquet.NewEncoder(cardlake.Transactions, parquet.Config{}).Encode(rec)
			if err != nil {
				b.Fatal(err)
			}
			f, err := pqgo.OpenFile(bytes.NewReader(body), int64(len(body)))
			if err != nil {
				b.Fatal(err)
			}
			values := make([]pqgo.Row, rows)
			reader := f.RowGroups()[0].Rows()
			for n := 0; n < rows; {
				got, err := reader.ReadRows(values[n:])
				if n += got; err != nil && err != io.EOF {
					b.Fatal(err)
				}
			}
			group := pqgo.Group{}
			for i, c := range cardlake.Transactions.Columns {
				node := pqgo.Leaf(f.Schema().Fields()[i].Type())
				if _, ok := rec.Column(i).(*array.Dictionary); ok {
					node = pqgo.Encoded(node, &pqgo.RLEDictionary)
				}
				if c.Nullable {
					node = pqgo.Optional(node)
				}
				group[c.Name] = node
			}
			schema := pqgo.NewSchema("schema", group)
			// A group's columns are in the order of their names.
			place := make([]int, len(cardlake.Transactions.Columns))
			for i, path := range f.Schema().Columns() {
				leaf, _ := schema.Lookup(path...)
				place[i] = leaf.ColumnIndex
			}
			for n, row := range values {
				ordered := make(pqgo.Row, len(row))
				for i, v := range row {
					ordered[place[i]] = v.Clone().Level(0, v.DefinitionLevel(), place[i])
				}
				values[n] = ordered
			}
			var out bytes.Buffer
			w := pqgo.NewWriter(&out, schema, pqgo.Compression(&pqgo.Zstd))
			meter.Loop(b, rows, func() int64 {
				out.Reset()
				w.Reset(&out)
				if _, err := w.WriteRows(values); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				return int64(out.Len())
			})
		})
	}
}
