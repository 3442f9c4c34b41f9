package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/png"
	"io"
	"math"
	"strconv"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
)

// PNG draws the figure with its title and caption. scale 1 is 72 dots an inch, 720 dots wide;
// 2 is what a screen of double density or a page wants. It fails on a scale that is not from 0.5
// to 4 and on a figure that is not valid.
func PNG(f Figure, scale float64) ([]byte, error) {
	if !(scale >= 0.5 && scale <= 4) {
		return nil, fmt.Errorf("draw figure: scale is not from 0.5 to 4")
	}
	d, err := lay(f, true)
	if err != nil {
		return nil, err
	}
	canvas := vgimg.NewWith(
		vgimg.UseWH(vg.Length(d.width), vg.Length(d.height)),
		vgimg.UseDPI(int(math.Round(scale*72))),
		vgimg.UseBackgroundColor(light().paper.color),
	)
	for _, m := range d.marks {
		raster(canvas, d, m)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, canvas.Image()); err != nil {
		return nil, fmt.Errorf("draw figure: %w", err)
	}
	return out.Bytes(), nil
}

// raster paints a mark; its canvas counts from the bottom.
func raster(canvas *vgimg.Canvas, d *drawing, m mark) {
	place := func(p point) vg.Point { return vg.Point{X: vg.Length(p.x), Y: vg.Length(d.height - p.y)} }
	canvas.SetColor(m.ink.color)
	var path vg.Path
	switch m.shape {
	case polygon, polyline:
		path.Move(place(m.points[0]))
		for _, p := range m.points[1:] {
			path.Line(place(p))
		}
		if m.shape == polygon {
			path.Close()
			canvas.Fill(path)
			return
		}
		dash := make([]vg.Length, len(m.dash))
		for i, n := range m.dash {
			dash[i] = vg.Length(n)
		}
		canvas.SetLineWidth(vg.Length(m.width))
		canvas.SetLineDash(dash, 0)
		canvas.Stroke(path)
	case circle:
		centre := place(m.points[0])
		path.Move(vg.Point{X: centre.X + vg.Length(m.radius), Y: centre.Y})
		path.Arc(centre, vg.Length(m.radius), 0, 2*math.Pi)
		path.Close()
		if m.width > 0 {
			canvas.SetLineWidth(vg.Length(m.width))
			canvas.SetLineDash(nil, 0)
			canvas.Stroke(path)
			return
		}
		canvas.Fill(path)
	case words:
		face := d.ruler.face(m.size, m.isBold)
		area := d.extent(m)
		left := point{area.left, m.points[0].y}
		if m.isUpright {
			left = point{m.points[0].x, area.bottom}
		}
		put := func(dx, dy float64) {
			at := place(point{left.x + dx, left.y + dy})
			if !m.isUpright {
				canvas.FillString(face, at, m.text)
				return
			}
			canvas.Push()
			canvas.Translate(at)
			canvas.Rotate(math.Pi / 2)
			canvas.FillString(face, vg.Point{}, m.text)
			canvas.Pop()
		}
		if m.hasHalo {
			canvas.SetColor(light().paper.color)
			for i := range 12 {
				sin, cos := math.Sincos(float64(i) * math.Pi / 6)
				put(1.6*cos, 1.6*sin)
			}
			canvas.SetColor(m.ink.color)
		}
		put(0, 0)
	}
}

// SVG draws the figure with its title and caption as a document of its own. Words stay words:
// they can be searched and read aloud. It fails on a figure that is not valid.
func SVG(f Figure) ([]byte, error) {
	d, err := lay(f, true)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	vector(&out, f, d)
	return out.Bytes(), nil
}

// coordinate is v to a hundredth.
func coordinate(v float64) string {
	s := strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
	if s == "-0" {
		return "0"
	}
	return s
}

// escape is a text for XML content and attributes.
func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a Buffer takes everything
	return b.String()
}

// vector writes the drawing. Colours are presentation attributes besides class names, so that a
// page's style sheet may change them, and nothing is a style attribute, which a strict content
// security policy would forbid.
func vector(w io.Writer, f Figure, d *drawing) {
	width, height := coordinate(d.width), coordinate(d.height)
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s" role="img" font-family="'Liberation Sans', Arial, Helvetica, sans-serif">`+"\n", width, height, width, height)
	fmt.Fprintf(w, "<title>%s</title>\n<desc>%s</desc>\n", escape(clean(f.Title)), escape(clean(f.Caption)))
	fmt.Fprintf(w, `<rect class="fill-paper" width="%s" height="%s" fill="#ffffff"/>`+"\n", width, height)
	for _, m := range d.marks {
		paint := func(attribute string) string {
			c := m.ink.color
			s := fmt.Sprintf(`%s="#%02x%02x%02x"`, attribute, c.R, c.G, c.B)
			if c.A != 0xff {
				s += fmt.Sprintf(` %s-opacity="%s"`, attribute, coordinate(float64(c.A)/0xff))
			}
			if m.ink.class != "" {
				s = fmt.Sprintf(`class="%s-%s" `, attribute, m.ink.class) + s
			}
			return s
		}
		at := m.points[0]
		switch m.shape {
		case polygon, polyline:
			var list []byte
			for i, p := range m.points {
				if i > 0 {
					list = append(list, ' ')
				}
				list = append(list, coordinate(p.x)+","+coordinate(p.y)...)
			}
			if m.shape == polygon {
				fmt.Fprintf(w, `<polygon points="%s" %s/>`+"\n", list, paint("fill"))
				continue
			}
			dash := ""
			for i, n := range m.dash {
				if i > 0 {
					dash += " "
				}
				dash += coordinate(n)
			}
			if dash != "" {
				dash = ` stroke-dasharray="` + dash + `"`
			}
			fmt.Fprintf(w, `<polyline points="%s" fill="none" %s stroke-width="%s" stroke-linejoin="round"%s/>`+"\n", list, paint("stroke"), coordinate(m.width), dash)
		case circle:
			if m.width > 0 {
				fmt.Fprintf(w, `<circle cx="%s" cy="%s" r="%s" fill="none" %s stroke-width="%s"/>`+"\n", coordinate(at.x), coordinate(at.y), coordinate(m.radius), paint("stroke"), coordinate(m.width))
				continue
			}
			fmt.Fprintf(w, `<circle cx="%s" cy="%s" r="%s" %s/>`+"\n", coordinate(at.x), coordinate(at.y), coordinate(m.radius), paint("fill"))
		case words:
			more := [...]string{start: "", middle: ` text-anchor="middle"`, end: ` text-anchor="end"`}[m.anchor]
			if m.isBold {
				more += ` font-weight="bold"`
			}
			if m.isUpright {
				more += fmt.Sprintf(` transform="rotate(-90 %s %s)"`, coordinate(at.x), coordinate(at.y))
			}
			// A viewer without the laid-out font squeezes another one into the same room.
			more += fmt.Sprintf(` textLength="%s" lengthAdjust="spacingAndGlyphs"`, coordinate(d.ruler.width(m.text, m.size, m.isBold)))
			text := escape(m.text)
			if m.hasHalo {
				fmt.Fprintf(w, `<text class="stroke-paper" x="%s" y="%s" font-size="%s"%s fill="none" stroke="#ffffff" stroke-width="3.2" stroke-linejoin="round" aria-hidden="true">%s</text>`+"\n", coordinate(at.x), coordinate(at.y), coordinate(m.size), more, text)
			}
			fmt.Fprintf(w, `<text x="%s" y="%s" font-size="%s"%s %s>%s</text>`+"\n", coordinate(at.x), coordinate(at.y), coordinate(m.size), more, paint("fill"), text)
		}
	}
	io.WriteString(w, "</svg>\n")
}
