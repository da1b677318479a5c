//! A scripted PostgreSQL server: it lets everybody in and then does what the test says.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::client::PATIENCE;
use crate::message::{Frame, message};

/// A running scripted server; its threads end with the test process.
pub struct Upstream {
    port: u16,
    /// Texts of Query and Parse in the order they came, over all connections.
    pub statements: Arc<Mutex<Vec<String>>>,
}

/// One connection of the proxy, after its login.
pub struct Conversation {
    stream: TcpStream,
    /// Counts connections from zero.
    pub number: usize,
    statements: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// Starts one; `script` is called for each connection that logged in.
    pub fn start(
        script: impl Fn(&mut Conversation) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start_raw(move |conversation| {
            conversation.greet()?;
            script(conversation)
        })
    }

    /// Starts one; `script` is called for each connection before the first byte.
    pub fn start_raw(
        script: impl Fn(&mut Conversation) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let statements: Arc<Mutex<Vec<String>>> = Arc::default();
        let (script, shared) = (Arc::new(script), Arc::clone(&statements));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let _ = stream.set_read_timeout(Some(2 * PATIENCE));
                let _ = stream.set_nodelay(true);
                let statements = Arc::clone(&shared);
                let script = Arc::clone(&script);
                std::thread::spawn(move || {
                    let mut conversation = Conversation {
                        stream,
                        number,
                        statements,
                    };
                    // However the proxy leaves, the test looks at its other side.
                    let _ = script(&mut conversation);
                });
            }
        });
        Self { port, statements }
    }

    /// What goes into a cluster's `endpoint`.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Conversation {
    /// Takes the startup packet and lets the proxy in.
    pub fn greet(&mut self) -> io::Result<()> {
        self.take_startup()?;
        let mut out = message(b'R', &[0; 4]);
        for (name, value) in [
            ("server_version", "16.9"),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("integer_datetimes", "on"),
            ("standard_conforming_strings", "on"),
        ] {
            out.extend(message(b'S', format!("{name}\0{value}\0").as_bytes()));
        }
        out.extend(message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]));
        out.extend(message(b'Z', b"I"));
        self.send(&out)
    }

    /// Reads the startup packet; refuses encryption before it. A cancel request ends the connection.
    pub fn take_startup(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut word = [0; 4];
            self.stream.read_exact(&mut word)?;
            let mut body = vec![0; (u32::from_be_bytes(word) as usize).saturating_sub(4)];
            self.stream.read_exact(&mut body)?;
            match u32::from_be_bytes(body[..4].try_into().expect("four bytes")) {
                80_877_103 | 80_877_104 => self.stream.write_all(b"N")?,
                80_877_102 => return Err(io::ErrorKind::ConnectionAborted.into()),
                _ => return Ok(body),
            }
        }
    }

    /// The next message of the proxy.
    pub fn frame(&mut self) -> io::Result<Frame> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header)?;
        let length = u32::from_be_bytes(header[1..].try_into().expect("four bytes")) as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body)?;
        let frame = Frame {
            tag: header[0],
            body,
        };
        let text = match frame.tag {
            b'Q' => frame.strings().into_iter().next(),
            b'P' => frame.strings().into_iter().nth(1),
            _ => None,
        };
        if let Some(text) = text {
            self.statements.lock().expect("unpoisoned").push(text);
        }
        Ok(frame)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Answers everything in good order until the next Query that contains `text`.
    pub fn serve_until(&mut self, text: &str) -> io::Result<()> {
        loop {
            let frame = self.frame()?;
            if frame.tag == b'Q' && String::from_utf8_lossy(&frame.body).contains(text) {
                return Ok(());
            }
            let answer = match frame.tag {
                b'Q' => [message(b'C', b"SELECT 0\0"), message(b'Z', b"I")].concat(),
                b'P' => message(b'1', &[]),
                b'B' => message(b'2', &[]),
                b'C' => message(b'3', &[]),
                b'D' => message(b'n', &[]),
                b'E' => message(b'C', b"SELECT 0\0"),
                b'S' => message(b'Z', b"I"),
                b'X' => return Err(io::ErrorKind::ConnectionAborted.into()),
                _ => Vec::new(),
            };
            self.send(&answer)?;
        }
    }

    /// Answers everything in good order until the proxy leaves.
    pub fn serve(&mut self) -> io::Result<()> {
        self.serve_until("\u{1}no query contains this\u{1}")
    }

    /// Closes the connection.
    pub fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Both)
    }

    /// Waits until the proxy closes the connection.
    pub fn wait_closed(&mut self) -> io::Result<()> {
        io::copy(&mut self.stream, &mut io::sink()).map(|_| ())
    }
}

/// An ErrorResponse.
pub fn error(severity: &str, code: &str, text: &str) -> Vec<u8> {
    message(
        b'E',
        format!("S{severity}\0V{severity}\0C{code}\0M{text}\0\0").as_bytes(),
    )
}

/// A RowDescription of one text column.
pub fn one_column() -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(b"c\0");
    body.extend([0; 6]);
    body.extend(25u32.to_be_bytes());
    body.extend((-1i16).to_be_bytes());
    body.extend((-1i32).to_be_bytes());
    body.extend([0; 2]);
    message(b'T', &body)
}

/// A DataRow of one value.
pub fn row(value: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend((value.len() as u32).to_be_bytes());
    body.extend(value);
    message(b'D', &body)
}
