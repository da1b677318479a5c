//! The tenant's value as a parameter behind those of the client: one prepared statement for all tenants, of
//! which none sees more than before.

use std::path::PathBuf;

use dsql_proxy::policy::tenancy::rules::TenantValue;

use crate::answer::Answer;
use crate::client::{Client, Login};
use crate::dsql::{Cluster, set_up};
use crate::ground::{self, POLICY};
use crate::message;
use crate::postgres::{self, ROLE};
use crate::proxy::{self, Proxy};
use crate::wire::{login, policy_file_with, start, start_with};

fn shared() -> PathBuf {
    policy_file_with(TenantValue::Parameter)
}

fn all_tenants(proxy: &Proxy) -> [Client; 3] {
    ["1", "2", "3"].map(|tenant| login(proxy, tenant))
}

fn parse(client: &mut Client, name: &str, text: &str, types: &[u32]) -> Option<String> {
    client.send(&[message::parse(name, text, types), message::sync()].concat());
    Answer::of(&client.until_ready()).sqlstate
}

/// The tail of a Bind: formats, values in text or as they are, formats of results.
fn bind(name: &str, formats: &[u16], values: &[Option<&[u8]>], results: &[u16]) -> Vec<u8> {
    let mut body = [b"\0", name.as_bytes(), b"\0"].concat();
    let count = |body: &mut Vec<u8>, count: usize| body.extend((count as u16).to_be_bytes());
    count(&mut body, formats.len());
    formats
        .iter()
        .for_each(|code| body.extend(code.to_be_bytes()));
    count(&mut body, values.len());
    for value in values {
        body.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    count(&mut body, results.len());
    results
        .iter()
        .for_each(|code| body.extend(code.to_be_bytes()));
    message::message(b'B', &body)
}

fn run(client: &mut Client, bound: Vec<u8>) -> Answer {
    client.send(&[bound, message::execute("", 0), message::sync()].concat());
    Answer::of(&client.until_ready())
}

/// Texts with this in them that are prepared on the proxy's connections.
fn prepared(proxy: &Proxy, part: &str) -> Vec<String> {
    let mut all = proxy
        .login(&Login::new(ROLE, "bare").password(ROLE))
        .expect("who sees all");
    let text = format!(
        "SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%{part}%' AND statement NOT LIKE '%pg_prepared%'"
    );
    Answer::of(&all.query(&text)).rows
}

#[test]
fn tenants_share_one_prepared_statement() {
    let _ground = ground::open();
    for (value, statements) in [(TenantValue::Parameter, 1), (TenantValue::Literal, 3)] {
        let file = policy_file_with(value);
        let proxy = start_with(&file, |plan| plan.size(1));
        let mut clients = all_tenants(&proxy);
        let text = "SELECT DISTINCT tenant_id FROM orders WHERE id > $1";
        for client in &mut clients {
            assert_eq!(parse(client, "s", text, &[]), None);
        }
        // More often than the server makes plans for the values.
        for _ in 0..8 {
            for (number, client) in clients.iter_mut().enumerate() {
                let answer = run(client, message::bind_text("", "s", &["0"]));
                assert_eq!(answer.rows, [format!("'{}'", number + 1)]);
            }
        }
        let found = prepared(&proxy, "DISTINCT");
        assert_eq!(found.len(), statements, "{value:?} {found:?}");
    }
}

const EXECUTED: &str = "
version: 1
search_path: [public]
tenant: {type: integer}
tenant_value: parameter
tables: {public.orders: {}}
";

/// EXECUTE, which a dialect answers, fills in what the client gives: it must not reach what has the tenant's
/// place among its own.
#[test]
fn execute_does_not_fill_in_the_tenant() {
    let cluster = Cluster::start();
    let plain = proxy::plan().dsql(&cluster).start();
    let mut set = plain.connect();
    set_up(
        &mut set,
        "CREATE TABLE orders (tenant_id int NOT NULL, id int, PRIMARY KEY (tenant_id, id))",
    );
    set_up(&mut set, "INSERT INTO orders VALUES (1, 1), (2, 1)");
    let file = policy_file_with(TenantValue::Parameter);
    std::fs::write(&file, EXECUTED).expect("a file");
    for dialect in ["off", "compat"] {
        let plan = proxy::plan().dsql(&cluster).dialect(dialect);
        let user = format!(
            "name: tenant_2, password: \"{}\", tenant: \"2\"",
            proxy::verifier("tenant_2")
        );
        let proxy = plan.tenancy("postgres", &file).user(&user).start();
        let mut client = proxy
            .login(&Login::new("tenant_2", "postgres").password("tenant_2"))
            .expect("a tenant");
        let texts = [
            ("none_own", "SELECT DISTINCT tenant_id FROM orders"),
            (
                "one_own",
                "SELECT DISTINCT tenant_id FROM orders WHERE id > $1",
            ),
        ];
        for (own, (name, text)) in texts.into_iter().enumerate() {
            assert_eq!(parse(&mut client, name, text, &[]), None);
            for values in ["", "(1)", "(0, 1)", "('0', '1')"] {
                let text = format!("EXECUTE {name}{values}");
                let answer = Answer::of(&client.query(&text));
                assert!(answer.sqlstate.is_some(), "{dialect} {text}: {answer:?}");
            }
            let bound = run(&mut client, message::bind_text("", name, &["0"][..own]));
            assert_eq!(bound.rows, ["'2'"], "{dialect} {name}");
        }
    }
}

#[test]
fn writes_get_the_tenant_that_sends_them() {
    let _ground = ground::open();
    let file = shared();
    // Two connections, so that statements are prepared on one and executed on the other.
    let proxy = start_with(&file, |plan| plan.size(2));
    let mut clients = all_tenants(&proxy);
    let insert = "INSERT INTO tree (id, label) VALUES ($1, $2) RETURNING tenant_id";
    let change = "UPDATE tree SET label = $1 WHERE id = $2 AND 1 / id < 1 RETURNING tenant_id";
    let delete = "DELETE FROM tree WHERE label = $1";
    for client in &mut clients {
        for (name, text) in [("i", insert), ("u", change), ("d", delete)] {
            assert_eq!(parse(client, name, text, &[]), None, "{text}");
        }
    }
    clients[0].run("BEGIN");
    clients[0].run("SELECT 1");
    for number in (0..3).rev() {
        let client = &mut clients[number];
        let own = [format!("'{}'", number + 1)];
        let inserted = run(
            client,
            message::bind_text("", "i", &["901", "shared-label"]),
        );
        assert_eq!(inserted.rows, own, "{:?}", inserted.error);
        let changed = run(
            client,
            message::bind_text("", "u", &["shared-label-2", "901"]),
        );
        assert_eq!(changed.rows, own, "{:?}", changed.error);
    }
    clients[0].run("COMMIT");
    for client in &mut clients {
        let deleted = run(client, message::bind_text("", "d", &["shared-label-2"]));
        assert_eq!(deleted.tags, ["DELETE 1"]);
    }
}

#[test]
fn the_client_sees_nothing_of_the_parameter() {
    let _ground = ground::open();
    let file = shared();
    let proxy = start(&file);
    let mut client = login(&proxy, "2");
    let cases: [(&str, &[u32], &[u32]); 6] = [
        ("SELECT id FROM orders", &[], &[]),
        ("SELECT id FROM orders WHERE id = $1", &[], &[23]),
        ("SELECT id FROM orders WHERE note = $1", &[1043], &[1043]),
        (
            "SELECT id FROM orders WHERE note = $2 AND id = $1",
            &[],
            &[23, 25],
        ),
        ("SELECT code FROM countries WHERE code = $1", &[], &[25]),
        // More types than parameters: the server wants as many values.
        ("SELECT id FROM orders WHERE id = $1", &[23, 25], &[23, 25]),
    ];
    for (text, types, expected) in cases {
        for name in ["", "s"] {
            client.send(
                &[
                    message::parse(name, text, types),
                    message::describe(b'S', name),
                    message::close(b'S', name),
                    message::sync(),
                ]
                .concat(),
            );
            let frames = client.until_ready();
            let tags: Vec<u8> = frames.iter().map(|frame| frame.tag).collect();
            assert_eq!(tags, b"1tT3Z", "{text}");
            let mut body = (expected.len() as u16).to_be_bytes().to_vec();
            expected
                .iter()
                .for_each(|oid| body.extend(oid.to_be_bytes()));
            assert_eq!(frames[1].body, body, "{text}");
        }
    }
    // Of many, whose description is long.
    let many: Vec<String> = (1..=3000).map(|number| format!("${number}")).collect();
    let text = format!("SELECT id FROM orders WHERE id IN ({})", many.join(", "));
    client.send(
        &[
            message::parse("", &text, &[]),
            message::describe(b'S', ""),
            message::sync(),
        ]
        .concat(),
    );
    let frames = client.until_ready();
    assert_eq!(frames[1].body.len(), 2 + 4 * 3000);
    assert_eq!(frames[1].body[..2], 3000u16.to_be_bytes());
}

#[test]
fn values_come_in_every_form_and_number() {
    let _ground = ground::open();
    let file = shared();
    let proxy = start(&file);
    let mut client = login(&proxy, "2");
    let text = "SELECT id, note FROM orders WHERE id = $1 OR note = $2";
    assert_eq!(parse(&mut client, "s", text, &[23, 25]), None);
    let (three, four): (&[u8], &[u8]) = (b"3", b"\0\0\0\x03");
    let note: Option<&[u8]> = Some(b"note-2-4");
    let cases: [(&[u16], &[u8]); 6] = [
        (&[], three),
        (&[0], three),
        (&[1], four),
        (&[0, 0], three),
        (&[1, 0], four),
        (&[1, 1], four),
    ];
    for (formats, id) in cases {
        let answer = run(&mut client, bind("s", formats, &[Some(id), note], &[0]));
        assert_eq!(answer.rows.len(), 2, "{formats:?} {:?}", answer.error);
    }
    let none = run(&mut client, bind("s", &[], &[None, None], &[]));
    assert_eq!((none.rows.len(), none.sqlstate), (0, None));
    // Never one of the client's in the place of the tenant's.
    type Values<'a> = &'a [Option<&'a [u8]>];
    let wrong: [(&[u16], Values<'_>); 6] = [
        (&[], &[]),
        (&[], &[Some(three)]),
        (&[], &[Some(three), note, Some(b"1")]),
        (&[1], &[Some(four), note, Some(b"\0\0\0\x01")]),
        (&[0, 0, 0], &[Some(three), note]),
        (&[0, 0], &[Some(three), note, Some(b"1")]),
    ];
    for (formats, values) in wrong {
        let answer = run(&mut client, bind("s", formats, values, &[]));
        assert_eq!(answer.sqlstate.as_deref(), Some("08P01"), "{formats:?}");
        assert!(answer.rows.is_empty());
        let told = answer
            .error
            .iter()
            .any(|(_, text)| text.contains("requires 3"));
        assert!(!told, "{:?}", answer.error);
    }
    let cut = message::message(b'B', b"\0s\0\0\0\0\x02\0\0\0\x013");
    client.send(&cut);
    assert!(client.until_closed().is_ok());
    // A number that the client does not have.
    let mut client = login(&proxy, "2");
    for text in [
        "SELECT id FROM orders WHERE id = $2",
        "SELECT id FROM orders WHERE tenant_id = $1 OR id = $3",
    ] {
        assert_eq!(parse(&mut client, "", text, &[]).as_deref(), Some("42P18"));
    }
    assert!(parse(&mut client, "", "SELECT $0 FROM orders", &[]).is_some());
    // In place of the tenant column it is compared with the tenant's.
    let insert = "INSERT INTO tree (tenant_id, id) VALUES ($1, 902)";
    assert_eq!(parse(&mut client, "", insert, &[]), None);
    let foreign = run(&mut client, message::bind_text("", "", &["1"]));
    assert_eq!(
        foreign.sqlstate.as_deref(),
        Some("42501"),
        "{:?}",
        foreign.error
    );
}

#[test]
fn limits_cursors_and_literals_are_as_before() {
    let _ground = ground::open();
    let file = shared();
    let proxy = start(&file);
    let mut client = login(&proxy, "2");
    client.send(
        &[
            message::parse("", "SELECT note FROM orders WHERE id < $1 ORDER BY id", &[]),
            message::bind_text("", "", &["6"]),
            message::execute("", 2),
            message::execute("", 2),
            message::execute("", 2),
            message::sync(),
        ]
        .concat(),
    );
    let answer = Answer::of(&client.until_ready());
    assert_eq!(answer.rows.len(), 5, "{answer:?}");
    assert_eq!(answer.rows[4], "'note-2-5'");
    // One of both types: a literal for each.
    let both = "SELECT count(*) FROM orders o, docs_u d WHERE o.id = 1 AND d.id > $1";
    assert_eq!(parse(&mut client, "", both, &[]), None);
    let answer = run(&mut client, message::bind_text("", "", &["0"]));
    assert_eq!(answer.rows, ["'4'"]);
    for (table, own) in [("docs_u", "-000000000002"), ("docs_t", "acme2")] {
        let text = format!("SELECT DISTINCT tenant_id FROM {table}");
        assert_eq!(parse(&mut client, "", &text, &[]), None);
        let answer = run(&mut client, message::bind_text("", "", &[]));
        assert!(
            matches!(&answer.rows[..], [only] if only.contains(own)),
            "{answer:?}"
        );
    }
    // What has no parameters of its own.
    client.run("PREPARE p AS SELECT DISTINCT tenant_id FROM orders WHERE id > $1");
    assert_eq!(client.scalar("EXECUTE p(0)"), "2");
    client.run("BEGIN");
    for text in [
        "DECLARE c CURSOR FOR SELECT tenant_id FROM orders",
        "COPY tree (id) TO STDOUT",
    ] {
        assert_eq!(parse(&mut client, "", text, &[]), None, "{text}");
        let answer = run(&mut client, message::bind_text("", "", &[]));
        assert_eq!(answer.sqlstate, None, "{text}");
    }
    assert_eq!(client.scalar("FETCH c"), "2");
    client.run("ROLLBACK");
    // A tenant column with a literal is this tenant's or nobody's.
    for (given, state) in [("2", None), ("1", Some("42501"))] {
        let text = format!("UPDATE tree SET tenant_id = {given} WHERE id = 1");
        let found = parse(&mut client, "", &text, &[]);
        assert_eq!(found.as_deref(), state, "{text}");
    }
}

/// What was made for all tenants is made anew under another policy, and what was bound to one holds for it
/// alone.
#[test]
fn a_reload_holds_for_what_tenants_share() {
    let _ground = ground::open();
    let file = shared();
    let proxy = start(&file);
    let mut client = login(&proxy, "2");
    let (tree, docs) = (
        "SELECT count(*) FROM tree",
        "SELECT min(tenant_id) FROM docs_t",
    );
    for name in ["a", "b", "c", "d"] {
        assert_eq!(parse(&mut client, name, tree, &[]), None);
    }
    assert_eq!(parse(&mut client, "docs", docs, &[]), None);
    assert_eq!(
        run(&mut client, message::bind_text("", "docs", &[])).rows,
        ["'acme2'"]
    );
    let other = POLICY
        .replace("  app.tree: {}\n", "")
        .replace("text: acme2", "text: none2");
    let text = [&other, ground::value_key(TenantValue::Parameter)].concat();
    std::fs::write(&file, text).expect("a file");
    assert_eq!(proxy.post("/api/reload").0, 200);
    proxy.log.wait_for("tenant policy verified", 2);
    let gone = run(&mut client, message::bind_text("", "a", &[]));
    assert_eq!(gone.sqlstate.as_deref(), Some("26000"));
    for name in ["e", "f"] {
        assert_eq!(
            parse(&mut client, name, tree, &[]).as_deref(),
            Some("42501")
        );
    }
    // The same text, and the tenant's other value.
    assert_eq!(
        run(&mut client, message::bind_text("", "docs", &[])).rows,
        ["NULL"]
    );
}

/// Of a name whose second Parse was skipped the first statement is left, and what became of that counts.
#[test]
fn a_reload_looks_at_the_statement_that_a_name_has() {
    let _ground = ground::open();
    for value in [TenantValue::Parameter, TenantValue::Literal] {
        let file = policy_file_with(value);
        let proxy = start(&file);
        let mut client = login(&proxy, "2");
        let tree = "SELECT count(*) FROM tree";
        assert_eq!(parse(&mut client, "a", tree, &[]), None);
        client.run(&format!("PREPARE on_server AS {tree}"));
        assert_eq!(parse(&mut client, "e", "EXECUTE on_server", &[]), None);
        assert_eq!(
            run(&mut client, message::bind_text("", "e", &[])).sqlstate,
            None
        );
        client.send(
            &[
                message::bind_text("", "no such statement", &[]),
                message::close(b'S', "a"),
                message::parse("a", "SELECT count(*) FROM orders", &[]),
                message::sync(),
            ]
            .concat(),
        );
        let skipped = Answer::of(&client.until_ready());
        assert_eq!(skipped.sqlstate.as_deref(), Some("26000"));
        let answer = run(&mut client, message::bind_text("", "a", &[]));
        assert_eq!(answer.sqlstate, None, "{value:?}");
        let other = POLICY.replace("  app.tree: {}\n", "");
        let text = [&other, ground::value_key(value)].concat();
        std::fs::write(&file, text).expect("a file");
        assert_eq!(proxy.post("/api/reload").0, 200);
        proxy.log.wait_for("tenant policy verified", 2);
        for name in ["a", "e"] {
            let answer = run(&mut client, message::bind_text("", name, &[]));
            assert_eq!(
                answer.sqlstate.as_deref(),
                Some("26000"),
                "{name} {value:?}"
            );
        }
        // What the server was told to PREPARE is there, and what did not happen does not bring it back.
        client.run("BEGIN");
        assert_eq!(client.sqlstate("SELECT 1 / 0"), "22012");
        assert_eq!(client.sqlstate("DEALLOCATE on_server"), "25P02");
        client.run("ROLLBACK");
        for text in ["PREPARE on_server AS SELECT 1", "EXECUTE on_server"] {
            let answer = Answer::of(&client.query(text));
            assert!(answer.sqlstate.is_some(), "{text}: {answer:?}");
        }
        client.run("PREPARE other AS SELECT 7");
        assert_eq!(client.scalar("EXECUTE other"), "7");
    }
}

/// A client that never sends a Sync is not served for ever as it was when it began.
#[test]
fn a_batch_without_end_ends_with_the_policy() {
    let _ground = ground::open();
    let mut admin = postgres::cluster().connect_superuser("postgres");
    admin.run("drop database if exists endless");
    admin.run("create database endless");
    let mut endless = postgres::cluster().connect_superuser("endless");
    endless.run(
        "create schema app authorization app; set role app; \
                 create table app.orders (tenant_id int, id int, primary key (tenant_id, id)); \
                 insert into app.orders values (1, 1), (2, 7)",
    );
    let file = shared();
    let text =
        "version: 1\nsearch_path: [app]\ntenant: {type: integer}\ntables: {app.orders: {}}\n";
    std::fs::write(&file, text).expect("a file");
    let proxy = crate::proxy::plan()
        .tenancy("endless", &file)
        .user(&format!(
            "name: tenant_2, password: \"{}\", tenant: \"2\"",
            crate::proxy::verifier("tenant_2")
        ))
        .start();
    let mut client = proxy
        .login(&Login::new("tenant_2", "endless").password("tenant_2"))
        .expect("a tenant");
    let asked = [
        message::parse("", "SELECT id FROM orders", &[]),
        message::bind_text("", "", &[]),
        message::execute("", 0),
        message::flush(),
    ]
    .concat();
    client.send(&asked);
    assert_eq!(Answer::of(&client.until(b'C')).rows, ["'7'"]);
    let closed = text.replace("app.orders: {}", "app.orders: {}, app.none: {}");
    std::fs::write(&file, closed).expect("a file");
    assert_eq!(proxy.post("/api/reload").0, 200);
    proxy.log.wait_for("app.none does not exist", 1);
    let deadline = std::time::Instant::now() + crate::client::PATIENCE;
    loop {
        client.send(&asked);
        let frame = loop {
            let frame = client.frame().expect("an answer");
            if matches!(frame.tag, b'C' | b'E') {
                break frame;
            }
        };
        if frame.tag == b'E' {
            assert_eq!(frame.sqlstate(), "40001");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "still served");
    }
    client.send(&message::sync());
    client.until_ready();
    let refused = Answer::of(&client.query("SELECT id FROM orders")).sqlstate;
    assert_eq!(refused.as_deref(), Some("57P03"));
}
