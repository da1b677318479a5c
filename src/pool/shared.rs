//! The part of a pool that all workers see.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::config;
use crate::net::Stream;
use crate::upstream::{Conn, Target};

use super::bucket::Bucket;
use super::waits::Waits;

/// What one worker sends another about a pool.
#[derive(Debug)]
pub enum Transfer {
    /// An idle connection (detached from its runtime) with its slot.
    Conn(Box<Conn>),
    /// A slot without a connection.
    Slot,
    /// The sender starves: whoever can spare something sends it there.
    Need {
        /// The worker that starves.
        worker: usize,
    },
}

/// Slots of a pool by state, over all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Slots without a connection.
    pub free: usize,
    /// Connections being opened.
    pub connecting: usize,
    /// Connections at rest.
    pub idle: usize,
    /// Connections lent to a session, or being scrubbed after it.
    pub leased: usize,
    /// Slots on their way from one worker to another.
    pub transit: usize,
    /// Clients waiting.
    pub waiters: usize,
}

impl Census {
    /// All slots; equals the limit.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.free + self.connecting + self.idle + self.leased + self.transit
    }
}

/// Nobody waits.
const NOBODY: u64 = u64::MAX;

/// What a worker shows the others.
#[derive(Debug)]
struct Slice {
    /// free, connecting, idle, leased: 16 bits each, written in one store so that their sum is
    /// always whole.
    counts: AtomicU64,
    waiters: AtomicUsize,
    /// Arrival of the client that waits longest, in ms since the pool was made.
    oldest: AtomicU64,
}

/// Counts of one worker's slice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub free: u16,
    pub connecting: u16,
    pub idle: u16,
    pub leased: u16,
}

impl Counts {
    fn pack(self) -> u64 {
        u64::from(self.free)
            | u64::from(self.connecting) << 16
            | u64::from(self.idle) << 32
            | u64::from(self.leased) << 48
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "each field is its own 16 bits"
    )]
    fn unpack(packed: u64) -> Self {
        Self {
            free: packed as u16,
            connecting: (packed >> 16) as u16,
            idle: (packed >> 32) as u16,
            leased: (packed >> 48) as u16,
        }
    }
}

/// Sends a [`Transfer`] to the worker of the given index.
pub type Mail = Box<dyn Fn(usize, Transfer) + Send + Sync>;

/// The part of a pool that all workers see.
pub struct PoolShared {
    /// `cluster/upstream_database`, for logs and metrics.
    pub name: String,
    /// Where connections go.
    pub target: Arc<Target>,
    /// Configured limits.
    pub limits: config::Pool,
    /// What kind of server it is.
    pub kind: config::ClusterKind,
    slices: Box<[Slice]>,
    transit: AtomicUsize,
    /// Odd or changed while slots move: a census that saw it is taken again.
    moves: AtomicU64,
    /// Workers with waiting clients.
    needy: AtomicUsize,
    bucket: Mutex<Bucket>,
    trouble: Mutex<Option<String>>,
    connected: AtomicU64,
    refused: AtomicU64,
    /// Changes of the schema by sessions of this process.
    pub schema: AtomicU64,
    /// Who waits for whose advisory locks.
    pub waits: Waits,
    /// Rolled back transactions whose committed parts are being undone.
    pub undoing: AtomicUsize,
    mail: Mail,
    made: Instant,
}

impl std::fmt::Debug for PoolShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolShared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl PoolShared {
    /// A pool for `workers` workers; its slots are dealt evenly.
    #[must_use]
    pub fn new(
        name: String,
        target: Arc<Target>,
        kind: config::ClusterKind,
        limits: config::Pool,
        workers: usize,
        mail: Mail,
    ) -> Self {
        let now = Instant::now();
        let slices = (0..workers)
            .map(|worker| Slice {
                counts: AtomicU64::new(
                    Counts {
                        free: share(limits.size, workers, worker),
                        ..Counts::default()
                    }
                    .pack(),
                ),
                waiters: AtomicUsize::new(0),
                oldest: AtomicU64::new(NOBODY),
            })
            .collect();
        Self {
            name,
            target,
            kind,
            slices,
            transit: AtomicUsize::new(0),
            moves: AtomicU64::new(0),
            schema: AtomicU64::new(0),
            undoing: AtomicUsize::new(0),
            waits: Waits::default(),
            needy: AtomicUsize::new(0),
            bucket: Mutex::new(Bucket::new(limits.connect_rate, limits.connect_burst, now)),
            trouble: Mutex::new(None),
            connected: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            limits,
            mail,
            made: now,
        }
    }

    /// Counts slots over all workers.
    #[must_use]
    pub fn census(&self) -> Census {
        // Slots move rarely; a few tries see a moment without a move.
        for _ in 0..1000 {
            let before = self.moves.load(Ordering::SeqCst);
            let census = self.count();
            if self.moves.load(Ordering::SeqCst) == before && census.slots() == self.limits.size {
                return census;
            }
            std::hint::spin_loop();
        }
        self.count()
    }

    fn count(&self) -> Census {
        let mut census = Census {
            transit: self.transit.load(Ordering::SeqCst),
            ..Census::default()
        };
        for slice in &self.slices {
            let counts = Counts::unpack(slice.counts.load(Ordering::SeqCst));
            census.free += usize::from(counts.free);
            census.connecting += usize::from(counts.connecting);
            census.idle += usize::from(counts.idle);
            census.leased += usize::from(counts.leased);
            census.waiters += slice.waiters.load(Ordering::Relaxed);
        }
        census
    }

    /// Connections opened since the start.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Attempts to connect that failed since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Why the last attempt to connect failed, until one succeeds.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn note_connected(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn note_refused(&self, cause: String) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
    }

    pub(super) fn take_token(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(now).is_ok()
    }

    pub(super) fn initial(&self, worker: usize) -> Counts {
        Counts::unpack(self.slices[worker].counts.load(Ordering::Relaxed))
    }

    pub(super) fn publish(&self, worker: usize, counts: Counts) {
        self.slices[worker]
            .counts
            .store(counts.pack(), Ordering::Release);
    }

    /// Shows how many wait at a worker and since when the oldest does.
    pub(super) fn publish_waiters(&self, worker: usize, waiters: usize, oldest: Option<Instant>) {
        let slice = &self.slices[worker];
        let before = slice.waiters.swap(waiters, Ordering::Relaxed);
        match (before, waiters) {
            (0, 1..) => self.needy.fetch_add(1, Ordering::Relaxed),
            (1.., 0) => self.needy.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        let oldest = oldest.map_or(NOBODY, |since| self.millis(since));
        slice.oldest.store(oldest, Ordering::Relaxed);
    }

    pub(super) fn millis(&self, moment: Instant) -> u64 {
        let passed = moment.saturating_duration_since(self.made).as_millis();
        u64::try_from(passed).unwrap_or(NOBODY - 1)
    }

    /// The other worker whose client waits longest, and since when (ms).
    pub(super) fn neediest(&self, worker: usize) -> Option<(usize, u64)> {
        if self.needy.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.slices
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != worker)
            .map(|(other, slice)| (other, slice.oldest.load(Ordering::Relaxed)))
            .filter(|(_, oldest)| *oldest != NOBODY)
            .min_by_key(|(_, oldest)| *oldest)
    }

    /// Other workers that could spare a slot.
    pub(super) fn spare(&self, worker: usize) -> impl Iterator<Item = usize> + '_ {
        self.slices
            .iter()
            .enumerate()
            .filter_map(move |(other, slice)| {
                let counts = Counts::unpack(slice.counts.load(Ordering::Relaxed));
                let spare = other != worker && counts.free + counts.idle > 0;
                spare.then_some(other)
            })
    }

    /// Sends a slot (with or without connection) to another worker; `counts` are the sender's
    /// after it gave the slot up.
    pub(super) fn send(&self, from: usize, to: usize, counts: Counts, transfer: Transfer) {
        self.moves.fetch_add(1, Ordering::SeqCst);
        self.transit.fetch_add(1, Ordering::SeqCst);
        self.publish(from, counts);
        self.moves.fetch_add(1, Ordering::SeqCst);
        (self.mail)(to, transfer);
    }

    /// Takes in a slot; `counts` are the receiver's with it.
    pub(super) fn receive(&self, worker: usize, counts: Counts) {
        self.moves.fetch_add(1, Ordering::SeqCst);
        self.transit.fetch_sub(1, Ordering::SeqCst);
        self.publish(worker, counts);
        self.moves.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn ask(&self, worker: usize, other: usize) {
        (self.mail)(other, Transfer::Need { worker });
    }
}

/// The part of `size` that worker `worker` of `workers` gets.
fn share(size: usize, workers: usize, worker: usize) -> u16 {
    let share = size / workers + usize::from(worker < size % workers);
    u16::try_from(share).unwrap_or(u16::MAX)
}

/// Takes a stream off this worker's runtime.
pub(super) fn detach(stream: &mut Stream) -> bool {
    stream.detach().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_dealt_without_loss() {
        for size in [1, 2, 7, 20, 1000] {
            for workers in 1..9 {
                let dealt: usize = (0..workers)
                    .map(|worker| usize::from(share(size, workers, worker)))
                    .sum();
                assert_eq!(dealt, size);
            }
        }
    }

    #[test]
    fn counts_pack_and_unpack() {
        let counts = Counts {
            free: 1,
            connecting: 2,
            idle: 3,
            leased: 65_535,
        };
        assert_eq!(Counts::unpack(counts.pack()), counts);
    }
}
