//! Counters with one writer: the worker adds with a plain load and store, the scrape reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only its worker changes.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Adds; not atomic as a whole, so only one thread may write.
    pub fn add(&self, count: u64) {
        self.0
            .store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    /// Subtracts; see [`Tally::add`].
    pub fn sub(&self, count: u64) {
        self.0
            .store(self.get().wrapping_sub(count), Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the histogram buckets, in seconds: 1 µs to 10 s.
pub const BOUNDS: [f64; 15] = [
    0.000_001, 0.000_002, 0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5,
    0.001, 0.01, 0.1, 1.0, 5.0, 10.0,
];

/// A histogram of durations with one writer.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [Tally; BOUNDS.len() + 1],
    nanos: Tally,
}

impl Durations {
    /// Notes one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BOUNDS.len());
        self.buckets[bucket].add(1);
        self.nanos
            .add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Count in each bucket (not cumulative), the last one without bound, and the sum in seconds.
    #[must_use]
    pub fn read(&self) -> ([u64; BOUNDS.len() + 1], f64) {
        let counts = std::array::from_fn(|bucket| self.buckets[bucket].get());
        (counts, Duration::from_nanos(self.nanos.get()).as_secs_f64())
    }
}

/// Upper bounds of the histogram of repetitions.
pub const REPETITIONS: [f64; 6] = [1.0, 2.0, 3.0, 5.0, 8.0, 13.0];

/// A histogram of small counts with one writer.
#[derive(Debug, Default)]
pub struct Repetitions {
    buckets: [Tally; REPETITIONS.len() + 1],
    sum: Tally,
}

impl Repetitions {
    /// Notes one count.
    pub fn observe(&self, count: u32) {
        let bucket = REPETITIONS
            .iter()
            .position(|bound| f64::from(count) <= *bound)
            .unwrap_or(REPETITIONS.len());
        self.buckets[bucket].add(1);
        self.sum.add(u64::from(count));
    }

    /// Count in each bucket (not cumulative), the last one without bound, and the sum.
    #[must_use]
    pub fn read(&self) -> ([u64; REPETITIONS.len() + 1], u64) {
        let counts = std::array::from_fn(|bucket| self.buckets[bucket].get());
        (counts, self.sum.get())
    }
}

/// What one worker counts.
#[derive(Debug, Default)]
pub struct WorkerTally {
    /// Logged-in clients now.
    pub clients: Tally,
    /// Clients waiting for a connection now.
    pub waiting: Tally,
    /// Connections this worker looks after now, logged in or not.
    pub connections: Tally,
    /// Sessions ended.
    pub sessions_ended: Tally,
    /// Queries, function calls and Syncs sent upstream.
    pub requests: Tally,
    /// Transactions (or single statements) that gave their connection back.
    pub leases: Tally,
    /// BEGINs that travelled with the first statement.
    pub begins_deferred: Tally,
    /// Bytes read from clients.
    pub bytes_in: Tally,
    /// Bytes read from upstreams.
    pub bytes_out: Tally,
    /// Settings statements the proxy sent on its own.
    pub settings_synced: Tally,
    /// Prepared statements the proxy sent again to another connection.
    pub reprepared: Tally,
    /// Cancel requests passed on.
    pub cancels: Tally,
    /// Sessions pinned to their connection.
    pub pins: Tally,
    /// Upstream connections lost while a response was due.
    pub upstream_lost: Tally,
    /// Commits whose outcome could not be known.
    pub commit_unknown: Tally,
    /// Transactions that met a conflict, by how that ended (`retry::Outcome`).
    pub conflicts: [Tally; 8],
    /// Repetitions of transactions that were repeated.
    pub repetitions: Repetitions,
    /// Time these spent repeating.
    pub repeating: Durations,
    /// Protocol violations by clients.
    pub client_violations: Tally,
    /// Time a client waited for a connection.
    pub wait: Durations,
    /// Time the proxy itself spent in one turn of a session (one turn in sixteen is measured).
    pub turn: Durations,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_land_in_their_bucket() {
        let histogram = Durations::default();
        histogram.observe(Duration::from_nanos(900));
        histogram.observe(Duration::from_micros(150));
        histogram.observe(Duration::from_secs(60));
        let (counts, sum) = histogram.read();
        assert_eq!(counts.iter().sum::<u64>(), 3);
        assert_eq!((counts[0], counts[7], counts[15]), (1, 1, 1));
        assert!((60.0..60.1).contains(&sum));
    }

    #[test]
    fn repetitions_land_in_their_bucket() {
        let histogram = Repetitions::default();
        for count in [1, 1, 4, 5, 14] {
            histogram.observe(count);
        }
        assert_eq!(histogram.read(), ([2, 0, 0, 2, 0, 0, 1], 25));
    }
}
