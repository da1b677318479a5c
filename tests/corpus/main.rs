//! Conversations of real clients, as they were recorded in front of PostgreSQL, said again through the
//! proxy in front of an emulated Aurora DSQL cluster: the answers have the shape (columns, type OIDs,
//! tags, row counts, SQLSTATEs) that plain PostgreSQL gives to the same messages.
//!
//! What differs stands in `known.txt`, each with its reason; anything else fails the test. Entries that
//! no longer differ are printed.
//!
//! | variable | says |
//! |---|---|
//! | `DSQLPROXY_CORPUS` | only recordings whose name starts with this |
//! | `DSQLPROXY_CORPUS_WRITE` | write `known.txt` anew from what differs |
//! | `DSQLPROXY_CORPUS_SHOW` | print the statement and both answers of each difference |

mod known;
mod recording;
mod replay;

// Shared with tests/it, which uses the rest of them.
#[allow(dead_code)]
#[path = "../it/client.rs"]
mod client;
#[path = "../it/dsql.rs"]
mod dsql;
#[path = "../emulated/mod.rs"]
mod emulated;
#[allow(dead_code)]
#[path = "../it/message.rs"]
mod message;
#[path = "../it/ports.rs"]
mod ports;
#[allow(dead_code)]
#[path = "../it/postgres.rs"]
mod postgres;
#[allow(dead_code)]
#[path = "../it/proxy.rs"]
mod proxy;

use std::time::{Duration, Instant};

use known::Known;
use recording::{RECORDINGS, Recording};
use replay::{Exchange, Side};

use crate::dsql::Cluster;
use crate::proxy::plan;

/// Databases that the recordings name.
const DATABASES: [&str; 4] = ["cap", "cap2", "wt", "postgres"];

/// Catalogs and messages are of this release.
const KNOWN_OF: &str = "15";

#[test]
fn answers_have_the_shape_of_postgresql() {
    let wanted = std::env::var("DSQLPROXY_CORPUS").unwrap_or_default();
    let show = std::env::var_os("DSQLPROXY_CORPUS_SHOW").is_some();
    let version = postgres::cluster()
        .connect("app")
        .scalar("show server_version");
    if !version.starts_with(KNOWN_OF) {
        println!(
            "known.txt is about PostgreSQL {KNOWN_OF}, this is {version}: nothing is compared"
        );
        return;
    }
    let cluster = Cluster::with_jobs_of(Duration::from_millis(1));
    let mut known = Known::read();
    let mut totals = (0, 0);
    for (name, before) in RECORDINGS {
        if !name.starts_with(&wanted) {
            continue;
        }
        let began = Instant::now();
        let (expected, got) = say(&cluster, name, before);
        let mut passed = 0;
        for (expected, got) in expected.iter().zip(&got) {
            match known::difference(expected, got) {
                None => passed += 1,
                Some(difference) => {
                    if show {
                        println!("{name}:{} {}", expected.line, expected.text);
                        println!("  plain {:?}\n  proxy {:?}", expected.shape, got.shape);
                    }
                    known.found(name, expected.line, &difference);
                }
            }
        }
        println!(
            "{name:16} {passed:5} of {:5} passed ({:.1} s)",
            expected.len(),
            began.elapsed().as_secs_f64()
        );
        known.said(name);
        totals = (totals.0 + passed, totals.1 + expected.len());
    }
    println!("{:16} {:5} of {:5} passed", "all", totals.0, totals.1);
    known.settle();
}

/// Both sides of a recording.
fn say(cluster: &Cluster, name: &str, before: &[&str]) -> (Vec<Exchange>, Vec<Exchange>) {
    let mut recording = Recording::read(name);
    if name.starts_with("pgbench") {
        // One of its sessions waits for the locks of another.
        recording.part_sessions();
    }
    let postgres = postgres::cluster();
    let database = recording.database.clone();
    let mut superuser = postgres.connect_superuser("template1");
    if database != "postgres" {
        superuser.run(&format!("drop database if exists {database} with (force)"));
        superuser.run(&format!("create database {database}"));
    }
    cluster.empty();
    let mut plain = Side::new(&postgres.address(), "postgres", true);
    let mut proxy = plan();
    for database in DATABASES {
        proxy = proxy.database(database);
    }
    let proxy = proxy
        .dsql(cluster)
        .size(4)
        .dialect("compat")
        .entry("ddl_in_transaction", "split")
        .entry("large_dml", "batch")
        .start();
    let mut proxied = Side::new(&proxy.address(), postgres::ROLE, false);
    for name in before {
        let recording = Recording::read(name);
        plain.say(&recording, &mut Vec::new());
        proxied.say(&recording, &mut plain.parameters());
    }
    let expected = plain.say(&recording, &mut Vec::new());
    let got = proxied.say(&recording, &mut plain.parameters());
    assert_eq!(expected.len(), got.len(), "{name}");
    (expected, got)
}
