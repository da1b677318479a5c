//! Many clients on few connections: no error, no starvation, nothing lost.
//!
//! `DSQLPROXY_FAIRNESS_SECONDS` sets how long (default 4), `DSQLPROXY_FAIRNESS_CLIENTS` how many
//! (default 2,000, less when the process may not open so many descriptors).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::limits;
use crate::message::query;
use crate::proxy::{Metrics, plan};

const POOL: usize = 20;

fn given(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn accounted(metrics: &Metrics) -> bool {
    metrics.sum("dsqlproxy_servers", &[]) == metrics.sum("dsqlproxy_pool_limit", &[])
}

#[test]
fn two_thousand_clients_on_a_pool_of_twenty() {
    let possible = limits::descriptors().saturating_sub(300);
    let count = given("DSQLPROXY_FAIRNESS_CLIENTS", 2000).min(possible);
    let duration = Duration::from_secs(given("DSQLPROXY_FAIRNESS_SECONDS", 4) as u64);
    let proxy = plan()
        .size(POOL)
        .workers(2)
        .pool("wait_timeout", "60s")
        .descriptors(8192)
        .start();
    proxy.connect().run("select 1");
    proxy.wait_base();
    let (base, threads) = (proxy.descriptors(), proxy.threads());
    let mut scrapes = 0;

    let answered: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
    let (go, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        // A thread for each client.
        let clients: Vec<Client> = (0..count).map(|_| proxy.connect()).collect();
        for (client, answered) in clients.into_iter().zip(&answered) {
            let (go, stop, failures) = (&go, &stop, &failures);
            let work = move || {
                while !go.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                ask(client, answered, stop, failures);
            };
            std::thread::Builder::new()
                .stack_size(128 * 1024)
                .spawn_scoped(threads, work)
                .expect("a thread");
        }
        go.store(true, Ordering::Relaxed);
        let began = Instant::now();
        while began.elapsed() < duration {
            let metrics = proxy.metrics();
            scrapes += 1;
            if !accounted(&metrics) {
                failures
                    .lock()
                    .expect("unpoisoned")
                    .push(format!("not accounted: {metrics:?}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, Ordering::Relaxed);
    });

    let failures = failures.into_inner().expect("unpoisoned");
    assert!(
        failures.is_empty(),
        "{} failures, the first: {}",
        failures.len(),
        failures[0]
    );
    let mut counts: Vec<u64> = answered
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .collect();
    counts.sort_unstable();
    let (slowest, median, total) = (counts[0], counts[count / 2], counts.iter().sum::<u64>());
    println!(
        "{count} clients: {total} answers, slowest {slowest}, median {median}, fastest {}",
        counts[count - 1]
    );
    assert!(
        2 * slowest >= median,
        "the slowest client got {slowest}, the median {median}"
    );

    proxy.wait_base();
    let connected = |metrics: &Metrics| metrics.sum("dsqlproxy_connections", &[]);
    proxy.wait_metrics("no connection's task", |metrics| connected(metrics) == 0.0);
    let deadline = Instant::now() + Duration::from_secs(10);
    // The pool's own connections stay.
    while proxy.descriptors() > base + POOL + 2 {
        assert!(
            Instant::now() < deadline,
            "{base} descriptors became {}",
            proxy.descriptors()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    println!(
        "{scrapes} scrapes, slots = limit in each; descriptors {base}, then {} with the pool's {}; \
         tasks of clients 0; threads {threads}, then {}",
        proxy.descriptors(),
        proxy
            .metrics()
            .sum("dsqlproxy_servers", &[("state", "idle")]),
        proxy.threads()
    );
    assert_eq!(proxy.threads(), threads);
}

fn ask(mut client: Client, answered: &AtomicU64, stop: &AtomicBool, failures: &Mutex<Vec<String>>) {
    let one = query("select pg_backend_pid()");
    while !stop.load(Ordering::Relaxed) {
        client.send(&one);
        let frames = client.until_ready();
        if let Some(error) = frames.iter().find(|frame| frame.tag == b'E') {
            failures
                .lock()
                .expect("unpoisoned")
                .push(error.render(true));
            stop.store(true, Ordering::Relaxed);
            return;
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
