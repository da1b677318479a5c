//! One client's way from its first byte to AuthenticationOk.

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use pgwire::api::auth::sasl::scram::ScramServerAuth;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::certificate::Subject;
use super::counters::{Event, Method};
use super::parameters::{self, NEWEST_MINOR, Request};
use super::scram::{self, ScramError};
use super::tls::ALPN;
use super::token::{Claims, Issuers};
use super::users::{ANYBODY, Candidate, Check, Standing, User};
use super::{CONSOLE, Gate, Identity};
use crate::config::verifier::Verifier;
use crate::net::{Peer, Socket, Stream};
use crate::wire::frontend::put;
use crate::wire::reply::{ClientError, put_authentication_ok, put_negotiation};
use crate::wire::sqlstate::{self, SqlState};
use crate::wire::startup::{self, Startup, StartupError};

const INSUFFICIENT_PRIVILEGE: SqlState = "42501";
const CHARACTER_NOT_IN_REPERTOIRE: SqlState = "22021";

/// First byte of a TLS record that carries a ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;
/// Longest SASL message. Ours carry a nonce and a few short fields.
const MAX_SASL: usize = 8 << 10;
/// Longest password, terminator included.
const MAX_PASSWORD: usize = (64 << 10) + 1;
/// How long a client that is sent away may take to let go of the bytes that say why.
const FAREWELL: Duration = Duration::from_secs(1);

/// For the log.
const WRONG_PASSWORD: &str = "wrong password";

/// What became of an accepted socket.
#[derive(Debug)]
pub enum Arrival {
    /// A client has logged in. AuthenticationOk is sent; ParameterStatus, BackendKeyData and
    /// ReadyForQuery are still due.
    Session {
        /// Positioned right behind the client's last login message.
        stream: Stream,
        /// Who it is.
        identity: Identity,
    },
    /// A cancel request. Nothing is answered to one; closing the stream tells the client that it
    /// was dealt with.
    Cancel {
        /// Process id from BackendKeyData.
        pid: u32,
        /// Secret from BackendKeyData, 4 to 256 bytes; to be compared in constant time.
        key: Vec<u8>,
        /// To be closed.
        stream: Stream,
    },
    /// Nothing is left to do: the client was told why, or has left.
    Ended,
}

/// Takes an accepted socket through encryption and login.
///
/// Ends within `listen.login_timeout` and a second. Every refusal is one ErrorResponse (but to
/// clients that break the rules before they could read one), one log line and one count.
pub async fn receive(socket: Socket, peer: Peer, gate: &Gate) -> Arrival {
    let mut visit = Visit {
        stream: Stream::Plain(socket),
        peer,
        gate,
        claim: Claim::default(),
        binding: None,
        subject: None,
    };
    let Some(_place) = gate.counters.enter(gate.max_unauthenticated) else {
        return visit.send_away(over_limit()).await;
    };
    let outcome = timeout(gate.login_timeout, visit.greet()).await;
    match outcome.unwrap_or_else(|_| Err(timed_out())) {
        Ok(Greeting::Session(identity)) => Arrival::Session {
            stream: visit.stream,
            identity,
        },
        Ok(Greeting::Cancel { pid, key }) => Arrival::Cancel {
            pid,
            key,
            stream: visit.stream,
        },
        Err(refusal) => visit.send_away(refusal).await,
    }
}

enum Greeting {
    Session(Identity),
    Cancel { pid: u32, key: Vec<u8> },
}

/// Why a client is sent away.
#[derive(Debug)]
struct Refusal {
    /// For the client; `None` closes without a word.
    error: Option<Box<ClientError>>,
    /// For the log; names no secret.
    reason: String,
    cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A password check that was not passed.
    Failed(Method),
    /// Anything else.
    Event(Event),
}

impl Refusal {
    fn told(error: ClientError, reason: impl Into<String>) -> Self {
        Self {
            error: Some(Box::new(error)),
            reason: reason.into(),
            cause: Cause::Event(Event::Refused),
        }
    }

    fn silent(reason: impl Into<String>) -> Self {
        Self {
            error: None,
            reason: reason.into(),
            cause: Cause::Event(Event::Refused),
        }
    }

    fn event(self, event: Event) -> Self {
        Self {
            cause: Cause::Event(event),
            ..self
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::silent(error.to_string()).event(Event::Left)
    }
}

impl From<StartupError> for Refusal {
    fn from(error: StartupError) -> Self {
        let code = match error {
            StartupError::Version(..) => sqlstate::FEATURE_NOT_SUPPORTED,
            StartupError::Encoding => CHARACTER_NOT_IN_REPERTOIRE,
            StartupError::Length | StartupError::Layout => sqlstate::PROTOCOL_VIOLATION,
        };
        let text = error.to_string();
        Self::told(ClientError::fatal(code, text.clone()), text)
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        let reason = error.message.clone();
        Self::told(error, reason)
    }
}

fn over_limit() -> Refusal {
    Refusal::told(
        ClientError::fatal(
            sqlstate::TOO_MANY_CONNECTIONS,
            "too many connections are logging in",
        )
        .hint("Try again in a moment; the limit is listen.max_unauthenticated."),
        "too many connections are logging in",
    )
    .event(Event::OverLimit)
}

fn timed_out() -> Refusal {
    Refusal::told(
        ClientError::fatal(
            sqlstate::QUERY_CANCELED,
            "canceling authentication due to timeout",
        )
        .hint("The limit is listen.login_timeout."),
        "login timeout",
    )
    .event(Event::TimedOut)
}

fn throttled() -> Refusal {
    Refusal::told(
        ClientError::fatal(
            sqlstate::TOO_MANY_CONNECTIONS,
            "too many failed login attempts",
        )
        .hint("Wait a minute before the next attempt; the limit is auth.max_failures."),
        "too many failed login attempts",
    )
    .event(Event::Throttled)
}

/// What a client says of itself, for the log.
#[derive(Debug, Default)]
struct Claim {
    user: String,
    database: String,
}

/// A client on its way in.
struct Visit<'a> {
    stream: Stream,
    peer: Peer,
    gate: &'a Gate,
    claim: Claim,
    /// What SCRAM can bind to: the certificate this connection's handshake showed.
    binding: Option<ScramServerAuth>,
    /// Of the client's certificate, if it showed one.
    subject: Option<Subject>,
}

/// A login that can go through once it has been allowed into its database.
struct Proof {
    user: Arc<User>,
    method: Method,
    /// Of the token that was shown.
    claims: Option<Claims>,
    /// What goes out in front of AuthenticationOk.
    reply: Vec<u8>,
}

impl Visit<'_> {
    async fn greet(&mut self) -> Result<Greeting, Refusal> {
        if self.first_byte().await? == Some(TLS_HANDSHAKE) {
            self.encrypt_directly().await?;
        }
        match self.open().await? {
            Startup::Start { minor, parameters } => {
                self.log_in(minor, parameters).await.map(Greeting::Session)
            }
            Startup::Cancel { pid, key } => self.take_cancel(pid, key),
            Startup::Ssl => Err(StartupError::Version(1234, 5679).into()),
            Startup::Gss => Err(StartupError::Version(1234, 5680).into()),
        }
    }

    fn take_cancel(&self, pid: u32, key: Vec<u8>) -> Result<Greeting, Refusal> {
        if !self
            .gate
            .cancel_throttle
            .admits(self.peer, "", Instant::now())
        {
            let reason = "too many cancel requests with a wrong key";
            return Err(Refusal::silent(reason).event(Event::Throttled));
        }
        self.gate.counters.count(Event::Cancel);
        Ok(Greeting::Cancel { pid, key })
    }

    /// Looks at the first byte without taking it. There is no TLS on unix sockets.
    async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        match self.stream.socket() {
            Socket::Tcp(socket) => match socket.peek(&mut byte).await? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(Some(byte[0])),
            },
            _ => Ok(None),
        }
    }

    /// Answers at most one SSLRequest and one GSSENCRequest; gives the packet behind them.
    async fn open(&mut self) -> Result<Startup, Refusal> {
        let (mut ssl, mut gss) = (self.stream.is_tls(), self.stream.is_tls());
        loop {
            match self.read_startup().await? {
                Startup::Ssl if !ssl => {
                    ssl = true;
                    self.answer_ssl().await?;
                    gss |= self.stream.is_tls();
                }
                Startup::Gss if !gss => {
                    gss = true;
                    self.send(b"N").await?;
                }
                other => return Ok(other),
            }
        }
    }

    async fn read_startup(&mut self) -> Result<Startup, Refusal> {
        let mut word = [0; 4];
        self.stream.read_exact(&mut word).await?;
        let mut body = vec![0; startup::body_length(word)?];
        self.stream.read_exact(&mut body).await?;
        Ok(startup::parse(&body)?)
    }

    async fn answer_ssl(&mut self) -> Result<(), Refusal> {
        let available = self.gate.tls.is_some() && matches!(self.stream.socket(), Socket::Tcp(_));
        if !available {
            return Ok(self.send(b"N").await?);
        }
        // An honest client waits for the answer: whatever is here already would be taken for
        // something that came through TLS (CVE-2021-23214).
        if bytes_wait(self.stream.socket())? {
            return Err(Refusal::silent("unencrypted bytes behind SSLRequest"));
        }
        self.send(b"S").await?;
        self.shake_hands().await.map(drop)
    }

    async fn encrypt_directly(&mut self) -> Result<(), Refusal> {
        if self.gate.tls.is_none() {
            return Err(Refusal::silent("direct TLS without a certificate"));
        }
        if self.shake_hands().await? {
            Ok(())
        } else {
            Err(Refusal::silent("direct TLS without ALPN \"postgresql\""))
        }
    }

    /// Becomes the server of a TLS connection; gives whether the client asked for our protocol.
    async fn shake_hands(&mut self) -> Result<bool, Refusal> {
        let lost = Stream::Plain(Socket::Lost);
        let (Some(tls), Stream::Plain(socket)) =
            (&self.gate.tls, std::mem::replace(&mut self.stream, lost))
        else {
            return Err(Refusal::silent("no TLS here"));
        };
        let credential = tls.current();
        let stream = TlsAcceptor::from(Arc::clone(&credential.config))
            .accept(socket)
            .await
            .map_err(|error| Refusal::silent(format!("TLS handshake: {error}")))?;
        let session = stream.get_ref().1;
        let ours = session.alpn_protocol() == Some(ALPN);
        let shown = session.peer_certificates().and_then(<[_]>::first);
        self.subject = shown.and_then(Subject::read);
        self.stream = Stream::Server(Box::new(stream));
        self.binding.clone_from(&credential.binding);
        Ok(ours)
    }

    async fn log_in(
        &mut self,
        minor: u16,
        parameters: Vec<(String, String)>,
    ) -> Result<Identity, Refusal> {
        self.require_tls()?;
        let mut reply = Vec::new();
        let unknown = parameters::unknown_options(&parameters);
        let spoken = minor.min(NEWEST_MINOR);
        if minor > NEWEST_MINOR || !unknown.is_empty() {
            put_negotiation(&mut reply, spoken, unknown);
        }
        let request = self.claim(parameters);
        if request.is_err() {
            self.send(&reply).await?;
        }
        let request = request?;
        let proof = self.authenticate(&request.user, reply).await?;
        self.authorize(&proof.user, &request.database)?;
        self.welcome(proof, spoken, request).await
    }

    fn require_tls(&self) -> Result<(), Refusal> {
        let required = self.gate.tls.as_ref().is_some_and(super::Tls::required);
        if required && !self.stream.is_tls() {
            return Err(ClientError::fatal(
                sqlstate::INVALID_AUTHORIZATION,
                "connection requires TLS",
            )
            .hint("Connect with sslmode=require or stricter.")
            .into());
        }
        Ok(())
    }

    fn claim(&mut self, parameters: Vec<(String, String)>) -> Result<Request, ClientError> {
        // A packet that is refused should still be attributed in the log.
        for (name, value) in &parameters {
            match name.as_str() {
                "user" => self.claim.user.clone_from(value),
                "database" => self.claim.database.clone_from(value),
                _ => {}
            }
        }
        let request = parameters::read(parameters)?;
        self.claim.database.clone_from(&request.database);
        Ok(request)
    }

    /// Asks for the password. `reply` is still to be sent, in front of the question.
    async fn authenticate(&mut self, name: &str, reply: Vec<u8>) -> Result<Proof, Refusal> {
        let now = Instant::now();
        if !self.gate.throttle.admits(self.peer, name, now) {
            return Err(throttled());
        }
        let logins = self.gate.logins.load_full();
        let Candidate { check, standing } = logins.users.find(name, SystemTime::now());
        match check {
            Check::Password(verifier) if self.gate.cleartext && self.stream.is_tls() => {
                self.check_cleartext(name, verifier, standing, reply).await
            }
            Check::Password(verifier) => self.check_scram(name, verifier, standing, reply).await,
            Check::Token(issuer) => {
                let issuer = (&logins.issuers, issuer.as_str());
                self.check_token(name, issuer, standing, reply).await
            }
            Check::Certificate(wanted) => self.check_certificate(name, &wanted, standing, reply),
        }
    }

    /// A token comes where a password would, as `PGPASSWORD` does; never outside TLS, for whoever
    /// reads it could use it.
    async fn check_token(
        &mut self,
        name: &str,
        (issuers, issuer): (&Issuers, &str),
        standing: Standing,
        mut reply: Vec<u8>,
    ) -> Result<Proof, Refusal> {
        if !self.stream.is_tls() {
            return Err(ClientError::fatal(
                sqlstate::INVALID_AUTHORIZATION,
                "this user logs in with a token, which requires TLS",
            )
            .hint("Connect with sslmode=require or stricter.")
            .into());
        }
        put(&mut reply, b'R', &[&[0, 0, 0, 3]]);
        self.send(&reply).await?;
        let body = self.read_answer(MAX_PASSWORD, "password").await?;
        let token = read_password(&body)?.unwrap_or_default();
        self.admit_verdict(name)?;
        match issuers.verify(issuer, &token, name) {
            Ok(claims) => {
                let proof = self.judge(name, standing, Ok(()), Method::Token, Vec::new())?;
                Ok(Proof {
                    claims: Some(claims),
                    ..proof
                })
            }
            Err(reason) => {
                let reason = format!("token of {issuer}: {reason}");
                self.judge(name, standing, Err(reason), Method::Token, Vec::new())
            }
        }
    }

    fn check_certificate(
        &self,
        name: &str,
        wanted: &str,
        standing: Standing,
        reply: Vec<u8>,
    ) -> Result<Proof, Refusal> {
        let right = match &self.subject {
            Some(subject) if wanted == ANYBODY || subject.bears(wanted) => Ok(()),
            Some(_) => Err("the certificate bears another name".to_owned()),
            None => {
                return Err(ClientError::fatal(
                    sqlstate::INVALID_AUTHORIZATION,
                    "connection requires a valid client certificate",
                )
                .hint("Connect with sslmode=require, sslcert and sslkey.")
                .into());
            }
        };
        self.judge(name, standing, right, Method::Certificate, reply)
    }

    async fn check_scram(
        &mut self,
        name: &str,
        verifier: Arc<Verifier>,
        standing: Standing,
        mut reply: Vec<u8>,
    ) -> Result<Proof, Refusal> {
        scram::put_offer(&mut reply, self.binding.is_some());
        self.send(&reply).await?;
        let body = self.read_answer(MAX_SASL, "SASL").await?;
        let (method, first) = scram::read_initial(&body).map_err(refuse_scram)?;
        let (exchange, text) =
            scram::begin(self.binding.as_ref(), method, first, &verifier).map_err(refuse_scram)?;
        reply.clear();
        scram::put_continue(&mut reply, &text);
        self.send(&reply).await?;
        let body = self.read_answer(MAX_SASL, "SASL").await?;
        // Others may have failed meanwhile: parallel attempts must not learn more than serial ones.
        self.admit_verdict(name)?;
        reply.clear();
        let right = match exchange.finish(&body) {
            Ok(text) => {
                scram::put_final(&mut reply, &text);
                Ok(())
            }
            Err(ScramError::Proof) => Err(WRONG_PASSWORD.to_owned()),
            Err(error) => return Err(refuse_scram(error)),
        };
        self.judge(name, standing, right, method, reply)
    }

    async fn check_cleartext(
        &mut self,
        name: &str,
        verifier: Arc<Verifier>,
        standing: Standing,
        mut reply: Vec<u8>,
    ) -> Result<Proof, Refusal> {
        put(&mut reply, b'R', &[&[0, 0, 0, 3]]);
        self.send(&reply).await?;
        let body = self.read_answer(MAX_PASSWORD, "password").await?;
        let password = read_password(&body)?;
        self.admit_verdict(name)?;
        let usable = password.is_some();
        let work = self
            .gate
            .hashing
            .check(verifier, password.unwrap_or_default());
        let right = tokio::select! {
            biased;
            right = work => match right && usable {
                true => Ok(()),
                false => Err(WRONG_PASSWORD.to_owned()),
            },
            () = client_left(&mut self.stream) => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        };
        // Others may have failed while this one waited for its turn.
        self.admit_verdict(name)?;
        self.judge(name, standing, right, Method::Cleartext, Vec::new())
    }

    fn admit_verdict(&self, name: &str) -> Result<(), Refusal> {
        if self.gate.throttle.admits(self.peer, name, Instant::now()) {
            Ok(())
        } else {
            Err(throttled())
        }
    }

    /// The verdict: one text for every way to be wrong, the reason for the log alone.
    fn judge(
        &self,
        name: &str,
        standing: Standing,
        right: Result<(), String>,
        method: Method,
        reply: Vec<u8>,
    ) -> Result<Proof, Refusal> {
        let reason = match (standing, right) {
            (Standing::Known(user), Ok(())) => {
                self.gate.throttle.succeed(self.peer, name);
                return Ok(Proof {
                    user,
                    method,
                    claims: None,
                    reply,
                });
            }
            (Standing::Known(_), Err(reason)) => reason,
            (Standing::Unknown, _) => "unknown user".to_owned(),
            (Standing::Expired, _) => "user is past its valid_until".to_owned(),
        };
        self.gate.throttle.fail(self.peer, name, Instant::now());
        Err(Refusal {
            cause: Cause::Failed(method),
            ..Refusal::told(
                match method {
                    Method::Certificate => ClientError::fatal(
                        sqlstate::INVALID_AUTHORIZATION,
                        format!("certificate authentication failed for user \"{name}\""),
                    ),
                    _ => ClientError::fatal(
                        sqlstate::INVALID_PASSWORD,
                        format!("password authentication failed for user \"{name}\""),
                    ),
                },
                reason,
            )
        })
    }

    /// Only for those who have proved who they are: others must not learn which databases exist.
    fn authorize(&self, user: &User, database: &str) -> Result<(), Refusal> {
        let (exists, allowed) = if database == CONSOLE {
            (true, user.is_admin())
        } else {
            let exists = self.gate.databases.contains(database);
            // Whether it was created, and from which, is for the cluster to say.
            let origin = |name: &String| self.gate.origins.contains(name);
            if !exists && user.databases().iter().any(origin) {
                return Ok(());
            }
            (exists, user.may_use(database))
        };
        match (exists, allowed) {
            (true, true) => Ok(()),
            (true, false) => Err(ClientError::fatal(
                INSUFFICIENT_PRIVILEGE,
                format!("permission denied for database \"{database}\""),
            )
            .detail("The user's entry in the proxy's configuration does not grant it.")
            .into()),
            (false, _) => Err(ClientError::fatal(
                sqlstate::INVALID_CATALOG_NAME,
                format!("database \"{database}\" does not exist"),
            )
            .into()),
        }
    }

    async fn welcome(
        &mut self,
        mut proof: Proof,
        minor: u16,
        request: Request,
    ) -> Result<Identity, Refusal> {
        put_authentication_ok(&mut proof.reply);
        self.send(&proof.reply).await?;
        self.gate.counters.count_ok(proof.method);
        tracing::debug!(
            peer = %self.peer,
            user = ?request.user,
            database = ?request.database,
            method = proof.method.as_str(),
            tls = self.stream.is_tls(),
            "logged in"
        );
        Ok(Identity {
            user: request.user,
            database: request.database,
            entries: proof.user.databases().to_vec(),
            admin: proof.user.is_admin(),
            retry: proof.user.wants_retry(),
            binding: proof.user.binding().clone(),
            claims: proof.claims.map(Box::new),
            certificate: match proof.method {
                Method::Certificate => self.subject.take().map(Box::new),
                _ => None,
            },
            selected: request.tenant,
            minor,
            parameters: request.settings,
        })
    }

    /// Reads the body of one `p` message, no byte more.
    async fn read_answer(&mut self, limit: usize, what: &str) -> Result<Vec<u8>, Refusal> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header[..1]).await?;
        if header[0] != b'p' {
            let text = format!("expected {what} response, got message type {}", header[0]);
            return Err(ClientError::fatal(sqlstate::PROTOCOL_VIOLATION, text).into());
        }
        self.stream.read_exact(&mut header[1..]).await?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length < 4 || length - 4 > limit {
            let text = format!("invalid length of {what} response");
            return Err(ClientError::fatal(sqlstate::PROTOCOL_VIOLATION, text).into());
        }
        // Grows with what arrives, not with what is announced.
        let mut body = Vec::new();
        let announced = (length - 4) as u64;
        let got = (&mut self.stream)
            .take(announced)
            .read_to_end(&mut body)
            .await?;
        if got as u64 == announced {
            Ok(body)
        } else {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    async fn send_away(mut self, refusal: Refusal) -> Arrival {
        self.record(&refusal);
        if let Some(error) = &refusal.error {
            let mut bytes = Vec::new();
            error.put(&mut bytes);
            // A client that does not take its message loses it.
            let _ = timeout(FAREWELL, self.part(&bytes)).await;
        }
        Arrival::Ended
    }

    async fn part(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(bytes).await?;
        self.stream.shutdown().await?;
        // Closing over unread bytes would reset the connection, and the message might be lost.
        let mut rest = [0; 4096];
        for _ in 0..16 {
            match self.stream.read(&mut rest).now_or_never() {
                Some(Ok(1..)) => {}
                _ => break,
            }
        }
        Ok(())
    }

    fn record(&self, refusal: &Refusal) {
        let counters = &self.gate.counters;
        let (method, quiet) = match refusal.cause {
            Cause::Failed(method) => {
                counters.count_failed(method);
                (method.as_str(), false)
            }
            Cause::Event(event) => {
                counters.count(event);
                ("", event == Event::Left)
            }
        };
        // Debug form: names come from the client and must not break lines.
        let (peer, user, database) = (self.peer, &self.claim.user, &self.claim.database);
        let reason = refusal.reason.as_str();
        let code = refusal.error.as_ref().map_or("", |error| error.code);
        if quiet {
            tracing::debug!(%peer, ?user, ?database, reason, "client left before its login");
        } else {
            tracing::warn!(%peer, ?user, ?database, method, code, reason, "client refused");
        }
    }
}

fn refuse_scram(error: ScramError) -> Refusal {
    Refusal::told(error.to_client(), error.to_string())
}

/// Reads the body of a PasswordMessage. `None` is a password nobody can have (empty, or not
/// UTF-8), which must not be told apart from any other wrong one.
fn read_password(body: &[u8]) -> Result<Option<String>, Refusal> {
    match body.split_last() {
        Some((0, password)) if !password.contains(&0) => Ok(std::str::from_utf8(password)
            .ok()
            .filter(|password| !password.is_empty())
            .map(str::to_owned)),
        _ => Err(
            ClientError::fatal(sqlstate::PROTOCOL_VIOLATION, "invalid password packet size").into(),
        ),
    }
}

/// Ready when the client has closed its side. Takes no byte from the stream; when there is one,
/// it is the next message of a client that does not wait, and this never becomes ready.
async fn client_left(stream: &mut Stream) {
    if let Stream::Server(stream) = stream {
        match stream.fill_buf().await {
            Ok([]) | Err(_) => return,
            Ok(_) => {}
        }
    }
    std::future::pending().await
}

/// Whether bytes can be read right now; asks the kernel, not the reactor, which may be behind.
fn bytes_wait(socket: &Socket) -> io::Result<bool> {
    let Socket::Tcp(socket) = socket else {
        return Ok(false);
    };
    match socket2::SockRef::from(socket).peek(&mut [MaybeUninit::uninit(); 1]) {
        Ok(count) => Ok(count > 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
