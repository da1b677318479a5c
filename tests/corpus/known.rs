//! The differences that are known, with their reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::replay::Exchange;

/// Why answers differ: the first pattern that the difference matches says it.
const REASONS: [(&str, &str); 18] = [
    (
        "^column .* 20 for .* 23$",
        "serial and identity columns are of type bigint on Aurora DSQL",
    ),
    (
        "^column .* (25|1043) for .* own$|^column .* own for",
        "enumerations are domains over text, which show as text",
    ),
    (
        "25P02|^tag ROLLBACK for tag COMMIT|^ready [TEI] for|^error 26000|^error 34000",
        "follows from a refusal before it in the same transaction",
    ),
    (
        "42P01|42703|42704 constraint|23503",
        "follows from a statement before it that was refused",
    ),
    (
        "two-phase|PREPARE TRANSACTION|ROLLBACK PREPARED|COMMIT PREPARED",
        "there is no two-phase commit",
    ),
    ("notifications", "there are no notifications"),
    (
        "type of a column cannot be changed",
        "a column's type cannot be changed yet",
    ),
    (
        "of type .*(\\[\\]|tsvector|inet|hstore)|citext",
        "columns of this type are declared out",
    ),
    (
        "DeclareCursor|Fetch|ClosePortal|Deallocate|Discard|unsupported statement: (Prepare|Execute)",
        "cursors, SQL PREPARE and DISCARD are not answered yet",
    ),
    (
        "setting configuration parameter|Unsupported isolation level|transaction_isolation",
        "not every setting is kept by the proxy yet",
    ),
    (
        "advisory|locked as a whole|unsupported statement: Lock",
        "locks by a lock table are not there yet",
    ),
    (
        "primary key cannot be added|add_primary_key",
        "a primary key cannot be added to a table with rows",
    ),
    (
        "cannot be one of several in a Query",
        "steps among several statements of a Query",
    ),
    ("temporary", "temporary tables are not there yet"),
    (
        "trigger|DO is not available|language|plpgsql",
        "programs of the server are declared out",
    ),
    (
        "row limit",
        "COPY of more than 3,000 rows is not parted yet",
    ),
    (
        "^rows [0-9]+ for rows|^rows [0-9]+ for tag|^tag SELECT 0 for rows|^tag (UPDATE|DELETE|INSERT 0) [0-9]+ for",
        "other databases, settings and objects than on the plain server, or rows that were not written",
    ),
    ("", "not explained yet"),
];

/// What is written about a difference at the most, in characters.
const WIDTH: usize = 160;

/// The list, and what was found in this run.
pub struct Known {
    listed: BTreeMap<(String, usize), String>,
    found: BTreeMap<(String, usize), String>,
    said: BTreeSet<String>,
}

/// How the answers to an exchange differ, in a few words.
pub fn difference(expected: &Exchange, got: &Exchange) -> Option<String> {
    let same = |left: &String, right: &String| match (code(left), code(right)) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    };
    let pairs = expected.shape.iter().zip(&got.shape);
    let at = match pairs.clone().position(|(left, right)| !same(left, right)) {
        Some(at) => at,
        None if expected.shape.len() == got.shape.len() => return None,
        None => pairs.count(),
    };
    let part = |shape: &[String]| shape.get(at).map_or("nothing", String::as_str).to_owned();
    let (left, right) = (part(&expected.shape), part(&got.shape));
    let words = match (
        left.strip_prefix("columns "),
        right.strip_prefix("columns "),
    ) {
        (Some(left), Some(right)) => {
            let (left, right) = first_different(left, right);
            format!("column {right} for {left}")
        }
        _ => format!("{right} for {left}"),
    };
    let words: String = words
        .replace(['\n', '\t'], " ")
        .chars()
        .take(WIDTH)
        .collect();
    Some(words.trim_end().to_owned())
}

fn code(line: &str) -> Option<&str> {
    line.strip_prefix("error ")?.get(..5)
}

fn first_different<'a>(left: &'a str, right: &'a str) -> (&'a str, &'a str) {
    let mut lefts = left.split(", ");
    let mut rights = right.split(", ");
    loop {
        match (lefts.next(), rights.next()) {
            (Some(left), Some(right)) if left == right => {}
            (left, right) => return (left.unwrap_or("none"), right.unwrap_or("none")),
        }
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/known.txt")
}

impl Known {
    /// Reads the list.
    pub fn read() -> Self {
        let text = std::fs::read_to_string(path()).unwrap_or_default();
        let entries = text.lines().filter(|line| !line.starts_with('#'));
        let listed = entries.filter_map(|line| {
            let (place, words) = line.split_once(' ')?;
            let (name, at) = place.split_once(':')?;
            Some(((name.to_owned(), at.parse().ok()?), words.to_owned()))
        });
        Self {
            listed: listed.collect(),
            found: BTreeMap::new(),
            said: BTreeSet::new(),
        }
    }

    /// Takes note of a difference.
    pub fn found(&mut self, name: &str, line: usize, words: &str) {
        self.found.insert((name.to_owned(), line), words.to_owned());
    }

    /// All of a recording was said.
    pub fn said(&mut self, name: &str) {
        self.said.insert(name.to_owned());
    }

    /// Compares what was found with the list, or writes it anew.
    pub fn settle(mut self) {
        if std::env::var_os("DSQLPROXY_CORPUS_WRITE").is_some() {
            self.listed.retain(|(name, _), _| !self.said.contains(name));
            self.listed.append(&mut self.found);
            std::fs::write(path(), self.render()).expect("known.txt");
            return;
        }
        let mut wrong = String::new();
        for ((name, line), words) in &self.found {
            if !self.listed.contains_key(&(name.clone(), *line)) {
                let _ = writeln!(wrong, "differs: {name}:{line} {words}");
            }
        }
        for (name, line) in self.listed.keys() {
            let gone = !self.found.contains_key(&(name.clone(), *line));
            if self.said.contains(name) && gone {
                println!("no longer differs: {name}:{line}");
            }
        }
        assert!(
            wrong.is_empty(),
            "{wrong}When this is right, set DSQLPROXY_CORPUS_WRITE=1 and run it again."
        );
    }

    fn render(&self) -> String {
        let reasons: Vec<(Regex, &str)> = REASONS
            .iter()
            .map(|(pattern, reason)| (Regex::new(pattern).expect("a pattern"), *reason))
            .collect();
        let mut text = String::from(
            "# Answers that differ from those of plain PostgreSQL: recording:line, what came for what was\n\
             # expected. Written by tests/corpus, see its main.rs.\n",
        );
        let reason_of =
            |words: &String| reasons.iter().position(|(known, _)| known.is_match(words));
        for (at, (_, reason)) in reasons.iter().enumerate() {
            let mut head = false;
            for ((name, line), words) in &self.listed {
                if reason_of(words) != Some(at) {
                    continue;
                }
                if !head {
                    let _ = writeln!(text, "\n# {reason}");
                    head = true;
                }
                let _ = writeln!(text, "{name}:{line} {words}");
            }
        }
        text
    }
}
