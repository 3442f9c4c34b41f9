package report

import (
	"image/color"
	"math"
)

// ink is a colour with the name that a page's style sheet knows it by, so that the same drawing
// is right on light and on dark paper.
type ink struct {
	class string
	color color.NRGBA
}

func rgb(class string, hex uint32) ink {
	return ink{class, color.NRGBA{uint8(hex >> 16), uint8(hex >> 8), uint8(hex), 0xff}}
}

// faded is the ink at an opacity from 0 to 1.
func (i ink) faded(opacity float64) ink {
	i.color.A = uint8(opacity*0xff + 0.5)
	return i
}

// theme is what every figure of this package has in common. Series are told apart by the palette
// of Okabe and Ito ("Color Universal Design", 2008), which people with any common colour vision
// deficiency can tell apart; its yellow is left out, because nobody can see it on white. The
// words ones are darker, for text of a contrast of at least 4.5 to white (WCAG 2.2, 1.4.3).
type theme struct {
	paper, text, muted, grid, axis, baseline ink
	series, names                            []ink
}

func light() theme {
	return theme{
		paper:    rgb("paper", 0xffffff),
		text:     rgb("text", 0x1b2733),
		muted:    rgb("muted", 0x55626f),
		grid:     rgb("grid", 0xe6eaee),
		axis:     rgb("axis", 0x8b98a5),
		baseline: rgb("base", 0x7a8794),
		series: []ink{
			rgb("s1", 0x0072b2), rgb("s2", 0xd55e00), rgb("s3", 0x009e73), rgb("s4", 0xcc79a7),
			rgb("s5", 0xe69f00), rgb("s6", 0x56b4e9), rgb("s7", 0x4a4a4a),
		},
		names: []ink{
			rgb("w1", 0x0067a0), rgb("w2", 0xb34e00), rgb("w3", 0x00755a), rgb("w4", 0xa14a7c),
			rgb("w5", 0x8a5f00), rgb("w6", 0x1f6fa5), rgb("w7", 0x3a3a3a),
		},
	}
}

// look is how a series is drawn.
type look struct {
	line, word ink
	dash       []float64
	width      float64
}

// looks gives each series its look: baselines grey and dashed, the others the palette's colours
// in turn, dashed from the second turn on.
func (t theme) looks(series []Series) []look {
	dashes := [][]float64{{6, 3}, {2, 3}, {9, 3, 2, 3}}
	out := make([]look, len(series))
	others, baselines := 0, 0
	for i, s := range series {
		if s.IsBaseline {
			out[i] = look{t.baseline, t.muted, dashes[baselines%len(dashes)], 1.75}
			baselines++
			continue
		}
		n := len(t.series)
		out[i] = look{t.series[others%n], t.names[others%n], nil, 2.25}
		if turn := others / n; turn > 0 {
			out[i].dash = dashes[(turn-1)%len(dashes)]
		}
		others++
	}
	return out
}

// mix is the colour the given way from a to b.
func mix(a, b color.NRGBA, way float64) color.NRGBA {
	way = min(max(way, 0), 1)
	part := func(a, b uint8) uint8 { return uint8(float64(a) + (float64(b)-float64(a))*way + 0.5) }
	return color.NRGBA{part(a.R, b.R), part(a.G, b.G), part(a.B, b.B), 0xff}
}

// shade is a heat cell's colour for a value from -1 to 1 (white in the middle, blue above,
// vermilion below) and the colour of words that can be read on it.
func shade(v float64) (cell, letters color.NRGBA) {
	white, mid, deep := color.NRGBA{0xf7, 0xf9, 0xfb, 0xff}, color.NRGBA{0x3d, 0x94, 0xc9, 0xff}, color.NRGBA{0x00, 0x4a, 0x78, 0xff}
	if v < 0 {
		mid, deep, v = color.NRGBA{0xe8, 0x94, 0x50, 0xff}, color.NRGBA{0x9c, 0x3f, 0x00, 0xff}, -v
	}
	if v <= 0.5 {
		cell = mix(white, mid, v*2)
	} else {
		cell = mix(mid, deep, v*2-1)
	}
	dark, bright := color.NRGBA{0x0b, 0x11, 0x17, 0xff}, color.NRGBA{0xff, 0xff, 0xff, 0xff}
	if contrast(bright, cell) > contrast(dark, cell) {
		return cell, bright
	}
	return cell, dark
}

// contrast is the ratio of two colours' luminances, from 1 to 21 (WCAG 2.2, contrast ratio).
func contrast(a, b color.NRGBA) float64 {
	luminance := func(c color.NRGBA) float64 {
		part := func(v uint8) float64 {
			s := float64(v) / 0xff
			if s <= 0.04045 {
				return s / 12.92
			}
			return math.Pow((s+0.055)/1.055, 2.4)
		}
		return 0.2126*part(c.R) + 0.7152*part(c.G) + 0.0722*part(c.B)
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}
