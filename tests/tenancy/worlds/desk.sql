-- Tenants of type text; names that need quotes: mixed case, reserved words, a dot. Tenant 3 is the
-- largest, tenant 2 has few rows. Sizes: 30, 12, 100, 50.
CREATE SCHEMA desk;
CREATE TABLE desk."Ticket"("Tenant" text NOT NULL, "Id" int NOT NULL, "Title" text, state text DEFAULT 'open', prio smallint, "assigned.to" int, body jsonb, code text, due timestamptz, PRIMARY KEY ("Tenant", "Id"));
CREATE TABLE desk.agent("Tenant" text NOT NULL, id int NOT NULL, name text, email varchar(80), boss int, PRIMARY KEY ("Tenant", id), UNIQUE ("Tenant", email));
CREATE TABLE desk."select"("order" int NOT NULL, "group" text, "Tenant" text NOT NULL, "user" text, PRIMARY KEY ("order", "Tenant"));
CREATE TABLE desk.tag(ticket int NOT NULL, "Tenant" text NOT NULL, label text NOT NULL, n int, PRIMARY KEY ("Tenant", ticket, label));
CREATE TABLE desk.status(state text PRIMARY KEY, rank int);
CREATE TABLE desk."Log"(id int PRIMARY KEY, "Tenant" text, line text);
CREATE INDEX ON desk."Ticket"(prio); CREATE INDEX ON desk.tag(label);
CREATE FUNCTION pg_temp.org(t int) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'org-' || t$$;
CREATE FUNCTION pg_temp.size(t int) RETURNS int LANGUAGE sql IMMUTABLE AS $$SELECT (ARRAY[30, 12, 100, 50])[t]$$;
CREATE FUNCTION pg_temp.code(t int, i int) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT CASE WHEN t = 2 THEN '2024-01-' || (10 + i % 19) WHEN i % 4 = 0 THEN NULL WHEN i % 2 = 0 THEN '*zq' || t || 'x' ELSE 'zq' || t || 'x' || i || '\' END$$;
INSERT INTO desk."Ticket" SELECT pg_temp.org(t), i, 'zq' || t || 'x-title-' || i, (ARRAY['open', 'done', 'wait'])[1 + i % 3], (i * t) % 5, CASE WHEN i % 5 = 0 THEN NULL ELSE 1 + (i * t) % 7 END, jsonb_build_object('t', t, 'k', 'zq' || t || 'x', 'a', jsonb_build_array(i, t)), pg_temp.code(t, i), TIMESTAMPTZ '2024-03-01 00:00Z' + i * t * interval '1 day' FROM generate_series(1, 4) t, generate_series(1, pg_temp.size(t)) i;
INSERT INTO desk.agent SELECT pg_temp.org(t), i, 'zq' || t || 'x-agent-' || i, CASE WHEN i % 3 = 2 THEN NULL ELSE 'a' || i || '@zq' || t || 'x' END, nullif((i * t) % 5, 0) FROM generate_series(1, 4) t, generate_series(1, 6 + t) i;
INSERT INTO desk."select" SELECT i, (ARRAY['red', 'green'])[1 + i % 2], pg_temp.org(t), 'zq' || t || 'x-user-' || i FROM generate_series(1, 4) t, generate_series(1, 4 * t) i;
INSERT INTO desk.tag SELECT i, pg_temp.org(t), 'l' || (i * t) % 4 || k, CASE WHEN i % 3 = 0 THEN NULL ELSE i * t END FROM generate_series(1, 4) t, generate_series(1, 14) i, generate_series(1, 2) k;
INSERT INTO desk.status VALUES ('open', 1), ('wait', 2), ('done', 3);
INSERT INTO desk."Log" SELECT i, pg_temp.org(1 + i % 4), 'zq' || 1 + i % 4 || 'x-line' FROM generate_series(1, 8) i;
CREATE VIEW desk.open_ticket AS SELECT "Tenant", "Id", "Title", prio FROM desk."Ticket" WHERE state <> 'done';
CREATE VIEW desk.load AS SELECT "Tenant", "assigned.to" AS agent, count(*) AS n FROM desk."Ticket" GROUP BY "Tenant", "assigned.to";
ANALYZE;
