//! A text as statements, some of which go upstream in other words or not at all.
//!
//! What the client is told of these is known here: notices, tags, answers, refusals. In their place
//! the server gets statements that fit: the rewritten text, one that does nothing, or one that
//! fails. So answers come in order, and errors undo and skip what they have to.

use std::ops::Range;

use crate::policy::{Action, Answer, Level, Notice};
use crate::sql::{Class, classify};
use crate::upstream::{Expect, Settings};
use crate::wire::backend::{TransactionStatus, error_fields};
use crate::wire::reply::{self, ClientError};

use super::answer::{Act, Change};
use super::frontend::Taken;
use super::kept::{self, Asked};
use super::limbo::{Limbo, aborted};
use super::procedure;
use super::run::Session;
use super::verdict::{Part, Verdict};

/// The statements of a text.
#[derive(Debug, Default)]
pub(super) struct Script(pub Vec<Piece>);

/// One of them.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where it stands in the client's text, in bytes.
    pub span: Range<usize>,
    /// Text for the server in its place.
    pub sent: Option<String>,
    /// What the client is told, when that is not just what the server says.
    pub told: Option<Told>,
}

impl Piece {
    /// One that is refused.
    pub fn refused(span: Range<usize>, error: ClientError) -> Self {
        Self {
            span,
            sent: Some(FAILING.to_owned()),
            told: Some(Told::quietly(Reply::Refused(error))),
        }
    }
}

/// What a client is told of a statement.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// NoticeResponses that come ahead of the tag.
    pub notices: Vec<u8>,
    pub reply: Reply,
    /// Settings that get other values with it.
    pub changes: Vec<Change>,
}

/// Where the answer to a statement comes from.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// The server, but for the tag.
    Server(Option<String>),
    /// Nothing but a tag.
    Tag(String),
    /// Rows of text, under this tag.
    Rows(Rows, String),
    /// The settings that the proxy keeps, with this tag.
    Setting(Asked, &'static str),
    /// The session does something, under this tag.
    Act(Act, String),
    /// The server's rows, those of a cursor.
    Fetched {
        /// MOVE: nobody sees them.
        moves: bool,
        /// Rows asked for; 0 is all.
        limit: u32,
    },
    /// It is refused.
    Refused(ClientError),
}

/// Names and types of columns, and values in text format.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub columns: Vec<(String, u32)>,
    pub rows: Vec<Vec<Option<String>>>,
    /// The session's advisory locks go with them.
    pub unlocks: bool,
}

impl Told {
    pub fn quietly(reply: Reply) -> Self {
        Self {
            notices: Vec::new(),
            reply,
            changes: Vec::new(),
        }
    }

    /// The session has all that the client is told.
    pub fn is_local(&self) -> bool {
        !matches!(self.reply, Reply::Server(_) | Reply::Fetched { .. })
    }

    /// The server's rows are nobody's.
    pub fn hides_rows(&self) -> bool {
        match &self.reply {
            Reply::Tag(_) | Reply::Act(..) | Reply::Refused(_) => true,
            Reply::Setting(asked, _) => !asked.is_show(),
            Reply::Fetched { moves, .. } => *moves,
            Reply::Server(_) | Reply::Rows(..) => false,
        }
    }
}

impl Script {
    /// The session can answer all of it.
    pub fn is_local(&self) -> bool {
        self.0
            .iter()
            .all(|piece| piece.told.as_ref().is_some_and(Told::is_local))
    }

    fn is_refused(&self) -> bool {
        self.0
            .iter()
            .filter_map(|piece| piece.told.as_ref())
            .any(|told| match &told.reply {
                Reply::Refused(_) => true,
                Reply::Setting(asked, _) => asked.refusal().is_some(),
                _ => false,
            })
    }

    /// The text for the server, and what the client is told of its statements.
    pub fn compose(self, text: &[u8]) -> Composed {
        let mut composed = Composed {
            text: Vec::with_capacity(text.len()),
            told: ToldOf::default(),
            places: Places::default(),
        };
        let mut copied = 0;
        for (number, piece) in self.0.into_iter().enumerate() {
            if let Some(sent) = piece.sent {
                composed
                    .text
                    .extend_from_slice(&text[copied..piece.span.start]);
                copied = piece.span.end;
                composed.places.0.push(Place {
                    sent: count(&composed.text),
                    length: count(sent.as_bytes()),
                    clients: count(&text[piece.span]),
                });
                composed.text.extend_from_slice(sent.as_bytes());
            }
            if let Some(told) = piece.told {
                composed.told.0.push((number, told));
            }
        }
        composed.text.extend_from_slice(&text[copied..]);
        composed
    }
}

/// What a script makes of a text.
#[derive(Debug)]
pub(super) struct Composed {
    pub text: Vec<u8>,
    pub told: ToldOf,
    pub places: Places,
}

/// Where the text for the server is another than the client's.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Vec<Place>);

/// In characters.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Characters before it in the text for the server.
    sent: usize,
    length: usize,
    /// Length of what it takes the place of.
    clients: usize,
}

impl Places {
    /// All of a text is another.
    pub fn all() -> Self {
        Self(vec![Place {
            sent: 0,
            length: usize::MAX,
            clients: 0,
        }])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The client's position for one in the text for the server, both from 1; none inside what the
    /// client did not write.
    pub fn position(&self, sent: usize) -> Option<usize> {
        let mut moved = sent;
        for place in &self.0 {
            if sent <= place.sent {
                break;
            }
            if sent <= place.sent + place.length {
                return None;
            }
            moved = moved + place.clients - place.length;
        }
        Some(moved)
    }
}

/// What the client is told of the statements of a text, by their numbers.
#[derive(Debug, Default)]
pub(super) struct ToldOf(Vec<(usize, Told)>);

impl ToldOf {
    /// Of the one statement of a portal.
    pub fn one(told: Told) -> Self {
        Self(vec![(0, told)])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn find(&self, number: usize) -> Option<&Told> {
        let found = self.0.iter().find(|(at, _)| *at == number);
        found.map(|(_, told)| told)
    }

    /// The answer of this statement has no rows that the client may see.
    pub fn hides_rows(&self, number: usize) -> bool {
        self.find(number).is_some_and(Told::hides_rows)
    }

    /// The error in place of the one that a statement in another's place fails with.
    pub fn error(&self, number: usize) -> Option<ClientError> {
        match &self.find(number)?.reply {
            Reply::Refused(error) => Some(error.clone()),
            Reply::Setting(asked, _) => asked.refusal(),
            _ => None,
        }
    }

    /// Counts the statements of a text into which others were inserted.
    pub fn shift(&mut self, is_inserted: impl Fn(usize) -> bool, total: usize) {
        let places: Vec<usize> = (0..total).filter(|at| !is_inserted(*at)).collect();
        for (at, _) in &mut self.0 {
            *at = places.get(*at).copied().unwrap_or(*at);
        }
    }
}

/// Characters of UTF-8.
fn count(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Fails when it is carried out, and not before.
pub(super) const FAILING: &str = "SELECT 1/0";

/// SQLSTATE of that.
pub(super) const DIVISION_BY_ZERO: &[u8] = b"22012";

/// Does nothing and has no rows.
pub(super) const NOTHING: &str = "SELECT 1 WHERE false";

impl Session {
    /// What becomes of a text about which policy has something to say, or of whose statements one is
    /// about settings that the proxy keeps.
    pub(super) fn script(
        &mut self,
        text: &[u8],
        class: &Class,
        verdict: Option<&Verdict>,
    ) -> Option<Script> {
        match verdict {
            None => self.kept_script(text, class.statements),
            Some(verdict) => {
                let parts = verdict.parts()?;
                // Values of settings, as the statements before leave them.
                let mut values = Settings::new();
                let several = parts.len() > 1;
                let pieces = parts
                    .iter()
                    .map(|part| self.piece(text, part, several, &mut values));
                Some(Script(pieces.collect()))
            }
        }
    }

    /// What becomes of one statement.
    pub(super) fn piece(
        &mut self,
        text: &[u8],
        part: &Part,
        several: bool,
        values: &mut Settings,
    ) -> Piece {
        let (sent, reply) = match &part.decision.action {
            // What runs by itself does not come here.
            _ if part.is_procedure() => {
                let refusal = procedure::refusal(&part.decision).filter(|_| !several);
                let error = refusal.unwrap_or_else(procedure::alone);
                (Some(FAILING.to_owned()), Some(Reply::Refused(error)))
            }
            Action::Forward => (None, None),
            Action::Rewrite(rewrite) => (
                part.rewritten().map(str::to_owned),
                Some(Reply::Server(rewrite.tag.clone())),
            ),
            Action::Reject(error) => (
                Some(FAILING.to_owned()),
                Some(Reply::Refused(error.clone())),
            ),
            Action::Answer(Answer::Tag(tag)) => {
                (Some(NOTHING.to_owned()), Some(Reply::Tag(tag.clone())))
            }
            Action::Answer(Answer::Rows { columns, rows }) => {
                let rows = Rows {
                    columns: columns.clone(),
                    rows: rows.clone(),
                    unlocks: part
                        .decision
                        .rules
                        .iter()
                        .any(|rule| &**rule == "unlock_all"),
                };
                let tag = format!("SELECT {}", rows.rows.len());
                (Some(rows.query()), Some(Reply::Rows(rows, tag)))
            }
            Action::Answer(answer) => {
                let (sent, mut told) = self.answer_of(text, part, answer, values);
                let notices = self.notices(&part.decision.notices);
                if let Some(told) = &mut told {
                    told.notices.splice(0..0, notices);
                }
                let span = part.span.clone();
                return Piece { span, sent, told };
            }
            // The journal has its own way with savepoints.
            Action::Emulate(_) => (None, None),
        };
        let notices = self.notices(&part.decision.notices);
        let reply = match (reply, notices.is_empty()) {
            (None, false) => Some(Reply::Server(None)),
            (reply, _) => reply,
        };
        Piece {
            span: part.span.clone(),
            sent,
            told: reply.map(|reply| Told {
                notices,
                ..Told::quietly(reply)
            }),
        }
    }

    /// NoticeResponses that this session wants to see.
    pub(super) fn notices(&mut self, notices: &[Notice]) -> Vec<u8> {
        let mut out = Vec::new();
        for notice in notices {
            if !self.wants(notice) {
                continue;
            }
            let severity = match notice.level {
                Level::Notice => "NOTICE",
                Level::Warning => "WARNING",
            };
            reply::put_notice_of(
                &mut out,
                severity,
                notice.code,
                &notice.message,
                notice.hint.as_deref(),
            );
        }
        out
    }

    /// Whether the client wants messages of this severity: the server does not know its
    /// `client_min_messages`.
    fn wants_severity(&self, severity: &[u8]) -> bool {
        match self.settings.kept("client_min_messages") {
            Some("error") => !matches!(severity, b"WARNING" | b"NOTICE" | b"LOG" | b"DEBUG"),
            Some("warning") => !matches!(severity, b"NOTICE" | b"LOG" | b"DEBUG"),
            _ => true,
        }
    }

    /// Whether the client wants a NoticeResponse of the server with this body.
    pub(super) fn wants_of_server(&self, body: &[u8]) -> bool {
        let fields = error_fields(body);
        self.wants_severity(fields.severity) && !self.is_about_rewriting(fields.message)
    }

    /// DROP NOT NULL drops a CHECK too that SET NOT NULL may have made: that there is none is nothing
    /// that the client has asked for.
    fn is_about_rewriting(&self, message: &[u8]) -> bool {
        let rewritten = self.owed.front().is_some_and(|entry| {
            let note = entry.note.as_deref();
            entry.expect == Expect::Execute
                || note.is_some_and(|note| note.places.is_some() || note.own.is_some())
        });
        rewritten
            && message.starts_with(b"constraint \"")
            && message.ends_with(b"does not exist, skipping")
            && memchr::memmem::find(message, b"_not_null\" of relation").is_some()
    }

    fn wants(&mut self, notice: &Notice) -> bool {
        let severity: &[u8] = match notice.level {
            Level::Notice => b"NOTICE",
            Level::Warning => b"WARNING",
        };
        if !self.wants_severity(severity) {
            return false;
        }
        if notice.once {
            if self.told_once.contains(&notice.rule) {
                return false;
            }
            self.told_once.push(std::sync::Arc::clone(&notice.rule));
        }
        true
    }

    // ---- simple protocol -------------------------------------------------------------------

    /// Answers a Query without the server; `None` when it must go upstream in other words, since
    /// requests before it or its transaction do.
    pub(super) fn take_local_query(&mut self, script: &Script) -> Option<Taken> {
        if !script.is_local() {
            return None;
        }
        if self.lease.is_some() {
            if !self.owed.is_empty() {
                self.ask_for_answers();
                return Some(Taken::Wait);
            }
            let fails = script.is_refused() && self.status == TransactionStatus::Open;
            if self.owed.is_unsynced() || fails {
                return None;
            }
            self.take_passing_of_lease();
        } else if self.ticket.is_some() || self.refusal.is_some() {
            return None;
        }
        self.names.forget_unnamed();
        let status = self.answer_script(script);
        self.status = status;
        self.end_query(status);
        Some(Taken::All)
    }

    fn answer_script(&mut self, script: &Script) -> TransactionStatus {
        let status = self.status;
        if status == TransactionStatus::Failed {
            self.more = None;
            aborted().put(self.answers());
            return status;
        }
        let alone = status == TransactionStatus::Idle && script.0.len() == 1;
        for told in script.0.iter().filter_map(|piece| piece.told.as_ref()) {
            let mut out = Vec::new();
            match self.carry_out(told, alone, true, &mut out) {
                Ok(()) => self.answers().append(&mut out),
                Err(error) => {
                    self.more = None;
                    error.put(self.answers());
                    self.settings.abandon(false);
                    self.obey_switches();
                    if status == TransactionStatus::Open {
                        // Its BEGIN was not sent yet.
                        self.begin = None;
                        self.limbo = Some(Limbo::told(error));
                        return TransactionStatus::Failed;
                    }
                    return status;
                }
            }
        }
        if status == TransactionStatus::Idle {
            self.settings.settle_kept();
        }
        status
    }

    /// Carries a statement out and answers it. `described`: with a RowDescription.
    fn carry_out(
        &mut self,
        told: &Told,
        alone: bool,
        described: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        match &told.reply {
            Reply::Refused(error) => return Err(error.clone()),
            Reply::Setting(asked, tag) => {
                if alone && asked.is_local() {
                    kept::put_local_warning(out);
                }
                self.apply_kept(asked)?;
                if let Some(name) = asked.shown() {
                    let value = self.settings.kept(&name).unwrap_or_default().to_owned();
                    let rows = Rows {
                        columns: vec![(name, reply::TEXT)],
                        rows: vec![vec![Some(value)]],
                        unlocks: false,
                    };
                    rows.put(described, out);
                }
                out.extend_from_slice(&told.notices);
                reply::put_command_complete(out, tag);
            }
            Reply::Rows(rows, tag) => {
                if rows.unlocks {
                    self.advisory.free_of_session();
                }
                rows.put(described, out);
                out.extend_from_slice(&told.notices);
                reply::put_command_complete(out, tag);
            }
            Reply::Tag(tag) => {
                out.extend_from_slice(&told.notices);
                reply::put_command_complete(out, tag);
            }
            Reply::Act(act, tag) => {
                self.act(act, out)?;
                out.extend_from_slice(&told.notices);
                reply::put_command_complete(out, tag);
            }
            // Not local.
            Reply::Server(_) | Reply::Fetched { .. } => {}
        }
        Ok(())
    }

    /// A statement of the request at the head of the queue is complete: gives what the client is
    /// told ahead of the tag, and the tag if it is another than the server's.
    /// `tag`: the server's.
    pub(super) fn complete_told(&mut self, tag: &[u8]) -> Option<(Vec<u8>, Option<String>)> {
        let note = self.owed.front()?.note.as_deref()?;
        let mut told = note.told.as_ref()?.find(note.done)?.clone();
        self.change_settings(&told.changes);
        let tag = match told.reply {
            Reply::Server(tag) => tag,
            Reply::Rows(rows, tag) => {
                if rows.unlocks {
                    self.advisory.free_of_session();
                }
                Some(tag)
            }
            Reply::Tag(tag) => Some(tag),
            Reply::Setting(asked, tag) => {
                // A refused value fails before it comes to this.
                self.apply_kept(&asked).ok()?;
                Some(tag.to_owned())
            }
            Reply::Act(act, tag) => {
                // What cannot be done among others has been answered already.
                let _ = self.act(&act, &mut told.notices);
                Some(tag)
            }
            Reply::Fetched { moves, .. } => {
                let rows = tag.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                Some(fetched(moves, &String::from_utf8_lossy(rows)))
            }
            Reply::Refused(_) => None,
        };
        Some((told.notices, tag))
    }

    /// A cursor gave as many rows as it was asked for: gives the tag.
    pub(super) fn suspend_told(&self) -> Option<String> {
        let note = self.owed.front()?.note.as_deref()?;
        match note.told.as_ref()?.find(note.done)?.reply {
            Reply::Fetched { moves, limit } => Some(fetched(moves, &limit.to_string())),
            _ => None,
        }
    }

    // ---- extended protocol -----------------------------------------------------------------

    /// Deals with the Execute of a portal that the session answers.
    pub(super) fn take_local_execute(&mut self, told: &Told) -> Option<Taken> {
        if !matches!(
            told.reply,
            Reply::Setting(..) | Reply::Tag(_) | Reply::Act(..) | Reply::Refused(_)
        ) {
            return None;
        }
        if self.waits_for_answers(false) {
            return Some(Taken::Wait);
        }
        let alone = match self.block() {
            TransactionStatus::Failed => {
                self.refuse_parse(aborted());
                return Some(Taken::All);
            }
            status => status == TransactionStatus::Idle,
        };
        let mut frame = Vec::new();
        match self.carry_out(told, alone, false, &mut frame) {
            Err(error) => self.refuse_parse(error),
            Ok(()) => self.answer_frame(frame),
        }
        Some(Taken::All)
    }

    /// Refuses what the client asked for in the extended protocol; in a transaction that has a
    /// connection the server refuses something too.
    pub(super) fn refuse_extended(&mut self, error: ClientError) {
        if self.lease.is_some() {
            self.refuse_parse(error);
            return;
        }
        error.put(self.answers());
        self.discarding = true;
        if self.begin.take().is_some() {
            self.status = TransactionStatus::Failed;
            self.limbo = Some(Limbo::told(error));
        }
    }
}

fn fetched(moves: bool, rows: &str) -> String {
    match moves {
        true => format!("MOVE {rows}"),
        false => format!("FETCH {rows}"),
    }
}

impl Rows {
    fn put(&self, described: bool, out: &mut Vec<u8>) {
        if described {
            let columns = self.columns.iter();
            reply::put_row_description(out, columns.map(|(name, oid)| (name.as_str(), *oid)));
        }
        for row in &self.rows {
            reply::put_data_row(out, row.iter().map(Option::as_deref));
        }
    }

    /// A query with these rows.
    pub fn query(&self) -> String {
        let line = |values: Vec<String>| format!("SELECT {}", values.join(", "));
        let value = |value: Option<&String>, oid: u32| {
            let constant = match value {
                Some(value) => format!("'{}'", value.replace('\'', "''")),
                None => "NULL".to_owned(),
            };
            match oid {
                VOID => format!("{constant}::void"),
                _ => format!("{constant}::text"),
            }
        };
        let lines = self.rows.iter().map(|row| {
            let values = self.columns.iter().enumerate().map(|(at, (name, oid))| {
                let value = value(row.get(at).and_then(Option::as_ref), *oid);
                format!("{value} AS \"{}\"", name.replace('"', "\"\""))
            });
            line(values.collect())
        });
        let lines: Vec<String> = lines.collect();
        match lines.is_empty() {
            false => lines.join(" UNION ALL "),
            true => {
                let columns = self.columns.iter().map(|(name, oid)| {
                    format!("{} AS \"{}\"", value(None, *oid), name.replace('"', "\"\""))
                });
                format!("{} WHERE false", line(columns.collect()))
            }
        }
    }
}

/// OID of type void.
const VOID: u32 = 2278;

/// What a text that was composed does to the session.
pub(super) fn class_of(text: &[u8], client: &Class) -> Class {
    Class {
        opts_out: client.opts_out,
        ..classify(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_composed_of_what_goes_on_and_what_does_not() {
        let text = "sélect 1; set x = 1;\nselekt";
        let piece = |word: &str, sent: Option<&str>| {
            let start = text.find(word).expect("there");
            Piece {
                span: start..start + word.len(),
                sent: sent.map(str::to_owned),
                told: sent.map(|_| Told::quietly(Reply::Tag("SET".into()))),
            }
        };
        let script = Script(vec![
            piece("sélect 1", None),
            piece("set x = 1", Some(NOTHING)),
            piece("selekt", None),
        ]);
        let composed = script.compose(text.as_bytes());
        let sent = String::from_utf8(composed.text).expect("text");
        assert_eq!(sent, "sélect 1; SELECT 1 WHERE false;\nselekt");
        let at = |text: &str, word| text[..text.find(word).expect("there")].chars().count() + 1;
        for word in ["sélect", "selekt", "\n"] {
            assert_eq!(
                composed.places.position(at(&sent, word)),
                Some(at(text, word))
            );
        }
        assert_eq!(composed.places.position(at(&sent, "WHERE")), None);
        assert!(composed.told.hides_rows(1) && !composed.told.hides_rows(0));
    }
}
