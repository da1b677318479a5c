//! The configuration file: its shape, how it is read, what makes it wrong.
//!
//! [`Config::load`] reads and checks a file and reports everything that is wrong with it at once.

mod check;
mod document;
pub mod endpoint;
pub mod jwks;
mod load;
pub mod pem;
pub mod reload;
pub mod schema;
#[cfg(test)]
mod tests;
pub mod units;
pub mod verifier;

pub use load::Problem;
pub use schema::*;
