//! How many repetitions a cluster may afford.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Seconds that commits and repetitions are counted over.
const WINDOW: u64 = 10;

/// One count for each second, and room for the clock to go on while others read.
const SLOTS: usize = 16;

/// Repetitions that are always allowed in a window, so that a quiet cluster repeats at all.
const FLOOR: u64 = 40;

/// Conflicts a worker looks into within a second, for each database entry; the rest is counted only.
const LOOKS: u32 = 200;

/// How urgent a repetition is. A part of the budget is kept for the more urgent ones, so that a few
/// sessions at a hot key cannot use up what others need for their first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// The first repetition of a transaction, by a session that has had none within the window.
    Quiet,
    /// The first of a transaction.
    First,
    /// The second or a further one.
    Later,
}

impl Rank {
    /// Of a repetition at `at`, when the transaction had so many and the session's last one was then.
    #[must_use]
    pub fn of(attempts: u32, last: Option<Instant>, at: Instant) -> Self {
        let window = Duration::from_secs(WINDOW);
        let recent = last.is_some_and(|last| at.saturating_duration_since(last) < window);
        match (attempts, recent) {
            (0, false) => Self::Quiet,
            (0, true) => Self::First,
            _ => Self::Later,
        }
    }

    /// Percent of the budget that it may use up.
    fn share(self) -> u64 {
        match self {
            Self::Quiet => 100,
            Self::First => 75,
            Self::Later => 50,
        }
    }
}

/// What all workers count of a cluster. Each writes to a shard of its own.
#[derive(Debug)]
pub struct ClusterBudget {
    start: Instant,
    shards: Box<[Shard]>,
}

/// What one worker counts; alone in its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    commits: Counts,
    repetitions: Counts,
}

/// A number for each of the last seconds: the second above, the number below, 32 bits each.
#[derive(Debug, Default)]
struct Counts([AtomicU64; SLOTS]);

impl Counts {
    /// Adds one; only one thread may write.
    fn add(&self, second: u64) {
        let slot = &self.0[second as usize % SLOTS];
        let old = slot.load(Ordering::Relaxed);
        let new = match old >> 32 == second {
            true => old.saturating_add(1),
            false => second << 32 | 1,
        };
        slot.store(new, Ordering::Relaxed);
    }

    /// Those of the window that ends with this second.
    fn sum(&self, second: u64) -> u64 {
        let slots = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        slots
            .filter(|slot| (slot >> 32) + WINDOW > second)
            .map(|slot| slot & u64::from(u32::MAX))
            .sum()
    }
}

impl ClusterBudget {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize, start: Instant) -> Arc<Self> {
        let shards = std::iter::repeat_with(Shard::default).take(workers.max(1));
        Arc::new(Self {
            start,
            shards: shards.collect(),
        })
    }

    /// The hold of one worker on it, for a database entry with this percentage. Not for two threads.
    #[must_use]
    pub fn share(self: &Arc<Self>, worker: usize, percent: u32) -> Budget {
        Budget {
            shard: worker % self.shards.len(),
            cluster: Arc::clone(self),
            percent,
            looks: Cell::default(),
        }
    }

    fn second(&self, at: Instant) -> u64 {
        // From 1, so that an empty slot is of no second that counts for long.
        1 + at.saturating_duration_since(self.start).as_secs()
    }
}

/// Repetitions as a share of the commits of a cluster's writing transactions, over ten seconds.
///
/// Repeating under heavy contention makes more of it; past the share, clients get their 40001.
#[derive(Debug)]
pub struct Budget {
    cluster: Arc<ClusterBudget>,
    shard: usize,
    percent: u32,
    /// Second and conflicts looked into in it.
    looks: Cell<(u64, u32)>,
}

impl Budget {
    /// A budget of `percent` repetitions for 100 commits, shared with nobody.
    #[must_use]
    pub fn new(percent: u32) -> Self {
        ClusterBudget::new(1, Instant::now()).share(0, percent)
    }

    /// Counts a transaction that wrote and was committed.
    pub fn commit(&self, at: Instant) {
        self.shard().commits.add(self.cluster.second(at));
    }

    /// Takes leave for one repetition; false when its part of the budget is spent. Workers that ask
    /// at the same moment may together take one too many each.
    #[must_use]
    pub fn take(&self, at: Instant, rank: Rank) -> bool {
        let second = self.cluster.second(at);
        let sum = |of: fn(&Shard) -> &Counts| -> u64 {
            let shards = self.cluster.shards.iter();
            shards.map(|shard| of(shard).sum(second)).sum()
        };
        let allowed = sum(|shard| &shard.commits) * u64::from(self.percent) / 100 + FLOOR;
        let granted = sum(|shard| &shard.repetitions) < allowed * rank.share() / 100;
        if granted {
            self.shard().repetitions.add(second);
        }
        granted
    }

    /// Takes leave to look into a conflict for statistics; false when there were enough of late.
    #[must_use]
    pub fn take_look(&self, at: Instant) -> bool {
        let second = self.cluster.second(at);
        let (last, looks) = self.looks.get();
        let looks = if last == second { looks } else { 0 };
        self.looks.set((second, looks.saturating_add(1)));
        looks < LOOKS
    }

    fn shard(&self) -> &Shard {
        &self.cluster.shards[self.shard]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, at: Instant, rank: Rank) -> usize {
        (0..1000).filter(|_| budget.take(at, rank)).count()
    }

    #[test]
    fn repetitions_are_a_share_of_commits() {
        let start = Instant::now();
        let budget = ClusterBudget::new(1, start).share(0, 20);
        let seconds = |count| start + Duration::from_secs(count);
        assert_eq!(taken(&budget, start, Rank::Quiet), 40, "the floor");
        for _ in 0..500 {
            budget.commit(start);
        }
        assert_eq!(taken(&budget, start, Rank::Quiet), 100, "a fifth");
        assert_eq!(taken(&budget, seconds(9), Rank::Quiet), 0);
        assert_eq!(
            taken(&budget, seconds(10), Rank::Quiet),
            40,
            "ten seconds later nothing of that counts"
        );
        // A long sleep, at whose end the slots come round.
        assert_eq!(taken(&budget, seconds(10 + 16 * 1000), Rank::Quiet), 40);
    }

    #[test]
    fn commits_leave_the_window_second_by_second() {
        let start = Instant::now();
        let budget = ClusterBudget::new(1, start).share(0, 10);
        for second in 0..10 {
            for _ in 0..100 {
                budget.commit(start + Duration::from_secs(second));
            }
        }
        for (second, expected) in [(9, 140), (10, 0), (18, 0), (19, 40)] {
            let at = start + Duration::from_secs(second);
            assert_eq!(taken(&budget, at, Rank::Quiet), expected, "{second}");
        }
        let budget = ClusterBudget::new(1, start).share(0, 10);
        for second in 0..10 {
            for _ in 0..100 {
                budget.commit(start + Duration::from_secs(second));
            }
        }
        let at = start + Duration::from_secs(12);
        assert_eq!(taken(&budget, at, Rank::Quiet), 70 + 40);
    }

    #[test]
    fn workers_and_entries_share_one_budget() {
        let start = Instant::now();
        let cluster = ClusterBudget::new(2, start);
        let (one, other) = (cluster.share(0, 20), cluster.share(1, 20));
        let generous = cluster.share(1, 100);
        for _ in 0..100 {
            one.commit(start);
            other.commit(start);
        }
        let shards = cluster.shards.iter();
        let commits: Vec<u64> = shards.map(|shard| shard.commits.sum(1)).collect();
        assert_eq!(commits, [100, 100], "one writer each");
        assert_eq!(taken(&one, start, Rank::Quiet), 80);
        assert_eq!(taken(&other, start, Rank::Quiet), 0);
        assert_eq!(taken(&generous, start, Rank::Quiet), 160);
    }

    #[test]
    fn later_repetitions_leave_room_for_first_ones() {
        let start = Instant::now();
        let budget = ClusterBudget::new(1, start).share(0, 20);
        for _ in 0..800 {
            budget.commit(start);
        }
        assert_eq!(taken(&budget, start, Rank::Later), 100);
        assert_eq!(taken(&budget, start, Rank::First), 50);
        assert_eq!(taken(&budget, start, Rank::Quiet), 50);
        assert_eq!(taken(&budget, start, Rank::Quiet), 0);
    }

    /// Noisy sessions whose every transaction conflicts all the time, and one that seldom does.
    #[test]
    fn a_quiet_session_gets_its_first_repetition_beside_noisy_ones() {
        let start = Instant::now();
        let budget = ClusterBudget::new(1, start).share(0, 20);
        let mut noisy = [None; 8];
        let mut refused = 0;
        for step in 0u32..60_000 {
            let at = start + Duration::from_millis(u64::from(step));
            let last = &mut noisy[step as usize % 8];
            if budget.take(at, Rank::of(step / 8 % 4, *last, at)) {
                *last = Some(at);
            } else {
                refused += 1;
            }
            if step % 5 == 0 {
                budget.commit(at);
            }
            // Every 11 s: it had none within the window.
            if step % 11_000 == 10_999 {
                assert!(budget.take(at, Rank::of(0, None, at)), "{step}");
            }
        }
        assert!(refused > 50_000, "{refused}");
    }

    #[test]
    fn a_storm_of_conflicts_is_sampled() {
        let start = Instant::now();
        let budget = ClusterBudget::new(1, start).share(0, 20);
        let looks = |at| (0..1000).filter(|_| budget.take_look(at)).count();
        assert_eq!(looks(start), 200);
        assert_eq!(looks(start + Duration::from_millis(999)), 0);
        assert_eq!(looks(start + Duration::from_secs(1)), 200);
    }

    #[test]
    fn ranks_depend_on_attempt_and_session() {
        let at = Instant::now() + Duration::from_secs(60);
        let ago = |seconds| Some(at - Duration::from_secs(seconds));
        for (attempts, last, expected) in [
            (0, None, Rank::Quiet),
            (0, ago(10), Rank::Quiet),
            (0, ago(9), Rank::First),
            (1, ago(0), Rank::Later),
            (2, None, Rank::Later),
        ] {
            assert_eq!(
                Rank::of(attempts, last, at),
                expected,
                "{attempts} {last:?}"
            );
        }
    }
}
