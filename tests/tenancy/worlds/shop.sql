-- Tenants of type uuid, in a column that is not the first of every table; two schemas with a table of
-- the same name; arrays, dates, numbers of any size. Tenant 2 has plain values in `code`, the others
-- values on which casts and regular expressions fail. Sizes: 120, 25, 6, 60.
CREATE SCHEMA shop; CREATE SCHEMA crm;
CREATE TABLE shop.product(org uuid NOT NULL, sku text NOT NULL, name text, code text, price numeric(10,2), stock int, tags text[], added date, PRIMARY KEY (org, sku));
CREATE TABLE shop.purchase(id bigint NOT NULL, org uuid NOT NULL, buyer int, sku text, quantity int, paid boolean, placed timestamptz, remark varchar(200), PRIMARY KEY (id, org));
CREATE TABLE crm.buyer(org uuid NOT NULL, id int NOT NULL, name text NOT NULL, mail text, score numeric, born date, code text, PRIMARY KEY (org, id), UNIQUE (org, mail));
CREATE TABLE crm.product(org uuid NOT NULL, id int NOT NULL, body text, PRIMARY KEY (org, id));
CREATE TABLE shop.currency(code text PRIMARY KEY, label text, rate numeric(8,4));
CREATE TABLE shop.ledger(id int PRIMARY KEY, org uuid, amount int);
CREATE INDEX ON shop.purchase(buyer); CREATE INDEX ON shop.product(stock);
CREATE FUNCTION pg_temp.org(t int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$SELECT ('00000000-0000-4000-8000-00000000000' || t)::uuid$$;
CREATE FUNCTION pg_temp.size(t int) RETURNS int LANGUAGE sql IMMUTABLE AS $$SELECT (ARRAY[120, 25, 6, 60])[t]$$;
CREATE FUNCTION pg_temp.code(t int, i int) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT CASE WHEN t = 2 THEN ((i * 7) % 40)::text WHEN i % 3 = 0 THEN 'zq' || t || 'x(' || i WHEN i % 3 = 1 THEN 'zq' || t || 'x' || i || '\' ELSE NULL END$$;
INSERT INTO shop.product SELECT pg_temp.org(t), 's' || i, 'zq' || t || 'x-name-' || i, pg_temp.code(t, i), CASE WHEN i % 7 = 3 THEN NULL ELSE i * t * 1.25 END, (i * t) % 13, ARRAY['zq' || t || 'x', 'k' || i % 3], DATE '2024-01-01' + (i * t) % 90 FROM generate_series(1, 4) t, generate_series(1, pg_temp.size(t)) i;
INSERT INTO shop.purchase SELECT i, pg_temp.org(t), (i * t) % 11, 's' || (i * t) % 20, CASE WHEN i % 9 = 0 THEN NULL ELSE (i * t) % 8 END, i % 3 = 0, TIMESTAMPTZ '2024-02-01 00:00Z' + i * t * interval '1 hour', 'zq' || t || 'x-remark-' || i FROM generate_series(1, 4) t, generate_series(1, pg_temp.size(t)) i;
INSERT INTO crm.buyer SELECT pg_temp.org(t), i, 'zq' || t || 'x-buyer-' || i, CASE WHEN i % 5 = 0 THEN NULL ELSE 'm' || i || '@zq' || t || 'x' END, CASE WHEN t = 3 THEN 1e400 ELSE i * t * 3.5 END, CASE WHEN i % 4 = 1 THEN NULL ELSE DATE '1980-01-01' + i * t * 100 END, pg_temp.code(t, i) FROM generate_series(1, 4) t, generate_series(1, 9 + t) i;
INSERT INTO crm.product SELECT pg_temp.org(t), i, 'zq' || t || 'x-body-' || i FROM generate_series(1, 4) t, generate_series(1, 5 * t) i;
INSERT INTO shop.currency VALUES ('eur', 'Euro', 1), ('inr', 'Rupee', 0.0105), ('usd', 'Dollar', 0.92);
INSERT INTO shop.ledger SELECT i, pg_temp.org(1 + i % 4), i * 100 FROM generate_series(1, 9) i;
CREATE VIEW shop.paid AS SELECT org, id, buyer, quantity FROM shop.purchase WHERE paid;
CREATE VIEW shop.stocked AS SELECT org, sku, rank() OVER (ORDER BY stock) AS place FROM shop.product;
ANALYZE;
