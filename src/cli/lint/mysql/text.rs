//! Names and constants of MySQL in PostgreSQL's spelling.

use std::fmt::Write as _;

use sqlparser::ast::{Expr, Ident, ObjectName, UnaryOperator, Value};

use super::types::Values;

/// A name as PostgreSQL has to read it: MySQL's are the same in any case, so they become lower case.
pub(super) fn identifier(name: &str) -> String {
    let name = name.to_lowercase();
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && !is_reserved(&name);
    match plain {
        true => name,
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Whether PostgreSQL's grammar takes the word for something else than a name.
fn is_reserved(name: &str) -> bool {
    // As name of a column, of a table and as value: every place a name may stand at.
    pg_query::parse(&format!("SELECT {name} FROM {name} AS {name}"), 0).is_err()
        || pg_query::parse(
            &format!("CREATE TABLE {name} ({name} int, CHECK ({name} > 0))"),
            0,
        )
        .is_err()
}

/// The last part of a name: MySQL's first one is a database.
pub(super) fn last(name: &ObjectName) -> &str {
    name.0
        .last()
        .and_then(|part| part.as_ident())
        .map_or("", |name| name.value.as_str())
}

/// Names in a list.
pub(super) fn list(names: &[Ident]) -> String {
    let names: Vec<String> = names.iter().map(|name| identifier(&name.value)).collect();
    names.join(", ")
}

/// A string constant. PostgreSQL has no zero character in text; it is left out.
pub(super) fn literal(text: &str) -> String {
    let text = text.replace('\0', "").replace('\'', "''");
    match text.contains('\\') {
        true => format!("E'{}'", text.replace('\\', "\\\\")),
        false => format!("'{text}'"),
    }
}

fn bytes_literal(bytes: &[u8]) -> String {
    let mut out = String::from("'\\x");
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out.push('\'');
    out
}

fn bytes_of_hex(digits: &str) -> Option<Vec<u8>> {
    let even = match digits.len() % 2 {
        0 => digits.to_owned(),
        _ => format!("0{digits}"),
    };
    (0..even.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(even.get(at..at + 2)?, 16).ok())
        .collect()
}

fn number_of(bytes: &[u8]) -> Option<String> {
    if bytes.len() > 8 {
        return None;
    }
    let number = bytes
        .iter()
        .fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    Some(number.to_string())
}

/// A constant for a column of such values; `None` if it is none.
pub(super) fn constant(expression: &Expr, values: Values) -> Option<String> {
    let bytes = |bytes: &[u8]| match values {
        Values::Numbers => number_of(bytes),
        Values::Bytes => Some(bytes_literal(bytes)),
        Values::Text | Values::Times => String::from_utf8(bytes.to_vec())
            .ok()
            .map(|text| literal(&text)),
    };
    match expression {
        Expr::Nested(inner) => constant(inner, values),
        Expr::Prefixed { prefix, value } if prefix.value.eq_ignore_ascii_case("_binary") => {
            match &**value {
                Expr::Value(value) => match &value.value {
                    Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => {
                        bytes(text.as_bytes())
                    }
                    Value::HexStringLiteral(digits) => bytes(&bytes_of_hex(digits)?),
                    _ => None,
                },
                _ => None,
            }
        }
        // Other introducers name a character set, and the file is UTF-8.
        Expr::Prefixed { prefix, value } if prefix.value.starts_with('_') => {
            constant(value, values)
        }
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => Some(format!("-{}", constant(expr, values)?)),
        Expr::UnaryOp {
            op: UnaryOperator::Plus,
            expr,
        } => constant(expr, values),
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => Some(match values {
                Values::Text | Values::Times => format!("'{number}'"),
                Values::Numbers | Values::Bytes => number.clone(),
            }),
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => {
                Some(match values {
                    Values::Bytes => bytes_literal(text.as_bytes()),
                    Values::Times if is_zero_time(text) => "NULL".to_owned(),
                    _ => literal(text),
                })
            }
            Value::NationalStringLiteral(text) => Some(literal(text)),
            Value::HexStringLiteral(digits) => bytes(&bytes_of_hex(digits)?),
            Value::SingleQuotedByteStringLiteral(digits)
            | Value::DoubleQuotedByteStringLiteral(digits) => {
                let number = u64::from_str_radix(digits, 2).ok()?;
                Some(number.to_string())
            }
            Value::Boolean(value) => Some(match values {
                Values::Numbers => u8::from(*value).to_string(),
                _ => value.to_string(),
            }),
            Value::Null => Some("NULL".to_owned()),
            _ => None,
        },
        Expr::Function(function) if function.over.is_none() => now(&function.to_string()),
        Expr::Identifier(name) if name.quote_style.is_none() => now(&name.value),
        _ => None,
    }
}

fn now(words: &str) -> Option<String> {
    let words = words.to_ascii_uppercase();
    let name = words.split('(').next().unwrap_or_default();
    Some(
        match name {
            "CURRENT_TIMESTAMP" | "NOW" | "LOCALTIME" | "LOCALTIMESTAMP" => "CURRENT_TIMESTAMP",
            "CURRENT_DATE" | "CURDATE" => "CURRENT_DATE",
            "UUID" => "gen_random_uuid()",
            "DEFAULT" => "DEFAULT",
            _ => return None,
        }
        .to_owned(),
    )
}

/// MySQL's dates that are none: months and days of zeros.
pub(super) fn is_zero_time(text: &str) -> bool {
    text.starts_with("0000-00-00") || text.get(4..10).is_some_and(|rest| rest == "-00-00")
}

/// What `sqlparser` prints, in PostgreSQL's spelling: `names` and "strings".
pub(super) fn respell(printed: &str) -> String {
    let mut out = String::with_capacity(printed.len());
    let mut rest = printed;
    while let Some(at) = rest.find(['`', '"', '\'']) {
        let (before, quoted) = rest.split_at(at);
        out.push_str(before);
        let quote = quoted.as_bytes()[0];
        let (content, length) = unquote(quoted, quote);
        match quote {
            b'`' => out.push_str(&identifier(&content)),
            _ => out.push_str(&literal(&content)),
        }
        rest = &quoted[length..];
    }
    out.push_str(rest);
    out
}

/// What is in quotes at the beginning, and its length with them; doubled quotes are one.
fn unquote(text: &str, quote: u8) -> (String, usize) {
    let quote = char::from(quote);
    let mut content = String::new();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != quote {
            content.push(letter);
        } else if letters.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            return (content, at + 1);
        }
    }
    (content, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_lower_case_and_are_quoted_where_they_must() {
        let cases = [
            ("id", "id"),
            ("userId", "userid"),
            ("group", "\"group\""),
            ("order by", "\"order by\""),
            ("1st", "\"1st\""),
            ("größe", "\"größe\""),
            ("year", "year"),
            ("a\"b", "\"a\"\"b\""),
        ];
        for (name, expected) in cases {
            assert_eq!(identifier(name), expected);
        }
    }

    #[test]
    fn strings_and_quoted_names_are_spelt_anew() {
        let cases = [
            ("(`price` < 10)", "(price < 10)"),
            (
                "a = \"it's\" AND b = 'x''`y`'",
                "a = 'it''s' AND b = 'x''`y`'",
            ),
            ("`select` = 'a\\b'", "\"select\" = E'a\\\\b'"),
        ];
        for (printed, expected) in cases {
            assert_eq!(respell(printed), expected);
        }
    }
}
