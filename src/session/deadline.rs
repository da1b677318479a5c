//! Timeouts that the server does not enforce: of statements, of transactions, of clients that leave
//! a transaction idle, and of cancel requests that have no effect.
//!
//! There is no timer for a statement. A session notes its earliest deadline in its [`Control`], the
//! worker sleeps until the earliest of all ([`Alarm`]) and wakes those that are due.
//!
//! [`Control`]: super::Control

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::policy::settings::{
    self, IDLE_IN_TRANSACTION_TIMEOUT, STATEMENT_TIMEOUT, Scope, TRANSACTION_TIMEOUT,
};
use crate::wire::backend::TransactionStatus;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::abandon::Loss;
use super::run::{End, Session};

/// A cancelled statement that only reads goes on for so long at most: DSQL does not obey.
const READ_GRACE: Duration = Duration::from_millis(100);

/// When a worker has to look at its sessions' deadlines.
#[derive(Debug, Default)]
pub struct Alarm {
    next: Cell<Option<Instant>>,
    earlier: Notify,
}

impl Alarm {
    /// The time of the next look, if there is any.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.next.get()
    }

    /// Returns when the next look is to be earlier than it was.
    pub async fn set_earlier(&self) {
        self.earlier.notified().await;
    }

    /// The look has been taken; this is the next.
    pub fn set(&self, next: Option<Instant>) {
        self.next.set(next);
    }

    fn at_latest(&self, at: Instant) {
        if self.next.get().is_none_or(|next| at < next) {
            self.next.set(Some(at));
            self.earlier.notify_one();
        }
    }
}

/// What one session's deadlines depend on.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// The statement at hand ends by then.
    statement: Option<Instant>,
    /// When the transaction began.
    transaction_since: Option<Instant>,
    /// Since when the client leaves its transaction idle.
    idle_since: Option<Instant>,
    /// A cancelled statement ends by then.
    cancel: Option<Instant>,
}

impl Deadlines {
    /// The statement was answered in full.
    pub fn answered(&mut self) {
        self.statement = None;
        self.cancel = None;
    }

    /// What was cancelled has ended, and the statement goes on.
    pub fn cancelled_in_time(&mut self) {
        self.cancel = None;
    }

    /// The transaction has ended.
    pub fn transaction_over(&mut self) {
        self.transaction_since = None;
    }
}

impl Session {
    pub(super) fn timeout(&self, name: &str) -> Option<Duration> {
        self.settings.kept(name).and_then(settings::read_duration)
    }

    /// Some timeout is set that the proxy enforces.
    fn is_timed(&self) -> bool {
        self.settings.scope() == Scope::All && !self.settings.keeps_nothing()
    }

    /// A request of the client is taken: its time runs, if it does not run already.
    pub(super) fn start_statement(&mut self) {
        if !self.is_timed() || self.deadlines.statement.is_some() {
            return;
        }
        let now = Instant::now();
        self.deadlines.statement = self.timeout(STATEMENT_TIMEOUT).map(|timeout| now + timeout);
        self.deadlines.transaction_since.get_or_insert(now);
    }

    /// A statement of a batch is complete, or a whole request is: the next has its own time.
    pub(super) fn restart_statement(&mut self) {
        self.deadlines.answered();
        if !self.owed.is_empty() {
            self.start_statement();
        }
    }

    /// A cancel request was passed on to a server that may ignore it.
    pub(super) fn expect_cancel(&mut self) {
        if let Some(grace) = self.env.kept.cancel_grace {
            // Where nothing was to be changed, no outcome is in doubt.
            let reads = self.procedure.is_none()
                && self.owed.iter().all(|entry| {
                    let note = entry.note.as_deref();
                    note.is_none_or(|note| !note.writes && !note.calls && !note.unread)
                });
            let grace = if reads { grace.min(READ_GRACE) } else { grace };
            self.deadlines.cancel.get_or_insert(Instant::now() + grace);
        }
    }

    /// Tells the worker when to look again.
    pub(super) fn arm(&mut self) {
        let timed = self.is_timed();
        if !timed && self.deadlines.cancel.is_none() {
            self.control.set_deadline(None);
            return;
        }
        if timed {
            self.note_idleness();
        }
        let next = [
            self.deadlines.statement,
            self.deadlines.cancel,
            self.transaction_deadline(),
            self.idle_deadline(),
        ];
        let next = next.into_iter().flatten().min();
        self.control.set_deadline(next);
        if let Some(next) = next {
            self.env.alarm.at_latest(next);
        }
    }

    fn note_idleness(&mut self) {
        let quiet = self.owed.is_empty()
            && !self.owed.is_unsynced()
            && self.ticket.is_none()
            && self.procedure.is_none()
            && self.cin.is_empty();
        let block = self.status != TransactionStatus::Idle;
        let now = Instant::now();
        if quiet && !block {
            self.deadlines.transaction_since = None;
            self.deadlines.statement = None;
        }
        if block {
            self.deadlines.transaction_since.get_or_insert(now);
        }
        if quiet && block {
            self.deadlines.idle_since.get_or_insert(now);
            self.deadlines.statement = None;
        } else {
            self.deadlines.idle_since = None;
        }
    }

    fn transaction_deadline(&self) -> Option<Instant> {
        let since = self.deadlines.transaction_since?;
        Some(since + self.timeout(TRANSACTION_TIMEOUT)?)
    }

    fn idle_deadline(&self) -> Option<Instant> {
        let since = self.deadlines.idle_since?;
        Some(since + self.timeout(IDLE_IN_TRANSACTION_TIMEOUT)?)
    }

    /// Ends what has taken too long.
    ///
    /// # Errors
    /// What ends with it: the session, or its connection.
    pub(super) fn obey_deadlines(&mut self) -> Result<(), End> {
        let Some(next) = self.control.deadline() else {
            return Ok(());
        };
        let now = Instant::now();
        if now < next {
            return Ok(());
        }
        self.control.set_deadline(None);
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.transaction_deadline()) {
            self.deadlines = Deadlines::default();
            return Err(self.end_with(ClientError::fatal(
                sqlstate::TRANSACTION_TIMEOUT,
                "terminating connection due to transaction timeout",
            )));
        }
        if due(self.idle_deadline()) {
            self.deadlines = Deadlines::default();
            return Err(self.end_with(ClientError::fatal(
                sqlstate::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "terminating connection due to idle-in-transaction timeout",
            )));
        }
        if due(self.deadlines.statement) {
            self.deadlines.answered();
            return self.give_up("canceling statement due to statement timeout");
        }
        if due(self.deadlines.cancel) {
            self.deadlines.answered();
            return self.give_up("canceling statement due to user request");
        }
        Ok(())
    }

    /// The session ends with this error, if it is not worse: what commits may be under way.
    pub(super) fn end_with(&self, error: ClientError) -> End {
        let quiet = self.owed.is_empty() && !self.owed.is_unsynced();
        if self.lease.is_none() || quiet {
            return End::Refuse(error);
        }
        End::Lost(Box::new(Loss {
            cause: error.message.clone(),
            code: error.code,
            told: Some(error),
            repeatable: false,
            running: true,
            ends: true,
        }))
    }

    /// The statement at hand is given up, and its connection with it.
    pub(super) fn give_up(&mut self, message: &str) -> Result<(), End> {
        let error = ClientError::error(sqlstate::QUERY_CANCELED, message);
        if self.procedure.is_some() {
            return self.give_up_procedure(error);
        }
        if self.lease.is_none() {
            if self.leave_queue() {
                self.refusal = Some(error);
            }
            return Ok(());
        }
        if self.stop_pausing(&error) || self.owed.is_empty() && !self.owed.is_unsynced() {
            return Ok(());
        }
        Err(End::Lost(Box::new(Loss {
            cause: message.to_owned(),
            told: Some(error),
            code: sqlstate::QUERY_CANCELED,
            repeatable: false,
            running: true,
            ends: false,
        })))
    }

    /// A repetition that is waited for is given up: the client gets this error.
    pub(super) fn stop_pausing(&mut self, error: &ClientError) -> bool {
        if self.pause.is_none() {
            return false;
        }
        self.stopped = Some(error.clone());
        self.stop_repeating();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_look_counts() {
        let alarm = Alarm::default();
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        alarm.at_latest(after(5));
        alarm.at_latest(after(9));
        assert_eq!(alarm.next(), Some(after(5)));
        alarm.at_latest(after(2));
        assert_eq!(alarm.next(), Some(after(2)));
        alarm.set(None);
        assert_eq!(alarm.next(), None);
    }
}
