//! Commands the pool itself sends on a connection that no session holds.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::config::ClusterKind;
use crate::upstream::{Conn, Settings};
use crate::wire::backend::{TransactionStatus, error_fields};
use crate::wire::{frame, frontend};

/// A command of the pool takes at most this; a slower connection is closed.
const LIMIT: Duration = Duration::from_secs(5);

/// Ends the transaction.
pub(super) async fn roll_back(mut conn: Box<Conn>) -> io::Result<Box<Conn>> {
    command(&mut conn, "ROLLBACK").await?;
    Ok(conn)
}

/// Brings the session back to that of a fresh connection.
pub(super) async fn reset(mut conn: Box<Conn>, kind: ClusterKind) -> io::Result<Box<Conn>> {
    match kind {
        ClusterKind::Dsql => {
            // DSQL has no DISCARD.
            command(&mut conn, "RESET ALL").await?;
            command(&mut conn, "RESET ROLE").await?;
            command(&mut conn, "DEALLOCATE ALL").await?;
        }
        ClusterKind::Postgres => {
            // RESET ROLE first: DISCARD ALL leaves the value of `role` as it is.
            command(&mut conn, "RESET ROLE").await?;
            command(&mut conn, "DISCARD ALL").await?;
        }
    }
    conn.prepared.clear();
    conn.unnamed = None;
    conn.label = Arc::new(Settings::new());
    conn.tainted = false;
    Ok(conn)
}

async fn command(conn: &mut Conn, sql: &str) -> io::Result<()> {
    frontend::put_query(conn.output.tail(), sql.as_bytes());
    match timeout(LIMIT, exchange(conn)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn exchange(conn: &mut Conn) -> io::Result<()> {
    poll_fn(|cx| conn.output.poll_drain(&mut conn.stream, cx)).await?;
    let mut failure = None;
    loop {
        while let Some(header) =
            frame::backend_header(conn.input.unread()).map_err(io::Error::other)?
        {
            if conn.input.unread().len() < header.total {
                conn.input.reserve(header.total);
                break;
            }
            let frame = conn.input.unread()[..header.total].to_vec();
            conn.input.drop_unread(header.total);
            let body = &frame[frame::HEADER..];
            match header.tag {
                b'E' => {
                    failure = Some(String::from_utf8_lossy(error_fields(body).message).into_owned())
                }
                b'S' => report(conn, body),
                b'Z' => return finish(body, failure),
                _ => {}
            }
        }
        let count = poll_fn(|cx| conn.input.poll_fill(&mut conn.stream, cx)).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn finish(body: &[u8], failure: Option<String>) -> io::Result<()> {
    let idle = body.first().copied().and_then(TransactionStatus::from_byte)
        == Some(TransactionStatus::Idle);
    match failure {
        Some(message) => Err(io::Error::other(message)),
        None if idle => Ok(()),
        None => Err(io::Error::other("still in a transaction")),
    }
}

fn report(conn: &mut Conn, body: &[u8]) {
    if let Some((name, value)) = crate::wire::backend::two_strings(body) {
        conn.report(
            &String::from_utf8_lossy(name),
            &String::from_utf8_lossy(value),
        );
    }
}
