package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Sizes in units of 1/72 inch.
const (
	figureWidth = 720
	squareWidth = 560 // of figures whose axes are alike
	plotHeight  = 270
	titleSize   = 16
	labelSize   = 12
	tickSize    = 11
	captionSize = 12
	longestName = 170  // room for a series's name beside the plot
	textShare   = 0.88 // of the width that lines of text fill, so that a wider font fits too
)

// chart is a figure while it is laid out, from the top down.
type chart struct {
	*drawing
	theme
	figure Figure
	looks  []look
	side   float64 // margin left and right
	top    float64 // of what comes next
	area   box     // between the axes
	x, y   scale
	// Words are placed where few of the dots and none of the taken areas are.
	dots  []point
	taken []box
}

// lay makes a drawing of a figure. A framed one stands alone, with title and caption; a page
// shows those as its own text.
func lay(f Figure, isFramed bool) (*drawing, error) {
	if err := f.Validate(); err != nil {
		return nil, fmt.Errorf("draw figure: %w", err)
	}
	f = cleanFigure(f)
	t := light()
	c := &chart{
		drawing: &drawing{width: figureWidth, ruler: newRuler()},
		theme:   t, figure: f, looks: t.looks(f.Series), side: 2, top: 6,
	}
	if f.Kind == Calibration {
		c.width = squareWidth
	}
	if isFramed {
		c.side, c.top = 24, 22
		for _, line := range c.ruler.wrap(f.Title, titleSize, true, textShare*(c.width-2*c.side), 2) {
			c.words(t.text, point{c.side, c.top + titleSize - 2}, lettering{size: titleSize, isBold: true}, line)
			c.top += 21
		}
		c.top += 8
	}
	switch f.Kind {
	case Bar:
		c.bars()
	case Heat:
		c.heat()
	default:
		c.plot()
	}
	if isFramed {
		c.top += 10
		for _, line := range c.ruler.wrap(f.Caption, captionSize, false, textShare*(c.width-2*c.side), 6) {
			c.words(t.muted, point{c.side, c.top + captionSize}, lettering{size: captionSize}, line)
			c.top += 17
		}
		c.top += 8
	}
	c.height = math.Ceil(c.top + 8)
	return c.drawing, nil
}

// cleanFigure copies the figure with texts that are safe to show and not longer than any room.
func cleanFigure(f Figure) Figure {
	tidy := func(s string) string { return clip(clean(s), 160) }
	all := func(list []string) []string {
		out := slices.Clone(list)
		for i, s := range out {
			out[i] = tidy(s)
		}
		return out
	}
	f.Title, f.Caption = clip(clean(f.Title), 400), clip(clean(f.Caption), 1200)
	f.X.Label, f.Y.Label, f.X.Unit, f.Y.Unit = tidy(f.X.Label), tidy(f.Y.Label), tidy(f.X.Unit), tidy(f.Y.Unit)
	f.X.Categories, f.Y.Categories = all(f.X.Categories), all(f.Y.Categories)
	f.Series, f.References = slices.Clone(f.Series), slices.Clone(f.References)
	for i := range f.Series {
		f.Series[i].Name, f.Series[i].Labels = tidy(f.Series[i].Name), all(f.Series[i].Labels)
	}
	for i := range f.References {
		f.References[i].Label = tidy(f.References[i].Label)
	}
	return f
}

// axisTitle is an axis's label with its unit, unless its ticks show it.
func axisTitle(a Axis) string {
	if a.Unit == "" || a.Unit == Share {
		return a.Label
	}
	return strings.TrimSpace(a.Label + " (" + a.Unit + ")")
}

// topLabel writes the Y axis's title above the plot, where it needs no turned head.
func (c *chart) topLabel() {
	if title := axisTitle(c.figure.Y); title != "" {
		c.words(c.muted, point{c.side, c.top + labelSize}, lettering{size: labelSize}, c.ruler.fit(title, labelSize, false, c.width-2*c.side))
		c.top += 22
	}
}

// legend names the series in one or more rows, for kinds that cannot carry names themselves.
func (c *chart) legend() {
	x, rows := c.side, 0
	for i, s := range c.figure.Series {
		if s.Name == "" {
			continue
		}
		name := c.ruler.fit(s.Name, labelSize, false, 2*longestName)
		w := 17 + c.ruler.width(name, labelSize, false)
		if rows == 0 {
			rows = 1
		} else if x+w > c.width-c.side {
			x, rows = c.side, rows+1
		}
		y := c.top + float64(rows-1)*19
		c.rectangle(c.solid(i), box{x, y + 1, x + 11, y + 12})
		c.words(c.text, point{x + 17, y + 11}, lettering{size: labelSize}, name)
		x += w + 18
	}
	if rows > 0 {
		c.top += float64(rows)*19 + 7
	}
}

// plot lays out the kinds with two number axes.
func (c *chart) plot() {
	f := c.figure
	isSquare := f.Kind == Calibration
	if (f.Kind == Histogram || f.Kind == Stacked) && len(f.Series) > 1 {
		c.legend()
	}
	c.topLabel()
	xs, ys := c.extremes()
	height := float64(plotHeight)
	if isSquare {
		height = 330
		xs = append(xs, ys...)
		ys = xs
		f.Y = squared(f.Y, f.X)
	}
	if f.Kind == Scatter {
		height = 330
	}
	c.area.top, c.area.bottom = c.top+6, c.top+6+height
	c.y = newScale(f.Y, ys, 5, f.Kind == Histogram || f.Kind == Stacked)
	c.y.from, c.y.to = c.area.bottom, c.area.top
	c.area.left = c.side
	for _, t := range c.y.ticks {
		c.area.left = max(c.area.left, c.side+8+c.gap()+c.ruler.width(t.label, tickSize, false))
	}
	names, room := c.endNames()
	c.area.right = c.width - c.side - room
	most := 6
	if f.X.Scale == Time {
		most = 10
	}
	for n := most; n >= 1; n-- { // as many ticks as have room for their labels
		c.x = newScale(f.X, xs, n, false)
		switch {
		case isSquare:
			c.x = c.y
		case f.Kind != Scatter && f.X.Min == nil && f.X.Max == nil && f.X.Scale == Linear:
			c.x.low, c.x.high = tight(c.x, xs, f.X.Unit == Share)
			c.x.ticks = slices.DeleteFunc(c.x.ticks, func(t tick) bool { return t.value < c.x.low || t.value > c.x.high })
		}
		c.x.from, c.x.to = c.area.left, c.area.right
		if c.hasRoom() {
			break
		}
	}
	c.axes()
	switch f.Kind {
	case Line, Step:
		c.lines()
	case Scatter:
		c.scatter()
	case Histogram:
		c.histogram()
	case Stacked:
		c.stacked()
	case Calibration:
		c.calibration()
	}
	c.references()
	if f.Kind == Scatter {
		c.nameClouds()
	} else {
		c.nameEnds(names)
	}
}

// tight are the ends of an X axis without the empty room that round numbers leave, except for
// what shows that it starts at zero, or reaches from 0 to 100%.
func tight(s scale, xs []float64, isShare bool) (low, high float64) {
	low, high = slices.Min(xs), slices.Max(xs)
	switch {
	case low == high, isShare && s.low == 0 && s.high == 1:
		return s.low, s.high
	case s.low == 0 && low < 0.1*(high-low):
		low = 0
	}
	return low, high
}

// squared gives an axis the fixed ends of the other one where it has none itself.
func squared(a, other Axis) Axis {
	if a.Min == nil {
		a.Min = other.Min
	}
	if a.Max == nil {
		a.Max = other.Max
	}
	return a
}

// extremes are the values that the axes have to reach.
func (c *chart) extremes() (xs, ys []float64) {
	for _, s := range c.figure.Series {
		xs = append(xs, s.X...)
		if n := len(s.X); (c.figure.Kind == Step || c.figure.Kind == Stacked) && n > 1 {
			xs = append(xs, 2*s.X[n-1]-s.X[n-2])
		}
		ys = append(append(append(ys, s.Y...), s.Low...), s.High...)
	}
	if c.figure.Kind == Stacked {
		ys = append(ys, totals(c.figure.Series)...)
	}
	for _, r := range c.figure.References {
		switch {
		case r.Kind == Vertical && !(c.figure.X.Scale == Log && r.At <= 0):
			xs = append(xs, r.At)
		case r.Kind == Horizontal && !(c.figure.Y.Scale == Log && r.At <= 0):
			ys = append(ys, r.At)
		}
	}
	// A reference at the top needs room for its words above it.
	if low, high := slices.Min(ys), slices.Max(ys); c.figure.Y.Scale == Linear {
		for _, r := range c.figure.References {
			if r.Kind == Horizontal && r.At == high {
				ys = append(ys, high+0.09*(high-min(low, 0)))
			}
		}
	}
	return xs, ys
}

// hasRoom reports whether the labels of the X axis keep apart.
func (c *chart) hasRoom() bool {
	before := math.Inf(-1)
	for _, t := range c.x.ticks {
		half := c.tickWidth(t.label) / 2
		at := c.x.at(t.value)
		if at-half < before+14 {
			return false
		}
		before = at + half
	}
	return true
}

func (c *chart) tickWidth(label string) float64 {
	w := 0.0
	for line := range strings.SplitSeq(label, "\n") {
		w = max(w, c.ruler.width(line, tickSize, false))
	}
	return w
}

// gap is additional room between the plot and the labels of its ticks.
func (c *chart) gap() float64 {
	if c.figure.Kind == Calibration { // whose largest dots may lie on the corner
		return 5
	}
	return 0
}

// axes draws grid, ticks and the X axis's title, and moves on below them.
func (c *chart) axes() {
	gap := c.gap()
	for _, t := range c.y.ticks {
		y := c.y.at(t.value)
		c.line(c.grid, 1, nil, point{c.area.left, y}, point{c.area.right, y})
		c.words(c.muted, point{c.area.left - 8 - gap, y + 0.36*tickSize}, lettering{size: tickSize, anchor: end}, t.label)
	}
	lines := 1
	for _, t := range c.x.ticks {
		x := c.x.at(t.value)
		if c.figure.Kind == Scatter || c.figure.Kind == Calibration {
			c.line(c.grid, 1, nil, point{x, c.area.top}, point{x, c.area.bottom})
		}
		c.line(c.axis, 1, nil, point{x, c.area.bottom}, point{x, c.area.bottom + 4})
		for i, line := range strings.Split(t.label, "\n") {
			w := c.ruler.width(line, tickSize, false) / 2
			x := min(max(x, c.side+w), c.width-c.side-w) // the outermost labels stay on the paper
			c.words(c.muted, point{x, c.area.bottom + 17 + gap + 14*float64(i)}, lettering{size: tickSize, anchor: middle}, line)
			lines = max(lines, i+1)
		}
	}
	c.line(c.axis, 1, nil, point{c.area.left, c.area.bottom}, point{c.area.right, c.area.bottom})
	c.top = c.area.bottom + 8 + gap + 14*float64(lines)
	if title := axisTitle(c.figure.X); title != "" {
		c.words(c.muted, point{(c.area.left + c.area.right) / 2, c.top + 15}, lettering{size: labelSize, anchor: middle}, c.ruler.fit(title, labelSize, false, c.area.width()))
		c.top += 20
	}
}

// name is a label beside a line.
type name struct {
	series int
	lines  []string
	at     point // where on its line it belongs
	y      float64
}

func (n name) height() float64 { return 15 * float64(len(n.lines)) }

// nameGap is the room between the plot and the names, for a hair line or a sample of the line.
const nameGap = 30

// endNames are the names beside the plot and the room they need; several series only, one needs
// no telling apart.
func (c *chart) endNames() (names []name, room float64) {
	room = 14
	if len(c.figure.Series) < 2 || c.figure.Kind == Scatter || c.figure.Kind == Histogram || c.figure.Kind == Stacked {
		return nil, room
	}
	for i, s := range c.figure.Series {
		n := name{series: i, lines: c.ruler.wrap(s.Name, labelSize, true, longestName, 2)}
		if len(n.lines) == 0 {
			continue
		}
		for _, line := range n.lines {
			room = max(room, nameGap+c.ruler.width(line, labelSize, true))
		}
		names = append(names, n)
	}
	return names, room
}

// nameEnds writes the names beside the plot: each at the height of its line's end, with a hair
// line to it; or, where the ends lie too close together to tell, at the heights where the lines
// are furthest apart, with a sample of the line.
func (c *chart) nameEnds(names []name) {
	if len(names) == 0 {
		return
	}
	height := 0.0
	for i := range names {
		s := c.figure.Series[names[i].series]
		last := 0
		for k := range s.X {
			if s.X[k] >= s.X[last] {
				last = k
			}
		}
		names[i].at = c.inside(point{c.x.at(s.X[last]), c.y.at(s.Y[last])})
		height += names[i].height()
	}
	top, bottom := spread(names)
	areEndsClose := len(names) > 2 && bottom-top < 0.5*(height-15)
	if areEndsClose {
		c.furthest(names)
	}
	slices.SortStableFunc(names, func(a, b name) int { return cmp.Compare(a.at.y, b.at.y) })
	apart(names, c.area.top-4, c.area.bottom+4)
	x := c.area.right + nameGap
	for _, n := range names {
		c.top = max(c.top, n.y+n.height()/2+4) // more names than the plot is high
		l := c.looks[n.series]
		if areEndsClose {
			y := n.y - n.height()/2 + 7.5
			c.line(l.line, l.width, l.dash, point{c.area.right + 8, y}, point{x - 5, y})
		} else {
			c.line(l.line.faded(0.7), 0.75, nil, n.at, point{c.area.right + 6, n.at.y}, point{x - 8, n.y}, point{x - 4, n.y})
		}
		for i, line := range n.lines {
			c.words(l.word, point{x, n.y - n.height()/2 + 15*float64(i) + 11.5}, lettering{size: labelSize, isBold: !c.figure.Series[n.series].IsBaseline}, line)
		}
	}
}

// spread is from where to where the names belong.
func spread(names []name) (top, bottom float64) {
	top, bottom = names[0].at.y, names[0].at.y
	for _, n := range names {
		top, bottom = min(top, n.at.y), max(bottom, n.at.y)
	}
	return top, bottom
}

// furthest moves the names' places to where the lines lie furthest apart.
func (c *chart) furthest(names []name) {
	best, at := -1.0, 0.0
	tried := slices.Clone(names)
	place := func(x float64) {
		for i := range tried {
			tried[i].at.y = c.inside(point{x, height(c.places(c.figure.Series[tried[i].series].X, c.figure.Series[tried[i].series].Y), x)}).y
		}
	}
	for step := range 32 {
		x := c.area.left + c.area.width()*float64(step)/31
		place(x)
		slices.SortFunc(tried, func(a, b name) int { return cmp.Compare(a.at.y, b.at.y) })
		least := math.Inf(1)
		for i := 1; i < len(tried); i++ {
			least = min(least, tried[i].at.y-tried[i-1].at.y)
		}
		if least > best {
			best, at = least, x
		}
	}
	copy(tried, names)
	place(at)
	copy(names, tried)
}

// height is where a line passes x, or its nearest end.
func height(points []point, x float64) float64 {
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		if min(a.x, b.x) <= x && x <= max(a.x, b.x) {
			if a.x == b.x {
				return a.y
			}
			return a.y + (x-a.x)/(b.x-a.x)*(b.y-a.y)
		}
	}
	first, last := points[0], points[len(points)-1]
	if abs(first.x-x) < abs(last.x-x) {
		return first.y
	}
	return last.y
}

// apart moves names, which are in order from the top, so that none meets another: groups of
// names that would meet lie around the mean of where they belong.
func apart(names []name, top, bottom float64) {
	type group struct {
		first, last  int
		height, want float64 // want is the sum of the wanted tops of the group
	}
	var groups []group
	position := func(g group) float64 {
		y := g.want / float64(g.last-g.first+1)
		return max(min(y, bottom-g.height), top)
	}
	for i, n := range names {
		groups = append(groups, group{i, i, n.height(), n.at.y - n.height()/2})
		for len(groups) > 1 {
			a, b := groups[len(groups)-2], groups[len(groups)-1]
			if position(a)+a.height <= position(b) {
				break
			}
			merged := group{a.first, b.last, a.height + b.height, a.want + b.want - float64(b.last-b.first+1)*a.height}
			groups = append(groups[:len(groups)-2], merged)
		}
	}
	for _, g := range groups {
		y := position(g)
		for i := g.first; i <= g.last; i++ {
			names[i].y = y + names[i].height()/2
			y += names[i].height()
		}
	}
}

// free picks the candidate that covers least: other words count most, then data.
func (c *chart) free(candidates []box) box {
	best, least := candidates[0], math.MaxInt
	for _, b := range candidates {
		cost := 0
		for _, t := range c.taken {
			if b.meets(t) {
				cost += 10_000
			}
		}
		for _, p := range c.dots {
			if b.holds(p) {
				cost++
			}
		}
		if b.left < c.area.left || b.right > c.area.right || b.top < c.area.top-4 || b.bottom > c.area.bottom {
			cost += 1_000
		}
		if cost < least {
			best, least = b, cost
		}
	}
	c.taken = append(c.taken, best)
	return best
}

// references draws the lines to read the series against, with their words where there is room.
func (c *chart) references() {
	for _, r := range c.figure.References {
		label := c.ruler.fit(r.Label, tickSize, false, min(260, c.area.width()-16))
		w := c.ruler.width(label, tickSize, false)
		var a, b point
		var candidates []box
		around := func(left, top float64) {
			left = max(min(left, c.area.right-w-4), c.area.left+4)
			candidates = append(candidates, box{left - 2, top, left + w + 2, top + 15})
		}
		switch r.Kind {
		case Horizontal:
			if r.At < c.y.low || r.At > c.y.high {
				continue
			}
			y := c.y.at(r.At)
			a, b = point{c.area.left, y}, point{c.area.right, y}
			for _, way := range []float64{1, 0, 0.5, 0.75, 0.25} {
				left := c.area.left + 6 + way*(c.area.width()-12-w)
				around(left, y-18)
				around(left, y+3)
			}
		case Vertical:
			if r.At < c.x.low || r.At > c.x.high {
				continue
			}
			x := c.x.at(r.At)
			a, b = point{x, c.area.top}, point{x, c.area.bottom}
			for _, way := range []float64{0, 0.15, 0.3, 0.5, 0.7, 0.9} {
				top := c.area.top + 2 + way*(c.area.height()-20)
				around(x+7, top)
				around(x-7-w, top)
			}
		case Diagonal:
			low, high := max(c.x.low, c.y.low), min(c.x.high, c.y.high)
			if low >= high {
				continue
			}
			a, b = point{c.x.at(low), c.y.at(low)}, point{c.x.at(high), c.y.at(high)}
			for _, way := range []float64{0.75, 0.6, 0.45, 0.3, 0.88} {
				x, y := a.x+way*(b.x-a.x), a.y+way*(b.y-a.y)
				around(x+7, y+2)
				around(x-7-w, y-16)
			}
		}
		c.line(c.muted, 1, []float64{2, 3}, a, b)
		if label != "" {
			at := c.free(candidates)
			c.words(c.muted, point{at.left + 2, at.top + 11.5}, lettering{size: tickSize, hasHalo: true}, label)
		}
	}
}
