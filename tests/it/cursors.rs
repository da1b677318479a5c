//! SQL cursors on an emulated DSQL cluster, which has none: portals where they do, rows that the proxy
//! keeps where a cursor outlives its transaction or goes backward.

use crate::client::{Client, tags};
use crate::dsql::{Cluster, set_up};
use crate::message::{Frame, bind_text, close, describe, execute, parse, sync};
use crate::proxy::{Proxy, plan};

fn start() -> (Cluster, Proxy, Client) {
    let cluster = Cluster::start();
    let proxy = plan().size(2).dsql(&cluster).dialect("compat").start();
    let mut client = proxy.connect();
    set_up(&mut client, "create table t (id bigint primary key)");
    client.run("insert into t select n from generate_series(1, 5) n");
    (cluster, proxy, client)
}

/// Rows of one column, tags and errors, in order; the state of the transaction at the end.
fn show(frames: &[Frame]) -> String {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let shown = frames.iter().filter_map(|frame| match frame.tag {
        b'D' => Some(text(frame.values().remove(0).expect("a value"))),
        b'C' => Some(frame.strings().remove(0)),
        b'E' => Some(frame.sqlstate()),
        b'Z' => Some(text(frame.body.clone())),
        _ => None,
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn play(client: &mut Client, script: &[(&str, &str)]) {
    for (sql, expected) in script {
        assert_eq!(show(&client.query(sql)), *expected, "{sql}");
    }
}

const DECLARE: &str = "declare c scroll cursor with hold for select id from t order by id";

#[test]
fn a_cursor_that_holds_outlives_its_transaction() {
    let (_cluster, proxy, mut client) = start();
    play(
        &mut client,
        &[
            (DECLARE, "DECLARE CURSOR I"),
            (DECLARE, "42P03 I"),
            ("fetch 2 from c", "1 2 FETCH 2 I"),
            ("delete from t where id = 3", "DELETE 1 I"),
            ("fetch next from c", "3 FETCH 1 I"),
            ("fetch backward 2 from c", "2 1 FETCH 2 I"),
            ("move forward all in c", "MOVE 4 I"),
            ("fetch last from c", "5 FETCH 1 I"),
            ("fetch absolute 9 from c", "FETCH 0 I"),
            ("close c", "CLOSE CURSOR I"),
            ("fetch c", "34000 I"),
            ("close c", "34000 I"),
            // Rolled back with its transaction, or not.
            ("begin", "BEGIN T"),
            (DECLARE, "DECLARE CURSOR T"),
            ("rollback", "ROLLBACK I"),
            ("fetch c", "34000 I"),
            ("begin", "BEGIN T"),
            (DECLARE, "DECLARE CURSOR T"),
            ("fetch c", "1 FETCH 1 T"),
            ("commit", "COMMIT I"),
            ("begin", "BEGIN T"),
            ("fetch c", "2 FETCH 1 T"),
            ("rollback", "ROLLBACK I"),
            ("fetch c", "4 FETCH 1 I"),
            ("select 1; close all", "1 SELECT 1 CLOSE CURSOR ALL I"),
            ("fetch c", "34000 I"),
            (
                "declare e cursor with hold for select 1/id from t where id = 0 or nothing",
                "42703 I",
            ),
            ("fetch e", "34000 I"),
            (DECLARE, "DECLARE CURSOR I"),
            ("discard all", "DISCARD ALL I"),
            ("fetch c", "34000 I"),
        ],
    );
    drop(client);
    proxy.wait_base();
}

#[test]
fn cursors_may_be_among_other_statements() {
    let (_cluster, _proxy, mut client) = start();
    play(
        &mut client,
        &[
            // As psqlODBC does it.
            (
                "BEGIN;declare \"SQL_CUR1\" cursor with hold for select id from t order by id;fetch 2 in \"SQL_CUR1\"",
                "BEGIN DECLARE CURSOR 1 2 FETCH 2 T",
            ),
            ("close \"SQL_CUR1\"; commit", "CLOSE CURSOR COMMIT I"),
            (
                "begin; declare p cursor for select id from t order by id; fetch 1 in p; fetch p; commit",
                "BEGIN DECLARE CURSOR 1 FETCH 1 2 FETCH 1 COMMIT I",
            ),
            (
                "begin; declare s scroll cursor for select id from t order by id; fetch 2 in s; fetch prior in s",
                "BEGIN DECLARE CURSOR 1 2 FETCH 2 1 FETCH 1 T",
            ),
            ("select 1/0; fetch s", "22012 E"),
            ("fetch s", "25P02 E"),
            ("rollback", "ROLLBACK I"),
        ],
    );
}

#[test]
fn cursors_are_declared_with_parameters() {
    let (_cluster, proxy, mut client) = start();
    for (hold, open, status) in [("with hold", "select 1", "I"), ("", "begin", "T")] {
        client.run(open);
        let text =
            format!("declare p cursor {hold} for select id from t where id > $1 order by id");
        let messages = [
            parse("s", text, &[20]),
            describe(b'S', "s"),
            bind_text("", "s", &["2"]),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ];
        client.send(&messages.concat());
        let frames = client.until_ready();
        assert_eq!(tags(&frames), "1tn2nCZ");
        assert_eq!(show(&frames), format!("DECLARE CURSOR {status}"));
        // As psycopg does it.
        assert_eq!(client.exchange(&[describe(b'P', "p"), sync()]), "TZ");
        let fetched = client.query("fetch forward 2 from p");
        assert_eq!(tags(&fetched), "TDDCZ");
        assert_eq!(show(&fetched), format!("3 4 FETCH 2 {status}"));
        let messages = [
            parse("", "fetch p", &[]),
            bind_text("", "", &[]),
            describe(b'P', ""),
            execute("", 0),
            parse("", "close p", &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ];
        client.send(&messages.concat());
        let frames = client.until_ready();
        assert_eq!(tags(&frames), "12TDC12CZ");
        assert_eq!(show(&frames), format!("5 FETCH 1 CLOSE CURSOR {status}"));
        client.exchange(&[close(b'S', "s"), sync()]);
    }
    client.run("commit");
    drop(client);
    proxy.wait_base();
}

/// Cursors that were declared behind a savepoint are gone with it, and none is in its way.
#[test]
fn cursors_behind_a_savepoint() {
    let (_cluster, proxy, mut client) = start();
    play(
        &mut client,
        &[
            ("begin", "BEGIN T"),
            ("insert into t values (10)", "INSERT 0 1 T"),
            ("savepoint a", "SAVEPOINT T"),
            (
                "declare c cursor for select id from t order by id",
                "DECLARE CURSOR T",
            ),
            ("fetch c", "1 FETCH 1 T"),
            ("select 1/0", "22012 E"),
            ("rollback to a", "ROLLBACK T"),
            (
                "declare c cursor for select id from t order by id desc",
                "DECLARE CURSOR T",
            ),
            ("fetch 2 in c", "10 5 FETCH 2 T"),
            ("commit", "COMMIT I"),
        ],
    );
    drop(client);
    proxy.wait_base();
}

/// What is committed around a statement cannot be taken back; the savepoints' names stay.
#[test]
fn savepoints_outlive_what_is_committed_in_the_middle() {
    let (_cluster, _proxy, mut client) = start();
    client.run("set dsqlproxy.ddl_in_transaction = split");
    play(
        &mut client,
        &[
            ("begin", "BEGIN T"),
            ("savepoint a", "SAVEPOINT T"),
            ("insert into t values (10)", "INSERT 0 1 T"),
            ("create table u (id bigint primary key)", "CREATE TABLE T"),
            ("create index on u (id)", "CREATE INDEX T"),
            ("savepoint b", "SAVEPOINT T"),
            ("insert into t values (11)", "INSERT 0 1 T"),
            ("rollback to b", "ROLLBACK T"),
            ("release a", "RELEASE T"),
            ("commit", "COMMIT I"),
            ("select count(*) from t where id > 9", "1 SELECT 1 I"),
            ("begin", "BEGIN T"),
            ("savepoint a", "SAVEPOINT T"),
            ("insert into t values (12)", "INSERT 0 1 T"),
            ("create table v (id bigint primary key)", "CREATE TABLE T"),
            ("rollback to a", "0A000 E"),
            ("rollback", "ROLLBACK I"),
        ],
    );
}

#[test]
fn binary_cursors() {
    let (_cluster, _proxy, mut client) = start();
    for kind in ["binary", "binary scroll"] {
        client.run("begin");
        client.run(&format!("declare c {kind} cursor for select 258, 'x'"));
        let frames = client.run("fetch c");
        assert!(frames[0].body.ends_with(b"\0\x01"), "{kind}");
        let values = [Some(vec![0, 0, 1, 2]), Some(b"x".to_vec())];
        assert_eq!(frames[1].values(), values, "{kind}");
        client.run("commit");
    }
}

/// A savepoint that nothing was done behind when the transaction was committed is where the next begins.
#[test]
fn savepoints_are_where_a_transaction_goes_on() {
    let (_cluster, proxy, mut client) = start();
    client.run("set dsqlproxy.ddl_in_transaction = split");
    play(
        &mut client,
        &[
            ("begin", "BEGIN T"),
            ("create table v (id bigint primary key)", "CREATE TABLE T"),
            ("savepoint a", "SAVEPOINT T"),
            ("select count(*) from v", "0 SELECT 1 T"),
            ("insert into t values (12)", "INSERT 0 1 T"),
            ("rollback to a", "ROLLBACK T"),
            ("insert into v values (1)", "INSERT 0 1 T"),
            ("insert into nowhere values (1)", "42P01 E"),
            ("rollback to a", "ROLLBACK T"),
            ("rollback to a", "ROLLBACK T"),
            ("select count(*) from v", "0 SELECT 1 T"),
            ("savepoint b", "SAVEPOINT T"),
            ("insert into v values (2)", "INSERT 0 1 T"),
            ("rollback to b", "ROLLBACK T"),
            ("insert into v values (3)", "INSERT 0 1 T"),
            ("release a", "RELEASE T"),
            ("rollback to b", "3B001 E"),
            ("rollback", "ROLLBACK I"),
            // It goes with the transaction that made it.
            ("select count(*) from v", "42P01 I"),
            ("begin", "BEGIN T"),
            ("create table v (id bigint primary key)", "CREATE TABLE T"),
            ("savepoint a", "SAVEPOINT T"),
            ("insert into v values (4)", "INSERT 0 1 T"),
            ("rollback to a", "ROLLBACK T"),
            ("insert into v values (5)", "INSERT 0 1 T"),
            ("commit", "COMMIT I"),
            ("select id from v", "5 SELECT 1 I"),
        ],
    );
    drop(client);
    proxy.wait_base();
}

#[test]
fn parameters_of_settings() {
    let (_cluster, _proxy, mut client) = start();
    let run = |client: &mut Client, sql: &str, value: &str| {
        let messages = [
            parse("", sql, &[]),
            bind_text("", "", &[value]),
            execute("", 0),
            sync(),
        ];
        client.send(&messages.concat());
        show(&client.until_ready())
    };
    let sql = "select set_config('jit', $1, false)";
    assert_eq!(run(&mut client, sql, "off"), "off SELECT 1 I");
    assert_eq!(client.scalar("show jit"), "off");
    assert_eq!(run(&mut client, sql, "on"), "on SELECT 1 I");
    assert_eq!(client.scalar("show jit"), "on");
    let pid = client.scalar("select pg_backend_pid()");
    assert_eq!(client.scalar("select pg_backend_pid() + 0"), pid);
}

/// A change of the schema is news to every other connection; the client's next statement does not
/// suffer from it, wherever it runs.
#[test]
fn changes_of_the_schema_are_no_conflict_for_the_next_statement() {
    let (cluster, proxy, mut client) = start();
    let mut others = [proxy.connect(), proxy.connect()];
    let run = |client: &mut Client, sql: &str| {
        // As asyncpg does it: the answer to Parse and Describe is asked for, and seen.
        client.send(
            &[
                parse("", sql, &[]),
                describe(b'S', ""),
                crate::message::flush(),
            ]
            .concat(),
        );
        let described = [client.frame().unwrap().tag, client.frame().unwrap().tag];
        assert_eq!(described, *b"1t", "{sql}");
        client.frame().unwrap();
        client.exchange(&[bind_text("", "", &[]), execute("", 0), sync()])
    };
    for round in 0..3 {
        client.run(&format!("create table u{round} (id bigint primary key)"));
        for other in &mut others {
            other.run("begin");
            assert_eq!(run(other, "select count(*) from t"), "2DCZ");
            other.run(&format!("set application_name = 'r{round}'"));
            other.run("commit");
        }
        assert_eq!(run(&mut client, "select count(*) from t"), "2DCZ");
    }
    assert_eq!(proxy.metrics().sum("dsqlproxy_retries_total", &[]), 0.0);
    drop((client, others, cluster));
}

/// asyncpg moves the portals it has bound.
#[test]
fn portals_are_cursors() {
    let (_cluster, proxy, mut client) = start();
    client.run("begin");
    let messages = [
        parse("", "select id from t order by id", &[]),
        bind_text("p1", "", &[]),
        execute("p1", 1),
        sync(),
    ];
    client.send(&messages.concat());
    assert_eq!(show(&client.until_ready()), "1 T");
    assert_eq!(show(&client.query("move forward 2 p1")), "MOVE 2 T");
    assert_eq!(client.exchange(&[execute("p1", 1), sync()]), "DsZ");
    assert_eq!(show(&client.query("fetch p1")), "5 FETCH 1 T");
    assert_eq!(show(&client.query("fetch p2")), "34000 E");
    client.run("rollback");
    drop(client);
    proxy.wait_base();
}
