//! Frames of the upstream: matched with what is owed, passed on from where they lie.

use crate::config::ClusterKind;
use crate::net::ReadBuffer;
use crate::policy::settings::Scope;
use crate::policy::tenancy::{TenantParameter, scrub};
use crate::sql::{Effect, PinReason, reads_otherwise};
use crate::upstream::{Expect, Owed, STATEMENT_PREFIX};
use crate::wire::backend::{
    ErrorFields, TransactionStatus, command_tag, error_fields, two_strings,
};
use crate::wire::frame::{self, HEADER, Header};
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::abandon::{Loss, unknown_outcome};
use super::hints;
use super::names::NameChange;
use super::run::{Bound, End, HIGH_WATER, Note, Own, Rest, Session, upstream_lost};
use super::script::DIVISION_BY_ZERO;

/// An ErrorResponse or NoticeResponse up to this many bytes is read whole; of a longer one only so
/// much is looked at.
const LOOK_AT: usize = 64 * 1024;

/// A frame up to this many bytes is passed on when all of it is there.
const WHOLE: usize = 4 * 1024;

/// The longest ParameterDescription: the count has two bytes, a type four.
const PARAMETERS: usize = HEADER + 2 + 4 * 65_535;

/// What a frame means for the relay.
pub(super) enum Step {
    /// It goes to the client as it is.
    Pass,
    /// The client does not see it.
    Hide,
    /// It was answered in other words.
    Replaced,
    /// The session keeps it.
    Keep,
}

impl Session {
    /// Relays the frames that are there.
    pub(super) fn relay(&mut self) -> Result<bool, End> {
        let Some(lease) = &mut self.lease else {
            return Ok(false);
        };
        if lease.input.unread().is_empty() {
            return Ok(false);
        }
        let mut input = std::mem::take(&mut lease.input);
        let outcome = self.relay_from(&mut input);
        if let Some(lease) = &mut self.lease {
            lease.input = input;
        }
        let quiet = self.owed.is_empty() && self.procedure.is_none();
        if outcome.is_ok() && quiet && self.from_upstream.left() == 0 {
            self.release_if_settled();
        }
        outcome
    }

    fn relay_from(&mut self, input: &mut ReadBuffer) -> Result<bool, End> {
        let mut progress = false;
        while self.cout.len() <= HIGH_WATER {
            if self.from_upstream.left() > 0 {
                let count = input.unread().len().min(self.from_upstream.left());
                if count == 0 {
                    break;
                }
                match self.from_upstream {
                    Rest::Pass(_) => input.pass(count),
                    Rest::Drop(_) => self.hide(input, count),
                    Rest::Keep(_) => {
                        self.put_in_spool(&input.unread()[..count], false);
                        self.hide(input, count);
                    }
                }
                self.from_upstream.reduce(count);
                progress = true;
                continue;
            }
            let header = match frame::backend_header(input.unread()) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(error) => return Err(self.desynchronised(&error.to_string())),
            };
            let wanted = wanted(header);
            if input.unread().len() < wanted {
                // What is passing makes room when the client has taken it.
                if input.passing().is_empty() {
                    input.reserve(wanted);
                }
                break;
            }
            self.relay_frame(input, header)?;
            progress = true;
        }
        Ok(progress)
    }

    fn relay_frame(&mut self, input: &mut ReadBuffer, header: Header) -> Result<(), End> {
        let there = input.unread().len().min(header.total);
        let rest = header.total - there;
        let muted = self.is_muted();
        let mut step = self.look_at(header, &input.unread()[HEADER..there])?;
        if !matches!(step, Step::Hide | Step::Keep) && !muted && self.is_seen_already(header.tag) {
            self.replacement.clear();
            step = Step::Hide;
        }
        match step {
            Step::Pass if muted && header.tag != b'E' => {
                self.hide(input, there);
                self.from_upstream = Rest::Drop(rest);
            }
            Step::Pass => {
                input.pass(there);
                self.from_upstream = Rest::Pass(rest);
            }
            Step::Hide => {
                self.hide(input, there);
                self.from_upstream = Rest::Drop(rest);
            }
            Step::Keep => {
                self.hide(input, there);
                self.from_upstream = Rest::Keep(rest);
            }
            Step::Replaced => {
                self.take_passing(input);
                self.cout.tail().append(&mut self.replacement);
                input.drop_unread(there);
                self.from_upstream = Rest::Drop(rest);
            }
        }
        self.after_frame(input);
        Ok(())
    }

    /// Notes what the client sees; tells whether it has seen this acknowledgement already, before its
    /// request was taken once more.
    fn is_seen_already(&mut self, tag: u8) -> bool {
        match tag {
            b'1' | b'2' | b'3' | b'n' if !self.results_shown => {
                if self.acks_to_skip > 0 {
                    self.acks_to_skip -= 1;
                    return true;
                }
                self.acks_shown += 1;
            }
            b'S' | b'N' | b'A' | b'Z' => {}
            _ => {
                self.results_shown = true;
                self.acks_to_skip = 0;
            }
        }
        false
    }

    /// Local answers whose turn has come go behind what is passing.
    fn after_frame(&mut self, input: &mut ReadBuffer) {
        if self
            .owed
            .front()
            .is_some_and(|entry| matches!(entry.expect, Expect::Local | Expect::CopyEnd))
        {
            self.take_passing(input);
            self.answer_local();
        }
    }

    /// Drops unread bytes; what is passing before them is moved out of the way.
    fn hide(&mut self, input: &mut ReadBuffer, count: usize) {
        self.take_passing(input);
        input.drop_unread(count);
    }

    fn take_passing(&mut self, input: &mut ReadBuffer) {
        let passing = input.passing();
        if !passing.is_empty() {
            let count = passing.len();
            self.cout.tail().extend_from_slice(passing);
            input.advance(count);
        }
    }

    /// Gives the local answers at the head of the queue.
    pub(super) fn answer_local(&mut self) {
        while let Some(front) = self.owed.front() {
            match front.expect {
                Expect::Local | Expect::CopyEnd => {}
                _ => return,
            }
            let muted = self.is_muted();
            let answered = self.owed.pop().and_then(|entry| entry.note);
            if let Some(note) = answered {
                self.keep(&note);
                let tag = note.frame.first().copied();
                if !muted && !tag.is_some_and(|tag| self.is_seen_already(tag)) {
                    self.answers().extend_from_slice(&note.frame);
                }
                self.note_acknowledged(*note);
            }
        }
    }

    /// Where answers of the proxy's own go: behind all that is on its way to the client. Not for use
    /// while the connection's buffer is lent out.
    pub(super) fn answers(&mut self) -> &mut Vec<u8> {
        self.take_passing_of_lease();
        self.cout.tail()
    }

    pub(super) fn take_passing_of_lease(&mut self) {
        let Some(lease) = &mut self.lease else { return };
        let passing = lease.input.passing();
        if !passing.is_empty() {
            let count = passing.len();
            self.cout.tail().extend_from_slice(passing);
            lease.input.advance(count);
        }
    }

    fn look_at(&mut self, header: Header, body: &[u8]) -> Result<Step, End> {
        if self.answers_procedure()
            && let Some(shown) = self.look_for_procedure(header, body)?
        {
            return Ok(if shown { Step::Pass } else { Step::Hide });
        }
        if self.answers_spool() && self.spool_frame(header, body) {
            return Ok(match header.tag {
                b'D' => Step::Keep,
                _ => Step::Hide,
            });
        }
        match header.tag {
            b'D' | b'd' => {
                let step = self.expect(header, &[Expect::Query, Expect::Execute])?;
                Ok(self.unless_stand_in(step))
            }
            b'C' => self.complete(header, body),
            b'Z' => self.ready(body),
            b'E' => self.error(header, body),
            b'S' => self.parameter(body),
            b'N' if !self.wants_of_server(body) => Ok(Step::Hide),
            b'N' => Ok(self.notice(body)),
            b'A' => Ok(if self.pin.is_some() && !self.is_guarded() {
                Step::Pass
            } else {
                Step::Hide
            }),
            b'1' => self.answered(header, &[Expect::Parse]),
            b'2' => self.answered(header, &[Expect::Bind]),
            b'3' => self.answered(header, &[Expect::Close]),
            b't' => self.parameters_described(header, body),
            b'n' => self.answered(header, &[Expect::DescribeStatement, Expect::DescribePortal]),
            b'T' => self.described(header),
            b's' => self.suspended(header),
            b'I' => self.empty(header),
            b'G' => self.copy_in(header, body),
            b'H' | b'c' => self.expect(header, &[Expect::Query, Expect::Execute]),
            b'V' => self.expect(header, &[Expect::FunctionCall]),
            _ => Err(self.unexpected(header)),
        }
    }

    /// A message that belongs to the request at the head of the queue and leaves it there.
    fn expect(&mut self, header: Header, allowed: &[Expect]) -> Result<Step, End> {
        match self.owed.front() {
            Some(entry) if allowed.contains(&entry.expect) => {
                Ok(if entry.hidden { Step::Hide } else { Step::Pass })
            }
            _ => Err(self.unexpected(header)),
        }
    }

    /// A message that answers the request at the head of the queue in full.
    fn answered(&mut self, header: Header, allowed: &[Expect]) -> Result<Step, End> {
        let step = self.expect(header, allowed)?;
        if let Some(note) = self.pop_executed() {
            self.keep(&note);
            self.note_acknowledged(*note);
        }
        Ok(step)
    }

    /// Takes out the request at the head of the queue; what it may have written is not committed yet.
    fn pop_executed(&mut self) -> Option<Box<Note>> {
        let note = self.owed.pop()?.note?;
        self.unsettled_writes |= (note.writes || note.calls) && note.own.is_none();
        Some(note)
    }

    /// Should the request be taken once more, the names that it made are free for it.
    fn note_acknowledged(&mut self, note: Note) {
        // As many as there are frames kept.
        if !self.recent.is_whole() {
            self.acknowledged.clear();
            return;
        }
        let makes = |change: &NameChange| matches!(change, NameChange::One { before: None, .. });
        let made = note.changes.into_iter().map(|(_, change)| change);
        self.acknowledged.extend(made.filter(makes));
    }

    /// What the request did to the unnamed statement is done.
    fn keep(&mut self, note: &Note) {
        if let Some(number) = note.unnamed {
            self.unnamed.keep(number);
        }
        for (_, change) in &note.changes {
            self.names.keep(change);
        }
        if let Some(forgotten) = &note.forgets {
            self.names.keep(forgotten);
        }
    }

    /// The client is not told of the tenant's parameter.
    fn parameters_described(&mut self, header: Header, body: &[u8]) -> Result<Step, End> {
        let step = self.expect(header, &[Expect::DescribeStatement])?;
        let note = self.owed.front().and_then(|entry| entry.note.as_deref());
        let Some(parameter) = note.and_then(|note| note.parameter) else {
            return Ok(step);
        };
        let Some(own) = without_last(body, parameter) else {
            return Err(self.desynchronised("parameters of another statement"));
        };
        if matches!(step, Step::Hide) || self.is_muted() {
            return Ok(Step::Hide);
        }
        frontend::put(&mut self.replacement, b't', &[&own]);
        Ok(Step::Replaced)
    }

    fn described(&mut self, header: Header) -> Result<Step, End> {
        match self.owed.front().map(|entry| entry.expect) {
            Some(Expect::Query | Expect::Execute) => {
                let step = self.expect(header, &[Expect::Query, Expect::Execute])?;
                Ok(self.unless_stand_in(step))
            }
            _ => {
                let front = self.owed.front().and_then(|entry| entry.note.as_deref());
                let rowless = front.is_some_and(|note| note.rowless);
                let described = [Expect::DescribeStatement, Expect::DescribePortal];
                let step = self.answered(header, &described)?;
                if !rowless {
                    return Ok(step);
                }
                frontend::put(&mut self.replacement, b'n', &[]);
                Ok(Step::Replaced)
            }
        }
    }

    /// Rows of a statement that stands in for another are nobody's.
    fn unless_stand_in(&self, step: Step) -> Step {
        let note = self.owed.front().and_then(|entry| entry.note.as_deref());
        let hides = note.is_some_and(|note| {
            let told = note.told.as_ref();
            told.is_some_and(|told| told.hides_rows(note.done))
        });
        if hides { Step::Hide } else { step }
    }

    fn empty(&mut self, header: Header) -> Result<Step, End> {
        if let Some(tag) = self.complete_stand_in() {
            reply::put_command_complete(&mut self.replacement, tag);
            let is_execute = self
                .owed
                .front()
                .is_some_and(|entry| entry.expect == Expect::Execute);
            if is_execute {
                self.owed.pop();
            }
            return Ok(Step::Replaced);
        }
        match self.owed.front().map(|entry| entry.expect) {
            Some(Expect::Query) => self.expect(header, &[Expect::Query]),
            _ => self.answered(header, &[Expect::Execute]),
        }
    }

    /// A portal has more rows; to FETCH and MOVE that is the end.
    fn suspended(&mut self, header: Header) -> Result<Step, End> {
        let tag = self.suspend_told();
        let step = self.answered(header, &[Expect::Execute])?;
        let Some(tag) = tag else {
            return Ok(step);
        };
        reply::put_command_complete(&mut self.replacement, &tag);
        self.restart_statement();
        Ok(Step::Replaced)
    }

    fn notice(&mut self, body: &[u8]) -> Step {
        match self.visible() {
            Step::Pass if self.is_guarded() => match self.scrubbed_notice(body) {
                None => Step::Hide,
                Some(body) => {
                    frontend::put(&mut self.replacement, b'N', &[&body]);
                    Step::Replaced
                }
            },
            step => step,
        }
    }

    fn visible(&self) -> Step {
        match self.owed.front() {
            Some(entry) if entry.hidden => Step::Hide,
            _ => Step::Pass,
        }
    }

    fn complete(&mut self, header: Header, body: &[u8]) -> Result<Step, End> {
        let step = self.expect(header, &[Expect::Query, Expect::Execute])?;
        if std::mem::take(&mut self.copy_open) {
            // The next COPY of the same text waits for an end of its own.
            self.owed.forget_copy_end();
        }
        let is_execute = self
            .owed
            .front()
            .is_some_and(|entry| entry.expect == Expect::Execute);
        let mut inserted = false;
        let told = self.complete_told(command_tag(body).unwrap_or_default());
        let begins = self
            .owed
            .front()
            .and_then(|entry| entry.note.as_ref())
            .is_some_and(|note| note.own == Some(Own::Begin));
        if begins {
            self.savepoints.block = Some(TransactionStatus::Open);
        }
        let effect = self.owed.front_mut().and_then(|entry| {
            let note = entry.note.as_deref_mut()?;
            let all = note.inserted.as_ref();
            inserted = all.is_some_and(|all| all.has_statement(note.done));
            let effect = note.effects.as_ref()?.get(note.done).cloned();
            note.done += 1;
            effect
        });
        let replaced = told.is_some();
        if let Some(effect) = effect {
            self.take_effect(&effect, command_tag(body).unwrap_or_default());
        }
        if let Some((notices, tag)) = told {
            self.replacement.extend_from_slice(&notices);
            match tag {
                Some(tag) => reply::put_command_complete(&mut self.replacement, &tag),
                None => frontend::put(&mut self.replacement, b'C', &[body]),
            }
        }
        if is_execute {
            self.pop_executed();
            self.restart_statement();
        }
        Ok(match (inserted, replaced) {
            (true, _) => Step::Hide,
            (false, true) => Step::Replaced,
            (false, false) => step,
        })
    }

    pub(super) fn take_effect(&mut self, effect: &Effect, tag: &[u8]) {
        if !is_tag_of(effect, tag) {
            // A cursor took the name of a portal that is gone, say. What has been set is not known.
            self.pin_to(PinReason::Setting);
            return;
        }
        match effect {
            // COMMIT of a failed transaction is a rollback, and says so.
            Effect::Commit { .. } if tag == b"ROLLBACK" => {
                self.end_cursors(false);
                self.left_block = true;
                self.unsettled_writes = false;
                self.creations.fail();
                self.settings.apply(&Effect::Rollback { plain: true });
            }
            Effect::Commit { .. } => {
                if self.goes_on_behind_commit().is_none() {
                    self.creations.forget();
                }
                self.unsettled_commit = true;
                self.settings.apply(effect);
            }
            Effect::Rollback { .. } => {
                self.end_cursors(false);
                self.left_block = true;
                self.unsettled_writes = false;
                self.creations.fail();
                self.settings.apply(effect);
            }
            // ROLLBACK TO outside its transaction is an error; inside, its tag is ROLLBACK too.
            effect => self.settings.apply(effect),
        }
        match effect {
            Effect::Begin { .. } => self.savepoints.block = Some(TransactionStatus::Open),
            Effect::Commit { plain } | Effect::Rollback { plain } => {
                // One that is not plain may have begun the next.
                self.savepoints.block = plain.then_some(TransactionStatus::Idle);
                self.end_savepoints();
            }
            Effect::RollbackTo(name) => {
                self.savepoints.block = Some(TransactionStatus::Open);
                self.arrive_at(name);
            }
            _ => {}
        }
        if *effect == Effect::DiscardAll {
            self.resetting = !self.settings.defaults().is_empty();
            self.discarded = true;
        }
    }

    /// After DISCARD ALL with nothing sent behind it there is no state left that pins.
    fn unpin_discarded(&mut self) {
        if !self.discarded || self.pin.take().is_none() {
            return;
        }
        if let Some(lease) = &mut self.lease {
            // DISCARD ALL leaves the value of `role` as it is; the pool resets it.
            lease.tainted = true;
        }
    }

    fn copy_in(&mut self, header: Header, body: &[u8]) -> Result<Step, End> {
        let step = self.expect(header, &[Expect::Query, Expect::Execute])?;
        self.copy_open = true;
        let clean = self.owed.begin_copy_in();
        self.copying_in = !self.owed.has_copy_end();
        if clean && self.is_guarded() {
            // Data that nothing extends go nowhere.
            return self.begin_extension(body).ok_or_else(|| {
                self.desynchronised("the server asks for data that a tenant did not copy")
            });
        }
        if clean {
            return Ok(step);
        }
        Err(self.desynchronised("requests were sent behind a COPY FROM STDIN before its data"))
    }

    fn parameter(&mut self, body: &[u8]) -> Result<Step, End> {
        let Some((name, value)) = two_strings(body) else {
            return Err(self.desynchronised("malformed ParameterStatus"));
        };
        let (name, value) = (
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value),
        );
        if reads_otherwise(&name.to_lowercase(), &value) {
            self.pin_to(PinReason::Setting);
        }
        let resets = self.resetting;
        if let Some(lease) = &mut self.lease {
            if resets && self.before_reset.is_none() {
                self.before_reset = Some(lease.parameters.clone());
            }
            lease.report(&name, &value);
        }
        if !resets {
            self.settings.report(&name, &value);
        }
        let front = self.owed.front().and_then(|entry| entry.note.as_ref());
        let restores = front.is_some_and(|note| note.own == Some(Own::Restore));
        let guarded = self.is_guarded();
        if self.env.policy.is_some() && !self.visible_is_hidden() {
            self.changed_parameters.retain(|(known, _)| *known != name);
            self.changed_parameters
                .push((name.clone().into_owned(), value.into_owned()));
        }
        if guarded && !scrub::passes_parameter(&name) {
            return Ok(Step::Hide);
        }
        Ok(match resets {
            // The value of the connection, not the client's start-up parameter: told when that is
            // set again.
            true => Step::Hide,
            false if restores => Step::Pass,
            false => self.visible(),
        })
    }

    fn ready(&mut self, body: &[u8]) -> Result<Step, End> {
        let status = body.first().copied().and_then(TransactionStatus::from_byte);
        let Some((status, entry)) =
            status.and_then(|status| Some((status, self.owed.ready(status)?)))
        else {
            return Err(self.desynchronised("ReadyForQuery out of turn"));
        };
        if let Some(note) = &entry.note {
            self.keep(note);
        }
        let own = entry.note.as_ref().and_then(|note| note.own);
        self.resetting = false;
        self.unsettled_commit = false;
        self.left_block = false;
        self.closed.clear();
        let resumes = entry.note.as_ref().and_then(|note| note.resumes);
        if own == Some(Own::Settings) {
            self.settings.synced();
        }
        self.savepoints.block = None;
        // What brings a connection in line ends nothing of the client's.
        let prepares = matches!(own, Some(Own::Settings | Own::Refresh));
        if status == TransactionStatus::Idle && !prepares {
            self.end_savepoints();
            self.creations.fail();
        }
        if status == TransactionStatus::Idle {
            self.portals.retain(|portal| !portal.spent);
            if self.owed.is_empty() && !self.owed.is_unsynced() {
                self.hush_guard();
                self.tell_schema_change();
                self.forget_own_columns();
                self.portals.clear();
                self.local_settings = false;
                self.unpin_discarded();
            }
            self.unsettled_writes = false;
            self.discarded = false;
            let baseline = self.env.pool.baseline();
            self.settings.settle(&baseline);
            if self.settings.scope() != Scope::Nothing {
                self.obey_switches();
            }
        } else {
            self.settings.stay_open();
        }
        if own == Some(Own::Settings) {
            return Ok(self.tell_reset(resumes));
        }
        if own == Some(Own::Step) {
            self.procedure_ready();
        }
        if entry.hidden {
            return Ok(Step::Hide);
        }
        if let Some(rest) = self.more.take() {
            self.settle_transaction(status);
            self.status = status;
            self.take_rest(&rest);
            return Ok(Step::Hide);
        }
        if status == TransactionStatus::Idle {
            self.deadlines.transaction_over();
        }
        self.settle_transaction(status);
        self.request_answered();
        if self.owed.is_empty() && !self.owed.is_unsynced() {
            self.recent.clear();
            self.wrote_upstream = false;
        } else {
            self.recent.answered();
        }
        self.status = status;
        if self.before_reset.is_some() {
            if !self.needs_sync() {
                return Ok(self.tell_reset(Some(status)));
            }
            if self.resync_before_ready(status) {
                return Ok(Step::Hide);
            }
        }
        // As PostgreSQL does: a client may look at nothing else that comes behind it.
        if let Some(mut told) = self.take_heard() {
            self.replacement.append(&mut told);
            reply::put_ready(&mut self.replacement, status);
            return Ok(Step::Replaced);
        }
        Ok(Step::Pass)
    }

    /// Sets the client's start-up parameters again before it learns that its RESET is done.
    fn resync_before_ready(&mut self, status: TransactionStatus) -> bool {
        let possible = self.owed.is_empty()
            && !self.owed.is_unsynced()
            && status != TransactionStatus::Failed
            && !self.is_passing()
            && self.needs_sync();
        if possible {
            self.sync_settings_then(Some(status));
        }
        possible
    }

    /// Tells the client which parameters a RESET changed in the end.
    fn tell_reset(&mut self, resumes: Option<TransactionStatus>) -> Step {
        let before = self.before_reset.take();
        if let (Some(before), Some(lease)) = (before, &self.lease) {
            let guarded = self.env.guard.is_some();
            let changed = lease.parameters.iter().filter(|now| !before.contains(now));
            for (name, value) in changed {
                if !guarded || scrub::passes_parameter(name) {
                    reply::put_parameter(&mut self.replacement, name, value);
                }
            }
        }
        if let Some(status) = resumes {
            reply::put_ready(&mut self.replacement, status);
        }
        Step::Replaced
    }

    // ---- errors ----------------------------------------------------------------------------

    fn error(&mut self, header: Header, body: &[u8]) -> Result<Step, End> {
        let fields = error_fields(body);
        if fields.is_fatal() {
            return self.fatal(header, body);
        }
        let Some(front) = self.owed.front() else {
            return Err(self.unexpected(header));
        };
        let own = front.note.as_ref().and_then(|note| note.own);
        if own == Some(Own::Refresh) {
            return Ok(Step::Hide);
        }
        self.note_unwatched(&fields);
        let Some(front) = self.owed.front() else {
            return Err(self.unexpected(header));
        };
        if front.hidden
            && front
                .note
                .as_ref()
                .is_some_and(|note| note.own == Some(Own::Settings))
        {
            return Err(self.settings_refused(body));
        }
        if fields.code == b"0A000" && fields.message.starts_with(b"cached plan must not change") {
            self.names.renew(&self.env.registry);
        }
        self.doubt_columns(fields.code, fields.message);
        let taken = fields.code == sqlstate::DUPLICATE_PREPARED_STATEMENT.as_bytes();
        let unknown = self.note_unknown(&fields);
        let Some(front) = self.owed.front() else {
            return Err(self.unexpected(header));
        };
        let instead = front.note.as_ref().and_then(|note| {
            let duplicate = note.duplicate.clone().filter(|_| taken);
            let given_up = fields.code == sqlstate::QUERY_CANCELED.as_bytes();
            let broken = note.broken.clone().filter(|_| given_up);
            let told = note.told.as_ref();
            let refused = told
                .filter(|_| fields.code == DIVISION_BY_ZERO)
                .and_then(|told| told.error(note.done));
            note.instead.clone().or(duplicate).or(broken).or(refused)
        });
        let extended = front.expect.is_extended();
        self.more = None;
        self.copying_in = false;
        self.copy_open = false;
        self.extension = None;
        let renamed = self.rename(header, body);
        let told = self
            .temporary
            .in_clients_words(renamed.as_deref().unwrap_or(body));
        let renamed = told.or(renamed);
        let told = self.in_words_of_database(renamed.as_deref().unwrap_or(body));
        let renamed = told.or(renamed);
        let placed = self.place(header, renamed.as_deref().unwrap_or(body));
        let renamed = placed.or(renamed);
        let told = renamed.as_deref().unwrap_or(body);
        let renamed = self
            .scrubbed(told)
            .or_else(|| self.hinted(told))
            .or(renamed);
        self.settings.fail();
        self.creations.fail();
        self.temporary.fail();
        if extended {
            self.fail_batch();
        } else {
            self.undo_rest(fields.code);
        }
        let conflict = fields.code == sqlstate::SERIALIZATION_FAILURE.as_bytes();
        let stopped = self.stopped.take().filter(|_| conflict);
        match (unknown.or(stopped).or(instead), renamed) {
            (Some(error), _) => {
                error.put(&mut self.replacement);
                Ok(Step::Replaced)
            }
            (None, Some(body)) => {
                frontend::put(&mut self.replacement, b'E', &[&body]);
                Ok(Step::Replaced)
            }
            (None, None) => Ok(Step::Pass),
        }
    }

    /// The server's refusal with a HINT, where it has none.
    fn hinted(&self, body: &[u8]) -> Option<Vec<u8>> {
        let dsql = self.env.pool.kind() == ClusterKind::Dsql;
        (dsql && self.env.policy.is_some())
            .then(|| hints::with_hint(body))
            .flatten()
    }

    /// The cluster failed where the request at the head of the queue may have been committed: the
    /// client is told that, though the connection goes on.
    fn note_unknown(&mut self, fields: &ErrorFields<'_>) -> Option<ClientError> {
        let dsql = self.env.pool.kind() == ClusterKind::Dsql;
        if !is_failure_of_server(fields, dsql) || !self.may_be_committed() {
            return None;
        }
        self.env.tally.commit_unknown.add(1);
        self.creations.forget();
        tracing::warn!(
            pool = self.env.pool.name(),
            user = self.identity.user(),
            database = self.identity.database(),
            upstream_pid = self.lease.as_deref().map_or(0, |lease| lease.pid),
            sqlstate = %String::from_utf8_lossy(fields.code),
            cause = ?String::from_utf8_lossy(fields.message),
            outcome_unknown = true,
            statement = self.describe_recent(),
            "the upstream failed while a change was being committed"
        );
        Some(unknown_outcome("the upstream failed"))
    }

    /// The request at the head of the queue may commit just now.
    fn may_be_committed(&self) -> bool {
        let Some(front) = self.owed.front() else {
            return false;
        };
        let note = front.note.as_deref();
        let next = note.and_then(|note| note.effects.as_ref()?.get(note.done));
        let writes = note.is_some_and(|note| (note.writes || note.calls) && note.own.is_none());
        let alone = self.status == TransactionStatus::Idle || self.left_block;
        let implicit = alone && self.block() == TransactionStatus::Idle;
        matches!(next, Some(Effect::Commit { .. }))
            || note.is_some_and(|note| note.unread)
            || implicit && (writes || self.unsettled_writes)
    }

    /// The error with the client's statement names for ours.
    fn rename(&self, header: Header, body: &[u8]) -> Option<Vec<u8>> {
        if body.len() + HEADER < header.total {
            return None;
        }
        let quoted = [b"\"", STATEMENT_PREFIX.as_bytes()].concat();
        memchr::memmem::find(body, &quoted)?;
        let mut renamed = Vec::with_capacity(body.len());
        let mut rest = body;
        while let Some(at) = memchr::memmem::find(rest, &quoted) {
            let digits = &rest[at + quoted.len()..];
            let length = digits
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let id = std::str::from_utf8(&digits[..length])
                .ok()
                .and_then(|id| id.parse().ok());
            renamed.extend_from_slice(&rest[..=at]);
            match id.and_then(|id| self.client_name(id)) {
                Some(name) => renamed.extend_from_slice(name),
                None => renamed.extend_from_slice(&rest[at + 1..at + quoted.len() + length]),
            }
            rest = &digits[length..];
        }
        renamed.extend_from_slice(rest);
        Some(renamed)
    }

    /// The error with the position in the client's text, when another text was sent.
    fn place(&self, header: Header, body: &[u8]) -> Option<Vec<u8>> {
        let note = self.owed.front()?.note.as_ref()?;
        let moved = note.inserted.is_some() || note.places.is_some();
        if !moved || body.len() + HEADER < header.total {
            return None;
        }
        let client = |sent: usize| {
            let inserted = note.inserted.as_ref();
            let sent = inserted.map_or(sent, |inserted| inserted.position(sent));
            let places = note.places.as_ref();
            places.map_or(Some(sent), |places| places.position(sent))
        };
        let mut placed = Vec::with_capacity(body.len());
        for field in body.split_inclusive(|byte| *byte == 0) {
            let sent = field
                .strip_prefix(b"P")
                .and_then(|rest| rest.strip_suffix(b"\0"))
                .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            match sent.map(client) {
                Some(Some(position)) => {
                    placed.extend_from_slice(format!("P{position}\0").as_bytes());
                }
                // Nowhere in what the client wrote.
                Some(None) => {}
                None => placed.extend_from_slice(field),
            }
        }
        Some(placed)
    }

    /// The client's name of a statement when the request at the head of the queue was sent; later
    /// requests may have changed it already.
    fn client_name(&self, id: u64) -> Option<&[u8]> {
        let deallocated = || {
            let note = self.owed.front()?.note.as_ref()?;
            match note.effects.as_deref()?.get(note.done)? {
                Effect::Deallocate(name) => Some(name.as_slice()),
                _ => None,
            }
        };
        let changed = || {
            self.owed
                .iter()
                .filter_map(|entry| entry.note.as_ref())
                .flat_map(|note| note.changes.iter())
                .find_map(|(_, change)| change.name_before(id))
        };
        changed()
            .or_else(|| self.names.client_name(id))
            .or_else(deallocated)
    }

    /// A simple query failed: what its statements did not do to names is undone.
    fn undo_rest(&mut self, code: &[u8]) {
        let Some(note) = self
            .owed
            .front_mut()
            .and_then(|entry| entry.note.as_deref_mut())
        else {
            return;
        };
        let done = note.done + usize::from(!may_refuse_deallocate(code));
        let changes = std::mem::take(&mut note.changes);
        let removes = std::mem::take(&mut note.removes);
        for (_, change) in changes.into_iter().rev().filter(|(at, _)| *at >= done) {
            self.names.undo(change);
        }
        if let Some(lease) = &mut self.lease {
            for (_, id) in removes.into_iter().filter(|(at, _)| *at >= done) {
                lease.prepared.insert(id);
            }
        }
    }

    /// An error ends the batch: names that were changed by messages the server did not carry out
    /// change back.
    pub(super) fn fail_batch(&mut self) {
        let mut dropped = self.owed.fail();
        // The client sent a simple request, and extended messages of ours before it failed: to the
        // client it is the request that failed.
        let own = dropped.first().is_some_and(|failed| failed.hidden);
        let request = dropped
            .iter_mut()
            .find(|entry| !entry.hidden)
            .filter(|entry| own && !entry.expect.is_extended());
        let answer = request.is_some();
        if let Some(forgotten) = request
            .and_then(|entry| entry.note.as_mut())
            .and_then(|note| note.forgets.take())
        {
            self.names.keep(&forgotten);
        }
        for (position, entry) in dropped.into_iter().enumerate().rev() {
            self.undo(entry, position == 0);
        }
        if answer && self.lease.is_some() && !self.interrupts() {
            // Its ReadyForQuery comes from a Sync of ours.
            let mut sync = Vec::new();
            frontend::put(&mut sync, b'S', &[]);
            self.send_rest(&sync);
            self.owed.push(Expect::Sync, false, None);
        }
    }

    pub(super) fn undo(&mut self, entry: Owed<Note>, failed_itself: bool) {
        let Some(note) = entry.note else { return };
        let Some(lease) = &mut self.lease else { return };
        if let Some(id) = note.makes {
            lease.prepared.remove(id);
        }
        for (_, id) in &note.removes {
            if !self.closed.contains(id) {
                lease.prepared.insert(*id);
            }
        }
        // A Parse that fails has destroyed the old unnamed statement; one that was skipped has not.
        let destroyed = failed_itself && entry.expect == Expect::Parse;
        match note.unnamed {
            Some(number) if destroyed => self.unnamed.decide(number, None),
            Some(number) => self.unnamed.undo(number),
            None => {}
        }
        if let Some(forgotten) = note.forgets {
            self.names.undo(forgotten);
        }
        if let Some(bound) = note.portal {
            self.unbind(bound);
        }
        for (_, change) in note.changes.into_iter().rev() {
            match change {
                NameChange::Unnamed { number, .. } if destroyed => {
                    self.names.destroy_unnamed(number)
                }
                change => self.names.undo(change),
            }
        }
    }

    /// The server skipped a Bind; later ones stand.
    fn unbind(&mut self, bound: Bound) {
        self.portals.retain(|portal| portal.number != bound.number);
        if let Some(before) = bound.before
            && self.portals.iter().all(|portal| portal.name != before.name)
        {
            self.portals.push(before);
        }
    }

    fn fatal(&mut self, header: Header, body: &[u8]) -> Result<Step, End> {
        let fields = error_fields(body);
        tracing::warn!(
            pool = self.env.pool.name(),
            sqlstate = %String::from_utf8_lossy(fields.code),
            upstream_message = ?String::from_utf8_lossy(fields.message),
            "upstream ended the connection"
        );
        let cause = String::from_utf8_lossy(fields.message).into_owned();
        if let Some(loss) = survivable(fields.code, &cause) {
            return Err(End::Lost(Box::new(loss)));
        }
        if self.outcome_unknown() || self.visible_is_hidden() {
            return Err(upstream_lost(cause));
        }
        // The server's own words, then the end. Only what is whole can be told.
        let whole = body.len() + HEADER == header.total;
        self.env.tally.upstream_lost.add(1);
        if whole {
            self.final_words = Some(self.scrubbed(body).unwrap_or_else(|| body.to_vec()));
        }
        Err(End::Told)
    }

    fn visible_is_hidden(&self) -> bool {
        self.owed.front().is_some_and(|entry| entry.hidden)
    }

    fn settings_refused(&mut self, body: &[u8]) -> End {
        let fields = error_fields(body);
        if fields.code == sqlstate::SERIALIZATION_FAILURE.as_bytes() {
            // Somebody has changed the schema: another connection, or the next try, takes them.
            return End::Lost(Box::new(Loss::of_connection("a setting met a conflict")));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        tracing::info!(
            user = self.identity.user(),
            upstream_message = ?text(fields.message),
            "a session setting was refused upstream"
        );
        // The server's own refusal, as it refuses a start-up parameter: FATAL.
        let body = self.scrubbed(body).unwrap_or_else(|| body.to_vec());
        self.final_words = Some(as_fatal(&body));
        End::Told
    }

    /// A COMMIT, or a write outside a transaction block, was sent and not answered.
    pub(super) fn outcome_unknown(&self) -> bool {
        if self.is_repeating_before_commit() {
            return false;
        }
        // A deferred BEGIN is on its way before the upstream says so.
        let idle =
            self.owed.status() == TransactionStatus::Idle && self.status == TransactionStatus::Idle;
        let mut implicit = idle || self.left_block;
        // A simple request commits what stands before it without a Sync.
        let pending = implicit && self.unsettled_writes && self.owed.ready_due() > 0;
        let mut unknown = pending || self.unsettled_commit;
        for note in self.owed.iter().filter_map(|entry| entry.note.as_ref()) {
            let effects = note.effects.as_deref().unwrap_or_default();
            let any = |found: fn(&Effect) -> bool| effects.iter().any(found);
            // What is behind a ROLLBACK, in the same text or the next, is outside the block.
            implicit |= any(|effect| matches!(effect, Effect::Rollback { .. }));
            let writes = (note.writes || note.calls) && note.own.is_none();
            let commits = note.unread || any(|effect| matches!(effect, Effect::Commit { .. }));
            unknown |= implicit && writes || commits;
        }
        unknown
    }

    fn unexpected(&mut self, header: Header) -> End {
        self.desynchronised(&format!(
            "unexpected message type {:?}",
            char::from(header.tag)
        ))
    }

    /// What came makes no sense: the connection is of no use to anyone.
    fn desynchronised(&mut self, cause: &str) -> End {
        let unknown = self.outcome_unknown();
        tracing::error!(
            pool = self.env.pool.name(),
            cause,
            "upstream broke the protocol"
        );
        let code = if unknown {
            self.env.tally.commit_unknown.add(1);
            sqlstate::TRANSACTION_RESOLUTION_UNKNOWN
        } else {
            sqlstate::CONNECTION_FAILURE
        };
        End::Refuse(
            ClientError::fatal(code, "the upstream broke the protocol and was disconnected")
                .hint("See the proxy's log for the cause."),
        )
    }
}

/// FATAL errors that are about the server and not about what the client did: its session goes on.
fn survivable(code: &[u8], cause: &str) -> Option<Loss> {
    let mut loss = Loss::of_connection(cause);
    match code {
        b"57P01" => loss.code = sqlstate::ADMIN_SHUTDOWN,
        // The statement may be what it crashed on.
        b"57P02" => loss.repeatable = false,
        b"57P03" | b"XX000" => {}
        code if code.starts_with(b"08") && code != b"08P01" => {}
        code if code.starts_with(b"53") || code.starts_with(b"58") => {}
        _ => return None,
    }
    Some(loss)
}

/// Errors of the server itself, behind which it may have done what it was asked for. PostgreSQL has
/// committed nothing when it says so.
///
/// Source: Aurora DSQL user guide, "Troubleshooting" (`XX000 server unavailable`).
fn is_failure_of_server(fields: &ErrorFields<'_>, dsql: bool) -> bool {
    let internal = fields.code == sqlstate::INTERNAL_ERROR.as_bytes();
    let says_so = fields.message.starts_with(b"server unavailable");
    let fails = internal || fields.code.starts_with(b"08") || fields.code.starts_with(b"58");
    internal && says_so || dsql && fails
}

/// Whether a statement that changes settings can have ended with this tag.
fn is_tag_of(effect: &Effect, tag: &[u8]) -> bool {
    match effect {
        Effect::Set { called: true, .. } => tag == b"SELECT 1",
        Effect::Set { .. } | Effect::Reset(_) | Effect::ResetAll => {
            matches!(tag, b"SET" | b"RESET")
        }
        Effect::DiscardAll => tag == b"DISCARD ALL",
        _ => true,
    }
}

/// Whether an error can come from a DEALLOCATE of a statement that is there, or from before it.
/// Other errors come from the end of the implicit transaction (a deferred constraint): the server
/// ends it before it says that its last statement is complete, and a DEALLOCATE is not undone.
fn may_refuse_deallocate(code: &[u8]) -> bool {
    code == sqlstate::QUERY_CANCELED.as_bytes()
        || [b"25", b"26", b"42"]
            .iter()
            .any(|class| code.starts_with(*class))
}

/// The body of a ParameterDescription without the last parameter, if that is this one.
fn without_last(body: &[u8], parameter: TenantParameter) -> Option<Vec<u8>> {
    let (count, types) = body.split_first_chunk::<2>()?;
    let (own, last) = types.split_last_chunk::<4>()?;
    let is_last = u16::from_be_bytes(*count) == parameter.number
        && types.len() == 4 * usize::from(parameter.number)
        && u32::from_be_bytes(*last) == parameter.kind.oid();
    is_last.then(|| [&(parameter.number - 1).to_be_bytes()[..], own].concat())
}

/// The bytes of a frame that must be there before it is looked at.
fn wanted(header: Header) -> usize {
    match header.tag {
        // It may have to lose its last one.
        b't' if header.total <= PARAMETERS => header.total,
        // What is short is passed on whole, so that a connection that is lost leaves no half of it.
        b'D' | b'd' | b'T' | b't' | b'V' | b'A' | b'G' | b'H' if header.total > WHOLE => HEADER,
        b'E' | b'N' => header.total.min(LOOK_AT),
        _ => header.total,
    }
}

/// An error body with severity FATAL.
fn as_fatal(body: &[u8]) -> Vec<u8> {
    let mut fatal = b"SFATAL\0VFATAL\0".to_vec();
    let mut rest = body;
    while let Some((&kind, value)) = rest.split_first() {
        let Some(end) = memchr::memchr(0, value) else {
            break;
        };
        if kind != 0 && !matches!(kind, b'S' | b'V') {
            fatal.extend_from_slice(&rest[..end + 2]);
        }
        if kind == 0 {
            break;
        }
        rest = &value[end + 1..];
    }
    fatal.push(0);
    fatal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tenancy::TenantType;

    #[test]
    fn the_last_parameter_is_left_out_if_it_is_the_tenants() {
        let parameter = |number, kind| TenantParameter { number, kind };
        let body = b"\0\x02\0\0\0\x19\0\0\0\x17";
        let own = without_last(body, parameter(2, TenantType::Integer));
        assert_eq!(own.as_deref(), Some(&b"\0\x01\0\0\0\x19"[..]));
        let only = without_last(b"\0\x01\0\0\0\x17", parameter(1, TenantType::Integer));
        assert_eq!(only.as_deref(), Some(&b"\0\0"[..]));
        assert_eq!(without_last(body, parameter(2, TenantType::Text)), None);
        assert_eq!(without_last(body, parameter(1, TenantType::Integer)), None);
        assert_eq!(without_last(body, parameter(3, TenantType::Integer)), None);
        assert_eq!(
            without_last(&body[..9], parameter(2, TenantType::Integer)),
            None
        );
        assert_eq!(without_last(b"", parameter(1, TenantType::Integer)), None);
    }

    #[test]
    fn as_fatal_keeps_the_other_fields() {
        let fatal = as_fatal(b"SERROR\0VERROR\0C22023\0Mbad\0\0");
        assert_eq!(fatal, b"SFATAL\0VFATAL\0C22023\0Mbad\0\0");
    }
}
