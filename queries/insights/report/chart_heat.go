package report

import "strings"

// heat lays out a Heat: rows from the top, columns in the order of the categories. A cell's
// colour is its value's share of the largest magnitude in the table.
func (c *chart) heat() {
	f := c.figure
	columns := f.X.Categories
	side := 0.0
	for _, s := range f.Series {
		side = max(side, min(c.ruler.width(s.Name, labelSize, false), longestSide))
	}
	if title := axisTitle(f.X); title != "" {
		c.words(c.muted, point{c.side + side + 10, c.top + labelSize}, lettering{size: labelSize}, c.ruler.fit(title, labelSize, false, c.width-2*c.side-side-10))
		c.top += 20
	}
	c.area = box{left: c.side + side + 10, right: c.width - c.side}
	slot := min(c.area.width()/float64(len(columns)), 150)
	c.area.right = c.area.left + slot*float64(len(columns))
	header := c.columnNames(columns, slot)
	if title := axisTitle(f.Y); title != "" {
		c.words(c.muted, point{c.side, header - 6}, lettering{size: labelSize}, c.ruler.fit(title, labelSize, false, side+4))
	}
	c.area.top = header
	const row = 30.0
	largest := 0.0
	for _, s := range f.Series {
		for _, v := range s.Y {
			largest = max(largest, abs(v))
		}
	}
	texts := c.cells(slot)
	for i, s := range f.Series {
		top := header + float64(i)*row
		lines := c.ruler.wrap(s.Name, labelSize, false, side, 2)
		for i, line := range lines {
			y := top + row/2 + 0.36*labelSize + 13*(float64(i)-float64(len(lines)-1)/2)
			c.words(c.text, point{c.area.left - 10, y}, lettering{size: labelSize, anchor: end}, line)
		}
		for k, v := range s.Y {
			way := 0.0
			if largest > 0 {
				way = v / largest
			}
			cell, letters := shade(way)
			left := c.area.left + float64(k)*slot
			gap := min(1, slot/12)
			c.rectangle(ink{color: cell}, box{left + gap, top + 1, left + slot - gap, top + row - 1})
			if texts != nil {
				c.words(ink{color: letters}, point{left + slot/2, top + row/2 + 0.36*labelSize}, lettering{size: labelSize, anchor: middle}, texts[i][k])
			}
		}
	}
	c.area.bottom = header + row*float64(len(f.Series))
	c.top = c.area.bottom + 6
}

// columnNames writes the names above the columns, upright if they do not fit into two lines, and
// returns where the cells begin.
func (c *chart) columnNames(columns []string, slot float64) float64 {
	const most = 3
	wrapped := make([][]string, len(columns))
	lines, isTight := 1, false
	for i, name := range columns {
		wrapped[i] = c.ruler.wrap(name, tickSize, false, slot-6, most)
		lines = max(lines, len(wrapped[i]))
		isTight = isTight || strings.Join(wrapped[i], " ") != strings.Join(strings.Fields(name), " ")
	}
	if !isTight {
		bottom := c.top + 14*float64(lines) + 4
		for i, name := range wrapped {
			for k, line := range name {
				y := bottom - 6 - 14*float64(len(name)-1-k)
				c.words(c.muted, point{c.area.left + (float64(i)+0.5)*slot, y}, lettering{size: tickSize, anchor: middle}, line)
			}
		}
		return bottom
	}
	const longest = 130.0
	height := 0.0
	for i, name := range columns {
		columns[i] = c.ruler.fit(name, tickSize, false, longest)
		height = max(height, c.ruler.width(columns[i], tickSize, false))
	}
	bottom := c.top + height + 8
	for i, name := range columns {
		c.words(c.muted, point{c.area.left + (float64(i)+0.5)*slot + 0.36*tickSize, bottom - 5}, lettering{size: tickSize, isUpright: true}, name)
	}
	return bottom
}

// cells are what the cells say, nil if one has no room for it.
func (c *chart) cells(slot float64) [][]string {
	out := make([][]string, len(c.figure.Series))
	for i, s := range c.figure.Series {
		out[i] = make([]string, len(s.Y))
		for k, v := range s.Y {
			if s.Labels != nil {
				out[i][k] = c.ruler.fit(minus(s.Labels[k]), labelSize, false, slot-4)
			} else {
				out[i][k] = minus(short(c.figure.Y.Unit, v))
			}
			if s.Labels == nil && c.ruler.width(out[i][k], labelSize, false) > slot-4 {
				return nil
			}
		}
	}
	return out
}
