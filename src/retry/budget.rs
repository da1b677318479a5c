//! How many repetitions a pool may afford.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Length of the window that commits and repetitions are counted in.
const WINDOW: Duration = Duration::from_secs(10);

/// Repetitions that are always allowed in a window, so that a quiet pool repeats at all.
const FLOOR: u32 = 20;

/// Repetitions as a share of commits, over a sliding window of two halves.
///
/// Repeating under heavy contention makes more of it; past the share, clients get their 40001.
#[derive(Debug)]
pub struct Budget {
    percent: u32,
    start: Cell<Instant>,
    /// Commits and repetitions of the window under way, and of the one before.
    now: Cell<(u32, u32)>,
    before: Cell<(u32, u32)>,
}

impl Budget {
    /// A budget of `percent` repetitions for 100 commits.
    #[must_use]
    pub fn new(percent: u32) -> Self {
        Self {
            percent,
            start: Cell::new(Instant::now()),
            now: Cell::default(),
            before: Cell::default(),
        }
    }

    /// Counts a transaction that was committed.
    pub fn commit(&self, at: Instant) {
        self.turn(at);
        let (commits, repeats) = self.now.get();
        self.now.set((commits.saturating_add(1), repeats));
    }

    /// Takes leave for one repetition; false when the budget is spent.
    #[must_use]
    pub fn take(&self, at: Instant) -> bool {
        self.turn(at);
        let (commits, repeats) = self.now.get();
        let (old_commits, old_repeats) = self.before.get();
        let commits_seen = u64::from(commits) + u64::from(old_commits);
        let allowed = commits_seen * u64::from(self.percent) / 100 + u64::from(FLOOR);
        let granted = u64::from(repeats) + u64::from(old_repeats) < allowed;
        if granted {
            self.now.set((commits, repeats.saturating_add(1)));
        }
        granted
    }

    fn turn(&self, at: Instant) {
        let passed = at.saturating_duration_since(self.start.get());
        if passed < WINDOW / 2 {
            return;
        }
        let kept = if passed < WINDOW {
            self.now.get()
        } else {
            (0, 0)
        };
        self.before.set(kept);
        self.now.set((0, 0));
        self.start.set(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_a_share_of_commits() {
        let start = Instant::now();
        let budget = Budget::new(20);
        let taken = |at| (0..1000).filter(|_| budget.take(at)).count();
        assert_eq!(taken(start), 20, "the floor");
        for _ in 0..500 {
            budget.commit(start);
        }
        assert_eq!(taken(start), 100, "a fifth of the commits");
        // Half a window later both halves count; a whole window later nothing does.
        assert_eq!(taken(start + WINDOW / 2), 0);
        assert_eq!(taken(start + WINDOW * 2), 20);
    }
}
