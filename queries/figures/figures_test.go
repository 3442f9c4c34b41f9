package figures_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
)

// site is a lake of events and of the results of jobs, and an engine over it.
type site struct {
	parser *embedded.Parser
	engine *embedded.Engine
}

// gateway is the way in for those with the permits.
func (s *site) gateway(permits queries.Permits) *queries.Gateway {
	return queries.New(s.parser, s.engine, permits, &queriestest.Log{}, queries.Config{Views: views.All})
}

// asker answers statements.
type asker func(sql string) (*queries.Result, error)

// as asks as somebody with the permits.
func (s *site) as(t testing.TB, permits queries.Permits) asker {
	g := s.gateway(permits)
	return func(sql string) (*queries.Result, error) { return g.Query(t.Context(), queriestest.Caller, sql) }
}

// answer is a whole answer, each row a line.
type answer struct {
	columns []queries.Column
	rows    [][]any
	lines   []string
}

func (a *answer) names() (names []string) {
	for _, c := range a.columns {
		names = append(names, c.Name)
	}
	return names
}

// at returns the cells of the column.
func (a *answer) at(t testing.TB, name string) (cells []any) {
	t.Helper()
	i := slices.Index(a.names(), name)
	if i < 0 {
		t.Fatalf("no column %s in %v", name, a.names())
	}
	for _, row := range a.rows {
		cells = append(cells, row[i])
	}
	return cells
}

func ask(t testing.TB, by asker, sql string) *answer {
	t.Helper()
	r, err := by(sql)
	if err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
	defer r.Close()
	a := &answer{columns: slices.Clone(r.Columns())}
	for {
		row := make([]any, len(a.columns))
		err := r.Next(row)
		if errors.Is(err, io.EOF) {
			return a
		}
		if err != nil {
			t.Fatalf("%s\n%v", sql, err)
		}
		cells := make([]any, len(row))
		for i, v := range row {
			if cells[i] = v; a.columns[i].Type.ID() == arrow.DECIMAL128 && v != nil {
				cells[i] = v.(decimal128.Num).ToString(a.columns[i].Type.(*arrow.Decimal128Type).Scale)
			}
		}
		a.rows = append(a.rows, row)
		a.lines = append(a.lines, line(cells...))
	}
}

// line writes a row: NULL is ∅, and doubles have twelve digits.
func line(cells ...any) string {
	words := make([]string, len(cells))
	for i, c := range cells {
		switch c := c.(type) {
		case nil:
			words[i] = "∅"
		case time.Time:
			words[i] = strings.TrimSuffix(c.UTC().Format("2006-01-02T15:04:05.999999"), "T00:00:00")
		case float64:
			words[i] = strconv.FormatFloat(c, 'g', 12, 64)
		default:
			words[i] = fmt.Sprint(c)
		}
	}
	return strings.Join(words, " | ")
}

func figure(t testing.TB, name string) figures.Figure {
	t.Helper()
	f, ok := figures.Named(name)
	if !ok {
		t.Fatalf("there is no figure %s", name)
	}
	return f
}

func statement(t testing.TB, f figures.Figure, a figures.Args) string {
	t.Helper()
	sql, err := f.For(a)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	return sql
}

var (
	begin = queriestest.Epoch
	end   = begin.AddDate(0, 0, 60) // of all that newData makes
)

// homes are the currencies of the tenants.
var homes = func() map[cardlake.Tenant]cardlake.Currency {
	out := map[cardlake.Tenant]cardlake.Currency{}
	for _, of := range queriestest.Tenants {
		out[of.Name] = of.Currency
	}
	return out
}()

// argsOf are arguments that find something, with what f requires.
func argsOf(f figures.Figure, d *data) figures.Args {
	i := slices.IndexFunc(d.events, func(e *cardlake.Transaction) bool {
		return e.EventType == cardlake.Authorization && e.Approved && e.MerchantID != "" && e.Amount.Currency == homes[e.Tenant]
	})
	e := d.events[i]
	a := figures.Args{Tenant: e.Tenant, From: begin, To: end, Values: map[string]string{}}
	alert := "none"
	for _, row := range d.alerts(a) {
		alert = row["alert_id"].(string)
	}
	if f.Scope == figures.OfLake {
		a.Tenant = ""
	}
	known := map[string]string{
		"currency": string(e.Amount.Currency), "purchase": e.TransactionID.String(), "card": e.CardToken, "merchant": e.MerchantID,
		"alert": alert, "at": timeOf(e.EventTime).Format(time.RFC3339), "job": "predict", "segment": "segment-1", "customer": "customer-4",
	}
	for _, p := range f.Params {
		if p.Required {
			a.Values[p.Name] = known[p.Name]
		}
	}
	return a
}

// TestFiguresAreSound: names, documentation, parameters.
func TestFiguresAreSound(t *testing.T) {
	pages := map[string]int{}
	seen := map[string]bool{}
	for _, f := range figures.All {
		pages[f.Page]++
		if seen[f.Name] || f.Name == "" || strings.Trim(f.Name, "abcdefghijklmnopqrstuvwxyz-") != "" {
			t.Errorf("name %q", f.Name)
		}
		seen[f.Name] = true
		if !strings.HasSuffix(f.Doc, ".") || len(f.Doc) > 420 {
			t.Errorf("%s: doc of %d bytes: %q", f.Name, len(f.Doc), f.Doc)
		}
		if !strings.Contains(f.SQL, "ORDER BY") && !strings.Contains(f.SQL, "FROM (\n  SELECT count(") {
			t.Errorf("%s: rows without an order", f.Name)
		}
		names := map[string]bool{}
		for _, p := range f.Params {
			if names[p.Name] || p.Doc == "" || p.Type == "" || p.Type == figures.Choice && len(p.Values) == 0 || p.Required && p.Default != "" {
				t.Errorf("%s: parameter %+v", f.Name, p)
			}
			names[p.Name] = true
			placeholder := map[string]string{"sort": "{order}", "cursor": "{after}", "idle": "{before}", "at": "{before}"}[p.Name]
			if placeholder == "" {
				placeholder = "{" + p.Name + "}"
			}
			if !strings.Contains(f.SQL, placeholder) {
				t.Errorf("%s: parameter %s does nothing", f.Name, p.Name)
			}
		}
		if strings.Contains(f.SQL, "LIMIT {limit}") != names["limit"] || strings.Contains(f.SQL, "{from}") && f.Range == figures.NoRange {
			t.Errorf("%s: limit or range", f.Name)
		}
		if f.Scope == figures.OfTenant && !strings.Contains(f.SQL, "tenant = {tenant}") {
			t.Errorf("%s: of any tenant", f.Name)
		}
	}
	for _, page := range []string{"overview", "transactions", "declines", "cards", "merchants", "anomalies", "models", "segments", "predictions", "recommendations", "health", "audit"} {
		if pages[page] == 0 {
			t.Errorf("page %s has no figure", page)
		}
		delete(pages, page)
	}
	if len(pages) > 0 {
		t.Errorf("figures of other pages: %v", pages)
	}
}

// TestEveryFigure asks all of them as those who look at the pages do with
// the policies that a lake begins with: whoever may read one tenant gets of it what they get who
// may read all, and whoever is not given a column gets NULL for it.
func TestEveryFigure(t *testing.T) {
	d := newData(1, 300, 5)
	full := newSite(t, d)
	var tenants grantstest.Tenants
	for _, of := range queriestest.Tenants {
		tenants = append(tenants, catalog.TenantRecord{Name: of.Name, Country: of.Country, Currency: of.Currency, Status: catalog.TenantActive})
	}
	dir := t.TempDir()
	if err := grants.Init(dir, tenants); err != nil {
		t.Fatal(err)
	}
	set, err := grants.Open(dir, tenants, grants.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := full.gateway(set)
	as := func(principal string, tenant cardlake.Tenant) asker {
		p, err := grants.ParsePrincipal(principal)
		if err != nil {
			t.Fatal(err)
		}
		return func(sql string) (*queries.Result, error) {
			return g.QueryAt(t.Context(), grants.Caller{Principal: p, Origin: "test"}, queries.At{Tenant: tenant}, sql)
		}
	}
	ofTenants := []string{"overview", "transactions", "declines", "cards", "merchants", "anomalies", "models", "segments", "predictions", "recommendations"}
	ofOperators := []string{"overview", "declines", "cards", "merchants", "models", "health"}
	for _, f := range figures.All {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			a := argsOf(f, d)
			sql := statement(t, f, a)
			if strings.ContainsAny(sql, "{}") || !strings.HasSuffix(sql, "\n") {
				t.Errorf("not filled in:\n%s", sql)
			}
			got := ask(t, full.as(t, queriestest.Everything), sql)
			if len(got.rows) == 0 && f.Name != "purchase-alerts" {
				t.Errorf("no rows:\n%s", sql)
			}
			isMoney(t, f, got)
			if slices.Contains(ofTenants, f.Page) {
				of := ask(t, as("tenant_analyst/analyst@"+string(a.Tenant), a.Tenant), sql)
				if diff := cmp.Diff(got.lines, of.lines); diff != "" {
					t.Errorf("(-of all +of one):\n%s", diff)
				}
				of = ask(t, as("data_scientist/local", a.Tenant), sql)
				isNull(t, of, "bin", "last4")
			}
			if slices.Contains(ofOperators, f.Page) {
				of := ask(t, as("operator/local", a.Tenant), sql)
				isNull(t, of, "amount", "cards", "card_token", "median", "p50_", "bin", "last4", "card")
			}
			if f.Page == "audit" {
				if of := ask(t, as("auditor/local", ""), sql); len(of.rows) != len(got.rows) {
					t.Errorf("%d rows for an auditor", len(of.rows))
				}
			}
		})
	}
}

// isNull: columns with the names, or with one that ends so, are NULL or count nothing.
func isNull(t *testing.T, a *answer, names ...string) {
	t.Helper()
	for i, c := range a.columns {
		if !slices.ContainsFunc(names, func(name string) bool { return c.Name == name || strings.HasSuffix(c.Name, "_"+name) }) || c.Name == "purchases_per_card" {
			continue
		}
		for _, row := range a.rows {
			if row[i] != nil && row[i] != any(int64(0)) {
				t.Errorf("%s is %v", c.Name, row[i])
			}
		}
	}
}

// isMoney: whatever sums amounts says of which currency.
func isMoney(t *testing.T, f figures.Figure, a *answer) {
	t.Helper()
	hasCurrency := slices.ContainsFunc(f.Params, func(p figures.Param) bool { return p.Name == "currency" && p.Required })
	for _, c := range a.columns {
		hasCurrency = hasCurrency || c.Name == "currency" || c.Name == "billing_currency"
	}
	for _, c := range a.columns {
		isAmount := strings.HasSuffix(c.Name, "amount") || strings.HasPrefix(c.Name, "value_") || c.Name == "value" || c.Name == "monetary"
		if isAmount && !hasCurrency {
			t.Errorf("%s has no currency", c.Name)
		}
	}
}

// TestOptionalParameters checks every figure's statement with each value of its optional
// parameters. TestPortable has all of them at once.
func TestOptionalParameters(t *testing.T) {
	d := newData(2, 30, 5)
	g := newSite(t, nil).gateway(queriestest.Everything)
	for _, f := range figures.All {
		t.Run(f.Name, func(t *testing.T) {
			for _, p := range f.Params {
				if p.Required || p.Type == figures.Cursor || p.Name == "limit" {
					continue
				}
				tried := []string{harmless[p.Type]}
				switch p.Type {
				case figures.Choice:
					tried = p.Values
				case figures.Int:
					tried = []string{strconv.FormatInt(p.Min, 10), strconv.FormatInt(p.Max, 10)}
				}
				for _, v := range tried {
					a := argsOf(f, d)
					if a.Values[p.Name] = v; v == "amount" || v == "largest" || v == "smallest" {
						a.Values["currency"] = "BRL"
					}
					if _, err := g.Check(t.Context(), statement(t, f, a)); err != nil {
						t.Errorf("%s %s: %v", p.Name, v, err)
					}
				}
			}
		})
	}
}

// reader is an engine that looks at what statements read.
type reader struct {
	queries.Engine
	reads *[]queries.Read
}

func (r reader) Columns(_ context.Context, s queries.Statement) ([]queries.Column, error) {
	*r.reads = s.Reads
	return nil, nil
}

// TestFiltersReachTheTable: of transactions and totals, which are the many rows, no days are read
// that were not asked for, and none of other tenants.
func TestFiltersReachTheTable(t *testing.T) {
	d, s := newData(5, 30, 5), newSite(t, nil)
	var reads []queries.Read
	g := queries.New(s.parser, reader{reads: &reads}, queriestest.Everything, &queriestest.Log{}, queries.Config{Views: views.All})
	for _, f := range figures.All {
		a := argsOf(f, d)
		if _, err := g.Columns(t.Context(), queriestest.Caller, statement(t, f, a)); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		for _, read := range reads {
			if read.Table != cardlake.Transactions && read.Table != cardlake.ControlTotals {
				continue
			}
			if len(read.Filters) == 0 {
				t.Errorf("%s reads all of %s", f.Name, read.Table.FullName())
			}
			for _, all := range read.Filters {
				ofTenant, since, until := false, f.Range != figures.Ranged, f.Range != figures.Ranged
				for _, c := range all {
					switch column := read.Table.Columns[c.Column].Name; {
					case column == "tenant":
						ofTenant = len(c.In) == 1 && c.In[0] == string(a.Tenant)
					case column == read.Table.Time && c.Min != nil:
						since = c.Min.(int64) >= a.From.AddDate(0, 0, -30).UnixMicro()
					case column == read.Table.Time && c.Max != nil:
						until = c.Max.(int64) < a.To.UnixMicro()
					}
				}
				if !ofTenant || !since || !until {
					t.Errorf("%s reads too much of %s: %+v", f.Name, read.Table.FullName(), all)
				}
			}
		}
	}
}
