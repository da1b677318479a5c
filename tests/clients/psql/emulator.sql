-- psql directly at the emulated cluster, with a token as password.
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only on
SELECT current_user, current_database(), substr(version(), 1, 13);
SHOW transaction_isolation;
DROP TABLE IF EXISTS client_psql;
CREATE TABLE client_psql (id int PRIMARY KEY, name text);
INSERT INTO client_psql VALUES (1, 'one'), (2, NULL);
SELECT * FROM client_psql ORDER BY id;
\copy client_psql FROM STDIN WITH (FORMAT csv)
3,three
\.
BEGIN;
UPDATE client_psql SET name = 'two' WHERE id = 2;
SELECT name FROM client_psql WHERE id = 2 FOR UPDATE;
COMMIT;
COPY (SELECT id, name FROM client_psql ORDER BY id) TO STDOUT;
\set ON_ERROR_STOP off
TRUNCATE client_psql;
\echo :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE
SAVEPOINT a;
\echo :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE
SET statement_timeout = '1s';
\echo :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE
CREATE INDEX client_index ON client_psql (name);
\echo :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE
\set ON_ERROR_STOP on
\dt client_psql
DROP TABLE client_psql;
