package report

import (
	"sort"
	"strings"
	"sync"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/vg"

	xfont "golang.org/x/image/font"
)

// point is a place on a drawing, in units of 1/72 inch from its top left corner.
type point struct{ x, y float64 }

// box is an area of a drawing.
type box struct{ left, top, right, bottom float64 }

func (b box) width() float64  { return b.right - b.left }
func (b box) height() float64 { return b.bottom - b.top }

func (b box) holds(p point) bool {
	return p.x >= b.left && p.x <= b.right && p.y >= b.top && p.y <= b.bottom
}

func (b box) meets(o box) bool {
	return b.left < o.right && o.left < b.right && b.top < o.bottom && o.top < b.bottom
}

type shape int

const (
	polygon shape = iota
	polyline
	circle
	words
)

type anchor int

const (
	start anchor = iota
	middle
	end
)

// lettering is how words are set.
type lettering struct {
	size   float64
	isBold bool
	anchor anchor
	// hasHalo draws a rim of paper around the letters, for words that lie over data.
	hasHalo bool
	// isUpright writes from the bottom up.
	isUpright bool
}

// mark is one thing on a drawing. A circle has its centre, words have their anchor on the base
// line, as their only point.
type mark struct {
	shape  shape
	points []point
	ink    ink
	radius float64 // of a circle
	width  float64 // of a polyline; a circle with one is a ring
	dash   []float64
	text   string
	lettering
}

// drawing is a figure laid out: a list of marks that any surface can show.
type drawing struct {
	width, height float64
	marks         []mark
	ruler         *ruler
}

func (d *drawing) polygon(i ink, points ...point) {
	d.marks = append(d.marks, mark{shape: polygon, points: points, ink: i})
}

func (d *drawing) rectangle(i ink, b box) {
	d.polygon(i, point{b.left, b.top}, point{b.right, b.top}, point{b.right, b.bottom}, point{b.left, b.bottom})
}

func (d *drawing) line(i ink, width float64, dash []float64, points ...point) {
	d.marks = append(d.marks, mark{shape: polyline, points: points, ink: i, width: width, dash: dash})
}

func (d *drawing) circle(i ink, centre point, radius float64) {
	d.marks = append(d.marks, mark{shape: circle, points: []point{centre}, ink: i, radius: radius})
}

func (d *drawing) words(i ink, at point, l lettering, text string) {
	if text != "" {
		d.marks = append(d.marks, mark{shape: words, points: []point{at}, ink: i, text: text, lettering: l})
	}
}

// extent is the area that words fill.
func (d *drawing) extent(m mark) box {
	w := d.ruler.width(m.text, m.size, m.isBold)
	at := m.points[0]
	before := map[anchor]float64{start: 0, middle: w / 2, end: w}[m.anchor]
	if m.isUpright {
		return box{at.x - 0.75*m.size, at.y - w + before, at.x + 0.22*m.size, at.y + before}
	}
	return box{at.x - before, at.y - 0.75*m.size, at.x - before + w, at.y + 0.22*m.size}
}

// ruler measures words in Liberation Sans, whose letters are as wide as those of Arial and
// Helvetica, so that a browser with any of the three shows what was laid out.
type ruler struct {
	cache *font.Cache
	sizes map[setting]font.Face
}

type setting struct {
	size   float64
	isBold bool
}

// The collection parses its fonts on first use; the cache is safe for concurrent use, the map
// belongs to one drawing.
func newRuler() *ruler {
	return &ruler{font.NewCache(collection()), make(map[setting]font.Face)}
}

var collection = sync.OnceValue(liberation.Collection)

func (r *ruler) face(size float64, isBold bool) font.Face {
	key := setting{size, isBold}
	if f, ok := r.sizes[key]; ok {
		return f
	}
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Length(size)}
	if isBold {
		f.Weight = xfont.WeightBold
	}
	face := r.cache.Lookup(f, vg.Length(size))
	r.sizes[key] = face
	return face
}

func (r *ruler) width(s string, size float64, isBold bool) float64 {
	face := r.face(size, isBold)
	return face.Width(s).Points()
}

// fit is s, or as much of it as fits with an ellipsis.
func (r *ruler) fit(s string, size float64, isBold bool, width float64) string {
	if r.width(s, size, isBold) <= width {
		return s
	}
	runes := []rune(s)
	n := sort.Search(len(runes), func(n int) bool {
		return r.width(string(runes[:n+1])+"…", size, isBold) > width
	})
	return strings.TrimRight(string(runes[:n]), " ") + "…"
}

// wrap breaks s between words into at most so many lines that fit; what is too long for them
// ends in an ellipsis.
func (r *ruler) wrap(s string, size float64, isBold bool, width float64, most int) []string {
	var lines []string
	rest := strings.Fields(s)
	for len(rest) > 0 && len(lines) < most {
		if len(lines) == most-1 {
			lines = append(lines, r.fit(strings.Join(rest, " "), size, isBold, width))
			break
		}
		n := 1
		for n < len(rest) && r.width(strings.Join(rest[:n+1], " "), size, isBold) <= width {
			n++
		}
		lines = append(lines, r.fit(strings.Join(rest[:n], " "), size, isBold, width))
		rest = rest[n:]
	}
	return lines
}
