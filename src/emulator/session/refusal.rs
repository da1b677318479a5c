//! Errors on their way to the client, and what ends a conversation.

use std::io;

use crate::emulator::occ::CONFLICT;
use crate::wire::backend::error_fields;
use crate::wire::frame::HEADER;
use crate::wire::frontend::put;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::{INTERNAL_ERROR, PROTOCOL_VIOLATION};

/// An ErrorResponse, ready to be sent. The session goes on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Vec<u8>);

impl Refusal {
    /// An error with a SQLSTATE that is not known beforehand.
    pub fn new(code: &str, message: &str, detail: Option<&str>, hint: Option<&str>) -> Self {
        let mut body = Vec::new();
        let mut field = |kind: u8, value: &str| {
            body.push(kind);
            body.extend(value.bytes().filter(|byte| *byte != 0));
            body.push(0);
        };
        field(b'S', "ERROR");
        field(b'V', "ERROR");
        field(b'C', code);
        field(b'M', message);
        if let Some(detail) = detail {
            field(b'D', detail);
        }
        if let Some(hint) = hint {
            field(b'H', hint);
        }
        body.push(0);
        let mut frame = Vec::new();
        put(&mut frame, b'E', &[&body]);
        Self(frame)
    }

    /// PostgreSQL's own error, translated where DSQL has other words. `before` is the number of
    /// characters of the client's text in front of the statement that failed.
    pub fn of_postgres(frame: &[u8], before: usize) -> Self {
        let body = frame.get(HEADER..).unwrap_or_default();
        let fields = error_fields(body);
        if fields.code == b"53400" && fields.message.starts_with(b"temporary file size") {
            return ClientError::error("54000", TEMP_SPACE).into();
        }
        if fields.code == b"54000" && fields.message.starts_with(b"index row") {
            return ClientError::error("54000", KEY_SIZE).into();
        }
        let ours = memchr::memmem::find(body, b"pg_dsql").is_some();
        if before == 0 && !ours {
            return Self(frame.to_vec());
        }
        // What the emulator keeps in the schema pg_dsql is not the client's business.
        let Self(frame) = Self(shifted(body, before));
        let body = frame.get(HEADER..).unwrap_or_default();
        Self(rewritten(body, |kind, value| {
            (kind != b'W' || !ours).then(|| value.to_vec())
        }))
    }

    /// PostgreSQL's own error about a text that is not the client's: its position means nothing.
    pub fn of_rewritten(frame: &[u8]) -> Self {
        let Self(frame) = Self::of_postgres(frame, 0);
        let body = frame.get(HEADER..).unwrap_or_default();
        Self(rewritten(body, |kind, value| {
            (kind != b'P').then(|| value.to_vec())
        }))
    }

    /// Whether PostgreSQL would not have said so without locks, or about the newest state of rows
    /// that the snapshot does not see.
    pub fn is_of_locks(&self) -> bool {
        matches!(self.code(), b"55P03" | b"40P01")
            || (self.code() == b"40001" && !self.is_own_conflict())
    }

    fn is_own_conflict(&self) -> bool {
        let message = error_fields(self.0.get(HEADER..).unwrap_or_default()).message;
        memchr::memmem::find(message, b"(OC00").is_some()
    }

    /// In DSQL's words, when it is about locks: there are none.
    pub fn without_locks(self) -> Self {
        if self.is_of_locks() {
            return ClientError::error("40001", CONFLICT).into();
        }
        self
    }

    /// The whole frame.
    pub fn frame(&self) -> &[u8] {
        &self.0
    }

    /// Its SQLSTATE.
    pub fn code(&self) -> &[u8] {
        error_fields(self.0.get(HEADER..).unwrap_or_default()).code
    }
}

/// Observed on a cluster in October 2026 (facts, section 2).
const KEY_SIZE: &str = "key size too large";
/// Observed on a cluster in October 2026 (facts, section 2).
const TEMP_SPACE: &str = "query requires more than allowed temp space of 131072 KB to execute";

/// The body with its position moved behind `before` characters.
fn shifted(body: &[u8], before: usize) -> Vec<u8> {
    rewritten(body, |kind, value| {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match text.parse::<usize>() {
            Ok(position) if kind == b'P' => {
                Some(position.saturating_add(before).to_string().into_bytes())
            }
            _ => Some(value.to_vec()),
        }
    })
}

/// The frame with each field as `change` gives it, or without it.
fn rewritten(mut body: &[u8], change: impl Fn(u8, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 8);
    while let Some((&kind, rest)) = body.split_first() {
        let Some(end) = memchr::memchr(0, rest).filter(|_| kind != 0) else {
            break;
        };
        if let Some(value) = change(kind, &rest[..end]) {
            out.push(kind);
            out.extend_from_slice(&value);
            out.push(0);
        }
        body = &rest[end + 1..];
    }
    out.push(0);
    let mut frame = Vec::new();
    put(&mut frame, b'E', &[&out]);
    frame
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        let mut frame = Vec::new();
        error.put(&mut frame);
        Self(frame)
    }
}

/// Why a conversation is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The client said goodbye or went away.
    Left,
    /// The client is told a last time.
    Fatal(ClientError),
    /// The connection breaks off without a word.
    Cut,
}

impl Ended {
    /// The local PostgreSQL is gone or does not speak the protocol.
    pub fn server_lost(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "emulator: the connection to the local PostgreSQL was lost");
        Self::Fatal(
            ClientError::fatal(INTERNAL_ERROR, "server unavailable")
                .hint("The PostgreSQL behind the emulator has ended this connection; see the log."),
        )
    }

    /// The client does not speak the protocol.
    pub fn violation(message: impl Into<String>) -> Self {
        Self::Fatal(ClientError::fatal(PROTOCOL_VIOLATION, message))
    }
}

/// Why a statement did not go through.
#[derive(Debug)]
pub enum Stop {
    /// The client is told and the session goes on.
    Refused(Refusal),
    /// The session does not go on.
    Ended(Ended),
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// A client that cannot be written to or read from is gone.
pub fn client_gone(_: io::Error) -> Ended {
    Ended::Left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_move_and_other_fields_stay() {
        let mut frame = Vec::new();
        put(&mut frame, b'E', &[b"SERROR\0C42601\0Mbad\0P5\0\0"]);
        let moved = Refusal::of_postgres(&frame, 10);
        assert_eq!(&moved.frame()[HEADER..], b"SERROR\0C42601\0Mbad\0P15\0\0");
        assert_eq!(moved.code(), b"42601");
        let without = Refusal::of_rewritten(&frame);
        assert_eq!(&without.frame()[HEADER..], b"SERROR\0C42601\0Mbad\0\0");
        assert_eq!(Refusal::of_postgres(&frame, 0).frame(), frame);
        for end in 0..frame.len() {
            let _ = Refusal::of_postgres(&frame[..end], 3);
        }
    }

    #[test]
    fn temporary_space_has_other_words() {
        let mut frame = Vec::new();
        let body = b"SERROR\0C53400\0Mtemporary file size exceeds temp_file_limit (131072kB)\0\0";
        put(&mut frame, b'E', &[body]);
        let refusal = Refusal::of_postgres(&frame, 0);
        let fields = error_fields(&refusal.frame()[HEADER..]);
        assert_eq!(
            (fields.code, fields.message),
            (&b"54000"[..], TEMP_SPACE.as_bytes())
        );
    }

    #[test]
    fn nul_bytes_do_not_end_a_field() {
        let refusal = Refusal::new("0A000", "a\0b", Some("d"), None);
        assert_eq!(error_fields(&refusal.frame()[HEADER..]).message, b"ab");
        assert_eq!(error_fields(&refusal.frame()[HEADER..]).detail, b"d");
    }
}
