//! PostgreSQL frontend/backend protocol 3.0 and 3.2, without IO.
//!
//! Everything here works on byte slices whose bounds the caller has already
//! checked against the frame's declared length, so that no message can reach
//! into its neighbour. Source: PostgreSQL manual, "Frontend/Backend Protocol".

pub mod backend;
pub mod frame;
pub mod frontend;
pub mod reply;
pub mod sqlstate;
pub mod startup;
