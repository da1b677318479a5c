//! The shape of a statement: its text with every constant replaced, for statistics.
//!
//! Never a key for decisions: two statements with one fingerprint may mean different things.

use super::scan::{Token, Tokens};

/// Longest fingerprint, in bytes; the rest of the statement is left out.
pub const LONGEST: usize = 400;

/// As many bytes of a text are read at most.
const READ: usize = 16 * 1024;

/// What stands for a constant or a parameter.
const CONSTANT: &str = "?";
/// What stands for further constants of a list, or further lists like the one before.
const MORE: &str = "…";

/// The shape of a statement: constants and parameters are `?`, lists of them `?, …`, words in lower
/// case, no comments, single blanks. Values never show; names do.
#[must_use]
pub fn fingerprint(text: &[u8]) -> String {
    let head = &text[..text.len().min(READ)];
    let mut pieces = pieces(head);
    shorten_lists(&mut pieces);
    join(&pieces)
}

fn pieces(text: &[u8]) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for token in Tokens::new(text) {
        match token {
            Token::Word(word) => pieces.push(String::from_utf8_lossy(word).to_lowercase()),
            Token::Quoted(name) => pieces.push(String::from_utf8_lossy(name).into_owned()),
            Token::Text(_) | Token::Number(_) => {
                if ends_with_sign(&pieces) {
                    pieces.pop();
                }
                pieces.push(CONSTANT.to_owned());
            }
            Token::Semicolon => {}
            Token::Symbol(byte) => pieces.push(char::from(byte).to_string()),
        }
        // Lists are shortened later, so there are more pieces than will show.
        if pieces.len() >= READ / 2 {
            break;
        }
    }
    pieces
}

/// A minus that belongs to the number behind it: nothing it could be taken from stands before it.
fn ends_with_sign(pieces: &[String]) -> bool {
    match pieces {
        [.., before, sign] if sign == "-" => {
            let operator = before.chars().all(|c| "=<>(,+*/%|&~!@#^".contains(c));
            let words = [
                "values", "select", "and", "or", "then", "else", "in", "limit",
            ];
            operator || words.contains(&before.as_str())
        }
        _ => false,
    }
}

/// `? , ? , ?` becomes `? , …`, and `( ? , … ) , ( ? , … )` becomes `( ? , … ) , …`.
fn shorten_lists(pieces: &mut Vec<String>) {
    let mut short: Vec<String> = Vec::with_capacity(pieces.len());
    for piece in pieces.drain(..) {
        short.push(piece);
        shorten_end(&mut short);
    }
    *pieces = short;
}

fn shorten_end(pieces: &mut Vec<String>) {
    let length = pieces.len();
    let is = |back: usize, text: &str| length >= back && pieces[length - back] == text;
    if is(1, CONSTANT) && is(2, ",") && is(3, CONSTANT) {
        pieces[length - 1] = MORE.to_owned();
    } else if is(1, CONSTANT) && is(2, ",") && is(3, MORE) {
        pieces.truncate(length - 2);
    } else if is(1, ")")
        && let Some(one) = group_before(pieces, length)
    {
        // A row like the one before it.
        if is(length - one + 1, ",") && is(length - one + 2, MORE) {
            pieces.truncate(one - 1);
        } else if is(length - one + 1, ",")
            && group_before(pieces, one - 1)
                .is_some_and(|other| pieces[other..one - 1] == pieces[one..length])
        {
            pieces.truncate(one);
            pieces.push(MORE.to_owned());
        }
    }
}

/// Where the group of nothing but constants begins that ends before `end`.
fn group_before(pieces: &[String], end: usize) -> Option<usize> {
    let inner = pieces.get(..end.checked_sub(1)?)?;
    if pieces[end - 1] != ")" {
        return None;
    }
    let open = inner.iter().rposition(|piece| piece == "(")?;
    let constants = |piece: &String| matches!(piece.as_str(), CONSTANT | "," | MORE | "default");
    inner[open + 1..].iter().all(constants).then_some(open)
}

fn join(pieces: &[String]) -> String {
    let mut out = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| pieces[at].as_str());
        let tight = matches!(piece.as_str(), "," | ")" | "." | "]" | "[" | ":")
            || matches!(before, None | Some("(" | "." | "[" | ":"))
            || piece == "(" && before.is_some_and(is_name);
        let joined = is_operator(piece) && before.is_some_and(is_operator);
        if out.len() + piece.len() + 1 > LONGEST - MORE.len() {
            out.push_str(MORE);
            break;
        }
        if !tight && !joined {
            out.push(' ');
        }
        out.push_str(piece);
    }
    out
}

/// A word before a parenthesis that calls something, rather than a keyword.
fn is_name(piece: &str) -> bool {
    let keywords = [
        "values",
        "in",
        "and",
        "or",
        "not",
        "where",
        "as",
        "select",
        "from",
        "using",
        "on",
        "into",
        "set",
        "exists",
        "over",
        "then",
        "else",
        "when",
        "by",
        "returning",
    ];
    piece.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"')
        && !keywords.contains(&piece)
}

fn is_operator(piece: &str) -> bool {
    piece.chars().all(|c| "=<>+-*/%|&~!@#^".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_replaced() {
        let cases = [
            (
                "UPDATE  Accounts SET balance = balance - 5 -- pay\n WHERE id = 42;",
                "update accounts set balance = balance - ? where id = ?",
            ),
            (
                "update accounts set balance=balance-$1 where id=$2",
                "update accounts set balance = balance - ? where id = ?",
            ),
            (
                "insert into t (a, b) values (1, 'x'), (-2, 'it''s'), ($3, NULL)",
                "insert into t(a, b) values (?, …), …, (?, null)",
            ),
            (
                "insert into t values (1, 2, 3), (4, 5, 6), (7, 8, 9) returning id",
                "insert into t values (?, …), … returning id",
            ),
            (
                "insert into t values (1), (2), (3)",
                "insert into t values (?), …",
            ),
            (
                "delete from \"Order\" where id in (1,2,3) and s.\"Name\" = 'secret'",
                "delete from \"Order\" where id in (?, …) and s.\"Name\" = ?",
            ),
            (
                "select 'a'::text, E'b\\'c', $$d$$, x'ff', 1.5e3 /* secret */",
                "select ?::text, ?, …",
            ),
            (
                "update t set a = -1, d = date '2020-01-01' where b >= - 3 and c = a - 3",
                "update t set a = ?, d = date ? where b >= ? and c = a - ?",
            ),
            ("select count(*) from t", "select count(*) from t"),
            ("select 'open secret", "select ?"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(fingerprint(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn fingerprints_are_short() {
        let rows: Vec<String> = (0..2000).map(|n| format!("({n}, 'x{n}')")).collect();
        let text = format!("insert into t values {}", rows.join(", "));
        assert!(fingerprint(text.as_bytes()).starts_with("insert into t values (?, …), …"));
        let text = format!("select {}", "columname, ".repeat(500));
        let short = fingerprint(text.as_bytes());
        assert!(short.len() <= LONGEST && short.ends_with(MORE), "{short}");
        assert!(fingerprint("ü".repeat(10_000).as_bytes()).len() <= LONGEST);
        let mut bytes: Vec<u8> = (0..=255).collect();
        bytes.extend_from_within(..);
        let _ = fingerprint(&bytes);
        let _ = fingerprint("(".repeat(20_000).as_bytes());
        let _ = fingerprint(")".repeat(20_000).as_bytes());
    }
}
