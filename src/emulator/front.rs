//! The listener in front of the local PostgreSQL: TLS with SNI, login by IAM token, then bytes both
//! ways. It has no rules about SQL.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::account::Account;
use super::certificate::ALPN;
use super::control::{Control, LoginFault, count};
use super::postgres::SUPERUSER;
use super::rules::Rules;
use super::settings::Request;
use super::verify::{Expectation, verify};
use crate::wire::frontend::{put, put_startup};
use crate::wire::reply::{ClientError, put_negotiation};
use crate::wire::sqlstate::{
    CONNECTION_FAILURE, INTERNAL_ERROR, INVALID_AUTHORIZATION, INVALID_CATALOG_NAME,
    PROTOCOL_VIOLATION, TOO_MANY_CONNECTIONS,
};
use crate::wire::startup::{self, Startup};

/// The only database of a DSQL cluster.
pub const DATABASE: &str = "postgres";
/// Largest token accepted, in bytes.
pub const MAX_TOKEN: usize = 64 * 1024;
/// Logged-in connections at most.
pub const MAX_CONNECTIONS: u16 = 500;
/// Connections at most, logged in or not.
const MAX_ACCEPTED: usize = 2000;
const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);
const DENIED: &str = "unable to accept connection, access denied";

/// Everything a connection needs to know.
pub struct Front {
    tls: TlsAcceptor,
    expectation: Expectation,
    cluster_id: String,
    socket: PathBuf,
    control: Arc<Control>,
    rules: Rules,
    accepted: Arc<Semaphore>,
    logged_in: Semaphore,
}

/// Why a connection ends before its login is done.
enum Refused {
    /// The client is told.
    Told(ClientError),
    /// It went away, or what it sends is not the protocol; nothing can be told.
    Lost,
}

impl From<io::Error> for Refused {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        Self::Told(error)
    }
}

/// How the bytes before TLS ended.
enum Opening {
    /// TLS begins now; whether without an SSLRequest.
    Tls { direct: bool },
    /// A cancel request, or nothing.
    Over,
}

impl Front {
    /// A front for the cluster of `account`, whose data is behind the unix socket `socket`.
    #[must_use]
    pub fn new(
        tls: Arc<ServerConfig>,
        account: &Account,
        socket: PathBuf,
        control: Arc<Control>,
        rules: Rules,
    ) -> Self {
        Self {
            tls: TlsAcceptor::from(tls),
            expectation: account.expectation(),
            cluster_id: account.cluster_id().to_owned(),
            socket,
            control,
            rules,
            accepted: Arc::new(Semaphore::new(MAX_ACCEPTED)),
            logged_in: Semaphore::new(usize::from(MAX_CONNECTIONS)),
        }
    }

    /// Accepts connections until `stop` changes; connections end then too.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: watch::Receiver<bool>) {
        let mut stopped = stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((socket, _)) => self.spawn(socket, stop.clone()),
                Err(error) => {
                    // Out of descriptors, or a client that went away in the backlog: go on, but
                    // not in a tight loop.
                    tracing::warn!(%error, "emulator: accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn spawn(self: &Arc<Self>, socket: TcpStream, mut stop: watch::Receiver<bool>) {
        count(&self.control.counters.accepted);
        let Ok(permit) = Arc::clone(&self.accepted).try_acquire_owned() else {
            tracing::warn!("emulator: too many connections, one was dropped");
            return;
        };
        let front = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = front.converse(socket) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            drop(permit);
        });
    }

    async fn converse(&self, socket: TcpStream) {
        // Without it small answers wait for the client's delayed acknowledgement.
        let _ = socket.set_nodelay(true);
        let login = tokio::time::timeout(LOGIN_TIMEOUT, self.log_in(socket)).await;
        let Ok(Some((client, server))) = login else {
            return;
        };
        let Ok(_place) = self.logged_in.try_acquire() else {
            let full = "Unable to accept connection, too many open connections.";
            tell(client, &ClientError::fatal(TOO_MANY_CONNECTIONS, full)).await;
            return;
        };
        let (_registration, cut) = self.control.register();
        relay(client, server, cut).await;
    }

    /// From accept to a verified login and a connection to PostgreSQL.
    async fn log_in(&self, mut socket: TcpStream) -> Option<(TlsStream<TcpStream>, UnixStream)> {
        let direct = match self.open(&mut socket).await {
            Ok(Opening::Tls { direct }) => direct,
            Ok(Opening::Over) | Err(Refused::Lost) => return None,
            Err(Refused::Told(error)) => {
                self.refuse(socket, &error).await;
                return None;
            }
        };
        let mut client = match self.tls.accept(socket).await {
            Ok(client) => client,
            Err(error) => {
                tracing::debug!(%error, "emulator: TLS handshake failed");
                return None;
            }
        };
        match self.authenticate(&mut client, direct).await {
            Ok(Some(server)) => Some((client, server)),
            Ok(None) | Err(Refused::Lost) => None,
            Err(Refused::Told(error)) => {
                self.refuse(client, &error).await;
                None
            }
        }
    }

    async fn refuse(&self, client: impl AsyncWrite + Unpin, error: &ClientError) {
        count(&self.control.counters.refused_logins);
        tracing::info!(message = %error.message, hint = error.hint, "emulator: login refused");
        tell(client, error).await;
    }

    /// The bytes before TLS.
    async fn open(&self, socket: &mut TcpStream) -> Result<Opening, Refused> {
        let mut first = [0];
        if socket.peek(&mut first).await? == 0 {
            return Ok(Opening::Over);
        }
        // A TLS record of type handshake; the length word of a startup packet begins with 0.
        if first[0] == 0x16 {
            return Ok(Opening::Tls { direct: true });
        }
        let mut gss_refused = false;
        loop {
            match read_startup(socket).await? {
                Startup::Ssl => {
                    socket.write_all(b"S").await?;
                    return Ok(Opening::Tls { direct: false });
                }
                Startup::Gss if !gss_refused => {
                    gss_refused = true;
                    socket.write_all(b"N").await?;
                }
                Startup::Gss => return Err(Refused::Lost),
                Startup::Cancel { .. } => {
                    count(&self.control.counters.cancels);
                    return Ok(Opening::Over);
                }
                Startup::Start { .. } => {
                    return Err(denied("The connection is not encrypted: use TLS").into());
                }
            }
        }
    }

    /// StartupMessage, token, checks; gives the connection to PostgreSQL.
    async fn authenticate(
        &self,
        client: &mut TlsStream<TcpStream>,
        direct: bool,
    ) -> Result<Option<UnixStream>, Refused> {
        // PostgreSQL's rule for TLS without SSLRequest: the client must name the protocol.
        if direct && client.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(Refused::Lost);
        }
        let (minor, parameters) = match read_startup(client).await? {
            Startup::Start { minor, parameters } => (minor, parameters),
            Startup::Cancel { .. } => {
                count(&self.control.counters.cancels);
                return Ok(None);
            }
            Startup::Ssl | Startup::Gss => {
                return Err(violation("unexpected encryption request inside TLS").into());
            }
        };
        let request = Request::read(parameters);
        self.check_name(client.get_ref().1.server_name(), &request)?;
        if request.user.is_empty() {
            let message = "no PostgreSQL user name specified in startup packet";
            return Err(ClientError::fatal(INVALID_AUTHORIZATION, message).into());
        }
        let mut out = Vec::new();
        if minor > 0 || !request.protocol_options.is_empty() {
            put_negotiation(&mut out, 0, request.protocol_options.clone());
        }
        // AuthenticationCleartextPassword.
        put(&mut out, b'R', &[&[0, 0, 0, 3]]);
        client.write_all(&out).await?;
        client.flush().await?;
        let token = read_password(client).await?;
        self.check_token(&token, &request.user)?;
        let settings = check_request(&request, &self.rules)?;
        let server = self.reach_postgres(&request.user, &settings).await?;
        count(&self.control.counters.logins);
        Ok(Some(server))
    }

    /// Clusters are told apart by SNI, or by the cluster id in `options`.
    fn check_name(&self, name: Option<&str>, request: &Request) -> Result<(), ClientError> {
        let Some(name) = name else {
            let message = "unable to accept connection, sni was not received";
            return Err(ClientError::fatal(CONNECTION_FAILURE, message));
        };
        let here = match &request.cluster_id {
            Some(id) => *id == self.cluster_id,
            None => name.eq_ignore_ascii_case(&self.expectation.host),
        };
        if here {
            Ok(())
        } else {
            Err(denied("There is no cluster of this name"))
        }
    }

    fn check_token(&self, token: &[u8], user: &str) -> Result<(), ClientError> {
        let fault = self.control.take_fault();
        match fault {
            Some(LoginFault::Refuse) => return Err(denied("Refused by an ordered fault")),
            Some(LoginFault::Expire) => {
                return Err(denied("Signature expired: by an ordered fault"));
            }
            None => {}
        }
        verify(token, user, &self.expectation, self.control.now())
            .map_err(|refusal| denied(&refusal.hint()))?;
        // The owner of the data folder is no user of the emulated cluster.
        if user == SUPERUSER {
            let message = format!("IAM authentication failed for user \"{user}\"");
            return Err(ClientError::fatal(CONNECTION_FAILURE, message));
        }
        Ok(())
    }

    async fn reach_postgres(
        &self,
        user: &str,
        settings: &[(&str, &str)],
    ) -> Result<UnixStream, Refused> {
        let mut server = match UnixStream::connect(&self.socket).await {
            Ok(server) => server,
            Err(error) => {
                tracing::error!(%error, "emulator: the local PostgreSQL is not reachable");
                let message = "unable to accept connection, the local PostgreSQL is not reachable";
                return Err(ClientError::fatal(INTERNAL_ERROR, message).into());
            }
        };
        // A DSQL transaction is always at this level.
        let fixed = [("default_transaction_isolation", "repeatable read")];
        let who = [("user", user), ("database", DATABASE)];
        let parameters: Vec<(&str, &str)> =
            who.iter().chain(&fixed).chain(settings).copied().collect();
        let mut out = Vec::new();
        put_startup(&mut out, &parameters);
        server.write_all(&out).await?;
        Ok(server)
    }
}

fn check_request<'a>(
    request: &'a Request,
    rules: &'a Rules,
) -> Result<Vec<(&'a str, &'a str)>, ClientError> {
    match request.database.as_deref() {
        None | Some(DATABASE) => request.allowed_settings(rules),
        Some(other) => Err(ClientError::fatal(
            INVALID_CATALOG_NAME,
            format!("database \"{other}\" does not exist"),
        )),
    }
}

fn denied(hint: &str) -> ClientError {
    ClientError::fatal(CONNECTION_FAILURE, DENIED).hint(hint)
}

fn violation(message: &str) -> ClientError {
    ClientError::fatal(PROTOCOL_VIOLATION, message)
}

async fn read_startup(stream: &mut (impl AsyncRead + Unpin)) -> Result<Startup, Refused> {
    let mut word = [0; 4];
    stream.read_exact(&mut word).await?;
    let told = |error: startup::StartupError| Refused::Told(violation(&error.to_string()));
    let mut body = vec![0; startup::body_length(word).map_err(told)?];
    stream.read_exact(&mut body).await?;
    startup::parse(&body).map_err(told)
}

/// Reads a PasswordMessage: one C string.
async fn read_password(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Refused> {
    let mut header = [0; 5];
    stream.read_exact(&mut header).await?;
    let [tag, length @ ..] = header;
    let length = u32::from_be_bytes(length) as usize;
    if tag != b'p' {
        let message = format!("expected password response, got message type {tag}");
        return Err(violation(&message).into());
    }
    if !(5..=MAX_TOKEN + 5).contains(&length) {
        return Err(violation("invalid length of password packet").into());
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    if memchr::memchr(0, &body) != Some(body.len() - 1) {
        return Err(violation("invalid password packet size").into());
    }
    body.pop();
    Ok(body)
}

/// Sends a last message and closes; the client may be gone already.
async fn tell(mut client: impl AsyncWrite + Unpin, error: &ClientError) {
    let mut out = Vec::new();
    error.put(&mut out);
    let sent = async {
        client.write_all(&out).await?;
        client.shutdown().await
    };
    let _ = tokio::time::timeout(LOGIN_TIMEOUT, sent).await;
}

/// Carries bytes both ways until one side ends, or `cut` fires: then the client sees its connection
/// break off, without a word.
async fn relay(client: TlsStream<TcpStream>, server: UnixStream, cut: oneshot::Receiver<()>) {
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let (mut server_read, mut server_write) = server.into_split();
    let down = async {
        let copied = tokio::io::copy(&mut server_read, &mut client_write).await;
        if copied.is_ok() {
            let _ = client_write.shutdown().await;
        }
    };
    let up = async {
        let copied = tokio::io::copy(&mut client_read, &mut server_write).await;
        // What the client said last is with the server by now; a client that closed wants no
        // answer, so both ends go.
        let _ = server_write.shutdown().await;
        copied
    };
    tokio::select! {
        () = down => {}
        _ = up => {}
        _ = cut => {}
    }
}
