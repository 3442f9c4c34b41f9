package maintenance

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	pq "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/parquet"
)

// everything has a required and an optional column of every type.
var everything = func() *cardlake.Table {
	t := &cardlake.Table{Namespace: "test", Name: "everything", Time: "at", ByTenant: true, Columns: []cardlake.Column{
		{ID: 1, Name: "at", Type: cardlake.TimestampTZ, Tag: cardlake.Public}, {ID: 2, Name: "tenant", Type: cardlake.String, Tag: cardlake.Public},
	}}
	for kind := cardlake.String; kind <= cardlake.Decimal18x4; kind++ {
		for _, optional := range []bool{false, true} {
			name := fmt.Sprintf("c%d", len(t.Columns)+1)
			t.Columns = append(t.Columns, cardlake.Column{ID: len(t.Columns) + 1, Name: name, Type: kind, Nullable: optional, Tag: cardlake.Identifier})
		}
	}
	return t
}()

// shape is how the rows of a file are made.
type shape struct {
	rows     int
	nulls    float64
	words    int // different texts; 0 for as many as rows
	isCoded  bool
	from, by int64 // times: the first, and the greatest step
}

// random makes a record in order of time.
func random(r *rand.Rand, table *cardlake.Table, s shape) arrow.RecordBatch {
	fields := cardlake.ArrowSchema(table).Fields()
	columns := make([]arrow.Array, len(fields))
	for i, def := range table.Columns {
		b := array.NewBuilder(memory.DefaultAllocator, fields[i].Type)
		if def.Type == cardlake.String && s.isCoded {
			fields[i].Type = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: fields[i].Type}
			b = array.NewBuilder(memory.DefaultAllocator, fields[i].Type)
		}
		at := s.from
		for range s.rows {
			if at += r.Int64N(s.by + 1); def.Nullable && r.Float64() < s.nulls {
				b.AppendNull()
				continue
			}
			text := fmt.Sprintf("text %d", r.Uint64())
			if s.words > 0 {
				text = strings.Repeat("w", r.IntN(s.words))
			}
			switch b := b.(type) {
			case *array.BinaryDictionaryBuilder:
				_ = b.AppendString(text)
			case *array.StringBuilder:
				b.Append(text)
			case *array.BinaryBuilder:
				b.Append([]byte(text))
			case *array.BooleanBuilder:
				b.Append(r.IntN(2) == 0)
			case *array.Int32Builder:
				b.Append(int32(r.Uint32() >> r.IntN(32)))
			case *array.Int64Builder:
				b.Append(int64(r.Uint64() >> r.IntN(64)))
			case *array.TimestampBuilder:
				if def.Name == table.Time {
					b.Append(arrow.Timestamp(at))
				} else {
					b.Append(arrow.Timestamp(r.Int64() - math.MaxInt64/2))
				}
			case *array.Decimal128Builder:
				b.Append(decimal128.FromI64(r.Int64N(2e17) - 1e17))
			}
		}
		columns[i] = b.NewArray()
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, int64(s.rows))
}

func encoded(t testing.TB, table *cardlake.Table, rec arrow.RecordBatch, cfg parquet.Config) []byte {
	t.Helper()
	body, _, err := parquet.NewEncoder(table, cfg).Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(body)
}

// rowsOf reads a file with arrow-go: a text for each row, in order.
func rowsOf(t testing.TB, table *cardlake.Table, body []byte) []string {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	read, err := fr.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]strings.Builder, read.NumRows())
	for _, def := range table.Columns {
		at := read.Schema().FieldIndices(def.Name)
		row := 0
		if len(at) == 0 {
			for i := range rows {
				fmt.Fprintf(&rows[i], "|%s=(null)", def.Name)
			}
			continue
		}
		for _, chunk := range read.Column(at[0]).Data().Chunks() {
			for i := range chunk.Len() {
				if times, ok := chunk.(*array.Timestamp); ok && def.Name == table.Time {
					fmt.Fprintf(&rows[row], "|%s=%020d", def.Name, times.Value(i))
				} else {
					fmt.Fprintf(&rows[row], "|%s=%s", def.Name, chunk.ValueStr(i))
				}
				row++
			}
		}
	}
	out := make([]string, len(rows))
	for i := range rows {
		out[i] = rows[i].String()
	}
	return out
}

// merged merges the files and returns those that come out, each of which was checked.
func merged(t testing.TB, table *cardlake.Table, m *merger, bodies [][]byte, most int) (out [][]byte, err error) {
	t.Helper()
	var inputs []*input
	for i, body := range bodies {
		in, err := newInput(table, fmt.Sprint("file ", i), bytes.NewReader(body), int64(len(body)))
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
	}
	if err := m.begin(inputs); err != nil {
		return nil, err
	}
	file := fileOf{encoder: parquet.NewEncoder(table, parquet.Config{})}
	for {
		p, err := m.next(context.Background(), most)
		if err != nil || p.record == nil {
			return out, err
		}
		if err := file.add(p); err != nil {
			return out, err
		}
		body, _, _, err := file.end(context.Background(), m)
		if err != nil {
			return out, err
		}
		out = append(out, bytes.Clone(body))
	}
}

// TestMerge compares what goes in with what comes out as arrow-go's own readers see both.
func TestMerge(t *testing.T) {
	many := make([]shape, 40)
	for i := range many {
		many[i] = shape{rows: 30 + i, nulls: 0.2, words: 9, isCoded: i%2 == 0, from: int64(i * 50), by: 10}
	}
	m := newMerger(everything)
	for name, c := range map[string]struct {
		files  []shape
		config parquet.Config
		most   int
	}{
		"one after another":   {[]shape{{rows: 500, nulls: 0.3, by: 5}, {rows: 400, nulls: 0.3, from: 10_000, by: 5}}, parquet.Config{}, 1 << 20},
		"wrong way round":     {[]shape{{rows: 500, nulls: 0.3, from: 10_000, by: 5}, {rows: 400, by: 5}}, parquet.Config{}, 1 << 20},
		"interleaved":         {[]shape{{rows: 3000, nulls: 0.3, words: 20, isCoded: true, by: 5}, {rows: 3000, words: 30, isCoded: true, by: 5}, {rows: 1000, nulls: 1, words: 20, by: 15}}, parquet.Config{}, 1 << 20},
		"same times":          {[]shape{{rows: 100, nulls: 0.5}, {rows: 100}, {rows: 100, nulls: 0.1}}, parquet.Config{}, 64},
		"many small":          {many, parquet.Config{}, 1 << 20},
		"pages and groups":    {[]shape{{rows: 3000, nulls: 0.3, words: 20, isCoded: true, by: 5}, {rows: 2500, nulls: 0.1, by: 6}}, parquet.Config{PageRows: 97, RowGroupRows: 700}, 1013},
		"plain encodings":     {[]shape{{rows: 800, nulls: 0.3, words: 20, by: 5}, {rows: 900, nulls: 0.3, by: 5}}, parquet.Config{PlainEncodings: true}, 1 << 20},
		"words become texts":  {[]shape{{rows: 5000, nulls: 0.2, words: 50, isCoded: true, by: 5}, {rows: 9000, nulls: 0.2, by: 5}}, parquet.Config{PageRows: 500}, 1 << 20},
		"one row and no rows": {[]shape{{rows: 1, by: 1}, {rows: 0}, {rows: 1, nulls: 1, by: 1}}, parquet.Config{}, 1},
		"blooms":              {[]shape{{rows: 800, nulls: 0.3, by: 5}, {rows: 900, nulls: 0.3, by: 5}}, parquet.Config{BloomRows: 1}, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(len(name))))
			var bodies [][]byte
			var want, got []string
			for _, s := range c.files {
				body := encoded(t, everything, random(r, everything, s), c.config)
				bodies, want = append(bodies, body), append(want, rowsOf(t, everything, body)...)
			}
			out, err := merged(t, everything, m, bodies, c.most)
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range out {
				rows := rowsOf(t, everything, body)
				if len(rows) > c.most {
					t.Errorf("%d rows in a file, at most %d were asked for", len(rows), c.most)
				}
				got = append(got, rows...)
			}
			time := func(row string) string { return row[:strings.Index(row, "|tenant")] }
			if !slices.IsSortedFunc(got, func(a, b string) int { return cmp.Compare(time(a), time(b)) }) {
				t.Error("the rows are not in order")
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// older is everything without its last columns, which were added later, and otherwise named:
// ids decide.
func older(drop int) *cardlake.Table {
	t := *everything
	t.Columns = slices.Clone(everything.Columns[:len(everything.Columns)-drop])
	t.Columns[2].Name = "before_it_was_renamed"
	return &t
}

func TestColumnsByFieldID(t *testing.T) {
	now := *everything
	now.Columns = slices.Clone(everything.Columns)
	last := &now.Columns[len(now.Columns)-1]
	if !last.Nullable {
		t.Fatal("the last column must be one that can be added")
	}
	r := rand.New(rand.NewPCG(1, 2))
	s := shape{rows: 300, nulls: 0.2, by: 5}
	before, after := encoded(t, older(1), random(r, older(1), s), parquet.Config{}), encoded(t, &now, random(r, &now, s), parquet.Config{})
	out, err := merged(t, &now, newMerger(&now), [][]byte{before, after}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want := rowsOf(t, older(1), before)
	for i := range want {
		want[i] = strings.Replace(want[i], "before_it_was_renamed", "c3", 1) + "|" + last.Name + "=(null)"
	}
	want = append(want, rowsOf(t, &now, after)...)
	got := rowsOf(t, &now, out[0])
	slices.Sort(want)
	slices.Sort(got)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := merged(t, older(1), newMerger(older(1)), [][]byte{after}, 1<<20); !errors.Is(err, ErrInput) {
		t.Errorf("a file with a column that the table does not have: %v, want ErrInput", err)
	}
	if _, err := merged(t, &now, newMerger(&now), [][]byte{encoded(t, older(2), random(r, older(2), s), parquet.Config{})}, 1<<20); !errors.Is(err, ErrInput) {
		t.Errorf("a file without a required column: %v, want ErrInput", err)
	}
}

// TestForeignFiles reads what arrow-go's own writer makes, with pages of both versions.
func TestForeignFiles(t *testing.T) {
	for name, props := range map[string]*pq.WriterProperties{
		"defaults":      pq.NewWriterProperties(pq.WithStoreDecimalAsInteger(true)),
		"version 2":     pq.NewWriterProperties(pq.WithStoreDecimalAsInteger(true), pq.WithDataPageVersion(pq.DataPageV2), pq.WithCompression(compress.Codecs.Snappy), pq.WithDataPageSize(1000)),
		"no dictionary": pq.NewWriterProperties(pq.WithStoreDecimalAsInteger(true), pq.WithDictionaryDefault(false)),
		"delta": pq.NewWriterProperties(pq.WithStoreDecimalAsInteger(true), pq.WithDictionaryDefault(false), pq.WithDataPageVersion(pq.DataPageV2),
			pq.WithEncodingFor("c3", pq.Encodings.DeltaLengthByteArray), pq.WithEncodingFor("c8", pq.Encodings.RLE), pq.WithEncodingFor("c10", pq.Encodings.DeltaBinaryPacked), pq.WithEncodingFor("c12", pq.Encodings.DeltaBinaryPacked)),
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var bodies [][]byte
			var want []string
			for range 3 {
				rec := random(r, everything, shape{rows: 2000, nulls: 0.3, words: 20, by: 5})
				var out bytes.Buffer
				w, err := pqarrow.NewFileWriter(rec.Schema(), &out, props, pqarrow.DefaultWriterProps())
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(w.Write(rec), w.Close()); err != nil {
					t.Fatal(err)
				}
				bodies, want = append(bodies, out.Bytes()), append(want, rowsOf(t, everything, out.Bytes())...)
			}
			out, err := merged(t, everything, newMerger(everything), bodies, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			got := rowsOf(t, everything, out[0])
			slices.Sort(want)
			slices.Sort(got)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUnsortedIsRefused: a file out of order would come out of order.
func TestUnsortedIsRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	rec := random(r, everything, shape{rows: 100, by: 5})
	times := rec.Column(0).(*array.Timestamp)
	values := slices.Clone(times.TimestampValues())
	slices.Reverse(values)
	b := array.NewTimestampBuilder(memory.DefaultAllocator, arrow.FixedWidthTypes.Timestamp_us.(*arrow.TimestampType))
	b.AppendValues(values, nil)
	rec, err := rec.SetColumn(0, b.NewArray())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := merged(t, everything, newMerger(everything), [][]byte{encoded(t, everything, rec, parquet.Config{})}, 1<<20); !errors.Is(err, ErrInput) {
		t.Errorf("%v, want ErrInput", err)
	}
}

// TestCheck: a file that lacks a row, has one twice, or has one value of one row changed is not
// taken for what it was made of.
func TestCheck(t *testing.T) {
	s := shape{rows: 50, nulls: 0.2, words: 9, by: 5}
	rec := func() arrow.RecordBatch { return random(rand.New(rand.NewPCG(1, 2)), everything, s) }
	body := encoded(t, everything, rec(), parquet.Config{})
	in, err := newInput(everything, "f", bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	m := newMerger(everything)
	if err := m.begin([]*input{in}); err != nil {
		t.Fatal(err)
	}
	p, err := m.next(t.Context(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.check(t.Context(), body, p); err != nil {
		t.Errorf("the same rows: %v", err)
	}
	refused := func(what string, rec arrow.RecordBatch) {
		t.Helper()
		if err := m.check(t.Context(), encoded(t, everything, rec, parquet.Config{}), p); !errors.Is(err, errDiffers) {
			t.Errorf("%s: %v, want errDiffers", what, err)
		}
	}
	refused("a row less", rec().NewSlice(0, int64(s.rows)-1))
	refused("another first row", rec().NewSlice(1, int64(s.rows)))
	for i := range everything.Columns {
		// The column's values one row further: the same values, beside others.
		rec := rec()
		column := rec.Column(i)
		moved, err := array.Concatenate([]arrow.Array{array.NewSlice(column, 1, int64(s.rows)), array.NewSlice(column, 0, 1)}, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := rec.SetColumn(i, moved)
		if err != nil {
			t.Fatal(err)
		}
		refused("column "+everything.Columns[i].Name, changed)
	}
	if err := m.check(t.Context(), body[:len(body)-1], p); !errors.Is(err, errDiffers) {
		t.Errorf("a file cut short: %v, want errDiffers", err)
	}
}

// TestSum: it tells rows that differ in anything, and nothing else.
func TestSum(t *testing.T) {
	table := &cardlake.Table{Namespace: "t", Name: "t", Time: "at", Columns: []cardlake.Column{
		{ID: 1, Name: "at", Type: cardlake.TimestampTZ, Tag: cardlake.Public}, {ID: 2, Name: "a", Type: cardlake.String, Nullable: true, Tag: cardlake.Public}, {ID: 3, Name: "b", Type: cardlake.String, Nullable: true, Tag: cardlake.Public}, {ID: 4, Name: "n", Type: cardlake.Int64, Nullable: true, Tag: cardlake.Public},
	}}
	type row struct {
		at   int64
		a, b string // - for null
		n    int64  // negative for null
	}
	sum := func(rows ...row) Sum {
		fields := cardlake.ArrowSchema(table)
		b := array.NewRecordBuilder(memory.DefaultAllocator, fields)
		for _, r := range rows {
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(r.at))
			for i, s := range []string{r.a, r.b} {
				if f := b.Field(i + 1).(*array.StringBuilder); s == "-" {
					f.AppendNull()
				} else {
					f.Append(s)
				}
			}
			if f := b.Field(3).(*array.Int64Builder); r.n < 0 {
				f.AppendNull()
			} else {
				f.Append(r.n)
			}
		}
		body := encoded(t, table, b.NewRecordBatch(), parquet.Config{})
		in, err := newInput(table, "f", bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		s, _, _, err := in.sum(t.Context(), new(values))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	x, y := row{1, "x", "y", 0}, row{1, "u", "-", 7}
	if sum(x, y) != sum(y, x) {
		t.Error("the order counts")
	}
	seen := map[Sum]string{}
	for _, rows := range [][]row{
		{x, y}, {x, x}, {x}, {y}, {x, y, y}, {{1, "x", "-", 0}, {1, "u", "y", 7}}, {{1, "y", "x", 0}, y}, {{1, "x", "", 0}, y}, {{1, "x", "-", 0}, y},
		{y, {2, "x", "y", 0}}, {{1, "x", "y", -1}, y}, {{1, "x", "y", 1}, y}, {{1, "x", "y", 7}, {1, "u", "-", 0}}, {{1, "", "xy", 0}, y},
	} {
		s, text := sum(rows...), fmt.Sprint(rows)
		if other, isThere := seen[s]; isThere {
			t.Errorf("%s and %s have the same sum", text, other)
		}
		seen[s] = text
	}
}

// FuzzDamaged: a file that was changed in one place is refused, or read as what it says, but
// never ends the process.
func FuzzDamaged(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	body := encoded(f, everything, random(r, everything, shape{rows: 200, nulls: 0.2, words: 10, isCoded: true, by: 5}), parquet.Config{PageRows: 64})
	f.Add(10, byte(1))
	for i := 4; i < len(body); i += 397 {
		f.Add(i, byte(0xff))
		f.Add(i, byte(1))
	}
	f.Fuzz(func(t *testing.T, at int, change byte) {
		changed := bytes.Clone(body)
		changed[uint(at)%uint(len(body))] ^= change
		in, err := newInput(everything, "f", bytes.NewReader(changed), int64(len(changed)))
		if err == nil {
			_, _, _, err = in.sum(t.Context(), new(values))
		}
		if err != nil && !errors.Is(err, ErrInput) {
			t.Errorf("%v, want ErrInput", err)
		}
	})
}
