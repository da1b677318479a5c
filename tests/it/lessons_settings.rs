//! Numbered cases, group S: what one client sets is never seen by another, and never lost.

use crate::client::{Client, Login, tags};
use crate::message::{bind_text, execute, parse, query, sync};
use crate::postgres::ROLE;
use crate::proxy::{Proxy, plan};
use crate::upstream::Upstream;

const DEFAULT_WORK_MEM: &str = "4MB";

fn fresh(proxy: &Proxy, sql: &str) -> String {
    proxy.connect().scalar(sql)
}

#[test]
fn s1_a_role_is_gone_for_the_next_client() {
    for session_mode in [false, true] {
        let mut plan = plan().size(1);
        if session_mode {
            plan = plan.session_mode();
        }
        let proxy = plan.start();
        for leave in 0..4 {
            let mut client = proxy.connect();
            match leave {
                0 => drop(client.run("set role other")),
                1 => drop(client.run("begin; set role other")),
                2 => drop(client.run("set session authorization app; set role other")),
                _ => drop(
                    client.run("begin; set local role other; commit; set role other; reset all"),
                ),
            }
            drop(client);
            assert_eq!(
                fresh(&proxy, "select current_user || session_user"),
                "appapp",
                "way {leave}"
            );
        }
    }
}

#[test]
fn s1_a_role_stays_with_its_client() {
    let proxy = plan().size(2).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    client.run("set role other");
    assert_eq!(other.scalar("select current_user"), "app");
    assert_eq!(client.scalar("select current_user"), "other");
    client.run("reset all");
    assert_eq!(other.scalar("select current_user"), "app");
    assert_eq!(
        client.scalar("select current_user"),
        "other",
        "RESET ALL leaves the role"
    );
    client.run("reset role");
    assert_eq!(client.scalar("select current_user"), "app");
}

#[test]
fn s2_a_setting_of_a_rolled_back_transaction_is_gone_for_everybody() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    client.run("begin");
    client.run("set work_mem = '9MB'");
    client.run("rollback");
    assert_eq!(other.scalar("show work_mem"), DEFAULT_WORK_MEM);
    assert_eq!(client.scalar("show work_mem"), DEFAULT_WORK_MEM);

    client.run("set work_mem = '10MB'");
    client.run("begin");
    client.run("savepoint a");
    client.run("set work_mem = '11MB'");
    client.run("rollback to a");
    client.run("commit");
    assert_eq!(other.scalar("show work_mem"), DEFAULT_WORK_MEM);
    assert_eq!(client.scalar("show work_mem"), "10MB");

    client.query("begin");
    client.query("set work_mem = '12MB'");
    client.query("select 1/0");
    client.query("commit");
    assert_eq!(other.scalar("show work_mem"), DEFAULT_WORK_MEM);
    assert_eq!(client.scalar("show work_mem"), "10MB");
}

#[test]
fn s3_in_steady_state_no_setting_is_sent_again() {
    let upstream = Upstream::start(|conversation| conversation.serve());
    let proxy = plan().size(1).endpoint(&upstream.endpoint()).start();
    let mut client = proxy
        .login(&Login::new(ROLE, "app").with("application_name", "steady"))
        .expect("login");
    client.run("set datestyle = 'iso'");
    client.run("select 'warm'");
    upstream.statements.lock().expect("unpoisoned").clear();
    for _ in 0..50 {
        client.run("select 'steady'");
    }
    let statements = upstream.statements.lock().expect("unpoisoned").clone();
    assert_eq!(statements, vec!["select 'steady'"; 50]);
}

#[test]
fn s4_each_form_of_set_lasts_as_long_as_it_should() {
    let proxy = plan().size(2).start();
    let isolation = "show transaction_isolation";
    // What is said, what is asked afterwards, what the client then sees.
    let forms: &[(&str, &str, &str)] = &[
        ("set work_mem = '9MB'", "show work_mem", "9MB"),
        ("set session work_mem to '9MB'", "show work_mem", "9MB"),
        (
            "set work_mem = '9MB'; set work_mem to default",
            "show work_mem",
            "4MB",
        ),
        ("set local work_mem = '9MB'", "show work_mem", "4MB"),
        (
            "begin; set local work_mem = '9MB'; commit",
            "show work_mem",
            "4MB",
        ),
        (
            "begin; set work_mem = '9MB'; commit",
            "show work_mem",
            "9MB",
        ),
        (
            "select set_config('work_mem', '9MB', false)",
            "show work_mem",
            "9MB",
        ),
        (
            "select set_config('work_mem', '9MB', true)",
            "show work_mem",
            "4MB",
        ),
        (
            "begin; set transaction isolation level serializable; commit",
            isolation,
            "read committed",
        ),
        (
            "begin isolation level serializable; commit",
            isolation,
            "read committed",
        ),
        (
            "set session characteristics as transaction isolation level serializable",
            isolation,
            "serializable",
        ),
        (
            "set default_transaction_isolation = 'serializable'",
            isolation,
            "serializable",
        ),
        (
            "set time zone 'Europe/Vienna'",
            "show timezone",
            "Europe/Vienna",
        ),
        ("set names 'LATIN1'", "show client_encoding", "LATIN1"),
        (
            "set work_mem = '9MB'; reset work_mem",
            "show work_mem",
            "4MB",
        ),
        ("set work_mem = '9MB'; reset all", "show work_mem", "4MB"),
        ("set work_mem = '9MB'; discard all", "show work_mem", "4MB"),
        (
            "/* a comment */ set work_mem = '9MB' -- behind",
            "show work_mem",
            "9MB",
        ),
        ("set my.own = 'x'", "show my.own", "x"),
    ];
    for (said, asked, expected) in forms {
        let mut client = proxy.connect();
        let mut other = proxy.connect();
        let before = (*asked != "show my.own").then(|| other.scalar(asked));
        for statement in said.split("; ") {
            client.run(statement);
        }
        if let Some(before) = before {
            assert_eq!(other.scalar(asked), before, "another client after {said}");
        }
        assert_eq!(client.scalar(asked), *expected, "after {said}");
    }
}

#[test]
fn s4_settings_through_the_extended_protocol_count_too() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    let messages = [
        parse("s", "set work_mem = '9MB'", &[]),
        bind_text("", "s", &[]),
        execute("", 0),
        sync(),
    ];
    assert_eq!(client.exchange(&messages), "12CZ");
    assert_eq!(other.scalar("show work_mem"), DEFAULT_WORK_MEM);
    assert_eq!(client.scalar("show work_mem"), "9MB");
    client.run("reset work_mem");
    assert_eq!(
        client.exchange(&[bind_text("", "s", &[]), execute("", 0), sync()]),
        "2CZ"
    );
    assert_eq!(other.scalar("show work_mem"), DEFAULT_WORK_MEM);
    assert_eq!(client.scalar("show work_mem"), "9MB");
}

#[test]
fn s5_values_are_quoted_when_they_are_restored() {
    let proxy = plan().size(1).start();
    let mut other = proxy.connect();
    other.run("drop table if exists s5; create table s5 (a int)");
    for value in [
        "it's",
        "\"quoted\"",
        "a; drop table s5; --",
        "",
        "back\\slash",
        "E'\\x41'",
        "$$x$$",
        "été",
    ] {
        let literal = value.replace('\'', "''");
        let mut client = proxy.connect();
        client.run(&format!("set application_name = '{literal}'"));
        client.run(&format!("set my.own = '{literal}'"));
        other.run("select 1");
        let expected = if value == "été" { "?t?" } else { value };
        // PostgreSQL replaces what is not ASCII in application_name, byte by byte.
        let name = client.scalar("show application_name");
        assert!(
            name == expected || name == "??t??" || name.contains("\\x"),
            "{name:?}"
        );
        assert_eq!(client.scalar("show my.own"), value);
    }
    for path in [
        "\"a b\", public",
        "\"it's\"",
        "\"semi;colon\"",
        "''",
        "\"$user\", public",
    ] {
        let mut client = proxy.connect();
        client.run(&format!("set search_path = {path}"));
        let direct = client.scalar("show search_path");
        other.run("select 1");
        assert_eq!(client.scalar("show search_path"), direct, "{path}");
    }
    assert_eq!(other.scalar("select count(*) from s5"), "0");
}

#[test]
fn s6_startup_parameters_are_data() {
    let proxy = plan().size(1).start();
    let mut setup = proxy.connect();
    setup.run("drop table if exists s6; create table s6 (a int)");
    for (name, value) in [
        ("application_name", "x'; drop table s6; --"),
        ("search_path", "pg_catalog; drop table s6"),
        ("TimeZone", "UTC'; drop table s6; --"),
        ("options", "-c work_mem=1MB';drop\\ table\\ s6;--"),
    ] {
        // Taken as a value or refused, never run.
        if let Ok(mut client) = proxy.login(&Login::new(ROLE, "app").with(name, value)) {
            client.query("select 1");
        }
        assert_eq!(setup.scalar("select count(*) from s6"), "0", "{name}");
    }
}

#[test]
fn s6_startup_parameters_belong_to_one_client() {
    let proxy = plan().size(1).start();
    let login = Login::new(ROLE, "app")
        .with("application_name", "mine")
        .with("TimeZone", "Asia/Tokyo");
    let mut client = proxy.login(&login).expect("login");
    let mut other = proxy.connect();
    assert_eq!(client.parameters()["application_name"], "mine");
    assert_eq!(client.parameters()["TimeZone"], "Asia/Tokyo");
    assert_eq!(other.scalar("show application_name"), "");
    assert_eq!(client.scalar("show application_name"), "mine");
    assert_eq!(other.scalar("show timezone"), "UTC");
    assert_eq!(client.scalar("show timezone"), "Asia/Tokyo");
    client.run("set timezone = 'UTC'");
    client.run("reset timezone");
    assert_eq!(
        client.scalar("show timezone"),
        "Asia/Tokyo",
        "RESET goes back to the startup packet's"
    );
}

#[test]
fn s8_set_config_in_odd_places_reaches_nobody_else() {
    let proxy = plan().size(2).start();
    for sql in [
        "select 1 where set_config('work_mem', '9MB', false) is not null",
        "with a as (select set_config('work_mem', '9MB', false)) select * from a",
        "do $$ begin perform set_config('work_mem', '9MB', false); end $$",
        "do $$ begin execute 'set work_mem = ''9MB'''; end $$",
        "select (select set_config('work_mem', '9MB', false))",
    ] {
        let mut client = proxy.connect();
        client.query(sql);
        let mut other = proxy.connect();
        assert_eq!(other.scalar("show work_mem"), DEFAULT_WORK_MEM, "{sql}");
        client.query("select 1");
        drop(client);
        assert_eq!(fresh(&proxy, "show work_mem"), DEFAULT_WORK_MEM, "{sql}");
    }
}

#[test]
fn s9_a_transaction_left_open_is_rolled_back_before_anybody_else() {
    let proxy = plan().size(1).start();
    proxy
        .connect()
        .run("drop table if exists s9; create table s9 (a int)");
    for last in ["select 1", "select 1/0"] {
        let mut client = proxy.connect();
        client.run("begin");
        client.run("insert into s9 values (1)");
        client.query(last);
        drop(client);
        let mut other = proxy.connect();
        let frames = other.run("select count(*) from s9");
        assert_eq!(frames.last().expect("messages").body, b"I");
        assert_eq!(frames[1].values()[0].as_deref(), Some(&b"0"[..]));
    }
}

#[test]
fn s10_nothing_of_a_session_stays_behind() {
    // What a client leaves, and a question whose answer must be what it is for a new session.
    let cases: &[(&str, &str, &str)] = &[
        ("set work_mem = '9MB'", "show work_mem", "4MB"),
        (
            "create temp table left_over (a int)",
            "select to_regclass('left_over') is null",
            "t",
        ),
        (
            "prepare left_over as select 1",
            "select count(*) from pg_prepared_statements where name = 'left_over'",
            "0",
        ),
        (
            "declare left_over cursor with hold for select 1",
            "select count(*) from pg_cursors",
            "0",
        ),
        (
            "select pg_advisory_lock(4711)",
            "select count(*) from pg_locks where locktype = 'advisory' and objid = 4711",
            "0",
        ),
        (
            "listen left_over",
            "select count(*) from pg_listening_channels()",
            "0",
        ),
        (
            "set session characteristics as transaction read only",
            "show default_transaction_read_only",
            "off",
        ),
        ("set role other", "select current_user", "app"),
        (
            "set my.secret = 'x'",
            "select coalesce(current_setting('my.secret', true), '')",
            "",
        ),
    ];
    for session_mode in [false, true] {
        let plan = if session_mode {
            plan().size(1).session_mode()
        } else {
            plan().size(1)
        };
        let proxy = plan.start();
        for (left, question, expected) in cases {
            let mut client = proxy.connect();
            client.query(left);
            drop(client);
            assert_eq!(
                fresh(&proxy, question),
                *expected,
                "after {left}, session mode {session_mode}"
            );
        }
    }
}

#[test]
fn s11_a_session_keeps_its_temporary_table() {
    let proxy = plan().size(2).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    client.run("create temp table s11 (a int)");
    for round in 0..5 {
        other.run("select 1");
        client.run(&format!("insert into s11 values ({round})"));
    }
    assert_eq!(client.scalar("select count(*) from s11"), "5");
    drop((client, other));
    // Pinned connections come back, clean.
    proxy.wait_base();
    assert_eq!(fresh(&proxy, "select to_regclass('s11') is null"), "t");
}

#[test]
fn s13_replication_is_no_way_around() {
    let proxy = plan().size(1).start();
    for value in ["true", "database"] {
        let login = Login::new(ROLE, "app").with("replication", value);
        match proxy.login(&login) {
            Err(error) => assert!(!error.sqlstate().is_empty()),
            Ok(mut client) => assert!(tags(&client.query("IDENTIFY_SYSTEM")).contains('E')),
        }
        assert_eq!(fresh(&proxy, "select 1"), "1");
    }
}

#[test]
fn s14_reported_settings_reach_the_client_once_and_only_its_own() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    let changed = client.run("set timezone = 'Europe/Vienna'");
    assert_eq!(changed.iter().filter(|frame| frame.tag == b'S').count(), 1);
    for _ in 0..3 {
        for neighbour in [&mut other, &mut client] {
            neighbour.send(&query("select 1"));
            let frames = neighbour.until_ready();
            assert!(
                frames.iter().all(|frame| frame.tag != b'S'),
                "no setting of this client changed"
            );
        }
    }
}

#[test]
fn s15_settings_follow_their_client_over_many_connections() {
    let proxy = plan().size(3).workers(2).start();
    let mut clients: Vec<(String, Client)> = (0..8)
        .map(|at| {
            let mut client = proxy.connect();
            let value = format!("{}MB", at + 10);
            client.run(&format!("set work_mem = '{value}'"));
            (value, client)
        })
        .collect();
    for _ in 0..20 {
        clients
            .iter_mut()
            .for_each(|(_, client)| client.send(&query("show work_mem")));
        for (value, client) in &mut clients {
            let frames = client.until_ready();
            assert_eq!(frames[1].values()[0].as_deref(), Some(value.as_bytes()));
        }
    }
}

#[test]
fn s16_reset_goes_back_to_the_start_up_parameters_at_once() {
    let proxy = plan().size(1).start();
    let login = Login::new(ROLE, "app")
        .with("work_mem", "6MB")
        .with("search_path", "pg_catalog");
    let extended =
        |sql: &str| [parse("", sql, &[]), bind_text("", "", &[]), execute("", 0)].concat();
    let show = || query("show work_mem");
    let value = |frames: Vec<crate::message::Frame>| {
        let row = frames.iter().find(|frame| frame.tag == b'D');
        let value = row.and_then(|row| row.values().remove(0));
        String::from_utf8(value.unwrap_or_default()).expect("text")
    };
    for reset in ["reset all", "reset work_mem", "set work_mem to default"] {
        let mut client = proxy.login(&login).expect("login");
        // In one text, in one batch, and in batches written at once.
        client.run("set work_mem = '1MB'");
        client.send(&query(format!("{reset}; show work_mem; show search_path")));
        let frames = client.until_ready();
        assert_eq!(tags(&frames), "CTDCTDCZ", "{reset}");
        assert_eq!(value(frames), "6MB", "{reset}");

        client.run("set work_mem = '1MB'");
        client.send(&[extended(reset), show()].concat());
        let frames = client.until_ready();
        assert_eq!(tags(&frames), "12CTDCZ", "{reset}");
        assert_eq!(value(frames), "6MB", "{reset}");

        client.run("set work_mem = '1MB'");
        client.send(&[query(reset), sync(), show()].concat());
        client.until_ready();
        client.until_ready();
        assert_eq!(value(client.until_ready()), "6MB", "{reset}");

        // A RESET that is rolled back did nothing.
        client.run("set work_mem = '1MB'");
        client.run(&format!("begin; {reset}; rollback"));
        assert_eq!(client.scalar("show work_mem"), "1MB", "{reset}");
        client.send(&[extended(reset), extended("select 1/0"), sync(), show()].concat());
        client.until_ready();
        assert_eq!(value(client.until_ready()), "1MB", "{reset}");
    }
    let mut client = proxy.login(&login).expect("login");
    client.send(&query("reset all; selekt 1"));
    let frames = client.until_ready();
    assert_eq!(frames[0].field(b'P').as_deref(), Some("12"));
    // Requests written behind DISCARD ALL, one without an answer of its own.
    client.run("set work_mem = '1MB'");
    client.send(&[query("discard all"), sync(), show()].concat());
    client.until_ready();
    client.until_ready();
    assert_eq!(value(client.until_ready()), "6MB");
}

#[test]
fn s16_what_a_reset_changes_is_told_before_its_ready_for_query() {
    let proxy = plan().size(1).start();
    let login = Login::new(ROLE, "app").with("TimeZone", "Europe/Paris");
    for (reset, begun) in [("reset all", "begin"), ("discard all", "select 1")] {
        let mut client = proxy.login(&login).expect("login");
        client.run("set application_name = 'one'");
        client.run(begun);
        client.send(&[query(reset), sync()].concat());
        let frames = client.until_ready();
        let told: Vec<_> = frames
            .iter()
            .filter(|frame| frame.tag == b'S')
            .map(crate::client::parameter)
            .collect();
        assert_eq!(
            told,
            [("application_name".to_owned(), String::new())],
            "{reset}"
        );
        client.until_ready();
    }
}
