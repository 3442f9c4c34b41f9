package segment

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Covariance says which shapes the components of a mixture may have, in scikit-learn's words.
type Covariance string

const (
	Full      Covariance = "full"      // each its own; mclust's VVV
	Tied      Covariance = "tied"      // one for all; EEE
	Diagonal  Covariance = "diag"      // each its own, along the axes; VVI
	Spherical Covariance = "spherical" // each its own, the same in every direction; VII
)

// MixtureConfig says how [FitMixture] works. Zero fields mean the defaults, which are
// scikit-learn's.
type MixtureConfig struct {
	Covariance Covariance // default Full
	Floor      float64    // added to every variance, in squares of the features' units; default 1e-6
	Tolerance  float64    // EM ends when the mean log-likelihood of a row gains less; default 1e-3
	Iterations int        // at most; default 100

	// KMeans finds the partition that EM begins with.
	KMeans KMeansConfig
}

func (c MixtureConfig) defaults() (MixtureConfig, error) {
	switch c.Covariance {
	case "":
		c.Covariance = Full
	case Full, Tied, Diagonal, Spherical:
	default:
		return c, fmt.Errorf("segment: covariance %q; it is full, tied, diag or spherical", c.Covariance)
	}
	if !(c.Floor >= 0) || !(c.Tolerance >= 0) || c.Iterations < 0 {
		return c, fmt.Errorf("segment: floor, tolerance and iterations of a mixture can't be negative")
	}
	if c.Floor == 0 {
		c.Floor = 1e-6
	}
	if c.Tolerance == 0 {
		c.Tolerance = 1e-3
	}
	if c.Iterations == 0 {
		c.Iterations = 100
	}
	return c, nil
}

// Mixture is a mixture of Gaussian components.
type Mixture struct {
	Covariance Covariance
	Weights    []float64
	Means      Matrix    // a row for each component
	Variances  []float64 // components × columns × columns, whole matrices whatever the shape

	Rows          int     // rows it was fitted to
	LogLikelihood float64 // of all of them, natural logarithm
	BIC, AIC      float64 // the less the better (Schwarz 1978; Akaike 1974)
	Iterations    int
	Converged     bool

	whiten []float64 // components × columns × columns: inverse of the covariance's lower Cholesky factor
	offset []float64 // what a row at the mean has as weighted log-density, by component
}

// FitMixture fits a mixture of k Gaussians by expectation and maximisation (Dempster, Laird and
// Rubin, J. Royal Stat. Soc. B 39, 1977), starting from the partition of [KMeans], as
// scikit-learn does. It needs two rows for each component, of which k differ.
func FitMixture(ctx context.Context, x Matrix, k int, c MixtureConfig) (*Mixture, error) {
	c, err := c.defaults()
	if err != nil {
		return nil, err
	}
	if err := x.check(); err != nil {
		return nil, err
	}
	if x.Rows < 2*k {
		return nil, &TooFewError{"customers", x.Rows, 2 * k}
	}
	p, err := KMeans(ctx, x, k, c.KMeans)
	if err != nil {
		return nil, err
	}
	return fitFrom(ctx, x, p, c)
}

// fitFrom is FitMixture from a partition of the rows; c has its defaults.
func fitFrom(ctx context.Context, x Matrix, p *Partition, c MixtureConfig) (*Mixture, error) {
	k := p.Centres.Rows
	m := &Mixture{
		Covariance: c.Covariance, Rows: x.Rows, Weights: make([]float64, k), Means: NewMatrix(k, x.Cols),
		Variances: make([]float64, k*x.Cols*x.Cols), whiten: make([]float64, k*x.Cols*x.Cols), offset: make([]float64, k),
	}
	copy(m.Means.Data, p.Centres.Data)
	e := newExpectation(m, x)
	if _, err := e.run(ctx, p.Labels); err != nil {
		return nil, err
	}
	if err := e.maximise(c.Floor); err != nil {
		return nil, err
	}
	last := math.Inf(-1)
	for m.Iterations < c.Iterations && !m.Converged {
		sum, err := e.run(ctx, nil)
		if err != nil {
			return nil, err
		}
		if err := e.maximise(c.Floor); err != nil {
			return nil, err
		}
		m.Iterations++
		mean := sum / float64(x.Rows)
		m.Converged = math.Abs(mean-last) < c.Tolerance
		last = mean
	}
	sum, err := e.run(ctx, nil)
	if err != nil {
		return nil, err
	}
	m.LogLikelihood = sum
	n := float64(m.parameters())
	m.BIC = n*math.Log(float64(x.Rows)) - 2*sum
	m.AIC = 2*n - 2*sum
	return m, nil
}

// whole says that covariances have more than a diagonal.
func (m *Mixture) whole() bool { return m.Covariance == Full || m.Covariance == Tied }

// parameters is the number of free parameters.
func (m *Mixture) parameters() int {
	k, d := m.Means.Rows, m.Means.Cols
	shape := map[Covariance]int{Full: k * d * (d + 1) / 2, Tied: d * (d + 1) / 2, Diagonal: k * d, Spherical: k}
	return shape[m.Covariance] + k*d + k - 1
}

// Predict is the likeliest component of each row, and how likely it is.
func (m *Mixture) Predict(ctx context.Context, x Matrix) (labels []int32, probability []float64, err error) {
	if err := x.check(); err != nil {
		return nil, nil, err
	}
	if x.Cols != m.Means.Cols {
		return nil, nil, fmt.Errorf("segment: rows of %d features, a mixture of %d", x.Cols, m.Means.Cols)
	}
	labels, probability = make([]int32, x.Rows), make([]float64, x.Rows)
	err = eachBlock(ctx, x.Rows, func(_, from, to int) {
		logs, off := make([]float64, m.Means.Rows), make([]float64, x.Cols)
		for i := from; i < to; i++ {
			total := m.densities(x.Row(i), logs, off)
			best := 0
			for j, l := range logs {
				if l > logs[best] {
					best = j
				}
			}
			labels[i], probability[i] = int32(best), math.Exp(logs[best]-total)
		}
	})
	return labels, probability, err
}

// densities puts the weighted log-density of each component at a row into logs and returns the
// logarithm of their sum. off is room for a row.
func (m *Mixture) densities(row, logs, off []float64) float64 {
	d := len(row)
	most := math.Inf(-1)
	for j := range logs {
		mean, w := m.Means.Row(j), m.whiten[j*d*d:(j+1)*d*d]
		for c, v := range row {
			off[c] = v - mean[c]
		}
		square := 0.0
		if m.whole() {
			for r := range d {
				dot := 0.0
				for c, v := range w[r*d : r*d+r+1] {
					dot += v * off[c]
				}
				square += dot * dot
			}
		} else {
			for r, v := range off {
				v *= w[r*d+r]
				square += v * v
			}
		}
		logs[j] = m.offset[j] - square/2
		most = max(most, logs[j])
	}
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - most)
	}
	return most + math.Log(sum)
}

// factor computes from the weights and covariances what densities needs. A covariance that is
// not positive definite, for the rounding of almost constant features, gets a larger floor.
func (m *Mixture) factor(floor float64) error {
	k, d := m.Means.Rows, m.Means.Cols
	for j := range k {
		v := m.Variances[j*d*d : (j+1)*d*d]
		var root mat.Cholesky
		for extra := floor; !root.Factorize(mat.NewSymDense(d, append([]float64(nil), v...))); extra *= 10 {
			if !(extra < largest) {
				return fmt.Errorf("segment: a component's covariance has no inverse; use fewer components or covariance diag")
			}
			for c := range d {
				v[c*d+c] += extra
			}
		}
		var lower, inverse mat.TriDense
		root.LTo(&lower)
		if err := inverse.InverseTri(&lower); err != nil {
			if _, poor := err.(mat.Condition); !poor {
				return fmt.Errorf("segment: a component's covariance has no inverse: %w", err)
			}
		}
		w := m.whiten[j*d*d : (j+1)*d*d]
		for r := range d {
			for c := range r + 1 {
				w[r*d+c] = inverse.At(r, c)
			}
		}
		m.offset[j] = math.Log(m.Weights[j]) - float64(d)/2*math.Log(2*math.Pi) - root.LogDet()/2
	}
	return nil
}
