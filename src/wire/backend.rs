//! What the proxy looks at inside backend messages. Slices are message bodies without header.

/// Transaction status byte of ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`: not in a transaction block.
    Idle,
    /// `T`: in a transaction block.
    Open,
    /// `E`: in a failed transaction block.
    Failed,
}

impl TransactionStatus {
    /// Reads the byte of ReadyForQuery; anything but `I`, `T`, `E` is `None`.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::Open),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    /// The byte of ReadyForQuery.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Open => b'T',
            Self::Failed => b'E',
        }
    }
}

/// Fields of an ErrorResponse or NoticeResponse, borrowed from its body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    /// `V` (or `S` before 9.6): severity, never translated.
    pub severity: &'a [u8],
    /// `C`: SQLSTATE.
    pub code: &'a [u8],
    /// `M`: primary message.
    pub message: &'a [u8],
    /// `D`: detail.
    pub detail: &'a [u8],
    /// `H`: hint.
    pub hint: &'a [u8],
}

impl ErrorFields<'_> {
    /// True when the server closes the connection behind this message.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity, b"FATAL" | b"PANIC")
    }
}

/// Reads as many fields of an ErrorResponse or NoticeResponse as `body` holds.
///
/// A cut-off body (only the prefix of a very long error was kept) gives the fields that are whole.
#[must_use]
pub fn error_fields(mut body: &[u8]) -> ErrorFields<'_> {
    let mut fields = ErrorFields::default();
    while let Some((&kind, rest)) = body.split_first() {
        if kind == 0 {
            break;
        }
        let Some(end) = memchr::memchr(0, rest) else {
            break;
        };
        let value = &rest[..end];
        match kind {
            b'S' if fields.severity.is_empty() => fields.severity = value,
            b'V' => fields.severity = value,
            b'C' => fields.code = value,
            b'M' => fields.message = value,
            b'D' => fields.detail = value,
            b'H' => fields.hint = value,
            _ => {}
        }
        body = &rest[end + 1..];
    }
    fields
}

/// Splits a body of exactly two C strings (ParameterStatus).
#[must_use]
pub fn two_strings(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = memchr::memchr(0, body)?;
    let second = memchr::memchr(0, &body[first + 1..])? + first + 1;
    (second + 1 == body.len()).then(|| (&body[..first], &body[first + 1..second]))
}

/// The single C string of a CommandComplete.
#[must_use]
pub fn command_tag(body: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(0, body)?;
    (end + 1 == body.len()).then(|| &body[..end])
}

/// Values of a DataRow in text format.
#[must_use]
pub fn row_values(body: &[u8]) -> Vec<Option<String>> {
    let mut values = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = i32::from_be_bytes(*length);
        let Ok(length) = usize::try_from(length) else {
            values.push(None);
            rest = behind;
            continue;
        };
        let Some((value, behind)) = behind.split_at_checked(length) else {
            break;
        };
        values.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = behind;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        let row = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(
            row_values(row),
            [Some("ab".to_owned()), None, Some(String::new())]
        );
        assert_eq!(row_values(b"\0\x01\0\0\0\x09ab"), []);
        assert_eq!(row_values(b""), []);
    }

    #[test]
    fn error_fields_are_found_and_short_bodies_survive() {
        let body = b"SFEHLER\0VERROR\0C40001\0Mno\0Hretry\0\0";
        let fields = error_fields(body);
        assert_eq!(fields.severity, b"ERROR");
        assert_eq!(fields.code, b"40001");
        assert_eq!(fields.message, b"no");
        assert_eq!(fields.hint, b"retry");
        for end in 0..body.len() {
            let _ = error_fields(&body[..end]);
        }
    }

    #[test]
    fn strings_must_fill_the_body() {
        assert_eq!(two_strings(b"a\0b\0"), Some((&b"a"[..], &b"b"[..])));
        assert_eq!(two_strings(b"a\0b\0c"), None);
        assert_eq!(two_strings(b"a\0b"), None);
        assert_eq!(command_tag(b"SELECT 1\0"), Some(&b"SELECT 1"[..]));
        assert_eq!(command_tag(b"SELECT 1\0\0"), None);
        assert_eq!(command_tag(b""), None);
    }
}
