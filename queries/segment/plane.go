package segment

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Plane is the plane through customers on which they are spread the most: the first two
// principal components.
type Plane struct {
	Mean      []float64
	Axes      [2][]float64 // of length 1; the greatest entry of each is positive
	Explained [2]float64   // the part of the variance along each
}

// FitPlane finds the plane. With one feature, or where all customers lie on a line, the second axis
// explains nothing.
func FitPlane(x Matrix) (*Plane, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	mean, _ := x.moments()
	d := x.Cols
	covariance, off := make([]float64, d*d), make([]float64, d)
	for i := range x.Rows {
		for j, v := range x.Row(i) {
			off[j] = v - mean[j]
		}
		for r, v := range off {
			for c := r; c < d; c++ {
				covariance[r*d+c] += v * off[c]
			}
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(mat.NewSymDense(d, covariance), true) {
		return nil, fmt.Errorf("segment: the principal components can't be found")
	}
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	values, total := eigen.Values(nil), 0.0
	for _, v := range values {
		total += max(0, v)
	}
	p := &Plane{Mean: mean}
	for a := range p.Axes {
		p.Axes[a] = make([]float64, d)
		at := d - 1 - a // values ascend
		if at < 0 || total == 0 {
			continue
		}
		p.Explained[a] = max(0, values[at]) / total
		most := 0
		for j := range d {
			p.Axes[a][j] = vectors.At(j, at)
			if math.Abs(p.Axes[a][j]) > math.Abs(p.Axes[a][most])+1e-9 {
				most = j
			}
		}
		if p.Axes[a][most] < 0 {
			for j := range d {
				p.Axes[a][j] = -p.Axes[a][j]
			}
		}
	}
	return p, nil
}

// Project is where on the plane a row lies.
func (p *Plane) Project(row []float64) (u, v float64) {
	for j, value := range row {
		u += (value - p.Mean[j]) * p.Axes[0][j]
		v += (value - p.Mean[j]) * p.Axes[1][j]
	}
	return u, v
}
