package embedded_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// TestPatternsEnd: whatever pattern is let through is done soon, because it cannot be stopped.
func TestPatternsEnd(t *testing.T) {
	_, g := fixture(t, 1, 3, queries.Config{})
	s := g.As(queriestest.Caller)
	text := "'" + strings.Repeat("a", 20_000) + "'"
	for _, sql := range []string{
		text + " LIKE '%_a%_a%_a%_a%b'", text + " NOT LIKE '%_a%_a%_a%_a%b'", text + " ILIKE '%a%a%a%a%b'", text + " NOT ILIKE '%a%a%a%a%b'",
		text + " GLOB '*a*a*a*a*b'", text + " LIKE '%a%a%a%a%b' ESCAPE '!'", text + " LIKE concat('%_a%_a%_a%b', '')", "like_escape(" + text + ", '%a%a%a%b', '!')",
		"[x LIKE '%_a%_a%_a%b' FOR x IN [" + text + "]]",
	} {
		var fault *queries.Error
		if _, err := s.Query(t.Context(), "SELECT "+sql); !errors.As(err, &fault) || !strings.Contains(fault.Message, "pattern") {
			t.Errorf("%.20s…%s: %v", sql, sql[len(sql)-30:], err)
		}
	}
	for _, sql := range []string{
		text + " LIKE '%a%a%a%a%a%b'", text + " ILIKE '%ab%'", text + " LIKE '_a%'", text + " GLOB '*ab'", text + " LIKE NULL", "lower(" + text + ") NOT LIKE '%a%a%b%'",
	} {
		start := time.Now()
		if _, err := answer(t.Context(), s, "SELECT "+sql); err != nil || time.Since(start) > time.Minute {
			t.Errorf("%.20s…%s: %v in %s", sql, sql[len(sql)-20:], err, time.Since(start))
		}
	}
}
