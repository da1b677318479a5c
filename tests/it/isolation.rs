//! What one client must not be able to do to another, each once possible.

use std::io::Write;

use crate::client::{Client, Login, render, tags};
use crate::message::{Frame, bind_text, close, execute, parse, query, sync, terminate};
use crate::postgres::{self, ROLE};
use crate::proxy::plan;

fn column(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| String::from_utf8(row.values().remove(0).unwrap_or_default()).expect("text"))
        .collect()
}

fn run_named(client: &mut Client, name: &str) -> Vec<String> {
    client.send(&[bind_text("", name, &[]), execute("", 0), sync()].concat());
    column(&client.until_ready())
}

#[test]
fn a_shared_statement_cannot_be_replaced() {
    let proxy = plan().size(1).start();
    let (mut attacker, mut victim) = (proxy.connect(), proxy.connect());
    let text = "select 'good'";
    attacker.exchange(&[parse("s", text, &[]), sync()]);
    for name in column(&attacker.run("select name from pg_prepared_statements")) {
        attacker.send(&query(format!("deallocate {name}")));
        attacker.until_ready();
    }
    attacker.exchange(&[parse("s", "select 'evil'", &[]), sync()]);
    victim.exchange(&[parse("v", text, &[]), sync()]);
    assert_eq!(run_named(&mut victim, "v"), ["good"]);
}

#[test]
fn statements_are_not_shared_across_settings_that_constants_depend_on() {
    let proxy = plan().size(1).start();
    let (mut first, mut second) = (proxy.connect(), proxy.connect());
    let text = "select (timestamptz '2024-01-01 00:00' at time zone 'UTC')::text";
    first.run("set timezone = 'Asia/Tokyo'");
    second.run("set timezone = 'UTC'");
    first.exchange(&[parse("s", text, &[]), sync()]);
    second.exchange(&[parse("s", text, &[]), sync()]);
    assert_eq!(run_named(&mut first, "s"), ["2023-12-31 15:00:00"]);
    assert_eq!(run_named(&mut second, "s"), ["2024-01-01 00:00:00"]);
}

#[test]
fn a_setting_hidden_from_the_scan_reaches_nobody_else() {
    let hidden = [
        "select E'a'\n'\\''; set statement_timeout = '1min' --'",
        "update pg_settings set setting = '60000' where name = 'statement_timeout'",
        "set standard_conforming_strings = off",
        "select U&\"set\\005fconfig\"('statement_timeout', '1min', false)",
    ];
    for text in hidden {
        let proxy = plan().size(1).start();
        let mut attacker = proxy.connect();
        attacker.send(&query(text));
        attacker.until_ready();
        attacker.send(&query("select '\\'; set statement_timeout = '1min' --'"));
        attacker.until_ready();
        drop(attacker);
        let mut other = proxy.connect();
        assert_eq!(
            column(&other.run("show statement_timeout")),
            ["0"],
            "{text}"
        );
        let strings = column(&other.run("show standard_conforming_strings"));
        assert_eq!(strings, ["on"], "{text}");
    }
}

#[test]
fn terminate_behind_unasked_or_unfinished_messages_frees_the_connection() {
    let proxy = plan().size(1).start();
    let ends = [
        [parse("", "select 1", &[]), terminate()].concat(),
        [
            query("copy (select 1) to stdout"),
            parse("", "select 1", &[]),
            terminate(),
        ]
        .concat(),
        [
            query("create table if not exists ended (a int); copy ended from stdin"),
            terminate(),
        ]
        .concat(),
    ];
    for bytes in ends {
        let mut leaving = proxy.connect();
        leaving.send(&bytes);
        drop(leaving);
        let mut other = proxy.connect();
        assert_eq!(column(&other.run("select 'served'")), ["served"]);
    }
}

#[test]
fn a_pipelined_discard_all_unpins_only_what_it_discarded() {
    let temporary = query("create temp table kept (a int)");
    let discard = [
        query("discard all"),
        [
            parse("", "discard all", &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ]
        .concat(),
    ];
    for discard in discard {
        let proxy = plan().size(1).pool("wait_timeout", "500ms").start();
        let (mut client, mut other) = (proxy.connect(), proxy.connect());
        // What came before is gone, and with it the pin.
        client.send(&[temporary.clone(), discard.clone()].concat());
        client.until_ready();
        let frames = client.until_ready();
        assert!(tags(&frames).ends_with("CZ"), "{:?}", render(&frames));
        assert_eq!(other.sqlstate("select * from kept"), "42P01");
        // What comes behind it keeps the connection.
        client.send(&[discard.clone(), temporary.clone(), query("select 1")].concat());
        for _ in 0..3 {
            let frames = client.until_ready();
            assert!(!tags(&frames).contains('E'), "{:?}", render(&frames));
        }
        assert_eq!(other.sqlstate("select 1"), "53300");
        assert_eq!(column(&client.run("select count(*) from kept")), ["0"]);
        drop(client);
        assert_eq!(other.sqlstate("select * from kept"), "42P01");
    }
}

/// A cursor may take the name of a portal that is gone, and is run by Execute like one.
#[test]
fn a_portal_that_is_gone_leaves_no_effect_with_its_name() {
    let bound = || [bind_text("p", "set", &[]), sync()].concat();
    let wrong = |portal| [bind_text(portal, "number", &["x"]), sync()].concat();
    let conversations = [
        vec![bound(), wrong("q"), query("rollback"), query("begin")],
        vec![bound(), wrong("p"), query("rollback"), query("begin")],
        vec![bound(), query("commit"), query("begin")],
        vec![
            query("savepoint a"),
            [bind_text("p", "set", &["x"]), sync()].concat(),
            query("rollback to a"),
        ],
        vec![query("savepoint a"), bound(), query("rollback to a")],
        vec![bound(), [close(b'P', "p"), sync()].concat()],
        vec![bound(), query("close p")],
    ];
    for (number, conversation) in conversations.into_iter().enumerate() {
        let proxy = plan().size(2).start();
        let mut client = proxy.connect();
        let prepared = [
            parse("set", "set statement_timeout = '1min'", &[]),
            parse("number", "select $1::int", &[]),
            sync(),
        ];
        assert_eq!(client.exchange(&prepared), "11Z");
        client.run("begin");
        for batch in conversation {
            client.send(&batch);
            client.until_ready();
        }
        client.run("declare p cursor for select 1");
        assert_eq!(
            client.exchange(&[execute("p", 0), sync()]),
            "DCZ",
            "{number}"
        );
        client.run("commit");
        // What the proxy believes to be set on this connection, it would set on another.
        let mut other = proxy.connect();
        other.run("begin");
        assert_eq!(
            column(&other.run("show statement_timeout")),
            ["0"],
            "{number}"
        );
        assert_eq!(
            column(&client.run("show statement_timeout")),
            ["0"],
            "{number}"
        );
    }
}

#[test]
fn a_backslash_that_is_half_a_character_hides_nothing() {
    // Shift-JIS writes KATAKANA SO as 83 5C; 5C alone is a backslash.
    let hidden = b"select E'\x83\x5c'; set statement_timeout = '1min' --'";
    let sjis = [
        "set client_encoding = 'SJIS'",
        "set names 'sjis'",
        "select set_config('client_encoding', 'SJIS', false)",
        "update pg_settings set setting = 'SJIS' where name = 'client_encoding'",
        "do $$ begin perform set_config('client_encoding', 'SJIS', false); end $$",
    ];
    let mut ways: Vec<(Login, Vec<u8>)> = sjis
        .iter()
        .map(|text| (Login::new(ROLE, "app"), query(text)))
        .collect();
    let extended = [
        parse("", sjis[0], &[]),
        bind_text("", "", &[]),
        execute("", 0),
        sync(),
    ];
    ways.push((Login::new(ROLE, "app"), extended.concat()));
    for (name, value) in [
        ("client_encoding", "SJIS"),
        ("options", "-c client_encoding=SJIS"),
    ] {
        ways.push((Login::new(ROLE, "app").with(name, value), query("select 1")));
    }
    for (number, (login, begin)) in ways.into_iter().enumerate() {
        let proxy = plan().size(1).start();
        let mut attacker = proxy.login(&login).expect("login");
        attacker.send(&begin);
        attacker.until_ready();
        assert_eq!(
            column(&attacker.run("show client_encoding")),
            ["SJIS"],
            "way {number}"
        );
        attacker.send(&query(hidden));
        assert_eq!(tags(&attacker.until_ready()), "TDCCZ", "way {number}");
        assert_eq!(
            column(&attacker.run("show statement_timeout")),
            ["1min"],
            "way {number}"
        );
        drop(attacker);
        let mut other = proxy.connect();
        assert_eq!(
            column(&other.run("show statement_timeout")),
            ["0"],
            "way {number}"
        );
        assert_eq!(
            column(&other.run("show client_encoding")),
            ["UTF8"],
            "way {number}"
        );
    }
}

#[test]
fn settings_come_along_when_the_connection_is_replaced() {
    let proxy = plan().size(1).start();
    let login = Login::new(ROLE, "app").with("application_name", "mover");
    let mut client = proxy.login(&login).expect("login");
    client.run("set timezone = 'Asia/Tokyo'; set statement_timeout = '1min'");
    client.run("begin; set search_path = 'lost'; rollback");
    client.run("begin; set local work_mem = '9MB'; set datestyle = 'german, dmy'; commit");
    let text = "select concat_ws('|', current_setting('timezone'), \
                current_setting('statement_timeout'), current_setting('search_path'), \
                current_setting('work_mem'), current_setting('datestyle'), \
                current_setting('application_name'))";
    let expected = ["Asia/Tokyo|1min|\"$user\", public|4MB|German, DMY|mover"];
    assert_eq!(client.exchange(&[parse("s", text, &[]), sync()]), "1Z");
    assert_eq!(run_named(&mut client, "s"), expected);
    let mut admin = postgres::cluster().connect_superuser("app");
    for _ in 0..2 {
        let pid = client.scalar("select pg_backend_pid()");
        admin.run(&format!("select pg_terminate_backend({pid})"));
        let there = format!("select count(*) from pg_stat_activity where pid = {pid}");
        while admin.scalar(&there) != "0" {}
        assert_eq!(run_named(&mut client, "s"), expected);
        assert_ne!(client.scalar("select pg_backend_pid()"), pid);
    }
    let mut other = proxy.connect();
    assert_eq!(column(&other.run("show timezone")), ["UTC"]);
}

#[test]
fn a_flood_of_close_is_answered_in_bounded_memory() {
    const COUNT: usize = 500_000;
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("select 1");
    let before = proxy.resident();
    let mut writer = client.socket().try_clone().expect("a socket");
    let sender = std::thread::spawn(move || {
        // The server answers the Parse only at the Sync, and each Close has to wait for that.
        let flood = [
            parse("s", "select 1", &[]),
            close(b'S', "none").repeat(COUNT),
            sync(),
        ];
        writer.write_all(&flood.concat()).expect("sent");
    });
    let mut most = 0;
    assert_eq!(client.frame().expect("a message").tag, b'1');
    for number in 0..COUNT {
        assert_eq!(
            client.frame().expect("a message").tag,
            b'3',
            "after {number}"
        );
        if number % 50_000 == 0 {
            most = most.max(proxy.resident());
        }
    }
    assert_eq!(client.frame().expect("a message").tag, b'Z');
    sender.join().expect("sent");
    let grown = most.saturating_sub(before) / (1024 * 1024);
    assert!(grown < 32, "{grown} MiB more");
    assert_eq!(client.scalar("select 'usable'"), "usable");
}
