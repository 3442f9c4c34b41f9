package views_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/queries/views/viewstest"
)

// argsOf asks of a day, purchase and card that the events have.
func argsOf(events []*cardlake.Transaction) views.Args {
	i := slices.IndexFunc(events, approved(cardlake.Authorization))
	return views.Args{
		Tenant: events[i].Tenant, Day: dayOf(events[i].EventTime), Purchase: events[i].TransactionID, Card: events[i].CardToken,
	}
}

// TestStandardQuestions asks all of them, of somebody who has every column and of somebody who has
// next to none, and looks at the rows where a plain count can tell.
func TestStandardQuestions(t *testing.T) {
	if len(views.Standard) != 12 {
		t.Errorf("%d questions", len(views.Standard))
	}
	events := viewstest.Events(4, 200)
	args := argsOf(events)
	args.Limit = views.MaxLimit
	of := where(events, func(e *cardlake.Transaction) bool { return e.Tenant == args.Tenant })
	today := where(of, func(e *cardlake.Transaction) bool { return dayOf(e.EventTime).Equal(args.Day) })
	want := map[string]int{
		"cards": 3, "latest-events": len(today),
		"purchase": len(where(of, func(e *cardlake.Transaction) bool { return e.TransactionID == args.Purchase })),
		"card":     len(where(of, func(e *cardlake.Transaction) bool { return e.CardToken == args.Card })),
	}
	s := newSite(t, events)
	little := map[string]grants.Access{}
	for _, c := range cardlake.Transactions.Columns {
		if c.Tag != cardlake.Public {
			little[c.Name] = grants.Dropped
		}
	}
	for _, q := range views.Standard {
		t.Run(q.Name, func(t *testing.T) {
			sql, err := q.For(args)
			if err != nil {
				t.Fatal(err)
			}
			_, rows := ask(t, s.as(queriestest.Only(nil, args.Tenant)), sql)
			if n, ok := want[q.Name]; len(rows) == 0 || ok && len(rows) != n {
				t.Errorf("%d rows, want %d\n%s", len(rows), n, strings.Join(rows, "\n"))
			}
			ask(t, s.as(queriestest.Only(little, args.Tenant)), sql)
			if named, ok := views.QuestionNamed(q.Name); !ok || named != q || q.Doc == "" {
				t.Errorf("not found by its name, or not documented")
			}
		})
	}
}

// TestPages: page after page gives every event of the day once, also those of one instant.
func TestPages(t *testing.T) {
	events := viewstest.Events(5, 300)
	for _, e := range events[:100] {
		e.EventTime = events[0].EventTime
	}
	q, _ := views.QuestionNamed("latest-events")
	args := argsOf(events)
	args.Limit, args.Day = 9, dayOf(events[0].EventTime)
	s := newSite(t, events).as(queriestest.Only(nil, args.Tenant))
	want, got := map[string]int{}, map[string]int{}
	for _, e := range events {
		if e.Tenant == args.Tenant && dayOf(e.EventTime).Equal(args.Day) {
			want[e.EventID.String()]++
		}
	}
	for {
		sql, err := q.For(args)
		if err != nil {
			t.Fatal(err)
		}
		_, rows := ask(t, s, sql)
		for _, r := range rows {
			cells := strings.Split(r, " | ")
			got[cells[1]]++
			args.Before, err = time.Parse("2006-01-02T15:04:05.999999", cells[0])
			if err != nil {
				t.Fatal(err)
			}
			if args.BeforeID, err = cardlake.ParseEventID(cells[1]); err != nil {
				t.Fatal(err)
			}
		}
		if len(rows) < args.Limit {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 20 {
		t.Errorf("%d events (-want +got):\n%s", len(want), diff)
	}
}

func TestArgumentsAreChecked(t *testing.T) {
	good := views.Args{
		Tenant: "aurora", Day: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), Purchase: cardlake.EventID{1}, Card: "tk1_abc", Limit: 7,
	}
	q := views.Question{Name: "all", SQL: "{tenant} {day} {week_before} {begin} {end} {before} {before_id} {purchase} {card} {limit} {tenant}"}
	got, err := q.For(good)
	if err != nil {
		t.Fatal(err)
	}
	const id = "01000000-0000-0000-0000-000000000000"
	want := "'aurora' DATE '2026-03-02' DATE '2026-02-23' CAST('2026-03-02 00:00:00.000000+00:00' AS TIMESTAMP WITH TIME ZONE) " +
		"CAST('2026-03-03 00:00:00.000000+00:00' AS TIMESTAMP WITH TIME ZONE) CAST('2026-03-03 00:00:00.000000+00:00' AS TIMESTAMP WITH TIME ZONE) " +
		"'00000000-0000-0000-0000-000000000000' '" + id + "' 'tk1_abc' 7 'aurora'"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, unknown := range []string{"{nobody}", "{", "{tenant", "}{"} {
		if sql, err := (views.Question{SQL: unknown}).For(good); err == nil && sql != unknown {
			t.Errorf("%s is %q", unknown, sql)
		}
	}
	const secret = "x' OR '1'='1"
	for name, change := range map[string]func(*views.Args){
		"tenant":                func(a *views.Args) { a.Tenant = secret },
		"no tenant":             func(a *views.Args) { a.Tenant = "" },
		"no day":                func(a *views.Args) { a.Day = time.Time{} },
		"not a day":             func(a *views.Args) { a.Day = a.Day.Add(time.Hour) },
		"far day":               func(a *views.Args) { a.Day = a.Day.AddDate(9000, 0, 0) },
		"week before the epoch": func(a *views.Args) { a.Day = time.Unix(0, 0) },
		"before is far":         func(a *views.Args) { a.Before = a.Day.AddDate(9000, 0, 0) },
		"no purchase":           func(a *views.Args) { a.Purchase = cardlake.EventID{} },
		"card":                  func(a *views.Args) { a.Card = secret },
		"card with a brace":     func(a *views.Args) { a.Card = "{limit}" },
		"no card":               func(a *views.Args) { a.Card = "" },
		"long card":             func(a *views.Args) { a.Card = strings.Repeat("a", 65) },
		"limit":                 func(a *views.Args) { a.Limit = views.MaxLimit + 1 },
		"negative limit":        func(a *views.Args) { a.Limit = -1 },
	} {
		bad := good
		change(&bad)
		if strings.Contains(name, "day") { // whatever is made of it alone
			for _, made := range []string{"{day}", "{week_before}", "{begin}", "{end}", "{before}"} {
				if sql, err := (views.Question{SQL: made}).For(bad); err == nil || sql != "" {
					t.Errorf("%s: %s is %q", name, made, sql)
				}
			}
		}
		if sql, err := q.For(bad); err == nil || sql != "" || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %q, %v", name, sql, err)
		}
	}
}
