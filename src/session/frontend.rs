//! Frames of the client: what is answered here, what goes upstream and under which name.

use std::rc::Rc;

use crate::config::ClusterKind;
use crate::net::ReadBuffer;
use crate::policy::tenancy::{Refusal, Rule, TenantParameter};
use crate::policy::unstorable::may_set_path;
use crate::policy::{Action, Answer, Notice, SessionCommand};
use crate::sql::{Class, Effect, PinReason, classify};
use crate::upstream::{
    Expect, STATEMENT_PREFIX, SharedSettings, difference, next_statement_id, statement_name,
};
use crate::wire::backend::TransactionStatus;
use crate::wire::frame::{self, HEADER};
use crate::wire::frontend::{self, LayoutError};
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::advisory::lost_lock;
use super::conflict::sent;
use super::cursor::is_about_cursors;
use super::deallocate::translate;
use super::limbo::{Limbo, aborted};
use super::names::{NameChange, Prepared, Quota, size_of_statement};
use super::procedure;
use super::reset::{restore, restoring, taken};
use super::run::{Bound, Doing, End, HIGH_WATER, Note, Own, Portal, Rest, Session, violation};
use super::script::{Composed, Piece, Script, Told, ToldOf, class_of};
use super::verdict::{Cut, Outcome, Part, Verdict};

/// A Query up to this many bytes is read whole before it is sent; a longer one is passed on as it
/// comes, unread, and its session is pinned.
pub(super) const READ_QUERY: usize = 1024 * 1024;

/// A Parse must fit into this many bytes: it is kept, to be prepared again on other connections.
pub(super) const MAX_PARSE: usize = 16 * 1024 * 1024;

/// The names a Bind begins with must fit into this many bytes.
const BIND_HEAD: usize = 8 * 1024;

/// Largest message DSQL takes (facts: quotas).
const DSQL_MESSAGE: usize = 10 * 1024 * 1024;

/// Requests that may be unanswered before more are taken.
const MAX_OWED: usize = 4096;

/// A name that no statement has: Binds to it fail.
const NO_STATEMENT: u64 = 0;

/// What became of a frame.
pub(super) enum Taken {
    /// All of it was dealt with.
    All,
    /// So many bytes were dealt with; the rest follows.
    Head(usize, Rest),
    /// It has to wait for a lease.
    Wait,
}

impl From<LayoutError> for End {
    fn from(error: LayoutError) -> Self {
        violation(error.to_string())
    }
}

impl Session {
    /// Deals with the frames that are there.
    pub(super) fn take_frames(&mut self) -> Result<bool, End> {
        if self.cin.unread().is_empty() || self.terminating {
            return Ok(false);
        }
        if self.advisory.has_lost() {
            return Err(self.end_with(lost_lock()));
        }
        // The answer may have gone out in this very turn.
        if self.creations.is_unsettled() || !self.temporary.is_empty() {
            self.settle_locks();
        }
        let mut input = std::mem::take(&mut self.cin);
        let outcome = self.take_from(&mut input);
        self.cin = input;
        outcome
    }

    fn take_from(&mut self, input: &mut ReadBuffer) -> Result<bool, End> {
        let mut progress = false;
        loop {
            if self
                .lease
                .as_ref()
                .is_some_and(|lease| lease.output.len() > HIGH_WATER)
                || self.cout.len() > HIGH_WATER
                || self.is_repeating()
                || self.creations.is_undoing()
                || self.procedure.is_some() && !self.takes_data()
                || self.more.is_some() && !self.takes_data()
            {
                return Ok(progress);
            }
            // Nothing of ours may come in between the parts of a frame.
            if self.from_client.left() > 0 {
                if !self.pass_rest(input) {
                    return Ok(progress);
                }
                progress = true;
                continue;
            }
            if self.owed.len() >= MAX_OWED {
                self.ask_for_answers();
                return Ok(progress);
            }
            let Some(header) = frame::frontend_header(input.unread())? else {
                return Ok(progress);
            };
            let wanted = self.wanted(header);
            if input.unread().len() < wanted {
                input.reserve(wanted);
                return Ok(progress);
            }
            let end = input.unread().len().min(header.total);
            // The frame is lent out while the session changes; the buffer itself is not.
            let skipped = self.discarding || self.owed.is_skipping() && header.tag != b'S';
            let told_once = self.told_once.len();
            let frame = &input.unread()[..end];
            let real = matches!(header.tag, b'Q' | b'P')
                .then(|| self.with_real_names(header.tag, frame))
                .flatten();
            let taken = match real {
                Some(real) => {
                    let header = frame::Header {
                        total: real.len(),
                        ..header
                    };
                    match self.take_frame(header, &real)? {
                        Taken::Wait => Taken::Wait,
                        // The counts are those of the real frame; the client's is there as a whole.
                        Taken::All | Taken::Head(..) => Taken::All,
                    }
                }
                None => self.take_frame(header, frame)?,
            };
            match taken {
                Taken::All => {
                    self.keep_frame(header.tag, &input.unread()[..header.total], 0, skipped);
                    input.drop_unread(header.total);
                }
                Taken::Head(count, rest) => {
                    let frame = &input.unread()[..count];
                    self.keep_frame(header.tag, frame, rest.left(), skipped);
                    input.drop_unread(count);
                    self.from_client = rest;
                }
                Taken::Wait => {
                    // What it would have been told is told when it is taken.
                    self.told_once.truncate(told_once);
                    return Ok(progress);
                }
            }
            if !self.again.is_empty() {
                input.put_back(&std::mem::take(&mut self.again));
            }
            if self.terminating {
                return Ok(true);
            }
            progress = true;
        }
    }

    /// Keeps what was sent, should it have to be sent again.
    fn keep_frame(&mut self, tag: u8, bytes: &[u8], rest: usize, skipped: bool) {
        // Of what was extended there is no second time.
        let kept = self.procedure.is_some() || self.is_guarded();
        if self.lease.is_none() || matches!(tag, b'd' | b'c' | b'f') && kept {
            self.recent.clear();
            return;
        }
        if skipped {
            return;
        }
        let ends = matches!(tag, b'Q' | b'F' | b'S') && !(tag == b'S' && self.copying_in);
        self.recent.note(bytes);
        if ends && rest > 0 {
            self.recent.lose();
        }
        if ends {
            self.recent.close();
        }
        if self.owed.is_empty() && !self.owed.is_unsynced() {
            // Answered already.
            self.recent.clear();
        }
    }

    /// No more is taken before something is answered, which without a Sync may be never: many
    /// requests may wait for one short answer that the server keeps in its buffer.
    pub(super) fn ask_for_answers(&mut self) {
        if self.asked_for_answers || self.copying_in || self.owed.ready_due() > 0 {
            return;
        }
        if self.lease.is_some() {
            self.send_flush();
            self.asked_for_answers = true;
        }
    }

    /// Answers that nobody asked for are never sent, but an error is: asks for them, to show only
    /// that.
    pub(super) fn ask_for_errors(&mut self) -> bool {
        if self.asked_for_errors || self.owed.all_asked() {
            return false;
        }
        if self.lease.is_some() {
            self.send_flush();
            self.asked_for_errors = true;
        }
        self.asked_for_errors
    }

    /// The client left without asking for the answer that comes next.
    pub(super) fn is_muted(&self) -> bool {
        self.asked_for_errors && !self.owed.front_is_asked()
    }

    /// Bytes of a frame that must be there before it is looked at.
    fn wanted(&self, header: frame::Header) -> usize {
        match header.tag {
            b'd' => HEADER,
            // A tenant's goes on whole: no answer of the server comes while a part is missing.
            b'B' if self.is_guarded() && header.total <= MAX_PARSE => header.total,
            b'B' | b'F' => header.total.min(BIND_HEAD),
            b'Q' if header.total > READ_QUERY => HEADER,
            b'P' if header.total > MAX_PARSE => HEADER,
            _ => header.total,
        }
    }

    fn pass_rest(&mut self, input: &mut ReadBuffer) -> bool {
        let count = input.unread().len().min(self.from_client.left());
        if count == 0 {
            return false;
        }
        match self.from_client {
            Rest::Pass(_) => {
                self.send_rest(&input.unread()[..count]);
                self.recent.note(&input.unread()[..count]);
            }
            Rest::Keep(_) if self.is_guarded() => self.extend(&input.unread()[..count]),
            Rest::Keep(_) => self.take_more_data(&input.unread()[..count]),
            Rest::Drop(_) => {}
        }
        input.drop_unread(count);
        self.from_client.reduce(count);
        if self.from_client.left() == 0 {
            self.refuse_dropped();
            // The answer may have come before the end of the frame.
            self.release_if_settled();
        }
        true
    }

    fn take_frame(&mut self, header: frame::Header, bytes: &[u8]) -> Result<Taken, End> {
        if self.takes_data() {
            return Ok(self.take_data(header.tag, header.total, bytes));
        }
        match header.tag {
            b'X' => {
                self.terminating = true;
                Ok(Taken::All)
            }
            b'p' => Err(violation("unexpected password message")),
            b'd' if self.is_guarded() => Ok(self.take_tenant_data(header.total, bytes)),
            b'd' => Ok(self.take_copy_data(header.total, bytes)),
            b'c' | b'f' if self.is_guarded() => Ok(self.take_tenant_copy_end(bytes)),
            b'c' | b'f' => Ok(self.take_copy_end(bytes)),
            b'H' => {
                self.owed.flush();
                self.send_flush();
                Ok(Taken::All)
            }
            b'S' if self.copying_in => Ok(Taken::All),
            _ if self.copying_in && self.is_guarded() => {
                Ok(self.break_tenant_copy(header.total, bytes.len()))
            }
            // Should our messages fail, only one request may have been skipped with them.
            b'Q' | b'F' | b'P' | b'B' | b'D' | b'E' | b'C' | b'S' if self.owed.hangs_on_own() => {
                Ok(Taken::Wait)
            }
            b'S' if self.must_wait_for_reset() => Ok(Taken::Wait),
            b'S' => Ok(self.take_sync(bytes)),
            _ if self.discarding || self.owed.is_skipping() => Ok(skip(header.total, bytes.len())),
            tag @ (b'Q' | b'F' | b'P' | b'B' | b'D' | b'E') if self.must_wait_for_policy(tag) => {
                Ok(Taken::Wait)
            }
            b'P' | b'B' | b'D' | b'E' if let Some(error) = self.outlives_policy() => {
                self.refuse_extended(error);
                Ok(skip(header.total, bytes.len()))
            }
            b'B' if self.is_guarded() && bytes.len() < header.total => {
                self.refuse_long(b'B', header.total, bytes.len())
            }
            // A failed block without a connection sends nothing of a Query on.
            tag @ (b'Q' | b'F' | b'P')
                if self.is_guarded() && (tag == b'P' || self.limbo.is_none()) =>
            {
                self.take_guarded(tag, header.total, bytes)
            }
            b'Q' | b'P' if self.must_wait_for_columns() => Ok(Taken::Wait),
            tag @ (b'Q' | b'P') => {
                let whole = bytes.len() == header.total;
                if whole
                    && self.makes_hidden_columns()
                    && let Some(taken) = self.take_definition(tag, bytes)?
                {
                    return Ok(taken);
                }
                match self.take_named(tag, header.total, bytes)? {
                    Some(taken) => Ok(taken),
                    None => self.take_columns(tag, header.total, bytes),
                }
            }
            tag => self.take_admitted(tag, header.total, bytes),
        }
    }

    /// Takes a frame that may go on as it is.
    pub(super) fn take_admitted(
        &mut self,
        tag: u8,
        total: usize,
        bytes: &[u8],
    ) -> Result<Taken, End> {
        let too_long = self.env.pool.kind() == ClusterKind::Dsql && total > DSQL_MESSAGE;
        match tag {
            tag @ (b'Q' | b'F' | b'P' | b'B' | b'D' | b'E' | b'C') if self.limbo.is_some() => {
                self.take_in_limbo(tag, total, bytes)?;
                Ok(skip(total, bytes.len()))
            }
            b'Q' | b'F' | b'P' | b'B' | b'D' | b'E' if self.must_wait_for_reset() => {
                Ok(Taken::Wait)
            }
            _ if self.copying_in => Ok(self.break_copy(total, bytes)),
            tag if too_long => self.refuse_long(tag, total, bytes.len()),
            b'Q' => self.take_query(total, bytes),
            b'F' => self.take_function_call(total, bytes),
            b'P' if total > MAX_PARSE => self.refuse_long(b'P', total, bytes.len()),
            b'P' => self.take_parse(bytes),
            b'B' => self.take_bind(total, bytes),
            b'D' => self.take_describe(bytes),
            b'E' => self.take_execute(bytes),
            b'C' => self.take_close(bytes),
            other => Err(violation(format!("invalid frontend message type {other}"))),
        }
    }

    // ---- sending ---------------------------------------------------------------------------

    /// Appends what `put` writes to the upstream and notes what is owed for it.
    pub(super) fn send(
        &mut self,
        expect: Expect,
        hidden: bool,
        note: Option<Note>,
        put: impl FnOnce(&mut Vec<u8>),
    ) {
        self.asked_for_answers = false;
        if self.interrupts() {
            return;
        }
        if !hidden {
            self.start_statement();
        }
        // Weighed anew only when this sum, which still has what was answered, does not fit.
        self.undoable += note.as_ref().map_or(0, Note::undoable);
        if let Some(lease) = &mut self.lease {
            let out = lease.output.tail();
            let start = out.len();
            put(out);
            if let Some(replay) = &mut self.replay {
                match (expect, &out[start..]) {
                    (_, []) => {}
                    (Expect::CopyEnd, bytes) => replay.note_copy_end(bytes),
                    (expect, bytes) => replay.note(bytes, sent(expect, note.as_ref())),
                }
            }
            self.owed.push(expect, hidden, note.map(Box::new));
        }
    }

    /// Passes on bytes that belong to the request before.
    pub(super) fn send_rest(&mut self, bytes: &[u8]) {
        if let Some(lease) = &mut self.lease {
            lease.output.tail().extend_from_slice(bytes);
            if let Some(replay) = &mut self.replay {
                replay.note_rest(bytes);
            }
        }
    }

    /// Whether what is to be sent would come in between the parts of a client's frame: the server
    /// would take it for the client's, and the end of that frame for something else. The session ends.
    pub(super) fn interrupts(&mut self) -> bool {
        let passing = self.is_passing();
        self.interrupted |= passing;
        passing
    }

    /// Asks for the answers so far.
    fn send_flush(&mut self) {
        if self.interrupts() {
            return;
        }
        if let Some(lease) = &mut self.lease {
            let mut flush = Vec::new();
            frontend::put(&mut flush, b'H', &[]);
            lease.output.tail().extend_from_slice(&flush);
            if let Some(replay) = &mut self.replay {
                replay.flush(&flush);
            }
        }
    }

    fn own(what: Own) -> Option<Note> {
        Some(Note {
            own: Some(what),
            ..Note::default()
        })
    }

    /// Brings the connection's settings in line with the session's.
    pub(super) fn sync_settings(&mut self) {
        if self.needs_sync() {
            self.sync_settings_then(None);
        }
    }

    /// The same, and then the client's ReadyForQuery.
    pub(super) fn sync_settings_then(&mut self, resumes: Option<TransactionStatus>) {
        let sql = difference(self.settings.label(), self.settings.wanted());
        self.env.tally.settings_synced.add(1);
        let note = Note {
            own: Some(Own::Settings),
            resumes,
            ..Note::default()
        };
        self.send(Expect::Query, true, Some(note), |out| {
            frontend::put_query(out, sql.as_bytes());
        });
        self.unnamed.settle(None);
    }

    /// Sends the BEGIN that was answered already. In the extended protocol, so that the client's
    /// own messages behind it are skipped by the server should it fail.
    pub(super) fn send_deferred_begin(&mut self) {
        let Some(text) = self.begin.take() else {
            return;
        };
        self.begin_sent = Some(text.clone());
        self.send(Expect::Parse, true, Self::own(Own::Begin), |out| {
            frontend::put_parse(out, b"", &text, b"\0\0");
        });
        self.send(Expect::Bind, true, Self::own(Own::Begin), |out| {
            frontend::put(out, b'B', &[b"\0\0\0\0\0\0\0\0"]);
        });
        self.send(Expect::Execute, true, Self::own(Own::Begin), |out| {
            frontend::put(out, b'E', &[b"\0\0\0\0\0"]);
        });
        self.unnamed.settle(None);
    }

    /// Settings that RESET changed for the connection only are brought in line as soon as nothing
    /// is under way.
    fn settle_settings(&mut self) {
        let quiet = self.owed.is_empty() && !self.owed.is_unsynced();
        if quiet && self.owed.status() == TransactionStatus::Idle {
            self.refresh_schema();
        }
        if quiet && self.owed.status() != TransactionStatus::Failed {
            self.sync_settings();
        }
    }

    /// A lease, or what becomes of the frame without one. `simple`: the frame is answered with
    /// ReadyForQuery on its own.
    pub(super) fn lease_or(&mut self, simple: bool) -> Result<Option<Taken>, End> {
        match self.ensure_lease() {
            Ok(true) => {
                self.settle_settings();
                Ok(None)
            }
            Ok(false) => {
                self.start_statement();
                Ok(Some(Taken::Wait))
            }
            Err(error) => {
                if self.begin.take().is_some() {
                    // The client believes to be in a transaction, which never began.
                    self.limbo = Some(Limbo::default());
                    self.status = TransactionStatus::Failed;
                }
                self.more = None;
                error.put(self.answers());
                if simple {
                    let status = self.status;
                    reply::put_ready(self.answers(), status);
                } else {
                    self.discarding = true;
                }
                Ok(Some(Taken::All))
            }
        }
    }

    // ---- simple protocol -------------------------------------------------------------------

    fn take_query(&mut self, total: usize, bytes: &[u8]) -> Result<Taken, End> {
        if total > READ_QUERY {
            return self.take_long_query(total, bytes);
        }
        let text = frontend::query(&bytes[HEADER..])?;
        let Some(verdict) = self.judge(text) else {
            let class = classify(text);
            if let Some(at) = self.savepoint_cut(text, &class) {
                return self.take_first_piece(text, &Cut::at(at));
            }
            return self.take_unjudged_query(bytes, text, &class);
        };
        if let Some(error) = self.refused_procedure(&verdict) {
            let piece = Piece::refused(0..text.len(), error);
            return self.pass_query(bytes, text, &verdict.class, Some(Script(vec![piece])));
        }
        if let Some(cut) = self.cut(text, &verdict) {
            return self.take_first_piece(text, &cut);
        }
        let taken = self.take_judged_query(bytes, text, &verdict)?;
        if !matches!(taken, Taken::Wait) {
            self.note_queried(&verdict);
            self.note_dropped(text);
        }
        Ok(taken)
    }

    /// What becomes several statements would leave for the server unproven.
    fn refused_procedure(&self, verdict: &Verdict) -> Option<ClientError> {
        let parts = verdict.parts().filter(|_| self.is_guarded())?;
        let several = parts.iter().any(Part::is_procedure);
        several.then(|| Refusal::new(Rule::StatementKind, "").error())
    }

    /// Where a text of several statements is cut, behind the first piece.
    fn cut<'v>(&self, text: &[u8], verdict: &'v Verdict) -> Option<Cut<'v>> {
        let cut = verdict.cut();
        match self.savepoint_cut(text, &verdict.class) {
            Some(at) if cut.as_ref().is_none_or(|cut| at < cut.at) => Some(Cut::at(at)),
            _ => cut,
        }
    }

    /// Takes the first piece of a text; the rest is taken when that is done.
    fn take_first_piece(&mut self, text: &[u8], cut: &Cut<'_>) -> Result<Taken, End> {
        if self.waits_for_answers(false) {
            return Ok(Taken::Wait);
        }
        let (head, rest) = text.split_at(cut.at);
        let verdict = self.judge(head);
        let mut frame = Vec::new();
        frontend::put_query(&mut frame, head);
        // So that positions are those of the whole text.
        let mut blanked: Vec<u8> = String::from_utf8_lossy(head)
            .chars()
            .map(|c| if c == '\n' { b'\n' } else { b' ' })
            .collect();
        blanked.extend_from_slice(rest);
        self.more = Some(blanked);
        let taken = match &verdict {
            Some(verdict) => self.take_judged_query(&frame, head, verdict)?,
            None => self.take_unjudged_query(&frame, head, &classify(head))?,
        };
        if matches!(taken, Taken::Wait) {
            self.more = None;
            return Ok(taken);
        }
        if let Some(verdict) = &verdict {
            self.note_queried(verdict);
            self.note_dropped(head);
        }
        let warnings: Vec<Notice> = cut.warnings.iter().map(|told| (*told).clone()).collect();
        let warnings = self.notices(&warnings);
        self.answers().extend_from_slice(&warnings);
        Ok(Taken::All)
    }

    /// Ends a Query that was answered here, or goes on with the rest of its text.
    pub(super) fn end_query(&mut self, status: TransactionStatus) {
        match self.more.take() {
            Some(rest) => frontend::put_query(&mut self.again, &rest),
            None => {
                if let Some(mut told) = self.take_heard() {
                    self.answers().append(&mut told);
                }
                reply::put_ready(self.answers(), status);
            }
        }
    }

    /// The first piece of a text was answered by the server: goes on with the rest.
    pub(super) fn take_rest(&mut self, rest: &[u8]) {
        let mut frame = Vec::new();
        frontend::put_query(&mut frame, rest);
        self.recent.clear();
        self.cin.put_back(&frame);
    }

    /// Takes a Query about which no policy has a say.
    fn take_unjudged_query(
        &mut self,
        bytes: &[u8],
        text: &[u8],
        class: &Class,
    ) -> Result<Taken, End> {
        let script = match self.answer_transaction(text, class, None) {
            true => return Ok(Taken::All),
            false => self.script(text, class, None),
        };
        self.pass_query(bytes, text, class, script)
    }

    /// Does with a Query what policy says.
    fn take_judged_query(
        &mut self,
        bytes: &[u8],
        text: &[u8],
        verdict: &Rc<Verdict>,
    ) -> Result<Taken, End> {
        if let Some(error) = self.refused_read_only(verdict) {
            let piece = Piece::refused(0..text.len(), error);
            return self.pass_query(bytes, text, &verdict.class, Some(Script(vec![piece])));
        }
        match &verdict.outcome {
            Outcome::Refuse(error) => {
                let piece = Piece::refused(0..text.len(), error.clone());
                return self.pass_query(bytes, text, &verdict.class, Some(Script(vec![piece])));
            }
            Outcome::Pass if self.answer_transaction(text, &verdict.class, None) => {
                return Ok(Taken::All);
            }
            Outcome::Pass => return self.pass_query(bytes, text, &verdict.class, None),
            Outcome::Parts(_) => {}
        }
        let part = verdict.alone();
        if let Some(part) = part.filter(|part| self.may_run(part)) {
            return Ok(self.take_procedure_query(text, part));
        }
        if let Some(part) = part
            && let Action::Answer(answer) = &part.decision.action
            && is_about_cursors(answer)
        {
            // Where nothing is open, nothing is to be closed.
            let idle = self.lease.is_none() && !self.transaction.open && self.cursors.is_empty();
            if !idle || !matches!(answer, Answer::Session(SessionCommand::Close(None))) {
                return self.take_cursor_query(part);
            }
        }
        let Some(mut script) = self.script(text, &verdict.class, Some(verdict)) else {
            return self.pass_query(bytes, text, &verdict.class, None);
        };
        // Other text for one statement is as if the client had sent that.
        if let [piece] = script.0.as_mut_slice()
            && piece.told.as_ref().is_some_and(|told| !told.is_local())
        {
            let sent = piece.sent.clone().map(String::into_bytes);
            let sent_class = sent.as_deref().map(|sent| class_of(sent, &verdict.class));
            let begun = self.answer_transaction(
                sent.as_deref().unwrap_or(text),
                sent_class.as_ref().unwrap_or(&verdict.class),
                piece.told.as_ref(),
            );
            if begun {
                return Ok(Taken::All);
            }
        }
        self.pass_query(bytes, text, &verdict.class, Some(script))
    }

    /// Sends a Query on, as its script says.
    pub(super) fn pass_query(
        &mut self,
        bytes: &[u8],
        text: &[u8],
        class: &Class,
        script: Option<Script>,
    ) -> Result<Taken, End> {
        if let Some(taken) = script
            .as_ref()
            .and_then(|script| self.take_local_query(script))
        {
            return Ok(taken);
        }
        if let Some(taken) = self.lease_or(true)? {
            return Ok(taken);
        }
        if let Some(taken) = self.take_savepoint_query(text, class) {
            return Ok(taken);
        }
        let composed = script.map(|script| script.compose(text));
        let others = composed
            .as_ref()
            .filter(|composed| !composed.places.is_empty())
            .map(|composed| class_of(&composed.text, class));
        let class = others.as_ref().unwrap_or(class);
        if self.must_wait_for_names(class) {
            return Ok(Taken::Wait);
        }
        let text_sent = composed
            .as_ref()
            .map_or(text, |composed| composed.text.as_slice());
        self.note_pins(class, text_sent);
        let alone = !self.owed.may_skip();
        let (forgets, unnamed) = self.forget_unnamed(alone);
        let rows = self.rows_of(text);
        let (substituted, mut told, places) = match composed {
            None => (None, None, None),
            Some(Composed { text, told, places }) => (
                (!places.is_empty()).then_some(text),
                (!told.is_empty()).then_some(told),
                (!places.is_empty()).then_some(places),
            ),
        };
        let text = substituted.as_deref().unwrap_or(text);
        let translated = self.translate_deallocate(text, class);
        let mut note = Note {
            writes: class.may_write,
            opts_out: class.opts_out,
            calls: class.calls,
            forgets,
            unnamed,
            places,
            rows,
            ..Note::default()
        };
        let mut class_effects = class.effects.clone();
        if told.is_some() && class_effects.is_none() {
            class_effects = Some(vec![Effect::None; class.statements].into());
        }
        let restored = class_effects.as_deref().and_then(|effects| {
            let text = translated.as_deref().unwrap_or(text);
            restore(text, effects, self.settings.defaults())
        });
        let (effects, translated) = match restored {
            Some(restored) => {
                if let Some(told) = &mut told {
                    let inserted = |number| restored.inserted.has_statement(number);
                    told.shift(inserted, restored.effects.len());
                }
                note.inserted = Some(restored.inserted);
                (Some(restored.effects), Some(restored.text))
            }
            None => (class_effects, translated.or(substituted)),
        };
        note.told = told;
        self.note_effects(&mut note, effects);
        let speaks = note.writes || note.calls || note.opts_out;
        let plain = alone
            && note.effects.is_none()
            && !speaks
            && note.told.is_none()
            && note.rows.is_none();
        self.env.tally.requests.add(1);
        self.send(
            Expect::Query,
            false,
            (!plain).then_some(note),
            |out| match translated {
                Some(text) => frontend::put_query(out, &text),
                None => out.extend_from_slice(bytes),
            },
        );
        Ok(Taken::All)
    }

    /// A simple query destroys the unnamed statement, if it is carried out: for sure when it is
    /// alone. Gives the changes of the name and of the connection's statement.
    pub(super) fn forget_unnamed(&mut self, alone: bool) -> (Option<NameChange>, Option<u64>) {
        if alone {
            self.names.forget_unnamed();
            self.unnamed.settle(None);
            return (None, None);
        }
        let forgets = self.names.set(b"", None);
        (Some(forgets), Some(self.unnamed.change(None)))
    }

    /// Notes what statements do, and does at once what they do to names: requests behind them
    /// already see that.
    fn note_effects(&mut self, note: &mut Note, effects: Option<Rc<[Effect]>>) {
        self.local_settings |= effects
            .iter()
            .flat_map(|effects| effects.iter())
            .any(|effect| matches!(effect, Effect::Set { local: true, .. }));
        for (position, effect) in effects
            .iter()
            .flat_map(|effects| effects.iter())
            .enumerate()
        {
            match effect {
                Effect::Deallocate(name) => {
                    if let Some(prepared) = self.names.get(name) {
                        note.removes.push((position, prepared.id));
                        note.changes.push((position, self.names.set(name, None)));
                    }
                }
                Effect::DeallocateAll | Effect::DiscardAll => {
                    note.changes.push((position, self.names.clear()));
                    if let Some(lease) = &mut self.lease {
                        let ids = lease.prepared.ids();
                        note.removes
                            .extend(ids.into_iter().map(|id| (position, id)));
                    }
                }
                _ => {}
            }
        }
        if let Some(lease) = &mut self.lease {
            note.removes
                .iter()
                .for_each(|(_, id)| lease.prepared.remove(*id));
        }
        note.effects = effects;
    }

    /// The text with the server's names in each DEALLOCATE; the statements are on this connection
    /// then.
    fn translate_deallocate(&mut self, text: &[u8], class: &Class) -> Option<Vec<u8>> {
        self.prepare_deallocated(class.effects.as_deref());
        class.effects.as_ref()?;
        translate(text, |name| self.server_name(name))
    }

    /// The server's name for a client's statement name in a text. One that looks like a name of ours
    /// and is not the client's means nothing.
    fn server_name(&self, name: &[u8]) -> Option<String> {
        match self.names.get(name) {
            Some(prepared) => Some(prepared.server_name()),
            None if name.starts_with(STATEMENT_PREFIX.as_bytes()) => {
                Some(statement_name(NO_STATEMENT))
            }
            None => None,
        }
    }

    /// What a DEALLOCATE names must be on this connection.
    fn prepare_deallocated(&mut self, effects: Option<&[Effect]>) {
        for effect in effects.unwrap_or_default() {
            if let Effect::Deallocate(name) = effect
                && let Some(prepared) = self.names.get(name).cloned()
            {
                self.prepare_again(&prepared);
            }
        }
    }

    /// Whether an earlier batch may still change what a name means, or whether a statement is
    /// there: then it must be known first.
    fn must_wait(&self, name: &[u8], id: Option<u64>) -> bool {
        if self.owed.ready_due() == 0 {
            return false;
        }
        self.owed.earlier_batches().any(|entry| {
            entry.note.as_ref().is_some_and(|note| {
                let removes = |id| note.removes.iter().any(|(_, removed)| *removed == id);
                note.changes.iter().any(|(_, change)| change.touches(name))
                    || (name.is_empty() && note.unnamed.is_some())
                    || id.is_some_and(|id| note.makes == Some(id) || removes(id))
            })
        })
    }

    /// An earlier batch discards all settings, and the client gave start-up parameters: these must
    /// be set before anything else runs.
    fn must_wait_for_reset(&self) -> bool {
        let discards = || {
            self.owed.earlier_batches().any(|entry| {
                let effects = entry.note.as_ref().and_then(|note| note.effects.as_ref());
                effects.is_some_and(|effects| effects.contains(&Effect::DiscardAll))
            })
        };
        self.owed.ready_due() > 0
            && !self.settings.defaults().is_empty()
            && (self.resetting || discards())
    }

    fn must_wait_for(&self, name: &[u8]) -> bool {
        self.must_wait(name, self.names.get(name).map(|prepared| prepared.id))
    }

    fn must_wait_for_names(&self, class: &Class) -> bool {
        let effects = class.effects.iter().flat_map(|effects| effects.iter());
        effects.into_iter().any(|effect| match effect {
            Effect::Deallocate(name) => self.must_wait_for(name),
            Effect::DeallocateAll | Effect::DiscardAll => self.owed.ready_due() > 0,
            _ => false,
        })
    }

    /// Answers a BEGIN without sending it, and the end of a transaction that never was begun.
    fn answer_transaction(&mut self, text: &[u8], class: &Class, told: Option<&Told>) -> bool {
        if self.lease.is_some() || self.ticket.is_some() || self.refusal.is_some() {
            return false;
        }
        let Some([effect]) = class.effects.as_deref() else {
            return false;
        };
        let (tag, status) = match (effect, &self.begin) {
            (Effect::Begin { plain: true }, None) => {
                self.begin = Some(text.to_vec());
                self.env.tally.begins_deferred.add(1);
                (begin_tag(text), TransactionStatus::Open)
            }
            (Effect::Commit { plain: true }, Some(_)) => ("COMMIT", TransactionStatus::Idle),
            (Effect::Rollback { plain: true }, Some(_)) => ("ROLLBACK", TransactionStatus::Idle),
            _ => return false,
        };
        if status == TransactionStatus::Idle {
            self.begin = None;
            if matches!(effect, Effect::Commit { .. }) {
                self.creations.forget();
            }
            self.settings.apply(effect);
            self.obey_switches();
            self.read_only = None;
            self.deferrable = None;
            self.isolation = None;
        }
        self.names.forget_unnamed();
        self.status = status;
        if let Some(told) = told {
            self.answers().extend_from_slice(&told.notices);
        }
        reply::put_command_complete(self.answers(), tag);
        self.end_query(status);
        true
    }

    fn take_long_query(&mut self, total: usize, bytes: &[u8]) -> Result<Taken, End> {
        if let Some(taken) = self.lease_or(true)? {
            return Ok(without_rest(taken, total, bytes.len()));
        }
        self.pin_to(PinReason::LongText);
        self.creations.fail();
        self.env.tally.requests.add(1);
        let alone = !self.owed.may_skip();
        let (forgets, unnamed) = self.forget_unnamed(alone);
        let note = Note {
            writes: true,
            unread: true,
            forgets,
            unnamed,
            ..Note::default()
        };
        self.send(Expect::Query, false, Some(note), |out| {
            out.extend_from_slice(bytes)
        });
        Ok(Taken::Head(bytes.len(), Rest::Pass(total - bytes.len())))
    }

    fn take_function_call(&mut self, total: usize, bytes: &[u8]) -> Result<Taken, End> {
        if let Some(taken) = self.lease_or(true)? {
            return Ok(without_rest(taken, total, bytes.len()));
        }
        self.env.tally.requests.add(1);
        let note = Note {
            writes: true,
            ..Note::default()
        };
        self.send(Expect::FunctionCall, false, Some(note), |out| {
            out.extend_from_slice(bytes)
        });
        Ok(Taken::Head(bytes.len(), Rest::Pass(total - bytes.len())))
    }

    fn note_pins(&mut self, class: &Class, text: &[u8]) {
        for effect in class.effects.iter().flat_map(|effects| effects.iter()) {
            match effect {
                Effect::Pin(PinReason::Setting) if !may_set_path(text) => {
                    self.pin_with_path(PinReason::Setting, false);
                }
                Effect::Pin(reason) => self.pin_to(*reason),
                // A DEALLOCATE that is not translated may remove a statement of ours.
                Effect::Deallocate(_) if class.statements > 1 => self.pin_to(PinReason::Prepare),
                _ => {}
            }
        }
    }

    pub(super) fn pin_to(&mut self, reason: PinReason) {
        let lost = matches!(reason, PinReason::Setting | PinReason::LongText);
        self.pin_with_path(reason, lost);
    }

    /// `lost`: the search path is not known any more.
    fn pin_with_path(&mut self, reason: PinReason, lost: bool) {
        self.note_lost_path(lost);
        if self.pin.is_none() {
            tracing::debug!(
                user = self.identity.user(),
                reason = reason.label(),
                "session pinned"
            );
            self.env.tally.pins.add(1);
            self.pin = Some(reason);
        }
    }

    // ---- extended protocol -----------------------------------------------------------------

    fn take_parse(&mut self, bytes: &[u8]) -> Result<Taken, End> {
        let parse = frontend::parse(&bytes[HEADER..])?;
        let verdict = self.judge(parse.text);
        if let Some(error) = self.refused_parse(verdict.as_deref()) {
            self.refuse_extended(error);
            return Ok(Taken::All);
        }
        if let Some(taken) = self.lease_or(false)? {
            return Ok(taken);
        }
        if !parse.name.is_empty() && self.must_wait_for(parse.name) {
            return Ok(Taken::Wait);
        }
        if self.owed.ready_due() > 0 {
            let class = classify(parse.text);
            if self.must_wait_for_names(&class) || self.stand_in(parse.text, &class).is_some() {
                return Ok(Taken::Wait);
            }
        }
        if !self.retaken.is_empty() {
            self.free_retaken(parse.name);
        }
        if let Some(error) = self.over_quota(&parse) {
            self.refuse_parse(error);
            return Ok(Taken::All);
        }
        let parameter = self.parsed_parameter();
        if parse.name.is_empty() {
            self.parse_unnamed(&parse, bytes, verdict, parameter);
        } else if self.names.get(parse.name).is_some() {
            self.parse_duplicate(&parse);
        } else {
            self.parse_named(&parse, verdict, parameter);
        }
        Ok(Taken::All)
    }

    /// Why policy refuses a statement; in a failed transaction the server does.
    fn refused_parse(&self, verdict: Option<&Verdict>) -> Option<ClientError> {
        let verdict = verdict?;
        if let Some(error) = self.refused_procedure(verdict) {
            return Some(error);
        }
        let error = match &verdict.outcome {
            Outcome::Pass => self.refused_read_only(verdict)?,
            Outcome::Refuse(error) => error.clone(),
            Outcome::Parts(_) => match verdict.alone()? {
                part if part.is_procedure() => procedure::refusal(&part.decision)?,
                part => match &part.decision.action {
                    Action::Reject(error) => error.clone(),
                    _ => return None,
                },
            },
        };
        Some(
            match self.owed.is_empty() && self.status == TransactionStatus::Failed {
                true => aborted(),
                false => error,
            },
        )
    }

    /// The refusal of a statement that is one too many, or one that is too long beside the others.
    fn over_quota(&mut self, parse: &frontend::Parse<'_>) -> Option<ClientError> {
        let Quota { statements, bytes } = self.env.quota;
        let adds = !parse.name.is_empty() && self.names.get(parse.name).is_none();
        if adds && self.names.len() >= statements {
            return Some(
                ClientError::error(
                    sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
                    format!("a client keeps at most {statements} prepared statements"),
                )
                .hint("Close or DEALLOCATE those that are not used, or raise limits.client_statements."),
            );
        }
        let size = parse.name.len() + size_of_statement(parse.text, parse.types);
        let fits = |session: &Self| session.names.size() + session.undoable + size <= bytes;
        if !fits(self) {
            self.undoable = self.weigh_changes();
        }
        if !fits(self) {
            return Some(
                ClientError::error(
                    sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
                    format!("the prepared statements of a client take at most {bytes} bytes"),
                )
                .hint(
                    "Close or DEALLOCATE those that are not used, send Sync more often, or raise \
                     limits.client_statement_bytes.",
                ),
            );
        }
        None
    }

    fn weigh_changes(&self) -> usize {
        let notes = self.owed.iter().filter_map(|entry| entry.note.as_ref());
        notes.map(|note| note.undoable()).sum()
    }

    fn parse_unnamed(
        &mut self,
        parse: &frontend::Parse<'_>,
        bytes: &[u8],
        verdict: Option<Rc<Verdict>>,
        parameter: Option<TenantParameter>,
    ) {
        let is_same = |known: &&Rc<Prepared>| match (&known.verdict, &verdict) {
            (None, None) => true,
            (Some(known), Some(verdict)) => known.passes() && verdict.passes(),
            _ => false,
        };
        let known = self
            .names
            .get(b"")
            .filter(|known| *known.source == *parse.text && *known.types == *parse.types)
            .filter(is_same)
            .filter(|known| known.parameter == parameter)
            .cloned();
        let prepared = known.unwrap_or_else(|| self.prepared_of(parse, verdict, parameter));
        self.note_pins(&prepared.class, &prepared.source);
        let id = prepared.id;
        let translated = (*prepared.text != *parse.text).then(|| prepared.text.clone());
        let note = Note {
            places: prepared.places(),
            changes: vec![(0, self.names.set(b"", Some(prepared)))],
            unnamed: Some(self.unnamed.change(Some(id))),
            ..Note::default()
        };
        self.send(Expect::Parse, false, Some(note), |out| match translated {
            Some(text) => frontend::put_parse(out, b"", &text, parse.types),
            None => out.extend_from_slice(bytes),
        });
    }

    /// A statement of this session alone, with the server's names in a DEALLOCATE. One may
    /// deallocate itself.
    pub(super) fn prepared_of(
        &mut self,
        parse: &frontend::Parse<'_>,
        verdict: Option<Rc<Verdict>>,
        parameter: Option<TenantParameter>,
    ) -> Rc<Prepared> {
        let class = match &verdict {
            Some(verdict) => verdict.class.clone(),
            None => classify(parse.text),
        };
        let id = next_statement_id();
        let own = self.text_instead(parse.text, &class, verdict.as_deref());
        let class = match &own {
            // A lock that the session takes itself leaves nothing on a connection.
            Some(own) => Class {
                effects: class_of(own, &class)
                    .effects
                    .filter(|_| !verdict.as_ref().is_some_and(|verdict| verdict.locks())),
                ..class_of(own, &class)
            },
            None => class,
        };
        let text = own.as_deref().unwrap_or(parse.text);
        let itself = |name: &[u8]| (name == parse.name).then(|| statement_name(id));
        let translated = translate(text, |name| itself(name).or_else(|| self.server_name(name)));
        let text = translated.as_deref().unwrap_or(text);
        let text = self.stand_in(parse.text, &class).unwrap_or(text);
        Prepared::translated(
            id,
            text,
            parse.text,
            parse.types,
            class,
            verdict,
            parameter,
            self.scope(),
        )
    }

    /// The text for the server in place of one that the client prepares.
    fn text_instead(
        &mut self,
        text: &[u8],
        class: &Class,
        verdict: Option<&Verdict>,
    ) -> Option<Vec<u8>> {
        if let Some(part) = verdict
            .and_then(Verdict::alone)
            .filter(|part| part.is_procedure())
        {
            return part.prepared().map(|text| text.as_bytes().to_vec());
        }
        if let Some(part) = verdict.and_then(Verdict::alone)
            && part.declared().is_some()
        {
            return Some(self.declared_text(part).unwrap_or_default());
        }
        let told_once = self.told_once.len();
        let mut script = self.script(text, class, verdict)?;
        // It is told when it is executed.
        self.told_once.truncate(told_once);
        match script.0.as_mut_slice() {
            [piece] => match &piece.told {
                // Without rows, as Describe tells.
                Some(told) if told.hides_rows() => Some(Vec::new()),
                _ => piece.sent.take().map(String::into_bytes),
            },
            // The server refuses several.
            _ => None,
        }
    }

    /// The name is taken: the server itself says so, under a name that nobody else uses.
    fn parse_duplicate(&mut self, parse: &frontend::Parse<'_>) {
        // The empty statement can be prepared in every state of role, settings and transaction.
        let taken = Prepared::new(b"", b"\0\0", self.scope());
        self.prepare_again(&taken);
        let error = ClientError::error(
            sqlstate::DUPLICATE_PREPARED_STATEMENT,
            format!(
                "prepared statement \"{}\" already exists",
                String::from_utf8_lossy(parse.name)
            ),
        );
        let note = Note {
            duplicate: Some(error),
            ..Note::default()
        };
        self.send(Expect::Parse, false, Some(note), |out| {
            frontend::put_parse(out, taken.server_name().as_bytes(), parse.text, parse.types);
        });
    }

    fn parse_named(
        &mut self,
        parse: &frontend::Parse<'_>,
        verdict: Option<Rc<Verdict>>,
        parameter: Option<TenantParameter>,
    ) {
        if verdict.as_ref().is_some_and(|verdict| !verdict.passes()) {
            let prepared = self.prepared_of(parse, verdict, parameter);
            self.send_named(parse, prepared, false);
            return;
        }
        let shared = self.env.registry.share(
            parse.text,
            parse.types,
            self.scope(),
            verdict.clone(),
            parameter,
        );
        let known = self
            .lease
            .as_mut()
            .is_some_and(|lease| lease.prepared.touch(shared.id));
        let certain = self.owed.ready_due() == 0 && self.owed.status() != TransactionStatus::Failed;
        // Two names of one session never share a statement, so that an error can name the right one.
        // What SET LOCAL or an untracked change did is not in the scope.
        let private = self.pin.is_some() || self.local_settings;
        let kept = self.is_kept(parse.text, &shared);
        let prepared = if shared.class.effects.is_some() || kept {
            self.prepared_of(parse, verdict, parameter)
        } else if private || self.names.uses(shared.id) || (known && !certain) {
            shared.renewed()
        } else {
            shared
        };
        self.send_named(parse, prepared, known && certain);
    }

    /// Prepares a statement under the client's name; `known`: it may be there already.
    fn send_named(&mut self, parse: &frontend::Parse<'_>, prepared: Rc<Prepared>, known: bool) {
        self.note_pins(&prepared.class, &prepared.source);
        let (id, server_name, text) = (prepared.id, prepared.server_name(), prepared.text.clone());
        let places = prepared.places();
        let present = known && self.lease.as_ref().is_some_and(|l| l.prepared.contains(id));
        let changes = vec![(0, self.names.set(parse.name, Some(prepared)))];
        if present {
            self.answer_locally(
                b'1',
                Note {
                    changes,
                    ..Note::default()
                },
            );
            return;
        }
        self.make_room();
        let note = Note {
            changes,
            makes: Some(id),
            places,
            ..Note::default()
        };
        self.send(Expect::Parse, false, Some(note), |out| {
            frontend::put_parse(out, server_name.as_bytes(), &text, parse.types);
        });
        if let Some(lease) = &mut self.lease {
            lease.prepared.insert(id);
        }
    }

    /// Frames of ours, given when their turn comes.
    pub(super) fn answer_frame(&mut self, frame: Vec<u8>) {
        let note = Note {
            frame,
            ..Note::default()
        };
        self.send(Expect::Local, false, Some(note), |_| {});
        self.answer_local();
    }

    /// An answer of five bytes, given when its turn comes.
    fn answer_locally(&mut self, tag: u8, note: Note) {
        let frame = vec![tag, 0, 0, 0, 4];
        self.send(Expect::Local, false, Some(Note { frame, ..note }), |_| {});
        self.answer_local();
    }

    /// Closes the statement that was not used for the longest time, when there are too many.
    fn make_room(&mut self) {
        let limit = self.env.pool.prepared_limit().max(1) - 1;
        let Some(lease) = &mut self.lease else { return };
        let Some(evicted) = lease.prepared.evict(limit) else {
            return;
        };
        let note = Note {
            own: Some(Own::Evict),
            removes: vec![(0, evicted)],
            ..Note::default()
        };
        self.send(Expect::Close, true, Some(note), |out| {
            frontend::put_close_statement(out, statement_name(evicted).as_bytes());
        });
    }

    /// Prepares a statement of the client on this connection, if it is not there.
    fn prepare_again(&mut self, prepared: &Rc<Prepared>) -> bool {
        let Some(lease) = &mut self.lease else {
            return false;
        };
        if lease.prepared.touch(prepared.id) {
            return false;
        }
        self.make_room();
        self.env.tally.reprepared.add(1);
        let note = Note {
            own: Some(Own::Prepare),
            makes: Some(prepared.id),
            ..Note::default()
        };
        self.send(Expect::Parse, true, Some(note), |out| {
            let name = prepared.server_name();
            frontend::put_parse(out, name.as_bytes(), &prepared.text, &prepared.types);
        });
        if let Some(lease) = &mut self.lease {
            lease.prepared.insert(prepared.id);
        }
        true
    }

    /// The server-side name for a client's statement name, prepared on this connection.
    fn resolve(&mut self, name: &[u8]) -> Resolved {
        let again = match self.translate_again(name) {
            Ok(again) => again,
            Err(error) => {
                return Resolved {
                    name: statement_name(NO_STATEMENT).into_bytes(),
                    prepared: None,
                    instead: Some(error),
                    changes: Vec::new(),
                };
            }
        };
        let Some(prepared) = self.names.get(name).cloned() else {
            return self.resolve_missing(name);
        };
        let name = if name.is_empty() {
            self.restore_unnamed(&prepared);
            Vec::new()
        } else {
            self.prepare_again(&prepared);
            prepared.server_name().into_bytes()
        };
        Resolved {
            name,
            prepared: Some(prepared),
            instead: None,
            changes: again.map(|change| (0, change)).into_iter().collect(),
        }
    }

    /// A DEALLOCATE means what its name means when it runs, not when it was prepared; and policy may
    /// say something else by then.
    fn translate_again(&mut self, name: &[u8]) -> Result<Option<NameChange>, ClientError> {
        let Some(prepared) = self.names.get(name).cloned() else {
            return Ok(None);
        };
        let verdict = prepared
            .verdict
            .as_ref()
            .map(|verdict| self.judge_again(&prepared.source, verdict));
        if let Some(error) = self.refused_parse(verdict.as_deref()) {
            return Err(error);
        }
        let effects = prepared.class.effects.as_deref().unwrap_or_default();
        let deallocates = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Deallocate(_)));
        let passes = verdict.as_ref().is_none_or(|verdict| verdict.passes());
        let passed = prepared
            .verdict
            .as_ref()
            .is_none_or(|verdict| verdict.passes());
        if !deallocates && passes && passed {
            return Ok(None);
        }
        let parse = frontend::Parse {
            name,
            text: &prepared.source,
            types: &prepared.types,
        };
        let again = self.prepared_of(&parse, verdict, prepared.parameter);
        let same_verdict = match (&again.verdict, &prepared.verdict) {
            (Some(now), Some(then)) => Rc::ptr_eq(now, then),
            (now, then) => now.is_none() && then.is_none(),
        };
        if *prepared.text == *again.text && same_verdict {
            return Ok(None);
        }
        Ok(Some(self.names.set(name, Some(again))))
    }

    /// The unnamed statement lives on one connection; on another it is parsed again.
    fn restore_unnamed(&mut self, prepared: &Rc<Prepared>) {
        if *self.unnamed.get() == Some(prepared.id) {
            return;
        }
        self.env.tally.reprepared.add(1);
        let note = Note {
            own: Some(Own::Prepare),
            unnamed: Some(self.unnamed.change(Some(prepared.id))),
            ..Note::default()
        };
        self.send(Expect::Parse, true, Some(note), |out| {
            frontend::put_parse(out, b"", &prepared.text, &prepared.types);
        });
    }

    /// A name the client never prepared must fail upstream too, so that its transaction fails, and
    /// must not reach a statement of somebody else.
    fn resolve_missing(&mut self, name: &[u8]) -> Resolved {
        if !name.is_empty() && !name.starts_with(STATEMENT_PREFIX.as_bytes()) {
            return Resolved {
                name: name.to_vec(),
                prepared: None,
                instead: None,
                changes: Vec::new(),
            };
        }
        let message = if name.is_empty() {
            "unnamed prepared statement does not exist".to_owned()
        } else {
            format!(
                "prepared statement \"{}\" does not exist",
                String::from_utf8_lossy(name)
            )
        };
        Resolved {
            name: statement_name(NO_STATEMENT).into_bytes(),
            prepared: None,
            instead: Some(ClientError::error(
                sqlstate::INVALID_SQL_STATEMENT_NAME,
                message,
            )),
            changes: Vec::new(),
        }
    }

    fn take_bind(&mut self, total: usize, bytes: &[u8]) -> Result<Taken, End> {
        let body = &bytes[HEADER..];
        let head = frontend::bind_head(body)?;
        if let Some(taken) = self.lease_or(false)? {
            return Ok(without_rest(taken, total, bytes.len()));
        }
        let class = self
            .names
            .get(head.statement)
            .map(|prepared| &prepared.class);
        if self.must_wait_for(head.statement)
            || class.is_some_and(|class| self.must_wait_for_names(class))
        {
            return Ok(Taken::Wait);
        }
        if let Some(taken) = self.commit_before(head.statement) {
            return Ok(taken);
        }
        let bound = match self.bound_to_tenant(head.statement, &body[head.length..])? {
            Ok(bound) => bound,
            Err(error) => {
                self.refuse_extended(error);
                return Ok(Taken::All);
            }
        };
        let resolved = self.resolve(head.statement);
        let portal = self.note_portal(head.portal, resolved.prepared.as_ref());
        if portal.is_some() && bytes.len() == total {
            let rest = &body[head.length..];
            self.keep_values(frontend::bind_parameters(rest)?, rest);
        }
        let opts_out = resolved
            .prepared
            .as_ref()
            .is_some_and(|prepared| prepared.class.opts_out);
        let plain = portal.is_none()
            && resolved.instead.is_none()
            && resolved.changes.is_empty()
            && !opts_out;
        let note = (!plain).then(|| Note {
            opts_out,
            instead: resolved.instead,
            portal,
            changes: resolved.changes,
            ..Note::default()
        });
        let rest = &body[head.length..];
        let more = bound.as_ref().map_or(0, |bound| bound.len() - rest.len());
        let rest = bound.as_deref().unwrap_or(rest);
        let length = total - 1 - head.statement.len() + resolved.name.len() + more;
        self.send(Expect::Bind, false, note, |out| {
            out.push(b'B');
            // The frame was within the limit; a name adds at most a few bytes to it.
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
            for piece in [head.portal, b"\0", &resolved.name, b"\0", rest] {
                out.extend_from_slice(piece);
            }
        });
        Ok(Taken::Head(bytes.len(), Rest::Pass(total - bytes.len())))
    }

    /// The client's transaction may have to be committed before this statement.
    fn commit_before(&mut self, name: &[u8]) -> Option<Taken> {
        let prepared = self.names.get(name)?.clone();
        let verdict = self.judge_again(&prepared.source, prepared.verdict.as_ref()?);
        self.take_procedure_bind(verdict.alone().filter(|part| self.may_run(part))?)
    }

    /// What takes several steps is run, and not refused. Not for tenants: their texts are proven as
    /// they are.
    fn may_run(&self, part: &Part) -> bool {
        runs(part) && !self.is_guarded()
    }

    /// The values of the portal that was bound last, should its statement be run in several.
    /// `bind`: all behind the names of its Bind.
    fn keep_values(&mut self, values: &[u8], bind: &[u8]) {
        if let Some(portal) = self.portals.last_mut()
            && let Some(prepared) = &portal.prepared
            && let Some(verdict) = &prepared.verdict
            && let Some(part) = verdict.alone()
            && (part.is_procedure() || part.needs_values())
        {
            portal.values = Some(match part.is_aside() {
                true => bind.into(),
                false => values.into(),
            });
        }
    }

    /// Remembers what a portal does, if any of them does anything.
    fn note_portal(&mut self, name: &[u8], prepared: Option<&Rc<Prepared>>) -> Option<Bound> {
        let doing = prepared.map_or(Doing::UNKNOWN, |prepared| Doing {
            writes: prepared.class.may_write,
            calls: prepared.class.calls,
        });
        let verdict = prepared.and_then(|prepared| prepared.verdict.clone());
        if name.is_empty() {
            self.unnamed_portal = doing;
            self.unnamed_verdict.clone_from(&verdict);
        }
        let effective = prepared.filter(|prepared| {
            let verdict = prepared.verdict.as_ref();
            let class = &prepared.class;
            class.effects.is_some()
                || verdict.is_some_and(|verdict| !verdict.passes())
                || self.rows_of(&prepared.source).is_some()
                || self.is_kept(&prepared.source, prepared)
        });
        if effective.is_none() && name.is_empty() && self.portals.is_empty() {
            return None;
        }
        self.binds += 1;
        let number = self.binds;
        let known = self.portals.iter().position(|portal| portal.name == name);
        let before = known.map(|at| self.portals.remove(at));
        self.portals.push(Portal {
            number,
            name: name.to_vec(),
            doing,
            verdict,
            prepared: effective.cloned(),
            values: None,
            spent: false,
        });
        Some(Bound { number, before })
    }

    fn take_describe(&mut self, bytes: &[u8]) -> Result<Taken, End> {
        let (kind, name) = frontend::target(&bytes[HEADER..])?;
        if let Some(taken) = self.lease_or(false)? {
            return Ok(taken);
        }
        if self.take_cursor_describe(kind, name) {
            return Ok(Taken::All);
        }
        if kind == b'P' {
            self.send(Expect::DescribePortal, false, None, |out| {
                out.extend_from_slice(bytes)
            });
            return Ok(Taken::All);
        }
        if self.must_wait_for(name) {
            return Ok(Taken::Wait);
        }
        let resolved = self.resolve(name);
        let verdict = resolved
            .prepared
            .as_ref()
            .and_then(|prepared| prepared.verdict.as_deref());
        let rowless = verdict
            .and_then(Verdict::alone)
            .is_some_and(|part| part.declared().is_some());
        let prepared = resolved.prepared.as_ref();
        let parameter = prepared.and_then(|prepared| prepared.parameter);
        let plain = resolved.instead.is_none()
            && resolved.changes.is_empty()
            && !rowless
            && parameter.is_none();
        let note = (!plain).then(|| Note {
            instead: resolved.instead,
            changes: resolved.changes,
            rowless,
            parameter,
            ..Note::default()
        });
        self.send(Expect::DescribeStatement, false, note, |out| {
            frontend::put(out, b'D', &[b"S", &resolved.name, b"\0"]);
        });
        Ok(Taken::All)
    }

    fn take_execute(&mut self, bytes: &[u8]) -> Result<Taken, End> {
        let (portal, _) = frontend::execute(&bytes[HEADER..])?;
        if let Some(taken) = self.lease_or(false)? {
            return Ok(taken);
        }
        let known = self.portals.iter().position(|known| known.name == portal);
        let prepared = known.and_then(|at| self.portals[at].prepared.clone());
        let values = known.and_then(|at| self.portals[at].values.clone());
        let verdict = match known {
            Some(at) => self.portals[at].verdict.clone(),
            None if portal.is_empty() => self.unnamed_verdict.clone(),
            None => None,
        };
        let mut told = None;
        // The server has the client's own text, and parameters that are too long to be kept: all of it is
        // one transaction.
        let whole = values.is_none()
            && verdict
                .as_ref()
                .and_then(|verdict| verdict.alone())
                .is_some_and(Part::goes_whole);
        if let (Some(at), Some(prepared)) = (known, &prepared)
            && !whole
        {
            if let Some(part) = verdict.as_ref().and_then(|verdict| verdict.alone())
                && self.may_run(part)
            {
                let taken = self.take_procedure_execute(prepared, part, values.as_ref());
                if !matches!(taken, Taken::Wait) {
                    self.note_dropped(&prepared.source);
                }
                return Ok(taken);
            }
            if let Some(part) = verdict.as_ref().and_then(|verdict| verdict.alone())
                && let Action::Answer(answer) = &part.decision.action
                && is_about_cursors(answer)
            {
                return Ok(self.take_cursor_execute(prepared, part, values.as_ref()));
            }
            self.executing = values;
            told = self.told_of(prepared);
            self.executing = None;
            if let Some(taken) = told
                .as_ref()
                .and_then(|told| self.take_local_execute(told))
                .or_else(|| self.take_savepoint_execute(bytes, prepared, at))
            {
                return Ok(taken);
            }
        }
        if let Some(prepared) = &prepared {
            self.note_dropped(&prepared.source);
        }
        if let Some(verdict) = &verdict {
            self.note_executed(verdict);
        }
        let rows = prepared
            .as_ref()
            .and_then(|prepared| self.rows_of(&prepared.source));
        let effects = prepared.and_then(|prepared| prepared.class.effects.clone());
        let Doing { writes, calls } = match known {
            Some(at) => self.portals[at].doing,
            None if portal.is_empty() => self.unnamed_portal,
            None => Doing::UNKNOWN,
        };
        self.prepare_deallocated(effects.as_deref());
        let mut note = Note {
            writes,
            calls,
            rows,
            ..Note::default()
        };
        let effect = effects
            .as_deref()
            .and_then(|effects| effects.first().cloned());
        self.note_effects(&mut note, effects);
        note.told = told.map(ToldOf::one);
        let plain = note.effects.is_none()
            && !writes
            && !calls
            && note.told.is_none()
            && note.rows.is_none();
        self.send(Expect::Execute, false, (!plain).then_some(note), |out| {
            out.extend_from_slice(bytes);
        });
        if let Some(effect) = effect {
            self.restore_defaults(&effect);
        }
        Ok(Taken::All)
    }

    /// What the client is told of a statement that it prepared.
    fn told_of(&mut self, prepared: &Prepared) -> Option<Told> {
        let verdict = prepared.verdict.as_deref();
        let mut script = self.script(&prepared.source, &prepared.class, verdict)?;
        match script.0.as_mut_slice() {
            [piece] => piece.told.take(),
            _ => None,
        }
    }

    /// Whether a text is one statement about a setting that the proxy keeps, where policy is off.
    fn is_kept(&self, text: &[u8], prepared: &Prepared) -> bool {
        let class = &prepared.class;
        prepared.verdict.is_none()
            && class.statements == 1
            && self.kept_script(text, class.statements).is_some()
    }

    /// Sets the start-up parameters again that a statement takes away, in its transaction. Under
    /// names of their own, so that the client's statements and portals stay what they are.
    fn restore_defaults(&mut self, effect: &Effect) {
        let defaults = SharedSettings::clone(self.settings.defaults());
        for (name, value) in taken(effect, &defaults) {
            let (sql, effect) = restoring(name, value);
            let own = statement_name(next_statement_id());
            let own = own.as_bytes();
            self.send(Expect::Parse, true, Self::own(Own::Restore), |out| {
                frontend::put_parse(out, own, sql.as_bytes(), b"\0\0");
            });
            self.send(Expect::Bind, true, Self::own(Own::Restore), |out| {
                frontend::put(out, b'B', &[own, b"\0", own, b"\0\0\0\0\0\0\0"]);
            });
            let note = Note {
                own: Some(Own::Restore),
                effects: Some([effect].into()),
                ..Note::default()
            };
            self.send(Expect::Execute, true, Some(note), |out| {
                frontend::put(out, b'E', &[own, b"\0\0\0\0\0"]);
            });
            for kind in [b"P", b"S"] {
                self.send(Expect::Close, true, Self::own(Own::Restore), |out| {
                    frontend::put(out, b'C', &[kind, own, b"\0"]);
                });
            }
        }
    }

    /// A statement's Close is answered here: its server-side twin may serve others.
    fn take_close(&mut self, bytes: &[u8]) -> Result<Taken, End> {
        let (kind, name) = frontend::target(&bytes[HEADER..])?;
        if kind == b'P' {
            if let Some(taken) = self.lease_or(false)? {
                return Ok(taken);
            }
            self.send(Expect::Close, false, None, |out| {
                out.extend_from_slice(bytes)
            });
            return Ok(Taken::All);
        }
        if self.must_wait_for(name) {
            return Ok(Taken::Wait);
        }
        let change = self.names.set(name, None);
        if self.lease.is_none() {
            self.names.keep(&change);
            if self.acks_to_skip > 0 {
                // It was told before its request was taken once more, and is not taken a third time.
                self.acks_to_skip -= 1;
                self.acks_shown = self.acks_shown.saturating_sub(1);
            } else {
                frontend::put(self.answers(), b'3', &[]);
            }
        } else {
            let changes = vec![(0, change)];
            self.answer_locally(
                b'3',
                Note {
                    changes,
                    ..Note::default()
                },
            );
        }
        Ok(Taken::All)
    }

    fn take_sync(&mut self, bytes: &[u8]) -> Taken {
        if std::mem::take(&mut self.discarding) || self.lease.is_none() {
            if self.lease.is_none() {
                self.request_answered();
            }
            let status = self.status;
            reply::put_ready(self.answers(), status);
            return Taken::All;
        }
        self.env.tally.requests.add(1);
        self.note_synced();
        self.send(Expect::Sync, false, None, |out| {
            out.extend_from_slice(bytes)
        });
        Taken::All
    }

    // ---- COPY ------------------------------------------------------------------------------

    /// Copy data without a COPY is ignored, as the server does after a failed COPY.
    fn take_copy_data(&mut self, total: usize, bytes: &[u8]) -> Taken {
        if self.lease.is_none() {
            return skip(total, bytes.len());
        }
        self.send_rest(bytes);
        Taken::Head(bytes.len(), Rest::Pass(total - bytes.len()))
    }

    fn take_copy_end(&mut self, bytes: &[u8]) -> Taken {
        self.copying_in = false;
        if self.lease.is_some() {
            self.send(Expect::CopyEnd, false, None, |out| {
                out.extend_from_slice(bytes)
            });
            self.answer_local();
        }
        Taken::All
    }

    /// Anything but copy data ends a COPY FROM STDIN with an error; the server takes the message for
    /// part of the copy and answers it with that error alone.
    fn break_copy(&mut self, total: usize, bytes: &[u8]) -> Taken {
        self.copying_in = false;
        self.take_copy_data(total, bytes)
    }

    // ---- refusals --------------------------------------------------------------------------

    /// Refuses a message that is too long, in a way that fails the client's transaction too: the
    /// server gets a statement that cannot be parsed.
    fn refuse_long(&mut self, tag: u8, total: usize, there: usize) -> Result<Taken, End> {
        let simple = matches!(tag, b'Q' | b'F');
        if let Some(taken) = self.lease_or(simple)? {
            return Ok(without_rest(taken, total, there));
        }
        let limit = if self.env.pool.kind() == ClusterKind::Dsql {
            DSQL_MESSAGE
        } else {
            MAX_PARSE
        };
        let error = ClientError::error(
            sqlstate::PROGRAM_LIMIT_EXCEEDED,
            format!("message of {total} bytes exceeds the limit of {limit} bytes"),
        )
        .hint("Send the data in smaller statements, as parameters, or with COPY.");
        self.refusing = Some((simple, error));
        if total == there {
            self.refuse_dropped();
        }
        Ok(Taken::Head(there, Rest::Drop(total - there)))
    }

    /// The last of a message that is refused was dropped. Not earlier: a client that has not sent all of
    /// it may not look at answers.
    fn refuse_dropped(&mut self) {
        let Some((simple, error)) = self.refusing.take() else {
            return;
        };
        match (simple, self.lease.is_some()) {
            (true, true) => self.refuse_query(error),
            (false, true) => self.refuse_parse(error),
            (true, false) => {
                error.put(self.answers());
                self.request_answered();
                let status = self.status;
                reply::put_ready(self.answers(), status);
            }
            (false, false) => self.refuse_extended(error),
        }
    }

    /// Has the server refuse a Query in place of the client's, so that its transaction fails too.
    pub(super) fn refuse_query(&mut self, error: ClientError) {
        let alone = !self.owed.may_skip();
        let (forgets, unnamed) = self.forget_unnamed(alone);
        let note = Note {
            instead: Some(error),
            forgets,
            unnamed,
            ..Note::default()
        };
        self.send(Expect::Query, false, Some(note), |out| {
            frontend::put_query(out, b".")
        });
    }

    /// Has the server refuse a Parse in place of the client's, so that its transaction fails too.
    pub(super) fn refuse_parse(&mut self, error: ClientError) {
        let note = Note {
            instead: Some(error),
            ..Note::default()
        };
        self.send(Expect::Parse, false, Some(note), |out| {
            frontend::put_parse(out, b"", b".", b"\0\0");
        });
        self.unnamed.settle(None);
    }
}

/// What takes several steps is run, and not refused.
fn runs(part: &Part) -> bool {
    part.is_procedure() && procedure::refusal(&part.decision).is_none()
}

struct Resolved {
    name: Vec<u8>,
    prepared: Option<Rc<Prepared>>,
    instead: Option<ClientError>,
    /// Changes of names that the request brings with it.
    changes: Vec<(usize, NameChange)>,
}

/// Drops a frame of which `there` bytes have come.
pub(super) fn skip(total: usize, there: usize) -> Taken {
    Taken::Head(there, Rest::Drop(total - there))
}

/// A frame that was answered without reading it whole.
fn without_rest(taken: Taken, total: usize, there: usize) -> Taken {
    match taken {
        Taken::All => skip(total, there),
        other => other,
    }
}

fn begin_tag(text: &[u8]) -> &'static str {
    let mut tokens = crate::sql::scan::Tokens::new(text);
    let first = tokens.find(|token| *token != crate::sql::scan::Token::Semicolon);
    if first.is_some_and(|token| token.is("start")) {
        "START TRANSACTION"
    } else {
        "BEGIN"
    }
}
