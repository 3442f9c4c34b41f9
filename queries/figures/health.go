package figures

// lag is how long an event took from the decision to the worker, in milliseconds.
const lag = "epoch_ms(ingested_at) - epoch_ms(event_time)"

// ofRows are the conditions of events of one tenant or of all.
const ofRows = `event_time >= {begin} AND event_time < {end}
  AND tenant = {tenant}`

var health = []Figure{
	{
		Name: "health-freshness", Page: "health", Range: Ranged, Scope: OfAnyone,
		Doc: "Events of a range by tenant, the newest of them, and how long they took from the decision to the worker: half, and 99 of 100, were not slower.",
		SQL: `SELECT tenant,
  count(*) AS events,
  max(event_time) AS newest_event_at,
  max(ingested_at) AS newest_ingested_at,
  quantile_disc(` + lag + `, 0.5) AS lag_p50_ms,
  quantile_disc(` + lag + `, 0.99) AS lag_p99_ms,
  count(DISTINCT region) AS regions
FROM cards.transactions
WHERE ` + ofRows + `
GROUP BY tenant
ORDER BY tenant
`,
	},
	{
		Name: "ingest-lag", Page: "health", Range: Ranged, Scope: OfAnyone, Params: []Param{grain("hour", "day", "week", "month")},
		Doc: "How long events took from the decision to the worker, over time, in milliseconds.",
		SQL: `SELECT date_trunc({grain}, event_time) AS period,
  count(*) AS events,
  quantile_disc(` + lag + `, 0.5) AS p50_ms,
  quantile_disc(` + lag + `, 0.95) AS p95_ms,
  quantile_disc(` + lag + `, 0.99) AS p99_ms
FROM cards.transactions
WHERE ` + ofRows + `
GROUP BY date_trunc({grain}, event_time)
ORDER BY period
`,
	},
	{
		Name: "stream-partitions", Page: "health", Range: Ranged, Scope: OfAnyone,
		Doc: "Events of a range by the partition of the stream that they came from, and how far each has come.",
		SQL: `SELECT stream, stream_partition,
  count(*) AS events,
  max(stream_offset) AS last_offset,
  max(event_time) AS newest_event_at,
  max(ingested_at) AS newest_ingested_at
FROM cards.transactions
WHERE ` + ofRows + `
GROUP BY stream, stream_partition
ORDER BY stream, stream_partition
`,
	},
	Figure{
		Name: "rejected", Page: "health", Range: Ranged, Scope: OfLake,
		Params: []Param{{Name: "reason", Type: Choice, Values: []string{"undecodable", "unknown_schema", "unknown_tenant", "unopenable", "invalid_field"}, Doc: "only records that were given up for this reason"}},
		Doc:    "Records of the stream that could not be taken, and why. What they hold stays sealed.",
		SQL: `SELECT rejected_at, reason, detail, stream, stream_partition, stream_offset, record_time
FROM cards.transactions_rejected
WHERE rejected_at >= {begin} AND rejected_at < {end}
  AND reason = {reason}
  AND {after}
ORDER BY {order}
LIMIT {limit}
`,
	}.paged(order{keys: []key{down("rejected_at", Instant), up("stream", Text), up("stream_partition", Int), up("stream_offset", Int)}}),
	{
		Name: "rejected-by-reason", Page: "health", Range: Ranged, Scope: OfLake,
		Doc: "Records of the stream that could not be taken, by day and reason.",
		SQL: `SELECT CAST(rejected_at AS DATE) AS day, reason, count(*) AS records
FROM cards.transactions_rejected
WHERE rejected_at >= {begin} AND rejected_at < {end}
GROUP BY CAST(rejected_at AS DATE), reason
ORDER BY day, reason
`,
	},
	{
		Name: "control-totals", Page: "health", Range: Ranged, Scope: OfAnyone,
		Doc: "Decisions of each day that the processors counted beside the rows that the lake has. Minutes of which no total has come yet count as missing totals, not as missing rows: missing is below zero.",
		SQL: `WITH totals AS (
  SELECT tenant, minute, processor, currency, first_sequence, events, approved_events
  FROM cards.control_totals
  WHERE minute >= {begin} AND minute < {end}
    AND tenant = {tenant}
  GROUP BY tenant, minute, processor, currency, first_sequence, events, approved_events
),
counts AS (
  SELECT tenant, CAST(minute AS DATE) AS day,
    sum(events) AS counted_events, sum(approved_events) AS counted_approved, 0 AS lake_rows, 0 AS lake_approved
  FROM totals
  GROUP BY tenant, CAST(minute AS DATE)
  UNION ALL
  SELECT tenant, CAST(event_time AS DATE), 0, 0, count(*), sum(CASE WHEN approved THEN 1 ELSE 0 END)
  FROM cards.transactions
  WHERE event_time >= {begin} AND event_time < {end}
    AND tenant = {tenant}
  GROUP BY tenant, CAST(event_time AS DATE)
)
SELECT tenant, day,
  ` + total("counted_events") + ` AS counted,
  ` + total("lake_rows") + ` AS rows_found,
  CAST(sum(counted_events) - sum(lake_rows) AS BIGINT) AS missing,
  ` + total("counted_approved") + ` AS counted_approved,
  ` + total("lake_approved") + ` AS approved_found
FROM counts
GROUP BY tenant, day
ORDER BY tenant, day
`,
	},
	{
		Name: "control-totals-gaps", Page: "health", Range: Ranged, Scope: OfAnyone,
		Doc: "Numbers of decisions that no total of a processor tells of, between two that do: totals that are lost, or late.",
		SQL: `SELECT tenant, processor, last_before + 1 AS first_missing, first_sequence - 1 AS last_missing, minute_before, minute
FROM (
  SELECT tenant, processor, first_sequence, minute,
    lag(last_sequence) OVER (PARTITION BY tenant, processor ORDER BY first_sequence, last_sequence, minute, currency) AS last_before,
    lag(minute) OVER (PARTITION BY tenant, processor ORDER BY first_sequence, last_sequence, minute, currency) AS minute_before
  FROM cards.control_totals
  WHERE minute >= {begin} AND minute < {end}
    AND tenant = {tenant}
) AS totals
WHERE first_sequence > last_before + 1
ORDER BY tenant, processor, first_sequence
`,
	},
	{
		Name: "jobs", Page: "health", Scope: OfAnyone, Params: []Param{byJob},
		Doc: "The newest published run of each job for each tenant.",
		SQL: `SELECT tenant, job, run_id, as_of, version, rows_read, rows_written, published_at, principal
FROM views.insight_runs
WHERE tenant IS NOT NULL
  AND tenant = {tenant}
  AND job = {job}
ORDER BY tenant, job
`,
	},
	Figure{
		Name: "job-runs", Page: "health", Range: Ranged, Scope: OfAnyone, Params: []Param{byJob},
		Doc: "Runs of jobs that were published in a range, the newest first, and how long they took.",
		SQL: `SELECT tenant, job, run_id, as_of, rows_read, rows_written, started_at, published_at,
  CAST(date_diff('millisecond', started_at, published_at) AS DOUBLE) / 1000 AS seconds,
  principal
FROM insights.runs
WHERE published_at >= {begin} AND published_at < {end}
  AND tenant = {tenant}
  AND job = {job}
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualPage, order{keys: []key{down("published_at", Instant), up("run_id", Text)}}),
}

// trail are the figures of the audit record.
var trail = []Figure{
	Figure{
		Name: "audit", Page: "audit", Range: Ranged, Scope: OfLake,
		Params: []Param{
			{Name: "actor", Type: Name, Doc: "only what this principal did"},
			{Name: "action", Type: Name, Doc: "only this action, such as query"},
			{Name: "outcome", Type: Choice, Values: []string{"allowed", "refused", "failed"}, Doc: "only what ended so"},
			{Name: "resource", Type: Text, Doc: "only what was done to something with this in its name"},
			{Name: "about", Type: Text, Doc: "only lines that name this tenant, or one with this in its name"},
			{Name: "request", Type: Name, Doc: "only the lines of this request"},
		},
		Doc: "Who did what, to what, from where and with what outcome, the newest first.",
		SQL: `SELECT time, log, seq, actor, action, outcome, resource, origin, reason, request, policies, "rows", "columns", tenants, details
FROM audit.events
WHERE time >= {begin} AND time < {end}
  AND actor = {actor}
  AND action = {action}
  AND outcome = {outcome}
  AND contains(resource, {resource})
  AND contains(tenants, {about})
  AND request = {request}
  AND {after}
ORDER BY {order}
LIMIT {limit}
`,
	}.paged(order{keys: []key{down("time", Instant), down("log", Text), down("seq", Int)}}),
	{
		Name: "audit-by-day", Page: "audit", Range: Ranged, Scope: OfLake,
		Doc: "Lines of the audit record by day, action and outcome.",
		SQL: `SELECT CAST(time AS DATE) AS day, action, outcome, count(*) AS events
FROM audit.events
WHERE time >= {begin} AND time < {end}
GROUP BY CAST(time AS DATE), action, outcome
ORDER BY day, action, outcome
`,
	},
	Figure{
		Name: "audit-by-actor", Page: "audit", Range: Ranged, Scope: OfLake,
		Doc: "What each principal did in a range: how often, how much of it was refused or failed, and how many rows were given.",
		SQL: `SELECT actor,
  count(*) AS events,
  count(CASE WHEN outcome = 'refused' THEN 1 END) AS refused,
  count(CASE WHEN outcome = 'failed' THEN 1 END) AS failed,
  CAST(sum("rows") AS BIGINT) AS rows_given,
  max(time) AS last_at
FROM audit.events
WHERE time >= {begin} AND time < {end}
GROUP BY actor
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualPage, order{keys: []key{down("count(*)", Int), up("actor", Text)}}),
}
