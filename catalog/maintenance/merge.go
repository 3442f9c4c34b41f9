package maintenance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/parquet"
)

// merger takes the rows of files that are sorted by the table's time in the order of all of
// them, and makes records of so many rows. It holds one record and the pages that were
// begun, however large the files are. It reuses its memory.
type merger struct {
	table   *cardlake.Table
	fields  []arrow.Field // the table's
	inputs  []*input
	heap    []head
	from    []int32 // of each row of the record, its input
	order   []int32 // and its place when the inputs' rows come one input after another
	counts  []int32 // of rows of each input
	column  values
	outputs []output
	hashes  rowHashes
}

// head is an input with the time of its next row.
type head struct {
	at    int64
	input int32
}

func (h head) before(other head) bool {
	return h.at < other.at || h.at == other.at && h.input < other.input
}

func newMerger(table *cardlake.Table) *merger {
	return &merger{table: table, fields: cardlake.ArrowSchema(table).Fields(), outputs: make([]output, len(table.Columns))}
}

// begin takes the inputs, in the order that rows of the same time come in.
func (m *merger) begin(inputs []*input) error {
	m.inputs, m.heap = inputs, m.heap[:0]
	m.counts = slices.Grow(m.counts[:0], len(inputs))[:len(inputs)]
	for i, in := range inputs {
		at, ok, err := in.peek()
		if err != nil {
			return err
		}
		if ok {
			m.heap = append(m.heap, head{at, int32(i)})
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sift(i)
	}
	return nil
}

func (m *merger) sift(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heap); child++ {
			if m.heap[child].before(m.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}

// piece is a record of rows in order.
type piece struct {
	record   arrow.RecordBatch // in the merger's memory
	min, max int64
	sum      Sum // of the rows as the inputs have them
}

// next returns the next rows, at most so many; a piece without a record after the last. The
// piece is valid until the next call.
func (m *merger) next(ctx context.Context, most int) (p piece, err error) {
	isOrdered, err := m.choose(most, &p)
	if err != nil || len(m.from) == 0 {
		return piece{}, err
	}
	order := m.places(isOrdered)
	m.hashes = slices.Grow(m.hashes[:0], len(m.from))[:len(m.from)]
	clear(m.hashes)
	columns, fields := make([]arrow.Array, len(m.fields)), slices.Clone(m.fields)
	for c, def := range m.table.Columns {
		if err := ctx.Err(); err != nil {
			return piece{}, err
		}
		m.column.reset(kindOf(def.Type))
		for i, n := range m.counts {
			if n == 0 {
				continue
			}
			if err := m.inputs[i].take(c, int(n), &m.column); err != nil {
				return piece{}, err
			}
		}
		m.hashes.add(&m.column)
		columns[c] = m.outputs[c].array(&m.column, fields[c].Type, order)
		if fields[c].Type = columns[c].DataType(); !fields[c].Nullable && columns[c].NullN() > 0 {
			return piece{}, fmt.Errorf("%w: column %s is required and has nulls", ErrInput, def.Name)
		}
	}
	p.sum = m.hashes.sum()
	p.record = array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, int64(len(m.from)))
	return p, nil
}

// choose decides which rows come next and reports whether that is the order of the inputs.
func (m *merger) choose(most int, p *piece) (isOrdered bool, err error) {
	m.from, isOrdered = m.from[:0], true
	clear(m.counts)
	for len(m.heap) > 0 && len(m.from) < most {
		top, limit := m.heap[0], head{math.MaxInt64, math.MaxInt32}
		for _, other := range m.heap[1:min(3, len(m.heap))] {
			if other.before(limit) {
				limit = other
			}
		}
		if len(m.from) == 0 {
			p.min = top.at
		} else if m.from[len(m.from)-1] > top.input {
			isOrdered = false
		}
		// A run of rows of one input, up to the first row of another.
		in, ok := m.inputs[top.input], true
		for ok && len(m.from) < most && top.before(limit) {
			m.from = append(m.from, top.input)
			p.max = top.at
			if in.next++; in.next < len(in.ahead) {
				top.at = in.ahead[in.next]
			} else if top.at, ok, err = in.peek(); err != nil {
				return false, err
			}
		}
		if ok {
			m.heap[0] = top
		} else {
			m.heap[0] = m.heap[len(m.heap)-1]
			m.heap = m.heap[:len(m.heap)-1]
		}
		m.sift(0)
	}
	for _, i := range m.from {
		m.counts[i]++
	}
	return isOrdered, nil
}

// places returns where each row is when the inputs' rows come one input after another, nil if
// it is there already.
func (m *merger) places(isOrdered bool) []int32 {
	if isOrdered {
		return nil
	}
	next, at := make([]int32, len(m.counts)), int32(0)
	for i, n := range m.counts {
		next[i] = at
		at += n
	}
	m.order = slices.Grow(m.order[:0], len(m.from))[:len(m.from)]
	for row, i := range m.from {
		m.order[row] = next[i]
		next[i]++
	}
	return m.order
}

// errDiffers says that a file that was made does not hold what it was made of. It is a fault
// of this program or of the machine; the file is not used.
var errDiffers = errors.New("the file that was made does not hold the rows that it was made of")

// check reads a file that was made of the piece and compares the rows.
func (m *merger) check(ctx context.Context, body []byte, p piece) error {
	in, err := newInput(m.table, "the file that was made", bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return fmt.Errorf("%w: %w", errDiffers, err)
	}
	sum, first, last, err := in.sum(ctx, &m.column)
	if err != nil {
		return fmt.Errorf("%w: %w", errDiffers, err)
	}
	if sum != p.sum || first != p.min || last != p.max {
		return fmt.Errorf("%w: %s, want %s", errDiffers, sum, p.sum)
	}
	return nil
}

// sumRows is how many rows are summed up together: those of a page of our encoder, so that none
// is divided, and the hashes stay in the processor's cache.
const sumRows = 20 << 10

// sum reads all rows that were not taken. It fails unless they are in order of time.
func (in *input) sum(ctx context.Context, scratch *values) (total Sum, first, last int64, err error) {
	var hashes rowHashes
	left := in.reader.NumRows()
	last = math.MinInt64
	for isFirst := true; left > 0; isFirst = false {
		if err := ctx.Err(); err != nil {
			return Sum{}, 0, 0, err
		}
		n := min(left, sumRows)
		left -= n
		hashes = slices.Grow(hashes[:0], int(n))[:n]
		clear(hashes)
		for c, def := range in.table.Columns {
			scratch.reset(kindOf(def.Type))
			if err := in.take(c, int(n), scratch); err != nil {
				return Sum{}, 0, 0, err
			}
			hashes.add(scratch)
			if def.Name != in.table.Time {
				continue
			}
			if isFirst {
				first = scratch.int64s[0]
			}
			for _, at := range scratch.int64s {
				if at < last {
					return Sum{}, 0, 0, fmt.Errorf("%w: it is not sorted by %s", ErrInput, in.table.Time)
				}
				last = at
			}
		}
		total.Add(hashes.sum())
	}
	return total, first, last, nil
}

// fileOf is a file that is being made of several pieces.
type fileOf struct {
	encoder *parquet.Encoder
	piece   // without a record: all of them together
}

// add adds a piece that follows those before.
func (f *fileOf) add(p piece) error {
	if f.sum.Rows == 0 {
		f.min = p.min
		if err := f.encoder.Begin(); err != nil {
			return err
		}
	}
	f.max = p.max
	f.sum.Add(p.sum)
	return f.encoder.Add(p.record)
}

// end returns the file, which is checked, in the encoder's memory, and what it holds. The
// next piece begins another.
func (f *fileOf) end(ctx context.Context, m *merger) (body []byte, splits []int64, of piece, err error) {
	of, f.piece = f.piece, piece{}
	if body, splits, err = f.encoder.End(); err != nil {
		return nil, nil, of, err
	}
	return body, splits, of, m.check(ctx, body, of)
}
