package queries

import (
	"slices"
	"strings"

	"github.com/cardlake/cardlake/catalog/grants"
)

// Nearest returns the candidate that is the fewest edits away from name, ignoring case, or
// "" if none is near enough to be a slip: at most a third of the name's length, and two
// edits for a short one. The first of equals wins.
func Nearest(name string, candidates []string) string {
	name = strings.ToLower(name)
	limit := max(2, len(name)/3)
	best, bestAt := limit+1, ""
	for _, c := range candidates {
		if d := distance(name, strings.ToLower(c)); d < best && d < len(name) {
			best, bestAt = d, c
		}
	}
	return bestAt
}

// distance is the number of edits between two strings, in bytes: insertions, deletions,
// replacements and swaps of neighbours (optimal string alignment).
func distance(a, b string) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}

// NearestColumn returns the column whose name is nearest to name, or "", among those that are
// there for whoever runs the statement.
func NearestColumn(name string, s Statement) string {
	var names []string
	for _, r := range s.Reads {
		if r.IsUnder {
			continue
		}
		for i, a := range r.Decision.Access() {
			if a != grants.Dropped {
				names = append(names, r.Table.Columns[i].Name)
			}
		}
	}
	for _, v := range s.Views {
		for _, c := range v.Columns {
			names = append(names, c.Name)
		}
	}
	return Nearest(name, names)
}

// NearestTable returns the full name nearest to name, or "". A name without its namespace is
// near to the full name of a table that is called so.
func NearestTable(name string, full []string) string {
	if !strings.Contains(name, ".") {
		short := make([]string, len(full))
		for i, f := range full {
			_, short[i], _ = strings.Cut(f, ".")
		}
		if n := Nearest(name, short); n != "" {
			return full[slices.Index(short, n)]
		}
	}
	return Nearest(name, full)
}
