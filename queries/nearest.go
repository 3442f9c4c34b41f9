package queries

import (
	"strings"

	"github.com/cardlake/cardlake"
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
// there for whoever has the decisions.
func NearestColumn(name string, reads []Read) string {
	var names []string
	for _, r := range reads {
		for i, a := range r.Decision.Access() {
			if a != grants.Dropped {
				names = append(names, r.Table.Columns[i].Name)
			}
		}
	}
	return Nearest(name, names)
}

// NearestTable returns the full name of the table nearest to name, or "". A name without
// its namespace is near to the table's full name.
func NearestTable(name string, tables []*cardlake.Table) string {
	full := make([]string, len(tables))
	short := make([]string, len(tables))
	for i, t := range tables {
		full[i], short[i] = t.FullName(), t.Name
	}
	if !strings.Contains(name, ".") {
		if n := Nearest(name, short); n != "" {
			for i := range short {
				if short[i] == n {
					return full[i]
				}
			}
		}
	}
	return Nearest(name, full)
}
