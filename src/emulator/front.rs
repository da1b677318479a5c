//! The listener: TLS with SNI, login by IAM token, quotas on connections. Behind the login a
//! [`Session`] takes over.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::account::Account;
use super::certificate::ALPN;
use super::control::{Control, count};
use super::faults::FaultKind;
use super::postgres::SUPERUSER;
use super::quota::QuotaError;
use super::rules::Rules;
use super::session::{Backend, Cluster, LoginError, Parameters, Refusal, Session};
use super::settings::Request;
use super::verify::{ADMIN, Expectation, verify_by};
use crate::wire::frontend::put;
use crate::wire::reply::{ClientError, put_negotiation};
use crate::wire::sqlstate::{
    CONFIGURATION_LIMIT_EXCEEDED, CONNECTION_FAILURE, INTERNAL_ERROR, INVALID_AUTHORIZATION,
    INVALID_CATALOG_NAME, PROTOCOL_VIOLATION, TOO_MANY_CONNECTIONS,
};
use crate::wire::startup::{self, Startup};

/// The only database of a DSQL cluster.
pub const DATABASE: &str = "postgres";
/// Largest token accepted, in bytes.
pub const MAX_TOKEN: usize = 64 * 1024;
/// Logged-in connections at most: each has a process of PostgreSQL, of a few MiB. The service takes
/// 10,000 for a cluster.
pub const MAX_CONNECTIONS: u16 = 1000;
/// Connections at most, logged in or not.
const MAX_ACCEPTED: usize = 3000;
const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);
const DENIED: &str = "unable to accept connection, access denied";

/// Everything a connection needs to know.
pub struct Front {
    tls: TlsAcceptor,
    expectation: Expectation,
    cluster_id: String,
    cluster: Arc<Cluster>,
    control: Arc<Control>,
    accepted: Arc<Semaphore>,
    logged_in: Semaphore,
}

/// Why a connection ends before its login is done.
enum Refused {
    /// The client is told.
    Told(ClientError),
    /// The client is told in PostgreSQL's own words.
    Quoted(Refusal),
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

/// A connection behind its login.
struct Admitted {
    client: TlsStream<TcpStream>,
    backend: Backend,
    reported: Parameters,
    user: String,
}

/// How the bytes before TLS ended.
enum Opening {
    /// TLS begins now; whether without an SSLRequest.
    Tls { direct: bool },
    /// A cancel request, or nothing.
    Over,
}

impl Front {
    /// A front for the cluster of `account`.
    #[must_use]
    pub fn new(tls: Arc<ServerConfig>, account: &Account, cluster: Arc<Cluster>) -> Self {
        Self {
            tls: TlsAcceptor::from(tls),
            expectation: account.expectation(),
            cluster_id: account.cluster_id().to_owned(),
            control: Arc::clone(&cluster.control),
            cluster,
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
        let Ok(Some(admitted)) = login else {
            return;
        };
        let Ok(_place) = self.logged_in.try_acquire() else {
            tell(admitted.client, &too_many()).await;
            return;
        };
        let (_registration, cut) = self.control.register();
        let Admitted {
            client,
            backend,
            reported,
            user,
        } = admitted;
        let session = Session::new(Arc::clone(&self.cluster), client, backend, &user);
        let (pid, key) = (rand::random(), rand::random());
        tokio::select! {
            () = session.converse(&reported, pid, key) => {}
            // Dropped in the middle of whatever it does: the client sees its connection break off.
            _ = cut => {}
        }
    }

    /// From accept to a verified login and a connection to PostgreSQL.
    async fn log_in(&self, mut socket: TcpStream) -> Option<Admitted> {
        let direct = match self.open(&mut socket).await {
            Ok(Opening::Tls { direct }) => direct,
            Ok(Opening::Over) | Err(Refused::Lost) => return None,
            Err(refused) => {
                self.refuse(socket, refused).await;
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
            Ok(Some((backend, reported, user))) => Some(Admitted {
                client,
                backend,
                reported,
                user,
            }),
            Ok(None) | Err(Refused::Lost) => None,
            Err(refused) => {
                self.refuse(client, refused).await;
                None
            }
        }
    }

    async fn refuse(&self, client: impl AsyncWrite + Unpin, refused: Refused) {
        count(&self.control.counters.refused_logins);
        match refused {
            Refused::Told(error) => {
                let (message, hint) = (
                    printable(&error.message),
                    error.hint.as_deref().map(printable),
                );
                tracing::info!(message, hint, "emulator: login refused");
                tell(client, &error).await;
            }
            Refused::Quoted(refusal) => {
                tracing::info!("emulator: login refused by PostgreSQL");
                send_last(client, refusal.frame()).await;
            }
            Refused::Lost => {}
        }
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
    ) -> Result<Option<(Backend, Parameters, String)>, Refused> {
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
        self.check_quotas()?;
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
        let settings = check_request(&request, &self.cluster.rules)?;
        let (mut backend, reported) = self.reach_postgres(&request.user, &settings).await?;
        if request.user != ADMIN && !is_mapped(&mut backend).await? {
            return Err(not_mapped(&request.user).into());
        }
        count(&self.control.counters.logins);
        Ok(Some((backend, reported, request.user)))
    }

    /// The quotas on connections, and faults that look like them.
    fn check_quotas(&self) -> Result<(), ClientError> {
        let strikes = |kind| self.control.take_fault(kind, &[]).is_some();
        if strikes(FaultKind::WakingUp) {
            let message = "unable to accept connection, waking up cluster, please retry later";
            return Err(ClientError::fatal(CONNECTION_FAILURE, message));
        }
        if strikes(FaultKind::RateExceeded) {
            return Err(too_fast());
        }
        if strikes(FaultKind::TooManyConnections) {
            return Err(too_many());
        }
        self.control.admit().map_err(|error| match error {
            QuotaError::Rate => too_fast(),
            QuotaError::Connections => too_many(),
        })
    }

    /// Clusters are told apart by SNI, or by the cluster id in `options`.
    fn check_name(&self, name: Option<&str>, request: &Request) -> Result<(), ClientError> {
        let here = match (&request.cluster_id, name) {
            (Some(id), _) => *id == self.cluster_id,
            (None, Some(name)) => name.eq_ignore_ascii_case(&self.expectation.host),
            (None, None) => {
                let message = "unable to accept connection, sni was not received";
                return Err(ClientError::fatal(CONNECTION_FAILURE, message));
            }
        };
        if here {
            Ok(())
        } else {
            Err(denied("There is no cluster of this name"))
        }
    }

    fn check_token(&self, token: &[u8], user: &str) -> Result<(), ClientError> {
        if self
            .control
            .take_fault(FaultKind::RefuseLogin, &[])
            .is_some()
        {
            return Err(denied("Refused by an ordered fault"));
        }
        if self
            .control
            .take_fault(FaultKind::ExpireTokens, &[])
            .is_some()
        {
            return Err(denied("Signature expired: by an ordered fault"));
        }
        let clock = |dated| self.control.now_for(dated);
        verify_by(token, user, &self.expectation, &clock)
            .map_err(|refusal| denied(&refusal.hint()))?;
        // The owner of the data folder is no user of the emulated cluster.
        if user == SUPERUSER {
            return Err(not_mapped(user));
        }
        Ok(())
    }

    async fn reach_postgres(
        &self,
        user: &str,
        settings: &[(&str, &str)],
    ) -> Result<(Backend, Parameters), Refused> {
        // A DSQL transaction is always at this level, and its clock shows UTC.
        let fixed = [
            ("default_transaction_isolation", "repeatable read"),
            ("TimeZone", "UTC"),
            // Nobody waits for locks; the session sees to it that nobody has to.
            ("lock_timeout", "20ms"),
        ];
        let who = [("user", user), ("database", DATABASE)];
        let parameters: Vec<(&str, &str)> =
            who.iter().chain(&fixed).chain(settings).copied().collect();
        Backend::connect(&self.cluster.socket, &parameters)
            .await
            .map_err(|error| match error {
                // No such role, or one without LOGIN: it has no mapping either.
                LoginError::Refused(refusal) if refusal.code() == b"28000" => {
                    not_mapped(user).into()
                }
                LoginError::Refused(refusal) => Refused::Quoted(refusal),
                LoginError::Unreachable(cause) => {
                    tracing::error!(cause, "emulator: the local PostgreSQL is not reachable");
                    let message =
                        "unable to accept connection, the local PostgreSQL is not reachable";
                    ClientError::fatal(INTERNAL_ERROR, message).into()
                }
            })
    }
}

/// Whether a grant maps an IAM identity to the role that is logged in. There is one account, so any
/// identity will do.
async fn is_mapped(backend: &mut Backend) -> Result<bool, Refused> {
    let query = "SELECT 1 FROM sys.iam_pg_role_mappings WHERE pg_role_name = session_user";
    match backend.command(query).await {
        Ok(Ok(rows)) => Ok(!rows.is_empty()),
        Ok(Err(refusal)) => Err(Refused::Quoted(refusal)),
        Err(_) => Err(Refused::Lost),
    }
}

fn not_mapped(user: &str) -> ClientError {
    let message = format!("IAM authentication failed for user \"{user}\"");
    ClientError::fatal(CONNECTION_FAILURE, message)
}

fn too_many() -> ClientError {
    let message = "Unable to accept connection, too many open connections.";
    ClientError::fatal(TOO_MANY_CONNECTIONS, message)
}

fn too_fast() -> ClientError {
    let message = "Unable to accept connection, rate exceeded.";
    ClientError::fatal(CONFIGURATION_LIMIT_EXCEEDED, message)
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

/// A token that was put into a wrong place is quoted in the refusal; it is no business of the log.
fn printable(text: &str) -> &str {
    match text.contains("X-Amz-") {
        true => "<a token in the wrong place>",
        false => text,
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

/// Sends a last error and closes.
async fn tell(client: impl AsyncWrite + Unpin, error: &ClientError) {
    let mut out = Vec::new();
    error.put(&mut out);
    send_last(client, &out).await;
}

/// Sends last bytes and closes; the client may be gone already.
async fn send_last(mut client: impl AsyncWrite + Unpin, bytes: &[u8]) {
    let sent = async {
        client.write_all(bytes).await?;
        client.shutdown().await
    };
    let _ = tokio::time::timeout(LOGIN_TIMEOUT, sent).await;
}
