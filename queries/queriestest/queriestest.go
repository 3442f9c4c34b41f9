// Package queriestest makes small lakes in memory for tests of the query side: generated
// rows as Parquet, without a card in sight, and the stores that hold them.
package queriestest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// Epoch is the time of the first generated transaction.
var Epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// Tenants are the generated tenants with their country and currency.
var Tenants = []struct {
	Name     cardlake.Tenant
	Country  string
	Currency cardlake.Currency
}{
	{"aurora", "MX", "MXN"}, {"bolivar", "CO", "COP"}, {"cobre", "CL", "CLP"},
}

// Lake is a planner of tables and a store of their objects, in memory and in clear. Its
// methods are safe for concurrent use.
type Lake struct {
	mu      sync.Mutex
	objects map[string][]byte
	files   map[*cardlake.Table][]cardlake.DataFile
	at      time.Time

	// Opened counts the objects that were opened.
	Opened atomic.Int64
}

// NewLake returns an empty lake.
func NewLake() *Lake {
	return &Lake{objects: map[string][]byte{}, files: map[*cardlake.Table][]cardlake.DataFile{}, at: Epoch.Add(24 * time.Hour)}
}

// Add commits one file to the table.
func (l *Lake) Add(table *cardlake.Table, file cardlake.DataFile, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects[file.Name] = body
	l.files[table] = append(l.files[table], file)
	l.at = l.at.Add(time.Second)
}

// Fill adds the number of files to cards.transactions, each of one tenant and with so many
// rows, the same for every call with the same arguments.
func (l *Lake) Fill(files, rows int) error {
	for i := range files {
		file, body, err := File(i, rows)
		if err != nil {
			return err
		}
		l.Add(cardlake.Transactions, file, body)
	}
	return nil
}

// Plan implements embedded.Planner.
func (l *Lake) Plan(_ context.Context, table *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	files := slices.Clone(l.files[table])
	if len(files) == 0 {
		return catalog.Snapshot{}, nil, nil
	}
	return catalog.Snapshot{ID: int64(len(files)), CommittedAt: l.at, Files: int64(len(files))}, files, nil
}

// Put implements objects.Store.
func (l *Lake) Put(_ context.Context, name string, _ keys.Owner, body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.objects[name]; ok {
		return objects.ErrExists
	}
	l.objects[name] = bytes.Clone(body)
	return nil
}

type object struct{ *bytes.Reader }

func (object) Close() error { return nil }

// Open implements objects.Store.
func (l *Lake) Open(_ context.Context, name string) (objects.Object, error) {
	l.Opened.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	body, ok := l.objects[name]
	if !ok {
		return nil, objects.ErrNotFound
	}
	return object{bytes.NewReader(body)}, nil
}

// List implements objects.Store.
func (l *Lake) List(_ context.Context, prefix string) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		l.mu.Lock()
		names := maps.Clone(l.objects)
		l.mu.Unlock()
		for name, body := range names {
			if strings.HasPrefix(name, prefix) && !yield(objects.Info{Name: name, Size: int64(len(body))}, nil) {
				return
			}
		}
	}
}

// Delete implements objects.Store.
func (l *Lake) Delete(_ context.Context, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.objects[name]; !ok {
		return objects.ErrNotFound
	}
	delete(l.objects, name)
	return nil
}

// File generates file number i with so many rows of one tenant, all in one UTC day.
func File(i, rows int) (cardlake.DataFile, []byte, error) {
	tenant := Tenants[i%len(Tenants)]
	day := cardlake.DayOf(Epoch.UnixMicro()) + cardlake.Day(i/len(Tenants)%28)
	step := 24 * time.Hour.Microseconds() / int64(max(rows, 1))
	start := day.Time().UnixMicro()
	rng := rand.New(rand.NewPCG(uint64(i), 7))
	number := func(r int) int64 { return int64(i)*int64(rows) + int64(r) }

	value := func(c cardlake.Column, r int) any {
		at := start + int64(r)*step
		approved := number(r)%10 != 3
		switch c.Name {
		case "event_id", "transaction_id":
			return fmt.Sprintf("00000000-0000-8000-8000-%012d", number(r))
		case "event_type":
			return "authorization"
		case "tenant":
			return string(tenant.Name)
		case "program":
			return string(tenant.Name) + "-visa-credit"
		case "region":
			return "local"
		case "event_time":
			return at
		case "local_time":
			return at - 6*time.Hour.Microseconds()
		case "ingested_at":
			return at + 1_500_000
		case "card_token":
			return "tk1_" + string(rune('a'+rng.IntN(16))) + strings.Repeat("b", 31)
		case "bin":
			return "453201"
		case "last4":
			return fmt.Sprintf("%04d", rng.IntN(10000))
		case "customer_id":
			return fmt.Sprintf("c%d", rng.IntN(500))
		case "account_id":
			return fmt.Sprintf("a%d", rng.IntN(500))
		case "network":
			return "visa"
		case "product":
			return "credit"
		case "amount", "billing_amount":
			return (number(r)%1000 + 1) * 10_000
		case "currency", "billing_currency":
			return string(tenant.Currency)
		case "merchant_id":
			return fmt.Sprintf("m%03d", rng.IntN(200))
		case "merchant_name":
			return fmt.Sprintf("SHOP %d", rng.IntN(200))
		case "mcc":
			return []string{"5411", "5812", "5999", "4111"}[number(r)%4]
		case "merchant_city":
			return []string{"Centro", "Norte", "São João"}[number(r)%3]
		case "merchant_country":
			return tenant.Country
		case "channel":
			return []string{"pos", "ecommerce"}[number(r)%2]
		case "entry_mode":
			return "chip"
		case "card_present":
			return number(r)%2 == 0
		case "response_code":
			if approved {
				return "00"
			}
			return "51"
		case "approved":
			return approved
		case "decline_reason":
			if approved {
				return nil
			}
			return "insufficient_funds"
		case "latency_us":
			return int64(800 + rng.IntN(4000))
		case "mti":
			return "0100"
		case "stan":
			return fmt.Sprintf("%06d", number(r)%1_000_000)
		case "stream":
			return "transactions"
		case "stream_partition":
			return int64(i % 4)
		case "stream_offset":
			return number(r)
		}
		return nil
	}
	body, err := Parquet(cardlake.Transactions, rows, value)
	if err != nil {
		return cardlake.DataFile{}, nil, err
	}
	return cardlake.DataFile{
		Name: fmt.Sprintf("data/%s/%s/%05d.parquet", tenant.Name, day, i), Tenant: tenant.Name, Day: day,
		Rows: int64(rows), Bytes: int64(len(body)),
		MinTime: start, MaxTime: start + int64(max(rows-1, 0))*step,
		SplitOffsets: []int64{4},
	}, body, nil
}

// Parquet writes rows of the table: value returns a string, []byte, bool or int64, or nil
// for NULL; times are microseconds and decimals unscaled.
func Parquet(table *cardlake.Table, rows int, value func(c cardlake.Column, row int) any) ([]byte, error) {
	fields := make([]arrow.Field, len(table.Columns))
	for i, c := range table.Columns {
		fields[i] = arrow.Field{
			Name: c.Name, Type: ArrowType(c.Type), Nullable: c.Nullable,
			Metadata: arrow.MetadataFrom(map[string]string{"PARQUET:field_id": fmt.Sprint(c.ID)}),
		}
	}
	schema := arrow.NewSchema(fields, nil)
	var out bytes.Buffer
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithMaxRowGroupLength(122_880))
	w, err := pqarrow.NewFileWriter(schema, &out, props, pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, err
	}
	const batch = 64 << 10
	for from := 0; from < rows; from += batch {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for i, c := range table.Columns {
			for r := from; r < min(from+batch, rows); r++ {
				appendValue(b.Field(i), value(c, r))
			}
		}
		rec := b.NewRecordBatch()
		err := w.WriteBuffered(rec)
		rec.Release()
		b.Release()
		if err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// ArrowType is the Arrow type that an engine gives a column.
func ArrowType(t cardlake.Type) arrow.DataType {
	switch t {
	case cardlake.String:
		return arrow.BinaryTypes.String
	case cardlake.Binary:
		return arrow.BinaryTypes.Binary
	case cardlake.Bool:
		return arrow.FixedWidthTypes.Boolean
	case cardlake.Int32:
		return arrow.PrimitiveTypes.Int32
	case cardlake.Int64:
		return arrow.PrimitiveTypes.Int64
	case cardlake.Timestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case cardlake.TimestampTZ:
		return arrow.FixedWidthTypes.Timestamp_us
	case cardlake.Decimal18x4:
		return &arrow.Decimal128Type{Precision: 18, Scale: 4}
	}
	panic("queriestest: no Arrow type for " + t.String())
}

func appendValue(b array.Builder, v any) {
	switch b := b.(type) {
	case *array.StringBuilder:
		if s, ok := v.(string); ok {
			b.Append(s)
			return
		}
	case *array.BinaryBuilder:
		if s, ok := v.([]byte); ok {
			b.Append(s)
			return
		}
	case *array.BooleanBuilder:
		if t, ok := v.(bool); ok {
			b.Append(t)
			return
		}
	case *array.Int32Builder:
		if n, ok := v.(int64); ok {
			b.Append(int32(n))
			return
		}
	case *array.Int64Builder:
		if n, ok := v.(int64); ok {
			b.Append(n)
			return
		}
	case *array.TimestampBuilder:
		if n, ok := v.(int64); ok {
			b.Append(arrow.Timestamp(n))
			return
		}
	case *array.Decimal128Builder:
		if n, ok := v.(int64); ok {
			b.Append(decimal128.FromI64(n))
			return
		}
	}
	b.AppendNull()
}
