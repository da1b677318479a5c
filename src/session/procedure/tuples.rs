//! Rows of COPY in format binary, whose values become parameters of INSERTs.
//!
//! The format is that of the PostgreSQL manual, COPY, "Binary Format": a signature, flags, an
//! extension of the header, then for each row the number of its values and each value with its length,
//! which is just what Bind has. Pure: data go in, texts and parameters come out.

use std::collections::VecDeque;

use super::catalog::quoted;
use crate::policy::unstorable::StandIn;
use crate::policy::{CopyBinary, TableName};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Longest row. What is longer does not fit into a transaction of Aurora DSQL, nor into one message.
const ROW: usize = 10 * 1024 * 1024 - 1024;

/// Parameters of an INSERT at most; the protocol has room for 65,535.
const PARAMETERS: usize = 16_384;

/// Rows of an INSERT at most.
const ROWS: usize = 500;

/// A column that values are copied into.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    /// Its type.
    kind: String,
    /// It is text that stands for values of this type.
    stands_for: Option<String>,
    /// GENERATED ALWAYS AS IDENTITY, which COPY writes nevertheless.
    numbered: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Signature,
    Flags,
    /// Length of the header's extension.
    Extension,
    /// So much of the extension.
    Skip(usize),
    /// Number of a row's values.
    Count,
    /// Length of a value; so many values are left of the row.
    Length(usize),
    /// So much of a value; so many values are left behind it.
    Value(usize, usize),
    /// The trailer was there.
    Over,
}

impl Part {
    /// Bytes of a part that is looked at as a whole.
    fn size(self) -> usize {
        match self {
            Self::Signature => SIGNATURE.len(),
            Self::Count => 2,
            _ => 4,
        }
    }
}

/// Rows under way.
#[derive(Debug)]
pub(super) struct Tuples {
    copy: CopyBinary,
    columns: Vec<Column>,
    part: Part,
    /// The begin of a part.
    piece: Vec<u8>,
    /// Bytes of the row under way.
    row: usize,
}

fn bad(message: impl Into<String>) -> ClientError {
    ClientError::error(sqlstate::BAD_COPY_FILE_FORMAT, message)
}

impl Tuples {
    pub fn new(copy: CopyBinary) -> Self {
        Self {
            copy,
            columns: Vec::new(),
            part: Part::Signature,
            piece: Vec::new(),
            row: 0,
        }
    }

    /// More rows than a transaction takes go into several.
    pub fn goes_in_batches(&self) -> bool {
        self.copy.batches
    }

    /// Takes the columns of the table as [`super::catalog::written`] finds them; gives the number of
    /// those that are copied.
    ///
    /// # Errors
    /// The client names one that is not there, or cannot be written.
    pub fn find(
        &mut self,
        table: &TableName,
        rows: &[Vec<Option<String>>],
    ) -> Result<u16, ClientError> {
        let all = rows.iter().filter_map(|row| match row.as_slice() {
            [Some(name), Some(kind), domain, Some(numbered)] => Some(Column {
                name: name.clone(),
                kind: kind.clone(),
                stands_for: domain.as_deref().and_then(StandIn::written_as),
                numbered: numbered == "t",
            }),
            _ => None,
        });
        let all: Vec<Column> = all.collect();
        self.columns = match self.copy.columns.as_slice() {
            [] => all,
            names => names
                .iter()
                .map(|name| {
                    let found = all.iter().find(|column| column.name == *name);
                    found.cloned().ok_or_else(|| {
                        let message = format!("column \"{name}\" of relation {} does not exist, or cannot be copied into", table.0);
                        ClientError::error("42703", message)
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        match u16::try_from(self.columns.len()) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(ClientError::error(
                sqlstate::FEATURE_NOT_SUPPORTED,
                format!("table {} has no columns to copy into", table.0),
            )),
        }
    }

    /// Takes a piece of the client's data: the values with their lengths go into `data`, and `end` is
    /// told where in it a row ends.
    ///
    /// # Errors
    /// It is not of this format (22P04), or a row is too long (54000).
    pub fn put(
        &mut self,
        mut bytes: &[u8],
        data: &mut VecDeque<u8>,
        mut end: impl FnMut(usize),
    ) -> Result<(), ClientError> {
        while !bytes.is_empty() {
            match self.part {
                Part::Over => return Err(bad("received copy data after EOF marker")),
                Part::Skip(left) => {
                    let taken = left.min(bytes.len());
                    bytes = &bytes[taken..];
                    self.part = match left - taken {
                        0 => Part::Count,
                        left => Part::Skip(left),
                    };
                }
                Part::Value(left, values) => {
                    let (taken, rest) = bytes.split_at(left.min(bytes.len()));
                    bytes = rest;
                    data.extend(taken);
                    match left - taken.len() {
                        0 => self.go_on(values, data, &mut end),
                        left => self.part = Part::Value(left, values),
                    }
                }
                part => {
                    let missing = part.size() - self.piece.len();
                    let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
                    bytes = rest;
                    self.piece.extend_from_slice(taken);
                    if self.piece.len() == part.size() {
                        let piece = std::mem::take(&mut self.piece);
                        self.take(part, &piece, data, &mut end)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        part: Part,
        piece: &[u8],
        data: &mut VecDeque<u8>,
        end: &mut impl FnMut(usize),
    ) -> Result<(), ClientError> {
        let number = piece
            .iter()
            .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        self.part = match part {
            Part::Signature if piece != SIGNATURE => {
                return Err(bad("COPY file signature not recognized"));
            }
            Part::Signature => Part::Flags,
            Part::Flags if number & 1 << 16 != 0 => {
                return Err(bad("invalid COPY file header (WITH OIDS)"));
            }
            Part::Flags if number >> 16 != 0 => {
                return Err(bad("unrecognized critical flags in COPY file header"));
            }
            Part::Flags => Part::Extension,
            Part::Extension => match usize::try_from(number) {
                Ok(0) => Part::Count,
                Ok(length) if number <= i32::MAX.unsigned_abs() => Part::Skip(length),
                _ => return Err(bad("invalid COPY file header (wrong length)")),
            },
            Part::Count if number == 0xffff => Part::Over,
            Part::Count if usize::try_from(number) == Ok(self.columns.len()) => {
                self.row = 0;
                Part::Length(self.columns.len())
            }
            Part::Count => {
                return Err(bad(format!(
                    "row field count is {}, expected {}",
                    number.cast_signed() << 16 >> 16,
                    self.columns.len()
                )));
            }
            Part::Length(values) => {
                data.extend(piece);
                if number == u32::MAX || number == 0 {
                    self.go_on(values.saturating_sub(1), data, end);
                    return Ok(());
                }
                let length = match usize::try_from(number) {
                    Ok(length) if number <= i32::MAX.unsigned_abs() => length,
                    _ => return Err(bad("invalid field size")),
                };
                self.row = self.row.saturating_add(length).saturating_add(4);
                if self.row > ROW {
                    return Err(too_long());
                }
                Part::Value(length, values.saturating_sub(1))
            }
            other => other,
        };
        Ok(())
    }

    /// A value is over.
    fn go_on(&mut self, values: usize, data: &VecDeque<u8>, end: &mut impl FnMut(usize)) {
        self.part = match values {
            0 => {
                end(data.len());
                Part::Count
            }
            left => Part::Length(left),
        };
    }

    /// The client has sent all. The trailer may be missing.
    ///
    /// # Errors
    /// Something else is missing: 22P04.
    pub fn finish(&self) -> Result<(), ClientError> {
        let message = match self.part {
            Part::Count | Part::Over => return Ok(()),
            Part::Signature => "COPY file signature not recognized",
            Part::Flags => "invalid COPY file header (missing flags)",
            Part::Extension => "invalid COPY file header (missing length)",
            Part::Skip(_) => "invalid COPY file header (wrong length)",
            Part::Length(_) | Part::Value(..) => "unexpected EOF in COPY data",
        };
        Err(bad(message))
    }

    /// A COPY of text that the server takes where it takes this one.
    pub fn same_as_text(&self, table: &TableName) -> String {
        match self.copy.columns.as_slice() {
            [] => format!("COPY {} FROM STDIN", table.0),
            names => format!("COPY {} ({}) FROM STDIN", table.0, list(names)),
        }
    }

    /// Rows of one INSERT, unless there are fewer.
    pub fn rows_of_insert(&self) -> usize {
        (PARAMETERS / self.columns.len().max(1)).clamp(1, ROWS)
    }

    /// Values of so many rows.
    pub fn values_of(&self, rows: usize) -> u16 {
        u16::try_from(rows * self.columns.len()).unwrap_or(u16::MAX)
    }

    /// The INSERT of so many rows.
    pub fn insert(&self, table: &TableName, rows: usize) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| &*column.name).collect();
        let columns = list(&names);
        let overriding = match self.columns.iter().any(|column| column.numbered) {
            true => " OVERRIDING SYSTEM VALUE",
            false => "",
        };
        let head = format!("INSERT INTO {} ({columns}){overriding}", table.0);
        let Some(condition) = &self.copy.condition else {
            return format!("{head} {}", self.values(rows, false));
        };
        let taken: Vec<String> = self.columns.iter().map(Column::taken).collect();
        format!(
            "{head} SELECT {} FROM ({}) AS {} ({columns}) WHERE {condition}",
            taken.join(", "),
            self.values(rows, true),
            quoted(&self.copy.name),
        )
    }

    /// VALUES of parameters. Their types are those of the columns, which a condition does not see.
    fn values(&self, rows: usize, typed: bool) -> String {
        let mut number = 0;
        let rows: Vec<String> = (0..rows)
            .map(|_| {
                let values = self.columns.iter().map(|column| {
                    number += 1;
                    match (typed, &column.stands_for) {
                        (true, Some(kind)) => format!("${number}::{kind}"),
                        (true, None) => format!("${number}::{}", column.kind),
                        (false, Some(kind)) => format!("${number}::{kind}::text"),
                        (false, None) => format!("${number}"),
                    }
                });
                format!("({})", values.collect::<Vec<_>>().join(", "))
            })
            .collect();
        format!("VALUES {}", rows.join(", "))
    }
}

impl Column {
    fn taken(&self) -> String {
        let name = quoted(&self.name);
        match self.stands_for {
            Some(_) => format!("{name}::text"),
            None => name,
        }
    }
}

fn list(names: &[impl AsRef<str>]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name.as_ref())).collect();
    names.join(", ")
}

fn too_long() -> ClientError {
    ClientError::error(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        "a row of COPY is longer than the 10 MiB that a transaction of Aurora DSQL takes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TableName {
        TableName("\"t\"".to_owned())
    }

    fn tuples(columns: &[&str], condition: Option<&str>) -> Tuples {
        let copy = CopyBinary {
            columns: Vec::new(),
            name: "t".to_owned(),
            condition: condition.map(str::to_owned),
            batches: true,
        };
        let mut tuples = Tuples::new(copy);
        let own = |value: &str| Some(value.to_owned());
        let rows: Vec<_> = columns
            .iter()
            .map(|name| match *name {
                "ip" => vec![own("ip"), own("dsqlproxy.inet"), own("inet"), own("f")],
                "id" => vec![own("id"), own("bigint"), None, own("t")],
                name => vec![own(name), own("text"), None, own("f")],
            })
            .collect();
        assert_eq!(
            usize::from(tuples.find(&table(), &rows).unwrap()),
            columns.len()
        );
        tuples
    }

    fn header() -> Vec<u8> {
        [SIGNATURE, &[0; 8]].concat()
    }

    /// What is taken of the data, and where rows end; or why not.
    fn taken(data: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<usize>), String> {
        let mut tuples = tuples(&["a", "b"], None);
        let (mut out, mut ends) = (VecDeque::new(), Vec::new());
        for piece in data.chunks(piece) {
            let put = tuples.put(piece, &mut out, |end| ends.push(end));
            put.map_err(|error| format!("{} {}", error.code, error.message))?;
        }
        let end = tuples.finish();
        end.map_err(|error| format!("{} {}", error.code, error.message))?;
        Ok((out.into(), ends))
    }

    #[test]
    fn rows_are_taken_in_pieces_of_any_length() {
        let one = b"\0\0\0\x01x\0\0\0\0";
        let two = b"\xff\xff\xff\xff\0\0\0\x02yz";
        let rows = [&b"\0\x02"[..], one, b"\0\x02", two].concat();
        let extended = [SIGNATURE, &[0, 0, 0, 7, 0, 0, 0, 3, 1, 2, 3]].concat();
        for head in [header(), extended] {
            for trailer in [&b""[..], b"\xff\xff"] {
                let all = [&head[..], &rows, trailer].concat();
                for piece in [1, 2, 3, 5, 100] {
                    let (data, ends) = taken(&all, piece).unwrap();
                    assert_eq!(data, [&one[..], two].concat(), "{piece}");
                    assert_eq!(ends, [9, 19], "{piece}");
                }
            }
        }
        assert_eq!(taken(&header(), 4).unwrap(), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_is_not_of_the_format_is_told_in_the_words_of_postgresql() {
        let with = |rest: &[u8]| [&header(), rest].concat();
        let cases: &[(Vec<u8>, &str)] = &[
            (b"".to_vec(), "COPY file signature not recognized"),
            (
                b"1\t2\n3\t4\n5".to_vec(),
                "COPY file signature not recognized",
            ),
            (
                SIGNATURE.to_vec(),
                "invalid COPY file header (missing flags)",
            ),
            (
                [SIGNATURE, &[0; 4]].concat(),
                "invalid COPY file header (missing length)",
            ),
            (
                [SIGNATURE, &[0, 1, 0, 0]].concat(),
                "invalid COPY file header (WITH OIDS)",
            ),
            (
                [SIGNATURE, &[0x80, 0, 0, 0]].concat(),
                "unrecognized critical flags in COPY file header",
            ),
            (
                [SIGNATURE, &[0, 0, 0, 0, 0xff, 0, 0, 0]].concat(),
                "invalid COPY file header (wrong length)",
            ),
            (
                [SIGNATURE, &[0, 0, 0, 0, 0, 0, 0, 5, 1]].concat(),
                "invalid COPY file header (wrong length)",
            ),
            (with(b"\0\x03"), "row field count is 3, expected 2"),
            (with(b"\xff\xfe"), "row field count is -2, expected 2"),
            (with(b"\0\x02"), "unexpected EOF in COPY data"),
            (with(b"\0\x02\0\0\0\x05ab"), "unexpected EOF in COPY data"),
            (with(b"\0\x02\xff\xff\xff\xfe"), "invalid field size"),
            (with(b"\xff\xff\0"), "received copy data after EOF marker"),
        ];
        for (data, expected) in cases {
            for piece in [1, 100] {
                let expected = format!("22P04 {expected}");
                assert_eq!(taken(data, piece), Err(expected), "{data:?}");
            }
        }
        let long = taken(&with(b"\0\x02\0\xa0\0\0"), 100).unwrap_err();
        assert!(long.starts_with("54000 "), "{long}");
    }

    #[test]
    fn rows_become_parameters() {
        let plain = tuples(&["a", "b\"c"], None);
        assert_eq!(
            plain.insert(&table(), 2),
            "INSERT INTO \"t\" (\"a\", \"b\"\"c\") VALUES ($1, $2), ($3, $4)"
        );
        let numbered = tuples(&["id", "ip"], None);
        assert_eq!(
            numbered.insert(&table(), 1),
            "INSERT INTO \"t\" (\"id\", \"ip\") OVERRIDING SYSTEM VALUE VALUES ($1, $2::inet::text)"
        );
        let chosen = tuples(&["a", "ip"], Some("a <> 'x'"));
        assert_eq!(
            chosen.insert(&table(), 1),
            "INSERT INTO \"t\" (\"a\", \"ip\") SELECT \"a\", \"ip\"::text FROM \
             (VALUES ($1::text, $2::inet)) AS \"t\" (\"a\", \"ip\") WHERE a <> 'x'"
        );
        assert_eq!(plain.rows_of_insert(), ROWS);
        let wide: Vec<String> = (0..200).map(|number| format!("c{number}")).collect();
        let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
        let wide = tuples(&wide, None);
        assert_eq!(wide.rows_of_insert(), 81);
        assert_eq!(wide.values_of(81), 16_200);
    }

    #[test]
    fn columns_that_are_named_must_be_there() {
        let copy = CopyBinary {
            columns: vec!["b".to_owned(), "a".to_owned()],
            name: "t".to_owned(),
            condition: None,
            batches: false,
        };
        let row = |name: &str| {
            vec![
                Some(name.to_owned()),
                Some("int".to_owned()),
                None,
                Some("f".to_owned()),
            ]
        };
        let mut found = Tuples::new(copy.clone());
        assert_eq!(found.find(&table(), &[row("a"), row("b"), row("c")]), Ok(2));
        assert_eq!(
            found.same_as_text(&table()),
            "COPY \"t\" (\"b\", \"a\") FROM STDIN"
        );
        assert!(found.insert(&table(), 1).contains("(\"b\", \"a\")"));
        let missing = Tuples::new(copy).find(&table(), &[row("a")]).unwrap_err();
        assert_eq!(missing.code, "42703");
    }
}
