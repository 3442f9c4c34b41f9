package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const legend = `cpu-s: a second of one core, user and system. allocs: objects on Go's heap. peak: largest resident set.
a ÷ b: how many times better a is than b, in each column; under 1 it is worse.`

// table is a group's figures as text: a line of units, then a line a benchmark, then a line
// a comparison.
type table struct{ lines [][]string }

// newTable shows the columns, or all. An error names the pairs that could not be compared;
// the table is good without them.
func newTable(rows []row, columns []string, trim string, pairs []pair) (table, error) {
	if columns == nil {
		for _, r := range rows {
			for _, f := range r.figures {
				if !slices.Contains(columns, f.unit) {
					columns = append(columns, f.unit)
				}
			}
		}
	}
	// A column that nothing fills is not worth its place. A column of zeros is: no allocations.
	columns = slices.DeleteFunc(slices.Clone(columns), func(unit string) bool {
		return !slices.ContainsFunc(rows, func(r row) bool { _, ok := r.figure(unit); return ok })
	})
	t := table{lines: [][]string{append([]string{""}, columns...)}}
	byName := map[string]row{}
	for _, r := range rows {
		name := strings.TrimPrefix(r.name, trim)
		byName[name] = r
		line := []string{display(name)}
		for _, unit := range columns {
			text := ""
			if v, ok := r.figure(unit); ok {
				text = number(v)
			}
			line = append(line, text)
		}
		t.lines = append(t.lines, line)
	}
	var missing []error
	for _, p := range pairs {
		a, ok1 := byName[p.bench]
		b, ok2 := byName[p.reference]
		if !ok1 || !ok2 {
			missing = append(missing, fmt.Errorf("nothing to compare %s with %s", p.bench, p.reference))
			continue
		}
		line := []string{p.bench + " ÷ " + strings.TrimPrefix(display(p.reference), "reference ")}
		for _, unit := range columns {
			line = append(line, better(a, b, unit))
		}
		t.lines = append(t.lines, line)
	}
	return t, errors.Join(missing...)
}

// display shows references alike, whether a benchmark is one or a part of one.
func display(name string) string {
	if rest, ok := strings.CutPrefix(name, "Reference"); ok {
		return "reference " + strings.TrimPrefix(rest, "/")
	}
	return name
}

// better is how many times better a is than b, as text; empty if one of them is not known. More
// is better of rates and of what a classifier reaches, and less of everything else.
func better(a, b row, unit string) string {
	va, ok1 := a.figure(unit)
	vb, ok2 := b.figure(unit)
	if !ok1 || !ok2 || va == 0 || vb == 0 {
		return ""
	}
	if isRate(unit) || unit == "auc" || unit == "precision" {
		return number(va/vb) + "×"
	}
	return number(vb/va) + "×"
}

// isRate tells units of which more is better: so much a second.
func isRate(unit string) bool { return strings.HasSuffix(unit, "/s") || strings.HasSuffix(unit, "-s") }

// print aligns the columns to the right, the names to the left.
func (t table) print(w io.Writer, title string, notes []string) {
	fmt.Fprintf(w, "\n%s\n", title)
	for _, n := range notes {
		if n != "" {
			fmt.Fprintf(w, "  %s\n", n)
		}
	}
	width := make([]int, len(t.lines[0]))
	for _, line := range t.lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range t.lines {
		var b strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString("  " + cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// number is v in three significant digits, with commas between thousands.
func number(v float64) string {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	unit := math.Pow(10, float64(decimals))
	text := strconv.FormatFloat(math.Round(v*unit)/unit, 'f', max(0, decimals), 64)
	if decimals > 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		return whole + "." + rest
	}
	return whole
}
