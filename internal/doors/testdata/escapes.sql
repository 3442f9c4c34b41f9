-- tables that are not the caller's
SELECT * FROM cards.transactions_rejected
SELECT count(*) FROM cards.transactions_rejected
SELECT payload FROM cards.transactions_rejected
SELECT 1 FROM cards.transactions_rejected LIMIT 0
SELECT * FROM audit.events
SELECT actor FROM audit.events WHERE FALSE
SELECT 1 FROM cards.transactions, audit.events
SELECT 1 FROM cards.transactions WHERE tenant IN (SELECT actor FROM audit.events)
SELECT (SELECT count(*) FROM audit.events)
WITH a AS (SELECT * FROM audit.events) SELECT 1
WITH a AS (SELECT * FROM audit.events) SELECT * FROM cards.transactions
SELECT 1 WHERE EXISTS (SELECT 1 FROM audit.events)
SELECT CASE WHEN FALSE THEN (SELECT count(*) FROM audit.events) END
SELECT * FROM cards.transactions UNION ALL SELECT * FROM cards.transactions_rejected
SELECT tenant FROM cards.transactions EXCEPT SELECT reason FROM cards.transactions_rejected
FROM cards.transactions_rejected
TABLE cards.transactions_rejected
SELECT * FROM "cards"."transactions_rejected"
SELECT * FROM CARDS.TRANSACTIONS_REJECTED
SELECT * FROM cards . transactions_rejected
SELECT * FROM (cards.transactions_rejected)
SELECT * FROM memory.cards.transactions_rejected
SELECT * FROM lake.cards.transactions
SELECT * FROM memory.cards.transactions
SELECT * FROM system.cards.transactions
SELECT * FROM temp.cards.transactions
SELECT x.* FROM cards.transactions_rejected x
SELECT * FROM cards.transactions NATURAL JOIN cards.transactions_rejected
SELECT * FROM cards.transactions ASOF JOIN audit.events ON event_time >= time
SELECT * FROM cards.transactions POSITIONAL JOIN cards.transactions_rejected
SELECT * FROM cards.transactions SEMI JOIN audit.events ON TRUE
SELECT * FROM cards.transactions x, LATERAL (SELECT * FROM audit.events WHERE actor = x.tenant) y
PIVOT cards.transactions_rejected ON reason USING count(*)
UNPIVOT cards.transactions_rejected ON COLUMNS(*) INTO NAME n VALUE v
WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT count(*) FROM audit.events) SELECT * FROM t
WITH t AS MATERIALIZED (SELECT * FROM audit.events) SELECT 1
SELECT sum(amount) OVER (ORDER BY (SELECT count(*) FROM audit.events)) FROM cards.transactions
SELECT list_transform([1], x -> (SELECT count(*) FROM audit.events))
SELECT count(*) FILTER (WHERE (SELECT count(*) FROM audit.events) > 0) FROM cards.transactions
VALUES ((SELECT count(*) FROM audit.events))
-- columns that are not the caller's
SELECT stream FROM cards.transactions
SELECT stream_partition FROM cards.transactions
SELECT stream_offset FROM cards.transactions
SELECT max(stream_offset) FROM cards.transactions
SELECT count(stream_offset) FROM cards.transactions
SELECT "stream_offset" FROM cards.transactions
SELECT STREAM_OFFSET FROM cards.transactions
SELECT transactions.stream_offset FROM cards.transactions
SELECT cards.transactions.stream_offset FROM cards.transactions
SELECT x.stream_offset FROM cards.transactions x
SELECT 1 FROM cards.transactions WHERE stream_offset > 0
SELECT 1 FROM cards.transactions ORDER BY stream_offset
SELECT 1 FROM cards.transactions GROUP BY stream_offset
SELECT count(*) FROM cards.transactions HAVING max(stream_offset) > 0
SELECT count(*) FILTER (WHERE stream_offset > 0) FROM cards.transactions
SELECT row_number() OVER (ORDER BY stream_offset) FROM cards.transactions
SELECT tenant FROM cards.transactions QUALIFY max(stream_offset) OVER () > 0
SELECT DISTINCT ON (stream_offset) tenant FROM cards.transactions
SELECT * EXCLUDE (stream_offset) FROM cards.transactions
SELECT * REPLACE (stream_offset AS amount) FROM cards.transactions
SELECT struct_pack(a := stream_offset) FROM cards.transactions
SELECT (transactions).stream_offset FROM cards.transactions
SELECT transactions['stream_offset'] FROM cards.transactions
SELECT struct_extract(transactions, 'stream_offset') FROM cards.transactions
SELECT 1 FROM cards.transactions a JOIN cards.transactions b USING (stream_offset)
SELECT 1 FROM cards.transactions a JOIN cards.transactions b ON a.stream_offset = b.stream_offset
SELECT (SELECT stream_offset) FROM cards.transactions
SELECT x FROM (SELECT stream_offset AS x FROM cards.transactions) t
WITH t AS (SELECT stream_offset FROM cards.transactions) SELECT 1 FROM t
SELECT COLUMNS('stream_.*') FROM cards.transactions
SELECT COLUMNS(c -> c = 'stream_offset') FROM cards.transactions
SELECT unnest([stream_offset]) FROM cards.transactions
SELECT rowid FROM cards.transactions
SELECT filename FROM cards.transactions
SELECT file_row_number FROM cards.transactions
SELECT file_index FROM cards.transactions
SELECT min(stream_offset) FROM cards.control_totals
SELECT stream FROM cards.control_totals
-- the catalog of the engine
SELECT * FROM information_schema.tables
SELECT * FROM information_schema.columns
SELECT * FROM pg_catalog.pg_class
SELECT * FROM pg_catalog.pg_tables
SELECT * FROM sqlite_master
SELECT * FROM duckdb_tables
SELECT * FROM duckdb_views()
SELECT * FROM duckdb_columns()
SELECT sql FROM duckdb_views() WHERE schema_name = 'cards'
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_memory()
SELECT * FROM duckdb_temporary_files()
SELECT * FROM duckdb_logs
SELECT * FROM pragma_table_info('cards.transactions')
SELECT * FROM pragma_storage_info('cards.transactions')
SELECT * FROM pragma_database_size()
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('cards.transactions')
SELECT * FROM query_table(['cards.transactions'])
DESCRIBE cards.transactions
SHOW TABLES
SHOW ALL TABLES
SUMMARIZE cards.transactions
EXPLAIN SELECT * FROM cards.transactions
EXPLAIN ANALYZE SELECT * FROM cards.transactions
SELECT pg_get_viewdef('cards.transactions')
SELECT pg_typeof(amount), current_setting('allowed_paths') FROM cards.transactions
SELECT getvariable('x')
SELECT current_query()
SELECT getenv('HOME')
SELECT error(tenant) FROM cards.transactions
SELECT nextval('s')
SELECT txid_current()
SELECT write_log('x')
SELECT hash(tenant), vector_type(tenant) FROM cards.transactions
SELECT stats(amount) FROM cards.transactions
SELECT in_search_path('main', 'cards')
-- changes of what is there
CREATE OR REPLACE VIEW cards.transactions AS SELECT 1
CREATE VIEW v AS SELECT * FROM cards.transactions
CREATE TABLE t AS SELECT * FROM cards.transactions
CREATE MACRO m() AS (SELECT 1)
CREATE MACRO t() AS TABLE SELECT * FROM read_text('/etc/passwd')
CREATE TEMP TABLE t (x INT)
CREATE TYPE t AS ENUM ('a')
CREATE SCHEMA s
CREATE SEQUENCE s
CREATE INDEX i ON cards.transactions (tenant)
DROP VIEW cards.transactions
ALTER VIEW cards.transactions RENAME TO t
INSERT INTO cards.transactions SELECT * FROM cards.transactions
UPDATE cards.transactions SET tenant = 'aurora'
DELETE FROM cards.transactions
MERGE INTO cards.transactions t USING cards.transactions s ON TRUE WHEN MATCHED THEN DELETE
TRUNCATE cards.transactions
BEGIN
COMMIT
USE cards
CHECKPOINT
VACUUM
ANALYZE
CALL pragma_version()
PREPARE p AS SELECT 1
EXECUTE p
DEALLOCATE p
SET VARIABLE x = 1
SET SCHEMA 'cards'
RESET ALL
COMMENT ON VIEW cards.transactions IS 'x'
SELECT 1; SELECT * FROM audit.events
SELECT 1;; SELECT 2
-- parameters
SELECT $1
SELECT ?
SELECT $name FROM cards.transactions
SELECT * FROM cards.transactions LIMIT ?
SELECT * FROM under_views."cards.transactions"
SELECT count(*) FROM under_views."cards.transactions"
SELECT x.* FROM "under_views"."cards.transactions" x
SELECT * FROM memory.under_views."cards.transactions"
SELECT (SELECT max(stream_offset) FROM under_views."cards.transactions")
WITH t AS (SELECT * FROM under_views."cards.transactions") SELECT * FROM t
SELECT stream_offset FROM views.transactions
SELECT pan FROM views.transactions
SELECT under_views."cards.transactions".tenant FROM views.transactions
SELECT * FROM memory.views.transactions
SELECT * FROM views.nothing
SELECT * FROM views."transactions; SELECT 1"
