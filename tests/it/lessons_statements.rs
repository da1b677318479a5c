//! Numbered cases, group P: prepared statements and portals.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::{Client, Login, render, tags};
use crate::message::{
    bind, bind_text, close, describe, execute, flush, function_call, parse, query, sync,
};
use crate::postgres::{self, ROLE};
use crate::proxy::plan;

fn rows(frames: &[crate::message::Frame]) -> Vec<String> {
    frames
        .iter()
        .filter(|frame| frame.tag == b'D')
        .map(|frame| {
            let value = frame.values().remove(0).unwrap_or_default();
            String::from_utf8(value).expect("text")
        })
        .collect()
}

/// Runs what `statement` names and gives the first column.
fn run(client: &mut Client, statement: &str, parameters: &[&str]) -> Vec<String> {
    client.send(&[bind_text("", statement, parameters), execute("", 0), sync()].concat());
    let frames = client.until_ready();
    assert!(
        frames.iter().all(|frame| frame.tag != b'E'),
        "{:?}",
        render(&frames)
    );
    rows(&frames)
}

#[test]
fn p1_server_side_names_are_never_reused() {
    let proxy = plan().size(1).pool("prepared_statements", 2).start();
    let mut client = proxy.connect();
    let mut observer = proxy.connect();
    let mut known: HashMap<String, String> = HashMap::new();
    for round in 0..30 {
        let text = format!("select {round}");
        assert_eq!(
            client.exchange(&[close(b'S', "s"), parse("s", &text, &[]), sync()]),
            "31Z"
        );
        assert_eq!(run(&mut client, "s", &[]), [round.to_string()]);
        let frames = observer.run("select name || '=' || statement from pg_prepared_statements");
        for line in rows(&frames) {
            let (name, statement) = line.split_once('=').expect("name and statement");
            let before = known.insert(name.to_owned(), statement.to_owned());
            assert!(
                before.as_deref().is_none_or(|before| before == statement),
                "{name} was {before:?} and is now {statement:?}"
            );
        }
    }
    assert!(
        !known.is_empty(),
        "the statements are prepared at the server"
    );
}

#[test]
fn p2_one_text_under_two_search_paths_is_two_statements() {
    let proxy = plan().size(1).start();
    let mut setup = proxy.connect();
    for schema in ["p2_left", "p2_right"] {
        setup.run(&format!(
            "drop schema if exists {schema} cascade; create schema {schema}"
        ));
        setup.run(&format!(
            "create table {schema}.t as select '{schema}'::text as v"
        ));
    }
    let mut clients = ["p2_left", "p2_right"].map(|schema| {
        let mut client = proxy.connect();
        client.run(&format!("set search_path = {schema}"));
        assert_eq!(
            client.exchange(&[parse("s", "select v from t", &[]), sync()]),
            "1Z"
        );
        (schema, client)
    });
    for _ in 0..3 {
        for (schema, client) in &mut clients {
            assert_eq!(run(client, "s", &[]), [*schema]);
        }
    }
}

#[test]
fn p3_unnamed_statements_never_evict_a_named_one_that_is_bound_again() {
    let proxy = plan().size(1).pool("prepared_statements", 2).start();
    let mut client = proxy.connect();
    assert_eq!(
        client.exchange(&[parse("kept", "select 'kept'", &[]), sync()]),
        "1Z"
    );
    for round in 0..50 {
        let text = format!("select {round}");
        let messages = [
            parse("", text, &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ];
        assert_eq!(client.exchange(&messages), "12DCZ");
    }
    assert_eq!(run(&mut client, "kept", &[]), ["kept"]);
}

#[test]
fn p4_an_unnamed_statement_works_in_a_full_cache() {
    let proxy = plan().size(1).pool("prepared_statements", 2).start();
    let mut client = proxy.connect();
    for name in ["a", "b", "c", "d"] {
        assert_eq!(
            client.exchange(&[parse(name, format!("select '{name}'"), &[]), sync()]),
            "1Z"
        );
    }
    assert_eq!(
        client.exchange(&[parse("", "select 'unnamed'", &[]), sync()]),
        "1Z"
    );
    assert_eq!(run(&mut client, "", &[]), ["unnamed"]);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(run(&mut client, name, &[]), [name]);
    }
}

#[test]
fn p5_a_refused_parse_leaves_nothing_behind() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    assert_eq!(client.exchange(&[parse("s", "selekt", &[]), sync()]), "EZ");
    assert_eq!(
        client.exchange(&[parse("s", "select 'good'", &[]), sync()]),
        "1Z"
    );
    assert_eq!(run(&mut client, "s", &[]), ["good"]);
    let mut other = proxy.connect();
    assert_eq!(
        other.exchange(&[parse("s", "select 'other'", &[]), sync()]),
        "1Z"
    );
    assert_eq!(run(&mut other, "s", &[]), ["other"]);
}

#[test]
fn p6_close_of_a_portal_keeps_the_statement_of_the_same_name() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let messages = [
        parse("x", "select 6", &[]),
        bind_text("x", "x", &[]),
        execute("x", 0),
        close(b'P', "x"),
        sync(),
    ];
    assert_eq!(client.exchange(&messages), "12DC3Z");
    assert_eq!(run(&mut client, "x", &[]), ["6"]);
}

#[test]
fn p11_a_client_keeps_a_limited_number_of_statements() {
    let proxy = plan().section("limits: {client_statements: 3}").start();
    let mut client = proxy.connect();
    for name in ["a", "b", "c"] {
        assert_eq!(
            client.exchange(&[parse(name, "select 1", &[]), sync()]),
            "1Z"
        );
    }
    client.run("begin");
    client.send(
        &[
            parse("d", "select 1", &[]),
            parse("", "select 2", &[]),
            sync(),
        ]
        .concat(),
    );
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "EZ");
    assert_eq!(frames[0].sqlstate(), "53400");
    let hint = frames[0].field(b'H').expect("a hint");
    assert!(hint.contains("limits.client_statements"), "{hint}");
    assert_eq!(
        frames[1].body, b"E",
        "the transaction fails as for any error"
    );
    client.run("rollback");
    // The unnamed statement is none of them, and a name that is free again can be taken.
    let select = [
        parse("", "select 2", &[]),
        bind_text("", "", &[]),
        execute("", 0),
        sync(),
    ];
    assert_eq!(client.exchange(&select), "12DCZ");
    client.run("deallocate b");
    assert_eq!(
        client.exchange(&[parse("d", "select 1", &[]), sync()]),
        "1Z"
    );
    assert_eq!(
        client.exchange(&[bind_text("", "d", &[]), execute("", 0), sync()]),
        "2DCZ"
    );
    // Names are each client's own.
    let mut other = proxy.connect();
    assert_eq!(other.exchange(&[parse("e", "select 1", &[]), sync()]), "1Z");
}

#[test]
fn p11_statements_of_a_client_take_limited_memory() {
    let proxy = plan()
        .section("limits: {client_statement_bytes: 256KiB}")
        .start();
    let mut client = proxy.connect();
    let long = format!("select 1 /* {} */", "x".repeat(100_000));
    let longer = format!("select 1 /* {} */", "x".repeat(300_000));
    let refused = |client: &mut Client, messages: &[Vec<u8>]| {
        client.send(&messages.concat());
        let error = client.expect(b'E');
        assert_eq!(error.sqlstate(), "53400");
        let hint = error.field(b'H').expect("a hint");
        assert!(hint.contains("limits.client_statement_bytes"), "{hint}");
        assert_eq!(client.frame().expect("a message").tag, b'Z');
    };
    refused(&mut client, &[parse("", &longer, &[]), sync()]);
    for name in ["a", "b"] {
        assert_eq!(client.exchange(&[parse(name, &long, &[]), sync()]), "1Z");
    }
    refused(&mut client, &[parse("c", &long, &[]), sync()]);
    assert_eq!(client.exchange(&[close(b'S', "a"), sync()]), "3Z");
    assert_eq!(client.exchange(&[parse("c", &long, &[]), sync()]), "1Z");
    client.run("deallocate all");
    // What replaces is counted until the server has answered, and no longer.
    let many: Vec<_> = (0..4).map(|_| parse("", &long, &[])).collect();
    client.send(&[many.concat(), sync()].concat());
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "11EZ", "{:?}", render(&frames));
    for _ in 0..8 {
        assert_eq!(client.exchange(&[parse("", &long, &[]), sync()]), "1Z");
    }
    assert_eq!(client.scalar("select 'usable'"), "usable");
}

#[test]
fn p7_close_of_unknown_names_is_answered() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    assert_eq!(
        client.exchange(&[close(b'S', "none"), close(b'P', "none"), sync()]),
        "33Z"
    );
    assert_eq!(
        client.exchange(&[close(b'S', ""), close(b'P', ""), sync()]),
        "33Z"
    );
}

#[test]
fn p8_an_open_portal_keeps_its_connection() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    let select = "select i from generate_series(1, 6) i";
    client.send(
        &[
            parse("", select, &[]),
            bind_text("p", "", &[]),
            execute("p", 2),
            flush(),
        ]
        .concat(),
    );
    assert_eq!(rows(&client.until(b's')), ["1", "2"]);
    other.send(&query("select 'other'"));
    proxy.wait_waiters(1);
    client.send(&[execute("p", 3), flush()].concat());
    assert_eq!(rows(&client.until(b's')), ["3", "4", "5"]);
    client.send(&[execute("p", 0), sync()].concat());
    assert_eq!(rows(&client.until_ready()), ["6"]);
    assert_eq!(rows(&other.until_ready()), ["other"]);
}

#[test]
fn p9_parse_describe_and_errors_in_every_place_answer_as_postgresql_does() {
    let proxy = plan().size(1).start();
    let cluster = postgres::cluster();
    let mut contender = proxy.connect();
    for prepared_before in [false, true] {
        for describes in ["", "S", "P", "SP"] {
            for broken in ["", "parse", "bind", "execute", "describe"] {
                let mut batch = Vec::new();
                if !prepared_before || broken == "parse" {
                    let name = if prepared_before { "s" } else { "fresh" };
                    let text = if broken == "parse" {
                        "selekt"
                    } else {
                        "select 10 / $1::int"
                    };
                    batch.push(parse(name, text, &[]));
                }
                let name = if prepared_before { "s" } else { "fresh" };
                if broken == "describe" {
                    batch.push(describe(b'S', "absent"));
                }
                if describes.contains('S') {
                    batch.push(describe(b'S', name));
                }
                let parameter = if broken == "execute" { "0" } else { "5" };
                let parameters = if broken == "bind" {
                    vec!["5", "6"]
                } else {
                    vec![parameter]
                };
                batch.push(bind_text("", name, &parameters));
                if describes.contains('P') {
                    batch.push(describe(b'P', ""));
                }
                batch.extend([
                    execute("", 0),
                    sync(),
                    bind_text("", name, &["2"]),
                    execute("", 0),
                    sync(),
                ]);

                let mut direct = cluster.connect("app");
                let mut proxied = proxy.connect();
                let answers = [&mut direct, &mut proxied].map(|client| {
                    if prepared_before {
                        client.exchange(&[parse("s", "select 10 / $1::int", &[]), sync()]);
                        contender.run("select 1");
                    }
                    client.send(&batch.concat());
                    [render(&client.until_ready()), render(&client.until_ready())]
                });
                assert_eq!(
                    answers[0], answers[1],
                    "prepared before: {prepared_before}, described: {describes:?}, broken: {broken:?}"
                );
            }
        }
    }
}

#[test]
fn p10_evictions_do_not_disturb_a_flush_driven_pipeline() {
    let proxy = plan().size(1).pool("prepared_statements", 2).start();
    let mut client = proxy.connect();
    for round in 0..12 {
        let name = format!("s{round}");
        client.send(
            &[
                parse(&name, format!("select {round}"), &[]),
                describe(b'S', &name),
                flush(),
            ]
            .concat(),
        );
        assert_eq!(tags(&client.until(b'T')), "1tT");
        client.send(&[bind_text("", &name, &[]), execute("", 0), flush()].concat());
        assert_eq!(tags(&client.until(b'C')), "2DC");
    }
    client.send(&sync());
    assert_eq!(tags(&client.until_ready()), "Z");
    for round in 0..12 {
        assert_eq!(
            run(&mut client, &format!("s{round}"), &[]),
            [round.to_string()]
        );
    }
}

#[test]
fn p11_a_connection_never_holds_more_statements_than_configured() {
    let proxy = plan().size(1).pool("prepared_statements", 5).start();
    std::thread::scope(|threads| {
        for worker in 0..4 {
            let proxy = &proxy;
            threads.spawn(move || {
                let mut client = proxy.connect();
                for round in 0..40 {
                    let name = format!("s{round}");
                    let text = format!("select {}", worker * 1000 + round);
                    client.exchange(&[
                        parse(&name, text, &[]),
                        bind_text("", &name, &[]),
                        execute("", 0),
                        sync(),
                    ]);
                    let count: u32 = client
                        .scalar("select count(*) from pg_prepared_statements")
                        .parse()
                        .expect("a number");
                    assert!(count <= 5, "{count} statements");
                }
            });
        }
    });
}

#[test]
fn p12_thousands_of_statements_and_copies_cost_constant_time_each() {
    let proxy = plan().size(1).pool("prepared_statements", 100).start();
    let mut client = proxy.connect();
    client.run("create table if not exists p12 (a int)");
    let mut times = Vec::new();
    for part in 0..4 {
        let began = Instant::now();
        for round in 0..1000 {
            let name = format!("s{part}_{round}");
            let messages = [
                parse(&name, format!("select {round}"), &[]),
                bind_text("", &name, &[]),
                execute("", 0),
                sync(),
            ];
            assert_eq!(client.exchange(&messages), "12DCZ");
        }
        times.push(began.elapsed());
        for _ in 0..50 {
            client.send(&query("copy p12 from stdin"));
            client.expect(b'G');
            client.send(
                &[
                    crate::message::copy_data(b"1\n"),
                    crate::message::copy_done(),
                ]
                .concat(),
            );
            assert_eq!(tags(&client.until_ready()), "CZ");
        }
    }
    assert!(
        times[3] < times[0] * 5 + Duration::from_millis(200),
        "{times:?}"
    );
}

#[test]
fn p13_a_changed_result_type_costs_at_most_one_clean_error() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    other.run("drop table if exists p13; create table p13 as select 1 as a");
    assert_eq!(
        client.exchange(&[parse("s", "select * from p13", &[]), sync()]),
        "1Z"
    );
    assert_eq!(run(&mut client, "s", &[]), ["1"]);
    other.run("alter table p13 alter a type text using 'now text'");
    client.send(&[bind_text("", "s", &[]), execute("", 0), sync()].concat());
    let frames = client.until_ready();
    if let Some(error) = frames.iter().find(|frame| frame.tag == b'E') {
        assert_eq!(error.sqlstate(), "0A000");
        client.exchange(&[
            close(b'S', "s"),
            parse("s", "select * from p13", &[]),
            sync(),
        ]);
    }
    assert_eq!(run(&mut client, "s", &[]), ["now text"]);
    let mut third = proxy.connect();
    assert_eq!(
        third.exchange(&[parse("s", "select * from p13", &[]), sync()]),
        "1Z"
    );
    assert_eq!(run(&mut third, "s", &[]), ["now text"]);
}

#[test]
fn p14_pgbench_runs_in_every_mode() {
    let pgbench = postgres::bin_folder().join("pgbench");
    if !pgbench.exists() {
        println!("skipped: no pgbench");
        return;
    }
    let proxy = plan().size(2).start();
    proxy.connect().run(
        "drop table if exists p14; create table p14 (id int primary key, n int);
         insert into p14 select i, 0 from generate_series(1, 100) i",
    );
    let folder = std::env::temp_dir().join(format!("dsql-proxy-p14-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let script = folder.join("script.sql");
    std::fs::write(
        &script,
        "\\set id random(1, 100)\nselect n from p14 where id = :id;\nbegin;\n\
         update p14 set n = n + 1 where id = :id;\nselect n from p14 where id = :id;\ncommit;\nselect 1;\n",
    )
    .expect("a file");
    // A thread for each client: pgbench waits for the answer to PREPARE with all others of its thread.
    for mode in ["simple", "extended", "prepared"] {
        let done = Command::new(&pgbench)
            .args([
                "-n",
                "-h",
                "127.0.0.1",
                "-U",
                ROLE,
                "-M",
                mode,
                "-c",
                "5",
                "-j",
                "5",
                "-t",
                "40",
                "-f",
            ])
            .arg(&script)
            .args(["-p", &proxy.port.to_string(), "app"])
            .env("PGPASSWORD", ROLE)
            .env("PGSSLMODE", "disable")
            .output()
            .expect("pgbench");
        let text = String::from_utf8_lossy(&done.stdout);
        assert!(
            done.status.success() && text.contains("actually processed: 200/200"),
            "{mode}: {text}\n{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn p15_a_duplicate_parse_is_42p05_and_the_session_goes_on() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    assert_eq!(
        client.exchange(&[parse("s", "select 'first'", &[]), sync()]),
        "1Z"
    );
    client.send(&[parse("s", "select 'second'", &[]), sync()].concat());
    let frames = client.until_ready();
    assert_eq!(frames[0].sqlstate(), "42P05");
    assert_eq!(
        frames[0].field(b'M').expect("a message"),
        "prepared statement \"s\" already exists"
    );
    assert_eq!(run(&mut client, "s", &[]), ["first"]);
}

#[test]
fn p17_function_calls_are_answered() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let number = |value: i32| (1, Some(value.to_be_bytes().to_vec()));
    client.send(&function_call(177, &[number(40), number(2)], 1));
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "VZ");
    assert_eq!(frames[0].body, [0, 0, 0, 4, 0, 0, 0, 42]);
    client.send(&function_call(999_999, &[], 1));
    assert_eq!(tags(&client.until_ready()), "EZ");
    assert_eq!(client.scalar("select 1"), "1");
}

#[test]
fn p18_statements_of_two_clients_with_one_name_do_not_mix() {
    let proxy = plan().size(1).start();
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.connect()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(
            client.exchange(&[parse("s", format!("select $1 || {at}"), &[25]), sync()]),
            "1Z"
        );
    }
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(run(client, "s", &["x"]), [format!("x{at}")]);
        client.send(&[describe(b'S', "s"), sync()].concat());
        assert_eq!(tags(&client.until_ready()), "tTZ");
    }
}

#[test]
fn p19_errors_name_the_statement_as_the_client_does() {
    let proxy = plan().size(1).start();
    let mut client = proxy.login(&Login::new(ROLE, "app")).expect("login");
    client.send(&[parse("mine", "select $1::int", &[]), sync()].concat());
    client.until_ready();
    client.send(&[bind("", "mine", &[], &[]), sync()].concat());
    let frames = client.until_ready();
    assert_eq!(
        frames[0].field(b'M').expect("a message"),
        "bind message supplies 0 parameters, but prepared statement \"mine\" requires 1"
    );
}

fn message_of(frames: &[crate::message::Frame]) -> String {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    let message = error.and_then(|frame| frame.field(b'M'));
    message.expect("an error with a message")
}

#[test]
fn p20_errors_name_a_statement_as_it_was_called_when_it_was_bound() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let text = "select $1::int";
    // The second name may mean the very same server-side statement.
    let batch = [
        parse("first", text, &[]),
        bind("", "first", &[], &[]),
        close(b'S', "first"),
        parse("second", text, &[]),
        sync(),
    ];
    client.send(&batch.concat());
    assert!(message_of(&client.until_ready()).contains("\"first\""));

    let batch = [
        parse("gone", "select 1", &[]),
        parse("mine", "deallocate gone", &[25]),
        bind("", "mine", &[], &[]),
        sync(),
        close(b'S', "gone"),
        bind("", "mine", &[], &[]),
        sync(),
    ];
    client.send(&batch.concat());
    for _ in 0..2 {
        assert!(message_of(&client.until_ready()).contains("\"mine\""));
    }
}

#[test]
fn p21_an_unnamed_statement_that_a_query_destroyed_stays_destroyed() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let failing = [
        parse("", "select 1", &[]),
        bind_text("", "", &["too many"]),
        close(b'S', ""),
        sync(),
        query("select 2"),
    ];
    client.send(&failing.concat());
    assert_eq!(tags(&client.until_ready()), "1EZ");
    assert_eq!(tags(&client.until_ready()), "TDCZ");
    client.send(&[bind_text("", "", &[]), sync()].concat());
    assert!(message_of(&client.until_ready()).contains("does not exist"));
}

#[test]
fn p22_an_unnamed_statement_survives_requests_that_were_skipped() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let kept = || parse("", "select 'kept'", &[]);
    let other = || parse("", "select 'other'", &[]);
    let fault = || parse("", "selekt", &[]);
    let unknown = || describe(b'S', "unknown");
    let skipped = |message| [unknown(), message, sync()].concat();
    let begin = [kept(), sync()].concat();
    // What is written at once, how many ReadyForQuery it brings, what the unnamed statement is then.
    let cases = [
        ([skipped(other()), begin.clone()].concat(), 2, Some("kept")),
        ([skipped(kept()), begin.clone()].concat(), 2, Some("kept")),
        (
            [begin.clone(), skipped(other()), skipped(other())].concat(),
            3,
            Some("kept"),
        ),
        (
            [begin.clone(), skipped(query("select 1").repeat(2))].concat(),
            2,
            Some("kept"),
        ),
        (
            [begin.clone(), skipped(close(b'S', ""))].concat(),
            2,
            Some("kept"),
        ),
        (
            [begin.clone(), fault(), sync(), skipped(other())].concat(),
            3,
            None,
        ),
        (
            [begin, skipped(other()), query("select 1")].concat(),
            3,
            None,
        ),
    ];
    for (number, (bytes, readies, expected)) in cases.into_iter().enumerate() {
        client.run("select 1");
        client.send(&bytes);
        (0..readies).for_each(|_| drop(client.until_ready()));
        client.send(&[bind_text("", "", &[]), execute("", 0), sync()].concat());
        let frames = client.until_ready();
        assert_eq!(
            rows(&frames),
            Vec::from_iter(expected),
            "case {number}: {:?}",
            render(&frames)
        );
        if expected.is_none() {
            assert!(message_of(&frames).contains("unnamed"), "case {number}");
        }
    }
}

#[test]
fn p23_an_unnamed_statement_that_was_to_be_restored_in_a_failed_batch_is_restored_in_the_next() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    client.send(&[parse("", "select 'mine'", &[]), sync()].concat());
    client.until_ready();
    // Their unnamed statement is on the connection now.
    let theirs = [parse("", "select 'theirs'", &[]), sync()];
    assert_eq!(other.exchange(&theirs), "1Z");
    let bound = [bind_text("", "", &[]), execute("", 0), sync()].concat();
    client.send(&[describe(b'S', "unknown"), bound.clone(), bound].concat());
    assert_eq!(tags(&client.until_ready()), "EZ");
    assert_eq!(rows(&client.until_ready()), ["mine"]);
}

#[test]
fn p24_deallocate_all_takes_the_named_statements_only() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let run = [bind_text("", "", &[]), execute("", 0), sync()].concat();
    client.send(
        &[
            parse("s", "select 1", &[]),
            parse("", "deallocate all", &[]),
        ]
        .concat(),
    );
    for _ in 0..2 {
        client.send(&run);
        let frames = client.until_ready();
        assert!(tags(&frames).ends_with("2CZ"), "{:?}", render(&frames));
    }
    client.send(&[bind_text("", "s", &[]), sync()].concat());
    assert!(message_of(&client.until_ready()).contains("\"s\" does not exist"));
}

#[test]
fn p25_a_deallocate_all_that_is_not_reached_leaves_the_statements_of_others() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    assert_eq!(
        client.exchange(&[parse("s", "select 'mine'", &[]), sync()]),
        "1Z"
    );
    other.send(&query("select 1/0; deallocate all"));
    assert_eq!(tags(&other.until_ready()), "EZ");
    assert_eq!(run(&mut client, "s", &[]), ["mine"]);
}

#[test]
fn p26_a_deallocate_stands_when_its_implicit_transaction_fails_at_the_end() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run(
        "drop table if exists p26; create table p26 (a int unique deferrable initially deferred)",
    );
    client.send(&[parse("s", "select 1", &[]), sync()].concat());
    client.until_ready();
    let batch = [
        parse("", "insert into p26 values (1), (1)", &[]),
        bind_text("", "", &[]),
        execute("", 0),
        query("deallocate s"),
    ];
    client.send(&batch.concat());
    assert_eq!(tags(&client.until_ready()), "12CEZ");
    client.send(&[bind_text("", "s", &[]), sync()].concat());
    assert!(message_of(&client.until_ready()).contains("\"s\" does not exist"));
}

#[test]
fn p27_a_duplicate_parse_is_42p05_though_the_older_statement_could_not_be_parsed_now() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("drop table if exists p27; create table p27 (a int)");
    client.send(&[parse("s", "select a from p27", &[]), sync()].concat());
    client.until_ready();
    client.run("drop table p27");
    client.send(&[parse("s", "select 1", &[]), sync()].concat());
    let frames = client.until_ready();
    assert_eq!(frames[0].field(b'C').expect("a code"), "42P05");
}

#[test]
fn p28_queries_behind_a_statement_that_cannot_be_prepared_again_are_answered_each() {
    let proxy = plan().size(2).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    client.send(&[parse("s", "select 1", &[]), sync()].concat());
    client.until_ready();
    // The connection with the statement was used last and is the first to be lent again.
    other.run("begin");
    other.run("select 1");
    let failing = [
        query("begin read only"),
        query("release absent"),
        query("deallocate s"),
        query("select 2"),
        sync(),
        query("rollback"),
    ];
    client.send(&failing.concat());
    let answers = [(); 6].map(|()| tags(&client.until_ready()));
    assert_eq!(answers, ["CZ", "EZ", "EZ", "EZ", "Z", "CZ"]);
    other.run("rollback");
    client.send(&[bind_text("", "s", &[]), execute("", 0), sync()].concat());
    assert_eq!(tags(&client.until_ready()), "2DCZ");
}
