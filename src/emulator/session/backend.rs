//! The session's connection to the local PostgreSQL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::pipe::Pipe;
use super::refusal::{Ended, Refusal};
use crate::wire::backend::two_strings;
use crate::wire::frame::{self, HEADER};
use crate::wire::frontend::{put, put_cancel, put_parse, put_query, put_startup};

/// Bytes read ahead while a write is under way.
const READ_AHEAD: usize = 1024 * 1024;
/// Name of the hidden statement and portal; a client cannot see them, for they are closed at once.
pub const HIDDEN: &[u8] = b"pg_dsql";
const HIDDEN_TERMINATED: &[u8] = b"pg_dsql\0";

/// How many CloseComplete answer a hidden command.
pub const HIDDEN_CLOSES: u8 = 2;

/// How long PostgreSQL may take to accept a cancel request.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer rows come in pieces, in bytes.
const LONG: usize = 1024 * 1024;

/// A message of PostgreSQL, or a piece of a long row.
#[derive(Debug, Clone)]
pub struct Message {
    /// Type byte.
    pub tag: u8,
    /// The whole frame, header included. Of a long row (DataRow, CopyData) the next piece, of which
    /// only the first has the header.
    pub frame: Bytes,
}

impl Message {
    /// What follows the length.
    pub fn body(&self) -> &[u8] {
        self.frame.get(HEADER..).unwrap_or_default()
    }
}

/// What PostgreSQL reported at login: names and values of ParameterStatus.
pub type Parameters = Vec<(String, String)>;

/// A connection to PostgreSQL, logged in.
#[derive(Debug)]
pub struct Backend {
    pipe: Pipe,
    input: BytesMut,
    out: Vec<u8>,
    socket: PathBuf,
    pid: u32,
    key: Vec<u8>,
    /// Type of a long row under way, and what is still to come of it.
    long: (u8, usize),
    /// A transaction block is open on it (BEGIN was sent, hidden or not).
    pub open: bool,
    /// The client speaks the simple protocol: it has no unnamed statement that a Query would drop.
    pub plain: bool,
    /// A statement with parameters was sent under the hidden names: an error may have left it open.
    pub bound: bool,
    /// Messages of the extended protocol were sent behind the last Sync.
    pub unsynced: bool,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum LoginError {
    /// PostgreSQL's own refusal.
    Refused(Refusal),
    /// It cannot be reached or does not speak the protocol.
    Unreachable(String),
}

impl Backend {
    /// Connects through the unix socket and logs in.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn connect(
        socket: &Path,
        parameters: &[(&str, &str)],
    ) -> Result<(Self, Parameters), LoginError> {
        let lost = |error: std::io::Error| LoginError::Unreachable(error.to_string());
        let pipe = Pipe::connect(socket).await.map_err(lost)?;
        let mut backend = Self {
            pipe,
            input: BytesMut::new(),
            out: Vec::new(),
            socket: socket.to_owned(),
            pid: 0,
            key: Vec::new(),
            long: (0, 0),
            open: false,
            plain: false,
            bound: false,
            unsynced: false,
        };
        put_startup(&mut backend.out, parameters);
        let reported = backend.log_in().await?;
        Ok((backend, reported))
    }

    async fn log_in(&mut self) -> Result<Parameters, LoginError> {
        let lost = |ended: Ended| LoginError::Unreachable(format!("{ended:?}"));
        self.send().await.map_err(lost)?;
        let mut reported = Vec::new();
        loop {
            let message = self.next().await.map_err(lost)?;
            let body = message.body();
            match message.tag {
                b'R' if body == [0; 4] => {}
                b'R' => return Err(LoginError::Unreachable("it asks for a password".to_owned())),
                b'S' => reported.extend(two_strings(body).map(|(name, value)| {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    (text(name), text(value))
                })),
                b'K' => {
                    if let Some((pid, key)) = body.split_first_chunk::<4>() {
                        self.pid = u32::from_be_bytes(*pid);
                        self.key = key.to_vec();
                    }
                }
                b'E' => return Err(LoginError::Refused(Refusal::of_postgres(&message.frame, 0))),
                b'Z' => return Ok(reported),
                _ => {}
            }
        }
    }

    /// Where messages are appended.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Appends a Query. Its answer ends with ReadyForQuery.
    pub fn put_query(&mut self, sql: &str) {
        put_query(&mut self.out, sql.as_bytes());
        self.unsynced = false;
    }

    /// Appends a command in the extended protocol, which leaves the client's unnamed statement and
    /// portal alone. Its answer ends with the second CloseComplete, or an error.
    pub fn put_hidden(&mut self, sql: &str) {
        let out = &mut self.out;
        put_parse(out, HIDDEN, sql.as_bytes(), &[0, 0]);
        put(out, b'B', &[HIDDEN_TERMINATED, HIDDEN_TERMINATED, &[0; 6]]);
        put(out, b'E', &[HIDDEN_TERMINATED, &[0; 4]]);
        self.put_closes();
        self.unsynced = true;
    }

    /// Appends a statement with parameters, bound as a Bind message says behind its names. Its
    /// answer has two messages before the rows and their end, and two behind.
    pub fn put_hidden_bound(&mut self, sql: &str, types: &[u8], bound: &[u8]) {
        let out = &mut self.out;
        put_parse(out, HIDDEN, sql.as_bytes(), types);
        put(out, b'B', &[HIDDEN_TERMINATED, HIDDEN_TERMINATED, bound]);
        put(out, b'E', &[HIDDEN_TERMINATED, &[0; 4]]);
        self.put_closes();
        self.bound = true;
        self.unsynced = true;
    }

    fn put_closes(&mut self) {
        put(&mut self.out, b'C', &[b"P", HIDDEN_TERMINATED]);
        put(&mut self.out, b'C', &[b"S", HIDDEN_TERMINATED]);
    }

    /// Appends Sync.
    pub fn put_sync(&mut self) {
        put(&mut self.out, b'S', &[]);
        self.unsynced = false;
    }

    /// Appends Flush.
    pub fn put_flush(&mut self) {
        put(&mut self.out, b'H', &[]);
    }

    /// Writes what was appended; what PostgreSQL says meanwhile is kept.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn send(&mut self) -> Result<(), Ended> {
        if self.out.is_empty() {
            return Ok(());
        }
        // An error that PostgreSQL sent before it closed is still to be read.
        let sent = self.pipe.write_now(&self.out).unwrap_or(self.out.len());
        if sent < self.out.len() {
            self.send_rest(sent).await?;
        }
        self.out.clear();
        Ok(())
    }

    async fn send_rest(&mut self, mut sent: usize) -> Result<(), Ended> {
        let lost = |error: std::io::Error| Ended::server_lost(&error);
        let mut room = self.pipe.room().map_err(lost)?;
        while sent < self.out.len() {
            let ahead = self.input.len() < READ_AHEAD;
            tokio::select! {
                biased;
                written = room.write(&self.out[sent..]) => match written {
                    Ok(count) if count > 0 => sent += count,
                    // As above.
                    _ => break,
                },
                read = self.pipe.read(&mut self.input), if ahead => {
                    if read.map_err(lost)? == 0 {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The next message. Can be dropped and called again without losing bytes.
    ///
    /// # Errors
    /// The connection is lost, or PostgreSQL ends it.
    pub async fn next(&mut self) -> Result<Message, Ended> {
        loop {
            if self.long.1 > 0 {
                if !self.input.is_empty() {
                    return Ok(self.piece());
                }
            } else if let Some(header) = self.header()? {
                if header.total > LONG && matches!(header.tag, b'D' | b'd') {
                    self.long = (header.tag, header.total);
                    return Ok(self.piece());
                }
                if self.input.len() >= header.total {
                    let frame = self.input.split_to(header.total).freeze();
                    return Ok(Message {
                        tag: header.tag,
                        frame,
                    });
                }
                self.input.reserve(header.total - self.input.len());
            }
            let read = self.pipe.read(&mut self.input).await;
            if read.map_err(|error| Ended::server_lost(&error))? == 0 {
                return Err(Ended::server_lost(&"end of file"));
            }
        }
    }

    fn header(&self) -> Result<Option<frame::Header>, Ended> {
        frame::backend_header(&self.input).map_err(|error| Ended::server_lost(&error))
    }

    fn piece(&mut self) -> Message {
        let (tag, left) = self.long;
        let count = left.min(self.input.len());
        self.long = (tag, left - count);
        Message {
            tag,
            frame: self.input.split_to(count).freeze(),
        }
    }

    /// Runs a command of the emulator's own and waits for it; the client sees nothing of it.
    /// Gives the rows in text format.
    ///
    /// # Errors
    /// Inside: PostgreSQL's refusal. Outside: the connection is lost.
    pub async fn command(&mut self, sql: &str) -> Result<Result<Vec<Row>, Refusal>, Ended> {
        self.commands(&[sql]).await
    }

    /// Runs commands one after another, up to the first that fails, and gives the rows of all.
    ///
    /// # Errors
    /// As [`Backend::command`].
    pub async fn commands(
        &mut self,
        statements: &[&str],
    ) -> Result<Result<Vec<Row>, Refusal>, Ended> {
        if self.plain {
            self.put_query(&statements.join("\n;"));
            return self.collect_rows().await;
        }
        for sql in statements {
            self.put_hidden(sql);
        }
        self.put_sync();
        let outcome = self.collect_rows().await?;
        if outcome.is_err() {
            self.forget_hidden().await?;
        }
        Ok(outcome)
    }

    /// Closes what an error made PostgreSQL leave open.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn forget_hidden(&mut self) -> Result<(), Ended> {
        self.put_closes();
        self.put_sync();
        self.collect_rows().await.map(|_| ())
    }

    async fn collect_rows(&mut self) -> Result<Result<Vec<Row>, Refusal>, Ended> {
        self.send().await?;
        let mut rows = Vec::new();
        let mut refusal = None;
        loop {
            let message = self.next().await?;
            match message.tag {
                b'D' => rows.push(row(message.body())),
                b'E' => {
                    let error = Refusal::of_postgres(&message.frame, 0);
                    refusal = Some(fatal_ends(error, &message)?);
                }
                b'Z' => return Ok(refusal.map_or(Ok(rows), Err)),
                _ => {}
            }
        }
    }

    /// Asks PostgreSQL to stop what this connection does, and waits until it has been told. It may
    /// be done by then; a request that finds it idle has no effect.
    pub async fn cancel(&self) {
        let mut request = Vec::new();
        put_cancel(&mut request, self.pid, &self.key);
        let asked = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            stream.write_all(&request).await?;
            // The end of file says that the signal is on its way.
            stream.read_to_end(&mut Vec::new()).await
        };
        match tokio::time::timeout(CANCEL_TIMEOUT, asked).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "emulator: a statement could not be cancelled");
            }
            Err(_) => tracing::warn!("emulator: PostgreSQL does not take a cancel request"),
        }
    }
}

/// A row in text format; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// PostgreSQL's last words are not for the client.
pub fn fatal_ends(refusal: Refusal, message: &Message) -> Result<Refusal, Ended> {
    let fields = crate::wire::backend::error_fields(message.body());
    if fields.is_fatal() {
        return Err(Ended::server_lost(&String::from_utf8_lossy(fields.message)));
    }
    Ok(refusal)
}

/// Reads a DataRow whose values are text.
fn row(body: &[u8]) -> Row {
    let mut values = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) if length <= behind.len() => {
                values.push(Some(
                    String::from_utf8_lossy(&behind[..length]).into_owned(),
                ));
                rest = &behind[length..];
            }
            _ => {
                values.push(None);
                rest = behind;
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        let body = b"\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(row(body), [Some("a".to_owned()), None, Some(String::new())]);
        assert_eq!(row(b""), Row::new());
        assert_eq!(row(b"\0\x01\0\0\0\x09a"), [None]);
    }
}
