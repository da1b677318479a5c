//! What a transaction that met a conflict had sent: read from its journal, for statistics.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::telemetry::conflicts::ConflictCode;
use crate::wire::frame::{self, HEADER};
use crate::wire::frontend::{self, LayoutError};

/// Statements of a transaction that are looked at.
const STATEMENTS: usize = 256;

/// As much of a text is kept.
const TEXT: usize = 16 * 1024 + 1;

/// Longest parameter that may be a key of interest, in bytes.
const VALUE: usize = 128;

/// A conflict, and what may have had part in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What the error says it is for.
    pub code: ConflictCode,
    /// What the transaction ran, oldest first; `None` when too many conflicts were looked at
    /// within the second.
    pub ran: Option<Vec<Ran>>,
}

/// A statement that was run.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its text, or what leads to it.
    pub source: Source,
    /// Its parameters in their order.
    pub parameters: Vec<Parameter>,
}

/// Where the text of a statement is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It was in the journal; the first bytes of it.
    Text(Vec<u8>),
    /// It was prepared earlier, under this name of the server's.
    Prepared(Vec<u8>),
}

/// A parameter as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Type as in Parse; 0 when the server was to find out.
    pub oid: u32,
    /// In binary format.
    pub binary: bool,
    /// `None` when it was NULL, or too long to be a key of interest.
    pub value: Option<Vec<u8>>,
}

/// Reads the requests of a transaction.
pub(super) fn read<'j>(requests: impl Iterator<Item = &'j [u8]>) -> Vec<Ran> {
    let mut reader = Reader::default();
    for mut bytes in requests {
        while let Ok(Some(header)) = frame::frontend_header(bytes) {
            let Some(message) = bytes.get(..header.total) else {
                break;
            };
            // A message that has not its layout was refused by the server.
            let _ = reader.message(header.tag, &message[HEADER..]);
            bytes = &bytes[header.total..];
        }
    }
    reader.ran
}

/// The unnamed statement of before is known to the session only while nothing took its place.
const UNNAMED: &[u8] = b"";

#[derive(Default)]
struct Reader<'j> {
    prepared: HashMap<&'j [u8], frontend::Parse<'j>>,
    ran: Vec<Ran>,
}

impl<'j> Reader<'j> {
    fn message(&mut self, tag: u8, body: &'j [u8]) -> Result<(), LayoutError> {
        match tag {
            b'Q' => {
                self.forget_unnamed();
                self.prepared.remove(UNNAMED);
                self.note(Source::Text(head(frontend::query(body)?)), Vec::new());
            }
            b'P' => {
                let parse = frontend::parse(body)?;
                if parse.name.is_empty() {
                    self.forget_unnamed();
                }
                self.prepared.insert(parse.name, parse);
            }
            b'B' => {
                let bind = frontend::bind_head(body)?;
                let known = self.prepared.get(bind.statement);
                let types =
                    known.map_or(&b""[..], |parse| parse.types.get(2..).unwrap_or_default());
                let source = match known {
                    Some(parse) => Source::Text(head(parse.text)),
                    None => Source::Prepared(bind.statement.to_vec()),
                };
                let values = frontend::bind_values(&body[bind.length..])?;
                let parameters = values
                    .enumerate()
                    .map(|(number, (binary, value))| Parameter {
                        oid: oid(types, number),
                        binary,
                        value: value
                            .filter(|value| value.len() <= VALUE)
                            .map(<[u8]>::to_vec),
                    });
                let parameters = parameters.collect();
                self.note(source, parameters);
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, source: Source, parameters: Vec<Parameter>) {
        if self.ran.len() < STATEMENTS {
            self.ran.push(Ran { source, parameters });
        }
    }

    fn forget_unnamed(&mut self) {
        let unnamed = Source::Prepared(UNNAMED.to_vec());
        self.ran.retain(|ran| ran.source != unnamed);
    }
}

fn head(text: &[u8]) -> Vec<u8> {
    text[..text.len().min(TEXT)].to_vec()
}

fn oid(types: &[u8], number: usize) -> u32 {
    let at = number * 4;
    types
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// What repeating cost one transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// Repetitions begun.
    pub repetitions: u32,
    /// From each conflict to the end of repeating after it.
    pub took: Duration,
}

/// Measures an [`Effort`]; looks at the clock only while there is one.
#[derive(Debug, Default)]
pub(super) struct Meter {
    effort: Effort,
    since: Option<Instant>,
}

impl Meter {
    /// A repetition begins.
    pub fn begin(&mut self, at: Instant) {
        self.effort.repetitions += 1;
        self.since.get_or_insert(at);
    }

    /// The client gets an answer.
    pub fn rest(&mut self) {
        if let Some(since) = self.since.take() {
            self.effort.took += since.elapsed();
        }
    }

    /// Time counts now.
    #[cfg(test)]
    pub fn is_running(&self) -> bool {
        self.since.is_some()
    }

    /// The transaction is over; what it took, if it was repeated.
    pub fn end(&mut self) -> Option<Effort> {
        if self.effort.repetitions == 0 {
            return None;
        }
        self.rest();
        Some(std::mem::take(&mut self.effort))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Source {
        Source::Text(text.as_bytes().to_vec())
    }

    fn bind(name: &str, formats: &[u16], values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = format!("\0{name}\0").into_bytes();
        let count = |count: usize| u16::try_from(count).expect("few").to_be_bytes();
        body.extend(count(formats.len()));
        formats
            .iter()
            .for_each(|format| body.extend(format.to_be_bytes()));
        body.extend(count(values.len()));
        for value in values {
            match value {
                None => body.extend((-1i32).to_be_bytes()),
                Some(value) => {
                    body.extend(u32::try_from(value.len()).expect("short").to_be_bytes());
                    body.extend_from_slice(value);
                }
            }
        }
        body.extend(count(0));
        let mut out = Vec::new();
        frontend::put(&mut out, b'B', &[&body]);
        out
    }

    fn parse(name: &str, text: &str, oids: &[u32]) -> Vec<u8> {
        let mut types = u16::try_from(oids.len())
            .expect("few")
            .to_be_bytes()
            .to_vec();
        oids.iter().for_each(|oid| types.extend(oid.to_be_bytes()));
        let mut out = Vec::new();
        frontend::put_parse(&mut out, name.as_bytes(), text.as_bytes(), &types);
        out
    }

    fn query(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        frontend::put_query(&mut out, text.as_bytes());
        out
    }

    #[test]
    fn statements_and_parameters_are_read() {
        let first = [query("begin"), parse("s", "update t", &[23, 0])].concat();
        let second = [
            bind("s", &[1, 0], &[Some(&[0, 0, 0, 7]), Some(b"x")]),
            bind("s", &[1], &[None, Some(b"yy")]),
            bind("old", &[], &[Some(&[b'z'; 200])]),
            query("commit"),
        ];
        let second = second.concat();
        let ran = read([first.as_slice(), &second].into_iter());
        let parameter = |oid, binary, value: Option<&[u8]>| Parameter {
            oid,
            binary,
            value: value.map(<[u8]>::to_vec),
        };
        let ran_of = |source, parameters: Vec<Parameter>| Ran { source, parameters };
        let expected = [
            ran_of(text("begin"), vec![]),
            ran_of(
                text("update t"),
                vec![
                    parameter(23, true, Some(&[0, 0, 0, 7])),
                    parameter(0, false, Some(b"x")),
                ],
            ),
            ran_of(
                text("update t"),
                vec![parameter(23, true, None), parameter(0, true, Some(b"yy"))],
            ),
            ran_of(
                Source::Prepared(b"old".to_vec()),
                vec![parameter(0, false, None)],
            ),
            ran_of(text("commit"), vec![]),
        ];
        assert_eq!(ran, expected);
    }

    #[test]
    fn the_unnamed_statement_of_before_is_left_out_when_it_was_replaced() {
        let sources = |frames: &[Vec<u8>]| -> Vec<Source> {
            let ran = read(std::iter::once(frames.concat().as_slice()));
            ran.into_iter().map(|ran| ran.source).collect()
        };
        assert_eq!(
            sources(&[bind("", &[], &[])]),
            [Source::Prepared(Vec::new())]
        );
        assert_eq!(
            sources(&[bind("", &[], &[]), parse("", "b", &[]), bind("", &[], &[])]),
            [text("b")]
        );
        assert_eq!(sources(&[bind("", &[], &[]), query("q")]), [text("q")]);
    }

    #[test]
    fn long_and_broken_requests_give_less() {
        let many: Vec<u8> = (0..1000).flat_map(|_| query("select 1")).collect();
        assert_eq!(read(std::iter::once(many.as_slice())).len(), STATEMENTS);
        let long = query(&"x".repeat(100_000));
        let ran = read(std::iter::once(long.as_slice()));
        assert_eq!(ran[0].source, text(&"x".repeat(TEXT)));
        let whole = [
            parse("s", "update", &[23]),
            bind("s", &[1, 0, 1], &[Some(b"a"), None]),
        ]
        .concat();
        for end in 0..whole.len() {
            let _ = read(std::iter::once(&whole[..end]));
        }
        for at in 5..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut broken = whole.clone();
                broken[at] = byte;
                let _ = read(std::iter::once(broken.as_slice()));
            }
        }
    }

    #[test]
    fn effort_is_measured_from_conflict_to_answer() {
        let mut meter = Meter::default();
        meter.rest();
        assert_eq!(meter.end(), None);
        let ago = Instant::now() - Duration::from_secs(5);
        meter.begin(ago);
        meter.begin(ago + Duration::from_secs(3));
        meter.rest();
        let effort = meter.end().expect("an effort");
        assert_eq!((effort.repetitions, effort.took.as_secs()), (2, 5));
        assert_eq!(meter.end(), None);
    }
}
