SELECT count(*) FROM cards.transactions
SELECT tenant, count(*), avg(amount) FROM cards.transactions GROUP BY 1 ORDER BY 1
SELECT tenant, currency, sum(amount) AS total FROM cards.transactions WHERE approved GROUP BY ALL ORDER BY ALL
SELECT tenant, count(*) FILTER (WHERE approved) AS ok, count(*) FILTER (WHERE NOT approved) AS ko FROM cards.transactions GROUP BY tenant HAVING count(*) > 10 ORDER BY tenant
SELECT date_trunc('hour', event_time) AS h, count(*) FROM cards.transactions WHERE tenant = 'aurora' GROUP BY h ORDER BY h LIMIT 3
SELECT event_time::DATE AS day, min(event_time), max(event_time) FROM cards.transactions GROUP BY day ORDER BY day
SELECT quantile_cont(amount::DOUBLE, [0.5, 0.95]) AS q FROM cards.transactions
SELECT median(amount), mode(mcc), stddev(latency_us) > 0 AS spread FROM cards.transactions
SELECT approx_count_distinct(merchant_id) > 100 AS many, count(DISTINCT merchant_id) FROM cards.transactions
SELECT CASE WHEN amount < 100 THEN 'small' WHEN amount < 500 THEN 'middle' ELSE 'large' END AS size, count(*) FROM cards.transactions GROUP BY size ORDER BY size
SELECT TRY_CAST(merchant_name AS INTEGER) AS n, count(*) FROM cards.transactions GROUP BY n
SELECT mcc, count(*) AS n FROM cards.transactions WHERE mcc IN ('5411', '5812') AND amount BETWEEN 10 AND 20 GROUP BY mcc ORDER BY n DESC, mcc
SELECT merchant_city, count(*) FROM cards.transactions WHERE merchant_city ILIKE 's%' GROUP BY 1
WITH d AS (SELECT tenant, sum(amount) AS s FROM cards.transactions GROUP BY tenant) SELECT tenant, s / sum(s) OVER () AS share FROM d ORDER BY tenant
WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS x FROM a) SELECT a.x, b.x AS y FROM a, b
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) FROM r
SELECT tenant, event_time, amount FROM cards.transactions QUALIFY row_number() OVER (PARTITION BY tenant ORDER BY amount DESC, event_time) = 1 ORDER BY tenant
SELECT tenant, amount - lag(amount) OVER (PARTITION BY tenant ORDER BY event_time, event_id) AS step FROM cards.transactions ORDER BY tenant, event_time, event_id LIMIT 3
SELECT rank() OVER w AS r, dense_rank() OVER w AS d, ntile(4) OVER w AS q FROM cards.transactions WINDOW w AS (ORDER BY amount, event_id) ORDER BY r LIMIT 2
SELECT avg(amount) OVER (ORDER BY event_time RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW) AS m FROM cards.transactions WHERE tenant = 'cobre' ORDER BY event_time LIMIT 2
SELECT t.tenant, count(*) FROM cards.transactions t JOIN (SELECT tenant, max(amount) AS m FROM cards.transactions GROUP BY tenant) x ON t.tenant = x.tenant AND t.amount = x.m GROUP BY 1 ORDER BY 1
SELECT count(*) FROM cards.transactions t LEFT JOIN cards.transactions_rejected r ON t.stream_offset = r.stream_offset WHERE r.reason IS NULL
SELECT count(*) FROM cards.transactions t SEMI JOIN (SELECT 'aurora' AS tenant) s USING (tenant)
SELECT count(*) FROM cards.transactions t ANTI JOIN (VALUES ('aurora'), ('cobre')) s(tenant) USING (tenant)
SELECT tenant FROM cards.transactions UNION SELECT 'zeta' ORDER BY 1
SELECT tenant FROM cards.transactions EXCEPT SELECT 'aurora' ORDER BY 1
SELECT tenant FROM cards.transactions INTERSECT ALL SELECT 'aurora'
SELECT EXISTS (SELECT 1 FROM cards.transactions WHERE amount > 1000) AS over, (SELECT max(amount) FROM cards.transactions) AS top
SELECT tenant FROM cards.transactions WHERE amount = (SELECT max(amount) FROM cards.transactions) GROUP BY tenant ORDER BY tenant
SELECT count(*) FROM cards.transactions WHERE (tenant, mcc) IN (SELECT 'aurora', '5411')
SELECT tenant, channel, count(*), grouping(channel) FROM cards.transactions GROUP BY ROLLUP (tenant, channel) ORDER BY ALL LIMIT 4
SELECT tenant, channel, count(*) FROM cards.transactions GROUP BY GROUPING SETS ((tenant), (channel)) ORDER BY ALL
SELECT * EXCLUDE (event_id, transaction_id, card_token) FROM cards.transactions ORDER BY event_time, tenant LIMIT 1
SELECT COLUMNS('^(tenant|mcc)$') FROM cards.transactions ORDER BY event_time, tenant LIMIT 1
SELECT * REPLACE (amount * 2 AS amount) FROM (SELECT tenant, amount FROM cards.transactions ORDER BY event_id LIMIT 1)
SELECT DISTINCT ON (tenant) tenant, mcc FROM cards.transactions ORDER BY tenant, event_id
FROM cards.transactions SELECT max(latency_us) > 0 AS measured
TABLE cards.transactions_rejected
SELECT list(DISTINCT channel ORDER BY channel) AS channels, string_agg(DISTINCT tenant, ',' ORDER BY tenant) AS tenants FROM cards.transactions
SELECT {'tenant': tenant, 'n': count(*)} AS s, [min(amount), max(amount)] AS range FROM cards.transactions GROUP BY tenant ORDER BY tenant
SELECT map(['a', 'b'], [1, 2]) AS m, {'x': {'y': 1}}.x.y AS deep, [10, 20, 30][2] AS second, [1, 2, 3][2:] AS tail
SELECT list_transform([1, 2, 3], x -> x * 2) AS doubled, [x + 1 FOR x IN [1, 2] IF x > 1] AS picked, list_sum([1, 2]) AS total
SELECT unnest([1, 2, 3]) AS n
SELECT g.h, count(t.event_id) FROM generate_series(TIMESTAMPTZ '2026-03-01 00:00:00+00', TIMESTAMPTZ '2026-03-01 02:00:00+00', INTERVAL 1 HOUR) g(h) LEFT JOIN cards.transactions t ON date_trunc('hour', t.event_time) = g.h GROUP BY g.h ORDER BY g.h
SELECT range AS n, n % 2 = 0 AS even FROM range(3)
SELECT max_by(merchant_id, amount) IS NOT NULL AS found, arg_min(tenant, event_time) FROM cards.transactions WHERE tenant = 'bolivar'
SELECT date_part('dow', event_time) AS dow, extract(hour FROM event_time) AS h, count(*) FROM cards.transactions GROUP BY ALL ORDER BY ALL LIMIT 2
SELECT event_time AT TIME ZONE 'America/Mexico_City' AS local FROM cards.transactions ORDER BY event_time LIMIT 1
SELECT age(TIMESTAMP '2026-03-02', TIMESTAMP '2026-01-01') AS age, DATE '2026-03-01' + INTERVAL 1 MONTH AS next, date_diff('day', DATE '2026-01-01', DATE '2026-03-01') AS days
SELECT upper(left(merchant_city, 3)) AS c, lpad(mcc, 6, '0') AS m, regexp_extract(merchant_name, '\d+') <> '' AS numbered FROM cards.transactions GROUP BY ALL ORDER BY ALL LIMIT 2
SELECT coalesce(decline_reason, 'none') AS reason, nullif(response_code, '00') AS code, if(approved, 1, 0) AS ok, count(*) FROM cards.transactions GROUP BY ALL ORDER BY ALL
SELECT * FROM (SELECT tenant, channel, amount FROM cards.transactions) PIVOT (sum(amount) FOR channel IN ('pos', 'ecommerce')) ORDER BY tenant
SELECT corr(amount::DOUBLE, latency_us) BETWEEN -1 AND 1 AS sane, regr_slope(amount::DOUBLE, latency_us) IS NOT NULL AS fits FROM cards.transactions
SELECT t.* FROM cards.transactions t, LATERAL (SELECT t.amount AS a) l WHERE l.a = 1 AND false
SELECT 1::HUGEINT AS h, 1.5::DECIMAL(10,2) AS d, 1e3 AS e, NULL AS n, true AS b, 'a'::BLOB AS x, TIME '10:00:00' AS t, INTERVAL 90 MINUTE AS i, 255::UTINYINT AS u
SELECT 'it''s' AS q, $$dollar; 'quoted' -- $$ AS d /* a comment; with a semicolon */ -- and another
SELECT 'SELECT * FROM read_text(''/etc/passwd'')' AS harmless;
SELECT count(*) AS "select" FROM CARDS."TRANSACTIONS" AS "foo.parquet"
WITH "foo.parquet" AS (SELECT 1 AS x) SELECT * FROM "foo.parquet"
SELECT reason, detail FROM cards.transactions_rejected
SELECT tenant, amount FROM cards.transactions USING SAMPLE 1 ROWS LIMIT 0
SELECT time_bucket(INTERVAL 6 HOUR, event_time) AS b, count(*) FROM cards.transactions GROUP BY b ORDER BY b
SELECT approx_quantile(amount::DOUBLE, 0.5) BETWEEN 1 AND 1000 AS q, histogram(channel) AS h FROM cards.transactions
SELECT replace(tenant, 'aurora', 'a') AS a, regexp_replace(merchant_name, '[0-9]+', '', 'g') AS b, lpad(last4, 6, '0') AS c, rpad(mcc, 6, '0') AS d FROM cards.transactions WHERE stream_offset = 1
WITH transactions AS (SELECT 1 AS x), cards AS (SELECT 2 AS x) SELECT count(*) AS n, max(transactions.x) AS x FROM transactions, cards.transactions t
WITH "cards.transactions" AS (SELECT 1 AS x) SELECT count(tenant) AS n FROM cards.transactions
SELECT list_transform([1, 2], x -> x * x + 1) AS l, list_filter([1, 2, 3], x -> x % 2 = 1) AS f
