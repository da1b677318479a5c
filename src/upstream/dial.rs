//! From an address to an open, possibly encrypted stream.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::error::{ConnectError, Stage};
use super::target::{Address, Target, Tls};
use super::tls::{ALPN, server_end_point};
use crate::net::{Socket, Stream};
use crate::wire::frontend::SSL_REQUEST;

/// Idle time before the first keepalive probe, and between probes: a dead peer or a forgetful
/// NAT box shows within about two minutes (Linux sends nine probes).
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// Where a connect has got to, for the message when its time is over.
pub(super) struct Progress {
    stage: AtomicU8,
    end: Instant,
}

impl Progress {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            stage: AtomicU8::new(0),
            end: Instant::now() + limit,
        }
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(super) fn stage(&self) -> Stage {
        use Stage::{Connect, Credentials, Login, Resolve, Tls};
        let stages = [Credentials, Resolve, Connect, Tls, Login];
        let at = usize::from(self.stage.load(Ordering::Relaxed));
        stages.get(at).copied().unwrap_or(Login)
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

/// Opens the socket and, where the target has it, TLS. `peer` takes the place of the addresses of
/// the target's host.
pub(super) async fn open(
    target: &Target,
    peer: Option<SocketAddr>,
    progress: &Progress,
) -> Result<Stream, ConnectError> {
    let socket = match &target.address {
        Address::Unix(path) => {
            progress.enter(Stage::Connect);
            UnixStream::connect(path).await.map(Socket::Unix)
        }
        Address::Tcp { host, port } => match peer {
            Some(peer) => dial(&[peer], progress).await,
            None => find_and_dial(host, *port, progress).await,
        }
        .map(Socket::Tcp),
    };
    let socket = socket.map_err(|source| io_error(target, progress.stage(), source))?;
    match &target.tls {
        None => Ok(Stream::Plain(socket)),
        Some(tls) => {
            progress.enter(Stage::Tls);
            encrypt(target, tls, socket).await
        }
    }
}

/// The `tls-server-end-point` value of a stream's server, if there is one.
pub(super) fn end_point(stream: &Stream) -> Option<Vec<u8>> {
    match stream {
        Stream::Client(stream) => {
            server_end_point(stream.get_ref().1.peer_certificates()?.first()?)
        }
        Stream::Plain(_) | Stream::Server(_) => None,
    }
}

pub(super) fn io_error(target: &Target, stage: Stage, source: io::Error) -> ConnectError {
    ConnectError::Io {
        stage,
        address: target.address(),
        source,
    }
}

async fn find_and_dial(host: &str, port: u16, progress: &Progress) -> io::Result<TcpStream> {
    progress.enter(Stage::Resolve);
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    dial(&addresses, progress).await
}

async fn dial(addresses: &[SocketAddr], progress: &Progress) -> io::Result<TcpStream> {
    progress.enter(Stage::Connect);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no addresses");
    for (tried, address) in addresses.iter().enumerate() {
        match timeout(
            share(progress.left(), addresses.len() - tried),
            TcpStream::connect(address),
        )
        .await
        {
            Ok(Ok(stream)) => {
                tune(&stream)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Time for one of `addresses` that are left: a silent one must leave some for the others and for
/// the login. The last may use all; the limit on the whole ends it.
fn share(left: Duration, addresses: usize) -> Duration {
    match u32::try_from(addresses) {
        Ok(0 | 1) => left,
        Ok(several) => left / several.saturating_add(1),
        Err(_) => Duration::ZERO,
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

async fn encrypt(target: &Target, tls: &Tls, mut socket: Socket) -> Result<Stream, ConnectError> {
    if !tls.direct {
        let answer = ask_for_tls(&mut socket).await;
        match answer.map_err(|source| io_error(target, Stage::Tls, source))? {
            b'S' => {}
            b'N' if tls.optional => return Ok(Stream::Plain(socket)),
            b'N' => {
                let address = target.address();
                return Err(ConnectError::NoTls { address });
            }
            // An ErrorResponse here is not shown: nothing says who wrote it.
            b'E' => return Err(broken(target, "it answered SSLRequest with an error")),
            _ => {
                return Err(broken(
                    target,
                    "it answered SSLRequest with neither S nor N",
                ));
            }
        }
    }
    let connector = TlsConnector::from(tls.config.clone());
    let stream = connector
        .connect(tls.name.clone(), socket)
        .await
        .map_err(|source| tls_error(target, source))?;
    if tls.direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(broken(
            target,
            "direct TLS came up without the ALPN protocol \"postgresql\"",
        ));
    }
    Ok(Stream::Client(Box::new(stream)))
}

/// Sends SSLRequest and reads the one byte of its answer. One byte and no more: what else is
/// there goes into the handshake and fails it.
async fn ask_for_tls(socket: &mut Socket) -> io::Result<u8> {
    socket.write_all(&SSL_REQUEST).await?;
    socket.read_u8().await
}

pub(super) fn broken(target: &Target, reason: impl Into<String>) -> ConnectError {
    ConnectError::Broken {
        address: target.address(),
        reason: reason.into(),
    }
}

fn tls_error(target: &Target, source: io::Error) -> ConnectError {
    let inner = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(error) => ConnectError::Tls {
            address: target.address(),
            source: error.clone(),
        },
        None => io_error(target, Stage::Tls, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_survive_their_encoding() {
        let progress = Progress::new(Duration::from_secs(1));
        for stage in [
            Stage::Credentials,
            Stage::Resolve,
            Stage::Connect,
            Stage::Tls,
            Stage::Login,
        ] {
            progress.enter(stage);
            assert_eq!(progress.stage(), stage);
        }
    }

    #[test]
    fn shares_leave_time_for_the_rest() {
        let ten = Duration::from_secs(10);
        assert_eq!(share(ten, 1), ten);
        assert_eq!(share(ten, 4), Duration::from_secs(2));
        assert!(share(ten, 100) > Duration::ZERO);
    }
}
