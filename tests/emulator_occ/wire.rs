//! An emulator, and sessions of it as frames.

use std::io::{Read, Write};
use std::time::SystemTime;

use dsql_proxy::emulator::Emulator;
use dsql_proxy::wire::backend::error_fields;
use dsql_proxy::wire::frontend::{put, put_parse, put_query, put_startup};

use super::emulated::{self, Tls, sdk_token};
use super::model::Seen;

pub struct Fixture {
    emulator: Emulator,
    token: String,
    _dir: tempfile::TempDir,
}

pub fn start() -> Fixture {
    let (emulator, dir) = emulated::start();
    let token = sdk_token(emulator.account(), "admin", 86400, SystemTime::now(), None);
    Fixture {
        emulator,
        token,
        _dir: dir,
    }
}

impl Fixture {
    pub fn session(&self) -> Session {
        let mut session = Session {
            stream: emulated::dial(&self.emulator),
            status: b'I',
        };
        let mut out = Vec::new();
        put_startup(&mut out, &[("user", "admin"), ("database", "postgres")]);
        put(&mut out, b'p', &[self.token.as_bytes(), b"\0"]);
        session.stream.write_all(&out).unwrap();
        assert!(matches!(session.answer(), Answer { error: None, .. }));
        session
    }
}

/// What came back for one string or pipeline.
#[derive(Debug, Default)]
pub struct Answer {
    pub tags: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
    pub error: Option<(String, String)>,
}

pub struct Session {
    stream: Tls,
    /// As the last ReadyForQuery says.
    pub status: u8,
}

impl Session {
    fn answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let mut body = vec![0; length - 4];
            self.stream.read_exact(&mut body).unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            match head[0] {
                b'Z' => {
                    self.status = body[0];
                    return answer;
                }
                b'C' => answer.tags.push(text(&body[..body.len() - 1])),
                b'D' => answer.rows.push(row(&body)),
                b'E' => {
                    assert!(answer.error.is_none(), "two errors");
                    let fields = error_fields(&body);
                    let error = (text(fields.code), text(fields.message));
                    answer.error = Some(error);
                    let shown = String::from_utf8_lossy(&body);
                    assert!(!shown.contains("pg_dsql"), "{shown}");
                }
                b'N' => {
                    let shown = String::from_utf8_lossy(&body);
                    assert!(
                        !shown.contains("DQ001") && !shown.contains("pg_dsql"),
                        "{shown}"
                    );
                }
                _ => {}
            }
        }
    }

    /// One Query message.
    pub fn query(&mut self, sql: &str) -> Answer {
        let mut out = Vec::new();
        put_query(&mut out, sql.as_bytes());
        self.stream.write_all(&out).unwrap();
        self.answer()
    }

    /// Parse, Bind, Execute, Sync with the unnamed statement and parameters as text.
    pub fn execute(&mut self, sql: &str, values: &[&str]) -> Answer {
        let mut out = Vec::new();
        put_parse(&mut out, b"", sql.as_bytes(), &[0, 0]);
        let mut tail = vec![0, 0];
        tail.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            tail.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
            tail.extend_from_slice(value.as_bytes());
        }
        tail.extend_from_slice(&[0, 0]);
        put(&mut out, b'B', &[b"\0\0", &tail]);
        put(&mut out, b'D', &[b"P\0"]);
        put(&mut out, b'E', &[b"\0", &[0; 4]]);
        put(&mut out, b'S', &[]);
        self.stream.write_all(&out).unwrap();
        self.answer()
    }

    /// In short.
    pub fn play(&mut self, sql: &str) -> Seen {
        seen(self.query(sql))
    }

    /// As [`Session::play`], in the extended protocol.
    pub fn play_extended(&mut self, sql: &str) -> Seen {
        seen(self.execute(sql, &[]))
    }

    /// Runs statements that must all succeed.
    pub fn run(&mut self, statements: &[&str]) {
        for sql in statements {
            let answer = self.query(sql);
            assert_eq!(answer.error, None, "{sql}");
        }
    }

    /// The tag of one statement that must succeed, or SQLSTATE and message of its error.
    pub fn tag(&mut self, sql: &str) -> String {
        let answer = self.query(sql);
        match answer.error {
            Some((code, message)) => format!("{code} {message}"),
            None => answer.tags.join(","),
        }
    }

    /// The rows of a query, values joined with `|`.
    pub fn rows(&mut self, sql: &str) -> Vec<String> {
        let answer = self.query(sql);
        assert_eq!(answer.error, None, "{sql}");
        let line = |row: Vec<Option<String>>| {
            let values: Vec<String> = row
                .into_iter()
                .map(|v| v.unwrap_or("NULL".to_owned()))
                .collect();
            values.join("|")
        };
        answer.rows.into_iter().map(line).collect()
    }
}

fn seen(answer: Answer) -> Seen {
    match answer.error {
        Some((code, message)) => {
            if code == "40001" {
                assert_eq!(message, "change conflicts with another transaction (OC000)");
            }
            Seen::Error(code)
        }
        None => Seen::Done(answer.tags.join(","), answer.rows),
    }
}

fn row(body: &[u8]) -> Vec<Option<String>> {
    let mut at = 2;
    let columns = u16::from_be_bytes([body[0], body[1]]);
    let mut value = || {
        let length = i32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        at += 4;
        let length = usize::try_from(length).ok()?;
        at += length;
        Some(String::from_utf8(body[at - length..at].to_vec()).unwrap())
    };
    (0..columns).map(|_| value()).collect()
}
