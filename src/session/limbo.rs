//! A transaction block of the client that has failed and has no connection behind it: what the
//! server of a failed transaction would say is said here.

use std::rc::Rc;

use crate::sql::scan::{Token, Tokens};
use crate::sql::{Class, Effect, classify};
use crate::wire::backend::TransactionStatus;
use crate::wire::frame::HEADER;
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::names::Prepared;
use super::run::{End, Session};

/// The failed block.
#[derive(Debug, Default)]
pub(super) struct Limbo {
    /// Why it failed.
    reason: Option<ClientError>,
    /// The client has been told so.
    told: bool,
    /// Portals of statements that end it.
    portals: Vec<(Vec<u8>, Exit)>,
}

/// A statement that a failed transaction takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Commit(Next),
    Rollback(Next),
    /// It is none: an empty text.
    Empty,
}

/// What follows the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Nothing,
    /// `AND CHAIN`: another one.
    Block,
}

impl Limbo {
    /// One whose reason comes with the next statement that does not just end the block.
    pub fn telling(reason: ClientError) -> Self {
        Self {
            reason: Some(reason),
            ..Self::default()
        }
    }

    /// One whose reason the client knows.
    pub fn told(reason: ClientError) -> Self {
        Self {
            told: true,
            ..Self::telling(reason)
        }
    }

    /// What a statement is told. Going back to a savepoint does not help, so that is told the reason
    /// itself.
    fn error(&mut self, effects: Option<&[Effect]>) -> ClientError {
        let back = matches!(effects, Some([Effect::RollbackTo(_), ..]));
        let told = std::mem::replace(&mut self.told, true);
        let reason = self.reason.clone().filter(|_| !told || back);
        reason.unwrap_or_else(aborted)
    }
}

/// COMMIT and ROLLBACK of a whole block.
pub(super) fn ends_block(effect: &Effect) -> bool {
    matches!(effect, Effect::Commit { .. } | Effect::Rollback { .. })
}

fn exit_of(text: &[u8], class: &Class) -> Option<Exit> {
    if class.statements == 0 {
        return Some(Exit::Empty);
    }
    match class.effects.as_deref()?.first()? {
        Effect::Commit { .. } => Some(Exit::Commit(next_of(text))),
        Effect::Rollback { .. } => Some(Exit::Rollback(next_of(text))),
        _ => None,
    }
}

/// What the first statement of a text has follow it, if it ends a block.
fn next_of(text: &[u8]) -> Next {
    let tokens = Tokens::new(text).skip_while(|token| *token == Token::Semicolon);
    let words: Vec<Token<'_>> = tokens
        .take_while(|token| *token != Token::Semicolon)
        .skip(1)
        .skip_while(|token| token.is("work") || token.is("transaction"))
        .take(2)
        .collect();
    match words.as_slice() {
        [and, chain] if and.is("and") && chain.is("chain") => Next::Block,
        _ => Next::Nothing,
    }
}

/// What statements in a failed transaction are told.
pub(super) fn aborted() -> ClientError {
    ClientError::error(
        sqlstate::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

impl Session {
    /// Answers a frame of the client; of a long one the beginning is enough.
    pub(super) fn take_in_limbo(&mut self, tag: u8, total: usize, bytes: &[u8]) -> Result<(), End> {
        let body = &bytes[HEADER..];
        match tag {
            // Too long to be read, so none that a failed transaction takes.
            b'P' if bytes.len() < total => self.limbo_refuse(None),
            b'Q' if bytes.len() == total => self.limbo_query(frontend::query(body)?),
            b'Q' | b'F' => {
                self.put_limbo_error(None);
                self.limbo_ready(TransactionStatus::Failed);
            }
            b'P' => self.limbo_parse(body)?,
            b'B' => self.limbo_bind(body)?,
            b'D' => self.limbo_describe(body)?,
            b'E' => self.limbo_execute(body)?,
            _ => {
                let (_, name) = frontend::target(body)?;
                if let Some(limbo) = &mut self.limbo {
                    limbo.portals.retain(|(known, _)| known != name);
                }
                self.limbo_acknowledge(b'3');
            }
        }
        Ok(())
    }

    fn put_limbo_error(&mut self, effects: Option<&[Effect]>) {
        self.status = TransactionStatus::Failed;
        self.acks_to_skip = 0;
        let limbo = self.limbo.as_mut();
        let error = limbo.map_or_else(aborted, |limbo| limbo.error(effects));
        error.put(self.answers());
    }

    fn limbo_refuse(&mut self, effects: Option<&[Effect]>) {
        self.put_limbo_error(effects);
        self.discarding = true;
    }

    fn limbo_ready(&mut self, status: TransactionStatus) {
        self.status = status;
        self.request_answered();
        reply::put_ready(self.answers(), status);
    }

    fn limbo_acknowledge(&mut self, tag: u8) {
        if self.acks_to_skip > 0 {
            self.acks_to_skip -= 1;
        } else {
            frontend::put(self.answers(), tag, &[]);
        }
    }

    /// The block ends. A COMMIT that nobody has told about the failure is an error.
    fn leave_limbo(&mut self, exit: Exit) -> Result<(), ClientError> {
        let limbo = self.limbo.take().unwrap_or_default();
        self.status = TransactionStatus::Idle;
        let silent = limbo.reason.filter(|_| !limbo.told);
        match (exit, silent) {
            (Exit::Commit(_), Some(error)) => return Err(error),
            (Exit::Commit(Next::Block) | Exit::Rollback(Next::Block), _) => {
                self.begin = Some(b"BEGIN".to_vec());
                self.status = TransactionStatus::Open;
            }
            _ => {}
        }
        reply::put_command_complete(self.answers(), "ROLLBACK");
        Ok(())
    }

    fn limbo_query(&mut self, text: &[u8]) {
        let class = classify(text);
        self.names.forget_unnamed();
        match exit_of(text, &class) {
            None => {
                self.put_limbo_error(class.effects.as_deref());
                self.limbo_ready(TransactionStatus::Failed);
            }
            Some(Exit::Empty) => {
                frontend::put(self.answers(), b'I', &[]);
                self.limbo_ready(self.status);
            }
            Some(exit) => match self.leave_limbo(exit) {
                Ok(()) if class.statements > 1 => {
                    frontend::put_query(&mut self.again, behind_first(text));
                }
                Ok(()) => self.limbo_ready(self.status),
                Err(error) => {
                    error.put(self.answers());
                    self.limbo_ready(TransactionStatus::Idle);
                }
            },
        }
    }

    fn limbo_parse(&mut self, body: &[u8]) -> Result<(), End> {
        let parse = frontend::parse(body)?;
        let prepared = Prepared::new(parse.text, parse.types, self.scope());
        let exits = exit_of(&prepared.source, &prepared.class);
        if exits.is_some() {
            self.free_retaken(parse.name);
        }
        let taken = !parse.name.is_empty() && self.names.get(parse.name).is_some();
        if exits.is_none() || taken {
            self.limbo_refuse(prepared.class.effects.as_deref());
            return Ok(());
        }
        let change = self.names.set(parse.name, Some(prepared));
        self.names.keep(&change);
        self.limbo_acknowledge(b'1');
        Ok(())
    }

    fn exit_named(&self, name: &[u8]) -> Option<Exit> {
        let prepared: &Rc<Prepared> = self.names.get(name)?;
        exit_of(&prepared.source, &prepared.class)
    }

    fn limbo_bind(&mut self, body: &[u8]) -> Result<(), End> {
        let head = frontend::bind_head(body)?;
        let exit = self.exit_named(head.statement);
        match (exit, &mut self.limbo) {
            (Some(exit), Some(limbo)) => {
                limbo.portals.retain(|(known, _)| known != head.portal);
                limbo.portals.push((head.portal.to_vec(), exit));
                self.limbo_acknowledge(b'2');
            }
            _ => {
                let prepared = self.names.get(head.statement).cloned();
                let effects = prepared.as_ref().and_then(|p| p.class.effects.as_deref());
                self.limbo_refuse(effects);
            }
        }
        Ok(())
    }

    fn limbo_describe(&mut self, body: &[u8]) -> Result<(), End> {
        let (kind, name) = frontend::target(body)?;
        let known = match kind {
            b'S' => self.exit_named(name).is_some(),
            _ => self.limbo_portal(name).is_some(),
        };
        if !known {
            self.limbo_refuse(None);
            return Ok(());
        }
        if kind == b'S' {
            frontend::put(self.answers(), b't', &[b"\0\0"]);
        }
        self.limbo_acknowledge(b'n');
        Ok(())
    }

    fn limbo_portal(&self, name: &[u8]) -> Option<Exit> {
        let portals = &self.limbo.as_ref()?.portals;
        let found = portals.iter().find(|(known, _)| known == name);
        found.map(|(_, exit)| *exit)
    }

    fn limbo_execute(&mut self, body: &[u8]) -> Result<(), End> {
        let (portal, _) = frontend::execute(body)?;
        match self.limbo_portal(portal) {
            None => self.limbo_refuse(None),
            Some(Exit::Empty) => frontend::put(self.answers(), b'I', &[]),
            Some(exit) => {
                if let Err(error) = self.leave_limbo(exit) {
                    error.put(self.answers());
                    self.discarding = true;
                }
            }
        }
        Ok(())
    }
}

/// What stands behind the first statement of a text.
fn behind_first(text: &[u8]) -> &[u8] {
    let mut tokens = Tokens::new(text);
    let mut begun = false;
    while let Some(token) = tokens.next() {
        match token {
            Token::Semicolon if begun => return &text[tokens.span().end..],
            Token::Semicolon => {}
            _ => begun = true,
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_block_may_follow() {
        let cases = [
            ("rollback", Next::Nothing),
            ("; ROLLBACK WORK and chain;", Next::Block),
            ("commit transaction and no chain", Next::Nothing),
            ("abort and /* so */ chain", Next::Block),
            ("rollback; and chain", Next::Nothing),
        ];
        for (text, expected) in cases {
            assert_eq!(next_of(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_first_statement_is_cut_off() {
        let cases = [
            ("rollback; select 1", " select 1"),
            (";; rollback /* ; */ ; select ';'; x", " select ';'; x"),
            ("rollback", ""),
        ];
        for (text, rest) in cases {
            assert_eq!(behind_first(text.as_bytes()), rest.as_bytes(), "{text}");
        }
    }
}
