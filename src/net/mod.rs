//! Sockets and TLS streams that can move between the runtimes of two workers.

mod buffer;
mod stream;

pub use buffer::{LARGE, ReadBuffer, SMALL, WriteBuffer};
pub use stream::{Peer, Socket, Stream};
