-- Statements that the gateway's check lets through and that cannot be printed for Trino, each with a reason.
SELECT DISTINCT ON (tenant) tenant, mcc FROM cards.transactions ORDER BY tenant
SELECT COLUMNS('^(tenant|mcc)$') FROM cards.transactions
SELECT * FROM cards.transactions NATURAL JOIN cards.transactions_rejected
SELECT * FROM cards.transactions a ASOF JOIN cards.transactions b ON a.tenant = b.tenant AND a.event_time >= b.event_time
SELECT * FROM cards.transactions a POSITIONAL JOIN cards.transactions b
SELECT * FROM cards.transactions PIVOT (sum(amount) FOR channel IN ('pos'))
SELECT tenant FROM cards.transactions USING SAMPLE 1 ROWS
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) FROM r
SELECT approx_count_distinct(merchant_id) FROM cards.transactions
SELECT string_agg(tenant, ',') FROM cards.transactions
SELECT first(tenant) FROM cards.transactions
SELECT mode(mcc) FROM cards.transactions
SELECT quantile_cont(amount, 0.5) FROM cards.transactions
SELECT event_time - local_time::TIMESTAMPTZ FROM cards.transactions
SELECT INTERVAL 1 HOUR
SELECT event_time::VARCHAR FROM cards.transactions
SELECT (amount / 3)::VARCHAR FROM cards.transactions
SELECT TRY_CAST(merchant_name AS INTEGER) FROM cards.transactions
SELECT merchant_name GLOB 'S*' FROM cards.transactions
SELECT merchant_name COLLATE NOCASE FROM cards.transactions
SELECT {'a': 1}
SELECT map(['a'], [1])
SELECT list_transform([1], x -> x + 1)
SELECT (tenant, mcc) IN (SELECT 'a', 'b') FROM cards.transactions
SELECT amount > ALL (SELECT 1) FROM cards.transactions
SELECT substr(tenant, -2) FROM cards.transactions
SELECT regexp_replace(tenant, 'a', 'b') FROM cards.transactions
SELECT regexp_matches(tenant, '\pL') FROM cards.transactions
SELECT regexp_matches(tenant, '\bx') FROM cards.transactions
SELECT regexp_replace(tenant, '(a)', '\12', 'g') FROM cards.transactions
SELECT strftime(event_time, '%G') FROM cards.transactions
SELECT date_diff('week', event_time, ingested_at) FROM cards.transactions
SELECT event_time AT TIME ZONE 'Mars/Olympus' FROM cards.transactions
SELECT event_time AT TIME ZONE ''' UNION SELECT' FROM cards.transactions
SELECT count(DISTINCT tenant) OVER () FROM cards.transactions
SELECT string_agg(tenant, ',' ORDER BY tenant) OVER () FROM cards.transactions
SELECT sum(amount) OVER (ORDER BY event_time ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW) FROM cards.transactions
SELECT tenant, amount FROM cards.transactions GROUP BY tenant
SELECT tenant FROM cards.transactions WHERE count(*) > 1
SELECT tenant FROM cards.transactions WHERE row_number() OVER () = 1
SELECT sum(sum(amount)) FROM cards.transactions
SELECT tennant FROM cards.transactions
SELECT t.tenant FROM cards.transactions
SELECT tenant FROM cards.transactions a, cards.transactions b
SELECT * EXCLUDE (nothing) FROM cards.transactions
SELECT tenant FROM cards.transactions ORDER BY 3
SELECT tenant FROM cards.transactions UNION SELECT 1
SELECT tenant FROM cards.transactions UNION ALL BY NAME SELECT mcc FROM cards.transactions
SELECT amount = 'abc' FROM cards.transactions
SELECT event_time > 'yesterday' FROM cards.transactions
SELECT tenant + 1 FROM cards.transactions
SELECT tenant FROM cards.transactions LIMIT 10 PERCENT
SELECT 'a'::BLOB
SELECT 1::UTINYINT
SELECT #1 FROM cards.transactions
SELECT hash(tenant) FROM cards.transactions
SELECT random()
SELECT transactions FROM cards.transactions
SELECT upper(tenant, tenant) FROM cards.transactions
SELECT CASE WHEN tenant THEN 1 END FROM cards.transactions
SELECT x FROM (VALUES (1), ('a')) t(x)
SELECT unnest([1, 2]) AS n
SELECT * FROM range(1, 10, 0)
SELECT tenant, upper(tenant) AS u, count(*) FROM cards.transactions GROUP BY ROLLUP (tenant, u)
SELECT lag(amount, latency_us) OVER (ORDER BY event_id) FROM cards.transactions
SELECT event_time + INTERVAL '3 microseconds' FROM cards.transactions
SELECT replace(tenant, '', 'x') FROM cards.transactions
