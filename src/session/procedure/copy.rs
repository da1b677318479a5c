//! COPY FROM STDIN in batches: the client's data, cut behind rows.
//!
//! Pure: data go in, frames for the server come out.

use std::collections::VecDeque;

use super::task::Request;
use super::tuples::Tuples;
use super::{catalog, words};
use crate::policy::{CopyForm, CopyIn, CopyLines, TableName};
use crate::wire::frontend;
use crate::wire::reply::ClientError;

/// A batch has at most so many bytes, unless a single row has more: DSQL's limit for a transaction is
/// 10 MiB with all that it writes.
const BYTES: usize = 4 * 1024 * 1024;

/// Rows that have to go into one transaction have at most so many bytes, lengths of values included.
const WHOLE: usize = 16 * 1024 * 1024;

/// Longest CopyData message that is sent.
const MESSAGE: usize = 64 * 1024;

/// Finds the ends of rows.
#[derive(Debug, Clone)]
struct Splitter {
    /// Quote and escape of format csv.
    csv: Option<(u8, u8)>,
    quoted: bool,
    escaped: bool,
}

impl Splitter {
    /// Whether a row ends behind this byte.
    fn ends(&mut self, byte: u8) -> bool {
        let Some((quote, escape)) = self.csv else {
            let escaped = self.escaped;
            self.escaped = byte == b'\\' && !escaped;
            return byte == b'\n' && !escaped;
        };
        // An escape counts inside quotes only, and not behind another one.
        let escaped = self.escaped;
        self.escaped = self.quoted && byte == escape && escape != quote && !escaped;
        if byte == quote && !escaped {
            self.quoted = !self.quoted;
        }
        byte == b'\n' && !self.quoted
    }
}

/// What the rows are.
#[derive(Debug)]
enum Form {
    Lines(CopyLines, Splitter),
    Tuples(Box<Tuples>),
}

/// A COPY under way.
#[derive(Debug)]
pub(in crate::session) struct Copying {
    table: TableName,
    form: Form,
    /// Rows of a batch at most.
    rows: usize,
    /// Data that are not copied yet.
    data: VecDeque<u8>,
    /// Where rows of it end.
    ends: VecDeque<usize>,
    /// Bytes that came so far and are gone.
    gone: usize,
    /// Rows and bytes that were sent last, and lines.
    sent: (usize, usize),
    /// The client has said so: no more data, or why it gave up.
    over: Option<Result<(), String>>,
    /// What is wrong with the data.
    broken: Option<ClientError>,
    /// The client was told to send data.
    pub told: bool,
    /// It is part of the client's transaction so far.
    pub within: bool,
    /// That is committed behind the batch at hand.
    pub splits: bool,
    /// Rows copied.
    pub copied: u64,
    /// Transactions.
    pub runs: u64,
    /// Lines of the data that are copied, a header too.
    lines: usize,
}

/// An INSERT of rows.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session) struct Insert {
    /// The statement, if it is not that of the one before.
    pub sql: Option<String>,
    /// Number of parameters.
    pub count: u16,
    /// Their values in binary form, as in Bind.
    pub values: Vec<u8>,
}

/// What is sent to the server that waits for data.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session) enum Batch {
    /// There is too little yet.
    Wait,
    /// CopyData frames and their end; whether more batches follow.
    Send(Vec<u8>, bool),
    /// CopyFail.
    Fail(Vec<u8>),
}

impl Copying {
    /// `within`: in the client's transaction, as long as one batch is enough.
    pub fn new(copy: CopyIn, rows: u32, within: bool) -> Self {
        let form = match copy.form {
            CopyForm::Lines(lines) => {
                let splitter = Splitter {
                    csv: lines.csv,
                    quoted: false,
                    escaped: false,
                };
                Form::Lines(lines, splitter)
            }
            CopyForm::Binary(copy) => Form::Tuples(Box::new(Tuples::new(copy))),
        };
        Self {
            table: copy.table,
            form,
            rows: usize::try_from(rows).unwrap_or(usize::MAX).max(1),
            data: VecDeque::new(),
            ends: VecDeque::new(),
            gone: 0,
            sent: (0, 0),
            over: None,
            broken: None,
            told: false,
            within,
            splits: false,
            copied: 0,
            runs: 0,
            lines: 0,
        }
    }

    /// What is asked for the next batch.
    pub fn request(&self) -> Request {
        match (&self.form, self.runs) {
            (Form::Lines(lines, _), 0) => Request::Copy(lines.first.clone()),
            (Form::Lines(lines, _), _) => Request::Copy(lines.next.clone()),
            (Form::Tuples(_), _) if !self.told => Request::look(catalog::written(&self.table)),
            // It fails there too, with the transaction that it is part of.
            (Form::Tuples(tuples), _) if self.has_failed() => {
                Request::Copy(tuples.same_as_text(&self.table))
            }
            (Form::Tuples(_), _) if self.ends.is_empty() => Request::look("SELECT".to_owned()),
            (Form::Tuples(_), _) => Request::Rows,
        }
    }

    /// It has to know the columns of the table, ahead of any data.
    pub fn looks(&self) -> bool {
        matches!(self.form, Form::Tuples(_)) && !self.told
    }

    /// Takes them; gives the number of values of a row, if the client is to send rows.
    pub fn found(&mut self, rows: &[Vec<Option<String>>]) -> Option<u16> {
        self.told = true;
        let Form::Tuples(tuples) = &mut self.form else {
            return None;
        };
        let found = tuples.find(&self.table, rows);
        found.map_err(|error| self.broken = Some(error)).ok()
    }

    /// The client's data go through the proxy while no server waits for them.
    pub fn is_held(&self) -> bool {
        matches!(self.form, Form::Tuples(_))
    }

    /// Takes data of the client.
    pub fn put(&mut self, bytes: &[u8]) {
        let start = self.gone + self.data.len();
        match &mut self.form {
            Form::Lines(_, splitter) => {
                for (at, byte) in bytes.iter().enumerate() {
                    if splitter.ends(*byte) {
                        self.ends.push_back(start + at + 1);
                    }
                }
                self.data.extend(bytes);
            }
            Form::Tuples(_) if self.broken.is_some() => {}
            Form::Tuples(tuples) => {
                let (gone, ends) = (self.gone, &mut self.ends);
                let put = tuples.put(bytes, &mut self.data, |end| ends.push_back(gone + end));
                self.broken = put.err();
                if !tuples.goes_in_batches() && self.data.len() > WHOLE {
                    self.broken.get_or_insert_with(words::too_much_to_copy);
                }
            }
        }
    }

    /// The client has sent all, or gives up.
    pub fn end(&mut self, outcome: Result<(), String>) {
        if let (Form::Tuples(tuples), None, Ok(())) = (&self.form, &self.broken, &outcome) {
            self.broken = tuples.finish().err();
        }
        self.over.get_or_insert(outcome);
    }

    /// What is wrong with the data, once.
    pub fn take_broken(&mut self) -> Option<ClientError> {
        self.broken.take()
    }

    /// It cannot go on.
    pub fn has_failed(&self) -> bool {
        self.broken.is_some() || matches!(self.over, Some(Err(_)))
    }

    /// Why the client gave up.
    pub fn failure(&self) -> Option<&str> {
        match &self.over {
            Some(Err(reason)) => Some(reason),
            _ => None,
        }
    }

    /// It takes data: the client was asked for them, and there is less than a batch.
    pub fn takes_data(&self) -> bool {
        self.told && self.over.is_none() && self.broken.is_none() && !self.is_full()
    }

    /// A batch can be sent.
    pub fn is_ready(&self) -> bool {
        self.over.is_some() || self.broken.is_some() || self.is_full()
    }

    /// All that the client sent is copied.
    pub fn is_done(&self) -> bool {
        self.over == Some(Ok(())) && self.data.is_empty() && self.runs > 0
    }

    /// All of it has to be one batch.
    fn is_whole(&self) -> bool {
        matches!(&self.form, Form::Tuples(tuples) if !tuples.goes_in_batches())
    }

    fn is_full(&self) -> bool {
        if self.is_whole() {
            return false;
        }
        // One row more, so that it is known whether another batch follows.
        self.ends.len() > self.rows || (self.data.len() > BYTES && self.ends.len() > 1)
    }

    /// Rows and bytes of the next batch.
    fn next(&self) -> (usize, usize) {
        if self.is_whole() {
            return (self.ends.len(), self.data.len());
        }
        let header = match &self.form {
            Form::Lines(lines, _) => usize::from(self.runs == 0 && lines.header),
            Form::Tuples(_) => 0,
        };
        let fits = |end: &&usize| **end - self.gone <= BYTES;
        let few = self.ends.iter().take(self.rows + header);
        let rows = few.clone().take_while(fits).count().max(1);
        // What is behind the last end of a row is one, too.
        let whole = self.ends.back().map_or(0, |end| end - self.gone);
        let left = self.ends.len() + usize::from(whole < self.data.len());
        let all =
            self.over == Some(Ok(())) && rows >= self.ends.len() && left <= self.rows + header;
        match self.ends.get(rows - 1) {
            Some(end) if !all => (rows, end - self.gone),
            _ => (rows.max(self.ends.len()), self.data.len()),
        }
    }

    /// What the server gets now.
    pub fn batch(&mut self) -> Batch {
        let broken = self.broken.as_ref().map(|_| "the data are not readable");
        if let Some(reason) = self.failure().or(broken) {
            let mut out = Vec::new();
            let reason: Vec<u8> = reason.bytes().filter(|byte| *byte != 0).collect();
            frontend::put(&mut out, b'f', &[&reason, b"\0"]);
            return Batch::Fail(out);
        }
        if !self.is_ready() {
            return Batch::Wait;
        }
        let (rows, bytes) = self.next();
        self.sent = (rows, bytes);
        let mut out = Vec::with_capacity(bytes + 64);
        let (one, other) = self.data.as_slices();
        let split = bytes.min(one.len());
        for piece in [&one[..split], &other[..bytes - split]] {
            for message in piece.chunks(MESSAGE) {
                frontend::put(&mut out, b'd', &[message]);
            }
        }
        frontend::put(&mut out, b'c', &[]);
        Batch::Send(out, bytes < self.data.len() || self.over.is_none())
    }

    /// The same as INSERTs, and whether more batches follow.
    pub fn inserts(&mut self) -> (Vec<Insert>, bool) {
        let (rows, bytes) = self.next();
        self.sent = (rows, bytes);
        let more = bytes < self.data.len() || self.over.is_none();
        let Form::Tuples(tuples) = &self.form else {
            return (Vec::new(), false);
        };
        let mut inserts = Vec::new();
        let (mut first, mut start, mut before) = (0, 0, 0);
        while first < rows {
            let ends = self.ends.iter().skip(first).map(|end| end - self.gone);
            let ends = ends.take(tuples.rows_of_insert().min(rows - first));
            let fits = |end: &usize| *end - start <= BYTES;
            let one = ends.clone().next().unwrap_or(start);
            let (count, end) = ends
                .take_while(fits)
                .fold((0, start), |(n, _), end| (n + 1, end));
            let (count, end) = match count {
                0 => (1, one.max(start)),
                count => (count, end),
            };
            inserts.push(Insert {
                sql: (count != before).then(|| tuples.insert(&self.table, count)),
                count: tuples.values_of(count),
                values: self.data.range(start..end).copied().collect(),
            });
            (first, start, before) = (first + count, end, count);
        }
        (inserts, more)
    }

    /// The batch is committed, or part of the client's transaction.
    pub fn note_copied(&mut self, copied: u64) {
        self.runs += 1;
        self.copied += copied;
        let (rows, bytes) = std::mem::take(&mut self.sent);
        if let Form::Lines(..) = self.form {
            let lines = self.data.iter().take(bytes);
            self.lines += lines.filter(|byte| **byte == b'\n').count();
        } else if rows == 0 {
            // There was nothing to insert; something else was asked.
            self.copied -= copied;
        }
        self.data.drain(..bytes);
        self.ends.drain(..rows.min(self.ends.len()));
        self.gone += bytes;
    }

    /// The batch was too large: the next is smaller, if it can be.
    pub fn shrink(&mut self) -> bool {
        if self.is_whole() {
            return false;
        }
        let (rows, _) = std::mem::take(&mut self.sent);
        let smaller = rows.min(self.rows) / 2;
        self.rows = smaller.max(1);
        smaller > 0
    }

    /// The server's error with the line of the client's data instead of that of the batch.
    pub fn place(&self, body: &[u8]) -> Vec<u8> {
        if matches!(self.form, Form::Tuples(_)) {
            return self.without_statement(body);
        }
        let mut out = Vec::with_capacity(body.len() + 8);
        for field in body.split_inclusive(|byte| *byte == 0) {
            match field.first() {
                Some(b'W') => out.extend_from_slice(&self.placed(field)),
                _ => out.extend_from_slice(field),
            }
        }
        out
    }

    /// The server's error about an INSERT that the client does not know.
    fn without_statement(&self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + 16);
        for field in body.split_inclusive(|byte| *byte == 0) {
            match field.first() {
                Some(b'P' | b'p' | b'q' | b'W') => {}
                Some(b'M') => {
                    let end = memchr::memmem::find(field, b" in bind parameter ");
                    out.extend_from_slice(&field[..end.unwrap_or(field.len() - 1)]);
                    out.push(0);
                }
                Some(0) | None if !self.told => out.push(0),
                Some(0) | None => {
                    let context = format!("WCOPY {}", self.table.0.replace(['"', '\0'], ""));
                    out.extend_from_slice(context.as_bytes());
                    out.extend_from_slice(b"\0\0");
                }
                _ => out.extend_from_slice(field),
            }
        }
        out
    }

    fn placed(&self, field: &[u8]) -> Vec<u8> {
        let word = b", line ";
        let number = memchr::memmem::find(field, word).map(|at| at + word.len());
        let Some(start) = number.filter(|_| field.starts_with(b"WCOPY ")) else {
            return field.to_vec();
        };
        let length = field[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let line = std::str::from_utf8(&field[start..start + length]).ok();
        match line.and_then(|line| line.parse::<usize>().ok()) {
            None => field.to_vec(),
            Some(line) => [
                &field[..start],
                (line + self.lines).to_string().as_bytes(),
                &field[start + length..],
            ]
            .concat(),
        }
    }

    /// What has been done so far, for people.
    pub fn tale(&self) -> String {
        format!(
            "the copy of {} rows into table {} in {}",
            self.copied,
            self.table.0,
            match self.runs {
                1 => "1 transaction".to_owned(),
                runs => format!("{runs} transactions"),
            }
        )
    }

    /// The table, for people.
    pub fn table(&self) -> &str {
        &self.table.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::CopyBinary;
    use crate::wire::frame::{self, HEADER};

    fn copying(csv: Option<(u8, u8)>, header: bool, rows: u32) -> Copying {
        let copy = CopyIn {
            table: TableName("t".to_owned()),
            form: CopyForm::Lines(CopyLines {
                first: "first".to_owned(),
                next: "next".to_owned(),
                csv,
                header,
            }),
        };
        let mut copying = Copying::new(copy, rows, false);
        copying.told = true;
        copying
    }

    fn text(mut frames: &[u8]) -> String {
        let mut out = Vec::new();
        while let Some(header) = frame::frontend_header(frames).unwrap() {
            match header.tag {
                b'd' => out.extend_from_slice(&frames[HEADER..header.total]),
                b'c' => assert_eq!(header.total, frames.len()),
                other => panic!("{other}"),
            }
            frames = &frames[header.total..];
        }
        String::from_utf8(out).unwrap()
    }

    /// All batches of data that come in pieces of so many bytes.
    fn batches(mut copying: Copying, data: &str, piece: usize) -> Vec<String> {
        let mut batches = Vec::new();
        let mut take = |copying: &mut Copying| {
            while !copying.is_done() && copying.is_ready() {
                let Batch::Send(frames, _) = copying.batch() else {
                    panic!("it is ready");
                };
                batches.push(text(&frames));
                copying.note_copied(0);
            }
        };
        for piece in data.as_bytes().chunks(piece) {
            copying.put(piece);
            take(&mut copying);
        }
        copying.end(Ok(()));
        take(&mut copying);
        batches
    }

    #[test]
    fn data_are_cut_behind_rows() {
        let quotes = Some((b'"', b'"'));
        let escapes = Some((b'\'', b'\\'));
        type Row = (
            Option<(u8, u8)>,
            bool,
            &'static str,
            &'static [&'static str],
        );
        let cases: &[Row] = &[
            (None, false, "", &[""]),
            (None, false, "a\nb\n", &["a\nb\n"]),
            (None, false, "a\nb\nc\n", &["a\nb\n", "c\n"]),
            (None, false, "a\nb\nc", &["a\nb\n", "c"]),
            (None, false, "a\nb\nc\nd\n", &["a\nb\n", "c\nd\n"]),
            (None, false, "a\\\nb\nc\nd\n", &["a\\\nb\nc\n", "d\n"]),
            (None, false, "a\\\\\nb\nc\n", &["a\\\\\nb\n", "c\n"]),
            (quotes, false, "\"a\nb\"\nc\nd\n", &["\"a\nb\"\nc\n", "d\n"]),
            (
                quotes,
                false,
                "\"a\"\"\n\"\nc\nd\n",
                &["\"a\"\"\n\"\nc\n", "d\n"],
            ),
            (quotes, false, "\\\nb\nc\n", &["\\\nb\n", "c\n"]),
            (
                escapes,
                false,
                "'a\\'\nb'\nc\nd\n",
                &["'a\\'\nb'\nc\n", "d\n"],
            ),
            (escapes, false, "'a\\\\'\nb\nc\n", &["'a\\\\'\nb\n", "c\n"]),
            (quotes, true, "h\na\nb\nc\n", &["h\na\nb\n", "c\n"]),
        ];
        for (csv, header, data, expected) in cases {
            for piece in [1, 3, 100] {
                let found = batches(copying(*csv, *header, 2), data, piece);
                assert_eq!(found, *expected, "{data:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn batches_end_ahead_of_too_many_bytes() {
        let row = format!("{}\n", "x".repeat(BYTES / 3));
        let found = batches(copying(None, false, 2500), &row.repeat(5), 1000);
        let rows: Vec<usize> = found.iter().map(|batch| batch.len() / row.len()).collect();
        assert_eq!(rows, [2, 2, 1]);
        // A row by itself goes as it is, for the server to say what it thinks of it.
        let row = format!("{}\n", "x".repeat(BYTES + 10));
        assert_eq!(
            batches(copying(None, false, 2500), &row.repeat(2), 100_000).len(),
            2
        );
    }

    #[test]
    fn a_batch_that_is_too_large_is_sent_again_in_parts() {
        let mut copying = copying(None, false, 4);
        copying.put(b"1\n2\n3\n4\n5\n");
        copying.end(Ok(()));
        let sent = |copying: &mut Copying| match copying.batch() {
            Batch::Send(frames, more) => (text(&frames), more),
            other => panic!("{other:?}"),
        };
        assert_eq!(sent(&mut copying), ("1\n2\n3\n4\n".to_owned(), true));
        assert!(copying.shrink());
        assert_eq!(sent(&mut copying), ("1\n2\n".to_owned(), true));
        assert!(copying.shrink());
        assert_eq!(sent(&mut copying), ("1\n".to_owned(), true));
        assert!(!copying.shrink());
        assert_eq!(sent(&mut copying), ("1\n".to_owned(), true));
        copying.note_copied(1);
        assert_eq!(copying.request(), Request::Copy("next".to_owned()));
        assert_eq!(
            copying.tale(),
            "the copy of 1 rows into table t in 1 transaction"
        );
    }

    #[test]
    fn errors_are_about_lines_of_the_clients_data() {
        let mut copying = copying(None, false, 2);
        copying.put(b"1\n2\n3\n4\n5\n");
        copying.batch();
        copying.note_copied(2);
        let body = b"SERROR\0C22P02\0Mno\0WCOPY t, line 2, column a: \"x\"\0\0";
        assert_eq!(
            copying.place(body),
            b"SERROR\0C22P02\0Mno\0WCOPY t, line 4, column a: \"x\"\0\0"
        );
        for other in [
            &b"SERROR\0WSQL function f, line 2\0\0"[..],
            b"WCOPY t\0\0",
            b"",
        ] {
            assert_eq!(copying.place(other), other);
        }
    }

    /// A COPY of two values a row, in batches of so many rows.
    fn binary(rows: u32, batches: bool) -> Copying {
        let copy = CopyIn {
            table: TableName("t".to_owned()),
            form: CopyForm::Binary(CopyBinary {
                columns: Vec::new(),
                name: "t".to_owned(),
                condition: None,
                batches,
            }),
        };
        let mut copying = Copying::new(copy, rows, false);
        assert!(copying.looks() && !copying.takes_data());
        let column = |name: &str| {
            let own = |value: &str| Some(value.to_owned());
            vec![own(name), own("text"), None, own("f")]
        };
        assert_eq!(copying.found(&[column("a"), column("b")]), Some(2));
        assert!(copying.takes_data() && !copying.looks());
        copying.put(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        copying
    }

    /// A row, and its values.
    fn row(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        let values = [&length[..], text, b"\xff\xff\xff\xff"].concat();
        ([b"\0\x02", &values[..]].concat(), values)
    }

    fn counts(inserts: &[Insert]) -> Vec<(u16, bool)> {
        let count = |insert: &Insert| (insert.count, insert.sql.is_some());
        inserts.iter().map(count).collect()
    }

    #[test]
    fn binary_rows_become_inserts_in_batches() {
        let mut copying = binary(600, true);
        let (data, values) = row(b"x");
        copying.put(&data.repeat(601));
        assert!(copying.is_ready() && !copying.takes_data());
        let (inserts, more) = copying.inserts();
        assert!(more);
        assert_eq!(counts(&inserts), [(1000, true), (200, true)]);
        assert_eq!(inserts[0].values, values.repeat(500));
        // A repetition sends the same.
        assert_eq!(copying.inserts().0, inserts);
        copying.note_copied(600);
        assert!(!copying.is_ready());
        copying.put(b"\xff\xff");
        copying.end(Ok(()));
        let (inserts, more) = copying.inserts();
        assert_eq!((counts(&inserts), more), (vec![(2, true)], false));
        copying.note_copied(1);
        assert!(copying.is_done());
        assert_eq!(copying.copied, 601);
    }

    #[test]
    fn long_binary_rows_are_parted_by_bytes() {
        let mut copying = binary(2500, false);
        let (data, values) = row(&vec![7; BYTES / 3]);
        copying.put(&data.repeat(5));
        // In one transaction whatever comes, so all is waited for.
        assert!(!copying.is_ready());
        copying.end(Ok(()));
        let (inserts, more) = copying.inserts();
        assert_eq!(
            (counts(&inserts), more),
            (vec![(4, true), (4, false), (2, true)], false)
        );
        let all: Vec<u8> = inserts
            .into_iter()
            .flat_map(|insert| insert.values)
            .collect();
        assert_eq!(all, values.repeat(5));
        assert!(!copying.shrink());
        copying = binary(2500, false);
        copying.put(&data.repeat(WHOLE / data.len() + 1));
        assert!(copying.is_ready() && copying.has_failed());
        assert_eq!(copying.take_broken().unwrap().code, "54000");
    }

    #[test]
    fn broken_binary_data_end_a_copy() {
        let mut copying = binary(10, true);
        copying.put(&row(b"x").0);
        copying.put(b"\0\x01");
        assert!(copying.is_ready() && !copying.takes_data());
        assert_eq!(
            copying.request(),
            Request::Copy("COPY t FROM STDIN".to_owned())
        );
        assert!(matches!(copying.batch(), Batch::Fail(_)));
        assert_eq!(copying.take_broken().unwrap().code, "22P04");
        let mut copying = binary(10, true);
        copying.end(Ok(()));
        assert_eq!(copying.request(), Request::look("SELECT".to_owned()));
        copying.note_copied(1);
        assert!(copying.is_done());
        assert_eq!(copying.copied, 0);
    }

    #[test]
    fn errors_do_not_show_the_insert() {
        let body = b"SERROR\0C22P03\0Mincorrect binary data format in bind parameter 7\0P12\0Wunnamed portal\0\0";
        assert_eq!(
            binary(1, true).place(body),
            b"SERROR\0C22P03\0Mincorrect binary data format\0WCOPY t\0\0"
        );
    }
}
