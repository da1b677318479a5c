//! What one client must not be able to do to another, each once possible.

use crate::client::Client;
use crate::message::{Frame, bind_text, execute, parse, query, sync, terminate};
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
