package figures

// inTop are the conditions of the recommendations that count.
const inTop = "tenant = {tenant} AND mode = {mode} AND position <= {top}"

var byModes = Param{Name: "mode", Type: Choice, Values: inMode.Values, Doc: "only one list: " + inMode.Doc}

var recommendations = []Figure{
	{
		Name: "recommendations-of-customer", Page: "recommendations", Params: []Param{ofCustomer, byModes},
		Doc: "Merchants and offers for one customer, the best first, with the reason.",
		SQL: `SELECT mode, position, merchant_id, merchant_name, mcc, offer_id, score, reason, as_of
FROM views.recommendations
WHERE tenant = {tenant} AND customer_id = {customer}
  AND mode = {mode}
ORDER BY mode, position
`,
	},
	Figure{
		Name: "recommendations-of-segment", Page: "recommendations", Params: []Param{ofSegment, inMode, byTop},
		Doc: "Merchants and offers that are among the first for most customers of a segment.",
		SQL: `SELECT r.merchant_id,
  max(r.merchant_name) AS merchant_name,
  max(r.mcc) AS mcc,
  r.offer_id,
  count(*) AS customers,
  CAST(count(*) AS DOUBLE) / NULLIF(max(s.customers), 0) AS share,
  avg(CAST(r.position AS DOUBLE)) AS mean_position,
  avg(CAST(r.score AS DOUBLE)) AS mean_score
FROM (
  SELECT customer_id, merchant_id, merchant_name, mcc, offer_id, position, score
  FROM views.recommendations
  WHERE ` + inTop + `
) AS r
JOIN (
  SELECT customer_id FROM views.customer_segments WHERE tenant = {tenant} AND segment_id = {segment}
) AS c ON c.customer_id = r.customer_id
CROSS JOIN (
  SELECT count(*) AS customers FROM views.customer_segments WHERE tenant = {tenant} AND segment_id = {segment}
) AS s
GROUP BY r.merchant_id, r.offer_id
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualRows, order{keys: []key{down("customers", Int), up("merchant_id", Text), up("offer_id", Text)}}),
	Figure{
		Name: "recommendation-top-merchants", Page: "recommendations", Params: []Param{inMode, byTop},
		Doc: "Merchants and offers that are among the first for most customers.",
		SQL: `SELECT merchant_id,
  max(merchant_name) AS merchant_name,
  max(mcc) AS mcc,
  offer_id,
  count(*) AS customers,
  avg(CAST(position AS DOUBLE)) AS mean_position,
  avg(CAST(score AS DOUBLE)) AS mean_score
FROM views.recommendations
WHERE ` + inTop + `
GROUP BY merchant_id, offer_id
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualRows, order{keys: []key{down("customers", Int), up("merchant_id", Text), up("offer_id", Text)}}),
	Figure{
		Name: "recommendation-mccs", Page: "recommendations", Params: []Param{inMode, byTop},
		Doc: "Merchant categories that are among the first for most customers, and the share of all those places that they take.",
		SQL: `SELECT mcc, customers, merchants, places,
  ` + share("places") + ` AS share
FROM (
  SELECT mcc,
    ` + distinct("customer_id") + ` AS customers,
    ` + distinct("merchant_id") + ` AS merchants,
    count(*) AS places
  FROM views.recommendations
  WHERE ` + inTop + `
  GROUP BY mcc
) AS sums
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualRows, order{keys: []key{down("customers", Int), up("mcc", Text)}}),
	Figure{
		Name: "recommendation-reasons", Page: "recommendations", Params: []Param{inMode},
		Doc: "Why things are recommended, the most frequent reasons first.",
		SQL: `SELECT reason,
  found AS recommendations,
  ` + share("found") + ` AS share
FROM (
  SELECT reason, count(*) AS found
  FROM views.recommendations
  WHERE tenant = {tenant} AND mode = {mode}
  GROUP BY reason
) AS sums
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualRows, order{keys: []key{down("found", Int), up("reason", Text)}}),
	Figure{
		Name: "recommendation-customers", Page: "recommendations", Params: []Param{byCustomers},
		Doc: "Customers that have recommendations, how many of each list, and the first of where they will buy.",
		SQL: `SELECT customer_id,
  count(CASE WHEN mode = 'all' THEN 1 END) AS merchants,
  count(CASE WHEN mode = 'new' THEN 1 END) AS new_merchants,
  count(CASE WHEN mode = 'offer' THEN 1 END) AS offers,
  max(CASE WHEN mode = 'all' AND position = 1 THEN merchant_name END) AS best
FROM views.recommendations
WHERE tenant = {tenant} AND customer_id IS NOT NULL
  AND starts_with(customer_id, {customer})
  AND {after}
GROUP BY customer_id
ORDER BY {order}
LIMIT {limit}
`,
	}.paged(order{keys: []key{up("customer_id", Text)}}),
	{
		Name: "recommendation-uptake", Page: "recommendations", Range: Ranged,
		Doc: "How many customers were approved at the merchant that was recommended to them, in the range and since the recommendation was made, by list and place.",
		SQL: `SELECT mode, position, recommended, bought,
  ` + rate("bought", "recommended") + ` AS uptake
FROM (
  SELECT r.mode, r.position,
    count(*) AS recommended,
    count(CASE WHEN b.newest_at >= r.as_of THEN 1 END) AS bought
  FROM (
    SELECT mode, position, customer_id, merchant_id, as_of
    FROM views.recommendations
    WHERE tenant = {tenant} AND merchant_id IS NOT NULL
  ) AS r
  LEFT JOIN (
    SELECT customer_id, merchant_id, max(event_time) AS newest_at
    FROM views.events
    WHERE ` + requests + ` AND approved
      AND customer_id IS NOT NULL AND merchant_id IS NOT NULL
    GROUP BY customer_id, merchant_id
  ) AS b ON b.customer_id = r.customer_id AND b.merchant_id = r.merchant_id
  GROUP BY r.mode, r.position
) AS sums
ORDER BY mode, position
`,
	},
}
