//! Sockets and TLS streams that can move between the runtimes of two workers.

mod stream;

pub use stream::{Peer, Socket, Stream};
