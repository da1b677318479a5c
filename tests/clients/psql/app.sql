-- psql on the emulated DSQL cluster.
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only on
SELECT tenant_id, count(*) FROM orders GROUP BY tenant_id ORDER BY tenant_id;
BEGIN;
INSERT INTO countries VALUES ('ZY', 'Nowhere');
SELECT name FROM countries WHERE code = 'ZY';
ROLLBACK;
SELECT count(*) FROM countries WHERE code = 'ZY';
\set ON_ERROR_STOP off
SELECT nothing FROM countries;
\echo :LAST_ERROR_SQLSTATE
\set ON_ERROR_STOP on
COPY (SELECT code FROM countries ORDER BY code LIMIT 2) TO STDOUT;
SELECT 'on';
