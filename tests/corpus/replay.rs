//! Says a recording to a server and writes down the shape of its answers.

use std::collections::HashMap;
use std::io;

use crate::client::{Client, Login};
use crate::message::{self, Frame};
use crate::recording::{Message, Recording};

/// OIDs from here on are given to objects of the database.
const FIRST_OWN_OID: u32 = 16384;

/// What was said up to a point where the client waits, and the shape of what came back.
pub struct Exchange {
    /// Line of the message that made the client wait.
    pub line: usize,
    /// The statements in it.
    pub text: String,
    /// One line for each part of the answer.
    pub shape: Vec<String>,
}

/// A server that recordings are said to.
pub struct Side {
    address: String,
    user: String,
    /// Whether parameter types are asked for.
    asks: bool,
    parameters: Vec<Vec<u32>>,
}

/// A session on the way.
struct Session {
    client: Option<Client>,
    /// Built, not yet sent.
    out: Vec<u8>,
    /// Tags of messages that were sent and will be answered.
    owed: Vec<u8>,
    texts: Vec<String>,
    types: HashMap<String, Vec<u32>>,
    copying: bool,
    /// An error was answered; nothing will be until Sync.
    failed: bool,
    shape: Vec<String>,
}

impl Side {
    /// `asks` makes it find out the types of parameters, for the other side to use.
    pub fn new(address: &str, user: &str, asks: bool) -> Self {
        Self {
            address: address.to_owned(),
            user: user.to_owned(),
            asks,
            parameters: Vec::new(),
        }
    }

    /// Types of the parameters of each Bind of the last recording.
    pub fn parameters(&mut self) -> Vec<Vec<u32>> {
        std::mem::take(&mut self.parameters)
    }

    /// Says it all. `types` are those of each Bind's parameters, unless this side asks for them.
    pub fn say(&mut self, recording: &Recording, types: &mut Vec<Vec<u32>>) -> Vec<Exchange> {
        let mut sessions: HashMap<u64, Session> = HashMap::new();
        let mut exchanges = Vec::new();
        let mut given = types.drain(..);
        for (line, number, message) in &recording.messages {
            if let Message::Startup(parameters) = message {
                let (session, shape) = self.log_in(&recording.database, parameters);
                sessions.insert(*number, session);
                exchanges.push(Exchange {
                    line: *line,
                    text: format!("startup {parameters:?}"),
                    shape,
                });
                continue;
            }
            let Some(session) = sessions.get_mut(number) else {
                continue;
            };
            if let Message::Bind(_, name) = message {
                let types = if self.asks {
                    let types = session.types.get(name).cloned().unwrap_or_default();
                    self.parameters.push(types.clone());
                    types
                } else {
                    given.next().unwrap_or_default()
                };
                session.bind(message, &types);
            } else if session.take(message, self.asks) {
                exchanges.push(Exchange {
                    line: *line,
                    text: std::mem::take(&mut session.texts).join(" | "),
                    shape: std::mem::take(&mut session.shape),
                });
            }
        }
        exchanges
    }

    fn log_in(&self, database: &str, parameters: &[(String, String)]) -> (Session, Vec<String>) {
        let mut login = Login::new(&self.user, database);
        for (name, value) in parameters {
            login = login.with(name, value);
        }
        let (client, shape) = match Client::login(&self.address, &login) {
            Ok(client) => (Some(client), "logged in".to_owned()),
            Err(crate::client::LoginError::Refused(frame)) => (None, error(&frame)),
            Err(crate::client::LoginError::Io(error)) => (None, format!("broken: {error}")),
        };
        let session = Session {
            client,
            out: Vec::new(),
            owed: Vec::new(),
            texts: Vec::new(),
            types: HashMap::new(),
            copying: false,
            failed: false,
            shape: Vec::new(),
        };
        (session, vec![shape])
    }
}

impl Session {
    fn bind(&mut self, message: &Message, types: &[u32]) {
        let Message::Bind(portal, name) = message else {
            return;
        };
        let values: Vec<&str> = types.iter().map(|oid| value(*oid)).collect();
        self.out.extend(message::bind_text(portal, name, &values));
        self.owed.push(b'B');
    }

    /// Takes a message; whether the client waits for an answer behind it.
    fn take(&mut self, message: &Message, asks: bool) -> bool {
        match message {
            Message::Startup(_) | Message::Bind(..) => {}
            Message::Query(sql) => {
                self.recover();
                self.texts.push(sql.clone());
                self.out.extend(message::query(sql));
                return self.wait_ready();
            }
            Message::Parse(name, sql) => {
                self.texts.push(sql.clone());
                self.out.extend(message::parse(name, sql, &[]));
                self.owed.push(b'P');
                if asks {
                    self.ask(name);
                }
            }
            Message::Describe(kind, name) => {
                self.out.extend(message::describe(*kind, name));
                self.owed.push(b'D');
            }
            Message::Close(kind, name) => {
                self.out.extend(message::close(*kind, name));
                self.owed.push(b'C');
            }
            Message::Execute(portal, rows) => {
                self.out.extend(message::execute(portal, *rows));
                self.owed.push(b'E');
            }
            Message::Sync => {
                self.out.extend(message::sync());
                return self.wait_ready();
            }
            Message::Flush => {
                self.out.extend(message::flush());
                self.wait_owed();
                return true;
            }
            Message::CopyDone => {
                if self.copying {
                    self.out.extend(message::copy_done());
                }
                // An exchange on either side, also on one that is not copying.
                return if self.copying {
                    self.wait_ready()
                } else {
                    true
                };
            }
            Message::Terminate => self.client = None,
        }
        false
    }

    /// Finds out the types of a statement's parameters.
    fn ask(&mut self, name: &str) {
        self.out.extend(message::describe(b'S', name));
        self.out.extend(message::flush());
        self.wait_owed();
        if self.failed {
            return;
        }
        let Some(client) = &mut self.client else {
            return;
        };
        let mut types = Vec::new();
        while let Ok(frame) = client.frame() {
            match frame.tag {
                b't' => types = oids(&frame.body[2..]),
                b'T' | b'n' => break,
                b'E' => {
                    self.shape.push(error(&frame));
                    self.failed = true;
                    break;
                }
                _ => {}
            }
        }
        self.types.insert(name.to_owned(), types);
    }

    /// Clients that were answered an error behind Flush send Sync; in the recording there was none.
    fn recover(&mut self) {
        if self.failed {
            self.out.extend(message::sync());
            self.wait_ready();
            self.shape.clear();
        }
    }

    fn send(&mut self) -> bool {
        let out = std::mem::take(&mut self.out);
        match &mut self.client {
            Some(client) => client.try_send(&out).is_ok(),
            None => false,
        }
    }

    fn wait_ready(&mut self) -> bool {
        self.copying = false;
        let mut ready = false;
        let sent = self.send();
        let done = sent
            && self.read(|session, frame| match frame.tag {
                b'Z' => {
                    session
                        .shape
                        .push(format!("ready {}", frame.body.escape_ascii()));
                    ready = true;
                    true
                }
                b'G' => {
                    session.copying = true;
                    true
                }
                _ => false,
            });
        if ready {
            self.failed = false;
        }
        self.owed.clear();
        if !done {
            self.shape.push("closed".to_owned());
            self.client = None;
        }
        true
    }

    /// Reads what is owed for the messages so far, no ReadyForQuery.
    fn wait_owed(&mut self) {
        if !self.send() {
            self.shape.push("closed".to_owned());
            self.client = None;
            self.owed.clear();
            return;
        }
        let owed = std::mem::take(&mut self.owed);
        for tag in owed {
            if self.failed {
                return;
            }
            let done = self.read(|session, frame| match frame.tag {
                b'E' => {
                    session.failed = true;
                    true
                }
                b'1' => tag == b'P',
                b'2' => tag == b'B',
                b'3' => tag == b'C',
                b'T' | b'n' => tag == b'D',
                b'C' | b'I' | b's' => tag == b'E',
                b'G' => {
                    session.copying = true;
                    true
                }
                // After a Query in the midst of it all.
                b'Z' => true,
                _ => false,
            });
            if !done {
                self.shape.push("closed".to_owned());
                self.client = None;
                return;
            }
        }
    }

    /// Reads until `end` says so; not when the connection breaks.
    fn read(&mut self, mut end: impl FnMut(&mut Self, &Frame) -> bool) -> bool {
        let mut rows = 0;
        loop {
            let frame: io::Result<Frame> = match &mut self.client {
                Some(client) => client.frame(),
                None => return false,
            };
            let Ok(frame) = frame else {
                return false;
            };
            if frame.tag == b'D' || frame.tag == b'd' {
                rows += 1;
            } else if let Some(line) = line(&frame) {
                if rows > 0 {
                    self.shape.push(format!("rows {rows}"));
                    rows = 0;
                }
                self.shape.push(line);
            }
            if end(self, &frame) {
                if rows > 0 {
                    self.shape.push(format!("rows {rows}"));
                }
                return true;
            }
        }
    }
}

/// What is compared of a message.
fn line(frame: &Frame) -> Option<String> {
    Some(match frame.tag {
        b'T' => format!("columns {}", columns(&frame.body).join(", ")),
        b't' => {
            let types = oids(&frame.body[2..]);
            let types: Vec<String> = types.into_iter().map(type_name).collect();
            format!("parameters {}", types.join(", "))
        }
        b'C' => format!("tag {}", frame.strings().concat()),
        b'E' => error(frame),
        b'n' => "no data".to_owned(),
        b's' => "suspended".to_owned(),
        b'I' => "empty".to_owned(),
        b'G' => "copy in".to_owned(),
        b'H' => "copy out".to_owned(),
        _ => return None,
    })
}

fn error(frame: &Frame) -> String {
    let text = frame.field(b'M').unwrap_or_default();
    format!("error {} {text}", frame.sqlstate())
}

fn oids(bytes: &[u8]) -> Vec<u32> {
    let words = bytes.chunks_exact(4);
    words
        .map(|word| u32::from_be_bytes(word.try_into().expect("four bytes")))
        .collect()
}

/// Columns of a RowDescription with their types.
fn columns(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut found = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        let oid = u32::from_be_bytes(rest[end + 7..end + 11].try_into().expect("four bytes"));
        found.push(format!("{name} {}", type_name(oid)));
        rest = &rest[end + 19..];
    }
    found
}

fn type_name(oid: u32) -> String {
    if oid < FIRST_OWN_OID {
        oid.to_string()
    } else {
        "own".to_owned()
    }
}

/// Some value of a type: values were not recorded.
fn value(oid: u32) -> &'static str {
    match oid {
        16 => "t",
        17 => "\\x00",
        20 | 21 | 23 | 26 | 700 | 701 | 1700 => "1",
        114 | 3802 => "{}",
        869 | 650 => "127.0.0.1",
        1082 => "2024-01-02",
        1083 | 1266 => "03:04:05",
        1114 | 1184 => "2024-01-02 03:04:05",
        1186 => "1 day",
        2205 => "pg_class",
        2206 => "integer",
        2950 => "0190f3a0-0000-7000-8000-000000000001",
        1000..=1300 | 2201 | 2207..=2211 | 199 | 143 | 3807 => "{}",
        _ => "t1",
    }
}
