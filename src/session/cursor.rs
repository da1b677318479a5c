//! SQL cursors, which Aurora DSQL does not have, as portals of the extended protocol: DECLARE binds
//! one, FETCH and MOVE execute it, CLOSE closes it.

use pg_query::NodeEnum;
use pg_query::protobuf::{DeclareCursorStmt, FetchDirection, FetchStmt};

use crate::policy::{Answer, SessionCommand};
use crate::sql::{Statement, tree};
use crate::upstream::{Expect, Settings, next_statement_id, statement_name};
use crate::wire::backend::TransactionStatus;
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::frontend::Taken;
use super::limbo::aborted;
use super::run::{End, Note, Own, Session};
use super::script::{Reply, Told, ToldOf};
use super::verdict::Part;

/// `CURSOR_OPT_SCROLL` of PostgreSQL.
const SCROLL: i32 = 0x0002;
/// `CURSOR_OPT_HOLD`.
const HOLD: i32 = 0x0020;
/// `CURSOR_OPT_BINARY`.
const BINARY: i32 = 0x0001;

/// Whether a statement is about cursors.
pub(super) fn is_about_cursors(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::Session(SessionCommand::Declare | SessionCommand::Fetch | SessionCommand::Close(_))
    )
}

impl Session {
    /// Deals with a Query of one statement about cursors.
    pub(super) fn take_cursor_query(&mut self, part: &Part) -> Result<Taken, End> {
        if let Some(taken) = self.lease_or(true)? {
            return Ok(taken);
        }
        if self.owed.is_empty() && self.status == TransactionStatus::Failed {
            self.refuse_query(aborted());
            return Ok(Taken::All);
        }
        let done = match part.statement.as_deref().and_then(Statement::node) {
            Some(NodeEnum::DeclareCursorStmt(declare)) => self.declare(declare),
            Some(NodeEnum::FetchStmt(fetch)) => self.fetch(fetch),
            Some(NodeEnum::ClosePortalStmt(close)) => self.close_cursors(&close.portalname),
            _ => Ok(()),
        };
        match done {
            Err(error) => self.refuse_query(error),
            Ok(()) => {
                let alone = !self.owed.may_skip();
                let (forgets, unnamed) = self.forget_unnamed(alone);
                let note = Note {
                    forgets,
                    unnamed,
                    ..Note::default()
                };
                self.env.tally.requests.add(1);
                self.send(Expect::Sync, false, Some(note), |out| {
                    frontend::put(out, b'S', &[]);
                });
            }
        }
        Ok(Taken::All)
    }

    fn declare(&mut self, declare: &DeclareCursorStmt) -> Result<(), ClientError> {
        let name = declare.portalname.as_str();
        if declare.options & HOLD != 0 {
            return Err(not_available(
                "cursors WITH HOLD are not available on Aurora DSQL",
                "Declare the cursor in a transaction, without WITH HOLD.",
            ));
        }
        if declare.options & (SCROLL | BINARY) != 0 {
            return Err(not_available(
                "SCROLL and BINARY cursors are not available on Aurora DSQL",
                "Declare the cursor with NO SCROLL, and fetch forward.",
            ));
        }
        if !self.transaction.open {
            return Err(ClientError::error(
                sqlstate::NO_ACTIVE_SQL_TRANSACTION,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        if self.cursors.iter().any(|known| known == name) {
            return Err(ClientError::error(
                "42P03",
                format!("cursor \"{name}\" already exists"),
            ));
        }
        let query = declare.query.as_ref().and_then(|query| query.node.as_ref());
        let query = query.and_then(|query| tree::verify_print(query).ok());
        let query = query.ok_or_else(|| {
            not_available(
                "this query cannot have a cursor",
                "Run it without one, with LIMIT.",
            )
        })?;
        let (text, notices) = self.decided(query)?;
        let own = statement_name(next_statement_id());
        let own = own.as_bytes();
        self.send_own(Expect::Parse, |out| {
            frontend::put_parse(out, own, text.as_bytes(), b"\0\0");
        });
        self.send_own(Expect::Bind, |out| {
            let name = name.as_bytes();
            frontend::put(out, b'B', &[name, b"\0", own, b"\0\0\0\0\0\0\0"]);
        });
        self.send_own(Expect::Close, |out| frontend::put_close_statement(out, own));
        self.cursors.push(name.to_owned());
        self.answer_tag(notices, "DECLARE CURSOR");
        Ok(())
    }

    /// The text that policy makes of a query, and what the client is told of it.
    fn decided(&mut self, text: String) -> Result<(String, Vec<u8>), ClientError> {
        let Some(verdict) = self.judge(text.as_bytes()) else {
            return Ok((text, Vec::new()));
        };
        let Some(part) = verdict.alone() else {
            return Ok((text, Vec::new()));
        };
        let piece = self.piece(text.as_bytes(), part, true, &mut Settings::new());
        let Some(told) = piece.told else {
            return Ok((piece.sent.unwrap_or(text), Vec::new()));
        };
        match told.reply {
            Reply::Refused(error) => Err(error),
            _ => Ok((piece.sent.unwrap_or(text), told.notices)),
        }
    }

    fn fetch(&mut self, fetch: &FetchStmt) -> Result<(), ClientError> {
        let name = fetch.portalname.as_str();
        if !self.cursors.iter().any(|known| known == name) {
            return Err(no_cursor(name));
        }
        let forward = fetch.direction() == FetchDirection::FetchForward;
        let limit = match fetch.how_many {
            // FETCH_ALL of PostgreSQL is the largest number there is.
            i64::MAX => Some(0),
            many => u32::try_from(many).ok().filter(|many| *many > 0),
        };
        let Some(limit) = limit.filter(|_| forward) else {
            return Err(ClientError::error(
                sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "cursor can only scan forward",
            )
            .hint("Fetch forward; Aurora DSQL has no cursors, and the proxy's go one way."));
        };
        if !fetch.ismove {
            self.send(Expect::DescribePortal, false, None, |out| {
                frontend::put(out, b'D', &[b"P", name.as_bytes(), b"\0"]);
            });
        }
        let told = Told::quietly(Reply::Fetched {
            moves: fetch.ismove,
            limit,
        });
        let note = Note {
            told: Some(ToldOf::one(told)),
            writes: true,
            calls: true,
            ..Note::default()
        };
        self.send(Expect::Execute, false, Some(note), |out| {
            let limit = limit.to_be_bytes();
            frontend::put(out, b'E', &[name.as_bytes(), b"\0", &limit]);
        });
        Ok(())
    }

    fn close_cursors(&mut self, name: &str) -> Result<(), ClientError> {
        let closed = match name {
            "" => std::mem::take(&mut self.cursors),
            name => {
                let at = self.cursors.iter().position(|known| known == name);
                vec![
                    at.map(|at| self.cursors.remove(at))
                        .ok_or_else(|| no_cursor(name))?,
                ]
            }
        };
        for cursor in closed {
            self.send_own(Expect::Close, |out| {
                frontend::put(out, b'C', &[b"P", cursor.as_bytes(), b"\0"]);
            });
        }
        let tag = match name {
            "" => "CLOSE CURSOR ALL",
            _ => "CLOSE CURSOR",
        };
        self.answer_tag(Vec::new(), tag);
        Ok(())
    }

    fn send_own(&mut self, expect: Expect, put: impl FnOnce(&mut Vec<u8>)) {
        let note = Note {
            own: Some(Own::Cursor),
            ..Note::default()
        };
        self.send(expect, true, Some(note), put);
    }

    fn answer_tag(&mut self, mut frame: Vec<u8>, tag: &str) {
        reply::put_command_complete(&mut frame, tag);
        self.answer_frame(frame);
    }
}

fn not_available(message: &str, hint: &str) -> ClientError {
    ClientError::error(sqlstate::FEATURE_NOT_SUPPORTED, message).hint(hint)
}

fn no_cursor(name: &str) -> ClientError {
    ClientError::error("34000", format!("cursor \"{name}\" does not exist"))
}
