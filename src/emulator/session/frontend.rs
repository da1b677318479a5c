//! The client's end: frames in, answers out.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::refusal::{Ended, client_gone};
use crate::wire::frame::{self, FrameError, HEADER};

/// Longest message taken from a client, in bytes; above it the connection is closed (facts,
/// section 2: observed without a word).
pub const MAX_MESSAGE: usize = 10 * 1024 * 1024;
/// Room for a read, in bytes: below `ROOM` it is made `CHUNK`.
const ROOM: usize = 1024;
const CHUNK: usize = 8 * 1024;
/// Output is written once there is this much of it.
const ENOUGH: usize = 64 * 1024;
/// Answers are held back up to this size; behind it they flow.
const HELD_MAX: usize = 16 * 1024 * 1024;

/// A message of the client.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Type byte.
    pub tag: u8,
    /// What follows the length.
    pub body: Bytes,
}

/// The client's connection with its buffers.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    input: BytesMut,
    out: Vec<u8>,
    /// From here on the output waits until it is known how its statement ends.
    held: Option<usize>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Takes over a stream behind its login.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            out: Vec::new(),
            held: None,
        }
    }

    /// The next message. Can be dropped and called again without losing bytes.
    ///
    /// # Errors
    /// The end of the conversation: the client left, or its bytes are not the protocol.
    pub async fn read(&mut self) -> Result<Frame, Ended> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            if self.input.capacity() - self.input.len() < ROOM {
                self.input.reserve(CHUNK);
            }
            let count = self.stream.read_buf(&mut self.input).await;
            if count.map_err(client_gone)? == 0 {
                return Err(Ended::Left);
            }
        }
    }

    /// Whether a whole message has been received already.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub fn has_frame(&self) -> Result<bool, Ended> {
        Ok(self
            .header()?
            .is_some_and(|total| self.input.len() >= total))
    }

    /// Types of the whole messages that have been received and not read yet.
    pub fn waiting(&self) -> impl Iterator<Item = u8> {
        let mut rest = &self.input[..];
        std::iter::from_fn(move || {
            let header = frame::frontend_header(rest).ok()??;
            rest = rest.get(header.total..)?;
            Some(header.tag)
        })
    }

    fn header(&self) -> Result<Option<usize>, Ended> {
        // Above the limit first: DSQL looks at no more than the length.
        if let [_, a, b, c, d, ..] = self.input[..] {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if length > MAX_MESSAGE && matches!(self.input[0], b'Q' | b'P' | b'B' | b'F' | b'd') {
                return Err(Ended::Cut);
            }
        }
        match frame::frontend_header(&self.input) {
            Ok(header) => Ok(header.map(|header| header.total)),
            Err(error @ FrameError::UnknownType(_)) => Err(Ended::violation(error.to_string())),
            Err(FrameError::Length { .. }) => Err(Ended::violation("invalid message length")),
        }
    }

    fn take(&mut self) -> Result<Option<Frame>, Ended> {
        let Some(total) = self.header()? else {
            return Ok(None);
        };
        if self.input.len() < total {
            self.input.reserve(total - self.input.len());
            return Ok(None);
        }
        let mut body = self.input.split_to(total).freeze();
        let tag = body[0];
        Ok(Some(Frame {
            tag,
            body: body.split_off(HEADER),
        }))
    }

    /// Where answers are appended.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Holds back what is appended from now on.
    pub fn hold(&mut self) {
        self.held = Some(self.out.len());
    }

    /// What was held back may go.
    pub fn release(&mut self) {
        self.held = None;
    }

    /// Whether what was held back can still be taken back.
    pub fn can_retract(&self) -> bool {
        self.held.is_some()
    }

    /// Takes back what is still held.
    pub fn retract(&mut self) {
        if let Some(mark) = self.held.take() {
            self.out.truncate(mark);
        }
    }

    /// Writes when much has gathered. Held answers stay, unless they are too large to be kept.
    ///
    /// # Errors
    /// [`Ended::Left`].
    pub async fn ease(&mut self) -> Result<(), Ended> {
        if self
            .held
            .is_some_and(|mark| self.out.len() - mark > HELD_MAX)
        {
            self.release();
        }
        if self.held.unwrap_or(self.out.len()) > ENOUGH {
            self.write().await?;
        }
        Ok(())
    }

    /// Writes everything that is not held back.
    ///
    /// # Errors
    /// [`Ended::Left`].
    pub async fn flush(&mut self) -> Result<(), Ended> {
        self.write().await?;
        self.stream.flush().await.map_err(client_gone)
    }

    async fn write(&mut self) -> Result<(), Ended> {
        let end = self.held.unwrap_or(self.out.len());
        if end > 0 {
            let written = self.stream.write_all(&self.out[..end]).await;
            written.map_err(client_gone)?;
            self.out.drain(..end);
            self.held = self.held.map(|_| 0);
        }
        if self.out.is_empty() && self.out.capacity() > 4 * ENOUGH {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Says goodbye in the words of TLS.
    pub async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_whole_and_impossible_ones_end_it() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut client = Client::new(near);
        far.write_all(b"Q\0\0\0\x06x\0S\0\0\0\x04X\0\0")
            .await
            .unwrap();
        let frame = client.read().await.unwrap();
        assert_eq!((frame.tag, &frame.body[..]), (b'Q', &b"x\0"[..]));
        assert!(client.has_frame().unwrap());
        assert_eq!(client.read().await.unwrap().tag, b'S');
        assert!(!client.has_frame().unwrap());
        far.write_all(b"\0\x04").await.unwrap();
        assert_eq!(client.read().await.unwrap().tag, b'X');
        // 10 MiB is the longest; one more is cut, also when only the length has come.
        far.write_all(b"Q\0\xa0\0\x01").await.unwrap();
        assert_eq!(client.read().await.unwrap_err(), Ended::Cut);
        client.input.clear();
        for bytes in [&b"S\0\0\0\x03"[..], b"S\x7f\xff\xff\xff", b"\xff\0\0\0\x04"] {
            far.write_all(bytes).await.unwrap();
            assert!(matches!(client.read().await, Err(Ended::Fatal(_))));
            client.input.clear();
        }
        drop(far);
        assert_eq!(client.read().await.unwrap_err(), Ended::Left);
    }

    #[tokio::test]
    async fn held_answers_wait_or_go_back() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut client = Client::new(near);
        client.out().extend_from_slice(b"one");
        client.hold();
        client.out().extend_from_slice(b"two");
        client.flush().await.unwrap();
        let mut got = [0; 3];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"one");
        client.retract();
        client.hold();
        client.out().extend_from_slice(b"six");
        client.release();
        client.flush().await.unwrap();
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"six");
    }
}
