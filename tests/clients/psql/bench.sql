-- psql on a plain PostgreSQL: transactions, COPY, settings, cursors, errors, catalog queries.
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only on
DROP TABLE IF EXISTS psql_t;
CREATE TABLE psql_t (id int PRIMARY KEY, note text);
\copy psql_t FROM STDIN WITH (FORMAT csv)
1,"one, ""quoted"""
2,two
\.
COPY psql_t FROM STDIN;
3	three\\
4	\N
\.
SELECT count(*) = 4 AND count(note) = 3 AS ok FROM psql_t \gset
\if :ok \else DO $$ BEGIN RAISE 'COPY lost rows'; END $$; \endif
COPY (SELECT * FROM psql_t ORDER BY id) TO STDOUT;
BEGIN;
DELETE FROM psql_t;
ROLLBACK;
\set ON_ERROR_ROLLBACK on
\set ON_ERROR_STOP off
BEGIN;
INSERT INTO psql_t VALUES (5, 'five');
INSERT INTO psql_t VALUES (5, 'twice');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO psql_t VALUES (6, 'six');
COMMIT;
SELECT 1 / 0;
\echo :LAST_ERROR_SQLSTATE
\set ON_ERROR_ROLLBACK off
\set ON_ERROR_STOP on
SELECT count(*), max(id) FROM psql_t;
SET TIME ZONE 'Asia/Tokyo';
SET application_name TO 'of psql';
SHOW TimeZone;
SHOW application_name;
BEGIN;
SET LOCAL work_mem TO '3MB';
SHOW work_mem;
COMMIT;
SELECT current_setting('work_mem') <> '3MB';
BEGIN;
PREPARE twice(int) AS SELECT $1 * 2;
EXECUTE twice(21);
DEALLOCATE twice;
COMMIT;
\set FETCH_COUNT 10
SELECT sum(n) FROM (SELECT generate_series(1, 35) AS n) AS numbers;
SELECT n FROM generate_series(1, 25) AS n OFFSET 24;
\unset FETCH_COUNT
SELECT 'first' \; SELECT 'second';
SELECT format('SELECT %s', n) FROM generate_series(7, 8) AS n \gexec
SELECT $1::int FROM psql_t \gdesc
\d psql_t
DROP TABLE psql_t;
\c
SHOW application_name;
