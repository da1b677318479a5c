//! Advisory locks, by a table in the database.

use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE, tags};
use crate::dsql::{Cluster, set_up};
use crate::message::{bind, bind_text, describe, execute, parse, sync};
use crate::proxy::{Proxy, plan};

fn proxy(cluster: &Cluster) -> Proxy {
    plan().size(3).dsql(cluster).dialect("compat").start()
}

/// Waits until a session gets a lock that another one is about to give back.
#[track_caller]
fn wait_for(client: &mut Client, sql: &str) {
    let deadline = Instant::now() + PATIENCE;
    while client.scalar(sql) != "t" {
        assert!(Instant::now() < deadline, "{sql}: never");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until somebody who waits for a lock has looked for it twice more.
#[track_caller]
fn wait_for_waiter(cluster: &Cluster) {
    cluster.delay(1, 2, "LEFT JOIN dsqlproxy.advisory_lock");
    cluster.wait_struck();
}

/// As drivers bind texts and numbers.
#[test]
fn a_key_is_worked_out_of_parameters() {
    let cluster = Cluster::start();
    let proxy = proxy(&cluster);
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    let ask = |client: &mut Client, sql: &str, values: &[(u16, Option<Vec<u8>>)]| {
        let messages = [
            parse("", sql, &[]),
            bind("", "", values, &[]),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ];
        client.send(&messages.concat());
        let frames = client.until_ready();
        let shown = frames.iter().find_map(|frame| match frame.tag {
            b'D' => Some(String::from_utf8(frame.values().remove(0)?).unwrap()),
            b'E' => Some(frame.sqlstate()),
            _ => None,
        });
        shown.unwrap_or_default()
    };
    let name = b"it's \\ a name $1".to_vec();
    let text = [(0, Some(name.clone()))];
    let binary = [(1, Some(name))];
    let hashed = "select pg_try_advisory_lock(hashtext($1))";
    assert_eq!(ask(&mut a, hashed, &text), "t");
    assert_eq!(ask(&mut b, hashed, &binary), "f");
    assert_eq!(ask(&mut b, hashed, &[(0, Some(b"other".to_vec()))]), "t");
    assert_eq!(ask(&mut b, hashed, &[(0, None)]), "");
    let constant = "select pg_try_advisory_lock(hashtext('it''s \\ a name $1'))";
    assert_eq!(b.scalar(constant), "f");
    let two = "select pg_try_advisory_lock(hashtext($1), $2::int % 100)";
    let number = |value: i32| (1, Some(value.to_be_bytes().to_vec()));
    assert_eq!(ask(&mut a, two, &[text[0].clone(), number(507)]), "t");
    assert_eq!(ask(&mut b, two, &[binary[0].clone(), number(7)]), "f");
    assert_eq!(
        ask(&mut b, two, &[text[0].clone(), (0, Some(b"8".to_vec()))]),
        "t"
    );
    // What its bytes are nobody says.
    let unknown = "select pg_try_advisory_lock($1 + 2)";
    assert_eq!(ask(&mut a, unknown, &[number(1)]), "0A000");
    assert_eq!(ask(&mut a, unknown, &[(0, Some(b"-1".to_vec()))]), "t");
    assert_eq!(b.scalar("select pg_try_advisory_lock(1)"), "f");
    // The server knows the types.
    a.send(&[parse("p", two, &[]), describe(b'S', "p"), sync()].concat());
    assert_eq!(tags(&a.until_ready()), "1tTZ");
}

#[test]
fn locks_exclude_sessions_of_two_proxies() {
    let cluster = Cluster::start();
    let (one, other) = (proxy(&cluster), proxy(&cluster));
    let (mut a, mut b) = (one.connect(), other.connect());
    let frames = a.query("select pg_advisory_lock(72707369)");
    assert_eq!(tags(&frames), "TDCZ");
    assert!(frames[0].body[2..].starts_with(b"pg_advisory_lock\0"));
    assert_eq!(
        b.scalar("select pg_try_advisory_lock(72707369) as got"),
        "f"
    );
    assert_eq!(b.scalar("select pg_try_advisory_lock(72707370)"), "t");
    assert_eq!(b.scalar("select pg_try_advisory_lock(0, 72707369)"), "t");
    assert_eq!(b.scalar("select pg_try_advisory_lock(hashtext('x'))"), "t");
    assert_eq!(
        a.scalar("select pg_try_advisory_lock(hashtext('x')::bigint)"),
        "f"
    );
    // As often as taken.
    assert_eq!(a.scalar("select pg_try_advisory_lock(72707369)"), "t");
    assert_eq!(a.scalar("select pg_advisory_unlock(72707369)"), "t");
    assert_eq!(b.scalar("select pg_try_advisory_lock(72707369)"), "f");
    assert_eq!(a.scalar("select pg_advisory_unlock(72707369)"), "t");
    assert_eq!(b.scalar("select pg_try_advisory_lock(72707369)"), "t");
    let frames = a.query("select pg_advisory_unlock(72707369)");
    assert_eq!(tags(&frames), "NTDCZ", "a warning: it is not held");
    assert_eq!(a.scalar("select pg_advisory_unlock(null)"), "");
    // The session's end.
    b.terminate();
    wait_for(&mut a, "select pg_try_advisory_lock(72707369)");
    assert_eq!(a.scalar("select pg_try_advisory_lock(0, 72707369)"), "t");
    // All at once, and by a script of several statements.
    let mut b = other.connect();
    a.run("select pg_advisory_unlock_all()");
    wait_for(&mut b, "select pg_try_advisory_lock(72707369)");
    b.run("select pg_advisory_unlock_all(); close all; unlisten *; reset all");
    wait_for(&mut a, "select pg_try_advisory_lock(72707369)");
    a.run("discard all");
    wait_for(&mut b, "select pg_try_advisory_lock(72707369)");
}

#[test]
fn shared_locks_exclude_others_only() {
    let cluster = Cluster::start();
    let proxy = proxy(&cluster);
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    a.run("select pg_advisory_lock_shared(1, 2)");
    assert_eq!(b.scalar("select pg_try_advisory_lock_shared(1, 2)"), "t");
    assert_eq!(b.scalar("select pg_try_advisory_lock(1, 2)"), "f");
    assert_eq!(a.scalar("select pg_advisory_unlock_shared(1, 2)"), "t");
    assert_eq!(b.scalar("select pg_try_advisory_lock(1, 2)"), "t");
    assert_eq!(a.scalar("select pg_try_advisory_lock_shared(1, 2)"), "f");
}

#[test]
fn whoever_waits_gets_the_lock_or_gives_up() {
    let cluster = Cluster::start();
    let proxy = proxy(&cluster);
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    a.run("select pg_advisory_lock(1)");
    b.run("set lock_timeout = '300ms'");
    let begun = Instant::now();
    assert_eq!(b.sqlstate("select pg_advisory_lock(1)"), "55P03");
    assert!(begun.elapsed() >= Duration::from_millis(290));
    b.run("set lock_timeout = 0");
    b.run("set statement_timeout = '300ms'");
    assert_eq!(b.sqlstate("select pg_advisory_lock(1)"), "57014");
    b.run("set statement_timeout = 0");
    b.send(&crate::message::query("select pg_advisory_lock(1)"));
    wait_for_waiter(&cluster);
    b.cancel();
    let frames = b.until_ready();
    assert_eq!(frames[0].sqlstate(), "57014");
    // As Kysely asks for it.
    let kysely = "with t as (select set_config('lock_timeout', '100', true) as v) select pg_advisory_lock(1) from t";
    assert_eq!(b.sqlstate(kysely), "55P03");
    assert_eq!(b.scalar("show lock_timeout"), "0");
    // In a block the transaction has failed then.
    b.run("begin");
    b.run("select 1");
    b.run("set local lock_timeout = '100ms'");
    assert_eq!(b.sqlstate("select pg_advisory_lock(1)"), "55P03");
    assert_eq!(b.sqlstate("select 1"), "25P02");
    b.run("rollback");
    b.send(&crate::message::query(
        "select pg_advisory_lock(1); select 2",
    ));
    wait_for_waiter(&cluster);
    assert_eq!(a.scalar("select pg_advisory_unlock(1)"), "t");
    assert_eq!(tags(&b.until_ready()), "TDCTDCZ");
    assert_eq!(a.scalar("select pg_try_advisory_lock(1)"), "f");
}

#[test]
fn locks_of_a_transaction_end_with_it() {
    let cluster = Cluster::start();
    let proxy = proxy(&cluster);
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    set_up(&mut a, "create table t (id int primary key)");
    for end in ["commit", "rollback"] {
        for first in ["select 1", "insert into t values (1)", "delete from t"] {
            a.run("begin");
            a.run(first);
            a.run("select pg_advisory_xact_lock(5)");
            assert_eq!(b.scalar("select pg_try_advisory_xact_lock(5)"), "f");
            assert_eq!(a.scalar("select pg_advisory_unlock(5)"), "f");
            a.run(end);
            wait_for(&mut b, "select pg_try_advisory_xact_lock(5)");
            if first.starts_with("insert") && end == "commit" {
                a.run("delete from t");
            }
        }
    }
    // First in its transaction.
    a.run("begin");
    assert_eq!(a.scalar("select pg_try_advisory_xact_lock(5)"), "t");
    a.run("insert into t values (9)");
    assert_eq!(b.scalar("select pg_try_advisory_lock(5)"), "f");
    a.run("commit");
    wait_for(&mut b, "select pg_try_advisory_lock(5)");
    assert_eq!(b.scalar("select count(*) from t"), "1");
}

#[test]
fn locks_are_taken_in_the_extended_protocol() {
    let cluster = Cluster::start();
    let proxy = proxy(&cluster);
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    let lock = |sql: &str, key: &str| {
        [
            parse("", sql, &[]),
            describe(b'S', ""),
            bind_text("", "", &[key]),
            execute("", 0),
            sync(),
        ]
        .concat()
    };
    a.send(&lock("select pg_advisory_lock($1)", "42"));
    let frames = a.until_ready();
    assert_eq!(tags(&frames), "1tT2DCZ");
    b.send(&lock("select pg_try_advisory_lock($1) as ok", "42"));
    let frames = b.until_ready();
    assert_eq!(tags(&frames), "1tT2DCZ");
    assert_eq!(frames[4].body[2..], *b"\0\0\0\x01f");
    // While it waits it has no connection.
    b.send(&lock("select pg_advisory_lock($1)", "42"));
    proxy.wait_metrics("nobody has a connection", |metrics| {
        metrics.sum("dsqlproxy_servers", &[("state", "leased")]) == 0.0
    });
    a.send(&lock("select pg_advisory_unlock($1)", "42"));
    assert_eq!(tags(&a.until_ready()), "1tT2DCZ");
    assert_eq!(tags(&b.until_ready()), "1tT2DCZ");
    a.send(&lock("select pg_try_advisory_lock($1)", "many"));
    let frames = a.until_ready();
    assert_eq!(
        frames
            .iter()
            .find(|frame| frame.tag == b'E')
            .unwrap()
            .sqlstate(),
        "22P02"
    );
    assert_eq!(a.scalar("select pg_try_advisory_lock(42)"), "f");
}

/// Two runs of a migration tool, one after the other whatever comes between.
#[test]
fn migrations_serialise() {
    let cluster = Cluster::start();
    let proxies = [proxy(&cluster), proxy(&cluster)];
    let mut setter = proxies[0].connect();
    set_up(&mut setter, "create table history (id int primary key)");
    let addresses: Vec<_> = proxies.iter().map(Proxy::address).collect();
    let run = |address: String| {
        let mut client = Client::login(
            &address,
            &crate::client::Login::new(crate::postgres::ROLE, "app"),
        )
        .unwrap();
        client.run("select pg_advisory_lock(4242)");
        let done = client.scalar("select count(*) from history");
        std::thread::sleep(Duration::from_millis(100));
        if done == "0" {
            client.run("insert into history values (1)");
        }
        client.run("select pg_advisory_unlock(4242)");
        done
    };
    let mut done: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|at| {
                let address = addresses[at % 2].clone();
                scope.spawn(move || run(address))
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    done.sort();
    assert_eq!(done, ["0", "1", "1", "1"]);
}

/// DDL of another session is a conflict to whatever a connection runs next, be it the key of a lock.
#[test]
fn a_computed_key_outlives_conflicts() {
    let cluster = Cluster::start();
    let proxy = proxy(&cluster);
    let mut a = proxy.connect();
    a.run("select pg_advisory_lock(1)");
    cluster.fault("abort_statement", 2, "hashtext");
    assert_eq!(a.scalar("select pg_try_advisory_lock(hashtext('x'))"), "t");
    assert_eq!(cluster.orders_left(), 0);
}

/// Somebody takes the lock away: the session must not go on as if it held it.
#[test]
fn who_has_lost_a_lock_is_told() {
    let cluster = Cluster::start();
    let proxy = proxy(&cluster);
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    a.run("select pg_advisory_lock(1)");
    b.run("delete from dsqlproxy.advisory_lock");
    proxy.log.wait_for("an advisory lock was lost", 1);
    a.send(&crate::message::query("select 1"));
    let told = a.expect(b'E');
    assert_eq!(told.sqlstate(), "57P01");
    assert_eq!(told.field(b'V').as_deref(), Some("FATAL"));
}

#[test]
fn tables_are_locked_against_others_who_lock_them() {
    let cluster = Cluster::start();
    let proxy = proxy(&cluster);
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    set_up(&mut a, "create table t (id int primary key)");
    assert_eq!(a.sqlstate("lock table t"), "25P01");
    a.run("begin");
    let frames = a.run("lock table t in access exclusive mode");
    assert_eq!(tags(&frames), "NCZ");
    a.run("insert into t values (1)");
    b.run("begin");
    b.run("lock table t in access share mode");
    assert_eq!(b.sqlstate("lock table t in share mode nowait"), "55P03");
    b.run("rollback");
    b.run("begin");
    b.send(&crate::message::query("lock table t in share mode"));
    wait_for_waiter(&cluster);
    a.run("commit");
    assert_eq!(b.until_ready().last().unwrap().body, b"T");
    assert_eq!(b.scalar("select count(*) from t"), "1");
    b.run("commit");
}
