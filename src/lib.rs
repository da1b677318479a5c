//! dsql-proxy: an ordinary PostgreSQL connection string in front of Amazon Aurora DSQL.
//!
//! A statement travels `server → auth → session → sql → policy → retry → pool → upstream`;
//! see `docs/architecture.md`.
#![forbid(unsafe_code)]

pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod emulator;
pub mod net;
pub mod policy;
pub mod pool;
pub mod retry;
pub mod server;
pub mod session;
pub mod sql;
pub mod telemetry;
#[doc(hidden)]
pub mod torture;
pub mod upstream;
pub mod wire;
