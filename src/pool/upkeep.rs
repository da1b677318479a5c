//! What a pool does when the clock says so.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::slots::{Pool, is_usable};
use super::waiters::Told;

/// A client is told that it waits after this, or after half of what it may wait, if that is less.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// A wait that ends within twice this is not worth the words.
const TELL_NO_SOONER: Duration = Duration::from_millis(500);

impl Pool {
    /// Ends waits that took too long, retries connecting, closes idle connections that are too old
    /// or too many, opens those that `min` asks for. To be called several times a second.
    pub fn tick(self: &Rc<Self>, now: Instant) {
        self.end_waits(now);
        self.tell_waiters(now);
        self.trim(now);
        self.fill();
        self.pump();
    }

    fn end_waits(&self, now: Instant) {
        let limit = self.shared.limits.wait_timeout;
        loop {
            let expired = self
                .waiters
                .borrow_mut()
                .oldest()
                .is_some_and(|place| now.saturating_duration_since(place.since) >= limit);
            if !expired {
                return;
            }
            if let Some(place) = self.pop_waiter() {
                place.give(Err(self.wait_error()));
            }
        }
    }

    fn wait_error(&self) -> ClientError {
        if let Some(pause) = self.pause.borrow().as_ref() {
            return pause.error.clone();
        }
        ClientError::error(
            sqlstate::TOO_MANY_CONNECTIONS,
            "timed out while waiting for an upstream connection",
        )
        .detail(format!(
            "All {} connections of the pool were in use for {} ms.",
            self.shared.limits.size,
            self.shared.limits.wait_timeout.as_millis()
        ))
        .hint("Try again later, shorten transactions, or raise pool.size or pool.wait_timeout.")
    }

    fn tell_waiters(&self, now: Instant) {
        let after = TELL_AFTER.min(self.shared.limits.wait_timeout / 2);
        if after < TELL_NO_SOONER {
            return;
        }
        for place in self.waiters.borrow().iter() {
            let waited = now.saturating_duration_since(place.since);
            if waited < after {
                break;
            }
            if place.told.get() == Told::No {
                place.told.set(Told::Due);
                place.wake();
            }
        }
    }

    fn trim(self: &Rc<Self>, now: Instant) {
        let min = self.min();
        let mut closed = 0u16;
        self.idle.borrow_mut().retain_mut(|conn| {
            let live = usize::from(self.counts.get().idle + self.counts.get().leased - closed);
            let idle_for = now.saturating_duration_since(conn.idle_since);
            let surplus = live > min && idle_for >= self.shared.limits.idle_timeout;
            let keep = is_usable(conn) && !surplus;
            closed += u16::from(!keep);
            keep
        });
        if closed > 0 {
            self.count(|counts| {
                counts.idle -= closed;
                counts.free += closed;
            });
        }
    }

    fn fill(self: &Rc<Self>) {
        if self.pause.borrow().is_some() {
            // Those who wait are looked after by `pump`.
            if self.waiters.borrow().len() == 0 {
                self.retry_quietly();
            }
            return;
        }
        let counts = self.counts.get();
        let live = usize::from(counts.idle + counts.leased + counts.connecting);
        if live < self.min().max(self.first_ever())
            && counts.free > 0
            && self.shared.take_token(Instant::now())
        {
            self.open();
        }
    }

    /// With nobody waiting, one attempt after each pause finds out whether the upstream is back.
    fn retry_quietly(self: &Rc<Self>) {
        let over = self
            .pause
            .borrow()
            .as_ref()
            .is_some_and(|pause| Instant::now() >= pause.until);
        let counts = self.counts.get();
        if over
            && counts.connecting == 0
            && counts.free > 0
            && self.shared.take_token(Instant::now())
        {
            self.open();
        }
    }

    /// One connection is opened at the start, to find out whether it can be: readiness says so.
    fn first_ever(&self) -> usize {
        usize::from(self.worker == 0 && self.shared.connected() == 0)
    }

    /// This worker's part of `pool.min`, rounded up.
    fn min(&self) -> usize {
        let counts = self.counts.get();
        let slots = usize::from(counts.free + counts.connecting + counts.idle + counts.leased);
        (self.shared.limits.min * slots).div_ceil(self.shared.limits.size.max(1))
    }
}
