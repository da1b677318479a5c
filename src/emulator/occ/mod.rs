//! Optimistic concurrency as Aurora DSQL has it, on a PostgreSQL that locks.
//!
//! Nobody waits and the first to commit wins. Hidden row triggers (`capture.sql`) report what each
//! statement did; a [`Transaction`] gathers that into a [`Footprint`], and the [`Ledger`] compares
//! footprints at COMMIT by the conflict matrix. A transaction works on PostgreSQL's own tables as
//! long as PostgreSQL lets it, and is *detached* when it does not: its effects stay in memory, its
//! locks go, and it goes on with copies of the tables as its snapshot has them.

mod effect;
mod ledger;
mod locking;
mod names;
mod transaction;

pub use effect::{Effect, EffectError, Footprint, Key, Modes, Operation, Place};
pub use ledger::{Holder, Ledger, Snapshot, evict};
pub use locking::{LockQuery, may_lock, strip};
pub use transaction::{
    Backend, Commit, Failure, INSTRUMENT, SAVEPOINT, SchemaView, Transaction, Verdict,
};

/// What the ledger needs inside PostgreSQL; run by the superuser once schema `pg_dsql` is there.
pub const CAPTURE_SQL: &str = include_str!("capture.sql");
/// SQLSTATE of the notices that report effects; they are for the emulator, not for the client.
pub const EFFECT: &str = "DQ001";
/// Message of a conflict, SQLSTATE 40001.
pub const CONFLICT: &str = "change conflicts with another transaction (OC000)";
/// Message after another session changed the schema, SQLSTATE 40001.
pub const SCHEMA_CHANGED: &str = "schema has been updated by another transaction (OC001)";
