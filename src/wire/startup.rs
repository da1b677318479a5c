//! The untyped packets that open a connection.

use thiserror::Error;

/// Largest startup packet accepted, in bytes (PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_PACKET: usize = 10_000;

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// The first packet of a connection, without its length word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Startup {
    /// `SSLRequest`.
    Ssl,
    /// `GSSENCRequest`.
    Gss,
    /// `CancelRequest`: virtual process id and secret (4 bytes in 3.0, up to 256 in 3.2).
    Cancel {
        /// Process id from BackendKeyData.
        pid: u32,
        /// Secret from BackendKeyData.
        key: Vec<u8>,
    },
    /// `StartupMessage` of protocol 3.
    Start {
        /// Minor version asked for.
        minor: u16,
        /// Parameters in the order sent, `_pq_.` options included.
        parameters: Vec<(String, String)>,
    },
}

/// Why a startup packet was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StartupError {
    /// Length word below 8 or above [`MAX_PACKET`].
    #[error("invalid length of startup packet")]
    Length,
    /// Another major version.
    #[error("unsupported frontend protocol {0}.{1}: server supports 3.0 to 3.2")]
    Version(u16, u16),
    /// A string without its terminator, an odd number of strings, or bytes behind the end.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    /// A parameter that is not UTF-8.
    #[error("invalid byte sequence for encoding \"UTF8\" in startup packet")]
    Encoding,
}

/// Checks the length word of a startup packet and gives the bytes that follow it.
///
/// # Errors
/// [`StartupError::Length`].
pub fn body_length(word: [u8; 4]) -> Result<usize, StartupError> {
    let length = u32::from_be_bytes(word) as usize;
    if (8..=MAX_PACKET).contains(&length) {
        Ok(length - 4)
    } else {
        Err(StartupError::Length)
    }
}

/// Reads the body of a startup packet (everything behind the length word).
///
/// # Errors
/// Everything PostgreSQL refuses, plus parameters that are not UTF-8.
pub fn parse(body: &[u8]) -> Result<Startup, StartupError> {
    let (code, rest) = body.split_first_chunk::<4>().ok_or(StartupError::Length)?;
    match (u32::from_be_bytes(*code), rest) {
        (SSL, []) => Ok(Startup::Ssl),
        (GSS, []) => Ok(Startup::Gss),
        (SSL | GSS, _) => Err(StartupError::Layout),
        (CANCEL, rest) => parse_cancel(rest),
        (version, rest) => {
            let (major, minor) = ((version >> 16) as u16, version as u16);
            if major != 3 {
                return Err(StartupError::Version(major, minor));
            }
            Ok(Startup::Start {
                minor,
                parameters: parse_parameters(rest)?,
            })
        }
    }
}

fn parse_cancel(rest: &[u8]) -> Result<Startup, StartupError> {
    match rest.split_first_chunk::<4>() {
        Some((pid, key)) if (4..=256).contains(&key.len()) => Ok(Startup::Cancel {
            pid: u32::from_be_bytes(*pid),
            key: key.to_vec(),
        }),
        _ => Err(StartupError::Length),
    }
}

fn parse_parameters(mut rest: &[u8]) -> Result<Vec<(String, String)>, StartupError> {
    let mut parameters = Vec::new();
    loop {
        let name = take_string(&mut rest)?;
        if name.is_empty() {
            break;
        }
        let value = take_string(&mut rest)?;
        parameters.push((name, value));
    }
    if rest.is_empty() {
        Ok(parameters)
    } else {
        Err(StartupError::Layout)
    }
}

fn take_string(rest: &mut &[u8]) -> Result<String, StartupError> {
    let end = memchr::memchr(0, rest).ok_or(StartupError::Layout)?;
    let text = std::str::from_utf8(&rest[..end]).map_err(|_| StartupError::Encoding)?;
    *rest = &rest[end + 1..];
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(minor: u16, text: &[u8]) -> Vec<u8> {
        let mut body = ((3u32 << 16) | u32::from(minor)).to_be_bytes().to_vec();
        body.extend_from_slice(text);
        body
    }

    #[test]
    fn packets_are_told_apart() {
        assert_eq!(parse(&SSL.to_be_bytes()), Ok(Startup::Ssl));
        assert_eq!(parse(&GSS.to_be_bytes()), Ok(Startup::Gss));
        let mut cancel = CANCEL.to_be_bytes().to_vec();
        cancel.extend_from_slice(&[0, 0, 0, 7, 1, 2, 3, 4]);
        assert_eq!(
            parse(&cancel),
            Ok(Startup::Cancel { pid: 7, key: vec![1, 2, 3, 4] })
        );
        assert_eq!(
            parse(&start(2, b"user\0a\0\0")),
            Ok(Startup::Start { minor: 2, parameters: vec![("user".into(), "a".into())] })
        );
    }

    #[test]
    fn malformed_packets_are_refused() {
        let cases: &[(Vec<u8>, StartupError)] = &[
            (vec![0, 0], StartupError::Length),
            (start(0, b"user\0a\0"), StartupError::Layout),
            (start(0, b"user\0a\0\0x"), StartupError::Layout),
            (start(0, b"user\0a"), StartupError::Layout),
            (start(0, b""), StartupError::Layout),
            (start(0, b"user\0\xff\0\0"), StartupError::Encoding),
            (vec![0, 2, 0, 0], StartupError::Version(2, 0)),
            ([SSL.to_be_bytes().as_slice(), b"x"].concat(), StartupError::Layout),
            ([CANCEL.to_be_bytes().as_slice(), &[0; 7]].concat(), StartupError::Length),
        ];
        for (body, expected) in cases {
            assert_eq!(parse(body).as_ref(), Err(expected), "{body:?}");
        }
        assert_eq!(body_length([0, 0, 0, 7]), Err(StartupError::Length));
        assert_eq!(body_length([0xff; 4]), Err(StartupError::Length));
        assert_eq!(body_length([0, 0, 0, 8]), Ok(4));
    }
}
