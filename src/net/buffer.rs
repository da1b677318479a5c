//! Buffers that a session holds only while bytes are in flight.
//!
//! Each worker thread keeps a short free list, so that taking one costs no allocation and an idle
//! session costs no buffer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;

/// Size of a buffer in bytes, as first borrowed.
pub const SMALL: usize = 16 * 1024;
/// Size of a buffer once a stream has shown that it fills a small one.
pub const LARGE: usize = 128 * 1024;
/// Free buffers of each size kept by a worker.
const KEPT_SMALL: usize = 256;
const KEPT_LARGE: usize = 16;

#[derive(Default)]
struct FreeList {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    output: Vec<Vec<u8>>,
}

thread_local! {
    static FREE: RefCell<FreeList> = RefCell::new(FreeList::default());
}

fn take(size: usize) -> Vec<u8> {
    let kept = FREE.with_borrow_mut(|free| match size {
        SMALL => free.small.pop(),
        LARGE => free.large.pop(),
        _ => None,
    });
    kept.unwrap_or_else(|| vec![0; size])
}

fn give(buffer: Vec<u8>) {
    FREE.with_borrow_mut(|free| match buffer.len() {
        SMALL if free.small.len() < KEPT_SMALL => free.small.push(buffer),
        LARGE if free.large.len() < KEPT_LARGE => free.large.push(buffer),
        _ => {}
    });
}

/// Received bytes with three cursors: `sent ≤ at ≤ end`.
///
/// Bytes before `sent` are gone; `sent..at` is read and waits to be passed on from this very
/// memory; `at..limit` is received and not yet looked at; `limit..end` is held back, which happens
/// only behind a gate.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    data: Vec<u8>,
    sent: usize,
    at: usize,
    limit: usize,
    end: usize,
    /// What is received is held back until it is released.
    gated: bool,
    /// A read has said that nothing more is there, so readiness of the socket can be waited for
    /// without a buffer. False at first: TLS may hold bytes that no socket event will announce.
    drained: bool,
    filled: bool,
}

impl ReadBuffer {
    /// Bytes received and not yet looked at.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.data[self.at..self.limit]
    }

    /// Sets up or takes away the gate; without it nothing is held back.
    pub fn set_gate(&mut self, gated: bool) {
        self.gated = gated;
        if !gated {
            self.limit = self.end;
        }
    }

    /// Bytes received and held back.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        &self.data[self.limit..self.end]
    }

    /// Lets the first `count` bytes that are held back be looked at.
    pub fn release_held(&mut self, count: usize) {
        self.limit += count;
    }

    /// Drops the first `count` bytes that are held back.
    pub fn drop_held(&mut self, count: usize) {
        self.data
            .copy_within(self.limit + count..self.end, self.limit);
        self.end -= count;
    }

    /// Puts `bytes` ahead of what is held back, as if they had been received and released.
    pub fn inject(&mut self, bytes: &[u8]) {
        self.grow(bytes.len());
        let behind = self.limit + bytes.len();
        self.data.copy_within(self.limit..self.end, behind);
        self.data[self.limit..behind].copy_from_slice(bytes);
        self.end += bytes.len();
        self.limit = behind;
    }

    /// Puts `bytes` ahead of what is not looked at yet. Nothing may be passing.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.grow(bytes.len());
        let behind = self.at + bytes.len();
        self.data.copy_within(self.at..self.end, behind);
        self.data[self.at..behind].copy_from_slice(bytes);
        self.limit += bytes.len();
        self.end += bytes.len();
    }

    /// Makes room for `count` more bytes.
    pub fn grow(&mut self, count: usize) {
        if self.data.is_empty() {
            self.data = take(SMALL);
        }
        if self.end + count > self.data.len() {
            self.compact();
        }
        if self.end + count > self.data.len() {
            let size = (self.end + count).next_power_of_two();
            self.data.resize(size, 0);
        }
    }

    /// Bytes looked at that wait to be passed on.
    #[must_use]
    pub fn passing(&self) -> &[u8] {
        &self.data[self.sent..self.at]
    }

    /// Leaves `count` unread bytes to be passed on.
    pub fn pass(&mut self, count: usize) {
        self.at += count;
    }

    /// Marks `count` passing bytes as passed on.
    pub fn advance(&mut self, count: usize) {
        self.sent += count;
    }

    /// Drops `count` unread bytes; what was passing before must have been taken away.
    pub fn drop_unread(&mut self, count: usize) {
        debug_assert_eq!(self.sent, self.at, "passing bytes would be dropped too");
        self.at += count;
        self.sent = self.at;
    }

    /// There is no room for a read before something is passed on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.data.is_empty() && self.end == self.data.len()
    }

    /// Nothing received is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == self.end
    }

    /// Makes room for a frame of `total` bytes that starts at the first unread byte.
    pub fn reserve(&mut self, total: usize) {
        if self.at + total > self.data.len() {
            self.compact();
        }
        if self.at + total > self.data.len() {
            let size = (self.at + total).next_power_of_two();
            self.data.resize(size, 0);
        }
    }

    fn compact(&mut self) {
        if self.sent > 0 {
            self.data.copy_within(self.sent..self.end, 0);
            self.at -= self.sent;
            self.limit -= self.sent;
            self.end -= self.sent;
            self.sent = 0;
        }
    }

    /// Reads once into the free room. `Ready(Ok(0))` is end of file; `Pending` also when the
    /// buffer is full, which the reader resolves by consuming.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_fill(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.data.is_empty() {
            if self.drained {
                ready!(stream.socket().poll_readable(cx))?;
            }
            self.data = take(if self.filled { LARGE } else { SMALL });
        } else if self.is_empty() {
            (self.sent, self.at, self.limit, self.end) = (0, 0, 0, 0);
            if self.filled && self.data.len() == SMALL {
                give(std::mem::replace(&mut self.data, take(LARGE)));
            }
        } else if self.end == self.data.len() {
            self.compact();
            if self.filled && self.data.len() == SMALL {
                self.enlarge();
            }
        }
        if self.end == self.data.len() {
            return Poll::Pending;
        }
        let mut room = ReadBuf::new(&mut self.data[self.end..]);
        match Pin::new(stream).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) => {
                let count = room.filled().len();
                self.filled = room.remaining() == 0;
                self.drained = false;
                self.end += count;
                if !self.gated {
                    self.limit = self.end;
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.drained = true;
                self.release();
                Poll::Pending
            }
        }
    }

    /// Moves on to a large buffer with what is left in the small one.
    fn enlarge(&mut self) {
        let mut large = take(LARGE);
        large[..self.end].copy_from_slice(&self.data[..self.end]);
        give(std::mem::replace(&mut self.data, large));
    }

    /// Gives the memory back when nothing is in it.
    pub fn release(&mut self) {
        if self.is_empty() {
            give(std::mem::take(&mut self.data));
            (self.sent, self.at, self.limit, self.end) = (0, 0, 0, 0);
        }
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.data));
    }
}

/// Bytes on their way out.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    data: Vec<u8>,
    sent: usize,
    unflushed: bool,
}

impl WriteBuffer {
    /// Where further bytes are appended.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        if self.data.capacity() == 0 {
            let kept = FREE.with_borrow_mut(|free| free.output.pop());
            self.data = kept.unwrap_or_else(|| Vec::with_capacity(SMALL));
        }
        // A buffer that is filled as fast as it drains is never empty; what was written must not
        // stay in it for that. What is moved is never more than what went out since.
        if self.sent >= SMALL && self.sent >= self.len() {
            self.data.drain(..self.sent);
            self.sent = 0;
        }
        &mut self.data
    }

    /// Bytes not yet written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len() - self.sent
    }

    /// Nothing waits to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes until empty or the stream takes no more.
    ///
    /// # Errors
    /// Those of the stream; a stream that takes nothing is `WriteZero`.
    pub fn poll_drain(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let count = ready!(poll_write(stream, cx, &self.data[self.sent..]))?;
            self.sent += count;
            self.unflushed = stream.is_tls();
        }
        self.release();
        self.poll_flush(stream, cx)
    }

    /// Writes bytes that live elsewhere; this buffer must be empty.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_pass(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty(), "bytes would overtake others");
        self.unflushed = stream.is_tls();
        poll_write(stream, cx, bytes)
    }

    /// Pushes out what TLS holds back.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_flush(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn release(&mut self) {
        if self.data.capacity() == 0 {
            return;
        }
        let mut data = std::mem::take(&mut self.data);
        self.sent = 0;
        if data.capacity() <= LARGE {
            data.clear();
            FREE.with_borrow_mut(|free| {
                if free.output.len() < KEPT_SMALL {
                    free.output.push(data);
                }
            });
        }
    }
}

fn poll_write(stream: &mut Stream, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(stream).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        count => Poll::Ready(Ok(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::{LARGE, WriteBuffer};

    #[test]
    fn a_write_buffer_that_is_never_empty_stays_small() {
        let mut buffer = WriteBuffer::default();
        buffer.tail().extend_from_slice(&[7; 1000]);
        for _ in 0..10_000 {
            buffer.tail().extend_from_slice(&[7; 1000]);
            // As a stream does that takes a part.
            buffer.sent += 1000;
        }
        assert_eq!(buffer.len(), 1000);
        assert!(buffer.data.capacity() <= LARGE);
        assert!(buffer.data[buffer.sent..].iter().all(|byte| *byte == 7));
    }
}
