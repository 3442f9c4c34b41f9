package report

import (
	"strings"
)

const (
	barGap      = 0.28 // share of a group's room that stays empty
	mostValues  = 26   // bars whose values are written
	longestSide = 210  // room for a category's name beside lying bars
)

// bars lays out a Bar: upright if the categories' names fit below, else lying.
func (c *chart) bars() {
	f := c.figure
	if len(f.Series) > 1 {
		c.legend()
	}
	var values []float64
	for _, s := range f.Series {
		values = append(append(append(values, s.Y...), s.Low...), s.High...)
	}
	for _, r := range f.References {
		if r.Kind == Horizontal {
			values = append(values, r.At)
		}
	}
	c.y = newScale(f.Y, values, 5, true)
	if wrapped, ok := c.upright(); ok {
		c.uprightBars(wrapped)
	} else {
		c.lyingBars()
	}
}

// barValues are what the bars say, nil if there are too many bars for words.
func (c *chart) barValues() [][]string {
	if len(c.figure.Series)*len(c.figure.X.Categories) > mostValues {
		return nil
	}
	var all []float64
	for _, s := range c.figure.Series {
		all = append(all, s.Y...)
	}
	unit, digits := "", 3
	if c.figure.Y.Unit == Share {
		unit, digits = Share, 4
	}
	texts := amounts(unit, digits, all...)
	out := make([][]string, len(c.figure.Series))
	for i, s := range c.figure.Series {
		out[i], texts = texts[:len(s.Y)], texts[len(s.Y):]
		for k := range out[i] {
			out[i][k] = minus(out[i][k])
		}
	}
	return out
}

// upright wraps the categories' names to the room below upright bars, and says whether they fit
// in two lines without loss, and the values above the bars.
func (c *chart) upright() ([][]string, bool) {
	n := len(c.figure.X.Categories)
	slot := (c.width - 2*c.side - 50) / float64(n)
	out := make([][]string, n)
	for i, name := range c.figure.X.Categories {
		out[i] = c.ruler.wrap(name, tickSize, false, slot-8, 2)
		if strings.Join(out[i], " ") != strings.Join(strings.Fields(name), " ") {
			return nil, false
		}
	}
	bar := slot * (1 - barGap) / float64(len(c.figure.Series))
	for _, texts := range c.barValues() {
		for _, text := range texts {
			if c.ruler.width(text, tickSize, false) > bar-2 && len(c.figure.Series) > 1 || c.ruler.width(text, tickSize, false) > slot-2 {
				return nil, false
			}
		}
	}
	return out, true
}

func (c *chart) uprightBars(names [][]string) {
	f := c.figure
	c.topLabel()
	c.area = box{c.side, c.top + 16, c.width - c.side - 14, c.top + 16 + plotHeight}
	for _, t := range c.y.ticks {
		c.area.left = max(c.area.left, c.side+8+c.ruler.width(t.label, tickSize, false))
	}
	c.y.from, c.y.to = c.area.bottom, c.area.top
	for _, t := range c.y.ticks {
		y := c.y.at(t.value)
		c.line(c.grid, 1, nil, point{c.area.left, y}, point{c.area.right, y})
		c.words(c.muted, point{c.area.left - 8, y + 0.36*tickSize}, lettering{size: tickSize, anchor: end}, t.label)
	}
	slot := c.area.width() / float64(len(names))
	bar := min(slot*(1-barGap)/float64(len(f.Series)), 64)
	texts := c.barValues()
	zero := c.inside(point{0, c.y.at(0)}).y
	for i, s := range f.Series {
		for k, v := range s.Y {
			mid := c.area.left + (float64(k)+0.5)*slot
			left := mid + (float64(i)-float64(len(f.Series))/2)*bar
			tip := c.inside(point{left, c.y.at(v)}).y
			c.rectangle(c.solid(i), box{left + 0.5, min(tip, zero), left + bar - 0.5, max(tip, zero)})
			x, above := left+bar/2, min(tip, zero)
			if s.Low != nil {
				low, high := c.inside(point{x, c.y.at(s.Low[k])}).y, c.inside(point{x, c.y.at(s.High[k])}).y
				c.line(c.text, 1.25, nil, point{x, low}, point{x, high})
				above = min(above, high)
			}
			if texts != nil {
				at := point{x, above - 5}
				if v < 0 {
					at.y = max(tip, zero) + 13
				}
				c.words(c.text, at, lettering{size: tickSize, anchor: middle, hasHalo: true}, texts[i][k])
			}
		}
	}
	c.line(c.axis, 1, nil, point{c.area.left, zero}, point{c.area.right, zero})
	lines := 1
	for k, name := range names {
		for i, line := range name {
			c.words(c.muted, point{c.area.left + (float64(k)+0.5)*slot, c.area.bottom + 17 + 14*float64(i)}, lettering{size: tickSize, anchor: middle}, line)
			lines = max(lines, i+1)
		}
	}
	c.top = c.area.bottom + 12 + 14*float64(lines)
	if title := axisTitle(f.X); title != "" {
		c.words(c.muted, point{(c.area.left + c.area.right) / 2, c.top + 15}, lettering{size: labelSize, anchor: middle}, c.ruler.fit(title, labelSize, false, c.area.width()))
		c.top += 20
	}
	c.references()
}

func (c *chart) lyingBars() {
	f := c.figure
	if title := axisTitle(f.X); title != "" { // the categories' axis is the upright one here
		c.words(c.muted, point{c.side, c.top + labelSize}, lettering{size: labelSize}, c.ruler.fit(title, labelSize, false, c.width-2*c.side))
		c.top += 22
	}
	bar := 15.0
	if len(f.Series) == 1 {
		bar = 18
	}
	slot := bar*float64(len(f.Series)) + 10
	side := 0.0
	for _, name := range f.X.Categories {
		side = max(side, min(c.ruler.width(name, labelSize, false), longestSide))
	}
	texts := c.barValues()
	room := 14.0
	for _, list := range texts {
		for _, text := range list {
			room = max(room, 10+c.ruler.width(text, tickSize, false))
		}
	}
	c.area = box{c.side + side + 10, c.top + 4, c.width - c.side - room, c.top + 8 + slot*float64(len(f.X.Categories))}
	c.y.from, c.y.to = c.area.left, c.area.right
	for _, t := range c.y.ticks {
		x := c.y.at(t.value)
		c.line(c.grid, 1, nil, point{x, c.area.top}, point{x, c.area.bottom})
		c.words(c.muted, point{x, c.area.bottom + 16}, lettering{size: tickSize, anchor: middle}, t.label)
	}
	zero := min(max(c.y.at(0), c.area.left), c.area.right)
	across := func(v float64) float64 { return min(max(c.y.at(v), c.area.left), c.area.right) }
	for k, name := range f.X.Categories {
		top := c.area.top + 2 + float64(k)*slot + 5
		mid := top + bar*float64(len(f.Series))/2
		lines := c.ruler.wrap(name, labelSize, false, side, 2)
		for i, line := range lines {
			y := mid + 0.36*labelSize + 13*(float64(i)-float64(len(lines)-1)/2)
			c.words(c.text, point{c.area.left - 10, y}, lettering{size: labelSize, anchor: end}, line)
		}
		for i, s := range f.Series {
			v := s.Y[k]
			tip := across(v)
			y := top + float64(i)*bar
			c.rectangle(c.solid(i), box{min(tip, zero), y + 0.5, max(tip, zero), y + bar - 0.5})
			right := max(tip, zero)
			if s.Low != nil {
				low, high := across(s.Low[k]), across(s.High[k])
				c.line(c.text, 1.25, nil, point{low, y + bar/2}, point{high, y + bar/2})
				right = max(right, high)
			}
			if texts != nil {
				c.words(c.text, point{right + 5, y + bar/2 + 0.36*tickSize}, lettering{size: tickSize, hasHalo: true}, texts[i][k])
			}
		}
	}
	c.line(c.axis, 1, nil, point{zero, c.area.top}, point{zero, c.area.bottom})
	for _, r := range f.References {
		if r.Kind != Horizontal || r.At < c.y.low || r.At > c.y.high {
			continue
		}
		x := c.y.at(r.At)
		c.line(c.muted, 1, []float64{2, 3}, point{x, c.area.top}, point{x, c.area.bottom})
		label := c.ruler.fit(r.Label, tickSize, false, c.area.width()/2)
		w := c.ruler.width(label, tickSize, false)
		c.words(c.muted, point{min(max(x-w/2, c.area.left), c.area.right-w), c.area.top - 3}, lettering{size: tickSize, hasHalo: true}, label)
	}
	c.top = c.area.bottom + 22
	if title := axisTitle(f.Y); title != "" {
		c.words(c.muted, point{(c.area.left + c.area.right) / 2, c.top + 13}, lettering{size: labelSize, anchor: middle}, c.ruler.fit(title, labelSize, false, c.area.width()))
		c.top += 18
	}
}

// totals are the heights of the stacks.
func totals(series []Series) []float64 {
	out := make([]float64, len(series[0].Y))
	for _, s := range series {
		for i, v := range s.Y {
			out[i] += v
		}
	}
	return out
}

// stacked draws the series on top of each other, the first at the bottom. In the palette's second
// turn bars are paler.
func (c *chart) stacked() {
	base := make([]float64, len(c.figure.Series[0].Y))
	for i, s := range c.figure.Series {
		for k, v := range s.Y {
			next := 0.0
			switch {
			case k+1 < len(s.X):
				next = s.X[k+1]
			case k > 0:
				next = 2*s.X[k] - s.X[k-1]
			default:
				next = c.x.high
			}
			low, high := c.inside(point{c.x.at(s.X[k]), c.y.at(base[k])}), c.inside(point{c.x.at(next), c.y.at(base[k] + v)})
			base[k] += v
			if gap := min(1.5, (high.x-low.x)*0.15); v > 0 && high.x > low.x {
				c.rectangle(c.solid(i), box{low.x + gap/2, high.y, high.x - gap/2, low.y})
				c.dots = append(c.dots, point{(low.x + high.x) / 2, high.y})
			}
		}
	}
}

// solid is the ink of a series's bars: paler in the palette's second turn, and for each further
// baseline.
func (c *chart) solid(series int) ink {
	l, baselines := c.looks[series], 0
	for _, s := range c.figure.Series[:series] {
		if s.IsBaseline {
			baselines++
		}
	}
	switch isBaseline := c.figure.Series[series].IsBaseline; {
	case isBaseline && baselines > 0:
		return l.line.faded(1 / float64(1+baselines))
	case !isBaseline && l.dash != nil:
		return l.line.faded(0.5)
	}
	return l.line
}
