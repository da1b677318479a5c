//! What is counted and logged. A sink: nothing here decides anything.

pub mod conflicts;
pub mod log;
pub mod metrics;
pub mod tally;
