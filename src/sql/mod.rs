//! What a statement is, as far as it can be told without PostgreSQL's grammar.

pub mod classify;
pub mod scan;

pub use classify::{Class, Effect, PinReason, classify, reads_otherwise};
