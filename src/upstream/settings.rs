//! Session settings as the pool believes them to be, and the SQL that turns one set into another.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Settings that differ from what a fresh upstream connection has: lower-case name → right side of
/// `SET name TO`.
pub type Settings = BTreeMap<String, String>;

/// A shared set of settings; equal pointers are equal sets.
pub type SharedSettings = Arc<Settings>;

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
}
