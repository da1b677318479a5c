//! Backend messages the proxy itself sends to clients.

use bytes::BytesMut;
use pgwire::messages::Message;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use pgwire::messages::startup::{
    BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};

use super::backend::TransactionStatus;
use super::frontend::put;
use super::sqlstate::SqlState;

/// Severity of an error the proxy sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed, the session goes on.
    Error,
    /// The session ends.
    Fatal,
}

/// An error in the words of a client: SQLSTATE, a sentence, what is behind it, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientError {
    /// Whether the session ends with it.
    pub severity: Severity,
    /// SQLSTATE.
    pub code: SqlState,
    /// Primary message, one sentence in lower case as PostgreSQL's.
    pub message: String,
    /// DETAIL, when there is more to say.
    pub detail: Option<String>,
    /// HINT: what to do about it.
    pub hint: Option<String>,
}

impl ClientError {
    /// An error after which the session goes on.
    #[must_use]
    pub fn error(code: SqlState, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// An error that ends the session.
    #[must_use]
    pub fn fatal(code: SqlState, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Fatal,
            ..Self::error(code, message)
        }
    }

    /// Adds a DETAIL.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a HINT.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Appends the ErrorResponse.
    pub fn put(&self, out: &mut Vec<u8>) {
        let severity = match self.severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        put_message(out, &ErrorResponse::new(self.fields(severity)));
    }

    fn fields(&self, severity: &str) -> Vec<(u8, String)> {
        let mut fields = vec![
            (b'S', clean(severity)),
            (b'V', clean(severity)),
            (b'C', clean(self.code)),
            (b'M', clean(&self.message)),
        ];
        fields.extend(self.detail.iter().map(|detail| (b'D', clean(detail))));
        fields.extend(self.hint.iter().map(|hint| (b'H', clean(hint))));
        fields
    }
}

/// A NUL inside a field would end the message early.
fn clean(text: &str) -> String {
    text.replace('\0', "")
}

fn put_message(out: &mut Vec<u8>, message: &impl Message) {
    let mut bytes = BytesMut::new();
    // Encoding into memory has no failing path; an empty reply would hang the client, so say so.
    if message.encode(&mut bytes).is_err() {
        put(
            out,
            b'E',
            &[b"SFATAL\0VFATAL\0CXX000\0Mreply could not be encoded\0\0"],
        );
        return;
    }
    out.extend_from_slice(&bytes);
}

/// Appends a NoticeResponse with severity NOTICE.
pub fn put_notice(out: &mut Vec<u8>, code: SqlState, message: &str) {
    let fields = vec![
        (b'S', "NOTICE".to_owned()),
        (b'V', "NOTICE".to_owned()),
        (b'C', code.to_owned()),
        (b'M', clean(message)),
    ];
    put_message(out, &NoticeResponse::new(fields));
}

/// Appends a NoticeResponse of any severity, with a hint perhaps.
pub fn put_notice_of(
    out: &mut Vec<u8>,
    severity: &str,
    code: SqlState,
    message: &str,
    hint: Option<&str>,
) {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', code.to_owned()),
        (b'M', clean(message)),
    ];
    fields.extend(hint.map(|hint| (b'H', clean(hint))));
    put_message(out, &NoticeResponse::new(fields));
}

/// Appends a ParameterStatus.
pub fn put_parameter(out: &mut Vec<u8>, name: &str, value: &str) {
    put_message(
        out,
        &ParameterStatus::new(name.to_owned(), value.to_owned()),
    );
}

/// Appends a BackendKeyData with a secret of 4 (protocol 3.0) to 256 bytes (3.2).
pub fn put_key(out: &mut Vec<u8>, pid: u32, key: &[u8]) {
    let secret = SecretKey::Bytes(bytes::Bytes::copy_from_slice(key));
    put_message(out, &BackendKeyData::new(pid.cast_signed(), secret));
}

/// Appends a NegotiateProtocolVersion: newest minor version we speak and the options we ignore.
pub fn put_negotiation(out: &mut Vec<u8>, minor: u16, ignored: Vec<String>) {
    // The message carries the whole version word since PostgreSQL 9.3; see the manual's note.
    let version = (3 << 16) | i32::from(minor);
    put_message(out, &NegotiateProtocolVersion::new(version, ignored));
}

/// Appends AuthenticationOk.
pub fn put_authentication_ok(out: &mut Vec<u8>) {
    put(out, b'R', &[&[0, 0, 0, 0]]);
}

/// OID of type text.
pub const TEXT: u32 = 25;

/// Appends a RowDescription of columns that are of no table, in text format: names and type OIDs.
pub fn put_row_description<'a>(
    out: &mut Vec<u8>,
    columns: impl ExactSizeIterator<Item = (&'a str, u32)>,
) {
    let mut body = count(columns.len()).to_vec();
    for (name, oid) in columns {
        body.extend_from_slice(name.as_bytes());
        // No table, no column of it; any length, no modifier, text format.
        body.extend_from_slice(b"\0\0\0\0\0\0\0");
        body.extend_from_slice(&oid.to_be_bytes());
        body.extend_from_slice(b"\xff\xff\xff\xff\xff\xff\0\0");
    }
    put(out, b'T', &[&body]);
}

/// Appends a DataRow of values in text format; `None` is NULL.
pub fn put_data_row<'a>(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = Option<&'a str>>) {
    let mut body = count(values.len()).to_vec();
    for value in values {
        match value {
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
            Some(value) => {
                // Values are settings and names.
                let length = u32::try_from(value.len()).unwrap_or(0);
                body.extend_from_slice(&length.to_be_bytes());
                body.extend_from_slice(value.as_bytes());
            }
        }
    }
    put(out, b'D', &[&body]);
}

fn count(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// Appends a CommandComplete.
pub fn put_command_complete(out: &mut Vec<u8>, tag: &str) {
    put(out, b'C', &[tag.as_bytes(), b"\0"]);
}

/// Appends a ReadyForQuery.
pub fn put_ready(out: &mut Vec<u8>, status: TransactionStatus) {
    put(out, b'Z', &[&[status.to_byte()]]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::backend::error_fields;
    use crate::wire::sqlstate;

    #[test]
    fn an_error_is_one_frame_with_its_fields() {
        let mut out = Vec::new();
        ClientError::fatal(sqlstate::ADMIN_SHUTDOWN, "going\0down")
            .hint("reconnect")
            .put(&mut out);
        assert_eq!(out[0], b'E');
        let length = u32::from_be_bytes([out[1], out[2], out[3], out[4]]) as usize;
        assert_eq!(length + 1, out.len());
        let fields = error_fields(&out[5..]);
        assert_eq!(fields.message, b"goingdown");
        assert_eq!(fields.hint, b"reconnect");
        assert!(fields.is_fatal());
    }

    #[test]
    fn keys_of_both_protocol_versions() {
        let mut out = Vec::new();
        put_key(&mut out, 0xdead_beef, &[7; 4]);
        assert_eq!(out, b"K\0\0\0\x0c\xde\xad\xbe\xef\x07\x07\x07\x07");
        out.clear();
        put_key(&mut out, 1, &[7; 32]);
        assert_eq!(out.len(), 1 + 4 + 4 + 32);
    }
}
