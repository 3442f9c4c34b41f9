package retention

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/cardlake/cardlake"
)

// wanted is whose rows are looked for. Those that are known in clear are looked up in a
// file's bloom filters before a column of it is read.
type wanted struct {
	secret secret
	// customers and cards are in clear; persons and hashedCards by hash.
	customers, cards     map[string]bool
	persons, hashedCards map[string]bool

	answers map[string]bool // of values that were hashed, by kind and value
}

// maxAnswers bounds the memory of wanted.answers.
const maxAnswers = 1 << 20

func newWanted(s secret) *wanted {
	return &wanted{
		secret: s, customers: map[string]bool{}, cards: map[string]bool{},
		persons: map[string]bool{}, hashedCards: map[string]bool{}, answers: map[string]bool{},
	}
}

func (w *wanted) isCustomer(value []byte) bool {
	return w.customers[string(value)] || w.has(w.persons, personHash, value)
}

func (w *wanted) isCard(value []byte) bool {
	return w.cards[string(value)] || w.has(w.hashedCards, cardHash, value)
}

func (w *wanted) has(set map[string]bool, kind byte, value []byte) bool {
	if len(set) == 0 {
		return false
	}
	name := string(append([]byte{kind}, value...))
	answer, ok := w.answers[name]
	if !ok {
		answer = set[w.secret.hash(kind, value)]
		if len(w.answers) >= maxAnswers {
			clear(w.answers)
		}
		w.answers[name] = answer
	}
	return answer
}

// found is what a file has of whom was looked for.
type found struct {
	rows  int64
	cards map[string]bool // tokens in the rows of customers that were looked for
	// others counts rows with a card of theirs under another customer's name, which stay.
	others int64
}

// parquetFile is an open file of a table.
type parquetFile struct {
	reader *file.Reader
	close  func() error
}

func (k *Keeper) open(ctx context.Context, f cardlake.DataFile) (_ *parquetFile, err error) {
	defer recovered(&err)
	o, err := k.lake.Store.Open(ctx, f.Name)
	if err != nil {
		return nil, err
	}
	r, err := file.NewParquetReader(io.NewSectionReader(o, 0, o.Size()))
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return &parquetFile{reader: r, close: func() error { return errors.Join(r.Close(), o.Close()) }}, nil
}

// recovered turns a panic into an error: arrow-go panics on some malformed files.
func recovered(err *error) {
	switch r := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("malformed file: %w", r)
	default: // its text may hold some of the file's
		*err = fmt.Errorf("malformed file: panic with %T", r)
	}
}

// group reads columns of a row group, by their places in the table. Text that the file has
// as codes of words comes as such.
func (p *parquetFile) group(ctx context.Context, group int, columns []int) ([]arrow.Array, error) {
	props := pqarrow.ArrowReadProperties{}
	meta := p.reader.MetaData().RowGroup(group)
	for _, i := range columns {
		chunk, err := meta.ColumnChunk(i)
		if err != nil {
			return nil, err
		}
		props.SetReadDict(i, chunk.HasDictionaryPage() && p.reader.MetaData().Schema.Column(i).PhysicalType().String() == "BYTE_ARRAY")
	}
	fr, err := pqarrow.NewFileReader(p.reader, props, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	table, err := fr.ReadRowGroups(ctx, columns, []int{group})
	if err != nil {
		return nil, err
	}
	defer table.Release()
	out := make([]arrow.Array, len(columns))
	for i := range columns {
		chunks := table.Column(i).Data().Chunks()
		switch len(chunks) {
		case 0:
			return nil, errors.New("a column has no rows")
		case 1:
			out[i] = chunks[0]
			chunks[0].Retain()
		default:
			if out[i], err = array.Concatenate(chunks, memory.DefaultAllocator); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// columnsNamed finds columns in the file, whose order is the table's.
func (p *parquetFile) columnsNamed(names ...string) ([]int, error) {
	out := make([]int, len(names))
	for i, name := range names {
		if out[i] = p.reader.MetaData().Schema.ColumnIndexByName(name); out[i] < 0 {
			return nil, fmt.Errorf("column %s is missing", name)
		}
	}
	return out, nil
}

// scan looks for rows in one file.
func (k *Keeper) scan(ctx context.Context, f cardlake.DataFile, w *wanted) (out found, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("look into %s: %w", f.Name, err)
		}
	}()
	defer recovered(&err)
	p, err := k.open(ctx, f)
	if err != nil {
		return out, err
	}
	defer p.close()
	out.cards = map[string]bool{}
	columns, err := p.columnsNamed("customer_id", "card_token")
	if err != nil {
		return out, err
	}
	for g := range p.reader.NumRowGroups() {
		if !w.mayBeIn(p, g, columns) {
			continue
		}
		data, err := p.group(ctx, g, columns)
		if err != nil {
			return out, err
		}
		for i, isOne := range w.rows(data[0], data[1], &out) {
			if isOne {
				out.rows++
				if !data[0].IsNull(i) && !data[1].IsNull(i) {
					out.cards[string(valueOf(data[1], i))] = true
				}
			}
		}
		data[0].Release()
		data[1].Release()
	}
	return out, nil
}

// mayBeIn reports whether a row group may have rows that are looked for.
func (w *wanted) mayBeIn(p *parquetFile, group int, columns []int) bool {
	if len(w.persons) > 0 || len(w.hashedCards) > 0 {
		return true
	}
	for i, values := range []map[string]bool{w.customers, w.cards} {
		if len(values) > 0 && !absent(p, group, columns[i], values) {
			return true
		}
	}
	return false
}

// absent reports whether a row group's bloom filter shows that none of the values is in the
// column.
func absent(p *parquetFile, group, column int, values map[string]bool) bool {
	filters, err := p.reader.GetBloomFilterReader().RowGroup(group)
	if err != nil || filters == nil {
		return false
	}
	filter, err := filters.GetColumnBloomFilter(column)
	if err != nil || filter == nil {
		return false
	}
	for v := range values {
		if filter.CheckHash(filter.Hasher().Sum64([]byte(v))) {
			return false
		}
	}
	return true
}

// rows reports for each row whether it is looked for: it names the customer, or nobody and a
// card of theirs.
func (w *wanted) rows(customers, cards arrow.Array, out *found) []bool {
	n := customers.Len()
	isCustomer, isCard := matches(customers, w.isCustomer), matches(cards, w.isCard)
	rows := make([]bool, n)
	for i := range n {
		switch {
		case customers.IsNull(i):
			rows[i] = isCard(i)
		case isCustomer(i):
			rows[i] = true
		case out != nil && isCard(i):
			out.others++
		}
	}
	return rows
}

// matches asks once for each word of a dictionary, and otherwise for each row.
func matches(column arrow.Array, ask func([]byte) bool) func(row int) bool {
	d, ok := column.(*array.Dictionary)
	if !ok {
		return func(row int) bool { return !column.IsNull(row) && ask(valueOf(column, row)) }
	}
	words := d.Dictionary()
	answers := make([]bool, words.Len())
	for i := range answers {
		answers[i] = ask(valueOf(words, i))
	}
	return func(row int) bool { return !column.IsNull(row) && answers[d.GetValueIndex(row)] }
}

// valueOf is a row's text, in the memory of the column.
func valueOf(column arrow.Array, row int) []byte {
	switch c := column.(type) {
	case *array.Dictionary:
		return valueOf(c.Dictionary(), c.GetValueIndex(row))
	case *array.Binary:
		return c.Value(row)
	case *array.String:
		return []byte(c.Value(row))
	}
	panic("not a column of text")
}
