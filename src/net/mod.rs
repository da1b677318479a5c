//! Sockets and TLS streams that can move between the runtimes of two workers, and whom HTTP
//! endpoints listen to.

mod buffer;
pub mod origin;
mod stream;

pub use buffer::{LARGE, ReadBuffer, SMALL, WriteBuffer};
pub use stream::{Peer, Socket, Stream};
