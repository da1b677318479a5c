-- Adversarial and coverage statements for tenant isolation.
-- Fixture: fixture.sql; the client is bound to tenant 2; search_path is app.
-- A case starts at a line "-- @case ID | cat=CATEGORY | expect=OUTCOME | note" and runs to the next one.
-- Outcomes:
--   SAFE            accepted; rows, row order where ORDER BY fixes it, command tags and the table contents afterwards equal the RLS oracle
--   REJECT          refused by the proxy; nothing of it reaches the server
--   ERROR           accepted or refused, but it ends in an error, changes nothing, and the error text holds no other tenant's value
--   SAFE_OR_REJECT  as SAFE, or refused, or a plain server error; a leak or a changed row after an error is the failure
-- "params=" gives text-format bind values for $1, $2, ... in order.

-- @case O001 | cat=from | expect=SAFE | plain scan
SELECT * FROM orders ORDER BY id;
-- @case O002 | cat=from | expect=SAFE | OR at top level must not widen the tenant predicate
SELECT id, amount FROM orders WHERE id = 3 OR true ORDER BY id;
-- @case O003 | cat=from | expect=SAFE | user names the other tenant
SELECT count(*) FROM orders WHERE tenant_id = 1;
-- @case O004 | cat=from | expect=SAFE | negated tenant
SELECT count(*), min(tenant_id), max(tenant_id) FROM orders WHERE NOT (tenant_id = 2) OR tenant_id = 2;
-- @case O005 | cat=from | expect=SAFE | comma join of two tenant tables
SELECT o.id, c.name FROM orders o, customers c WHERE o.customer_id = c.id ORDER BY 1, 2;
-- @case O006 | cat=from | expect=SAFE | column alias list renames the tenant column
SELECT o.a, o.b FROM orders AS o(a, b) ORDER BY 2;
-- @case O007 | cat=from | expect=SAFE | same table twice under two aliases
SELECT a.id, b.id FROM orders a JOIN orders b ON a.amount < b.amount WHERE a.id < 4 ORDER BY 1, 2;
-- @case O008 | cat=from | expect=SAFE | ONLY
SELECT count(*) FROM ONLY app.orders;
-- @case O009 | cat=from | expect=SAFE_OR_REJECT | TABLESAMPLE filters after sampling; either sampled inside the wrap or refused
SELECT count(*) >= 0 FROM orders TABLESAMPLE BERNOULLI (100) REPEATABLE (1);
-- @case O010 | cat=join | expect=SAFE | LEFT JOIN, filter must sit on the nullable side, not in WHERE
SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.amount > 150 ORDER BY 1, 2;
-- @case O011 | cat=join | expect=SAFE | RIGHT JOIN
SELECT o.id, c.id FROM orders o RIGHT JOIN customers c ON c.id = o.customer_id ORDER BY 2, 1;
-- @case O012 | cat=join | expect=SAFE | FULL JOIN has no WHERE or ON place that is right
SELECT o.id, i.order_id, i.line FROM orders o FULL JOIN items i ON i.order_id = o.id ORDER BY 1 NULLS LAST, 2, 3;
-- @case O013 | cat=join | expect=SAFE | anti join idiom: other tenants' rows must not suppress ours
SELECT c.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE o.id IS NULL ORDER BY 1;
-- @case O014 | cat=join | expect=SAFE | parenthesised join with a join alias hides the table aliases
SELECT j.id, j.sku FROM (orders o JOIN items i ON i.order_id = o.id) AS j ORDER BY 1, 2;
-- @case O015 | cat=join | expect=SAFE | nested outer joins, mixed direction
SELECT o.id, c.id, i.line FROM orders o LEFT JOIN customers c ON c.id = o.customer_id RIGHT JOIN items i ON i.order_id = o.id ORDER BY 1 NULLS LAST, 2, 3;
-- @case O016 | cat=join | expect=SAFE | CROSS JOIN
SELECT count(*) FROM orders CROSS JOIN customers;
-- @case O017 | cat=join | expect=SAFE | ON true with a shared table
SELECT count(*) FROM countries LEFT JOIN orders ON true;
-- @case O018 | cat=using | expect=SAFE | USING on the tenant column
SELECT tenant_id, o.id FROM orders o JOIN customers c USING (tenant_id, id) ORDER BY 2;
-- @case O019 | cat=using | expect=SAFE | NATURAL JOIN merges tenant_id and id
SELECT * FROM customers NATURAL JOIN accounts ORDER BY id;
-- @case O020 | cat=using | expect=SAFE | NATURAL FULL JOIN
SELECT id, label, v FROM tree NATURAL FULL JOIN "Orders" ORDER BY id, label;
-- @case O021 | cat=lateral | expect=SAFE | LATERAL top-n per group
SELECT c.id, t.id FROM customers c CROSS JOIN LATERAL (SELECT o.id FROM orders o WHERE o.customer_id = c.id ORDER BY o.amount DESC NULLS LAST, o.id LIMIT 1) t ORDER BY 1;
-- @case O022 | cat=lateral | expect=SAFE | LEFT JOIN LATERAL
SELECT c.id, s.n FROM customers c LEFT JOIN LATERAL (SELECT count(*) AS n FROM items i WHERE i.order_id = c.id) s ON true ORDER BY 1;
-- @case O023 | cat=subquery | expect=SAFE | scalar subquery in the target list
SELECT c.id, (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) FROM customers c ORDER BY 1;
-- @case O024 | cat=subquery | expect=SAFE | uncorrelated scalar subquery
SELECT (SELECT sum(amount) FROM orders) AS s;
-- @case O025 | cat=subquery | expect=SAFE | EXISTS with no FROM outside
SELECT EXISTS (SELECT FROM orders WHERE note LIKE 'note-1-%');
-- @case O026 | cat=subquery | expect=SAFE | IN and NOT IN
SELECT id FROM customers WHERE id IN (SELECT customer_id FROM orders) AND id NOT IN (SELECT order_id FROM items WHERE qty > 5) ORDER BY 1;
-- @case O027 | cat=subquery | expect=SAFE | = ANY, > ALL
SELECT id FROM orders WHERE amount >= ALL (SELECT amount FROM orders WHERE amount IS NOT NULL) ORDER BY 1;
-- @case O028 | cat=subquery | expect=SAFE | ARRAY(subquery)
SELECT ARRAY(SELECT id FROM orders ORDER BY id);
-- @case O029 | cat=subquery | expect=SAFE | row IN subquery
SELECT id FROM customers WHERE (tenant_id, id) IN (SELECT tenant_id, customer_id FROM orders) ORDER BY 1;
-- @case O030 | cat=subquery | expect=SAFE | in ORDER BY, LIMIT, OFFSET
SELECT id FROM orders ORDER BY (SELECT c.name FROM customers c WHERE c.id = orders.customer_id), id LIMIT (SELECT count(*) FROM customers WHERE id < 4) OFFSET (SELECT count(*) FROM accounts WHERE id < 2);
-- @case O031 | cat=subquery | expect=SAFE | inside CASE, COALESCE, NULLIF and a function argument
SELECT CASE WHEN (SELECT count(*) FROM orders) > 12 THEN 'leak' ELSE coalesce((SELECT max(note) FROM orders), 'none') END, greatest((SELECT count(*) FROM items), 1);
-- @case O032 | cat=subquery | expect=SAFE | in GROUP BY and HAVING
SELECT customer_id, count(*) FROM orders GROUP BY customer_id HAVING count(*) >= (SELECT count(*) FROM customers WHERE id = 1) ORDER BY 1;
-- @case O033 | cat=subquery | expect=SAFE | in FILTER and in an aggregate's ORDER BY
SELECT count(*) FILTER (WHERE customer_id IN (SELECT id FROM customers WHERE id < 3)), string_agg(note, ',' ORDER BY (SELECT c.name FROM customers c WHERE c.id = o.customer_id), o.id) FROM orders o;
-- @case O034 | cat=subquery | expect=SAFE | in a window definition
SELECT id, row_number() OVER (PARTITION BY (SELECT c.name FROM customers c WHERE c.id = o.customer_id) ORDER BY o.id) FROM orders o ORDER BY 1;
-- @case O035 | cat=subquery | expect=SAFE | in a VALUES row
SELECT * FROM (VALUES ((SELECT count(*) FROM orders)), ((SELECT count(*) FROM items))) v(n) ORDER BY 1;
-- @case O036 | cat=subquery | expect=SAFE | in JOIN ... ON
SELECT o.id, c.id FROM orders o JOIN customers c ON c.id = (SELECT min(customer_id) FROM orders x WHERE x.id = o.id) ORDER BY 1;
-- @case O037 | cat=subquery | expect=SAFE | as table function argument
SELECT n FROM generate_series(1, (SELECT count(*)::int FROM orders)) AS g(n) ORDER BY n;
-- @case O038 | cat=subquery | expect=SAFE | array subscript
SELECT (ARRAY(SELECT note FROM orders ORDER BY id))[(SELECT min(id) FROM orders)];
-- @case O039 | cat=cte | expect=SAFE | plain CTE
WITH big AS (SELECT * FROM orders WHERE amount > 100) SELECT count(*), sum(amount) FROM big;
-- @case O040 | cat=cte | expect=SAFE | CTE used only inside a subquery
WITH c AS MATERIALIZED (SELECT id FROM customers) SELECT (SELECT count(*) FROM c), (SELECT count(*) FROM orders WHERE customer_id IN (TABLE c));
-- @case O041 | cat=cte | expect=SAFE | WITH inside a FROM subquery
SELECT * FROM (WITH x AS (SELECT id FROM orders WHERE id < 3) SELECT * FROM x) s ORDER BY 1;
-- @case O042 | cat=cte | expect=SAFE | WITH inside an expression subquery
SELECT (WITH x AS (SELECT count(*) AS n FROM orders) SELECT n FROM x);
-- @case O043 | cat=shadow | expect=SAFE | a non-recursive CTE does not see itself: inner orders is the table
WITH orders AS (SELECT * FROM orders WHERE id < 4) SELECT count(*), min(tenant_id), max(tenant_id) FROM orders;
-- @case O044 | cat=shadow | expect=SAFE | a CTE shadows the table in the outer query
WITH orders AS (SELECT 99 AS tenant_id, 1 AS id) SELECT * FROM orders;
-- @case O045 | cat=shadow | expect=SAFE | schema qualification skips the CTE
WITH orders AS (SELECT 1) SELECT count(*) FROM app.orders;
-- @case O046 | cat=shadow | expect=SAFE | CTE scope ends with its subquery
SELECT (WITH orders AS (SELECT 1) SELECT count(*) FROM orders), (SELECT count(*) FROM orders);
-- @case O047 | cat=shadow | expect=SAFE | a write target never resolves to a CTE
WITH orders AS (SELECT 1 AS id) DELETE FROM orders WHERE id = 1 RETURNING tenant_id, id;
-- @case O048 | cat=shadow | expect=SAFE | sibling order: b refers to the table when not RECURSIVE and declared before
WITH a AS (SELECT count(*) AS n FROM customers), customers AS (SELECT 1 AS id) SELECT a.n, (SELECT count(*) FROM customers) FROM a;
-- @case O049 | cat=recursive | expect=SAFE | recursive walk
WITH RECURSIVE t AS (SELECT id, parent, label, 1 AS d FROM tree WHERE parent IS NULL UNION ALL SELECT c.id, c.parent, c.label, t.d + 1 FROM tree c JOIN t ON c.parent = t.id) SELECT id, d, label FROM t ORDER BY 1;
-- @case O050 | cat=recursive | expect=SAFE | forward reference allowed under RECURSIVE
WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT count(*) AS n FROM orders) SELECT n FROM a;
-- @case O051 | cat=recursive | expect=SAFE | recursive CTE named like a table: inner reference is the CTE
WITH RECURSIVE orders AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM orders WHERE n < 3) SELECT n FROM orders ORDER BY 1;
-- @case O052 | cat=setop | expect=SAFE | each arm filtered
SELECT id FROM orders UNION SELECT id FROM customers EXCEPT SELECT id FROM accounts ORDER BY 1;
-- @case O053 | cat=setop | expect=SAFE | nested set operations with parentheses
(SELECT note FROM orders WHERE id = 1) UNION ALL ((SELECT name FROM customers WHERE id = 1) INTERSECT (SELECT name FROM customers)) ORDER BY 1;
-- @case O054 | cat=setop | expect=SAFE | TABLE command
TABLE tree;
-- @case O055 | cat=setop | expect=SAFE | VALUES alone
VALUES (1, 'a'), (2, 'b');
-- @case O056 | cat=group | expect=SAFE | functional dependency on the primary key
SELECT o.*, count(i.line) FROM orders o JOIN items i ON i.order_id = o.id GROUP BY o.tenant_id, o.id ORDER BY o.id;
-- @case O057 | cat=group | expect=SAFE | grouping sets
SELECT status, customer_id, count(*) FROM orders GROUP BY GROUPING SETS ((status), (customer_id), ()) ORDER BY 1, 2, 3;
-- @case O058 | cat=group | expect=SAFE | DISTINCT ON and window over the whole table
SELECT DISTINCT ON (customer_id) customer_id, id, rank() OVER (ORDER BY amount) FROM orders ORDER BY customer_id, id;
-- @case O059 | cat=lock | expect=SAFE | FOR UPDATE
SELECT id FROM orders WHERE id = 4 FOR UPDATE;
-- @case O060 | cat=lock | expect=SAFE | FOR UPDATE OF alias in a join
SELECT o.id, c.id FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id < 4 ORDER BY 1 FOR UPDATE OF o;
-- @case O061 | cat=lock | expect=SAFE | FOR SHARE SKIP LOCKED in a subquery
SELECT count(*) FROM (SELECT id FROM orders WHERE status = 'new' FOR SHARE SKIP LOCKED) q;
-- @case O062 | cat=names | expect=SAFE | quoted mixed-case table is another table
SELECT v FROM "Orders" ORDER BY id;
-- @case O063 | cat=names | expect=SAFE | case folding
SELECT COUNT(*) FROM APP.OrDeRs;
-- @case O064 | cat=names | expect=SAFE | Unicode-escaped identifier
SELECT count(*) FROM U&"\006Frders";
-- @case O065 | cat=names | expect=SAFE | schema-qualified column reference
SELECT app.orders.id FROM app.orders ORDER BY 1;
-- @case O066 | cat=names | expect=REJECT | database-qualified relation
SELECT count(*) FROM raw.app.orders;
-- @case O067 | cat=names | expect=REJECT | undeclared table
SELECT * FROM audit_log;
-- @case O068 | cat=names | expect=REJECT | alias with the proxy's reserved prefix
SELECT count(*) FROM orders AS __t1;
-- @case O069 | cat=wholerow | expect=SAFE | whole row as text
SELECT o::text FROM orders o WHERE id = 2;
-- @case O070 | cat=wholerow | expect=SAFE | SELECT table FROM table
SELECT orders FROM orders ORDER BY id LIMIT 2;
-- @case O071 | cat=wholerow | expect=SAFE | row functions
SELECT row_to_json(o), to_jsonb(o) ->> 'tenant_id' FROM orders o WHERE o.id = 1;
-- @case O072 | cat=wholerow | expect=SAFE_OR_REJECT | function called in attribute notation
SELECT o.row_to_json FROM orders o WHERE id = 1;
-- @case O073 | cat=syscol | expect=REJECT | ctid
SELECT ctid, xmin FROM orders;
-- @case O074 | cat=syscol | expect=REJECT | update by ctid guess
UPDATE orders SET note = 'x' WHERE ctid = '(0,1)';
-- @case O075 | cat=insert | expect=SAFE | tenant column absent
INSERT INTO orders (id, amount) VALUES (101, 5), (102, 6) RETURNING tenant_id, id;
-- @case O076 | cat=insert | expect=SAFE | own tenant given
INSERT INTO orders (tenant_id, id, note) VALUES (2, 103, 'mine') RETURNING *;
-- @case O077 | cat=insert | expect=ERROR | foreign tenant given
INSERT INTO orders (tenant_id, id, note) VALUES (1, 104, 'planted');
-- @case O078 | cat=insert | expect=ERROR | second row foreign
INSERT INTO orders (id, tenant_id) VALUES (105, 2), (106, 3);
-- @case O079 | cat=insert | expect=ERROR | foreign tenant as expression
INSERT INTO orders (id, tenant_id) VALUES (107, 1 + 0);
-- @case O080 | cat=insert | expect=ERROR | NULL tenant
INSERT INTO customers (tenant_id, id) VALUES (NULL, 77);
-- @case O081 | cat=insert | expect=SAFE_OR_REJECT | no column list
INSERT INTO customers VALUES (2, 50, 'n', 'e@x', NULL) RETURNING tenant_id, id;
-- @case O082 | cat=insert | expect=ERROR | no column list, foreign tenant
INSERT INTO customers VALUES (3, 51, 'n', 'e@y', NULL);
-- @case O083 | cat=insert | expect=ERROR | bound foreign tenant | params=3,108
INSERT INTO orders (tenant_id, id) VALUES ($1, $2);
-- @case O084 | cat=insert | expect=SAFE | bound own tenant | params=2,109
INSERT INTO orders (tenant_id, id) VALUES ($1, $2) RETURNING tenant_id, id;
-- @case O085 | cat=insertselect | expect=SAFE | copy own rows
INSERT INTO orders (id, amount, note) SELECT id + 200, amount, note FROM orders WHERE id < 3 RETURNING tenant_id, id, note;
-- @case O086 | cat=insertselect | expect=SAFE | an unknown literal in the source must still take the column's type (wrapping the source breaks this)
INSERT INTO orders (id, created_at) SELECT 301, '2020-01-01' RETURNING id, tenant_id, created_at;
-- @case O087 | cat=insertselect | expect=ERROR | select supplies a foreign tenant
INSERT INTO orders (id, tenant_id) SELECT 303, 1;
-- @case O088 | cat=insertselect | expect=SAFE_OR_REJECT | select passes the tenant column on
INSERT INTO items (tenant_id, order_id, line, sku) SELECT tenant_id, id, 9, 'x' FROM orders WHERE id < 3 RETURNING tenant_id, order_id;
-- @case O089 | cat=insertselect | expect=SAFE_OR_REJECT | star source without a column list
INSERT INTO "Orders" SELECT * FROM (SELECT 2, 60, 'q') z RETURNING tenant_id, id;
-- @case O090 | cat=conflict | expect=SAFE | DO NOTHING
INSERT INTO orders (tenant_id, id, note) VALUES (2, 1, 'dup') ON CONFLICT DO NOTHING RETURNING id;
-- @case O091 | cat=conflict | expect=SAFE | DO UPDATE with excluded and target references
INSERT INTO orders (id, amount) VALUES (1, 7), (401, 8) ON CONFLICT (tenant_id, id) DO UPDATE SET amount = excluded.amount + coalesce(orders.amount, 0) RETURNING id, amount;
-- @case O092 | cat=conflict | expect=ERROR | DO UPDATE moves the row to another tenant
INSERT INTO orders (id, amount) VALUES (1, 7) ON CONFLICT (tenant_id, id) DO UPDATE SET tenant_id = 3;
-- @case O093 | cat=conflict | expect=ERROR | key unique across tenants, foreign row hit (accounts id 3 is not ours)
INSERT INTO accounts (id, login, balance) VALUES (3, 'stolen', 0) ON CONFLICT (id) DO UPDATE SET balance = 0 RETURNING login;
-- @case O094 | cat=update | expect=SAFE | everything
UPDATE orders SET amount = 1;
-- @case O095 | cat=update | expect=SAFE | names the other tenant
UPDATE orders SET note = 'pwned' WHERE tenant_id = 1 OR id > 0;
-- @case O096 | cat=update | expect=ERROR | moves rows to another tenant
UPDATE orders SET tenant_id = 1 WHERE id = 1;
-- @case O097 | cat=update | expect=ERROR | multi-column assignment hides the tenant column
UPDATE orders SET (note, tenant_id) = ('x', 3) WHERE id = 1;
-- @case O098 | cat=update | expect=SAFE | UPDATE ... FROM with an outer join
UPDATE orders o SET note = coalesce(c.name, 'none') FROM customers c LEFT JOIN accounts a ON a.id = c.id WHERE c.id = o.customer_id RETURNING o.tenant_id, o.id, c.tenant_id, a.id;
-- @case O099 | cat=update | expect=SAFE | self join through FROM
UPDATE orders o SET amount = p.amount FROM orders p WHERE p.id = o.id + 1;
-- @case O100 | cat=update | expect=SAFE | sub-select in SET
UPDATE customers c SET name = (SELECT max(note) FROM orders o WHERE o.customer_id = c.id), email = DEFAULT WHERE id < 4;
-- @case O101 | cat=delete | expect=SAFE | everything
DELETE FROM items;
-- @case O102 | cat=delete | expect=SAFE | USING with a subquery
DELETE FROM items i USING (SELECT id FROM orders WHERE status = 'void') v WHERE v.id = i.order_id RETURNING i.*;
-- @case O103 | cat=delete | expect=SAFE | NOT EXISTS: foreign rows must not protect ours
DELETE FROM items WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = items.order_id) RETURNING order_id, line;
-- @case O104 | cat=dmcte | expect=SAFE | delete and re-insert through CTEs
WITH d AS (DELETE FROM items WHERE order_id = 1 RETURNING *) INSERT INTO items (order_id, line, sku, qty) SELECT order_id, line + 10, sku, qty FROM d RETURNING tenant_id, order_id, line;
-- @case O105 | cat=dmcte | expect=SAFE | update in a CTE with a plain select outside
WITH u AS (UPDATE accounts SET balance = balance + 1 RETURNING tenant_id, id) SELECT tenant_id, count(*) FROM u GROUP BY 1;
-- @case O106 | cat=merge | expect=SAFE_OR_REJECT | MERGE onto foreign keys must not update them
MERGE INTO orders o USING (VALUES (1, 11), (501, 12)) v(id, amt) ON o.id = v.id WHEN MATCHED THEN UPDATE SET amount = v.amt WHEN NOT MATCHED THEN INSERT (id, amount) VALUES (v.id, v.amt);
-- @case O107 | cat=merge | expect=ERROR | MERGE inserts for another tenant
MERGE INTO orders o USING (VALUES (502)) v(id) ON o.id = v.id WHEN NOT MATCHED THEN INSERT (tenant_id, id) VALUES (1, v.id);
-- @case O108 | cat=copy | expect=SAFE | COPY table TO
COPY orders (id, note) TO STDOUT;
-- @case O109 | cat=copy | expect=SAFE | COPY query TO
COPY (SELECT tenant_id, count(*) FROM orders GROUP BY 1) TO STDOUT WITH (FORMAT csv);
-- @case O110 | cat=copy | expect=REJECT | COPY FROM
COPY orders FROM STDIN;
-- @case O111 | cat=copy | expect=REJECT | COPY to a program
COPY (SELECT 1) TO PROGRAM 'cat';
-- @case O112 | cat=cursor | expect=SAFE | cursor over a tenant table
BEGIN; DECLARE c CURSOR FOR SELECT id, note FROM orders ORDER BY id; FETCH 20 FROM c; CLOSE c; COMMIT;
-- @case O113 | cat=cursor | expect=REJECT | a holdable cursor survives the transaction and so a pool hand-over
DECLARE h CURSOR WITH HOLD FOR SELECT * FROM orders;
-- @case O114 | cat=cursor | expect=REJECT | WHERE CURRENT OF
BEGIN; DECLARE c CURSOR FOR SELECT id FROM orders FOR UPDATE; FETCH c; UPDATE orders SET note = 'x' WHERE CURRENT OF c; COMMIT;
-- @case O115 | cat=prepare | expect=SAFE_OR_REJECT | SQL-level PREPARE
PREPARE p1 (int) AS SELECT id, note FROM orders WHERE id = $1; EXECUTE p1 (3); DEALLOCATE p1;
-- @case O116 | cat=explain | expect=SAFE_OR_REJECT | EXPLAIN shows statistics of all tenants
EXPLAIN SELECT * FROM orders;
-- @case O117 | cat=explain | expect=REJECT | EXPLAIN ANALYZE runs a write and counts foreign rows
EXPLAIN ANALYZE DELETE FROM orders;
-- @case O118 | cat=ddl | expect=REJECT | view over a tenant table
CREATE VIEW spy AS SELECT * FROM app.orders;
-- @case O119 | cat=ddl | expect=REJECT | CREATE TABLE AS
CREATE TABLE copy1 AS SELECT * FROM orders;
-- @case O120 | cat=ddl | expect=REJECT | SELECT INTO
SELECT * INTO copy2 FROM orders;
-- @case O121 | cat=ddl | expect=REJECT | SQL function that reads the base table
CREATE FUNCTION spy() RETURNS SETOF app.orders LANGUAGE sql AS 'SELECT * FROM app.orders';
-- @case O122 | cat=ddl | expect=REJECT | TRUNCATE
TRUNCATE orders;
-- @case O123 | cat=ddl | expect=REJECT | ALTER TABLE
ALTER TABLE orders ADD COLUMN x int DEFAULT 1;
-- @case O124 | cat=ddl | expect=REJECT | temp table that shadows a tenant table
CREATE TEMP TABLE orders (tenant_id int, id int);
-- @case O125 | cat=procedural | expect=REJECT | DO block
DO $$ BEGIN PERFORM 1; END $$;
-- @case O126 | cat=procedural | expect=REJECT | CALL
CALL app.maintenance();
-- @case O127 | cat=sqltext | expect=REJECT | query given as text
SELECT query_to_xml('select * from app.orders', true, false, '');
-- @case O128 | cat=sqltext | expect=REJECT | table name given as regclass text
SELECT table_to_xml('app.orders', true, false, '');
-- @case O129 | cat=sqltext | expect=REJECT | text-search statistics run a query text
SELECT * FROM ts_stat('select to_tsvector(note) from app.orders');
-- @case O130 | cat=sqltext | expect=REJECT | same function with a schema prefix and quotes
SELECT "pg_catalog"."query_to_xml"('select 1', true, false, '');
-- @case O131 | cat=sqltext | expect=REJECT | in FROM position
SELECT * FROM XMLTABLE('/table/row' PASSING query_to_xml('select * from app.orders', true, false, '') COLUMNS note text);
-- @case O132 | cat=function | expect=REJECT | a privilege probe prints its text argument in the error
SELECT has_schema_privilege(note, 'usage') FROM orders;
-- @case O133 | cat=function | expect=REJECT | large object read
SELECT lo_get(16400);
-- @case O134 | cat=function | expect=REJECT | server file read
SELECT pg_read_file('postgresql.conf');
-- @case O135 | cat=function | expect=REJECT | sequence state shared by tenants
SELECT setval('app.s', 1);
-- @case O136 | cat=function | expect=REJECT | table size
SELECT pg_total_relation_size('app.orders');
-- @case O137 | cat=function | expect=REJECT | unknown function
SELECT app.anything(1);
-- @case O138 | cat=function | expect=REJECT | session state as a hiding place
SELECT set_config('app.x', note, false) FROM orders;
-- @case O139 | cat=function | expect=REJECT | backend control
SELECT pg_terminate_backend(1);
-- @case O140 | cat=catalog | expect=REJECT | column statistics hold values of all tenants
SELECT most_common_vals FROM pg_stats WHERE tablename = 'orders';
-- @case O141 | cat=catalog | expect=REJECT | running statements of others
SELECT query FROM pg_stat_activity;
-- @case O142 | cat=catalog | expect=REJECT | raw statistics
SELECT * FROM pg_catalog.pg_statistic;
-- @case O143 | cat=leaky | expect=ERROR | cast error prints a value; it must be one of ours
SELECT id FROM orders WHERE note::int > 0;
-- @case O144 | cat=leaky | expect=SAFE | division by zero on a foreign row (amount 10 exists only for tenant 1) must not fire
SELECT count(*) FROM orders WHERE 1 / (amount - 10) >= 0 OR amount IS NULL;
-- @case O145 | cat=leaky | expect=SAFE | overflow probe: only foreign rows overflow
SELECT count(*) FROM orders WHERE amount + 2147483300 > 0;
-- @case O146 | cat=leaky | expect=SAFE | the loud expression sits in a subquery's target list
SELECT count(*) FROM (SELECT 100 / (amount - 30) AS x FROM orders) s WHERE x > 0 OR x <= 0;
-- @case O147 | cat=leaky | expect=SAFE | in HAVING on a grouping column
SELECT amount FROM orders GROUP BY amount HAVING 1 / (amount - 90) >= 0 ORDER BY 1;
-- @case O148 | cat=leaky | expect=SAFE | in UPDATE's WHERE
UPDATE orders SET note = 'z' WHERE 1 / (amount - 10) >= 0;
-- @case O149 | cat=leaky | expect=ERROR | invalid regular expression from data: the error must come from our rows only
SELECT id FROM orders WHERE 'x' ~ ('[' || note);
-- @case O150 | cat=guc | expect=REJECT | SET ROLE
SET ROLE postgres;
-- @case O151 | cat=guc | expect=REJECT | search_path decides what a name means
SET search_path = pg_temp, app;
-- @case O152 | cat=guc | expect=REJECT | lexer mode
SET standard_conforming_strings = off;
-- @case O153 | cat=guc | expect=REJECT | encoding
SET client_encoding = 'SJIS';
-- @case O154 | cat=guc | expect=REJECT | SET LOCAL form
BEGIN; SET LOCAL SESSION AUTHORIZATION postgres; COMMIT;
-- @case O155 | cat=guc | expect=SAFE | harmless setting
SET application_name = 'x';
-- @case O156 | cat=view | expect=SAFE_OR_REJECT | view over a tenant table
SELECT id, note FROM v_orders ORDER BY id;
-- @case O157 | cat=view | expect=SAFE_OR_REJECT | window function in a view: filtering outside gives other tenants' counts
SELECT id, r FROM v_rank ORDER BY id;
-- @case O158 | cat=view | expect=REJECT | write through a view
UPDATE v_orders SET note = 'x';
-- @case O159 | cat=lexer | expect=SAFE | tenant predicate cannot be cut off by a trailing comment
SELECT count(*) FROM orders WHERE id > 0 -- ;
;
-- @case O160 | cat=lexer | expect=SAFE | nested block comment
SELECT count(*) /* a /* b */ FROM audit_log */ FROM orders;
-- @case O161 | cat=lexer | expect=SAFE | dollar quoting and backslashes are data
SELECT count(*) FROM orders WHERE note <> $q$' OR 1=1 --$q$ AND note <> 'a\' AND note <> E'b\'c';
-- @case O162 | cat=multi | expect=REJECT | second statement of a simple query is refused, so the whole message is
SELECT 1; SET ROLE postgres; SELECT * FROM orders;
-- @case O163 | cat=multi | expect=SAFE | both statements rewritten
SELECT count(*) FROM orders; SELECT count(*) FROM customers;
-- @case O164 | cat=params | expect=SAFE | several parameters, one used twice | params=2,300
SELECT id FROM orders WHERE (id > $1 AND amount < $2) OR id = $1 ORDER BY id;
-- @case O165 | cat=params | expect=SAFE | the parameter tries to be the tenant | params=1
SELECT count(*) FROM orders WHERE tenant_id = $1;
-- @case O166 | cat=types | expect=SAFE | uuid tenant column
SELECT id, body FROM docs_u ORDER BY id;
-- @case O167 | cat=types | expect=SAFE | text tenant column
SELECT d.id, u.body FROM docs_t d LEFT JOIN docs_u u ON u.id = d.id ORDER BY 1;
-- @case O168 | cat=shared | expect=SAFE | reference table readable
SELECT code FROM countries ORDER BY 1;
-- @case O169 | cat=shared | expect=REJECT | reference table not writable
DELETE FROM countries;
-- @case O170 | cat=proto | expect=REJECT | LISTEN is a channel between tenants
LISTEN t2;
-- @case O171 | cat=proto | expect=REJECT | two-phase commit outlives the session
BEGIN; PREPARE TRANSACTION 'x';
-- @case O172 | cat=proto | expect=REJECT | LOCK TABLE stops every tenant
BEGIN; LOCK TABLE orders; COMMIT;
-- @case O173 | cat=leaky | expect=SAFE | one-operator predicate: as cheap as the tenant test, so a plain rewrite runs it first; one foreign note is a bad regular expression
SELECT count(*) FROM orders WHERE 'x' ~ note;
-- @case O174 | cat=leaky | expect=SAFE | the same in a write
UPDATE orders SET amount = 0 WHERE NOT ('zz' ~ note) AND id < 4 RETURNING id;
-- @case O175 | cat=leaky | expect=SAFE | the same through a sub-select's output column
SELECT count(*) FROM (SELECT 'x' ~ note AS m, id FROM orders) s WHERE NOT m;
-- @case O176 | cat=leaky | expect=SAFE | the same inside ON of an outer join
SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND NOT ('q' ~ o.note) ORDER BY 1, 2;
