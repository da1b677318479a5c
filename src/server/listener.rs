//! Accepts connections and deals each to the worker that has the fewest.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

use crate::net::Peer;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::proxy::Shared;
use super::worker::Errand;

/// Connections the kernel may hold before they are accepted.
const BACKLOG: i32 = 4096;

/// Binds the listening socket.
///
/// # Errors
/// Those of the operating system, such as an address in use.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until the proxy drains.
pub(super) async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(cause) => {
            tracing::error!(%cause, "listener cannot be used");
            return;
        }
    };
    let mut pause = Duration::ZERO;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.draining() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = Duration::ZERO;
                deal(&shared, socket, peer);
            }
            Err(cause) => {
                // Out of file descriptors, most often: accepting again at once would only spin.
                pause = (pause * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                tracing::warn!(%cause, pause_ms = pause.as_millis(), "accept failed");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn deal(shared: &Shared, socket: tokio::net::TcpStream, peer: SocketAddr) {
    let prepared = socket.set_nodelay(true).and_then(|()| socket.into_std());
    match prepared {
        Ok(socket) if shared.is_full() => refuse(socket),
        Ok(socket) => {
            keep_alive(&socket);
            let worker = shared.least_loaded();
            shared.send(
                worker,
                Errand::Accept {
                    socket,
                    peer: Peer::Inet(peer),
                },
            );
        }
        Err(cause) => tracing::debug!(%cause, "connection was lost at once"),
    }
}

/// There are too many clients. Written as far as the fresh socket's buffer takes it.
fn refuse(mut socket: std::net::TcpStream) {
    let mut out = Vec::new();
    ClientError::fatal(
        sqlstate::TOO_MANY_CONNECTIONS,
        "sorry, too many clients already",
    )
    .hint("limits.clients sets how many the proxy takes.")
    .put(&mut out);
    if let Err(cause) = std::io::Write::write_all(&mut socket, &out) {
        tracing::debug!(%cause, "a client over the limit was not told");
    }
}

/// A client that vanished without a word is noticed within two minutes.
fn keep_alive(socket: &std::net::TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    if let Err(cause) = socket2::SockRef::from(socket).set_tcp_keepalive(&keepalive) {
        tracing::debug!(%cause, "keepalive could not be set");
    }
}
