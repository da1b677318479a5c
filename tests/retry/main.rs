//! Proofs that transactions which are run again cannot be told from those that are not: the real
//! binary in front of an emulated Aurora DSQL cluster that conflicts for real and fails on order.
//!
//! | variable | says | default |
//! |---|---|---|
//! | `DSQLPROXY_MODEL_TRANSACTIONS` | transactions of the model test | 2,000 |
//! | `DSQLPROXY_LEDGER_SECONDS` | how long the ledger is disturbed | 60 |
//! | `DSQLPROXY_PAIRS` | pairs of each kind | 100 |
//! | `DSQLPROXY_SEED` | where random choices begin | 1 |

mod checker;
mod ledger;
mod model;
mod pairs;
mod relay;
mod requests;
mod table;

// Shared with tests/it, which uses the rest of them.
#[allow(dead_code)]
#[path = "../it/client.rs"]
mod client;
#[path = "../it/dsql.rs"]
mod dsql;
#[path = "../emulated/mod.rs"]
mod emulated;
#[allow(dead_code)]
#[path = "../it/message.rs"]
mod message;
#[path = "../it/ports.rs"]
mod ports;
#[allow(dead_code)]
#[path = "../it/postgres.rs"]
mod postgres;
#[allow(dead_code)]
#[path = "../it/proxy.rs"]
mod proxy;

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect(name))
}
