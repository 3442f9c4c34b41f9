package anomalies_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/anomalies"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/queries/insights/labels"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/writers/objects"
)

const acme, zeta = cardlake.Tenant("acme"), cardlake.Tenant("zeta")

// rowsOf is everything of the alerts but their run.
const rowsOf = `SELECT * EXCLUDE (run_id) FROM insights.alerts ORDER BY event_time, event_id`

var short = map[string]string{"warm_days": "4", "budget": "20"}

// TestHiddenFraud looks for the simulator's hidden fraud with alerts of 100 a day, and compares
// them with labels that the job never sees. Bounds are loose.
func TestHiddenFraud(t *testing.T) {
	t.Parallel()
	l := insightstest.New(t, acme)
	cards, days, daily, isLarge := 4000, 12, 10_000, os.Getenv("CARDLAKE_REAL") == "1"
	if isLarge { // more fraud a day than alerts
		cards, days, daily = 30_000, 14, 60_000
	}
	txs, fraud := simulated(t, acme, 21, cards, days, daily)
	l.Add(txs...)
	values := map[string]string{"warm_days": "5", "days": "31"}
	out, err := l.Run(anomalies.New(), acme, values)
	if err != nil {
		t.Fatal(err)
	}
	type count struct {
		events, found       int
		episodes, recovered map[string]bool
		alerts, right, any  int // that name the pattern; of it; of any fraud
	}
	counts := map[string]*count{}
	of := func(pattern string) *count {
		if counts[pattern] == nil {
			counts[pattern] = &count{episodes: map[string]bool{}, recovered: map[string]bool{}}
		}
		return counts[pattern]
	}
	for _, tx := range txs {
		if f, ok := fraud[tx.EventID.String()]; ok && tx.EventTime >= txs[0].EventTime+5*86400e6 {
			c := of(string(f.pattern))
			c.events++
			c.episodes[f.episode] = true
		}
	}
	perDay := map[int64]int{}
	for _, row := range l.Ask(acme, `SELECT event_id, pattern, reasons, epoch_us(event_time) // 86400000000, features FROM insights.alerts`) {
		f := fraud[row[0].(string)]
		perDay[row[3].(int64)]++
		named := of(row[1].(string))
		named.alerts++
		if f.pattern != "" {
			named.any++
			of(string(f.pattern)).found++
			of(string(f.pattern)).recovered[f.episode] = true
		}
		if string(f.pattern) == row[1] {
			named.right++
		}
		var factors []struct{ Name string }
		if err := json.Unmarshal([]byte(row[4].(string)), &factors); err != nil || len(factors) == 0 || row[2] == "" {
			t.Fatalf("an alert without reasons: %v %v", row, err)
		}
	}
	for day, n := range perDay {
		if n > 100 {
			t.Errorf("day %d has %d alerts", day, n)
		}
	}
	alerts, right := 0, 0
	for pattern, c := range counts {
		alerts, right = alerts+c.alerts, right+c.any
		t.Logf("%-20s %3d alerts name it, %.2f of them of it, %.2f fraud; of its %d events %.2f have an alert, of its %d episodes %.2f",
			pattern, c.alerts, share(c.right, c.alerts), share(c.any, c.alerts), c.events, share(c.found, c.events), len(c.episodes), share(len(c.recovered), len(c.episodes)))
	}
	t.Logf("%d alerts, %.2f of them fraud", alerts, share(right, alerts))
	least := map[string]struct{ fraud, events, episodes float64 }{
		"card_testing": {.9, .8, 1}, "impossible_travel": {.35, .8, .9}, "stolen_card": {.4, .5, .9}, "compromised_terminal": {.7, .35, .8},
	}
	if isLarge {
		least = map[string]struct{ fraud, events, episodes float64 }{
			"card_testing": {.9, .2, .9}, "impossible_travel": {.8, .8, .9}, "stolen_card": {.6, .1, .5}, "compromised_terminal": {.7, .5, .9},
		}
	}
	for pattern, least := range least {
		c := of(pattern)
		if share(c.any, c.alerts) < least.fraud || share(c.found, c.events) < least.events || share(len(c.recovered), len(c.episodes)) < least.episodes {
			t.Errorf("%s finds less than %+v", pattern, least)
		}
	}
	if again, err := l.Runner().Run(t.Context(), anomalies.New(), insights.Request{Tenant: acme, Values: values, Check: true}); err != nil || again.State != insights.Checked {
		t.Errorf("computed again: %v, %v", again.State, err)
	}
	if len(out.Card.Figures) < 2 || len(out.Card.Metrics) < 2 {
		t.Errorf("the card has %d figures and %d metrics", len(out.Card.Figures), len(out.Card.Metrics))
	}
}

func share(part, whole int) float64 { return float64(part) / float64(max(whole, 1)) }

// run runs the job and returns the alerts.
func run(t *testing.T, l *insightstest.Lake, tenant cardlake.Tenant) [][]any {
	t.Helper()
	if _, err := l.Run(anomalies.New(), tenant, short); err != nil {
		t.Fatal(err)
	}
	return l.Ask(tenant, rowsOf)
}

// same compares alerts.
func same(t *testing.T, what string, got, want [][]any) {
	t.Helper()
	if len(want) < 20 {
		t.Fatalf("%s: only %d alerts to compare with", what, len(want))
	}
	text := func(rows [][]any) (out []string) {
		for _, row := range rows {
			out = append(out, fmt.Sprint(row...))
		}
		return out
	}
	if diff := cmp.Diff(text(want), text(got)); diff != "" {
		t.Errorf("%s: other alerts (-want +got):\n%.2000s", what, diff)
	}
}

// TestTenantsApart plants other tenants' rows, the same cards and merchants among them, adds to
// them and changes them.
func TestTenantsApart(t *testing.T) {
	t.Parallel()
	mine, _ := simulated(t, acme, 5, 1500, 9, 3000)
	alone := insightstest.New(t, acme)
	alone.Add(mine...)
	want := run(t, alone, acme)

	l := insightstest.New(t, acme, zeta)
	mine, _ = simulated(t, acme, 5, 1500, 9, 3000)
	planted, _ := simulated(t, zeta, 5, 1500, 9, 3000)
	for _, tx := range planted {
		tx.EventID[15] ^= 1
		tx.Approved, tx.DeclineReason, tx.Amount.Minor = false, "unknown_card", 1
	}
	l.Add(append(planted, mine...)...)
	got := run(t, l, acme)
	same(t, "beside another tenant's rows", got, want)
	if l.Ask(zeta, `SELECT count(*) FROM insights.alerts`)[0][0] != int64(0) {
		t.Error("a run for one tenant gave alerts of another")
	}
	more, _ := simulated(t, zeta, 6, 500, 9, 1000)
	l.Add(more...)
	if _, err := l.Run(anomalies.New(), zeta, short); err != nil {
		t.Fatal(err)
	}
	out, err := l.Runner().Run(t.Context(), anomalies.New(), insights.Request{Tenant: acme, Values: short})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "after another tenant's rows and run", l.Ask(acme, rowsOf), want)
	if out.Card.Window.Rows != int64(len(mine)) {
		t.Errorf("%d rows of %d were read", out.Card.Window.Rows, len(mine))
	}
}

// TestDayByDay runs the job after each of several commits, with days that come late and with
// checkpoints that were damaged, and compares with one run over everything.
func TestDayByDay(t *testing.T) {
	t.Parallel()
	all, _ := simulated(t, acme, 8, 1500, 10, 2500)
	whole := insightstest.New(t, acme)
	whole.Add(all...)
	want := run(t, whole, acme)

	l := insightstest.New(t, acme)
	all, _ = simulated(t, acme, 8, 1500, 10, 2500)
	d := rand.New(rand.NewPCG(1, 1))
	parts := make([][]*cardlake.Transaction, 4)
	for _, tx := range all {
		day := int(tx.EventTime-all[0].EventTime) / 86400e6
		part := max(0, day-6)
		if day < 8 && d.IntN(200) == 0 {
			part = 3 // late
		}
		parts[part] = append(parts[part], tx)
	}
	for i, part := range parts {
		l.Add(part...)
		if i == 1 {
			damage(t, l)
		}
		run(t, l, acme)
	}
	same(t, "day by day", l.Ask(acme, rowsOf), want)
}

// damage flips a bit of every checkpoint, or cuts it off.
func damage(t *testing.T, l *insightstest.Lake) {
	t.Helper()
	tenant, err := l.Tenants.Lookup(acme)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for info, err := range l.Store.List(t.Context(), cardlake.CheckpointPrefix(tenant.StorageID)) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	if len(names) < 6 {
		t.Fatalf("there are %d checkpoints", len(names))
	}
	for i, name := range names {
		body, err := objects.ReadAll(t.Context(), l.Store, name)
		if err == nil {
			err = l.Store.Delete(t.Context(), name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if body[len(body)*i/len(names)] ^= 4; i%3 == 0 {
			body = body[:len(body)/2]
		}
		if err := l.Store.Put(t.Context(), name, keys.OwnerOf(tenant.StorageID), body); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingOfTheFuture runs the job at noon of a day and after some more days: what it says of
// the events until then is the same.
func TestNothingOfTheFuture(t *testing.T) {
	t.Parallel()
	all, _ := simulated(t, acme, 5, 1500, 9, 3000)
	noon := slices.IndexFunc(all, func(tx *cardlake.Transaction) bool { return tx.EventTime >= all[0].EventTime+(6*24+12)*3600e6 })
	l := insightstest.New(t, acme)
	l.Add(all[:noon]...)
	const said = `SELECT event_id, score, severity, pattern, reasons, features FROM insights.alerts ORDER BY event_time, event_id`
	values := map[string]string{"warm_days": "4", "budget": "20", "refit_days": "1"}
	if _, err := l.Run(anomalies.New(), acme, values); err != nil {
		t.Fatal(err)
	}
	before := map[any]string{}
	for _, row := range l.Ask(acme, said) {
		before[row[0]] = fmt.Sprint(row...)
	}
	l.Add(all[noon:]...)
	if _, err := l.Run(anomalies.New(), acme, values); err != nil {
		t.Fatal(err)
	}
	both := 0
	for _, row := range l.Ask(acme, said) {
		if was, ok := before[row[0]]; ok {
			both++
			if was != fmt.Sprint(row...) {
				t.Errorf("of an event was said %s, and now %v", was, row)
			}
		}
	}
	if both < 20 {
		t.Errorf("only %d alerts are in both runs", both)
	}
}

// desk is where the tenant's risk people report, at an instant.
func desk(l *insightstest.Lake, at time.Time) *labels.Desk {
	deps := l.Deps()
	deps.Now = func() time.Time { return at }
	return labels.New(deps, grants.Caller{Principal: grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@" + string(acme)}, Origin: "test"})
}

// TestLabels reports fraud, some of it too late for the days it would help, and looks at what the
// supervised model and the card make of it.
func TestLabels(t *testing.T) {
	t.Parallel()
	l := insightstest.New(t, acme)
	txs, fraud := simulated(t, acme, 9, 2500, 12, 5000)
	l.Add(txs...)
	values := map[string]string{"warm_days": "4", "budget": "20", "refit_days": "2", "days": "7"}
	if _, err := l.Run(anomalies.New(), acme, values); err != nil {
		t.Fatal(err)
	}
	start := time.UnixMicro(txs[0].EventTime).Truncate(24 * time.Hour)
	report := func(from, to, after time.Duration) {
		t.Helper()
		var reports []labels.Report
		for _, tx := range txs {
			at := time.UnixMicro(tx.EventTime)
			if fraud[tx.EventID.String()].pattern != "" && !at.Before(start.Add(from)) && at.Before(start.Add(to)) {
				reports = append(reports, labels.Report{EventID: tx.EventID.String(), Label: labels.Fraud, ReportedAt: at.Add(after)})
			}
		}
		if _, err := desk(l, start.Add(60*24*time.Hour)).Add(t.Context(), acme, labels.Chargeback, reports); err != nil {
			t.Fatal(err)
		}
	}
	const byDay = ` FROM insights.alerts WHERE event_time < `
	until := start.Add(8 * 24 * time.Hour)
	before := l.Ask(acme, `SELECT event_id, score, probability, severity`+byDay+insights.Time(until)+` ORDER BY event_time, event_id`)
	// Reports that come after the days in question must not change them.
	report(0, 12*24*time.Hour, 30*24*time.Hour)
	if _, err := l.Run(anomalies.New(), acme, values); err != nil {
		t.Fatal(err)
	}
	after := l.Ask(acme, `SELECT event_id, score, probability, severity`+byDay+insights.Time(until)+` ORDER BY event_time, event_id`)
	same(t, "reports that come later", after, before)
	// Reports that were there in time teach.
	report(0, 12*24*time.Hour, 6*time.Hour)
	out, err := l.Run(anomalies.New(), acme, values)
	if err != nil {
		t.Fatal(err)
	}
	learned := l.Ask(acme, `SELECT count(*), count(probability), min(probability) >= 0 AND max(probability) <= 1 FROM insights.alerts WHERE event_time >= `+insights.Time(until.Add(2*24*time.Hour)))
	if learned[0][1] == int64(0) || learned[0][0] != learned[0][1] || learned[0][2] != true {
		t.Errorf("alerts with a probability: %v", learned)
	}
	for _, name := range []string{"alerts reported as fraud", "reported frauds with an alert"} {
		i := slices.IndexFunc(out.Card.Metrics, func(m metric) bool { return m.Name == name })
		if i < 0 {
			t.Fatalf("the card has no %s", name)
		}
		m := out.Card.Metrics[i]
		t.Logf("%s %.2f, %v", name, m.Value, m.Baselines)
		if best, ok := m.Best(); !ok || m.Value <= best.Value {
			t.Errorf("%s is %.2f, a baseline has %.2f", name, m.Value, best.Value)
		}
	}
	var names []string
	for _, f := range out.Card.Figures {
		names = append(names, f.Name)
	}
	if want := []string{"precision-recall", "calibration", "alerts-by-day", "scores"}; !slices.Equal(names, want) {
		t.Errorf("figures %v, want %v", names, want)
	}
}

type metric = report.Metric

// TestDismissed dismisses alerts, and looks for others of the same card and pattern.
func TestDismissed(t *testing.T) {
	t.Parallel()
	l := insightstest.New(t, acme)
	txs, _ := simulated(t, acme, 5, 1500, 9, 3000)
	l.Add(txs...)
	run(t, l, acme)
	rows := l.Ask(acme, `SELECT alert_id, card_token, pattern, event_time FROM insights.alerts ORDER BY event_time, event_id`)
	of := func(row []any) string { return fmt.Sprint(row[1], row[2]) }
	first := slices.IndexFunc(rows, func(row []any) bool {
		return slices.ContainsFunc(rows, func(later []any) bool {
			return of(later) == of(row) && later[3].(time.Time).After(row[3].(time.Time).Add(time.Minute))
		})
	})
	if first < 0 {
		t.Fatal("no card has two alerts of a pattern: nothing to test")
	}
	at := rows[first][3].(time.Time).Add(time.Second)
	if _, err := desk(l, at).Review(t.Context(), acme, labels.Genuine, "", []string{rows[first][0].(string)}); err != nil {
		t.Fatal(err)
	}
	run(t, l, acme)
	dismissed := false
	for _, row := range l.Ask(acme, `SELECT alert_id, card_token, pattern, event_time FROM insights.alerts`) {
		dismissed = dismissed || row[0] == rows[first][0]
		if row[3].(time.Time).After(at) && of(row) == of(rows[first]) {
			t.Errorf("an alert of %s at %s although one of the card was dismissed before", row[2], row[3])
		}
	}
	if !dismissed {
		t.Error("the alert that was dismissed is gone itself")
	}
	// Whoever dismissed it was wrong, and says so.
	if _, err := desk(l, at.Add(time.Second)).Review(t.Context(), acme, labels.Fraud, "", []string{rows[first][0].(string)}); err != nil {
		t.Fatal(err)
	}
	run(t, l, acme)
	isBack := slices.ContainsFunc(l.Ask(acme, `SELECT alert_id, card_token, pattern, event_time FROM insights.alerts`), func(row []any) bool {
		return row[3].(time.Time).After(at.Add(time.Second)) && of(row) == of(rows[first])
	})
	if !isBack {
		t.Error("a dismissal that was taken back keeps alerts of the card away")
	}
}

// TestCheckpointsOfOtherCards gives the job checkpoints that were made of the same events before
// their cards' tokens were drawn anew, as an erasure does: it must not go on from them.
func TestCheckpointsOfOtherCards(t *testing.T) {
	t.Parallel()
	made := insightstest.New(t, acme)
	txs, _ := simulated(t, acme, 5, 1500, 9, 3000)
	made.Add(txs...)
	run(t, made, acme)

	anew := func() *insightstest.Lake {
		l := insightstest.New(t, acme)
		txs, _ := simulated(t, acme, 5, 1500, 9, 3000)
		number := map[string]int{}
		var tokens []string
		for _, tx := range txs {
			if _, ok := number[tx.CardToken]; !ok {
				number[tx.CardToken] = len(tokens)
				tokens = append(tokens, tx.CardToken)
			}
			tx.CardToken = tokens[number[tx.CardToken]/2*2] // two cards become one
		}
		l.Add(txs...)
		return l
	}
	alone := anew()
	want := run(t, alone, acme)
	l := anew()
	from, err := made.Tenants.Lookup(acme)
	if err != nil {
		t.Fatal(err)
	}
	to, err := l.Tenants.Lookup(acme)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for info, err := range made.Store.List(t.Context(), cardlake.CheckpointPrefix(from.StorageID)) {
		if err != nil {
			t.Fatal(err)
		}
		body, err := objects.ReadAll(t.Context(), made.Store, info.Name)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.Replace(info.Name, string(from.StorageID), string(to.StorageID), 1)
		if err := l.Store.Put(t.Context(), name, keys.OwnerOf(to.StorageID), body); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n == 0 {
		t.Fatal("there are no checkpoints")
	}
	same(t, "with checkpoints of other cards", run(t, l, acme), want)
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	l := insightstest.New(t, acme, zeta)
	few, _ := simulated(t, acme, 3, 300, 6, 100)
	late, _ := simulated(t, zeta, 3, 300, 3, 1000)
	l.Add(append(few, late...)...)
	for _, tenant := range []cardlake.Tenant{acme, zeta} {
		_, err := l.Run(anomalies.New(), tenant, short)
		var r *insights.Refusal
		if !errors.As(err, &r) || !strings.Contains(r.Need, "4 days of history, and of the 28 days before it a sample of 500 authorizations") {
			t.Errorf("%s: %v", tenant, err)
		}
	}
	for name, value := range map[string]string{"budget": "0", "severity": "grave", "warm_days": "x", "days": "32", "refit_days": "", "history_days": "-1"} {
		if _, err := l.Run(anomalies.New(), acme, map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
