//! From a conflict to the tables, statements and keys that may have met it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::retry::{Effort, Evidence, Parameter, Ran, Source};
use crate::sql::scan::{Token, Tokens};
use crate::sql::target::{self, Operand, Writing};
use crate::telemetry::conflicts::{ConflictCode, ConflictLog, Key, Suspects};
use crate::upstream::STATEMENT_PREFIX;
use crate::wire::backend::ErrorFields;

use super::run::Session;

/// Texts whose meaning is kept, and how long each may be, in bytes.
const KEPT: usize = 512;
const KEPT_TEXT: usize = 4096;

/// Texts that are parsed within a second at most; others do not show in the statistics.
const PARSES: u32 = 1000;

/// Longest value of a key that is kept, in bytes.
const VALUE: usize = 128;

/// What one worker knows to look into the conflicts of a database entry.
#[derive(Debug)]
pub struct Insight {
    log: Arc<ConflictLog>,
    known: RefCell<HashMap<Vec<u8>, Rc<[Writing]>>>,
    /// When the second began, and texts parsed in it.
    parses: Cell<(Instant, u32)>,
}

impl Insight {
    /// Writes to this log.
    #[must_use]
    pub fn new(log: Arc<ConflictLog>) -> Self {
        Self {
            log,
            known: RefCell::default(),
            parses: Cell::new((Instant::now(), 0)),
        }
    }

    /// Counts a conflict, and what had part in it. `text_of` gives the text of a statement that was
    /// prepared earlier, by its name upstream.
    fn note(&self, evidence: Evidence, text_of: impl Fn(&[u8]) -> Option<Rc<[u8]>>) {
        self.log.count(evidence.code);
        // Somebody else changed the catalog: whatever this one ran had no part in it.
        let about_rows = evidence.code != ConflictCode::Catalog;
        let Some(ran) = evidence.ran.filter(|_| about_rows) else {
            return;
        };
        let now = Instant::now();
        let mut suspects = Suspects::default();
        for ran in ran {
            let writings = match &ran.source {
                Source::Text(text) => self.writings(text, now),
                Source::Prepared(name) => match text_of(name) {
                    Some(text) => self.writings(&text, now),
                    None => continue,
                },
            };
            self.accuse(&writings, &ran, &mut suspects);
        }
        self.log.record(now, suspects);
    }

    fn accuse(&self, writings: &[Writing], ran: &Ran, suspects: &mut Suspects) {
        for writing in writings {
            suspects.statements.insert(writing.fingerprint.clone());
            for target in &writing.targets {
                suspects.tables.insert(target.table.clone());
                if !self.log.keeps_keys() {
                    continue;
                }
                let keys = target.keys.iter();
                let named = keys.filter_map(|key| named(&target.table, key, &ran.parameters));
                suspects.keys.extend(named);
            }
        }
    }

    /// What a text may conflict over, parsed or remembered.
    fn writings(&self, text: &[u8], now: Instant) -> Rc<[Writing]> {
        if let Some(known) = self.known.borrow().get(text) {
            return Rc::clone(known);
        }
        if !self.may_parse(now) {
            return Rc::default();
        }
        let writings: Rc<[Writing]> = target::writings(text).into();
        // Constants of a text may be keys.
        let keeps = self.log.keeps_keys() || !has_constants(text);
        if keeps && text.len() <= KEPT_TEXT {
            let mut known = self.known.borrow_mut();
            if known.len() >= KEPT {
                known.clear();
            }
            known.insert(text.to_vec(), Rc::clone(&writings));
        }
        writings
    }

    fn may_parse(&self, now: Instant) -> bool {
        let (start, count) = self.parses.get();
        let (start, count) = match now.saturating_duration_since(start) < Duration::from_secs(1) {
            true => (start, count),
            false => (now, 0),
        };
        self.parses.set((start, count.saturating_add(1)));
        count < PARSES
    }
}

/// Whether a text has strings or numbers in it, besides parameters.
fn has_constants(text: &[u8]) -> bool {
    Tokens::new(text).any(|token| match token {
        Token::Text(_) => true,
        Token::Number(number) => !number.starts_with(b"$"),
        _ => false,
    })
}

/// A key with its values, if all of them can be told.
fn named(table: &str, key: &target::Key, parameters: &[Parameter]) -> Option<Key> {
    let mut columns = Vec::new();
    let mut values = Vec::new();
    for (column, operand) in key {
        let value = match operand {
            Operand::Value(value) => value.clone(),
            Operand::Parameter(number) => shown(parameters.get(number.checked_sub(1)?)?)?,
        };
        if value.len() > VALUE {
            return None;
        }
        columns.push(column.as_str());
        values.push(value);
    }
    Some(Key {
        table: table.to_owned(),
        column: columns.join(", "),
        value: values.join(", "),
    })
}

/// Types whose binary form is known (catalog `pg_type`).
const INT2: u32 = 21;
const INT4: u32 = 23;
const INT8: u32 = 20;
const UUID: u32 = 2950;
const TEXTS: [u32; 4] = [18, 25, 1042, 1043];

/// A parameter's value as text. Many drivers leave types to the server: then a binary value is told by
/// its length and looks, which may be wrong and is good enough for statistics.
fn shown(parameter: &Parameter) -> Option<String> {
    let value = parameter.value.as_deref()?;
    if !parameter.binary {
        return Some(std::str::from_utf8(value).ok()?.to_owned());
    }
    let is_text = || value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    match parameter.oid {
        INT2 | INT4 | INT8 => integer(value),
        UUID => uuid(value),
        oid if TEXTS.contains(&oid) => Some(std::str::from_utf8(value).ok()?.to_owned()),
        0 if is_text() => Some(std::str::from_utf8(value).ok()?.to_owned()),
        0 => integer(value).or_else(|| uuid(value)),
        _ => None,
    }
}

fn integer(value: &[u8]) -> Option<String> {
    let number = match *value {
        [a, b] => i64::from(i16::from_be_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
        _ => i64::from_be_bytes(value.try_into().ok()?),
    };
    Some(number.to_string())
}

fn uuid(value: &[u8]) -> Option<String> {
    let value: [u8; 16] = value.try_into().ok()?;
    let mut out = String::with_capacity(36);
    for (at, byte) in value.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    Some(out)
}

impl Session {
    /// Notes a conflict that the repetition saw.
    pub(super) fn note_conflict(&self, evidence: Evidence) {
        let text_of = |name: &[u8]| match name {
            b"" => self
                .names
                .get(b"")
                .map(|prepared| Rc::clone(&prepared.text)),
            name => {
                let id = name.strip_prefix(STATEMENT_PREFIX.as_bytes())?;
                let id = std::str::from_utf8(id).ok()?.parse().ok()?;
                let name = self.names.client_name(id)?;
                self.names
                    .get(name)
                    .map(|prepared| Rc::clone(&prepared.text))
            }
        };
        self.env.retry.insight.note(evidence, text_of);
    }

    /// Counts a conflict that no repetition has seen: it is off, or has lost the thread.
    pub(super) fn note_unwatched(&self, fields: &ErrorFields<'_>) {
        let watched = self
            .replay
            .as_ref()
            .is_some_and(|replay| replay.is_watching());
        if !watched && crate::retry::is_conflict(fields.code) {
            self.env.retry.insight.log.count(ConflictCode::of(fields));
        }
    }

    /// Counts what a repeated transaction took.
    pub(super) fn note_effort(&self, effort: Effort) {
        self.env.tally.repetitions.observe(effort.repetitions);
        self.env.tally.repeating.observe(effort.took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(oid: u32, binary: bool, value: &[u8]) -> Parameter {
        Parameter {
            oid,
            binary,
            value: Some(value.to_vec()),
        }
    }

    #[test]
    fn parameters_show_as_text() {
        let id = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
        let uuid = Some("01234567-89ab-cdef-0123-456789abcdef");
        let cases: [(u32, bool, &[u8], Option<&str>); 16] = [
            (INT4, false, b"42", Some("42")),
            (0, false, "ü".as_bytes(), Some("ü")),
            (0, false, b"\xff", None),
            (INT2, true, &[0xff, 0xfe], Some("-2")),
            (INT4, true, &[0, 0, 0, 42], Some("42")),
            (INT8, true, &[0, 0, 0, 0, 0, 0, 1, 0], Some("256")),
            (INT8, true, b"abcdefgh", Some("7017280452245743464")),
            (INT8, true, &[1], None),
            (UUID, true, &id, uuid),
            (25, true, b"name", Some("name")),
            (25, true, b"\xff", None),
            (0, true, &[0, 0, 0, 42], Some("42")),
            (0, true, &id, uuid),
            (0, true, b"user-17", Some("user-17")),
            (0, true, &[0, 1, 2], None),
            // float8
            (701, true, &[0; 8], None),
        ];
        for (oid, binary, value, expected) in cases {
            let found = shown(&parameter(oid, binary, value));
            assert_eq!(found.as_deref(), expected, "{oid} {binary} {value:?}");
        }
    }

    fn ran(text: &str, parameters: Vec<Parameter>) -> Ran {
        Ran {
            source: Source::Text(text.as_bytes().to_vec()),
            parameters,
        }
    }

    fn insight(keys: bool) -> (Insight, Arc<ConflictLog>) {
        let log = Arc::new(ConflictLog::new(keys, Instant::now()));
        (Insight::new(Arc::clone(&log)), log)
    }

    fn evidence(code: ConflictCode, ran: Vec<Ran>) -> Evidence {
        Evidence {
            code,
            ran: Some(ran),
        }
    }

    #[test]
    fn a_transaction_is_broken_down() {
        let (insight, log) = insight(true);
        let prepared = |name: &[u8]| {
            (name == b"s").then(|| Rc::from(&b"delete from u where a = $1 and b = 'x'"[..]))
        };
        let requests = vec![
            ran("begin", vec![]),
            ran("select * from t where id = 9", vec![]),
            ran(
                "update t set a = 1 where id = $1",
                vec![parameter(23, false, b"7")],
            ),
            ran(
                "update t set a = 1 where id = $1",
                vec![parameter(23, false, b"8")],
            ),
            ran(
                "update t set a = 1 where id = $2",
                vec![parameter(23, false, b"8")],
            ),
            Ran {
                source: Source::Prepared(b"s".to_vec()),
                parameters: vec![parameter(0, true, &[0, 0, 0, 1])],
            },
            Ran {
                source: Source::Prepared(b"unknown".to_vec()),
                parameters: vec![],
            },
            ran("commit", vec![]),
        ];
        insight.note(evidence(ConflictCode::Data, requests), prepared);
        let report = log.report(Instant::now(), 10);
        let rows = |what: &str, columns: &[&str]| -> Vec<String> {
            let row = |row: &serde_json::Value| {
                let cells: Vec<&str> = columns
                    .iter()
                    .filter_map(|name| row[name].as_str())
                    .collect();
                cells.join(" ")
            };
            report[what]
                .as_array()
                .expect("rows")
                .iter()
                .map(row)
                .collect()
        };
        assert_eq!(rows("tables", &["table"]), ["t", "u"]);
        assert_eq!(
            rows("keys", &["table", "column", "value"]),
            ["t id 7", "t id 8", "u a, b 1, x"]
        );
        assert_eq!(
            rows("statements", &["statement"]),
            [
                "delete from u where a = ? and b = ?",
                "update t set a = ? where id = ?"
            ]
        );
    }

    #[test]
    fn what_had_no_part_is_not_accused() {
        let (insight, log) = insight(false);
        let update = || ran("update t set a = 1 where id = 'secret'", vec![]);
        insight.note(evidence(ConflictCode::Catalog, vec![update()]), |_| None);
        assert_eq!((log.by_code()[1].1, log.analysed()), (1, 0));
        insight.note(evidence(ConflictCode::Data, vec![update()]), |_| None);
        let unsampled = Evidence {
            code: ConflictCode::Data,
            ran: None,
        };
        insight.note(unsampled, |_| None);
        assert_eq!((log.by_code()[0].1, log.analysed()), (2, 1));
        assert_eq!(log.by_table(), [("t".to_owned(), 1)]);
        assert!(
            !log.report(Instant::now(), 10)
                .to_string()
                .contains("secret")
        );
    }

    #[test]
    fn texts_with_constants_are_not_remembered_where_keys_are_not() {
        for (keys, text, expected) in [
            (true, "update t set a = 1 where id = 'secret'", 1),
            (false, "update t set a = 1 where id = 'secret'", 0),
            (false, "update t set a = $1 where id = 4711", 0),
            (false, "update t set a = $1 where id = $2", 1),
        ] {
            let (insight, _) = insight(keys);
            assert_eq!(insight.writings(text.as_bytes(), Instant::now()).len(), 1);
            assert_eq!(insight.known.borrow().len(), expected, "{text}");
        }
    }

    #[test]
    fn parsing_has_a_limit_for_each_second() {
        let (insight, _) = insight(true);
        let now = Instant::now();
        let count = (0..2000)
            .filter(|number| {
                let text = format!("update t set a = {number}");
                !insight.writings(text.as_bytes(), now).is_empty()
            })
            .count();
        assert_eq!(count, PARSES as usize);
        assert!(insight.known.borrow().len() <= KEPT);
        let later = now + Duration::from_secs(2);
        assert_eq!(insight.writings(b"update t set a = 0", later).len(), 1);
        // What is known costs nothing.
        for _ in 0..2000 {
            assert_eq!(insight.writings(b"update t set a = 0", later).len(), 1);
        }
    }
}
