package report

import (
	"math"
	"slices"
)

// places maps a series' points, without those that a scale cannot show.
func (c *chart) places(xs, ys []float64) []point {
	out := make([]point, len(xs))
	for i := range xs {
		out[i] = point{c.x.at(xs[i]), c.y.at(ys[i])}
	}
	return out
}

// within draws the parts of a line that lie on the plot; an axis with fixed ends may cut it.
func (c *chart) within(i ink, width float64, dash []float64, points []point) {
	var run []point
	flush := func() {
		if len(run) > 1 {
			c.line(i, width, dash, run...)
		}
		run = nil
	}
	if len(points) == 1 && c.area.holds(points[0]) {
		c.circle(i, points[0], 3.5)
	}
	for k := 1; k < len(points); k++ {
		a, b, ok := cut(points[k-1], points[k], c.area)
		if !ok {
			flush()
			continue
		}
		if len(run) == 0 || run[len(run)-1] != a {
			flush()
			run = append(run, a)
		}
		run = append(run, b)
		if b != points[k] {
			flush()
		}
	}
	flush()
}

// cut is the part of a straight line inside a box (Liang and Barsky, ACM TOG 3(1), 1984).
func cut(a, b point, area box) (point, point, bool) {
	from, to := 0.0, 1.0
	dx, dy := b.x-a.x, b.y-a.y
	for _, side := range [4][2]float64{
		{-dx, a.x - area.left}, {dx, area.right - a.x}, {-dy, a.y - area.top}, {dy, area.bottom - a.y},
	} {
		p, q := side[0], side[1]
		// A point on the edge must not fall outside by the last bit.
		if q < 0 && q > -1e-6 {
			q = 0
		}
		switch {
		case p == 0 && q < 0:
			return a, b, false
		case p < 0:
			from = max(from, q/p)
		case p > 0:
			to = min(to, q/p)
		}
	}
	if from > to {
		return a, b, false
	}
	first, last := a, b
	if from > 0 {
		first = point{a.x + from*dx, a.y + from*dy}
	}
	if to < 1 {
		last = point{a.x + to*dx, a.y + to*dy}
	}
	return first, last, true
}

// inside moves a point to the nearest one on the plot.
func (c *chart) inside(p point) point {
	return point{min(max(p.x, c.area.left), c.area.right), min(max(p.y, c.area.top), c.area.bottom)}
}

func stairs(points []point, end float64) []point {
	var out []point
	for i, p := range points {
		if i > 0 {
			out = append(out, point{p.x, points[i-1].y})
		}
		out = append(out, p)
	}
	return append(out, point{end, points[len(points)-1].y})
}

// lines draws Line and Step: bands first, baselines below the others.
func (c *chart) lines() {
	path := func(s Series, ys []float64) []point {
		points := c.places(s.X, ys)
		if n := len(points); c.figure.Kind == Step && n > 1 {
			points = stairs(points, 2*points[n-1].x-points[n-2].x)
		}
		return points
	}
	for i, s := range c.figure.Series {
		if s.Low == nil {
			continue
		}
		band := path(s, s.High)
		back := path(s, s.Low)
		slices.Reverse(back)
		band = append(band, back...)
		for k, p := range band {
			band[k] = c.inside(p)
		}
		c.polygon(c.looks[i].line.faded(0.16), band...)
	}
	for _, isBaseline := range []bool{true, false} {
		for i, s := range c.figure.Series {
			if s.IsBaseline != isBaseline {
				continue
			}
			points := path(s, s.Y)
			width := c.looks[i].width
			if c.figure.Kind == Step && len(points) > 200 {
				width = 1.25
			}
			c.within(c.looks[i].line, width, c.looks[i].dash, points)
			c.dots = append(c.dots, along(points)...)
		}
	}
}

// along are points of a line close enough together to tell which words it would cross.
func along(points []point) []point {
	var out []point
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		n := min(int(math.Hypot(b.x-a.x, b.y-a.y)/6)+1, 200)
		for k := range n {
			way := float64(k) / float64(n)
			out = append(out, point{a.x + way*(b.x-a.x), a.y + way*(b.y-a.y)})
		}
	}
	return append(out, points[len(points)-1])
}

// scatter draws small dots for many points and larger ones for few.
func (c *chart) scatter() {
	total := 0
	for _, s := range c.figure.Series {
		total += len(s.X)
	}
	radius, opacity := 4.0, 0.8
	switch {
	case total > 2000:
		radius, opacity = 1.8, 0.45
	case total > 300:
		radius, opacity = 2.4, 0.55
	}
	for i, s := range c.figure.Series {
		width := 0.0
		if c.looks[i].dash != nil { // the palette's second turn
			width = 1.25
		}
		for _, p := range c.places(s.X, s.Y) {
			if c.area.holds(p) {
				c.circle(c.looks[i].line.faded(opacity), p, radius)
				c.marks[len(c.marks)-1].width = width
				c.dots = append(c.dots, p)
			}
		}
	}
}

// nameClouds writes each series's name near its middle, off the other names.
func (c *chart) nameClouds() {
	if len(c.figure.Series) < 2 {
		return
	}
	for i, s := range c.figure.Series {
		if s.Name == "" {
			continue
		}
		points := c.places(s.X, s.Y)
		mid := c.inside(point{median(points, func(p point) float64 { return p.x }), median(points, func(p point) float64 { return p.y })})
		name := c.ruler.fit(s.Name, labelSize, true, 240)
		w := c.ruler.width(name, labelSize, true)
		var candidates []box
		for _, dy := range []float64{0, -16, 16, -32, 32, -48, 48, -64, 64} {
			left := min(max(mid.x-w/2, c.area.left+2), c.area.right-w-2)
			top := min(max(mid.y+dy-8, c.area.top+1), c.area.bottom-16)
			candidates = append(candidates, box{left, top, left + w, top + 15})
		}
		// Names lie on their own dots, so only other names count.
		dots := c.dots
		c.dots = nil
		at := c.free(candidates)
		c.dots = dots
		c.words(c.looks[i].word, point{at.left, at.top + 12}, lettering{size: labelSize, isBold: true, hasHalo: true}, name)
	}
}

func median(points []point, of func(point) float64) float64 {
	values := make([]float64, len(points))
	for i, p := range points {
		values[i] = of(p)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// histogram draws one series as bars, several as outlines over faint areas.
func (c *chart) histogram() {
	zero := min(max(c.y.at(0), c.area.top), c.area.bottom)
	for i, s := range c.figure.Series {
		points := c.places(s.X[:len(s.Y)], s.Y)
		right := c.x.at(s.X[len(s.Y)])
		for k, p := range points {
			next := right
			if k+1 < len(points) {
				next = points[k+1].x
			}
			a, b := c.inside(point{p.x, p.y}), c.inside(point{next, zero})
			bar := box{a.x, min(a.y, b.y), b.x, max(a.y, b.y)}
			if len(c.figure.Series) == 1 {
				if bar.width() > 4 {
					bar.left, bar.right = bar.left+0.5, bar.right-0.5
				}
				c.rectangle(c.looks[i].line, bar)
			} else {
				c.rectangle(c.looks[i].line.faded(0.18), bar)
			}
			c.dots = append(c.dots, along([]point{{a.x, a.y}, {b.x, a.y}})...)
		}
		if len(c.figure.Series) > 1 {
			c.outline(i, points, right, zero)
		}
	}
}

// outline draws the stairs of a histogram's series where it is not empty.
func (c *chart) outline(series int, points []point, right, zero float64) {
	l := c.looks[series]
	for first := 0; first < len(points); first++ {
		if abs(points[first].y-zero) < 1e-9 {
			continue
		}
		last := first
		for last < len(points) && abs(points[last].y-zero) >= 1e-9 {
			last++
		}
		end := right
		if last < len(points) {
			end = points[last].x
		}
		path := append([]point{{points[first].x, zero}}, stairs(points[first:last], end)...)
		c.within(l.line, 1.75, l.dash, append(path, point{end, zero}))
		first = last
	}
}

// calibration draws the diagonal, error bars, and dots whose area grows with what is behind
// them.
func (c *chart) calibration() {
	low, high := max(c.x.low, c.y.low), min(c.x.high, c.y.high)
	if low < high && !slices.ContainsFunc(c.figure.References, func(r Reference) bool { return r.Kind == Diagonal }) {
		c.figure.References = append(slices.Clone(c.figure.References), Reference{Kind: Diagonal, Label: "as predicted"})
	}
	largest := 1.0
	for _, s := range c.figure.Series {
		for _, n := range s.N {
			largest = max(largest, n)
		}
	}
	for i, s := range c.figure.Series {
		points := c.places(s.X, s.Y)
		c.within(c.looks[i].line.faded(0.7), 1.25, c.looks[i].dash, points)
		for k, p := range points {
			if s.Low != nil {
				c.within(c.looks[i].line, 1.25, nil, []point{{p.x, c.y.at(s.Low[k])}, {p.x, c.y.at(s.High[k])}})
			}
			radius := 4.0
			if s.N != nil {
				radius = 2.5 + 6*math.Sqrt(max(s.N[k], 0)/largest)
			}
			if c.area.holds(p) {
				c.circle(c.looks[i].line.faded(0.85), p, radius)
			}
		}
		c.dots = append(c.dots, along(points)...)
	}
}
