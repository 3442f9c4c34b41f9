package anomaly

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// What is fitted is kept as bytes: two of the kind and one of the version, then the fields, as
// little-endian numbers and counted lists. Equal models have equal bytes. What is read is checked
// as a whole, so that a damaged or foreign file gives an error and never a model that fails later.

// ErrFormat is in the error about bytes that are no model, or of a version that is not known.
var ErrFormat = errors.New("not a stored model of this kind and version")

// version goes up with the format, and with anything that makes equal bytes score otherwise.
const version = 1

// The kinds of what is stored.
const (
	kindForest   = "aF"
	kindTails    = "aT"
	kindRobust   = "aR"
	kindSurprise = "aS"
	kindIsotonic = "aI"
	kindPlatt    = "aP"
	kindModel    = "aM"
)

func header(b []byte, kind string) []byte { return append(append(b, kind...), version) }

func putInt(b []byte, n int) []byte { return binary.LittleEndian.AppendUint64(b, uint64(n)) }

func putFloats(b []byte, x ...float64) []byte {
	for _, v := range x {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

func putList(b []byte, x []float64) []byte { return putFloats(putInt(b, len(x)), x...) }

func putInts(b []byte, x []int32) []byte {
	b = putInt(b, len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return b
}

// reader takes fields off bytes. After the first that is not there all are zero, and done says so.
type reader struct {
	b    []byte
	fail error
}

func newReader(b []byte, kind string) *reader {
	r := &reader{b: b}
	if len(b) < 3 || string(b[:2]) != kind || b[2] != version {
		r.refuse(ErrFormat)
		return r
	}
	r.b = b[3:]
	return r
}

func (r *reader) refuse(err error) {
	if r.fail == nil {
		r.fail = err
	}
	r.b = nil
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.refuse(fmt.Errorf("%w: it is cut short", ErrFormat))
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) int() int {
	b := r.take(8)
	if b == nil {
		return 0
	}
	n := binary.LittleEndian.Uint64(b)
	if n > math.MaxInt32 {
		r.refuse(fmt.Errorf("%w: a count is out of range", ErrFormat))
		return 0
	}
	return int(n)
}

func (r *reader) int32() int32 {
	b := r.take(4)
	if b == nil {
		return 0
	}
	return int32(binary.LittleEndian.Uint32(b))
}

// length reads how many elements of size bytes follow, which must be there.
func (r *reader) length(size int) int {
	n := r.int()
	if n > len(r.b)/size {
		r.refuse(fmt.Errorf("%w: it is cut short", ErrFormat))
		return 0
	}
	return n
}

// float reads a finite number.
func (r *reader) float() float64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(b))
	if v-v != 0 {
		r.refuse(fmt.Errorf("%w: a number is not finite", ErrFormat))
		return 0
	}
	return v
}

func (r *reader) list() []float64 {
	x := make([]float64, r.length(8))
	for i := range x {
		x[i] = r.float()
	}
	return x
}

func (r *reader) ints() []int32 {
	x := make([]int32, r.length(4))
	for i := range x {
		x[i] = r.int32()
	}
	return x
}

// done says what was wrong, or that there is more than there should be.
func (r *reader) done() error {
	if r.fail == nil && len(r.b) > 0 {
		r.refuse(fmt.Errorf("%w: %d bytes too many", ErrFormat, len(r.b)))
	}
	return r.fail
}

func damaged(reason string) error { return fmt.Errorf("%w: %s", ErrFormat, reason) }

// MarshalBinary returns the stored form. It never fails.
func (f *Forest) MarshalBinary() ([]byte, error) { return f.put(header(nil, kindForest)), nil }

func (f *Forest) put(b []byte) []byte {
	b = putInt(putInt(putInt(b, f.cols), f.sample), len(f.trees))
	for _, t := range f.trees {
		b = putInt(b, t.end-t.first)
	}
	for i, n := range f.nodes {
		split := n.split
		if math.IsInf(split, 1) {
			split = 0
		}
		b = putFloats(b, split, f.paths[i])
		b = binary.LittleEndian.AppendUint32(b, uint32(n.feature))
		b = binary.LittleEndian.AppendUint32(b, uint32(n.lower))
	}
	return b
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (f *Forest) UnmarshalBinary(b []byte) error {
	r := newReader(b, kindForest)
	read := readForest(r)
	if err := r.done(); err != nil {
		return fmt.Errorf("isolation forest: %w", err)
	}
	*f = read
	return nil
}

// maxPath is more than the mean path length of any forest that can be fitted.
const maxPath = 100

func readForest(r *reader) Forest {
	f := Forest{cols: r.int(), sample: r.int()}
	f.trees = make([]tree, r.length(8))
	nodes := 0
	for t := range f.trees {
		n := r.int()
		f.trees[t] = tree{first: nodes, end: nodes + n}
		nodes += n
	}
	const size = 24
	if r.fail == nil && nodes > len(r.b)/size {
		r.refuse(damaged("it is cut short"))
	}
	if r.fail == nil && (f.cols < 1 || f.sample < minRows || len(f.trees) == 0) {
		r.refuse(damaged("no columns, rows or trees"))
	}
	if r.fail != nil {
		return Forest{}
	}
	f.nodes, f.paths = make([]node, nodes), make([]float64, nodes)
	for i := range f.nodes {
		f.nodes[i].split, f.paths[i] = r.float(), r.float()
		f.nodes[i].feature, f.nodes[i].lower = r.int32(), r.int32()
		if f.paths[i] < 0 || f.paths[i] > maxPath {
			r.refuse(damaged("a path of no length"))
		}
		if r.fail != nil {
			return Forest{}
		}
	}
	for t := range f.trees {
		if err := f.trees[t].restore(f.nodes[f.trees[t].first:f.trees[t].end], f.cols); err != nil {
			r.refuse(err)
			return Forest{}
		}
	}
	return f
}

// restore checks that the nodes are a tree, every node but the first the child of one, and
// finds its leaves and its height.
func (t *tree) restore(nodes []node, cols int) error {
	if len(nodes) == 0 {
		return damaged("a tree without nodes")
	}
	depths := make([]int, len(nodes))
	next := 1 // the first node that is nobody's child yet
	for i := range nodes {
		n := &nodes[i]
		if n.feature < 0 || int(n.feature) >= cols {
			return damaged("a cut at no column")
		}
		if int(n.lower) == i {
			n.split = math.Inf(1)
			continue
		}
		if int(n.lower) != next || next+1 >= len(nodes) {
			return damaged("a cut without sides")
		}
		depths[next], depths[next+1] = depths[i]+1, depths[i]+1
		t.height = max(t.height, depths[next])
		next += 2
	}
	if next != len(nodes) {
		return damaged("a node above which there is none")
	}
	return nil
}

func (e *ecdf) put(b []byte) []byte {
	return putInts(putInts(putList(putInt(b, e.n), e.values), e.below), e.upto)
}

func readECDF(r *reader) ecdf {
	e := ecdf{n: r.int(), values: r.list(), below: r.ints(), upto: r.ints()}
	if r.fail == nil && !e.sound() {
		r.refuse(damaged("a distribution that does not rise"))
	}
	return e
}

// MarshalBinary returns the stored form. It never fails.
func (t *Tails) MarshalBinary() ([]byte, error) { return t.put(header(nil, kindTails)), nil }

func (t *Tails) put(b []byte) []byte {
	b = putInt(putInt(b, int(t.method)), len(t.columns))
	for j := range t.columns {
		b = t.columns[j].put(putInt(b, int(t.skews[j])+1))
	}
	return b
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (t *Tails) UnmarshalBinary(b []byte) error {
	r := newReader(b, kindTails)
	read := readTails(r)
	if err := r.done(); err != nil {
		return fmt.Errorf("tails: %w", err)
	}
	*t = read
	return nil
}

func readTails(r *reader) Tails {
	t := Tails{method: Method(r.int())}
	n := r.length(1)
	for range n {
		skew := r.int() - 1
		if skew < -1 || skew > 1 {
			r.refuse(damaged("a skewness that is no sign"))
		}
		t.skews, t.columns = append(t.skews, int8(skew)), append(t.columns, readECDF(r))
		if r.fail != nil {
			return Tails{}
		}
	}
	if n == 0 || t.method < MethodECOD || t.method > MethodCOPOD {
		r.refuse(damaged("no columns or no method"))
	}
	return t
}

// MarshalBinary returns the stored form. It never fails.
func (z *Robust) MarshalBinary() ([]byte, error) { return z.put(header(nil, kindRobust)), nil }

func (z *Robust) put(b []byte) []byte { return putList(putList(b, z.medians), z.scales) }

// UnmarshalBinary reads what MarshalBinary wrote.
func (z *Robust) UnmarshalBinary(b []byte) error {
	r := newReader(b, kindRobust)
	read := readRobust(r)
	if err := r.done(); err != nil {
		return fmt.Errorf("robust z: %w", err)
	}
	*z = read
	return nil
}

func readRobust(r *reader) Robust {
	z := Robust{medians: r.list(), scales: r.list()}
	if r.fail == nil && (len(z.medians) == 0 || len(z.scales) != len(z.medians)) {
		r.refuse(damaged("medians and deviations differ in number"))
	}
	for _, s := range z.scales {
		if s < 0 {
			r.refuse(damaged("a deviation below 0"))
		}
	}
	return z
}

// MarshalBinary returns the stored form. It never fails.
func (s *Surprise) MarshalBinary() ([]byte, error) { return s.put(header(nil, kindSurprise)), nil }

func (s *Surprise) put(b []byte) []byte {
	return putFloats(s.body.put(b), s.threshold, s.shape, s.unit)
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (s *Surprise) UnmarshalBinary(b []byte) error {
	r := newReader(b, kindSurprise)
	read := readSurprise(r)
	if err := r.done(); err != nil {
		return fmt.Errorf("tail probability: %w", err)
	}
	*s = read
	return nil
}

func readSurprise(r *reader) Surprise {
	s := Surprise{body: readECDF(r), threshold: r.float(), shape: r.float(), unit: r.float()}
	if s.shape < 0 || s.unit < 0 {
		r.refuse(damaged("a tail that does not fall"))
	}
	if r.fail == nil {
		s.tail = s.counted(s.threshold)
	}
	return s
}

// MarshalBinary returns the stored form. It never fails.
func (c *Isotonic) MarshalBinary() ([]byte, error) {
	return putList(putList(header(nil, kindIsotonic), c.scores), c.probabilities), nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (c *Isotonic) UnmarshalBinary(b []byte) error {
	r := newReader(b, kindIsotonic)
	read := Isotonic{scores: r.list(), probabilities: r.list()}
	if r.fail == nil && (len(read.scores) == 0 || len(read.scores) != len(read.probabilities)) {
		r.refuse(damaged("scores and probabilities differ in number"))
	}
	if r.fail == nil {
		for i, p := range read.probabilities {
			if p < 0 || p > 1 || i > 0 && (p < read.probabilities[i-1] || read.scores[i] <= read.scores[i-1]) {
				r.refuse(damaged("probabilities do not rise"))
			}
		}
	}
	if err := r.done(); err != nil {
		return fmt.Errorf("isotonic calibration: %w", err)
	}
	*c = read
	return nil
}

// MarshalBinary returns the stored form. It never fails.
func (p *Platt) MarshalBinary() ([]byte, error) {
	return putFloats(header(nil, kindPlatt), p.Slope, p.Offset, p.Center, p.Scale), nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (p *Platt) UnmarshalBinary(b []byte) error {
	r := newReader(b, kindPlatt)
	read := Platt{Slope: r.float(), Offset: r.float(), Center: r.float(), Scale: r.float()}
	if r.fail == nil && read.Scale <= 0 {
		r.refuse(damaged("no scale"))
	}
	if err := r.done(); err != nil {
		return fmt.Errorf("platt calibration: %w", err)
	}
	*p = read
	return nil
}

// MarshalBinary returns the stored form. It never fails.
func (m *Model) MarshalBinary() ([]byte, error) {
	b := append(header(nil, kindModel), byte(m.combine))
	b = m.robust.put(m.tails.put(m.forest.put(b)))
	for _, s := range m.members {
		b = s.put(b)
	}
	return m.overall.put(b), nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (m *Model) UnmarshalBinary(b []byte) error {
	r := newReader(b, kindModel)
	var combine Combination
	if c := r.take(1); c != nil {
		combine = Combination(c[0])
	}
	forest, tails, robust := readForest(r), readTails(r), readRobust(r)
	read := Model{forest: &forest, tails: &tails, robust: &robust, combine: combine}
	for d := range read.members {
		s := readSurprise(r)
		read.members[d] = &s
	}
	overall := readSurprise(r)
	read.overall = &overall
	if r.fail == nil && (tails.Cols() != forest.cols || robust.Cols() != forest.cols || combine < Average || combine > Maximum) {
		r.refuse(damaged("detectors of different columns"))
	}
	if err := r.done(); err != nil {
		return fmt.Errorf("anomaly model: %w", err)
	}
	*m = read
	return nil
}
