//! The words that DSQL adds to PostgreSQL's grammar, found by tokens and blanked out before the parse.

use std::ops::Range;

use super::scan::{Token, Tokens, identifier};

/// A text without DSQL's own words, of the same length.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Masked {
    /// What PostgreSQL's grammar is to read.
    pub text: String,
    /// What was blanked out, and where.
    pub extensions: Vec<(Range<usize>, Extension)>,
}

/// One of DSQL's own forms.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extension {
    /// ASYNC of CREATE INDEX or ALTER TABLE.
    Async,
    /// AWS IAM GRANT or REVOKE, the whole statement.
    Iam {
        grant: bool,
        role: String,
        arn: String,
    },
}

/// A token with its place.
type Placed<'a> = (Token<'a>, Range<usize>);

/// Finds DSQL's own forms in `text` (DSQL guide: CREATE INDEX ASYNC, ALTER TABLE ASYNC, AWS IAM).
pub(super) fn mask(text: &str) -> Masked {
    let mut extensions = Vec::new();
    let mut statement: Vec<Placed<'_>> = Vec::new();
    let mut tokens = Tokens::new(text.as_bytes());
    // Only the first words decide; the rest of a long statement is not kept.
    const ENOUGH: usize = 24;
    while let Some(token) = tokens.next() {
        if token == Token::Semicolon {
            extensions.extend(recognise(&statement));
            statement.clear();
        } else if statement.len() < ENOUGH {
            statement.push((token, tokens.span()));
        }
    }
    extensions.extend(recognise(&statement));
    Masked {
        text: blank(text, &extensions),
        extensions,
    }
}

fn blank(text: &str, extensions: &[(Range<usize>, Extension)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (span, _) in extensions {
        out.push_str(&text[from..span.start]);
        out.extend(std::iter::repeat_n(' ', span.len()));
        from = span.end;
    }
    out.push_str(&text[from..]);
    out
}

fn recognise(statement: &[Placed<'_>]) -> Option<(Range<usize>, Extension)> {
    index_async(statement)
        .or_else(|| table_async(statement))
        .or_else(|| iam(statement))
}

fn index_async(statement: &[Placed<'_>]) -> Option<(Range<usize>, Extension)> {
    let rest = after(statement, "create")?;
    let rest = after(rest, "unique").unwrap_or(rest);
    let rest = after(rest, "index")?;
    word(rest, "async").then(|| (rest[0].1.clone(), Extension::Async))
}

/// `ALTER TABLE ASYNC name VALIDATE …`; with another word behind it, `async` is the table's name.
fn table_async(statement: &[Placed<'_>]) -> Option<(Range<usize>, Extension)> {
    let rest = after(after(statement, "alter")?, "table")?;
    let behind = after(rest, "async")?;
    let behind = match after(behind, "if") {
        Some(behind) => after(behind, "exists")?,
        None => behind,
    };
    let behind = after(behind, "only").unwrap_or(behind);
    let mut name = behind.iter().skip_while(|(token, _)| {
        matches!(token, Token::Quoted(_) | Token::Symbol(b'.'))
            || matches!(token, Token::Word(_)) && !token.is("validate")
    });
    let named = !behind.is_empty() && !word(behind, "validate");
    (named && name.next().is_some_and(|(token, _)| token.is("validate")))
        .then(|| (rest[0].1.clone(), Extension::Async))
}

fn iam(statement: &[Placed<'_>]) -> Option<(Range<usize>, Extension)> {
    let rest = after(after(statement, "aws")?, "iam")?;
    let (grant, rest) = match after(rest, "grant") {
        Some(rest) => (true, rest),
        None => (false, after(rest, "revoke")?),
    };
    let [(role, _), (preposition, _), (Token::Text(arn), last)] = rest else {
        return None;
    };
    if !preposition.is(if grant { "to" } else { "from" }) {
        return None;
    }
    let role = String::from_utf8(identifier(*role)?).ok()?;
    let arn = std::str::from_utf8(arn).ok()?;
    let arn = arn
        .strip_prefix('\'')?
        .strip_suffix('\'')?
        .replace("''", "'");
    let span = statement[0].1.start..last.end;
    Some((span, Extension::Iam { grant, role, arn }))
}

fn word(tokens: &[Placed<'_>], keyword: &str) -> bool {
    tokens.first().is_some_and(|(token, _)| token.is(keyword))
}

fn after<'t, 'a>(tokens: &'t [Placed<'a>], keyword: &str) -> Option<&'t [Placed<'a>]> {
    word(tokens, keyword).then(|| &tokens[1..])
}
