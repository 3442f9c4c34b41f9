package embedded

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestInUTC: what is given anew for instants gives what DuckDB's own gives, for every part and
// around the bounds of days, years and calendars, and leaves other types alone.
func TestInUTC(t *testing.T) {
	in, err := openInstance(t.Context(), Config{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	ask := func(sql string) string {
		got, err := in.scan(t.Context(), sql+" WHERE ? <> ''", "x")
		if err != nil {
			return err.Error()
		}
		return got
	}
	isError := func(s string) bool { return strings.Contains(s, "exception_type") }
	instants := []string{
		"2026-03-02 13:14:15.123456+00", "1970-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00", "2024-02-29 00:00:00+00", "2026-01-01 00:00:00-12",
		"2020-12-31 23:59:59.5+00", "1582-10-10 12:00:00+00", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", "1999-12-31 23:59:59.999999+00",
	}
	list := "SELECT string_agg(%s, ' ') FROM (SELECT CAST(unnest(['" + strings.Join(instants, "', '") + "', NULL]) AS TIMESTAMPTZ) AS t)"
	truncs := strings.Fields("microseconds milliseconds second minute hour day week month quarter year decade century millennium isoyear")
	parts := strings.Fields("year month day decade century millennium microseconds milliseconds second minute hour dow isodow week isoyear quarter doy yearweek era timezone timezone_hour timezone_minute")
	for _, part := range truncs {
		of := func(name string) string { return fmt.Sprintf(list, "CAST("+name+"('"+part+"', t) AS VARCHAR)") }
		if diff := cmp.Diff(ask(of("system.main.date_trunc")), ask(of("date_trunc"))); diff != "" {
			t.Errorf("%s (-DuckDB's +ours):\n%s", part, diff)
		}
	}
	for _, part := range parts {
		of := func(name string) string { return fmt.Sprintf(list, "CAST("+name+"('"+part+"', t) AS VARCHAR)") }
		if diff := cmp.Diff(ask(of("system.main.date_part")), ask(of("date_part"))); diff != "" {
			t.Errorf("%s (-DuckDB's +ours):\n%s", part, diff)
		}
	}
	day := func(of string) string { return fmt.Sprintf(list, "CAST("+of+" AS VARCHAR)") }
	if diff := cmp.Diff(ask(day("CAST(t AS DATE)")), ask(day(dayOf.ReplaceAllString("CAST(t AS DATE)", dayInUTC)))); diff != "" {
		t.Errorf("day (-DuckDB's +ours):\n%s", diff)
	}
	for _, name := range []string{"date_trunc", "date_part"} {
		for _, value := range []string{"TIMESTAMP '2026-03-02 13:14:15'", "DATE '2026-03-02'", "INTERVAL '3 hours'", "TIME '13:14:15'", "TIMETZ '13:14:15+00'", "CAST(TIME '13:14:15' AS TIME_NS)", "TIMESTAMP_NS '2026-03-02 13:14:15'", "TIMESTAMPTZ '2026-03-02 13:14:15+00'", "1.5"} {
			of := func(name string) string {
				return "SELECT typeof(x) || ' ' || CAST(x AS VARCHAR) FROM (SELECT " + name + "('hour', " + value + ") AS x)"
			}
			want, got := ask(of("system.main."+name)), ask(of(name))
			if isError(want) && isError(got) {
				continue
			}
			if want != got {
				t.Errorf("%s of %s: %s, DuckDB's own gives %s", name, value, got, want)
			}
		}
	}
	// One that DuckDB has for another type would be missed here.
	types := ask("SELECT string_agg(DISTINCT CAST(parameter_types[2] AS VARCHAR), ',' ORDER BY CAST(parameter_types[2] AS VARCHAR)) FROM (SELECT * FROM duckdb_functions() WHERE function_name IN ('date_trunc', 'date_part') AND function_type = 'scalar')")
	if want := "DATE,INTERVAL,TIME,TIME WITH TIME ZONE,TIMESTAMP,TIMESTAMP WITH TIME ZONE,TIME_NS"; types != want {
		t.Errorf("DuckDB has them for %s", types)
	}
}
