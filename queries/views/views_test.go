package views_test

import (
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
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/queries/views/viewstest"
)

// site is a lake of events and an engine over it.
type site struct {
	parser *embedded.Parser
	engine *embedded.Engine
}

func newSite(t testing.TB, events []*cardlake.Transaction) *site {
	t.Helper()
	lake, err := viewstest.Lake(events)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{embedded.NewParser(), embedded.New(lake, lake, embedded.Config{Threads: 2})}
	t.Cleanup(func() { s.parser.Close() })
	return s
}

// as returns the site as somebody with the permits has it.
func (s *site) as(permits queries.Permits) queries.Session {
	return queries.New(s.parser, s.engine, permits, &queriestest.Log{}, queries.Config{Views: views.All}).As(queriestest.Caller)
}

// ask returns the columns and the rows of an answer, each row a line.
func ask(t testing.TB, s queries.Session, sql string) ([]queries.Column, []string) {
	t.Helper()
	r, err := s.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	defer r.Close()
	columns := r.Columns()
	var lines []string
	for row := make([]any, len(columns)); ; {
		err := r.Next(row)
		if errors.Is(err, io.EOF) {
			return columns, lines
		}
		if err != nil {
			t.Fatalf("%.200s: %v", sql, err)
		}
		cells := make([]any, len(row))
		for i, v := range row {
			cells[i] = v
			if d, ok := v.(decimal128.Num); ok {
				cells[i] = d.ToString(columns[i].Type.(*arrow.Decimal128Type).Scale)
			}
		}
		lines = append(lines, line(cells...))
	}
}

// line writes a row: NULL is ∅.
func line(cells ...any) string {
	words := make([]string, len(cells))
	for i, c := range cells {
		switch c := c.(type) {
		case nil:
			words[i] = "∅"
		case time.Time:
			words[i] = c.UTC().Format("2006-01-02T15:04:05.999999")
		case float64:
			words[i] = strconv.FormatFloat(c, 'g', -1, 64)
		default:
			words[i] = fmt.Sprint(c)
		}
	}
	return strings.Join(words, " | ")
}

func viewNamed(name string) *queries.View {
	return views.All[slices.IndexFunc(views.All, func(v *queries.View) bool { return v.Name == name })]
}

// TestViewsAreWhatTheModelSays compares every view with its definition in plain Go, on random
// purchases; what the order of arrival is must not matter.
func TestViewsAreWhatTheModelSays(t *testing.T) {
	for seed := range uint64(2) {
		events := viewstest.Events(seed, 1000)
		s := newSite(t, events).as(queriestest.Everything)
		for _, v := range views.All {
			t.Run(fmt.Sprintf("%s/%d", v.Name, seed), func(t *testing.T) {
				model, ok := models[v.Name]
				if !ok {
					t.Fatal("the view has no model")
				}
				want := model(events)
				_, got := ask(t, s, "SELECT * FROM "+v.FullName())
				slices.Sort(want)
				slices.Sort(got)
				if len(want) < 9 {
					t.Errorf("the model has %d rows only", len(want))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-model +view):\n%.3000s", diff)
				}
			})
		}
	}
}

// TestDeclaredColumns: the data dictionary says what the engine returns, also over no rows.
func TestDeclaredColumns(t *testing.T) {
	full, empty := newSite(t, viewstest.Events(1, 10)).as(queriestest.Everything), newSite(t, nil).as(queriestest.Everything)
	for _, v := range views.All {
		t.Run(v.Name, func(t *testing.T) {
			var want []string
			for _, c := range v.Columns {
				want = append(want, c.Name+" "+c.Type.String())
			}
			for _, s := range []queries.Session{full, empty} {
				columns, _ := ask(t, s, "SELECT * FROM "+v.FullName())
				var got []string
				for _, c := range columns {
					got = append(got, c.Name+" "+c.Type.String())
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-declared +engine):\n%s", diff)
				}
			}
			if _, rows := ask(t, empty, "SELECT * FROM "+v.FullName()); len(rows) != 0 {
				t.Errorf("%d rows over an empty table", len(rows))
			}
		})
	}
}

func TestViewsAreDocumented(t *testing.T) {
	for _, v := range views.All {
		if !strings.HasSuffix(v.Doc, ".") || v.Namespace != views.Namespace {
			t.Errorf("%s: %q", v.FullName(), v.Doc)
		}
		if i := slices.IndexFunc(v.Columns, func(c queries.ViewColumn) bool { return c.Name == "tenant" }); i < 0 {
			t.Errorf("%s has no column tenant", v.FullName())
		}
		if strings.Contains(v.SQL, "*,") || strings.Contains(v.SQL, "SELECT *") {
			t.Errorf("%s reads columns that it does not name", v.FullName())
		}
		seen := map[string]bool{}
		for _, c := range v.Columns {
			if c.Doc == "" || c.Tag == "" || c.Type == nil || seen[c.Name] {
				t.Errorf("%s: column %s: doc %q, tag %q, type %v", v.FullName(), c.Name, c.Doc, c.Tag, c.Type)
			}
			seen[c.Name] = true
		}
	}
}

// TestColumnsNotGiven drops and masks columns, every other one, and all: no view fails. What is
// made of a column that is not given is NULL, not a number.
func TestColumnsNotGiven(t *testing.T) {
	tenants := []cardlake.Tenant{"aurora", "bolivar", "cobre"}
	events := newSite(t, viewstest.Events(2, 60))
	var every []string
	for _, v := range views.All {
		every = append(every, "(SELECT count(*) FROM (SELECT DISTINCT * FROM "+v.FullName()+"))")
	}
	for name, pick := range map[string]func(i int, c cardlake.Column) bool{
		"odd":  func(i int, c cardlake.Column) bool { return i%2 == 1 && c.Name != "tenant" },
		"even": func(i int, c cardlake.Column) bool { return i%2 == 0 && c.Name != "tenant" },
		"all":  func(_ int, c cardlake.Column) bool { return c.Name != "tenant" },
	} {
		for _, a := range []grants.Access{grants.Dropped, grants.Masked} {
			access := map[string]grants.Access{}
			for i, c := range cardlake.Transactions.Columns {
				if pick(i, c) {
					access[c.Name] = a
				}
			}
			t.Run(name+"/"+a.String(), func(t *testing.T) {
				ask(t, events.as(queriestest.Only(access, tenants...)), "SELECT "+strings.Join(every, ", "))
			})
		}
	}

	for _, tc := range []struct{ column, sql, want string }{
		{"amount", "SELECT count(*) > 0, count(net_amount), count(authorized_amount), count(status) > 0 FROM views.transactions", "true | 0 | 0 | true"},
		{"approved", "SELECT count(*) > 0, count(net_amount), count(status) FROM views.transactions", "true | 0 | 0"},
		{"event_type", "SELECT count(*) > 0, count(net_amount), count(status) FROM views.transactions", "true | 0 | 0"},
		{"currency", "SELECT count(*) > 0, count(net_amount), count(authorized_amount) FROM views.transactions", "true | 0 | 0"},
		{"billing_amount", "SELECT count(net_amount) > 0, count(billing_net_amount) FROM views.transactions", "true | 0"},
		{"approved", "SELECT count(*) > 0, count(requests) > 0, count(approved), count(approval_rate), count(approved_amount) FROM views.approvals_by_hour", "true | true | 0 | 0 | 0"},
		{"amount", "SELECT count(approved) > 0, count(requested_amount), count(approved_amount) FROM views.approvals_by_hour", "true | 0 | 0"},
		{"amount", "SELECT count(refunds) > 0, count(requested_amount), count(approved_amount), count(refunded_amount) FROM views.tenant_daily", "true | 0 | 0 | 0"},
		{"event_type", "SELECT count(*) > 0, count(requests), count(approval_rate), count(refunds), count(approved_amount) FROM views.tenant_daily", "true | 0 | 0 | 0 | 0"},
		{"approved", "SELECT count(requests) > 0, count(approved), count(refunds), count(refunded_amount) FROM views.merchant_daily", "true | 0 | 0 | 0"},
		{"amount", "SELECT count(declined) > 0, count(declined_amount) FROM views.declines", "true | 0"},
		{"card_token", "SELECT count(*) > 0, count(cards) FROM views.declines", "true | 0"},
		{"card_token", "SELECT count(*) > 0, count(cards) FROM views.tenant_daily", "true | 0"},
		{"card_token", "SELECT count(*) FROM views.active_cards", "0"},
		{"card_token", "SELECT count(*) FROM views.active_cards_by_month", "0"},
		{"amount", "SELECT count(*) FROM views.interchange_estimate", "0"},
		{"amount", "SELECT count(charged_back) > 0, count(purchased_amount), count(charged_back_amount) FROM views.chargebacks", "true | 0 | 0"},
	} {
		s := events.as(queriestest.Only(map[string]grants.Access{tc.column: grants.Dropped}, tenants...))
		if _, got := ask(t, s, tc.sql); len(got) != 1 || got[0] != tc.want {
			t.Errorf("without %s: %s\ngot %q, want %s", tc.column, tc.sql, got, tc.want)
		}
	}
}

// TestOneTenant: who may read one tenant's rows gets of each view what it has for that tenant.
func TestOneTenant(t *testing.T) {
	events := newSite(t, viewstest.Events(3, 60))
	all, one := events.as(queriestest.Everything), events.as(queriestest.Only(nil, "bolivar"))
	for _, v := range views.All {
		_, want := ask(t, all, "SELECT * FROM "+v.FullName()+" WHERE tenant = 'bolivar'")
		_, got := ask(t, one, "SELECT * FROM "+v.FullName())
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
			t.Errorf("%s: %d rows (-where +scope):\n%.2000s", v.FullName(), len(got), diff)
		}
	}
}

// TestFiltersReachTheTable: what is not asked for is not read.
func TestFiltersReachTheTable(t *testing.T) {
	events := viewstest.Events(6, 100)
	s := newSite(t, events).as(queriestest.Everything)
	args := argsOf(events)
	days, both := map[cardlake.Day]bool{}, int64(0)
	for _, e := range events {
		if e.Tenant == args.Tenant {
			days[cardlake.DayOf(e.EventTime)] = true
		}
	}
	for _, d := range []time.Time{args.Day, args.Day.AddDate(0, 0, -7)} {
		if days[cardlake.DayOf(d.UnixMicro())] {
			both++
		}
	}
	files := func(sql string) int64 {
		r, err := s.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		return r.Snapshots()[0].Files
	}
	needsThePast := []string{"transactions", "active_cards", "active_cards_by_month", "interchange_estimate", "chargebacks"}
	for _, v := range views.All {
		if !strings.Contains(v.SQL, "cards.transactions") && !strings.Contains(v.SQL, "views.") {
			continue
		}
		sql := "SELECT * FROM " + v.FullName() + " WHERE tenant = '" + string(args.Tenant) + "'"
		if n := files(sql); n == 0 || n > int64(len(days)) {
			t.Errorf("%s: %d files for a tenant that has %d", v.Name, n, len(days))
		}
		if slices.Contains(needsThePast, v.Name) {
			continue
		}
		if n := files(sql + " AND day = DATE '" + args.Day.Format(time.DateOnly) + "'"); n > 1 {
			t.Errorf("%s: %d files for a day", v.Name, n)
		}
	}
	for _, q := range views.Standard {
		sql, err := q.For(args)
		if err != nil {
			t.Fatal(err)
		}
		want := int64(1)
		switch q.Name {
		case "cards", "purchase", "card":
			continue
		case "latest-events":
			want = 2 // the day after may begin with its first event
		case "day-and-week-before":
			want = both
		}
		if n := files(sql); n > want {
			t.Errorf("question %s: %d files, want at most %d", q.Name, n, want)
		}
	}
}
