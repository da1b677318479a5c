//! A client of the wire protocol that shows all of an answer: tags, columns, rows, errors with every
//! field, notices, the transaction status. Drivers hide what these tests are about.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsql_proxy::wire::frontend::{SSL_REQUEST, put, put_parse, put_query, put_startup};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// How long an answer may take; a hang is a failure, not a wait.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An error as it was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    pub severity: String,
    pub sqlstate: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
}

impl Failure {
    fn read(body: &[u8]) -> Self {
        let fields = dsql_proxy::wire::backend::error_fields(body);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            severity: text(fields.severity),
            sqlstate: text(fields.code),
            message: text(fields.message),
            detail: text(fields.detail),
            hint: text(fields.hint),
        }
    }

    /// SQLSTATE and message: what recordings hold.
    pub fn summary(&self) -> String {
        format!("{} {}", self.sqlstate, self.message)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            severity,
            sqlstate,
            message,
            detail,
            hint,
        } = self;
        write!(f, "{severity} {sqlstate} {message} | {detail} | {hint}")
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Lost {
    /// The server refused the login or ended the connection with a FATAL error.
    Told(Failure),
    /// The connection ended, or nothing came in time.
    Ended(io::Error),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Ended(error)
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Told(failure) => write!(f, "{failure}"),
            Self::Ended(error) => write!(f, "connection ended: {error}"),
        }
    }
}

/// A value in text format; `None` is NULL.
pub type Value = Option<String>;

/// What one statement did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Command tag; empty when a portal was suspended or the query was empty.
    pub tag: String,
    /// Column names; `None` without a result set.
    pub columns: Option<Vec<String>>,
    /// Type of each column, as an oid.
    pub types: Vec<u32>,
    pub rows: Vec<Vec<Value>>,
}

/// Everything up to ReadyForQuery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    pub done: Vec<Done>,
    pub failure: Option<Failure>,
    pub notices: Vec<Failure>,
    /// `I`, `T` or `E`.
    pub status: char,
}

impl Reply {
    /// The only statement's result.
    ///
    /// # Panics
    /// There was an error, or not one statement.
    #[track_caller]
    pub fn one(&self) -> &Done {
        assert!(self.failure.is_none(), "{}", self.failure.as_ref().unwrap());
        assert_eq!(self.done.len(), 1, "{self:?}");
        &self.done[0]
    }

    /// The error.
    ///
    /// # Panics
    /// There was none.
    #[track_caller]
    pub fn error(&self) -> &Failure {
        match &self.failure {
            Some(failure) => failure,
            None => panic!("no error: {:?}", self.done),
        }
    }

    /// Tag of the last statement, or SQLSTATE and message of the error.
    pub fn summary(&self) -> String {
        match (&self.failure, self.done.last()) {
            (Some(failure), _) => failure.summary(),
            (None, Some(done)) => done.tag.clone(),
            (None, None) => String::new(),
        }
    }

    /// First value of the first row.
    #[track_caller]
    pub fn value(&self) -> Value {
        self.one().rows[0][0].clone()
    }

    pub fn is_occ(&self, code: &str) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|failure| failure.sqlstate == "40001" && failure.message.contains(code))
    }
}

enum Pipe {
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Plain(UnixStream),
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tls(stream) => stream.read(buf),
            Self::Plain(stream) => stream.read(buf),
        }
    }
}

impl Pipe {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Self::Plain(stream) => stream.write_all(bytes),
        }
    }
}

/// Where and how to log in over TLS.
#[derive(Clone)]
pub struct Door {
    pub address: SocketAddr,
    /// Server name, for SNI and verification.
    pub endpoint: String,
    pub tls: Arc<ClientConfig>,
    /// How long an answer may take.
    pub patience: Duration,
}

/// One logged-in session.
pub struct Session {
    pipe: BufReader<Pipe>,
    /// ParameterStatus values, the newest of each.
    pub parameters: BTreeMap<String, String>,
    /// Process id and key of BackendKeyData.
    pub cancel_key: Option<(u32, Vec<u8>)>,
    /// Transaction status of the last ReadyForQuery.
    pub status: char,
}

impl Session {
    /// Logs in through the front.
    pub fn open(door: &Door, parameters: &[(&str, &str)], token: &str) -> Result<Self, Lost> {
        Self::log_in(Self::dial(door)?, parameters, token)
    }

    /// TLS behind an SSLRequest, nothing sent yet.
    fn dial(door: &Door) -> Result<Pipe, Lost> {
        let mut socket = TcpStream::connect(door.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(door.patience))?;
        socket.set_write_timeout(Some(door.patience))?;
        socket.write_all(&SSL_REQUEST)?;
        let mut answer = [0];
        socket.read_exact(&mut answer)?;
        if answer != *b"S" {
            return Err(io::Error::other("TLS was declined").into());
        }
        let name = ServerName::try_from(door.endpoint.clone()).map_err(io::Error::other)?;
        let connection =
            ClientConnection::new(Arc::clone(&door.tls), name).map_err(io::Error::other)?;
        Ok(Pipe::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    /// Logs in at a unix socket that trusts its users.
    pub fn open_local(socket: &Path, user: &str) -> Result<Self, Lost> {
        let socket = UnixStream::connect(socket)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let parameters = [("user", user), ("database", "postgres")];
        Self::log_in(Pipe::Plain(socket), &parameters, "")
    }

    fn log_in(pipe: Pipe, parameters: &[(&str, &str)], token: &str) -> Result<Self, Lost> {
        let mut session = Self {
            pipe: BufReader::with_capacity(32 * 1024, pipe),
            parameters: BTreeMap::new(),
            cancel_key: None,
            status: '?',
        };
        let mut out = Vec::new();
        put_startup(&mut out, parameters);
        session.send(&out)?;
        loop {
            let (tag, body) = session.message()?;
            match tag {
                b'R' if body == [0, 0, 0, 3] => {
                    out.clear();
                    put(&mut out, b'p', &[token.as_bytes(), b"\0"]);
                    session.send(&out)?;
                }
                b'R' | b'N' | b'v' => {}
                b'S' => session.note_parameter(&body),
                b'K' => {
                    let pid = u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
                    session.cancel_key = Some((pid, body[4..].to_vec()));
                }
                b'E' => return Err(Lost::Told(Failure::read(&body))),
                b'Z' => {
                    session.status = char::from(body[0]);
                    return Ok(session);
                }
                other => {
                    let text = format!("message {:?} during login", char::from(other));
                    return Err(io::Error::other(text).into());
                }
            }
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pipe.get_mut().send(bytes)
    }

    /// The next message: type and body.
    pub fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.pipe.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length.saturating_sub(4)];
        self.pipe.read_exact(&mut body)?;
        Ok((head[0], body))
    }

    /// Whether the server has closed the connection, without another word.
    pub fn is_closed_silently(&mut self) -> bool {
        let mut byte = [0];
        match self.pipe.read(&mut byte) {
            Ok(n) => n == 0,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
        }
    }

    fn note_parameter(&mut self, body: &[u8]) {
        if let Some((name, value)) = dsql_proxy::wire::backend::two_strings(body) {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            self.parameters.insert(text(name), text(value));
        }
    }

    /// One simple query, whatever it holds.
    pub fn query(&mut self, sql: &str) -> Result<Reply, Lost> {
        self.start_query(sql)?;
        self.reply()
    }

    /// A simple query that must succeed and be one statement.
    #[track_caller]
    pub fn run(&mut self, sql: &str) -> Done {
        match self.query(sql) {
            Ok(reply) if reply.failure.is_none() && reply.done.len() == 1 => {
                reply.done.into_iter().next().unwrap()
            }
            Ok(reply) => panic!("{sql}: {reply:?}"),
            Err(lost) => panic!("{sql}: {lost}"),
        }
    }

    /// A simple query that must be refused.
    #[track_caller]
    pub fn refused(&mut self, sql: &str) -> Failure {
        match self.query(sql) {
            Ok(reply) => match reply.failure {
                Some(failure) => failure,
                None => panic!("{sql}: accepted: {:?}", reply.done),
            },
            Err(lost) => panic!("{sql}: {lost}"),
        }
    }

    /// Sends a simple query and waits for nothing.
    pub fn start_query(&mut self, sql: &str) -> io::Result<()> {
        let mut out = Vec::with_capacity(sql.len() + 6);
        put_query(&mut out, sql.as_bytes());
        self.send(&out)
    }

    /// One statement through the extended protocol: Parse, Bind, Describe, Execute, Sync.
    pub fn execute(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Reply, Lost> {
        self.start_execute(sql, parameters)?;
        self.reply()
    }

    /// Sends what [`Session::execute`] sends and waits for nothing.
    pub fn start_execute(&mut self, sql: &str, parameters: &[Option<&str>]) -> io::Result<()> {
        let mut out = Vec::with_capacity(sql.len() + 64);
        put_parse(&mut out, b"", sql.as_bytes(), &[0, 0]);
        put_bind(&mut out, b"", b"", parameters);
        put(&mut out, b'D', &[b"P\0"]);
        put_execute(&mut out, b"", 0);
        put(&mut out, b'S', &[]);
        self.send(&out)
    }

    /// Reads up to ReadyForQuery. A FATAL error before the end of the connection is `Lost::Told`.
    pub fn reply(&mut self) -> Result<Reply, Lost> {
        let mut reply = Reply::default();
        let mut open = Done::default();
        loop {
            let (tag, body) = match self.message() {
                Ok(message) => message,
                Err(error) => {
                    return Err(match reply.failure {
                        Some(failure) if failure.severity == "FATAL" => Lost::Told(failure),
                        _ => Lost::Ended(error),
                    });
                }
            };
            match tag {
                b'T' => (open.columns, open.types) = read_columns(&body),
                b'D' => open.rows.push(read_row(&body)),
                b'C' => {
                    open.tag = String::from_utf8_lossy(&body[..body.len() - 1]).into_owned();
                    reply.done.push(std::mem::take(&mut open));
                }
                b'I' | b's' => reply.done.push(std::mem::take(&mut open)),
                b'E' => {
                    reply.failure = Some(Failure::read(&body));
                    open = Done::default();
                }
                b'N' => reply.notices.push(Failure::read(&body)),
                b'S' => self.note_parameter(&body),
                b'Z' => {
                    self.status = char::from(body[0]);
                    reply.status = self.status;
                    return Ok(reply);
                }
                // A copy was begun: give nothing.
                b'G' => {
                    let mut out = Vec::new();
                    put(&mut out, b'c', &[]);
                    self.send(&out)?;
                }
                b'1' | b'2' | b'3' | b'n' | b't' | b'H' | b'd' | b'c' => {}
                other => {
                    let text = format!("unexpected message {:?}", char::from(other));
                    return Err(io::Error::other(text).into());
                }
            }
        }
    }

    /// COPY FROM STDIN with these bytes as data, in messages of at most 64 KiB.
    pub fn copy_in(&mut self, sql: &str, data: &[u8]) -> Result<Reply, Lost> {
        self.start_query(sql)?;
        let (tag, body) = self.message()?;
        match tag {
            b'G' => {}
            b'E' => {
                let mut reply = self.reply()?;
                reply.failure = Some(Failure::read(&body));
                return Ok(reply);
            }
            other => {
                let text = format!("{:?} instead of CopyInResponse", char::from(other));
                return Err(io::Error::other(text).into());
            }
        }
        let mut out = Vec::new();
        for piece in data.chunks(64 * 1024) {
            put(&mut out, b'd', &[piece]);
        }
        put(&mut out, b'c', &[]);
        self.send(&out)?;
        self.reply()
    }

    /// COPY TO STDOUT: the data and the rest of the answer.
    pub fn copy_out(&mut self, sql: &str) -> Result<(Vec<u8>, Reply), Lost> {
        self.start_query(sql)?;
        let mut data = Vec::new();
        let mut failure = None;
        loop {
            let (tag, body) = self.message()?;
            match tag {
                b'd' => data.extend_from_slice(&body),
                b'H' => {}
                b'E' => {
                    failure = Some(Failure::read(&body));
                    break;
                }
                b'c' => break,
                other => {
                    let text = format!("{:?} in a copy", char::from(other));
                    return Err(io::Error::other(text).into());
                }
            }
        }
        let mut reply = self.reply()?;
        reply.failure = reply.failure.or(failure);
        Ok((data, reply))
    }
}

/// Bind with text parameters and text results.
pub fn put_bind(out: &mut Vec<u8>, portal: &[u8], statement: &[u8], parameters: &[Option<&str>]) {
    let mut body = Vec::new();
    body.extend_from_slice(portal);
    body.push(0);
    body.extend_from_slice(statement);
    body.extend_from_slice(&[0, 0, 0]);
    body.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        match parameter {
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
            Some(text) => {
                body.extend_from_slice(&(text.len() as i32).to_be_bytes());
                body.extend_from_slice(text.as_bytes());
            }
        }
    }
    body.extend_from_slice(&[0, 0]);
    put(out, b'B', &[&body]);
}

/// Execute; `limit` 0 is all rows.
pub fn put_execute(out: &mut Vec<u8>, portal: &[u8], limit: u32) {
    put(out, b'E', &[portal, b"\0", &limit.to_be_bytes()]);
}

fn read_columns(body: &[u8]) -> (Option<Vec<String>>, Vec<u32>) {
    let mut names = Vec::new();
    let mut types = Vec::new();
    let mut rest = &body[2..];
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        let at = end + 1 + 6;
        types.push(u32::from_be_bytes([
            rest[at],
            rest[at + 1],
            rest[at + 2],
            rest[at + 3],
        ]));
        rest = &rest[end + 1 + 18..];
    }
    (Some(names), types)
}

fn read_row(body: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    let mut rest = &body[2..];
    while rest.len() >= 4 {
        let length = i32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]);
        rest = &rest[4..];
        match usize::try_from(length) {
            Ok(length) => {
                values.push(Some(String::from_utf8_lossy(&rest[..length]).into_owned()));
                rest = &rest[length..];
            }
            Err(_) => values.push(None),
        }
    }
    values
}
