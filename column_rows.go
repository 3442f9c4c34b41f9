package cardlake

import (
	"math/bits"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// rows is what the batches of all tables share: the columns of the table, the rows' flags,
// and the order of the table's time.
type rows struct {
	schema  *arrow.Schema // as the records have it
	types   []arrow.DataType
	columns []column      // as the table's
	times   *fixed[int64] // the table's time column
	flags   flags
	n       int
	room    int   // rows that there is memory for
	width   int   // bytes a row takes, beside its text
	text    int64 // bytes of text
	min     int64
	max     int64
	isMixed bool // a row is earlier than the one before
	sorter  sorter
}

// newRows takes a column for each of the table's, in its order, and gives each its flags.
func newRows(def *Table, times *fixed[int64], columns []column) rows {
	plain := ArrowSchema(def)
	fields := plain.Fields()
	r := rows{columns: columns, times: times}
	r.width = r.flags.words.width()
	for i := range fields {
		r.types = append(r.types, fields[i].Type)
		valid := noFlag
		if def.Columns[i].Nullable {
			valid = r.flags.take()
		}
		columns[i].flagged(valid, &r.flags)
		if _, ok := columns[i].(*words); ok {
			fields[i].Type = dictionaryOf(fields[i].Type)
		}
		r.width += columns[i].width()
	}
	r.schema = arrow.NewSchema(fields, nil)
	return r
}

// next makes room for a row of the time t and returns its number.
func (r *rows) next(t int64) int {
	n := r.n
	if n == r.room {
		r.grow()
	}
	if n == 0 {
		r.min, r.max = t, t
	} else if t < r.times.live[n-1] {
		r.isMixed = true
	}
	r.min, r.max = min(r.min, t), max(r.max, t)
	r.times.live[n] = t
	return n
}

// minRoom is small because a window may have a batch for each of very many days.
const minRoom = 32

func (r *rows) grow() { r.reserve(max(minRoom, 2*r.room)) }

// reserve makes room for n rows, those that are there included.
func (r *rows) reserve(n int) {
	if n <= r.room {
		return
	}
	r.room = max(n, 2*r.room)
	for _, c := range r.columns {
		c.grow(r.n, r.room)
	}
	r.flags.words.grow(r.n, r.room)
}

// end completes the row that next began: its flags, and the bytes of its text.
func (r *rows) end(n int, flags uint64, text int) {
	r.flags.set(n, flags)
	r.text += int64(text)
	r.n = n + 1
}

// Len returns the number of rows.
func (r *rows) Len() int { return r.n }

// Bytes returns about how much memory the rows take.
func (r *rows) Bytes() int64 { return int64(r.n*r.width) + r.text }

// ViewBytes returns 0: a view's columns are the rows'.
func (r *rows) ViewBytes() int64 { return 0 }

// TimeRange returns the least and the greatest value of the table's time column, in
// microseconds since the epoch; zeros if there is no row.
func (r *rows) TimeRange() (min, max int64) { return r.min, r.max }

// Record returns the rows in the order of the table's time; rows of the same time stay in
// the order in which they came. The schema is ArrowSchema's, but for columns whose values
// repeat, which are dictionaries of strings with int32 codes.
//
// The record shares the batch's memory: it is valid until the next Append, Record or Reset,
// whichever comes first. Releasing it is not necessary.
func (r *rows) Record() (arrow.RecordBatch, error) {
	if !r.isMixed {
		r.flags.live(r.n, &r.flags.sorted)
		return r.record(r.n, false, &r.flags.sorted), nil
	}
	order := r.sorter.order(r.times.live[:r.n], r.min, r.max)
	for _, c := range r.columns {
		c.sort(order)
	}
	r.flags.sort(order, &r.flags.sorted)
	return r.record(r.n, true, &r.flags.sorted), nil
}

// View returns the rows so far in the order in which they came, with the schema of Record's.
//
// It shares the batch's memory, whatever the number of rows, but for the bitmaps of nulls and
// booleans: their last byte is still to be written, and Arrow wants it next to the others, so
// they are copied, a bit a row. A view stays as it is, and other goroutines may read it, while
// rows are appended and records are made, until Reset. View may be called while another
// goroutine calls Record, but not at the same time as Append. Releasing the view is not
// necessary.
func (r *rows) View() arrow.RecordBatch {
	var m bitmaps
	r.flags.live(r.n, &m)
	return r.record(r.n, false, &m)
}

func (r *rows) record(n int, isSorted bool, m *bitmaps) arrow.RecordBatch {
	arrays := make([]arrow.Array, len(r.columns))
	for i, c := range r.columns {
		arrays[i] = c.array(r.types[i], n, isSorted, m)
	}
	record := array.NewRecordBatch(r.schema, arrays, int64(n))
	for _, a := range arrays {
		a.Release()
	}
	return record
}

// Reset removes all rows and keeps the memory for the next ones. The records and views of the
// batch end with it: its caller knows that nobody reads one any more. A batch with views that
// may still be read is dropped instead.
func (r *rows) Reset() {
	for _, c := range r.columns {
		c.reset()
	}
	r.flags.sealed = r.flags.sealed[:0]
	r.n, r.text, r.min, r.max, r.isMixed = 0, 0, 0, 0, false
}

// sorter finds the order of rows by time. It keeps its memory.
type sorter struct {
	rows      []int32
	keys      []uint64
	spareKeys []uint64
	starts    [1 << digitBits]int32
}

// digitBits is how many bits of the time a pass sorts by: a window's span takes two or three
// passes, and the counters stay in the first-level cache.
const digitBits = 10

// order returns the numbers of the rows by time, which lies in lo to hi, and among equal
// times ascending.
func (s *sorter) order(times []int64, lo, hi int64) []int32 {
	s.rows = slices.Grow(s.rows[:0], len(times))[:len(times)]
	spanBits, rowBits := bits.Len64(uint64(hi-lo)), bits.Len(uint(len(times)))
	if len(times) < 1<<digitBits/4 || spanBits+rowBits > 64 {
		for i := range s.rows {
			s.rows[i] = int32(i)
		}
		slices.SortStableFunc(s.rows, func(a, b int32) int {
			switch {
			case times[a] < times[b]:
				return -1
			case times[a] > times[b]:
				return 1
			}
			return 0
		})
		return s.rows
	}
	// A radix sort, which is stable, of time and row in one word.
	s.keys = slices.Grow(s.keys[:0], len(times))[:len(times)]
	s.spareKeys = slices.Grow(s.spareKeys[:0], len(times))[:len(times)]
	for i, t := range times {
		s.keys[i] = uint64(t-lo)<<rowBits | uint64(i)
	}
	for shift := rowBits; shift < rowBits+spanBits; shift += digitBits {
		clear(s.starts[:])
		for _, key := range s.keys {
			s.starts[key>>shift&(1<<digitBits-1)]++
		}
		at := int32(0)
		for i, n := range s.starts {
			s.starts[i] = at
			at += n
		}
		for _, key := range s.keys {
			digit := key >> shift & (1<<digitBits - 1)
			s.spareKeys[s.starts[digit]] = key
			s.starts[digit]++
		}
		s.keys, s.spareKeys = s.spareKeys, s.keys
	}
	for i, key := range s.keys {
		s.rows[i] = int32(key & (1<<rowBits - 1))
	}
	return s.rows
}
