//! Upstream connections that are lost while the client stays.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::client::{Client, Login, render, tags};
use crate::dsql::Cluster;
use crate::message::{
    Frame, bind_text, close, describe, execute, flush, message, parse, query, sync,
};
use crate::postgres::ROLE;
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
fn a_write_behind_a_rollback_is_never_run_again() {
    let extended = |text: &str| {
        [
            parse("", text, &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ]
    };
    let write = "insert into t values ('twice')";
    let sent = [
        [query("rollback /* cut */"), query(write)].concat(),
        query(format!("rollback /* cut */; {write}")),
        [
            extended("rollback /* cut */").concat(),
            extended(write).concat(),
        ]
        .concat(),
    ];
    for (number, bytes) in sent.into_iter().enumerate() {
        for open in [true, false] {
            let (upstream, proxy) = cutting(1, move |conversation| {
                // What was sent behind it is read, and perhaps done.
                match number {
                    0 => conversation.frame().map(drop),
                    _ => Ok(()),
                }
            });
            let mut client = proxy.connect();
            client.run("begin");
            if open {
                client.run("insert into t values (1)");
            }
            client.send(&bytes);
            let mut frames = client.until_ready();
            if number != 1 {
                frames.extend(client.until_ready());
            }
            // A BEGIN that was not sent yet leaves nothing to roll back, and a batch may wait for the
            // end of the one before.
            let codes = codes(&frames);
            let sent = open && number < 2;
            assert!(
                codes.contains(&"08007".to_owned()) || !sent,
                "{number}: {codes:?}"
            );
            goes_on(&mut client);
            let seen = upstream.statements.lock().expect("unpoisoned").clone();
            let writes = seen.iter().filter(|text| text.contains("twice"));
            assert!(writes.count() <= 1, "{number}: {seen:?}");
        }
    }
}

#[test]
fn each_portal_is_known_by_what_it_does() {
    let (upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    let batch = [
        parse("s1", "insert into t values ('cut')", &[]),
        parse("s2", "select 1", &[]),
        bind_text("p1", "s1", &[]),
        bind_text("p2", "s2", &[]),
        execute("p1", 0),
        execute("p2", 0),
        sync(),
    ];
    client.send(&batch.concat());
    assert_eq!(codes(&client.until_ready()), ["08007"]);
    goes_on(&mut client);
    let seen = upstream.statements.lock().expect("unpoisoned").clone();
    assert_eq!(
        seen.iter().filter(|text| text.contains("cut")).count(),
        1,
        "{seen:?}"
    );
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
    // The transaction is too old, or its connection has been ended before it says so.
    let state = client.sqlstate("select 1");
    assert!(["40001", "54000"].contains(&state.as_str()), "{state}");
    client.run("rollback");
    assert_eq!(client.scalar("select count(*) from t"), "4");
}

// ---- at random ----------------------------------------------------------------------------------

/// Passes connections on to the test cluster and cuts each after a random number of bytes.
fn cutting_door(seed: u64, calm: &Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let target = crate::postgres::cluster().address();
    let calm = Arc::clone(calm);
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
            let Ok(server) = TcpStream::connect(&target) else {
                return;
            };
            let mut random = StdRng::seed_from_u64(seed + number as u64);
            // Half of the cuts come in the first requests behind a login of some 400 bytes.
            let most = if random.random_bool(0.5) { 900 } else { 9000 };
            for (from, to, spent) in [(&client, &server, 60), (&server, &client, 420)] {
                let limit = match calm.load(Ordering::SeqCst) {
                    true => usize::MAX,
                    false => spent + random.random_range(0..most),
                };
                let (from, to) = (from.try_clone(), to.try_clone());
                let (Ok(from), Ok(to)) = (from, to) else {
                    return;
                };
                std::thread::spawn(move || pass(&from, &to, limit));
            }
        }
    });
    port
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, mut limit: usize) {
    let mut chunk = [0; 4096];
    while limit > 0 {
        let room = chunk.len().min(limit);
        match from.read(&mut chunk[..room]) {
            Ok(count) if count > 0 && to.write_all(&chunk[..count]).is_ok() => limit -= count,
            _ => break,
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// What became of an operation, as its client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Done,
    Refused,
    Unknown,
}

fn told(answers: &[Vec<Frame>]) -> Told {
    let codes: Vec<String> = answers.iter().flat_map(|frames| codes(frames)).collect();
    if codes.is_empty() {
        return Told::Done;
    }
    let definite = ["40001", "25P02", "08006", "57P01", "57P03", "53300"];
    match codes.iter().all(|code| definite.contains(&code.as_str())) {
        true => Told::Refused,
        false => {
            let known = ["08007"].iter().chain(&definite);
            let known: Vec<&&str> = known.collect();
            assert!(
                codes
                    .iter()
                    .all(|code| known.iter().any(|known| **known == code)),
                "{codes:?}"
            );
            Told::Unknown
        }
    }
}

/// Inserts `id` in one of several ways. Every request must be answered exactly once.
fn operate(client: &mut Client, way: u32, id: u64, table: &str) -> (Told, String) {
    let insert = format!("insert into {table} values ({id})");
    let batch = |text: &str| {
        [
            parse("", text, &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ]
        .concat()
    };
    let requests: Vec<Vec<Vec<u8>>> = match way {
        0 => vec![vec![query(&insert)]],
        1 => vec![vec![batch(&insert)]],
        2 => vec![
            vec![query("begin")],
            vec![query(&insert)],
            vec![query("commit")],
        ],
        3 => vec![vec![query("begin"), query(&insert), query("commit")]],
        4 => vec![
            vec![batch("begin")],
            vec![batch(&insert)],
            vec![batch("commit")],
        ],
        5 => vec![vec![query(format!("begin; {insert}; commit"))]],
        6 => vec![
            vec![query("begin")],
            vec![query("select 1"), query(&insert), batch("select 2")],
            vec![query("commit")],
        ],
        7 => vec![vec![batch(&insert), query("select 'behind'")]],
        8 => vec![
            vec![query("begin")],
            vec![query("set local work_mem = '7MB'")],
            vec![query("savepoint a")],
            vec![query(&insert)],
            vec![query("release a")],
            vec![query("commit")],
        ],
        _ => vec![vec![
            query("begin"),
            batch(&insert),
            batch("commit"),
            query("select 1"),
        ]],
    };
    let mut answers = Vec::new();
    for pipeline in requests {
        client.send(&pipeline.concat());
        for _ in 0..pipeline.len() {
            answers.push(client.until_ready());
        }
    }
    let rolled_back = answers
        .iter()
        .flatten()
        .any(|frame| frame.tag == b'C' && frame.body.starts_with(b"ROLLBACK"));
    let failed = status(answers.last().expect("answers")) != 'I';
    // What came behind an insert on its own does not matter for it.
    let own = match way {
        7 => 1,
        9 => 3,
        _ => answers.len(),
    };
    let end = told(&answers[..own]);
    if failed {
        let frames = client.query("rollback");
        assert_eq!((tags(&frames), status(&frames)), ("CZ".into(), 'I'));
    }
    assert!(!rolled_back || end != Told::Done, "{answers:?}");
    let seen: Vec<String> = answers.iter().flat_map(|frames| render(frames)).collect();
    (end, format!("way {way}: {seen:#?}"))
}

#[test]
fn nothing_is_lost_while_connections_are_cut() {
    keep_a_ledger("ledger_plain", plan().size(4));
}

#[test]
fn nothing_is_lost_while_connections_are_cut_and_conflicts_watched() {
    keep_a_ledger("ledger_watched", plan().size(4).retry(3));
}

#[test]
fn nothing_is_lost_while_connections_of_sessions_are_cut() {
    keep_a_ledger("ledger_sessions", plan().size(8).session_mode());
}

/// Nothing is lost and nothing doubled.
fn keep_a_ledger(table: &str, plan: Plan) {
    let seed = std::env::var("DSQLPROXY_SEED").map_or_else(
        |_| rand::random::<u32>().into(),
        |text| text.parse().expect("a number"),
    );
    println!("DSQLPROXY_SEED={seed}");
    let mut direct = crate::postgres::cluster().connect("app");
    direct.run(&format!("create table {table} (id bigint)"));
    let calm = Arc::new(AtomicBool::new(false));
    let port = cutting_door(seed, &calm);
    let proxy = plan
        .workers(2)
        .endpoint(&format!("127.0.0.1:{port}"))
        .start();
    let ends: Vec<(u64, (Told, String))> = std::thread::scope(|threads| {
        let clients: Vec<_> = (0..6u64)
            .map(|number| {
                let proxy = &proxy;
                threads.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed ^ number);
                    let mut client = None;
                    let mut ends = Vec::new();
                    for at in 0..250 {
                        let client = client.get_or_insert_with(|| patient_login(proxy));
                        let id = number * 1000 + at;
                        ends.push((id, operate(client, random.random_range(0..10), id, table)));
                        let frames = client.query(&format!("select {id}"));
                        if codes(&frames).is_empty() {
                            let row = frames.iter().find(|frame| frame.tag == b'D');
                            let row = row.expect("a row").values();
                            assert_eq!(row, [Some(id.to_string().into_bytes())]);
                        }
                    }
                    ends
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"))
            .collect()
    });
    calm.store(true, Ordering::SeqCst);
    let counts = |kind| ends.iter().filter(|(_, (told, _))| *told == kind).count();
    println!(
        "done {}, refused {}, unknown {}, lost {}",
        counts(Told::Done),
        counts(Told::Refused),
        counts(Told::Unknown),
        proxy.metrics().sum("dsqlproxy_upstream_lost_total", &[])
    );
    assert!(counts(Told::Unknown) > 0 && counts(Told::Done) > 500);
    for (id, (told, seen)) in &ends {
        let found = direct.scalar(&format!("select count(*) from {table} where id = {id}"));
        match told {
            Told::Done => assert_eq!(found, "1", "{id} was acknowledged, {seen}"),
            Told::Refused => assert_eq!(found, "0", "{id} was refused, {seen}"),
            Told::Unknown => assert!(found == "0" || found == "1", "{id} is there {found} times"),
        }
    }
    proxy.wait_base();
}

/// Logins may be cut too often as well.
fn patient_login(proxy: &Proxy) -> Client {
    loop {
        match proxy.login(&Login::new(ROLE, "app")) {
            Ok(client) => return client,
            Err(error) => assert!(!error.sqlstate().is_empty()),
        }
    }
}

/// DSQL fails so and the connection goes on; at a commit nobody knows what became of it.
#[test]
fn a_failure_of_the_server_leaves_the_outcome_of_a_commit_unknown() {
    let failing = |status: &'static [u8], extended: bool| {
        cutting(1, move |conversation| {
            if extended {
                conversation.send(&[message(b'1', &[]), message(b'2', &[])].concat())?;
            }
            let failure = error("ERROR", "XX000", "server unavailable");
            conversation.send(&[failure, message(b'Z', status)].concat())?;
            conversation.serve()
        })
    };
    let extended = |text: &str| {
        [
            parse("", text, &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ]
        .concat()
    };
    let first = "insert into t values (1)";
    let insert = "insert into t values ('cut')";
    /// What is run before; the request; the state and the SQLSTATE behind it.
    type Case<'a> = (&'a [&'a str], Vec<u8>, &'static [u8], &'static str);
    let cases: [Case<'_>; 6] = [
        (&[], query(insert), b"I", "08007"),
        (&[], extended(insert), b"I", "08007"),
        (&["begin", first], query("commit /* cut */"), b"I", "08007"),
        (
            &["begin", first],
            extended("commit /* cut */"),
            b"I",
            "08007",
        ),
        (&[], query("select 'cut'"), b"I", "XX000"),
        (&["begin", first], query(insert), b"E", "XX000"),
    ];
    for (before, request, state, expected) in cases {
        let (_upstream, proxy) = failing(state, request[0] == b'P');
        let mut client = proxy.connect();
        before.iter().for_each(|text| drop(client.run(text)));
        client.send(&request);
        let frames = client.until_ready();
        assert_eq!(codes(&frames), [expected], "{before:?}");
        assert_eq!(status(&frames), char::from(state[0]));
        let unknown = expected == "08007";
        let count = proxy.metrics().sum("dsqlproxy_commit_unknown_total", &[]);
        assert_eq!(count, f64::from(u8::from(unknown)), "{before:?}");
        if unknown {
            let error = frames.iter().find(|frame| frame.tag == b'E');
            let error = error.expect("an error");
            assert!(error.field(b'H').is_some() && error.field(b'D').is_some());
            let line = proxy.log.wait_for("outcome_unknown=true", 1);
            assert!(!line.contains("'cut'"), "{line}");
            goes_on(&mut client);
        }
    }
}

/// The ReadyForQuery of one batch does not settle what the next one writes; and a simple request
/// commits what was executed without a Sync.
#[test]
fn a_write_whose_answer_was_shown_is_of_unknown_outcome() {
    let acknowledged = || {
        let done = message(b'C', b"INSERT 0 1\0");
        [message(b'1', &[]), message(b'2', &[]), done].concat()
    };
    let batch =
        |text: &str| [parse("", text, &[]), bind_text("", "", &[]), execute("", 0)].concat();
    let (_upstream, proxy) = cutting(1, move |conversation| conversation.send(&acknowledged()));
    let mut client = proxy.connect();
    let both = [
        batch("select 1"),
        sync(),
        batch("insert into t values ('cut')"),
        sync(),
    ];
    client.send(&both.concat());
    assert_eq!(tags(&client.until_ready()), "12CZ");
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "12CEZ");
    assert_eq!(codes(&frames), ["08007"]);
    goes_on(&mut client);

    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.send(&[batch("insert into t values (1)"), flush()].concat());
    assert_eq!(tags(&client.until(b'C')), "12C");
    client.send(&query("select 'cut'"));
    assert_eq!(codes(&client.until_ready()), ["08007"]);
    goes_on(&mut client);

    // Without anything that commits it, nothing was.
    let (_upstream, proxy) = cutting(1, move |conversation| conversation.send(&acknowledged()));
    let mut client = proxy.connect();
    client.send(&[batch("insert into t values ('cut')"), flush()].concat());
    let frames = client.until(b'E');
    assert_eq!(
        (tags(&frames).as_str(), codes(&frames)),
        ("12CE", vec!["08006".into()])
    );
    assert_eq!(client.exchange(&[sync()]), "Z");
    goes_on(&mut client);
}

#[test]
fn a_text_that_is_too_long_to_be_read_may_have_committed() {
    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.run("begin");
    client.run("insert into t values (1)");
    let long = format!("commit /* cut {} */", "x".repeat(2 << 20));
    client.send(&query(long));
    let frames = client.until_closed().expect("an end");
    assert_eq!(codes(&frames), ["08007"]);
    let count = proxy.metrics().sum("dsqlproxy_commit_unknown_total", &[]);
    assert_eq!(count, 1.0);
}

/// What was acknowledged before the connection was lost is taken again, and is not a second time.
#[test]
fn names_that_a_lost_request_made_are_made_again() {
    let batch = |first: Vec<u8>| {
        let cut = parse("", "select 'cut'", &[]);
        [first, cut, bind_text("", "", &[]), execute("", 0), sync()]
    };
    // Known to the connection, so that the proxy answers at once.
    let (upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.exchange(&[parse("s", "select 1", &[]), sync()]);
    client.exchange(&[close(b'S', "s"), sync()]);
    assert_eq!(
        client.exchange(&batch(parse("s", "select 1", &[]))),
        "112CZ"
    );
    let run = [bind_text("", "s", &[]), execute("", 0), sync()];
    assert_eq!(client.exchange(&run), "2CZ");
    // The empty statement is what a name that is taken is told by.
    let seen = || upstream.statements.lock().expect("unpoisoned").clone();
    assert!(!seen().contains(&String::new()), "{:?}", seen());
    client.exchange(&[parse("s", "select 1", &[]), sync()]);
    assert!(seen().contains(&String::new()), "{:?}", seen());

    // Closed by the proxy itself.
    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.exchange(&[parse("s", "select 1", &[]), sync()]);
    let closing = [parse("", "select 2", &[]), close(b'S', "s")].concat();
    assert_eq!(client.exchange(&batch(closing)), "1312CZ");
    goes_on(&mut client);

    // Acknowledged by the server.
    let (_upstream, proxy) = cutting(1, |conversation| {
        conversation.send(&message(b'1', &[]))?;
        while conversation.frame()?.tag != b'S' {}
        Ok(())
    });
    let mut client = proxy.connect();
    client.send(&[parse("s", "select 'cut'", &[]), flush()].concat());
    assert_eq!(tags(&client.until(b'1')), "1");
    assert_eq!(client.exchange(&run), "2CZ");
    assert_eq!(client.exchange(&run), "2CZ");
}

#[test]
fn a_failed_transaction_is_followed_by_the_one_that_was_asked_for() {
    let (upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.run("begin");
    client.run("insert into t values (1)");
    assert_eq!(client.sqlstate("select 'cut'"), "40001");
    let frames = client.query("rollback and chain");
    assert_eq!((tags(&frames), status(&frames)), ("CZ".into(), 'T'));
    assert_eq!(status(&client.query("insert into t values (2)")), 'T');
    client.run("commit");
    let seen = upstream.statements.lock().expect("unpoisoned").clone();
    let begins = seen
        .iter()
        .filter(|text| text.eq_ignore_ascii_case("begin"));
    assert_eq!(begins.count(), 2, "{seen:?}");

    let (_upstream, proxy) = cutting(1, |_| Ok(()));
    let mut client = proxy.connect();
    client.run("begin");
    client.run("insert into t values (1)");
    assert_eq!(client.sqlstate("select 'cut'"), "40001");
    let batch = [
        parse("", "commit work and chain", &[]),
        bind_text("", "", &[]),
        execute("", 0),
        sync(),
    ];
    client.send(&batch.concat());
    let frames = client.until_ready();
    assert_eq!((tags(&frames), status(&frames)), ("12CZ".into(), 'T'));
    client.run("rollback");
    goes_on(&mut client);
}
