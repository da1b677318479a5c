//! Failures by origin and name, forgotten over a minute.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::net::Peer;

/// Origins and names remembered at most; the one that failed longest ago goes first.
const CAPACITY: usize = 10_000;
/// A full count is forgotten in this many seconds.
const MEMORY_SECONDS: f64 = 60.0;

/// Who failed: an address (IPv6 by its /64, which one host owns whole) and a name's hash, so that
/// a long name takes no more room than a short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    name: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    Local,
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Origin {
    fn of(peer: Peer) -> Self {
        let Peer::Inet(address) = peer else {
            return Self::Local;
        };
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let mut prefix = [0; 8];
                prefix.copy_from_slice(&ip.octets()[..8]);
                Self::V6(prefix)
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    level: f64,
    at: Instant,
    /// Place in `Table::order`.
    turn: u64,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Key, Entry>,
    /// Keys by the turn of their last failure.
    order: BTreeMap<u64, Key>,
    turn: u64,
}

/// Counts failures and says when there were too many.
#[derive(Debug)]
pub(super) struct Throttle {
    limit: f64,
    capacity: usize,
    hasher: RandomState,
    table: Mutex<Table>,
}

impl Throttle {
    /// Allows `limit` failures within a minute for each origin and name; 0 is no limit.
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit: f64::from(limit),
            capacity: CAPACITY,
            hasher: RandomState::new(),
            table: Mutex::default(),
        }
    }

    /// Whether another attempt may be made.
    pub(super) fn admits(&self, peer: Peer, name: &str, now: Instant) -> bool {
        let key = self.key(peer, name);
        // A whole failure must fit: the first moment of forgetting does not buy an attempt.
        self.limit == 0.0
            || self.with(|table| self.level(table.entries.get(&key), now) <= self.limit - 1.0)
    }

    /// Counts a failure.
    pub(super) fn fail(&self, peer: Peer, name: &str, now: Instant) {
        let key = self.key(peer, name);
        self.with(|table| {
            let previous = table.entries.get(&key).copied();
            if let Some(previous) = previous {
                table.order.remove(&previous.turn);
            }
            table.turn += 1;
            let turn = table.turn;
            let level = self.level(previous.as_ref(), now) + 1.0;
            table.order.insert(turn, key);
            table.entries.insert(
                key,
                Entry {
                    level,
                    at: now,
                    turn,
                },
            );
            if table.entries.len() > self.capacity
                && let Some((_, oldest)) = table.order.pop_first()
            {
                table.entries.remove(&oldest);
            }
        });
    }

    /// Forgets the failures of one who has proved to know the password.
    pub(super) fn succeed(&self, peer: Peer, name: &str) {
        let key = self.key(peer, name);
        self.with(|table| {
            if let Some(entry) = table.entries.remove(&key) {
                table.order.remove(&entry.turn);
            }
        });
    }

    fn key(&self, peer: Peer, name: &str) -> Key {
        Key {
            origin: Origin::of(peer),
            name: self.hasher.hash_one(name),
        }
    }

    fn level(&self, entry: Option<&Entry>, now: Instant) -> f64 {
        entry.map_or(0.0, |entry| {
            let passed = now.saturating_duration_since(entry.at).as_secs_f64();
            (entry.level - passed * self.limit / MEMORY_SECONDS).max(0.0)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        // Every change leaves the table whole, so a panic elsewhere while it was held does no harm.
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn inet(ip: &str) -> Peer {
        Peer::Inet((ip.parse::<IpAddr>().unwrap(), 1).into())
    }

    #[test]
    fn failures_add_up_and_are_forgotten() {
        let throttle = Throttle::new(3);
        let start = Instant::now();
        let peer = inet("10.0.0.1");
        for _ in 0..3 {
            assert!(throttle.admits(peer, "a", start));
            throttle.fail(peer, "a", start);
        }
        assert!(!throttle.admits(peer, "a", start));
        assert!(throttle.admits(peer, "b", start));
        assert!(throttle.admits(inet("10.0.0.2"), "a", start));
        let third = start + Duration::from_secs(20);
        assert!(!throttle.admits(peer, "a", third - Duration::from_millis(1)));
        assert!(throttle.admits(peer, "a", third));
        throttle.fail(peer, "a", third);
        assert!(!throttle.admits(peer, "a", third + Duration::from_secs(1)));
        let later = third + Duration::from_secs(60);
        for _ in 0..3 {
            assert!(throttle.admits(peer, "a", later));
            throttle.fail(peer, "a", later);
        }
        assert!(!throttle.admits(peer, "a", later));
    }

    #[test]
    fn a11_an_ipv6_network_is_one_origin() {
        let throttle = Throttle::new(1);
        let now = Instant::now();
        throttle.fail(inet("2001:db8:0:1::1"), "a", now);
        assert!(!throttle.admits(inet("2001:db8:0:1:ffff::9"), "a", now));
        assert!(throttle.admits(inet("2001:db8:0:2::1"), "a", now));
        throttle.fail(inet("::ffff:10.0.0.1"), "a", now);
        assert!(!throttle.admits(inet("10.0.0.1"), "a", now));
    }

    #[test]
    fn success_forgets_and_zero_is_no_limit() {
        let now = Instant::now();
        let throttle = Throttle::new(1);
        throttle.fail(Peer::Local, "a", now);
        throttle.succeed(Peer::Local, "a");
        assert!(throttle.admits(Peer::Local, "a", now));
        let open = Throttle::new(0);
        open.fail(Peer::Local, "a", now);
        assert!(open.admits(Peer::Local, "a", now));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes() {
        let throttle = Throttle {
            capacity: 3,
            ..Throttle::new(1)
        };
        let now = Instant::now();
        for name in ["a", "b", "c", "a", "d"] {
            throttle.fail(Peer::Local, name, now);
        }
        let admitted: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .filter(|name| throttle.admits(Peer::Local, name, now))
            .collect();
        assert_eq!(admitted, ["b"]);
        let sizes = throttle.with(|table| (table.entries.len(), table.order.len()));
        assert_eq!(sizes, (3, 3));
    }
}
