//! Which functions a read calls: one of a client's own may write.

use std::collections::HashSet;

use crate::sql::scan::{Token, Tokens};

/// Words that may stand in front of a parenthesis without running anything of a client's: built-in
/// functions, types, and keywords that cannot name a function.
#[derive(Debug, Default)]
pub struct Builtins(HashSet<String>);

/// Schemas whose functions only read.
const SCHEMAS: [&str; 3] = ["pg_catalog", "sys", "information_schema"];
/// Keywords that could name a function, but before a parenthesis mostly do not.
const KEYWORDS: [&str; 4] = ["filter", "over", "partition", "sets"];

impl Builtins {
    /// Gives those words, one a row.
    pub const QUERY: &str = "SELECT proname::text FROM pg_catalog.pg_proc \
         WHERE pronamespace = 'pg_catalog'::pg_catalog.regnamespace \
         UNION SELECT typname::text FROM pg_catalog.pg_type \
         WHERE typnamespace = 'pg_catalog'::pg_catalog.regnamespace \
         UNION SELECT word FROM pg_catalog.pg_get_keywords() WHERE catcode <> 'U'";

    /// The words of [`Builtins::QUERY`].
    pub fn new(words: impl Iterator<Item = String>) -> Self {
        let more = KEYWORDS.iter().map(|word| (*word).to_owned());
        Self(words.chain(more).collect())
    }

    /// Whether a text may call any other function. Never no when it does so by name; views and
    /// operators are not looked into.
    pub fn are_left_by(&self, text: &str) -> bool {
        let (mut schema, mut name, mut dotted) = (None, None, false);
        for token in Tokens::new(text.as_bytes()) {
            match token {
                Token::Word(word) => {
                    schema = name.filter(|_| dotted);
                    name = Some(word);
                    dotted = false;
                }
                Token::Quoted(word) => {
                    schema = name.filter(|_| dotted);
                    name = Some(word.trim_ascii_start().strip_prefix(b"\"").unwrap_or(word));
                    name = name.map(|word| word.strip_suffix(b"\"").unwrap_or(word));
                    dotted = false;
                }
                Token::Symbol(b'.') => dotted = name.is_some(),
                Token::Symbol(b'(') => {
                    if name.is_some_and(|name| !self.is_known(schema, name)) {
                        return true;
                    }
                    (schema, name, dotted) = (None, None, false);
                }
                _ => (schema, name, dotted) = (None, None, false),
            }
        }
        false
    }

    fn is_known(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        let lower = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
        match schema {
            Some(schema) => SCHEMAS.contains(&lower(schema).as_str()),
            None => self.0.contains(&lower(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_functions_are_found() {
        let words = [
            "select", "count", "in", "values", "coalesce", "varchar", "as",
        ];
        let builtins = Builtins::new(words.iter().map(|word| (*word).to_owned()));
        let cases = [
            ("SELECT 1", false),
            ("SELECT count(*) FROM t WHERE a IN (1, 2)", false),
            ("SELECT Count (*) OVER (PARTITION BY a)", false),
            ("SELECT pg_catalog.anything(1), sys.jobs(2)", false),
            ("SELECT (1), ((2)), 'f(x)' -- g(x)", false),
            ("SELECT a.b, (c).d, '1'::varchar(3)", false),
            ("SELECT f(1)", true),
            ("SELECT coalesce(f (1))", true),
            ("SELECT public.count(1)", true),
            ("SELECT \"F\"(1)", true),
            ("SELECT \"count\"(1)", false),
            ("SELECT s . f ( 1 )", true),
            ("VALUES (f/* */(1))", true),
        ];
        for (text, expected) in cases {
            assert_eq!(builtins.are_left_by(text), expected, "{text}");
        }
    }
}
