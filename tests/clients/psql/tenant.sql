-- A tenant at psql: only what is declared is there, and of that only its own rows.
\dt
\d orders
\dn
SELECT count(*), count(DISTINCT note) FROM orders;
SELECT tenant_id, count(*) FROM customers GROUP BY tenant_id;
BEGIN;
SAVEPOINT s;
SELECT count(*) FROM pg_stats;
ROLLBACK TO s;
UPDATE orders SET amount = 0 WHERE id = 1 RETURNING tenant_id, id;
ROLLBACK;
COPY (SELECT DISTINCT tenant_id FROM orders) TO STDOUT;
