-- files by table functions
SELECT * FROM read_parquet('/etc/passwd')
SELECT * FROM parquet_scan('/etc/passwd')
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_csv_auto('/etc/passwd')
SELECT * FROM read_json('/etc/passwd')
SELECT * FROM read_json_auto('/etc/passwd')
SELECT * FROM read_ndjson_objects('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_blob('/proc/self/environ')
SELECT * FROM read_duckdb('/etc/passwd', table_name => 't')
SELECT * FROM glob('/etc/*')
SELECT * FROM sniff_csv('/etc/passwd')
SELECT * FROM parquet_metadata('/proc/self/fd/3')
SELECT * FROM parquet_schema('/proc/self/fd/3')
SELECT * FROM parquet_file_metadata('/proc/self/fd/3')
SELECT * FROM parquet_kv_metadata('/proc/self/fd/3')
SELECT * FROM parquet_bloom_probe('/proc/self/fd/3', 'tenant', 'aurora')
SELECT * FROM main.read_text('/etc/passwd')
SELECT * FROM system.main.read_text('/etc/passwd')
SELECT * FROM READ_TEXT('/etc/passwd')
SELECT * FROM "read_text"('/etc/passwd')
FROM read_text('/etc/passwd')
-- files by name (replacement scans)
SELECT * FROM 'foo.parquet'
SELECT * FROM "/etc/passwd.csv"
SELECT * FROM '/proc/self/fd/3'
SELECT * FROM 'https://example.com/x.parquet'
FROM 'foo.json'
TABLE "foo.parquet"
SELECT * FROM cards."foo.parquet"
SELECT * FROM cards.transactions, 'foo.csv'
SELECT * FROM cards.transactions JOIN 'foo.csv' USING (tenant)
-- a common table expression does not see itself, nor what comes later or lies elsewhere
WITH "foo.parquet" AS (SELECT * FROM "foo.parquet") SELECT * FROM "foo.parquet"
WITH a AS (SELECT * FROM "foo.parquet"), "foo.parquet" AS (SELECT 1) SELECT * FROM a
SELECT * FROM (WITH "foo.parquet" AS (SELECT 1) SELECT * FROM "foo.parquet") x, "foo.parquet"
WITH a AS (WITH "foo.csv" AS (SELECT 1) SELECT 1) SELECT * FROM "foo.csv"
WITH RECURSIVE "foo.csv" AS (SELECT * FROM "foo.csv" UNION ALL SELECT 2) SELECT * FROM "foo.csv"
WITH read_text AS (SELECT 1) SELECT * FROM read_text('/etc/passwd')
(WITH "foo.csv" AS (SELECT 1) SELECT 1) UNION ALL SELECT * FROM "foo.csv"
-- hidden in every clause
SELECT (SELECT content FROM read_text('/etc/passwd'))
SELECT 1 FROM cards.transactions WHERE tenant = (SELECT content FROM read_text('/etc/passwd'))
SELECT 1 FROM cards.transactions WHERE EXISTS (FROM read_text('/etc/passwd'))
SELECT 1 FROM cards.transactions WHERE tenant IN (SELECT content FROM read_text('/etc/passwd'))
SELECT 1 FROM cards.transactions GROUP BY (SELECT content FROM read_text('/etc/passwd'))
SELECT count(*) FROM cards.transactions HAVING count(*) > (SELECT count(*) FROM glob('*'))
SELECT tenant FROM cards.transactions ORDER BY (SELECT count(*) FROM glob('*'))
SELECT tenant FROM cards.transactions LIMIT (SELECT count(*) FROM glob('*'))
SELECT tenant FROM cards.transactions OFFSET (SELECT count(*) FROM glob('*'))
SELECT tenant FROM cards.transactions QUALIFY row_number() OVER () > (SELECT count(*) FROM glob('*'))
SELECT DISTINCT ON ((SELECT count(*) FROM glob('*'))) tenant FROM cards.transactions
SELECT sum(amount) FILTER (WHERE (SELECT count(*) FROM glob('*')) > 1) FROM cards.transactions
SELECT string_agg(tenant, ',' ORDER BY (SELECT count(*) FROM glob('*'))) FROM cards.transactions
SELECT sum(amount) OVER (PARTITION BY (SELECT count(*) FROM glob('*'))) FROM cards.transactions
SELECT sum(amount) OVER (ORDER BY (SELECT count(*) FROM glob('*'))) FROM cards.transactions
SELECT sum(amount) OVER (ROWS BETWEEN (SELECT count(*) FROM glob('*')) PRECEDING AND CURRENT ROW) FROM cards.transactions
SELECT lag(amount, 1, (SELECT count(*) FROM glob('*'))) OVER () FROM cards.transactions
SELECT CASE WHEN (SELECT count(*) FROM glob('*')) > 1 THEN 1 END
SELECT CAST((SELECT content FROM read_text('/etc/passwd')) AS VARCHAR)
SELECT list_transform([1], x -> (SELECT count(*) FROM glob('*')))
SELECT * REPLACE ((SELECT content FROM read_text('/etc/passwd')) AS tenant) FROM cards.transactions
SELECT 1 BETWEEN 0 AND (SELECT count(*) FROM glob('*'))
SELECT {'a': (SELECT content FROM read_text('/etc/passwd'))}
SELECT ARRAY(SELECT content FROM read_text('/etc/passwd'))
SELECT tenant FROM cards.transactions UNION ALL SELECT content FROM read_text('/etc/passwd')
SELECT tenant FROM cards.transactions EXCEPT (SELECT 'a' INTERSECT SELECT content FROM read_text('/etc/passwd'))
VALUES ((SELECT content FROM read_text('/etc/passwd')))
SELECT * FROM (VALUES ((SELECT content FROM read_text('/etc/passwd')))) v(x)
SELECT * FROM cards.transactions t, LATERAL (SELECT * FROM read_text(t.tenant))
SELECT * FROM cards.transactions t JOIN cards.transactions u ON (SELECT count(*) FROM glob('*')) = 1
SELECT * FROM range((SELECT count(*) FROM glob('*')))
SELECT * FROM cards.transactions PIVOT (sum(amount) FOR channel IN (SELECT content FROM read_text('/etc/passwd')))
FROM (FROM read_text('/etc/passwd') SELECT content)
-- other statements
COPY cards.transactions TO '/tmp/stolen.parquet'
COPY (SELECT 1) TO '/tmp/stolen.csv'
COPY cards.transactions FROM '/etc/passwd'
EXPORT DATABASE '/tmp/stolen'
IMPORT DATABASE '/tmp/stolen'
ATTACH '/tmp/other.db' AS other
ATTACH ':memory:' AS other
DETACH memory
USE memory
PRAGMA database_list
PRAGMA enable_external_access=true
CALL pragma_version()
SET enable_external_access=true
SET lock_configuration=false
RESET enable_external_access
SET VARIABLE x = 1
INSTALL httpfs
LOAD httpfs
LOAD '/tmp/evil.so'
CREATE TABLE t AS SELECT 1
CREATE VIEW v AS SELECT 1
CREATE MACRO m() AS (SELECT 1)
CREATE OR REPLACE VIEW cards.transactions AS SELECT 1
CREATE SECRET s (TYPE s3, KEY_ID 'k', SECRET 's')
INSERT INTO cards.transactions SELECT * FROM cards.transactions
UPDATE cards.transactions SET tenant = 'x'
DELETE FROM cards.transactions
DROP VIEW cards.transactions
TRUNCATE cards.transactions
ALTER VIEW cards.transactions RENAME TO t
BEGIN TRANSACTION
CHECKPOINT
VACUUM
EXPLAIN SELECT 1
EXPLAIN ANALYZE SELECT 1
EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/stolen.csv'
PREPARE p AS SELECT 1
EXECUTE p
DESCRIBE cards.transactions
SUMMARIZE cards.transactions
SHOW TABLES
SHOW ALL TABLES
SELECT * FROM (DESCRIBE cards.transactions)
PIVOT cards.transactions ON channel USING sum(amount)
-- more than one statement
SELECT 1; SELECT 2
SELECT 1; DROP VIEW cards.transactions
SELECT 1; COPY (SELECT 1) TO '/tmp/stolen.csv'
SET threads=1; SELECT 1
SELECT 1 /* ; */ ; /* */ SELECT 2
-- the engine's own state
SELECT current_setting('memory_limit')
SELECT getenv('HOME')
SELECT getvariable('x')
SELECT current_user
SELECT session_user
SELECT current_schema
SELECT current_database()
SELECT current_query()
SELECT current_schemas(true)
SELECT version()
SELECT pg_typeof(1)
SELECT nextval('s')
SELECT txid_current()
SELECT in_search_path('memory', 'main')
SELECT write_log('x')
SELECT sleep_ms(10000)
SELECT stats(tenant) FROM cards.transactions
SELECT json_serialize_sql('SELECT 1')
SELECT json_serialize_plan('SELECT 1')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('foo.parquet')
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_secrets()
SELECT * FROM which_secret('s3://x', 's3')
SELECT * FROM duckdb_functions()
SELECT * FROM duckdb_views
SELECT * FROM duckdb_logs
SELECT * FROM duckdb_temporary_files()
SELECT * FROM duckdb_memory()
SELECT * FROM pragma_table_info('cards.transactions')
SELECT * FROM pragma_user_agent()
SELECT * FROM enable_logging()
SELECT * FROM enable_profiling()
SELECT * FROM force_checkpoint()
SELECT * FROM seq_scan('cards.transactions')
SELECT * FROM test_all_types()
SELECT * FROM sql_auto_complete('SEL')
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_class
SELECT * FROM sqlite_master
SELECT * FROM memory.cards.transactions
SELECT * FROM system.information_schema.tables
SELECT * FROM transactions
SELECT * FROM main.transactions
-- parameters, time travel, unknown types
SELECT ?
SELECT $1
SELECT $name
SELECT * FROM cards.transactions AT (VERSION => 1)
SELECT DEFAULT
SELECT '1'::JSON
SELECT 'a'::ENUM('a')
SELECT 'a'::evil.type
SELECT TRY_CAST('a' AS REGCLASS)
-- memory that no limit counts
SELECT repeat('a', 4000000000)
SELECT lpad('a', 2000000000, 'b')
SELECT rpad('a', stan::INTEGER, 'b') FROM cards.transactions
SELECT len(range(1000000000))
SELECT list_resize([1], 1000000000)
SELECT printf('%2000000000d', 1)
SELECT format('{:2000000000}', 1)
-- dressed up
SELECT * FROM/**/read_text/**/('/etc/passwd')
select * from rEaD_tExT($$/etc/passwd$$)
SELECT '/etc/passwd'.read_text()
SELECT 'HOME'.getenv()
SELECT main.current_setting('threads')
SELECT system.main.current_setting('threads')
SELECT "current_setting"('threads')
SELECT COLUMNS(c -> c = (SELECT content FROM read_text('/etc/passwd'))) FROM cards.transactions
SELECT * FROM cards.transactions TABLESAMPLE reservoir(getenv('X'))
-- what one expression could make huge, or take the square of a length over
SELECT levenshtein(tenant, merchant_name) FROM cards.transactions
SELECT damerau_levenshtein('a', 'b')
SELECT jaro_winkler_similarity('a', 'b')
SELECT editdist3('a', 'b')
SELECT lpad(tenant, 10001, 'a') FROM cards.transactions
SELECT lpad(tenant, 6000, 'a'), rpad(tenant, 6000, 'b') FROM cards.transactions
SELECT lpad(tenant, latency_us, 'a') FROM cards.transactions
SELECT lpad(tenant, 1000 * 1000, 'a') FROM cards.transactions
SELECT replace(tenant, 'a', merchant_name) FROM cards.transactions
SELECT replace(tenant, tenant, repeat('a', 10)) FROM cards.transactions
SELECT replace(replace(replace(tenant, 'a', 'bbbbbbbbbbbbbbbbbbbbbbbb'), 'b', 'aaaaaaaaaaaaaaaaaaaaaaaaa'), 'a', 'bbbbbbbbbbbbbbbbbbbbbb') FROM cards.transactions
SELECT regexp_replace(tenant, '.*', merchant_name, 'g') FROM cards.transactions
SELECT regexp_replace(regexp_replace(regexp_replace(tenant, '(.*)', '\1\1\1\1\1\1\1\1\1\1\1\1\1'), '(.*)', '\1\1\1\1\1\1\1\1\1\1\1\1\1'), '(.*)', '\1\1\1\1\1\1\1\1\1\1\1\1\1') FROM cards.transactions
SELECT list_transform(list_transform(list_transform(list_transform(['a'], x -> x||x||x||x||x||x||x||x), x -> x||x||x||x||x||x||x||x), x -> x||x||x||x||x||x||x||x), x -> x||x||x||x||x||x||x||x)
SELECT list_transform(['a'], x -> list_transform([x||x||x||x||x||x||x||x], x -> list_transform([x||x||x||x||x||x||x||x], x -> list_transform([x||x||x||x||x||x||x||x], x -> x||x||x||x||x||x||x||x))))
-- names of what is not the lake's
SELECT * FROM memory.cards.transactions
SELECT * FROM cards.main.transactions
SELECT * FROM main.transactions
SELECT * FROM sqlite_master
SELECT * FROM duckdb_views()
SELECT * FROM pragma_table_info('cards.transactions')
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('cards.transactions')
SELECT * FROM query_table(['cards.transactions'])
SELECT error(tenant) FROM cards.transactions
SELECT stats(tenant) FROM cards.transactions
SELECT current_query()
SELECT in_search_path('a', 'b')
SELECT getvariable('x')
SELECT nextval('s')
SELECT count(*) FROM cards.transactions AT (TIMESTAMP => now())
