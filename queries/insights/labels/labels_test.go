package labels_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/queries/insights/labels"
	"github.com/cardlake/cardlake/writers/writerstest"
)

const acme, zeta = cardlake.Tenant("acme"), cardlake.Tenant("zeta")

// alarm is a job that raises an alert for each of the tenant's events.
type alarm struct{}

func (alarm) Name() string                     { return "anomaly" }
func (alarm) Version() string                  { return "1" }
func (alarm) Tables() []*cardlake.Table        { return []*cardlake.Table{cardlake.Alerts} }
func (alarm) Parameters() []insights.Parameter { return nil }
func (alarm) ReadsLabels() bool                { return false }

func (alarm) Run(ctx context.Context, t *insights.Task) error {
	t.Card.Method, t.Card.Summary = "all", "all"
	t.Covers(t.First, t.AsOf)
	n := int32(0)
	return t.Each(ctx, `SELECT event_time, event_id FROM cards.transactions ORDER BY event_time, event_id`, func(row []any) error {
		n++
		id := row[1].(string)
		return t.Append(ctx, cardlake.Alerts, insights.ID("alert", string(t.Tenant), id), row[0], id, "t", "k", nil, nil, nil, nil, nil, "pos", true, 12.5, "BRL",
			0.5, nil, "high", "card_testing", n, "because", "[]")
	})
}

func analyst(tenant cardlake.Tenant) grants.Principal {
	return grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@" + string(tenant)}
}

// lake has ten events of each tenant and alerts for them.
func lake(t *testing.T) *insightstest.Lake {
	t.Helper()
	l := insightstest.New(t, acme, zeta)
	var txs []*cardlake.Transaction
	for i, tx := range writerstest.New(1).Take(20) {
		tx.Tenant = []cardlake.Tenant{acme, zeta}[i%2]
		txs = append(txs, tx)
	}
	l.Add(txs...)
	for _, tenant := range []cardlake.Tenant{acme, zeta} {
		if _, err := l.Run(alarm{}, tenant, nil); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func desk(l *insightstest.Lake, p grants.Principal) *labels.Desk {
	return labels.New(l.Deps(), grants.Caller{Principal: p, Origin: "test"})
}

// column is the first column of the statement's answer.
func column(l *insightstest.Lake, tenant cardlake.Tenant, sql string) (out []string) {
	for _, row := range l.Ask(tenant, sql) {
		out = append(out, fmt.Sprint(row[0]))
	}
	return out
}

func read(t *testing.T, text string) []labels.Report {
	t.Helper()
	reports, err := labels.Read(strings.NewReader(text), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return reports
}

const byEvent = `SELECT event_id || ' ' || label || ' ' || source || ' ' || coalesce(pattern, '-') || ' ' || reporter FROM insights.labels ORDER BY event_id, reported_at, label_id`

func TestAdd(t *testing.T) {
	l := lake(t)
	events := column(l, acme, `SELECT event_id FROM cards.transactions ORDER BY event_id`)
	file := "event_id,label,reported_at,pattern\n" +
		events[0] + ",fraud,2026-01-05,stolen_card\n" +
		events[1] + ",genuine,2026-01-05T10:00:00Z,\n" +
		events[2] + ",,,\n" +
		"00000000-0000-8000-8000-000000000000,fraud,2025-12-31,\n"
	d := desk(l, analyst(acme))
	out, err := d.Add(t.Context(), acme, labels.Chargeback, read(t, file))
	if diff := cmp.Diff(labels.Outcome{Tenant: acme, Added: 4, Strangers: 1}, out); err != nil || diff != "" {
		t.Fatalf("%v\n%s", err, diff)
	}
	who := " tenant_analyst/analyst@acme"
	want := []string{
		"00000000-0000-8000-8000-000000000000 fraud chargeback -" + who,
		events[0] + " fraud chargeback stolen_card" + who,
		events[1] + " genuine chargeback -" + who,
		events[2] + " fraud chargeback -" + who,
	}
	if diff := cmp.Diff(want, column(l, acme, byEvent)); diff != "" {
		t.Error(diff)
	}
	// The same file again, and one that repeats a part of it, add nothing; a later label of the same event does.
	for range 2 {
		if out, err := d.Add(t.Context(), acme, labels.Chargeback, read(t, file)); err != nil || out.Added != 0 || out.Known != 4 {
			t.Errorf("the same file again: %+v, %v", out, err)
		}
	}
	more := "event_id,label,reported_at\n" + events[0] + ",fraud,2026-01-05\n" + events[0] + ",genuine,2026-02-01\n"
	if out, err := d.Add(t.Context(), acme, labels.Chargeback, read(t, more)); err != nil || out.Added != 2 || out.Known != 0 {
		t.Errorf("another pattern and a later label: %+v, %v", out, err)
	}
	if out, err := d.Add(t.Context(), acme, labels.File, read(t, file)); err != nil || out.Added != 4 {
		t.Errorf("from another source: %+v, %v", out, err)
	}
	if got := column(l, zeta, byEvent); len(got) != 0 {
		t.Errorf("another tenant sees %v", got)
	}
}

func TestReview(t *testing.T) {
	l := lake(t)
	d := desk(l, analyst(acme))
	ids := column(l, acme, `SELECT alert_id FROM views.alerts ORDER BY alert_id`)
	status := func() []string {
		return column(l, acme, `SELECT status || ' ' || coalesce(note, '-') FROM views.alerts ORDER BY alert_id LIMIT 3`)
	}
	review := func(label labels.Label, note string, alerts ...string) labels.Outcome {
		t.Helper()
		out, err := d.Review(t.Context(), "", label, note, alerts)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := review(labels.Fraud, "", ids[0], ids[1], ids[0]); out.Added != 2 || out.Tenant != acme {
		t.Errorf("confirmed: %+v", out)
	}
	if out := review(labels.Fraud, "", ids[0]); out.Added != 0 || out.Known != 1 {
		t.Errorf("confirmed again: %+v", out)
	}
	review(labels.Genuine, "customer's own holiday", ids[1], ids[2])
	if diff := cmp.Diff([]string{"confirmed -", "dismissed customer's own holiday", "dismissed customer's own holiday"}, status()); diff != "" {
		t.Error(diff)
	}
	review(labels.Fraud, "", ids[1])
	if diff := cmp.Diff([]string{"confirmed -", "confirmed -", "dismissed customer's own holiday"}, status()); diff != "" {
		t.Error(diff)
	}
	if got := column(l, acme, `SELECT pattern FROM insights.labels WHERE label = 'fraud' AND alert_id = '`+ids[0]+`'`); !slices.Equal(got, []string{"card_testing"}) {
		t.Errorf("pattern of a confirmed alert: %v", got)
	}
	// Each is on record, with who, what and which.
	var lines []string
	for _, r := range l.Log.Records() {
		if r.Action == "label.review" {
			lines = append(lines, fmt.Sprint(r.Actor, " ", r.Outcome, " ", r.Resource, " ", r.Detail["label"], " ", r.Numbers["rows"], " ", strings.Contains(r.Detail["alerts"], ids[1])))
		}
	}
	want := []string{
		"tenant_analyst/analyst@acme allowed labels of tenant acme fraud 2 true",
		"tenant_analyst/analyst@acme allowed labels of tenant acme genuine 2 true",
		"tenant_analyst/analyst@acme allowed labels of tenant acme fraud 1 true",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestOthersAlertsCannotBeReviewed(t *testing.T) {
	l := lake(t)
	own := column(l, acme, `SELECT alert_id FROM views.alerts ORDER BY alert_id`)
	others := column(l, zeta, `SELECT alert_id FROM views.alerts ORDER BY alert_id`)
	stranger := strings.Repeat("a", 32)
	d := desk(l, analyst(acme))
	for name, review := range map[string]func() error{
		"another's": func() error {
			_, err := d.Review(t.Context(), "", labels.Fraud, "", []string{others[0]})
			return err
		},
		"one's own and another's": func() error {
			_, err := d.Review(t.Context(), "", labels.Fraud, "", []string{own[0], others[0]})
			return err
		},
		"one that is not there": func() error {
			_, err := d.Review(t.Context(), "", labels.Fraud, "", []string{stranger})
			return err
		},
		"another's, in its name": func() error {
			_, err := d.Review(t.Context(), zeta, labels.Fraud, "", []string{others[0]})
			return err
		},
		"a file for another": func() error {
			_, err := d.Add(t.Context(), zeta, labels.File, []labels.Report{{EventID: "00000000-0000-8000-8000-000000000000", Label: labels.Fraud}})
			return err
		},
		"a file for nobody": func() error {
			_, err := d.Add(t.Context(), "", labels.File, []labels.Report{{EventID: "00000000-0000-8000-8000-000000000000", Label: labels.Fraud}})
			return err
		},
		"a data scientist, who sees them all": func() error {
			_, err := desk(l, grants.Principal{Kind: grants.DataScientist, Name: "local"}).Review(t.Context(), "", labels.Fraud, "", []string{own[0]})
			return err
		},
		"the job": func() error {
			_, err := desk(l, insightstest.Principal).Add(t.Context(), acme, labels.File, []labels.Report{{EventID: "00000000-0000-8000-8000-000000000000", Label: labels.Fraud}})
			return err
		},
		"nobody": func() error {
			_, err := desk(l, grants.Principal{Kind: grants.TenantAnalyst, Name: "eve"}).Tenant(t.Context(), "")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(l.Log.Records())
			err := review()
			if !errors.Is(err, labels.ErrNoAlert) && !errors.Is(err, labels.ErrNotPermitted) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), string(zeta)) && name != "another's, in its name" {
				t.Errorf("the refusal names the other tenant: %v", err)
			}
			isRecorded := slices.ContainsFunc(l.Log.Records()[before:], func(r audit.Record) bool {
				return r.Outcome == audit.Refused && strings.HasPrefix(r.Action, "label.")
			})
			if !isRecorded {
				t.Error("the refusal is not on record")
			}
		})
	}
	for _, tenant := range []cardlake.Tenant{acme, zeta} {
		if got := column(l, tenant, byEvent); len(got) != 0 {
			t.Errorf("%s has labels %v", tenant, got)
		}
	}
}

func TestNothingWithoutTheRecord(t *testing.T) {
	l := lake(t)
	d := desk(l, analyst(acme))
	report := []labels.Report{{EventID: "00000000-0000-8000-8000-000000000000", Label: labels.Fraud}}
	failing := errors.New("disk full")
	deps := l.Deps()
	deps.Recorder = failAfter{failing}
	if _, err := labels.New(deps, grants.Caller{Principal: analyst(acme)}).Add(t.Context(), acme, labels.File, report); !errors.Is(err, queries.ErrUnrecorded) {
		t.Errorf("without the record: %v", err)
	}
	if got := column(l, acme, byEvent); len(got) != 0 {
		t.Errorf("added all the same: %v", got)
	}
	if out, err := d.Add(t.Context(), acme, labels.File, report); err != nil || out.Added != 1 {
		t.Errorf("with the record: %+v, %v", out, err)
	}
}

type failAfter struct{ err error }

func (f failAfter) Append(context.Context, audit.Record) error { return f.err }

// rival commits the same report, once, when somebody is about to commit.
type rival struct {
	insights.Table
	before func()
}

func (r *rival) Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	if before := r.before; before != nil {
		r.before = nil
		before()
	}
	return r.Table.Append(ctx, a)
}

func TestTwoAtOnceCountOnce(t *testing.T) {
	l := lake(t)
	report := []labels.Report{{EventID: "00000000-0000-8000-8000-000000000000", Label: labels.Fraud}}
	deps := l.Deps()
	inner := &rival{before: func() {
		if out, err := desk(l, analyst(acme)).Add(t.Context(), acme, labels.File, report); err != nil || out.Added != 1 {
			t.Errorf("the rival: %+v, %v", out, err)
		}
	}}
	deps.Table = func(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
		table, err := l.Table(ctx, def)
		inner.Table = table
		return inner, err
	}
	out, err := labels.New(deps, grants.Caller{Principal: analyst(acme)}).Add(t.Context(), acme, labels.File, report)
	if err != nil || out.Added != 0 || out.Known != 1 {
		t.Errorf("the other: %+v, %v", out, err)
	}
	if got := column(l, acme, byEvent); len(got) != 1 {
		t.Errorf("labels %v", got)
	}
}

func TestReviewRefusals(t *testing.T) {
	l := insightstest.New(t, acme)
	d := desk(l, analyst(acme))
	id := strings.Repeat("a", 32)
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("%032d", i)
	}
	for _, test := range []struct {
		name, note string
		alerts     []string
		want       string
	}{
		{"none", "", nil, "0 alerts"},
		{"many", "", many, "101 alerts"},
		{"no id", "", []string{"'; --"}, "32 letters a to p"},
		{"long note", strings.Repeat("x", 1001), []string{id}, "longer than 1000"},
		{"two lines", "a\nb", []string{id}, "one line"},
		{"a card number", "he said 4111 1111 1111 1111", []string{id}, "card number"},
	} {
		if _, err := d.Review(t.Context(), "", labels.Genuine, test.note, test.alerts); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "4111") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := d.Add(t.Context(), acme, labels.Review, nil); err == nil {
		t.Error("a file of reviews was taken")
	}
	if _, err := d.Add(t.Context(), acme, labels.File, []labels.Report{{EventID: "x", Label: "maybe"}}); err == nil || !strings.Contains(err.Error(), "report 1: event_id") {
		t.Errorf("an unchecked report: %v", err)
	}
}
