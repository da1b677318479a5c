//! `DEALLOCATE name` in the server's names.

use crate::sql::scan::{Token, Tokens, identifier};

/// The text with each name that `server_name` knows, behind a DEALLOCATE, replaced by the server's;
/// `None` when there is nothing to replace.
pub(super) fn translate(
    text: &[u8],
    server_name: impl Fn(&[u8]) -> Option<String>,
) -> Option<Vec<u8>> {
    let mut translated = Vec::new();
    let mut copied = 0;
    let mut tokens = Tokens::new(text);
    let mut previous = Token::Semicolon;
    let mut armed = false;
    while let Some(token) = tokens.next() {
        let begins = previous == Token::Semicolon && token.is("deallocate");
        if armed && !token.is("prepare") {
            if let Some(name) = identifier(token).and_then(|name| server_name(&name)) {
                let span = tokens.span();
                translated.extend_from_slice(&text[copied..span.start]);
                translated.extend_from_slice(format!("\"{name}\"").as_bytes());
                copied = span.end;
            }
            armed = false;
        }
        armed |= begins;
        previous = token;
    }
    if copied == 0 {
        return None;
    }
    translated.extend_from_slice(&text[copied..]);
    Some(translated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_behind_deallocate_only() {
        let server = |name: &[u8]| (name == b"a" || name == b"B c").then(|| "s".to_owned());
        let cases = [
            ("DEALLOCATE a", Some("DEALLOCATE \"s\"")),
            (
                "deallocate prepare \"B c\" ; select a",
                Some("deallocate prepare \"s\" ; select a"),
            ),
            (
                "select 1; DEALLOCATE /* x */ A;",
                Some("select 1; DEALLOCATE /* x */ \"s\";"),
            ),
            (
                "DEALLOCATE a; DEALLOCATE a",
                Some("DEALLOCATE \"s\"; DEALLOCATE \"s\""),
            ),
            ("DEALLOCATE other", None),
            ("DEALLOCATE ALL", None),
            ("SELECT deallocate a", None),
        ];
        for (text, expected) in cases {
            let translated = translate(text.as_bytes(), server);
            let translated = translated.as_deref().map(String::from_utf8_lossy);
            assert_eq!(translated.as_deref(), expected, "{text}");
        }
    }
}
