//! The local stand-in for an Aurora DSQL cluster.
pub mod verify;
