package features

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
)

// A saved state is a line that names the format, the clock, five tables with their records in
// the order of keys, the tenant's own figures, and a checksum. Numbers are varints, runs of zeros
// in an array one number: a card takes some 150 bytes. The same events give the same bytes.
const format = "cardlake features 1\n"

// ErrDamaged says that what was read is no state that was saved whole by this version.
var ErrDamaged = errors.New("features: the saved state is damaged or of another version; compute it anew from the events")

// WriteTo saves the state. It implements io.WriterTo.
func (s *State) WriteTo(w io.Writer) (int64, error) {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	counted := &tally{w: w}
	c := &coder{w: io.MultiWriter(counted, sum), out: make([]byte, 0, flushAt+1<<10)}
	c.bytes([]byte(format))
	s.code(c)
	c.flush()
	if c.err == nil {
		_, c.err = counted.Write(sum.Sum(nil))
	}
	if c.err != nil {
		return counted.n, fmt.Errorf("save features: %w", c.err)
	}
	return counted.n, nil
}

type tally struct {
	w io.Writer
	n int64
}

func (c *tally) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Read returns a state that was saved, and ErrDamaged if it is not whole, or followed by
// anything. Memory grows only with what is really there.
func Read(r io.Reader) (*State, error) {
	in := &summed{r: bufio.NewReaderSize(r, 1<<16), sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	c := &coder{r: in}
	name := make([]byte, len(format))
	if c.bytes(name); c.err == nil && string(name) != format {
		c.err = ErrDamaged
	}
	s := New()
	s.code(c)
	in.flush()
	var end [crc32.Size]byte
	if want := in.sum.Sum(nil); c.err == nil {
		if _, err := io.ReadFull(in.r, end[:]); err != nil || string(end[:]) != string(want) {
			c.err = ErrDamaged
		} else if _, err := in.r.ReadByte(); err != io.EOF {
			c.err = ErrDamaged
		}
	}
	if errors.Is(c.err, io.EOF) || errors.Is(c.err, io.ErrUnexpectedEOF) {
		c.err = ErrDamaged
	}
	if c.err != nil {
		return nil, fmt.Errorf("read features: %w", c.err)
	}
	return s, nil
}

// summed reads bytes and sums them up in blocks.
type summed struct {
	r     *bufio.Reader
	sum   hash.Hash32
	block [512]byte
	n     int
}

func (s *summed) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		if s.n == len(s.block) {
			s.flush()
		}
		s.block[s.n] = b
		s.n++
	}
	return b, err
}

func (s *summed) flush() {
	s.sum.Write(s.block[:s.n])
	s.n = 0
}

// coder writes values, or reads them where they are: one description of a record serves both.
type coder struct {
	w   io.Writer
	out []byte  // not written yet
	r   *summed // nil when writing
	err error
}

// flushAt is how many bytes are written at once.
const flushAt = 1 << 16

func (c *coder) flush() {
	if c.err == nil {
		_, c.err = c.w.Write(c.out)
	}
	c.out = c.out[:0]
}

func (c *coder) bytes(p []byte) {
	if c.err != nil {
		return
	}
	if c.r == nil {
		c.out = append(c.out, p...)
		return
	}
	for i := range p {
		if p[i], c.err = c.r.ReadByte(); c.err != nil {
			return
		}
	}
}

// number codes an unsigned number that is at most limit.
func (c *coder) number(x, limit uint64) uint64 {
	if c.err != nil {
		return 0
	}
	if c.r == nil {
		if c.out = binary.AppendUvarint(c.out, x); len(c.out) >= flushAt {
			c.flush()
		}
		return x
	}
	if x, c.err = binary.ReadUvarint(c.r); c.err == nil && x > limit {
		c.err = ErrDamaged
	}
	if c.err != nil {
		c.fail()
		return 0
	}
	return x
}

// fail turns an overlong number into damage.
func (c *coder) fail() {
	if !errors.Is(c.err, io.EOF) && !errors.Is(c.err, io.ErrUnexpectedEOF) {
		c.err = ErrDamaged
	}
}

func whole[T ~uint8 | ~uint16 | ~uint32](c *coder, limit uint64, at ...*T) {
	for _, x := range at {
		*x = T(c.number(uint64(*x), min(limit, uint64(^T(0)))))
	}
}

func real(c *coder, at *float32) {
	x := math.Float32frombits(uint32(c.number(uint64(math.Float32bits(*at)), math.MaxUint32)))
	if c.err == nil && !(x >= 0 && x <= math.MaxFloat32) {
		c.err = ErrDamaged
		return
	}
	*at = x
}

// list codes an array with its runs of zeros.
func list[T any](c *coder, in []T, zero func(*T) bool, one func(*coder, *T)) {
	for i := 0; i < len(in) && c.err == nil; {
		run := 0
		if c.r == nil {
			for i+run < len(in) && zero(&in[i+run]) {
				run++
			}
		}
		i += int(c.number(uint64(run), uint64(len(in)-i)))
		if i < len(in) && c.err == nil {
			one(c, &in[i])
			i++
		}
	}
}

func wholes[T ~uint8 | ~uint16 | ~uint32](c *coder, limit uint64, in []T) {
	list(c, in, func(x *T) bool { return *x == 0 }, func(c *coder, x *T) { whole(c, limit, x) })
}

func code[N counter](w *window[N], c *coder) {
	whole(c, math.MaxUint32, &w.at)
	wholes(c, math.MaxUint32, w.count[:])
	wholes(c, math.MaxUint32, w.declined[:])
	list(c, w.sum[:], func(x *float32) bool { return *x == 0 }, real)
}

func (d *tenDays) code(c *coder) {
	whole(c, math.MaxUint32, &d.at)
	wholes(c, math.MaxUint32, d.count[:])
}

func (s *spread) code(c *coder) {
	wholes(c, spreadFull, s.bins[:])
	sum := 0
	for _, n := range s.bins {
		sum += int(n)
	}
	if sum >= spreadFull && c.err == nil {
		c.err = ErrDamaged
		return
	}
	s.total = uint8(sum)
}

func (x *cardState) code(c *coder) {
	code(&x.window, c)
	x.spread.code(c)
	whole(c, math.MaxUint32, &x.first, &x.presentAt)
	whole(c, math.MaxUint16, &x.declines)
	whole(c, math.MaxUint8, &x.rising)
	real(c, &x.amount)
	wholes(c, uint64(len(countries)), x.countries[:])
	wholes(c, math.MaxUint16, x.mccs[:])
	wholes(c, 249, x.entries[:])
	wholes(c, 249, x.hours[:])
	places := uint64(len(atlas().points) - 1)
	wholes(c, places, x.spots.place[:])
	wholes(c, math.MaxUint8, x.spots.uses[:])
	whole(c, places, &x.present)
	list(c, x.visits[:], func(v *seen) bool { return v.key == 0 }, func(c *coder, v *seen) { whole(c, math.MaxUint32, &v.key, &v.at) })
	for i := range x.terminals.key {
		x.terminals.key[i] = Key(c.number(uint64(x.terminals.key[i]), math.MaxUint64))
	}
	wholes(c, math.MaxUint32, x.terminals.at[:])
	whole(c, math.MaxUint8, &x.terminals.blamed)
}

func (x *merchantState) code(c *coder) {
	code(&x.window, c)
	x.spread.code(c)
	t := &x.tries
	whole(c, math.MaxUint32, &x.first, &t.next)
	wholes(c, math.MaxUint32, t.card[:])
	wholes(c, math.MaxUint32, t.bin[:])
	wholes(c, math.MaxUint32, t.at[:])
	wholes(c, wasDeclined|wasUnknown|wasSmall|newest, t.flags[:])
}

func (x *terminalState) code(c *coder) {
	code(&x.window, c)
	x.spread.code(c)
	whole(c, math.MaxUint32, &x.first)
	x.cards.code(c)
	x.odd.code(c)
}

func (x *binState) code(c *coder) {
	code(&x.window, c)
	whole(c, math.MaxUint32, &x.first, &x.turned)
	wholes(c, math.MaxUint32, x.cards[:])
	wholes(c, math.MaxUint32, x.unknown[:])
}

func (x *mccState) code(c *coder) { x.spread.code(c) }

// codeTable codes the records of a table that are not silent at the second now.
func codeTable[T any](c *coder, t *table[T], now uint32, one func(*T, *coder)) {
	if c.r == nil {
		in := t.live(now)
		c.number(uint64(len(in)), math.MaxUint32)
		for _, r := range in {
			c.number(uint64(r.key), math.MaxUint64)
			c.number(uint64(r.last), math.MaxUint32)
			one(&r.value, c)
		}
		return
	}
	before := None
	for range c.number(0, math.MaxUint32) {
		key := Key(c.number(0, math.MaxUint64))
		last := uint32(c.number(0, uint64(now)))
		if c.err == nil && key <= before {
			c.err = ErrDamaged
		}
		if c.err != nil {
			return
		}
		before = key
		one(&t.insert(key, last).value, c)
	}
}

func (s *State) code(c *coder) {
	s.time = int64(c.number(uint64(s.time), math.MaxUint32*micros))
	c.bytes(s.id[:])
	any := uint8(truth(s.any))
	whole(c, 1, &any)
	s.any = any == 1
	now := uint32(s.time / micros)
	codeTable(c, &s.cards, now, (*cardState).code)
	codeTable(c, &s.merchants, now, (*merchantState).code)
	codeTable(c, &s.terminals, now, (*terminalState).code)
	codeTable(c, &s.bins, now, (*binState).code)
	codeTable(c, &s.mccs, now, (*mccState).code)
	s.amounts.code(c)
	s.visits.code(c)
	s.odd.code(c)
}
