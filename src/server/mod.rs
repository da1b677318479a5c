//! Accepting clients, dealing them to workers, ending in good order.

mod cancels;
mod listener;
mod proxy;
mod worker;

pub use proxy::{Proxy, StartError};
