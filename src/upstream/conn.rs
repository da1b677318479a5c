//! One upstream connection and what the pool believes about its session.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use crate::net::{LARGE, ReadBuffer, Stream, WriteBuffer};
use crate::wire::backend::two_strings;
use crate::wire::frame;

use super::settings::SharedSettings;

/// Prefix of the names under which statements are prepared upstream.
pub const STATEMENT_PREFIX: &str = "dsqlproxy_";

/// A number for a server-side statement; never given twice in the life of the process, so that a
/// name can never mean another statement.
#[must_use]
pub fn next_statement_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The server-side name of a statement.
#[must_use]
pub fn statement_name(id: u64) -> String {
    format!("{STATEMENT_PREFIX}{id}")
}

/// Statements prepared on one connection, with the order of their last use.
#[derive(Debug, Default)]
pub struct PreparedSet {
    /// Statement id → tick of its last use.
    used: HashMap<u64, u64>,
    tick: u64,
}

impl PreparedSet {
    /// Notes a use; false when the statement is not there.
    pub fn touch(&mut self, id: u64) -> bool {
        self.tick += 1;
        let tick = self.tick;
        self.used.get_mut(&id).map(|used| *used = tick).is_some()
    }

    /// Ids of all statements held.
    pub fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.used.keys().copied()
    }

    /// Whether the statement is there.
    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        self.used.contains_key(&id)
    }

    /// Notes that the statement is there.
    pub fn insert(&mut self, id: u64) {
        self.tick += 1;
        self.used.insert(id, self.tick);
    }

    /// Notes that the statement is gone.
    pub fn remove(&mut self, id: u64) {
        self.used.remove(&id);
    }

    /// Notes that all statements are gone.
    pub fn clear(&mut self) {
        self.used.clear();
    }

    /// Statements held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// No statement is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// Takes out the statement that was not used for the longest time, when more than `limit` are
    /// held.
    pub fn evict(&mut self, limit: usize) -> Option<u64> {
        if self.used.len() <= limit {
            return None;
        }
        let oldest = self
            .used
            .iter()
            .min_by_key(|(_, used)| **used)
            .map(|(id, _)| *id)?;
        self.used.remove(&oldest);
        Some(oldest)
    }
}

/// Whose sessions a connection serves, where a pool keeps tenants apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Those of this tenant of a database entry: both names.
    Tenant(Arc<str>),
    /// Those of users without a tenant.
    Unrestricted,
}

/// An established upstream connection. It is Send, so that an idle one can move to the worker that
/// needs it.
#[derive(Debug)]
pub struct Conn {
    /// The byte stream.
    pub stream: Stream,
    /// Received bytes.
    pub input: ReadBuffer,
    /// Bytes to be sent.
    pub output: WriteBuffer,
    /// Process id for cancel requests.
    pub pid: u32,
    /// Secret for cancel requests.
    pub key: Arc<[u8]>,
    /// Parameters as the server last reported them.
    pub parameters: Vec<(String, String)>,
    /// Settings that differ from those of a fresh connection.
    pub label: SharedSettings,
    /// Named statements.
    pub prepared: PreparedSet,
    /// What the unnamed statement is, when it is known.
    pub unnamed: Option<u64>,
    /// Its session holds state that is not in `label`: to be scrubbed before anyone else gets it.
    pub tainted: bool,
    /// So many changes of the schema were known of when it was last brought up to date.
    pub schema: u64,
    /// Whose sessions it has served, where that matters.
    pub owner: Option<Owner>,
    /// When it was opened.
    pub opened: Instant,
    /// Not to be used beyond this moment.
    pub expires: Instant,
    /// When it became idle.
    pub idle_since: Instant,
}

impl Conn {
    /// The value the server last reported for a parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Keeps a reported parameter.
    pub fn report(&mut self, name: &str, value: &str) {
        match self.parameters.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.parameters.push((name.to_owned(), value.to_owned())),
        }
    }
}

impl Conn {
    /// Takes in what arrived while the connection was idle. False when it is of no use any more:
    /// closed, or anything came but reports, notices and notifications.
    pub fn absorb(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.input.poll_fill(&mut self.stream, cx) {
                Poll::Pending => return self.input.is_empty(),
                Poll::Ready(Ok(count)) if count > 0 => {
                    if !self.absorb_frames() {
                        return false;
                    }
                }
                Poll::Ready(_) => return false,
            }
        }
    }

    fn absorb_frames(&mut self) -> bool {
        while let Ok(Some(header)) = frame::backend_header(self.input.unread()) {
            let unread = self.input.unread();
            if !matches!(header.tag, b'S' | b'N' | b'A') || header.total > LARGE {
                return false;
            }
            if unread.len() < header.total {
                return true;
            }
            if header.tag == b'S' {
                let report =
                    two_strings(&unread[frame::HEADER..header.total]).map(|(name, value)| {
                        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                        (text(name), text(value))
                    });
                let Some((name, value)) = report else {
                    return false;
                };
                self.report(&name, &value);
            }
            self.input.drop_unread(header.total);
        }
        frame::backend_header(self.input.unread()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_statement_ids_are_never_reused() {
        let first = next_statement_id();
        let mut set = PreparedSet::default();
        set.insert(first);
        set.clear();
        assert!(next_statement_id() > first);
    }

    #[test]
    fn eviction_takes_the_least_recently_used() {
        let mut set = PreparedSet::default();
        for id in [1, 2, 3] {
            set.insert(id);
        }
        assert!(set.touch(1));
        assert!(!set.touch(9));
        assert_eq!(set.evict(3), None);
        assert_eq!(set.evict(2), Some(2));
        assert_eq!(set.len(), 2);
    }
}
