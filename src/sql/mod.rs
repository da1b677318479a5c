//! What a statement is, as far as it can be told without PostgreSQL's grammar.

pub mod classify;
mod dialect;
pub mod fingerprint;
pub mod scan;
pub mod statement;
pub mod target;

pub use classify::{Class, Effect, PinReason, classify, reads_otherwise};
