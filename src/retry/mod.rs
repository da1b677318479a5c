//! Transactions that DSQL aborted with 40001 are run again, where the client cannot tell.
//!
//! [`Replay`] stands between a session and its upstream connection. It notes what was sent since the
//! transaction began, looks at the answers before the session does, and keeps those of a request that
//! may still fail at its commit. After a 40001 it sends the same bytes again on the same connection,
//! requires that every answer the client has already seen comes out the same, and only then lets the
//! last request through. It does no IO of its own: bytes go in, [`Action`]s come out.

mod budget;
mod digest;
mod insight;
mod journal;
mod replay;

pub use budget::{Budget, ClusterBudget, Rank};
pub use insight::{Effort, Evidence, Parameter, Ran, Source};
pub use journal::{Rerun, Sent};
pub use replay::{Action, Limits, Mark, Outcome, Replay, is_conflict};
