//! One new upstream connection: token, socket, TLS, login.

use std::time::Duration;

use tokio::time::timeout;

use super::dial::{Progress, end_point, open};
use super::error::{Backoff, ConnectError, Stage};
use super::login::log_in;
use super::target::{Login, Target};
use crate::net::Stream;

/// A connection that is logged in, idle, and owes nothing: no byte behind the login's
/// ReadyForQuery has been read.
#[derive(Debug)]
pub struct Backend {
    /// The connection, registered with the runtime that made it.
    pub stream: Stream,
    /// Process id of BackendKeyData; 0 when the server sent none.
    pub pid: u32,
    /// Cancel key of BackendKeyData; empty when the server sent none.
    pub key: Vec<u8>,
    /// ParameterStatus messages of the login, in order of their arrival.
    pub parameters: Vec<(String, String)>,
}

/// Connects and logs in, all within the cluster's `connect_timeout`.
///
/// A token that the server calls expired is replaced once, within the same time.
///
/// # Errors
/// See [`ConnectError`]; nothing is logged here but the second attempt.
pub async fn connect(target: &Target) -> Result<Backend, ConnectError> {
    let limit = target.timeout;
    let progress = Progress::new(limit);
    let done = timeout(limit, twice(target, &progress)).await;
    done.unwrap_or_else(|_| Err(late(target, &progress, limit)))
}

fn late(target: &Target, progress: &Progress, after: Duration) -> ConnectError {
    ConnectError::Timeout {
        stage: progress.stage(),
        address: target.address(),
        after,
    }
}

async fn twice(target: &Target, progress: &Progress) -> Result<Backend, ConnectError> {
    let error = match once(target, progress).await {
        Ok(backend) => return Ok(backend),
        Err(error) => error,
    };
    let tokens = matches!(target.login, Login::Token(_));
    let backoff = error.backoff();
    if tokens && matches!(backoff, Backoff::RetryOnce | Backoff::Denied) {
        target.invalidate();
    }
    if !tokens || backoff != Backoff::RetryOnce {
        return Err(error);
    }
    tracing::warn!(%error, "once more with a fresh token");
    once(target, progress).await.map_err(|mut error| {
        if let ConnectError::Refused { retried, .. } = &mut error {
            *retried = true;
        }
        error
    })
}

async fn once(target: &Target, progress: &Progress) -> Result<Backend, ConnectError> {
    progress.enter(Stage::Credentials);
    // Before the socket: without credentials no connect is spent of those the server allows.
    let secret = target.secret().await?;
    let mut stream = open(target, None, progress).await?;
    progress.enter(Stage::Login);
    let binding = end_point(&stream);
    let session = log_in(&mut stream, target, &secret, binding).await?;
    Ok(Backend {
        stream,
        pid: session.pid,
        key: session.key,
        parameters: session.parameters,
    })
}
