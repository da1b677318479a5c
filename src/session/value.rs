//! Strings as right sides of SET.

use crate::sql::{IDENTIFIER_LISTS, identifier_list};

/// The right side of SET for a value that came as a plain string (startup parameter, or a value
/// the server reported).
pub(super) fn value_of(name: &str, text: &str) -> String {
    let list = IDENTIFIER_LISTS
        .contains(&name)
        .then(|| identifier_list(text))
        .flatten();
    list.unwrap_or_else(|| quote_literal(text))
}

fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
