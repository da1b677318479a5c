//! Strings as right sides of SET.

use crate::sql::scan::{Token, Tokens};

/// Settings whose string value is a list of identifiers (`GUC_LIST_QUOTE` in PostgreSQL): a single
/// literal would be read as one name.
const IDENTIFIER_LISTS: [&str; 2] = ["search_path", "temp_tablespaces"];

/// The right side of SET for a value that came as a plain string (startup parameter, or a value
/// the server reported).
pub(super) fn value_of(name: &str, text: &str) -> String {
    let list = IDENTIFIER_LISTS
        .contains(&name)
        .then(|| identifier_list(text))
        .flatten();
    list.unwrap_or_else(|| quote_literal(text))
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
