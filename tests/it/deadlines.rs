//! Timeouts and cancels that the upstream does not know of, and the settings that set them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, Login, tags};
use crate::dsql::Cluster;
use crate::message::{Frame, bind_text, describe, execute, parse, query, sync};
use crate::postgres::ROLE;
use crate::proxy::{Proxy, plan};

fn codes(frames: &[Frame]) -> Vec<String> {
    let errors = frames.iter().filter(|frame| frame.tag == b'E');
    errors.map(Frame::sqlstate).collect()
}

fn status(frames: &[Frame]) -> char {
    let ready = frames.iter().rfind(|frame| frame.tag == b'Z');
    char::from(ready.expect("ReadyForQuery").body[0])
}

fn start(cluster: &Cluster) -> (Proxy, Client) {
    let proxy = plan().size(3).dsql(cluster).dialect("compat").start();
    let mut client = proxy.connect();
    client.run("create table t (id int primary key, n int)");
    client.run("insert into t values (1, 0), (2, 0)");
    (proxy, client)
}

fn batch(text: &str) -> Vec<Vec<u8>> {
    vec![
        parse("", text, &[]),
        bind_text("", "", &[]),
        describe(b'P', ""),
        execute("", 0),
        sync(),
    ]
}

#[test]
fn settings_are_kept_by_the_session() {
    let cluster = Cluster::start();
    let (proxy, mut client) = start(&cluster);
    let show = "show statement_timeout";
    assert_eq!(client.scalar(show), "0");
    let frames = client.run("set statement_timeout = '90s'");
    assert_eq!(frames[0].strings(), ["SET"]);
    assert_eq!(client.scalar(show), "90s");
    let frames = client.run(show);
    assert_eq!(tags(&frames), "TDCZ");
    let name = b"\0\x01statement_timeout\0";
    assert!(frames[0].body.starts_with(name), "{frames:?}");
    assert_eq!(frames[2].strings(), ["SHOW"]);

    // Transactions take them back, with a connection and without one.
    for statement in ["", "select 1"] {
        client.run("begin");
        if !statement.is_empty() {
            client.run(statement);
        }
        client.run("set statement_timeout = '2min'");
        client.run("set local lock_timeout = 7");
        assert_eq!(client.scalar(show), "2min");
        assert_eq!(client.scalar("show lock_timeout"), "7ms");
        client.run("rollback");
        assert_eq!(client.scalar(show), "90s");
        client.run("begin");
        if !statement.is_empty() {
            client.run(statement);
        }
        client.run("set local statement_timeout = '2min'");
        client.run("set dsqlproxy.retry = off");
        assert_eq!(client.scalar(show), "2min");
        client.run("commit");
        assert_eq!(client.scalar(show), "90s");
        assert_eq!(client.scalar("show dsqlproxy.retry"), "off");
        client.run("reset dsqlproxy.retry");
        assert_eq!(client.scalar("show dsqlproxy.retry"), "on");
    }
    let frames = client.run("set local statement_timeout = 1");
    assert_eq!(tags(&frames), "NCZ");
    assert_eq!(frames[0].sqlstate(), "25P01");
    assert_eq!(client.scalar(show), "90s");

    // Savepoints do too.
    client.run("begin");
    client.run("select 1");
    client.run("savepoint a");
    client.run("set statement_timeout = '3min'");
    client.run("rollback to a");
    assert_eq!(client.scalar(show), "90s");
    client.run("commit");

    client.run("reset all");
    assert_eq!(client.scalar(show), "0");
    client
        .run("set statement_timeout to default; set statement_timeout = 5; show statement_timeout");
    assert_eq!(client.scalar(show), "5ms");
    client.run("reset statement_timeout");

    // Other statements of the same text, and an error behind them.
    let frames = client.query("set statement_timeout = '4s'; select 1; show statement_timeout");
    assert_eq!(tags(&frames), "CTDCTDCZ", "{frames:?}");
    assert_eq!(frames[0].strings(), ["SET"]);
    assert_eq!(frames[6].strings(), ["SHOW"]);
    assert_eq!(client.scalar(show), "4s");
    let frames = client.query("set statement_timeout = '5s'; select 1 / 0");
    assert_eq!(codes(&frames), ["22012"]);
    assert_eq!(client.scalar(show), "4s");
    let frames = client.query("select 1; set statement_timeout = 'soon'; select 2");
    assert_eq!(
        (tags(&frames).as_str(), codes(&frames)),
        ("TDCEZ", vec!["22023".into()])
    );
    client.run("begin; set local statement_timeout = '6s'; select 1");
    assert_eq!(client.scalar(show), "6s");
    client.run("commit");
    assert_eq!(client.scalar(show), "4s");

    // Errors, and what they do to a block.
    let frames = client.query("set statement_timeout = 'soon'");
    assert_eq!(
        (codes(&frames), status(&frames)),
        (vec!["22023".into()], 'I')
    );
    for statement in ["", "select 1"] {
        client.run("begin");
        if !statement.is_empty() {
            client.run(statement);
        }
        let frames = client.query("set statement_timeout = -5");
        assert_eq!(
            (codes(&frames), status(&frames)),
            (vec!["22023".into()], 'E')
        );
        assert_eq!(client.sqlstate(show), "25P02");
        assert_eq!(client.sqlstate("set statement_timeout = 1"), "25P02");
        client.run("rollback");
    }
    assert_eq!(client.scalar(show), "4s");
    drop(client);
    proxy.wait_base();
}

#[test]
fn settings_in_the_extended_protocol() {
    let cluster = Cluster::start();
    let (proxy, mut client) = start(&cluster);
    assert_eq!(
        client.exchange(&batch("set statement_timeout = '8s'")),
        "12nCZ"
    );
    client.send(&batch("show statement_timeout").concat());
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "12TDCZ");
    assert_eq!(frames[3].values(), [Some(b"8s".to_vec())]);
    assert_eq!(frames[4].strings(), ["SHOW"]);
    // In one pipeline, prepared, with others around.
    client.send(
        &[
            parse("set", "set statement_timeout = '9s'", &[]),
            parse("show", "show statement_timeout", &[]),
            bind_text("", "set", &[]),
            execute("", 0),
            bind_text("", "show", &[]),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "112C2DCZ");
    assert_eq!(frames[5].values(), [Some(b"9s".to_vec())]);
    assert_eq!(
        client.exchange(&batch("set statement_timeout = 'x'")),
        "12nEZ"
    );
    // An error behind it in the same batch takes it back.
    client.send(
        &[
            bind_text("", "set", &[]),
            execute("", 0),
            parse("", "select 1 / 0", &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(codes(&client.until_ready()), ["22012"]);
    assert_eq!(client.scalar("show statement_timeout"), "9s");
    client.run("reset statement_timeout");
    assert_eq!(client.scalar("show statement_timeout"), "0");
    // A failed transaction takes none.
    client.run("begin");
    client.sqlstate("select 1 / 0");
    client.send(&[bind_text("", "set", &[]), execute("", 0), sync()].concat());
    let frames = client.until_ready();
    assert_eq!(
        (codes(&frames), status(&frames)),
        (vec!["25P02".into()], 'E')
    );
    client.run("rollback");
    assert_eq!(client.scalar("show statement_timeout"), "0");
    drop(client);
    proxy.wait_base();
}

#[test]
fn startup_parameters_and_defaults() {
    let cluster = Cluster::start();
    let proxy = plan()
        .size(2)
        .dsql(&cluster)
        .dialect("compat")
        .entry("statement_timeout", "20s")
        .start();
    let show = "show statement_timeout";
    let mut plain = proxy.connect();
    assert_eq!(plain.scalar(show), "20s");
    plain.run("set statement_timeout = 0");
    assert_eq!(plain.scalar(show), "0");
    plain.run("reset statement_timeout");
    assert_eq!(plain.scalar(show), "20s");
    let login = Login::new(ROLE, "app");
    for login in [
        login.clone().with("statement_timeout", "30s"),
        login.clone().with("options", "-c statement_timeout=30s"),
    ] {
        let mut client = proxy.login(&login).expect("login");
        assert_eq!(client.scalar(show), "30s");
        client.run("reset all");
        assert_eq!(client.scalar(show), "30s");
    }
    let refused = proxy.login(&login.with("statement_timeout", "soon"));
    assert_eq!(refused.err().expect("a refusal").sqlstate(), "22023");
}

#[test]
fn postgresql_keeps_its_timeouts_and_the_proxy_its_switches() {
    let proxy = plan().size(1).dialect("compat").start();
    let mut client = proxy.connect();
    client.run("set statement_timeout = '100ms'; set dsqlproxy.retry = off");
    assert_eq!(client.scalar("show statement_timeout"), "100ms");
    assert_eq!(client.scalar("show dsqlproxy.retry"), "off");
    let (code, _) = ("57014", client.query("select 1"));
    assert_eq!(client.sqlstate("select pg_sleep(20)"), code);
    let mut other = proxy.connect();
    assert_eq!(other.scalar("show dsqlproxy.retry"), "on");
    // Nothing changes where the dialect is off.
    let off = plan()
        .size(1)
        .start()
        .connect()
        .sqlstate("show dsqlproxy.retry");
    assert_eq!(off, "42704");
}

#[test]
fn statements_end_in_time() {
    let cluster = Cluster::start();
    let (proxy, mut client) = start(&cluster);
    let soon = |began: Instant| {
        let elapsed = began.elapsed();
        assert!(elapsed >= Duration::from_millis(290), "{elapsed:?}");
        assert!(elapsed < Duration::from_secs(4), "{elapsed:?}");
    };
    cluster.delay(10_000, 6, "late");
    client.run("set statement_timeout = 300");

    // A read.
    let began = Instant::now();
    let frames = client.query("select /* late */ 1");
    soon(began);
    assert_eq!(
        (tags(&frames).as_str(), codes(&frames)),
        ("EZ", vec!["57014".into()])
    );
    assert!(
        frames[0]
            .field(b'M')
            .expect("a message")
            .contains("statement timeout")
    );
    assert_eq!(status(&frames), 'I');

    // A write that may have been committed.
    let began = Instant::now();
    let frames = client.query("update /* late */ t set n = n + 1 where id = 1");
    soon(began);
    assert_eq!(
        (codes(&frames), status(&frames)),
        (vec!["08007".into()], 'I')
    );
    let hint = frames[0].field(b'H').expect("a HINT");
    assert!(hint.contains("statement timeout"), "{hint}");

    // In a block: it has failed.
    client.run("begin");
    client.run("update t set n = 5 where id = 2");
    let frames = client.query("select /* late */ 1");
    assert_eq!(
        (codes(&frames), status(&frames)),
        (vec!["57014".into()], 'E')
    );
    assert_eq!(client.sqlstate("select 1"), "25P02");
    client.run("rollback");
    assert_eq!(client.scalar("select n from t where id = 2"), "0");

    // At COMMIT.
    client.run("begin");
    client.run("update t set n = 6 where id = 2");
    let frames = client.query("commit /* late */");
    assert_eq!(
        (codes(&frames), status(&frames)),
        (vec!["08007".into()], 'I')
    );

    // In the extended protocol, each Execute has its own time; the batch behind it is skipped.
    client.send(&[batch("select /* late */ 1").concat(), query("select 2")].concat());
    let frames = client.until_ready();
    assert_eq!(codes(&frames), ["57014"]);
    assert_eq!(tags(&client.until_ready()), "TDCZ");

    // SET LOCAL is over with its transaction, and 0 is never.
    client.run("set statement_timeout = 0");
    client.run("begin; set local statement_timeout = 300; select 1");
    client.run("commit");
    cluster.delay(600, 1, "slow");
    client.run("select /* slow */ 1");
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_statement_that_waits_for_a_connection_ends_in_time() {
    let cluster = Cluster::start();
    let proxy = plan().size(1).dsql(&cluster).dialect("compat").start();
    let mut holder = proxy.connect();
    holder.run("begin");
    holder.run("select 1");
    let mut client = proxy.connect();
    client.run("set statement_timeout = 200");
    assert_eq!(client.sqlstate("select 1"), "57014");
    client.run("begin");
    assert_eq!(client.sqlstate("select 1"), "57014");
    assert_eq!(client.sqlstate("select 1"), "25P02");
    client.run("rollback");
    holder.run("commit");
    client.run("select 1");
}

#[test]
fn transactions_end_in_time() {
    let cluster = Cluster::start();
    let (proxy, mut client) = start(&cluster);
    let end = |client: &mut Client, code: &str, text: &str| {
        let frames = client.until_closed().expect("an end");
        assert_eq!(tags(&frames), "E", "{frames:?}");
        assert_eq!(frames[0].field(b'V').as_deref(), Some("FATAL"));
        assert_eq!(frames[0].sqlstate(), code);
        assert!(frames[0].field(b'M').expect("a message").contains(text));
    };
    for first in ["", "update t set n = 1 where id = 1"] {
        let mut idle = proxy.connect();
        idle.run("set idle_in_transaction_session_timeout = 200");
        idle.run("select 1");
        idle.run("begin");
        if !first.is_empty() {
            idle.run(first);
        }
        end(&mut idle, "25P03", "idle-in-transaction timeout");
    }
    let mut long = proxy.connect();
    long.run("set transaction_timeout = 300");
    long.run("begin");
    long.run("update t set n = 1 where id = 1");
    end(&mut long, "25P04", "transaction timeout");
    // A single statement is a transaction.
    let mut single = proxy.connect();
    single.run("set transaction_timeout = 300");
    cluster.delay(5000, 1, "late");
    single.send(&query("select /* late */ 1"));
    end(&mut single, "25P04", "transaction timeout");
    assert_eq!(client.scalar("select n from t where id = 1"), "0");
    client.run("update t set n = 2 where id = 1");
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_repetition_does_not_extend_a_deadline() {
    let cluster = Cluster::start();
    let (proxy, mut client) = start(&cluster);
    client.run("set statement_timeout = 400");
    cluster.fault("abort_commit", 1, "n \\+ 7");
    cluster.delay(250, 3, "n \\+ 7");
    let began = Instant::now();
    let frames = client.query("update t set n = n + 7 where id = 1");
    // The first attempt takes 250 ms, the second is given up in its middle.
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(codes(&frames), ["08007"]);
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_cancel_is_obeyed_though_the_cluster_ignores_it() {
    let cluster = Cluster::start();
    let proxy = plan()
        .size(2)
        .dsql(&cluster)
        .dialect("off")
        .entry("cancel_grace", "200ms")
        .start();
    let mut client = proxy.connect();
    client.run("create table t (id int primary key)");
    for (text, code, state) in [
        ("select /* late */ 1", "57014", 'I'),
        ("insert /* late */ into t values (1)", "08007", 'I'),
    ] {
        cluster.delay(20_000, 1, "late");
        let began = Instant::now();
        client.send(&query(text));
        // The statement is on its way when another one is answered.
        proxy.wait_metrics("a lease", |metrics| {
            metrics.sum("dsqlproxy_servers", &[("state", "leased")]) == 1.0
        });
        client.cancel();
        let frames = client.until_ready();
        assert_eq!(
            (codes(&frames), status(&frames)),
            (vec![code.into()], state)
        );
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    client.run("begin");
    client.run("select 1");
    cluster.delay(20_000, 1, "late");
    client.send(&query("select /* late */ 1"));
    cluster.wait_struck();
    client.cancel();
    let frames = client.until_ready();
    assert_eq!(
        (codes(&frames), status(&frames)),
        (vec!["57014".into()], 'E')
    );
    client.run("rollback");
    client.run("select 1");
}

#[test]
fn sessions_without_timeouts_set_none() {
    // Many sessions with timeouts that never come, and one whose comes: the alarm finds it.
    let cluster = Cluster::start();
    let (proxy, mut client) = start(&cluster);
    let mut others: Vec<Client> = (0..20).map(|_| proxy.connect()).collect();
    for (at, other) in others.iter_mut().enumerate() {
        other.run(&format!("set statement_timeout = '{}s'", 100 + at));
        other.run("select 1");
    }
    client.run("set statement_timeout = 200");
    cluster.delay(10_000, 1, "late");
    assert_eq!(client.sqlstate("select /* late */ 1"), "57014");
    for other in &mut others {
        other.run("select 1");
    }
}

#[test]
fn a_cancel_in_the_pause_before_a_repetition() {
    use crate::upstream::{Upstream, error};
    let conflicts = Arc::new(AtomicBool::new(true));
    let again = Arc::clone(&conflicts);
    let upstream = Upstream::start(move |conversation| -> io::Result<()> {
        loop {
            conversation.serve_until("conflict")?;
            let answer = match again.load(Ordering::SeqCst) {
                true => error("ERROR", "40001", "change conflicts (OC000)"),
                false => crate::message::message(b'C', b"UPDATE 1\0"),
            };
            conversation.send(&[answer, crate::message::message(b'Z', b"I")].concat())?;
        }
    });
    let proxy = plan()
        .size(1)
        .retry(10)
        .endpoint(&upstream.endpoint())
        .start();
    // The pauses are random and short: it takes a few attempts to hit one.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut client = proxy.connect();
        client.send(&query("update t set conflict = 1"));
        std::thread::sleep(Duration::from_millis(30));
        client.cancel();
        let frames = client.until_ready();
        if codes(&frames) == ["57014"] {
            assert_eq!(status(&frames), 'I');
            break;
        }
        assert_eq!(codes(&frames), ["40001"]);
        assert!(Instant::now() < deadline, "no pause was hit");
    }
    conflicts.store(false, Ordering::SeqCst);
    proxy.connect().run("update t set conflict = 1");
}

#[test]
fn the_switches_of_a_session_are_obeyed() {
    let cluster = Cluster::start();
    let (proxy, mut client) = start(&cluster);
    let update = "update t set n = n + 3 where id = 1";
    let conflict = |client: &mut Client| {
        cluster.fault("abort_commit", 1, "n \\+ 3");
        let frames = client.query(update);
        codes(&frames).first().cloned()
    };
    assert_eq!(conflict(&mut client), None);
    client.run("set dsqlproxy.retry = off");
    assert_eq!(conflict(&mut client).as_deref(), Some("40001"));
    client.run("begin");
    client.run("set dsqlproxy.retry = on");
    client.run("rollback");
    assert_eq!(conflict(&mut client).as_deref(), Some("40001"));
    client.run("reset dsqlproxy.retry");
    assert_eq!(conflict(&mut client), None);

    client.run("begin");
    client.run("select 1");
    client.run("savepoint a");
    client.run("set dsqlproxy.savepoints = reject");
    assert_eq!(client.sqlstate("savepoint b"), "0A000");
    client.run("rollback");
    drop(client);
    proxy.wait_base();
}
