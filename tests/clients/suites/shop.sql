-- A shop: what a PostgreSQL application of some years has, as far as its dump goes. Of the size of the
-- known sample databases: 16 tables, 4 views, 40,000 rows.
CREATE SCHEMA sales;
COMMENT ON SCHEMA sales IS 'orders and what belongs to them';

CREATE TABLE regions (id smallint PRIMARY KEY, name varchar(40) NOT NULL UNIQUE);
CREATE TABLE countries (
    code char(2) PRIMARY KEY, name varchar(60) NOT NULL, region_id smallint NOT NULL REFERENCES regions (id));
CREATE TABLE cities (
    id serial PRIMARY KEY, name text NOT NULL, country char(2) NOT NULL REFERENCES countries (code),
    population bigint CHECK (population >= 0));
CREATE INDEX cities_name_idx ON cities (lower(name));
CREATE TABLE addresses (
    id serial PRIMARY KEY, street varchar(120) NOT NULL, zip varchar(12), city_id integer NOT NULL REFERENCES cities (id));
CREATE TABLE suppliers (
    id serial PRIMARY KEY, company varchar(80) NOT NULL, contact varchar(60), address_id integer REFERENCES addresses (id),
    homepage text, active boolean DEFAULT true NOT NULL);
CREATE TABLE categories (
    id serial PRIMARY KEY, name varchar(40) NOT NULL, parent_id integer REFERENCES categories (id) ON DELETE SET NULL,
    CONSTRAINT categories_name_key UNIQUE (name));
CREATE TABLE products (
    id serial PRIMARY KEY, sku varchar(20) NOT NULL, name varchar(120) NOT NULL, category_id integer NOT NULL,
    supplier_id integer REFERENCES suppliers (id), price numeric(10,2) DEFAULT 0 NOT NULL, weight real, details jsonb,
    added date DEFAULT CURRENT_DATE NOT NULL, CONSTRAINT products_price_check CHECK (price >= 0));
ALTER TABLE products ADD CONSTRAINT products_sku_key UNIQUE (sku);
ALTER TABLE products ADD CONSTRAINT products_category_fkey FOREIGN KEY (category_id) REFERENCES categories (id);
CREATE INDEX products_category_idx ON products USING btree (category_id);
CREATE INDEX products_price_idx ON products (price DESC, name);
COMMENT ON TABLE products IS 'what is sold';
COMMENT ON COLUMN products.sku IS 'stock keeping unit';
CREATE TABLE warehouses (id serial PRIMARY KEY, name varchar(40) NOT NULL, address_id integer REFERENCES addresses (id));
CREATE TABLE stock (
    warehouse_id integer NOT NULL REFERENCES warehouses (id), product_id integer NOT NULL REFERENCES products (id),
    quantity integer DEFAULT 0 NOT NULL CHECK (quantity >= 0), counted_at timestamp with time zone,
    PRIMARY KEY (warehouse_id, product_id));
CREATE TABLE sales.customers (
    id serial PRIMARY KEY, email varchar(120) NOT NULL, name varchar(80) NOT NULL, address_id integer,
    created_at timestamp without time zone DEFAULT now() NOT NULL, notes text,
    CONSTRAINT customers_email_key UNIQUE (email),
    CONSTRAINT customers_address_fkey FOREIGN KEY (address_id) REFERENCES addresses (id));
CREATE TABLE sales.employees (
    id serial PRIMARY KEY, name varchar(80) NOT NULL, boss_id integer REFERENCES sales.employees (id), hired date NOT NULL,
    salary numeric(9,2), photo bytea);
CREATE SEQUENCE sales.order_number START WITH 1000;
CREATE TABLE sales.orders (
    id bigserial PRIMARY KEY, number bigint DEFAULT nextval('sales.order_number'::regclass) NOT NULL UNIQUE,
    customer_id integer NOT NULL REFERENCES sales.customers (id), employee_id integer REFERENCES sales.employees (id),
    ordered_at timestamp with time zone NOT NULL, shipped_at timestamp with time zone, state varchar(10) DEFAULT 'new' NOT NULL,
    CONSTRAINT orders_state_check CHECK (state IN ('new', 'paid', 'sent', 'done')),
    CONSTRAINT orders_dates_check CHECK (shipped_at IS NULL OR shipped_at >= ordered_at));
CREATE INDEX orders_customer_idx ON sales.orders (customer_id, ordered_at);
CREATE INDEX orders_open_idx ON sales.orders (ordered_at) WHERE state <> 'done';
CREATE TABLE sales.lines (
    order_id bigint NOT NULL REFERENCES sales.orders (id) ON DELETE CASCADE, position smallint NOT NULL,
    product_id integer NOT NULL REFERENCES products (id), quantity integer NOT NULL, price numeric(10,2) NOT NULL,
    discount real DEFAULT 0 NOT NULL, PRIMARY KEY (order_id, position));
CREATE TABLE sales.payments (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY, order_id bigint NOT NULL REFERENCES sales.orders (id),
    amount numeric(12,2) NOT NULL, paid_at timestamp with time zone NOT NULL, reference text);
CREATE TABLE sales.reviews (
    product_id integer NOT NULL REFERENCES products (id), customer_id integer NOT NULL REFERENCES sales.customers (id),
    stars smallint NOT NULL CHECK (stars BETWEEN 1 AND 5), words text, PRIMARY KEY (product_id, customer_id));
CREATE TABLE sales.log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamp with time zone DEFAULT now() NOT NULL, entry text NOT NULL);

CREATE VIEW product_list AS
    SELECT p.id, p.sku, p.name, c.name AS category, p.price FROM products p JOIN categories c ON c.id = p.category_id;
CREATE VIEW sales.order_totals AS
    SELECT o.id, o.number, sum(l.quantity * l.price) AS total FROM sales.orders o JOIN sales.lines l ON l.order_id = o.id GROUP BY o.id, o.number;
CREATE VIEW sales.best_customers AS
    SELECT c.id, c.name, sum(t.total) AS total FROM sales.customers c JOIN sales.orders o ON o.customer_id = c.id
    JOIN sales.order_totals t ON t.id = o.id GROUP BY c.id, c.name;
CREATE VIEW low_stock AS SELECT product_id, sum(quantity) AS quantity FROM stock GROUP BY product_id HAVING sum(quantity) < 20;
CREATE FUNCTION sales.gross(net numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT round(net * 1.19, 2)';

INSERT INTO regions SELECT n, 'region ' || n FROM generate_series(1, 5) n;
INSERT INTO countries SELECT chr(65 + n / 10) || chr(65 + n % 10), 'country ' || n, 1 + n % 5 FROM generate_series(0, 99) n;
INSERT INTO cities (name, country, population)
    SELECT 'city ' || n, chr(65 + n % 100 / 10) || chr(65 + n % 10), n * 1000 FROM generate_series(1, 600) n;
INSERT INTO addresses (street, zip, city_id) SELECT n || ' main street', lpad(n::text, 5, '0'), 1 + n % 600 FROM generate_series(1, 1500) n;
INSERT INTO suppliers (company, contact, address_id) SELECT 'supplier ' || n, NULL, n FROM generate_series(1, 60) n;
INSERT INTO categories (name, parent_id) SELECT 'category ' || n, nullif(n / 4, 0) FROM generate_series(1, 40) n;
INSERT INTO products (sku, name, category_id, supplier_id, price, weight, details)
    SELECT 'SKU' || n, 'product ' || n || E'\twith "quotes"', 1 + n % 40, 1 + n % 60, n % 500 + 0.99, n / 7.0,
        jsonb_build_object('color', n % 9, 'tags', jsonb_build_array('a', n)) FROM generate_series(1, 1000) n;
INSERT INTO warehouses (name, address_id) SELECT 'warehouse ' || n, n FROM generate_series(1, 4) n;
INSERT INTO stock SELECT 1 + n % 4, 1 + n / 4, n % 50, timestamptz '2026-01-01 00:00:00+00' + n * interval '1 minute' FROM generate_series(0, 3999) n;
INSERT INTO sales.customers (email, name, address_id, created_at)
    SELECT 'c' || n || '@example.com', E'Ren\u00e9 ' || n, 1 + n % 1500, timestamp '2024-01-01' + n * interval '1 hour' FROM generate_series(1, 2000) n;
INSERT INTO sales.employees (name, boss_id, hired, salary, photo)
    SELECT 'employee ' || n, nullif(n / 5, 0), date '2020-01-01' + n, n * 100.5, decode(md5(n::text), 'hex') FROM generate_series(1, 50) n;
INSERT INTO sales.orders (customer_id, employee_id, ordered_at, shipped_at, state)
    SELECT 1 + n % 2000, 1 + n % 50, timestamptz '2025-01-01 00:00:00+00' + n * interval '1 hour', NULL,
        (ARRAY['new', 'paid', 'sent', 'done'])[1 + n % 4] FROM generate_series(1, 5000) n;
INSERT INTO sales.lines SELECT 1 + n / 3, n % 3, 1 + n % 1000, 1 + n % 5, n % 90 + 0.5, 0 FROM generate_series(0, 14999) n;
INSERT INTO sales.payments (order_id, amount, paid_at) SELECT n, n * 1.5, timestamptz '2025-02-01 00:00:00+00' FROM generate_series(1, 4000) n;
INSERT INTO sales.reviews SELECT 1 + n % 1000, 1 + n % 2000, 1 + n % 5, NULL FROM generate_series(1, 2000) n;
INSERT INTO sales.log (entry) SELECT E'line one\nline ' || n FROM generate_series(1, 3500) n;
