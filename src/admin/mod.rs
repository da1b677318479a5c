//! What operators use: the HTTP endpoint.

pub mod http;
mod page;
