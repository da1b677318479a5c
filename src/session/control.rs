//! What others may ask of a session: cancel, end, drain.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

/// Called (dropped) when a cancel request has been dealt with.
pub type CancelDone = oneshot::Sender<()>;

/// The outside's handle on a session of the same worker.
#[derive(Debug, Default)]
pub struct Control {
    waker: RefCell<Option<Waker>>,
    cancels: RefCell<Vec<CancelDone>>,
    end: RefCell<Option<ClientError>>,
    /// With this the session ends as soon as it is outside a transaction.
    farewell: RefCell<Option<ClientError>>,
    /// Nothing is under way: no transaction, no request, no wait.
    idle: Cell<bool>,
    /// Only what is buffered is still written.
    closing: Cell<bool>,
    /// The session must be woken then.
    deadline: Cell<Option<Instant>>,
}

impl Control {
    /// Passes a CancelRequest on.
    pub fn cancel(&self, done: CancelDone) {
        self.cancels.borrow_mut().push(done);
        self.wake();
    }

    /// Ends the session at once, with this error.
    pub fn end(&self, error: ClientError) {
        *self.end.borrow_mut() = Some(error);
        self.wake();
    }

    /// Ends the session as soon as it is outside a transaction, because the proxy goes.
    pub fn drain(&self) {
        self.end_at_rest(
            ClientError::fatal(
                sqlstate::ADMIN_SHUTDOWN,
                "terminating connection due to administrator command",
            )
            .hint("Reconnect: the proxy is shutting down or being replaced."),
        );
    }

    /// Ends the session with this error as soon as it is outside a transaction. The first that is
    /// given counts.
    pub fn end_at_rest(&self, error: ClientError) {
        self.farewell.borrow_mut().get_or_insert(error);
        self.wake();
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.idle.get()
    }

    /// Whether the session has ended but for bytes that the client has not taken.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Wakes the session if its deadline has come; gives one that has not.
    pub fn check_deadline(&self, now: Instant) -> Option<Instant> {
        let deadline = self.deadline.get()?;
        if deadline <= now {
            self.wake();
            return None;
        }
        Some(deadline)
    }

    pub(super) fn set_deadline(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    pub(super) fn set_closing(&self) {
        self.closing.set(true);
    }

    pub(super) fn set_idle(&self, idle: bool) {
        self.idle.set(idle);
    }

    /// What a session ends with that is outside a transaction.
    pub(super) fn farewell(&self) -> Option<ClientError> {
        self.farewell.borrow().clone()
    }

    pub(super) fn take_end(&self) -> Option<ClientError> {
        self.end.borrow_mut().take()
    }

    pub(super) fn take_cancels(&self) -> Vec<CancelDone> {
        std::mem::take(&mut *self.cancels.borrow_mut())
    }

    pub(super) fn has_cancels(&self) -> bool {
        !self.cancels.borrow().is_empty()
    }

    pub(super) fn register(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        match kept.as_ref() {
            Some(kept) if kept.will_wake(waker) => {}
            _ => *kept = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}
