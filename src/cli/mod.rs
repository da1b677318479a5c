//! The commands of the `dsql-proxy` program.

pub mod dev;
pub mod emulate;
