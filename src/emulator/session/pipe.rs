//! The unix socket to the local PostgreSQL.
//!
//! The kernel reports such a socket as writable each time its peer has read something. Watched for
//! that too, a session would be woken twice for each answer, the first time for nothing, and on the
//! processor that PostgreSQL is about to use. So it is watched for reading only; a second handle
//! waits when a write does not fit.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes taken in one read.
const CHUNK: usize = 32 * 1024;

/// A connected unix socket.
#[derive(Debug)]
pub struct Pipe {
    socket: AsyncFd<UnixStream>,
    chunk: Box<[u8]>,
}

impl Pipe {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// What the system says.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        let stream = tokio::net::UnixStream::connect(path).await?.into_std()?;
        Ok(Self {
            socket: AsyncFd::register_with_interest(stream, Interest::READABLE)?,
            chunk: vec![0; CHUNK].into(),
        })
    }

    /// Reads what has come, and appends it to `input`; 0 at the end. Can be dropped and called again
    /// without losing bytes.
    ///
    /// # Errors
    /// What the system says.
    pub async fn read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        loop {
            let mut ready = self.socket.readable().await?;
            let chunk = &mut self.chunk;
            let Ok(read) = ready.try_io(|socket| socket.get_ref().read(chunk)) else {
                continue;
            };
            let count = read?;
            if count < CHUNK {
                // Nothing more is there: it need not be asked for.
                ready.clear_ready();
            }
            input.extend_from_slice(&self.chunk[..count]);
            return Ok(count);
        }
    }

    /// Writes as much as fits at once.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.socket.get_ref().write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// A second handle, to wait on until more can be written.
    ///
    /// # Errors
    /// What the system says.
    pub fn room(&self) -> io::Result<Room> {
        let socket = self.socket.get_ref().try_clone()?;
        let socket = AsyncFd::register_with_interest(socket, Interest::WRITABLE)?;
        Ok(Room { socket })
    }
}

/// Waits for room in the socket's buffer.
#[derive(Debug)]
pub struct Room {
    socket: AsyncFd<UnixStream>,
}

impl Room {
    /// Writes as much as fits, once something fits. Can be dropped and called again.
    ///
    /// # Errors
    /// What the system says.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.socket.writable().await?;
            if let Ok(written) = ready.try_io(|socket| socket.get_ref().write(bytes)) {
                return written;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_fits_goes_out_as_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut near = Pipe::connect(&path).await.unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut sent = near.write_now(&bytes).unwrap();
        assert!(sent < bytes.len());
        let length = bytes.len();
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; length];
            far.read_exact(&mut got).unwrap();
            far.write_all(b"done").unwrap();
            got
        });
        let room = near.room().unwrap();
        while sent < bytes.len() {
            sent += room.write(&bytes[sent..]).await.unwrap();
        }
        assert_eq!(reader.join().unwrap(), bytes);
        let mut input = BytesMut::new();
        while input.len() < 4 {
            near.read(&mut input).await.unwrap();
        }
        assert_eq!(&input[..], b"done");
        assert_eq!(near.read(&mut input).await.unwrap(), 0);
    }
}
