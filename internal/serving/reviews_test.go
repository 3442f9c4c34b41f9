package serving

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/writers/writerstest"
)

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
	return t.Each(ctx, `SELECT event_time, event_id FROM cards.transactions ORDER BY event_time, event_id`, func(row []any) error {
		id := row[1].(string)
		return t.Append(ctx, cardlake.Alerts, insights.ID("alert", string(t.Tenant), id), row[0], id, "t", "k", nil, nil, nil, nil, nil, "pos", true, 12.5, "BRL",
			0.5, nil, "high", "card_testing", int32(1), "because", "[]")
	})
}

func analyst(tenant cardlake.Tenant) grants.Caller {
	return grants.Caller{Principal: grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@" + string(tenant)}, Origin: "test"}
}

// TestReviews: a tenant's analyst reviews its alerts and no other's; each is kept once and on
// record, and without the record not at all.
func TestReviews(t *testing.T) {
	l := insightstest.New(t, "andina", "boreal")
	var txs []*cardlake.Transaction
	for i, tx := range writerstest.New(1).Take(6) {
		tx.Tenant = []cardlake.Tenant{"andina", "boreal"}[i%2]
		txs = append(txs, tx)
	}
	l.Add(txs...)
	for _, tenant := range []cardlake.Tenant{"andina", "boreal"} {
		if _, err := l.Run(alarm{}, tenant, nil); err != nil {
			t.Fatal(err)
		}
	}
	ids := map[cardlake.Tenant]string{}
	for _, tenant := range []cardlake.Tenant{"andina", "boreal"} {
		ids[tenant] = l.Ask(tenant, "SELECT alert_id FROM views.alerts ORDER BY alert_id LIMIT 1")[0][0].(string)
	}
	r := reviews{l.Deps()}
	said := func(tenant cardlake.Tenant) int { return len(l.Ask(tenant, "SELECT label FROM insights.labels")) }
	for _, tc := range []struct {
		name   string
		by     grants.Caller
		tenant cardlake.Tenant
		alert  string
		note   string
		isNew  bool
		err    error
	}{
		{"its own", analyst("andina"), "andina", ids["andina"], "seen before", true, nil},
		{"again", analyst("andina"), "andina", ids["andina"], "seen before", false, nil},
		{"another's", analyst("andina"), "boreal", ids["boreal"], "", false, queries.ErrNotPermitted},
		{"another's as its own", analyst("andina"), "andina", ids["boreal"], "", false, api.ErrNoAlert},
		{"none", analyst("andina"), "andina", insights.ID("none"), "", false, api.ErrNoAlert},
		{"who may not", grants.Caller{Principal: grants.Principal{Kind: grants.Auditor, Name: "ana"}}, "andina", ids["andina"], "", false, queries.ErrNotPermitted},
		{"a note of two lines", analyst("boreal"), "boreal", ids["boreal"], "a\nb", false, api.ErrReview},
		{"a card number", analyst("boreal"), "boreal", ids["boreal"], "4111 1111 1111 1111", false, api.ErrReview},
	} {
		isNew, err := r.Review(t.Context(), tc.by, tc.tenant, tc.alert, true, tc.note)
		if isNew != tc.isNew || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, %v", tc.name, isNew, err)
		}
	}
	if said("andina") != 1 || said("boreal") != 0 {
		t.Errorf("%d and %d labels are kept", said("andina"), said("boreal"))
	}
	var on []string
	for _, record := range l.Log.Records() {
		if record.Action == "label.review" {
			on = append(on, fmt.Sprint(record.Actor, " ", record.Outcome))
		}
	}
	if len(on) != 5 || on[0] != "tenant_analyst/analyst@andina allowed" {
		t.Errorf("on record %q", on)
	}
	l.Log.Fail(errors.New("the disk is full"))
	if isNew, err := r.Review(t.Context(), analyst("boreal"), "boreal", ids["boreal"], true, ""); isNew || !errors.Is(err, queries.ErrUnrecorded) {
		t.Errorf("without the record: %v, %v", isNew, err)
	}
	l.Log.Fail(nil)
	if said("boreal") != 0 {
		t.Error("a label is kept that is not on record")
	}
	if isNew, err := r.Review(t.Context(), analyst("andina"), "andina", ids["andina"], false, "the cardholder was asked"); !isNew || err != nil || said("andina") != 2 {
		t.Errorf("dismissed: %v, %v", isNew, err)
	}
}
