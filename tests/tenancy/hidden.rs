//! An application that knows nothing of tenants, on tables whose tenant column is hidden. Each tenant has
//! a plain database of its own on the other side, with the application's own schema.

use std::time::Instant;

use crate::answer::Answer;
use crate::client::{Client, Login, PATIENCE};
use crate::ground;
use crate::message;
use crate::postgres::{self, ROLE};
use crate::proxy::{self, Proxy};

const POLICY: &str = "
version: 1
search_path: [public]
tenant: {type: uuid}
tables: {default: {column: owner_id, hidden: true}}
settings: {allow: [application_name]}
catalogs: declared
";

const TENANTS: [&str; 2] = [
    "00000000-0000-0000-0000-00000000000a",
    "00000000-0000-0000-0000-00000000000b",
];

/// What the application's migrations say.
const SCHEMA: [&str; 7] = [
    "CREATE TABLE authors (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, born int CHECK (born > 1000))",
    "CREATE TABLE books (id int, author_id int REFERENCES authors ON DELETE CASCADE, title text, price int DEFAULT 10, CONSTRAINT books_pk PRIMARY KEY (id))",
    "CREATE TABLE tags (book_id int NOT NULL, tag text NOT NULL, UNIQUE (book_id, tag), FOREIGN KEY (book_id) REFERENCES books (id))",
    "CREATE UNIQUE INDEX books_title ON books (author_id, lower(title))",
    "CREATE INDEX ON books (price)",
    "ALTER TABLE authors ADD COLUMN code int UNIQUE, ADD COLUMN bio text",
    "ALTER TABLE tags ADD COLUMN editor int REFERENCES authors (id) ON DELETE SET NULL",
];

/// What it does, statement by statement; the tables are not undone in between.
const STATEMENTS: [&str; 77] = [
    "INSERT INTO authors VALUES (1, 'Ann', 'ann@x', 1970, 7, NULL)",
    "INSERT INTO authors (id, name, email) VALUES (2, 'Bob', NULL), (3, 'Cyd', 'cyd@x') RETURNING *",
    "INSERT INTO authors (id, name) VALUES (1, 'again')",
    "INSERT INTO authors (id, name, email) VALUES (4, 'Dan', 'ann@x')",
    "INSERT INTO authors (id, name, born) VALUES (5, 'Eve', 5)",
    "INSERT INTO authors (id) VALUES (6)",
    "INSERT INTO authors (id, name, code) VALUES (7, 'Gil', 7)",
    "INSERT INTO authors VALUES (1, 2, 3, 4, 5, 6, 7)",
    "INSERT INTO books VALUES (1, 1, 'One'), (2, 1, 'Two', 20), (3, 2, 'Three', NULL)",
    "INSERT INTO books VALUES (4, 99, 'Nobody''s')",
    "INSERT INTO books VALUES (5, 1, 'ONE')",
    "INSERT INTO books (title, id) SELECT name, 10 + id FROM authors WHERE id < 3 RETURNING id, title",
    "INSERT INTO tags VALUES (1, 'a'), (1, 'b'), (2, 'a')",
    "INSERT INTO tags VALUES (1, 'a')",
    "INSERT INTO tags VALUES (1, 'a') ON CONFLICT DO NOTHING",
    "INSERT INTO tags VALUES (1, 'a') ON CONFLICT (book_id, tag) DO UPDATE SET editor = 3 RETURNING *",
    "INSERT INTO authors (id, name) VALUES (1, 'Anna') ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE authors.name <> excluded.name RETURNING authors.*",
    "INSERT INTO authors (id, name, email) VALUES (9, 'x', 'cyd@x') ON CONFLICT (email) DO UPDATE SET bio = 'seen' RETURNING id, bio",
    "INSERT INTO authors (id, name) VALUES (1, 'A') ON CONFLICT ON CONSTRAINT authors_pkey DO UPDATE SET name = 'A'",
    "INSERT INTO authors (id, name) VALUES (1, 'A') ON CONFLICT (name) DO NOTHING",
    "INSERT INTO authors (owner_id, id, name) VALUES (NULL, 20, 'x')",
    "SELECT * FROM authors ORDER BY id",
    "SELECT a.* FROM authors a ORDER BY a.id",
    "TABLE books",
    "SELECT * FROM authors a, books b WHERE a.id = b.author_id ORDER BY b.id",
    "SELECT * FROM authors NATURAL JOIN books",
    "SELECT * FROM authors a JOIN books b USING (id) ORDER BY 1",
    "SELECT * FROM authors a JOIN books b USING (owner_id)",
    "SELECT * FROM books b LEFT JOIN tags t ON t.book_id = b.id ORDER BY b.id, t.tag",
    "SELECT * FROM books b FULL JOIN authors a ON a.id = b.author_id ORDER BY a.id, b.id",
    "SELECT a FROM authors a ORDER BY a.id",
    "SELECT row_to_json(b) FROM books b ORDER BY b.id",
    "SELECT to_jsonb(b.*) FROM books b ORDER BY b.id",
    "SELECT count(*), count(a), count(a.email) FROM authors a",
    "SELECT owner_id FROM authors",
    "SELECT a.owner_id FROM authors a",
    "SELECT 1 FROM authors WHERE owner_id IS NOT NULL",
    "SELECT 1 FROM authors ORDER BY owner_id",
    "SELECT count(*) FROM authors GROUP BY owner_id",
    "SELECT (SELECT owner_id FROM books LIMIT 1) FROM authors",
    "SELECT author_id, count(*), sum(price) FROM books GROUP BY author_id HAVING count(*) > 1 ORDER BY 1",
    "SELECT a.id, a.name, count(b.id) FROM authors a LEFT JOIN books b ON b.author_id = a.id GROUP BY a.id ORDER BY a.id",
    "SELECT a.*, max(b.price) FROM authors a JOIN books b ON b.author_id = a.id WHERE 10 / b.id > 0 GROUP BY a.id ORDER BY a.id",
    "SELECT a.name, count(*) FROM authors a GROUP BY a.email",
    "SELECT DISTINCT author_id FROM books ORDER BY 1",
    "SELECT * FROM (SELECT * FROM books) x ORDER BY id",
    "WITH b AS (SELECT * FROM books) SELECT * FROM b ORDER BY id",
    "WITH b AS (INSERT INTO books (id, title) VALUES (30, 'new') RETURNING *) SELECT * FROM b",
    "WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 3) SELECT * FROM n JOIN books USING (id) ORDER BY 1",
    "SELECT * FROM authors WHERE id IN (SELECT author_id FROM books) ORDER BY id",
    "SELECT * FROM authors UNION ALL SELECT * FROM authors ORDER BY id",
    "SELECT id FROM books EXCEPT SELECT id FROM authors ORDER BY 1",
    "SELECT id, rank() OVER (ORDER BY price) FROM books ORDER BY id",
    "SELECT * FROM authors WHERE id = 1 FOR UPDATE",
    "SELECT 1 / (id - 1) FROM books WHERE 10 / id > 4 ORDER BY id",
    "SELECT id FROM books WHERE title ~ '^T' ORDER BY id",
    "UPDATE authors SET name = 'Bobby' WHERE id = 2 RETURNING *",
    "UPDATE authors SET owner_id = NULL",
    "UPDATE authors SET name = owner_id::text",
    "UPDATE authors SET name = 'x' WHERE owner_id IS NOT NULL",
    "UPDATE authors SET name = 'x' WHERE id = 2 RETURNING owner_id",
    "UPDATE books b SET price = price + 1 FROM authors a WHERE a.id = b.author_id AND a.id = 1 RETURNING *",
    "UPDATE books SET id = 2 WHERE id = 1",
    "UPDATE books SET author_id = 99 WHERE id = 3",
    "UPDATE books SET (title, price) = ('Both', 5) WHERE id = 3 RETURNING books.*",
    "UPDATE authors SET email = 'cyd@x' WHERE id = 2",
    "DELETE FROM tags USING books b WHERE b.id = tags.book_id AND b.id = 2 RETURNING *",
    "DELETE FROM books WHERE owner_id IS NOT NULL",
    "DELETE FROM books WHERE id = 1",
    "DELETE FROM authors WHERE id = 2 RETURNING *",
    "DELETE FROM authors WHERE id = 3 RETURNING id",
    "SELECT * FROM tags ORDER BY book_id, tag",
    "SELECT * FROM books ORDER BY id",
    "COPY authors TO STDOUT",
    "COPY books (id, title) TO STDOUT (FORMAT csv, HEADER)",
    "COPY authors (owner_id) TO STDOUT",
    "COPY (SELECT * FROM tags ORDER BY 1, 2) TO STDOUT",
];

fn plan_of_users(file: &std::path::Path) -> Proxy {
    let plan = proxy::plan().tenancy("multi", file);
    let plan = TENANTS
        .iter()
        .enumerate()
        .fold(plan, |plan, (number, tenant)| {
            let name = format!("app_{number}");
            let password = proxy::verifier(&name);
            plan.user(&format!(
                "name: {name}, password: \"{password}\", tenant: \"{tenant}\""
            ))
        });
    plan.start()
}

/// Makes the databases anew: empty, but for the application's schema in those of a tenant alone.
fn start() -> (Proxy, Vec<Client>) {
    let cluster = postgres::cluster();
    let mut admin = cluster.connect_superuser("postgres");
    for name in ["multi", "plain_0", "plain_1"] {
        admin.run(&format!("drop database if exists {name} with (force)"));
        admin.run(&format!("create database {name} owner {ROLE}"));
    }
    let plain = (0..TENANTS.len()).map(|number| {
        let mut client = cluster.connect_superuser(&format!("plain_{number}"));
        client.run(&format!("set role {ROLE}"));
        SCHEMA.iter().for_each(|text| drop(client.run(text)));
        client
    });
    let plain = plain.collect();
    let name = format!("dsql-proxy-policy-hidden-{}.yaml", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, POLICY).expect("a file");
    (plan_of_users(&file), plain)
}

fn login(proxy: &Proxy, user: &str) -> Client {
    let login = Login::new(user, "multi").password(user);
    proxy.login(&login).expect("a login")
}

/// Runs the application's migrations as a user who sees all, and waits until tenants see the tables.
fn migrate(proxy: &Proxy) {
    let mut all = login(proxy, ROLE);
    for (number, text) in SCHEMA.iter().enumerate() {
        match number % 2 {
            0 => drop(all.run(text)),
            _ => {
                let execute = [message::bind_text("", "", &[]), message::execute("", 0)].concat();
                all.send(&[message::parse("", text, &[]), execute, message::sync()].concat());
                assert_eq!(Answer::of(&all.until_ready()).sqlstate, None, "{text}");
            }
        }
    }
    let mut tenant = login(proxy, "app_0");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = Answer::of(&tenant.query("SELECT editor FROM tags"));
        if seen.sqlstate.is_none() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{seen:?}\n{}",
            proxy.log.tail(20)
        );
        // What is refused is looked at anew by every statement.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Rows in the order of the statement, if it has one.
fn comparable(answer: &Answer, text: &str) -> (Vec<Vec<String>>, Vec<String>, Vec<String>) {
    answer.comparable(text.contains("ORDER BY"))
}

#[test]
fn an_application_without_tenants_runs_as_in_a_database_of_its_own() {
    let _alone = ground::open();
    let (proxy, mut plain) = start();
    migrate(&proxy);
    let mut wrong = Vec::new();
    let mut equal = 0;
    for (round, plain) in plain.iter_mut().enumerate() {
        let mut tenant = login(&proxy, &format!("app_{round}"));
        for text in STATEMENTS {
            let ours = Answer::of(&tenant.query(text));
            let theirs = Answer::of(&plain.query(text));
            let same = ours.sqlstate == theirs.sqlstate
                && (ours.sqlstate.is_some()
                    || comparable(&ours, text) == comparable(&theirs, text));
            match same {
                true => equal += 1,
                false => wrong.push(format!("{text}\n  ours   {ours:?}\n  theirs {theirs:?}")),
            }
        }
    }
    println!("{equal} equal");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    // What is there is there twice, each time with its tenant.
    let mut all = login(&proxy, ROLE);
    assert_eq!(
        all.scalar("SELECT count(DISTINCT owner_id) FROM authors"),
        "2"
    );
}

#[test]
fn the_column_is_first_in_every_key_and_in_no_answer() {
    let _alone = ground::open();
    let (proxy, mut plain) = start();
    migrate(&proxy);
    let mut all = login(&proxy, ROLE);
    let keys = "SELECT i.relname, pg_get_indexdef(i.oid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
                JOIN pg_class c ON c.oid = x.indrelid WHERE c.relname IN ('authors', 'books', 'tags') AND x.indisunique ORDER BY 1";
    let found = Answer::of(&all.query(keys)).rows;
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(
        found.iter().all(|key| key.contains("(owner_id, ")),
        "{found:?}"
    );
    let mut tenant = login(&proxy, "app_0");
    let questions = [
        "SELECT attname FROM pg_attribute WHERE attrelid = 'public.books'::regclass AND attnum > 0 ORDER BY 1",
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'authors' ORDER BY 1",
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_index x ON x.indexrelid = c.oid JOIN pg_attribute a \
         ON a.attrelid = c.oid WHERE c.relname LIKE 'books%' ORDER BY 1, 2",
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'public.tags'::regclass AND contype <> 'f' ORDER BY 1",
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'authors' ORDER BY 1",
        "SELECT c.relname, pg_get_indexdef(c.oid, 0, true) FROM pg_class c WHERE c.relname IN ('books_pk', 'books_title') ORDER BY 1",
        "SELECT k.column_name, k.constraint_name FROM information_schema.key_column_usage k WHERE k.table_name = 'tags' ORDER BY 1, 2",
    ];
    // As the tenant's own path is, so that names have their schemas.
    plain[0].run("set search_path = pg_catalog");
    for text in questions {
        let ours = Answer::of(&tenant.query(text));
        let theirs = Answer::of(&plain[0].query(text));
        assert_eq!(ours.rows, theirs.rows, "{text} {:?}", ours.error);
    }
    let keys = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'";
    let keys = Answer::of(&tenant.query(keys)).rows;
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(!keys.concat().contains("owner_id"), "{keys:?}");
    // A user who knows of the column may name it; what cannot have it is refused.
    all.run("CREATE TABLE known (owner_id uuid NOT NULL, id int, PRIMARY KEY (owner_id, id))");
    assert_eq!(
        all.sqlstate("CREATE TABLE taken AS SELECT 1 AS id"),
        "0A000"
    );
    assert_eq!(all.sqlstate("CREATE TABLE same (LIKE books)"), "0A000");
    assert_eq!(all.sqlstate("SELECT 1 FROM same"), "42P01");
    assert_eq!(tenant.sqlstate("CREATE TABLE mine (id int)"), "0A000");
}
