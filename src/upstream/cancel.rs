//! CancelRequest to an upstream server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::dial::{Progress, open};
use super::error::ConnectError;
use super::target::Target;
use crate::wire::frontend::put_cancel;

/// Connect, send and wait: at most this in all.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks the server to cancel what the backend `pid` is doing, on a connection of its own with the
/// target's TLS, to `peer` where that is known (a name may have several addresses, and only the
/// server that has the backend knows its key), and waits until the server closes it: by then the signal is on its way, and a
/// statement sent later on the cancelled connection cannot be hit by mistake.
///
/// DSQL accepts such requests without effect, as far as is known.
///
/// # Errors
/// No cancel key, no connection, or no end within ten seconds.
pub async fn cancel(
    target: &Target,
    peer: Option<SocketAddr>,
    pid: u32,
    key: &[u8],
) -> io::Result<()> {
    if key.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the server gave no cancel key",
        ));
    }
    timeout(LIMIT, send(target, peer, pid, key))
        .await
        .map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                "the cancel request was not taken in time",
            )
        })?
}

async fn send(target: &Target, peer: Option<SocketAddr>, pid: u32, key: &[u8]) -> io::Result<()> {
    let opened = open(target, peer, &Progress::new(LIMIT)).await;
    let mut stream = opened.map_err(|error| match error {
        ConnectError::Io { source, .. } => source,
        other => io::Error::other(other.to_string()),
    })?;
    let mut request = Vec::new();
    put_cancel(&mut request, pid, key);
    stream.write_all(&request).await?;
    stream.flush().await?;
    // Nothing is ever answered; the end may come as EOF or, with TLS, as a reset.
    let _ = stream.read(&mut [0; 1]).await;
    Ok(())
}
