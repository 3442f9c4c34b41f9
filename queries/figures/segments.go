package figures

var segments = []Figure{
	{
		Name: "segments", Page: "segments",
		Doc: "The segments of the newest run: their size, value, place on the map, and how they changed since the run before.",
		SQL: `SELECT segment_id, name, description, state, customers, share, value, currency,
  ` + rate("value", "customers") + ` AS value_per_customer,
  previous_customers, shift, map_x, map_y, centre, as_of, run_id
FROM views.segments
WHERE tenant = {tenant}
ORDER BY customers DESC, segment_id
`,
	},
	{
		Name: "segments-over-time", Page: "segments", Range: Ranged,
		Doc: "Sizes and values of the segments in the last run of each day.",
		SQL: `SELECT day, segment_id, name, state, customers, share, value, currency
FROM views.segments_by_day
WHERE ` + inRange + `
ORDER BY day, customers DESC, segment_id
`,
	},
	{
		Name: "segment-movement", Page: "segments",
		Doc: "How many customers of each segment were in which one in the run before. From NULL come those who were in none.",
		SQL: `SELECT moved.previous_segment_id AS from_segment_id, was.name AS from_name,
  moved.segment_id AS to_segment_id, now_in.name AS to_name,
  moved.customers
FROM (
  SELECT previous_segment_id, segment_id, count(*) AS customers
  FROM views.customer_segments
  WHERE tenant = {tenant}
  GROUP BY previous_segment_id, segment_id
) AS moved
LEFT JOIN (
  SELECT segment_id, name FROM views.segments WHERE tenant = {tenant}
) AS was ON was.segment_id = moved.previous_segment_id
LEFT JOIN (
  SELECT segment_id, name FROM views.segments WHERE tenant = {tenant}
) AS now_in ON now_in.segment_id = moved.segment_id
ORDER BY moved.customers DESC, moved.previous_segment_id, moved.segment_id
`,
	},
	{
		Name: "segment-profile", Page: "segments",
		Doc: "What the customers of each segment are like on average: days since the last purchase, purchases and value in the window, how surely they belong to it, and how many bought in the last 7 days.",
		SQL: `SELECT c.segment_id, s.name, c.currency, c.customers, c.recency_days, c.frequency, c.monetary, c.probability, c.recent
FROM (
  SELECT segment_id, currency,
    count(*) AS customers,
    avg(CAST(recency_days AS DOUBLE)) AS recency_days,
    avg(CAST(frequency AS DOUBLE)) AS frequency,
    avg(CAST(monetary AS DOUBLE)) AS monetary,
    avg(CAST(probability AS DOUBLE)) AS probability,
    ` + counted("recency_days < 7", "recency_days") + ` AS recent
  FROM views.customer_segments
  WHERE tenant = {tenant} AND segment_id IS NOT NULL
  GROUP BY segment_id, currency
) AS c
LEFT JOIN (
  SELECT segment_id, name FROM views.segments WHERE tenant = {tenant}
) AS s ON s.segment_id = c.segment_id
ORDER BY c.customers DESC, c.segment_id, c.currency
`,
	},
	Figure{
		Name: "segment-mccs", Page: "segments", Range: Ranged, Params: []Param{ofSegment, inCurrency},
		Doc: "Where the customers of a segment were approved in a range, by merchant category.",
		SQL: `SELECT mcc, customers, approved, approved_amount,
  ` + share("approved_amount") + ` AS share
FROM (
  SELECT e.mcc,
    count(*) AS customers,
    ` + total("e.approved_requests") + ` AS approved,
    ` + sumOf("e.amount") + ` AS approved_amount
  FROM (
    SELECT customer_id, mcc, count(*) AS approved_requests, sum(amount) AS amount
    FROM views.events
    WHERE ` + requests + ` AND approved
      AND currency = {currency} AND customer_id IS NOT NULL
    GROUP BY customer_id, mcc
  ) AS e
  JOIN (
    SELECT customer_id FROM views.customer_segments WHERE tenant = {tenant} AND segment_id = {segment}
  ) AS c ON c.customer_id = e.customer_id
  GROUP BY e.mcc
) AS sums
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(12, order{keys: []key{down("approved", Int), up("mcc", Text)}}),
	Figure{
		Name: "segment-customers", Page: "segments",
		Params: []Param{
			{Name: "segment", Type: Name, Doc: "only customers of this segment_id"},
			{Name: "moved", Type: Choice, Values: []string{"true"}, Doc: "only customers who were in another segment in the run before", sql: map[string]string{"true": "previous_segment_id"}},
			byCustomers,
		},
		Doc: "Customers and their segments, now and in the run before.",
		SQL: `SELECT customer_id, segment_id, segment_name, probability, previous_segment_id, distance, recency_days, frequency, monetary, currency
FROM (
  SELECT c.customer_id, c.segment_id, s.name AS segment_name, c.probability, c.previous_segment_id, c.distance,
    c.recency_days, c.frequency, c.monetary, c.currency
  FROM views.customer_segments AS c
  LEFT JOIN (
    SELECT segment_id, name FROM views.segments WHERE tenant = {tenant}
  ) AS s ON s.segment_id = c.segment_id
  WHERE c.tenant = {tenant} AND c.customer_id IS NOT NULL
    AND c.segment_id = {segment}
    AND c.segment_id <> c.{moved}
    AND starts_with(c.customer_id, {customer})
) AS listed
WHERE customer_id IS NOT NULL
  AND {after}
ORDER BY {order}
LIMIT {limit}
`,
	}.paged(
		order{name: "value", doc: "by what they spent in the window", keys: []key{down("monetary", Decimal).orNull(), up("customer_id", Text)}},
		order{name: "frequency", doc: "by purchases in the window", keys: []key{down("frequency", Int).orNull(), up("customer_id", Text)}},
		order{name: "recency", doc: "the last purchase first", keys: []key{up("recency_days", Decimal).orNull(), up("customer_id", Text)}},
	),
}
