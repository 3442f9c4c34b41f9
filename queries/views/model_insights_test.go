package views_test

import (
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/views/viewstest"
)

// insight is a column's value as an answer has it.
func insight(t *cardlake.Table, row viewstest.Row, name string) any {
	n, ok := row[name].(int64)
	switch c := t.Column(name); {
	case !ok:
		return row[name]
	case c.Type == cardlake.Decimal18x4:
		return decimal(n)
	case c.Type == cardlake.TimestampTZ:
		return timeOf(n)
	}
	return n
}

// runsOf are the published runs of the job and the tenant, and the newest of them.
func runsOf(job, tenant any) (all []viewstest.Row, newest viewstest.Row) {
	for _, r := range viewstest.Insights()[cardlake.Runs] {
		if r["job"] != job || r["tenant"] != tenant {
			continue
		}
		all = append(all, r)
		if newest == nil || r["sequence"].(int64) > newest["sequence"].(int64) {
			newest = r
		}
	}
	return all, newest
}

// modelInsights are the rows of the newest run of the job, of each job in insights.runs.
func modelInsights(t *cardlake.Table, job string, columns ...string) func([]*cardlake.Transaction) []string {
	return func([]*cardlake.Transaction) (lines []string) {
		for _, row := range viewstest.Insights()[t] {
			of := any(job)
			if t == cardlake.Runs {
				of = row["job"]
			}
			if _, newest := runsOf(of, row["tenant"]); newest["run_id"] != row["run_id"] {
				continue
			}
			var cells []any
			for _, c := range columns {
				cells = append(cells, insight(t, row, c))
			}
			lines = append(lines, line(cells...))
		}
		return lines
	}
}

func modelAlerts([]*cardlake.Transaction) (lines []string) {
	columns := []string{"tenant", "alert_id", "event_time", "event_id", "transaction_id", "card_token", "customer_id", "merchant_id", "terminal_id", "mcc",
		"merchant_country", "channel", "approved", "amount", "currency", "score", "probability", "severity", "pattern", "position", "reasons", "features", "run_id"}
	for _, row := range viewstest.Insights()[cardlake.Alerts] {
		all, _ := runsOf("anomaly", row["tenant"])
		var counts viewstest.Row
		at := row["event_time"].(int64)
		for _, r := range all {
			if r["covers_from"].(int64) <= at && at < r["covers_to"].(int64) && (counts == nil || r["sequence"].(int64) > counts["sequence"].(int64)) {
				counts = r
			}
		}
		if counts == nil || counts["run_id"] != row["run_id"] {
			continue
		}
		var review viewstest.Row
		for _, l := range viewstest.Insights()[cardlake.Labels] {
			if l["source"] != "review" || l["tenant"] != row["tenant"] || l["event_id"] != row["event_id"] {
				continue
			}
			newer := review == nil || l["recorded_at"].(int64) > review["recorded_at"].(int64)
			if newer || l["recorded_at"] == review["recorded_at"] && l["label_id"].(string) < review["label_id"].(string) {
				review = l
			}
		}
		var cells []any
		for _, c := range columns {
			cells = append(cells, insight(cardlake.Alerts, row, c))
		}
		if review == nil {
			cells = append(cells, "open", nil, nil, nil)
		} else {
			status := map[any]string{"fraud": "confirmed", "genuine": "dismissed"}[review["label"]]
			cells = append(cells, status, review["reporter"], timeOf(review["recorded_at"].(int64)), review["note"])
		}
		lines = append(lines, line(cells...))
	}
	return lines
}

func modelSegmentsByDay([]*cardlake.Transaction) (lines []string) {
	for _, row := range viewstest.Insights()[cardlake.Segments] {
		all, _ := runsOf("segment", row["tenant"])
		day := func(r viewstest.Row) time.Time { return dayOf(r["as_of"].(int64)) }
		var last viewstest.Row
		for _, r := range all {
			if day(r).Equal(day(row)) && (last == nil || r["sequence"].(int64) > last["sequence"].(int64)) {
				last = r
			}
		}
		if last == nil || last["run_id"] != row["run_id"] {
			continue
		}
		cells := []any{row["tenant"], day(row)}
		for _, c := range []string{"segment_id", "name", "state", "customers", "share", "value", "currency"} {
			cells = append(cells, insight(cardlake.Segments, row, c))
		}
		lines = append(lines, line(cells...))
	}
	return lines
}
