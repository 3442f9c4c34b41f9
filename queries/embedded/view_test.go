package embedded_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
)

var (
	perTenant = &queries.View{
		Namespace: "views", Name: "per_tenant", Doc: "Counts.",
		Columns: []queries.ViewColumn{{Name: "tenant"}, {Name: "n"}, {Name: "bins"}, {Name: "token"}, {Name: "merchants"}},
		SQL:     `SELECT tenant, count(*) AS n, count(bin) AS bins, max(card_token) AS token, count(DISTINCT merchant_name) AS merchants FROM cards.transactions GROUP BY tenant`,
	}
	total = &queries.View{
		Namespace: "views", Name: "total", Doc: "One row.",
		SQL: `SELECT CAST(sum(v.n) AS BIGINT) AS n FROM views.per_tenant v WHERE v.n > 0`,
	}
)

// withViews is the lake with two views, as somebody with the permits has it.
func withViews(t *testing.T, permits queries.Permits) queries.Session {
	t.Helper()
	lake := queriestest.NewLake()
	if err := lake.Fill(9, 10); err != nil {
		t.Fatal(err)
	}
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	cfg := queries.Config{Views: []*queries.View{perTenant, total}}
	return queries.New(parser, embedded.New(lake, lake, embedded.Config{Threads: 2}), permits, &queriestest.Log{}, cfg).As(queriestest.Caller)
}

// TestViewsGiveWhatTheirTablesGive: what is dropped is NULL under a view and nowhere else, what
// is masked is masked, and other tenants' rows are not there.
func TestViewsGiveWhatTheirTablesGive(t *testing.T) {
	s := withViews(t, twoScopes)
	sql := `SELECT tenant, n, bins, token LIKE '…%' AS masked, merchants > 0 AS merchants FROM views.per_tenant ORDER BY tenant`
	want := "aurora | 30 | 0 | false | false\nbolivar | 30 | 0 | true | true"
	if got := rowsText(t, s, sql); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := rowsText(t, s, "SELECT n FROM views.total"); got != "60" {
		t.Errorf("a view over a view counts %s rows, want 60", got)
	}
	if got := rowsText(t, s, "SELECT t.n, (SELECT count(*) FROM cards.transactions) FROM Views.Total t"); got != "60 | 60" {
		t.Errorf("beside its table a view gives %s", got)
	}
	for _, sql := range []string{
		"SELECT bin FROM cards.transactions, views.total",
		`SELECT * FROM under_views."cards.transactions", views.total`,
		`SELECT * FROM main.total, views.total`,
	} {
		var fault *queries.Error
		if _, err := answer(t.Context(), s, sql); !errors.As(err, &fault) {
			t.Errorf("%s: got %v, want a fault of the statement", sql, err)
		}
	}
	nothing := withViews(t, queriestest.Nothing)
	if _, err := answer(t.Context(), nothing, "SELECT * FROM views.total"); !errors.Is(err, queries.ErrNotPermitted) {
		t.Errorf("got %v, want not permitted", err)
	}
}

func TestViewsAreTold(t *testing.T) {
	s := withViews(t, twoScopes)
	views, err := s.Views(t.Context())
	if err != nil || !slices.Equal(views, []*queries.View{perTenant, total}) {
		t.Errorf("got %v, %v", views, err)
	}
	if v, err := s.DescribeView(t.Context(), "VIEWS.total"); v != total || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
	_, err = answer(t.Context(), s, "SELECT * FROM views.totl")
	if err == nil || !strings.Contains(err.Error(), "did you mean views.total?") {
		t.Errorf("got %v, want a hint", err)
	}
	for sql, hint := range map[string]string{
		"SELECT bins, merchant FROM views.per_tenant":      "did you mean merchants?",
		"SELECT v.merchant FROM views.per_tenant v":        "did you mean merchants?",
		"SELECT merchant_naem FROM views.per_tenant":       "",
		"SELECT t.merchant_naem FROM cards.transactions t": "did you mean merchant_name?",
	} {
		var fault *queries.Error
		if _, err := answer(t.Context(), s, sql); !errors.As(err, &fault) || fault.Hint != hint {
			t.Errorf("%s: got %v, want %q", sql, err, hint)
		}
	}
	nothing := withViews(t, queriestest.Nothing)
	if views, err := nothing.Views(t.Context()); len(views) > 0 || err != nil {
		t.Errorf("whoever may read nothing is told of %v, %v", views, err)
	}
	if _, err := nothing.DescribeView(t.Context(), "views.total"); !errors.Is(err, queries.ErrNotPermitted) {
		t.Errorf("got %v, want not permitted", err)
	}
}

// TestColumnsAreTold without a file: those of the answer, and the faults of the statement.
func TestColumnsAreTold(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(3, 10); err != nil {
		t.Fatal(err)
	}
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	log := &queriestest.Log{}
	g := queries.New(parser, embedded.New(lake, lake, embedded.Config{}), twoScopes, log, queries.Config{Views: []*queries.View{perTenant, total}})
	got, err := g.Columns(t.Context(), queriestest.Caller, "SELECT v.n, t.amount, t.card_token AS token FROM views.total v, cards.transactions t")
	want := []queries.Column{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "amount", Type: &arrow.Decimal128Type{Precision: 18, Scale: 4}}, {Name: "token", Type: arrow.BinaryTypes.String}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if n := len(log.Records()); n > 0 {
		t.Errorf("%d records", n)
	}
	var fault *queries.Error
	if _, err := g.Columns(t.Context(), queriestest.Caller, "SELECT bin FROM cards.transactions"); !errors.As(err, &fault) {
		t.Errorf("got %v, want a fault: the column is not there", err)
	}
	deny := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		return queriestest.Nothing(c, a, t)
	})
	if _, err := queries.New(parser, embedded.New(lake, lake, embedded.Config{}), deny, log, queries.Config{}).Columns(context.Background(), queriestest.Caller, "SELECT tenant FROM cards.transactions"); !errors.Is(err, queries.ErrNotPermitted) || len(log.Records()) != 2 {
		t.Errorf("got %v and %d records, want both refusals on record", err, len(log.Records()))
	}
}
