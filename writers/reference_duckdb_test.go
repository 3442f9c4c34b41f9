package writers_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// duckTable is an empty table in DuckDB for the rows, and the file that COPY makes of it.
type duckTable struct {
	b    *testing.B
	conn driver.Conn
	file string
}

func newDuckTable(b *testing.B) *duckTable {
	connector, err := duckdb.NewConnector("?threads=1", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { connector.Close() })
	conn, err := connector.Connect(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	t := &duckTable{b, conn, filepath.Join(b.TempDir(), "rows.parquet")}
	var columns []string
	for f := range reflect.TypeFor[row]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("parquet"), ",")
		typ := f.Type
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		columns = append(columns, name+" "+map[reflect.Kind]string{
			reflect.String: "VARCHAR", reflect.Int64: "BIGINT", reflect.Int32: "INTEGER", reflect.Bool: "BOOLEAN",
		}[typ.Kind()])
	}
	t.exec("CREATE TABLE rows (" + strings.Join(columns, ", ") + ")")
	return t
}

func (t *duckTable) exec(statement string) {
	if _, err := t.conn.(driver.ExecerContext).ExecContext(context.Background(), statement, nil); err != nil {
		t.b.Fatal(err)
	}
}

// add fills the table with duckdb-go's appender.
func (t *duckTable) add(txs []*cardlake.Transaction) {
	a, err := duckdb.NewAppenderFromConn(t.conn, "", "rows")
	if err != nil {
		t.b.Fatal(err)
	}
	for _, tx := range txs {
		if err := a.AppendRow(duckValues(rowOf(tx))...); err != nil {
			t.b.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.b.Fatal(err)
	}
}

// copy makes the table a file.
func (t *duckTable) copy() (body []byte) {
	t.exec(fmt.Sprintf("COPY rows TO '%s' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE %d)", t.file, benchRows))
	body, err := os.ReadFile(t.file)
	if err != nil {
		t.b.Fatal(err)
	}
	return body
}

// BenchmarkReferenceDuckDBCopy makes a file of rows that are in DuckDB's columns already: what
// parquet.Encoder does from ours.
func BenchmarkReferenceDuckDBCopy(b *testing.B) {
	t := newDuckTable(b)
	t.add(writerstest.New(1).Take(benchRows))
	meter.Loop(b, benchRows, func() int64 { return int64(len(t.copy())) })
}

// BenchmarkReferenceDuckDB takes the rows through DuckDB's appender and COPY.
func BenchmarkReferenceDuckDB(b *testing.B) {
	txs := writerstest.New(1).Take(benchRows)
	t := newDuckTable(b)
	measureReference(b, func() []byte {
		t.add(txs)
		defer t.exec("TRUNCATE rows")
		return t.copy()
	})
}

func duckValues(r row) []driver.Value {
	text := func(s string) driver.Value {
		if s == "" {
			return nil
		}
		return s
	}
	values := []driver.Value{
		text(r.EventID), text(r.TransactionID), text(r.EventType), text(r.Tenant), text(r.Program), text(r.Region),
		r.EventTime, r.LocalTime, r.IngestedAt, text(r.CardToken), text(r.BIN), text(r.Last4), text(r.CustomerID), text(r.AccountID),
		text(r.Network), text(r.Product), r.Amount, text(r.Currency), r.BillingAmount, text(r.BillingCurrency),
		text(r.MerchantID), text(r.MerchantName), text(r.MCC), text(r.MerchantCity), text(r.MerchantCountry), text(r.TerminalID), text(r.AcquirerID),
		text(r.Channel), text(r.EntryMode), r.CardPresent, text(r.Wallet), text(r.ECI), text(r.ResponseCode), r.Approved, text(r.DeclineReason),
		text(r.ApprovalCode), text(r.CVVResult), text(r.AVSResult), nil, r.LatencyMicros, text(r.MTI), text(r.ProcessingCode), text(r.STAN), text(r.RRN),
		text(r.Stream), r.Partition, r.Offset,
	}
	if r.PINVerified != nil {
		values[38] = *r.PINVerified
	}
	return values
}
