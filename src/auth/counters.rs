//! Counts of what happened to arriving clients.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How a client proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// SCRAM-SHA-256.
    Scram,
    /// SCRAM-SHA-256-PLUS: bound to the certificate of the TLS connection.
    ScramPlus,
    /// Cleartext password inside TLS.
    Cleartext,
    /// JSON web token in place of a password.
    Token,
    /// Certificate of the client.
    Certificate,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Scram,
        Self::ScramPlus,
        Self::Cleartext,
        Self::Token,
        Self::Certificate,
    ];

    /// Name for logs and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scram => "scram-sha-256",
            Self::ScramPlus => "scram-sha-256-plus",
            Self::Cleartext => "cleartext",
            Self::Token => "token",
            Self::Certificate => "certificate",
        }
    }
}

/// Counts since the start, and one gauge.
#[derive(Debug, Default)]
pub struct Counters {
    ok: [AtomicU64; Method::ALL.len()],
    failed: [AtomicU64; Method::ALL.len()],
    refused: AtomicU64,
    throttled: AtomicU64,
    over_limit: AtomicU64,
    timed_out: AtomicU64,
    left: AtomicU64,
    cancels: AtomicU64,
    unauthenticated: AtomicUsize,
}

/// Counts of something other than a password check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Refused,
    Throttled,
    OverLimit,
    TimedOut,
    Left,
    Cancel,
}

impl Counters {
    /// Finished logins by `method`.
    #[must_use]
    pub fn logins_ok(&self, method: Method) -> u64 {
        read(&self.ok[method as usize])
    }

    /// Logins by `method` with a wrong password, an unknown or expired user.
    #[must_use]
    pub fn logins_failed(&self, method: Method) -> u64 {
        read(&self.failed[method as usize])
    }

    /// Clients sent away for anything else: malformed packets, TLS missing or failed, a database
    /// they may not use.
    #[must_use]
    pub fn refused(&self) -> u64 {
        read(&self.refused)
    }

    /// Logins and cancel requests refused because of earlier failures.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        read(&self.throttled)
    }

    /// Clients refused because too many others were logging in.
    #[must_use]
    pub fn over_limit(&self) -> u64 {
        read(&self.over_limit)
    }

    /// Clients that did not finish their login in time.
    #[must_use]
    pub fn timed_out(&self) -> u64 {
        read(&self.timed_out)
    }

    /// Clients that left before their login was finished.
    #[must_use]
    pub fn left(&self) -> u64 {
        read(&self.left)
    }

    /// Cancel requests passed on.
    #[must_use]
    pub fn cancels(&self) -> u64 {
        read(&self.cancels)
    }

    /// Clients that are logging in now.
    #[must_use]
    pub fn unauthenticated(&self) -> usize {
        self.unauthenticated.load(Ordering::Relaxed)
    }

    pub(super) fn count_ok(&self, method: Method) {
        self.ok[method as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self, method: Method) {
        self.failed[method as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, event: Event) {
        let counter = match event {
            Event::Refused => &self.refused,
            Event::Throttled => &self.throttled,
            Event::OverLimit => &self.over_limit,
            Event::TimedOut => &self.timed_out,
            Event::Left => &self.left,
            Event::Cancel => &self.cancels,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a place among those that are logging in, unless `limit` are taken.
    pub(super) fn enter(&self, limit: usize) -> Option<Place<'_>> {
        self.unauthenticated
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < limit).then_some(taken + 1)
            })
            .ok()
            .map(|_| Place(self))
    }
}

/// A place among those that are logging in.
pub(super) struct Place<'a>(&'a Counters);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.unauthenticated.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
