//! COPY FROM STDIN: the client's data on its way to PostgreSQL.

use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::Message;
use super::refusal::Ended;
use super::run::Session;
use crate::wire::frontend::put;

/// Data is passed on once there is this much of it.
const ENOUGH: usize = 64 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Passes CopyData on until the client ends it. Gives what PostgreSQL said before that, which
    /// can only be an error: the client learns of it and its data is dropped from then on.
    pub(super) async fn copy_in(&mut self) -> Result<Option<Message>, Ended> {
        // The client sends nothing before it has seen the CopyInResponse.
        self.client.release();
        self.client.flush().await?;
        self.client.hold();
        loop {
            tokio::select! {
                biased;
                message = self.backend.next() => {
                    let message = message?;
                    match message.tag {
                        b'N' => self.notice(&message).await,
                        b'S' => self.parameter(&message),
                        _ => return Ok(Some(message)),
                    }
                }
                frame = self.client.read() => {
                    let frame = frame?;
                    match frame.tag {
                        b'd' | b'c' | b'f' => put(self.backend.out(), frame.tag, &[&frame.body]),
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
                    if frame.tag != b'd' {
                        return Ok(None);
                    }
                    if self.backend.out().len() > ENOUGH {
                        self.backend.send().await?;
                    }
                }
            }
        }
    }
}
