//! The unix socket to the local PostgreSQL.
//!
//! The kernel reports such a socket as writable each time its peer has read something. Watched for
//! that too, a session would be woken twice for each answer, the first time for nothing, and on the
//! processor that PostgreSQL is about to use. So it is watched for reading only; a second handle
//! waits when a write does not fit.
//!
//! Most answers come sooner than a thread that sleeps is awake again. So a session that alone waits
//! for one looks out for it for [`LOOKOUT`] before it sleeps.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustix::io::Errno;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};

/// Room for a read, in bytes: below `ROOM` it is made `CHUNK`.
const ROOM: usize = 1024;
const CHUNK: usize = 16 * 1024;

/// How long an answer is looked out for: a simple statement's takes less.
const LOOKOUT: Duration = Duration::from_micros(60);

/// Pipes of this process that wait for an answer.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// PostgreSQL has a processor of its own meanwhile.
static SPARE: LazyLock<bool> =
    LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1));

/// A connected unix socket.
#[derive(Debug)]
pub struct Pipe {
    // Reading a stream socket is like reading a pipe.
    socket: Receiver,
    waits: Option<Waiting>,
}

/// Counted while it lives.
#[derive(Debug)]
struct Waiting;

impl Waiting {
    fn begin() -> Self {
        WAITING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pipe {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// What the system says.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path).await?.into_std()?;
        let socket = Receiver::from_owned_fd_unchecked(OwnedFd::from(stream))?;
        Ok(Self {
            socket,
            waits: None,
        })
    }

    /// Reads what has come, and appends it to `input`; 0 at the end. Can be dropped and called again
    /// without losing bytes.
    ///
    /// # Errors
    /// What the system says.
    pub async fn read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        if input.capacity() - input.len() < ROOM {
            input.reserve(CHUNK);
        }
        if self.waits.is_some()
            && let Some(count) = self.look_out(input)
        {
            self.waits = None;
            return Ok(count);
        }
        let read = self.socket.read_buf(input).await;
        self.waits = None;
        read
    }

    /// Reads what comes soon. An end and errors are left to the next read.
    fn look_out(&self, input: &mut BytesMut) -> Option<usize> {
        if !*SPARE {
            return None;
        }
        let mut bytes = [0; ROOM];
        let begun = Instant::now();
        while WAITING.load(Ordering::Relaxed) == 1 {
            match rustix::io::read(&self.socket, &mut bytes[..]) {
                Ok(0) => return None,
                Ok(count) => {
                    input.extend_from_slice(&bytes[..count]);
                    return Some(count);
                }
                Err(Errno::AGAIN) if begun.elapsed() < LOOKOUT => std::hint::spin_loop(),
                Err(_) => return None,
            }
        }
        None
    }

    /// Writes as much as fits at once.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waits.get_or_insert_with(Waiting::begin);
        match rustix::io::write(&self.socket, bytes) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            written => Ok(written?),
        }
    }

    /// A second handle, to wait on until more can be written.
    ///
    /// # Errors
    /// What the system says.
    pub fn room(&self) -> io::Result<Room> {
        let socket = self.socket.as_fd().try_clone_to_owned()?;
        let socket = Sender::from_owned_fd_unchecked(socket)?;
        Ok(Room { socket })
    }
}

/// Waits for room in the socket's buffer.
#[derive(Debug)]
pub struct Room {
    socket: Sender,
}

impl Room {
    /// Writes as much as fits, once something fits. Can be dropped and called again.
    ///
    /// # Errors
    /// What the system says.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

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
        let mut room = near.room().unwrap();
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
