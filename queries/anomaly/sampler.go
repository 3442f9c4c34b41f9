package anomaly

import (
	"container/heap"
	"fmt"
	"slices"
)

// Sampler keeps a uniform sample of the rows of a stream that is too long to be held: those whose
// numbers hash lowest. The sample depends on the seed and on what is added, and not on the order.
type Sampler struct {
	cols, size int
	seed       uint64
	picks      picks
	data       []float64
}

// pick is a row of the sample.
type pick struct {
	key, id uint64
	at      int // row of data
}

func (p pick) before(q pick) bool { return p.key < q.key || p.key == q.key && p.id < q.id }

// picks is a heap with the highest key on top, the next to go.
type picks []pick

func (p picks) Len() int           { return len(p) }
func (p picks) Less(i, j int) bool { return p[j].before(p[i]) }
func (p picks) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *picks) Push(x any)        { *p = append(*p, x.(pick)) }
func (p *picks) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

// NewSampler returns a sampler of at most size rows of cols columns.
func NewSampler(cols, size int, seed uint64) (*Sampler, error) {
	if cols < 1 || size < 1 {
		return nil, fmt.Errorf("sample: %d rows of %d columns, at least 1 of 1 is needed", size, cols)
	}
	return &Sampler{cols: cols, size: size, seed: seed}, nil
}

// Add offers a row. The number tells it from the others: its position or a hash of its name. The
// row is copied if it is kept.
func (s *Sampler) Add(id uint64, row []float64) error {
	if len(row) != s.cols {
		return fmt.Errorf("sample: a row of %d columns, not %d", len(row), s.cols)
	}
	p := pick{key: mix(id + mix(s.seed)), id: id}
	if len(s.picks) < s.size {
		p.at = len(s.picks)
		s.data = append(s.data, row...)
		heap.Push(&s.picks, p)
		return nil
	}
	if top := s.picks[0]; p.before(top) {
		p.at = top.at
		copy(s.data[p.at*s.cols:], row)
		s.picks[0] = p
		heap.Fix(&s.picks, 0)
	}
	return nil
}

// Matrix copies the sample, in an order that is the same for equal samples.
func (s *Sampler) Matrix() Matrix {
	sorted := slices.Clone(s.picks)
	slices.SortFunc(sorted, func(a, b pick) int {
		switch {
		case a.before(b):
			return -1
		case b.before(a):
			return 1
		}
		return 0
	})
	m := Matrix{Data: make([]float64, 0, len(s.data)), Cols: s.cols}
	for _, p := range sorted {
		m.Data = append(m.Data, s.data[p.at*s.cols:(p.at+1)*s.cols]...)
	}
	return m
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood: Fast splittable pseudorandom number
// generators, OOPSLA 2014): one to one, and every bit depends on all.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
