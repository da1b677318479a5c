//! Upstream connections shared by clients.
//!
//! Every worker owns a slice of each pool's slots; nothing is locked on the way of a statement.
//! A worker that starves asks the others, and a connection that comes back where nobody waits goes
//! to the worker whose client waits longest. `free + connecting + idle + leased` over all workers,
//! plus slots in transit, is the limit at every moment ([`Census`]).

mod ask;
mod bucket;
mod lease;
mod scrub;
mod shared;
mod slots;
mod upkeep;
mod waiters;
mod waits;

pub use ask::{AskError, Asked};
pub use lease::Lease;
pub use shared::{Census, PoolShared, Transfer};
pub use slots::Pool;
pub use waiters::Ticket;
pub use waits::Waits;
