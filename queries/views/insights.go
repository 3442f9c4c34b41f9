package views

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// like is a column as the table has it.
func like(t *cardlake.Table, names ...string) (out []queries.ViewColumn) {
	for _, name := range names {
		c := t.Column(name)
		v := queries.ViewColumn{Name: c.Name, Tag: c.Tag, Doc: c.Doc}
		switch c.Type {
		case cardlake.Bool:
			v.Type = arrow.FixedWidthTypes.Boolean
		case cardlake.Int32:
			v.Type = arrow.PrimitiveTypes.Int32
		case cardlake.Int64:
			v.Type = arrow.PrimitiveTypes.Int64
		case cardlake.TimestampTZ:
			v.Type = arrow.FixedWidthTypes.Timestamp_us
		case cardlake.Decimal18x4:
			v.Type = &arrow.Decimal128Type{Precision: 18, Scale: 4}
		default:
			v.Type = arrow.BinaryTypes.String
		}
		out = append(out, v)
	}
	return out
}

var insightRuns = &queries.View{
	Namespace: Namespace, Name: "insight_runs",
	Doc: "The newest published run of each job for each tenant.",
	Columns: like(cardlake.Runs, "tenant", "job", "run_id", "as_of", "snapshot", "version", "parameters", "rows_read", "rows_written",
		"published_at", "principal", "card"),
	SQL: `SELECT r.tenant, r.job, r.run_id, r.as_of, r.snapshot, r.version, r.parameters, r.rows_read, r.rows_written, r.published_at, r.principal, r.card
FROM insights.runs AS r
JOIN (SELECT tenant, job, max(sequence) AS sequence FROM insights.runs GROUP BY tenant, job) AS newest
  ON r.tenant = newest.tenant AND r.job = newest.job AND r.sequence = newest.sequence`,
}

var alerts = &queries.View{
	Namespace: Namespace, Name: "alerts",
	Doc: "Alerts of published runs, each event as the newest run that covers its day sees it, and what the tenant said of them. A filter on tenant reaches the tables.",
	Columns: append(like(cardlake.Alerts, "tenant", "alert_id", "event_time", "event_id", "transaction_id", "card_token", "customer_id", "merchant_id",
		"terminal_id", "mcc", "merchant_country", "channel", "approved", "amount", "currency", "score", "probability", "severity", "pattern", "position",
		"reasons", "features", "run_id"),
		text("status", cardlake.Public, "open; confirmed or dismissed, as the newest review says"),
		text("reviewer", cardlake.Public, "principal of that review; NULL if it is open"),
		queries.ViewColumn{Name: "reviewed_at", Type: arrow.FixedWidthTypes.Timestamp_us, Tag: cardlake.Public, Doc: "instant of that review"},
		text("note", cardlake.Identifier, "what the reviewer wrote beside it")),
	// Which run counts is decided for a run's days, of which there are few, not for its alerts.
	SQL: `WITH placed AS (
  SELECT tenant, run_id, CAST(event_time AS DATE) AS day
  FROM insights.alerts
  GROUP BY tenant, run_id, CAST(event_time AS DATE)
),
published AS (
  SELECT p.tenant, p.run_id, p.day, r.sequence
  FROM placed AS p
  JOIN insights.runs AS r ON p.tenant = r.tenant AND p.run_id = r.run_id
),
covering AS (
  SELECT p.tenant, p.day, max(r.sequence) AS sequence
  FROM published AS p
  JOIN insights.runs AS r ON p.tenant = r.tenant AND r.job = 'anomaly'
    AND p.day >= CAST(r.covers_from AS DATE) AND p.day < CAST(r.covers_to AS DATE)
  GROUP BY p.tenant, p.day
),
counted AS (
  SELECT p.tenant, p.run_id, p.day
  FROM published AS p
  JOIN covering AS c ON p.tenant = c.tenant AND p.day = c.day AND p.sequence = c.sequence
),
reviews AS (
  SELECT tenant, event_id, label, reporter, recorded_at, note,
    row_number() OVER (PARTITION BY tenant, event_id ORDER BY recorded_at DESC, label_id) AS place
  FROM insights.labels
  WHERE source = 'review'
)
SELECT a.tenant, a.alert_id, a.event_time, a.event_id, a.transaction_id, a.card_token, a.customer_id, a.merchant_id,
  a.terminal_id, a.mcc, a.merchant_country, a.channel, a.approved, a.amount, a.currency, a.score, a.probability, a.severity, a.pattern, a.position,
  a.reasons, a.features, a.run_id,
  CASE v.label WHEN 'fraud' THEN 'confirmed' WHEN 'genuine' THEN 'dismissed' ELSE 'open' END AS status,
  v.reporter AS reviewer, v.recorded_at AS reviewed_at, v.note
FROM insights.alerts AS a
JOIN counted AS c ON a.tenant = c.tenant AND a.run_id = c.run_id AND CAST(a.event_time AS DATE) = c.day
LEFT JOIN reviews AS v ON a.tenant = v.tenant AND a.event_id = v.event_id AND v.place = 1`,
}

// newestOf joins a table by run with the newest published run of its job.
func newestOf(job, table, columns string) string {
	return `SELECT ` + columns + `
FROM ` + table + ` AS t
JOIN insights.runs AS r ON t.tenant = r.tenant AND t.run_id = r.run_id
JOIN (SELECT tenant, max(sequence) AS sequence FROM insights.runs WHERE job = '` + job + `' GROUP BY tenant) AS newest
  ON r.tenant = newest.tenant AND r.sequence = newest.sequence
WHERE r.job = '` + job + `'`
}

var segments = &queries.View{
	Namespace: Namespace, Name: "segments",
	Doc: "The segments of each tenant's customers in the newest published run.",
	Columns: like(cardlake.Segments, "tenant", "as_of", "segment_id", "name", "description", "state", "customers", "share", "value", "currency",
		"previous_customers", "shift", "map_x", "map_y", "centre", "run_id"),
	SQL: newestOf("segment", "insights.segments", `t.tenant, t.as_of, t.segment_id, t.name, t.description, t.state, t.customers, t.share, t.value, t.currency,
  t.previous_customers, t.shift, t.map_x, t.map_y, t.centre, t.run_id`),
}

var segmentsByDay = &queries.View{
	Namespace: Namespace, Name: "segments_by_day",
	Doc: "Sizes and values of the segments over time: those of the last published run of each UTC day.",
	Columns: append([]queries.ViewColumn{tenant, date("day", "UTC day of as_of")},
		like(cardlake.Segments, "segment_id", "name", "state", "customers", "share", "value", "currency")...),
	SQL: `SELECT t.tenant, newest.day, t.segment_id, t.name, t.state, t.customers, t.share, t.value, t.currency
FROM insights.segments AS t
JOIN insights.runs AS r ON t.tenant = r.tenant AND t.run_id = r.run_id
JOIN (
  SELECT tenant, CAST(as_of AS DATE) AS day, max(sequence) AS sequence
  FROM insights.runs
  WHERE job = 'segment'
  GROUP BY tenant, CAST(as_of AS DATE)
) AS newest ON r.tenant = newest.tenant AND r.sequence = newest.sequence
WHERE r.job = 'segment'`,
}

var customerSegments = &queries.View{
	Namespace: Namespace, Name: "customer_segments",
	Doc: "The segment of each customer in the newest published run.",
	Columns: like(cardlake.CustomerSegments, "tenant", "as_of", "customer_id", "segment_id", "probability", "previous_segment_id", "distance",
		"recency_days", "frequency", "monetary", "currency", "run_id"),
	SQL: newestOf("segment", "insights.customer_segments", `t.tenant, t.as_of, t.customer_id, t.segment_id, t.probability, t.previous_segment_id, t.distance,
  t.recency_days, t.frequency, t.monetary, t.currency, t.run_id`),
}

var predictions = &queries.View{
	Namespace: Namespace, Name: "predictions",
	Doc: "What each customer is expected to do, in the newest published run.",
	Columns: like(cardlake.Predictions, "tenant", "as_of", "customer_id", "frequency", "recency_days", "age_days", "alive",
		"purchases_30", "purchases_60", "purchases_90", "value_30", "value_60", "value_90", "currency",
		"next_mcc", "next_mcc_probability", "next_purchase_at", "run_id"),
	SQL: newestOf("predict", "insights.predictions", `t.tenant, t.as_of, t.customer_id, t.frequency, t.recency_days, t.age_days, t.alive,
  t.purchases_30, t.purchases_60, t.purchases_90, t.value_30, t.value_60, t.value_90, t.currency,
  t.next_mcc, t.next_mcc_probability, t.next_purchase_at, t.run_id`),
}

var recommendations = &queries.View{
	Namespace: Namespace, Name: "recommendations",
	Doc: "Merchants and offers for each customer, in the newest published run.",
	Columns: like(cardlake.Recommendations, "tenant", "as_of", "customer_id", "mode", "position", "merchant_id", "merchant_name", "mcc", "offer_id",
		"score", "reason", "run_id"),
	SQL: newestOf("recommend", "insights.recommendations", `t.tenant, t.as_of, t.customer_id, t.mode, t.position, t.merchant_id, t.merchant_name, t.mcc, t.offer_id,
  t.score, t.reason, t.run_id`),
}
