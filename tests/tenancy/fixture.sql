CREATE SCHEMA app;
CREATE TABLE app.orders(tenant_id int NOT NULL DEFAULT 0, id int NOT NULL, customer_id int, amount int, note text, status text DEFAULT 'new', doc jsonb, created_at timestamptz DEFAULT '2024-01-01', PRIMARY KEY (tenant_id,id));
CREATE TABLE app.customers(tenant_id int NOT NULL, id int NOT NULL, name text, email text, ref_by int, PRIMARY KEY (tenant_id,id), UNIQUE (tenant_id,email));
CREATE TABLE app.items(tenant_id int NOT NULL, order_id int NOT NULL, line int NOT NULL, sku text, qty int, PRIMARY KEY (tenant_id,order_id,line));
CREATE TABLE app.accounts(tenant_id int NOT NULL, id int PRIMARY KEY, login text UNIQUE, balance int);      -- global keys on purpose
CREATE TABLE app.docs_u(tenant_id uuid NOT NULL, id int NOT NULL, body text, PRIMARY KEY (tenant_id,id));
CREATE TABLE app.docs_t(tenant_id text NOT NULL, id int NOT NULL, body text, PRIMARY KEY (tenant_id,id));
CREATE TABLE app."Orders"(tenant_id int NOT NULL, id int NOT NULL, v text, PRIMARY KEY (tenant_id,id));
CREATE TABLE app.tree(tenant_id int NOT NULL, id int NOT NULL, parent int, label text, PRIMARY KEY (tenant_id,id));
CREATE TABLE app.countries(code text PRIMARY KEY, name text);                                              -- shared, read-only
CREATE TABLE app.audit_log(id int PRIMARY KEY, tenant_id int, msg text);                                   -- undeclared
CREATE INDEX ON app.orders(customer_id); CREATE INDEX ON app.orders(amount); CREATE INDEX ON app.customers(email);
INSERT INTO app.orders SELECT t, i, ((i*t)%7)+1, i*10*t, 'note-'||t||'-'||i, (ARRAY['new','paid','void'])[1+i%3], jsonb_build_object('t',t,'i',i) FROM generate_series(1,3) t, generate_series(1,12) i;
UPDATE app.orders SET amount=NULL WHERE id=11;
INSERT INTO app.orders(tenant_id,id,customer_id,amount,note) VALUES (1,13,1,130,'note-1-13('),(3,13,1,390,'note-3-13\');  -- traps for loud predicates
INSERT INTO app.customers SELECT t, i, 'c'||t||'_'||i, CASE WHEN i=5 THEN NULL ELSE 'u'||i||'@t'||t END, NULLIF((i*t)%9,0) FROM generate_series(1,3) t, generate_series(1,9) i;
INSERT INTO app.items SELECT t, o, l, 'sku'||((o+l*t)%5), l*t FROM generate_series(1,3) t, generate_series(1,14) o, generate_series(1,3) l WHERE (o+l+t)%4<>0;
INSERT INTO app.accounts SELECT 1+(i%3), i, 'login'||i, i*100 FROM generate_series(1,12) i;
INSERT INTO app.docs_u SELECT ('00000000-0000-0000-0000-00000000000'||t)::uuid, i, 'u'||t||i FROM generate_series(1,3) t, generate_series(1,4) i;
INSERT INTO app.docs_t SELECT 'acme'||t, i, 't'||t||i FROM generate_series(1,3) t, generate_series(1,4) i;
INSERT INTO app."Orders" SELECT t, i, 'Q'||t||i FROM generate_series(1,3) t, generate_series(1,3) i;
INSERT INTO app.tree SELECT t, i, NULLIF(i/2,0), 'n'||t||i FROM generate_series(1,3) t, generate_series(1,9) i;
INSERT INTO app.countries VALUES('de','Germany'),('fr','France'),('in','India');
INSERT INTO app.audit_log SELECT i, 1+i%3, 'm'||i FROM generate_series(1,6) i;
CREATE VIEW app.v_orders AS SELECT * FROM app.orders WHERE status<>'void';
CREATE VIEW app.v_totals AS SELECT tenant_id, customer_id, sum(amount) AS total FROM app.orders GROUP BY tenant_id, customer_id;
CREATE VIEW app.v_rank AS SELECT tenant_id, id, rank() OVER (ORDER BY amount) AS r FROM app.orders;
ANALYZE;
