-- Sample data of `dsql-proxy dev`: two tenants, one shared table. Run once, by admin.
BEGIN;

CREATE TABLE countries (
    code text PRIMARY KEY,
    name text NOT NULL
);

CREATE TABLE customers (
    tenant_id text NOT NULL,
    id bigint NOT NULL,
    name text NOT NULL,
    email text,
    country_code text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE orders (
    tenant_id text NOT NULL,
    id bigint NOT NULL,
    customer_id bigint NOT NULL,
    amount numeric(12,2) NOT NULL,
    note text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

INSERT INTO countries (code, name) VALUES
    ('AT', 'Austria'), ('BR', 'Brazil'), ('CA', 'Canada'), ('DE', 'Germany'),
    ('FR', 'France'), ('IN', 'India'), ('JP', 'Japan'), ('KE', 'Kenya'),
    ('NO', 'Norway'), ('US', 'United States');

INSERT INTO customers (tenant_id, id, name, email, country_code, created_at)
SELECT tenant, n,
       initcap(tenant) || ' customer ' || n,
       'customer' || n || '@' || tenant || '.example',
       (ARRAY['AT', 'BR', 'CA', 'DE', 'FR', 'IN', 'JP', 'KE', 'NO', 'US'])[1 + n % 10],
       timestamptz '2026-01-01 00:00:00Z' + n * interval '7 hours'
FROM unnest(ARRAY['acme', 'globex']) AS tenant, generate_series(1, 100) AS n;

INSERT INTO orders (tenant_id, id, customer_id, amount, note, created_at)
SELECT tenant, n,
       1 + (n * 7) % 100,
       ((n * 1237) % 100000) / 100.0,
       CASE WHEN n % 3 = 0 THEN 'order ' || n || ' of ' || tenant END,
       timestamptz '2026-02-01 00:00:00Z' + n * interval '53 minutes'
FROM unnest(ARRAY['acme', 'globex']) AS tenant, generate_series(1, 300) AS n;

COMMIT;
