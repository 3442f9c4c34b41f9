package figures_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views/viewstest"
)

// newest are the rows of the tenant's newest published run, which is number 1 of newData.
func (d *data) newest(t *cardlake.Table, a figures.Args, job string) (out []viewstest.Row) {
	for _, row := range d.rows[t] {
		if row["run_id"] == fmt.Sprintf("%s-%s-1", a.Tenant, job) {
			out = append(out, row)
		}
	}
	return out
}

// alerts are those that count within the range: of each day those of the newest run that covers it.
func (d *data) alerts(a figures.Args) (out []viewstest.Row) {
	for _, row := range d.rows[cardlake.Alerts] {
		at := row["event_time"].(int64)
		var counts viewstest.Row
		for _, run := range d.rows[cardlake.Runs] {
			if run["job"] == "anomaly" && run["tenant"] == string(a.Tenant) && run["covers_from"].(int64) <= at && at < run["covers_to"].(int64) {
				counts = run // the later one is the newer
			}
		}
		if counts == nil || counts["run_id"] != row["run_id"] || timeOf(at).Before(a.From) || !timeOf(at).Before(a.To) {
			continue
		}
		row = maps.Clone(row)
		row["status"] = "open"
		newest := int64(-1)
		for _, l := range d.rows[cardlake.Labels] {
			if l["tenant"] == row["tenant"] && l["event_id"] == row["event_id"] && l["source"] == "review" && l["recorded_at"].(int64) > newest {
				newest = l["recorded_at"].(int64)
				row["status"] = map[any]string{"fraud": "confirmed", "genuine": "dismissed"}[l["label"]]
			}
		}
		out = append(out, row)
	}
	return out
}

// bought are the purchases of customers as job predict has them, within the range.
func (d *data) bought(a figures.Args) events {
	return events(d.events).in(a).approved().where(func(e *cardlake.Transaction) bool {
		return e.EventID == e.TransactionID && amount(e) > 0 && e.Channel != cardlake.ATM && e.CustomerID != ""
	})
}

// forecast is the run that a range is held against: its number and its end.
func (d *data) forecast(a figures.Args) (run string, asOf int64) {
	for _, n := range []int{0, 1} { // the newest up to the begin, else the first
		for _, row := range d.rows[cardlake.Runs] {
			if at := row["as_of"].(int64); row["run_id"] == fmt.Sprintf("%s-predict-%d", a.Tenant, n) && timeOf(at).Before(a.To) && (run == "" || at <= a.From.UnixMicro()) {
				run, asOf = row["run_id"].(string), at
			}
		}
	}
	return run, asOf
}

func tenths(n any) float64 { return float64(n.(int64)) / 10_000 }

var insightModels = map[string]func(d *data, a figures.Args) []string{
	"alert-totals": func(d *data, a figures.Args) (lines []string) {
		type sums struct {
			n, yes   int
			let, not int64
		}
		of := map[[3]any]*sums{}
		for _, row := range d.alerts(a) {
			k := [3]any{row["severity"], row["status"], row["currency"]}
			if of[k] == nil {
				of[k] = &sums{}
			}
			s, amount := of[k], row["amount"].(int64)
			if s.n++; row["approved"] == true {
				s.yes++
				s.let += amount
			} else {
				s.not += amount
			}
		}
		for k, s := range of {
			lines = append(lines, line(k[0], k[1], k[2], s.n, s.yes, decimal(s.let), decimal(s.not)))
		}
		return lines
	},
	"alerts-by-pattern": func(d *data, a figures.Args) (lines []string) {
		of := map[any]map[any]int{}
		for _, row := range d.alerts(a) {
			if of[row["pattern"]] == nil {
				of[row["pattern"]] = map[any]int{}
			}
			of[row["pattern"]][row["status"]]++
		}
		for pattern, n := range of {
			yes, no := n["confirmed"], n["dismissed"]
			lines = append(lines, line(pattern, n["open"]+yes+no, n["open"], yes, no, over(yes, yes+no)))
		}
		return lines
	},
	"alert-calibration": func(d *data, a figures.Args) (lines []string) {
		type bucket struct {
			basis string
			tenth int64
		}
		of := map[bucket]map[any]int{}
		for _, row := range d.alerts(a) {
			b := bucket{"score", 0}
			n := row["score"].(int64)
			if p, ok := row["probability"].(int64); ok {
				b.basis, n = "probability", p
			}
			b.tenth = min(n/1000, 9)
			if of[b] == nil {
				of[b] = map[any]int{}
			}
			of[b][row["status"]]++
		}
		for b, n := range of {
			reviewed := n["confirmed"] + n["dismissed"]
			lines = append(lines, line(b.basis, decimal(b.tenth*1000), decimal((b.tenth+1)*1000), n["open"]+reviewed, reviewed, n["confirmed"], over(n["confirmed"], reviewed)))
		}
		return lines
	},
	"segment-movement": func(d *data, a figures.Args) (lines []string) {
		names := map[any]any{}
		for _, row := range d.newest(cardlake.Segments, a, "segment") {
			names[row["segment_id"]] = row["name"]
		}
		of := map[[2]any]int{}
		for _, row := range d.newest(cardlake.CustomerSegments, a, "segment") {
			of[[2]any{row["previous_segment_id"], row["segment_id"]}]++
		}
		for k, n := range of {
			lines = append(lines, line(k[0], names[k[0]], k[1], names[k[1]], n))
		}
		return lines
	},
	"prediction-totals": func(d *data, a figures.Args) (lines []string) {
		of := map[any][]viewstest.Row{}
		for _, row := range d.newest(cardlake.Predictions, a, "predict") {
			of[row["currency"]] = append(of[row["currency"]], row)
		}
		for currency, rows := range of {
			alive := int64(0)
			for _, row := range rows {
				alive += row["alive"].(int64)
			}
			cells := []any{currency, timeOf(rows[0]["as_of"].(int64)), len(rows), float64(alive) / 10_000}
			for _, column := range []string{"purchases_30", "purchases_60", "purchases_90", "value_30", "value_60", "value_90"} {
				var sum any
				for _, row := range rows {
					if n, ok := row[column].(int64); ok {
						before, _ := sum.(int64)
						sum = before + n
					}
				}
				if n, ok := sum.(int64); ok {
					sum = decimal(n)
				}
				cells = append(cells, sum)
			}
			lines = append(lines, line(cells...))
		}
		return lines
	},
	"forecast-and-actual": func(d *data, a figures.Args) (lines []string) {
		run, asOf := d.forecast(a)
		sums, knows := [3]int64{}, map[any]bool{}
		for _, row := range d.rows[cardlake.Predictions] {
			if row["run_id"] == run {
				knows[row["customer_id"]] = true
				for i, column := range []string{"purchases_30", "purchases_60", "purchases_90"} {
					sums[i] += row[column].(int64)
				}
			}
		}
		made, newest := map[time.Time]int{}, time.Time{}
		for _, e := range d.bought(a) {
			if knows[e.CustomerID] && e.EventTime >= asOf {
				made[dayOf(e.EventTime)]++
			}
		}
		for _, e := range d.events {
			if at := dayOf(e.EventTime); e.Tenant == a.Tenant && at.Before(a.To) && at.After(newest) {
				newest = at
			}
		}
		total, seen := 0.0, 0
		first := dayOf(asOf)
		for day := a.From; day.Before(a.To); day = day.AddDate(0, 0, 1) {
			ahead := int(day.Sub(first).Hours()) / 24
			if ahead < 0 || ahead >= 90 {
				continue
			}
			part := sums[ahead/30]
			if ahead >= 30 {
				part -= sums[ahead/30-1]
			}
			expected := float64(part) / 10_000 / 30
			if ahead == 0 {
				expected *= 1 - float64(asOf%micros)/float64(micros)
			}
			total += expected
			var actual, all any
			if !day.After(newest) {
				seen += made[day]
				actual, all = made[day], seen
			}
			lines = append(lines, line(day, run, timeOf(asOf), expected, actual, total, all))
		}
		return lines
	},
	"forecast-calibration": func(d *data, a figures.Args) (lines []string) {
		run, asOf := d.forecast(a)
		bought := d.bought(a)
		_, last := bought.span()
		type customer struct {
			id       string
			expected int64
			actual   int
		}
		var all []customer
		to := min(last.UnixMicro(), asOf+30*micros)
		days := float64(to-max(asOf, a.From.UnixMicro())) / float64(micros)
		for _, row := range d.rows[cardlake.Predictions] {
			if row["run_id"] == run {
				c := customer{row["customer_id"].(string), row["purchases_30"].(int64), 0}
				c.actual = len(bought.where(func(e *cardlake.Transaction) bool {
					return e.CustomerID == c.id && e.EventTime >= asOf && e.EventTime < asOf+30*micros
				}))
				all = append(all, c)
			}
		}
		slices.SortFunc(all, func(x, y customer) int {
			return cmp.Or(cmp.Compare(x.expected, y.expected), strings.Compare(x.id, y.id))
		})
		for b, i := 0, 0; b < 10; b++ { // twelve in ten groups: the first two have one more
			n := 1
			if b < len(all)%10 {
				n = 2
			}
			expected, actual := 0.0, 0
			for _, c := range all[i : i+n] {
				expected += float64(c.expected) / 10_000 / 30 * days
				actual += c.actual
			}
			lines = append(lines, line(b+1, n, expected/float64(n), float64(actual)/float64(n)))
			i += n
		}
		return lines
	},
	"recommendation-uptake": func(d *data, a figures.Args) (lines []string) {
		type place struct{ mode, position any }
		recommended, taken := map[place]int{}, map[place]int{}
		for _, row := range d.newest(cardlake.Recommendations, a, "recommend") {
			if row["merchant_id"] == nil {
				continue
			}
			p := place{row["mode"], row["position"]}
			recommended[p]++
			if slices.ContainsFunc(events(d.events).in(a).approved(), func(e *cardlake.Transaction) bool {
				return e.CustomerID == row["customer_id"] && e.MerchantID == row["merchant_id"] && e.EventTime >= row["as_of"].(int64)
			}) {
				taken[p]++
			}
		}
		for p, n := range recommended {
			lines = append(lines, line(p.mode, p.position, n, taken[p], over(taken[p], n)))
		}
		return lines
	},
	"recommendations-of-segment": func(d *data, a figures.Args) (lines []string) {
		in := map[any]bool{}
		for _, row := range d.newest(cardlake.CustomerSegments, a, "segment") {
			if row["segment_id"] == a.Values["segment"] {
				in[row["customer_id"]] = true
			}
		}
		type sums struct {
			n           int
			places, all float64
		}
		of := map[any]*sums{}
		for _, row := range d.newest(cardlake.Recommendations, a, "recommend") {
			if row["mode"] != "all" || row["position"].(int64) > 3 || !in[row["customer_id"]] {
				continue
			}
			if of[row["merchant_id"]] == nil {
				of[row["merchant_id"]] = &sums{}
			}
			s := of[row["merchant_id"]]
			s.n++
			s.places += float64(row["position"].(int64))
			s.all += tenths(row["score"])
		}
		for merchant, s := range of {
			lines = append(lines, line(merchant, "SHOP", "5411", nil, s.n, over(s.n, len(in)), s.places/float64(s.n), s.all/float64(s.n)))
		}
		return lines
	},
	"control-totals": func(d *data, a figures.Args) (lines []string) {
		type sums struct{ counted, rows, yes, found int64 }
		of := map[time.Time]*sums{}
		at := func(micros int64) *sums {
			if of[dayOf(micros)] == nil {
				of[dayOf(micros)] = &sums{}
			}
			return of[dayOf(micros)]
		}
		seen := map[any]bool{}
		for _, row := range d.rows[cardlake.ControlTotals] {
			if row["tenant"] == string(a.Tenant) && !seen[row["first_sequence"]] {
				seen[row["first_sequence"]] = true
				s := at(row["minute"].(int64))
				s.counted += row["events"].(int64)
				s.yes += row["approved_events"].(int64)
			}
		}
		for _, e := range d.events {
			if e.Tenant == a.Tenant {
				s := at(e.EventTime)
				if s.rows++; e.Approved {
					s.found++
				}
			}
		}
		for day, s := range of {
			lines = append(lines, line(a.Tenant, day, s.counted, s.rows, s.counted-s.rows, s.yes, s.found))
		}
		return lines
	},
	"control-totals-gaps": func(d *data, a figures.Args) (lines []string) {
		var before viewstest.Row
		for _, row := range d.rows[cardlake.ControlTotals] {
			if row["tenant"] != string(a.Tenant) {
				continue
			}
			if before != nil && row["first_sequence"].(int64) > before["last_sequence"].(int64)+1 {
				lines = append(lines, line(a.Tenant, "p1", before["last_sequence"].(int64)+1, row["first_sequence"].(int64)-1, timeOf(before["minute"].(int64)), timeOf(row["minute"].(int64))))
			}
			before = row
		}
		return lines
	},
}

// TestInsightsAreWhatTheModelSays is TestFiguresAreWhatTheModelSays of what jobs found and what
// was counted.
func TestInsightsAreWhatTheModelSays(t *testing.T) {
	d := newData(9, 400, 24)
	s := newSite(t, d).as(t, queriestest.Everything)
	for _, name := range slices.Sorted(maps.Keys(insightModels)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := figure(t, name)
			for _, from := range []int{0, 9, 13} {
				a := argsOf(f, d)
				if from > 0 && f.Scope == figures.OfTenant {
					a.From, a.To = begin.AddDate(0, 0, from), begin.AddDate(0, 0, from+9)
				}
				want, got := insightModels[name](d, a), ask(t, s, statement(t, f, a)).lines
				slices.Sort(want)
				slices.Sort(got)
				if diff := gocmp.Diff(want, got); diff != "" || from == 0 && len(want) == 0 {
					t.Errorf("from day %d, %d rows (-model +figure):\n%.2500s", from, len(want), diff)
				}
				if f.Range != figures.Ranged {
					break
				}
			}
		})
	}
}
