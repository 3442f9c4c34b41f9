package tail

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// messages is an answer.
type messages []*flight.FlightData

func (m *messages) Recv() (*flight.FlightData, error) {
	if len(*m) == 0 {
		return nil, io.EOF
	}
	next := (*m)[0]
	*m = (*m)[1:]
	return next, nil
}

// Send implements flight.DataStreamWriter.
func (m *messages) Send(d *flight.FlightData) error {
	*m = append(*m, &flight.FlightData{DataHeader: bytes.Clone(d.DataHeader), DataBody: bytes.Clone(d.DataBody)})
	return nil
}

// answer is what a worker would send.
func answer(t testing.TB, header string, schema *arrow.Schema, records []arrow.RecordBatch, opts ...ipc.Option) messages {
	t.Helper()
	var m messages
	w := flight.NewRecordWriter(&m, append(opts, ipc.WithSchema(schema))...)
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m[0].AppMetadata = []byte(header)
	return m
}

var place = cardlake.StreamPartition{Stream: "cards", Partition: 1}

func at(next int64) cardlake.Positions { return cardlake.Positions{place: {Next: next}} }

// viewOf is rows of place whose offsets begin at first.
func viewOf(t testing.TB, first int64, rows int) arrow.RecordBatch {
	t.Helper()
	b, g := cardlake.NewBatch(), writerstest.New(uint64(first))
	for i := range rows {
		tx := g.Next()
		tx.Position = cardlake.Position{StreamPartition: place, Offset: first + int64(i)}
		if err := b.Append(tx); err != nil {
			t.Fatal(err)
		}
	}
	return b.View()
}

func TestAnswers(t *testing.T) {
	r := viewOf(t, 10, 20)
	schema := r.Schema()
	both := []arrow.RecordBatch{r, viewOf(t, 30, 5)}
	for name, c := range map[string]struct {
		from   int64
		answer messages
		fault  string // "" for none
	}{
		"right":             {10, answer(t, `{"v":1,"to":{"cards":{"1":35}},"rows":25}`, schema, both), ""},
		"gaps":              {5, answer(t, `{"v":1,"to":{"cards":{"1":99}},"rows":25}`, schema, both), ""},
		"no rows":           {10, answer(t, `{"v":1,"to":{"cards":{"1":10}},"rows":0}`, schema, nil), ""},
		"nothing covered":   {10, answer(t, `{"v":1,"to":{},"rows":0}`, schema, nil), ""},
		"plain schema":      {10, answer(t, `{"v":1,"to":{},"rows":0}`, cardlake.ArrowSchema(cardlake.Transactions), nil), ""},
		"no message":        {10, nil, "EOF"},
		"no header":         {10, answer(t, ``, schema, both), "tail header"},
		"other header":      {10, answer(t, `{"v":2,"to":{},"rows":0}`, schema, nil), "version"},
		"ends before":       {10, answer(t, `{"v":1,"to":{"cards":{"1":9}},"rows":0}`, schema, nil), "before 10"},
		"fewer rows":        {10, answer(t, `{"v":1,"to":{"cards":{"1":35}},"rows":26}`, schema, both), "25 rows came of 26"},
		"more rows":         {10, answer(t, `{"v":1,"to":{"cards":{"1":35}},"rows":24}`, schema, both), "25 rows came of 24"},
		"row before":        {11, answer(t, `{"v":1,"to":{"cards":{"1":35}},"rows":25}`, schema, both), "outside"},
		"row after":         {10, answer(t, `{"v":1,"to":{"cards":{"1":34}},"rows":25}`, schema, both), "outside"},
		"other partition":   {10, answer(t, `{"v":1,"to":{"cards":{"0":35}},"rows":25}`, schema, both), "outside"},
		"no partition":      {10, answer(t, `{"v":1,"to":{},"rows":25}`, schema, both), "outside"},
		"compressed":        {10, answer(t, `{"v":1,"to":{"cards":{"1":35}},"rows":25}`, schema, both, ipc.WithZstd()), "compressed"},
		"compressed by LZ4": {10, answer(t, `{"v":1,"to":{"cards":{"1":35}},"rows":25}`, schema, both, ipc.WithLZ4()), "compressed"},
	} {
		got, err := receive(&c.answer, at(c.from))
		switch {
		case c.fault == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%s: got %v, want an error of %q", name, err, c.fault)
		}
		got.Release()
	}
}

// An answer that ends after any of its messages but the last is an error, even if the stream
// says that this is the end.
func TestShortAnswers(t *testing.T) {
	whole := answer(t, `{"v":1,"to":{"cards":{"1":35}},"rows":25}`, viewOf(t, 0, 1).Schema(), []arrow.RecordBatch{viewOf(t, 10, 20), viewOf(t, 30, 5)})
	for n := range whole {
		part := slices.Clone(whole[:n])
		if got, err := receive(&part, nil); err == nil {
			t.Errorf("%d of %d messages: %d records", n, len(whole), len(got.Records))
		}
	}
}

func TestSchemaIsChecked(t *testing.T) {
	good := viewOf(t, 0, 1).Schema()
	if err := checkSchema(good); err != nil {
		t.Fatal(err)
	}
	i := good.FieldIndices("mcc")[0]
	for name, spoil := range map[string]func(fs []arrow.Field) []arrow.Field{
		"missing": func(fs []arrow.Field) []arrow.Field { return slices.Delete(fs, i, i+1) },
		"extra": func(fs []arrow.Field) []arrow.Field {
			return append(fs, arrow.Field{Name: "pan", Type: arrow.BinaryTypes.String})
		},
		"other name": func(fs []arrow.Field) []arrow.Field { fs[i].Name = "pan"; return fs },
		"swapped":    func(fs []arrow.Field) []arrow.Field { fs[i], fs[i+1] = fs[i+1], fs[i]; return fs },
		"other type": func(fs []arrow.Field) []arrow.Field { fs[i].Type = arrow.PrimitiveTypes.Int32; return fs },
		"required":   func(fs []arrow.Field) []arrow.Field { fs[i].Nullable = false; return fs },
		"other field id": func(fs []arrow.Field) []arrow.Field {
			fs[i].Metadata = arrow.NewMetadata([]string{"PARQUET:field_id"}, []string{"9"})
			return fs
		},
		"no field id": func(fs []arrow.Field) []arrow.Field { fs[i].Metadata = arrow.Metadata{}; return fs },
		"dictionary of ints": func(fs []arrow.Field) []arrow.Field {
			fs[i].Type = dictionary(arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32)
			return fs
		},
		"narrow codes": func(fs []arrow.Field) []arrow.Field {
			fs[i].Type = dictionary(arrow.PrimitiveTypes.Int8, arrow.BinaryTypes.String)
			return fs
		},
		"dictionary of dictionaries": func(fs []arrow.Field) []arrow.Field {
			fs[i].Type = dictionary(arrow.PrimitiveTypes.Int32, dictionary(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String))
			return fs
		},
		"coded number": func(fs []arrow.Field) []arrow.Field {
			at := good.FieldIndices("latency_us")[0]
			fs[at].Type = dictionary(arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32)
			return fs
		},
	} {
		if err := checkSchema(arrow.NewSchema(spoil(slices.Clone(good.Fields())), nil)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func dictionary(codes, values arrow.DataType) arrow.DataType {
	return &arrow.DictionaryType{IndexType: codes, ValueType: values}
}

// Values that cannot be read, or that the table does not allow, are found before anybody
// reads them.
func TestValuesAreChecked(t *testing.T) {
	r := viewOf(t, 0, 4)
	with := func(name string, a arrow.Array) arrow.RecordBatch {
		columns := slices.Clone(r.Columns())
		columns[r.Schema().FieldIndices(name)[0]] = a
		return array.NewRecordBatch(r.Schema(), columns, r.NumRows())
	}
	codes := func(dt arrow.DataType, codes ...int32) arrow.Array {
		b := array.NewInt32Builder(memory.DefaultAllocator)
		b.AppendValues(codes, nil)
		d := array.NewStringBuilder(memory.DefaultAllocator)
		d.Append("5411")
		return array.NewDictionaryArray(dt, b.NewArray(), d.NewArray())
	}
	mcc := r.Schema().Field(r.Schema().FieldIndices("mcc")[0]).Type
	latency := array.NewInt32Builder(memory.DefaultAllocator)
	latency.AppendValues([]int32{1, 2, 3, 4}, []bool{true, true, false, true})
	backwards := array.NewStringData(array.NewData(arrow.BinaryTypes.String, 4, []*memory.Buffer{
		nil, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes([]int32{0, 3, 1, 2, 4})), memory.NewBufferBytes([]byte("abcd")),
	}, nil, 0, 0))
	for name, c := range map[string]struct {
		record arrow.RecordBatch
		fault  string
	}{
		"right":                    {with("mcc", codes(mcc, 0, 0, 0, 0)), ""},
		"code beyond":              {with("mcc", codes(mcc, 0, 0, 1, 0)), "dictionary indices"},
		"negative code":            {with("mcc", codes(mcc, 0, -1, 0, 0)), "dictionary indices"},
		"null in a required":       {with("latency_us", latency.NewArray()), "latency_us of the answer has nulls"},
		"offsets that go backward": {with("stan", backwards), "stan"},
	} {
		m := answerOf(t, c.record)
		got, err := receive(&m, nil)
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v", name, err)
		}
		got.Release()
	}
}

// answerOf is an answer of one record, which may be broken in a way that a writer trips over.
func answerOf(t testing.TB, r arrow.RecordBatch) messages {
	return answer(t, `{"v":1,"to":{"cards":{"1":100}},"rows":4}`, r.Schema(), []arrow.RecordBatch{r})
}

func TestBounded(t *testing.T) {
	m := answer(t, `{"v":1,"to":{"cards":{"1":30}},"rows":20}`, viewOf(t, 10, 20).Schema(), []arrow.RecordBatch{viewOf(t, 10, 20)})
	size := int64(0)
	for _, d := range m {
		size += int64(len(d.DataHeader) + len(d.DataBody) + len(d.AppMetadata))
	}
	for _, left := range []int64{size, size - 1, 100, 0} {
		part := slices.Clone(m)
		if _, err := receive(&bounded{&part, left}, nil); (err == nil) != (left == size) {
			t.Errorf("%d bytes of %d: %v", left, size, err)
		}
	}
}

// parts are what a worker sends, taken apart so that a fuzzer puts it together as it likes.
// Headers stay whole: arrow-go believes the lengths in them.
type parts struct{ headers, bodies [][]byte }

func partsOf(m messages) (p parts) {
	for _, d := range m {
		p.headers, p.bodies = append(p.headers, d.DataHeader), append(p.bodies, d.DataBody)
	}
	return p
}

// answer makes a message of each five bytes of plan: a header, a body, what is changed in it
// and how, and where it is cut.
func (p parts) answer(header, plan []byte) (m messages) {
	for ; len(plan) >= 5; plan = plan[5:] {
		body := bytes.Clone(p.bodies[int(plan[1])%len(p.bodies)])
		if at := int(plan[2]) * len(body) / 256; len(body) > 0 {
			body[at] ^= plan[3]
		}
		m = append(m, &flight.FlightData{
			DataHeader: p.headers[int(plan[0])%len(p.headers)], DataBody: append([]byte{}, body[:len(body)-int(plan[4])*len(body)/256]...),
		})
	}
	if len(m) > 0 {
		m[0].AppMetadata = header
	}
	return m
}

// FuzzAnswer: whatever comes, every value of what is taken can be read.
func FuzzAnswer(f *testing.F) {
	schema := viewOf(f, 0, 1).Schema()
	header := []byte(`{"v":1,"to":{"cards":{"1":35}},"rows":25}`)
	p := partsOf(answer(f, "", schema, []arrow.RecordBatch{viewOf(f, 10, 20), viewOf(f, 30, 5)}))
	var whole []byte
	for i := range p.headers {
		whole = append(whole, byte(i), byte(i), 0, 0, 0)
	}
	if m := p.answer(header, whole); len(m) > 255 {
		f.Fatalf("%d messages", len(m))
	} else if _, err := receive(&m, at(5)); err != nil {
		f.Fatal(err)
	}
	f.Add(header, whole)
	f.Add([]byte(`{"v":1,"to":{},"rows":0}`), whole[:5])
	for i := range len(p.headers) { // a bit of each message in turn
		changed := bytes.Clone(whole)
		changed[5*i+2], changed[5*i+3] = byte(37*i), 1<<(i%8)
		f.Add(header, changed)
	}
	f.Fuzz(func(t *testing.T, header, plan []byte) {
		m := p.answer(header, plan)
		got, err := receive(&m, at(5))
		if err != nil {
			return
		}
		defer got.Release()
		for _, r := range got.Records {
			for _, c := range r.Columns() {
				for row := range c.Len() {
					_ = c.ValueStr(row)
				}
			}
		}
	})
}

// errReset is what a stream says that was cut.
var errReset = errors.New("reset")

type cut struct{ messages }

func (c *cut) Recv() (*flight.FlightData, error) {
	if d, err := c.messages.Recv(); err == nil {
		return d, nil
	}
	return nil, errReset
}

// A stream that fails after its last row fails.
func TestCutAnswer(t *testing.T) {
	whole := answer(t, `{"v":1,"to":{"cards":{"1":35}},"rows":25}`, viewOf(t, 0, 1).Schema(), []arrow.RecordBatch{viewOf(t, 10, 20), viewOf(t, 30, 5)})
	for n := range len(whole) + 1 {
		if _, err := receive(&cut{slices.Clone(whole[:n])}, nil); !errors.Is(err, errReset) {
			t.Errorf("after %d of %d messages: %v", n, len(whole), err)
		}
	}
}
