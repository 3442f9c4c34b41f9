package parquet_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/google/go-cmp/cmp"
	pqgo "github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/parquet"
)

// Three readers that share no code find in a file what the record held.
func TestReaders(t *testing.T) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	some := shape{rows: 3000, nulls: 0.3, words: 40, text: 20}
	for name, c := range map[string]struct {
		shape  shape
		config parquet.Config
	}{
		"no row":             {shape{}, parquet.Config{}},
		"one row":            {shape{rows: 1, text: 5}, parquet.Config{}},
		"one null row":       {shape{rows: 1, nulls: 1, text: 5}, parquet.Config{}},
		"no nulls":           {shape{rows: 3000, text: 20}, parquet.Config{}},
		"all nulls":          {shape{rows: 3000, nulls: 1, text: 20}, parquet.Config{}},
		"all nulls, coded":   {shape{rows: 100, nulls: 1, text: 20, isCoded: true}, parquet.Config{}},
		"few nulls":          {shape{rows: 3000, nulls: 0.001, text: 20}, parquet.Config{}},
		"few values":         {shape{rows: 3000, nulls: 0.999, text: 20}, parquet.Config{PageRows: 128}},
		"few words":          {some, parquet.Config{}},
		"coded":              {shape{rows: 3000, nulls: 0.3, words: 40, isCoded: true}, parquet.Config{}},
		"one word":           {shape{rows: 3000, words: 1, isCoded: true}, parquet.Config{}},
		"coded but distinct": {shape{rows: 3000, nulls: 0.1, text: 40, isCoded: true}, parquet.Config{}},
		"sliced":             {shape{rows: 3001, nulls: 0.3, words: 40, isSliced: true}, parquet.Config{}},
		"sliced and coded":   {shape{rows: 3001, nulls: 0.3, words: 40, isSliced: true, isCoded: true}, parquet.Config{PageRows: 1000}},
		"runs":               {shape{rows: 20_000, nulls: 0.0005, words: 5, isCoded: true, isSmooth: true}, parquet.Config{PageRows: 7777}},
		"row groups":         {some, parquet.Config{RowGroupRows: 701}},
		"odd pages":          {some, parquet.Config{PageRows: 101}},
		"pages of a row":     {shape{rows: 50, nulls: 0.5, text: 20}, parquet.Config{PageRows: 1}},
		"pages by bytes":     {shape{rows: 500, nulls: 0.5, text: 3000}, parquet.Config{PageBytes: 2000}},
		"groups and pages":   {shape{rows: 2000, nulls: 0.3, words: 30, isCoded: true}, parquet.Config{RowGroupRows: 333, PageRows: 50}},
		"long texts":         {shape{rows: 60, nulls: 0.2, text: 300_000}, parquet.Config{}},
		"plain encodings":    {some, parquet.Config{PlainEncodings: true, PageRows: 500}},
		"bloom filters":      {some, parquet.Config{BloomRows: 1, RowGroupRows: 1000}},
		"level 9":            {some, parquet.Config{Level: 9}},
	} {
		t.Run(name, func(t *testing.T) {
			rec, want := random(rand.New(rand.NewPCG(1, uint64(len(name)))), c.shape)
			body, _, err := parquet.NewEncoder(everything, c.config).Encode(rec)
			if err != nil {
				t.Fatal(err)
			}
			got, err := readArrow(t, body, nil)
			if err != nil {
				t.Fatal("arrow-go:", err)
			}
			compare(t, "arrow-go", want, got)
			compare(t, "parquet-go", want, readParquetGo(t, body))
			got, err = readDuckDB(db, write(t, body), "")
			if err != nil {
				t.Fatal("DuckDB:", err)
			}
			compare(t, "DuckDB", want, got)
		})
	}
}

func write(t testing.TB, body []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.parquet")
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func compare(t *testing.T, reader string, want, got [][]any) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%s: %d columns, want %d", reader, len(got), len(want))
	}
	for i, column := range want {
		name := everything.Columns[i].Name
		if len(column) != len(got[i]) {
			t.Errorf("%s: column %s has %d rows, want %d", reader, name, len(got[i]), len(column))
			continue
		}
		for row, v := range column {
			if v != got[i][row] {
				t.Errorf("%s: column %s, row %d is %.60v, want %.60v", reader, name, row, got[i][row], v)
				break
			}
		}
	}
}

func readParquetGo(t *testing.T, body []byte) [][]any {
	t.Helper()
	_, rows := readAll(t, body)
	columns := make([][]any, len(everything.Columns))
	for i, c := range everything.Columns {
		for _, row := range rows {
			v := row[c.Name]
			if n, ok := v.(int32); ok {
				v = int64(n)
			}
			columns[i] = append(columns[i], v)
		}
	}
	return columns
}

func readDuckDB(db *sql.DB, name, options string) ([][]any, error) {
	var list []string
	for _, c := range everything.Columns {
		switch c.Type {
		case cardlake.Timestamp, cardlake.TimestampTZ:
			list = append(list, "epoch_us("+c.Name+")")
		case cardlake.Decimal18x4:
			list = append(list, "CAST("+c.Name+"::DECIMAL(38,4) * 10000 AS BIGINT)")
		default:
			list = append(list, c.Name)
		}
	}
	rows, err := db.Query("SELECT " + strings.Join(list, ", ") + " FROM read_parquet('" + name + "'" + options + ")")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, row, places := make([][]any, len(list)), make([]any, len(list)), make([]any, len(list))
	for i := range row {
		places[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(places...); err != nil {
			return nil, err
		}
		for i, v := range row {
			switch n := v.(type) {
			case int32:
				v = int64(n)
			case []byte:
				v = string(n)
			}
			columns[i] = append(columns[i], v)
		}
	}
	return columns, rows.Err()
}

// Text is written through a dictionary where that is smaller, whether the record brings one or
// not, and where the dictionary is not too large for a reader to hold.
func TestDictionaries(t *testing.T) {
	def := &cardlake.Table{Namespace: "cards", Name: "tokens", Columns: []cardlake.Column{
		{ID: 1, Name: "card_token", Type: cardlake.String, Nullable: true, Tag: cardlake.Identifier},
	}}
	const dictionary, plain = "RLE_DICTIONARY", "DELTA_LENGTH_BYTE_ARRAY"
	for name, c := range map[string]struct {
		rows, words, length int
		want                string
	}{
		"few":              {3000, 10, 30, dictionary},
		"few of many":      {20_000, 3, 30, dictionary},
		"half":             {3000, 1500, 30, dictionary},
		"all":              {3000, 3000, 30, plain},
		"codes of 16 bits": {100_000, 40_000, 20, dictionary},
		"codes of 17 bits": {150_000, 70_000, 20, dictionary},
		"too large":        {25_000, 10_000, 500, plain},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		values := make([]any, c.rows)
		for row := range values {
			if row > 0 && r.IntN(50) == 0 {
				continue
			}
			n := row // each word once, then any
			if row >= c.words {
				n = r.IntN(c.words)
			}
			values[row] = fmt.Sprintf("%0*d", c.length, n)
		}
		for _, isCoded := range []bool{false, true} {
			a := arrayOf(arrow.BinaryTypes.String, values, isCoded, r)
			fields := cardlake.ArrowSchema(def).Fields()
			fields[0].Type = a.DataType()
			body, _, err := parquet.NewEncoder(def, parquet.Config{}).Encode(array.NewRecordBatch(arrow.NewSchema(fields, nil), []arrow.Array{a}, int64(c.rows)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := readArrow(t, body, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got[0], values) {
				t.Errorf("%s, coded %t: other values were read", name, isCoded)
			}
			f, err := pqgo.OpenFile(bytes.NewReader(body), int64(len(body)))
			if err != nil {
				t.Fatal(err)
			}
			if e := f.Metadata().RowGroups[0].Columns[0].MetaData.Encoding[0].String(); e != c.want {
				t.Errorf("%s, coded %t: %s, want %s", name, isCoded, e, c.want)
			}
		}
	}
}

// An encoder that has written anything writes the next file as a new one does: nothing of
// the rows before is in it, and nothing of them decides what it is like.
func TestNothingStaysBehind(t *testing.T) {
	cfg := parquet.Config{BloomRows: 1000}
	used := parquet.NewEncoder(everything, cfg)
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range []shape{
		{rows: 5000, nulls: 0.3, words: 900}, {rows: 100, nulls: 0.5, text: 9}, {rows: 3000, words: 7, isCoded: true},
		{}, {rows: 1, nulls: 1}, {rows: 700, nulls: 1, text: 3}, {rows: 2000, nulls: 0.9, words: 300, isSmooth: true},
	} {
		rec, _ := random(r, s)
		want, _, err := parquet.NewEncoder(everything, cfg).Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := used.Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got) {
			t.Errorf("%+v: a used encoder writes %d bytes, a new one %d, not the same", s, len(got), len(want))
		}
	}
}

// What a record must not have is an error, and the encoder is good for the next one.
func TestEncodeRefuses(t *testing.T) {
	e := parquet.NewEncoder(everything, parquet.Config{})
	sound, want := random(rand.New(rand.NewPCG(1, 2)), shape{rows: 50, nulls: 0.2, words: 5, isCoded: true})
	replaced := func(column string, a arrow.Array) arrow.RecordBatch {
		fields, columns := slices.Clone(sound.Schema().Fields()), slices.Clone(sound.Columns())
		i := sound.Schema().FieldIndices(column)[0]
		fields[i].Type, columns[i] = a.DataType(), a
		return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, sound.NumRows())
	}
	coded := func(code int32, words ...any) arrow.Array {
		codes := slices.Repeat([]any{int64(code)}, 50)
		dt := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
		return array.NewDictionaryArray(dt, arrayOf(arrow.PrimitiveTypes.Int32, codes, false, nil), arrayOf(arrow.BinaryTypes.String, words, false, nil))
	}
	huge := array.NewDecimal128Builder(memory.DefaultAllocator, &arrow.Decimal128Type{Precision: 18, Scale: 4})
	for range 50 {
		huge.Append(decimal128.New(1, 0))
	}
	short := array.NewBooleanData(array.NewData(arrow.FixedWidthTypes.Boolean, 50, []*memory.Buffer{nil, memory.NewBufferBytes(make([]byte, 2))}, nil, 0, 0))
	for name, rec := range map[string]arrow.RecordBatch{
		"code past the dictionary": replaced("mcc", coded(2, "a", "b")),
		"code below 0":             replaced("mcc", coded(-1, "a", "b")),
		"no words":                 replaced("mcc", coded(0)),
		"null among the words":     replaced("mcc", coded(1, "a", "b", nil)),
		"past, written plain":      replaced("mcc", coded(60, slices.Repeat([]any{strings.Repeat("w", 99)}, 60)...)),
		"null in required":         replaced("large", arrayOf(arrow.PrimitiveTypes.Int64, append(slices.Repeat([]any{int64(1)}, 49), nil), false, nil)),
		"another type":             replaced("large", arrayOf(arrow.PrimitiveTypes.Int32, slices.Repeat([]any{int64(1)}, 50), false, nil)),
		"dictionary of numbers": replaced("large", array.NewDictionaryArray(&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.PrimitiveTypes.Int64},
			arrayOf(arrow.PrimitiveTypes.Int32, slices.Repeat([]any{int64(0)}, 50), false, nil), arrayOf(arrow.PrimitiveTypes.Int64, []any{int64(1)}, false, nil))),
		"decimal too wide": replaced("amount", huge.NewArray()),
		"short buffer":     replaced("flag", short),
	} {
		if _, _, err := e.Encode(rec); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	body, _, err := e.Encode(sound)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readArrow(t, body, nil)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "arrow-go", want, got)
}

// FuzzEncode: whatever a record holds, arrow-go reads it back.
func FuzzEncode(f *testing.F) {
	f.Add(uint64(1), uint16(300), uint8(80), uint8(9), uint8(12), uint8(0), uint16(100), uint16(0))
	f.Add(uint64(2), uint16(5000), uint8(0), uint8(0), uint8(40), uint8(7), uint16(1000), uint16(700))
	f.Add(uint64(3), uint16(9), uint8(255), uint8(1), uint8(0), uint8(1), uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, seed uint64, rows uint16, nulls, words, text, flags uint8, page, group uint16) {
		s := shape{
			rows: int(rows) % 8000, nulls: float64(nulls) / 255, words: int(words), text: int(text),
			isCoded: flags&1 > 0, isSliced: flags&2 > 0, isSmooth: flags&4 > 0,
		}
		rec, want := random(rand.New(rand.NewPCG(seed, 0)), s)
		cfg := parquet.Config{PageRows: int(page), RowGroupRows: int64(group), PlainEncodings: flags&8 > 0, BloomRows: int64(flags & 16)}
		if s.rows > 200*max(1, int(group)) {
			cfg.RowGroupRows = 0 // more row groups take their time and show no more
		}
		body, _, err := parquet.NewEncoder(everything, cfg).Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readArrow(t, body, nil)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "arrow-go", want, got)
	})
}

// FuzzText encodes texts of any bytes.
func FuzzText(f *testing.F) {
	f.Add([]byte("a,b,,b,a"), byte(','), uint16(2))
	f.Add(bytes.Repeat([]byte("card,card,x,"), 200), byte(','), uint16(0))
	def := &cardlake.Table{Namespace: "cards", Name: "texts", Columns: []cardlake.Column{
		{ID: 1, Name: "card_token", Type: cardlake.String, Tag: cardlake.Identifier},
		{ID: 2, Name: "mcc", Type: cardlake.String, Nullable: true, Tag: cardlake.Public},
	}}
	f.Fuzz(func(t *testing.T, data []byte, separator byte, page uint16) {
		var required, nullable []any
		for _, v := range bytes.Split(data, []byte{separator}) {
			required, nullable = append(required, string(v)), append(nullable, any(string(v)))
			if len(v) == 0 {
				nullable[len(nullable)-1] = nil
			}
		}
		columns := []arrow.Array{arrayOf(arrow.BinaryTypes.String, required, false, nil), arrayOf(arrow.BinaryTypes.String, nullable, false, nil)}
		rec := array.NewRecordBatch(cardlake.ArrowSchema(def), columns, int64(len(required)))
		body, _, err := parquet.NewEncoder(def, parquet.Config{PageBytes: int(page), BloomRows: 1}).Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readArrow(t, body, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fmt.Sprintf("%q", [][]any{required, nullable}), fmt.Sprintf("%q", got)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
