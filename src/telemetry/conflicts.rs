//! Which tables, statements and keys take part in conflicts: counts in bounded memory.
//!
//! Key values are data of the users: they leave by [`ConflictLog::report`] alone, never by metrics or
//! logs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::wire::backend::ErrorFields;

/// Minutes that `recent` counts cover, the one under way included.
pub const WINDOW_MINUTES: usize = 10;

/// Tables, statements and keys that are kept of a database entry. What was not seen for long gives
/// way to what is new.
const TABLES: usize = 100;
const STATEMENTS: usize = 200;
const KEYS: usize = 500;

/// Tables of a database entry that have a metric of their own: the first that met a conflict. Others
/// are counted together.
const LABELS: usize = 50;

/// What stands in a metric for all tables beyond those.
const OTHERS: &str = "other";

/// What DSQL says a 40001 is for (its guide, "Concurrency control").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConflictCode {
    /// Rows were written by another transaction.
    Data,
    /// The catalog was changed by another transaction.
    Catalog,
    /// Neither: a serialization failure of PostgreSQL.
    #[default]
    Other,
}

impl ConflictCode {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Data, Self::Catalog, Self::Other];

    /// Reads an error that is a conflict. Older releases sent DSQL's own code in place of the
    /// SQLSTATE, or none at all.
    #[must_use]
    pub fn of(fields: &ErrorFields<'_>) -> Self {
        let says = |text: &str| {
            let in_text = |field: &[u8]| memchr::memmem::find(field, text.as_bytes()).is_some();
            in_text(fields.code) || in_text(fields.message) || in_text(fields.detail)
        };
        if says("OC001") {
            Self::Catalog
        } else if says("OC000") || says("conflicts with another transaction") {
            Self::Data
        } else {
            Self::Other
        }
    }

    /// Label of metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Data => "OC000",
            Self::Catalog => "OC001",
            Self::Other => "other",
        }
    }
}

/// A row that a statement named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its table.
    pub table: String,
    /// The columns compared, separated by `, `.
    pub column: String,
    /// Their values, likewise.
    pub value: String,
}

/// What a transaction wrote that met a conflict: any of it may be the cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suspects {
    /// Tables.
    pub tables: BTreeSet<String>,
    /// Fingerprints of statements.
    pub statements: BTreeSet<String>,
    /// Rows.
    pub keys: BTreeSet<Key>,
}

/// The conflicts of one database entry. Workers write to it upon a conflict only.
#[derive(Debug)]
pub struct ConflictLog {
    keys: bool,
    start: Instant,
    counts: [AtomicU64; 3],
    analysed: AtomicU64,
    ranked: Mutex<Ranked>,
}

#[derive(Debug)]
struct Ranked {
    tables: Ranking<String>,
    statements: Ranking<String>,
    keys: Ranking<Key>,
    labels: BTreeMap<String, u64>,
    others: u64,
}

impl ConflictLog {
    /// An empty one; `keys` are remembered or not.
    #[must_use]
    pub fn new(keys: bool, start: Instant) -> Self {
        Self {
            keys,
            start,
            counts: Default::default(),
            analysed: AtomicU64::new(0),
            ranked: Mutex::new(Ranked {
                tables: Ranking::new(TABLES),
                statements: Ranking::new(STATEMENTS),
                keys: Ranking::new(KEYS),
                labels: BTreeMap::new(),
                others: 0,
            }),
        }
    }

    /// Whether keys are remembered.
    #[must_use]
    pub fn keeps_keys(&self) -> bool {
        self.keys
    }

    /// Counts a conflict.
    pub fn count(&self, code: ConflictCode) {
        self.counts[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers what took part in one.
    pub fn record(&self, at: Instant, suspects: Suspects) {
        self.analysed.fetch_add(1, Ordering::Relaxed);
        let mut ranked = self.ranked();
        for table in &suspects.tables {
            ranked.label(table);
        }
        let moment = Moment {
            at,
            minute: at.saturating_duration_since(self.start).as_secs() / 60,
        };
        ranked.tables.note_all(suspects.tables, moment);
        ranked.statements.note_all(suspects.statements, moment);
        if self.keys {
            ranked.keys.note_all(suspects.keys, moment);
        }
    }

    /// Conflicts by code, each with its label.
    #[must_use]
    pub fn by_code(&self) -> [(&'static str, u64); 3] {
        ConflictCode::ALL.map(|code| {
            let count = self.counts[code as usize].load(Ordering::Relaxed);
            (code.label(), count)
        })
    }

    /// Conflicts whose statements were looked at.
    #[must_use]
    pub fn analysed(&self) -> u64 {
        self.analysed.load(Ordering::Relaxed)
    }

    /// Analysed conflicts by table, never more rows than one scrape can bear.
    #[must_use]
    pub fn by_table(&self) -> Vec<(String, u64)> {
        let ranked = self.ranked();
        let others = (ranked.others > 0).then(|| (OTHERS.to_owned(), ranked.others));
        let named = ranked.labels.iter();
        named
            .map(|(table, count)| (table.clone(), *count))
            .chain(others)
            .collect()
    }

    /// What operators see: at most `rows` tables, statements and keys each, the most frequent of
    /// the last minutes first. Key values are in it.
    #[must_use]
    pub fn report(&self, at: Instant, rows: usize) -> Value {
        let ranked = self.ranked();
        let moment = Moment {
            at,
            minute: at.saturating_duration_since(self.start).as_secs() / 60,
        };
        let row = |entry: &Entry, names: Value| {
            let mut row = names;
            row["recent"] = entry.recent(moment.minute).into();
            row["count"] = entry.count.into();
            row["alone"] = entry.alone.into();
            row["seconds_ago"] = at.saturating_duration_since(entry.last).as_secs().into();
            row
        };
        let tables = ranked.tables.top(moment, rows);
        let statements = ranked.statements.top(moment, rows);
        let keys = ranked.keys.top(moment, rows);
        let tables = tables
            .iter()
            .map(|(table, entry)| row(entry, json!({"table": table})));
        let statements = statements
            .iter()
            .map(|(text, entry)| row(entry, json!({"statement": text})));
        let keys = keys.iter().map(|(key, entry)| {
            let names = json!({"table": key.table, "column": key.column, "value": key.value});
            row(entry, names)
        });
        let counts: serde_json::Map<String, Value> = self
            .by_code()
            .iter()
            .map(|(code, count)| ((*code).to_owned(), Value::from(*count)))
            .collect();
        json!({
            "conflicts": counts,
            "analysed": self.analysed(),
            "keys_kept": self.keys,
            "tables": tables.collect::<Vec<_>>(),
            "statements": statements.collect::<Vec<_>>(),
            "keys": keys.collect::<Vec<_>>(),
        })
    }

    fn ranked(&self) -> MutexGuard<'_, Ranked> {
        // Counts are true at every moment, so a panic elsewhere does not matter.
        self.ranked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ranked {
    fn label(&mut self, table: &str) {
        if let Some(count) = self.labels.get_mut(table) {
            *count += 1;
        } else if self.labels.len() < LABELS && table != OTHERS {
            self.labels.insert(table.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    /// Since the start of the log.
    minute: u64,
}

/// Names with their counts. The lightest makes room for a new one, which takes over its weight, so
/// that what comes often enough stays, however many others there are ("space saving"). Weights halve
/// in the time of the window. Counts are exact since the name was last taken in.
#[derive(Debug)]
struct Ranking<T> {
    capacity: usize,
    entries: HashMap<T, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    count: u64,
    /// Conflicts in which nothing else of its kind took part: then it is the cause.
    alone: u64,
    /// Counts of the minutes up to `minute`, each at its number modulo the length.
    minutes: [u32; WINDOW_MINUTES],
    minute: u64,
    last: Instant,
    weight: f64,
}

impl<T: Hash + Eq + Ord + Clone> Ranking<T> {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: HashMap::new(),
        }
    }

    fn note_all(&mut self, names: BTreeSet<T>, moment: Moment) {
        let alone = names.len() == 1;
        for name in names {
            self.note(name, alone, moment);
        }
    }

    fn note(&mut self, name: T, alone: bool, moment: Moment) {
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.add(alone, moment);
            return;
        }
        let mut entry = Entry {
            count: 0,
            alone: 0,
            minutes: [0; WINDOW_MINUTES],
            minute: moment.minute,
            last: moment.at,
            weight: self.make_room(moment.at),
        };
        entry.add(alone, moment);
        self.entries.insert(name, entry);
    }

    /// Takes out the lightest if there are too many; gives its weight.
    fn make_room(&mut self, at: Instant) -> f64 {
        if self.entries.len() < self.capacity {
            return 0.0;
        }
        let weights = self.entries.iter();
        let lightest = weights
            .map(|(name, entry)| (entry.weight_at(at), name))
            .min_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(weight, name)| (weight, name.clone()));
        let Some((weight, name)) = lightest else {
            return 0.0;
        };
        self.entries.remove(&name);
        weight
    }

    fn top(&self, moment: Moment, rows: usize) -> Vec<(&T, &Entry)> {
        let mut all: Vec<(&T, &Entry)> = self.entries.iter().collect();
        all.sort_by(|(name, entry), (other_name, other)| {
            let rank = |entry: &Entry| (entry.recent(moment.minute), entry.count);
            rank(other)
                .cmp(&rank(entry))
                .then_with(|| name.cmp(other_name))
        });
        all.truncate(rows);
        all
    }
}

impl Entry {
    fn add(&mut self, alone: bool, moment: Moment) {
        self.weight = self.weight_at(moment.at) + 1.0;
        self.last = moment.at;
        self.count += 1;
        self.alone += u64::from(alone);
        self.turn(moment.minute);
        let slot = &mut self.minutes[self.minute as usize % WINDOW_MINUTES];
        *slot = slot.saturating_add(1);
    }

    /// Empties the minutes that have begun since.
    fn turn(&mut self, minute: u64) {
        let begun = minute.saturating_sub(self.minute);
        for number in 1..=begun.min(WINDOW_MINUTES as u64) {
            self.minutes[(self.minute + number) as usize % WINDOW_MINUTES] = 0;
        }
        self.minute = self.minute.max(minute);
    }

    /// Its count within the window that ends with this minute.
    fn recent(&self, minute: u64) -> u64 {
        let mut entry = self.clone();
        entry.turn(minute);
        entry.minutes.iter().map(|count| u64::from(*count)).sum()
    }

    fn weight_at(&self, at: Instant) -> f64 {
        let half = Duration::from_secs(60 * WINDOW_MINUTES as u64).as_secs_f64();
        let passed = at.saturating_duration_since(self.last).as_secs_f64();
        self.weight * (-passed / half).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspects(tables: &[&str], keys: &[(&str, &str)]) -> Suspects {
        Suspects {
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            statements: BTreeSet::new(),
            keys: keys
                .iter()
                .map(|(table, value)| Key {
                    table: (*table).to_owned(),
                    column: "id".to_owned(),
                    value: (*value).to_owned(),
                })
                .collect(),
        }
    }

    fn shown(report: &Value, what: &str, column: &str) -> Vec<String> {
        let row = |row: &Value| {
            format!(
                "{} {} {} {}",
                row[column].as_str().expect("a name"),
                row["recent"],
                row["count"],
                row["alone"]
            )
        };
        report[what]
            .as_array()
            .expect("rows")
            .iter()
            .map(row)
            .collect()
    }

    #[test]
    fn what_conflicts_most_of_late_comes_first() {
        let start = Instant::now();
        let log = ConflictLog::new(true, start);
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        for _ in 0..5 {
            log.record(at(0), suspects(&["old"], &[("old", "1")]));
        }
        log.record(
            at(8),
            suspects(&["old", "new"], &[("new", "2"), ("old", "1")]),
        );
        log.record(at(9), suspects(&["new"], &[("new", "2")]));
        let report = log.report(at(9), 10);
        assert_eq!(
            shown(&report, "tables", "table"),
            ["old 6 6 5", "new 2 2 1"]
        );
        let report = log.report(at(10), 10);
        assert_eq!(
            shown(&report, "tables", "table"),
            ["new 2 2 1", "old 1 6 5"]
        );
        assert_eq!(shown(&report, "keys", "value"), ["2 2 2 1", "1 1 6 5"]);
        assert_eq!(report["tables"][1]["seconds_ago"], 120);
        assert_eq!(report["analysed"], 7);
        assert_eq!(
            log.report(at(10), 1)["tables"].as_array().map(Vec::len),
            Some(1)
        );
        let report = log.report(at(1000), 10);
        assert_eq!(
            shown(&report, "tables", "table"),
            ["old 0 6 5", "new 0 2 1"]
        );
    }

    #[test]
    fn keys_are_kept_only_when_wanted() {
        let start = Instant::now();
        let log = ConflictLog::new(false, start);
        log.record(start, suspects(&["t"], &[("t", "secret")]));
        let report = log.report(start, 10);
        assert!(!report.to_string().contains("secret"));
        assert!(!format!("{log:?}").contains("secret"));
        assert_eq!(report["keys_kept"], false);
    }

    #[test]
    fn memory_is_bounded_and_a_hot_key_stays_among_many() {
        let start = Instant::now();
        let log = ConflictLog::new(true, start);
        for number in 0..20_000 {
            let at = start + Duration::from_millis(number);
            let value = number.to_string();
            log.record(at, suspects(&[&value], &[("t", &value)]));
            if number % 50 == 0 {
                log.record(at, suspects(&["hot"], &[("t", "hot")]));
            }
        }
        let report = log.report(start + Duration::from_secs(20), usize::MAX);
        assert_eq!(report["keys"].as_array().map(Vec::len), Some(KEYS));
        assert_eq!(report["tables"].as_array().map(Vec::len), Some(TABLES));
        assert_eq!(shown(&report, "keys", "value")[0], "hot 400 400 400");
        let metric = log.by_table();
        assert_eq!(metric.len(), LABELS + 1);
        assert_eq!(
            metric.last(),
            Some(&("other".to_owned(), 20_400 - 50 - 399))
        );
        assert_eq!(metric.iter().map(|(_, count)| count).sum::<u64>(), 20_400);
    }

    #[test]
    fn an_old_hot_key_gives_way() {
        let start = Instant::now();
        let mut ranking = Ranking::new(2);
        let moment = |minute: u64| Moment {
            at: start + Duration::from_secs(60 * minute),
            minute,
        };
        for _ in 0..1000 {
            ranking.note("old", true, moment(0));
        }
        for name in ["a", "b", "a", "b"] {
            ranking.note(name, true, moment(0));
        }
        assert!(ranking.entries.contains_key("old"));
        // Ten half-lives later its weight is less than 1.
        for name in ["a", "b"] {
            ranking.note(name, true, moment(110));
        }
        assert!(!ranking.entries.contains_key("old"));
    }

    #[test]
    fn codes_are_told_from_what_the_error_says() {
        let fields = |code, message| ErrorFields {
            code,
            message,
            ..ErrorFields::default()
        };
        let cases: [(&[u8], &[u8], &str); 7] = [
            (
                b"40001",
                b"change conflicts with another transaction (OC000)",
                "OC000",
            ),
            (
                b"40001",
                b"change conflicts with another transaction, please retry: (OC000)",
                "OC000",
            ),
            (
                b"40001",
                b"mutation conflicts with another transaction, retry as needed",
                "OC000",
            ),
            (
                b"40001",
                b"schema has been updated by another transaction (OC001)",
                "OC001",
            ),
            (b"OC000", b"", "OC000"),
            (b"OC001", b"", "OC001"),
            (
                b"40001",
                b"could not serialize access due to concurrent update",
                "other",
            ),
        ];
        for (code, message, expected) in cases {
            assert_eq!(ConflictCode::of(&fields(code, message)).label(), expected);
        }
    }

    #[test]
    fn conflicts_are_counted_by_code() {
        let log = ConflictLog::new(true, Instant::now());
        for code in [ConflictCode::Data, ConflictCode::Data, ConflictCode::Other] {
            log.count(code);
        }
        assert_eq!(log.by_code(), [("OC000", 2), ("OC001", 0), ("other", 1)]);
    }
}
