-- Tenants of type bigint beyond 32 bits; json, whose reading may fail; floats beside numbers of any
-- size; a key without the tenant. Tenant 2 is the largest. Sizes: 20, 90, 5, 40.
CREATE SCHEMA bank;
CREATE TABLE bank.account(id int NOT NULL, owner text, tenant bigint NOT NULL, iban text, balance bigint, limits int[], opened timestamp, rate double precision, PRIMARY KEY (tenant, id), UNIQUE (iban, tenant));
CREATE TABLE bank.entry(tenant bigint NOT NULL, account int NOT NULL, seq int NOT NULL, amount numeric, memo text, code text, meta json, PRIMARY KEY (tenant, account, seq));
CREATE TABLE bank.mandate(tenant bigint NOT NULL, id bigint NOT NULL, account int, state text DEFAULT 'new', parent bigint, note text, PRIMARY KEY (tenant, id));
CREATE TABLE bank.token(tenant bigint NOT NULL, token text PRIMARY KEY, uses int);
CREATE TABLE bank.country(code text PRIMARY KEY, name text);
CREATE TABLE bank.secret(id int PRIMARY KEY, tenant bigint, word text);
CREATE INDEX ON bank.entry(amount); CREATE INDEX ON bank.mandate(parent);
CREATE FUNCTION pg_temp.org(t int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$SELECT 9000000000 + t$$;
CREATE FUNCTION pg_temp.size(t int) RETURNS int LANGUAGE sql IMMUTABLE AS $$SELECT (ARRAY[20, 90, 5, 40])[t]$$;
CREATE FUNCTION pg_temp.code(t int, i int) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT CASE WHEN t = 2 THEN ((i * 3) % 50)::text WHEN i % 2 = 0 THEN 'zq' || t || 'x[' || i ELSE 'zq' || t || 'x' || i || '\' END$$;
INSERT INTO bank.account SELECT i, 'zq' || t || 'x-owner-' || i, pg_temp.org(t), 'IB' || i * 3, i * t * 77, ARRAY[i % 5, t], TIMESTAMP '2023-01-01' + i * t * interval '1 day', i * 1.5 FROM generate_series(1, 4) t, generate_series(1, pg_temp.size(t)) i;
INSERT INTO bank.entry SELECT pg_temp.org(t), 1 + i % 12, i, CASE WHEN i % 6 = 5 THEN NULL WHEN t = 1 THEN 1e400 ELSE i * t * 10.5 END, 'zq' || t || 'x-memo-' || i, pg_temp.code(t, i), json_build_object('t', t, 'i', i % 4) FROM generate_series(1, 4) t, generate_series(1, pg_temp.size(t)) i;
INSERT INTO bank.mandate SELECT pg_temp.org(t), i, 1 + (i * t) % 9, (ARRAY['new', 'live', 'dead'])[1 + i % 3], nullif(i / 2, 0), CASE WHEN i % 4 = 0 THEN NULL ELSE 'zq' || t || 'x-note-' || i END FROM generate_series(1, 4) t, generate_series(1, 8 + 2 * t) i;
INSERT INTO bank.token SELECT pg_temp.org(1 + i % 3), 'tok' || i, i FROM generate_series(1, 15) i;
INSERT INTO bank.country VALUES ('de', 'Germany'), ('fr', 'France'), ('in', 'India');
INSERT INTO bank.secret SELECT i, pg_temp.org(1 + i % 3), 'zq' || 1 + i % 3 || 'x-word' FROM generate_series(1, 6) i;
CREATE VIEW bank.live AS SELECT m.tenant, m.id, m.account, a.owner FROM bank.mandate m JOIN bank.account a ON a.tenant = m.tenant AND a.id = m.account WHERE m.state = 'live';
ANALYZE;
