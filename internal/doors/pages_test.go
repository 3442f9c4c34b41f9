package doors_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries/render"
)

// pages is the server's door by pages of two rows: the first comes at once, or if it is later
// all are fetched when they are read.
func (w *world) pages(tb testing.TB, later bool) door {
	tb.Helper()
	d, do := w.httpDoor(tb, "pages", "text/csv", render.CSV)
	if later {
		d.name = "HTTP later"
	}
	d.ask = func(p grants.Principal, sql string) answer {
		text, err := json.Marshal(map[string]any{"sql": sql, "page_rows": 2, "async": later})
		if err != nil {
			return answer{refusal: err.Error()}
		}
		a, h := do(p, http.MethodPost, "/v1/query", string(text))
		if later {
			for a.refusal == "" && strings.Contains(a.rows, `"state":"running"`) {
				time.Sleep(time.Millisecond)
				a, _ = do(p, http.MethodGet, h.Get("Location"), "")
			}
			if a.refusal != "" {
				return a
			}
			a, h = do(p, http.MethodGet, h.Get("Location")+"?page=1&format=csv", "")
		}
		all := a
		for a.refusal == "" && h.Get("Link") != "" {
			next, _, _ := strings.Cut(strings.TrimPrefix(h.Get("Link"), "<"), ">")
			if a, h = do(p, http.MethodGet, next+"&format=csv", ""); a.refusal != "" {
				return a
			}
			_, rows, _ := strings.Cut(a.rows, "\n") // each page has the names of the columns
			all.rows += rows
		}
		return all
	}
	return d
}
