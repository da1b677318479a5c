//! What the process says about itself: log lines and numbers.

pub mod log;
pub mod metrics;
