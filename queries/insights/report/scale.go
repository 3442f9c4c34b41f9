package report

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// tick is a labelled place on an axis.
type tick struct {
	value float64
	label string
}

// scale maps values of an axis to places on a drawing.
type scale struct {
	kind     Scale
	low      float64
	high     float64
	from, to float64 // places of low and high
	ticks    []tick
}

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.kind == Log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(v)
	}
	return s.from + (v-low)/(high-low)*(s.to-s.from)
}

// newScale covers the values with about n ticks; the axis's own ends win. isFilled is for bars
// and areas, which must start at zero.
func newScale(a Axis, values []float64, n int, isFilled bool) scale {
	s := scale{kind: a.Scale, low: math.Inf(1), high: math.Inf(-1)}
	for _, v := range values {
		s.low, s.high = min(s.low, v), max(s.high, v)
	}
	switch {
	case a.Scale == Linear && isFilled:
		s.low, s.high = min(s.low, 0), max(s.high, 0)
	case a.Scale == Linear && a.Unit == Share && s.low >= 0 && s.high <= 1 && s.high-s.low > 0.5:
		s.low, s.high = 0, 1
	case a.Scale == Linear && s.low > 0 && s.low < 0.6*s.high:
		s.low = 0 // an axis that almost starts at zero starts there
	}
	if a.Min != nil {
		s.low = *a.Min
	}
	if a.Max != nil {
		s.high = *a.Max
	}
	if s.low > s.high { // one end is fixed beyond all points
		s.low, s.high = s.high, s.low
	}
	switch s.kind {
	case Log:
		s.logarithmic(a)
	case Time:
		s.calendar(n)
	default:
		s.linear(a, n)
	}
	return s
}

// widen moves equal ends apart.
func (s *scale) widen(by float64) {
	if s.high-s.low <= 1e-12*max(abs(s.low), abs(s.high)) {
		s.low, s.high = s.low-by, s.high+by
	}
}

func (s *scale) linear(a Axis, n int) {
	switch size := max(abs(s.low), abs(s.high)); {
	case s.low == 0 && s.high == 0:
		s.high = 1
	case s.low == 0 || s.high == 0:
	default:
		s.widen(0.1 * size)
	}
	step := niceStep((s.high - s.low) / float64(n))
	low, high := math.Floor(s.low/step+1e-9), math.Ceil(s.high/step-1e-9)
	if a.Min == nil {
		s.low = low * step
	}
	if a.Max == nil {
		s.high = high * step
	}
	for i := low; i <= high; i++ {
		v := i * step
		if v >= s.low-1e-9*step && v <= s.high+1e-9*step {
			s.ticks = append(s.ticks, tick{v, linearLabel(a.Unit, v, step)})
		}
	}
}

// niceStep is the smallest of 1, 2, 5 times a power of ten that is not below the raw step.
func niceStep(raw float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= raw*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

func linearLabel(unit string, v, step float64) string {
	suffix := ""
	if unit == Share {
		v, step, suffix = v*100, step*100, "%"
	}
	switch {
	case abs(v) >= 1e12 || v != 0 && step < 1e-6:
		return strconv.FormatFloat(v, 'g', 3, 64) + suffix
	case step >= 5e5:
		v, step, suffix = v/1e6, step/1e6, "M"+suffix
	}
	if v == 0 {
		return "0" + strings.TrimPrefix(suffix, "M")
	}
	decimals := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	return minus(number(v, decimals)) + suffix
}

func (s *scale) logarithmic(a Axis) {
	if s.low == s.high {
		s.low, s.high = s.low/2, s.high*2
	}
	from, to := math.Floor(math.Log10(s.low)+1e-9), math.Ceil(math.Log10(s.high)-1e-9)
	if a.Min == nil && to-from > 1 {
		s.low = math.Pow(10, from)
	}
	if a.Max == nil && to-from > 1 {
		s.high = math.Pow(10, to)
	}
	parts := []float64{1}
	if to-from <= 2 {
		parts = []float64{1, 2, 5}
	}
	every := math.Ceil((to - from) / 7)
	for p := from; p <= to; p += every {
		for _, part := range parts {
			if v := part * math.Pow(10, p); v >= s.low*(1-1e-9) && v <= s.high*(1+1e-9) {
				s.ticks = append(s.ticks, tick{v, short(a.Unit, v)})
			}
		}
	}
}

// calendar labels whole hours, days, weeks (on Mondays), months or years. The label of the first
// tick and of each first one in a year has the year on a second line.
func (s *scale) calendar(n int) {
	s.widen(43_200)
	s.low, s.high = max(s.low, -62e9), min(s.high, 253e9) // years 5 to 9987
	span := s.high - s.low
	const day = 86_400
	hours := []float64{1, 3, 6, 12}
	days := []float64{1, 2, 7, 14}
	months := []int{1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200}
	first := time.Unix(int64(math.Ceil(s.low)), 0).UTC()
	var times []time.Time
	var layout string
	add := func(t time.Time, next func(time.Time) time.Time) {
		for ; float64(t.Unix()) <= s.high; t = next(t) {
			if float64(t.Unix()) >= s.low {
				times = append(times, t)
			}
		}
	}
	for _, h := range hours {
		if layout == "" && span/(h*3600) <= float64(n) {
			layout = "15:04"
			step := time.Duration(h) * time.Hour
			add(first.Truncate(24*time.Hour), func(t time.Time) time.Time { return t.Add(step) })
		}
	}
	for _, d := range days {
		if layout == "" && span/(d*day) <= float64(n) {
			layout = "2 Jan"
			from := first.Truncate(24 * time.Hour)
			if d >= 7 {
				from = from.AddDate(0, 0, -(int(from.Weekday())+6)%7)
			}
			add(from, func(t time.Time) time.Time { return t.AddDate(0, 0, int(d)) })
		}
	}
	for _, m := range months {
		if layout == "" && span/(float64(m)*30.44*day) <= float64(n) {
			layout = "Jan"
			from := time.Date(first.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
			if m >= 12 {
				layout = "2006"
				years := m / 12
				from = time.Date(first.Year()/years*years, 1, 1, 0, 0, 0, 0, time.UTC)
			}
			add(from, func(t time.Time) time.Time { return t.AddDate(0, m, 0) })
		}
	}
	var before time.Time
	for _, t := range times {
		label := t.Format(layout)
		switch {
		case layout == "15:04" && (before.IsZero() || t.YearDay() != before.YearDay()):
			label += "\n" + t.Format("2 Jan 2006")
		case layout != "15:04" && layout != "2006" && (before.IsZero() || t.Year() != before.Year()):
			label += "\n" + t.Format("2006")
		}
		before = t
		s.ticks = append(s.ticks, tick{float64(t.Unix()), label})
	}
}
