//! `RESET` for a client that gave start-up parameters: it goes back to these, while the server only
//! knows the defaults of the connection. So a SET of each follows in the same transaction.

use std::rc::Rc;

use crate::sql::Effect;
use crate::sql::scan::{Token, Tokens};
use crate::upstream::{Settings, difference};

/// A text of the simple protocol with a SET behind each RESET.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Restored {
    /// What is sent.
    pub text: Vec<u8>,
    /// What each statement of it does.
    pub effects: Rc<[Effect]>,
    pub inserted: Inserted,
}

/// What the client must not see of a restored text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inserted {
    /// Numbers of the statements that are not the client's.
    statements: Vec<usize>,
    /// Where they begin in the text that was sent, and how long they are; in characters.
    places: Vec<(usize, usize)>,
}

impl Inserted {
    pub fn has_statement(&self, number: usize) -> bool {
        self.statements.contains(&number)
    }

    /// The client's position for one in the text that was sent; both count from 1.
    pub fn position(&self, sent: usize) -> usize {
        let before = self.places.iter().filter(|(start, _)| *start < sent);
        sent - before.map(|(_, length)| *length).sum::<usize>()
    }
}

/// The start-up parameters that a statement takes away.
pub(super) fn taken<'a>(
    effect: &'a Effect,
    defaults: &'a Settings,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    defaults.iter().filter(move |(name, _)| match effect {
        Effect::Reset(reset) => reset == *name,
        Effect::ResetAll => true,
        _ => false,
    })
}

/// The statement that sets one of them again, and what it does.
pub(super) fn restoring(name: &str, value: &str) -> (String, Effect) {
    let one = [(name.to_owned(), value.to_owned())].into();
    let effect = Effect::Set {
        name: name.to_owned(),
        value: value.to_owned(),
        local: false,
        called: false,
    };
    let sql = difference(&Settings::default(), &one);
    (sql.trim_end_matches(';').to_owned(), effect)
}

/// Completes a text whose statements have these effects; `None` when it takes nothing away.
pub(super) fn restore(text: &[u8], effects: &[Effect], defaults: &Settings) -> Option<Restored> {
    let takes = |effect| taken(effect, defaults).next().is_some();
    if defaults.is_empty() || !effects.iter().any(takes) {
        return None;
    }
    let ends = ends(text);
    // Semicolons inside a statement: where it ends is not known.
    if ends.len() != effects.len() {
        return None;
    }
    let mut sent = Vec::new();
    let mut characters = 0;
    let mut all = Vec::new();
    let mut inserted = Inserted::default();
    let mut copied = 0;
    for (effect, end) in effects.iter().zip(ends) {
        sent.extend_from_slice(&text[copied..end]);
        characters += count(&text[copied..end]);
        copied = end;
        all.push(effect.clone());
        for (name, value) in taken(effect, defaults) {
            let (sql, effect) = restoring(name, value);
            let sql = format!(";{sql}");
            inserted.statements.push(all.len());
            inserted.places.push((characters, count(sql.as_bytes())));
            characters += count(sql.as_bytes());
            sent.extend_from_slice(sql.as_bytes());
            all.push(effect);
        }
    }
    sent.extend_from_slice(&text[copied..]);
    Some(Restored {
        text: sent,
        effects: all.into(),
        inserted,
    })
}

/// Where the last token of each statement ends.
pub(super) fn ends(text: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut tokens = Tokens::new(text);
    let mut begins = true;
    while let Some(token) = tokens.next() {
        if token == Token::Semicolon {
            begins = true;
            continue;
        }
        if std::mem::take(&mut begins) {
            ends.push(0);
        }
        if let Some(end) = ends.last_mut() {
            *end = tokens.span().end;
        }
    }
    ends
}

/// Characters of UTF-8.
fn count(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::classify;

    #[test]
    fn a_set_follows_each_reset_that_takes_a_start_up_parameter() {
        let defaults: Settings = [("a", "'1'"), ("b", "'2'")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let cases = [
            ("reset a", Some("reset a;SET \"a\" TO '1'")),
            ("reset c", None),
            ("select 1", None),
            (
                "select 'ä'; RESET ALL -- x;\n; select 2;",
                Some("select 'ä'; RESET ALL;SET \"a\" TO '1';SET \"b\" TO '2' -- x;\n; select 2;"),
            ),
            (
                ";;set b to default;; reset a",
                Some(";;set b to default;SET \"b\" TO '2';; reset a;SET \"a\" TO '1'"),
            ),
            ("discard all", None),
            (
                "create function f() begin atomic select 1; end; reset a",
                None,
            ),
        ];
        for (text, expected) in cases {
            let class = classify(text.as_bytes());
            let effects = class.effects.unwrap_or_default();
            let restored = restore(text.as_bytes(), &effects, &defaults);
            let sent = restored.as_ref().map(|r| String::from_utf8_lossy(&r.text));
            assert_eq!(sent.as_deref(), expected, "{text}");
            let Some(restored) = restored else { continue };
            assert_eq!(
                classify(&restored.text).effects.as_deref(),
                Some(&*restored.effects),
                "{text}"
            );
        }
    }

    #[test]
    fn positions_are_those_of_the_clients_text() {
        let defaults: Settings = [("a".to_owned(), "'é'".to_owned())].into();
        let text = "select 'ä'; reset a; selekt";
        let effects = classify(text.as_bytes()).effects.expect("a RESET");
        let restored = restore(text.as_bytes(), &effects, &defaults).expect("restored");
        let at = |text: &str, word| text[..text.find(word).expect("there")].chars().count() + 1;
        let sent = String::from_utf8(restored.text).expect("text");
        for word in ["select", "reset", "selekt"] {
            assert_eq!(restored.inserted.position(at(&sent, word)), at(text, word));
        }
        let statements = (0..4).map(|number| restored.inserted.has_statement(number));
        assert_eq!(Vec::from_iter(statements), [false, false, true, false]);
    }
}
