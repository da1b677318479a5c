//! Statements as requests of either protocol, and what comes back for one request.

use std::io;

use crate::client::Client;
use crate::message::{Frame, bind_text, describe, execute, parse, query, sync};

/// How a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Simple,
    Extended,
    /// Extended, prepared by name before.
    Prepared,
}

/// A statement with integer parameters.
#[derive(Debug, Clone)]
pub struct Statement {
    /// With `$1` and so on; also the name under which it may have been prepared.
    pub sql: &'static str,
    /// Decimal numbers, bigint.
    pub parameters: Vec<u64>,
    /// It gives rows.
    pub rows: bool,
}

/// A statement without parameters and rows.
pub fn plain(sql: &'static str) -> Statement {
    Statement {
        sql,
        parameters: Vec::new(),
        rows: false,
    }
}

/// Bytes for the server, and the types of messages of a good answer; DataRow is left out there.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub bytes: Vec<u8>,
    pub shape: String,
}

impl Statement {
    /// With the parameters written into it.
    pub fn text(&self) -> String {
        let parameters = self.parameters.iter().enumerate();
        parameters
            .rev()
            .fold(self.sql.to_owned(), |sql, (at, value)| {
                sql.replace(&format!("${}", at + 1), &value.to_string())
            })
    }

    /// As messages without an end: no Sync, no Query around it.
    pub fn messages(&self, prepared: bool) -> Request {
        let parameters: Vec<String> = self.parameters.iter().map(u64::to_string).collect();
        let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
        let mut request = Request::default();
        if !prepared {
            request = self.preparation("");
        }
        let name = if prepared { self.sql } else { "" };
        let parts = [
            bind_text("", name, &parameters),
            describe(b'P', ""),
            execute("", 0),
        ];
        request.bytes.extend(parts.concat());
        request.shape += if self.rows { "2TC" } else { "2nC" };
        request
    }

    /// As a request of its own.
    pub fn request(&self, protocol: Protocol) -> Request {
        match protocol {
            Protocol::Simple => Request {
                bytes: query(self.text()),
                shape: if self.rows { "TCZ" } else { "CZ" }.into(),
            },
            _ => finish(self.messages(protocol == Protocol::Prepared)),
        }
    }

    /// Prepares it under a name, or as the unnamed one.
    pub fn preparation(&self, name: &str) -> Request {
        Request {
            bytes: parse(name, self.sql, &vec![20; self.parameters.len()]),
            shape: "1".into(),
        }
    }
}

/// With a Sync.
pub fn finish(mut request: Request) -> Request {
    request.bytes.extend(sync());
    request.shape.push('Z');
    request
}

/// All in one string of a simple query.
pub fn one_string(statements: &[Statement]) -> Request {
    let texts: Vec<String> = statements.iter().map(Statement::text).collect();
    let shapes = statements
        .iter()
        .map(|one| if one.rows { "TC" } else { "C" });
    Request {
        bytes: query(texts.join("; ")),
        shape: shapes.collect::<String>() + "Z",
    }
}

/// All ahead of one Sync.
pub fn one_sync(statements: &[Statement]) -> Request {
    let mut request = Request::default();
    for statement in statements {
        let next = statement.messages(false);
        request.bytes.extend(next.bytes);
        request.shape += &next.shape;
    }
    finish(request)
}

/// Rows and tag of a statement that was completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub rows: Vec<Vec<Option<String>>>,
    pub tag: String,
}

/// What came back up to ReadyForQuery, or up to where the connection ended.
#[derive(Debug, Default)]
pub struct Reply {
    pub done: Vec<Done>,
    pub error: Option<Frame>,
    /// Of ReadyForQuery.
    pub status: u8,
    /// Types of all messages but DataRow, notices and settings.
    pub shape: String,
    /// How the connection ended.
    pub end: Option<io::Error>,
}

impl Reply {
    pub fn read(client: &mut Client) -> Self {
        let mut reply = Self::default();
        let mut rows = Vec::new();
        loop {
            let frame = match client.frame() {
                Ok(frame) => frame,
                Err(error) => {
                    reply.end = Some(error);
                    return reply;
                }
            };
            match frame.tag {
                // Notices may come, that of waiting for a connection for one.
                b'S' | b'N' => continue,
                b'D' => {
                    rows.push(texts(&frame));
                    continue;
                }
                b'C' => reply.done.push(Done {
                    rows: std::mem::take(&mut rows),
                    tag: frame.strings().remove(0),
                }),
                b'Z' => reply.status = frame.body[0],
                _ => {}
            }
            reply.shape.push(char::from(frame.tag));
            match frame.tag {
                b'E' if reply.error.is_none() => reply.error = Some(frame),
                b'Z' => return reply,
                _ => {}
            }
        }
    }

    /// SQLSTATE of the error.
    pub fn sqlstate(&self) -> Option<String> {
        self.error.as_ref().map(Frame::sqlstate)
    }

    /// Whether exactly the messages of a good answer came, or some of them and then an error, and of
    /// every answer as many rows as its tag says.
    pub fn fits(&self, shape: &str) -> bool {
        let count = |done: &Done| {
            let number = done.tag.rsplit(' ').next()?;
            number.parse::<usize>().ok()
        };
        let rows = |done: &Done| done.rows.is_empty() || count(done) == Some(done.rows.len());
        let good = match self.shape.strip_suffix("EZ") {
            Some(begin) => shape.starts_with(begin),
            None => self.shape == shape,
        };
        good && self.done.iter().all(rows)
    }
}

fn texts(row: &Frame) -> Vec<Option<String>> {
    let values = row.values().into_iter();
    values
        .map(|value| value.map(|bytes| String::from_utf8(bytes).expect("text")))
        .collect()
}
