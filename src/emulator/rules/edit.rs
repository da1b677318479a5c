//! Changes to a statement's text at places that its syntax tree names.

use std::ops::Range;

use crate::sql::scan::{Token, Tokens};

/// One change: the bytes at a place become others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub at: Range<usize>,
    pub with: String,
}

/// Applies changes that do not overlap.
pub(super) fn apply(text: &str, edits: &mut [Edit]) -> Option<String> {
    edits.sort_by_key(|edit| edit.at.start);
    let mut out = String::with_capacity(text.len() + 32);
    let mut from = 0;
    for edit in edits {
        out.push_str(text.get(from..edit.at.start)?);
        out.push_str(&edit.with);
        from = edit.at.end;
    }
    out.push_str(text.get(from..)?);
    Some(out)
}

/// The place of the dotted name that begins at `start`.
pub(super) fn name_at(text: &str, start: usize) -> Option<Range<usize>> {
    let mut tokens = Tokens::new(text.as_bytes().get(start..)?);
    let mut end = None;
    while let Some(Token::Word(_) | Token::Quoted(_)) = tokens.next() {
        end = Some(start + tokens.span().end);
        if tokens.next() != Some(Token::Symbol(b'.')) {
            break;
        }
    }
    end.map(|end| start..end)
}

/// The place of the first unquoted `word` from `start` on, not inside parentheses that open there.
pub(super) fn word_from(text: &str, start: usize, word: &str) -> Option<Range<usize>> {
    let mut tokens = Tokens::new(text.as_bytes().get(start..)?);
    let mut depth = 0usize;
    while let Some(token) = tokens.next() {
        match token {
            Token::Symbol(b'(') => depth += 1,
            Token::Symbol(b')') => depth = depth.checked_sub(1)?,
            token if depth == 0 && token.is(word) => {
                let span = tokens.span();
                return Some(start + span.start..start + span.end);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole() {
        let text = "SELECT * FROM pg_catalog . \"pg_index\" i";
        assert_eq!(name_at(text, 14), Some(14..37));
        assert_eq!(name_at("a numeric, b", 2), Some(2..9));
        assert_eq!(name_at("a (", 2), None);
    }

    #[test]
    fn edits_are_applied_in_order() {
        let mut edits = vec![
            Edit {
                at: 4..5,
                with: "yy".to_owned(),
            },
            Edit {
                at: 0..1,
                with: String::new(),
            },
        ];
        assert_eq!(apply("a b c", &mut edits).as_deref(), Some(" b yy"));
        let mut outside = vec![Edit {
            at: 9..10,
            with: String::new(),
        }];
        assert_eq!(apply("a", &mut outside), None);
    }

    #[test]
    fn words_inside_parentheses_are_not_taken() {
        assert_eq!(word_from("a (using) using", 0, "using"), Some(10..15));
        assert_eq!(word_from("a (using)", 0, "using"), None);
    }
}
