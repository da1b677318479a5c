//! The operators' console: the virtual database `dsqlproxy`, for users with `admin: true`. It takes
//! simple queries, one command each, and answers with rows of text.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::auth::Identity;
use crate::net::Stream;
use crate::sql::scan::{Token, Tokens};
use crate::wire::backend::TransactionStatus;
use crate::wire::frame::{self, HEADER};
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::operations::Operations;
use super::proxy::Shared;

/// Bytes of a command at most.
const COMMAND: usize = 8 * 1024;

/// A logged-in client, as `SHOW CLIENTS` tells of it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub user: String,
    pub database: String,
    pub worker: usize,
    pub since: Instant,
}

const COMMANDS: [(&str, &str); 7] = [
    ("SHOW HELP", "these commands"),
    (
        "SHOW POOLS",
        "connections of each pool by state, and who waits",
    ),
    ("SHOW CLIENTS", "who is logged in, where and for how long"),
    (
        "SHOW DATABASES",
        "database entries, their pools and tenant policies",
    ),
    ("SHOW STATS", "every metric that is not zero"),
    ("SHOW VERSION", "version and uptime"),
    ("DRAIN", "stop accepting, end sessions as they come to rest"),
];

/// Talks with an operator until it leaves or the proxy drains.
pub(super) async fn converse(mut stream: Stream, identity: &Identity, shared: &Arc<Shared>) {
    tracing::info!(target: "audit", user = identity.user(), "console opened");
    let mut out = Vec::new();
    let version = concat!("16.0 (dsql-proxy ", env!("CARGO_PKG_VERSION"), ")");
    for (name, value) in [
        ("server_version", version),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("DateStyle", "ISO, MDY"),
        ("integer_datetimes", "on"),
    ] {
        reply::put_parameter(&mut out, name, value);
    }
    // Nothing of it takes so long that it could be cancelled.
    reply::put_key(&mut out, 0, &[0; 4]);
    reply::put_ready(&mut out, TransactionStatus::Idle);
    loop {
        let written = stream.write_all(&out).await;
        if written.is_err() || stream.flush().await.is_err() {
            return;
        }
        out.clear();
        let frame = tokio::select! {
            frame = read(&mut stream) => frame,
            () = shared.draining() => {
                ClientError::fatal(
                    sqlstate::ADMIN_SHUTDOWN,
                    "terminating connection due to administrator command",
                )
                .put(&mut out);
                let _ = stream.write_all(&out).await;
                return;
            }
        };
        match frame {
            Some((b'Q', body)) => answer(&body, shared, &mut out),
            None | Some((b'X', _)) => return,
            Some((b'S', _)) => reply::put_ready(&mut out, TransactionStatus::Idle),
            // A batch is refused with its first message; the rest of it says nothing new.
            Some((b'P', _)) => ClientError::error(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "the console takes simple queries alone",
            )
            .hint("Use psql.")
            .put(&mut out),
            Some(_) => {}
        }
    }
}

/// The next frame; `None` at the end, or when it is none.
async fn read(stream: &mut Stream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; HEADER];
    stream.read_exact(&mut head).await.ok()?;
    let header = frame::frontend_header(&head).ok()??;
    if header.total > COMMAND {
        return None;
    }
    let mut body = vec![0; header.total - HEADER];
    stream.read_exact(&mut body).await.ok()?;
    Some((header.tag, body))
}

fn answer(body: &[u8], shared: &Arc<Shared>, out: &mut Vec<u8>) {
    match frontend::query(body) {
        Err(_) => {
            ClientError::error(sqlstate::PROTOCOL_VIOLATION, "invalid message format").put(out)
        }
        Ok(text) => run(text, shared, out),
    }
    reply::put_ready(out, TransactionStatus::Idle);
}

fn run(text: &[u8], shared: &Arc<Shared>, out: &mut Vec<u8>) {
    let words: Vec<Token<'_>> = Tokens::new(text)
        .filter(|token| *token != Token::Semicolon)
        .collect();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|token| token.is(word));
    match words.len() {
        0 => frontend::put(out, b'I', &[]),
        1 if is(0, "drain") => {
            Operations::new(Arc::clone(shared)).drain();
            reply::put_command_complete(out, "DRAIN");
        }
        2 if is(0, "show") && is(1, "help") => show(out, &["command", "tells"], &help()),
        2 if is(0, "show") && is(1, "pools") => show(out, &POOLS, &pools(shared)),
        2 if is(0, "show") && is(1, "clients") => show(out, &CLIENTS, &clients(shared)),
        2 if is(0, "show") && is(1, "databases") => show(out, &DATABASES, &databases(shared)),
        2 if is(0, "show") && is(1, "stats") => show(out, &["metric", "value"], &stats(shared)),
        2 if is(0, "show") && is(1, "version") => {
            show(out, &["version", "uptime_seconds"], &version(shared));
        }
        _ => ClientError::error("42601", "this is no command of the console")
            .hint("SHOW HELP lists them.")
            .put(out),
    }
}

fn show(out: &mut Vec<u8>, columns: &[&str], rows: &[Vec<String>]) {
    let described = columns.iter().map(|name| (*name, reply::TEXT));
    reply::put_row_description(out, described);
    for row in rows {
        reply::put_data_row(out, row.iter().map(|value| Some(value.as_str())));
    }
    reply::put_command_complete(out, "SHOW");
}

fn help() -> Vec<Vec<String>> {
    let row = |(command, tells): &(&str, &str)| vec![(*command).to_owned(), (*tells).to_owned()];
    COMMANDS.iter().map(row).collect()
}

const POOLS: [&str; 8] = [
    "pool",
    "limit",
    "free",
    "connecting",
    "idle",
    "leased",
    "waiters",
    "trouble",
];

fn pools(shared: &Shared) -> Vec<Vec<String>> {
    let row = |pool: &Arc<crate::pool::PoolShared>| {
        let census = pool.census();
        let counts = [
            pool.limits.size,
            census.free,
            census.connecting,
            census.idle,
            census.leased,
            census.waiters,
        ];
        let mut row = vec![pool.name.clone()];
        row.extend(counts.iter().map(ToString::to_string));
        row.push(pool.trouble().unwrap_or_default());
        row
    };
    shared.pool_list().iter().map(row).collect()
}

const CLIENTS: [&str; 5] = ["pid", "user", "database", "worker", "connected_seconds"];

fn clients(shared: &Shared) -> Vec<Vec<String>> {
    let mut clients = shared.clients();
    clients.sort_by_key(|(_, client)| client.since);
    let row = |(pid, client): (u32, Client)| {
        vec![
            pid.to_string(),
            client.user,
            client.database,
            client.worker.to_string(),
            client.since.elapsed().as_secs().to_string(),
        ]
    };
    clients.into_iter().map(row).collect()
}

const DATABASES: [&str; 4] = ["database", "pool", "dialect", "tenants"];

fn databases(shared: &Shared) -> Vec<Vec<String>> {
    shared
        .entries()
        .into_iter()
        .map(|(name, entry)| {
            let tenants = match entry
                .isolation
                .as_ref()
                .map(|isolation| isolation.standing())
            {
                None => "none",
                Some(standing) => standing.label(),
            };
            let dialect = entry.profile.map_or("off".to_owned(), |profile| {
                format!("{profile:?}").to_lowercase()
            });
            vec![
                name.to_owned(),
                shared.pool_list()[entry.pool].name.clone(),
                dialect,
                tenants.to_owned(),
            ]
        })
        .collect()
}

fn stats(shared: &Arc<Shared>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for family in Operations::new(Arc::clone(shared)).metrics() {
        for metric in family.get_metric() {
            let mut name = family.name().to_owned();
            let labels = metric.get_label().iter();
            let labels: Vec<String> = labels
                .map(|label| format!("{}={}", label.name(), label.value()))
                .collect();
            if !labels.is_empty() {
                // Writing into a String cannot fail.
                let _ = write!(name, "{{{}}}", labels.join(","));
            }
            let value = match family.get_field_type() {
                prometheus::proto::MetricType::HISTOGRAM => {
                    let histogram = metric.get_histogram();
                    rows.push(vec![
                        format!("{name} sum"),
                        format!("{:.6}", histogram.get_sample_sum()),
                    ]);
                    histogram.get_sample_count() as f64
                }
                prometheus::proto::MetricType::GAUGE => metric.get_gauge().get_value(),
                _ => metric.get_counter().get_value(),
            };
            rows.push(vec![name, value.to_string()]);
        }
    }
    rows.retain(|row| row[1] != "0" && row[1] != "0.000000");
    rows
}

fn version(shared: &Shared) -> Vec<Vec<String>> {
    vec![vec![
        concat!("dsql-proxy ", env!("CARGO_PKG_VERSION")).to_owned(),
        shared.uptime().as_secs().to_string(),
    ]]
}
