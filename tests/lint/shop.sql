-- A shop, written by hand for PostgreSQL.
CREATE TYPE order_state AS ENUM ('cart', 'placed', 'paid', 'shipped', 'cancelled');

CREATE TABLE categories (
    id serial PRIMARY KEY,
    parent_id integer REFERENCES categories (id),
    name text NOT NULL,
    slug varchar(120) NOT NULL UNIQUE
);

CREATE TABLE products (
    id serial PRIMARY KEY,
    category_id integer NOT NULL REFERENCES categories (id) ON DELETE RESTRICT,
    sku varchar(40) NOT NULL,
    name text NOT NULL,
    description text,
    price numeric(12,2) NOT NULL CHECK (price >= 0),
    tax_rate numeric NOT NULL DEFAULT 0.19,
    attributes jsonb NOT NULL DEFAULT '{}'::jsonb,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT products_sku_key UNIQUE (sku)
);

CREATE TABLE customers (
    id bigserial PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    phone text,
    loyalty_points integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE orders (
    id bigserial PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers (id),
    state order_state NOT NULL DEFAULT 'cart',
    placed_at timestamptz,
    total numeric(12,2) NOT NULL DEFAULT 0,
    note text
) WITH (fillfactor = 80);

CREATE TABLE order_items (
    order_id bigint NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    line smallint NOT NULL,
    product_id integer NOT NULL REFERENCES products (id),
    quantity integer NOT NULL CHECK (quantity > 0),
    unit_price numeric(12,2) NOT NULL,
    amount numeric(14,2) GENERATED ALWAYS AS (quantity * unit_price) STORED,
    PRIMARY KEY (order_id, line)
);

CREATE UNLOGGED TABLE carts_scratch (
    session_id uuid PRIMARY KEY,
    payload json
);

CREATE TABLE price_history (
    product_id integer NOT NULL REFERENCES products (id),
    valid tstzrange NOT NULL,
    price numeric(12,2) NOT NULL,
    EXCLUDE USING gist (product_id WITH =, valid WITH &&)
);

CREATE INDEX products_category_idx ON products (category_id);
CREATE INDEX products_name_idx ON products (lower(name));
CREATE INDEX products_active_idx ON products (created_at DESC) WHERE active;
CREATE INDEX products_attributes_idx ON products USING gin (attributes);
CREATE INDEX orders_customer_idx ON orders USING btree (customer_id, placed_at DESC NULLS LAST);

CREATE VIEW sales AS
SELECT p.id, p.name, sum(i.quantity) AS pieces, sum(i.amount) AS revenue
FROM products p
JOIN order_items i ON i.product_id = p.id
JOIN orders o ON o.id = i.order_id
WHERE o.state <> 'cancelled'
GROUP BY p.id, p.name;

CREATE MATERIALIZED VIEW top_customers AS
SELECT customer_id, count(*) FROM orders GROUP BY customer_id;

INSERT INTO categories (name, slug) VALUES ('Tools', 'tools'), ('Garden', 'garden');
INSERT INTO categories (parent_id, name, slug) VALUES (1, 'Hammers', 'hammers');
INSERT INTO products (category_id, sku, name, price) VALUES
    (3, 'H-1', 'Small hammer', 9.90),
    (3, 'H-2', 'Large hammer', 19.90),
    (2, 'G-1', 'Rake', 14.50);
INSERT INTO customers (email, name) VALUES ('ann@example.com', 'Ann'), ('bob@example.com', 'Bob');
INSERT INTO orders (customer_id, state, placed_at) VALUES (1, 'paid', '2026-05-01 10:00+00');
INSERT INTO order_items (order_id, line, product_id, quantity, unit_price) VALUES (1, 1, 1, 2, 9.90);
UPDATE orders SET total = (SELECT sum(amount) FROM order_items WHERE order_id = orders.id);
SELECT name, revenue FROM sales ORDER BY revenue DESC;
