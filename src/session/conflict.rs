//! The session's part of repeating: it notes what it sends, and does what [`Replay`] says.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;

use crate::retry::{Action, Budget, Limits, Outcome, Replay, Sent};
use crate::sql::{Effect, PinReason};
use crate::upstream::{Expect, STATEMENT_PREFIX};
use crate::wire::backend::TransactionStatus;
use crate::wire::backend::two_strings;
use crate::wire::frame::{self, HEADER};

use super::insight::Insight;
use super::run::{End, Note, Own, Session, upstream_lost};

/// What sessions of a database entry need to repeat transactions.
#[derive(Debug, Clone)]
pub struct RetryEnv {
    /// How far repeating goes.
    pub limits: Limits,
    /// Shared by the worker's sessions of a database entry.
    pub budget: Rc<Budget>,
    /// The user's transactions may be repeated.
    pub user: bool,
    /// Where conflicts are noted.
    pub insight: Rc<Insight>,
}

impl RetryEnv {
    /// The repetition of one session, unless it is turned off and not needed for savepoints.
    pub(super) fn replay(&self, savepoints: bool) -> Option<Box<Replay>> {
        let on = self.limits.attempts > 0 || savepoints;
        on.then(|| {
            let replay = Replay::new(self.limits, Rc::clone(&self.budget));
            let mut replay = replay.with_rerun(super::rerun::RERUN);
            replay.allow(self.user, false);
            Box::new(replay)
        })
    }
}

/// What repeating must know of a request.
pub(super) fn sent(expect: Expect, note: Option<&Note>) -> Sent {
    let effects = note.and_then(|note| note.effects.as_deref());
    let any = |found: fn(&Effect) -> bool| effects.is_some_and(|all| all.iter().any(found));
    let simple = matches!(expect, Expect::Query | Expect::FunctionCall);
    let begin_alone = note.is_some_and(|note| note.own == Some(Own::Begin))
        || effects.is_some_and(|all| matches!(all, [Effect::Begin { .. }]));
    let writes = note.is_some_and(|note| note.writes);
    let calls = note.is_some_and(|note| note.calls);
    Sent {
        ends: simple || expect == Expect::Sync,
        simple,
        writes: writes || any(|effect| matches!(effect, Effect::Commit { .. })),
        begins: note.is_some_and(|note| note.own == Some(Own::Begin))
            || any(|effect| matches!(effect, Effect::Begin { .. })),
        controls: any(controls) || note.is_some_and(|note| note.unread),
        skippable: expect.is_extended() && note.is_none_or(|note| note.own != Some(Own::Begin)),
        own_begin: note.is_some_and(|note| note.own == Some(Own::Begin)),
        outlives: any(outlives),
        opts_out: note.is_some_and(|note| note.opts_out),
        nobodys: note.is_some_and(|note| note.own == Some(Own::Refresh)),
        runs: (simple || expect == Expect::Execute) && !begin_alone,
        executes: simple || expect == Expect::Execute,
        // A cursor that is declared behind a savepoint goes with it.
        quiet: !writes
            && !calls
            && !any(stays)
            && note.is_none_or(|note| note.own != Some(Own::Cursor)),
    }
}

/// The statement with this name of ours.
fn id_of(name: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(STATEMENT_PREFIX.as_bytes())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Without the parameters that the client knows already: a server reports changes only.
fn without_known(frames: &[u8], known: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frames.len());
    let mut last: Vec<(&[u8], &[u8], &[u8])> = Vec::new();
    let mut rest = frames;
    while let Ok(Some(header)) = frame::backend_header(rest) {
        let (frame, behind) = rest.split_at(header.total.min(rest.len()));
        let parameter = two_strings(&frame[HEADER..]).filter(|_| header.tag == b'S');
        if let Some((name, value)) = parameter {
            last.retain(|(other, _, _)| *other != name);
            last.push((name, value, frame));
        } else {
            out.extend_from_slice(frame);
        }
        rest = behind;
    }
    let is_known = |name: &[u8], value: &[u8]| {
        known
            .iter()
            .any(|(known, now)| known.as_bytes() == name && now.as_bytes() == value)
    };
    let news = last
        .iter()
        .filter(|(name, value, _)| !is_known(name, value));
    let mut all: Vec<u8> = news
        .flat_map(|(_, _, frame)| frame.iter().copied())
        .collect();
    all.append(&mut out);
    all
}

/// What a ROLLBACK TO has to undo, though it does not write.
fn stays(effect: &Effect) -> bool {
    !matches!(
        effect,
        Effect::None
            | Effect::Begin { .. }
            | Effect::Savepoint(_)
            | Effect::Release(_)
            | Effect::RollbackTo(_)
    )
}

/// What the bounds of a transaction are made of.
fn controls(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Begin { .. }
            | Effect::Commit { .. }
            | Effect::Rollback { .. }
            | Effect::Savepoint(_)
            | Effect::Release(_)
            | Effect::RollbackTo(_)
    )
}

/// What is done outside the transaction, so that an abort leaves it.
fn outlives(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Pin(PinReason::Prepare | PinReason::HoldCursor | PinReason::AdvisoryLock)
            | Effect::Deallocate(_)
            | Effect::DeallocateAll
            | Effect::DiscardAll
    )
}

impl Session {
    /// Turns repeating on or off for this session (`dsqlproxy.retry`). Off counts for the open
    /// transaction too; on, for those that begin later. What the configuration turned off, for the
    /// database or the user, stays off.
    pub(super) fn set_retry(&mut self, on: bool) {
        let open = self.status != TransactionStatus::Idle || self.begin.is_some();
        let on = on && self.env.retry.user;
        if let Some(replay) = &mut self.replay {
            replay.allow(on, open);
        }
    }

    /// A transaction is being run again: the client's next requests wait.
    pub(super) fn is_repeating(&self) -> bool {
        self.replay
            .as_ref()
            .is_some_and(|replay| replay.is_repeating())
    }

    /// The same, and what commits has not been sent again: the abort before was definite.
    pub(super) fn is_repeating_before_commit(&self) -> bool {
        let replay = self.replay.as_ref();
        replay.is_some_and(|replay| replay.is_repeating() && replay.is_before_commit())
    }

    /// Puts up the gate on a connection that was just leased.
    pub(super) fn begin_watch(&mut self) {
        if let (Some(replay), Some(lease)) = (&mut self.replay, &mut self.lease) {
            replay.reset();
            lease.input.set_gate(true);
        }
    }

    /// What could not be watched is over, and the next transaction can.
    pub(super) fn watch_again(&mut self) {
        let settled = self.owed.settle().is_some() && !self.is_passing();
        let (Some(replay), Some(lease)) = (&mut self.replay, &self.lease) else {
            return;
        };
        let nothing = lease.input.held().is_empty() && lease.input.unread().is_empty();
        if settled && nothing && !replay.is_watching() {
            replay.reset();
        }
    }

    /// Looks at what came before the relay does.
    pub(super) fn watch_upstream(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.replay.is_none() {
            return Ok(false);
        }
        if let Some(pause) = &mut self.pause {
            if Pin::new(pause).poll(cx).is_pending() {
                return Ok(false);
            }
            self.pause = None;
        }
        let mut progress = false;
        while let Some(action) = self.next_action() {
            progress = true;
            self.obey_action(action)?;
            if self.pause.is_some() {
                // Polled, so that it wakes the session.
                return self.watch_upstream(cx);
            }
        }
        self.make_room_for_held();
        Ok(progress)
    }

    /// No further repetition; one that is waited for is given up.
    pub(super) fn stop_repeating(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.stop();
            self.pause = None;
        }
    }

    fn next_action(&mut self) -> Option<Action> {
        // A repetition sends, and the client's frame comes first.
        if self.is_passing() {
            return None;
        }
        let (Some(replay), Some(lease)) = (&mut self.replay, &self.lease) else {
            return None;
        };
        match replay.look(lease.input.held()) {
            Action::More => None,
            action => Some(action),
        }
    }

    fn obey_action(&mut self, action: Action) -> Result<(), End> {
        let Some(lease) = &mut self.lease else {
            return Ok(());
        };
        match action {
            Action::Release(count) => lease.input.release_held(count),
            Action::Drop(count) => lease.input.drop_held(count),
            Action::Send(bytes) => lease.output.tail().extend_from_slice(&bytes),
            Action::Inject(bytes) => {
                let bytes = without_known(&bytes, &lease.parameters);
                lease.input.inject(&bytes);
            }
            Action::Wait(pause) => self.pause = Some(Box::pin(tokio::time::sleep(pause))),
            Action::Forget(names) => self.forget_statements(&names),
            Action::Remember(names) => self.remember_statements(&names),
            Action::Tell(outcome) => self.tell_outcome(outcome),
            Action::Conflict(evidence) => self.note_conflict(evidence),
            Action::Measured(effort) => self.note_effort(effort),
            Action::Judge(requests) => self.judge_order(&requests),
            Action::Lost => return Err(upstream_lost("a repetition could not be undone")),
            Action::More => {}
        }
        Ok(())
    }

    /// Rows that came in another order; as a rule of statements that do not say any.
    fn judge_order(&mut self, requests: &[Vec<u8>]) {
        let prepared = |name: &[u8]| {
            let name = self.names.client_name(id_of(name)?)?;
            Some(Rc::clone(&self.names.get(name)?.text))
        };
        let mut all = requests.iter();
        let says_nothing = all.all(|sent| super::rerun::order_says_nothing(sent, prepared));
        if let Some(replay) = &mut self.replay {
            replay.judge(says_nothing);
        }
    }

    fn forget_statements(&mut self, names: &[Vec<u8>]) {
        self.unnamed.settle(None);
        let Some(lease) = &mut self.lease else { return };
        for id in names.iter().filter_map(|name| id_of(name)) {
            lease.prepared.remove(id);
            self.closed.push(id);
        }
    }

    fn remember_statements(&mut self, names: &[Vec<u8>]) {
        let Some(lease) = &mut self.lease else { return };
        for id in names.iter().filter_map(|name| id_of(name)) {
            lease.prepared.insert(id);
        }
    }

    fn tell_outcome(&self, outcome: Outcome) {
        self.env.tally.conflicts[outcome as usize].add(1);
        tracing::debug!(
            pool = self.env.pool.name(),
            user = self.identity.user(),
            outcome = outcome.label(),
            "a transaction met a conflict"
        );
    }

    /// Answers that are held back take more room as they come; the limit of the hold ends that.
    fn make_room_for_held(&mut self) {
        let Some(lease) = &mut self.lease else { return };
        let input = &mut lease.input;
        let only_held = input.unread().is_empty() && input.passing().is_empty();
        if input.is_full() && only_held && !input.held().is_empty() {
            input.grow(crate::net::SMALL);
        }
    }
}
