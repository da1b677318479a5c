//! Requests whose answer would be another one in a repetition, though nothing has changed: what they
//! answered with is put into them ([`crate::sql::rerun`]).

use std::rc::Rc;

use crate::retry::Rerun;
use crate::sql::order;
use crate::sql::rerun::{Column, may_draw, may_vary, with_values};
use crate::wire::frame::{self, HEADER};
use crate::wire::frontend;

/// How requests are made ready to be run again.
pub(super) const RERUN: Rerun = Rerun {
    needs,
    again,
    varies,
};

/// Whether the answer of a request has to be kept.
fn needs(sent: &[u8]) -> bool {
    frames(sent, frame::frontend_header).any(|(tag, body)| match tag {
        b'Q' => frontend::query(body).is_ok_and(may_draw),
        // Others serve more than one request.
        b'P' => {
            frontend::parse(body).is_ok_and(|parse| parse.name.is_empty() && may_draw(parse.text))
        }
        _ => false,
    })
}

/// Whether a request that reads calls for chance or for the time.
fn varies(sent: &[u8]) -> bool {
    frames(sent, frame::frontend_header).any(|(tag, body)| match tag {
        b'Q' => frontend::query(body).is_ok_and(may_vary),
        b'P' => frontend::parse(body).is_ok_and(|parse| may_vary(parse.text)),
        _ => false,
    })
}

/// Whether the order of the rows that a request is answered with says nothing. `prepared`: the text of
/// a statement that was prepared under this name of the server's before.
pub(super) fn order_says_nothing(
    sent: &[u8],
    prepared: impl Fn(&[u8]) -> Option<Rc<[u8]>>,
) -> bool {
    let is_free = |text: &[u8]| std::str::from_utf8(text).is_ok_and(order::says_nothing);
    let mut parsed: Vec<&[u8]> = Vec::new();
    let mut bound: Vec<&[u8]> = Vec::new();
    frames(sent, frame::frontend_header).all(|(tag, body)| match tag {
        b'Q' => frontend::query(body).is_ok_and(is_free),
        b'P' => frontend::parse(body).is_ok_and(|parse| {
            parsed.push(parse.name);
            is_free(parse.text)
        }),
        b'B' => frontend::bind_head(body).is_ok_and(|head| {
            bound.push(head.portal);
            parsed.contains(&head.statement)
                || prepared(head.statement).is_some_and(|text| is_free(&text))
        }),
        // Rows of a portal that was there before are of a statement that is not looked for.
        b'E' => frontend::execute(body).is_ok_and(|(portal, _)| bound.contains(&portal)),
        b'F' | b'd' | b'c' | b'f' => false,
        _ => true,
    })
}

/// The request that does and answers the same; `None` when it does so already, or that is not known.
fn again(sent: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
    let columns = columns(answer)?;
    let rows = rows(answer)?;
    let asked: Vec<(u8, &[u8])> = frames(sent, frame::frontend_header).collect();
    // A BEGIN of the proxy's own may be ahead of it.
    let at = asked.iter().position(|(tag, body)| match tag {
        b'Q' => true,
        b'P' => {
            frontend::parse(body).is_ok_and(|parse| parse.name.is_empty() && may_draw(parse.text))
        }
        _ => false,
    })?;
    let simple = asked[at].0 == b'Q';
    let formats = match simple {
        true => Vec::new(),
        false => formats(&asked[at + 1..])?,
    };
    let is_binary = |at: usize| match formats.as_slice() {
        [] => false,
        [all] => *all,
        each => each.get(at).copied().unwrap_or(false),
    };
    let rows: Option<Vec<Vec<Option<String>>>> = rows
        .into_iter()
        .map(|row| {
            let values = row.into_iter().zip(&columns).enumerate();
            values
                .map(|(at, (value, column))| match value {
                    None => Some(None),
                    Some(value) if is_binary(at) => binary(column.oid, value).map(Some),
                    Some(value) => Some(Some(std::str::from_utf8(value).ok()?.to_owned())),
                })
                .collect()
        })
        .collect();
    let text = match simple {
        true => frontend::query(asked[at].1).ok()?,
        false => frontend::parse(asked[at].1).ok()?.text,
    };
    let text = with_values(std::str::from_utf8(text).ok()?, &columns, &rows?)?;
    let mut out = Vec::with_capacity(sent.len() + 64);
    for (number, (tag, body)) in asked.into_iter().enumerate() {
        match tag {
            _ if number != at => frontend::put(&mut out, tag, &[body]),
            b'Q' => frontend::put_query(&mut out, text.as_bytes()),
            _ => {
                let types = frontend::parse(body).ok()?.types;
                frontend::put_parse(&mut out, b"", text.as_bytes(), types);
            }
        }
    }
    Some(out)
}

/// Formats of the columns that the one statement behind a Parse is answered with: binary or not. It is
/// bound and executed once, and nothing else is.
fn formats(behind: &[(u8, &[u8])]) -> Option<Vec<bool>> {
    let of = |wanted: u8| behind.iter().filter(move |(tag, _)| *tag == wanted);
    let (bind, none) = (of(b'B').next()?, of(b'B').nth(1).is_none());
    let once = none && of(b'E').count() == 1 && of(b'P').count() == 0;
    let head = frontend::bind_head(bind.1).ok()?;
    let rest = bind.1.get(head.length..)?;
    let values = frontend::bind_parameters(rest).ok()?;
    let formats = rest.get(values.len() + 2..)?.chunks_exact(2);
    (once && head.statement.is_empty()).then(|| formats.map(|format| format == [0, 1]).collect())
}

/// A value in binary format as text, if its type is one that needs no more than this.
fn binary(oid: u32, value: &[u8]) -> Option<String> {
    Some(match (oid, value.len()) {
        (20, 8) => i64::from_be_bytes(value.try_into().ok()?).to_string(),
        (21, 2) => i16::from_be_bytes(value.try_into().ok()?).to_string(),
        (23, 4) => i32::from_be_bytes(value.try_into().ok()?).to_string(),
        (2950, 16) => value.iter().map(|byte| format!("{byte:02x}")).collect(),
        // Not read; such a column may stand beside those that are.
        (20 | 21 | 23 | 2950 | 1082 | 1114 | 1184, _) => return None,
        _ => String::new(),
    })
}

/// Whole messages: type and body.
fn frames<'a>(
    mut bytes: &'a [u8],
    header: impl Fn(&[u8]) -> Result<Option<frame::Header>, frame::FrameError> + 'a,
) -> impl Iterator<Item = (u8, &'a [u8])> + 'a {
    std::iter::from_fn(move || {
        let header = header(bytes).ok()??;
        let (message, rest) = bytes.split_at_checked(header.total)?;
        bytes = rest;
        Some((header.tag, &message[HEADER..]))
    })
}

/// The columns of the one result that an answer has.
fn columns(answer: &[u8]) -> Option<Vec<Column>> {
    let mut described = frames(answer, frame::backend_header).filter(|(tag, _)| *tag == b'T');
    let (_, body) = described.next()?;
    if described.next().is_some() {
        return None;
    }
    let mut rest = body.get(2..)?;
    let mut columns = Vec::new();
    while !rest.is_empty() {
        let end = memchr::memchr(0, rest)?;
        let (name, behind) = (rest.get(..end)?, rest.get(end + 1..)?);
        // Table and number of the column, then its type; length, modifier and format behind.
        let oid = behind.get(6..10)?.try_into().ok()?;
        columns.push(Column {
            name: std::str::from_utf8(name).ok()?.to_owned(),
            oid: u32::from_be_bytes(oid),
        });
        rest = behind.get(18..)?;
    }
    Some(columns)
}

fn rows(answer: &[u8]) -> Option<Vec<Vec<Option<&[u8]>>>> {
    let rows = frames(answer, frame::backend_header).filter(|(tag, _)| *tag == b'D');
    rows.map(|(_, body)| row(body)).collect()
}

fn row(body: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let mut rest = body.get(2..)?;
    let mut values = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => {
                values.push(None);
                rest = behind;
            }
            Ok(length) => {
                let (value, behind) = behind.split_at_checked(length)?;
                values.push(Some(value));
                rest = behind;
            }
        }
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(columns: &[(&str, u32)]) -> Vec<u8> {
        let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
        for (name, oid) in columns {
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(b"\0\0\0\0\x01\0\x01");
            body.extend_from_slice(&oid.to_be_bytes());
            body.extend_from_slice(b"\0\x08\xff\xff\xff\xff\0\0");
        }
        let mut out = Vec::new();
        frontend::put(&mut out, b'T', &[&body]);
        out
    }

    fn data(values: &[&[u8]]) -> Vec<u8> {
        let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
            body.extend_from_slice(value);
        }
        let mut out = Vec::new();
        frontend::put(&mut out, b'D', &[&body]);
        out
    }

    #[test]
    fn a_query_gets_the_values_it_was_answered_with() {
        let mut sent = Vec::new();
        // The proxy's own BEGIN.
        frontend::put_parse(&mut sent, b"", b"BEGIN", b"\0\0");
        frontend::put(&mut sent, b'B', &[b"\0\0\0\0\0\0\0\0"]);
        frontend::put(&mut sent, b'E', &[b"\0\0\0\0\0"]);
        let begin = sent.clone();
        frontend::put_query(&mut sent, b"INSERT INTO t (a) VALUES (1) RETURNING id");
        assert!(needs(&sent));
        let answer = [description(&[("id", 20)]), data(&[b"7"])].concat();
        let mut expected = begin;
        frontend::put_query(
            &mut expected,
            b"INSERT INTO t (a, id) OVERRIDING SYSTEM VALUE VALUES (1, '7') RETURNING id",
        );
        assert_eq!(again(&sent, &answer), Some(expected));
        // No result, or two.
        assert_eq!(again(&sent, b""), None);
        assert_eq!(again(&sent, &[answer.clone(), answer].concat()), None);
    }

    #[test]
    fn an_unnamed_statement_gets_them_and_a_named_one_does_not() {
        let batch = |name: &[u8], formats: &[u8]| {
            let mut sent = Vec::new();
            let text = b"INSERT INTO t (a) VALUES ($1) RETURNING id, u";
            frontend::put_parse(&mut sent, name, text, b"\0\0");
            let values: &[u8] = b"\0\0\0\x01\0\0\0\x011";
            frontend::put(&mut sent, b'B', &[b"\0", name, b"\0", values, formats]);
            frontend::put(&mut sent, b'D', &[b"P\0"]);
            frontend::put(&mut sent, b'E', &[b"\0\0\0\0\0"]);
            frontend::put(&mut sent, b'S', &[]);
            sent
        };
        let described = description(&[("id", 20), ("u", 2950)]);
        let text = data(&[b"7", b"00000000-0000-0000-0000-00000000000f"]);
        let mut uuid = [0u8; 16];
        uuid[15] = 15;
        let binary = data(&[&7i64.to_be_bytes(), &uuid]);
        let cases: [(&[u8], Vec<u8>, &str); 2] = [
            (b"\0\0", text, "00000000-0000-0000-0000-00000000000f"),
            (b"\0\x01\0\x01", binary, "0000000000000000000000000000000f"),
        ];
        for (formats, row, uuid) in cases {
            let sent = batch(b"", formats);
            let again = again(&sent, &[described.clone(), row].concat()).unwrap();
            let text = format!(
                "INSERT INTO t (a, id, u) OVERRIDING SYSTEM VALUE VALUES ($1, '7', '{uuid}') RETURNING id, u"
            );
            let found = frames(&again, frame::frontend_header).next().unwrap();
            assert_eq!(
                String::from_utf8_lossy(frontend::parse(found.1).unwrap().text),
                text
            );
        }
        assert!(!needs(&batch(b"s", b"\0\0")));
    }

    #[test]
    fn the_order_of_a_request_is_that_of_all_its_statements() {
        let query = |text: &str| {
            let mut sent = Vec::new();
            frontend::put_query(&mut sent, text.as_bytes());
            sent
        };
        let batch = |parse: Option<&str>, statement: &[u8], bind: bool| {
            let mut sent = Vec::new();
            if let Some(text) = parse {
                frontend::put_parse(&mut sent, statement, text.as_bytes(), b"\0\0");
            }
            if bind {
                frontend::put(&mut sent, b'B', &[b"\0", statement, b"\0\0\0\0\0\0\0"]);
            }
            frontend::put(&mut sent, b'E', &[b"\0\0\0\0\0"]);
            frontend::put(&mut sent, b'S', &[]);
            sent
        };
        let (free, sorted) = ("SELECT a FROM t", "SELECT a FROM t ORDER BY b");
        let cases = [
            (query(free), true),
            (query(sorted), false),
            (batch(Some(free), b"", true), true),
            (batch(Some(sorted), b"", true), false),
            (
                [query(free), batch(Some(sorted), b"", true)].concat(),
                false,
            ),
            (batch(None, b"free", true), true),
            (batch(None, b"sorted", true), false),
            (batch(None, b"", true), false),
            (batch(None, b"", false), false),
        ];
        for (sent, expected) in cases {
            let prepared = |name: &[u8]| match name {
                b"free" => Some(Rc::from(free.as_bytes())),
                b"sorted" => Some(Rc::from(sorted.as_bytes())),
                _ => None,
            };
            let text = String::from_utf8_lossy(&sent).into_owned();
            assert_eq!(order_says_nothing(&sent, prepared), expected, "{text}");
        }
    }
}
