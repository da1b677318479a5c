//! The configuration file: its shape, how it is read, what makes it wrong.

pub mod schema;
pub mod units;

pub use schema::*;
