package report

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Curve is a series for Line and Step of at most [MaxPoints] points. More are thinned by largest
// triangles: the first and the last point stay, the others are cut into equal runs, and of each
// run stays the point that spans the largest triangle with the point kept before and the mean of
// the run after (Steinarsson, "Downsampling Time Series for Visual Representation", University
// of Iceland 2013, section 4.2: Largest-Triangle-Three-Buckets). Numbers keep ten significant
// digits. x ascends or descends and is as long as y.
func Curve(name string, x, y []float64) Series {
	return pick(name, x, y, triangles(x, y, MaxPoints))
}

// Cloud is a series for Scatter of at most n points, [MaxPoints] if n is zero or larger: of more,
// every k-th stays. Numbers keep ten significant digits. Callers whose order means something
// (such as ascending x) lose nothing; callers with sorted groups sample each on its own.
func Cloud(name string, x, y []float64, n int) Series {
	if n <= 0 || n > MaxPoints {
		n = MaxPoints
	}
	m := min(len(x), len(y))
	kept := make([]int, min(m, n))
	for i := range kept {
		kept[i] = i * m / len(kept)
	}
	return pick(name, x, y, kept)
}

// Binned is a series for Histogram: how many of the values lie in each bin from edges[i]
// (inclusive) to edges[i+1] (exclusive; the last bin has its end too). Values outside all bins
// are counted in none. It fails on fewer than two edges, edges that do not ascend strictly and
// numbers that are not finite.
func Binned(name string, edges, values []float64) (Series, error) {
	if len(edges) < 2 {
		return Series{}, fmt.Errorf("binned: %d edges, at least 2 are needed", len(edges))
	}
	if err := finite(edges, values); err != nil {
		return Series{}, fmt.Errorf("binned: %w", err)
	}
	for i, edge := range edges[1:] {
		if edge <= edges[i] {
			return Series{}, errors.New("binned: edges do not ascend")
		}
	}
	s := Series{Name: name, X: slices.Clone(edges), Y: make([]float64, len(edges)-1)}
	for _, v := range values {
		i, found := slices.BinarySearch(edges, v)
		switch {
		case found && i < len(s.Y):
			s.Y[i]++
		case found: // the end of the last bin
			s.Y[i-1]++
		case i > 0 && i < len(edges):
			s.Y[i-1]++
		}
	}
	return s, nil
}

// Edges returns n+1 edges of equal distance from low to high, for [Binned]. n below 1 is 1;
// equal ends are moved half a unit apart on either side.
func Edges(low, high float64, n int) []float64 {
	if low == high {
		low, high = low-0.5, high+0.5
	}
	n = max(n, 1)
	edges := make([]float64, n+1)
	for i := range edges {
		edges[i] = low + (high-low)*float64(i)/float64(n)
	}
	edges[n] = high
	return edges
}

// pick takes the points at the indexes.
func pick(name string, x, y []float64, indexes []int) Series {
	s := Series{Name: name, X: make([]float64, len(indexes)), Y: make([]float64, len(indexes))}
	for i, at := range indexes {
		s.X[i], s.Y[i] = tenDigits(x[at]), tenDigits(y[at])
	}
	return s
}

// tenDigits drops digits that no picture shows: they are half of a stored card.
func tenDigits(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return v // Validate names it
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 10, 64), 64)
	return rounded
}

// triangles are the indexes of at most n points by largest triangles. Areas are those of points
// scaled by nothing: a common factor of an axis changes every area alike, so the choice does not
// depend on units.
func triangles(x, y []float64, n int) []int {
	m := min(len(x), len(y))
	kept := make([]int, 0, min(m, n))
	if m <= n {
		for i := range m {
			kept = append(kept, i)
		}
		return kept
	}
	runs := n - 2
	start := func(run int) int { return 1 + run*(m-2)/runs }
	kept = append(kept, 0)
	for run := range runs {
		from, to := start(run), start(run+1)
		meanX, meanY := x[m-1], y[m-1]
		if run+1 < runs {
			meanX, meanY = mean(x[to:start(run+2)]), mean(y[to:start(run+2)])
		}
		last := kept[len(kept)-1]
		largest, at := -1.0, from
		for i := from; i < to; i++ {
			area := abs((x[last]-meanX)*(y[i]-y[last]) - (x[last]-x[i])*(meanY-y[last]))
			if area > largest {
				largest, at = area, i
			}
		}
		kept = append(kept, at)
	}
	return append(kept, m-1)
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
