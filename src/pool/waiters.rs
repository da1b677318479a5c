//! Clients that wait for a connection, oldest first, and the hand-off to them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::upstream::{Conn, Owner};
use crate::wire::reply::ClientError;

use super::lease::Lease;
use super::slots::Pool;

/// Whether a client knows that it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    No,
    Due,
    Yes,
}

/// One place in the queue.
#[derive(Debug)]
pub(super) struct Place {
    pub since: Instant,
    /// Whom the connection may have served before, besides nobody.
    pub owner: Option<Owner>,
    pub told: Cell<Told>,
    gone: Cell<bool>,
    given: RefCell<Option<Result<Box<Conn>, ClientError>>>,
    waker: RefCell<Option<Waker>>,
}

impl Place {
    /// Hands over a connection or a refusal.
    pub fn give(&self, outcome: Result<Box<Conn>, ClientError>) {
        *self.given.borrow_mut() = Some(outcome);
        self.wake();
    }

    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// The queue of one worker.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: VecDeque<Rc<Place>>,
    live: usize,
}

impl Waiters {
    pub fn len(&self) -> usize {
        self.live
    }

    pub fn push(&mut self, now: Instant, owner: Option<Owner>) -> Rc<Place> {
        let place = Rc::new(Place {
            since: now,
            owner,
            told: Cell::new(Told::No),
            gone: Cell::new(false),
            given: RefCell::new(None),
            waker: RefCell::new(None),
        });
        self.queue.push_back(Rc::clone(&place));
        self.live += 1;
        place
    }

    /// The client that waits longest.
    pub fn oldest(&mut self) -> Option<&Rc<Place>> {
        while self.queue.front().is_some_and(|place| place.gone.get()) {
            self.queue.pop_front();
        }
        self.queue.front()
    }

    pub fn pop(&mut self) -> Option<Rc<Place>> {
        self.oldest()?;
        self.live -= 1;
        self.queue.pop_front()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rc<Place>> {
        self.queue.iter().filter(|place| !place.gone.get())
    }

    fn leave(&mut self, place: &Place) {
        if !place.gone.replace(true) {
            self.live -= 1;
        }
        // Places of clients that left are dropped when they reach the front; keep them few.
        if self.queue.len() > 32 && self.queue.len() > 2 * self.live {
            self.queue.retain(|place| !place.gone.get());
        }
    }
}

/// A client's claim on the next connection. Dropping it leaves the queue; a connection that was
/// already handed over goes back.
#[derive(Debug)]
pub struct Ticket {
    pool: Rc<Pool>,
    place: Rc<Place>,
    taken: bool,
}

impl Ticket {
    pub(super) fn new(pool: Rc<Pool>, place: Rc<Place>) -> Self {
        Self {
            pool,
            place,
            taken: false,
        }
    }

    /// Ready with a lease, or with the reason why there will be none.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lease, ClientError>> {
        if let Some(outcome) = self.place.given.borrow_mut().take() {
            self.taken = true;
            return Poll::Ready(outcome.map(|conn| Lease::new(conn, Rc::clone(&self.pool))));
        }
        *self.place.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// When the client joined the queue.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.place.since
    }

    /// True once, when the client should be told that it waits.
    #[must_use]
    pub fn should_tell(&self) -> bool {
        let due = self.place.told.get() == Told::Due;
        if due {
            self.place.told.set(Told::Yes);
        }
        due
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let given = self.place.given.borrow_mut().take();
        match given {
            Some(Ok(conn)) => self.pool.take_back(conn),
            Some(Err(_)) => {}
            None => self.pool.leave(&self.place),
        }
    }
}

impl Pool {
    fn leave(&self, place: &Place) {
        self.waiters.borrow_mut().leave(place);
        self.publish_waiters();
    }
}
