//! Transactions that the upstream aborts with 40001 at their commit, as Aurora DSQL does.
//!
//! The upstream is a PostgreSQL whose tables have deferred triggers: they refuse as many commits as
//! were ordered. Orders are taken from a sequence, because that is not rolled back.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::Client;
use crate::message::{
    Frame, bind_text, copy_data, copy_done, describe, execute, flush, message, parse, query, sync,
};
use crate::postgres;
use crate::proxy::{Proxy, plan};
use crate::upstream::Upstream;

/// A table `name` of rows `(id, value)`, whose commits can be refused.
pub struct Table {
    /// Its name.
    pub name: String,
    direct: Client,
}

impl Table {
    /// Rows 1 to 10 with value 0; no commit is refused.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("conflicts_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut direct = postgres::cluster().connect("app");
        direct.run(&format!(
            "create table {name} (id int primary key, value int);
             insert into {name} select n, 0 from generate_series(1, 10) n;
             create sequence {name}_left minvalue -1000000 maxvalue 1000000 start 0 increment -1;
             create function {name}_refuse() returns trigger language plpgsql as $$
             begin
                 if nextval('{name}_left') >= 0 then
                     raise exception 'change conflicts with another transaction (OC000)'
                         using errcode = '40001';
                 end if;
                 return null;
             end $$;
             create constraint trigger refuse after insert or update or delete on {name}
                 deferrable initially deferred for each row execute function {name}_refuse();
             select setval('{name}_left', -1)"
        ));
        Self { name, direct }
    }

    /// The next `count` rows that are committed are refused.
    pub fn refuse(&mut self, count: i64) {
        let name = &self.name;
        self.direct
            .run(&format!("select setval('{name}_left', {count}, true)"));
    }

    /// The value of a row.
    pub fn value(&mut self, id: u32) -> String {
        let name = &self.name;
        self.direct
            .scalar(&format!("select value from {name} where id = {id}"))
    }
}

fn start() -> (Proxy, Table) {
    (plan().retry(3).start(), Table::new())
}

/// How many transactions that met conflicts ended so.
pub fn outcomes(proxy: &Proxy, outcome: &str) -> f64 {
    proxy
        .metrics()
        .sum("dsqlproxy_retries_total", &[("outcome", outcome)])
}

/// Types of frames.
pub fn tags(frames: &[Frame]) -> String {
    frames.iter().map(|frame| char::from(frame.tag)).collect()
}

/// The ErrorResponse among frames.
pub fn error(frames: &[Frame]) -> &Frame {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    error.expect("an error")
}

#[test]
fn single_statements_are_run_again() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    let mut client = proxy.connect();
    table.refuse(2);
    let text = format!("update {name} set value = value + 1 where id = 1 returning value");
    assert_eq!(tags(&client.run(&text)), "TDCZ");
    assert_eq!(table.value(1), "1");
    table.refuse(1);
    let messages = [
        parse("s", &text, &[]),
        bind_text("", "s", &[]),
        describe(b'P', ""),
        execute("", 0),
        sync(),
    ];
    assert_eq!(client.exchange(&messages), "12TDCZ");
    assert_eq!(table.value(1), "2");
    // The statement is there and works after its repetition.
    assert_eq!(
        client.exchange(&[bind_text("", "s", &[]), execute("", 0), sync()]),
        "2DCZ"
    );
    assert_eq!(table.value(1), "3");
    table.refuse(1);
    client.run(&format!(
        "insert into {name} values (11, 0); update {name} set value = 5 where id = 11"
    ));
    assert_eq!(table.value(11), "5");
    assert_eq!(outcomes(&proxy, "repeated"), 3.0);
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_session_turns_repeating_off_for_itself() {
    let (proxy, mut table) = (plan().retry(3).dialect("compat").start(), Table::new());
    let text = format!("update {} set value = value + 1 where id = 1", table.name);
    let mut client = proxy.connect();
    client.run("set dsqlproxy.retry = off");
    table.refuse(1);
    assert_eq!(client.sqlstate(&text), "40001");
    // On counts for what begins later.
    client.run("begin; select 1");
    client.run("set local dsqlproxy.retry = on");
    client.run(&text);
    table.refuse(1);
    assert_eq!(client.sqlstate("commit"), "40001");
    client.run("reset dsqlproxy.retry");
    table.refuse(1);
    client.run(&text);
    assert_eq!(table.value(1), "1");
    client.run("begin");
    client.run(&text);
    client.run("set dsqlproxy.retry = off");
    table.refuse(1);
    assert_eq!(client.sqlstate("commit"), "40001");
    assert_eq!(outcomes(&proxy, "opted_out"), 3.0);
    assert_eq!(outcomes(&proxy, "repeated"), 1.0);
}

#[test]
fn attempts_end() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    let mut client = proxy.connect();
    table.refuse(4);
    let frames = client.query(&format!("update {name} set value = 1 where id = 1"));
    assert_eq!(tags(&frames), "EZ");
    assert_eq!(error(&frames).sqlstate(), "40001");
    assert!(error(&frames).field(b'H').is_some() && error(&frames).field(b'D').is_some());
    assert_eq!(table.value(1), "0");
    client.run(&format!("update {name} set value = 2 where id = 1"));
    assert_eq!(table.value(1), "2");
    assert_eq!(outcomes(&proxy, "exhausted"), 1.0);
}

#[test]
fn a_conversation_is_replayed_when_it_reads_the_same() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    let mut client = proxy.connect();
    client.run("begin");
    assert_eq!(
        client.scalar(&format!("select value from {name} where id = 1")),
        "0"
    );
    client.run(&format!("update {name} set value = 7 where id = 2"));
    let messages = [
        parse("", format!("select value from {name} where id = $1"), &[23]),
        bind_text("", "", &["2"]),
        execute("", 0),
        sync(),
    ];
    assert_eq!(client.exchange(&messages), "12DCZ");
    table.refuse(2);
    assert_eq!(tags(&client.run("commit")), "CZ");
    assert_eq!(table.value(2), "7");
    assert_eq!(outcomes(&proxy, "repeated"), 1.0);
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_conversation_that_would_read_otherwise_fails() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    let mut client = proxy.connect();
    for round in 1..=20 {
        client.run("begin");
        client.run(&format!("select value from {name} where id = 1"));
        client.run(&format!("update {name} set value = 7 where id = 2"));
        table
            .direct
            .run(&format!("update {name} set value = {round} where id = 1"));
        table.refuse(1);
        let frames = client.query("commit");
        assert_eq!(tags(&frames), "EZ");
        assert_eq!(error(&frames).sqlstate(), "40001");
        let detail = error(&frames).field(b'D').expect("a DETAIL");
        assert!(detail.contains("statement 1 of it"), "{detail}");
        assert_eq!(table.value(2), "0");
    }
    assert_eq!(outcomes(&proxy, "diverged"), 20.0);
    client.run(&format!("update {name} set value = 8 where id = 2"));
    assert_eq!(table.value(2), "8");
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_transaction_sent_at_once_is_replayed() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    let mut client = proxy.connect();
    table.refuse(1);
    client.send(
        &[
            query("begin"),
            query(format!("update {name} set value = 1 where id = 1")),
            query("commit"),
        ]
        .concat(),
    );
    for tags_expected in ["CZ", "CZ", "CZ"] {
        assert_eq!(tags(&client.until_ready()), tags_expected);
    }
    assert_eq!(table.value(1), "1");
}

#[test]
fn copied_rows_are_sent_again() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    let mut client = proxy.connect();
    table.refuse(1);
    client.send(&query(format!("copy {name} from stdin")));
    client.expect(b'G');
    client.send(&[copy_data(b"21\t1\n22\t2\n"), copy_done()].concat());
    assert_eq!(tags(&client.until_ready()), "CZ");
    assert_eq!(table.value(22), "2");
}

#[test]
fn answers_that_were_asked_for_early_are_not_taken_back() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    let mut client = proxy.connect();
    table.refuse(1);
    let text = format!("update {name} set value = 1 where id = 1 returning value");
    client.send(
        &[
            parse("", &text, &[]),
            bind_text("", "", &[]),
            execute("", 0),
            flush(),
        ]
        .concat(),
    );
    assert_eq!(tags(&client.until(b'C')), "12DC");
    client.send(&sync());
    let frames = client.until_ready();
    assert_eq!(error(&frames).sqlstate(), "40001");
    assert_eq!(table.value(1), "0");
}

#[test]
fn more_than_the_hold_goes_on_and_must_come_again() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    let mut client = proxy.connect();
    let update =
        |row: &str| format!("update {name} set value = value + 1 where id = 1 returning {row}");
    let same = update("repeat('x', 3000000)");
    table.refuse(1);
    assert_eq!(tags(&client.query(&same)), "TDCZ");
    assert_eq!(table.value(1), "1");
    table.refuse(3);
    let messages = [
        parse("", same, &[]),
        bind_text("", "", &[]),
        execute("", 0),
        sync(),
    ];
    assert_eq!(client.exchange(&messages), "12DCZ");
    assert_eq!(table.value(1), "2");
    assert_eq!(outcomes(&proxy, "repeated"), 2.0);
    // Two statements, one transaction.
    table.refuse(1);
    let two = format!("{}; {}", update("repeat('y', 2000000)"), update("value"));
    assert_eq!(tags(&client.query(&two)), "TDCTDCZ");
    assert_eq!(table.value(1), "4");

    let others = update("repeat('x', 3000000), random()");
    table.refuse(1);
    let frames = client.query(&others);
    // Unless row and conflict arrive together: then nothing had gone on.
    match tags(&frames).as_str() {
        "TDEZ" => {
            assert_eq!(error(&frames).sqlstate(), "40001");
            assert_eq!(table.value(1), "4");
            assert_eq!(outcomes(&proxy, "diverged"), 1.0);
        }
        other => assert_eq!((other, table.value(1).as_str()), ("TDCZ", "5")),
    }
    client.run("select 1");
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_conflict_in_the_middle_leaves_a_failed_transaction_when_it_cannot_be_repeated() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    let mut client = proxy.connect();
    let raise = "do $$ begin raise exception 'schema (OC001)' using errcode = '40001'; end $$";
    client.run("begin");
    client.run(&format!("update {name} set value = 1 where id = 1"));
    let frames = client.query(raise);
    assert_eq!(error(&frames).sqlstate(), "40001");
    assert_eq!(client.sqlstate("select 1"), "25P02");
    assert_eq!(tags(&client.run("rollback")), "CZ");
    assert_eq!(table.value(1), "0");
    client.run("select 1");
}

#[test]
fn clients_of_one_hot_row_all_get_through() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    table.refuse(30);
    let text = format!("update {name} set value = value + 1 where id = 3");
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                let mut client = proxy.connect();
                let done = (0..20)
                    .filter(|_| client.query(&text).iter().all(|frame| frame.tag != b'E'))
                    .count();
                assert!(done >= 18, "{done} of 20");
            });
        }
    });
    proxy.wait_base();
    let value: u32 = table.value(3).parse().expect("a number");
    assert!(value >= 8 * 18);
}

/// DSQL may find a conflict before it asks for the data.
#[test]
fn a_copy_is_run_again_before_its_data_are_asked_for() {
    let upstream = Upstream::start(|conversation| {
        let conflict = crate::upstream::error("ERROR", "40001", "schema has changed (OC001)");
        conversation.serve_until("copy")?;
        conversation.send(&[conflict, message(b'Z', b"I")].concat())?;
        conversation.serve_until("copy")?;
        conversation.send(&message(b'G', &[0, 0, 0]))?;
        while conversation.frame()?.tag != b'c' {}
        conversation.send(&[message(b'C', b"COPY 1\0"), message(b'Z', b"I")].concat())?;
        conversation.serve()
    });
    let proxy = plan().endpoint(&upstream.endpoint()).retry(3).start();
    let mut client = proxy.connect();
    client.send(&query("copy t from stdin"));
    client.expect(b'G');
    client.send(&[copy_data(b"1\n"), copy_done()].concat());
    assert_eq!(tags(&client.until_ready()), "CZ");
    client.run("select 1");
    assert_eq!(outcomes(&proxy, "repeated"), 1.0);
}

/// As libpq sends it: the Sync is ahead of the data.
#[test]
fn a_copy_in_the_extended_protocol_is_run_again() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    let mut client = proxy.connect();
    table.refuse(2);
    let text = format!("copy {name} from stdin");
    let batch = [
        parse("", text, &[]),
        bind_text("", "", &[]),
        execute("", 0),
        sync(),
    ];
    client.send(&batch.concat());
    assert_eq!(tags(&client.until(b'G')), "12G");
    client.send(&[copy_data(b"21\t1\n"), copy_done(), sync()].concat());
    assert_eq!(tags(&client.until_ready()), "CZ");
    assert_eq!(table.value(21), "1");
    client.run("select 1");
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_session_that_could_not_be_watched_is_watched_again() {
    let mut table = Table::new();
    let proxy = plan().retry(3).session_mode().start();
    let mut client = proxy.connect();
    let mixed = [
        parse("", "select 1", &[]),
        bind_text("", "", &[]),
        execute("", 0),
        query("select 2"),
    ];
    assert_eq!(client.exchange(&mixed), "12DCTDCZ");
    table.refuse(1);
    client.run(&format!("update {} set value = 7 where id = 1", table.name));
    assert_eq!(table.value(1), "7");
}

/// A statement that is cancelled while it is run again has not been answered otherwise.
#[test]
fn a_cancelled_repetition_says_so() {
    let (proxy, mut table) = start();
    let name = table.name.clone();
    table.direct.run(&format!(
        "create sequence {name}_calls;
         create function {name}_slow() returns int language plpgsql as $$
         begin
             if nextval('{name}_calls') > 1 then perform pg_sleep(60); end if;
             return 1;
         end $$"
    ));
    let mut client = proxy.connect();
    client.run("begin");
    client.run(&format!("select {name}_slow()"));
    client.run(&format!("update {name} set value = 1 where id = 1"));
    table.refuse(1);
    client.send(&query("commit"));
    let sleeps = format!(
        "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like '%{name}%'"
    );
    while table.direct.scalar(&sleeps) == "0" {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    client.cancel();
    let frames = client.until_ready();
    assert_eq!(error(&frames).sqlstate(), "57014");
    assert_eq!(table.value(1), "0");
    client.run("select 1");
}
