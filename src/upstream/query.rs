//! Questions that the proxy itself asks a server, on a connection of their own.

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::net::Stream;
use crate::wire::backend::error_fields;
use crate::wire::frame::{self, HEADER};
use crate::wire::frontend;

/// Bytes of one answer at most.
const ANSWER: usize = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The connection broke.
    #[error("the connection was lost: {0}")]
    Lost(#[from] std::io::Error),
    /// The server refused the query.
    #[error("{code}: {message}")]
    Refused {
        /// SQLSTATE.
        code: String,
        /// The server's sentence.
        message: String,
    },
    /// What came is no answer to a query, or too long.
    #[error("the server broke the protocol")]
    Protocol,
}

/// Runs one statement in the simple protocol on a connection that owes nothing: its rows, values in
/// text format.
///
/// # Errors
/// See [`QueryError`]; the connection is of no use then.
pub async fn query(stream: &mut Stream, sql: &str) -> Result<Vec<Vec<Option<String>>>, QueryError> {
    let mut request = Vec::new();
    frontend::put_query(&mut request, sql.as_bytes());
    stream.write_all(&request).await?;
    stream.flush().await?;
    let mut rows = Vec::new();
    let mut refused = None;
    let mut left = ANSWER;
    loop {
        let (tag, body) = read_frame(stream, &mut left).await?;
        match tag {
            b'D' => rows.push(values(&body).ok_or(QueryError::Protocol)?),
            b'E' => {
                let fields = error_fields(&body);
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                refused = Some(QueryError::Refused {
                    code: text(fields.code),
                    message: text(fields.message),
                });
                if fields.is_fatal() {
                    break;
                }
            }
            b'Z' => break,
            b'T' | b'C' | b'I' | b'N' | b'S' | b'A' => {}
            _ => return Err(QueryError::Protocol),
        }
    }
    refused.map_or(Ok(rows), Err)
}

async fn read_frame(stream: &mut Stream, left: &mut usize) -> Result<(u8, Vec<u8>), QueryError> {
    let mut head = [0; HEADER];
    stream.read_exact(&mut head).await?;
    let header = frame::backend_header(&head)
        .ok()
        .flatten()
        .ok_or(QueryError::Protocol)?;
    let length = header.total - HEADER;
    *left = left.checked_sub(header.total).ok_or(QueryError::Protocol)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((header.tag, body))
}

/// The values of a DataRow.
fn values(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_at_checked(2)?;
    let count = u16::from_be_bytes(count.try_into().ok()?);
    let mut values = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (length, behind) = rest.split_at_checked(4)?;
        let length = i32::from_be_bytes(length.try_into().ok()?);
        rest = behind;
        let Ok(length) = usize::try_from(length) else {
            values.push(None);
            continue;
        };
        let (value, behind) = rest.split_at_checked(length)?;
        values.push(Some(std::str::from_utf8(value).ok()?.to_owned()));
        rest = behind;
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_whole_or_not_at_all() {
        let row = b"\0\x02\0\0\0\x01a\xff\xff\xff\xff";
        assert_eq!(values(row), Some(vec![Some("a".into()), None]));
        for length in 0..row.len() {
            assert_eq!(values(&row[..length]), None, "{length}");
        }
        assert_eq!(values(b"\0\x01\0\0\0\x01\xff"), None);
        assert_eq!(values(b"\0\0x"), None);
    }
}
