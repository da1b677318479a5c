//! Heads of frontend messages, and the frontend messages the proxy itself sends.

use thiserror::Error;

/// A frontend message whose body does not have its layout (PostgreSQL answers 08P01).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("invalid message format")]
pub struct LayoutError;

/// Body of a Parse message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Statement name; empty for the unnamed statement.
    pub name: &'a [u8],
    /// Statement text.
    pub text: &'a [u8],
    /// Parameter type OIDs as sent: count word and four bytes for each.
    pub types: &'a [u8],
}

/// Reads the body of a Parse message.
///
/// # Errors
/// [`LayoutError`] unless the body is two C strings and a counted list of OIDs.
pub fn parse(body: &[u8]) -> Result<Parse<'_>, LayoutError> {
    let (name, rest) = c_string(body)?;
    let (text, types) = c_string(rest)?;
    let (count, oids) = types.split_first_chunk::<2>().ok_or(LayoutError)?;
    if oids.len() != usize::from(u16::from_be_bytes(*count)) * 4 {
        return Err(LayoutError);
    }
    Ok(Parse { name, text, types })
}

/// Head of a Bind message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindHead<'a> {
    /// Portal name.
    pub portal: &'a [u8],
    /// Statement name.
    pub statement: &'a [u8],
    /// Bytes of both names with their terminators.
    pub length: usize,
}

/// Reads the two names a Bind message begins with; `body` may be cut off behind them.
///
/// # Errors
/// [`LayoutError`] when a terminator is missing.
pub fn bind_head(body: &[u8]) -> Result<BindHead<'_>, LayoutError> {
    let (portal, rest) = c_string(body)?;
    let (statement, rest) = c_string(rest)?;
    Ok(BindHead {
        portal,
        statement,
        length: body.len() - rest.len(),
    })
}

/// Reads what stands behind the head of a Bind message: each parameter's value, `None` for NULL, and
/// whether it is in binary format. Formats of results are not looked at.
///
/// # Errors
/// [`LayoutError`] when the counts and lengths do not fit the body.
pub fn bind_values(
    rest: &[u8],
) -> Result<impl Iterator<Item = (bool, Option<&[u8]>)>, LayoutError> {
    let (count, rest) = rest.split_first_chunk::<2>().ok_or(LayoutError)?;
    let count = usize::from(u16::from_be_bytes(*count));
    let (formats, rest) = rest.split_at_checked(count * 2).ok_or(LayoutError)?;
    let (values, mut rest) = rest.split_first_chunk::<2>().ok_or(LayoutError)?;
    let mut found = Vec::new();
    for number in 0..usize::from(u16::from_be_bytes(*values)) {
        // One format is for all, none is text.
        let format = if count == 1 { 0 } else { number };
        let binary = formats.get(format * 2..format * 2 + 2) == Some(&[0, 1]);
        let (length, behind) = rest.split_first_chunk::<4>().ok_or(LayoutError)?;
        let value = match i32::from_be_bytes(*length) {
            -1 => (None, behind),
            length => {
                let length = usize::try_from(length).map_err(|_| LayoutError)?;
                let (value, behind) = behind.split_at_checked(length).ok_or(LayoutError)?;
                (Some(value), behind)
            }
        };
        found.push((binary, value.0));
        rest = value.1;
    }
    Ok(found.into_iter())
}

/// Formats and values of the parameters of a Bind message, as they stand behind its head.
///
/// # Errors
/// [`LayoutError`] when the counts and lengths do not fit the body.
pub fn bind_parameters(rest: &[u8]) -> Result<&[u8], LayoutError> {
    let count = |bytes: &[u8]| {
        let count = bytes.first_chunk::<2>().ok_or(LayoutError)?;
        Ok(usize::from(u16::from_be_bytes(*count)))
    };
    let mut end = 2 + 2 * count(rest)?;
    let values = count(rest.get(end..).ok_or(LayoutError)?)?;
    end += 2;
    for _ in 0..values {
        let length = rest.get(end..).and_then(<[u8]>::first_chunk::<4>);
        let length = i32::from_be_bytes(*length.ok_or(LayoutError)?);
        end += 4 + usize::try_from(length).unwrap_or(0);
    }
    rest.get(..end).ok_or(LayoutError)
}

/// Formats and values of the parameters of a Bind message, and what stands behind them, with one more value
/// in text format behind the others.
///
/// # Errors
/// [`LayoutError`] when the counts and lengths do not fit the body, or there are so many already that no more
/// can be.
pub fn bind_with_value(rest: &[u8], value: &[u8]) -> Result<Vec<u8>, LayoutError> {
    let parameters = bind_parameters(rest)?;
    let results = &rest[parameters.len()..];
    let count = |bytes: &[u8]| match bytes.first_chunk::<2>() {
        Some(count) => Ok(u16::from_be_bytes(*count)),
        None => Err(LayoutError),
    };
    let formats = count(parameters)?;
    let (codes, values) = parameters[2..].split_at(2 * usize::from(formats));
    let number = count(values)?;
    let one_more = number.checked_add(1).ok_or(LayoutError)?;
    let mut out = Vec::with_capacity(rest.len() + value.len() + 16);
    let mut put_formats = |codes: &[&[u8]]| {
        let bytes: usize = codes.iter().map(|code| code.len()).sum();
        let count = u16::try_from(bytes / 2).map_err(|_| LayoutError)?;
        out.extend_from_slice(&count.to_be_bytes());
        codes.iter().for_each(|code| out.extend_from_slice(code));
        Ok(())
    };
    match formats {
        // None: all are text. One is for all, and was not for ours.
        0 => put_formats(&[])?,
        1 => put_formats(&[&codes.repeat(usize::from(number)), &[0, 0]])?,
        _ if formats == number => put_formats(&[codes, &[0, 0]])?,
        _ => return Err(LayoutError),
    }
    out.extend_from_slice(&one_more.to_be_bytes());
    out.extend_from_slice(&values[2..]);
    let length = i32::try_from(value.len()).map_err(|_| LayoutError)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(results);
    Ok(out)
}

/// How many formats and how many values of parameters a Bind message has, by what stands behind its head.
///
/// # Errors
/// [`LayoutError`] when the counts do not fit the body.
pub fn bind_counts(rest: &[u8]) -> Result<(u16, u16), LayoutError> {
    let count = |at: usize| {
        let bytes = rest.get(at..).and_then(<[u8]>::first_chunk::<2>);
        bytes
            .map(|bytes| u16::from_be_bytes(*bytes))
            .ok_or(LayoutError)
    };
    let formats = count(0)?;
    Ok((formats, count(2 + 2 * usize::from(formats))?))
}

/// Reads the body of a Describe or Close message: `S` or `P`, and a name.
///
/// # Errors
/// [`LayoutError`] for anything else.
pub fn target(body: &[u8]) -> Result<(u8, &[u8]), LayoutError> {
    let (&kind, rest) = body.split_first().ok_or(LayoutError)?;
    let (name, rest) = c_string(rest)?;
    if !rest.is_empty() || !matches!(kind, b'S' | b'P') {
        return Err(LayoutError);
    }
    Ok((kind, name))
}

/// Reads the body of an Execute message: portal name and row limit.
///
/// # Errors
/// [`LayoutError`] for anything else.
pub fn execute(body: &[u8]) -> Result<(&[u8], u32), LayoutError> {
    let (portal, rest) = c_string(body)?;
    let limit: [u8; 4] = rest.try_into().map_err(|_| LayoutError)?;
    Ok((portal, u32::from_be_bytes(limit)))
}

/// Reads the single C string of a Query message.
///
/// # Errors
/// [`LayoutError`] when the terminator is missing or not the last byte.
pub fn query(body: &[u8]) -> Result<&[u8], LayoutError> {
    match c_string(body)? {
        (text, []) => Ok(text),
        _ => Err(LayoutError),
    }
}

fn c_string(bytes: &[u8]) -> Result<(&[u8], &[u8]), LayoutError> {
    let end = memchr::memchr(0, bytes).ok_or(LayoutError)?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

/// Appends one frame: type byte, length, body pieces.
pub fn put(out: &mut Vec<u8>, tag: u8, pieces: &[&[u8]]) {
    let body: usize = pieces.iter().map(|piece| piece.len()).sum();
    out.reserve(body + 5);
    out.push(tag);
    // The pieces come from frames within the protocol's limits, so the sum fits.
    out.extend_from_slice(&u32::try_from(body + 4).unwrap_or(u32::MAX).to_be_bytes());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// Appends a Query message.
pub fn put_query(out: &mut Vec<u8>, text: &[u8]) {
    put(out, b'Q', &[text, b"\0"]);
}

/// Appends a Parse message; `types` as in [`Parse::types`].
pub fn put_parse(out: &mut Vec<u8>, name: &[u8], text: &[u8], types: &[u8]) {
    put(out, b'P', &[name, b"\0", text, b"\0", types]);
}

/// Appends a Close message for a statement.
pub fn put_close_statement(out: &mut Vec<u8>, name: &[u8]) {
    put(out, b'C', &[b"S", name, b"\0"]);
}

/// Appends a StartupMessage of protocol 3.0.
pub fn put_startup(out: &mut Vec<u8>, parameters: &[(&str, &str)]) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(3u32 << 16).to_be_bytes());
    for (name, value) in parameters {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    }
    out.push(0);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// The eight bytes of an SSLRequest.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Appends a CancelRequest.
pub fn put_cancel(out: &mut Vec<u8>, pid: u32, key: &[u8]) {
    let length = u32::try_from(12 + key.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&80_877_102u32.to_be_bytes());
    out.extend_from_slice(&pid.to_be_bytes());
    out.extend_from_slice(key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_must_have_their_layout() {
        assert_eq!(
            parse(b"s\0SELECT 1\0\0\x01\0\0\0\x17"),
            Ok(Parse {
                name: b"s",
                text: b"SELECT 1",
                types: b"\0\x01\0\0\0\x17"
            })
        );
        for short in [
            &b""[..],
            b"s",
            b"s\0t",
            b"s\0t\0",
            b"s\0t\0\0\x01",
            b"s\0t\0\0\0x",
        ] {
            assert_eq!(parse(short), Err(LayoutError), "{short:?}");
        }
        assert_eq!(target(b"Sx\0"), Ok((b'S', &b"x"[..])));
        for bad in [&b""[..], b"S", b"Sx", b"Qx\0", b"Sx\0y"] {
            assert_eq!(target(bad), Err(LayoutError), "{bad:?}");
        }
        assert_eq!(execute(b"p\0\0\0\0\x05"), Ok((&b"p"[..], 5)));
        assert_eq!(execute(b"p\0\0\0\0"), Err(LayoutError));
        assert_eq!(query(b"SELECT 1\0"), Ok(&b"SELECT 1"[..]));
        assert_eq!(query(b"SELECT 1\0x\0"), Err(LayoutError));
        assert_eq!(bind_head(b"p\0s\0rest").map(|h| h.length), Ok(4));
    }

    /// Formats, values and formats of results behind a Bind's head.
    fn behind_head(formats: &[u16], values: &[Option<&[u8]>], results: &[u16]) -> Vec<u8> {
        let mut out = Vec::new();
        let count = |out: &mut Vec<u8>, count: usize| {
            out.extend_from_slice(&u16::try_from(count).unwrap().to_be_bytes());
        };
        count(&mut out, formats.len());
        for format in formats {
            out.extend_from_slice(&format.to_be_bytes());
        }
        count(&mut out, values.len());
        for value in values {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(value.unwrap_or_default());
        }
        count(&mut out, results.len());
        for format in results {
            out.extend_from_slice(&format.to_be_bytes());
        }
        out
    }

    #[test]
    fn one_more_value_is_bound_in_every_form_of_formats() {
        let (one, two): (&[u8], &[u8]) = (b"1", b"\0\0\0\x02");
        let own: Option<&[u8]> = Some(b"acme");
        // Formats and values of the client, and the formats that leave.
        type Values<'a> = &'a [Option<&'a [u8]>];
        let cases: [(&[u16], Values<'_>, &[u16]); 8] = [
            (&[], &[], &[]),
            (&[], &[Some(one), None], &[]),
            (&[0], &[Some(one), None], &[0, 0, 0]),
            (&[1], &[Some(two), Some(two)], &[1, 1, 0]),
            (&[1], &[], &[0]),
            (&[0], &[], &[0]),
            (&[1], &[Some(two)], &[1, 0]),
            (&[1, 0], &[Some(two), Some(one)], &[1, 0, 0]),
        ];
        for (formats, values, leaving) in cases {
            for results in [&[][..], &[1], &[0, 1]] {
                let given = behind_head(formats, values, results);
                let more: Vec<_> = values.iter().copied().chain([own]).collect();
                let expected = behind_head(leaving, &more, results);
                assert_eq!(
                    bind_with_value(&given, b"acme"),
                    Ok(expected),
                    "{formats:?}"
                );
                let counts = (formats.len() as u16, values.len() as u16);
                assert_eq!(bind_counts(&given), Ok(counts));
            }
        }
        for (formats, values) in [(2, 1), (2, 3), (3, 0)] {
            let given = behind_head(&vec![0; formats], &vec![Some(one); values], &[]);
            assert_eq!(bind_with_value(&given, b"acme"), Err(LayoutError));
        }
        let whole = behind_head(&[0], &[Some(one)], &[1]);
        for cut in 0..whole.len() - 4 {
            assert_eq!(
                bind_with_value(&whole[..cut], b"x"),
                Err(LayoutError),
                "{cut}"
            );
        }
        let full = behind_head(&[], &vec![None; 65_535], &[]);
        assert_eq!(bind_with_value(&full, b"x"), Err(LayoutError));
    }

    #[test]
    fn cancel_and_startup_round_trip() {
        use crate::wire::startup::{Startup, parse};
        let mut out = Vec::new();
        put_cancel(&mut out, 9, &[1, 2, 3, 4]);
        assert_eq!(
            parse(&out[4..]),
            Ok(Startup::Cancel {
                pid: 9,
                key: vec![1, 2, 3, 4]
            })
        );
        out.clear();
        put_startup(&mut out, &[("user", "u")]);
        assert_eq!(
            parse(&out[4..]),
            Ok(Startup::Start {
                minor: 0,
                parameters: vec![("user".into(), "u".into())]
            })
        );
    }
}
