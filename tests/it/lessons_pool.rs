//! Numbered cases, group L: the pool, reloads, the end.

use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use crate::client::{Client, Login, tags};
use crate::message::query;
use crate::postgres::{self, ROLE};
use crate::proxy::{Metrics, Proxy, plan};

/// Idle, leased, connecting and free places add up to the limit.
fn accounted(metrics: &Metrics) -> bool {
    let places = metrics.sum("dsqlproxy_servers", &[]);
    let limit = metrics.sum("dsqlproxy_pool_limit", &[]);
    metrics.has("dsqlproxy_servers") && limit > 0.0 && places == limit
}

fn terminate_backends(proxy: &Proxy, application: &str) {
    let mut admin = postgres::cluster().connect_superuser("app");
    let mut client = proxy.connect();
    let pid = client.scalar("select pg_backend_pid()");
    drop(client);
    proxy.wait_base();
    admin.run(&format!(
        "select pg_terminate_backend({pid}) /* {application} */"
    ));
    while admin.scalar(&format!(
        "select count(*) from pg_stat_activity where pid = {pid}"
    )) != "0"
    {}
}

#[test]
fn l1_places_add_up_at_every_moment() {
    let proxy = plan().size(3).start();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let receiver = std::sync::Mutex::new(receiver);
    let done =
        || receiver.lock().expect("unpoisoned").try_recv() == Err(TryRecvError::Disconnected);
    std::thread::scope(|threads| {
        // Dropped when the scrapes end, by a failure too.
        let _sender = sender;
        for _ in 0..8 {
            threads.spawn(|| {
                while !done() {
                    let mut client = proxy.connect();
                    for _ in 0..10 {
                        client.run("select 1");
                    }
                    client.query("begin; select 1/0");
                }
            });
        }
        for _ in 0..200 {
            let metrics = proxy.metrics();
            assert!(accounted(&metrics), "{metrics:?}");
        }
    });
    proxy.wait_base();
    assert!(accounted(&proxy.metrics()));
}

#[test]
fn l2_more_clients_than_connections_lose_little_throughput() {
    let proxy = plan().size(4).start();
    let rate = |count: usize| {
        let began = Instant::now();
        std::thread::scope(|threads| {
            for _ in 0..count {
                threads.spawn(|| {
                    let mut client = proxy.connect();
                    for _ in 0..(2400 / count) {
                        client.run("select 1");
                    }
                });
            }
        });
        2400.0 / began.elapsed().as_secs_f64()
    };
    rate(4);
    let (saturated, crowded) = (rate(4), rate(12));
    // Nine tenths on a quiet machine; a shared one is given slack.
    assert!(
        crowded > saturated * 0.6,
        "{saturated:.0}/s became {crowded:.0}/s"
    );
}

#[test]
fn l3_a_cold_pool_serves_64_sessions_in_time() {
    let proxy = plan().size(64).session_mode().start();
    let began = Instant::now();
    let mut clients: Vec<Client> = (0..64).map(|_| proxy.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(&query("select 1")));
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(tags(&client.until_ready()), "TDCZ"));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn l5_connections_closed_by_the_server_are_not_handed_out() {
    let proxy = plan().size(1).start();
    for _ in 0..5 {
        terminate_backends(&proxy, "l5");
        assert_eq!(proxy.connect().scalar("select 'next'"), "next");
    }
}

#[test]
fn l7_metrics_say_what_happens() {
    let proxy = plan().size(2).start();
    let mut first = proxy.connect();
    let mut second = proxy.connect();
    let mut third = proxy.connect();
    first.run("begin; select 1");
    second.run("begin; select 1");
    third.send(&query("select 3"));
    proxy.wait_metrics("two leased, one waiting", |metrics| {
        metrics.sum("dsqlproxy_servers", &[("state", "leased")]) == 2.0
            && metrics.sum("dsqlproxy_pool_waiters", &[]) == 1.0
            && metrics.sum("dsqlproxy_clients", &[]) == 3.0
            && metrics.sum("dsqlproxy_pool_limit", &[]) >= 2.0
    });
    first.run("commit");
    third.until_ready();
    second.run("rollback");
    proxy.wait_metrics("nobody leased", |metrics| {
        metrics.sum("dsqlproxy_servers", &[("state", "leased")]) == 0.0
            && metrics.sum(
                "dsqlproxy_servers",
                &[("pool", "main/app"), ("state", "idle")],
            ) == 2.0
            && metrics.sum("dsqlproxy_clients", &[]) == 3.0
    });
    drop((first, second, third));
    proxy.wait_base();
}

#[test]
fn l8_a_peer_that_closes_does_not_make_the_proxy_spin() {
    let proxy = plan().size(2).start();
    let processor = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).expect("alive");
        let fields: Vec<_> = stat
            .rsplit(") ")
            .next()
            .expect("fields")
            .split(' ')
            .collect();
        fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks")
    };
    for _ in 0..5 {
        let mut client = proxy.connect();
        client.send(&query("select repeat('x', 50000000)"));
        client.expect(b'T');
        drop(client);
        let client = proxy.connect();
        client.finish_sending();
        drop(client);
    }
    proxy.wait_base();
    let before = processor();
    // An interval of quiet is what is measured here.
    std::thread::sleep(Duration::from_millis(500));
    assert!(processor() - before < 20, "busy while nobody is there");
}

#[test]
fn l11_sigterm_ends_in_bounded_time_with_exit_code_zero() {
    let mut proxy = plan()
        .size(2)
        .section("limits: {drain_timeout: 2s}")
        .start();
    let mut idle = proxy.connect();
    idle.run("select 1");
    let mut busy = proxy.connect();
    busy.run("begin; select 1");
    proxy.signal("TERM");
    let frames = idle.until_closed().expect("an end");
    assert_eq!(tags(&frames), "E");
    assert_eq!(frames[0].sqlstate(), "57P01");
    busy.run("select 'within the grace'");
    busy.run("commit");
    let frames = busy.until_closed().expect("an end");
    assert_eq!(tags(&frames), "E");
    assert_eq!(proxy.wait_exit(Duration::from_secs(10)), Some(0));
}

#[test]
fn l11_sigterm_cuts_transactions_that_outlast_the_grace() {
    let mut proxy = plan()
        .size(2)
        .section("limits: {drain_timeout: 500ms}")
        .start();
    let mut busy = proxy.connect();
    busy.run("begin; select 1");
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit(Duration::from_secs(10)), Some(0));
    let frames = busy.until_closed().expect("an end");
    assert_eq!(tags(&frames), "E");
}

#[test]
fn a_reload_tells_what_needs_a_restart() {
    let proxy = plan().start();
    proxy.edit(|yaml| {
        yaml.replace("workers: 1", "workers: 3")
            .replace("wait_timeout: 20s", "wait_timeout: 21s")
            .replace("direct", "straight")
            + "limits: {client_statements: 7}\nlog: {level: debug}\n"
    });
    let (code, body) = proxy.post("/api/reload");
    assert_eq!(code, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let lines = |key: &str| {
        let lines = answer[key].as_array().expect("a list").iter();
        lines
            .map(|line| line.as_str().expect("text"))
            .collect::<Vec<_>>()
    };
    assert_eq!(lines("changes"), ["users.app changed", "log.level changed"]);
    assert_eq!(
        lines("restart"),
        [
            "limits changed",
            "workers changed",
            "clusters.main changed",
            "databases.direct removed",
            "databases.straight added",
        ]
    );
    let line = proxy.log.wait_for("need a restart", 1);
    assert!(
        line.contains("WARN") && line.contains("clusters.main changed"),
        "{line}"
    );
    // What was not taken over is reported again, by SIGHUP too.
    proxy.signal("HUP");
    let again = proxy.log.wait_for("need a restart", 2);
    assert!(again.contains("clusters.main changed"), "{again}");
}

#[test]
fn l11_a_second_signal_ends_at_once() {
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT")] {
        let mut proxy = plan()
            .size(2)
            .section("limits: {drain_timeout: 60s}")
            .start();
        let mut idle = proxy.connect();
        idle.run("select 1");
        let mut busy = proxy.connect();
        busy.run("begin; select 1");
        proxy.signal(first);
        // The end of the idle client shows that the drain has begun.
        assert_eq!(tags(&idle.until_closed().expect("an end")), "E");
        busy.run("select 'still served'");
        let began = Instant::now();
        proxy.signal(second);
        let frames = busy.until_closed().expect("an end");
        assert_eq!(tags(&frames), "E", "{first}, {second}");
        assert_eq!(frames[0].sqlstate(), "57P01");
        assert_eq!(proxy.wait_exit(Duration::from_secs(20)), Some(0));
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{first}, {second}"
        );
    }
}

#[test]
fn l12_the_queue_has_a_limit() {
    let proxy = plan().size(1).pool("max_waiters", 2).start();
    let mut holder = proxy.connect();
    holder.run("begin; select 1");
    let mut waiting: Vec<Client> = (0..2).map(|_| proxy.connect()).collect();
    waiting
        .iter_mut()
        .for_each(|client| client.send(&query("select 1")));
    proxy.wait_waiters(2);
    assert_eq!(proxy.connect().sqlstate("select 1"), "53300");
    holder.run("commit");
    waiting
        .iter_mut()
        .for_each(|client| assert_eq!(tags(&client.until_ready()), "TDCZ"));
}

#[test]
fn l13_an_idle_proxy_is_alive_and_ready() {
    let proxy = plan().start();
    assert_eq!(proxy.get("/livez").0, 200);
    // Ready without any client: it looks for its upstreams on its own.
    let deadline = Instant::now() + Duration::from_secs(10);
    while proxy.get("/readyz").0 != 200 {
        assert!(Instant::now() < deadline, "{}", proxy.get("/readyz").1);
    }
    assert_eq!(proxy.get("/nowhere").0, 404);
}

#[test]
fn l14_waiters_are_served_in_the_order_they_came() {
    let proxy = plan().size(1).start();
    let mut holder = proxy.connect();
    holder.run("drop sequence if exists l14; create sequence l14");
    holder.run("begin; select 1");
    let mut waiting: Vec<Client> = Vec::new();
    for at in 0..8 {
        let mut client = proxy.connect();
        client.send(&query("select nextval('l14')"));
        proxy.wait_waiters(at + 1);
        waiting.push(client);
    }
    holder.run("commit");
    for (at, client) in waiting.iter_mut().enumerate() {
        let frames = client.until_ready();
        assert_eq!(
            frames[1].values()[0].as_deref(),
            Some((at + 1).to_string().as_bytes())
        );
    }
}

#[test]
fn l15_a_client_that_waits_long_gets_a_notice() {
    let proxy = plan().size(1).pool("wait_timeout", "30s").start();
    let mut holder = proxy.connect();
    holder.run("begin; select 1");
    let mut client = proxy.connect();
    client.send(&query("select 1"));
    let notice = client.expect(b'N');
    assert!(!notice.field(b'M').expect("a message").is_empty());
    holder.run("commit");
    assert_eq!(tags(&client.until_ready()), "TDCZ");
}

#[test]
fn l15_the_notice_comes_before_the_wait_is_given_up() {
    let proxy = plan().size(1).pool("wait_timeout", "2s").start();
    let mut holder = proxy.connect();
    holder.run("begin; select 1");
    let mut client = proxy.connect();
    let began = Instant::now();
    client.send(&query("select 1"));
    let notice = client.frame().expect("a message");
    assert_eq!(notice.tag, b'N', "{}", notice.render(true));
    assert!(began.elapsed() >= Duration::from_secs(1));
    let rest = client.until_ready();
    assert_eq!(tags(&rest), "EZ", "one notice, then the end of the wait");
    assert_eq!(rest[0].sqlstate(), "53300");
}

#[test]
fn l16_a_deferred_begin_takes_no_connection() {
    let proxy = plan().size(1).start();
    let mut first = proxy.connect();
    let mut second = proxy.connect();
    let frames = first.run("begin");
    assert_eq!(frames.last().expect("messages").body, b"T");
    assert_eq!(second.scalar("select 'free'"), "free");
    let before = first.scalar("select transaction_timestamp()");
    assert_eq!(
        first.scalar("select transaction_timestamp()"),
        before,
        "one transaction"
    );
    first.run("commit");
    let login = Login::new(ROLE, "app");
    let mut third = proxy.login(&login).expect("login");
    third.run("begin");
    let frames = third.run("commit");
    assert_eq!(frames[0].body, b"COMMIT\0");
}
