package segments_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/queries/insights/segments"
	"github.com/cardlake/cardlake/writers/writerstest"
)

const acme, zeta = cardlake.Tenant("acme"), cardlake.Tenant("zeta")

var begin = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// ledger makes events of a tenant.
type ledger struct {
	tenant cardlake.Tenant
	number uint64
	txs    []*cardlake.Transaction
}

func (l *ledger) id() (id cardlake.EventID) {
	l.number++
	copy(id[:], l.tenant)
	binary.BigEndian.PutUint64(id[8:], l.number)
	id[6], id[8] = 0x80, 0x80
	return id
}

// buy adds an approved authorisation of so many minor units, at a time on the terminal's clock.
func (l *ledger) buy(customer string, at time.Duration, minor int64) *cardlake.Transaction {
	t := *writerstest.Bare()
	t.EventID = l.id()
	t.TransactionID, t.Tenant, t.EventType = t.EventID, l.tenant, cardlake.Authorization
	t.LocalTime = begin.Add(at).UnixMicro()
	t.EventTime = t.LocalTime + 3*3_600_000_000
	t.IngestedAt = t.EventTime
	t.CustomerID, t.Channel, t.MerchantCountry = customer, cardlake.POS, "BR"
	t.MCC, t.MerchantID = "5411", "M1"
	t.Approved, t.ResponseCode = true, "00"
	t.Amount = cardlake.Money{Minor: minor, Currency: "BRL"}
	t.BillingAmount = t.Amount
	l.txs = append(l.txs, &t)
	return &t
}

// trade adds three kinds of customers over the 90 days from the given one: o... buy often, at
// night and online; t... travelled in the first month and spent much; s... buy now and then.
func (l *ledger) trade(seed uint64, from, each int) {
	r := rand.New(rand.NewPCG(seed, 1))
	at := func(days, hour float64) time.Duration {
		return time.Duration(from)*day + time.Duration(float64(day)*days).Truncate(day) + time.Duration(hour*float64(time.Hour))
	}
	for c := range each {
		for n := range 40 + r.IntN(20) {
			t := l.buy(fmt.Sprintf("o%03d", c), at(90*r.Float64(), 22+3*r.Float64()), 2000+r.Int64N(3000))
			t.Channel, t.MerchantID, t.MCC = cardlake.Ecommerce, fmt.Sprintf("M%d", n%12), fmt.Sprintf("5%03d", n%5)
		}
		for n := range 5 + r.IntN(5) {
			t := l.buy(fmt.Sprintf("t%03d", c), at(30*r.Float64(), 10+8*r.Float64()), 200_000+r.Int64N(200_000))
			t.MerchantCountry, t.MerchantID, t.MCC = "FR", fmt.Sprintf("F%d", n%4), fmt.Sprintf("7%03d", n%3)
		}
		for range 8 + r.IntN(6) {
			l.buy(fmt.Sprintf("s%03d", c), at(90*r.Float64(), 9+9*r.Float64()), 2000+r.Int64N(5000))
		}
	}
	l.buy("s000", at(90, 12), 2500)
}

func lake(t *testing.T, txs ...*cardlake.Transaction) *insightstest.Lake {
	l := insightstest.New(t, acme, zeta)
	l.Add(txs...)
	return l
}

const (
	segmentRows  = `SELECT name, state, customers, segment_id, previous_customers FROM insights.segments WHERE run_id = `
	customerRows = `SELECT c.customer_id, s.name, c.previous_segment_id FROM insights.customer_segments AS c JOIN insights.segments AS s ON s.segment_id = c.segment_id AND s.run_id = c.run_id WHERE c.run_id = `
)

func TestSegments(t *testing.T) {
	book := ledger{tenant: acme}
	book.trade(1, 0, 40)
	l := lake(t, book.txs...)
	first, err := l.Run(segments.New(), acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"o": "", "t": "Lapsed", "s": ""}
	named := map[string]map[any]int{"o": {}, "t": {}, "s": {}}
	for _, row := range l.Ask(acme, customerRows+insights.Text(first.RunID)) {
		named[row[0].(string)[:1]][row[1]]++
	}
	for kind, names := range named {
		if len(names) != 1 {
			t.Errorf("customers %s are in %v", kind, names)
		}
		for name := range names {
			if !strings.Contains(name.(string), want[kind]) {
				t.Errorf("customers %s are called %s", kind, name)
			}
		}
	}
	rows := l.Ask(acme, segmentRows+insights.Text(first.RunID)+` ORDER BY name`)
	if len(rows) != 3 {
		t.Errorf("segments %v", rows)
	}
	for _, m := range first.Card.Metrics {
		if m.Verdict() == report.Worse {
			t.Errorf("metric %s is %v, baselines %v", m.Name, m.Value, m.Baselines)
		}
	}
	if _, err := report.Encode(first.Card); err != nil {
		t.Error(err)
	}
	check, err := l.Runner().Run(t.Context(), segments.New(), insights.Request{Tenant: acme, Check: true})
	if err != nil || check.State != insights.Checked {
		t.Errorf("checked: %v, %v", check.State, err)
	}
}

// TestFromRunToRun keeps ids and names while customers come, go and change.
func TestFromRunToRun(t *testing.T) {
	book := ledger{tenant: acme}
	book.trade(1, 0, 40)
	l := lake(t, book.txs...)
	first, err := l.Run(segments.New(), acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	ids := fmt.Sprint(l.Ask(acme, `SELECT segment_id, name FROM insights.segments ORDER BY 1`))

	// A month later: the same customers go on, and one of them changes.
	book.txs = nil
	book.trade(2, 30, 40)
	for n := range 50 {
		tx := book.buy("s001", 31*day+time.Duration(n)*day+23*time.Hour, 3000)
		tx.Channel, tx.MerchantID, tx.MCC = cardlake.Ecommerce, fmt.Sprintf("M%d", n%12), fmt.Sprintf("5%03d", n%5)
	}
	for n := range 12 {
		book.buy("new", 80*day+time.Duration(n)*day+10*time.Hour, 3000)
	}
	l.Add(book.txs...)
	second, err := l.Run(segments.New(), acme, map[string]string{"seed": "2"})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(l.Ask(acme, `SELECT segment_id, name FROM insights.segments WHERE run_id = '`+second.RunID+`' AND state = 'kept' ORDER BY 1`)); got != ids {
		t.Errorf("segments %s, want %s", got, ids)
	}
	changed := l.Ask(acme, `SELECT customer_id FROM insights.customer_segments WHERE run_id = '`+second.RunID+`' AND segment_id <> previous_segment_id`)
	if fmt.Sprint(changed) != "[[s001]]" {
		t.Errorf("changed: %v, want s001", changed)
	}
	joined := l.Ask(acme, `SELECT customer_id FROM insights.customer_segments WHERE run_id = '`+second.RunID+`' AND previous_segment_id IS NULL`)
	if fmt.Sprint(joined) != "[[new]]" {
		t.Errorf("new: %v", joined)
	}
	drift := map[string]report.Drift{}
	for _, d := range second.Card.Drift {
		drift[d.Name] = d
	}
	if d := drift["customers who changed segments"]; d.Value != 1./120 || d.Level != report.None {
		t.Errorf("drift %+v", d)
	}
	if _, ok := drift["monetary"]; !ok || second.Card.Previous != first.RunID {
		t.Errorf("drift %v against %s", second.Card.Drift, second.Card.Previous)
	}
	names := map[string]bool{}
	for _, f := range second.Card.Figures {
		names[f.Name] = true
	}
	for _, name := range []string{"segment-map", "features", "sizes", "silhouette", "bic", "sizes-over-time", "values-over-time"} {
		if !names[name] {
			t.Errorf("no figure %s", name)
		}
	}
	check, err := l.Runner().Run(t.Context(), segments.New(), insights.Request{Tenant: acme, Values: map[string]string{"seed": "2"}, Check: true})
	if err != nil || check.State != insights.Checked {
		t.Errorf("checked: %v, %v", check.State, err)
	}

	// Another currency has customers of its own.
	book.txs = nil
	for n := range 60 {
		book.buy(fmt.Sprintf("s%03d", n%20), 119*day+time.Duration(n)*time.Minute, int64(n%20)*100+1000).BillingAmount.Currency = "USD"
	}
	l.Add(book.txs...)
	if _, err := l.Run(segments.New(), acme, map[string]string{"currency": "USD"}); err != nil {
		t.Fatal(err)
	}
	if got := l.Ask(acme, `SELECT count(*) FROM insights.segments WHERE currency = 'USD' AND state <> 'new'`); got[0][0] != int64(0) {
		t.Errorf("%v segments of another currency were recognised", got)
	}
	if second, err = l.Run(segments.New(), acme, map[string]string{"seed": "3"}); err != nil {
		t.Fatal(err)
	}

	// The night owls leave for good, and others come: a segment retires, another is born.
	book.txs = nil
	for c := range 40 {
		for n := range 30 {
			tx := book.buy(fmt.Sprintf("x%03d", c), 215*day+time.Duration(n)*day/4, 1000+int64(c*n))
			tx.Channel = cardlake.ATM
		}
		for n := range 10 {
			book.buy(fmt.Sprintf("s%03d", c), 210*day+time.Duration(n)*day+9*time.Hour, 3000+int64(c*n))
		}
	}
	l.Add(book.txs...)
	third, err := l.Run(segments.New(), acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	states := map[any]int{}
	for _, row := range l.Ask(acme, segmentRows+insights.Text(third.RunID)) {
		states[row[1]]++
		if (row[1] == "retired") != (row[2] == int64(0)) {
			t.Errorf("segment %v", row)
		}
	}
	if states["kept"] == 0 || states["new"] == 0 || states["retired"] == 0 {
		t.Errorf("states %v", states)
	}
}

// TestOnlyTheTenantsRows changes another tenant's rows: the run is the same to the digit.
func TestOnlyTheTenantsRows(t *testing.T) {
	run := func(others ...*cardlake.Transaction) string {
		book := ledger{tenant: acme}
		book.trade(1, 0, 15)
		l := lake(t, append(book.txs, others...)...)
		out, err := l.Run(segments.New(), acme, nil)
		if err != nil {
			t.Fatal(err)
		}
		rows := fmt.Sprint(l.Ask(acme, `SELECT name, customers, centre FROM insights.segments ORDER BY name`),
			l.Ask(acme, `SELECT customer_id, probability, distance, monetary FROM insights.customer_segments ORDER BY 1`))
		if got := l.Ask(zeta, `SELECT count(*) FROM insights.customer_segments`); got[0][0] != int64(0) {
			t.Errorf("another tenant sees %v rows of run %s", got, out.RunID)
		}
		return rows
	}
	alone := run()
	other := ledger{tenant: zeta}
	other.trade(7, 3, 15) // customers of the same names
	for _, tx := range other.txs {
		tx.BillingAmount.Currency, tx.MerchantCountry = "MXN", "MX"
	}
	if beside := run(other.txs...); beside != alone {
		t.Error("another tenant's rows changed the segments")
	}
}

// TestWhatCounts leaves out what is in other currencies, without a customer, declined or reversed.
func TestWhatCounts(t *testing.T) {
	book := ledger{tenant: acme}
	for c := range 20 {
		for n := range 4 {
			book.buy(fmt.Sprintf("c%02d", c), time.Duration(c+n)*day, int64(1000*(1+c%5)))
		}
	}
	book.buy("", 5*day, 1_000_000)
	foreign := book.buy("c00", 6*day, 2_000_000)
	foreign.BillingAmount.Currency = "USD"
	declined := book.buy("c01", 7*day, 3_000_000)
	declined.Approved, declined.ResponseCode = false, "51"
	whole, part := book.buy("c02", 8*day, 4_000_000), book.buy("c03", 8*day, 5_000)
	for of, minor := range map[*cardlake.Transaction]int64{whole: 4_000_000, part: 2_000} {
		r := *of
		r.EventID, r.EventType, r.MTI, r.Amount.Minor = book.id(), cardlake.Reversal, "0400", minor
		book.txs = append(book.txs, &r)
	}
	never := book.buy("never", 9*day, 100)
	never.Approved, never.ResponseCode = false, "51"
	l := lake(t, book.txs...)
	out, err := l.Run(segments.New(), acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := l.Ask(acme, `SELECT customer_id, frequency, CAST(monetary AS VARCHAR) FROM insights.customer_segments WHERE customer_id IN ('c00', 'c01', 'c02', 'c03', 'never', '') ORDER BY 1`)
	if want := "[[c00 4 40.0000] [c01 4 80.0000] [c02 4 120.0000] [c03 5 190.0000]]"; fmt.Sprint(got) != want {
		t.Errorf("rows %v, want %s", got, want)
	}
	if out.Card.Window.Counts[0].N != 20 {
		t.Errorf("counts %v", out.Card.Window.Counts)
	}
	notes := fmt.Sprint(out.Card.Notes)
	for _, want := range []string{"1 approved authorisations in other currencies than BRL", "1 approved authorisations without a customer", "in BRL"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes %s lack %q", notes, want)
		}
	}
}

func TestRefuses(t *testing.T) {
	book := ledger{tenant: acme}
	for n := range 30 {
		book.buy(fmt.Sprintf("c%d", n%3), time.Duration(n)*time.Hour, int64(n+1))
	}
	alike := ledger{tenant: zeta}
	for n := range 30 {
		alike.buy(fmt.Sprintf("c%02d", n), time.Hour, 100)
	}
	l := lake(t, append(book.txs, alike.txs...)...)
	for name, c := range map[string]struct {
		tenant cardlake.Tenant
		values map[string]string
		want   string
	}{
		"few customers":  {acme, nil, "at least 10 customers with purchases in the window of 90 days needed, there are 3"},
		"other currency": {acme, map[string]string{"currency": "USD"}, "there are 0"},
		"all alike":      {zeta, nil, "at least 1 features that vary"},
		"most":           {zeta, map[string]string{"least": "5", "most": "4"}, "parameter most is below least"},
		"method":         {zeta, map[string]string{"method": "dbscan"}, "parameter method: is neither"},
		"days":           {zeta, map[string]string{"days": "0"}, "parameter days"},
		"currency":       {zeta, map[string]string{"currency": "R'S"}, "parameter currency"},
	} {
		if _, err := l.Run(segments.New(), c.tenant, c.values); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestMixture makes segments of the components of a mixture.
func TestMixture(t *testing.T) {
	book := ledger{tenant: acme}
	book.trade(1, 0, 30)
	l := lake(t, book.txs...)
	out, err := l.Run(segments.New(), acme, map[string]string{"method": "mixture", "least": "3", "most": "3"})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Ask(acme, `SELECT count(DISTINCT segment_id), min(probability) > 0, max(probability) <= 1 FROM insights.customer_segments`); fmt.Sprint(got) != "[[3 true true]]" {
		t.Errorf("%v, %v", got, out.Card.Notes)
	}
}

// TestSameDay runs again on the day of a run, whose rows it reads before it replaces them.
func TestSameDay(t *testing.T) {
	book := ledger{tenant: acme}
	book.trade(1, 0, 15)
	l := lake(t, book.txs...)
	if _, err := l.Run(segments.New(), acme, nil); err != nil {
		t.Fatal(err)
	}
	ask := insights.Request{Tenant: acme, Values: map[string]string{"most": "3"}}
	if _, err := l.Runner().Run(t.Context(), segments.New(), ask); err != nil {
		t.Fatal(err)
	}
	if got := l.Ask(acme, `SELECT count(*) FROM insights.segments WHERE state = 'kept'`); got[0][0] == int64(0) {
		t.Error("no segment of the run before was recognised")
	}
}
