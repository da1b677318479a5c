//! Blocks of procedural languages, as far as they say no more than SQL does.

use super::scan::{Token, Tokens};
use super::statement::Statement;

impl Statement {
    /// The condition and the statements of a block of PL/pgSQL that is `BEGIN IF [NOT] EXISTS (query)
    /// THEN statements END IF; END`, where the statements begin with CREATE, ALTER or DROP; `None` for
    /// any other block.
    #[must_use]
    pub fn read_conditional(body: &str) -> Option<(String, Vec<String>)> {
        read_condition(body)
    }
}

fn read_condition(body: &str) -> Option<(String, Vec<String>)> {
    let mut tokens = Tokens::new(body.as_bytes());
    if !tokens.next()?.is("begin") || !tokens.next()?.is("if") {
        return None;
    }
    let from = tokens.span().end;
    let mut depth = 0_i32;
    let to = loop {
        let token = tokens.next()?;
        match token {
            Token::Symbol(b'(') => depth += 1,
            Token::Symbol(b')') => depth -= 1,
            Token::Semicolon => return None,
            token if depth == 0 && token.is("then") => break tokens.span().start,
            _ => {}
        }
    };
    let condition = body.get(from..to)?.trim().to_owned();
    let lower = condition.to_ascii_lowercase();
    if !lower.starts_with("not exists") && !lower.starts_with("exists") {
        return None;
    }
    let mut statements = Vec::new();
    let mut start: Option<usize> = None;
    loop {
        let token = tokens.next()?;
        match (start, token) {
            (None, token) if token.is("end") => break,
            (None, Token::Semicolon) => {}
            (None, token) if token.is("create") || token.is("alter") || token.is("drop") => {
                start = Some(tokens.span().start);
            }
            // Anything else of the language, or another statement.
            (None, _) => return None,
            (Some(begun), Token::Semicolon) => {
                statements.push(body.get(begun..tokens.span().start)?.trim().to_owned());
                start = None;
            }
            (Some(_), _) => {}
        }
    }
    let mut rest = tokens.filter(|token| *token != Token::Semicolon);
    let ends = rest.next()?.is("if") && rest.next()?.is("end") && rest.next().is_none();
    (ends && !statements.is_empty()).then_some((condition, statements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idiom_is_told_from_other_blocks() {
        let (condition, statements) = read_condition(
            "\nBEGIN\n  IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'mood') THEN\n    \
             CREATE TYPE mood AS ENUM ('a;', 'b');\n  CREATE TABLE t (m mood);\n  END IF;\nEND\n",
        )
        .unwrap();
        assert_eq!(
            condition,
            "NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'mood')"
        );
        assert_eq!(
            statements,
            [
                "CREATE TYPE mood AS ENUM ('a;', 'b')",
                "CREATE TABLE t (m mood)"
            ]
        );
        let other = [
            "",
            "BEGIN END",
            "BEGIN IF EXISTS (SELECT 1) THEN DROP TABLE t; ELSE CREATE TABLE t (); END IF; END",
            "BEGIN IF x THEN DROP TABLE t; END IF; END",
            "BEGIN IF EXISTS (SELECT 1) THEN RAISE NOTICE 'x'; END IF; END",
            "BEGIN IF EXISTS (SELECT 1) THEN DROP TABLE t; END IF; DROP TABLE u; END",
            "BEGIN IF EXISTS (SELECT 1) THEN END IF; END",
            "DECLARE x int; BEGIN IF EXISTS (SELECT 1) THEN DROP TABLE t; END IF; END",
        ];
        for body in other {
            assert_eq!(read_condition(body), None, "{body}");
        }
    }
}
