-- A statement a line. Each is answered by DuckDB and by Trino, and the answers are compared row by row.
SELECT count(*) FROM cards.transactions
SELECT count(*) AS n, count(decline_reason) AS d, count(DISTINCT merchant_id) AS m FROM cards.transactions
SELECT tenant, count(*), sum(amount), avg(amount), min(amount), max(amount) FROM cards.transactions GROUP BY tenant ORDER BY tenant
SELECT tenant, sum(latency_us), avg(latency_us), sum(stream_offset), sum(amount * 2), sum(amount / 3), sum(approved::INT) FROM cards.transactions GROUP BY 1 ORDER BY 1
SELECT tenant AS t, currency, sum(amount) AS total FROM cards.transactions WHERE approved GROUP BY ALL ORDER BY ALL
SELECT tenant, count(*) FILTER (WHERE approved) AS ok, count(*) FILTER (WHERE NOT approved) AS ko, sum(amount) FILTER (WHERE channel = 'pos') AS pos FROM cards.transactions GROUP BY tenant HAVING count(*) > 10 ORDER BY tenant
SELECT date_trunc('hour', event_time) AS h, count(*) AS n FROM cards.transactions GROUP BY h ORDER BY h LIMIT 30
SELECT event_time::DATE AS day, min(event_time) AS first, max(event_time) AS last, max(local_time) AS l FROM cards.transactions GROUP BY day ORDER BY day DESC
SELECT CAST(event_time AS DATE) AS day, tenant, round(100.0 * count(*) FILTER (WHERE approved) / count(*), 2) AS rate FROM cards.transactions GROUP BY 1, 2 ORDER BY 1, 2
SELECT CASE WHEN amount < 100 THEN 'small' WHEN amount < 500 THEN 'middle' ELSE 'large' END AS size, count(*) AS n FROM cards.transactions GROUP BY size ORDER BY size
SELECT mcc, count(*) AS n FROM cards.transactions WHERE mcc IN ('5411', '5812') AND amount BETWEEN 10 AND 200.5 GROUP BY mcc ORDER BY n DESC, mcc
SELECT merchant_city, count(*) AS n FROM cards.transactions WHERE merchant_city ILIKE 's%' OR merchant_name LIKE '%1' OR merchant_name NOT LIKE 'S_OP%' GROUP BY 1 ORDER BY 2 DESC, 1
SELECT count(*) FROM cards.transactions WHERE merchant_name LIKE 'SHOP\_1%' ESCAPE '\'
WITH d AS (SELECT tenant, sum(amount) AS s FROM cards.transactions GROUP BY tenant) SELECT tenant, s / sum(s) OVER () AS share, s * 100 / sum(s) OVER () AS percent FROM d ORDER BY tenant
WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS x FROM a) SELECT a.x, b.x AS y FROM a, b
WITH t(a, b) AS (SELECT tenant, max(amount) FROM cards.transactions GROUP BY 1) SELECT * FROM t ORDER BY a
SELECT tenant, event_time, amount, event_id FROM cards.transactions QUALIFY row_number() OVER (PARTITION BY tenant ORDER BY amount DESC, event_id) = 1 ORDER BY tenant
SELECT tenant FROM cards.transactions QUALIFY row_number() OVER (PARTITION BY tenant ORDER BY amount DESC, event_id) = 1 ORDER BY lower(tenant) DESC LIMIT 5
SELECT tenant, count(*) AS n FROM cards.transactions GROUP BY tenant QUALIFY rank() OVER (ORDER BY count(*) DESC, tenant) <= 2 ORDER BY 1
SELECT tenant, amount - lag(amount) OVER (PARTITION BY tenant ORDER BY event_time, event_id) AS step FROM cards.transactions ORDER BY tenant, event_time, event_id LIMIT 50
SELECT event_id, rank() OVER w AS r, dense_rank() OVER w AS d, ntile(4) OVER w AS q, percent_rank() OVER w AS p, cume_dist() OVER w AS c FROM cards.transactions WINDOW w AS (PARTITION BY tenant ORDER BY amount, event_id) ORDER BY event_id LIMIT 50
SELECT event_id, lead(amount, 2, 0) OVER w AS l, first_value(mcc) OVER w AS f, last_value(mcc) OVER w AS z, nth_value(mcc, 2) OVER w AS s FROM cards.transactions WINDOW w AS (PARTITION BY tenant ORDER BY event_time, event_id ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING) ORDER BY event_id LIMIT 50
SELECT event_id, lag(decline_reason IGNORE NULLS) OVER (PARTITION BY tenant ORDER BY event_time, event_id) AS p FROM cards.transactions ORDER BY event_id LIMIT 50
SELECT event_id, sum(amount) OVER w AS s, avg(amount) OVER w AS a, count(*) OVER w AS n, sum(latency_us) OVER w AS l, min(mcc) OVER w AS m FROM cards.transactions WINDOW w AS (PARTITION BY tenant ORDER BY event_time RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW) ORDER BY event_id LIMIT 50
SELECT event_id, count(*) FILTER (WHERE approved) OVER (PARTITION BY tenant ORDER BY event_time, event_id ROWS UNBOUNDED PRECEDING) AS n, sum(amount) FILTER (WHERE approved) OVER (PARTITION BY tenant) AS s FROM cards.transactions ORDER BY event_id LIMIT 50
SELECT CAST(event_time AS DATE) AS d, sum(count(*)) OVER (ORDER BY CAST(event_time AS DATE)) AS running, sum(sum(amount)) OVER (ORDER BY CAST(event_time AS DATE)) AS total FROM cards.transactions GROUP BY 1 ORDER BY 1
SELECT t.tenant, count(*) FROM cards.transactions t JOIN (SELECT tenant, max(amount) AS m FROM cards.transactions GROUP BY tenant) x ON t.tenant = x.tenant AND t.amount = x.m GROUP BY 1 ORDER BY 1
SELECT tenant, n, m FROM (SELECT tenant, count(*) AS n FROM cards.transactions GROUP BY 1) a JOIN (SELECT tenant, max(amount) AS m FROM cards.transactions GROUP BY 1) b USING (tenant) ORDER BY tenant
SELECT * FROM (SELECT tenant, count(*) AS n FROM cards.transactions GROUP BY 1) a LEFT JOIN (VALUES ('aurora', 1), ('zeta', 2)) b(tenant, k) USING (tenant) ORDER BY tenant
SELECT * FROM (SELECT tenant, count(*) AS n FROM cards.transactions GROUP BY 1) a RIGHT JOIN (VALUES ('aurora', 1), ('zeta', 2)) b(tenant, k) USING (tenant) ORDER BY tenant
SELECT tenant, n, k, a.tenant AS x, b.tenant AS y FROM (SELECT tenant, count(*) AS n FROM cards.transactions GROUP BY 1) a FULL JOIN (VALUES ('aurora', 1), ('zeta', 2)) b(tenant, k) USING (tenant) ORDER BY tenant
SELECT count(*) FROM cards.transactions t CROSS JOIN (VALUES (1), (2)) v(x)
SELECT a.x, b.y, c.z FROM (VALUES (1), (2)) a(x) JOIN ((VALUES (1), (3)) b(y) LEFT JOIN (VALUES (3, 'k')) c(y2, z) ON b.y = c.y2) ON a.x <= b.y ORDER BY ALL
SELECT count(*) FROM cards.transactions t LEFT JOIN cards.transactions_rejected r ON t.stream_offset = r.stream_offset WHERE r.reason IS NULL
SELECT count(*) FROM cards.transactions t SEMI JOIN (SELECT 'aurora' AS tenant) s USING (tenant)
SELECT count(*) FROM cards.transactions t ANTI JOIN (VALUES ('aurora'), ('cobre')) s(tenant) USING (tenant)
SELECT tenant FROM cards.transactions UNION SELECT 'zeta' ORDER BY 1
SELECT tenant FROM cards.transactions EXCEPT SELECT 'aurora' ORDER BY 1
SELECT tenant FROM cards.transactions INTERSECT ALL SELECT 'aurora'
SELECT 1 AS a, 2.5 AS b UNION ALL SELECT 3000000000, 1 ORDER BY a DESC LIMIT 1
SELECT EXISTS (SELECT 1 FROM cards.transactions WHERE amount > 1000000) AS over, (SELECT max(amount) FROM cards.transactions) AS top
SELECT tenant, count(*) FROM cards.transactions WHERE amount = (SELECT max(amount) FROM cards.transactions) GROUP BY tenant ORDER BY tenant
SELECT tenant, count(*) FROM cards.transactions t WHERE amount >= (SELECT avg(u.amount) FROM cards.transactions u WHERE u.tenant = t.tenant) GROUP BY tenant ORDER BY tenant
SELECT count(*) FROM cards.transactions t WHERE tenant IN (SELECT tenant FROM cards.transactions GROUP BY tenant HAVING count(*) > 10) AND merchant_id NOT IN (SELECT 'm001')
SELECT count(*) FROM cards.transactions t WHERE EXISTS (SELECT 1 FROM cards.transactions u WHERE u.transaction_id = t.event_id AND u.approved)
SELECT tenant, channel, count(*), grouping(channel) AS g FROM cards.transactions GROUP BY ROLLUP (tenant, channel) ORDER BY ALL
SELECT tenant, channel, count(*) FROM cards.transactions GROUP BY GROUPING SETS ((tenant), (channel), ()) ORDER BY ALL
SELECT tenant, channel, count(*) FROM cards.transactions GROUP BY CUBE (tenant, channel) ORDER BY ALL
SELECT DISTINCT tenant, channel FROM cards.transactions ORDER BY channel DESC, tenant
SELECT * EXCLUDE (event_id, transaction_id, card_token, ingested_at) FROM cards.transactions ORDER BY event_time, tenant, stream_offset LIMIT 5
SELECT t.* EXCLUDE (card_token) REPLACE (upper(tenant) AS tenant, amount * 2 AS amount) FROM cards.transactions t ORDER BY event_id LIMIT 3
SELECT * FROM cards.transactions ORDER BY event_id LIMIT 20
SELECT * FROM (SELECT tenant AS a, channel AS a, mcc AS "A b" FROM cards.transactions ORDER BY event_id LIMIT 1)
FROM cards.transactions SELECT max(latency_us) > 0 AS measured
SELECT amount AS a, a * 2 AS b, b + 1 AS c FROM cards.transactions WHERE a > 10 ORDER BY c, event_id LIMIT 5
SELECT string_agg(DISTINCT tenant, ',' ORDER BY tenant) AS tenants, string_agg(channel, '-' ORDER BY event_id) FILTER (WHERE stream_offset < 5) AS channels, string_agg(mcc, ',' ORDER BY mcc) FILTER (WHERE false) AS none FROM cards.transactions
SELECT tenant, arg_max(merchant_id, event_id) AS a, arg_min(decline_reason, event_id) AS b, max_by(mcc, event_id) AS c FROM cards.transactions GROUP BY tenant ORDER BY tenant
SELECT stddev(latency_us) AS a, stddev_pop(latency_us) AS b, variance(amount) AS c, var_pop(amount) AS d, covar_pop(amount, latency_us) AS e, covar_samp(amount, latency_us) AS f FROM cards.transactions
SELECT stddev(latency_us) AS a, var_pop(latency_us) AS b, sum(amount) AS c, avg(amount) AS d, count(*) AS e, bool_and(approved) AS f, max(mcc) AS g, count_if(approved) AS h, covar_samp(amount, latency_us) AS i FROM cards.transactions WHERE false
SELECT tenant, bool_and(approved) AS a, bool_or(card_present) AS o, count_if(approved) AS n, sum(approved) AS s FROM cards.transactions GROUP BY tenant ORDER BY tenant
SELECT tenant, quantile_cont(latency_us, 0.5) AS p50, quantile_cont(amount::DOUBLE, 0.95) AS p95, quantile_disc(amount, 0.9) AS d, median(latency_us) AS m, quantile_disc(mcc, 0.25) AS q FROM cards.transactions GROUP BY tenant ORDER BY tenant
SELECT list(DISTINCT channel ORDER BY channel) AS channels, array_agg(mcc ORDER BY event_id) FILTER (WHERE stream_offset < 3) AS m FROM cards.transactions
SELECT u.x, len(u.l) AS n FROM (SELECT unnest AS x, [1, 2, 3] AS l FROM unnest([10, 20])) u ORDER BY 1
SELECT g.h, count(t.event_id) AS n FROM generate_series(TIMESTAMPTZ '2026-03-01 00:00:00+00', TIMESTAMPTZ '2026-03-01 05:00:00+00', INTERVAL 1 HOUR) g(h) LEFT JOIN cards.transactions t ON date_trunc('hour', t.event_time) = g.h GROUP BY g.h ORDER BY g.h
SELECT d::DATE AS day FROM generate_series(DATE '2026-02-27', DATE '2026-03-02', INTERVAL 1 DAY) s(d) ORDER BY 1
SELECT d FROM range(TIMESTAMP '2026-01-01', TIMESTAMP '2026-04-01', INTERVAL 1 MONTH) s(d) ORDER BY 1
SELECT range AS n, n % 2 = 0 AS even FROM range(3) ORDER BY 1
SELECT n FROM generate_series(2, 10, 4) s(n) UNION ALL SELECT * FROM range(5, 2) ORDER BY 1
SELECT date_part('dow', event_time) AS dow, extract(hour FROM event_time) AS h, extract(isodow FROM event_time) AS i, count(*) AS n FROM cards.transactions GROUP BY ALL ORDER BY ALL LIMIT 24
SELECT DISTINCT year(event_time) AS a, quarter(event_time) AS b, month(event_time) AS c, week(event_time) AS d, dayofyear(event_time) AS e, isoyear(event_time) AS f, yearweek(event_time) AS g, day(event_time) AS h, dayname(event_time) AS i, monthname(event_time) AS j, last_day(event_time) AS k FROM cards.transactions ORDER BY ALL
SELECT minute(event_time) AS a, second(event_time) AS b, date_part('millisecond', event_time) AS c, epoch(event_time) AS d, epoch_ms(event_time) AS e, epoch(local_time) AS f FROM cards.transactions ORDER BY event_id LIMIT 10
SELECT event_time AT TIME ZONE 'America/Mexico_City' AS local, local_time AT TIME ZONE 'America/Mexico_City' AS back, date_trunc('day', event_time AT TIME ZONE 'America/Sao_Paulo') AS d FROM cards.transactions ORDER BY event_id LIMIT 10
SELECT DATE '2026-01-31' + INTERVAL 1 MONTH AS a, DATE '2026-03-31' - INTERVAL 1 MONTH AS b, TIMESTAMP '2026-03-01 10:00:00.123456' + INTERVAL '2 days 3 hours' AS c, DATE '2026-03-01' + 5 AS d, DATE '2026-03-01' - DATE '2026-01-01' AS e, DATE '2026-03-01' - 1 AS f
SELECT event_time + INTERVAL 90 MINUTE AS a, event_time - INTERVAL 1 YEAR AS b, local_time + to_days(latency_us // 1000) AS c, event_time::DATE - INTERVAL 7 DAY AS d, event_time + INTERVAL 5 MILLISECOND AS e FROM cards.transactions ORDER BY event_id LIMIT 10
SELECT date_diff('day', DATE '2026-01-01', DATE '2026-03-01') AS a, date_diff('month', DATE '2026-01-31', DATE '2026-02-01') AS b, date_diff('hour', TIMESTAMP '2026-03-01 10:59:00', TIMESTAMP '2026-03-01 11:00:00') AS c, date_diff('hour', TIMESTAMP '2026-03-01 11:00:00', TIMESTAMP '2026-03-01 10:59:00') AS d, date_diff('year', DATE '2025-12-31', DATE '2026-01-01') AS e, datediff('minute', TIMESTAMPTZ '2026-03-01 00:00:00+00', TIMESTAMPTZ '2026-03-01 02:00:00+02') AS f, date_diff('quarter', DATE '2026-03-31', DATE '2026-04-01') AS g
SELECT avg(date_diff('second', event_time, ingested_at)) AS lag FROM cards.transactions
SELECT date_trunc('week', event_time) AS a, date_trunc('quarter', event_time) AS b, date_trunc('month', event_time::DATE) AS c, date_trunc('minute', local_time) AS d, date_trunc('year', local_time) AS e, date_trunc('second', event_time) AS f FROM cards.transactions ORDER BY event_id LIMIT 5
SELECT time_bucket(INTERVAL 6 HOUR, event_time) AS b, count(*) AS n FROM cards.transactions GROUP BY b ORDER BY b
SELECT time_bucket(INTERVAL 7 DAY, event_time::DATE) AS a, time_bucket(INTERVAL 15 MINUTE, local_time) AS b, time_bucket(INTERVAL 2 MONTH, local_time) AS c, time_bucket(INTERVAL 15 MINUTE, TIMESTAMP '1969-12-31 23:59:00') AS d, time_bucket(INTERVAL 5 MONTH, TIMESTAMP '1969-12-31 23:59:00') AS e FROM cards.transactions ORDER BY event_id LIMIT 5
SELECT strftime(event_time, '%Y-%m-%d %H:%M:%S') AS a, strftime(local_time, '%d/%m/%y %I:%M %p %j %a %b %A %B 100%%') AS b, strftime(event_time::DATE, '%Y %T') AS c FROM cards.transactions ORDER BY event_id LIMIT 5
SELECT count(*) FROM cards.transactions WHERE event_time >= '2026-03-01' AND event_time < TIMESTAMPTZ '2026-03-02 06:00:00+00' AND local_time > '2026-02-28 10:00:00' AND event_time::DATE = '2026-03-01'
SELECT count(*) FROM cards.transactions WHERE event_time BETWEEN '2026-03-01' AND '2026-03-01 12:00:00+00' OR event_time >= now() - INTERVAL 1 DAY OR event_time::DATE > current_date
SELECT upper(left(merchant_city, 3)) AS c, lower(merchant_city) AS k, right(merchant_city, 2) AS r, lpad(mcc, 6, '0') AS m, rpad(mcc, 6, 'x') AS n, lpad(mcc, 2, 'x') AS o, length(merchant_city) AS l, count(*) AS t FROM cards.transactions GROUP BY ALL ORDER BY ALL
SELECT upper('straße São') AS a, lower('ÁÉÍÓÚÑ') AS b, length('héé') AS c, strlen('héé') AS d, substr('héllo', 2, 3) AS e, substring('hello', 3) AS f, left('ab', 5) AS g, right('ab', 5) AS h, right('hello', 2) AS i, trim('  a b  ') AS j, ltrim('xxabx', 'x') AS k, rtrim('abxx', 'x') AS l, left('abc', 0) AS m
SELECT 'a' || 'b' || 1 AS a, concat('a', NULL, 2, true) AS b, concat_ws('-', 'a', NULL, 3) AS c, 'x' || NULL AS d, replace('aXbX', 'X', 'yy') AS e, split_part('a,b,c', ',', 2) AS f, split_part('a,b,c', ',', 9) AS g, strpos('abc', 'c') AS h, instr('abc', 'z') AS i, contains('abc', '') AS j, starts_with('abc', 'ab') AS k, ends_with('abc', 'bc') AS l, suffix('c', 'abc') AS m, 'it''s' AS n
SELECT regexp_matches(merchant_name, '[0-9]$') AS a, regexp_extract(merchant_name, '\d+') AS b, regexp_extract(merchant_name, '([A-Z]+) (\d+)', 2) AS c, regexp_replace(merchant_name, '(\d)', '<\1>$', 'g') AS d, regexp_full_match(merchant_name, 'SHOP \d+') AS e, regexp_matches(merchant_name, '(?i)shop (1|2)?\d') AS f, regexp_extract(merchant_name, 'q+') AS g FROM cards.transactions ORDER BY event_id LIMIT 20
SELECT regexp_matches('a' || chr || 'b', 'a.b') AS a, regexp_matches('a' || chr, 'a$') AS b, regexp_matches('x' || chr, '\s') AS c, regexp_matches('é', '\w') AS d, regexp_matches('a.b', 'a\.b') AS e, regexp_matches('a-]b', '[\]-]+') AS f FROM (SELECT ' ' AS chr)
SELECT md5(tenant) AS a, sha256(tenant) AS b, sha1('é') AS c FROM cards.transactions GROUP BY tenant ORDER BY 1
SELECT coalesce(decline_reason, 'none') AS reason, nullif(response_code, '00') AS code, if(approved, 1, 0) AS ok, ifnull(wallet, '-') AS w, count(*) AS n FROM cards.transactions GROUP BY ALL ORDER BY ALL
SELECT greatest(1, NULL, 3) AS a, least(NULL, 2.5, 7) AS b, greatest('a', 'b') AS c, greatest(NULL::INTEGER, NULL) AS d, least(amount, 50) AS e, greatest(latency_us, 1000) AS f FROM cards.transactions ORDER BY event_id LIMIT 3
SELECT 7 / 2 AS a, 7 // 2 AS b, -7 // 2 AS c, 7 % 3 AS d, -7 % 3 AS e, 7 // 0 AS f, 7 % 0 AS g, 7.5 % 2 AS h, 1 / 0 AS i, -1 / 0 AS j, 7.5 / 2 AS k, 7.5 // 2 AS l, 2 ** 10 AS m, pow(2, 0.5) AS n, -(3) AS o, 5 - -3 AS p
SELECT amount / 2 AS a, amount // 2 AS b, amount % 7 AS c, amount + 1 AS d, amount - 0.5 AS e, amount * 2 AS f, amount * 0.015 AS g, amount * amount AS h, - amount AS i, amount + latency_us AS j, amount * latency_us AS k, amount - stream_offset AS l, amount * stream_offset AS m, amount / latency_us AS n FROM cards.transactions ORDER BY event_id LIMIT 10
SELECT latency_us + 1 AS a, latency_us * 2 AS b, latency_us / 1000 AS c, latency_us // 1000 AS d, latency_us % 1000 AS e, stream_offset + latency_us AS f, stream_offset * 2 AS g, stream_offset // 7 AS h, latency_us::DOUBLE * 0.5 AS i, latency_us::SMALLINT + 1 AS j, latency_us::SMALLINT + 100000 AS k, latency_us + 3000000000 AS l FROM cards.transactions WHERE latency_us < 32000 ORDER BY event_id LIMIT 10
SELECT sum(latency_us) + 1 AS a, sum(latency_us) * 2 AS b, sum(latency_us) / 7 AS c, sum(latency_us) // 7 AS d, sum(latency_us) % 7 AS e, sum(amount) + sum(amount) AS f, sum(amount) * 1.5 AS g, sum(latency_us) * 1.5 AS h, sum(amount) / count(*) AS i, round(sum(amount) / count(*), 2) AS j, coalesce(sum(amount), 0) AS k, coalesce(sum(latency_us), 0) AS l, sum(latency_us) - count(*) AS m, - sum(latency_us) AS n, sum(amount) * count(*) AS o, 100.0 * count(*) AS p, max(latency_us) - min(latency_us) AS q FROM cards.transactions
SELECT round(amount, 2) AS a, round(amount) AS b, round(amount / 7, 3) AS c, ceil(amount) AS d, floor(amount / 7) AS e, abs(- amount) AS f, sign(amount - 500) AS g, trunc(amount) AS h, trunc(amount / 7) AS i, round(latency_us) AS j, ceil(latency_us) AS k, abs(latency_us - 2000) AS l, round(amount, 6) AS m FROM cards.transactions ORDER BY event_id LIMIT 20
SELECT round(2.5) AS a, round(-2.5) AS b, round(2.45, 1) AS c, round(0.285::DOUBLE, 2) AS d, round(1234567.895::DOUBLE, 2) AS e, round(-0.5) AS f, trunc(-2.7) AS g, 2.5::INTEGER AS h, -2.5::INTEGER AS i, 2.5::DOUBLE::INTEGER AS j, 3.5::DOUBLE::BIGINT AS k, -2.5::DOUBLE::INTEGER AS l, 0.135::DECIMAL(3,2) AS m, 12.345::DOUBLE::DECIMAL(10,2) AS n, floor(-2.5) AS o, ceil(-2.5) AS p
SELECT sqrt(2) AS a, exp(1) AS b, ln(10) AS c, log10(1000) AS d, log2(8) AS e, cbrt(27) AS f, sin(1) AS g, cos(1) AS h, tan(1) AS i, asin(0.5) AS j, acos(0.5) AS k, atan(1) AS l, atan2(1, 2) AS m, radians(180) AS n, degrees(1) AS o, pi() AS p, mod(7, 3) AS q, isnan(0.0::DOUBLE / 0) AS r, log(100) AS s
SELECT 1 AS a, 3000000000 AS b, 9223372036854775808 AS c, 1.5 AS d, -0.05 AS e, 1e3 AS f, 'a' AS g, true AS h, NULL AS i, DATE '2026-03-01' AS j, TIMESTAMP '2026-03-01 10:11:12.5' AS k, TIMESTAMPTZ '2026-03-01 10:11:12+02' AS l, -5 AS m, 1::TINYINT AS n, 5::SMALLINT AS o, 5::BIGINT AS p, 1::HUGEINT AS q, 0.1::DOUBLE AS r, 1::DECIMAL(10,2) AS s, false AS t
SELECT 1 = 1.0 AS a, 1 < 2.5 AS b, 'a' < 'B' AS c, NULL = NULL AS d, NULL IS NOT DISTINCT FROM NULL AS e, 1 IS DISTINCT FROM 2 AS f, true AND NULL AS g, true OR NULL AS h, NOT NULL AS i, approved IS TRUE AS j, pin_verified IS NOT TRUE AS k, pin_verified IS NULL AS l, 5 IN (1, NULL) AS m, 5 NOT IN (1, 2) AS n, 5 BETWEEN 1 AND 10 AS o, amount IN (1, 2.5, 100) AS p, DATE '2026-03-01' < TIMESTAMP '2026-03-01 00:00:01' AS q FROM cards.transactions ORDER BY event_id LIMIT 2
SELECT amount::VARCHAR AS a, latency_us::VARCHAR AS b, approved::VARCHAR AS c, event_time::DATE::VARCHAR AS d, '42'::INTEGER AS e, '1.25'::DECIMAL(10,2) AS f, '7'::BIGINT AS g, mcc::INTEGER AS h, approved::INTEGER AS i, latency_us::BOOLEAN AS j, event_time::TIMESTAMP AS k, local_time::TIMESTAMPTZ AS l, event_time::DATE::TIMESTAMP AS m, amount::DOUBLE AS n, amount::BIGINT AS o, amount::DECIMAL(18,1) AS p, latency_us::DOUBLE AS q, latency_us::DECIMAL(12,3) AS r, TRY_CAST(latency_us AS TINYINT) AS s FROM cards.transactions ORDER BY event_id LIMIT 10
SELECT CASE WHEN approved THEN 1 ELSE 2.5 END AS a, CASE WHEN approved THEN latency_us ELSE stream_offset END AS b, CASE channel WHEN 'pos' THEN 'p' WHEN 'atm' THEN 'a' END AS c, coalesce(amount, 0) AS d, coalesce(pin_verified, false) AS e, CASE WHEN approved THEN NULL ELSE 1 END AS f, CASE WHEN approved THEN amount ELSE latency_us::DOUBLE END AS g, nullif(amount, 0) AS h, coalesce(local_time, event_time) AS i, coalesce(billing_amount, 0.12345) AS j FROM cards.transactions ORDER BY event_id LIMIT 10
SELECT wallet, pin_verified, event_id FROM cards.transactions ORDER BY wallet DESC, pin_verified NULLS FIRST, event_id LIMIT 5
SELECT wallet, count(*) AS n FROM cards.transactions GROUP BY wallet ORDER BY wallet NULLS FIRST
SELECT tenant FROM cards.transactions ORDER BY event_id LIMIT 3 OFFSET 2
SELECT tenant, amount, amt.d FROM cards.transactions t, LATERAL (SELECT t.amount * 2 AS d) amt ORDER BY event_id LIMIT 3
SELECT count(*) AS "select" FROM CARDS."TRANSACTIONS" AS "foo.parquet"
WITH transactions AS (SELECT 1 AS x), cards AS (SELECT 2 AS x) SELECT count(*) AS n, max(transactions.x) AS x FROM transactions, cards.transactions t
WITH "cards.transactions" AS (SELECT 1 AS x) SELECT count(tenant) AS n FROM cards.transactions
WITH t1 AS (SELECT 1 AS c1), r2 AS (SELECT 2 AS "c1"" FROM x") SELECT * FROM t1, r2
SELECT 'SELECT * FROM system.runtime.queries -- '' /* " */' AS harmless, '\u0041' AS u, 'U&''x''' AS v
SELECT transactions.tenant AS t, cards.transactions.mcc AS m FROM cards.transactions ORDER BY event_id LIMIT 1
SELECT reason, detail, count(*) AS n FROM cards.transactions_rejected GROUP BY 1, 2 ORDER BY 1, 2
SELECT count(*) AS n, count(DISTINCT card_token) AS cards, count(DISTINCT last4) AS l4, min(length(card_token)) AS s, sum(billing_amount) AS b FROM cards.transactions
SELECT card_token, bin, last4, customer_id, amount, billing_amount FROM cards.transactions ORDER BY event_id LIMIT 50
SELECT CASE WHEN approved THEN 1 WHEN card_present THEN 100000 ELSE latency_us::SMALLINT END AS a, coalesce(latency_us::SMALLINT, 1, 100000) AS b, latency_us::SMALLINT IN (1, 100000) AS c, latency_us::SMALLINT BETWEEN 1 AND 100000 AS d, latency_us::SMALLINT = 100000 AS e FROM cards.transactions WHERE latency_us < 32000 ORDER BY event_id LIMIT 5
