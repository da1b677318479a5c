//! Startup message to ReadyForQuery, as a client.
//!
//! The server is not trusted to be one: sizes, counts and work are bounded, and each message is
//! read by its exact length, so that nothing behind ReadyForQuery is taken.

use std::io;

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::dial::{broken, io_error};
use super::error::{ConnectError, Refusal, Stage};
use super::target::{Password, Target};
use crate::wire::backend::two_strings;
use crate::wire::frame::{HEADER, backend_header};
use crate::wire::frontend::{put, put_startup};

/// Largest message of a login, header included.
const MAX_MESSAGE: usize = 64 * 1024;
/// Messages of a login at most; PostgreSQL sends about twenty.
const MAX_MESSAGES: usize = 256;
/// Bytes of a login at most.
const MAX_BYTES: usize = 512 * 1024;

/// What a login leaves behind.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) pid: u32,
    pub(super) key: Vec<u8>,
    pub(super) parameters: Vec<(String, String)>,
}

/// Logs in. `binding` is the `tls-server-end-point` value, if the stream has one.
pub(super) async fn log_in<S>(
    stream: &mut S,
    target: &Target,
    secret: &Password,
    binding: Option<Vec<u8>>,
) -> Result<Session, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk {
        stream,
        target,
        secret,
        messages: 0,
        bytes: 0,
        body: Vec::new(),
    };
    let mut startup = Vec::new();
    let parameters: Vec<_> = target
        .parameters
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    put_startup(&mut startup, &parameters);
    talk.send(&startup).await?;
    talk.authenticate(binding).await?;
    talk.settle().await
}

struct Talk<'a, S> {
    stream: &'a mut S,
    target: &'a Target,
    secret: &'a Password,
    messages: usize,
    bytes: usize,
    /// Body of the last message.
    body: Vec<u8>,
}

/// Authentication requests, by the number they begin with.
mod request {
    pub(super) const OK: u32 = 0;
    pub(super) const CLEARTEXT: u32 = 3;
    pub(super) const MD5: u32 = 5;
    pub(super) const SASL: u32 = 10;
    pub(super) const SASL_CONTINUE: u32 = 11;
    pub(super) const SASL_FINAL: u32 = 12;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn authenticate(&mut self, binding: Option<Vec<u8>>) -> Result<(), ConnectError> {
        match self.request().await? {
            request::OK => return Ok(()),
            request::CLEARTEXT => self.answer_cleartext().await?,
            request::MD5 => self.answer_md5().await?,
            request::SASL => self.answer_scram(binding).await?,
            other => {
                let name = method_name(other);
                return Err(self.broken(format!("it asks for {name}, which is not supported")));
            }
        }
        match self.request().await? {
            request::OK => Ok(()),
            other => Err(self.broken(format!("it asks for {} as well", method_name(other)))),
        }
    }

    async fn answer_cleartext(&mut self) -> Result<(), ConnectError> {
        let password = self.password()?;
        self.send_password(password.as_bytes()).await
    }

    async fn answer_md5(&mut self) -> Result<(), ConnectError> {
        let password = self.configured_password("md5")?;
        let Ok(salt) = <[u8; 4]>::try_from(self.argument()) else {
            return Err(self.broken("its md5 salt is not four bytes"));
        };
        let hash = md5_hash(self.target.user.as_bytes(), password.as_bytes(), salt);
        self.send_password(hash.as_bytes()).await
    }

    async fn answer_scram(&mut self, binding: Option<Vec<u8>>) -> Result<(), ConnectError> {
        let password = self.configured_password("SCRAM")?;
        let (mechanism, binding) = self.mechanism(binding)?;
        let mut scram = ScramSha256::new(password.as_bytes(), binding);
        let first = scram.message();
        let length = u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut initial = Vec::new();
        put(
            &mut initial,
            b'p',
            &[mechanism.as_bytes(), b"\0", &length, first],
        );
        self.send(&initial).await?;

        self.expect(request::SASL_CONTINUE).await?;
        let challenge = self.argument().to_vec();
        // Thousands of hashes (the crate stops at 100,000): not on a thread that relays.
        let work = tokio::task::spawn_blocking(move || {
            let done = scram.update(&challenge);
            (scram, done)
        });
        let (mut scram, done) = work
            .await
            .map_err(|error| io_error(self.target, Stage::Login, io::Error::other(error)))?;
        done.map_err(|error| self.broken(format!("SCRAM: {error}")))?;
        let mut proof = Vec::new();
        put(&mut proof, b'p', &[scram.message()]);
        self.send(&proof).await?;

        self.expect(request::SASL_FINAL).await?;
        // Here the server proves that it knows the password.
        scram
            .finish(self.argument())
            .map_err(|error| self.broken(format!("SCRAM: {error}")))
    }

    fn mechanism(
        &self,
        binding: Option<Vec<u8>>,
    ) -> Result<(&'static str, ChannelBinding), ConnectError> {
        let offered: Vec<&[u8]> = self
            .argument()
            .split(|byte| *byte == 0)
            .take_while(|name| !name.is_empty())
            .collect();
        let plus = offered.contains(&SCRAM_SHA_256_PLUS.as_bytes());
        let plain = offered.contains(&SCRAM_SHA_256.as_bytes());
        match binding {
            Some(value) if plus => Ok((
                SCRAM_SHA_256_PLUS,
                ChannelBinding::tls_server_end_point(value),
            )),
            // Says that we could have: a server that could too notices that somebody took its
            // offer out.
            Some(_) if plain => Ok((SCRAM_SHA_256, ChannelBinding::unrequested())),
            None if plain => Ok((SCRAM_SHA_256, ChannelBinding::unsupported())),
            _ => Err(self.broken("it offers no SASL mechanism that can be used here")),
        }
    }

    /// ParameterStatus and BackendKeyData up to ReadyForQuery.
    async fn settle(&mut self) -> Result<Session, ConnectError> {
        let mut session = Session::default();
        loop {
            match self.receive().await? {
                b'S' => session.parameters.push(self.parameter()?),
                b'K' => match self.body.split_first_chunk::<4>() {
                    Some((pid, key)) if (4..=256).contains(&key.len()) => {
                        session.pid = u32::from_be_bytes(*pid);
                        session.key = key.to_vec();
                    }
                    _ => return Err(self.broken("its cancel key is too short")),
                },
                b'Z' if self.body == b"I" => return Ok(session),
                b'Z' => return Err(self.broken("it is ready, but not idle")),
                other => return Err(self.unexpected(other)),
            }
        }
    }

    fn parameter(&self) -> Result<(String, String), ConnectError> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
        two_strings(&self.body)
            .and_then(|(name, value)| Some((text(name)?, text(value)?)))
            .ok_or_else(|| self.broken("a ParameterStatus is not two strings"))
    }

    /// The number of the next authentication request; its argument stays in the body.
    async fn request(&mut self) -> Result<u32, ConnectError> {
        let tag = self.receive().await?;
        match self.body.first_chunk::<4>() {
            Some(number) if tag == b'R' => Ok(u32::from_be_bytes(*number)),
            Some(_) | None if tag != b'R' => Err(self.unexpected(tag)),
            _ => Err(self.broken("an authentication request is too short")),
        }
    }

    async fn expect(&mut self, number: u32) -> Result<(), ConnectError> {
        match self.request().await? {
            found if found == number => Ok(()),
            request::OK => Err(self.broken("it skipped a part of SCRAM")),
            other => Err(self.broken(format!("{} in the middle of SCRAM", method_name(other)))),
        }
    }

    fn argument(&self) -> &[u8] {
        self.body.get(4..).unwrap_or_default()
    }

    /// Reads one message and gives its type; notices are passed over, an ErrorResponse ends all.
    async fn receive(&mut self) -> Result<u8, ConnectError> {
        loop {
            let mut header = [0; HEADER];
            self.read(&mut header).await?;
            let frame = match backend_header(&header) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Err(self.broken("no header")),
                Err(_) => {
                    return Err(self.broken("what it sent is not a message of PostgreSQL"));
                }
            };
            self.messages += 1;
            self.bytes = self.bytes.saturating_add(frame.total);
            if frame.total > MAX_MESSAGE || self.messages > MAX_MESSAGES || self.bytes > MAX_BYTES {
                return Err(self.broken("it sends more than a login needs"));
            }
            let mut body = std::mem::take(&mut self.body);
            body.resize(frame.total - HEADER, 0);
            self.read(&mut body).await?;
            self.body = body;
            match frame.tag {
                b'N' => {}
                b'E' => return Err(self.refused()),
                tag => return Ok(tag),
            }
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<(), ConnectError> {
        match self.stream.read_exact(buffer).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let closed = "the server closed the connection";
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, closed);
                Err(io_error(self.target, Stage::Login, error))
            }
            Err(error) => Err(io_error(self.target, Stage::Login, error)),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await
            .map_err(|error| io_error(self.target, Stage::Login, error))
    }

    async fn send_password(&mut self, password: &[u8]) -> Result<(), ConnectError> {
        let mut message = Vec::new();
        put(&mut message, b'p', &[password, b"\0"]);
        self.send(&message).await
    }

    fn password(&self) -> Result<String, ConnectError> {
        let address = || self.target.address();
        let password = self.secret.expose().map(str::to_owned);
        password.ok_or_else(|| ConnectError::NoPassword { address: address() })
    }

    /// The password, unless it is a token: those are for cleartext only.
    fn configured_password(&self, method: &str) -> Result<String, ConnectError> {
        match self.secret {
            Password::Token(_) => {
                Err(self.broken(format!("it asks for {method}; DSQL asks for a token")))
            }
            Password::None | Password::Configured(_) => self.password(),
        }
    }

    fn refused(&self) -> ConnectError {
        ConnectError::Refused {
            address: self.target.address(),
            user: self.target.user.clone(),
            refusal: Box::new(Refusal::read(&self.body, self.secret.expose())),
            retried: false,
        }
    }

    fn broken(&self, reason: impl Into<String>) -> ConnectError {
        broken(self.target, reason)
    }

    fn unexpected(&self, tag: u8) -> ConnectError {
        self.broken(format!("unexpected message {:?}", char::from(tag)))
    }
}

fn method_name(number: u32) -> String {
    match number {
        2 => "Kerberos V5".to_owned(),
        request::CLEARTEXT => "a cleartext password".to_owned(),
        request::MD5 => "an md5 password".to_owned(),
        7 | 8 => "GSSAPI".to_owned(),
        9 => "SSPI".to_owned(),
        request::SASL..=request::SASL_FINAL => "SASL".to_owned(),
        other => format!("authentication method {other}"),
    }
}
