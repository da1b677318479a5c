//! What was sent since the transaction began, and what the client has seen of the answers.

use crate::wire::frame::{self, HEADER};
use crate::wire::frontend;

/// What is sent, as far as a repetition must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// It ends with a ReadyForQuery of its own: Query, FunctionCall, Sync.
    pub ends: bool,
    /// A simple Query or FunctionCall.
    pub simple: bool,
    /// May write or commit: its answers are kept until the ReadyForQuery.
    pub writes: bool,
    /// May begin a transaction block.
    pub begins: bool,
    /// Runs something else than a BEGIN.
    pub runs: bool,
    /// An extended message of the client, which an error may make the server skip along with what
    /// follows up to a Sync.
    pub skippable: bool,
}

/// Digest of the answers that were passed on.
pub(super) type Digest = [u8; 32];

/// Requests up to one ReadyForQuery.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// The bytes that were sent.
    pub sent: Vec<u8>,
    /// Its last request was sent.
    pub closed: bool,
    /// It ended with a simple request.
    pub simple: bool,
    /// Keep the answers to the end.
    pub writes: bool,
    /// It may begin a transaction block.
    pub begins: bool,
    /// Something else than a BEGIN is in it.
    pub runs: bool,
    /// Extended messages of the client are in it.
    pub skippable: bool,
    /// Answers have to go on as they come.
    pub streams: bool,
    /// A COMMIT among its statements took effect.
    pub committed: bool,
    /// The client has seen answers of it.
    pub delivered: bool,
    /// Frames of acknowledgement, notices and CopyInResponse that were passed on ahead of all else.
    pub shown: usize,
    /// So many of these are still to be dropped in a repetition.
    pub skip: usize,
    /// Too long to be kept, so it cannot be sent again.
    pub lost: bool,
    /// Of what the client saw; of a transaction block only.
    pub digest: Option<Digest>,
}

impl Segment {
    /// Makes it ready to be sent again.
    pub fn reset(&mut self) {
        self.digest = None;
        self.delivered = false;
        self.skip = self.shown;
    }
}

/// The messages that make a repetition possible on the same connection: named statements outlive
/// the abort, so they are closed first and their Parse can be sent again.
pub(super) fn close_statements<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for mut bytes in segments {
        while let Ok(Some(header)) = frame::frontend_header(bytes) {
            let Some(message) = bytes.get(..header.total) else {
                break;
            };
            if header.tag == b'P'
                && let Ok(parse) = frontend::parse(&message[HEADER..])
                && !parse.name.is_empty()
            {
                frontend::put_close_statement(&mut out, parse.name);
            }
            bytes = &bytes[header.total..];
        }
    }
    if !out.is_empty() {
        frontend::put(&mut out, b'S', &[]);
    }
    out
}
