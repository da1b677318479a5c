//! Upstream connections that are lost while the client stays.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Client, tags};
use crate::dsql::Cluster;
use crate::message::{Frame, bind_text, describe, execute, flush, message, parse, query, sync};
use crate::proxy::{Plan, Proxy, plan};
use crate::upstream::{Conversation, Upstream, error, one_column, row};

/// The upstream answers everything until a Query or Parse with `cut` in it; then it does `act` on
/// the first `times` connections and closes them. In a block after BEGIN.
fn cutting(
    times: usize,
    act: impl Fn(&mut Conversation) -> io::Result<()> + Send + Sync + 'static,
) -> (Upstream, Proxy) {
    let left = Arc::new(AtomicUsize::new(times));
    let upstream = Upstream::start(move |conversation| {
        loop {
            let late = serve_to_cut(conversation)?;
            let cuts = left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
            if cuts {
                act(conversation)?;
                return conversation.close();
            }
            conversation.send(&late)?;
        }
    });
    let proxy = quick().endpoint(&upstream.endpoint()).start();
    (upstream, proxy)
}

fn quick() -> Plan {
    plan().size(1)
}

/// Answers with the status of a transaction until a Query that contains `cut`; extended messages
/// wait for the Sync then. Gives what was to be answered.
fn serve_to_cut(conversation: &mut Conversation) -> io::Result<Vec<u8>> {
    let mut status = b'I';
    let mut cut = false;
    let mut late = Vec::new();
    loop {
        let frame = conversation.frame()?;
        let text = String::from_utf8_lossy(&frame.body).to_lowercase();
        if frame.tag == b'P' || frame.tag == b'Q' {
            cut |= text.contains("cut");
        }
        if text.starts_with("begin") || text.starts_with("\0begin") {
            status = b'T';
        }
        if text.starts_with("commit") || text.starts_with("rollback") {
            status = b'I';
        }
        let answer = match frame.tag {
            b'Q' => [message(b'C', b"SELECT 0\0"), message(b'Z', &[status])].concat(),
            b'P' => message(b'1', &[]),
            b'B' => message(b'2', &[]),
            b'D' => message(b'n', &[]),
            b'E' => message(b'C', b"SELECT 0\0"),
            b'C' => message(b'3', &[]),
            b'S' => message(b'Z', &[status]),
            b'X' => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ => Vec::new(),
        };
        if cut {
            late.extend(answer);
            if matches!(frame.tag, b'Q' | b'S' | b'H') {
                return Ok(late);
            }
        } else {
            conversation.send(&answer)?;
        }
    }
}

fn codes(frames: &[Frame]) -> Vec<String> {
    let errors = frames.iter().filter(|frame| frame.tag == b'E');
    errors.map(Frame::sqlstate).collect()
}

fn status(frames: &[Frame]) -> char {
    let ready = frames.iter().rfind(|frame| frame.tag == b'Z');
    char::from(ready.expect("ReadyForQuery").body[0])
}

fn goes_on(client: &mut Client) {
    assert_eq!(tags(&client.query("select 1")), "CZ");
}

#[test]
fn a_read_that_nobody_has_seen_is_run_again() {
    let (upstream, proxy) = cutting(2, |_| Ok(()));
    let mut client = proxy.connect();
    assert_eq!(tags(&client.query("select 'cut'")), "CZ");
    let seen = upstream.statements.lock().expect("unpoisoned").clone();
    let runs = seen.iter().filter(|text| text.contains("cut"));
    assert_eq!(runs.count(), 3, "{seen:?}");
    goes_on(&mut client);
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_read_is_run_again_a_few_times_only() {
    let (_upstream, proxy) = cutting(usize::MAX, |_| Ok(()));
    let mut client = proxy.connect();
    let frames = client.query("select 'cut'");
    assert_eq!(codes(&frames), ["08006"]);
    assert_eq!(status(&frames), 'I');
    goes_on(&mut client);
}

#[test]
fn a_write_is_never_run_again() {
    let (upstream, proxy) = cutting(1, |_| Ok(()));
    for text in [
        "insert into t values ('cut secret', 4711)",
        "select 'cut' as c into t",
        "select my_function('cut')",
    ] {
        let (_, proxy) = cutting(1, |_| Ok(()));
        let mut client = proxy.connect();
        let frames = client.query(text);
        assert_eq!(tags(&frames), "EZ", "{text}");
        assert_eq!(codes(&frames), ["08007"], "{text}");
        assert!(frames[0].field(b'H').is_some());
        assert_eq!(status(&frames), 'I');
        goes_on(&mut client);
        let count = proxy.metrics().sum("dsqlproxy_commit_unknown_total", &[]);
        assert_eq!(count, 1.0);
    }
    let mut client = proxy.connect();
    assert_eq!(
        client.sqlstate("insert into t values ('cut secret', 4711)"),
        "08007"
    );
    let line = proxy.log.wait_for("upstream connection lost", 1);
    for part in [
        "insert into t values (?, ?)",
        "user",
        "database",
        "upstream_pid",
        "age_s",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains("secret") && !line.contains("4711"), "{line}");
    let seen = upstream.statements.lock().expect("unpoisoned").clone();
    assert_eq!(seen.iter().filter(|text| text.contains("cut")).count(), 1);
}

#[test]
fn a_transaction_that_was_not_committed_has_failed() {
    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.run("begin");
    client.run("insert into t values (1)");
    let frames = client.query("insert into t values ('cut')");
    assert_eq!(codes(&frames), ["40001"]);
    assert!(frames[0].field(b'H').is_some());
    assert_eq!(status(&frames), 'E');
    // No connection is used for what follows.
    let mut other = proxy.connect();
    other.run("begin");
    other.run("select 1");
    let frames = client.query("select 1");
    assert_eq!(
        (codes(&frames), status(&frames)),
        (vec!["25P02".into()], 'E')
    );
    assert_eq!(tags(&client.query(" ; ")), "IZ");
    let frames = client.query("commit");
    assert_eq!((tags(&frames), status(&frames)), ("CZ".into(), 'I'));
    assert!(frames[0].body.starts_with(b"ROLLBACK\0"));
    other.run("rollback");
    goes_on(&mut client);
}

#[test]
fn the_extended_protocol_in_a_failed_transaction() {
    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.run("begin");
    client.run("insert into t values (1)");
    let batch = |text: &str| {
        [
            parse("", text, &[]),
            bind_text("", "", &[]),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]
    };
    assert_eq!(
        client.exchange(&batch("insert into t values ('cut')")),
        "EZ"
    );
    assert_eq!(client.exchange(&batch("select 1")), "EZ");
    assert_eq!(client.exchange(&batch("")), "12nIZ");
    client.send(&[parse("r", "ROLLBACK", &[]), describe(b'S', "r"), sync()].concat());
    assert_eq!(tags(&client.until_ready()), "1tnZ");
    client.send(&[bind_text("p", "r", &[]), execute("p", 0), sync()].concat());
    let frames = client.until_ready();
    assert_eq!((tags(&frames), status(&frames)), ("2CZ".into(), 'I'));
    assert_eq!(client.exchange(&batch("select 1")), "12nCZ");
    // The statement is one of its session.
    client.run("begin");
    client.run("select 1");
    assert_eq!(
        client.exchange(&[bind_text("", "r", &[]), execute("", 0), sync()]),
        "2CZ"
    );
}

#[test]
fn several_statements_behind_a_rollback() {
    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.run("begin");
    client.run("insert into t values (1)");
    assert_eq!(client.sqlstate("select 'cut'"), "40001");
    let frames = client.query("rollback; select 1");
    assert_eq!((tags(&frames), status(&frames)), ("CCZ".into(), 'I'));
}

#[test]
fn a_first_statement_that_nobody_has_seen_is_run_again_with_its_begin() {
    let (upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.run("begin read write");
    client.send(&query("insert into t values ('cut')"));
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "CZ");
    client.run("commit");
    let seen = upstream.statements.lock().expect("unpoisoned").clone();
    let begins = seen.iter().filter(|text| text.starts_with("begin"));
    assert_eq!(begins.count(), 2, "{seen:?}");
}

#[test]
fn a_commit_without_an_answer_is_of_unknown_outcome() {
    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.run("begin");
    client.run("insert into t values (1)");
    let frames = client.query("commit /* cut */");
    assert_eq!(
        (codes(&frames), status(&frames)),
        (vec!["08007".into()], 'I')
    );
    goes_on(&mut client);
    client.run("begin");
    client.run("select 1");
    client.run("commit");
}

#[test]
fn every_request_under_way_is_answered_once() {
    // Reads alone: all are run again.
    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.send(&[query("select 'cut'"), query("select 2"), query("select 3")].concat());
    for _ in 0..3 {
        assert_eq!(tags(&client.until_ready()), "CZ");
    }
    goes_on(&mut client);

    // A write among them: nothing is known.
    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.send(
        &[
            query("select 1"),
            query("select 'cut'"),
            query("insert into t values (1)"),
            parse("", "select 3", &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(tags(&client.until_ready()), "CZ");
    for _ in 0..3 {
        let frames = client.until_ready();
        assert_eq!(
            (codes(&frames), status(&frames)),
            (vec!["08007".into()], 'I')
        );
    }
    goes_on(&mut client);

    // Inside a transaction: the first is told, the next fail, ROLLBACK works, and it goes on.
    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.run("begin");
    client.run("insert into t values (1)");
    client.send(
        &[
            query("select 'cut'"),
            parse("", "select 3", &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
            query("rollback"),
            query("select 4"),
        ]
        .concat(),
    );
    for (expected, state) in [("EZ", 'E'), ("EZ", 'E'), ("CZ", 'I'), ("CZ", 'I')] {
        let frames = client.until_ready();
        assert_eq!((tags(&frames).as_str(), status(&frames)), (expected, state));
    }
    goes_on(&mut client);
}

#[test]
fn acknowledgements_are_not_told_twice() {
    let (_upstream, proxy) = cutting(1, |conversation| {
        conversation.send(&[message(b'1', &[]), message(b'2', &[])].concat())
    });
    let mut client = proxy.connect();
    let batch = [
        parse("s", "select 'cut'", &[]),
        bind_text("", "s", &[]),
        execute("", 0),
        sync(),
    ];
    assert_eq!(client.exchange(&batch), "12CZ");
    assert_eq!(
        client.exchange(&[bind_text("", "s", &[]), execute("", 0), sync()]),
        "2CZ"
    );
}

#[test]
fn a_result_that_was_shown_in_part_ends_with_an_error() {
    let (_upstream, proxy) = cutting(1, |conversation| {
        let frames = [one_column(), row(b"value"), row(b"half")].concat();
        conversation.send(&frames[..frames.len() - 3])
    });
    let mut client = proxy.connect();
    let frames = client.query("select 'cut'");
    assert_eq!(
        (tags(&frames).as_str(), codes(&frames)),
        ("TDEZ", vec!["08006".into()])
    );
    goes_on(&mut client);

    // In a batch without Sync the error comes at once, and the Sync gets its answer.
    let (_upstream, proxy) = cutting(1, |conversation| {
        conversation.send(&[message(b'1', &[]), message(b'2', &[]), row(b"v")].concat())
    });
    let mut client = proxy.connect();
    client.send(
        &[
            parse("", "select 'cut'", &[]),
            bind_text("", "", &[]),
            execute("", 0),
            flush(),
        ]
        .concat(),
    );
    assert_eq!(tags(&client.until(b'E')), "12DE");
    assert_eq!(
        client.exchange(&[bind_text("", "", &[]), execute("", 0), sync()]),
        "Z"
    );
    goes_on(&mut client);
}

#[test]
fn a_long_row_that_was_cut_ends_the_session() {
    let (_upstream, proxy) = cutting(1, |conversation| {
        let frames = [one_column(), row(&vec![b'x'; 100_000])].concat();
        conversation.send(&frames[..60_000])
    });
    let mut client = proxy.connect();
    client.send(&query("select 'cut'"));
    let mut seen = Vec::new();
    while let Ok(bytes) = client.bytes() {
        if bytes.is_empty() {
            break;
        }
        seen.extend(bytes);
    }
    assert!(!seen.is_empty());
}

#[test]
fn what_the_server_says_at_its_end_does_not_end_the_session() {
    for (code, times, expected) in [("57P01", 1, "CZ"), ("57P02", 1, "EZ"), ("57P01", 9, "EZ")] {
        let (_upstream, proxy) = cutting(times, move |conversation| {
            conversation.send(&error("FATAL", code, "terminating connection"))
        });
        let mut client = proxy.connect();
        let frames = client.query("select 'cut'");
        assert_eq!(tags(&frames), expected, "{code}");
        if times > 1 {
            assert_eq!(codes(&frames), ["57P01"]);
        }
        goes_on(&mut client);
    }
}

#[test]
fn a_connection_that_closes_in_an_idle_transaction() {
    let mut direct = crate::postgres::cluster().connect_superuser("app");
    let proxy = plan().size(2).start();
    let end = |direct: &mut Client, pid: &str| {
        direct.run(&format!("select pg_terminate_backend({pid}, 10000)"));
    };
    for last in ["select 1", "rollback", "commit"] {
        let mut client = proxy.connect();
        client.run("begin");
        let pid = client.scalar("select pg_backend_pid()");
        end(&mut direct, &pid);
        let frames = client.query(last);
        let expected = match last {
            "rollback" => ("CZ", 'I'),
            "commit" => ("EZ", 'I'),
            _ => ("EZ", 'E'),
        };
        assert_eq!(
            (tags(&frames).as_str(), status(&frames)),
            expected,
            "{last}"
        );
        if expected.0 == "EZ" {
            assert_eq!(codes(&frames), ["40001"]);
        }
        client.query("rollback");
        assert_eq!(client.scalar("select 42"), "42");
    }
}

#[test]
fn a_session_pool_gives_the_client_another_connection() {
    let mut direct = crate::postgres::cluster().connect_superuser("app");
    let proxy = plan().size(2).session_mode().start();
    let mut client = proxy.connect();
    client.run("set work_mem = '5MB'");
    client.run("set work_mem = '6MB'");
    client.exchange(&[parse("s", "select 'again'", &[]), sync()]);
    let pid = client.scalar("select pg_backend_pid()");
    direct.run(&format!("select pg_terminate_backend({pid}, 10000)"));
    assert_ne!(client.scalar("select pg_backend_pid()"), pid);
    assert_eq!(client.scalar("show work_mem"), "6MB");
    assert_eq!(
        client.exchange(&[bind_text("", "s", &[]), execute("", 0), sync()]),
        "2DCZ"
    );
    // What cannot be made again ends the session.
    client.run("create temporary table kept (a int)");
    let pid = client.scalar("select pg_backend_pid()");
    direct.run(&format!("select pg_terminate_backend({pid}, 10000)"));
    let frames = client.until_closed().expect("an end");
    assert_eq!(codes(&frames), ["57P01"]);
}

#[test]
fn settings_and_names_of_a_lost_transaction_are_taken_back() {
    let mut direct = crate::postgres::cluster().connect_superuser("app");
    let proxy = plan().size(2).start();
    let mut client = proxy.connect();
    client.run("set work_mem = '5MB'");
    client.run("begin");
    client.run("set work_mem = '7MB'");
    let pid = client.scalar("select pg_backend_pid()");
    direct.run(&format!("select pg_terminate_backend({pid}, 10000)"));
    assert_eq!(client.sqlstate("select 1"), "40001");
    client.run("rollback");
    assert_eq!(client.scalar("show work_mem"), "5MB");
}

#[test]
fn all_connections_close_at_once() {
    let mut direct = crate::postgres::cluster().connect_superuser("app");
    let proxy = plan().size(4).start();
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.connect()).collect();
    for _ in 0..10 {
        clients
            .iter_mut()
            .for_each(|client| client.send(&query("select 1")));
        for client in &mut clients {
            assert_eq!(tags(&client.until_ready()), "TDCZ");
        }
        direct.run(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity
             where usename = 'app' and datname = 'app' and backend_type = 'client backend'",
        );
    }
    for client in &mut clients {
        assert_eq!(client.scalar("select 42"), "42");
    }
}

// ---- an emulated cluster ------------------------------------------------------------------------

#[test]
fn connections_to_dsql_are_cut() {
    let cluster = Cluster::start();
    let proxy = plan().size(3).dsql(&cluster).start();
    let mut client = proxy.connect();
    client.run("create table t (id int primary key)");
    client.run("insert into t values (1)");
    let count = |client: &mut Client, id: u32| {
        client.scalar(&format!("select count(*) from t where id = {id}"))
    };

    cluster.fault("cut", 1, "first");
    let frames = client.query("select /* first */ id from t");
    assert_eq!(tags(&frames), "TEZ", "its first row was on its way");

    for (id, kind, there) in [(2, "cut_before_commit", "0"), (3, "cut_after_commit", "1")] {
        cluster.fault(kind, 1, &format!("values \\({id}\\)"));
        let frames = client.query(&format!("insert into t values ({id})"));
        assert_eq!(codes(&frames), ["08007"], "{kind}");
        assert_eq!(count(&mut client, id), there);
        cluster.fault(kind, 1, &format!("values \\({id}1\\)"));
        client.run("begin");
        client.run(&format!("insert into t values ({id}1)"));
        let frames = client.query("commit");
        assert_eq!(
            (codes(&frames), status(&frames)),
            (vec!["08007".into()], 'I')
        );
        assert_eq!(count(&mut client, id * 10 + 1), there);
    }
    let unknown = proxy.metrics().sum("dsqlproxy_commit_unknown_total", &[]);
    assert_eq!(unknown, 4.0);

    client.run("begin");
    client.run("select 1");
    cluster.fault("cut", 1, "inside");
    assert_eq!(codes(&client.query("select /* inside */ 1"))[0], "40001");
    assert_eq!(client.sqlstate("rollback to savepoint a"), "40001");
    client.run("rollback");
    assert_eq!(count(&mut client, 1), "1");
    drop(client);
    proxy.wait_base();
}

#[test]
fn dsql_lets_nobody_in_for_a_while() {
    let cluster = Cluster::start();
    let proxy = plan()
        .size(2)
        .pool("wait_timeout", "25s")
        .dsql(&cluster)
        .start();
    let mut client = proxy.connect();
    client.run("create table t (id int primary key)");
    for (id, kind, times) in [
        (1, "expire_tokens", 1),
        (2, "waking_up", 3),
        (3, "rate_exceeded", 2),
        (4, "too_many_connections", 2),
    ] {
        cluster.fault(kind, times, "");
        // Every connection is older than an hour now, which the server ends without a word.
        cluster.advance(61 * 60);
        assert_eq!(client.scalar("select 42"), "42", "{kind}");
        client.run(&format!("insert into t values ({id})"));
        client.run("begin");
        client.run("select 1");
        client.run("commit");
    }
    // Inside a transaction an hour is not invisible.
    client.run("begin");
    client.run("select 1");
    cluster.advance(61 * 60);
    assert_eq!(client.sqlstate("select 1"), "40001");
    client.run("rollback");
    assert_eq!(client.scalar("select count(*) from t"), "4");
}
