-- The tables of pgbench with what Aurora DSQL takes: a primary key in CREATE TABLE, no fillfactor, no
-- TRUNCATE, one DDL statement in a transaction.
CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
CREATE TABLE pgbench_history (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
