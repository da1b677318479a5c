//! What the listener and its admin endpoint share: counters, ordered faults, the movable clock and
//! the list of open connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use super::faults::{Fault, FaultKind, Faults};
use super::quota::{Quota, QuotaError, Quotas};
use super::verify::MAX_EXPIRES;

/// What `GET /stats` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Logins with a good token.
    pub logins: u64,
    /// Logins refused, for whatever reason.
    pub refused_logins: u64,
    /// Logged-in connections open now.
    pub connections: u64,
    /// TCP connections accepted so far.
    pub accepted: u64,
    /// Cancel requests taken and ignored.
    pub cancels: u64,
    /// Connections cut by order.
    pub cut: u64,
    /// Statements that clients asked for, transaction control included.
    pub statements: u64,
    /// Transactions committed: explicit ones, and writing ones of a single statement.
    pub commits: u64,
    /// Transactions that ended otherwise, by ROLLBACK or by an error.
    pub aborts: u64,
    /// Of the aborts: those answered with 40001.
    pub conflicts: u64,
    /// How far the clock was moved, in seconds.
    pub clock_advance_seconds: u64,
}

/// Counters; each only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Logins with a good token.
    pub logins: AtomicU64,
    /// Logins refused.
    pub refused_logins: AtomicU64,
    /// TCP connections accepted.
    pub accepted: AtomicU64,
    /// Cancel requests taken and ignored.
    pub cancels: AtomicU64,
    /// Connections cut by order.
    pub cut: AtomicU64,
    /// Statements that clients asked for.
    pub statements: AtomicU64,
    /// Transactions committed.
    pub commits: AtomicU64,
    /// Transactions that ended otherwise.
    pub aborts: AtomicU64,
    /// Of the aborts: those answered with 40001.
    pub conflicts: AtomicU64,
}

/// Adds one to a counter.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The shared state of one emulator.
#[derive(Debug, Default)]
pub struct Control {
    /// Counters.
    pub counters: Counters,
    faults: Mutex<Faults>,
    /// Whether anything is ordered: spares statements the lock.
    ordered: AtomicBool,
    advance_ms: AtomicU64,
    /// Moves of the clock: the second of the machine's clock at which, and how far in milliseconds.
    moves: Mutex<Vec<(u64, u64)>>,
    moved: watch::Sender<()>,
    quota: Mutex<Quota>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, oneshot::Sender<()>>,
}

fn seconds(moment: SystemTime) -> u64 {
    moment
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// The farthest the clock moves in all: ten years.
const FARTHEST: u64 = 10 * 365 * 86_400_000;

impl Control {
    /// The emulator's clock.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        SystemTime::now() + self.advanced()
    }

    /// How far the clock was moved in all.
    #[must_use]
    pub fn advanced(&self) -> Duration {
        Duration::from_millis(self.advance_ms.load(Ordering::Relaxed))
    }

    /// Moves the clock forward; gives how far it was moved in all, or `None` when that is more than
    /// ten years.
    pub fn advance(&self, by: Duration) -> Option<Duration> {
        let by = u64::try_from(by.as_millis()).ok()?;
        let moved = |now: u64| now.checked_add(by).filter(|sum| *sum <= FARTHEST);
        self.advance_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved)
            .ok()?;
        let second = seconds(SystemTime::now());
        let mut moves = held(&self.moves);
        // No token lives longer.
        moves.retain(|(at, _)| at + MAX_EXPIRES >= second);
        moves.push((second, by));
        drop(moves);
        self.moved.send_replace(());
        Some(self.advanced())
    }

    /// The moment at which a token dated `dated` is checked.
    ///
    /// Tokens are dated by the machine's clock, which nobody moves. So time that was skipped counts
    /// for those made before, and not for those made after: a token is as old as its maker knows it
    /// to be, plus what the clock was moved since. A token dated ahead of the machine's clock is by
    /// someone who follows the emulator's.
    #[must_use]
    pub fn now_for(&self, dated: SystemTime) -> SystemTime {
        let machine = SystemTime::now();
        let second = seconds(dated);
        if second > seconds(machine) + 2 {
            return self.now();
        }
        let moves = held(&self.moves);
        let since = moves.iter().filter(|(at, _)| *at > second);
        machine + Duration::from_millis(since.map(|(_, by)| by).sum())
    }

    /// Tells when the clock was moved.
    #[must_use]
    pub fn clock(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Orders a fault, on top of what is left; gives false when too many are ordered already.
    pub fn order(&self, fault: Fault) -> bool {
        let mut faults = held(&self.faults);
        let taken = faults.order(fault);
        self.ordered.store(!faults.is_empty(), Ordering::Relaxed);
        taken
    }

    /// What is left of the ordered faults.
    #[must_use]
    pub fn faults(&self) -> Value {
        held(&self.faults).describe()
    }

    /// Forgets all ordered faults.
    pub fn clear_faults(&self) {
        held(&self.faults).clear();
        self.ordered.store(false, Ordering::Relaxed);
    }

    /// Uses up one strike of a fault of this kind that fits one of `texts`, if one is ordered.
    pub fn take_fault(&self, kind: FaultKind, texts: &[&str]) -> Option<Fault> {
        self.take_fault_if(kind, texts, true)
    }

    /// As [`Control::take_fault`], but an order without a pattern strikes only when `plain`.
    pub fn take_fault_if(&self, kind: FaultKind, texts: &[&str], plain: bool) -> Option<Fault> {
        if !self.ordered.load(Ordering::Relaxed) {
            return None;
        }
        let mut faults = held(&self.faults);
        let taken = faults.take(kind, texts, plain);
        self.ordered.store(!faults.is_empty(), Ordering::Relaxed);
        taken
    }

    /// Counts a new connection against the rate of connects and the number of open ones.
    ///
    /// # Errors
    /// The quota that is used up.
    pub fn admit(&self) -> Result<(), QuotaError> {
        let open = held(&self.open).connections.len();
        held(&self.quota).admit(self.now(), open)
    }

    /// The quotas on connections.
    #[must_use]
    pub fn quotas(&self) -> Quotas {
        held(&self.quota).quotas()
    }

    /// Sets the quotas on connections; the burst is full again.
    pub fn set_quotas(&self, quotas: Quotas) {
        *held(&self.quota) = Quota::new(quotas);
    }

    /// Enters a logged-in connection in the list; the receiver fires when it is to be cut.
    #[must_use]
    pub fn register(&self) -> (Registration<'_>, oneshot::Receiver<()>) {
        let (sender, cut) = oneshot::channel();
        let mut open = held(&self.open);
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, sender);
        (Registration { control: self, id }, cut)
    }

    /// Cuts up to `limit` open connections, oldest first; gives how many.
    pub fn cut(&self, limit: usize) -> usize {
        let mut open = held(&self.open);
        let ids: Vec<u64> = open.connections.keys().copied().take(limit).collect();
        for id in &ids {
            if let Some(sender) = open.connections.remove(id) {
                // A connection that has just ended by itself no longer listens.
                let _ = sender.send(());
                count(&self.counters.cut);
            }
        }
        ids.len()
    }

    /// The counters as they are now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let connections = held(&self.open).connections.len();
        Stats {
            logins: read(&counters.logins),
            refused_logins: read(&counters.refused_logins),
            connections: u64::try_from(connections).unwrap_or(u64::MAX),
            accepted: read(&counters.accepted),
            cancels: read(&counters.cancels),
            cut: read(&counters.cut),
            statements: read(&counters.statements),
            commits: read(&counters.commits),
            aborts: read(&counters.aborts),
            conflicts: read(&counters.conflicts),
            clock_advance_seconds: self.advanced().as_secs(),
        }
    }
}

/// A place in the list of open connections, given up on drop.
#[derive(Debug)]
pub struct Registration<'a> {
    control: &'a Control,
    id: u64,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        held(&self.control.open).connections.remove(&self.id);
    }
}

/// A panic elsewhere leaves whole values behind here: each change is one assignment.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::faults::Conflict;

    #[test]
    fn faults_are_used_up() {
        let control = Control::default();
        let fault = |kind, left| Fault {
            kind,
            conflict: Conflict::Data,
            left,
            matching: None,
            delay: Duration::ZERO,
        };
        let take = |kind| control.take_fault(kind, &[]).map(|fault| fault.left);
        assert_eq!(take(FaultKind::RefuseLogin), None);
        assert!(control.order(fault(FaultKind::ExpireTokens, 1)));
        assert!(control.order(fault(FaultKind::RefuseLogin, 2)));
        assert_eq!(take(FaultKind::RefuseLogin), Some(1));
        assert_eq!(control.faults()["expire_tokens"], 1);
        assert_eq!(take(FaultKind::RefuseLogin), Some(0));
        assert_eq!(take(FaultKind::RefuseLogin), None);
        assert_eq!(take(FaultKind::ExpireTokens), Some(0));
        assert!(control.order(fault(FaultKind::RefuseLogin, u64::MAX)));
        control.clear_faults();
        assert_eq!(take(FaultKind::RefuseLogin), None);
    }

    #[test]
    fn the_clock_moves_forward_within_limits() {
        let control = Control::default();
        let day = Duration::from_secs(86_400);
        assert_eq!(control.advance(day), Some(day));
        assert_eq!(control.advance(day), Some(day * 2));
        assert!(control.now() > SystemTime::now() + day);
        assert_eq!(control.advance(day * 4000), None);
        assert_eq!(control.stats().clock_advance_seconds, 2 * 86_400);
    }

    #[test]
    fn skipped_time_counts_for_tokens_made_before() {
        let control = Control::default();
        let hour = Duration::from_secs(3600);
        let near = |a: SystemTime, b: SystemTime| {
            let apart = a.duration_since(b).or_else(|_| b.duration_since(a));
            apart.is_ok_and(|apart| apart < Duration::from_secs(30))
        };
        let now = SystemTime::now();
        let before = now - Duration::from_secs(60);
        assert!(near(control.now_for(before), now));
        assert_eq!(control.advance(hour), Some(hour));
        assert!(near(control.now_for(before), now + hour));
        assert!(near(control.now_for(SystemTime::now()), now));
        // Dated by the emulator's clock.
        assert!(near(control.now_for(now + hour), now + hour));
    }

    #[test]
    fn the_oldest_connections_are_cut_first() {
        let control = Control::default();
        let (first, mut first_cut) = control.register();
        let (second, mut second_cut) = control.register();
        assert_eq!(control.stats().connections, 2);
        assert_eq!(control.cut(1), 1);
        assert!(first_cut.try_recv().is_ok());
        assert!(second_cut.try_recv().is_err());
        drop(first);
        drop(second);
        assert_eq!(control.stats().connections, 0);
        assert_eq!(control.cut(usize::MAX), 0);
    }
}
