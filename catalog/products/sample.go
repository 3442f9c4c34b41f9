package products

import (
	"fmt"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
)

// Synthetic returns rows that are nobody's, for who looks at a product before subscribing: values
// of the columns' types that no row of the lake was looked at for. They are the same each time.
func Synthetic(columns []Column, rows int) [][]string {
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	out := make([][]string, rows)
	for i := range out {
		row := make([]string, len(columns))
		for j, c := range columns {
			row[j] = synthetic(c, i, start.Add(time.Duration(i)*time.Minute))
		}
		out[i] = row
	}
	return out
}

func synthetic(c Column, i int, at time.Time) string {
	switch t := c.Type; {
	case c.Tag == cardlake.TruncatedPAN || c.Tag == cardlake.Sealed:
		return "…"
	case c.Name == "currency" || strings.HasSuffix(c.Name, "_currency"):
		return "USD"
	case t == "bool":
		return fmt.Sprint(i%2 == 0)
	case strings.HasPrefix(t, "timestamp"):
		return at.Format(time.RFC3339)
	case strings.HasPrefix(t, "date"):
		return at.Format(time.DateOnly)
	case strings.HasPrefix(t, "decimal"):
		return fmt.Sprintf("%d.%02d", 10*(i+1), i)
	case strings.HasPrefix(t, "int"), strings.HasPrefix(t, "uint"):
		return fmt.Sprint(i + 1)
	case strings.HasPrefix(t, "float"):
		return fmt.Sprintf("0.%d", i+1)
	}
	return fmt.Sprintf("%s-%c", c.Name, 'a'+rune(i%26))
}
