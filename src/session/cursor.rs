//! SQL cursors, which Aurora DSQL does not have, as portals of the extended protocol: DECLARE binds
//! one, FETCH and MOVE execute it, CLOSE closes it. A cursor WITH HOLD, or one that goes backward, is
//! read to its end instead, and its rows are kept here.

use std::rc::Rc;

use pg_query::NodeEnum;
use pg_query::protobuf::{DeclareCursorStmt, FetchDirection, FetchStmt};

use crate::policy::{Answer, SessionCommand};
use crate::sql::{Statement, tree};
use crate::upstream::{Expect, Settings, next_statement_id, statement_name};
use crate::wire::backend::TransactionStatus;
use crate::wire::frame::{HEADER, Header};
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::frontend::Taken;
use super::limbo::aborted;
use super::names::Prepared;
use super::run::{End, Note, Own, Session};
use super::script::{Reply, Told, ToldOf};
use super::spool::{self, Found, Spool};
use super::verdict::{Part, Verdict};

/// `CURSOR_OPT_BINARY` of PostgreSQL.
const BINARY: i32 = 0x0001;
/// `CURSOR_OPT_SCROLL`.
const SCROLL: i32 = 0x0002;
/// `CURSOR_OPT_NO_SCROLL`.
const NO_SCROLL: i32 = 0x0004;
/// `CURSOR_OPT_HOLD`.
const HOLD: i32 = 0x0020;

/// A SQL cursor.
#[derive(Debug)]
pub(super) struct Cursor {
    name: String,
    /// Its rows; otherwise it is a portal of the transaction.
    spool: Option<Spool>,
    /// It goes on behind the transaction.
    holds: bool,
    /// That was committed.
    kept: bool,
    /// So many savepoints were there when it was declared.
    depth: usize,
}

/// Whether a statement is about cursors.
pub(super) fn is_about_cursors(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::Session(SessionCommand::Declare | SessionCommand::Fetch | SessionCommand::Close(_))
    )
}

impl Part {
    /// The cursor that it declares.
    pub fn declared(&self) -> Option<&DeclareCursorStmt> {
        match self.statement.as_deref().and_then(Statement::node) {
            Some(NodeEnum::DeclareCursorStmt(declare)) => Some(declare),
            _ => None,
        }
    }

    fn fetched(&self) -> Option<&FetchStmt> {
        match self.statement.as_deref().and_then(Statement::node) {
            Some(NodeEnum::FetchStmt(fetch)) => Some(fetch),
            _ => None,
        }
    }
}

/// How a statement about cursors is answered.
enum Way {
    /// Frames, with no request to the server.
    Here(Vec<u8>),
    /// Requests were sent; the answer comes with theirs.
    Sent,
}

/// What the client is told of a cursor's rows and where its tag is.
struct Wish<'a> {
    /// Types of parameters and their values, as in Parse and Bind.
    parameters: Option<(&'a [u8], &'a [u8])>,
    /// With a RowDescription.
    described: bool,
}

impl Session {
    /// Deals with a Query of one statement about cursors.
    pub(super) fn take_cursor_query(&mut self, part: &Part) -> Result<Taken, End> {
        let here = !self.needs_server(part);
        if here {
            if self.waits_for_answers(false) {
                return Ok(Taken::Wait);
            }
        } else if let Some(taken) = self.lease_or(true)? {
            return Ok(taken);
        }
        let failed = self.owed.is_empty() && self.status == TransactionStatus::Failed;
        let wish = Wish {
            parameters: None,
            described: true,
        };
        let done = match failed {
            true => Err(aborted()),
            false => self.about_cursor(part, &wish),
        };
        match done {
            Ok(Way::Here(mut frames)) => {
                self.take_passing_of_lease();
                self.names.forget_unnamed();
                self.answers().append(&mut frames);
                let status = self.status;
                self.end_query(status);
            }
            Err(error) if here && self.status == TransactionStatus::Idle => {
                self.more = None;
                error.put(self.answers());
                reply::put_ready(self.answers(), TransactionStatus::Idle);
            }
            Err(error) => {
                if let Some(taken) = self.lease_or(true)? {
                    return Ok(taken);
                }
                self.refuse_query(error);
            }
            Ok(Way::Sent) => {
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

    /// Deals with the Execute of a portal of one. The server got the cursor's query, or an empty
    /// statement, in its place.
    pub(super) fn take_cursor_execute(
        &mut self,
        prepared: &Prepared,
        part: &Part,
        values: Option<&Rc<[u8]>>,
    ) -> Taken {
        if self.waits_for_answers(false) {
            return Taken::Wait;
        }
        if self.block() == TransactionStatus::Failed {
            self.refuse_parse(aborted());
            return Taken::All;
        }
        let parameters = values.map(|values| (&*prepared.types, &**values));
        let wish = Wish {
            parameters,
            described: false,
        };
        match self.about_cursor(part, &wish) {
            Ok(Way::Here(frames)) => self.answer_frame(frames),
            Ok(Way::Sent) => {}
            Err(error) => self.refuse_parse(error),
        }
        Taken::All
    }

    /// Answers the Describe of a portal that is a cursor with rows kept here, or that is a FETCH.
    pub(super) fn take_cursor_describe(&mut self, kind: u8, name: &[u8]) -> bool {
        let verdict = match kind {
            b'P' => {
                let portal = self.portals.iter().find(|portal| portal.name == name);
                portal.and_then(|portal| portal.verdict.clone())
            }
            _ => {
                let prepared = self.names.get(name);
                prepared.and_then(|prepared| prepared.verdict.clone())
            }
        };
        let part = verdict.as_deref().and_then(Verdict::alone);
        if kind == b'P' && part.is_some_and(|part| part.declared().is_some()) {
            let mut frame = Vec::new();
            frontend::put(&mut frame, b'n', &[]);
            self.answer_frame(frame);
            return true;
        }
        let asked = match part.and_then(Part::fetched) {
            Some(fetch) if !fetch.ismove => fetch.portalname.clone(),
            _ if kind == b'P' => String::from_utf8_lossy(name).into_owned(),
            _ => return false,
        };
        let Some(cursor) = self.cursors.iter().find(|cursor| cursor.name == asked) else {
            return false;
        };
        let mut frame = Vec::new();
        if kind == b'S' {
            frontend::put(&mut frame, b't', &[b"\0\0"]);
        }
        match &cursor.spool {
            Some(spool) => {
                spool.put_description(&mut frame);
                self.answer_frame(frame);
            }
            None if kind == b'P' => {
                self.send(Expect::DescribePortal, false, None, |out| {
                    frontend::put(out, b'D', &[b"P", asked.as_bytes(), b"\0"]);
                });
            }
            None => return false,
        }
        true
    }

    /// The text that the server gets in place of a DECLARE that is prepared: it knows the parameters
    /// then.
    pub(super) fn declared_text(&mut self, part: &Part) -> Option<Vec<u8>> {
        let query = query_of(part.declared()?).ok()?;
        let (text, _) = self.decided(query).ok()?;
        Some(text.into_bytes())
    }

    fn needs_server(&self, part: &Part) -> bool {
        let cursor = |name: &str| self.cursors.iter().find(|cursor| cursor.name == name);
        match part.statement.as_deref().and_then(Statement::node) {
            Some(NodeEnum::FetchStmt(fetch)) => {
                cursor(&fetch.portalname).is_none_or(|cursor| cursor.spool.is_none())
            }
            Some(NodeEnum::ClosePortalStmt(close)) if close.portalname.is_empty() => {
                self.cursors.iter().any(|cursor| cursor.spool.is_none())
            }
            Some(NodeEnum::ClosePortalStmt(close)) => {
                cursor(&close.portalname).is_none_or(|cursor| cursor.spool.is_none())
            }
            _ => true,
        }
    }

    fn about_cursor(&mut self, part: &Part, wish: &Wish<'_>) -> Result<Way, ClientError> {
        match part.statement.as_deref().and_then(Statement::node) {
            Some(NodeEnum::DeclareCursorStmt(declare)) => self.declare(declare, wish),
            Some(NodeEnum::FetchStmt(fetch)) => self.fetch(fetch, wish),
            Some(NodeEnum::ClosePortalStmt(close)) => self.close_cursors(&close.portalname),
            _ => Ok(Way::Here(Vec::new())),
        }
    }

    fn declare(
        &mut self,
        declare: &DeclareCursorStmt,
        wish: &Wish<'_>,
    ) -> Result<Way, ClientError> {
        let name = declare.portalname.as_str();
        let holds = declare.options & HOLD != 0;
        if !holds && !self.transaction.open {
            return Err(ClientError::error(
                sqlstate::NO_ACTIVE_SQL_TRANSACTION,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        if self.cursors.iter().any(|known| known.name == name) {
            return Err(ClientError::error(
                "42P03",
                format!("cursor \"{name}\" already exists"),
            ));
        }
        let (text, notices) = self.decided(query_of(declare)?)?;
        let (types, values) = wish.parameters.unwrap_or((b"\0\0", b"\0\0\0\0"));
        let own = statement_name(next_statement_id());
        let own = own.as_bytes();
        let spools = holds || declare.options & SCROLL != 0;
        let portal = match spools {
            true => own,
            false => name.as_bytes(),
        };
        self.send_own(Own::Cursor, Expect::Parse, |out| {
            frontend::put_parse(out, own, text.as_bytes(), types);
        });
        self.send_own(Own::Cursor, Expect::Bind, |out| {
            // All results in one format.
            let format: &[u8] = match declare.options & BINARY {
                0 => b"\0\0",
                _ => b"\0\x01\0\x01",
            };
            frontend::put(out, b'B', &[portal, b"\0", own, b"\0", values, format]);
        });
        if spools {
            self.send_own(Own::Spool, Expect::DescribePortal, |out| {
                frontend::put(out, b'D', &[b"P", portal, b"\0"]);
            });
            self.send_own(Own::Spool, Expect::Execute, |out| {
                frontend::put(out, b'E', &[portal, b"\0\0\0\0\0"]);
            });
            self.send_own(Own::Cursor, Expect::Close, |out| {
                frontend::put(out, b'C', &[b"P", portal, b"\0"]);
            });
        }
        self.send_own(Own::Cursor, Expect::Close, |out| {
            frontend::put_close_statement(out, own);
        });
        let spool = Spool::new(declare.options & NO_SCROLL != 0);
        self.cursors.push(Cursor {
            name: name.to_owned(),
            spool: spools.then_some(spool),
            holds,
            kept: false,
            depth: self.savepoints.depth(),
        });
        let mut frame = notices;
        reply::put_command_complete(&mut frame, "DECLARE CURSOR");
        self.answer_frame(frame);
        Ok(Way::Sent)
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

    fn fetch(&mut self, fetch: &FetchStmt, wish: &Wish<'_>) -> Result<Way, ClientError> {
        let name = fetch.portalname.as_str();
        let cursor = self.cursors.iter_mut().find(|known| known.name == name);
        // A portal of the client's is a cursor, too.
        let is_portal = || {
            let mut portals = self.portals.iter();
            portals.any(|portal| portal.name == name.as_bytes())
        };
        if cursor.is_none() && !is_portal() {
            return Err(no_cursor(name));
        }
        if let Some(spool) = cursor.and_then(|cursor| cursor.spool.as_mut()) {
            let found = spool.go(fetch.direction(), fetch.how_many);
            if found == Found::Refused {
                return Err(forward_only(
                    "Declare it with SCROLL option to enable backward scan.",
                ));
            }
            let mut out = Vec::new();
            let tag = match fetch.ismove {
                true => format!("MOVE {}", Spool::count(&found)),
                false => {
                    if wish.described {
                        spool.put_description(&mut out);
                    }
                    format!("FETCH {}", spool.put_rows(&found, &mut out))
                }
            };
            reply::put_command_complete(&mut out, &tag);
            return Ok(Way::Here(out));
        }
        let forward = fetch.direction() == FetchDirection::FetchForward;
        let limit = match fetch.how_many {
            spool::ALL => Some(0),
            many => u32::try_from(many).ok().filter(|many| *many > 0),
        };
        let Some(limit) = limit.filter(|_| forward) else {
            return Err(forward_only(
                "Declare it with SCROLL; the proxy keeps its rows then.",
            ));
        };
        if !fetch.ismove && wish.described {
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
        Ok(Way::Sent)
    }

    fn close_cursors(&mut self, name: &str) -> Result<Way, ClientError> {
        let closed = match name {
            "" => std::mem::take(&mut self.cursors),
            name => {
                let at = self.cursors.iter().position(|known| known.name == name);
                vec![
                    at.map(|at| self.cursors.remove(at))
                        .ok_or_else(|| no_cursor(name))?,
                ]
            }
        };
        let tag = match name {
            "" => "CLOSE CURSOR ALL",
            _ => "CLOSE CURSOR",
        };
        let mut frame = Vec::new();
        reply::put_command_complete(&mut frame, tag);
        let portals: Vec<Cursor> = closed
            .into_iter()
            .filter(|cursor| cursor.spool.is_none())
            .collect();
        if portals.is_empty() {
            return Ok(Way::Here(frame));
        }
        for cursor in portals {
            self.send_own(Own::Cursor, Expect::Close, |out| {
                frontend::put(out, b'C', &[b"P", cursor.name.as_bytes(), b"\0"]);
            });
        }
        self.answer_frame(frame);
        Ok(Way::Sent)
    }

    fn send_own(&mut self, own: Own, expect: Expect, put: impl FnOnce(&mut Vec<u8>)) {
        let note = Note {
            own: Some(own),
            ..Note::default()
        };
        self.send(expect, true, Some(note), put);
    }

    // ---- rows that are kept ------------------------------------------------------------------

    /// The answer that comes next is for rows that are kept.
    pub(super) fn answers_spool(&self) -> bool {
        let front = self.owed.front().and_then(|entry| entry.note.as_deref());
        front.is_some_and(|note| note.own == Some(Own::Spool))
    }

    /// Takes a frame of it, of which `body` is there. False when it is none of these.
    pub(super) fn spool_frame(&mut self, header: Header, body: &[u8]) -> bool {
        match header.tag {
            b'T' => {
                if let Some(spool) = self.filling() {
                    body.clone_into(&mut spool.description);
                }
                self.owed.pop();
            }
            b'n' | b'C' | b'I' => {
                let completes = header.tag != b'n';
                let overflow = self.filling().is_some_and(|spool| {
                    spool.complete |= completes;
                    spool.overflow
                });
                self.owed.pop();
                if overflow && completes {
                    self.refuse_spool();
                }
            }
            b'D' => {
                let mut head = vec![header.tag];
                let length = u32::try_from(header.total - 1).unwrap_or(u32::MAX);
                head.extend_from_slice(&length.to_be_bytes());
                debug_assert_eq!(head.len(), HEADER);
                self.put_in_spool(&head, true);
                self.put_in_spool(body, false);
            }
            _ => return false,
        }
        true
    }

    /// Takes more of a row.
    pub(super) fn put_in_spool(&mut self, bytes: &[u8], begins: bool) {
        let used: usize = self
            .cursors
            .iter()
            .filter_map(|cursor| cursor.spool.as_ref())
            .map(Spool::size)
            .sum();
        if let Some(spool) = self.filling() {
            spool.put(bytes, begins, spool::BYTES.saturating_sub(used));
        }
    }

    /// The cursor whose rows are coming: the first that lacks some.
    fn filling(&mut self) -> Option<&mut Spool> {
        let spools = self
            .cursors
            .iter_mut()
            .filter_map(|cursor| cursor.spool.as_mut());
        spools.into_iter().find(|spool| !spool.complete)
    }

    /// The rows were too many: the client is told so in place of the tag.
    fn refuse_spool(&mut self) {
        let full = |cursor: &Cursor| cursor.spool.as_ref().is_some_and(|spool| spool.overflow);
        let names = self.cursors.iter().filter(|cursor| full(cursor));
        let name = names
            .map(|cursor| cursor.name.clone())
            .next()
            .unwrap_or_default();
        self.cursors.retain(|cursor| !full(cursor));
        let error = ClientError::error(
            sqlstate::PROGRAM_LIMIT_EXCEEDED,
            format!(
                "the rows of cursor \"{name}\" take more than {} MiB",
                spool::BYTES >> 20
            ),
        )
        .detail(
            "The proxy keeps the rows of cursors WITH HOLD and SCROLL, since Aurora DSQL has none.",
        )
        .hint("Declare it in a transaction, without WITH HOLD and SCROLL, or read fewer rows.");
        let mut frame = Vec::new();
        error.put(&mut frame);
        let told = self
            .owed
            .iter_mut()
            .find(|entry| entry.expect == Expect::Local);
        if let Some(note) = told.and_then(|entry| entry.note.as_deref_mut()) {
            note.frame = frame;
        }
    }

    /// The transaction was taken back to the savepoint of this number: what was declared behind it is
    /// gone.
    pub(super) fn roll_back_cursors(&mut self, savepoint: usize) {
        self.cursors
            .retain(|cursor| cursor.kept || cursor.depth <= savepoint);
    }

    /// Savepoints were released.
    pub(super) fn lower_cursors(&mut self, depth: usize) {
        for cursor in &mut self.cursors {
            cursor.depth = cursor.depth.min(depth);
        }
    }

    /// The transaction is over: cursors go with it that do not hold, and those of one that was rolled
    /// back.
    pub(super) fn end_cursors(&mut self, committed: bool) {
        self.cursors.retain_mut(|cursor| {
            let complete = cursor.spool.as_ref().is_some_and(|spool| spool.complete);
            cursor.kept |= committed && cursor.holds && complete;
            cursor.kept
        });
    }
}

fn query_of(declare: &DeclareCursorStmt) -> Result<String, ClientError> {
    let query = declare.query.as_ref().and_then(|query| query.node.as_ref());
    let query = query.and_then(|query| tree::verify_print(query).ok());
    query.ok_or_else(|| {
        not_available(
            "this query cannot have a cursor",
            "Run it without one, with LIMIT.",
        )
    })
}

fn forward_only(hint: &str) -> ClientError {
    ClientError::error(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "cursor can only scan forward",
    )
    .hint(hint)
}

fn not_available(message: &str, hint: &str) -> ClientError {
    ClientError::error(sqlstate::FEATURE_NOT_SUPPORTED, message).hint(hint)
}

fn no_cursor(name: &str) -> ClientError {
    ClientError::error("34000", format!("cursor \"{name}\" does not exist"))
}
