//! Prepared statements and portals as the client knows them, and answers that need no PostgreSQL.

use bytes::Bytes;

use super::backend::Message;
use crate::emulator::rules::{Action, Answer, Column, Plan};
use crate::sql::statement::Statement;
use crate::wire::frontend::{LayoutError, put};
use crate::wire::reply::{ClientError, put_command_complete};
use crate::wire::sqlstate::PROTOCOL_VIOLATION;

/// A prepared statement.
#[derive(Debug)]
pub struct Prepared {
    /// As it was parsed; none when only PostgreSQL can say what is wrong with it.
    pub statement: Option<Statement>,
    /// Its text as the client sent it.
    pub text: String,
    /// Types of its parameters as Parse gave them: their number and oids.
    pub types: Bytes,
    /// What was judged at Parse.
    pub action: Action,
    /// PostgreSQL may run it in a transaction of its own.
    pub direct: bool,
    /// Inside a transaction block at that time.
    pub in_block: bool,
}

/// A portal.
#[derive(Debug, Clone)]
pub struct Portal {
    /// Its statement.
    pub prepared: std::sync::Arc<Prepared>,
    /// The Bind message it came from.
    pub bind: Bytes,
    /// Rows of an [`Answer`] that were sent already.
    pub sent: usize,
}

/// What a Bind message says behind its two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound<'a> {
    /// Values; `None` is NULL.
    pub values: Vec<Option<&'a [u8]>>,
    /// Formats of the result: none, one for all, or one for each column.
    pub formats: Vec<u16>,
}

/// Reads what follows the names in a Bind message.
///
/// # Errors
/// [`LayoutError`].
pub fn bound(body: &[u8]) -> Result<Bound<'_>, LayoutError> {
    let (_, rest) = words(body)?;
    let (count, mut rest) = word(rest)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or(LayoutError)?;
        match i32::from_be_bytes(*length) {
            -1 => {
                values.push(None);
                rest = behind;
            }
            length => {
                let length = usize::try_from(length).map_err(|_| LayoutError)?;
                let (value, behind) = behind.split_at_checked(length).ok_or(LayoutError)?;
                values.push(Some(value));
                rest = behind;
            }
        }
    }
    let (formats, rest) = words(rest)?;
    if rest.is_empty() {
        Ok(Bound { values, formats })
    } else {
        Err(LayoutError)
    }
}

fn word(bytes: &[u8]) -> Result<(u16, &[u8]), LayoutError> {
    let (word, rest) = bytes.split_first_chunk::<2>().ok_or(LayoutError)?;
    Ok((u16::from_be_bytes(*word), rest))
}

fn words(bytes: &[u8]) -> Result<(Vec<u16>, &[u8]), LayoutError> {
    let (count, mut rest) = word(bytes)?;
    let mut out = Vec::new();
    for _ in 0..count {
        let (value, behind) = word(rest)?;
        out.push(value);
        rest = behind;
    }
    Ok((out, rest))
}

/// How an answer of PostgreSQL is changed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Rows are dropped: the result is the id of a job.
    pub job: bool,
    /// The command tag.
    pub tag: Option<&'static str>,
    /// Rows need not wait for what is decided behind them.
    pub flows: bool,
}

impl Shape {
    /// What a plan makes of the answer.
    pub fn of(plan: &Plan) -> Self {
        Self {
            job: plan.job.is_some(),
            tag: plan.tag,
            flows: false,
        }
    }

    /// Nothing of it is for the client.
    pub fn quiet() -> Self {
        Self {
            job: true,
            ..Self::default()
        }
    }

    /// A CommandComplete with the tag it is to have.
    pub fn end(self, message: Message) -> Message {
        let Some(tag) = self.tag.filter(|_| message.tag == b'C') else {
            return message;
        };
        let mut frame = Vec::new();
        put_command_complete(&mut frame, tag);
        Message {
            tag: message.tag,
            frame: frame.into(),
        }
    }
}

/// OID of type text.
pub const TEXT: u32 = 25;
/// OID of type boolean.
pub const BOOLEAN: u32 = 16;

/// Appends a RowDescription; `formats` as in [`Bound::formats`].
pub fn put_columns(out: &mut Vec<u8>, columns: &[Column], formats: &[u16]) {
    let mut body = u16::try_from(columns.len())
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    for (at, column) in columns.iter().enumerate() {
        body.extend(column.name.bytes().filter(|byte| *byte != 0));
        // No table, no column number.
        body.extend_from_slice(&[0; 7]);
        body.extend_from_slice(&column.type_oid.to_be_bytes());
        body.extend_from_slice(&length_of(column.type_oid).to_be_bytes());
        body.extend_from_slice(&(-1i32).to_be_bytes());
        body.extend_from_slice(&format_of(formats, at).to_be_bytes());
    }
    put(out, b'T', &[&body]);
}

/// The column of a statement that starts a job.
pub fn job_columns() -> Vec<Column> {
    vec![Column {
        name: "job_id".to_owned(),
        type_oid: TEXT,
    }]
}

/// The result of `CALL sys.wait_for_job`.
pub fn waited(succeeded: bool) -> Answer {
    Answer {
        columns: vec![Column {
            name: "succeeded".to_owned(),
            type_oid: BOOLEAN,
        }],
        rows: vec![vec![Some(if succeeded { "t" } else { "f" }.to_owned())]],
        tag: "CALL".to_owned(),
    }
}

fn length_of(oid: u32) -> i16 {
    match oid {
        16 => 1,
        21 => 2,
        23 | 26 => 4,
        20 => 8,
        2950 => 16,
        _ => -1,
    }
}

fn format_of(formats: &[u16], at: usize) -> u16 {
    match formats {
        [] => 0,
        [one] => *one,
        many => many.get(at).copied().unwrap_or(0),
    }
}

/// Appends one DataRow.
pub fn put_row(out: &mut Vec<u8>, columns: &[Column], row: &[Option<String>], formats: &[u16]) {
    let mut body = u16::try_from(row.len()).unwrap_or(0).to_be_bytes().to_vec();
    for (at, value) in row.iter().enumerate() {
        let Some(value) = value else {
            body.extend_from_slice(&(-1i32).to_be_bytes());
            continue;
        };
        let oid = columns.get(at).map_or(TEXT, |column| column.type_oid);
        let bytes = match format_of(formats, at) {
            0 => value.clone().into_bytes(),
            _ => binary(oid, value),
        };
        body.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
        body.extend_from_slice(&bytes);
    }
    put(out, b'D', &[&body]);
}

fn binary(oid: u32, value: &str) -> Vec<u8> {
    match oid {
        16 => vec![u8::from(value == "t")],
        20 => value.parse().unwrap_or(0i64).to_be_bytes().to_vec(),
        21 => value.parse().unwrap_or(0i16).to_be_bytes().to_vec(),
        23 => value.parse().unwrap_or(0i32).to_be_bytes().to_vec(),
        26 => value.parse().unwrap_or(0u32).to_be_bytes().to_vec(),
        _ => value.as_bytes().to_vec(),
    }
}

/// Appends rows of an answer from `sent` on, `limit` at most (0: all), and the end: CommandComplete
/// or PortalSuspended. Gives how many rows were sent in all.
pub fn put_rows(
    out: &mut Vec<u8>,
    answer: &Answer,
    formats: &[u16],
    sent: usize,
    limit: u32,
) -> usize {
    let left = answer.rows.len().saturating_sub(sent);
    let count = match usize::try_from(limit) {
        Ok(limit) if limit > 0 => left.min(limit),
        _ => left,
    };
    for row in answer.rows.iter().skip(sent).take(count) {
        put_row(out, &answer.columns, row, formats);
    }
    // PostgreSQL suspends whenever the limit was reached, also when nothing is left.
    if limit > 0 && u32::try_from(count) == Ok(limit) {
        put(out, b's', &[]);
    } else {
        put_command_complete(out, &answer.tag);
    }
    sent + count
}

/// Checks the number of parameters as PostgreSQL does.
///
/// # Errors
/// 08P01.
pub fn check_parameters(name: &[u8], given: usize, needed: usize) -> Result<(), ClientError> {
    if given == needed {
        return Ok(());
    }
    let name = String::from_utf8_lossy(name);
    Err(ClientError::error(
        PROTOCOL_VIOLATION,
        format!(
            "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {needed}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_messages_are_read_whole_or_refused() {
        let body = b"\0\x01\0\0\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\x01";
        let expected = Bound {
            values: vec![Some(&b"x"[..]), None],
            formats: vec![1],
        };
        assert_eq!(bound(body), Ok(expected));
        for end in 0..body.len() {
            assert_eq!(bound(&body[..end]), Err(LayoutError), "{end}");
        }
        assert_eq!(bound(b"\0\0\0\0\0\0x"), Err(LayoutError));
        assert_eq!(bound(b"\0\0\0\x01\xff\xff\xff\xfe\0\0"), Err(LayoutError));
    }

    #[test]
    fn answers_are_suspended_at_their_limit() {
        let answer = Answer {
            columns: job_columns(),
            rows: vec![vec![Some("a".to_owned())], vec![None]],
            tag: "SHOW".to_owned(),
        };
        let tags = |limit, sent| {
            let mut out = Vec::new();
            let sent = put_rows(&mut out, &answer, &[], sent, limit);
            let mut tags = String::new();
            let mut rest = &out[..];
            while let [tag, a, b, c, d, ..] = *rest {
                tags.push(char::from(tag));
                rest = &rest[1 + u32::from_be_bytes([a, b, c, d]) as usize..];
            }
            (tags, sent)
        };
        assert_eq!(tags(0, 0), ("DDC".to_owned(), 2));
        assert_eq!(tags(1, 0), ("Ds".to_owned(), 1));
        assert_eq!(tags(1, 1), ("Ds".to_owned(), 2));
        assert_eq!(tags(1, 2), ("C".to_owned(), 2));
        assert_eq!(tags(3, 0), ("DDC".to_owned(), 2));
    }

    #[test]
    fn values_have_their_binary_form() {
        assert_eq!(binary(16, "t"), [1]);
        assert_eq!(binary(20, "-1"), [255; 8]);
        assert_eq!(binary(23, "258"), [0, 0, 1, 2]);
        assert_eq!(binary(25, "ab"), b"ab");
    }
}
