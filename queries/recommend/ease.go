package recommend

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
)

// EASE is the linear autoencoder of H. Steck, "Embarrassingly Shallow Autoencoders for Sparse
// Data", WWW 2019 (arXiv:1905.03375): the item-to-item weights B with a diagonal of 0 that
// minimise |X - XB|² + λ|B|², in closed form. A user's scores are their row times B.
type EASE struct {
	items    int
	weighted bool
	b        []float32 // by the item had, then the item scored
}

// FitEASE fits the model to m with the regularisation lambda, which is above 0: the larger, the
// closer to popularity and the steadier on little data. The paper's equations (8) to (10):
//
//	P = (XᵀX + λI)⁻¹,  B[i,j] = -P[i,j]/P[j,j] for i ≠ j,  B[i,i] = 0.
//
// A matrix without weights gives a model that takes no notice of a query's weights, as the paper
// has it; one with weights gives a model that uses them.
//
// The work grows with items³, and memory takes 8 bytes times items² while fitting, and 4 bytes
// times items² more for the result. An item that nobody has is scored 0. Errors: no interactions,
// a lambda that is not above 0, or one too small for the weights.
func FitEASE(m *Matrix, lambda float64) (*EASE, error) {
	if m.Entries() == 0 {
		return nil, fmt.Errorf("%w: EASE: 0 interactions, at least 1 is needed", ErrTooLittle)
	}
	if !(lambda > 0) || math.IsInf(lambda, 0) {
		return nil, fmt.Errorf("recommend: EASE: lambda must be above 0 and finite")
	}
	n := m.items
	p := make([]float64, n*n)
	t := m.transpose()
	spread(n, none, func(_ struct{}, i int) {
		row := p[i*n : (i+1)*n]
		gram(row, m, t, i, i)
		row[i] += lambda
	})
	root, ok := lapack64.Potrf(blas64.Symmetric{Uplo: blas.Upper, N: n, Stride: n, Data: p})
	if ok {
		_, ok = lapack64.Potri(root)
	}
	if !ok {
		return nil, fmt.Errorf("recommend: EASE: lambda is too small for these weights")
	}
	b := make([]float32, n*n)
	tooLarge := make([]bool, n)
	spread(n, none, func(_ struct{}, i int) {
		for j := range n {
			if i == j {
				continue
			}
			w := -p[min(i, j)*n+max(i, j)] / p[j*n+j]
			// The score of a row of the largest weights must fit a float32.
			tooLarge[i] = tooLarge[i] || !(math.Abs(w) <= 1e16)
			b[i*n+j] = float32(w)
		}
	})
	for _, bad := range tooLarge {
		if bad {
			return nil, fmt.Errorf("recommend: EASE: lambda is too small for these weights")
		}
	}
	return &EASE{items: n, weighted: m.weight != nil, b: b}, nil
}

func none() struct{} { return struct{}{} }

// Items is how many items the model scores.
func (e *EASE) Items() int { return e.items }

// Weight is B[from,to]: what having one item says for another.
func (e *EASE) Weight(from, to int) float64 { return float64(e.b[from*e.items+to]) }

// Score sets dst to the user's row times B.
func (e *EASE) Score(dst []float32, q Query) {
	clear(dst)
	y := blas32.Vector{N: e.items, Inc: 1, Data: dst}
	for n, i := range q.Items {
		w := float32(1)
		if e.weighted {
			w = q.weight(n)
		}
		blas32.Axpy(w, blas32.Vector{N: e.items, Inc: 1, Data: e.b[int(i)*e.items:][:e.items]}, y)
	}
}

func (e *EASE) explain(q Query, item int) (Reason, bool) {
	return strongest(q, e.weighted, func(from int32) float64 { return e.Weight(int(from), item) })
}
