//! What a statement is: by its keywords alone ([`mod@classify`]), or by PostgreSQL's own grammar
//! ([`statement`], [`tree`]).

mod block;
pub mod classify;
mod dialect;
pub mod fingerprint;
pub mod order;
mod reads;
pub mod rerun;
pub mod scan;
pub mod script;
pub mod statement;
pub mod target;
pub mod tree;

pub use classify::{
    Class, Effect, IDENTIFIER_LISTS, PinReason, classify, identifier_list, reads_otherwise,
};
pub use scan::redact;
pub use statement::{Kind, Statement, Tree};
