//! How long a turn takes that is too short to be timed alone.

use std::time::{Duration, Instant};

const BATCHES: usize = 41;

/// The least time of one turn over all batches: the machine does other things as well.
pub fn least(turns: u32, mut turn: impl FnMut()) -> Duration {
    turn();
    let batch = |_| {
        let begin = Instant::now();
        for _ in 0..turns {
            turn();
        }
        begin.elapsed() / turns
    };
    (0..BATCHES).map(batch).min().expect("batches")
}

/// Whether a target is met, as tables say it.
pub fn verdict(took: Duration, target: Duration) -> &'static str {
    if took <= target { "met" } else { "**MISS**" }
}
