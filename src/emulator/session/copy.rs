//! COPY FROM STDIN: the client's data on its way to PostgreSQL.

use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::Message;
use super::refusal::{Ended, Refusal};
use super::run::Session;
use crate::wire::frontend::put;

/// Data is passed on once there is this much of it.
const ENOUGH: usize = 64 * 1024;
/// Data kept in case that the statement has to be run again, in bytes: a transaction may write
/// 10 MiB, and what it writes is not much smaller than what was sent.
const KEPT_MAX: usize = 16 * 1024 * 1024;

/// What a client has sent for a COPY.
#[derive(Debug, Default)]
pub struct Copied {
    frames: Vec<u8>,
    started: bool,
    ended: bool,
    too_much: bool,
}

impl Copied {
    /// Whether the statement can be run again.
    pub fn can_come_again(&self) -> bool {
        !self.started || self.is_whole()
    }

    /// Whether the client has sent all of it, and it is here.
    pub fn is_whole(&self) -> bool {
        self.ended && !self.too_much
    }

    fn keep(&mut self, tag: u8, body: &[u8]) {
        self.ended = tag != b'd';
        self.too_much |= self.frames.len() + body.len() > KEPT_MAX;
        if self.too_much {
            self.frames = Vec::new();
        } else {
            put(&mut self.frames, tag, &[body]);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn is_worth_waiting(&self, error: &Message) -> bool {
        self.backend.plain
            && !self.copied.too_much
            && Refusal::of_postgres(&error.frame, 0).is_of_locks()
    }

    /// Passes CopyData on until the client ends it, or again what it has sent before. Gives what
    /// PostgreSQL said before that, which can only be an error. When the statement may have to run
    /// again, the rest of the data is awaited; else what still comes of it is dropped.
    pub(super) async fn copy_in(&mut self) -> Result<Option<Message>, Ended> {
        if self.copied.is_whole() {
            self.backend.out().extend_from_slice(&self.copied.frames);
            self.backend.send().await?;
            return Ok(None);
        }
        // The client sends nothing before it has seen the CopyInResponse.
        self.client.release();
        self.client.flush().await?;
        self.client.hold();
        self.copied.started = true;
        let mut early = None;
        loop {
            tokio::select! {
                biased;
                message = self.backend.next(), if early.is_none() => {
                    let message = message?;
                    match message.tag {
                        b'N' => self.notice(&message).await,
                        b'S' => self.parameter(&message),
                        b'E' if self.is_worth_waiting(&message) => early = Some(message),
                        _ => return Ok(Some(message)),
                    }
                }
                frame = self.client.read() => {
                    let frame = frame?;
                    match frame.tag {
                        b'd' | b'c' | b'f' => self.copied.keep(frame.tag, &frame.body),
                        // Ignored, so that a client can send them without knowing of the COPY.
                        b'H' | b'S' => continue,
                        b'X' => return Err(Ended::Left),
                        other => {
                            let message = format!(
                                "unexpected message type 0x{other:02X} during COPY from stdin"
                            );
                            return Err(Ended::violation(message));
                        }
                    }
                    if early.is_none() {
                        put(self.backend.out(), frame.tag, &[&frame.body]);
                    }
                    if frame.tag != b'd' || early.is_some() && self.copied.too_much {
                        return Ok(early);
                    }
                    if self.backend.out().len() > ENOUGH {
                        self.backend.send().await?;
                    }
                }
            }
        }
    }
}
