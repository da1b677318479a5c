//! Tenant isolation against PostgreSQL's own row-level security.
//!
//! Two databases hold the same rows. In `bare` the rewritten texts run, as a role that owns
//! everything; in `guarded` the client's own texts run, as a role under one constant policy for each
//! table. Rows, command tags and the contents of all tables afterwards must be equal.

#[path = "../it/client.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod client;
#[path = "../it/dsql.rs"]
mod dsql;
#[path = "../emulated/mod.rs"]
mod emulated;
#[path = "../it/message.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod message;
#[path = "../it/ports.rs"]
mod ports;
#[path = "../it/postgres.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod postgres;

#[path = "../corpus/recording.rs"]
#[allow(dead_code, reason = "only texts are used of it")]
mod recording;

#[path = "../it/proxy.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod proxy;
#[path = "../it/stopwatch.rs"]
mod stopwatch;

mod answer;
mod barrier;
mod cases;
mod copy;
mod cost;
mod generator;
mod ground;
mod handover;
mod hidden;
mod layout;
mod logged;
mod login;
mod mutation;
mod parameter;
mod proofs;
mod random;
mod snapshot;
mod wire;
mod world;
