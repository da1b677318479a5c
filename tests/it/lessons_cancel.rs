//! Numbered cases, group C: a cancel request hits what its client runs, or nothing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::{Client, cancel, tags};
use crate::message::{cancel_request, copy_data, copy_done, query};
use crate::proxy::{Proxy, plan};

/// Starts something endless and waits until it runs.
fn sleep(client: &mut Client) {
    client.send(&query(
        "do $$ begin raise notice 'asleep'; perform pg_sleep(600); end $$",
    ));
    client.expect(b'N');
}

fn cancelled(client: &mut Client) {
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "EZ");
    assert_eq!(frames[0].sqlstate(), "57014");
}

/// Cancels as fast as it can while `work` runs.
fn storm(proxy: &Proxy, pid: u32, key: &[u8], work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    cancel(&proxy.address(), pid, key);
                }
            });
        }
        work();
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn c1_a_cancel_storm_never_hits_another_client() {
    let proxy = plan().size(1).start();
    let attacker = proxy.connect();
    let mut victim = proxy.connect();
    let mut attacking = proxy.connect();
    storm(&proxy, attacker.pid, &attacker.key, || {
        for round in 0..400 {
            assert_eq!(victim.scalar(&format!("select {round}")), round.to_string());
        }
    });
    // The same with an attacker whose own queries come in between.
    let (pid, key) = (attacking.pid, attacking.key.clone());
    storm(&proxy, pid, &key, || {
        for round in 0..300 {
            attacking.send(&query("select 'own'"));
            victim.send(&query(format!("select {round}")));
            let frames = victim.until_ready();
            assert_eq!(tags(&frames), "TDCZ", "round {round}: a foreign cancel");
            let frames = attacking.until_ready();
            assert!(
                ["TDCZ", "TDEZ", "TEZ", "EZ"].contains(&tags(&frames).as_str()),
                "{}",
                tags(&frames)
            );
        }
    });
    assert_eq!(attacking.scalar("select 'fine'"), "fine");
}

#[test]
fn c3_a_cancel_while_settings_are_restored_breaks_nothing() {
    let proxy = plan().size(1).start();
    let mut one = proxy.connect();
    let mut two = proxy.connect();
    one.run("set work_mem = '11MB'");
    two.run("set work_mem = '12MB'");
    let (pid, key) = (one.pid, one.key.clone());
    storm(&proxy, pid, &key, || {
        for _ in 0..200 {
            let frames = one.query("show work_mem");
            match tags(&frames).as_str() {
                "TDCZ" => assert_eq!(frames[1].values()[0].as_deref(), Some(&b"11MB"[..])),
                _ => assert_eq!(
                    frames
                        .iter()
                        .find(|frame| frame.tag == b'E')
                        .expect("an error")
                        .sqlstate(),
                    "57014"
                ),
            }
            assert_eq!(two.scalar("show work_mem"), "12MB");
        }
    });
    assert_eq!(one.scalar("show work_mem"), "11MB");
}

#[test]
fn c4_cancels_do_not_queue_behind_the_pool() {
    let proxy = plan().size(1).start();
    let mut holder = proxy.connect();
    sleep(&mut holder);
    let mut waiting: Vec<Client> = (0..5).map(|_| proxy.connect()).collect();
    waiting
        .iter_mut()
        .for_each(|client| client.send(&query("select 1")));
    proxy.wait_waiters(5);
    holder.cancel();
    cancelled(&mut holder);
    waiting
        .iter_mut()
        .for_each(|client| assert_eq!(tags(&client.until_ready()), "TDCZ"));
}

#[test]
fn c5_a_waiting_client_leaves_the_queue_when_it_is_cancelled() {
    let proxy = plan().size(1).start();
    let mut holder = proxy.connect();
    holder.run("begin; select 1");
    let mut client = proxy.connect();
    client.send(&query("select 'never'"));
    proxy.wait_waiters(1);
    client.cancel();
    cancelled(&mut client);
    proxy.wait_waiters(0);
    holder.run("commit");
    assert_eq!(client.scalar("select 'later'"), "later");
}

#[test]
fn c6_after_a_cancel_within_a_result_the_next_query_is_clean() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    for _ in 0..3 {
        client.send(&query(
            "select i, pg_sleep(0.0001) from generate_series(1, 10000000) i",
        ));
        for _ in 0..20 {
            client.frame().expect("a message");
        }
        client.cancel();
        let frames = client.until_ready();
        assert_eq!(frames[frames.len() - 2].sqlstate(), "57014");
        assert_eq!(tags(&client.query("select 1")), "TDCZ");
        assert_eq!(tags(&proxy.connect().query("select 1")), "TDCZ");
    }
}

#[test]
fn c8_keys_differ_and_are_not_logged() {
    let proxy = plan().size(1).start();
    let clients: Vec<Client> = (0..100).map(|_| proxy.connect()).collect();
    let keys: HashSet<_> = clients
        .iter()
        .map(|client| (client.pid, client.key.clone()))
        .collect();
    assert_eq!(keys.len(), 100);
    let secrets: HashSet<_> = clients.iter().map(|client| client.key.clone()).collect();
    assert!(secrets.len() > 98, "secrets are random");
    let signs = clients
        .iter()
        .filter(|client| client.key[0] & 0x80 != 0)
        .count();
    assert!(
        (20..=80).contains(&signs),
        "the top bit is random too: {signs} of 100"
    );
    let log = proxy.log.text();
    for client in &clients {
        let hex: String = client
            .key
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(!log.contains(&hex));
    }
}

#[test]
fn c9_cancels_are_taken_plain_and_over_tls() {
    let proxy = plan().size(1).tls().start();
    let mut client = proxy.login(&proxy.tls_login()).expect("login over TLS");
    sleep(&mut client);
    client.cancel();
    cancelled(&mut client);
    sleep(&mut client);
    let mut canceller = proxy.open();
    canceller
        .start_tls(&proxy.tls_config(), false)
        .expect("TLS");
    canceller.send(&cancel_request(client.pid, &client.key));
    // As PostgreSQL does: libpq 17 takes an end without TLS's word of farewell for a failure.
    let end = canceller.next_frame();
    assert!(matches!(end, Ok(None)), "{end:?}");
    cancelled(&mut client);
}

#[test]
fn c10_a_cancel_is_harmless_in_every_state_of_a_client() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.cancel();
    assert_eq!(client.scalar("select 'idle'"), "idle");
    client.run("begin");
    client.cancel();
    client.run("select 1");
    client.cancel();
    assert_eq!(
        client.scalar("select 'in a transaction'"),
        "in a transaction"
    );
    client.query("select 1/0");
    client.cancel();
    client.run("rollback");
    client.run("create table if not exists c10 (a int)");
    client.send(&query("copy c10 from stdin"));
    client.expect(b'G');
    client.cancel();
    // A cancelled COPY ends with 57014, at the latest when its data comes.
    client.send(&[copy_data(b"1\n"), copy_done()].concat());
    let frames = client.until_ready();
    assert!(
        ["EZ", "CZ"].contains(&tags(&frames).as_str()),
        "{}",
        tags(&frames)
    );
    assert_eq!(client.scalar("select 'after'"), "after");
    let (pid, key) = (client.pid, client.key.clone());
    client.terminate();
    cancel(&proxy.address(), pid, &key);
    assert_eq!(proxy.connect().scalar("select 1"), "1");
}

#[test]
fn c11_a_connection_whose_query_was_cancelled_serves_the_next_client() {
    let proxy = plan().size(1).start();
    for _ in 0..10 {
        let mut client = proxy.connect();
        sleep(&mut client);
        client.cancel();
        drop(client);
        assert_eq!(proxy.connect().scalar("select 'next'"), "next");
    }
}

#[test]
fn c12_wrong_keys_do_nothing() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    sleep(&mut client);
    let address = proxy.address();
    for at in 0..client.key.len() {
        let mut key = client.key.clone();
        key[at] ^= 1;
        cancel(&address, client.pid, &key);
    }
    cancel(&address, client.pid.wrapping_add(1), &client.key);
    cancel(&address, client.pid, &[0; 4]);
    for length in [0, 1, 3, 300] {
        let mut stranger = proxy.open();
        stranger.send(&cancel_request(client.pid, &vec![1; length]));
        stranger.until_closed().expect("closed");
    }
    client.socket().set_nonblocking(true).expect("a socket");
    assert!(
        client
            .frame()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    );
    client.socket().set_nonblocking(false).expect("a socket");
    client.cancel();
    cancelled(&mut client);
}
