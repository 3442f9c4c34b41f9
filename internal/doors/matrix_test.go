package doors_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/render"
)

// TestMatrix asks for everything at every door as every principal, and wants exactly what is
// given: rows, columns, values, counts, lists of tables and columns.
func TestMatrix(t *testing.T) {
	w := newWorld(t)
	thorough := w.direct("csv", render.CSV)
	thorough.isThorough = true
	doors := []door{
		thorough,
		w.direct("parquet", render.Parquet),
		w.http(t, "json", "application/json", render.JSON),
		w.flight(t),
		w.pages(t, false),
		w.pages(t, true),
		w.http(t, "csv", "text/csv", render.CSV),
		w.http(t, "arrow", "application/vnd.apache.arrow.stream", render.Arrow),
		w.http(t, "parquet", "application/vnd.apache.parquet", render.Parquet),
	}
	if testing.Short() {
		doors = doors[:5]
	} else {
		doors = append(doors, newFolder(t).cli("csv", render.CSV))
	}
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			for i, p := range principals() {
				if d.isSlow && i%3 != 0 {
					continue // the program takes the gateway's answers as they are
				}
				for _, table := range cardlake.Tables {
					checkTable(t, d, p, table)
				}
				checkLists(t, d, p)
			}
		})
	}
}

// checkTable reads one table in several ways.
func checkTable(t *testing.T, d door, p grants.Principal, table *cardlake.Table) {
	t.Helper()
	rows := committedRows
	if d.hasTail && table == cardlake.Transactions {
		rows += tailRows
	}
	e := expect(p, table, rows)
	who := fmt.Sprintf("%s, %s", p, table.FullName())
	whole := d.ask(p, "SELECT * FROM "+table.FullName()+" ORDER BY "+order(table))
	checkBytes(t, who, p, whole)
	if len(e.columns) == 0 {
		if whole.refusal == "" {
			t.Errorf("%s: answered although nothing is given:\n%.500s", who, whole.rows)
		}
		if !d.isThorough {
			return
		}
		for _, sql := range []string{"SELECT count(*) FROM ", "SELECT 1 FROM ", "SELECT nothing FROM "} {
			if a := d.ask(p, sql+table.FullName()); a.refusal != whole.refusal {
				t.Errorf("%s: %s is refused with %q, everything else with %q: the refusal tells something", who, sql, a.refusal, whole.refusal)
			}
		}
		return
	}
	checkAnswer(t, who, d, whole, e.answer())
	if d.isSlow {
		return
	}
	// What rows there are, by ways that read no column or few.
	var counts []string
	filled := make([]any, len(e.columns))
	one := &fixed{}
	for i, c := range e.columns {
		counts = append(counts, fmt.Sprintf(`count("%s") AS n%d`, c.Name, i))
		one.columns = append(one.columns, queries.Column{Name: fmt.Sprintf("n%d", i), Type: queriestest.ArrowType(cardlake.Int64)})
		n := int64(0)
		for _, row := range e.rows {
			if row[i] != nil {
				n++
			}
		}
		filled[i] = n
	}
	one.rows = [][]any{filled}
	checkAnswer(t, who+", counts of columns", d, d.ask(p, "SELECT "+strings.Join(counts, ", ")+" FROM "+table.FullName()), one)
	if !d.isThorough {
		return
	}
	if table.ByTenant && !strings.Contains(whole.aside, fmt.Sprintf(" Files:%d ", len(e.tenants))) {
		t.Errorf("%s: other files were read than those of %v: %s", who, e.tenants, whole.aside)
	}
	checkCount(t, who+", count(*)", d, d.ask(p, "SELECT count(*) AS n FROM "+table.FullName()), int64(len(e.rows)))
	for _, c := range table.Columns {
		if slices.ContainsFunc(e.columns, func(have cardlake.Column) bool { return have.Name == c.Name }) {
			continue
		}
		a := d.ask(p, fmt.Sprintf(`SELECT count("%s") AS n FROM %s`, c.Name, table.FullName()))
		checkBytes(t, who, p, a)
		if !strings.Contains(a.refusal, "there is no column") {
			t.Errorf("%s: column %s is not given, and asking for it says %q %q", who, c.Name, a.rows, a.refusal)
		}
	}
	// What is asked about a tenant that is not given.
	if table.ByTenant {
		for _, tenant := range tenants {
			have := int64(0)
			if slices.Contains(e.tenants, tenant) {
				have = int64(rows)
			}
			a := d.ask(p, fmt.Sprintf("SELECT count(*) AS n FROM %s WHERE tenant = '%s'", table.FullName(), tenant))
			checkCount(t, who+", rows of "+string(tenant), d, a, have)
		}
	}
}

// order makes answers comparable. Each table has columns that everybody is given.
func order(table *cardlake.Table) string {
	if table.ByTenant {
		return "tenant, " + table.Time
	}
	return table.Time
}

func checkCount(t *testing.T, what string, d door, a answer, want int64) {
	t.Helper()
	checkAnswer(t, what, d, a, &fixed{columns: []queries.Column{{Name: "n", Type: queriestest.ArrowType(cardlake.Int64)}}, rows: [][]any{{want}}})
}

func checkAnswer(t *testing.T, what string, d door, a answer, want *fixed) {
	t.Helper()
	text := &bytes.Buffer{}
	if err := d.format(context.Background(), text, want); err != nil {
		t.Fatal(err)
	}
	if a.refusal != "" || strings.TrimSpace(a.rows) != strings.TrimSpace(text.String()) {
		t.Errorf("%s: %s\ngot\n%.1500s\nwant\n%.1500s", what, a.refusal, a.rows, text)
	}
}

// checkLists lists tables and columns.
func checkLists(t *testing.T, d door, p grants.Principal) {
	t.Helper()
	list := d.list(p)
	checkBytes(t, p.String()+", tables", p, list)
	for _, table := range cardlake.Tables {
		e := expect(p, table, committedRows)
		named := regexp.MustCompile(`\b` + regexp.QuoteMeta(table.FullName()) + `\b[^_]`).MatchString(list.rows + " ")
		if named != (len(e.columns) > 0) {
			t.Errorf("%s: %s is listed: %v\n%s", p, table.FullName(), named, list.all())
		}
		a := d.describe(p, table.FullName())
		if (a.refusal == "") != (len(e.columns) > 0) {
			t.Errorf("%s: describing %s: %s", p, table.FullName(), a.all())
		}
		for _, c := range table.Columns {
			isGiven := slices.ContainsFunc(e.columns, func(have cardlake.Column) bool { return have.Name == c.Name })
			if named := mentions(a.rows, c.Name); named && !isGiven {
				t.Errorf("%s: the description of %s has %s:\n%s", p, table.FullName(), c.Name, a.rows)
			}
		}
	}
}

// mentions reports whether a list of columns has the name as one of them, not in a text about
// another.
func mentions(list, name string) bool {
	return regexp.MustCompile(`(?m)(^|"name":\s*")` + regexp.QuoteMeta(name) + `([ ,"]|$)`).MatchString(list)
}

var markers = regexp.MustCompile(`~([a-z]*)~([a-z0-9_]+)~`)

// checkBytes looks in all that came out for values that are not given clear, whosever they are.
func checkBytes(t *testing.T, who string, p grants.Principal, a answer) {
	t.Helper()
	for _, found := range markers.FindAllStringSubmatch(a.all(), -1) {
		tenant, column := cardlake.Tenant(found[1]), found[2]
		isGiven := slices.ContainsFunc(cardlake.Tables, func(table *cardlake.Table) bool {
			c := table.Column(column)
			return c != nil && table.ByTenant == (tenant != "") && given(p, table, *c, tenant) == grants.Clear
		})
		if !isGiven {
			t.Errorf("%s: %s of tenant %q comes out", who, column, tenant)
		}
	}
	if strings.Contains(a.all(), tailPosition) { // of all tenants' events
		t.Errorf("%s: the stream's positions come out", who)
	}
}

// answer are the rows as an engine would hand them out, in the order of [order].
func (e expected) answer() *fixed {
	a := &fixed{rows: slices.Clone(e.rows)}
	for _, c := range e.columns {
		a.columns = append(a.columns, queries.Column{Name: c.Name, Type: queriestest.ArrowType(c.Type)})
	}
	return a
}

// fixed are rows made here.
type fixed struct {
	columns []queries.Column
	rows    [][]any
}

func (f *fixed) Columns() []queries.Column     { return f.columns }
func (f *fixed) Snapshots() []queries.Snapshot { return nil }
func (f *fixed) Close() error                  { return nil }

func (f *fixed) Next(row []any) error {
	if len(f.rows) == 0 {
		return io.EOF
	}
	copy(row, f.rows[0])
	f.rows = f.rows[1:]
	return nil
}

// TestEveryAnswerIsOnRecord counts the records of what the gateway's door was asked.
func TestEveryAnswerIsOnRecord(t *testing.T) {
	w := newWorld(t)
	d := w.direct("csv", render.CSV)
	for _, p := range principals() {
		for _, table := range cardlake.Tables {
			before := len(w.log.Records())
			a := d.ask(p, "SELECT * FROM "+table.FullName())
			records := w.log.Records()[before:]
			want := audit.Allowed
			if a.refusal != "" {
				want = audit.Refused
			}
			if len(records) == 0 || records[0].Actor != p.String() || records[0].Action != "query" || records[0].Outcome != want || records[0].Resource != table.FullName() {
				t.Errorf("%s, %s: %+v", p, table.FullName(), records)
			}
			if want == audit.Allowed && (len(records) != 2 || records[1].Action != "query.done" || records[0].Detail["policy_version"] == "") {
				t.Errorf("%s, %s: %+v", p, table.FullName(), records)
			}
		}
	}
}

// TestNothingIsReadUnrecorded takes the log away.
func TestNothingIsReadUnrecorded(t *testing.T) {
	w := newWorld(t)
	w.log.Fail(io.ErrClosedPipe)
	opened := w.lake.Opened.Load()
	for _, d := range []door{w.direct("csv", render.CSV), w.http(t, "json", "application/json", render.JSON), w.flight(t), w.pages(t, false), w.pages(t, true), w.exports(t, aurora)} {
		for _, p := range principals() {
			if a := d.ask(p, "SELECT * FROM cards.transactions"); a.refusal == "" {
				t.Errorf("%s, %s: answered without a record", d.name, p)
			}
		}
	}
	if n := w.lake.Opened.Load() - opened; n != 0 {
		t.Errorf("%d objects were opened", n)
	}
}

// TestOthersDoNotShow compares a lake with one that has only the caller's rows: no statement
// may tell which of them it is, by its rows, its errors or what is told besides.
func TestOthersDoNotShow(t *testing.T) {
	full := newWorld(t)
	for _, own := range []cardlake.Tenant{bolivar} {
		alone := newWorld(t, slices.DeleteFunc(slices.Clone(tenants), func(t cardlake.Tenant) bool { return t == own })...)
		p := grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@" + string(own)}
		for _, at := range [][2]door{
			{full.direct("csv", render.CSV), alone.direct("csv", render.CSV)},
			{full.flight(t), alone.flight(t)},
		} {
			a, b := at[0], at[1]
			for _, sql := range probes() {
				x, y := a.ask(p, sql), b.ask(p, sql)
				if x.all() != y.all() {
					t.Errorf("%s, %s: %s\nwith other tenants: %s\nwithout: %s", a.name, p, sql, x.all(), y.all())
				}
				hide := func(out string) string { return strings.ReplaceAll(out, sql, "") } // an error shows it
				checkBytes(t, sql, p, answer{rows: hide(x.rows), aside: x.aside, refusal: hide(x.refusal)})
			}
			if x, y := a.list(p), b.list(p); x.all() != y.all() {
				t.Errorf("%s, %s: tables\nwith other tenants: %s\nwithout: %s", a.name, p, x.all(), y.all())
			}
		}
	}
}

// TestMasksAreNotUndone asks about masked and dropped columns in every clause. What is asked
// acts on what is shown.
func TestMasksAreNotUndone(t *testing.T) {
	w := newWorld(t)
	d := w.direct("csv", render.CSV)
	p := grants.Principal{Kind: grants.DataScientist, Name: "ana"}
	for _, table := range []*cardlake.Table{cardlake.Transactions} {
		for _, c := range table.Columns {
			if c.Tag != cardlake.Identifier && c.Tag != cardlake.MoneyTag || c.Type != cardlake.String && c.Type != cardlake.Decimal18x4 {
				continue
			}
			for _, tenant := range tenants {
				if given(p, table, c, tenant) == grants.Clear {
					continue
				}
				clear := fmt.Sprint(value(table, c, tenant, 0))
				literal := "'" + clear + "'"
				if c.Type == cardlake.Decimal18x4 {
					literal = fmt.Sprintf("%d.%04d", raw(value(table, c, tenant, 0)).(int64)/10_000, raw(value(table, c, tenant, 0)).(int64)%10_000)
				}
				var finds []string
				for _, where := range []string{
					`"%[1]s" = %[2]s`, `"%[1]s" IN (%[2]s)`, `"%[1]s" >= %[2]s AND "%[1]s" <= %[2]s`, `%[2]s = "%[1]s"`,
					`"%[1]s" IN (SELECT %[2]s)`, `NOT ("%[1]s" <> %[2]s)`, `"%[1]s" BETWEEN %[2]s AND %[2]s`,
				} {
					where := fmt.Sprintf(where, c.Name, literal)
					for _, sql := range []string{
						"(SELECT count(*) FROM cards.transactions WHERE tenant = '%[1]s' AND %[2]s)",
						"(SELECT count(*) FILTER (WHERE %[2]s) FROM cards.transactions WHERE tenant = '%[1]s')",
						"(SELECT count(*) FROM (SELECT * FROM cards.transactions WHERE tenant = '%[1]s') x WHERE %[2]s)",
						"(SELECT coalesce(sum(CASE WHEN %[2]s THEN 1 ELSE 0 END), 0)::BIGINT FROM cards.transactions WHERE tenant = '%[1]s')",
					} {
						finds = append(finds, fmt.Sprintf(sql, tenant, where))
					}
				}
				checkCount(t, c.Name+" of "+string(tenant), d, d.ask(p, "SELECT ("+strings.Join(finds, " + ")+")::BIGINT AS n"), 0)
				for _, sql := range []string{
					`SELECT min("%[1]s"), max("%[1]s"), any_value("%[1]s"), first("%[1]s"), count(DISTINCT "%[1]s") FROM cards.transactions WHERE tenant = '%[2]s'`,
					`SELECT string_agg("%[1]s"::VARCHAR, ',') FROM cards.transactions WHERE tenant = '%[2]s'`,
					`SELECT approx_top_k("%[1]s", 3), mode("%[1]s"), arg_max("%[1]s", event_time) FROM cards.transactions WHERE tenant = '%[2]s'`,
					`SELECT list("%[1]s") FROM cards.transactions WHERE tenant = '%[2]s'`,
					`SELECT lag("%[1]s") OVER (ORDER BY "%[1]s") FROM cards.transactions WHERE tenant = '%[2]s'`,
					`SELECT DISTINCT "%[1]s" FROM cards.transactions WHERE tenant = '%[2]s' ORDER BY 1`,
					`SELECT CAST("%[1]s" AS DATE) FROM cards.transactions WHERE tenant = '%[2]s'`,
					`SELECT CAST("%[1]s"::VARCHAR AS INTEGER) FROM cards.transactions WHERE tenant = '%[2]s'`,
					`SELECT strptime("%[1]s"::VARCHAR, '%%Y') FROM cards.transactions WHERE tenant = '%[2]s'`,
				} {
					a := d.ask(p, fmt.Sprintf(sql, c.Name, tenant))
					checkBytes(t, sql, p, a)
					if strings.Contains(a.all(), clear) || strings.Contains(a.all(), literal) {
						t.Errorf("%s of %s comes out of %s:\n%s", c.Name, tenant, sql, a.all())
					}
				}
			}
		}
	}
}
