//! Frame headers: one type byte and a length that counts itself.

use thiserror::Error;

/// Bytes of a frame header: type byte plus 32-bit length.
pub const HEADER: usize = 5;

/// The largest length PostgreSQL accepts in any message (`PQ_LARGE_MESSAGE_LIMIT`, 1 GiB - 1).
pub const LARGE_LIMIT: u32 = 0x3fff_ffff;
/// The largest length of messages that carry no statement, value or row (`PQ_SMALL_MESSAGE_LIMIT`).
pub const SMALL_LIMIT: u32 = 10_000;

/// A frame header as found at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Message type byte.
    pub tag: u8,
    /// Length of the whole frame in bytes, type byte included.
    pub total: usize,
}

/// A frame that cannot be one of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The type byte is unknown in this direction.
    #[error("invalid frontend message type {0}")]
    UnknownType(u8),
    /// The length is below four or above the limit of this type.
    #[error("invalid message length {length} for message type {}", *tag as char)]
    Length {
        /// Message type byte.
        tag: u8,
        /// Declared length, without the type byte.
        length: u32,
    },
}

/// Reads the header of a frontend frame; `None` while fewer than five bytes are there.
///
/// # Errors
/// Unknown types and impossible lengths, as PostgreSQL refuses them (FATAL 08P01).
pub fn frontend_header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(header) = read(bytes) else {
        return Ok(None);
    };
    let limit = match header.0 {
        b'Q' | b'P' | b'B' | b'F' | b'd' => LARGE_LIMIT,
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => SMALL_LIMIT,
        other => return Err(FrameError::UnknownType(other)),
    };
    checked(header, limit).map(Some)
}

/// Reads the header of a backend frame; `None` while fewer than five bytes are there.
///
/// # Errors
/// Unknown types and impossible lengths: what sent them is not a PostgreSQL server.
pub fn backend_header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(header) = read(bytes) else {
        return Ok(None);
    };
    let limit = match header.0 {
        b'D' | b'd' | b'E' | b'N' | b'T' | b'V' | b'A' | b'R' | b't' => 0x7fff_fffb,
        b'S' | b'C' | b'G' | b'H' | b'W' | b'v' => 1 << 20,
        b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'c' => 4,
        b'Z' => 5,
        b'K' => 4 + 4 + 256,
        other => return Err(FrameError::UnknownType(other)),
    };
    checked(header, limit).map(Some)
}

fn read(bytes: &[u8]) -> Option<(u8, u32)> {
    match bytes {
        [tag, a, b, c, d, ..] => Some((*tag, u32::from_be_bytes([*a, *b, *c, *d]))),
        _ => None,
    }
}

fn checked((tag, length): (u8, u32), limit: u32) -> Result<Header, FrameError> {
    if length < 4 || length > limit {
        return Err(FrameError::Length { tag, length });
    }
    Ok(Header {
        tag,
        total: length as usize + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_or_refused() {
        type Case = (&'static [u8], Result<Option<Header>, FrameError>);
        let cases: &[Case] = &[
            (b"", Ok(None)),
            (b"Q\0\0\0", Ok(None)),
            (
                b"Q\0\0\0\x04",
                Ok(Some(Header {
                    tag: b'Q',
                    total: 5,
                })),
            ),
            (
                b"Q\0\0\0\x03",
                Err(FrameError::Length {
                    tag: b'Q',
                    length: 3,
                }),
            ),
            (
                b"Q\xff\xff\xff\xff",
                Err(FrameError::Length {
                    tag: b'Q',
                    length: u32::MAX,
                }),
            ),
            (
                b"Q\x7f\xff\xff\xff",
                Err(FrameError::Length {
                    tag: b'Q',
                    length: 0x7fff_ffff,
                }),
            ),
            (
                b"S\0\0\x27\x11",
                Err(FrameError::Length {
                    tag: b'S',
                    length: 10_001,
                }),
            ),
            (b"\0\0\0\0\x04", Err(FrameError::UnknownType(0))),
        ];
        for (bytes, expected) in cases {
            assert_eq!(&frontend_header(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn backend_fixed_size_messages_have_their_size() {
        assert!(backend_header(b"Z\0\0\0\x05").is_ok());
        assert!(backend_header(b"Z\0\0\0\x06").is_err());
        assert!(backend_header(b"1\0\0\0\x05").is_err());
        assert!(backend_header(b"y\0\0\0\x05").is_err());
    }
}
