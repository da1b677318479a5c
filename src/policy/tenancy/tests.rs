//! Statements in, texts or refusals out, on the tables of a small shop.

use super::catalog::{Column, Key, Relation, RelationKind};
use super::*;
use crate::sql::tree::nesting;
use std::time::Instant;

const POLICY: &str = "
version: 1
search_path: [app]
tenant: {type: integer, values: {'2': {text: acme}}}
tables: {app.orders: {}, app.items: {}, app.docs: {column: owner, type: text}, app.keys: {existence_oracle: accept}, app.Orders: {}, app.uuids: {type: uuid}, app.blobs: {}, app.days: {}}
shared: {app.countries: {access: read}}
views: {app.v: {mode: inline}, app.hidden: {mode: refuse}, app.spy: {mode: inline}, app.loop: {mode: inline}}
functions: {allow: ['app.fx(integer)']}
settings: {allow: [application_name]}
";

/// Name, columns with their types, keys with the primary one first.
type Table = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static [&'static str]],
);

fn relation(columns: &[(&str, &str)], keys: &[&[&str]]) -> Relation {
    let column = |(name, kind): &(&str, &str)| Column {
        name: (*name).to_owned(),
        type_name: (*kind).to_owned(),
        not_null: true,
    };
    let mut relation = Relation::new(RelationKind::Table, columns.iter().map(column).collect());
    relation.keys = keys
        .iter()
        .enumerate()
        .map(|(index, columns)| Key {
            name: format!("k{index}"),
            columns: columns
                .iter()
                .map(|name| Some((*name).to_owned()))
                .collect(),
            primary: index == 0,
        })
        .collect();
    relation
}

fn catalog() -> Catalog {
    const ORDERS: [(&str, &str); 4] = [
        ("tenant_id", "integer"),
        ("id", "integer"),
        ("amount", "integer"),
        ("note", "text"),
    ];
    let tables: [Table; 9] = [
        ("orders", &ORDERS, &[&["tenant_id", "id"]]),
        (
            "items",
            &[
                ("tenant_id", "integer"),
                ("id", "integer"),
                ("order_id", "integer"),
            ],
            &[&["tenant_id", "id"]],
        ),
        (
            "docs",
            &[("owner", "text"), ("body", "text")],
            &[&["owner"]],
        ),
        (
            "keys",
            &[
                ("tenant_id", "integer"),
                ("id", "integer"),
                ("login", "text"),
            ],
            &[&["id"]],
        ),
        (
            "Orders",
            &[("tenant_id", "integer"), ("v", "text")],
            &[&["tenant_id", "v"]],
        ),
        (
            "uuids",
            &[("tenant_id", "uuid"), ("v", "text")],
            &[&["tenant_id"]],
        ),
        (
            "blobs",
            &[
                ("tenant_id", "integer"),
                ("doc", "json"),
                ("size", "numeric"),
            ],
            &[&["tenant_id"]],
        ),
        (
            "days",
            &[
                ("tenant_id", "integer"),
                ("day", "date"),
                ("size", "numeric(12,2)"),
            ],
            &[&["tenant_id"]],
        ),
        ("countries", &[("code", "text")], &[&["code"]]),
    ];
    let mut catalog = Catalog::default();
    for (name, columns, keys) in tables {
        catalog
            .relations
            .insert(RelationName::new("app", name), relation(columns, keys));
    }
    catalog
        .relations
        .insert(RelationName::new("app", "secrets"), relation(&ORDERS, &[]));
    catalog
        .relations
        .insert(RelationName::new("other", "orders"), relation(&ORDERS, &[]));
    for (name, definition) in [
        (
            "v",
            "SELECT orders.id, orders.amount AS much FROM app.orders WHERE orders.note <> 'x'::text",
        ),
        ("hidden", "SELECT 1 AS id"),
        ("spy", "SELECT id FROM app.secrets"),
        ("loop", "SELECT id FROM app.loop"),
    ] {
        let kind = RelationKind::View {
            definition: definition.to_owned(),
            reads: Vec::new(),
        };
        let columns = vec![Column {
            name: "id".to_owned(),
            type_name: "integer".to_owned(),
            not_null: false,
        }];
        catalog
            .relations
            .insert(RelationName::new("app", name), Relation::new(kind, columns));
    }
    catalog
}

fn ask(text: &str) -> Result<String, Refusal> {
    let policy = Policy::parse(POLICY).unwrap();
    let tenant = policy.tenant_named("2").unwrap();
    let statements = Statement::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let isolated = isolate_all(&statements, &policy, &catalog(), &tenant)?;
    let texts: Vec<String> = isolated
        .into_iter()
        .map(|statement| statement.text)
        .collect();
    Ok(texts.join("; "))
}

/// `W1` to `W9` stand for wraps, `F1` to `F9` for fences, `¤` for the tenant, `O=` for equality.
fn expand(text: &str) -> String {
    let mut text = text.to_owned();
    for number in 1..=9 {
        for table in ["orders", "items", "blobs", "days"] {
            let wrap = |end: &str| {
                format!(
                    "(SELECT __t{number}.* FROM app.{table} __t{number} WHERE __t{number}.tenant_id O= ¤{end})"
                )
            };
            text = text.replace(&format!("W{number}.{table}"), &wrap(""));
            text = text.replace(&format!("F{number}.{table}"), &wrap(" OFFSET 0"));
        }
    }
    text.replace("O=", "OPERATOR(pg_catalog.=)")
        .replace('¤', "'2'::int")
}

#[test]
fn accepted_statements_read_like_this() {
    let cases = [
        ("SELECT id FROM orders", "SELECT id FROM W1.orders orders"),
        (
            "SELECT o.id FROM ONLY app.orders AS o",
            "SELECT o.id FROM (SELECT __t1.* FROM ONLY app.orders __t1 WHERE __t1.tenant_id O= ¤) o",
        ),
        (
            "SELECT app.orders.id FROM app.orders",
            "SELECT orders.id FROM W1.orders orders",
        ),
        (
            "SELECT a FROM orders o(a, b) WHERE a = 2 OR true",
            "SELECT a FROM W1.orders o(a, b) WHERE a = 2 OR true",
        ),
        (
            "SELECT 1 FROM orders o LEFT JOIN items i ON i.id = o.id",
            "SELECT 1 FROM W1.orders o LEFT JOIN W2.items i ON i.id = o.id",
        ),
        (
            "SELECT lower(note) FROM orders",
            "SELECT pg_catalog.lower(note) FROM W1.orders orders",
        ),
        (
            "SELECT * FROM unnest($1, $2) WITH ORDINALITY u(a, b)",
            "SELECT * FROM ROWS FROM (pg_catalog.unnest($1) , pg_catalog.unnest($2) ) WITH ORDINALITY u(a, b)",
        ),
        (
            "SELECT * FROM ROWS FROM (unnest($1, $2), generate_series(1, 2)) u",
            "SELECT * FROM ROWS FROM (pg_catalog.unnest($1) , pg_catalog.unnest($2) , pg_catalog.generate_series(1, 2) ) u",
        ),
        (
            "SELECT '1'::int8, x::text FROM (SELECT 1) t(x)",
            "SELECT '1'::bigint, x::pg_catalog.text FROM (SELECT 1) t(x)",
        ),
        (
            "SELECT code FROM countries",
            "SELECT code FROM app.countries countries",
        ),
        (
            "SELECT v FROM \"Orders\"",
            "SELECT v FROM (SELECT __t1.* FROM app.\"Orders\" __t1 WHERE __t1.tenant_id O= ¤) \"Orders\"",
        ),
        (
            "SELECT body FROM docs",
            "SELECT body FROM (SELECT __t1.* FROM app.docs __t1 WHERE __t1.owner O= 'acme'::pg_catalog.text) docs",
        ),
        (
            "SELECT much FROM v",
            "SELECT much FROM (SELECT orders.id, orders.amount AS much FROM W1.orders orders WHERE orders.note <> 'x'::pg_catalog.text) v",
        ),
        // Names and scopes.
        (
            "WITH orders AS (SELECT 1 AS id) SELECT id FROM orders",
            "WITH orders AS (SELECT 1 AS id) SELECT id FROM orders",
        ),
        (
            "WITH orders AS (SELECT * FROM orders) SELECT 1 FROM orders",
            "WITH orders AS (SELECT * FROM W1.orders orders) SELECT 1 FROM orders",
        ),
        (
            "WITH RECURSIVE a AS (SELECT * FROM orders), orders AS (SELECT 1) SELECT 1 FROM a",
            "WITH RECURSIVE a AS (SELECT * FROM orders), orders AS (SELECT 1) SELECT 1 FROM a",
        ),
        (
            "WITH orders AS (SELECT 1) SELECT 1 FROM app.orders",
            "WITH orders AS (SELECT 1) SELECT 1 FROM W1.orders orders",
        ),
        (
            "SELECT (WITH orders AS (SELECT 1) SELECT 1 FROM orders), (SELECT count(*) FROM orders)",
            "SELECT (WITH orders AS (SELECT 1) SELECT 1 FROM orders), (SELECT pg_catalog.count(*) FROM W1.orders orders)",
        ),
        (
            "SELECT 1 FROM (WITH orders AS (SELECT 1) SELECT 1 FROM orders) a, orders",
            "SELECT 1 FROM (WITH orders AS (SELECT 1) SELECT 1 FROM orders) a, W1.orders orders",
        ),
        (
            "DELETE FROM items USING (WITH items AS (SELECT 1) SELECT 1 FROM items) a, items i",
            "DELETE FROM app.items USING (WITH items AS (SELECT 1) SELECT 1 FROM items) a, W1.items i WHERE items.tenant_id O= ¤",
        ),
        (
            "WITH orders AS (SELECT 1 AS id) DELETE FROM orders",
            "WITH orders AS (SELECT 1 AS id) DELETE FROM app.orders WHERE orders.tenant_id O= ¤",
        ),
        // Loud conditions.
        (
            "SELECT id FROM orders WHERE length(note, 'UTF8') > 0",
            "SELECT id FROM app.orders orders WHERE orders.tenant_id O= ¤ AND CASE WHEN orders.tenant_id O= ¤ THEN pg_catalog.length(note, 'UTF8') > 0 ELSE false END",
        ),
        (
            "SELECT x, y FROM unnest($1::int4[], $2::text[]) u(x, y)",
            "SELECT x, y FROM ROWS FROM (pg_catalog.unnest($1::int[]) , pg_catalog.unnest($2::pg_catalog.text[]) ) u(x, y)",
        ),
        (
            "SELECT (SELECT max(i.id) FROM items i) FROM orders GROUP BY (SELECT max(i.id) FROM items i)",
            "SELECT (SELECT pg_catalog.max(i.id) FROM W2.items i) FROM W1.orders orders GROUP BY (SELECT pg_catalog.max(i.id) FROM W2.items i)",
        ),
        ("SET search_path TO app", "SET search_path TO pg_catalog"),
        (
            "SET standard_conforming_strings = on",
            "SET standard_conforming_strings TO ON",
        ),
        (
            "SELECT 1 FROM orders WHERE 1 / amount > 0",
            "SELECT 1 FROM app.orders orders WHERE orders.tenant_id O= ¤ AND CASE WHEN orders.tenant_id O= ¤ THEN 1 / amount > 0 ELSE false END",
        ),
        (
            "SELECT 1 FROM orders o JOIN items i ON i.id = o.id AND 'x' ~ o.note",
            "SELECT 1 FROM F1.orders o JOIN F2.items i ON i.id = o.id AND 'x' ~ o.note",
        ),
        (
            "SELECT 1 / amount FROM orders ORDER BY amount + 1",
            "SELECT 1 / amount FROM W1.orders orders ORDER BY amount + 1",
        ),
        (
            "SELECT 1 FROM orders WHERE id = 7 AND 1 / amount > 0",
            "SELECT 1 FROM app.orders orders WHERE orders.tenant_id O= ¤ AND id = 7 AND CASE WHEN orders.tenant_id O= ¤ THEN 1 / amount > 0 ELSE false END",
        ),
        // What is more than one table stays fenced.
        (
            "SELECT 1 FROM orders WHERE 1 / amount > 0 AND EXISTS (SELECT 1 FROM items)",
            "SELECT 1 FROM F1.orders orders WHERE 1 / amount > 0 AND EXISTS (SELECT 1 FROM F2.items items)",
        ),
        (
            "SELECT (SELECT max(id) FROM items) FROM orders WHERE 1 / amount > 0",
            "SELECT (SELECT pg_catalog.max(id) FROM F2.items items) FROM F1.orders orders WHERE 1 / amount > 0",
        ),
        (
            "SELECT 1 FROM orders WHERE 1 / amount > 0 UNION SELECT 2",
            "SELECT 1 FROM F1.orders orders WHERE 1 / amount > 0 UNION SELECT 2",
        ),
        (
            "WITH x AS (SELECT 1) SELECT 1 FROM orders WHERE 1 / amount > 0",
            "WITH x AS (SELECT 1) SELECT 1 FROM F1.orders orders WHERE 1 / amount > 0",
        ),
        (
            "SELECT 1 FROM orders o(a) WHERE 1 / o.amount > 0",
            "SELECT 1 FROM F1.orders o(a) WHERE 1 / o.amount > 0",
        ),
        (
            "SELECT 1 / amount FROM orders WHERE 1 / amount > 0 GROUP BY amount ORDER BY 1 / amount LIMIT 1",
            "SELECT 1 / amount FROM app.orders orders WHERE orders.tenant_id O= ¤ AND CASE WHEN orders.tenant_id O= ¤ THEN 1 / amount > 0 ELSE false END GROUP BY amount ORDER BY 1 / amount LIMIT 1",
        ),
        (
            "SELECT 1 FROM orders o LEFT JOIN items i ON true WHERE i.id = 7 AND o.id = $1 AND 1 / o.amount > 0",
            "SELECT 1 FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= ¤ AND __t1.id = $1 OFFSET 0) o LEFT JOIN F2.items i ON true WHERE i.id = 7 AND o.id = $1 AND 1 / o.amount > 0",
        ),
        (
            "SELECT 1 FROM orders WHERE note LIKE 'a%'",
            "SELECT 1 FROM W1.orders orders WHERE note LIKE 'a%'",
        ),
        // The planner would run these on values of others that are in the statistics.
        (
            "SELECT 1 FROM orders WHERE note LIKE 'a\\'",
            "SELECT 1 FROM F1.orders orders WHERE CASE WHEN note IS NULL THEN NULL ELSE note END LIKE E'a\\\\'",
        ),
        (
            "SELECT 1 FROM orders WHERE note LIKE $1",
            "SELECT 1 FROM F1.orders orders WHERE CASE WHEN note IS NULL THEN NULL ELSE note END LIKE $1",
        ),
        (
            "SELECT 1 FROM orders WHERE note ~~ ANY($1)",
            "SELECT 1 FROM F1.orders orders WHERE CASE WHEN note IS NULL THEN NULL ELSE note END LIKE ANY($1)",
        ),
        (
            "SELECT note LIKE $1 FROM orders",
            "SELECT note LIKE $1 FROM W1.orders orders",
        ),
        (
            "SELECT 1 FROM orders WHERE extract(foo FROM note) > amount",
            "SELECT 1 FROM app.orders orders WHERE orders.tenant_id O= ¤ AND CASE WHEN orders.tenant_id O= ¤ THEN extract ('foo' FROM note) > amount ELSE false END",
        ),
        (
            "SELECT 1 FROM orders WHERE extract(year FROM now()) > amount",
            "SELECT 1 FROM W1.orders orders WHERE extract ('year' FROM pg_catalog.now()) > amount",
        ),
        (
            "SELECT 1 FROM orders o WHERE o IS NOT NULL",
            "SELECT 1 FROM app.orders o WHERE o.tenant_id O= ¤ AND CASE WHEN o.tenant_id O= ¤ THEN o IS NOT NULL ELSE false END",
        ),
        (
            "SELECT 1 FROM orders WHERE (id, amount) = (1, 2)",
            "SELECT 1 FROM W1.orders orders WHERE (id, amount) = (1, 2)",
        ),
        (
            "SELECT 1 FROM orders o WHERE ROW(1, 2) = o",
            "SELECT 1 FROM app.orders o WHERE o.tenant_id O= ¤ AND CASE WHEN o.tenant_id O= ¤ THEN ROW(1, 2) = o ELSE false END",
        ),
        (
            "SELECT 1 FROM blobs WHERE doc ->> 'a' = 'x'",
            "SELECT 1 FROM app.blobs blobs WHERE blobs.tenant_id O= ¤ AND CASE WHEN blobs.tenant_id O= ¤ THEN doc ->> 'a' = 'x' ELSE false END",
        ),
        (
            "SELECT 1 FROM blobs WHERE size = $1",
            "SELECT 1 FROM F1.blobs blobs WHERE size = $1",
        ),
        (
            "SELECT 1 FROM blobs WHERE size = 5",
            "SELECT 1 FROM W1.blobs blobs WHERE size = 5",
        ),
        (
            "SELECT 1 FROM (SELECT 1 / amount AS x FROM orders) s",
            "SELECT 1 FROM (SELECT 1 / amount AS x FROM F1.orders orders) s",
        ),
        (
            "SELECT amount FROM orders GROUP BY amount HAVING 1 / amount > 0",
            "SELECT amount FROM F1.orders orders GROUP BY amount HAVING 1 / amount > 0",
        ),
        (
            "SELECT 1 FROM orders WHERE app.fx(amount) = 1",
            "SELECT 1 FROM app.orders orders WHERE orders.tenant_id O= ¤ AND CASE WHEN orders.tenant_id O= ¤ THEN app.fx(amount) = 1 ELSE false END",
        ),
        (
            "SELECT 1 FROM days WHERE coalesce(day, now()) > now()",
            "SELECT 1 FROM app.days days WHERE days.tenant_id O= ¤ AND CASE WHEN days.tenant_id O= ¤ THEN COALESCE(day, pg_catalog.now()) > pg_catalog.now() ELSE false END",
        ),
        (
            "SELECT 1 FROM days WHERE day > now() AND size = $1",
            "SELECT 1 FROM W1.days days WHERE day > pg_catalog.now() AND size = $1",
        ),
        (
            "SELECT 1 FROM days NATURAL JOIN days x",
            "SELECT 1 FROM F1.days days NATURAL JOIN F2.days x",
        ),
        // GROUP BY with the whole primary key.
        (
            "SELECT o.*, count(*) FROM orders o JOIN items i ON i.id = o.id GROUP BY o.tenant_id, o.id",
            "SELECT o.*, pg_catalog.count(*) FROM app.orders o JOIN W1.items i ON i.id = o.id WHERE o.tenant_id O= ¤ GROUP BY o.tenant_id, o.id",
        ),
        (
            "SELECT o.id FROM items i LEFT JOIN orders o ON true GROUP BY o.tenant_id, o.id",
            "SELECT o.id FROM W1.items i LEFT JOIN W2.orders o ON true GROUP BY o.tenant_id, o.id",
        ),
        // Writes.
        (
            "UPDATE orders SET amount = 1 WHERE id = 1 OR true",
            "UPDATE app.orders SET amount = 1 WHERE orders.tenant_id O= ¤ AND (id = 1 OR true)",
        ),
        (
            "UPDATE orders o SET amount = i.id FROM items i",
            "UPDATE app.orders o SET amount = i.id FROM W1.items i WHERE o.tenant_id O= ¤",
        ),
        (
            "UPDATE orders SET amount = 1 WHERE 1 / amount > 0 AND id = 2",
            "UPDATE app.orders SET amount = 1 WHERE orders.tenant_id O= ¤ AND CASE WHEN orders.tenant_id O= ¤ THEN 1 / amount > 0 ELSE false END AND id = 2",
        ),
        (
            "UPDATE orders SET tenant_id = 2",
            "UPDATE app.orders SET tenant_id = ¤ WHERE orders.tenant_id O= ¤",
        ),
        (
            "UPDATE orders SET tenant_id = $1",
            "UPDATE app.orders SET tenant_id = CASE WHEN $1 O= ¤ THEN ¤ END WHERE orders.tenant_id O= ¤",
        ),
        (
            "UPDATE orders SET (amount, note) = (SELECT id, 'x' FROM items) WHERE id = 1",
            "UPDATE app.orders SET (amount, note) = (SELECT id, 'x' FROM W1.items items) WHERE orders.tenant_id O= ¤ AND id = 1",
        ),
        (
            "DELETE FROM orders RETURNING id",
            "DELETE FROM app.orders WHERE orders.tenant_id O= ¤ RETURNING id",
        ),
        (
            "INSERT INTO orders (id) VALUES (1), (DEFAULT)",
            "INSERT INTO app.orders (id, tenant_id) VALUES (1, ¤), (DEFAULT, ¤)",
        ),
        (
            "INSERT INTO orders DEFAULT VALUES",
            "INSERT INTO app.orders (tenant_id) VALUES (¤)",
        ),
        (
            "INSERT INTO orders VALUES (2, 5)",
            "INSERT INTO app.orders (tenant_id, id) VALUES (¤, 5)",
        ),
        (
            "INSERT INTO orders (id, tenant_id) VALUES (1, DEFAULT)",
            "INSERT INTO app.orders (id, tenant_id) VALUES (1, ¤)",
        ),
        (
            "INSERT INTO orders (id) SELECT id FROM items UNION VALUES (1)",
            "INSERT INTO app.orders (id, tenant_id) SELECT id, ¤ FROM W1.items items UNION VALUES (1, ¤)",
        ),
        (
            "INSERT INTO items (id, order_id) SELECT * FROM items",
            "INSERT INTO app.items (id, order_id, tenant_id) SELECT *, ¤ FROM W1.items items",
        ),
        (
            "INSERT INTO orders (id) VALUES (1) ON CONFLICT (tenant_id, id) DO UPDATE SET amount = 1 WHERE 1 / orders.amount > 0",
            "INSERT INTO app.orders (id, tenant_id) VALUES (1, ¤) ON CONFLICT (tenant_id, id) DO UPDATE SET amount = 1 WHERE orders.tenant_id O= ¤ AND CASE WHEN orders.tenant_id O= ¤ THEN 1 / orders.amount > 0 ELSE false END",
        ),
        (
            "INSERT INTO keys (id) VALUES (1) ON CONFLICT DO NOTHING",
            "INSERT INTO app.keys (id, tenant_id) VALUES (1, ¤) ON CONFLICT DO NOTHING",
        ),
        // Other statements.
        (
            "COPY orders (id) TO STDOUT",
            "COPY (SELECT orders.id FROM W1.orders orders) TO STDOUT",
        ),
        (
            "COPY app.orders (note, id) FROM STDIN CSV HEADER DELIMITER ';'",
            "COPY app.orders(note, id, tenant_id) FROM STDIN WITH (FORMAT CSV, HEADER true, DELIMITER ';')",
        ),
        (
            "COPY keys (login) FROM STDIN (ENCODING 'UTF8', FORMAT csv, FORCE_NULL (login), ESCAPE '\\', HEADER match)",
            "COPY app.keys(login, tenant_id) FROM STDIN WITH (ENCODING 'UTF8', FORMAT CSV, FORCE_NULL (login), ESCAPE E'\\\\', HEADER match)",
        ),
        (
            "DECLARE c CURSOR FOR SELECT 1 FROM orders",
            "DECLARE c CURSOR FOR SELECT 1 FROM W1.orders orders",
        ),
        (
            "PREPARE p (int) AS DELETE FROM orders WHERE id = $1",
            "PREPARE p(int) AS DELETE FROM app.orders WHERE orders.tenant_id O= ¤ AND id = $1",
        ),
        ("SET application_name = 'x'", "SET application_name TO x"),
        (
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
        ),
        (
            "SELECT id FROM orders FOR UPDATE",
            "SELECT id FROM W1.orders orders FOR UPDATE",
        ),
        (
            "SELECT o.id FROM orders o, countries FOR UPDATE OF o",
            "SELECT o.id FROM W1.orders o, app.countries countries FOR UPDATE OF o",
        ),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let expected = expand(expected);
        match ask(text) {
            Ok(found) if found == expected => {}
            Ok(found) => wrong.push(format!("{text}\n  is     {found}\n  not    {expected}")),
            Err(refusal) => wrong.push(format!("{text}\n  {refusal}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn refused_statements_are_refused_for_this() {
    use Rule::*;
    let cases = [
        ("SELECT 1 FROM secrets", Relation),
        ("SELECT 1 FROM app.secrets", Relation),
        ("SELECT 1 FROM nothing", Relation),
        ("SELECT 1 FROM other.orders", Relation),
        ("SELECT 1 FROM hidden", Relation),
        ("SELECT 1 FROM spy", Relation),
        ("SELECT 1 FROM loop", View),
        ("SELECT 1 FROM pg_class", Relation),
        ("SELECT 1 FROM pg_catalog.pg_class", Relation),
        ("SELECT 1 FROM information_schema.tables", Relation),
        ("SELECT 1 FROM sys.jobs", Relation),
        ("SELECT 1 FROM postgres.app.orders", DatabaseName),
        ("DELETE FROM postgres.app.orders", DatabaseName),
        (
            "WITH pg_class AS (SELECT 1) SELECT 1 FROM pg_class",
            ReservedName,
        ),
        ("SELECT 1 FROM orders __t1", ReservedName),
        ("SELECT __t1.id FROM orders", ReservedName),
        ("SELECT 1 FROM (SELECT 1) __t1", ReservedName),
        ("WITH __t1 AS (SELECT 1) SELECT 1 FROM __t1", ReservedName),
        ("SELECT 1 AS __t1", ReservedName),
        ("SELECT 1 FROM orders o(__t1)", ReservedName),
        ("UPDATE orders __t1 SET id = 1", ReservedName),
        ("SELECT ctid FROM orders", SystemColumn),
        ("SELECT o.xmin FROM orders o", SystemColumn),
        ("SELECT orders.tableoid FROM orders", SystemColumn),
        ("DELETE FROM orders WHERE ctid = '(0,1)'", SystemColumn),
        (
            "INSERT INTO orders (id) VALUES (1) RETURNING xmax",
            SystemColumn,
        ),
        ("SELECT pg_typeof(1) = 'app.secrets'", Function),
        (
            "COPY (DELETE FROM orders RETURNING id) TO STDOUT",
            Construct,
        ),
        ("SELECT o.pg_column_size FROM orders o", Column),
        (
            "SELECT o.pg_column_size, 1 AS pg_column_size FROM orders o",
            Function,
        ),
        ("SELECT (o).id FROM orders o", Construct),
        ("SELECT (o).row_to_json FROM orders o", Construct),
        ("SELECT app.orders.id FROM orders o", SchemaOfColumn),
        ("SELECT app.items.id FROM orders", SchemaOfColumn),
        ("SELECT query_to_xml('select 1', true, true, '')", Function),
        ("SELECT pg_catalog.pg_sleep(1)", Function),
        ("SELECT app.fx(1, 2)", Function),
        ("SELECT app.gx(1)", Function),
        ("SELECT public.lower('x')", Function),
        ("SELECT 1 FROM pg_ls_dir('.')", Function),
        (
            "SELECT 1 FROM ROWS FROM (lower('x'), pg_ls_dir('.')) x",
            Function,
        ),
        (
            "SELECT count(*) FILTER (WHERE set_config('a', note, false) = '') FROM orders",
            Function,
        ),
        (
            "SELECT string_agg(note, ',' ORDER BY pg_notify('a', note)) FROM orders",
            Function,
        ),
        (
            "SELECT rank() OVER (ORDER BY lo_get(1)) FROM orders",
            Function,
        ),
        ("SELECT current_user", Function),
        ("SELECT session_user", Function),
        ("SELECT current_schema", Function),
        ("SELECT 1 OPERATOR(app.+) 2", Operator),
        (
            "SELECT 1 FROM orders ORDER BY id USING OPERATOR(app.<)",
            Operator,
        ),
        ("SELECT 'a' <-> 'b'", Operator),
        ("SELECT note @@ 'x' FROM orders", Operator),
        ("SELECT 'app.orders'::regclass", Type),
        ("SELECT CAST(id AS oid) FROM orders", Type),
        ("SELECT note::app.t FROM orders", Type),
        ("SELECT 1 FROM json_to_record('{}') AS x(a regclass)", Type),
        ("PREPARE p (regclass) AS SELECT 1", Type),
        ("SELECT note COLLATE \"de_DE\" FROM orders", Collation),
        ("SELECT 1 FROM orders TABLESAMPLE BERNOULLI (1)", Construct),
        ("SELECT xmlelement(name a)", Construct),
        (
            "SELECT * FROM XMLTABLE('/a' PASSING 'x' COLUMNS a text)",
            Construct,
        ),
        ("SELECT JSON_VALUE('{}', '$')", Construct),
        ("SET search_path = other", Setting),
        ("SET search_path = app, public", Setting),
        ("SET LOCAL role = postgres", Setting),
        ("SET ROLE postgres", Setting),
        ("SHOW ALL", Setting),
        ("SHOW data_directory", Setting),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            Setting,
        ),
        ("SET TRANSACTION SNAPSHOT 'x'", Setting),
        ("SET timezone = 'UTC'", Setting),
        ("INSERT INTO countries VALUES ('x')", SharedWrite),
        ("UPDATE countries SET code = 'x'", SharedWrite),
        ("SELECT 1 FROM countries FOR SHARE", SharedLock),
        (
            "SELECT 1 FROM orders, (SELECT 1 FROM countries) c FOR UPDATE OF c",
            SharedLock,
        ),
        ("DELETE FROM v", ViewWrite),
        ("SELECT 1 FROM uuids", NoValue),
        (
            "INSERT INTO orders (tenant_id, id) VALUES (1, 1)",
            ForeignTenant,
        ),
        (
            "INSERT INTO orders (id, tenant_id) VALUES (1, 2), (2, 3)",
            ForeignTenant,
        ),
        (
            "INSERT INTO orders (id, tenant_id) SELECT 1, NULL",
            ForeignTenant,
        ),
        ("INSERT INTO orders VALUES (3, 1)", ForeignTenant),
        ("INSERT INTO docs VALUES ('other', '')", ForeignTenant),
        ("UPDATE orders SET tenant_id = 3", ForeignTenant),
        ("UPDATE orders SET tenant_id = NULL", ForeignTenant),
        ("UPDATE orders SET tenant_id = DEFAULT", TenantAssignment),
        (
            "UPDATE orders SET (id, tenant_id) = (1, 2)",
            TenantAssignment,
        ),
        (
            "UPDATE orders SET (id, tenant_id) = (SELECT 1, 3)",
            TenantAssignment,
        ),
        (
            "INSERT INTO orders (id) VALUES (1) ON CONFLICT (tenant_id, id) DO UPDATE SET tenant_id = 3",
            ForeignTenant,
        ),
        (
            "INSERT INTO orders (tenant_id, id) SELECT * FROM items",
            InsertShape,
        ),
        ("INSERT INTO orders SELECT * FROM items", InsertShape),
        ("INSERT INTO orders SELECT", InsertShape),
        (
            "INSERT INTO orders (id, note) SELECT id, note FROM orders ORDER BY 1, 3",
            InsertShape,
        ),
        (
            "INSERT INTO orders (id, note) SELECT id, note FROM orders UNION SELECT 1, 'x' ORDER BY 3",
            InsertShape,
        ),
        ("SELECT 1 FROM nullif(1, 2) a", Construct),
        ("COPY orders (id, note, note) TO STDOUT", Construct),
        ("UPDATE orders AS \"set\" SET note = 'x'", ReservedName),
        ("INSERT INTO orders (id) SELECT", InsertWidth),
        ("INSERT INTO orders (id) VALUES (1, 2)", InsertWidth),
        ("INSERT INTO orders (id, note) SELECT 1", InsertWidth),
        ("INSERT INTO orders (id, note) VALUES (1)", InsertWidth),
        ("INSERT INTO orders (id) VALUES (1), (1, 2)", InsertWidth),
        ("INSERT INTO orders VALUES (2, 1, 1, '', 5)", InsertWidth),
        ("INSERT INTO orders (id, note.x) VALUES (1, 2)", InsertShape),
        (
            "INSERT INTO orders (tenant_id, tenant_id) VALUES (2, 3)",
            InsertShape,
        ),
        (
            "INSERT INTO orders WITH x AS (SELECT 1) VALUES (2, 3)",
            InsertShape,
        ),
        (
            "INSERT INTO keys (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET login = ''",
            GlobalKey,
        ),
        (
            "INSERT INTO keys (id) VALUES (1) ON CONFLICT ON CONSTRAINT k0 DO UPDATE SET login = ''",
            GlobalKey,
        ),
        (
            "SELECT 1 FROM orders WHERE 1 / amount > 0 FOR UPDATE",
            LoudLock,
        ),
        ("SELECT 1 FROM orders WHERE note ~ 'x' FOR SHARE", LoudLock),
        ("DELETE FROM orders WHERE CURRENT OF c", CurrentOf),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", HoldableCursor),
        ("COPY orders FROM STDIN WHERE id > 1", CopyFrom),
        ("COPY orders FROM STDIN", CopyFrom),
        ("COPY orders FROM STDIN (FORMAT binary)", CopyBinary),
        ("COPY orders FROM STDIN BINARY", CopyBinary),
        ("COPY orders FROM '/tmp/x'", CopyTarget),
        ("COPY orders FROM PROGRAM 'cat'", CopyTarget),
        ("COPY secrets FROM STDIN", Relation),
        ("COPY nothing FROM STDIN", Relation),
        ("COPY countries FROM STDIN", SharedWrite),
        ("COPY v FROM STDIN", ViewWrite),
        ("COPY uuids FROM STDIN", NoValue),
        (
            "COPY orders (id, tenant_id, tenant_id) FROM STDIN",
            InsertShape,
        ),
        ("COPY orders FROM STDIN (FREEZE)", CopyOption),
        ("COPY orders FROM STDIN (ENCODING 'sjis')", CopyOption),
        ("COPY orders FROM STDIN (DELIMITER 'A')", CopyOption),
        ("COPY orders FROM STDIN (DELIMITER '||')", CopyOption),
        (
            "COPY orders FROM STDIN (DELIMITER ',', DELIMITER '|')",
            CopyOption,
        ),
        (
            "COPY orders FROM STDIN (FORMAT csv, QUOTE '\\')",
            CopyOption,
        ),
        (
            "COPY orders FROM STDIN (FORMAT csv, QUOTE E'\n')",
            CopyOption,
        ),
        (
            "COPY orders FROM STDIN (FORMAT csv, FORCE_NULL (tenant_id))",
            CopyOption,
        ),
        (
            "COPY orders FROM STDIN (FORMAT csv, DEFAULT 'x')",
            CopyOption,
        ),
        (
            "COPY orders FROM STDIN (FORMAT csv, DELIMITER '.')",
            CopyOption,
        ),
        ("COPY orders FROM STDIN (FORMAT custom)", CopyOption),
        ("COPY orders FROM STDIN (HEADER perhaps)", CopyOption),
        ("COPY orders TO '/tmp/x'", CopyTarget),
        ("COPY (SELECT 1) TO PROGRAM 'cat'", CopyTarget),
        ("COPY secrets TO STDOUT", Relation),
        ("COPY (SELECT 1 FROM secrets) TO STDOUT", Relation),
        ("COPY (SELECT 1) TO STDOUT (ENCODING 'latin1')", CopyOption),
        ("EXPLAIN SELECT 1", Explain),
        ("SELECT 1 INTO x FROM orders", StatementKind),
        ("CREATE TABLE x (a int)", StatementKind),
        ("TRUNCATE orders", StatementKind),
        ("LOCK orders", StatementKind),
        ("DO 'begin end'", StatementKind),
        ("CALL p()", StatementKind),
        ("LISTEN x", StatementKind),
        ("NOTIFY x", StatementKind),
        // Statements of the proxy, for other clients among them, are on the same connections.
        ("EXECUTE dsqlproxy_1", ReservedName),
        ("EXPLAIN EXECUTE dsqlproxy_1", Explain),
        ("DEALLOCATE dsqlproxy_1", ReservedName),
        ("PREPARE dsqlproxy_1 AS SELECT 1", ReservedName),
        ("FETCH 1 FROM dsqlproxy_1", ReservedName),
        ("CLOSE dsqlproxy_1", ReservedName),
        ("DECLARE dsqlproxy_1 CURSOR FOR SELECT 1", ReservedName),
        // The value may end up in a condition.
        ("EXECUTE p (note ~ note)", Construct),
        ("EXECUTE p ((SELECT 1))", Construct),
        ("ANALYZE", StatementKind),
        ("GRANT SELECT ON orders TO public", StatementKind),
        ("PREPARE TRANSACTION 'x'", StatementKind),
        (
            "MERGE INTO orders USING items ON true WHEN MATCHED THEN DELETE",
            StatementKind,
        ),
        (
            "WITH x AS (MERGE INTO orders USING items ON true WHEN MATCHED THEN DELETE RETURNING 1) SELECT 1",
            StatementKind,
        ),
        ("PREPARE p AS SELECT 1 FROM secrets", Relation),
        ("EXECUTE p (pg_sleep(1))", Construct),
        ("SELECT 1; SELECT 1 FROM secrets", Relation),
        ("DELETE FROM orders USING secrets", Relation),
        ("UPDATE orders SET id = (SELECT 1 FROM secrets)", Relation),
        (
            "INSERT INTO orders (id) VALUES ((SELECT 1 FROM secrets))",
            Relation,
        ),
        (
            "DELETE FROM orders RETURNING (SELECT 1 FROM secrets)",
            Relation,
        ),
        ("SELECT 1 LIMIT (SELECT 1 FROM secrets)", Relation),
        ("SELECT 1 OFFSET (SELECT 1 FROM secrets)", Relation),
        ("SELECT 1 ORDER BY (SELECT 1 FROM secrets)", Relation),
        ("SELECT DISTINCT ON ((SELECT 1 FROM secrets)) 1", Relation),
        ("SELECT 1 GROUP BY (SELECT 1 FROM secrets)", Relation),
        (
            "SELECT 1 GROUP BY GROUPING SETS ((), ((SELECT 1 FROM secrets)))",
            Relation,
        ),
        (
            "SELECT count(*) HAVING EXISTS (SELECT FROM secrets)",
            Relation,
        ),
        (
            "SELECT 1 WINDOW w AS (ORDER BY (SELECT 1 FROM secrets))",
            Relation,
        ),
        ("SELECT ARRAY[(SELECT 1 FROM secrets)]", Relation),
        ("SELECT (ARRAY[1])[(SELECT 1 FROM secrets)]", Relation),
        (
            "SELECT 1 FROM orders o JOIN items i ON (SELECT true FROM secrets)",
            Relation,
        ),
        (
            "SELECT 1 FROM orders, LATERAL (SELECT 1 FROM secrets) x",
            Relation,
        ),
        (
            "SELECT 1 FROM generate_series(1, (SELECT 1 FROM secrets)) x",
            Relation,
        ),
        ("SELECT 1 UNION SELECT 1 FROM secrets", Relation),
        ("VALUES (1), ((SELECT 1 FROM secrets))", Relation),
        (
            "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) WHERE EXISTS (SELECT FROM secrets) DO NOTHING",
            Relation,
        ),
        (
            "INSERT INTO orders (id) VALUES (1) ON CONFLICT (tenant_id, id) DO UPDATE SET id = (SELECT 1 FROM secrets)",
            Relation,
        ),
        (
            "INSERT INTO orders (id) VALUES (1) ON CONFLICT (tenant_id, id) DO UPDATE SET id = 1 WHERE EXISTS (SELECT FROM secrets)",
            Relation,
        ),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        match ask(text) {
            Err(refusal) if refusal.rule == expected => {}
            Err(refusal) => wrong.push(format!("{text}\n  {refusal}, not {expected:?}")),
            Ok(found) => wrong.push(format!("{text}\n  {found}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The verifier by itself: no text that the rewriter did not make may pass.
#[test]
fn the_verifier_refuses_what_was_not_rewritten() {
    let good = [
        "SELECT id FROM W1.orders orders",
        "SELECT id FROM F1.orders orders WHERE 'x' ~ note",
        "UPDATE app.orders SET id = 1 WHERE orders.tenant_id O= ¤",
        "INSERT INTO app.orders (id, tenant_id) VALUES (1, ¤)",
        "SELECT o.id FROM app.orders o WHERE o.tenant_id O= ¤ GROUP BY o.id",
        "COPY app.orders (id, tenant_id) FROM STDIN CSV HEADER",
    ];
    let bad = [
        "SELECT id FROM app.orders",
        "SELECT id FROM orders",
        "SELECT id FROM app.secrets",
        "SELECT id FROM (SELECT * FROM app.orders) x",
        // The wrap.
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE true) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= '3'::int) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= 2) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id = ¤) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.id O= ¤) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE tenant_id O= ¤) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t2.tenant_id O= ¤) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= ¤ OR true) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= '2'::bigint) x",
        "SELECT id FROM (SELECT __t1.*, 1 FROM app.orders __t1 WHERE __t1.tenant_id O= ¤) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1, app.secrets WHERE __t1.tenant_id O= ¤) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= ¤ OFFSET 1) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= ¤ LIMIT 1) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= ¤ AND 'x' ~ __t1.note) x",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1(id, tenant_id) WHERE __t1.tenant_id O= ¤) x",
        "SELECT id FROM (SELECT __t1.* FROM app.secrets __t1 WHERE __t1.tenant_id O= ¤) x",
        "SELECT id FROM W1.orders __t2",
        "SELECT id FROM LATERAL W1.orders x",
        // Loud beside an open wrap.
        "SELECT id FROM W1.orders orders WHERE 'x' ~ note",
        "SELECT id FROM F1.orders orders WHERE note LIKE $1",
        "SELECT id FROM F1.orders orders WHERE note ~~ ANY($1)",
        "SELECT id FROM W1.orders o JOIN F2.items i ON 'x' ~ o.note",
        "SELECT id FROM F1.orders orders WHERE 'x' ~ note FOR UPDATE",
        "SELECT o.id FROM app.orders o WHERE o.tenant_id O= ¤ AND 1 / o.id > 0 GROUP BY o.id",
        // Plain tables.
        "SELECT o.id FROM app.orders o WHERE o.tenant_id O= ¤ OR true",
        "SELECT o.id FROM app.orders o, app.items i WHERE o.tenant_id O= ¤",
        "SELECT o.id FROM W1.items i LEFT JOIN app.orders o ON true WHERE o.tenant_id O= ¤",
        "SELECT o.id FROM app.orders o(x) WHERE o.tenant_id O= ¤",
        "SELECT o.id FROM app.orders o LEFT JOIN W1.items i ON o.tenant_id O= ¤",
        // Writes.
        "UPDATE app.orders SET id = 1",
        "UPDATE app.orders SET id = 1 WHERE orders.tenant_id O= ¤ OR true",
        "UPDATE app.orders SET id = 1 WHERE NOT orders.tenant_id O= ¤",
        "UPDATE app.orders o SET id = 1 WHERE orders.tenant_id O= ¤",
        "UPDATE app.orders SET id = 1 FROM app.items i WHERE orders.tenant_id O= ¤ AND i.tenant_id O= ¤",
        "UPDATE app.orders SET tenant_id = 3 WHERE orders.tenant_id O= ¤",
        "UPDATE app.orders SET (id, tenant_id) = (1, 3) WHERE orders.tenant_id O= ¤",
        "UPDATE app.orders SET id = 1 WHERE orders.tenant_id O= ¤ AND 1 / id > 0",
        "UPDATE app.orders SET id = 1 WHERE orders.tenant_id O= ¤ AND CASE WHEN true THEN 1 / id > 0 ELSE false END",
        "UPDATE app.countries SET code = '' WHERE countries.tenant_id O= ¤",
        "DELETE FROM app.orders",
        "DELETE FROM app.secrets WHERE secrets.tenant_id O= ¤",
        "INSERT INTO app.orders (id) VALUES (1)",
        "INSERT INTO app.orders VALUES (¤)",
        "INSERT INTO app.orders (id, tenant_id) VALUES (1, ¤), (1, 3)",
        "INSERT INTO app.orders (id, tenant_id) VALUES (1, $1)",
        "INSERT INTO app.orders (id, tenant_id) VALUES (¤, 1)",
        "INSERT INTO app.orders (id, tenant_id) VALUES (1, CASE WHEN $1 O= ¤ THEN $1 END)",
        "INSERT INTO app.orders (id, tenant_id) VALUES (1, CASE WHEN $1 O= ¤ THEN ¤ ELSE 3 END)",
        "INSERT INTO app.orders (id, tenant_id) SELECT 1, ¤ UNION SELECT 1, 3",
        "INSERT INTO app.orders (tenant_id, id) SELECT *, ¤ FROM W1.items i",
        "INSERT INTO app.orders (id, tenant_id) VALUES (1, ¤) ON CONFLICT (tenant_id, id) DO UPDATE SET id = 1",
        "INSERT INTO app.keys (id, tenant_id) VALUES (1, ¤) ON CONFLICT (id) DO UPDATE SET id = 1 WHERE keys.tenant_id O= ¤",
        // Names.
        "SELECT lower('x')",
        "SELECT pg_catalog.pg_sleep(1)",
        "SELECT '1'::pg_catalog.regclass",
        "SELECT orders.ctid FROM W1.orders orders",
        "SELECT app.orders.id FROM W1.orders orders",
        "WITH pg_class AS (SELECT 1) SELECT 1 FROM pg_class",
        "SELECT current_user",
        "SELECT 1 INTO x",
        "SELECT 1 FROM W1.orders o TABLESAMPLE SYSTEM (1)",
        "COPY app.orders TO STDOUT",
        "COPY (SELECT 1) TO PROGRAM 'x'",
        "COPY app.orders (id) FROM STDIN",
        "COPY app.orders FROM STDIN",
        "COPY orders (id, tenant_id) FROM STDIN",
        "COPY app.secrets (id, tenant_id) FROM STDIN",
        "COPY app.countries (code, tenant_id) FROM STDIN",
        "COPY app.orders (tenant_id, id, tenant_id) FROM STDIN",
        "COPY app.orders (id, tenant_id) FROM '/tmp/x'",
        "COPY app.orders (id, tenant_id) FROM PROGRAM 'x'",
        "COPY app.orders (id, tenant_id) FROM STDIN WHERE id > 1",
        "COPY app.orders (id, tenant_id) FROM STDIN (FORMAT binary)",
        "COPY app.orders (id, tenant_id) FROM STDIN (FREEZE)",
        "SET search_path = app",
        "TRUNCATE app.orders",
    ];
    let policy = Policy::parse(POLICY).unwrap();
    let tenant = policy.tenant_named("2").unwrap();
    let verify = |text: &str| {
        let text = expand(text);
        let statements = Statement::read(&text).ok()?;
        Some(verifier::verify(
            statements[0].node().unwrap(),
            &policy,
            &catalog(),
            verifier::Expected::Tenant(&tenant),
        ))
    };
    for text in good {
        assert_eq!(verify(text), Some(Ok(())), "{text}");
    }
    for text in bad {
        assert!(!matches!(verify(text), Some(Ok(()))), "{text}");
    }
    let unread = bad.iter().filter(|text| verify(text).is_none()).count();
    assert!(unread <= 2, "{unread} are not even SQL");
}

fn share(text: &str) -> Result<Isolated, Refusal> {
    let policy = Policy::parse(POLICY).unwrap();
    let statement = Statement::read(text).unwrap().remove(0);
    isolate_shared(&statement, &policy, &catalog())
}

#[test]
fn the_tenant_can_be_a_parameter_behind_those_of_the_client() {
    let integer = |number| Some((number, TenantType::Integer));
    let cases = [
        ("SELECT 1", None),
        ("SELECT $2::int4, $1::text", None),
        ("SELECT code FROM countries WHERE code = $1", None),
        ("SELECT id FROM orders", integer(1)),
        (
            "SELECT id FROM orders WHERE id = $1 AND amount > $3",
            integer(4),
        ),
        (
            "SELECT 1 FROM orders o JOIN items i ON i.id = o.id AND $7::int4 = 1",
            integer(8),
        ),
        ("SELECT id FROM orders WHERE 1 / amount > $1", integer(2)),
        (
            "INSERT INTO orders (id, note) VALUES ($1, $2), (3, $3)",
            integer(4),
        ),
        (
            "INSERT INTO orders (tenant_id, id) VALUES ($1, 2)",
            integer(2),
        ),
        (
            "INSERT INTO orders (tenant_id, id) VALUES (DEFAULT, 2)",
            integer(1),
        ),
        (
            "INSERT INTO orders (id) SELECT id FROM items GROUP BY 1",
            integer(1),
        ),
        (
            "UPDATE orders SET amount = $1 WHERE id = $2 AND 1 / amount = 2",
            integer(3),
        ),
        ("UPDATE orders SET tenant_id = $1", integer(2)),
        ("DELETE FROM orders WHERE id = $1 RETURNING *", integer(2)),
        (
            "SELECT body FROM docs WHERE body = $1",
            Some((2, TenantType::Text)),
        ),
        ("SELECT id FROM v", integer(1)),
    ];
    for (text, expected) in cases {
        let shared = share(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
        let found = shared.parameter.map(|found| (found.number, found.kind));
        assert_eq!(found, expected, "{text}");
        // But for the parameter it is the text of one tenant.
        let mut literal = ask(text).unwrap();
        if let Some((number, kind)) = expected {
            let value = ["'2'::", "'acme'::"][usize::from(kind == TenantType::Text)];
            literal = literal.replace(value, &format!("${number}::"));
        }
        assert_eq!(shared.text, literal, "{text}");
    }
    // Whose tenant it is decides, or a parameter cannot be.
    let of_tenant = [
        "BEGIN",
        "INSERT INTO orders (tenant_id, id) VALUES (2, 2)",
        "INSERT INTO orders (tenant_id, id) VALUES ('02', 2)",
        "UPDATE orders SET tenant_id = 3",
        "SELECT 1 FROM orders, docs",
        "SELECT 1 FROM orders, uuids",
        "COPY orders (id) FROM STDIN",
        "COPY orders (id) TO STDOUT",
        "DECLARE c CURSOR FOR SELECT id FROM orders",
        "PREPARE p AS SELECT id FROM orders",
        "SELECT id FROM orders WHERE id = $32767",
    ];
    for text in of_tenant {
        assert_eq!(share(text).unwrap_err().rule, Rule::OfTenant, "{text}");
    }
    let refused = [
        ("SELECT 1 FROM secrets", Rule::Relation),
        (
            "INSERT INTO orders (tenant_id, id) VALUES (NULL, 2)",
            Rule::ForeignTenant,
        ),
        ("SELECT lo_get(1)", Rule::Function),
    ];
    for (text, rule) in refused {
        assert_eq!(share(text).unwrap_err().rule, rule, "{text}");
    }
}

/// Where the tenant's value is a parameter, the verifier takes that one and nothing else for it.
#[test]
fn the_verifier_takes_one_parameter_for_the_tenant() {
    let good = [
        "SELECT id FROM W1.orders orders WHERE id = $1",
        "UPDATE app.orders SET id = $1 WHERE orders.tenant_id O= ¤",
        "INSERT INTO app.orders (id, tenant_id) VALUES ($1, ¤)",
        "SELECT $1::int",
    ];
    let bad = [
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= $2) o",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= $1::int) o",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= $3::int) o",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= LITERAL) o",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= $2::bigint) o",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id O= $2::int[]) o",
        "SELECT body FROM (SELECT __t1.* FROM app.docs __t1 WHERE __t1.owner O= $2::pg_catalog.text) o",
        "SELECT body FROM (SELECT __t1.* FROM app.docs __t1 WHERE __t1.owner O= ¤) o",
        // The client has none of its number, and none behind it.
        "SELECT id FROM W1.orders orders WHERE id = $2",
        "SELECT id FROM W1.orders orders WHERE note = $2::pg_catalog.text",
        "SELECT id, $2 FROM W1.orders orders",
        "SELECT id FROM W1.orders orders WHERE id = $3",
        "SELECT $3::int",
        "INSERT INTO app.orders (id, tenant_id) VALUES ($1, $2)",
        "INSERT INTO app.orders (id, tenant_id) VALUES ($2, ¤)",
        "INSERT INTO app.orders (id, tenant_id) VALUES ($1, $1::int)",
    ];
    let policy = Policy::parse(POLICY).unwrap();
    let expected = |number| {
        let kind = TenantType::Integer;
        verifier::Expected::Parameter(Some(TenantParameter { number, kind }))
    };
    let verify = |text: &str, expected| {
        let text = expand(&text.replace('¤', "$2::int"))
            .replace("'2'::int", "$2::int")
            .replace("LITERAL", "'2'::int");
        let statements = Statement::read(&text).unwrap();
        verifier::verify(statements[0].node().unwrap(), &policy, &catalog(), expected)
    };
    for text in good {
        assert_eq!(verify(text, expected(2)), Ok(()), "{text}");
    }
    for text in bad {
        assert!(verify(text, expected(2)).is_err(), "{text}");
    }
    for text in &good[..3] {
        assert!(verify(text, expected(1)).is_err(), "{text}");
        assert!(verify(text, expected(3)).is_err(), "{text}");
        assert!(
            verify(text, verifier::Expected::Parameter(None)).is_err(),
            "{text}"
        );
    }
    let client = |text: &str, number| {
        let statements = Statement::read(text).unwrap();
        verifier::verify_free(statements[0].node().unwrap(), number)
    };
    assert_eq!(client("SELECT $1, ($2 + 1)", 3), Ok(()));
    assert_eq!(client("SELECT 1", 1), Ok(()));
    assert!(client("SELECT $1", 1).is_err());
    assert!(client("SELECT 1 FROM (SELECT 1 WHERE $3) x", 3).is_err());
    assert!(client("SELECT $9", 3).is_err());
}

#[test]
fn limits_hold() {
    let mut policy = Policy::parse(POLICY).unwrap();
    policy.limits.statement_bytes = 20;
    let tenant = policy.tenant_named("2").unwrap();
    let statement = |text: &str| Statement::read(text).unwrap().remove(0);
    let long = isolate(
        &statement("SELECT 1 FROM orders WHERE true"),
        &policy,
        &catalog(),
        &tenant,
    );
    assert_eq!(long.unwrap_err().error().code, "54000");
    policy.limits.statement_bytes = 1000;
    policy.limits.ast_depth = 6;
    let deep = isolate(
        &statement("SELECT NOT NOT NOT NOT NOT NOT NOT true"),
        &policy,
        &catalog(),
        &tenant,
    );
    assert_eq!(deep.unwrap_err().error().code, "54001");
}

/// A refusal tells the client nothing about what exists.
#[test]
fn undeclared_and_missing_relations_read_the_same() {
    let [one, other] = ["SELECT 1 FROM secrets", "SELECT 1 FROM nothing"]
        .map(|text| ask(text).unwrap_err().error());
    assert_eq!(one, other);
    assert_eq!(one.code, "42501");
}

#[test]
fn parameters_of_types_that_look_things_up_are_not_taken() {
    for oid in [0, 16, 20, 23, 25, 1043, 2950, 3802, 1007, 1009] {
        assert!(takes_parameter(oid), "{oid}");
    }
    // oid, regproc, regclass, regtype, name, xml, record, "any", cstring.
    for oid in [26, 24, 2205, 2206, 19, 142, 2249, 2276, 2275, 16384] {
        assert!(!takes_parameter(oid), "{oid}");
    }
}

/// With half of a thread's stack, whatever the grammar takes is isolated or refused.
#[test]
fn deep_statements_are_isolated_or_refused() {
    let work = || {
        let mut policy = Policy::parse(POLICY).unwrap();
        policy.limits.ast_depth = nesting::MAX_DEPTH;
        let tenant = policy.tenant_named("2").unwrap();
        let catalog = catalog();
        let mut isolated = 0;
        for shape in nesting::tests::SHAPES {
            for size in [10, 45, 150, 300, 490] {
                let text = shape(size)
                    .replace(" a ", " orders ")
                    .replace("FROM t", "FROM orders");
                let begin = Instant::now();
                for statement in Statement::read(&text).unwrap_or_default() {
                    let found = isolate(&statement, &policy, &catalog, &tenant);
                    isolated += usize::from(found.is_ok());
                }
                println!("{size} {:?}: {}", begin.elapsed(), shape(1));
            }
        }
        isolated
    };
    let isolated = std::thread::Builder::new()
        .stack_size(nesting::STACK / 2)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
    assert!(isolated > 20, "{isolated}");
}
