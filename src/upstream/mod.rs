//! Connections to upstream servers: where they are, how to log in, how to cancel.
//!
//! A [`Target`] is built once for a cluster and an upstream database; [`connect`] gives a
//! [`Backend`] that is logged in and idle, or a [`ConnectError`] that says what to do next.

mod cancel;
mod conn;
mod connect;
mod credentials;
mod dial;
mod error;
mod login;
mod owed;
mod query;
mod settings;
mod target;
mod tls;
pub mod token;

#[cfg(test)]
mod tests;

pub use cancel::cancel;
pub use conn::{Conn, Owner, PreparedSet, STATEMENT_PREFIX, next_statement_id, statement_name};
pub use connect::{Backend, connect};
pub use error::{Backoff, ConnectError, Refusal, Stage};
pub use owed::{Expect, Owed, OwedQueue, Settled};
pub use query::{QueryError, query};
pub use settings::{Settings, SharedSettings, difference, same};
pub use target::{Target, TargetError};
