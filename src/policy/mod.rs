//! What becomes of a statement: pure decisions, without IO and without a clock.

pub mod settings;
