//! Session settings as the pool believes them to be, and the SQL that turns one set into another.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sql::scan::{Token, Tokens};

/// Settings that differ from what a fresh upstream connection has: lower-case name → right side of
/// `SET name TO`.
pub type Settings = BTreeMap<String, String>;

/// A shared set of settings; equal pointers are equal sets.
pub type SharedSettings = Arc<Settings>;

/// Settings whose string value is a list of identifiers (`GUC_LIST_QUOTE` in PostgreSQL): a single
/// literal would be read as one name.
const IDENTIFIER_LISTS: [&str; 2] = ["search_path", "temp_tablespaces"];

/// Whether two sets are equal.
#[must_use]
pub fn same(left: &SharedSettings, right: &SharedSettings) -> bool {
    Arc::ptr_eq(left, right) || left == right
}

/// The statements that turn `from` into `to`, in one string; empty when there is nothing to do.
#[must_use]
pub fn difference(from: &Settings, to: &Settings) -> String {
    let mut sql = String::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        sql.push_str(&format!("RESET {};", quote_name(name)));
    }
    for (name, value) in to
        .iter()
        .filter(|(name, value)| from.get(*name) != Some(*value))
    {
        sql.push_str(&format!("SET {} TO {value};", quote_name(name)));
    }
    sql
}

/// The right side of SET for a value that came as a plain string (startup parameter, or a value
/// the server reported).
#[must_use]
pub fn value_of(name: &str, text: &str) -> String {
    if IDENTIFIER_LISTS.contains(&name) {
        if let Some(list) = identifier_list(text) {
            return list;
        }
    }
    quote_literal(text)
}

fn identifier_list(text: &str) -> Option<String> {
    let mut list = Vec::new();
    let mut expect_name = true;
    for token in Tokens::new(text.as_bytes()) {
        match token {
            Token::Word(name) if expect_name => list.push(quote_identifier(
                &std::str::from_utf8(name).ok()?.to_lowercase(),
            )),
            Token::Quoted(name) if expect_name && name[0] == b'"' => {
                list.push(std::str::from_utf8(name).ok()?.to_owned());
            }
            Token::Symbol(b',') if !expect_name => {}
            _ => return None,
        }
        expect_name = !expect_name;
    }
    if list.is_empty() {
        return text.trim().is_empty().then(|| "''".to_owned());
    }
    (!expect_name).then(|| list.join(", "))
}

fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quote_name(name: &str) -> String {
    name.split('.')
        .map(quote_identifier)
        .collect::<Vec<_>>()
        .join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Settings {
        pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn differences_are_minimal() {
        let cases = [
            (set(&[]), set(&[]), ""),
            (set(&[("a", "1")]), set(&[("a", "1")]), ""),
            (set(&[("a", "1")]), set(&[]), "RESET \"a\";"),
            (set(&[]), set(&[("a.b", "'x'")]), "SET \"a\".\"b\" TO 'x';"),
            (
                set(&[("a", "1"), ("b", "2")]),
                set(&[("a", "3"), ("b", "2")]),
                "SET \"a\" TO 3;",
            ),
        ];
        for (from, to, expected) in cases {
            assert_eq!(difference(&from, &to), expected);
        }
    }

    #[test]
    fn strings_become_values_that_cannot_break_out() {
        let cases = [
            ("timezone", "UTC", "'UTC'"),
            ("application_name", "it's; DROP", "'it''s; DROP'"),
            ("application_name", r"a\' b", r"E'a\\'' b'"),
            (
                "search_path",
                "a, \"B c\",public",
                "\"a\", \"B c\", \"public\"",
            ),
            ("search_path", "", "''"),
            ("search_path", "a; DROP TABLE x", "'a; DROP TABLE x'"),
            ("search_path", "a,", "'a,'"),
        ];
        for (name, text, expected) in cases {
            assert_eq!(value_of(name, text), expected, "{text}");
        }
    }
}
