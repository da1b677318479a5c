//! What the session and the pool keep between tenants: errors, notices, settings, prepared names, and
//! connections that pass from one to the next.

use std::path::PathBuf;

use crate::answer::Answer;
use crate::client::{Client, Login};
use crate::ground::{self, POLICY};
use crate::message;
use crate::postgres::{self, ROLE};
use crate::proxy::Proxy;
use crate::wire::{login, policy_file, start, start_with};

/// Functions that tell what the server's session has, which the policy attests.
const FUNCTIONS: &str = "
create or replace function app.path() returns text language sql stable as $$ select current_setting('search_path') $$;
create or replace function app.shout(int) returns int language plpgsql as $$ begin
  raise notice 'note-1-1 of %', $1; raise warning 'note-3-1'; return $1; end $$;
grant usage on schema app to public;
";

/// The policy with those functions.
fn attesting() -> PathBuf {
    let file = policy_file();
    let functions = "functions: {allow: [\"app.path()\", \"app.shout(integer)\"]}\n";
    std::fs::write(&file, format!("{POLICY}{functions}")).expect("a file");
    postgres::cluster().connect_superuser("bare").run(FUNCTIONS);
    file
}

fn owner(proxy: &Proxy) -> Client {
    let login = Login::new(ROLE, "bare").password(ROLE);
    proxy.login(&login).expect("who sees all")
}

fn state(client: &mut Client, text: &str) -> Option<String> {
    Answer::of(&client.query(text)).sqlstate
}

#[test]
fn a_connection_is_clean_when_the_next_one_has_it() {
    let _ground = ground::open();
    let file = attesting();
    let proxy = start_with(&file, |plan| plan.size(1));
    let mut all = owner(&proxy);
    all.run("SET search_path = app, public");
    all.run("SELECT 1");
    let mut one = login(&proxy, "1");
    assert_eq!(one.scalar("SELECT app.path()"), "pg_catalog");
    one.run("SET timezone = 'Asia/Tokyo'");
    one.run("SELECT 1");
    let mut two = login(&proxy, "2");
    assert_eq!(two.scalar("SHOW timezone"), "UTC");
    assert_eq!(two.scalar("SELECT app.path()"), "pg_catalog");
    for text in [
        "SET search_path TO app",
        "SET LOCAL search_path TO 'app'",
        "SET search_path TO \"$user\", app",
        "RESET ALL",
    ] {
        two.run(text);
        assert_eq!(two.scalar("SELECT app.path()"), "pg_catalog", "{text}");
        assert_eq!(one.scalar("SELECT app.path()"), "pg_catalog", "{text}");
    }
    // What pins a connection is gone when it comes back.
    all.run("PREPARE shared AS SELECT note FROM orders");
    all.terminate();
    one.run("PREPARE mine AS SELECT note FROM orders");
    assert_eq!(
        one.run("EXECUTE mine")
            .iter()
            .filter(|frame| frame.tag == b'D')
            .count(),
        13
    );
    one.terminate();
    for name in ["mine", "shared"] {
        let answer = Answer::of(&two.query(&format!("EXECUTE {name}")));
        assert_eq!(
            (answer.sqlstate.as_deref(), answer.rows.len()),
            (Some("26000"), 0),
            "{name}"
        );
    }
    assert_eq!(two.scalar("SELECT app.path()"), "pg_catalog");
}

#[test]
fn what_a_client_leaves_open_is_undone_before_the_next() {
    let _ground = ground::open();
    let file = attesting();
    let proxy = start_with(&file, |plan| plan.size(1));
    let mut one = login(&proxy, "1");
    one.run("BEGIN");
    one.run("SET LOCAL timezone = 'Asia/Tokyo'");
    one.run("INSERT INTO tree (id, label) VALUES (777, 'open')");
    one.run("DECLARE c CURSOR FOR SELECT note FROM orders");
    one.terminate();
    let mut two = login(&proxy, "2");
    assert_eq!(state(&mut two, "FETCH ALL c").as_deref(), Some("34000"));
    assert_eq!(two.scalar("SHOW timezone"), "UTC");
    let mut all = owner(&proxy);
    assert_eq!(
        all.scalar("SELECT count(*) FROM app.tree WHERE id = 777"),
        "0"
    );
}

#[test]
fn notices_of_functions_do_not_reach_tenants() {
    let _ground = ground::open();
    let file = attesting();
    let proxy = start(&file);
    let mut two = login(&proxy, "2");
    let answer = Answer::of(&two.query("SELECT app.shout(7)"));
    assert_eq!(
        (answer.rows, answer.notices),
        (vec!["'7'".to_owned()], Vec::new())
    );
    let answer = Answer::of(&two.query("COMMIT"));
    assert_eq!(answer.notices.len(), 1);
    // Who sees all sees them.
    let answer = Answer::of(&owner(&proxy).query("SELECT app.shout(7)"));
    assert_eq!(answer.notices.len(), 2);
}

/// An error whose class speaks of the statement, with a value of a row in it.
#[test]
fn errors_of_loud_statements_hold_no_value() {
    let _ground = ground::open();
    let file = policy_file();
    let proxy = start(&file);
    let mut two = login(&proxy, "2");
    let text = "SELECT date_trunc(status, interval '1 day') FROM (SELECT 'week' AS status FROM orders) o \
                WHERE date_trunc(status, interval '1 day') IS NOT NULL";
    let simple = Answer::of(&two.query(text));
    assert_eq!(
        simple.sqlstate.as_deref(),
        Some("0A000"),
        "{:?}",
        simple.error
    );
    two.send(&[message::parse("s", text, &[]), message::sync()].concat());
    two.until_ready();
    two.run("SELECT 1");
    for _ in 0..2 {
        let run = [
            message::bind_text("", "s", &[]),
            message::execute("", 0),
            message::sync(),
        ];
        two.send(&run.concat());
        let named = Answer::of(&two.until_ready());
        assert_eq!(named.error, simple.error);
        two.run("SELECT 1");
    }
    assert!(
        simple.error.iter().all(|(_, text)| !text.contains("week")),
        "{:?}",
        simple.error
    );
}

#[test]
fn only_types_of_values_can_be_declared() {
    let _ground = ground::open();
    let file = policy_file();
    let proxy = start(&file);
    let mut two = login(&proxy, "2");
    let mut parse = |types: &[u32]| {
        let text = "SELECT $1, $2 FROM orders";
        two.send(&[message::parse("", text, types), message::sync()].concat());
        Answer::of(&two.until_ready()).sqlstate
    };
    // regclass, regproc, regtype, regrole, oid, name, xml, refcursor, record, cstring, tsquery.
    for kind in [
        2205, 24, 2206, 4096, 26, 19, 142, 1790, 2249, 2275, 3615, 16384,
    ] {
        assert_eq!(parse(&[kind]).as_deref(), Some("42501"), "{kind}");
        assert_eq!(parse(&[25, kind]).as_deref(), Some("42501"), "{kind}");
    }
    assert_eq!(parse(&[25, 23]), None);
    two.send(
        &[
            message::parse("", "SELECT 1; SELECT 2", &[]),
            message::sync(),
        ]
        .concat(),
    );
    assert_eq!(
        Answer::of(&two.until_ready()).sqlstate.as_deref(),
        Some("42601")
    );
    let foreign = Answer::of(&two.query("INSERT INTO orders (tenant_id, id) VALUES (3 - 2, 900)"));
    assert_eq!(foreign.sqlstate.as_deref(), Some("42501"));
    // Another tenant's Parse of the same text and name makes nothing of this one.
    let mut one = login(&proxy, "1");
    let text = "SELECT DISTINCT tenant_id FROM orders WHERE id > $1";
    for (client, expected) in [(&mut one, "'1'"), (&mut two, "'2'")] {
        for _ in 0..2 {
            client.send(
                &[
                    message::parse("", text, &[23]),
                    message::bind_text("", "", &["0"]),
                    message::execute("", 0),
                    message::sync(),
                ]
                .concat(),
            );
            assert_eq!(Answer::of(&client.until_ready()).rows, [expected]);
        }
    }
}

#[test]
fn what_one_tenant_prepared_is_nothing_to_another() {
    let _ground = ground::open();
    let file = policy_file();
    let proxy = start_with(&file, |plan| plan.size(1));
    let (mut one, mut two) = (login(&proxy, "1"), login(&proxy, "2"));
    let text = "SELECT note FROM orders";
    for name in ["", "s"] {
        one.send(&[message::parse(name, text, &[]), message::sync()].concat());
        assert_eq!(Answer::of(&one.until_ready()).sqlstate, None);
        for ask in [
            [message::bind_text("", name, &[]), message::execute("", 0)].concat(),
            message::describe(b'S', name),
        ] {
            two.send(&[ask, message::sync()].concat());
            let answer = Answer::of(&two.until_ready());
            assert_eq!(answer.sqlstate.as_deref(), Some("26000"), "{name:?}");
            assert!(
                answer.rows.is_empty() && answer.columns.is_empty(),
                "{name:?}"
            );
        }
        one.send(
            &[
                message::bind_text("", name, &[]),
                message::execute("", 0),
                message::sync(),
            ]
            .concat(),
        );
        assert_eq!(Answer::of(&one.until_ready()).rows.len(), 13, "{name:?}");
    }
}

#[test]
fn no_start_up_parameter_says_more_than_how_values_look() {
    let _ground = ground::open();
    let file = policy_file();
    let proxy = start(&file);
    let parameters = [
        ("replication", "database"),
        ("replication", "true"),
        ("search_path", "public,app"),
        ("options", "-c search_path=public"),
        ("options", "-csearch_path=public"),
        ("options", "--search_path=public"),
        ("options", "--search-path=public"),
        ("options", "-c role=owner"),
        (
            "options",
            "-c default_transaction_read_only=on -c session_authorization=postgres",
        ),
        ("standard_conforming_strings", "off"),
        ("backslash_quote", "on"),
        ("transform_null_equals", "on"),
        ("session_preload_libraries", "x"),
        ("local_preload_libraries", "x"),
        ("row_security", "off"),
        ("plan_cache_mode", "force_generic_plan"),
        ("client_encoding", "SJIS"),
    ];
    for (name, value) in parameters {
        let asked = Login::new("tenant_2", "bare").password("tenant_2");
        let outcome = proxy.login(&asked.with(name, value));
        assert!(outcome.is_err(), "{name}={value}");
    }
}
