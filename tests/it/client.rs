//! A byte-level client: it sends exactly what it is told to and shows every message it gets.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::message::{self, Frame};

/// A read or write that takes longer fails the test.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Who logs in and how.
#[derive(Clone)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Database name.
    pub database: String,
    /// Password, asked for by SCRAM or in clear.
    pub password: String,
    /// Further startup parameters.
    pub parameters: Vec<(String, String)>,
    /// Minor protocol version.
    pub minor: u16,
    /// Use TLS with this configuration, for this server name.
    pub tls: Option<Arc<ClientConfig>>,
    /// Speak TLS from the first byte, without SSLRequest.
    pub direct_tls: bool,
}

impl Login {
    /// Protocol 3.0 without TLS; the password is the user's name.
    pub fn new(user: &str, database: &str) -> Self {
        Self {
            user: user.into(),
            database: database.into(),
            password: user.into(),
            parameters: Vec::new(),
            minor: 0,
            tls: None,
            direct_tls: false,
        }
    }

    /// With one more startup parameter.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// With another password.
    pub fn password(mut self, password: &str) -> Self {
        self.password = password.into();
        self
    }

    fn packet(&self) -> Vec<u8> {
        let mut parameters = vec![
            ("user".to_owned(), self.user.clone()),
            ("database".to_owned(), self.database.clone()),
        ];
        parameters.extend(self.parameters.clone());
        message::startup(self.minor, &parameters)
    }
}

/// Why a login did not end in ReadyForQuery.
#[derive(Debug)]
pub enum LoginError {
    /// The server answered with this ErrorResponse.
    Refused(Frame),
    /// The connection broke.
    Io(io::Error),
}

impl From<io::Error> for LoginError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl LoginError {
    /// SQLSTATE of a refusal; panics for a broken connection.
    pub fn sqlstate(&self) -> String {
        match self {
            Self::Refused(frame) => frame.sqlstate(),
            Self::Io(error) => panic!("no answer but {error}"),
        }
    }
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection.
pub struct Client {
    transport: Transport,
    address: String,
    buffer: Vec<u8>,
    start: usize,
    /// Process id of BackendKeyData.
    pub pid: u32,
    /// Secret of BackendKeyData.
    pub key: Vec<u8>,
    /// Everything the server sent from AuthenticationOk to the first ReadyForQuery.
    pub greeting: Vec<Frame>,
}

impl Client {
    /// A TCP connection on which nothing was said yet.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            transport: Transport::Plain(stream),
            address: address.into(),
            buffer: Vec::new(),
            start: 0,
            pid: 0,
            key: Vec::new(),
            greeting: Vec::new(),
        })
    }

    /// Connects and logs in up to the first ReadyForQuery.
    pub fn login(address: &str, login: &Login) -> Result<Self, LoginError> {
        let mut client = Self::open(address)?;
        if let Some(config) = &login.tls {
            client.start_tls(config, login.direct_tls)?;
        }
        client.send(&login.packet());
        client.authenticate(login)?;
        Ok(client)
    }

    /// Asks for TLS (unless `direct`) and does the handshake.
    pub fn start_tls(&mut self, config: &Arc<ClientConfig>, direct: bool) -> io::Result<()> {
        let Transport::Plain(stream) = &mut self.transport else {
            panic!("TLS twice")
        };
        if !direct {
            stream.write_all(&message::ssl_request())?;
            let mut answer = [0];
            stream.read_exact(&mut answer)?;
            assert_eq!(answer, *b"S", "the server offers TLS");
        }
        let name = "localhost".try_into().expect("a name");
        let mut connection =
            ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        connection.complete_io(stream)?;
        let stream = stream.try_clone()?;
        self.transport = Transport::Tls(Box::new(StreamOwned::new(connection, stream)));
        Ok(())
    }

    /// Answers what the server asks for after the startup packet, up to ReadyForQuery.
    pub fn authenticate(&mut self, login: &Login) -> Result<(), LoginError> {
        let mut scram = None;
        loop {
            let frame = self.frame()?;
            match frame.tag {
                b'E' => return Err(LoginError::Refused(frame)),
                b'R' => self.answer(&frame.body, login, &mut scram)?,
                b'K' => {
                    self.pid = u32::from_be_bytes(frame.body[..4].try_into().expect("four bytes"));
                    self.key = frame.body[4..].to_vec();
                }
                b'Z' => {
                    self.greeting.push(frame);
                    return Ok(());
                }
                _ => self.greeting.push(frame),
            }
        }
    }

    fn answer(
        &mut self,
        body: &[u8],
        login: &Login,
        scram: &mut Option<ScramSha256>,
    ) -> io::Result<()> {
        let (code, rest) = body.split_first_chunk::<4>().expect("a code");
        let mut out = Vec::new();
        match u32::from_be_bytes(*code) {
            0 => self.greeting.push(Frame {
                tag: b'R',
                body: body.to_vec(),
            }),
            3 => {
                let mut password = login.password.clone().into_bytes();
                password.push(0);
                out = message::message(b'p', &password);
            }
            10 => {
                let offered = String::from_utf8_lossy(rest);
                let binding = self.channel_binding();
                let (name, binding) = match binding {
                    Some(hash) if offered.contains(SCRAM_SHA_256_PLUS) => (
                        SCRAM_SHA_256_PLUS,
                        ChannelBinding::tls_server_end_point(hash),
                    ),
                    Some(_) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
                    None => (SCRAM_SHA_256, ChannelBinding::unsupported()),
                };
                let state = ScramSha256::new(login.password.as_bytes(), binding);
                let mut body = name.as_bytes().to_vec();
                body.push(0);
                body.extend((state.message().len() as u32).to_be_bytes());
                body.extend(state.message());
                out = message::message(b'p', &body);
                *scram = Some(state);
            }
            11 => {
                let state = scram.as_mut().expect("SASL began");
                state.update(rest)?;
                out = message::message(b'p', state.message());
            }
            12 => scram.as_mut().expect("SASL began").finish(rest)?,
            other => panic!("authentication method {other}"),
        }
        self.try_send(&out)
    }

    fn channel_binding(&self) -> Option<Vec<u8>> {
        use sha2::Digest;
        let Transport::Tls(stream) = &self.transport else {
            return None;
        };
        let certificate = stream.conn.peer_certificates()?.first()?;
        Some(sha2::Sha256::digest(certificate).to_vec())
    }

    /// The socket itself.
    pub fn socket(&self) -> &TcpStream {
        match &self.transport {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => &stream.sock,
        }
    }

    /// Sends bytes as they are.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.transport {
            Transport::Plain(stream) => stream.write_all(bytes),
            Transport::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the connection is open");
    }

    /// No more bytes from us.
    pub fn finish_sending(&self) {
        self.socket()
            .shutdown(Shutdown::Write)
            .expect("an open socket");
    }

    /// Bytes that are here; empty at the end of the stream.
    pub fn bytes(&mut self) -> io::Result<Vec<u8>> {
        if self.start < self.buffer.len() {
            let rest = self.buffer.split_off(self.start);
            self.buffer.clear();
            self.start = 0;
            return Ok(rest);
        }
        let mut chunk = vec![0; 64 * 1024];
        let count = self.receive(&mut chunk)?;
        chunk.truncate(count);
        Ok(chunk)
    }

    fn receive(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match &mut self.transport {
                Transport::Plain(stream) => stream.read(chunk),
                Transport::Tls(stream) => stream.read(chunk),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        let mut chunk = [0; 16 * 1024];
        while self.buffer.len() - self.start < wanted {
            let count = self.receive(&mut chunk)?;
            if count == 0 {
                return Ok(false);
            }
            self.buffer.extend_from_slice(&chunk[..count]);
        }
        Ok(true)
    }

    /// The next message; `None` at the end of the stream.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        if !self.fill(5)? {
            return if self.start == self.buffer.len() {
                Ok(None)
            } else {
                Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "closed inside a message",
                ))
            };
        }
        let header = &self.buffer[self.start..self.start + 5];
        let tag = header[0];
        let length = u32::from_be_bytes(header[1..].try_into().expect("four bytes")) as usize;
        if length < 4 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "length below four",
            ));
        }
        if !self.fill(length + 1)? {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed inside a message",
            ));
        }
        let body = self.buffer[self.start + 5..self.start + 1 + length].to_vec();
        self.start += length + 1;
        Ok(Some(Frame { tag, body }))
    }

    /// The next message; the end of the stream is an error.
    pub fn frame(&mut self) -> io::Result<Frame> {
        self.next_frame()?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The next message, which must be one of `tag`.
    pub fn expect(&mut self, tag: u8) -> Frame {
        let frame = self.frame().expect("a message");
        assert_eq!(
            frame.tag as char,
            tag as char,
            "got {}",
            frame.render(false)
        );
        frame
    }

    /// Messages up to and with the next one of `tag`.
    pub fn until(&mut self, tag: u8) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().unwrap_or_else(|error| {
                panic!(
                    "{error} while waiting for {}; got {:?}",
                    tag as char,
                    render(&frames)
                )
            });
            let found = frame.tag == tag;
            frames.push(frame);
            if found {
                return frames;
            }
        }
    }

    /// Messages up to and with the next ReadyForQuery.
    pub fn until_ready(&mut self) -> Vec<Frame> {
        self.until(b'Z')
    }

    /// Everything up to the end of the stream.
    pub fn until_closed(&mut self) -> io::Result<Vec<Frame>> {
        let mut frames = Vec::new();
        loop {
            match self.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return Ok(frames),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(frames),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a simple query and reads to ReadyForQuery.
    pub fn query(&mut self, sql: &str) -> Vec<Frame> {
        self.send(&message::query(sql));
        self.until_ready()
    }

    /// Like [`Client::query`], and no error is accepted.
    pub fn run(&mut self, sql: &str) -> Vec<Frame> {
        let frames = self.query(sql);
        if let Some(error) = frames.iter().find(|frame| frame.tag == b'E') {
            panic!("{sql}: {}", error.render(true));
        }
        frames
    }

    /// First value of the first row, as text.
    pub fn scalar(&mut self, sql: &str) -> String {
        let frames = self.run(sql);
        let row = frames
            .iter()
            .find(|frame| frame.tag == b'D')
            .expect("a row");
        let value = row.values().remove(0).unwrap_or_default();
        String::from_utf8(value).expect("text")
    }

    /// The SQLSTATE a simple query ends with.
    pub fn sqlstate(&mut self, sql: &str) -> String {
        let frames = self.query(sql);
        let error = frames
            .iter()
            .find(|frame| frame.tag == b'E')
            .unwrap_or_else(|| {
                panic!("{sql} went well: {:?}", render(&frames));
            });
        error.sqlstate()
    }

    /// Sends messages and gives the type bytes up to ReadyForQuery, ParameterStatus left out.
    pub fn exchange(&mut self, messages: &[Vec<u8>]) -> String {
        self.send(&messages.concat());
        tags(&self.until_ready())
    }

    /// ParameterStatus of the greeting.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        self.greeting
            .iter()
            .filter(|frame| frame.tag == b'S')
            .map(parameter)
            .collect()
    }

    /// Sends a CancelRequest for this session and waits until the server closes that connection.
    pub fn cancel(&self) {
        cancel(&self.address, self.pid, &self.key);
    }

    /// Terminates and waits for the end of the stream.
    pub fn terminate(mut self) {
        self.send(&message::terminate());
        let rest = self.until_closed().expect("a closed connection");
        assert!(rest.is_empty(), "after Terminate: {:?}", render(&rest));
    }
}

/// Sends a CancelRequest and waits until the server closes the connection.
pub fn cancel(address: &str, pid: u32, key: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("an open socket");
    stream
        .write_all(&message::cancel_request(pid, key))
        .expect("an open socket");
    let mut rest = Vec::new();
    // A reset is as good an end as a close: no answer is owed.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "answer to a cancel request: {rest:?}");
}

/// Name and value of a ParameterStatus.
pub fn parameter(frame: &Frame) -> (String, String) {
    let mut strings = frame.strings();
    strings.resize(2, String::new());
    let value = strings.remove(1);
    (strings.remove(0), value)
}

/// Readable lines of messages.
pub fn render(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| frame.render(false)).collect()
}

/// Type bytes of messages, ParameterStatus left out.
pub fn tags(frames: &[Frame]) -> String {
    frames
        .iter()
        .filter(|frame| frame.tag != b'S')
        .map(|frame| frame.tag as char)
        .collect()
}
