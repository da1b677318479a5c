//! Tests through the wire: the real binary, a real PostgreSQL or a scripted one, and clients that
//! speak bytes.

mod client;
mod differential;
mod message;
mod ports;
mod postgres;
mod proxy;
