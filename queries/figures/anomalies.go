package figures

import "time"

var (
	byStatus   = Param{Name: "status", Type: Choice, Values: []string{"open", "confirmed", "dismissed"}, Doc: "only alerts that were reviewed so, or not yet"}
	bySeverity = Param{Name: "severity", Type: Choice, Values: []string{"critical", "high", "medium", "low"}, Doc: "only alerts of this severity"}
	byPattern  = Param{Name: "pattern", Type: Choice, Values: []string{"stolen_card", "impossible_travel", "card_testing", "compromised_terminal", "unusual"}, Doc: "only alerts of this pattern"}
)

// alertRange is inRange of what has no column day.
const alertRange = "tenant = {tenant} AND event_time >= {begin} AND event_time < {end}"

const alertColumns = `alert_id, event_time, event_id, transaction_id, severity, pattern, status, score, probability,
  approved, amount, currency, channel, mcc, merchant_id, merchant_country, terminal_id, card_token, customer_id,
  reasons, reviewer, reviewed_at, note`

// around sets the instants between which events may tell more of one.
func around(value string, _ Args) map[string]string {
	at, _ := time.Parse(time.RFC3339, value)
	return map[string]string{"before": instant(at.Add(-7 * oneDay)), "after": instant(at.Add(oneDay))}
}

var anomalies = []Figure{
	{
		Name: "alert-totals", Page: "anomalies", Range: Ranged,
		Doc: "Alerts of a range by severity, review and currency, and the amounts that went through or were declined.",
		SQL: `SELECT severity, status, currency,
  count(*) AS alerts,
  ` + counted("approved", "approved") + ` AS approved_alerts,
  ` + approvedAmount + ` AS approved_amount,
  CAST(sum(CASE WHEN NOT approved THEN amount WHEN approved AND amount IS NOT NULL THEN 0 END) AS DECIMAL(38,4)) AS declined_amount
FROM views.alerts
WHERE ` + alertRange + `
GROUP BY severity, status, currency
ORDER BY count(*) DESC, severity, status, currency
`,
	},
	Figure{
		Name: "alerts", Page: "anomalies", Range: Ranged,
		Params: []Param{byStatus, bySeverity, byPattern, byCard, byMerchant, {Name: "min_score", Type: Decimal, Doc: "only alerts of at least this score, from 0 to 1"}},
		Doc:    "Events of a range that stand out, with the reasons in words and what was said of them.",
		SQL: `SELECT ` + alertColumns + `
FROM views.alerts
WHERE ` + alertRange + `
  AND status = {status}
  AND severity = {severity}
  AND pattern = {pattern}
  AND card_token = {card}
  AND merchant_id = {merchant}
  AND score >= {min_score}
  AND {after}
ORDER BY {order}
LIMIT {limit}
`,
	}.paged(
		order{name: "newest", doc: "the newest event first", keys: []key{down("event_time", Instant), up("alert_id", Text)}},
		order{name: "score", doc: "the most unusual first", keys: []key{down("score", Decimal), up("alert_id", Text)}},
	),
	{
		Name: "alert", Page: "anomalies", Params: []Param{{Name: "alert", Type: Name, Required: true, Doc: "alert_id of the alert"}},
		Doc: "One alert, with the features that made it, their values and weights.",
		SQL: `SELECT ` + alertColumns + `,
  features, position, run_id
FROM views.alerts
WHERE tenant = {tenant} AND alert_id = {alert}
ORDER BY event_time, run_id
`,
	},
	Figure{
		Name: "alert-events", Page: "anomalies",
		Params: []Param{ofCard, {Name: "at", Type: Instant, Required: true, Doc: "instant of the event, event_time of the alert", derive: around}},
		Doc:    "What the card of an alert did from seven days before the event to a day after it, the newest event first.",
		SQL: `SELECT ` + eventColumns + `
FROM views.events
WHERE tenant = {tenant} AND card_token = {card}
  AND event_time >= {before} AND event_time < {after}
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(100, newestEvents),
	{
		Name: "alerts-by-day", Page: "anomalies", Range: Ranged,
		Doc: "Alerts of each day by severity and review.",
		SQL: `SELECT CAST(event_time AS DATE) AS day, severity, status, count(*) AS alerts
FROM views.alerts
WHERE ` + alertRange + `
GROUP BY CAST(event_time AS DATE), severity, status
ORDER BY day, severity, status
`,
	},
	{
		Name: "alerts-by-pattern", Page: "anomalies", Range: Ranged,
		Doc: "Alerts of a range by pattern and review. Precision is the part of the reviewed ones that was confirmed.",
		SQL: `SELECT pattern,
  found AS alerts,
  found - confirmed - dismissed AS open,
  confirmed, dismissed,
  ` + rate("confirmed", "confirmed + dismissed") + ` AS precision
FROM (
  SELECT pattern,
    count(*) AS found,
    count(CASE WHEN status = 'confirmed' THEN 1 END) AS confirmed,
    count(CASE WHEN status = 'dismissed' THEN 1 END) AS dismissed
  FROM views.alerts
  WHERE ` + alertRange + `
  GROUP BY pattern
) AS sums
ORDER BY found DESC, pattern
`,
	},
	{
		Name: "alert-calibration", Page: "anomalies", Range: Ranged,
		Doc: "Alerts of a range by tenths of the probability of fraud, or of the score where no probability was learned, and how many of the reviewed ones were confirmed: a good probability is near the confirmed part.",
		SQL: `SELECT basis,
  CAST(CAST(tenth AS DOUBLE) / 10 AS DECIMAL(18,4)) AS from_value,
  CAST(CAST(tenth + 1 AS DOUBLE) / 10 AS DECIMAL(18,4)) AS to_value,
  found AS alerts,
  reviewed, confirmed,
  ` + rate("confirmed", "reviewed") + ` AS confirmed_rate
FROM (
  SELECT basis, tenth,
    count(*) AS found,
    count(CASE WHEN status <> 'open' THEN 1 END) AS reviewed,
    count(CASE WHEN status = 'confirmed' THEN 1 END) AS confirmed
  FROM (
    SELECT status,
      CASE WHEN probability IS NOT NULL THEN 'probability' ELSE 'score' END AS basis,
      CASE
        WHEN COALESCE(probability, score) >= 1 THEN 9
        ELSE CAST(floor(COALESCE(probability, score) * 10) AS BIGINT)
      END AS tenth
    FROM views.alerts
    WHERE ` + alertRange + `
  ) AS placed
  GROUP BY basis, tenth
) AS sums
ORDER BY basis, tenth
`,
	},
	{
		Name: "alert-reviews", Page: "anomalies", Range: Ranged,
		Doc: "Alerts that were confirmed or dismissed on each day of a range, and by whom. The newest review of an event counts.",
		SQL: `SELECT CAST(reviewed_at AS DATE) AS day, reviewer,
  count(CASE WHEN status = 'confirmed' THEN 1 END) AS confirmed,
  count(CASE WHEN status = 'dismissed' THEN 1 END) AS dismissed
FROM views.alerts
WHERE tenant = {tenant} AND reviewed_at >= {begin} AND reviewed_at < {end}
GROUP BY CAST(reviewed_at AS DATE), reviewer
ORDER BY day, reviewer
`,
	},
	{
		Name: "fraud-reports", Page: "anomalies", Range: Ranged,
		Doc: "What was said of events on each day of a range: fraud or genuine, by chargebacks, files or reviews.",
		SQL: `SELECT CAST(reported_at AS DATE) AS day, source, label, count(*) AS reports
FROM insights.labels
WHERE tenant = {tenant} AND reported_at >= {begin} AND reported_at < {end}
GROUP BY CAST(reported_at AS DATE), source, label
ORDER BY day, source, label
`,
	},
}

// models are the figures of every page that shows what a job found.
var models = []Figure{
	{
		Name: "runs", Page: "models", Params: []Param{byJob},
		Doc: "The newest published run of each job. A job that has no row has not run yet.",
		SQL: `SELECT job, run_id, as_of, version, rows_read, rows_written, published_at, parameters
FROM views.insight_runs
WHERE tenant = {tenant}
  AND job = {job}
ORDER BY job
`,
	},
	{
		Name: "model-card", Page: "models", Params: []Param{ofJob},
		Doc: "The model card of a job's newest run: what it read, how good it is beside simple methods, what has drifted, and for what it must not be used.",
		SQL: `SELECT run_id, as_of, card
FROM views.insight_runs
WHERE tenant = {tenant} AND job = {job}
ORDER BY run_id
`,
	},
}
