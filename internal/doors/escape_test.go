package doors_test

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries/render"
)

// leastEscapes is how many attempts there are at the least.
const leastEscapes = 300

// TestEscapes tries what an analyst of a tenant might to reach more than is its own. Every
// attempt is refused, in plain words, on record, and before anything is read of other tenants.
func TestEscapes(t *testing.T) {
	var attempts []string
	for _, path := range []string{"testdata/escapes.sql", "../../queries/embedded/testdata/refused.sql"} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if line := lines.Text(); line != "" && !strings.HasPrefix(line, "-- ") {
				attempts = append(attempts, line)
			}
		}
		f.Close()
	}
	if len(attempts) < leastEscapes {
		t.Errorf("%d attempts, want at least %d", len(attempts), leastEscapes)
	}
	w := newWorld(t)
	p := grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@" + string(aurora)}
	doors := []door{w.direct("csv", render.CSV), w.http(t, "csv", "text/csv", render.CSV), w.flight(t), w.pages(t, false), w.pages(t, true), w.exports(t, aurora)}
	for _, d := range doors {
		for _, sql := range attempts {
			before := len(w.log.Records())
			a := d.ask(p, sql)
			if a.refusal == "" {
				t.Errorf("%s: answered %s:\n%.300s", d.name, sql, a.rows)
			}
			checkBytes(t, sql, p, a)
			// What asks how a statement is doing is on record by itself.
			records := slices.DeleteFunc(w.log.Records()[before:], func(r audit.Record) bool { return r.Action == "query.state" })
			if len(records) == 0 {
				t.Errorf("%s: not on record: %s", d.name, sql)
				continue
			}
			last := records[len(records)-1]
			if last.Actor != p.String() || last.Outcome == audit.Allowed {
				t.Errorf("%s: the record of %s is %+v", d.name, sql, last)
			}
		}
	}
	t.Logf("%d attempts, each at %d doors", len(attempts), len(doors))
}
